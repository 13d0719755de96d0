"""Bicubic resampling against the figures that the super-resolution literature prints.

Set5 may not be passed on, so these tests run where the environment variable TF_DECONV_SET5 names a
folder that holds its five pictures. What is compared with Pillow runs everywhere.
"""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_deconv import degradations, images, metrics

# Bicubic on Set5: Dong et al. 2014 (SRCNN) and most papers after it. They resize luminance; colour
# resized, and luminance taken of the result, is 0.01 dB away: docs/decisions/0002-degradations.md.
LITERATURE_DB = {2: 33.66, 3: 30.39, 4: 28.42}
# MATLAB's rgb2ycbcr of [0, 1]: 16 to 235 of 255.
STUDIO_WEIGHTS = np.array([65.481, 128.553, 24.966]) / 255


@pytest.fixture(scope="module")
def set5():
    folder = os.environ.get("TF_DECONV_SET5")
    if not folder:
        pytest.skip("TF_DECONV_SET5 does not name a folder with the five pictures of Set5")
    pictures = [images.read_rgb(path) for path in images.list_pictures(folder)]
    assert len(pictures) == 5
    return pictures


def studio_luminance(rgb):
    """Converts (H, W, 3) uint8 to (H, W, 1) uint8."""
    return images.to_uint8(16 / 255 + images.to_float(rgb) @ STUDIO_WEIGHTS[:, np.newaxis])


def resize(resample, pixels, scale):
    """Resizes (H, W, C) uint8 to uint8: a picture file on either side."""
    return images.to_uint8(resample(tf.constant(images.to_float(pixels)), scale).numpy())


def down_and_up(pixels, scale):
    small = resize(degradations.downsample, pixels, scale)
    return resize(degradations.upsample, small, scale)


@pytest.mark.parametrize("scale", LITERATURE_DB)
@pytest.mark.parametrize("first", ["luminance", "resizing"])
def test_bicubic_on_set5_scores_what_the_literature_prints(set5, scale, first):
    scores = []
    for picture in set5:
        height, width = (side // scale * scale for side in picture.shape[:2])
        clean = studio_luminance(picture[:height, :width])
        if first == "luminance":
            enlarged = down_and_up(clean, scale)
        else:
            enlarged = studio_luminance(down_and_up(picture[:height, :width], scale))
        pair = (images.to_float(luma)[scale:-scale, scale:-scale] for luma in (enlarged, clean))
        scores.append(metrics.psnr_db(*pair))
    assert np.mean(scores) == pytest.approx(LITERATURE_DB[scale], abs=0.05)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("way", ["down", "up"])
def test_resampling_equals_pillow_away_from_the_edge(rng, scale, way):
    # Pillow's BICUBIC is the same kernel (a = -0.5), stretched when a picture becomes smaller; at
    # the edges it leaves out what lies beyond them, where we mirror.
    picture = rng.random((48, 36, 1), np.float32)
    resample = degradations.downsample if way == "down" else degradations.upsample
    resized = resample(tf.constant(picture), scale).numpy()[..., 0]
    expected = Image.fromarray(picture[..., 0]).resize(resized.T.shape, Image.Resampling.BICUBIC)
    edge = 2 if way == "down" else 2 * scale
    inner = (slice(edge, -edge), slice(edge, -edge))
    expected = np.clip(np.asarray(expected), 0, 1)
    np.testing.assert_allclose(resized[inner], expected[inner], atol=1e-5)
    assert np.abs(resized - expected).max() > 1e-3  # The edges do differ: nothing hides there.
