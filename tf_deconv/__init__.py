"""tf_deconv: from a folder of pictures to a small deconvolutional network.

The network restores pictures in a service (SavedModel) and on a phone (TFLite), and every exported
file is compared with the Keras model that it came from. Importing this package imports neither
TensorFlow nor Keras; the names below are resolved on first use.

`tf_deconv.load("denoise-color")(image)` restores an image with a model that comes with the package.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "EvaluateConfig": "tf_deconv.evaluation.config",
    "ExportConfig": "tf_deconv.exporting.config",
    "RestoreConfig": "tf_deconv.inference.config",
    "ShardConfig": "tf_deconv.data.config",
    "Restorer": "tf_deconv.inference.restorer",
    "TrainConfig": "tf_deconv.training.config",
    "UserError": "tf_deconv.utils.options",
    "NETWORKS": "tf_deconv.networks.table",
    "TASKS": "tf_deconv.degradations.tasks",
    "build_article": "tf_deconv.networks.article",
    "evaluate": "tf_deconv.evaluation.evaluate",
    "export": "tf_deconv.exporting.pipeline",
    "inspect_artifact": "tf_deconv.evaluation.inspect",
    "load": "tf_deconv.inference.artifacts",
    "load_model": "tf_deconv.inference.run_folder",
    "open_artifact": "tf_deconv.inference.artifacts",
    "restore": "tf_deconv.inference.restore",
    "shard": "tf_deconv.data.shards.pack",
    "train": "tf_deconv.training.trainer",
}

__all__ = [*sorted(_PUBLIC), "__version__"]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tf_deconv' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__
