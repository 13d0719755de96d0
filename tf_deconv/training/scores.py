"""Scores of finished pictures beside those of doing nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deconv.degradations.baseline import do_nothing
from tf_deconv.degradations.tasks import Task
from tf_deconv.images import arrays, metrics, sheets
from tf_deconv.images.arrays import crop_pair
from tf_deconv.inference.run_folder import Samples
from tf_deconv.training import losses

# Rounding to 8 bits alone leaves 58.9 dB.
UNDAMAGED_DB = 58.0


def do_nothing_psnr_db(batches: Iterable[tuple[tf.Tensor, ...]], task: Task) -> float | None:
    """Scores degraded patches as they are, by the very metric that training watches.

    Args:
      batches: (degraded, clean), (N, P / scale, P / scale, C) and (N, P, P, C') float32; without
        clean pictures the weights of pixels too.
      task: Their task.
    Returns:
      The mean over patches of PSNR in decibels; None where nothing was done to any of them.
    """
    metric, equal = losses.Psnr(), True
    for degraded, clean, *weights in batches:
        shown = do_nothing(degraded.numpy(), task)
        equal = equal and np.array_equal(shown, clean)
        metric.update_state(clean, shown, *weights)
    return None if equal else float(metric.result())


def evaluate(
    restore: Callable[[np.ndarray], np.ndarray], samples: Samples, task: Task
) -> dict[str, Any]:
    """Scores the output and, as the baseline, the input of every held-out picture.

    Args:
      restore: (H, W, C) float32 to (H, W, C') float32.
      samples: Held-out pictures.
      task: Their task.
    Returns:
      {"pictures": [{"name", "size", "output": scores, "input": scores}], "output": means,
      "input": means}; the means are over pictures, of decibels over those that are not exact.
    """
    pictures = []
    for name, degraded, clean in zip(samples.names, samples.degraded, samples.clean):
        height, width = clean.shape[:2]
        pictures.append(
            {
                "name": name,
                "size": f"{width}x{height}",
                "output": metrics.score(restore(degraded), clean),
                "input": metrics.score(do_nothing(degraded, task), clean),
            }
        )
    result: dict[str, Any] = {"pictures": pictures}
    for side in ("output", "input"):
        result[side] = {
            name: metrics.mean(picture[side][name] for picture in pictures)
            for name in pictures[0][side]
        }
    return result


def undamaged_lines(scored: list[dict[str, Any]]) -> list[str]:
    """Tells how many inputs have no decibels: where steps happen by chance, none may have.

    Args:
      scored: Entries of `evaluate`, or of clips.
    Returns:
      One line, or none.
    """
    count = sum(entry["input"]["psnr_db"] == math.inf for entry in scored)
    if count in (0, len(scored)):
        return []
    return [f"the mean PSNR of the input leaves out {count} of {len(scored)} that came undamaged"]


def preview(
    restore: Callable[[np.ndarray], np.ndarray],
    samples: Samples,
    task: Task,
    pictures: int = 3,
    side_px: int = 256,
) -> np.ndarray:
    """Shows input, output and target side by side, from the middle of held-out pictures.

    Of pictures with a clean one beside them, a badly, a middling and a lightly damaged one are
    shown; one that was not damaged at all would show nothing.

    Args:
      restore: (H, W, C) float32 to (H, W, C') float32.
      samples: Held-out pictures.
      task: Their task.
      pictures: How many are shown.
      side_px: Longest side that is shown of each clean one, in pixels.
    Returns:
      (H, W, 3) uint8.
    """
    rows, captions = [], []
    if not samples.clean:
        for degraded in samples.degraded[:pictures]:
            degraded, _ = crop_pair(degraded, degraded, side_px, 1)
            rows.append([do_nothing(degraded, task), restore(degraded)])
            captions.append(["input", "output"])
    pairs = [
        crop_pair(degraded, clean, side_px, task.scale)
        for degraded, clean in zip(samples.degraded, samples.clean)
    ]
    for degraded, clean in _spread(pairs, task, pictures):
        restored, shown = restore(degraded), do_nothing(degraded, task)
        # Not `metrics.score`: its SSIM takes as long as restoring, and each epoch draws a preview.
        before, after = (
            metrics.luminance_psnr_db(np.clip(image, 0.0, 1.0), clean)
            for image in (shown, restored)
        )
        rows.append([shown, restored, clean])
        captions.append([f"input, Y {before:.1f} dB", f"output, Y {after:.1f} dB", "target"])
        if task.guesses_colours:
            # Colours are a guess here; beside the grey input, grey shows what was restored.
            rows[-1].insert(1, arrays.luminance(restored))
            captions[-1].insert(1, "output, luminance")
    return sheets.contact_sheet(rows, captions)


def _spread(
    pairs: list[tuple[np.ndarray, np.ndarray]], task: Task, count: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Chooses pairs of all degrees of damage, the most damaged first."""
    scores = [metrics.psnr_db(do_nothing(degraded, task), clean) for degraded, clean in pairs]
    order = [n for n in np.argsort(scores, kind="stable") if scores[n] < UNDAMAGED_DB]
    order = order or [*range(len(pairs))]
    count = min(count, len(order))
    # The middle of each of `count` equal parts.
    return [pairs[order[(2 * part + 1) * len(order) // (2 * count)]] for part in range(count)]
