"""Frechet distance against closed forms and scipy; precision, recall; nearest neighbours."""

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial

from tf_deconv.evaluation.generators import distances
from tf_deconv.evaluation.generators.distances import (
    frechet_distance,
    nearest_neighbours,
    precision_recall,
)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(distances, "_CHUNK_ROWS", 7)


def with_moments(rng, count, mean, covariance):
    """Points whose sample mean and covariance are exactly these."""
    points = rng.normal(size=(count, len(mean)))
    points -= points.mean(0)
    whitened = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
    return whitened @ np.linalg.cholesky(covariance).T + mean


def by_sqrtm(a, b):
    """The formula of Heusel et al. 2017 as its authors compute it."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)


def test_frechet_distance_of_gaussians_equals_the_closed_form(rng):
    # With diagonal covariances: |difference of means|^2 + sum of (stddev_a - stddev_b)^2.
    a = with_moments(rng, 50, np.array([1.0, 2.0, 3.0]), np.diag([1.0, 4.0, 9.0]))
    b = with_moments(rng, 80, np.array([1.0, 0.0, 2.0]), np.diag([4.0, 4.0, 0.25]))
    assert frechet_distance(a, b) == pytest.approx(4 + 1 + 1 + 0 + 2.5**2, rel=1e-9)


def test_frechet_distance_of_a_shift_is_its_square(rng):
    a = rng.normal(size=(40, 5))
    assert frechet_distance(a, a + 2) == pytest.approx(5 * 4, rel=1e-9)


def test_frechet_distance_equals_scipy_sqrtm(rng):
    a = rng.normal(size=(300, 16)) @ rng.normal(size=(16, 16))
    b = rng.normal(size=(200, 16)) @ rng.normal(size=(16, 16)) + 0.3
    assert frechet_distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_frechet_distance_of_equal_sets_is_zero(rng):
    a = rng.normal(size=(200, 32)).astype(np.float32)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)


def test_dead_units_and_few_pictures_do_not_move_the_frechet_distance(rng):
    # A root of rounding errors would add 1e-8 of the largest variance for each dead unit.
    a, b = rng.normal(size=(20, 64)) * 1000, rng.normal(size=(20, 64)) * 1000
    dead = np.zeros((20, 64))
    expected = frechet_distance(a, b)
    assert frechet_distance(np.hstack([a, dead]), np.hstack([b, dead])) == pytest.approx(expected)
    assert frechet_distance(np.hstack([a, dead]), np.hstack([a, dead])) < 1e-12 * expected


def test_frechet_distance_sees_what_the_means_do_not(rng):
    a = rng.normal(size=(500, 4))
    a -= a.mean(0)
    assert frechet_distance(a, a * 0.5) == pytest.approx(np.trace(np.cov(a.T)) / 4, rel=1e-9)


def test_precision_and_recall_of_equal_sets_are_one(rng):
    a = rng.normal(size=(50, 8))
    assert precision_recall(a, a.copy()) == (1, 1)


def test_precision_and_recall_of_disjoint_sets_are_zero(rng):
    a = rng.normal(size=(50, 8))
    assert precision_recall(a, a + 1000) == (0, 0)


def test_dropped_modes_lower_recall_only(rng):
    real = np.concatenate([rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) + 1000])
    precision, recall = precision_recall(real, real[:60])
    assert precision == 1
    assert recall == 0.5


def test_invented_modes_lower_precision_only(rng):
    real = rng.normal(size=(60, 4))
    invented = np.concatenate([real, rng.normal(size=(20, 4)) - 1000])
    precision, recall = precision_recall(real, invented)
    assert precision == 0.75
    assert recall == 1


def test_a_generator_of_one_picture_is_precise_and_recalls_nothing_else(rng):
    real = rng.normal(size=(50, 8)) + 100
    precision, recall = precision_recall(real, np.repeat(real[:1], 50, axis=0))
    assert precision == 1
    assert recall == 1 / 50


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_equal_the_definition(rng, small_chunks, k):
    real, generated = rng.normal(size=(30, 2)), rng.normal(size=(40, 2)) * 1.5 + 0.5

    def covered(points, by):
        radii = np.sort(scipy.spatial.distance.cdist(by, by), axis=1)[:, k]
        return (scipy.spatial.distance.cdist(points, by) <= radii).any(1).mean()

    expected = covered(generated, real), covered(real, generated)
    assert precision_recall(real, generated, k) == pytest.approx(expected)
    assert 0 < min(expected) < 1


def test_nearest_neighbours_equal_a_full_sort(rng, small_chunks):
    queries, training = rng.normal(size=(20, 3, 2)), rng.normal(size=(50, 3, 2))
    indices, found = nearest_neighbours(queries, training, count=9)
    every = scipy.spatial.distance.cdist(queries.reshape(20, 6), training.reshape(50, 6))
    np.testing.assert_array_equal(indices, np.argsort(every, axis=1)[:, :9])
    np.testing.assert_allclose(found, np.sort(every, axis=1)[:, :9], rtol=1e-9)


def test_a_copied_picture_is_at_distance_zero_from_its_original(rng, small_chunks):
    training = rng.integers(0, 256, (30, 8, 8, 1), np.uint8)
    indices, found = nearest_neighbours(training[[21, 4]], training, count=2)
    assert indices[:, 0].tolist() == [21, 4]
    assert (found[:, 0] == 0).all()
    assert (found[:, 1] > 100).all()


def test_of_equally_near_pictures_the_first_is_named(small_chunks):
    training = np.zeros((20, 3))
    indices, found = nearest_neighbours(np.ones((1, 3)), training, count=12)
    assert indices.tolist() == [list(range(12))]
    np.testing.assert_allclose(found, np.sqrt(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: frechet_distance(a, a[:, :2]), "3 features and features_b 2"),
        (lambda a: frechet_distance(a[:1], a), "at least 2 rows"),
        (lambda a: frechet_distance(a[0], a), "expected \\(N, F\\)"),
        (lambda a: frechet_distance(a * np.nan, a), "not finite"),
        (lambda a: precision_recall(a, a[:3]), "at least 4 rows"),
        (lambda a: precision_recall(a, a, k=0), "k=0"),
        (lambda a: nearest_neighbours(a, a[:, :2]), "equal but for the first axis"),
        (lambda a: nearest_neighbours(a, a, count=11), "1 to 10"),
        (lambda a: nearest_neighbours(a, a.astype(np.uint8)), "the same units"),
        (lambda a: nearest_neighbours(a, a * np.inf), "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.random((10, 3)) + 1)
