"""Options of every command, as frozen dataclasses, without TensorFlow.

One field is one option, on the command line and in `--config` JSON: see `options`.
"""

from tf_deconv.config.exporting import ExportConfig
from tf_deconv.data.config import BUNDLED, ShardConfig
from tf_deconv.evaluation.config import BenchmarkConfig, EvaluateConfig
from tf_deconv.generation.config import (
    EDITS,
    FLOW_GUIDANCE,
    FLOW_SOLVER,
    FLOW_STEPS,
    SOLVERS,
    EditConfig,
    SampleConfig,
)
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.networks.table import LIKELIHOODS
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.options import LARGEST_SEED

__all__ = [
    "BUNDLED",
    "EDITS",
    "FLOW_GUIDANCE",
    "FLOW_SOLVER",
    "FLOW_STEPS",
    "LARGEST_SEED",
    "LIKELIHOODS",
    "SOLVERS",
    "BenchmarkConfig",
    "EditConfig",
    "EvaluateConfig",
    "ExportConfig",
    "RestoreConfig",
    "SampleConfig",
    "ShardConfig",
    "TrainConfig",
]
