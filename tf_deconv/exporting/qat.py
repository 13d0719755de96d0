"""Quantisation-aware fine-tuning: weights that lose less when int8 rounds them and what they make.

The network is copied with every weight and every layer's result rounded as int8 will round it
(Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"), and trained to give the picture of the float network on the
run's own calibration pictures. No clean picture is needed, so an export still needs nothing but
its run. `quantize` calibrates and converts the result like any other network. What stays in float
there is not rounded here: sums, and convolutions that touch the picture for little work.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops

from tf_deconv import complexity
from tf_deconv.exporting import quantize
from tf_deconv.variants import PICTURE_CHANNELS

STEPS, BATCH_SIZE, PATCH_SIZE, LEARNING_RATE = 400, 16, 64, 2e-4


def fine_tune(
    model: keras.Model,
    calibration: np.ndarray,
    *,
    divisor: int,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[str], None] = print,
) -> keras.Model:
    """Fine-tunes a copy of a network for int8.

    Args:
      model: A float32 functional model of convolutions, transposed ones and layers without weights.
      calibration: (count, H, W, C) float32 in [0, 1], pictures as the network receives them.
      divisor: The network's.
      seed: Of the patches.
      steps: Training steps.
      report: Receives lines for the user.
    Returns:
      A float32 model of the same architecture, whose weights bear being rounded.
    """
    side = min(PATCH_SIZE, *calibration.shape[1:3]) // divisor * divisor
    patches = _patches(calibration, side, BATCH_SIZE * 32, seed)
    targets = model.predict(patches, batch_size=BATCH_SIZE, verbose=0)
    student = _rounded_copy(model, patches[: 4 * BATCH_SIZE])
    student.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss="mse",
        jit_compile=False,
    )
    before = student.evaluate(patches, targets, batch_size=BATCH_SIZE, verbose=0)
    epochs = max(1, round(steps * BATCH_SIZE / len(patches)))
    student.fit(patches, targets, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    after = student.evaluate(patches, targets, batch_size=BATCH_SIZE, verbose=0)
    report(
        f"quantisation-aware fine-tuning: {steps} steps, from {_decibels(before):.1f} to"
        f" {_decibels(after):.1f} dB against the float network"
    )
    tuned = keras.models.clone_model(model)
    _copy_weights(student if after < before else model, tuned)
    return tuned


class _RoundedConv2D(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, _rounded(kernel, channel_axis=3))


class _RoundedConv2DTranspose(layers.Conv2DTranspose):
    def call(self, inputs):
        outputs = ops.conv_transpose(
            inputs,
            _rounded(self.kernel, channel_axis=2),
            strides=list(self.strides),
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            outputs = ops.add(outputs, ops.reshape(self.bias, (1, 1, 1, self.filters)))
        return outputs if self.activation is None else self.activation(outputs)


class _Rounding(layers.Layer):
    """Rounds to the 256 levels of a range."""

    def __init__(self, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, x):
        return keras.quantizers.fake_quant_with_min_max_vars(x, self.low, self.high, num_bits=8)


_ROUNDED = {layers.Conv2D: _RoundedConv2D, layers.Conv2DTranspose: _RoundedConv2DTranspose}


def _rounded(kernel, channel_axis: int):
    """Rounds a kernel as int8 from -127 to 127, each output channel by its own largest weight."""
    axes = [axis for axis in range(4) if axis != channel_axis]
    largest = ops.stop_gradient(ops.max(ops.abs(kernel), axis=axes))
    largest = ops.maximum(largest, 1e-6)
    return keras.quantizers.fake_quant_with_min_max_vars(
        kernel, -largest, largest, num_bits=8, narrow_range=True, axis=channel_axis
    )


def float_layers(model: keras.Model) -> set[str]:
    """Returns the names of layers that `quantize` leaves in float in the variant int8."""
    work = complexity.multiply_adds_of_layers(model) or {}
    total = sum(work.values())
    names = {layer.name for layer in model.layers if isinstance(layer, layers.Add)}
    for layer in model.layers if names else ():
        if isinstance(layer, tuple(_ROUNDED)):
            channels = min(layer.input.shape[-1], layer.output.shape[-1])
            small = work.get(layer.name, total) <= quantize.PICTURE_SHARE * total
            if channels <= PICTURE_CHANNELS and small:
                names.add(layer.name)
    return names


def _rounded_copy(model: keras.Model, patches: np.ndarray) -> keras.Model:
    in_float = float_layers(model)
    inner = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    single = [layer for layer in inner if isinstance(layer.output, keras.KerasTensor)]
    results = keras.Model(model.input, [layer.output for layer in single]).predict(
        patches, batch_size=BATCH_SIZE, verbose=0
    )
    ranges = {
        layer.name: quantize.best_range(quantize.thinned(values))
        for layer, values in zip(single, results)
    }

    made_by = {id(layer.output): layer.name for layer in single}

    def clone(layer):
        kind = type(layer) if layer.name in in_float else _ROUNDED.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    def call(layer, *args, **kwargs):
        if layer.name in in_float:
            return layer(*args, **kwargs)
        maker = made_by.get(id(getattr(model.get_layer(layer.name), "input", None)))
        if maker in in_float and maker in ranges:
            # A sum goes on in float, and is rounded for who computes in int8.
            name = f"{maker}_for_{layer.name}"
            args = (_Rounding(*ranges[maker], name=name)(args[0]), *args[1:])
        result = layer(*args, **kwargs)
        if layer.name not in ranges:
            return result
        return _Rounding(*ranges[layer.name], name=f"{layer.name}_rounded")(result)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    _copy_weights(model, copy)
    return copy


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copies by the names of layers: those of a copy that rounds lie in another order."""
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(source.get_layer(layer.name).get_weights())


def _patches(pictures: np.ndarray, side: int, count: int, seed: int) -> np.ndarray:
    """Cuts patches at random places, turned and mirrored at random."""
    rng = np.random.default_rng(seed)
    patches = np.empty((count, side, side, pictures.shape[-1]), np.float32)
    for patch in patches:
        picture = pictures[rng.integers(len(pictures))]
        top, left = (rng.integers(0, size - side + 1) for size in picture.shape[:2])
        view = picture[top : top + side, left : left + side]
        view = view[:, ::-1] if rng.integers(2) else view
        patch[...] = np.rot90(view, rng.integers(4))
    return patches


def _decibels(error: float) -> float:
    return -10 * float(np.log10(max(error, 1e-20)))
