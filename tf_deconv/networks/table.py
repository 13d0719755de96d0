"""The networks, by name. A network knows channels and sizes, never a task.

The table is importable without TensorFlow; a builder is imported when it is called.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tf_deconv.utils.options import UserError

# Pixels of a frame, along an axis, for each of the state that the network `video` keeps.
STATE_STRIDE = 2
# What files of such a network tell of their state, besides its channels.
STATE = {"stride": STATE_STRIDE, "start": 0.0, "latency_frames": 0}
LIKELIHOODS = ("bernoulli", "gaussian", "logistic")


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
      learning_rate: Peak rate unless the user asks for another.
      loss: Name in `tf_deconv.training.losses` unless the user asks for another.
      sizes: Names of its sizes, the default one first; empty where there is only one. With sizes
        its builder also takes `filters`, `blocks`, `reparameterize` and `relu_twice`.
      levels: Levels of each size, all with the same divisor.
      levels_enlarging: The same of networks that enlarge, where those differ.
      optimizer: Name in `tf_deconv.training.compilation` unless the user asks for another.
      ema: Momentum of the average of weights unless the user asks for another; 0: none.
      frames: Frames of a training clip unless the user asks for another number, for a network of
        moving pictures; 0 for any other.
      generates: Whether it makes pictures from noise; its builder then takes sizes, `channels`,
        `classes` and `filters`, and `levels[""]` tells how many of those there are.
    """

    summary: str
    builder: str
    divisor: int
    patch_size: int
    batch_size: int
    learning_rate: float
    loss: str
    sizes: tuple[str, ...] = ()
    levels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    levels_enlarging: Mapping[str, int] = dataclasses.field(default_factory=dict)
    optimizer: str = "adam"
    ema: float = 0.0
    frames: int = 0
    generates: bool = False

    def levels_of(self, size: str, scale: int) -> int:
        """Returns how many levels a size has where pictures are enlarged by `scale`."""
        levels = self.levels_enlarging if scale > 1 and self.levels_enlarging else self.levels
        return levels[size]

    def build(self, **arguments: Any):
        """Builds the model; see the builder's docstring."""
        import importlib

        module, function = self.builder.split(":")
        return getattr(importlib.import_module(module), function)(**arguments)


def parse_levels(name: str, text: str, levels: int) -> tuple[int, ...]:
    """Reads "24,48,96", one number for each level.

    Raises:
      UserError: if it is not as many numbers as there are levels, each from 1 to 1024.
    """
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != levels or not all(1 <= number <= 1024 for number in numbers):
        count = "one number" if levels == 1 else f"{levels} numbers"
        between = "" if levels == 1 else " with commas between"
        raise UserError(
            f"{name}={text!r}: expected {count} from 1 to 1024{between}, one for each level of the"
            " size"
        )
    return numbers


NETWORKS = {
    "article": Network(
        summary="convolution, max-pooling, two transposed convolutions, dense: 73 thousand weights",
        builder="tf_deconv.networks.article:build_article",
        divisor=2,
        patch_size=28,
        batch_size=64,
        learning_rate=3e-3,
        loss="mse",
        ema=0.98,
    ),
    "unet": Network(
        summary="bias-free residual U-Net: tiny, small (default), base; 11 to 700 thousand weights",
        builder="tf_deconv.networks.unet:build_unet",
        divisor=4,
        patch_size=64,
        batch_size=16,
        # After 300 steps of denoising 30.4 dB; with Adam at its best rate 27.4.
        optimizer="muon",
        learning_rate=4e-3,
        # With Adam after 300 steps 27.8 dB; with the mean squared error 22.2 dB.
        loss="l1",
        sizes=("small", "tiny", "base"),
        levels={"small": 3, "tiny": 3, "base": 2},
        levels_enlarging={"small": 1, "tiny": 1, "base": 2},
    ),
    "video": Network(
        summary="recurrent U-Net for moving pictures: base (default), small, tiny; 14 to 791"
        " thousand weights; begins best with --init photo",
        builder="tf_deconv.networks.video:build_video",
        divisor=4,
        patch_size=96,
        batch_size=1,
        optimizer="muon",
        learning_rate=1e-3,
        loss="l1",
        sizes=("base", "small", "tiny"),
        levels={"base": 2, "small": 2, "tiny": 2},
        frames=7,
    ),
    "vae": Network(
        summary="variational autoencoder of transposed convolutions; generates in one step",
        builder="tf_deconv.networks.vae:build_vae",
        divisor=4,
        patch_size=28,
        batch_size=64,
        learning_rate=1e-3,
        loss="likelihood",
        levels={"": 2},
        ema=0.999,
        generates=True,
    ),
    "flow": Network(
        summary="rectified flow on a U-Net with a time; generates in 1 to 50 steps",
        builder="tf_deconv.networks.flow:build_flow",
        divisor=4,
        patch_size=28,
        batch_size=64,
        optimizer="muon",
        learning_rate=5e-3,
        loss="mse",
        levels={"": 3},
        ema=0.999,
        generates=True,
    ),
}
