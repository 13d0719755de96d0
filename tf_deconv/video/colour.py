"""What the numbers of a film's frames mean, and frames as arrays of RGB and back.

A film stores luma and chroma; a network takes RGB. Which matrix leads from the one to the other,
and which values are black and white, the film says or, where it does not, players agree on. Frames
go to RGB and back by the same rule, so that a wrong guess of it changes no colour. Primaries and
transfer are never converted: a film in PQ or HLG stays in it.

References: ITU-T H.273 (the code points), ITU-R BT.601, BT.709, BT.2020 and BT.2100.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_deconv.utils.options import UserError

# Code points of H.273 that more than one module asks for.
UNSPECIFIED, RGB_MATRIX = 2, 0
LIMITED_RANGE, FULL_RANGE = 1, 2
PQ, HLG, BT2020_PRIMARIES = 16, 18, 9
TRANSFERS_OF_HDR = {PQ: "PQ", HLG: "HLG"}

# The matrices that FFmpeg's converter knows, by what it calls them.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601, BT709 = 5, 1
_UNKNOWN_MATRICES = {
    8: "YCgCo",
    11: "SMPTE 2085",
    12: "chromaticity-derived",
    13: "chromaticity-derived",
    14: "ICtCp",
    15: "IPT",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
# Where a film says nothing: as players do, BT.709 above the lines of standard definition.
_MOST_LINES_OF_SD = 576
# SWS_BICUBIC | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_ACCURATE_RND of libswscale: without
# them every second column would take its chroma from its neighbour, and rounding would be biased.
_INTERPOLATION = 0x4 | 0x2000 | 0x4000 | 0x40000
_NEAREST = 0x10
# Width and height of a copy that carries what a frame does beside its pixels.
_SMALL = (16, 16)


@dataclasses.dataclass(frozen=True)
class Colour:
    """What a film says of its colours; code points of H.273.

    Attributes:
      matrix: From RGB to luma and chroma.
      range: `LIMITED_RANGE`, `FULL_RANGE` or 0: not said.
      primaries: What red, green and blue are.
      transfer: From light to values.
    """

    matrix: int = UNSPECIFIED
    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @property
    def hdr(self) -> str | None:
        """Returns the transfer of a film of high dynamic range, "PQ" or "HLG"; else None."""
        return TRANSFERS_OF_HDR.get(self.transfer)


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """How a pixel format of FFmpeg stores a frame.

    Attributes:
      name: FFmpeg's.
      bits: Of its deepest channel.
      channels: Of the array that it becomes: 1 grey, 3 colour, 4 colour and alpha.
      is_rgb: Whether it stores red, green and blue; a palette does.
      chroma: Part of the columns, and of the lines, that chroma has: (1, 1), (2, 1), (2, 2), ...
    """

    name: str
    bits: int
    channels: int
    is_rgb: bool
    chroma: tuple[int, int]

    @property
    def array_format(self) -> str:
        """Returns the format of FFmpeg's whose memory is the array."""
        names = {1: ("gray", "gray16le"), 3: ("rgb24", "rgb48le"), 4: ("rgba", "rgba64le")}
        return names[self.channels][self.bits > 8]

    @property
    def dtype(self) -> np.dtype:
        """Returns the array's type: uint8, or uint16 for more than 8 bits."""
        return np.dtype("<u2" if self.bits > 8 else np.uint8)


def describe_format(name: str) -> PixelFormat:
    """Describes a pixel format.

    Raises:
      UserError: if it holds no colours that are read: raw sensor data, or floats.
    """
    from av.video.format import VideoFormat

    shape = VideoFormat(name, 64, 64)
    if shape.is_bayer or "f16" in name or "f32" in name or name.startswith("xyz"):
        raise UserError(f"its pixel format {name} is not read: expected 8 to 16 bits of colours")
    parts = shape.components
    if shape.has_palette:
        return PixelFormat(name, 8, 4, True, (1, 1))
    alpha = any(part.is_alpha for part in parts) and name not in ("ya8", "ya16be", "ya16le")
    colours = [part for part in parts if not part.is_alpha]
    chroma = (1, 1)
    if not shape.is_rgb and len(colours) == 3:
        chroma = (64 // colours[1].width, 64 // colours[1].height)
    bits = max(part.bits for part in parts)
    channels = 1 if len(colours) < 3 else 4 if alpha else 3
    # `rgb0` and its kind have four bytes and no alpha.
    return PixelFormat(name, bits, channels, bool(shape.is_rgb), chroma)


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How frames of a film become RGB, and become frames again.

    Attributes:
      pixels: The film's pixel format.
      matrix: As FFmpeg's converter calls it.
      range: `LIMITED_RANGE` or `FULL_RANGE`.
    """

    pixels: PixelFormat
    matrix: int
    range: int

    @classmethod
    def of(cls, pixels: PixelFormat, colour: Colour, lines: int) -> Conversion:
        """Decides it for a film of so many lines.

        Raises:
          UserError: if the film's matrix is none that FFmpeg converts.
        """
        if colour.matrix in _UNKNOWN_MATRICES and not pixels.is_rgb:
            raise UserError(
                f"its colours are stored as {_UNKNOWN_MATRICES[colour.matrix]}, which is not read:"
                " expected BT.601, BT.709 or BT.2020"
            )
        guess = BT709 if lines > _MOST_LINES_OF_SD else _BT601
        full = pixels.is_rgb or pixels.name.startswith("yuvj") or colour.range == FULL_RANGE
        # Grey pictures that say nothing fill their values, as those of PNG and of cameras do.
        full = full or (pixels.channels == 1 and colour.range == 0)
        return cls(
            pixels, _MATRICES.get(colour.matrix, guess), FULL_RANGE if full else LIMITED_RANGE
        )


class Converter:
    """Frames to arrays and back; each thread needs one of its own."""

    def __init__(self, conversion: Conversion):
        from av.video.reformatter import VideoReformatter

        self.conversion = conversion
        self._to_array, self._to_frame = VideoReformatter(), VideoReformatter()

    def to_array(self, frame: Any) -> tuple[np.ndarray, Any]:
        """Converts a decoded frame.

        Args:
          frame: `av.VideoFrame` in the film's pixel format.
        Returns:
          (H, W, 1), (H, W, 3) or (H, W, 4) uint8 or uint16 over the full range, which may be
          written over; and the frame whose memory it is. That one carries what the decoded frame
          does: time, captions, fields, mastering data.
        """
        given = self.conversion
        converted = self._to_array.reformat(
            frame,
            format=given.pixels.array_format,
            src_colorspace=given.matrix,
            src_color_range=given.range,
            dst_color_range=FULL_RANGE,
            interpolation=_INTERPOLATION,
            threads=1,
        )
        return view(converted, given.pixels), converted

    def to_frame(
        self, array_frame: Any, pixel_format: str, size: tuple[int, int], full_range: bool
    ) -> Any:
        """Converts the frame of an array (`to_array`, `wrap`) to what an encoder takes.

        Args:
          array_frame: The frame whose memory the array is.
          pixel_format: The encoder's.
          size: (height, width), at least the frame's; the last lines and columns are repeated.
          full_range: Whether luma fills its values.
        """
        frame = _padded(array_frame, size)
        return self._to_frame.reformat(
            frame,
            format=pixel_format,
            src_colorspace=self.conversion.matrix,
            dst_colorspace=self.conversion.matrix,
            src_color_range=FULL_RANGE,
            dst_color_range=FULL_RANGE if full_range else LIMITED_RANGE,
            interpolation=_INTERPOLATION,
            threads=1,
        )


def view(frame: Any, pixels: PixelFormat) -> np.ndarray:
    """Returns the memory of a frame of `PixelFormat.array_format` as an array (H, W, C)."""
    plane, step = frame.planes[0], pixels.dtype.itemsize
    return np.ndarray(
        (frame.height, frame.width, pixels.channels),
        pixels.dtype,
        buffer=plane,
        strides=(plane.line_size, pixels.channels * step, step),
    )


def wrap(array: np.ndarray, like: Any) -> Any:
    """Makes a frame of an array that has another size than the frame it was made of.

    Args:
      array: (H, W, C) uint8 or uint16.
      like: The frame of whose time it is, and whose closed captions go with it.
    """
    from av import VideoFrame

    names = {1: ("gray", "gray16le"), 3: ("rgb24", "rgb48le"), 4: ("rgba", "rgba64le")}
    name = names[array.shape[-1]][array.dtype.itemsize > 1]
    if has_captions(like):
        # PyAV carries them from frame to frame where it converts one, and adds none to another.
        height, width, channels = array.shape
        frame = like.reformat(width, height, name, interpolation=_NEAREST, threads=1)
        bits = 8 * array.dtype.itemsize
        view(frame, PixelFormat(name, bits, channels, True, (1, 1)))[...] = array
        return frame
    flat = array[..., 0] if array.shape[-1] == 1 else array
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(flat), format=name)
    frame.pts, frame.time_base, frame.duration = like.pts, like.time_base, like.duration
    frame.color_primaries, frame.color_trc = like.color_primaries, like.color_trc
    return frame


def has_captions(frame: Any) -> bool:
    """Returns whether closed captions (CEA-708) go with a frame."""
    # A frame that was asked for its side data is in a cycle with it (PyAV 18.1), and its memory
    # lasts until the garbage is collected, a hundred frames later: so a small copy is asked.
    small = frame.reformat(*_SMALL, "gray", interpolation=_NEAREST, threads=1)
    return any(each.type.name == "A53_CC" for each in small.side_data)


def _padded(frame: Any, size: tuple[int, int]) -> Any:
    if (frame.height, frame.width) == size:
        return frame
    channels = {"gray": 1, "gray16le": 1, "rgb24": 3, "rgb48le": 3}.get(frame.format.name, 4)
    bits = 16 if frame.format.name.endswith("le") else 8
    array = view(frame, PixelFormat(frame.format.name, bits, channels, True, (1, 1)))
    down, across = size[0] - frame.height, size[1] - frame.width
    return wrap(np.pad(array, ((0, down), (0, across), (0, 0)), "edge"), frame)


# How pixels are turned, as `arrays.oriented` takes it, by the signs of a display matrix.
_TURNS = {
    (1, 0, 0, 1): 0,
    (0, -1, 1, 0): 1,
    (-1, 0, 0, -1): 2,
    (0, 1, -1, 0): 3,
    (-1, 0, 0, 1): 4,
    (0, 1, 1, 0): 5,
    (1, 0, 0, -1): 6,
    (0, -1, -1, 0): 7,
}


def orientation_of(matrix: Sequence[int] | None) -> int:
    """Returns how a display matrix turns pixels upright, as `arrays.oriented` takes it.

    Args:
      matrix: The 9 numbers of ISO/IEC 14496-12, section 8.2.2; None: upright. What is no quarter
        turn or mirror image is left as it is.
    """
    if matrix is None:
        return 0
    a, b, _, c, d = matrix[:5]
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    return _TURNS.get(signs, 0)


def display_matrix(side_data: bytes) -> tuple[int, ...] | None:
    """Returns the matrix in a frame's side data; None where it is the identity."""
    if len(side_data) < 36:
        return None
    matrix = struct.unpack("=9i", side_data[:36])
    return None if matrix[:2] + matrix[3:5] == (1 << 16, 0, 0, 1 << 16) else matrix


def is_quarter_turn(matrix: Sequence[int]) -> bool:
    """Returns whether a display matrix turns by quarters, or mirrors, and does nothing else."""
    return any(are_alike(matrix, (a << 16, b << 16, 0, c << 16, d << 16)) for a, b, c, d in _TURNS)


def are_alike(matrix: Sequence[int], other: Sequence[int] | None) -> bool:
    """Returns whether two display matrices show a picture alike, wherever it lies; None: upright.

    Containers keep an angle instead, or 16 bits of a fraction: a thousandth is no difference.
    """
    other = other or (1 << 16, 0, 0, 0, 1 << 16)
    return all(abs(matrix[place] - other[place]) < 2**16 / 1000 for place in (0, 1, 3, 4))


def matrix_text(matrix: Sequence[int]) -> str:
    """Returns what of a display matrix turns and scales, for a message: "0.5 0 0 1"."""
    return " ".join(f"{matrix[place] / 2**16:.3g}" for place in (0, 1, 3, 4))


@dataclasses.dataclass(frozen=True)
class Mastering:
    """On what screen a film of high dynamic range was made: SMPTE ST 2086, CTA-861.3.

    Attributes:
      primaries: x and y of red, green and blue, and of white; None: not said.
      luminance: The lowest and the highest, cd/m2; None: not said.
      light: The brightest pixel, and the brightest mean of a frame, cd/m2; None: not said.
    """

    primaries: tuple[float, ...] | None = None
    luminance: tuple[float, float] | None = None
    light: tuple[int, int] | None = None


def mastering_of(display: bytes | None, light: bytes | None) -> Mastering | None:
    """Reads AVMasteringDisplayMetadata and AVContentLightMetadata of a frame's side data."""
    primaries = luminance = levels = None
    if display is not None and len(display) >= 88:
        numbers = struct.unpack("=22i", display[:88])
        values = [
            numerator / denominator if denominator else 0.0
            for numerator, denominator in zip(numbers[0:20:2], numbers[1:20:2])
        ]
        if numbers[20]:
            primaries = tuple(values[:8])
        if numbers[21]:
            luminance = values[8], values[9]
    if light is not None and len(light) >= 8:
        levels = struct.unpack("=2I", light[:8])
    if primaries is None and luminance is None and levels is None:
        return None
    return Mastering(primaries, luminance, levels)
