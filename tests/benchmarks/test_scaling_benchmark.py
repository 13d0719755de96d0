"""`benchmarks/scaling.py`: the fit, the bars, and a run on a few pictures."""

import json
import math
import pathlib
import sys

import pytest
from PIL import Image

# Scripts find each other beside themselves.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import scaling
from scaling import SERIES, Figure

pytestmark = pytest.mark.exhaustive

MB = 1_000_000


def figures_of(sizes, work, peak):
    return {size: Figure(9.0, 9.0, round(peak(size)), work(size)) for size in sizes}


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_is_that_power(power):
    sizes = [10, 100, 1000, 10_000]
    values = [7 * size**power for size in sizes]
    assert scaling.exponent(sizes, values) == pytest.approx(power, abs=1e-9)


def test_only_the_upper_decades_count():
    sizes, values = [10, 100, 1000, 10_000], [1e6, 1, 10, 100]
    assert scaling.exponent(sizes, values) == pytest.approx(1)
    assert scaling.exponent(sizes, values, decades=3) < 0


def test_what_took_nothing_is_left_out_of_the_fit():
    assert scaling.exponent([100, 1000, 10_000], [0, 5, 50]) == pytest.approx(1)
    assert math.isnan(scaling.exponent([100, 1000], [0, 5]))


START = Figure(5.0, 5.0, 500 * MB)
COUNTS, SIZES = [10, 100, 1000, 10_000], [0.01, 0.1, 1, 10, 100]


@pytest.mark.parametrize(
    ("name", "sizes", "work", "peak", "is_met"),
    [
        ("restore a folder", COUNTS, lambda n: n / 90, lambda n: 500 * MB, True),
        ("restore a folder", COUNTS, lambda n: n**1.2, lambda n: 500 * MB, False),
        # 40 KB for each picture: 400 MB for all.
        ("restore a folder", COUNTS, lambda n: n / 90, lambda n: 500 * MB + 40_000 * n, False),
        ("open a folder", COUNTS, lambda n: n / 9e3, lambda n: 500 * MB + 3000 * n, True),
        ("open a folder", COUNTS, lambda n: n / 9e3, lambda n: 500 * MB + 30 * n**2, False),
        ("restore a picture", SIZES, lambda n: n, lambda n: 700 * MB + 9 * MB * n, True),
        ("restore a picture", SIZES, lambda n: n**1.1, lambda n: 700 * MB + 9 * MB * n, False),
        ("restore a picture", SIZES, lambda n: n, lambda n: 500 * MB, True),
    ],
)
def test_the_bars_tell_linear_from_worse(name, sizes, work, peak, is_met):
    assert scaling.judge(SERIES[name], figures_of(sizes, work, peak), START).is_met == is_met


def test_figures_survive_their_file_and_are_drawn(tmp_path):
    found = {
        name: (
            figures_of(COUNTS if series.axis == scaling.COUNT else SIZES, float, lambda n: 9e8),
            START,
        )
        for name, series in SERIES.items()
    }
    text = json.dumps(scaling.to_json(found))
    assert scaling.from_json(json.loads(text)) == found
    assert "| restore a folder | 10,000 | 9.0 | 10000.00 | 1 |" in scaling.tables(found)
    scaling.draw(str(tmp_path / "plot.png"), found)
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (800, 600)


def test_a_run_measures_processes_and_keeps_what_it_found(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(
        sys, "argv",
        ["scaling.py", "--rounds", "1", "--counts", "10", "30", "--series", "open a folder",
         "--json", str(tmp_path / "first.json")],
    )  # fmt: skip
    scaling.main()
    out = capsys.readouterr().out
    assert "| open a folder | 30 | " in out
    entry = json.loads((tmp_path / "first.json").read_text())["series"]["open a folder"]
    assert [size for size, _ in entry["figures"]] == [10, 30]
    assert all(figure["work_s"] > 0 < figure["peak_bytes"] for _, figure in entry["figures"])
    # What was kept is put together with what is measured, here nothing.
    monkeypatch.setattr(
        sys, "argv", ["scaling.py", "--join", str(tmp_path / "first.json"), "--series"]
    )
    scaling.main()
    assert "| open a folder | 30 | " in capsys.readouterr().out


def test_work_that_fails_is_told_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"ended with code 1: .*count-10' does not exist"):
        scaling.measure(SERIES["open a folder"], tmp_path, "no model", 10)
