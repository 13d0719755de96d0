"""The pipeline of Apache Beam: a list of pictures, a shuffle, a `DoFn` that restores one of them.

A file in --out is whole, because it is renamed into place when it is complete. So whatever a
runner does after a fault, to give out a picture again or to two workers at once, does no harm.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from tf_deconv.data.shards.records import Place
from tf_deconv.images.files import Job
from tf_deconv.utils import files, remote
from tf_deconv.utils.options import reason

# Restores a picture, and returns what could not be kept, one line each.
RestorePicture = Callable[[Job], Iterable[str]]

JOBS_FILE, DEAD_LETTERS_FILE, NOTES_FILE = "jobs.jsonl", "dead-letters.jsonl", "notes.jsonl"
_FAILED = "failed"
# A TFLite interpreter takes one picture at a time, and a runner may call from several threads.
_restoring = threading.Lock()


class RestoreJob(beam.DoFn):
    """Restores a picture: its notes are the main output, its dead letter a tagged one."""

    def __init__(self, open_model: Callable[[], RestorePicture], folder: str):
        """Keeps what travels to a worker.

        Args:
          open_model: Opens the model; is pickled.
          folder: The run's; it is gone when the run was stopped.
        """
        self._open_model, self._folder, self._shared = open_model, folder, Shared()

    def setup(self) -> None:
        """Opens the model, once in each process."""
        self._restore = self._shared.acquire(self._open_model)

    def process(self, line: str) -> Iterator[str | beam.pvalue.TaggedOutput]:
        """Restores the picture that a line of `JOBS_FILE` names."""
        if not os.path.isdir(self._folder):
            raise RuntimeError("the run was stopped")
        job = unpack(line)
        try:
            with _restoring:
                notes = self._restore(job)
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            if files.no_space(error, job.target.parent):
                raise  # None of them would be written either.
            Metrics.counter("tf_deconv", "failed").inc()
            letter = dict(source=str(job.source), target=str(job.target), reason=reason(error))
            yield beam.pvalue.TaggedOutput(_FAILED, json.dumps(letter))
            return
        Metrics.counter("tf_deconv", "restored").inc()
        yield from notes


def run(
    open_model: Callable[[], RestorePicture], folder: pathlib.Path, arguments: Sequence[str]
) -> None:
    """Restores the pictures of `JOBS_FILE`; writes `DEAD_LETTERS_FILE` and `NOTES_FILE` beside it.

    Args:
      open_model: Opens the model in a worker; is pickled.
      folder: The run's, absolute, as workers reach it too.
      arguments: Options of Beam.
    Raises:
      Exception: whatever the runner raises where workers fail.
    """
    restore = beam.ParDo(RestoreJob(open_model, str(folder)))
    with beam.Pipeline(options=PipelineOptions([*arguments])) as pipeline:
        lines = pipeline | beam.Create([str(folder / JOBS_FILE)]) | beam.FlatMap(_read_lines)
        # Without a shuffle the one worker that reads the list would restore everything in it.
        outcomes = lines | beam.Reshuffle() | restore.with_outputs(_FAILED, main="notes")
        counts = outcomes.notes | beam.combiners.Count.PerElement() | beam.Map(json.dumps)
        _write(counts, folder / NOTES_FILE)
        _write(outcomes[_FAILED], folder / DEAD_LETTERS_FILE)


def _write(lines: beam.PCollection, path: pathlib.Path) -> None:
    """Writes one file, if there are lines; Beam's own sink takes `[` in a path for a pattern."""
    name = path.name
    gathered = lines | f"key {name}" >> beam.WithKeys(name) | f"gather {name}" >> beam.GroupByKey()
    _ = gathered | f"write {name}" >> beam.Map(_write_lines, path.parent)


def _write_lines(gathered: tuple[str, Iterable[str]], folder: pathlib.Path) -> None:
    name, lines = gathered
    with (
        files.replacing(folder / name) as temporary,
        open(temporary, "w", encoding="ascii") as stream,
    ):
        stream.writelines(f"{line}\n" for line in lines)


def _read_lines(path: str) -> Iterator[str]:
    with open(path, encoding="ascii") as stream:
        yield from stream


def pack(job: Job) -> str:
    """Returns a picture as a line of JSON, for a worker whose current folder is another one."""
    source = job.source
    if not isinstance(source, Place):
        packed: str | dict = os.path.abspath(source)
    elif remote.is_url(source.path):
        packed = dataclasses.asdict(source)
    else:
        packed = {**dataclasses.asdict(source), "path": os.path.abspath(source.path)}
    # JSON in ASCII also holds file names that are not UTF-8.
    return json.dumps([packed, os.path.abspath(job.target), job.format])


def unpack(line: str) -> Job:
    """Returns what `pack` packed."""
    source, target, file_format = json.loads(line)
    place = Place(**source) if isinstance(source, dict) else pathlib.Path(source)
    return Job(place, pathlib.Path(target), file_format)
