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
from tf_deconv.inference.config import RestoreConfig, parse_time
from tf_deconv.inference.film_sinks import FilmOptions
from tf_deconv.inference.films import film_model
from tf_deconv.inference.films_in_turn import look_at_films, restore_films, tell_films
from tf_deconv.inference.in_turn import restore_in_turn
from tf_deconv.inference.jobs import Plan, check_targets, folder_of, plan_jobs
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.picture_job import (
    FileOptions,
    choose_conversion,
    restore_file,
    steps_of,
)
from tf_deconv.inference.restorer import Restorer
from tf_deconv.utils import files, options
from tf_deconv.utils.devices import core_count
from tf_deconv.utils.options import UserError, refuse_options


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
    film_options = _film_options(config)
    out = folder_of(pathlib.Path(config.out))
    located = locate(config.model, config.trust)
    asked_for = [config.codec, config.crf, config.start, config.duration, config.frames]
    plan = plan_jobs(
        pictures,
        pathlib.Path(config.out),
        config.format,
        located.moves or any(each is not None for each in asked_for),
    )
    jobs, films = plan.jobs, plan.films
    all_films = films
    word = "file" if jobs and films else "film" if films else "picture"
    if films and config.engine == "beam":
        raise UserError(
            f"engine='beam': {str(films[0].source)!r} is a film, which Beam's workers do not"
            " restore; leave --engine out"
        )
    if not films:
        names = ("codec", "crf", "start", "duration", "resume")
        refuse_options(config, names, "pictures alone")
    if not jobs and config.frames is None:
        refuse_options(config, ("format", "quality", "range"), "films alone")
    if jobs and config.frames is not None:
        raise UserError(
            f"frames={config.frames!r}: {str(jobs[0].source)!r} is a picture; expected films alone"
        )
    if jobs and located.moves:
        raise UserError(
            f"{str(jobs[0].source)!r} is a picture, and {located.asked!r} restores films, a frame"
            " with what it remembers of those before: expected a film, or a model of pictures such"
            " as photo"
        )
    if not (config.skip_existing or config.overwrite):
        check_targets([*jobs, *(films if config.frames is None else [])], word)
    folders = _frame_folders(config, films)
    sheet = None
    if config.sheet is not None:
        sheet = check_sheet(config.sheet, [*jobs, *films], config.skip_existing or config.overwrite)
    waiting = [job for job in jobs if not (config.skip_existing and job.target.exists())]
    left = set(waiting)
    skipped = tuple(job.target for job in jobs if job not in left)
    if config.skip_existing and config.frames is None:
        skipped += tuple(job.target for job in films if job.target.exists())
        films = [job for job in films if not job.target.exists()]
    if skipped:
        word, were = (f"{word} is", "was") if len(skipped) == 1 else (f"{word}s are", "were")
        were = "would be skipped" if config.dry_run else f"{were} skipped"
        report(f"{len(skipped)} {word} there already and {were}")
    looked_at, faults = look_at_films(films, lambda job: film_options)
    films_found = [job for job in films if job.target in looked_at]
    plan.unread.extend(_faults_of(films, faults))
    if not waiting and not films_found and not skipped:
        raise _nothing_to_do(plan)
    if not waiting and not films_found:
        _report_unread(plan, report)
        if sheet is not None and not config.dry_run:
            files.make_folder(sheet.parent)
            write_sheet(
                sheet,
                jobs,
                _file_options(config, located),
                report,
                films=all_films,
                start_s=film_options.start_s or 0.0,
            )
        return RestoreResult((), skipped, tuple(plan.unread))
    # For the engine `beam` too: what is wrong with the model is said before any worker starts.
    model = open_model(located, config, "cpu" if config.engine == "beam" else "auto")
    film_options_of = _film_options_of(config, model, located, film_options, folders)
    scale = model.restorer.artifact.scale
    if films_found and (config.resume or scale > 1):
        # What only an open model tells: the size that is written, and whose the parts are.
        _, refused = look_at_films(films_found, film_options_of, scale)
        faults |= refused
        plan.unread.extend(_faults_of(films_found, refused))
        films_found = [job for job in films_found if job.target not in refused]
        if not waiting and not films_found and not skipped:
            raise _nothing_to_do(plan)
    if not config.dry_run:
        for folder in ([] if folders else [out]) + ([sheet.parent] if sheet else []):
            files.make_folder(folder)
    notes = located.notes
    report(f"engine: {model.engine}")
    if config.model is None:
        report(f"model: {shipped.DEFAULT} (another one: tf-deconv restore MODEL PICTURE)")
        if films_found and shipped.FILMS in shipped.available():
            report(
                f"note: {shipped.FILMS} is made for films: tf-deconv restore {shipped.FILMS} FILM"
            )
        notes = shipped.shadowed([str(picture) for picture in pictures])
    elif config.dry_run:
        report(f"model: {located.asked}")
    if config.dry_run and config.strength != 1:
        report(f"strength: {config.strength:g}")
    for note in (*notes, *plan.notes):
        report(f"note: {note}")
    damage: dict[pathlib.Path, str] = {}
    if config.dry_run:
        tell_films(films_found, looked_at, folders.get, report)
        reasons = _tell_plan(waiting, config, report, len(films_found))
    elif not waiting:
        reasons = {}
    elif config.engine == "beam":
        reasons = _restore_by_beam(config, located, waiting, report)
    else:
        reasons = _restore_here(config, model, waiting, report)
    if films_found and not config.dry_run:
        film_reasons, damage = _restore_films(model, films_found, film_options_of, report)
        reasons = {**reasons, **film_reasons}
    _report_unread(plan, report)
    if sheet is not None and not config.dry_run:
        restored = [job for job in jobs if job.target not in reasons]
        name = pathlib.PurePath(located.asked).name
        # What was there already may be another model's.
        made_by = "" if skipped else f"{name}, strength {config.strength:g}"
        films_restored = [job for job in all_films if job.target not in {**reasons, **faults}]
        start_s = film_options.start_s or 0.0
        write_sheet(sheet, restored, model.options, report, made_by, films_restored, start_s)
    return RestoreResult(
        ()
        if config.dry_run
        else tuple(
            folders.get(job) or job.target
            for job in (*waiting, *films_found)
            if job.target not in reasons
        ),
        skipped,
        tuple(
            f"{printable(str(job.source))}: {faults_of[job.target]}"
            for faults_of in (reasons, damage)
            for job in (*waiting, *films_found)
            if job.target in faults_of
        )
        + tuple(plan.unread),
    )


def _faults_of(films: Sequence[Job], faults: dict[pathlib.Path, str]) -> list[str]:
    return [
        f"{printable(str(job.source))}: {faults[job.target]}"
        for job in films
        if job.target in faults
    ]


def _nothing_to_do(plan: Plan) -> UserError:
    more = f" (and {len(plan.unread) - 1} more)" if len(plan.unread) > 1 else ""
    return UserError(f"{plan.unread[0]}{more}")


def _film_options(config: RestoreConfig) -> FilmOptions:
    """Returns how films are read and written; the folder of pictures is that of each film."""
    return FilmOptions(
        config.max_pixels,
        config.codec,
        config.crf,
        parse_time("start", config.start),
        parse_time("duration", config.duration),
        None if config.frames is None else pathlib.Path(config.frames),
        config.format,
        config.quality,
        config.resume,
        config.threads or 0,
    )


def _frame_folders(config: RestoreConfig, films: Sequence[Job]) -> dict[Job, pathlib.Path]:
    """Returns where the pictures of each film go, with --frames: of several each has a folder.

    Raises:
      UserError: if pictures are there already.
    """
    if config.frames is None:
        return {}
    folder = pathlib.Path(config.frames)
    found = dict.fromkeys(films, folder)
    if len(films) > 1:
        found = {job: folder / job.target.name for job in films}
    there = next((each for each in found.values() if each.exists()), None)
    if there is not None and not there.is_dir():
        raise UserError(f"frames={config.frames!r} is a file: expected a folder")
    for each in found.values():
        if each.is_dir() and not config.overwrite and any(each.iterdir()):
            raise UserError(
                f"frames={config.frames!r}: {str(each)!r} holds something already: choose another"
                " folder, or add --overwrite"
            )
    return found


def _film_options_of(
    config: RestoreConfig,
    model: Model,
    located: LocatedModel,
    options: FilmOptions,
    folders: dict[Job, pathlib.Path],
) -> Callable[[Job], FilmOptions]:
    """Returns how each film is read and written, by which model."""
    recipe = (
        ("model", [str(located.path), located.known.get("version")]),
        ("engine", model.engine),
        ("--strength", config.strength),
        ("--tile-size", config.tile_size),
        ("--self-ensemble", config.self_ensemble),
        ("--exact", config.exact),
    )

    def options_of(job: Job) -> FilmOptions:
        return dataclasses.replace(options, frames=folders.get(job), recipe=recipe)

    return options_of


def _restore_films(
    model: Model,
    films: Sequence[Job],
    options_of: Callable[[Job], FilmOptions],
    report: Callable[[str], None],
) -> tuple[dict[pathlib.Path, str], dict[pathlib.Path, str]]:
    """Restores films; returns why some failed, and what of others is damaged, by `Job.target`."""
    artifact = model.restorer.artifact
    _, conversion = choose_conversion(3, artifact, model.task)
    return restore_films(
        film_model(model.restorer, model.task),
        artifact.scale,
        films,
        options_of,
        report,
        None,
        artifact.channels_in == 4,
        conversion.replace("pictures", "frames", 1),
    )


def _tell_plan(
    jobs: Sequence[Job], config: RestoreConfig, report: Callable[[str], None], films: int = 0
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
    if films:
        word = "1 film" if films == 1 else f"{films} films"
        count = f"{count} and {word}" if jobs else word
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
