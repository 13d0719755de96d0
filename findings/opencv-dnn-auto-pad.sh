#!/usr/bin/env bash
# OpenCV's network runner puts the padding of ONNX's auto_pad on other sides.
#
# Expected: SAME_UPPER and SAME_LOWER give ceil(size / stride) places. The least padding for them is split over both
#   sides, an odd pixel to the end with SAME_UPPER, to the beginning with SAME_LOWER (ONNX, operator Conv): a kernel
#   of 3 with stride 2 and SAME_UPPER begins on the first pixel of an even size. onnxruntime and ONNX's reference do
#   so. ConvTranspose gives size * stride.
# Seen: the padding is (kernel - 1) / 2 at the beginning, rounded down, whatever size, stride and word say. With
#   SAME_UPPER kernels of 3 and 5 at stride 2 read a pixel too far to the left and above at every even size; with
#   SAME_LOWER even kernels read a pixel too far to the right and below. So do MaxPool and AveragePool. ConvTranspose
#   is a row and a column short for kernels of 2 to 4; with output_shape it has two too many. No error.
# Versions: OpenCV 5.0.0, against onnxruntime 1.32.0 and the reference evaluator of onnx 1.23.2.
# Consequence: strided networks that come from TensorFlow or Keras, whose "same" is SAME_UPPER, give other features in
#   OpenCV, and their output lies a pixel aside for each reduction. Padding written out as pads is right.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 \
    opencv-python-headless==5.0.0.93
export OPENCV_LOG_LEVEL=SILENT
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("OpenCV", cv2.__version__, "onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)


def results(kind, size, kernel, **attributes):
    """Returns what onnxruntime and OpenCV give for a picture whose value is its place, and a kernel that picks one."""
    y, x = np.mgrid[1 : size + 1, 1 : size + 1]
    picture = (100 * y + x).astype(np.float32)[None, None]
    weights = np.zeros((1, 1, kernel, kernel), np.float32)
    weights[..., 0, 0] = 1
    pooled = "Pool" in kind
    if pooled:
        attributes["kernel_shape"] = [kernel, kernel]
    network = helper.make_model(helper.make_graph(
        [helper.make_node(kind, ["x"] if pooled else ["x", "w"], ["y"], **attributes)], "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [] if pooled else [numpy_helper.from_array(weights, "w")],
    ), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": picture})[0]
    if kind == "Conv":
        reference = ReferenceEvaluator(network).run(None, {"x": picture})[0]
        assert np.array_equal(reference, expected), "the reference differs"
    runner = cv2.dnn.readNetFromONNX(np.frombuffer(network.SerializeToString(), np.uint8))
    runner.setInput(picture, "x")
    return expected, runner.forward()


for kind in ("Conv", "MaxPool", "AveragePool"):
    right = {}
    for auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        for kernel in (2, 3, 4, 5):
            for stride in (1, 2):
                for size in (8, 9):
                    expected, seen = results(kind, size, kernel, auto_pad=auto_pad, strides=[stride, stride])
                    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                    begin = total // 2 if auto_pad == "SAME_UPPER" else (total + 1) // 2
                    same = expected.shape == seen.shape and np.allclose(expected, seen)
                    right[auto_pad, kernel, stride, size] = same
                    assert same == (begin == (kernel - 1) // 2), f"changed: {kind} {auto_pad} {kernel} {stride} {size}"
                    if kind == "Conv":
                        print(f"{kind} {auto_pad}, kernel {kernel}, stride {stride}, size {size}: begins with columns",
                              expected[0, 0, 2, :3].astype(int) % 100, "OpenCV",
                              "same" if same else seen[0, 0, 2, :3].astype(int) % 100)
    print(f"{kind}: right in {sum(right.values())} of {len(right)} cases")

expected, seen = results("Conv", 8, 3, pads=[0, 0, 1, 1], strides=[2, 2])
assert np.array_equal(expected, seen), "changed: pads"
SAME, SHAPE = {"auto_pad": "SAME_UPPER"}, {"output_shape": [16, 16]}
for kernel, options, side in ((2, SAME, 15), (3, SAME, 15), (4, SAME, 15), (3, SHAPE, 18)):
    expected, seen = results("ConvTranspose", 8, kernel, strides=[2, 2], **options)
    print(f"ConvTranspose {options}, kernel {kernel}: {expected.shape[2:]} expected, OpenCV {seen.shape[2:]}")
    assert expected.shape[2:] == (16, 16) and seen.shape[2:] == (side, side), "changed"
print("as described")
PY
