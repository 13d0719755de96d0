#!/usr/bin/env bash
# Where ONNX's ConvTranspose is told its output's shape, tract and OpenVINO move the picture by a pixel.
#
# Expected: the operator's specification. With output_shape, total = stride * (input - 1) + kernel -
#   output_shape is cut away; with auto_pad SAME_UPPER total / 2 of it (rounded down) at the start,
#   otherwise at the end, so that an odd rest goes to the start. onnxruntime does both so, and
#   ONNX's reference evaluator does where it runs.
# Seen, for an odd total: tract cuts at the end where the start is meant (no auto_pad); OpenVINO cuts
#   at the start where the end is meant (SAME_UPPER). The output has the right shape, one pixel off.
# Versions: tract 0.23.9, OpenVINO 2026.4.1; onnxruntime 1.32.0 agrees with NumPy by hand.
# Consequence: a decoder exported with output_shape restores a picture that is shifted by one pixel,
#   or one that is smeared where a skip connection joins the shifted half.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 tract==0.23.9
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import numpy as np, onnx, onnxruntime, openvino, tract
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnxruntime", "openvino", "tract")))
rng = np.random.default_rng(0)
image = rng.normal(size=(1, 4, 9, 11)).astype(np.float32)
kernel = rng.normal(0, 0.4, (4, 6, 3, 3)).astype(np.float32)

whole = np.zeros((1, 6, 19, 23))  # stride 2, kernel 3, nothing cut away
for i in range(9):
    for j in range(11):
        whole[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("c,cokl->okl", image[0, :, i, j], kernel)
cut = {"start": whole[:, :, 1:, 1:], "end": whole[:, :, :-1, :-1]}

def run_onnxruntime(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": image})[0]

def run_openvino(path):
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]

def run_tract(path):
    return tract.onnx().load(path).into_model().into_runnable().run([image])[0].to_numpy()

def where(output):
    assert output.shape == (1, 6, 18, 22)
    found = [side for side, expected in cut.items() if np.allclose(output, expected, atol=1e-4)]
    return found[0] if found else "neither"

# tract has no output_shape with SAME_UPPER.
for attributes, expected, runtimes, wrong in (
    ({}, "start", {"onnxruntime": run_onnxruntime, "OpenVINO": run_openvino, "tract": run_tract}, "tract"),
    ({"auto_pad": "SAME_UPPER"}, "end", {"onnxruntime": run_onnxruntime, "OpenVINO": run_openvino}, "OpenVINO"),
):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_shape=[18, 22], **attributes)
    graph = helper.make_graph([node], "deconv", [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6, 18, 22))],
                              [numpy_helper.from_array(kernel, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, "deconv.onnx")
    seen = {name: where(run("deconv.onnx")) for name, run in runtimes.items()}
    print(f"output_shape, {attributes or 'no auto_pad'}: the odd row belongs off the {expected}; cut at the", seen)
    for name, side in seen.items():
        assert (side == expected) == (name != wrong) and side != "neither", f"changed: {name}"
print("as described")
PY
