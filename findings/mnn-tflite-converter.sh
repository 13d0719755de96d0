#!/usr/bin/env bash
# MNN's converter makes of a TFLite transposed convolution another function, and of mirrored padding
# zeros, without a word.
#
# Expected: TFLite's schema: TRANSPOSE_CONV takes weights (output channels, height, width, input
#   channels) and, since version 3, a bias; MIRROR_PAD in mode REFLECT mirrors without repeating the
#   edge. LiteRT does so. A converter that cannot keep them says so.
# Seen: the converter reports success. With equal channel counts the bias is gone; with unequal ones
#   the weights are scrambled besides (the answer is not even near). The padded border is 0.
# Versions: MNN 3.6.1; ai-edge-litert 2.3.0 runs the same files rightly.
# Consequence: an app that ships a restoration network through this converter shows pictures at 24 to
#   34 dB from the real one. The ONNX route of the same converter gave the right ones.
#
# The converter is called as a module here, not as its command, which sends statistics.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 mnn==3.6.1 ai-edge-litert==2.3.0 flatbuffers==25.12.19
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import flatbuffers, numpy as np
import _tools as converter
import MNN, MNN.expr, MNN.nn
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

print("MNN", importlib.metadata.version("mnn"), "LiteRT", importlib.metadata.version("ai-edge-litert"))
rng = np.random.default_rng(0)

def write_tflite(path, operator, version, options, options_type, order, constants, shape_in, shape_out):
    """One operator; `order` lists its inputs: "x" for the picture or an index into `constants`."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []
    def add(name, shape, kind, values=None):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1
    kinds = {np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int32): schema.TensorType.INT32}
    index = {"x": add("x", shape_in, schema.TensorType.FLOAT32)}
    for i, values in enumerate(constants):
        index[i] = add(f"constant_{i}", values.shape, kinds[values.dtype], values)
    output = add("y", shape_out, schema.TensorType.FLOAT32)
    node, code = schema.OperatorT(), schema.OperatorCodeT()
    node.opcodeIndex, node.inputs, node.outputs = 0, [index[key] for key in order], [output]
    node.builtinOptions, node.builtinOptionsType = options, options_type
    code.builtinCode = code.deprecatedBuiltinCode = operator
    code.version = version
    graph.operators, graph.inputs, graph.outputs, graph.name = [node], [index["x"]], [output], "main"
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    open(path, "wb").write(builder.Output())

def run_litert(path, image):
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

def run_mnn(path, image):
    converted = path.replace(".tflite", ".mnn")
    converter.mnnconvert(["convert", "-f", "TFLITE", "--modelFile", path, "--MNNModel", converted, "--bizCode", "none"])
    net = MNN.nn.load_module_from_file(converted, ["x"], ["y"])
    output = net.forward([MNN.expr.const(image.ravel().tolist(), list(image.shape), MNN.expr.NHWC)])[0]
    if output.data_format != MNN.expr.NHWC:
        output = MNN.expr.convert(output, MNN.expr.NHWC)
    return np.array(output.read()).copy()

def deconv(channels_in, channels_out):
    name = f"deconv {channels_in} to {channels_out}"
    options, bias = schema.TransposeConvOptionsT(), rng.normal(0, 0.4, channels_out).astype(np.float32)
    options.strideH = options.strideW = 2
    options.padding = schema.Padding.SAME
    kernel = rng.normal(0, 0.4, (channels_out, 2, 2, channels_in)).astype(np.float32)
    shape = (1, 16, 24, channels_out)
    write_tflite(f"{name}.tflite", schema.BuiltinOperator.TRANSPOSE_CONV, 3, options, schema.BuiltinOptions.TransposeConvOptions,
                 [0, 1, "x", 2], [np.array(shape, np.int32), kernel, bias], (1, 8, 12, channels_in), shape)
    image = rng.random((1, 8, 12, channels_in), dtype=np.float32)
    expected, seen = run_litert(f"{name}.tflite", image), run_mnn(f"{name}.tflite", image)
    return name, float(np.abs(seen - expected).max()), float(np.abs(seen + bias - expected).max())

results = [deconv(4, 4), deconv(6, 3)]
mirror = schema.MirrorPadOptionsT()
mirror.mode = schema.MirrorPadMode.REFLECT
write_tflite("mirror.tflite", schema.BuiltinOperator.MIRROR_PAD, 1, mirror, schema.BuiltinOptions.MirrorPadOptions,
             ["x", 0], [np.array([[0, 0], [2, 1], [3, 2], [0, 0]], np.int32)], (1, 8, 9, 3), (1, 11, 14, 3))
image = rng.random((1, 8, 9, 3), dtype=np.float32)
expected, seen = run_litert("mirror.tflite", image), run_mnn("mirror.tflite", image)
zeros = np.pad(image, ((0, 0), (2, 1), (3, 2), (0, 0)))
assert np.array_equal(expected, np.pad(image, ((0, 0), (2, 1), (3, 2), (0, 0)), mode="reflect"))

for name, error, without_bias in results:
    print(f"{name}: largest difference {error:.3g}, with the bias added by hand {without_bias:.2g}")
print("mirror: largest difference", round(float(np.abs(seen - expected).max()), 3), "equal to padding with zeros:", np.array_equal(seen, zeros))
assert results[0][1] > 0.1 and results[0][2] < 1e-4, "changed: equal channels"
assert results[1][1] > 0.3 and results[1][2] > 0.3, "changed: unequal channels"
assert np.array_equal(seen, zeros), "changed: mirrored padding"
print("as described")
PY
