"""What a network can learn to undo: an entry in a table, not a trainer.

A task turns a clean picture and a seed into (degraded, clean). The table is importable without
TensorFlow; the operators are imported when a pair is made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

# 25 of 255 grey levels: the middle of the three noise levels that the denoising literature reports.
NOISE_STDDEV = 25 / 255


@dataclasses.dataclass(frozen=True)
class Task:
    """One thing to learn.

    Attributes:
      summary: One line for `--help`: what goes in, what comes out.
      channels_in: Channels of the degraded picture.
      channels_out: Channels of the clean one.
      make_pair: (clean colour picture (H, W, 3) float32 in [0, 1], seed (2,) int32) to
        (degraded (H, W, channels_in), clean (H * scale, W * scale, channels_out)).
      scale: Output pixels per input pixel along each axis.
      loss: Name in `tf_deconv.losses`, unless the user asks for another.
    """

    summary: str
    channels_in: int
    channels_out: int
    make_pair: Callable[[Any, Any], tuple[Any, Any]]
    scale: int = 1
    loss: str = "mse"


def _old_photo(picture: Any, seed: Any) -> tuple[Any, Any]:
    from tf_deconv import degradations

    grey = degradations.luminance(picture)
    return degradations.add_gaussian_noise(grey, NOISE_STDDEV, seed), picture


def _denoise(picture: Any, seed: Any) -> tuple[Any, Any]:
    from tf_deconv import degradations

    return degradations.add_gaussian_noise(picture, NOISE_STDDEV, seed), picture


TASKS = {
    "old-photo": Task(
        summary="a noisy grey photograph (sigma 25/255) in, a clean colour one out",
        channels_in=1,
        channels_out=3,
        make_pair=_old_photo,
    ),
    "denoise": Task(
        summary="a noisy colour picture (sigma 25/255) in, a clean one out",
        channels_in=3,
        channels_out=3,
        make_pair=_denoise,
    ),
}
