"""The camera and its parts: laws of their noise, of the mosaic, and of the way back."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter

from tests.fixtures import chains
from tf_deconv.degradations import camera, operators, tasks
from tf_deconv.degradations.tasks import FUNCTIONS, OPERATORS, Task, operator
from tf_deconv.images import arrays

PARTS = (
    "camera:3200",
    "shot:3200",
    "mosaic:1",
    "matrix:1",
    "balance:2",
    "tone:0.6",
    "smooth:0.8",
    "grain:10",
    "sharpen:0.7",
    "resize:1-2",
)
WITHOUT_CHANCE = ("tone", "smooth", "sharpen")
every_part = pytest.mark.parametrize("chain", [*PARTS, "jpeg444:70-90"])


def degrade(chain, picture, seed=(1, 2)):
    picture = tf.constant(picture, tf.float32)
    return operators.make_pair(Task("", chain), picture, tf.constant(seed))[0].numpy()


@pytest.fixture
def picture(rng):
    """A smooth picture of colours away from black and white, 48x64."""
    values = gaussian_filter(rng.random((48, 64, 3)), (4, 4, 0), mode="wrap")
    values = (values - values.min()) / (values.max() - values.min())
    return (0.1 + 0.8 * values).astype(np.float32)


def shifts(picture, changed):
    """Returns by how many grey levels each colour's mean moved."""
    return np.abs((changed.astype(float) - picture).mean((0, 1))) * 255


def test_every_operator_has_one_function():
    assert set(FUNCTIONS) == set(OPERATORS)
    assert len(set(FUNCTIONS.values())) == len(OPERATORS)


@pytest.mark.parametrize("name", ["noise", "no-such"])
def test_an_operator_is_in_the_table_and_has_no_second_function(name):
    with pytest.raises(ValueError, match=f"operator '{name}'"):
        operator(name)


@every_part
def test_a_seed_gives_one_picture_and_another_another(chain, picture):
    once = degrade(chain, picture)
    np.testing.assert_array_equal(degrade(chain, picture), once)
    others = [degrade(chain, picture, (seed, 2)) for seed in range(2, 12)]
    same = [np.array_equal(other, once) for other in others]
    assert all(same) == chain.startswith(WITHOUT_CHANCE)


@every_part
@pytest.mark.parametrize("channels", [1, 3])
def test_a_parallel_map_equals_eager(chain, picture, channels):
    pictures = np.stack([picture[..., :channels], picture[::-1, ::-1, :channels]] * 4)
    seeds = np.stack([np.arange(8), np.full(8, 5)], 1).astype(np.int32)

    def change(image, seed):
        step = FUNCTIONS[chain.partition(":")[0]]
        level = float(chain.partition(":")[2].partition("-")[0])
        changed = step(image, level, seed, level)
        assert changed.shape == image.shape
        return changed

    dataset = tf.data.Dataset.from_tensor_slices((pictures, seeds)).map(change, 4)
    for image, seed, changed in zip(pictures, seeds, dataset.as_numpy_iterator()):
        np.testing.assert_allclose(changed, change(image, tf.constant(seed)), atol=2e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (5, 4)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_camera_takes_pictures_of_any_size_and_any_grey(channels, size, level):
    for seed in range(6):
        photographed = degrade("awgn:20 camera:12800", np.full((*size, 3), level), (seed, 3))
        if channels == 1:
            grey = tf.fill((*size, 1), level)
            photographed = camera.photograph(grey, 12800.0, tf.constant((seed, 3))).numpy()
        assert photographed.shape == (*size, channels)
        assert np.isfinite(photographed).all()
        assert 0 <= photographed.min() <= photographed.max() <= 1


# --- The way there and back.


@pytest.mark.parametrize("channels", [1, 3])
def test_a_camera_without_noise_moves_no_colour(picture, channels):
    # A network that learned from pictures whose tones moved would move tones.
    picture = picture[..., :channels]
    for seed in range(16):
        seen = camera.photograph(tf.constant(picture), 0.0, tf.constant((seed, 0))).numpy()
        assert shifts(picture, seen).max() < 0.5
        # Half of the colour cameras lose what the mosaic loses of a smooth picture, no more.
        assert np.abs(seen - picture).mean() < (0.015 if channels == 3 else 1e-5)


def test_a_camera_without_noise_or_mosaic_gives_the_very_picture(rng, monkeypatch):
    monkeypatch.setattr(camera, "MOSAIC_SHARE", 0.0)
    sharp = rng.integers(0, 256, (32, 32, 3)).astype(np.float32) / 255  # Black and white too.
    for seed in range(16):
        seen = camera.photograph(tf.constant(sharp), 0.0, tf.constant((seed, 0))).numpy()
        np.testing.assert_array_equal(arrays.to_uint8(seen), arrays.to_uint8(sharp))


@pytest.mark.parametrize("seed", range(6))
def test_a_camera_keeps_constant_colours_through_the_mosaic(seed, monkeypatch):
    monkeypatch.setattr(camera, "MOSAIC_SHARE", 1.0)
    colour = np.broadcast_to(np.float32([0.8, 0.1, 0.4]), (12, 13, 3))
    seen = camera.photograph(tf.constant(colour), 0.0, tf.constant((seed, 0)))
    np.testing.assert_allclose(seen, colour, atol=2e-5)


def test_white_is_white_to_every_sensor_and_colours_are_mixed():
    for seed in range(10):
        to_sensor = camera._to_sensor(tf.random.stateless_uniform((4,), (seed, 0))).numpy()
        np.testing.assert_allclose(to_sensor.sum(1), 1, atol=1e-5)
        assert (to_sensor.diagonal() > 0.4).all()
        assert (to_sensor.diagonal() < 0.95).all()


def test_red_and_blue_of_white_are_noisier_than_green_by_the_white_balance(monkeypatch):
    # The sensor counts less of them: variance shot / gain, times gain squared. Red 1.9 to 2.4, blue
    # 1.5 to 1.9, seen where the matrix mixes nothing, before filters and curves.
    monkeypatch.setattr(camera, "_to_sensor", lambda _: tf.eye(3))
    for name in ("DENOISER_SHARE", "SHARPENER_SHARE"):
        monkeypatch.setattr(camera, name, 1e-9)
    grey = tf.fill((200, 200, 3), 0.5)
    for seed in range(4):
        seen = camera.photograph(grey, 100.0, tf.constant((seed, 3))).numpy() - 0.5
        red, green, blue = seen.var((0, 1))
        # Bilinear and corrected-gradient filters pass other shares of green's noise and of theirs.
        assert 1.2 < red / green < 3.5
        assert 1.0 < blue / green < 3.0


def test_a_camera_spares_sharp_pictures_what_a_mosaic_would_take(rng, monkeypatch):
    # Pictures made smaller are sharper than what a lens draws: a median of 30 crops of them came
    # back from a camera without noise at 28.8 dB, and from one with a lens at 35.3.
    monkeypatch.setattr(camera, "MOSAIC_SHARE", 1.0)
    sharp = gaussian_filter(rng.random((64, 64, 1)), (0.5, 0.5, 0)) + 0.1 * rng.random((1, 1, 3))
    sharp = np.clip(sharp, 0, 1).astype(np.float32)
    seeds = [tf.constant((seed, 0)) for seed in range(12)]
    seen = [camera.photograph(tf.constant(sharp), 0.0, seed).numpy() for seed in seeds]
    mosaics = [camera.remosaic(tf.constant(sharp), 1.0, seed).numpy() for seed in seeds]
    errors = [np.mean([(some - sharp) ** 2 for some in kind]) for kind in (seen, mosaics)]
    assert 0.02 < errors[0] / errors[1] < 0.5


def test_a_mosaic_behind_a_lens_hardly_moves_the_mean_of_a_texture(rng, monkeypatch):
    monkeypatch.setattr(camera, "MOSAIC_SHARE", 1.0)
    texture = gaussian_filter(rng.random((64, 64, 1)), (1, 1, 0)) + 0.1 * rng.random((1, 1, 3))
    texture = texture.astype(np.float32)
    seeds = [tf.constant((seed, 0)) for seed in range(12)]
    seen = [camera.photograph(tf.constant(texture), 0.0, seed).numpy() for seed in seeds]
    # Demosaicing before white is balanced moved it by 0.55 grey levels.
    assert np.mean([shifts(texture, some) for some in seen]) < 0.4


def test_a_lens_blurs_by_its_kernel(rng):
    light = rng.random((9, 11, 3), np.float32)
    kernel = np.outer([1, 2, 1], [1, 2, 1])[..., None] / 16
    expected = convolve(light, kernel)[1:-1, 1:-1]
    np.testing.assert_allclose(camera._through_lens(tf.constant(light)), expected, atol=1e-6)


@pytest.mark.parametrize("chain", ["camera:100-12800", "shot:800", "camera:800@0.5 jpeg:80"])
def test_a_network_for_cameras_need_not_see_levels_and_so_cannot_move_them(chain):
    assert not Task("", chain).sees_levels
    for moving in ("poisson:30", "matrix:1", "balance:1-1.5", "tone:0.7-1.5"):
        assert Task("", f"{chain} {moving}@0.1").sees_levels
        assert not Task("", f"{chain} {moving}@0").sees_levels


# --- Its parts alone: colours and tones.


def to_linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_a_sensor_shows_every_grey_as_it_is_and_colours_paler(picture):
    grey = picture[..., :1].repeat(3, -1)
    for seed in range(8):
        np.testing.assert_allclose(degrade("matrix:1", grey, (seed, 0)), grey, atol=1e-5)
        colours = np.ptp(to_linear(degrade("matrix:1", picture, (seed, 0))), axis=-1)
        assert colours.mean() < 0.8 * np.ptp(to_linear(picture), axis=-1).mean()


def test_half_a_matrix_is_half_way_in_linear_light(picture):
    whole, half = (to_linear(degrade(f"matrix:{share}", picture)) for share in (1, 0.5))
    np.testing.assert_allclose(half, 0.5 * (to_linear(picture) + whole), atol=1e-5)


def test_a_wrong_balance_multiplies_red_and_blue_of_linear_light(picture):
    dark = 0.5 * picture  # So that nothing is clipped.
    factors = []
    for seed in range(100):
        changed = to_linear(degrade("balance:1.6", dark, (seed, 0)).astype(float))
        ratio = changed / to_linear(dark)
        assert np.ptp(ratio, axis=(0, 1)).max() < 1e-3
        factors.append(ratio.mean((0, 1)))
    red, green, blue = np.log(np.transpose(factors)) / np.log(1.6)
    np.testing.assert_allclose(green, 0, atol=1e-4)
    for exponents in (red, blue):  # Uniform between -1 and 1.
        assert -1.001 < exponents.min() < -0.9
        assert 0.9 < exponents.max() < 1.001
        assert abs(exponents.mean()) < 4 * np.sqrt(1 / 3 / 100)
    assert abs(np.corrcoef(red, blue)[0, 1]) < 0.4


@pytest.mark.parametrize("slope", [0.25, 0.7, 1.5, 4])
def test_a_tone_curve_has_its_slope_and_its_inverse(slope):
    # Four numbers that a formula gives, and the way back.
    values = np.float32([[[0, 0.5, 1], [0.499, 0.501, 0.25]]])
    curved = degrade(f"tone:{slope}", values)
    np.testing.assert_allclose(curved[0, 0], [0, 0.5, 1], atol=1e-6)
    assert (curved[0, 1, 1] - curved[0, 1, 0]) / 0.002 == pytest.approx(slope, rel=1e-3)
    assert curved[0, 1, 2] == pytest.approx(1 / (1 + 3.0**slope), rel=1e-4)
    np.testing.assert_allclose(degrade(f"tone:{1 / slope}", curved), values, atol=1e-4)


def test_a_camera_s_denoiser_smooths_colour_further_than_luminance(picture):
    strength = 0.6
    matrix = np.array(camera._TO_LUMA_CHROMA)
    apart = to_linear(picture.astype(float)) @ matrix.T
    smoothed = np.stack(
        [
            gaussian_filter(apart[..., i], strength * width, mode="reflect", radius=3)
            for i, width in enumerate((0.8, 1.5, 1.5))
        ],
        axis=-1,
    )
    expected = smoothed @ np.linalg.inv(matrix).T
    seen = to_linear(degrade(f"smooth:{strength}", picture).astype(float))
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    grey = tf.constant(picture[..., :1])
    seen = to_linear(FUNCTIONS["smooth"](grey, strength, tf.constant((1, 2)), 1.0).numpy())
    expected = gaussian_filter(to_linear(picture[..., 0]), 0.8 * strength, mode="reflect", radius=3)
    np.testing.assert_allclose(seen[..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["matrix", "balance"])
def test_a_grey_picture_has_no_colours_to_move(name, picture):
    grey = tf.constant(picture[..., :1])
    np.testing.assert_array_equal(FUNCTIONS[name](grey, 1.0, tf.constant((1, 1))), grey)


# --- Noise.


@pytest.mark.parametrize("iso", [100, 1600, 12800])
def test_the_variance_of_a_sensor_is_linear_in_light(iso):
    light = np.repeat(np.float32([0.0, 0.05, 0.3, 1.0]), 256 * 256)
    for seed in range(3):
        noise = camera._sensor_noise(tf.constant(light), iso, tf.constant((seed, 1))).numpy()
        spread = tf.random.stateless_normal(
            (), tf.random.experimental.stateless_fold_in(tf.constant((seed, 1)), 9)
        )
        shot = iso * 1e-6
        read = np.exp(2.18 * np.log(shot) + 1.20 + 0.26 * float(spread))
        variances = noise.reshape(4, -1).var(1)
        np.testing.assert_allclose(variances, shot * light[:: 256 * 256] + read, rtol=0.03)


def test_the_range_of_iso_is_the_published_range_of_noise():
    # Brooks et al. 2019: shot variance from 0.0001 to 0.012.
    assert pytest.approx(1e-4) == 100 * camera.SHOT_VARIANCE_PER_ISO
    assert pytest.approx(0.012) == 12_000 * camera.SHOT_VARIANCE_PER_ISO


@pytest.mark.parametrize("grey", [0.2, 0.5, 0.8])
def test_shot_noise_of_a_picture_has_the_slope_of_its_curve(grey):
    noisy = degrade("shot:400", np.full((256, 256, 3), grey)) - grey
    light = ((grey + 0.055) / 1.055) ** 2.4
    slope = 1.055 / 2.4 * light ** (1 / 2.4 - 1)
    # Read noise is 1% of it.
    assert noisy.std() == pytest.approx(slope * np.sqrt(4e-4 * light), rel=0.04)


def test_levels_of_iso_are_drawn_by_their_ratio():
    # Half of them lie below the geometric mean, 800, not below 6,450.
    step = tasks.parse_chain("shot:100-6400")[0]
    seeds = [tf.constant((seed, 4)) for seed in range(300)]
    drawn = np.array([float(operators._draw_level(step, seed)) for seed in seeds])
    assert 100 <= drawn.min() < 130
    assert 5000 < drawn.max() <= 6400
    assert abs((drawn < 800).mean() - 0.5) < 4 * 0.5 / np.sqrt(300)


def spectrum_share(noise):
    """Returns the share of power beyond half of the highest frequency along rows or columns."""
    power = np.abs(np.fft.fft2(noise - noise.mean())) ** 2
    frequency = np.abs(np.fft.fftfreq(len(noise)))
    high = np.maximum(frequency[:, None], frequency[None]) > 0.25
    return power[high].sum() / power.sum()


@pytest.mark.parametrize("chance", [0.1, 0.9], ids=["bilinear", "malvar"])
def test_demosaiced_noise_is_weak_at_high_frequencies(chance):
    white = tf.random.stateless_normal((1, 260, 260, 1), (3, 4))
    # White noise has 3/4 of its power there: the plane but for a square of half its side.
    assert spectrum_share(white[0, ..., 0].numpy()) == pytest.approx(0.75, abs=0.02)
    for_colours = camera._demosaic(white, tf.constant(chance), tf.constant((5, 6)))[0].numpy()
    # Green keeps half of the pixels as they are, red and blue a quarter.
    for channel, limit in enumerate((0.6, 0.7, 0.6)):
        assert spectrum_share(for_colours[..., channel]) < limit


def correlation(noise):
    noise = noise - noise.mean()
    return (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()


@pytest.mark.parametrize("stddev", [3, 12])
def test_grain_has_its_strength_and_its_neighbours_are_alike(stddev):
    correlations = []
    for seed in range(8):
        noise = degrade(f"grain:{stddev}", np.full((160, 160, 3), 0.5), (seed, 1)) - 0.5
        assert noise.std() == pytest.approx(stddev / 255, rel=0.05)
        correlations.append(correlation(noise[..., 0]))
    # A Gaussian of s pixels gives its neighbours exp(-1 / 4 s^2).
    assert min(correlations) > 0.15
    assert 0.6 < max(correlations) < 0.9


def test_noise_of_a_developed_picture_is_correlated_and_that_of_a_grey_sensor_less():
    colour = np.full((96, 96, 3), 0.5, np.float32)
    noisy = [degrade("camera:800", colour, (seed, 0))[..., 1] for seed in range(10)]
    assert min(map(correlation, noisy)) > 0.1
    assert np.ptp(list(map(correlation, noisy))) > 0.2  # Cameras differ.


# --- Mosaic, sharpening, resizing, JPEG.


@pytest.mark.parametrize("chance", [0.1, 0.9], ids=["bilinear", "malvar"])
@pytest.mark.parametrize("seed", range(5))
def test_demosaicing_gives_ramps_back(chance, seed):
    # Both methods are exact where all colours change linearly, and alike: any phase of the mosaic.
    rows, columns = np.indices((20, 24))
    ramp = np.float32(0.3 * rows + 0.5 * columns)[..., None] + np.float32([0, 0, 0])
    mosaic = camera._mosaic(tf.constant(ramp), tf.constant((seed, 9)))
    guessed = camera._demosaic(mosaic[None], tf.constant(chance), tf.constant((seed, 9)))[0]
    np.testing.assert_allclose(guessed, ramp[2:-2, 2:-2], atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_bilinear_demosaicing_is_the_mean_of_the_neighbours_that_are_known(rng, seed):
    picture, own = rng.random((16, 18, 3), np.float32), tf.constant((seed, 9))
    mosaic = camera._mosaic(tf.constant(picture), own).numpy()
    known = np.abs(picture - mosaic) == 0  # (16, 18, 3): one colour of each pixel.
    assert (known.sum(-1) == 1).all()
    assert known.mean((0, 1)) == pytest.approx([0.25, 0.5, 0.25])
    guessed = camera._demosaic(tf.constant(mosaic[None]), tf.constant(0.1), own)[0].numpy()
    for channel in range(3):
        cells = known[..., channel].astype(float)
        # Green from its four neighbours, red and blue from the nearest two or four.
        kernel = (
            [[0, 1, 0], [1, 4, 1], [0, 1, 0]] if channel == 1 else np.outer([1, 2, 1], [1, 2, 1])
        )
        values = convolve(picture[..., channel] * cells, np.array(kernel, float))
        expected = (values / convolve(cells, np.array(kernel, float)))[2:-2, 2:-2]
        np.testing.assert_allclose(guessed[..., channel], expected, atol=1e-5)


def test_malvar_demosaicing_is_the_better_one_on_an_edge_of_grey(rng):
    picture = gaussian_filter(rng.random((64, 64)), 1.0)[..., None].repeat(3, -1).astype("f")
    own = tf.constant((2, 9))
    mosaic = camera._mosaic(tf.constant(picture), own)[None]
    errors = [
        float(tf.reduce_mean((camera._demosaic(mosaic, chance, own)[0] - picture[2:-2, 2:-2]) ** 2))
        for chance in (tf.constant(0.1), tf.constant(0.9))
    ]
    assert errors[1] < 0.5 * errors[0]


def test_a_mosaic_leaves_grey_pictures(picture):
    grey = tf.constant(picture[..., :1])
    np.testing.assert_array_equal(camera.remosaic(grey, 1.0, tf.constant((1, 1))), grey)


def test_sharpening_equals_an_unsharp_mask(picture):
    blurred = gaussian_filter(picture, (1, 1, 0), mode="reflect", truncate=3)
    expected = np.clip(picture + 0.7 * (picture - blurred), 0, 1)
    np.testing.assert_allclose(degrade("sharpen:0.7", picture), expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_resizing_moves_nothing(picture, seed):
    resized = degrade("resize:1.7", picture, (seed, 0))
    assert shifts(picture, resized).max() < 1
    same = [np.abs(np.roll(resized, by, (0, 1)) - picture)[4:-4, 4:-4].mean() for by in (-1, 0, 1)]
    assert same[1] < min(same[0], same[2])


@pytest.mark.parametrize("quality", [1, 50, 95, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_of_full_chroma_gives_the_very_pixels_of_pillow(rng, quality, channels):
    pixels = arrays.to_uint8(rng.random((5, 7, channels)).repeat(5, 0).repeat(5, 1))
    seen = operators.jpeg444(tf.constant(arrays.to_float(pixels)), quality, None)
    image, stream = Image.fromarray(pixels.squeeze()), io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0)
    expected = np.asarray(Image.open(stream)).reshape(pixels.shape)
    np.testing.assert_array_equal(arrays.to_uint8(seen.numpy()), expected)


# --- Shares.


def test_a_share_leaves_the_others_as_they_are(picture):
    touched = []
    for seed in range(200):
        once = degrade("noise:20@0.5", picture, (seed, 0))
        np.testing.assert_array_equal(degrade("noise:20@0.5", picture, (seed, 0)), once)
        touched.append(not np.array_equal(once, picture))
        expected = degrade("noise:20", picture, (seed, 0)) if touched[-1] else picture
        np.testing.assert_array_equal(once, expected)
    assert abs(np.mean(touched) - 0.5) < 4 * 0.5 / np.sqrt(200)


def test_steps_of_a_chain_are_chosen_independently(picture):
    chains = {
        (False, False): "",
        (True, False): "noise:20",
        (True, True): "noise:20 sharpen:1",
    }
    seen = {}
    for seed in range(40):
        changed = degrade("noise:20@0.5 sharpen:1@0.5", picture, (seed, 0))
        for key, chain in chains.items():
            if np.array_equal(changed, degrade(chain, picture, (seed, 0))):
                seen[key] = seen.get(key, 0) + 1
        if np.array_equal(changed, degrade("sharpen:1", picture, (seed, 0))):
            seen[False, True] = seen.get((False, True), 0) + 1
    assert len(seen) == 4
    assert sum(seen.values()) == 40


def test_a_share_of_none_leaves_every_picture(picture):
    for seed in range(20):
        np.testing.assert_array_equal(degrade("noise:20@0", picture, (seed, 0)), picture)
    # What comes after it is what it was.
    np.testing.assert_array_equal(
        degrade("clip:0 noise:20", picture), degrade("jpeg:20@0 noise:20", picture)
    )


def test_a_share_of_all_is_no_share(picture):
    np.testing.assert_array_equal(
        degrade("noise:20@1 jpeg:60-90@1", picture), degrade("noise:20 jpeg:60-90", picture)
    )


def test_a_picture_that_is_not_chosen_does_not_pay():
    task = Task("", "jpeg:50@0.5")
    make_pair = tf.function(lambda picture, seed: operators.make_pair(task, picture, seed))
    signature = (tf.TensorSpec((8, 8, 3)), tf.TensorSpec((2,), tf.int32))
    graph = make_pair.get_concrete_function(*signature).graph
    operations = {operation.type for operation in graph.get_operations()}
    assert not [name for name in operations if "Jpeg" in name]
    assert operations & {"If", "StatelessIf"}


@pytest.mark.parametrize("operator", chains.HERE)
def test_every_operator_takes_a_share_in_a_graph(operator):
    low, high = OPERATORS[operator].low, OPERATORS[operator].high
    task = Task("", chains.word(operator, f"{low:g}-{min(high, 20 * max(low, 1)):g}@0.5"))
    make_pair = tf.function(lambda picture, seed: operators.make_pair(task, picture, seed))
    signature = (tf.TensorSpec((8, 8, 3)), tf.TensorSpec((2,), tf.int32))
    assert make_pair.get_concrete_function(*signature).structured_outputs[0].shape == (8, 8, 3)


def test_the_level_of_a_step_does_not_tell_whether_it_happens(picture):
    # One draw for both would give only weak noise to a share of half.
    strengths = [degrade("noise:0-40@0.5", picture, (seed, 0)) - picture for seed in range(60)]
    deviations = [noise.std() * 255 for noise in strengths if noise.any()]
    assert min(deviations) < 10
    assert max(deviations) > 25


def test_colours_beyond_the_sensor_stay_numbers():
    """Saturated colours are negative in some sensor's colours, where a variance has no root."""
    corners = np.array([[[r, g, b] for r in (0, 1) for g in (0, 1)] for b in (0, 1)], np.float32)
    image = tf.constant(np.repeat(np.repeat(corners, 8, axis=0), 8, axis=1))
    made = tf.function(lambda seed, iso: FUNCTIONS["camera"](image, iso, tf.stack([seed, 7]), 0.0))
    for seed in range(150):
        for iso in (100.0, 12800.0):
            assert np.isfinite(made(tf.constant(seed), tf.constant(iso)).numpy()).all()
