"""`evaluate`: a model's scores on every picture of a source, beside doing nothing and a classic.

source -> one picture at a time: degraded as the task says -> restored -> scored -> a row of the
table, and at the end the means, `evaluation.json` and `sheet.png` with the best and worst pictures.
`measure` takes any triples of name, degraded and clean picture.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tf_deconv import __version__
from tf_deconv.data import levels, patches, sources
from tf_deconv.data.config import BUNDLED
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations import baseline, operators
from tf_deconv.degradations.codecs import check_chain
from tf_deconv.degradations.tasks import RESTORATIONS, Task, find_task, parse_chain
from tf_deconv.evaluation import classical, clips
from tf_deconv.evaluation.config import EvaluateConfig, check_film_options
from tf_deconv.evaluation.report import EvaluateResult, Extremes, Table
from tf_deconv.images import arrays, metrics
from tf_deconv.inference.artifacts import open_artifact
from tf_deconv.inference.located import LocatedModel
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar

SCORES_FILE, SHEET_FILE = "evaluation.json", "sheet.png"

# Name, degraded (H, W, channels_in) and clean (H * scale, W * scale, channels_out), float32.
Triple = tuple[str, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Classical:
    """A denoiser that learned nothing.

    Attributes:
      name: For people.
      denoise: Degraded and clean (H, W, C) to denoised (H, W, C); it looks at the clean one only
        to measure how strong the noise is.
    """

    name: str
    denoise: Callable[[np.ndarray, np.ndarray], np.ndarray]


def evaluate(
    config: EvaluateConfig, located: LocatedModel, report: Callable[[str], None] = print
) -> EvaluateResult:
    """Measures a model.

    Args:
      config: Options that `check_evaluate_config` has passed.
      located: The model.
      report: Receives lines for the user.
    Returns:
      The scores of each picture and their means, and which pictures failed and why.
    Raises:
      UserError: if nothing could be measured: no model, a task that does not fit, no picture.
    """
    known = located.known
    name, task = choose_task(config, known)
    of_films = clips.takes_films(config)
    check_film_options(config, of_films)
    if of_films:
        choose_device("auto", "float32")
        source, notes = _choose_data(config, known)
        return clips.evaluate(config, located, name, task, source, notes, check_fit, report)
    source, notes = _choose_data(config, known)
    choose_device("auto", "float32")
    artifact = open_artifact(located)
    check_fit(artifact, name, task)
    restorer = Restorer(artifact, config.tile_size, config.self_ensemble)
    store, failures, read_notes = sources.read_pictures(
        source,
        targets=config.targets,
        max_pixels=config.max_pixels,
        value_range=config.range,
        known=levels.from_recorded(known.get("levels")),
    )
    denoiser = None if config.no_classical else choose_classical(task)
    folder = files.make_folder(pathlib.Path(config.out))

    chain = f" ({task.degrade})" if task.degrade else ""
    report(f"model: {config.model}; task: {name}{chain}")
    report(f"data: {source}, {len(store) + len(failures)} pictures")
    if denoiser is not None:
        report(f"classic: {denoiser.name}, which is told how strong the noise is")
    for note in (*located.notes, *notes, *read_notes):
        report(f"note: {note}")

    triples = degraded_pictures(store, task, config.seed, failures)
    measured, sheet = measure(
        restorer, task, triples, failures, len(store) + len(failures), denoiser, report
    )
    if not measured["pictures"]:
        raise UserError(
            f"none of the {len(failures)} pictures in {source!r} could be measured: {failures[0]}"
        )
    scores = {
        "model": config.model,
        "task": name,
        "degrade": task.degrade,
        "data": source,
        "targets": config.targets,
        "seed": config.seed,
        "self_ensemble": config.self_ensemble,
        "classical_method": None if denoiser is None else denoiser.name,
        "tf_deconv": __version__,
        **measured,
        # Which values of the files were 0 and 1, by kind of sample; null where all had 8 bits.
        "levels": levels.recorded(store.ranges),
        "failures": sorted(failures),
    }
    files.write_json(folder / SCORES_FILE, scores)
    files.write_bytes(folder / SHEET_FILE, arrays.encode_png(sheet))
    report(f"written: {folder / SCORES_FILE}, {folder / SHEET_FILE}")
    if failures:
        report(f"{len(failures)} pictures could not be measured:")
        for failure in sorted(failures):
            report(f"  {failure}")
    return EvaluateResult(scores, folder, tuple(sorted(failures)))


# --- What is measured.


def choose_task(config: EvaluateConfig, known: dict[str, Any]) -> tuple[str, Task]:
    """Decides what happens to the pictures.

    Args:
      config: The options; a task or a chain given there wins.
      known: What is recorded of the model.
    Returns:
      The task's name and the task.
    Raises:
      UserError: if it is neither given nor recorded, or the chain is none.
    """
    trained, degrade = known.get("task"), config.degrade
    if config.targets is not None:
        if config.task is not None and not RESTORATIONS[config.task].paired:
            raise UserError(
                f"targets={config.targets!r} with task {config.task!r}, which makes its inputs from"
                " its targets: expected task 'paired', or no --targets"
            )
        check_chain(degrade or "")
        return "paired", find_task("paired", degrade)
    if config.task is None and (not isinstance(trained, str) or trained not in RESTORATIONS):
        raise UserError(
            f"{config.model!r} does not tell what it was trained for: expected --task, one of"
            f" {', '.join(RESTORATIONS)}"
        )
    if config.task is None and degrade is None:
        degrade = _training(known).get("degrade")
    if degrade is not None:
        check_chain(str(degrade))
    name = config.task or trained
    if RESTORATIONS[name].paired:
        raise UserError(
            f"task {name!r} without targets: expected --targets, the folder of the pictures as they"
            " should be; or another --task"
        )
    return name, find_task(name, degrade)


def _choose_data(config: EvaluateConfig, known: dict[str, Any]) -> tuple[str, list[str]]:
    """Returns the source and notes about it."""
    trained_on = _training(known).get("data")
    if config.targets is not None and config.data in (None, BUNDLED):
        raise UserError(
            f"targets={config.targets!r} with data={config.data!r}: expected --data, the folder of"
            " the pictures as they are"
        )
    if config.data is None and trained_on != BUNDLED:
        raise UserError("data=None: expected a folder of pictures that training did not see")
    if trained_on != BUNDLED and config.data == BUNDLED:
        return BUNDLED, [
            "the shipped models were trained on larger copies of the bundled photographs: of one"
            " of them, and of what began with one, the scores flatter"
        ]
    if config.data in (None, BUNDLED):
        return BUNDLED, []
    notes = []
    if pathlib.Path(config.data).name == trained_on:
        notes.append(
            f"the model was trained on pictures of a source named {trained_on!r}: if it is this"
            " one, the scores flatter"
        )
    return config.data, notes


def _training(known: dict[str, Any]) -> dict[str, Any]:
    training = known.get("training")
    return training if isinstance(training, dict) else {}


def check_fit(artifact: Artifact, name: str, task: Task) -> None:
    """Refuses a task whose pictures the model cannot take or give.

    Raises:
      UserError: naming the tasks that fit.
    """
    have = _shape(artifact)
    if have == _shape(task):
        return
    fitting = [key for key, other in RESTORATIONS.items() if _shape(other) == have]
    remedy = f"expected --task {', '.join(fitting)}" if fitting else "no task fits this model"
    raise UserError(f"task={name!r} has {_words(_shape(task))}, the model {_words(have)}: {remedy}")


def _shape(of: Artifact | Task) -> tuple[int, int, int]:
    return of.channels_in, of.channels_out, of.scale


def _words(shape: tuple[int, int, int]) -> str:
    return "{} channels in, {} out and scale {}".format(*shape)


def degraded_pictures(
    store: PictureStore, task: Task, seed: int, failures: list[str]
) -> Iterator[Triple]:
    """Degrades one picture after the other.

    A picture's noise comes from the seed and its own content: other pictures beside it, or a file
    that cannot be read, do not change its scores.

    Args:
      store: Clean pictures.
      task: What happens to them.
      seed: At least 0.
      failures: Receives "name: reason" of pictures that are too small or too large.
    Yields:
      Name, degraded and clean picture.
    """
    for index, name in enumerate(store.names):
        own = (seed + int.from_bytes(store.digests[index][:4], "big")) % 2**31
        picture = np.ascontiguousarray(store.picture(index))
        if min(picture.shape[:2]) < task.scale:
            size = f"{picture.shape[1]}x{picture.shape[0]}"
            failures.append(f"{name}: {size} is smaller than the scale, {task.scale}")
            continue
        try:
            own_levels = None if store.levels is None else store.levels[index]
            degraded, clean = patches.degrade_picture(picture, task, own, own_levels)
        except Exception as error:  # TensorFlow has an error of its own for too little memory.
            failures.append(f"{name}: {reason(error)}")
            continue
        yield name, degraded, clean


def choose_classical(task: Task) -> Classical | None:
    """Returns the denoiser to beat where a task adds nothing but noise, or else None."""
    steps = parse_chain(task.degrade)
    if len(steps) != 1 or task.mask or task.scale > 1:
        return None
    low_light = functools.partial(
        classical.denoise_low_light, read_noise_stddev=operators.READ_NOISE_STDDEV
    )
    return {
        "noise": Classical("non-local means", classical.denoise_gaussian),
        "poisson": Classical("non-local means after an Anscombe transform", low_light),
    }.get(steps[0].operator)


# --- Measuring.


def measure(
    restorer: Restorer,
    task: Task,
    triples: Iterable[Triple],
    failures: list[str],
    count: int,
    denoiser: Classical | None,
    report: Callable[[str], None],
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Restores and scores pictures, one at a time.

    Args:
      restorer: The model.
      task: Says how a degraded picture looks without any network.
      triples: Name, degraded and clean picture.
      failures: Receives "name: reason" of each one that cannot be restored or scored.
      count: How many triples and failures there will be, for the progress.
      denoiser: Also measured, unless None.
      report: Receives the rows of a table.
    Returns:
      {"pictures": [{"name", "size", "input": scores, "output": scores, "gain_db"}], "input":
      means, "output": means, "gain_db": mean}, with "classical" beside "input" if there is a
      denoiser; and the contact sheet, (H, W, 3) uint8, None without any picture.
    """
    sides = ("input", *(["classical"] if denoiser else []), "output")
    table, extremes, pictures, bar = Table(sides), Extremes(), [], Bar(sys.stderr)
    for name, degraded, clean in triples:
        head = f"[{len(pictures) + len(failures) + 1}/{count}] {name}"
        try:
            shown = {"input": baseline.do_nothing(degraded, task)}
            if denoiser is not None:
                shown["classical"] = _denoise(denoiser, degraded, clean)
            shown["output"] = restorer.restore(degraded, functools.partial(bar.draw, head))
            scores = {side: _score(image, clean) for side, image in shown.items()}
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            bar.clear()
            failures.append(f"{name}: {reason(error)}")
            continue
        bar.clear()
        size = f"{clean.shape[1]}x{clean.shape[0]}"
        gain_db = _gain_db(scores)
        picture = {"name": name, "size": size, **scores, "gain_db": gain_db}
        if not pictures:
            for line in table.head():
                report(line)
        report(table.row(picture))
        pictures.append(picture)
        extremes.offer(picture, shown, clean)
    result: dict[str, Any] = {
        "pictures": pictures,
        **{side: _means(pictures, side) for side in sides},
    }
    result["gain_db"] = metrics.mean([picture["gain_db"] for picture in pictures])
    if not pictures:
        return result, None
    mean = {"name": f"mean of {len(pictures)}", "size": "", **result}
    report(table.row(mean))
    exact = result["output"]["exact_pictures"], result["input"]["exact_pictures"]
    if any(exact):
        report(
            f"exact: equal to the target, as {exact[1]} inputs and {exact[0]} outputs are; means of"
            " decibels leave them out"
        )
    return result, extremes.sheet(len(pictures))


def _score(image: np.ndarray, clean: np.ndarray) -> dict[str, Any]:
    """Scores a picture, and says whether it is "exact": decibels are then infinite."""
    scores = metrics.score(image, clean)
    return {**scores, "exact": scores["psnr_db"] == math.inf}


def _denoise(denoiser: Classical, degraded: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Denoises in the channels of the degraded picture; grey is repeated where colour is due."""
    reference = clean
    if degraded.shape[-1] == 1:
        reference = arrays.luminance(clean).astype(np.float32)
    return metrics.match_channels(denoiser.denoise(degraded, reference), clean.shape[-1])


def _gain_db(scores: dict[str, dict[str, Any]]) -> float:
    before, after = (scores[side]["psnr_db"] for side in ("input", "output"))
    return 0.0 if before == after else after - before  # Also of two infinities.


def _means(pictures: list[dict[str, Any]], side: str) -> dict[str, Any]:
    means: dict[str, Any] = {
        name: metrics.mean([picture[side][name] for picture in pictures]) for name in metrics.SCORES
    }
    return {**means, "exact_pictures": sum(picture[side]["exact"] for picture in pictures)}
