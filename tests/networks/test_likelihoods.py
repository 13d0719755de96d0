"""Likelihoods of the VAE against SciPy, and the laws that a probability obeys."""

import importlib.util
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from tf_deconv.networks import likelihoods, table
from tf_deconv.utils.options import UserError

LEVELS = np.arange(256, dtype=np.float32) / 255.0
# Half-precision outputs reach 65504.
EXTREMES = [-65504.0, -1000.0, -30.0, -8.0, 0.0, 0.5, 1.0, 8.0, 30.0, 1000.0, 65504.0]
BOUNDED = ["gaussian", "logistic"]


def log_probability(name, image, output):
    return np.asarray(likelihoods.make_likelihood(name).log_probability(image, output))


def log_masses(name, *parts):
    """Of one pixel whose output is `parts`: the log-probability of each of the 256 levels."""
    output = np.tile(np.float32(parts), (256, 1, 1, 1))
    return log_probability(name, LEVELS.reshape(-1, 1, 1, 1), output).astype(np.float64)


def log_mass_by_scipy(name, image, location, raw=None):
    """The same from distributions of SciPy in float64."""
    if name == "bernoulli":
        return scipy.stats.bernoulli.logpmf(image, scipy.special.expit(location))
    softplus = np.logaddexp
    if name == "gaussian":
        minimum = 2 * np.log(1 / 510)
        stddev = np.exp(0.5 * (minimum + softplus(0, raw - minimum)))
        return scipy.stats.norm.logpdf(image, location, stddev) + np.log(1 / 255)
    minimum = np.log(np.exp(-7) / 2)
    logistic = scipy.stats.logistic(location, np.exp(minimum + softplus(0, raw - minimum)))
    # Right of the mean both cdf are near 1, so there the survival functions are subtracted.
    upper, lower = image + 1 / 510, image - 1 / 510
    upper, lower = np.where(image == 1, np.inf, upper), np.where(image == 0, -np.inf, lower)
    left = logistic.cdf(upper) - logistic.cdf(lower)
    right = logistic.sf(lower) - logistic.sf(upper)
    return np.log(np.where(image < location, left, right))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_log_probability_is_the_sum_of_scipys(name, channels, rng):
    likelihood = likelihoods.make_likelihood(name)
    image = rng.integers(0, 256, (4, 5, 6, channels)) / 255
    if likelihood.binary:
        image = np.round(image)
    location = rng.normal(0.5, 0.3, image.shape)
    raw = [rng.normal(-4, 1, image.shape) for _ in range(likelihood.parameters - 1)]
    expected = log_mass_by_scipy(name, image, location, *raw).sum((1, 2, 3))
    output = np.concatenate([location, *raw], -1).astype(np.float32)
    received = log_probability(name, image.astype(np.float32), output)
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_bernoulli_of_a_grey_picture_is_the_cross_entropy():
    # p = 0.8 at logit ln 4: 0.3 ln 0.8 + 0.7 ln 0.2.
    received = log_probability(
        "bernoulli", np.full((1, 1, 1, 1), 0.3, "f"), np.full((1, 1, 1, 1), math.log(4), "f")
    )
    assert received[0] == pytest.approx(0.3 * math.log(0.8) + 0.7 * math.log(0.2), rel=1e-6)


def test_bernoulli_of_a_sure_logit_equals_the_logit():
    # In float32 sigmoid(-200) is 0 and its logarithm infinite.
    ones = np.ones((1, 1, 1, 1), np.float32)
    assert log_probability("bernoulli", ones, -200 * ones)[0] == pytest.approx(-200)
    assert log_probability("bernoulli", 0 * ones, 200 * ones)[0] == pytest.approx(-200)
    assert log_probability("bernoulli", ones, 200 * ones)[0] == pytest.approx(0)


@pytest.mark.parametrize("raw_log_scale", [-1000, -30, -7, -5, -4, -3, -1, 0, 3, 30, 100, 1000])
@pytest.mark.parametrize("mean", [-1000, -1, 0, 0.001, 0.3, 127.5 / 255, 1, 1.2, 1000])
def test_logistic_masses_of_all_levels_sum_to_one(mean, raw_log_scale):
    masses = log_masses("logistic", mean, raw_log_scale)
    assert scipy.special.logsumexp(masses) == pytest.approx(0, abs=3e-4)


@pytest.mark.parametrize("raw_log_scale", [-30, -5, -2, 0, 5, 12])
def test_logistic_log_mass_equals_the_exact_one_far_in_the_tail(raw_log_scale):
    # A difference of two sigmoids in float32 is 0 here; the oracle is log S(b) + log S(-a) + log(1
    # - e^(a - b)) in float64 on the bin of level 77, 0.5 below the mean.
    minimum = -7 - np.log(2)
    log_scale = minimum + np.logaddexp(0, raw_log_scale - minimum)
    a, b = ((77 / 255 + side / 510 - 0.8) / np.exp(log_scale) for side in (-1, 1))
    expected = -np.logaddexp(0, -b) - np.logaddexp(0, a) + np.log(-np.expm1(a - b))
    assert log_masses("logistic", 0.8, raw_log_scale)[77] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stddev", [0.004, 0.02, 0.1])
def test_gaussian_masses_of_all_levels_sum_to_one_where_the_bell_fits(stddev):
    masses = log_masses("gaussian", 0.5, 2 * math.log(stddev))
    assert scipy.special.logsumexp(masses) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("mean", [0, 0.5 / 255, 0.5, 127.5 / 255, 1])
def test_no_gaussian_however_narrow_gets_more_than_a_probability(mean):
    # At the narrowest, a standard deviation of half a level, the 256 values sum to 1 + 2 e^(-pi^2
    # / 2) = 1.0144 where a mean is a level (Poisson's summation).
    masses = log_masses("gaussian", mean, -1000)
    assert masses.max() <= math.log(0.8)
    assert scipy.special.logsumexp(masses) <= math.log(1.0145)


def test_no_logistic_however_narrow_is_surer_of_a_level_than_its_scale_allows():
    assert np.exp(log_masses("logistic", 100 / 255, -1000).max()) == pytest.approx(0.973, abs=1e-3)


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_values_and_gradients_are_finite_at_extreme_outputs(name):
    likelihood = likelihoods.make_likelihood(name)
    grid = np.meshgrid([0.0, 0.5, 1.0], *[EXTREMES] * likelihood.parameters, indexing="ij")
    image, *parts = (np.float32(axis).reshape(-1, 1, 1, 1) for axis in grid)
    image, output = tf.constant(image), tf.constant(np.concatenate(parts, -1))
    with tf.GradientTape() as tape:
        tape.watch([image, output])
        values = likelihood.log_probability(image, output)
    assert np.isfinite(values).all()
    for gradient in tape.gradient(values, [image, output]):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", BOUNDED)
def test_the_raw_scale_has_a_gradient_below_its_minimum(name):
    # A clip would have none: a pixel that ran below the minimum could never come back.
    likelihood = likelihoods.make_likelihood(name)
    output = tf.constant([[[[0.5, -14.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(output)
        value = likelihood.log_probability(tf.fill((1, 1, 1, 1), 0.75), output)
    assert tape.gradient(value, output)[0, 0, 0, 1] > 0.9


@pytest.mark.parametrize("name", BOUNDED)
def test_gradient_equals_the_difference_quotient_of_scipys(name):
    image, parts = 100 / 255, np.array([0.37, -3.5])
    likelihood = likelihoods.make_likelihood(name)
    output = tf.constant(parts.reshape(1, 1, 1, 2), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(output)
        value = likelihood.log_probability(tf.fill((1, 1, 1, 1), image), output)
    gradient = np.asarray(tape.gradient(value, output)).ravel()
    for i, step in enumerate(1e-5 * np.eye(2)):
        up, down = (log_mass_by_scipy(name, image, *(parts + sign * step)) for sign in (1, -1))
        assert gradient[i] == pytest.approx((up - down) / 2e-5, rel=1e-3)


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_a_picture_is_likelier_the_nearer_the_mean(name):
    rest = [-4.0] * (likelihoods.make_likelihood(name).parameters - 1)
    masses = [log_masses(name, location, *rest)[255] for location in (-1, 0.2, 0.7, 0.99)]
    assert masses == sorted(masses)


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_mean_is_a_picture_in_range_from_the_first_channels(name):
    likelihood = likelihoods.make_likelihood(name)
    location = np.array([-65504, -1, 0, 0.25, 1, 65504], np.float32).reshape(1, 1, 2, 3)
    output = np.concatenate([location] + [location * 0 - 9] * (likelihood.parameters - 1), -1)
    received = np.asarray(likelihood.mean(output))
    expected = scipy.special.expit(location) if likelihood.binary else np.clip(location, 0, 1)
    np.testing.assert_allclose(received, expected, rtol=1e-6)
    assert likelihood.binary == (name == "bernoulli")


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_half_precision_outputs_are_summed_in_float32(name, rng):
    parameters = likelihoods.make_likelihood(name).parameters
    image = rng.random((2, 28, 28, 1), np.float32)
    output = rng.normal(-2, 1, (2, 28, 28, parameters)).astype(np.float16)
    halves = log_probability(name, image, tf.constant(output))
    np.testing.assert_allclose(halves, log_probability(name, image, output.astype("f")))
    assert likelihoods.make_likelihood(name).mean(tf.constant(output)).dtype == tf.float32


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
def test_unknown_sizes_trace_and_xla_agrees(name, rng):
    parameters = likelihoods.make_likelihood(name).parameters
    image = rng.random((2, 4, 4, 1), np.float32)
    output = rng.normal(0, 1, (2, 4, 4, parameters)).astype("f")
    likelihood = likelihoods.make_likelihood(name)
    signature = [
        tf.TensorSpec((None, None, None, channels), tf.float32) for channels in (1, parameters)
    ]
    traced = tf.function(likelihood.log_probability, input_signature=signature)
    compiled = tf.function(likelihood.log_probability, jit_compile=True)
    expected = log_probability(name, image, output)
    for function in (traced, compiled):
        np.testing.assert_allclose(function(image, output), expected, rtol=1e-5)


@pytest.mark.parametrize("name", likelihoods.LIKELIHOODS)
@pytest.mark.parametrize(
    ("image", "channels"), [((2, 4, 4, 3), 1), ((2, 4, 4, 1), 3), ((2, 1, 4, 3), 3), ((4, 4, 3), 3)]
)
def test_shapes_that_would_broadcast_are_refused(name, image, channels):
    likelihood = likelihoods.make_likelihood(name)
    output = np.zeros((2, 4, 4, channels * likelihood.parameters), np.float32)
    with pytest.raises(ValueError, match="would broadcast silently"):
        likelihood.log_probability(np.zeros(image, np.float32), output)


def test_the_options_offer_every_likelihood():
    assert tuple(likelihoods.LIKELIHOODS) == table.LIKELIHOODS


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"'gausian' \(did you mean 'gaussian'\?\)"):
        likelihoods.make_likelihood("gausian")


def test_a_uniform_grey_level_costs_eight_bits_per_dimension():
    assert likelihoods.bits_per_dimension(3072 * math.log(256), 3072) == pytest.approx(8)
    nats = np.array([0, 784 * math.log(2)])
    np.testing.assert_allclose(likelihoods.bits_per_dimension(nats, 784), [0, 1])


def test_normal_log_density_equals_scipys(rng):
    x, mean, log_variance = rng.normal(0, 2, (3, 4, 8)).astype("f")
    expected = scipy.stats.norm.logpdf(x, mean, np.exp(log_variance / 2))
    received = likelihoods.normal_log_density(x, mean, log_variance)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_gaussian_kl_equals_the_mean_of_the_log_ratio():
    mean, log_variance = np.array([[0.3, -2.0, 0.0]], "f"), np.array([[-1.0, 0.7, -6.0]], "f")
    # Gauss-Hermite quadrature of log q - log p under q; exact, since the integrand is quadratic.
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    x = (mean + np.exp(log_variance / 2) * nodes[:, None]).astype("f")
    ratio = likelihoods.normal_log_density(x, mean, log_variance)
    ratio = ratio - likelihoods.normal_log_density(x, 0.0, 0.0)
    expected = weights @ np.asarray(ratio) / weights.sum()
    received = np.asarray(likelihoods.gaussian_kl(mean, log_variance))
    assert received.shape == (1, 3)
    np.testing.assert_allclose(received[0], expected, rtol=1e-5)


def test_gaussian_kl_is_never_negative_near_the_prior(rng):
    log_variance = rng.normal(0, 1e-3, (1000, 4)).astype("f")
    received = np.asarray(likelihoods.gaussian_kl(np.zeros_like(log_variance), log_variance))
    assert received.min() >= 0
    # v^2 / 4 + v^3 / 12: exp(v) - 1 - v loses all of it to rounding.
    expected = log_variance.astype(float) ** 2 / 4 + log_variance.astype(float) ** 3 / 12
    np.testing.assert_allclose(received, expected, atol=1e-9)


JAX = """
import json
import jax, keras, numpy as np
from tf_deconv import config, likelihoods

assert keras.backend.backend() == "jax"
image = np.linspace(0, 1, 16, dtype="f").reshape(1, 4, 4, 1)
rows = {}
for name in likelihoods.LIKELIHOODS:
    likelihood = likelihoods.make_likelihood(name)
    output = np.linspace(-9, 1, 16 * likelihood.parameters, dtype="f").reshape(1, 4, 4, -1)
    value = lambda output: likelihood.log_probability(image, output)[0]
    gradient = jax.jit(jax.grad(value))(output)
    rows[name] = [float(value(output)), float(abs(gradient).sum())]
print(json.dumps(rows))
"""


@pytest.mark.clients
def test_jax_gives_the_values_and_gradients_of_tensorflow():
    if importlib.util.find_spec("jax") is None:
        required = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)("not installed: jax")
    # In a process of its own: a process has one backend.
    done = subprocess.run(
        [sys.executable, "-c", JAX],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    received = json.loads(done.stdout.splitlines()[-1])
    image = tf.reshape(tf.linspace(0.0, 1.0, 16), (1, 4, 4, 1))
    for name in likelihoods.LIKELIHOODS:
        likelihood = likelihoods.make_likelihood(name)
        size = 16 * likelihood.parameters
        output = tf.reshape(tf.linspace(-9.0, 1.0, size), (1, 4, 4, likelihood.parameters))
        with tf.GradientTape() as tape:
            tape.watch(output)
            value = likelihood.log_probability(image, output)[0]
        gradient = tf.reduce_sum(tf.abs(tape.gradient(value, output)))
        np.testing.assert_allclose(received[name], [value, gradient], rtol=1e-4)
