"""The number formats of exported TFLite files, by name; importable without TensorFlow."""

from __future__ import annotations

import dataclasses
import re

from tf_deconv.utils.options import UserError, nearest

# Kinds of int8: "" (none), only the stored weights, weights with ranges found while running, and
# ranges that calibration fixed.
WEIGHTS, DYNAMIC, STATIC = "weights", "dynamic", "static"
# A convolution with no more channels than this on one side touches the picture. Its weights are a
# hundredth of the file and, in int8, nearly all of the loss of files that compute in float.
PICTURE_CHANNELS = 4


@dataclasses.dataclass(frozen=True)
class Variant:
    """One number format.

    Attributes:
      summary: One line for `--help`.
      bytes_per_parameter: What a weight takes in the file.
      floor_db: PSNR against Keras under which a file is not published.
      int8: How it computes on 8-bit integers: "", `WEIGHTS`, `DYNAMIC` or `STATIC`.
      int8_pictures: Whether input and output are int8 too.
      phased: Whether it gains from `tflite.polyphase`, where the profile has it.
    """

    summary: str
    bytes_per_parameter: int
    floor_db: float
    int8: str = ""
    int8_pictures: bool = False
    phased: bool = False

    def has_fixed_ranges(self, has_sums: bool) -> bool:
        """Whether results have ranges that calibration fixed.

        Where a network has sums, only a file whose pictures are int8 has them. Its results are as
        large as a picture's noise and detail, and a range that holds every picture's is coarse for
        most. Found while the file runs, ranges cost 0.03 dB where fixed ones cost 0.2, in the same
        time (docs/decisions/0009-tflite-variants.md).

        Args:
          has_sums: Whether the network adds results, as residual ones do.
        """
        return self.int8 == STATIC and (self.int8_pictures or not has_sums)


VARIANTS = {
    "float32": Variant("as trained", 4, 120.0, phased=True),
    "float16": Variant(
        "weights of half the size, computed in float32 or float16", 2, 80.0, phased=True
    ),
    "int8-weights": Variant("weights in int8, computed in float32", 1, 40.0, WEIGHTS, phased=True),
    "dynamic": Variant("weights in int8, ranges found while it runs", 1, 40.0, DYNAMIC),
    "int8": Variant("computed in int8, float32 pictures", 1, 40.0, STATIC),
    "int8-full": Variant("computed in int8, int8 pictures", 1, 40.0, STATIC, int8_pictures=True),
}


@dataclasses.dataclass(frozen=True)
class Profile:
    """Where files will run.

    Attributes:
      summary: One line for `--help`.
      keep_relu: Whether a relu after an int8 transposed convolution stays an operator although its
        input's range ends at 0. Runtimes that compute such files in float need it; those that
        compute in int8 saturate, and take half the time without.
      int8_pictures: Whether files with int8 input and output are made.
      phased: Whether convolutions to few channels work on squares of pixels (`tflite.polyphase`).
    """

    summary: str
    keep_relu: bool
    int8_pictures: bool
    phased: bool


PROFILES = {
    "cpu": Profile("the fastest on CPUs", keep_relu=False, int8_pictures=True, phased=True),
    "gpu": Profile("for GPU delegates", keep_relu=True, int8_pictures=False, phased=False),
    "web": Profile("for browsers", keep_relu=True, int8_pictures=False, phased=False),
}


def parse_variants(text: str | None, profile: str) -> tuple[str, ...]:
    """Reads which variants to make.

    Args:
      text: Names with spaces or commas between them; None for all that the profile has.
      profile: Key of `PROFILES`.
    Returns:
      Names, in the order of `VARIANTS`.
    Raises:
      UserError: with every name that is wrong.
    """
    fitting = [
        name
        for name, variant in VARIANTS.items()
        if PROFILES[profile].int8_pictures or not variant.int8_pictures
    ]
    names = fitting if text is None else text.replace(",", " ").split()
    faults = [
        f"variants={name!r}{nearest(name, fitting)}: expected some of {', '.join(fitting)}"
        + (f" with --profile {profile}" if name in VARIANTS else "")
        for name in names
        if name not in fitting
    ]
    if faults:
        raise UserError("; ".join(faults))
    return tuple(name for name in VARIANTS if name in names)


def parse_sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Reads sizes of signatures, such as "28,256x384,512".

    Returns:
      (height, width) of each, in the order given, none twice.
    Raises:
      UserError: if one is not a size.
    """
    sizes = []
    for word in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})(?:x(\d{1,4}))?\s*", word)
        size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 0 < min(size) <= max(size) <= 8192:
            raise UserError(
                f"sizes={text!r}: {word.strip()!r} is not a size; expected sides from 1 to 8192"
                " such as 256, or HEIGHTxWIDTH such as 256x384, with commas between them"
            )
        sizes.append(size)
    return tuple(dict.fromkeys(sizes))
