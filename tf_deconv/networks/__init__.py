"""The networks, by name. A network knows channels and sizes, never a task.

The table is importable without TensorFlow; a builder is imported when it is called.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Network:
    """One architecture.

    Attributes:
      summary: One line for `--help`.
      builder: "module:function"; the function takes `height`, `width`, `channels_in`,
        `channels_out` and `scale` (`size` too where there are sizes) and returns a Keras
        functional model.
      divisor: Height and width are padded to a multiple of this inside the exported graphs.
      patch_size: Side of a training patch unless the user asks for another, in pixels.
      batch_size: Patches in a batch unless the user asks for another number.
      learning_rate: Peak rate of Adam unless the user asks for another.
      loss: Name in `tf_deconv.losses` unless the user asks for another.
      sizes: Names of its sizes, the default one first; empty where there is only one.
    """

    summary: str
    builder: str
    divisor: int
    patch_size: int
    batch_size: int
    learning_rate: float
    loss: str
    sizes: tuple[str, ...] = ()

    def build(self, **arguments: Any):
        """Builds the model; see the builder's docstring."""
        import importlib

        module, function = self.builder.split(":")
        return getattr(importlib.import_module(module), function)(**arguments)


NETWORKS = {
    "article": Network(
        summary="convolution, max-pooling, two transposed convolutions, dense: 73 thousand weights",
        builder="tf_deconv.networks.article:build_article",
        divisor=2,
        patch_size=28,
        batch_size=64,
        learning_rate=3e-3,
        loss="mse",
    ),
    "unet": Network(
        summary="residual U-Net, bias-free: tiny, small (default) or base, 11 thousand to a million"
        " weights",
        builder="tf_deconv.networks.unet:build_unet",
        divisor=4,
        patch_size=64,
        batch_size=16,
        learning_rate=3e-3,
        # After 300 steps of denoising 27.8 dB; with the mean squared error 22.2 dB.
        loss="l1",
        sizes=("small", "tiny", "base"),
    ),
}
