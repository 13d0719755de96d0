"""The size of a JPEG file from its first segments, without a decoder.

Training asks this of every file of a folder before it decodes any; Pillow's header costs several
times as much, and is read anyway when the picture is decoded.

Reference: ITU-T T.81, annex B.
"""

from __future__ import annotations

import struct

from tf_deconv.images import exif

# How much of a file is looked at: a segment has at most 64 KB, and a long one may come first.
HEAD_BYTES = 1 << 17
# Frame headers: 0xC4, 0xC8 and 0xCC among them are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP1, _APP2, _SCAN, _END = 0xE1, 0xE2, 0xDA, 0xD9


def read_size(head: bytes) -> tuple[int, int, int] | None:
    """Tells the size of the upright picture.

    Args:
      head: The first bytes of a JPEG file.
    Returns:
      Height, width and number of components; None where that is not all there is to tell: the frame
      is not within these bytes, other pictures follow (MPF), or a segment is damaged.
    """
    place, orientation, seen = 2, 1, False
    while place + 9 <= len(head):
        if head[place] != 0xFF:
            return None
        marker = head[place + 1]
        (length,) = struct.unpack_from(">H", head, place + 2)
        if length < 2 or marker in (0xFF, _SCAN, _END) or marker < 0xC0:
            return None
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", head, place + 5)
            if not height or not width:
                return None
            turned = orientation >= 5
            return (width, height, components) if turned else (height, width, components)
        if marker == _APP1 and head.startswith(b"Exif\0\0", place + 4):
            end = place + 2 + length
            if seen or end > len(head):
                return None
            seen = True
            orientation = exif.orientation_of(head[place + 10 : end])
        if marker == _APP2 and head.startswith(b"MPF\0", place + 4):
            return None
        place += 2 + length
    return None
