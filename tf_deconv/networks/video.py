"""A recurrent U-Net for moving pictures: `unet` on what a frame has in common with those before.

The *cell* takes one frame and a state, and gives the restored frame and the next state. The state
is a weighted mean of the frames before, as they came, and the features that the U-Net ended with,
at half the frame's resolution. The mean is first *moved* to where it is seen in the frame, by up
to five pixels: each value becomes a mean of those around, of which the ones count whose
surroundings are most like the frame's. Then the frame is *fused* with it, at each pixel as far as
a few small layers allow: a mean of ten frames has a third of their noise. Last, the U-Net restores
what is left, told by the last features what it saw there. Fusing before denoising is what Maggioni
et al. 2021 do ("Efficient Multi-Stage Video Denoising with Recurrent Spatio-Temporal Fusion"); to
hand features on is RLSP's idea (Fuoli, Gu and Timofte 2019). No place is computed and looked up, as
by optical flow, which not every runtime could. A zero state is no past. Why so:
docs/decisions/0032-video.md.
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
# Of what the U-Net ends with, so many at most are kept: with the mean and its weight, 48 channels.
FEATURES = 35
# The features of `photo` stay below 3, and means of frames in [0, 1]; what reached this would be on
# its way to infinity, whatever comes in later.
STATE_BOUND = 8.0
# What the mean weighs in the next frame: 0.5 + 0.45 w where it weighed w in this one. From 0 on
# that is 0.5, 0.73, 0.83, 0.87, ... 0.91: nearly a plain mean at first, and one of twenty frames.
# (Constants are values that float16 holds, as trained weights are: docs/decisions/0005.)
FIRST_WEIGHT, KEPT_WEIGHT = 0.5, float(np.float16(0.45))
# What speaks for the past and against it where training begins, as multiples of how far the frame
# is from it.
SIDES = {"still": 1.0, "moved": 0.5}
# Features below it are none; a fortieth of a grey level.
_LEAST = float(np.float16(1e-4))
# How far the past is moved: by up to so many squares, and then by up to so many pixels.
SQUARES, PIXELS = 2, 1
# Squares along a side of what is compared for it: as few as tell a place from noise of sigma 30.
_COMPARED = {SQUARES: 11, PIXELS: 5}
# A place that is by a 24th further from the frame than the nearest one counts e times less. At 64
# what two runtimes round differently grew from frame to frame.
_SHARPNESS = 24.0
# A place counts as if it were by so much further from the frame for each step it is away: of two
# that are alike the nearer one is taken, where half of each would be two ghosts.
_FARNESS = 0.1

# 16, 250 and 793 thousand weights. `base` is `base` of `unet` and begins with its weights.
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
    relu_twice: bool = False,
    blind_to_levels: bool = False,
    features: int | None = None,
) -> keras.Model:
    """Builds the cell: the frame is fused with the past, then head, levels, tail, as of `unet`.

    A layer that `unet` has too bears the same name, so that a picture's network is where training
    may begin: of a film's first frame it makes what that network does.

    Without biases positively homogeneous in frame and state, its first channel aside, as long as no
    feature reaches `STATE_BOUND`, and what speaks for and against the past, and how far the frame
    is from it, are `_LEAST` at least.

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
      relu_twice: As in `unet`.
      blind_to_levels: As in `unet`; the state's part is so in any case.
      features: Channels of the state besides weight and mean; at most `FEATURES` when left out.
    Returns:
      A functional model, [frame, state] to [restored, next state]: (N, height, width, C) float32 in
      [0, 1] and (N, height / 2, width / 2, S) float32; the restored frame is not clipped. Of the
      state's S = 1 + 4 C + features channels the first is what the past weighs, 0 where there is
      none, and the next hold the mean of the past frames, four pixels in each.
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
    for name, side in dict(height=height, width=width).items():
        if side is not None and side % DIVISOR:  # Of a network of one level, which has two here.
            raise ValueError(f"{name}={side}: expected a multiple of {DIVISOR}, or None for any")
    features = min(FEATURES, chosen.filters[0]) if features is None else features
    if not 0 <= features <= chosen.filters[0]:
        raise ValueError(f"features={features}: expected 0 to {chosen.filters[0]}, the filters")

    inside = 1 + channels_in * STATE_STRIDE**2  # Channels of the state that are no features.
    sides = [side and side // STATE_STRIDE for side in (height, width)]
    frame = keras.Input((height, width, channels_in), name="frame", dtype="float32")
    state = keras.Input((*sides, inside + features), name="state", dtype="float32")
    build = unet.Builder(use_bias, reparameterize, relu_twice)
    constraint = unet.ZeroSum() if blind_to_levels else None
    past, last = state[..., :inside], state[..., inside:]
    folded = _folded(frame, "folded")
    weight, before = _aligned(frame, past, ops.minimum(past[..., :1] / FIRST_WEIGHT, 1.0))

    # What the mean is more than the frame: noise where nothing moved. Nothing where there is no
    # past, whatever the picture's level.
    is_past = ops.minimum(weight / FIRST_WEIGHT, 1.0)
    towards = before - is_past * folded
    around = _mean(ops.abs(towards), "differing")
    both = layers.Concatenate(dtype="float32", name="both")([frame, _unfolded(before, "before")])
    seen = build.head(both, max(1, 2 * chosen.filters[0] // 3), True, constraint, "seen")
    share = _share(build, seen, towards, around, chosen.filters[0])
    led = weight * share * towards
    # Where something moved, what came before it is no longer its past.
    weight = weight * ops.mean(share, -1, keepdims=True)
    fused = layers.Add(dtype="float32", name="fused")([folded, led])
    image = _unfolded(fused, "image")

    x = build.head(image, chosen.filters[0], True, constraint)  # (N, H/2, W/2, filters)
    past = layers.Concatenate(name="led_and_features")([led, last]) if features else led
    past = build.conv(past, chosen.filters[0], 3, "past", kernel_initializer="zeros")
    x = layers.Add(name="with_past")([x, past])
    x = build.levels(x, chosen)
    correction = build.deconv(
        x, channels_out, STATE_STRIDE, "tail_deconv", kernel_initializer="zeros"
    )  # (N, H, W, C)
    restored = layers.Add(dtype="float32", name="restored")([image, correction])
    # Between two frames a state is float32, whatever the network computes in.
    following = [FIRST_WEIGHT + KEPT_WEIGHT * weight, fused]
    if features:
        following.append(ops.cast(x[..., :features], "float32"))
    following = layers.Concatenate(dtype="float32", name="next_state")(following)
    following = ops.clip(following, -STATE_BOUND, STATE_BOUND)
    return keras.Model([frame, state], [restored, following], name=NAME)


def _aligned(
    frame: keras.KerasTensor, past: keras.KerasTensor, is_past: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Moves the past, weight and mean, to where it is seen now; returns both.

    By whole squares first, then by pixels. Each value of the result is a mean of the past at
    several places, of which nearly all comes from where the brightness around is most like the
    frame's; on a flat ground all places are alike, and their mean has the less noise. Distances
    count as a ratio, so that it is the same for a darker film. No place is an index, which would
    teach nothing and which not every runtime takes.
    """
    frame = is_past * _folded(frame, "compared")  # Without a past, as far from it as any place.
    now, then = _grey(frame, "square_now"), _grey(past[..., 1:], "square_then")
    past = _moved(past, _likely(now, then, SQUARES, "squares"), SQUARES, "past_moved")
    image = _unfolded(past[..., 1:], "image_then")
    now, then = _grey(_unfolded(frame, "image_now"), "pixel_now"), _grey(image, "pixel_then")
    places = _likely(now, then, PIXELS, "pixels", STATE_STRIDE)
    kernel = np.broadcast_to(
        np.eye(places.shape[-1]), (STATE_STRIDE,) * 2 + (places.shape[-1],) * 2
    )
    places = _fixed(layers.Conv2DTranspose, places, kernel, "pixels_places", STATE_STRIDE)
    return past[..., :1], _folded(_moved(image, places, PIXELS, "image_moved"), "aligned")


def _grey(image: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Returns the mean of all channels, (N, H, W, 1) float32."""
    channels = image.shape[-1]
    return _fixed(layers.Conv2D, image, np.full((1, 1, channels, 1), 1 / channels), name)


def _likely(
    now: keras.KerasTensor, then: keras.KerasTensor, reach: int, name: str, stride: int = 1
) -> keras.KerasTensor:
    """Says how likely `now` is each place of `then`: (N, H/2, W/2, (2 reach + 1)^2), 1 in all."""
    side, size = 2 * reach + 1, _COMPARED[reach]
    kernel = np.eye(side**2).reshape(side, side, 1, side**2)
    around = _fixed(layers.Conv2D, _edged(then, reach), kernel, f"{name}_around", padding="valid")
    distance = ops.abs(now - around)
    if stride > 1:
        distance = layers.AveragePooling2D(stride, dtype="float32")(distance)
    for sides in ((size, 1), (1, size)):
        pool = layers.AveragePooling2D(sides, strides=1, padding="same", dtype="float32")
        distance = pool(distance)
    rows, columns = np.divmod(np.arange(side**2), side) - np.array(reach)
    farther = (1 + _FARNESS * (np.abs(rows) + np.abs(columns))).astype("float16")
    distance *= farther.astype("float32")
    nearest = ops.maximum(ops.min(distance, -1, keepdims=True), _LEAST)
    return ops.softmax(-_SHARPNESS * distance / nearest)


def _moved(
    values: keras.KerasTensor, places: keras.KerasTensor, reach: int, name: str
) -> keras.KerasTensor:
    """Returns means of what `values` are around, each place as much as `places` say."""
    padded, moved = _edged(values, reach), []
    for number in range((2 * reach + 1) ** 2):
        top, left = divmod(number, 2 * reach + 1)
        sides = ((top, 2 * reach - top), (left, 2 * reach - left))
        place = layers.Cropping2D(sides, dtype="float32")(padded)
        moved.append(place * places[..., number : number + 1])
    return layers.Add(dtype="float32", name=name)(moved)


def _edged(values: keras.KerasTensor, reach: int) -> keras.KerasTensor:
    """Repeats what stands at the border, `reach` times: zeros would be a level of their own."""
    for axis in (1, 2):
        ends = (slice(None),) * axis
        first, last = values[(*ends, slice(0, 1))], values[(*ends, slice(-1, None))]
        join = layers.Concatenate(axis, dtype="float32")
        values = join([*[first] * reach, values, *[last] * reach])
    return values


def _share(
    build: unet.Builder,
    seen: keras.KerasTensor,
    towards: keras.KerasTensor,
    around: keras.KerasTensor,
    filters: int,
) -> keras.KerasTensor:
    """Says which share of `towards` each value goes: in [0, 1], what speaks for it of all.

    A ratio of two features, so that it is the same for a darker film. What moved is told from noise
    by means over many pixels, which noise does not survive, and at two resolutions.
    """
    wide, channels = max(1, 2 * filters // 3), towards.shape[-1]
    means = ops.abs(_colour_means(towards, "moving"))
    known = layers.Concatenate(name="known")([seen, towards, means, around])
    fine = build.conv(known, wide, 3, "fusion_fine", activation="relu")
    x = build.conv(fine, filters, 2, "fusion_down", strides=2, activation="relu")
    x = build.conv(x, filters, 3, "fusion_coarse", activation="relu")
    x = build.deconv(x, wide, 2, "fusion_deconv")
    x = layers.ReLU(name="fusion_relu")(layers.Add(name="fusion_skip")([fine, x]))
    x = build.conv(x, wide, 3, "fusion_last", activation="relu")
    x = layers.Concatenate(name="fusion_known")([x, around])
    sides = []
    for name, first in SIDES.items():
        side = layers.Conv2D(channels, 1, use_bias=build.use_bias, name=name)
        # Not a relu: one that is 0 everywhere learns nothing any more.
        sides.append(ops.abs(ops.cast(side(x), "float32")))
        kernel = np.zeros(side.kernel.shape, "f")
        kernel[..., -1, :] = first
        side.kernel.assign(kernel)
    still, moved = sides
    return still / ops.maximum(still + moved, _LEAST)


def _colour_means(folded: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Returns means of each colour over 3x3 squares, 6x6 pixels: (N, H/2, W/2, C) float32."""
    count = STATE_STRIDE**2
    colours = np.tile(np.eye(folded.shape[-1] // count), (count, 1)) / (9 * count)
    return _fixed(layers.Conv2D, folded, np.broadcast_to(colours, (3, 3, *colours.shape)), name)


def _mean(folded: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Returns the mean of all channels over 3x3 squares, (N, H/2, W/2, 1) float32."""
    channels = folded.shape[-1]
    return _fixed(layers.Conv2D, folded, np.full((3, 3, channels, 1), 1 / (9 * channels)), name)


def _folded(image: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Takes the pixels of a square as channels of one, (N, H/2, W/2, 4 C), in float32.

    By a convolution that is not trained: other operators for it are not in every runtime.
    """
    kernel = _places(image.shape[-1])
    return _fixed(layers.Conv2D, image, kernel, name, STATE_STRIDE)


def _unfolded(folded: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Undoes `_folded`: (N, H/2, W/2, 4 C) to (N, H, W, C), in float32."""
    kernel = _places(folded.shape[-1] // STATE_STRIDE**2)
    return _fixed(layers.Conv2DTranspose, folded, kernel, name, STATE_STRIDE)


def _places(channels: int) -> np.ndarray:
    """Returns the kernel, (2, 2, C, 4 C), of which each output channel is one pixel's colour."""
    count = channels * STATE_STRIDE**2
    return np.eye(count).reshape(STATE_STRIDE, STATE_STRIDE, channels, count)


def _fixed(
    kind: type[layers.Layer],
    values: keras.KerasTensor,
    kernel: np.ndarray,
    name: str,
    strides: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    """Convolves, or transposed, with a kernel that is not trained, in float32."""
    options = dict(use_bias=False, trainable=False, dtype="float32", name=name)
    filters = kernel.shape[3 if kind is layers.Conv2D else 2]
    layer = kind(filters, kernel.shape[0], strides=strides, padding=padding, **options)
    made = layer(values)
    layer.set_weights([kernel])
    return made


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
