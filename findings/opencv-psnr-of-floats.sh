#!/usr/bin/env bash
# OpenCV's cv2.PSNR takes 255 for the peak of float pictures too.
#
# Expected: the PSNR of two float pictures in [0, 1], as scikit-image, torchmetrics and every paper
#   have it: their peak is 1. Or an error, as scikit-image raises where it cannot tell.
# Seen: the third argument, R, is 255 unless it is given, whatever the type: 48.13 dB too much,
#   20 log10(255). 16-bit pictures have 48.2 dB too little.
# Versions: OpenCV 5.0.0, against scikit-image 0.26.0.
# Consequence: a network of floats that is scored so seems better by 48 dB than it is.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 scikit-image==0.26.0
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np
from skimage.metrics import peak_signal_noise_ratio

print("OpenCV", cv2.__version__)
rng = np.random.default_rng(0)
clean = rng.random((64, 64, 3), np.float32)
noisy = (clean + rng.normal(0, 25 / 255, clean.shape)).astype(np.float32)
expected = peak_signal_noise_ratio(clean, noisy, data_range=1)
seen, given = cv2.PSNR(clean, noisy), cv2.PSNR(clean, noisy, 1.0)
print(f"float: scikit-image {expected:.2f} dB, cv2.PSNR {seen:.2f} dB, with R=1 {given:.2f} dB, difference {seen - expected:.2f} dB")
assert abs(given - expected) < 0.01 and abs(seen - expected - 20 * np.log10(255)) < 0.01, "changed: float"
pair = [np.uint16(np.clip(image, 0, 1) * 65535) for image in (clean, noisy)]
expected = peak_signal_noise_ratio(*pair)
seen = cv2.PSNR(*pair)
print(f"uint16: scikit-image {expected:.2f} dB, cv2.PSNR {seen:.2f} dB")
assert abs(expected - seen - 20 * np.log10(65535 / 255)) < 0.05, "changed: uint16"
pair = [np.uint8(np.clip(image, 0, 1) * 255) for image in (clean, noisy)]
assert abs(cv2.PSNR(*pair) - peak_signal_noise_ratio(*pair)) < 0.01
print("as described")
PY
