"""What the README tells a stranger to type works as it stands there, and its figures are measured.

The two commands that install are what `.ci/run` and `benchmarks/first_minutes.py` begin with; the
page is built by the tests of the web page.
"""

import json
import pathlib
import re
import runpy
import shlex

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import does
from tf_deconv.inference import shipped

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.split("\n")
]
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder to type in that has the pictures and models of the checkout."""
    for name in ("docs", "saved_models", "train.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(beginning):
    """Returns the words after `tf-deconv` of the commands that begin so."""
    whole = ".venv/bin/tf-deconv " + beginning
    found = [line for line in COMMANDS if line.startswith(whole)]
    assert found, beginning
    return [shlex.split(line)[1:] for line in found]


def test_restores(capsys, checkout):
    for words in commands("restore"):
        does(capsys, *words)
    names = sorted(path.relative_to(checkout) for path in checkout.glob("*/sumac*.jpg"))
    assert [str(name) for name in names] == ["restored/sumac-noisy.jpg", "softly/sumac-noisy.jpg"]


def test_the_picture_is_as_good_as_it_says():
    program = runpy.run_path(str(ROOT / "benchmarks" / "readme_picture.py"))
    read, psnr_db = program["read"], program["psnr_db"]
    clean, before, shown = (read(program[name]) for name in ("ORIGINAL", "NOISY", "PAIR"))
    after = program["restored"](program["NOISY"])
    told = [float(number) for number in re.findall(r"(\d\d\.\d) dB", README)[:2]]
    # Processors differ in int8 by a level here and there.
    assert [psnr_db(before, clean), psnr_db(after, clean)] == pytest.approx(told, abs=0.06)
    height, width = clean.shape[:2]
    assert shown.shape == (height, 2 * width + program["GAP_PX"], 3)
    for picture, side in ((before, shown[:, :width]), (after, shown[:, -width:])):
        assert np.abs(np.float32(side) - picture).mean() < 2


def test_the_first_run_gains_what_was_measured():
    decision = (ROOT / "docs" / "decisions" / "0026-first-run.md").read_text(encoding="utf-8")
    before, after = re.search(r"luminance from (\d+\.\d) to (\d+\.\d) dB", README).groups()
    rows = re.findall(r"^\| \d+ \| (\d+\.\d+) \((\d+\.\d+)\)", decision, re.MULTILINE)
    assert rows  # As `benchmarks/first_run.py` prints them: a seed, after and before.
    assert np.mean([float(row[0]) for row in rows]) == pytest.approx(float(after), abs=0.06)
    assert np.mean([float(row[1]) for row in rows]) == pytest.approx(float(before), abs=0.06)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: text.split("\n")[0])
def test_snippets_are_complete(snippet, checkout):
    if "import tensorflow" in snippet:
        pytest.importorskip("tensorflow")
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)
    restored = names.get("restored")
    if restored is None:
        restored = np.asarray(Image.open(checkout / "restored.png"))
    assert restored.shape[-3:] in ((330, 440, 3), (256, 256, 3))


def test_lists_every_model_with_its_weights():
    rows = dict(re.findall(r"^\| (`.*?) \|.*\| ([\dk, ]+) \|$", README, re.MULTILINE))
    told = {}
    for names, weights in rows.items():
        names = re.findall(r"`(.*?)`", names)
        for name, count in zip(names, weights.split(", ") * len(names)):
            told[name] = count
    parameters = {
        name: f"{json.loads((folder / 'manifest.json').read_text())['parameters'] / 1000:.0f}k"
        for name, folder in shipped.available().items()
    }
    assert told == parameters
