#!/usr/bin/env bash
# Pillow's BICUBIC is one cubic in resize and another in rotate and transform, which bends a straight ramp.
#
# Expected: one name, one kernel. Of Keys's cubics that with a = -1/2, which resize has, alone keeps straight lines: a
#   ramp that is moved by a quarter of a pixel is the ramp, a quarter of a pixel further. The documentation tells the
#   two apart by the size of their support alone.
# Seen: the weights of transform are those of a = -1. A ramp moved by 0.1, 0.25 and 0.4 pixels comes 0.17, 0.34 and
#   0.45 pixels further; by resize's box the same moves are right. Bilinear, worse by its name, is right in both, and
#   closer than transform's bicubic on a smooth picture. OpenCV's warpAffine and resize, which share a = -3/4, are
#   half as far off; scipy.ndimage's cubic spline is right.
# Versions: Pillow 13.0.0, against OpenCV 5.0.0 and SciPy 1.17.1.
# Consequence: pictures rotated or registered by Pillow have edges overshoot and textures that wobble by a tenth of a
#   pixel, in squares where the part of a pixel changes: more than what registration is asked for.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 scipy==1.17.1 \
    opencv-python-headless==5.0.0.93
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, PIL, scipy, scipy.ndimage
from PIL import Image

print("Pillow", PIL.__version__, "OpenCV", cv2.__version__, "SciPy", scipy.__version__)
side = 64
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def transform(levels, part, resample=BICUBIC):
    moved = Image.fromarray(levels).transform((side, side), Image.Transform.AFFINE, (1, 0, part, 0, 1, 0), resample)
    return np.asarray(moved)


def resize(levels, part):
    """Moves by resize's box; the last column is out of its reach and repeats."""
    box = (part, 0, side - 1 + part, side)
    return np.asarray(Image.fromarray(levels).resize((side - 1, side), BICUBIC, box))


def opencv(levels, part):
    matrix = np.array([[1, 0, part], [0, 1, 0]], np.float32)
    return cv2.warpAffine(levels, matrix, (side, side), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def spline(levels, part):
    return scipy.ndimage.shift(levels, (0, -part), order=3)


def keys(distance, a):
    distance = abs(distance)
    if distance < 1:
        return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    return a * (distance**3 - 5 * distance**2 + 8 * distance - 4) if distance < 2 else 0


point = np.zeros((side, side), np.float32)
point[:, 32] = 1
for move, a in ((resize, -0.5), (transform, -1), (opencv, -0.75)):
    weights = move(point, 0.25)[32, 29:36]
    expected = [keys(place + 0.25 - 32, a) for place in range(29, 36)]
    print(f"{move.__name__}: weights {weights.round(3).tolist()}, a = {a}")
    assert np.allclose(weights, expected, atol=0.002), "changed: weights"

ramp = np.tile(np.arange(side, dtype=np.float32), (side, 1))
SEEN = {"resize": (0.1, 0.25, 0.4), "transform": (0.172, 0.344, 0.448), "opencv": (0.136, 0.297, 0.424),
        "spline": (0.1, 0.25, 0.4)}
for move in (resize, transform, opencv, spline):
    moved = [float((move(ramp, part) - ramp[:, : move(ramp, part).shape[1]])[32, 30]) for part in (0.1, 0.25, 0.4)]
    print(f"{move.__name__}: a ramp moved by 0.1, 0.25, 0.4 pixels comes", *(f"{value:.3f}" for value in moved))
    assert np.allclose(moved, SEEN[move.__name__], atol=0.02), "changed: ramp"

x = np.arange(side)
wave = np.tile(100 * np.sin(x / 6), (side, 1)).astype(np.float32)
errors = {}
for resample in (BILINEAR, BICUBIC):
    error = (transform(wave, 0.25, resample) - 100 * np.sin((x + 0.25) / 6))[32, 8:-8]
    errors[resample] = float(np.sqrt(np.mean(error**2)))
    print(f"transform of a wave of 38 pixels, amplitude 100: {resample.name.lower()} off by {errors[resample]:.2f}")
assert errors[BICUBIC] > 3 * errors[BILINEAR], "changed: wave"
print("as described")
PY
