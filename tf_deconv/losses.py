"""Training losses by name, which refuse shapes that differ, and the PSNR that validation watches.

Keras broadcasts: the mean squared error of a 3-channel output against a 1-channel picture is a
number, and it is the article's third fault (docs/article.md). Only `keras.ops`, so that every Keras
backend trains with them.
"""

from __future__ import annotations

import keras
from keras import ops


class PixelLoss(keras.losses.Loss):
    """A per-pixel loss between (N, H, W, C) images of exactly equal shape.

    Args:
      name: A key of `PIXEL_ERRORS`.
    """

    def __init__(self, name: str = "mse", **kwargs):
        super().__init__(name=name, **kwargs)
        self.error = PIXEL_ERRORS[name]

    def call(self, y_true, y_pred):
        if len(y_true.shape) != len(y_pred.shape) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(y_true.shape, y_pred.shape)
        ):
            raise ValueError(
                f"the target is {tuple(y_true.shape)} and the output {tuple(y_pred.shape)}:"
                " expected equal shapes; they would broadcast silently"
            )
        return ops.mean(self.error(ops.cast(y_true, "float32") - ops.cast(y_pred, "float32")), -1)

    def get_config(self):
        config = super().get_config()
        config.pop("fn", None)
        return config


PIXEL_ERRORS = {
    "mse": ops.square,
    "l1": ops.abs,
    # Charbonnier et al. 1994; epsilon 1e-3 as in Lai et al. 2017 (LapSRN).
    "charbonnier": lambda error: ops.sqrt(ops.square(error) + 1e-6),
}


class Psnr(keras.metrics.Metric):
    """Mean over images of PSNR in decibels, data range 1, predictions clipped to [0, 1]."""

    def __init__(self, name: str = "psnr", **kwargs):
        super().__init__(name=name, dtype="float32", **kwargs)
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.cast(y_true, "float32")
        y_pred = ops.clip(ops.cast(y_pred, "float32"), 0.0, 1.0)
        error = ops.mean(ops.square(y_true - y_pred), axis=(1, 2, 3))
        # 1e-10 is 100 dB: a perfect patch must not make the mean infinite.
        decibels = -10.0 * ops.log10(ops.maximum(error, 1e-10))
        self.total.assign_add(ops.sum(decibels))
        self.count.assign_add(ops.cast(ops.shape(error)[0], "float32"))

    def result(self):
        return self.total / ops.maximum(self.count, 1.0)
