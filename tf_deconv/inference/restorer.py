"""Whole pictures of any size through a model, wherever it came from: one `Restorer` for all.

`open_artifact` makes the same `Artifact` of a run folder, a `.keras` file, a SavedModel and a
`.tflite` file; a `Restorer` takes pictures through it in tiles (`tiling`) that overlap by the
network's reach (`receptive_field`), so that no tile shows. No more than the picture, the result
and one tile in float32 is held.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deconv.images import arrays
from tf_deconv.images.padding import pad_array
from tf_deconv.inference import tiling
from tf_deconv.inference.tiling import Box
from tf_deconv.utils.options import UserError

# Side of a tile of the result unless asked for otherwise: the article's network takes 700 bytes for
# each of its pixels.
AUTOMATIC_TILE_PX = 512
# With less than this to restore in a tile, memory is not what is short.
_SMALLEST_CORE_PX = 16
# Noise that is not clipped leaves [0, 1], but not so far: this is a picture of 0 to 255 in float.
_BRIGHTEST = 16

# (height, width) of the tiles that a model takes; none where it takes any.
Sizes = Sequence[tuple[int, int]]


def restore_picture(model: Any, image: np.ndarray, divisor: int, scale: int = 1) -> np.ndarray:
    """Restores one picture as a whole.

    Args:
      model: A Keras model of images (N, H, W, C).
      image: (H, W, C) float32 in [0, 1], H and W >= 1.
      divisor: The network's; the picture is mirrored up to a multiple and cropped again.
      scale: The network's output pixels per input pixel.
    Returns:
      (H * scale, W * scale, C') float32.
    """
    import keras

    height, width = image.shape[0] * scale, image.shape[1] * scale
    padded = pad_array(image[np.newaxis], divisor)
    restored = keras.ops.convert_to_numpy(model(padded, training=False))
    return restored[0, :height, :width]


def infer_scale(model: Any) -> int:
    """Measures how many output pixels a fully convolutional model makes per input pixel."""
    import keras

    probe = np.zeros((1, 64, 64, model.input_shape[-1]), np.float32)
    return keras.ops.shape(model(probe, training=False))[1] // 64


def infer_divisor(model: Any, scale: int) -> int:
    """Measures which sizes a model maps to exactly `scale` times themselves.

    Returns:
      The smallest power of two, up to 64, whose odd multiples pass.
    Raises:
      ValueError: if none does.
    """
    import keras

    for divisor in (1, 2, 4, 8, 16, 32, 64):
        size = 3 * divisor
        probe = np.zeros((1, size, size, model.input_shape[-1]), np.float32)
        try:
            shape = keras.ops.shape(model(probe, training=False))
        except Exception:  # A skip connection that does not fit raises whatever the backend likes.
            continue
        if tuple(shape[1:3]) == (size * scale, size * scale):
            return divisor
    raise ValueError("no size up to 192 pixels comes out at a whole multiple of itself")


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A model that runs, of any format.

    Attributes:
      run: (1, H, W, channels_in) float32 in [0, 1] to (1, H * scale, W * scale, channels_out). Many
        threads may call it.
      channels_in: 1 takes luminance, 3 colour, 4 colour and which pixels are known.
      channels_out: 1 or 3.
      divisor: What H and W are multiples of.
      scale: Output pixels per input pixel along each axis.
      reach_px: How far the network sees (`receptive_field`); None: further than a tile is large.
      sizes: The only (height, width) that `run` takes; empty where it takes all.
      model: The Keras model, of a run or a `.keras` file; None of other formats.
      keeps_grey: Whether what it makes of a grey picture is to be grey: it restores, and was not
        taught to colour.
    """

    run: Callable[[np.ndarray], np.ndarray]
    channels_in: int
    channels_out: int
    divisor: int
    scale: int
    reach_px: int | None
    sizes: tuple[tuple[int, int], ...] = ()
    model: Any = None
    keeps_grey: bool = False

    def __post_init__(self):
        if self.channels_in not in (1, 3, 4) or self.channels_out not in (1, 3):
            raise UserError(
                f"the model takes {self.channels_in} channels and gives {self.channels_out}:"
                " expected 1 (grey), 3 (colour) or 4 (colour and mask) in, and 1 or 3 out"
            )


class Restorer:
    """Restores pictures of any size with an artifact.

    One restorer may be called from many threads at once, whatever the model's format. TFLite files
    then take one tile after the other.

    Attributes:
      artifact: The model.
      tile_px: Side of a tile with its overlap; it shrinks when memory runs out.
    """

    def __init__(
        self,
        artifact: Artifact,
        tile_px: int = 0,
        self_ensemble: bool = False,
        strength: float = 1.0,
    ):
        """Prepares.

        Args:
          artifact: The model.
          tile_px: Side of a tile, its overlap included; 0 chooses. A `.tflite` file has sizes of
            its own, of which none larger than this is taken.
          self_ensemble: Whether to take the mean over the 8 flips and turns of a picture.
          strength: How much of the network's change is made: 0 none, 1 all of it, 2 twice as much.
        Raises:
          UserError: if the tile is too small for the network's reach, or it leaves nothing to set
            a strength against.
        """
        self.artifact = artifact
        self._strength = _check_strength(strength, artifact)
        self._symmetries = tiling.ALL_SYMMETRIES if self_ensemble else tiling.AS_IT_IS
        reach, divisor = artifact.reach_px, artifact.divisor
        self._margin_px = 2 * (reach + -reach % divisor) if reach is not None else 0
        automatic = max(AUTOMATIC_TILE_PX // artifact.scale, 4 * self._margin_px)
        self.tile_px = tile_px or automatic
        if reach is not None and self.tile_px < self._margin_px + divisor:
            raise UserError(
                f"tile_size={tile_px}: expected at least {self._margin_px + divisor}, the network's"
                f" overlap of {self._margin_px // 2} on either side and its divisor, {divisor}"
            )
        self._sizes = list(artifact.sizes)
        if tile_px and artifact.sizes:
            self._sizes = [size for size in artifact.sizes if max(size) <= tile_px]
            if not self._sizes:
                have = ", ".join(f"{height}x{width}" for height, width in artifact.sizes)
                raise UserError(f"tile_size={tile_px}: expected one of the model's sizes, {have}")

    def __repr__(self) -> str:
        """Tells what goes in and out: `<Restorer: 3 channels to 3, scale 2, sees 45 px around>`."""
        artifact = self.artifact
        sees = (
            "the whole picture" if artifact.reach_px is None else f"{artifact.reach_px} px around"
        )
        sizes = ", ".join(f"{height}x{width}" for height, width in artifact.sizes)
        return (
            f"<Restorer: {artifact.channels_in} channels to {artifact.channels_out}, scale"
            f" {artifact.scale}, sees {sees}" + (f", sizes {sizes}>" if sizes else ">")
        )

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Restores a picture, as `restore` does."""
        return self.restore(image)

    def restore(
        self,
        image: np.ndarray,
        progress: Callable[[float], None] | None = None,
        as_grey: bool = False,
    ) -> np.ndarray:
        """Restores a picture.

        Args:
          image: (H, W, 1), (H, W, 3) or, with transparency, (H, W, 4); uint8, uint16, or float in
            [0, 1]; H and W >= 1. Channels are made to fit: luminance of colour, or grey repeated. A
            network of 4 channels fills in the transparent pixels.
          progress: Receives the part that is done, in [0, 1], after each tile.
          as_grey: Whether to return the luminance of the result.
        Returns:
          (H * scale, W * scale, channels_out), or 1 channel, of the picture's type; float is not
          clipped. Where the artifact `keeps_grey`, a picture of one channel or of three equal ones
          gives equal channels: the luminance of what the network makes of it. With a strength,
          picture + strength * (restored - picture), rounded last.
        Raises:
          MemoryError: if even small tiles do not fit.
          UserError: if it is no such picture, or a model of fixed sizes cannot tile its size.
        """
        image = _check_picture(np.asarray(image))
        height, width = image.shape[:2]
        scale, dtype = self.artifact.scale, image.dtype
        channels = 1 if as_grey else self.artifact.channels_out
        if self._strength == 0:  # Not through the network: what it makes may be NaN.
            if progress is not None:
                progress(1.0)
            return _in_channels(image, channels)
        # The whole picture decides: a tile of a colour picture may be grey.
        grey = as_grey or (self.artifact.keeps_grey and _is_grey(image))
        restored = np.empty((height * scale, width * scale, channels), dtype)
        pending = collections.deque([Box(0, 0, height, width)])
        done = 0
        while pending:
            core = pending.popleft()
            # One choice for the whole tile: memory may run out in another thread meanwhile.
            sizes = self._sizes
            longest = self._longest_core(height, width, sizes)
            if core.height > longest[0] or core.width > longest[1]:
                pending.extendleft(reversed(tiling.split(core, *longest)))
                continue
            try:
                pixels = self._restore_core(image, core, sizes)
            except Exception as error:
                if not _is_out_of_memory(error):
                    raise
                self._shrink(core, error)
                pending.appendleft(core)
                continue
            pixels = arrays.luminance(pixels) if grey else pixels
            if self._strength != 1:
                given = arrays.as_unit(_in_channels(core.of(image), pixels.shape[-1]))
                pixels = given + np.float32(self._strength) * (pixels - given)
            # One channel is repeated.
            core.scaled(scale).of(restored)[...] = arrays.as_pixels(pixels, dtype)
            done += core.height * core.width
            if progress is not None:
                progress(done / (height * width))
        return restored

    def _restore_core(self, image: np.ndarray, core: Box, sizes: Sizes) -> np.ndarray:
        """Returns the core's pixels, (height * scale, width * scale, C') float32."""
        total = None
        for symmetry in self._symmetries:
            turned = symmetry.apply(image)
            place = symmetry.place(core, *image.shape[:2])
            pixels = symmetry.undo(self._restore_place(turned, place, sizes))
            total = pixels if total is None else total + pixels
        return total / np.float32(len(self._symmetries)) if len(self._symmetries) > 1 else total

    def _restore_place(self, image: np.ndarray, core: Box, sizes: Sizes) -> np.ndarray:
        artifact = self.artifact
        size = self._window_size(*image.shape[:2], sizes)
        spans, indices = [], []
        sides = ((core.top, core.bottom), (core.left, core.right))
        for axis, (start, stop) in enumerate(sides):
            length = size[axis] if size else None
            side = tiling.padded_side(image.shape[axis], artifact.divisor, length or 1)
            if size and size == image.shape[:2]:
                side = length  # The graph pads what no divisor divides.
            reach = side if artifact.reach_px is None else artifact.reach_px
            span = tiling.window_along(start, stop, side, reach, artifact.divisor, length)
            spans.append(span)
            indices.append(tiling.mirrored_rows(*span, image.shape[axis]))
        (top, bottom), (left, right) = spans
        pixels = image[np.ix_(*indices)]
        restored = artifact.run(fit_channels(pixels, artifact.channels_in)[np.newaxis])[0]
        expected = ((bottom - top) * artifact.scale, (right - left) * artifact.scale)
        if restored.shape != (*expected, artifact.channels_out):
            raise ValueError(
                f"the model made {restored.shape} of {pixels.shape}: expected"
                f" {(*expected, artifact.channels_out)}"
            )
        window = Box(top, left, bottom, right)
        return core.relative_to(window).scaled(artifact.scale).of(restored)

    def _longest_core(self, height: int, width: int, sizes: Sizes) -> tuple[int, int]:
        """Returns the largest (height, width) that one window restores in every symmetry."""
        artifact = self.artifact
        if not artifact.sizes:
            if artifact.reach_px is None:
                return height, width
            core = self.tile_px - self._margin_px
            core = max(artifact.divisor, core - core % artifact.divisor)
            return core, core
        longest = [height, width]
        for symmetry in self._symmetries:
            turned = symmetry.size(height, width)
            size = self._window_size(*turned, sizes)
            for axis in (0, 1):
                core = _core_along(artifact, size[axis], turned[axis])
                original = 1 - axis if symmetry.turns % 2 else axis
                longest[original] = min(longest[original], core)
        return longest[0], longest[1]

    def _window_size(self, height: int, width: int, sizes: Sizes) -> tuple[int, int] | None:
        """Chooses among an artifact's fixed sizes; None where any goes.

        Returns:
          The picture's own size; or else the largest one that lies inside the picture, where the
          network sees the true borders; or else the smallest one around it, with mirrored pixels.
        """
        if not sizes:
            return None
        if (height, width) in sizes:
            return height, width
        divisor = self.artifact.divisor
        sides = [tiling.padded_side(side, divisor) for side in (height, width)]
        usable = [
            size
            for size in sizes
            if not any(side % divisor for side in size)
            and all(_core_along(self.artifact, *pair) >= 1 for pair in zip(size, sides))
        ]
        inside = [size for size in usable if all(a <= b for a, b in zip(size, sides))]
        if inside:
            return max(inside, key=lambda size: size[0] * size[1])
        if usable:
            return min(usable, key=lambda size: size[0] * size[1])
        have = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise UserError(
            f"{width}x{height} pixels cannot be cut into tiles of this model's sizes ({have}): use"
            " its SavedModel, or export with a larger size in --sizes"
        )

    def _shrink(self, core: Box, error: Exception) -> None:
        """Makes tiles smaller after memory ran out."""
        if self.artifact.sizes:
            # A new list, as other threads may be going through the old one.
            smaller = sorted(self._sizes, key=lambda size: size[0] * size[1])[:-1]
            if smaller:
                self._sizes = smaller
                return
        elif self.artifact.reach_px is not None:
            side = max(core.height, core.width) // 2
            if side >= max(_SMALLEST_CORE_PX, self.artifact.divisor):
                self.tile_px = side + self._margin_px
                return
        raise MemoryError("not enough memory, even for the smallest tile") from error


def _check_strength(strength: float, artifact: Artifact) -> float:
    """Refuses a strength where there is no picture to set it against."""
    if strength == 1 or (artifact.scale == 1 and artifact.channels_in < 4):
        return strength
    does = "fills in what is missing"
    if artifact.scale > 1:
        does = f"makes a picture {artifact.scale} times as large"
    raise UserError(
        f"strength={strength:g}: expected a model that corrects what is there, and this one {does};"
        " leave it out"
    )


def _is_grey(image: np.ndarray) -> bool:
    """Returns whether a picture has one channel, or three equal ones beside its transparency."""
    return image.shape[-1] == 1 or arrays.is_grey(image[..., :3])


def _in_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Returns a copy of (H, W, C) without its transparency, as 1 or 3 channels of its own type."""
    colours = image[..., :3]
    if colours.shape[-1] == channels:
        return colours.copy()
    if channels == 3:
        return np.repeat(colours, 3, axis=-1)
    if _is_grey(colours):
        return colours[..., :1].copy()
    return arrays.as_pixels(arrays.luminance(arrays.as_unit(colours)), image.dtype)


def _check_picture(image: np.ndarray) -> np.ndarray:
    """Refuses what is not a picture, before a runtime says so in its own words."""
    received = f"image is {image.shape} of {image.dtype}"
    if image.ndim == 2:
        raise UserError(f"{received}: expected (H, W, C); of a grey one, image[..., np.newaxis]")
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        raise UserError(f"{received}: expected (H, W, C) with H and W of at least 1, C 1, 3 or 4")
    if image.dtype not in (np.uint8, np.uint16) and image.dtype.kind != "f":
        raise UserError(f"{received}: expected uint8, uint16 or float in [0, 1]")
    if image.dtype.kind == "f" and image.max() > _BRIGHTEST:
        raise UserError(
            f"{received} with values up to {image.max():g}: expected [0, 1]; divide by 255, or pass"
            " uint8"
        )
    return image


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    # oneDNN's status 1, dnnl_out_of_memory, has no type of its own in TensorFlow.
    return isinstance(error, tf.errors.AbortedError) and "Status: 1," in str(error)


def _core_along(artifact: Artifact, length: int, side: int) -> int:
    """Returns how much of a side a window of a fixed length restores."""
    side = tiling.padded_side(side, artifact.divisor) if side != length else side
    reach = side if artifact.reach_px is None else artifact.reach_px
    return tiling.longest_core(length, side, reach, artifact.divisor)


def fit_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Makes a picture what a network takes.

    Args:
      pixels: (H, W, 1), (H, W, 3) or, with transparency, (H, W, 4); uint8, uint16 or float in
        [0, 1].
      channels: 1 for luminance, 3 for colour, 4 for colour and which pixels are known: those that
        are at least half opaque.
    Returns:
      (H, W, channels) float32 in [0, 1].
    """
    image = arrays.as_unit(pixels)
    known = np.round(image[..., 3:]) if image.shape[-1] == 4 else np.ones_like(image[..., :1])
    image = image[..., :3]
    if channels == 1:
        return arrays.luminance(image).astype(np.float32)
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    if channels == 4:
        # As in the exported `serve_bytes`: what is transparent is missing.
        image = np.concatenate([image * known, known], axis=-1)
    return np.ascontiguousarray(image)
