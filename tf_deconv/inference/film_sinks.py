"""What restored frames of a film are written to: a film, its parts (`--resume`), or pictures."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from tf_deconv.images import arrays, writing
from tf_deconv.images.files import Job
from tf_deconv.images.picture import Picture
from tf_deconv.utils import files, locks
from tf_deconv.utils.devices import core_count
from tf_deconv.utils.options import UserError
from tf_deconv.video import codecs, colour, wholeness
from tf_deconv.video.codecs import Encoding
from tf_deconv.video.companions import Companions, Trim, open_companions
from tf_deconv.video.containers import CONTAINER_OF, Container
from tf_deconv.video.reading import MAX_PIXELS, Film, end_of_others_s, require_av
from tf_deconv.video.segments import PART_FRAMES, Parts, folder_of
from tf_deconv.video.writing import PART, FilmWriter, Shell, join

# Times of these begin anywhere, as a recording's clock stood.
_BEGIN_ANYWHERE = ("MPEG-PS", "MPEG-TS")
# A difference of times that nobody sees, as rounding to milliseconds makes.
_MOVED_S = Fraction(1, 500)
_FRAME_TABLE = "frames.csv"


@dataclasses.dataclass(frozen=True)
class FilmOptions:
    """How films are read and written.

    Attributes:
      max_pixels: Larger frames are refused, read or written.
      codec: What --codec names; None: the film's own.
      crf: Quality of the codec; None: no loss is seen.
      start_s: Where to begin, in seconds; None: at the beginning.
      duration_s: How much to restore, in seconds; None: all of it.
      frames: Folder that receives pictures instead of a film; None: a film is written.
      picture_format: Type of those pictures, a key of `writing.CHOICES`.
      quality: Of those pictures, 1 to 100; None: nearly nothing is lost.
      resume: Whether the film is written in parts that another run goes on from.
      threads: How many the encoder may use.
      recipe: What decides what a model makes of a frame, for `resume`.
    """

    max_pixels: int = MAX_PIXELS
    codec: str | None = None
    crf: int | None = None
    start_s: float | None = None
    duration_s: float | None = None
    frames: pathlib.Path | None = None
    picture_format: str | None = None
    quality: int | None = None
    resume: bool = False
    threads: int = 0
    recipe: tuple[tuple[str, Any], ...] = ()


def container_for(target: pathlib.Path) -> Container:
    """Returns the container that a file's name stands for."""
    return CONTAINER_OF[target.suffix.lower()]


class Sink:
    """Where restored frames go.

    Attributes:
      before: How many frames are there already.
      last_stamp: Time stamp in the source of the last one of these; None: there is none.
      notes: What is not kept, one line each.
      holds_alpha: Whether transparency can be written.
      holds_captions: Whether closed captions can be written.
    """

    before = 0
    last_stamp: int | None = None
    holds_alpha = True
    holds_captions = False

    def __init__(self):
        self.notes: list[str] = []

    def put(self, frame: Any) -> None:
        """Writes a frame, in RGB as `colour.Converter.to_array` makes it."""
        raise NotImplementedError

    def finish(self, count: int, film: Film) -> list[str | None]:
        """Ends the work, of so many frames; returns what of the film is not whole."""
        raise NotImplementedError


def _missing(
    film: Film, job: Job, options: FilmOptions, count: int, heard_s: Fraction = Fraction(0)
) -> list[str | None]:
    """Returns what of a film is not there, or damaged.

    Args:
      film: The film, after its last frame.
      job: Of which file.
      options: What part of it was asked for.
      count: How many frames there were.
      heard_s: When what was copied of its other streams ends, in seconds from its beginning.
    """
    part = options.start_s, options.duration_s
    gone = wholeness.breaks_off(film, heard_s, *part)
    if gone is not None:
        # What is not copied, such as the sound of --frames, may last longer than the pictures.
        gone = wholeness.breaks_off(film, end_of_others_s(film, job.source), *part)
    trimmed = options.start_s is not None or options.duration_s is not None
    if trimmed:
        # Damage elsewhere in the file does not matter.
        return [gone]
    if gone is None or film.container.name == "AVI":
        # Of an AVI, which has no time stamps, frames that are missing anywhere make it shorter.
        gone = wholeness.fault_of(job.source, film, count) or gone
    return [gone]


@contextlib.contextmanager
def open_sink(
    film: Film, scale: int, job: Job, options: FilmOptions, notes: list[str]
) -> Iterator[Sink]:
    """Opens what a film's frames are written to; notes receives what it does not hold."""
    if options.frames is not None:
        yield _Pictures(film, job, options)
        return
    container = container_for(job.target)
    encoding, found = codecs.plan_encoding(film, container, scale, options.codec, options.crf)
    notes += found
    files.make_folder(job.target.parent)
    if not options.resume:
        with files.replacing(job.target) as path:
            sink = _FilmSink(film, scale, job, options, encoding, path)
            try:
                yield sink
            finally:
                sink.let_go()
            if not sink.written:
                raise UserError("no frame of it could be decoded")
        return
    with _locked_parts(job, options, encoding) as parts:
        yield _PartsSink(film, job, options, encoding, parts)
    parts.remove_if_joined()


def check_parts(job: Job, options: FilmOptions, encoding: Encoding) -> None:
    """Refuses parts that are there and cannot be gone on with, before any work is done.

    Raises:
      UserError: if they are of other options, or another process works on them.
    """
    if folder_of(job.target).exists():
        with _locked_parts(job, options, encoding):
            pass


@contextlib.contextmanager
def _locked_parts(job: Job, options: FilmOptions, encoding: Encoding) -> Iterator[Parts]:
    parts = Parts(job.target, _recipe_of(job, options, encoding))
    lock = parts.folder / "lock"
    with locks.held(lock, f"{str(parts.folder)!r} is in use", "choose another --out"):
        yield parts


def _recipe_of(job: Job, options: FilmOptions, encoding: Encoding) -> dict[str, Any]:
    status = job.source.stat()
    return {
        **dict(options.recipe),
        "source": [str(job.source.resolve()), status.st_size, status.st_mtime_ns],
        "codec": encoding.codec.name,
        "quality": sorted(encoding.options.items()),
        "pixel format": encoding.pixel_format,
        "size": [encoding.width, encoding.height],
        "--start": options.start_s,
        "--duration": options.duration_s,
        "release of PyAV": require_av().__version__,
    }


class _Encoded(Sink):
    """What a film and its parts have in common: times, and what surrounds the pictures."""

    def __init__(self, film: Film, job: Job, options: FilmOptions, encoding: Encoding):
        super().__init__()
        self._film, self._job, self._options, self._encoding = film, job, options, encoding
        self._container = container_for(job.target)
        self._converter = colour.Converter(film.conversion)
        stored = colour.describe_format(encoding.pixel_format)
        self.holds_alpha = stored.channels == 4
        self.holds_captions = encoding.codec.holds_captions
        self._threads = options.threads or core_count()
        self._shift_s: Fraction | None = None
        self._moved_s = Fraction(0)
        self._turns = film.matrix is not None and not self._container.holds_turns
        if self._turns:
            self.notes.append(
                f"{self._container.name} holds no turn: a player shows it as it was recorded"
            )

    def _stored(self, rgb: Any) -> Any:
        """Returns a frame as the encoder takes it, at its time in the new film."""
        encoding = self._encoding
        if self._shift_s is None:
            self._shift_s = self._find_shift(rgb)
        ticks = round(self._shift_s / rgb.time_base)
        frame = self._converter.to_frame(
            rgb, encoding.pixel_format, (encoding.height, encoding.width), encoding.full_range
        )
        frame.pts, frame.time_base, frame.duration = rgb.pts - ticks, rgb.time_base, rgb.duration
        return frame

    def _find_shift(self, first: Any) -> Fraction:
        """Returns what is taken off all times: what lies before the part that is kept."""
        if self._options.start_s is not None:
            return first.pts * first.time_base
        begins_anywhere = self._film.container.name in _BEGIN_ANYWHERE
        if begins_anywhere and self._container.name not in _BEGIN_ANYWHERE:
            return self._film.origin_s
        return Fraction(0)

    def _trim(self, shift_s: Fraction) -> Trim:
        options, start = self._options, None
        if options.start_s is not None:
            start = shift_s
        end = None
        if options.duration_s is not None:
            begin = Fraction(options.start_s or 0).limit_denominator(10**6)
            lasts = Fraction(options.duration_s).limit_denominator(10**6)
            end = self._film.origin_s + begin + lasts
        return Trim(start, end, shift_s)

    def _shell(self, path: pathlib.Path, companions: Companions | None) -> Shell:
        stream = self._film.stream
        said = dict(stream.metadata)
        matrix = self._film.matrix if self._container.holds_turns else None
        return Shell(path, self._container, matrix, said, int(stream.disposition), companions)

    def _compare(
        self, film: Film, path: pathlib.Path, companions: Companions, count: int
    ) -> list[str | None]:
        """Looks at the file of so many frames; returns what of the source is not whole."""
        with require_av().open(f"file:{os.path.abspath(path)}", metadata_errors="replace") as out:
            lost = companions.missing_from(out)
            shape = out.streams.video[0].sample_aspect_ratio or Fraction(1)
            lost += self._matrix_missing_from(out)
        if shape != self._film.aspect:
            lost.append(f"the shape of pixels, {_ratio(self._film.aspect)}")
        if lost:
            self.notes.append(f"{self._container.name} does not hold {', '.join(lost)}: left out")
        self.notes += companions.notes
        if self._moved_s > _MOVED_S:
            self.notes.append(
                f"{self._encoding.codec.name} in {self._container.name} has one rate,"
                f" {float(self._encoding.rate):.4g} frames/s: frames are up to"
                f" {1000 * float(self._moved_s):.0f} ms from their times"
            )
        heard_s = companions.last_s - self._film.origin_s
        gone = _missing(film, self._job, self._options, count, heard_s)
        return [*gone, *companions.damage()]

    def _matrix_missing_from(self, out: Any) -> list[str]:
        """Compares the display matrix of a file that was written with the film's."""
        matrix = self._film.matrix
        if matrix is None or self._turns:
            return []
        side_data = next(out.decode(out.streams.video[0])).side_data
        there = next((bytes(each) for each in side_data if each.type.name == "DISPLAYMATRIX"), b"")
        if colour.are_alike(matrix, colour.display_matrix(there)):
            return []
        return [f"the scale or shear of its display matrix ({colour.matrix_text(matrix)})"]


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}:{value.denominator}"


class _FilmSink(_Encoded):
    """A film, encoded and put together at once.

    Attributes:
      written: Whether there was any frame.
    """

    def __init__(
        self,
        film: Film,
        scale: int,
        job: Job,
        options: FilmOptions,
        encoding: Encoding,
        path: pathlib.Path,
    ):
        super().__init__(film, job, options, encoding)
        self._path, self._writer = path, None
        self._opened = contextlib.ExitStack()
        self.written = False

    def put(self, frame: Any) -> None:
        stored = self._stored(frame)
        if self._writer is None:
            trim = self._trim(self._shift_s or Fraction(0))
            self._companions = self._opened.enter_context(
                open_companions(self._film, self._job.source, self._container, trim)
            )
            shell = self._shell(self._path, self._companions)
            self._writer = FilmWriter(shell, self._encoding, self._threads)
        self._writer.encode(stored)

    def finish(self, count: int, film: Film) -> list[str | None]:
        if self._writer is None:
            return []
        self._writer.close()
        self._moved_s = self._writer.moved_s
        self.written = True
        return self._compare(film, self._path, self._companions, count)

    def let_go(self) -> None:
        """Closes the source; of a film that is not whole nothing is put in order any more."""
        if self._writer is not None and not self.written:
            self._path.unlink(missing_ok=True)
            self._writer.abandon()
        self._opened.close()


class _PartsSink(_Encoded):
    """A film in parts, which are joined when all of them are there."""

    def __init__(
        self, film: Film, job: Job, options: FilmOptions, encoding: Encoding, parts: Parts
    ):
        super().__init__(film, job, options, encoding)
        self._parts, self.before, self.last_stamp = parts, parts.frames, parts.last_stamp
        self._shift_s = parts.shift_s
        self._writer: FilmWriter | None = None
        self._durations: list[int] = []

    def put(self, frame: Any) -> None:
        stored = self._stored(frame)
        if self._writer is None:
            shell = Shell(self._parts.next_path(), PART)
            self._writer = FilmWriter(shell, self._encoding, self._threads)
        _, lasts = self._writer.encode(stored)
        self._durations.append(lasts)
        self._last = frame.pts
        if len(self._durations) == PART_FRAMES:
            self._end_part()

    def finish(self, count: int, film: Film) -> list[str | None]:
        self._end_part()
        if not self._parts.done:
            raise UserError("no frame of it could be decoded")
        trim = self._trim(self._shift_s or Fraction(0))
        with (
            open_companions(film, self._job.source, self._container, trim) as companions,
            files.replacing(self._job.target) as path,
        ):
            join(self._parts.done, self._shell(path, companions), self._encoding)
            whole = self._compare(film, path, companions, self.before + count)
        self._parts.joined = True
        return whole

    def _end_part(self) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        writer.close()
        self._moved_s = max(self._moved_s, writer.moved_s)
        durations, self._durations = self._durations, []
        self._parts.add(writer.order or [], durations, self._last, self._shift_s or Fraction(0))


class _Pictures(Sink):
    """A picture for each frame, upright, and a table of when each one is shown."""

    def __init__(self, film: Film, job: Job, options: FilmOptions):
        super().__init__()
        self._film, self._job, self._options = film, job, options
        self._folder = options.frames or pathlib.Path()
        self._kind = writing.CHOICES[options.picture_format or "png"]
        self._suffix = "." + (options.picture_format or "png").replace("jpeg", "jpg")
        self._rows: list[tuple[str, str, str]] = []
        files.make_folder(self._folder)
        if film.aspect != 1:
            self.notes.append(
                f"pixels of the film are {_ratio(film.aspect)}, those of pictures are square"
            )
        if film.matrix is not None and not colour.is_quarter_turn(film.matrix):
            self.notes.append(
                f"its display matrix ({colour.matrix_text(film.matrix)}) is no plain quarter turn:"
                " what else it does is left out of the pictures"
            )
        if film.colour.hdr:
            self.notes.append(f"the pictures are in {film.colour.hdr}, which no picture says")

    def put(self, frame: Any) -> None:
        film = self._film
        channels = film.pixels.channels
        bits = 16 if frame.format.name.endswith("le") else 8
        shape = colour.PixelFormat(frame.format.name, bits, channels, True, (1, 1))
        array = arrays.oriented(colour.view(frame, shape), film.orientation)
        alpha = np.ascontiguousarray(array[..., 3:]) if channels == 4 else None
        if alpha is not None and alpha.min() == np.iinfo(alpha.dtype).max:
            alpha = None
        pixels = np.ascontiguousarray(array[..., :3])
        name = f"{len(self._rows) + 1:06d}{self._suffix}"
        picture = Picture(pixels, alpha, self._kind)
        self.notes += writing.write_pictures(
            iter([picture]), 1, self._kind, self._folder / name, self._options.quality
        )
        time_s = float(film.time_of(frame.pts))
        lasts_s = float(frame.duration * film.time_base)
        self._rows.append((name, f"{time_s:.6f}", f"{lasts_s:.6f}"))

    def finish(self, count: int, film: Film) -> list[str | None]:
        if not self._rows:
            raise UserError("no frame of it could be decoded")
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(("file", "time_s", "duration_s"))
        table.writerows(self._rows)
        files.write_bytes(self._folder / _FRAME_TABLE, text.getvalue().encode())
        if any(True for each in film.source.streams if each.type in ("audio", "subtitle")):
            self.notes.append("pictures have no sound and no subtitles: they are left out")
        return _missing(film, self._job, self._options, count)
