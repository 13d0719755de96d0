"""How far a network sees: computed by a gradient, or measured on any artifact that runs.

The *reach* is the largest distance, in input pixels along one axis, from an output pixel to an
input pixel that changes it. Output pixel o of a network of scale s stands at input pixel o // s.
The receptive field is the square of 2 * reach + 1 pixels around it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tf_deconv.networks.table import STATE_STRIDE

# A network that sees further than this is taken for one that sees the whole picture.
MAX_REACH = 512
# Layers that a pixel goes through alone and that bend or drop its value.
_ACTIVATIONS = (
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU"),
    *("Dropout", "SpatialDropout2D", "GaussianNoise", "Absolute", "Cast"),
)
# Operations of two values of which one is lost; layers of their kind become `Average`.
_EXTREMES = ("Minimum", "Maximum")
# Layers and operations whose gradient is not zero wherever a value depends on another.
_LINEAR = (
    *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense"),
    *("AveragePooling2D", "UpSampling2D", "ZeroPadding2D", "Cropping2D", "Pad", "GetItem"),
    *("Add", "Subtract", "Multiply", "Average", "Concatenate", "Rescaling", "BatchNormalization"),
    *("Negative", "Divide", "TrueDivide", "Mean"),
)
# Operations over channels alone, each of whose results depends on all of them.
_OF_CHANNELS = ("Min", "Max", "Softmax")


class _UnknownLayerError(Exception):
    """A layer whose gradient may be zero for other reasons: the reach is then measured."""


def compute_reach(model: Any, divisor: int, scale: int) -> int | None:
    """Computes the reach of a Keras model: how far the support of a gradient extends.

    The gradient is that of a copy in which nothing is lost: weights are positive, activations are
    left out, maxima and minima are means or sums, and one filter stands for many.

    Args:
      model: Made of convolutions, transposed convolutions, poolings and pointwise layers; or one of
        a frame and a state, of which the reach within the frame is computed.
      divisor: A move of the input by this many pixels moves the output alike.
      scale: Output pixels per input pixel along each axis.
    Returns:
      Pixels; None where a layer is not one of those, or sees the whole picture.
    """
    import keras
    import tensorflow as tf

    try:
        # float64 from the input on: deep networks have more paths than float32 can count.
        inputs = [
            keras.Input((None, None, each.shape[-1]), dtype="float64") for each in model.inputs
        ]
        if len(inputs) > 1:  # A frame and a state; what the next state sees is no pixel's business.
            model = keras.Model(model.inputs, model.outputs[0])
        copy = keras.models.clone_model(
            model, inputs if len(inputs) > 1 else inputs[0], _without_losses
        )
        random = np.random.default_rng(0)
        copy.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in copy.get_weights()])
        side = 64 + -64 % divisor
        while side <= 4 * MAX_REACH:
            reach = max(_support(copy, divisor, scale, side, axis) for axis in (1, 2))
            # Further out the picture may have ended before the reach did.
            if reach < side // 2 - divisor:
                return reach if reach <= MAX_REACH else None
            side *= 2
    # What a layer raises that cannot work on one filter, or on so narrow a picture.
    except (_UnknownLayerError, TypeError, ValueError, tf.errors.InvalidArgumentError):
        pass
    return None


def _without_losses(layer: Any) -> Any:
    """Copies a layer so that its gradient is zero only where it sees nothing."""
    from keras import layers

    kind, config = type(layer), layer.get_config()
    if kind.__name__ in _ACTIVATIONS:
        return layers.Identity(name=layer.name, dtype="float64")
    if kind.__name__ in _EXTREMES and not isinstance(layer, layers.Layer):
        # A name of its own: one that is counted may be that of another operation of the model.
        return functools.partial(_sum, layer.name)
    if kind.__name__ in _OF_CHANNELS and getattr(layer, "axis", None) in (-1, [-1], (-1,)):
        return layers.Identity(name=layer.name, dtype="float64")
    if kind.__name__ == "GetItem":
        return _get_some
    means = {layers.MaxPooling2D: layers.AveragePooling2D}
    means |= dict.fromkeys((layers.Maximum, layers.Minimum), layers.Average)
    kind = means.get(kind, kind)
    if (
        kind.__name__ not in _LINEAR
        or not kind.__module__.startswith("keras.")
        or config.get("data_format") == "channels_first"
        or config.get("interpolation", "nearest") not in ("nearest", "bilinear")
    ):
        raise _UnknownLayerError(kind.__name__)
    if not isinstance(layer, layers.Layer):
        return layer  # An operation, such as `keras.ops.pad`; it has neither weights nor a type.
    for name in config:
        if name in ("filters", "units", "groups"):
            config[name] = 1
        elif name == "activation" or name.endswith(("_constraint", "_regularizer")):
            config[name] = None
    return kind.from_config({**config, "dtype": "float64"})


def _sum(name: str, *values: Any) -> Any:
    """Adds what is no plain number."""
    from keras import layers

    tensors = [value for value in values if hasattr(value, "shape")]
    kind = layers.Add if len(tensors) > 1 else layers.Identity
    return kind(name=name, dtype="float64")(tensors if len(tensors) > 1 else tensors[0])


def _get_some(values: Any, key: Any) -> Any:
    """Takes what is asked for, or one channel where those asked for are among the left out."""
    some = values[key]
    return some if some.shape[-1] else values[..., :1]


def _support(model: Any, divisor: int, scale: int, side: int, axis: int) -> int:
    """Returns how far along one axis the output pixels in the middle of a strip see."""
    import tensorflow as tf

    width = -(-8 // divisor) * divisor  # A few pixels, so that they can be mirrored at the border.
    channels, *of_states = (each.shape[-1] for each in model.inputs)
    shape = [1, side if axis == 1 else width, side if axis == 2 else width, channels]
    strip = np.random.default_rng(0).uniform(0.5, 1.5, shape)
    middle = side // 2 // divisor * divisor
    outputs = middle * scale + np.arange(divisor * scale)  # All that may see differently far.
    reach = 0
    for some in np.split(outputs, range(16, len(outputs), 16)):  # Bounds memory.
        batch = tf.constant(strip.repeat(len(some), axis=0))
        with tf.GradientTape() as tape:
            tape.watch(batch)
            sides = [batch.shape[0], *(side // STATE_STRIDE for side in batch.shape[1:3])]
            # Of a past: with none, no frame is fused with it.
            states = [tf.ones((*sides, count), batch.dtype) for count in of_states]
            made = model([batch, *states] if states else batch, training=False)
            lines = tf.reduce_sum(made, axis=[3 - axis, 3])
            if lines.shape[1] != side * scale:
                raise ValueError(f"{lines.shape[1]} pixels: expected {side * scale}")
            total = tf.linalg.trace(tf.gather(lines, some, axis=1))  # One of each picture.
        gradient = tape.gradient(total, batch).numpy()
        if not np.isfinite(gradient).all():
            raise ValueError("values too large for float64")
        pictures, places = np.nonzero(np.any(gradient, axis=(3 - axis, 3)))
        reach = max(reach, int(np.abs(places - some[pictures] // scale).max(initial=0)))
    return reach


def measure_reach(
    run: Callable[[np.ndarray], np.ndarray],
    channels: int,
    divisor: int,
    scale: int,
    size: tuple[int, int] | None = None,
) -> int | None:
    """Measures the reach: changes one input pixel and looks which output pixels change.

    Args:
      run: (1, H, W, channels) float32 to (1, H * scale, W * scale, C').
      channels: Of the input.
      divisor: The pixel is tried at each place of its grid.
      scale: Output pixels per input pixel along each axis.
      size: (height, width) that `run` takes; any multiple of the divisor when left out.
    Returns:
      Pixels; None when the change reaches the border of the largest picture tried.
    """
    side = 64 + -64 % divisor
    while True:
        height, width = size or (side, side)
        # The border cuts off what lies beyond it: the reach is known only when it stays inside.
        border = (min(height, width) - 2 * divisor) // 2 - 1
        reach = _measure_at(run, channels, divisor, scale, height, width, border)
        if reach < border:
            return reach
        if size is not None or side >= 2 * MAX_REACH:
            return None
        side *= 2


# The reach that matters is measured at half of the half level that it allows, as no few pictures
# show all there is.
_NEAR_LEVEL = 0.25 / 255


def measure_effective_reach(
    run: Callable[[np.ndarray], np.ndarray],
    pictures: Sequence[np.ndarray],
    reach: int,
    divisor: int,
    scale: int,
) -> int:
    """Measures how much of the reach matters in 8 bits: cuts pictures, and looks what changes.

    Args:
      run: (1, H, W, C) float32 in [0, 1] to (1, H * scale, W * scale, C').
      pictures: Such as the network is made for, each (H, W, C) float32 in [0, 1].
      reach: How far it sees at most.
      divisor: Pictures are cut at its multiples.
      scale: Output pixels per input pixel along each axis.
    Returns:
      The least number of pixels from a cut on from which no output pixel changed by as much as a
      quarter of a level of 8 bits; at least 1, at most `reach`.
    """
    half = max(32, 2 * reach)
    half += -half % divisor
    near = 1
    for picture in pictures:
        top, left = (max(0, side - 2 * half) // 2 for side in picture.shape[:2])
        picture = picture[top : top + 2 * half, left : left + 2 * half]
        # At a multiple of the divisor, which every network of this kind takes.
        height, width = (side - side % divisor for side in picture.shape[:2])
        picture = np.ascontiguousarray(picture[np.newaxis, :height, :width])
        whole = run(picture) if height and width else None
        for axis in (1, 2):
            side = picture.shape[axis]
            for cut in {side // 4 // divisor * divisor, side // 2 // divisor * divisor} - {0}:
                kept = picture.take(range(cut, side), axis)
                expected = whole.take(range(cut * scale, whole.shape[axis]), axis)
                change = np.abs(run(np.ascontiguousarray(kept)) - expected)
                changed = change.max(axis=(0, 3 - axis, 3)) >= _NEAR_LEVEL
                near = max(near, int(np.flatnonzero(changed).max(initial=-1)) // scale + 1)
    return min(near, max(reach, 1))


def _measure_at(
    run: Callable[[np.ndarray], np.ndarray],
    channels: int,
    divisor: int,
    scale: int,
    height: int,
    width: int,
    border: int,
) -> int:
    """Returns the reach in pictures of one size, or at least `border` if it is as far as that."""
    random = np.random.default_rng(0)
    reach = 0
    for _ in range(2):
        image = random.random((1, height, width, channels), np.float32)
        before = run(image)
        # Smaller changes are the order of summation, which a fast convolution may alter.
        threshold = 1e-6 * max(1.0, float(np.abs(before).max()))
        for phase in range(divisor):
            row, column = (side // 2 // divisor * divisor + phase for side in (height, width))
            # Large steps of either sign: one alone may end in a relu or lose against a maximum.
            for step in (-8.0, -1.0, 1.0, 8.0):
                changed = image.copy()
                changed[0, row, column] += step
                difference = np.abs(run(changed) - before)[0].max(axis=-1)
                rows, columns = np.nonzero(difference > threshold)
                if len(rows):
                    reach = max(
                        reach,
                        int(np.abs(rows // scale - row).max()),
                        int(np.abs(columns // scale - column).max()),
                    )
                if reach >= border:
                    return reach
    return reach


def measure_divisor(
    run: Callable[[np.ndarray], np.ndarray],
    channels: int,
    scale: int,
    size: tuple[int, int] | None = None,
) -> int:
    """Measures by how many pixels a picture must move for its restored one to move along.

    Args:
      run: As for `measure_reach`; it pads to its divisor itself.
      channels: Of the input.
      scale: Output pixels per input pixel along each axis.
      size: (height, width) that `run` takes.
    Returns:
      The smallest power of two, up to 64, that the output follows.
    Raises:
      ValueError: if none does.
    """
    height, width = size or (256, 256)
    random = np.random.default_rng(0)
    image = random.random((1, height + 64, width + 64, channels), np.float32)
    first = run(image[:, :height, :width])[0]
    for divisor in (1, 2, 4, 8, 16, 32, 64):
        if divisor > min(height, width) // 4:
            break
        moved = run(np.ascontiguousarray(image[:, divisor:, divisor:][:, :height, :width]))[0]
        # A square in the middle, as small as a step: the borders reach least far there.
        top, left = (height // 2 - divisor) * scale, (width // 2 - divisor) * scale
        side, step = max(2, divisor) * scale, divisor * scale
        here = moved[top : top + side, left : left + side]
        there = first[top + step : top + step + side, left + step : left + step + side]
        if np.abs(here - there).max() <= 1e-5 * max(1.0, float(np.abs(first).max())):
            return divisor
    raise ValueError("the restored picture follows no move of up to 64 pixels")
