"""Restoring pictures: this build against an earlier one, against other runtimes, against peers.

    git worktree add ../tf_deconv-f6509f1 f6509f1
    python benchmarks/restore.py --today ../tf_deconv-f6509f1 [--rounds 3] [--only PART ...]

"Today" is that earlier build, run by this same Python from its own folder. Each figure is of a
process of its own; contenders take turns, round by round, and reported is the best of each one's
rounds in seconds and in seconds of CPU, which other work on the machine changes less. Memory is the
process's peak (VmHWM). Parts:

    command   one JPEG of 1 megapixel, whole command
    start     a new process until its first tile is restored
    large     one JPEG of 12 megapixels, whole command, and the PSNR against the clean picture
    many      1,000 JPEGs of 0.1 megapixel (--count), whole command
    memory    one JPEG of 100 megapixels (--huge), whole command
    engines   the same network, tile and threads in LiteRT, OpenVINO and onnxruntime; the last two
              where installed, onnxruntime with --onnx FILE (`tf-deconv export` writes it)
    peers     per megapixel: OpenCV's non-local means, and networks of FFDNet's and DnCNN's shape in
              PyTorch, where these are installed; their weights change neither time nor memory
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import training

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = ("command", "start", "large", "many", "memory", "engines", "peers")
# The console script's module moved since f6509f1.
COMMAND = (
    "import importlib, sys\n"
    "try:\n"
    "    main = importlib.import_module('tf_deconv.cli.main').main\n"
    "except ModuleNotFoundError:\n"
    "    main = importlib.import_module('tf_deconv.cli').main\n"
    "code = main(sys.argv[1:])\n"
)
FIRST_TILE = (
    "import sys, numpy, tf_deconv\n"
    "tf_deconv.load(sys.argv[1])(numpy.zeros((128, 128, 3), numpy.uint8))\n"
)
PEAK = (
    "import pathlib, sys\n"
    "status = pathlib.Path('/proc/self/status').read_text()\n"
    "print('peak', status.split('VmHWM:')[1].split()[0], file=sys.stderr)\n"
)


# --- Pictures.


def write_pictures(folder, megapixels, huge, count):
    """Writes clean photographs, and noisy JPEGs of them (sigma 15); returns what lies where."""
    import numpy as np
    import skimage.data
    from PIL import Image

    rng = np.random.default_rng(0)
    tile = np.concatenate([skimage.data.astronaut(), skimage.data.coffee()[:, :512]], axis=0)

    def write(name, height, width):
        times = -(-height // tile.shape[0]), -(-width // tile.shape[1]), 1
        clean = np.tile(tile, times)[:height, :width]
        noisy = clean.copy()
        for top in range(0, height, 512):  # In bands, as floats of 100 megapixels take 1.2 GB.
            band = clean[top : top + 512]
            noise = rng.normal(0, 15, band.shape).astype(np.float32)
            noisy[top : top + 512] = np.clip(band + noise, 0, 255)
        Image.fromarray(noisy).save(folder / name, quality=95, subsampling=0)
        return clean

    write("one.jpg", 1000, 1000)
    np.save(folder / "clean.npy", write("large.jpg", *sides(megapixels)))
    if huge:
        write("huge.jpg", *sides(huge))
    (folder / "many").mkdir()
    for number in range(count):
        write(f"many/{number:04}.jpg", 272, 368)


def sides(megapixels):
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    return round(megapixels * 1e6 / width), width


def psnr_db(folder, restored):
    import numpy as np
    from PIL import Image

    clean = np.load(folder / "clean.npy", mmap_mode="r")
    with Image.open(restored) as image:
        pixels = np.asarray(image)
    error = np.mean(
        [np.mean((a.astype(np.float32) - b) ** 2) for a, b in zip(pixels, clean, strict=True)]
    )
    return 10 * np.log10(255**2 / error)


# --- Processes.


def measure(code, arguments, tree):
    """Runs code in a process of its own; returns seconds, seconds of CPU and peak bytes."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tree), *extra_paths()]))
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code + PEAK, *map(str, arguments)],
        env=environment,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    duration = time.perf_counter() - started
    if status:
        raise SystemExit(f"{arguments} ended with {status}:\n{said[-2000:]}")
    peak = [int(line.split()[1]) * 1024 for line in said.splitlines() if line.startswith("peak ")]
    return duration, usage.ru_utime + usage.ru_stime, peak[-1]


def inside(code, *arguments):
    """Runs code that times itself; returns its seconds and seconds of CPU."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), *extra_paths()]))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("inside "))
    return tuple(json.loads(line.removeprefix("inside ")))


def is_installed(name):
    return importlib.util.find_spec(name) is not None


def extra_paths():
    # Other runtimes may lie in an environment of their own, named on PYTHONPATH.
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def in_turn(contenders, rounds):
    """Runs functions that return tuples in turn; returns the best of each place, by name."""
    best = {}
    for turn in range(rounds):
        for name, run in contenders.items():
            values = run()
            print(f"round {turn + 1}: {name}: {values}", file=sys.stderr, flush=True)
            best[name] = tuple(map(min, zip(best.get(name, values), values)))
    return best


def table(title, best, rows, more=None):
    """Prints a table; `rows` names what each place of a tuple is."""
    print(f"\n{title}\n\n| | {' | '.join(rows)} |\n|---|{'---:|' * len(rows)}")
    for name, values in best.items():
        cells = [f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in values]
        print(f"| {name} | {' | '.join(cells)} |")
    if "today" in best and "this" in best:
        ratios = [f"{a / b:.2f}" for a, b in zip(best["today"], best["this"])]
        print(f"| today / this | {' | '.join(ratios)} |")
    if more:
        print(f"\n{more}")


def commands(trees, model, source, out, options=()):
    """Returns contenders that restore `source` into a folder of their own."""

    def run(name, tree):
        # What is there already is not replaced: the second round would be done at once.
        shutil.rmtree(out / name, ignore_errors=True)
        duration, cpu, peak = measure(
            COMMAND, ["restore", model, source, "--out", out / name, *options], tree
        )
        if not any((out / name).iterdir()):
            raise SystemExit(f"{name} wrote nothing")
        return duration, cpu, peak / 1e6

    return {name: lambda name=name, tree=tree: run(name, tree) for name, tree in trees.items()}


# --- Parts.

ROWS = ("s", "CPU s", "peak, MB")


def part_command(options, folder, trees):
    runs = commands(trees, options.model, folder / "one.jpg", folder / "out")
    table("One JPEG of 1 megapixel, whole command", in_turn(runs, options.rounds), ROWS)


def part_start(options, folder, trees):
    def run(tree):
        duration, cpu, peak = measure(FIRST_TILE, [options.model], tree)
        return duration, cpu, peak / 1e6

    runs = {name: lambda tree=tree: run(tree) for name, tree in trees.items()}
    table("A new process until its first tile is restored", in_turn(runs, options.rounds), ROWS)


def part_large(options, folder, trees):
    runs = commands(trees, options.model, folder / "large.jpg", folder / "out")
    if "this" in trees:
        exact = {"this, float32": trees["this"]}
        how = ("--precision", "float32")
        runs |= commands(exact, options.model, folder / "large.jpg", folder / "out", how)
    best = in_turn(runs, options.rounds)
    scores = {name: psnr_db(folder, folder / "out" / name / "large.jpg") for name in best}
    said = ", ".join(f"{name} {score:.3f} dB" for name, score in scores.items())
    title = f"One JPEG of {options.megapixels:g} megapixels, whole command"
    table(title, best, ROWS, f"PSNR against the clean picture: {said}")


def part_many(options, folder, trees):
    runs = commands(trees, options.model, folder / "many", folder / "out")
    best = in_turn(runs, options.rounds)
    rates = ", ".join(f"{name} {options.count / each[0]:.1f}" for name, each in best.items())
    title = f"{options.count} JPEGs of 0.1 megapixel, whole command"
    table(title, best, ROWS, f"Pictures/s: {rates}")


def part_memory(options, folder, trees):
    runs = commands(trees, options.model, folder / "huge.jpg", folder / "out")
    title = f"One JPEG of {options.huge:g} megapixels, whole command"
    table(title, in_turn(runs, 1), ROWS)


ENGINE = """
import json, resource, sys, time
import numpy as np
from tf_deconv.inference import artifacts, engines
from tf_deconv.inference.located import locate
import dataclasses, pathlib
engine, model, precision, onnx, side = sys.argv[1:]
located = locate(model)
if engine == "onnxruntime":
    located = dataclasses.replace(located, kind="onnx", path=pathlib.Path(onnx))
else:
    located = engines.choose(located, "litert", precision).model
artifact = artifacts._open(engine, located)
batch = np.random.default_rng(0).random((1, int(side), int(side), artifact.channels_in), np.float32)
artifact.run(batch)
best = (1e9, 1e9)
for _ in range(5):
    wall, cpu = time.perf_counter(), time.process_time()
    artifact.run(batch)
    best = min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - cpu)
print("inside", json.dumps([value / (int(side) ** 2 / 1e6) for value in best]), file=sys.stderr)
"""


def part_engines(options, folder, trees):
    def run(engine, precision):
        return inside(ENGINE, engine, options.model, precision, options.onnx, options.tile)

    runs = {
        "LiteRT float32": lambda: run("litert", "float32"),
        "LiteRT int8": lambda: run("litert", "int8"),
    }
    if is_installed("openvino"):
        runs["OpenVINO float32"] = lambda: run("openvino", "float32")
    if is_installed("onnxruntime") and options.onnx:
        runs["onnxruntime float32"] = lambda: run("onnxruntime", "float32")
    title = f"Engines, one tile of {options.tile}x{options.tile}, per megapixel"
    table(title, in_turn(runs, options.rounds), ("s", "CPU s"))


PEER = """
import json, sys, time
import numpy as np
name, side = sys.argv[1], int(sys.argv[2])
image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
if name.startswith("OpenCV"):
    import cv2
    run = lambda: cv2.fastNlMeansDenoisingColored(image, None, 10, 10, 7, 21)
else:
    import torch
    from torch import nn
    first, width, layers = (15, 96, 12) if name.startswith("FFDNet") else (3, 64, 20)
    last = 12 if name.startswith("FFDNet") else 3
    parts = [nn.Conv2d(first, width, 3, padding=1), nn.ReLU()]
    for _ in range(layers - 2):
        parts += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*parts, nn.Conv2d(width, last, 3, padding=1)).eval()
    network = network.to(memory_format=torch.channels_last)
    # FFDNet works on squares of 2x2 pixels, and is given the noise's level.
    half = side // 2 if first == 15 else side
    batch = torch.rand(1, first, half, half).to(memory_format=torch.channels_last)
    def run():
        with torch.inference_mode():
            network(batch)
run()
best = (1e9, 1e9)
for _ in range(3):
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    best = min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - cpu)
print("inside", json.dumps([value / (side ** 2 / 1e6) for value in best]), file=sys.stderr)
"""


OURS = """
import json, sys, time
import numpy as np, tf_deconv
side = int(sys.argv[2])
image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
run = tf_deconv.load(sys.argv[1])
run(image)
best = (1e9, 1e9)
for _ in range(3):
    wall, cpu = time.perf_counter(), time.process_time()
    run(image)
    best = min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - cpu)
print("inside", json.dumps([value / (side ** 2 / 1e6) for value in best]), file=sys.stderr)
"""


def part_peers(options, folder, trees):
    runs = {f"this, {options.model}": lambda: inside(OURS, options.model, 1024)}
    if is_installed("cv2"):
        runs["OpenCV non-local means, colour"] = lambda: inside(PEER, "OpenCV", 1024)
    if is_installed("torch"):
        runs["FFDNet's shape, PyTorch"] = lambda: inside(PEER, "FFDNet", 1024)
        runs["DnCNN's shape, PyTorch"] = lambda: inside(PEER, "DnCNN", 1024)
    title = "Peers, one picture of 1024x1024, per megapixel"
    table(title, in_turn(runs, options.rounds), ("s", "CPU s"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--today", type=pathlib.Path, help="folder of the earlier build")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--model", default="denoise-color", help="(default: denoise-color)")
    parser.add_argument("--megapixels", type=float, default=12, help="of `large` (default: 12)")
    parser.add_argument("--huge", type=float, default=100, help="of `memory` (default: 100)")
    parser.add_argument("--count", type=int, default=1000, help="of `many` (default: 1000)")
    parser.add_argument("--tile", type=int, default=512, help="of `engines` (default: 512)")
    parser.add_argument("--onnx", type=pathlib.Path, help="the model as ONNX, for onnxruntime")
    options = parser.parse_args()
    trees = {"this": ROOT}
    if options.today:
        trees = {"today": options.today.resolve(), **trees}
    print(f"{training.describe_machine()}; {options.model}; best of {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        huge = options.huge if "memory" in options.only else 0
        count = options.count if "many" in options.only else 0
        write_pictures(folder, options.megapixels, huge, count)
        for part in PARTS:
            if part in options.only:
                globals()[f"part_{part}"](options, folder, trees)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
