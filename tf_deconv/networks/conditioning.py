"""What the networks that generate share: how a label or a time reaches convolutions."""

from __future__ import annotations

import numpy as np
from keras import layers, ops


def check_shape(
    height: int, width: int, channels: int, classes: int, divisor: int, filters: tuple[int, ...]
) -> None:
    """Refuses sizes and counts that no generator can be built with.

    Raises:
      ValueError: with every fault in one line.
    """
    faults = []
    for name, value in (("height", height), ("width", width)):
        if type(value) is not int or value < 1 or value % divisor:
            faults.append(f"{name}={value!r}: expected a multiple of {divisor}")
    if channels not in (1, 3):
        faults.append(f"channels={channels!r}: expected 1 (grey) or 3 (colour)")
    if type(classes) is not int or classes < 0:
        faults.append(f"classes={classes!r}: expected a number of classes, 0 for none")
    if not filters or not all(type(count) is int and count > 0 for count in filters):
        faults.append(f"filters={filters!r}: expected positive integers, one for each level")
    if faults:
        raise ValueError("; ".join(faults))


def label_embedding(label, classes: int, size: int, name: str):
    """Turns labels (N,) int32 into (N, size), learned; a table of `classes` rows."""
    return layers.Embedding(classes, size, embeddings_initializer="he_normal", name=name)(label)


def time_features(time, size: int, name: str):
    """Turns times (N,) in [0, 1] into (N, size): sines and cosines of rising frequency.

    The frequencies go from 1 to 1,000 radians, evenly on a logarithmic scale (after Vaswani et al.
    2017; times of diffusion models in [0, 1000]).
    """
    # Rounded to what float16 holds, as weights are: a file of halves has the very same. Not a dense
    # layer, whose weights int8 would round.
    frequencies = np.geomspace(1.0, 1000.0, size // 2).astype("float16").astype("float32")
    angles = (
        layers.Reshape((1,), dtype="float32", name=f"{name}_time")(time) * frequencies[np.newaxis]
    )
    waves = [ops.sin(angles), ops.cos(angles)]
    return layers.Concatenate(dtype="float32", name=name)(waves)


def modulate(x, embedding, name: str):
    """Scales and shifts the channels of (N, H, W, F) by what (N, E) says (Perez et al. 2018).

    It begins as the identity: the weights of both are zeros.
    """
    filters = x.shape[-1]
    scale, shift = (
        layers.Reshape((1, 1, filters), name=f"{name}_{kind}_reshape")(
            layers.Dense(filters, kernel_initializer="zeros", name=f"{name}_{kind}")(embedding)
        )
        for kind in ("scale", "shift")
    )
    scaled = layers.Multiply(name=f"{name}_scaled")([x, scale])
    return layers.Add(name=f"{name}_modulated")([x, scaled, shift])
