"""`tf-deconv evaluate` of generators as a user runs it, on tiny pictures."""

import json

import numpy as np
import pytest

from tests.fixtures import tiny_generators
from tests.fixtures.commands import does, refuses
from tf_deconv.evaluation.generators import classifier
from tf_deconv.evaluation.generators import scores as generator_scores
from tf_deconv.images import arrays

SIDE, CLASSES = 8, 3


def pictures(count, seed):
    """Makes (N, 8, 8) uint8 with a bright row, column or square, and labels."""
    random = np.random.default_rng(seed)
    made = random.integers(0, 30, (count, SIDE, SIDE)).astype(np.uint8)
    labels = np.arange(count) % CLASSES
    for picture, label in zip(made, labels):
        place = random.integers(1, 5)
        rows = slice(place, place + 2) if label != 1 else slice(None)
        columns = slice(place, place + 2) if label != 0 else slice(None)
        picture[rows, columns] = random.integers(150, 256)
    return made, labels


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shapes.npz"
    (x_train, y_train), (x_test, y_test) = pictures(240, 0), pictures(90, 1)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        kind: tiny_generators.write(folder / f"{kind}.keras", kind, classes=classes)
        for kind, classes in (("vae", 0), ("flow", CLASSES))
    }


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory):
    """A classifier of the three shapes, kept in a file."""
    (x_train, y_train), test = pictures(240, 0), pictures(90, 1)
    trained = classifier.train_classifier(
        x_train[..., np.newaxis],
        y_train,
        seed=0,
        epochs=8,
        test=(test[0][..., np.newaxis], test[1]),
        report=lambda line: None,
    )
    path = tmp_path_factory.mktemp("classifier") / "classifier.keras"
    trained.save(path)
    return path


OF_A_FLOW = ("--count", 24, "--steps", 2)
OF_A_VAE = ("--count", 24, "--importance-samples", 20, "--importance-pictures", 90)


@pytest.mark.parametrize(("kind", "options"), [("vae", OF_A_VAE), ("flow", OF_A_FLOW)])
def test_a_generator_is_measured_beside_real_pictures(
    capsys, tmp_path, models, data, classifier_file, kind, options
):
    command = ["evaluate", models[kind], "--data", data, "--classifier", classifier_file, *options]
    out = does(capsys, *command, "--out", tmp_path / "out")
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "evaluation.json", "grid.png", "neighbours.png",
    ]  # fmt: skip
    # An untrained network is far from what real pictures get.
    assert scores["scores"]["frechet_distance"] > 5 * scores["floor"]["frechet_distance"]
    assert scores["scores"]["precision"] <= scores["floor"]["precision"]
    assert scores["copies"]["generated_to_training"] > scores["copies"]["test_to_training"]
    assert ("label_accuracy" in scores["scores"]) == (kind == "flow")
    assert "frechet distance" in out
    if kind == "vae":
        found = scores["likelihood"]
        # Of the same pictures: the bound of more latents is the tighter one.
        assert found["importance_weighted_nats"] > found["elbo_nats"]
        assert found["elbo_pictures"] == 90
        assert "importance-weighted (k = 20)" in out


def test_the_same_seed_gives_the_same_scores(capsys, tmp_path, models, data, classifier_file):
    command = ["evaluate", models["flow"], "--data", data, *OF_A_FLOW]
    command += ["--classifier", classifier_file]
    stored = []
    for number in (0, 1):
        does(capsys, *command, "--out", tmp_path / f"{number}")
        stored.append((tmp_path / f"{number}" / "evaluation.json").read_bytes())
    assert stored[0] == stored[1]


def test_real_pictures_pass_for_real_and_copies_are_noticed(classifier_file):
    (x_train, _), (x_test, y_test) = pictures(240, 0), pictures(90, 1)
    training, test = x_train[..., np.newaxis], x_test[..., np.newaxis]
    trained = classifier.load(classifier_file)
    reference = generator_scores.make_reference(trained, training, test, 90, seed=0)
    scores = generator_scores.score_pictures(reference, arrays.to_float(test), y_test)
    assert scores["frechet_distance"] == pytest.approx(0.0, abs=1e-6)
    assert scores["precision"] == scores["recall"] == 1.0
    assert scores["label_accuracy"] > 0.9
    learned, _ = generator_scores.copies(arrays.to_float(training[:20]), training, test)
    assert learned["generated_to_training"] == pytest.approx(0.0, abs=1e-6)
    assert learned["test_to_training"] > 0.01


def test_without_labels_there_is_a_note_and_no_distance(capsys, tmp_path, models):
    for name, seed in (("train", 0), ("test", 1)):
        np.save(tmp_path / f"{name}.npy", pictures(40, seed)[0])
    command = ["evaluate", models["vae"], "--data", tmp_path / "test.npy", *OF_A_VAE]
    out = does(capsys, *command, "--training", tmp_path / "train.npy", "--out", tmp_path / "out")
    assert "note: without labels there is no classifier" in out
    assert "scores" not in json.loads((tmp_path / "out" / "evaluation.json").read_text())


def test_pictures_to_compare_with_have_to_be_there_and_to_fit(capsys, tmp_path, models):
    flow = models["flow"]
    assert "no --data: expected" in refuses(capsys, "evaluate", flow)
    np.save(tmp_path / "test.npy", pictures(9, 0)[0])
    assert "expected the pictures that the generator was trained on" in refuses(
        capsys, "evaluate", flow, "--data", tmp_path / "test.npy"
    )
    other = tmp_path / "large.npy"
    np.save(other, np.zeros((9, 12, 12), np.uint8))
    options = ("--training", other, "--data", other, "--out", tmp_path / "out")
    message = refuses(capsys, "evaluate", flow, *options)
    assert "12x12 and the generator makes 8x8" in message
    colours = tmp_path / "colours.npy"
    np.save(colours, np.random.default_rng(0).integers(0, 255, (9, 8, 8, 3), np.uint8))
    options = ("--training", colours, "--data", colours, "--out", tmp_path / "out")
    assert "expected grey pictures" in refuses(capsys, "evaluate", flow, *options)
    assert not (tmp_path / "out").exists()
