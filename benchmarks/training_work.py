"""What the contenders of training.py have in common: the work, its data, how it is timed."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time

# The folder that holds what `prepare` left, told to the process of each contender.
FOLDER_VARIABLE = "BENCHMARK_TRAINING"
REPEATS = 3
TASKS = {"article": "old-photo", "unet": "denoise"}
# Steps of one timed run, and batches in memory, which come round again.
STEPS = {"cpu": {"article": 50, "unet": 20}, "gpu": {"article": 60, "unet": 60}}
BATCHES = {"cpu": {"article": 50, "unet": 20}, "gpu": {"article": 20, "unet": 20}}
# A GPU that gets the networks' own batches is idle: (batch size, patch size) for it.
GPU_SHAPES = {"article": (512, 56), "unet": (64, 128)}


@dataclasses.dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
      device: "cpu" or "gpu".
      network: "article" or "unet".
      size: Of the network; None where it has only one.
      batch_size: Patches in a batch.
      patch_size: Height and width of a patch, in pixels.
    """

    device: str
    network: str
    size: str | None
    batch_size: int
    patch_size: int

    @property
    def steps(self) -> int:
        """Training steps of one timed run."""
        return STEPS[self.device][self.network]

    @property
    def batches(self) -> int:
        """Batches that are in memory."""
        return BATCHES[self.device][self.network]

    @property
    def images(self) -> int:
        """Patches of one timed run."""
        return self.steps * self.batch_size

    def config(self, **options):
        """Returns the checked options of `train.py` for it."""
        from tf_deconv.networks.table import NETWORKS
        from tf_deconv.training.config import TrainConfig, check_train_config

        own = dict(
            network=self.network,
            size=self.size,
            task=TASKS[self.network],
            batch_size=self.batch_size,
            patch_size=self.patch_size,
            steps_per_epoch=self.steps,
            # What every contender has: no average of weights, a loss of single values.
            loss=NETWORKS[self.network].loss,
            ema=0.0,
        )
        return check_train_config(TrainConfig(**own | options))

    def task(self):
        """Returns the task of its pictures."""
        from tf_deconv.degradations import tasks

        return tasks.TASKS[TASKS[self.network]]


def make_work(device, network, size=None, batch_size=None, patch_size=None):
    """Returns the work with what was left out filled in.

    Raises:
      UserError: if `train.py` would not take it.
    """
    config = Work(device, network, size, batch_size, patch_size).config()
    shape = GPU_SHAPES[network] if device == "gpu" else (config.batch_size, config.patch_size)
    return Work(device, network, config.size, batch_size or shape[0], patch_size or shape[1])


def prepare(work):
    """Leaves patches to train on and what PyTorch needs to know of the network.

    They are patches of the bundled photographs: on white noise units die and numbers turn denormal,
    which is slow and not what training is like.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from tf_deconv.data import patches, sources
    from tf_deconv.networks import complexity
    from tf_deconv.training import compilation

    config, task = work.config(), work.task()
    source = sources.load_source(config.data, work.patch_size, config.validation_fraction)
    x, y = patches.fixed_patches(
        source.training,
        task,
        patch_size=work.patch_size,
        count=work.batch_size * work.batches,
        seed=0,
    )
    folder = pathlib.Path(os.environ[FOLDER_VARIABLE])
    np.savez(folder / "pairs.npz", x=x, y=y)
    model = compilation.build_in("float32", task, config)
    forward = complexity.multiply_adds_per_pixel(model) * work.patch_size**2
    facts = dict(
        # A step is three forward passes: forward, gradient by input, gradient by weights.
        step_flops=3 * 2 * forward,
        parameters=model.count_params(),
        channels=[task.channels_in, task.channels_out],
        loss=config.loss,
        optimizer=config.optimizer,
        levels=_levels(work),
        versions=f"TensorFlow {tf.__version__}, Keras {keras.__version__}",
    )
    (folder / "facts.json").write_text(json.dumps(facts))


def _levels(work):
    if work.network != "unet":
        return None
    from tf_deconv.networks.unet import SIZES

    return dataclasses.asdict(SIZES[work.size])


def load_pairs():
    """Returns degraded (N, P, P, C) and clean (N, P, P, C'), float32."""
    import numpy as np

    with np.load(pathlib.Path(os.environ[FOLDER_VARIABLE]) / "pairs.npz") as pairs:
        return pairs["x"], pairs["y"]


def load_facts():
    """Returns what `prepare` found out, a dict."""
    return json.loads((pathlib.Path(os.environ[FOLDER_VARIABLE]) / "facts.json").read_text())


def best_rate(run, work):
    """Returns work per second of the fastest of several runs.

    Args:
      run: Does the work, and returns when the device has done it: a GPU's work has to be waited
        for, by reading a result or by a call for that.
      work: How much it is.
    """
    run()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return work / min(times)
