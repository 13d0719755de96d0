"""The known picture of an export and what Keras makes of it: `golden/`, for clients of any kind.

The picture is drawn here, so that what goes wrong in a client shows in what comes back: nothing in
it is symmetric, its channels differ, it has edges at the border, flat parts and noise. It lies on 8
bits, so that the PNG file holds just what the array does.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_deconv.generation import noise
from tf_deconv.images import arrays, png
from tf_deconv.utils.options import UserError, reason

FOLDER = "golden"
# Side of the picture whose values are kept as floats, where no signature is as small.
SIDE_PX, ENLARGED_SIDE_PX = 64, 32
# The largest result that is kept as floats, and as a PNG file.
_LARGEST_ARRAY_PX, _LARGEST_PNG_PX = 128**2, 512**2
_NOISE_SEED, _NOISE_LEVEL = 23, 0.08
# Of the known clip.
CLIP_FRAMES = 8


def picture(height: int, width: int, channels: int) -> np.ndarray:
    """Draws the known picture.

    Args:
      height: Pixels.
      width: Pixels.
      channels: 1: luminance; 3: R, G, B; 4: R, G, B times the mask, and the mask.
    Returns:
      (H, W, channels) float32 in [0, 1], multiples of 1/255.
    """
    rows, columns = np.arange(height)[:, np.newaxis], np.arange(width)[np.newaxis]
    y, x = (rows + 0.5) / height, (columns + 0.5) / width
    zeros = np.zeros((height, width))
    image = np.stack([0.15 + 0.7 * x + zeros, 0.2 + 0.6 * y + zeros, 0.8 - 0.25 * (x + y)], -1)

    def paint(where: np.ndarray, *colour: float) -> None:
        image[where] = colour

    paint((y < 0.35) & (x < 0.25), 0.1, 0.15, 0.5)  # Flat, and touches two borders.
    paint((y - 0.72) ** 2 + (x - 0.7) ** 2 < 0.04, 0.9, 0.55, 0.1)
    stripes = (y > 0.55) & (x < 0.45)
    paint(stripes & ((rows + 2 * columns) // 3 % 2 == 0), 0.92, 0.9, 0.85)
    paint(stripes & ((rows + 2 * columns) // 3 % 2 == 1), 0.12, 0.2, 0.1)
    # The letter F, which no turn or mirror leaves as it is.
    letter = (x > 0.62) & (x < 0.68) & (y > 0.1) & (y < 0.45)
    letter |= (x > 0.62) & (x < 0.9) & (y > 0.1) & (y < 0.16)
    letter |= (x > 0.62) & (x < 0.8) & (y > 0.25) & (y < 0.31)
    paint(letter, 0.97, 0.97, 0.9)
    paint((columns == width - 1) & (y > 0.5), 0.95, 0.1, 0.3)
    paint((rows == height - 1) & (x < 0.5), 0.1, 0.9, 0.6)
    grain = noise.uniform(_NOISE_SEED, 1, image.size)[0].reshape(image.shape)
    image += np.where(x > 0.5, _NOISE_LEVEL, 0.0)[..., np.newaxis] * (2 * grain - 1)
    image = np.rint(255 * np.clip(image, 0, 1)) / 255
    if channels == 1:
        image = np.rint(255 * arrays.luminance(image)) / 255
    elif channels == 4:
        hole = (y > 0.38) & (y < 0.58) & (x > 0.3) & (x < 0.55)
        mask = 1.0 - hole[..., np.newaxis]
        image = np.concatenate([image * mask, mask], axis=-1)
    elif channels != 3:
        raise UserError(f"the model takes {channels} channels: expected 1, 3 or 4")
    return image.astype(np.float32)


def sizes(
    signatures: tuple[tuple[int, int], ...], divisor: int, scale: int
) -> tuple[tuple[int, int], ...]:
    """Returns the (height, width) of the pictures that an export keeps; of the first, the floats.

    Args:
      signatures: Of the TFLite files.
      divisor: The network's.
      scale: Output pixels per input pixel along each axis.
    """
    small = [size for size in signatures if math.prod(size) * scale**2 <= _LARGEST_ARRAY_PX]
    side = SIDE_PX if scale == 1 else ENLARGED_SIDE_PX
    first = min(small, key=math.prod) if small else (side + -side % divisor,) * 2
    others = [size for size in signatures if math.prod(size) * scale**2 <= _LARGEST_PNG_PX]
    return tuple(dict.fromkeys([first, *others]))


def check_target(folder: pathlib.Path) -> None:
    """Refuses a folder in which files of other people's would be written over.

    Raises:
      UserError: if it holds a file of a name that is written, and no known picture's README.md.
    """
    readme = folder / _README_FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if readme.read_text(encoding="utf-8").startswith(_HEADING):
            return
    written = (_README_FILE, *(f"{side}*.{kind}" for side in _SIDES for kind in ("npy", "png")))
    strange = next((path.name for name in written for path in folder.glob(name)), None)
    if strange is not None:
        raise UserError(
            f"golden={str(folder)!r} holds {strange!r}, which no earlier call wrote: choose another"
            " folder"
        )


def write(folder: pathlib.Path, pairs: Mapping[tuple[int, int], tuple[Any, Any]]) -> None:
    """Writes pictures and results, and how to compare them.

    Args:
      folder: Is made.
      pairs: (height, width) to the picture (H, W, C) and what Keras makes of it; the first one as
        `.npy` files too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, (size, pair) in enumerate(pairs.items()):
        for name, image in zip(("input", "output"), pair):
            stem = folder / (name if number == 0 else f"{name}-{size[0]}x{size[1]}")
            write_png(stem.with_name(f"{stem.name}.png"), image)
            if number == 0:
                np.save(f"{stem}.npy", np.asarray(image, np.float32))
    (folder / _README_FILE).write_text(_README, encoding="utf-8")


def write_named(
    folder: pathlib.Path,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> None:
    """Writes what goes into a generator's signature, and what comes out, by name.

    Args:
      folder: Is made.
      signature: Its name.
      inputs: Arrays of one picture, by the signature's names.
      outputs: What Keras gives; a picture becomes a PNG file too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for side, arrays_by_name in (("input", inputs), ("output", outputs)):
        for name, array in arrays_by_name.items():
            np.save(folder / f"{side}-{name}.npy", array)
    if "image" in outputs:
        write_png(folder / "output-image.png", outputs["image"][0])
    text = _README_OF_A_GENERATOR.replace("SIGNATURE", signature)
    (folder / _README_FILE).write_text(text, encoding="utf-8")


def write_clip(folder: pathlib.Path, clip: np.ndarray, restored: np.ndarray) -> None:
    """Writes a known clip and what comes of it, and how to compare them.

    Args:
      folder: Is made.
      clip: (T, H, W, C) in [0, 1].
      restored: What Keras makes of it, from a state of zeros on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in (("input", clip), ("output", restored)):
        np.save(folder / f"{name}-film.npy", np.asarray(frames, np.float32))
        write_png(folder / f"{name}-last.png", frames[-1])
    (folder / _README_FILE).write_text(_README_OF_A_FILM, encoding="utf-8")


def clip(size: tuple[int, int], channels: int) -> np.ndarray:
    """Draws the known clip: the known picture, which moves to the right by a pixel a frame.

    Args:
      size: (height, width).
      channels: As of `picture`.
    Returns:
      (CLIP_FRAMES, H, W, channels) float32 in [0, 1].
    """
    still = picture(*size, channels)
    return np.stack([np.roll(still, number, axis=1) for number in range(CLIP_FRAMES)])


def read_clip(folder: pathlib.Path, size: tuple[int, int] | None) -> tuple[Any, Any] | None:
    """Reads the clip of an export, and what is right of it, as `read` does a picture: (T, H, W, C).

    Raises:
      UserError: if a file of it is damaged.
    """
    paths = [folder / f"{name}-film.npy" for name in ("input", "output")]
    if not all(path.is_file() for path in paths):
        return None
    given, expected = (read_array(path) for path in paths)
    if given.ndim != 4 or given.shape != expected.shape:
        raise UserError(f"{str(folder)!r} has no clip of frames: export again")
    return (given, expected) if size in (None, given.shape[1:3]) else None


def read_named(folder: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads what `write_named` wrote: inputs and outputs; {} twice where there are none."""
    inputs, outputs = (
        {
            path.stem.removeprefix(f"{side}-"): read_array(path)
            for path in sorted(folder.glob(f"{side}-*.npy"))
        }
        for side in ("input", "output")
    )
    return inputs, outputs


def write_png(path: pathlib.Path, image: np.ndarray) -> None:
    """Writes (H, W, 1, 3 or 4) in [0, 1]; a fourth channel becomes the PNG file's alpha."""
    with path.open("wb") as stream:
        png.write(stream, arrays.to_uint8(image), [])


def read(folder: pathlib.Path, size: tuple[int, int] | None) -> tuple[Any, Any] | None:
    """Reads the picture and the float result of an export.

    Args:
      folder: An export's `golden/`.
      size: The (height, width) that is needed; None: whatever there is.
    Returns:
      (H, W, C) twice; None where there is none of that size.
    Raises:
      UserError: if a file of it is damaged.
    """
    paths = [folder / f"{name}.npy" for name in ("input", "output")]
    if not all(path.is_file() for path in paths):
        return None
    given, expected = (read_array(path) for path in paths)
    return (given, expected) if size in (None, given.shape[:2]) else None


def read_array(path: pathlib.Path) -> np.ndarray:
    """Reads a `.npy` file of numbers.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise ValueError("it holds no array of numbers")
        return np.array(array)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {reason(error)}") from error


_README_FILE, _SIDES = "README.md", ("input", "output")
# What the README of each kind begins with.
_HEADING = "# A known "
_README = """# A known picture, and what Keras makes of it

Run `input` through your client and compare what comes back with `output`.

| file | what it is |
|---|---|
| `input.npy`, `output.npy` | float32 (H, W, C) in [0, 1], rows from the top, R, G, B last |
| `input.png`, `output.png` | the same in 8 bits; of `output` rounded and clipped to [0, 1] |
| `input-HxW.png`, `output-HxW.png` | the same for a signature of that size |

Of four channels the last is the mask, 1 where a pixel is known; in a PNG file it is the alpha, and
the colours are multiplied with it already. `output.npy` is not clipped: clip both, or neither.

PSNR = 10 log10(1 / mean((yours - output)^2)), over all pixels and channels. Right is what reaches
`golden.floor_db` of the file in `../manifest.json`, which also has what LiteRT, TensorFlow and
onnxruntime gave, `golden.psnr_db` (null and `exact`: every bit). A picture of 8 bits is right from
`golden.floor_db` too, or from 48 dB where that is less. With `tf-deconv` installed,

    tf-deconv verify .. --output YOURS.npy

tells what is wrong: channels swapped, a picture turned, 0 to 255 for 0 to 1, and so on.
"""
_README_OF_A_FILM = """# A known clip, and what Keras makes of it

Stream the frames of `input-film.npy` through your client, the first with a state of zeros, each
further one with the state that the one before returned, and compare what comes back with
`output-film.npy`. Both are float32 (T, H, W, C) in [0, 1], rows from the top, R, G, B last; the
output is not clipped. `input-last.png` and `output-last.png` are the last frame, for the eye.

PSNR = 10 log10(1 / mean((yours - output)^2)), over all frames. Right is what reaches
`golden.floor_db` of the file in `../manifest.json`. If the first frame is right and the others are
not, the state was not handed on. With `tf-deconv` installed,

    tf-deconv verify .. --output YOURS.npy

tells that, and what else is wrong; without `--output` it streams the clip through the files here.
"""
_README_OF_A_GENERATOR = """# A known input, and what Keras makes of it

Run signature `SIGNATURE` on the arrays `input-NAME.npy`, each under its name, and compare what
comes back with `output-NAME.npy`. They are of one picture, (1, ...). `output-image.png` is for the
eye.

PSNR = 10 log10(1 / mean((yours - output)^2)). Right is what reaches `parity.floor_db` of the file
in `../manifest.json`, or 100 dB where that is less. With `tf-deconv` installed,

    tf-deconv verify .. --output YOURS.npy

tells what is wrong.
"""
