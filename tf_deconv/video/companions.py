"""What goes with a film's pictures: sound, subtitles, chapters, attachments, what is said of it.

Packets of other streams are copied as they are, read from a second opening of the file in step with
the pictures, so that no more of them is held than a muxer needs. What the new container cannot hold
is named.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from tf_deconv.video.containers import Container
from tf_deconv.video.reading import Film, is_cover, open_container, require_av

# What muxers write of themselves, or what tells of the old file alone.
_OF_THE_FILE = {
    *("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "software"),
    *("creation_time", "date", "_statistics_tags", "_statistics_writing_app", "timecode"),
    *("_statistics_writing_date_utc", "bps", "number_of_frames", "number_of_bytes", "vendor_id"),
    *("handler_name", "language", "rotate", "encoder_options", "isft", "metadata_block_picture"),
}
_KINDS = {"audio": "sound", "subtitle": "subtitles", "data": "data", "attachment": "attachment"}


@dataclasses.dataclass(frozen=True)
class Trim:
    """What part of a film is kept; times in seconds as the file has them.

    Attributes:
      start_s: Where it begins.
      end_s: Where it ends; None: with the film.
      shift_s: What is taken off all times.
    """

    start_s: Fraction | None = None
    end_s: Fraction | None = None
    shift_s: Fraction = Fraction(0)


class Companions:
    """The other streams of a film, on their way into another file.

    Attributes:
      last_s: When the last packet that was read ends, in seconds; what a whole file has.
    """

    def __init__(self, film: Film, source: Any, target: Container, trim: Trim):
        """Finds out what the target holds; `open_companions` opens the source."""
        self._source, self._target, self._trim = source, target, trim
        self._container = film.container
        self._kept: list[Any] = []
        self.lost: list[str] = []
        self.last_s = Fraction(0)
        chapters = source.chapters()
        for stream in source.streams:
            if stream.index == film.stream.index:
                continue
            if _is_written_anew(stream, film, chapters):
                continue
            if _can_hold(target, stream):
                self._kept.append(stream)
            else:
                self.lost.append(_describe(stream))
        self._chapters = chapters
        self._into: dict[int, Any] = {}
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None

    @property
    def has_own_words(self) -> bool:
        """Returns whether the film is described in words of a phone's maker."""
        return any(key.startswith("com.") for key in self._source.metadata)

    def add_to(self, out: Any) -> None:
        """Adds the streams, the chapters and what is said of the film to an output."""
        for stream in self._kept:
            new = _add(out, stream)
            new.disposition = int(stream.disposition)
            self._into[stream.index] = new
        shift, start, end = self._trim.shift_s, self._trim.start_s, self._trim.end_s
        chapters = []
        for chapter in self._chapters:
            base = chapter["time_base"]
            first, last = chapter["start"] * base, chapter["end"] * base
            if (start is not None and last <= start) or (end is not None and first >= end):
                continue
            first, last = max(first, start or first), min(last, end or last)
            chapters.append(
                {
                    **chapter,
                    "start": round((first - shift) / base),
                    "end": round((last - shift) / base),
                }
            )
        with contextlib.suppress(Exception):  # A container without chapters: it is told later.
            out.set_chapters(chapters)
        said = {k: v for k, v in self._source.metadata.items() if _is_of_film(k)}
        if "creation_time" in self._source.metadata:
            said["creation_time"] = self._source.metadata["creation_time"]
        out.metadata.update(said)
        if self._kept:
            for stream in self._source.streams:
                if stream.index not in self._into:
                    # They are not even read, where the file has an index.
                    stream.discard = require_av().stream.Discard.all
            if start is not None and start > 1:
                with contextlib.suppress(Exception):
                    self._source.seek(int(start * 10**6))
            self._packets = self._read()

    def packets_until(self, time_s: Fraction | None) -> Iterator[Any]:
        """Yields packets up to a time of the output, None: to the end, ready to be written."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
                if self._waiting is None:
                    return
            packet, begins_s = self._waiting
            if time_s is not None and begins_s > time_s:
                return
            self._waiting = None
            yield packet

    def _read(self) -> Iterator[tuple[Any, Fraction]]:
        """Yields packets in the order of the file, with when they begin in the output."""
        av = require_av()
        begins_s = Fraction(0)
        trim = self._trim
        ended: set[int] = set()
        packets = self._source.demux(*self._kept)
        while len(ended) < len(self._kept):
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError):  # It is damaged from here on.
                return
            if packet is None:
                return
            if not packet.size:
                continue
            stream = packet.stream
            base, stamp = packet.time_base, packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and not is_cover(stream):
                lasts = (packet.duration or 0) * base
                at = stamp * base
                self.last_s = max(self.last_s, at + lasts)
                text = stream.type == "subtitle"
                if trim.start_s is not None:
                    if at + (lasts if text else 0) < trim.start_s:
                        continue
                    if at < trim.start_s:  # A subtitle that is shown already.
                        late = round(trim.start_s / base) - stamp
                        packet.pts = packet.dts = stamp + late
                        packet.duration = max(0, packet.duration - late)
                        at = packet.pts * base
                if trim.end_s is not None and at >= trim.end_s:
                    ended.add(stream.index)
                    continue
                begins_s = at - trim.shift_s
            ticks = round(trim.shift_s / base)
            if ticks:
                packet.pts = None if packet.pts is None else packet.pts - ticks
                packet.dts = None if packet.dts is None else packet.dts - ticks
            packet.stream = self._into[stream.index]
            yield packet, begins_s

    def missing_from(self, out: Any) -> list[str]:
        """Compares a file that was written with the source; returns what of it is not there."""
        lost = list(self.lost)
        have = len(out.chapters())
        if self._chapters and not have:
            lost.append("chapters")
        there = {key.lower() for key in out.metadata}
        gone = sorted(
            key for key in self._source.metadata if _is_of_film(key) and key.lower() not in there
        )
        # A container may call a thing by another name: the value tells.
        values = set(out.metadata.values())
        gone = [key for key in gone if self._source.metadata[key] not in values]
        if gone:
            lost.append("what is said of it as " + ", ".join(gone))
        return lost


@contextlib.contextmanager
def open_companions(
    film: Film, path: str | os.PathLike[str], target: Container, trim: Trim
) -> Iterator[Companions]:
    """Opens a film once more, for its other streams.

    Args:
      film: The open film.
      path: Its file.
      target: The container that they go to.
      trim: What part of the film is kept.
    """
    with open_container(path) as (source, _):
        yield Companions(film, source, target, trim)


def _is_of_film(key: str) -> bool:
    return key.lower() not in _OF_THE_FILE


def _is_written_anew(stream: Any, film: Film, chapters: list[Any]) -> bool:
    """Returns whether a stream of MOV is one that its muxer makes: of chapters, or a time code."""
    if film.container.demuxer != "mov" or stream.type != "data":
        return False
    if "timecode" in film.stream.metadata and "TimeCode" in stream.metadata.get("handler_name", ""):
        return True
    return bool(chapters) and "bin_data" in (stream.name or "")


def _describe(stream: Any) -> str:
    kind = "the cover" if is_cover(stream) else _KINDS.get(stream.type, "pictures")
    name = getattr(stream, "name", None)
    language = stream.metadata.get("language")
    language = f", {language}" if language and language != "und" else ""
    return f"{kind} ({name or 'unknown'}{language})"


def _add(out: Any, stream: Any) -> Any:
    """Adds a stream like another one, its packets to be copied."""
    new = out.add_stream_from_template(stream, opaque=True)
    new.metadata.update(stream.metadata)
    return new


def _can_hold(target: Container, stream: Any) -> bool:
    """Tries whether a container takes a stream: its muxer writes a header, into memory."""
    if stream.type not in (*_KINDS, "video") or stream.time_base is None:
        return False
    if is_cover(stream) and target.muxer not in ("mp4", "mov", "matroska"):
        return False
    av = require_av()
    try:
        with av.open(io.BytesIO(), "w", format=target.muxer) as out:
            if stream.type in ("attachment", "data", "subtitle") or is_cover(stream):
                # Some muxers want pictures before anything else.
                pictures = out.add_stream("libvpx" if target.muxer == "webm" else "mpeg4", 25)
                pictures.width, pictures.height = 64, 64
                pictures.time_base = Fraction(1, 25)
            new = _add(out, stream)
            new.disposition = int(stream.disposition)
            out.start_encoding()
    except Exception:  # Muxers and PyAV say no in many ways.
        return False
    return True
