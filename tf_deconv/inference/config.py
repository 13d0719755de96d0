"""Options of `restore`, and those that commands with a model share."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_deconv.config.choices import (
    EDITS,
    FLOW_GUIDANCE,
    FLOW_SOLVER,
    FLOW_STEPS,
    GENERATOR,
    SOLVERS,
)
from tf_deconv.utils.options import LARGEST_SEED, option

MODEL = "run folder, .keras file, SavedModel folder, .tflite file or name of a shipped model"


def tile_size_option(when: str = "") -> Any:
    """Declares `--tile-size`; `when` comes before what it is."""
    return option(
        0,
        f"{when}side of the tiles that a picture is restored in, overlap included, in pixels; 0"
        " chooses",
        minimum=0,
        maximum=2**16,
    )


def self_ensemble_option(when: str = "") -> Any:
    """Declares `--self-ensemble`; `when` comes before what it does."""
    return option(
        False,
        f"{when}mean over the 8 flips and turns of each picture: 8 times slower, a little better",
    )


@dataclasses.dataclass(frozen=True)
class RestoreConfig:
    """Everything that decides how pictures are restored."""

    model: str | None = option(None, MODEL, type=str)
    out: str = option("restored", "folder that receives the pictures, under the names they have")
    tile_size: int = tile_size_option()
    self_ensemble: bool = self_ensemble_option()
    skip_existing: bool = option(False, "leave out pictures that are in --out already")
    engine: str = option(
        "local",
        "what does the work; beam: worker processes of Apache Beam, here or on a cluster, and a"
        " run that was stopped goes on (pip install 'tf-deconv[beam]')",
        choices=("beam", "local"),
    )
    workers: int = option(
        0,
        "with --engine beam: worker processes on a machine, which share its cores; 0: one for each",
        minimum=0,
        maximum=1024,
    )
    beam_args: str | None = option(
        None,
        "with --engine beam: options of Beam's own, as one text: --beam-args='--runner=FlinkRunner"
        " --flink_master=HOST:8081'; worker processes on this machine when left out",
        type=str,
    )
    max_pixels: int = option(
        2**28, "largest picture that is read or written, in pixels", minimum=1, maximum=2**34
    )


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """Everything that decides which pictures a generator makes."""

    model: str | None = option(None, GENERATOR, type=str)
    count: int = option(64, "number of pictures", minimum=1, maximum=100_000)
    seed: int = option(
        0, "integer from which the noise of each picture comes", minimum=0, maximum=LARGEST_SEED
    )
    label: int | None = option(
        None,
        "class of all pictures, from 0, for a conditional model; its classes in turn when left out",
        minimum=0,
        type=int,
    )
    steps: int = option(
        FLOW_STEPS, "steps of a flow, from noise to picture", minimum=1, maximum=1000
    )
    solver: str = option(FLOW_SOLVER, "how a flow takes its steps", choices=SOLVERS)
    guidance: float = option(
        FLOW_GUIDANCE,
        "how far a conditional flow leans towards the label: 1 as trained, more for purer and less"
        " varied pictures, 0 not at all",
        minimum=0.0,
        maximum=20.0,
    )
    gif: bool = option(False, "also write path.gif: a flow's way from noise to pictures")
    out: str = option("samples", "folder that receives sample-N.png, grid.png and samples.json")


@dataclasses.dataclass(frozen=True)
class EditConfig:
    """Everything that decides how a generator edits pictures."""

    model: str | None = option(None, GENERATOR, type=str)
    action: str = option(
        "reconstruct",
        "reconstruct: through the latent and back; interpolate: between two pictures; inpaint: fill"
        " --mask anew (flow)",
        choices=EDITS,
    )
    mask: str | None = option(
        None,
        "for inpaint: left, right, top, bottom, center, or a picture file that is white where"
        " pixels are to be made anew",
        type=str,
    )
    variants: int = option(4, "for inpaint: ways to fill each picture", minimum=1, maximum=64)
    frames: int = option(
        16, "for interpolate: pictures from one to the other", minimum=2, maximum=256
    )
    label: int | None = option(
        None,
        "class of the pictures, from 0, for a conditional model; those beside a stack, else none,"
        " when left out",
        minimum=0,
        type=int,
    )
    seed: int = option(
        0, "for inpaint: integer from which all noise comes", minimum=0, maximum=LARGEST_SEED
    )
    steps: int = option(
        25,
        "steps of a flow, from noise to picture; inpaint takes each 16 times",
        minimum=1,
        maximum=1000,
    )
    guidance: float = option(
        1.0, "how far a conditional flow leans towards the label", minimum=0.0, maximum=20.0
    )
    out: str = option(
        "edited", "folder that receives grid.png, and NAME-ACTION.png or interpolation.gif"
    )
