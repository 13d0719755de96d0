"""The run folder: what is in it, how it is found, and models that describe themselves.

A run is config.json, model.keras (best on validation), samples.npz (what export needs, so that it
needs no folder of pictures), history.csv, metrics.json, preview.png, curve.png, checkpoints/ and
logs/.
A `.keras` file carries its description as an extra member of its zip archive: it can travel alone.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
import zipfile
from typing import Any

import numpy as np

from tf_deconv.inference import descriptions
from tf_deconv.inference.strangers import keras_files
from tf_deconv.utils import files
from tf_deconv.utils.mentions import typed
from tf_deconv.utils.options import UserError, reason

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.json"
MODEL_FILE = "model.keras"
SAMPLES_FILE = "samples.npz"


_CHECKPOINTS = "epoch-*.npz"
_DESCRIPTION_MEMBER = "tf_deconv.json"
# What is said where a model that restores was expected.
GENERATES = (
    "{!r} generates pictures from noise: expected a model that restores; use `tf-deconv sample` or"
    " `tf-deconv edit`"
)


def newest_run(root: str | pathlib.Path = "runs") -> pathlib.Path:
    """Returns the run below `root` whose model is the latest.

    Raises:
      UserError: if there is none.
    """
    found = sorted(pathlib.Path(root).glob(f"*/{MODEL_FILE}"), key=lambda p: p.stat().st_mtime_ns)
    if not found:
        raise UserError(
            f"no trained run in {str(root)!r}: run `{typed('train')}` first, or name a run folder"
            " or a .keras file"
        )
    return found[-1].parent


def find_model(path: str | pathlib.Path | None) -> pathlib.Path:
    """Finds a model file.

    Args:
      path: A run folder, a `.keras` file, or None for the newest run.
    Returns:
      The path of the `.keras` file.
    Raises:
      UserError: if there is none.
    """
    path = newest_run() if path is None else pathlib.Path(path)
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise UserError(
                f"{str(path)!r} has no {MODEL_FILE}: expected a run folder made by `python"
                " train.py`, or a .keras file"
            )
        return path / MODEL_FILE
    if not path.is_file():
        raise UserError(f"{str(path)!r} does not exist: expected a run folder or a .keras file")
    return path


def save_model(model: Any, path: pathlib.Path, description: dict[str, Any]) -> None:
    """Writes a model and its description as one `.keras` file, whole or not at all."""
    with files.replacing(path) as temporary:
        model.save(temporary, include_optimizer=False)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_DESCRIPTION_MEMBER, json.dumps(description, indent=2))


def load_model(path: str | pathlib.Path | None = None) -> Any:
    """Loads a Keras model.

    Args:
      path: A run folder, a `.keras` file, or None for the newest run.
    Returns:
      A functional Keras model, not compiled.
    Raises:
      UserError: if there is no model or the file is none.
    """
    path = find_model(path)
    if "generator" in read_description(path):
        raise UserError(GENERATES.format(str(path)))
    return load_restorer(path)


def load_restorer(path: pathlib.Path) -> Any:
    """Loads a `.keras` file of which it is known already that it does not generate.

    Raises:
      UserError: if the file is not a Keras model, or not one from a picture to a picture.
    """
    model = load_any_model(path)
    shapes = [getattr(model, name, None) for name in ("input_shape", "output_shape")]
    if not all(isinstance(shape, tuple) and len(shape) == 4 and shape[3] for shape in shapes):
        raise UserError(
            f"{str(path)!r} maps {shapes[0]} to {shapes[1]}: expected one picture (N, H, W, C) in"
            " and one out"
        )
    return model


def load_any_model(path: pathlib.Path) -> Any:
    """Loads what a `.keras` file holds, whatever it takes and gives.

    Raises:
      UserError: if the file is not a Keras model, or holds what nobody should open (`strangers`).
    """
    import keras

    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{str(path)!r} is not a Keras model: expected a .keras file (a zip archive)"
        )
    keras_files.check_keras(path)
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the damaged part made it stumble over.
        if files.no_space(error, tempfile.gettempdir()):
            raise  # It unpacks the weights there; the file is not to blame.
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(f"{str(path)!r} cannot be loaded by Keras: {first_line}") from error


def read_description(path: pathlib.Path) -> dict[str, Any]:
    """Returns what `save_model` stored beside the weights; {} for a file made by plain Keras.

    Raises:
      UserError: if it is damaged, or a field of it has a wrong type.
    """
    try:
        archive = zipfile.ZipFile(path)
    except descriptions.DAMAGES:  # No archive: whoever loads the model says so.
        return {}
    with archive:
        if _DESCRIPTION_MEMBER not in archive.namelist():
            return {}
        try:
            if archive.getinfo(_DESCRIPTION_MEMBER).file_size > descriptions.LARGEST_JSON_BYTES:
                raise ValueError("it is too large")
            known = descriptions.parse_json(archive.read(_DESCRIPTION_MEMBER))
        except descriptions.DAMAGES as error:
            raise UserError(
                f"{str(path)!r}: its description ({_DESCRIPTION_MEMBER}) is damaged:"
                f" {reason(error)}; take the file from where it came, or train again"
            ) from error
    return descriptions.check(known, repr(str(path))) if isinstance(known, dict) else {}


def training_s(path: pathlib.Path) -> float | None:
    """Returns how many seconds the run of a model file took; None where nothing tells."""
    try:
        content = files.read_bounded(path.parent / METRICS_FILE, descriptions.LARGEST_JSON_BYTES)
        scores = descriptions.parse_json(content)
        return float(scores["duration_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclasses.dataclass(frozen=True)
class Samples:
    """What a run keeps so that an export can be calibrated and checked.

    Attributes:
      calibration: (count, P, P, C) float32, degraded patches of the training split.
      degraded: Held-out pictures as the network receives them, each (H, W, C) float32.
      clean: The same pictures as they should come out, each (H * scale, W * scale, C') float32;
        empty where that is not known.
      names: Names of the held-out pictures.
      labels: Their classes; empty where they have none.
    """

    calibration: np.ndarray
    degraded: tuple[np.ndarray, ...]
    clean: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...] = ()


def save_samples(samples: Samples, path: pathlib.Path) -> None:
    """Writes samples as one compressed `.npz`, whole or not at all."""
    arrays = {f"degraded_{i}": array for i, array in enumerate(samples.degraded)}
    arrays |= {f"clean_{i}": array for i, array in enumerate(samples.clean)}
    with files.replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            calibration=samples.calibration,
            names=np.array(samples.names),
            labels=np.array(samples.labels, np.int64),
            **arrays,
        )


def load_samples(path: pathlib.Path) -> Samples:
    """Reads samples.

    Raises:
      UserError: if the file is damaged.
    """
    try:
        descriptions.check_arrays(path)
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            names = tuple(str(name) for name in stored["names"])
            return Samples(
                calibration=stored["calibration"],
                degraded=tuple(stored[f"degraded_{i}"] for i in range(len(names))),
                clean=tuple(stored[f"clean_{i}"] for i in range(len(names)) if "clean_0" in stored),
                names=names,
                # Runs of earlier versions have none.
                labels=tuple(map(int, stored["labels"])) if "labels" in stored else (),
            )
    except descriptions.DAMAGES as error:
        raise UserError(
            f"{str(path)!r} cannot be read: {reason(error)}; it holds what export checks with, so"
            " train again or export another run"
        ) from error
