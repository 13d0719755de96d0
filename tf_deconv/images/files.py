"""Picture files read and written again with all that they carry: for `tf-deconv restore`.

Bit depth (8 or 16), transparency, ICC profile, EXIF and file type stay where the format can hold
them; what is lost is said in a note. Training reads pictures with `arrays.read_rgb`, which keeps
none of this. Pillow reads and writes 8-bit pictures. It has no 16-bit colour: those PNG files are
decoded by TensorFlow, those TIFF files by tifffile. Both are written here, because TensorFlow's
encoder takes neither profile nor EXIF and three times the picture's memory, and tifffile writes no
EXIF directory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from tf_deconv.images import arrays
from tf_deconv.images.arrays import without_pillow_limit
from tf_deconv.utils import files
from tf_deconv.utils.options import reason

# Tags of a TIFF file that tell of the picture; the others tell how its pixels are stored.
_TIFF_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 33432, 34665, 34853)
# Two of these tags are directories: EXIF and GPS data.
_EXIF_DIRECTORIES = (34665, 34853)
# Rows that are copied or encoded at a time.
_BAND_ROWS = 64
_COLOUR_SPACES = {1: b"GRAY", 3: b"RGB "}
# Quality 95 without colour subsampling costs less than a grey level against the restored pixels.
_SAVE_OPTIONS = {
    "JPEG": dict(quality=95, subsampling=0),
    "TIFF": dict(compression="tiff_deflate"),
    "WEBP": dict(quality=95, exact=True),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture: where it is, and where the restored one goes.

    Attributes:
      source: The file.
      target: The file to write.
      format: The type to write, as `Picture.format`; None: that of the source.
    """

    source: pathlib.Path
    target: pathlib.Path
    format: str | None = None


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, upright, with what its file carries.

    Attributes:
      pixels: (H, W, 1) or (H, W, 3), uint8 or uint16.
      alpha: (H, W, 1) of the same type, or None.
      format: "PNG", "JPEG", "TIFF", "WEBP" or "BMP": the type to write.
      icc_profile: Bytes of the colour profile, or None.
      exif: EXIF data as a TIFF structure, its orientation upright, or None.
      notes: What could not be kept, one line each.
      lossless: Of a WebP file, whether it was; of no use for the others.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None
    notes: tuple[str, ...] = ()
    lossless: bool = False

    @property
    def bit_depth(self) -> int:
        """8 or 16."""
        return 8 * self.pixels.dtype.itemsize


def read_picture(path: pathlib.Path, max_pixels: int) -> Picture:
    """Reads a picture file.

    Args:
      path: A PNG, JPEG, TIFF, WebP, BMP or GIF file, whatever its name says.
      max_pixels: Larger pictures are refused from their header.
    Returns:
      The picture; of several in a file, the first.
    Raises:
      ValueError: if it is not a picture, is damaged, or is too large.
    """
    try:
        with _warnings_ignored(), without_pillow_limit():
            return _open(path, max_pixels)
    except UnidentifiedImageError as error:
        raise ValueError(f"is not a {', '.join(arrays.FORMATS)} file") from error
    except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError) as error:
        raise ValueError(reason(error)) from error
    except (struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise ValueError(reason(error)) from error


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    # Pillow tells of damaged EXIF data, which costs no pixel.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_warnings_ignored = files.Shared(_without_warnings)


def _open(path: pathlib.Path, max_pixels: int) -> Picture:
    with Image.open(path, formats=arrays.FORMATS) as image:
        count = image.width * image.height
        if count > max_pixels:
            raise ValueError(
                f"{image.width}x{image.height} is {count:,} pixels: more than --max-pixels"
                f" {max_pixels}"
            )
        return _read(path, image)


def _read(path: pathlib.Path, image: Image.Image) -> Picture:
    notes = []
    # A phone's JPEG with a second picture in it (MPO) is a JPEG; GIF cannot hold what comes out.
    kind = {"MPO": "JPEG", "GIF": "PNG"}.get(image.format, image.format)
    if image.format != "MPO" and getattr(image, "is_animated", False):
        notes.append("of several pictures in the file, the first was restored")
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    exif, profile, mode = _exif_of(image), image.info.get("icc_profile"), image.mode
    lossless = kind == "WEBP" and _holds(path, b"VP8L")

    samples = _read_16_bits(path, image, notes)
    if samples is None:
        image.load()
        # Pillow turns TIFF pictures by itself when it loads them, and others not.
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        samples = _samples_of(image, notes)
    samples = arrays.upright(samples, orientation)
    colours = samples.shape[-1] - 1 + samples.shape[-1] % 2  # 1, 2 -> 1; 3, 4 -> 3
    if profile is not None and mode in ("CMYK", "LAB"):
        profile = None  # It tells of inks, and the pixels are RGB now.
        notes.append(f"written as RGB; the {mode} profile was left out")
    return Picture(
        pixels=samples[..., :colours],
        alpha=samples[..., colours:] if samples.shape[-1] > colours else None,
        format=kind,
        icc_profile=profile,
        exif=exif,
        notes=tuple(notes),
        lossless=lossless,
    )


def _holds(path: pathlib.Path, mark: bytes) -> bool:
    with open(path, "rb") as stream:
        return mark in stream.read(1 << 16)


def _samples_of(image: Image.Image, notes: list[str]) -> np.ndarray:
    """Returns (H, W, 1 to 4) of what Pillow decoded: grey or colour, with alpha or without."""
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16, copy=False)[..., np.newaxis]
    if image.mode == "I":
        return np.clip(np.asarray(image), 0, 65535).astype(np.uint16)[..., np.newaxis]
    if image.mode == "F":
        notes.append("floating point was written as 16 bits")
        return arrays.as_pixels(np.asarray(image), np.uint16)[..., np.newaxis]
    grey = image.mode in ("1", "L", "LA", "La")
    alpha = "A" if image.has_transparency_data else ""
    mode = ("L" if grey else "RGB") + alpha
    samples = np.empty((image.height, image.width, len(mode)), np.uint8)
    for top in range(0, image.height, _BAND_ROWS):
        # In bands: Pillow's way to NumPy makes two copies on the way.
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        band = np.asarray(band if image.mode == mode else band.convert(mode))
        samples[top : top + _BAND_ROWS] = band.reshape(len(band), image.width, len(mode))
    return samples


def _image_of(samples: np.ndarray) -> Image.Image:
    """Returns Pillow's form of (H, W, 1 to 4) uint8."""
    height, width, channels = samples.shape
    image = Image.new(("L", "LA", "RGB", "RGBA")[channels - 1], (width, height))
    for top in range(0, height, _BAND_ROWS):
        band = np.ascontiguousarray(samples[top : top + _BAND_ROWS])
        image.paste(Image.fromarray(band[..., 0] if channels == 1 else band), (0, top))
    return image


def _read_16_bits(path: pathlib.Path, image: Image.Image, notes: list[str]) -> np.ndarray | None:
    """Returns (H, W, 1 to 4) uint16 where Pillow would keep 8 bits of 16, else None."""
    if image.format == "PNG" and not image.mode.startswith("I"):
        with open(path, "rb") as stream:
            if stream.read(25)[24:] != b"\x10":  # Bit depth, in the first chunk.
                return None
        import tensorflow as tf

        try:
            decoded = tf.io.decode_png(path.read_bytes(), dtype=tf.uint16)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError("the PNG file is damaged") from error
        return np.asarray(memoryview(decoded))
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA", "RGBX"):
        bits = image.tag_v2.get(258, (8,))
        if set(np.atleast_1d(bits)) != {16}:
            return None
        import tifffile

        try:
            with tifffile.TiffFile(path) as file:
                page = file.pages[0]
                samples = page.asarray()
                planar = page.planarconfig == 2
        except Exception:  # A compression that tifffile lacks raises whatever it likes.
            notes.append("16-bit colour in this compression was read as 8 bits")
            return None
        samples = np.moveaxis(samples, 0, -1) if planar else samples
        if samples.dtype == np.uint16 and samples.ndim == 3 and samples.shape[-1] in (3, 4):
            return samples
        notes.append("16-bit samples of this kind were read as 8 bits")
    return None


def _exif_of(image: Image.Image) -> bytes | None:
    """Returns EXIF data with its orientation set upright."""
    if image.format == "TIFF":
        exif = Image.Exif()
        stored = image.getexif()
        for tag in _TIFF_TAGS:
            if tag in _EXIF_DIRECTORIES:
                if entries := stored.get_ifd(tag):
                    exif[tag] = dict(entries)
            elif tag in stored:
                exif[tag] = stored[tag]
        try:
            return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else None
        except Exception:  # A tag of a wrong type: struct.error, TypeError, AttributeError ...
            return None
    data = image.info.get("exif")
    if data is None and image.getexif():  # Kept as text in PNG files by older programs.
        data = image.getexif().tobytes()
    return _upright_exif(data.removeprefix(b"Exif\0\0")) if data else None


def _upright_exif(data: bytes) -> bytes | None:
    """Sets the orientation in place: everything else, makers' notes too, stays as it was."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    changed = bytearray(data)
    try:
        (start,) = struct.unpack_from(order + "L", data, 4)
        (count,) = struct.unpack_from(order + "H", data, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag == ExifTags.Base.Orientation:
                struct.pack_into(order + ("L" if kind == 4 else "H"), changed, entry + 8, 1)
    except struct.error:
        return None
    return bytes(changed)


def write_picture(picture: Picture, path: pathlib.Path) -> tuple[str, ...]:
    """Writes a picture file, whole or not at all.

    Args:
      picture: What to write; its notes are not looked at.
      path: The file to make or replace; the type is `picture.format`, whatever the name says.
    Returns:
      What could not be kept, one line each.
    Raises:
      ValueError: if the format cannot hold a picture of this size.
      OSError: if the file cannot be written.
    """
    notes = []
    pixels, alpha, kind = picture.pixels, picture.alpha, picture.format
    profile = picture.icc_profile
    if pixels.shape[-1] == 1 and _has_no_grey(kind, pixels.dtype, alpha is not None):
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if profile is not None and profile[16:20] != _COLOUR_SPACES[pixels.shape[-1]]:
        profile = None
        notes.append("the ICC profile was left out: it does not fit the restored channels")
    if alpha is not None and kind in ("JPEG", "BMP"):
        alpha = None
        notes.append(f"{kind} holds no transparency")
    if kind == "BMP" and (profile or picture.exif):
        notes.append("BMP holds no ICC profile and no EXIF")
    samples = pixels if alpha is None else np.concatenate([pixels, alpha], axis=-1)
    del pixels, alpha

    with files.replacing(path) as temporary:
        if samples.dtype == np.uint16 and kind in ("PNG", "TIFF"):
            write = _write_png_16 if kind == "PNG" else _write_tiff_16
            with open(temporary, "wb") as stream:
                write(stream, samples, profile, picture.exif)
            return tuple(notes)
        if samples.dtype == np.uint16:
            samples = arrays.to_uint8(arrays.as_unit(samples))
            notes.append(f"{kind} holds 8 bits")
        options: dict[str, Any] = dict(_SAVE_OPTIONS.get(kind, {}))
        if kind == "WEBP" and picture.lossless:
            options = dict(lossless=True, exact=True)
        if kind == "TIFF" and _has_directories(picture.exif):
            # libtiff compresses, and takes no directory of EXIF or GPS data from Pillow.
            del options["compression"]
        if profile is not None and kind != "BMP":
            options["icc_profile"] = profile
        if picture.exif is not None and kind != "BMP":
            options["exif"] = b"Exif\0\0" + picture.exif
        try:
            _image_of(samples).save(temporary, kind, **options)
        except (ValueError, struct.error) as error:
            raise ValueError(f"cannot be written as {kind}: {reason(error)}") from error
    return tuple(notes)


def _has_directories(exif: bytes | None) -> bool:
    stored = Image.Exif()
    stored.load(exif or b"")
    return any(tag in stored for tag in _EXIF_DIRECTORIES)


def _has_no_grey(kind: str, dtype: np.dtype, has_alpha: bool) -> bool:
    # Many programs, Pillow among them, do not open 16-bit grey TIFF with transparency.
    return kind == "WEBP" or (kind == "TIFF" and dtype == np.uint16 and has_alpha)


def _write_png_16(
    stream: BinaryIO, samples: np.ndarray, profile: bytes | None, exif: bytes | None
) -> None:
    """Writes (H, W, 1 to 4) uint16 as PNG (ISO/IEC 15948), a band of rows at a time."""

    def chunk(kind: bytes, data: bytes) -> None:
        checksum = zlib.crc32(data, zlib.crc32(kind))
        stream.write(struct.pack(">L", len(data)) + kind + data + struct.pack(">L", checksum))

    height, width, channels = samples.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    stream.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, 16, colour_type, 0, 0, 0))
    if profile is not None:
        chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if exif is not None:
        chunk(b"eXIf", exif)
    compressor = zlib.compressobj(6)
    above = np.zeros((1, 2 * width * channels), np.uint8)
    for top in range(0, height, _BAND_ROWS):
        band = samples[top : top + _BAND_ROWS].astype(">u2", order="C").view(np.uint8)
        band = band.reshape(len(band), -1)
        # Filter 2: each byte less the one above it, which deflate packs better.
        filtered = np.full((len(band), 1 + band.shape[1]), 2, np.uint8)
        filtered[:, 1:] = band - np.concatenate([above, band[:-1]])
        above = band[-1:]
        if data := compressor.compress(filtered):
            chunk(b"IDAT", data)
    chunk(b"IDAT", compressor.flush())
    chunk(b"IEND", b"")


def _write_tiff_16(
    stream: BinaryIO, samples: np.ndarray, profile: bytes | None, exif: bytes | None
) -> None:
    """Writes (H, W, 1, 3 or 4) uint16 as an uncompressed little-endian TIFF of one strip."""
    height, width, channels = samples.shape
    size_bytes = samples.size * 2
    if size_bytes + 2**20 > 2**32:
        raise ValueError(f"cannot be written as TIFF: {size_bytes:,} bytes are more than 4 GiB")
    directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    if exif is not None:
        stored = Image.Exif()
        stored.load(exif)
        for tag in _TIFF_TAGS:
            if tag in _EXIF_DIRECTORIES:
                if entries := stored.get_ifd(tag):
                    directory[tag] = dict(entries)
            elif tag in stored:
                directory[tag] = stored[tag]
    directory[256], directory[257] = width, height
    directory[258] = (16,) * channels
    directory[259] = 1  # No compression.
    directory[262] = 2 if channels >= 3 else 1  # RGB, or grey with 0 for black.
    directory[273] = 0  # Where the strip begins: Pillow adds the directory's own length.
    directory[277], directory[278], directory[279] = channels, height, size_bytes
    directory[284] = 1  # A pixel's samples lie together.
    if channels == 4:
        directory[338] = 2  # The last sample is alpha, not multiplied in.
    directory[339] = (1,) * channels  # Unsigned.
    if profile is not None:
        directory.tagtype[34675] = 7
        directory[34675] = profile
    head = io.BytesIO()
    directory.save(head)
    stream.write(head.getvalue())
    for top in range(0, height, _BAND_ROWS):
        stream.write(samples[top : top + _BAND_ROWS].astype("<u2", order="C").tobytes())
