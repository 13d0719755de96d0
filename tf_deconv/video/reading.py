"""Films, opened and decoded: what a file says of itself, and its frames with their time stamps.

PyAV (FFmpeg's libraries) is imported when a film comes, not before. A file is opened as the one
container that its first bytes tell (`containers`) and by the protocol `file` alone: no demuxer that
follows names within a file (playlists, scripts) is ever asked, and nothing is fetched.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from tf_deconv.images import arrays
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError, reason
from tf_deconv.video import clocks, colour, wholeness
from tf_deconv.video.colour import Colour, Converter
from tf_deconv.video.containers import Container, container_of

# As of pictures: `reading.MAX_PIXELS` of `images`.
MAX_PIXELS = 2**28
# What a codec may pad a frame by while it decodes, with room to spare; the true size is checked.
_SLACK_PX = 2**21
# Demuxers of containers whose head says when a film ends, wherever it begins; others, how long it
# lasts.
_COUNT_FROM_ZERO = ("matroska", "asf")
# Demuxers of containers that may be joined byte by byte.
_JOINED_BYTE_BY_BYTE = ("mpegts", "mpeg")
# FFmpeg's decoder of VP8 and VP9 leaves their transparency out.
_DECODERS_OF_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_FIELD_ORDERS = {2: "top", 3: "bottom", 4: "top", 5: "bottom"}


@functools.cache
def require_av() -> Any:
    """Returns the module of PyAV.

    Raises:
      UserError: if it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"films need PyAV, which is not installed: {how_to_install('video')}"
        ) from error
    return av


def is_film(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file is a film by its first bytes; PyAV is not imported.

    GIF and other animations are pictures.
    """
    try:
        found = container_of(path)
    except OSError:
        return False
    return found is not None and found.name != "GIF"


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of a film, as a screen shows it.

    Attributes:
      pixels: (H, W, 3), upright; uint8, or uint16 of films of more than 8 bits. Full range: 0 is
        black and 255, or 65535, white.
      time_s: When it is shown, from the film's beginning, in seconds.
      duration_s: How long it is shown, in seconds; 0 where the file does not say.
      pts: Its time stamp as the file has it, in units of `time_base`.
      time_base: Seconds for each unit.
    """

    pixels: np.ndarray
    time_s: Fraction
    duration_s: Fraction
    pts: int
    time_base: Fraction


def frames(
    path: str | os.PathLike[str],
    start: float | None = None,
    duration: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Frame]:
    """Decodes a film, frame by frame; no more than a few frames are held.

    Args:
      path: The film.
      start: Where to begin, in seconds from the film's beginning; None: there.
      duration: How much to decode, in seconds; None: all of it.
      max_pixels: Larger frames are refused.
    Yields:
      The frames in the order in which they are shown, damaged ones too. What cannot be decoded at
      all is left out; a film that breaks off ends early.
    Raises:
      UserError: if it is no film, cannot be decoded, or PyAV is not installed.
    """
    with open_film(path, max_pixels) as film:
        converter = Converter(film.conversion)
        for decoded in film.decode(start, duration):
            pixels, _ = converter.to_array(decoded)
            if pixels.shape[-1] == 1:
                pixels = np.repeat(pixels, 3, axis=-1)
            upright = arrays.oriented(pixels[..., :3], film.orientation)
            yield Frame(
                np.ascontiguousarray(upright),
                film.time_of(decoded.pts),
                decoded.duration * film.time_base,
                decoded.pts,
                film.time_base,
            )


@contextlib.contextmanager
def open_film(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Iterator[Film]:
    """Opens a film and decodes its first frame, which tells what the file does not.

    Args:
      path: The film.
      max_pixels: Larger frames are refused.
    Raises:
      UserError: if it is no film, has no moving pictures, cannot be decoded, or is too large; the
        message does not name the file.
    """
    with open_container(path) as (source, container):
        yield Film(source, container, max_pixels, path)


@contextlib.contextmanager
def open_container(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Container]]:
    """Opens a file for reading packets: `av.container.InputContainer`, and what container it is.

    Raises:
      UserError: if it is no film, or so damaged that it cannot be opened.
    """
    av = require_av()
    container = container_of(path)
    if container is None:
        what = "is empty" if pathlib.Path(path).stat().st_size == 0 else "is no film"
        raise UserError(f"{what}: expected a file that begins as MP4, MOV, MKV, WebM or AVI do")
    try:
        source = av.open(
            # A name such as "concat:a|b" is a file's name, and no protocol.
            f"file:{os.path.abspath(path)}",
            format=container.demuxer,
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError) as error:
        raise UserError(
            f"cannot be opened as {container.name}: {_why(error)}; it is cut off or damaged"
        ) from error
    with source:
        yield source, container


def _why(error: Exception) -> str:
    """Returns FFmpeg's words without the file, which is named elsewhere."""
    return getattr(error, "strerror", None) or reason(error)


class Film:
    """An open film, of which one stream of pictures is decoded.

    Attributes:
      container: What container it is in.
      source: `av.container.InputContainer`.
      stream: The stream of pictures that is decoded, `av.VideoStream`.
      codec: FFmpeg's name of its codec, such as "h264".
      height: Of a stored frame, in pixels, before it is turned upright.
      width: Of a stored frame.
      pixels: How frames are stored.
      colour: What the film says of its colours.
      conversion: How frames become RGB.
      time_base: Seconds for each unit of a time stamp.
      rate: Frames in a second, on average; None where that is not known.
      tick_rate: Frames in a second as they would be if none were left out, as far as FFmpeg's
        libraries guess; None where that is not known.
      aspect: Width of a pixel by its height; 1 where nothing else is said.
      matrix: The display matrix; None: upright.
      orientation: How it turns pixels upright, as `arrays.oriented` takes it.
      fields: "top" or "bottom": which field of an interlaced film comes first; None: progressive.
      woven: How many frames so far are interlaced, where the first one is not.
      captioned: Whether any frame so far has closed captions.
      mastering: On what screen a film of high dynamic range was made.
      lost: What of a frame is not carried on, named for a message.
      origin_s: Time of the first packet of any stream, in seconds: where players begin.
      duration_s: How long the film lasts, in seconds; None where that is not known.
      count: Number of frames, as far as the file tells; None where it does not.
      broken: How many packets could not be decoded so far.
      damaged: How many frames were decoded with faults so far.
      first_damage_s: When the first of either would be shown; None: no damage.
      last_s: When the last decoded frame ends.
      clock: Where the time stamps begin anew.
    """

    def __init__(
        self, source: Any, container: Container, max_pixels: int, path: str | os.PathLike[str]
    ):
        """Decodes the first frame; `open_film` tells of the errors."""
        self.source, self.container, self._path = source, container, path
        self.stream = _choose_stream(source)
        self._limit_px = max_pixels
        self._check_stream()
        context = self.stream.codec_context
        self.codec = context.codec.canonical_name
        self._decoder = self._open_decoder()
        self.time_base = self.stream.time_base
        self.broken = self.damaged = self._packets = 0
        self.first_damage_s: Fraction | None = None
        self.last_s = Fraction(0)
        self.clock = clock_of(path, container)
        self._running = clocks.Running(self.clock)
        # What the container says of colours; a decoder may know less of them.
        told = (
            context.colorspace,
            context.color_range,
            context.color_primaries,
            context.color_trc,
        )
        start = source.start_time
        self.origin_s = max(Fraction(0), Fraction(start or 0, 10**6))
        self._next_pts: int | None = None
        # AVI says when packets are decoded. For H.264 its demuxer adds one frame to that, and has
        # it in the order of decoding.
        self._by_order = container.demuxer == "avi" and self.codec == "h264"
        self._stamps: collections.deque[int] = collections.deque()
        self._at_beginning, self._pending = True, self._decode_all()
        first = self._first_frame()
        self._first = first
        self.height, self.width = first.height, first.width
        self.pixels = colour.describe_format(first.format.name)
        shown = first.colorspace, first.color_range, first.color_primaries, first.color_trc
        unsaid = (2, 0, 2, 2)
        self.colour = Colour(
            *(one if one != none else other for one, other, none in zip(told, shown, unsaid))
        )
        self.conversion = colour.Conversion.of(self.pixels, self.colour, self.height)
        self.rate = self.stream.average_rate or self.stream.guessed_rate
        self.tick_rate = self.stream.guessed_rate
        self.aspect = self.stream.sample_aspect_ratio or Fraction(1)
        side_data = {each.type.name: bytes(each) for each in first.side_data}
        self.matrix = colour.display_matrix(side_data.get("DISPLAYMATRIX", b""))
        self.orientation = colour.orientation_of(self.matrix)
        self.woven, self.fields, self.captioned = 0, None, False
        if first.interlaced_frame:
            # DV says it of each frame alone, and has the bottom one first.
            usual = "bottom" if self.codec == "dvvideo" else "top"
            self.fields = _FIELD_ORDERS.get(context.field_order, usual)
        self.mastering = colour.mastering_of(
            side_data.get("MASTERING_DISPLAY_METADATA"), side_data.get("CONTENT_LIGHT_LEVEL")
        )
        self.lost = tuple(
            name
            for kind, name in (
                ("DOVI_METADATA", "Dolby Vision"),
                ("DYNAMIC_HDR_PLUS", "HDR10+"),
                ("DYNAMIC_HDR_VIVID", "HDR Vivid"),
                ("STEREO3D", "the marks of two views (3D)"),
                ("SPHERICAL", "the marks of a view all around (360 degrees)"),
            )
            if kind in side_data
        )
        self.duration_s = None if not source.duration else Fraction(source.duration, 10**6)
        if self.duration_s is not None and container.demuxer in _COUNT_FROM_ZERO:
            self.duration_s = max(Fraction(0), self.duration_s - self.origin_s) or None
        if self.clock.jumps:
            self.duration_s = self.clock.end_s - self.origin_s
        self.count = self.stream.frames or None
        if self.count is None and self.duration_s and self.rate:
            self.count = max(1, round(self.duration_s * self.rate))

    def time_of(self, pts: int) -> Fraction:
        """Returns when a frame is shown, in seconds from where players begin."""
        return pts * self.time_base - self.origin_s

    def decode(self, start: float | None = None, duration: float | None = None) -> Iterator[Any]:
        """Decodes frames.

        Args:
          start: Where to begin, in seconds from the film's beginning.
          duration: How much, in seconds.
        Yields:
          `av.VideoFrame` in the order in which they are shown, each with a time stamp that is
          later than the one before.
        Raises:
          UserError: if the size of the frames changes; what came before it was yielded.
        """
        begin = None if start is None else Fraction(start).limit_denominator(10**6)
        end = None
        if duration is not None:
            end = (begin or 0) + Fraction(duration).limit_denominator(10**6)
        for frame in self._from(begin):
            time_s = self.time_of(frame.pts)
            if begin is not None and time_s < begin - self.time_base / 2:
                continue
            if end is not None and time_s >= end - self.time_base / 2:
                return
            shape = frame.height, frame.width, frame.format.name
            if shape != (self.height, self.width, self.pixels.name):
                raise UserError(
                    f"its frames change from {self.width}x{self.height} {self.pixels.name} to"
                    f" {frame.width}x{frame.height} {frame.format.name} at {float(time_s):.2f} s:"
                    " expected one size; cut it there first"
                )
            self.last_s = time_s + frame.duration * self.time_base
            self.woven += bool(frame.interlaced_frame) and self.fields is None
            self.captioned = self.captioned or colour.has_captions(frame)
            yield frame

    def damage(self) -> str | None:
        """Tells what of the film could not be decoded so far; None: nothing is wrong."""
        parts = []
        if self.broken:
            parts.append(f"{self.broken} packet{'s' * (self.broken > 1)} could not be decoded")
        if self.damaged:
            parts.append(f"{self.damaged} frame{'s are' if self.damaged > 1 else ' is'} damaged")
        if not parts:
            return None
        return f"{' and '.join(parts)}, the first at {float(self.first_damage_s or 0):.2f} s"

    def describe(self) -> str:
        """Tells what it is: "MP4, h264, 640x360, 25 frames/s, 4.0 s"."""
        rate = f", {float(self.rate):.4g} frames/s" if self.rate else ""
        lasts = f", {float(self.duration_s):.1f} s" if self.duration_s else ""
        deep = f", {self.pixels.bits} bits" if self.pixels.bits > 8 else ""
        hdr = f", {self.colour.hdr}" if self.colour.hdr else ""
        size = f"{self.width}x{self.height}"
        return f"{self.container.name}, {self.codec}, {size}{deep}{hdr}{rate}{lasts}"

    def _check_stream(self) -> None:
        stream = self.stream
        if stream.codec_context is None:
            name = wholeness.codec_name(self._path, self.container)
            raise UserError(
                f"its pictures are in {f'the codec {name}' if name else 'a codec'}, which FFmpeg's"
                " libraries do not decode here: convert it to H.264 first"
            )
        context = stream.codec_context
        if context.codec_tag in ("encv", "drmi"):
            raise UserError("is encrypted (DRM): expected a film that plays without a key")
        self._check_size(context.height, context.width)
        context.options = {"max_pixels": str(2 * self._limit_px + _SLACK_PX)}
        context.thread_type = "AUTO"

    def _check_size(self, height: int, width: int) -> None:
        if height * width > self._limit_px:
            raise UserError(
                f"has frames of {width}x{height} pixels: more than --max-pixels {self._limit_px}"
            )

    def _open_decoder(self) -> Any:
        """Returns what decodes: the stream's own context, or one that knows transparency."""
        context = self.stream.codec_context
        wanted = _DECODERS_OF_ALPHA.get(self.codec)
        said = {key.lower(): value for key, value in self.stream.metadata.items()}
        if wanted and said.get("alpha_mode") == "1":
            with contextlib.suppress(Exception):  # Not in every build.
                return require_av().CodecContext.create(wanted, "r")
        return context

    def _first_frame(self) -> Any:
        try:
            first = next(self._pending, None)
        except UserError:
            raise
        if first is None:
            if not self._packets:
                raise UserError("has a stream of pictures without any frame")
            hint = " (encrypted, or damaged)" if self.broken else ""
            raise UserError(f"no frame of it can be decoded as {self.codec}{hint}")
        self._check_size(first.height, first.width)
        return first

    def _from(self, begin: Fraction | None) -> Iterator[Any]:
        """Yields the frames from the key frame before a time on; the first one is not done anew."""
        if not self._at_beginning:
            self._seek(begin or Fraction(0))
        elif begin is not None and begin > 1 and not self.clock.jumps:
            self._seek(begin)
        else:
            yield self._first
        self._at_beginning = False
        yield from self._pending

    def _seek(self, begin: Fraction) -> None:
        # No index knows of jumps: from the beginning, then.
        target = (self.origin_s if self.clock.jumps else begin + self.origin_s) / self.time_base
        self._pending.close()
        av = require_av()
        try:
            self.source.seek(int(target), stream=self.stream, backward=True)
        except (av.FFmpegError, OSError):  # It has no index: from the beginning, then.
            with contextlib.suppress(av.FFmpegError, OSError):
                self.source.seek(0, stream=self.stream, backward=True, any_frame=True)
        self._decoder.flush_buffers()
        self._stamps.clear()
        self._next_pts = None
        self.broken = self.damaged = 0
        self.first_damage_s = None
        self._pending = self._decode_all()

    def _decode_all(self) -> Iterator[Any]:
        """Yields all frames from where the file is read, with time stamps that grow."""
        av = require_av()
        packets = self.source.demux(self.stream)
        # Packets that a demuxer marked as not whole, of which a decoder says nothing.
        marked = 0
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if not packet.size and (packet.pts is not None or packet.dts is not None):
                    # The frame before stays: Theora says so, and recorders that had no time. A
                    # decoder would take it for the end of the film.
                    continue
                if packet.size and packet.has_sidedata("encryption_info"):
                    raise UserError("is encrypted (DRM): expected a film that plays without a key")
                self._packets += packet.size > 0
                marked += not self._running.is_whole(packet)
                self._running.set(packet)
                self._keep_stamp(packet)
                decoded = self._decoder.decode(packet if packet.size else None)
            except (av.FFmpegError, ValueError) as error:
                if isinstance(error, UserError):
                    raise
                if isinstance(error, av.EOFError):
                    return
                self.broken += 1
                self._note_damage()
                if self._stamps:
                    self._stamps.pop()
                if self.broken > 10_000 or isinstance(error, MemoryError):
                    return
                continue
            for frame in decoded:
                frame.time_base = self.time_base
                self._stamp(frame)
                if frame.is_corrupt or marked:
                    marked = max(0, marked - 1)
                    self.damaged += 1
                    self._note_damage()
                yield frame

    def _keep_stamp(self, packet: Any) -> None:
        if self._by_order and packet.size and packet.dts is not None:
            delayed = self._decoder.has_b_frames
            self._stamps.append(packet.pts if delayed and packet.pts else packet.dts)

    def _stamp(self, frame: Any) -> None:
        """Gives a frame a time stamp where it has none, or one that is not after the last one's."""
        if self._stamps:
            frame.pts = self._stamps.popleft()
        if frame.pts is None or (self._next_pts is not None and frame.pts < self._next_pts):
            frame.pts = self._next_pts or 0
        if not frame.duration and self.stream.guessed_rate:
            frame.duration = max(1, round(1 / (self.stream.guessed_rate * self.time_base)))
        self._next_pts = frame.pts + 1

    def _note_damage(self) -> None:
        if self.first_damage_s is None and self._next_pts is not None:
            self.first_damage_s = self.time_of(self._next_pts)


def clock_of(path: str | os.PathLike[str], container: Container) -> clocks.Clock:
    """Returns where the time stamps of a file begin anew, which takes reading all of it."""
    if container.demuxer not in _JOINED_BYTE_BY_BYTE:
        return clocks.Clock()
    status = os.stat(path)
    return _clock_of_file(os.path.abspath(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _clock_of_file(path: str, size: int, changed_ns: int) -> clocks.Clock:
    with open_container(path) as (source, _):
        return clocks.find_clock(source)


def _choose_stream(source: Any) -> Any:
    """Returns the stream of pictures to decode: the one marked as default, or the first one.

    Raises:
      UserError: if there is none.
    """
    moving = [stream for stream in source.streams.video if not is_cover(stream)]
    if not moving:
        what = ", ".join(sorted({stream.type for stream in source.streams})) or "nothing"
        cover = " (and a still picture, its cover)" if source.streams.video else ""
        raise UserError(f"has no moving pictures: it holds {what}{cover}")
    default = [stream for stream in moving if int(stream.disposition) & 1]
    return (default or moving)[0]


def is_cover(stream: Any) -> bool:
    """Returns whether a stream is a still picture, such as the cover of an album."""
    return stream.type == "video" and bool(int(stream.disposition) & (1 << 10))


def end_of_others_s(film: Film, path: str | os.PathLike[str]) -> Fraction:
    """Returns when the last packet of a film's other streams ends, in seconds from its beginning.

    Nothing is decoded; where they are damaged it is the last packet before.

    Args:
      film: The film.
      path: Its file, which is read from the beginning to the end.
    """
    av = require_av()
    end_s = film.origin_s
    running = clocks.Running(film.clock)
    with open_container(path) as (source, _):
        packets = source.demux()
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, ValueError):
                packet = None
            if packet is None:
                return end_s - film.origin_s
            running.set(packet)
            stamp = packet.pts if packet.pts is not None else packet.dts
            is_other = packet.stream.index != film.stream.index and not is_cover(packet.stream)
            if packet.size and stamp is not None and is_other:
                end_s = max(end_s, (stamp + (packet.duration or 0)) * packet.time_base)
