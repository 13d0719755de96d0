"""Films made of arrays: what a generator draws, as frames that are all shown equally long.

What is drawn has the primaries of sRGB, which BT.709 has too, and is written as players expect
films to be: luma and chroma in limited range.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from tf_deconv.utils import files
from tf_deconv.utils.devices import core_count
from tf_deconv.utils.options import UserError, reason
from tf_deconv.video import codecs, colour
from tf_deconv.video.codecs import Encoding
from tf_deconv.video.colour import Colour, Conversion, PixelFormat
from tf_deconv.video.containers import CONTAINER_OF, Container
from tf_deconv.video.reading import require_av
from tf_deconv.video.writing import FilmWriter, Shell

# Of the frames that an encoder is tried with.
_TRIED_SIDE_PX = 64
# 23.976 is what people write of 24000/1001, and no other rate is as near.
_ROUNDED_OFF = 5e-4


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """A film that does not exist yet, as `codecs.plan_encoding` asks for one.

    Attributes:
      height: Of a frame, in pixels.
      width: Of a frame.
      rate: Frames in a second.
      codec: What it is taken to be in: "gif" becomes what every player plays, "" stays RGB.
    """

    height: int
    width: int
    rate: Fraction
    codec: str

    aspect = Fraction(1)
    mastering = fields = None

    @property
    def pixels(self) -> PixelFormat:
        return colour.describe_format("rgb24")

    @property
    def colour(self) -> Colour:
        return Colour(primaries=colour.BT709, transfer=colour.BT709)

    @property
    def conversion(self) -> Conversion:
        return Conversion.of(self.pixels, self.colour, self.height)

    @property
    def time_base(self) -> Fraction:
        return Fraction(1, self.rate.numerator)

    @property
    def tick_rate(self) -> Fraction:
        return self.rate


@dataclasses.dataclass(frozen=True)
class Plan:
    """How arrays become a film.

    Attributes:
      container: What it is written in.
      codec: The codec.
      crf: Its quality; 0 where it has none to choose.
      rate: Frames in a second.
    """

    container: Container
    codec: codecs.Codec
    crf: int
    rate: Fraction

    def describe(self) -> str:
        """Tells what is written: "h264 crf 17, 12.5 frames/s"."""
        quality = "" if self.codec.crf is None else f" crf {self.crf}"
        return f"{self.codec.name}{quality}, {float(self.rate):.4g} frames/s"


def plan(path: pathlib.Path, rate: float, codec: str | None = None, crf: int | None = None) -> Plan:
    """Decides how a film is written, before anything is drawn.

    Args:
      path: The film, named as one of `CONTAINER_OF`.
      rate: Frames in a second.
      codec: What --codec names; None: what most players of the container play.
      crf: What --crf says; None: a quality at which no loss is seen.
    Raises:
      UserError: if PyAV is not installed, the container does not hold the codec, or the codec
        has no such quality or rate.
    """
    require_av()
    container = CONTAINER_OF[path.suffix.lower()]
    chosen = codecs.choose_codec(codec, "", container)
    made = Plan(container, chosen, codecs.check_crf(chosen, crf), _exact(rate))
    _check_rate(made)
    return made


def write(path: pathlib.Path, plan: Plan, frames: Iterable[np.ndarray]) -> list[str]:
    """Writes a film; it is there whole or not at all.

    Args:
      path: The film; the folder is there. A file of that name is replaced.
      plan: How.
      frames: (H, W, 1) or (H, W, 3) uint8 each, all of one size; at least one.
    Returns:
      Notes of what is not kept, such as an odd size.
    Raises:
      UserError: if there is no frame, or it cannot be written.
    """
    try:
        with files.replacing(path) as temporary:
            return _write(temporary, plan, frames)
    except (OSError, require_av().FFmpegError) as error:  # Its own words name a file beside it.
        remedy = "; make room and start again" if files.no_space(error, path.parent) else ""
        raise UserError(f"{str(path)!r} cannot be written: {reason(error)}{remedy}") from error


def _exact(rate: float) -> Fraction:
    """Returns frames in a second as a fraction; 29.97 is the 30000/1001 of television."""
    of_television = Fraction(round(rate * 1.001) * 1000, 1001)
    if of_television and abs(of_television - rate) < _ROUNDED_OFF:
        return of_television
    return Fraction(rate).limit_denominator(1001)


def _check_rate(plan: Plan) -> None:
    """Tries the encoder: MPEG-2 has some rates alone, and their fractions."""
    av = require_av()
    encoding, _ = _encoding(plan, _TRIED_SIDE_PX, _TRIED_SIDE_PX)
    context = av.CodecContext.create(encoding.codec.encoder, "w")
    context.height = context.width = _TRIED_SIDE_PX
    context.pix_fmt, context.options = encoding.pixel_format, encoding.options
    context.time_base, context.framerate = encoding.time_base, encoding.rate
    context.color_range = colour.FULL_RANGE if encoding.full_range else encoding.colour.range
    try:
        with files.silent_stderr(show=False):
            context.open()
    except av.FFmpegError as error:
        raise UserError(
            f"frame_rate={float(plan.rate):g}: {plan.codec.name} is not written at this rate;"
            " expected 24, 25, 30, 50 or 60, or another --codec"
        ) from error


def _write(path: pathlib.Path, plan: Plan, frames: Iterable[np.ndarray]) -> list[str]:
    writer, notes = None, []
    try:
        for number, pixels in enumerate(frames):
            if writer is None:
                encoding, notes = _encoding(plan, *pixels.shape[:2])
                writer = _Writer(path, plan, encoding)
            writer.put(pixels, number)
        if writer is None:
            raise UserError("no frames: expected at least one")
        writer.close()
    except BaseException:
        if writer is not None:
            writer.abandon()
        raise
    return notes


def _encoding(plan: Plan, height: int, width: int) -> tuple[Encoding, list[str]]:
    kind = "" if plan.codec.name == "ffv1" else "gif"
    drawing = _Drawing(height, width, plan.rate, kind)
    crf = None if plan.codec.crf is None else plan.crf
    return codecs.plan_encoding(drawing, plan.container, 1, plan.codec.name, crf)


class _Writer:
    """A film on its way to a file."""

    def __init__(self, path: pathlib.Path, plan: Plan, encoding: Encoding):
        self._plan, self._encoding = plan, encoding
        drawing = _Drawing(encoding.height, encoding.width, plan.rate, "")
        self._converter = colour.Converter(drawing.conversion)
        self._writer = FilmWriter(Shell(path, plan.container), encoding, core_count())

    def put(self, pixels: np.ndarray, number: int) -> None:
        """Encodes frame `number`."""
        from av import VideoFrame

        rgb = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
        encoding, rate = self._encoding, self._plan.rate
        given = VideoFrame.from_ndarray(rgb, format="rgb24")
        given.time_base = Fraction(1, rate.numerator)
        given.pts, given.duration = number * rate.denominator, rate.denominator
        size = encoding.height, encoding.width
        self._writer.encode(
            self._converter.to_frame(given, encoding.pixel_format, size, encoding.full_range)
        )

    def close(self) -> None:
        """Writes what is held back, and the end of the file."""
        self._writer.close()

    def abandon(self) -> None:
        """Lets go of a file that is not to be kept."""
        self._writer.abandon()
