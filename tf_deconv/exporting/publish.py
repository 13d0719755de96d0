"""Puts a checked export where services and apps look: whole, or not at all.

Everything is staged on the same file system and then renamed. A server that polls the folder for
integer versions sees a complete version or none.
"""

from __future__ import annotations

import os
import pathlib
import re
import shutil

from tf_deconv.utils.options import UserError

TFLITE_FOLDER, ONNX_FOLDER, SERVING_FOLDER = "tflite", "onnx", "serving"
FILE_FOLDERS = {TFLITE_FOLDER, ONNX_FOLDER, SERVING_FOLDER}
MANIFEST_FILE, CARD_FILE, PREVIEW_FILE = "manifest.json", "README.md", "preview.jpg"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str) -> str:
    """Refuses names that would not be one folder everywhere.

    Raises:
      UserError: if the name is not a plain folder name.
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
      staging: On the target's file system: an optional version folder, some of `FILE_FOLDERS`, the
        manifest and the card.
      target: `saved_models/NAME`, which may hold earlier versions. They stay; the other files are
        replaced, and those of `FILE_FOLDERS` that are no longer made are removed.
    """
    _readable_by_all(staging)
    if not target.exists():
        os.replace(staging, target)
        return
    for path in sorted(staging.iterdir()):
        if path.name.isdigit():
            os.replace(path, target / path.name)
    staged = {path.name for path in staging.iterdir() if path.is_dir()}
    for name in sorted(staged):
        new = _replace_files(staging / name, target / name)
        # Replaced one by one, so that a file which is there stays there; then what is stale goes.
        _remove_others(target / name, new)
    for name in FILE_FOLDERS - staged:
        _remove_others(target / name, set())
    # The manifest comes last: whoever reads a new one finds its files.
    rest = sorted(path for path in staging.iterdir() if path.is_file())
    for path in sorted(rest, key=lambda path: path.name == MANIFEST_FILE):
        os.replace(path, target / path.name)
    shutil.rmtree(staging)


def _replace_files(source: pathlib.Path, target: pathlib.Path) -> set[str]:
    target.mkdir(exist_ok=True)
    names = {path.name for path in source.iterdir()}
    for name in sorted(names):
        os.replace(source / name, target / name)
    source.rmdir()
    return names


def _remove_others(folder: pathlib.Path, keep: set[str]) -> None:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name not in keep and path.suffix in (".tflite", ".onnx", ".config"):
            path.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _readable_by_all(folder: pathlib.Path) -> None:
    """Staging folders are private; what is published must be readable by the service's user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
