#!/usr/bin/env bash
# A PyAV frame whose side data was looked at lives until Python's garbage collector runs.
#
# Expected: a decoded frame's memory is free when the last variable that held it is, as that of a
#   frame of which only the planes or the time were read: a loop over a film takes as much memory
#   as a few frames, whatever its length.
# Seen: `frame.side_data`, even where it is empty, makes a container that holds the frame, which
#   holds the container. Reference counting frees neither. A film of 1280x720 that is decoded with
#   one look at it for each frame grows by a frame, 1.4 MB, each time, until the collector
#   runs, which few allocations make it do: here it is off, to show it.
# Versions: PyAV 18.1.0.
# Consequence: hundreds of megabytes at 1920x1080, without a leak that a tool would name. A copy by
#   `frame.reformat(16, 16)` carries the side data too, and may be looked at instead.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$work"
cat > look.py <<'PY'
import gc, resource, sys
import av

gc.disable()
with av.open("film.mp4") as film:
    for frame in film.decode(video=0):
        if sys.argv[1] == "side_data":
            assert len(frame.side_data) == 0
        elif sys.argv[1] == "copy":
            assert len(frame.reformat(16, 16, "gray").side_data) == 0
        else:
            assert frame.planes and frame.pts is not None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(before // 1024, gc.collect())
PY
"$work/venv/bin/python" - <<'PY'
import subprocess, sys
import av, numpy as np

print("PyAV", av.__version__)
frames = 150
with av.open("film.mp4", "w") as film:
    stream = film.add_stream("mpeg4", 25)
    stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
    for number in range(frames):
        picture = np.full((720, 1280, 3), 8 * (number % 30), np.uint8)
        for packet in stream.encode(av.VideoFrame.from_ndarray(picture)):
            film.mux(packet)
    for packet in stream.encode():
        film.mux(packet)
seen = {}
for what in ("planes", "copy", "side_data"):
    out = subprocess.run([sys.executable, "look.py", what], capture_output=True, text=True, check=True)
    seen[what], garbage = map(int, out.stdout.split())
    print(f"{what:10} {seen[what]} MiB, then {garbage} objects were garbage")
least = 0.7 * frames * 1280 * 720 * 1.5 / 2**20
assert seen["copy"] < seen["planes"] + 30, "changed: a copy"
assert seen["side_data"] > seen["planes"] + least, "changed: the frames are freed"
print("as described")
PY
