#!/usr/bin/env bash
# swscale's white of a limited-range film is 65283 in 16 bits, not 65535.
#
# Expected: white of limited range (940 of 10 bits, 60160 of 16) is the largest value of rgb48: 65535,
#   as 235 of 8 bits is 255 in rgb24, and as full range gives.
# Seen: 65283, that is 255 * 256 + 3, from 10 and 16 bits, by default and with accurate_rnd,
#   full_chroma_int and full_chroma_inp; 8 bits give 65021 by default. The scale is 0.4 % too small at
#   every level; black is 0.
# Versions: PyAV 18.1.0 (libswscale of FFmpeg 8), on x86-64.
# Consequence: 16-bit frames that are divided by 65535 have a white of 0.996; a comparison with the 8-bit
#   path, or with another decoder, differs by up to a level of 255.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
"$work/venv/bin/python" - <<'PY'
import av, numpy as np
from av.video.reformatter import VideoReformatter

print("PyAV", av.__version__, "libswscale", ".".join(map(str, av.library_versions["libswscale"])))
EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000


def grey(name, bits, share, full):
    """A frame of a grey: `share` of the way from black to white."""
    unit = 2 ** (bits - 8)
    luma = round(share * (2**bits - 1)) if full else round((16 + 219 * share) * unit)
    frame, dtype = av.VideoFrame(32, 32, name), np.dtype("<u2" if bits > 8 else np.uint8)
    for plane, value in zip(frame.planes, (luma, 128 * unit, 128 * unit)):
        plane.update(np.full(plane.buffer_size // dtype.itemsize, value, dtype).tobytes())
    return frame


def through(frame, full, **options):
    # 1 is limited range and 2 is full.
    return VideoReformatter().reformat(
        frame, format="rgb48le", src_color_range=2 if full else 1, dst_color_range=2, **options)


seen = {}
for name, bits in (("yuv420p", 8), ("yuv420p10le", 10), ("yuv444p10le", 10), ("yuv444p16le", 16)):
    for full in (False, True):
        for share in (0.0, 0.5, 1.0):
            frame = grey(name, bits, share, full)
            seen[name, full, share] = [int(through(frame, full, **options).to_ndarray()[16, 16, 0])
                                       for options in ({}, {"interpolation": EXACT})]
        values = "; ".join(f"{seen[name, full, share][0]} and {seen[name, full, share][1]}" for share in (0.0, 0.5, 1.0))
        print(f"{name:12} {'full' if full else 'limited':8} black, middle, white, by default and exact: {values}")
for name in ("yuv420p10le", "yuv444p10le", "yuv444p16le"):
    assert seen[name, False, 1.0] == [65283, 65283], "changed"
    assert seen[name, False, 0.0] == [0, 0], "changed"
print("as described")
PY
