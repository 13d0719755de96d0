"""A folder put in another one's place at once: whoever looks sees the old one or the new one.

Linux exchanges two names in one step (renameat2 with RENAME_EXCHANGE). Elsewhere, and on a file
system that cannot, two renames follow each other: between them, some microseconds, there is no
folder of the name, and `recover` brings the old one back if the process died there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
import shutil

# From <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# What the system or the file system answers if it cannot exchange.
_CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


def put(new: pathlib.Path, target: pathlib.Path) -> None:
    """Puts a folder in the place of `target`; where there was one, it is then at `new`, or gone.

    Files of the old folder that are open stay readable to whoever opened them.

    Args:
      new: A folder on the file system of `target`.
      target: A folder, or nothing.
    Raises:
      OSError: if it cannot be done; `target` is then as it was.
    """
    if not target.exists():
        os.replace(new, target)
    elif not _exchange(new, target):
        old = _aside(target)
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
        try:
            os.replace(new, target)
        except OSError:
            os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)


def recover(target: pathlib.Path) -> None:
    """Ends a `put` that died between its two renames, where it needs two."""
    old = _aside(target)
    if old.is_dir() and not os.path.lexists(target):
        os.replace(old, target)
    elif old.is_dir():
        shutil.rmtree(old, ignore_errors=True)


def _aside(target: pathlib.Path) -> pathlib.Path:
    return target.with_name(f".{target.name}.before")


def _exchange(first: pathlib.Path, second: pathlib.Path) -> bool:
    """Exchanges two names; returns whether the system can."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # Not Linux, or a C library without it.
        return False
    names = os.fsencode(first), os.fsencode(second)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), os.fspath(second))
