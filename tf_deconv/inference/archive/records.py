"""The files by which driver, pipeline and workers know of each other, below OUT/.archive/.

    asked.json      what the pictures in OUT were restored by; a later run must ask for the same
    lock            held while a run goes on
    run-XXXX/       one run; gone when it ends
      order.json    model, options, runner
      jobs.jsonl    one picture a line, read in slices
      logs/         one file of each worker process: what became of its pictures
      staging/      pictures that are not finished
      places/       locked by the workers of this machine, which share its cores
      beam.log      what Beam and the workers print

A worker appends to its own log a line for each picture that it begins and ends. Lines are JSON; one
that a killed worker left half-written is not counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from tf_deconv.data.shards.records import Place
from tf_deconv.images.files import Job
from tf_deconv.utils import files, remote
from tf_deconv.utils.options import UserError

STATE_FOLDER = ".archive"
ASKED_FILE, LOCK_FILE, BEAM_LOG = "asked.json", "lock", "beam.log"
ORDER_FILE, JOBS_FILE = "order.json", "jobs.jsonl"
LOGS_FOLDER, STAGING_FOLDER, PLACES_FOLDER = "logs", "staging", "places"
RUN_PREFIX = "run-"
DEAD_LETTERS_FILE = "dead-letters.jsonl"
# A bundle is what a runner gives to a worker and gives again where the worker dies: enough of them
# to spread over many workers, and few enough for a runner that keeps a list of them.
_SLICES, _LONGEST_SLICE = 1000, 64


@dataclasses.dataclass(frozen=True)
class Order:
    """What workers have to know.

    Attributes:
      config: `RestoreConfig` as a dict; its model is a name, or a path that workers can reach.
      digest: Checksum of the model, which that on the worker's machine must have too.
    """

    config: dict[str, Any]
    digest: str


@dataclasses.dataclass(frozen=True)
class Slice:
    """Consecutive lines of the jobs' file, which a worker reads by itself.

    Attributes:
      offset: Of its first byte.
      first: Number of its first job.
      count: Number of jobs.
    """

    offset: int
    first: int
    count: int


def write_run(folder: pathlib.Path, order: Order) -> None:
    """Makes a run's folder."""
    for name in (LOGS_FOLDER, STAGING_FOLDER, PLACES_FOLDER):
        (folder / name).mkdir(parents=True)
    files.write_json(folder / ORDER_FILE, dataclasses.asdict(order))


def read_order(folder: pathlib.Path) -> Order:
    """Reads what `write_run` wrote."""
    return Order(**json.loads((folder / ORDER_FILE).read_text(encoding="utf-8")))


def write_jobs(folder: pathlib.Path, jobs: Sequence[tuple[int, Job]]) -> None:
    """Writes what is to be done: (number, picture), the number for logs alone.

    Paths become absolute: a worker may have another current folder.
    """
    with files.replacing(folder / JOBS_FILE) as temporary, open(temporary, "wb") as stream:
        for number, job in jobs:
            source = absolute(job.source)
            packed = dataclasses.asdict(source) if isinstance(source, Place) else str(source)
            stream.write(_line([number, packed, os.path.abspath(job.target)]))


def absolute(source: pathlib.Path | Place) -> pathlib.Path | Place:
    """Returns where a picture is, for who has another current folder; a URL stays as it is."""
    if not isinstance(source, Place):
        return pathlib.Path(os.path.abspath(source))
    path = source.path if remote.is_url(source.path) else os.path.abspath(source.path)
    return dataclasses.replace(source, path=path)


def read_slices(folder: pathlib.Path) -> list[Slice]:
    """Divides the jobs among bundles."""
    offsets, position = [], 0
    with open(folder / JOBS_FILE, "rb") as stream:
        for line in stream:
            offsets.append(position)
            position += len(line)
    size = min(max(len(offsets) // _SLICES, 1), _LONGEST_SLICE)
    return [
        Slice(offsets[first], first, min(size, len(offsets) - first))
        for first in range(0, len(offsets), size)
    ]


def read_jobs(folder: pathlib.Path, part: Slice) -> Iterator[tuple[int, Job]]:
    """Reads (number, picture) of a slice."""
    with open(folder / JOBS_FILE, "rb") as stream:
        stream.seek(part.offset)
        lines = [stream.readline() for _ in range(part.count)]
    for line in lines:
        number, source, target = json.loads(line)
        place = Place(**source) if isinstance(source, dict) else pathlib.Path(source)
        yield number, Job(place, pathlib.Path(target))


class Log:
    """Appends records to a file, each at once."""

    def __init__(self, path: pathlib.Path):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def add(self, record: dict[str, Any]) -> None:
        """Appends a record, in one write."""
        os.write(self._file, _line(record))

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)


class Tail:
    """Reads the records that come into a folder of logs."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._positions: dict[pathlib.Path, int] = {}

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (name of the log, record) of what was added since the last call."""
        for path in sorted(self._folder.glob("*.jsonl")):
            start = self._positions.get(path, 0)
            with open(path, "rb") as stream:
                stream.seek(start)
                data = stream.read()
            whole = data.rfind(b"\n") + 1
            self._positions[path] = start + whole
            for line in data[:whole].splitlines():
                # Of two writers that share a network's file, one may have torn the other's line.
                with contextlib.suppress(ValueError):
                    yield path.stem, json.loads(line)


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Keeps a second run out while the block lasts; a run that was killed keeps nobody out.

    Raises:
      UserError: if another run has it.
    """
    with open(folder / LOCK_FILE, "wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"out={str(folder.parent)!r}: another run writes there; wait until it has ended, or"
                " choose another --out"
            ) from error
        except OSError:
            pass  # A network's file system may have no locks; the pictures are whole without them.
        yield


def take_place(folder: pathlib.Path, count: int) -> int | None:
    """Takes one of the places of a machine's workers, until this process ends.

    Args:
      folder: The run's.
      count: Number of places.
    Returns:
      From 0; None where all are taken, or the file system has no locks.
    """
    for place in range(count):
        # Left open: the lock goes with the process.
        file = os.open(folder / PLACES_FOLDER / str(place), os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            continue
        return place
    return None


def _line(value: Any) -> bytes:
    # In ASCII, which also holds names that are no UTF-8.
    return json.dumps(value).encode() + b"\n"
