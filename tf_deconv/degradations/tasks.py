"""What a network can learn to undo: an entry in a table, not a trainer.

`degradations.make_pair` turns a clean picture and a seed into (degraded, clean) as a task says.
What happens to the picture is a chain of operators, such as "blur:1.5 noise:10 jpeg:40", which
`--degrade` replaces. The tables are importable without TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from tf_deconv.utils.options import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Operator:
    """One thing that can happen to a picture.

    Attributes:
      summary: One line for `--help`.
      unit: What its number counts.
      low: Smallest number allowed.
      high: Largest number allowed.
      logarithmic: Whether a level from a range is as likely to be doubled as to be halved, not
        uniform; `low` is then more than 0.
      whole_clips: Whether it takes the frames of a clip together, not one by one.
      usual: LOW-HIGH where none is given; "" where it has to be.
    """

    summary: str
    unit: str
    low: float
    high: float
    logarithmic: bool = False
    whole_clips: bool = False
    usual: str = ""


_GREY_LEVELS = "standard deviation in grey levels of 255"

_FACTOR, _QUANTISER = "constant rate factor", "quantiser"
# Encoders of films, by the name of their format: what it is, what their rate counts, its smallest
# and largest.
CODECS = {
    "h264": ("H.264", _FACTOR, 0, 51),
    "vp9": ("VP9", _FACTOR, 0, 63),
    "mpeg4": ("MPEG-4 part 2 (DivX, Xvid)", _QUANTISER, 1, 31),
    "mpeg2": ("MPEG-2 (DVD, digital television)", _QUANTISER, 1, 31),
    "mjpeg": ("Motion JPEG", _QUANTISER, 1, 31),
}
CODEC = "codec"


def codec_operator(name: str) -> str:
    """Returns the key in `OPERATORS` of a codec: of "h264", "codec:h264"."""
    return f"{CODEC}:{name}"


OPERATORS = {
    "noise": Operator("white Gaussian noise", _GREY_LEVELS, 0, 255),
    "awgn": Operator(
        "white Gaussian noise that leaves [0, 1], as the literature measures it; no file holds it",
        _GREY_LEVELS,
        0,
        255,
    ),
    "clip": Operator(
        "by chance what a file does: clipping, and rounding to 8 bits", "share of pictures", 0, 1
    ),
    "poisson": Operator("photon and read noise of low light", "photons at white", 1, 100_000),
    "camera": Operator(
        "the picture taken by a camera drawn by chance: noise, mosaic, development",
        "ISO",
        1,
        25_600,
        logarithmic=True,
        usual="100-12800",
    ),
    "shot": Operator("a sensor's noise in linear light", "ISO", 1, 25_600, logarithmic=True),
    "mosaic": Operator(
        "one colour a pixel, the others guessed, as a Bayer sensor", "how much of it, 0 to 1", 0, 1
    ),
    "matrix": Operator(
        "a sensor's colours shown as they are, paler", "how much of it, 0 to 1", 0, 1
    ),
    "balance": Operator(
        "red and blue of another light, by chance more or less of each",
        "largest factor, in linear light",
        1,
        4,
    ),
    "tone": Operator(
        "contrast along an S-shaped curve",
        "slope in the middle; below 1 flatter",
        0.25,
        4,
        logarithmic=True,
    ),
    "smooth": Operator(
        "a camera's denoiser: luminance blurred a little, colour twice as far",
        "share of the strongest, which is 0.8 pixels",
        0,
        1,
    ),
    "grain": Operator("Gaussian noise whose neighbours are alike", _GREY_LEVELS, 0, 255),
    "sharpen": Operator("unsharp mask of 1 pixel", "share of the difference that is added", 0, 4),
    "resize": Operator("made smaller and as large as it was again", "times smaller", 1, 4),
    "blur": Operator("Gaussian blur", "standard deviation in pixels", 0, 20),
    "motion": Operator("motion blur in a random direction", "length in pixels", 1, 63),
    "jpeg": Operator("JPEG compression, colour at half size", "quality, 1 to 100", 1, 100),
    "jpeg444": Operator("JPEG compression, colour at full size", "quality, 1 to 100", 1, 100),
    **{
        codec_operator(name): Operator(
            f"a film compressed by {title}; of a picture, one key frame",
            f"{unit}, {low} to {high}",
            low,
            high,
            whole_clips=True,
        )
        for name, (title, unit, low, high) in CODECS.items()
    },
}

# Tones and colours that moved, which a network blind to levels could not move back, and noise that
# depends on them.
_LEVELLED = ("poisson", "matrix", "balance", "tone")

# What a grey picture passes as it is.
OF_COLOURS = ("mosaic", "matrix", "balance")

# What each operator does: (image, level, seed, highest level) to image. Importing
# `tf_deconv.degradations.operators` fills it; the tables are read without TensorFlow.
FUNCTIONS: dict[str, Callable[..., Any]] = {}

_Function = TypeVar("_Function", bound=Callable[..., Any])


def operator(name: str) -> Callable[[_Function], _Function]:
    """Marks a function as what the operator `name` of `OPERATORS` does.

    Raises:
      ValueError: if there is no such operator, or it has a function already.
    """
    if name not in OPERATORS or name in FUNCTIONS:
        raise ValueError(f"operator {name!r}: expected one of OPERATORS, and once only")

    def register(function: _Function) -> _Function:
        FUNCTIONS[name] = function
        return function

    return register


@dataclasses.dataclass(frozen=True)
class Step:
    """An operator with its level, drawn from [low, high] for each picture of its share."""

    operator: str
    low: float
    high: float
    share: float = 1.0


def parse_chain(text: str) -> tuple[Step, ...]:
    """Reads a chain of operators.

    Args:
      text: Words NAME:LEVEL or NAME:LOW-HIGH, of a codec codec:NAME-RATE or codec:NAME-LOW-HIGH,
        each with @SHARE after it or not, in the order in which they happen; may be empty. SHARE is
        the probability with which the step happens to a picture, or to a clip. NAME alone has the
        levels that are usual, where the operator has such.
    Returns:
      The steps.
    Raises:
      UserError: with every word that is wrong.
    """
    steps, faults = [], []
    for word in text.split():
        what, at, share = word.partition("@")
        name, _, level = what.partition(":")
        if name == CODEC:
            codec, _, level = level.partition("-")
            if codec not in CODECS:
                faults.append(
                    f"degrade={word!r}{nearest(codec, CODECS)}: expected {CODEC}:NAME-RATE or"
                    f" {CODEC}:NAME-LOW-HIGH, NAME one of {', '.join(CODECS)}"
                )
                continue
            name = codec_operator(codec)
        if name not in OPERATORS:
            known = [*(key for key in OPERATORS if ":" not in key), CODEC]
            faults.append(
                f"degrade={word!r}{nearest(name, known)}: expected one of {', '.join(known)}"
            )
            continue
        operator = OPERATORS[name]
        if not level and ":" not in what:
            level = operator.usual
        ends = _numbers(level)
        if not ends or not operator.low <= ends[0] <= ends[-1] <= operator.high:
            head = name + ("-" if operator.whole_clips else ":")
            faults.append(
                f"degrade={word!r}: expected {head}LEVEL or {head}LOW-HIGH, {operator.unit}, from"
                f" {operator.low:g} to {operator.high:g}"
            )
            continue
        shares = _numbers(share) if at else [1.0]
        if len(shares) != 1 or not 0 <= shares[0] <= 1:
            faults.append(
                f"degrade={word!r}: expected {what}@SHARE, the share of pictures to which"
                " it happens, from 0 to 1"
            )
            continue
        steps.append(Step(name, ends[0], ends[-1], shares[0]))
    if faults:
        raise UserError("; ".join(faults))
    return tuple(steps)


def _numbers(text: str) -> list[float]:
    """Returns one number or the two of LOW-HIGH; none where it is neither."""
    try:
        numbers = [float(number) for number in text.split("-")]
    except ValueError:
        return []
    return numbers if len(numbers) <= 2 else []


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to learn.

    Attributes:
      summary: One line for `--help`: what goes in, what comes out.
      degrade: The chain of operators that makes the input.
      grey_input: Whether the network sees luminance only.
      grey_output: Whether it gives luminance only.
      mask: Whether pixels are missing; the input then has a last channel that is 1 where a pixel
        is known and 0 where it is missing.
      scale: Output pixels per input pixel along each axis.
      paired: Whether the pictures come with their targets, from a second folder.
      blind_spots: Whether the pictures are noisy and there is nothing else: the network learns to
        predict pixels that were hidden from it.
      levels_matter: Whether how bright or which colour a place is tells what to do there; otherwise
        a network need not see it, and cannot shift it.
      generates: Whether nothing goes in: pictures like those of the source are made from noise.
    """

    summary: str
    degrade: str = ""
    grey_input: bool = False
    grey_output: bool = False
    mask: bool = False
    scale: int = 1
    paired: bool = False
    blind_spots: bool = False
    levels_matter: bool = False
    generates: bool = False

    @property
    def sees_levels(self) -> bool:
        """Whether the network has to see absolute levels: light in photons, tones that moved."""
        steps = parse_chain(self.degrade)
        return self.levels_matter or any(step.operator in _LEVELLED for step in steps if step.share)

    @property
    def guesses_colours(self) -> bool:
        """Whether colours are asked for that are not in the input."""
        return self.grey_input and not self.grey_output

    @property
    def source_channels(self) -> int:
        """Channels of what the source holds: a picture, or input and target."""
        return 6 if self.paired else 3

    @property
    def channels_in(self) -> int:
        """Channels of the degraded picture."""
        return (1 if self.grey_input else 3) + (1 if self.mask else 0)

    @property
    def channels_out(self) -> int:
        """Channels of the clean picture."""
        return 1 if self.grey_output else 3


# What is to be made sharper was read from a file of 8 bits, and sharpening amplifies the rounding
# (docs/decisions/0002-degradations.md).
_STORED = "clip:1"

_SUPER_RESOLVE = {
    f"super-resolve-x{scale}": Task(
        f"a picture made {scale} times smaller (antialiased bicubic) in, the large one out",
        _STORED,
        scale=scale,
    )
    for scale in (2, 3, 4)
}

TASKS = {
    "reconstruct": Task("a colour picture in, the same one out: what the network can carry"),
    # 25 of 255 is the middle of the three noise levels that the denoising literature reports.
    "denoise": Task("a noisy colour picture (sigma 25/255) in, a clean one out", "noise:25"),
    "denoise-grey": Task(
        "a noisy grey picture (sigma 25/255) in, a clean one out",
        "noise:25",
        grey_input=True,
        grey_output=True,
    ),
    "low-light": Task(
        "a picture of few photons (30 at white) with read noise in, a clean one out",
        "poisson:30",  # The more light, the more noise: `sees_levels`.
    ),
    "inpaint": Task(
        "a picture with missing pixels, boxes or strokes and its mask in, the whole one out",
        mask=True,
        levels_matter=True,  # The mask is one.
    ),
    **_SUPER_RESOLVE,
    "colorize": Task("a grey picture in, a colour one out", grey_input=True, levels_matter=True),
    "old-photo": Task(
        "a noisy grey photograph (sigma 25/255) in, a clean colour one out",
        "noise:25",
        grey_input=True,
        levels_matter=True,
    ),
    "deblock": Task("a JPEG (quality 10 to 40) in, the picture before it out", "jpeg:10-40"),
    "deblur": Task(
        "a blurred picture (Gaussian, 1 to 2 pixels) in, a sharp one out", f"blur:1-2 {_STORED}"
    ),
    "deblur-motion": Task(
        "a picture blurred along a line of 3 to 9 pixels in, a sharp one out",
        f"motion:3-9 {_STORED}",
    ),
    "paired": Task(
        "a picture of --data in, the one of the same name in --targets out",
        paired=True,
        levels_matter=True,
    ),
    "generate": Task(
        "noise in, a new picture like those of --data out; networks vae (default) and flow",
        generates=True,
    ),
}

# Those whose input is a picture.
RESTORATIONS = {name: task for name, task in TASKS.items() if not task.generates}


def find_task(name: str, degrade: str | None = None, self_supervised: bool = False) -> Task:
    """Returns a task by name.

    Args:
      name: Key of `TASKS`.
      degrade: Replaces its chain, unless None.
      self_supervised: Whether the pictures are taken for what the chain would have made of them.
    """
    task = TASKS[name]
    if self_supervised:
        return dataclasses.replace(task, degrade="", blind_spots=True)
    return task if degrade is None else dataclasses.replace(task, degrade=degrade)
