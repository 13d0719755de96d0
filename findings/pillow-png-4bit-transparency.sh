#!/usr/bin/env bash
# Pillow makes the wrong pixels of a 4-bit grey PNG transparent, or none at all.
#
# Expected: tRNS of a grey PNG names one level in the file's own bit depth (PNG, section 11.3.2.1), and
#   exactly the pixels of that level are transparent. libpng (imagecodecs) and pypng do so at every depth.
# Seen: Pillow scales 2- and 4-bit samples to 8 bits and compares them with the level as it stands in the
#   file. Only level 0 is then right; at 4 bits a level from 1 to 15 gives an opaque picture. No warning.
# Versions: Pillow 13.0.0, against imagecodecs 2026.3.6 (libpng) and pypng 0.20220715.0.
# Consequence: a sprite or a scan with a transparent background is opaque for whatever Pillow reads for:
#   a training set, a thumbnail, a model's input.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 imagecodecs==2026.3.6 \
    pypng==0.20220715.0
"$work/venv/bin/python" - <<'PY'
import io, struct, zlib
import imagecodecs, numpy as np, png
from PIL import Image

def chunk(kind, data):
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

def grey_png(levels, bits, key):
    rows = b""
    for row in levels:
        text = "".join(f"{int(v):0{bits}b}" for v in row)
        text += "0" * (-len(text) % 8)
        rows += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    head = struct.pack(">LLBBBBB", levels.shape[1], levels.shape[0], bits, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", key))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))

wrong = {}
for bits in (1, 2, 4, 8):
    levels = np.arange(1 << bits).reshape(1, -1) if bits < 8 else np.arange(256).reshape(4, 64)
    wrong[bits] = 0
    for key in range(1 << bits):
        content = grey_png(levels, bits, key)
        right = levels == key
        libpng = imagecodecs.png_decode(content)[..., 1] == 0
        rows = png.Reader(bytes=content).asRGBA8()[2]
        pypng = np.array([list(row) for row in rows]).reshape(*levels.shape, 4)[..., 3] == 0
        pillow = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))[..., 3] == 0
        assert np.array_equal(libpng, right) and np.array_equal(pypng, right), "changed: the others"
        wrong[bits] += not np.array_equal(pillow, right)
    print(f"{bits} bits: Pillow is wrong for {wrong[bits]} of {1 << bits} transparent levels")
assert wrong[8] == 0 and wrong[4] == 15, "changed: Pillow"
print("as described")
PY
