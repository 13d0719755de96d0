"""Whole pictures through a Keras model, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_deconv.padding import pad_array


def restore_picture(model: Any, image: np.ndarray, divisor: int, scale: int = 1) -> np.ndarray:
    """Restores one picture.

    Args:
      model: A Keras model of images (N, H, W, C).
      image: (H, W, C) float32 in [0, 1], H and W >= 1.
      divisor: The network's; the picture is mirrored up to a multiple and cropped again.
      scale: The network's output pixels per input pixel.
    Returns:
      (H * scale, W * scale, C') float32.
    """
    import keras

    height, width = image.shape[0] * scale, image.shape[1] * scale
    padded = pad_array(image[np.newaxis], divisor)
    restored = keras.ops.convert_to_numpy(model(padded, training=False))
    return restored[0, :height, :width]


def infer_scale(model: Any) -> int:
    """Measures how many output pixels a fully convolutional model makes per input pixel."""
    import keras

    probe = np.zeros((1, 64, 64, model.input_shape[-1]), np.float32)
    return keras.ops.shape(model(probe, training=False))[1] // 64


def infer_divisor(model: Any, scale: int) -> int:
    """Measures which sizes a model maps to exactly `scale` times themselves.

    Returns:
      The smallest power of two, up to 64, whose odd multiples pass.
    Raises:
      ValueError: if none does.
    """
    import keras

    for divisor in (1, 2, 4, 8, 16, 32, 64):
        size = 3 * divisor
        probe = np.zeros((1, size, size, model.input_shape[-1]), np.float32)
        try:
            shape = keras.ops.shape(model(probe, training=False))
        except Exception:  # A skip connection that does not fit raises whatever the backend likes.
            continue
        if tuple(shape[1:3]) == (size * scale, size * scale):
            return divisor
    raise ValueError("no size up to 192 pixels comes out at a whole multiple of itself")
