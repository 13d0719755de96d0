"""Training speed of the article's network: this project, Keras's defaults, PyTorch.

    python benchmarks/training.py [--rounds 3] [--json FILE]

Every contender trains the same network (73,167 weights, Adam, mean squared error) on the same
shapes (28x28x1 to 28x28x3, batch 64) in a process of its own. They take turns, round after round,
so that a noisy machine is noisy for all of them. Reported is the best of each one's rounds,
for noise only ever slows, and its ratio to this project's. The machine's own matrix product,
measured in the same run, tells what share of it a step reaches. PyTorch's contenders are left out
where torch is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

BATCH = 64
STEPS, REPEATS = 50, 3
PAIRS_VARIABLE = "BENCHMARK_PAIRS"
# Multiply-adds of one forward pass per picture, layer by layer; a training step is three of them
# (forward, gradient by input, gradient by weights).
FORWARD_MACS = (
    28 * 28 * 9 * 1 * 32
    + 14 * 14 * 16 * 32 * 64
    + 28 * 28 * 9 * 64 * 64
    + 28 * 28 * 16 * 64 * 3
    + 28 * 28 * 3 * 3
)
STEP_FLOPS = 3 * 2 * FORWARD_MACS


def make_pairs(path):
    """Writes (degraded, clean) patches of the bundled photographs: every contender trains on them.

    On white noise units die and numbers turn denormal, which is slow and not what training is like.
    """
    import numpy as np

    from tf_deconv import data, sources
    from tf_deconv.tasks import TASKS

    source = sources.load_source("bundled", 28, 0.1)
    x, y = data.fixed_patches(
        source.training, TASKS["old-photo"], patch_size=28, count=BATCH * STEPS, seed=0
    )
    np.savez(path, x=x, y=y)


def load_pairs():
    import numpy as np

    with np.load(os.environ[PAIRS_VARIABLE]) as pairs:
        return pairs["x"], pairs["y"]


def best_rate(run, work):
    """Returns work per second of the fastest of several runs."""
    run()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return work / min(times)


def train_py_step(pipeline):
    """`train.py`'s own compile and precision; data from memory, or from its own pipeline."""
    from tf_deconv import cli

    cli.quiet_libraries()
    import tensorflow as tf

    from tf_deconv import data, devices, recipe, sources
    from tf_deconv.checks import check_train_config
    from tf_deconv.config import TrainConfig
    from tf_deconv.tasks import TASKS

    device = devices.choose_device()
    recipe.set_seed(0, device)
    config = check_train_config(TrainConfig(batch_size=BATCH, steps_per_epoch=STEPS))
    task = TASKS[config.task]
    model = recipe.build_in(device.precision, task, config)
    recipe.compile_model(model, config, device)
    if pipeline:
        source = sources.load_source(config.data, config.patch_size, config.validation_fraction)
        batches = data.training_data(
            source.training, task, patch_size=28, batch_size=BATCH, steps_per_epoch=STEPS, seed=0
        )
    else:
        x, y = load_pairs()
        batches = tf.data.Dataset.from_tensors((x[:BATCH], y[:BATCH])).repeat()
    return best_rate(
        lambda: model.fit(batches, steps_per_epoch=STEPS, verbose=0, shuffle=False), BATCH * STEPS
    )


def keras_fit(batch_size=BATCH, **arguments):
    """The same layers, `compile(optimizer, loss)` and `fit(arrays)`, nothing else said."""
    from tf_deconv.networks.article import build_article

    model = build_article()
    model.compile("adam", "mse", **arguments)
    x, y = load_pairs()
    return best_rate(lambda: model.fit(x, y, batch_size=batch_size, verbose=0), BATCH * STEPS)


def pytorch(bfloat16, compiled):
    """The same network in PyTorch, channels-last."""
    import torch
    from torch import nn

    class Article(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Conv2d(1, 32, 3, padding=1)
            self.deconv_1 = nn.ConvTranspose2d(32, 64, 4, stride=2, padding=1)
            self.conv = nn.Conv2d(64, 64, 3, padding=1)
            self.deconv_2 = nn.ConvTranspose2d(64, 3, 4)
            self.dense = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.encoder(x)), 2)
            x = torch.relu(self.conv(torch.relu(self.deconv_1(x))))
            x = torch.relu(self.deconv_2(x)[:, :, 1:-2, 1:-2])
            return torch.sigmoid(self.dense(x))

    layout = torch.channels_last
    model = Article().to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters())
    x, y = (
        torch.from_numpy(array[:BATCH]).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for array in load_pairs()
    )
    call = torch.compile(model) if compiled else model

    def run():
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                output = call(x)
            nn.functional.mse_loss(output.float(), y).backward()
            optimizer.step()

    return best_rate(run, BATCH * STEPS)


def matrix_product(dtype):
    """The machine's matrix product in GFLOP/s."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    import tensorflow as tf

    size, count = 2048, 4
    a = tf.cast(tf.random.normal((size, size)), dtype)
    product = tf.function(lambda a: tf.matmul(a, a), jit_compile=False)

    def run():
        for _ in range(count):
            product(a).numpy()

    return best_rate(run, count * 2 * size**3) / 1e9


CONTENDERS = {
    "train.py, whole pipeline": lambda: train_py_step(pipeline=True),
    "train.py, step alone": lambda: train_py_step(pipeline=False),
    "Keras fit, its defaults (batch 32)": lambda: keras_fit(batch_size=None),
    "Keras fit, its defaults but batch 64": keras_fit,
    "Keras fit, jit_compile=True": lambda: keras_fit(jit_compile=True),
    "PyTorch float32 channels-last": lambda: pytorch(bfloat16=False, compiled=False),
    "PyTorch bfloat16 channels-last": lambda: pytorch(bfloat16=True, compiled=False),
    "PyTorch bfloat16 channels-last, torch.compile": lambda: pytorch(bfloat16=True, compiled=True),
    "matrix product float32, GFLOP/s": lambda: matrix_product("float32"),
    "matrix product bfloat16, GFLOP/s": lambda: matrix_product("bfloat16"),
}
BASE = "train.py, step alone"


def measure(name):
    """Runs one contender in a fresh process; None when it fails."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--contender", name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        print(f"{name}: failed: {lines[-1]}", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def describe_machine():
    from tf_deconv import devices

    flags = sorted(
        {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"} & devices.cpu_flags()
    )
    return f"{os.cpu_count()} CPU threads ({', '.join(flags)}), Python {platform.python_version()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(CONTENDERS[options.contender]())
        return
    has_torch = importlib.util.find_spec("torch") is not None
    names = [name for name in CONTENDERS if has_torch or "PyTorch" not in name]
    figures = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        os.environ[PAIRS_VARIABLE] = os.path.join(folder, "pairs.npz")
        make_pairs(os.environ[PAIRS_VARIABLE])
        for turn in range(options.rounds):
            for name in names:
                if (value := measure(name)) is not None:
                    figures[name].append(value)
                shown = value and round(value)
                print(f"round {turn + 1}: {name}: {shown}", file=sys.stderr, flush=True)
    best = {name: max(values) for name, values in figures.items() if values}
    print(f"{describe_machine()}; batch {BATCH}, best of {options.rounds} rounds\n")
    print("| contender | images/s | train.py's step is ... times as fast | GFLOP/s |")
    print("|---|---:|---:|---:|")
    for name, value in best.items():
        if "GFLOP/s" in name:
            print(f"| {name.replace(', GFLOP/s', '')} | | | {value:.0f} |")
        else:
            ratio, speed = best[BASE] / value, value * STEP_FLOPS / 1e9
            print(f"| {name} | {value:.0f} | {ratio:.2f} | {speed:.0f} |")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as stream:
            json.dump({"machine": describe_machine(), "rounds": figures}, stream, indent=2)


if __name__ == "__main__":
    main()
