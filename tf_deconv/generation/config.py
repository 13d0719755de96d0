"""Options of `sample` and `edit`, and their checks."""

from __future__ import annotations

import dataclasses

from tf_deconv.inference.config import trust_option
from tf_deconv.utils.options import LARGEST_SEED, UserError, option, refuse_options, validate

SOLVERS = ("euler", "heun")
# How a flow makes pictures unless asked otherwise: docs/decisions/0013-generation.md.
FLOW_STEPS, FLOW_SOLVER, FLOW_GUIDANCE = 25, "heun", 1.5


EDITS = ("reconstruct", "interpolate", "inpaint")
GENERATOR = "generator: run folder, .keras file, SavedModel folder or .tflite file"


def check_edit_config(config: EditConfig, count: int) -> EditConfig:
    """Validates the options of an edit.

    Args:
      config: The options.
      count: Number of pictures.
    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config)
    others = [name for name, action in _OF_AN_ACTION.items() if action != config.action]
    refuse_options(config, others, f"action {config.action!r}")
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


def check_generator_options(config: SampleConfig | EditConfig, kind: str, classes: int) -> None:
    """Refuses options of `sample` and `edit` that do not fit the generator.

    Args:
      config: Valid options.
      kind: "vae" or "flow".
      classes: Number of classes; 0 for a generator without labels.
    Raises:
      UserError: with every fault in one line.
    """
    if kind == "vae":
        refuse_options(config, _OF_A_FLOW, "a VAE, which makes its pictures in one step")
    if not classes:
        refuse_options(config, _OF_LABELS, "a generator that was trained without labels")
    if config.label is not None and config.label >= classes:
        raise UserError(f"label={config.label}: expected 0 to {classes - 1}")


_OF_A_FLOW = ("steps", "solver", "guidance", "gif")
_OF_LABELS = ("label", "guidance")
_OF_AN_ACTION = dict(mask="inpaint", variants="inpaint", seed="inpaint", frames="interpolate")

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
    trust: bool = trust_option()
    out: str = option(
        "samples",
        "folder that receives sample-N.png, grid.png and samples.json",
        metavar="FOLDER",
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
    trust: bool = trust_option()
    out: str = option(
        "edited",
        "folder that receives grid.png, and NAME-ACTION.png or interpolation.gif",
        metavar="FOLDER",
        short="-o",
    )
