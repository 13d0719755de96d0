#!/usr/bin/env bash
# albumentations draws its motion blur mirrored: 45 degrees are 135, and forward is backward.
#
# Expected: the docstring of MotionBlur: angle 0 is horizontal, 45 "Diagonal motion blur" to the upper right, 90
#   vertical, 135 to the upper left; direction=1 extends "only forward", at 0 degrees from the point to the right.
# Seen: a single bright point becomes a line from upper left to lower right at 45 degrees, and the other diagonal at
#   135. With direction=1 it extends to the left at 0 degrees, to the upper left at 45, to the upper right at 135; at
#   90 it goes up as described. The kernel is drawn with rows counted downwards and handed to a correlation. And
#   allow_shifted=False, "Kernel will always be centered", does not centre it: with the default range of directions
#   the picture moves by up to half the kernel, another way each time; it takes direction_range=(0, 0).
# Versions: albumentations 2.0.8 (its last), with OpenCV 5.0.0.
# Consequence: angles measured on real blur, or a PSF estimated from them, give training pairs of the other diagonal;
#   and the blurred input of a deblurring pair lies beside its target.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 albumentations==2.0.8 \
    opencv-python-headless==5.0.0.93
export NO_ALBUMENTATIONS_UPDATE=1
"$work/venv/bin/python" -W ignore - <<'PY'
import albumentations as A, cv2, numpy as np

print("albumentations", A.__version__, "OpenCV", cv2.__version__)
size, middle = 41, 20
point = np.zeros((size, size, 3), np.float32)
point[middle, middle] = 1


def blurred(angle=None, direction=None):
    """Returns the weights that the point has got, and their places: to the right, and up."""
    angles = (0, 360) if angle is None else (angle, angle)
    directions = (-1, 1) if direction is None else (direction, direction)
    blur = A.MotionBlur((15, 15), allow_shifted=False, angle_range=angles, direction_range=directions, p=1)
    weights = blur(image=point)["image"][..., 0].astype(float)
    y, x = np.nonzero(weights > 1e-3)  # Large kernels go through a Fourier transform, which leaves 1e-8 elsewhere.
    return weights[y, x], x - middle, middle - y


EXPECTED = {0: (1, 0), 45: (1, 1), 90: (0, 1), 135: (-1, 1)}  # Of the line's end: to the right, up.
SEEN = {0: (-1, 0), 45: (-1, 1), 90: (0, 1), 135: (1, 1)}
for angle in EXPECTED:
    weights, right, up = blurred(angle, 1)
    end = tuple(int(np.sign(round(float((weights * each).sum()), 3))) for each in (right, up))
    print(f"{angle} degrees, forward: to the right, up: expected {EXPECTED[angle]}, seen {end}")
    assert end == SEEN[angle], "changed"
for angle, seen in ((45, -1), (135, 1)):
    _, right, up = blurred(angle, 0)
    slope = np.sign((right * up).sum())
    print(f"{angle} degrees, both ways: the line {'rises' if slope > 0 else 'falls'} to the right")
    assert slope == seen, "changed"

moved = []
for _ in range(60):
    weights, right, up = blurred()
    moved.append(np.hypot((weights * right).sum(), (weights * up).sum()) / weights.sum())
weights, right, up = blurred(30, 0)
centred = np.hypot((weights * right).sum(), (weights * up).sum())
print(f"allow_shifted=False: moved by {np.mean(moved):.1f} pixels on average, {max(moved):.1f} at most; "
      f"direction 0: {centred:.2f}")
assert max(moved) > 2 and centred < 0.01, "changed: the centre"
print("as described")
PY
