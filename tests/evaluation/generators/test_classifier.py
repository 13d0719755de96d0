"""The classifier whose features generated pictures are judged in."""

import json

import numpy as np
import pytest

from tf_deconv.evaluation.generators import classifier
from tf_deconv.evaluation.generators.classifier import load, train_classifier
from tf_deconv.inference import run_folder
from tf_deconv.utils.options import UserError


def make_stripes(rng, count):
    """Noise (class 0), horizontal stripes (1) and vertical ones (2), 12 x 10 pixels, any phase."""
    labels = rng.integers(0, 3, count)
    rows, columns = np.mgrid[0:12, 0:10]
    phase = rng.integers(0, 4, (count, 1, 1))
    axis = np.where(labels[:, None, None] == 1, rows, columns)
    bright = ((axis + phase) // 2 % 2) * 160
    noise = rng.integers(0, 90, (count, 12, 10))
    images = np.where(labels[:, None, None] == 0, 2 * noise, bright + noise)
    return images[..., None].astype(np.uint8), labels


@pytest.fixture(scope="module")
def stripes():
    rng = np.random.default_rng(0)
    return make_stripes(rng, 1536), make_stripes(rng, 300)


@pytest.fixture(scope="module")
def lines():
    return []


@pytest.fixture(scope="module")
def trained(stripes, lines):
    training, test = stripes
    return train_classifier(*training, seed=3, epochs=4, test=test, report=lines.append)


def test_stripes_are_told_apart(trained, stripes, lines):
    _, (images, labels) = stripes
    assert trained.accuracy(images, labels) > 0.95
    assert trained.facts["test_accuracy"] == trained.accuracy(images, labels)
    assert len(lines) == 5
    assert lines[0].startswith("classifier: epoch 1/4, loss ")


def test_facts_say_what_a_classifier_is_of(trained, stripes):
    facts = json.loads(json.dumps(trained.facts))
    training, _ = stripes
    assert (facts["seed"], facts["epochs"], facts["steps"]) == (3, 4, 4 * 12)
    assert (facts["pictures"], facts["classes"]) == (1536, 3)
    assert facts["data_sha256"] == classifier.data_sha256(*training)
    assert set(facts["versions"]) == {"tf_deconv", "tensorflow", "keras", "numpy", "python"}


def test_features_are_the_penultimate_layer(trained, stripes):
    _, (images, _) = stripes
    features = trained.features(images)
    assert features.shape == (300, classifier.FEATURES)
    assert features.dtype == np.float32
    assert features.min() >= 0
    kernel, bias = trained.model.get_layer("logits").get_weights()
    np.testing.assert_array_equal((features @ kernel + bias).argmax(1), trained.predict(images))


def test_bytes_and_floats_have_equal_features(trained, stripes):
    _, (images, _) = stripes
    unit = images.astype(np.float32) / 255
    np.testing.assert_array_equal(trained.features(images), trained.features(unit))


def test_features_do_not_depend_on_the_batch(trained, stripes, monkeypatch):
    _, (images, _) = stripes
    whole = trained.features(images)
    monkeypatch.setattr(classifier, "_INFERENCE_BATCH", 128)
    np.testing.assert_allclose(trained.features(images), whole, rtol=1e-4, atol=1e-5)
    assert trained.features(images[:0]).shape == (0, classifier.FEATURES)
    assert trained.predict(images[:0]).shape == (0,)


def test_a_seed_fixes_the_classifier(trained, stripes):
    training, (images, _) = stripes
    again = train_classifier(*training, seed=3, epochs=4, report=lambda line: None)
    np.testing.assert_array_equal(again.features(images), trained.features(images))


def test_another_seed_gives_other_weights_and_another_order():
    first, other = (classifier.build_classifier((8, 8, 1), 2, seed=seed) for seed in (3, 4))
    for layer, changed in zip(first.layers, other.layers):
        for weight, changed_weight in list(zip(layer.get_weights(), changed.get_weights()))[:1]:
            assert not np.array_equal(weight, changed_weight)
    orders = [next(classifier._batches(500, *key)) for key in ((3, 0), (3, 1), (4, 0), (3, 0))]
    assert len({tuple(order) for order in orders}) == 3


def test_a_saved_classifier_predicts_the_same(trained, stripes, tmp_path):
    _, (images, _) = stripes
    path = tmp_path / "classifier.keras"
    trained.save(path)
    loaded = load(path)
    assert loaded.facts == trained.facts
    np.testing.assert_array_equal(loaded.predict(images), trained.predict(images))
    np.testing.assert_array_equal(loaded.features(images), trained.features(images))
    # It maps no picture to a picture: export and restore refuse it in one line.
    with pytest.raises(UserError, match="expected one picture"):
        run_folder.load_model(path)


def test_data_are_told_apart_by_every_pixel_and_label(stripes):
    (images, labels), _ = stripes
    digest = classifier.data_sha256(images, labels)
    assert digest == classifier.data_sha256(images.copy(), labels.astype(np.uint8))
    brighter, other = images.copy(), labels.copy()
    brighter[-1, -1, -1, -1] ^= 1
    other[-1] = (other[-1] + 1) % 3
    assert classifier.data_sha256(brighter, labels) != digest
    assert classifier.data_sha256(images, other) != digest


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3), (8, 20, 1)])
def test_networks_fit_every_size(shape):
    model = classifier.build_classifier(shape, 10, seed=0)
    assert model.output_shape == (None, 10)
    assert 50_000 < model.count_params() < 700_000


PICTURES, LABELS = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (PICTURES, None, {}, "have no labels"),
        (PICTURES, LABELS[:3], {}, r"labels are int64 of shape \(3,\)"),
        (PICTURES, LABELS - 1, {}, "a whole number from 0"),
        (PICTURES, LABELS / 2, {}, "labels are float64"),
        (PICTURES, LABELS * 0, {}, "two or more"),
        (PICTURES[..., 0], LABELS, {}, r"expected \(N, H, W, C\)"),
        (PICTURES[:, :7], LABELS, {}, "at least 8 pixels"),
        (PICTURES + 2.0, LABELS, {}, r"from 2.0 to 2.0: expected uint8, or float in \[0, 1\]"),
        (PICTURES, LABELS, {"seed": -1}, "seed=-1: expected at least 0"),
        (PICTURES, LABELS, {"epochs": 0}, "epochs=0: expected at least 1"),
        (PICTURES, LABELS, {"test": (PICTURES, LABELS[:1])}, "test labels"),
        (PICTURES, LABELS, {"test": (PICTURES.repeat(2, 1), LABELS)}, "the same size"),
    ],
)
def test_bad_pictures_and_labels_are_refused_in_one_line(images, labels, options, message):
    with pytest.raises(UserError, match=message) as caught:
        train_classifier(images, labels, **({"seed": 0} | options))
    assert "\n" not in str(caught.value)


def test_pictures_of_another_size_have_no_features(trained):
    with pytest.raises(UserError, match=r"pictures are \(8, 8, 1\); .* trained on \(12, 10, 1\)"):
        trained.features(PICTURES)


def test_files_that_are_no_classifier_are_refused(trained, tmp_path):
    with pytest.raises(UserError, match=r"is no \.keras file"):
        load(tmp_path / "missing.keras")
    other = tmp_path / "other.keras"
    run_folder.save_model(trained.model, other, {"task": "denoise"})
    with pytest.raises(UserError, match="is not a classifier"):
        load(other)


def test_importing_loads_no_tensorflow(run_python):
    code = "import sys, tf_deconv.evaluation.generators.classifier\n"
    code += "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    assert run_python(code).split() == ["False", "False"]
