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
        `channels_out` and `scale` and returns a Keras functional model.
      divisor: Height and width are padded to a multiple of this inside the exported graphs.
    """

    summary: str
    builder: str
    divisor: int

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
    ),
}
