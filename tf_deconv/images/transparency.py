"""Transparent pixels and what a network sees of them: never the colours that nobody sees.

Behind full transparency lies whatever a program left there, black as a rule. A network mixes
neighbours, so that it would come out as a dark rim. What is hidden is filled from the nearest
visible colours instead, and put back afterwards.
"""

from __future__ import annotations

import numpy as np


def fill_hidden(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives hidden pixels the colours of visible ones around them.

    Halves the picture again and again, each pixel weighted by its opacity, and fills each level
    from the one below it: push-pull (Gortler et al., "The Lumigraph", 1996, section 3.4.1).

    Args:
      pixels: (H, W, C), of any real type.
      alpha: (H, W, 1); hidden is where it is 0.
    Returns:
      (H, W, C) of the same type; visible pixels as they were. The picture itself where nothing or
      everything is hidden.
    """
    hidden = alpha[..., 0] == 0
    if not hidden.any() or hidden.all():
        return pixels
    colours = _filled(pixels.astype(np.float32), alpha.astype(np.float32) / np.float32(alpha.max()))
    filled = pixels.copy()
    if pixels.dtype.kind != "f":
        colours = np.rint(colours)
    filled[hidden] = colours[hidden].astype(pixels.dtype)
    return filled


def _filled(colours: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns (H, W, C) in which what weighs nothing is filled; both are float32."""
    known = weights > 0
    if known.all() or max(weights.shape[:2]) == 1:
        return colours
    height, width = weights.shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    heavy, light = np.pad(colours * weights, padding), np.pad(weights, padding)
    total, sums = (
        part[0::2, 0::2] + part[0::2, 1::2] + part[1::2, 0::2] + part[1::2, 1::2]
        for part in (light, heavy)
    )
    means = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    coarse = _filled(means, np.minimum(total, 1))
    below = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(known, colours, below)
