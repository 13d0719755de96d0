#!/usr/bin/env bash
# OpenVINO leaves out the relu that a TFLite file fuses into a transposed convolution.
#
# Expected: since version 4 TRANSPOSE_CONV has fused_activation_function (TFLite's schema,
#   TransposeConvOptions); the TensorFlow converter writes it for every Conv2DTranspose followed by
#   relu. LiteRT applies it. OpenVINO applies the one of CONV_2D in the same kind of file.
# Seen: OpenVINO's output has the negative values; relu applied by hand gives LiteRT's output. No
#   warning, no error.
# Versions: OpenVINO 2026.4.1, ai-edge-litert 2.3.0 (runs the file and brings the schema to write it).
# Consequence: decoders of restoration networks and U-Nets lose their non-linearity: pictures at 7 dB,
#   of the right shape and type.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 openvino==2026.4.1 ai-edge-litert==2.3.0 flatbuffers==25.12.19
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import flatbuffers, numpy as np, openvino
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

print("OpenVINO", importlib.metadata.version("openvino"), "LiteRT", importlib.metadata.version("ai-edge-litert"))
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

def run_openvino(path, image):
    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(image)[0]

RELU = schema.ActivationFunctionType.RELU
weights = lambda *shape: rng.normal(0, 0.4, shape).astype(np.float32)
deconv = schema.TransposeConvOptionsT()
deconv.strideH = deconv.strideW = 2
deconv.padding, deconv.fusedActivationFunction = schema.Padding.SAME, RELU
write_tflite("deconv.tflite", schema.BuiltinOperator.TRANSPOSE_CONV, 4, deconv, schema.BuiltinOptions.TransposeConvOptions,
             [0, 1, "x", 2], [np.array([1, 16, 24, 6], np.int32), weights(6, 4, 4, 3), weights(6)], (1, 8, 12, 3), (1, 16, 24, 6))
conv = schema.Conv2DOptionsT()
conv.strideH = conv.strideW = conv.dilationHFactor = conv.dilationWFactor = 1
conv.padding, conv.fusedActivationFunction = schema.Padding.SAME, RELU
write_tflite("conv.tflite", schema.BuiltinOperator.CONV_2D, 1, conv, schema.BuiltinOptions.Conv2DOptions,
             ["x", 0, 1], [weights(6, 3, 3, 3), weights(6)], (1, 8, 12, 3), (1, 8, 12, 6))
image = rng.random((1, 8, 12, 3), dtype=np.float32)
for name in ("conv", "deconv"):
    expected, seen = run_litert(f"{name}.tflite", image), run_openvino(f"{name}.tflite", image)
    error = float(np.abs(seen - expected).max())
    print(f"{name:6}: smallest value LiteRT {expected.min():.3f}, OpenVINO {seen.min():.3f}; largest difference {error:.2g}, "
          f"after relu by hand {np.abs(np.maximum(seen, 0) - expected).max():.2g}")
    assert np.allclose(np.maximum(seen, 0), expected, atol=1e-5)
    assert (error > 0.5) == (name == "deconv"), "changed"
print("as described")
PY
