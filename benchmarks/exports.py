"""Speed of the exported article's network: the bars of one thread, in one run.

    python benchmarks/exports.py [--run RUN] [--rounds 5] [--json FILE]

Exports a run (a short one is trained where none is given) and restores one 256x256 picture with
every contender, each in a process of its own on one thread, taking turns round after round; the
best round's median counts. PyTorch's contenders get the same weights, and their picture is compared
before it is timed. Contenders whose package is not installed are left out and named.
`tf-deconv benchmark --export` measures all files, threads and any network.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME, SIDE_PX = "old-photo-article", 256
RUNNER = ROOT / "tf_deconv" / "exporting" / "parity" / "runner.py"
WARM_UPS, MAX_RUNS, MAX_SECONDS = 3, 40, 3.0


def of_runner(folder, file, runtime):
    """Runs an exported file as the gate does; returns the median in milliseconds."""
    signature = f"restore_{SIDE_PX}x{SIDE_PX}" if file.endswith(".tflite") else "serving_default"
    with tempfile.TemporaryDirectory() as work:
        cases, results = pathlib.Path(work, "cases.npz"), pathlib.Path(work, "results.npz")
        np.savez(cases, **{f"{signature}|0": np.load(folder / "picture.npy")})
        command = [sys.executable, RUNNER, folder / NAME / file, cases, results, runtime, "1"]
        subprocess.run([*map(str, command)], check=True, capture_output=True)
        with np.load(results) as got:
            return float(got[f"latency_ms|{signature}"])


def median_ms(call):
    for _ in range(WARM_UPS):
        call()
    times, started = [], time.perf_counter()
    while len(times) < MAX_RUNS and time.perf_counter() - started < MAX_SECONDS:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return 1000 * float(np.median(times))


def keras_call(folder):
    """The bare Keras model in a tf.function, without padding and checks."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    function = tf.function(lambda image: model(image, training=False))
    image = np.load(folder / "picture.npy")
    return median_ms(lambda: function(tf.constant(image)).numpy())


def pytorch(folder, compiled):
    """The same network and weights in PyTorch, channels-last, float32."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    weights = dict(np.load(folder / "weights.npz"))

    class Article(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder_conv = nn.Conv2d(1, 32, 3, padding=1)
            self.decoder_1_deconv = nn.ConvTranspose2d(32, 64, 4, stride=2, padding=1)
            self.decoder_1_conv = nn.Conv2d(64, 64, 3, padding=1)
            self.decoder_2_deconv = nn.ConvTranspose2d(64, 3, 4)
            self.dense = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.encoder_conv(x)), 2)
            x = torch.relu(self.decoder_1_conv(torch.relu(self.decoder_1_deconv(x))))
            x = torch.relu(self.decoder_2_deconv(x)[:, :, 1:-2, 1:-2])
            return torch.sigmoid(self.dense(x))

    model = Article()
    for name, layer in model.named_children():
        # Keras: (height, width, in, out), of a transposed one (height, width, out, in).
        kernel = torch.tensor(weights[f"{name}_kernel"].transpose(3, 2, 0, 1).copy())
        layer.weight.data, layer.bias.data = kernel, torch.tensor(weights[f"{name}_bias"])
    model = model.to(memory_format=torch.channels_last).eval()
    image = torch.tensor(np.load(folder / "picture.npy").transpose(0, 3, 1, 2).copy())
    image = image.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        restored = model(image).numpy().transpose(0, 2, 3, 1)
        worst = float(np.abs(restored - np.load(folder / "expected.npy")).max())
        if worst > 1e-4:
            raise SystemExit(f"PyTorch's picture differs by {worst}")
        model = torch.compile(model) if compiled else model
        return median_ms(lambda: model(image))


CONTENDERS = {
    "LiteRT float32": ("ai_edge_litert", of_runner, (f"tflite/{NAME}-float32.tflite", "litert")),
    "LiteRT int8": ("ai_edge_litert", of_runner, (f"tflite/{NAME}-int8.tflite", "litert")),
    "LiteRT dynamic": ("ai_edge_litert", of_runner, (f"tflite/{NAME}-dynamic.tflite", "litert")),
    "onnxruntime float32": ("onnxruntime", of_runner, (f"onnx/{NAME}.onnx", "onnxruntime")),
    "OpenVINO float32": ("openvino", of_runner, (f"onnx/{NAME}.onnx", "openvino")),
    "PyTorch float32": ("torch", pytorch, (False,)),
    "PyTorch float32, torch.compile": ("torch", pytorch, (True,)),
    "SavedModel serving_default": ("tensorflow", of_runner, ("1", "tensorflow")),
    "Keras call in tf.function": ("tensorflow", keras_call, ()),
}
# What is compared, with the bar: the second's time over the first's.
BARS = [
    ("LiteRT float32", "onnxruntime float32", 1.0),
    ("LiteRT float32", "OpenVINO float32", 1.0),
    ("LiteRT float32", "PyTorch float32", 1.0),
    ("LiteRT float32", "PyTorch float32, torch.compile", 1.0),
    ("LiteRT int8", "LiteRT float32", 3.0),
    ("SavedModel serving_default", "Keras call in tf.function", 1 / 1.2),
]


def prepare(run, folder):
    """Exports the run and writes picture, expected result and weights for the contenders."""
    sys.path.insert(0, str(ROOT))
    import shutil

    import keras

    if run is None:
        run = folder / "run"
        train = [sys.executable, ROOT / "train.py", "--epochs", "4", "--run-dir", run]
        subprocess.run([*map(str, train)], check=True, stdout=subprocess.DEVNULL)
    shutil.copyfile(pathlib.Path(run) / "model.keras", folder / "model.keras")
    export = [sys.executable, ROOT / "export.py", run, "--out", folder, "--name", NAME]
    export += ["--sizes", SIDE_PX] + (["--onnx"] if importlib.util.find_spec("tf2onnx") else [])
    subprocess.run([*map(str, export)], check=True, stdout=subprocess.DEVNULL)
    model = keras.models.load_model(folder / "model.keras", compile=False)
    with np.load(pathlib.Path(run) / "samples.npz") as samples:
        picture = samples["degraded_0"][np.newaxis, :SIDE_PX, :SIDE_PX]
    np.save(folder / "picture.npy", picture)
    np.save(folder / "expected.npy", keras.ops.convert_to_numpy(model(picture)))
    arrays = {f"{w.path.replace('/', '_')}": w.numpy() for w in model.weights}
    np.savez(folder / "weights.npz", **arrays)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", metavar="RUN", help="run folder of the article's network")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.contender:
        _, function, arguments = CONTENDERS[options.contender]
        print(function(options.folder, *arguments))
        return
    best = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        prepare(options.run, folder)
        for number in range(options.rounds):
            for name, (package, _, _) in CONTENDERS.items():
                if not importlib.util.find_spec(package):
                    if not number:
                        print(f"left out, not installed: {name}", file=sys.stderr)
                    continue
                command = [sys.executable, __file__, "--contender", name, "--folder", folder]
                done = subprocess.run([*map(str, command)], capture_output=True, text=True)
                if done.returncode:
                    print(f"{name} failed: {done.stderr.strip()[-300:]}", file=sys.stderr)
                    continue
                taken = float(done.stdout.split()[-1])
                best[name] = min(best.get(name, taken), taken)
    print("| contender | ms |\n|---|---:|")
    for name, taken in best.items():
        print(f"| {name} | {taken:.2f} |")
    print("\n| this | against | times as fast | bar |\n|---|---|---:|---:|")
    for this, other, bar in BARS:
        if this in best and other in best:
            print(f"| {this} | {other} | {best[other] / best[this]:.2f} | {bar:.2f} |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(best, indent=2), encoding="utf-8")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
