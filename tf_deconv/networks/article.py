"""The article's deconvolutional network, with every shape that it declares made true.

docs/article.md shows the article's program beside this one and tells what each line became.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

DIVISOR = 2


def build_article(
    height: int | None = 28,
    width: int | None = 28,
    channels_in: int = 1,
    channels_out: int = 3,
    scale: int = 1,
) -> keras.Model:
    """Builds convolution, max-pooling, transposed convolution, convolution, transposed, dense.

    Args:
      height: Pixels; None for any even height. An odd one is mirrored by a row and cropped again.
      width: Likewise.
      channels_in: Channels of the input, 1 for grey.
      channels_out: Channels of the output, 3 for colour.
      scale: Output pixels per input pixel along each axis, 1 in the article. The last transposed
        convolution takes it as its stride, with a kernel of a multiple of it.
    Returns:
      A functional model, (N, height, width, channels_in) float32 in [0, 1] to
      (N, height * scale, width * scale, channels_out) float32 in [0, 1].
    Raises:
      ValueError: if a size or channel count is not a positive integer.
    """
    for name, value in dict(height=height, width=width).items():
        if value is not None and (type(value) is not int or value < 1):
            raise ValueError(f"{name}={value!r}: expected a positive integer, or None for any")
    for name, value in dict(
        channels_in=channels_in, channels_out=channels_out, scale=scale
    ).items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}={value!r}: expected a positive integer")

    image = keras.Input((height, width, channels_in), name="image", dtype="float32")
    x = _pad_to_even(image, height, width)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="encoder_conv")(x)
    x = layers.MaxPooling2D(2, name="encoder_pool")(x)  # (N, H/2, W/2, 32)
    x = layers.Conv2DTranspose(
        64, 4, strides=2, padding="same", activation="relu", name="decoder_1_deconv"
    )(x)  # (N, H, W, 64)
    x = layers.Conv2D(64, 3, padding="same", activation="relu", name="decoder_1_conv")(x)
    x = layers.Conv2DTranspose(
        channels_out,
        4 if scale == 1 else 2 * scale,
        strides=scale,
        padding="same",
        activation="relu",
        bias_initializer=keras.initializers.Constant(1.0),
        name="decoder_2_deconv",
    )(x)  # (N, H * scale, W * scale, C')
    # The article's dense layer works on the last axis: a 1x1 convolution is the same function and
    # spares TFLite a RESHAPE. float32 under mixed precision, so that no picture has only 8 bits.
    dense = layers.Conv2D(
        channels_out,
        1,
        activation="sigmoid",
        bias_initializer=keras.initializers.Constant(-4.0),
        dtype="float32",
        name="dense",
    )
    x = dense(x)
    restored = _crop_to(x, height, width, scale)
    # A relu before so few channels can die for good and leave the picture flat: with Keras's
    # default weights, 3 of 3 seeds did. Starting as sigmoid(4 x - 4) of channels around 1 (slope 1
    # at grey 0.5) makes the output follow them from the first step: test_learning.py trains ten
    # seeds. Set here, for a custom initializer would bar other programs from loading the model.
    identity = 4.0 * np.eye(channels_out, dtype="float32")
    dense.kernel.assign(identity[np.newaxis, np.newaxis])
    return keras.Model(image, restored, name="article")


def _pad_to_even(x: keras.KerasTensor, height: int | None, width: int | None) -> keras.KerasTensor:
    """Repeats the last row and column of odd sizes: the mirror that the exported graphs use."""
    if height is not None and height % DIVISOR:
        x = ops.concatenate([x, x[:, -1:]], axis=1)
    if width is not None and width % DIVISOR:
        x = ops.concatenate([x, x[:, :, -1:]], axis=2)
    return x


def _crop_to(
    x: keras.KerasTensor, height: int | None, width: int | None, scale: int
) -> keras.KerasTensor:
    rows = height % DIVISOR * scale if height is not None else 0
    columns = width % DIVISOR * scale if width is not None else 0
    if rows or columns:
        x = layers.Cropping2D(((0, rows), (0, columns)), name="crop")(x)
    return x
