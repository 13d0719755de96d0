"""Picture files written with all that a picture carries: whole or not at all.

What a format cannot hold is said in a note; a size that it cannot hold is refused before any work
is done (`check_size`).
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import pathlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from tf_deconv.images import arrays, exif, png, value_range
from tf_deconv.images.picture import Picture
from tf_deconv.utils import files
from tf_deconv.utils.options import reason

# The longest side that a format's header can tell, in pixels; WebP's is that of its key frames.
LONGEST_SIDE_PX = {"WEBP": 16383, "JPEG": 65500, "AVIF": 65536, "HEIC": 16384, "BMP": 2**31 - 1}
# What `--format` takes, and the format that it means.
CHOICES = {
    "png": "PNG",
    "jpeg": "JPEG",
    "webp": "WEBP",
    "tiff": "TIFF",
    "avif": "AVIF",
}
# Quality 95 without colour subsampling costs less than a grey level against the restored pixels.
DEFAULT_QUALITY = 95
# imagecodecs takes an array of one row or column for one of another shape.
_SMALLEST_SIDE_PX = 16
# A segment of JPEG is shorter than 64 KiB.
_SEGMENT_BYTES = 65000
_LOSSY = ("JPEG", "WEBP", "AVIF", "HEIC", "JPEG XL")
_WIDE = ("PNG", "TIFF", "JPEG XL")
_HAVE_ALPHA = ("PNG", "TIFF", "WEBP", "AVIF", "HEIC", "JPEG XL")
# What each format holds of what a picture carries.
_HOLDS = {
    "PNG": {"icc_profile", "exif", "xmp", "resolution", "chunks"},
    "JPEG": {"icc_profile", "exif", "xmp", "resolution", "iptc", "comment"},
    "TIFF": {"icc_profile", "exif", "xmp", "resolution", "iptc", "tiff"},
    "WEBP": {"icc_profile", "exif", "xmp"},
    "AVIF": {"icc_profile", "exif", "xmp"},
    "HEIC": {"icc_profile", "exif", "xmp"},
    "JPEG XL": {"icc_profile", "exif", "xmp"},
    "BMP": {"resolution"},
}
_NAMES = {
    "icc_profile": "ICC profile",
    "exif": "EXIF data",
    "xmp": "XMP packet",
    "resolution": "resolution",
    "iptc": "IPTC data",
    "comment": "comment",
    "chunks": "PNG text and colour chunks",
    "tiff": "TIFF tags",
}
_COLOUR_SPACES = {1: b"GRAY", 3: b"RGB "}
# In TIFF, what a picture carries in fields of its own or always has.
_PLAIN_TAGS = {271, 272, 305, 306, 315, 33432}


def check_size(height: int, width: int, kind: str) -> None:
    """Refuses what a format cannot hold.

    Args:
      height: Of the picture to write, in pixels.
      width: Likewise.
      kind: A format that is written.
    Raises:
      ValueError: if a side is too long.
    """
    longest = LONGEST_SIDE_PX.get(kind)
    if longest is not None and max(height, width) > longest:
        raise ValueError(
            f"{width}x{height} pixels cannot be written as {kind}, whose sides are at most"
            f" {longest}: choose --format png or tiff"
        )


def write_picture(
    picture: Picture, path: pathlib.Path, quality: int | None = None
) -> tuple[str, ...]:
    """Writes a picture file, whole or not at all.

    Args:
      picture: What to write; its notes are not looked at.
      path: The file to make or replace; the type is `picture.format`, whatever the name says.
      quality: 1 to 100, for formats with loss; None: nearly none.
    Returns:
      What could not be kept, one line each.
    Raises:
      ValueError: if the format cannot hold a picture of this size.
      OSError: if the file cannot be written.
    """
    return write_pictures(iter([picture]), 1, picture.format, path, quality)


def write_pictures(
    pictures: Iterable[Picture],
    count: int,
    kind: str,
    path: pathlib.Path,
    quality: int | None = None,
) -> tuple[str, ...]:
    """Writes the pictures of one file: pages of TIFF, or an animation.

    Args:
      pictures: What to write; each is asked for when the one before it is written.
      count: How many there are.
      kind: The format.
      path: The file to make or replace.
      quality: As for `write_picture`.
    Returns:
      What could not be kept, one line each.
    Raises:
      ValueError: if the format cannot hold them.
      OSError: if the file cannot be written.
    """
    notes: list[str] = []
    pictures = iter(pictures)
    with files.replacing(path) as temporary:
        if kind == "TIFF":
            _write_tiff(pictures, count, temporary, notes)
        elif count == 1:
            _write_one(next(pictures), kind, temporary, quality, notes)
            next(pictures, None)  # Lets a generator come to its end.
        else:
            _write_animation(pictures, kind, temporary, quality, notes)
    return tuple(dict.fromkeys(notes))


def holds_several(kind: str) -> bool:
    """Returns whether a file of a format can hold more than one picture."""
    return kind in ("TIFF", "PNG", "WEBP", "AVIF")


# --- What is written of a picture.


def _prepared(picture: Picture, kind: str, notes: list[str]) -> tuple[np.ndarray, Picture]:
    """Returns samples that a format holds, (H, W, 1 to 4), and the picture with what it keeps."""
    pixels, alpha = picture.pixels, picture.alpha
    height, width = pixels.shape[:2]
    check_size(height, width, kind)
    lost = [
        _NAMES[name]
        for name in _NAMES
        if getattr(picture, name) and name not in _HOLDS[kind] and _matters(picture, name)
    ]
    if lost:
        notes.append(f"{kind} holds no {', no '.join(lost)}: left out")
    changes: dict[str, Any] = {
        name: () if name == "chunks" else None for name in _NAMES if name not in _HOLDS[kind]
    }
    if "exif" in _HOLDS[kind]:
        changes["exif"] = exif.corrected(picture.exif, height, width)
    if "xmp" in _HOLDS[kind]:
        changes["xmp"] = exif.corrected_xmp(picture.xmp, height, width)
    picture = dataclasses.replace(picture, **changes)
    pixels, alpha = _as_stored(picture, kind, notes)
    if alpha is not None and kind not in _HAVE_ALPHA:
        alpha = None
        notes.append(f"{kind} holds no transparency")
    if pixels.shape[-1] == 1 and _has_no_grey(kind, pixels.dtype, alpha is not None):
        pixels = np.broadcast_to(pixels, (height, width, 3))
    profile = picture.icc_profile
    if profile is not None and profile[16:20] != _COLOUR_SPACES[pixels.shape[-1]]:
        picture = dataclasses.replace(picture, icc_profile=None)
        notes.append("the ICC profile was left out: it does not fit the restored channels")
    samples = pixels if alpha is None else np.concatenate([pixels, alpha], axis=-1)
    return samples, picture


def _matters(picture: Picture, name: str) -> bool:
    if name == "tiff":
        tags = picture.tiff.tags if picture.tiff else ()
        return any(tag[0] not in _PLAIN_TAGS for tag in tags)
    return True


def _as_stored(
    picture: Picture, kind: str, notes: list[str]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns pixels and alpha in the type that the file gets."""
    pixels, alpha = picture.pixels, picture.alpha
    wanted = np.dtype(picture.stored or pixels.dtype)
    dtype = wanted
    if kind not in _WIDE and wanted != np.uint8:
        dtype = np.dtype(np.uint8)
    elif kind != "TIFF" and wanted not in (np.uint8, np.uint16):
        dtype = np.dtype(np.uint16)
    if dtype != wanted:
        bits = 8 * dtype.itemsize
        if wanted == np.uint16:
            notes.append(f"{kind} holds {bits} bits")
        else:
            notes.append(f"{kind} holds no {wanted.name}: written with {bits} bits")
    if pixels.dtype == dtype:
        return pixels, alpha
    if pixels.dtype.kind != "f":
        pixels = arrays.as_unit(pixels)
        alpha = None if alpha is None else arrays.as_unit(alpha)
    own = value_range.type_levels(dtype)
    levels = picture.levels if dtype == wanted and picture.levels is not None else own
    if dtype != wanted and picture.levels is not None:
        notes.append("values are written as black to white: --format tiff keeps them")
    pixels = value_range.from_unit(pixels, levels, dtype)
    if alpha is not None:
        alpha = value_range.from_unit(alpha, own, dtype)
    return pixels, alpha


def _has_no_grey(kind: str, dtype: np.dtype, has_alpha: bool) -> bool:
    # Many programs, Pillow among them, do not open 16-bit grey TIFF with transparency.
    return kind in ("WEBP", "HEIC") or (kind == "TIFF" and dtype == np.uint16 and has_alpha)


# --- Formats.


def _write_one(
    picture: Picture, kind: str, path: pathlib.Path, quality: int | None, notes: list[str]
) -> None:
    samples, picture = _prepared(picture, kind, notes)
    if kind == "PNG":
        with open(path, "wb") as stream:
            png.write(stream, samples, _png_chunks(picture))
        return
    if kind == "JPEG XL" and samples.dtype != np.uint8:
        _write_jpeg_xl_wide(samples, picture, path, notes)
        return
    options = _options(picture, kind, quality)
    if kind == "JPEG":
        _write_jpeg(samples, picture, path, options)
        return
    if kind in ("HEIC", "JPEG XL"):
        module = {"HEIC": "pillow_heif", "JPEG XL": "pillow_jxl"}[kind]
        loaded = importlib.import_module(module)
        if kind == "HEIC":
            loaded.register_heif_opener()
    try:
        with open(path, "wb") as stream:
            _image_of(samples).save(stream, _PILLOW_NAMES.get(kind, kind), **options)
    except (ValueError, struct.error, RuntimeError) as error:
        raise ValueError(f"cannot be written as {kind}: {reason(error)}") from error


_PILLOW_NAMES = {"HEIC": "HEIF", "JPEG XL": "JXL"}


def _options(picture: Picture, kind: str, quality: int | None) -> dict[str, Any]:
    """Returns Pillow's options for a format."""
    options: dict[str, Any] = {}
    if kind in _LOSSY:
        options["quality"] = DEFAULT_QUALITY if quality is None else quality
    if kind == "JPEG":
        options["subsampling"] = 0
    elif kind == "WEBP":
        options["exact"] = True
        if picture.lossless and quality is None:
            options.update(lossless=True)
            options.pop("quality")
    elif kind == "AVIF":
        options["subsampling"] = "4:4:4"
    elif kind == "HEIC":
        options["chroma"] = 444
    elif kind == "JPEG XL" and quality is None:
        options.pop("quality")
        options["lossless"] = True
    if picture.icc_profile is not None and kind != "BMP":
        options["icc_profile"] = picture.icc_profile
    if picture.exif is not None and kind != "BMP":
        options["exif"] = b"Exif\0\0" + picture.exif
    if picture.xmp is not None and kind != "BMP":
        options["xmp"] = picture.xmp
    if picture.resolution is not None and picture.resolution[2] != "none":
        x, y, unit = picture.resolution
        factor = 2.54 if unit == "cm" else 1.0
        options["dpi"] = (x * factor, y * factor)
    return options


def _png_chunks(picture: Picture) -> list[tuple[bytes, bytes]]:
    return png.colour_chunks(
        icc_profile=picture.icc_profile,
        exif=picture.exif,
        xmp=picture.xmp,
        resolution=picture.resolution,
        chunks=picture.chunks,
    )


def _write_jpeg_xl_wide(
    samples: np.ndarray, picture: Picture, path: pathlib.Path, notes: list[str]
) -> None:
    import imagecodecs

    if picture.icc_profile or picture.exif or picture.xmp:
        notes.append("JPEG XL of 16 bits: ICC profile, EXIF data and XMP packet were left out")
    samples = samples[..., 0] if samples.shape[-1] == 1 else samples
    path.write_bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(samples), lossless=True))


def _write_jpeg(
    samples: np.ndarray, picture: Picture, path: pathlib.Path, options: dict[str, Any]
) -> None:
    """Writes a JPEG file: Pillow makes its head, and libjpeg, without Pillow's copies, the rest."""
    import imagecodecs

    small = io.BytesIO()
    try:
        # Of a picture of one block: what is carried does not depend on the pixels.
        _image_of(samples[:8, :8]).save(small, "JPEG", **options)
    except (ValueError, struct.error) as error:
        raise ValueError(f"cannot be written as JPEG: {reason(error)}") from error
    parts = [small.getvalue()[: _head_bytes(small.getvalue())]]
    if picture.iptc:
        head = b"Photoshop 3.0\0"
        for start in range(0, len(picture.iptc), _SEGMENT_BYTES):
            data = head + picture.iptc[start : start + _SEGMENT_BYTES]
            parts.append(b"\xff\xed" + struct.pack(">H", len(data) + 2) + data)
    if picture.comment:
        data = picture.comment[:_SEGMENT_BYTES]
        parts.append(b"\xff\xfe" + struct.pack(">H", len(data) + 2) + data)
    if min(samples.shape[:2]) < _SMALLEST_SIDE_PX:
        whole = io.BytesIO()
        _image_of(samples).save(whole, "JPEG", **options)
        body = whole.getvalue()
    else:
        pixels = np.ascontiguousarray(samples[..., 0] if samples.shape[-1] == 1 else samples)
        body = imagecodecs.jpeg8_encode(pixels, level=options["quality"], subsampling="444")
    with open(path, "wb") as stream:
        stream.writelines(parts)
        stream.write(memoryview(body)[_head_bytes(body) :])


def _head_bytes(content: bytes) -> int:
    """Returns where the segments end that tell nothing of a JPEG file's pixels."""
    place = 2
    while content[place] == 0xFF and (
        0xE0 <= content[place + 1] <= 0xEF or content[place + 1] == 0xFE
    ):
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return place


def _image_of(samples: np.ndarray) -> Image.Image:
    """Returns Pillow's form of (H, W, 1 to 4) uint8."""
    height, width, channels = samples.shape
    image = Image.new(("L", "LA", "RGB", "RGBA")[channels - 1], (width, height))
    for top in range(0, height, png.BAND_ROWS):
        band = np.ascontiguousarray(samples[top : top + png.BAND_ROWS])
        image.paste(Image.fromarray(band[..., 0] if channels == 1 else band), (0, top))
    return image


def _write_tiff(
    pictures: Iterator[Picture], count: int, path: pathlib.Path, notes: list[str]
) -> None:
    from tf_deconv.images import tiff

    first, first_kept = _prepared(next(pictures), "TIFF", notes)
    with tiff.writing(path, first.nbytes * count) as writer:
        notes += writer.write(first_kept, first, first_kept.exif)
        for picture in pictures:
            samples, kept = _prepared(picture, "TIFF", notes)
            notes += writer.write(kept, samples, kept.exif)


def _write_animation(
    pictures: Iterator[Picture],
    kind: str,
    path: pathlib.Path,
    quality: int | None,
    notes: list[str],
) -> None:
    """Writes a moving PNG, WebP or AVIF; 8 bits, as Pillow has it."""
    first = next(pictures)
    durations: list[int] = []

    def prepared(picture: Picture) -> Image.Image:
        picture = dataclasses.replace(picture, stored=np.dtype(np.uint8))
        samples, _ = _prepared(picture, kind, notes)
        durations.append(max(1, round(picture.duration_ms or 0)))
        return _image_of(samples)

    image = prepared(first)
    # Pillow asks for all durations at once, and for pictures one after the other.
    kept = _prepared(dataclasses.replace(first, stored=np.dtype(np.uint8)), kind, [])[1]
    options = _options(kept, kind, quality)
    options["loop"] = 0 if first.loop is None else first.loop
    if kind == "PNG":
        for name in ("exif", "xmp", "icc_profile", "dpi", "quality"):
            options.pop(name, None)
        rest = [prepared(picture) for picture in pictures]
        options.update(duration=durations, disposal=0, blend=0, default_image=False)
        stream = io.BytesIO()
        image.save(stream, "PNG", save_all=True, append_images=rest, **options)
        path.write_bytes(_with_chunks(stream.getvalue(), _png_chunks(kept)))
        return
    rest = [prepared(picture) for picture in pictures]
    options["duration"] = durations
    if kind == "AVIF":
        options.pop("loop")
    with open(path, "wb") as stream:
        image.save(stream, kind, save_all=True, append_images=rest, **options)


def _with_chunks(content: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Puts chunks behind the header of a PNG file."""
    stream = io.BytesIO()
    for kind, data in chunks:
        png.put(stream, kind, data)
    return content[:33] + stream.getvalue() + content[33:]
