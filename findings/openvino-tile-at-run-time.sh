#!/usr/bin/env bash
# OpenVINO's Tile, told its repeats when it runs, leaves its output unwritten where several axes are repeated.
#
# Expected: ONNX's Tile is NumPy's tile; `repeats` may be an input of the network, as it is in ONNX's own test of the
#   operator, which fails here. onnxruntime and onnx's reference evaluator agree with NumPy.
# Seen: no error; the result has the right shape and holds what the memory held before. With the same repeats as a
#   constant of the network it is right. It happens where a repeated axis, counted as two, and the unrepeated ones
#   before it, counted as one, come to more than six: [2, 3, 4, 5] by [1, 2, 2, 2], but not [1, 3, 4, 5].
# Versions: OpenVINO 2026.4.1 on the CPU, onnxruntime 1.32.0, onnx 1.23.2.
# Consequence: a network that tiles to a size it gets (a pattern over a frame, a code over positions) is right for one
#   picture and noise for a batch of two.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 \
    openvino==2026.4.1
"$work/venv/bin/python" - <<'PY'
import numpy as np, onnx, onnxruntime, openvino
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("OpenVINO", openvino.__version__, "onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)


def network(shape, repeats, constant):
    """Returns one Tile; `repeats` is a constant of it or an input."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    constants = [helper.make_tensor("repeats", TensorProto.INT64, [len(shape)], repeats)] if constant else []
    if not constant:
        inputs.append(helper.make_tensor_value_info("repeats", TensorProto.INT64, [len(shape)]))
    tiled = [size * times for size, times in zip(shape, repeats)]
    graph = helper.make_graph(
        [helper.make_node("Tile", ["x", "repeats"], ["y"])], "tile", inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, tiled)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def run_openvino(model, feed):
    core = openvino.Core()
    return np.array(core.compile_model(core.read_model(model=model.SerializeToString(), weights=b""), "CPU")(feed)[0])


for shape, repeats, broken in (
    ([2, 3, 4, 5], [1, 2, 2, 2], True), ([2, 3, 4, 5], [2, 2, 2, 2], True), ([2, 3, 4, 5], [7, 6, 4, 2], True),
    ([1, 3, 4, 5], [1, 2, 2, 2], False), ([2, 3, 4, 5], [1, 1, 2, 2], False), ([2, 3, 4, 5], [2, 2, 2, 1], False),
):
    x = 1 + np.random.default_rng(0).random(shape, dtype=np.float32)
    feed = {"x": x, "repeats": np.array(repeats, np.int64)}
    model = network(shape, repeats, constant=False)
    given = run_openvino(model, feed)  # First, so that no memory holds the right values yet.
    right = np.tile(x, repeats)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, feed)[0], right), "changed: onnxruntime"
    assert np.array_equal(ReferenceEvaluator(model).run(None, feed)[0], right), "changed: reference evaluator"
    fixed = run_openvino(network(shape, repeats, constant=True), {"x": x})
    print(f"{shape} by {repeats}: right values as an input {np.mean(given == right):.0%}, "
          f"as a constant {np.mean(fixed == right):.0%}")
    assert given.shape == right.shape and np.array_equal(fixed, right), "changed"
    assert np.mean(given == right) < 0.01 if broken else np.array_equal(given, right), "changed: Tile"
print("as described")
PY
