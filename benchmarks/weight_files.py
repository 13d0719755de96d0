"""Weights by path in a file, with what is known of them; `train_jax.py` writes and reads them."""

from __future__ import annotations

import json
import pathlib
import zipfile
from typing import Any

import numpy as np

from tf_deconv.utils.options import UserError


def save(
    path: pathlib.Path, weights: dict[str, np.ndarray], facts: dict[str, Any], **arrays
) -> None:
    """Writes weights by path, whole or not at all.

    Args:
      path: The file, .npz; its folder is made.
      weights: Path of a weight, such as "head/kernel", to its value.
      facts: What is known of them; JSON.
      **arrays: Anything beside.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")  # Training that is cut off leaves the last whole file.
    named = {f"weight:{name}": value for name, value in weights.items()}
    np.savez(part, facts=np.array(json.dumps(facts)), **named, **arrays)
    part.replace(path)


def load(path: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what `save` wrote: weights by path, and facts.

    Raises:
      UserError: if it is no such file.
    """
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path!r}: expected a file of `train` or `weights` of train_jax.py")
    try:
        with np.load(path) as stored:
            found = {
                name.removeprefix("weight:"): stored[name]
                for name in stored.files
                if name.startswith("weight:")
            }
            return found, json.loads(str(stored["facts"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path!r}: expected a file of `train` or `weights` ({error})") from error
