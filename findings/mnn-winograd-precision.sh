#!/usr/bin/env bash
# MNN computes a 3x3 float convolution with "precision": "high" by Winograd's algorithm with large
# tiles, 30 dB and more away from what float32 can do.
#
# Expected: "precision": "high" is float32, and a float32 convolution lies about 140 dB from one in
#   float64, as onnxruntime's does.
# Seen: a convolution of 64 channels, or eight of them in a row, lies 94 dB and 86 dB from
#   float64. With the hint WINOGRAD_MEMORY_LEVEL (3 of Interpreter::HintMode) at 0, which keeps the
#   tiles small, it gains 44 dB. The comment in its header speaks of memory and speed alone.
# Versions: MNN 3.6.1, against onnxruntime 1.31.1 and NumPy in float64.
# Consequence: a comparison of an exported network at 100 dB fails in MNN for no fault of the file.
#
# The converter is called as a module here, not as its command, which sends statistics.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 mnn==3.6.1 onnx==1.23.2 onnxruntime==1.31.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import numpy as np, onnx, onnxruntime
import _tools as converter
import MNN, MNN.expr, MNN.nn

print("MNN", importlib.metadata.version("mnn"), "onnxruntime", onnxruntime.__version__)
CHANNELS, SIDE, HINT = 64, 64, 3
rng = np.random.default_rng(0)

def kernels(layers):
    return [rng.normal(0, 1 / np.sqrt(9 * CHANNELS), (CHANNELS, CHANNELS, 3, 3)).astype(np.float32) for _ in range(layers)]

def in_float64(image, weights):
    for kernel in weights:
        padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
        image = sum(np.einsum("oi,nihw->nohw", kernel[:, :, i, j].astype(np.float64), padded[:, :, i : i + SIDE, j : j + SIDE])
                    for i in range(3) for j in range(3))
    return image

def write(path, weights):
    helper, shape = onnx.helper, [1, CHANNELS, SIDE, SIDE]
    names = [f"y{n}" for n in range(len(weights))]
    nodes = [helper.make_node("Conv", [given, f"w{n}"], [name], pads=[1, 1, 1, 1], kernel_shape=[3, 3])
             for n, (given, name) in enumerate(zip(["x", *names], names))]
    ports = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)] for name in ("x", names[-1])]
    stored = [onnx.numpy_helper.from_array(kernel, f"w{n}") for n, kernel in enumerate(weights)]
    model = helper.make_model(helper.make_graph(nodes, "g", *ports, stored), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return names[-1]

def by_mnn(path, name, image, level):
    converter.mnnconvert(["convert", "-f", "ONNX", "--modelFile", path, "--MNNModel", path + ".mnn", "--bizCode", "none"])
    manager = MNN.nn.create_runtime_manager(({"backend": 0, "precision": "high", "numThread": 1},))
    if level is not None:
        manager.set_hint(HINT, level)
    network = MNN.nn.load_module_from_file(path + ".mnn", ["x"], [name], runtime_manager=manager)
    made = network.forward([MNN.expr.const(image, list(image.shape), MNN.expr.NCHW)])[0]
    return MNN.expr.convert(made, MNN.expr.NCHW).read().reshape(image.shape).copy()

def decibels(made, expected):
    return 20 * np.log10(np.abs(expected).max()) - 10 * np.log10(np.mean((made.astype(np.float64) - expected) ** 2))

image = rng.random((1, CHANNELS, SIDE, SIDE), np.float32)
for layers in (1, 8):
    weights = kernels(layers)
    expected = in_float64(image.astype(np.float64), weights)
    name = write("c.onnx", weights)
    session = onnxruntime.InferenceSession("c.onnx", providers=["CPUExecutionProvider"])
    other = decibels(session.run(None, {"x": image})[0], expected)
    high, hinted = (decibels(by_mnn("c.onnx", name, image, level), expected) for level in (None, 0))
    print(f"{layers} convolutions: MNN {high:.1f} dB, with the hint at 0 {hinted:.1f} dB, onnxruntime {other:.1f} dB")
    assert high < other - 20, "changed: MNN is as near as onnxruntime"
    assert hinted > high + 15, "changed: the hint"
print("as described")
PY
