"""Where an export goes, found before TensorFlow is loaded; shipped models are not replaced."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from tf_deconv.exporting.config import ExportConfig
from tf_deconv.inference import run_folder, shipped
from tf_deconv.inference.located import locate
from tf_deconv.utils.options import UserError


def is_exported(model: str | os.PathLike[str] | None) -> bool:
    """Returns whether a model is a shipped one's name, or the folder of an export."""
    if model is None:
        return False
    if shipped.is_name(model):
        return True
    return (pathlib.Path(model) / shipped.MANIFEST_FILE).is_file()


def exported_name(model: str | os.PathLike[str]) -> str:
    """Returns what an exported model is called."""
    located = locate(model)
    return str(located.known.get("name") or located.root.name)


def default_name(path: pathlib.Path, description: dict[str, Any]) -> str:
    """Returns what the export of a `.keras` file is called unless the user names it."""
    if description.get("task") and description.get("network"):
        return f"{description['task']}-{description['network']}"
    return path.stem if path.name != run_folder.MODEL_FILE else path.parent.name


def check(config: ExportConfig) -> None:
    """Refuses to replace a shipped model, unless by a run that is given its name.

    Raises:
      UserError: saying what to do instead; or if there is no model.
    """
    is_again = is_exported(config.model)
    if is_again:
        own = exported_name(config.model)
    else:
        path = run_folder.find_model(config.model)
        own = default_name(path, run_folder.read_description(path))
    is_run = not is_again and (config.model is None or pathlib.Path(config.model).is_dir())
    if is_run and config.name is not None:
        return
    target = pathlib.Path(config.out) / (config.name or own)
    if shipped.is_shipped_folder(target):
        name = config.name or own
        raise UserError(
            f"{str(target)!r} is the shipped model {name!r}, which an export would replace: choose"
            f" another folder with --out FOLDER, or another --name; only a run's folder with --name"
            f" {name} renews it"
        )
