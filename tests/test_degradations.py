"""Every task's degradation: its range, its repeatability and its strength."""

import numpy as np
import pytest
import tensorflow as tf

from tf_deconv import degradations, images
from tf_deconv.tasks import NOISE_STDDEV, TASKS

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


@pytest.fixture
def picture(rng):
    return rng.random((24, 18, 3), np.float32)


def degrade(task, picture, seed=(1, 2)):
    degraded, clean = task.make_pair(tf.constant(picture), tf.constant(seed, tf.int32))
    return degraded.numpy(), clean.numpy()


@every_task
def test_shapes_and_types_are_as_the_table_says(task, picture):
    degraded, clean = degrade(task, picture)
    height, width, _ = picture.shape
    assert degraded.shape == (height, width, task.channels_in)
    assert clean.shape == (height * task.scale, width * task.scale, task.channels_out)
    assert degraded.dtype == clean.dtype == np.float32


@every_task
@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_degraded_pictures_stay_between_0_and_1(task, grey):
    degraded, _ = degrade(task, np.full((32, 32, 3), grey, np.float32))
    assert degraded.min() >= 0.0
    assert degraded.max() <= 1.0
    assert degraded.std() > 0.0


@every_task
def test_the_clean_picture_is_left_alone(task, picture):
    np.testing.assert_array_equal(degrade(task, picture)[1], picture)


@every_task
def test_one_seed_gives_the_same_picture_twice(task, picture):
    np.testing.assert_array_equal(degrade(task, picture)[0], degrade(task, picture)[0])


@every_task
@pytest.mark.parametrize("seed", [(1, 3), (2, 2), (2, 1), (0, 0)])
def test_another_seed_gives_another_picture(task, picture, seed):
    difference = degrade(task, picture)[0] - degrade(task, picture, seed)[0]
    assert np.mean(difference != 0) > 0.9


@every_task
def test_eager_equals_a_parallel_map(task, rng):
    pictures = rng.random((32, 12, 10, 3), np.float32)
    seeds = rng.integers(0, 2**31 - 1, (32, 2), np.int32)
    dataset = tf.data.Dataset.from_tensor_slices((pictures, seeds))
    mapped = list(dataset.map(task.make_pair, num_parallel_calls=4).as_numpy_iterator())
    assert len(mapped) == 32
    for picture, seed, (degraded, clean) in zip(pictures, seeds, mapped):
        eager_degraded, eager_clean = degrade(task, picture, seed)
        np.testing.assert_array_equal(degraded, eager_degraded)
        np.testing.assert_array_equal(clean, eager_clean)


@every_task
def test_noise_on_mid_grey_has_the_strength_of_the_table(task):
    # 256 x 256 values: the standard deviation is known to 0.3%. Clipping is 5 deviations away.
    degraded, _ = degrade(task, np.full((256, 256, 3), 0.5, np.float32))
    for channel in np.moveaxis(degraded, -1, 0):
        assert channel.std() == pytest.approx(NOISE_STDDEV, rel=0.02)
        assert channel.mean() == pytest.approx(0.5, abs=0.02 * NOISE_STDDEV)


@pytest.mark.parametrize("noise_stddev", [0.01, 0.05, 0.1])
def test_noise_stddev_is_a_fraction_of_the_range(noise_stddev):
    grey = tf.fill((256, 256, 1), 0.5)
    noise = degradations.add_gaussian_noise(grey, noise_stddev, tf.constant([7, 42])) - grey
    assert np.std(noise) == pytest.approx(noise_stddev, rel=0.02)


def test_noise_differs_between_channels():
    noisy = degradations.add_gaussian_noise(tf.fill((64, 64, 3), 0.5), 0.1, tf.constant([7, 42]))
    red, green, blue = np.moveaxis(noisy.numpy(), -1, 0)
    for one, other in ((red, green), (green, blue), (blue, red)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_no_noise_leaves_the_picture(picture):
    noisy = degradations.add_gaussian_noise(tf.constant(picture), 0.0, tf.constant([7, 42]))
    np.testing.assert_array_equal(noisy, picture)


def test_luminance_weights_sum_to_1():
    assert sum(images.LUMINANCE_WEIGHTS) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("grey", [0.0, 0.25, 1.0])
def test_grey_stays_grey(grey):
    picture = tf.fill((3, 4, 3), grey)
    luminance = degradations.luminance(picture)
    assert luminance.shape == (3, 4, 1)
    np.testing.assert_allclose(luminance, grey, atol=1e-7)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [((1, 0, 0), 0.299), ((0, 1, 0), 0.587), ((0, 0, 1), 0.114), ((0.2, 0.4, 0.6), 0.363)],
)
def test_luminance_equals_the_number_by_hand(colour, expected):
    picture = np.array(colour, np.float32).reshape(1, 1, 3)
    assert degradations.luminance(picture).numpy().item() == pytest.approx(expected, abs=1e-6)


def test_luminance_of_tensors_equals_that_of_arrays(picture):
    np.testing.assert_allclose(
        degradations.luminance(tf.constant(picture)), images.luminance(picture), atol=1e-6
    )
