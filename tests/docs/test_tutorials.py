"""The tutorials do what they say, from their first command to their last: `make exhaustive`."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.fixtures import pages

FOLDER = pathlib.Path("docs/tutorials")
TUTORIALS = [path for path in pages.pages() if path.parent == FOLDER and path.name != "index.md"]
# Which files each leaves, among others.
LEAVES = {
    "restore": ("restored/sumac-noisy.jpg", "softly/sumac-noisy.jpg", "twice.png"),
    "train": ("runs/scans/model.keras", "saved_models/scans/manifest.json"),
    "microscopy": ("restored-cells/field-11.tif", "cells.png"),
    "no-clean-pictures": ("two-shots/evaluation.json", "shots.png"),
    "phone": ("phone.png", "tile.png"),
    "service": ("served.png", "served-again.png", "in-process.png"),
    "web-page": ("page/index.html", "page/model.json"),
}
# What pip would install is there already; a server that a page starts ends with the page.
_BEGIN = """\
set -euo pipefail
pip() { :; }
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
"""


@pytest.fixture
def workshop(tmp_path):
    """A folder with all that a reader's has, in which commands may write."""
    for name in ("docs", "examples", "tf_deconv", "requirements", "train.py", "export.py"):
        (tmp_path / name).symlink_to(pages.ROOT / name)
    (tmp_path / "saved_models").mkdir()
    for model in (pages.ROOT / "saved_models").iterdir():
        (tmp_path / "saved_models" / model.name).symlink_to(model)
    programs = tmp_path / ".programs"
    programs.mkdir()
    for name, call in (("python", ""), ("tf-deconv", " -m tf_deconv")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{call} "$@"\n')
        (programs / name).chmod(0o755)
    return tmp_path


def program_of(page):
    """Returns a page's commands and programs as one shell script."""
    parts = [_BEGIN]
    for block in pages.split(page)[1]:
        if block.language == "sh":
            parts.append(block.text)
        elif block.language == "python":
            parts.append(f"python - <<'END_OF_PROGRAM'\n{block.text}\nEND_OF_PROGRAM")
    return "\n".join(parts) + "\n"


def follow(page, folder):
    """Runs a page in a folder as a reader would; returns what it printed."""
    environment = dict(os.environ, PYTHONPATH=str(pages.ROOT))
    environment["PATH"] = f"{folder / '.programs'}:{environment['PATH']}"
    with (folder / ".log").open("w+") as log:
        done = subprocess.run(
            ["bash", "-c", program_of(page)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=1500,
        )
        log.seek(0)
        said = log.read()
    assert done.returncode == 0, said
    return said


def test_every_tutorial_is_followed():
    assert {page.stem for page in TUTORIALS} == set(LEAVES)


@pytest.mark.exhaustive
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_tutorial_leaves_what_it_promises(page, workshop):
    print(follow(page, workshop))
    assert [name for name in LEAVES[page.stem] if not (workshop / name).is_file()] == []
