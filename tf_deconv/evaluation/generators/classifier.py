"""The feature space that generated pictures are judged in: a small classifier, pinned by its seed.

A Frechet distance is usually measured in Inception's features, which were learned from photographs
of 299 pixels and must be downloaded. Small pictures are better told apart by a network that was
trained on their own kind, and one that anybody can train again from the same data and seed. Its
labels are needed for that: a source without labels has no such feature space.

Keras, and TensorFlow with it, is imported by the functions, not by the module.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import pathlib
import platform
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tf_deconv
from tf_deconv.inference import run_folder
from tf_deconv.inference.strangers import keras_files
from tf_deconv.utils.options import UserError, reason

FEATURES = 128
BATCH_SIZE = 128
LEARNING_RATE = 2e-3
# Pictures that a pass through the network takes at once.
_INFERENCE_BATCH = 500
_KIND = "classifier"
_FEATURES_LAYER = "features"
# Larger pictures are first halved, by one cheap convolution each time.
_FULL_WORK_SIDE_PX = 32
_SMALLEST_SIDE_PX = 8


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
      model: Maps (N, H, W, C) float32 in [0, 1] to (N, classes) logits.
      facts: What JSON can hold: kind, seed, epochs, steps, pictures, classes, data_sha256,
        test_accuracy (None where there was no test set), versions.
    """

    model: Any
    facts: dict[str, Any]

    def features(self, images: np.ndarray) -> np.ndarray:
        """Returns the penultimate layer's activations, (N, FEATURES) float32, at least 0.

        Args:
          images: (N, H, W, C) float32 in [0, 1] or uint8, of the size that it was trained on.
        Raises:
          UserError: if the size is another.
        """
        return self._run(self._extractor, images)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the likeliest class of each picture, (N,) int64; images as for `features`."""
        return self._run(self.model, images).argmax(1)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Returns the fraction of pictures whose predicted class is the label."""
        return float(np.mean(self.predict(images) == np.asarray(labels)))

    def save(self, path: str | pathlib.Path) -> None:
        """Writes a `.keras` file that carries the facts, whole or not at all."""
        run_folder.save_model(self.model, pathlib.Path(path), self.facts)

    @functools.cached_property
    def _extractor(self) -> Any:
        import keras

        return keras.Model(self.model.input, self.model.get_layer(_FEATURES_LAYER).output)

    def _run(self, model: Any, images: np.ndarray) -> np.ndarray:
        if np.shape(images)[1:] != model.input_shape[1:]:
            raise UserError(
                f"pictures are {np.shape(images)[1:]}; this classifier was trained on"
                f" {model.input_shape[1:]}. Give pictures of that size, or train another one"
            )
        parts = [
            model.predict_on_batch(_unit(images[start : start + _INFERENCE_BATCH]))
            for start in range(0, len(images), _INFERENCE_BATCH)
        ]
        return np.concatenate([np.empty((0, model.output_shape[1]), np.float32), *parts])


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    epochs: int = 4,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    report: Callable[[str], None] = print,
) -> Classifier:
    """Trains a classifier on labelled pictures.

    Weights and order are functions of `seed`, and no global seed is set: the same data gives the
    same network on the same machine's CPU. (On a GPU, sums may be ordered otherwise.)

    Args:
      images: (N, H, W, C), uint8 or float in [0, 1]; sides of at least 8 pixels.
      labels: (N,) whole numbers from 0, of two classes or more.
      seed: At least 0.
      epochs: Passes over the pictures.
      test: Pictures and labels that are not trained on, to measure the accuracy on.
      report: Receives a line for each epoch.
    Returns:
      The classifier, with facts.
    Raises:
      UserError: if pictures or labels are not as described.
    """
    images, labels = _checked(images, labels, "training")
    classes = int(labels.max()) + 1
    if classes < 2:
        raise UserError(
            f"labels of {classes} class: a classifier needs two or more. Give labelled pictures of"
            " several classes"
        )
    if test is not None:
        test = _checked(*test, "test")
        if test[0].shape[1:] != images.shape[1:]:
            raise UserError(
                f"test pictures are {test[0].shape[1:]} and training pictures {images.shape[1:]}:"
                " expected the same size"
            )
    for name, value, least in (("seed", seed, 0), ("epochs", epochs, 1)):
        if value < least:
            raise UserError(f"{name}={value}: expected at least {least}")
    import keras

    steps = epochs * -(-len(images) // BATCH_SIZE)
    model = build_classifier(images.shape[1:], classes, seed=seed)
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # XLA on CPU is 2-4x slower for small convolutions: benchmarks/training.md.
        jit_compile=False,
    )
    for epoch in range(epochs):
        started, losses = time.monotonic(), []
        for rows in _batches(len(images), seed, epoch):
            losses.append(float(model.train_on_batch(_unit(images[rows]), labels[rows])))
        duration_s = time.monotonic() - started
        report(f"classifier: epoch {epoch + 1}/{epochs}, loss {losses[-1]:.3f}, {duration_s:.0f} s")
    facts = {
        "kind": _KIND,
        "seed": int(seed),
        "epochs": int(epochs),
        "steps": steps,
        "pictures": len(images),
        "classes": classes,
        "data_sha256": data_sha256(images, labels),
        "test_accuracy": None,
        "versions": _versions(),
    }
    classifier = Classifier(model, facts)
    if test is not None:
        facts["test_accuracy"] = classifier.accuracy(*test)
        report(f"classifier: {100 * facts['test_accuracy']:.2f} % of {len(test[0])} test pictures")
    return classifier


def load(path: str | pathlib.Path) -> Classifier:
    """Reads what `Classifier.save` wrote.

    Raises:
      UserError: if the file is missing, damaged or no classifier of this project.
    """
    path = pathlib.Path(path)
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise UserError(f"{str(path)!r} is no .keras file: expected one that a classifier wrote")
    facts = run_folder.read_description(path)
    if facts.get("kind") != _KIND:
        raise UserError(
            f"{str(path)!r} is not a classifier of tf_deconv: expected a .keras file that says so;"
            " `tf-deconv evaluate` of a generator trains one, on labelled pictures"
        )
    import keras

    keras_files.check_keras(path)
    try:
        model = keras.models.load_model(path, compile=False)
        model.get_layer(_FEATURES_LAYER)
    except Exception as error:  # Keras raises whatever the damaged part made it stumble over.
        raise UserError(f"{str(path)!r} cannot be loaded by Keras: {reason(error)}") from error
    return Classifier(model, facts)


def build_classifier(shape: tuple[int, int, int], classes: int, *, seed: int) -> Any:
    """Builds three stages of convolution, one dense layer of features and one of logits.

    Args:
      shape: H, W and C of a picture.
      classes: Number of logits.
      seed: Of the initial weights.
    Returns:
      A keras.Model from (N, H, W, C) float32 in [0, 1] to (N, classes) logits.
    """
    import keras
    from keras import layers

    numbers = itertools.count(seed * 1000)

    # A training run may have set a half-precision policy; features are float32 all the same.
    def options() -> dict[str, Any]:
        start = keras.initializers.HeUniform(seed=next(numbers))
        return dict(kernel_initializer=start, dtype="float32")

    def convolution(filters: int, strides: int, name: str) -> Any:
        fixed = dict(padding="same", activation="relu", **options())
        return layers.Conv2D(filters, 3, strides=strides, name=name, **fixed)

    x = inputs = keras.Input(shape, dtype="float32", name="image")
    side, halvings = max(shape[:2]), 0
    while side > _FULL_WORK_SIDE_PX:
        side, halvings = -(-side // 2), halvings + 1
        x = convolution(32, 2, f"halving_{halvings}_conv")(x)  # (N, H / 2, W / 2, 32)
    # Pooling costs twice the time of strides and is worth it: of Fashion-MNIST's test pictures
    # 92.0 and 92.2 % are right with seeds 1 and 0 in 4 epochs; with strides it was 91.1 to 91.2 %.
    for stage, filters in ((1, 32), (2, 64)):
        x = convolution(filters, 1, f"stage_{stage}_conv")(x)
        pool = layers.MaxPooling2D(2, padding="same", dtype="float32", name=f"stage_{stage}_pool")
        x = pool(x)  # (N, ceil(H / 2), ceil(W / 2), filters)
    x = convolution(128, 2, "stage_3_conv")(x)  # (N, up to 4, up to 4, 128)
    x = layers.Flatten(dtype="float32", name="flatten")(x)
    features = layers.Dense(FEATURES, activation="relu", name=_FEATURES_LAYER, **options())
    x = features(x)  # (N, FEATURES)
    logits = layers.Dense(classes, name="logits", **options())(x)  # (N, classes)
    return keras.Model(inputs, logits, name=_KIND)


def data_sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """Hashes shape, number type, pixels and labels (as int64): which data a classifier is of."""
    digest = hashlib.sha256(f"{images.shape} {images.dtype.str}".encode())
    for image in images:
        digest.update(np.ascontiguousarray(image).tobytes())
    digest.update(np.asarray(labels, "<i8").tobytes())
    return digest.hexdigest()


def _batches(count: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(count)
    for start in range(0, count, BATCH_SIZE):
        yield order[start : start + BATCH_SIZE]


def _unit(images: np.ndarray) -> np.ndarray:
    """float32 in [0, 1] of uint8 or float pictures."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / 255
    return np.asarray(images, np.float32)


def _checked(
    images: np.ndarray, labels: np.ndarray | None, name: str
) -> tuple[np.ndarray, np.ndarray]:
    if labels is None:
        raise UserError(
            f"the {name} pictures have no labels: a classifier needs one for each. Give a source"
            " with labels"
        )
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 4 or not len(images) or min(images.shape[1:3]) < _SMALLEST_SIDE_PX:
        raise UserError(
            f"{name} pictures have shape {images.shape}: expected (N, H, W, C) with sides of at"
            f" least {_SMALLEST_SIDE_PX} pixels"
        )
    if images.dtype != np.uint8 and (
        images.dtype.kind != "f" or not (images.min() >= 0 and images.max() <= 1)
    ):
        raise UserError(
            f"{name} pictures are {images.dtype} from {images.min()} to {images.max()}: expected"
            " uint8, or float in [0, 1]"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UserError(
            f"{name} labels are {labels.dtype} of shape {labels.shape}: expected a whole number"
            f" from 0 for each of {len(images)} pictures"
        )
    return images, labels


def _versions() -> dict[str, str]:
    import keras
    import tensorflow as tf

    return {
        "tf_deconv": tf_deconv.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
