"""Checks of options that need the tables; still without TensorFlow."""

from __future__ import annotations

from tf_deconv.config.exporting import ExportConfig
from tf_deconv.utils.options import UserError, validate
from tf_deconv.variants import PROFILES, parse_sizes, parse_variants


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
