"""JPEG, WebP, BMP, GIF, AVIF and HEIC files, and 8-bit PNG files, by Pillow and its plugins."""

from __future__ import annotations

import contextlib
import importlib
import io
import pathlib
import re
import struct
import threading
from typing import Any

import numpy as np
from PIL import Image

from tf_deconv.images import arrays, exif, gif
from tf_deconv.images.picture_file import DAMAGE, Header, PictureFile, Samples, split

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
# A picture that any machine has room for.
_SMALL_PX = 2**22
# The end of a JPEG picture, and the beginning of another one.
_NEXT_JPEG = b"\xff\xd9\xff\xd8\xff"
_plugins_lock = threading.Lock()


class PillowFile(PictureFile):
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
        if self._kind == "JPEG" and count == 1:
            # Cameras that film write one picture behind another, and call it .mjpeg or .jpg.
            count += content_of(self._source).count(_NEXT_JPEG)
        if self._kind == "GIF" and not gif.has_end(content_of(self._source)):
            self._notes.append("the GIF file breaks off: more pictures may have followed")
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
        return exif_of(self._image)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def _find_orientation(self) -> int:
        # libheif turns a picture as its box says, and pillow_heif clears the tag.
        return 1 if self._kind == "HEIC" else exif.orientation_of(self._exif)

    def close(self) -> None:
        self._image.close()

    def samples(self, number: int) -> Samples:
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
        colours, alpha = split(arrays.upright(samples, self._orientation))
        if alpha is not None and self.header.count > 1 and alpha.min() == 255:
            alpha = None  # Pillow gives transparency to every picture of an animation.
        return Samples(colours, alpha, notes)

    def _by_libjpeg(self) -> np.ndarray | None:
        """Returns (H, W, 1 or 3) of a JPEG file, decoded into an array at once.

        Pillow takes four bytes a pixel and a copy besides. But it tells of a file that is cut
        short, and libjpeg alone does not: without an end mark Pillow decodes.
        """
        image = self._image
        if self._kind != "JPEG" or image.mode not in ("L", "RGB"):
            return None
        content = content_of(self._source)
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


def content_of(source: pathlib.Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _check_gif(source: pathlib.Path | bytes) -> None:
    """Refuses a GIF file with a picture far outside its screen: Pillow would make room for it."""
    content = content_of(source)
    width, height = struct.unpack_from("<HH", content.ljust(10, b"\0"), 6)
    tall, wide = gif.extent(content)
    if tall * wide > max(_SMALL_PX, 4 * width * height):
        raise ValueError(
            f"the GIF file is damaged: on a screen of {width}x{height} pixels lies a picture that"
            f" needs {wide}x{tall}"
        )


def _holds(source: pathlib.Path | bytes, mark: bytes) -> bool:
    return mark in _head(source, 1 << 16)


def exif_of(image: Image.Image) -> bytes | None:
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
