"""`evaluate` on films: PSNR, SSIM and flicker of each clip and frame, beside other methods.

Clips come from films and sequences of frames, or are made of pictures (`data.motion`). One after
the other is degraded as a whole, with noise that is new in each frame, and goes through every
method: nothing, FFmpeg's filters, another model frame by frame, the model itself.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tf_deconv import __version__
from tf_deconv.data import films, motion, sources
from tf_deconv.data.clips import check_task, degrade_clip
from tf_deconv.data.config import BUNDLED
from tf_deconv.degradations import baseline
from tf_deconv.degradations.tasks import Task
from tf_deconv.evaluation import film_filters
from tf_deconv.evaluation.config import EvaluateConfig
from tf_deconv.evaluation.flicker import Flicker
from tf_deconv.evaluation.report import EvaluateResult
from tf_deconv.images import arrays, metrics, sheets
from tf_deconv.inference.artifacts import open_artifact, open_cell
from tf_deconv.inference.films import film_model
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.restorer import Restorer
from tf_deconv.inference.streaming import StreamRestorer
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar

SCORES_FILE, FRAMES_FILE, SHEET_FILE = "evaluation.json", "frames.csv", "sheet.png"
# Side of the clips that are made of pictures, where the pictures are large enough.
CLIP_SIDE_PX = 192
# A made clip's original has at most so many pixels for each of the clip's.
_SHRINK = (1.0, 2.0)
# Clips on the sheet, frames of each, and side of what is shown of them.
_SHEET_CLIPS, _SHEET_FRAMES, _SHEET_SIDE_PX = 3, 3, 160
_NAME_WIDTH = 24

# Degraded frames (T, H, W, C) and truth (T, H', W', C') to restored frames, one by one.
Method = Callable[[np.ndarray, np.ndarray], Iterable[np.ndarray]]


def takes_films(config: EvaluateConfig) -> bool:
    """Returns whether films are measured: those of --data, or clips that are made of pictures."""
    if config.clips:
        return True
    data = config.data
    return data is not None and data != BUNDLED and films.holds_films(data)


def evaluate(
    config: EvaluateConfig,
    located: LocatedModel,
    name: str,
    task: Task,
    data: str,
    notes: list[str],
    check_fit: Callable[[Any, str, Task], None],
    report: Callable[[str], None],
) -> EvaluateResult:
    """Measures a model on clips.

    Args:
      config: Options that `check_evaluate_config` has passed.
      located: The model.
      name: The task's name.
      task: What happens to the clips.
      data: The source.
      notes: What there is to say about it.
      check_fit: Refuses a task that a model cannot take.
      report: Receives lines for the user.
    Returns:
      The scores of each clip and frame, and their means.
    Raises:
      UserError: if nothing could be measured.
    """
    check_task(name, task)
    source, failures, of_source = open_clips(config, data)
    model = open_model(located, config)
    check_fit(model.artifact, name, task)
    methods, told = _methods(config, name, task, model, check_fit)
    notes = [*notes, *of_source, *told]
    folder = files.make_folder(pathlib.Path(config.out))
    chain = f" ({task.degrade})" if task.degrade else ""
    report(f"model: {config.model}; task: {name}{chain}")
    report(f"data: {data}, {len(source)} clips of up to {config.frames} frames")
    for note in (*located.notes, *notes):
        report(f"note: {note}")

    measured, rows = [], []
    sheet = _Sheet()
    bar = Bar(sys.stderr)
    for number, clip in enumerate(source):
        head = f"[{number + 1}/{len(source)}] {clip.name}"
        try:
            seed = config.seed + clip.own_seed
            done = measure(clip.name, clip.read(), task, seed, methods, head, bar)
        except Exception as error:  # Runtimes raise what they like; the other clips go on.
            bar.clear()
            failures.append(f"{clip.name}: {reason(error)}")
            continue
        bar.clear()
        if not measured:
            for line in _head(list(methods)):
                report(line)
        report(_row(done.scores, list(methods)))
        measured.append(done.scores)
        rows += done.frames
        sheet.offer(done)
    if not measured:
        raise UserError(
            f"none of the {len(source)} clips of {data!r} could be measured: {failures[0]}"
        )
    means_of = {side: means(measured, side) for side in methods}
    for line in _summary(means_of):
        report(line)
    scores = {
        "model": config.model,
        "task": name,
        "degrade": task.degrade,
        "data": data,
        "seed": config.seed,
        "beside": config.beside,
        "frames": config.frames,
        "tf_deconv": __version__,
        "clips": measured,
        **means_of,
        "gain_db": means_of["output"]["gain_db"],
        "failures": sorted(failures),
    }
    files.write_json(folder / SCORES_FILE, scores)
    files.write_bytes(folder / FRAMES_FILE, _as_csv(rows))
    files.write_bytes(folder / SHEET_FILE, arrays.encode_png(sheet.draw()))
    report(f"written: {', '.join(str(folder / n) for n in (SCORES_FILE, FRAMES_FILE, SHEET_FILE))}")
    if failures:
        report(f"{len(failures)} clips could not be measured:")
        for failure in sorted(failures):
            report(f"  {failure}")
    return EvaluateResult(scores, folder, tuple(sorted(failures)))


# --- Clips and methods.


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip that is not read yet.

    Attributes:
      name: For people.
      own_seed: Added to the seed of its degradation: other clips beside it change nothing.
      read: Returns (T, H, W, 3) uint8.
    """

    name: str
    own_seed: int
    read: Callable[[], np.ndarray]


def open_clips(config: EvaluateConfig, data: str) -> tuple[list[Clip], list[str], list[str]]:
    """Returns the clips, "name: reason" of what cannot be used, and notes.

    Raises:
      UserError: if there is none.
    """
    if not config.clips:
        found = films.open_films(data, 2, 1, config.max_pixels)
        clips = [
            Clip(film.name, int.from_bytes(film.digest[:4], "big"), _reader(film, config.frames))
            for film in found.films
        ]
        return clips, list(found.skipped), list(found.notes)
    store, failures, notes = sources.read_pictures(
        data, max_pixels=config.max_pixels, value_range=config.range
    )
    side = min(CLIP_SIDE_PX, int(min(store.heights.min(), store.widths.min())))
    moving = motion.MovingPictures(store, _SHRINK)
    cameras = itertools.cycle(motion.CAMERAS)
    made = [
        _made(moving, number, camera, config, side)
        for number, camera in zip(range(config.clips), cameras)
    ]
    return made, list(failures), [*notes, f"clips of {side}x{side} pixels are made of the pictures"]


def _made(
    moving: motion.MovingPictures, number: int, camera: str, config: EvaluateConfig, side: int
) -> Clip:
    picture, key = number % len(moving), (config.seed, number)
    return Clip(
        f"{camera}: {moving.names[picture]}",
        number,
        lambda: moving.clip_of(picture, key, camera, config.frames, side),
    )


def _reader(film: films.FilmFile, frames: int) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        with contextlib.closing(film.read()) as decoded:
            return np.stack(list(itertools.islice(decoded, frames)))

    return read


def open_model(located: LocatedModel, config: EvaluateConfig) -> Any:
    """Opens a model: a `Restorer`, or a `StreamRestorer` of one with a state."""
    if located.moves:
        return StreamRestorer(open_cell(located), config.tile_size)
    return Restorer(open_artifact(located), config.tile_size, config.self_ensemble)


def through(model: Any, degraded: np.ndarray) -> Iterator[np.ndarray]:
    """Restores frames in their order.

    Args:
      model: A `Restorer`, which takes each frame by itself, or a `FilmModel`.
      degraded: (T, H, W, C) float32.
    Yields:
      (H * scale, W * scale, C') float, one for each frame.
    """
    if not hasattr(model, "begin"):
        yield from map(model.restore, degraded)
        return
    session = film_model(model).begin(*degraded.shape[1:3])
    for frame in degraded:
        restored = session.restore(frame)
        if restored is not None:
            yield restored
    yield from session.end()


def _methods(
    config: EvaluateConfig,
    name: str,
    task: Task,
    model: Any,
    check_fit: Callable[[Any, str, Task], None],
) -> tuple[dict[str, Method], list[str]]:
    """Returns what is measured, by name, and notes."""
    methods: dict[str, Method] = {
        "input": lambda degraded, _: (baseline.do_nothing(frame, task) for frame in degraded)
    }
    notes: list[str] = []
    if not config.no_classical and task.scale == 1 and not task.mask and not task.guesses_colours:
        found, notes = film_filters.find_filters()
        for filter_name, run in found.items():
            methods[filter_name] = _filter_method(filter_name, run)
        if found:
            notes.append(f"{' and '.join(found)} are told how strong the degradation is")
    if config.beside is not None:
        beside = locate(config.beside, config.trust)
        other = Restorer(open_artifact(beside), config.tile_size, config.self_ensemble)
        check_fit(other.artifact, name, task)
        methods["beside"] = lambda degraded, _: map(other.restore, degraded)
        notes.append(f"beside: {config.beside}, frame by frame")
    methods["output"] = lambda degraded, _: through(model, degraded)
    return methods, notes


def _filter_method(name: str, run: film_filters.Filter) -> Method:
    def denoise(degraded: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
        reference = truth
        if degraded.shape[-1] != truth.shape[-1]:
            reference = arrays.luminance(truth)
        stddev = float(np.sqrt(np.mean(np.square(degraded - reference, dtype=np.float64))))
        for frame in run(degraded, film_filters.strength_for(name, stddev)):
            yield metrics.match_channels(frame, truth.shape[-1])

    return denoise


# --- Measuring.


@dataclasses.dataclass(frozen=True)
class Measured:
    """A clip that was measured.

    Attributes:
      scores: Its name, size, and the scores of each method.
      frames: A row for each method and frame: clip, method, frame, PSNR, SSIM, flicker.
      shown: Of the truth and each method, frames and a slice through time, for the sheet.
    """

    scores: dict[str, Any]
    frames: list[tuple[Any, ...]]
    shown: dict[str, tuple[list[np.ndarray], np.ndarray]]


def measure(
    name: str,
    frames: np.ndarray,
    task: Task,
    seed: int,
    methods: dict[str, Method],
    head: str = "",
    bar: Bar | None = None,
) -> Measured:
    """Degrades a clip, takes it through every method, and scores each frame.

    Args:
      name: The clip's.
      frames: (T, H, W, 3) uint8, clean.
      task: What happens to it.
      seed: From 0 to 2^31 - 1.
      methods: What to measure, by name.
      head: For the progress.
      bar: Shows it, unless None.
    """
    degraded, truth = degrade_clip(frames, task, seed % 2**31)
    places = np.unique(np.linspace(0, len(truth) - 1, _SHEET_FRAMES).round().astype(int)).tolist()
    scores: dict[str, Any] = {
        "name": name,
        "size": f"{truth.shape[2]}x{truth.shape[1]}",
        "frames": len(truth),
    }
    rows: list[tuple[Any, ...]] = []
    shown = {"truth": _shown(truth, places, len(truth))}
    total = len(methods) * len(truth)
    for position, (side, method) in enumerate(methods.items()):
        flicker, psnr, ssim, flickers = Flicker(), [], [], []
        kept = []
        began, count = time.perf_counter(), 0
        spent_s = 0.0
        for restored in method(degraded, truth):
            spent_s += time.perf_counter() - began
            if count == len(truth):
                raise RuntimeError(f"{side} gave more than the {len(truth)} frames that went in")
            restored = np.clip(np.asarray(restored, np.float32), 0.0, 1.0)
            target = truth[count]
            psnr.append(metrics.psnr_db_or_exact(restored, target))
            ssim.append(metrics.ssim(restored, target))
            flickers.append(flicker.add(restored, target))
            rows.append((name, side, count, psnr[-1], ssim[-1], flickers[-1]))
            kept.append(_middle(restored) if count in places else _line(restored))
            count += 1
            if bar is not None:
                bar.draw(head, (position * len(truth) + count) / total)
            began = time.perf_counter()
        if count != len(truth):
            raise RuntimeError(f"{side} gave {count} frames for the {len(truth)} that went in")
        scores[side] = {
            "psnr_db": metrics.mean(psnr),
            "ssim": metrics.mean(ssim),
            "flicker": flicker.result(),
            "seconds_a_frame": spent_s / count,
            "psnr_db_of_frames": psnr,
            "ssim_of_frames": ssim,
            "flicker_of_frames": flickers,
        }
        slices = [_middle_line(each) if each.ndim == 3 else each for each in kept]
        shown[side] = [each for each in kept if each.ndim == 3], np.stack(slices)
    if {"input", "output"} <= set(methods):
        before, after = (scores[side]["psnr_db"] for side in ("input", "output"))
        scores["gain_db"] = 0.0 if before == after else after - before
    return Measured(scores, rows, shown)


def _middle(frame: np.ndarray) -> np.ndarray:
    """Returns the middle of a frame, as colour."""
    cut = arrays.middle(frame, (_SHEET_SIDE_PX,) * 2)
    return np.broadcast_to(np.nan_to_num(cut), (*cut.shape[:2], 3)).astype(np.float32)


def _middle_line(middle: np.ndarray) -> np.ndarray:
    return middle[middle.shape[0] // 2]


def _line(frame: np.ndarray) -> np.ndarray:
    """Returns the middle row (W, 3) of what the sheet shows of a frame."""
    return _middle_line(_middle(frame))


def _shown(film: np.ndarray, places: list[int], count: int) -> tuple[list[np.ndarray], np.ndarray]:
    middles = [_middle(film[place]) for place in places]
    return middles, np.stack([_line(film[number]) for number in range(count)])


def means(clips: list[dict[str, Any]], side: str) -> dict[str, float]:
    """Returns the mean scores of a method over clips that `measure` scored.

    Decibels of what is exact are left out, so the gain is the mean of the clips' own: a clip that
    came undamaged has a mean output, but no mean input.
    """
    names = ("psnr_db", "ssim", "flicker", "seconds_a_frame")
    scores = {name: metrics.mean(clip[side][name] for clip in clips) for name in names}
    pairs = [(clip["input"]["psnr_db"], clip[side]["psnr_db"]) for clip in clips]
    gains = [0.0 if before == after else after - before for before, after in pairs]
    return {**scores, "gain_db": metrics.mean(gains)}


# --- For people.


def _head(sides: list[str]) -> list[str]:
    words = "".join(f"{side:>8}" for side in sides)
    start = f"{'':{_NAME_WIDTH}} {'':>9}"
    return [
        f"{start} {'PSNR dB':>{len(words)}}{'':8} {'flicker, levels':>{len(words)}}",
        f"{'clip':{_NAME_WIDTH}} {'size':>9} {words}{'gain':>8} {words}",
    ]


def _row(scores: dict[str, Any], sides: list[str]) -> str:
    name = scores["name"]
    name = name if len(name) <= _NAME_WIDTH else "..." + name[-(_NAME_WIDTH - 3) :]
    psnr, flicker = (
        "".join(f"{_cell(scores[side][key]):>8}" for side in sides)
        for key in ("psnr_db", "flicker")
    )
    gain = f"{scores['gain_db']:+.2f}" if math.isfinite(scores["gain_db"]) else "-"
    return f"{name:{_NAME_WIDTH}} {scores['size']:>9} {psnr}{gain:>8} {flicker}"


def _cell(value: float) -> str:
    if value == math.inf:
        return "exact"
    return "-" if math.isnan(value) else f"{value:.2f}"


def _summary(means: dict[str, dict[str, float]]) -> list[str]:
    """Returns the table of the means, a row for each method."""
    lines = ["", f"{'mean':10}{'PSNR dB':>9}{'gain':>8}{'SSIM':>9}{'flicker':>9}{'ms/frame':>10}"]
    for side, mean in means.items():
        gain = mean["gain_db"]
        gain_text = f"{gain:+.2f}" if math.isfinite(gain) else "-"
        lines.append(
            f"{side:10}{_cell(mean['psnr_db']):>9}{gain_text:>8}{mean['ssim']:>9.4f}"
            f"{_cell(mean['flicker']):>9}{1000 * mean['seconds_a_frame']:>10.1f}"
        )
    return lines


def _as_csv(rows: list[tuple[Any, ...]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("clip", "method", "frame", "psnr_db", "ssim", "flicker"))
    for name, method, frame, *values in rows:
        texts = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
        writer.writerow((arrays.printable(name), method, frame, *texts))
    return stream.getvalue().encode()


class _Sheet:
    """Clips that gained most, least and in between: frames, and a slice through time."""

    def __init__(self):
        self._kept: list[tuple[float, int, Measured]] = []
        self._seen = 0

    def offer(self, done: Measured) -> None:
        """Keeps the best, the worst and one between."""
        gain = done.scores["gain_db"]
        self._seen += 1
        self._kept.append((-gain if math.isfinite(gain) else math.inf, self._seen, done))
        self._kept.sort(key=lambda each: each[:2])
        if len(self._kept) > _SHEET_CLIPS:
            del self._kept[1 if self._seen % 2 else 2]

    def draw(self) -> np.ndarray:
        """Lays them out: (H, W, 3) uint8."""
        rows, captions = [], []
        for _, _, done in self._kept:
            for name, (frames, slices) in done.shown.items():
                scores = done.scores.get(name)
                text = name
                if name == "truth":
                    text = f"{done.scores['name'][:30]}: truth"
                elif scores is not None:
                    text = f"{name} {_cell(scores['psnr_db'])} dB"
                flicker = f", flicker {_cell(scores['flicker'])}" if scores else ""
                captions.append([text, *[""] * (len(frames) - 1), f"x-t{flicker}"])
                rows.append([*frames, _tall(slices)])
        return sheets.contact_sheet(rows, captions)


def _tall(slices: np.ndarray) -> np.ndarray:
    """Repeats the lines of a slice through time, (T, W, 3), until it is as high as a frame."""
    times = max(1, _SHEET_SIDE_PX // len(slices))
    return slices[:_SHEET_SIDE_PX].repeat(times, axis=0)
