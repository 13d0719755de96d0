"""A convolutional variational autoencoder whose decoder is transposed convolutions.

Kernels are twice as large as their stride, so that every output pixel is made of as many inputs:
no checkerboard (Odena et al. 2016). Reference: Kingma and Welling 2014, "Auto-Encoding Variational
Bayes".
"""

from __future__ import annotations

import keras
from keras import layers, ops

from tf_deconv.networks.conditioning import check_shape, label_embedding

FILTERS, LATENT, DIVISOR = (32, 64), 32, 4
# Log-variances of the posterior stay within this of 0: exp of more leaves float16 and int8.
_LARGEST_LOG_VARIANCE = 10.0


def build_vae(
    height: int = 28,
    width: int = 28,
    channels: int = 1,
    classes: int = 0,
    *,
    parameters: int = 1,
    latent: int = LATENT,
    filters: tuple[int, ...] = FILTERS,
) -> keras.Model:
    """Builds encoder and decoder.

    Args:
      height: Pixels, a multiple of 2 to the number of `filters`.
      width: Likewise.
      channels: 1 or 3.
      classes: Number of classes that pictures have labels of; 0 for none.
      parameters: Numbers that the likelihood takes for each pixel and channel.
      latent: Numbers in a latent.
      filters: Filters of each level, from the finest down.
    Returns:
      A functional model of two, its layers `encoder` and `decoder`: {"image": (N, height, width,
      channels) float32 in [0, 1], "noise": (N, latent) standard normal[, "label": (N,) int32]} to
      {"output": (N, height, width, parameters * channels), "mean" and "log_variance": (N, latent)}.
      `encoder` gives (N, 2 * latent), means first; `decoder` takes (N, latent)[, label].
    Raises:
      ValueError: if a size or count is not allowed.
    """
    check_shape(height, width, channels, classes, 2 ** len(filters), filters)
    if type(latent) is not int or latent < 1:
        raise ValueError(f"latent={latent!r}: expected a positive integer")
    encoder = _build_encoder(height, width, channels, classes, latent, filters)
    decoder = _build_decoder(height, width, parameters * channels, classes, latent, filters)
    image = keras.Input((height, width, channels), name="image", dtype="float32")
    noise = keras.Input((latent,), name="noise", dtype="float32")
    label = keras.Input((), name="label", dtype="int32") if classes else None
    posterior = encoder([image, label] if classes else image)
    mean, log_variance = posterior[:, :latent], posterior[:, latent:]
    z = mean + ops.exp(0.5 * log_variance) * noise
    output = decoder([z, label] if classes else z)
    inputs = {"image": image, "noise": noise} | ({"label": label} if classes else {})
    outputs = {"output": output, "mean": mean, "log_variance": log_variance}
    return keras.Model(inputs, outputs, name="vae")


def _build_encoder(height, width, channels, classes, latent, filters):
    image = keras.Input((height, width, channels), name="image", dtype="float32")
    x = layers.Conv2D(filters[0], 3, padding="same", activation="relu", name="head")(image)
    for level, count in enumerate(filters, start=1):
        x = _conv(x, count, 4, f"encoder_{level}_down", strides=2)  # Half of either side.
        x = _block(x, f"encoder_{level}_block")
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(8 * latent, activation="relu", name="summary")(x)
    inputs = image
    if classes:
        label = keras.Input((), name="label", dtype="int32")
        inputs = [image, label]
        embedding = label_embedding(label, classes, 8 * latent, "encoder_label")
        x = layers.Add(name="summary_of_class")([x, embedding])
    mean = layers.Dense(latent, dtype="float32", name="posterior_mean")(x)
    spread = layers.Dense(latent, dtype="float32", name="posterior_log_variance")(x)
    spread = _LARGEST_LOG_VARIANCE * ops.tanh(spread / _LARGEST_LOG_VARIANCE)
    posterior = layers.Concatenate(dtype="float32", name="posterior")([mean, spread])
    return keras.Model(inputs, posterior, name="encoder")


def _build_decoder(height, width, channels_out, classes, latent, filters):
    z = keras.Input((latent,), name="latent", dtype="float32")
    side = 2 ** len(filters)
    rows, columns, deepest = height // side, width // side, filters[-1]
    x = layers.Dense(rows * columns * deepest, name="spread")(z)
    inputs = z
    if classes:
        label = keras.Input((), name="label", dtype="int32")
        inputs = [z, label]
        embedding = label_embedding(label, classes, rows * columns * deepest, "decoder_label")
        x = layers.Add(name="spread_of_class")([x, embedding])
    x = layers.ReLU(name="spread_relu")(x)
    x = layers.Reshape((rows, columns, deepest), name="grid")(x)
    for level in range(len(filters), 0, -1):
        x = _block(x, f"decoder_{level}_block")
        x = layers.Conv2DTranspose(
            filters[max(0, level - 2)],
            4,
            strides=2,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"decoder_{level}_deconv",
        )(x)  # Twice either side.
    output = layers.Conv2D(channels_out, 3, padding="same", dtype="float32", name="tail")(x)
    return keras.Model(inputs, output, name="decoder")


def _conv(x, filters: int, kernel_size: int, name: str, **options):
    options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"} | options
    return layers.Conv2D(filters, kernel_size, name=name, **options)(x)


def _block(x, name: str):
    inside = _conv(x, x.shape[-1], 3, f"{name}_conv_1")
    inside = _conv(
        inside, x.shape[-1], 3, f"{name}_conv_2", activation=None, kernel_initializer="zeros"
    )
    return layers.Add(name=f"{name}_add")([x, inside])
