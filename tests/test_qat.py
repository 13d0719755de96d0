"""Fine-tuning for int8: rounding as the converter rounds, and weights that bear it."""

import keras
import numpy as np
import pytest

from tf_deconv import flatbuffer
from tf_deconv.exporting import qat, quantize, tflite
from tf_deconv.networks.article import build_article
from tf_deconv.networks.unet import build_unet


@pytest.fixture
def calibration(bundled):
    pictures = [bundled.training.picture(i)[:128, :128] for i in range(2)]
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
    exact, rounded = (m.predict(calibration[:, :64, :64], verbose=0) for m in (model, copy))
    assert exact.shape == rounded.shape
    error = np.sqrt(np.mean((exact - rounded) ** 2))
    # Not equal, and within a twentieth of what there is, for random weights that make it grow.
    assert 0 < error < 0.05 * exact.std()


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: build_unet(size="base"), {"head", "tail_deconv"}),
        (lambda: build_unet(size="tiny"), set()),  # A seventeenth of its work each.
        (lambda: build_unet(size="small"), {"head", "tail"}),
    ],
    ids=["base", "tiny", "small"],
)
def test_the_same_convolutions_stay_in_float_as_in_the_file(build, expected, rng):
    model = randomised(build())
    names = {name for name in qat.float_layers(model) if not name.endswith(("add", "skip"))}
    assert names - {"restored"} == expected
    pictures = rng.random((1, 32, 32, model.input_shape[-1]), np.float32)
    content = tflite.convert(
        model, ["float32"], [(256, 256)], pictures, divisor=4, scale=1, phased=False
    )["float32"]
    in_file = flatbuffer.picture_operators(content, quantize.PICTURE_SHARE)
    assert len(in_file) == len(expected)
    assert all(any(name in found for found in in_file) for name in expected)


def test_a_network_without_sums_is_rounded_throughout():
    assert qat.float_layers(build_article()) == set()


def test_fine_tuning_leaves_a_network_that_bears_rounding_better(calibration):
    keras.utils.set_random_seed(0)
    model = randomised(build_unet(size="tiny"))
    lines = []
    tuned = qat.fine_tune(model, calibration, divisor=4, steps=96, report=lines.append)
    assert [w.shape for w in tuned.get_weights()] == [w.shape for w in model.get_weights()]

    def error(network):
        rounded = qat._rounded_copy(network, calibration)
        difference = rounded.predict(calibration, verbose=0) - model.predict(calibration, verbose=0)
        return float(np.mean(difference**2))

    assert error(tuned) <= 1.02 * error(model)
    assert "quantisation-aware fine-tuning: 96 steps, from" in lines[0]
