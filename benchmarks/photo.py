"""What models gain on photographs as people have them, chain by chain, as one table.

    python benchmarks/photo.py MODEL ... --data FOLDER [--held-out 0.1] [--pairs NOISY CLEAN]

degrades each clean picture of the folder by each of `CHAINS`, restores it and prints the mean PSNR
of all colours in dB: of the degraded pictures in the first row, what is gained over it in the
others. "clean" is the PSNR of what a model makes of an undamaged picture against that picture, and
the last column the PSNR on real pairs: two folders, the same names. Non-local means are told how
strong the noise is, which no model is. `--no-classical` leaves them out: they take longest.

With `--held-out` the middles (256x256) of those pictures count that training with this share holds
out: networks are chosen by them, and by nothing that a table of docs/models.md shows.

`--grey FOLDER` adds a table of grey pictures with grey noise, equal in all channels: what a scan or
a photograph in black and white brings to a colour model.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import numpy as np
from PIL import Image

from tf_deconv.data import sources
from tf_deconv.degradations.tasks import find_task
from tf_deconv.evaluation import classical, evaluate
from tf_deconv.images import arrays, metrics
from tf_deconv.inference.artifacts import open_artifact
from tf_deconv.inference.restorer import Restorer

CHAINS = ("noise:15 jpeg:85", "noise:15", "jpeg:50", "camera:3200 jpeg:90")
CLEAN, PAIRS = "clean", "pairs"
HELD_OUT_SIDE_PX = 256
# A difference below a 16-bit level: float rounds in more than one way.
EQUAL_DB = 100.0
GREY_SIGMAS = (15, 25)
NON_LOCAL = evaluate.Classical("non-local means", classical.denoise_gaussian)


def cases(data: str, pairs: list[str] | None) -> dict:
    """Returns name to (pictures, task): each chain, no chain, and the pairs if there are any."""
    store, _, _ = sources.read_pictures(data)
    # `clip` rounds to 8 bits, and so changes nothing.
    found = {name: (store, find_task("denoise", name)) for name in CHAINS}
    found[CLEAN] = (store, find_task("denoise", "clip:1"))
    if pairs:
        noisy, clean = pairs
        found[PAIRS] = (sources.read_pictures(noisy, targets=clean)[0], find_task("paired"))
    return found


def write_held_out(data: str, fraction: float, folder: pathlib.Path) -> None:
    """Writes the middles of the pictures that training on `data` holds out into a folder."""
    store = sources.load_source(data, HELD_OUT_SIDE_PX, fraction).validation
    for number in range(len(store)):
        middle = arrays.middle(store.picture(number), (HELD_OUT_SIDE_PX, HELD_OUT_SIDE_PX))
        picture = Image.fromarray(arrays.to_uint8(arrays.to_float(middle)).squeeze())
        picture.save(folder / f"{number:04}.png")


def scores_of(restorer: Restorer, case: tuple, denoiser: evaluate.Classical | None) -> dict:
    """Returns the mean PSNR in dB of "input", "output" and, with a denoiser, of "classical"."""
    (store, task), failures = case, []
    triples = evaluate.degraded_pictures(store, task, 0, failures)
    measured, _ = evaluate.measure(
        restorer, task, triples, failures, len(store), denoiser, lambda line: None
    )
    if failures:
        raise SystemExit("; ".join(failures))
    sides = ("input", "output", *(["classical"] if denoiser else []))
    return {side: measured[side]["psnr_db"] for side in sides}


def grey_psnr_db(restorer: Restorer, folder: str, sigma: int) -> float:
    """Returns the mean PSNR of grey pictures restored from one noise in all channels, 8 bits."""
    store, _, _ = sources.read_pictures(folder)
    found = []
    for index in range(len(store)):
        clean = arrays.luminance(arrays.to_float(store.picture(index)))
        noise = np.random.default_rng(index).normal(0, sigma / 255, clean.shape)
        noisy = arrays.to_uint8(clean + noise)
        restored = restorer(np.repeat(noisy, 3, axis=-1))[..., :1]
        found.append(metrics.psnr_db(arrays.to_float(restored), clean))
    return float(np.mean(found))


def cell(name: str, psnr_db: float, before_db: float | None) -> str:
    """Returns a gain, or the PSNR itself where there is nothing to gain on."""
    if psnr_db > EQUAL_DB:
        return "equal"
    own = name in (CLEAN, PAIRS) or before_db is None
    return f"{psnr_db:.2f}" if own else f"{psnr_db - before_db:+.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="clean pictures")
    parser.add_argument("--held-out", type=float, default=0.0, metavar="FRACTION")
    parser.add_argument(
        "--pairs", nargs=2, metavar=("NOISY", "CLEAN"), help="folders of real pairs"
    )
    parser.add_argument("--grey", metavar="FOLDER", help="grey pictures, such as Set12")
    parser.add_argument("--no-classical", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.held_out:
            write_held_out(options.data, options.held_out, pathlib.Path(folder))
            options.data = folder
        print_tables(options)


def print_tables(options: argparse.Namespace) -> None:
    """Prints the table, and that of grey pictures where it was asked for."""
    found = cases(options.data, options.pairs)
    rows: dict[str, list[str]] = {}
    print(f"| | {' | '.join(found)} |\n|---|{'---:|' * len(found)}")
    for index, model in enumerate(options.models):
        restorer = Restorer(open_artifact(model))
        for name, case in found.items():
            classic = index == 0 and name != CLEAN and not options.no_classical
            scores = scores_of(restorer, case, NON_LOCAL if classic else None)
            if index == 0:
                rows.setdefault("nothing done", []).append(cell(name, scores["input"], None))
            if index == 0 and not options.no_classical:
                text = cell(name, scores["classical"], scores["input"]) if classic else "-"
                rows.setdefault(NON_LOCAL.name, []).append(text)
            rows.setdefault(model, []).append(cell(name, scores["output"], scores["input"]))
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")
    if options.grey:
        print(f"\n| grey noise | {' | '.join(map(str, GREY_SIGMAS))} |")
        print(f"|---|{'---:|' * len(GREY_SIGMAS)}")
        for model in options.models:
            restorer = Restorer(open_artifact(model))
            cells = [f"{grey_psnr_db(restorer, options.grey, sigma):.2f}" for sigma in GREY_SIGMAS]
            print(f"| {model} | {' | '.join(cells)} |")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
