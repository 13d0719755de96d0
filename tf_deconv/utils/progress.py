"""What a terminal shows of long work: a bar, and how long it will still take."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

from tf_deconv.monitor import PSNR, Monitor

_BAR_WIDTH = 30
# Epochs whose mean tells the length of the next ones: few enough to follow a machine that slows.
_EPOCHS_TO_JUDGE_BY = 5


class Bar:
    """A bar on the last line of a terminal; nothing where the output goes to a file."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream or sys.stdout
        self._shown = self._stream.isatty()
        self._drawn = False

    def draw(self, head: str, part: float, tail: str = "") -> None:
        """Draws `head ######.... 60% tail`, cut to the terminal's width; `part` is in [0, 1]."""
        if not self._shown:
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


def epoch_duration_s(durations_s: Sequence[float]) -> float:
    """Judges how long the next epoch takes, in seconds.

    Args:
      durations_s: Of the epochs so far, at least one. The first builds the graph on top: it counts
        only while there is no other.
    """
    latest = (durations_s[1:] or durations_s)[-_EPOCHS_TO_JUDGE_BY:]
    return sum(latest) / len(latest)


def epoch_line(
    rows: Sequence[dict[str, float]],
    epochs: int,
    durations_s: Sequence[float],
    monitor: Monitor = PSNR,
) -> str:
    """Describes the last epoch, the best one, and the time until the last.

    Args:
      rows: One per epoch: `epoch`, `loss` and what is monitored.
      epochs: Number of epochs in the whole training.
      durations_s: Seconds of each epoch of this process, at least one; after a resume fewer than
        `rows`.
      monitor: The figure that tells which epoch was the best.
    """
    row, best = rows[-1], monitor.best(rows)
    number, each_s = int(row["epoch"]), epoch_duration_s(durations_s)
    shown = f"{each_s:.1f} s" if each_s < 9.95 else duration_text(each_s)
    line = (
        f"epoch {number:{len(str(epochs))}}/{epochs}  loss {row['loss']:.3g}"
        f"  {monitor.line(row)}"
        f"  best {best[monitor.name]:{monitor.form}} (epoch {best['epoch']:.0f})  {shown}/epoch"
    )
    left = epochs - number
    return f"{line}, {duration_text(left * each_s)} left" if left else line
