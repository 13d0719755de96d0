"""`restore`: picture files through a model, each to a file of the same name in another folder.

`restore` finds the pictures (`jobs`) and chooses the engine: `local` restores one after the
other in this process, `beam` hands them to worker processes (`archive`). Either way a picture is
restored by `restore_file`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from tf_deconv.data.shards.records import Place
from tf_deconv.images import arrays
from tf_deconv.images import files as image_files
from tf_deconv.images.arrays import printable
from tf_deconv.images.files import Job
from tf_deconv.inference import shipped
from tf_deconv.inference.archive.driver import check_beam, restore_archive
from tf_deconv.inference.artifacts import keeps_grey, open_artifact
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.jobs import check_targets, folder_of, plan_jobs
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device, core_count
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar


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
      config: Options that `check_restore_config` returned.
      pictures: Picture files, folders whose tree is kept, lists and shards (`plan_jobs`).
      report: Receives lines for the user; by the engine `beam` from another thread too.
    Returns:
      What was written, what was there already, and what failed and why.
    Raises:
      UserError: if nothing could be restored at all: no model, no picture, no place to write, no
        Apache Beam for the engine `beam`; or if Beam stopped half-way.
    """
    if config.engine == "beam":
        check_beam(config.beam_args)
    out = folder_of(pathlib.Path(config.out))
    located = locate(config.model, config.trust)
    jobs = plan_jobs(pictures, pathlib.Path(config.out))
    if not (config.skip_existing or config.overwrite):
        check_targets(jobs)
    waiting = [job for job in jobs if not (config.skip_existing and job.target.exists())]
    left = set(waiting)
    skipped = tuple(job.target for job in jobs if job not in left)
    if skipped:
        report(f"{len(skipped)} pictures are there already and were skipped")
    if not waiting:
        return RestoreResult((), skipped, ())
    # For the engine `beam` too: what is wrong with the model is said before any worker starts.
    model = open_model(located, config, "cpu" if config.engine == "beam" else "auto")
    files.make_folder(out)
    notes = located.notes
    if config.model is None:
        report(f"model: {shipped.DEFAULT} (name another one first to choose)")
        notes = shipped.shadowed([str(picture) for picture in pictures])
    for note in notes:
        report(f"note: {note}")
    if config.engine == "beam":
        reasons = _restore_by_beam(config, located, waiting, report)
    else:
        reasons = _restore_here(config, model, waiting, report)
    return RestoreResult(
        tuple(job.target for job in waiting if job.target not in reasons),
        skipped,
        tuple(
            f"{printable(str(job.source))}: {reasons[job.target]}"
            for job in waiting
            if job.target in reasons
        ),
    )


def _restore_here(
    config: RestoreConfig, model: Model, jobs: Sequence[Job], report: Callable[[str], None]
) -> dict[pathlib.Path, str]:
    """Restores one picture after the other; returns why some failed, by `Job.target`."""
    bar, lines, reasons = Bar(), Lines(len(jobs), report), {}
    for number, job in enumerate(jobs, start=1):
        started = time.perf_counter()
        try:
            show = functools.partial(bar.draw, lines.head(number, job))
            told = restore_file(model.restorer, job, config.max_pixels, show, model.task)
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            bar.clear()
            if files.no_space(error, folder_of(pathlib.Path(config.out))):
                raise UserError(
                    f"{str(job.target)!r} cannot be written: {reason(error)}; {number - 1} of"
                    f" {len(jobs)} pictures are done; make room and go on with --skip-existing"
                ) from error
            reasons[job.target] = reason(error)
            lines.failed(number, job)
            continue
        bar.clear()
        lines.restored(number, job, time.perf_counter() - started, *told)
    if reasons:
        report(f"{len(reasons)} of {len(jobs)} pictures could not be restored:")
        for job in jobs:
            if job.target in reasons:
                report(f"  {printable(str(job.source))}: {reasons[job.target]}")
    return reasons


def _restore_by_beam(
    config: RestoreConfig,
    located: LocatedModel,
    jobs: Sequence[Job],
    report: Callable[[str], None],
) -> dict[pathlib.Path, str]:
    """Restores by Beam's workers; returns why some pictures failed, by `Job.target`."""
    if not located.is_name:
        config = dataclasses.replace(config, model=os.path.abspath(located.asked))
    return restore_archive(
        functools.partial(open_for_worker, config),
        jobs,
        folder_of(pathlib.Path(config.out)),
        config.workers or core_count(),
        config.beam_args,
        report,
    )


def open_for_worker(config: RestoreConfig) -> Callable[[Job], tuple[str, ...]]:
    """Opens the model in a worker process.

    Args:
      config: All options; its model is a name, or a path that every worker reaches.
    Returns:
      What restores a picture, and returns what there is to say of it, one line each.
    Raises:
      UserError: if there is no such model here.
    """
    model = open_model(locate(config.model, config.trust), config)

    def restore_job(job: Job) -> tuple[str, ...]:
        notes, conversion = restore_file(model.restorer, job, config.max_pixels, task=model.task)
        return (*notes, conversion) if conversion else notes

    return restore_job


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that is open.

    Attributes:
      restorer: Takes pictures through it.
      task: What it was trained for; None where that is not recorded.
    """

    restorer: Restorer
    task: str | None


def open_model(located: LocatedModel, config: RestoreConfig, device: str = "auto") -> Model:
    """Opens a model as the options say.

    Args:
      located: The model.
      config: Checked options.
      device: "auto" or "cpu".
    Raises:
      UserError: if it cannot be opened, or does not fit the options.
    """
    choose_device(device, "float32")
    restorer = Restorer(
        open_artifact(located), config.tile_size, config.self_ensemble, config.strength
    )
    return Model(restorer, located.task)


class Lines:
    """What the user sees of each picture."""

    def __init__(self, total: int, report: Callable[[str], None]):
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

    def failed(self, number: int, job: Job) -> None:
        """Says that a picture could not be restored."""
        self._report(f"{self.head(number, job)}: FAILED")


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
    with _file_of(job.source) as path:
        picture = image_files.read_picture(path, max_pixels)
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
    kind = job.format or picture.format
    result = dataclasses.replace(picture, pixels=pixels, alpha=alpha, format=kind)
    return picture.notes + image_files.write_picture(result, job.target), conversion


@contextlib.contextmanager
def _file_of(source: pathlib.Path | Place) -> Iterator[pathlib.Path]:
    """Yields the picture's file; one in a shard becomes one, so that all are read alike."""
    if not isinstance(source, Place):
        if what := files.special(source):
            raise ValueError(f"is {what}: expected a picture file")
        yield source
        return
    with tempfile.NamedTemporaryFile(suffix=source.suffix) as file:
        file.write(source.read())
        file.flush()
        yield pathlib.Path(file.name)


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
        as_grey = keeps_grey(task) or artifact.channels_out == 1
        written = "grey again" if as_grey else "in colour"
        return as_grey, f"grey pictures: repeated in three channels, and written {written}"
    return False, ""


def _enlarge(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges (H, W, 1) uint8 or uint16 by bicubic interpolation."""
    size = (alpha.shape[1] * scale, alpha.shape[0] * scale)
    plane = Image.fromarray(arrays.as_unit(alpha[..., 0]))
    enlarged = np.asarray(plane.resize(size, Image.Resampling.BICUBIC))
    return arrays.as_pixels(enlarged, alpha.dtype)[..., np.newaxis]
