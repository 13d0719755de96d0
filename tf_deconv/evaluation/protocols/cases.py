"""What the literature's protocols do to a picture, and how they score what comes back.

All of it is in 8 bits, as in the papers' own test programs: a picture file goes in, and one is
scored. `published.PROTOCOLS` says in words what is done here.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_deconv.degradations import operators
from tf_deconv.images import arrays, metrics
from tf_deconv.images.arrays import is_grey

# MATLAB's rgb2ycbcr: Y is 16 for black and 235 for white, of 255 (ITU-R BT.601-7, section 2.5.3).
STUDIO_BLACK, STUDIO_WEIGHTS = 16.0, (65.481, 128.553, 24.966)


@dataclasses.dataclass(frozen=True)
class Case:
    """A picture at one setting of a protocol.

    Attributes:
      degraded: (H, W, C) float32 as the model receives it; noise leads out of [0, 1].
      clean: (H * scale, W * scale, C) uint8.
      baseline: (H * scale, W * scale, C) float32: what doing nothing, or bicubic, leaves.
      on_luma: Whether colour is scored on Y of BT.601.
      border_px: Pixels that are not scored at each border.
    """

    degraded: np.ndarray
    clean: np.ndarray
    baseline: np.ndarray
    on_luma: bool = False
    border_px: int = 0

    def psnr_db(self, restored: np.ndarray) -> float:
        """Scores a restored picture.

        Args:
          restored: (H * scale, W * scale, C') float; C' may be 3 where the clean picture is grey.
        Returns:
          PSNR of 8-bit values in decibels, data range 255; infinite for an equal picture.
        """
        if self.clean.shape[-1] == 1:
            restored = arrays.luminance(np.clip(restored, 0.0, 1.0))
        pair = arrays.as_pixels(restored, np.uint8), self.clean
        if self.on_luma and self.clean.shape[-1] == 3:
            pair = tuple(studio_luma(pixels) for pixels in pair)
        border = self.border_px
        rows, columns = (slice(border, side - border) for side in self.clean.shape[:2])
        return metrics.psnr_db(*(pixels[rows, columns] / 255.0 for pixels in pair))


def make_case(protocol: str, picture: np.ndarray, setting: int, channels: int) -> Case:
    """Degrades a picture as a protocol says.

    Args:
      protocol: Key of `PROTOCOLS`.
      picture: (H, W, 3) uint8; a grey one has three equal channels.
      setting: Sigma in grey levels of 255, scale, or JPEG quality.
      channels: 1 or 3: of what the method restores.
    Raises:
      ValueError: if the picture is too small.
    """
    if protocol == "sr":
        return _make_small(picture, setting, channels)
    if protocol == "jpeg":
        clean = picture[..., :1] if is_grey(picture) else studio_luma(picture)
        seed = tf.constant([0, 0])
        decoded = operators.jpeg(tf.constant(arrays.to_float(clean)), setting, seed).numpy()
        degraded = arrays.to_float(arrays.to_uint8(decoded))
        return Case(degraded, clean, degraded)
    clean = picture
    if channels == 1:
        clean = arrays.to_uint8(arrays.luminance(arrays.to_float(picture)))
    degraded = add_noise(arrays.to_float(clean), setting)
    return Case(degraded, clean, degraded)


def add_noise(image: np.ndarray, sigma: float) -> np.ndarray:
    """Adds the noise that FFDNet's, DRUNet's and SwinIR's test programs add: seed 0, not clipped.

    Args:
      image: (H, W, C) float32 in [0, 1].
      sigma: Standard deviation in grey levels of 255.
    Returns:
      (H, W, C) float32, around [0, 1].
    """
    # The numbers of np.random.seed(0) and np.random.normal, without touching the global state.
    noisy = image.copy()
    noisy += np.random.RandomState(0).normal(0, sigma / 255.0, image.shape)
    return noisy


def _make_small(picture: np.ndarray, scale: int, channels: int) -> Case:
    height, width = (side // scale * scale for side in picture.shape[:2])
    if min(height, width) < 3 * scale:
        raise ValueError(
            f"{picture.shape[1]}x{picture.shape[0]} pixels: expected at least {3 * scale} either"
            f" way, for x{scale} leaves {scale} of them unscored at each border"
        )
    clean = picture[:height, :width]
    clean = studio_luma(clean) if channels == 1 else clean
    small = operators.downsample(tf.constant(arrays.to_float(clean)), scale).numpy()
    degraded = arrays.to_float(arrays.to_uint8(small))
    enlarged = operators.upsample(tf.constant(degraded), scale).numpy()
    return Case(degraded, clean, enlarged, on_luma=True, border_px=scale)


def studio_luma(pixels: np.ndarray) -> np.ndarray:
    """Converts (H, W, 3) uint8 to (H, W, 1) uint8, Y of BT.601 in 16..235: MATLAB's rgb2ycbcr."""
    luma = STUDIO_BLACK + pixels / 255.0 @ np.array(STUDIO_WEIGHTS)
    return np.rint(luma).astype(np.uint8)[..., np.newaxis]
