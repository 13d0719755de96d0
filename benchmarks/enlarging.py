"""What models that enlarge gain over bicubic on pictures as people have them, as one table.

    python benchmarks/enlarging.py photo-x2 super-resolve-x2 --data FOLDER [--scale 2]

makes each clean picture of the folder smaller (antialiased bicubic), degrades it by each of
`CHAINS`, enlarges it by bicubic interpolation and by the models, and prints the mean PSNR (dB, all
colours) and SSIM (of luminance) against the clean one: of bicubic in the first row, of the others
the difference.
"""

from __future__ import annotations

import argparse

from tf_deconv.data import sources
from tf_deconv.degradations.tasks import find_task
from tf_deconv.evaluation import evaluate
from tf_deconv.inference.artifacts import open_artifact
from tf_deconv.inference.restorer import Restorer

# `clip` rounds to 8 bits: a clean picture made smaller.
CHAINS = ("clip:0", "jpeg:90", "jpeg:75", "jpeg:50", "noise:10 jpeg:85", "camera:1600 jpeg:90")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="clean pictures")
    parser.add_argument("--scale", type=int, default=2, choices=(2, 4))
    options = parser.parse_args()
    store, _, _ = sources.read_pictures(options.data)
    rows: dict[str, list[str]] = {}
    for model in options.models:
        restorer = Restorer(open_artifact(model))
        for chain in CHAINS:
            task, failures = find_task(f"super-resolve-x{options.scale}", chain), []
            triples = evaluate.degraded_pictures(store, task, 0, failures)
            measured, _ = evaluate.measure(
                restorer, task, triples, failures, len(store), None, lambda line: None
            )
            if failures:
                raise SystemExit("; ".join(failures))
            before, after = measured["input"], measured["output"]
            bicubic = f"{before['psnr_db']:.2f}, {before['luminance_ssim']:.4f}"
            if model == options.models[0]:
                rows.setdefault("bicubic", []).append(bicubic)
            gain = after["psnr_db"] - before["psnr_db"]
            ssim = after["luminance_ssim"] - before["luminance_ssim"]
            rows.setdefault(model, []).append(f"{gain:+.2f}, {ssim:+.4f}")
    print(f"| dB, SSIM | {' | '.join(f'`{chain}`' for chain in CHAINS)} |")
    print(f"|---|{'---:|' * len(CHAINS)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
