"""Training losses by name, which refuse shapes that differ, and the PSNR that validation watches.

Keras broadcasts: the mean squared error of a 3-channel output against a 1-channel picture is a
number, and it is the article's third fault (docs/article.md). Only `keras.ops`, so that every Keras
backend trains with them.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tf_deconv.images.arrays import LUMINANCE_WEIGHTS, STILL_LEVELS

# Of Wang et al. 2003: what each of the five scales weighs, and the constants of SSIM at range 1.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW_PX, _WINDOW_STDDEV = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
# Added to an image's squared error: of one that is right to less than a grey level there is nothing
# left to learn, and its logarithm would outweigh all others of a batch.
_PSNR_FLOOR = 1e-5
# What the colour differences count beside luminance.
COLOUR_WEIGHT = 0.25


def make_loss(name: str) -> keras.losses.Loss:
    """Returns a training loss by its name in `TrainConfig.loss`."""
    return JOINT[name]() if name in JOINT else PixelLoss(name)


class ImageLoss(keras.losses.Loss):
    """A loss between (N, H, W, C) images of exactly equal shape, in float32.

    Each frame of clips, (N, T, H, W, C), is an image.

    A subclass gives `compare(y_true, y_pred)`, of images that are known to fit.
    """

    def call(self, y_true, y_pred):
        if len(y_true.shape) != len(y_pred.shape) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(y_true.shape, y_pred.shape)
        ):
            raise ValueError(
                f"the target is {tuple(y_true.shape)} and the output {tuple(y_pred.shape)}:"
                " expected equal shapes; they would broadcast silently"
            )
        y_true, y_pred = (ops.cast(_frames(each), "float32") for each in (y_true, y_pred))
        return self.compare(y_true, y_pred)


class PixelLoss(ImageLoss):
    """A per-pixel loss.

    Args:
      name: A key of `PIXEL_ERRORS`.
    """

    def __init__(self, name: str = "mse", **kwargs):
        super().__init__(name=name, **kwargs)
        self.error = PIXEL_ERRORS[name]

    def compare(self, y_true, y_pred):
        return ops.mean(self.error(y_true - y_pred), -1)


PIXEL_ERRORS = {
    "mse": ops.square,
    "l1": ops.abs,
    # Charbonnier et al. 1994; epsilon 1e-3 as in Lai et al. 2017 (LapSRN).
    "charbonnier": lambda error: ops.sqrt(ops.square(error) + 1e-6),
}


class LuminanceLoss(ImageLoss):
    """The absolute error of luminance, plus a quarter of the squared one of colour differences.

    For networks that see grey and give colour. Most of a plain squared error is then of colours
    that cannot be known, and hides what brightness teaches. The squares make the mean of all
    possible colours the best one: no louder than what is known of it.

    Of (N, H, W, 3), red, green and blue, or of (N, H, W, 1), where it is the absolute error. The
    figures are in docs/decisions/0026-first-run.md.
    """

    def __init__(self, name: str = "luminance", **kwargs):
        super().__init__(name=name, **kwargs)

    def compare(self, y_true, y_pred):
        error = y_true - y_pred
        if error.shape[-1] == 1:
            return ops.abs(error[..., 0])
        weights = np.array(LUMINANCE_WEIGHTS, "float32")
        luminance = ops.sum(error * weights, -1, keepdims=True)
        colour = ops.mean(ops.square(error - luminance), -1)
        return ops.abs(luminance[..., 0]) + COLOUR_WEIGHT * colour


class MultiScaleSsimLoss(ImageLoss):
    """1 - MS-SSIM, over as many of the five scales as the images hold.

    A scale needs 11 pixels for its window, so five need 176; on smaller patches the weights of
    those that fit are stretched to sum to 1. Images under 11 pixels are refused.

    Reference: Wang, Simoncelli and Bovik 2003; equals 1 - tf.image.ssim_multiscale.
    """

    def __init__(self, name: str = "ms-ssim", **kwargs):
        super().__init__(name=name, **kwargs)

    def compare(self, y_true, y_pred):
        # Sizes are unknown while Keras builds symbolically; any number of scales will do there.
        side = min(size or _WINDOW_PX for size in y_true.shape[1:3])
        if side < _WINDOW_PX:
            raise ValueError(
                f"MS-SSIM of images of {side} pixels: expected at least {_WINDOW_PX}; use a larger"
                " patch_size or another loss"
            )
        scales = 1
        while scales < len(_SCALE_WEIGHTS) and side // 2**scales >= _WINDOW_PX:
            scales += 1
        weights = [w / sum(_SCALE_WEIGHTS[:scales]) for w in _SCALE_WEIGHTS[:scales]]
        product = 1.0
        for scale, weight in enumerate(weights):
            luminance, contrast = _ssim_terms(y_true, y_pred)
            term = luminance * contrast if scale == scales - 1 else contrast
            # Negative where structure is inverted; a power of it would be no number.
            product = product * ops.power(ops.maximum(ops.mean(term, (1, 2)), 1e-6), weight)
            if scale < scales - 1:
                y_true, y_pred = (
                    ops.average_pool(image, 2, padding="same") for image in (y_true, y_pred)
                )
        return 1.0 - ops.mean(product, -1)


class PsnrLoss(ImageLoss):
    """The negative PSNR of each image, in decibels, data range 1: -10 log10(MSE + 1e-5).

    A decibel counts the same at weak and at strong noise, where a pixel's error is several times as
    large. At most 50 dB; outputs are not clipped.

    Reference: the loss of HINet (Chen et al. 2021), with a larger addend.
    """

    def __init__(self, name: str = "psnr", **kwargs):
        super().__init__(name=name, **kwargs)

    def compare(self, y_true, y_pred):
        mse = ops.mean(ops.square(y_true - y_pred), (1, 2, 3))
        return 10.0 * ops.log10(mse + _PSNR_FLOOR)


class ClipLoss(keras.losses.Loss):
    """A loss of each frame, plus what flickers: both of clips (N, T, H, W, C) in [0, 1].

    What flickers is the absolute change of the error from one frame to the next, a mean over all
    pixels, of which those count where the clean clip stands still, as in `evaluation.flicker`.
    Where it moves, a network that kept the past would smear it.

    Args:
      loss: Of frames; as `make_loss` gives it.
      flicker: What a grey level of flicker weighs, beside one of the loss.
    """

    def __init__(self, loss: keras.losses.Loss, flicker: float, **kwargs):
        super().__init__(**{"name": loss.name} | kwargs)
        self.loss, self.flicker = loss, flicker

    def call(self, y_true, y_pred):
        total = ops.mean(self.loss.call(y_true, y_pred))
        if not self.flicker:
            return total
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        error = y_pred - y_true
        moved = ops.max(ops.abs(y_true[:, 1:] - y_true[:, :-1]), -1, keepdims=True)
        still = ops.cast(moved <= STILL_LEVELS, "float32")
        return total + self.flicker * ops.mean(ops.abs(error[:, 1:] - error[:, :-1]) * still)


# Losses that are more than a mean over single values.
JOINT = {"luminance": LuminanceLoss, "ms-ssim": MultiScaleSsimLoss, "psnr": PsnrLoss}


def _ssim_terms(x, y):
    """Returns the luminance and the contrast-structure term, (N, H - 10, W - 10, C) each."""
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    product = mean_x * mean_y
    squares = ops.square(mean_x) + ops.square(mean_y)
    covariance = _window_mean(x * y) - product
    variances = _window_mean(ops.square(x) + ops.square(y)) - squares
    luminance = (2.0 * product + _C1) / (squares + _C1)
    return luminance, (2.0 * covariance + _C2) / (variances + _C2)


def _window_mean(image):
    """Weighs (N, H, W, C) with the Gaussian window, without padding."""
    offsets = np.arange(_WINDOW_PX) - _WINDOW_PX // 2
    window = np.exp(-0.5 * (offsets / _WINDOW_STDDEV) ** 2)
    window = (window / window.sum()).astype("float32")
    channels = image.shape[-1]
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        kernel = ops.convert_to_tensor(np.repeat(window.reshape(shape), channels, 2))
        image = ops.depthwise_conv(image, kernel, padding="valid")
    return image


def _frames(images):
    """Returns the frames of clips (N, T, H, W, C) as (N * T, H, W, C); pictures as they are."""
    return images if len(images.shape) < 5 else ops.reshape(images, (-1, *ops.shape(images)[2:]))


class Psnr(keras.metrics.Metric):
    """Mean over images of PSNR in decibels, data range 1, predictions clipped to [0, 1].

    Each frame of clips (N, T, H, W, C) is an image. Sample weights (N, H, W) or (N, H, W, 1) say
    how much each pixel of an image counts within it.

    Args:
      least_mse: A mean squared error as good as none; 100 dB unless told otherwise, for a perfect
        patch must not make the mean infinite.
    """

    def __init__(self, name: str = "psnr", least_mse: float = 1e-10, **kwargs):
        super().__init__(name=name, dtype="float32", **kwargs)
        self.least_mse = least_mse
        self.total = self.add_variable((), initializer="zeros", name="total")
        self.count = self.add_variable((), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.cast(_frames(y_true), "float32")
        y_pred = ops.clip(ops.cast(_frames(y_pred), "float32"), 0.0, 1.0)
        squared = ops.mean(ops.square(y_true - y_pred), axis=-1)
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, "float32"), ops.shape(squared))
            squared = squared * weight / ops.mean(weight, axis=(1, 2), keepdims=True)
        error = ops.mean(squared, axis=(1, 2))
        decibels = -10.0 * ops.log10(ops.maximum(error, self.least_mse))
        self.total.assign_add(ops.sum(decibels))
        self.count.assign_add(ops.cast(ops.shape(error)[0], "float32"))

    def result(self):
        return self.total / ops.maximum(self.count, 1.0)
