"""What was made before the packages: a run and an export of commit f6509f1 still open.

`tests/fixtures/made_by_f6509f1.zip` holds `run/`, of

    python train.py --network unet --size tiny --task denoise --epochs 1 --steps-per-epoch 30
      --batch-size 4 --patch-size 32 --seed 7

`export/`, of `python export.py run --sizes 32 --variants float32 int8`, and `expected.npz`: a
picture, and what `load` of that commit made of it with each file.
"""

import json
import pathlib
import zipfile

import numpy as np
import pytest

import tf_deconv
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.options import read_config

FILES = {
    "run": "run",
    "saved_model": "export/1",
    "float32": "export/tflite/old-float32.tflite",
    "int8": "export/tflite/old-int8.tflite",
}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    archive = pathlib.Path(__file__).parents[1] / "fixtures" / "made_by_f6509f1.zip"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


@pytest.mark.parametrize("kind", FILES)
def test_an_old_model_opens_and_gives_its_picture(old, kind):
    with np.load(old / "expected.npz") as expected:
        restored = tf_deconv.load(old / FILES[kind])(expected["picture"])
        difference = np.abs(restored.astype(int) - expected[kind])
    # Another processor or runtime may round a value the other way.
    assert difference.max() <= 1
    assert np.mean(difference) < 0.01


@pytest.mark.parametrize("kind", FILES)
def test_an_old_model_is_inspected(old, kind):
    facts = tf_deconv.inspect(old / FILES[kind])
    assert (facts["task"], facts["network"]) == ("denoise", "unet")


def test_the_options_of_an_old_run_are_read(old):
    stored = read_config(old / "run" / "config.json", TrainConfig)
    assert TrainConfig(**stored).seed == 7


def test_the_export_is_the_one_that_the_manifest_tells_of(old):
    manifest = json.loads((old / "export" / "manifest.json").read_text())
    assert {entry["file"] for entry in manifest["files"]} >= {"1/", "tflite/old-int8.tflite"}
