#!/usr/bin/env bash
# tract runs a reversed LSTM, GRU or RNN forward.
#
# Expected: direction="reverse" goes through the sequence from its end to its beginning (ONNX, operators LSTM, GRU and
#   RNN): the result is that of a forward one on the reversed sequence, reversed. onnxruntime, OpenVINO and the
#   backward half of tract's own bidirectional network say the same.
# Seen: tract's result is the forward network's, to seven digits; no error. ONNX's own tests of the three fail by it.
# Versions: tract 0.23.9, onnxruntime 1.32.0, OpenVINO 2026.4.1.
# Consequence: a network of sound or text with a backward layer (a bidirectional one is often written as a forward
#   and a backward layer) gives wrong answers that look reasonable.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 \
    openvino==2026.4.1 tract==0.23.9
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import numpy as np, onnx, onnxruntime, openvino, tract
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("tract", "onnxruntime", "openvino")))
steps, batch, features, hidden = 5, 2, 3, 4
random = np.random.default_rng(0)
sequence = random.normal(size=(steps, batch, features)).astype(np.float32)


def network(kind, direction, weights):
    ways = len(weights[0])
    graph = helper.make_graph(
        [helper.make_node(kind, ["X", "W", "R"], ["Y"], hidden_size=hidden, direction=direction)], "recurrent",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [steps, batch, features])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [steps, ways, batch, hidden])],
        [numpy_helper.from_array(array, name) for array, name in zip(weights, "WR")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "network.onnx")


def run_onnxruntime(given):
    session = onnxruntime.InferenceSession("network.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"X": given})[0]


def run_openvino(given):
    full = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(openvino.Core().compile_model("network.onnx", "CPU", full)(given)[0])


def run_tract(given):
    return tract.onnx().load("network.onnx").into_model().into_runnable().run([given])[0].to_numpy()


def distance(one, other):
    return float(np.abs(one - other).max())


for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
    weights = [random.normal(size=(1, gates * hidden, size)).astype(np.float32) for size in (features, hidden)]
    network(kind, "forward", weights)
    forward = run_onnxruntime(sequence)
    right = run_onnxruntime(sequence[::-1].copy())[::-1]
    network(kind, "reverse", weights)
    others = max(distance(run(sequence), right) for run in (run_onnxruntime, run_openvino))
    given = run_tract(sequence)
    network(kind, "bidirectional", [np.concatenate([array, array]) for array in weights])
    half = run_tract(sequence)[:, 1:]
    print(f"{kind}, reverse: onnxruntime and OpenVINO {others:.1e} from the reversed forward one, tract "
          f"{distance(given, right):.3f}; tract from the forward one {distance(given, forward):.1e}, "
          f"its bidirectional half {distance(half, right):.1e}")
    assert others < 1e-5 and distance(half, right) < 1e-5, "changed: the others"
    assert distance(given, forward) < 1e-5 < 0.1 < distance(given, right), "changed: tract"
print("as described")
PY
