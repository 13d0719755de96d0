"""Temporary files and folders beside what they become, and what killed processes left of them.

Each is locked by the process that makes it, and the system lets go of the lock when that process
ends, however it ends. So what has such a name and is not locked belongs to nobody, and `clear`
removes it; what another process is writing, on this machine or in another container, stays.
Where there are no such locks (Windows, some network file systems) nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator

from tf_deconv.utils import locks

# No file of a user begins like this: what does may be removed.
PREFIX = ".tf-deconv-"
_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}-.*")


@contextlib.contextmanager
def file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty file in the folder of `path`, with its suffix; removed at the end if there.

    Raises:
      OSError: if it cannot be made.
    """
    # A name may have 255 bytes, and a character up to 4: what is left of it still says whose it is.
    ending = path.stem[:40] + (path.suffix if len(path.suffix) <= 16 else "")

    def make() -> str:
        handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=f"-{ending}", dir=path.parent)
        os.close(handle)
        return name

    with _owned(make) as temporary:
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder beside `path`, its owner's alone; removed at the end if there.

    Raises:
      OSError: if it cannot be made.
    """

    def make() -> str:
        return tempfile.mkdtemp(prefix=PREFIX, suffix=f"-{path.name[:40]}", dir=path.parent)

    with _owned(make) as temporary:
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def clear(place: pathlib.Path) -> list[str]:
    """Removes what killed processes of this user left in a folder, not below it.

    Returns:
      The names of what was removed. What cannot be looked at, locked or removed stays.
    """
    removed: list[str] = []
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    if _remove(pathlib.Path(entry.path)):
                        removed.append(entry.name)
    return removed


def _remove(path: pathlib.Path) -> bool:
    """Removes a file or a folder if it is this user's and no process holds it."""
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if not hasattr(os, "getuid") or status.st_uid != os.getuid():
        return False
    if not (is_folder or stat.S_ISREG(status.st_mode)):
        return False
    handle = locks.take_entry(path, wait=False)
    if handle is None:
        return False
    try:
        if is_folder:
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    finally:
        os.close(handle)
    return True


@contextlib.contextmanager
def _owned(make: Callable[[], str]) -> Iterator[pathlib.Path]:
    """Yields what `make` makes, locked while the block runs."""
    while True:
        path = pathlib.Path(make())
        # Another process may have cleared it away between its making and its locking.
        try:
            handle = locks.take_entry(path, wait=True)
        except FileNotFoundError:
            continue
        if handle is None or locks.is_at(handle, path):
            break
        os.close(handle)
    try:
        yield path
    finally:
        if handle is not None:
            os.close(handle)
