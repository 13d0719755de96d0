"""A bias-free residual U-Net whose way up is transposed convolutions of kernel = stride.

After DRUNet (Zhang et al. 2021, "Plug-and-Play Image Restoration with Deep Denoiser Prior"):
residual blocks without normalisation, strided 2x2 convolutions down, transposed ones up, skips that
are added. A kernel as large as its stride gives every output pixel exactly one input pixel per
weight: there is no uneven overlap, hence no checkerboard (Odena et al. 2016).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from tf_deconv.networks import reparameterization

DIVISOR = 4


@dataclasses.dataclass(frozen=True)
class Size:
    """How large a network is.

    Attributes:
      filters: Filters of each level, from the finest down.
      blocks: Residual blocks of each level: on either side, and the last one's at the bottom.
      space_to_depth: Whether the finest level has half the picture's resolution: four pixels are
        taken as channels of one, as in FFDNet (Zhang et al. 2018), for a quarter of the work.
    """

    filters: tuple[int, ...]
    blocks: tuple[int, ...]
    space_to_depth: bool = False


# A multiple of 4 in height and width fits each of them: `DIVISOR`.
SIZES = {
    "tiny": Size((8, 8, 16), (1, 1, 1)),
    "small": Size((16, 32, 48), (1, 1, 1)),
    # The shape that learned most in a given time: docs/decisions/0011-base-size.md.
    "base": Size((48, 96), (2, 3), space_to_depth=True),
}
# Sizes of networks that enlarge (docs/decisions/0017-enlarging.md). Their pictures are small
# already, and at half the resolution little is left to see. Each pixel becomes `scale`² pixels of
# a few channels, so it needs as many filters.
ENLARGING = {
    "tiny": Size((16,), (2,)),
    "small": Size((40,), (3,)),
    "base": Size((48, 96), (2, 3)),
}
# A description or a manifest that anyone may have edited tells filters and blocks.
_LARGEST_WEIGHTS = 2**27


def build_unet(
    height: int | None = None,
    width: int | None = None,
    channels_in: int = 3,
    channels_out: int = 3,
    scale: int = 1,
    size: str = "small",
    *,
    filters: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    space_to_depth: bool | None = None,
    use_bias: bool = False,
    reparameterize: bool = False,
    relu_twice: bool = False,
    blind_to_levels: bool = False,
) -> keras.Model:
    """Builds head, levels down, levels up, tail; the input is added to what comes out.

    Without biases the network is positively homogeneous, f(a x) = a f(x) for a > 0, so it works at
    noise levels it was not trained at (Mohan et al. 2020).

    Args:
      height: Pixels, a multiple of the divisor; None for any. The divisor is 2 to the number of
        levels below the finest, twice that with `space_to_depth`; 4 for every size in `SIZES`.
      width: Likewise.
      channels_in: Channels of the input.
      channels_out: Channels of the output.
      scale: Output pixels per input pixel along each axis; the tail is then a transposed
        convolution.
      size: Key of `SIZES`, or of `ENLARGING` where `scale` is more than 1: about 11 thousand, 100
        thousand and 700 thousand weights.
      filters: Replaces the size's filters; as many numbers as there shall be levels.
      blocks: Replaces the size's numbers of blocks; as many numbers as levels.
      space_to_depth: Replaces the size's, which is for `scale` 1 only.
      use_bias: Whether convolutions have biases.
      reparameterize: Whether each 3x3 convolution of a block is trained with a 1x1 one beside it;
        `reparameterization.fuse` makes it one again, with the same output.
      relu_twice: Whether a block has a ReLU before its first convolution too (He et al. 2016,
        "Identity Mappings in Deep Residual Networks", without normalisation): as many weights and
        multiply-adds, and twice as many bends on the way (docs/decisions/0035-two-relus.md).
      blind_to_levels: Whether training keeps the head's kernels at sum 0 in each channel. Without
        biases the network then sees differences only, and f(a x + b) = a f(x) + b for any colour b:
        it cannot shift colours (docs/decisions/0012-blind-to-levels.md).
    Returns:
      A functional model, (N, height, width, channels_in) float32 in [0, 1] to
      (N, height * scale, width * scale, channels_out) float32; the output is not clipped.
    Raises:
      ValueError: if a size or channel count is not allowed; the output has as many channels as the
        input, one less (the last one is a mask then), or any number where the input has one.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r}: expected one of {', '.join(SIZES)}")
    preset = (SIZES if scale == 1 else ENLARGING)[size]
    counts = dict(channels_in=channels_in, channels_out=channels_out, scale=scale)
    chosen = choose(preset, filters, blocks, space_to_depth, counts)
    if channels_in not in (1, channels_out, channels_out + 1):
        raise ValueError(
            f"channels_in={channels_in} and channels_out={channels_out}: expected equal numbers,"
            " one more in (a mask), or 1 in"
        )
    check_sides(chosen, height, width)

    image = keras.Input((height, width, channels_in), name="image", dtype="float32")
    build = Builder(use_bias, reparameterize, relu_twice)
    constraint = ZeroSum() if blind_to_levels else None
    x = build.head(
        image, chosen.filters[0], chosen.space_to_depth, constraint
    )  # (N, H or H/2, ..., filters)
    x = build.levels(x, chosen)

    # Zeros: training begins at the input itself, from which every task of this kind starts.
    enlarge = scale * (2 if chosen.space_to_depth else 1)
    if enlarge == 1:
        x = build.conv(x, channels_out, 3, "tail", kernel_initializer="zeros")
    else:
        name = "tail_deconv"  # (N, H * scale, W * scale, C')
        x = build.deconv(x, channels_out, enlarge, name, kernel_initializer="zeros")
    # float32 under mixed precision, so that no picture has only 8 bits.
    base = _base(image, channels_out, scale)
    restored = layers.Add(dtype="float32", name="restored")([base, x])
    return keras.Model(image, restored, name="unet")


def choose(
    preset: Size,
    filters: Sequence[int] | None,
    blocks: Sequence[int] | None,
    space_to_depth: bool | None,
    counts: dict[str, int],
) -> Size:
    """Returns a size with what replaces parts of it.

    Raises:
      ValueError: if a number is not allowed, one of the other `counts` either.
    """
    chosen = Size(
        preset.filters if filters is None else tuple(filters),
        preset.blocks if blocks is None else tuple(blocks),
        preset.space_to_depth if space_to_depth is None else space_to_depth,
    )
    if not chosen.filters or len(chosen.filters) != len(chosen.blocks):
        raise ValueError(
            f"filters={chosen.filters} and blocks={chosen.blocks}: expected one number of each for"
            " every level"
        )
    for field in ("filters", "blocks"):
        counts |= {f"{field}[{i}]": count for i, count in enumerate(getattr(chosen, field))}
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name}={value!r}: expected a positive integer")
    pairs = zip(chosen.filters, chosen.blocks)
    if sum(36 * count * count * number for count, number in pairs) > _LARGEST_WEIGHTS:
        raise ValueError(
            f"filters={chosen.filters} and blocks={chosen.blocks}: expected at most"
            f" {_LARGEST_WEIGHTS:,} weights"
        )
    return chosen


def check_sides(chosen: Size, height: int | None, width: int | None) -> None:
    """Refuses a height or width that the levels of a size do not divide.

    Raises:
      ValueError: naming it; None is any.
    """
    divisor = 2 ** (len(chosen.filters) - 1) * (2 if chosen.space_to_depth else 1)
    for name, value in dict(height=height, width=width).items():
        if value is not None and (type(value) is not int or value < 1 or value % divisor):
            raise ValueError(f"{name}={value!r}: expected a multiple of {divisor}, or None for any")


class ZeroSum(keras.constraints.Constraint):
    """Keeps a convolution's kernel (h, w, in, out) at sum 0 for each input and output channel."""

    def __call__(self, kernel):
        return kernel - ops.mean(kernel, axis=(0, 1), keepdims=True)


@dataclasses.dataclass(frozen=True)
class Builder:
    """The layers, which share whether they have biases, how they are trained, and how they bend."""

    use_bias: bool
    reparameterize: bool
    relu_twice: bool = False

    def head(
        self,
        image: keras.KerasTensor,
        filters: int,
        space_to_depth: bool,
        constraint,
        name: str = "head",
    ) -> keras.KerasTensor:
        # Six pixels at stride 2 are three groups of 2x2: space-to-depth and then 3x3, in one layer
        # that every runtime has.
        kernel_size, strides = (6, 2) if space_to_depth else (3, 1)
        # Mirrored, not black: a border is not an edge.
        side = 2 * [(kernel_size - strides) // 2]
        image = ops.pad(image, [[0, 0], side, side, [0, 0]], mode="reflect")
        options = dict(strides=strides, padding="valid", kernel_constraint=constraint)
        return self.conv(image, filters, kernel_size, name, **options)

    def levels(self, x: keras.KerasTensor, chosen: Size) -> keras.KerasTensor:
        """Goes down and up again; (N, H, W, filters[0]) in and out."""
        skips = []
        for level, wider in enumerate(chosen.filters[1:], start=1):
            x = self.blocks(x, chosen.blocks[level - 1], f"encoder_{level}")
            skips.append(x)
            x = self.conv(x, wider, 2, f"encoder_{level}_down", strides=2)  # Half of either side.
        x = self.blocks(x, chosen.blocks[-1], "bottom")
        for level in range(len(chosen.filters) - 1, 0, -1):
            narrower = chosen.filters[level - 1]
            x = self.deconv(x, narrower, 2, f"decoder_{level}_deconv")  # Twice either side.
            x = layers.Add(name=f"decoder_{level}_skip")([x, skips[level - 1]])
            x = self.blocks(x, chosen.blocks[level - 1], f"decoder_{level}")
        return x

    def blocks(self, x: keras.KerasTensor, count: int, name: str) -> keras.KerasTensor:
        for number in range(1, count + 1):
            x = self._block(x, f"{name}_block_{number}")
        return x

    def _block(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        filters = x.shape[-1]
        bent = layers.ReLU(name=f"{name}_relu")(x) if self.relu_twice else x
        inside = self._trained_wide(bent, filters, f"{name}_conv_1", activation="relu")
        inside = self._trained_wide(inside, filters, f"{name}_conv_2")
        return layers.Add(name=f"{name}_add")([x, inside])

    def _trained_wide(self, x, filters: int, name: str, activation: str | None = None):
        if not self.reparameterize:
            return self.conv(x, filters, 3, name, activation=activation)
        wide = self.conv(x, filters, 3, name)
        point = layers.Conv2D(
            filters,
            1,
            use_bias=False,
            kernel_initializer="zeros",
            name=name + reparameterization.POINT,
        )(x)
        x = layers.Add(name=f"{name}_sum")([wide, point])
        return layers.ReLU(name=f"{name}_relu")(x) if activation else x

    def conv(self, x: keras.KerasTensor, filters: int, kernel_size: int, name: str, **options):
        options = {"padding": "same", "kernel_initializer": "he_normal", **options}
        layer = layers.Conv2D(filters, kernel_size, use_bias=self.use_bias, name=name, **options)
        return layer(x)

    def deconv(self, x: keras.KerasTensor, filters: int, factor: int, name: str, **options):
        """Enlarges; kernel = stride."""
        layer = layers.Conv2DTranspose(
            filters, factor, strides=factor, use_bias=self.use_bias, name=name, **options
        )
        return layer(x)


def _base(image: keras.KerasTensor, channels_out: int, scale: int) -> keras.KerasTensor:
    """Returns what the network corrects: the input with the output's channels and size."""
    channels_in = image.shape[-1]
    if channels_in == channels_out + 1:  # The last one is a mask.
        image = image[..., :channels_out]
    elif channels_in == 1 < channels_out:
        image = layers.Concatenate(dtype="float32", name="grey_repeated")([image] * channels_out)
    if scale > 1:
        # Repeated and averaged: bilinear at x3, nearly so at x2 and x4. Keras's own bilinear layer
        # cannot be exported for pictures of any size, and TFLite has no bicubic at all.
        image = _repeated(image, scale)
        side = scale + 1 - scale % 2
        image = layers.AveragePooling2D(
            side, strides=1, padding="same", dtype="float32", name="enlarged"
        )(image)
    return image


def _repeated(image: keras.KerasTensor, scale: int) -> keras.KerasTensor:
    """Repeats each pixel by a transposed convolution of ones that is not trained.

    `UpSampling2D` becomes operators of five axes in TFLite, which GPU delegates do not have.
    """
    channels = image.shape[-1]
    repeat = layers.Conv2DTranspose(
        channels,
        scale,
        strides=scale,
        use_bias=False,
        trainable=False,
        dtype="float32",
        name="repeated",
    )
    repeated = repeat(image)  # (N, H * scale, W * scale, C)
    repeat.set_weights(
        [np.broadcast_to(np.eye(channels, dtype="f"), (scale, scale) + (channels,) * 2)]
    )
    return repeated
