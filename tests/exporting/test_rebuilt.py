"""Exported models, shipped ones above all, exported again from the weights of their SavedModel."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest

from tests.fixtures.commands import does, refuses
from tf_deconv import api
from tf_deconv.exporting import rebuilt, target
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.inference import run_folder, shipped
from tf_deconv.inference.artifacts import open_artifact


@pytest.mark.parametrize("name", ["denoise-color-small", "denoise-grey", "super-resolve-x4"])
def test_a_shipped_model_is_built_again(tmp_path, name, rng):
    with rebuilt.as_keras_file(name, tmp_path, None) as path:
        model = run_folder.load_model(path)
        description = run_folder.read_description(path)
    assert not path.exists()
    folder = shipped.find(name)
    known = json.loads((folder / "manifest.json").read_text())
    assert description["training"] == known["training"]
    assert model.count_params() == known["parameters"]
    image = rng.random((1, 36, 52, known["channels_in"]), np.float32)
    expected = open_artifact(folder / "1").run(image)
    np.testing.assert_allclose(model(image, training=False), expected, atol=1e-5)


def test_an_export_is_exported_again_with_other_sizes(capsys, tmp_path, exported, gate_here):
    options = ("--out", tmp_path, "--sizes", 44, "--variants", "float32", "--name", "again")
    out = does(capsys, "export", exported.folder, *options)
    assert f"model: {exported.folder}, " in out  # And not a file that is gone.
    assert "published" in out
    first, again = (
        json.loads((folder / "manifest.json").read_text())
        for folder in (exported.folder, tmp_path / "again")
    )
    for key in ("task", "network", "training", "trained_on", "data_sha256", "license", "versions"):
        assert again[key] == first[key], key
    assert again["tflite_sizes"] == [[44, 44]]
    assert 1 <= again["effective_reach"] <= again["receptive_field"] // 2


def test_an_export_does_not_replace_the_one_it_is_made_of(capsys, exported):
    options = ("--out", exported.folder.parent)
    message = refuses(capsys, "export", exported.folder, *options)
    assert "is the export that the weights are taken from: choose another --out" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"network": "unknown"}, "cannot be built again from what its manifest records"),
        ({"task": "deblock"}, "cannot be built again"),
        ({"generator": {}}, "cannot be exported again"),
    ],
)
def test_what_cannot_be_built_again_is_said(capsys, tmp_path, exported, changes, expected):
    folder = tmp_path / "m"
    shutil.copytree(exported.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    assert expected in refuses(capsys, "export", folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout, but not that of the package that runs; without TensorFlow."""
    (tmp_path / "tf_deconv" / "inference").mkdir(parents=True)
    (tmp_path / "tf_deconv" / "inference" / "shipped.py").touch()
    (tmp_path / "saved_models" / "photo").mkdir(parents=True)
    (tmp_path / "saved_models" / "photo" / "preview.jpg").touch()
    monkeypatch.setattr(api, "import_tensorflow", lambda: pytest.fail("TensorFlow is loaded"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["photo"],
        ["photo", "--out", "tf_deconv/../saved_models"],
        [str(shipped.find("photo"))],
        [str(shipped.find("deblock")), "--name", "photo"],
        ["KERAS", "--name", "photo"],
        ["photo.keras"],
        ["RUN/photo"],
    ],
)
def test_a_shipped_model_is_not_replaced(capsys, checkout, untrained, words):
    # An export of "photo" put a version beside that of the checkout and took its files away.
    with zipfile.ZipFile(checkout / "photo.keras", "w"):
        """Plain Keras's: nothing tells a name but the file's."""
    (checkout / "RUN" / "photo").mkdir(parents=True)
    shutil.copy(checkout / "photo.keras", checkout / "RUN" / "photo" / "model.keras")
    words = [str(untrained) if word == "KERAS" else word for word in words]
    message = refuses(capsys, "export", *words)
    assert "is the shipped model 'photo', which an export would replace" in message
    assert "--out FOLDER" in message
    assert os.listdir(checkout / "saved_models" / "photo") == ["preview.jpg"]


def test_a_run_that_is_given_its_name_renews_a_shipped_model(checkout, untrained):
    (checkout / "run").mkdir()
    shutil.copy(untrained, checkout / "run" / "model.keras")
    target.check(ExportConfig(model="run", name="photo"))
    target.check(ExportConfig(model="run"))
    target.check(ExportConfig(model="photo", out="exports"))
