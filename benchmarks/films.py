"""What a film costs: frames/s and processor's time of `restore`, of the network alone, of rivals.

    python benchmarks/films.py [--model photo-small] [--frames 200] [--size 640x360] [--rounds 1]

It draws a clip of the package's photographs, panned, with noise and a tone, and restores it in
processes of its own: by `restore`; by what people write (OpenCV's VideoCapture and VideoWriter
around `load().restore`, and FFmpeg's program on two pipes, where either is installed); and by the
network alone, on frames that lie in memory. The processor's time is that of a process and its
children, less that of the same for two frames, so that starting up does not count; of several
rounds, one contender after the other, the best counts, which other work on the machine disturbs
least. OpenCV writes MPEG-4 and no sound. The last line is the memory that a clip of 1080p takes.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

PHOTOGRAPHS = pathlib.Path(__file__).parents[1] / "tf_deconv" / "data" / "photographs"
NOISE = 15.0
RATE = 25


def write_clip(path: pathlib.Path, frames: int, width: int, height: int) -> None:
    """Draws a clip: the package's photographs, panned one by one, with noise and a tone."""
    import av

    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", RATE, {"crf": "23"}, width=width, height=height)
        stream.pix_fmt = "yuv420p"
        tone = film.add_stream("aac", 48000)
        for number, picture in enumerate(_pan(frames, width, height)):
            noisy = picture + rng.normal(0, NOISE, picture.shape)
            frame = av.VideoFrame.from_ndarray(
                noisy.round().clip(0, 255).astype(np.uint8), format="rgb24"
            )
            frame.pts = number
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
        for start in range(0, frames * 48000 // RATE, 1024):
            wave = np.sin(np.arange(start, start + 1024) * 2 * np.pi * 440 / 48000)
            sound = av.AudioFrame.from_ndarray(
                np.stack([wave, wave]).astype(np.float32), "fltp", "stereo"
            )
            sound.sample_rate, sound.pts = 48000, start
            film.mux(tone.encode(sound))
        film.mux(tone.encode())


def _pan(frames: int, width: int, height: int):
    paths = sorted(PHOTOGRAPHS.glob("*.jpg")) or sorted(PHOTOGRAPHS.iterdir())
    each = max(1, -(-frames // min(4, len(paths))))
    done = 0
    for path in paths:
        with Image.open(path) as picture:
            factor = max(1.3 * width / picture.width, 1.3 * height / picture.height)
            size = round(picture.width * factor), round(picture.height * factor)
            large = np.asarray(picture.convert("RGB").resize(size), np.float32)
        for step in range(each):
            if done == frames:
                return
            left = step * (large.shape[1] - width) // each
            top = step * (large.shape[0] - height) // each
            yield large[top : top + height, left : left + width]
            done += 1


_RESTORE = """
import sys
from tf_deconv import api
model, source, target, count = sys.argv[1:]
api.restore(model, source, out=target, duration=str(int(count) / 25), report=lambda line: None)
"""
_NETWORK = """
import itertools, sys
from tf_deconv import load
from tf_deconv.video.reading import frames
model, source, target, count = sys.argv[1:]
model = load(model)
held = [frame.pixels for frame in itertools.islice(frames(source), 8)]
for number in range(int(count)):
    model(held[number % 8])
"""
_OPENCV = """
import sys, cv2
from tf_deconv import load
model, source, target, count = sys.argv[1:]
model, film = load(model), cv2.VideoCapture(source)
size = int(film.get(3)), int(film.get(4))
out = cv2.VideoWriter(target, cv2.VideoWriter_fourcc(*"mp4v"), film.get(5), size)
for _ in range(int(count)):
    good, frame = film.read()
    if not good:
        break
    out.write(cv2.cvtColor(model(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)), cv2.COLOR_RGB2BGR))
out.release()
"""
_PIPES = """
import subprocess, sys
import numpy as np
from tf_deconv import load
model, source, target, count = sys.argv[1:]
model = load(model)
probe = "ffprobe -v error -select_streams v -show_entries stream=width,height -of csv=p=0"
found = subprocess.check_output([*probe.split(), source], text=True)
wide, high = map(int, found.strip().split(","))
read = subprocess.Popen(
    f"ffmpeg -v error -i {source} -frames:v {count} -f rawvideo -pix_fmt rgb24 -".split(),
    stdout=subprocess.PIPE)
write = subprocess.Popen(
    f"ffmpeg -v error -y -f rawvideo -pix_fmt rgb24 -s {wide}x{high} -r 25 -i - -i {source}"
    f" -map 0:v -map 1:a -c:a copy -pix_fmt yuv420p -crf 17 {target}".split(),
    stdin=subprocess.PIPE)
while len(frame := read.stdout.read(wide * high * 3)) == wide * high * 3:
    frame = np.frombuffer(frame, np.uint8).reshape(high, wide, 3)
    write.stdin.write(model(frame).tobytes())
write.stdin.close(); write.wait()
"""


def _run(code: str, *arguments: object) -> tuple[float, float, float]:
    """Returns wall seconds, the processor's seconds, and the largest memory in MB of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"ended with {status}: {' '.join(command[3:])}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu_s, usage.ru_maxrss / 1024


def measure(code: str, model: str, clip: pathlib.Path, count: int, out: pathlib.Path):
    """Returns frames/s, the processor's milliseconds for a frame, and the memory in MB."""
    first = out.with_stem("little")
    little = _run(code, model, clip, first, 2)
    much = _run(code, model, clip, out, count)
    for path in (first, out):  # `restore` writes over nothing.
        path.unlink(missing_ok=True)
    frames = count - 2
    return frames / (much[0] - little[0]), 1000 * (much[1] - little[1]) / frames, much[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="photo-small")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        clip = pathlib.Path(folder, "clip.mp4")
        write_clip(clip, given.frames, width, height)
        contenders = {"`tf-deconv restore`": _RESTORE, "the network alone": _NETWORK}
        if importlib.util.find_spec("cv2"):
            contenders["OpenCV around `load`"] = _OPENCV
        if shutil.which("ffmpeg"):
            contenders["two pipes of `ffmpeg` around `load`"] = _PIPES
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in contenders}
        for _ in range(given.rounds):
            for number, (name, code) in enumerate(contenders.items()):
                out = pathlib.Path(folder, f"{number}.mp4")
                found[name].append(measure(code, given.model, clip, given.frames, out))
        print(f"{given.model}, {given.size}, {given.frames} frames, best of {given.rounds}\n")
        print("| | frames/s | processor, ms for a frame | memory, MB |\n|---|---:|---:|---:|")
        cpu_ms = {}
        for name, rounds in found.items():
            rates, times, memory = zip(*rounds)
            cpu_ms[name] = min(times)
            print(f"| {name} | {max(rates):.1f} | {min(times):.1f} | {max(memory):.0f} |")
        whole, network = cpu_ms["`tf-deconv restore`"], cpu_ms["the network alone"]
        print(f"\naround the network: {100 * (whole - network) / whole:.0f} % of the time")
        large = pathlib.Path(folder, "large.mp4")
        write_clip(large, 24, 1920, 1080)
        _, _, memory = _run(_RESTORE, given.model, large, pathlib.Path(folder, "l.mp4"), 24)
        print(f"memory of 1920x1080: {memory:.0f} MB")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
