"""What `benchmark --protocol` does to a picture, and how it scores what came back."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2ycbcr

from tests.fixtures.protocol_pictures import cut_photograph, grey
from tf_deconv.evaluation.protocols import cases
from tf_deconv.evaluation.protocols.cases import make_case
from tf_deconv.images import arrays

ONE_LEVEL_DB = 20 * math.log10(255)


@pytest.fixture(scope="module")
def photograph(unseen):
    return cut_photograph(unseen)


# --- What is done to a picture.


@pytest.mark.parametrize("sigma", [15, 25, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_numpys_with_seed_0_before_each_picture(photograph, sigma, channels):
    protocol = {1: "awgn-grey", 3: "awgn-colour"}[channels]
    clean = grey(photograph) if channels == 1 else photograph
    # Word for word what the test programs of FFDNet, DRUNet and SwinIR do.
    state = np.random.get_state()
    try:
        np.random.seed(seed=0)
        expected = np.float32(clean / 255.0)
        expected += np.random.normal(0, sigma / 255.0, expected.shape)
    finally:
        np.random.set_state(state)
    for _ in range(2):  # The second picture gets the same.
        case = make_case(protocol, photograph, sigma, channels)
        np.testing.assert_array_equal(case.degraded, expected)
    assert case.degraded.dtype == np.float32
    np.testing.assert_array_equal(case.clean, clean)


def test_the_first_number_of_the_noise_is_known():
    # Of the Mersenne Twister with seed 0: no version of NumPy may change it.
    noise = cases.add_noise(np.zeros((1, 1, 1), np.float32), 255)
    assert noise[0, 0, 0] == pytest.approx(1.764052345967664)


def test_noise_leaves_the_global_generator_alone(photograph):
    before = np.random.get_state()[1].copy()
    make_case("awgn-colour", photograph, 25, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("quality", [10, 20, 30, 40])
@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_is_what_pillow_writes_and_reads(photograph, quality, colour):
    picture = photograph if colour else np.repeat(grey(photograph), 3, axis=-1)
    case = make_case("jpeg", picture, quality, 1)
    luma = np.rint(rgb2ycbcr(photograph)[..., 0]).astype(np.uint8)
    expected = luma if colour else picture[..., 0]
    np.testing.assert_array_equal(case.clean[..., 0], expected)
    stream = io.BytesIO()
    Image.fromarray(expected).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        np.testing.assert_array_equal(case.degraded[..., 0], arrays.to_float(np.asarray(image)))


def test_y_is_that_of_scikit_image_rounded(rng):
    pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
    pixels[0, :2] = [[0] * 3, [255] * 3]
    luma = cases.studio_luma(pixels)
    assert luma.dtype == np.uint8
    np.testing.assert_array_equal(luma[..., 0], np.rint(rgb2ycbcr(pixels)[..., 0]))
    assert luma[0, :2, 0].tolist() == [16, 235]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_super_resolution_starts_from_an_8_bit_picture(photograph, scale, channels):
    picture = photograph[:-1, :-1]  # 59x71, which no scale divides
    case = make_case("sr", picture, scale, channels)
    height, width = (side // scale for side in picture.shape[:2])
    assert case.degraded.shape == (height, width, channels)
    assert case.clean.shape == case.baseline.shape == (height * scale, width * scale, channels)
    levels = case.degraded * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    cut = picture[: height * scale, : width * scale]
    clean = cases.studio_luma(cut) if channels == 1 else cut
    np.testing.assert_array_equal(case.clean, clean)
    # Pillow's kernel is the same; the edges are not: tests/evaluation/protocols/test_literature.py.
    shown = Image.fromarray(clean[..., 0] if channels == 1 else clean)
    small = np.asarray(shown.resize((width, height), Image.Resampling.BICUBIC))
    difference = np.abs(levels - small.reshape(case.degraded.shape))[2:-2, 2:-2]
    assert difference.max() < 1.5
    assert difference.mean() < 0.2


# --- How it scores.


@pytest.mark.parametrize(("protocol", "channels"), [("awgn-grey", 1), ("awgn-colour", 3)])
def test_restored_pictures_are_rounded_to_8_bits(photograph, protocol, channels):
    case = make_case(protocol, photograph, 25, channels)
    clean = arrays.to_float(case.clean)
    assert case.psnr_db(clean + 0.4 / 255) == math.inf
    assert case.psnr_db(clean + 0.6 / 255) == pytest.approx(ONE_LEVEL_DB)
    assert case.psnr_db(clean + 5) == case.psnr_db(np.ones_like(clean))  # And clipped.
    assert math.isfinite(case.psnr_db(np.full_like(clean, np.nan)))


@pytest.mark.parametrize("protocol", ["awgn-grey", "awgn-colour", "jpeg"])
def test_every_pixel_counts_where_no_border_is_cut(photograph, protocol):
    case = make_case(protocol, photograph, 25, 3 if protocol == "awgn-colour" else 1)
    restored = arrays.to_float(case.clean).copy()
    restored[0, -1, 0] += 0.2 * (1 if restored[0, -1, 0] < 0.5 else -1)
    assert case.psnr_db(restored) == pytest.approx(10 * math.log10(restored.size / 0.04), abs=0.01)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_as_many_pixels_as_the_scale_are_cut_at_each_border(photograph, scale, channels):
    case = make_case("sr", photograph, scale, channels)
    restored = arrays.to_float(case.clean).copy()
    for border in range(scale):
        restored[border], restored[:, -1 - border] = 0, 1
    assert case.psnr_db(restored) == math.inf
    restored[scale, scale] = 1 - restored[scale, scale]
    assert math.isfinite(case.psnr_db(restored))


def test_super_resolution_in_colour_is_scored_on_y(photograph):
    case = make_case("sr", photograph, 2, 3)
    restored = arrays.to_float(np.roll(case.clean, 1, axis=0))
    pair = (
        np.rint(rgb2ycbcr(pixels)[2:-2, 2:-2, 0])
        for pixels in (arrays.to_uint8(restored), case.clean)
    )
    error = np.mean(np.subtract(*pair) ** 2)
    assert case.psnr_db(restored) == pytest.approx(10 * math.log10(255**2 / error))


def test_of_a_colour_model_the_luminance_is_scored_against_grey(photograph):
    case = make_case("jpeg", photograph, 10, 1)
    clean = arrays.to_float(case.clean)
    assert case.psnr_db(np.repeat(clean, 3, axis=-1)) == math.inf
    # Red counts 0.299: 30 levels of it are 8.97, which are 9 of 8 bits.
    reddish = np.concatenate([clean + 30 / 255, clean, clean], axis=-1)
    assert case.psnr_db(np.clip(reddish, 0, 1)) == pytest.approx(ONE_LEVEL_DB - 20 * math.log10(9))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_picture_must_have_a_pixel_left_to_score(scale):
    smallest = np.zeros((3 * scale, 3 * scale, 3), np.uint8)
    assert make_case("sr", smallest, scale, 3).degraded.shape == (3, 3, 3)
    with pytest.raises(ValueError, match=f"expected at least {3 * scale} either way"):
        make_case("sr", smallest[:-1], scale, 3)
