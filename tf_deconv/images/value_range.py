"""Which values of a file are black and white: `--range`.

A screen's picture fills its type: 0 to 255, 0 to 65535, 0 to 1. A camera's counts do not: 12 bits
in a file of 16, or numbers below zero. `ValueRange` says how they become [0, 1], and `from_unit`
undoes it.
"""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

# 12-bit counts, the commonest of those that lie in files of 16 bits. A picture for a screen of
# which nothing is brighter than a sixteenth would be black.
COUNTS_12_BITS = 4095
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PAIR = re.compile(rf"\s*({_NUMBER})\s*(?:-|\.\.|,)\s*({_NUMBER})\s*")
EXPECTED = "auto, full, percentile:LOW-HIGH such as percentile:0.1-99.9, or LOW-HIGH such as 0-4095"

Levels = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ValueRange:
    """What a user says of the values of pictures.

    Attributes:
      kind: "auto", "full", "percentile" or "fixed".
      low: The percentile, or the value, that becomes 0.
      high: The one that becomes 1.
    """

    kind: str = "auto"
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"{self.low:.10g}-{self.high:.10g}"
        if self.kind == "percentile":
            return f"percentile:{self.low:.10g}-{self.high:.10g}"
        return self.kind


AUTO, FULL = ValueRange("auto"), ValueRange("full")


def parse_range(text: str) -> ValueRange:
    """Parses what stands behind `--range`.

    Raises:
      ValueError: that says what was expected.
    """
    if text in ("auto", "full"):
        return ValueRange(text)
    head, colon, tail = text.partition(":")
    pair = _PAIR.fullmatch(tail if colon else text)
    if pair is None or (colon and head != "percentile"):
        raise ValueError(f"range={text!r}: expected {EXPECTED}")
    low, high = map(float, pair.groups())
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"range={text!r}: expected the lower one first, and two different ones")
    if colon and not (low >= 0 and high <= 100):
        raise ValueError(f"range={text!r}: expected percentiles from 0 to 100")
    return ValueRange("percentile" if colon else "fixed", low, high)


def type_levels(dtype: np.dtype | type) -> Levels:
    """Returns the smallest and largest value of an integer type; 0 and 1 for float."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return 0.0, 1.0
    if dtype.kind == "b":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)


def find_levels(samples: np.ndarray, value_range: ValueRange = AUTO) -> tuple[Levels | None, str]:
    """Decides which values become 0 and 1.

    Args:
      samples: Values as the file holds them, of any shape, of an integer or float type.
      value_range: What the user says.
    Returns:
      The two values, None where they are the type's own (0 to 255, 0 to 65535, 0 to 1); and a line
      that says what was done where that is not plain, else "".
    Raises:
      ValueError: if they are not numbers, or float beyond [0, 1] of which nothing is said.
    """
    dtype = samples.dtype
    if value_range.kind == "fixed":
        return (value_range.low, value_range.high), ""
    if value_range.kind == "percentile":
        known = samples[np.isfinite(samples)] if dtype.kind == "f" else samples
        if not known.size:
            raise ValueError("holds no finite value")
        low, high = (float(v) for v in np.percentile(known, (value_range.low, value_range.high)))
        if low == high:
            low, high = low - 0.5, high + 0.5
        return (low, high), f"the values {low:.6g} to {high:.6g} were taken as 0 to 1"
    if dtype.kind == "f":
        low, high = float(samples.min()), float(samples.max())
        if not (low >= 0 and high <= 1):  # Also true of NaN.
            raise ValueError(
                f"holds {dtype.name} values from {low:g} to {high:g}: expected 0 to 1; say with"
                f" --range what they mean: LOW-HIGH, or percentile:0.1-99.9"
            )
        return None, ""
    if value_range.kind == "full":
        return (None if dtype in (np.uint8, np.uint16) else type_levels(dtype)), ""
    if dtype == np.uint8:
        return None, ""
    low, high = int(samples.min()), int(samples.max())
    if dtype == np.uint16:
        return of_counts(high)
    if low == high:
        low, high = low - 1, high + 1
    return (float(low), float(high)), (
        f"{dtype.name} values: {low} to {high} were taken as 0 to 1 (--range says otherwise)"
    )


def of_counts(highest: int) -> tuple[Levels | None, str]:
    """Decides the levels of uint16 values of which the largest is known; as `find_levels`."""
    if 0 < highest <= COUNTS_12_BITS:
        return (0.0, float(COUNTS_12_BITS)), (
            f"the largest value is {highest} of 65535: taken as 12-bit counts, 0 to"
            f" {COUNTS_12_BITS} (--range full says otherwise)"
        )
    return None, ""


def to_unit(samples: np.ndarray, levels: Levels) -> np.ndarray:
    """Scales values so that `levels` become 0 and 1: float32, not clipped."""
    low, high = levels
    wide = samples.astype(np.float64 if samples.dtype.itemsize > 2 else np.float32)
    return ((wide - wide.dtype.type(low)) / wide.dtype.type(high - low)).astype(np.float32)


def from_unit(pixels: np.ndarray, levels: Levels, dtype: np.dtype | type) -> np.ndarray:
    """Undoes `to_unit`: integers are rounded, and clipped to what their type holds."""
    low, high = levels
    values = pixels.astype(np.float64) * (high - low) + low
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return values.astype(dtype)
    smallest, largest = type_levels(dtype)
    return np.clip(np.rint(np.nan_to_num(values)), smallest, largest).astype(dtype)
