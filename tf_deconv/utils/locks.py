"""Locks between processes: what one of them makes, no other one makes at the same time.

The operating system holds them (flock, or LockFile on Windows), so a process that is killed leaves
none behind. The file of a lock is removed when it ends; one that was left behind locks nothing.
The modules that one system alone has are imported here and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator

from tf_deconv.utils.options import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # every other system
    msvcrt = None  # type: ignore[assignment]

# On Windows nobody reads bytes that are locked: those are far behind what the file tells.
_LOCKED_BYTE = 2**30


@contextlib.contextmanager
def held(path: pathlib.Path, busy: str, remedy: str) -> Iterator[None]:
    """Holds a lock while the block runs.

    Other threads of this process are kept out too. A file system that knows no locks gives none:
    the block then runs unprotected.

    Args:
      path: The lock's file, in a folder that exists. It tells who holds the lock.
      busy: Said where another process holds it, such as "folder 'x' is in use".
      remedy: What to do then, besides waiting.
    Raises:
      UserError: if another process holds it.
      OSError: if the file cannot be made.
    """
    handle = _acquire(path, busy, remedy)
    try:
        yield
    finally:
        # Windows removes no file that is open; elsewhere it goes while nobody else has the lock.
        if fcntl is None:
            os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(path)
        if fcntl is not None:
            os.close(handle)


def _acquire(path: pathlib.Path, busy: str, remedy: str) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not take(handle):
                holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
                raise UserError(f"{busy} by {holder}: wait until it has ended, or {remedy}")
            if is_at(handle, path):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # Whoever held it removed the file after it was opened here.


def take(handle: int) -> bool:
    """Returns whether nobody else has locked a file that may be written; it is locked then."""
    try:
        if fcntl is not None:
            _flock(handle, wait=False)
        elif msvcrt is not None:
            os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(handle, 0, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # Some network file systems have no locks.
        pass
    return True


def take_entry(path: pathlib.Path, *, wait: bool) -> int | None:
    """Locks a file or a folder that may be renamed and removed meanwhile.

    Args:
      path: What to lock; a symbolic link is not followed.
      wait: Whether to wait while another process has it.
    Returns:
      A descriptor that holds the lock until it is closed; None where there are no such locks: on
      Windows, which renames nothing that is open, and in some network file systems.
    Raises:
      FileNotFoundError: if there is no such file any more.
      BlockingIOError: if another process has locked it and `wait` is not set.
    """
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        _flock(handle, wait)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


def _flock(handle: int, wait: bool) -> None:
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    fcntl.flock(handle, how)


def is_at(handle: int, path: pathlib.Path) -> bool:
    """Returns whether a path still leads to the file or folder that a descriptor was opened on."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
