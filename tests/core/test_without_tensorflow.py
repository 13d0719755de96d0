"""What a machine that only restores can do: LiteRT, NumPy and the readers of pictures are enough.

They need neither TensorFlow nor Keras, and run where there is none: see requirements/restore.txt.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.commands import call, does, refuses
from tf_deconv.inference import shipped

SMALL = "denoise-color-small"
HEAVY = ("tensorflow", "keras", "jax", "scipy", "skimage", "matplotlib")


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)


def photograph(height, width, channels):
    """Something that a network knows: slopes, edges and a little noise."""
    rows, columns = np.indices((height, width)) / max(height, width)
    image = 60 + 90 * rows + 60 * (columns > rows)
    image = image[..., np.newaxis] * np.linspace(1, 0.7, channels)
    return np.uint8(image + np.random.default_rng(0).normal(0, 5, image.shape))


@pytest.fixture
def without_tensorflow(monkeypatch):
    """Hides TensorFlow where it is installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name)
    )
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)


def test_restoring_imports_nothing_heavy(run_python, tmp_path):
    Image.fromarray(noise(40, 50, 3)).save(tmp_path / "a.png")
    Image.fromarray(noise(40, 50, 3)).save(tmp_path / "b.jpg")
    code = (
        "import sys, numpy, tf_deconv\n"
        "from tf_deconv.cli.main import main\n"
        "def check():\n"
        f"    found = sorted(set(sys.modules) & set({HEAVY!r}))\n"
        "    assert not found, found\n"
        "check()\n"
        "image = numpy.zeros((30, 20, 3), numpy.uint8)\n"
        "assert tf_deconv.load('photo')(image).shape == image.shape\n"
        "assert tf_deconv.load('photo')(image / numpy.float32(255)).shape == image.shape\n"
        "check()\n"
        f"assert main(['restore', '{SMALL}', sys.argv[1], '--out', sys.argv[2]]) == 0\n"
        "check()\n"
        f"assert main(['inspect', '{SMALL}', '--json']) == 0\n"
        "check()\n"
    )
    run_python(code, tmp_path, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    "name", [name for name, model in shipped.MODELS.items() if not model.moves]
)
def test_every_shipped_model_restores_an_array(name):
    restorer = tf_deconv.load(name)
    image = photograph(37, 45, 1 if name == "denoise-grey" else 3)
    restored = restorer(image)
    scale = restorer.artifact.scale
    assert restored.shape == (37 * scale, 45 * scale, image.shape[-1])
    assert restored.dtype == np.uint8
    # What int8 loses is far below what was taken away.
    exact = tf_deconv.load(name, precision="float32")(image).astype(int)
    assert np.abs(restored - exact).mean() < 1
    if scale == 1:
        assert np.abs(image - exact).mean() > 0.1


def test_inspect_tells_of_a_shipped_model_what_its_manifest_tells(capsys):
    facts = json.loads(does(capsys, "inspect", "photo", "--json"))
    manifest = json.loads((shipped.find("photo") / "manifest.json").read_text())
    shared = ("channels_in", "channels_out", "divisor", "scale", "receptive_field", "parameters")
    assert {key: facts[key] for key in shared} == {key: manifest[key] for key in shared}
    assert facts["kind"] == "saved_model"
    assert facts["manifest"]["unchanged"]
    signatures = {each["name"]: each for each in facts["signatures"]}
    assert signatures.keys() == manifest["graph_tensors"].keys()
    image = {"image": "float32 (any, any, any, 3)"}
    assert signatures["serving_default"]["inputs"] == image


def test_depth_transparency_and_grey_are_kept(capsys, tmp_path):
    Image.fromarray(noise(30, 40, 4)).save(tmp_path / "alpha.png")
    Image.fromarray(noise(30, 40)).save(tmp_path / "grey.png")
    Image.fromarray(noise(30, 40, dtype=np.uint16)).save(tmp_path / "deep.png")
    does(capsys, "restore", SMALL, tmp_path, "--out", tmp_path / "out")
    modes = {}
    for path in sorted((tmp_path / "out").iterdir()):
        with Image.open(path) as image:
            modes[path.name] = image.mode
            if image.mode == "RGBA":
                np.testing.assert_array_equal(np.asarray(image)[..., 3], noise(30, 40, 4)[..., 3])
    assert modes == {"alpha.png": "RGBA", "deep.png": "I;16", "grey.png": "L"}


def test_a_name_that_the_terminal_cannot_show_is_printed_in_escapes(tmp_path):
    # A file called so was a UnicodeEncodeError where stdout is not UTF-8: in a pipe on Windows.
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "\u0436.png")
    command = [sys.executable, "-m", "tf_deconv", "restore", SMALL, str(tmp_path / "\u0436.png")]
    command += ["--out", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u0436.png" in done.stdout


def test_a_strength_is_the_formula(tmp_path):
    image = noise(30, 40, 3).astype(np.float32) / 255
    whole, half = (tf_deconv.load(SMALL, strength=strength)(image) for strength in (1, 0.5))
    np.testing.assert_allclose(half, image + (whole - image) / 2, atol=1e-6)


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--epochs", 1),
        ("export", "photo", "--out", "x"),
        ("sample", "model.keras"),
        ("evaluate", "photo", "--data", "."),
        ("shard", "."),
        ("restore", "gs://bucket/shards", "--out", "out"),
    ],
)
def test_a_command_that_needs_tensorflow_says_so(
    capsys, tmp_path, monkeypatch, without_tensorflow, command
):
    monkeypatch.chdir(tmp_path)
    message = refuses(capsys, *command)
    assert "TensorFlow is not installed, and this needs it" in message


def test_a_model_that_needs_tensorflow_says_so(capsys, tmp_path, monkeypatch, without_tensorflow):
    Image.fromarray(noise(30, 40, 3)).save(tmp_path / "a.png")
    version = shipped.find(SMALL) / "1"
    command = ("restore", version, tmp_path / "a.png", "--out", tmp_path / "out")
    assert "has no .tflite file that LiteRT runs, and TensorFlow" in refuses(capsys, *command)
    message = refuses(capsys, *command[:1], SMALL, *command[2:], "--engine", "tensorflow")
    assert "--engine tensorflow: TensorFlow is not installed" in message
    code, _, _ = call(capsys, *command[:1], SMALL, *command[2:])
    assert code == 0


def test_the_small_installation_takes_the_versions_that_the_large_one_takes(repository):
    project = (repository / "pyproject.toml").read_text()
    lines = (repository / "requirements" / "restore.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert wanted
    for line in wanted:
        # An upper bound may be added: what is pinned here is installed without a resolver's help.
        assert re.search(rf'^  "{re.escape(line.split(",")[0])}[",]', project, re.M), line
