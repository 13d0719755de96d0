"""Restoration: degraded patches in, clean ones out, scored by PSNR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.data import patches
from tf_deconv.data.config import BUNDLED
from tf_deconv.data.sources import load_source
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations.tasks import Task, find_task
from tf_deconv.images import arrays
from tf_deconv.inference import restorer, run_folder
from tf_deconv.networks import reparameterization
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training import compilation
from tf_deconv.training import scores as run_scores
from tf_deconv.training.config import TrainConfig
from tf_deconv.training.monitor import PSNR
from tf_deconv.training.objective import Objective
from tf_deconv.utils.devices import Device
from tf_deconv.utils.mentions import typed

VALIDATION_PATCHES = 512
# Training patches kept to calibrate int8, large enough to be cut to any export size.
CALIBRATION_PATCHES, CALIBRATION_SIDE_PX = 8, 256
# Held-out pictures that are scored and kept for export, and the longest side kept of each.
SAMPLE_PICTURES, SAMPLE_SIDE_PX = 16, 512
# Side of the pictures in the preview after each epoch; at the end it is twice as long.
EPOCH_PREVIEW_SIDE_PX = 128
# What `python benchmarks/first_run.py --seeds 1 -- --network unet` makes of the held-out pictures.
UNET_LUMINANCE_DB = 29.2


class Restoring(Objective):
    """What networks share that undo what a task did, to pictures and to clips."""

    monitor = PSNR
    task: Task

    def build_saved(self) -> keras.Model:
        return compilation.build_in("float32", self.task, self.config)

    def saved_weights(self, model, weights, saved):
        trained = dict(zip([weight.path for weight in model.weights], weights))
        return reparameterization.fuse(trained, [weight.path for weight in saved.weights])

    def batch_options(self) -> dict[str, Any]:
        """Returns what the run's options say of its training batches."""
        names = ("patch_size", "batch_size", "steps_per_epoch", "seed")
        names += ("candidates", "brightness", "grey")
        return {name: getattr(self.config, name) for name in names}


class Restoration(Restoring):
    """A network that undoes what a task did to pictures."""

    def __init__(self, config: TrainConfig, device: Device):
        """Reads the pictures.

        Raises:
          UserError: if there are none, or too few or too small ones.
        """
        self.task = find_task(config.task, config.degrade, config.self_supervised)
        self.divisor = NETWORKS[config.network].divisor
        source = load_source(
            config.data,
            config.patch_size,
            config.validation_fraction,
            targets=config.targets,
            shrink=config.shrink,
            max_pixels=config.max_pixels,
            value_range=config.range,
        )
        super().__init__(config, device, source, _make_samples(source, self.task, config))

    def build(self) -> keras.Model:
        return compilation.build_in(self.device.precision, self.task, self.config, trained=True)

    def compile(self, model: keras.Model) -> None:
        compilation.compile_model(model, self.config, self.device)

    def description(self) -> dict[str, Any]:
        return {"divisor": self.divisor, "scale": self.task.scale}

    def training_batches(self, first_epoch: int, part: int = 0, parts: int = 1) -> tf.data.Dataset:
        share = dict(first_epoch=first_epoch, part=part, parts=parts)
        store, options = self.source.training, self.batch_options()
        return patches.training_data(store, self.task, **options, **share)

    def validation_batches(self) -> tf.data.Dataset:
        config = self.config
        return patches.validation_data(
            self.source.validation,
            self.task,
            patch_size=config.patch_size,
            batch_size=config.batch_size,
            count=VALIDATION_PATCHES,
            seed=config.seed,
        )

    def baseline(self, validation: tf.data.Dataset) -> float | None:
        return run_scores.do_nothing_psnr_db(validation, self.task)

    def preview(self, saved: keras.Model, *, final: bool) -> np.ndarray:
        options = {} if final else dict(side_px=EPOCH_PREVIEW_SIDE_PX)
        return run_scores.preview(self._restorer(saved), self.samples, self.task, **options)

    def scores(self, saved: keras.Model) -> dict[str, Any]:
        if not self.samples.clean:
            return {}
        return run_scores.evaluate(self._restorer(saved), self.samples, self.task)

    def score_lines(self, result: dict[str, Any]) -> list[str]:
        if "pictures" not in result:
            return ["no scores: there are no clean pictures to compare with"]
        lines = [
            f"{len(result['pictures'])} of {result['held_out_pictures']} held-out pictures (PSNR in"
            " dB, SSIM):",
            f"{'':10}{'colour':>18}{'luminance':>18}",
        ]
        for side in ("input", "output"):
            scores = result[side]
            colour = f"{scores['psnr_db']:.2f}  {scores['ssim']:.4f}"
            grey = f"{scores['luminance_psnr_db']:.2f}  {scores['luminance_ssim']:.4f}"
            lines.append(f"{side:10}{colour:>18}{grey:>18}")
        return lines + run_scores.undamaged_lines(result["pictures"])

    def advice(self) -> list[str]:
        config = self.config
        first = config.network == "article" and config.data == BUNDLED
        if not first or config.task != "old-photo" or config.degrade is not None:
            return []
        return [
            f"better: {typed('train', '--network unet')} (luminance {UNET_LUMINANCE_DB} dB on these"
            " pictures: docs/decisions/0026-first-run.md)"
        ]

    def _restorer(self, model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
        return lambda image: restorer.restore_picture(model, image, self.divisor, self.task.scale)


def _make_samples(source, task: Task, config: TrainConfig) -> run_folder.Samples:
    training = source.training
    smallest = int(min(training.heights.min(), training.widths.min()))
    calibration, *_ = patches.fixed_patches(
        training,
        task,
        patch_size=max(config.patch_size, min(CALIBRATION_SIDE_PX, smallest)),
        count=CALIBRATION_PATCHES,
        seed=config.seed,
    )
    indices = range(min(SAMPLE_PICTURES, len(source.validation)))
    pairs = [_sample_pair(source.validation, index, task, config.seed) for index in indices]
    return run_folder.Samples(
        # Exported models take [0, 1]: noise that leaves it is for training, and for `benchmark`.
        calibration=np.clip(calibration, 0.0, 1.0),
        degraded=tuple(np.clip(degraded, 0.0, 1.0) for degraded, _ in pairs),
        # Without clean pictures there is nothing to score.
        clean=() if task.blind_spots else tuple(clean for _, clean in pairs),
        names=tuple(source.validation.names[index] for index in indices),
    )


def _sample_pair(
    store: PictureStore, index: int, task: Task, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    picture = arrays.middle(store.picture(index), (SAMPLE_SIDE_PX,) * 2)
    levels = None if store.levels is None else store.levels[index]
    return patches.degrade_picture(np.ascontiguousarray(picture), task, seed + index, levels)
