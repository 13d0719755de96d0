"""Pictures as arrays: types and ranges, orientation, luminance, parts; and names on one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tf_deconv.utils.files import Shared

# ITU-R BT.601-7, section 2.5.1: the weights that JPEG and television give to red, green and blue.
LUMINANCE_WEIGHTS = (0.299, 0.587, 0.114)
# A film stands still where no channel changes by more than this: noise that a clean film has.
STILL_LEVELS = 2.0 / 255.0

# What undoes each orientation of the EXIF standard (CIPA DC-008, tag 274), as `oriented` takes it.
_UPRIGHT = {2: 4, 3: 2, 4: 6, 5: 5, 6: 3, 7: 7, 8: 1}


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """Returns a view of (H, W, ...): mirrored left to right, then turned against the clock.

    Args:
      array: The picture.
      orientation: Quarter turns, 0 to 3, plus 4 where it is mirrored first.
    """
    # Not `np.rot90`: for patches of 28x28 it takes longer than cutting them.
    if orientation >= 4:
        array = array[:, ::-1]
    turns = orientation % 4
    if turns == 0:
        return array
    if turns == 2:
        return array[::-1, ::-1]
    turned = array.swapaxes(0, 1)
    return turned[::-1] if turns == 1 else turned[:, ::-1]


def upright(array: np.ndarray, exif_orientation: int | None) -> np.ndarray:
    """Returns a view of (H, W, ...) that undoes an orientation of EXIF; unknown ones are upright.

    Not `PIL.ImageOps.exif_transpose`: it writes the EXIF data anew, and one tag of a wrong type in
    it is then an exception, where the pixels are whole.
    """
    return oriented(array, _UPRIGHT.get(exif_orientation, 0))


def middle(image: np.ndarray, size: tuple[int, int], scale: int = 1) -> np.ndarray:
    """Returns a view of the middle of (H, W, ...), at most `size` times `scale`.

    Args:
      image: The picture.
      size: (height, width).
      scale: Of a picture that is this many times as large as another one: it is cut where that
        one, cut to `size`, shows the same.
    """
    top, left = (max(0, have // scale - want) // 2 * scale for have, want in zip(image.shape, size))
    return image[top : top + size[0] * scale, left : left + size[1] * scale]


def to_float(image: np.ndarray) -> np.ndarray:
    """Scales uint8 0..255 to float32 [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Rounds [0, 1] to uint8 0..255; values outside are clipped."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)


def as_unit(pixels: np.ndarray) -> np.ndarray:
    """Scales uint8 or uint16 to float32 [0, 1]; float becomes float32 and keeps its values."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def as_pixels(image: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Undoes `as_unit`: rounds [0, 1] to an integer type, values outside clipped; float is kept."""
    if np.dtype(dtype).kind == "f":
        return image.astype(dtype)
    # One new array, and each step within it: of a film this is done 25 times a second.
    most = np.iinfo(dtype).max
    levels = image * np.asarray(most, image.dtype if image.dtype.kind == "f" else np.float64)
    np.clip(np.rint(levels, levels), 0, most, levels)
    # A network that diverged gives NaN, of which no integer exists: black, on every machine.
    if levels.size and np.isnan(levels.sum()):
        np.nan_to_num(levels, copy=False)
    return levels.astype(dtype)


def luminance(image: np.ndarray) -> np.ndarray:
    """Converts float (..., 3) to grey (..., 1) by ITU-R BT.601; (..., 1) is returned as it is."""
    if image.shape[-1] == 1:
        return image
    return (np.asarray(image, np.float64) @ np.array(LUMINANCE_WEIGHTS))[..., np.newaxis]


def encode_png(image: np.ndarray) -> bytes:
    """Encodes a picture.

    Args:
      image: (H, W, 1) or (H, W, 3), float in [0, 1] or uint8.
    Returns:
      The bytes of a PNG file.
    """
    pixels = image if image.dtype == np.uint8 else to_uint8(image)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def crop_pair(
    degraded: np.ndarray, clean: np.ndarray, side_px: int, scale: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the middle of a degraded picture, and the same place of its clean one.

    Args:
      degraded: (H, W, C).
      clean: (H * scale, W * scale, C').
      side_px: Longest side left of the clean picture, in pixels.
      scale: Clean pixels per degraded pixel along each axis.
    """
    size = (side_px // scale,) * 2
    return middle(degraded, size), middle(clean, size, scale)


# Line ends and escape sequences (they would break a message), and bytes that are no UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(name: str) -> str:
    r"""Returns a file name on one line: what cannot be printed is escaped, as in 'caf\xe9.png'."""
    return _UNPRINTABLE.sub(lambda match: _escaped(match[0]), name)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # How Python holds a byte that is not UTF-8: PEP 383.
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


@contextlib.contextmanager
def _without_limit() -> Iterator[None]:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


_lifted = Shared(_without_limit)


def without_pillow_limit() -> contextlib.AbstractContextManager[None]:
    """Lifts Pillow's limit on pixels, for callers that check `PictureFile` sizes themselves.

    The limit is the whole process's: it is back when the last of the blocks in all threads ends.
    """
    return _lifted()


# A stored picture has so many channels; a pair of input and target has twice as many.
CHANNELS = 3


def is_grey(picture: np.ndarray) -> bool:
    """Returns whether (H, W, 3) has R == G == B; False for pairs, (H, W, 6)."""
    if picture.shape[-1] != CHANNELS:
        return False
    # The first row alone tells nearly every colour picture. A grey one of 28x28 takes 6 us (its
    # hash takes 4), one of 12 megapixels 20 ms (decoding it takes 100 and more).
    return all(
        np.array_equal(rows[..., 0], rows[..., 1]) and np.array_equal(rows[..., 1], rows[..., 2])
        for rows in (picture[:1], picture)
    )
