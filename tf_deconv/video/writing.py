"""Films written: frames encoded, and put into a container together with all that goes with them."""

from __future__ import annotations

import contextlib
import dataclasses
import heapq
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from tf_deconv.utils.files import silent_stderr
from tf_deconv.video.codecs import Encoding
from tf_deconv.video.colour import FULL_RANGE, RGB_MATRIX, UNSPECIFIED
from tf_deconv.video.companions import Companions, is_of_film
from tf_deconv.video.containers import Container
from tf_deconv.video.reading import require_av

# SVT-AV1 prints of itself on the terminal, but for errors.
os.environ.setdefault("SVT_LOG", "1")
# Pictures and other streams are put into a file in the order of their times; so much before a
# picture the others may come.
_AHEAD_S = Fraction(1, 2)
_FIELD_ORDERS = {"top": 2, "bottom": 3}
_FIRST_WORDS = ("language", "handler_name")


@dataclasses.dataclass(frozen=True)
class Shell:
    """What surrounds encoded pictures in a file.

    Attributes:
      path: The file.
      container: What it is.
      matrix: The display matrix; None: upright.
      said: What is said of the stream of pictures, such as its language.
      disposition: What the stream is for, as FFmpeg's flags.
      companions: What goes with the pictures; None: nothing.
    """

    path: pathlib.Path
    container: Container
    matrix: tuple[int, ...] | None = None
    said: dict[str, str] = dataclasses.field(default_factory=dict)
    disposition: int = 1
    companions: Companions | None = None


# What a part of a film is put into on the way: it holds any codec and any time stamps.
PART = Container("NUT", (".nut",), "nut", "nut", "NUT")


class _Output:
    """An open file with one stream of pictures, and what goes with them."""

    def __init__(self, shell: Shell, encoding: Encoding):
        muxer, options = shell.container.muxer or "", dict(shell.container.options)
        self._companions = shell.companions
        if muxer in ("mp4", "mov", "3gp") and encoding.time_base.numerator == 1:
            # Times are kept in the units that the source has.
            options["video_track_timescale"] = str(encoding.time_base.denominator)
        own_words = shell.companions is not None and shell.companions.has_own_words
        if own_words and muxer in ("mp4", "mov"):
            options["movflags"] = options.get("movflags", "") + "+use_metadata_tags"
        self.file = require_av().open(
            f"file:{os.path.abspath(shell.path)}", "w", format=muxer, container_options=options
        )

    def describe(self, stream: Any, shell: Shell, encoding: Encoding) -> None:
        """Says of the stream what its bytes may not, and adds what goes with it."""
        context = stream.codec_context
        _tell_colours(context, encoding)
        context.framerate = encoding.rate
        if encoding.aspect != 1:
            context.sample_aspect_ratio = encoding.aspect
        if encoding.fields is not None:
            context.field_order = _FIELD_ORDERS[encoding.fields]
        if encoding.tag is not None and shell.container.demuxer == "mov":
            context.codec_tag = encoding.tag
        if shell.matrix is not None:
            stream.set_display_matrix(shell.matrix)
        stream.metadata.update(
            {k: v for k, v in shell.said.items() if k in _FIRST_WORDS or is_of_film(k)}
        )
        stream.disposition = shell.disposition
        if self._companions is not None:
            self._companions.add_to(self.file)

    def mux(self, packet: Any) -> None:
        """Writes a packet of pictures after what comes before it of the other streams."""
        stamp = packet.pts if packet.dts is None else packet.dts
        self._copy_until(stamp * packet.time_base + _AHEAD_S)
        self.file.mux(packet)

    def close(self) -> None:
        """Writes the rest of the other streams, and the end of the file."""
        self._copy_until(None)
        self.file.close()

    def _copy_until(self, time_s: Fraction | None) -> None:
        companions = self._companions
        if companions is None:
            return
        for packet in companions.packets_until(time_s):
            try:
                self.file.mux(packet)
            except require_av().error.ArgumentError:  # It has no time, or one before the last.
                companions.refused[packet.stream.index] += 1


class FilmWriter:
    """Encodes frames into a file.

    Attributes:
      order: Time stamps of the packets so far, as they are decoded; only of a part.
      moved_s: By how much a frame was moved from its time, at most, in seconds.
    """

    def __init__(self, shell: Shell, encoding: Encoding, threads: int = 0):
        """Begins a file; its head is written when the first frame comes.

        Args:
          shell: What surrounds the pictures.
          encoding: How frames are encoded.
          threads: How many the encoder may use; 0: as many as it likes.
        """
        av = require_av()
        self._encoding, self._output = encoding, _Output(shell, encoding)
        self._stream = self._output.file.add_stream(
            encoding.codec.encoder,
            encoding.rate,
            encoding.options,
            width=encoding.width,
            height=encoding.height,
            time_base=encoding.time_base,
        )
        context = self._stream.codec_context
        context.pix_fmt = encoding.pixel_format
        context.thread_count = threads
        # How long the last frame is shown is written as it is.
        context.flags |= int(av.codec.context.Flags.frame_duration)
        self._output.describe(self._stream, shell, encoding)
        self.order: list[int] | None = [] if shell.container is PART else None
        self.moved_s = Fraction(0)
        self._last: int | None = None

    def encode(self, frame: Any) -> tuple[int, int]:
        """Encodes a frame in the encoding's pixel format and size, with time stamp and time base.

        Returns:
          Its time stamp and its duration, in the encoding's time base.
        Raises:
          OSError: if it cannot be written.
        """
        base = self._encoding.time_base
        time_s = frame.pts * frame.time_base
        if frame.time_base != base:
            stamp = round(frame.pts * frame.time_base / base)
            lasts = max(1, round(frame.duration * frame.time_base / base))
            frame.pts, frame.duration, frame.time_base = stamp, lasts, base
        if self._last is None:
            with silent_stderr(show=False):  # Encoders introduce themselves.
                self._output.file.start_encoding()
        elif frame.pts <= self._last:
            frame.pts = self._last + 1
        self._last = frame.pts
        self.moved_s = max(self.moved_s, abs(frame.pts * base - time_s))
        # What kind the source's encoder made of it is none of this one's business.
        frame.pict_type = 0
        _tell_colours(frame, self._encoding)
        self._mux(self._stream.encode(frame))
        return frame.pts, frame.duration

    def close(self) -> None:
        """Encodes what is held back, and writes the end of the file."""
        if self._last is not None:
            self._mux(self._stream.encode(None))
        self._output.close()

    def abandon(self) -> None:
        """Lets go of a file that is not to be kept."""
        with contextlib.suppress(Exception):
            self._output.file.close()

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            if self.order is not None:
                self.order.append(packet.pts)
            self._output.mux(packet)


def _tell_colours(of: Any, encoding: Encoding) -> None:
    """Says of a stream, or of a frame, what its colours are: encoders ask one or the other."""
    colour = encoding.colour
    is_rgb = encoding.pixel_format.startswith(("gbr", "rgb", "bgr"))
    of.color_range = FULL_RANGE if encoding.full_range else colour.range
    of.colorspace = RGB_MATRIX if is_rgb else colour.matrix or UNSPECIFIED
    of.color_primaries, of.color_trc = colour.primaries, colour.transfer


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a film that was written as a file of its own.

    Attributes:
      path: The file.
      order: Time stamps of its packets, in the order in which they are decoded.
      durations: How long each frame is shown, in the order in which they are shown.
    """

    path: pathlib.Path
    order: tuple[int, ...]
    durations: tuple[int, ...]

    @property
    def delay(self) -> int:
        """Returns by how many packets decoding has to be ahead of what is shown."""
        ranks = {stamp: rank for rank, stamp in enumerate(sorted(self.order))}
        return max((place - ranks[stamp] for place, stamp in enumerate(self.order)), default=0)


def join(parts: Sequence[Part], shell: Shell, encoding: Encoding) -> None:
    """Joins parts that follow one another, without encoding them anew.

    Args:
      parts: Of the same encoding, at least one.
      shell: What surrounds the pictures.
      encoding: How the parts were encoded.
    """
    output = _Output(shell, encoding)
    with require_av().open(f"file:{os.path.abspath(parts[0].path)}", format="nut") as first:
        stream = output.file.add_stream_from_template(first.streams.video[0], opaque=True)
        stream.time_base = encoding.time_base
        output.describe(stream, shell, encoding)
        output.file.start_encoding()
    packets = itertools.chain.from_iterable(_packets_of(part, encoding) for part in parts)
    for packet in _in_order(packets, max(part.delay for part in parts)):
        packet.stream = stream
        output.mux(packet)
    output.close()


def _packets_of(part: Part, encoding: Encoding) -> Iterator[Any]:
    durations = dict(zip(sorted(part.order), part.durations))
    with require_av().open(f"file:{os.path.abspath(part.path)}", format="nut") as file:
        for packet, stamp in zip(_packets(file), part.order):
            packet.pts, packet.time_base = stamp, encoding.time_base
            packet.duration = durations[stamp]
            yield packet


def _packets(file: Any) -> Iterator[Any]:
    return (packet for packet in file.demux(file.streams.video[0]) if packet.size)


def _in_order(packets: Iterator[Any], delay: int) -> Iterator[Any]:
    """Gives packets the times at which they are decoded: each part began to count anew.

    Args:
      packets: In the order in which they are decoded.
      delay: By how many of them decoding is ahead of what is shown.
    """
    head = list(itertools.islice(packets, delay + 1))
    shown = sorted(packet.pts for packet in head)
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    waiting: list[int] = []
    for place, packet in enumerate(itertools.chain(head, packets)):
        heapq.heappush(waiting, packet.pts)
        packet.dts = heapq.heappop(waiting) if place >= delay else shown[0] - (delay - place) * step
        yield packet
