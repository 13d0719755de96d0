"""Puts a checked export where services and apps look: whole, or not at all.

Everything is staged on the same file system, with the earlier versions that stay, and then takes
the model folder's place in one step. A server that polls the folder for integer versions sees a
complete version or none.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
from typing import Any

from tf_deconv.exporting import golden
from tf_deconv.inference.descriptions import LARGEST_JSON_BYTES, parse_json
from tf_deconv.utils import files, swap
from tf_deconv.utils import staging as staging_files
from tf_deconv.utils.options import UserError

TFLITE_FOLDER, ONNX_FOLDER, SERVING_FOLDER = "tflite", "onnx", "serving"
COREML_FOLDER = "coreml"
# What they hold of an export.
FILE_FOLDERS = {
    TFLITE_FOLDER: (".tflite",),
    ONNX_FOLDER: (".onnx",),
    SERVING_FOLDER: (".config",),
    COREML_FOLDER: (".mlpackage",),
    golden.FOLDER: (".npy", ".png", ".md"),
}
MANIFEST_FILE, CARD_FILE, PREVIEW_FILE = "manifest.json", "README.md", "preview.jpg"
# Fields of the manifest by which networks are told apart. No two trainings take the same time.
_OF_TRAINING = ("task", "network", "parameters", "training", "training_s", "data_sha256")
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


def told_of_the_earlier(target: pathlib.Path, staging: pathlib.Path) -> str | None:
    """Returns what the user is told of the export that a staged one replaces; None without one.

    Args:
      target: The model's folder, before it is published.
      staging: The new export, with its manifest.
    """
    old, new = (_read_manifest(folder) for folder in (target, staging))
    if old is None or new is None:
        return None
    version = old.get("version")
    stays = isinstance(version, int) and (target / str(version)).is_dir()
    same = all(old.get(key) == new.get(key) for key in _OF_TRAINING)
    line = f"replaced: the earlier export, of {'this' if same else 'ANOTHER'} network"
    line += f"; of it {target / str(version)} stays" if stays else ""
    return f"{line}; --name keeps both"


def _read_manifest(folder: pathlib.Path) -> dict[str, Any] | None:
    try:
        text = files.read_bounded(folder / MANIFEST_FILE, LARGEST_JSON_BYTES)
        known = parse_json(text)
    except (OSError, ValueError):  # There is none, or it is no export's.
        return None
    return known if isinstance(known, dict) else None


def publish(staging: pathlib.Path, target: pathlib.Path) -> None:
    """Moves a staged export into place at once; the staging folder is used up.

    A reader finds the old files or the new ones, never some of each, and one that has opened files
    of the old export goes on with them (`swap`).

    Args:
      staging: On the target's file system: an optional version folder, some of `FILE_FOLDERS`, the
        manifest and the card.
      target: `saved_models/NAME`, which may hold earlier versions, or a link to it. They stay, and
        so does what is not an export's; the other files are replaced, and those of `FILE_FOLDERS`
        that are no longer made are removed.
    """
    _readable_by_all(staging)
    files.flush_tree(staging)
    target = pathlib.Path(os.path.realpath(target))  # The folder behind a link, not the link.
    with contextlib.ExitStack() as stack:
        if target.parent.stat().st_dev != staging.stat().st_dev:
            beside = stack.enter_context(staging_files.folder(target)) / target.name
            shutil.move(staging, beside)
            staging = beside
        if target.is_dir():
            _keep(target, staging)
        swap.put(staging, target)
    if staging.is_dir():
        shutil.rmtree(staging)


def _keep(old: pathlib.Path, new: pathlib.Path) -> None:
    """Adds to a staged export what stays of the one that is there: no file is copied."""
    for path in old.iterdir():
        if path.name in FILE_FOLDERS and path.is_dir():
            made = FILE_FOLDERS[path.name]
            kept = [each for each in path.iterdir() if each.suffix not in made]
            if kept:
                (new / path.name).mkdir(exist_ok=True)
            for each in kept:
                _link(each, new / path.name / each.name)
        elif path.name != PREVIEW_FILE and not path.name.startswith(staging_files.PREFIX):
            _link(path, new / path.name)


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    """Gives a file or a folder's files a second name, unless `target` is there."""
    if os.path.lexists(target):
        return
    if source.is_dir() and not source.is_symlink():
        target.mkdir()
        for path in source.iterdir():
            _link(path, target / path.name)
        shutil.copystat(source, target)
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # The file system has no such links, or the file is somebody else's.
        shutil.copy2(source, target, follow_symlinks=False)


def _readable_by_all(folder: pathlib.Path) -> None:
    """Staging folders are private; what is published must be readable by the service's user."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
