"""The two pictures that every library measures."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np


@functools.cache
def clean() -> np.ndarray:
    """(480, 448, 3) uint8: large enough for piq to make it smaller."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:480, :448])


@functools.cache
def noisy() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 25, clean().shape)
    return np.clip(np.rint(clean() + noise), 0, 255).astype(np.uint8)


def floats() -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy and clean in [0, 1], float64."""
    return noisy() / 255.0, clean() / 255.0


def tensors() -> tuple[Any, Any]:
    """Returns both as PyTorch has them, (1, 3, H, W) float32."""
    import torch

    return tuple(
        torch.from_numpy(each.transpose(2, 0, 1).copy())[None].float() for each in floats()
    )


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()
