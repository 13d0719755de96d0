"""Shared by all tests; the environment is set before any of them imports TensorFlow."""

import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# An assertion that fails there shows what it compared, as one in a test does.
pytest.register_assert_rewrite("tests.commands")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def bundled():
    """scikit-image's photographs, split into training and validation."""
    from tf_deconv.sources import load_source

    return load_source("bundled", patch_size=28, validation_fraction=0.1)


@pytest.fixture(scope="session")
def run_python():
    """Runs code in a fresh interpreter and returns what it prints."""

    def run(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def repository():
    return pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="session")
def script(repository):
    """Runs train.py or export.py as a user does and returns what it prints."""

    def run(name, *arguments):
        command = [sys.executable, name, *map(str, arguments)]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def train(script):
    return lambda *arguments: script("train.py", *arguments)


@pytest.fixture(scope="session")
def run(train, tmp_path_factory):
    """A short run on the bundled photographs: its folder and what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    output = train("--run-dir", folder, "--epochs", 2, "--steps-per-epoch", 40)
    return types.SimpleNamespace(folder=folder, output=output)


@pytest.fixture(scope="session")
def exported(script, run, tmp_path_factory):
    """That run exported: folder, what was printed, the Keras model and the run's samples."""
    from tf_deconv import load_model, runs

    out = tmp_path_factory.mktemp("saved_models")
    output = script("export.py", run.folder, "--out", out)
    folder = out / "old-photo-article"
    return types.SimpleNamespace(
        folder=folder,
        output=output,
        model=load_model(run.folder),
        samples=runs.load_samples(run.folder / runs.SAMPLES_FILE),
        tflite=lambda variant: folder / "tflite" / f"old-photo-article-{variant}.tflite",
    )


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory):
    """A folder with denoise-color and denoise-grey: untrained networks, exported."""
    import keras

    import tf_deconv
    from tf_deconv import runs
    from tf_deconv.config import ExportConfig
    from tf_deconv.networks.article import build_article
    from tf_deconv.tasks import TASKS

    out, work = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("keras")
    for name, task in (("denoise-color", "denoise"), ("denoise-grey", "denoise-grey")):
        keras.utils.set_random_seed(3)
        channels = TASKS[task].channels_in
        model = build_article(None, None, channels, channels)
        description = dict(task=task, network="article", divisor=2, scale=1)
        runs.save_model(model, work / f"{name}.keras", description)
        config = ExportConfig(
            model=str(work / f"{name}.keras"),
            out=str(out),
            name=name,
            sizes="32",
            variants="float32",
        )
        assert not tf_deconv.export(config, report=lambda line: None).failures
    return out


@pytest.fixture
def here(stand_ins, monkeypatch, tmp_path):
    """Makes the stand-ins the only shipped models, and a folder of its own the present one."""
    from tf_deconv import shipped

    monkeypatch.setenv(shipped.VARIABLE, str(stand_ins))
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "nowhere" / "tf_deconv")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"
