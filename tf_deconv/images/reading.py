"""The one reader of picture files: every command reads through it, so a file is one picture.

Upright, in the file's own depth, colours apart from transparency, with all that the file carries
and a note of what is left out. Pillow decodes 8 bits; libpng, through imagecodecs, 16-bit PNG;
tifffile every TIFF file (`decoders/`). Formats that need more say what (`formats.require_reader`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator

import numpy as np

from tf_deconv.images import arrays, formats, jpeg, value_range
from tf_deconv.images.decoders.jpeg_xl import JpegXlFile
from tf_deconv.images.decoders.pillow import PillowFile
from tf_deconv.images.decoders.png import PngFile
from tf_deconv.images.decoders.tiff import TiffFile
from tf_deconv.images.picture import Picture
from tf_deconv.images.picture_file import Header, PictureFile, Source, clean_errors
from tf_deconv.images.value_range import AUTO, ValueRange

# The largest picture that is decoded unless asked for: 0.8 GB. A file of a few kilobytes can claim
# any size.
MAX_PIXELS = 2**28


@contextlib.contextmanager
def open_pictures(source: Source, max_pixels: int = MAX_PIXELS) -> Iterator[PictureFile]:
    """Opens a picture file; its pixels are not decoded yet.

    Args:
      source: A path, or the bytes of a file; its content decides what it is, not its name.
      max_pixels: Larger pictures are refused from their header.
    Yields:
      The file.
    Raises:
      ValueError: if it is no picture that is read here, is damaged, or is too large.
    """
    with clean_errors():
        file = _open(source)
    try:
        for height, width in file.header.sizes or ((file.header.height, file.header.width),):
            if height * width > max_pixels:
                raise ValueError(
                    f"{width}x{height} is {height * width:,} pixels: more than --max-pixels"
                    f" {max_pixels}"
                )
        yield file
    finally:
        file.close()


def _open(source: Source) -> PictureFile:
    if isinstance(source, bytes):
        head, size_bytes = source[: formats.HEAD_BYTES], len(source)
    else:
        if not isinstance(source, pathlib.Path):
            source = pathlib.Path(source)
        formats.require_plain_file(source)
        with open(source, "rb", buffering=0) as stream:
            head = stream.read(formats.HEAD_BYTES)
            size_bytes = len(head)
    kind = formats.sniff(head)
    if kind not in formats.FORMATS:
        raise ValueError(formats.refusal(kind, size_bytes))
    formats.require_reader(kind)
    if kind == "TIFF":
        return TiffFile(source)
    if kind == "PNG":
        return PngFile(source)
    if kind == "JPEG XL":
        return JpegXlFile(source)
    return PillowFile(source, kind)


def read_head(source: pathlib.Path) -> tuple[Header, tuple[str, ...]]:
    """Reads the head of a picture file for a listing: its header, and what is left out of it.

    Of a plain JPEG file only the segments are looked at; damage in others comes out when it is
    decoded. Larger pictures than `MAX_PIXELS` are not refused.

    Raises:
      ValueError: if it is no picture that is read here.
    """
    with clean_errors():
        formats.require_plain_file(source)
        with open(source, "rb", buffering=0) as stream:
            head = stream.read(formats.HEAD_BYTES)
            if head.startswith(b"\xff\xd8\xff"):
                size = jpeg.read_size(head)
                if size is None and len(head) == formats.HEAD_BYTES:
                    size = jpeg.read_size(head + stream.read(jpeg.HEAD_BYTES))
                if size is not None:
                    height, width, components = size
                    channels = 1 if components == 1 else 3
                    return Header("JPEG", height, width, channels=channels), ()
    with open_pictures(source, sys.maxsize) as file:
        return file.header, file.notes


def read_header(source: Source) -> Header:
    """Reads the head of a picture file; nothing is decoded.

    Raises:
      ValueError: if it is no picture that is read here.
    """
    with open_pictures(source) as file:
        return file.header


def read_picture(
    source: Source, max_pixels: int = MAX_PIXELS, values: ValueRange = AUTO
) -> Picture:
    """Reads a picture file.

    Args:
      source: A path or the bytes of a file, whatever its name says.
      max_pixels: Larger pictures are refused from their header.
      values: Which values of the file are black and white.
    Returns:
      The picture; of several in a file the first, which a note says.
    Raises:
      ValueError: if it is not a picture, is damaged, or is too large.
    """
    with open_pictures(source, max_pixels) as file:
        picture = file.read(0, values)
        count = file.header.count
    if count > 1:
        note = f"of {count} pictures in the file, the first was taken"
        picture = dataclasses.replace(picture, notes=(note, *picture.notes))
    return picture


def read_rgb(source: Source) -> np.ndarray:
    """Decodes the first picture of a file to 8 bits.

    Args:
      source: A path, or the bytes of a file.
    Returns:
      (H, W, 3) uint8, upright; grey is repeated, transparency lies over white, more bits are
      rounded.
    Raises:
      ValueError: if it is not a picture, or is damaged.
    """
    with open_pictures(source) as file:
        samples = file.read_raw(0)
    return as_bytes(samples)


def as_bytes(samples: np.ndarray) -> np.ndarray:
    """Rounds values as a file holds them to uint8.

    Raises:
      ValueError: if they are float beyond [0, 1], or not numbers.
    """
    if samples.dtype == np.uint8:
        return samples
    if samples.dtype == np.uint16:
        return arrays.to_uint8(arrays.as_unit(samples))
    levels, _ = value_range.find_levels(samples)
    return arrays.to_uint8(samples if levels is None else value_range.to_unit(samples, levels))
