"""PSNR and SSIM of finished pictures, in colour and in luminance; the data range is 1.

SSIM comes from scikit-image, the field's reference implementation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from skimage.metrics import structural_similarity

from tf_deconv.images import arrays

SCORES = ("psnr_db", "ssim", "luminance_psnr_db", "luminance_ssim")
# Two ways to compute one picture in float32 differ by less, some 150 dB; to round it to 16 bits
# leaves 107 dB. One undamaged picture of 150 dB would raise the mean of a hundred others by 1 dB.
_EXACT_DB = 120.0


def psnr_db(image: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels, data range 1.

    Args:
      image: Any shape, float in [0, 1].
      reference: The same shape.
    Returns:
      10 log10(1 / MSE); infinity for equal images.
    Raises:
      ValueError: if the shapes differ (they would broadcast silently).
    """
    _check_same_shape(image, reference)
    error = np.mean((np.asarray(image, np.float64) - np.asarray(reference, np.float64)) ** 2)
    return float("inf") if error == 0 else float(-10 * np.log10(error))


def luminance_psnr_db(image: np.ndarray, reference: np.ndarray) -> float:
    """PSNR of the luminance, Y = 0.299 R + 0.587 G + 0.114 B in [0, 1], data range 1.

    What papers on super-resolution print is of Y in 16..235 against a peak of 255: 20 log10(255 /
    219) = 1.32 dB more. `tf-deconv benchmark --protocol sr` measures that, to the letter.

    Args:
      image: (H, W, 1 or 3) float in [0, 1]; grey is its own luminance.
      reference: The same shape.
    Returns:
      Decibels; infinity for pictures of equal luminance.
    Raises:
      ValueError: if the shapes differ.
    Reference: ITU-R BT.601-7, section 2.5.1.
    """
    _check_same_shape(image, reference)
    return psnr_db(arrays.luminance(image), arrays.luminance(reference))


def ssim(image: np.ndarray, reference: np.ndarray) -> float:
    """Structural similarity, data range 1, Gaussian window of 11 pixels and sigma 1.5.

    Args:
      image: (H, W, C) float in [0, 1]; channels are scored one by one and averaged.
      reference: The same shape.
    Returns:
      A value up to 1; NaN when a side is under 11 pixels.
    Reference: Wang et al. 2004, through skimage.metrics.structural_similarity.
    """
    _check_same_shape(image, reference)
    if min(image.shape[:2]) < 11:
        return float("nan")
    return float(
        structural_similarity(
            np.asarray(image, np.float64),
            np.asarray(reference, np.float64),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def psnr_db_or_exact(image: np.ndarray, reference: np.ndarray) -> float:
    """PSNR as `psnr_db`; infinity too where float32's rounding is all that differs."""
    decibels = psnr_db(image, reference)
    return math.inf if decibels >= _EXACT_DB else decibels


def mean(values: Iterable[float]) -> float:
    """Returns the mean of what is finite; infinity or NaN if nothing is.

    Of decibels it leaves out what is exact, which would make them infinite.
    """
    values = list(values)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        return float(np.mean(finite))
    return values[0] if values and len(set(values)) == 1 else math.nan


def match_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Repeats a grey (..., 1) picture to `channels`, so that it compares with a colour one."""
    return np.repeat(image, channels, axis=-1) if image.shape[-1] == 1 else image


def _check_same_shape(image: np.ndarray, reference: np.ndarray) -> None:
    if image.shape != reference.shape:
        raise ValueError(f"shapes differ: {image.shape} against {reference.shape}")


def score(image: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Scores one picture, in colour and in luminance, as `luminance_psnr_db` defines it.

    It is what `json` of a run and `evaluation.json` hold.

    Args:
      image: (H, W, C) float; clipped to [0, 1], as its file would be.
      clean: (H, W, C) float in [0, 1].
    Returns:
      Keys are `SCORES`. Decibels are infinite where float32's rounding is all that differs.
    """
    image = np.clip(image, 0.0, 1.0)
    scores = {"psnr_db": psnr_db_or_exact(image, clean), "ssim": ssim(image, clean)}
    if image.shape[-1] == 1:  # Its own luminance; SSIM can take as long as restoring.
        values = scores.values()
    else:
        grey, clean_grey = arrays.luminance(image), arrays.luminance(clean)
        values = (psnr_db_or_exact(grey, clean_grey), ssim(grey, clean_grey))
    return {**scores, **dict(zip(SCORES[2:], values))}
