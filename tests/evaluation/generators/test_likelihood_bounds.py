"""The bounds against probabilistic PCA, whose marginal likelihood is known; binarisation."""

import numpy as np
import pytest
import scipy.stats

from tf_deconv.evaluation.generators.likelihood_bounds import (
    binarise,
    elbo,
    importance_weighted_bound,
    kl_to_standard_normal,
)

PIXELS, LATENTS, NOISE_STDDEV = 6, 2, 0.7


class LinearGaussian:
    """x = W z + mean + noise (Tipping and Bishop 1999): everything is known in closed form."""

    def __init__(self, rng):
        # Orthogonal columns make the posterior's covariance diagonal, as an encoder's is.
        basis, _ = np.linalg.qr(rng.normal(size=(PIXELS, LATENTS)))
        self.weights = basis * [1.5, 0.8]
        self.mean = rng.normal(size=PIXELS)

    def sample(self, rng, count):
        latents = rng.normal(size=(count, LATENTS))
        noise = NOISE_STDDEV * rng.normal(size=(count, PIXELS))
        return latents @ self.weights.T + self.mean + noise

    def log_marginal(self, images):
        covariance = self.weights @ self.weights.T + NOISE_STDDEV**2 * np.eye(PIXELS)
        return scipy.stats.multivariate_normal(self.mean, covariance).logpdf(images)

    def log_probability(self, images, latents):
        means = latents @ self.weights.T + self.mean
        return scipy.stats.norm(means, NOISE_STDDEV).logpdf(images).sum(1)

    def posterior(self, images):
        precision = np.diag(self.weights.T @ self.weights) / NOISE_STDDEV**2 + 1
        mean = (images - self.mean) @ self.weights / NOISE_STDDEV**2 / precision
        return mean, np.broadcast_to(-np.log(precision), mean.shape)

    def rough(self, images):
        """An encoder that is off: a shifted mean and half as much spread again."""
        mean, log_variance = self.posterior(images)
        return mean + 0.2, log_variance + 2 * np.log(1.5)


@pytest.fixture
def model(rng):
    return LinearGaussian(rng)


@pytest.fixture
def images(model, rng):
    return model.sample(rng, 40)


def test_the_exact_posterior_gives_the_exact_likelihood_with_one_sample(model, images):
    found = importance_weighted_bound(
        model.posterior, model.log_probability, images, samples=1, seed=3
    )
    # Latents reach the decoder in float32.
    np.testing.assert_allclose(found, model.log_marginal(images), atol=1e-5)


def test_the_bound_with_500_samples_is_the_exact_likelihood(model, images):
    exact = model.log_marginal(images)
    found = importance_weighted_bound(model.rough, model.log_probability, images, seed=3)
    np.testing.assert_allclose(found, exact, atol=0.2)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.02)


def test_more_samples_tighten_the_bound(model, images):
    def mean_of(samples):
        bound = importance_weighted_bound(
            model.rough, model.log_probability, images, samples=samples, seed=5
        )
        return bound.mean()

    assert mean_of(1) < mean_of(10) < mean_of(500) <= model.log_marginal(images).mean() + 0.02


def test_the_elbo_falls_short_by_the_divergence_from_the_posterior(model, images):
    found = elbo(model.rough, model.log_probability, images, samples=4000, seed=3)
    # KL of two normals with the same shift and ratio of variances in every latent and picture.
    _, log_variance = model.posterior(images)
    gap = 0.5 * (0.2**2 / np.exp(log_variance) + 1.5**2 - 1 - np.log(1.5**2)).sum(1)
    np.testing.assert_allclose(model.log_marginal(images) - found, gap, atol=0.25)
    assert (found < model.log_marginal(images)).all()
    assert (
        found < importance_weighted_bound(model.rough, model.log_probability, images, seed=3)
    ).all()


def test_the_elbo_of_the_exact_posterior_is_the_likelihood(model, images):
    found = elbo(model.posterior, model.log_probability, images, samples=4000, seed=3)
    np.testing.assert_allclose(found, model.log_marginal(images), atol=0.15)


@pytest.mark.parametrize("bound", [importance_weighted_bound, elbo])
def test_bounds_do_not_depend_on_the_batch_or_on_later_images(model, images, bound):
    whole = bound(model.rough, model.log_probability, images, samples=20, seed=3)
    for batch in (1, 7, 64):
        parts = bound(
            model.rough, model.log_probability, images[:9], samples=20, seed=3, batch=batch
        )
        np.testing.assert_allclose(parts, whole[:9], rtol=1e-12)
    other = bound(model.rough, model.log_probability, images, samples=20, seed=4)
    assert not np.allclose(other, whole)


def test_callables_receive_no_more_than_a_batch(model, images):
    counts = []

    def counted(pictures, latents):
        counts.append(len(latents))
        assert latents.dtype == np.float32
        return model.log_probability(pictures, latents)

    importance_weighted_bound(model.rough, counted, images, samples=50, seed=3, batch=16)
    assert max(counts) == 16
    assert sum(counts) == 50 * len(images)


def test_labels_reach_both_callables(model, images):
    labels = np.arange(len(images)) % 3

    def encode(pictures, classes):
        return model.posterior(pictures - classes[:, None])

    def log_probability(pictures, latents, classes):
        return model.log_probability(pictures - classes[:, None], latents)

    found = importance_weighted_bound(
        encode, log_probability, images, samples=3, seed=3, batch=7, labels=labels
    )
    np.testing.assert_allclose(found, model.log_marginal(images - labels[:, None]), atol=1e-5)


def test_small_probabilities_do_not_underflow(model, images):
    def shifted(pictures, latents):
        return model.log_probability(pictures, latents) - 5000

    found = importance_weighted_bound(model.posterior, shifted, images, samples=3, seed=3)
    np.testing.assert_allclose(found, model.log_marginal(images) - 5000, atol=1e-5)


def test_a_decoder_that_excludes_an_image_gives_minus_infinity(model, images):
    def excludes(pictures, latents):
        return np.full(len(latents), -np.inf)

    found = importance_weighted_bound(model.posterior, excludes, images, samples=3, seed=3)
    assert (found == -np.inf).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bound_that_is_no_number_is_refused(model, images, value):
    def broken(pictures, latents):
        return np.full(len(latents), value)

    with pytest.raises(ValueError, match="bound of 40 of 40 images is not a number"):
        importance_weighted_bound(model.posterior, broken, images, samples=3, seed=3)


def test_the_divergence_equals_its_integral():
    mean, log_variance = 0.7, -0.4
    grid = np.linspace(-12, 12, 200_001)
    normal = scipy.stats.norm(mean, np.exp(0.5 * log_variance))
    integrand = normal.pdf(grid) * (normal.logpdf(grid) - scipy.stats.norm.logpdf(grid))
    found = kl_to_standard_normal(np.array([[mean]]), np.array([[log_variance]]))
    assert found.shape == (1,)
    assert found[0] == pytest.approx(integrand.sum() * (grid[1] - grid[0]), rel=1e-6)
    assert kl_to_standard_normal(np.zeros((1, 3)), np.zeros((1, 3))) == 0


def test_a_pixel_is_one_as_often_as_it_is_bright():
    images = np.full((200, 10, 10, 1), 0.3, np.float32)
    binary = binarise(images, seed=7)
    assert binary.dtype == np.float32
    assert set(np.unique(binary)) == {0, 1}
    assert binary.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / binary.size))


def test_black_stays_0_and_white_stays_1():
    images = np.repeat(np.array([0, 255], np.uint8), 500).reshape(2, 500)
    np.testing.assert_array_equal(binarise(images, seed=0), images / 255)


def test_binarisation_is_fixed_by_its_seed(rng):
    images = rng.integers(0, 256, (6, 5, 5, 1), np.uint8)
    binary = binarise(images, seed=7)
    np.testing.assert_array_equal(binarise(images[:2], seed=7), binary[:2])
    np.testing.assert_array_equal(binarise(images / 255, seed=7), binary)
    assert (binarise(images, seed=8) != binary).any()
    # As documented, so that anyone can make the same data set.
    noise = np.random.Generator(np.random.Philox(key=7)).random(images.shape)
    np.testing.assert_array_equal(binary, noise < images / 255)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((1, 2), 1.5), r"expected \[0, 1\]"),
        (np.full((1, 2), np.nan), r"expected \[0, 1\]"),
        (np.full((1, 2), 3, np.int32), "expected uint8"),
    ],
)
def test_pictures_outside_the_range_are_not_binarised(images, message):
    with pytest.raises(ValueError, match=message):
        binarise(images, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples=0"),
        ({"batch": 0}, "batch=0"),
        ({"seed": -1}, "seed=-1"),
        ({"labels": np.zeros(3)}, "3 labels for 40 images"),
    ],
)
def test_bad_arguments_are_refused(model, images, change, message):
    with pytest.raises(ValueError, match=message):
        elbo(model.rough, model.log_probability, images, **({"seed": 0} | change))


def test_callables_of_wrong_shapes_are_refused(model, images):
    with pytest.raises(ValueError, match="images are empty"):
        elbo(model.rough, model.log_probability, images[:0], seed=0)
    with pytest.raises(ValueError, match="encode returned"):
        elbo(lambda x: (x[0], x[0]), model.log_probability, images, seed=0)
    with pytest.raises(ValueError, match="one number each"):
        elbo(model.rough, lambda x, z: z, images, seed=0)
