"""Values that options of several commands share."""

BUNDLED = "bundled"
LIKELIHOODS = ("bernoulli", "gaussian", "logistic")
SOLVERS = ("euler", "heun")
# How a flow makes pictures unless asked otherwise: docs/decisions/0013-generation.md.
FLOW_STEPS, FLOW_SOLVER, FLOW_GUIDANCE = 25, "heun", 1.5
LARGEST_SEED = 2**31 - 1
EDITS = ("reconstruct", "interpolate", "inpaint")
GENERATOR = "generator: run folder, .keras file, SavedModel folder or .tflite file"
MODEL = "run folder, .keras file, SavedModel folder, .tflite file or name of a shipped model"
