"""Files that are whole or absent: write beside, flush to the disk, then rename.

Used for everything that a reader may open while it is being written, or that must survive a power
cut half-way. Also here: keeping libraries' chatter off the user's screen.
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
from collections.abc import Iterator
from typing import Any

from tf_deconv.utils.options import UserError, reason


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the same folder; renames it to `path` if the block succeeds.

    Args:
      path: The file to make or to replace.
    Yields:
      A path with the same suffix, unless that is no usual one. It is removed if the block raises.
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
        _flush(temporary)
        os.replace(temporary, path)
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


def write_bytes(path: pathlib.Path, data: bytes) -> None:
    """Writes a file atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file atomically, indented; what is no finite number becomes null."""
    write_bytes(path, (json_text(value) + "\n").encode())


def json_text(value: Any) -> str:
    """Returns JSON, indented; what is no finite number becomes null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Holds back what C++ libraries print on file descriptor 2; shows it if the block raises."""
    with tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except BaseException:
            caught.seek(0)
            os.write(stderr, caught.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


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
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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
