"""Other libraries' PSNR, SSIM, luminance, bicubic and JPEG against ours (docs/metrics.md).

Rows of libraries that are not installed are skipped: `benchmarks/metrics.py` names what to install.
"""

import pathlib
import sys

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import metrics

# What the project needs anyway; the others come with the clients, or by hand.
OWN = ("imagecodecs", "pillow", "scikit-image", "tensorflow")


def marks(way):
    if way.package == "bm3d":
        return [pytest.mark.exhaustive]
    return [] if way.package in OWN else [pytest.mark.clients]


WAYS = [
    pytest.param(each, id=f"{each.topic}{each.run.__name__}", marks=marks(each))
    for each in metrics.WAYS
]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_gives_our_figure_or_differs_as_the_page_says(way):
    if not way.is_there:
        pytest.skip(f"not installed: {way.package}")
    found, tolerance = metrics.distance(way), metrics.TOPICS[way.topic].tolerance
    assert (abs(found.inside) <= tolerance) == way.is_same, found


def test_every_topic_has_a_call_that_gives_our_figure():
    assert {way.topic for way in metrics.WAYS if way.is_same} == set(metrics.TOPICS)
    # Two functions of one name would leave one of them untried.
    assert len({way.run for way in metrics.WAYS}) == len(metrics.WAYS)


def test_the_page_has_a_row_for_each_call():
    page = metrics.PAGE.read_text(encoding="utf-8")
    for way in metrics.WAYS:
        call, _, _ = way.call.partition(": ")
        assert f"| `{call}`" in page


def test_a_picture_of_another_shape_is_no_figure():
    way = metrics.Way("luma", "pillow", "turned", lambda: np.zeros((448, 480)), True, "PIL")
    with pytest.raises(ValueError, match=r"turned: \(448, 480\), expected \(480, 448\)"):
        metrics.distance(way)
