"""Whether a film's file is whole, where FFmpeg's libraries skip what is damaged without a word.

A decoder tells of packets that it cannot decode; but of a damaged container packets are missing,
and nothing says so. How long the film is, how many frames its index has, and whether its parts
follow one another without a gap, tells of it. Also here: the name of a codec that nothing decodes.
"""

from __future__ import annotations

import os
import re
from fractions import Fraction
from typing import IO, Any

import numpy as np

from tf_deconv.images import formats, gif
from tf_deconv.video import layouts
from tf_deconv.video.containers import Container

# A film that ends so long before its file says that it does breaks off.
_BREAKS_OFF_S = Fraction(1, 2)
# Containers whose head tells how long a film is; of others it is a guess by their size.
_TELL_LENGTH = ("mov", "matroska", "avi", "flv", "asf")
# A packet of MPEG-4 as small as that stands for a frame that was packed into another one.
_PLACEHOLDER_BYTES = 20
_CHUNK_BYTES = 2**24
# So many zeros at the end of a packet are no part of it.
_ZEROS_WITHIN = 16
# Of a transport stream, as cameras write it; 188 are usual.
_LONGEST_PACKET = 192

# Elements of Matroska (RFC 9559): what lies in a segment, and in a cluster.
_EBML, _SEGMENT, _CLUSTER, _VOID, _CRC = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xEC, 0xBF
_IN_SEGMENT = {
    *(_CLUSTER, _VOID, _CRC, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469),
    *(0x1043A770, 0x1254C367),
}
_AT_TOP = {_EBML, _SEGMENT, _VOID, _CRC}
_IN_CLUSTER = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0x5854, 0xAF, _VOID, _CRC}


def breaks_off(
    film: Any, heard_s: Fraction, start_s: float | None, duration_s: float | None
) -> str | None:
    """Tells where a film ends that should go on; None where it does not.

    Args:
      film: `reading.Film`, decoded to its end or to that of `duration_s`.
      heard_s: When the last of its other streams ends, in seconds from its beginning.
      start_s: Where decoding began, in seconds; None: at the beginning.
      duration_s: How much was decoded; None: all of it.
    """
    if film.container.demuxer not in _TELL_LENGTH or film.duration_s is None:
        return None
    wanted_s = film.duration_s
    if duration_s is not None:
        asked_s = Fraction((start_s or 0.0) + duration_s).limit_denominator(10**6)
        wanted_s = min(wanted_s, asked_s)
    end_s = max(film.last_s, heard_s)
    if end_s + _BREAKS_OFF_S >= wanted_s:
        return None
    return f"it breaks off at {float(end_s):.2f} s of {float(film.duration_s):.2f} s"


def fault_of(path: str | os.PathLike[str], film: Any, frames: int | None) -> str | None:
    """Tells what of a file is missing or damaged by how it is built; None: nothing is seen.

    Args:
      path: The file.
      film: `reading.Film` of it.
      frames: How many frames were decoded; None where that was not all of it.
    Raises:
      OSError: if it cannot be read.
    """
    kind = film.container.demuxer
    if kind == "avi":
        if _is_cut_off(path):
            return f"it breaks off at {float(film.last_s):.2f} s"
        index = [entry for entry in film.stream.index_entries if entry.size > _PLACEHOLDER_BYTES]
        gone = 0 if frames is None else len(index) - frames - film.broken
        word = "frame" if gone == 1 else "frames"
        return f"{gone} {word} of its index could not be found" if gone > 0 else None
    if kind == "gif":
        with open(path, "rb") as stream:
            whole = gif.has_end(stream.read())
        return None if whole else f"it breaks off at {float(film.last_s):.2f} s"
    if kind in layouts.FAULTS:
        with open(path, "rb") as stream:
            fault = layouts.FAULTS[kind](stream)
            if fault is None or (fault[0] and _is_padding(stream, fault[0])):
                return None
        at, ends_there = fault
        if ends_there:
            return f"it breaks off at {float(film.last_s):.2f} s"
        return f"it is damaged at byte {at}"
    if kind not in ("matroska", "mpegts"):
        return None
    with open(path, "rb") as stream:
        at = _fault_of_matroska(stream) if kind == "matroska" else _fault_of_transport(stream)
    if at is None:
        return None
    in_last_packet = kind == "mpegts" and at + _LONGEST_PACKET > os.path.getsize(path)
    return "it breaks off within a packet" if in_last_packet else f"it is damaged at byte {at}"


def _is_cut_off(path: str | os.PathLike[str]) -> bool:
    """Returns whether an AVI is shorter than its head says: how long it lasts is not recorded."""
    with open(path, "rb") as stream:
        head = stream.read(8)
        return int.from_bytes(head[4:], "little") + 8 > os.path.getsize(path)


def _fault_of_transport(stream: IO[bytes]) -> int | None:
    """Returns where packets of a transport stream do not follow one another."""
    head = stream.read(formats.HEAD_BYTES)
    step, first = (188, 0) if head[:1] == b"\x47" else (_LONGEST_PACKET, 4)
    stream.seek(0)
    at = 0
    while chunk := stream.read(_CHUNK_BYTES // step * step):
        whole = len(chunk) // step * step
        packets = np.frombuffer(chunk, np.uint8, whole).reshape(-1, step)
        # The sync byte; and the bit by which a receiver marks what it got wrong.
        wrong = (packets[:, first] != 0x47) | (packets[:, first + 1] & 0x80 != 0)
        if wrong.any():
            place = at + int(wrong.argmax()) * step
            return None if _is_padding(stream, place) else place
        if whole < len(chunk):
            return None if _is_padding(stream, at + whole) else at + whole
        at += whole
    return None


def _is_padding(stream: IO[bytes], place: int) -> bool:
    """Returns whether a file is filled up from a place on, as disks and burned discs have it.

    Zeros that begin within the packet before are what a download has not reached.
    """
    stream.seek(max(0, place - _ZEROS_WITHIN))
    if not any(stream.read(min(place, _ZEROS_WITHIN))):
        return False
    filling = stream.read(1)
    if filling not in (b"\0", b"\xff"):
        return False
    while chunk := stream.read(_CHUNK_BYTES):
        if chunk.count(filling) < len(chunk):
            return False
    return True


def _fault_of_matroska(stream: IO[bytes]) -> int | None:
    """Returns where an element lies that should not, or goes beyond what it is in."""
    end = stream.seek(0, os.SEEK_END)
    at, within, cluster_end = 0, _AT_TOP, end
    while at < end:
        found = _element(stream, at)
        if found is None:
            return at
        name, body, size = found
        if within is _IN_CLUSTER and (at >= cluster_end or name in _IN_SEGMENT - _IN_CLUSTER):
            # A cluster of unknown size ends where something begins that does not belong into it.
            within, cluster_end = _IN_SEGMENT, end
        if name not in within:
            return at
        if name == _SEGMENT:
            within, end = _IN_SEGMENT, end if size is None else min(end, body + size)
            at, cluster_end = body, end
        elif name == _CLUSTER:
            within, at = _IN_CLUSTER, body
            cluster_end = end if size is None else body + size
        elif size is None or body + size > min(end, cluster_end):
            return at
        else:
            at = body + size
    return None


def _element(stream: IO[bytes], at: int) -> tuple[int, int, int | None] | None:
    """Reads an element's head; returns its name, where its body is, and its size if known."""
    stream.seek(at)
    head = stream.read(12)
    if not head or not head[0]:
        return None
    name_bytes = 9 - head[0].bit_length()
    if name_bytes > 4 or len(head) <= name_bytes or not head[name_bytes]:
        return None
    size_bytes = 9 - head[name_bytes].bit_length()
    raw = head[name_bytes : name_bytes + size_bytes]
    if len(raw) < size_bytes:
        return None
    size = int.from_bytes(raw, "big") & ((1 << 7 * size_bytes) - 1)
    unknown = size == (1 << 7 * size_bytes) - 1
    name = int.from_bytes(head[:name_bytes], "big")
    return name, at + name_bytes + size_bytes, None if unknown else size


def codec_name(path: str | os.PathLike[str], container: Container) -> str | None:
    """Returns what a file calls the codec of its pictures; None where that is not found.

    FFmpeg's libraries have no name for a codec that they do not know.
    """
    with open(path, "rb") as stream:
        if container.demuxer == "mov":
            found = _codec_of_mov(_movie_box(stream))
        elif container.demuxer == "avi":
            # The head of a stream says what it is, and after it the format names the codec.
            found = re.search(rb"strh....vids.{1,200}?strf.{20}(.{4})", stream.read(2**16), re.S)
        elif container.demuxer == "matroska":
            found = re.search(rb"\x86[\x80-\xff](V_[ -~]{1,40})", stream.read(2**20))
        else:
            return None
    name = re.sub(rb"[^ -~]", b"", found[1]).decode().strip() if found else ""
    return name or None


def _codec_of_mov(movie: bytes) -> re.Match[bytes] | None:
    for track in movie.split(b"trak")[1:]:
        if b"hdlr" in track and track.split(b"hdlr")[1][8:12] == b"vide":
            return re.search(rb"stsd.{12}(.{4})", track, re.S)
    return None


def _movie_box(stream: IO[bytes]) -> bytes:
    """Returns the box that describes the tracks, at most 64 MB of it; b"" where there is none."""
    end = stream.seek(0, os.SEEK_END)
    at = 0
    while at + 8 <= end:
        stream.seek(at)
        head = stream.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        if head[4:8] == b"moov":
            stream.seek(at)
            return stream.read(min(size or end, 2**26))
        if size < 8:
            return b""
        at += size
    return b""
