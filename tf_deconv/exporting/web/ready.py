"""A page of models that are exported already, shipped ones above all: their files as they are.

Nothing is converted here, so that neither a run nor TensorFlow is needed; each file is compared
with the checksum in its manifest first.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.result import ExportResult
from tf_deconv.exporting.target import is_exported
from tf_deconv.exporting.web import build
from tf_deconv.exporting.web.build import PageModel
from tf_deconv.exporting.web.words import SHIPPED
from tf_deconv.inference import shipped
from tf_deconv.inference.located import locate
from tf_deconv.utils.options import UserError

# Every shipped model.
ALL = "all"
# Fields that tell of the page and of nothing that is exported.
_OF_THE_PAGE = ("model", "web", "web_library")
# A float16 file is half the size. It is taken where it gives the picture of Keras: the trained
# weights are float16 values (docs/decisions/0005), so that of the shipped models it does.
_FLOAT16_FLOOR_DB = 120


def is_asked(config: ExportConfig, also: Sequence[str]) -> bool:
    """Returns whether an export is a page of files that are there, and nothing else.

    Args:
      config: The options.
      also: Further models.
    Raises:
      UserError: if several models are asked for and they are not of this kind.
    """
    several = bool(also) or _means_all(config.model)
    if config.web is None:
        if several:
            names = ", ".join(map(repr, [config.model, *also]))
            raise UserError(f"several models ({names}): expected one; --web DIR takes several")
        return False
    changed = [
        field.name
        for field in dataclasses.fields(config)
        if field.name not in _OF_THE_PAGE and getattr(config, field.name) != field.default
    ]
    if several and changed:
        options = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise UserError(
            f"{options} with several models: a page of several takes their files as they are;"
            " export each by itself first, and name the folders here"
        )
    return several or (not changed and is_exported(config.model))


def _means_all(model: str | None) -> bool:
    return model == ALL and not os.path.lexists(ALL)


def write_page(
    config: ExportConfig, also: Sequence[str] = (), report: Callable[[str], None] = print
) -> ExportResult:
    """Writes the page.

    Args:
      config: Options for which `is_asked`.
      also: Further models, to choose from.
      report: Receives lines for the user.
    Returns:
      The page's folder.
    Raises:
      UserError: if a model is not there, not exported or was changed, or no page can be written.
    """
    out = pathlib.Path(config.web or "")
    build.check_target(out)
    names = [name for name in (config.model, *also) if name is not None]
    if any(map(_means_all, names)):
        names = [name for name in SHIPPED if name in shipped.available()]
    models = [_find(name) for name in names]
    library = build.find_library(config.web_library)
    build.write_web(models, out, library)
    for model in models:
        size = model.file.stat().st_size / 1e6
        report(f"{model.manifest['name']}: {model.file.name}, {size:.1f} MB")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    report(f"web page: {out}, {size:.0f} MB with the runtime")
    report(f"next: python -m http.server --directory {out}")
    return ExportResult(out)


def _find(model: str) -> PageModel:
    """Finds the file of an exported model that a page runs, whole and unchanged."""
    if not is_exported(model):
        raise UserError(
            f"{model!r} is not exported: expected the name of a shipped model or the folder of an"
            " export; export it by itself first"
        )
    located = locate(model)
    manifest = located.manifest
    if manifest is None:
        raise UserError(f"{model!r} has no {shipped.MANIFEST_FILE} that lists its files")
    entry = choose_file(located.known)
    if entry is None:
        raise UserError(
            f"{model!r} has no float32 .tflite file, which the page runs: export it anew"
        )
    folder = located.root if located.root.is_dir() else located.root.parent
    file = locate(folder / entry["file"])
    file.check_files()
    file.check_contents()
    return PageModel(file.path, located.known)


def choose_file(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the entry of the `.tflite` file that a page runs; None where there is none.

    It gives Keras's picture: of float16 weights where they lose nothing, else of float32.
    """
    entries = {entry["file"]: entry for entry in manifest.get("files", ())}
    name = manifest["name"]
    half = entries.get(f"tflite/{name}-float16.tflite")
    if half is not None and "generator" not in manifest and _loses_nothing(half):
        return half
    return entries.get(f"tflite/{name}-float32.tflite")


def _loses_nothing(entry: dict[str, Any]) -> bool:
    parity = entry.get("parity") or {}
    return bool(parity.get("exact")) or (parity.get("psnr_db") or 0) >= _FLOAT16_FLOOR_DB
