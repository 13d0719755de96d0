#!/usr/bin/env bash
# OpenCV's network runner samples a grid bilinearly where "cubic" was asked for, and clamps what "bicubic" gives.
#
# Expected: GridSample with mode "bicubic", "cubic" from opset 20 on, weighs 4 by 4 pixels by a cubic with a = -0.75
#   (ONNX; PyTorch's grid_sample, whose exports have it), as onnxruntime does: it goes beyond its pixels at edges,
#   which keeps them sharp. What a runner has not is an error.
# Seen: "cubic" is "linear" to the last bit. "bicubic" is limited to the range of the 4 by 4 pixels. The two linear
#   and the nearest modes are right. No error, no warning.
# Versions: OpenCV 5.0.0, against onnxruntime 1.32.0.
# Consequence: networks that warp by an optical flow (restoration of films, alignment of bursts) run, and blur: the
#   more, the newer the opset.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 \
    opencv-python-headless==5.0.0.93
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper

print("OpenCV", cv2.__version__, "onnxruntime", onnxruntime.__version__)
random = np.random.default_rng(0)
height, width = 24, 32
picture = random.random((1, 3, height, width)).astype(np.float32)
v, u = np.mgrid[:height, :width].astype(float)


def sampled(mode, opset, padding, corners):
    """Returns what onnxruntime and what OpenCV give, a quarter of a pixel to the right of and below each pixel."""
    if corners:
        places = np.stack([2 * (u + 0.25) / (width - 1) - 1, 2 * (v + 0.25) / (height - 1) - 1], -1)
    else:
        places = np.stack([(2 * (u + 0.25) + 1) / width - 1, (2 * (v + 0.25) + 1) / height - 1], -1)
    grid = places[None].astype(np.float32)
    network = helper.make_model(helper.make_graph(
        [helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode, padding_mode=padding, align_corners=corners)],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, picture.shape),
         helper.make_tensor_value_info("grid", TensorProto.FLOAT, grid.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, picture.shape)],
    ), opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    runner = cv2.dnn.readNetFromONNX(np.frombuffer(network, np.uint8))
    runner.setInput(picture, "x")
    runner.setInput(grid, "grid")
    # Away from the border, for which there are other rules.
    return [each[..., 1:-2, 1:-2] for each in (session.run(None, {"x": picture, "grid": grid})[0], runner.forward())]


windows = sliding_window_view(picture, (4, 4), (2, 3))
low, high = windows.min((-1, -2)), windows.max((-1, -2))
for padding in ("zeros", "border", "reflection"):
    for corners in (0, 1):
        modes = {(name, opset): sampled(name, opset, padding, corners)
                 for opset, names in ((16, ("nearest", "bilinear", "bicubic")), (20, ("nearest", "linear", "cubic")))
                 for name in names}
        off = {key: float(abs(right - seen).max()) for key, (right, seen) in modes.items()}
        print(f"{padding}, align_corners={corners}: off by",
              ", ".join(f"{name} {value:.1e}" for (name, _), value in off.items()))
        assert all(value < 1e-5 for (name, _), value in off.items() if "cubic" not in name), "changed: other modes"
        linear = abs(modes["cubic", 20][1] - modes["linear", 20][1]).max()
        right, seen = modes["bicubic", 16]
        clamped = abs(right.clip(low, high) - seen).max()
        places = (abs(right - seen) > 1e-4).mean()
        print(f"  cubic from linear {linear:.1e}; bicubic from the clamped one {clamped:.1e}, wrong at {places:.0%}")
        assert off["cubic", 20] > 0.05 and linear < 1e-6, "changed: cubic"
        assert off["bicubic", 16] > 0.01 and clamped < 1e-4, "changed: bicubic"
print("as described")
PY
