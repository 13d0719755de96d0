"""Flicker: how much of what is wrong with a film changes from frame to frame."""

from __future__ import annotations

import math

import numpy as np

from tf_deconv.images.arrays import STILL_LEVELS

# With fewer places that do not move, of all, there is nothing to tell.
_LEAST_SHARE = 0.01


class Flicker:
    """Measures the flicker of a film, frame by frame.

    It is the root mean square of the difference of consecutive residuals, restored minus truth,
    where the truth does not move, in grey levels of 255: what is seen to flicker on a wall or a
    tripod's background. 0 is a film that is wrong in the same way all the time. White noise of
    standard deviation s flickers by sqrt(2) s.

    Reference: where nothing moves it is the warping error of Lai et al. 2018, "Learning blind video
      temporal consistency", equation 11, whose flow is then zero; as a root, and in grey levels.
    """

    def __init__(self):
        self._before: tuple[np.ndarray, np.ndarray] | None = None
        self._squares = 0.0
        self._still = self._seen = 0

    def add(self, restored: np.ndarray, truth: np.ndarray) -> float:
        """Takes the next frame.

        Args:
          restored: (H, W, C) float in [0, 1].
          truth: The same shape.
        Returns:
          The flicker from the frame before to this one, in grey levels; NaN of the first one, and
          where hardly anything stands still.
        """
        residual = np.asarray(restored, np.float32) - truth
        before, self._before = self._before, (residual, truth)
        if before is None:
            return math.nan
        still = (np.abs(truth - before[1]) <= STILL_LEVELS).all(-1)
        changed = (residual - before[0])[still]
        squares, count = float(np.sum(np.square(changed, dtype=np.float64))), int(still.sum())
        self._squares += squares / truth.shape[-1]
        self._still += count
        self._seen += still.size
        if count < _LEAST_SHARE * still.size:
            return math.nan
        return 255 * math.sqrt(squares / truth.shape[-1] / count)

    def result(self) -> float:
        """Returns the flicker of all frames, in grey levels; NaN where hardly anything is still."""
        if not self._still or self._still < _LEAST_SHARE * self._seen:
            return math.nan
        return 255 * math.sqrt(self._squares / self._still)
