"""By how much models move the mean colour of pictures, and what they gain, as one table.

    python benchmarks/colours.py MODEL ... --data FOLDER [--held-out 0.1] [--chain STAGE ...]

degrades the middle of each picture, restores it and prints, for red, green and blue in grey levels
of 255, the mean over the pictures of (mean of the result - mean of the clean picture), which is a
tint that all share, and the root of the mean square, which is how far single pictures are moved:
of the degraded pictures in the first row, of each model's in the others. Then the mean PSNR in dB.
With `--held-out` those pictures count that training with this share holds out. Unlike a single
picture's colour against the degraded one's, this tells a network that undoes what a degradation did
to a colour from one that adds a tint.
"""

from __future__ import annotations

import argparse

import numpy as np

from tf_deconv.data import patches, sources
from tf_deconv.degradations.tasks import find_task
from tf_deconv.images import arrays, metrics
from tf_deconv.inference.artifacts import open_artifact
from tf_deconv.inference.restorer import Restorer

SIDE_PX = 256


def row(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Returns a line of the table for (result, clean) pairs, (H, W, C) float in [0, 1] each."""
    shifts = 255 * np.array([np.mean(made - clean, (0, 1)) for made, clean in pairs])
    tint, spread = shifts.mean(0), np.sqrt(np.mean(np.square(shifts), 0))
    psnr_db = np.mean([metrics.psnr_db(np.clip(made, 0, 1), clean) for made, clean in pairs])
    columns = [" ".join(f"{x:+.2f}" for x in tint), " ".join(f"{x:.2f}" for x in spread)]
    return f"| {name} | {' | '.join(columns)} | {psnr_db:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="clean pictures")
    parser.add_argument("--held-out", type=float, default=0.0, metavar="FRACTION")
    parser.add_argument("--chain", nargs="+", default=["jpeg:10"], metavar="STAGE")
    options = parser.parse_args()
    if options.held_out:
        store = sources.load_source(options.data, SIDE_PX, options.held_out).validation
    else:
        store, _, _ = sources.read_pictures(options.data)
    task = find_task("denoise", " ".join(options.chain))
    middles = (arrays.middle(store.picture(n), (SIDE_PX, SIDE_PX)) for n in range(len(store)))
    pairs = [
        patches.degrade_picture(np.ascontiguousarray(middle), task, seed)
        for seed, middle in enumerate(middles)
    ]
    print(f"| {len(pairs)} pictures, `{' '.join(options.chain)}` | tint | spread | PSNR in dB |")
    print("|---|---:|---:|---:|")
    print(row("nothing done", pairs), flush=True)
    for model in options.models:
        restorer = Restorer(open_artifact(model))
        print(row(model, [(restorer(degraded), clean) for degraded, clean in pairs]), flush=True)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
