"""What a terminal shows of long work: a bar, and how long it will still take."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from typing import TextIO

_BAR_WIDTH = 30
_hidden = False


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Lets no bar be drawn that is made within the block."""
    global _hidden
    before, _hidden = _hidden, True
    try:
        yield
    finally:
        _hidden = before


class Bar:
    """A bar on the last line of a terminal; nothing where the output goes to a file.

    Attributes:
      shown: Whether it is drawn at all.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stdout
        self.shown = self._stream.isatty() and not _hidden
        self._drawn = False

    def draw(self, head: str, part: float, tail: str = "") -> None:
        """Draws `head ######.... 60% tail`, cut to the terminal's width; `part` is in [0, 1]."""
        if not self.shown:
            return
        full = int(part * _BAR_WIDTH)
        bar = "#" * full + "." * (_BAR_WIDTH - full)
        line = f"{head} {bar} {100 * part:3.0f}%  {tail}".rstrip()
        # A line that wraps cannot be taken back by \r.
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line[:width]}", end="", flush=True, file=self._stream)
        self._drawn = True

    def clear(self) -> None:
        """Takes the bar off the terminal."""
        if self._drawn:
            print("\r\033[K", end="", flush=True, file=self._stream)
            self._drawn = False


def duration_text(seconds: float) -> str:
    """Writes a duration in its two largest units: 8 s, 1 min 24 s, 2 h 5 min, 3 d 4 h.

    Args:
      seconds: At least 0.
    """
    seconds = round(seconds)
    for name, size, smaller_name, smaller in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return f"{seconds} s"
