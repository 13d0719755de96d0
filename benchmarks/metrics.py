"""Measures the same pictures as other libraries do: PSNR, SSIM, luma, bicubic, JPEG, BM3D.

    python benchmarks/metrics.py             # prints the tables of docs/metrics.md
    python benchmarks/metrics.py --write     # and puts them there
    python benchmarks/metrics.py --topics ssim jpeg

Each row is what a reader would write in that library, and how far its figure is from this
project's. A library that is missing is said so on stderr and leaves no row, so `--write` refuses.
All of them: `pip install torch torchmetrics piq sewar bm3d simplejpeg pyvips pyvips-binary
mozjpeg-lossless-optimization opencv-contrib-python-headless`, and the program ffmpeg.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ways import bm3d, jpeg, luminance, psnr, resizing, ssim
from ways.registry import WAYS, Topic, Way

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "metrics.md"
BORDER_PX = 16

TOPICS = {
    "psnr": Topic("PSNR", psnr.our_psnr, 2e-4, "dB"),
    "batch": Topic("PSNR of several pictures", psnr.our_batch_psnr, 5e-4, "dB"),
    "ssim": Topic("SSIM", ssim.our_ssim, 1e-4, ""),
    "luma": Topic("Luminance", luminance.our_luminance, 0.52, "levels"),
    "reduce": Topic("Four times smaller, bicubic", resizing.our_reduced, 0.05, "levels"),
    "enlarge": Topic("Twice as large, bicubic", resizing.our_enlarged, 0.05, "levels"),
    "jpeg": Topic("JPEG of quality 90", jpeg.our_jpeg, 0, "levels"),
    "bm3d": Topic("BM3D", lambda: bm3d.bm3d_psnr_db("bm3d_rgb", False), 1e-6, "dB"),
}


@functools.cache
def ours(topic: str) -> Any:
    """Returns this project's figure."""
    return TOPICS[topic].ours()


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far a figure is from ours.

    Attributes:
      inside: Difference of a number; of pictures the largest, in levels, away from the border.
      border: The largest in a band of `BORDER_PX`; None of a number.
      value: The number; of pictures PSNR to ours, infinity for an equal one.
    """

    inside: float
    border: float | None
    value: float


def distance(each: Way) -> Distance:
    """Makes a figure and compares it."""
    expected, made = ours(each.topic), each.run()
    if np.ndim(expected) == 0:
        return Distance(float(made) - expected, None, float(made))
    if made.shape != expected.shape:
        raise ValueError(f"{each.call}: {made.shape}, expected {expected.shape}")
    difference = np.abs(np.float64(made) - expected)
    inner = (slice(BORDER_PX, -BORDER_PX),) * 2
    rim = difference.copy()
    rim[inner] = 0
    error = float(np.mean(difference**2))
    psnr_db = 10 * np.log10(255**2 / error) if error else np.inf
    return Distance(float(difference[inner].max()), float(rim.max()), psnr_db)


def table(topic: str, report: Callable[[str], None]) -> tuple[list[str], int]:
    """Returns the lines of a topic's table, and how many rows are missing."""
    rows = [each for each in WAYS if each.topic == topic]
    missing = sum(not each.is_there for each in rows)
    for each in rows:
        if not each.is_there:
            report(f"{each.package} is not installed: no row of {each.call!r}")
    if missing == len(rows):
        # Of BM3D our own figure is one of them.
        return [], missing
    is_number = np.ndim(ours(topic)) == 0
    heads = ("figure", "from ours") if is_number else ("dB to ours", "largest, inside", "border")
    lines = [f"| {' | '.join(('library', 'call', *heads))} |"]
    lines.append("|---|---|" + "---:|" * len(heads))
    if is_number:
        lines.append(f"| tf_deconv | | {ours(topic):.4f} | |")
    for each in rows:
        if not each.is_there:
            continue
        found = distance(each)
        figures = (
            (f"{found.value:.4f}", "0" if each.is_same else f"{found.inside:+.4f}")
            if is_number
            else (_decibels(found.value), _levels(found.inside), _levels(found.border))
        )
        call, _, told = each.call.partition(": ")
        words = f"`{call}`" + f": {told}" * bool(told)
        name = f"{each.package} {each.version()}"
        lines.append(f"| {name} | {words} | {' | '.join(figures)} |")
        report(lines[-1])
    return lines, missing


def _decibels(value: float) -> str:
    return "every bit" if value == np.inf else f"{value:.1f}"


def _levels(value: float) -> str:
    return "0" if value == 0 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def fill(text: str, topic: str, lines: Sequence[str]) -> str:
    """Puts a table between its markers."""
    begin, end = f"<!-- {topic} -->\n", f"<!-- /{topic} -->"
    before, middle, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not (middle and found):
        raise SystemExit(f"{PAGE}: no markers of {topic!r}")
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=list(TOPICS))
    parser.add_argument("--write", action="store_true", help="put the tables into docs/metrics.md")
    arguments = parser.parse_args()
    tables, missing = {}, 0
    for topic in arguments.topics:
        print(f"\n{TOPICS[topic].title}\n")
        tables[topic], absent = table(topic, lambda line: print(line, file=sys.stderr))
        missing += absent
        print("\n".join(tables[topic]))
    if not arguments.write:
        return
    if missing:
        raise SystemExit(f"{missing} rows are missing: nothing written")
    text = PAGE.read_text(encoding="utf-8")
    for topic, lines in tables.items():
        text = fill(text, topic, lines)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
