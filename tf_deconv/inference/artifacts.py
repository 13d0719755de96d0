"""Models of every format, opened as the same `Artifact`: Keras, SavedModel and TFLite.

A model is given as a path, as the name of a shipped one, or as `located`. What the file itself does
not tell (divisor, scale, reach) comes from the manifest beside it, and is measured where there is
none; with one, the files must be those that were exported.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import threading
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deconv.degradations.tasks import TASKS
from tf_deconv.inference import restorer, run_folder
from tf_deconv.inference.config import load_config
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.networks import receptive_field
from tf_deconv.utils.devices import choose_device, core_count
from tf_deconv.utils.files import silent_stderr
from tf_deconv.utils.options import UserError, reason


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    tile_size: int = 0,
    self_ensemble: bool = False,
    strength: float = 1.0,
    trust: bool = False,
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
      trust: Whether to open a SavedModel whose graph can do more than compute (`strangers`).
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
    artifact = open_artifact(locate(config.model, trust))
    return Restorer(artifact, config.tile_size, config.self_ensemble, config.strength)


def open_artifact(
    model: str | os.PathLike[str] | LocatedModel | None, *, check: bool = True
) -> Artifact:
    """Opens a model.

    Args:
      model: As for `locate`.
      check: Whether exported files must be those that their manifest tells of.
    Returns:
      The model, ready to run.
    Raises:
      UserError: if there is none, it is not a model of pictures, or a file of it has changed.
    """
    located = locate(model)
    if check:
        located.check_files()
    located.check_contents()
    if located.generates:
        raise UserError(run_folder.GENERATES.format(located.asked))
    openers = {"keras": _open_keras, "saved_model": _open_saved_model, "tflite": _open_tflite}
    opened = openers[located.kind](located.path, located.known)
    # What takes luminance alone sees no colours, and is there to make them.
    keeps = opened.channels_in > 1 and keeps_grey(located.task)
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
    reach = reach_of(model, divisor, scale)
    return Artifact(run, channels_in, channels_out, divisor, scale, reach, model=model)


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


def _open_keras(path: pathlib.Path, description: dict[str, Any]) -> Artifact:
    model = run_folder.load_restorer(path)
    if any(layer.compute_dtype != "float32" for layer in model.layers if layer.weights):
        model = to_float32(model)
    try:
        scale = description.get("scale") or restorer.infer_scale(model)
        divisor = description.get("divisor") or restorer.infer_divisor(model, scale)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not fully convolutional: {reason(error)}") from error
    return keras_artifact(model, divisor, scale)


def _open_saved_model(folder: pathlib.Path, known: dict[str, Any]) -> Artifact:
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
            f"{str(folder)!r} is not a SavedModel of pictures: {_first_line(error)}"
        ) from error

    def run(batch: np.ndarray, _keep: Any = loaded) -> np.ndarray:
        return signature(**{name: tf.constant(batch)})[result].numpy()

    return _complete(run, channels, known, str(folder))


def _open_tflite(path: pathlib.Path, known: dict[str, Any]) -> Artifact:
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
            f"{str(path)!r} is not a TFLite file with signatures restore_HxW: {_first_line(error)}"
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
        return _complete(run, channels_in, known, str(path), sizes)


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


def _first_line(error: Exception) -> str:
    return reason(error)[:200]
