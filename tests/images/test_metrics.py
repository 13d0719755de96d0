"""PSNR and SSIM against scikit-image and against numbers by hand."""

import numpy as np
import pytest
import skimage.color
import skimage.metrics

from tf_deconv.images import metrics

SHAPES = [(11, 11, 1), (24, 31, 3), (40, 16, 1)]


@pytest.fixture(params=SHAPES, ids=str)
def pair(request, rng):
    reference = rng.random(request.param)
    return np.clip(reference + rng.normal(0, 0.1, request.param), 0, 1), reference


def test_psnr_equals_scikit_image(pair):
    image, reference = pair
    expected = skimage.metrics.peak_signal_noise_ratio(reference, image, data_range=1)
    assert metrics.psnr_db(image, reference) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("error", "psnr_db"), [(1.0, 0), (0.1, 20), (0.01, 40)])
def test_psnr_of_a_constant_error_equals_the_number_by_hand(error, psnr_db):
    image = np.zeros((4, 5, 3))
    assert metrics.psnr_db(image + error, image) == pytest.approx(psnr_db, abs=1e-9)


def test_psnr_of_equal_pictures_is_infinite(rng):
    image = rng.random((8, 8, 3), np.float32)
    assert metrics.psnr_db(image, image.copy()) == float("inf")


def test_what_float32_rounds_is_scored_as_equal_and_what_16_bits_round_is_not(rng):
    levels = rng.integers(0, 256, (16, 16, 3)).astype(np.float32)
    scores = metrics.score(levels * np.float32(1 / 255), levels / np.float32(255))
    assert scores["psnr_db"] == scores["luminance_psnr_db"] == float("inf")
    picture = rng.random((16, 16, 3))
    stored = np.rint(picture * 65535) / 65535
    assert metrics.score(stored, picture)["psnr_db"] == metrics.psnr_db(stored, picture) < 110


@pytest.mark.parametrize(
    ("values", "expected"),
    [([20.0, np.inf, 30.0], 25.0), ([np.inf, np.inf], np.inf), ([], np.nan), ([np.nan, 1], 1)],
)
def test_a_mean_leaves_out_what_is_not_finite(values, expected):
    assert metrics.mean(iter(values)) == pytest.approx(expected, nan_ok=True)


def test_psnr_of_float32_pictures_is_computed_in_float64():
    # In float32 the mean of many small squares loses digits.
    image = np.full((512, 512, 1), 0.5, np.float32)
    other = np.full((512, 512, 1), 0.501, np.float32)
    error = float(other[0, 0, 0]) - float(image[0, 0, 0])
    expected = -20 * np.log10(error)
    assert metrics.psnr_db(other, image) == pytest.approx(expected, rel=1e-12)


def test_luminance_is_that_of_bt_601_from_0_to_1(rng):
    # scikit-image's rgb2ycbcr gives 16 to 235 from the rounded matrix of BT.601.
    reference = rng.random((24, 31, 3))
    image = np.clip(reference + rng.normal(0, 0.1, reference.shape), 0, 1)
    y, y_reference = (
        (skimage.color.rgb2ycbcr(array)[..., 0] - 16) / 219 for array in (image, reference)
    )
    expected = -10 * np.log10(np.mean((y - y_reference) ** 2))
    assert metrics.luminance_psnr_db(image, reference) == pytest.approx(expected, abs=1e-3)


def test_the_literature_has_132_hundredths_of_a_decibel_more(rng):
    reference = rng.random((24, 31, 3))
    image = np.clip(reference + rng.normal(0, 0.1, reference.shape), 0, 1)
    y, y_reference = (16 + array @ [65.481, 128.553, 24.966] for array in (image, reference))
    literature = 10 * np.log10(255**2 / np.mean((y - y_reference) ** 2))
    expected = literature - 20 * np.log10(255 / 219)
    assert metrics.luminance_psnr_db(image, reference) == pytest.approx(expected, rel=1e-12)


def test_luminance_of_grey_is_grey(rng):
    reference, image = rng.random((9, 7, 1)), rng.random((9, 7, 1))
    expected = metrics.psnr_db(image, reference)
    assert metrics.luminance_psnr_db(image, reference) == expected
    colour = [np.repeat(array, 3, axis=-1) for array in (image, reference)]
    assert metrics.luminance_psnr_db(*colour) == pytest.approx(expected, rel=1e-9)


def test_ssim_equals_scikit_image_channel_by_channel(pair):
    # The oracle works on the scale 0 to 255, as in Wang et al. 2004; the index has no unit.
    image, reference = (255 * array for array in pair)
    expected = np.mean(
        [
            skimage.metrics.structural_similarity(
                image[..., channel],
                reference[..., channel],
                data_range=255,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for channel in range(image.shape[-1])
        ]
    )
    assert metrics.ssim(*pair) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_flat_pictures_equals_the_number_by_hand():
    # Without variance only the luminance term is left: (2 a b + C) / (a^2 + b^2 + C), C = 0.01^2.
    one, other = np.full((16, 16, 3), 0.2), np.full((16, 16, 3), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert metrics.ssim(one, other) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_equal_pictures_is_1(rng):
    image = rng.random((20, 20, 3), np.float32)
    assert metrics.ssim(image, image.copy()) == pytest.approx(1)


@pytest.mark.parametrize("shape", [(10, 30, 3), (30, 10, 3), (1, 1, 1)])
def test_ssim_is_not_a_number_under_11_pixels(shape):
    assert np.isnan(metrics.ssim(np.zeros(shape), np.zeros(shape)))


@pytest.mark.parametrize("score", [metrics.psnr_db, metrics.ssim, metrics.luminance_psnr_db])
@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 17, 3), (1, 16, 16, 3)])
def test_shapes_that_differ_are_refused(score, shape):
    with pytest.raises(ValueError, match=r"shapes differ: .* against \(16, 16, 3\)"):
        score(np.zeros(shape), np.zeros((16, 16, 3)))


def test_match_channels_repeats_grey_and_leaves_colour(rng):
    grey, colour = rng.random((4, 5, 1)), rng.random((4, 5, 3))
    np.testing.assert_array_equal(metrics.match_channels(grey, 3), np.dstack([grey, grey, grey]))
    assert metrics.match_channels(colour, 3) is colour
