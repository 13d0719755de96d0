"""What travels beside the exported files: `manifest.json` for programs, a model card for people.

The card of a generator is in `generator_card`.
"""

from __future__ import annotations

import math
from typing import Any

from tf_deconv.exporting.parity.gate import Report

FORMAT_VERSION = 1
# Other runtimes add in another order: the twelve that were tried give 104 dB and more in float32,
# and of int8 files what LiteRT gives within 2 dB.
CLIENT_FLOOR_DB, CLIENT_MARGIN_DB = 100.0, 6.0
# The weights belong to whoever trained them.
LICENSE = "of the weights: {weights}; of the software: MIT"
UNDECIDED = "whoever trained them decides"


def make_manifest(
    name: str,
    version: int,
    description: dict[str, Any],
    contract: dict[str, Any],
    *,
    reports: list[tuple[Report, dict[str, str]]],
    graph_tensors: dict[str, Any] | None,
    license: str | None = None,
    training_s: float | None = None,
    golden: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Describes an export.

    Args:
      name: Name of the model.
      version: Version of the SavedModel; 0 when none was published.
      description: What the `.keras` file tells of its training.
      contract: Channels, divisor, scale and sizes of a network that restores; what a generator is,
        its noise and its signatures.
      reports: Each published file's report with the SHA-256 of its parts, path to digest.
      graph_tensors: Names inside the SavedModel, for C clients; None without a SavedModel.
      license: Of the weights; None where nobody said.
      training_s: How long the last stage of training took; None where that is not known.
      golden: SHA-256 of the known picture's files, path to digest; None before they are written.
    Returns:
      A dict that JSON can hold.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "version": version,
        "task": description.get("task"),
        "network": description.get("network"),
        "value_range": [0.0, 1.0],
        # Which values of a file become 0 and 1, by kind of sample: {"uint16": [0, 4095]}; null
        # where training saw 8 bits alone. docs/formats.md
        "levels": description.get("levels"),
        **contract,
        "training": description.get("training"),
        "training_s": training_s,
        "trained_on": description.get("device"),
        # What training began with, where that was not chance: the same facts of that run.
        "began_with": description.get("began_with"),
        "data_sha256": description.get("data_sha256"),
        "versions": description.get("versions"),
        "license": license_text(license),
        "graph_tensors": graph_tensors,
        **({} if golden is None else {"golden": {"sha256": golden}}),
        "files": [_entry(report, digests) for report, digests in reports],
    }


def _entry(report: Report, digests: dict[str, str]) -> dict[str, Any]:
    exact = report.psnr_db == math.inf
    sampled = report.sample_difference
    return {
        "file": report.file,
        "size_bytes": report.size_bytes,
        "sha256": digests,
        "parity": {
            # JSON has no infinity: null with exact = true is an equal picture.
            "psnr_db": None if exact else report.psnr_db,
            "exact": exact,
            "floor_db": report.floor_db,
            "max_difference": report.max_difference,
        },
        **(
            {}
            if report.golden_db is None
            else {"golden": golden_figure(report.golden_db, report.floor_db)}
        ),
        "task_psnr_db": report.task_psnr_db,
        "task_loss_db": report.task_loss_db,
        **({} if sampled is None else {"sample_difference": sampled}),
        "latency_ms_one_thread": report.latency_ms,
        "operators": report.operators,
        **({} if report.input is None else {"input": report.input}),
        **({} if report.least_runtime is None else {"least_runtime": report.least_runtime}),
    }


def license_text(weights: str | None) -> str:
    """Returns the licence of weights and software, the first as it was given or not."""
    return LICENSE.format(weights=weights or UNDECIDED)


def golden_figure(psnr_db: float, floor_db: float) -> dict[str, Any]:
    """Returns what a file made of the known picture, and what another runtime has to reach.

    Args:
      psnr_db: Of the known picture against Keras's; infinity for an equal one.
      floor_db: The file's.
    """
    exact = psnr_db == math.inf
    floor = min(CLIENT_FLOOR_DB, floor_db, psnr_db - CLIENT_MARGIN_DB)
    return {"psnr_db": None if exact else psnr_db, "exact": exact, "floor_db": math.floor(floor)}


def file_metadata(manifest: dict[str, Any], file: str) -> dict[str, Any]:
    """Returns what a `.tflite` file tells of itself (docs/mobile.md).

    The gate's figures are not among it: they are known only when the file is final.

    Args:
      manifest: What `make_manifest` returned; its files do not matter.
      file: The file's name in it.
    """
    kept = {key: manifest[key] for key in _IN_EVERY_FILE if key in manifest}
    return kept | {"file": file}


_IN_EVERY_FILE = (
    "format_version",
    "name",
    "task",
    "network",
    "value_range",
    "levels",
    "channels_in",
    "channels_out",
    "divisor",
    "scale",
    "receptive_field",
    "tile_overlap",
    "tflite_sizes",
    "generator",
    "noise",
    "sampler",
    "tflite_signatures",
    "profile",
    "parameters",
    "multiply_adds_per_pixel",
    "data_sha256",
    "license",
)


def table(reports: list[Report], timed: dict[str, str]) -> list[str]:
    """Lays the reports out as aligned lines.

    Args:
      reports: One per file.
      timed: File to the signature whose latency is shown.
    Returns:
      Lines: file, bytes, PSNR against Keras, latency; between them task PSNR, or of a generator
      how far sampled pictures are from Keras's.
    """
    is_generator = any(report.sample_difference is not None for report in reports)
    heads = ("samples differ",) if is_generator else ("task dB", "loss dB")
    rows = [("file", "bytes", "vs Keras dB", *heads, "median ms")]
    for report in reports:
        # Adding 0 turns a rounded -0.000 into 0.000.
        loss = report.task_loss_db and round(report.task_loss_db, 3) + 0
        quality = (_number(report.task_psnr_db, ".2f"), _number(loss, ".3f"))
        rows.append(
            (
                report.file,
                f"{report.size_bytes:,}",
                "exact" if report.psnr_db == math.inf else _number(report.psnr_db, ".1f"),
                *((_number(report.sample_difference, ".1e"),) if is_generator else quality),
                _number(report.latency_ms.get(timed[report.file]), ".2f"),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        )
        for row in rows
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
