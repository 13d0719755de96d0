"""A rectified flow's velocity network: this project's U-Net, with a time and a label as inputs.

Residual blocks without normalisation, strided convolutions down, transposed ones of kernel = stride
up, skips that are added, as in `unet`; each block is scaled and shifted by the time (and label).
References: Liu et al. 2023, "Flow Straight and Fast"; Lipman et al. 2023, "Flow Matching for
Generative Modeling".
"""

from __future__ import annotations

import keras
from keras import layers

from tf_deconv.networks.conditioning import check_shape, label_embedding, modulate, time_features

FILTERS, DIVISOR = (24, 64, 128), 4
_TIME_FEATURES, _EMBEDDING = 64, 128


def build_flow(
    height: int = 28,
    width: int = 28,
    channels: int = 1,
    classes: int = 0,
    *,
    filters: tuple[int, ...] = FILTERS,
) -> keras.Model:
    """Builds the network.

    Args:
      height: Pixels, a multiple of 2 to the number of levels less one: 4.
      width: Likewise.
      channels: 1 or 3.
      classes: Number of classes; 0 for a network without labels. The label `classes` means none,
        so that one network is both the conditional and the unconditional one (Ho and Salimans
        2022).
      filters: Filters of each level, from the finest down.
    Returns:
      A functional model, {"x": (N, height, width, channels) float32 between noise and picture,
      pictures in [-1, 1], "t": (N,) float32 from 0 (noise) to 1 (picture)[, "label": (N,)
      int32 from 0 to `classes`]} to the velocity (N, height, width, channels) float32.
    Raises:
      ValueError: if a size or count is not allowed.
    """
    check_shape(height, width, channels, classes, 2 ** (len(filters) - 1), filters)
    x = image = keras.Input((height, width, channels), name="x", dtype="float32")
    time = keras.Input((), name="t", dtype="float32")
    inputs = {"x": image, "t": time}
    embedding = time_features(time, _TIME_FEATURES, "time_features")
    embedding = layers.Dense(_EMBEDDING, activation="silu", name="time_dense")(embedding)
    if classes:
        inputs["label"] = label = keras.Input((), name="label", dtype="int32")
        known = label_embedding(label, classes + 1, _EMBEDDING, "label_embedding")
        embedding = layers.Add(name="time_and_label")([embedding, known])
    embedding = layers.Dense(_EMBEDDING, activation="silu", name="told")(embedding)

    x = _conv(x, filters[0], 3, "head")
    skips = []
    for level, wider in enumerate(filters[1:], start=1):
        x = _block(x, embedding, f"encoder_{level}_block")
        skips.append(x)
        x = _conv(x, wider, 2, f"encoder_{level}_down", strides=2)  # Half of either side.
    for number in (1, 2):
        x = _block(x, embedding, f"bottom_block_{number}")
    for level in range(len(filters) - 1, 0, -1):
        x = layers.Conv2DTranspose(
            filters[level - 1],
            2,
            strides=2,
            kernel_initializer="he_normal",
            name=f"decoder_{level}_deconv",
        )(x)  # Twice either side.
        x = layers.Add(name=f"decoder_{level}_skip")([x, skips[level - 1]])
        x = _block(x, embedding, f"decoder_{level}_block")
    x = layers.Activation("silu", name="tail_silu")(x)
    # float32 under mixed precision: errors of each step add up.
    velocity = layers.Conv2D(
        channels, 3, padding="same", kernel_initializer="zeros", dtype="float32", name="velocity"
    )(x)
    return keras.Model(inputs, velocity, name="flow")


def _conv(x, filters: int, kernel_size: int, name: str, **options):
    options = {"padding": "same", "kernel_initializer": "he_normal"} | options
    return layers.Conv2D(filters, kernel_size, name=name, **options)(x)


def _block(x, embedding, name: str):
    filters = x.shape[-1]
    inside = layers.Activation("silu", name=f"{name}_silu_1")(x)
    inside = _conv(inside, filters, 3, f"{name}_conv_1")
    inside = modulate(inside, embedding, name)
    inside = layers.Activation("silu", name=f"{name}_silu_2")(inside)
    inside = _conv(inside, filters, 3, f"{name}_conv_2", kernel_initializer="zeros")
    return layers.Add(name=f"{name}_add")([x, inside])
