"""Reading folders of JPEGs as `train` does: this checkout, and another one beside it.

    python benchmarks/reading_folders.py [--against CHECKOUT] [--rounds 5]

Three folders of crops of scikit-image's photographs, made anew: 1500 of 128x128, 300 of 400x400 and
6 of about 3000x3000 pixels. Each round reads each folder with each checkout in a process of its
own, in turn; reported is the least CPU time (of all threads, user and system) of all rounds, for
other programs on the machine only add to it. The pixels must be the same.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

FOLDERS = {
    "1500 of 128x128": (1500, 128),
    "300 of 400x400": (300, 400),
    "6 of 3000x3000": (6, 3000),
}
HERE = pathlib.Path(__file__).resolve().parents[1]
# Warmed up by one call: the first one imports Pillow's formats.
READ = """
import sys, time
from tf_deconv.data import sources
sources.read_pictures(sys.argv[1])
before = time.process_time()
store, _, _ = sources.read_pictures(sys.argv[1])
print(time.process_time() - before, store.sha256())
"""


def make_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Writes the JPEGs; returns the folder of each name."""
    import numpy as np
    from PIL import Image
    from skimage import data

    photographs = [data.astronaut(), data.coffee(), data.rocket(), data.chelsea()]
    random, made = np.random.default_rng(0), {}
    for name, (count, side) in FOLDERS.items():
        made[name] = root / str(side)
        made[name].mkdir()
        for number in range(count):
            picture = photographs[number % len(photographs)]
            tiles = -(-side // 400) if side > 400 else 1
            picture = np.tile(picture, (tiles, tiles, 1))
            height, width = (min(side, have) for have in picture.shape[:2])
            top = random.integers(0, picture.shape[0] - height + 1)
            left = random.integers(0, picture.shape[1] - width + 1)
            crop = picture[top : top + height, left : left + width]
            Image.fromarray(crop).save(made[name] / f"{number:04}.jpg", quality=90)
    return made


def measure(checkout: pathlib.Path, folder: pathlib.Path) -> tuple[float, str]:
    """Returns the CPU time of one reading, in seconds, and the hash of the pixels."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", READ, str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=True, cwd=folder
    )
    cpu_s, digest = done.stdout.split()
    return float(cpu_s), digest


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=pathlib.Path, help="root of another checkout")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: 5)")
    options = parser.parse_args()
    checkouts = {"this checkout": HERE}
    if options.against is not None:
        checkouts["the other"] = options.against.resolve()
    with tempfile.TemporaryDirectory() as root:
        made = make_folders(pathlib.Path(root))
        print(f"| folder | {' | '.join(f'{name}, CPU s' for name in checkouts)} | same pixels |")
        print(f"|---|{'---:|' * len(checkouts)}---|")
        for name, folder in made.items():
            results = [
                [measure(checkout, folder) for checkout in checkouts.values()]
                for _ in range(options.rounds)
            ]
            best = [min(cpu_s for cpu_s, _ in column) for column in zip(*results)]
            digests = {digest for row in results for _, digest in row}
            times = " | ".join(f"{cpu_s:.3f}" for cpu_s in best)
            print(f"| {name} | {times} | {'yes' if len(digests) == 1 else 'NO'} |", flush=True)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
