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
