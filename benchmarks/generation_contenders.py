"""The networks that `generation.py` compares: how each is trained, opened and timed.

`Ours` goes through `training.trainer.train`, `Theirs` through `generation_baselines`. Both leave
files in a folder, and `open` makes of them an `Opened`, which is all that measuring knows.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PROBE_STEPS = 80
# Share of the time that may go to what comes after each epoch, and the most epochs.
AFTER_EPOCHS_SHARE, MOST_EPOCHS = 0.05, 20

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Opened:
    """A trained network, ready to be measured.

    Attributes:
      warm_up: Compiles what `sample` needs.
      sample: (count, seed) to (count, 28, 28, 1) float32 in [0, 1].
      labels: count to the (count,) labels that those pictures are made with, or to None.
      encode: As `generators.likelihood_bounds` takes it; None without a likelihood.
      log_probability: Likewise.
    """

    warm_up: Callable[[], Any]
    sample: Callable[[int, int], np.ndarray]
    labels: Callable[[int], np.ndarray | None] = lambda count: None
    encode: Callable | None = None
    log_probability: Callable | None = None


class Ours:
    """A network of this project: `train.py --task generate` with its defaults.

    Args:
      title: For the table.
      options: Of `TrainConfig`.
    """

    def __init__(self, title: str, **options: Any):
        self.title, self.options = title, options

    def train(
        self,
        folder: pathlib.Path,
        *,
        data: str,
        pixels: np.ndarray,
        minutes: float,
        steps: int | None,
        seed: int,
        report: Report,
    ) -> dict[str, Any]:
        """Trains and leaves in `folder` what `open` needs.

        Args:
          folder: Exists.
          data: The folder of pictures.
          pixels: Its train part, (N, 28, 28, 1) uint8.
          minutes: Training time.
          steps: The number of steps instead, or None.
          seed: Of everything that is drawn.
          report: Receives lines.
        Returns:
          seconds, passes and parameters, at least.
        """
        from tf_deconv.inference import run_folder
        from tf_deconv.training.callbacks import Interrupted
        from tf_deconv.training.config import TrainConfig
        from tf_deconv.training.trainer import train

        run = folder / "run"
        # What a stopped training left: on a loaded machine nobody knows what its clock was worth.
        shutil.rmtree(run, ignore_errors=True)
        common = dict(task="generate", data=data, seed=seed, run_dir=str(run))
        config = TrainConfig(**common, **self.options)
        epochs, each = (1, steps) if steps else plan(60 * minutes, probe(config, report))
        report(f"{self.title}: {epochs} epochs of {each} steps")
        config = dataclasses.replace(config, epochs=epochs, steps_per_epoch=each)
        try:
            metrics = train(config, report).metrics
        except Interrupted as stop:
            raise KeyboardInterrupt from stop
        batch_size = json.loads((run / "config.json").read_text())["batch_size"]
        return {
            "seconds": metrics["duration_s"],
            "passes": epochs * each * batch_size / metrics["training_pictures"],
            "parameters": run_folder.load_any_model(run / run_folder.MODEL_FILE).count_params(),
            "steps": epochs * each,
            "device": metrics["device"],
        }

    def open(self, folder: pathlib.Path, *, steps: int, guidance: float) -> Opened:
        """Opens what `train` left; a flow takes so many steps with such guidance."""
        from tf_deconv.generation.generator import BATCH, labels_of, sample
        from tf_deconv.generation.keras_generator import log_probability
        from tf_deconv.generation.opening import open_generator

        generator = open_generator(folder / "run")
        make = functools.partial(sample, generator, guidance=guidance)

        def warm_up() -> None:
            # Two sizes: what is compiled after the second takes any.
            for count in (BATCH, BATCH - 1):
                make(count, 0, steps=1)

        opened = Opened(
            warm_up,
            functools.partial(make, steps=steps),
            functools.partial(labels_of, generator.facts),
        )
        if generator.encode is None:
            return opened
        log_likelihood = log_probability(generator.model, generator.facts)
        return dataclasses.replace(
            opened,
            encode=lambda pictures: generator.encode(pictures, None),
            log_probability=lambda pictures, latents: log_likelihood(pictures, latents, None),
        )


class Theirs:
    """A network of `generation_baselines`.

    Args:
      title: For the table.
      kind: Its class.
      function: Trains it.
      parts: Attributes that hold its Keras models.
      options: Of the function.
    """

    def __init__(
        self, title: str, kind: str, function: str, parts: tuple[str, str], **options: Any
    ):
        self.title, self.kind, self.function = title, kind, function
        self.parts, self.options = parts, options

    def train(
        self,
        folder: pathlib.Path,
        *,
        data: str,
        pixels: np.ndarray,
        minutes: float,
        steps: int | None,
        seed: int,
        report: Report,
    ) -> dict[str, Any]:
        """As `Ours.train`."""
        import generation_baselines

        function = getattr(generation_baselines, self.function)
        length = dict(minutes=minutes) if steps is None else dict(steps=steps)
        started = time.monotonic()
        model = function(pixels, seed=seed, report=report, **length, **self.options)
        seconds = time.monotonic() - started
        parts = {part: getattr(model, part) for part in self.parts}
        for part, network in parts.items():
            network.save_weights(folder / f"{part}.weights.h5")
        count = sum(network.count_params() for network in parts.values())
        return {"seconds": seconds, "passes": model.passes, "parameters": count}

    def open(self, folder: pathlib.Path, *, steps: int, guidance: float) -> Opened:
        """As `Ours.open`."""
        import generation_baselines

        model = getattr(generation_baselines, self.kind)()
        for part in self.parts:
            getattr(model, part).load_weights(folder / f"{part}.weights.h5")
        return Opened(
            lambda: model.sample(1, 0),
            model.sample,
            encode=getattr(model, "encode", None),
            log_probability=getattr(model, "log_probability", None),
        )


_KERAS_VAE = ("KerasVae", "train_keras_vae", ("encoder", "decoder"))
_DCGAN = ("Dcgan", "train_dcgan", ("generator", "discriminator"))
CONTENDERS: dict[str, Ours | Theirs] = {
    "vae": Ours("this project's VAE", network="vae"),
    "flow": Ours("this project's flow, told the labels", network="flow", conditional=True),
    "keras-vae": Theirs("Keras documentation's VAE", *_KERAS_VAE),
    "keras-vae-binarised": Theirs(
        "the same, trained on binarised pictures", *_KERAS_VAE, binarise=True
    ),
    "dcgan": Theirs("TensorFlow tutorial's DCGAN", *_DCGAN),
}


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long training takes.

    Attributes:
      start_s: Compiling, above all.
      step_s: A step.
      after_epoch_s: Validation, files and preview after each epoch.
    """

    start_s: float
    step_s: float
    after_epoch_s: float


def probe(config: Any, report: Report) -> Pace:
    """Trains for a few steps as `training.train` does with a `TrainConfig`; leaves no files."""
    from tf_deconv.inference import run_folder
    from tf_deconv.training import compilation
    from tf_deconv.training.config import check_train_config
    from tf_deconv.training.trainer import make_objective
    from tf_deconv.utils.devices import choose_device

    # In epochs of 10 steps one call of the compiled function runs them all, as in training.
    config = check_train_config(dataclasses.replace(config, epochs=100, steps_per_epoch=10))
    device = choose_device(config.device, config.precision)
    objective = make_objective(config, device)
    objective.load(lambda line: None)
    compilation.set_seed(config.seed, device)
    model, saved = objective.build(), objective.build_saved()
    objective.compile(model)
    batches, validation = objective.training_batches(0), objective.validation_batches()

    def fit(steps: int) -> None:
        model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)

    def end_epoch() -> None:
        model.evaluate(validation, verbose=0)
        saved.set_weights(objective.saved_weights(model, model.get_weights(), saved))
        with tempfile.TemporaryDirectory() as folder:
            run_folder.save_model(saved, pathlib.Path(folder, run_folder.MODEL_FILE), {})
        objective.preview(saved, final=False)

    first_steps_s, first_end_s = _seconds(lambda: fit(10)), _seconds(end_epoch)
    step_s, end_s = _seconds(lambda: fit(PROBE_STEPS)) / PROBE_STEPS, _seconds(end_epoch)
    start_s = max(0.0, first_steps_s - 10 * step_s) + max(0.0, first_end_s - end_s)
    report(
        f"probe: {1000 * step_s:.0f} ms a step, {end_s:.1f} s after each epoch,"
        f" {start_s:.0f} s to begin"
    )
    return Pace(start_s, step_s, end_s)


def plan(budget_s: float, pace: Pace) -> tuple[int, int]:
    """Returns the epochs and the steps in each that take a time: at least 1 and 10.

    Steps are a multiple of 10, which one call of the compiled function runs.
    """
    left_s = budget_s - pace.start_s
    epochs = int(AFTER_EPOCHS_SHARE * left_s / max(pace.after_epoch_s, 1e-3))
    epochs = min(max(epochs, 1), MOST_EPOCHS)
    steps = (left_s - epochs * pace.after_epoch_s) / pace.step_s / epochs
    return epochs, 10 * max(1, round(steps / 10))


def _seconds(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
