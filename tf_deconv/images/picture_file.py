"""An open picture file: what every decoder answers, and what is made of its answers.

A decoder (`decoders/`) gives the head, the samples of a picture, and what it carries. Here they
become a `Picture`, or the values that are learned from.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tf_deconv.images import formats, value_range
from tf_deconv.images.arrays import without_pillow_limit
from tf_deconv.images.picture import Picture
from tf_deconv.images.value_range import AUTO, ValueRange
from tf_deconv.utils import files
from tf_deconv.utils.options import reason

Source = str | pathlib.Path | bytes
# What damaged files raise in Pillow, tifffile, zlib and imagecodecs (whose errors are of
# RuntimeError); a file that lies about its size has numpy raise MemoryError or ValueError.
DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, IndexError, AttributeError),
    *(struct.error, zlib.error, Image.DecompressionBombError, RuntimeError, ArithmeticError),
    *(MemoryError, NotImplementedError, AssertionError),
)
# Of these, what says nothing to a reader: a decoder tripped over bytes that should not be there.
_TRIPPED = (
    *(KeyError, TypeError, IndexError, AttributeError, AssertionError, ArithmeticError, EOFError),
    struct.error,
)
_OF_WEBP = "could not create decoder object"
_BYTES = np.dtype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Header:
    """What the head of a picture file says.

    Attributes:
      format: A name of `formats.FORMATS`.
      height: In pixels, of the upright picture.
      width: In pixels.
      count: Number of pictures: pages of a stack, or pictures of an animation.
      dtype: Of the samples.
      channels: Colours: 1 or 3.
      sizes: (height, width) of each picture where they differ; else empty.
    """

    format: str
    height: int
    width: int
    count: int = 1
    dtype: np.dtype = _BYTES
    channels: int = 3
    sizes: tuple[tuple[int, int], ...] = ()

    def size(self, number: int) -> tuple[int, int]:
        """Returns height and width of picture `number`."""
        return self.sizes[number] if self.sizes else (self.height, self.width)


@dataclasses.dataclass
class Samples:
    """Pixels as a file holds them: colours (H, W, 1 or 3), alpha (H, W, 1) or None."""

    colours: np.ndarray
    alpha: np.ndarray | None
    notes: list[str]
    known_alpha: bool = True


def split(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Splits (H, W, 1 to 4) into colours, 1 or 3, and alpha or None."""
    colours = samples.shape[-1] - 1 + samples.shape[-1] % 2  # 1, 2 -> 1; 3, 4 -> 3
    return samples[..., :colours], samples[..., colours:] if samples.shape[-1] > colours else None


class PictureFile:
    """An open picture file. It belongs to one thread at a time.

    Attributes:
      header: What its head says.
    """

    header: Header

    def samples(self, number: int) -> Samples:
        """Decodes picture `number`, turned upright."""
        raise NotImplementedError

    def fields(self, number: int) -> dict[str, Any]:
        """Returns what picture `number` carries: fields of `Picture`."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the file."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the file is left out, as far as its head tells."""
        return ()

    def read(self, number: int = 0, values: ValueRange = AUTO) -> Picture:
        """Reads a picture.

        Args:
          number: Which one, from 0.
          values: Which values of the file are black and white.
        Returns:
          The picture. Where `levels` are chosen its pixels are float32 and may leave [0, 1].
        Raises:
          ValueError: if it is damaged, or of values that have no meaning without --range.
        """
        with clean_errors():
            found = self.samples(number)
            fields = self.fields(number)
        notes = [*fields.pop("notes", ()), *found.notes]
        colours, alpha, stored = found.colours, found.alpha, found.colours.dtype
        levels, note = value_range.find_levels(colours, values)
        if note:
            notes.append(note)
        if levels is not None:
            colours = value_range.to_unit(colours, levels)
        elif stored.kind == "f":
            colours = colours.astype(np.float32)
            if stored.itemsize == 8:
                notes.append("float64 was computed in float32")
        if alpha is not None and colours.dtype.kind == "f":
            alpha = value_range.to_unit(alpha, value_range.type_levels(alpha.dtype))
        return Picture(
            pixels=colours,
            alpha=alpha,
            format=formats.FORMATS[self.header.format].writes,
            notes=tuple(dict.fromkeys(notes)),
            stored=stored if stored != colours.dtype else None,
            levels=levels,
            known_alpha=found.known_alpha,
            **fields,
        )

    def read_raw(self, number: int = 0, notes: list[str] | None = None) -> np.ndarray:
        """Reads a picture as it is learned from: its values as the file holds them.

        Args:
          number: Which one, from 0.
          notes: Receives what was left out of its pixels.
        Returns:
          (H, W, 3) of the file's type; grey is repeated, transparency lies over white.
        Raises:
          ValueError: if it is damaged.
        """
        with clean_errors():
            found = self.samples(number)
        if notes is not None:
            notes += found.notes
        colours = found.colours
        if found.alpha is not None and found.known_alpha:
            colours = over_white(colours, found.alpha)
        if colours.shape[2] != 3:
            colours = np.broadcast_to(colours, (*colours.shape[:2], 3))
        return np.ascontiguousarray(colours)


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lays (H, W, C) colours with (H, W, 1) alpha, both of one type, over white paper."""
    if colours.dtype.kind == "f":
        return (colours * alpha + (1 - alpha)).astype(colours.dtype)
    top = np.iinfo(colours.dtype).max
    covered = alpha.astype(np.float32) / np.float32(top)
    mixed = colours * covered + np.float32(top) * (1 - covered)
    return np.rint(mixed).astype(colours.dtype)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    # Pillow tells of damaged EXIF data, which costs no pixel.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_warnings_ignored = files.Shared(_without_warnings)


_readied = threading.local()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Readies this thread for many files: what each needs is then set once for all of them."""
    if getattr(_readied, "yes", False):
        yield
        return
    with _warnings_ignored(), without_pillow_limit():
        _readied.yes = True
        try:
            yield
        finally:
            _readied.yes = False


@contextlib.contextmanager
def clean_errors() -> Iterator[None]:
    """Makes one ValueError of whatever a decoder raises at damage."""
    try:
        # libjpeg prints what it thinks of a file, which is told in our words.
        with quiet(), files.silent_stderr(show=False):
            yield
    except UnidentifiedImageError as error:
        raise ValueError("is damaged: its head is not that of a picture") from error
    except DAMAGE as error:
        text = reason(error)
        if isinstance(error, _TRIPPED) or text == _OF_WEBP:
            text = f"is damaged or cut off ({text})"
        raise ValueError(text) from error
