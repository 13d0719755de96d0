"""Files that are whole or absent: write beside, flush to the disk, then rename.

Used for everything that a reader may open while it is being written, or that must survive a power
cut half-way. Also here: keeping libraries' chatter off the user's screen, and settings of the whole
process that several threads change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, Generic, TypeVar

from tf_deconv.utils.options import UserError, reason

Value = TypeVar("Value")
_UMASK_LOCK = threading.Lock()


@contextlib.contextmanager
def replacing(path: pathlib.Path, *, flush: bool = True) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the same folder; renames it to `path` if the block succeeds.

    Args:
      path: The file to make or to replace.
      flush: Whether to wait until it is on the disk, 10 ms or so. Of many files call `flush_all`
        after the last one instead.
    Yields:
      A path with the same suffix, if that is a usual one. It is removed if the block raises.
    """
    # A name may have 255 bytes, and a character up to 4: what is left of it still says whose it is.
    stem, suffix = path.stem[:40], path.suffix if len(path.suffix) <= 16 else ""
    handle, name = tempfile.mkstemp(prefix=f".{stem}-", suffix=suffix, dir=path.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner reads; a service runs as someone else.
        temporary.chmod(0o666 & ~umask())
        if flush:
            _flush(temporary)
        os.replace(temporary, path)
        if flush:
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def making_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path`; renames it to `path` if the block succeeds.

    Args:
      path: The folder to make; it may exist if it is empty. Its parents are made.
    Yields:
      An empty folder. It is removed if the block raises.
    Raises:
      UserError: if the folder holds something, or cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        state = "is not empty" if path.is_dir() else "is a file"
        raise UserError(f"folder {str(path)!r} {state}: expected a new one")
    make_folder(path.parent)
    staging = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}-", dir=path.parent))
    try:
        yield staging
        staging.chmod(0o777 & ~umask())
        for file in staging.iterdir():
            _flush(file)
        _flush(staging)
        os.replace(staging, path)
        _flush(path.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_bytes(path: pathlib.Path, data: bytes, *, flush: bool = True) -> None:
    """Writes a file atomically; `flush` is that of `replacing`."""
    with replacing(path, flush=flush) as temporary:
        temporary.write_bytes(data)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file atomically, indented; what is not a finite number becomes null."""
    write_bytes(path, (json_text(value) + "\n").encode())


def json_text(value: Any) -> str:
    """Returns JSON, indented; what is not a finite number becomes null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Shared(Generic[Value]):
    """A change of the whole process that blocks in several threads share, nested ones too.

    The first block makes the change, and the last one takes it back. Were each to put back what it
    found, blocks that overlap would leave the change of one of them for good.
    """

    def __init__(self, change: Callable[[], contextlib.AbstractContextManager[Value]]):
        """Prepares.

        Args:
          change: Makes what is entered once for all blocks that overlap.
        """
        self._change = change
        self.lock = threading.Lock()
        self._blocks = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[Value]:
        """Runs a block under the change; yields what `change` gives."""
        with self.lock:
            if not self._blocks:
                self._entered = self._change()
                self._value = self._entered.__enter__()
            self._blocks += 1
        try:
            yield self._value
        finally:
            with self.lock:
                self._blocks -= 1
                if not self._blocks:
                    self._entered.__exit__(None, None, None)


@contextlib.contextmanager
def _stderr_in_a_file() -> Iterator[tuple[IO[bytes], int]]:
    """Yields the file that takes what is printed, and a descriptor of the true stderr."""
    # For appending: what is read of it must not move the place where others go on writing.
    with tempfile.TemporaryFile("a+b") as caught:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield caught, stderr
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


_silenced, _nested = Shared(_stderr_in_a_file), threading.local()


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Holds back what C++ libraries print on file descriptor 2; shows it if the block raises.

    Blocks in several threads hold back together, until the last of them ends. Of nested blocks the
    outermost one shows.
    """
    is_outermost = not getattr(_nested, "depth", 0)
    with _silenced() as (caught, stderr):
        _nested.depth = getattr(_nested, "depth", 0) + 1
        try:
            yield
        except BaseException:
            if is_outermost:
                with _silenced.lock:
                    sys.stderr.flush()
                    caught.seek(0)
                    os.write(stderr, caught.read())
                    caught.truncate(0)
            raise
        finally:
            _nested.depth -= 1


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def make_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes a folder and its parents, and proves that it can be written.

    Raises:
      UserError: if it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"folder {str(path)!r} cannot be written: {reason(error)}; choose another one"
        ) from error
    return path


def umask() -> int:
    """Returns which permissions new files of this process do not get."""
    # The only portable way to read the mask is to set it; restored at once.
    with _UMASK_LOCK:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def flush_all() -> None:
    """Waits until all that was written is on the disk, where the system can do so."""
    if hasattr(os, "sync"):
        os.sync()


def _flush(path: pathlib.Path) -> None:
    """Forces a file or a folder's entries to the disk, where the system can do so."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def checksums(path: pathlib.Path, root: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of a file, or of each file in a folder, by path relative to `root`."""
    paths = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {p.relative_to(root).as_posix(): sha256(p) for p in paths}
