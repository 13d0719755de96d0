#!/usr/bin/env bash
# OpenVINO, OpenCV and MNN take ONNX's Resize with antialias=1 and reduce the picture without it.
#
# Expected: the specification of Resize since opset 18: with antialias the filter is stretched by the
#   inverse of the scale when reducing. onnxruntime and tract do so, and equal Pillow away from the
#   edges. A runtime that has no antialiasing says so.
# Seen: the output of antialias=1 is the one of antialias=0, to the bit; no warning.
# Versions: OpenVINO 2026.4.1, OpenCV 5.0.0 (dnn), MNN 3.6.1; right in onnxruntime 1.32.0, tract 0.23.9.
# Consequence: a network that reduces its input itself (PyTorch's F.interpolate(antialias=True) gives
#   this operator) sees aliased pictures, other ones than those it was trained on.
#
# MNN's converter is called as a module here, not as its command, which sends statistics.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 \
    tract==0.23.9 mnn==3.6.1 opencv-python-headless==5.0.0.93 pillow==13.0.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import cv2, numpy as np, onnx, onnxruntime, openvino, PIL.Image, tract
import _tools as converter
import MNN, MNN.expr, MNN.nn
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnxruntime", "tract", "openvino", "mnn")), "OpenCV", cv2.__version__)
image = np.random.default_rng(0).random((1, 1, 48, 64), dtype=np.float32)

def write_onnx(path, antialias):
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear", antialias=antialias)
    graph = helper.make_graph([node], "resize", [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 12, 16))],
                              [numpy_helper.from_array(np.array([1, 1, 0.25, 0.25], np.float32), "scales")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)

def run_onnxruntime(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": image})[0]

def run_tract(path):
    return tract.onnx().load(path).into_model().into_runnable().run([image])[0].to_numpy()

def run_openvino(path):
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]

def run_opencv(path):
    net = cv2.dnn.readNetFromONNX(path)
    net.setInput(image)
    return net.forward()

def run_mnn(path):
    converted = path.replace(".onnx", ".mnn")
    converter.mnnconvert(["convert", "-f", "ONNX", "--modelFile", path, "--MNNModel", converted, "--bizCode", "none"])
    output = MNN.nn.load_module_from_file(converted, ["x"], ["y"]).forward(
        [MNN.expr.const(image.ravel().tolist(), list(image.shape), MNN.expr.NCHW)])[0]
    if output.data_format == MNN.expr.NC4HW4:
        output = MNN.expr.convert(output, MNN.expr.NCHW)
    return np.array(output.read()).copy()

write_onnx("smooth.onnx", 1)
write_onnx("plain.onnx", 0)
expected = run_onnxruntime("smooth.onnx")
pillow = np.asarray(PIL.Image.fromarray(image[0, 0]).resize((16, 12), PIL.Image.BILINEAR))
inside = float(np.abs(expected[0, 0] - pillow)[2:-2, 2:-2].max())  # the edges have another convention
print(f"Pillow and onnxruntime differ by at most {inside:.1g} away from the edges")
assert inside < 1e-5
lines = []
for name, run, respects in (("tract", run_tract, True), ("OpenVINO", run_openvino, False), ("OpenCV", run_opencv, False), ("MNN", run_mnn, False)):
    smooth, plain = run("smooth.onnx"), run("plain.onnx")
    psnr_db = -10 * np.log10(np.mean((smooth - expected).astype(np.float64) ** 2))
    lines.append(f"{name:8}: antialias=1 equals antialias=0: {np.array_equal(smooth, plain)}; {psnr_db:.1f} dB from the specification's")
    assert np.array_equal(smooth, plain) != respects and (psnr_db > 100) == respects, f"changed: {name}"
print(*lines, sep="\n")
print("as described")
PY
