"""What hours of training brought: dB of the held-out patches over hours, run by run.

    python benchmarks/progress.py add RUN ...      # keeps a run's curve in progress.jsonl
    python benchmarks/progress.py table | plot     # prints it; draws progress.png

The runs of shipped models are kept with how long they took, from `history.csv`, `config.json` and
`metrics.json`. The rate falls to 0 over each run, so its last third brings the most, whatever its
length: what more hours would bring is told by how two runs of one chain end, not by one's slope.
Runs with other degradations have other held-out patches and do not compare.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import pathlib
from typing import Any

from tf_deconv.utils.options import UserError

FILE = pathlib.Path(__file__).with_name("progress.jsonl")
COLUMNS = 3


def read_run(run: pathlib.Path) -> dict[str, Any]:
    """Returns what is kept of a run.

    Raises:
      UserError: if it has not come to its end.
    """
    paths = [run / name for name in ("config.json", "metrics.json", "history.csv")]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise UserError(f"{str(run)!r} has no {', '.join(missing)}: expected a run that has ended")
    config, scores = (json.loads(path.read_text(encoding="utf-8")) for path in paths[:2])
    with open(paths[2], newline="", encoding="utf-8") as stream:
        curve = [round(float(row["val_psnr"]), 3) for row in csv.DictReader(stream)]
    pixels = config["batch_size"] * config["patch_size"] ** 2 * config["steps_per_epoch"]
    return {
        "run": run.name,
        "init": config["init"],
        "task": config["task"],
        "degrade": config["degrade"],
        "loss": config["loss"],
        "minutes": round(scores["duration_s"] / 60, 1),
        "gigapixels": round(pixels * len(curve) / 1e9, 3),
        "input_db": scores["do_nothing_val_psnr_db"] and round(scores["do_nothing_val_psnr_db"], 3),
        "val_psnr_db": curve,
    }


def read_kept() -> list[dict[str, Any]]:
    """Returns the runs that are kept, the oldest first."""
    if not FILE.exists():
        raise UserError(f"{FILE.name} has no runs yet: add one first")
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


def add(runs: list[str]) -> None:
    """Keeps runs; one of the same name is replaced."""
    kept = {run["run"]: run for run in (read_kept() if FILE.exists() else [])}
    for path in map(pathlib.Path, runs):
        kept[path.name] = read_run(path)
    lines = [json.dumps(run) + "\n" for run in kept.values()]
    FILE.write_text("".join(lines), encoding="utf-8")


def print_table() -> None:
    """Prints a row for each run: where it began and ended, and what its second half brought."""
    print("| run | begins with | minutes | Gpixel | first epoch | half way | end |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for run in read_kept():
        curve = run["val_psnr_db"]
        ends = [curve[0], curve[(len(curve) - 1) // 2], curve[-1]]
        cells = [f"`{run['run']}`", f"`{pathlib.Path(run['init'] or 'nothing').name}`"]
        cells += [f"{run['minutes']:.0f}", f"{run['gigapixels']:.2f}", *(f"{x:.2f}" for x in ends)]
        print(f"| {' | '.join(cells)} |")


def plot() -> None:
    """Draws each run over its own hours, in a panel of its own."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    runs = read_kept()
    rows = math.ceil(len(runs) / COLUMNS)
    figure = Figure((4 * COLUMNS, 3 * rows), 80, layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes, run in zip(panels, runs):
        curve = run["val_psnr_db"]
        hours = [run["minutes"] / 60 * (epoch + 1) / len(curve) for epoch in range(len(curve))]
        axes.plot(hours, curve, marker=".", color="#1a66b3")
        axes.set(title=run["run"], xlabel="hours", ylabel="dB, held out")
        axes.grid(alpha=0.3)
    for axes in panels[len(runs) :]:
        axes.remove()
    FigureCanvasAgg(figure).print_png(str(FILE.with_suffix(".png")))
    print(FILE.with_suffix(".png").name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("add", "table", "plot"))
    parser.add_argument("runs", nargs="*", metavar="RUN")
    options = parser.parse_args()
    if options.what == "add":
        add(options.runs)
    elif options.runs:
        raise UserError(f"{options.what}: expected no runs after it; `add` takes them")
    else:
        {"table": print_table, "plot": plot}[options.what]()


if __name__ == "__main__":
    import outcome

    outcome.run(main)
