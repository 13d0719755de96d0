"""`restore`: picture files through a model, each to a file of the same name in another folder.

Here for every engine: what is restored and where it goes (`plan_jobs`), the model (`open_model`),
one picture (`restore_file`) and the lines that the user sees (`Lines`). `restore` is the engine
`local`; `archiving` is the engine `beam`.
"""

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
from tf_deconv.picture_io import Job
from tf_deconv.progress import Bar
from tf_deconv.tasks import TASKS

# What a file of names ends in, one path on a line.
LIST_SUFFIX = ".txt"
_EXPECTED = f"expected pictures, folders of them, or a {LIST_SUFFIX} file of their paths"


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
      pictures: Picture files, folders whose tree is kept, and lists (`plan_jobs`).
      report: Receives lines for the user.
    Returns:
      What was written, what was there already, and what failed and why.
    Raises:
      UserError: if nothing could be restored at all: no model, no picture, no place to write.
    """
    config = check_config(config)
    out = pathlib.Path(config.out)
    find_artifact(config.model)
    jobs = plan_jobs(pictures, out)
    waiting = [job for job in jobs if not (config.skip_existing and job.target.exists())]
    left = set(waiting)
    skipped = tuple(job.target for job in jobs if job not in left)
    if skipped:
        report(f"{len(skipped)} pictures are there already and were skipped")
    if not waiting:
        return RestoreResult((), skipped, ())
    model = open_model(config)
    files.make_folder(out)
    for note in shipped.notes(config.model):
        report(f"note: {note}")

    bar, lines, restored = Bar(), Lines(len(waiting), report), []
    for number, job in enumerate(waiting, start=1):
        started = time.perf_counter()
        try:
            show = functools.partial(bar.draw, lines.head(number, job))
            told = restore_file(model.restorer, job, config.max_pixels, show, model.task)
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            bar.clear()
            lines.failed(number, job, reason(error))
            continue
        bar.clear()
        restored.append(job.target)
        lines.restored(number, job, time.perf_counter() - started, *told)
    if lines.failures:
        report(f"{len(lines.failures)} of {len(waiting)} pictures could not be restored:")
        for failure in lines.failures:
            report(f"  {failure}")
    return RestoreResult(tuple(restored), skipped, tuple(lines.failures))


def check_config(config: RestoreConfig) -> RestoreConfig:
    """Checks the options of a restoration.

    Raises:
      UserError: with all faults in one line.
    """
    config = validate(config)
    if config.model is None:
        raise UserError(f"model=None: {shipped.EXPECTED}, or the name of a shipped model")
    given = [
        f"{name}={value!r}" for name in ("workers", "beam_args") if (value := getattr(config, name))
    ]
    if given and config.engine != "beam":
        raise UserError(f"{', '.join(given)}: expected --engine beam with it")
    return config


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that is open.

    Attributes:
      restorer: Takes pictures through it.
      task: What it was trained for; None where that is not recorded.
    """

    restorer: Restorer
    task: str | None


def open_model(config: RestoreConfig, device: str = "auto") -> Model:
    """Opens the model that the options name.

    Args:
      config: Checked options.
      device: "auto" or "cpu".
    Raises:
      UserError: if there is none, or it does not fit the options.
    """
    choose_device(device, "float32")
    kind, found = find_artifact(config.model)
    restorer = Restorer(open_artifact(found), config.tile_size, config.self_ensemble)
    task = describe(kind, found).get("task")
    return Model(restorer, task if isinstance(task, str) else None)


class Lines:
    """What the user sees of each picture.

    Attributes:
      failures: "picture: reason" of each one that could not be restored.
    """

    def __init__(self, total: int, report: Callable[[str], None]):
        self.failures: list[str] = []
        self._total, self._report, self._said = total, report, set()

    def head(self, number: int, job: Job) -> str:
        """Returns what a picture's line begins with."""
        return f"[{number}/{self._total}] {printable(str(job.source))}"

    def restored(
        self, number: int, job: Job, duration_s: float, notes: Sequence[str], conversion: str
    ) -> None:
        """Says that a picture was restored, and what `restore_file` told of it."""
        target = printable(str(job.target))
        self._report(f"{self.head(number, job)} -> {target}  {duration_s:.1f} s")
        for note in notes:
            self._report(f"  note: {note}")
        if conversion and conversion not in self._said:  # Once: it is true of every such picture.
            self._said.add(conversion)
            self._report(f"  note: {conversion}")

    def failed(self, number: int, job: Job, why: str) -> None:
        """Says that a picture could not be restored, and keeps why."""
        self.failures.append(f"{printable(str(job.source))}: {why}")
        self._report(f"{self.head(number, job)}: FAILED")


def plan_jobs(pictures: Sequence[str], out: pathlib.Path) -> list[Job]:
    """Finds the pictures and where each one goes.

    Args:
      pictures: Picture files; folders, whose tree is kept; and `.txt` files with a path on each
        line, from the list's folder on, below which the tree is kept too.
      out: The folder that receives the results.
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
        elif not path.exists():
            raise UserError(f"{str(path)!r} does not exist: {_EXPECTED}")
        elif path.suffix.lower() == LIST_SUFFIX:
            sources += _read_list(path)
        else:
            sources.append((path, pathlib.Path(path.name)))
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


def _read_list(path: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Reads a list: each picture, and its name below --out.

    A picture below the list's folder keeps its place there, so that a line more or less moves no
    other picture; one from elsewhere keeps its name alone. That a picture is missing is found out
    when its turn comes: it fails, and the others do not.
    """
    try:
        # As the system decodes names of files, which need not be UTF-8.
        lines = [line.rstrip("\r") for line in os.fsdecode(path.read_bytes()).split("\n")]
    except OSError as error:
        raise UserError(f"list {str(path)!r} cannot be read: {reason(error)}") from error
    if any("\0" in line for line in lines) or not any(line.strip() for line in lines):
        raise UserError(f"list {str(path)!r} names no picture: expected a path on each line")
    folder = pathlib.Path(os.path.abspath(path.parent))
    found = []
    for line in filter(str.strip, lines):
        picture = pathlib.Path(os.path.normpath(folder / line))
        inside = picture.is_relative_to(folder)
        found.append(
            (picture, picture.relative_to(folder) if inside else pathlib.Path(picture.name))
        )
    return found


def _output_name(relative: pathlib.Path, names: set[pathlib.Path]) -> pathlib.Path:
    """GIF becomes PNG; "x.gif" beside "x.png" becomes "x.gif.png"."""
    if relative.suffix.lower() != ".gif":
        return relative
    renamed = relative.with_suffix(".png")
    return relative.with_name(relative.name + ".png") if renamed in names else renamed


def _identity(path: pathlib.Path) -> tuple[int, int] | str:
    """Names a file whatever link leads to it; one that a list names may not exist."""
    try:
        status = path.stat()
    except OSError:
        return str(path)
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
