"""Pictures of dead leaves, to train on: discs that hide each other, of all sizes and colours.

    python benchmarks/dead_leaves.py --out FOLDER [--count 100] [--size 512] [--seed 0]

Their edges and sizes have the statistics of photographs (Lee, Mumford and Huang 2001), and nobody
has to have taken them. A network that learned from them alone comes near one that learned from
photographs (Achddou, Gousseau and Ladjal 2021). Every picture is a function of the seed and its
number; each leaf has a shade that varies along it, and half of them a texture.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
from PIL import Image

# Radii in pixels of the finished picture; their density falls with the third power.
SMALLEST_PX, LARGEST_PX = 2.0, 250.0
# Drawn this many times as large and averaged: edges have no steps.
OVERSAMPLING = 2
MOST_LEAVES = 20_000


def draw(size_px: int, seed: int, number: int) -> np.ndarray:
    """Draws a picture.

    Args:
      size_px: Height and width.
      seed: Of the collection.
      number: Of the picture in it.
    Returns:
      (size_px, size_px, 3) uint8.
    """
    random = np.random.default_rng([seed, number])
    side = OVERSAMPLING * size_px
    picture = np.zeros((side, side, 3), np.float32)
    free = np.ones((side, side), bool)
    # Each picture has a few colours, as a scene has, and leaves differ from them a little.
    palette = random.beta(0.7, 0.7, (random.integers(3, 12), 1)) + random.normal(0, 0.15, (1, 3))
    palette = np.clip(palette + random.normal(0, 0.12, (len(palette), 3)), 0, 1)
    for _ in range(MOST_LEAVES):  # From the front to the back: what is covered stays.
        if not free.any():
            break
        low, high = SMALLEST_PX**-2, LARGEST_PX**-2
        radius = OVERSAMPLING * (low + random.random() * (high - low)) ** -0.5
        row, column = random.uniform(-radius / 2, side + radius / 2, 2)
        top, bottom = (int(np.clip(row + sign * radius, 0, side)) for sign in (-1, 1))
        left, right = (int(np.clip(column + sign * radius, 0, side)) for sign in (-1, 1))
        y, x = np.mgrid[top : bottom + 1, left : right + 1].astype(np.float32)
        y, x = y[: side - top, : side - left] - row, x[: side - top, : side - left] - column
        view = (slice(top, top + y.shape[0]), slice(left, left + y.shape[1]))
        inside = free[view] & (y * y + x * x <= radius * radius)
        if inside.any():
            leaf = _shade(y[inside] / radius, x[inside] / radius, radius, random)
            colour = palette[random.integers(len(palette))] + random.normal(0, 0.04, 3)
            picture[view][inside] = colour + leaf[:, None]
            free[view] &= ~inside
    picture[free] = palette[0]
    blocks = np.clip(picture, 0, 1).reshape(size_px, OVERSAMPLING, size_px, OVERSAMPLING, 3)
    return np.rint(blocks.mean((1, 3)) * 255).astype(np.uint8)


def _shade(y: np.ndarray, x: np.ndarray, radius: float, random: np.random.Generator) -> np.ndarray:
    """Returns what is added to the colour of a leaf at places in it, -1 to 1 of its radius."""
    slope = random.normal(0, 0.05, 2)
    shade = slope[0] * y + slope[1] * x
    if random.random() < 0.5:
        wavelength_px = OVERSAMPLING * random.uniform(2.5, 12)
        angle, phase = random.uniform(0, 2 * np.pi, 2)
        along = radius * (np.cos(angle) * y + np.sin(angle) * x)
        shade = shade + random.uniform(0.01, 0.1) * np.sin(
            2 * np.pi * along / wavelength_px + phase
        )
    return shade


def write(
    folder: pathlib.Path, count: int, size_px: int = 512, seed: int = 0
) -> list[pathlib.Path]:
    """Draws as many pictures as are missing; returns the files of all."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"leaves-{seed}-{size_px}-{number:05d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            part = path.with_suffix(".part")
            Image.fromarray(draw(size_px, seed, number)).save(part, "png")
            part.rename(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=100, help="pictures (default: 100)")
    parser.add_argument("--size", type=int, default=512, help="side in pixels (default: 512)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    options = parser.parse_args()
    write(options.out, options.count, options.size, options.seed)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
