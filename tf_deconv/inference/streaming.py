"""Frames of any size, one after the other, through a model that remembers: its state between them.

A `Cell` is such a model, whatever file it came from; a `Stream` is one film on its way through it.
Large frames go through in windows, so that the memory of a frame's features is that of one window,
which leaves its middle in a state of the whole frame. The state goes along when a camera moves
(`following`): the network itself finds the past only a few pixels away.

Nothing here imports TensorFlow or Keras unless it is given a Keras model.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tf_deconv.images import arrays
from tf_deconv.inference import following, restorer, tiling
from tf_deconv.networks.table import STATE_STRIDE
from tf_deconv.utils.options import UserError

# After so many frames no pixel is more than two levels of 255 from that of a film that was not
# begun in its middle; after ten some are four levels off (benchmarks/warm_up.py).
WARM_UP_FRAMES = 48
# A window has at most this many pixels squared unless asked for otherwise. `restore video` took
# 0.96 GB at 1920x1080 by LiteRT, whatever the windows: 0.2 of it are the frame's two states, and
# another 0.2 what decodes and encodes.
AUTOMATIC_TILE_PX = 576
# With so many frames after it for a past, a film's first frame is nearly as good as later ones: the
# mean of nine has a third of the noise of one, of all that it ever remembers 0.22.
LEAD_FRAMES = 8
Step = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A model of frames with a state, of any format.

    Attributes:
      step: (1, H, W, channels) float32 in [0, 1] and (1, H / stride, W / stride, state_channels)
        float32 to the restored frame and the next state, of the same shapes.
      channels: 1 takes luminance, 3 colour.
      divisor: What H and W are multiples of.
      state_stride: Pixels of a frame along an axis for each of the state.
      state_channels: Channels of the state.
      reach_px: How far the network sees within a frame.
      sizes: The only (height, width) that `step` takes; empty where it takes all multiples.
      signatures: The (height, width) of a `.tflite` file's signatures, which apps run.
      model: The Keras model, where it is one.
      keeps_grey: As in `restorer.Artifact`.
      precision: As in `restorer.Artifact`.
      near_px: As in `restorer.Artifact`; windows of 8 bits overlap by no more.
    """

    step: Step
    channels: int
    divisor: int
    state_stride: int
    state_channels: int
    reach_px: int
    sizes: tuple[tuple[int, int], ...] = ()
    signatures: tuple[tuple[int, int], ...] = ()
    model: Any = None
    keeps_grey: bool = False
    precision: str = "float32"
    near_px: int | None = None

    # As a `restorer.Artifact` names it: what asks what goes in and out finds it here too.
    scale = 1

    @property
    def channels_in(self) -> int:
        return self.channels

    @property
    def channels_out(self) -> int:
        return self.channels

    @property
    def remembers_frames(self) -> bool:
        """Whether the state has room for what `following` moves: as of `networks.video`."""
        frames = 1 + self.channels * STATE_STRIDE**2
        return self.state_stride == STATE_STRIDE and self.state_channels >= frames

    def zero_state(self, height: int, width: int) -> np.ndarray:
        """Returns the state of no past for frames of a (padded) size."""
        sides = (height // self.state_stride, width // self.state_stride)
        return np.zeros((1, *sides, self.state_channels), np.float32)


class StreamRestorer:
    """Restores films with a cell: `begin` one, and give it frames; or `restore` all of them.

    It is what `films.FilmModel` asks for.

    Attributes:
      artifact: The model.
      warm_up: Frames after which a film that was begun in its middle looks as it would have.
    """

    warm_up = WARM_UP_FRAMES

    def __init__(
        self,
        cell: Cell,
        tile_px: int = 0,
        strength: float = 1.0,
        open_deeper: Callable[[], Cell] | None = None,
        follow: bool = True,
    ):
        """Prepares.

        Args:
          cell: The model.
          tile_px: Side of the windows of large frames, their overlap included; 0 chooses.
          strength: How much of the network's change is made: 0 none, 1 all of it.
          open_deeper: Opens the same model in more precise arithmetic, for frames of 16 bits and of
            floats; called when the first of these comes.
          follow: Whether the state goes along when the camera moves, or its exposure changes.
            Without it a film is what the cell alone makes of it, frame after frame.
        Raises:
          UserError: if the windows would be too small for the network's reach.
        """
        self.artifact, self.strength, self.follow = cell, strength, follow
        self._open_deeper, self._deeper, self._opening = open_deeper, None, threading.Lock()
        margin = _margin_px(cell, np.dtype(np.float32))
        least = 2 * margin + cell.divisor
        if tile_px and tile_px < least:
            raise UserError(
                f"tile_size={tile_px}: expected at least {least}, the network's overlap of"
                f" {margin} on either side and its divisor, {cell.divisor}"
            )
        self._tile_px = tile_px

    def __repr__(self) -> str:
        """Tells what goes in and out: `<StreamRestorer: frames of 3 channels, ...>`."""
        cell = self.artifact
        sizes = ", ".join(f"{height}x{width}" for height, width in cell.sizes)
        return (
            f"<StreamRestorer: frames of {cell.channels} channels, a state of"
            f" {cell.state_channels} at 1/{cell.state_stride}"
            + (f", sizes {sizes}>" if sizes else ">")
        )

    def begin(self, height: int, width: int) -> Stream:
        """Returns a film's way through the model, with no past yet.

        Args:
          height: Of every frame, in pixels, at least 1.
          width: Likewise.
        Raises:
          UserError: if a model of fixed sizes cannot take frames of this one.
        """
        self.windows(self.artifact, height, width, np.dtype(np.uint8))
        return Stream(self, height, width)

    def begin_led(self, height: int, width: int) -> LedStream:
        """Returns likewise a film's way that is not watched as it comes: see `LedStream`."""
        return LedStream(self.begin(height, width))

    def restore(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Restores frames as they come, each as soon as it is there.

        Args:
          frames: As for `Stream.restore`; all of one size.
        Yields:
          One restored frame for each.
        Raises:
          UserError: if a frame is none, or has another size than the first.
        """
        stream = None
        for frame in frames:
            frame = np.asarray(frame)
            if stream is None and frame.ndim == 3:
                stream = self.begin(*frame.shape[:2])
            elif stream is None:
                restorer.check_picture(frame)
            yield stream.restore(frame)

    def cell_for(self, dtype: np.dtype) -> Cell:
        """Returns the model that a film of this type goes through."""
        if dtype == np.uint8 or self._open_deeper is None:
            return self.artifact
        with self._opening:
            self._deeper = self._deeper or self._open_deeper()
        return self._deeper

    def windows(
        self, cell: Cell, height: int, width: int, dtype: np.dtype
    ) -> list[tuple[tiling.Box, tiling.Box]]:
        """Plans (core, window) once for all frames of a type; all windows have one size.

        Raises:
          UserError: if a model of fixed sizes cannot take such frames.
        """
        margin = _margin_px(cell, dtype)
        sides = [tiling.padded_side(side, cell.divisor) for side in (height, width)]
        if cell.sizes:
            size = _fitting(cell, sides, (height, width), margin)
            longest = [
                tiling.longest_core(
                    length, tiling.padded_side(side, 1, length), margin, cell.divisor
                )
                for length, side in zip(size, sides)
            ]
            cores = tiling.split(tiling.Box(0, 0, height, width), *longest)
        else:
            side_px = self._tile_px or None
            area_px = (self._tile_px or AUTOMATIC_TILE_PX) ** 2
            grid = tiling.plan(height, width, margin, cell.divisor, area_px, side_px)
            size = grid.height, grid.width
            cores = [
                tiling.Box(top, left, bottom, right)
                for top, bottom in grid.rows
                for left, right in grid.columns
            ]
        windows = []
        for core in cores:
            (top, bottom), (left, right) = (
                tiling.window_along(
                    *span, tiling.padded_side(side, 1, length), margin, cell.divisor, length
                )
                for span, side, length in zip(
                    ((core.top, core.bottom), (core.left, core.right)), sides, size
                )
            )
            windows.append((core, tiling.Box(top, left, bottom, right)))
        return windows


class Stream:
    """One film on its way through a model.

    Attributes:
      frames: How many frames were restored since there was no past.
    """

    def __init__(self, owner: StreamRestorer, height: int, width: int):
        self._owner, self._size, self.frames = owner, (height, width), 0
        self._cell: Cell | None = None
        self._windows: list[tuple[tiling.Box, tiling.Box]] = []
        # Of the whole frame, (h, w, channels): the state, and room for the next one.
        self._state, self._next = np.zeros((0, 0, 0)), np.zeros((0, 0, 0))
        self._follower = following.Follower()

    def forget(self) -> None:
        """Begins anew, as at a cut: what comes next has no past."""
        self.frames = 0

    def _prepare(self, frame: np.ndarray) -> Cell:
        """Chooses, at the first frame, what the film goes through; sets the state, or moves it."""
        if self._cell is None:
            self._cell = self._owner.cell_for(frame.dtype)
            self._windows = self._owner.windows(self._cell, *self._size, frame.dtype)
        cell = self._cell
        if not self.frames:
            height = max(window.bottom for _, window in self._windows)
            width = max(window.right for _, window in self._windows)
            self._state = cell.zero_state(height, width)[0]
            self._follower = following.Follower()
            self._next = np.empty_like(self._state)
        if self._owner.follow and cell.remembers_frames:
            motion = self._follower.to(frame)
            if not motion.is_none:
                self._clear_beyond(self._state)
                following.follow(self._state, motion, cell.channels, self._next)
                self._state, self._next = self._next, self._state
                self._clear_beyond(self._state)
        return cell

    def _clear_beyond(self, state: np.ndarray) -> None:
        """Takes the past of what lies beyond the frame: what is mirrored there moves otherwise."""
        high, wide = (-(-side // self._cell.state_stride) for side in self._size)
        state[high:] = 0
        state[:, wide:] = 0

    def end(self) -> tuple[np.ndarray, ...]:
        """Returns the frames that were held back: none."""
        return ()

    def restore(self, frame: np.ndarray) -> np.ndarray:
        """Restores the next frame.

        Args:
          frame: (H, W, 1) or (H, W, 3), uint8, uint16 or float in [0, 1], of the stream's size.
        Returns:
          (H, W, channels) of the frame's type; float is not clipped. Where the model `keeps_grey`,
          one channel of a frame of one, and equal ones of a frame whose are.
        Raises:
          UserError: if it is no such frame; or if it is of more than 8 bits, which windows overlap
            further for, and a model of fixed sizes is too small for that.
        """
        frame = restorer.check_picture(np.asarray(frame))
        if frame.shape[:2] != self._size:
            (height, width), (high, wide) = frame.shape[:2], self._size
            raise UserError(
                f"the frame is {width}x{height} pixels: expected {wide}x{high}, as the first one;"
                " begin another stream for another size"
            )
        cell, strength = self._prepare(frame), self._owner.strength
        grey = cell.keeps_grey and restorer.is_grey(frame)
        channels = 1 if grey and frame.shape[-1] == 1 else cell.channels
        restored = np.empty((*self._size, channels), frame.dtype)
        for core, window in self._windows:
            given = restorer.fit_channels(_cut(frame, window), cell.channels)
            place = _of_state(window, cell)
            before = np.ascontiguousarray(place.of(self._state))
            made, after = cell.step(given[np.newaxis], before[np.newaxis])
            kept = _of_state(self._reaching(core), cell)
            kept.of(self._next)[...] = kept.relative_to(place).of(after[0])
            inside = core.relative_to(window)
            pixels = inside.of(made[0])
            pixels = arrays.luminance(pixels) if grey else pixels
            if strength != 1:
                shown = inside.of(given)
                pixels = shown + np.float32(strength) * (pixels - shown)
            core.of(restored)[...] = arrays.as_pixels(pixels, frame.dtype)
        self._state, self._next = self._next, self._state
        self.frames += 1
        return restored

    def _reaching(self, core: tiling.Box) -> tiling.Box:
        """Returns a core that has what lies beyond the frame, where windows do, at its borders."""
        height, width = self._size
        bottom, right = (side * self._cell.state_stride for side in self._state.shape[:2])
        return tiling.Box(
            core.top,
            core.left,
            bottom if core.bottom == height else core.bottom,
            right if core.right == width else core.right,
        )


class LedStream:
    """A film of which the first frames have those after them for a past.

    The first `LEAD_FRAMES` are held back until one more has come. They go through the model in
    reverse order, of which nothing is kept but the state; then the film begins, as late by so many
    frames. So a film has no noisier, flickering beginning.
    """

    def __init__(self, stream: Stream):
        self._stream, self._is_led = stream, False
        self._waiting: collections.deque[np.ndarray] = collections.deque()

    def restore(self, frame: np.ndarray) -> np.ndarray | None:
        """Takes the next frame, which must not change before its own comes back.

        Args:
          frame: As for `Stream.restore`.
        Returns:
          The next restored frame, as of `Stream.restore`; None for the first `LEAD_FRAMES`.
        Raises:
          UserError: as `Stream.restore`.
        """
        self._waiting.append(frame)
        return self._next() if len(self._waiting) > LEAD_FRAMES else None

    def end(self) -> Iterator[np.ndarray]:
        """Yields the restored frames that were held back, when the film is over."""
        while self._waiting:
            yield self._next()

    def _next(self) -> np.ndarray:
        if not self._is_led:
            for frame in list(self._waiting)[:0:-1]:
                self._stream.restore(frame)
            self._is_led = True
        return self._stream.restore(self._waiting.popleft())


def _margin_px(cell: Cell, dtype: np.dtype) -> int:
    """Returns by how much windows overlap."""
    margin = tiling.seen_px(cell.reach_px, cell.near_px, dtype)
    return margin + -margin % cell.divisor


def keras_cell(model: Any, divisor: int, reach_px: int) -> Cell:
    """Wraps a Keras model of [frame, state] to [restored, next state], of any height and width."""

    def step(frame: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Compiled, once for each size: a call of the model takes more than twice as long.
        restored, following = model.predict_on_batch([frame, state])
        return restored, following

    channels, state_channels = (each.shape[-1] for each in model.inputs)
    return Cell(step, channels, divisor, STATE_STRIDE, state_channels, reach_px, model=model)


def _of_state(box: tiling.Box, cell: Cell) -> tiling.Box:
    """Returns where what a box of pixels shows lies in the state; a square is its first pixel's."""
    stride = cell.state_stride
    return tiling.Box(*(-(-side // stride) for side in dataclasses.astuple(box)))


def restore_clip(cell: Cell, clip: np.ndarray) -> np.ndarray:
    """Restores a clip (T, H, W, C) as whole frames by the cell alone; float32, not clipped."""
    side_px = max(clip.shape[1:3]) + 2 * cell.reach_px + 3 * cell.divisor
    whole = StreamRestorer(cell, side_px, follow=False)
    return np.stack(list(whole.restore(np.asarray(clip, np.float32))))


def _cut(frame: np.ndarray, window: tiling.Box) -> np.ndarray:
    """Returns a window of a frame, mirrored where it goes beyond; else a view."""
    height, width = frame.shape[:2]
    if window.bottom <= height and window.right <= width:
        return window.of(frame)
    rows = tiling.mirrored_rows(window.top, window.bottom, height)
    columns = tiling.mirrored_rows(window.left, window.right, width)
    return frame[np.ix_(rows, columns)]


def _fitting(cell: Cell, sides: list[int], shown: tuple[int, int], margin: int) -> tuple[int, int]:
    """Chooses the window among a model's fixed sizes.

    Returns:
      The one of which as many as it takes have the fewest pixels; of two alike the larger one,
      which is run less often.
    """

    def pixels(size: tuple[int, int]) -> float:
        total = 1.0
        for length, side in zip(size, sides):
            core = tiling.longest_core(length, max(side, length), margin, cell.divisor)
            total *= length * -(-side // core) if core >= 1 else math.inf
        return total

    best = min(cell.sizes, key=lambda size: (pixels(size), -math.prod(size)))
    if pixels(best) < math.inf:
        return best
    have = ", ".join(f"{height}x{width}" for height, width in cell.sizes)
    raise UserError(
        f"frames of {shown[1]}x{shown[0]} pixels cannot be cut into windows of this model's sizes"
        f" ({have}): use its SavedModel, or export with a larger size in --sizes"
    )
