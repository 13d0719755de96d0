"""Options of `export` and `verify`, and their checks."""

from __future__ import annotations

import dataclasses

from tf_deconv.exporting.parity.runner import RUNTIMES
from tf_deconv.exporting.variants import PROFILES, parse_sizes, parse_variants
from tf_deconv.inference.config import trust_option
from tf_deconv.utils.options import UserError, option, refuse_options, validate


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Everything that decides an export."""

    model: str | None = option(
        None,
        "run folder, .keras file, or name of a shipped model or folder of an export; the newest run"
        " when left out",
        type=str,
    )
    out: str = option("saved_models", "folder that receives NAME/")
    name: str | None = option(
        None, "name of the model; TASK-NETWORK, or an export's own, when left out", type=str
    )
    sizes: str | None = option(
        None,
        "sizes of the TFLite signatures, HEIGHTxWIDTH or one side, in pixels, such as"
        " '64,256x384,512'; the patch of training and 256 when left out",
        type=str,
    )
    variants: str | None = option(
        None,
        "number formats of the TFLite files; all that the profile has when left out",
        type=str,
        words="VARIANT",
    )
    profile: str = option("cpu", "where the TFLite files will run")
    qat: bool = option(False, "fine-tune the weights of int8 files for fixed ranges; takes minutes")
    web: str | None = option(
        None, "also write a page that restores pictures in the browser into this folder", type=str
    )
    web_library: str | None = option(
        None,
        "folder node_modules/@litertjs that the page's runtime is taken from; fetched by npm when"
        " left out",
        type=str,
    )
    license: str | None = option(
        None, "licence of the weights, for manifest and model card", type=str
    )
    onnx: bool = option(
        False,
        "also write an ONNX file of any size, and with --sizes one of each; needs pip install"
        " 'tf-deconv[onnx]'",
    )
    coreml: bool = option(
        False,
        "also write Core ML files of any size, or of --sizes; needs pip install"
        " 'tf-deconv[coreml]'",
    )
    max_pixels: int = option(
        2**24, "largest picture that serve_bytes decodes, in pixels", minimum=1, maximum=2**30
    )


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
    """Everything that decides how a file is verified."""

    model: str | None = option(
        None,
        "folder of an export, name of a shipped model, or one file of either: a SavedModel folder,"
        " .tflite, .onnx, .mlpackage, or what another program made of it (.param of pnnx, .mnn)",
        type=str,
    )
    runtime: str | None = option(
        None, "what runs it; what fits the file when left out", type=str, choices=tuple(RUNTIMES)
    )
    size: str | None = option(
        None,
        "size of the known picture, HEIGHTxWIDTH or one side, in pixels; the smallest that the file"
        " takes, 64 where it takes any, when left out",
        type=str,
    )
    of: str | None = option(
        None,
        "folder of the export, or shipped model, that a file elsewhere was made from",
        type=str,
    )
    output: str | None = option(
        None,
        "do not run anything: judge this .npy or picture file, which a client made of the known"
        " picture",
        type=str,
    )
    golden: str | None = option(
        None, "write the known picture and the right result into this folder as well", type=str
    )
    floor: float | None = option(
        None,
        "least PSNR in dB that is right; what the export's manifest tells of the file when left"
        " out",
        type=float,
        minimum=0,
    )
    threads: int = option(1, "threads that the runtime may use", minimum=1, maximum=1024)
    python: str | None = option(
        None,
        "Python of an environment that has the runtime and NumPy; this one when left out",
        type=str,
    )
    trust: bool = trust_option()


def check_verify_config(config: VerifyConfig) -> VerifyConfig:
    """Validates the options of `verify`.

    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config)
    if config.model is None:
        raise UserError(f"no model: expected {VERIFIED}")
    if config.size is not None and len(parse_sizes(config.size)) > 1:
        raise UserError(f"size={config.size!r}: expected one size")
    if config.output is not None:
        refuse_options(config, ("runtime", "python", "threads"), "output")
    return config


VERIFIED = "the folder of an export, the name of a shipped model, or a file of either"


def check_export_config(config: ExportConfig) -> ExportConfig:
    """Validates the options of an export.

    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config, {"profile": PROFILES})
    variants = parse_variants(config.variants, config.profile)
    if config.web is not None and "float32" not in variants:
        raise UserError(
            f"web={config.web!r} with variants={config.variants!r}: expected float32 among them,"
            " which the page runs"
        )
    if config.sizes is not None:
        parse_sizes(config.sizes)
    return config
