#!/usr/bin/env bash
# simplejpeg encodes with the fast, less exact cosine transform below quality 96, whatever it is told.
#
# Expected: encode_jpeg()'s docstring: fastdct=False is the default, and True "speeds up ... for a
#   minor loss in quality". So False gives what libjpeg-turbo's exact transform gives: the pixels of
#   Pillow, OpenCV and imagecodecs, which agree to the bit.
# Seen: True and False give the same bytes at every quality; below 96 they are the fast transform's
#   (up to 40 levels from Pillow's), from 96 on the exact one's.
# Versions: simplejpeg 1.9.0, against Pillow 13.0.0 and OpenCV 5.0.0.
# Consequence: a network trained on artefacts from simplejpeg sees others than files in the wild
#   carry, and the degraded baseline scores up to 0.3 dB less than the same quality from Pillow.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 simplejpeg==1.9.0 pillow==13.0.0 opencv-python-headless==5.0.0.93
"$work/venv/bin/python" - <<'PY'
import importlib.metadata, io
import cv2, numpy as np, PIL.Image, simplejpeg

print("simplejpeg", importlib.metadata.version("simplejpeg"))
y, x = np.mgrid[0:96, 0:128]
picture = np.stack([127 * (1 + np.sin(x / 5 + y / 9)), 127 * (1 + np.cos(y / 4)), 2.6 * ((x * y) % 97)], -1)
picture = (picture + np.random.default_rng(0).normal(0, 12, picture.shape)).clip(0, 255).astype(np.uint8)

def decode(data):
    return np.asarray(PIL.Image.open(io.BytesIO(data))).astype(int)

def psnr_db(data):
    return 10 * np.log10(255**2 / np.mean((decode(data) - picture) ** 2))

for quality in (75, 90, 95, 96, 100):
    exact, fast = (simplejpeg.encode_jpeg(picture, quality=quality, colorspace="RGB", colorsubsampling="444",
                                          fastdct=flag) for flag in (False, True))
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    opencv = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality,
                          cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])[1].tobytes()
    assert (decode(opencv) == decode(buffer.getvalue())).all()
    difference = int(np.abs(decode(exact) - decode(buffer.getvalue())).max())
    print(f"quality {quality}: fastdct False and True same bytes: {exact == fast}; from Pillow's pixels up to "
          f"{difference} levels; PSNR {psnr_db(exact):.2f} dB, Pillow {psnr_db(buffer.getvalue()):.2f} dB")
    assert exact == fast, "changed: the argument does something"
    assert (difference > 5) == (quality < 96), "changed: another transform"
print("as described")
PY
