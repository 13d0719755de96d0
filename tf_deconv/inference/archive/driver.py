"""Hands an archive's pictures to Apache Beam, and says what became of them."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import pathlib
import queue
import random
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from tf_deconv.images.files import Job
from tf_deconv.utils import files, staging
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError
from tf_deconv.utils.progress import duration_text

DEAD_LETTERS_FILE = "dead-letters.jsonl"
GO_ON = "the same command with --skip-existing goes on"
# By its class: the runner named DirectRunner may be a program that has to be downloaded.
_LOCAL = ("--runner=FnApiRunner", "--direct_running_mode=multi_processing")
_DIED = "a worker process died, of too little memory perhaps: fewer --workers need less"
# How often it is said what part is done, and from how many pictures that is judged.
_REPORT_S, _SAMPLE = 60.0, 1000


def check_beam(beam_args: str | None) -> None:
    """Checks that Beam is installed, and its options.

    Raises:
      UserError: if it is not, or they name no runner.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(f"engine='beam': Apache Beam is not installed; {how_to_install('beam')}")
    try:
        arguments = shlex.split(beam_args or "")
    except ValueError as error:
        raise UserError(f"beam_args={beam_args!r}: {error}") from error
    # Which runner Beam takes where none is named changes with its version.
    if beam_args and not any(word.partition("=")[0] == "--runner" for word in arguments):
        raise UserError(f"beam_args={beam_args!r}: expected --runner=NAME among them")


def restore_archive(
    open_model: Callable[[], Callable[[Job], Iterable[str]]],
    jobs: Sequence[Job],
    out: pathlib.Path,
    workers: int,
    beam_args: str | None,
    report: Callable[[str], None],
) -> dict[pathlib.Path, str]:
    """Restores pictures by Beam's workers.

    Args:
      open_model: Opens the model in a worker process, and returns what restores a picture there;
        is pickled.
      jobs: The pictures, at least one.
      out: A folder that exists; receives `DEAD_LETTERS_FILE` if pictures fail.
      workers: Number of processes on this machine; without meaning for another runner.
      beam_args: Options of Beam; worker processes on this machine when left out.
      report: Receives lines for the user; is called from another thread too.
    Returns:
      Why pictures failed, by `Job.target`.
    Raises:
      UserError: if the pipeline did not come to its end.
    """
    # Beam writes to stderr as it is imported, and logs what its workers log.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL + 1)
    with files.silent_stderr():
        from tf_deconv.inference.archive import pipeline

    arguments = [*_LOCAL, f"--direct_num_workers={min(workers, len(jobs))}"]
    if beam_args:
        arguments = shlex.split(beam_args)
    letters, started = out / DEAD_LETTERS_FILE, time.perf_counter()
    # What failed in an earlier run is tried again.
    letters.unlink(missing_ok=True)
    with _run_folder(out) as folder:
        with open(folder / pipeline.JOBS_FILE, "w", encoding="ascii") as stream:
            stream.writelines(f"{pipeline.pack(job)}\n" for job in jobs)
        with _progress(jobs, report):
            _run(lambda: pipeline.run(open_model, folder, arguments), report)
        for note, count in sorted(map(json.loads, _lines_of(folder / pipeline.NOTES_FILE))):
            report(f"note: {count} pictures: {note}")
        failed = [json.loads(line) for line in _lines_of(folder / pipeline.DEAD_LETTERS_FILE)]
        if failed:
            os.replace(folder / pipeline.DEAD_LETTERS_FILE, letters)
    report(
        f"{len(jobs) - len(failed)} of {len(jobs)} pictures were restored, in"
        f" {duration_text(time.perf_counter() - started)}"
    )
    if failed:
        report(f"what failed, and why: {letters}")
    reasons = {letter["target"]: letter["reason"] for letter in failed}
    targets = {os.path.abspath(job.target): job.target for job in jobs}
    return {targets[name]: why for name, why in reasons.items()}


@contextlib.contextmanager
def _run_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder for this run, below --out since every worker reaches that."""
    with staging.folder(pathlib.Path(os.path.abspath(out), "archive")) as folder:
        # Made for its owner alone; workers on a cluster may be someone else.
        folder.chmod(0o777 & ~files.umask())
        yield folder


def _lines_of(path: pathlib.Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _run(pipeline: Callable[[], None], report: Callable[[str], None]) -> None:
    """Runs the pipeline in a thread, so that a signal or a dead worker can end the waiting for it.

    Raises:
      UserError: if the pipeline raises, or a worker process of this machine dies; Beam's local
        runner would wait for it without end.
    """
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def work() -> None:
        try:
            pipeline()
        except BaseException as error:
            ended.put(error)
        else:
            ended.put(None)

    hook = threading.excepthook

    def died(what: threading.ExceptHookArgs) -> None:
        if what.thread is not None and what.thread.name == "run_worker":
            ended.put(ChildProcessError(_DIED))

    def end_quietly(what: threading.ExceptHookArgs) -> None:
        if what.thread is None or what.thread.name != "run_worker":
            hook(what)

    threading.excepthook = died
    hook_after = hook
    try:
        # What workers write to stderr is of no use to the user, and stays out of sight.
        with files.silent_stderr():
            threading.Thread(target=work, daemon=True).start()
            try:
                error = ended.get()
            except (KeyboardInterrupt, SystemExit) as signalled:
                # The signal may have been for the worker processes too.
                error, hook_after = signalled, end_quietly
    finally:
        threading.excepthook = hook_after
    if isinstance(error, KeyboardInterrupt | SystemExit):
        report(GO_ON)
        raise error
    if error is not None:
        raise UserError(f"Apache Beam stopped: {_last_line(error)}; {GO_ON}") from error


def _last_line(error: BaseException) -> str:
    """Returns what went wrong: what a worker raised is a whole traceback in Beam's message."""
    lines = [line for line in str(error).splitlines() if line.strip() and line[0] != " "]
    return lines[-1].strip()[:300] if lines else type(error).__name__


@contextlib.contextmanager
def _progress(jobs: Sequence[Job], report: Callable[[str], None]) -> Iterator[None]:
    """Says from time to time what part of the pictures is done, judged by a sample of their files.

    The files are the one thing that every runner shows while it works.
    """
    sample = random.Random(0).sample(jobs, min(len(jobs), _SAMPLE))
    before = {job.target: _stamp(job.target) for job in sample}
    stop, started = threading.Event(), time.perf_counter()

    def watch() -> None:
        said = 0
        while not stop.wait(_REPORT_S):
            done = sum(_stamp(target) != stamp for target, stamp in before.items())
            if (percent := 100 * done // len(before)) > said:
                said = percent
                duration = duration_text(time.perf_counter() - started)
                report(f"{percent} % of {len(jobs)} pictures are done, after {duration}")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _stamp(path: pathlib.Path) -> tuple[int, int] | None:
    """Tells a file from the one that is later renamed to its name."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
