#!/usr/bin/env bash
# PyAV writes no shape of pixels into Matroska and WebM, and into no container when it copies packets.
#
# Expected: a stream whose sample_aspect_ratio is 16:15 is 16:15 in the file: FFmpeg's program writes
#   DisplayWidth and DisplayHeight for it (RFC 9559), in both containers.
# Seen: set on the stream or on its codec context, it reaches MP4 and AVI, and of Matroska only what the
#   codec's own bytes say (H.264); VP9, VP8 and FFV1 have square pixels there, and in WebM. VP9 that
#   add_stream_from_template copies out of an MP4 that has the shape has lost it, in MP4 too. No error,
#   no warning.
# Versions: PyAV 18.1.0.
# Consequence: a digitised tape (720x576, 16:15 or 64:45) becomes narrower or wider when it is encoded
#   or copied into WebM.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
from fractions import Fraction
import av, numpy as np

print("PyAV", av.__version__)
SHAPE = Fraction(16, 15)


def write(path, codec, on):
    with av.open(path, "w") as film:
        stream = film.add_stream(codec, 25, width=180, height=144)
        stream.pix_fmt = "yuv420p"
        setattr(stream if on == "stream" else stream.codec_context, "sample_aspect_ratio", SHAPE)
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((144, 180, 3), 60 * number, np.uint8), format="rgb24")
            frame.pts = number
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def shape(path):
    with av.open(path) as film:
        return film.streams.video[0].sample_aspect_ratio or Fraction(1)


kept = {}
for path, codec in (("a.mp4", "libx264"), ("b.mp4", "libvpx-vp9"), ("c.avi", "mpeg4"), ("d.mkv", "libx264"),
                    ("e.mkv", "libvpx-vp9"), ("f.mkv", "ffv1"), ("g.webm", "libvpx-vp9"), ("h.webm", "libvpx")):
    for on in ("codec context", "stream"):
        write(path, codec, on)
        kept.setdefault(path, set()).add(shape(path))
    print(f"{path} {codec}, 16:15 on the codec context and on the stream: {', '.join(map(str, kept[path]))}")


# Packets of VP9 out of the MP4 that has the shape, copied as they are.
for target in ("copy.mp4", "copy.mkv", "copy.webm"):
    with av.open("b.mp4") as source, av.open(target, "w") as film:
        stream = film.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                film.mux(packet)
    kept[target] = {shape(target)}
    print(f"b.mp4 copied into {target}: {shape(target)}")
for path in ("a.mp4", "b.mp4", "c.avi", "d.mkv"):
    assert kept[path] == {SHAPE}, f"changed: {path}"
for path in ("e.mkv", "f.mkv", "g.webm", "h.webm", "copy.mp4", "copy.mkv", "copy.webm"):
    assert kept[path] == {Fraction(1)}, f"changed: {path} has its shape"
print("as described")
PY
