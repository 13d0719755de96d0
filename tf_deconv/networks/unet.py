"""A bias-free residual U-Net whose way up is transposed convolutions of kernel = stride.

After DRUNet (Zhang et al. 2021, "Plug-and-Play Image Restoration with Deep Denoiser Prior"):
residual blocks without normalisation, strided 2x2 convolutions down, transposed ones up, skips that
are added. A kernel as large as its stride gives every output pixel exactly one input pixel per
weight: there is no uneven overlap, hence no checkerboard (Odena et al. 2016).
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

DIVISOR = 4
# Filters of each level, from full resolution down, and residual blocks on each side of it.
SIZES = {
    "tiny": ((8, 8, 16), 1),
    "small": ((16, 32, 48), 1),
    "base": ((32, 64, 128), 2),
}


def build_unet(
    height: int | None = None,
    width: int | None = None,
    channels_in: int = 3,
    channels_out: int = 3,
    scale: int = 1,
    size: str = "small",
) -> keras.Model:
    """Builds head, levels down, levels up, tail; the input is added to what comes out.

    Without biases the network is positively homogeneous, f(a x) = a f(x) for a > 0, so it works at
    noise levels it was not trained at (Mohan et al. 2020).

    Args:
      height: Pixels, a multiple of 4; None for any.
      width: Likewise.
      channels_in: Channels of the input.
      channels_out: Channels of the output.
      scale: Output pixels per input pixel along each axis; the tail is then a transposed
        convolution.
      size: Key of `SIZES`: about 11 thousand, 100 thousand and 1 million weights.
    Returns:
      A functional model, (N, height, width, channels_in) float32 in [0, 1] to
      (N, height * scale, width * scale, channels_out) float32; the output is not clipped.
    Raises:
      ValueError: if a size or channel count is not allowed; the output has as many channels as the
        input, one less (the last one is a mask then), or any number where the input has one.
    """
    for name, value in dict(height=height, width=width).items():
        if value is not None and (type(value) is not int or value < 1 or value % DIVISOR):
            raise ValueError(f"{name}={value!r}: expected a multiple of {DIVISOR}, or None for any")
    counts = dict(channels_in=channels_in, channels_out=channels_out, scale=scale)
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}={value!r}: expected a positive integer")
    if channels_in not in (1, channels_out, channels_out + 1):
        raise ValueError(
            f"channels_in={channels_in} and channels_out={channels_out}: expected equal numbers,"
            " one more in (a mask), or 1 in"
        )
    if size not in SIZES:
        raise ValueError(f"size={size!r}: expected one of {', '.join(SIZES)}")
    filters, blocks = SIZES[size]

    image = keras.Input((height, width, channels_in), name="image", dtype="float32")
    x = _conv(filters[0], 3, "head")(image)
    skips = []
    for level, wider in enumerate(filters[1:], start=1):
        for block in range(blocks):
            x = _residual_block(x, filters[level - 1], f"encoder_{level}_block_{block + 1}")
        skips.append(x)
        x = _conv(wider, 2, f"encoder_{level}_down", strides=2)(x)  # (N, H/2^level, ..., wider)
    for block in range(blocks):
        x = _residual_block(x, filters[-1], f"bottom_block_{block + 1}")
    for level in range(len(filters) - 1, 0, -1):
        x = layers.Conv2DTranspose(
            filters[level - 1], 2, strides=2, use_bias=False, name=f"decoder_{level}_deconv"
        )(x)  # (N, H/2^(level-1), ..., filters[level-1])
        x = layers.Add(name=f"decoder_{level}_skip")([x, skips[level - 1]])
        for block in range(blocks):
            x = _residual_block(x, filters[level - 1], f"decoder_{level}_block_{block + 1}")

    # Zeros: training begins at the input itself, from which every task of this kind starts.
    kinds = dict(use_bias=False, kernel_initializer="zeros")
    if scale == 1:
        x = layers.Conv2D(channels_out, 3, padding="same", name="tail", **kinds)(x)
    else:
        x = layers.Conv2DTranspose(channels_out, scale, strides=scale, name="tail_deconv", **kinds)(
            x
        )  # (N, H * scale, W * scale, C')
    # float32 under mixed precision, so that no picture has only 8 bits.
    base = _base(image, channels_out, scale)
    restored = layers.Add(dtype="float32", name="restored")([base, x])
    return keras.Model(image, restored, name="unet")


def _conv(filters: int, kernel_size: int, name: str, strides: int = 1, **options):
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
        **options,
    )


def _residual_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    inside = _conv(filters, 3, f"{name}_conv_1", activation="relu")(x)
    inside = _conv(filters, 3, f"{name}_conv_2")(inside)
    return layers.Add(name=f"{name}_add")([x, inside])


def _base(image: keras.KerasTensor, channels_out: int, scale: int) -> keras.KerasTensor:
    """Returns what the network corrects: the input with the output's channels and size."""
    channels_in = image.shape[-1]
    if channels_in == channels_out + 1:  # The last one is a mask.
        image = image[..., :channels_out]
    elif channels_in == 1 < channels_out:
        image = layers.Concatenate(dtype="float32", name="grey_repeated")([image] * channels_out)
    if scale > 1:
        # Repeated and averaged: bilinear at x3, nearly so at x2 and x4. Keras's own bilinear layer
        # cannot be exported for pictures of any size, and TFLite has no bicubic at all.
        image = _repeated(image, scale)
        side = scale + 1 - scale % 2
        image = layers.AveragePooling2D(
            side, strides=1, padding="same", dtype="float32", name="enlarged"
        )(image)
    return image


def _repeated(image: keras.KerasTensor, scale: int) -> keras.KerasTensor:
    """Repeats each pixel by a transposed convolution of ones that is not trained.

    `UpSampling2D` becomes operators of five axes in TFLite, which GPU delegates do not have.
    """
    channels = image.shape[-1]
    repeat = layers.Conv2DTranspose(
        channels,
        scale,
        strides=scale,
        use_bias=False,
        trainable=False,
        dtype="float32",
        name="repeated",
    )
    repeated = repeat(image)  # (N, H * scale, W * scale, C)
    repeat.set_weights(
        [np.broadcast_to(np.eye(channels, dtype="f"), (scale, scale) + (channels,) * 2)]
    )
    return repeated
