"""The one reader of picture files: every command reads through it, so a file is one picture.

Upright, in the file's own depth, colours apart from transparency, with all that the file carries
and a note of what is left out. Pillow decodes 8 bits; libpng, through imagecodecs, 16-bit PNG;
tifffile every TIFF file. Formats that need more say what (`formats.require_reader`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import io
import pathlib
import re
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tf_deconv.images import arrays, exif, formats, gif, jpeg, png, value_range
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
# Pillow's names of the formats.
_PILLOW = {
    "HEIC": ("HEIF",),
    "JPEG XL": ("JXL",),
}
_COLOUR_MODES = {"CMYK", "LAB", "YCbCr", "HSV"}
_MOVING = re.compile(rb"((?:GCamera|Camera):(?:MotionPhoto|MicroVideo)\s*=\s*[\"'])1")
# Rows that are copied at a time.
_BAND_ROWS = 64
# Smaller pictures are copied whole, for the bands cost time.
_SMALL_PIXELS = 2**18
# The largest picture that is decoded unless asked for: 0.8 GB. A file of a few kilobytes can claim
# any size.
MAX_PIXELS = 2**28
# A picture that any machine has room for.
_SMALL_PX = 2**22
_BYTES = np.dtype(np.uint8)
_plugins_lock = threading.Lock()


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
class _Samples:
    """Pixels as a file holds them: colours (H, W, 1 or 3), alpha (H, W, 1) or None."""

    colours: np.ndarray
    alpha: np.ndarray | None
    notes: list[str]
    known_alpha: bool = True


def _split(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Splits (H, W, 1 to 4) into colours, 1 or 3, and alpha or None."""
    colours = samples.shape[-1] - 1 + samples.shape[-1] % 2  # 1, 2 -> 1; 3, 4 -> 3
    return samples[..., :colours], samples[..., colours:] if samples.shape[-1] > colours else None


class PictureFile:
    """An open picture file. It belongs to one thread at a time.

    Attributes:
      header: What its head says.
    """

    header: Header

    def samples(self, number: int) -> _Samples:
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
        with _clean_errors():
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
        with _clean_errors():
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
    with _clean_errors():
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
        return _TiffFile(source)
    if kind == "PNG":
        return _PngFile(source)
    if kind == "JPEG XL":
        return _JpegXlFile(source)
    return _PillowFile(source, kind)


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
def _clean_errors() -> Iterator[None]:
    """Makes one ValueError of whatever a decoder raises at damage."""
    try:
        # libjpeg prints what it thinks of a file, which is told in our words.
        with quiet(), files.silent_stderr(show=False):
            yield
    except UnidentifiedImageError as error:
        raise ValueError("is damaged: its head is not that of a picture") from error
    except DAMAGE as error:
        raise ValueError(reason(error)) from error


# --- Pillow.


class _PillowFile(PictureFile):
    """JPEG, WebP, BMP, GIF, AVIF and HEIC; 8-bit PNG."""

    def __init__(self, source: pathlib.Path | bytes, kind: str):
        _register(kind)
        if kind == "GIF":
            _check_gif(source)
        self._source, self._kind = source, kind
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        self._image = Image.open(stream, formats=_PILLOW.get(kind, (kind,)))
        self._notes: list[str] = []
        try:
            self._describe()
        except BaseException:
            self._image.close()
            raise

    def _describe(self) -> None:
        image = self._image
        count = getattr(image, "n_frames", 1)
        if self._kind in ("JPEG", "HEIC") and count > 1:
            word = "picture" if count == 2 else "pictures"
            self._notes.append(
                f"{count - 1} more {word} in the file left out: only the first is read"
            )
            count = 1
        if self._kind in ("AVIF", "HEIC") and (depth := self._bit_depth()) > 8:
            self._notes.append(f"{depth} bits a sample were read as 8")
        self._exif = self._find_exif()
        self._orientation = self._find_orientation()
        turned = self._orientation >= 5
        width, height = image.size[::-1] if turned else image.size
        grey = image.mode in ("1", "L", "LA", "La", "I;16", "I", "F") or _has_grey_palette(image)
        self.header = Header(self._kind, height, width, count, channels=1 if grey else 3)

    def _find_exif(self) -> bytes | None:
        return _exif_of(self._image)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def _find_orientation(self) -> int:
        # libheif turns a picture as its box says, and pillow_heif clears the tag.
        return 1 if self._kind == "HEIC" else exif.orientation_of(self._exif)

    def close(self) -> None:
        self._image.close()

    def samples(self, number: int) -> _Samples:
        image = self._image
        if self.header.count > 1:
            image.seek(number)
        notes = []
        samples = self._by_libjpeg()
        if samples is None:
            image.load()
            samples = _samples_of(image)
        if image.mode in _COLOUR_MODES - {"YCbCr"}:
            notes.append(f"{image.mode} was turned into RGB")
        colours, alpha = _split(arrays.upright(samples, self._orientation))
        if alpha is not None and self.header.count > 1 and alpha.min() == 255:
            alpha = None  # Pillow gives transparency to every picture of an animation.
        return _Samples(colours, alpha, notes)

    def _by_libjpeg(self) -> np.ndarray | None:
        """Returns (H, W, 1 or 3) of a JPEG file, decoded into an array at once.

        Pillow takes four bytes a pixel and a copy besides. But it tells of a file that is cut
        short, and libjpeg alone does not: without an end mark Pillow decodes.
        """
        image = self._image
        if self._kind != "JPEG" or image.mode not in ("L", "RGB"):
            return None
        content = _content(self._source)
        if content[-64:].rstrip(b"\0")[-2:] != b"\xff\xd9":
            return None
        import imagecodecs

        try:
            samples = imagecodecs.jpeg8_decode(content)
        except DAMAGE:
            return None  # Pillow says what is wrong.
        shape = (image.height, image.width, *((3,) if image.mode == "RGB" else ()))
        if samples.shape != shape or samples.dtype != np.uint8:
            return None
        return samples.reshape(image.height, image.width, -1)

    def fields(self, number: int) -> dict[str, Any]:
        image, notes = self._image, list(self._notes)
        info = image.info
        found: dict[str, Any] = {"notes": notes}
        profile = info.get("icc_profile")
        if profile and image.mode in ("CMYK", "LAB"):
            profile = None  # It tells of inks, and the pixels are RGB now.
            notes.append(f"the {image.mode} profile was left out: the picture is RGB now")
        found["icc_profile"] = profile or None
        found["exif"] = exif.corrected(self._exif, self.header.height, self.header.width)
        found["xmp"] = self._xmp(info, notes)
        if isinstance(info.get("comment"), bytes):
            found["comment"] = info["comment"]
        elif isinstance(info.get("comment"), str):
            found["comment"] = info["comment"].encode()
        if "dpi" in info:
            with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
                x, y = (float(value) for value in info["dpi"])
                if x > 0 and y > 0:
                    found["resolution"] = (x, y, "inch")
        if self._kind == "JPEG":
            self._jpeg_fields(found, notes)
        if self._kind == "WEBP":
            found["lossless"] = _holds(self._source, b"VP8L")
        if self.header.count > 1:
            found["duration_ms"] = float(info.get("duration", 0) or 0)
            found["loop"] = info.get("loop")
        return found

    def _xmp(self, info: dict[str, Any], notes: list[str]) -> bytes | None:
        packet = info.get("xmp")
        if isinstance(packet, str):
            packet = packet.encode()
        if not isinstance(packet, bytes):
            return None
        if _MOVING.search(packet):
            packet = _MOVING.sub(rb"\g<1>0", packet)
            notes.append("the film of a motion photo was left out")
        return exif.corrected_xmp(packet, self.header.height, self.header.width)

    def _jpeg_fields(self, found: dict[str, Any], notes: list[str]) -> None:
        others = set()
        for name, data in getattr(self._image, "applist", ()):
            if name == "APP13" and data.startswith(b"Photoshop 3.0\0"):
                found["iptc"] = (found.get("iptc") or b"") + data[14:]
            elif name == "APP11":
                notes.append(
                    "content credentials (JUMBF) were left out: they are of the old pixels"
                )
            elif name == "APP1" and data.startswith(b"http://ns.adobe.com/xmp/extension/"):
                notes.append("the second part of a long XMP packet was left out")
            elif name not in ("APP0", "APP1", "APP2", "APP13", "APP14", "COM"):
                others.add(name)
        if others:
            notes.append(f"segments {', '.join(sorted(others))} were left out")

    def _bit_depth(self) -> int:
        if self._kind == "HEIC":
            return int(self._image.info.get("bit_depth", 8))
        head = _head(self._source, 1 << 16)
        place = head.find(b"av1C")
        if place < 0 or place + 7 > len(head):
            return 8
        flags = head[place + 6]
        return 8 + 2 * bool(flags & 0x40) + 2 * bool(flags & 0x40 and flags & 0x20)


def _register(kind: str) -> None:
    """Makes a plugin of Pillow known, once."""
    with _plugins_lock:
        if kind == "HEIC" and "HEIF" not in Image.OPEN:
            importlib.import_module("pillow_heif").register_heif_opener()
        elif kind == "JPEG XL" and "JXL" not in Image.OPEN:
            importlib.import_module("pillow_jxl")


def _head(source: pathlib.Path | bytes, size_bytes: int) -> bytes:
    if isinstance(source, bytes):
        return source[:size_bytes]
    with open(source, "rb") as stream:
        return stream.read(size_bytes)


def _content(source: pathlib.Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _check_gif(source: pathlib.Path | bytes) -> None:
    """Refuses a GIF file with a picture far outside its screen: Pillow would make room for it."""
    content = _content(source)
    width, height = struct.unpack_from("<HH", content.ljust(10, b"\0"), 6)
    tall, wide = gif.extent(content)
    if tall * wide > max(_SMALL_PX, 4 * width * height):
        raise ValueError(
            f"the GIF file is damaged: on a screen of {width}x{height} pixels lies a picture that"
            f" needs {wide}x{tall}"
        )


def _holds(source: pathlib.Path | bytes, mark: bytes) -> bool:
    return mark in _head(source, 1 << 16)


def _exif_of(image: Image.Image) -> bytes | None:
    """Returns EXIF data as a TIFF structure, or None."""
    data = image.info.get("exif")
    if data is None and "Raw profile type exif" in image.info:
        # Kept as text in PNG files by older programs.
        with contextlib.suppress(*DAMAGE):
            data = image.getexif().tobytes()
    return data.removeprefix(b"Exif\0\0") if isinstance(data, bytes) and data else None


def _has_grey_palette(image: Image.Image) -> bool:
    if image.mode != "P" or image.palette is None:
        return False
    with contextlib.suppress(*DAMAGE):
        table = np.frombuffer(image.palette.getdata()[1], np.uint8)
        if image.palette.mode == "RGB" and table.size and not table.size % 3:
            table = table.reshape(-1, 3)
            return bool((table == table[:, :1]).all())
    return False


def _samples_of(image: Image.Image) -> np.ndarray:
    """Returns (H, W, 1 to 4) of what Pillow decoded: grey or colour, with alpha or without."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16, copy=False)[..., np.newaxis]
    if image.mode == "LAB":
        image = _lab_to_rgb(image)
    grey = image.mode in ("1", "L", "LA", "La") or _has_grey_palette(image)
    alpha = "A" if image.has_transparency_data else ""
    mode = ("L" if grey else "RGB") + alpha
    convert = image.mode != mode
    if not convert and image.width * image.height <= _SMALL_PIXELS:
        pixels = np.asarray(image)
        return pixels.reshape(*pixels.shape[:2], len(mode))
    samples = np.empty((image.height, image.width, len(mode)), np.uint8)
    # Pillow turns a palette with transparency into grey by way of colours.
    through = "RGBA" if convert and grey and image.mode == "P" and alpha else None
    for top in range(0, image.height, _BAND_ROWS):
        # In bands: Pillow's way to NumPy makes two copies on the way.
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        if through:
            pixels = np.asarray(band.convert(through))[..., [0, 3]]
        else:
            pixels = np.asarray(band.convert(mode) if convert else band)
        samples[top : top + _BAND_ROWS] = pixels.reshape(len(pixels), image.width, len(mode))
    return samples


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")


# --- PNG.


class _PngFile(_PillowFile):
    """PNG of any depth: damage in what tells nothing of the pixels costs no picture."""

    def __init__(self, source: pathlib.Path | bytes):
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            self._carried = png.read_chunks(stream)
        damaged = self._carried.damaged
        try:
            super().__init__(source, "PNG")
        except DAMAGE:
            super().__init__(png.pixels_alone(_content(source)), "PNG")
        if damaged:
            self._notes.append(f"damaged chunks were left out: {', '.join(damaged)}")
        if self._carried.left_out:
            kinds = ", ".join(self._carried.left_out)
            self._notes.append(f"chunks that may not be true any more were left out: {kinds}")
        # Pillow keeps 8 bits of 16-bit colours, and takes a transparent level of 4 bits for one of
        # 8 (findings/pillow-png-4bit-transparency.sh).
        self._by_libpng = (
            self._carried.bit_depth != 8
            and self._carried.colour_type != 3
            and self.header.count == 1
        )
        if self._carried.bit_depth == 16 and not self._by_libpng:
            self._notes.append("16 bits of an animated PNG file were read as 8")
        elif self._carried.bit_depth == 16:
            grey = self._carried.colour_type in (0, 4)
            self.header = dataclasses.replace(
                self.header, dtype=np.dtype(np.uint16), channels=1 if grey else 3
            )

    def _find_exif(self) -> bytes | None:
        found = self._carried.exif
        return _exif_of(self._image) if found is None else found.removeprefix(b"Exif\0\0")

    def samples(self, number: int) -> _Samples:
        if not self._by_libpng:
            return super().samples(number)
        import imagecodecs

        content = _content(self._source)
        try:
            samples = imagecodecs.png_decode(content)
        except DAMAGE as error:
            raise ValueError("the PNG file is damaged") from error
        if samples.ndim == 2:
            samples = samples[..., np.newaxis]
        return _Samples(*_split(arrays.upright(samples, self._orientation)), [])

    def fields(self, number: int) -> dict[str, Any]:
        found = super().fields(number)
        carried = self._carried
        found.pop("comment", None)  # It is among the chunks.
        found["resolution"] = carried.resolution
        found["chunks"] = tuple(carried.chunks)
        if found["xmp"] is None:
            found["xmp"] = exif.corrected_xmp(carried.xmp, self.header.height, self.header.width)
        return found


# --- JPEG XL.


class _JpegXlFile(_PillowFile):
    """JPEG XL: the plugin of Pillow reads what it carries, imagecodecs more than 8 bits."""

    def __init__(self, source: pathlib.Path | bytes):
        super().__init__(source, "JPEG XL")

    def _find_orientation(self) -> int:
        return 1  # libjxl turns a picture as its codestream says; EXIF data has no say in it.

    def samples(self, number: int) -> _Samples:
        import imagecodecs

        if self.header.count > 1:
            return super().samples(number)
        content = _content(self._source)
        samples = imagecodecs.jpegxl_decode(content)
        samples = samples if samples.ndim == 3 else samples[..., np.newaxis]
        if samples.ndim != 3 or samples.shape[-1] not in (1, 2, 3, 4):
            return super().samples(number)
        return _Samples(*_split(samples), [])


# --- TIFF.


class _TiffFile(PictureFile):
    """TIFF, by `tiff.TiffReader`."""

    def __init__(self, source: pathlib.Path | bytes):
        from tf_deconv.images import tiff

        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        try:
            self._reader = tiff.TiffReader(stream)
        except ValueError as error:
            if str(error) == "is a camera raw file":
                raise ValueError(formats.refusal("a camera raw file", 1)) from error
            raise
        count = len(self._reader.pages)
        sizes = []
        for number in range(count):
            height, width = self._reader.size(number)
            turned = self._reader.orientation(number) >= 5
            sizes.append((width, height) if turned else (height, width))
        page = self._reader.pages[0]
        channels = 1 if page.photometric is not None and int(page.photometric) in (0, 1) else 3
        same = len(set(sizes)) == 1
        self.header = Header(
            "TIFF",
            *sizes[0],
            count,
            self._reader.sample_type(0),
            channels,
            () if same else tuple(sizes),
        )

    def close(self) -> None:
        self._reader.close()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._reader.notes)

    def samples(self, number: int) -> _Samples:
        colours, alpha, known, notes = self._reader.samples(number)
        turn: Callable = functools.partial(
            arrays.upright, exif_orientation=self._reader.orientation(number)
        )
        alpha = None if alpha is None else turn(alpha)
        return _Samples(turn(colours), alpha, notes, known)

    def fields(self, number: int) -> dict[str, Any]:
        found = self._reader.fields(number)
        found["notes"] = [*self._reader.notes, *found["notes"]]
        height, width = self.header.size(number)
        found["exif"] = exif.corrected(found.get("exif"), height, width)
        found["xmp"] = exif.corrected_xmp(found.get("xmp"), height, width)
        return found


# --- Whole files.


def read_head(source: pathlib.Path) -> tuple[Header, tuple[str, ...]]:
    """Reads the head of a picture file for a listing: its header, and what is left out of it.

    Of a plain JPEG file only the segments are looked at; damage in others comes out when it is
    decoded. Larger pictures than `MAX_PIXELS` are not refused.

    Raises:
      ValueError: if it is no picture that is read here.
    """
    with _clean_errors():
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
