"""Weights of one network into another of the same kind: where training begins with --init."""

from __future__ import annotations

import copy
import dataclasses
import math
import pathlib
import re
from typing import Any

import keras
import numpy as np

from tf_deconv.degradations.tasks import find_task
from tf_deconv.inference import run_folder
from tf_deconv.inference.located import locate
from tf_deconv.networks import reparameterization
from tf_deconv.training.compilation import build_in
from tf_deconv.training.config import SHAPES, TrainConfig, shape_of
from tf_deconv.utils.mentions import flag_of
from tf_deconv.utils.options import UserError, reason

COLOURS = 3


def copy_weights(source: Any, target: Any) -> list[str]:
    """Copies every weight that the source has too, by the names of layer and weight.

    Between a grey and a colour network the kernels at both ends are converted: a colour network
    that is copied does to a grey picture what the grey one did, and the other way round.

    Args:
      source: A Keras model.
      target: The one that receives weights.
    Returns:
      Paths of the target's weights that keep their value: the source has none of that name, or one
      of a shape that cannot be converted, or nothing is trained there.
    """
    known = {weight.path: np.asarray(weight.numpy()) for weight in source.weights}
    left = []
    for layer in target.layers:
        # A convolution's kernel is (h, w, in, out), a transposed one's (h, w, out, in).
        input_axis = 3 if isinstance(layer, keras.layers.Conv2DTranspose) else 2
        for weight in layer.weights:
            # What is not trained is no knowledge, and no kernel to be shared out among colours.
            value = known.get(weight.path) if layer.trainable else None
            if value is not None:
                value = _converted(value, tuple(weight.shape), input_axis)
            if value is None:
                left.append(weight.path)
            else:
                weight.assign(value)
    return left


def _converted(value: np.ndarray, shape: tuple[int, ...], input_axis: int) -> np.ndarray | None:
    """Returns a kernel in another shape, grey to colour or colour to grey; None if it cannot be."""
    if value.ndim != len(shape):
        return None
    for axis, size in enumerate(shape):
        # A grey pixel is three equal ones: weights of inputs are shared out, or summed; those of
        # outputs repeated, or averaged.
        inputs = axis == input_axis
        if size == COLOURS * value.shape[axis]:
            value = np.repeat(value, COLOURS, axis) / (COLOURS if inputs else 1)
        elif COLOURS * size == value.shape[axis]:
            parts = value.reshape(*value.shape[:axis], size, COLOURS, *value.shape[axis + 1 :])
            value = parts.sum(axis + 1) if inputs else parts.mean(axis + 1)
        elif size != value.shape[axis]:
            return None
    return value


@dataclasses.dataclass(frozen=True)
class Start:
    """What training begins with.

    Attributes:
      name: Of the run or model, without its path: it is published.
      model: The trained network, float32; None where its weights are in the run's checkpoint.
      facts: What is known of how it was trained, as manifests tell it.
      rest: Another one, whose weights those layers begin with that `model` has not.
    """

    name: str
    model: keras.Model | None
    facts: dict[str, Any]
    rest: keras.Model | None = None


def open_start(init: str) -> Start:
    """Opens a trained network to begin with.

    Args:
      init: A run folder, a `.keras` file, or an exported model: its folder or a shipped one's name.
    Raises:
      UserError: if there is none, or it is damaged.
    """
    located = locate(init)
    path, facts = located.path, located.known
    if located.kind == "keras":
        facts = facts | {"training_s": run_folder.training_s(path)}
        load = run_folder.load_cell if located.moves else run_folder.load_model
        model = load(path)
    elif located.kind == "saved_model" and facts:
        located.check_files()
        model = _rebuild(path, facts)
    else:
        raise UserError(
            f"init={init!r}: expected a run folder, a .keras file, the whole folder of an export"
            " (with its SavedModel and manifest) or the name of a shipped model"
        )
    kept = ("training", "device", "data_sha256", "began_with", "training_s")
    # A manifest says "trained_on" for what a description calls "device".
    facts = facts | {"device": facts.get("device") or facts.get("trained_on")}
    return Start(
        pathlib.Path(init).name, model, {key: facts[key] for key in kept if facts.get(key)}
    )


def join(start: Start, rest: Start) -> Start:
    """Returns a start that has the layers of both, where they have the same one the first's.

    What is known of `rest` is told as if the first of all trainings had begun with it.
    """
    facts = first = copy.deepcopy(start.facts)
    while first.get("began_with"):
        first = first["began_with"]
    if not facts:  # Of a model that tells nothing of its training.
        facts = rest.facts
    elif rest.facts:
        first["began_with"] = rest.facts
    return dataclasses.replace(start, facts=facts, rest=rest.model)


def _rebuild(folder: pathlib.Path, manifest: dict[str, Any]) -> keras.Model:
    """Builds an exported network again around the weights that its SavedModel holds in order."""
    import tensorflow as tf

    try:
        config = TrainConfig(**manifest["training"])
        task = find_task(config.task, config.degrade, config.self_supervised)
        model = build_in("float32", task, config)
        stored = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        names = [f"weights/{n}/.ATTRIBUTES/VARIABLE_VALUE" for n in range(len(model.weights))]
        model.set_weights([stored.get_tensor(name) for name in names])
    except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"training cannot begin with {str(folder)!r}: {reason(error)}; expected an export of a"
            " network of this version, or else its run"
        ) from error
    return model


def begin_with(model: keras.Model, start: Start, config: TrainConfig) -> list[str]:
    """Copies what fits of a trained network; returns lines for the user.

    Args:
      model: The network that is to be trained.
      start: The trained one.
      config: Options of the training.
    Raises:
      UserError: if nothing fits.
    """
    trained = {weight.path for weight in model.trainable_weights}
    not_of_rest = trained if start.rest is None else trained & {*copy_weights(start.rest, model)}
    missing = [path for path in copy_weights(start.model, model) if path in trained]
    left = [path for path in missing if path in not_of_rest]
    shape = shape_of(start.facts.get("training"))
    other = bool(shape) and any(getattr(config, name) != shape.get(name) for name in SHAPES)
    count = len(trained)
    if len(missing) == count:
        options = " and ".join(f"{name}={value!r}" for name, value in shape.items())
        raise UserError(
            f"init={start.name!r} shares no layer with network={config.network!r}: expected"
            + (f" {options}, as it has" if other else " one of the same network and size")
        )
    if start.rest is not None and left == missing:
        raise UserError(
            f"init_rest={config.init_rest!r} has no layer that init={start.name!r} has not:"
            " expected one, or leave it out"
        )
    lines = []
    if shape and config.relu != shape.get("relu"):
        lines.append(
            f"note: blocks of {start.name} have a ReLU {shape.get('relu', 'once')}, those of this"
            f" training {config.relu or 'once'}: at first its weights do not give its pictures"
        )
    # A network that has every layer of the other one is more than that, and none that differs.
    if other and count - len(missing) < len(start.model.trainable_weights):
        flags = " ".join(f"{flag_of(name)} {value}" for name, value in shape.items())
        lines.append(f"note: {start.name} is {flags}, which this training is not")
    elif shape and not other:
        what = " ".join(value for name, value in shape.items() if name != "relu")
        bends = ", two ReLUs in a block" if shape.get("relu") == "twice" else ""
        lines.append(f"network: {what}{bends}, as {start.name}")
    line = f"init: {count - len(left)} of {count} weights copied"
    lines.append(f"{line}; these begin anew: {', '.join(left)}" if left else line)
    if grown := _silence_new_blocks(model, left):
        lines.append(f"init: these blocks are new and change nothing yet: {', '.join(grown)}")
    return lines


def _silence_new_blocks(model: keras.Model, left: list[str]) -> list[str]:
    """Makes residual blocks that a deeper network has more of begin with what they add at 0.

    The network then is the trained one at first, which random blocks would spoil (after Net2Net,
    Chen et al. 2016, whose new layers are identities too).

    Args:
      model: The network after the weights were copied.
      left: Paths of the weights that were not.
    Returns:
      Names of those blocks; where the first block of a row was not copied either, it has none.
    """
    grown = []
    for layer in model.layers:
        found = re.fullmatch(r"(\w+_block_)(\d+)_conv_2", layer.name)
        if not found or layer.kernel.path not in left:
            continue
        first = f"{found[1]}1_conv_2/kernel"
        if first not in left:
            layer.kernel.assign(np.zeros(layer.kernel.shape, "float32"))
            grown.append(f"{found[1]}{found[2]}")
    return grown


def train_only(model: keras.Model, names: str) -> list[str]:
    """Leaves only some layers trainable; returns lines for the user.

    What is new beside a trained network first learns alone what it is for: its first, large
    gradients would spoil what the others know.

    Args:
      model: The network that is to be trained, before it is compiled.
      names: Of the layers to train, between commas.
    Raises:
      UserError: if a layer of such a name has nothing to train.
    """
    layers = {layer.name: layer for layer in model.layers if layer.trainable_weights}
    chosen = [name.strip() for name in names.split(",")]
    unknown = [name for name in chosen if name not in layers]
    if unknown:
        raise UserError(
            f"train_layers={names!r}: {' and '.join(map(repr, unknown))} cannot be trained in this"
            f" network; expected some of {', '.join(layers)}"
        )
    for name, layer in layers.items():
        # Both layers of a convolution that becomes one.
        layer.trainable = name.removesuffix(reparameterization.POINT) in chosen or name in chosen
    count = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return [f"trained: {', '.join(chosen)}, {count:,} weights; all others are kept"]
