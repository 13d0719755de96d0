"""Files that are whole or absent: write beside, flush to the disk, then rename.

Used for everything that a reader may open while it is being written, or that must survive a power
cut half-way. What a process that was killed left half-written is removed by the next one that
writes there (`staging`). Also here: keeping libraries' chatter off the user's screen, and settings
of the whole process that several threads change.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import pathlib
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, Generic, TypeVar

from tf_deconv.utils import staging
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
    with staging.file(path) as temporary:
        yield temporary
        # Made for their owner alone; a service runs as someone else.
        temporary.chmod(0o666 & ~umask())
        if flush:
            _flush(temporary)
        os.replace(temporary, path)
        if flush:
            _flush(path.parent)


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
    with staging.folder(path) as temporary:
        yield temporary
        temporary.chmod(0o777 & ~umask())
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        try:
            os.replace(temporary, path)
        except OSError:
            # Windows puts no folder in the place of another one.
            if not path.is_dir():
                raise
            path.rmdir()
            os.replace(temporary, path)
        _flush(path.parent)


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


def _open_nameless_file() -> IO[bytes]:
    """Opens a file for appending: what is read of it must not move where others go on writing."""
    try:
        return tempfile.TemporaryFile("a+b")
    except OSError:  # There is no place for temporary files, or it is full.
        return open(os.devnull, "a+b")


@contextlib.contextmanager
def _stderr_in_a_file() -> Iterator[tuple[IO[bytes], int]]:
    """Yields the file that takes what is printed, and a descriptor of the true stderr."""
    with _open_nameless_file() as caught:
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
def silent_stderr(show: bool = True) -> Iterator[None]:
    """Holds back what C and C++ libraries print on file descriptor 2.

    Blocks in several threads hold back together, until the last of them ends.

    Args:
      show: Whether it is shown if the block fails; of nested blocks the outermost one shows.
    """
    is_outermost = not getattr(_nested, "depth", 0)
    with _silenced() as (caught, stderr):
        _nested.depth = getattr(_nested, "depth", 0) + 1
        try:
            yield
        except BaseException as error:
            # A signal that stops the process is no fault of whom it silenced.
            if show and is_outermost and isinstance(error, Exception):
                with _silenced.lock:
                    sys.stderr.flush()
                    caught.seek(0)
                    os.write(stderr, caught.read())
                    with contextlib.suppress(OSError):  # Nothing can be cut off the null device.
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

    What processes that were killed left half-written in it is removed.

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
    staging.clear(path)
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


def flush_tree(folder: pathlib.Path) -> None:
    """Waits until a folder and all in it are on the disk, where the system can do so."""
    for path in (*folder.rglob("*"), folder):
        _flush(path)


def special(path: str | os.PathLike[str]) -> str:
    """Names what lies at a path if it is neither a file nor a folder, "" if it is, or nothing.

    A pipe or a device may never end, or wait for ever to be opened.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # Not there, no name at all: whoever opens it says so.
        return ""
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = {stat.S_IFIFO: "a pipe (FIFO)", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_bounded(path: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """Reads a file whose size anyone may have chosen.

    Raises:
      OSError: if it cannot be read, or is a pipe or a device.
      ValueError: if it is larger than `limit_bytes`.
    """
    if what := special(path):
        raise OSError(errno.EINVAL, f"it is {what}: expected a file", os.fspath(path))
    with open(path, "rb") as stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise ValueError(f"it is larger than {limit_bytes:,} bytes")
    return content


def no_space(error: BaseException, place: str | os.PathLike[str] = ".") -> bool:
    """Returns whether an error says that the disk is full, whatever library raised it.

    Args:
      error: As it was raised.
      place: A folder on the disk that was written to: libraries that pass on no code of the system
        are believed if nothing is left there.
    """
    text = str(error)
    if getattr(error, "errno", None) in _FULL or any(os.strerror(code) in text for code in _FULL):
        return True
    if not isinstance(error, OSError) or error.errno is not None:
        return False
    try:
        return shutil.disk_usage(place).free < _NOTHING_LEFT_BYTES
    except OSError:
        return False


# No space, a quota that is used up, and a file that has grown too large for its system.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
_NOTHING_LEFT_BYTES = 2**16


def checksums(path: pathlib.Path, root: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of a file, or of each file in a folder, by path relative to `root`."""
    paths = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {p.relative_to(root).as_posix(): sha256(p) for p in paths}
