"""`restore`: picture files through a model, each to a file of the same name in another folder.

`restore` finds the pictures (`jobs`), opens the model (`artifacts`) and restores them in this
process (`in_turn`); or, with the engine `beam`, hands them to worker processes (`archive`), each of
which calls `restore_file`. Either way the same functions read, restore and write a picture.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

from tf_deconv.images import reading
from tf_deconv.images.arrays import printable
from tf_deconv.images.files import Job
from tf_deconv.images.value_range import parse_range
from tf_deconv.inference import shipped
from tf_deconv.inference.archive.driver import check_beam, restore_archive
from tf_deconv.inference.artifacts import open_restorer
from tf_deconv.inference.before_after import check_sheet, write_sheet
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.in_turn import restore_in_turn
from tf_deconv.inference.jobs import Plan, check_targets, folder_of, plan_jobs
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.picture_job import FileOptions, restore_file, steps_of
from tf_deconv.inference.restorer import Restorer
from tf_deconv.utils import files, options
from tf_deconv.utils.devices import core_count


@dataclasses.dataclass(frozen=True)
class RestoreResult:
    """What became of the pictures.

    Attributes:
      restored: Files that were written; none by a dry run.
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
    plan = plan_jobs(pictures, pathlib.Path(config.out), config.format)
    jobs = plan.jobs
    if not (config.skip_existing or config.overwrite):
        check_targets(jobs)
    sheet = None
    if config.sheet is not None:
        sheet = check_sheet(config.sheet, jobs, config.skip_existing or config.overwrite)
    waiting = [job for job in jobs if not (config.skip_existing and job.target.exists())]
    left = set(waiting)
    skipped = tuple(job.target for job in jobs if job not in left)
    if skipped:
        word, were = ("picture is", "was") if len(skipped) == 1 else ("pictures are", "were")
        were = "would be skipped" if config.dry_run else f"{were} skipped"
        report(f"{len(skipped)} {word} there already and {were}")
    if not waiting:
        _report_unread(plan, report)
        if sheet is not None and not config.dry_run:
            files.make_folder(sheet.parent)
            write_sheet(sheet, jobs, _file_options(config, located), report)
        return RestoreResult((), skipped, tuple(plan.unread))
    # For the engine `beam` too: what is wrong with the model is said before any worker starts.
    model = open_model(located, config, "cpu" if config.engine == "beam" else "auto")
    if not config.dry_run:
        for folder in (out, *([sheet.parent] if sheet else [])):
            files.make_folder(folder)
    notes = located.notes
    report(f"engine: {model.engine}")
    if config.model is None:
        report(f"model: {shipped.DEFAULT} (another one: tf-deconv restore MODEL PICTURE)")
        notes = shipped.shadowed([str(picture) for picture in pictures])
    elif config.dry_run:
        report(f"model: {located.asked}")
    if config.dry_run and config.strength != 1:
        report(f"strength: {config.strength:g}")
    for note in (*notes, *plan.notes):
        report(f"note: {note}")
    if config.dry_run:
        reasons = _tell_plan(waiting, config, report)
    elif config.engine == "beam":
        reasons = _restore_by_beam(config, located, waiting, report)
    else:
        reasons = _restore_here(config, model, waiting, report)
    _report_unread(plan, report)
    if sheet is not None and not config.dry_run:
        restored = [job for job in jobs if job.target not in reasons]
        name = pathlib.PurePath(located.asked).name
        # What was there already may be another model's.
        made_by = "" if skipped else f"{name}, strength {config.strength:g}"
        write_sheet(sheet, restored, model.options, report, made_by)
    return RestoreResult(
        () if config.dry_run else tuple(j.target for j in waiting if j.target not in reasons),
        skipped,
        tuple(
            f"{printable(str(job.source))}: {reasons[job.target]}"
            for job in waiting
            if job.target in reasons
        )
        + tuple(plan.unread),
    )


def _tell_plan(
    jobs: Sequence[Job], config: RestoreConfig, report: Callable[[str], None]
) -> dict[pathlib.Path, str]:
    """Tells what would be read and written; returns why some could not be, by `Job.target`."""
    reasons = {}
    for job in jobs:
        name, found = printable(str(job.source)), ""
        try:
            if isinstance(job.source, pathlib.Path):
                header = reading.read_header(job.source)
                pages = f", {header.count} pictures" if header.count > 1 else ""
                found = f" ({header.format}, {header.width}x{header.height}{pages})"
        except Exception as error:  # Libraries raise what they like, as when it is restored.
            reasons[job.target] = options.reason(error)
            report(f"{name}: FAILED: {reasons[job.target]}")
            continue
        replaced = ", which is replaced" if os.path.lexists(job.target) else ""
        report(f"{name}{found} -> {printable(str(job.target))}{replaced}")
    count = f"{len(jobs) - len(reasons)} of {len(jobs)} pictures"
    if len(jobs) == 1:
        count = "no picture" if reasons else "1 picture"
    there = f" and the sheet {config.sheet}" if config.sheet else ""
    report(f"dry run: {count}{there} would be written; nothing was")
    return reasons


def _report_unread(plan: Plan, report: Callable[[str], None]) -> None:
    """Names what lay among the pictures and was not read."""
    if plan.unread:
        word = "file was" if len(plan.unread) == 1 else "files were"
        report(f"{len(plan.unread)} {word} not read:")
        for line in plan.unread:
            report(f"  {line}")


def _file_options(config: RestoreConfig, located: LocatedModel) -> FileOptions:
    return FileOptions(
        config.max_pixels,
        parse_range(config.range),
        config.quality,
        located.known.get("levels"),
    )


def _restore_here(
    config: RestoreConfig, model: Model, jobs: Sequence[Job], report: Callable[[str], None]
) -> dict[pathlib.Path, str]:
    """Restores pictures in this process; returns why some failed, by `Job.target`."""
    steps = steps_of(model.restorer, model.options, model.task)
    return restore_in_turn(steps, jobs, report, config.verbose)


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
        notes, conversion = restore_file(model.restorer, job, model.options, task=model.task)
        return (*notes, conversion) if conversion else notes

    return restore_job


@dataclasses.dataclass(frozen=True)
class Model:
    """A model that is open.

    Attributes:
      restorer: Takes pictures through it.
      task: What it was trained for; None where that is not recorded.
      options: How picture files are read and written for it.
      engine: What runs it: engine, precision and threads.
    """

    restorer: Restorer
    task: str | None
    options: FileOptions
    engine: str


def open_model(located: LocatedModel, config: RestoreConfig, device: str = "auto") -> Model:
    """Opens a model as the options say.

    Args:
      located: The model.
      config: Checked options.
      device: "auto" or "cpu".
    Raises:
      UserError: if it cannot be opened, or does not fit the options.
    """
    restorer, engine = open_restorer(located, config, device)
    return Model(restorer, located.task, _file_options(config, located), engine)
