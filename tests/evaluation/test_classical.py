"""The denoisers that networks are compared with."""

import numpy as np
import pytest

from tf_deconv.evaluation import classical
from tf_deconv.images import metrics

GAUSSIAN = classical.denoise_gaussian


def low_light(degraded, clean):
    return classical.denoise_low_light(degraded, clean, 0.01)


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def clean(request, unseen):
    from tf_deconv.images import arrays

    image = arrays.to_float(unseen["astronaut"][150:250, 150:250])
    return arrays.luminance(image).astype(np.float32) if request.param == 1 else image


@pytest.mark.parametrize(("sigma", "gain_db"), [(10, 4), (25, 5.5), (50, 6)])
def test_gaussian_noise_is_taken_away(clean, rng, sigma, gain_db):
    degraded = np.clip(clean + rng.normal(0, sigma / 255, clean.shape), 0, 1).astype(np.float32)
    denoised = GAUSSIAN(degraded, clean)
    assert (denoised.shape, denoised.dtype) == (clean.shape, np.float32)
    gain = metrics.psnr_db(denoised, clean) - metrics.psnr_db(degraded, clean)
    assert gain > gain_db


def test_photon_noise_is_taken_away_better_after_the_transform(clean, rng):
    counted = rng.poisson(clean * 30) / 30 + rng.normal(0, 0.01, clean.shape)
    degraded = np.clip(counted, 0, 1).astype(np.float32)
    plain, transformed = GAUSSIAN(degraded, clean), low_light(degraded, clean)
    assert metrics.psnr_db(plain, clean) > metrics.psnr_db(degraded, clean) + 1.5
    assert metrics.psnr_db(transformed, clean) > metrics.psnr_db(plain, clean) + 3


def test_brightness_stays_after_the_transform(rng):
    clean = np.full((64, 64, 1), 0.4, np.float32)
    degraded = (rng.poisson(clean * 30) / 30).astype(np.float32)
    assert low_light(degraded, clean).mean() == pytest.approx(0.4, abs=0.005)


@pytest.mark.parametrize("denoise", [GAUSSIAN, low_light])
def test_without_noise_nothing_changes(clean, denoise):
    np.testing.assert_array_equal(denoise(clean, clean.copy()), clean)


@pytest.mark.parametrize("denoise", [GAUSSIAN, low_light])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 1), (2, 3, 3), (5, 1, 1)])
@pytest.mark.parametrize("level", [0.0, 0.5])
def test_any_size_is_taken(denoise, shape, level, rng):
    degraded = rng.random(shape, np.float32)
    denoised = denoise(degraded, np.full(shape, level, np.float32))
    assert denoised.shape == shape
    assert np.isfinite(denoised).all()
