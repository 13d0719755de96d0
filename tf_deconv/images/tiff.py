"""TIFF files of any kind, page by page, through tifffile and imagecodecs.

Pillow reads 8 bits of most; this keeps 16, 32 and float, planar and tiled layouts, every
compression, BigTIFF of either byte order, multiplied alpha, white as 0, and the pages of stacks.

Reference: TIFF 6.0; Adobe's technical notes on extra samples and BigTIFF.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from tf_deconv.images.picture import Picture, TiffFields
from tf_deconv.images.value_range import type_levels

# tifffile tells of damage by logging too, which would stand on the user's screen.
for _name in ("tifffile", "imagecodecs"):
    logging.getLogger(_name).addHandler(logging.NullHandler())

# Photometric interpretations (tag 262).
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _MASK, _SEPARATED, _YCBCR = 0, 1, 2, 3, 4, 5, 6
_CFA, _LINEAR_RAW = 32803, 34892
_LAB = (8, 9, 10)
# Extra samples (tag 338): unknown, multiplied into the colours, or not.
_UNKNOWN, _MULTIPLIED = 0, 1
_EXIF, _GPS, _XMP, _IPTC, _PHOTOSHOP, _ICC = 34665, 34853, 700, 33723, 34377, 34675
_RESOLUTION = (282, 283, 296)
_DNG_VERSION, _SUB_DIRECTORIES, _INTEROPERABILITY = 50706, 330, 40965
_PIXEL_SCALE = 33550
# They say how pixels are stored, or were: written anew.
_STORAGE = frozenset(
    (*range(254, 270), 273, 274, *range(277, 282), 284, *range(288, 294), 301, *range(317, 340))
) | {342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 32995, 32996, 32997}
_UNITS = {1: "none", 2: "inch", 3: "cm"}
# Lossless compressions that are kept, by their number in tag 259.
_KEPT_COMPRESSIONS = {1: None, 5: "lzw", 8: "deflate", 32946: "deflate", 50000: "zstd"}
# A description that tifffile wrote: a shape as JSON, and nothing that anyone misses.
_SHAPED = "tifffile's shape"
# Where tifffile takes no tag of a directory of EXIF or GPS data, one beside it holds the place.
_PLACEHOLDERS = {34666: _EXIF, 34854: _GPS}

# More samples of a pixel are no picture, and no compression packs pixels tighter: a damaged header
# says so.
_MOST_SAMPLES, _MOST_RATIO = 64, 4096


class TiffReader:
    """An open TIFF file.

    Attributes:
      pages: What `read` takes the number of: pages that are pictures, without smaller copies.
      notes: What was left out.
    """

    def __init__(self, source: pathlib.Path | io.BytesIO):
        """Reads the directories.

        Raises:
          ValueError: if it is damaged, or a camera raw file.
        """
        import tifffile

        self._source = source
        self._file = tifffile.TiffFile(source)
        self.notes: list[str] = []
        try:
            self.pages = self._find_pages()
        except BaseException:
            self._file.close()
            raise

    def _find_pages(self) -> list[Any]:
        pages = [page.aspage() for page in self._file.pages]
        if not pages:
            raise ValueError("the TIFF file is damaged: it has no page")
        self._refuse_raw(pages)
        whole = [page for page in pages if not page.subfiletype & 0b101]
        smaller = len(pages) - len(whole)
        if whole and smaller:
            word = "smaller copy was" if smaller == 1 else "smaller copies were"
            self.notes.append(f"{smaller} {word} left out")
        pages = whole or pages
        if len(pages) == 1 and self._file.is_imagej:
            # ImageJ writes large stacks behind one directory.
            series = self._file.series[0]
            count = series.size // max(1, pages[0].size)
            if count > 1:
                self._stack = series
                return [pages[0]] * count
        self._stack = None
        return pages

    def _refuse_raw(self, pages: list[Any]) -> None:
        for page in pages:
            below = [sub for sub in (page.pages or ()) if hasattr(sub, "photometric")]
            kinds = {
                int(entry.photometric) for entry in (page, *below) if entry.photometric is not None
            }
            if _DNG_VERSION in page.tags or kinds & {_CFA, _LINEAR_RAW}:
                raise ValueError("is a camera raw file")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def size(self, number: int) -> tuple[int, int]:
        """Returns height and width of a page as stored, in pixels."""
        page = self.pages[number]
        return int(page.imagelength), int(page.imagewidth)

    def orientation(self, number: int) -> int:
        """Returns the orientation of a page, 1 to 8."""
        value = self.pages[number].tags.valueof(274, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1

    def sample_type(self, number: int) -> np.dtype:
        """Returns the type of a page's samples."""
        return np.dtype(self.pages[number].dtype or np.uint8)

    def samples(self, number: int) -> tuple[np.ndarray, np.ndarray | None, bool, list[str]]:
        """Decodes a page.

        Returns:
          Colours, (H, W, 1 or 3) of the file's type, black as its smallest value; alpha or None;
          whether that is transparency; and notes.
        Raises:
          ValueError: if it cannot be decoded, or is of a kind that is not read.
        """
        page, notes = self.pages[number], []
        kind = int(page.photometric) if page.photometric is not None else _BLACK_IS_ZERO
        if kind in _LAB or kind not in (*range(7),):
            raise ValueError(f"is a TIFF file of the kind {kind}: expected grey, RGB or CMYK")
        self._check_claims(number)
        try:
            samples = self._decode(number)
        except Exception as error:  # Codecs raise whatever they like.
            samples = self._by_pillow(number, error, notes)
            kind = _RGB if samples.shape[-1] >= 3 else _BLACK_IS_ZERO
        bits = page.bitspersample if isinstance(page.bitspersample, int) else 0
        if samples.dtype == bool:
            samples, bits = samples.astype(np.uint8) * np.uint8(255), 8
        elif (
            samples.dtype.kind == "u" and 0 < bits < 8 * samples.dtype.itemsize and kind != _PALETTE
        ):
            samples = _widened(samples, bits)
            if bits > 8:
                notes.append(f"{bits} bits a sample were written as 16")
        if kind == _PALETTE:
            samples, kind = _through_palette(samples, page.colormap), _RGB
        colours = {_RGB: 3, _YCBCR: 3, _SEPARATED: 4}.get(kind, 1)
        if samples.shape[-1] < colours:
            raise ValueError(
                f"the TIFF file is damaged: {samples.shape[-1]} samples a pixel, expected {colours}"
            )
        samples, extra = samples[..., :colours], samples[..., colours:]
        if kind in (_WHITE_IS_ZERO,):
            samples = _negative(samples)
        if kind == _SEPARATED:
            samples = _cmyk_to_rgb(samples)
            notes.append("CMYK was turned into RGB")
        alpha, known = None, True
        if extra.shape[-1]:
            meanings = [int(value) for value in page.extrasamples or ()]
            meaning = meanings[0] if meanings else _UNKNOWN
            alpha, known = np.ascontiguousarray(extra[..., :1]), meaning != _UNKNOWN
            if extra.shape[-1] > 1:
                notes.append(
                    f"{extra.shape[-1] - 1} of {extra.shape[-1]} extra samples were left out"
                )
            if meaning == _MULTIPLIED:
                samples = divided(samples, alpha)
                notes.append("colours multiplied with alpha were written as plain ones")
        if alpha is not None and kind == _SEPARATED and not known:
            alpha = None
            notes.append("a spot colour was left out")
        return samples, alpha, known, notes

    def _check_claims(self, number: int) -> None:
        """Refuses a page that claims more than its file can hold, before memory is taken for it."""
        page = self.pages[number]
        claims = (
            ("planes of depth", int(page.imagedepth or 1), 1),
            ("samples a pixel", int(page.samplesperpixel or 1), _MOST_SAMPLES),
            ("bytes", int(page.nbytes or 0), _MOST_RATIO * self._file.filehandle.size),
        )
        for what, value, most in claims:
            if value > most:
                raise ValueError(
                    f"the TIFF file is damaged, or no picture: a page claims {value:,} {what}:"
                    f" expected at most {most:,}"
                )

        # tifffile makes zeros of what is missing.
        size_bytes = self._file.filehandle.size
        counts, offsets = page.databytecounts, page.dataoffsets
        if not offsets or any(start + count > size_bytes for start, count in zip(offsets, counts)):
            raise ValueError("the TIFF file is cut short, or damaged: pixels lie behind its end")

    def _decode(self, number: int) -> np.ndarray:
        """Returns (H, W, S) as the file holds it."""
        page = self.pages[number]
        if self._stack is not None:
            shape = (len(self.pages), page.imagelength, page.imagewidth, page.samplesperpixel)
            # A map of the file where it is not compressed: one page of it is read.
            return np.asarray(self._stack.asarray(out="memmap").reshape(shape)[number])
        samples = page.asarray()
        if int(page.planarconfig or 1) == 2 and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
        return samples.reshape(page.imagelength, page.imagewidth, -1)

    def _by_pillow(self, number: int, error: Exception, notes: list[str]) -> np.ndarray:
        """Decodes what tifffile cannot, such as subsampled YCbCr, to 8 bits."""
        dtype = self.sample_type(number)
        if dtype.itemsize > 1 or dtype.kind not in "bu":
            raise ValueError(_words(error)) from error
        try:
            source = self._source
            with Image.open(source, formats=["TIFF"]) as image:
                image.seek(self._file.pages.pages.index(self.pages[number]) if number else 0)
                image.load()
                mode = {"1": "L", "L": "L", "RGB": "RGB", "RGBA": "RGBA"}.get(image.mode, "RGB")
                decoded = np.asarray(image.convert(mode))
                turned = image.size != (self.size(number)[1], self.size(number)[0])
            if turned or self.orientation(number) != 1:
                raise ValueError(_words(error))
        except Exception:
            raise ValueError(_words(error)) from error
        return decoded.reshape(*decoded.shape[:2], -1)

    def fields(self, number: int) -> dict[str, Any]:
        """Returns what a page carries, as fields of `Picture`, and "notes"."""
        page, notes, tags = self.pages[number], [], []
        found: dict[str, Any] = {}
        for tag in page.tags:
            code = int(tag.code)
            if code in _STORAGE or code in (_EXIF, _GPS, _INTEROPERABILITY):
                continue
            if code == _ICC:
                found["icc_profile"] = _raw(tag)
            elif code == _XMP:
                found["xmp"] = _raw(tag)
            elif code == _PHOTOSHOP:
                found["iptc"] = _raw(tag)
            elif code == _SUB_DIRECTORIES:
                notes.append("pictures in subdirectories were left out")
            elif code not in _RESOLUTION:
                try:
                    value = _raw(tag) if int(tag.dtype) in (1, 6, 7) else tag.value
                    tags.append((code, int(tag.dtype), int(tag.count), value))
                except Exception:
                    notes.append(f"tag {code} was left out: it is damaged")
        with contextlib.suppress(Exception):
            unit = _UNITS.get(int(page.tags.valueof(296, 2)), "inch")
            pair = [page.tags.valueof(code) for code in (282, 283)]
            x, y = (value[0] / value[1] for value in pair)
            found["resolution"] = (x, y, unit)
        if _EXIF in page.tags or _GPS in page.tags:
            exif = self._exif(page)
            if exif is None:
                notes.append("EXIF data was left out: it cannot be read")
            found["exif"] = exif
        compression = int(page.compression)
        kept = _KEPT_COMPRESSIONS.get(compression, "deflate")
        found["tiff"] = TiffFields(kept, tuple(tags))
        return {**found, "notes": notes}

    def _exif(self, page: Any) -> bytes | None:
        """Returns EXIF and GPS data of a page as a TIFF structure of its own."""
        try:
            exif = Image.Exif()
            for code in (_EXIF, _GPS):
                if code not in page.tags:
                    continue
                if self._file.is_bigtiff:
                    return None
                handle = self._file.filehandle
                order = b"II" if self._file.byteorder == "<" else b"MM"
                directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=order, group=code)
                handle.seek(_offset(handle, self._file, page.tags[code]))
                directory.load(handle)
                exif[code] = dict(directory)
            for code in (271, 272, 305, 306, 315, 33432):
                value = page.tags.valueof(code)
                if isinstance(value, str):
                    exif[code] = value
            return exif.tobytes().removeprefix(b"Exif\0\0")
        except Exception:  # A tag of a wrong type: struct.error, TypeError, AttributeError ...
            return None


def _offset(handle: Any, file: Any, tag: Any) -> int:
    """Returns where the directory lies that a tag of a classical TIFF file points to."""
    handle.seek(tag.offset + 8)
    return struct.unpack(file.byteorder + "L", handle.read(4))[0]


def _raw(tag: Any) -> bytes:
    """Returns a tag's bytes as they are in the file."""
    value = tag.value
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    handle = tag.parent.filehandle
    handle.seek(tag.valueoffset)
    return handle.read(tag.valuebytecount)


def _words(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"the TIFF file cannot be decoded: {text}"


def _widened(samples: np.ndarray, bits: int) -> np.ndarray:
    """Scales samples of fewer bits to the full range of their type."""
    top = np.iinfo(samples.dtype).max
    wide = samples.astype(np.float64) * (top / ((1 << bits) - 1))
    return np.rint(np.clip(wide, 0, top)).astype(samples.dtype)


def _negative(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.dtype.type(1) - samples
    low, high = type_levels(samples.dtype)
    return (int(low) + int(high) - samples.astype(np.int64)).astype(samples.dtype)


def _through_palette(indices: np.ndarray, colormap: np.ndarray) -> np.ndarray:
    """Returns (H, W, 3), uint8 unless the palette has more, of (H, W, S) indices."""
    table = np.asarray(colormap).T  # (entries, 3)
    if not (table % 257).any():
        table = (table // 257).astype(np.uint8)
    elif not (table & 0xFF).any():
        table = (table >> 8).astype(np.uint8)  # As programs wrote it that took 8 bits for 16.
    clipped = np.minimum(indices[..., 0], len(table) - 1)
    return table[clipped]


def _cmyk_to_rgb(samples: np.ndarray) -> np.ndarray:
    """Converts (H, W, 4) inks to (H, W, 3): each lets so much light through."""
    if samples.dtype.kind == "f":
        return (1 - samples[..., :3]) * (1 - samples[..., 3:])
    top = np.iinfo(samples.dtype).max
    light = np.float64(top) - samples
    return np.rint(light[..., :3] * (light[..., 3:] / top)).astype(samples.dtype)


def divided(samples: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undoes the multiplication of (H, W, C) colours with (H, W, 1) alpha of the same type."""
    top = 1.0 if samples.dtype.kind == "f" else float(np.iinfo(samples.dtype).max)
    covered = alpha.astype(np.float64) / top
    colours = np.divide(samples, covered, out=np.zeros(samples.shape), where=covered > 0)
    if samples.dtype.kind == "f":
        return colours.astype(samples.dtype)
    return np.rint(np.clip(colours, 0, top)).astype(samples.dtype)


# --- Writing.


class TiffWriter:
    """Writes pictures as the pages of one TIFF file."""

    def __init__(self, path: pathlib.Path, size_bytes: int):
        """Makes the file.

        Args:
          path: The file; it exists, or is made.
          size_bytes: Of all samples: BigTIFF where that is more than TIFF can hold.
        """
        import tifffile

        self._path = path
        self._big = size_bytes + 2**24 > 2**32
        self._writer = tifffile.TiffWriter(path, bigtiff=self._big, byteorder="<")
        self._exif: list[tuple[int, dict[int, Any]]] = []
        self._count = 0

    def write(self, picture: Picture, samples: np.ndarray, exif: bytes | None) -> list[str]:
        """Writes a page.

        Args:
          picture: What it carries.
          samples: (H, W, 1 to 4) of any type: grey or colour, with one extra sample or without.
          exif: EXIF data, corrected, or None.
        Returns:
          What could not be kept.
        """
        notes: list[str] = []
        channels = samples.shape[-1]
        fields = picture.tiff or TiffFields("deflate")
        known = {tag[0]: tag for tag in fields.tags}
        directories = {} if exif is None else _directories(exif)
        for code in (271, 272, 305, 306, 315, 33432):
            # What EXIF's first directory and a TIFF page's both tell.
            if code not in known and isinstance(directories.get(code), str):
                text = directories[code]
                known[code] = (code, 2, len(text.encode()) + 1, text)
        blobs = {}
        for code in (_EXIF, _GPS):
            if directories.get(code):
                if self._big:
                    notes.append("BigTIFF: EXIF data was left out")
                    break
                blobs[code] = directories[code]
        extra = [tag for code, tag in known.items() if code != 270]
        for code, data in ((_XMP, picture.xmp), (_PHOTOSHOP, picture.iptc)):
            if data is not None:
                extra.append((code, 1 if code == _XMP else 7, len(data), data))
        extra += [(place, 4, 1, 8) for place, code in _PLACEHOLDERS.items() if code in blobs]
        options: dict[str, Any] = {}
        resolution = picture.resolution or _resolution_of(directories)
        if resolution is not None:
            x, y, unit = resolution
            options.update(resolution=(x, y), resolutionunit={"none": 1, "inch": 2, "cm": 3}[unit])
        if channels in (2, 4):
            options["extrasamples"] = ["unassalpha" if picture.known_alpha else "unspecified"]
        compression = fields.compression
        if compression:
            options["compression"] = compression
            if samples.dtype.kind in "ui" and samples.dtype.itemsize <= 4:
                options["predictor"] = 2
        data = samples[..., 0] if channels == 1 else samples
        description = known[270][3] if 270 in known else None
        if not isinstance(description, str | bytes):
            description = None
        elif other := _other_size(description, data.shape):
            description = None
            notes += [f"{other} was left out: it tells another size"] if other != _SHAPED else []
        self._writer.write(
            data,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            description=description,
            metadata=None,
            software=False,
            datetime=None,
            iccprofile=picture.icc_profile,
            extratags=[(*tag, True) for tag in extra],
            contiguous=False,
            rowsperstrip=max(1, min(len(samples), 2**20 // max(1, data[0].nbytes))),
            **options,
        )
        if blobs:
            self._exif.append((self._count, blobs))
        self._count += 1
        return notes

    def close(self) -> None:
        """Finishes the file: directories of EXIF and GPS data come last."""
        self._writer.close()
        if self._exif:
            self._append_directories()

    def _append_directories(self) -> None:
        import tifffile

        with tifffile.TiffFile(self._path) as file:
            places = [
                (file.pages[number].aspage().tags[holder].offset, code, directories[code])
                for number, directories in self._exif
                for holder, code in _PLACEHOLDERS.items()
                if code in directories
            ]
        with open(self._path, "r+b") as stream:
            for place, code, values in places:
                end = stream.seek(0, io.SEEK_END)
                end += stream.write(bytes(end % 2))  # Directories begin at even places.
                directory = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II", group=code)
                for tag, value in values.items():
                    directory[tag] = value
                stream.write(directory.tobytes(end))
                stream.seek(place)
                stream.write(struct.pack("<H", code))
                stream.seek(place + 8)
                stream.write(struct.pack("<L", end))

    def abandon(self) -> None:
        """Closes the file as it is."""
        with contextlib.suppress(Exception):
            self._writer.close()


def _other_size(description: str | bytes, shape: tuple[int, ...]) -> str:
    """Returns what a description is that tells another size than the page's, else "".

    A reader that believes it makes no picture of the file, or another one. tifffile's own tells a
    shape and nothing else; OME-XML tells width and height of all pages.
    """
    text = description if isinstance(description, str) else description.decode("utf-8", "replace")
    if text.startswith('{"shape"'):
        with contextlib.suppress(ValueError, TypeError):
            told = tuple(json.loads(text)["shape"])
            return "" if told[-len(shape) :] == shape else _SHAPED
    if "<OME" in text[:4096]:
        sizes = re.findall(r'\bSize([XY])="(\d+)"', text)
        samples = re.findall(r'\bSamplesPerPixel="(\d+)"', text) or ["1"]
        wrong = any(int(told) != shape[axis == "X"] for axis, told in sizes)
        wrong = wrong or any(int(told) != (*shape, 1)[2] for told in samples)
        return "the OME-XML description" if wrong else ""
    return ""


def _resolution_of(directories: dict[int, Any]) -> tuple[float, float, str] | None:
    """Returns the resolution that EXIF data tells, as in `Picture`."""
    with contextlib.suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
        x, y = float(directories[282]), float(directories[283])
        return x, y, _UNITS.get(directories.get(296, 2), "inch")
    return None


def _directories(exif: bytes) -> dict[int, Any]:
    """Returns EXIF data's first directory; those below it as dictionaries."""
    stored = Image.Exif()
    stored.load(b"Exif\0\0" + exif)
    found: dict[int, Any] = {tag: stored[tag] for tag in stored}
    for code in (_EXIF, _GPS):
        try:
            found[code] = dict(stored.get_ifd(code))
        except Exception:
            found[code] = {}
    return found


@contextlib.contextmanager
def writing(path: pathlib.Path, size_bytes: int) -> Iterator[TiffWriter]:
    """Yields a writer; the file is whole when the block ends."""
    writer = TiffWriter(path, size_bytes)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise
    writer.close()
