"""`evaluate` of a generator: what its pictures score, and what pictures it has not seen cost it.

Opened model, test and training pictures -> pictures made -> `measuring`: distances, neighbours ->
of a VAE `bounds`: likelihood -> evaluation.json, grid.png, neighbours.png.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv import __version__
from tf_deconv.data import sources
from tf_deconv.data.store import PictureStore
from tf_deconv.evaluation.config import EvaluateConfig
from tf_deconv.evaluation.generators import classifier as classifiers
from tf_deconv.evaluation.generators import likelihood_bounds
from tf_deconv.evaluation.generators import scores as generator_scores
from tf_deconv.evaluation.report import EvaluateResult
from tf_deconv.generation.generator import Generator, labels_of, sample
from tf_deconv.generation.keras_generator import log_probability
from tf_deconv.generation.opening import open_generator
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays as images
from tf_deconv.images import sheets
from tf_deconv.inference.located import LocatedModel
from tf_deconv.networks.likelihoods import bits_per_dimension, make_likelihood
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError
from tf_deconv.utils.progress import Bar

SCORES_FILE, GRID_FILE, NEIGHBOURS_FILE = "evaluation.json", "grid.png", "neighbours.png"
CLASSIFIER_FILE = "classifier.keras"
GRID_PICTURES, GRID_COLUMNS = 60, 10
CLASSIFIER_SEED = 0


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures of a generator's own size.

    Attributes:
      pixels: (N, H, W, C) uint8.
      labels: (N,) int64, or None.
    """

    pixels: np.ndarray
    labels: np.ndarray | None


def evaluate_generator(
    config: EvaluateConfig, located: LocatedModel, report: Callable[[str], None] = print
) -> EvaluateResult:
    """Measures a generator.

    Args:
      config: Checked options; `data` holds pictures that training has not seen.
      located: The generator.
      report: Receives lines for the user.
    Returns:
      Its scores.
    Raises:
      UserError: if pictures are missing, or do not fit the generator.
    """
    choose_device("auto", "float32")
    generator = open_generator(located)
    facts = generator.facts
    test, training = _read(config, facts, report)
    folder = files.make_folder(pathlib.Path(config.out))
    report(
        f"model: {config.model}, {facts.kind}; {len(test.pixels)} test pictures,"
        f" {len(training.pixels)} of training"
    )
    classifier = _find_classifier(config, training, test, folder, report)
    pictures, labels = _make(generator, config, report)
    scores: dict[str, Any] = {
        "model": config.model,
        "generator": facts.to_json(),
        "data": config.data,
        "training": config.training,
        "count": config.count,
        "seed": config.seed,
        **({"steps": config.steps, "guidance": config.guidance} if facts.kind == "flow" else {}),
        "tf_deconv": __version__,
    }
    if classifier is not None:
        reference = generator_scores.make_reference(
            classifier, training.pixels, test.pixels, config.count, config.seed
        )
        scores["classifier"] = classifier.facts
        scores["floor"] = reference.floor
        scores["scores"] = generator_scores.score_pictures(reference, pictures, labels)
    scores["copies"], sheet = generator_scores.copies(pictures, training.pixels, test.pixels)
    if facts.kind == "vae":
        scores["likelihood"] = _likelihood(generator, config, test, report)
    files.write_json(folder / SCORES_FILE, scores)
    grid = sheets.grid(pictures[:GRID_PICTURES], GRID_COLUMNS)
    files.write_bytes(folder / GRID_FILE, images.encode_png(grid))
    files.write_bytes(folder / NEIGHBOURS_FILE, images.encode_png(sheet))
    for line in lines(scores):
        report(line)
    written = ", ".join(str(folder / name) for name in (SCORES_FILE, GRID_FILE, NEIGHBOURS_FILE))
    report(f"written: {written}")
    return EvaluateResult(scores, folder)


# --- Pictures.


def _read(
    config: EvaluateConfig, facts: GeneratorSpec, report: Callable[[str], None]
) -> tuple[Pictures, Pictures]:
    if config.data is None:
        raise UserError(
            "data=None: expected pictures that the generator was not trained on, or a"
            " source with a train and a test part"
        )
    parts = sources.has_parts(config.data)
    if config.training is None and not parts:
        raise UserError(
            f"training=None with data={config.data!r}, which has no train and test part: expected"
            " the pictures that the generator was trained on"
        )
    other = config.data if config.training is None else config.training
    kept = []
    for data, part in ((config.data, "test"), (other, "train")):
        # The classifier needs labels, where there are any.
        store, _, notes = sources.read_pictures(
            data,
            max_pixels=config.max_pixels,
            value_range=config.range,
            part=part,
            labels=True,
        )
        if store.pixels.dtype != np.uint8:
            notes.append(
                f"the pictures of {data!r} were rounded to 8 bits, as generators make them"
            )
        for note in notes:
            report(f"note: {note}")
        kept.append(_fitting(store, facts, data))
    return tuple(kept)


def _fitting(store: PictureStore, facts: GeneratorSpec, data: str) -> Pictures:
    """Refuses pictures that the generator could not have made."""
    if facts.channels == 1 and not store.grey:
        raise UserError(
            f"the pictures of {data!r} have colours and the generator makes grey ones: expected"
            " grey pictures"
        )
    sizes = np.stack([store.heights, store.widths], axis=1)
    size = (facts.height, facts.width)
    if (sizes != size).any():
        height, width = sizes[(sizes != size).any(axis=1)][0]
        raise UserError(
            f"{data!r} holds a picture of {width}x{height} and the generator makes"
            f" {size[1]}x{size[0]}: expected pictures of that size"
        )
    pictures = (store.picture_of_bytes(i) for i in range(len(store)))
    pixels = np.stack([picture[..., : facts.channels] for picture in pictures])
    return Pictures(pixels, store.labels)


def _find_classifier(
    config: EvaluateConfig,
    training: Pictures,
    test: Pictures,
    folder: pathlib.Path,
    report: Callable[[str], None],
) -> classifiers.Classifier | None:
    if config.classifier is not None:
        return classifiers.load(config.classifier)
    if training.labels is None or test.labels is None:
        report("note: without labels there is no classifier, whose features would be compared")
        return None
    report(f"training a classifier on {len(training.pixels)} labelled pictures")
    classifier = classifiers.train_classifier(
        training.pixels,
        training.labels,
        seed=CLASSIFIER_SEED,
        test=(test.pixels, test.labels),
        report=report,
    )
    classifier.save(folder / CLASSIFIER_FILE)
    report(f"classifier: {folder / CLASSIFIER_FILE}; --classifier takes it the next time")
    return classifier


def _make(
    generator: Generator, config: EvaluateConfig, report: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray | None]:
    report(f"making {config.count} pictures")
    bar = Bar()
    pictures = sample(
        generator,
        config.count,
        config.seed,
        steps=config.steps,
        guidance=config.guidance,
        on_batch=lambda done: bar.draw("pictures", done / config.count),
    )
    bar.clear()
    return pictures, labels_of(generator.facts, config.count)


# --- Likelihood.


def _likelihood(
    generator: Generator, config: EvaluateConfig, test: Pictures, report: Callable[[str], None]
) -> dict[str, Any] | None:
    """Measures what test pictures cost a VAE, in nats."""
    facts = generator.facts
    if generator.model is None:
        report("note: an export does not tell likelihoods; evaluate the run for them")
        return None
    if facts.classes and test.labels is None:
        report("note: the test pictures have no labels, without which there is no likelihood")
        return None
    binary = make_likelihood(facts.likelihood).binary
    pixels = (
        likelihood_bounds.binarise(test.pixels, config.seed)
        if binary
        else images.to_float(test.pixels)
    )
    labels = test.labels.astype(np.int32) if facts.classes else None
    encode, log_likelihood = (
        _without_labels(function, bool(facts.classes))
        for function in (generator.encode, log_probability(generator.model, facts))
    )
    elbo = likelihood_bounds.elbo(encode, log_likelihood, pixels, seed=config.seed, labels=labels)
    count = min(config.importance_pictures, len(pixels))
    report(f"likelihood: {config.importance_samples} latents for each of {count} pictures")
    weighted = likelihood_bounds.importance_weighted_bound(
        encode,
        log_likelihood,
        pixels[:count],
        samples=config.importance_samples,
        seed=config.seed,
        labels=None if labels is None else labels[:count],
    )
    dimensions = int(np.prod(facts.shape))
    return {
        "pictures": "binarised" if binary else "as they are",
        "elbo_nats": float(elbo.mean()),
        "elbo_pictures": len(pixels),
        "importance_weighted_nats": float(weighted.mean()),
        "importance_samples": config.importance_samples,
        "importance_pictures": count,
        "bits_per_dimension": float(bits_per_dimension(-weighted.mean(), dimensions)),
    }


def _without_labels(function: Callable, conditional: bool) -> Callable:
    """Fits a generator's function to `bounds`, which passes labels only where there are some."""
    return function if conditional else lambda *arrays: function(*arrays, None)


# --- For people.


def lines(scores: dict[str, Any]) -> list[str]:
    """Lays out what `evaluate_generator` measured."""
    shown = []
    if "scores" in scores:
        accuracy = scores["classifier"].get("test_accuracy")
        if accuracy is not None:
            shown.append(f"classifier: {100 * accuracy:.2f} % of the test pictures right")
        shown.append(f"{'':28}{'generated':>12}{'real':>12}")
        for name, value in scores["scores"].items():
            floor = scores["floor"].get(name)
            real = "" if floor is None else f"{floor:12.4f}"
            shown.append(f"{name.replace('_', ' '):28}{value:12.4f}{real}")
    near = scores["copies"]
    shown.append(
        f"nearest training picture: {near['generated_to_training']:.4f} on average; of test"
        f" pictures {near['test_to_training']:.4f} (root mean square of pixels in [0, 1])"
    )
    found = scores.get("likelihood")
    if found:
        shown.append(
            f"likelihood of {found['pictures']} test pictures: ELBO {found['elbo_nats']:.2f} nats,"
            f" importance-weighted (k = {found['importance_samples']})"
            f" {found['importance_weighted_nats']:.2f} nats,"
            f" {found['bits_per_dimension']:.4f} bits/dimension"
        )
    return shown
