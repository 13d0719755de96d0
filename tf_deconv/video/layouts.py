"""How files of some containers are laid out, and the first byte at which one is not.

FFmpeg's demuxers look for the next part that they understand, and say nothing of what they passed
over. Each function here follows the parts from one to the next, without their content.

References: ISO/IEC 14496-12 (boxes), RFC 3533 (Ogg), Adobe Flash Video File Format 10.1,
Advanced Systems Format 01.20.03, ISO/IEC 13818-1 (packs of a program stream).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import IO

import numpy as np

# Where a file is not laid out as it should, and whether it ends there.
Fault = tuple[int, bool]

_CHUNK_BYTES = 2**24
# The boxes of MOV and MP4 that hold frames, or tell of them.
_BOXES_OF_FRAMES = (b"mdat", b"moof", b"moov")
# Kinds of a tag of Flash: sound, pictures, words; bits above them say how it is encrypted.
_TAGS, _KIND_OF_TAG = (8, 9, 18), 0x1F
_DATA_OF_ASF = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_PROPERTIES_OF_ASF = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# A DVD's sector, which program streams are made of elsewhere too.
_SECTOR_BYTES, _LOOKED_AT, _END_OF_PROGRAM = 2048, 4, b"\0\0\x01\xb9"
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def fault_of_boxes(stream: IO[bytes]) -> Fault | None:
    """Returns where a box of MOV or MP4 begins that goes beyond the file's end."""
    end, at = stream.seek(0, os.SEEK_END), 0
    while at + 8 <= end:
        stream.seek(at)
        head = stream.read(16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if size < 8:  # Up to the end; or no box: what follows the film is none of its parts.
            return None
        if at + size > end:
            return (at, True) if name in _BOXES_OF_FRAMES else None
        at += size
    return None


def fault_of_ogg(stream: IO[bytes]) -> Fault | None:
    """Returns where a page of Ogg is damaged or missing, or its end, where the end mark is."""
    end, at = stream.seek(0, os.SEEK_END), 0
    following: dict[bytes, int] = {}
    open_streams: set[bytes] = set()
    while at < end:
        stream.seek(at)
        head = stream.read(27)
        if len(head) < 27 or head[:5] != b"OggS\0":
            return at, len(head) < 27
        table = stream.read(head[26])
        body = stream.read(sum(table))
        if len(table) < head[26] or len(body) < sum(table):
            return at, True
        page = head[:22] + bytes(4) + head[26:] + table + body
        if _checksum(page) != int.from_bytes(head[22:26], "little"):
            return at, False
        serial, number = head[14:18], int.from_bytes(head[18:22], "little")
        if number != following.get(serial, number):
            return at, False
        following[serial] = number + 1
        (open_streams.discard if head[5] & 4 else open_streams.add)(serial)
        at += 27 + len(table) + len(body)
    return (end, True) if open_streams else None


def _checksum(page: bytes) -> int:
    """Returns Ogg's checksum: that of zlib with bits the other way round, and not inverted."""
    turned = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{turned:032b}"[::-1], 2)


def fault_of_flash(stream: IO[bytes]) -> Fault | None:
    """Returns where something lies in a Flash film that is no tag, or one that is not whole."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(5)
    at = int.from_bytes(stream.read(4), "big") + 4
    while at < end:
        stream.seek(at)
        head = stream.read(11)
        if len(head) < 11 or head[0] & _KIND_OF_TAG not in _TAGS or any(head[8:]):
            return at, len(head) < 11
        after = at + 11 + int.from_bytes(head[1:4], "big")
        if after > end:
            return at, True
        at = after + 4
    return None


def fault_of_asf(stream: IO[bytes]) -> Fault | None:
    """Returns where a data packet of ASF does not begin as the first one does, or is missing."""
    end = stream.seek(0, os.SEEK_END)
    stream.seek(16)
    data = int.from_bytes(stream.read(8), "little")
    stream.seek(0)
    header = stream.read(min(data, 2**24))
    place = header.find(_PROPERTIES_OF_ASF)
    stream.seek(data)
    about = stream.read(50)
    if place < 0 or about[:16] != _DATA_OF_ASF:
        return None
    size = int.from_bytes(header[place + 92 : place + 96], "little")
    count = int.from_bytes(about[40:48], "little")
    first = stream.read(1)
    if size < 1 or not first or not first[0] & 0x80:  # Nothing that all packets begin with.
        return None
    for number in range(count):
        at = data + 50 + number * size
        if at + size > end:
            return at, True
        stream.seek(at)
        if stream.read(1) != first:
            return at, False
    return None


def fault_of_sectors(stream: IO[bytes]) -> Fault | None:
    """Returns where a sector of a program stream does not begin with a start code.

    Streams that are not made of such sectors tell nothing.
    """
    end = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(_LOOKED_AT * _SECTOR_BYTES)
    if len(head) < _LOOKED_AT * _SECTOR_BYTES or not _begin_with_codes(head).all():
        return None
    stream.seek(0)
    at = 0
    while chunk := stream.read(_CHUNK_BYTES):
        right = _begin_with_codes(chunk)
        if not right.all():
            place = at + int(right.argmin()) * _SECTOR_BYTES
            return None if place + len(_END_OF_PROGRAM) >= end else (place, False)
        whole = len(right) * _SECTOR_BYTES
        if whole < len(chunk):
            # FFmpeg ends the last packs where they end.
            return None if chunk[-4:] == _END_OF_PROGRAM else (at + whole, True)
        at += whole
    return None


def _begin_with_codes(sectors: bytes) -> np.ndarray:
    """Returns of each whole sector whether it begins with a code of a program stream."""
    whole = len(sectors) // _SECTOR_BYTES * _SECTOR_BYTES
    begins = np.frombuffer(sectors, np.uint8, whole).reshape(-1, _SECTOR_BYTES)[:, :4]
    return (begins[:, :3] == (0, 0, 1)).all(axis=1) & (begins[:, 3] >= _END_OF_PROGRAM[3])


FAULTS: dict[str, Callable[[IO[bytes]], Fault | None]] = {
    "mov": fault_of_boxes,
    "ogg": fault_of_ogg,
    "flv": fault_of_flash,
    "asf": fault_of_asf,
    "mpeg": fault_of_sectors,
}
