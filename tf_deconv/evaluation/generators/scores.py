"""What generated pictures score, in the feature space of a classifier that has never seen them.

Every figure stands beside what real pictures get: those of the training part against the test part.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tf_deconv.evaluation.generators.classifier import Classifier
from tf_deconv.evaluation.generators.distances import (
    frechet_distance,
    nearest_neighbours,
    precision_recall,
)
from tf_deconv.images import arrays, sheets

# Pictures whose manifolds are compared: distances between all pairs, 10,000 as in the paper.
MANIFOLD_PICTURES = 10_000
# Pictures whose nearest neighbours are looked for, and those of them that are shown.
NEIGHBOUR_PICTURES, SHOWN_PICTURES, SHOWN_NEIGHBOURS = 500, 10, 4


@dataclasses.dataclass(frozen=True)
class Reference:
    """What generated pictures are compared with.

    Attributes:
      classifier: Its features and classes.
      test: (N, F) features of test pictures.
      floor: Scores of training pictures, as many as there will be generated ones: what a generator
        gets that gives real pictures.
    """

    classifier: Classifier
    test: np.ndarray
    floor: dict[str, float]


def make_reference(
    classifier: Classifier, training: np.ndarray, test: np.ndarray, count: int, seed: int
) -> Reference:
    """Measures the features of test pictures, and the floor.

    Args:
      classifier: The feature space.
      training: (M, H, W, C) uint8.
      test: (N, H, W, C) uint8.
      count: Generated pictures that will be measured.
      seed: Of the choice of as many training pictures.
    """
    features = classifier.features(arrays.to_float(test))
    chosen = np.random.default_rng(seed).permutation(len(training))[:count]
    real = classifier.features(arrays.to_float(training[np.sort(chosen)]))
    return Reference(classifier, features, _compare(features, real))


def score_pictures(
    reference: Reference, pictures: np.ndarray, labels: np.ndarray | None = None
) -> dict[str, float]:
    """Scores generated pictures.

    Args:
      reference: What they are compared with.
      pictures: (N, H, W, C) float32 in [0, 1]; they are rounded to 8 bits, as their files are.
      labels: (N,) that they were made with; None where there were none.
    Returns:
      frechet_distance, precision, recall and, with labels, label_accuracy: the share whose class is
      the label, says the classifier.
    """
    pictures = arrays.to_float(arrays.to_uint8(pictures))
    scores = _compare(reference.test, reference.classifier.features(pictures))
    if labels is not None:
        scores["label_accuracy"] = reference.classifier.accuracy(pictures, labels)
    return scores


def _compare(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    part = slice(0, MANIFOLD_PICTURES)
    precision, recall = precision_recall(real[part], generated[part])
    return {
        "frechet_distance": frechet_distance(real, generated),
        "precision": precision,
        "recall": recall,
    }


def copies(
    pictures: np.ndarray, training: np.ndarray, test: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Looks for training pictures that were learned by heart.

    Args:
      pictures: (N, H, W, C) float32 in [0, 1], generated.
      training: (M, H, W, C) uint8.
      test: (K, H, W, C) uint8.
    Returns:
      Mean distances (root of the mean squared difference over pixels) of generated and of test
      pictures to the nearest training picture, and the nearest of all: a generator that memorises
      is much nearer than new pictures are. And a sheet, (H', W', 3) uint8: generated pictures on
      the left, each with its nearest training pictures.
    """
    known = training.astype(np.float32) / 255.0
    generated = pictures[:NEIGHBOUR_PICTURES]
    fresh = arrays.to_float(test[:NEIGHBOUR_PICTURES])
    indices, distances = nearest_neighbours(generated, known, SHOWN_NEIGHBOURS)
    _, usual = nearest_neighbours(fresh, known, 1)
    root = np.sqrt(np.prod(pictures.shape[1:]))
    figures = {
        "pictures": len(generated),
        "generated_to_training": float(distances[:, 0].mean() / root),
        "test_to_training": float(usual[:, 0].mean() / root),
        "nearest_of_all": float(distances[:, 0].min() / root),
    }
    # The most suspicious ones: nearest first.
    order = np.argsort(distances[:, 0], kind="stable")[:SHOWN_PICTURES]
    rows = [np.stack([generated[i], *known[indices[i]]]) for i in order]
    return figures, sheets.grid(np.concatenate(rows), 1 + SHOWN_NEIGHBOURS)
