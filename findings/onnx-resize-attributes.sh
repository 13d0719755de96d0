#!/usr/bin/env bash
# OpenVINO and OpenCV run ONNX's Resize without some of its attributes and inputs, and say nothing.
#
# Expected: scales are the scales: output pixel i is input pixel (i + 0.5) / scale - 0.5 even where size * scale was
#   cut to a whole number (ONNX, operator Resize); exclude_outside=1 leaves pixels outside out of the cubic's sum;
#   keep_aspect_ratio_policy makes one scale of two. onnxruntime and ONNX's reference do so.
# Seen: OpenCV takes the ratio of the two sizes for the scale, so that 8 to 10 pixels by 1.3 (10.4) is by 1.25. It
#   takes half_pixel_symmetric for something else even at a factor of 2, where it is half_pixel. OpenVINO leaves
#   exclude_outside out, to the bit, and stretches whatever the policy is: the result has another shape than ONNX
#   says.
# Versions: OpenCV 5.0.0, OpenVINO 2026.4.1, against onnxruntime 1.32.0 and the reference evaluator of onnx 1.23.2.
# Consequence: upscalers by 1.3 or 1.5 drift by up to a pixel towards the end of odd sizes; borders differ, which
#   tiles show as seams; aspect ratios are lost.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 \
    openvino==2026.4.1 opencv-python-headless==5.0.0.93
export OPENCV_LOG_LEVEL=SILENT
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, onnx, onnxruntime, openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("OpenCV", cv2.__version__, "OpenVINO", openvino.__version__.split("-")[0], "onnxruntime", onnxruntime.__version__)
core = openvino.Core()


def run(picture, opencv=True, scales=None, sizes=None, **attributes):
    """Returns what onnxruntime, OpenVINO and OpenCV give; None for one that was not asked."""
    given = ["x", "", "scales"] if scales else ["x", "", "", "sizes"]
    values = np.array(scales, np.float32) if scales else np.array(sizes, np.int64)
    network = helper.make_model(helper.make_graph(
        [helper.make_node("Resize", given, ["y"], **attributes)], "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        [numpy_helper.from_array(values, given[-1])],
    ), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    binary = network.SerializeToString()
    session = onnxruntime.InferenceSession(binary, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": picture})[0]
    if attributes["mode"] != "nearest":  # Where two pixels are equally near, the two differ.
        reference = ReferenceEvaluator(network).run(None, {"x": picture})[0]
        assert np.allclose(reference, expected, atol=1e-5), "the reference differs"
    compiled = core.compile_model(core.read_model(binary), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    seen = None
    if opencv:
        runner = cv2.dnn.readNetFromONNX(np.frombuffer(binary, np.uint8))
        runner.setInput(picture, "x")
        seen = runner.forward()
    return expected, compiled([picture])[0], seen


def off(seen, expected):
    return float(abs(seen - expected).max())


picture = np.random.default_rng(0).random((1, 1, 8, 12)).astype(np.float32)
for mode in ("nearest", "linear", "cubic"):
    for scale in (2, 1.5, 1.3, 0.55):
        expected, vino, opencv = run(picture, scales=[1, 1, scale, scale], mode=mode)
        by_size = run(picture, sizes=list(expected.shape), mode=mode)[0]
        print(f"{mode} by {scale} to {expected.shape[2:]}: OpenVINO off by {off(vino, expected):.1e}, OpenCV "
              f"{off(opencv, expected):.1e}, from the sizes' scale {off(opencv, by_size):.1e}")
        assert off(vino, expected) < 1e-5 and off(opencv, by_size) < 1e-5, "changed: scales"
        assert (off(opencv, expected) < 1e-5) == (scale in (2, 1.5)), "changed: OpenCV's scales"

half = run(picture, scales=[1, 1, 2, 2], mode="linear")[0]

# OpenVINO refuses this one, so it is run by itself.
graph = helper.make_graph(
    [helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear",
                      coordinate_transformation_mode="half_pixel_symmetric")], "network",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture.shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, half.shape)],
    [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")])
network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
expected = ReferenceEvaluator(network).run(None, {"x": picture})[0]
assert np.allclose(expected, half, atol=1e-6), "half_pixel_symmetric is another one"
runner = cv2.dnn.readNetFromONNX(np.frombuffer(network.SerializeToString(), np.uint8))
runner.setInput(picture, "x")
print(f"half_pixel_symmetric by 2: OpenCV off by {off(runner.forward(), expected):.1e}")
assert off(runner.forward(), expected) > 0.05, "changed: half_pixel_symmetric"

plain = run(picture, scales=[1, 1, 2, 2], mode="cubic")
without = run(picture, scales=[1, 1, 2, 2], mode="cubic", exclude_outside=1)
print(f"exclude_outside: OpenVINO off by {off(without[1], without[0]):.1e}, "
      f"from the one without {off(without[1], plain[1]):.1e}; OpenCV {off(without[2], without[0]):.1e}")
assert off(without[1], without[0]) > 0.01 and np.array_equal(without[1], plain[1]), "changed: exclude_outside"
assert off(without[2], without[0]) < 1e-5, "changed: OpenCV's exclude_outside"
for policy in ("stretch", "not_larger", "not_smaller"):
    expected, vino, _ = run(picture, opencv=False, sizes=[1, 1, 16, 16], mode="linear") if policy == "stretch" else run(
        picture, opencv=False, sizes=[16, 16], axes=[2, 3], mode="linear", keep_aspect_ratio_policy=policy)
    print(f"8 by 12 into 16 by 16, {policy}: {expected.shape[2:]}, OpenVINO {vino.shape[2:]}")
    assert vino.shape[2:] == (16, 16) and (expected.shape == vino.shape) == (policy == "stretch"), "changed: policy"
print("as described")
PY
