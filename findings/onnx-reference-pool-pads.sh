#!/usr/bin/env bash
# ONNX's own reference evaluator takes the pads of MaxPool in another order than ONNX's specification.
#
# Expected: pads are "[x1_begin, x2_begin, ..., x1_end, x2_end, ...]" (ONNX operators, MaxPool), and
#   the output is floor((input + pads of the axis - kernel) / stride) + 1. The shape inference of the
#   same package says so; onnxruntime, and NumPy by hand, give those values.
# Seen: for pads [0, 0, 2, 1] on 10x13 with a kernel of 3 the evaluator gives 8x14 in place of 10x12:
#   the values 0, 0 are read as both pads of the height, and 2, 1 as both of the width. AveragePool
#   of the same evaluator is right.
# Versions: onnx 1.23.2, onnxruntime 1.32.0.
# Consequence: a test of an exported network against "the reference" fails though the file is right:
#   pads of TensorFlow's SAME at an even size are of this kind (0 before, 1 after).
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
"$work/venv/bin/python" - <<'PY'
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, checker, helper, shape_inference
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__)
image = np.random.default_rng(0).normal(size=(1, 3, 10, 13)).astype(np.float32)

def by_hand(pads, reduce, fill):
    padded = np.pad(image, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=fill)
    return reduce(np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)), axis=(4, 5))

def run(operator, pads, **attributes):
    node = helper.make_node(operator, ["x"], ["y"], kernel_shape=[3, 3], pads=pads, **attributes)
    graph = helper.make_graph([node], "pool", [helper.make_tensor_value_info("x", TensorProto.FLOAT, image.shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    inferred = shape_inference.infer_shapes(model, strict_mode=True)
    checker.check_model(inferred)
    shape = tuple(d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim)
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": image})[0]
    return shape, runtime, ReferenceEvaluator(model).run(None, {"x": image})[0]

for pads in ([1, 1, 1, 1], [0, 0, 2, 1], [0, 0, 1, 1]):
    shape, runtime, reference = run("MaxPool", pads)
    hand = by_hand(pads, np.max, -np.inf)
    assert shape == runtime.shape == hand.shape and np.array_equal(runtime, hand)
    same = reference.shape == hand.shape and np.array_equal(reference, hand)
    print(f"MaxPool pads {pads}: inferred {shape[2:]}, onnxruntime {runtime.shape[2:]}, reference {reference.shape[2:]}, right: {same}")
    assert same == (pads == [1, 1, 1, 1]), "changed"
    if pads == [0, 0, 2, 1]:
        assert reference.shape[2:] == (8, 14), "changed"
shape, runtime, reference = run("AveragePool", [0, 0, 2, 1], count_include_pad=1)
assert np.allclose(reference, runtime, atol=1e-6) and np.allclose(runtime, by_hand([0, 0, 2, 1], np.mean, 0), atol=1e-6)
print("AveragePool pads [0, 0, 2, 1]: reference and onnxruntime agree")
print("as described")
PY
