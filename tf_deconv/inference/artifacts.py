"""Models of every format, opened as the same `Artifact`: Keras, SavedModel, TFLite and ONNX.

A model is given as a path, as the name of a shipped one, or as `located`; `engines` chooses which
of its files is opened. What the file itself does not tell (divisor, scale, reach) comes from the
manifest beside it, and is measured where there is none; with one, the files must be those that were
exported. An engine is imported when a file of its own is opened, and not before.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from typing import Any

import numpy as np

from tf_deconv.degradations.tasks import TASKS
from tf_deconv.inference import engines, restorer, run_folder, streaming
from tf_deconv.inference.config import load_config
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.inference.streaming import Cell, StreamRestorer
from tf_deconv.networks import receptive_field
from tf_deconv.utils.devices import choose_device, core_count, limit_threads
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.quiet import import_tensorflow

# A file whose own sizes leave more of the work to overlap than this is slower than the SavedModel.
_MOST_OVERLAP = 0.3


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    tile_size: int = 0,
    self_ensemble: bool = False,
    strength: float = 1.0,
    trust: bool = False,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    exact: bool = False,
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
      engine: What computes: "auto", "litert", "tensorflow", "openvino" or "onnxruntime".
      precision: "auto", "float32" or "int8"; auto: int8 for pictures of 8 bits where the model's
        own loss is at most 0.05 dB, else float32.
      threads: At most as many as there are cores; None: that many.
      exact: Whether tiles overlap by all that the network sees, and not only by what changes a
        pixel of 8 bits by half a level.
    Returns:
      The model. Called with an image, (H, W, C) of any size, uint8, uint16 or float in [0, 1], it
      returns (H * scale, W * scale, channels_out) of the same type; see `Restorer.restore`. Many
      threads may call it at once.
    Raises:
      UserError: if there is no such model, one of its files is missing or is not the one that was
        exported, an option is out of range, the engine cannot run the model, or a strength other
        than 1 suits no such model.
    """
    config = load_config(
        model,
        tile_size=tile_size,
        self_ensemble=self_ensemble,
        strength=strength,
        engine=engine,
        precision=precision,
        threads=threads,
        exact=exact,
    )
    located = locate(config.model, trust)
    _refuse_others(located)
    return open_restorer(located, config)[0]


def load_video(
    model: str | os.PathLike[str],
    *,
    tile_size: int = 0,
    strength: float = 1.0,
    trust: bool = False,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> StreamRestorer:
    """Opens a model of films for use from Python; see `api.load_video`.

    Raises:
      UserError: as `load`; if the model restores single pictures.
    """
    config = load_config(
        model,
        tile_size=tile_size,
        strength=strength,
        engine=engine,
        precision=precision,
        threads=threads,
    )
    located = locate(config.model, trust)
    if not located.moves:
        raise UserError(
            f"{located.asked!r} has no state: expected a model of films, that --network video made;"
            " of a model of pictures, tf_deconv.load(...) takes each frame"
        )
    return open_stream(located, config)[0]


def open_restorer(
    located: LocatedModel, config: Any, device: str = "auto"
) -> tuple[Restorer | StreamRestorer, str]:
    """Opens a model as options say.

    Args:
      located: The model.
      config: A `RestoreConfig` that was checked.
      device: "auto" or "cpu"; for TensorFlow alone.
    Returns:
      The model, and what runs it: engine, precision and threads.
    Raises:
      UserError: if it cannot be opened, or does not fit the options.
    """
    if located.moves:
        return open_stream(located, config, device)
    _refuse_others(located)
    engine = "auto" if config.engine == "beam" else config.engine
    choice = engines.choose(located, engine, config.precision, config.threads)
    artifact = _open_checked(choice.engine, choice.model, choice.threads, device)
    any_engine = engine == config.precision == "auto" and located.kind == "saved_model"
    if any_engine and not _suits(artifact, config.tile_size) and engines.has_tensorflow():
        choice = engines.choose(located, "tensorflow", "auto", config.threads)
        artifact = _open_checked(choice.engine, choice.model, choice.threads, device)
    engines.check_precision(choice, config.precision, artifact.precision)
    deeper = None
    if choice.deeper is not None:
        # A file that has changed is told before the first picture, whatever its depth.
        choice.deeper.check_files()
        deeper = functools.partial(
            _open_checked, choice.engine, choice.deeper, choice.threads, device
        )
    opened = Restorer(
        artifact,
        config.tile_size,
        config.self_ensemble,
        config.strength,
        config.exact,
        deeper,
    )
    return opened, choice.describe(artifact.precision)


def open_stream(
    located: LocatedModel, config: Any, device: str = "auto"
) -> tuple[StreamRestorer, str]:
    """Opens a model of films, as `open_restorer` does one of pictures.

    Raises:
      UserError: if it cannot be opened, or an option is for pictures alone.
    """
    if config.self_ensemble:
        raise UserError(
            f"self_ensemble=True: {located.asked!r} restores films with a state, which has no mean"
            " over turned pictures; leave it out"
        )
    engine = "auto" if config.engine == "beam" else config.engine
    choice = engines.choose(located, engine, config.precision, config.threads)
    cell = open_cell(choice.model, choice.engine, choice.threads, device)
    engines.check_precision(choice, config.precision, cell.precision)
    deeper = None
    if choice.deeper is not None:
        choice.deeper.check_files()
        deeper = functools.partial(open_cell, choice.deeper, choice.engine, choice.threads, device)
    opened = StreamRestorer(cell, config.tile_size, config.strength, deeper)
    return opened, choice.describe(cell.precision)


def open_cell(
    located: LocatedModel,
    engine: str = "",
    threads: int | None = None,
    device: str = "auto",
    *,
    check: bool = True,
) -> Cell:
    """Opens one file of a model of films.

    Args:
      located: The model.
      engine: Key of `engines.ENGINES`; what is its file's own when left out.
      threads: How many it may use; None: all cores.
      device: "auto" or "cpu"; for TensorFlow alone.
      check: Whether an exported file must be what its manifest tells of.
    Raises:
      UserError: if it is no such model, or a file of it has changed.
    """
    located.check_files(contents=check)
    located.check_contents()
    engine = engine or ("litert" if located.kind == "tflite" else "tensorflow")
    if engine == "tensorflow":
        import_tensorflow()
        limit_threads(threads)
        choose_device(device, "float32")
    openers = {
        ("tensorflow", "keras"): _keras_cell,
        ("tensorflow", "saved_model"): _saved_model_cell,
        ("litert", "tflite"): _tflite_cell,
        ("onnxruntime", "onnx"): _onnx_cell,
    }
    opener = openers.get((engine, located.kind))
    if opener is None:
        raise UserError(
            f"engine={engine!r}: {located.asked!r} restores films with a state; expected litert,"
            " tensorflow or onnxruntime"
        )
    try:
        cell = opener(located.path, located.known, threads or core_count())
    except UserError:
        raise
    except Exception as error:  # A damaged file raises whatever the runtime stumbled over.
        raise UserError(
            f"{str(located.path)!r} is no model of a frame and a state: {_first_line(error)}"
        ) from error
    near = located.known.get("effective_reach")
    keeps = cell.channels > 1 and keeps_grey(located.task)
    return dataclasses.replace(cell, keeps_grey=keeps, near_px=near if _is_count(near) else None)


def _keras_cell(path: pathlib.Path, known: dict[str, Any], threads: int) -> Cell:
    model = run_folder.load_cell(path)
    if any(layer.compute_dtype != "float32" for layer in model.layers if layer.weights):
        model = to_float32(model)
    divisor = known["divisor"]
    return streaming.keras_cell(model, divisor, receptive_field.compute_reach(model, divisor, 1))


def _saved_model_cell(folder: pathlib.Path, known: dict[str, Any], threads: int) -> Cell:
    import tensorflow as tf

    loaded = tf.saved_model.load(os.fspath(folder))
    signature = loaded.signatures["stream"]

    def step(
        frame: np.ndarray, state: np.ndarray, _keep: Any = loaded
    ) -> tuple[np.ndarray, np.ndarray]:
        made = signature(frame=tf.constant(frame), state=tf.constant(state))
        return made["restored"].numpy(), made["next_state"].numpy()

    specs = signature.structured_input_signature[1]
    return _cell(step, known, specs["frame"].shape[3], specs["state"].shape[3])


def _tflite_cell(path: pathlib.Path, known: dict[str, Any], threads: int) -> Cell:
    from tf_deconv.inference.litert_engine import LitertCell

    model = LitertCell(path, threads)
    cell = _cell(model, known, model.channels, model.state_channels)
    own = dict(sizes=model.sizes, signatures=model.signatures, precision=model.precision)
    return dataclasses.replace(cell, **own)


def _onnx_cell(path: pathlib.Path, known: dict[str, Any], threads: int) -> Cell:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )

    def step(frame: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        restored, following = session.run(
            ["restored", "next_state"], {"frame": frame, "state": state}
        )
        return restored, following

    shapes = {each.name: each.shape for each in session.get_inputs()}
    return _cell(step, known, shapes["frame"][3], shapes["state"][3])


def _cell(step: Any, known: dict[str, Any], channels: int, state_channels: int) -> Cell:
    """Takes from what is recorded what the file itself does not tell."""
    divisor, stride = known.get("divisor"), known["state"]["stride"]
    field = known.get("receptive_field")
    if not (_is_count(divisor) and _is_count(field)) or divisor % stride:
        raise ValueError(
            f"its manifest tells divisor {divisor}, stride {stride}, field {field}: expected whole"
            " numbers that fit"
        )
    return Cell(step, int(channels), divisor, stride, int(state_channels), field // 2)


def _suits(artifact: Artifact, tile_px: int) -> bool:
    """Returns whether a file's fixed sizes are as good as any size, for large pictures."""
    if not artifact.sizes or artifact.reach_px is None:
        return not artifact.sizes
    height, width = artifact.sizes[-1]
    lost = 2 * artifact.reach_px + artifact.divisor - 1
    kept = max(0, height - lost) * max(0, width - lost)
    return kept >= (1 - _MOST_OVERLAP) * height * width and not tile_px


def _open_checked(engine: str, located: LocatedModel, threads: int, device: str) -> Artifact:
    located.check_files()
    return _open(engine, located, threads, device)


def open_artifact(
    model: str | os.PathLike[str] | LocatedModel | None, *, check: bool = True
) -> Artifact:
    """Opens the file of a model that was asked for, in float32 where that is not of one precision.

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
    _refuse_others(located)
    return _open("litert" if located.kind == "tflite" else "tensorflow", located)


def open_described(located: LocatedModel) -> Artifact:
    """Opens a model to tell of it: as `restore` does, in float32, also one that has changed.

    Raises:
      UserError: if it is not a model of pictures.
    """
    _refuse_others(located)
    choice = engines.choose(located)
    located.check_files(contents=False)
    return _open(choice.engine, choice.deeper or choice.model, choice.threads, "cpu")


def _refuse_others(located: LocatedModel) -> None:
    if located.generates:
        located.check_files()
        raise UserError(run_folder.GENERATES.format(located.asked))
    if located.moves:
        raise UserError(run_folder.MOVES.format(located.asked))


def _open(
    engine: str, located: LocatedModel, threads: int | None = None, device: str = "auto"
) -> Artifact:
    """Opens one file by one engine, after a look at what it would do."""
    located.check_contents()
    if engine == "tensorflow":
        import_tensorflow()
        limit_threads(threads)
        choose_device(device, "float32")
    openers = {
        ("tensorflow", "keras"): _open_keras,
        ("tensorflow", "saved_model"): _open_saved_model,
        ("litert", "tflite"): _open_tflite,
        ("openvino", "tflite"): _open_openvino,
        ("openvino", "onnx"): _open_openvino,
        ("onnxruntime", "onnx"): _open_onnxruntime,
    }
    opener = openers[engine, located.kind]
    opened = opener(located.path, located.known, threads or core_count())
    # What takes luminance alone sees no colours, and is there to make them.
    keeps = opened.channels_in > 1 and keeps_grey(located.task)
    near = located.known.get("effective_reach")
    return dataclasses.replace(opened, keeps_grey=keeps, near_px=near if _is_count(near) else None)


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


def _open_keras(path: pathlib.Path, description: dict[str, Any], threads: int) -> Artifact:
    model = run_folder.load_restorer(path)
    if any(layer.compute_dtype != "float32" for layer in model.layers if layer.weights):
        model = to_float32(model)
    try:
        scale = description.get("scale") or restorer.infer_scale(model)
        divisor = description.get("divisor") or restorer.infer_divisor(model, scale)
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not fully convolutional: {reason(error)}") from error
    return keras_artifact(model, divisor, scale)


def _open_saved_model(folder: pathlib.Path, known: dict[str, Any], threads: int) -> Artifact:
    import tensorflow as tf

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


def _open_tflite(path: pathlib.Path, known: dict[str, Any], threads: int) -> Artifact:
    from tf_deconv.inference.litert_engine import LitertModel

    try:
        model = LitertModel(path, threads)
    except Exception as error:  # The runtime raises ValueError, RuntimeError and others.
        raise UserError(
            f"{str(path)!r} is not a TFLite file with signatures restore_HxW: {_first_line(error)}"
        ) from error
    if model.scale < 1:
        raise UserError(f"{str(path)!r} makes {model.sizes_text()}: no whole multiple")
    made = model.scale, model.channels_out
    opened = _complete(model, model.channels_in, known, str(path), model.sizes, made)
    return dataclasses.replace(opened, precision=model.precision, signatures=model.signatures)


def _open_openvino(path: pathlib.Path, known: dict[str, Any], threads: int) -> Artifact:
    if path.suffix == ".tflite":
        # Any other it reshapes to something that fails, or computes in a way of its own.
        own = _open_tflite(path, known, threads)
        if own.sizes or own.precision != "float32":
            what = "has operators of one size" if own.sizes else f"is of {own.precision}"
            raise UserError(
                f"engine='openvino' cannot take {str(path)!r}, which {what}: expected an ONNX file"
                " (tf-deconv export --onnx) or engine='litert'"
            )
    import openvino

    try:
        core = openvino.Core()
        model = core.read_model(path)
        channels = model.input(0).partial_shape[3].get_length()
        model.reshape({0: openvino.PartialShape([1, -1, -1, channels])})
        # Without the hint it computes in bfloat16 where the processor can.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(model, "CPU", settings)
    except Exception as error:  # OpenVINO raises RuntimeError with a page of text.
        raise UserError(
            f"engine='openvino' cannot take {str(path)!r}: {_first_line(error)}"
        ) from error

    def run(batch: np.ndarray) -> np.ndarray:
        # A request of its own for each call, as many threads may come.
        return next(iter(compiled.create_infer_request().infer({0: batch}).values()))

    return _complete(run, channels, known, str(path))


def _open_onnxruntime(path: pathlib.Path, known: dict[str, Any], threads: int) -> Artifact:
    import onnxruntime

    try:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"]
        )
        (given,) = session.get_inputs()
        channels = int(given.shape[3])
    except Exception as error:
        raise UserError(
            f"engine='onnxruntime' cannot take {str(path)!r}: {_first_line(error)}"
        ) from error

    def run(batch: np.ndarray) -> np.ndarray:
        return session.run(None, {given.name: batch})[0]

    return _complete(run, channels, known, str(path))


def _complete(
    run: Any,
    channels: int,
    known: dict[str, Any],
    name: str,
    sizes: tuple[tuple[int, int], ...] = (),
    made: tuple[int, int] | None = None,
) -> Artifact:
    """Measures what no manifest tells; `made` are scale and channels out where the file tells."""
    size = sizes[-1] if sizes else None
    if made is None:
        height, width = size or (64, 64)
        probe = run(np.zeros((1, height, width, channels), np.float32))
        scale, channels_out = probe.shape[1] // height, probe.shape[-1]
        if scale < 1 or probe.shape[1:3] != (height * scale, width * scale):
            raise UserError(
                f"{name!r} makes {probe.shape[1:3]} of {height, width}: no whole multiple"
            )
    else:
        scale, channels_out = made
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
