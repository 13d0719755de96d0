"""The one reader under trial: files of every kind, and as many damaged ones as are asked for.

    python benchmarks/reading.py corpus
    python benchmarks/reading.py damage --count 10000

`corpus` takes every file that tests/fixtures/picture_corpus.py makes through `restore` with a model
that changes nothing, and counts those that come back equal, or with a note. `damage` changes, cuts
and doubles bytes of these files and reads each result, in processes of their own whose memory is
measured: it prints how many were read, refused in one line, or neither.
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

BATCH = 250


def run_corpus() -> None:
    from tests.fixtures.picture_corpus import make_corpus
    from tests.images.test_corpus import assert_shows, identity
    from tf_deconv.images.files import Job
    from tf_deconv.inference.picture_job import FileOptions, restore_file

    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        restorer = identity()
        for number, case in enumerate(make_corpus(pathlib.Path(folder, "in"))):
            target = pathlib.Path(folder, "out", str(number), case.path.name)
            notes, _ = restore_file(restorer, Job(case.path, target), FileOptions())
            try:
                assert_shows(target, case, "written")
                counts["equal"] += 1
            except AssertionError:
                counts["with a note" if notes else "neither"] += 1
                if not notes:
                    print(f"neither equal nor with a note: {case.path.name}")
    total = counts.total()
    print(f"{total} files: {counts['equal']} come back equal, {counts['with a note']} with a note,")
    print(f"{counts['neither']} neither ({100 * (1 - counts['neither'] / total):.1f} % right)")


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Changes a file as bad disks, bad copies and careless programs do."""
    data = bytearray(content)
    kind = random.integers(0, 5)
    if kind == 0:
        return bytes(data[: random.integers(0, len(data) + 1)])
    if kind == 1:
        start = int(random.integers(0, len(data)))
        part = data[start : start + int(random.integers(1, 2000))]
        return bytes(data[:start] + part + data[start:])
    if kind == 2:
        start = int(random.integers(0, len(data)))
        length = int(random.integers(1, 2000))
        return bytes(data[:start] + bytes(length) + data[start + length :])
    # Most of what a header says lies in the first kilobyte, or the last.
    reach = len(data) if kind == 3 else min(len(data), 600)
    for place in random.integers(0, reach, random.integers(1, 9)):
        data[place if random.random() < 0.7 else len(data) - 1 - place] = random.integers(0, 256)
    return bytes(data)


def read_batch(folder: str, first: int, count: int) -> None:
    """Reads damaged files in this process, and prints what became of them as JSON."""
    from tf_deconv.images import reading

    paths = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
    counts: collections.Counter[str] = collections.Counter()
    faults = []
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        path = paths[number % len(paths)]
        content = damaged(path.read_bytes(), random)
        try:
            with reading.open_pictures(content) as file:
                for page in range(min(file.header.count, 16)):
                    file.read_raw(page)
                    file.read(page)
            counts["read"] += 1
        except ValueError as error:
            line = str(error)
            counts["refused" if line and "\n" not in line else "in several lines"] += 1
        except BaseException as error:
            counts["neither"] += 1
            faults.append(f"{number} {path.name}: {type(error).__name__}: {error}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(counts=counts, faults=faults, peak_mb=peak_mb)))


def run_damage(count: int) -> None:
    from tests.fixtures.picture_corpus import make_corpus

    total: collections.Counter[str] = collections.Counter()
    peak_mb, crashed = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        make_corpus(pathlib.Path(folder))
        for first in range(0, count, BATCH):
            words = [
                sys.executable,
                __file__,
                "batch",
                folder,
                str(first),
                str(min(BATCH, count - first)),
            ]
            child = subprocess.run(words, capture_output=True, text=True, timeout=1800)
            if child.returncode:
                crashed += 1
                last = first + BATCH - 1
                print(f"files {first} to {last}: the process ended with {child.returncode}")
                continue
            found = json.loads(child.stdout.splitlines()[-1])
            total.update(found["counts"])
            peak_mb = max(peak_mb, found["peak_mb"])
            for line in found["faults"]:
                print(line)
    print(f"{total.total()} damaged files: {dict(total)}; {crashed} processes crashed;")
    print(f"the largest process took {peak_mb:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("corpus")
    commands.add_parser("damage").add_argument("--count", type=int, default=10000)
    batch = commands.add_parser("batch")
    batch.add_argument("folder")
    batch.add_argument("first", type=int)
    batch.add_argument("count", type=int)
    arguments = parser.parse_args()
    if arguments.command == "corpus":
        run_corpus()
    elif arguments.command == "damage":
        run_damage(arguments.count)
    else:
        read_batch(arguments.folder, arguments.first, arguments.count)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
