"""Doing nothing: the score that every restoration has to beat."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import Task
from tf_deconv.images import metrics


def do_nothing(degraded: np.ndarray, task: Task) -> np.ndarray:
    """Shows a degraded picture as a user would see it without any network: the baseline.

    Args:
      degraded: (H, W, channels_in) or (N, H, W, channels_in) float32 in [0, 1].
      task: Its task.
    Returns:
      (H * scale, W * scale, channels_out), after N where there is one: a mask taken off, grey
      repeated, small pictures made larger by bicubic interpolation.
    """
    image = degraded[..., :-1] if task.mask else degraded
    if task.scale > 1:
        # Pictures of a batch go through as channels of one: `upsample` treats each by itself.
        image = np.moveaxis(image, -1, 0)  # (C, [N,] H, W)
        planes = image.reshape(-1, *image.shape[-2:])
        planes = operators.upsample(tf.constant(planes.transpose(1, 2, 0)), task.scale).numpy()
        planes = planes.transpose(2, 0, 1)
        image = np.moveaxis(planes.reshape(*image.shape[:-2], *planes.shape[1:]), 0, -1)
    return metrics.match_channels(image, task.channels_out)
