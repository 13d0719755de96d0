"""Shared by all tests; the environment is set before any of them imports TensorFlow."""

import collections
import contextlib
import io
import os
import pathlib
import subprocess
import sys
import time
import types

import numpy as np
import pytest

from tf_deconv.utils import locks

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Every export times every file: 30 runs of it are five seconds, and one is enough for a test.
os.environ.setdefault("TF_DECONV_TIMED_RUNS", "1")
# An assertion that fails there shows what it compared, as one in a test does.
pytest.register_assert_rewrite("tests.fixtures.commands")
with contextlib.suppress(ImportError):  # A machine that only restores has none.
    import hypothesis

    # How fast examples are drawn tells of the machine's load, not of the code.
    _too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=_too_slow)
    hypothesis.settings.load_profile("here")


def pytest_collection_modifyitems(items):
    """Puts files of many slow tests first: the last one must not keep one process waiting."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def bundled():
    """The package's photographs, split into training and validation."""
    from tf_deconv.data.sources import load_source

    return load_source("bundled", patch_size=28, validation_fraction=0.1)


@pytest.fixture(scope="session")
def unseen():
    """scikit-image's photographs by name, (H, W, 3) uint8: no model of this project saw them."""
    from skimage import data

    return {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")}


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
def script():
    """Runs train.py or export.py in this process and returns what it prints.

    A process of its own would import TensorFlow again, which is half the time of a short training.
    """
    from tf_deconv.cli import main

    def run(name, *arguments):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = main.main([name.removesuffix(".py"), *map(str, arguments)])
        assert code == 0, output.getvalue()
        return output.getvalue()

    return run


@pytest.fixture(scope="session")
def train(script):
    return lambda *arguments: script("train.py", *arguments)


@pytest.fixture
def gate_here():
    """Exported files run in this process, for tests that are not about the gate."""
    from tests.fixtures import gates

    with gates.in_this_process():
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Makes a folder by calling `make(folder)`, in the first of the test processes that asks.

    Returns the folder, and the text that `make` returned.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def get(name, make):
        folder, said = shared / name, shared / f"{name}.txt"
        with (shared / f"{name}.lock").open("w") as lock:
            while not locks.take(lock.fileno()):
                time.sleep(0.05)
            if not said.exists():
                folder.mkdir()
                text = make(folder)
                said.write_text(text)
        return folder, said.read_text()

    return get


@pytest.fixture(scope="session")
def run(train, made_once):
    """A short run on the bundled photographs: its folder and what was printed."""
    options = ("--epochs", 2, "--steps-per-epoch", 40)
    folder, output = made_once("runs", lambda folder: train("--run-dir", folder / "run", *options))
    return types.SimpleNamespace(folder=folder / "run", output=output)


@pytest.fixture(scope="session")
def exported(script, run, made_once):
    """That run exported: folder, what was printed, the Keras model and the run's samples."""
    from tf_deconv.inference import run_folder
    from tf_deconv.inference.run_folder import load_model

    out, output = made_once(
        "saved_models", lambda folder: script("export.py", run.folder, "--out", folder)
    )
    folder = out / "old-photo-article"
    return types.SimpleNamespace(
        folder=folder,
        output=output,
        model=load_model(run.folder),
        samples=run_folder.load_samples(run.folder / run_folder.SAMPLES_FILE),
        tflite=lambda variant: folder / "tflite" / f"old-photo-article-{variant}.tflite",
    )


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """A network for colour that nobody trained, for tests that need any model: a .keras file."""
    import keras

    from tf_deconv.inference import run_folder
    from tf_deconv.networks.article import build_article

    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("untrained") / "model.keras"
    description = dict(task="denoise", network="article", divisor=2, scale=1)
    run_folder.save_model(build_article(None, None, 3, 3), path, description)
    return path


def write_stand_ins(folder):
    import keras

    import tf_deconv
    from tests.fixtures import gates
    from tf_deconv.degradations.tasks import TASKS
    from tf_deconv.exporting.config import ExportConfig
    from tf_deconv.inference import run_folder
    from tf_deconv.networks.article import build_article

    (folder / "keras").mkdir()
    for name, task in (("denoise-color", "denoise"), ("denoise-grey", "denoise-grey")):
        keras.utils.set_random_seed(3)
        channels = TASKS[task].channels_in
        model = build_article(None, None, channels, channels)
        description = dict(task=task, network="article", divisor=2, scale=1)
        run_folder.save_model(model, folder / "keras" / f"{name}.keras", description)
        config = ExportConfig(
            model=str(folder / "keras" / f"{name}.keras"),
            out=str(folder / "models"),
            name=name,
            sizes="32",
            variants="float32",
        )
        with gates.in_this_process():
            assert not tf_deconv.export(config, report=lambda line: None).failures
    return ""


@pytest.fixture(scope="session")
def stand_ins(made_once):
    """A folder with denoise-color and denoise-grey: untrained networks, exported."""
    return made_once("stand-ins", write_stand_ins)[0] / "models"


@pytest.fixture
def here(stand_ins, monkeypatch, tmp_path):
    """Makes the stand-ins the only shipped models, and a folder of its own the present one."""
    from tf_deconv.inference import shipped

    monkeypatch.setenv(shipped.VARIABLE, str(stand_ins))
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "nowhere" / "tf_deconv")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"
