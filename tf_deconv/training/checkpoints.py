"""Checkpoints of a run: written after each epoch, and read again by `--resume`."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_deconv.inference import descriptions
from tf_deconv.inference.run_folder import _CHECKPOINTS
from tf_deconv.utils import files, locks
from tf_deconv.utils.options import UserError, reason


def state_of(model: keras.Model) -> list[keras.Variable]:
    """Returns every variable that decides how training goes on, in a fixed order."""
    return [*model.variables, *model.optimizer.variables]


def restore_state(model: keras.Model, variables: list[np.ndarray]) -> None:
    """Sets the variables of `state_of`; the optimizer must be built.

    Raises:
      UserError: if number or shapes differ.
    """
    targets = state_of(model)
    if [tuple(target.shape) for target in targets] != [value.shape for value in variables]:
        raise UserError(
            "the checkpoint belongs to another network or optimizer; resume with the versions and"
            " options that made it"
        )
    for target, value in zip(targets, variables):
        target.assign(value)


# Only while the run is being trained.
LOCK_FILE = ".lock"


def default_run_dir(task: str, network: str) -> pathlib.Path:
    """Returns runs/DATE-TASK-NETWORK for now; another run may have that."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs", f"{stamp}-{task}-{network}")


@contextlib.contextmanager
def claiming(folder: pathlib.Path, *, new: bool = False) -> Iterator[pathlib.Path]:
    """Makes a run folder where it is missing and keeps every other training out of it.

    Args:
      folder: The run folder.
      new: Whether it must be made here: where there is one of its name, a number is added.
    Yields:
      The folder. It and its parents are removed again if they were made here and nothing was put
      into them.
    Raises:
      UserError: if another training has it, or it cannot be written.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    if not folder.exists():
        files.make_folder(folder.parent)
    if new:
        _clear_dead_starts(folder.parent)
    others = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    try:
        for path in itertools.chain([folder], others):
            try:
                path.mkdir()
                made.insert(0, path)
            except FileExistsError:
                if new:
                    continue
            break
        files.make_folder(path)  # Proves that it can be written, before minutes of work.
        who, remedy = f"run folder {str(path)!r} is in use", "choose another --run-dir"
        with locks.held(path / LOCK_FILE, who, remedy):
            yield path
    finally:
        for each in made:
            with contextlib.suppress(OSError):  # It holds something.
                each.rmdir()


def _clear_dead_starts(parent: pathlib.Path) -> None:
    """Removes run folders in which killed processes left nothing but their lock's file."""
    for path in parent.iterdir():
        with contextlib.suppress(OSError, UserError):
            lock = path / LOCK_FILE
            # A younger one may not hold its lock yet.
            if os.listdir(path) == [LOCK_FILE] and time.time() - lock.stat().st_mtime > 60:
                with locks.held(lock, "", ""):
                    pass
                path.rmdir()


def save_checkpoint(path: pathlib.Path, state: dict[str, Any], variables: list[np.ndarray]) -> None:
    """Writes a checkpoint as one file, whole or not at all.

    Args:
      path: Ends in `.npz`.
      state: What JSON can hold.
      variables: Every variable of model and optimizer, in order.
    """
    arrays = {f"variable_{i}": array for i, array in enumerate(variables)}
    with files.replacing(path) as temporary:
        np.savez(temporary, state=np.array(json.dumps(state)), **arrays)


def has_checkpoint(folder: pathlib.Path) -> bool:
    """Returns whether a folder of checkpoints holds one, whole or damaged."""
    return any(folder.glob(_CHECKPOINTS))


def load_newest_checkpoint(
    folder: pathlib.Path,
) -> tuple[dict[str, Any], list[np.ndarray], list[str]]:
    """Reads the newest checkpoint that is whole; zip's checksums tell.

    Returns:
      state, variables, and a warning for each damaged file that was passed over. With no usable
      checkpoint, state and variables are empty.
    """
    warnings = []
    for path in sorted(folder.glob(_CHECKPOINTS), reverse=True):
        try:
            descriptions.check_arrays(path)
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                state = descriptions.parse_json(str(stored["state"]))
                if type(state["epoch"]) is not int or not isinstance(state["data_sha256"], str):
                    raise ValueError("its state is none of a training")
                return state, [stored[f"variable_{i}"] for i in range(len(stored) - 1)], warnings
        except descriptions.DAMAGES as error:
            warnings.append(f"{path.name} is damaged and was passed over: {reason(error)}")
    return {}, [], warnings


def remove_old_checkpoints(folder: pathlib.Path, keep: int) -> None:
    """Removes all but the last `keep` checkpoints."""
    for path in sorted(folder.glob(_CHECKPOINTS))[:-keep]:
        os.unlink(path)
