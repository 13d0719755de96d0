"""Stacks of pictures of one size: .npy and .npz arrays, and IDX files, MNIST's format.

A stack is read as a stream, picture by picture, also out of a compressed file: none is ever in
memory as a whole. Nothing is unpickled. Labels that lie beside the pictures (an array of the same
.npz, an IDX file of labels) belong to them by their index. They are found with the pictures, but
read only by `with_labels`: where nobody asks for them, bad ones do no harm.

References: numpy.lib.format (NEP 1) for .npy; http://yann.lecun.com/exdb/mnist/ for IDX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import itertools
import math
import os
import pathlib
import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

import numpy as np

from tf_deconv.data import labels
from tf_deconv.data.levels import BYTE_TYPE, OutOfRange, Survey
from tf_deconv.data.store import StoreWriter
from tf_deconv.images.arrays import CHANNELS, printable
from tf_deconv.utils.options import UserError, reason

ARRAY_SUFFIXES = (".npy", ".npz")
# MNIST's names of picture files, also with the dot that some copies have for the second dash.
_IDX_NAME = re.compile(r"images[-.]idx[34]-ubyte(\.gz)?$")
_IDX_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
# What a damaged file raises in numpy, gzip and zipfile (RuntimeError: encrypted).
_DAMAGE = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, tokenize.TokenError, zlib.error),
    *(zipfile.BadZipFile, RuntimeError, NotImplementedError, MemoryError, OverflowError),
)


@dataclasses.dataclass(frozen=True)
class Stack:
    """Pictures of one size that were not read yet.

    Attributes:
      name: For messages.
      count: Number of pictures.
      height: In pixels.
      width: In pixels.
      channels: 1 or 3, as stored.
      read: Reads them in order, each (H, W, 3) of `dtype`; raises UserError at damage.
      dtype: Of the samples, as stored.
      read_labels: Reads (count,) int64; raises UserError if they do not fit. None: there are none.
      labels: What `read_labels` gave, once `with_labels` has called it.
    """

    name: str
    count: int
    height: int
    width: int
    channels: int
    read: Callable[[], Iterator[np.ndarray]]
    dtype: np.dtype = BYTE_TYPE
    read_labels: Callable[[], np.ndarray] | None = None
    labels: np.ndarray | None = None

    @property
    def part(self) -> str | None:
        """The part of its source that its name says, as of `labels.part_of`."""
        return labels.part_of(self.name)


@dataclasses.dataclass(frozen=True)
class _Array:
    """An array that lies in a file, of which only the header was read.

    Attributes:
      name: For messages.
      shape: As its header says; so are the next two.
      fortran: Whether the first axis varies fastest.
      dtype: Of its elements.
      path: The file; None for an array in memory.
      member: Its name within an .npz.
      start: Where its elements begin, in bytes.
      body_bytes: How many bytes are there; None where only reading them tells.
    """

    name: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    path: pathlib.Path | None = None
    member: str | None = None
    start: int = 0
    body_bytes: int | None = None


def is_stack(path: pathlib.Path) -> bool:
    """Returns whether a file is a stack: by its name, or by its first bytes."""
    if path.suffix.lower() in ARRAY_SUFFIXES or _IDX_NAME.search(path.name):
        return True
    try:
        with _open(path) as stream:
            start = stream.read(4)
    except _DAMAGE:
        return False
    return len(start) == 4 and start[:2] == b"\0\0" and start[2] in _IDX_DTYPES


def list_idx(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists a folder's IDX files of pictures, by MNIST's names; not twice if also compressed."""
    paths = {}
    # `images.formats.find_pictures` says what is wrong with a folder.
    with contextlib.suppress(OSError):
        for name in sorted(filter(_IDX_NAME.search, os.listdir(folder))):
            if (folder / name).is_file():
                paths.setdefault(name.removesuffix(".gz"), folder / name)
    return list(paths.values())


def list_arrays(folder: pathlib.Path) -> list[pathlib.Path]:
    """Lists a folder's .npy and .npz files."""
    with contextlib.suppress(OSError):
        names = [name for name in os.listdir(folder) if name.lower().endswith(ARRAY_SUFFIXES)]
        return [folder / name for name in sorted(names) if not name.startswith(".")]
    return []


def open_stacks(paths: Iterable[pathlib.Path]) -> tuple[list[Stack], list[str]]:
    """Reads the headers of stacks that belong together.

    Returns:
      The stacks, and "name: reason" of the parts that are left out.
    Raises:
      UserError: if one cannot be used, or if they differ in their number of channels.
    """
    stacks: list[Stack] = []
    skipped: list[str] = []
    for path in paths:
        name = printable(path.name)
        try:
            if path.suffix.lower() == ".npz":
                stacks += _open_npz(path, name, skipped)
            else:
                stacks.append(_open_plain(path, name))
        except _DAMAGE as error:
            raise UserError(f"stack {name!r} cannot be read: {reason(error)}") from error
    if len({stack.channels for stack in stacks}) > 1:
        counts = ", ".join(f"{stack.name} has {stack.channels}" for stack in stacks)
        raise UserError(f"mixed channel counts: {counts}; expected one number; pick one stack")
    return stacks, skipped


def have_parts(stacks: Iterable[Stack]) -> bool:
    """Returns whether some stacks are named for training and some for testing."""
    return {"train", "test"} <= {stack.part for stack in stacks}


def of_part(stacks: list[Stack], part: str | None) -> list[Stack]:
    """Returns the stacks named for `part`, "train" or "test"; all where there are no parts."""
    if part not in (None, "train", "test"):
        raise ValueError(f"part={part!r}: expected 'train', 'test' or None")
    if part is None or not have_parts(stacks):
        return stacks
    return [stack for stack in stacks if stack.part == part]


def with_labels(stacks: list[Stack]) -> list[Stack]:
    """Reads the labels of stacks, if they have any.

    Raises:
      UserError: if labels do not fit their pictures, or only some of the stacks have any.
    """
    missing = [stack.name for stack in stacks if stack.read_labels is None]
    if len(missing) == len(stacks):
        return stacks
    if missing:
        raise UserError(
            f"stack {missing[0]!r} has no labels, others of the same source have: expected labels"
            " for all or for none; add them, or leave out the others"
        )
    return [dataclasses.replace(stack, labels=stack.read_labels()) for stack in stacks]


def read_into(writer: StoreWriter | Survey, stacks: Iterable[Stack], _: int) -> list[str]:
    """Reads stacks one after the other; like `folders.read_into`, but nothing is skipped.

    Raises:
      UserError: at damage, or of values that mean nothing without --range.
    """
    for stack in stacks:
        numbers = itertools.repeat(None) if stack.labels is None else stack.labels.tolist()
        # Known without a look, and most stacks are of many tiny pictures.
        grey = True if stack.channels == 1 else None
        for index, (picture, label) in enumerate(zip(stack.read(), numbers)):
            try:
                writer.add(f"{stack.name}[{index}]", picture, label, grey)
            except OutOfRange as error:
                raise UserError(f"stack {stack.name!r}: picture {index} {error}") from error
    return []


def of_array(name: str, array: np.ndarray, numbers: np.ndarray | None = None) -> Stack:
    """Makes a stack of an array in memory: (N, H, W), (N, H, W, 1) or (N, H, W, 3).

    Args:
      name: For messages.
      array: The pictures.
      numbers: Their labels, (N,) or (N, 1) integers, which `with_labels` checks.
    """
    stack = _stack(_Array(name, array.shape, False, array.dtype), lambda: array)
    if numbers is None:
        return stack
    read = functools.partial(labels.checked, name, np.asarray(numbers), stack.count)
    return dataclasses.replace(stack, read_labels=read)


# --- Files: where an array lies, and how its bytes are read.


def _open_plain(path: pathlib.Path, name: str) -> Stack:
    """Opens a .npy or an IDX file."""
    array, partner = _open_array(path, name), None
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        if len(array.shape) == 1:
            raise UserError(
                f"stack {name!r} holds labels: expected pictures, as in train-images-idx3-ubyte"
            )
        partner = labels.beside_idx(path)
    stack = _stack(array, lambda: _stream(array))
    return stack if partner is None else _labelled(stack, partner, printable(partner.name))


def _open_npz(path: pathlib.Path, name: str, skipped: list[str]) -> list[Stack]:
    stacks, others, flat = [], [], []
    with zipfile.ZipFile(path) as archive:
        members = [file for file in archive.namelist() if file.endswith(".npy")]
    for member in members:
        own_name = member.removesuffix(".npy")
        part = f"{name}/{printable(own_name)}"
        try:
            array = _open_array(path, part, member)
        except _DAMAGE as error:
            if not labels.is_name_of_labels(own_name):
                raise
            skipped.append(f"{part}: cannot be read: {reason(error)}")
            flat.append(own_name)
            continue
        if not array.dtype.hasobject and len(array.shape) >= 3:
            stacks.append(_stack(array, functools.partial(_stream, array)))
            continue
        flat.append(own_name)
        if array.dtype.hasobject:
            others.append(f"{part}: holds Python objects, which are never unpickled")
        else:
            others.append(f"{part}: is {_words(array)}, no stack of pictures")
    if not stacks:
        found = "; ".join(others) or "no arrays at all"
        raise UserError(
            f"stack {name!r} holds no pictures ({found}): expected an array (N, H, W) or"
            " (N, H, W, C)"
        )
    skipped += [line for line in others if "unpickled" in line]
    partners = [labels.beside_array(stack.name.removeprefix(f"{name}/"), flat) for stack in stacks]
    return [
        stack
        if partner is None
        else _labelled(stack, path, f"{name}/{printable(partner)}", f"{partner}.npy")
        for stack, partner in zip(stacks, partners)
    ]


def _open_array(path: pathlib.Path, name: str, member: str | None = None) -> _Array:
    """Reads the header of a file's array, or of the array that is a member of an .npz."""
    is_numpy = path.suffix.lower() in ARRAY_SUFFIXES
    with _open(path, member) as stream:
        header = (_npy_header if is_numpy else _idx_header)(stream)
        start, body_bytes = stream.tell(), None
        # What is compressed would have to be read for that.
        if member is None and not isinstance(stream, gzip.GzipFile):
            body_bytes = path.stat().st_size - start
    return _Array(name, *header, path, member, start, body_bytes)


@contextlib.contextmanager
def _open(path: pathlib.Path, member: str | None = None) -> Iterator[BinaryIO]:
    """Opens a file, through gzip if its first bytes say so, or a member of a zip archive."""
    if member is not None:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream
    else:
        with open(path, "rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            yield gzip.GzipFile(fileobj=file) if compressed else file


def _npy_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    # (3, 0) is for names of fields: no stack has any.
    raise ValueError(f"its format is {version}: expected a plain array, of format (1, 0)")


def _idx_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES or not magic[3]:
        raise ValueError(
            f"its first bytes are {magic.hex() or 'missing'}: expected 00000803, an IDX file of"
            " pictures"
        )
    sizes = stream.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError("it is cut short within its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    return shape, False, np.dtype(_IDX_DTYPES[magic[2]])


def _stream(array: _Array) -> Iterator[np.ndarray]:
    """Reads pictures one after the other, as they are stored."""
    name, (count, *shape) = array.name, array.shape
    size_bytes = math.prod(shape) * array.dtype.itemsize
    try:
        if array.fortran:
            yield from _interleaved(array)
            return
        with _open(array.path, array.member) as stream:
            stream.read(array.start)  # Not `seek`, after which zipfile checks no checksum.
            for index in range(count):
                block = stream.read(size_bytes)
                if len(block) < size_bytes:
                    raise UserError(
                        f"stack {name!r} is cut short: holds {index} of {count} pictures"
                    )
                yield np.frombuffer(block, array.dtype).reshape(shape)
            # Also makes gzip and zip check their checksums, which they do at the very end.
            if stream.read(1):
                raise UserError(
                    f"stack {name!r} is longer than the {count} pictures that its header says:"
                    " expected nothing behind them"
                )
    except _DAMAGE as error:
        raise UserError(f"stack {name!r} cannot be read: {reason(error)}") from error


def _interleaved(array: _Array) -> Iterator[np.ndarray]:
    """Reads pictures of an array in Fortran's order."""
    if array.member is None:
        yield from np.load(array.path, "r", allow_pickle=False)
    else:
        # It cannot be mapped: the only kind of stack that has to fit in memory.
        with np.load(array.path, allow_pickle=False) as arrays:
            yield from arrays[array.member.removesuffix(".npy")]


def _labelled(stack: Stack, path: pathlib.Path, name: str, member: str | None = None) -> Stack:
    """Returns a stack that also knows where its labels lie."""
    read = functools.partial(_read_labels, stack.count, path, name, member)
    return dataclasses.replace(stack, read_labels=read)


def _read_labels(count: int, path: pathlib.Path, name: str, member: str | None) -> np.ndarray:
    """Reads (count,) int64; UserError if that is not what is there."""
    try:
        array = _open_array(path, name, member)
        # Before anything is read: a header may claim any size.
        labels.check_layout(name, array.shape, array.dtype, count)
        size_bytes = count * array.dtype.itemsize
        with _open(path, member) as stream:
            stream.read(array.start)  # Not `seek`, as above.
            # One more, to meet the end, where gzip and zip check their checksums.
            block = stream.read(size_bytes + 1)
    except _DAMAGE as error:
        raise UserError(f"labels {name!r} cannot be read: {reason(error)}") from error
    if len(block) != size_bytes:
        state = "cut short" if len(block) < size_bytes else "longer than their header says"
        raise UserError(f"labels {name!r} are {state}: expected {count}, one for each picture")
    return labels.checked(name, np.frombuffer(block, array.dtype), count)


# --- Checks and conversion.


def _stack(array: _Array, read_stored: Callable[[], Iterable[np.ndarray]]) -> Stack:
    """Checks a header and makes the stack that converts what `read_stored` gives."""
    name, shape = array.name, array.shape
    fault = _fault(shape, array.dtype)
    if fault:
        raise UserError(f"stack {name!r} is {_words(array)}: {fault}")
    size_bytes = math.prod(shape[1:]) * array.dtype.itemsize
    if array.body_bytes is not None and array.body_bytes < shape[0] * size_bytes:
        complete = array.body_bytes // size_bytes
        raise UserError(f"stack {name!r} is cut short: holds {complete} of {shape[0]} pictures")

    def read() -> Iterator[np.ndarray]:
        return map(_to_rgb, read_stored())

    channels = 1 if len(shape) == 3 else shape[3]
    return Stack(name, *shape[:3], channels, read, array.dtype)


def _fault(shape: tuple[int, ...], dtype: np.dtype) -> str:
    if dtype.hasobject:
        return "Python objects are never unpickled; expected integers or float"
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        return "expected integers or float; convert with array.astype('uint8')"
    if len(shape) not in (3, 4):
        return "expected (N, H, W) or (N, H, W, C)"
    if min(shape) < 1:
        return "it is empty; expected at least one picture"
    if len(shape) == 3 and shape[2] <= 4:
        return "it looks like one picture (H, W, C); expected a stack, as array[None] is"
    if len(shape) == 4 and shape[3] not in (1, CHANNELS):
        if shape[1] in (1, CHANNELS):
            return "its channels come first; expected (N, H, W, C), as np.moveaxis(array, 1, 3) is"
        return f"it has {shape[3]} channels; expected 1 or 3, as array[..., :3] has"
    return ""


def _words(array: _Array) -> str:
    return f"an array {array.shape} of {array.dtype.name}"


def _to_rgb(picture: np.ndarray) -> np.ndarray:
    """Repeats the grey of (H, W) or (H, W, C) as stored: (H, W, 3), in this machine's order."""
    height, width = picture.shape[:2]
    picture = picture.reshape(height, width, -1)  # (H, W, 1 or 3)
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    return np.ascontiguousarray(np.broadcast_to(picture, (height, width, CHANNELS)))
