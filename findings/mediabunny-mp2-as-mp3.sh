#!/usr/bin/env bash
# mediabunny takes MPEG-1 sound of layer II in a transport stream for MP3, and copies it under that name.
#
# Expected: stream types 0x03 and 0x04 of a transport stream are MPEG sound of any layer (ISO/IEC 13818-1, table
#   2-34); the two layer bits of a frame's header say which. Layer II is A_MPEG/L2 in Matroska, and layer III
#   A_MPEG/L3; FFmpeg writes the first one.
# Seen: getCodec() says "mp3"; the copy is A_MPEG/L3 in Matroska, and a file of layer II with a Xing frame as .mp3.
#   Of FFmpeg's copy, which says A_MPEG/L2, getCodec() says null. No error, no warning.
# Versions: mediabunny 1.61.0 on node; PyAV 18.1.0 (FFmpeg) writes and judges.
# Consequence: sound of digital television, which is layer II, is handed to a decoder of MP3, and gets copies that
#   tell of another codec than they hold.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
cd "$work"
npm install --silent --no-fund --no-audit --ignore-scripts mediabunny@1.61.0
cat >copy.mjs <<'JS'
import {
  ALL_FORMATS, BufferSource, BufferTarget, Conversion, Input, MkvOutputFormat, Mp3OutputFormat, Output,
} from "mediabunny";
import { readFileSync, writeFileSync } from "node:fs";
const open = (name) => new Input({ formats: ALL_FORMATS, source: new BufferSource(readFileSync(name)) });
for (const [copy, format] of [["copy.mkv", new MkvOutputFormat()], ["copy.mp3", new Mp3OutputFormat()]]) {
  const output = new Output({ format, target: new BufferTarget() });
  await (await Conversion.init({ input: open("given.ts"), output })).execute();
  writeFileSync(copy, Buffer.from(output.target.buffer));
}
const codecs = {};
for (const name of ["given.ts", "ffmpeg.mkv"]) {
  codecs[name] = await (await open(name).getPrimaryAudioTrack()).getCodec();
}
writeFileSync("codecs.json", JSON.stringify(codecs));
JS
cat >layers.py <<'PY'
import json, re, subprocess
import av, numpy as np

version = json.load(open("node_modules/mediabunny/package.json"))["version"]
print("mediabunny", version, "PyAV", av.__version__)
tone = (12000 * np.sin(np.arange(48000) * 2 * np.pi * 440 / 48000)).astype(np.int16)[np.newaxis]
for path in ("given.ts", "ffmpeg.mkv"):
    with av.open(path, "w") as film:
        stream = film.add_stream("mp2", 48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone, "s16", "mono")
        frame.sample_rate, frame.pts = 48000, 0
        for packet in (*stream.encode(frame), *stream.encode()):
            film.mux(packet)
subprocess.run(["node", "copy.mjs"], check=True)
codecs = json.load(open("codecs.json"))


def layers(path):
    """Returns the layers of a file's frames, by the headers of its packets."""
    with av.open(path) as film:
        return {4 - (bytes(packet)[1] >> 1 & 3) for packet in film.demux(audio=0) if packet.size}


named = {path: re.search(rb"A_MPEG/L\d", open(path, "rb").read())[0].decode() for path in ("ffmpeg.mkv", "copy.mkv")}
print("mediabunny's getCodec():", codecs)
print("CodecID in Matroska:", named)
held = {path: layers(path) for path in ("given.ts", "ffmpeg.mkv", "copy.mkv", "copy.mp3")}
has_xing = b"Xing" in open("copy.mp3", "rb").read(200)
print("layers of the frames:", held, "and in copy.mp3", "a" if has_xing else "no", "Xing frame")
assert all(found == {2} for found in held.values()), "changed: the frames"
assert named["ffmpeg.mkv"] == "A_MPEG/L2", "changed: FFmpeg"
assert codecs == {"given.ts": "mp3", "ffmpeg.mkv": None}, "changed: what is read"
assert named["copy.mkv"] == "A_MPEG/L3" and has_xing, "changed: what is written"
print("as described")
PY
"$work/venv/bin/python" layers.py
