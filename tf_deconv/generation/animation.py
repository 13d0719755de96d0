"""Pictures that follow one another as a film or a GIF, whichever --out names."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tf_deconv.generation.config import EditConfig, SampleConfig, film_of, is_gif
from tf_deconv.images import arrays, sheets
from tf_deconv.utils import files
from tf_deconv.video import making

# How long the last picture of a way stays, in seconds.
HOLD_S = 1.5
# A frame is enlarged by whole numbers up to this side, in pixels.
_GIF_SIDE_PX, _FILM_SIDE_PX = 224, 800


class Animation:
    """The file that --out names, planned before a generator is opened.

    Attributes:
      path: The film or GIF.
    """

    def __init__(self, config: SampleConfig | EditConfig, path: pathlib.Path):
        """Plans; `find` makes one where --out names a file.

        Raises:
          UserError: if PyAV is missing, or the container or the codec does not fit.
        """
        self.path, self._rate = path, config.frame_rate
        self._plan = None
        if not is_gif(path):
            self._plan = making.plan(path, config.frame_rate, config.codec, config.crf)

    def scale_of(self, height: int, width: int) -> int:
        """Returns how many times a picture of this size is enlarged."""
        if self._plan is None:
            return gif_scale(height, width)
        scale = max(1, _FILM_SIDE_PX // max(height, width))
        # Colours are stored for two columns and lines together: so none are mixed.
        return scale - scale % 2 if scale > 1 else 1

    def write(
        self, frames: Sequence[np.ndarray], holds: bool, report: Callable[[str], None]
    ) -> None:
        """Writes the file, whose folder is there, and tells what it is.

        Args:
          frames: (H, W, 1 or 3) each, of one size, float in [0, 1] or uint8.
          holds: Whether the last one stays for a while.
          report: Receives lines for the user.
        Raises:
          UserError, OSError: if it cannot be written; nothing half-written is left.
        """
        if self._plan is None:
            content = encode_gif(frames, self._rate, holds)
            files.write_bytes(self.path, content)
            report(f"written to {self.path}: {len(frames)} pictures")
            return
        last = round(HOLD_S * self._rate) if holds else 0
        notes = making.write(self.path, self._plan, _repeated(frames, last))
        for note in notes:
            report(f"note: {note}")
        report(f"written to {self.path}: {len(frames) + last} frames, {self._plan.describe()}")


def find(config: SampleConfig | EditConfig) -> Animation | None:
    """Returns the film or GIF that --out names; None: it is a folder."""
    path = film_of(config.out)
    return None if path is None else Animation(config, path)


def gif_scale(height: int, width: int) -> int:
    """Returns how many times a picture is enlarged for a GIF."""
    return max(1, _GIF_SIDE_PX // max(height, width))


def encode_gif(frames: Sequence[np.ndarray], rate: float, holds: bool) -> bytes:
    """Encodes a GIF that repeats for ever.

    Args:
      frames: As for `sheets.encode_gif`.
      rate: Frames in a second.
      holds: Whether the last one stays for a while.
    """
    lasts_ms = 10 * round(100 / rate)
    return sheets.encode_gif(frames, lasts_ms, round(1000 * HOLD_S) if holds else lasts_ms)


def enlarged(frames: Sequence[np.ndarray], scale: int) -> list[np.ndarray]:
    """Repeats each pixel `scale` times along either axis; (H, W, C) uint8."""
    return [arrays.to_uint8(frame).repeat(scale, axis=0).repeat(scale, axis=1) for frame in frames]


def _repeated(frames: Sequence[np.ndarray], last: int) -> Iterator[np.ndarray]:
    """Yields frames, and the last one so many times more."""
    yield from frames
    for _ in range(last):
        yield frames[-1]
