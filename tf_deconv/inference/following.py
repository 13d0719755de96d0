"""How a film's picture has moved and lightened as a whole since the frame before, and a state so.

A camera that pans, or is held in a hand, moves everything, and its exposure changes everything. The
network finds the past a few whole pixels away, by what is around, where noise hides small
differences; all pixels together tell a twentieth of a pixel. So what the state remembers of the
picture is moved before the network sees it.

First, means over cells of pixels are compared at whole cells, coarse to fine (what leaves the least
absolute difference is what most of the picture does). Then least squares on the brightness' slopes
find the parts of a cell (Lucas and Kanade 1981, "An Iterative Image Registration Technique"), with
weights by which what moves otherwise counts little. Everything follows from the frames alone, so
that a film takes the same way through every runtime and format of a model. The web page's
`following.js` computes the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tf_deconv.networks.table import STATE_STRIDE

# Pixels of a cell's side, doubled while the longer side has more cells than this.
_CELL_PX, _MOST_CELLS = 2, 512
# Cells of the longer side where all places are compared, at most: noise does not survive there.
_COARSEST = 64
# How far a picture may have moved, as a part of its sides: beyond, little of it is seen again.
_FARTHEST = 0.25
# What is found leaves less than no motion does by this part of it at least, if it is whole cells;
# of few cells chance is more: means of two places over n cells differ by 1 / sqrt(n) or so.
_LEAST_GAIN, _DEVIATIONS = 0.05, 8.0
# Steps of least squares, each for what the one before left.
_STEPS = 5
# A difference of so many standard deviations counts a quarter.
_OUTLYING = 2.5
# Nothing is moved by less: what stands still is to stay as it is.
_LEAST_PX = 0.05
# Cells of a picture's shorter side below which there is too little to go by.
_FEWEST = 8
# Half the width of the kernel by which the past is read between its pixels: Lanczos'.
_LOBES = 3
# Where that has all it needs.
_INNER = (slice(_LOBES, -_LOBES),) * 2
_SMOOTHING = (0.25, 0.5, 0.25)
# What is around a cell, by which it is told whether it did as the picture does.
_AROUND = (0.2,) * 5
# How far it must be off, as a part of what is left on the whole, and how much of what is known of
# it lasts to the next frame: a subtitle stays, and is told from noise by several.
_CLEAR, _KEPT = 0.2, 0.85
# What least squares find counts if it explains so many times the noise's variance. Of noise alone
# two numbers explain two, and several times that here, since smoothing makes neighbours alike.
_EVIDENCE = 100.0
# Noise has slopes too. In the mean of two frames of smoothed white noise their mean square is this
# part of the variance of the frames' difference: (6/16 - 1/16) / 2 / (6/16) / 4.
_NOISE_SLOPES = 0.104
# Of blocks of so many cells squared, so many must be better for each that is worse, by a part of
# what is left: of two halves that move each its own way neither is the camera.
_BLOCK, _FOR_EACH, _LEAST_CHANGE = 6, 3, 0.25
# Of lines in one direction: what changes along them, in squares, is less than this part.
_LINED = 0.01
# A picture that has become lighter or darker by more is another one.
_MOST_GAIN = 2.0
_TINY = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """What most of a picture has done since the frame before.

    Attributes:
      down_px: By how many pixels it has moved down; 0 where that cannot be told from nothing.
      right_px: To the right, likewise.
      gain: By which factor it is brighter; 1 likewise.
      still: (h, w) of squares, bool: what does nothing of it, as a subtitle before a camera that
        pans; None where there is no such thing.
    """

    down_px: float = 0.0
    right_px: float = 0.0
    gain: float = 1.0
    still: np.ndarray | None = None

    @property
    def is_none(self) -> bool:
        """Whether nothing was found."""
        return not self.down_px and not self.right_px and self.gain == 1


class Follower:
    """What is known of a film's last frame: enough to say what the picture does until the next."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._stillness: np.ndarray | float = 0.0

    def to(self, frame: np.ndarray) -> Motion:
        """Takes the next frame.

        Args:
          frame: (H, W, C) of any type; all of a film are of one size and type.
        Returns:
          What most of the picture has done since the frame before; nothing at the first.
        """
        cell_px = _CELL_PX
        while max(frame.shape[:2]) > _MOST_CELLS * cell_px:
            cell_px *= 2
        if min(frame.shape[:2]) < _FEWEST * cell_px:
            return Motion()
        before, self._before = self._before, _cells(frame, cell_px)
        if before is None:
            return Motion()
        down, right, gain = _compared(before, self._before)
        if cell_px * math.hypot(down, right) < _LEAST_PX:
            down = right = 0.0
        if not down and not right and gain == 1:
            return Motion()
        self._stillness = _KEPT * self._stillness + _stillness(
            before, self._before, (down, right), gain
        )
        still = self._stillness > 1
        for axis in (0, 1):
            still = np.repeat(still, cell_px // STATE_STRIDE, axis)
        return Motion(cell_px * down, cell_px * right, gain, still if still.any() else None)


def follow(state: np.ndarray, motion: Motion, channels: int, into: np.ndarray) -> None:
    """Moves and lightens a state (h, w, S) of `networks.video` as the picture.

    The mean of the frames is read between its pixels, its weight and the features from the nearest
    square. Where something comes in there is no past.

    Args:
      state: What the past weighs, the mean of `channels` colours of the squares' pixels, features.
      motion: Of the picture.
      channels: Of a frame.
      into: An array like `state`, that receives the result.
    """
    inside = 1 + channels * STATE_STRIDE**2
    moves = (motion.down_px, motion.right_px)
    down, right = (math.floor(by / STATE_STRIDE + 0.5) for by in moves)
    now, then = _shared(state.shape, (down, right))
    into[...] = 0
    into[now] = state[then]
    for colour in range(1, 1 + channels):  # One after the other, for the sake of memory.
        image = _unfolded(state[..., colour:inside:channels])
        for axis, by in enumerate(moves):
            image = _shifted(image, by, axis)
        # Where there is no past, its mean is 0 as well.
        squares = motion.gain * _folded(image) * (into[..., :1] > 0)
        into[..., colour:inside:channels] = squares
    if motion.still is not None:
        high, wide = (min(sides) for sides in zip(state.shape, motion.still.shape))
        still = motion.still[:high, :wide]
        into[:high, :wide][still] = state[:high, :wide][still]


# --- What the picture has done.


def _cells(frame: np.ndarray, side: int) -> np.ndarray:
    """Returns smoothed means of all channels over whole cells, (h, w) float64."""
    high, wide = (length // side for length in frame.shape[:2])
    rows = frame[: high * side, : wide * side].reshape(high, side, -1)
    sums = rows.sum(1, dtype=np.float64).reshape(high, wide, side * frame.shape[-1])
    means = sums.mean(-1) / side
    return _filtered(_filtered(means, _SMOOTHING, 0), _SMOOTHING, 1)


def _compared(before: np.ndarray, now: np.ndarray) -> tuple[float, float, float]:
    """Returns by how many cells most has moved down and to the right, and its gain."""
    # About as light, so that what is left tells of motion.
    ratio = float(now.sum() / before.sum()) if before.sum() else 0.0
    ratio = ratio if 1 / _MOST_GAIN <= ratio <= _MOST_GAIN else 1.0
    before = ratio * before
    levels = [(before, now)]
    while max(levels[-1][0].shape) > _COARSEST:
        then, seen = levels[-1]
        levels.append((_halved(then), _halved(seen)))
    reach = [math.floor(_FARTHEST * side) for side in levels[-1][0].shape]
    found, is_told = (0, 0), False
    for number, level in enumerate(reversed(levels)):
        found = _best(*level, (2 * found[0], 2 * found[1]), [1, 1] if number else reach)
        is_told = is_told or _is_told(*level, found)
    found = found if is_told else (0, 0)
    seen, then = _shared(now.shape, found)
    if min(now[seen].shape) < _FEWEST:
        return 0.0, 0.0, 1.0
    if found != (0, 0) and _is_lined(before[then], now[seen]):
        found = 0, 0
        seen, then = _shared(now.shape, found)
    down, right = _parts(before[then], now[seen])
    moved = _shifted(_shifted(before[then], down, 0), right, 1)[_INNER]
    if not _suits_most(before[seen][_INNER], moved, now[seen][_INNER]):
        found, (down, right), moved = (0, 0), (0.0, 0.0), before[seen][_INNER]
    return found[0] + down, found[1] + right, _gain(moved / ratio, now[seen][_INNER])


def _is_told(before: np.ndarray, now: np.ndarray, place: tuple[int, int]) -> bool:
    """Returns whether a displacement leaves clearly less than none does, of what it shows."""
    seen, then = _shared(now.shape, place)
    gain = max(_LEAST_GAIN, _DEVIATIONS / math.sqrt(max(now[seen].size, 1)))
    return _left(before[then], now[seen]) < (1 - gain) * _left(before[seen], now[seen])


def _best(
    before: np.ndarray, now: np.ndarray, middle: tuple[int, int], reach: list[int]
) -> tuple[int, int]:
    """Returns the place around `middle` that leaves the least; far ones have a price."""
    rows, columns = (range(at - far, at + far + 1) for at, far in zip(middle, reach))
    places = [(down, right) for down in rows for right in columns]
    # For along an edge all places are alike.
    price = _LEAST_GAIN / (_FARTHEST * max(now.shape))

    def cost(place: tuple[int, int]) -> float:
        seen, then = _shared(now.shape, place)
        return _left(before[then], now[seen]) * (1 + price * math.hypot(*place))

    return min(places, key=cost)


def _left(before: np.ndarray, now: np.ndarray) -> float:
    """Returns the mean absolute difference, less what all of it changed by."""
    changed = now - before
    return float(np.abs(changed - changed.mean()).mean()) if changed.size else math.inf


def _is_lined(before: np.ndarray, now: np.ndarray) -> bool:
    """Returns whether a picture is of lines in one direction, along which no place is told."""
    slopes = [each[_INNER] for each in np.gradient(0.5 * (before + now))]
    matrix = np.array([[(a * b).mean() for a in slopes] for b in slopes])
    noise = _NOISE_SLOPES * float(np.var((now - before)[_INNER]))
    least, most = np.linalg.eigvalsh(matrix - noise * np.eye(2))
    return bool(least < _LINED * most)


def _stillness(
    before: np.ndarray, now: np.ndarray, place: tuple[float, float], gain: float
) -> np.ndarray:
    """Returns how much more cells are like what they were than like what came there.

    1 is what tells of a cell by itself that it did not move; what came in did.
    """
    moved = gain * _shifted(_shifted(before, place[0], 0), place[1], 1)
    left, had = np.abs(now - moved), np.abs(now - before)
    least = _CLEAR * left.mean() + _TINY
    for axis in (0, 1):
        left, had = (_filtered(each, _AROUND, axis) for each in (left, had))
    stillness = (left - had) / least
    for axis, by in enumerate(place):
        side, came = now.shape[axis], math.ceil(abs(by))
        inside = np.arange(side) >= came if by > 0 else np.arange(side) < side - came
        stillness *= inside[:, np.newaxis] if axis == 0 else inside
    return stillness


def _suits_most(before: np.ndarray, moved: np.ndarray, now: np.ndarray) -> bool:
    """Returns whether far more of a picture is explained better by moving it than worse."""
    left, had = (np.abs(now - each - (now - each).mean()) for each in (moved, before))
    better = _in_blocks(had) - _in_blocks(left)
    least = _LEAST_CHANGE * left.mean()
    return (better > least).sum() >= _FOR_EACH * (better < -least).sum()


def _parts(before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """Returns by which parts of a cell most has moved; (0, 0) if that may be chance."""
    found = np.zeros(2)
    for _ in range(_STEPS):
        moved = _shifted(_shifted(before, found[0], 0), found[1], 1)
        slopes = [each[_INNER] for each in np.gradient(0.5 * (moved + now))]
        change = (now - moved)[_INNER]
        change = change - change.mean()
        spread, weights = _weights(change, now)
        matrix = np.array([[(weights * a * b).sum() for a in slopes] for b in slopes])
        if np.linalg.det(matrix) <= _TINY * np.trace(matrix) ** 2:
            return 0.0, 0.0  # Flat, or of lines in one direction.
        inverse = np.linalg.inv(matrix)
        found -= inverse @ [(weights * slope * change).sum() for slope in slopes]
        if np.abs(found).max() > 1:
            return 0.0, 0.0
    evidence = matrix - _NOISE_SLOPES * weights.sum() * spread**2 * np.eye(2)
    if found @ evidence @ found < _EVIDENCE * spread**2:
        return 0.0, 0.0  # It may be chance.
    moved = _shifted(_shifted(before, found[0], 0), found[1], 1)
    left, had = (_left(each[_INNER], now[_INNER]) for each in (moved, before))
    return (float(found[0]), float(found[1])) if left <= had else (0.0, 0.0)


def _gain(before: np.ndarray, now: np.ndarray) -> float:
    """Returns the factor by which most has become lighter; 1 if that may be chance."""
    gain, explained = 1.0, 0.0
    for _ in range(_STEPS):
        spread, weights = _weights(now - gain * before, now)
        # By the mean of both, in which both have as much noise: it favours no gain.
        both = weights * (before + now) / 2
        squares = float((both * before).sum())
        if squares <= 0:
            return 1.0
        gain = float((both * now).sum()) / squares
        explained = (gain - 1) ** 2 * squares
    left, had = (np.abs(now - factor * before).mean() for factor in (gain, 1.0))
    is_told = explained >= _EVIDENCE * spread**2 and left < had
    return gain if is_told and 1 / _MOST_GAIN <= gain <= _MOST_GAIN else 1.0


def _weights(change: np.ndarray, now: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns a standard deviation, of noise, and weights by which outliers count little."""
    # A little more than it is, so that no change at all is one too.
    least = _TINY * (1 + float(np.abs(now).max()))
    spread = math.sqrt(math.pi / 2) * float(np.abs(change).mean()) + least
    return spread, 1 / (1 + (change / (_OUTLYING * spread)) ** 2) ** 2


# --- Moving.


def _shared(
    shape: tuple[int, ...], place: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Returns where what is in both of two frames lies now, and where it was."""
    (high, down), (wide, right) = zip(shape, place)
    now = (
        slice(max(0, down), max(0, high + min(0, down))),
        slice(max(0, right), max(0, wide + min(0, right))),
    )
    before = (
        slice(max(0, -down), max(0, high - max(0, down))),
        slice(max(0, -right), max(0, wide - max(0, right))),
    )
    return now, before


def _shifted(values: np.ndarray, by: float, axis: int) -> np.ndarray:
    """Moves values along an axis, read between places by Lanczos' kernel; the last one goes on."""
    if not by:
        return values
    whole = math.floor(by)
    away = np.arange(-_LOBES, _LOBES) + (by - whole)
    kernel = np.sinc(away) * np.sinc(away / _LOBES)
    return _filtered(values, (kernel / kernel.sum()).tolist(), axis, -_LOBES - whole)


def _filtered(
    values: np.ndarray, kernel: Sequence[float], axis: int, first: int | None = None
) -> np.ndarray:
    """Returns sums along an axis of what is `first`, `first` + 1, ... places on; the ends go on."""
    length = values.shape[axis]
    first = -(len(kernel) // 2) if first is None else first
    places = np.arange(first, first + length + len(kernel) - 1)
    padded = np.moveaxis(np.take(values, np.clip(places, 0, length - 1), axis), axis, 0)
    total = np.zeros_like(padded[:length])
    for number, factor in enumerate(kernel):
        total += factor * padded[number : number + length]
    return np.moveaxis(total, 0, axis)


def _in_blocks(cells: np.ndarray) -> np.ndarray:
    """Returns means over whole blocks of cells."""
    high, wide = (side // _BLOCK for side in cells.shape)
    blocks = cells[: high * _BLOCK, : wide * _BLOCK].reshape(high, _BLOCK, wide, _BLOCK)
    return blocks.mean((1, 3))


def _halved(cells: np.ndarray) -> np.ndarray:
    """Returns means over two by two cells; what is left over at the ends is left out."""
    high, wide = (side // 2 for side in cells.shape)
    return cells[: 2 * high, : 2 * wide].reshape(high, 2, wide, 2).mean((1, 3))


def _unfolded(squares: np.ndarray) -> np.ndarray:
    """Returns (h, w, 4), one colour of squares as `networks.video` orders them, as (2 h, 2 w)."""
    high, wide = squares.shape[:2]
    pixels = squares.reshape(high, wide, STATE_STRIDE, STATE_STRIDE)
    return pixels.swapaxes(1, 2).reshape(high * STATE_STRIDE, wide * STATE_STRIDE)


def _folded(image: np.ndarray) -> np.ndarray:
    """Undoes `_unfolded`."""
    high, wide = (side // STATE_STRIDE for side in image.shape)
    pixels = image.reshape(high, STATE_STRIDE, wide, STATE_STRIDE)
    return pixels.swapaxes(1, 2).reshape(high, wide, -1)
