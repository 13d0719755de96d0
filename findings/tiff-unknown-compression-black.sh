#!/usr/bin/env bash
# OpenCV and libvips hand out a black picture for a TIFF whose compression they cannot decode.
#
# Expected: an error, or None from cv2.imread, whose documentation says that it returns an empty
#   matrix when a file cannot be read (here too, for the same compression in a 16-bit file). Pillow
#   and SimpleITK refuse these files; tifffile with imagecodecs reads them.
# Seen: 8-bit RGB compressed with JPEG XL, PNG or JPEG 2000 inside TIFF: both return an array of the
#   right shape and type, all zeros, no exception. libvips raises only if asked (fail_on="error").
# Versions: OpenCV 5.0.0, libvips 8.18.7 (pyvips-binary 8.18.7), Pillow 13.0.0; files written by
#   tifffile 2026.3.3 with imagecodecs 2026.3.6.
# Consequence: a folder of microscope or archive scans becomes black pictures in the training set or,
#   in a service, a black answer; a check of shape and type does not notice.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 tifffile==2026.3.3 imagecodecs==2026.3.6 \
    opencv-python-headless==5.0.0.93 pyvips==3.2.0 pyvips-binary==8.18.7 pillow==13.0.0
cd "$work"
export OPENCV_LOG_LEVEL=SILENT
"$work/venv/bin/python" - 2>"$work/messages" <<'PY' || { cat "$work/messages" >&2; exit 1; }
import cv2, numpy as np, PIL.Image, pyvips, tifffile

print("OpenCV", cv2.__version__, "libvips", ".".join(str(pyvips.version(i)) for i in range(3)))
y, x = np.mgrid[0:48, 0:64]
picture = np.stack([4 * x, 5 * y, 255 - 4 * x], -1).astype(np.uint8)

def pillow(path):
    return np.asarray(PIL.Image.open(path))

for compression in ("jpegxl", "png", "jpeg2000"):
    path = f"{compression}.tif"
    tifffile.imwrite(path, picture, photometric="rgb", compression=compression)
    assert np.array_equal(tifffile.imread(path), picture)
    opencv = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    vips = pyvips.Image.new_from_file(path).numpy()
    try:
        pillow(path)
        refused = False
    except OSError:
        refused = True
    print(f"{compression:8}: OpenCV {opencv.shape} largest value {opencv.max()}; libvips {vips.shape} largest "
          f"value {vips.max()}; Pillow refuses: {refused}; tifffile is exact")
    for read in (opencv, vips):
        assert read.shape == picture.shape and not read.any(), "changed"
    assert refused
    try:
        pyvips.Image.new_from_file(path, fail_on="error").numpy()
        raise SystemExit("changed: fail_on")
    except pyvips.Error:
        pass
    deep = f"{compression}-16.tif"
    tifffile.imwrite(deep, picture.astype(np.uint16) * 257, photometric="rgb", compression=compression)
    assert cv2.imread(deep, cv2.IMREAD_UNCHANGED) is None
print("OpenCV returns None for the same files with 16 bits")
print("as described")
PY
