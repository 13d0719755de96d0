#!/usr/bin/env bash
# OpenCV's phaseCorrelate answers with whole pixels where a picture of fine texture moved by parts of one.
#
# Expected: a displacement with parts of a pixel, as its documentation promises and as scikit-image's
#   phase_cross_correlation finds it: the pictures are periodic, without noise, and moved exactly, by
#   the phases of their spectrum, so that no window is needed.
# Seen: for 0.25 and 0.75 pixels it says 0 and 1, to within 0.05, with or without a Hann window. Its
#   peak is refined by a centroid of 5x5 values, and those of a peak between two pixels have
#   both signs. Smooth pictures fare better.
# Versions: OpenCV 5.0.0, against scikit-image 0.26.0.
# Consequence: a film stabilised by it keeps a quarter of a pixel of its tremble, which averages
#   of frames show as blur. findTransformECC is right to a hundredth on the same pair.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 scikit-image==0.26.0
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np
from skimage.registration import phase_cross_correlation

print("OpenCV", cv2.__version__)
side = 255
rows, columns = np.meshgrid(*[np.fft.fftfreq(side)] * 2, indexing="ij")
frequency = np.hypot(rows, columns)
texture = np.fft.fft2(np.random.default_rng(0).normal(size=(side, side)))
texture *= np.where(frequency, 1 / np.maximum(frequency, 1 / side), 0) ** 0.5
worst = 0.0
for by in (0.25, 0.75, 2.25):
    pair = [np.fft.ifft2(texture * np.exp(-2j * np.pi * columns * d)).real for d in (0, by)]
    first, second = [np.float64(128 + 40 * each / pair[0].std()) for each in pair]
    (plain, _), _ = cv2.phaseCorrelate(first, second)
    (windowed, _), _ = cv2.phaseCorrelate(first, second, cv2.createHanningWindow((side, side), cv2.CV_64F))
    other = -phase_cross_correlation(first, second, upsample_factor=100)[0][1]
    warp = np.eye(2, 3, dtype=np.float32)
    _, warp = cv2.findTransformECC(np.float32(first), np.float32(second), warp, cv2.MOTION_TRANSLATION)
    print(f"{by:5.2f} px: phaseCorrelate {plain:.3f}, with a window {windowed:.3f}, scikit-image {other:.2f}, ECC {warp[0, 2]:.3f}")
    assert abs(other - by) < 0.03, "changed: scikit-image"
    assert abs(warp[0, 2] - by) < 0.02, "changed: ECC"
    assert max(abs(each - round(by)) for each in (plain, windowed)) < 0.06, "changed: phaseCorrelate"
print("as described")
PY
