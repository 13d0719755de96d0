"""Runs the pipeline over an archive, tells the user what comes back, and goes on after deaths.

The workers' logs are read while they grow; so lines appear as pictures are finished, and what a
dead worker had in hand is known. On this machine a dead worker ends the pipeline, which is started
again with what is left; a picture that was in hand at two deaths is not tried again. A cluster's
runner starts workers again by itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

from tf_deconv.images.files import Job
from tf_deconv.inference import shipped
from tf_deconv.inference.archive import records, worker
from tf_deconv.inference.artifacts import digest_of
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.descriptions import parse_json
from tf_deconv.inference.jobs import plan_jobs
from tf_deconv.inference.restore import Lines, RestoreResult, check_config, open_model
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, to_json
from tf_deconv.utils.progress import duration_text

_POLL_S = 0.1
# Deaths at which a picture that was in hand at each of them is given up.
_DEATHS_OF_A_PICTURE = 2
# Pipelines that end in a row without any picture's outcome before the run is given up.
_IDLE_ATTEMPTS = 2
# Options that decide what a restored picture looks like.
_DECISIVE = ("tile_size", "self_ensemble")
# Pictures are all done then; what Beam still tidies up is not worth more.
_LONGEST_END_S = 30
_GO_ON = "the same command goes on where it stopped"


def restore_archive(
    config: RestoreConfig, pictures: Sequence[str], report: Callable[[str], None] = print
) -> RestoreResult:
    """Restores pictures by worker processes; what an earlier run finished is not done again.

    Args:
      config: All options.
      pictures: Picture files, folders whose tree is kept, lists of pictures, and shards.
      report: Receives lines for the user.
    Returns:
      What was written, what was there already, and what failed and why. Failures are also in
      `dead-letters.jsonl` in --out, one JSON object a line.
    Raises:
      UserError: if nothing could be restored at all: no Beam, no model, no picture, no place to
        write, or --out holds pictures that were restored otherwise.
    """
    config = check_config(config)
    if not _has_beam():
        raise UserError(
            "engine='beam': Apache Beam is not installed; pip install 'tf-deconv[beam]'"
        )
    here = not config.beam_args
    if config.beam_args:
        _check_beam_args(config.beam_args)
    digest, out = digest_of(config.model), pathlib.Path(config.out)
    jobs = plan_jobs(pictures, out)
    # Opened once here, to tell of every mistake in one line before any worker starts.
    open_model(config, "cpu")
    state = files.make_folder(files.make_folder(out) / records.STATE_FOLDER)
    for note in shipped.notes(config.model):
        report(f"note: {note}")
    with records.locked(state):
        _check_asked(state, config, digest, jobs)
        for left_over in state.glob(f"{records.RUN_PREFIX}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        if not shipped.is_name(config.model):
            config = dataclasses.replace(config, model=os.path.abspath(config.model))
        with Outcomes(jobs, out / records.DEAD_LETTERS_FILE, report) as outcomes:
            order, started = records.Order(to_json(config), digest), time.perf_counter()
            stopped = _run_to_the_end(state, order, outcomes, here)
            return outcomes.close(time.perf_counter() - started, stopped)


def _check_beam_args(text: str) -> None:
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise UserError(f"beam_args={text!r}: {error}") from error
    # Which one Beam takes by itself changes with its version.
    if not any(argument.partition("=")[0] == "--runner" for argument in arguments):
        raise UserError(f"beam_args={text!r}: expected --runner=NAME among them")


def _check_asked(
    state: pathlib.Path, config: RestoreConfig, digest: str, jobs: Sequence[Job]
) -> None:
    """Refuses to mix pictures of two models; keeps what was asked for."""
    asked = {"model": digest, **{name: getattr(config, name) for name in _DECISIVE}}
    path, out = state / records.ASKED_FILE, str(state.parent)
    try:
        before = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(before, dict):
            raise ValueError("it is no object")
    except FileNotFoundError:
        there = 0 if config.skip_existing else sum(job.target.exists() for job in jobs)
        if there:
            raise UserError(
                f"out={out!r}: {there} of the pictures are there already, and nothing tells which"
                " model restored them; keep them with --skip-existing, or choose another --out"
            ) from None
        files.write_json(path, asked)
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} cannot be read: choose another --out") from error
    if before != asked:
        changed = [name for name in asked if before.get(name) != asked[name]]
        raise UserError(
            f"out={out!r}: its pictures were restored with another {' and '.join(changed)}; choose"
            " another --out, or ask for the same"
        )


class Outcomes:
    """What became of each picture, told to the user and in the list of dead letters."""

    def __init__(self, jobs: Sequence[Job], dead_letters: pathlib.Path, report: Callable):
        self._jobs, self._report = jobs, report
        self._kinds: dict[int, str] = {}
        self._deaths: dict[int, int] = {}
        self._lines = Lines(len(jobs), report)
        self._dead_letters = dead_letters

    def __enter__(self) -> Outcomes:
        # What failed the last time is tried again.
        self._dead_letters.unlink(missing_ok=True)
        self._letters = records.Log(self._dead_letters)
        return self

    def __exit__(self, *error: object) -> None:
        self._letters.close()
        if worker.FAILED not in self._kinds.values():
            self._dead_letters.unlink(missing_ok=True)

    @property
    def left(self) -> list[tuple[int, Job]]:
        """(number, picture) of those without an outcome."""
        return [item for item in enumerate(self._jobs) if item[0] not in self._kinds]

    @property
    def count(self) -> int:
        """Number of pictures with an outcome or a death."""
        return len(self._kinds) + sum(self._deaths.values())

    @property
    def complete(self) -> bool:
        """Whether every picture has an outcome."""
        return len(self._kinds) == len(self._jobs)

    def add(self, record: dict) -> None:
        """Takes a worker's record of an ended picture; a second one of a picture does not count."""
        number, kind = record["number"], record["kind"]
        if number in self._kinds:
            return
        self._kinds[number] = kind
        job, done = self._jobs[number], len(self._kinds)
        if kind == worker.RESTORED:
            notes, conversion = record["notes"], record["conversion"]
            self._lines.restored(done, job, record["duration_s"], notes, conversion)
        elif kind == worker.FAILED:
            why = record["reason"]
            source, target = str(records.absolute(job.source)), os.path.abspath(job.target)
            self._letters.add({"source": source, "target": target, "reason": why})
            self._lines.failed(done, job, why)

    def add_death(self, number: int) -> None:
        """Takes note that a worker died with a picture in hand."""
        self._deaths[number] = self._deaths.get(number, 0) + 1
        if self._deaths[number] == _DEATHS_OF_A_PICTURE:
            why = f"the worker died over it, {_DEATHS_OF_A_PICTURE} times; too little memory?"
            self.add({"kind": worker.FAILED, "number": number, "reason": why})

    def close(self, duration_s: float, stopped: str | None) -> RestoreResult:
        """Tells the counts and returns the whole."""
        kinds = list(self._kinds.values())
        failures = list(self._lines.failures)
        restored, there = kinds.count(worker.RESTORED), kinds.count(worker.SKIPPED)
        self._report(
            f"{len(self._jobs)} pictures: {restored} restored, {there} there already,"
            f" {len(failures)} failed, in {duration_text(duration_s)}"
        )
        if failures:
            self._report(f"what failed, and why: {self._dead_letters}")
        if stopped is not None:
            failures.append(f"{len(self._jobs) - len(kinds)} pictures were not reached: {stopped}")
            self._report(f"{failures[-1]}; {_GO_ON}")
        return RestoreResult(
            tuple(self._targets(worker.RESTORED)),
            tuple(self._targets(worker.SKIPPED)),
            tuple(failures),
        )

    def _targets(self, kind: str) -> Iterator[pathlib.Path]:
        return (
            job.target for number, job in enumerate(self._jobs) if self._kinds.get(number) == kind
        )


def _run_to_the_end(
    state: pathlib.Path, order: records.Order, outcomes: Outcomes, here: bool
) -> str | None:
    """Starts pipelines until every picture has its outcome; returns why it stopped before that."""
    idle = 0
    while not outcomes.complete:
        before = outcomes.count
        why = _run_once(state, order, outcomes, here)
        idle = 0 if outcomes.count > before else idle + 1
        if not outcomes.complete and (not here or idle == _IDLE_ATTEMPTS):
            return why
    return None


def _run_once(state: pathlib.Path, order: records.Order, outcomes: Outcomes, here: bool) -> str:
    """Runs a pipeline over what is left.

    Args:
      state: The folder of all runs.
      order: What workers have to know.
      outcomes: Receives what became of the pictures.
      here: Whether the workers are processes of this machine.
    Returns:
      Why it ended where pictures are left.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix=records.RUN_PREFIX, dir=state))
    # mkdtemp's folders are their owner's alone; workers on a cluster may be someone else.
    folder.chmod(0o777 & ~files.umask())
    try:
        records.write_run(folder, order)
        records.write_jobs(folder, outcomes.left)
        watch = _Watch(folder, outcomes)
        with _pipeline(folder) as process:
            while process.poll() is None:
                time.sleep(_POLL_S)
                watch.read()
                if here and (
                    watch.idle_s() > _LONGEST_END_S if outcomes.complete else watch.dead()
                ):
                    # Beam waits for a dead worker without end.
                    break
            ended = process.poll()
        watch.read()
        # Whoever is still alive now has nothing in hand that counts.
        if here and not outcomes.complete:
            watch.blame()
        return watch.fault or _last_line(folder / records.BEAM_LOG, ended)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_beam() -> bool:
    return importlib.util.find_spec("apache_beam") is not None


def _command(folder: pathlib.Path) -> list[str]:
    return [sys.executable, "-m", "tf_deconv.inference.archive.pipeline", os.path.abspath(folder)]


@contextlib.contextmanager
def _pipeline(folder: pathlib.Path) -> Iterator[subprocess.Popen]:
    """Starts the pipeline in a session of its own; ends it and its workers with the block."""
    with open(folder / records.BEAM_LOG, "wb") as log:
        process = subprocess.Popen(
            _command(folder),
            stdin=subprocess.PIPE,  # It ends when this is closed.
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        # Pictures are whole or absent, so nothing is lost by the shortest way.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdin.close()
        process.wait()


class _Watch:
    """Reads what workers write, and sees which of them died.

    Attributes:
      fault: Why a worker could not start.
    """

    def __init__(self, folder: pathlib.Path, outcomes: Outcomes):
        self.fault: str | None = None
        self._tail = records.Tail(folder / records.LOGS_FOLDER)
        self._outcomes = outcomes
        self._in_hand: dict[str, int | None] = {}
        self._blamed: set[str] = set()
        self._latest = time.monotonic()

    def idle_s(self) -> float:
        """Returns how long no worker has written anything."""
        return time.monotonic() - self._latest

    def read(self) -> None:
        """Takes in what is new."""
        for name, record in self._tail.read():
            self._latest = time.monotonic()
            if record["kind"] == worker.FAULT:
                self.fault = record["reason"]
            elif record["kind"] == worker.BEGUN:
                self._in_hand[name] = record["number"]
            else:
                self._in_hand[name] = None
                self._outcomes.add(record)

    def dead(self) -> bool:
        """Returns whether a worker of this machine is gone; what it had in hand is remembered."""
        gone = {name for name in self._in_hand if not _is_alive(_process_of(name))}
        self._blamed |= gone
        return bool(gone)

    def blame(self) -> None:
        """Counts a death for each picture that was in hand at one."""
        for name in self._blamed:
            number = self._in_hand[name]
            if number is not None:
                self._outcomes.add_death(number)


def _process_of(name: str) -> int:
    """Returns the process that a worker's log is named after: HOST-PROCESS-RANDOM."""
    return int(name.rsplit("-", 2)[1])


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _last_line(log: pathlib.Path, code: int | None) -> str:
    """Returns what Beam said at its end: of a traceback, the error."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ")]
    if code is None:
        return "a worker died"
    if code < 0:
        return f"Beam was ended by signal {-code}"
    return f"Beam ended with code {code}" + (
        f": {lines[-1].strip()[:300]}" if code and lines else ""
    )
