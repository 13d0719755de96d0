"""A visitor's first run, over seeds: what it gains, how steadily, and how loud its colours are.

    python benchmarks/first_run.py [--seeds 10] [--keep FOLDER] [-- --network unet ...]
    python benchmarks/first_run.py --measure RUN ...

Each seed is `python train.py --seed N` in a process of its own, with what stands behind `--` added.
`--measure` scores runs that are there already. Scored are whole pictures, as their files would be:
the held-out photographs of the package, and `chelsea` and `coffee` of scikit-image, which earlier
releases held out. Columns:

- Y dB: PSNR of luminance; in brackets that of the noisy input.
- colour error: root mean square of what the two colour differences (B - Y and R - Y, of 255) are
  wrong by; in brackets that of a grey picture. A network that sees grey alone can hardly do better.
- loudness: mean length of the output's colour differences over that of the originals'.
- largest fall: of the validation figure from one epoch to the next, in dB.
- CPU s: seconds of the processor for the whole command; on two idle cores it takes half as long.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import pathlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import numpy as np
import skimage.data

from tf_deconv.data import patches, sources
from tf_deconv.degradations.tasks import find_task
from tf_deconv.images import arrays, metrics
from tf_deconv.inference import restorer, run_folder
from tf_deconv.networks.table import NETWORKS

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAD = """| run | held out: Y dB | colour error | loudness | chelsea, coffee: Y dB | colour error \
| loudness | val dB | largest fall | CPU s |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def pictures_of() -> dict[str, list[np.ndarray]]:
    """Returns (H, W, 3) uint8 pictures that no run trained on, by where they come from."""
    store, _, _ = sources.read_pictures("bundled")
    return {
        "held out": [store.picture(index) for index in range(len(store))],
        # Cut as the run folders of that time scored them.
        "scikit-image": [
            arrays.middle(picture, (512, 512))
            for picture in (skimage.data.chelsea(), skimage.data.coffee())
        ],
    }


def colour_differences(image: np.ndarray) -> np.ndarray:
    """Returns B - Y and R - Y, (H, W, 2), of (H, W, 3) in [0, 1]."""
    return image[..., [2, 0]] - arrays.luminance(image)


def score(restore, pictures: Iterable[np.ndarray], task) -> dict[str, float]:
    """Returns the means over pictures of what the columns tell."""
    rows = []
    for seed, picture in enumerate(pictures):
        degraded, clean = patches.degrade_picture(np.ascontiguousarray(picture), task, seed)
        output = np.clip(restore(degraded), 0.0, 1.0)
        own, true = colour_differences(output), colour_differences(clean)
        rows.append(
            {
                "before": metrics.psnr_db(np.clip(degraded, 0.0, 1.0), arrays.luminance(clean)),
                "after": metrics.luminance_psnr_db(output, clean),
                "error": 255 * np.sqrt(np.mean((own - true) ** 2)),
                "grey": 255 * np.sqrt(np.mean(true**2)),
                "own": np.mean(np.linalg.norm(own, axis=-1)),
                "true": np.mean(np.linalg.norm(true, axis=-1)),
            }
        )
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return means | {"loudness": means["own"] / means["true"]}


def measure(run: pathlib.Path) -> list[str]:
    """Returns the cells of a finished run, without its name and time."""
    path = run / run_folder.MODEL_FILE
    model, description = run_folder.load_model(run), run_folder.read_description(path)
    task = find_task(description["task"], description["training"]["degrade"])
    divisor = NETWORKS[description["network"]].divisor
    cells = []
    for pictures in pictures_of().values():
        result = score(
            lambda image: restorer.restore_picture(model, image, divisor, task.scale),
            pictures,
            task,
        )
        cells += [
            f"{result['after']:.2f} ({result['before']:.2f})",
            f"{result['error']:.1f} ({result['grey']:.1f})",
            f"{result['loudness']:.2f}",
        ]
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        values = [float(row["val_psnr"]) for row in csv.DictReader(file)]
    falls = [before - after for before, after in itertools.pairwise(values)]
    return [*cells, f"{values[-1]:.2f}", f"{max([0.0, *falls]):.2f}"]


def train(run: pathlib.Path, seed: int, options: list[str]) -> float:
    """Trains as a visitor does; returns seconds of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(ROOT / "train.py"), "--seed", str(seed), *options]
    subprocess.run([*command, "--run-dir", str(run)], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the runs")
    parser.add_argument("--measure", type=pathlib.Path, nargs="+", metavar="RUN")
    parser.add_argument("options", nargs="*", help="of train.py, behind --")
    arguments = parser.parse_args()
    print(HEAD, flush=True)
    if arguments.measure:
        for run in arguments.measure:
            print(f"| {run.name} | {' | '.join(measure(run))} | |", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            run = (arguments.keep or pathlib.Path(folder)) / f"seed-{seed}"
            spent_s = train(run, seed, arguments.options)
            print(f"| {seed} | {' | '.join(measure(run))} | {spent_s:.0f} |", flush=True)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
