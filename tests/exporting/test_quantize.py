"""int8 of networks with sums: ranges are found while the file runs, and both ends stay in float."""

import keras
import numpy as np
import pytest

from tests.fixtures.tflite_files import converted
from tf_deconv.exporting.tflite import convert as converting
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


@pytest.fixture(scope="module")
def float32(calibration):
    return TfliteFile(convert(picked(size="base"), calibration, "float32")["float32"])


class TestLastConvolutionsInFloat:
    """What is rounded there goes into the picture, and nothing after it makes up for it."""

    def test_they_are_those_before_the_picture_up_to_a_share_of_the_work(self, float32):
        steps = flatbuffer.last_convolutions(float32, 0.2)
        order = [name.split("/")[0].rsplit("_", 1)[0] for [name] in steps]
        assert order == ["decoder_1_block_2_conv_2", "decoder_1_block_2_conv_1"]
        assert flatbuffer.last_convolutions(float32, 0.0) == []
        everything = [
            name for names in flatbuffer.last_convolutions(float32, 1.0) for name in names
        ]
        assert not {*everything} & {*flatbuffer.picture_operators(float32)}

    def test_of_several_signatures_each_has_its_own(self, calibration):
        files = converted(
            picked(size="small"), ["float32"], [(64, 64), (32, 64)], calibration, divisor=4, scale=1
        )
        steps = flatbuffer.last_convolutions(TfliteFile(files["float32"]), 0.5)
        assert steps
        assert all(len({*names}) == 2 for names in steps)

    @pytest.mark.parametrize(("enough", "kept"), [(0, 0), (1, 1), (2, 2), (3, 0)])
    def test_as_few_are_kept_as_it_takes(self, float32, enough, kept):
        asked = []

        def loss_db(file):
            asked.append(file)
            return 0.1 if len(asked) <= enough else 0.04

        result, count = quantize.quantize_closely(float32, VARIANTS["int8"], loss_db, 0.05)
        assert count == kept
        plain = quantize.quantize(float32, VARIANTS["int8"])
        assert (result.content == plain.content) == (kept == 0)
        assert flatbuffer.find_faults(result, 700_000, VARIANTS["int8"]) == []

    def test_it_is_nearer_to_the_float_file(self, float32, calibration):
        names = [name for step in flatbuffer.last_convolutions(float32, 0.2) for name in step]
        expected = run(float32.content, calibration[:1])
        plain, closer = (
            run(
                quantize.quantize(float32, VARIANTS["int8"], in_float=kept).content, calibration[:1]
            )
            for kept in ((), names)
        )
        assert np.mean((closer - expected) ** 2) < np.mean((plain - expected) ** 2)

    def test_more_than_the_share_in_float_is_no_int8_file(self, float32):
        names = [name for step in flatbuffer.last_convolutions(float32, 0.4) for name in step]
        result = quantize.quantize(float32, VARIANTS["int8"], in_float=names)
        faults = flatbuffer.find_faults(result, 700_000, VARIANTS["int8"])
        assert "a convolution was left in float: calibration had no effect" in faults

    def test_both_names_of_one_file_are_judged_once(self, calibration):
        lines, asked = [], []

        def loss_db(file):
            asked.append(file)
            return 0.1 if len(asked) == 1 else 0.04

        judge = converting.Judge(loss_db, 0.05, lines.append)
        files = converted(
            picked(size="base"),
            ["dynamic", "int8"],
            [(64, 64)],
            calibration,
            divisor=4,
            scale=1,
            judge=judge,
        )
        assert files["int8"] == files["dynamic"]
        assert lines == ["int8 would lose more than 0.05 dB: its last convolution stays in float"]
        assert len(asked) == 2
