"""Decoded pictures in one flat buffer: in memory, or in a file where memory is too small.

A store is a table of where each picture begins in the buffer. Many small and few large pictures
then cost the same per patch, no list of Python objects is walked while training, and the two sides
of a split share one buffer. See docs/decisions/0003-data.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np

from tf_deconv.images.arrays import CHANNELS, is_grey
from tf_deconv.utils.options import UserError, reason

# What a container may use, where /proc/meminfo shows the whole machine: control groups 2 and 1.
_CONTAINER_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)


@dataclasses.dataclass(frozen=True)
class PictureStore:
    """Pictures in one buffer.

    Attributes:
      pixels: (total,) uint8; picture i is (H, W, channels) in C order from `offsets[i]` on. It may
        hold pictures of other stores too, and is a read-only np.memmap when it lies on disk.
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

    @classmethod
    def of(
        cls, pictures: Iterable[tuple[str, np.ndarray]], labels: Sequence[int] | None = None
    ) -> PictureStore:
        """Packs (name, (H, W, 3 or 6) uint8) pairs that are in memory already, and their labels."""
        pictures = list(pictures)
        total_bytes = sum(picture.size for _, picture in pictures)
        channels = pictures[0][1].shape[-1] if pictures else CHANNELS
        with StoreWriter(total_bytes, total_bytes, channels) as writer:
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
        """Returns picture `index` as (H, W, channels) uint8, without a copy."""
        height, width = int(self.heights[index]), int(self.widths[index])
        start = int(self.offsets[index])
        # A plain view first: slices of a memmap cost several times more.
        flat = np.asarray(self.pixels)[start : start + height * width * self.channels]
        return flat.reshape(height, width, self.channels)

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
        )

    def sha256(self) -> str:
        """Returns a hash of every picture's size and pixels, in order."""
        return hashlib.sha256(b"".join(self.digests)).hexdigest()


class StoreWriter:
    """Packs pictures one at a time; a context manager.

    The buffer is made once, in its full size: growing it would need it twice. Only `put` may be
    called from several threads.
    """

    def __init__(self, total_bytes: int, budget_bytes: int, channels: int = CHANNELS):
        """Reserves memory, or a file when that would take more than the budget.

        Args:
          total_bytes: Sum of the sizes of all pictures to come, or more.
          budget_bytes: Most memory that the buffer may take.
          channels: Of every picture to come.
        Raises:
          UserError: if neither memory nor disk can hold the pictures.
        """
        self.on_disk = total_bytes > budget_bytes
        self._channels = channels
        self._file = _cache_file(total_bytes, budget_bytes) if self.on_disk else None
        self._buffer = np.empty(0 if self.on_disk else total_bytes, np.uint8)
        self._reserved_bytes = 0
        self._places: list[tuple[int, int, int]] = []
        self._names: list[str] = []
        self._digests: list[bytes] = []
        self._greys: list[bool] = []
        self._labels: list[int] = []

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def reserve(self, size_bytes: int) -> int:
        """Returns where the next `size_bytes` begin in the buffer."""
        self._reserved_bytes += size_bytes
        return self._reserved_bytes - size_bytes

    def put(self, offset: int, picture: np.ndarray) -> None:
        """Copies (H, W, channels) uint8 to a reserved place.

        Raises:
          UserError: if the disk is full.
        """
        if self._file is None:
            place = self._buffer[offset : offset + picture.size]
            place.reshape(picture.shape)[...] = picture
            return
        left = memoryview(np.ascontiguousarray(picture).reshape(-1))
        try:
            # Written, not assigned to a map of the file: there a full disk kills the process.
            while left:
                count = os.pwrite(self._file.fileno(), left, offset)
                left, offset = left[count:], offset + count
        except OSError as error:
            raise UserError(
                f"decoded pictures cannot be written to {cache_folder()!r}: {reason(error)}; set"
                " TMPDIR to a folder on a larger disk"
            ) from error

    def record(
        self,
        name: str,
        offset: int,
        height: int,
        width: int,
        digest: bytes,
        grey: bool = False,
        label: int | None = None,
    ) -> None:
        """Enters a picture that was put into the table."""
        self._places.append((offset, height, width))
        self._names.append(name)
        self._digests.append(digest)
        self._greys.append(grey)
        if label is not None:
            self._labels.append(label)

    def add(
        self, name: str, picture: np.ndarray, label: int | None = None, grey: bool | None = None
    ) -> None:
        """Appends a picture.

        Args:
          name: For messages.
          picture: (H, W, channels) uint8.
          label: The number of its class; of all pictures, or of none.
          grey: What `is_grey` would return, where the caller knows.
        Raises:
          UserError: as `put` does.
        """
        offset = self.reserve(picture.size)
        self.put(offset, picture)
        grey = is_grey(picture) if grey is None else grey
        self.record(name, offset, *picture.shape[:2], content_hash(picture), grey, label)

    def finish(self) -> PictureStore:
        """Returns the store; the writer is of no more use.

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
            pixels = np.memmap(self._file, np.uint8, mode="r", shape=(end,))
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
        )


def content_hash(picture: np.ndarray) -> bytes:
    """Hashes size and pixels of (H, W, 3) uint8: a lossless copy of a picture hashes the same."""
    digest = hashlib.sha256(f"{picture.shape[0]}x{picture.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def memory_budget() -> int:
    """Returns half of the memory that is available now, in bytes; the rest is for training."""
    amounts = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    for path in _CONTAINER_LIMITS:
        # The file is absent, or says "max", where there is no limit.
        with contextlib.suppress(OSError, ValueError):
            amounts.append(int(pathlib.Path(path).read_text()))
    return min(amounts) // 2


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
