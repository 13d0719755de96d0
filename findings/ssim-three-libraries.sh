#!/usr/bin/env bash
# SSIM of the same two pictures is three different numbers in three libraries, each with its defaults.
#
# Expected: Wang et al. 2004: a Gaussian window of 11 pixels, sigma 1.5, weighted statistics without
#   Bessel's correction, the mean over the places where the window fits. scikit-image's documentation
#   names the arguments that give it (gaussian_weights, sigma 1.5, use_sample_covariance False).
# Seen: scikit-image's own defaults take a flat 7x7 window with Bessel's correction; torchmetrics has
#   the Gaussian but averages over the mirrored border too; sewar's window is flat, of 11 pixels. Only the
#   documented arguments of scikit-image give the paper's number.
# Versions: scikit-image 0.26.0, torchmetrics 1.9.0, sewar 0.4.10.
# Consequence: tables of restoration results cannot be compared unless they name library and
#   arguments; the differences are larger than those between methods.
#
# Needs PyTorch, torch==2.13.0, of which a build for CPUs is enough.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 torch==2.13.0 torchmetrics==1.9.0 sewar==0.4.10 scikit-image==0.26.0
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import numpy as np, sewar, torch, torchmetrics.functional.image as tm
from scipy.ndimage import gaussian_filter
from skimage import data
from skimage.metrics import structural_similarity

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-image", "torchmetrics", "sewar")))
clean = data.camera()[:480, :448].astype(np.float64)
noisy = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).round().clip(0, 255)

def paper(x, y):
    """Wang et al. 2004 in NumPy: 11x11 Gaussian of sigma 1.5, only where it fits."""
    blur = lambda a: gaussian_filter(a, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float(np.mean((2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))

tensors = [torch.from_numpy(image)[None, None] for image in (noisy, clean)]
bytes_ = [image.astype(np.uint8) for image in (clean, noisy)]
named = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
score = {
    "paper": paper(clean, noisy),
    "scikit-image, the documented arguments": structural_similarity(clean, noisy, data_range=255, **named),
    "scikit-image, defaults": structural_similarity(clean, noisy, data_range=255),
    "torchmetrics, defaults": float(tm.structural_similarity_index_measure(*tensors, data_range=255.0)),
    "sewar, defaults": float(sewar.ssim(*bytes_)[0]),
}
for name, value in score.items():
    print(f"{value:.4f}  {name}")
reference = score["paper"]
near = lambda name, tolerance: abs(score[name] - reference) < tolerance
assert near("scikit-image, the documented arguments", 1e-4)
assert not near("sewar, defaults", 0.02) and not near("scikit-image, defaults", 0.005)
assert not near("torchmetrics, defaults", 5e-4), "changed: torchmetrics"
print("as described")
PY
