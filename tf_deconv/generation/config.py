"""Options of `sample` and `edit`, and their checks."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from tf_deconv.images import formats
from tf_deconv.inference.config import FILMS, codec_option, crf_option, trust_option
from tf_deconv.utils.options import LARGEST_SEED, UserError, option, refuse_options, validate
from tf_deconv.video.codecs import check_crf, codec_named
from tf_deconv.video.containers import CONTAINER_OF, SUFFIXES

SOLVERS = ("euler", "heun")
# How a flow makes pictures unless asked otherwise: docs/decisions/0013-generation.md.
FLOW_STEPS, FLOW_SOLVER, FLOW_GUIDANCE = 25, "heun", 1.5


# What a picture on its way is shown for, unless asked otherwise: 80 ms.
FRAME_RATE = 12.5
# A GIF counts in hundredths of a second, and players show one of them as ten.
_FASTEST_GIF = 50.0
_GIF = ".gif"

EDITS = ("reconstruct", "interpolate", "inpaint")
GENERATOR = "generator: run folder, .keras file, SavedModel folder or .tflite file"


def film_of(out: str) -> pathlib.Path | None:
    """Returns the film, or the GIF, that --out names; None: it is a folder.

    Raises:
      UserError: if it is named as a picture, of which there are several, or as a film that cannot
        be written.
    """
    path = pathlib.Path(out)
    suffix = path.suffix.lower()
    known = {*SUFFIXES, *formats.SUFFIXES}
    if (suffix not in known and not formats.is_other(suffix)) or path.is_dir():
        return None
    if suffix != _GIF and suffix not in CONTAINER_OF:
        raise UserError(
            f"out={out!r}: no {suffix} file can be written; expected a folder, or a file ending in"
            f" {', '.join(CONTAINER_OF)} or {_GIF}"
        )
    return path


def is_gif(path: pathlib.Path) -> bool:
    """Returns whether what `film_of` found is a GIF."""
    return path.suffix.lower() == _GIF


def check_film(config: SampleConfig | EditConfig, writes_gif: bool) -> None:
    """Checks the options of a film, before any generator is opened.

    Args:
      config: Valid options.
      writes_gif: Whether a GIF is written into the folder that --out names.
    Raises:
      UserError: with the first fault.
    """
    film = film_of(config.out)
    if film is not None:
        writes_gif = is_gif(film)
    if film is None or writes_gif:
        what = f"out={config.out!r}, which is no film such as x.mp4"
        refuse_options(config, ("codec", "crf"), what)
    if film is None and not writes_gif:
        refuse_options(config, ("frame_rate",), "neither a film nor a GIF")
    if writes_gif and config.frame_rate > _FASTEST_GIF:
        raise UserError(
            f"frame_rate={config.frame_rate:g}: expected at most {_FASTEST_GIF:g} of a GIF, or a"
            " film such as --out x.mp4"
        )
    if config.codec is not None:
        check_crf(codec_named(config.codec), config.crf)


def _frame_rate_option() -> Any:
    """Declares `--frame-rate`."""
    return option(
        FRAME_RATE,
        "pictures shown in a second, in a film or GIF, which rounds to hundredths of a second",
        minimum=1.0,
        maximum=120.0,
        group=FILMS,
        metavar="RATE",
    )


def check_edit_config(config: EditConfig, count: int) -> EditConfig:
    """Validates the options of an edit.

    Args:
      config: The options.
      count: Number of pictures.
    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config)
    film = film_of(config.out)
    others = [name for name, action in _OF_AN_ACTION.items() if action != config.action]
    refuse_options(config, others, f"action {config.action!r}")
    if film is not None and config.action != "interpolate":
        raise UserError(
            f"out={config.out!r} with action {config.action!r}: expected a folder; a film is made"
            " of interpolate alone"
        )
    check_film(config, writes_gif=config.action == "interpolate")
    if config.action == "interpolate" and count != 2:
        raise UserError(
            f"{count} pictures with action 'interpolate': expected 2, the first and the last"
        )
    if config.action == "inpaint" and config.mask is None:
        raise UserError(
            "mask=None with action 'inpaint': expected what is to be made anew: left, right, top,"
            " bottom, center or a picture file"
        )
    return config


def check_sample_config(config: SampleConfig) -> SampleConfig:
    """Validates the options of `sample`.

    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config)
    if film_of(config.out) is not None:
        refuse_options(config, ("gif",), f"out={config.out!r}, which is the whole path")
    check_film(config, config.gif)
    return config


def check_generator_options(config: SampleConfig | EditConfig, kind: str, classes: int) -> None:
    """Refuses options of `sample` and `edit` that do not fit the generator.

    Args:
      config: Valid options.
      kind: "vae" or "flow".
      classes: Number of classes; 0 for a generator without labels.
    Raises:
      UserError: with every fault in one line.
    """
    if kind == "vae" and isinstance(config, SampleConfig) and film_of(config.out) is not None:
        raise UserError(
            f"out={config.out!r}: a VAE makes its pictures in one step, which is no way to film;"
            " expected a flow, or a folder"
        )
    if kind == "vae":
        refuse_options(config, _OF_A_FLOW, "a VAE, which makes its pictures in one step")
    if not classes:
        refuse_options(config, _OF_LABELS, "a generator that was trained without labels")
    if config.label is not None and config.label >= classes:
        raise UserError(f"label={config.label}: expected 0 to {classes - 1}")


_OF_A_FLOW = ("steps", "solver", "guidance", "gif")
_OF_LABELS = ("label", "guidance")
_OF_AN_ACTION = dict(
    **dict.fromkeys(("mask", "variants", "seed"), "inpaint"),
    **dict.fromkeys(("frames", "one_way"), "interpolate"),
)

FLOWS = "flows"  # Heading of the help.


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """Everything that decides which pictures a generator makes."""

    model: str | None = option(None, GENERATOR, type=str, metavar="MODEL")
    count: int = option(64, "number of pictures", minimum=1, maximum=100_000, metavar="COUNT")
    seed: int = option(
        0,
        "integer from which the noise of each picture comes",
        minimum=0,
        maximum=LARGEST_SEED,
        metavar="SEED",
    )
    label: int | None = option(
        None,
        "class of all pictures, from 0, for a conditional model; its classes in turn when left out",
        minimum=0,
        type=int,
        metavar="CLASS",
    )
    steps: int = option(
        FLOW_STEPS,
        "steps of a flow, from noise to picture",
        minimum=1,
        maximum=1000,
        group=FLOWS,
        metavar="COUNT",
    )
    solver: str = option(FLOW_SOLVER, "how a flow takes its steps", choices=SOLVERS, group=FLOWS)
    guidance: float = option(
        FLOW_GUIDANCE,
        "how far a conditional flow leans towards the label: 1 as trained, more for purer and less"
        " varied pictures, 0 not at all",
        minimum=0.0,
        maximum=20.0,
        group=FLOWS,
        metavar="FACTOR",
    )
    gif: bool = option(
        False, "also write path.gif: a flow's way from noise to pictures", group=FLOWS
    )
    frame_rate: float = _frame_rate_option()
    codec: str | None = codec_option("what most players play when left out")
    crf: int | None = crf_option()
    trust: bool = trust_option()
    out: str = option(
        "samples",
        "folder that receives sample-N.png, grid.png and samples.json; or the film to write, such"
        " as x.mp4, of a flow's way from noise to pictures",
        metavar="FOLDER|FILE",
        short="-o",
    )


@dataclasses.dataclass(frozen=True)
class EditConfig:
    """Everything that decides how a generator edits pictures."""

    model: str | None = option(None, GENERATOR, type=str, metavar="MODEL")
    action: str = option(
        "reconstruct",
        "reconstruct: through the latent and back; interpolate: between two pictures; inpaint: fill"
        " --mask anew (flow)",
        choices=EDITS,
        metavar="ACTION",
    )
    mask: str | None = option(
        None,
        "for inpaint: left, right, top, bottom, center, or a picture file that is white where"
        " pixels are to be made anew",
        type=str,
        metavar="MASK",
    )
    variants: int = option(
        4, "for inpaint: ways to fill each picture", minimum=1, maximum=64, metavar="COUNT"
    )
    frames: int = option(
        16,
        "for interpolate: pictures from one to the other",
        minimum=2,
        maximum=256,
        metavar="COUNT",
    )
    label: int | None = option(
        None,
        "class of the pictures, from 0, for a conditional model; those beside a stack, else none,"
        " when left out",
        minimum=0,
        type=int,
        metavar="CLASS",
    )
    seed: int = option(
        0,
        "for inpaint: integer from which all noise comes",
        minimum=0,
        maximum=LARGEST_SEED,
        metavar="SEED",
    )
    steps: int = option(
        25,
        "steps of a flow, from noise to picture; inpaint takes each 16 times",
        minimum=1,
        maximum=1000,
        group=FLOWS,
        metavar="COUNT",
    )
    guidance: float = option(
        1.0,
        "how far a conditional flow leans towards the label",
        minimum=0.0,
        maximum=20.0,
        group=FLOWS,
        metavar="FACTOR",
    )
    one_way: bool = option(
        False,
        "for interpolate: the film or GIF ends at the second picture, and does not go back",
        group=FILMS,
    )
    frame_rate: float = _frame_rate_option()
    codec: str | None = codec_option("what most players play when left out")
    crf: int | None = crf_option()
    trust: bool = trust_option()
    out: str = option(
        "edited",
        "folder that receives grid.png, and NAME-ACTION.png or interpolation.gif; or, of"
        " interpolate, the film to write, such as x.mp4",
        metavar="FOLDER|FILE",
        short="-o",
    )
