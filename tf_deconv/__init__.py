"""tf_deconv: from a folder of pictures to a small deconvolutional network.

    import tf_deconv

    restored = tf_deconv.load()(image)                     # (H, W, 3) uint8 in and out
    tf_deconv.restore("denoise-color", "photo.jpg")        # as `tf-deconv restore` does

Functions named as the commands take a config or its options as keywords, and do what the command
does. Importing this package imports neither TensorFlow nor Keras: the names below are resolved on
first use.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "tf_deconv.api": (
        "benchmark",
        "edit",
        "evaluate",
        "export",
        "inspect",
        "list_models",
        "load",
        "load_generator",
        "load_video",
        "restore",
        "sample",
        "shard",
        "train",
        "verify",
    ),
    "tf_deconv.data.config": ("ShardConfig",),
    "tf_deconv.degradations.tasks": ("OPERATORS", "TASKS"),
    "tf_deconv.evaluation.config": ("BenchmarkConfig", "EvaluateConfig"),
    "tf_deconv.exporting.config": ("ExportConfig", "VerifyConfig"),
    "tf_deconv.exporting.variants": ("VARIANTS",),
    "tf_deconv.generation.config": ("EditConfig", "SampleConfig"),
    "tf_deconv.generation.generator": ("Generator",),
    "tf_deconv.inference.config": ("RestoreConfig",),
    "tf_deconv.inference.restorer": ("Restorer",),
    "tf_deconv.inference.streaming": ("Stream", "StreamRestorer"),
    "tf_deconv.networks.table": ("NETWORKS",),
    "tf_deconv.training.config": ("TrainConfig",),
    "tf_deconv.utils.options": ("UserError",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [*sorted(_MODULE_OF), "__version__"]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'tf_deconv' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
