"""`benchmark --export`: every file of an export, in every runtime that is installed, measured.

One process for each file, runtime and number of threads (`parity.runner`), one after the other.
Pictures are degraded as the model's task says and cut to the largest signature; scored is what
comes back against the clean picture, and against the SavedModel's.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import itertools
import math
import os
import pathlib
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_deconv.data import patches, sources
from tf_deconv.data.config import BUNDLED
from tf_deconv.degradations.tasks import TASKS, find_task
from tf_deconv.evaluation.config import BenchmarkConfig
from tf_deconv.exporting import publish
from tf_deconv.exporting.parity import gate, process, runner
from tf_deconv.exporting.tflite import convert
from tf_deconv.inference import run_folder
from tf_deconv.inference.descriptions import LARGEST_JSON_BYTES, check, parse_json
from tf_deconv.inference.located import locate
from tf_deconv.inference.restorer import fit_channels
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason, validate
from tf_deconv.utils.plotting import DOTS_PER_INCH, own_style

# The kinds of file that an export holds, and what runs them unless one is named.
RUNTIMES = {
    ".tflite": ("litert", "litert-compiled", "openvino"),
    ".onnx": ("onnxruntime", "openvino"),
    "": ("tensorflow", "openvino"),
    ".mlpackage": (),  # Core ML's own times need one of Apple's machines.
}
# Held-out photographs that every file is run on.
PICTURES = 4


@dataclasses.dataclass(frozen=True)
class Row:
    """One file in one runtime.

    Attributes:
      file: As the manifest names it.
      runtime: Key of `runner.RUNTIMES`.
      threads: How many it could use.
      size_bytes: Of the file.
      p50_ms: Median time of one picture.
      p95_ms: 95th percentile of it.
      task_psnr_db: PSNR against the clean picture; None where there is none.
      saved_model_psnr_db: PSNR against what the SavedModel makes; None for an equal picture.
      delegated: Share of operators that XNNPACK took; None where the runtime does not tell.
      fault: Why there is no figure; "" where there is one.
    """

    file: str
    runtime: str
    threads: int
    size_bytes: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    task_psnr_db: float | None = None
    saved_model_psnr_db: float | None = None
    delegated: float | None = None
    fault: str = ""


def benchmark(config: BenchmarkConfig, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures an export and writes `benchmark.json`, `.md` and `.png`.

    Args:
      config: All options.
      report: Receives lines for the user.
    Returns:
      The content of `benchmark.json`.
    Raises:
      UserError: for anything that the user can mend.
    """
    config = validate(config, {"runtime": runner.RUNTIMES})
    if config.export is None:
        raise UserError("export=None: expected the folder of an exported model")
    folder = pathlib.Path(config.export)
    manifest = _read_manifest(folder)
    for entry in manifest["files"]:  # Before any of them is opened.
        path = folder / entry["file"]
        if path.suffix not in (".onnx", ".mlpackage"):
            locate(path, config.trust).check_contents()
    degraded, clean = _pictures(manifest)
    size = max((tuple(size) for size in manifest["tflite_sizes"]), key=math.prod)
    scale = manifest["scale"]
    cases = [convert.fit(picture, size)[np.newaxis] for picture in degraded]
    targets = [convert.fit(picture, size, scale) for picture in clean]
    wanted = {name for names in RUNTIMES.values() for name in names}
    wanted = {config.runtime} if config.runtime else wanted
    missing = sorted(name for name in wanted if not importlib.util.find_spec(_module(name)))
    if config.runtime in missing:
        raise UserError(process.not_installed(config.runtime))
    if missing:
        report(f"not installed, left out: {', '.join(missing)}")
    plan = [
        (entry, runtime, threads)
        for entry in manifest["files"]
        for runtime in _runtimes(entry["file"], config.runtime)
        for threads in _threads(config.threads)
        if runtime not in missing and _takes(entry, size)
    ]
    if not plan:
        takes = runner.RUNTIMES[config.runtime].takes if config.runtime else ()
        kinds = " or ".join(each or "SavedModel" for each in takes)
        raise UserError(
            f"runtime={config.runtime!r} takes {kinds}: {str(folder)!r} has none of"
            f" {size[0]}x{size[1]}; export with --onnx and --sizes {size[0]}x{size[1]}"
        )
    expected = _of_the_saved_model(folder, manifest, cases)
    best: dict[int, Row] = {}
    for step in range(config.rounds * len(plan)):
        number = step % len(plan)
        entry, runtime, threads = plan[number]
        row = _measure(folder, entry, runtime, threads, size, cases, targets, expected)
        # Other work on a machine only ever slows: the fastest round is nearest to the truth.
        best[number] = min(best.get(number, row), row, key=lambda row: row.p50_ms or math.inf)
        shown = row.fault or f"{row.p50_ms:.2f} ms"
        report(
            f"[{step + 1}/{config.rounds * len(plan)}] {row.file} {runtime}, {threads} threads:"
            f" {shown}"
        )
    rows = list(best.values())
    result = {
        "name": manifest["name"],
        "picture": list(size),
        "pictures": len(cases),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU threads",
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    out = files.make_folder(pathlib.Path(config.out))
    files.write_json(out / "benchmark.json", result)
    lines = table(rows)
    files.write_bytes(out / "benchmark.md", "\n".join(lines).encode() + b"\n")
    files.write_bytes(out / "benchmark.png", _plot(rows, manifest["name"]))
    for line in lines:
        report(line)
    report(f"written: {out / 'benchmark.json'}, benchmark.md, benchmark.png")
    return result


def _module(runtime: str) -> str:
    return runner.RUNTIMES[runtime].module


def _runtimes(file: str, asked: str | None) -> tuple[str, ...]:
    """Returns what runs a file: the runtime that was asked for, if it takes such files."""
    suffix = pathlib.PurePath(file).suffix
    if asked is None:
        return RUNTIMES[suffix]
    return (asked,) if suffix in runner.RUNTIMES[asked].takes else ()


def table(rows: list[Row]) -> list[str]:
    """Lays the rows out as a Markdown table."""
    heads = ["file", "runtime", "threads", "bytes", "task dB", "vs SavedModel dB", "p50 ms"]
    lines = [f"| {' | '.join([*heads, 'p95 ms', 'delegated'])} |", "|---|---|" + "---:|" * 7]
    for row in rows:
        cells = [row.file, row.runtime, str(row.threads), f"{row.size_bytes:,}"]
        if row.fault:
            cells += [row.fault.replace("|", "/"), "", "", "", ""]
        else:
            same = "equal" if row.saved_model_psnr_db is None else f"{row.saved_model_psnr_db:.1f}"
            task = "-" if row.task_psnr_db is None else f"{row.task_psnr_db:.2f}"
            share = "-" if row.delegated is None else f"{row.delegated:.0%}"
            cells += [task, same, f"{row.p50_ms:.2f}", f"{row.p95_ms:.2f}", share]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _takes(entry: dict[str, Any], size: tuple[int, int]) -> bool:
    """Whether a file takes pictures of a size: an ONNX file may be of another one only."""
    shape = (entry.get("input") or {}).get("shape") or [None] * 4
    return None in shape or tuple(shape[2:]) == size


def _read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / publish.MANIFEST_FILE
    try:
        manifest = parse_json(files.read_bounded(path, LARGEST_JSON_BYTES))
        if "generator" in manifest:
            raise UserError(run_folder.GENERATES.format(str(folder)))
        check(manifest, repr(str(path)))
        needed = ("name", "tflite_sizes", "scale", "channels_in", "files")
        if any(not manifest[key] for key in needed):
            raise ValueError("it names no file")
        listed = [str(entry["file"]) for entry in manifest["files"]]
        strange = [name for name in listed if pathlib.PurePath(name).suffix not in RUNTIMES]
        if strange:
            raise ValueError(f"no runtime is known for {strange[0]!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{str(folder)!r} is not an exported model: {publish.MANIFEST_FILE}: {reason(error)};"
            " expected saved_models/NAME as `tf-deconv export` leaves it"
        ) from error
    return manifest


def _pictures(manifest: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns held-out photographs as the network gets them, and clean where that is known."""
    source = sources.load_source(BUNDLED, 256, 0.1)
    training, name = manifest.get("training") or {}, manifest.get("task")
    known = name in TASKS and not TASKS[name].paired
    task = find_task(name, training.get("degrade")) if known else None
    degraded, clean = [], []
    for index in range(PICTURES):
        picture = np.ascontiguousarray(source.validation.picture(index))
        if task is not None:
            noisy, target = patches.degrade_picture(picture, task, index)
            degraded.append(noisy)
            clean.append(target)
        else:
            degraded.append(fit_channels(picture, manifest["channels_in"]))
    return degraded, clean


def _threads(text: str) -> list[int]:
    try:
        counts = [int(word) for word in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise UserError(f"threads={text!r}: expected numbers from 1 up with commas, such as 1,2")
    return counts


def _of_the_saved_model(
    folder: pathlib.Path, manifest: dict[str, Any], cases: list[np.ndarray]
) -> list[np.ndarray] | None:
    if not manifest.get("version"):
        return None
    named = {f"serving_default|{i}": case for i, case in enumerate(cases)}
    results = gate.run_file(folder / str(manifest["version"]), named)
    return [results[key] for key in named]


def _measure(
    folder: pathlib.Path,
    entry: dict[str, Any],
    runtime: str,
    threads: int,
    size: tuple[int, int],
    cases: list[np.ndarray],
    targets: list[np.ndarray],
    expected: list[np.ndarray] | None,
) -> Row:
    path = folder / entry["file"]
    shape = (entry.get("input") or {}).get("shape")
    signature = process.signature_for(entry["file"], size, shape)
    named = {f"{signature}|{i}": case for i, case in enumerate(cases)}
    row = Row(entry["file"], runtime, threads, entry["size_bytes"])
    try:
        results = gate.run_file(path, named, runtime, threads)
    except RuntimeError as error:
        return dataclasses.replace(row, fault=str(error)[:160])
    restored = [results[key] for key in named]
    task = [gate.seen_psnr_db(image[0], clean) for image, clean in zip(restored, targets)]
    same = None
    if expected is not None:
        error = np.mean([np.mean((a - b) ** 2) for a, b in zip(restored, expected)])
        same = -10 * math.log10(error) if error else None
    return dataclasses.replace(
        row,
        p50_ms=float(results[f"latency_ms|{signature}"]),
        p95_ms=float(results[f"latency_p95_ms|{signature}"]),
        task_psnr_db=float(np.mean(task)) if task else None,
        saved_model_psnr_db=same,
        delegated=float(results["delegated"]) if "delegated" in results else None,
    )


def _plot(rows: list[Row], name: str) -> bytes:
    """Draws quality against time, of one thread."""
    groups: dict[str, list[tuple[str, float, float]]] = {}
    for row in rows:
        if not row.fault and row.threads == 1 and row.task_psnr_db is not None:
            path = pathlib.PurePath(row.file)
            label = path.stem.removeprefix(f"{name}-") if path.suffix == ".tflite" else path.suffix
            point = (label or "SavedModel", row.p50_ms, row.task_psnr_db)
            groups.setdefault(row.runtime, []).append(point)
    return draw_points(groups, "ms a picture on one thread", "PSNR, dB", name)


def draw_points(
    groups: Mapping[str, Sequence[tuple[str, float, float]]], x_name: str, y_name: str, title: str
) -> bytes:
    """Draws points over a logarithmic axis: a group has a colour, a label a shape.

    Args:
      groups: Name of a group to its (label, x, y), x above 0.
      x_name: What x is, with its unit.
      y_name: What y is, with its unit.
      title: What stands above.
    Returns:
      A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with own_style():
        figure = Figure((9, 6), DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        panel = figure.add_subplot()
        labels = list(dict.fromkeys(label for points in groups.values() for label, _, _ in points))
        shapes = dict(zip(labels, itertools.cycle("os^DvPX*<>")))
        for number, (name, points) in enumerate(groups.items()):
            panel.scatter([], [], s=60, label=name, color=f"C{number}")
            for label, x, y in points:
                panel.scatter(x, y, s=60, marker=shapes[label], color=f"C{number}", alpha=0.75)
        for label in labels:
            panel.scatter([], [], s=60, label=label, marker=shapes[label], color="0.4")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("{x:g}")
        panel.set_xlabel(x_name)
        panel.set_ylabel(y_name)
        panel.set_title(title)
        if groups:
            panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
        stream = io.BytesIO()
        figure.tight_layout()
        canvas.print_png(stream)
    return stream.getvalue()
