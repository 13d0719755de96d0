"""TODO-DOC."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence

from tf_deconv.utils.plotting import DOTS_PER_INCH, own_style


def draw_points(
    groups: Mapping[str, Sequence[tuple[str, float, float]]], x_name: str, y_name: str, title: str
) -> bytes:
    """Draws points over a logarithmic axis: a group has a colour, a label a shape.

    Args:
      groups: Name of a group to its (label, x, y), x above 0.
      x_name: What x is, with its unit.
      y_name: What y is, with its unit.
      title: What stands above.
    Returns:
      A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with own_style():
        figure = Figure((9, 6), DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        panel = figure.add_subplot()
        labels = list(dict.fromkeys(label for points in groups.values() for label, _, _ in points))
        shapes = dict(zip(labels, itertools.cycle("os^DvPX*<>")))
        for number, (name, points) in enumerate(groups.items()):
            panel.scatter([], [], s=60, label=name, color=f"C{number}")
            for label, x, y in points:
                panel.scatter(x, y, s=60, marker=shapes[label], color=f"C{number}", alpha=0.75)
        for label in labels:
            panel.scatter([], [], s=60, label=label, marker=shapes[label], color="0.4")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("{x:g}")
        panel.set_xlabel(x_name)
        panel.set_ylabel(y_name)
        panel.set_title(title)
        if groups:
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
        stream = io.BytesIO()
        figure.tight_layout()
        canvas.print_png(stream)
    return stream.getvalue()
