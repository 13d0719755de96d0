"""What forward operators cost, and what a camera's grain is like.

    python benchmarks/degradations.py [--pairs FOLDER] [--cameras COUNT]

First the processor's time for a colour patch of 96x96 on one thread, of each operator at a level in
the middle of its use. Then the noise of `camera` on a colour of mid grey, over cameras drawn by
chance and JPEG of quality 90: standard deviation of all values in grey levels, correlation of
luminance with the neighbour to the right, colour (red less luminance) against luminance, and how
far the mean moves; of each the median and the ends. --pairs measures the first three on pairs of
photographs, NAME_real.* and NAME_mean.*, to see whether the ranges hold what cameras do; nothing is
fitted to them.
"""

from __future__ import annotations

import argparse
import pathlib
import time

import numpy as np
import tensorflow as tf

from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import Task
from tf_deconv.images import arrays, reading

CHAINS = (
    "noise:25",
    "poisson:30",
    "blur:1",
    "motion:7",
    "jpeg:50-99",
    "jpeg444:50-99",
    "shot:100-12800",
    "mosaic:1",
    "matrix:1",
    "balance:1.5",
    "tone:0.7-1.5",
    "smooth:1",
    "grain:10",
    "sharpen:1",
    "resize:1-1.5",
    "camera:100-12800",
    "camera:100-12800@0.6 noise:0-30@0.35 jpeg444:75-99@0.25 jpeg:50-99@0.65",
)
SIDE_PX, REPEATS = 96, 200
ISOS = (100, 200, 400, 800, 1600, 3200, 6400, 12800)
COLOUR = (0.5, 0.4, 0.35)


def cost_ms(chain: str) -> float:
    """Returns the processor's time for a patch, the best of three rounds."""
    patch = tf.constant(np.random.default_rng(0).random((SIDE_PX, SIDE_PX, 3)), tf.float32)
    task = Task("", chain)
    degrade = tf.function(
        lambda seed: operators.make_pair(task, patch, seed)[0],
        input_signature=[tf.TensorSpec((2,), tf.int32)],
        autograph=False,
    )
    seeds = [tf.constant((seed, 1)) for seed in range(REPEATS)]
    for seed in seeds[:20]:
        degrade(seed)
    rounds = []
    for _ in range(3):
        start = time.process_time()
        for seed in seeds:
            degrade(seed)
        rounds.append(time.process_time() - start)
    return min(rounds) / REPEATS * 1000


def grain(noise: np.ndarray) -> tuple[float, float, float]:
    """Returns standard deviation in grey levels, correlation of luminance, and colour's share."""
    noise = noise - noise.mean((0, 1))
    luma = arrays.luminance(noise)[..., 0]
    neighbours = (luma[:, 1:] * luma[:, :-1]).mean() / luma.var()
    return noise.std() * 255, neighbours, (noise[..., 0] - luma).std() / luma.std()


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=pathlib.Path, help="folder of NAME_real.* and NAME_mean.*")
    parser.add_argument("--cameras", type=int, default=40, help="how many are drawn for each ISO")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    print("| chain | ms a patch |\n|---|---:|")
    for chain in CHAINS:
        print(f"| `{chain}` | {cost_ms(chain):.2f} |", flush=True)

    print("\n| ISO | std | correlation | colour / luminance | mean moves |")
    print("|---:|---:|---:|---:|---:|")
    flat = np.full((128, 128, 3), COLOUR, np.float32)
    for iso in ISOS:
        task, rows = Task("", f"camera:{iso} jpeg:90"), []
        for seed in range(arguments.cameras):
            degraded, _ = operators.make_pair(task, tf.constant(flat), tf.constant((seed, 1)))
            noise = degraded.numpy() - flat
            rows.append((*grain(noise), np.abs(noise.mean((0, 1))).max() * 255))
        print(f"| {iso} | {_ranges(rows)} |", flush=True)

    if arguments.pairs:
        rows = []
        for real in sorted(arguments.pairs.glob("*_real.*")):
            mean = real.with_name(real.name.replace("_real.", "_mean."))
            noise = [arrays.to_float(reading.read_rgb(path)) for path in (real, mean)]
            rows.append(grain(noise[0] - noise[1]))
        print(f"| {len(rows)} pairs | {_ranges(rows)} | |")


def _ranges(rows: list[tuple[float, ...]]) -> str:
    return " | ".join(
        f"{np.median(column):.2f} ({min(column):.2f} to {max(column):.2f})" for column in zip(*rows)
    )


if __name__ == "__main__":
    import outcome

    outcome.run(main)
