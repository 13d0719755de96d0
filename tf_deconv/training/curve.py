"""Plots by matplotlib as PNG files; they know nothing of how the figures came about."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from tf_deconv.training.monitor import PSNR, Monitor
from tf_deconv.utils.plotting import DOTS_PER_INCH, SIZE_INCHES, own_style

# More epochs than this are drawn without a dot for each.
_DOTS_UP_TO = 40
_TRAINING, _VALIDATION, _NOTHING, _RATE = "#9aa0a6", "#1a66b3", "#b3541a", "#4d4d4d"


def draw_curve(
    rows: Sequence[dict[str, float]],
    do_nothing_psnr_db: float | None = None,
    monitor: Monitor = PSNR,
) -> bytes:
    """Draws loss, what is monitored and learning rate over epochs, with the best epoch marked.

    Args:
      rows: One per epoch: `epoch`, `loss`, `val_loss`, what is monitored and, unless an older
        version wrote it, `learning_rate`.
      do_nothing_psnr_db: What the validation patches score as they are; a line in the PSNR's panel.
        Left out when None.
      monitor: The figure that tells which epoch was the best.
    Returns:
      The bytes of a PNG, 750x1000 pixels.
    Raises:
      ValueError: if there is no row.
    """
    if not rows:
        raise ValueError("no epoch to draw: expected at least one row")
    # Imported here: it takes half a second, and nothing but this needs it. Not pyplot: that is for
    # windows, and keeps every figure until it is closed.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with own_style():
        figure = Figure(SIZE_INCHES, DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        # Fixed margins: a layout that fits itself to the labels draws everything twice.
        figure.subplots_adjust(left=0.17, right=0.97, top=0.95, bottom=0.07, hspace=0.2)
        panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1.5))
        figure.align_ylabels(panels)
        _draw_losses(panels[0], rows)
        _draw_monitored(panels[1], rows, do_nothing_psnr_db, monitor)
        _draw_learning_rate(panels[2], rows)
        best = monitor.best(rows)
        for panel in panels:
            panel.axvline(best["epoch"], color=_VALIDATION, linestyle=":", linewidth=1.2)
        stream = io.BytesIO()
        canvas.print_png(stream)
    return stream.getvalue()


def _draw_losses(panel: Any, rows: Sequence[dict[str, float]]) -> None:
    for name, label, color in (
        ("loss", "training", _TRAINING),
        ("val_loss", "validation", _VALIDATION),
    ):
        _draw_line(panel, rows, name, color, label)
    # A logarithm has no place for a loss of 0.
    if all(row[name] > 0 for row in rows for name in ("loss", "val_loss")):
        _use_logarithm(panel)
    panel.set_ylabel("loss")
    _name_above(panel)


def _draw_monitored(
    panel: Any,
    rows: Sequence[dict[str, float]],
    do_nothing_psnr_db: float | None,
    monitor: Monitor,
) -> None:
    _draw_line(panel, rows, monitor.name, _VALIDATION, None)
    best = monitor.best(rows)
    value = best[monitor.name]
    label = f"best: {monitor.text(value)}, epoch {best['epoch']:.0f}"
    panel.plot([best["epoch"]], [value], "*", color=_VALIDATION, markersize=14, label=label)
    if do_nothing_psnr_db is not None:
        panel.axhline(
            do_nothing_psnr_db,
            color=_NOTHING,
            linestyle="--",
            label=f"doing nothing: {do_nothing_psnr_db:.2f} dB",
        )
    panel.set_ylabel(monitor.label)
    _name_above(panel)


def _draw_learning_rate(panel: Any, rows: Sequence[dict[str, float]]) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    rows = [row for row in rows if "learning_rate" in row]
    _draw_line(panel, rows, "learning_rate", _RATE, None)
    panel.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.set_ylim(bottom=0)
    panel.set_ylabel("learning rate")
    panel.set_xlabel("epoch")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _draw_line(
    panel: Any, rows: Sequence[dict[str, float]], name: str, color: str, label: str | None
) -> None:
    dots = "o" if len(rows) <= _DOTS_UP_TO else ""
    epochs, values = [row["epoch"] for row in rows], [row[name] for row in rows]
    panel.plot(epochs, values, marker=dots, markersize=4, color=color, label=label)


def _name_above(panel: Any) -> None:
    # Inside the panel it would cover lines.
    panel.legend(
        loc="lower right",
        bbox_to_anchor=(1.02, 0.98),
        frameon=False,
        ncols=2,
        handlelength=1.5,
        columnspacing=1.2,
    )


def _use_logarithm(panel: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    panel.set_yscale("log")
    low, high = panel.get_ylim()
    if high < 2 * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(2), middle * math.sqrt(2)
        panel.set_ylim(low, high)
    # Within a decade or two the powers of ten alone would leave the axis without figures.
    decades = math.log10(high / low)
    if decades < 1:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    else:
        steps = (1, 2, 5) if decades < 2.5 else (1,)
    panel.yaxis.set_major_locator(LogLocator(10, subs=steps, numticks=12))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
