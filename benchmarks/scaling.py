"""Cost as work grows: time and memory over the number and the size of pictures.

    python benchmarks/scaling.py [--rounds 2] [--counts 10 100 1000 10000]
        [--megapixels 0.000784 0.01 0.1 1 3 10 30 100] [--series NAME ...] [--plot FILE.png]
        [--json FILE] [--join FILE ...]

What is measured is the whole command in a process of its own, as a user starts it: `tf-deconv
restore` on a folder of N noisy PNGs of 28x28; the same on one JPEG of growing size, with the
SavedModel and with the TFLite file; and the reading of N pictures that training begins with, from a
folder and from shards. Reported is the best of the rounds. Seconds beyond start-up are a command's
less those of the same command on one picture of 28x28; opening, which is short, is timed inside its
process. Memory is the process's peak (ru_maxrss).

The exponent is the slope of a straight line through the logarithms of the upper two decades: 1 is
linear. The bars: time beyond start-up at most 1.05; memory beyond start-up at most 1.05 over size,
and over the number of pictures where training holds them all; `restore` holds one, and the exponent
of its whole peak over their number is at most 0.05.

Long runs may be cut in stretches: --series chooses, --json keeps, --join puts together.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import archive
import restore
import training

COUNTS = [10, 100, 1000, 10_000]
SMALL_PX, SHARD_COUNT = 28, 4
MEGAPIXELS = [SMALL_PX**2 / 1e6, 0.01, 0.1, 1, 3, 10, 30, 100]
LINEAR, CONSTANT = 1.05, 0.05
# Start-up is taken off what is short, so that is measured more often.
SHORT_S, MORE_ROUNDS = 10, 3
# Less does not show: an allocator keeps as much for later.
SHOWN_BYTES = 1_000_000
# Of the largest count or size: what lies below is mostly start-up.
DECADES = 2
COUNT, SIZE = "pictures", "megapixels"


@dataclasses.dataclass(frozen=True)
class Series:
    """Work that grows.

    Attributes:
      axis: What grows, COUNT or SIZE.
      arguments: Of the work folder, the model and how much, those of a command.
      holds_all: Whether it holds every picture in memory.
      opens: Whether it is `open_source`, which times itself, and no command of tf-deconv.
    """

    axis: str
    arguments: Callable[[pathlib.Path, str, float], list[str]]
    holds_all: bool = False
    opens: bool = False


def _restore_count(folder, model, count):
    return ["restore", model, str(folder / f"count-{count}")]


def _restore_size(folder, model, megapixels):
    return ["restore", model, str(folder / f"{side_of(megapixels)}.jpg")]


def _restore_tflite(folder, model, megapixels):
    return _restore_size(folder, tflite_of(model), megapixels)


def _open(kind):
    return lambda folder, model, count: [str(folder / f"{kind}-{count}")]


SERIES = {
    "restore a folder": Series(COUNT, _restore_count),
    "open a folder": Series(COUNT, _open("count"), holds_all=True, opens=True),
    "open shards": Series(COUNT, _open("shards"), holds_all=True, opens=True),
    "restore a picture": Series(SIZE, _restore_size),
    "restore a picture, TFLite": Series(SIZE, _restore_tflite),
}
COLORS = dict(zip(SERIES, ("#1a66b3", "#2a8c4a", "#b3541a", "#1a66b3", "#8a3ab3")))


@dataclasses.dataclass(frozen=True)
class Figure:
    """What a process took.

    Attributes:
      total_s: From its start to its end.
      cpu_s: Seconds of CPU of all its threads.
      peak_bytes: Its largest resident memory.
      work_s: Seconds beyond start-up; at least 0.
    """

    total_s: float
    cpu_s: float
    peak_bytes: int
    work_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Exponents:
    """How a series grows.

    Attributes:
      time: Exponent of the seconds beyond start-up.
      memory: Exponent of what the bar is about: memory beyond start-up, or the whole peak.
      is_met: Whether both are within their bars.
    """

    time: float
    memory: float
    is_met: bool


def side_of(megapixels: float) -> int:
    """Returns the side of a square picture, in pixels."""
    return round(math.sqrt(megapixels * 1e6))


def tflite_of(model: str) -> str:
    """Returns the float32 file beside a model's SavedModel."""
    from tf_deconv.inference import shipped

    (path,) = shipped.resolve(model).glob("tflite/*-float32.tflite")
    return str(path)


def make_inputs(folder: str, counts: Sequence[int], megapixels: Sequence[float], shards: bool):
    """Writes what all series read."""
    from tf_deconv.cli import main as cli_main
    from tf_deconv.data.config import ShardConfig
    from tf_deconv.data.shards import pack

    cli_main.quiet_libraries()
    work = pathlib.Path(folder)
    restore.make_pictures(folder, {side_of(size) for size in megapixels})
    for count in counts:
        pictures = work / f"count-{count}"
        archive.make_pictures(pictures, count, SMALL_PX)
        if shards:
            options = ShardConfig(str(pictures), str(work / f"shards-{count}"))
            split = dataclasses.replace(options, shards=min(count, SHARD_COUNT))
            pack.shard(split, report=lambda line: None)


def open_source(data: str) -> None:
    """Opens a source as training does; prints the seconds it took and those of CPU."""
    from tf_deconv.cli import main as cli_main
    from tf_deconv.data import sources
    from tf_deconv.data.shards import reader
    from tf_deconv.utils import remote

    cli_main.quiet_libraries()
    if reader.is_sharded(data):
        remote.tensorflow_for(data)  # Training has imported it before.
    started, cpu = time.perf_counter(), time.process_time()
    source = sources.load_source(data, SMALL_PX, 0.1)
    print(time.perf_counter() - started, time.process_time() - cpu)
    if source.skipped:
        raise SystemExit(source.skipped[0])


def measure(series: Series, folder: pathlib.Path, model: str, size: float) -> Figure:
    """Runs one piece of work in a process of its own."""
    out = folder / "out"
    arguments = series.arguments(folder, model, size)
    if series.opens:
        command = [sys.executable, __file__, "--open", *arguments]
    else:
        command = [sys.executable, "-c", archive.COMMAND, *arguments, "--out", str(out)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        total_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines()
    shutil.rmtree(out, ignore_errors=True)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}: {lines[-1:]}")
    # Linux counts in KiB.
    figure = Figure(total_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
    if series.opens:
        seconds, cpu_seconds = map(float, lines[-1].split())
        return dataclasses.replace(figure, work_s=seconds, cpu_s=cpu_seconds)
    return figure


def best_of(figures: Sequence[Figure]) -> Figure:
    """Returns the least of each quantity: other work on the machine only ever adds."""
    return Figure(*map(min, zip(*map(dataclasses.astuple, figures))))


def beyond_startup(series: Series, figure: Figure, start: Figure) -> Figure:
    """Returns a command's figure with its seconds beyond those of `start`."""
    if series.opens:
        return figure
    return dataclasses.replace(figure, work_s=max(0.0, figure.total_s - start.total_s))


def exponent(sizes: Sequence[float], values: Sequence[float], decades: float = DECADES) -> float:
    """Fits value = c * size ** exponent by least squares of logarithms.

    Args:
      sizes: How much work; positive.
      values: What it took; points of at most 0 are left out.
      decades: Only sizes from the largest one down to this many powers of ten below it count.
    Returns:
      The exponent; NaN where fewer than two points are left.
    """
    least = max(sizes) / 10**decades * (1 - 1e-9)
    points = [
        (math.log(size), math.log(value))
        for size, value in zip(sizes, values, strict=True)
        if size >= least and value > 0
    ]
    if len(points) < 2:
        return math.nan
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum(
        (x - mean_x) ** 2 for x, _ in points
    )


def judge(series: Series, figures: dict[float, Figure], start: Figure) -> Exponents:
    """Fits a series' exponents and compares them with the bars."""
    sizes, values = list(figures), list(figures.values())
    over_time = exponent(sizes, [figure.work_s for figure in values])
    peaks = [figure.peak_bytes for figure in values]
    if series.axis == COUNT and not series.holds_all:
        memory = exponent(sizes, peaks)
        return Exponents(over_time, memory, over_time <= LINEAR and memory <= CONSTANT)
    grown = [peak - start.peak_bytes for peak in peaks]
    memory = exponent(sizes, [size if size >= SHOWN_BYTES else 0 for size in grown])
    # Memory that does not grow beyond start-up at all has no exponent.
    return Exponents(over_time, memory, over_time <= LINEAR and not memory > LINEAR)


def number_text(size: float) -> str:
    """Writes a count, or megapixels."""
    return f"{size:,.0f}" if size >= 1000 else f"{size:.3g}"


def tables(found: dict[str, tuple[dict[float, Figure], Figure]]) -> str:
    """Writes two Markdown tables: all figures, and the exponents."""
    lines = [
        "| work | how much | s | beyond start-up, s | per second | CPU, s | peak, MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, (figures, _) in found.items():
        unit = "" if SERIES[name].axis == COUNT else " MP"
        for size, figure in figures.items():
            speed = number_text(size / figure.work_s) + unit if figure.work_s > 0 else ""
            lines.append(
                f"| {name} | {number_text(size)}{unit} | {figure.total_s:.1f}"
                f" | {figure.work_s:.2f} | {speed} | {figure.cpu_s:.2f}"
                f" | {figure.peak_bytes / 1e6:.0f} |"
            )
    lines += [
        "",
        "| work | exponent of time | of memory | bars | met |",
        "|---|---:|---:|---|---|",
    ]
    for name, (figures, start) in found.items():
        series, judged = SERIES[name], judge(SERIES[name], figures, start)
        is_flat = series.axis == COUNT and not series.holds_all
        little = math.isnan(judged.time)
        verdict = "yes" if judged.is_met else "too little work" if little else "NO"
        lines.append(
            f"| {name} | {judged.time:.2f} | {judged.memory:.2f}"
            f" | {LINEAR}, {CONSTANT if is_flat else LINEAR}"
            f" | {verdict} |"
        )
    return "\n".join(lines)


def draw(path: str, found: dict[str, tuple[dict[float, Figure], Figure]]) -> None:
    """Draws seconds beyond start-up and peak memory over the number and over the size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Page

    page = Page((10, 7.5), 80, layout="constrained")
    canvas = FigureCanvasAgg(page)
    for row, axis in zip(page.subplots(2, 2), (COUNT, SIZE)):
        names = [name for name in found if SERIES[name].axis == axis]
        if not names:
            continue
        sizes = sorted({size for name in names for size in found[name][0]})
        for name in names:
            figures = found[name][0]
            judged = judge(SERIES[name], *found[name])
            points = [(size, figure.work_s) for size, figure in figures.items() if figure.work_s]
            row[0].loglog(
                *zip(*points), "o-", color=COLORS[name], label=f"{name}: exponent {judged.time:.2f}"
            )
            row[1].loglog(
                list(figures),
                [figure.peak_bytes / 1e6 for figure in figures.values()],
                "o-",
                color=COLORS[name],
                label=name,
            )
        (low, high), top = row[0].get_xlim(), row[0].get_ylim()[1]
        row[0].loglog(
            [low, high], [top * low / high, top], ":", color="#888888", label="linear", zorder=0
        )
        row[0].set_xlim(low, high)
        row[0].set_ylim(top=1.5 * top)
        shown = [float(number_text(size).replace(",", "")) for size in sizes]
        restore.label_axes(row[0], shown, axis, "seconds beyond start-up")
        restore.label_axes(row[1], shown, axis, "peak memory, MB")
        row[1].set_ylim(bottom=30)
        for panel in row:
            panel.legend(frameon=False, fontsize=9)
    canvas.print_png(path)


def to_json(found: dict[str, tuple[dict[float, Figure], Figure]]) -> dict:
    """Returns what `from_json` takes."""
    return {
        name: {
            "start": dataclasses.asdict(start),
            "figures": [[size, dataclasses.asdict(figure)] for size, figure in figures.items()],
            "exponents": dataclasses.asdict(judge(SERIES[name], figures, start)),
        }
        for name, (figures, start) in found.items()
    }


def from_json(value: dict) -> dict[str, tuple[dict[float, Figure], Figure]]:
    """Returns the figures of a file that --json wrote."""
    return {
        name: (
            {size: Figure(**figure) for size, figure in entry["figures"]},
            Figure(**entry["start"]),
        )
        for name, entry in value.items()
    }


def measure_all(options: argparse.Namespace) -> dict[str, tuple[dict[float, Figure], Figure]]:
    """Measures the chosen series; they take turns, round after round."""
    sizes = {
        name: sorted(options.counts if SERIES[name].axis == COUNT else options.megapixels)
        for name in options.series
    }
    # Start-up is the least work: one small picture, or the fewest that can be split.
    starts = {
        name: min(sizes[name]) if series.opens else 1 if series.axis == COUNT else MEGAPIXELS[0]
        for name, series in SERIES.items()
        if name in sizes
    }
    wanted = {name: sorted({starts[name], *sizes[name]}) for name in sizes}
    counts = {size for name in sizes if SERIES[name].axis == COUNT for size in wanted[name]}
    megapixels = {size for name in sizes if SERIES[name].axis == SIZE for size in wanted[name]}
    measured = {(name, size): [] for name in sizes for size in wanted[name]}
    with tempfile.TemporaryDirectory() as text:
        folder = pathlib.Path(text)
        # In a process of its own: a child's peak begins at the size of its parent.
        maker = multiprocessing.get_context("spawn").Process(
            target=make_inputs, args=(text, sorted(counts), megapixels, "open shards" in sizes)
        )
        maker.start()
        maker.join()
        if maker.exitcode:
            raise SystemExit("the pictures could not be made")
        for turn in range(options.rounds + MORE_ROUNDS):
            for (name, size), before in measured.items():
                if turn >= options.rounds and best_of(before).total_s >= SHORT_S:
                    continue
                figure = measure(SERIES[name], folder, options.model, size)
                before.append(figure)
                print(
                    f"round {turn + 1}: {name}, {number_text(size)}: {figure.total_s:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
    found = {}
    for name in sizes:
        best = {size: best_of(measured[name, size]) for size in wanted[name]}
        start = best[starts[name]]
        figures = {size: beyond_startup(SERIES[name], best[size], start) for size in sizes[name]}
        found[name] = figures, start
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=2, help="rounds (default: 2); short work has 3 more"
    )
    parser.add_argument("--model", default="denoise-color-small", help="model that restores")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="of small pictures")
    parser.add_argument(
        "--megapixels", type=float, nargs="+", default=MEGAPIXELS, help="sizes of the one picture"
    )
    parser.add_argument(
        "--series", nargs="*", choices=SERIES, default=list(SERIES), help="what to measure"
    )
    parser.add_argument("--join", nargs="+", default=[], metavar="FILE", help="of earlier --json")
    parser.add_argument("--plot", metavar="FILE.png", help="also draw the figures there")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    parser.add_argument("--open", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        open_source(options.open)
        return
    if min(options.counts) < 2:
        parser.error("--counts: expected at least 2 pictures, as training splits them")
    found = {}
    for path in options.join:
        found |= from_json(json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["series"])
    if options.series:
        found |= measure_all(options)
    found = {name: found[name] for name in SERIES if name in found}
    machine = training.describe_machine()
    print(f"{machine}; {options.model}, best of {options.rounds} rounds\n\n{tables(found)}")
    if options.plot:
        draw(options.plot, found)
    if options.json:
        text = json.dumps({"machine": machine, "series": to_json(found)}, indent=2)
        pathlib.Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
