"""Going on with a run: more epochs, none, and an end before the last one."""

import json
import math

import numpy as np
import pytest

import tf_deconv
from tests.fixtures import picture_folders
from tests.fixtures.commands import does, refuses
from tf_deconv.inference import run_folder
from tf_deconv.training import callbacks, monitor
from tf_deconv.training.config import EPOCHS, TrainConfig, check_train_config

RATE = 0.002
SMALL = ("--task", "denoise", "--steps-per-epoch", 2, "--batch-size", 4, "--learning-rate", RATE)
SMALL += ("--patch-size", 16)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    picture_folders.write(folder, picture_folders.make_pictures(6, side=40))
    return folder


def state_of(folder):
    """Returns what each file holds and when it was written."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(folder, name):
    return json.loads((folder / name).read_text())


def rates_of(folder):
    rows = (folder / "history.csv").read_text().splitlines()
    return [float(row.split(",")[rows[0].split(",").index("learning_rate")]) for row in rows[1:]]


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_goes_on_with_more_epochs(capsys, tmp_path, pictures):
    run = tmp_path / "run"
    does(capsys, "train", "--data", pictures, "--run-dir", run, "--epochs", 2, *SMALL)
    assert read(run, "metrics.json")["epochs"] == 2
    assert not read(run, "metrics.json")["stopped_early"]

    # It was scored and drawn anew, and its pictures had to be there.
    before = state_of(run)
    said = does(capsys, "train", "--resume", "--run-dir", run)
    assert said == (
        f"run {str(run)!r} is finished, and nothing was changed: 2 of 2 epochs are trained; more"
        " --epochs let it go on\n"
    )
    assert does(capsys, "train", "--resume", "--run-dir", run, "--epochs", 2) == said
    assert does(capsys, "train", "--resume", "--run-dir", run, "--quiet") == ""
    line = refuses(capsys, "train", "--resume", "--run-dir", run, "--epochs", 1)
    assert "--epochs 1 with --resume: 2 epochs are trained already; expected more" in line
    assert state_of(run) == before

    said = does(capsys, "train", "--resume", "--run-dir", run, "--epochs", 4)
    assert "resuming after epoch 2" in said
    assert read(run, "config.json")["epochs"] == read(run, "metrics.json")["epochs"] == 4
    assert run_folder.read_description(run / "model.keras")["task"] == "denoise"
    # The rate had fallen to 0, and rises to where the curve over all four epochs stands.
    expected = [RATE * (1 + math.cos(math.pi * part)) / 2 for part in (1 / 2, 1, 3 / 4, 1)]
    np.testing.assert_allclose(rates_of(run), expected, atol=1e-9)
    assert tf_deconv.train(run_dir=str(run), resume=True, report=print).metrics["epochs"] == 4


@pytest.mark.slow
def test_patience_ends_a_run_early_and_more_of_it_lets_it_go_on(
    capsys, tmp_path, pictures, monkeypatch
):
    run = tmp_path / "run"
    # So small a rate betters nothing that the monitor's first value was not.
    monkeypatch.setattr(callbacks, "epochs_without_gain", lambda rows, monitor: len(rows) - 1)
    options = ("--data", pictures, "--run-dir", run, "--epochs", 9, "--patience", 2, *SMALL)
    said = does(capsys, "train", *options)
    assert "stopped early: 2 epochs have brought no better validation" in said
    metrics = read(run, "metrics.json")
    assert (metrics["epochs"], metrics["stopped_early"]) == (3, True)
    assert 1 <= metrics["best_epoch"] <= 3
    assert read(run, "config.json")["patience"] == 2
    # The rate keeps to the curve over all nine epochs.
    assert rates_of(run)[-1] == pytest.approx(RATE * (1 + math.cos(math.pi / 3)) / 2)

    before = state_of(run)
    said = does(capsys, "train", "--resume", "--run-dir", run)
    assert "it stopped after epoch 3 of 9, for 2 epochs had brought no better validation" in said
    assert state_of(run) == before

    scores = metrics["output"]
    (run / "metrics.json").unlink()  # As if it had been killed before it was scored.
    does(capsys, "train", "--resume", "--run-dir", run)
    metrics = read(run, "metrics.json")
    assert (metrics["epochs"], metrics["output"]) == (3, scores)

    does(capsys, "train", "--resume", "--run-dir", run, "--patience", 0, "--epochs", 4)
    metrics = read(run, "metrics.json")
    assert (metrics["epochs"], metrics["stopped_early"]) == (4, False)


@pytest.mark.parametrize(
    ("which", "values", "expected"),
    [
        (monitor.PSNR, [20.0], 0),
        (monitor.PSNR, [20.0, 21.0, 21.0, 20.0], 2),
        (monitor.VELOCITY, [0.5, 0.4, 0.3], 0),
        (monitor.VELOCITY, [0.3, 0.4, 0.5], 2),
    ],
)
def test_epochs_without_gain_are_counted_from_the_first_of_the_best(which, values, expected):
    rows = [{"epoch": number + 1.0, which.name: value} for number, value in enumerate(values)]
    assert monitor.epochs_without_gain(rows, which) == expected
    assert monitor.epochs_without_gain([], which) == 0


def test_epochs_have_a_default_that_a_resumed_run_does_not_take():
    assert check_train_config(TrainConfig()).epochs == EPOCHS
    assert check_train_config(TrainConfig(resume=True, run_dir="x")).epochs is None
