"""`.keras` files: no code is run, and no network is built that its file does not hold."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_deconv.data.store import size_text
from tf_deconv.inference.descriptions import DAMAGES, LARGEST_JSON_BYTES
from tf_deconv.inference.strangers.limits import memory_limit
from tf_deconv.utils.options import UserError, reason

# Side of the picture that a network's tensors are counted at, where it takes any: what it is tried
# with when it is opened.
_PROBE_PX = 64
# Keras's name for the weights that it still has to make.
_OWED = "uninitialized_variables"
# Layers that hold Python code.
_CODE = ("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")


def check_keras(path: pathlib.Path) -> None:
    """Refuses a `.keras` file with Python code in it, or with a network too large for its weights.

    The network is built without its variables, which takes some 20 ms. What else is wrong with the
    file Keras says when it loads it.

    Raises:
      UserError: naming what was found.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo("config.json")
            if entry.file_size > LARGEST_JSON_BYTES:
                raise UserError(
                    f"{str(path)!r}: its config.json has {size_text(entry.file_size)}: expected at"
                    f" most {size_text(LARGEST_JSON_BYTES)}"
                )
            config = json.loads(archive.read(entry))
            weights = archive.getinfo("model.weights.h5")
            if weights.file_size > max(memory_limit(), os.path.getsize(path)):
                raise UserError(
                    f"{str(path)!r}: its weights unpack to {size_text(weights.file_size)}: more"
                    " than half of the free memory"
                )
            _check_weights_file(archive.read(weights), path)
    except (*DAMAGES, RecursionError):
        return
    for layer in _layers_of(config):
        if layer in _CODE:
            raise UserError(
                f"{str(path)!r} holds a {layer} layer, which is code that opening it would run:"
                " expected Keras's other layers alone; build the network without it"
            )
    _check_network(config, weights.file_size, path)


def _layers_of(config: Any) -> Iterator[str]:
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value["class_name"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_weights_file(content: bytes, path: pathlib.Path) -> None:
    """Refuses HDF5 that claims more than it holds, or that leads to other files."""
    import h5py

    total = 0
    with h5py.File(io.BytesIO(content)) as stored:
        groups = [stored]
        while groups:
            group = groups.pop()
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise UserError(f"{str(path)!r}: its weights lead to another file: {name!r}")
                value = group[name]
                if isinstance(value, h5py.Group):
                    groups.append(value)
                    continue
                if value.external or value.is_virtual:
                    raise UserError(f"{str(path)!r}: its weights lead to another file: {name!r}")
                total += value.size * value.dtype.itemsize
    if total > 2 * len(content) + 2**20:
        raise UserError(
            f"{str(path)!r}: its weights unpack to {size_text(total)}, and the file holds"
            f" {size_text(len(content))}: expected weights that are not packed so closely"
        )


def _check_network(config: dict[str, Any], stored_bytes: int, path: pathlib.Path) -> None:
    """Refuses a network that takes more than its file holds, or more than memory."""
    import keras

    try:
        with without_variables():
            model = keras.saving.deserialize_keras_object(config)
            count_bytes = sum(
                math.prod(weight.shape) * np.dtype(weight.dtype).itemsize
                if weight.dtype != "bfloat16"
                else 2 * math.prod(weight.shape)
                for weight in model.weights
            )
        if count_bytes <= 2 * stored_bytes + 2**20:
            count_bytes = 0
    except Exception as error:  # Keras raises whatever the damaged part made it stumble over.
        _check_numbers(config, path, error)
        return
    if count_bytes:
        raise UserError(
            f"{str(path)!r}: its network takes {size_text(count_bytes)} of weights, and the file"
            f" holds {size_text(stored_bytes)}: it is damaged or was edited"
        )
    tensors_bytes = _tensors_bytes(model)
    if tensors_bytes > memory_limit():
        raise UserError(
            f"{str(path)!r}: its network takes {size_text(tensors_bytes)} for a picture of"
            f" {_PROBE_PX}x{_PROBE_PX} pixels: more than half of the free memory"
        )


@contextlib.contextmanager
def without_variables() -> Iterator[None]:
    """Lets networks be built without their weights.

    Keras keeps a list of the weights that it owes, and makes them when the next scope of this kind
    ends, whosever it is: what was only looked at is taken off it.
    """
    import keras
    from keras.src.backend.common import global_state

    owed = list(global_state.get_global_attribute(_OWED) or ())
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(_OWED, owed)


def _tensors_bytes(model: Any) -> int:
    """Returns the bytes of all tensors for one picture, as float32; 0 where Keras cannot tell."""
    import keras

    try:
        probes = [
            keras.KerasTensor(
                (1, *(side or _PROBE_PX for side in each.shape[1:])), dtype=each.dtype
            )
            for each in model.inputs
        ]
        every = keras.Model(model.inputs, [layer.output for layer in model.layers])
        specs = every.compute_output_spec(probes if len(probes) > 1 else probes[0])
    except Exception:  # Sizes that do not fit, or a layer with several outputs.
        return 0
    return sum(4 * math.prod(spec.shape) for spec in specs if None not in spec.shape)


def _check_numbers(config: Any, path: pathlib.Path, error: Exception) -> None:
    """Refuses large numbers in a network that cannot be built without its variables."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else ()
        waiting += value if isinstance(value, list) else ()
        if type(value) is int and abs(value) > 4096:
            raise UserError(
                f"{str(path)!r} cannot be loaded by Keras: {reason(error)[:200]}"
            ) from error
