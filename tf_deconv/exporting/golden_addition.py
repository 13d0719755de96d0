"""Adds `golden/` to an export that was made without one; its model files stay as they are."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from tf_deconv.exporting import golden
from tf_deconv.exporting import manifest as manifests
from tf_deconv.exporting.parity import process
from tf_deconv.exporting.parity.diagnosis import psnr_db
from tf_deconv.inference import shipped
from tf_deconv.inference.litert_engine import signature_sizes
from tf_deconv.utils import files, staging
from tf_deconv.utils.options import UserError


def add(folder: pathlib.Path, manifest: dict[str, Any]) -> None:
    """Writes known pictures, what Keras makes of them, and what each file makes of them.

    Keras's picture is the SavedModel's, of an export whose manifest says that it gives Keras's to
    the bit. The manifest gets the checksums of `golden/` and each file's figure, as an export does.

    Args:
      folder: The export. Its SavedModel and TFLite files were compared with their checksums.
      manifest: What its manifest holds.
    Raises:
      UserError: if it has a `golden/`, makes pictures from noise, restores films, or cannot say
        what Keras makes.
    """
    if "golden" in manifest:
        raise UserError(
            f"golden={str(folder / golden.FOLDER)!r} is the export's own, whose checksums its"
            " manifest tells: choose another folder"
        )
    if (folder / golden.FOLDER).exists():
        raise UserError(
            f"golden={str(folder / golden.FOLDER)!r} is there, and no manifest tells of it:"
            " remove it first"
        )
    entries = {entry["file"]: entry for entry in manifest["files"]}
    saved = next((name for name in entries if name.endswith("/")), None)
    is_other = "generator" in manifest or "state" in manifest
    if is_other or saved is None or not entries[saved]["parity"]["exact"]:
        raise UserError(
            f"{str(folder)!r} has no SavedModel that restores pictures and gives what Keras gives"
            " to the bit: export it again, which writes the folder too"
        )
    signatures = tuple(tuple(size) for size in manifest["tflite_sizes"])
    kept = golden.sizes(signatures, manifest["divisor"], manifest["scale"])
    given = {size: golden.picture(*size, manifest["channels_in"]) for size in kept}
    cases = {f"serving_default|{n}": given[size][np.newaxis] for n, size in enumerate(kept)}
    made = process.run_file(folder / saved, cases, timed=False)
    expected = {size: made[key][0] for size, key in zip(kept, cases)}
    for name, entry in entries.items():
        score = _score(folder / name, entry, given, expected)
        if score is not None:
            floor_db = entry["parity"]["floor_db"]
            entry["golden"] = manifests.golden_figure(score, floor_db)
    with staging.folder(folder / golden.FOLDER) as temporary:
        golden.write(temporary / golden.FOLDER, {s: (given[s], expected[s]) for s in kept})
        digests = files.checksums(temporary / golden.FOLDER, temporary)
        (temporary / golden.FOLDER).rename(folder / golden.FOLDER)
    told = {key: value for key, value in manifest.items() if key != "files"}
    told |= {"golden": {"sha256": digests}, "files": manifest["files"]}
    files.write_json(folder / shipped.MANIFEST_FILE, told)


def _score(
    path: pathlib.Path, entry: dict[str, Any], given: dict[Any, Any], expected: dict[Any, Any]
) -> float | None:
    """Runs a file on the known pictures that it takes; None where it takes none."""
    shape = (entry.get("input") or {}).get("shape") or (None,)
    sizes = tuple(given)
    if path.suffix == ".tflite":
        has = signature_sizes(path.read_bytes())
        sizes = tuple(size for size in sizes if size in has)
    elif None not in shape:
        sizes = tuple(size for size in sizes if size == tuple(shape[2:]))
    cases = {
        f"{process.signature_for(path.name, size, shape)}|{number}": given[size][np.newaxis]
        for number, size in enumerate(sizes)
    }
    if not cases:
        return None
    made = process.run_file(path, cases, timed=False)
    return min(psnr_db(made[key][0], expected[size]) for key, size in zip(cases, sizes))
