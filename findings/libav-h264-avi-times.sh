#!/usr/bin/env bash
# FFmpeg's demuxer of AVI gives frames of H.264 one frame too late, and with B-frames in the order of decoding.
#
# Expected: AVI has no time stamps, the n-th frame is shown at n / rate; frames that are decoded carry times that
#   grow, as those of MPEG-4 part 2, Motion JPEG and FFV1 do from the same container.
# Seen: a film of H.264 without B-frames (its stream says so: has_b_frames is 0) begins at 1/25 s instead of 0. With
#   two B-frames each packet's pts is its dts + 1, though frames are decoded in another order: they come out of the
#   decoder with times such as 1, 3, 4, 2, 6, 7, 5. No error, no warning.
# Versions: libavformat 62.12 in PyAV 18.1.0.
# Consequence: who copies or encodes such a film by its times is a frame behind its sound, and has frames in a wrong
#   order or refused by the muxer.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import av, numpy as np

print("PyAV", av.__version__, "libavformat", ".".join(map(str, av.library_versions["libavformat"])))


def times(codec, b_frames):
    """Returns the times of the frames as they are decoded, and whether the stream says that it has B-frames."""
    with av.open("x.avi", "w") as film:
        always = {"bf": str(b_frames), "x264-params": "b-adapt=0:scenecut=0"}
        options = always if codec == "libx264" else {}
        stream = film.add_stream(codec, 25, options, width=64, height=48)
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(12):
            columns = (np.arange(64) + number) * 4 % 256
            pixels = np.broadcast_to(columns[None, :, None].astype(np.uint8), (48, 64, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = number
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    with av.open("x.avi") as film:
        found = [frame.pts for frame in film.decode(video=0)]
        return found, bool(film.streams.video[0].codec_context.has_b_frames)


seen = {}
for codec, b_frames in (("mpeg4", 0), ("mjpeg", 0), ("ffv1", 0), ("libx264", 0), ("libx264", 2)):
    seen[codec, b_frames], says = times(codec, b_frames)
    print(f"{codec}, {b_frames} B-frames (has_b_frames {says}): {seen[codec, b_frames]}")
for codec in ("mpeg4", "mjpeg", "ffv1"):
    assert seen[codec, 0] == list(range(12)), f"changed: {codec}"
assert seen["libx264", 0] == list(range(1, 13)), "changed: H.264 without B-frames begins at 0"
assert seen["libx264", 2] != sorted(seen["libx264", 2]), "changed: times grow"
print("as described")
PY
