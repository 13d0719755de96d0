"""Where tiles lie: which pixels each one restores, and which it must see to restore them exactly.

A picture is cut into *cores*, which meet and do not overlap. A core is restored inside a *window*
that is larger by the network's reach, so that what the window's edge spoils is thrown away. Windows
begin at multiples of the divisor (a pooling's grid is then that of the whole picture) and end at
the picture's own border where there is one (so the network's zero padding is the same there).
"""

from __future__ import annotations

import dataclasses

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
