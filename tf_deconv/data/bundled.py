"""The photographs that come with the package: `--data bundled`.

`photographs/photographs.csv` lists them, with their licences, and says which are held out; these
were chosen so that no other one shows the same. benchmarks/bundled_photographs.py makes them.
"""

from __future__ import annotations

import csv
import functools
import pathlib


def folder() -> pathlib.Path:
    """Returns where the photographs and their list are."""
    return pathlib.Path(__file__).parent / "photographs"


@functools.cache
def names() -> dict[str, bool]:
    """Returns the file names, and of each whether it is held out; these come first."""
    with (folder() / "photographs.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["held_out"] == "yes" for row in csv.DictReader(file)}


def paths() -> list[pathlib.Path]:
    """Returns the files, in the order of the list."""
    return [folder() / name for name in names()]


def held_out() -> list[str]:
    """Returns the names of those that are measured on and never trained on."""
    return [name for name, held in names().items() if held]


def is_held_out(name: str, _: bytes) -> bool:
    """Tells of a file by its name what `names` does."""
    return names()[name]
