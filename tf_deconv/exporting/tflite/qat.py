"""Quantisation-aware fine-tuning: weights that lose less when int8 rounds them and what they make.

The network is copied with every weight and every layer's result rounded as int8 will round it
(Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"), and trained a little longer on what its run was trained on.
Where those pictures are not at hand any more, it is trained to give the float network's picture of
the few calibration patches that the run kept. `quantize` calibrates and converts the result like
any other network. It is for results in ranges that calibration fixed; where ranges are found while
a file runs there is nothing to win.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from tf_deconv.data import patches as patch_data
from tf_deconv.data.sources import load_source
from tf_deconv.degradations.tasks import find_task
from tf_deconv.exporting.tflite import quantize
from tf_deconv.images import arrays
from tf_deconv.inference import run_folder
from tf_deconv.training import losses
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.options import UserError, read_config

STEPS, BATCH_SIZE, PATCH_SIZE, LEARNING_RATE = 2000, 16, 64, 2e-4
# On a few patches of one network's pictures more would be learned by heart.
STEPS_WITHOUT_DATA = 400
VALIDATION_PATCHES = 256
# A part of each calibration picture tells the ranges; larger parts would fill the memory.
RANGE_SIDE_PX = 128


@dataclasses.dataclass(frozen=True)
class TuningData:
    """What a copy is trained and judged on.

    Attributes:
      training: Endless batches of (degraded, wanted).
      validation: Batches of (degraded, wanted); the same ones each time.
      loss: What training minimises.
      steps: How many batches are trained on.
      wanted: What a score is against, in words.
    """

    training: tf.data.Dataset
    validation: tf.data.Dataset
    loss: keras.losses.Loss
    steps: int
    wanted: str


def data_of_run(folder: pathlib.Path, data_sha256: str | None) -> TuningData:
    """Opens the pictures that a run was trained on.

    Args:
      folder: The run.
      data_sha256: Of its training pictures.
    Returns:
      Patches degraded as in training, and clean ones.
    Raises:
      UserError: if they are not there, are others by now, or have no clean ones.
    """
    if not (folder / run_folder.CONFIG_FILE).is_file():
        raise UserError("there is no run beside the model")
    config = TrainConfig(**read_config(folder / run_folder.CONFIG_FILE, TrainConfig))
    task = find_task(config.task, config.degrade, config.self_supervised)
    if task.blind_spots:
        raise UserError("the run had no clean pictures")
    source = load_source(
        config.data,
        config.patch_size,
        config.validation_fraction,
        targets=config.targets,
        shrink=config.shrink,
        max_pixels=config.max_pixels,
        value_range=config.range,
    )
    if source.training.sha256() != data_sha256:
        raise UserError(f"the pictures at {config.data!r} are not those of the run")
    how = dict(patch_size=config.patch_size, batch_size=config.batch_size, seed=config.seed)
    training = patch_data.training_data(
        source.training,
        task,
        steps_per_epoch=STEPS,
        # What training has seen is over: other patches, other noise.
        first_epoch=config.epochs,
        candidates=config.candidates,
        brightness=config.brightness,
        **how,
    )
    validation = patch_data.validation_data(
        source.validation, task, count=VALIDATION_PATCHES, **how
    )
    loss = losses.make_loss(config.loss)
    return TuningData(training, validation, loss, STEPS, "clean held-out patches")


def data_of_patches(
    model: keras.Model, calibration: np.ndarray, divisor: int, seed: int = 0
) -> TuningData:
    """Makes a network's own pictures of calibration patches what is wanted.

    Args:
      model: As for `fine_tune`.
      calibration: Likewise.
      divisor: The network's.
      seed: Of the patches.
    """
    side = min(PATCH_SIZE, *calibration.shape[1:3]) // divisor * divisor
    patches = _patches(calibration, side, BATCH_SIZE * 32, seed)
    targets = model.predict(patches, batch_size=BATCH_SIZE, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((patches, targets)).batch(BATCH_SIZE)
    loss = losses.make_loss("mse")
    return TuningData(batches.repeat(), batches, loss, STEPS_WITHOUT_DATA, "the float network")


def fine_tune(
    model: keras.Model,
    calibration: np.ndarray,
    tuning: TuningData,
    *,
    divisor: int,
    report: Callable[[str], None] = print,
) -> keras.Model:
    """Fine-tunes a copy of a network for int8.

    Args:
      model: A float32 functional model of convolutions, transposed ones and layers without weights.
      calibration: (count, H, W, C) float32 in [0, 1], pictures as the network receives them; they
        decide the ranges that results are rounded in.
      tuning: What to train on.
      divisor: The network's.
      report: Receives lines for the user.
    Returns:
      A float32 model of the same architecture, whose weights bear being rounded.
    """
    side = min(RANGE_SIDE_PX, *calibration.shape[1:3]) // divisor * divisor
    student = _rounded_copy(model, calibration[:, :side, :side])
    student.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, tuning.steps)),
        loss=tuning.loss,
        metrics=[losses.Psnr()],
        jit_compile=False,
    )

    def score() -> float:
        return student.evaluate(tuning.validation, verbose=0, return_dict=True)["psnr"]

    before = score()
    student.fit(tuning.training, steps_per_epoch=tuning.steps, shuffle=False, verbose=0)
    after = score()
    report(
        f"quantisation-aware fine-tuning: {tuning.steps} steps, from {before:.2f} to {after:.2f} dB"
        f" against {tuning.wanted}"
    )
    tuned = keras.models.clone_model(model)
    _copy_weights(student if after > before else model, tuned)
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


def _rounded_copy(model: keras.Model, patches: np.ndarray) -> keras.Model:
    inner = [layer for layer in model.layers if not isinstance(layer, layers.InputLayer)]
    single = [layer for layer in inner if isinstance(layer.output, keras.KerasTensor)]
    results = keras.Model(model.input, [layer.output for layer in single]).predict(
        patches, batch_size=BATCH_SIZE, verbose=0
    )
    ranges = {
        layer.name: quantize.best_range(quantize.thinned(values))
        for layer, values in zip(single, results)
    }

    def clone(layer):
        return _ROUNDED.get(type(layer), type(layer)).from_config(layer.get_config())

    def call(layer, *args, **kwargs):
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
        patch[...] = arrays.oriented(view, 4 * rng.integers(2) + rng.integers(4))
    return patches
