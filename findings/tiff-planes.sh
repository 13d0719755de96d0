#!/usr/bin/env bash
# A colour TIFF whose channels lie in planes is read wrong by OpenCV, Pillow and libvips, each from other samples on.
#
# Expected: PlanarConfiguration 2 means that all of red comes first, then green, then blue (TIFF 6.0). All three
#   libraries read such files of 8 bits, tifffile writes them, and the same pixels side by side
#   (1) are right.
# Seen: OpenCV, 16 and 32 bits and floats, IMREAD_UNCHANGED: three neighbours of the red plane become one pixel's red,
#   green and blue, whatever the compression. IMREAD_COLOR is right. Pillow, 16 bits without compression: the low and
#   the high bytes of a channel come in turn as pixels; with deflate it is right (in the 8 bits that it has). libvips,
#   16-bit floats: only the first row is right. No error, no warning.
# Versions: OpenCV 5.0.0, Pillow 13.0.0, libvips 8.18.7 (pyvips-binary 8.18.7); files by tifffile 2026.3.3 with
#   imagecodecs 2026.3.6, which also reads them back.
# Consequence: pictures of microscopes, satellites and scientific cameras, often written in planes, have the right
#   shape and type and wrong contents.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 tifffile==2026.3.3 imagecodecs==2026.3.6 \
    opencv-python-headless==5.0.0.93 pyvips==3.2.0 pyvips-binary==8.18.7 pillow==13.0.0
cd "$work"
export OPENCV_LOG_LEVEL=SILENT
"$work/venv/bin/python" - <<'PY'
import cv2, numpy as np, PIL, pyvips, tifffile
from PIL import Image

libvips_version = ".".join(str(pyvips.version(i)) for i in range(3))
print("OpenCV", cv2.__version__, "Pillow", PIL.__version__, "libvips", libvips_version)
y, x = np.mgrid[:40, :56]
share = np.stack([x / 56, y / 40, (x + y) / 96], -1)
TYPES = {"uint8": 250, "uint16": 60000, "int32": 10**9, "float16": 1, "float32": 1}


def opencv(path):
    read = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    return None if read is None else read[..., ::-1]


def pillow(path):
    try:
        return np.asarray(Image.open(path))
    except PIL.UnidentifiedImageError:
        return None


def libvips(path):
    return pyvips.Image.new_from_file(path).numpy()


wrong = set()
for name, peak in TYPES.items():
    picture = (share * peak).astype(name)
    for compression in (None, "zlib"):
        seen = {}
        for planes in (False, True):
            path = f"{name}-{compression}-{planes}.tif"
            samples = np.moveaxis(picture, -1, 0) if planes else picture
            tifffile.imwrite(path, samples, photometric="rgb", compression=compression,
                             planarconfig="separate" if planes else "contig")
            assert np.array_equal(tifffile.imread(path), samples)
            for library in (opencv, pillow, libvips):
                read = library(path)
                if read is None:
                    continue
                expected = picture >> 8 if library is pillow and name == "uint16" else picture
                right = (read == expected).mean() if read.shape == picture.shape else 0
                seen[library.__name__, planes] = right
        for library in (opencv, pillow, libvips):
            beside, apart = (seen.get((library.__name__, planes)) for planes in (False, True))
            if beside is None:
                print(f"{name}, {compression}: {library.__name__} refuses it")
                assert apart is None, "changed"
                continue
            print(f"{name}, {compression}: {library.__name__} {beside:.0%} of samples right side by side, in planes",
                  "refused" if apart is None else f"{apart:.0%}")
            assert beside == 1, "changed: side by side"
            if apart is not None and apart < 0.9:
                wrong.add((library.__name__, name, compression))
expected = {("opencv", name, compression) for name in ("uint16", "int32", "float32") for compression in (None, "zlib")}
expected |= {("pillow", "uint16", None), ("libvips", "float16", None), ("libvips", "float16", "zlib")}
assert wrong == expected, f"changed: {wrong ^ expected}"

red = (share[0, :, 0] * 60000).astype("uint16")
read = opencv("uint16-None-True.tif")
print("red begins", red[:6], "OpenCV's first two pixels", read[0, :2].tolist())
assert np.array_equal(read[0, :18].ravel(), red[:54]), "changed: OpenCV's order"
assert (abs(cv2.imread("uint16-None-True.tif")[..., ::-1] - share * 60000 / 257) < 1.5).all(), "changed: IMREAD_COLOR"
read = pillow("uint16-None-True.tif")
print("Pillow's first red values", read[0, :6, 0], "their bytes", red[:3].view(np.uint8))
assert np.array_equal(read[0, :, 0], red.view(np.uint8)[:56]), "changed: Pillow's order"
print("as described")
PY
