"""Restoration of moving pictures: degraded clips in, clean ones out, by a network with a state."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.data import clips
from tf_deconv.data.downscaling import parse_shrink
from tf_deconv.degradations.tasks import find_task
from tf_deconv.images import metrics, sheets
from tf_deconv.inference import run_folder
from tf_deconv.inference.streaming import keras_cell, restore_clip
from tf_deconv.networks import video
from tf_deconv.networks.table import NETWORKS, STATE
from tf_deconv.training import compilation, losses
from tf_deconv.training import scores as run_scores
from tf_deconv.training.config import TrainConfig
from tf_deconv.training.restoration import Restoring
from tf_deconv.utils.devices import Device

VALIDATION_CLIPS = 48
# Where degradations happen by chance, some clips are as good as clean. A tenth of a level more or
# less is 20 dB there, which outweighed what 6,000 steps brought to all others: the first epoch was
# kept. 40 dB are 2.5 levels of 255, which nobody sees in a film.
_LEAST_MSE = 1e-4
# Held-out clips that are scored and kept for export, and clips of training that are kept.
SAMPLE_CLIPS, CALIBRATION_CLIPS = 12, 4
# Clips of the preview, and how many frames of each.
PREVIEW_CLIPS, PREVIEW_FRAMES = 4, 3


class ClipRestoration(Restoring):
    """A network that undoes what a task did to clips, one frame after the other."""

    examples = "clips"

    def __init__(self, config: TrainConfig, device: Device):
        """Opens the clips.

        Raises:
          UserError: if there are none, or too few or too small ones.
        """
        self.task = find_task(config.task, config.degrade)
        self.divisor = NETWORKS[config.network].divisor
        clips.check_task(config.task, self.task)
        given = {} if config.shrink is None else {"shrink": parse_shrink(config.shrink)}
        source = clips.load_clips(
            config.data,
            config.frames,
            config.patch_size,
            config.validation_fraction,
            max_pixels=config.max_pixels,
            value_range=config.range,
            **given,
        )
        super().__init__(config, device, source, self._samples(config, source))

    @property
    def ranges(self) -> dict[str, Any]:
        return {}  # Clips have 8 bits.

    def build(self) -> keras.Model:
        precision = self.device.precision
        cell = compilation.build_in(precision, self.task, self.config, trained=True)
        with compilation.dtype_policy(precision):
            return video.unroll(cell, self.config.frames)

    def network_in(self, model: keras.Model) -> keras.Model:
        return model.get_layer(video.NAME)

    def compile(self, model: keras.Model) -> None:
        metrics = [losses.Psnr(least_mse=_LEAST_MSE)]
        compilation.compile_model(model, self.config, self.device, metrics)

    def description(self) -> dict[str, Any]:
        return {"divisor": self.divisor, "scale": 1, "state": STATE}

    def training_batches(self, first_epoch: int, part: int = 0, parts: int = 1) -> tf.data.Dataset:
        share = dict(first_epoch=first_epoch, part=part, parts=parts)
        options = self.batch_options() | {"frames": self.config.frames}
        return clips.training_clips(self.source.training, self.task, **options, **share)

    def validation_batches(self) -> tf.data.Dataset:
        config = self.config
        return clips.validation_clips(
            self.source.validation,
            self.task,
            frames=config.frames,
            patch_size=config.patch_size,
            batch_size=config.batch_size,
            count=VALIDATION_CLIPS,
            seed=config.seed,
        )

    def baseline(self, validation: tf.data.Dataset) -> float | None:
        metric = losses.Psnr(least_mse=_LEAST_MSE)
        for degraded, clean in validation:
            metric.update_state(clean, degraded)
        return float(metric.result())

    def preview(self, saved: keras.Model, *, final: bool) -> np.ndarray:
        """Shows frames of held-out clips: each as it came, restored, and as it should be."""
        samples, rows, captions = self.samples, [], []
        for degraded, clean in list(zip(samples.degraded, samples.clean))[:PREVIEW_CLIPS]:
            last = len(degraded)
            restored = self._restore(saved, degraded)
            shown = np.linspace(0, last - 1, PREVIEW_FRAMES).round().astype(int)
            for what, clip in (("input", degraded), ("output", restored), ("target", clean)):
                rows.append([clip[number] for number in shown])
                told = [what, *(f"frame {number}" for number in shown[1:])]
                if what != "target":
                    scores = (_db(clip[number], clean[number]) for number in shown)
                    told = [f"{name}, {db:.1f} dB" for name, db in zip(told, scores)]
                captions.append(told)
        return sheets.contact_sheet(rows, captions)

    def scores(self, saved: keras.Model) -> dict[str, Any]:
        """Scores held-out clips, each figure the mean over its frames."""
        result: dict[str, Any] = {"clips": []}
        samples = self.samples
        for name, degraded, clean in zip(samples.names, samples.degraded, samples.clean):
            restored = self._restore(saved, degraded)
            height, width = clean.shape[1:3]
            result["clips"].append(
                {
                    "name": name,
                    "size": f"{width}x{height}",
                    "frames": len(clean),
                    "output": _scores(restored, clean),
                    "input": _scores(degraded, clean),
                }
            )
        for side in ("input", "output"):
            result[side] = {
                name: metrics.mean(clip[side][name] for clip in result["clips"])
                for name in result["clips"][0][side]
            }
        return result

    def score_lines(self, result: dict[str, Any]) -> list[str]:
        lines = [f"{len(result['clips'])} held-out clips (PSNR in dB, SSIM, flicker of 255):"]
        for side in ("input", "output"):
            scores = result[side]
            lines.append(
                f"{side:10}{scores['psnr_db']:8.2f}  {scores['ssim']:.4f}  {scores['flicker']:6.2f}"
            )
        return lines + run_scores.undamaged_lines(result["clips"])

    def _restore(self, saved: keras.Model, clip: np.ndarray) -> np.ndarray:
        cell = keras_cell(saved, self.divisor, 0)
        return restore_clip(cell, clip)

    def _samples(self, config: TrainConfig, source: clips.ClipSource) -> run_folder.Samples:
        fixed = dict(patch_size=config.patch_size, frames=config.frames, seed=config.seed)
        degraded, clean = clips.fixed_clips(
            source.validation, self.task, count=SAMPLE_CLIPS, **fixed
        )
        calibration, _ = clips.fixed_clips(
            source.training, self.task, count=CALIBRATION_CLIPS, **fixed
        )
        return run_folder.Samples(
            calibration=np.clip(calibration, 0.0, 1.0),
            degraded=tuple(np.clip(degraded, 0.0, 1.0)),
            clean=tuple(clean),
            names=tuple(f"clip {number}" for number in range(1, len(degraded) + 1)),
        )


def _db(frame: np.ndarray, clean: np.ndarray) -> float:
    return metrics.psnr_db(np.clip(frame, 0.0, 1.0), clean)


def _scores(clip: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """Scores a clip: PSNR and SSIM, means over frames, and flicker.

    Flicker is the root mean square, of 255, of how much the error changes from frame to frame.
    """
    error = np.clip(clip, 0.0, 1.0) - clean
    frames = list(zip(np.clip(clip, 0.0, 1.0), clean))
    return {
        "psnr_db": metrics.mean(metrics.psnr_db_or_exact(*pair) for pair in frames),
        "ssim": metrics.mean(metrics.ssim(*pair) for pair in frames),
        "flicker": float(255 * math.sqrt(np.mean(np.square(np.diff(error, axis=0))))),
    }
