"""Runtimes as `verify` sets them up, where what they do by themselves is not enough."""

import itertools
import pathlib

import numpy as np
import pytest

from tests.clients.test_clients import need
from tf_deconv.exporting.parity import diagnosis, process, runner

pytestmark = pytest.mark.clients

CHANNELS, SIDE = 64, 64


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory):
    """An ONNX file of one size, of 3x3 convolutions in a row, as U-Nets have them."""
    need("onnx")
    import onnx

    path = tmp_path_factory.mktemp("convolutions") / "model.onnx"
    random = np.random.default_rng(0)
    widths = (3, *[CHANNELS] * 6, 3)
    names = ["image", *(f"made_{number}" for number in range(1, len(widths) - 1)), "restored"]
    nodes, weights = [], []
    for number, (given, made) in enumerate(itertools.pairwise(widths)):
        kernel = random.normal(0, (9 * given) ** -0.5, (made, given, 3, 3)).astype(np.float32)
        weights.append(onnx.numpy_helper.from_array(kernel, f"kernel_{number}"))
        inputs = [names[number], f"kernel_{number}"]
        sides = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        nodes.append(onnx.helper.make_node("Conv", inputs, [names[number + 1]], **sides))
    ports = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
        for name in ("image", "restored")
    ]
    graph = onnx.helper.make_graph(nodes, "convolutions", *ports, weights)
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


# A process of its own: MNN's converter does not share one with TensorFlow.
WITHOUT_THE_HINT = """
import sys

import numpy as np

from tf_deconv.exporting.parity import runner

runner.WINOGRAD_LEVEL = 0  # Another of its hints, which tunes nothing unless it is asked to.
made = runner.Mnn(sys.argv[1], 1).run("serving_default", np.load(sys.argv[2]))
np.save(sys.argv[3], made)
"""


def test_mnn_is_exact_by_its_hint_and_not_without_it(convolutions, run_python, tmp_path):
    """On the day the second half fails, the hint in `runner.Mnn` can go."""
    for module in ("MNN", "onnxruntime"):
        need(module)
    image = np.random.default_rng(1).random((1, SIDE, SIDE, 3), np.float32)
    key, path = "serving_default|0", pathlib.Path(convolutions)
    expected, hinted = (
        process.run_file(path, {key: image}, name, timed=False)[key]
        for name in ("onnxruntime", "mnn")
    )
    assert diagnosis.psnr_db(hinted, expected) >= 120
    np.save(tmp_path / "image.npy", image)
    run_python(WITHOUT_THE_HINT, convolutions, tmp_path / "image.npy", tmp_path / "made.npy")
    without = diagnosis.psnr_db(np.load(tmp_path / "made.npy"), expected)
    assert without < diagnosis.psnr_db(hinted, expected) - 15


def test_a_result_of_iree_outlives_its_runtime(convolutions):
    """What `to_host` returns lies in memory of the runtime, which is given back with it."""
    pytest.importorskip("iree")  # Of 300 MB; docs/clients.md has its figures.
    image = np.random.default_rng(1).random((1, SIDE, SIDE, 3), np.float32)
    made = runner.Iree(convolutions, 1).run("serving_default", image)
    assert made.base is None or made.base.flags.owndata


def test_an_onnxruntime_without_openvino_is_not_taken_for_one(convolutions):
    """It computes with its own kernels then, and warns on stderr alone."""
    need("onnxruntime")
    import onnxruntime

    if "OpenVINOExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is the build with OpenVINO")
    with pytest.warns(UserWarning, match="OpenVINO"), pytest.raises(ModuleNotFoundError):
        runner.OnnxOpenVino(convolutions, 1)
