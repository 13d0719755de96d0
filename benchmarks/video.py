"""What models gain on films, noise by noise and codec by codec, in decibels and in flicker.

    python benchmarks/video.py MODEL ... --data FOLDER [--held-out 0.1] [--clips 10] [--frames 16]
        [--chains ...] [--no-filters]

makes clips of the folder's pictures (choose pictures on which no model was trained, or those that
training with a --validation-fraction held out), one after the other with each of `motion.CAMERAS`,
some with objects, changes of brightness and cuts, degrades each by each of `CHAINS`, and prints
PSNR, the gain and flicker of doing nothing, of FFmpeg's hqdn3d and nlmeans, and of the models:
frame by frame, or with a state if they have one. A filter has the strength that was best for the
chain on other clips, made of --tune's pictures; no model is told anything. Without --data the held-
out photographs of the package are used, of whose training larger copies of many were part: for a
look, not for a claim.

    python benchmarks/video.py MODEL ... --still [--data ...]

prints, clip by clip, the PSNR of what has stood still for the last eight frames and of all else.

    python benchmarks/video.py MODEL ... --pans 10 20 --alone [--data ...]

prints the first table for cameras that all pan by so many pixels a frame, and also what models with
a state make of a film when their state stays where it is while the camera moves.

    python benchmarks/video.py --strengths

finds the strengths of `evaluation.film_filters.STRENGTHS`, by which `evaluate` tells the filters
how strong the noise is.

    python benchmarks/video.py --cost

measures the processor's time for a clip of 8 frames of 96x96: to make it, and to degrade it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tf_deconv.data import motion, sources
from tf_deconv.data.clips import degrade_clip
from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import Task, find_task
from tf_deconv.evaluation import clips, film_filters
from tf_deconv.evaluation.config import EvaluateConfig
from tf_deconv.images import metrics
from tf_deconv.images.arrays import STILL_LEVELS
from tf_deconv.inference.located import locate
from tf_deconv.inference.streaming import StreamRestorer

CHAINS = (
    *("noise:10", "noise:20", "noise:30", "noise:50"),
    *("codec:h264-28", "codec:h264-33", "codec:h264-38"),
)
COSTLY = ("noise:25", "camera:100-6400", "codec:h264-30", *("codec:mpeg2-8", "codec:mjpeg-8"))
# Strengths that are tried: each about a third more than the one before.
GRIDS = {
    "hqdn3d": (0.5, 1, 2, 3, 4.5, 6, 8, 11, 15, 20, 27, 36, 50, 70, 100),
    "nlmeans": (1, 1.5, 2, 2.7, 3.5, 4.5, 6, 8, 10, 12, 15, 19, 24),
}
TUNING_CLIPS, TUNING_FRAMES, TUNING_SIDE_PX = 8, 6, 128
COST_CLIPS, COST_FRAMES, COST_SIDE_PX = 200, 8, 96
STILL_FRAMES = 8


def tuning_clips(data: str) -> list[np.ndarray]:
    """Returns clips to choose strengths on: of the bundled photographs those that train."""
    if data == "bundled":
        store = sources.load_source(data, TUNING_SIDE_PX, 0.1).training
    else:
        store, _, _ = sources.read_pictures(data)
    moving = motion.MovingPictures(store, (1.0, 2.0))
    return [
        moving.clip_of((7 * n) % len(store), (77, n), camera, TUNING_FRAMES, TUNING_SIDE_PX)
        for n, camera in zip(range(TUNING_CLIPS), itertools.cycle(motion.CAMERAS))
    ]


def best_strength(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Returns the strength of a filter that gives the most decibels on (degraded, clean) clips."""
    run = film_filters.find_filters()[0][name]
    scores: list[float] = []
    for strength in GRIDS[name]:
        found = [
            metrics.psnr_db(restored, target)
            for degraded, clean in pairs
            for restored, target in zip(run(degraded, float(strength)), clean)
        ]
        scores.append(float(np.mean(found)))
        if len(scores) > 3 and scores[-1] < scores[-2] < scores[-3] < max(scores):
            break
    return float(GRIDS[name][int(np.argmax(scores))])


def print_strengths(data: str) -> None:
    """Prints the best strength of each filter for each of `film_filters.STDDEVS`."""
    made = tuning_clips(data)
    for name in film_filters.find_filters()[0]:
        found = []
        for stddev in film_filters.STDDEVS:
            task = Task("", f"noise:{stddev:g}")
            found.append(
                best_strength(name, [degrade_clip(c, task, n) for n, c in enumerate(made)])
            )
            print(f"{name:8} noise:{stddev:<4g} {found[-1]:g}", flush=True)
        print(f"{name}: {tuple(found)}; evaluate has {film_filters.STRENGTHS[name]}")


def print_costs(data: str) -> None:
    """Prints the processor's milliseconds for a clip, on one thread of Python."""
    store = sources.load_source(data, COST_SIDE_PX, 0.1).training
    moving = motion.MovingPictures(store)
    size = f"{COST_FRAMES} frames of {COST_SIDE_PX}x{COST_SIDE_PX}"
    print(f"processor's ms for a clip of {size}, {data}")

    def timed(what: str, calls: Iterable) -> None:
        began, count = time.process_time(), sum(1 for _ in calls)
        print(f"{what:24} {1000 * (time.process_time() - began) / count:6.1f}", flush=True)

    numbers = range(COST_CLIPS)
    timed("all kinds of motion", (moving.clip((1, n), COST_FRAMES, COST_SIDE_PX) for n in numbers))
    timed("with 4 candidates", (moving.clip((1, n), COST_FRAMES, COST_SIDE_PX, 4) for n in numbers))
    for camera in motion.CAMERAS:
        made = (
            moving.clip_of(n % len(moving), (2, n), camera, COST_FRAMES, COST_SIDE_PX)
            for n in range(COST_CLIPS // 4)
        )
        timed(camera, made)
    clip = tf.constant(moving.clip((3,), COST_FRAMES, COST_SIDE_PX).astype(np.float32) / 255)
    for chain in COSTLY:
        task = Task("", chain)
        degrade = tf.function(
            lambda seed, task=task: operators.make_clip_pair(task, clip, seed)[0],
            input_signature=[tf.TensorSpec((2,), tf.int32)],
            autograph=False,
        )
        degrade(tf.constant((0, 1)))
        timed(chain, (degrade(tf.constant((n, 1))) for n in range(COST_CLIPS // 4)))


def held_out(data: str, fraction: float, folder: pathlib.Path) -> str:
    """Links the pictures that training on `data` holds out into an empty folder; returns it."""
    for name in sources.load_source(data, COST_SIDE_PX, fraction).validation.names:
        (folder / name.replace("/", "-")).symlink_to(pathlib.Path(data, name).resolve())
    return str(folder)


def print_tables(options: argparse.Namespace) -> None:
    """Prints what was asked for of models, on clips of --data."""
    with tempfile.TemporaryDirectory() as folder:
        if options.held_out:
            options.data = held_out(options.data, options.held_out, pathlib.Path(folder))
        config = EvaluateConfig(
            data=options.data, clips=options.clips, frames=options.frames, seed=options.seed
        )
        made, failures, notes = clips.open_clips(config, options.data)
        if failures:
            raise SystemExit("; ".join(failures))
        print(f"{len(made)} clips; {notes[-1]}")
        models = {name: clips.open_model(locate(name), config) for name in options.models}
        if options.alone:
            for name, model in list(models.items()):
                if isinstance(model, StreamRestorer):
                    models[f"{name} alone"] = StreamRestorer(model.artifact, follow=False)
        if options.still:
            still_table(options, made, models)
            return
        for speed_px in options.pans:
            print(f"\n{speed_px:g} pixels a frame")
            table(options, panned_clips(options, speed_px), models)
        if options.pans:
            return
        figures = table(options, made, models)
        if options.json:
            options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def panned_clips(options: argparse.Namespace, speed_px: float) -> list[clips.Clip]:
    """Returns clips whose camera pans at one speed, of the largest pictures of --data."""
    store, _, _ = sources.read_pictures(options.data)
    sides = np.minimum(store.heights, store.widths)
    largest = np.argsort(-sides, kind="stable")[: options.clips]
    moving = motion.MovingPictures(store, (1.0, 1.0), (speed_px, speed_px))
    read = moving.clip_of
    return [
        clips.Clip(
            f"pan: {moving.names[picture]}",
            number,
            functools.partial(
                read, picture, (options.seed, number), "pan", options.frames, clips.CLIP_SIDE_PX
            ),
        )
        for number, picture in enumerate(map(int, largest))
    ]


def still_table(options: argparse.Namespace, made: list, models: dict) -> None:
    """Prints PSNR where clips have stood still for `STILL_FRAMES`, and of all else."""
    for chain in options.chains:
        print(f"\n{chain}: PSNR dB of what stands still, and of all else")
        print(f"{'clip':32}{'still':>7}" + "".join(f"{name[-14:]:>16}" for name in models))
        for clip in made:
            task = find_task("denoise", chain)
            degraded, truth = degrade_clip(clip.read(), task, options.seed + clip.own_seed)
            moves = (np.abs(np.diff(truth, axis=0)) > STILL_LEVELS).any(-1)
            still = np.stack(
                [~moves[end - STILL_FRAMES : end].any(0) for end in range(STILL_FRAMES, len(truth))]
            )
            row = f"{clip.name[:30]:32}{100 * still.mean():6.0f}%"
            for model in models.values():
                restored = np.stack(
                    [np.clip(each, 0, 1) for each in clips.through(model, degraded)]
                )
                squares = np.square(restored - truth)[STILL_FRAMES:].mean(-1)
                parts = (squares[part].mean() if part.any() else np.nan for part in (still, ~still))
                row += "".join(f"{-10 * np.log10(part):8.2f}" for part in parts)
            print(row, flush=True)


def table(options: argparse.Namespace, made: list, models: dict) -> dict:
    """Prints a table for each chain; returns the figures."""
    filters, said = ({}, []) if options.no_filters else film_filters.find_filters()
    for note in said:
        print(note)
    tuning = tuning_clips(options.tune) if filters else []
    figures: dict = {}
    for chain in options.chains:
        task = find_task("denoise", chain)
        methods = {"nothing": lambda degraded, _: degraded}
        pairs = [degrade_clip(clip, task, 1000 + n) for n, clip in enumerate(tuning)]
        for name, run in filters.items():
            strength = best_strength(name, pairs)
            methods[f"{name} {strength:g}"] = lambda degraded, _, run=run, strength=strength: run(
                degraded, strength
            )
        for name, model in models.items():
            methods[name] = lambda degraded, _, model=model: clips.through(model, degraded)
        measured = [
            clips.measure(
                clip.name, clip.read(), task, options.seed + clip.own_seed, methods
            ).scores
            for clip in made
        ]
        figures[chain] = {name: clips.means(measured, name) for name in methods}
        print(f"\n{chain:24}{'PSNR dB':>9}{'gain':>8}{'SSIM':>9}{'flicker':>9}{'ms/frame':>10}")
        before = figures[chain]["nothing"]["psnr_db"]
        for name, mean in figures[chain].items():
            print(
                f"{name:24}{mean['psnr_db']:9.2f}{mean['psnr_db'] - before:+8.2f}"
                f"{mean['ssim']:9.4f}{mean['flicker']:9.2f}{1000 * mean['seconds_a_frame']:10.1f}",
                flush=True,
            )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--data", default="bundled", help="pictures to make clips of")
    parser.add_argument("--held-out", type=float, default=0.0, metavar="FRACTION")
    parser.add_argument("--tune", default="bundled", help="pictures to choose strengths on")
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chains", nargs="+", default=CHAINS, metavar="CHAIN")
    parser.add_argument("--no-filters", action="store_true", help="leave FFmpeg's out: much faster")
    parser.add_argument("--json", type=pathlib.Path, help="file that receives the figures")
    parser.add_argument("--still", action="store_true", help="PSNR of what stands still, no table")
    parser.add_argument("--pans", nargs="+", type=float, default=[], metavar="PX")
    parser.add_argument(
        "--alone", action="store_true", help="also models whose state stays in place"
    )
    parser.add_argument("--strengths", action="store_true")
    parser.add_argument("--cost", action="store_true")
    options = parser.parse_args()
    if options.still and (options.frames <= STILL_FRAMES or options.json):
        parser.error(f"--still takes more than {STILL_FRAMES} frames, and no --json")
    if options.pans and (options.still or options.json):
        parser.error("--pans takes neither --still nor --json")
    if options.strengths:
        print_strengths(options.tune)
    elif options.cost:
        print_costs(options.data)
    else:
        print_tables(options)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
