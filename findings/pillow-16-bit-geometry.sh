#!/usr/bin/env bash
# Pillow turns 16-bit grey into bytes where it rotates or warps with interpolation, and where it pastes a colour.
#
# Expected: the documentation of modes says that I;16 has limited support; what it has not raises "image has wrong
#   mode". resize, crop, flips and rotate by the nearest pixel are right. The same picture in mode I or F is right
#   here.
# Seen: rotate and transform (affine, perspective, quad, extent) by BILINEAR or BICUBIC give numbers below 256 out of
#   a picture that reaches 63000, those of single bytes. paste(12345, box) writes 14649: the high byte twice.
#   ImageStat, which counts 256 levels, says that the mean is 110. No error, no warning.
# Versions: Pillow 13.0.0; modes I and F, and SciPy 1.17.1, for comparison.
# Consequence: 16-bit depth maps, X-ray and microscope pictures are destroyed by the usual augmentation, and a
#   normalised result still looks like a textured picture.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 pillow==13.0.0 scipy==1.17.1
"$work/venv/bin/python" - <<'PY'
import numpy as np, PIL, scipy.ndimage
from PIL import Image, ImageStat

print("Pillow", PIL.__version__)
y, x = np.mgrid[:64, :64]
levels = ((x + y) * 500 + 257).astype(np.uint16)
modes = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
pictures = {mode: Image.fromarray(levels.astype(kind)) for mode, kind in modes.items()}
assert all(picture.mode == mode for mode, picture in pictures.items())
NEAREST, BILINEAR, BICUBIC = (getattr(Image.Resampling, name) for name in ("NEAREST", "BILINEAR", "BICUBIC"))
KINDS = {
    "affine": (Image.Transform.AFFINE, (1, 0, 0.25, 0, 1, 0.25)),
    "perspective": (Image.Transform.PERSPECTIVE, (1, 0, 0.25, 0, 1, 0.25, 0, 0)),
    "quad": (Image.Transform.QUAD, (0.25, 0.25, 0.25, 64.25, 64.25, 64.25, 64.25, 0.25)),
    "extent": (Image.Transform.EXTENT, (0.25, 0.25, 64.25, 64.25)),
}


def both(picture, change, resample):
    """Returns the inner part of the changed picture, where no border is in reach."""
    if change == "rotate":
        changed = picture.rotate(7, resample)
    elif change == "resize":
        changed = picture.resize((64, 64), resample, (0.25, 0.25, 63.75, 63.75))
    else:
        changed = picture.transform((64, 64), *KINDS[change], resample)
    return np.asarray(changed).astype(float)[16:48, 16:48]


reference = scipy.ndimage.shift(levels.astype(float), (-0.25, -0.25), order=1)[16:48, 16:48]
assert abs(both(pictures["F"], "affine", BILINEAR) - reference).max() < 1, "the reference is another one"
for change in ("resize", "rotate", *KINDS):
    for resample in (NEAREST, BILINEAR, BICUBIC):
        real = both(pictures["F"], change, resample)
        whole, half = (both(pictures[mode], change, resample) for mode in ("I", "I;16"))
        print(f"{change} {resample.name.lower()}: F {real.min():.0f} to {real.max():.0f}, "
              f"I;16 {half.min():.0f} to {half.max():.0f}, off by {abs(half - real).max():.0f}, "
              f"I by {abs(whole - real).max():.0f}")
        if resample == NEAREST:
            assert np.isin(half, levels).all() and abs(half - real).max() <= 1000, "changed: nearest"
            continue
        assert abs(whole - real).max() <= 1, "changed: I"
        if change == "resize":
            assert abs(half - real).max() <= 1, "changed: resize"
        else:
            assert half.max() < 256 < real.min(), "changed"

for mode, picture in pictures.items():
    pasted = picture.copy()
    pasted.paste(12345, (0, 0, 8, 8))
    filled = Image.new(mode, (8, 8), 12345)
    print(f"{mode}: paste(12345) gives {pasted.getpixel((0, 0)):.0f}, new(..., 12345) {filled.getpixel((0, 0)):.0f}")
    assert filled.getpixel((0, 0)) == 12345, "changed: new"
    assert pasted.getpixel((0, 0)) == (0x3939 if mode == "I;16" else 12345), "changed: paste"
mean = ImageStat.Stat(pictures["I;16"]).mean[0]
print(f"mean {levels.mean():.0f}: ImageStat {mean:.0f}")
assert mean < 256, "changed: ImageStat"
print("as described")
PY
