"""Picture files to decoded pictures: first every header, then every picture, on all cores.

The headers alone say how much memory the pictures will take, and which are too large or too small,
so a bad choice of folder is refused before anything is decoded. The headers of 2000 JPEGs of
256x256 take 0.06 s, decoding them 0.7 s (one core).
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tf_deconv.data.levels import BYTE_TYPE, OutOfRange, Survey, UnknownLevels, kind_of
from tf_deconv.data.store import StoreWriter, content_hash, highest_count
from tf_deconv.images import picture_file, reading
from tf_deconv.images.arrays import CHANNELS, is_grey, printable
from tf_deconv.utils.options import UserError, reason

# Small pictures go to a thread together, and tiny ones all to one: they decode faster than threads
# take turns. 10000 PNGs of 32x32, 2 cores: 0.5 s in one thread, 0.95 s in two, 1.4 s one by one.
_CHUNK_BYTES = 2**22
_CHUNK_FILES = 64
_TINY_BYTES = 2**13
# No format has a picture in less.
_LEAST_PAGE_BYTES = 8
# Which pictures are too large, the caller decides.
_NO_LIMIT = sys.maxsize


@dataclasses.dataclass(frozen=True)
class PictureFile:
    """A picture of a file whose header was read: the only one, or a page.

    Attributes:
      name: Its path below the folder, as it can be printed; of a page also the number, "a.tif[3]".
      path: Where the file is.
      height: In pixels, upright.
      width: In pixels.
      count: Number of pictures, as in `arrays.Stack`.
      channels: Of the decoded picture.
      label: The number of its class, or None.
      dtype: Of its samples, as its header says.
      format: A name of `formats.FORMATS`.
      page: Its number in the file.
      pages: How many pictures the file holds.
    """

    name: str
    path: pathlib.Path
    height: int
    width: int
    count: int = 1
    channels: int = CHANNELS
    label: int | None = None
    dtype: np.dtype = BYTE_TYPE
    format: str = ""
    page: int = 0
    pages: int = 1

    @property
    def group(self) -> str | None:
        """The file, where it holds more pictures than this one."""
        return str(self.path) if self.pages > 1 else None

    def read(self, pages: Pages, notes: list[str] | None = None) -> tuple[np.ndarray, ...]:
        """Decodes it.

        Args:
          pages: Opens files.
          notes: Receives what was left out.
        Returns:
          One (H, W, 3) of the file's type.
        Raises:
          ValueError: if it cannot be read, or is not what its header was.
        """
        if self.pages == 1:
            return (self.read_content(self.path, notes),)
        with pages.open(self) as file:
            return (self._read(file, notes),)

    def read_content(
        self, content: bytes | pathlib.Path, notes: list[str] | None = None
    ) -> np.ndarray:
        """Decodes its file, or the bytes of it, as `read` does: (H, W, 3)."""
        with reading.open_pictures(content, _NO_LIMIT) as file:
            return self._read(file, notes)

    def _read(self, file: reading.PictureFile, notes: list[str] | None) -> np.ndarray:
        header, size = file.header, (self.height, self.width)
        # Before it is decoded: a few bytes can claim any size.
        if self.page >= header.count or header.size(self.page) != size:
            raise ValueError("changed while it was read")
        return file.read_raw(self.page, notes)

    def digest(self, *sides: np.ndarray) -> bytes:
        """Returns what tells this picture from another one."""
        return content_hash(*sides)


class Pages:
    """Opens picture files for reading; a context manager.

    Each thread keeps the file of several pictures that it read last: opening it anew for every page
    would read the heads of all pages as often, and an animation from its beginning.
    """

    def __init__(self):
        self._own = threading.local()
        self._stacks: list[contextlib.ExitStack] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        for stack in self._stacks:
            stack.close()

    @contextlib.contextmanager
    def open(self, file: PictureFile) -> Iterator[reading.PictureFile]:
        """Opens the file of a page.

        Raises:
          ValueError: if it cannot be read.
        """
        own = self._own
        if not hasattr(own, "stack"):
            own.stack, own.path = contextlib.ExitStack(), None
            with self._lock:
                self._stacks.append(own.stack)
        if own.path != file.path:
            own.path = None
            own.stack.close()
            own.file = own.stack.enter_context(reading.open_pictures(file.path, _NO_LIMIT))
            own.path = file.path
        yield own.file


class Notes:
    """Counts what was said of files, so that a thousand alike are one line."""

    def __init__(self):
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, notes: Iterable[str]) -> None:
        """Adds what was said of one file."""
        for note in notes:
            self._names.setdefault(note, []).append(name)

    def clear(self) -> None:
        """Forgets all, before the same files are read again."""
        self._names.clear()

    def lines(self) -> list[str]:
        """Returns a line for each thing that was said."""
        return [
            f"{names[0]}: {note}"
            if len(names) == 1
            else f"{len(names)} pictures, such as {names[0]}: {note}"
            for note, names in self._names.items()
        ]


def scan(
    folder: pathlib.Path, paths: Iterable[pathlib.Path]
) -> tuple[list[PictureFile], list[str], list[str]]:
    """Reads headers.

    Args:
      folder: The folder that names are relative to.
      paths: Files below it.
    Returns:
      The pictures, every page of a file; "name: reason" of the files that hold none; and notes.
    """
    found: list[PictureFile] = []
    skipped, notes = [], Notes()
    with picture_file.quiet():
        for path in paths:
            name = printable(path.relative_to(folder).as_posix())
            try:
                header, said = reading.read_head(path)
                if header.count > 1:
                    _check_count(header.count, path.stat().st_size)
            except (OSError, ValueError, MemoryError) as error:
                skipped.append(f"{name}: {reason(error)}")
                continue
            notes.add(name, said)
            if header.count == 1:
                size = (header.height, header.width)
                how = dict(dtype=header.dtype, format=header.format)
                found.append(PictureFile(name, path, *size, **how))
                continue
            found += [
                PictureFile(
                    f"{name}[{page}]",
                    path,
                    *header.size(page),
                    dtype=header.dtype,
                    format=header.format,
                    page=page,
                    pages=header.count,
                )
                for page in range(header.count)
            ]
    return found, skipped, notes.lines()


def _check_count(count: int, size_bytes: int) -> None:
    """Refuses a file that claims more pictures than it can hold, before a list is made of them."""
    if count > size_bytes // _LEAST_PAGE_BYTES:
        raise ValueError(f"is damaged: it claims {count:,} pictures in {size_bytes:,} bytes")


@dataclasses.dataclass(frozen=True)
class _Decoded:
    """What the table of a store holds of a picture that was put."""

    height: int
    width: int
    digest: bytes
    grey: bool
    kinds: tuple[str, ...]
    highest: int
    notes: tuple[str, ...]


def read_into(
    writer: StoreWriter | Survey, files: list[Any], ahead_bytes: int, notes: Notes | None = None
) -> list[str]:
    """Decodes on all cores; the result does not depend on their number.

    Args:
      writer: Receives the pictures, in order.
      files: What `scan` found, or `pairs.scan`.
      ahead_bytes: Pixels that may be in decoding at once; one picture always may.
      notes: Receives what was left out of the pictures.
    Returns:
      "name: reason" of the pictures that cannot be read.
    Raises:
      UserError: of values that mean nothing without --range, or if the disk is full.
      UnknownLevels: of a sample type that no header told of.
    """
    skipped: list[str] = []

    def take(chunk: list[tuple[Any, int]], future: concurrent.futures.Future) -> None:
        for (file, offset), result in zip(chunk, future.result()):
            if isinstance(result, str):
                skipped.append(f"{file.name}: {result}")
                continue
            writer.record(
                file.name,
                offset,
                result.height,
                result.width,
                result.digest,
                result.grey,
                file.label,
                kinds=result.kinds,
                highest=result.highest,
                group=file.group,
            )
            if notes is not None:
                notes.add(file.name, result.notes)

    waiting: collections.deque = collections.deque()
    waiting_bytes = 0
    with picture_file.quiet(), Pages() as pages:
        pool = concurrent.futures.ThreadPoolExecutor(thread_count(files))
        try:
            for chunk in _chunks(files, min(_CHUNK_BYTES, ahead_bytes)):
                size_bytes = sum(map(_size_bytes, chunk))
                while waiting and waiting_bytes + size_bytes > ahead_bytes:
                    first, first_bytes, future = waiting.popleft()
                    waiting_bytes -= first_bytes
                    take(first, future)
                placed = [(file, writer.reserve(_size(file))) for file in chunk]
                waiting.append((placed, size_bytes, pool.submit(_decode, writer, pages, placed)))
                waiting_bytes += size_bytes
            for first, _, future in waiting:
                take(first, future)
        finally:
            pool.shutdown(cancel_futures=True)
    return skipped


def thread_count(entries: Collection) -> int:
    """Returns how many threads decode the pictures of a source, or encode them, the fastest.

    Args:
      entries: Each with count, height, width, channels and dtype, as `PictureFile` and
        `arrays.Stack`.
    """
    tiny = sum(entry.count * (_size_bytes(entry) - _TINY_BYTES) for entry in entries) < 0
    return 1 if tiny else os.cpu_count() or 1


def _size(file: Any) -> int:
    return file.height * file.width * file.channels


def _size_bytes(file: Any) -> int:
    return _size(file) * file.dtype.itemsize


def _chunks(files: Iterable[Any], size_bytes: int) -> Iterator[list[Any]]:
    """Groups neighbours of at most this size together; a larger picture is alone."""
    chunk: list[Any] = []
    chunk_bytes = 0
    for file in files:
        if chunk and (len(chunk) == _CHUNK_FILES or chunk_bytes + _size_bytes(file) > size_bytes):
            yield chunk
            chunk, chunk_bytes = [], 0
        chunk.append(file)
        chunk_bytes += _size_bytes(file)
    if chunk:
        yield chunk


def _decode(
    writer: StoreWriter | Survey, pages: Pages, placed: list[tuple[Any, int]]
) -> list[_Decoded | str]:
    """Returns what is recorded of each picture, or why it cannot be read."""
    with picture_file.quiet():
        return [_decode_one(writer, pages, file, offset) for file, offset in placed]


def _decode_one(
    writer: StoreWriter | Survey, pages: Pages, file: Any, offset: int
) -> _Decoded | str:
    notes: list[str] = []
    try:
        sides: Sequence[np.ndarray] = file.read(pages, notes)
    except (ValueError, MemoryError) as error:
        return reason(error)
    height, width = sides[0].shape[:2]
    if (height, width) != (file.height, file.width):
        return "changed while it was read"
    try:
        writer.put(offset, *sides)
    except UnknownLevels:
        raise
    except OutOfRange as error:
        raise UserError(f"picture {file.name!r} {error}") from error
    kinds = tuple(kind_of(side.dtype) for side in sides)
    grey = len(sides) == 1 and is_grey(sides[0])
    highest = highest_count(*sides)
    return _Decoded(height, width, file.digest(*sides), grey, kinds, highest, tuple(notes))
