"""Options of several commands, and values that such options share."""

from __future__ import annotations

SOLVERS = ("euler", "heun")
# How a flow makes pictures unless asked otherwise: docs/decisions/0013-generation.md.
FLOW_STEPS, FLOW_SOLVER, FLOW_GUIDANCE = 25, "heun", 1.5


EDITS = ("reconstruct", "interpolate", "inpaint")
GENERATOR = "generator: run folder, .keras file, SavedModel folder or .tflite file"
