"""How far generated pictures are from real ones, in a feature space, and whether they are copies.

NumPy only, in float64, and deterministic. None of these knows where features come from:
`classifier` makes them. A Frechet distance has a bias that grows as pictures get fewer: compare
only numbers of equally many pictures, and give that of real pictures to real ones as the floor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Rows of either side that are compared at once: 2,000 x 10,000 distances are 160 MB.
_CHUNK_ROWS = 2_000
# Of |a|^2 + |b|^2: what cancels to less than this in |a|^2 + |b|^2 - 2 ab is rounding.
_ROUNDING = 1e-13


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Frechet distance of two Gaussians that are fitted to two sets of features.

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), covariances with N - 1. The last trace
    is that of the root of the symmetric C_a^(1/2) C_b C_a^(1/2), hence the sum of the singular
    values of C_a^(1/2) C_b^(1/2). It is computed as this sum: no root of a small eigenvalue's
    rounding error is taken, and features that never vary (a dead unit) do no harm.

    Args:
      features_a: (N, F), N at least 2.
      features_b: (M, F), M at least 2.
    Returns:
      A number of at least 0, in squared units of the features.
    Raises:
      ValueError: if a set is not a matrix, has under 2 rows or a number that is not finite, or if
        the sets' F differ.
    Reference: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local
      Nash Equilibrium", equation 6; Dowson and Landau 1982 for the closed form.
    """
    a, b = _matrices(features_a, features_b, ("features_a", "features_b"), rows=2)
    difference = a.mean(0) - b.mean(0)
    root_a, trace_a = _covariance_root(a)
    root_b, trace_b = _covariance_root(b)
    overlap = np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum()
    return max(0.0, float(difference @ difference + trace_a + trace_b - 2 * overlap))


def precision_recall(real: np.ndarray, generated: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall: how much of each set lies in the other's manifold.

    A set's manifold is the union of balls around its points, each as large as the distance to its
    point's k-th nearest neighbour in the same set. Precision falls with pictures that look like no
    real one, recall with kinds of real pictures that are never generated.

    Args:
      real: (N, F) features, N over `k`.
      generated: (M, F) features, M over `k`. The literature takes as many as of the real ones.
      k: Neighbour that a ball reaches to; 3 in the paper.
    Returns:
      Precision, the fraction of generated points inside the real manifold, and recall, the fraction
      of real points inside the generated one.
    Raises:
      ValueError: as `frechet_distance`, with `k` + 1 rows; or if `k` is under 1.
    Reference: Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing
      Generative Models", equations 1 and 2.
    """
    if k < 1:
        raise ValueError(f"k={k}: expected at least 1")
    real, generated = _matrices(real, generated, ("real", "generated"), rows=k + 1)
    # Distances do not change, but what cancels in them is smaller around 0.
    centre = real.mean(0)
    real, generated = real - centre, generated - centre
    real_radii, generated_radii = _squared_radii(real, k), _squared_radii(generated, k)
    precise = np.zeros(len(generated), bool)
    recalled = np.zeros(len(real), bool)
    for rows in _chunks(len(generated)):
        squared = _squared_distances(generated[rows], real)  # (rows, N)
        precise[rows] = (squared <= real_radii).any(1)
        recalled |= (squared <= generated_radii[rows, None]).any(0)
    return float(precise.mean()), float(recalled.mean())


def nearest_neighbours(
    queries: np.ndarray, training: np.ndarray, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the training pictures that are nearest to each query: memorising becomes visible.

    Args:
      queries: (N, ...) generated pictures or their features.
      training: (M, ...) the same of the training set, in the same units; M at least `count`.
      count: Neighbours of each query.
    Returns:
      Indices into `training`, (N, count) int64, and Euclidean distances, (N, count) float64, the
      nearest first; of equally near ones the lower index. A copy is at distance 0.
    Raises:
      ValueError: if shapes do not match, `count` is not in 1..M, a number is not finite, or one is
        of integers (0 to 255?) and the other is not.
    """
    queries, training = np.asarray(queries), np.asarray(training)
    if queries.ndim < 2 or queries.shape[1:] != training.shape[1:]:
        raise ValueError(
            f"queries {queries.shape} and training {training.shape}: expected (N, ...) and (M, ...)"
            " that are equal but for the first axis"
        )
    if (queries.dtype.kind == "f") != (training.dtype.kind == "f"):
        raise ValueError(
            f"queries are {queries.dtype} and training {training.dtype}: expected the same units"
        )
    if not 1 <= count <= len(training):
        raise ValueError(f"count={count}: expected 1 to {len(training)}, the training set's size")
    queries = queries.reshape(len(queries), -1)
    training = training.reshape(len(training), -1)
    indices = np.empty((len(queries), count), np.int64)
    squared = np.empty((len(queries), count))
    for rows in _chunks(len(queries)):
        indices[rows], squared[rows] = _nearest(_finite(queries[rows], "queries"), training, count)
    return indices, np.sqrt(squared)


def _nearest(
    queries: np.ndarray, training: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and squared distances, (N, count) each; the training set is read in chunks."""
    indices = np.empty((len(queries), 0), np.int64)
    squared = np.empty((len(queries), 0))
    for rows in _chunks(len(training)):
        # In float64 by the chunk: a whole training set of pixels would not fit.
        chunk = _squared_distances(queries, _finite(training[rows], "training"))
        numbers = np.broadcast_to(np.arange(rows.start, rows.stop), chunk.shape)
        squared = np.concatenate([squared, chunk], axis=1)
        indices = np.concatenate([indices, numbers], axis=1)
        # Stable, and what was kept comes first: ties go to the lower index.
        order = np.argsort(squared, axis=1, kind="stable")[:, :count]
        squared = np.take_along_axis(squared, order, axis=1)
        indices = np.take_along_axis(indices, order, axis=1)
    return indices, squared


def _squared_radii(points: np.ndarray, k: int) -> np.ndarray:
    """(N,) squared distances of each point to its k-th nearest neighbour, itself left out."""
    radii = np.empty(len(points))
    for rows in _chunks(len(points)):
        squared = _squared_distances(points[rows], points)
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    return radii


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) squared Euclidean distances; exactly 0 where they are no more than rounding."""
    norms = np.einsum("nf,nf->n", a, a)[:, None] + np.einsum("mf,mf->m", b, b)
    squared = a @ b.T
    squared *= -2
    squared += norms
    norms *= _ROUNDING
    squared[squared < norms] = 0
    return squared


def _covariance_root(features: np.ndarray) -> tuple[np.ndarray, float]:
    """A matrix R with R R^T = covariance, (F, F), and the covariance's trace."""
    centred = features - features.mean(0)
    covariance = centred.T @ centred / (len(features) - 1)
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0)), float(np.trace(covariance))


def _matrices(
    a: np.ndarray, b: np.ndarray, names: tuple[str, str], rows: int
) -> tuple[np.ndarray, np.ndarray]:
    for array, name in zip((a, b), names):
        if np.ndim(array) != 2 or len(array) < rows:
            raise ValueError(
                f"{name} has shape {np.shape(array)}: expected (N, F) of at least {rows} rows"
            )
    if np.shape(a)[1] != np.shape(b)[1]:
        raise ValueError(
            f"{names[0]} has {np.shape(a)[1]} features and {names[1]} {np.shape(b)[1]}: expected"
            " as many, of one network"
        )
    return _finite(a, names[0]), _finite(b, names[1])


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(array, np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a number that is not finite")
    return array


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK_ROWS):
        yield slice(start, min(start + _CHUNK_ROWS, count))
