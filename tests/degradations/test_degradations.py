"""Every task's degradation: its range, its repeatability and its strength."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.fixtures import chains
from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import (
    OPERATORS,
    RESTORATIONS,
    TASKS,
    Step,
    Task,
    find_task,
    parse_chain,
)
from tf_deconv.images import arrays, metrics
from tf_deconv.utils.options import UserError

every_task = pytest.mark.parametrize("task", RESTORATIONS.values(), ids=RESTORATIONS)
every_operator = pytest.mark.parametrize("name", chains.HERE)
# A level of each operator that shows.
LEVELS = {
    "noise": 25,
    "awgn": 25,
    "clip": 1,
    "poisson": 30,
    "camera": 6400,
    "shot": 6400,
    "mosaic": 1,
    "matrix": 1,
    "balance": 2,
    "tone": 4,
    "smooth": 1,
    "grain": 25,
    "sharpen": 1,
    "resize": 2,
    "blur": 1.5,
    "motion": 7,
    "jpeg": 20,
    "jpeg444": 20,
    "codec:h264": 30,
    "codec:vp9": 40,
    "codec:mpeg4": 10,
    "codec:mpeg2": 10,
    "codec:mjpeg": 10,
}
SEED = (1, 2)


@pytest.fixture
def picture(rng):
    # 24 divides by every scale; smooth, so that blurring and shrinking leave something.
    return np.clip(rng.random((24, 36, 3)) * 0.2 + np.linspace(0, 0.8, 36)[:, None], 0, 1).astype(
        "f"
    )


def degrade(task, picture, seed=SEED):
    if task.source_channels != picture.shape[-1]:  # What was photographed: half the light.
        picture = np.concatenate([0.5 * picture, picture], axis=-1)
    degraded, clean = operators.make_pair(task, tf.constant(picture), tf.constant(seed))
    return degraded.numpy(), clean.numpy()


@every_task
def test_shapes_and_types_are_as_the_table_says(task, picture):
    degraded, clean = degrade(task, picture)
    height, width, _ = picture.shape
    assert degraded.shape == (height // task.scale, width // task.scale, task.channels_in)
    assert clean.shape == (height, width, task.channels_out)
    assert degraded.dtype == clean.dtype == np.float32


@every_task
@pytest.mark.parametrize("size", [(12, 12), (13, 17), (25, 24), (37, 14)])
def test_sizes_that_a_scale_does_not_divide_are_cut(task, rng, size):
    degraded, clean = degrade(task, rng.random((*size, 3), np.float32))
    assert degraded.shape[:2] == tuple(side // task.scale for side in size)
    assert clean.shape[:2] == tuple(side // task.scale * task.scale for side in size)


@every_task
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_degraded_pictures_stay_between_0_and_1(task, grey):
    degraded, _ = degrade(task, np.full((36, 36, 3), grey, np.float32))
    assert degraded.min() >= 0.0
    assert degraded.max() <= 1.0


@every_task
def test_the_clean_picture_is_left_alone(task, picture):
    clean = degrade(task, picture)[1]
    expected = arrays.luminance(picture) if task.grey_output else picture
    np.testing.assert_allclose(clean, expected, atol=1e-6)


@every_task
def test_one_seed_gives_the_same_picture_twice(task, picture):
    np.testing.assert_array_equal(degrade(task, picture)[0], degrade(task, picture)[0])


RANDOM = ("denoise", "denoise-grey", "low-light", "inpaint", "old-photo", "deblock", "deblur")


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("seed", [(1, 3), (2, 2), (2, 1), (0, 0)])
def test_another_seed_gives_another_picture(name, picture, seed):
    assert np.any(degrade(TASKS[name], picture)[0] != degrade(TASKS[name], picture, seed)[0])


@every_task
def test_eager_equals_a_parallel_map(task, rng):
    pictures = rng.random((16, 12, 12, task.source_channels), np.float32)
    seeds = rng.integers(0, 2**31 - 1, (16, 2), np.int32)
    dataset = tf.data.Dataset.from_tensor_slices((pictures, seeds)).map(
        lambda picture, seed: operators.make_pair(task, picture, seed), num_parallel_calls=4
    )
    for picture, seed, (degraded, clean) in zip(pictures, seeds, dataset.as_numpy_iterator()):
        eager_degraded, eager_clean = degrade(task, picture, seed)
        np.testing.assert_allclose(degraded, eager_degraded, atol=2e-6)
        np.testing.assert_array_equal(clean, eager_clean)


@every_task
def test_static_shapes_stay_static(task):
    def pair(seed):
        return operators.make_pair(task, tf.zeros((24, 24, task.source_channels)), seed)

    degraded, clean = (
        tf.function(pair).get_concrete_function(tf.TensorSpec((2,), tf.int32)).structured_outputs
    )
    assert degraded.shape == (24 // task.scale, 24 // task.scale, task.channels_in)
    assert clean.shape == (24, 24, task.channels_out)


@every_operator
def test_every_operator_changes_a_picture_and_keeps_shape_and_range(name, picture):
    task = Task("", chains.word(name, LEVELS[name]))
    degraded, clean = degrade(task, picture)
    assert degraded.shape == picture.shape
    # The one that no file holds.
    assert (0 <= degraded.min() <= degraded.max() <= 1) == (name != "awgn")
    assert np.any(degraded != clean)


# Of the last one the number says how often, not how much.
@pytest.mark.parametrize("name", [name for name in chains.HERE if name != "clip"])
def test_a_higher_level_hurts_more(name, picture):
    low, high = sorted((LEVELS[name], OPERATORS[name].low + LEVELS[name] / 4))
    scores = [
        metrics.psnr_db(*degrade(Task("", chains.word(name, level)), picture))
        for level in (low, high)
    ]
    # Of photons and of JPEG quality, more is better.
    assert (scores[0] < scores[1]) == (name in ("poisson", "jpeg", "jpeg444"))


# Each seed draws another camera, or another light, and they differ by more than the level does.
@pytest.mark.parametrize(
    "name", [name for name in chains.HERE if name not in ("clip", "camera", "balance")]
)
def test_a_range_draws_another_level_for_each_seed(name, picture):
    low, high = sorted((LEVELS[name], OPERATORS[name].low + LEVELS[name] / 4))
    task = Task("", chains.word(name, f"{low:g}-{high:g}"))
    scores = [metrics.psnr_db(*degrade(task, picture, (seed, 0))) for seed in range(12)]
    ends = [
        metrics.psnr_db(*degrade(Task("", chains.word(name, f"{end:g}")), picture))
        for end in (low, high)
    ]
    assert min(ends) - 2 < min(scores) < max(scores) < max(ends) + 2
    assert max(scores) - min(scores) > 0.2 * (max(ends) - min(ends))


def test_operators_happen_in_their_order(picture):
    one, other = (
        degrade(Task("", chain), picture)[0] for chain in ("blur:2 noise:20", "noise:20 blur:2")
    )
    # Noise that is blurred afterwards is weaker.
    assert np.std(one - picture) > 1.5 * np.std(other - picture)


def test_a_chain_is_read_with_its_ranges():
    steps = parse_chain("blur:1.5 noise:0-50 jpeg:40")
    assert steps == (Step("blur", 1.5, 1.5), Step("noise", 0, 50), Step("jpeg", 40, 40))
    assert parse_chain("") == ()
    assert parse_chain("jpeg:70-98@0.5") == (Step("jpeg", 70, 98, 0.5),)
    usual = Step("camera", 100, 12_800)
    assert parse_chain("camera camera@0.5") == (usual, dataclasses.replace(usual, share=0.5))


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("nois:3", "did you mean 'noise'"),
        ("noise", "expected noise:LEVEL or noise:LOW-HIGH"),
        ("camera:", "expected camera:LEVEL"),
        ("noise:x", "standard deviation in grey levels of 255, from 0 to 255"),
        ("noise:50-10", "expected noise:LEVEL"),
        ("noise:1-2-3", "expected noise:LEVEL"),
        ("jpeg:0", "from 1 to 100"),
        ("blur:-1", "expected blur:LEVEL"),
        ("noise:nan", "expected noise:LEVEL"),
        ("noise@0.5", "expected noise:LEVEL"),
        ("noise:5@1.5", "expected noise:5@SHARE, .* from 0 to 1"),
        ("noise:5@1.0001", "expected noise:5@SHARE"),
        ("noise:5@-0.5", "expected noise:5@SHARE"),
        ("noise:5@nan", "expected noise:5@SHARE"),
        ("noise:5@x", "expected noise:5@SHARE"),
        ("noise:5@", "expected noise:5@SHARE"),
        ("noise:5@0.1-0.5", "expected noise:5@SHARE"),
        ("noise:5@0.5@0.5", "expected noise:5@SHARE"),
        ("nois:5@0.5", "did you mean 'noise'"),
        ("camera:0", "ISO, from 1 to 25600"),
    ],
)
def test_a_wrong_chain_says_what_is_expected(chain, expected):
    with pytest.raises(UserError, match=expected):
        parse_chain(chain)


def test_every_fault_of_a_chain_is_reported():
    with pytest.raises(UserError, match=r"'a:1'.*'jpeg:200'"):
        parse_chain("a:1 noise:3 jpeg:200")


def test_degrade_replaces_the_chain_of_a_task():
    assert find_task("denoise", "noise:0-55").degrade == "noise:0-55"
    assert find_task("denoise").degrade == "noise:25"


@pytest.mark.parametrize("stddev", [5, 25, 50])
def test_noise_on_mid_grey_has_its_strength(stddev):
    # 256 x 256 values: the standard deviation is known to 0.3%. Clipping is rare at 2.5 deviations.
    degraded, _ = degrade(Task("", f"noise:{stddev}"), np.full((256, 256, 3), 0.5, np.float32))
    assert degraded.std() == pytest.approx(stddev / 255, rel=0.02)
    assert degraded.mean() == pytest.approx(0.5, abs=0.002)


def test_noise_that_is_not_clipped_is_the_same_noise(picture):
    white = np.ones_like(picture)
    noisy = degrade(Task("", "awgn:30"), white)[0]
    assert noisy.max() > 1.2
    np.testing.assert_array_equal(np.clip(noisy, 0, 1), degrade(Task("", "noise:30"), white)[0])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_pictures_is_stored_as_in_a_file(share):
    task, stored = Task("", f"awgn:40 clip:{share}"), 0
    for seed in range(80):
        noisy = degrade(task, np.full((6, 6, 3), 0.9, np.float32), (seed, 1))[0]
        levels = noisy * 255
        whole = np.abs(levels - np.round(levels)).max() < 1e-3
        assert whole == (noisy.max() <= 1)  # Either both or neither.
        stored += whole
    # Binomial: four standard deviations.
    assert abs(stored - 80 * share) <= 4 * np.sqrt(80 * share * (1 - share))


def test_photons_of_less_than_no_light_are_none(picture):
    degraded, _ = degrade(Task("", "awgn:80 poisson:20"), 0.1 * picture)
    assert np.isfinite(degraded).all()


@pytest.mark.parametrize("photons", [20, 200])
def test_low_light_noise_has_the_variance_of_its_model(photons):
    degraded, _ = degrade(Task("", f"poisson:{photons}"), np.full((256, 256, 3), 0.4, np.float32))
    expected = 0.4 / photons + operators.READ_NOISE_STDDEV**2
    assert degraded.var() == pytest.approx(expected, rel=0.05)
    assert degraded.mean() == pytest.approx(0.4, abs=0.005)


@pytest.mark.parametrize("stddev", [0.5, 1.5, 3])
def test_gaussian_blur_equals_scipy(picture, stddev):
    from scipy.ndimage import gaussian_filter

    blurred = operators.gaussian_blur(tf.constant(picture), stddev, None, 3)
    expected = gaussian_filter(picture, (stddev, stddev, 0), mode="reflect", truncate=4)
    np.testing.assert_allclose(blurred, expected, atol=2e-5)


def test_blur_of_size_zero_leaves_the_picture(picture):
    blurred = operators.gaussian_blur(tf.constant(picture), 0.0, None, 2)
    np.testing.assert_allclose(blurred, picture, atol=1e-6)


def test_motion_of_one_pixel_leaves_the_picture(picture):
    # A line drawn as a strip one pixel wide also covered a part of the four pixels around.
    moved = operators.motion_blur(tf.constant(picture), 1.0, tf.constant(SEED), 9)
    np.testing.assert_allclose(moved, picture, atol=1e-6)


@pytest.mark.parametrize("length", [2, 5, 8.5])
def test_motion_blur_is_a_line_of_its_length(length):
    point = np.zeros((21, 21, 1), np.float32)
    point[10, 10] = 1
    rows, columns = np.indices((21, 21)) - 10
    angles = []
    for seed in range(8):
        moved = operators.motion_blur(tf.constant(point), length, tf.constant((seed, 1)), 9)
        kernel = moved.numpy()[..., 0]
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        # Its moments: along the line those of a line, across it at most half a pixel squared.
        moments = [(kernel * a * b).sum() for a, b in ((rows, rows), (columns, columns))]
        mixed = (kernel * rows * columns).sum()
        across, along = np.linalg.eigvalsh([[moments[0], mixed], [mixed, moments[1]]])
        assert across < 0.3
        # Points one pixel apart have a variance of (n^2 - 1) / 12, and each is up to 2 pixels wide.
        assert (length**2 - 1) / 12 - 0.05 < along < (length**2 - 1) / 12 + 0.6
        angles.append(np.arctan2(2 * mixed, moments[1] - moments[0]) / 2)
    assert np.std(angles) > 0.3


def test_blur_keeps_the_mean_of_a_point():
    point = np.zeros((41, 41, 1), np.float32)
    point[20, 20] = 1
    for blurred in (
        operators.gaussian_blur(tf.constant(point), 2.0, None, 2),
        operators.motion_blur(tf.constant(point), 9.0, tf.constant(SEED), 9),
    ):
        assert np.sum(blurred) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [1, 10, 40, 75, 95, 100])
def test_jpeg_gives_the_very_pixels_of_pillow(rng, quality, channels):
    # TensorFlow decodes with libjpeg's fast transform unless told otherwise. It overflows at sharp
    # edges: black came out white, at quality 40 and at 100.
    sharp = np.rint(rng.random((40, 56, channels)))
    smooth = rng.random((5, 7, channels)).repeat(8, 0).repeat(8, 1)
    for picture in (sharp, smooth):
        pixels = arrays.to_uint8(picture)
        compressed = operators.jpeg(tf.constant(arrays.to_float(pixels)), quality, None).numpy()
        image, stream = Image.fromarray(pixels.squeeze()), io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        expected = np.asarray(Image.open(stream)).reshape(pixels.shape)
        np.testing.assert_array_equal(arrays.to_uint8(compressed), expected)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_constant_stays_constant_when_resized(factor):
    grey = tf.fill((12, 24, 3), 0.3)
    np.testing.assert_allclose(operators.downsample(grey, factor), 0.3, atol=1e-6)
    np.testing.assert_allclose(operators.upsample(grey, factor), 0.3, atol=1e-6)


def test_missing_pixels_are_black_and_known_ones_untouched(picture):
    for seed in range(9):
        degraded, clean = degrade(TASKS["inpaint"], picture, (seed, 5))
        known = degraded[..., 3:]
        assert set(np.unique(known)) <= {0.0, 1.0}
        np.testing.assert_array_equal(degraded[..., :3], clean * known)


def test_masks_leave_something_and_take_something():
    shares = []
    for seed in range(30):
        mask = operators.inpainting_mask(64, 64, tf.constant((seed, 1))).numpy()
        shares.append(mask.mean())
    assert min(shares) > 0.1
    assert max(shares) < 1.0
    # Pixels, boxes and strokes all come up: their shares differ widely.
    assert np.std(shares) > 0.1


def test_noise_differs_between_channels():
    noisy = operators.gaussian_noise(tf.fill((64, 64, 3), 0.5), 25, tf.constant([7, 42]))
    red, green, blue = np.moveaxis(noisy.numpy(), -1, 0)
    for one, other in ((red, green), (green, blue), (blue, red)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_no_noise_leaves_the_picture(picture):
    noisy = operators.gaussian_noise(tf.constant(picture), 0.0, tf.constant([7, 42]))
    np.testing.assert_array_equal(noisy, picture)


def test_luminance_weights_sum_to_1():
    assert sum(arrays.LUMINANCE_WEIGHTS) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("grey", [0.0, 0.25, 1.0])
def test_grey_stays_grey(grey):
    picture = tf.fill((3, 4, 3), grey)
    luminance = operators.luminance(picture)
    assert luminance.shape == (3, 4, 1)
    np.testing.assert_allclose(luminance, grey, atol=1e-7)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((1, 0, 0), 0.299), ((0, 1, 0), 0.587), ((0, 0, 1), 0.114), ((0.2, 0.4, 0.6), 0.363)],
)
def test_luminance_equals_the_number_by_hand(colour, expected):
    picture = np.array(colour, np.float32).reshape(1, 1, 3)
    assert operators.luminance(picture).numpy().item() == pytest.approx(expected, abs=1e-6)


def test_luminance_of_tensors_equals_that_of_arrays(picture):
    np.testing.assert_allclose(
        operators.luminance(tf.constant(picture)), arrays.luminance(picture), atol=1e-6
    )


# --- Hidden pixels, for training without clean pictures.


CELL_PX = operators.BLIND_CELL_PX


@pytest.mark.parametrize("size", [(64, 64), (28, 28), (1, 1), (8, 17), (5, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_pixel_of_each_cell_is_hidden_and_weighted(rng, size, channels):
    image = rng.random((*size, channels), np.float32)
    hidden, weights = (t.numpy() for t in operators.hide_pixels(image, SEED))
    assert weights.shape == (*size, 1)
    np.testing.assert_allclose(weights.mean(), 1.0, rtol=1e-5)
    for row in range(0, size[0], CELL_PX):
        for column in range(0, size[1], CELL_PX):
            assert np.count_nonzero(weights[row : row + CELL_PX, column : column + CELL_PX]) == 1
    np.testing.assert_array_equal(hidden[weights[..., 0] == 0], image[weights[..., 0] == 0])


@pytest.mark.parametrize("size", [(32, 40), (5, 5), (4, 9), (2, 3), (1, 2)])
def test_a_hidden_pixel_becomes_another_one_of_the_5x5_around_it(size):
    # Pixels that say where they are. At the borders the window is moved in: a mirrored
    # neighbour could be the hidden pixel itself.
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).astype(np.float32)
    steps = set()
    for seed in range(30):
        hidden, weights = (t.numpy() for t in operators.hide_pixels(places, (seed, 1)))
        for row, column in np.argwhere(weights[..., 0] > 0):
            step = hidden[row, column] - (row, column)
            assert np.any(step != 0)
            limits = [4 if at < 2 or at > side - 3 else 2 for at, side in zip((row, column), size)]
            assert np.all(np.abs(step) <= limits)
            steps.add((*map(int, step),))
    if size == (32, 40):
        around = {(y, x) for y in range(-2, 3) for x in range(-2, 3)} - {(0, 0)}
        assert around <= steps


def test_a_picture_of_one_pixel_has_nothing_to_hide_behind():
    hidden, weights = operators.hide_pixels(np.full((1, 1, 3), 0.25, np.float32), SEED)
    assert (hidden.numpy().item(0), weights.numpy().item(0)) == (0.25, 1.0)


def test_another_seed_hides_other_pixels(rng):
    image = rng.random((64, 64, 1), np.float32)
    masks = [operators.hide_pixels(image, [seed, 0])[1].numpy() > 0 for seed in range(20)]
    assert np.mean(masks[0] & masks[1]) < 3 / CELL_PX**4
    # Every place of a cell is as likely as any other.
    cells = 64 // CELL_PX
    shape = (cells, CELL_PX, cells, CELL_PX)
    counts = sum(mask.reshape(shape).sum(axis=(0, 2)) for mask in masks)
    np.testing.assert_allclose(counts, 20 * cells**2 / CELL_PX**2, rtol=0.25)


def test_without_clean_pictures_the_noisy_ones_are_input_and_target(rng):
    task = find_task("denoise", self_supervised=True)
    picture = rng.random((16, 24, 3), np.float32)
    degraded, clean = operators.make_pair(task, tf.constant(picture), tf.constant(SEED))
    np.testing.assert_array_equal(degraded, picture)
    np.testing.assert_array_equal(clean, picture)
