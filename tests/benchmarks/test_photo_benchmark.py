"""`benchmarks/photo.py`: one table, a row for each model."""

import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.picture_folders import write
from tf_deconv.images import arrays


@pytest.fixture(scope="module")
def program(request):
    return runpy.run_path(str(request.config.rootpath / "benchmarks" / "photo.py"))


def call(program, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["photo.py", *map(str, arguments)])
    program["main"]()
    return [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]


def test_the_table_has_a_row_for_each_model(program, monkeypatch, capsys, tmp_path, untrained):
    smooth = np.linspace(40, 200, 32)[None, :, None] * np.ones((32, 1, 3))
    folders = write(tmp_path / "clean", [smooth.astype(np.uint8)]), tmp_path / "noisy"
    noise = np.random.default_rng(0).normal(0, 10, (32, 32, 3))
    write(folders[1], [np.clip(smooth + noise, 0, 255).astype(np.uint8)])
    options = ("--data", folders[0], "--pairs", folders[1], folders[0])
    head, _, *rows = call(program, monkeypatch, capsys, untrained, *options)
    assert head == [*program["CHAINS"], "clean", "pairs"]
    assert [row[0] for row in rows] == ["nothing done", "non-local means", str(untrained)]
    assert all(len(row) == 1 + len(head) for row in rows)
    nothing, classic, model = (row[1:] for row in rows)
    assert nothing[-2] == "equal"
    assert float(nothing[-1]) == pytest.approx(28.1, abs=0.4)  # Sigma 10 of 255.
    assert classic[-2] == "-"
    # Noise of sigma 15 on a ramp: what an average takes off.
    assert float(classic[1].removeprefix("+")) > 5
    # A gain has a sign; where nothing can be gained, it is the PSNR itself.
    assert all(cell[0] in "+-" for cell in model[:-2])
    assert model[-1][0].isdigit()


def test_of_held_out_pictures_the_middles_count(
    program, monkeypatch, capsys, tmp_path, untrained, rng
):
    pictures = [rng.integers(0, 256, (300, 300 + n, 3)).astype(np.uint8) for n in range(10)]
    folder = write(tmp_path / "pictures", pictures)
    program["write_held_out"](str(folder), 0.2, tmp_path)
    written = [np.asarray(Image.open(path)) for path in sorted(tmp_path.glob("*.png"))]
    # By their content, so not exactly a fifth.
    assert 0 < len(written) < 5
    middles = [arrays.middle(picture, (256, 256)) for picture in pictures]
    assert all(any(np.array_equal(made, middle) for middle in middles) for made in written)
    options = ("--data", folder, "--held-out", "0.2", "--no-classical")
    head, _, nothing, model = call(program, monkeypatch, capsys, untrained, *options)
    assert head == [*program["CHAINS"], "clean"]
    assert len(nothing) == len(model) == 1 + len(head)
