"""Forward operators y = A(x) + n: what happened to the picture that a network restores.

Images are float32 (H, W, C) in [0, 1], one at a time; every random operator is a pure function of
its arguments and a seed, so a tf.data pipeline may run it in parallel and still repeat itself
(stateful `tf.random` in a parallel map does not). See docs/decisions/0002-degradations.md.
"""

from __future__ import annotations

import tensorflow as tf

from tf_deconv.images import LUMINANCE_WEIGHTS


def luminance(image: tf.Tensor) -> tf.Tensor:
    """Converts colour to grey.

    Args:
      image: (..., 3) float32 in [0, 1], R'G'B'.
    Returns:
      (..., 1) float32 in [0, 1].
    Reference: ITU-R BT.601-7, section 2.5.1.
    """
    red, green, blue = tf.unstack(image, axis=-1)
    of_red, of_green, of_blue = LUMINANCE_WEIGHTS
    return (of_red * red + of_green * green + of_blue * blue)[..., tf.newaxis]


def add_gaussian_noise(image: tf.Tensor, noise_stddev: float, seed: tf.Tensor) -> tf.Tensor:
    """Adds white Gaussian noise and clips to [0, 1], as a picture file would.

    Args:
      image: (H, W, C) float32 in [0, 1].
      noise_stddev: Standard deviation, as a fraction of the range [0, 1].
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    noise = tf.random.stateless_normal(tf.shape(image), seed)
    return tf.clip_by_value(image + noise_stddev * noise, 0.0, 1.0)
