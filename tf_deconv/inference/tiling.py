"""Where tiles lie: which pixels each one restores, and which it must see to restore them exactly.

A picture is cut into *cores*, which meet and do not overlap. A core is restored inside a *window*
that is larger by the network's reach, so that what the window's edge spoils is thrown away. Windows
begin at multiples of the divisor (a pooling's grid is then that of the whole picture) and end at
the picture's own border where there is one (so the network's zero padding is the same there).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tf_deconv.images import arrays


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top to bottom - 1, columns left to right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def scaled(self, scale: int) -> Box:
        """Returns the same place in a picture that is `scale` times larger."""
        return Box(*(scale * side for side in dataclasses.astuple(self)))

    def relative_to(self, window: Box) -> Box:
        """Returns the same place with rows and columns counted from the window's corner."""
        return Box(
            self.top - window.top,
            self.left - window.left,
            self.bottom - window.top,
            self.right - window.left,
        )

    def of(self, array: np.ndarray) -> np.ndarray:
        """Returns the view of (H, W, ...) that the box covers."""
        return array[self.top : self.bottom, self.left : self.right]


@dataclasses.dataclass(frozen=True)
class Symmetry:
    """One of the 8 flips and turns: an optional mirror left to right, then quarter turns.

    Attributes:
      mirrored: Whether the picture is mirrored first.
      turns: Quarter turns against the clock, 0 to 3.
    """

    mirrored: bool = False
    turns: int = 0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Returns a view of (H, W, C)."""
        return arrays.oriented(image, self.turns + 4 * self.mirrored)

    def undo(self, image: np.ndarray) -> np.ndarray:
        """Returns the view that `apply` turned."""
        image = np.rot90(image, -self.turns)
        return image[:, ::-1] if self.mirrored else image

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns height and width after `apply`."""
        return (width, height) if self.turns % 2 else (height, width)

    def place(self, box: Box, height: int, width: int) -> Box:
        """Returns where a box of a (height, width) picture lies after `apply`."""
        if self.mirrored:
            box = Box(box.top, width - box.right, box.bottom, width - box.left)
        for _ in range(self.turns):
            box = Box(width - box.right, box.top, width - box.left, box.bottom)
            height, width = width, height
        return box


AS_IT_IS = (Symmetry(),)
ALL_SYMMETRIES = tuple(
    Symmetry(mirrored, turns) for mirrored in (False, True) for turns in range(4)
)


def seen_px(reach: int, near: int | None, dtype: np.dtype) -> int:
    """Returns how far around a pixel windows must show: in 8 bits what is further changes no level.

    Args:
      reach: How many pixels away an input pixel still changes an output pixel.
      near: From how many on it was not seen to change one by half a level; None if not measured.
      dtype: Of the pixels.
    """
    return reach if near is None or dtype != np.uint8 else min(reach, near)


def padded_side(side: int, divisor: int, window: int = 1) -> int:
    """Returns the least multiple of `divisor` from `side` up, or `window` if that is more."""
    return max(side + -side % divisor, window)


def split(box: Box, height: int, width: int) -> list[Box]:
    """Cuts a box into boxes of at most (height, width); each pixel is in one of them."""
    return [
        Box(top, left, min(top + height, box.bottom), min(left + width, box.right))
        for top in range(box.top, box.bottom, height)
        for left in range(box.left, box.right, width)
    ]


@dataclasses.dataclass(frozen=True)
class Grid:
    """How a picture is cut: its cores row by row, and the one size that all their windows have.

    Attributes:
      height: Of each window, in pixels.
      width: Of each window, in pixels.
      rows: First row of each core, and one past its last, from the top.
      columns: First column of each core, and one past its last, from the left.
    """

    height: int
    width: int
    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]

    @property
    def work_px(self) -> int:
        """How many pixels all windows have together."""
        return len(self.rows) * len(self.columns) * self.height * self.width


# Larger windows than this needs are not taken: they save less work than they cost memory.
_OVERLAP = 0.14
# Nor are windows made smaller than this part of the most, which each have a cost of their own.
_SHARE = 4
# No picture is cut into more rows, unless a side of a window is given.
_MOST_ROWS = 512


def plan(
    height: int, width: int, reach: int, divisor: int, area_px: int, side_px: int | None = None
) -> Grid:
    """Cuts a picture into few equal windows, so that little of the work is overlap.

    Args:
      height: The picture's.
      width: The picture's.
      reach: How many pixels away an input pixel still changes an output pixel.
      divisor: Windows begin at its multiples and are multiples of it long.
      area_px: The most pixels of a window; one that has nothing but overlap takes more.
      side_px: The longest side of a window, at least two margins and the divisor; any when left
        out.
    Returns:
      Of the grids whose overlap is at most `_OVERLAP` of the work, the one with the smallest
      windows, down to a `_SHARE` of the most; or else the one with the least work.
    """
    margin = reach + -reach % divisor
    padded = [padded_side(side, divisor) for side in (height, width)]
    least = 2 * margin + divisor
    if side_px is not None:
        return _grid_of(height, width, padded, side_px, margin, divisor)
    if padded[0] * padded[1] <= area_px:
        return Grid(*padded, ((0, height),), ((0, width),))
    best, best_cost = None, (math.inf,)
    for down in range(1, _MOST_ROWS + 1):
        rows = _cut(padded[0], down, margin, divisor)
        longest = area_px // rows[0]
        across = _count(padded[1], longest, margin, divisor)
        while longest >= min(least, padded[1]):
            columns = _cut(padded[1], across, margin, divisor)
            grid = _grid(height, width, rows, columns)
            overlap = 1 - height * width / grid.work_px
            window_px = grid.height * grid.width
            cost = (max(overlap, _OVERLAP), max(window_px, area_px // _SHARE), overlap)
            if cost < best_cost:
                best, best_cost = grid, cost
            if overlap > _OVERLAP or window_px <= area_px // _SHARE or len(columns[1]) < across:
                break
            across += 1
        if len(rows[1]) < down:
            break
    # Where so few pixels are all overlap, the smallest window that is not.
    return best or _grid_of(height, width, padded, least, margin, divisor)


def _grid_of(
    height: int, width: int, padded: list[int], side_px: int, margin: int, divisor: int
) -> Grid:
    """Cuts a picture into windows of at most `side_px` pixels a side."""
    cuts = (_cut(side, _count(side, side_px, margin, divisor), margin, divisor) for side in padded)
    return _grid(height, width, *cuts)


def _count(side: int, longest: int, margin: int, divisor: int) -> int:
    """Returns how many windows of at most `longest` pixels a side needs; as many as help."""
    longest = max(longest - longest % divisor, 2 * margin + divisor)
    return 1 if side <= longest else -(-(side - 2 * margin) // (longest - 2 * margin))


def _cut(side: int, count: int, margin: int, divisor: int) -> tuple[int, list[tuple[int, int]]]:
    """Cuts a padded side into `count` cores or fewer, whose windows have one length."""
    length = -(-(side + 2 * margin * (count - 1)) // count)
    length += -length % divisor
    spans, start = [], 0
    while start < side:
        # A window at a border of the picture has no margin there.
        stop = start + length - (margin if start == 0 else 2 * margin)
        if side - start <= length - (0 if start == 0 else margin):
            stop = side
        spans.append((start, stop))
        start = stop
    return min(length, side), spans


def _grid(height: int, width: int, rows: tuple, columns: tuple) -> Grid:
    (window_height, down), (window_width, across) = rows, columns
    return Grid(
        window_height,
        window_width,
        tuple((start, min(stop, height)) for start, stop in down),
        tuple((start, min(stop, width)) for start, stop in across),
    )


def window_along(
    start: int, stop: int, side: int, reach: int, divisor: int, length: int | None = None
) -> tuple[int, int]:
    """Returns the window that restores pixels start to stop - 1 along one axis.

    Args:
      start: First pixel to restore.
      stop: One past the last.
      side: The padded picture's, a multiple of `divisor` (or equal to `length`).
      reach: How many pixels away an input pixel still changes an output pixel.
      divisor: Windows begin and end at its multiples.
      length: The window's, where it is fixed; the pixels must be at most `longest_core`.
    Returns:
      First pixel of the window, and one past its last; both within the padded picture.
    """
    first = max(0, (start - reach) // divisor * divisor)
    if length is None:
        return first, min(side, stop + reach + -(stop + reach) % divisor)
    first = min(first, side - length)
    return first, first + length


def longest_core(length: int, side: int, reach: int, divisor: int) -> int:
    """Returns how many pixels in a row a window of a fixed length restores, wherever they begin."""
    return side if length >= side else length - 2 * reach - (divisor - 1)


def mirrored_rows(first: int, last: int, side: int) -> np.ndarray:
    """Returns the row of the picture behind each padded row: the rule of `padding`, at any size."""
    within = np.arange(first, last) % (2 * side)
    return np.minimum(within, 2 * side - 1 - within)
