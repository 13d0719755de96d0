#!/usr/bin/env bash
# mediabunny copies Opus from WebM to WebM without its CodecDelay and DiscardPadding: it is heard late, and its
# end has samples that only fill up the last packet.
#
# Expected: a player subtracts CodecDelay from the times of all blocks, decodes as much as SeekPreRoll before what
#   it plays after a jump, and drops DiscardPadding (RFC 9559, 5.1.4.1.25 and .26). Of Opus these are the pre-skip,
#   80 ms (RFC 7845, section 4.6; https://wiki.xiph.org/MatroskaOpus) and what fills up the last packet: FFmpeg
#   writes them so. Packets that are copied are heard when they were, and as long.
# Seen: CodecDelay and DiscardPadding are neither read nor written, and SeekPreRoll is the pre-skip, 6.5 ms. A click
#   at 0.500 s comes at 0.507 s in the copy, which ends at 1.021 s in place of 1.000 s. No warning.
# Versions: mediabunny 1.61.0 on node; PyAV 18.1.0 (FFmpeg) writes and judges.
# Consequence: what is copied of a browser's or FFmpeg's WebM has its sound late by the pre-skip, and after a jump
#   players decode too little of it to be right.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts mediabunny@1.61.0
cat >copy.mjs <<'JS'
import { BufferSource, BufferTarget, Conversion, Input, Output, WEBM, WebMOutputFormat } from "mediabunny";
import { readFileSync, writeFileSync } from "node:fs";
const [source, copy] = process.argv.slice(2);
const input = new Input({ formats: [WEBM], source: new BufferSource(readFileSync(source)) });
const output = new Output({ format: new WebMOutputFormat(), target: new BufferTarget() });
await (await Conversion.init({ input, output })).execute();
writeFileSync(copy, Buffer.from(output.target.buffer));
JS
cat >click.py <<'PY'
import json, subprocess
import av, numpy as np

version = json.load(open("node_modules/mediabunny/package.json"))["version"]
print("mediabunny", version, "PyAV", av.__version__)
RATE = 48000
sound = np.zeros((1, RATE), np.float32)
sound[0, RATE // 2 : RATE // 2 + 96] = 0.8
with av.open("given.webm", "w") as film:
    stream = film.add_stream("libopus", RATE, layout="mono", bit_rate=128000)
    frame = av.AudioFrame.from_ndarray(sound, "flt", "mono")
    frame.sample_rate, frame.pts = RATE, 0
    for packet in (*stream.encode(frame), *stream.encode()):
        film.mux(packet)
subprocess.run(["node", "copy.mjs", "given.webm", "copy.webm"], check=True)

NAMES = {0x56AA: "CodecDelay", 0x56BB: "SeekPreRoll", 0x75A2: "DiscardPadding"}
# Segment, Tracks, TrackEntry, Cluster, BlockGroup.
PARENTS = {0x18538067, 0x1654AE6B, 0xAE, 0x1F43B675, 0xA0}


def elements(data, start=0, end=None):
    """Yields what NAMES has of a Matroska file, in milliseconds."""
    end = len(data) if end is None else end
    while start < end:
        length = 9 - data[start].bit_length()
        number, start = int.from_bytes(data[start : start + length], "big"), start + length
        length = 9 - data[start].bit_length()
        size, start = int.from_bytes(data[start : start + length], "big") & (1 << 7 * length) - 1, start + length
        stop = min(end, start + size)
        if number in PARENTS:
            yield from elements(data, start, stop)
        elif number in NAMES and any(data[start:stop]):
            yield NAMES[number], int.from_bytes(data[start:stop], "big") / 1e6
        start = stop


def heard(path):
    """Returns when the loudest sample is played, and when the last one ends, in seconds."""
    with av.open(path) as film:
        frames = [(frame.time, np.abs(frame.to_ndarray()).ravel()) for frame in film.decode(audio=0)]
    time, values = max(frames, key=lambda one: one[1].max())
    return time + values.argmax() / RATE, frames[-1][0] + len(frames[-1][1]) / RATE


seen = []
for path in ("given.webm", "copy.webm"):
    found, (click, end) = dict(elements(open(path, "rb").read())), heard(path)
    seen.append((found, click, end))
    print(f"{path}: {found} (ms); click at {click:.4f} s, end at {end:.4f} s")
(found, click, end), (copied, late, longer) = seen
assert found == {"CodecDelay": 6.5, "SeekPreRoll": 80, "DiscardPadding": 13.5}, "changed: FFmpeg"
assert abs(click - 0.5) < 0.002 and abs(end - 1) < 0.002, "changed: FFmpeg"
assert copied == {"SeekPreRoll": 6.5}, "changed: what is written"
assert 0.006 < late - click < 0.008, "changed: when it is heard"
assert 0.015 < longer - end < 0.025, "changed: where it ends"
print("as described")
PY
"$work/venv/bin/python" click.py
