#!/usr/bin/env bash
# OpenCV scales a plain PGM or PPM to its maximum, and a binary one of the same pixels not.
#
# Expected: one reading of both: the two forms hold the same picture, whose white is Maxval (Netpbm's definition of
#   PGM and PPM). Pillow scales both so that white stays white, FFmpeg the binary ones, which it reads.
# Seen: up to a Maxval of 255, cv2.imread multiplies the samples of P2 and P3 by 255 / Maxval and leaves those of P5
#   and P6 as they are, by IMREAD_COLOR as by IMREAD_UNCHANGED. Above 255 it scales neither, and IMREAD_COLOR divides
#   by 256 whatever Maxval is: 10 bits come out nearly black.
# Versions: OpenCV 5.0.0, against Pillow 13.0.0 and FFmpeg in PyAV 18.1.0.
# Consequence: frames of 10 and 12 bits, which cameras save as binary PGM, are dark; label maps change their
#   numbers once somebody saves them as text.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 \
    pillow==13.0.0 av==18.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import av, cv2, numpy as np, PIL
from PIL import Image

print("OpenCV", cv2.__version__, "Pillow", PIL.__version__, "PyAV", av.__version__)


def write(path, form, peak):
    """Writes a ramp of grey from 0 to `peak`."""
    ramp = np.linspace(0, peak, 32 * 48).round().astype(int).reshape(32, 48)
    samples = np.repeat(ramp[..., None], 3, 2) if form in ("P3", "P6") else ramp
    with open(path, "wb") as file:
        file.write(f"{form}\n48 32\n{peak}\n".encode())
        if form in ("P2", "P3"):
            file.write("\n".join(" ".join(map(str, row.ravel())) for row in samples).encode() + b"\n")
        else:
            file.write(samples.astype(">u2" if peak > 255 else np.uint8).tobytes())
    return ramp


def ffmpeg(path):
    with av.open(path) as file:
        return int(next(file.decode(video=0)).to_ndarray(format="rgb24").max())


for peak in (15, 100, 1023, 4095):
    for form in ("P2", "P5", "P3", "P6"):
        ramp = write("ramp.pnm", form, peak)
        whole = cv2.imread("ramp.pnm", cv2.IMREAD_UNCHANGED)
        whole = whole[..., 0] if whole.ndim == 3 else whole
        colour = int(cv2.imread("ramp.pnm", cv2.IMREAD_COLOR).max())
        pillow = np.asarray(Image.open("ramp.pnm"))
        white = pillow.max() / (65535 if pillow.dtype.itemsize > 1 else 255)
        print(f"Maxval {peak}, {form}: white of OpenCV {whole.max()} as it is, {colour} of 255 in colour; "
              f"Pillow {white:.0%}" + (f", FFmpeg {ffmpeg('ramp.pnm')} of 255" if form in ("P5", "P6") else ""))
        assert white == 1, "changed: Pillow"
        if form in ("P5", "P6"):
            assert ffmpeg("ramp.pnm") > 250, "changed: FFmpeg"
        scaled = form in ("P2", "P3") and peak < 256
        assert np.array_equal(whole, ramp * 255 // peak if scaled else ramp), "changed: as it is"
        assert colour == (255 if scaled else peak if peak < 256 else peak // 256), "changed: in colour"
print("as described")
PY
