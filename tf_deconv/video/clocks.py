"""Clocks that begin anew in the middle of a film.

Recordings and the parts of a DVD are often joined byte by byte, and a receiver's clock starts again
where a broadcast does. Time stamps then go back, and what comes after would be shown at the same
time as what came before. Here the parts follow one another: the first frame or sound of a part
begins when the last one before it ends, the same for all streams, so that they stay in step.
"""

from __future__ import annotations

import collections
import dataclasses
from fractions import Fraction
from typing import Any

# Packets of a stream are in the order of their decoding; by so much rounding may mix them up.
_BACK_S = Fraction(1, 5)
# So many packets before a jump are marked as not whole, because the count of packets begins anew.
_MARKED_AT_JUMP = 2


@dataclasses.dataclass(frozen=True)
class Jump:
    """Where a clock begins anew.

    Attributes:
      place: The first byte of what comes after.
      shift_s: What is added to the times of what comes after, in seconds.
    """

    place: int
    shift_s: Fraction


@dataclasses.dataclass(frozen=True)
class Clock:
    """The clock of a file.

    Attributes:
      jumps: Where it begins anew, in order.
      end_s: When the last packet ends, with all jumps taken out, in seconds.
      unmarked: Bytes at which packets lie that are whole, though they are marked otherwise.
    """

    jumps: tuple[Jump, ...] = ()
    end_s: Fraction = Fraction(0)
    unmarked: frozenset[int] = frozenset()


@dataclasses.dataclass
class _Part:
    """What lies between two jumps: its first byte, and when it begins and ends."""

    place: int | None = None
    begins_s: Fraction | None = None
    ends_s: Fraction | None = None

    def take(self, place: int | None, begins_s: Fraction, ends_s: Fraction) -> None:
        if place is not None:
            self.place = place if self.place is None else min(self.place, place)
        self.begins_s = begins_s if self.begins_s is None else min(self.begins_s, begins_s)
        self.ends_s = ends_s if self.ends_s is None else max(self.ends_s, ends_s)


def find_clock(source: Any) -> Clock:
    """Reads a file to its end to find where its clock begins anew; nothing is decoded.

    Args:
      source: `av.container.InputContainer` at its beginning.
    """
    import av

    parts = [_Part()]
    number: collections.Counter[int] = collections.Counter()
    last_s: dict[int, Fraction] = {}
    lately: dict[int, collections.deque[Any]] = {}
    unmarked: set[int] = set()
    packets = source.demux()
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError):  # It is damaged from here on.
            packet = None
        if packet is None:
            break
        if not packet.size or packet.dts is None or packet.stream.type not in ("video", "audio"):
            continue
        stream, at_s = packet.stream.index, packet.dts * packet.time_base
        recent = lately.setdefault(stream, collections.deque(maxlen=_MARKED_AT_JUMP))
        if at_s < last_s.get(stream, at_s) - _BACK_S:
            number[stream] += 1
            unmarked.update(recent)
        if packet.is_corrupt:
            recent.append(packet.pos)
        else:
            recent.append(None)
        last_s[stream] = at_s
        if number[stream] == len(parts):
            parts.append(_Part())
        begins_s = at_s if packet.pts is None else packet.pts * packet.time_base
        ends_s = begins_s + (packet.duration or 0) * packet.time_base
        parts[number[stream]].take(packet.pos, begins_s, ends_s)
    return _clock_of(parts, unmarked)


def _clock_of(parts: list[_Part], unmarked: set[Any]) -> Clock:
    jumps: list[Jump] = []
    shift_s = Fraction(0)
    end_s = parts[0].ends_s or Fraction(0)
    for part in parts[1:]:
        if part.place is None or part.begins_s is None or part.ends_s is None:
            continue
        shift_s = end_s - part.begins_s
        end_s = part.ends_s + shift_s
        jumps.append(Jump(part.place, shift_s))
    return Clock(tuple(jumps), end_s, frozenset(unmarked - {None}))


class Running:
    """Takes a clock's jumps out of packets, as they are read."""

    def __init__(self, clock: Clock):
        self._clock = clock
        self._shift_s: dict[int, Fraction] = {}

    def set(self, packet: Any) -> None:
        """Gives a packet the time that it has where the clock never jumps."""
        if not self._clock.jumps:
            return
        stream = packet.stream.index
        if packet.pos is not None:  # One that was split off another one has no place.
            passed = [jump for jump in self._clock.jumps if jump.place <= packet.pos]
            self._shift_s[stream] = passed[-1].shift_s if passed else Fraction(0)
        ticks = round(self._shift_s.get(stream, Fraction(0)) / packet.time_base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks

    def is_whole(self, packet: Any) -> bool:
        """Returns whether a packet is whole, as far as its demuxer tells."""
        return not packet.is_corrupt or packet.pos in self._clock.unmarked
