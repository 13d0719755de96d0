#!/usr/bin/env bash
# decord hands out other frames than were asked for, of HEVC as x265 writes it, and of transport streams.
#
# Expected: reader[i] is frame i: it goes by seek_accurate, which "guarantees accurate position" (its docstring). It is
#   so where one reads all from the beginning. OpenCV's set(CAP_PROP_POS_FRAMES) gets every frame of the MP4 and
#   Matroska files right, and PyAV, decoding from the beginning, all of the five.
# Seen: each reader is new and asked for one frame. HEVC with open groups of pictures, x265's default: the frames
#   around each later key frame come four late from MP4, and eight or more early from Matroska. Closed groups and
#   H.264 are right. Of H.264 with B-frames in a transport stream none of 40 is right, nor in order. No error.
# Versions: decord 0.6.0, against PyAV 18.1.0 and OpenCV 5.0.0; x265 in PyAV's wheel writes the films.
# Consequence: frames sampled for training go with the labels of other moments, and a metric between two files
#   of the same film compares different pictures.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 decord==0.6.0 av==18.1.0 \
    opencv-python-headless==5.0.0.93
cd "$work"
"$work/venv/bin/python" - 2>"$work/messages" <<'PY' || { tail -5 "$work/messages" >&2; exit 1; }
import av, cv2, decord, numpy as np

print("decord", decord.__version__, "PyAV", av.__version__, "OpenCV", cv2.__version__)
count = 40


def write(path, codec, **options):
    """Writes a film whose frame i has a bright bar in the columns 3 i to 3 i + 2."""
    with av.open(path, "w") as film:
        stream = film.add_stream(codec, 25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.gop_size = 12
        for number in range(count):
            picture = np.full((96, 128, 3), 60, np.uint8)
            picture[:, 3 * number : 3 * number + 3] = 220
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        film.mux(stream.encode())


def number(picture):
    """Returns which frame a picture is, by its bar."""
    columns = np.asarray(picture).astype(float).mean((0, 2))
    return int(columns[: 3 * count].reshape(count, 3).sum(1).argmax())


def by_opencv(path, wanted):
    film = cv2.VideoCapture(path)
    film.set(cv2.CAP_PROP_POS_FRAMES, wanted)
    return number(film.read()[1])


right = list(range(count))
for path, codec, options, least in (
    ("open.mp4", "libx265", {}, 8), ("open.mkv", "libx265", {}, 8),
    ("closed.mp4", "libx265", {"x265-params": "open-gop=0"}, 0), ("avc.mp4", "libx264", {}, 0),
    ("avc.ts", "libx264", {}, count),
):
    write(path, codec, **options)
    with av.open(path) as film:
        assert [number(frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)] == right, "changed: PyAV"
    if not path.endswith(".ts"):
        assert [by_opencv(path, wanted) for wanted in right] == right, "changed: OpenCV"
    assert len(decord.VideoReader(path)) == count, "changed: the count"
    seen = [number(decord.VideoReader(path)[wanted].asnumpy()) for wanted in right]
    reader = decord.VideoReader(path)
    in_order = [number(reader[wanted].asnumpy()) for wanted in right]
    wrong = {wanted: got for wanted, got in zip(right, seen) if wanted != got}
    print(f"{path}: {len(wrong)} of {count} wrong", *(f"{a}->{b}" for a, b in list(wrong.items())[:8]),
          f"| from the beginning {sum(a != b for a, b in zip(right, in_order))} wrong")
    assert len(wrong) >= least if least else not wrong, "changed: decord"
    assert (in_order == right) == (not path.endswith(".ts")), "changed: from the beginning"
print("as described")
PY
