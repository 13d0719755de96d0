"""Options of `evaluate` and `benchmark`, and their checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tf_deconv.data.config import range_option
from tf_deconv.evaluation.protocols.published import PROTOCOLS
from tf_deconv.generation.config import FLOW_GUIDANCE, FLOW_STEPS
from tf_deconv.inference.config import (
    COMPUTING,
    MODEL,
    self_ensemble_option,
    tile_size_option,
    trust_option,
)
from tf_deconv.utils.options import UserError, given_options, option, refuse_options, validate

# Headings of the help.
GENERATORS, FILMS = "generators", "films"
EXPORT_GROUP, PROTOCOL_GROUP = "an export in every runtime", "models by a protocol"


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Everything that decides how a model is measured."""

    model: str | None = option(None, MODEL, type=str, metavar="MODEL")
    data: str | None = option(
        None,
        "pictures to measure on, all of them: what train's --data takes; 'bundled': the photographs"
        " of this package that training holds out, and the default for a model trained on the"
        " others (the shipped models have seen larger copies of them)",
        type=str,
        metavar="PICTURES",
    )
    targets: str | None = option(
        None,
        "folder of the pictures as they should be, under the names of --data, whose pictures then"
        " go in as they are",
        type=str,
        metavar="FOLDER",
    )
    task: str | None = option(
        None,
        "what happened to the pictures; what the model was trained for when left out",
        type=str,
        metavar="TASK",
    )
    degrade: str | None = option(
        None,
        "what happens to the pictures, in this order, such as 'blur:1.5 noise:25'; as in training"
        " when left out, and the task's own with --task; 'codec:h264-30' puts films through an"
        " encoder",
        type=str,
        words="OPERATOR:LEVEL",
    )
    clips: int = option(
        0,
        "of pictures: make this many clips of them, with motion, and measure on these; films and"
        " sequences of frames in --data are measured as they are",
        minimum=0,
        maximum=10_000,
        group=FILMS,
        metavar="COUNT",
    )
    frames: int = option(
        16,
        "frames of each clip, or of each film from its beginning",
        minimum=2,
        maximum=10_000,
        group=FILMS,
        metavar="COUNT",
    )
    beside: str | None = option(
        None,
        "a model that is measured too, frame by frame, such as 'photo'",
        type=str,
        group=FILMS,
        metavar="MODEL",
    )
    seed: int = option(
        0,
        "integer from which the noise of each picture comes",
        minimum=0,
        maximum=2**31 - 1,
        metavar="SEED",
    )
    out: str = option(
        "evaluation",
        "folder that receives evaluation.json and sheet.png",
        metavar="FOLDER",
        short="-o",
    )
    tile_size: int = tile_size_option()
    self_ensemble: bool = self_ensemble_option()
    trust: bool = trust_option()
    no_classical: bool = option(
        False,
        "leave out scikit-image's denoiser, the slowest part on large pictures, and FFmpeg's of"
        " films",
        group=COMPUTING,
    )
    training: str | None = option(
        None,
        "of a generator: the pictures that it was trained on, to look for copies and as the floor;"
        " the train part of --data where it has parts",
        type=str,
        group=GENERATORS,
        metavar="PICTURES",
    )
    count: int = option(
        10_000,
        "of a generator: pictures that are made and compared",
        minimum=2,
        maximum=100_000,
        group=GENERATORS,
        metavar="COUNT",
    )
    classifier: str | None = option(
        None,
        "of a generator: .keras file of the classifier whose features are compared; trained on the"
        " training pictures' labels and kept in --out when left out",
        type=str,
        group=GENERATORS,
        metavar="FILE",
    )
    importance_samples: int = option(
        500,
        "of a VAE: latents for each picture's likelihood",
        minimum=1,
        maximum=100_000,
        group=GENERATORS,
        metavar="COUNT",
    )
    importance_pictures: int = option(
        1000,
        "of a VAE: test pictures whose likelihood is measured",
        minimum=1,
        group=GENERATORS,
        metavar="COUNT",
    )
    steps: int = option(
        FLOW_STEPS,
        "of a flow: steps from noise to picture",
        minimum=1,
        maximum=1000,
        group=GENERATORS,
        metavar="COUNT",
    )
    guidance: float = option(
        FLOW_GUIDANCE,
        "of a conditional flow: how far it leans towards the label",
        minimum=0.0,
        maximum=20.0,
        group=GENERATORS,
        metavar="FACTOR",
    )
    max_pixels: int = option(
        2**28,
        "largest picture that is decoded, in pixels; larger ones are left out",
        minimum=1,
        group="the files",
        metavar="PIXELS",
    )
    range: str = range_option("what the model was trained with, else as in training")


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Everything that decides how an export, or models by a protocol, are measured."""

    export: str | None = option(
        None,
        "folder of an exported model, such as saved_models/NAME",
        type=str,
        group=EXPORT_GROUP,
        metavar="FOLDER",
    )
    runtime: str | None = option(
        None,
        "the only runtime to measure in; those of the engines that restore has when left out; with"
        " --export",
        type=str,
        group=EXPORT_GROUP,
        metavar="RUNTIME",
    )
    threads: str = option(
        "1,2",
        "numbers of threads, with commas; with --export",
        group=EXPORT_GROUP,
        metavar="COUNTS",
    )
    rounds: int = option(
        1,
        "times that all take turns; the fastest round of each counts; with --export",
        minimum=1,
        maximum=100,
        group=EXPORT_GROUP,
        metavar="COUNT",
    )
    protocol: str | None = option(
        None,
        "how papers measure: what happens to the pictures, and how models score",
        type=str,
        group=PROTOCOL_GROUP,
        metavar="PROTOCOL",
    )
    data: str | None = option(
        None,
        "with --protocol: pictures to measure on, all of them; a folder named as a set that papers"
        " measure on is shown beside their figures",
        type=str,
        group=PROTOCOL_GROUP,
        metavar="PICTURES",
    )
    classical: bool = option(
        False,
        "with --protocol awgn-grey or -colour: also BM3D, by the package bm3d; slow",
        group=PROTOCOL_GROUP,
    )
    tile_size: int = tile_size_option(group=PROTOCOL_GROUP)
    self_ensemble: bool = self_ensemble_option(group=PROTOCOL_GROUP)
    trust: bool = trust_option()
    out: str = option(
        "benchmark",
        "folder that receives benchmark.json, .md and .png, or protocol.json and .md",
        metavar="FOLDER",
        short="-o",
    )


def check_benchmark_config(config: BenchmarkConfig, models: Sequence[str]) -> BenchmarkConfig:
    """Validates the options of a benchmark: of an export, or of models by a protocol.

    Args:
      config: The options.
      models: The models to measure by a protocol.
    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config, {"protocol": PROTOCOLS})
    names = ", ".join(PROTOCOLS)
    if (config.export is None) == (config.protocol is None):
        given = f"export={config.export!r} and protocol={config.protocol!r}"
        raise UserError(
            f"{given}: expected --export and the folder of an exported model, or models and"
            f" --protocol, one of {names}"
        )
    mode, others = ("export", _OF_A_PROTOCOL) if config.export else ("protocol", _OF_AN_EXPORT)
    faults = given_options(config, others, f"--{mode}")
    if config.export and models:
        faults.append(f"MODEL {models[0]!r} with --export: leave it out, or choose --protocol")
    if config.protocol and not models and not config.classical:
        faults.append("no MODEL: expected one or more, before --protocol")
    if config.protocol and config.data is None:
        faults.append("data=None: expected a folder of pictures to measure on")
    if config.classical and config.protocol in ("sr", "jpeg"):
        faults.append(
            f"classical=True with protocol={config.protocol!r}: expected awgn-grey or awgn-colour,"
            " whose noise BM3D removes"
        )
    if faults:
        raise UserError("; ".join(faults))
    return config


def check_film_options(config: EvaluateConfig, films: bool) -> None:
    """Refuses options of `evaluate` that do not fit what is measured.

    Args:
      config: Valid options.
      films: Whether films are measured, or clips made of pictures.
    Raises:
      UserError: with every fault in one line.
    """
    if not films:
        refuse_options(config, _OF_FILMS, "pictures; --clips COUNT makes clips of them")
    elif config.targets is not None:
        raise UserError(
            f"targets={config.targets!r} with films: expected a task or --degrade, which make the"
            " inputs from the films"
        )


def check_evaluate_config(config: EvaluateConfig, generates: bool) -> None:
    """Refuses options of `evaluate` that do not fit the kind of model.

    Args:
      config: Valid options.
      generates: Whether the model is a generator, and not one that restores.
    Raises:
      UserError: with every fault in one line.
    """
    if generates:
        refuse_options(config, _OF_RESTORING, "a generator")
    else:
        refuse_options(config, _OF_GENERATING, "a model that restores")


_OF_FILMS = ("clips", "frames", "beside")
_OF_RESTORING = (
    *("targets", "task", "degrade", "tile_size", "self_ensemble", "no_classical"),
    *_OF_FILMS,
)
_OF_GENERATING = (
    *("training", "count", "classifier", "importance_samples", "importance_pictures"),
    *("steps", "guidance"),
)


_OF_AN_EXPORT = ("runtime", "threads", "rounds")
_OF_A_PROTOCOL = ("data", "classical", "tile_size", "self_ensemble")
