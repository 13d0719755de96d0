"""int8 of networks with sums: ranges are found while the file runs, and both ends stay in float."""

import keras
import numpy as np
import pytest

from tests.fixtures.tflite_files import converted
from tf_deconv.exporting.tflite import flatbuffer, quantize
from tf_deconv.exporting.variants import VARIANTS
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.networks.article import build_article
from tf_deconv.networks.unet import build_unet


@pytest.fixture(scope="module")
def calibration():
    return np.random.default_rng(0).random((2, 64, 64, 3), np.float32)


def convert(model, calibration, *variants):
    divisor = 4 if model.name == "unet" else 2
    return converted(model, variants, [(64, 64)], calibration, divisor=divisor, scale=1)


def picked(**options):
    keras.utils.set_random_seed(0)
    model = build_unet(**options)
    for weight in model.trainable_weights:
        if "tail" in weight.path:  # Begins at zero.
            weight.assign(0.02 * keras.random.normal(weight.shape, seed=1))
    return model


@pytest.mark.parametrize(
    ("size", "in_float"),
    # Of tiny, either end does a seventeenth of the work.
    [("base", {"head", "tail_deconv"}), ("small", {"head", "tail"}), ("tiny", set())],
)
def test_both_ends_stay_in_float_where_they_do_little(size, in_float, calibration):
    content = convert(picked(size=size), calibration, "float32")["float32"]
    names = flatbuffer.picture_operators(TfliteFile(content), quantize.PICTURE_SHARE)
    assert len(names) == len(in_float)
    assert all(any(end in name for name in names) for end in in_float)


def test_a_residual_networks_int8_needs_no_ranges_and_is_near_the_float_file(calibration):
    model = picked(size="small")
    files = convert(model, calibration, "int8", "dynamic", "int8-full")
    assert files["int8"] == files["dynamic"]
    for name, content in files.items():
        assert (
            flatbuffer.find_faults(TfliteFile(content), model.count_params(), VARIANTS[name]) == []
        )
    expected = np.asarray(model(calibration[:1]))
    error = np.mean((run(files["int8"], calibration[:1]) - expected) ** 2)
    # What the network adds is what int8 can get wrong.
    assert error < 1e-3 * np.mean((expected - calibration[:1]) ** 2)


def test_a_float_file_of_a_residual_network_is_no_int8_file(calibration):
    model = picked(size="small")
    content = convert(model, calibration, "float32")["float32"]
    faults = flatbuffer.find_faults(TfliteFile(content), model.count_params(), VARIANTS["int8"])
    assert "a convolution was left in float: calibration had no effect" in faults


def test_without_sums_a_file_of_other_ranges_is_no_int8_file(calibration):
    model = build_article(None, None, 3, 3)
    content = convert(model, calibration, "dynamic")["dynamic"]
    faults = flatbuffer.find_faults(TfliteFile(content), model.count_params(), VARIANTS["int8"])
    assert faults == ["a convolution was left in float: calibration had no effect"]


def run(content, batch):
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content).get_signature_runner()(image=batch)["restored"]


def test_a_layer_without_effect_leaves_an_int8_file_that_runs(calibration):
    # All that such a layer gave was 0, and so was its step: XNNPACK refused the file.
    model = picked(size="tiny")
    convolutions = [each for each in model.layers if isinstance(each, keras.layers.Conv2D)]
    inner = next(each for each in convolutions if each.activation is keras.activations.relu)
    for layer, sign in ((convolutions[0], 1), (inner, -1)):
        layer.set_weights([sign * np.abs(weight) for weight in layer.get_weights()])
    content = convert(model, calibration, "int8-full")["int8-full"]
    levels = (np.rint(calibration[:1] * 255) - 128).astype(np.int8)
    assert run(content, levels).dtype == np.int8


def test_ranges_are_no_narrower_than_a_share_of_the_widest():
    given = {"widest": (-2.0, 2.0), "none": (0.0, 0.0), "both": (-1e-3, 3e-3), "low": (-1e-9, 0.0)}
    widened = quantize.widened(given)
    assert widened["widest"] == (-2.0, 2.0)
    assert widened["none"] == pytest.approx((0, 0.02))
    assert widened["both"] == pytest.approx((-0.005, 0.015))
    assert widened["low"] == pytest.approx((-0.02, 0))
