#!/usr/bin/env bash
# libvips enlarges a picture half an output pixel away from where it was.
#
# Expected: pixel centres keep their place: output pixel i of an enlargement by s shows the input at
#   (i + 0.5) / s - 0.5. Pillow, OpenCV and scikit-image do so, and so does libvips itself when it
#   reduces.
# Seen: every smooth kernel shows the input at i / s - 0.5: the picture lies half an output pixel to
#   the right and below, at every factor. Enlarged by libvips and reduced again, it has moved.
# Versions: libvips 8.18.7 (pyvips 3.2.0, pyvips-binary 8.18.7), against Pillow 13.0.0, OpenCV 5.0.0
#   and scikit-image 0.26.0.
# Consequence: a super-resolution baseline or a training pair enlarged by libvips is misaligned with
#   its target; the network learns to move pictures, and PSNR of the baseline is too low.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 pyvips==3.2.0 pyvips-binary==8.18.7 \
    pillow==13.0.0 opencv-python-headless==5.0.0.93 scikit-image==0.26.0
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, PIL.Image, pyvips, skimage.transform

print("libvips", ".".join(str(pyvips.version(i)) for i in range(3)))
ramp = np.tile(np.arange(64, dtype=np.float32), (64, 1))  # each pixel's value is its column

def offset(enlarged, factor):
    """Mean distance from the value at the pixel's centre, in output pixels, away from the edges."""
    size = enlarged.shape[1]
    expected = (np.arange(size) + 0.5) / factor - 0.5
    middle = slice(size // 4, 3 * size // 4)
    return float((enlarged[size // 2, middle] - expected[middle]).mean() * factor)

for factor in (1.5, 2, 3, 4):
    size = int(64 * factor)
    vips = {kernel: offset(pyvips.Image.new_from_array(ramp).resize(factor, kernel=kernel).numpy(), factor)
            for kernel in ("linear", "cubic", "lanczos3")}
    others = {
        "Pillow": np.asarray(PIL.Image.fromarray(ramp).resize((size, size), PIL.Image.BICUBIC)),
        "OpenCV": cv2.resize(ramp, (size, size), interpolation=cv2.INTER_CUBIC),
        "scikit-image": skimage.transform.resize(ramp, (size, size), order=3),
    }
    others = {name: offset(enlarged, factor) for name, enlarged in others.items()}
    print(f"x{factor}: offset in output pixels, expected 0; libvips",
          {k: round(v, 3) for k, v in vips.items()}, "others", {k: round(v, 3) for k, v in others.items()})
    assert all(abs(v + 0.5) < 0.01 for v in vips.values()), "changed: libvips"
    assert all(abs(v) < 0.01 for v in others.values()), "changed: another library"
halved = offset(pyvips.Image.new_from_array(ramp).resize(0.5, kernel="cubic").numpy(), 0.5)
print("x0.5: libvips cubic", round(halved, 3))
assert abs(halved) < 0.01
print("as described")
PY
