"""What to install for what this package does not bring, said so that it works anywhere.

The package is on no index, so `pip install 'tf-deconv[...]'` finds nothing: the packages of an
extra are named instead. Each list is that of `pyproject.toml` (tests/utils/test_extras.py).
"""

from __future__ import annotations

# What runs a model, of what the package brings; a machine that only restores may have none of it.
TENSORFLOW = ("tensorflow>=2.20,<2.22", "keras>=3.12,<3.16")
EXTRAS = {
    "beam": ("apache-beam>=2.72,<3",),
    "completion": ("shtab>=1.13",),
    "coreml": ("coremltools>=9,<10",),
    "formats": ("pillow-heif>=0.18", "pillow-jxl-plugin>=1.3"),
    "gpu": ("tensorflow[and-cuda]>=2.20,<2.22",),
    "onnx": ("tf2onnx>=1.17", "onnx>=1.17", "onnxruntime>=1.20"),
    "video": ("av>=18,<19",),
}


def how_to_install(extra: str) -> str:
    """Returns the command that installs packages: a key of `EXTRAS`, or "tensorflow"."""
    packages = TENSORFLOW if extra == "tensorflow" else EXTRAS[extra]
    # A shell takes < and > for something else.
    return "pip install " + " ".join(f"'{package}'" for package in packages)
