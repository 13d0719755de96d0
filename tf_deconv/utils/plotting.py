"""How every plot of the project looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

# Upright, and with large type for its size: on a phone it fills the screen and can be read.
SIZE_INCHES, DOTS_PER_INCH, FONT_POINTS = (6.0, 8.0), 125, 12


@contextlib.contextmanager
def own_style() -> Iterator[None]:
    """A user's own settings of matplotlib stay out of it, and are as before afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.size": FONT_POINTS, "axes.grid": True})
        matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
        matplotlib.rcParams["grid.alpha"] = 0.3
        yield
