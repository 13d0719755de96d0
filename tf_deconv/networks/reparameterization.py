"""Convolutions that are trained as two and run as one (Ding et al. 2021, RepVGG; ECBSR, SESR).

A 1x1 convolution beside a 3x3 one adds weights that are redundant once trained, and change the way
there. A layer named NAME + `POINT` is the one beside NAME.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

POINT = "_point"


def fuse(trained: Mapping[str, np.ndarray], paths: list[str]) -> list[np.ndarray]:
    """Computes the weights of the plain network that gives the same output.

    Args:
      trained: Weights of the network as trained, by path such as "head/kernel"; one without layers
        named with `POINT` comes back as it is.
      paths: Those of the plain network's weights, in its order.
    Returns:
      The plain network's weights.
    """
    fused = []
    for path in paths:
        kernel = trained[path]
        layer, _, name = path.rpartition("/")
        point = trained.get(f"{layer}{POINT}/{name}")
        if point is not None:  # A 1x1 convolution is a 3x3 one with weights in the middle alone.
            kernel = np.array(kernel)
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] += point[0, 0]
        fused.append(kernel)
    return fused
