"""Films one after the other, and what the user sees of them: a bar, or a line now and then."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from tf_deconv.images.arrays import printable
from tf_deconv.images.files import Job
from tf_deconv.inference.film_job import FilmTold, look_at, restore_film
from tf_deconv.inference.film_sinks import FilmOptions
from tf_deconv.inference.films import FilmModel
from tf_deconv.inference.in_turn import REPORT_S
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar, duration_text
from tf_deconv.video.reading import require_av
from tf_deconv.video.segments import folder_of

Shown = Callable[[Job, int, np.ndarray, np.ndarray], None]


def look_at_films(
    jobs: Sequence[Job], options: Callable[[Job], FilmOptions], scale: int | None = None
) -> tuple[dict[pathlib.Path, str], dict[pathlib.Path, str]]:
    """Looks at films before any is restored.

    Args:
      jobs: The films.
      options: How each is read and written.
      scale: Output pixels per input pixel along each axis; None: no model is open yet.
    Returns:
      What each one is; and why others cannot be restored; by `Job.target`.
    """
    found, faults = {}, {}
    for job in jobs:
        try:
            found[job.target] = look_at(job, options(job), scale)
        except UserError as error:
            faults[job.target] = error.message
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            faults[job.target] = reason(error)
    return found, faults


def restore_films(
    model: FilmModel,
    scale: int,
    jobs: Sequence[Job],
    options: Callable[[Job], FilmOptions],
    report: Callable[[str], None],
    shown: Shown | None = None,
    fills: bool = False,
    conversion: str = "",
) -> tuple[dict[pathlib.Path, str], dict[pathlib.Path, str]]:
    """Restores films.

    Args:
      model: What restores frames.
      scale: Output pixels per input pixel along each axis.
      jobs: The films.
      options: How each is read and written.
      report: Receives lines for the user.
      shown: Receives a film, the number of a frame, and it before and after.
      fills: Whether the model takes transparency as what is missing.
      conversion: What happens to colours, for a note; "" where nothing does.
    Returns:
      Why some could not be restored at all; and what of others could not; by `Job.target`.
    Raises:
      UserError: if the disk is full.
    """
    reasons: dict[pathlib.Path, str] = {}
    damage: dict[pathlib.Path, str] = {}
    for number, job in enumerate(jobs, 1):
        head = f"[{number}/{len(jobs)}] {printable(str(job.source))}"
        given = options(job)
        line = _Line(head, report)
        target = given.frames if given.frames is not None else job.target
        see = None
        if shown is not None:

            def see(place: int, before: np.ndarray, after: np.ndarray, job: Job = job) -> None:
                shown(job, place, before, after)

        try:
            told = restore_film(model, scale, job, given, line.draw, see, fills)
        except Exception as error:  # Runtimes and libraries raise what they like.
            line.clear()
            if files.no_space(error, job.target.parent):
                kept = ""
                if given.resume:
                    kept = "; what is done is kept, and the same command goes on"
                raise UserError(
                    f"{str(target)!r} cannot be written: {reason(error)}; make room and start"
                    f" again{kept}"
                ) from error
            reasons[job.target] = _words_of(error)
            report(f"{head}: FAILED: {reasons[job.target]}")
            continue
        except BaseException:
            line.clear()
            if given.resume and folder_of(job.target).exists():
                report(
                    f"stopped: what is done of it is kept in {str(folder_of(job.target))!r}, and"
                    " the same command goes on"
                )
            raise
        line.clear()
        report(f"{head} -> {printable(str(target))}  {_rate(told, line.seconds())}")
        notes = [*told.notes, *filter(None, [conversion])]
        for note in notes:
            report(f"note: {note}" if len(jobs) == 1 else f"note: {job.source.name}: {note}")
        if told.damage:
            damage[job.target] = f"{told.damage}; what could be decoded is restored"
            report(f"{head}: DAMAGED: {damage[job.target]}")
    return reasons, damage


def _words_of(error: Exception) -> str:
    if isinstance(error, UserError):
        return error.message
    said = getattr(error, "strerror", None)
    if said and isinstance(error, require_av().FFmpegError):  # Its file is one on the way.
        return f"cannot be written: {said}"
    return reason(error)


def tell_films(
    jobs: Sequence[Job],
    found: dict[pathlib.Path, str],
    frames: Callable[[Job], pathlib.Path | None],
    report: Callable[[str], None],
) -> None:
    """Tells what would be read and written."""
    for job in jobs:
        target = frames(job) or job.target
        replaced = ", which is replaced" if os.path.lexists(target) else ""
        report(
            f"{printable(str(job.source))} ({found[job.target]}) -> {printable(str(target))}"
            f"{replaced}"
        )


def _rate(told: FilmTold, seconds: float) -> str:
    word = "frame" if told.frames == 1 else "frames"
    before = f" and {told.before} from before" if told.before else ""
    return (
        f"{told.frames} {word}{before}, {told.frames / max(seconds, 1e-9):.3g} frames/s,"
        f" {seconds:.1f} s"
    )


class _Line:
    """How far one film is: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, head: str, report: Callable[[str], None]):
        self._head, self._report, self._bar = head, report, Bar()
        self._started = self._said_s = time.perf_counter()
        self._before: int | None = None

    def draw(self, done: int, total: int | None) -> None:
        """Shows that so many frames of all are done; None: it is not known how many there are."""
        now = time.perf_counter()
        if self._before is None:
            self._before = done - 1  # Frames of a run that was stopped took no time now.
        rate = (done - self._before) / max(now - self._started, 1e-9)
        of_all = f"{done} of {total}" if total is not None and done <= total else f"{done}"
        left = ""
        if total is not None and done <= total:
            left = f"{duration_text((total - done) / rate)} left"
        if self._bar.shown:
            share = min(1.0, done / total) if total else 0.0
            self._bar.draw(f"{self._head} {of_all}, {rate:.3g} frames/s", share, left)
        elif now - self._said_s >= REPORT_S:
            self._said_s = now
            self._report(f"{self._head}: {of_all} frames, {rate:.3g} frames/s, {left}".rstrip(", "))

    def clear(self) -> None:
        """Takes the bar off the terminal."""
        self._bar.clear()

    def seconds(self) -> float:
        """Returns how long it took."""
        return time.perf_counter() - self._started
