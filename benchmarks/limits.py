"""How near the networks come to what the processor can do, and where the rest goes.

    python benchmarks/limits.py [--rounds 3] [--networks NAME ...] [--parts PART ...]
                                [--training FILE] [--json FILE]

Measured in the same run: the machine's matrix product (float32, bfloat16, int8; TensorFlow's and
LiteRT's, of which the faster one is the peak) and its memory; TFLite and SavedModel inference and
the training step of the shipped networks and the article's (trained for a moment); every operator
of the float32 and int8 files, by LiteRT's own profiler; and how long a client takes to start.
Every figure is of a process of its own, taking turns round after round; the best round counts.
Work is what `networks.complexity` counts: two operations for each multiply-add of the network,
three times that for a training step. --training takes what benchmarks/training.py --json left.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import limits_contenders as contenders
import limits_layers
import numpy as np

ROOT = contenders.ROOT
ARTICLE = "article"
SHIPPED = (
    "denoise-grey",
    "denoise-color",
    "denoise-color-small",
    "super-resolve-x2",
    "super-resolve-x4",
    "deblock",
)
PARTS = ("peaks", "inference", "layers", "training", "starts")
# Shares of the float32 peak, times as fast as PyTorch, and seconds.
INFERENCE_BAR, TRAINING_BAR = 0.7, 1.25
START_BARS = {"run_tflite.py": 0.5, "serve_python.py": 6.0}
# The seconds that a peak is measured, runs of a profile, steps of a training step.
SECONDS, RUNS, STEPS = 2.0, 20, 10


def call(*arguments):
    """Runs a function of `limits_contenders` in a fresh process; None where it fails."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, contenders.__file__, json.dumps([*map(_plain, arguments)])]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        print(f"{arguments[0]} {arguments[1]}: failed: {lines[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def _plain(value):
    return str(value) if isinstance(value, pathlib.Path) else value


class Network:
    """An exported network: its files, a picture for them, and how much it multiplies."""

    def __init__(self, folder, work):
        self.folder, self.name = folder, folder.name
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.size = tuple(self.manifest["tflite_sizes"][0])
        self.picture = work / f"{self.name}.npy"
        pixels = photograph(*self.size, self.manifest["channels_in"])
        np.save(self.picture, pixels)
        # Clients take a file, here of the signature's size: larger ones are restored in tiles.
        self.picture_file = work / f"{self.name}.png"
        write_picture(self.picture_file, pixels[0])

    def file(self, kind):
        if kind == "SavedModel":
            return str(self.manifest["version"])
        return f"tflite/{self.manifest['name']}-{kind}.tflite"

    def operations(self, size=None):
        """Returns the operations of one picture of a size, by default the files' own."""
        height, width = size or self.size
        pixels = height * width * self.manifest["scale"] ** 2
        return 2 * self.manifest["multiply_adds_per_pixel"] * pixels

    def step_operations(self):
        """Returns the operations of one training step: forward, and two gradients."""
        config, _ = contenders.training_of(self.manifest)
        return 3 * config.batch_size * self.operations((config.patch_size, config.patch_size))


def photograph(height, width, channels):
    """Returns (1, height, width, channels) float32 in [0, 1] of scikit-image's astronaut."""
    import skimage

    picture = skimage.data.astronaut().astype(np.float32) / 255
    picture = np.tile(picture, (-(-height // 512), -(-width // 512), 1))[:height, :width]
    if channels == 1:
        picture = picture.mean(-1, keepdims=True)
    return np.ascontiguousarray(picture[np.newaxis, ..., :channels])


def write_picture(path, pixels):
    from PIL import Image

    pixels = np.uint8(np.rint(255 * pixels))
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)


def make_article(folder):
    """Trains the article's network for a moment and exports it; returns the folder."""
    run = folder / "run"
    train = [sys.executable, ROOT / "train.py", "--epochs", "1", "--steps-per-epoch", "50"]
    export = [sys.executable, ROOT / "export.py", run, "--out", folder, "--name", ARTICLE]
    for command in ([*train, "--run-dir", run], [*export, "--sizes", "256"]):
        subprocess.run([*map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return folder / ARTICLE


def plan(parts, networks, threads, work, sides):
    """Returns what is measured: key to the arguments of `call`."""
    jobs = {}
    if "peaks" in parts:
        for count in threads:
            for dtype in ("float32", "bfloat16"):
                key = f"TensorFlow {dtype}|{count}"
                jobs[key] = "product_of_tensorflow", dtype, count, SECONDS, sides
            for kind in ("float32", "int8", "dynamic"):
                key = f"LiteRT {kind}|{count}"
                jobs[key] = "product_of_litert", work, kind, count, SECONDS, sides
            for name, size in (("cache", "CACHE_BYTES"), ("memory", "MEMORY_BYTES")):
                jobs[f"{name}|{count}"] = "triad", getattr(contenders, size), count, SECONDS
    for network in networks:
        at = network.folder
        for kind in ("float32", "int8", "SavedModel"):
            for count in threads:
                if "inference" in parts:
                    job = "inference", at, network.file(kind), network.picture, count
                    jobs[f"inference|{network.name}|{kind}|{count}"] = job
        for kind in ("float32", "int8"):
            if "layers" in parts:
                job = "layers", at, network.file(kind), network.picture, threads[-1], RUNS
                jobs[f"layers|{network.name}|{kind}"] = job
        for precision in ("float32", "mixed_bfloat16"):
            if "training" in parts:
                job = "training_step", at, precision, threads[-1], STEPS
                jobs[f"training|{network.name}|{precision}"] = job
        if "starts" in parts:
            picture, restored = network.picture_file, work / "restored.png"
            for client, kind in (("run_tflite.py", "float32"), ("serve_python.py", "SavedModel")):
                job = "start", client, at / network.file(kind), picture, restored
                jobs[f"start|{network.name}|{client}"] = job
    return jobs


def best(key, values):
    """Returns the best of several rounds: rates are large, times are small."""
    kind = key.split("|")[0]
    if kind == "layers":
        return min(values, key=lambda value: value[1])
    if kind == "start":
        return min(values, key=lambda value: value["client"])
    return min(values) if kind in ("inference", "training") else max(values)


def peak(figures, numbers, threads):
    """Returns the larger of both libraries' rates of some kinds of numbers, in operations a second.

    int8 is LiteRT's with ranges that are fixed or found while it runs.
    """
    names = {
        "float32": ("TensorFlow float32", "LiteRT float32"),
        "bfloat16": ("TensorFlow bfloat16", "TensorFlow float32"),
        "int8": ("LiteRT int8", "LiteRT dynamic"),
    }[numbers]
    return max((figures.get(f"{name}|{threads}", 0.0) for name in names), default=0.0)


def share(rate, limit):
    return f"{rate / limit:.0%}" if limit else "-"


def peak_lines(figures, threads):
    yield f"| matrix product, GFLOP/s | {' | '.join(f'{n} thread(s)' for n in threads)} |"
    yield "|---|" + "---:|" * len(threads)
    names = dict.fromkeys(key.split("|")[0] for key in figures)
    for name in names:
        if name.startswith(("TensorFlow", "LiteRT")) or name in ("cache", "memory"):
            title = f"{name}, a = b + c, GB/s" if name in ("cache", "memory") else name
            cells = [f"{figures.get(f'{name}|{n}', 0) / 1e9:.0f}" for n in threads]
            yield f"| {title} | {' | '.join(cells)} |"


def inference_lines(figures, networks, threads):
    yield "| network | file | threads | ms | GFLOP/s | of the peak | bar |"
    yield "|---|---|---:|---:|---:|---:|---|"
    for network in networks:
        for kind in ("float32", "SavedModel", "int8"):
            for count in threads:
                seconds = figures.get(f"inference|{network.name}|{kind}|{count}")
                if seconds is None:
                    continue
                rate = network.operations() / seconds
                limit = peak(figures, "int8" if kind == "int8" else "float32", count)
                bar = ""
                if kind == "float32" and limit:
                    bar = "met" if rate >= INFERENCE_BAR * limit else "missed"
                yield (
                    f"| {network.name} | {kind} | {count} | {1000 * seconds:.1f} |"
                    f" {rate / 1e9:.0f} | {share(rate, limit)} | {bar} |"
                )


def training_lines(figures, networks, threads):
    yield "| network | precision | ms a step | GFLOP/s | of the peak |"
    yield "|---|---|---:|---:|---:|"
    for network in networks:
        for precision in ("float32", "mixed_bfloat16"):
            seconds = figures.get(f"training|{network.name}|{precision}")
            if seconds is not None:
                rate = network.step_operations() / seconds
                limit = peak(figures, precision.removeprefix("mixed_"), threads[-1])
                yield (
                    f"| {network.name} | {precision} | {1000 * seconds:.1f} |"
                    f" {rate / 1e9:.0f} | {share(rate, limit)} |"
                )


def start_lines(figures, networks):
    for client, bar in START_BARS.items():
        stages = ["Python", *contenders.STAGES[client]]
        heads = ["network", *stages, "the client itself"]
        yield f"| {client}, seconds: {' | '.join(heads)} | bar: {bar:g} |"
        yield "|---|" + "---:|" * len(heads)
        for network in networks:
            got = figures.get(f"start|{network.name}|{client}")
            if got is not None:
                cells = [f"{got[name]:.2f}" for name in (*stages, "client")]
                met = "met" if got["client"] < bar else "missed"
                yield f"| {network.name} | {' | '.join(cells)} | {met} |"
        yield ""


def layer_lines(figures, networks, threads):
    """Tables of operators; the memory's bound is the cache's, where all tensors lie."""
    for network in networks:
        for kind in ("float32", "int8"):
            got = figures.get(f"layers|{network.name}|{kind}")
            if got is None:
                continue
            events, seconds = got
            operators = limits_layers.read(network.folder / network.file(kind))
            times = [1e-6 * each for each in limits_layers.assign(operators, events)]
            limit = peak(figures, kind, threads[-1]) or float("inf")
            bandwidth = figures.get(f"cache|{threads[-1]}", float("inf"))
            rows = limits_layers.table(operators, times, limits_layers.Roof(limit, bandwidth))
            yield ""
            yield (
                f"{network.name}, {kind}, {threads[-1]} thread(s): {1000 * seconds:.1f} ms,"
                f" of which operators {1000 * sum(times):.1f} ms"
            )
            yield ""
            yield from limits_layers.lines(rows)


def against_pytorch(path):
    """Returns how many times as fast as PyTorch's best mode train.py's step is; None if unknown."""
    rounds = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["rounds"]
    rates = {name: max(each["rate"] for each in found) for name, found in rounds.items() if found}
    others = [rate for name, rate in rates.items() if name.startswith("PyTorch")]
    own = rates.get("train.py, step alone")
    return own / max(others) if own and others else None


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--networks", nargs="+", default=[*SHIPPED, ARTICLE], metavar="NAME")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, os.cpu_count()])
    parser.add_argument("--sides", nargs="+", type=int, default=contenders.SIDES)
    parser.add_argument("--training", metavar="FILE", help="of benchmarks/training.py --json FILE")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    options = parser.parse_args(arguments)
    for name, values in (("rounds", [options.rounds]), ("threads", options.threads)):
        if min(values) < 1:
            parser.error(f"{name}={min(values)}: expected 1 or more")
    for name in options.networks:
        if name != ARTICLE and not (folder_of(name) / "manifest.json").is_file():
            parser.error(
                f"networks={name!r}: no exported model; expected {', '.join(SHIPPED)},"
                f" {ARTICLE}, or a folder that export.py left"
            )
    return options


def folder_of(name):
    """Returns the folder of a shipped network, or of a path to another export."""
    folder = ROOT / "saved_models" / name
    return folder if folder.is_dir() else pathlib.Path(name)


def measure(options, networks, work):
    """Returns key to the best figure of all rounds."""
    if "peaks" in options.parts:
        call("make_products", work, options.sides)
    jobs = plan(options.parts, networks, options.threads, work, options.sides)
    rounds = {key: [] for key in jobs}
    for number in range(options.rounds):
        for key, job in jobs.items():
            if (value := call(*job)) is not None:
                rounds[key].append(value)
        print(f"round {number + 1} of {options.rounds} is done", file=sys.stderr, flush=True)
    return {key: best(key, values) for key, values in rounds.items() if values}


def main(arguments=None):
    options = parse(arguments)
    sys.path.insert(0, str(ROOT))
    import training

    with tempfile.TemporaryDirectory() as temporary:
        work, networks = pathlib.Path(temporary), []
        for name in options.networks:
            folder = make_article(work) if name == ARTICLE else folder_of(name)
            networks.append(Network(folder, work))
        figures = measure(options, networks, work)
        threads = options.threads
        print(f"{training.describe_machine()}; best of {options.rounds} rounds\n")
        for part, lines in {
            "peaks": peak_lines(figures, threads),
            "inference": inference_lines(figures, networks, threads),
            "training": training_lines(figures, networks, threads),
            "starts": start_lines(figures, networks),
            "layers": layer_lines(figures, networks, threads),
        }.items():
            if part in options.parts:
                print("\n".join(lines), end="\n\n")
    if options.training and (ratio := against_pytorch(options.training)):
        met = "met" if ratio >= TRAINING_BAR else "missed"
        print(f"train.py's step is {ratio:.2f} times as fast as PyTorch's best mode: bar {met}")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
