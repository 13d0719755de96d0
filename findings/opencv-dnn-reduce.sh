#!/usr/bin/env bash
# OpenCV's network runner reduces three axes wrongly where one of them has more than two entries.
#
# Expected: ReduceMean over the axes 0, 2 and 3 is the mean of everything in a channel (ONNX), as onnxruntime and
#   NumPy say.
# Seen: the third and each later entry of the first of the three axes is the second over again: for pictures of the
#   levels 0, 1, 2, 3 the mean is (0 + 1 + 1 + 1) / 4. ReduceSum, ReduceMax, ReduceMin and ReduceL2 do so too. It
#   happens where three or more axes go that are not the last ones (axes 0, 2 and 3 of four), and counts by the third
#   from the end of those that go. One and two axes are right, so are the last three, and all.
# Versions: OpenCV 5.0.0, against onnxruntime 1.32.0 and NumPy 2.4.6.
# Consequence: normalisation over batch and place (the default axes of MeanVarianceNormalization, written out) is
#   wrong from a batch of three on, and right in a test with one picture or two.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 \
    opencv-python-headless==5.0.0.93
export OPENCV_LOG_LEVEL=SILENT
"$work/venv/bin/python" - <<'PY'
import itertools
import cv2, numpy as np, onnxruntime
from onnx import TensorProto, helper, numpy_helper

print("OpenCV", cv2.__version__, "onnxruntime", onnxruntime.__version__)
KINDS = {"ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min,
         "ReduceL2": lambda x, axis, keepdims: np.sqrt(np.sum(x**2, axis=axis, keepdims=keepdims))}


def reduced(kind, given, axes):
    """Returns what OpenCV and what onnxruntime give."""
    shape = [1 if axis in axes else size for axis, size in enumerate(given.shape)]
    network = helper.make_model(helper.make_graph(
        [helper.make_node(kind, ["x", "axes"], ["y"])], "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(axes, np.int64), "axes")],
    ), opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()
    runner = cv2.dnn.readNetFromONNX(np.frombuffer(network, np.uint8))
    runner.setInput(given, "x")
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return runner.forward(), session.run(None, {"x": given})[0]


for count in (1, 2, 3, 4):
    pictures = np.ones((count, 2, 4, 5), np.float32) * np.arange(count, dtype=np.float32)[:, None, None, None]
    seen, expected = reduced("ReduceMean", pictures, (0, 2, 3))
    levels = list(range(count))
    print(f"{count} pictures of the levels {levels}: mean {expected[0, 0, 0, 0]:g}, OpenCV {seen[0, 0, 0, 0]:g}")
    assert expected[0, 0, 0, 0] == (count - 1) / 2, "onnxruntime"
    assert np.isclose(seen[0, 0, 0, 0], sum(min(level, 1) for level in range(count)) / count), "changed: mean"

random = np.random.default_rng(0)
for shape in ((2, 3, 4, 5), (4, 3, 4, 5), (2, 3, 4, 5, 2)):
    for kind, numpy_kind in KINDS.items():
        # The extreme stands in the last entry, which is where it is missed.
        given = random.random(shape).astype(np.float32)
        last = np.indices(shape).sum(0)
        given += last if kind == "ReduceMax" else -last if kind == "ReduceMin" else 0
        wrong = []
        for count in range(1, len(shape) + 1):
            for axes in itertools.combinations(range(len(shape)), count):
                seen, expected = reduced(kind, given, axes)
                assert np.allclose(expected, numpy_kind(given, axis=axes, keepdims=True), rtol=1e-4)
                if not np.allclose(seen, expected, rtol=1e-3, atol=1e-4):
                    wrong.append(axes)
        print(f"{shape} {kind}: wrong over", *wrong or ["none"])
        expected = [axes for count in range(3, len(shape) + 1)
                    for axes in itertools.combinations(range(len(shape)), count)
                    if shape[axes[-3]] > 2 and axes != tuple(range(len(shape)))[-count:]]
        assert wrong == expected, "changed"
print("as described")
PY
