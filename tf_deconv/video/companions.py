"""What goes with a film's pictures: sound, subtitles, chapters, attachments, what is said of it.

Packets of other streams are copied as they are, read from a second opening of the file in step with
the pictures, so that no more of them is held than a muxer needs. What the new container cannot hold
is named.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import os
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from tf_deconv.video import clocks
from tf_deconv.video.containers import Container
from tf_deconv.video.reading import Film, is_cover, open_container, require_av

# What muxers write of themselves, or what tells of the old file alone.
_OF_THE_FILE = {
    *("major_brand", "minor_version", "compatible_brands", "encoder", "duration", "software"),
    *("creation_time", "date", "_statistics_tags", "_statistics_writing_app", "timecode"),
    *("_statistics_writing_date_utc", "bps", "number_of_frames", "number_of_bytes", "vendor_id"),
    *("handler_name", "language", "rotate", "encoder_options", "isft", "metadata_block_picture"),
    *("source_id", "variant_bitrate"),
}
_KINDS = {"audio": "sound", "subtitle": "subtitles", "data": "data", "attachment": "attachment"}
_COVER_TYPES = {
    "mjpeg": ("cover.jpg", "image/jpeg"),
    "png": ("cover.png", "image/png"),
    "gif": ("cover.gif", "image/gif"),
    "bmp": ("cover.bmp", "image/bmp"),
    "webp": ("cover.webp", "image/webp"),
}
# What a stream is for, by the bits of FFmpeg's flags. (The default one is left to players.)
_PURPOSES = {
    1 << 1: "dub",
    1 << 2: "original",
    1 << 3: "comment",
    1 << 4: "lyrics",
    1 << 6: "forced",
    1 << 7: "for the hard of hearing",
    1 << 8: "for the blind",
}
# What a transport stream has a mark for; its muxer writes anything, as data that nothing reads.
_MARKED_IN_TS = {
    "audio": (
        *("aac", "aac_latm", "ac3", "eac3", "mp1", "mp1float", "mp2", "mp2float", "mp3"),
        *("mp3float", "dca", "truehd", "opus", "libopus", "s302m"),
    ),
    "subtitle": ("dvbsub", "dvb_subtitle", "dvb_teletext", "libzvbi_teletextdec", "arib_caption"),
}
# A time code, as a camera counts frames; ";" before the last number where it drops some.
_TIME_CODE = re.compile(r"\d\d:\d\d:\d\d([:;.,])\d\d+")


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
      lost: What the target does not hold, named for a message.
      notes: What else is not carried over, a line each.
      refused: How many packets of a stream of the output its muxer did not take.
      last_s: When the last packet that was read ends, in seconds; what a whole file has.
    """

    def __init__(
        self,
        film: Film,
        source: Any,
        target: Container,
        trim: Trim,
        path: str | os.PathLike[str],
    ):
        """Finds out what the target holds; `open_companions` opens the source."""
        self._source, self._target, self._trim = source, target, trim
        self._clock, self._pictures = film.clock, film.stream
        self._kept: list[Any] = []
        self.lost: list[str] = []
        self.notes: list[str] = []
        self.refused: collections.Counter[int] = collections.Counter()
        self.last_s = Fraction(0)
        chapters = source.chapters()
        self._time_code = _time_code_of(source)
        self._covers: list[Any] = []
        for stream in source.streams:
            if stream.index == film.stream.index:
                continue
            if _is_written_anew(stream, film, chapters):
                continue
            if is_cover(stream) and target.muxer == "matroska" and stream.name in _COVER_TYPES:
                self._covers.append(stream)
            elif _can_hold(target, stream):
                self._kept.append(stream)
            else:
                self.lost.append(_describe(stream))
        if self._time_code is not None and not _is_usable(self._time_code, film, trim):
            self.notes.append(
                f"the time code {self._time_code} is left out: the film begins later now"
                if trim.start_s is not None
                else f"the time code {self._time_code} is left out: it is none of"
                f" {float(film.rate or 0):.4g} frames/s"
            )
            self._time_code = None
        self._chapters, self._path = chapters, path
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
        said = {k: v for k, v in self._source.metadata.items() if is_of_film(k)}
        if "creation_time" in self._source.metadata:
            said["creation_time"] = self._source.metadata["creation_time"]
        if self._time_code is not None:
            said["timecode"] = self._time_code
        out.metadata.update(said)
        self._attach_covers(out)
        if self._kept:
            for stream in self._source.streams:
                if stream.index not in self._into:
                    # They are not even read, where the file has an index.
                    stream.discard = require_av().stream.Discard.all
            if start is not None and start > 1 and not self._clock.jumps:
                with contextlib.suppress(Exception):
                    self._source.seek(int(start * 10**6))
            self._packets = self._read()

    def _attach_covers(self, out: Any) -> None:
        """Gives Matroska its covers as attachments, which is how it has them."""
        for cover in self._covers:
            name, kind = _COVER_TYPES[cover.name]
            said = {key.lower(): value for key, value in cover.metadata.items()}
            with open_container(self._path) as (source, _):
                packets = source.demux(source.streams[cover.index])
                data = next((bytes(packet) for packet in packets if packet.size), b"")
            out.add_attachment(said.get("filename", name), said.get("mimetype", kind), data)

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
        running = clocks.Running(self._clock)
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
            running.set(packet)
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

    def damage(self) -> list[str]:
        """Tells what of the streams could not be copied."""
        lines = []
        for stream in self._kept:
            count = self.refused[self._into[stream.index].index]
            if count:
                packets = "1 packet" if count == 1 else f"{count} packets"
                lines.append(f"{packets} of {_describe(stream)} without a right time left out")
        return lines

    def missing_from(self, out: Any) -> list[str]:
        """Compares a file that was written with the source; returns what of it is not there."""
        lost = list(self.lost)
        have = len(out.chapters())
        if self._chapters and not have:
            lost.append("chapters")
        lost += self._words_missing_from(out)
        codes = [out.metadata, *(stream.metadata for stream in out.streams)]
        written = [value for said in codes for key, value in said.items() if _is_time_code(key)]
        if self._time_code is not None and not written:
            lost.append(f"the time code {self._time_code}")
        there = {key.lower() for key in out.metadata}
        gone = sorted(
            key for key in self._source.metadata if is_of_film(key) and key.lower() not in there
        )
        # A container may call a thing by another name: the value tells.
        values = set(out.metadata.values())
        gone = [key for key in gone if self._source.metadata[key] not in values]
        if gone:
            lost.append("what is said of it as " + ", ".join(gone))
        return lost

    def _words_missing_from(self, out: Any) -> list[str]:
        """Returns what of the kept streams is not said in a file that was written."""
        lost = []
        for kind in ("video", "audio", "subtitle"):
            there = [each for each in out.streams if each.type == kind and not is_cover(each)]
            kept = [each for each in self._kept if each.type == kind and not is_cover(each)]
            if kind == "video":
                kept.insert(0, self._pictures)
            for one, other in zip(kept, there):
                have = {key.lower(): value for key, value in other.metadata.items()}
                for key, said in one.metadata.items():
                    asked = key.lower() == "language" or is_of_film(key)
                    if asked and said not in ("und", "", *have.values()):
                        lost.append(f"the {key.lower()} of {_describe(one)}")
                gone = int(one.disposition) & ~int(other.disposition)
                lost += [
                    f"the mark {purpose!r} of {_describe(one)}"
                    for bit, purpose in _PURPOSES.items()
                    if gone & bit
                ]
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
        yield Companions(film, source, target, trim, path)


def is_of_film(key: str) -> bool:
    """Returns whether something is said of a film or a stream, and not of the old file alone."""
    # mkvmerge once wrote of statistics in which language they are: "BPS-eng".
    return key.lower().partition("-")[0] not in _OF_THE_FILE


def _is_time_code(key: str) -> bool:
    return key.lower() == "timecode"


def _time_code_of(source: Any) -> str | None:
    """Returns the time code of a film's first frame, wherever the file says it."""
    for said in (source.metadata, *(stream.metadata for stream in source.streams)):
        for key, value in said.items():
            if _is_time_code(key):
                return str(value)
    return None


def _is_usable(time_code: str, film: Film, trim: Trim) -> bool:
    """Returns whether a muxer takes a time code: it would give up the film for a wrong one."""
    found = _TIME_CODE.fullmatch(time_code)
    if found is None or trim.start_s is not None or not film.rate:
        return False
    # Frames are dropped from the count of 29.97 and 59.94 in a second alone.
    return found[1] == ":" or round(film.rate) in (30, 60)


def _is_written_anew(stream: Any, film: Film, chapters: list[Any]) -> bool:
    """Returns whether a stream of MOV is one that its muxer makes: of chapters, or a time code."""
    if film.container.demuxer != "mov" or stream.type != "data":
        return False
    if any(_is_time_code(key) for key in stream.metadata):
        return True
    # The demuxer makes chapters of the stream, and has it skipped; other data it reads.
    skipped = int(stream.discard) >= int(require_av().stream.Discard.all)
    return bool(chapters) and "bin_data" in (stream.name or "") and skipped


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
    if target.muxer == "mpegts" and stream.name not in _MARKED_IN_TS.get(
        stream.type, (stream.name,)
    ):
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
