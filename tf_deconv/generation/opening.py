"""Generators of every format, opened as the same `Generator`: Keras, SavedModel and TFLite.

The facts of a generator come from the `.keras` file's description, from the manifest beside an
export, or from what an exported file tells of itself. Keras, TensorFlow and LiteRT are imported by
the functions that run them.
"""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv.generation.generator import Generator
from tf_deconv.generation.spec import GeneratorSpec, read_spec
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.utils import files
from tf_deconv.utils.devices import core_count
from tf_deconv.utils.options import UserError, reason

# The signature that pictures are made with, and what it gives.
SIGNATURES = {"vae": ("decode", "image"), "flow": ("step", "velocity")}


def open_generator(
    model: str | os.PathLike[str] | LocatedModel, *, check: bool = True, trust: bool = False
) -> Generator:
    """Opens a generator.

    Args:
      model: A run folder, a `.keras` file, a SavedModel (the version folder, or the folder of all
        versions) or a `.tflite` file; or what `locate` made of it.
      check: Whether exported files must be those that their manifest tells of.
      trust: As for `locate`.
    Returns:
      The generator, ready to run; its `model` is that of a run or a `.keras` file. Many threads may
      call its functions at once.
    Raises:
      UserError: if there is none, it generates nothing, or a file of it has changed.
    """
    located = locate(model, trust)
    if check:
        located.check_files()
    located.check_contents()
    facts = read_spec(located.known, located.asked)
    openers = {
        "keras": _open_keras,
        "saved_model": saved_model_generator,
        "tflite": tflite_generator,
    }
    return openers[located.kind](located.path, facts)


def _open_keras(path: pathlib.Path, facts: GeneratorSpec) -> Generator:
    from tf_deconv.generation.keras_generator import keras_generator
    from tf_deconv.inference import run_folder

    return keras_generator(run_folder.load_any_model(path), facts)


def saved_model_generator(folder: pathlib.Path, facts: GeneratorSpec) -> Generator:
    """Wraps an exported SavedModel.

    Raises:
      UserError: if it has no signatures of such a generator.
    """
    import tensorflow as tf

    name, result = SIGNATURES[facts.kind]
    try:
        loaded = tf.saved_model.load(os.fspath(folder))
        signatures = loaded.signatures
        _check_inputs(_specs(signatures[name]), facts, None)
        if facts.kind == "vae":
            _check_shape("image", _specs(signatures["encode"])["image"], (None, *facts.shape))
    except Exception as error:  # A damaged folder raises whatever TensorFlow stumbled over.
        raise UserError(_no_generator(folder, "SavedModel", name, error)) from error

    def call(name: str, inputs: dict[str, np.ndarray], _keep: Any = loaded) -> dict[str, Any]:
        return signatures[name](**{key: tf.constant(array) for key, array in inputs.items()})

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        return call(name, inputs)[result].numpy()

    def encode(image: np.ndarray, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        found = call("encode", _with_label({"image": image.astype(np.float32)}, label))
        return found["mean"].numpy(), found["log_variance"].numpy()

    return _wrap(facts, run, encode if facts.kind == "vae" else None)


def tflite_generator(path: pathlib.Path, facts: GeneratorSpec) -> Generator:
    """Wraps an exported `.tflite` file, which takes one picture after the other.

    Raises:
      UserError: if it has no signature of such a generator.
    """
    from ai_edge_litert.interpreter import Interpreter

    name, result = SIGNATURES[facts.kind]
    # Two calls at once in one interpreter mix up their tensors, or crash the process.
    lock = threading.Lock()
    try:
        with files.silent_stderr():  # XNNPACK says that it was created.
            interpreter = Interpreter(model_content=path.read_bytes(), num_threads=core_count())
            runner = interpreter.get_signature_runner(name)
            details = runner.get_input_details()
            inputs = {key: tuple(map(int, each["shape"])) for key, each in details.items()}
            _check_inputs(inputs, facts, 1)
            # The first call builds what the others reuse.
            runner(**{key: np.zeros(each["shape"], each["dtype"]) for key, each in details.items()})
    except Exception as error:  # The runtime raises ValueError, RuntimeError and others.
        raise UserError(_no_generator(path, "TFLite file", name, error)) from error

    def run(inputs: dict[str, np.ndarray], _keep: Any = interpreter) -> np.ndarray:
        count = len(next(iter(inputs.values())))
        pictures = np.empty((count, *facts.shape), np.float32)
        for i in range(count):
            one = {key: array[i : i + 1] for key, array in inputs.items()}
            with lock:
                pictures[i] = runner(**one)[result][0]
        return pictures

    return _wrap(facts, run, None)


def _wrap(
    facts: GeneratorSpec,
    run: Callable[[dict[str, np.ndarray]], np.ndarray],
    encode: Callable | None,
) -> Generator:
    def decode(latent: np.ndarray, label: np.ndarray | None) -> np.ndarray:
        return run(_with_label({"latent": latent.astype(np.float32)}, label))

    def velocity(x: np.ndarray, t: np.ndarray, label: np.ndarray | None) -> np.ndarray:
        inputs = {"x": x.astype(np.float32), "t": t.astype(np.float32)}
        return run(_with_label(inputs, label))

    if facts.kind == "vae":
        return Generator(facts, decode=decode, encode=encode)
    return Generator(facts, velocity=velocity)


def _with_label(inputs: dict[str, np.ndarray], label: np.ndarray | None) -> dict[str, np.ndarray]:
    return inputs if label is None else inputs | {"label": np.asarray(label, np.int32)}


def _specs(signature: Any) -> dict[str, tuple[int | None, ...]]:
    return {
        name: tuple(spec.shape) for name, spec in signature.structured_input_signature[1].items()
    }


def _check_inputs(
    received: dict[str, tuple[int | None, ...]], facts: GeneratorSpec, batch: int | None
) -> None:
    """Refuses a file of another generator than the facts tell of."""
    if facts.kind == "vae":
        expected = {"latent": (batch, facts.latent)}
    else:
        expected = {"x": (batch, *facts.shape), "t": (batch,)}
    if facts.classes:
        expected["label"] = (batch,)
    if received.keys() != expected.keys():
        raise ValueError(f"it takes {', '.join(received)}: expected {', '.join(expected)}")
    for name, shape in expected.items():
        _check_shape(name, received[name], shape)


def _check_shape(
    name: str, received: tuple[int | None, ...], expected: tuple[int | None, ...]
) -> None:
    if received != expected:
        raise ValueError(f"{name} is {received}: expected {expected}")


def _no_generator(path: pathlib.Path, kind: str, name: str, error: Exception) -> str:
    return (
        f"{str(path)!r} is not a {kind} of a generator, with signature {name}:"
        f" {reason(error)[:200]}; export the model again"
    )
