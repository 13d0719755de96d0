#!/usr/bin/env bash
# Pillow saves a 16-bit grey picture as white into WebP, AVIF and GIF.
#
# Expected: these formats have no 16 bits of grey, so an error, as Pillow raises for JPEG, BMP, TGA and PDF ("cannot
#   write mode I;16 as JPEG"); or the high byte, as it gives for a 16-bit colour PNG that it reads. PNG, TIFF, JPEG
#   2000 and PPM keep 16 bits.
# Seen: everything above level 255, 99.6 % of the range, is white, without an error or a warning, lossless=True
#   included. Mode I, what Pillow gives for a 16-bit grey PGM, does so too; a picture of floats from 0 to 1 becomes
#   black or level 1.
# Versions: Pillow 13.0.0 with libwebp and libavif of its wheel.
# Consequence: a folder of 16-bit pictures turned into small files by `Image.open(a).save(b)` is lost, and each file
#   has the right size.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 pillow==13.0.0
"$work/venv/bin/python" - <<'PY'
import io
import numpy as np, PIL
from PIL import Image

print("Pillow", PIL.__version__)
levels = np.linspace(0, 65535, 128 * 128).astype(np.uint16).reshape(128, 128)
OPTIONS = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}


def saved(picture, kind):
    """Returns the grey levels that come back, None where saving raises."""
    file = io.BytesIO()
    try:
        picture.save(file, kind, **OPTIONS.get(kind, {}))
    except OSError as error:
        print(f"{picture.mode} as {kind}: {error}")
        return None
    with Image.open(file) as read:
        return np.asarray(read.convert("L") if read.mode in ("RGB", "P") else read)


def white(read):
    return f"{(read >= 254).mean():.1%} white"


# A file as another program leaves it: 16-bit PNG and PGM, opened and saved again.
png = io.BytesIO()
Image.fromarray(levels).save(png, "PNG")
pgm = io.BytesIO(b"P5\n128 128\n65535\n" + levels.astype(">u2").tobytes())
for source, mode in ((png, "I;16"), (pgm, "I")):
    picture = Image.open(source)
    assert picture.mode == mode and np.array_equal(np.asarray(picture), levels), "changed: reading"
    for kind in ("WEBP", "AVIF", "GIF"):
        read = saved(picture, kind)
        print(f"{mode} as {kind}: {read.dtype}, {white(read)}, the original {(levels >= 254 * 257).mean():.1%}")
        assert read.shape == levels.shape and (read >= 254).mean() > 0.99, "changed"
    for kind in ("JPEG", "BMP", "TGA"):
        assert saved(picture, kind) is None, "changed: errors"
for kind in ("PNG", "TIFF", "JPEG2000", "PPM"):
    assert np.array_equal(saved(Image.fromarray(levels), kind), levels), "changed: what keeps 16 bits"
for kind in ("WEBP", "AVIF", "GIF"):
    read = saved(Image.fromarray(levels.astype(np.float32) / 65535), kind)
    print(f"F from 0 to 1 as {kind}: levels up to {read.max()}")
    assert read.max() <= 1, "changed: floats"
print("as described")
PY
