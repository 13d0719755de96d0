"""GIF's pictures: where they lie on the screen, before anything is decoded.

Pillow makes room for a picture that is larger than the screen when it comes to it, and a few bytes
can claim 65535x65535.

Reference: GIF89a specification, sections 18 (screen), 20 (image descriptor) and 27 (trailer).
"""

from __future__ import annotations

import struct


def extent(content: bytes) -> tuple[int, int]:
    """Returns the height and width that hold the screen and every picture, in pixels.

    Damage is passed over: whoever decodes says what is wrong.
    """
    height, width, _ = _walk(content)
    return height, width


def has_end(content: bytes) -> bool:
    """Returns whether a file has the mark behind its last picture: one that was cut off has not."""
    return _walk(content)[2]


def _walk(content: bytes) -> tuple[int, int, bool]:
    if len(content) < 13:
        return 0, 0, False
    width, height, flags = struct.unpack_from("<HHB", content, 6)
    place = 13 + _table_bytes(flags)
    while place < len(content):
        kind = content[place]
        if kind == 0x3B:
            return height, width, True
        if kind == 0x21:  # An extension: its label, then blocks.
            place = _after_blocks(content, place + 2)
        elif kind == 0x2C and place + 10 <= len(content):
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", content, place + 1)
            width, height = max(width, left + wide), max(height, top + high)
            place = _after_blocks(content, place + 10 + _table_bytes(flags) + 1)
        else:
            place += 1  # As decoders do, which look for the next picture.
    return height, width, False


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(content: bytes, place: int) -> int:
    while place < len(content) and content[place]:
        place += content[place] + 1
    return place + 1
