"""What a file is, told from its first bytes: a picture that is read here, another kind, or none.

A name says nothing: phones and web pages hand out HEIC named .jpg and JPEG named .jfif. Every
command asks this module, so one file is the same picture for all of them.

References: PNG (ISO/IEC 15948), JPEG (ITU-T T.81), TIFF 6.0 and BigTIFF, RIFF/WebP (RFC 9649),
ISO base media files (ISO/IEC 14496-12, brands in 23000-22 for HEIF and AVIF), JPEG XL (18181-2).
"""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import os
import pathlib
import stat
from collections.abc import Callable, Iterable, Sequence

from PIL import features

from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError, reason

# How much of a file `sniff` needs.
HEAD_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of picture file that is read.

    Attributes:
      name: As in messages and in `Picture.format`.
      suffixes: What its files end in, the usual one first.
      writes: The format that a picture of it is written in again.
      module: What has to be installed besides this project's own requirements; None: nothing.
    """

    name: str
    suffixes: tuple[str, ...]
    writes: str
    module: str | None = None


# GIF holds 256 colours, which is not enough for what a network makes.
FORMATS = {
    entry.name: entry
    for entry in (
        Format("PNG", (".png", ".apng"), "PNG"),
        Format("JPEG", (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo"), "JPEG"),
        Format("TIFF", (".tif", ".tiff", ".btf", ".tf8"), "TIFF"),
        Format("WEBP", (".webp",), "WEBP"),
        Format("BMP", (".bmp", ".dib"), "BMP"),
        Format("GIF", (".gif",), "PNG"),
        Format("AVIF", (".avif", ".avifs"), "AVIF"),
        Format("HEIC", (".heic", ".heif", ".hif"), "HEIC", "pillow_heif"),
        Format("JPEG XL", (".jxl",), "JPEG XL", "pillow_jxl"),
    )
}
SUFFIXES = tuple(suffix for entry in FORMATS.values() for suffix in entry.suffixes)

# Kinds that are seen among pictures and are not read: what they are, and what to do about it.
_CONVERT = "convert it to PNG, TIFF or JPEG first"
_DEVELOP = "develop it to TIFF or JPEG first, as darktable or RawTherapee do"
_FRAMES = "cut it into pictures first, as `tf-deconv restore FILM --strength 0 --frames DIR` does"
_REWRAP = "put it into Matroska first, as `ffmpeg -i FILE -c copy FILE.mkv` does"
# Frames of a raw stream have no times that could be copied.
_DECODE = "put it into Matroska first, as `ffmpeg -i FILE -c:v ffv1 FILE.mkv` does without loss"
_PAGES = "take its pictures out first, as `pdfimages -all FILE page` does"
UNREAD_FILMS = {
    "a film in MXF": _REWRAP,
    "a film in YUV4MPEG2": _REWRAP,
    "a film in IVF": _REWRAP,
    "a raw stream of DV": _REWRAP,
    "a raw stream of H.264": _DECODE,
    "a raw stream of HEVC": _DECODE,
}
_OTHERS = {
    "a camera raw file": _DEVELOP,
    "a film": _FRAMES,
    **UNREAD_FILMS,
    "a PDF document": _PAGES,
    "a PostScript file": _CONVERT,
    "a Photoshop document": _CONVERT,
    "a JPEG 2000 picture": _CONVERT,
    "a portable pixmap (PPM)": _CONVERT,
    "an OpenEXR picture": _CONVERT,
    "a Radiance HDR picture": _CONVERT,
    "a FITS file": _CONVERT,
    "a DICOM file": _CONVERT,
    "a GIMP picture": _CONVERT,
    "an icon": _CONVERT,
    "an SVG drawing": _CONVERT,
    "a DirectDraw surface (DDS)": _CONVERT,
    "a Targa picture (TGA)": _CONVERT,
}
# By their suffix, for files whose first bytes do not tell; and for those that cannot be opened.
_OTHER_SUFFIXES = {
    **dict.fromkeys(
        (".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
        "a camera raw file",
    ),
    **dict.fromkeys(
        (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts"),
        "a film",
    ),
    ".pdf": "a PDF document",
    ".eps": "a PostScript file",
    ".psd": "a Photoshop document",
    ".psb": "a Photoshop document",
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf"), "a JPEG 2000 picture"),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pam"), "a portable pixmap (PPM)"),
    ".exr": "an OpenEXR picture",
    ".hdr": "a Radiance HDR picture",
    ".fits": "a FITS file",
    ".fit": "a FITS file",
    ".dcm": "a DICOM file",
    ".xcf": "a GIMP picture",
    ".ico": "an icon",
    ".svg": "an SVG drawing",
    ".dds": "a DirectDraw surface (DDS)",
    ".tga": "a Targa picture (TGA)",
    ".mxf": "a film in MXF",
    ".y4m": "a film in YUV4MPEG2",
    ".ivf": "a film in IVF",
    ".dv": "a raw stream of DV",
    **dict.fromkeys((".h264", ".264"), "a raw stream of H.264"),
    **dict.fromkeys((".h265", ".265", ".hevc"), "a raw stream of HEVC"),
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
    (b"IIRO", "a camera raw file"),
    (b"IIRS", "a camera raw file"),
    (b"MMOR", "a camera raw file"),
    (b"IIU\0", "a camera raw file"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"8BPS", "a Photoshop document"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"#?RGBE", "a Radiance HDR picture"),
    (b"SIMPLE  =", "a FITS file"),
    (b"gimp xcf", "a GIMP picture"),
    (b"DDS ", "a DirectDraw surface (DDS)"),
    (b"\x1aE\xdf\xa3", "a film"),
    (b"\0\0\x01\xba", "a film"),
    (b"\0\0\x01\xb3", "a film"),
    (b"FLV\x01", "a film"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a film"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "a film in MXF"),
    (b"YUV4MPEG2 ", "a film in YUV4MPEG2"),
    (b"DKIF\0\0", "a film in IVF"),
    (b"\x1f\x07\0", "a raw stream of DV"),
    # A parameter set, or the mark before one, begins them.
    *((b"\0\0\0\x01" + unit, "a raw stream of H.264") for unit in (b"\x67", b"\x27", b"\x09")),
    *((b"\0\0\0\x01" + unit, "a raw stream of HEVC") for unit in (b"\x40\x01", b"\x46\x01")),
    (b"\0\0\x01\0", "an icon"),
)
# Brands of ISO base media files: the first one that is known says what a file is.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm"), "HEIC"),
    b"crx ": "a camera raw file",
    **dict.fromkeys(
        (b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V "),
        "a film",
    ),
    **dict.fromkeys((b"3gp4", b"3gp5", b"3gp6", b"dash", b"M4VP"), "a film"),
    # Said by both kinds of still picture, so it comes last.
    b"mif1": "HEIC",
    b"msf1": "HEIC",
}
# Sound alone, such as M4A, in the same kind of file.
_SOUND = (b"M4A ", b"M4B ")


def sniff(head: bytes) -> str | None:
    """Tells what a file is.

    Args:
      head: Its first `HEAD_BYTES` bytes, or all of a shorter one.
    Returns:
      A name of `FORMATS`; or what it is in words, such as "a film"; or None: no kind of picture.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return "a camera raw file" if kind == "TIFF" and head[8:10] == b"CR" else kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": "a film"}.get(head[8:12])
    if head[:2] == b"BM" and len(head) >= 18 and head[6:10] == bytes(4):
        # Two letters are little: the size of the header behind them has to be one that there is.
        size = int.from_bytes(head[14:18], "little")
        return "BMP" if size in (12, 16, 40, 52, 56, 64, 108, 124) else None
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), len(head))
        brands = [head[start : start + 4] for start in (8, *range(16, length, 4))]
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        still = [kind for kind in known if kind in FORMATS]
        if still and not known[0].startswith("a "):
            return "AVIF" if "AVIF" in still else still[0]
        if brands[0] in _SOUND:
            return None
        return known[0] if known else "a film"
    if is_transport_stream(head) or (head[:4] == b"OggS" and b"theora" in head):
        return "a film"
    if head[4:8] in (b"moov", b"mdat", b"wide", b"free") and len(head) > 16:
        return "a film"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b" ", b"\t", b"\r"):
        return "a portable pixmap (PPM)"
    start = head[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in head):
        return "an SVG drawing"
    return None


def is_transport_stream(head: bytes) -> bool:
    """Returns whether packets of 188 bytes follow one another, or of 192 as cameras write them."""
    return any(
        len(head) > 3 * step and all(head[first + n * step] == 0x47 for n in range(4))
        for first, step in ((0, 188), (4, 192))
    )


def sniff_file(path: str | os.PathLike[str], *, plain: bool = False) -> str | None:
    """Tells what a file is, as `sniff` does; nothing but a plain file is opened.

    Args:
      path: The file.
      plain: Whether it is known to be one.
    Raises:
      OSError: if it cannot be read.
      ValueError: if it is no plain file.
    """
    if not plain:
        require_plain_file(path)
    with open(path, "rb", buffering=0) as stream:
        return sniff(stream.read(HEAD_BYTES))


def require_plain_file(path: str | os.PathLike[str]) -> None:
    """Refuses what would wait for ever or never end when it is read.

    Raises:
      OSError: if there is nothing.
      ValueError: if it is a folder, a pipe, a socket or a device.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return
    kinds = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"))
    kind = next((name for test, name in kinds if test(mode)), "device")
    raise ValueError(f"is a {kind}: expected a picture file")


def refusal(kind: str | None, size_bytes: int) -> str:
    """Returns why a file that is no picture of `FORMATS` is not read, and what to do."""
    if kind in _OTHERS:
        return f"is {kind}, which is not read: {_OTHERS[kind]}"
    if not size_bytes:
        return "is empty: expected a picture"
    return f"is not a picture of a kind that is read: expected {', '.join(FORMATS)}"


def require_reader(kind: str) -> None:
    """Refuses a format whose library is not installed.

    Raises:
      ValueError: that says how to install it.
    """
    if not is_readable(kind):
        how = "pip install 'pillow>=11.3'" if kind == "AVIF" else how_to_install("formats")
        raise ValueError(f"is {kind}, which needs a library that is not installed: {how}")


def is_readable(kind: str) -> bool:
    """Returns whether pictures of a format can be read here."""
    if kind == "AVIF":
        return bool(features.check("avif"))
    module = FORMATS[kind].module
    return module is None or importlib.util.find_spec(module) is not None


# What tells that a folder was written by this program: its previews, curves, sheets and known
# pictures are no photographs. A run, an evaluation, an export, a benchmark.
_WRITTEN = (
    {"config.json", "samples.npz"},
    {"evaluation.json"},
    {"manifest.json", "golden"},
    {"benchmark.json"},
)


def is_written(names: Iterable[str]) -> bool:
    """Returns whether a folder of these names is a run, an evaluation, an export or a benchmark."""
    present = set(names)
    return any(marks <= present for marks in _WRITTEN)


def words_of_written(count: int) -> str:
    """Counts such folders in words."""
    folders = "1 folder" if count == 1 else f"{count} folders"
    return f"{folders} of a run, an evaluation or an export"


@dataclasses.dataclass
class Found:
    """What lies in a folder.

    Attributes:
      pictures: Files that are pictures by their first bytes or, damaged, by their name; sorted.
      unread: "name: reason" of what may hold pictures and is not read: other kinds, links that
        lead nowhere, subfolders that may not be entered, pipes.
      others: Numbers of files that are plainly no pictures, by suffix.
      hidden: Number of hidden files and folders, which are left alone.
      films: Films among them, where they are asked for; sorted.
      written: Number of folders that this program wrote (`is_written`), which are left alone.
    """

    pictures: list[pathlib.Path]
    unread: list[str]
    others: collections.Counter[str]
    hidden: int = 0
    films: list[pathlib.Path] | None = None
    written: int = 0

    def note(self) -> str:
        """Returns one line about what is plainly no picture; "" where there is nothing."""
        count = self.others.total()
        kinds = ", ".join(suffix or "without a suffix" for suffix in sorted(self.others)[:8])
        parts = []
        if count:
            word = "1 file is no picture" if count == 1 else f"{count} files are no pictures"
            parts.append(f"{word} ({kinds})")
        if self.hidden:
            parts.append(f"{self.hidden} hidden")
        if self.written:
            parts.append(words_of_written(self.written))
        return " and ".join(parts) + ": left alone" if parts else ""


def find_pictures(
    folder: str | os.PathLike[str], printable: Callable[[str], str] = str, films: bool = False
) -> Found:
    """Lists what lies below a folder, by content.

    Hidden files and folders are left alone, and so are folders below it that this program wrote.

    Args:
      folder: The folder. Links to files are followed, and links to folders, each folder once.
      printable: Makes a name fit for a message.
      films: Whether films are listed too; else they are named as unread.
    Raises:
      UserError: if it is not a folder that can be read.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"folder {str(folder)!r} {state}: expected a folder of pictures")
    found = Found([], [], collections.Counter(), films=[] if films else None)
    seen: set[tuple[int, int]] = set()

    def name_of(path: str) -> str:
        return printable(os.path.relpath(path, folder))

    def walk(current: str) -> None:
        status = os.stat(current)
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        folders = []
        with os.scandir(current) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        if current != str(folder) and is_written(entry.name for entry in entries):
            found.written += 1
            return
        for entry in entries:
            if entry.name.startswith("."):
                found.hidden += 1
                continue
            try:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    _sort_file(found, entry, name_of)
            except OSError as error:
                found.unread.append(f"{name_of(entry.path)}: {reason(error)}")
        for path in folders:
            try:
                walk(path)
            except OSError as error:
                found.unread.append(f"{name_of(path)}: cannot be entered: {reason(error)}")

    try:
        walk(str(folder))
    except OSError as error:
        raise UserError(f"folder {str(folder)!r} cannot be read: {reason(error)}") from error
    # As paths compare, but ten times as fast.
    found.pictures.sort(key=lambda path: path.parts)
    (found.films or []).sort(key=lambda path: path.parts)
    return found


def other_kind(path: str | os.PathLike[str]) -> str | None:
    """Returns what a file is if it is of a kind that is not read, such as "a film"; else None."""
    try:
        kind = sniff_file(path)
    except (OSError, ValueError):
        return None
    return kind if kind in _OTHERS else None


def is_other(suffix: str) -> bool:
    """Returns whether a suffix, ".psd", is that of pictures or films that are not read."""
    return suffix in _OTHER_SUFFIXES and suffix not in SUFFIXES


def _sort_file(found: Found, entry: os.DirEntry[str], name_of: Callable[[str], str]) -> None:
    path = entry.path
    suffix = os.path.splitext(path)[1].lower()
    try:
        # The listing told that it is a plain file: to ask once more costs as much as to open it.
        kind = sniff_file(path, plain=entry.is_file())
    except FileNotFoundError:
        found.unread.append(f"{name_of(path)}: is a link that leads nowhere")
        return
    except ValueError as error:
        found.unread.append(f"{name_of(path)}: {error}")
        return
    except OSError:
        if suffix in SUFFIXES or suffix in _OTHER_SUFFIXES:
            raise
        found.others[suffix] += 1
        return
    if kind is None:
        kind = _OTHER_SUFFIXES.get(suffix)
    if kind in FORMATS or (kind is None and suffix in SUFFIXES):
        # A damaged picture is one too: reading it says what is wrong.
        found.pictures.append(pathlib.Path(path))
    elif kind == "a film" and found.films is not None:
        found.films.append(pathlib.Path(path))
    elif kind is not None:
        found.unread.append(f"{name_of(path)}: {refusal(kind, 1)}")
    else:
        found.others[suffix] += 1


def require_pictures(found: Found, folder: str | os.PathLike[str]) -> Sequence[pathlib.Path]:
    """Returns the pictures that were found.

    Raises:
      UserError: if there is none; it says what is there instead.
    """
    if found.pictures or found.films:
        return found.pictures
    there = [*found.unread[:1], *filter(None, [found.note()])]
    what = f" ({'; '.join(there)})" if there else ""
    raise UserError(
        f"folder {str(folder)!r} holds no picture{what}: expected {', '.join(FORMATS)} files"
    )
