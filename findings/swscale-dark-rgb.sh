#!/usr/bin/env bash
# swscale turns 8-bit YUV into RGB that is a level too dark on average, unless two flags are given.
#
# Expected: limited-range BT.601 values rounded to the nearest of 256 levels: errors within half a level,
#   none on average. SWS_ACCURATE_RND is described as "accurate rounding".
# Seen: frame.to_ndarray(format="rgb24") of yuv420p, and so `ffmpeg -pix_fmt rgb24`, is 1.1 levels too
#   dark on average over colours, 1.5 in green, up to 2.8; greys are cut off, not rounded (97 for 97.8).
#   accurate_rnd alone does not mend it (1.5), nor does full_chroma_int; both together do: within 0.5.
# Versions: PyAV 18.1.0 (libswscale of FFmpeg 8), on x86-64.
# Consequence: a bias of 1.15 levels costs 0.8 dB at 40 dB and 0.1 dB at 30 dB of a decoded film against
#   its source, and a network trained on decoded frames learns darker pictures than it is shown later.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
"$work/venv/bin/python" - <<'PY'
import av, numpy as np
from av.video.reformatter import VideoReformatter

print("PyAV", av.__version__, "libswscale", ".".join(map(str, av.library_versions["libswscale"])))
BICUBIC, FULL_CHROMA_INT, ACCURATE_RND = 0x4, 0x2000, 0x40000
SETTINGS = {
    "to_ndarray": None,
    "accurate_rnd": BICUBIC | ACCURATE_RND,
    "full_chroma_int": BICUBIC | FULL_CHROMA_INT,
    "both": BICUBIC | FULL_CHROMA_INT | ACCURATE_RND,
}


def uniform(values):
    frame = av.VideoFrame(32, 32, "yuv420p")
    for plane, value in zip(frame.planes, values):
        plane.update(np.full(plane.buffer_size, value, np.uint8).tobytes())
    return frame


def wanted(y, u, v):
    y, b, r = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    return 255 * np.array([y + 1.402 * r, y - (0.114 * 1.772 * b + 0.299 * 1.402 * r) / 0.587, y + 1.772 * b])


random = np.random.default_rng(0)
colours = [c for c in random.integers((16, 16, 16), (236, 241, 241), (2000, 3)).tolist()
           if 3 < wanted(*c).min() and wanted(*c).max() < 252]
mean = {}
for name, flags in SETTINGS.items():
    errors = []
    for colour in colours:
        frame = uniform(colour)
        rgb = frame if flags is None else VideoReformatter().reformat(frame, format="rgb24", interpolation=flags)
        errors.append(rgb.to_ndarray(format="rgb24")[16, 16] - wanted(*colour))
    errors = np.array(errors)
    mean[name] = errors.mean()
    red, green, blue = errors.mean(0)
    print(f"{name:16} {len(colours)} colours: mean {errors.mean():+.2f} (red {red:+.2f}, green {green:+.2f}, "
          f"blue {blue:+.2f}), from {errors.min():+.2f} to {errors.max():+.2f} levels")
greys = {y: (255 * (y - 16) / 219, int(uniform((y, 128, 128)).to_ndarray(format="rgb24")[16, 16, 0])) for y in (50, 100, 180)}
print("greys:", ", ".join(f"luma {y}: {exact:.1f} becomes {seen}" for y, (exact, seen) in greys.items()))
assert mean["to_ndarray"] < -0.9, "changed: no longer dark"
assert mean["accurate_rnd"] < -0.9 and mean["full_chroma_int"] < -0.9, "changed: one flag mends it"
assert abs(mean["both"]) < 0.05, "changed: both do not"
print("as described")
PY
