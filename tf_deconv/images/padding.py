"""Mirrored padding to a network's divisor: one rule for Keras, SavedModel and TFLite.

Row i of a padded picture of height H is row min(m, 2H - 1 - m) with m = i mod 2H: the edge pixel is
repeated first, and the rule holds for any size from 1 up, where REFLECT needs two pixels.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def pad_array(image: np.ndarray, divisor: int) -> np.ndarray:
    """Pads (N, H, W, C) below and to the right to multiples of `divisor`, in NumPy."""
    rows, columns = -image.shape[1] % divisor, -image.shape[2] % divisor
    return np.pad(image, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="symmetric")


def pad_tensor(image: tf.Tensor, divisor: int) -> tf.Tensor:
    """Pads (N, H, W, C) below and to the right to multiples of `divisor`, in a graph.

    Args:
      image: Any float tensor of rank 4 with a static channel count and H, W >= 1. Static sizes
        become slices and a concatenation, which every TFLite runtime has; dynamic ones a gather.
      divisor: At least 1.
    Returns:
      The padded tensor; static sizes stay static.
    """
    for axis in (1, 2):
        size = image.shape[axis]
        if size is None:
            size = tf.shape(image)[axis]
            # Not -size % divisor, which ONNX's converter rounds towards zero: 37 rows became 36.
            padded = (size + divisor - 1) // divisor * divisor
            # Not a conditional: a gather of all rows costs nothing beside a convolution.
            image = tf.gather(image, mirrored(tf.range(padded), size), axis=axis)
        elif size % divisor:
            rows = [mirrored(i, size) for i in range(size, size + -size % divisor)]
            image = tf.concat([image, *(_slice(image, axis, row) for row in rows)], axis=axis)
    return image


def _slice(image: tf.Tensor, axis: int, index: int) -> tf.Tensor:
    if axis == 1:
        return image[:, index : index + 1]
    return image[:, :, index : index + 1]


def mirror(image: tf.Tensor, count: int, axis: int) -> tf.Tensor:
    """Mirrors `count` rows or columns onto both ends; works for any size, unlike `tf.pad`."""
    size = tf.shape(image)[axis]
    return tf.gather(image, mirrored(tf.range(-count, size + count), size), axis=axis)


def mirrored(index, size):
    """Returns the row that stands at `index` of an endlessly mirrored axis; ints or tensors."""
    within = index % (2 * size)
    other = 2 * size - 1 - within
    if isinstance(index, int):
        return min(within, other)
    return tf.minimum(within, other)
