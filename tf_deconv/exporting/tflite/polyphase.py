"""Convolutions by phases: the same function in operators that fill a CPU's lanes.

CPU kernels compute 16 output channels at once (AVX-512; 4 to 8 elsewhere), and a network's last
convolution has 3 or 1. Taking each square of 2x2 output pixels as one pixel of four times the
channels fills those lanes: a kernel of k x k becomes one of (k + 1) x (k + 1) with stride 2, and
DEPTH_TO_SPACE lays the squares out. This is the polyphase form of a convolution, in both directions
of a transposed one of stride 1. Of a transposed one whose kernel is its stride it is a 1x1
convolution, and XNNPACK computes that in a tenth to two thirds of the time: its own way runs one
small product for each pixel of a square. Times are in benchmarks/README.md.

What enlarges a picture by repeating and averaging could be one convolution too. It is not: float16
holds no ninths, and that file would be 77 dB from Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tf_deconv.exporting.tflite.quantize import PICTURE_LAYER

# More channels than this fill the lanes as they are.
FEW_CHANNELS = 4


def by_phases(model: keras.Model) -> keras.Model:
    """Copies a model; what has a faster form by phases is computed in it.

    That is convolutions of stride 1 to few channels, and transposed ones whose kernel is their
    stride.

    Args:
      model: A float32 functional model.
    Returns:
      A model of the same function, for conversion only: where a map has odd or unknown sides,
      convolutions to few channels are computed as before.
    """

    def rewrite(layer: Any, own: Any) -> Any:
        if _has_few_channels(layer):
            return _Phased(own, name=_phased_name(layer))
        return _Squares(own, name=_phased_name(layer)) if _makes_squares(layer) else own

    return _copied(model, rewrite)


def without_transposed(model: keras.Model) -> keras.Model:
    """Copies a model; transposed convolutions of stride 1 are computed as plain ones.

    "Same" padding of an even kernel is one-sided there. OpenCV 4.14 and pnnx (for ncnn) refuse that
    of transposed convolutions, and take it of plain ones.

    Args:
      model: A float32 functional model.
    Returns:
      A model of the same function, for conversion only.
    """

    def rewrite(layer: Any, own: Any) -> Any:
        is_plain = type(layer) is layers.Conv2DTranspose and _keeps_size(layer)
        return _Turned(own, name=f"{layer.name}_turned") if is_plain else own

    return _copied(model, rewrite)


def _copied(model: keras.Model, rewrite: Callable[[Any, Any], Any]) -> keras.Model:
    """Copies a model with its weights; `rewrite` takes a layer and its copy, and may wrap that."""
    names = {}

    def clone(layer: Any) -> Any:
        made = rewrite(layer, layer.__class__.from_config(layer.get_config()))
        names[layer.name] = made.name
        return made

    copy = keras.models.clone_model(model, clone_function=clone)
    copies = {layer.name: layer for layer in copy.layers}
    for layer in model.layers:
        if layer.weights:
            copies[names[layer.name]].set_weights(layer.get_weights())
    return copy


def _phased_name(layer: Any) -> str:
    """Tells int8 that what comes out is a picture, which more channels hide."""
    of_picture = layer.filters <= FEW_CHANNELS
    return f"{layer.name}{PICTURE_LAYER if of_picture else ''}_phased"


def _has_few_channels(layer: Any) -> bool:
    return (
        type(layer) in (layers.Conv2D, layers.Conv2DTranspose)
        and layer.filters <= FEW_CHANNELS
        and _keeps_size(layer)
        and min(layer.kernel_size) > 1
    )


def _keeps_size(layer: Any) -> bool:
    """Whether a convolution gives a pixel for each that it gets."""
    return (
        set(layer.strides) == {1}
        and set(layer.dilation_rate) == {1}
        and layer.padding == "same"
        and getattr(layer, "groups", 1) == 1
    )


def _makes_squares(layer: Any) -> bool:
    """Whether each pixel becomes a square of its own."""
    return (
        type(layer) is layers.Conv2DTranspose
        and tuple(layer.kernel_size) == tuple(layer.strides)
        and len({*layer.strides}) == 1
        and layer.strides[0] > 1
        and set(layer.dilation_rate) == {1}
        and layer.output_padding is None
        and layer.data_format == "channels_last"
    )


class _Rewritten(layers.Layer):
    """A layer that computes what `plain` does in another way."""

    def __init__(self, plain: Any, **kwargs):
        super().__init__(**kwargs)
        self.plain = plain

    def build(self, shape):
        self.plain.build(shape)

    def compute_output_shape(self, shape):
        return self.plain.compute_output_shape(shape)


class _Phased(_Rewritten):
    """A convolution to few channels, a square of 2x2 pixels at a time."""

    def call(self, x):
        if None in x.shape[1:3] or x.shape[1] % 2 or x.shape[2] % 2:
            return self.plain(x)
        kernel, paddings = _as_convolution(self.plain)
        padded = tf.pad(x, paddings)
        shifted = [
            tf.pad(kernel, ((row, 1 - row), (column, 1 - column), (0, 0), (0, 0)))
            for row in (0, 1)
            for column in (0, 1)
        ]
        y = tf.nn.conv2d(padded, tf.concat(shifted, -1), 2, "VALID")
        return _laid_out(y, self.plain, 2)


class _Turned(_Rewritten):
    """A transposed convolution of stride 1, as a convolution."""

    def call(self, x):
        kernel, paddings = _as_convolution(self.plain)
        y = tf.nn.conv2d(x, kernel, 1, paddings)
        y = y + self.plain.bias if self.plain.use_bias else y
        return y if self.plain.activation is None else self.plain.activation(y)


def _as_convolution(plain: Any) -> tuple[tf.Tensor, tuple[tuple[int, int], ...]]:
    """Returns the kernel (h, w, in, out) and the padding of what keeps the size of its input."""
    kernel, before = tf.convert_to_tensor(plain.kernel), []
    for length in plain.kernel_size:
        # Where TensorFlow puts the odd one of padding: behind, so before a turned kernel.
        before.append((length - 1) // 2)
    if isinstance(plain, layers.Conv2DTranspose):
        # The adjoint of a convolution is one with the kernel turned: (h, w, out, in).
        kernel = tf.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
        before = [n - 1 - first for n, first in zip(plain.kernel_size, before)]
    after = [n - 1 - first for n, first in zip(plain.kernel_size, before)]
    return kernel, ((0, 0), *zip(before, after), (0, 0))


class _Squares(_Rewritten):
    """A transposed convolution whose kernel is its stride, as a 1x1 convolution."""

    def call(self, x):
        factor = self.plain.strides[0]
        # (h, w, out, in) to (in, h, w, out): a pixel's square row by row, as DEPTH_TO_SPACE has it.
        kernel = tf.transpose(tf.convert_to_tensor(self.plain.kernel), (3, 0, 1, 2))
        kernel = tf.reshape(kernel, (1, 1, x.shape[-1], factor**2 * self.plain.filters))
        return _laid_out(tf.nn.conv2d(x, kernel, 1, "VALID"), self.plain, factor)


def _laid_out(y: tf.Tensor, plain: Any, factor: int) -> tf.Tensor:
    """Adds the bias of every pixel of a square, activates and lays the squares out."""
    if plain.use_bias:
        y = y + tf.tile(plain.bias, [factor**2])
    if plain.activation is not None:
        y = plain.activation(y)
    return tf.nn.depth_to_space(y, factor)
