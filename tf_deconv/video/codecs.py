"""Which codec a film is written in, by which encoder, and how frames are stored in it.

A film keeps its codec where there is an encoder of it, in a quality at which no loss is seen; its
pixel format is kept too, or becomes the one that loses least.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tf_deconv.utils.files import silent_stderr
from tf_deconv.utils.options import UserError, nearest
from tf_deconv.video.colour import (
    FULL_RANGE,
    LIMITED_RANGE,
    Colour,
    Mastering,
    PixelFormat,
    describe_format,
)
from tf_deconv.video.containers import Container

# A small network takes 40 ms for a frame of 640x360, and what is around it should take little of
# that: x264 takes 3.6 ms so, and 6 ms with the preset veryfast (benchmarks/films.py). Nor has this
# preset mbtree, with which x264 gives other bytes each time at most sizes (PyAV 18.1): a film that
# is gone on with would not be the one that was never stopped.
_PRESET = "superfast"
_X264 = "mbtree=0"
# Frames between two key frames: a player seeks to one.
_KEY_DISTANCE = 250
# In a second, of frames of one rate, between which some may be left out.
_MOST_TICKS = 240
# MPEG-4 part 2 has 16 bits for the units of a second.
_MOST_UNITS_OF_MPEG4 = 65535


@dataclasses.dataclass(frozen=True)
class Codec:
    """A codec that films are written in.

    Attributes:
      name: As `--codec` takes it; FFmpeg's name of the codec but for "mpeg2".
      encoder: FFmpeg's name of the encoder.
      crf: The quality at which no loss is seen, smaller is better; None: there is none to choose.
      most_crf: The worst one.
      even: Whether sides have to be even where chroma has half of the columns or lines.
      options: Of the encoder, by its quality.
      holds_hdr: How the encoder is told of PQ, HLG and the screen of the mastering; None: it is
        not told.
      one_rate: Whether all frames last equally long.
      marks_fields: Whether it marks the fields of interlaced frames.
      holds_captions: Whether its encoder writes closed captions (CEA-708) among the pictures.
    """

    name: str
    encoder: str
    crf: int | None
    most_crf: int = 0
    even: bool = False
    options: Callable[[int], dict[str, str]] = lambda crf: {}
    holds_hdr: Callable[[Mastering], dict[str, str]] | None = None
    one_rate: bool = False
    marks_fields: bool = False
    holds_captions: bool = False


def _screen(mastering: Mastering, unit: int, light_unit: int) -> str:
    """Writes ST 2086 as encoders take it: G, B, R, white, luminance; in so many to one."""
    red, green, blue, white = (mastering.primaries[n : n + 2] for n in (0, 2, 4, 6))
    points = zip("GBR", (green, blue, red))
    text = "".join(f"{name}({_units(point, unit)})" for name, point in points)
    low, high = mastering.luminance or (0.0, 0.0)
    return (
        f"{text}WP({_units(white, unit)})L({_number(high, light_unit)},{_number(low, light_unit)})"
    )


def _units(point: tuple[float, ...], unit: int) -> str:
    return ",".join(_number(value, unit) for value in point)


def _number(value: float, unit: int) -> str:
    return str(round(value * unit)) if unit > 1 else f"{value:.6g}"


def _for_x265(mastering: Mastering) -> dict[str, str]:
    parts = ["log-level=none", "repeat-headers=1", "hdr10=1"]
    if mastering.primaries and mastering.luminance:
        parts.append(f"master-display={_screen(mastering, 50000, 10000)}")
    if mastering.light:
        parts.append("max-cll={},{}".format(*mastering.light))
    return {"x265-params": ":".join(parts)}


def _for_x264(mastering: Mastering) -> dict[str, str]:
    parts = [_X264]
    if mastering.primaries and mastering.luminance:
        parts.append(f"mastering-display={_screen(mastering, 50000, 10000)}")
    if mastering.light:
        parts.append("cll={},{}".format(*mastering.light))
    return {"x264-params": ":".join(parts)}


def _for_svt(mastering: Mastering) -> dict[str, str]:
    parts = []
    if mastering.primaries and mastering.luminance:
        parts.append(f"mastering-display={_screen(mastering, 1, 1)}")
    if mastering.light:
        parts.append("content-light={},{}".format(*mastering.light))
    return {"svtav1-params": ":".join(parts)}


def _constant_scale(scale: int) -> dict[str, str]:
    """Returns how MPEG-1, 2, 4 and MJPEG keep one quality; 1 is the best."""
    return {"flags": "+qscale", "global_quality": str(118 * scale)}


CODECS = {
    entry.name: entry
    for entry in (
        Codec(
            "h264",
            "libx264",
            17,
            51,
            even=True,
            options=lambda crf: {"crf": str(crf), "preset": _PRESET, "x264-params": _X264},
            holds_hdr=_for_x264,
            marks_fields=True,
            holds_captions=True,
        ),
        Codec(
            "hevc",
            "libx265",
            16,
            51,
            even=True,
            options=lambda crf: {
                "crf": str(crf),
                "preset": _PRESET,
                "x265-params": "log-level=none",
                "a53cc": "1",
            },
            holds_hdr=_for_x265,
            holds_captions=True,
        ),
        Codec(
            "av1",
            "libsvtav1",
            20,
            63,
            even=True,
            options=lambda crf: {"crf": str(crf), "preset": "8"},
            holds_hdr=_for_svt,
        ),
        Codec(
            "vp9",
            "libvpx-vp9",
            16,
            63,
            options=lambda crf: {
                "crf": str(crf),
                "b": "0",
                "deadline": "good",
                "cpu-used": "5",
                "row-mt": "1",
            },
        ),
        Codec(
            "vp8",
            "libvpx",
            6,
            63,
            # Its quality is bounded by a rate, which is set out of the way.
            options=lambda crf: {
                "crf": str(crf),
                "b": "100M",
                "deadline": "good",
                "cpu-used": "4",
                "auto-alt-ref": "0",
            },
        ),
        Codec("ffv1", "ffv1", None, options=lambda crf: {"level": "3", "slicecrc": "1"}),
        Codec("mpeg4", "mpeg4", None, options=lambda crf: _constant_scale(2)),
        Codec(
            "mpeg2",
            "mpeg2video",
            None,
            # It makes no frames that are shown out of order, and says so: else AVI, which has no
            # time stamps, would show all of them one frame late.
            options=lambda crf: {**_constant_scale(2), "flags": "+qscale+low_delay"},
            one_rate=True,
            marks_fields=True,
            holds_captions=True,
        ),
        Codec("mjpeg", "mjpeg", None, options=lambda crf: _constant_scale(2)),
        Codec("prores", "prores_ks", None, even=True, options=lambda crf: {"profile": "3"}),
    )
}
_ALIASES = {
    "libx264": "h264",
    "x264": "h264",
    "avc": "h264",
    "h265": "hevc",
    "libx265": "hevc",
    "x265": "hevc",
    "libvpx-vp9": "vp9",
    "libvpx": "vp8",
    "libsvtav1": "av1",
    "mpeg2video": "mpeg2",
}
# What FFmpeg calls codecs that lose nothing; a film of them is written without loss where it can.
_LOSSLESS = (
    *("ffv1", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "rawvideo", "qtrle", "png", "v210"),
    *("lagarith", "zlib", "zmbv", "flashsv", "r210", "cllc", "fraps"),
)
# Containers that do not store when a frame is shown: there frames have to be shown in the order in
# which they are decoded, and at one rate.
_IN_ORDER = ("AVI",)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a film is encoded.

    Attributes:
      codec: The codec.
      pixel_format: FFmpeg's name of it.
      height: Of a frame, in pixels.
      width: Of a frame.
      options: Of the encoder.
      time_base: Seconds for each unit of the time stamps.
      rate: Frames in a second, on average.
      aspect: Width of a pixel by its height.
      colour: What the film says of its colours.
      full_range: Whether luma fills its values.
      fields: "top" or "bottom" of an interlaced film; None: progressive.
      tag: Four letters that name the codec in MP4 and MOV; None: the usual ones.
    """

    codec: Codec
    pixel_format: str
    height: int
    width: int
    options: dict[str, str]
    time_base: Fraction
    rate: Fraction
    aspect: Fraction
    colour: Colour
    full_range: bool
    fields: str | None
    tag: str | None


def codec_named(name: str) -> Codec:
    """Returns the codec that --codec names.

    Raises:
      UserError: if there is none.
    """
    key = _ALIASES.get(name.lower(), name.lower())
    if key not in CODECS:
        hint = nearest(name, CODECS)
        raise UserError(f"codec={name!r}{hint}: expected {', '.join(CODECS)}")
    return CODECS[key]


def check_crf(codec: Codec, crf: int | None) -> int:
    """Returns the quality of a codec, its own where none is given.

    Raises:
      UserError: if it is out of the codec's range, or the codec has none.
    """
    if crf is None:
        return codec.crf or 0
    if codec.crf is None:
        with_one = ", ".join(name for name, each in CODECS.items() if each.crf is not None)
        raise UserError(
            f"--crf {crf}: {codec.name} has none, it is written at its best; expected --codec"
            f" {with_one}, or no --crf"
        )
    if not 0 <= crf <= codec.most_crf:
        raise UserError(f"--crf {crf}: expected 0 to {codec.most_crf} of {codec.name}, 0 the best")
    return crf


def choose_codec(asked: str | None, source: str, container: Container) -> Codec:
    """Chooses the codec of a film.

    Args:
      asked: What --codec names; None: the film's own, or the nearest one.
      source: FFmpeg's name of the film's codec.
      container: What it is written in.
    Raises:
      UserError: if the container does not hold the codec that is asked for.
    """
    if asked is not None:
        codec = codec_named(asked)
        if codec.name not in container.codecs:
            raise UserError(
                f"{container.name} does not hold {asked}: expected --codec"
                f" {', '.join(container.codecs)}, or another container by --out NAME.mkv"
            )
        return codec
    if source in CODECS and source in container.codecs and source != "mpeg2":
        return CODECS[source]
    if source in _LOSSLESS:
        for name in ("ffv1", "prores"):
            if name in container.codecs:
                return CODECS[name]
    return CODECS[container.codecs[0]]


@functools.cache
def _formats_of(encoder: str) -> tuple[str, ...]:
    from av.codec import Codec as AvCodec

    return tuple(each.name for each in AvCodec(encoder, "w").video_formats or ())


def choose_pixel_format(codec: Codec, pixels: PixelFormat) -> tuple[str, str]:
    """Chooses how frames are stored.

    Args:
      codec: What encodes them.
      pixels: How the film stores them.
    Returns:
      FFmpeg's name; and what of a frame it does not hold, for a note, or "".
    """
    plain = pixels.name.replace("yuvj", "yuv")
    offered = [name for name in _formats_of(codec.encoder) if not name.startswith("yuvj")]
    offered = [name for name in offered if "f16" not in name and "f32" not in name]
    if plain in offered:
        return plain, ""
    choices = [
        describe_format(name)
        for name in offered
        # Planes that lie in one another are other names of what is there anyway.
        if not name.startswith(("nv", "p0", "ya"))
    ]
    best = min(choices, key=lambda each: _loss(pixels, each))
    lost = []
    if best.bits < pixels.bits:
        lost.append(f"more than {best.bits} bits")
    if best.chroma[0] * best.chroma[1] > pixels.chroma[0] * pixels.chroma[1]:
        lost.append("colour at full resolution")
    return best.name, " and ".join(lost)


def _loss(pixels: PixelFormat, candidate: PixelFormat) -> tuple[float, ...]:
    """Orders pixel formats: what loses the least first, and then what takes the least more."""
    colours = min(pixels.channels, 3)
    chroma = tuple(max(have / want, 1) for have, want in zip(candidate.chroma, pixels.chroma))
    sharper = tuple(max(want / have, 1) for have, want in zip(candidate.chroma, pixels.chroma))
    return (
        max(0, colours - min(candidate.channels, 3)),
        max(0, pixels.bits - candidate.bits) + 2 * (chroma[0] * chroma[1] - 1),
        pixels.channels == 4 and candidate.channels != 4,
        pixels.is_rgb != candidate.is_rgb and pixels.is_rgb,
        max(0, candidate.bits - pixels.bits),
        sharper[0] * sharper[1],
        candidate.channels - pixels.channels,
    )


def check_encoder(encoding: Encoding) -> None:
    """Tries an encoder: some take no small frames, or only some rates.

    Raises:
      UserError: if it refuses.
    """
    import av

    context = av.CodecContext.create(encoding.codec.encoder, "w")
    context.height, context.width = encoding.height, encoding.width
    context.pix_fmt, context.options = encoding.pixel_format, encoding.options
    context.time_base, context.framerate = encoding.time_base, encoding.rate
    context.color_range = FULL_RANGE if encoding.full_range else encoding.colour.range
    try:
        with silent_stderr(show=False):  # Encoders introduce themselves.
            context.open()
    except av.FFmpegError as error:
        raise UserError(
            f"{encoding.codec.name} does not take frames of {encoding.width}x{encoding.height} at"
            f" {float(encoding.rate):.4g} a second: expected another --codec, such as h264"
        ) from error


def plan_encoding(
    film: Any, container: Container, scale: int, asked: str | None, crf: int | None
) -> tuple[Encoding, list[str]]:
    """Decides how a film is encoded.

    Args:
      film: `reading.Film`.
      container: What it is written in.
      scale: Output pixels per input pixel along each axis.
      asked: What --codec names; None: the film's own codec.
      crf: What --crf says; None: a quality at which no loss is seen.
    Returns:
      The encoding; and notes about what it does not keep.
    Raises:
      UserError: if the container does not hold the codec, or the codec has no such quality.
    """
    codec = choose_codec(asked, film.codec, container)
    quality = check_crf(codec, crf)
    pixels = film.pixels
    if film.codec == "gif":
        # 256 colours have no fine ones to lose, and few devices play colour at full resolution.
        pixels = dataclasses.replace(pixels, chroma=(2, 2), is_rgb=False)
    if codec.name == film.codec == "h264" and pixels.is_rgb:
        # As screens are recorded; of another codec's film it would be H.264 that few devices play.
        codec = dataclasses.replace(codec, encoder="libx264rgb")
    pixel_format, lost = choose_pixel_format(codec, pixels)
    notes = [f"{codec.name} does not hold {lost}, which the film has"] if lost else []
    stored = describe_format(pixel_format)
    if pixels.is_rgb and not stored.is_rgb and not lost:
        notes.append(
            f"its red, green and blue became luma and chroma of {stored.bits} bits, as"
            f" {codec.name} is written: each value is rounded"
        )
    height, width = film.height * scale, film.width * scale
    if codec.even and stored.chroma != (1, 1):
        even = height + height % 2 * (stored.chroma[1] > 1), width + width % 2
        if even != (height, width):
            notes.append(
                f"{width}x{height} became {even[1]}x{even[0]}: {codec.name} stores the colours of"
                " two columns and lines together; the last ones are repeated"
            )
            height, width = even
    options = codec.options(quality)
    if codec.name in ("h264", "hevc", "av1", "mpeg4", "mpeg2", "vp9"):
        options["g"] = str(_KEY_DISTANCE)
    if container.name in _IN_ORDER:
        options["bf"] = "0"
    if codec.name == "prores" and stored.chroma == (1, 1):
        # 4444; the profile of 4:2:2 leaves transparency out.
        options["profile"] = "4"
    colour = film.colour
    hdr = colour.hdr
    if hdr:
        notes.append(
            f"the film is HDR ({hdr}): it stays so and its light is not converted; the model"
            " learned from pictures of ordinary brightness"
        )
        if stored.bits < 10:
            raise UserError(
                f"is HDR ({hdr}), which needs 10 bits: {codec.name} stores {stored.bits};"
                " expected --codec hevc, av1 or ffv1"
            )
    if film.mastering is not None:
        if codec.holds_hdr is not None:
            options.update(codec.holds_hdr(film.mastering))
        else:
            notes.append(f"the screen that the film was made on is not told in {codec.name}")
    if film.fields is not None:
        notes.append(
            f"the film is interlaced ({film.fields} field first): its fields were restored one by"
            " one, and stay woven"
        )
        if codec.marks_fields:
            options["flags"] = options.get("flags", "") + "+ildct+ilme"
            if film.fields == "bottom" and "x264-params" in options:
                # Else the stream's head says the top field, and its frames the bottom one.
                options["x264-params"] += ":bff=1"
        else:
            notes.append(f"{codec.name} does not mark fields: a player has to be told")
    rate = film.rate or Fraction(25)
    time_base = film.time_base
    if codec.one_rate or container.name in _IN_ORDER:
        # Of a film whose rate varies, the rate at whose ticks its frames are.
        ticks = film.tick_rate or rate
        rate = ticks if ticks <= _MOST_TICKS else rate
        time_base = 1 / Fraction(rate)
    elif codec.name == "mpeg4" and time_base.denominator > _MOST_UNITS_OF_MPEG4:
        time_base = Fraction(1, 60000)
    full = stored.is_rgb or film.conversion.range == FULL_RANGE
    becomes_luma = film.pixels.is_rgb and not stored.is_rgb
    if becomes_luma:  # As players expect it.
        full = False
    if codec.name == "mjpeg":  # JPEG knows no other range.
        full = True
    if becomes_luma:
        said = FULL_RANGE if full else LIMITED_RANGE
        colour = dataclasses.replace(colour, matrix=film.conversion.matrix, range=said)
    tag = "hvc1" if codec.name == "hevc" and container.demuxer == "mov" else None
    return (
        Encoding(
            codec,
            pixel_format,
            height,
            width,
            options,
            time_base,
            Fraction(rate),
            film.aspect,
            colour,
            full,
            film.fields if codec.marks_fields else None,
            tag,
        ),
        notes,
    )
