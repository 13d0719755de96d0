#!/usr/bin/env bash
# Pillow swaps the bytes of a compressed big-endian TIFF of floats or signed integers once too often.
#
# Expected: the values that were written. A TIFF that begins with MM holds its samples in big-endian order (TIFF 6.0,
#   section 2), and libtiff hands them out in the machine's order. OpenCV and tifffile read them so, and so does Pillow
#   where the same file is not compressed, begins with II, or holds 8 bits or unsigned 16 bits.
# Seen: float32, int16 and int32, compressed by LZW, deflate or PackBits, come out of Pillow with each sample's bytes
#   reversed; no error, no warning.
# Versions: Pillow 13.0.0, against OpenCV 5.0.0; files written by tifffile 2026.3.3 with imagecodecs 2026.3.6.
# Consequence: a height map, a depth map or a scan from a program that writes MM files becomes 1e38s and
#   zeros, or plausible noise in int16.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 tifffile==2026.3.3 \
    imagecodecs==2026.3.6 opencv-python-headless==5.0.0.93
cd "$work"
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, PIL, tifffile
from PIL import Image

print("Pillow", PIL.__version__, "OpenCV", cv2.__version__, "tifffile", tifffile.__version__)
heights = np.linspace(1, 1000, 48 * 64).reshape(48, 64)
swapped = []
for kind in ("uint8", "uint16", "int16", "int32", "float32"):
    written = heights.astype(kind) if kind != "uint8" else (heights / 4).astype(kind)
    for order in "<>":
        for compression in (None, "packbits", "lzw", "zlib"):
            tifffile.imwrite("map.tif", written, photometric="minisblack", byteorder=order, compression=compression)
            assert np.array_equal(cv2.imread("map.tif", cv2.IMREAD_UNCHANGED), written), "changed: OpenCV"
            assert np.array_equal(tifffile.imread("map.tif"), written), "changed: tifffile"
            read = np.asarray(Image.open("map.tif"))
            if np.array_equal(read, written):
                continue
            assert np.array_equal(read.astype(kind), written.byteswap(), equal_nan=True), "changed: how"
            swapped.append((kind, order, compression))
            if compression == "lzw":
                print(f"{kind}, MM, LZW: written {written[0, :3]}, Pillow {read[0, :3]}")
print("bytes reversed:", *(f"{kind} {compression}" for kind, _, compression in swapped), sep="\n  ")
expected = [(kind, ">", way) for kind in ("int16", "int32", "float32") for way in ("packbits", "lzw", "zlib")]
assert swapped == expected, "changed: Pillow"
print("as described")
PY
