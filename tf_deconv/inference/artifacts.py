"""Models of every format, opened as the same `Artifact`: Keras, SavedModel and TFLite.

A model is given as a path or as the name of a shipped one. What the file itself does not tell
(divisor, scale, reach) comes from the manifest beside it, and is measured where there is none; with
one, the files must be those that were exported.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import threading
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deconv.degradations.tasks import TASKS
from tf_deconv.inference import restorer, run_folder, shipped, tflite_file
from tf_deconv.inference.config import load_config
from tf_deconv.inference.descriptions import check, parse_json
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.networks import receptive_field
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device, core_count
from tf_deconv.utils.files import silent_stderr
from tf_deconv.utils.options import UserError, reason

# In a SavedModel of a generator: its facts, where no manifest lies beside it.
FACTS_FILE = "assets.extra/tf_deconv.json"


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    tile_size: int = 0,
    self_ensemble: bool = False,
    strength: float = 1.0,
) -> Restorer:
    """Opens a model for use from Python: `restored = load("denoise-color")(image)`.

    Args:
      model: The name of a shipped model (`tf-deconv inspect` lists them), or a run folder, a
        `.keras` file, a SavedModel folder or a `.tflite` file; what exists as a path is a path.
        None: the shipped model `photo`.
      tile_size: Side of the tiles that large pictures are restored in, in pixels; 0 chooses.
      self_ensemble: Whether to take the mean over the 8 flips and turns of a picture: 8 times
        slower, a little better.
      strength: How much of the model's change is made, 0 to 2: 0 none, 1 all of it.
    Returns:
      The model. Called with an image, (H, W, C) of any size, uint8, uint16 or float in [0, 1], it
      returns (H * scale, W * scale, channels_out) of the same type; see `Restorer.restore`. Many
      threads may call it at once.
    Raises:
      UserError: if there is no such model, one of its files is missing or is not the one that was
        exported, an option is out of range, or a strength other than 1 suits no such model.
    """
    config = load_config(model, tile_size, self_ensemble, strength)
    choose_device("auto", "float32")
    return Restorer(
        open_artifact(config.model), config.tile_size, config.self_ensemble, config.strength
    )


def find_artifact(path: str | os.PathLike[str] | None) -> tuple[str, pathlib.Path]:
    """Finds out what a model is, from what its path holds.

    Args:
      path: A run folder, a `.keras` file, a SavedModel (the version folder, or the folder of all
        versions: the highest is taken) or a `.tflite` file; or the name of a shipped model; or None
        for the default one.
    Returns:
      "keras", "saved_model" or "tflite", and the file or folder itself.
    Raises:
      UserError: if it is none of them.
    """
    by_name, path = shipped.is_name(path), shipped.resolve(path)
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model", path
        if (path / run_folder.MODEL_FILE).is_file():
            return "keras", path / run_folder.MODEL_FILE
        versions = [
            folder
            for folder in path.iterdir()
            if re.fullmatch(r"[0-9]+", folder.name) and (folder / "saved_model.pb").is_file()
        ]
        if by_name or not versions:
            _check_export(path)
        if versions:
            return "saved_model", max(versions, key=lambda folder: int(folder.name))
        if (path / run_folder.CONFIG_FILE).is_file():
            raise UserError(
                f"run {str(path)!r} has no model yet: it is being trained, or was stopped before"
                f" its first epoch ended; expected {run_folder.MODEL_FILE} in it"
            )
        raise UserError(f"folder {str(path)!r} holds no model: {shipped.EXPECTED}")
    if not path.is_file():
        raise UserError(f"{str(path)!r} does not exist: {shipped.EXPECTED}")
    with open(path, "rb") as stream:
        head = stream.read(8)
    if head[4:] == b"TFL3":
        return "tflite", path
    if head[:2] == b"PK":
        return "keras", path
    raise UserError(f"{str(path)!r} is no model: {shipped.EXPECTED}")


def describe(kind: str, path: pathlib.Path) -> dict[str, Any]:
    """Returns what is recorded of a model: task, training, versions and, of exports, checks.

    Args:
      kind: What `find_artifact` returned.
      path: What `find_artifact` returned.
    Returns:
      The description inside a `.keras` file, the manifest of the folder that an export lies in, or
      else what a `.tflite` file or a generator's SavedModel tells of itself; {} where nothing tells
      of this model.
    Raises:
      UserError: if a field of it has a wrong type.
    """
    if kind == "keras":
        return run_folder.read_description(path)
    manifest, _ = _manifest_of(kind, path)
    # A file that travelled alone still has its own description, which tells less.
    if kind == "tflite" and not manifest:
        return check(tflite_file.read_metadata(path.read_bytes()), repr(str(path)))
    return manifest or _read_own_facts(path)


def check_files(kind: str, path: pathlib.Path) -> None:
    """Compares an exported model with the checksums in the manifest of the folder it lies in.

    A SavedModel of 4 MB takes 10 ms. Files that are not opened are not looked at, and a model
    without a manifest that tells of it is taken as it is.

    Args:
      kind: What `find_artifact` returned.
      path: What `find_artifact` returned.
    Raises:
      UserError: naming the first file that is missing or is not the one that was exported.
    """
    manifest, file = _manifest_of(kind, path)
    root = pathlib.Path(os.path.abspath(path))
    for _ in pathlib.PurePath(file).parts:
        root = root.parent
    for entry in manifest.get("files", ()):
        recorded = entry.get("sha256") if entry["file"] == file else None
        for name, digest in recorded.items() if isinstance(recorded, dict) else ():
            if not (root / name).is_file():
                raise UserError(f"{str(root / name)!r} is missing: {shipped.REMEDY}")
            if files.sha256(root / name) != digest:
                raise UserError(
                    f"{str(root / name)!r} is not the file that was exported, its checksum is"
                    f" another than the manifest's: {shipped.REMEDY}"
                )


def open_artifact(path: str | os.PathLike[str] | None, *, check: bool = True) -> Artifact:
    """Opens a model.

    Args:
      path: As for `find_artifact`.
      check: Whether exported files must be those that their manifest tells of.
    Returns:
      The model, ready to run.
    Raises:
      UserError: if there is none, it is no model of pictures, or a file of it has changed.
    """
    kind, found = find_artifact(path)
    if check:
        check_files(kind, found)
    known = describe(kind, found)
    if "generator" in known:
        raise UserError(run_folder.GENERATES.format(os.fspath(path or found)))
    opener = {"keras": _open_keras, "saved_model": _open_saved_model, "tflite": _open_tflite}[kind]
    opened = opener(found)
    # What takes luminance alone sees no colours, and is there to make them.
    keeps = opened.channels_in > 1 and keeps_grey(known.get("task"))
    return dataclasses.replace(opened, keeps_grey=keeps)


def keeps_grey(task: Any) -> bool:
    """Returns whether a model of colour pictures is to leave grey ones grey.

    What takes damage away does; pairs may have taught it to colour.

    Args:
      task: What is recorded as the model's task; None where nothing is.
    """
    return isinstance(task, str) and task in TASKS and not TASKS[task].paired


def keras_artifact(model: Any, divisor: int, scale: int) -> Artifact:
    """Wraps a Keras model of any height and width; its reach is computed, or else measured."""
    import keras

    def run(batch: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(model(batch, training=False)).astype(np.float32)

    channels_in, channels_out = model.input_shape[-1], model.output_shape[-1]
    if model.input_shape[1] is not None or model.input_shape[2] is not None:
        raise UserError(
            f"the model takes {model.input_shape[1]}x{model.input_shape[2]} pixels alone: expected"
            " one that was built with height and width None"
        )
    return Artifact(run, channels_in, channels_out, divisor, scale, reach_of(model, divisor, scale))


def reach_of(model: Any, divisor: int, scale: int) -> int | None:
    """Returns a Keras model's reach in pixels, from its layers or else measured; None: no limit."""
    import keras

    reach = receptive_field.compute_reach(model, divisor, scale)
    if reach is not None:
        return reach

    def run(batch: np.ndarray) -> np.ndarray:
        return keras.ops.convert_to_numpy(model(batch, training=False))

    return receptive_field.measure_reach(run, model.input_shape[-1], divisor, scale)


def to_float32(model: Any) -> Any:
    """Copies a model with every layer in float32; mixed precision does not convert."""
    import keras

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if "dtype" in config:
            config["dtype"] = "float32"
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


def _open_keras(path: pathlib.Path) -> Artifact:
    model = run_folder.load_model(path)
    if any(layer.compute_dtype != "float32" for layer in model.layers if layer.weights):
        model = to_float32(model)
    description = run_folder.read_description(path)
    try:
        scale = description.get("scale") or restorer.infer_scale(model)
        divisor = description.get("divisor") or restorer.infer_divisor(model, scale)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not fully convolutional: {reason(error)}") from error
    return keras_artifact(model, divisor, scale)


def _open_saved_model(folder: pathlib.Path) -> Artifact:
    try:
        loaded = tf.saved_model.load(os.fspath(folder))
        signature = loaded.signatures["serving_default"]
        inputs = signature.structured_input_signature[1]
        outputs = signature.structured_outputs
        (name, spec), (result, shape) = *inputs.items(), *outputs.items()
        if spec.dtype != tf.float32 or spec.shape.rank != 4 or shape.shape.rank != 4:
            raise ValueError("serving_default takes no picture (N, H, W, C) of float32")
        if spec.shape[1] is not None or spec.shape[2] is not None:
            raise ValueError("serving_default takes pictures of one size alone")
        channels = spec.shape[3]
    except Exception as error:  # A damaged folder raises whatever TensorFlow stumbled over.
        raise UserError(
            f"{str(folder)!r} is no SavedModel of pictures: {_first_line(error)}"
        ) from error

    def run(batch: np.ndarray, _keep: Any = loaded) -> np.ndarray:
        return signature(**{name: tf.constant(batch)})[result].numpy()

    return _complete(run, channels, describe("saved_model", folder), str(folder))


def _open_tflite(path: pathlib.Path) -> Artifact:
    from ai_edge_litert.interpreter import Interpreter

    runners, channels = {}, set()
    # Two calls at once in one interpreter mix up their tensors, or crash the process. An
    # interpreter for each thread would take the memory of the network that many times.
    lock = threading.Lock()
    try:
        interpreter = Interpreter(model_content=path.read_bytes(), num_threads=core_count())
        for name in interpreter.get_signature_list():
            runner = interpreter.get_signature_runner(name)
            ((argument, given),) = runner.get_input_details().items()
            ((result, wanted),) = runner.get_output_details().items()
            batch, height, width, count = map(int, given["shape"])
            if batch != 1 or {given["dtype"], wanted["dtype"]} - {np.float32, np.int8}:
                raise ValueError(f"signature {name} takes no single picture of float32 or int8")
            runners[height, width] = (runner, argument, given, result, wanted)
            channels.add(count)
        (channels_in,) = channels
    except Exception as error:  # The runtime raises ValueError, RuntimeError and others.
        raise UserError(
            f"{str(path)!r} is no TFLite file with signatures restore_HxW: {_first_line(error)}"
        ) from error

    def run(image: np.ndarray) -> np.ndarray:
        runner, argument, given, result, wanted = runners[image.shape[1:3]]
        if given["dtype"] is np.int8:
            scale, zero = given["quantization"]
            image = np.clip(np.rint(image / scale) + zero, -128, 127).astype(np.int8)
        with lock:
            restored = runner(**{argument: image})[result]
        if wanted["dtype"] is np.int8:
            scale, zero = wanted["quantization"]
            restored = np.float32(scale) * (restored.astype(np.float32) - np.float32(zero))
        return restored

    sizes = tuple(sorted(runners, key=lambda size: size[0] * size[1]))
    with silent_stderr():  # At the first picture, XNNPACK says that it was created.
        return _complete(run, channels_in, describe("tflite", path), str(path), sizes)


def _complete(
    run: Any,
    channels: int,
    known: dict[str, Any],
    name: str,
    sizes: tuple[tuple[int, int], ...] = (),
) -> Artifact:
    """Measures what no manifest tells."""
    size = sizes[-1] if sizes else None
    height, width = size or (64, 64)
    probe = run(np.zeros((1, height, width, channels), np.float32))
    scale, channels_out = probe.shape[1] // height, probe.shape[-1]
    if scale < 1 or probe.shape[1:3] != (height * scale, width * scale):
        raise UserError(f"{name!r} makes {probe.shape[1:3]} of {height, width}: no whole multiple")
    divisor, field = known.get("divisor"), known.get("receptive_field")
    if not _is_count(divisor):
        try:
            divisor = receptive_field.measure_divisor(run, channels, scale, size)
        except ValueError:
            # It sees too far to tell: whole pictures are right at any divisor that it pads to.
            return Artifact(run, channels, channels_out, 1, scale, None, sizes)
    if _is_count(field):
        reach = field // 2
    elif "receptive_field" in known and field is None:
        reach = None
    else:
        reach = receptive_field.measure_reach(run, channels, divisor, scale, size)
    return Artifact(run, channels, channels_out, divisor, scale, reach, sizes)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _check_export(folder: pathlib.Path) -> None:
    """Says what is missing where a manifest tells of a model and the folder does not hold it."""
    try:
        manifest = parse_json((folder / shipped.MANIFEST_FILE).read_text(encoding="utf-8"))
        listed = [str(entry["file"]) for entry in manifest["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in listed:
        graph = folder / name / "saved_model.pb"
        if re.fullmatch(r"[0-9]+/", name) and not graph.is_file():
            raise UserError(f"{str(graph)!r} is missing: {shipped.REMEDY}")
    tflite = [name for name in listed if name.endswith(".tflite")]
    if tflite and not any(name.endswith("/") for name in listed):
        raise UserError(
            f"folder {str(folder)!r} holds no SavedModel: expected one of its files, such as"
            f" {str(folder / tflite[0])!r}"
        )


def _manifest_of(kind: str, path: pathlib.Path) -> tuple[dict[str, Any], str]:
    """Returns the manifest that tells of a model, or {}, and the name that it has there."""
    path = pathlib.Path(os.path.abspath(path))
    if kind == "saved_model":
        return _read_manifest(path.parent, f"{path.name}/"), f"{path.name}/"
    file = f"{path.parent.name}/{path.name}"
    return (_read_manifest(path.parent.parent, file) if kind == "tflite" else {}), file


def _read_manifest(folder: pathlib.Path, file: str) -> dict[str, Any]:
    """Returns the manifest of a model's folder if it tells of this file, or else {}."""
    path = folder / shipped.MANIFEST_FILE
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
        # An older version beside a newer manifest may be another network.
        listed = any(entry["file"] == file for entry in manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return check(manifest, repr(str(path))) if listed else {}


def _read_own_facts(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what a generator's SavedModel tells of itself; {} of any other."""
    path = folder / FACTS_FILE
    try:
        facts = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return check(facts, repr(str(path))) if isinstance(facts, dict) else {}


def _first_line(error: Exception) -> str:
    return reason(error)[:200]
