"""The commands as a user runs them: exit codes, one-line messages, and what they leave behind."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import call, does, fails
from tf_deconv.training.config import TrainConfig

TINY = ["--epochs", "2", "--steps-per-epoch", "3", "--batch-size", "8"]


def write_pictures(folder, count=4, size=(40, 36), seed=0):
    """Writes `count` PNGs of noise; `size` is (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"picture_{number}.png")
    return folder


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--task", "denoize"], "did you mean 'denoise'"),
        (["--network", "artikle"], "did you mean 'article'"),
        (["--patch-size", "0"], "--patch-size 0: expected a number from 1 to 4096"),
        (["--patch-size", "27"], "--patch-size 27: expected a multiple of 2"),
        (
            ["--patch-size", "4000", "--batch-size", "1"],
            "--patch-size 4000 is larger than every picture",
        ),
        (["--epochs", "-1"], "--epochs -1: expected a number from 1 to 1000000"),
        (["--epochs", "many"], "--epochs many: expected a whole number"),
        (["--batch-size", "0"], "--batch-size 0: expected a number from 1 to 65536"),
        (["--learning-rate", "0"], "--learning-rate 0.0: expected more than 0 and at most 1"),
        (["--learning-rate", "nan"], "--learning-rate nan: expected a finite number"),
        (["--seed", "-3"], "--seed -3: expected a number from 0 to 2147483647"),
        (["--data", "no/such/folder"], "does not exist: expected a folder of pictures"),
        (["--config", "no_such.json"], "cannot be read"),
        (["--degrade", "nois:3"], "did you mean 'noise'"),
        (["--degrade", "jpeg:70-98@1.5"], "expected jpeg:70-98@SHARE"),
        (["--degrade", "noise:3", "jpeg:0"], "--degrade jpeg:0: expected jpeg:LEVEL"),
        (["--resume"], "no --run-dir with --resume: expected the folder of the run"),
        (["--resume", "--run-dir", "nowhere"], "has no config.json"),
        (["--resume", "--run-dir", "x", "--seed", "3"], "leave out --seed"),
        (["--epoch-count", "3"], "there is no option --epoch-count (did you mean --epochs?)"),
        (["--epo", "3"], "there is no option --epo (did you mean --epochs?)"),
        (["--rezume"], "there is no option --rezume (did you mean --resume?)"),
        (["-z"], "there is no option -z"),
    ],
)
def test_train_refuses_bad_options_in_one_line(capsys, tmp_path, monkeypatch, options, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in fails(capsys, "train", *options)
    assert everything_in(tmp_path) == []


def test_train_reports_every_bad_option_at_once(capsys):
    message = fails(capsys, "train", "--task", "x", "--epochs", "0", "--seed", "-1")
    assert all(part in message for part in ("--task x", "--epochs 0", "--seed -1"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "is not JSON"),
        ("[1]", "expected a JSON object"),
        ('{"epoch": 3}', "'epoch' (did you mean 'epochs'?)"),
        ('{"epochs": "3"}', '"epochs": "3": expected a whole number'),
        ('{"candidates": null}', '"candidates": null: expected a whole number'),
        ('{"task": 3}', '"task": 3: expected a text'),
    ],
)
def test_train_refuses_a_bad_config_file(capsys, tmp_path, content, expected):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert expected in fails(capsys, "train", "--config", path)


def test_an_empty_data_folder_is_refused(capsys, tmp_path):
    message = fails(capsys, "train", "--data", tmp_path)
    assert "holds no picture" in message


def test_a_folder_of_corrupt_pictures_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"no picture")
    message = fails(capsys, "train", "--data", "data")
    assert "none of the 1 pictures" in message
    assert everything_in(tmp_path) == ["data", "data/a.png"]


def test_a_run_folder_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    message = fails(capsys, "train", "--run-dir", tmp_path / "file" / "run")
    assert "cannot be written" in message


def test_a_run_folder_in_use_is_refused(capsys, tmp_path):
    (tmp_path / "keep.txt").write_text("mine")
    message = fails(capsys, "train", "--run-dir", tmp_path)
    assert "is not empty" in message
    assert everything_in(tmp_path) == ["keep.txt"]


def test_export_without_a_run_says_to_train(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "run `tf-deconv train` first" in fails(capsys, "export")
    assert everything_in(tmp_path) == []


def test_export_of_a_run_without_a_model_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert "has no model.keras" in fails(capsys, "export", "run")
    assert everything_in(tmp_path) == ["run"]


def make_text_file(path):
    path.write_text("no model")


def make_empty_zip(path):
    zipfile.ZipFile(path, "w").close()


def make_dense_model(path):
    import keras

    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(path)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (make_text_file, "is not a Keras model"),
        (make_empty_zip, "cannot be loaded by Keras"),
        (make_dense_model, "expected one picture (N, H, W, C) in and one out"),
    ],
)
def test_export_of_a_file_that_is_no_model_is_refused(
    capsys, tmp_path, monkeypatch, make, expected
):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "model.keras")
    assert expected in fails(capsys, "export", "model.keras")
    assert everything_in(tmp_path) == ["model.keras"]


def test_export_refuses_a_name_that_is_a_path(capsys):
    assert "--name ../x" in fails(capsys, "export", "--name", "../x")


RESTORE_HELP = "from tf_deconv.cli.main import main; main(['restore', '--help'])"


@pytest.mark.parametrize(
    "command",
    [
        ["train.py", "--help"],
        ["export.py", "--help"],
        ["-c", RESTORE_HELP],
        ["-c", "import tf_deconv"],
    ],
)
def test_help_and_import_do_not_load_tensorflow(repository, command):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: ") == ("import tf_deconv" not in command)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"tensorflow", "keras", "jax", "torch", "skimage"}


def test_train_help_names_every_option_with_its_default(capsys):
    text = " ".join(does(capsys, "train", "--help").split())
    for name, field in TrainConfig.__dataclass_fields__.items():
        assert "--" + name.replace("_", "-") in text
        if field.default is not None and field.metadata["type"] is not bool:
            assert f"(default: {field.default})" in text


def test_the_run_folder_is_complete(run):
    assert {path.name for path in run.folder.iterdir()} == {
        *("config.json", "model.keras", "samples.npz", "history.csv", "metrics.json"),
        *("curve.png", "preview.png", "checkpoints", "logs"),
    }
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert {"psnr_db", "ssim", "luminance_psnr_db", "luminance_ssim"} == set(metrics["output"])
    history = (run.folder / "history.csv").read_text().splitlines()
    assert history[0].startswith("epoch,")
    assert len(history) == 3
    with Image.open(run.folder / "preview.png") as preview:
        assert preview.size[0] > 3 * 256


def test_train_prints_scores_and_where_the_preview_is(run):
    for text in ("device: CPU", "colour", "luminance", "preview: ", "next: tf-deconv export "):
        assert text in run.output


def test_the_first_run_ends_with_what_the_other_network_gives_as_its_decision_tells(
    run, repository
):
    from tf_deconv.training import restoration

    figure = restoration.UNET_LUMINANCE_DB
    assert run.output.splitlines()[-1].startswith(
        f"better: tf-deconv train --network unet (luminance {figure} dB"
    )
    decision = repository / "docs" / "decisions" / "0026-first-run.md"
    assert f"{figure} dB" in decision.read_text(encoding="utf-8")


def test_a_corrupt_picture_is_skipped_counted_and_named(capsys, tmp_path):
    data = write_pictures(tmp_path / "data", count=12)
    (data / "broken.jpg").write_bytes(b"\xff\xd8\xff but no picture")
    options = ("--data", data, "--run-dir", tmp_path / "run", "--task", "denoise", *TINY)
    code, output, _ = call(capsys, "train", *options)
    assert code == 1  # Trained, but something was left out.
    assert "1 picture was skipped:\n  broken.jpg: is damaged" in output
    assert "better:" not in output  # What is said there is of the first run alone.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "variants"),
    [
        ("inpaint", ["float32", "int8-full"]),
        ("super-resolve-x3", ["float32", "int8"]),
        pytest.param("denoise-grey", ["float16", "dynamic"], marks=pytest.mark.exhaustive),
    ],
)
def test_tasks_of_other_shapes_train_and_export(capsys, tmp_path, gate_here, task, variants):
    data = write_pictures(tmp_path / "data", count=12, size=(64, 60))
    does(capsys, "train", "--task", task, "--data", data, "--run-dir", tmp_path / "run", *TINY)
    options = ("--out", tmp_path / "out", "--sizes", "28", "--variants", *variants)
    assert "NOT PUBLISHED" not in does(capsys, "export", tmp_path / "run", *options)
    files = tmp_path.glob("out/*/tflite/*.tflite")
    assert {path.stem.split(f"{task}-article-")[1] for path in files} == set(variants)


@pytest.mark.slow
def test_degrade_composes_what_happens_to_the_pictures(capsys, tmp_path):
    chain = ("blur:1.5", "noise:0-10", "jpeg:40")
    data = write_pictures(tmp_path / "data", count=12)
    options = ("--task", "denoise", "--degrade", *chain, "--data", data, *TINY)
    does(capsys, "train", "--run-dir", tmp_path / "run", *options)
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["degrade"] == "blur:1.5 noise:0-10 jpeg:40"


def test_the_newest_run_is_exported_by_default(tmp_path, monkeypatch):
    from tf_deconv.inference.run_folder import find_model

    monkeypatch.chdir(tmp_path)
    for age_s, name in ((100, "b"), (50, "a"), (200, "c")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        path = tmp_path / "runs" / name / "model.keras"
        path.write_bytes(b"")
        os.utime(path, (1e9 - age_s, 1e9 - age_s))
    assert find_model(None).parent.name == "a"
