"""PNG's chunks: what a file carries besides its pixels, and files of 8 and 16 bits with all of it.

Pillow writes no 16-bit colour and none of the chunks that tell of colours (gAMA, cHRM, cICP), and
holds a picture several times while it encodes one. This writes a band of rows at a time.

Reference: ISO/IEC 15948 (PNG 1.2) and the W3C's third edition, of which cICP, eXIf and APNG are.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
# They decide what the pixels are; all others only tell of them.
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT")
# Carried in fields of their own, for other formats hold them too.
_FIELD_CHUNKS = (b"iCCP", b"eXIf", b"pHYs")
# They speak of colours in a way that stays true whatever is done to the pixels.
_KEPT_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi")
# They speak of how the old pixels were stored, and nothing is lost without them.
_STORAGE_CHUNKS = (b"sBIT", b"hIST")
# No chunk of text or colours is as long; a damaged length is.
_LONGEST_BYTES = 1 << 26
# Rows that are encoded at a time.
BAND_ROWS = 64


@dataclasses.dataclass
class Carried:
    """What the chunks of a file tell.

    Attributes:
      bit_depth: 1, 2, 4, 8 or 16.
      colour_type: 0, 2, 3, 4 or 6.
      chunks: (type, data) of those that are written again.
      xmp: XMP packet, or None.
      exif: EXIF data as a TIFF structure, or None; it may lie behind the pixels.
      resolution: As in `Picture`.
      damaged: Types of chunks with a wrong checksum that tell nothing of the pixels.
      left_out: Types of chunks that may not be true of a changed picture.
    """

    bit_depth: int
    colour_type: int
    chunks: list[tuple[bytes, bytes]]
    xmp: bytes | None = None
    exif: bytes | None = None
    resolution: tuple[float, float, str] | None = None
    damaged: list[str] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)


def read_chunks(stream: BinaryIO) -> Carried:
    """Reads the chunks of a file, except for its pixels.

    Raises:
      ValueError: if it does not begin as a PNG file does.
    """
    carried: Carried | None = None
    for kind, length, data, whole in _walk(stream):
        name = kind.decode("latin-1")
        if kind == b"IHDR":
            if data is None or len(data) < 13:
                break
            carried = Carried(data[8], data[9], [])
        elif carried is None:
            break
        elif kind in PIXEL_CHUNKS:
            continue
        elif not whole or data is None:
            carried.damaged.append(name)
        elif kind == b"pHYs" and length == 9:
            x, y, unit = struct.unpack(">LLB", data)
            # Pixels per metre to pixels per inch.
            carried.resolution = (x * 0.0254, y * 0.0254, "inch") if unit else (x, y, "none")
        elif kind == b"eXIf":
            carried.exif = data
        elif kind == b"iTXt" and data.startswith(XMP_KEYWORD + b"\0"):
            carried.xmp = _international_text(data)
        elif kind in _FIELD_CHUNKS or kind in _STORAGE_CHUNKS:
            continue
        elif kind in (b"tEXt", b"zTXt") and data.startswith(b"Raw profile type "):
            continue  # EXIF and the like as old programs wrote it: Pillow gives it as EXIF.
        elif kind in (b"tEXt", b"zTXt", b"iTXt", b"tIME", *_KEPT_CHUNKS) or kind[3] & 32:
            carried.chunks.append((kind, data))
        else:
            carried.left_out.append(name)
    if carried is None:
        raise ValueError("the PNG file is damaged: it has no header")
    return carried


def _walk(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes | None, bool]]:
    """Yields each chunk's type, length, data and whether its checksum is right.

    The data of pixels is passed over, and given as None; so is a length that cannot be.
    """
    if stream.read(8) != SIGNATURE:
        raise ValueError("is not a PNG file")
    while len(head := stream.read(8)) == 8:
        length, kind = struct.unpack(">L4s", head)
        if kind in PIXEL_CHUNKS and kind != b"IHDR":
            stream.seek(length + 4, io.SEEK_CUR)
            yield kind, length, None, True
        elif length > _LONGEST_BYTES:
            yield kind, length, None, False
            return
        else:
            data, check = stream.read(length), stream.read(4)
            whole = len(check) == 4 and struct.unpack(">L", check)[0] == zlib.crc32(
                data, zlib.crc32(kind)
            )
            yield kind, length, data, whole
        if kind == b"IEND":
            return


def pixels_alone(content: bytes) -> bytes:
    """Returns a PNG file without the chunks that tell nothing of its pixels."""
    parts, place = [SIGNATURE], 8
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">L4s", content, place)
        end = place + 12 + length
        if kind in PIXEL_CHUNKS:
            parts.append(content[place:end])
        place = end
    return b"".join(parts)


def _international_text(data: bytes) -> bytes | None:
    """Returns the text of an iTXt chunk, or None if it is damaged."""
    try:
        _, rest = data.split(b"\0", 1)
        compressed, rest = rest[0], rest[2:]
        _, _, text = rest.split(b"\0", 2)
        return zlib.decompressobj().decompress(text, _LONGEST_BYTES) if compressed else text
    except (ValueError, IndexError, zlib.error):
        return None


def colour_chunks(
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
    resolution: tuple[float, float, str] | None = None,
    chunks: tuple[tuple[bytes, bytes], ...] = (),
) -> list[tuple[bytes, bytes]]:
    """Returns (type, data) of all that goes between a file's header and its pixels."""
    made = []
    if icc_profile is not None:
        made.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile)))
    # A profile and sRGB exclude each other: one of them says what the colours are.
    made += [(kind, data) for kind, data in chunks if not (icc_profile and kind == b"sRGB")]
    if resolution is not None:
        x, y, unit = resolution
        per_metre = {"inch": 1 / 0.0254, "cm": 100.0, "none": 1.0}[unit]
        x, y = (min(max(round(v * per_metre), 0), 2**31 - 1) for v in (x, y))
        made.append((b"pHYs", struct.pack(">LLB", x, y, unit != "none")))
    if exif is not None:
        made.append((b"eXIf", exif))
    if xmp is not None:
        made.append((b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp))
    return made


def write(stream: BinaryIO, samples: np.ndarray, chunks: list[tuple[bytes, bytes]]) -> None:
    """Writes a PNG file, a band of rows at a time.

    Args:
      stream: Receives it.
      samples: (H, W, 1 to 4) uint8 or uint16: grey or colour, with transparency or without.
      chunks: (type, data) of those before the pixels.
    """
    height, width, channels = samples.shape
    wide = samples.dtype == np.uint16
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    stream.write(SIGNATURE)
    header = struct.pack(">LLBBBBB", width, height, 16 if wide else 8, colour_type, 0, 0, 0)
    put(stream, b"IHDR", header)
    for kind, data in chunks:
        put(stream, kind, data)
    compressor = zlib.compressobj(6)
    above = np.zeros((1, samples.itemsize * width * channels), np.uint8)
    for top in range(0, height, BAND_ROWS):
        band = samples[top : top + BAND_ROWS]
        band = band.astype(">u2" if wide else np.uint8, order="C").view(np.uint8)
        band = band.reshape(len(band), -1)
        # Filter 2: each byte less the one above it, which deflate packs better.
        filtered = np.full((len(band), 1 + band.shape[1]), 2, np.uint8)
        filtered[:, 1:] = band - np.concatenate([above, band[:-1]])
        above = band[-1:]
        if data := compressor.compress(filtered):
            put(stream, b"IDAT", data)
    put(stream, b"IDAT", compressor.flush())
    put(stream, b"IEND", b"")


def put(stream: BinaryIO, kind: bytes, data: bytes) -> None:
    """Writes one chunk."""
    checksum = zlib.crc32(data, zlib.crc32(kind))
    stream.write(struct.pack(">L", len(data)) + kind + data + struct.pack(">L", checksum))
