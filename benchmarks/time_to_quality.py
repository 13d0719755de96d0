"""Quality after minutes of training: this project's recipe, a plain one, and DnCNN in PyTorch.

    python benchmarks/time_to_quality.py --data FOLDER [--minutes 30] [--budgets 3,10] [--out DIR]

All learn to denoise grey pictures of any noise level (sigma 0 to 55, not clipped) from the same
pictures, shrunk copies of the photographs in FOLDER, one after the other on the same machine:

- this project: `--network unet --size base` with its own recipe; the rate falls to 0 at the end,
  so there is one run for each budget of minutes;
- plain: the same network with Adam at a constant 1e-3, mean squared error, float32;
- DnCNN-B (Zhang et al. 2017) in PyTorch as published: 20 layers, 64 filters, batch normalisation,
  patches of 50 pixels, batches of 128, mean squared error over the batch, Adam at 1e-3 as in its
  authors' code; channels-last and bfloat16, where that is faster on the machine.

What DIR holds already is not measured again, so an interrupted run goes on: keep it to one machine.
About each minute the network is put to held-out photographs at sigma 15, 25 and 50; the clock
stands still meanwhile. The bar: what DnCNN reaches in 30 minutes, this project reaches in 10.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

SIGMAS = (15, 25, 50)
DEGRADE = "awgn:0-55"
SHRINK, CROP_PX = "2-5", 256
EVALUATE_EVERY_S = 60.0
DNCNN_PATCH_PX, DNCNN_BATCH, DNCNN_LAYERS = 50, 128, 20


def load(data):
    """Returns training pictures and held-out crops, (h, w, 1) float32 each."""
    import numpy as np

    from tf_deconv.data import sources
    from tf_deconv.images import arrays

    source = sources.load_source(data, 64, 0.15, shrink=SHRINK)
    crops = []
    for index in range(len(source.validation)):
        picture = source.validation.picture(index)
        top, left = (max(0, (side - CROP_PX) // 2) for side in picture.shape[:2])
        crop = picture[top : top + CROP_PX, left : left + CROP_PX]
        crop = crop[: crop.shape[0] // 4 * 4, : crop.shape[1] // 4 * 4]
        crops.append(arrays.luminance(arrays.to_float(crop)).astype(np.float32))
    return source.training, crops


class Clock:
    """Minutes of training, without those of measuring; and what was measured when."""

    def __init__(self, minutes, crops, denoise):
        self.limit_s, self.crops, self.denoise = 60.0 * minutes, crops, denoise
        self.points, self.trained_s, self.since = [], 0.0, time.perf_counter()

    def tick(self):
        """Measures when it is time to; tells whether there is time left."""
        trained = self.trained_s + time.perf_counter() - self.since
        last_s = 60.0 * self.points[-1][0] if self.points else 0.0
        if trained < min(self.limit_s, last_s + EVALUATE_EVERY_S):
            return True
        self.points.append((trained / 60.0, self.score()))
        print(f"{self.points[-1][0]:.1f} min {self.points[-1][1]:.2f} dB", file=sys.stderr)
        self.trained_s, self.since = trained, time.perf_counter()
        return trained < self.limit_s

    def score(self):
        """Returns the mean PSNR over pictures and noise levels."""
        import numpy as np

        from tf_deconv.images import metrics

        scores = []
        for number, clean in enumerate(self.crops):
            for sigma in SIGMAS:
                noise = np.random.RandomState(number).normal(0, sigma / 255, clean.shape)
                restored = self.denoise((clean + noise).astype(np.float32))
                scores.append(metrics.psnr_db(np.clip(restored, 0, 1), clean))
        return float(np.mean(scores))


def this_project(data, minutes, plain=False):
    from tf_deconv.cli import main as cli_main

    cli_main.quiet_libraries()
    import dataclasses

    import keras
    import numpy as np

    from tf_deconv.data import patches as pipeline
    from tf_deconv.degradations.tasks import find_task
    from tf_deconv.training import compilation
    from tf_deconv.training.config import TrainConfig, check_train_config
    from tf_deconv.utils import devices

    options = dict(optimizer="adam", learning_rate=1e-3, loss="mse") if plain else {}
    candidates = 1 if plain else 2
    config = check_train_config(
        TrainConfig(network="unet", size="base", task="denoise-grey", steps_per_epoch=50, **options)
    )
    task = find_task(config.task, DEGRADE)
    training, crops = load(data)
    device = devices.choose_device("auto", "float32" if plain else "auto")
    compilation.set_seed(0, device)
    model = compilation.build_in(device.precision, task, config)
    plain_copy = compilation.build_in("float32", task, config)
    batches = pipeline.training_data(
        training,
        task,
        patch_size=config.patch_size,
        batch_size=config.batch_size,
        steps_per_epoch=config.steps_per_epoch,
        seed=0,
        candidates=candidates,
        brightness=1.0 if plain else 0.6,
    )

    def fit(steps, **more):
        model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, **more)

    # The rate has to be 0 when the time is over: how many steps that is, a short run tells.
    compilation.compile_model(model, config, device)
    fit(50)
    started = time.perf_counter()
    fit(100)
    step_s = (time.perf_counter() - started) / 100
    steps = max(1, int(60 * minutes / step_s / config.steps_per_epoch)) * config.steps_per_epoch
    keras.utils.set_random_seed(0)
    model = compilation.build_in(device.precision, task, config)
    compilation.compile_model(
        model, dataclasses.replace(config, epochs=steps // config.steps_per_epoch), device
    )
    if plain:
        model.compile(keras.optimizers.Adam(1e-3), "mse", jit_compile=device.jit_compile)

    def denoise(image):
        plain_copy.set_weights(model.get_weights())
        return np.asarray(plain_copy(image[np.newaxis], training=False))[0]

    # Steps were counted on a machine that may become slower: the last measurement is at their end.
    clock = Clock(minutes if plain else 10 * minutes, crops, denoise)

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if not clock.tick() and plain:
                self.model.stop_training = True

    fit(10 * steps if plain else steps, callbacks=[Watch()])
    if not plain:
        clock.limit_s = 0.0
        clock.tick()
    return clock.points


def dncnn(data, minutes):
    import numpy as np
    import torch
    from torch import nn

    from tf_deconv.images.arrays import luminance, to_float

    training, crops = load(data)
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(inplace=True)]
    for _ in range(DNCNN_LAYERS - 2):
        layers += [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)]
    network = nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1))
    for module in network:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    random = np.random.default_rng(0)
    bfloat16 = "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()

    def batch():
        clean = np.empty((DNCNN_BATCH, 1, DNCNN_PATCH_PX, DNCNN_PATCH_PX), np.float32)
        for patch in clean:
            picture = training.picture(random.integers(len(training)))
            top, left = (random.integers(side - DNCNN_PATCH_PX + 1) for side in picture.shape[:2])
            cut = picture[top : top + DNCNN_PATCH_PX, left : left + DNCNN_PATCH_PX]
            turned = np.rot90(cut[:, :: random.choice((-1, 1))], random.integers(4))
            patch[0] = luminance(to_float(turned))[..., 0]
        sigma = random.uniform(0, 55, (DNCNN_BATCH, 1, 1, 1)).astype(np.float32) / 255
        noise = sigma * random.standard_normal(clean.shape, np.float32)
        return torch.from_numpy(clean + noise), torch.from_numpy(noise)

    def denoise(image):
        network.eval()
        with torch.no_grad():
            noisy = torch.from_numpy(image.transpose(2, 0, 1)[None])
            restored = (noisy - network(noisy)).numpy()[0].transpose(1, 2, 0)
        network.train()
        return restored

    clock = Clock(minutes, crops, denoise)
    while clock.tick():
        noisy, noise = batch()
        optimizer.zero_grad()
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            residual = network(noisy)
        # The paper's loss: half the squared error, summed over a patch, averaged over the batch.
        loss = (residual.float() - noise).square().sum() / (2 * DNCNN_BATCH)
        loss.backward()
        optimizer.step()
    return clock.points


CONTENDERS = {
    "this project": this_project,
    "same network, plain recipe": lambda data, minutes: this_project(data, minutes, plain=True),
    "DnCNN-B, PyTorch": dncnn,
}


def measure(name, data, minutes):
    """Trains in a process of its own; returns [[minutes, dB], ...]."""
    command = [sys.executable, __file__, "--data", data, "--contender", name]
    command += ["--minutes", str(minutes)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def draw(curves, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((8, 5), 120)
    panel = figure.add_subplot()
    for name, points in curves.items():
        style = "o-" if name.startswith("this project") else "-"
        panel.plot(*zip(*points), style, markersize=3, label=name)
    panel.set_xlabel("minutes of training")
    panel.set_ylabel("PSNR on held-out photographs, dB (sigma 15, 25, 50)")
    panel.legend()
    panel.grid(alpha=0.3)
    FigureCanvasAgg(figure).print_png(str(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of photographs")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the others (default: 30)")
    parser.add_argument("--budgets", default="3,10", help="minutes of this project (default: 3,10)")
    parser.add_argument("--out", default="time_to_quality", help="folder for table, plot and JSON")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(CONTENDERS[options.contender](options.data, options.minutes)))
        return
    out = pathlib.Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    plan = [("this project", float(budget)) for budget in options.budgets.split(",")]
    if importlib.util.find_spec("torch") is not None:
        plan.append(("DnCNN-B, PyTorch", options.minutes))
    plan.append(("same network, plain recipe", options.minutes))
    saved = out / "time_to_quality.json"
    curves = json.loads(saved.read_text()) if saved.exists() else {}
    for name, minutes in plan:
        label = f"{name}, {minutes:g} min" if name == "this project" else name
        if label in curves:
            continue
        print(f"{label} ...", file=sys.stderr, flush=True)
        curves[label] = measure(name, options.data, minutes)
        saved.write_text(json.dumps(curves, indent=1))
        draw(curves, out / "time_to_quality.png")
    lines = ["| contender | minutes | PSNR, dB |", "|---|---:|---:|"]
    lines += [f"| {name} | {p[-1][0]:.1f} | {p[-1][1]:.2f} |" for name, p in curves.items()]
    (out / "time_to_quality.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
