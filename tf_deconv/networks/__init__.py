"""Networks by name (`table`) and their builders; a network knows sizes and channels, never a task.

`build_article` and `build_unet` are resolved on first use, for Keras takes seconds to import.
"""

from __future__ import annotations

import importlib

_BUILDERS = {
    "build_article": "tf_deconv.networks.article",
    "build_flow": "tf_deconv.networks.flow",
    "build_unet": "tf_deconv.networks.unet",
    "build_vae": "tf_deconv.networks.vae",
    "build_video": "tf_deconv.networks.video",
}

__all__ = [*_BUILDERS]


def __getattr__(name: str):
    if name not in _BUILDERS:
        raise AttributeError(f"module 'tf_deconv.networks' has no attribute {name!r}")
    return getattr(importlib.import_module(_BUILDERS[name]), name)
