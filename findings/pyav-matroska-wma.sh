#!/usr/bin/env bash
# PyAV refuses to copy sound into Matroska that FFmpeg's program copies there: WMA, and all else that is named by ACM.
#
# Expected: Matroska holds any codec that Windows' ACM has a number for (RFC 9559 and its registry of codecs:
#   A_MS/ACM), and FFmpeg's muxer writes it so: `ffmpeg -i film.wmv -c copy film.mkv` keeps the sound.
# Seen: add_stream and add_stream_from_template raise ValueError, "'matroska' format does not support 'wmav2' codec":
#   they ask libavformat at FF_COMPLIANCE_NORMAL, where the muxer says no to what it writes by ACM. AVI and ASF take it.
# Versions: PyAV 18.1.0 (libavformat 62.12).
# Consequence: a .wmv that is put into Matroska is without its sound, or is given up.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install --disable-pip-version-check numpy==2.4.6 av==18.1.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import io
import av, numpy as np

print("PyAV", av.__version__)


def packets_of(codec, container, suffix):
    """Writes half a second of a tone and returns the open file."""
    with av.open(f"x{suffix}", "w", format=container) as film:
        stream = film.add_stream(codec, 48000)
        stream.bit_rate = 128_000
        for start in range(0, 24000, 1024):
            tone = np.sin(np.arange(start, start + 1024) * 0.0576).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), "fltp", "stereo")
            frame.sample_rate, frame.pts = 48000, start
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return av.open(f"x{suffix}")


seen = {}
for codec in ("wmav2", "wmav1"):
    with packets_of(codec, "asf", ".wma") as source:
        for target in ("asf", "avi", "matroska"):
            try:
                with av.open(io.BytesIO(), "w", format=target) as film:
                    stream = film.add_stream_from_template(source.streams.audio[0])
                    film.start_encoding()
                said = "taken"
            except ValueError as error:
                said = f"ValueError: {error}"
            seen[codec, target] = said
            print(f"{codec} into {target}: {said}")
for codec in ("wmav2", "wmav1"):
    assert seen[codec, "asf"] == seen[codec, "avi"] == "taken", f"changed: {codec}"
    assert "does not support" in seen[codec, "matroska"], f"changed: Matroska takes {codec}"
print("as described")
PY
