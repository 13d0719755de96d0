#!/usr/bin/env bash
# kornia-rs makes a picture brighter by three quarters of a level each time it doubles its size.
#
# Expected: a bilinear value, rounded to the nearest level, is half a level off at most and not to one side: so are
#   kornia-rs's own at other factors and OpenCV's at this one. Pillow, which rounds after each axis, is a
#   quarter of a level up here.
# Seen: at exactly twice the size, 8 bits, "bilinear", the mean error is +0.74 levels and the largest 1.5: the
#   result is rounded up several times over. On a ramp whose doubled values are whole levels, which need no rounding,
#   each comes one too high, edges aside. Each further doubling adds about as much. Pictures of one level stay right.
# Versions: kornia-rs 0.2.0 on x86-64, against OpenCV 5.0.0 and Pillow 13.0.0; its documentation calls the path "CPU
#   fast path", without a word about precision.
# Consequence: an upscaled training set or pyramid is lighter than its original, by nearly 3 levels after four
#   doublings, and a measured PSNR falls for it.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 kornia-rs==0.2.0 \
    opencv-python-headless==5.0.0.93 pillow==13.0.0
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import cv2, numpy as np
from kornia_rs import imgproc
from PIL import Image

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("kornia-rs", "opencv-python-headless", "pillow")))


def exact(picture, height, width):
    """Returns bilinear values, unrounded: pixel centres at (i + 0.5) / factor - 0.5, edges repeated."""
    def weights(new, old):
        place = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        first = np.minimum(place.astype(int), old - 2)
        matrix = np.zeros((new, old))
        matrix[np.arange(new), first] = 1 - (place - first)
        matrix[np.arange(new), first + 1] += place - first
        return matrix
    return np.einsum("ay,yxc,bx->abc", weights(height, picture.shape[0]), picture, weights(width, picture.shape[1]))


def kornia(picture, height, width):
    return np.asarray(imgproc.resize(picture, (height, width), "bilinear")).astype(float)


others = {
    "OpenCV": lambda picture, height, width: cv2.resize(picture, (width, height)).astype(float),
    "Pillow": lambda picture, height, width: np.asarray(
        Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)).astype(float),
}
noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
for factor in (2, 3, 1.5):
    size = int(60 * factor), int(80 * factor)
    right = exact(noise, *size)
    off = {name: run(noise, *size) - right for name, run in {"kornia-rs": kornia, **others}.items()}
    print(f"by {factor}: mean error " + ", ".join(f"{name} {error.mean():+.3f}" for name, error in off.items())
          + f"; largest of kornia-rs {np.abs(off['kornia-rs']).max():.2f}")
    assert all(abs(off[name].mean()) < 0.3 for name in others), "changed: the others"
    if factor == 2:
        assert off["kornia-rs"].mean() > 0.7 and off["kornia-rs"].max() > 1.4, "changed: kornia-rs"
    else:
        assert abs(off["kornia-rs"].mean()) < 0.05 and off["kornia-rs"].max() <= 0.51, "changed: kornia-rs"

ramp = np.repeat(np.add.outer(2 * np.arange(40), 2 * np.arange(50)).astype(np.uint8)[..., None], 3, 2)
error = (kornia(ramp, 80, 100) - exact(ramp, 80, 100))[1:-1, 1:-1]
print(f"a ramp of whole levels: errors from {error.min():.0f} to {error.max():.0f}")
assert (error == 1).all(), "changed: the ramp"

grown = noise // 4 + 96
means = [grown.mean()]
for _ in range(4):
    grown = np.asarray(imgproc.resize(grown, (2 * grown.shape[0], 2 * grown.shape[1]), "bilinear"))
    means.append(grown.mean())
print("mean level after 0 to 4 doublings:", *(f"{mean:.2f}" for mean in means))
assert means[4] - means[0] > 2, "changed: repeated"
assert (kornia(np.full((8, 8, 3), 100, np.uint8), 16, 16) == 100).all(), "changed: one level"
print("as described")
PY
