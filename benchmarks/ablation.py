"""Ablations of training: one command a row, on the same pictures, with the same number of pixels.

    python benchmarks/ablation.py ROW ... --data FOLDER [--minutes 30] [--seeds 2] [--on grey|photo]
    python benchmarks/ablation.py list | table | plot
    python benchmarks/ablation.py add OUT/ROW.npz ...      # what train_jax.py trained on a GPU

A row of `recipes.py` is trained by `train.py`'s trainer, once for each seed, and adds a line to
`benchmarks/ablations.jsonl`: what it was, the curve of dB over pixels, and the processor's seconds.
Every run is scored on the same patches, of pictures that are held out by their content. A row that
is in the file is not run again; one that was interrupted goes on from its last checkpoint.

Minutes on a machine that others use say little: `--minutes` stands for the pixels that the row
`base` sees in so many minutes of two free cores (`PIXELS_PER_MINUTE`), and every row gets as many.
With `--equal work` each gets as many multiply-adds instead: a network of twice the work sees half
the pixels. The processor's seconds are in the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import sys
from typing import Any

import numpy as np
import recipes
import weight_files
from recipes import Run

from tf_deconv.utils import quiet
from tf_deconv.utils.interrupted import Interrupted
from tf_deconv.utils.options import UserError

FILE = pathlib.Path(__file__).with_name("ablations.jsonl")
# Seen by `base` in 8 patches of 96 pixels: 7,500 steps took 512 s on two cores (issue of 2026-11).
PIXELS_PER_MINUTE = 64e6


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the runs that a file holds, the oldest first."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def run_rows(options: argparse.Namespace) -> None:
    """Trains what is missing of the rows, seed after seed."""
    changes = recipes.parse_changes(options.set)
    for name in ("minutes", "gigapixels", "seeds"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name} {value}: expected a number above 0")
    gigapixels = options.gigapixels or options.minutes * PIXELS_PER_MINUTE / 1e9
    extra = {"equal": "work"} if options.equal == "work" else {}
    extra |= {"init": options.init} if options.init else {}
    extra |= {"shrink": options.shrink} if options.shrink else {}
    name_of_data = pathlib.Path(options.data).name
    wanted = [
        Run(name, options.on, seed, round(gigapixels, 6), name_of_data, changes | extra)
        for name in options.rows
        for seed in range(options.first_seed, options.first_seed + options.seeds)
    ]
    for name in options.rows:
        recipes.find(name)
    if not pathlib.Path(options.data).exists():
        raise UserError(f"--data {options.data!r} does not exist: expected a folder of pictures")
    quiet.quiet_libraries()
    quiet.import_tensorflow()
    import ablation_runs

    for run in wanted:
        if any(run.is_in(line) for line in read_lines(options.file)):
            print(f"{run.row}, seed {run.seed}: done before")
            continue
        line = ablation_runs.train_run(run, changes, options)
        with open(options.file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(f"{run.row}, seed {run.seed}: {line['db']:.3f} dB, {line['cpu_s']:.0f} CPU s")


def add_files(options: argparse.Namespace) -> None:
    """Adds what `train_jax.py` trained: a line for each file that has none."""
    for path in options.rows:
        _, facts = weight_files.load(path)
        if "curve" not in facts:
            raise UserError(f"{path!r}: expected a file of `train_jax.py train`")
        curve = [[round(row["gigapixels"], 6), round(row["val_psnr"], 4)] for row in facts["curve"]]
        run = Run(
            facts["row"],
            facts["on"],
            facts["seed"],
            curve[-1][0],
            facts["data"],
            facts["changes"] | {"device": facts["device"]},
        )
        if any(run.is_in(line) for line in read_lines(options.file)):
            print(f"{path}: added before")
            continue
        own = {"db": curve[-1][1], "curve": curve, "pixels": curve[-1][0] * 1e9}
        own |= {
            "wall_s": facts["curve"][-1]["s"],
            "device": facts["device"],
            "commit": recipes.commit(),
        }
        with open(options.file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(dataclasses.asdict(run) | own) + "\n")


# --- What came of it.


def groups_of(lines: list[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Sorts lines: what compares with each other by heading, and in it the seeds of each row."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in sorted(lines, key=lambda line: [*recipes.RECIPES].index(line["row"])):
        changes = " ".join(f"{name}={value}" for name, value in line["changes"].items())
        heading = f"{line['on']}, {line['gigapixels']:g} Gpixel, {line['data']} {changes}".strip()
        found.setdefault(heading, {}).setdefault(line["row"], []).append(line)
    return found


def mean_db(lines: list[dict[str, Any]]) -> float:
    """Returns the mean over seeds of the last points, of all the best."""
    return float(np.mean([line["db"] for line in lines]))


def second_half_db(line: dict[str, Any]) -> float:
    """Returns how many dB the second half of a run's pixels brought: per doubling, at its end."""
    pixels, decibels = np.transpose(line["curve"])
    return float(decibels[-1] - np.interp(pixels[-1] / 2, pixels, decibels))


def make_table(lines: list[dict[str, Any]]) -> list[str]:
    """Returns the tables in Markdown, a heading before each."""
    text = []
    for heading, rows in groups_of(lines).items():
        text += [f"**{heading}**", "", "| row | what | seeds | dB | spread | against | 2nd half |"]
        text[-1] += " CPU s | multiply-adds |"
        text += ["|---|---|---:|---:|---:|---|---:|---:|---:|"]
        for name, own in rows.items():
            recipe = recipes.RECIPES[name]
            other = rows.get(recipe.against)
            apart = f"{mean_db(own) - mean_db(other):+.3f} {recipe.against}" if other else ""
            decibels = [line["db"] for line in own]
            cells = [
                name,
                recipe.summary,
                str(len(own)),
                f"{mean_db(own):.3f}",
                f"{max(decibels) - min(decibels):.3f}",
                "" if recipe.against == name else apart,
                f"{np.mean([second_half_db(line) for line in own]):+.3f}",
                f"{np.mean([line.get('cpu_s', np.nan) for line in own]):.0f}",
                f"{own[0]['multiply_adds']:,}" if "multiply_adds" in own[0] else "",
            ]
            text.append(f"| {' | '.join(cells)} |")
        text.append("")
    return text


def draw(lines: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Draws dB over pixels: a panel for each question of each group, the seeds' mean as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels: dict[str, dict[str, list]] = {}
    for heading, rows in groups_of(lines).items():
        for name, own in rows.items():
            recipe = recipes.RECIPES[name]
            panel = panels.setdefault(f"{recipe.question}: {heading}", {})
            if recipe.against in rows:
                panel.setdefault(recipe.against, rows[recipe.against])
            panel[name] = own
    figure = Figure((9, 4.5 * len(panels)), 100, layout="constrained")
    for axes, (title, rows) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items()
    ):
        for name, own in rows.items():
            ends = min(len(line["curve"]) for line in own)
            pixels, decibels = np.mean([line["curve"][:ends] for line in own], 0).T
            axes.plot(pixels, decibels, marker=".", label=f"{name} {mean_db(own):.2f}")
        axes.set(title=title, xlabel="gigapixels of patches", ylabel="dB on held-out patches")
        # The first points, far below, would squeeze what is compared.
        top = max(line["db"] for own in rows.values() for line in own)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], top - 2.0))
        axes.legend(loc="lower right", fontsize="small", ncols=2)
        axes.grid(alpha=0.3)
    FigureCanvasAgg(figure).print_png(str(path))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="+", metavar="ROW", help="rows; or list, table, plot, add")
    parser.add_argument("--data", metavar="FOLDER", help="pictures, as for train.py")
    parser.add_argument("--on", choices=recipes.SETTINGS, default="grey", help="what is learned")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, default=30, help="of two free cores, for base")
    budget.add_argument("--gigapixels", type=float, help="in place of minutes")
    parser.add_argument("--equal", choices=("pixels", "work"), default="pixels")
    parser.add_argument("--seeds", type=int, default=2, help="(default: 2)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N")
    parser.add_argument("--shrink", help="as for train.py")
    parser.add_argument("--init", help="run or model that each row begins with")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE")
    parser.add_argument("--runs", default="runs/ablations", metavar="FOLDER")
    parser.add_argument("--file", type=pathlib.Path, default=FILE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        return _do(options)
    except UserError as error:
        print(f"ablation.py: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print("ablation.py: stopped; the same command goes on", file=sys.stderr)
        return 128 + stop.signum


def _do(options: argparse.Namespace) -> int:
    command = options.rows[0]
    lines = read_lines(options.file)
    if command == "list":
        for name, recipe in recipes.RECIPES.items():
            print(f"{recipe.question:8} {name:18} {recipe.summary}")
    elif command == "table":
        print("\n".join(make_table(lines)))
    elif command == "plot":
        if not lines:
            raise UserError(f"{str(options.file)!r} has no runs yet: run a row first")
        draw(lines, options.file.with_suffix(".png"))
        print(options.file.with_suffix(".png"))
    elif command == "add":
        options.rows = options.rows[1:]
        add_files(options)
    elif options.data is None:
        raise UserError("expected --data, a folder of pictures")
    else:
        run_rows(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
