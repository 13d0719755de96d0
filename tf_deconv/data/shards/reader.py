"""Shards: pictures in a few large TFRecord files, here or in remote storage.

A folder of shards holds .tfrecord files and `shards.json`, their index. Each record is one
`tf.train.Example`: the picture's file, encoded, with its size, name, label and content hash. The
index tells the number and the sizes of all pictures, so that opening reads no shard, and a digest
of every shard, which is checked as it is read. `writer` writes what this module reads. See
docs/decisions/0014-tfrecord-shards.md.

TensorFlow is imported when a shard or a URL is read, not before.

References: https://www.tensorflow.org/tutorials/load_data/tfrecord; features that
tf.models.research/object_detection has too are named as there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import pathlib
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tf_deconv.data import folders, levels
from tf_deconv.data.folders import Notes, Pages
from tf_deconv.data.labels import MAX_CLASSES
from tf_deconv.data.levels import BYTE_TYPE, WORD_TYPE, Survey
from tf_deconv.data.store import StoreWriter, content_hash
from tf_deconv.images import reading
from tf_deconv.images.arrays import CHANNELS, printable
from tf_deconv.images.value_range import Levels, parse_range
from tf_deconv.utils import remote
from tf_deconv.utils.options import UserError, reason

INDEX_FILE, SUFFIX = "shards.json", ".tfrecord"
FORMAT, VERSION = "tf_deconv shards", 1
PARTS = (None, "train", "test", "validation")
ENCODED, FILE_FORMAT, NAME = "image/encoded", "image/format", "image/filename"
HEIGHT, WIDTH, LABEL = "image/height", "image/width", "image/class/label"
CONTENT_SHA256 = "image/content/sha256"
# Of pages: the file that they are of. Of what became 16 bits: the type that it was before.
GROUP, SAMPLE_TYPE = "image/group", "image/sample_type"
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.tfrecord")
_SAMPLE_TYPES = frozenset((levels.FLOATS, "int8", "int16", "int32", "int64", "uint32", "uint64"))
REMEDY = "copy the shards anew, or run tf-deconv shard again"
# Large, because each read of remote storage waits for its answer.
_READ_BYTES = 2**23
# What tf.data hands over together, and what is decoded together.
_BATCH_BYTES, _BATCH_RECORDS = 2**22, 64
_DECODE_BYTES, _DECODE_PICTURES = 2**26, 4096


@dataclasses.dataclass(frozen=True)
class Shard:
    """A line of the index.

    Attributes:
      file: Name of the file.
      part: The part of its source that it holds, one of `PARTS`.
      count: Number of records.
      bytes: Size of the file.
      sha256: What `RecordDigest` gives, in hexadecimal digits.
      sizes: (count, height, width) of its pictures, in order; neighbours of one size together.
      bits: Of the samples of its pictures, at most: 8 or 16.
    """

    file: str
    part: str | None
    count: int
    bytes: int
    sha256: str
    sizes: tuple[tuple[int, int, int], ...]
    bits: int = 8


@dataclasses.dataclass(frozen=True)
class Run:
    """Pictures of one size, one after the other in a shard, that were not read yet.

    Attributes:
      shard: The shard.
      path: Where it is; may be a URL.
      first: The place of the first picture among the shard's records.
      count: Number of pictures.
      height: In pixels.
      width: In pixels.
      labelled: Whether labels are there and were asked for.
      channels: Of the decoded pictures.
      levels: What 0 and 65535 of its pictures stand for, of each kind that became 16 bits.
    """

    shard: Shard
    path: str
    first: int
    count: int
    height: int
    width: int
    labelled: bool
    channels: int = CHANNELS
    levels: Mapping[str, Levels] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """For messages."""
        last = self.first + self.count - 1
        return f"{self.shard.file}[{self.first}{f'-{last}' if last > self.first else ''}]"

    @property
    def part(self) -> str | None:
        """The part of its source, as of `labels.part_of`."""
        return self.shard.part

    @property
    def dtype(self) -> np.dtype:
        """Of the samples of its files: uint8, or uint16 where any picture of the shard is."""
        return WORD_TYPE if self.shard.bits > 8 else BYTE_TYPE

    @property
    def kinds(self) -> set[str]:
        """The kinds of samples that may be there, as of `levels.kind_of`."""
        return {levels.kind_of(self.dtype), *(self.levels if self.shard.bits > 8 else ())}


@dataclasses.dataclass(frozen=True)
class Record:
    """One picture of a shard, still encoded; stands where a `PictureFile` does.

    Attributes:
      name: Its name in the source that was sharded.
      encoded: The bytes of a picture file.
      height: In pixels, as the index says.
      width: In pixels, as the index says.
      part: The part of its source.
      label: The number of its class, or None.
      dtype: Of its file's samples, at most.
      group: The file that it was a page of, or None.
      sample_type: What its samples were before they became 16 bits; None: what they are.
      levels: What 0 and 65535 stand for, where there is a `sample_type`.
      sha256: Its content hash as it was recorded.
    """

    name: str
    encoded: bytes
    height: int
    width: int
    part: str | None = None
    label: int | None = None
    count: int = 1
    channels: int = CHANNELS
    dtype: np.dtype = BYTE_TYPE
    group: str | None = None
    sample_type: str | None = None
    levels: Levels = (0.0, 1.0)
    sha256: bytes = b""

    def read(self, _: Pages | None = None, notes: list[str] | None = None) -> tuple[np.ndarray]:
        """Decodes it.

        Args:
          notes: Receives what was left out.
        Returns:
          One (H, W, 3), of its file's type, or of the type that it was sharded from.
        Raises:
          ValueError: if it cannot be read.
        """
        with reading.open_pictures(self.encoded, sys.maxsize) as file:
            height, width = file.header.size(0)
            # Before it is decoded: a few bytes can claim any size.
            if (height, width) != (self.height, self.width):
                raise ValueError(
                    f"is {width}x{height}: expected {self.width}x{self.height}, as {INDEX_FILE}"
                    " says"
                )
            pixels = file.read_raw(0, notes)
        return (pixels if self.sample_type is None else self._as_before(pixels),)

    def _as_before(self, pixels: np.ndarray) -> np.ndarray:
        low, high = self.levels
        values = low + pixels.astype(np.float64) * ((high - low) / 65535)
        if self.sample_type == levels.FLOATS:
            return values
        return np.rint(values).astype(self.sample_type)

    def digest(self, picture: np.ndarray) -> bytes:
        """Returns what tells this picture from another one."""
        # What became 16 bits was rounded, and is still the same picture.
        return content_hash(picture) if self.sample_type is None else self.sha256


class RecordDigest:
    """SHA-256 of a shard's records, each behind its length (8 bytes, little-endian).

    Not of the file: TensorFlow checks what stands around the records, and this digest is taken as
    they stream to or from remote storage.
    """

    def __init__(self):
        self._digest = hashlib.sha256()

    def update(self, record: bytes) -> None:
        """Adds a record."""
        self._digest.update(struct.pack("<Q", len(record)))
        self._digest.update(record)

    def hexdigest(self) -> str:
        """Returns 64 hexadecimal digits."""
        return self._digest.hexdigest()


# --- Opening.


def is_sharded(data: str) -> bool:
    """Returns whether a source is a folder of shards; every URL is taken for one."""
    if remote.is_url(data):
        return True
    try:
        return pathlib.Path(data, INDEX_FILE).is_file()
    except OSError:  # A name that is too long: who lists the folder says so.
        return False


@dataclasses.dataclass(frozen=True)
class Index:
    """What the index of a folder of shards tells.

    Attributes:
      runs: All its pictures.
      levels: What 0 and 65535 stand for, of each kind of sample that became 16 bits.
      value_range: What was said of the values of its pictures, as --range takes it.
    """

    runs: list[Run]
    levels: Mapping[str, Levels]
    value_range: str


def open_shards(data: str, labels: bool = False) -> list[Run]:
    """Returns the pictures of a folder of shards, as `open_index` does."""
    return open_index(data, labels).runs


def open_index(data: str, labels: bool = False) -> Index:
    """Reads the index of a folder of shards.

    Args:
      data: The folder, or its URL.
      labels: Whether to read labels too, where there are any.
    Returns:
      The index.
    Raises:
      UserError: if there is no index, or it is damaged.
    """
    where = remote.join(data, INDEX_FILE)
    try:
        index = json.loads(_read_index(data, where))
        shards, labelled = _parse_index(index)
        known = levels.from_recorded(index.get("levels"))
        value_range = str(parse_range(str(index.get("range", "auto"))))
    except OSError as error:
        raise UserError(f"index {where!r} cannot be read: {reason(error)}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else reason(error)
        raise UserError(
            f"index {where!r} is damaged ({what}): expected what tf-deconv shard writes"
        ) from error
    runs = []
    for shard in shards:
        first, path = 0, remote.join(data, shard.file)
        for count, height, width in shard.sizes:
            has_labels = labels and labelled
            run = Run(shard, path, first, count, height, width, has_labels, levels=known)
            runs.append(run)
            first += count
    return Index(runs, known, value_range)


def _read_index(data: str, where: str) -> bytes:
    if not remote.is_url(data):
        return pathlib.Path(where).read_bytes()
    tf = remote.tensorflow_for(data)
    remedy = f"expected a folder that tf-deconv shard wrote, with its {INDEX_FILE}"
    with remote.one_line(where, remedy), tf.io.gfile.GFile(where, "rb") as stream:
        return stream.read()


def _parse_index(index: dict[str, Any]) -> tuple[list[Shard], bool]:
    """Returns the shards, and whether they have labels; ValueError and others at damage."""
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if index["version"] != VERSION:
        raise ValueError(f"its version is {index['version']!r}, and this program reads {VERSION}")
    shards = []
    for entry in index["shards"]:
        sizes = tuple(tuple(map(_natural, size)) for size in entry["sizes"])
        shard = Shard(
            file=entry["file"],
            part=entry["part"],
            count=_natural(entry["count"]),
            bytes=_natural(entry["bytes"]),
            sha256=entry["sha256"],
            sizes=sizes,
            bits=entry.get("bits", 8),
        )
        # A name, not a path: nothing outside the folder is ever opened.
        if not _FILE_NAME.fullmatch(shard.file):
            raise ValueError(f"{shard.file!r} is not a name of a shard")
        if shard.part not in PARTS:
            raise ValueError(f"{shard.part!r} is no part")
        if any(len(size) != 3 for size in sizes) or sum(size[0] for size in sizes) != shard.count:
            raise ValueError(f"the sizes of {shard.file} are not those of {shard.count} pictures")
        if shard.bits not in (8, 16):
            raise ValueError(f"{shard.bits!r} is no number of bits")
        if not isinstance(shard.sha256, str):
            raise ValueError(f"{shard.sha256!r} is not a checksum")
        shards.append(shard)
    if not shards or sum(shard.count for shard in shards) != index["count"]:
        raise ValueError(f"its shards do not hold {index['count']!r} pictures")
    if type(index["labels"]) is not bool:
        raise ValueError(f"labels={index['labels']!r} is neither true nor false")
    return shards, index["labels"]


def _natural(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is not a whole number from 1 on")
    return value


# --- Reading.


def read_into(
    writer: StoreWriter | Survey, runs: list[Run], ahead_bytes: int, notes: Notes | None = None
) -> list[str]:
    """Reads shards one after the other; decodes as `folders.read_into` does."""
    skipped: list[str] = []
    batch: list[Record] = []
    batch_bytes, most_bytes = 0, min(_DECODE_BYTES, ahead_bytes)
    for record in read_records(runs):
        size_bytes = record.height * record.width * record.channels * record.dtype.itemsize
        if batch and (batch_bytes + size_bytes > most_bytes or len(batch) == _DECODE_PICTURES):
            skipped += folders.read_into(writer, batch, ahead_bytes, notes)
            batch, batch_bytes = [], 0
        batch.append(record)
        batch_bytes += size_bytes
    return skipped + folders.read_into(writer, batch, ahead_bytes, notes)


def read_records(runs: Iterable[Run]) -> Iterator[Record]:
    """Reads the pictures of runs, which are in the order of `open_shards`.

    A shard is read to its end and compared with the index also where only some of its pictures are
    wanted.

    Raises:
      UserError: if a shard is not the one that the index tells of, or is damaged.
    """
    for _, group in itertools.groupby(runs, lambda run: run.path):
        yield from _read_shard(list(group))


def _read_shard(runs: list[Run]) -> Iterator[Record]:
    shard, path, waiting = runs[0].shard, runs[0].path, iter(runs)
    run, digest, count = next(waiting), RecordDigest(), 0
    for content in _read_contents(shard, path):
        digest.update(content)
        if run is not None and count == run.first + run.count:
            run = next(waiting, None)
        if run is not None and count >= run.first:
            yield _parse_record(run, count, content)
        count += 1
    if count != shard.count or digest.hexdigest() != shard.sha256:
        raise is_another(shard, path, digest)


def is_another(shard: Shard, path: str, digest: RecordDigest) -> UserError:
    """Returns the error for a shard whose records are not those that the index tells of."""
    return UserError(
        f"shard {path!r} is not the one that {INDEX_FILE} tells of: its checksum is"
        f" {digest.hexdigest()[:12]}, expected {shard.sha256[:12]}; {REMEDY}"
    )


def check_size(shard: Shard, path: str) -> None:
    """Compares a shard's size with the index.

    Raises:
      UserError: if it is another one, or the shard is missing.
    """
    with remote.one_line(path, REMEDY):
        size_bytes = remote.tensorflow_for(path).io.gfile.stat(path).length
    if size_bytes != shard.bytes:
        state = "cut short" if size_bytes < shard.bytes else "too long"
        raise UserError(
            f"shard {path!r} is {state}: has {size_bytes} bytes, expected {shard.bytes}; {REMEDY}"
        )


def _read_contents(shard: Shard, path: str) -> Iterator[bytes]:
    check_size(shard, path)
    tf = remote.tensorflow_for(path)
    with remote.one_line(path, REMEDY):
        batch = max(1, min(_BATCH_RECORDS, _BATCH_BYTES * shard.count // shard.bytes))
        # Checks the checksum of each record, and reads ahead while pictures are decoded.
        dataset = tf.data.TFRecordDataset(path, buffer_size=_READ_BYTES).batch(batch).prefetch(2)
        for contents in dataset.as_numpy_iterator():
            yield from contents.tolist()


@dataclasses.dataclass(frozen=True)
class Parsed:
    """What a record holds of a picture.

    Attributes:
      name: Its name, as it was recorded.
      encoded: The bytes of a picture file.
      labels: Numbers of classes; one, or none.
      group: The file that it was a page of, or None.
      sample_type: What its samples were before they became 16 bits, or None.
      sha256: Its content hash.
    """

    name: str
    encoded: bytes
    labels: tuple[int, ...]
    group: str | None = None
    sample_type: str | None = None
    sha256: bytes = b""


def parse(content: bytes) -> Parsed:
    """Parses a record.

    Raises:
      ValueError: if it is not a tf.train.Example of a picture.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(content).features.feature
    except DecodeError as error:
        raise ValueError("is not a tf.train.Example") from error
    encoded, name = features[ENCODED].bytes_list.value, features[NAME].bytes_list.value
    if len(encoded) != 1 or len(name) != 1:
        raise ValueError(f"holds no {ENCODED} or no {NAME}")
    labels = tuple(features[LABEL].int64_list.value)

    def text(key: str) -> str | None:
        values = features[key].bytes_list.value
        return values[0].decode("utf-8", "replace") if values else None

    digests = features[CONTENT_SHA256].bytes_list.value
    return Parsed(
        name[0].decode("utf-8", "replace"),
        encoded[0],
        labels,
        text(GROUP),
        text(SAMPLE_TYPE),
        digests[0] if digests else b"",
    )


def _parse_record(run: Run, place: int, content: bytes) -> Record:
    where = f"record {place} of shard {run.path!r}"
    try:
        parsed = parse(content)
    except ValueError as error:
        raise UserError(f"{where} {error}: {REMEDY}") from error
    label, numbers = None, parsed.labels
    if run.labelled:
        if len(numbers) != 1 or not 0 <= numbers[0] < MAX_CLASSES:
            raise UserError(
                f"{where} has the labels {list(numbers)}: expected one from 0 to"
                f" {MAX_CLASSES - 1}; {REMEDY}"
            )
        label = numbers[0]
    kind = parsed.sample_type
    if kind is not None and (kind not in run.levels or kind not in _SAMPLE_TYPES):
        raise UserError(
            f"{where} was made of {kind!r}, of which {INDEX_FILE} knows nothing: {REMEDY}"
        )
    return Record(
        printable(parsed.name),
        parsed.encoded,
        run.height,
        run.width,
        run.part,
        label,
        dtype=run.dtype,
        group=parsed.group,
        sample_type=kind,
        levels=(0.0, 1.0) if kind is None else run.levels[kind],
        sha256=parsed.sha256,
    )
