"""Which values are black and white, and back again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_deconv.images.value_range import (
    AUTO,
    FULL,
    ValueRange,
    find_levels,
    from_unit,
    parse_range,
    to_unit,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", AUTO),
        ("full", FULL),
        ("0-4095", ValueRange("fixed", 0, 4095)),
        ("-1000-3000", ValueRange("fixed", -1000, 3000)),
        ("-1.5--0.5", ValueRange("fixed", -1.5, -0.5)),
        ("1e2-1e4", ValueRange("fixed", 100, 10000)),
        ("percentile:0.1-99.9", ValueRange("percentile", 0.1, 99.9)),
    ],
)
def test_ranges_are_parsed_and_said_again(text, expected):
    assert parse_range(text) == expected
    assert parse_range(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wide",
        "5",
        "5-5",
        "9-1",
        "percentile:1",
        "percentile:-1-50",
        "percentile:0-101",
        "x:0-1",
    ],
)
def test_other_words_are_refused(text):
    with pytest.raises(ValueError, match="range="):
        parse_range(text)


def levels(values, dtype, value_range=AUTO):
    return find_levels(np.array(values, dtype), value_range)[0]


def test_what_a_screen_shows_keeps_its_type():
    assert levels([0, 9], "u1") is None
    assert levels([0, 40000], "u2") is None
    assert levels([0, 1], "f4") is None


def test_counts_and_types_without_meaning_are_scaled_and_said():
    assert find_levels(np.array([100, 1500], "u2")) == (
        (0.0, 4095.0),
        "the largest value is 1500 of 65535: taken as 12-bit counts, 0 to 4095 (--range full says"
        " otherwise)",
    )
    assert levels([100, 1500], "u2", FULL) is None
    assert levels([0, 0], "u2") is None
    assert levels([-5, 20], "i2") == (-5, 20)
    assert levels([-5, 20], "i2", FULL) == (-32768, 32767)
    assert levels([7, 7], "i4") == (6, 8)
    assert levels([0, 10], "f4", ValueRange("fixed", 2, 4)) == (2, 4)
    assert levels(range(101), "f8", ValueRange("percentile", 10, 90)) == (10, 90)


@pytest.mark.parametrize("values", [[-0.1, 1], [0, 1.01], [0, float("nan")], [0, float("inf")]])
def test_float_beyond_0_to_1_is_refused_unless_its_range_is_said(values):
    array = np.array(values, "f4")
    with pytest.raises(ValueError, match="expected 0 to 1; say with --range"):
        find_levels(array)
    assert find_levels(array, ValueRange("fixed", 0, 2))[0] == (0, 2)


@given(st.sampled_from(["i1", "u1", "i2", "u2"]), st.integers(-300, 300), st.integers(1, 70000))
def test_every_integer_comes_back(dtype, low, span):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 257).astype(dtype)
    chosen = (float(low), float(low + span))
    np.testing.assert_array_equal(from_unit(to_unit(values, chosen), chosen, dtype), values)
