"""EXIF data read and corrected in place: all that is not understood, makers' notes too, stays.

Reference: CIPA DC-008 (EXIF 2.32): a TIFF structure whose first directory tells of the picture and
whose second one of a thumbnail.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Callable, Iterator

ORIENTATION = 274
_WIDTH, _HEIGHT, _EXIF_DIRECTORY = 256, 257, 34665
_PIXEL_X, _PIXEL_Y = 40962, 40963
_THUMBNAIL_START, _THUMBNAIL_BYTES = 513, 514
_SHORT, _LONG = 3, 4
_MAGIC = 42


def orientation_of(data: bytes | None) -> int:
    """Returns the orientation, 1 to 8, that EXIF data tells; 1 where there is none, or damage.

    The rules are those of the exported graph (`exporting.saved_model.orientation`): one number of
    a whole type, of several entries the last, and a directory is read as far as it goes.
    """
    order = _byte_order(data)
    value = 1
    if data is None or order is None:
        return value
    with contextlib.suppress(struct.error):
        if struct.unpack_from(order + "H", data, 2)[0] != _MAGIC:
            return value
        for entry, tag, kind, place in _entries(data, order, _start(data, order)):
            (count,) = struct.unpack_from(order + "L", data, entry + 4)
            if entry + 12 > len(data):
                break
            if tag == ORIENTATION and kind in (_SHORT, _LONG) and count == 1:
                value = _value(data, order, kind, place)
    return value if 1 <= value <= 8 else 1


def corrected(data: bytes | None, height: int, width: int) -> bytes | None:
    """Makes EXIF data true of a picture that was turned upright or changed.

    Args:
      data: As a TIFF structure, or None.
      height: Of the picture that it is written with, in pixels.
      width: Likewise.
    Returns:
      A copy that says: upright, of this size, without a thumbnail; None if it is damaged.
    """
    order = _byte_order(data)
    if data is None or order is None:
        return None
    changed = bytearray(data)
    sizes = {ORIENTATION: 1, _WIDTH: width, _HEIGHT: height, _PIXEL_X: width, _PIXEL_Y: height}
    try:
        start = _start(data, order)
        next_place = _correct(changed, order, start, sizes)
        for _, tag, kind, place in _entries(data, order, start):
            if tag == _EXIF_DIRECTORY:
                _try(_correct, changed, order, _value(data, order, kind, place), sizes)
        (thumbnail,) = struct.unpack_from(order + "L", data, next_place)
        if thumbnail:
            struct.pack_into(order + "L", changed, next_place, 0)
            _try(_erase, changed, order, thumbnail)
    except struct.error:
        return None
    return bytes(changed)


def corrected_xmp(packet: bytes | None, height: int, width: int) -> bytes | None:
    """Makes an XMP packet true of a picture: its orientation and its sizes, where it tells them."""
    if packet is None:
        return None
    values = {
        b"tiff:Orientation": 1,
        b"tiff:ImageWidth": width,
        b"tiff:ImageLength": height,
        b"exif:PixelXDimension": width,
        b"exif:PixelYDimension": height,
    }
    for name, value in values.items():
        text = str(value).encode()
        packet = re.sub(rb"(" + name + rb"\s*=\s*[\"'])\d+", rb"\g<1>" + text, packet)
        packet = re.sub(rb"(<" + name + rb">\s*)\d+", rb"\g<1>" + text, packet)
    return packet


def _byte_order(data: bytes | None) -> str | None:
    return {b"II": "<", b"MM": ">"}.get(data[:2]) if data else None


def _start(data: bytes, order: str) -> int:
    return struct.unpack_from(order + "L", data, 4)[0]


def _entries(
    data: bytes | bytearray, order: str, start: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yields each entry's place, tag, type and the place of its value."""
    (count,) = struct.unpack_from(order + "H", data, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        yield entry, tag, kind, entry + 8


def _value(data: bytes | bytearray, order: str, kind: int, place: int) -> int:
    return struct.unpack_from(order + ("L" if kind == _LONG else "H"), data, place)[0]


def _correct(changed: bytearray, order: str, start: int, values: dict[int, int]) -> int:
    """Sets the values of a directory; returns the place of the next one's offset."""
    end = start + 2
    for entry, tag, kind, place in _entries(bytes(changed), order, start):
        end = entry + 12
        if tag in values and kind in (_SHORT, _LONG):
            value = values[tag]
            if kind == _SHORT and value > 0xFFFF:
                # One number of four bytes fits where one of two was.
                struct.pack_into(order + "H", changed, entry + 2, _LONG)
                kind = _LONG
            struct.pack_into(order + ("L" if kind == _LONG else "H"), changed, place, value)
    return end


def _erase(changed: bytearray, order: str, start: int) -> None:
    """Overwrites the thumbnail that a directory tells of."""
    found = {
        tag: _value(changed, order, kind, place)
        for _, tag, kind, place in _entries(bytes(changed), order, start)
        if tag in (_THUMBNAIL_START, _THUMBNAIL_BYTES)
    }
    if len(found) < 2:
        return
    first = found[_THUMBNAIL_START]
    last = min(len(changed), first + found[_THUMBNAIL_BYTES])
    if first >= 8 and last == len(changed):
        del changed[first:]
    elif first >= 8:
        changed[first:last] = bytes(max(0, last - first))


def _try(change: Callable, *arguments: object) -> None:
    # As much of a damaged directory is corrected as is there.
    with contextlib.suppress(struct.error):
        change(*arguments)
