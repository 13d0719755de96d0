"""`restore`: picture files through a model, each to a file of the same name in another folder."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tf_deconv import files, images, picture_io, shipped
from tf_deconv.artifacts import describe, find_artifact, open_artifact
from tf_deconv.config import RestoreConfig
from tf_deconv.devices import choose_device
from tf_deconv.inference import Artifact, Restorer
from tf_deconv.options import UserError, reason, validate
from tf_deconv.picture_files import printable
from tf_deconv.progress import Bar
from tf_deconv.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture: where it is, and where the restored one goes."""

    source: pathlib.Path
    target: pathlib.Path


@dataclasses.dataclass(frozen=True)
class RestoreResult:
    """What became of the pictures.

    Attributes:
      restored: Files that were written.
      skipped: Files that existed already.
      failures: "picture: reason" of each one that could not be restored.
    """

    restored: tuple[pathlib.Path, ...]
    skipped: tuple[pathlib.Path, ...]
    failures: tuple[str, ...]


def restore(
    config: RestoreConfig, pictures: Sequence[str], report: Callable[[str], None] = print
) -> RestoreResult:
    """Restores pictures.

    Args:
      config: All options.
      pictures: Picture files, and folders whose tree is kept.
      report: Receives lines for the user.
    Returns:
      What was written, what was there already, and what failed and why.
    Raises:
      UserError: if nothing could be restored at all: no model, no picture, no place to write.
    """
    config = validate(config)
    if config.model is None:
        raise UserError(f"model=None: {shipped.EXPECTED}, or the name of a shipped model")
    out = pathlib.Path(config.out)
    kind, found = find_artifact(config.model)
    jobs = plan_jobs(pictures, out)
    waiting = [job for job in jobs if not (config.skip_existing and job.target.exists())]
    left = set(waiting)
    skipped = tuple(job.target for job in jobs if job not in left)
    if skipped:
        report(f"{len(skipped)} pictures are there already and were skipped")
    if not waiting:
        return RestoreResult((), skipped, ())
    choose_device("auto", "float32")
    restorer = Restorer(open_artifact(found), config.tile_size, config.self_ensemble)
    task = describe(kind, found).get("task")
    task = task if isinstance(task, str) else None
    files.make_folder(out)
    for note in shipped.notes(config.model):
        report(f"note: {note}")

    bar, restored, failures, said = Bar(), [], [], set()
    for number, job in enumerate(waiting, start=1):
        name, started = printable(str(job.source)), time.perf_counter()
        head = f"[{number}/{len(waiting)}] {name}"
        try:
            show = functools.partial(bar.draw, head)
            notes, conversion = restore_file(restorer, job, config.max_pixels, show, task)
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            bar.clear()
            failures.append(f"{name}: {reason(error)}")
            report(f"{head}: FAILED")
            continue
        bar.clear()
        restored.append(job.target)
        report(f"{head} -> {printable(str(job.target))}  {time.perf_counter() - started:.1f} s")
        for note in notes:
            report(f"  note: {note}")
        if conversion and conversion not in said:  # Once: it is true of every such picture.
            said.add(conversion)
            report(f"  note: {conversion}")
    if failures:
        report(f"{len(failures)} of {len(waiting)} pictures could not be restored:")
        for failure in failures:
            report(f"  {failure}")
    return RestoreResult(tuple(restored), skipped, tuple(failures))


def plan_jobs(pictures: Sequence[str], out: pathlib.Path) -> list[Job]:
    """Finds the pictures and where each one goes.

    Raises:
      UserError: if a path does not exist, a folder holds no picture, two pictures would go to one
        file, or one would be written over a picture that is read.
    """
    sources: list[tuple[pathlib.Path, pathlib.Path]] = []
    for path in map(pathlib.Path, pictures):
        if path.is_dir():
            # Restored pictures inside the folder are no input of a second run.
            found = [
                (file, file.relative_to(path))
                for file in images.list_pictures(path)
                if not _is_below(file, out) or _is_below(path, out)
            ]
            if not found:
                raise UserError(f"folder {str(path)!r} holds no picture outside --out {str(out)!r}")
            sources += found
        elif path.exists():
            sources.append((path, pathlib.Path(path.name)))
        else:
            raise UserError(f"{str(path)!r} does not exist: expected pictures, or folders of them")
    names = {relative for _, relative in sources}
    inputs = {_identity(path) for path, _ in sources}
    jobs: dict[pathlib.Path, Job] = {}
    for path, relative in sources:
        target = out / _output_name(relative, names)
        if target in jobs and _identity(jobs[target].source) != _identity(path):
            raise UserError(
                f"{str(jobs[target].source)!r} and {str(path)!r} would both be written to"
                f" {str(target)!r}: restore them one after the other, each to its own --out"
            )
        if target.exists() and _identity(target) in inputs:
            raise UserError(
                f"{str(path)!r} would be written over {str(target)!r}, which is an input: choose"
                " another --out"
            )
        jobs[target] = Job(path, target)
    return list(jobs.values())


def _output_name(relative: pathlib.Path, names: set[pathlib.Path]) -> pathlib.Path:
    """GIF becomes PNG; "x.gif" beside "x.png" becomes "x.gif.png"."""
    if relative.suffix.lower() != ".gif":
        return relative
    renamed = relative.with_suffix(".png")
    return relative.with_name(relative.name + ".png") if renamed in names else renamed


def _identity(path: pathlib.Path) -> tuple[int, int]:
    """Names a file whatever link leads to it."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_below(path: pathlib.Path, folder: pathlib.Path) -> bool:
    return pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def restore_file(
    restorer: Restorer,
    job: Job,
    max_pixels: int,
    progress: Callable[[float], None] | None = None,
    task: str | None = None,
) -> tuple[tuple[str, ...], str]:
    """Restores one file.

    Args:
      restorer: The model.
      job: From where to where; folders on the way are made.
      max_pixels: Larger pictures are refused.
      progress: Receives the part that is done, in [0, 1].
      task: What the model was trained for, where that is recorded.
    Returns:
      What could not be kept, one line each; and what happens to such pictures where one is grey
      and the model colour, or the other way round, else "".
    Raises:
      ValueError, OSError, MemoryError, UserError: if it cannot be read, restored or written.
    """
    picture = picture_io.read_picture(job.source, max_pixels)
    pixels, alpha, scale = picture.pixels, picture.alpha, restorer.artifact.scale
    height, width = pixels.shape[:2]
    as_grey, conversion = choose_conversion(pixels.shape[-1], restorer.artifact, task)
    if height * width * scale * scale > max_pixels:
        raise ValueError(
            f"{width}x{height} pixels become {width * scale}x{height * scale}: more than"
            f" --max-pixels {max_pixels}"
        )
    if restorer.artifact.channels_in == 4 and alpha is not None:
        if pixels.shape[-1] == 1:
            pixels = np.broadcast_to(pixels, (height, width, 3))
        pixels, alpha = np.concatenate([pixels, alpha], axis=-1), None
    # The decoded picture is let go before the result is encoded.
    picture = dataclasses.replace(picture, pixels=np.empty((0, 0, 3), np.uint8), alpha=None)
    pixels = restorer.restore(pixels, progress, as_grey)
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    if alpha is not None and scale > 1:
        alpha = _enlarge(alpha, scale)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    result = dataclasses.replace(picture, pixels=pixels, alpha=alpha)
    return picture.notes + picture_io.write_picture(result, job.target), conversion


def choose_conversion(channels: int, artifact: Artifact, task: str | None) -> tuple[bool, str]:
    """Decides what happens where a grey picture meets a colour model, or the other way round.

    Args:
      channels: Of the picture without transparency, 1 or 3.
      artifact: The model.
      task: What it was trained for; None where that is not known.
    Returns:
      Whether the result is written as grey though the model gives colour, and what is said.
    """
    if channels == 3 and artifact.channels_in == 1:
        if artifact.channels_out == 3:
            return False, "colour pictures: the model sees grey alone, and makes its own colours"
        twin = shipped.MODELS[task].in_colour if task in shipped.MODELS else None
        hint = f"; {twin} keeps colours" if twin else ""
        return False, f"colour pictures: the model takes and gives grey alone{hint}"
    if channels == 3 and artifact.channels_out == 1:
        return False, "colour pictures: the model gives grey alone"
    if channels == 1 and artifact.channels_in > 1:
        # Pairs may have taught it to colour; what takes damage away leaves grey grey.
        known = task in TASKS and not TASKS[task].paired
        as_grey = known or artifact.channels_out == 1
        written = "grey again" if as_grey else "in colour"
        return as_grey, f"grey pictures: repeated in three channels, and written {written}"
    return False, ""


def _enlarge(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges (H, W, 1) uint8 or uint16 by bicubic interpolation."""
    size = (alpha.shape[1] * scale, alpha.shape[0] * scale)
    plane = Image.fromarray(images.as_unit(alpha[..., 0]))
    enlarged = np.asarray(plane.resize(size, Image.Resampling.BICUBIC))
    return images.as_pixels(enlarged, alpha.dtype)[..., np.newaxis]
