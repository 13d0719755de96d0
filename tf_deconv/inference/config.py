"""Options of `restore`, and those that commands with a model share."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from typing import Any

from tf_deconv.images.value_range import parse_range
from tf_deconv.inference.engines import ENGINES, PRECISIONS, check_threads
from tf_deconv.inference.shipped import DEFAULT
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError, option, refuse_options, validate
from tf_deconv.video.codecs import check_crf, codec_named

MODEL = "run folder, .keras file, SavedModel folder, .tflite file or name of a shipped model"

# A century; more is a slip of the finger.
_LONGEST_S = 3.2e9
_SECONDS = re.compile(r"\d+(\.\d*)?|\.\d+")
# What a sheet's file ends in.
SHEETS = (".png", ".jpg", ".jpeg")
# Headings of the help.
COMPUTING = "how it is computed"
FILMS = "films"


def tile_size_option(when: str = "", group: str = COMPUTING) -> Any:
    """Declares `--tile-size`; `when` comes before what it is."""
    return option(
        0,
        f"{when}side of the tiles that a picture is restored in, overlap included, in pixels; 0"
        " chooses",
        minimum=0,
        maximum=2**16,
        group=group,
        metavar="PX",
    )


def self_ensemble_option(when: str = "", group: str = COMPUTING) -> Any:
    """Declares `--self-ensemble`; `when` comes before what it does."""
    return option(
        False,
        f"{when}mean over the 8 flips and turns of each picture: 8 times slower, a little better",
        group=group,
    )


def trust_option() -> Any:
    """Declares `--trust`."""
    return option(
        False,
        "open a SavedModel whose graph can do more than compute, such as read files; only if you"
        " know who made it",
        group=COMPUTING,
    )


def codec_option(otherwise: str) -> Any:
    """Declares `--codec`; `otherwise` says what a film is written in without it."""
    return option(
        None,
        "codec of the film that is written: h264, hevc, av1, vp9, vp8, ffv1 (without loss), mpeg4,"
        f" mpeg2, mjpeg or prores; {otherwise}",
        type=str,
        group=FILMS,
        metavar="CODEC",
    )


def crf_option() -> Any:
    """Declares `--crf`."""
    return option(
        None,
        "quality of that codec, 0 the best, to 51 (h264, hevc) or 63; one at which no loss is seen"
        " when left out",
        minimum=0,
        maximum=63,
        type=int,
        group=FILMS,
        metavar="CRF",
    )


@dataclasses.dataclass(frozen=True)
class RestoreConfig:
    """Everything that decides how pictures are restored."""

    model: str | None = option(None, f"{MODEL}; {DEFAULT} when left out", type=str, metavar="MODEL")
    out: str = option(
        "restored",
        "folder that receives the pictures and films, under the names they have; or, of one, the"
        " file to write, such as x.png or x.mp4, whose type is that of its name",
        metavar="FOLDER|FILE",
        short="-o",
    )
    strength: float = option(
        1.0,
        "how much of the model's change is made: 0 none, 1 all of it, 2 twice as much",
        minimum=0,
        maximum=2,
        metavar="FACTOR",
    )
    skip_existing: bool = option(
        False, "leave out pictures that are in --out already: a run that was stopped goes on"
    )
    overwrite: bool = option(False, "replace pictures that are in --out already")
    format: str | None = option(
        None,
        "type of file to write; that of each picture when left out",
        choices=("avif", "jpeg", "png", "tiff", "webp"),
        type=str,
        group="the files",
        metavar="TYPE",
    )
    quality: int | None = option(
        None,
        "1 to 100, for types with loss; nearly none is lost when left out (JPEG 95, 4:4:4)",
        minimum=1,
        maximum=100,
        type=int,
        group="the files",
        metavar="QUALITY",
    )
    range: str = option(
        "auto",
        "which values of a picture are black and white: auto, full, percentile:0.1-99.9 or"
        " LOW-HIGH; undone when the result is written",
        group="the files",
        metavar="RANGE",
    )
    sheet: str | None = option(
        None,
        "also write a sheet of the pictures and films before and after: a .png or .jpg file; of"
        " many some rows",
        type=str,
        metavar="FILE",
    )
    dry_run: bool = option(
        False,
        "write nothing; tell what would be read, by which model, and what would be written,"
        " replaced or skipped",
    )
    verbose: bool = option(
        False, "tell of each picture how long it took and how it was cut into tiles", short="-v"
    )
    tile_size: int = tile_size_option()
    self_ensemble: bool = self_ensemble_option()
    trust: bool = trust_option()
    exact: bool = option(
        False,
        "let tiles overlap by all that the network sees; else in pictures of 8 bits by what changes"
        " a pixel by half a level",
        group=COMPUTING,
    )
    engine: str = option(
        "auto",
        "what computes; auto: LiteRT where the model has a .tflite file, else TensorFlow; beam:"
        f" worker processes of Apache Beam, here or on a cluster ({how_to_install('beam')})",
        choices=("auto", *ENGINES, "beam"),
        group=COMPUTING,
        metavar="ENGINE",
    )
    precision: str = option(
        "auto",
        "arithmetic; auto: int8 for pictures of 8 bits where the model's own loss is at most 0.05"
        " dB, else float32",
        choices=PRECISIONS,
        group=COMPUTING,
    )
    threads: int | None = option(
        None,
        "threads; one for each core when left out",
        minimum=1,
        type=int,
        group=COMPUTING,
        metavar="COUNT",
    )
    workers: int = option(
        0,
        "with --engine beam: worker processes on this machine; 0: one for each core",
        minimum=0,
        maximum=1024,
        group=COMPUTING,
        metavar="COUNT",
    )
    beam_args: str | None = option(
        None,
        "with --engine beam: options of Beam's own, as one text: --beam-args='--runner=FlinkRunner"
        " --flink_master=HOST:8081'; worker processes on this machine when left out",
        type=str,
        group=COMPUTING,
        metavar="OPTIONS",
    )
    codec: str | None = codec_option(
        "the film's own when left out, where there is an encoder of it"
    )
    crf: int | None = crf_option()
    start: str | None = option(
        None,
        "where to begin: seconds, or minutes and seconds such as 1:30.5",
        type=str,
        group=FILMS,
        metavar="TIME",
    )
    duration: str | None = option(
        None,
        "how much to restore: seconds, or minutes and seconds",
        type=str,
        group=FILMS,
        metavar="TIME",
    )
    frames: str | None = option(
        None,
        "write pictures, 000001.png and so on, into this folder instead of a film, and frames.csv,"
        " which says when each is shown",
        type=str,
        group=FILMS,
        metavar="FOLDER",
    )
    resume: bool = option(
        False,
        "write the film in parts beside it, so that the same command goes on after a kill; they are"
        " joined at the end",
        group=FILMS,
    )
    max_pixels: int = option(
        2**28,
        "largest picture that is read or written, in pixels",
        minimum=1,
        maximum=2**34,
        group="the files",
        metavar="PIXELS",
    )


def check_restore_config(config: RestoreConfig) -> RestoreConfig:
    """Checks the options of a restoration.

    Raises:
      UserError: with all faults in one line.
    """
    config = validate(config)
    _check_files(config)
    _check_films(config)
    check_threads(config.threads)
    given = [
        f"{name}={value!r}" for name in ("workers", "beam_args") if (value := getattr(config, name))
    ]
    if given and config.engine != "beam":
        raise UserError(f"{', '.join(given)}: expected --engine beam with it")
    if config.sheet is not None and not config.sheet.lower().endswith(SHEETS):
        raise UserError(f"sheet={config.sheet!r}: expected a file ending in {', '.join(SHEETS)}")
    if config.skip_existing and config.overwrite:
        raise UserError("skip_existing=True with overwrite=True: leave one of them out")
    if config.workers and config.beam_args:
        raise UserError(
            f"workers={config.workers}: expected without --beam-args, which say how many there are"
        )
    return config


def parse_time(name: str, text: str | None) -> float | None:
    """Returns the seconds that `--start` or `--duration` says; None of None.

    Raises:
      UserError: if it is no time.
    """
    if text is None:
        return None
    *larger, seconds = text.split(":")
    fine = all(part.isdecimal() for part in larger) and len(larger) <= 2
    try:
        value = float(seconds) if fine and _SECONDS.fullmatch(seconds) else math.nan
    except ValueError:
        value = math.nan
    for place, part in enumerate(reversed(larger), 1):
        value += int(part) * 60**place
    if not 0 <= value < _LONGEST_S:
        raise UserError(f"{name}={text!r}: expected seconds such as 90.5, or a time such as 1:30.5")
    return value


def _check_films(config: RestoreConfig) -> None:
    parse_time("start", config.start)
    if parse_time("duration", config.duration) == 0:
        raise UserError(f"duration={config.duration!r}: expected more than 0 seconds")
    if config.codec is not None:
        check_crf(codec_named(config.codec), config.crf)
    if config.frames is not None:
        refuse_options(config, ("codec", "crf", "resume", "sheet"), f"frames={config.frames!r}")


def _check_files(config: RestoreConfig) -> None:
    try:
        parse_range(config.range)
    except ValueError as error:
        raise UserError(str(error)) from error
    if config.quality is not None and config.format in ("png", "tiff"):
        raise UserError(
            f"quality={config.quality} with format={config.format!r}: expected a type with loss, or"
            " no quality"
        )


def load_config(model: str | os.PathLike[str] | None, **options: Any) -> RestoreConfig:
    """Returns the options of `load`, checked.

    Args:
      model: The model.
      **options: Fields of `RestoreConfig`.
    Raises:
      UserError: with all faults in one line.
    """
    config = RestoreConfig(model=None if model is None else os.fspath(model), **options)
    if config.engine == "beam":
        expected = ", ".join(sorted(("auto", *ENGINES)))
        raise UserError(f"engine='beam': expected one of {expected}; beam is of `restore` alone")
    return check_restore_config(config)
