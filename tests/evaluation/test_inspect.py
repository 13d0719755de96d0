"""`tf-deconv inspect` as a user runs it."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.fixtures.commands import does, refuses
from tests.fixtures.tflite_files import with_metadata
from tf_deconv.evaluation.inspect import inspect_artifact
from tf_deconv.inference import run_folder, tflite_file

PARAMETERS = 73_167
# The last kernel, 4x4 from 64 to 3 channels, works on squares of pixels: 5x5 from 64 to 12.
IN_PHASES = PARAMETERS + (5 * 5 * 64 + 1) * 12 - (4 * 4 * 64 + 1) * 3


def inspects(capsys, path):
    """Returns the facts, and the line of each for people."""
    facts = json.loads(does(capsys, "inspect", path, "--json"))
    return facts, does(capsys, "inspect", path)


@pytest.mark.parametrize("kind", ["run", "keras", "saved_model", "tflite"])
def test_every_kind_of_model_tells_the_same_contract(capsys, run, exported, kind):
    path = {
        "run": run.folder,
        "keras": run.folder / "model.keras",
        "saved_model": exported.folder,
        "tflite": exported.tflite("float32"),
    }[kind]
    facts, text = inspects(capsys, path)
    expected = {
        "kind": kind,
        "channels_in": 1,
        "channels_in_meaning": "grey",
        "channels_out": 3,
        "channels_out_meaning": "colour",
        "sizes": [[28, 28], [256, 256]] if kind == "tflite" else None,
        "divisor": 2,
        "scale": 1,
        "receptive_field": 13,
        "tile_overlap": 6,
        "parameters": PARAMETERS,
        "network": "article",
        "task": "old-photo",
    }
    assert {key: facts[key] for key in expected} == expected
    assert facts["training"]["epochs"] == 2
    assert facts["versions"]["keras"]
    assert len(facts["data_sha256"]) == 64
    for part in ("1 channel, grey", "3 channels, colour", "73,167", "13x13 pixels", "epochs=2"):
        assert part in text
    assert "seed=0" in text


def test_a_run_tells_its_scores(capsys, run):
    facts, text = inspects(capsys, run.folder)
    stored = json.loads((run.folder / "metrics.json").read_text())
    assert facts["scores"] == stored
    assert (facts["finished"], facts["epochs_done"], facts["epochs_planned"]) == (True, 2, 2)
    assert f"{stored['output']['psnr_db']:.2f} dB" in text
    assert facts["trained_on"] == stored["device"]
    assert "decoder_1_deconv (Conv2DTranspose)" in facts["layers"]


def test_an_export_tells_its_parity_and_checksums(capsys, exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    for entry in manifest["files"]:
        facts, text = inspects(capsys, exported.folder / entry["file"])
        assert facts["manifest"]["parity"] == entry["parity"]
        assert facts["manifest"]["unchanged"] is True
        assert "the files are those of the manifest" in text
        digests = {file["sha256"] for file in facts["files"]}
        assert digests == set(entry["sha256"].values())
        assert sum(file["size_bytes"] for file in facts["files"]) == entry["size_bytes"]


@pytest.mark.parametrize(
    ("variant", "weights", "activations"),
    [
        ("float32", {"float32": IN_PHASES}, ["float32"]),
        ("float16", {"float16": IN_PHASES}, ["float32"]),
        ("int8", {"int8 per channel": 73_001, "int32": 166}, ["int8"]),
    ],
)
def test_a_tflite_file_tells_its_numbers(capsys, exported, variant, weights, activations):
    facts, text = inspects(capsys, exported.tflite(variant))
    assert facts["weights"] == weights
    assert facts["activations"] == activations
    content = exported.tflite(variant).read_bytes()
    assert facts["operators"] == tflite_file.TfliteFile(content).operator_counts()
    assert f"TRANSPOSE_CONV v3 x{4 if variant == 'int8' else 2}" in text
    signatures = {each["name"]: each for each in facts["signatures"]}
    assert signatures["restore_28x28"]["inputs"] == {"image": "float32 (1, 28, 28, 1)"}
    assert signatures["restore_256x256"]["outputs"] == {"restored": "float32 (1, 256, 256, 3)"}


def test_a_saved_model_tells_its_signatures(capsys, exported):
    facts, text = inspects(capsys, exported.folder / "1")
    assert facts["signatures"] == [
        {
            "name": "serve_bytes",
            "inputs": {"image_bytes": "string (any)"},
            "outputs": {"restored_bytes": "string (any)"},
        },
        {
            "name": "serve_jpeg",
            "inputs": {"image_bytes": "string (any)"},
            "outputs": {"restored_bytes": "string (any)"},
        },
        {
            "name": "serving_default",
            "inputs": {"image": "float32 (any, any, any, 1)"},
            "outputs": {"restored": "float32 (any, any, any, 3)"},
        },
    ]
    assert "serving_default: image float32 (any, any, any, 1) -> restored" in text


def test_a_tflite_file_that_travelled_alone_tells_what_it_is(capsys, tmp_path, exported):
    path = shutil.copy(exported.tflite("int8"), tmp_path / "alone.tflite")
    facts, text = inspects(capsys, path)
    assert (facts["divisor"], facts["receptive_field"], facts["task"]) == (2, 13, "old-photo")
    assert facts["manifest"] is None
    assert facts["metadata"]["name"] == "old-photo-article"
    assert "none beside it; the file describes itself" in text


def test_a_file_without_its_manifest_is_measured(capsys, tmp_path, exported):
    path = tmp_path / "alone.tflite"
    path.write_bytes(with_metadata(exported.tflite("int8").read_bytes(), {}))
    facts, text = inspects(capsys, path)
    assert (facts["divisor"], facts["receptive_field"]) == (2, 13)
    assert facts["manifest"] is None
    assert facts["task"] is None
    assert "none that tells of this file" in text


def test_a_file_that_changed_since_its_export_is_told(capsys, tmp_path, exported):
    folder = shutil.copytree(exported.folder, tmp_path / "model")
    path = folder / "tflite" / exported.tflite("float32").name
    path.write_bytes(path.read_bytes() + b"\0")
    facts, text = inspects(capsys, path)
    assert facts["manifest"]["unchanged"] is False
    assert "NOT THOSE OF THE MANIFEST" in text


def test_a_run_that_is_being_trained_says_so(capsys, tmp_path, run):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "metrics.json").unlink()
    first = (folder / "history.csv").read_text().splitlines()[:2]
    (folder / "history.csv").write_text("\n".join(first))
    facts, text = inspects(capsys, folder)
    assert (facts["finished"], facts["epochs_done"], facts["scores"]) == (False, 1, None)
    assert "not finished, 1 of 2 epochs: it is being trained, or was stopped" in text
    (folder / "model.keras").unlink()
    message = refuses(capsys, "inspect", folder)
    assert "has no model yet: it is being trained, or was stopped" in message


def test_a_run_whose_scores_are_damaged_is_refused(capsys, tmp_path, run):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "metrics.json").write_text("{")
    assert "cannot be read" in refuses(capsys, "inspect", folder)
    assert inspect_artifact(folder / "model.keras")["parameters"] == PARAMETERS


def test_a_keras_file_of_another_program_is_inspected(capsys, tmp_path):
    import keras

    image = keras.Input((None, None, 3))
    small = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    large = keras.layers.Conv2DTranspose(3, 2, strides=2)(small)
    keras.Model(image, large).save(tmp_path / "plain.keras")
    facts, text = inspects(capsys, tmp_path / "plain.keras")
    assert (facts["divisor"], facts["scale"], facts["receptive_field"]) == (2, 1, 5)
    assert facts["task"] is None
    assert "training      not recorded" in text


def make_truncated_tflite(exported, path):
    path.write_bytes(exported.tflite("float32").read_bytes()[:5000])


def make_damaged_saved_model(exported, path):
    shutil.copytree(exported.folder / "1", path)
    (path / "variables" / "variables.index").write_bytes(b"x")


def make_damaged_keras(exported, path):
    path.write_bytes(b"PK\x03\x04" + bytes(100))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda _, path: None, "does not exist: expected a run folder"),
        (lambda _, path: path.mkdir(), "holds no model: expected a run folder"),
        (lambda _, path: path.write_text("no model"), "is not a model: expected a run folder"),
        (lambda _, path: path.write_bytes(b""), "is not a model: expected a run folder"),
        (make_damaged_keras, "is not a Keras model"),
        (make_truncated_tflite, "is not the file that was exported"),
        (make_damaged_saved_model, "is not a SavedModel of pictures"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(capsys, tmp_path, exported, make, expected):
    make(exported, tmp_path / "model")
    assert expected in refuses(capsys, "inspect", tmp_path / "model")


def test_a_description_that_is_no_object_is_none(tmp_path, run):
    import zipfile

    path = tmp_path / "model.keras"
    with zipfile.ZipFile(run.folder / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"[1]" if name == "tf_deconv.json" else old.read(name))
    assert run_folder.read_description(path) == {}
    assert inspect_artifact(path)["task"] is None


def test_help_answers_without_tensorflow(repository):
    code = "from tf_deconv.cli.main import main; main(['inspect', '--help'])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--json" in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"tensorflow", "keras"}
