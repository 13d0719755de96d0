"""Whole pictures of any size through a model, wherever it came from: one `Restorer` for all.

`artifacts` makes the same `Artifact` of a run folder, a `.keras` file, a SavedModel and a `.tflite`
file, for the engine that runs it; a `Restorer` takes pictures through it in tiles (`tiling`) that
overlap by the network's reach (`receptive_field`), so that no tile shows. No more than the picture,
the result and one tile in float32 is held; where the result may take the picture's place, only one
of the two.

Nothing here imports TensorFlow or Keras unless it is given a Keras model.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tf_deconv.images import arrays
from tf_deconv.inference import tiling
from tf_deconv.inference.tiling import Box
from tf_deconv.utils.options import UserError

# A tile of the result has this many pixels squared unless asked for otherwise, and fewer where the
# picture itself takes much memory: networks take 300 to 700 bytes for each pixel of a tile.
AUTOMATIC_TILE_PX, _TILE_PX_OF_LARGE = 980, 512
_LARGE_PX = 48_000_000
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

    from tf_deconv.images.padding import pad_array

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
      sizes: The only (height, width) that `run` takes; empty where it takes all multiples of the
        divisor.
      model: The Keras model, of a run or a `.keras` file; None of other formats.
      keeps_grey: Whether what it makes of a grey picture is to be grey: it restores, and was not
        taught to colour.
      near_px: The distance from which on no pixel was seen to change another by half a level of 8
        bits; None: not measured. Pictures of 8 bits are cut into tiles that overlap by this.
      precision: What its weights are stored in: "float32", "float16" or "int8".
      signatures: The (height, width) of a `.tflite` file's signatures, which apps run.
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
    near_px: int | None = None
    precision: str = "float32"
    signatures: tuple[tuple[int, int], ...] = ()

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
      artifact: The model; with `open_deeper`, the one that pictures of 8 bits are taken through.
      tile_px: Side of a tile with its overlap, or of a square with as many pixels; it shrinks when
        memory runs out.
    """

    def __init__(
        self,
        artifact: Artifact,
        tile_px: int = 0,
        self_ensemble: bool = False,
        strength: float = 1.0,
        exact: bool = False,
        open_deeper: Callable[[], Artifact] | None = None,
    ):
        """Prepares.

        Args:
          artifact: The model.
          tile_px: Side of a tile, its overlap included; 0 chooses. A `.tflite` file may have sizes
            of its own, of which none larger than this is taken.
          self_ensemble: Whether to take the mean over the 8 flips and turns of a picture.
          strength: How much of the network's change is made: 0 none, 1 all of it, 2 twice as much.
          exact: Whether tiles overlap by all that the network sees in pictures of 8 bits too, not
            only by what changes a pixel by half a level (`Artifact.near_px`).
          open_deeper: Opens the same model in more precise arithmetic, for pictures of 16 bits and
            of floats; called when the first of these comes.
        Raises:
          UserError: if the tile is too small for the network's reach, or it leaves nothing to set
            a strength against.
        """
        self.artifact = artifact
        self._strength = _check_strength(strength, artifact)
        self._symmetries = tiling.ALL_SYMMETRIES if self_ensemble else tiling.AS_IT_IS
        self._exact = exact
        reach, divisor = artifact.reach_px, artifact.divisor
        self._margin_px = 2 * (reach + -reach % divisor) if reach is not None else 0
        automatic = max(AUTOMATIC_TILE_PX // artifact.scale, 4 * self._margin_px)
        self._is_automatic = not tile_px
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
        self._open_deeper, self._deeper = open_deeper, None
        self._opening = threading.Lock()
        self._how = dict(
            tile_px=tile_px, self_ensemble=self_ensemble, strength=strength, exact=exact
        )

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
        in_place: bool = False,
    ) -> np.ndarray:
        """Restores a picture.

        Args:
          image: (H, W, 1), (H, W, 3) or, with transparency, (H, W, 4); uint8, uint16, or float in
            [0, 1]; H and W >= 1. Channels are made to fit: luminance of colour, or grey repeated. A
            network of 4 channels fills in the transparent pixels.
          progress: Receives the part that is done, in [0, 1], after each tile.
          as_grey: Whether to return the luminance of the result.
          in_place: Whether the result may be written over the picture, which then need not be held
            twice. It is where it fits there, and the picture is returned.
        Returns:
          (H * scale, W * scale, channels_out), or 1 channel, of the picture's type; float is not
          clipped. A colour model gives 3 channels of a grey picture too; transparency is left out.
          Where the artifact `keeps_grey`, a picture of one channel or of three equal ones gives
          equal channels: the luminance of what the network makes of it. With a strength,
          picture + strength * (restored - picture), rounded last.
        Raises:
          MemoryError: if even small tiles do not fit.
          UserError: if it is no such picture, has values that are NaN or infinite, or a model of
            fixed sizes cannot tile its size.
        """
        image = check_picture(np.asarray(image))
        if image.dtype != np.uint8 and self._open_deeper is not None:
            return self._in_more_depth().restore(image, progress, as_grey, in_place)
        height, width = image.shape[:2]
        scale, dtype = self.artifact.scale, image.dtype
        channels = 1 if as_grey else self.artifact.channels_out
        if self._strength == 0:  # Not through the network: what it makes may be NaN.
            if progress is not None:
                progress(1.0)
            return _in_channels(image, channels)
        # The whole picture decides: a tile of a colour picture may be grey.
        grey = as_grey or (self.artifact.keeps_grey and is_grey(image))
        shape = (height * scale, width * scale, channels)
        reach = self._reach_for(dtype)
        rows, planned = self._plan(height, width, reach)
        in_place = in_place and image.shape == shape and image.flags.writeable
        # Turned pictures are not read row by row.
        in_place = in_place and len(self._symmetries) == 1 and (len(rows) == 1 or reach is not None)
        restored = image if in_place else np.empty(shape, dtype)
        done, source = 0, _Rows(image, 0)
        if in_place:
            source = self._rows_for(image, rows[0], reach, planned)
        for number, cores in enumerate(rows):
            pending = collections.deque((core, planned) for core in cores)
            current, source = source, source
            if in_place and number + 1 < len(rows):  # Before this row's result is written there.
                source = self._rows_for(image, rows[number + 1], reach, planned)
            while pending:
                core, window = pending.popleft()
                # One choice for the whole tile: memory may run out in another thread meanwhile.
                sizes = self._sizes
                parts = self._parts(core, (height, width), sizes, reach)
                if len(parts) > 1:
                    pending.extendleft((part, None) for part in reversed(parts))
                    continue
                try:
                    pixels = self._restore_core(
                        current, core, (height, width), sizes, reach, window
                    )
                except Exception as error:
                    if not _is_out_of_memory(error):
                        raise
                    self._shrink(core, (height, width), reach, error)
                    pending.appendleft((core, None))
                    continue
                pixels = arrays.luminance(pixels) if grey else pixels
                if self._strength != 1:
                    given = current.of(core)
                    given = arrays.as_unit(_in_channels(given, pixels.shape[-1]))
                    pixels = given + np.float32(self._strength) * (pixels - given)
                # One channel is repeated.
                core.scaled(scale).of(restored)[...] = arrays.as_pixels(pixels, dtype)
                done += core.height * core.width
                if progress is not None:
                    progress(done / (height * width))
        return restored

    def describe_tiles(self, height: int, width: int, dtype: np.dtype | type) -> str:
        """Tells how a picture of this size and type is cut; memory may run out meanwhile."""
        artifact, dtype = self.artifact, np.dtype(dtype)
        if dtype != np.uint8 and self._open_deeper is not None:
            return self._in_more_depth().describe_tiles(height, width, dtype)
        if artifact.sizes:
            sizes = " or ".join(f"{wide}x{high}" for high, wide in self._sizes)
            return f"windows of {sizes} pixels"
        rows, window = self._plan(height, width, self._reach_for(dtype))
        count = sum(map(len, rows))
        if count == 1:
            return "as a whole"
        size = f" of {window[1]}x{window[0]} pixels" if window else ""
        return f"{len(rows[0])}x{len(rows)} tiles{size}"

    def _in_more_depth(self) -> Restorer:
        """Returns the restorer of pictures that have more than 8 bits."""
        with self._opening:
            if self._deeper is None:
                self._deeper = Restorer(self._open_deeper(), **self._how)
        return self._deeper

    def _reach_for(self, dtype: np.dtype) -> int | None:
        """Returns by how much tiles of such a picture overlap; None: it is not cut."""
        reach = self.artifact.reach_px
        if reach is None or self._exact:
            return reach
        return tiling.seen_px(reach, self.artifact.near_px, dtype)

    def _plan(
        self, height: int, width: int, reach: int | None
    ) -> tuple[list[list[Box]], tuple[int, int] | None]:
        """Returns the cores of a picture, row by row, and the size of their windows.

        None: windows end where their cores need no more.
        """
        artifact = self.artifact
        if artifact.sizes or reach is None:
            # What a window of a fixed size restores is found out later, for its size may change.
            return [[Box(0, 0, height, width)]], None
        tile_px, side_px = self.tile_px, None
        if not self._is_automatic:
            side_px = max(tile_px, 2 * (reach + -reach % artifact.divisor) + artifact.divisor)
        elif height * width > _LARGE_PX:
            tile_px = min(tile_px, max(_TILE_PX_OF_LARGE // artifact.scale, 4 * self._margin_px))
        grid = tiling.plan(height, width, reach, artifact.divisor, tile_px**2, side_px)
        rows = [
            [Box(top, left, bottom, right) for left, right in grid.columns]
            for top, bottom in grid.rows
        ]
        # Windows of one size are faster. A turned picture's begin elsewhere on the divisor's grid.
        return rows, (grid.height, grid.width) if len(self._symmetries) == 1 else None

    def _rows_for(
        self,
        image: np.ndarray,
        cores: Sequence[Box],
        reach: int | None,
        window: tuple[int, int] | None,
    ) -> _Rows:
        """Copies the rows of a picture that a row of cores depends on."""
        height, divisor = image.shape[0], self.artifact.divisor
        if reach is None or self.artifact.sizes:
            return _Rows(image.copy(), 0)
        side = tiling.padded_side(height, divisor)
        length = window[0] if window else None
        first, last = tiling.window_along(
            cores[0].top, cores[0].bottom, side, reach, divisor, length
        )
        # Rows below the picture mirror its last ones.
        first = min(first, max(0, height - (last - height)))
        return _Rows(image[first : min(last, height)].copy(), first)

    def _parts(
        self, core: Box, whole: tuple[int, int], sizes: Sizes, reach: int | None
    ) -> list[Box]:
        """Cuts a core that no window restores at once: of a fixed size, or since memory ran out."""
        if self.artifact.sizes:
            longest = self._longest_core(*whole, sizes)
            if core.height > longest[0] or core.width > longest[1]:
                return tiling.split(core, *longest)
            return [core]
        longer = max(core.height, core.width)
        if reach is None or longer <= self._smallest_core_px:
            return [core]
        sides = [last - first for first, last in self._spans(core, whole, reach)]
        fits = (
            math.prod(sides) <= self.tile_px**2
            if self._is_automatic
            else (max(sides) <= self.tile_px)
        )
        half = -(-longer // 2)
        return (
            [core]
            if fits
            else tiling.split(core, *(min(half, s) for s in (core.height, core.width)))
        )

    @property
    def _smallest_core_px(self) -> int:
        return max(_SMALLEST_CORE_PX, self.artifact.divisor)

    def _restore_core(
        self,
        rows: _Rows,
        core: Box,
        whole: tuple[int, int],
        sizes: Sizes,
        reach: int | None,
        window: tuple[int, int] | None,
    ) -> np.ndarray:
        """Returns the core's pixels, (height * scale, width * scale, C') float32."""
        total = None
        for symmetry in self._symmetries:
            turned = _Rows(symmetry.apply(rows.pixels), rows.first)
            place = symmetry.place(core, *whole)
            size = symmetry.size(*whole)
            spans = self._spans(place, size, reach, sizes, window)
            pixels = symmetry.undo(self._restore_place(turned, place, size, spans))
            total = pixels if total is None else total + pixels
        return total / np.float32(len(self._symmetries)) if len(self._symmetries) > 1 else total

    def _restore_place(
        self,
        rows: _Rows,
        core: Box,
        whole: tuple[int, int],
        spans: Sequence[tuple[int, int]],
    ) -> np.ndarray:
        artifact = self.artifact
        (top, bottom), (left, right) = spans
        pixels = rows.window(spans, whole)
        restored = artifact.run(fit_channels(pixels, artifact.channels_in)[np.newaxis])[0]
        expected = ((bottom - top) * artifact.scale, (right - left) * artifact.scale)
        if restored.shape != (*expected, artifact.channels_out):
            raise ValueError(
                f"the model made {restored.shape} of {pixels.shape}: expected"
                f" {(*expected, artifact.channels_out)}"
            )
        window = Box(top, left, bottom, right)
        return core.relative_to(window).scaled(artifact.scale).of(restored)

    def _spans(
        self,
        core: Box,
        whole: tuple[int, int],
        reach: int | None,
        sizes: Sizes = (),
        window: tuple[int, int] | None = None,
    ) -> list[tuple[int, int]]:
        """Returns the window that restores a core: its rows, and its columns."""
        divisor = self.artifact.divisor
        size = self._window_size(*whole, sizes) or window
        spans = []
        for axis, (start, stop) in enumerate(((core.top, core.bottom), (core.left, core.right))):
            length = size[axis] if size else None
            side = tiling.padded_side(whole[axis], divisor, length or 1)
            if size and size == whole:
                side = length  # The graph pads what no divisor divides.
            seen = side if reach is None else reach
            spans.append(tiling.window_along(start, stop, side, seen, divisor, length))
        return spans

    def _longest_core(self, height: int, width: int, sizes: Sizes) -> tuple[int, int]:
        """Returns the largest (height, width) that a window of a fixed size always restores."""
        longest = [height, width]
        for symmetry in self._symmetries:
            turned = symmetry.size(height, width)
            size = self._window_size(*turned, sizes)
            for axis in (0, 1):
                core = _core_along(self.artifact, size[axis], turned[axis])
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

    def _shrink(
        self, core: Box, whole: tuple[int, int], reach: int | None, error: Exception
    ) -> None:
        """Makes tiles smaller after memory ran out."""
        if self.artifact.sizes:
            # A new list, as other threads may be going through the old one.
            smaller = sorted(self._sizes, key=lambda size: size[0] * size[1])[:-1]
            if smaller:
                self._sizes = smaller
                return
        elif reach is not None and max(core.height, core.width) > self._smallest_core_px:
            sides = [last - first for first, last in self._spans(core, whole, reach)]
            now = math.isqrt(math.prod(sides)) if self._is_automatic else max(sides)
            margin = 2 * (reach + -reach % self.artifact.divisor)
            least = margin + self._smallest_core_px
            # Half of the core, and in any case less than what was too much.
            self.tile_px = min(now - 1, max(least, (now - margin) * 7 // 10 + margin))
            return
        raise MemoryError("not enough memory, even for the smallest tile") from error


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Some rows of a picture.

    Attributes:
      pixels: (rows, W, C).
      first: Which row of the picture the first one is.
    """

    pixels: np.ndarray
    first: int

    def of(self, box: Box) -> np.ndarray:
        """Returns the view of a box of the picture."""
        return self.pixels[box.top - self.first : box.bottom - self.first, box.left : box.right]

    def window(self, spans: Sequence[tuple[int, int]], whole: tuple[int, int]) -> np.ndarray:
        """Returns a window of the picture, mirrored where it goes beyond; else a view."""
        (top, bottom), (left, right) = spans
        if bottom <= whole[0] and right <= whole[1]:
            return self.of(Box(top, left, bottom, right))
        rows, columns = (tiling.mirrored_rows(*span, side) for span, side in zip(spans, whole))
        return self.pixels[np.ix_(rows - self.first, columns)]


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


def is_grey(image: np.ndarray) -> bool:
    """Returns whether a picture has one channel, or three equal ones beside its transparency."""
    return image.shape[-1] == 1 or arrays.is_grey(image[..., :3])


def _in_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Returns a copy of (H, W, C) without its transparency, as 1 or 3 channels of its own type."""
    colours = image[..., :3]
    if colours.shape[-1] == channels:
        return colours.copy()
    if channels == 3:
        return np.repeat(colours, 3, axis=-1)
    if is_grey(colours):
        return colours[..., :1].copy()
    return arrays.as_pixels(arrays.luminance(arrays.as_unit(colours)), image.dtype)


def check_picture(image: np.ndarray) -> np.ndarray:
    """Refuses what is not a picture, before a runtime says so in its own words."""
    received = f"image is {image.shape} of {image.dtype}"
    if image.dtype.kind in "USO":
        raise UserError(
            f"{received}: expected the pixels; of a file, open it first:"
            " np.asarray(Image.open(path))"
        )
    if image.ndim == 2:
        raise UserError(f"{received}: expected (H, W, C); of a grey one, image[..., np.newaxis]")
    if image.ndim == 4:
        raise UserError(f"{received}: expected one picture at a time, (H, W, C), such as image[0]")
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4) or 0 in image.shape:
        first = image.ndim == 3 and image.shape[0] in (1, 3, 4) and 0 not in image.shape
        last = ", channels last: np.moveaxis(image, 0, -1)" if first else ""
        raise UserError(
            f"{received}: expected (H, W, C) with H and W of at least 1, C 1, 3 or 4{last}"
        )
    # In either byte order: tifffile gives that of the file.
    if image.dtype.newbyteorder("=") not in (np.uint8, np.uint16) and image.dtype.kind != "f":
        raise UserError(
            f"{received}: expected uint8, uint16 or float in [0, 1]; convert it to one of them"
        )
    if image.dtype.kind != "f":
        return image
    lowest, highest = image.min(), image.max()
    # Both are NaN if any value is; no array as large as the picture is needed.
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        count = image.size - np.count_nonzero(np.isfinite(image))
        values = "1 value that is" if count == 1 else f"{count} values that are"
        raise UserError(
            f"{received} with {values} NaN or infinite, which would spread: expected numbers;"
            " replace them first, as np.nan_to_num(image) does"
        )
    if highest > _BRIGHTEST:
        raise UserError(
            f"{received} with values up to {highest:g}: expected [0, 1]; divide by 255, or pass"
            " uint8"
        )
    return image


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):
        return True
    # What raises TensorFlow's errors has imported it.
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return False
    if isinstance(error, tf.errors.ResourceExhaustedError):
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
