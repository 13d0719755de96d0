"""A recurrent U-Net for moving pictures: `unet`, which knows of the frames before by a state.

The *cell* takes one frame and a state, and gives the restored frame and the next state. The state
is the restored frame and the features that the U-Net ended with, at half the frame's resolution.
How the frame differs from the one restored before it, and those features, join the frame's own
features before the way down; what has moved since is found by the levels themselves, without an
optical flow (as in RLSP, Fuoli, Gu and Timofte 2019, "Efficient Video Super-Resolution through
Recurrent Latent Space Propagation"). What the U-Net makes of the frame is then led towards the one
restored before, as far as the network says that it may at each pixel: as temporal antialiasing
clamps its history to what the present frame allows (Karis 2014, "High-Quality Temporal
Supersampling"). A zero state is no past. Why so: docs/decisions/0032-video.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from tf_deconv.networks import unet
from tf_deconv.networks.table import STATE_STRIDE

NAME = "video"
DIVISOR = 4
# Of what the U-Net ends with, so many at most are kept: with the frame, a state of 48 channels.
FEATURES = 35
# The features of `photo` stay below 3, and a frame in [0, 1]; what reached this would be on its way
# to infinity, whatever comes in later.
STATE_BOUND = 8.0
# Where training begins: as much of an allowed difference to the frame before is kept.
KEPT_AT_FIRST = 0.9
# The variance of what is allowed, to that of the features: some grey levels.
REACH_AT_FIRST = 0.01

# 12, 218 and 727 thousand weights. `base` is `base` of `unet` and begins with its weights.
SIZES = {
    "tiny": unet.Size((8, 16), (1, 1), space_to_depth=True),
    "small": unet.Size((32, 64), (1, 2), space_to_depth=True),
    "base": unet.Size((48, 96), (2, 3), space_to_depth=True),
}


def build_video(
    height: int | None = None,
    width: int | None = None,
    channels_in: int = 3,
    channels_out: int = 3,
    scale: int = 1,
    size: str = "base",
    *,
    filters: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    use_bias: bool = False,
    reparameterize: bool = False,
    blind_to_levels: bool = False,
    features: int | None = None,
) -> keras.Model:
    """Builds the cell: head, what the state adds, levels, tail; frame and past are added.

    A layer that `unet` has too bears the same name, so that a picture's network is where training
    may begin: of a film's first frame it makes what that network does.

    Positively homogeneous in frame and state together, as long as no feature reaches `STATE_BOUND`.

    Args:
      height: Pixels, a multiple of the divisor; None for any.
      width: Likewise.
      channels_in: Channels of a frame.
      channels_out: As many.
      scale: 1.
      size: Key of `SIZES`.
      filters: Replaces the size's filters.
      blocks: Replaces the size's numbers of blocks.
      use_bias: Whether convolutions have biases.
      reparameterize: As in `unet`.
      blind_to_levels: As in `unet`; the state's part is so in any case.
      features: Channels of the state besides the frame; at most `FEATURES` when left out.
    Returns:
      A functional model, [frame, state] to [restored, next state]: (N, height, width, C) float32 in
      [0, 1] and (N, height / 2, width / 2, S) float32; the restored frame is not clipped. Of the
      state's S = 1 + 4 C + features channels the first is 1 where there is a past, and the next
      hold the last restored frame, four pixels in each.
    Raises:
      ValueError: if a size, a channel count or the scale is not allowed.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r}: expected one of {', '.join(SIZES)}")
    counts = dict(channels_in=channels_in, channels_out=channels_out)
    chosen = unet.choose(SIZES[size], filters, blocks, None, counts)
    if channels_in != channels_out or scale != 1:
        raise ValueError(
            f"channels_in={channels_in}, channels_out={channels_out}, scale={scale}: expected as"
            " many channels out as in, and scale 1"
        )
    unet.check_sides(chosen, height, width)
    features = min(FEATURES, chosen.filters[0]) if features is None else features

    inside = 1 + channels_in * STATE_STRIDE**2  # Channels of the state that are no features.
    sides = [side and side // STATE_STRIDE for side in (height, width)]
    frame = keras.Input((height, width, channels_in), name="frame", dtype="float32")
    state = keras.Input((*sides, inside + features), name="state", dtype="float32")
    build = unet.Builder(use_bias, reparameterize)
    constraint = unet.ZeroSum() if blind_to_levels else None
    x = build.head(frame, chosen.filters[0], True, constraint)  # (N, H/2, W/2, filters)
    known, before = state[..., :1], state[..., 1:inside]
    # What the frame is less than the one before: noise where nothing moved. Nothing where there is
    # no frame before, whatever the picture's level.
    difference = before - known * _folded(frame, "frame_folded")
    past = ops.concatenate([difference, state[..., inside:]], -1) if features else difference
    past = build.conv(past, chosen.filters[0], 3, "past", kernel_initializer="zeros")
    x = layers.Add(name="with_past")([x, past])
    x = build.levels(x, chosen)
    correction = build.deconv(
        x, channels_out, STATE_STRIDE, "tail_deconv", kernel_initializer="zeros"
    )  # (N, H, W, C)
    present = layers.Add(dtype="float32", name="present")([frame, correction])
    present = _folded(present, "present_folded")
    # Towards the frame before, no further than `reach` allows: bounds and kernels are homogeneous
    # where a gate in [0, 1] is not, and need no division.
    few = keras.initializers.VarianceScaling(REACH_AT_FIRST)
    reach = build.conv(x, channels_in * STATE_STRIDE**2, 1, "reach", kernel_initializer=few)
    reach = layers.ReLU(dtype="float32", name="reach_relu")(reach)
    towards = before - known * present
    allowed = layers.Minimum(dtype="float32", name="at_most")([towards, reach])
    allowed = layers.Maximum(dtype="float32", name="at_least")([allowed, -reach])
    keep = layers.Conv2D(reach.shape[-1], 1, use_bias=False, dtype="float32", name="keep")
    fused = layers.Add(dtype="float32", name="fused")([present, keep(allowed)])
    keep.set_weights([KEPT_AT_FIRST * np.eye(reach.shape[-1], dtype="f")[None, None]])
    restored = _unfolded(fused, "restored")
    # Between two frames a state is float32, whatever the network computes in.
    following = [ops.minimum(known + 1.0, 1.0), fused]
    if features:
        following.append(ops.cast(x[..., :features], "float32"))
    following = layers.Concatenate(dtype="float32", name="next_state")(following)
    following = ops.clip(following, -STATE_BOUND, STATE_BOUND)
    return keras.Model([frame, state], [restored, following], name=NAME)


def _folded(image: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Takes the pixels of a square as channels of one, (N, H/2, W/2, 4 C), in float32.

    By a convolution that is not trained: other operators for it are not in every runtime.
    """
    channels = image.shape[-1]
    count = channels * STATE_STRIDE**2
    fold = layers.Conv2D(
        count,
        STATE_STRIDE,
        strides=STATE_STRIDE,
        use_bias=False,
        trainable=False,
        dtype="float32",
        name=name,
    )
    folded = fold(image)
    kernel = np.eye(count, dtype="f").reshape(STATE_STRIDE, STATE_STRIDE, channels, count)
    fold.set_weights([kernel])
    return folded


def _unfolded(folded: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Undoes `_folded`: (N, H/2, W/2, 4 C) to (N, H, W, C), in float32."""
    count = folded.shape[-1]
    unfold = layers.Conv2DTranspose(
        count // STATE_STRIDE**2,
        STATE_STRIDE,
        strides=STATE_STRIDE,
        use_bias=False,
        trainable=False,
        dtype="float32",
        name=name,
    )
    image = unfold(folded)
    kernel = np.eye(count, dtype="f").reshape(STATE_STRIDE, STATE_STRIDE, -1, count)
    unfold.set_weights([kernel])
    return image


def unroll(cell: keras.Model, frames: int) -> keras.Model:
    """Returns the cell over a clip, from a zero state: (N, frames, H, W, C) to the same shape.

    All frames share the cell's weights, and training goes through time as far as the clip does.

    Raises:
      ValueError: if `frames` < 1.
    """
    if frames < 1:
        raise ValueError(f"frames={frames}: expected at least 1")
    frame, state = cell.inputs
    clip = keras.Input((frames, *frame.shape[1:]), name="clip", dtype="float32")
    past = zero_state(clip[:, 0], state.shape[-1])
    restored = []
    for number in range(frames):
        output, past = cell([clip[:, number], past])
        restored.append(output)
    return keras.Model(clip, ops.stack(restored, 1), name="clips")


def zero_state(frame, channels: int):
    """Returns the state of no past for frames (N, H, W, C): (N, H/2, W/2, channels) zeros."""
    pixels = frame[:, ::STATE_STRIDE, ::STATE_STRIDE, :1]
    return ops.repeat(ops.zeros_like(pixels), channels, axis=-1)
