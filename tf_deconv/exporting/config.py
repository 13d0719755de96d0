"""Options of `export`, and their checks."""

from __future__ import annotations

import dataclasses

from tf_deconv.exporting.variants import PROFILES, parse_sizes, parse_variants
from tf_deconv.utils.options import UserError, option, validate


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
        None,
        "write a page that restores pictures in the browser into this folder; of models that are"
        " exported already, nothing else",
        type=str,
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
    max_pixels: int = option(
        2**24, "largest picture that serve_bytes decodes, in pixels", minimum=1, maximum=2**30
    )


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
