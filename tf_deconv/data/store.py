"""Decoded pictures in one flat buffer: in memory, or in a file where memory is too small.

A store is a table of where each picture begins in the buffer. Many small and few large pictures
then cost the same per patch, no list of Python objects is walked while training, and the two sides
of a split share one buffer. See docs/decisions/0003-data.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tf_deconv.data.levels import BYTE_STEP, WORDS, Depth, in_store, kind_of
from tf_deconv.images import arrays, value_range
from tf_deconv.images.arrays import CHANNELS, is_grey
from tf_deconv.images.value_range import Levels
from tf_deconv.utils import memory
from tf_deconv.utils.options import UserError, reason


@dataclasses.dataclass(frozen=True)
class PictureStore:
    """Pictures in one buffer.

    Attributes:
      pixels: (total,) uint8, or uint16 where any picture has more than 8 bits; picture i is
        (H, W, channels) in C order from `offsets[i]` on. It may hold pictures of other stores too,
        and is a read-only np.memmap when it lies on disk.
      offsets: (count,) int64, where each picture begins in `pixels`.
      heights: (count,) int64.
      widths: (count,) int64.
      names: Names of the pictures, for messages.
      digests: `content_hash` of each picture; of a pair, that of the target and then that of the
        input.
      greys: (count,) bool, whether a picture is known to have R == G == B; never of pairs.
      channels: 3, or 6 for pairs: the input's, then the target's.
      labels: (count,) int64, the number of each picture's class; None where there are none, or
        where they were not asked for.
      levels: (count, channels, 2) float32, which values of each picture become 0 and 1; None where
        all are the smallest and largest of the buffer's type.
      groups: Of each picture the file that it is a page of, None of a picture that is alone in its
        file; () where all are. Pages of one file stand on one side of a split.
      ranges: The levels of each kind of sample in the files' own values; see `levels.recorded`.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    names: tuple[str, ...]
    digests: tuple[bytes, ...]
    greys: np.ndarray
    channels: int = CHANNELS
    labels: np.ndarray | None = None
    levels: np.ndarray | None = None
    groups: tuple[str | None, ...] = ()
    ranges: Mapping[str, Levels] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls, pictures: Iterable[tuple[str, np.ndarray]], labels: Sequence[int] | None = None
    ) -> PictureStore:
        """Packs (name, (H, W, 3 or 6) pixels) pairs that are in memory already, and their labels.

        The pixels are all uint8 or all uint16.
        """
        pictures = list(pictures)
        size = sum(picture.size for _, picture in pictures)
        channels = pictures[0][1].shape[-1] if pictures else CHANNELS
        depth = Depth(pictures[0][1].dtype) if pictures else Depth()
        with StoreWriter(size, size * depth.dtype.itemsize, channels, depth) as writer:
            for index, (name, picture) in enumerate(pictures):
                writer.add(name, picture, None if labels is None else labels[index])
            return writer.finish()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def grey(self) -> bool:
        """Whether every picture has R == G == B; False for pairs."""
        return bool(self.greys.all())

    def picture(self, index: int) -> np.ndarray:
        """Returns picture `index` as (H, W, channels) of the buffer's type, without a copy."""
        height, width = int(self.heights[index]), int(self.widths[index])
        start = int(self.offsets[index])
        # A plain view first: slices of a memmap cost several times more.
        flat = np.asarray(self.pixels)[start : start + height * width * self.channels]
        return flat.reshape(height, width, self.channels)

    def picture_of_bytes(self, index: int) -> np.ndarray:
        """Returns picture `index` as (H, W, channels) uint8: its levels applied, then rounded."""
        return self.as_bytes(self.picture(index), index)

    def as_bytes(self, pixels: np.ndarray, index: int) -> np.ndarray:
        """Rounds (..., channels) pixels of picture `index` to uint8, its levels applied."""
        if self.levels is None:
            return pixels if pixels.dtype == np.uint8 else arrays.to_uint8(arrays.as_unit(pixels))
        low, high = self.levels[index].T
        return arrays.to_uint8((pixels.astype(np.float32) - low) / (high - low))

    def select(self, indices: Sequence[int]) -> PictureStore:
        """Returns a store of some of the pictures; it shares the buffer."""
        rows = np.asarray(indices, np.int64)
        return dataclasses.replace(
            self,
            offsets=self.offsets[rows],
            heights=self.heights[rows],
            widths=self.widths[rows],
            names=tuple(self.names[index] for index in indices),
            digests=tuple(self.digests[index] for index in indices),
            greys=self.greys[rows],
            labels=None if self.labels is None else self.labels[rows],
            levels=None if self.levels is None else self.levels[rows],
            groups=tuple(self.groups[index] for index in indices) if self.groups else (),
        )

    def sha256(self) -> str:
        """Returns a hash of every picture's size and pixels, in order."""
        return hashlib.sha256(b"".join(self.digests)).hexdigest()


class StoreWriter:
    """Packs pictures one at a time; a context manager.

    The buffer is made once, in its full size: growing it would need it twice. Only `put` may be
    called from several threads.

    Attributes:
      on_disk: Whether the buffer is a file.
      depth: What it holds.
      kinds: The sample types of the pictures that were recorded, as of `levels.kind_of`.
      highest: The largest value of each of those that are uint16, in order.
    """

    def __init__(
        self,
        total: int,
        budget_bytes: int,
        channels: int = CHANNELS,
        depth: Depth | None = None,
    ):
        """Reserves memory, or a file when that would take more than the budget.

        Args:
          total: Number of values in all pictures to come, or more.
          budget_bytes: Most memory that the buffer may take.
          channels: Of every picture to come.
          depth: What the buffer holds; 8 bits when None.
        Raises:
          UserError: if neither memory nor disk can hold the pictures.
        """
        self.depth = depth or Depth()
        total_bytes = total * self.depth.dtype.itemsize
        self.on_disk = total_bytes > budget_bytes
        self.kinds: set[str] = set()
        self.highest: list[int] = []
        self._channels = channels
        self._file = _cache_file(total_bytes, budget_bytes) if self.on_disk else None
        self._buffer = np.empty(0 if self.on_disk else total, self.depth.dtype)
        self._writing = threading.Lock()
        self._reserved = 0
        self._places: list[tuple[int, int, int]] = []
        self._names: list[str] = []
        self._digests: list[bytes] = []
        self._greys: list[bool] = []
        self._labels: list[int] = []
        self._groups: list[str | None] = []
        self._kinds: list[tuple[str, ...]] = []

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def reserve(self, size: int) -> int:
        """Returns where the next `size` values begin in the buffer."""
        self._reserved += size
        return self._reserved - size

    def put(self, offset: int, *sides: np.ndarray) -> None:
        """Copies a picture, or both sides of a pair, to a reserved place.

        Args:
          offset: Where it begins.
          *sides: (H, W, 3) each, of any type that the writer's depth knows; or one (H, W, channels)
            of the buffer's type.
        Raises:
          UserError: if the disk is full.
          levels.UnknownLevels, levels.OutOfRange: as `Depth.stored`.
        """
        parts = [self.depth.stored(side) for side in sides]
        picture = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        if self._file is None:
            place = self._buffer[offset : offset + picture.size]
            place.reshape(picture.shape)[...] = picture
            return
        left = memoryview(np.ascontiguousarray(picture).reshape(-1)).cast("B")
        place_bytes = offset * self.depth.dtype.itemsize
        try:
            # Written, not assigned to a map of the file: there a full disk kills the process.
            while left:
                count = self._write_at(left, place_bytes)
                left, place_bytes = left[count:], place_bytes + count
        except OSError as error:
            raise UserError(
                f"decoded pictures cannot be written to {cache_folder()!r}: {reason(error)}; set"
                " TMPDIR to a folder on a larger disk"
            ) from error

    def _write_at(self, content: memoryview, place_bytes: int) -> int:
        """Returns how many bytes of `content` were written at a place of the file."""
        if hasattr(os, "pwrite"):
            return os.pwrite(self._file.fileno(), content, place_bytes)
        with self._writing:  # Windows has one place in a file for all threads.
            self._file.seek(place_bytes)
            return self._file.write(content)

    def record(
        self,
        name: str,
        offset: int,
        height: int,
        width: int,
        digest: bytes,
        grey: bool = False,
        label: int | None = None,
        *,
        kinds: tuple[str, ...] | None = None,
        highest: int = 0,
        group: str | None = None,
    ) -> None:
        """Enters a picture that was put into the table.

        Args:
          name: For messages.
          offset: Where it was put.
          height: In pixels.
          width: In pixels.
          digest: Of its content.
          grey: What `is_grey` says.
          label: The number of its class; of all pictures, or of none.
          kinds: The sample type of each side, as of `levels.kind_of`; the buffer's when None.
          highest: The largest value of sides of uint16.
          group: The file that it is a page of, if it has others.
        """
        self._places.append((offset, height, width))
        self._names.append(name)
        self._digests.append(digest)
        self._greys.append(grey)
        self._groups.append(group)
        self._kinds.append(kinds or (kind_of(self.depth.dtype),))
        self.kinds.update(self._kinds[-1])
        if WORDS in self._kinds[-1]:
            self.highest.append(highest)
        if label is not None:
            self._labels.append(label)

    def add(
        self, name: str, picture: np.ndarray, label: int | None = None, grey: bool | None = None
    ) -> None:
        """Appends a picture.

        Args:
          name: For messages.
          picture: (H, W, 3) of any type that the writer's depth knows, or (H, W, channels) of the
            buffer's.
          label: The number of its class; of all pictures, or of none.
          grey: What `is_grey` would return, where the caller knows.
        Raises:
          As `put` does.
        """
        offset = self.reserve(picture.size)
        self.put(offset, picture)
        grey = is_grey(picture) if grey is None else grey
        kinds = (kind_of(picture.dtype),)
        highest = highest_count(picture)
        digest = content_hash(picture)
        size = picture.shape[:2]
        self.record(name, offset, *size, digest, grey, label, kinds=kinds, highest=highest)

    def finish(self, ranges: Mapping[str, Levels] | None = None) -> PictureStore:
        """Returns the store; the writer is of no more use.

        Args:
          ranges: Levels of every kind of sample; those of the types themselves when None.
        Raises:
          ValueError: if some pictures have a label and some have none.
        """
        if len(self._labels) not in (0, len(self._names)):
            raise ValueError(f"{len(self._labels)} labels for {len(self._names)} pictures")
        places = np.array(self._places, np.int64).reshape(-1, 3)
        offsets, heights, widths = places.T.copy()
        end = int(np.max(offsets + heights * widths * self._channels, initial=0))
        pixels = self._buffer[:end]
        if self._file is not None and end:
            # The map keeps the file, which has no name, alive: it is gone when the process ends.
            pixels = np.memmap(self._file, self.depth.dtype, mode="r", shape=(end,))
        return PictureStore(
            pixels,
            offsets,
            heights,
            widths,
            tuple(self._names),
            tuple(self._digests),
            np.array(self._greys, bool),
            self._channels,
            np.array(self._labels, np.int64) if self._labels else None,
            self._levels(ranges or {}),
            tuple(self._groups) if any(self._groups) else (),
            dict(ranges or {}),
        )

    def _levels(self, ranges: Mapping[str, Levels]) -> np.ndarray | None:
        """Returns the levels of every channel of every picture; None where none is special."""
        own = value_range.type_levels(self.depth.dtype)
        of_kind = {kind: in_store(kind, ranges, self.depth) for kind in ranges}
        if all(levels == own for levels in of_kind.values()):
            return None
        rows = np.array(
            [[of_kind.get(kind, own) for kind in kinds] for kinds in self._kinds], np.float32
        )  # (count, sides, 2)
        return np.repeat(rows, self._channels // rows.shape[1], axis=1)


def highest_count(*sides: np.ndarray) -> int:
    """Returns the largest value of those sides that are uint16; 0 where none is."""
    counts = [int(side.max()) for side in sides if kind_of(side.dtype) == WORDS and side.size]
    return max(counts, default=0)


def content_hash(picture: np.ndarray) -> bytes:
    """Hashes size and pixels of (H, W, 3): a lossless copy of a picture hashes the same.

    8 bits that lie in 16 hash as 8 do. What levels are chosen does not matter: another --range
    moves no picture across the split.
    """
    if picture.dtype.kind == "u" and picture.dtype.itemsize == 2 and _holds_bytes(picture):
        picture = (picture // BYTE_STEP).astype(np.uint8)
    kind = ""
    if picture.dtype != np.uint8:
        kind = f"{picture.dtype.name}:"
        picture = picture.astype(picture.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{picture.shape[0]}x{picture.shape[1]}:{kind}".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def _holds_bytes(picture: np.ndarray) -> bool:
    """Returns whether uint16 values are 8 bits each, 257 times: the first row tells most."""
    return all(not (rows % BYTE_STEP).any() for rows in (picture[:1], picture))


def memory_budget() -> int:
    """Returns half of the memory that is available now, in bytes; the rest is for training."""
    return memory.available_bytes() // 2


def cache_folder() -> str:
    """Returns where pictures go that do not fit in memory: $TMPDIR, or else /var/tmp."""
    # Not /tmp: it is memory itself on many systems.
    if "TMPDIR" not in os.environ and os.access("/var/tmp", os.W_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


def size_text(count: int) -> str:
    """Returns a number of bytes as text such as "1.5 GB"."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _cache_file(total_bytes: int, budget_bytes: int) -> io.FileIO:
    """Opens a file without a name in `cache_folder`, after checking that the disk has room."""
    folder = cache_folder()
    try:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < total_bytes:
            raise UserError(
                f"the decoded pictures take {size_text(total_bytes)}, more than half of the free"
                f" memory ({size_text(budget_bytes)}) and more than is free in {folder!r}"
                f" ({size_text(free_bytes)}): set TMPDIR to a folder on a larger disk, or use fewer"
                " pictures"
            )
        return tempfile.TemporaryFile(dir=folder, buffering=0)
    except OSError as error:
        raise UserError(
            f"folder {folder!r} cannot be written: {reason(error)}; set TMPDIR to another one"
        ) from error
