"""Which container a film is in, told from its first bytes, and what each container is written as.

A name says nothing, as of pictures; and the demuxer is chosen here, never by FFmpeg, which would
also take playlists and scripts that name other files (HLS, DASH, concat, SDP).
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

from tf_deconv.images import formats
from tf_deconv.utils import files


@dataclasses.dataclass(frozen=True)
class Container:
    """A container of films.

    Attributes:
      name: As in messages.
      suffixes: What its files end in, the usual one first.
      demuxer: What reads it, one name of FFmpeg's.
      muxer: What writes it; None: it is not written.
      becomes: The container that a film of it is written in; itself, where it is written.
      codecs: The codecs (`codecs.CODECS`) that it is written with, the one to fall back on first.
      holds_turns: Whether it holds a display matrix, such as a phone's quarter turn.
      options: What the muxer is told.
    """

    name: str
    suffixes: tuple[str, ...]
    demuxer: str
    muxer: str | None
    becomes: str
    codecs: tuple[str, ...] = ()
    holds_turns: bool = False
    options: tuple[tuple[str, str], ...] = ()


# What any player plays comes first. An index at the front starts a film on a web page sooner.
_MOV = ("h264", "hevc", "prores", "mpeg4", "mpeg2", "mjpeg")
_MP4 = ("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2", "mjpeg")
_FAST = (("movflags", "+faststart"),)
# Time stamps of the source are kept; without it the muxer adds its own delay.
_EXACT = (("mpegts_copyts", "1"), ("muxdelay", "0"))

CONTAINERS = {
    entry.name: entry
    for entry in (
        Container("MP4", (".mp4",), "mov", "mp4", "MP4", _MP4, True, _FAST),
        Container("M4V", (".m4v",), "mov", "mp4", "M4V", _MP4, True, (*_FAST, ("brand", "M4V "))),
        Container("MOV", (".mov", ".qt"), "mov", "mov", "MOV", _MOV, True, _FAST),
        Container("3GP", (".3gp", ".3g2"), "mov", "3gp", "3GP", ("h264", "mpeg4"), True),
        Container(
            "Matroska",
            (".mkv", ".mk3d"),
            "matroska",
            "matroska",
            "Matroska",
            ("h264", "hevc", "av1", "vp9", "vp8", "ffv1", "mpeg4", "mpeg2", "mjpeg", "prores"),
            True,
        ),
        Container("WebM", (".webm",), "matroska", "webm", "WebM", ("vp9", "av1", "vp8"), True),
        Container(
            "AVI", (".avi",), "avi", "avi", "AVI", ("h264", "mjpeg", "mpeg4", "mpeg2", "ffv1")
        ),
        Container(
            "MPEG-TS",
            (".ts", ".mts", ".m2ts"),
            "mpegts",
            "mpegts",
            "MPEG-TS",
            ("h264", "hevc", "mpeg2"),
            options=_EXACT,
        ),
        Container("MPEG-PS", (".mpg", ".mpeg", ".vob", ".m2p"), "mpeg", None, "Matroska"),
        Container("MPEG video", (".m2v", ".m1v"), "mpegvideo", None, "Matroska"),
        Container("Ogg", (".ogv", ".ogg"), "ogg", None, "Matroska"),
        Container("Flash", (".flv",), "flv", None, "MP4"),
        # PyAV copies its sound (WMA) into AVI alone besides, and its frames have one time alone: a
        # codec whose frames are shown in the order in which they are decoded.
        Container("ASF", (".wmv", ".asf"), "asf", "asf", "ASF", ("mpeg4",)),
        # An animation among pictures; it is a film where something is asked for that films have.
        Container("GIF", (".gif",), "gif", None, "MP4"),
    )
}
SUFFIXES = tuple(suffix for entry in CONTAINERS.values() for suffix in entry.suffixes)
# The container that --out names, by its suffix: those that can be written.
CONTAINER_OF = {
    suffix: entry
    for entry in CONTAINERS.values()
    if entry.muxer is not None
    for suffix in entry.suffixes
}
_BRANDS_OF_MOV, _BRANDS_OF_M4V = (b"qt  ",), (b"M4V ", b"M4VH", b"M4VP")


def sniff(head: bytes) -> Container | None:
    """Tells which container a film is in.

    Args:
      head: Its first `formats.HEAD_BYTES` bytes, or all of a shorter one.
    Returns:
      The container; None: it is no film of a kind that is read.
    """
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return CONTAINERS["GIF"]
    if formats.sniff(head) != "a film":
        return None
    return CONTAINERS[_name_of(head)]


def _name_of(head: bytes) -> str:
    if head[:4] == b"\x1aE\xdf\xa3":
        return "WebM" if b"webm" in head[:64] else "Matroska"
    if head[:4] == b"RIFF":
        return "AVI"
    if head[:4] == b"OggS":
        return "Ogg"
    if head[:3] == b"FLV":
        return "Flash"
    if head[:4] == b"\x30\x26\xb2\x75":
        return "ASF"
    if head[:4] == b"\0\0\x01\xba":
        return "MPEG-PS"
    if head[:4] == b"\0\0\x01\xb3":
        return "MPEG video"
    if formats.is_transport_stream(head):
        return "MPEG-TS"
    brand = head[8:12]
    if head[4:8] != b"ftyp" or brand in _BRANDS_OF_MOV:
        return "MOV"
    if brand in _BRANDS_OF_M4V:
        return "M4V"
    return "3GP" if brand[:2] == b"3g" else "MP4"


def container_of(path: str | os.PathLike[str]) -> Container | None:
    """Tells which container a file is in, as `sniff` does; None of what is no plain file.

    Raises:
      OSError: if it cannot be read.
    """
    path = pathlib.Path(path)
    if path.is_dir() or files.special(path):
        return None
    with open(path, "rb", buffering=0) as stream:
        return sniff(stream.read(formats.HEAD_BYTES))
