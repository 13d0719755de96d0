"""Pictures one after the other: while one is restored, the next is read and the last is written.

Three threads, and no more pictures between them than memory is given for (`_Room`): a reader, the
calling thread, which restores, and a writer. What the user sees is said in the calling thread. A
signal that ends it ends the other two after the file that they are at; files are whole or absent.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import pathlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tf_deconv.images.arrays import printable
from tf_deconv.images.files import Job
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar, duration_text

# So many pixels may be read, restored or waiting to be written; one picture always may.
_ROOM_PX = 40_000_000
# How often a file that takes the output hears how far it is.
REPORT_S = 10.0


@dataclasses.dataclass(frozen=True)
class Told:
    """What there is to say of a picture that was written.

    Attributes:
      pixels: How many it had before it was restored.
      notes: What could not be kept, one line each.
      conversion: What happens to all such pictures, or "".
      tiles: How it was cut.
    """

    pixels: int
    notes: tuple[str, ...]
    conversion: str
    tiles: str = ""


@dataclasses.dataclass(frozen=True)
class Steps:
    """What is done with one picture; each may raise whatever it likes.

    Attributes:
      measure: Job to the pixels of the picture and its result, from its header; 0 where unknown.
      read: Job to what is read.
      restore: What was read, and a function that receives the part that is done; to what is to be
        written.
      write: What is to be written, to what there is to say of it.
    """

    measure: Callable[[Job], int]
    read: Callable[[Job], Any]
    restore: Callable[[Any, Callable[[float], None]], Any]
    write: Callable[[Any], Told]


def restore_in_turn(
    steps: Steps, jobs: Sequence[Job], report: Callable[[str], None], verbose: bool = False
) -> dict[pathlib.Path, str]:
    """Restores pictures.

    Args:
      steps: What is done with each.
      jobs: The pictures, at least one.
      report: Receives lines for the user.
      verbose: Whether there is a line for each picture.
    Returns:
      Why some failed, by `Job.target`.
    Raises:
      UserError: if the disk is full.
    """
    shown = Shown(jobs, report, verbose)
    if len(jobs) == 1:
        _restore_one(steps, jobs[0], shown)
    else:
        _restore_many(steps, jobs, shown)
    return shown.end()


def _restore_one(steps: Steps, job: Job, shown: Shown) -> None:
    started = time.perf_counter()
    try:
        restored = steps.restore(steps.read(job), functools.partial(shown.draw, job))
        told = steps.write(restored)
    except Exception as error:  # Runtimes raise what they like.
        shown.failed(job, error)
    else:
        shown.written(job, told, time.perf_counter() - started)


def _restore_many(steps: Steps, jobs: Sequence[Job], shown: Shown) -> None:
    room, stop = _Room(_ROOM_PX), threading.Event()
    # One picture waits in each; what is in a thread's hands comes on top of that.
    read: queue.Queue = queue.Queue(1)
    restored: queue.Queue = queue.Queue(1)
    ended: queue.SimpleQueue = queue.SimpleQueue()

    def reader() -> None:
        for job in jobs:
            pixels = 0
            try:
                pixels = steps.measure(job)
                if not room.take(pixels, stop):
                    return
                item = job, pixels, steps.read(job), None
            except Exception as error:
                item = job, pixels, None, error
            if not _put(read, item, stop):
                return

    def writer() -> None:
        while (item := _get(restored, stop)) is not None:
            job, pixels, result, duration_s = item
            try:
                ended.put((job, steps.write(result), None, duration_s))
            except Exception as error:
                ended.put((job, None, error, duration_s))
            del item, result
            room.give_back(pixels)

    def say_what_ended() -> None:
        while not ended.empty():
            job, told, error, duration_s = ended.get()
            if error is not None:
                shown.failed(job, error)
            else:
                shown.written(job, told, duration_s)

    threads = [threading.Thread(target=work, daemon=True) for work in (reader, writer)]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            job, pixels, picture, error = read.get()
            if error is None:
                try:
                    started = time.perf_counter()
                    result = steps.restore(picture, functools.partial(shown.draw, job))
                    del picture
                    restored.put((job, pixels, result, time.perf_counter() - started))
                    del result
                except Exception as raised:
                    error = raised
            if error is not None:
                room.give_back(pixels)
                shown.failed(job, error)
            say_what_ended()
        restored.put(None)
        threads[1].join()
        say_what_ended()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _put(waiting: queue.Queue, item: Any, stop: threading.Event) -> bool:
    """Puts an item; False where it is to stop instead."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=0.2)
            return True
        except queue.Full:
            pass
    return False


def _get(waiting: queue.Queue, stop: threading.Event) -> Any:
    """Takes an item; None after the last one, or where it is to stop."""
    while not stop.is_set():
        try:
            return waiting.get(timeout=0.2)
        except queue.Empty:
            pass
    return None


class _Room:
    """How many pixels there is memory for; a picture that is larger gets in alone."""

    def __init__(self, pixels: int):
        self._free, self._all = pixels, pixels
        self._changed = threading.Condition()

    def take(self, pixels: int, stop: threading.Event) -> bool:
        """Waits until there is room; False where it is to stop instead."""
        wanted = min(pixels, self._all)
        with self._changed:
            while self._free < wanted:
                if stop.is_set():
                    return False
                self._changed.wait(0.2)
            self._free -= wanted
        return not stop.is_set()

    def give_back(self, pixels: int) -> None:
        """Gives back what was taken."""
        with self._changed:
            self._free += min(pixels, self._all)
            self._changed.notify()


class Shown:
    """What the user sees: of one picture a line; of several a bar, and at the end what was done."""

    def __init__(self, jobs: Sequence[Job], report: Callable[[str], None], verbose: bool = False):
        self._jobs, self._report, self._bar = jobs, report, Bar()
        self._verbose = verbose
        self._started = self._said_s = time.perf_counter()
        self._notes: collections.Counter[str] = collections.Counter()
        self._first: dict[str, Job] = {}
        self._reasons: dict[pathlib.Path, str] = {}
        self._count = self._pixels = 0

    def draw(self, job: Job, part: float) -> None:
        """Shows how far it is; `part` is that of one picture, in [0, 1]."""
        if len(self._jobs) == 1:
            self._bar.draw(_head(job), part)
            return
        now = time.perf_counter()
        total, done = len(self._jobs), self._count + len(self._reasons)
        rate = f"{self._pixels / 1e6 / (now - self._started):.2f} megapixels/s"
        share = (done + part) / total
        left = duration_text((now - self._started) * (1 - share) / share) if share else "?"
        if self._bar.shown:
            self._bar.draw(f"[{done}/{total}] {rate}", min(1.0, share), f"{left} left")
        elif now - self._said_s >= REPORT_S and not self._verbose:
            self._said_s = now
            self._report(f"{done} of {total} pictures are done, {rate}, {left} left")

    def written(self, job: Job, told: Told, duration_s: float = 0.0) -> None:
        """Counts a picture that was written, and what there is to say of it.

        Args:
          job: The picture.
          told: What there is to say.
          duration_s: Of several pictures, how long restoring it took, without reading and writing.
        """
        self._count += 1
        self._pixels += told.pixels
        for note in (*told.notes, *filter(None, [told.conversion])):
            self._notes[note] += 1
            self._first.setdefault(note, job)
        if len(self._jobs) == 1 or self._verbose:
            self._bar.clear()
            number = f"[{self._count + len(self._reasons)}/{len(self._jobs)}]"
            line = f"{number} {printable(str(job.source))} -> {printable(str(job.target))}"
            tiles = f", {told.tiles}" if self._verbose and told.tiles else ""
            self._report(f"{line}  {duration_s:.1f} s{tiles}")

    def failed(self, job: Job, error: Exception) -> None:
        """Keeps why a picture could not be restored.

        Raises:
          UserError: if the disk is full: no other picture would fare better.
        """
        if files.no_space(error, job.target.parent):
            self._bar.clear()
            raise UserError(
                f"{str(job.target)!r} cannot be written: {reason(error)}; {self._count} of"
                f" {len(self._jobs)} pictures are done; make room and go on with --skip-existing"
            ) from error
        self._reasons[job.target] = reason(error)
        self._bar.clear()
        if len(self._jobs) == 1:
            self._report(f"{_head(job)}: FAILED: {self._reasons[job.target]}")
        else:
            self._report(f"{printable(str(job.source))}: FAILED")

    def end(self) -> dict[pathlib.Path, str]:
        """Says what was done, what could not be kept, and what failed; returns why, by target."""
        self._bar.clear()
        total = len(self._jobs)
        if total > 1:
            took = time.perf_counter() - self._started
            megapixels = self._pixels / 1e6
            self._report(
                f"{self._count} of {total} pictures were restored, {megapixels:.1f} megapixels in"
                f" {duration_text(took)}: {self._count / took:.3g} pictures/s,"
                f" {megapixels / took:.2f} megapixels/s"
            )
        for note, count in self._notes.items():
            if total == 1:
                self._report(f"note: {note}")
            elif count == 1:
                self._report(f"note: {printable(str(self._first[note].source))}: {note}")
            else:
                self._report(f"note: {count} pictures: {note}")
        if self._reasons and total > 1:  # Of one it is said already.
            self._report(f"{len(self._reasons)} of {total} pictures could not be restored:")
            for job in self._jobs:
                if job.target in self._reasons:
                    self._report(f"  {printable(str(job.source))}: {self._reasons[job.target]}")
        return self._reasons


def _head(job: Job) -> str:
    return f"[1/1] {printable(str(job.source))}"
