"""Smaller copies of pictures, to train on.

A photograph of a camera is soft at its full size, and as a JPEG it has blocks that a network would
learn as detail. Made two to four times smaller it has neither, and objects come in more sizes.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from PIL import Image

from tf_deconv.data.levels import Depth
from tf_deconv.data.store import PictureStore, StoreWriter, memory_budget
from tf_deconv.images.arrays import CHANNELS
from tf_deconv.utils.options import UserError

# Copies that take a picture's place in training, each with a factor of its own.
COPIES = 4
LARGEST_FACTOR = 16


def parse_shrink(text: str) -> tuple[float, float]:
    """Reads "2-4" or "3" as the smallest and the largest factor.

    Raises:
      UserError: if it is neither, or not from 1 to 16.
    """
    try:
        numbers = [float(number) for number in text.split("-")]
        low, high = numbers if len(numbers) == 2 else (numbers * 2)[:2]
        if len(numbers) <= 2 and 1 <= low <= high <= LARGEST_FACTOR:
            return low, high
    except ValueError:
        pass
    raise UserError(
        f"shrink={text!r}: expected a factor or a range such as 2-4, from 1 to {LARGEST_FACTOR}"
    )


def shrink(
    store: PictureStore,
    factors: tuple[float, float],
    smallest_px: int,
    *,
    copies: int = COPIES,
    memory_bytes: int | None = None,
) -> PictureStore:
    """Replaces each picture by smaller copies.

    Args:
      store: The pictures.
      factors: The smallest and the largest factor. Each copy's is drawn between them, evenly on a
        logarithmic scale, from the picture's content: adding files changes no other copy.
      smallest_px: No side becomes shorter than this; a picture that is already is kept as it is.
      copies: Of each picture; one gets the factor in the middle.
      memory_bytes: Copies that take more than this are kept in a file; half of the available
        memory when None.
    Returns:
      A store of at most `copies` times as many pictures, each with its picture's label; a picture
      that allows one size only comes once.
    """
    plan = [
        (index, size)
        for index in range(len(store))
        for size in _sizes(store, index, factors, smallest_px, copies)
    ]
    total = sum(height * width * store.channels for _, (height, width) in plan)
    budget_bytes = memory_budget() if memory_bytes is None else memory_bytes
    with StoreWriter(total, budget_bytes, store.channels, Depth(store.pixels.dtype)) as writer:
        for index, size in plan:
            name = f"{store.names[index]} at {size[1]}x{size[0]}"
            label = None if store.labels is None else int(store.labels[index])
            writer.add(name, _resized(store.picture(index), size), label)
        smaller = writer.finish()
    rows = [index for index, _ in plan]
    return dataclasses.replace(
        smaller, levels=None if store.levels is None else store.levels[rows], ranges=store.ranges
    )


def _sizes(
    store: PictureStore, index: int, factors: tuple[float, float], smallest_px: int, copies: int
) -> list[tuple[int, int]]:
    height, width = int(store.heights[index]), int(store.widths[index])
    seed = int.from_bytes(store.digests[index][:8], "big")
    drawn = np.random.default_rng(seed).random(copies) if copies > 1 else np.array([0.5])
    low, high = factors
    most = max(1.0, min(height, width) / smallest_px)
    sizes = []
    for share in drawn:
        factor = min(low * math.exp(share * math.log(high / low)), most)
        sizes.append(
            tuple(max(min(side, smallest_px), round(side / factor)) for side in (height, width))
        )
    return list(dict.fromkeys(sizes))


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resamples (H, W, 3 or 6) uint8 or uint16 with an antialiased Lanczos filter."""
    if picture.shape[:2] == size:
        return picture
    if picture.dtype != np.uint8:
        return np.stack([_resized_plane(plane, size) for plane in np.moveaxis(picture, -1, 0)], -1)
    parts = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(picture[..., first : first + CHANNELS])).resize(
                (size[1], size[0]), Image.Resampling.LANCZOS
            )
        )
        for first in range(0, picture.shape[-1], CHANNELS)
    ]
    return np.concatenate(parts, axis=-1)


def _resized_plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resamples (H, W) uint16 as float: Pillow has no Lanczos filter for 16 bits."""
    image = Image.fromarray(plane.astype(np.float32))
    small = np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    limit = np.iinfo(plane.dtype).max
    return np.rint(np.clip(small, 0, limit)).astype(plane.dtype)
