"""The pipeline of Apache Beam: `python -m tf_deconv.inference.archive.pipeline RUN_FOLDER`.

The driver starts it as a process of its own, whose output goes to a file: Beam and its workers tell
a lot. It ends with its driver, whose end of the pipe on stdin closes then, however that ended, and
takes along the worker processes that Beam started here.
"""

from __future__ import annotations

import functools
import os
import pathlib
import shlex
import signal
import sys
import threading
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tf_deconv.inference.archive import records
from tf_deconv.utils.devices import core_count

_opening = threading.Lock()


class RestoreSlice(beam.DoFn):
    """Restores the pictures of a slice; holds nothing but a path where it travels."""

    def __init__(self, folder: str):
        """`folder`: the run's, as workers reach it."""
        self._folder = folder

    def setup(self) -> None:
        """Opens the model, once in each process."""
        with _opening:
            self._worker = _open_worker(self._folder)

    def process(self, part: records.Slice) -> None:
        """Restores; what became of the pictures is in the worker's log."""
        for number, job in records.read_jobs(pathlib.Path(self._folder), part):
            kind = self._worker.restore(number, job)
            # For the runner's own dashboard.
            Metrics.counter("tf_deconv", kind).inc()


@functools.lru_cache(maxsize=1)
def _open_worker(folder: str):
    # As the command sets it; TensorFlow reads it when it is imported, which is now.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from tf_deconv.inference.archive.worker import Worker

    return Worker(pathlib.Path(folder))


def run(folder: pathlib.Path) -> None:
    """Runs the pipeline to its end.

    Raises:
      Exception: whatever the runner raises where workers fail.
    """
    config = records.read_order(folder).config
    slices = records.read_slices(folder)
    runner, arguments = None, shlex.split(config["beam_args"] or "")
    if not arguments:
        count = min(config["workers"] or core_count(), len(slices))
        # By its class: the runner named DirectRunner may be a program that has to be downloaded.
        runner = FnApiRunner()
        arguments = ["--direct_running_mode=multi_processing", f"--direct_num_workers={count}"]
    with beam.Pipeline(runner=runner, options=PipelineOptions(arguments)) as pipeline:
        _restore(pipeline | "jobs" >> beam.Create(slices), folder)


def _restore(slices: beam.PCollection, folder: pathlib.Path) -> beam.PCollection:
    # A shuffle, or else one worker would restore everything that another one made up.
    shuffled = slices | "spread" >> beam.Reshuffle()
    return shuffled | "restore" >> beam.ParDo(RestoreSlice(str(folder)))


def _end_with_driver() -> None:
    # Not sys.stdin: a thread that waits in its lock aborts the interpreter at its end.
    while os.read(0, 1):
        pass
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Runs; the driver reads what became of it."""
    threading.Thread(target=_end_with_driver, daemon=True).start()
    run(pathlib.Path(arguments[0]))


if __name__ == "__main__":
    # By its name: what is pickled from __main__ is not found in another process.
    from tf_deconv.inference.archive import pipeline

    pipeline.main(sys.argv[1:])
