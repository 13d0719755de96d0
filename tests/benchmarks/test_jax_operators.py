"""JAX's operators make the pictures that TensorFlow's make, given the same random numbers."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import OPERATORS, TASKS, Task, find_task

# The extra `clients` has jax.
pytestmark = [
    pytest.mark.clients,
    pytest.mark.exhaustive,  # JAX compiles each: minutes.
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax"),
]
sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

fold_in = tf.random.experimental.stateless_fold_in
PHOTO = (
    "camera:100-12800@0.6 noise:0-30@0.35 resize:1-1.5@0.1 jpeg444:75-99@0.25 jpeg:50-99@0.65"
    " clip:1"
)


class TensorFlowDraws:
    """The numbers that TensorFlow's operators draw from a seed."""

    def __init__(self, seed):
        self.seed = tf.constant(seed, tf.int32)

    def fold(self, number):
        return TensorFlowDraws(fold_in(self.seed, number))

    def _seed(self, stream):
        return self.seed if stream is None else fold_in(self.seed, stream)

    def uniform(self, stream, shape=()):
        return tf.random.stateless_uniform(shape, self._seed(stream)).numpy()

    def normal(self, stream, shape=()):
        return tf.random.stateless_normal(shape, self._seed(stream)).numpy()

    def bits(self, stream, shape=()):
        return tf.random.stateless_uniform(shape, self._seed(stream), 0, 2, tf.int32).numpy()

    def poisson(self, stream, rate):
        return tf.random.stateless_poisson(
            rate.shape, self._seed(stream), np.asarray(rate), tf.float32
        ).numpy()


@pytest.fixture(scope="module")
def picture():
    """Smooth colours with edges and with some black and white, 48x64."""
    values = gaussian_filter(np.random.default_rng(0).random((48, 64, 3)), (3, 3, 0), mode="wrap")
    values = (values - values.min()) / (values.max() - values.min())
    values[10:30, 20:40] = 1.0 - values[10:30, 20:40]
    return np.clip(1.2 * values - 0.1, 0.0, 1.0).astype(np.float32)


def both(task, picture, seed):
    """Returns the pairs that TensorFlow and JAX make of a picture."""
    import jax_operators

    theirs = operators.make_pair(task, tf.constant(picture), tf.constant(seed, tf.int32))
    own = jax_operators.make_pair(task, picture, TensorFlowDraws(seed))
    return [[np.asarray(image) for image in pair] for pair in (theirs, own)]


def psnr_db(one, other):
    return -10 * np.log10(max(np.mean((one.astype(float) - other) ** 2), 1e-20))


def test_every_operator_is_there():
    import jax_operators

    # An encoder of films is no formula.
    frames = {name for name, each in OPERATORS.items() if not each.whole_clips}
    assert set(jax_operators.FUNCTIONS) == frames


CHAINS = (
    "noise:5-50",
    "awgn:25",
    "clip:0.5",
    "poisson:10-100",
    "camera:100-12800",
    "shot:1600",
    "mosaic:0.7",
    "matrix:0.7",
    "balance:1-2",
    "tone:0.5-2",
    "smooth:0-1",
    "grain:5-20",
    "sharpen:0-2",
    "resize:1-3",
    "blur:0-2",
    "blur:0",
    "motion:1-9",
)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("chain", CHAINS)
def test_an_operator_makes_the_same_picture(chain, grey, picture):
    task = Task("", chain, grey_input=grey, grey_output=grey)
    for seed in ((1, 2), (3, 4)):
        theirs, own = both(task, picture, seed)
        np.testing.assert_allclose(own[0], theirs[0], atol=2e-4)
        np.testing.assert_array_equal(own[1].shape, theirs[1].shape)
        np.testing.assert_allclose(own[1], theirs[1], atol=1e-6)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("operator", ["jpeg", "jpeg444"])
def test_jpeg_is_that_of_libjpeg_but_for_ties(operator, quality, grey, picture):
    task = Task("", f"{operator}:{quality}", grey_input=grey, grey_output=grey)
    theirs, own = both(task, picture[:37, :51], (1, 2))
    # A frequency that is rounded the other way is a step of the table, large at low quality; of
    # 35 blocks one or two are.
    assert psnr_db(own[0], theirs[0]) > (48 if quality >= 50 else 36)
    assert np.mean(np.abs(own[0] - theirs[0]) > 2.5 / 255) < 0.1


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_super_resolution_begins_with_the_same_small_picture(scale, picture):
    theirs, own = both(TASKS[f"super-resolve-x{scale}"], picture[:48, :48], (1, 2))
    # One grey level where a value lies between two of the 8 bits.
    assert np.abs(own[0] - theirs[0]).max() < 1.01 / 255
    assert np.mean(np.abs(own[0] - theirs[0]) > 0.5 / 255) < 0.01


def test_a_chain_with_shares_makes_the_same_picture(picture):
    equal = 0
    for seed in range(4):
        theirs, own = both(find_task("denoise", PHOTO), picture, (seed, 11))
        assert psnr_db(own[0], theirs[0]) > 40
        equal += np.array_equal(own[0], picture)
    assert equal < 4


def test_a_batch_under_jit_is_each_picture_by_itself(picture):
    import jax
    import jax_operators

    task = find_task("denoise", PHOTO)
    keys = jax.random.split(jax.random.key(0), 3)
    pictures = np.stack([picture, picture[::-1], picture[:, ::-1]])

    def degrade(picture, key):
        return jax_operators.make_pair(task, picture, jax_operators.Draws(key))[0]

    together = jax.jit(jax.vmap(degrade))(pictures, keys)
    for one, picture, key in zip(together, pictures, keys):
        assert psnr_db(np.asarray(one), np.asarray(degrade(picture, key))) > 50
