#!/usr/bin/env bash
# SimpleITK reads a TIFF of half-precision floats as integers: the bits, not the values.
#
# Expected: SampleFormat 3 (IEEE floating point, TIFF 6.0, section 19) with 16 bits a sample is a
#   half float; a reader gives the values, as tifffile and libvips do, or refuses the file, as OpenCV
#   and Pillow do. SimpleITK refuses other kinds that it does not know (64-bit floats).
# Seen: an array of uint16 with the floats' bit patterns: 1.0 is 15360, 0.5 is 14336. No warning.
# Versions: SimpleITK 2.5.7; written by tifffile 2026.3.3, read by libvips 8.18.7 for comparison.
# Consequence: a float picture in [0, 1] becomes one of five-digit integers that looks plausible (the
#   bits of positive halves are monotonic), with its contrast on a logarithmic scale; normalised by
#   its largest value it trains a network on wrong pictures.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 simpleitk==2.5.7 tifffile==2026.3.3 pyvips==3.2.0 pyvips-binary==8.18.7
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np, pyvips, SimpleITK as sitk, tifffile

print("SimpleITK", sitk.Version_VersionString() if hasattr(sitk, "Version_VersionString") else sitk.__version__)
half = np.linspace(0, 1, 48 * 64).reshape(48, 64).astype(np.float16)
tifffile.imwrite("half.tif", half, photometric="minisblack")
tifffile.imwrite("double.tif", half.astype(np.float64), photometric="minisblack")

assert (tifffile.imread("half.tif") == half).all()
vips = pyvips.Image.new_from_file("half.tif").numpy()
print("libvips  :", vips.dtype, "from", vips.min(), "to", vips.max())
assert np.array_equal(vips.reshape(half.shape), half.astype(np.float32))

read = sitk.GetArrayFromImage(sitk.ReadImage("half.tif"))
print("SimpleITK:", read.dtype, "from", read.min(), "to", read.max(), "for 0.0 to 1.0")
assert read.dtype == np.uint16 and np.array_equal(read, half.view(np.uint16)), "changed"
try:
    sitk.ReadImage("double.tif")
    raise SystemExit("changed: 64-bit floats are read")
except RuntimeError:
    print("SimpleITK refuses 64-bit floats, as expected of a kind it does not know")
print("as described")
PY
