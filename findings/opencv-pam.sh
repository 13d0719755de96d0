#!/usr/bin/env bash
# OpenCV exchanges red and blue in PAM files, and takes a pixel of a bilevel one for eight.
#
# Expected: cv2.imread gives blue, green, red (its documentation: "In the case of color images, the decoded images will
#   have the channels stored in B G R order"), as it does for the same pixels in a PPM. In a PAM, TUPLTYPE RGB means
#   red, green, blue, and in BLACKANDWHITE each pixel is a byte, 1 for white (Netpbm's definition of the format).
#   FFmpeg reads both so.
# Seen: RGB comes as red, green, blue, by IMREAD_COLOR as by IMREAD_COLOR_RGB. BLACKANDWHITE is read as eight pixels a
#   byte, as PBM is. imwrite puts blue first under TUPLTYPE RGB.
# Versions: OpenCV 5.0.0, against FFmpeg in PyAV 18.1.0.
# Consequence: OpenCV reads back what it wrote, so its users notice only in the next program.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 av==18.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import av, cv2, numpy as np

print("OpenCV", cv2.__version__, "PyAV", av.__version__)


def write_pam(path, samples, kind, peak):
    height, width, depth = samples.shape
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {peak}\nTUPLTYPE {kind}\nENDHDR\n"
    with open(path, "wb") as file:
        file.write(head.encode() + samples.tobytes())


def ffmpeg(path, pixels):
    with av.open(path) as file:
        return next(file.decode(video=0)).to_ndarray(format=pixels)


random = np.random.default_rng(0)
rgb = random.integers(0, 256, (16, 24, 3), dtype=np.uint8)
write_pam("colour.pam", rgb, "RGB", 255)
with open("colour.ppm", "wb") as file:
    file.write(b"P6\n24 16\n255\n" + rgb.tobytes())
assert np.array_equal(ffmpeg("colour.pam", "rgb24"), rgb), "changed: FFmpeg"
assert np.array_equal(cv2.imread("colour.ppm"), rgb[..., ::-1]), "changed: PPM"
for name in ("IMREAD_COLOR", "IMREAD_UNCHANGED", "IMREAD_COLOR_RGB"):
    read = cv2.imread("colour.pam", getattr(cv2, name))
    print(f"red, green, blue {rgb[0, 0]}: {name} {read[0, 0]}")
    assert np.array_equal(read, rgb), "changed: RGB"

bits = random.integers(0, 2, (16, 24, 1), dtype=np.uint8)
write_pam("bits.pam", bits, "BLACKANDWHITE", 1)
assert np.array_equal(ffmpeg("bits.pam", "gray"), bits[..., 0] * 255), "changed: FFmpeg"
read = cv2.imread("bits.pam", cv2.IMREAD_UNCHANGED)
print(f"BLACKANDWHITE: {bits[0, :8, 0]} is {read[0, :8]}")
assert np.array_equal(read, np.unpackbits(bits[..., 0], axis=1)[:, :24] * 255), "changed: BLACKANDWHITE"

cv2.imwrite("written.pam", rgb[..., ::-1], [cv2.IMWRITE_PAM_TUPLETYPE, cv2.IMWRITE_PAM_FORMAT_RGB])
assert b"TUPLTYPE RGB\n" in open("written.pam", "rb").read(100), "changed: the header"
read = ffmpeg("written.pam", "rgb24")
print(f"written by OpenCV: {rgb[0, 0]} is {read[0, 0]} in FFmpeg")
assert np.array_equal(read, rgb[..., ::-1]), "changed: imwrite"
print("as described")
PY
