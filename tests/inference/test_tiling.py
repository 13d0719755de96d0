"""The plan of tiles: every pixel once, every window large enough, every symmetry undone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_deconv.images.padding import pad_array
from tf_deconv.inference import tiling
from tf_deconv.inference.restorer import AUTOMATIC_TILE_PX
from tf_deconv.inference.tiling import ALL_SYMMETRIES, Box

SIDES = st.integers(1, 70)
REACHES = st.integers(0, 20)
DIVISORS = st.sampled_from([1, 2, 3, 4, 8])


@given(SIDES, SIDES, st.integers(1, 40), st.integers(1, 40))
def test_tiles_cover_every_pixel_exactly_once(height, width, tile_height, tile_width):
    count = np.zeros((height, width), int)
    for box in tiling.split(Box(0, 0, height, width), tile_height, tile_width):
        assert 1 <= box.height <= tile_height
        assert 1 <= box.width <= tile_width
        box.of(count)[...] += 1
    assert (count == 1).all()


def check_window(first, last, start, stop, side, reach, divisor):
    assert 0 <= first <= start < stop <= last <= side
    assert first % divisor == 0
    # Whatever is not the picture's own border is further away than the network sees.
    assert first == 0 or start - first >= reach
    assert last == side or last - stop >= reach


@given(SIDES, REACHES, DIVISORS, st.data())
def test_a_window_holds_all_that_its_core_depends_on(side, reach, divisor, data):
    start = data.draw(st.integers(0, side - 1))
    stop = data.draw(st.integers(start + 1, side))
    padded = tiling.padded_side(side, divisor)
    first, last = tiling.window_along(start, stop, padded, reach, divisor)
    check_window(first, last, start, stop, padded, reach, divisor)
    assert last % divisor == 0


@settings(max_examples=300)
@given(SIDES, REACHES, DIVISORS, st.integers(1, 12), st.data())
def test_a_window_of_a_fixed_length_does_so_too(side, reach, divisor, times, data):
    length = divisor * times
    padded = tiling.padded_side(side, divisor, length)
    longest = tiling.longest_core(length, padded, reach, divisor)
    if longest < 1:
        return
    start = data.draw(st.integers(0, side - 1))
    stop = min(side, start + data.draw(st.integers(1, longest)))
    first, last = tiling.window_along(start, stop, padded, reach, divisor, length)
    assert last - first == length
    check_window(first, last, start, stop, padded, reach, divisor)


@settings(max_examples=300)
@given(SIDES, SIDES, REACHES, DIVISORS, st.integers(1, 4000), st.data())
def test_planned_windows_are_equal_and_hold_all_that_their_cores_depend_on(
    height, width, reach, divisor, area, data
):
    margin = reach + -reach % divisor
    least = 2 * margin + divisor
    longest = data.draw(st.none() | st.integers(least, least + 40))
    grid = tiling.plan(height, width, reach, divisor, area, longest)
    for spans, side, length in (
        (grid.rows, height, grid.height),
        (grid.columns, width, grid.width),
    ):
        padded = tiling.padded_side(side, divisor)
        assert length % divisor == 0
        assert length <= min(padded, longest or padded)
        assert (spans[0][0], spans[-1][1]) == (0, side)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))
        for start, stop in spans:
            first, last = tiling.window_along(start, stop, padded, reach, divisor, length)
            check_window(first, last, start, stop, padded, reach, divisor)


@pytest.mark.parametrize("reach", [6, 22, 28, 32, 45])
@pytest.mark.parametrize("size", [(3000, 4000), (4032, 3024), (2448, 4896)])
def test_at_most_15_percent_of_the_work_of_12_megapixels_is_overlap(reach, size):
    area = AUTOMATIC_TILE_PX**2
    grid = tiling.plan(*size, reach, 4, area)
    assert grid.height * grid.width <= area
    assert 1 - size[0] * size[1] / grid.work_px <= 0.15
    # What has no need of large windows takes less memory than that.
    if reach <= 32:
        assert grid.height * grid.width <= 0.7 * area


@pytest.mark.parametrize("divisor", [1, 2, 3, 8])
@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_rows_are_mirrored_as_padding_does(side, divisor):
    rows = np.arange(side, dtype=np.float32).reshape(1, side, 1, 1)
    padded = pad_array(rows, divisor)[0, :, 0, 0]
    np.testing.assert_array_equal(tiling.mirrored_rows(0, len(padded), side), padded)


@pytest.mark.parametrize("symmetry", ALL_SYMMETRIES)
def test_a_symmetry_is_undone_and_moves_boxes_along(symmetry):
    image = np.arange(5 * 7 * 2).reshape(5, 7, 2)
    turned = symmetry.apply(image)
    assert turned.shape[:2] == symmetry.size(5, 7)
    np.testing.assert_array_equal(symmetry.undo(turned), image)
    box = Box(1, 2, 4, 6)
    place = symmetry.place(box, 5, 7)
    np.testing.assert_array_equal(symmetry.undo(place.of(turned)), box.of(image))


def test_the_eight_symmetries_are_all_different():
    image = np.arange(9).reshape(3, 3, 1)
    assert len({symmetry.apply(image).tobytes() for symmetry in ALL_SYMMETRIES}) == 8
