"""Writes a folder of shards, which `reader` reads: records, one shard after the other, index."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import tensorflow as tf

from tf_deconv.data.shards.reader import (
    CONTENT_SHA256,
    ENCODED,
    FILE_FORMAT,
    FORMAT,
    GROUP,
    HEIGHT,
    INDEX_FILE,
    LABEL,
    NAME,
    SAMPLE_TYPE,
    VERSION,
    WIDTH,
    RecordDigest,
    Shard,
)
from tf_deconv.utils import remote

# A record stands between 8 bytes of length, a checksum of these and one of its own, 4 bytes each.
FRAME_BYTES = 16


def make_record(
    encoded: bytes,
    file_format: str,
    size: tuple[int, int],
    name: str,
    label: int | None,
    digest: bytes,
    *,
    group: str | None = None,
    sample_type: str | None = None,
) -> bytes:
    """Returns a serialized tf.train.Example; equal pictures give equal bytes.

    Args:
      encoded: The bytes of a picture file.
      file_format: "png" or "jpeg".
      size: Height and width of the decoded picture, in pixels.
      name: Of the picture.
      label: The number of its class, or None.
      digest: Its `content_hash`.
      group: The file that it is a page of, or None.
      sample_type: What its samples were before they became 16 bits, or None.
    """

    def of_bytes(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def of_int(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        ENCODED: of_bytes(encoded),
        FILE_FORMAT: of_bytes(file_format.encode()),
        HEIGHT: of_int(size[0]),
        WIDTH: of_int(size[1]),
        NAME: of_bytes(name.encode()),
        CONTENT_SHA256: of_bytes(digest),
    }
    if label is not None:
        features[LABEL] = of_int(label)
    if group is not None:
        features[GROUP] = of_bytes(group.encode())
    if sample_type is not None:
        features[SAMPLE_TYPE] = of_bytes(sample_type.encode())
    example = tf.train.Example(features=tf.train.Features(feature=features))
    # Features are a map, whose order is otherwise left open.
    return example.SerializeToString(deterministic=True)


class ShardWriter:
    """Writes shards one after the other, and then their index; a context manager.

    If the block raises, what was written is removed.
    """

    def __init__(self, folder: str, labels: bool):
        """Writes nothing yet.

        Args:
          folder: Where to; an empty folder, or its URL.
          labels: Whether records have labels.
        """
        self.shards: list[Shard] = []
        self._folder, self._labels = folder, labels
        remote.tensorflow_for(folder)
        self._one_line = lambda: remote.one_line(folder, "choose another place with --out")
        self._paths: list[str] = []
        self._file = None
        # These describe the present shard.
        self._name, self._part, self._bytes = "", None, 0
        self._digest, self._sizes, self._bits = RecordDigest(), [], 8

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            return
        with contextlib.suppress(tf.errors.OpError):
            if self._file is not None:
                self._file.close()
        for path in self._paths:
            with contextlib.suppress(tf.errors.OpError):
                tf.io.gfile.remove(path)

    @property
    def shard_bytes(self) -> int:
        """Size of the present shard; 0 where none was begun."""
        return self._bytes

    def add(self, record: bytes, size: tuple[int, int], part: str | None, bits: int = 8) -> None:
        """Appends a record to the present shard, or to a new one if there is none.

        Args:
          record: What `make_record` returns.
          size: Height and width of the picture, in pixels.
          part: The part of its source; a record of another part begins a new shard.
          bits: Of its samples, 8 or 16.
        Raises:
          UserError: if it cannot be written.
        """
        if part != self._part:
            self.end_shard()
        with self._one_line():
            if self._file is None:
                self._begin_shard(part)
            self._file.write(record)
        self._digest.update(record)
        self._bits = max(self._bits, bits)
        self._bytes += len(record) + FRAME_BYTES
        if self._sizes and self._sizes[-1][1:] == size:
            self._sizes[-1] = (self._sizes[-1][0] + 1, *size)
        else:
            self._sizes.append((1, *size))

    def _begin_shard(self, part: str | None) -> None:
        number = sum(shard.part == part for shard in self.shards)
        self._name, self._part = f"{part or 'pictures'}-{number:05}.tfrecord", part
        self._paths.append(remote.join(self._folder, self._name))
        self._file = tf.io.TFRecordWriter(self._paths[-1])

    def end_shard(self) -> None:
        """Closes the present shard, if there is one.

        Raises:
          UserError: if it cannot be written.
        """
        if self._file is None:
            return
        with self._one_line():
            self._file.close()
        count, digest = sum(size[0] for size in self._sizes), self._digest.hexdigest()
        sizes = tuple(self._sizes)
        self.shards.append(
            Shard(self._name, self._part, count, self._bytes, digest, sizes, self._bits)
        )
        self._file, self._bytes = None, 0
        self._digest, self._sizes, self._bits = RecordDigest(), [], 8

    def finish(self, facts: dict[str, Any] | None = None) -> None:
        """Writes the index; nothing can be added any more.

        Args:
          facts: What it tells besides: "levels" and "range", as `reader.Index` has them.
        Raises:
          UserError: if it cannot be written.
        """
        self.end_shard()
        count = sum(shard.count for shard in self.shards)
        head = dict(
            format=FORMAT, version=VERSION, count=count, labels=self._labels, **(facts or {})
        )
        # A line for each shard: the index of many sizes is still one that people can read.
        lines = [json.dumps(_line(shard)) for shard in self.shards]
        text = json.dumps(head)[:-1] + ', "shards": [\n' + ",\n".join(lines) + "\n]}\n"
        path = remote.join(self._folder, INDEX_FILE)
        self._paths.append(path)
        with self._one_line(), tf.io.gfile.GFile(path, "wb") as stream:
            stream.write(text.encode())


def _line(shard: Shard) -> dict[str, Any]:
    facts = dataclasses.asdict(shard)
    if shard.bits == 8:  # As in every index from before there were others.
        del facts["bits"]
    return facts
