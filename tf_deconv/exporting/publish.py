"""Puts a checked export where services and apps look: whole, or not at all.

Everything is staged on the same file system and then renamed. A server that polls the folder for
integer versions sees a complete version or none.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil

from tf_deconv import files
from tf_deconv.config import UserError

TFLITE_FOLDER, MANIFEST_FILE, CARD_FILE = "tflite", "manifest.json", "README.md"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str) -> str:
    """Refuses names that would not be one folder everywhere.

    Raises:
      UserError: if the name is no plain folder name.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name={name!r}: expected letters, digits, '.', '_' or '-', the first a letter or digit"
        )
    return name


def next_version(folder: pathlib.Path) -> int:
    """Returns the integer after the highest version in a model's folder, 1 for a new one."""
    if not folder.is_dir():
        return 1
    versions = [int(path.name) for path in folder.iterdir() if re.fullmatch(r"[0-9]+", path.name)]
    return max(versions, default=0) + 1


def publish(staging: pathlib.Path, target: pathlib.Path) -> None:
    """Moves a staged export into place; the staging folder is used up.

    Args:
      staging: On the target's file system: an optional version folder, `tflite/`, the manifest and
        the card.
      target: `saved_models/NAME`, which may hold earlier versions. They stay; TFLite files, the
        manifest and the card are replaced.
    """
    _readable_by_all(staging)
    if not target.exists():
        os.replace(staging, target)
        return
    for path in sorted(staging.iterdir()):
        if path.name.isdigit():
            os.replace(path, target / path.name)
    staged, published = staging / TFLITE_FOLDER, target / TFLITE_FOLDER
    published.mkdir(exist_ok=True)
    new = {path.name for path in staged.iterdir()}
    for path in sorted(staged.iterdir()):
        os.replace(path, published / path.name)
    # Replaced one by one, so that a file which is there stays there; then what is stale goes.
    for path in published.glob("*.tflite"):
        if path.name not in new:
            path.unlink()
    # The manifest comes last: whoever reads a new one finds its files.
    staged.rmdir()
    rest = sorted(path for path in staging.iterdir() if path.is_file())
    for path in sorted(rest, key=lambda path: path.name == MANIFEST_FILE):
        os.replace(path, target / path.name)
    shutil.rmtree(staging)


def checksums(path: pathlib.Path, root: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of a file, or of each file in a folder, by path relative to `root`."""
    paths = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {p.relative_to(root).as_posix(): files.sha256(p) for p in paths}


def _readable_by_all(folder: pathlib.Path) -> None:
    """Staging folders are private; what is published must be readable by the service's user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
