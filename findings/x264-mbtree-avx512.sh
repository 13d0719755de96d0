#!/usr/bin/env bash
# x264 in PyAV's wheel gives other bytes each time for the same pictures, on processors with AVX-512.
#
# Expected: with one thread x264 is deterministic: the same frames and options give the same bytes, as
#   they do with asm=avx2, with asm=0, and without mbtree (the rate control that looks ahead, on in the
#   presets from veryfast to placebo).
# Seen: within one process 12 encodings of 40 frames of 176x144 give 2 to 12 different streams; all of
#   them decode, and look alike. Sizes such as 320x180 and 320x240 give several or one, as what the
#   process did before has it; widths of 128 and 640 gave one. Without mbtree, or with asm=avx2 or none,
#   all are equal: so it seems to be mbtree's code for AVX-512 (it reads what was not written, a guess).
# Versions: PyAV 18.1.0 (libavcodec 62.28.102, its wheel for Linux, x86-64). Debian 12's x264 (0.164)
#   gives equal bytes in 8 processes.
# Consequence: files cannot be compared by their hash, caches by content miss, and a film that is
#   encoded in parts differs from one that is encoded at once. x264-params "mbtree=0" or "asm=avx2"
#   makes it repeatable.
set -eu
grep -qw avx512bw /proc/cpuinfo || { echo "this processor has no AVX-512: nothing to see"; exit 2; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
"$work/venv/bin/python" - <<'PY'
import hashlib, io
import av, numpy as np

print("PyAV", av.__version__, "libavcodec", ".".join(map(str, av.library_versions["libavcodec"])))


def frames(height, width, count=40):
    y, x = np.mgrid[:height, :width]
    random = np.random.default_rng(0)
    for t in range(count):
        wave = np.stack([127 * (1 + np.sin((x + 2 * t) / 9 + y / 7 + k)) for k in range(3)], -1)
        yield (wave + random.normal(0, 8, wave.shape)).clip(0, 255).astype(np.uint8)


def encode(pictures, params):
    stream = io.BytesIO()
    with av.open(stream, "w", format="h264") as film:
        options = {"preset": "medium", "crf": "20", "x264-params": f"threads=1:{params}"}
        height, width = pictures[0].shape[:2]
        video = film.add_stream("libx264", 25, options, width=width, height=height)
        video.pix_fmt = "yuv420p"
        video.codec_context.thread_count = 1
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            film.mux(video.encode(frame))
        film.mux(video.encode())
    return hashlib.sha256(stream.getvalue()).hexdigest()


def streams(height, width, params, runs=12):
    pictures = list(frames(height, width))
    found = len({encode(pictures, params) for _ in range(runs)})
    print(f"{width}x{height}, {params}: {found} different streams of {runs}", flush=True)
    return found


assert streams(144, 176, "mbtree=1") > 1, "changed: repeatable"
for params in ("mbtree=0", "asm=avx2", "asm=0"):
    assert streams(144, 176, params) == 1, "changed: not repeatable"
print("as described")
PY
