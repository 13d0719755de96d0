#!/usr/bin/env bash
# OpenCV's JPEG 2000 is lossy by default, though its documentation says that the default is lossless.
#
# Expected: the documentation of IMWRITE_JPEG2000_COMPRESSION_X1000 (cv::ImwriteFlags) says "Default
#   is 1000", and 1000 gives every pixel back. So leaving it out should too; Pillow's default for the
#   same format does.
# Seen: a picture written without it comes back changed wherever it needs more than a quarter of its
#   raw size, in 8 and 16 bits; with the documented default given by hand it is exact. A smooth
#   picture fits into that quarter and is exact either way, so a quick try does not show it.
# Versions: OpenCV 5.0.0 (opencv-python-headless 5.0.0.93), read back by itself and by Pillow 13.0.0.
# Consequence: clean training targets stored "losslessly" as .jp2 carry wavelet artefacts, most where
#   they are noisy or detailed; the network learns to draw them.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 pillow==13.0.0
"$work/venv/bin/python" - <<'PY'
import io
import cv2, numpy as np, PIL.Image

print("OpenCV", cv2.__version__)
y, x = np.mgrid[0:96, 0:128]
noise = np.random.default_rng(0).normal(0, 12, (96, 128))
grey = (127 + 60 * np.sin(x / 5 + y / 9) + noise).clip(0, 255).astype(np.uint8)
deep = (257 * grey.astype(np.uint16)) ^ x.astype(np.uint16)
smooth = (x + y).astype(np.uint8)
EXPLICIT = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]

def largest_error(image, parameters):
    data = cv2.imencode(".jp2", image, parameters)[1]
    read = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert read.dtype == image.dtype
    if image.dtype == np.uint8:  # an independent decoder sees the same file
        assert (np.asarray(PIL.Image.open(io.BytesIO(data.tobytes()))) == read).all()
    return int(np.abs(read.astype(int) - image).max()), len(data)

results = {}
for name, image in (("uint8", grey), ("uint16", deep), ("smooth", smooth)):
    for label, parameters in (("default", []), ("1000 given", EXPLICIT)):
        error, size = results[name, label] = largest_error(image, parameters)
        print(f"{name:6} {label:10}: largest error {error} levels, {size} bytes of {image.nbytes}")
buffer = io.BytesIO()
PIL.Image.fromarray(grey).save(buffer, "JPEG2000")
pillow = int(np.abs(np.asarray(PIL.Image.open(buffer)).astype(int) - grey).max())
print("Pillow's default: largest error", pillow)
assert results["uint8", "default"][0] > 10 and results["uint16", "default"][0] > 500, "changed: the default"
assert results["uint8", "1000 given"][0] == results["uint16", "1000 given"][0] == pillow == 0
assert results["smooth", "default"][0] == results["smooth", "1000 given"][0] == 0
print("as described")
PY
