"""Laws of the forward operators, over sizes from one pixel up, channels, number types and seeds."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures import chains
from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import FUNCTIONS, OPERATORS, RESTORATIONS, Task
from tf_deconv.images import arrays

SIDES = st.integers(1, 19)
SEEDS = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
FACTORS = st.sampled_from([1, 2, 3, 4])
DTYPES = st.sampled_from([np.uint8, np.uint16, np.float32])
every_task = pytest.mark.parametrize("task", RESTORATIONS.values(), ids=RESTORATIONS)
every_operator = pytest.mark.parametrize("name", chains.HERE)
# The level at which an operator leaves the picture as it is; photons, ISO and JPEG have none.
NEUTRAL = {
    **dict.fromkeys(("noise", "awgn", "clip", "blur", "mosaic", "grain", "sharpen"), 0),
    **dict.fromkeys(("matrix", "smooth"), 0),
    **dict.fromkeys(("motion", "resize", "balance", "tone"), 1),
}


def few(count):
    """Settings for a machine of any speed; examples follow from the test and what is imported."""
    return settings(max_examples=count, deadline=None, derandomize=True)


@st.composite
def pictures(draw, channels=(1, 3), factor=1):
    """(H, W, C) float32 in [0, 1] as a file of 8 or 16 bits or a float array gives it."""
    size = [draw(SIDES) + factor - 1 for _ in range(2)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pixels = rng.random((*size, draw(st.sampled_from(channels))), np.float32)
    if draw(st.booleans()):  # Black and white alone: the ends of the range.
        pixels = np.rint(pixels)
    return arrays.as_unit(arrays.as_pixels(pixels, draw(DTYPES)))


def levels(name):
    """Levels of an operator: both ends, and what lies between."""
    low, high = OPERATORS[name].low, OPERATORS[name].high
    return st.sampled_from([low, high]) | st.floats(low, high, width=32)


def operate(name, picture, level, seed=(1, 2), highest=None):
    operator = FUNCTIONS[name]
    highest = level if highest is None else highest
    return operator(tf.constant(picture), level, tf.constant(seed), highest).numpy()


def pair(task, picture, seed):
    degraded, clean = operators.make_pair(task, tf.constant(picture), tf.constant(seed))
    return degraded.numpy(), clean.numpy()


def check_picture(picture, shape, in_range=True):
    assert picture.shape == shape
    assert picture.dtype == np.float32
    assert np.isfinite(picture).all()
    assert not in_range or picture.size == 0 or 0 <= picture.min() <= picture.max() <= 1


@every_operator
@few(25)
@given(st.data())
def test_an_operator_makes_a_picture_of_every_picture(name, data):
    picture, level, seed = data.draw(pictures()), data.draw(levels(name)), data.draw(SEEDS)
    degraded = operate(name, picture, level, seed)
    # The noise of the literature's protocols is the one operator that leaves the range.
    check_picture(degraded, picture.shape, in_range=name != "awgn")
    np.testing.assert_array_equal(operate(name, picture, level, seed), degraded)


@pytest.mark.parametrize("name", NEUTRAL)
@few(20)
@given(pictures(), SEEDS, st.floats(0, 1))
def test_the_neutral_level_leaves_every_picture_as_it_is(name, picture, seed, share):
    # Also where the kernel is larger, because a range of levels is drawn from.
    low, high = OPERATORS[name].low, OPERATORS[name].high
    same = operate(name, picture, NEUTRAL[name], seed, low + share * (high - low))
    np.testing.assert_allclose(same, picture, atol=1e-6)


@few(20)
@given(pictures(channels=(1,)))
def test_jpeg_of_quality_100_keeps_grey_to_four_levels(picture):
    assert np.abs(operate("jpeg", picture, 100) - picture).max() <= 4.5 / 255


@pytest.mark.parametrize("name", ["blur", "motion"])
@few(25)
@given(st.data())
def test_a_blur_keeps_what_is_constant(name, data):
    height, width, channels = data.draw(SIDES), data.draw(SIDES), data.draw(st.integers(1, 4))
    grey = data.draw(st.floats(0, 1, width=32))
    picture = np.full((height, width, channels), grey, np.float32)
    blurred = operate(name, picture, data.draw(levels(name)), data.draw(SEEDS))
    np.testing.assert_allclose(blurred, picture, atol=1e-5)


@pytest.mark.parametrize("name", ["blur", "motion"])
@few(15)
@given(pictures(channels=(3, 4)), st.data())
def test_a_blur_treats_channels_alike_and_apart(name, picture, data):
    level, seed = data.draw(levels(name)), data.draw(SEEDS)
    together = operate(name, picture, level, seed)
    channels = np.split(picture, picture.shape[-1], axis=-1)
    apart = [operate(name, channel, level, seed) for channel in channels]
    np.testing.assert_allclose(together, np.concatenate(apart, -1), atol=1e-6)


@few(25)
@given(SIDES, SIDES, FACTORS, st.integers(1, 4), st.floats(0, 1, width=32))
def test_resampling_keeps_what_is_constant(height, width, factor, channels, grey):
    small = tf.fill((height, width, channels), grey)
    large = tf.fill((height * factor, width * factor, channels), grey)
    np.testing.assert_allclose(operators.downsample(large, factor), small, atol=2e-6)
    np.testing.assert_allclose(operators.upsample(small, factor), large, atol=2e-6)


@few(20)
@given(pictures(channels=(1, 3, 4)), FACTORS)
def test_resampling_gives_pictures_and_a_factor_of_1_the_same(picture, factor):
    height, width, channels = picture.shape
    large = operators.upsample(tf.constant(picture), factor).numpy()
    check_picture(large, (height * factor, width * factor, channels))
    check_picture(operators.downsample(tf.constant(large), factor).numpy(), picture.shape)
    for resample in (operators.downsample, operators.upsample):
        np.testing.assert_allclose(resample(tf.constant(picture), 1), picture, atol=1e-6)


@few(20)
@given(pictures(channels=(1, 3)), FACTORS)
def test_resampling_a_mirrored_or_turned_picture_is_the_same_mirrored_or_turned(picture, factor):
    # Clipped after the first axis too, rows before columns was up to 0.03 from columns before rows.
    def check(resample, picture):
        result = resample(tf.constant(picture), factor).numpy()
        for move in (lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x.swapaxes(0, 1)):
            moved = np.ascontiguousarray(move(picture))
            moved = resample(tf.constant(moved), factor).numpy()
            np.testing.assert_allclose(moved, move(result), atol=5e-6)

    check(operators.upsample, picture)
    check(operators.downsample, picture.repeat(factor, 0).repeat(factor, 1))


@every_task
@few(10)
@given(st.data())
def test_a_task_makes_a_pair_of_every_picture(task, data):
    channels = (task.source_channels,)
    picture, seed = data.draw(pictures(channels, factor=task.scale)), data.draw(SEEDS)
    degraded, clean = pair(task, picture, seed)
    small = [side // task.scale for side in picture.shape[:2]]
    large = [side * task.scale for side in small]
    check_picture(degraded, (*small, task.channels_in))
    check_picture(clean, (*large, task.channels_out))
    cut = picture[: large[0], : large[1], -3:]
    expected = arrays.luminance(cut) if task.grey_output else cut
    np.testing.assert_allclose(clean, expected, atol=1e-6)
    again = pair(task, picture, seed)
    np.testing.assert_array_equal(again[0], degraded)
    np.testing.assert_array_equal(again[1], clean)
    if task.mask:
        known = degraded[..., -1:]
        assert set(np.unique(known)) <= {0.0, 1.0}
        np.testing.assert_array_equal(degraded[..., :-1], clean * known)


@functools.cache
def in_a_graph(task):
    """`make_pair` traced once, for a picture of any size."""
    picture = tf.TensorSpec((None, None, task.source_channels), tf.float32)
    signature = [picture, tf.TensorSpec((2,), tf.int32)]
    return tf.function(functools.partial(operators.make_pair, task), input_signature=signature)


@every_task
@few(8)
@given(st.data())
def test_a_graph_for_all_sizes_equals_eager(task, data):
    # A parallel map over pictures of one size is in test_degradations.
    channels = (task.source_channels,)
    picture, seed = data.draw(pictures(channels, factor=task.scale)), data.draw(SEEDS)
    for eager, graph in zip(pair(task, picture, seed), in_a_graph(task)(picture, seed)):
        np.testing.assert_allclose(graph, eager, atol=2e-6)


@few(15)
@given(pictures(channels=(3,)), SEEDS, st.lists(st.sampled_from(chains.HERE), max_size=4))
def test_a_chain_of_any_operators_is_a_picture_and_repeats_itself(picture, seed, names):
    middle = [chains.word(n, f"{OPERATORS[n].low:g}-{min(OPERATORS[n].high, 60):g}") for n in names]
    task = Task("", " ".join(middle))
    degraded, clean = pair(task, picture, seed)
    check_picture(degraded, picture.shape, in_range="awgn" not in names)
    np.testing.assert_array_equal(clean, picture)
    np.testing.assert_array_equal(pair(task, picture, seed)[0], degraded)
