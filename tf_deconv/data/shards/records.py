"""Single pictures of shards: where each one lies, and its file's bytes; for `tf-deconv restore`.

Training reads shards as a stream (`reader`). An archive's pictures go to many workers, each of
which opens a shard where its picture lies. Names are in the records alone, so the shards are read
through once, which also finds what is damaged: a bad record costs one picture, not the shard.

References: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details; its
checksum is CRC-32C of RFC 3720, appendix B.4.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tf_deconv.data.shards import reader
from tf_deconv.images.arrays import printable
from tf_deconv.utils import remote

# A record stands behind 8 bytes of length and a checksum of these, and before one of its own.
_HEAD_BYTES, _CHECK_BYTES = 12, 4
_PNG = b"\x89PNG"
_DAMAGED = "its record is damaged: the checksum is another one"
_LOST = "it lies behind a record whose length is damaged, and cannot be found"
# Bits in reverse order, as of all CRCs of this kind.
_POLYNOMIAL, _ALL_BITS, _MASK = 0x82F63B78, 0xFFFFFFFF, 0xA282EAD8


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies in a shard.

    Attributes:
      path: Of the shard; may be a URL.
      number: Of the record, from 0.
      name: Of the picture in the source that was sharded, as it can be printed; "" if unknown.
      suffix: Of such a file: ".png" or ".jpg".
      offset: Where the record's content begins, in bytes.
      size_bytes: Of the content.
      crc32: Of the content, as zlib computes it.
      fault: Why it cannot be read; "" if it can.
    """

    path: str
    number: int
    name: str = ""
    suffix: str = ".png"
    offset: int = 0
    size_bytes: int = 0
    crc32: int = 0
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.name}" if self.name else f"{self.path}[{self.number}]"

    def read(self) -> bytes:
        """Returns the bytes of the picture's file.

        Raises:
          ValueError, OSError, UserError: if it cannot be read.
        """
        if self.fault:
            raise ValueError(self.fault)
        content = _read_at(self.path, self.offset, self.size_bytes)
        if zlib.crc32(content) != self.crc32:
            raise ValueError("its shard was changed since the pictures were listed: start again")
        return reader.parse(content).encoded


def find_places(data: str, progress: Callable[[float], None] | None = None) -> list[Place]:
    """Reads through a folder of shards.

    Args:
      data: The folder, or its URL.
      progress: Receives the part that is done, in [0, 1].
    Returns:
      All its pictures, in order, damaged ones too.
    Raises:
      UserError: if there is no index, or a shard is missing or is not the one that it tells of.
    """
    shards = {run.path: run.shard for run in reader.open_shards(data)}
    for path, shard in shards.items():  # All at first: reading takes long.
        reader.check_size(shard, path)
    total_bytes, done_bytes = sum(shard.bytes for shard in shards.values()), 0
    places = []
    for path, shard in shards.items():
        with remote.one_line(path, reader.REMEDY):
            places += _places_of(shard, path)
        done_bytes += shard.bytes
        if progress is not None:
            progress(done_bytes / total_bytes)
    return places


def _places_of(shard: reader.Shard, path: str) -> list[Place]:
    digest, places = reader.RecordDigest(), []
    for offset, _, content, _ in _records(path, shard.bytes):
        digest.update(content)
        places.append(_place(path, len(places), offset, content))
    if len(places) == shard.count and digest.hexdigest() == shard.sha256:
        return places
    places, damaged = _places_of_damaged(shard, path)
    if not damaged:
        raise reader.is_another(shard, path, digest)
    return places


def _places_of_damaged(shard: reader.Shard, path: str) -> tuple[list[Place], bool]:
    """Finds what is whole by the records' own checksums; returns also whether any is damaged."""
    places, damaged, end = [], False, 0
    for offset, head, content, check in _records(path, shard.bytes):
        if len(places) == shard.count or _masked_crc32c(head[:8]) != head[8:]:
            break
        place = _place(path, len(places), offset, content)
        if _masked_crc32c(content) != check:
            place, damaged = dataclasses.replace(place, fault=_DAMAGED), True
        places.append(place)
        end = offset + len(content) + _CHECK_BYTES
    if end < shard.bytes and len(places) < shard.count:
        lost = range(len(places), shard.count)
        places, damaged = places + [Place(path, number, fault=_LOST) for number in lost], True
    return places, damaged


def _place(path: str, number: int, offset: int, content: bytes) -> Place:
    try:
        example = reader.parse(content)
    except ValueError as error:
        return Place(path, number, fault=f"its record {error}")
    suffix = ".png" if example.encoded.startswith(_PNG) else ".jpg"
    size_bytes, crc32 = len(content), zlib.crc32(content)
    return Place(path, number, printable(example.name), suffix, offset, size_bytes, crc32)


def _records(path: str, size_bytes: int) -> Iterator[tuple[int, bytes, bytes, bytes]]:
    """Yields (where it begins, length and its checksum, content, checksum) as the lengths say."""
    end = 0
    with _open(path) as stream:
        while end + _HEAD_BYTES + _CHECK_BYTES <= size_bytes:
            head = stream.read(_HEAD_BYTES)
            (length,) = struct.unpack("<Q", head[:8])
            offset = end + _HEAD_BYTES
            end = offset + length + _CHECK_BYTES
            if end > size_bytes:
                return
            yield offset, head, stream.read(length), stream.read(_CHECK_BYTES)


def _open(path: str) -> BinaryIO | Any:
    return remote.tensorflow_for(path).io.gfile.GFile(path, "rb")


# Remote storage is read many records ahead, which would be thrown away with the stream.
_open_once = functools.lru_cache(maxsize=1)(_open)


def _read_at(path: str, offset: int, size_bytes: int) -> bytes:
    if not remote.is_url(path):
        with open(path, "rb") as stream:
            stream.seek(offset)
            return stream.read(size_bytes)
    with remote.one_line(path, reader.REMEDY):
        stream = _open_once(path)
        stream.seek(offset)
        return stream.read(size_bytes)


@functools.cache
def _crc_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (_POLYNOMIAL if value & 1 else 0) for value in table]
    return table


def _masked_crc32c(data: bytes) -> bytes:
    """Returns the checksum of TFRecord: CRC-32C, turned and shifted, 4 bytes little-endian."""
    table, crc = _crc_table(), _ALL_BITS
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= _ALL_BITS
    return struct.pack("<L", ((crc >> 15 | crc << 17) + _MASK) & _ALL_BITS)
