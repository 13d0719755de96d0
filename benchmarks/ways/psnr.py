"""PSNR, of one picture and of several."""

from __future__ import annotations

from typing import Any

import numpy as np

from ways import libraries
from ways.pictures import clean, floats, noisy, tensors
from ways.registry import way


def our_psnr() -> float:
    from tf_deconv.images import metrics

    return metrics.psnr_db(*floats())


@way(
    "psnr",
    "scikit-image",
    "peak_signal_noise_ratio(clean, noisy, data_range=1)",
    same=True,
    module="skimage",
)
def _psnr_skimage() -> float:
    from skimage.metrics import peak_signal_noise_ratio

    return peak_signal_noise_ratio(*reversed(floats()), data_range=1)


@way(
    "psnr",
    "scikit-image",
    "peak_signal_noise_ratio(clean, noisy): of 12 bits in uint16, whose peak it takes",
    same=False,
    module="skimage",
)
def _psnr_skimage_12_bits() -> float:
    from skimage.metrics import peak_signal_noise_ratio

    image, reference = (np.uint16(np.rint(4095 * each)) for each in floats())
    return peak_signal_noise_ratio(reference, image)


@way("psnr", "tensorflow", "tf.image.psnr(noisy, clean, max_val=1.0)", same=True)
def _psnr_tensorflow() -> float:
    import tensorflow as tf

    return float(tf.image.psnr(*map(np.float32, floats()), max_val=1.0))


@way("psnr", "torchmetrics", "peak_signal_noise_ratio(noisy, clean, data_range=1.0)", same=True)
def _psnr_torchmetrics() -> float:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return float(peak_signal_noise_ratio(*tensors(), data_range=1.0))


@way("psnr", "piq", "psnr(noisy, clean, data_range=1.0)", same=True)
def _psnr_piq() -> float:
    return float(libraries.piq().psnr(*tensors(), data_range=1.0))


@way("psnr", "sewar", "psnr(clean, noisy): of uint8", same=True)
def _psnr_sewar() -> float:
    import sewar

    return float(sewar.psnr(clean(), noisy()))


@way("psnr", "opencv", "cv2.PSNR(noisy, clean): of uint8", same=True, module="cv2")
def _psnr_opencv() -> float:
    return libraries.cv2().PSNR(noisy(), clean())


@way(
    "psnr",
    "opencv",
    "cv2.PSNR(noisy, clean): of floats in 0 to 1, for its peak stays 255",
    same=False,
    module="cv2",
)
def _psnr_opencv_floats() -> float:
    return libraries.cv2().PSNR(*floats())


@way("psnr", "ffmpeg", "format=gbrp, psnr: its `average`", same=True)
def _psnr_ffmpeg() -> float:
    graph = "[0]format=gbrp[a];[1]format=gbrp[b];[a][b]psnr"
    return libraries.ffmpeg(graph, r"average:([0-9.]+)")


@way("psnr", "ffmpeg", "format=yuv420p, psnr: its `average`, as of a film", same=False)
def _psnr_ffmpeg_yuv() -> float:
    graph = "[0]format=yuv420p[a];[1]format=yuv420p[b];[a][b]psnr"
    return libraries.ffmpeg(graph, r"average:([0-9.]+)")


# --- PSNR of several pictures.


def _batch() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures, one with much noise and one with little: (2, H, W, 3) each."""
    image, reference = floats()
    return np.stack([image, reference + (image - reference) / 8]), np.stack([reference] * 2)


def our_batch_psnr() -> float:
    from tf_deconv.images import metrics

    return float(np.mean([metrics.psnr_db(*pair) for pair in zip(*_batch())]))


def _batch_tensors() -> Any:
    import torch

    return [torch.from_numpy(each.transpose(0, 3, 1, 2).copy()).float() for each in _batch()]


@way("batch", "tensorflow", "tf.image.psnr(...): then the mean", same=True)
def _batch_tensorflow() -> float:
    import tensorflow as tf

    return float(np.mean(tf.image.psnr(*map(np.float32, _batch()), max_val=1.0)))


@way("batch", "piq", "psnr(...): the mean over pictures", same=True)
def _batch_piq() -> float:
    return float(libraries.piq().psnr(*_batch_tensors(), data_range=1.0))


@way("batch", "torchmetrics", "PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))", same=True)
def _batch_torchmetrics() -> float:
    from torchmetrics.image import PeakSignalNoiseRatio

    metric = PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean")
    return float(metric(*_batch_tensors()))


@way("batch", "torchmetrics", "PeakSignalNoiseRatio(data_range=1.0): of the mean error", same=False)
def _batch_torchmetrics_default() -> float:
    from torchmetrics.image import PeakSignalNoiseRatio

    return float(PeakSignalNoiseRatio(data_range=1.0)(*_batch_tensors()))
