"""Options of several commands, and values that such options share."""

from __future__ import annotations

from typing import Any

from tf_deconv.utils.options import option

SOLVERS = ("euler", "heun")
# How a flow makes pictures unless asked otherwise: docs/decisions/0013-generation.md.
FLOW_STEPS, FLOW_SOLVER, FLOW_GUIDANCE = 25, "heun", 1.5


EDITS = ("reconstruct", "interpolate", "inpaint")
GENERATOR = "generator: run folder, .keras file, SavedModel folder or .tflite file"
MODEL = "run folder, .keras file, SavedModel folder, .tflite file or name of a shipped model"


def tile_size_option(when: str = "") -> Any:
    """Declares `--tile-size`; `when` comes before what it is."""
    return option(
        0,
        f"{when}side of the tiles that a picture is restored in, overlap included, in pixels; 0"
        " chooses",
        minimum=0,
        maximum=2**16,
    )


def self_ensemble_option(when: str = "") -> Any:
    """Declares `--self-ensemble`; `when` comes before what it does."""
    return option(
        False,
        f"{when}mean over the 8 flips and turns of each picture: 8 times slower, a little better",
    )
