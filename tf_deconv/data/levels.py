"""How values of files become values of a `PictureStore`, and which of them are black and white.

The buffer of a store holds 8 bits, or 16 as soon as one picture has more. uint8 and uint16 are kept
as counted, and what is black and white is decided when all are read; float and other integers
become 16 bits by levels that are decided before, in a pass of their own (`Survey`) where only the
pictures themselves tell. See docs/decisions/0024-depth.md.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tf_deconv.images import arrays, value_range
from tf_deconv.images.value_range import Levels, ValueRange

# What a store keeps as it is; every other kind becomes 16 bits.
BYTES, WORDS, FLOATS = "uint8", "uint16", "float"
BYTE_TYPE, WORD_TYPE = np.dtype(np.uint8), np.dtype(np.uint16)
# 255 times this is 65535: 8 bits in 16.
BYTE_STEP = 257
_WHITE = 65535.0
# Values that are looked at, in all, to find percentiles: enough for a thousandth of a percent.
_SAMPLED = 2**22
_SEED = 0x5CA1E


class UnknownLevels(ValueError):
    """Pictures of a kind that the files' heads told nothing of."""

    def __init__(self, kind: str):
        super().__init__(f"holds {kind} values, which its head does not tell")
        self.kind = kind


class OutOfRange(ValueError):
    """Values that mean nothing without --range."""


@functools.cache
def kind_of(dtype: np.dtype | type) -> str:
    """Returns the name of a sample type, as levels are recorded by: all of float are one."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return BYTES
    return FLOATS if dtype.kind == "f" else dtype.name


def default_levels(kind: str) -> Levels:
    """Returns the smallest and largest value of a kind; 0 and 1 of float."""
    return (0.0, 1.0) if kind == FLOATS else value_range.type_levels(np.dtype(kind))


@dataclasses.dataclass(frozen=True)
class Depth:
    """What a store's buffer holds.

    Attributes:
      dtype: uint8 or uint16.
      converted: Levels of the kinds that become 16 bits as they are read.
      checked: Those of them that are refused beyond their levels, for nobody said what is meant.
    """

    dtype: np.dtype = BYTE_TYPE
    converted: Mapping[str, Levels] = dataclasses.field(default_factory=dict)
    checked: Collection[str] = ()

    def stored(self, samples: np.ndarray) -> np.ndarray:
        """Converts (H, W, 3) of any type to the buffer's.

        Raises:
          UnknownLevels: if nothing was decided for its type.
          OutOfRange: for float beyond [0, 1] that nobody said anything of.
        """
        if samples.dtype == self.dtype == BYTE_TYPE:
            return samples
        kind = kind_of(samples.dtype)
        if kind == BYTES:
            if self.dtype == BYTE_TYPE:
                return samples.astype(np.uint8, copy=False)
            return samples.astype(np.uint16) * np.uint16(BYTE_STEP)
        if self.dtype == np.uint8 or (kind != WORDS and kind not in self.converted):
            raise UnknownLevels(kind)
        if kind == WORDS:
            return samples.astype(np.uint16, copy=False)
        if kind in self.checked:
            try:
                value_range.find_levels(samples)
            except ValueError as error:
                raise OutOfRange(str(error)) from error
        unit = value_range.to_unit(samples, self.converted[kind])
        return arrays.as_pixels(unit, np.uint16)


class Survey:
    """Looks at the pictures of a source without keeping them; stands where a `StoreWriter` does.

    Attributes:
      on_disk: False: nothing is written.
    """

    on_disk = False

    def __init__(self, kinds: Collection[str], value_range: ValueRange, total_values: int):
        """Begins.

        Args:
          kinds: What to look at, as of `kind_of`.
          value_range: What the user says.
          total_values: How many values there are in all, about.
        """
        self._kinds, self._range = kinds, value_range
        self._share = min(1.0, _SAMPLED / max(1, total_values))
        self._lock = threading.Lock()
        self._reserved = 0
        self._found: dict[str, list[np.ndarray]] = {}

    def reserve(self, size: int) -> int:
        """As of `StoreWriter`."""
        self._reserved += size
        return self._reserved - size

    def put(self, offset: int, *sides: np.ndarray) -> None:
        """Looks at one picture, or at both sides of a pair."""
        for number, samples in enumerate(sides):
            kind = kind_of(samples.dtype)
            if kind in self._kinds:
                kept = self._look(samples.reshape(-1), offset + number)
                with self._lock:
                    self._found.setdefault(kind, []).append(kept)

    def _look(self, values: np.ndarray, place: int) -> np.ndarray:
        if self._range.kind != "percentile":
            return np.array([values.min(), values.max()])
        if self._share < 1.0:
            # The picture's place decides which: the same ones whichever thread comes first.
            random = np.random.default_rng([_SEED, place])
            values = values[random.integers(0, len(values), math.ceil(len(values) * self._share))]
        return values.copy()

    def add(self, name: str, picture: np.ndarray, *_: Any, **__: Any) -> None:
        """As of `StoreWriter`."""
        self.put(self.reserve(picture.size), picture)

    def record(self, *_: Any, **__: Any) -> None:
        """As of `StoreWriter`: nothing is kept."""

    def result(self) -> tuple[dict[str, Levels], list[str]]:
        """Returns the levels of each kind that was seen, and notes.

        Raises:
          OutOfRange: if there is no value that is a number.
        """
        found, notes = {}, []
        for kind, parts in sorted(self._found.items()):
            try:
                chosen, note = value_range.find_levels(np.concatenate(parts), self._range)
            except ValueError as error:
                raise OutOfRange(str(error)) from error
            found[kind] = chosen or default_levels(kind)
            if note:
                notes.append(note)
        return found, notes


def needs_survey(kinds: Collection[str], values: ValueRange, known: Collection[str]) -> set[str]:
    """Returns the kinds whose levels only the pictures themselves tell, before they are read."""
    if values.kind == "percentile":
        return set(kinds)
    if values.kind != "auto":
        return set()
    return {kind for kind in kinds if kind not in (BYTES, WORDS, FLOATS) and kind not in known}


def levels_before(
    kinds: Collection[str],
    values: ValueRange,
    known: Mapping[str, Levels],
    surveyed: Mapping[str, Levels],
) -> Depth:
    """Decides how pictures are stored.

    Args:
      kinds: Of the source, as its files' heads tell.
      values: What the user says.
      known: What is recorded of each kind, which `auto` takes.
      surveyed: What the pictures themselves tell.
    """
    converted, checked = {}, set()
    for kind in kinds:
        if kind in (BYTES, WORDS):
            continue
        if kind in surveyed:
            converted[kind] = surveyed[kind]
        elif values.kind == "fixed":
            converted[kind] = (values.low, values.high)
        elif values.kind == "auto" and kind in known:
            converted[kind] = known[kind]
        else:
            converted[kind] = default_levels(kind)
            if kind == FLOATS:
                checked.add(kind)
    dtype = BYTE_TYPE if set(kinds) <= {BYTES} else WORD_TYPE
    return Depth(dtype, converted, frozenset(checked))


def levels_after(
    kinds: Collection[str],
    depth: Depth,
    values: ValueRange,
    known: Mapping[str, Levels],
    surveyed: Mapping[str, Levels],
    highest: Sequence[int],
) -> tuple[dict[str, Levels], list[str]]:
    """Decides the levels of every kind once all pictures are read.

    Args:
      kinds: Of the pictures that were read.
      depth: How they were stored.
      values: As for `levels_before`; so are the next two.
      known: Likewise.
      surveyed: Likewise.
      highest: The largest value of each uint16 picture.
    Returns:
      The levels, in the files' own values; and notes.
    """
    found, notes = {}, []
    for kind in sorted(kinds):
        if kind in depth.converted:
            found[kind] = depth.converted[kind]
        elif kind in surveyed:
            found[kind] = surveyed[kind]
        elif values.kind == "fixed":
            found[kind] = (values.low, values.high)
        elif values.kind == "auto" and kind in known:
            found[kind] = known[kind]
        elif values.kind == "auto" and kind == WORDS:
            chosen, note = value_range.of_counts(max(highest, default=0))
            found[kind] = chosen or default_levels(kind)
            dark = sum(0 < value <= value_range.COUNTS_12_BITS for value in highest)
            if chosen is None and dark:
                note = (
                    f"{dark} of {len(highest)} pictures of 16 bits hold nothing above"
                    f" {value_range.COUNTS_12_BITS}, as 12-bit counts do, and are dark among the"
                    " others: --range says what is black and white, or put them into a folder of"
                    " their own"
                )
            notes += [note] if note else []
        else:
            found[kind] = default_levels(kind)
    if known and values.kind == "auto":
        shown = {kind: known[kind] for kind in found if kind in known}
        notes += [f"{line}, as recorded" for line in words(shown)]
    return found, notes


def in_store(kind: str, ranges: Mapping[str, Levels], depth: Depth) -> Levels:
    """Returns the levels of a kind in the values of a store's buffer."""
    low, high = ranges[kind]
    if kind == BYTES:
        step = 1 if depth.dtype == np.uint8 else BYTE_STEP
        return low * step, high * step
    return (low, high) if kind == WORDS else (0.0, _WHITE)


def recorded(ranges: Mapping[str, Levels]) -> dict[str, list[float]] | None:
    """Returns what a run keeps of its levels, for JSON; None where all are those of 8 bits."""
    kept = {
        kind: [low, high]
        for kind, (low, high) in sorted(ranges.items())
        if kind != BYTES or (low, high) != default_levels(BYTES)
    }
    return kept or None


def from_recorded(value: Any) -> dict[str, Levels]:
    """Returns levels by kind of what `recorded` gave, or of what stands in its place: {}.

    Raises:
      ValueError: if it is something else.
    """
    if value is None:
        return {}
    found = {}
    if not isinstance(value, dict):
        raise ValueError(f"levels are {value!r}: expected an object")
    for kind, pair in value.items():
        fits = isinstance(pair, list) and len(pair) == 2
        if not fits or not all(type(v) in (int, float) and math.isfinite(v) for v in pair):
            raise ValueError(f"levels of {kind!r} are {pair!r}: expected two numbers")
        low, high = map(float, pair)
        if not low < high:
            raise ValueError(f"levels of {kind!r} are {pair!r}: expected the lower one first")
        found[kind] = (low, high)
    return found


def for_type(value: Any, dtype: np.dtype | type) -> Levels | None:
    """Returns the recorded levels of files of a sample type; None where nothing is recorded."""
    return from_recorded(value).get(kind_of(dtype))


def words(ranges: Mapping[str, Sequence[float]]) -> list[str]:
    """Returns a line for each kind: "uint16: 0 to 4095 are 0 to 1"."""
    return [
        f"{kind} values: {low:.6g} to {high:.6g} are taken as 0 to 1"
        for kind, (low, high) in sorted(ranges.items())
    ]
