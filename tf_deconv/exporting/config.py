"""Options of `export` and `verify`, and their checks."""

from __future__ import annotations

import dataclasses

from tf_deconv.exporting.parity.runner import RUNTIMES
from tf_deconv.exporting.publish import check_name
from tf_deconv.exporting.variants import PROFILES, parse_sizes, parse_variants
from tf_deconv.inference.config import trust_option
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError, option, refuse_options, validate

# Headings of the help.
FILES, WEB = "the files", "a page for the browser"


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Everything that decides an export."""

    model: str | None = option(
        None,
        "run folder, .keras file, or name of a shipped model or folder of an export; the newest run"
        " when left out",
        type=str,
        metavar="MODEL",
    )
    out: str = option("saved_models", "folder that receives NAME/", metavar="FOLDER", short="-o")
    name: str | None = option(
        None,
        "name of the model; TASK-NETWORK, or an export's own, when left out",
        type=str,
        metavar="NAME",
    )
    sizes: str | None = option(
        None,
        "sizes of the TFLite signatures, HEIGHTxWIDTH or one side, in pixels, such as"
        " '64,256x384,512'; the patch of training and 256 when left out",
        type=str,
        group=FILES,
        metavar="SIZES",
    )
    variants: str | None = option(
        None,
        "number formats of the TFLite files; all that the profile has when left out",
        type=str,
        words="VARIANT",
        group=FILES,
    )
    profile: str = option("cpu", "where the TFLite files will run", group=FILES)
    qat: bool = option(
        False, "fine-tune the weights of int8 files for fixed ranges; takes minutes", group=FILES
    )
    web: str | None = option(
        None,
        "write a page that restores pictures and films in the browser into this folder; of models"
        " that are exported already, nothing else",
        type=str,
        group=WEB,
        metavar="FOLDER",
    )
    web_library: str | None = option(
        None,
        "folder node_modules/@litertjs that the page's runtime is taken from, mediabunny beside"
        " it; fetched by npm when left out",
        type=str,
        group=WEB,
        metavar="FOLDER",
    )
    license: str | None = option(
        None,
        "licence of the weights, for manifest and model card",
        type=str,
        metavar="LICENCE",
    )
    onnx: bool = option(
        False,
        "also write an ONNX file of any size, and with --sizes one of each; needs the"
        f" packages of: {how_to_install('onnx')}",
        group=FILES,
    )
    coreml: bool = option(
        False,
        "also write Core ML files of any size, or of --sizes; needs the packages of:"
        f" {how_to_install('coreml')}",
        group=FILES,
    )
    max_pixels: int = option(
        2**24,
        "largest picture that serve_bytes decodes, in pixels",
        minimum=1,
        maximum=2**30,
        group=FILES,
        metavar="PIXELS",
    )


@dataclasses.dataclass(frozen=True)
class VerifyConfig:
    """Everything that decides how a file is verified."""

    model: str | None = option(
        None,
        "folder of an export, name of a shipped model, or one file of either: a SavedModel folder,"
        " .tflite, .onnx, .mlpackage, or what another program made of it (.param of pnnx, .mnn,"
        " .pte)",
        type=str,
        metavar="MODEL",
    )
    runtime: str | None = option(
        None,
        "what runs it; what fits the file when left out",
        type=str,
        choices=tuple(RUNTIMES),
        metavar="RUNTIME",
    )
    size: str | None = option(
        None,
        "size of the known picture, HEIGHTxWIDTH or one side, in pixels; the smallest that the file"
        " takes, 64 where it takes any, when left out",
        type=str,
        metavar="SIZE",
    )
    of: str | None = option(
        None,
        "folder of the export, or shipped model, that a file elsewhere was made from",
        type=str,
        metavar="MODEL",
    )
    output: str | None = option(
        None,
        "do not run anything: judge this .npy or picture file, which a client made of the known"
        " picture",
        type=str,
        metavar="FILE",
    )
    golden: str | None = option(
        None,
        "write the known picture and the right result into this folder as well; MODEL/golden, of an"
        " export without one, is added to it and its manifest",
        type=str,
        metavar="FOLDER",
    )
    floor: float | None = option(
        None,
        "least PSNR in dB that is right; what the export's manifest tells of the file when left"
        " out",
        type=float,
        minimum=0,
        metavar="DB",
    )
    threads: int = option(1, "threads that the runtime may use", minimum=1, maximum=1024)
    python: str | None = option(
        None,
        "Python of an environment that has the runtime and NumPy; this one when left out",
        type=str,
        metavar="PYTHON",
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
    if config.web_library is not None and config.web is None:
        raise UserError(f"web_library={config.web_library!r} with web=None: leave it out")
    if config.name is not None:
        check_name(config.name)
    if config.sizes is not None:
        parse_sizes(config.sizes)
    return config
