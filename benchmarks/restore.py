"""Restoring pictures of growing size: time and peak memory, against the plain way.

    python benchmarks/restore.py [--rounds 3] [--megapixels 0.25 1 4 16 64] [--plot FILE.png]

Both read a JPEG, take it through the article's network and write a JPEG. This project does what
`tf-deconv restore` does, in tiles; the plain way is what one writes first: Pillow, one
`model.predict` of the whole picture, Pillow. Each runs in a process of its own, whose first, small
picture (256x256) warms it up and is not counted; they take turns, and reported is the best of each
one's rounds, in seconds and in seconds of CPU, which other work on the machine changes less. Memory
is the process's peak (ru_maxrss) less what it was after the small picture, and thus what a larger
picture adds. A process that takes more than --memory-limit GB is stopped there.
The network is untrained: its weights change neither time nor memory.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

import training

from tf_deconv.utils import quiet

FOLDER_VARIABLE = "BENCHMARK_FOLDER"
MODEL, SMALL_PX = "model.keras", 256
OUT_OF_MEMORY = "out of memory"
# A process that ran out of memory in C++ code ends by one of these, abort and kill, or says one of
# these; the last is oneDNN's, whose status 1 is "out of memory".
MEMORY_CODES = (-6, -9)
MEMORY_WORDS = ("MemoryError", "bad_alloc", "OOM", "exception:Status: 1, message: could not create")


def make_folder(folder, sizes_px):
    """Writes the model and the pictures."""
    from tf_deconv.degradations.tasks import TASKS
    from tf_deconv.inference import run_folder
    from tf_deconv.training import compilation
    from tf_deconv.training.config import TrainConfig

    model = compilation.build_in("float32", TASKS["old-photo"], TrainConfig(network="article"))
    run_folder.save_model(model, pathlib.Path(folder, MODEL), {"divisor": 2, "scale": 1})
    make_pictures(folder, sizes_px)


def make_pictures(folder, sizes_px):
    """Writes a JPEG of each size made of scikit-image's photographs: SIDE.jpg."""
    import numpy as np
    from PIL import Image

    from tf_deconv.data import sources

    store = sources.load_source("bundled", 28, 0.1).training
    tile = np.asarray(Image.fromarray(store.picture(0)).resize((512, 512)))
    for side in sizes_px:
        times = -(-side // 512)
        picture = np.tile(tile, (times, times, 1))[:side, :side]
        Image.fromarray(picture).save(os.path.join(folder, f"{side}.jpg"), quality=90)


def this_project(folder):
    """Returns a function of a source and a target, as `tf-deconv restore` works on one picture."""
    from tf_deconv.images import files
    from tf_deconv.inference import artifacts
    from tf_deconv.inference import restore as restore_command
    from tf_deconv.inference import restorer as restorers

    restorer = restorers.Restorer(artifacts.open_artifact(os.path.join(folder, MODEL)))

    def restore(source, target):
        job = files.Job(pathlib.Path(source), pathlib.Path(target))
        restore_command.restore_file(restorer, job, max_pixels=2**28)

    return restore


def plain_way(folder):
    """The same in the fewest lines, of Keras, NumPy and Pillow."""
    import keras
    import numpy as np
    from PIL import Image

    model = keras.models.load_model(os.path.join(folder, MODEL), compile=False)

    def restore(source, target):
        grey = np.asarray(Image.open(source).convert("L"), np.float32)[..., np.newaxis] / 255
        restored = model.predict(grey[np.newaxis], verbose=0)[0]
        Image.fromarray(np.uint8(np.rint(restored * 255))).save(target)

    return restore


CONTENDERS = {"tf-deconv restore": this_project, "model.predict of the whole": plain_way}
BASE = "tf-deconv restore"


def peak_bytes():
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_contender(name, side_px):
    """Prints the seconds that one picture takes, those of CPU, and the bytes added to the peak."""

    quiet.quiet_libraries()
    quiet.import_tensorflow()
    folder = os.environ[FOLDER_VARIABLE]
    target = os.path.join(folder, "restored.jpg")
    restore = CONTENDERS[name](folder)
    restore(os.path.join(folder, f"{SMALL_PX}.jpg"), target)
    before, started, cpu = peak_bytes(), time.perf_counter(), time.process_time()
    restore(os.path.join(folder, f"{side_px}.jpg"), target)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    print(seconds, cpu_seconds, peak_bytes() - before, flush=True)


def measure(name, side_px, limit_bytes):
    """Runs one contender in a fresh process.

    Returns:
      (seconds, seconds of CPU, bytes), or the text of how it failed.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--contender", name, "--side", str(side_px)]
    # The limit is on addresses, so it also counts what libraries only reserve (about 2 GB).
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes)),
    )
    if done.returncode == 0:
        return tuple(map(float, done.stdout.split()[-3:]))
    if done.returncode in MEMORY_CODES or any(word in done.stderr for word in MEMORY_WORDS):
        return OUT_OF_MEMORY
    if done.returncode < 0:
        return f"crashed ({signal.Signals(-done.returncode).name})"
    raise RuntimeError(f"{name}, {side_px} pixels: {done.stderr.strip().splitlines()[-1]}")


def draw(path, best):
    """Draws time and memory against megapixels, both on logarithmic axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((9, 4), 80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2)
    quantities = ((0, "time", "s", 1), (2, "memory that the picture adds", "MB", 1e6))
    for panel, (index, what, unit, divisor) in zip(panels, quantities):
        for name, color in zip(CONTENDERS, ("#1a66b3", "#b3541a")):
            points = [
                (side**2 / 1e6, value[index] / divisor)
                for (contender, side), value in best.items()
                if contender == name and not isinstance(value, str)
            ]
            panel.loglog(*zip(*points), "o-", color=color, label=name)
        sizes = sorted({round(side**2 / 1e6, 2) for _, side in best})
        label_axes(panel, sizes, "megapixels", f"{what}, {unit}")
    panels[0].legend(frameon=False)
    canvas.print_png(path)


def label_axes(panel, ticks, x_label, y_label):
    """Gives a panel with logarithmic axes plain numbers; `ticks` are those of its x axis."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, StrMethodFormatter

    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axis.set_minor_formatter(NullFormatter())
    panel.set_xlabel(x_label)
    panel.set_ylabel(y_label)
    panel.grid(alpha=0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument(
        "--megapixels",
        type=float,
        nargs="+",
        default=[0.25, 1, 4, 16, 64],
        help="sizes of the pictures (default: 0.25 1 4 16 64)",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=8,
        metavar="GB",
        help="largest address space of a process, in GB (default: 8)",
    )
    parser.add_argument("--plot", metavar="FILE.png", help="also draw the figures there")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run_contender(options.contender, options.side)
        return
    # Even sides, as the plain way knows no padding.
    sides = [2 * round(math.sqrt(size * 1e6) / 2) for size in options.megapixels]
    figures = {(name, side): [] for side in sides for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER_VARIABLE] = folder
        # In a process of its own: a child's peak begins at the size of its parent.
        maker = multiprocessing.get_context("spawn").Process(
            target=make_folder, args=(folder, {SMALL_PX, *sides})
        )
        maker.start()
        maker.join()
        for turn in range(options.rounds):
            for name, side in figures:
                value = measure(name, side, int(options.memory_limit * 1e9))
                figures[name, side].append(value)
                print(f"round {turn + 1}: {name}, {side} px: {value}", file=sys.stderr, flush=True)
    best = {}
    for key, values in figures.items():
        whole = [value for value in values if not isinstance(value, str)]
        best[key] = tuple(map(min, zip(*whole))) if whole else values[0]
    print(
        f"{training.describe_machine()}; at most {options.memory_limit:g} GB, best of"
        f" {options.rounds} rounds\n"
    )
    print(
        "| megapixels | contender | s | megapixels/s | per CPU second | memory added, MB"
        " | bytes a pixel |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|")
    for (name, side), value in best.items():
        megapixels = side**2 / 1e6
        head = f"| {megapixels:.3g} | {name} |"
        if isinstance(value, str):
            print(f"{head} {value} | | | | |")
        else:
            seconds, cpu_seconds, size = value
            print(
                f"{head} {seconds:.2f} | {megapixels / seconds:.2f}"
                f" | {megapixels / cpu_seconds:.2f} | {size / 1e6:.0f} | {size / side**2:.0f} |"
            )
    if options.plot:
        draw(options.plot, best)


if __name__ == "__main__":
    main()
