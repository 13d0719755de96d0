"""Non-local means of scikit-image: what a network that takes noise away has to beat.

Chosen on 384x384 pixels of four of scikit-image's photographs, mean PSNR in dB of grey /
colour at sigma 25: non-local means with these settings 29.7 / 29.8; the same with twice the patch
or a longer search no better; wavelet shrinkage (BayesShrink, 25 shifts averaged) 28.9 / 28.5;
total variation 28.8 / 28.4.

Both functions take the clean picture for one thing: to measure how strong the noise is. A level
measured so is as good as the true one (within 0.1 dB, better where noise was clipped), and is
there for a chain that draws it from a range too.
"""

from __future__ import annotations

import numpy as np
from skimage.restoration import denoise_nl_means

PATCH_PX, SEARCH_PX = 5, 6
# How alike patches must be to be averaged, in standard deviations of the noise.
STRENGTH = 0.6
# Less noise than this is none: rounding to float32 is about a tenth of it.
_LEAST_STDDEV = 1e-6


def denoise_gaussian(degraded: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Takes white Gaussian noise away.

    Args:
      degraded: (H, W, C) float in [0, 1].
      clean: The same shape; the noise is measured against it.
    Returns:
      (H, W, C) float32.
    """
    return _non_local_means(degraded, _stddev(degraded, clean))


def denoise_low_light(
    degraded: np.ndarray, clean: np.ndarray, read_noise_stddev: float
) -> np.ndarray:
    """Takes photon and read noise away, after making its variance 1 everywhere.

    1.1 dB better than without the transform, at 30 photons.

    Args:
      degraded: (H, W, C) float in [0, 1].
      clean: The same shape; the number of photons is measured against it.
      read_noise_stddev: Standard deviation of the Gaussian part, as a share of white.
    Returns:
      (H, W, C) float32.
    Reference: the generalised Anscombe transform, Starck, Murtagh and Bijaoui 1998, with the
      asymptotically unbiased inverse.
    """
    stddev = _stddev(degraded, clean)
    photon_variance = stddev**2 - read_noise_stddev**2
    brightness = float(np.mean(clean, dtype=np.float64))
    if min(photon_variance, brightness) <= _LEAST_STDDEV**2:
        return _non_local_means(degraded, stddev)
    photons = brightness / photon_variance
    offset = 3 / 8 + (read_noise_stddev * photons) ** 2
    white = 2 * np.sqrt(photons + offset)
    stable = 2 * np.sqrt(np.asarray(degraded, np.float64) * photons + offset) / white
    denoised = np.asarray(_non_local_means(stable, 1 / white), np.float64) * white
    # The forward transform's inverse is off by 1/2 in the mean: 3/8 becomes 1/8.
    return (((denoised / 2) ** 2 - offset + 1 / 4) / photons).astype(np.float32)


def _stddev(degraded: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((degraded - clean) ** 2, dtype=np.float64)))


def _non_local_means(image: np.ndarray, stddev: float) -> np.ndarray:
    image = np.asarray(image, np.float32)
    if stddev < _LEAST_STDDEV:
        return image
    denoised = denoise_nl_means(
        image,
        patch_size=PATCH_PX,
        patch_distance=SEARCH_PX,
        h=STRENGTH * stddev,
        sigma=stddev,
        fast_mode=True,
        channel_axis=-1,
    )
    return denoised.reshape(image.shape)  # scikit-image drops a single channel's axis.
