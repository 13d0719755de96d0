"""Weights of one network into another of the same kind: where training begins with --init."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

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
      of a shape that cannot be converted.
    """
    known = {weight.path: np.asarray(weight.numpy()) for weight in source.weights}
    left = []
    for layer in target.layers:
        # A convolution's kernel is (h, w, in, out), a transposed one's (h, w, out, in).
        input_axis = 3 if isinstance(layer, keras.layers.Conv2DTranspose) else 2
        for weight in layer.weights:
            value = known.get(weight.path)
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
