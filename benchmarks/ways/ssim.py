"""SSIM."""

from __future__ import annotations

import numpy as np

from ways import libraries
from ways.pictures import clean, floats, noisy, tensors
from ways.registry import way


def our_ssim() -> float:
    from tf_deconv.images import metrics

    return metrics.ssim(*floats())


PAPERS = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


@way(
    "ssim",
    "scikit-image",
    "structural_similarity(clean, noisy, data_range=1, channel_axis=-1,"
    " gaussian_weights=True, sigma=1.5, use_sample_covariance=False)",
    same=True,
    module="skimage",
)
def _ssim_skimage() -> float:
    from skimage.metrics import structural_similarity

    return structural_similarity(*floats(), data_range=1, channel_axis=-1, **PAPERS)


@way(
    "ssim",
    "scikit-image",
    "structural_similarity(clean, noisy, data_range=1, channel_axis=-1): flat window of 7",
    same=False,
    module="skimage",
)
def _ssim_skimage_default() -> float:
    from skimage.metrics import structural_similarity

    return structural_similarity(*floats(), data_range=1, channel_axis=-1)


@way("ssim", "tensorflow", "tf.image.ssim(noisy, clean, max_val=1.0)", same=True)
def _ssim_tensorflow() -> float:
    import tensorflow as tf

    return float(tf.image.ssim(*map(np.float32, floats()), max_val=1.0))


@way(
    "ssim",
    "torchmetrics",
    "structural_similarity_index_measure(noisy, clean, data_range=1.0,"
    " return_full_image=True)[1][..., 5:-5, 5:-5].mean()",
    same=True,
)
def _ssim_torchmetrics_inside() -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    whole = structural_similarity_index_measure(*tensors(), data_range=1.0, return_full_image=True)
    return float(whole[1][..., 5:-5, 5:-5].mean())


@way(
    "ssim",
    "torchmetrics",
    "structural_similarity_index_measure(noisy, clean, data_range=1.0): mirrored border too",
    same=False,
)
def _ssim_torchmetrics() -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    return float(structural_similarity_index_measure(*tensors(), data_range=1.0))


@way("ssim", "piq", "ssim(noisy, clean, data_range=1.0, downsample=False)", same=True)
def _ssim_piq() -> float:
    return float(libraries.piq().ssim(*tensors(), data_range=1.0, downsample=False))


@way(
    "ssim",
    "piq",
    "ssim(noisy, clean, data_range=1.0): made smaller first, from 384 pixels",
    same=False,
)
def _ssim_piq_default() -> float:
    return float(libraries.piq().ssim(*tensors(), data_range=1.0))


@way(
    "ssim",
    "sewar",
    "ssim(clean, noisy, fltr_specs=dict(fltr=Filter.GAUSSIAN, sigma=1.5, ws=11))[0]: of uint8",
    same=True,
)
def _ssim_sewar() -> float:
    import sewar
    from sewar.utils import Filter

    window = dict(fltr=Filter.GAUSSIAN, sigma=1.5, ws=11)
    return float(sewar.ssim(clean(), noisy(), fltr_specs=window)[0])


@way("ssim", "sewar", "ssim(clean, noisy)[0]: flat window of 11", same=False)
def _ssim_sewar_default() -> float:
    import sewar

    return float(sewar.ssim(clean(), noisy())[0])


@way(
    "ssim",
    "opencv",
    "cv2.quality.QualitySSIM_compute(clean, noisy): mean of 3 channels, mirrored border too",
    same=False,
    module="cv2.quality",
)
def _ssim_opencv() -> float:
    return float(np.mean(libraries.cv2().quality.QualitySSIM_compute(clean(), noisy())[0][:3]))


@way(
    "ssim",
    "ffmpeg",
    "format=gbrp, ssim: its `All`, of flat windows of 8, every 4 pixels",
    same=False,
)
def _ssim_ffmpeg() -> float:
    return libraries.ffmpeg("[0]format=gbrp[a];[1]format=gbrp[b];[a][b]ssim", r"All:([0-9.]+)")
