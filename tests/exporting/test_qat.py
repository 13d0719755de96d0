"""Fine-tuning for int8: rounding as the converter rounds, and weights that bear it."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.pipeline import export
from tf_deconv.exporting.tflite import qat
from tf_deconv.inference import run_folder
from tf_deconv.networks.article import build_article
from tf_deconv.networks.unet import build_unet
from tf_deconv.utils.options import UserError


@pytest.fixture
def calibration(unseen):
    pictures = [unseen[name][100:228, 100:228] for name in ("astronaut", "coffee")]
    return np.stack(pictures).astype(np.float32) / 255


def randomised(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.15, weight.shape))
    return model


def test_kernels_are_rounded_to_255_levels_of_each_output_channel(rng):
    kernel = rng.normal(size=(3, 3, 4, 5)).astype(np.float32)
    for axis in (2, 3):
        rounded = keras.ops.convert_to_numpy(qat._rounded(kernel, axis))
        other = tuple(i for i in range(4) if i != axis)
        step = np.abs(kernel).max(other, keepdims=True) / 127
        np.testing.assert_allclose(rounded, np.rint(kernel / step) * step, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "divisor"),
    [
        (lambda: build_unet(size="tiny"), 4),
        (lambda: build_article(None, None, 3, 3), 2),
        (lambda: build_unet(scale=2, size="tiny"), 4),
    ],
    ids=["unet", "article", "unet-x2"],
)
def test_the_copy_rounds_and_is_otherwise_the_network(build, divisor, calibration):
    model = randomised(build())
    copy = qat._rounded_copy(model, calibration[:, :64, :64])
    exact, rounded = (np.asarray(m(calibration[:, :64, :64])) for m in (model, copy))
    assert exact.shape == rounded.shape
    error = np.sqrt(np.mean((exact - rounded) ** 2))
    # Not equal, and within a twentieth of what there is, for random weights that make it grow.
    assert 0 < error < 0.05 * exact.std()


def test_fine_tuning_leaves_a_network_that_bears_rounding_better(calibration):
    keras.utils.set_random_seed(0)
    model = randomised(build_unet(size="tiny"))
    lines = []
    patches = qat.data_of_patches(model, calibration[:, :32, :32], 4)
    tuning = dataclasses.replace(patches, steps=96)
    tuned = qat.fine_tune(model, calibration, tuning, divisor=4, report=lines.append)
    assert [w.shape for w in tuned.get_weights()] == [w.shape for w in model.get_weights()]

    def error(network):
        rounded = qat._rounded_copy(network, calibration)
        difference = np.asarray(rounded(calibration)) - np.asarray(model(calibration))
        return float(np.mean(difference**2))

    assert error(tuned) <= 1.02 * error(model)
    assert "quantisation-aware fine-tuning: 96 steps, from" in lines[0]


def test_a_run_is_fine_tuned_on_the_pictures_that_trained_it(run):
    description = run_folder.read_description(run.folder / run_folder.MODEL_FILE)
    tuning = qat.data_of_run(run.folder, description["data_sha256"])
    degraded, clean = next(iter(tuning.training))
    assert degraded.shape == (*clean.shape[:3], 1)
    (held_out, _), *_ = tuning.validation
    assert held_out.shape[0] == degraded.shape[0]
    assert sum(len(clean) for _, clean in tuning.validation) == qat.VALIDATION_PATCHES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "there is no run beside the model"),
        ({}, "the pictures at 'bundled' are not those of the run"),
        (dict(data="nowhere"), "nowhere"),
        (dict(task="denoise", self_supervised=True), "had no clean pictures"),
    ],
    ids=["no run", "others", "gone", "self-supervised"],
)
def test_without_the_runs_pictures_it_says_why(run, tmp_path, changes, message):
    if changes is not None:
        config = json.loads((run.folder / run_folder.CONFIG_FILE).read_text()) | changes
        (tmp_path / run_folder.CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        qat.data_of_run(tmp_path, "0" * 64)


def test_it_is_said_where_no_file_has_fixed_ranges(untrained, tmp_path, gate_here):
    lines = []
    options = dict(variants="float32", sizes="32", qat=True)
    export(ExportConfig(str(untrained), str(tmp_path), "model", **options), report=lines.append)
    assert any(line.startswith("note: --qat changed nothing") for line in lines)
