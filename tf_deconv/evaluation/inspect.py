"""`inspect`: what a model file is, what it takes and gives, and where it comes from.

The model is opened as `restore` opens it, so whatever is told here is of a model that runs; what
is recorded beside it (the run folder's files, an export's manifest) is added, and checked where a
checksum allows it.
"""

from __future__ import annotations

import csv
import math
import os
import pathlib
from typing import Any

from tf_deconv.data import levels
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.generation.opening import open_generator
from tf_deconv.inference import run_folder, saved_model_file, tflite_file
from tf_deconv.inference.artifacts import open_cell, open_described
from tf_deconv.inference.descriptions import LARGEST_JSON_BYTES, parse_json
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.networks import complexity
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.quiet import import_tensorflow

CHANNELS = {1: "grey", 3: "colour", 4: "colour, and a mask that is 1 where a pixel is known"}
_KINDS = {
    "run": "run folder",
    "keras": "Keras model",
    "saved_model": "SavedModel",
    "tflite": "TFLite file",
}
_GENERATORS = {"vae": "a variational autoencoder", "flow": "a rectified flow"}


def inspect_artifact(
    model: str | os.PathLike[str] | LocatedModel, trust: bool = False
) -> dict[str, Any]:
    """Tells what a model is.

    Args:
      model: A run folder, a `.keras` file, a SavedModel or a `.tflite` file; or the name of a
        shipped model.
      trust: Whether to open a SavedModel whose graph can do more than compute.
    Returns:
      A dict that JSON can hold; what is not known is None. Sizes and reach are in pixels.
    Raises:
      UserError: if it is not a model of pictures, or a run that has no model yet.
    """
    located = locate(model, trust)
    kind, path, found, known = located.kind, located.root, located.path, located.known
    contract = _generator if located.generates else _cell if located.moves else _restorer
    try:
        # A file that has changed is told, not refused: here one looks for what is wrong.
        described, network = contract(located)
    except UserError:
        located.check_files()
        raise
    is_run = kind == "keras" and path.is_dir()
    task, training = known.get("task"), known.get("training")
    result = {
        "path": os.fspath(path),
        "kind": "run" if is_run else kind,
        **described,
        "network": known.get("network"),
        "parameters": known.get("parameters"),
        # For each pixel of the output; None: not recorded, or not known of one of its layers.
        "multiply_adds_per_pixel": known.get("multiply_adds_per_pixel"),
        "task": task,
        "task_summary": TASKS[task].summary if isinstance(task, str) and task in TASKS else None,
        # Which values of a file become 0 and 1, by kind of sample; None: 8 bits, or not recorded.
        "levels": known.get("levels"),
        "training": training if isinstance(training, dict) else None,
        "data_sha256": known.get("data_sha256"),
        "trained_on": known.get("device") or known.get("trained_on"),
        "versions": known.get("versions"),
        "files": _files(found),
    }
    if kind == "keras":
        result["parameters"] = network.count_params()
        if not located.generates:
            result["multiply_adds_per_pixel"] = complexity.multiply_adds_per_pixel(network)
        result["layers"] = [f"{layer.name} ({type(layer).__name__})" for layer in network.layers]
        if is_run:
            result |= _run(path, result["training"] or {})
        return result
    result["manifest"] = _manifest_entry(found, known, result["files"])
    if kind == "saved_model":
        result["signatures"] = saved_model_file.read_signatures(found)
        return result
    result |= tflite_file.TfliteFile(found.read_bytes()).describe()
    result["metadata"] = located.own_facts or None
    # None: an older file, which holds no checksum of its weights.
    result["weights_unchanged"] = located.buffers_unchanged
    # A kernel that works on squares of pixels is stored with more weights than it has.
    result["parameters"] = known.get("parameters") or sum(result["weights"].values())
    return result


def _generator(located: LocatedModel) -> tuple[dict[str, Any], Any]:
    """Tells what a generator makes, opened as `sample` opens it; and returns its Keras model."""
    import_tensorflow()
    choose_device("cpu", "float32")
    generator = open_generator(located, check=False)
    return {"generator": generator.facts.to_json(), "value_range": [0.0, 1.0]}, generator.model


def _restorer(located: LocatedModel) -> tuple[dict[str, Any], Any]:
    """Tells what a restorer takes and gives; and returns its Keras model."""
    artifact = open_described(located)
    reach = artifact.reach_px
    # What an app's runtime takes; `restore` resizes many of these files.
    sizes = artifact.signatures if located.kind == "tflite" else ()
    contract = {
        "channels_in": artifact.channels_in,
        "channels_in_meaning": CHANNELS[artifact.channels_in],
        "channels_out": artifact.channels_out,
        "channels_out_meaning": CHANNELS[artifact.channels_out],
        "value_range": [0.0, 1.0],
        # Height and width; None: any.
        "sizes": [list(size) for size in sizes] or None,
        "divisor": artifact.divisor,
        "scale": artifact.scale,
        # None for a network that sees the whole picture.
        "receptive_field": None if reach is None else 2 * reach + 1,
        "tile_overlap": None if reach is None else reach + -reach % artifact.divisor,
    }
    return contract, artifact.model


def _cell(located: LocatedModel) -> tuple[dict[str, Any], Any]:
    """Tells what a model of films takes and gives; and returns its Keras model."""
    cell = open_cell(located, check=False)
    contract = {
        "channels_in": cell.channels,
        "channels_in_meaning": CHANNELS[cell.channels],
        "channels_out": cell.channels,
        "channels_out_meaning": CHANNELS[cell.channels],
        "value_range": [0.0, 1.0],
        "sizes": [list(size) for size in cell.signatures] or None,
        "divisor": cell.divisor,
        "scale": 1,
        # Zeros are no past; height and width are a frame's, padded, over the stride.
        "state": {"channels": cell.state_channels, "stride": cell.state_stride},
        "receptive_field": 2 * cell.reach_px + 1,
        "tile_overlap": cell.reach_px + -cell.reach_px % cell.divisor,
    }
    return contract, cell.model


def _files(found: pathlib.Path) -> list[dict[str, Any]]:
    root = found if found.is_dir() else found.parent
    digests = files.checksums(found, root)
    return [
        {"file": name, "size_bytes": (root / name).stat().st_size, "sha256": digest}
        for name, digest in digests.items()
    ]


def _run(folder: pathlib.Path, training: dict[str, Any]) -> dict[str, Any]:
    """Reads what a run tells besides its model."""
    epochs = 0
    try:
        history = files.read_bounded(folder / "history.csv", LARGEST_JSON_BYTES)
        epochs = sum(1 for _ in csv.DictReader(history.decode().splitlines()))
        scores = parse_json(
            files.read_bounded(folder / run_folder.METRICS_FILE, LARGEST_JSON_BYTES)
        )
    except FileNotFoundError:  # Written when training ends.
        scores = None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"run {str(folder)!r} cannot be read: {reason(error)}; inspect its"
            f" {run_folder.MODEL_FILE} alone"
        ) from error
    return {
        "finished": scores is not None,
        "epochs_done": epochs,
        "epochs_planned": training.get("epochs"),
        "scores": scores,
    }


_KEPT = ("parity", "task_psnr_db", "latency_ms_one_thread")


def _manifest_entry(
    found: pathlib.Path, known: dict[str, Any], described: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Returns what the manifest tells of these files, and whether they are still the same."""
    entries = [
        entry
        for entry in known.get("files") or ()
        if pathlib.PurePath(str(entry.get("file"))).name == found.name
    ]
    if not entries:
        return None
    entry = entries[0]
    recorded = sorted((entry.get("sha256") or {}).values())
    return {
        "file": entry["file"],
        "unchanged": recorded == sorted(file["sha256"] for file in described),
        **{key: entry.get(key) for key in _KEPT},
        # Only generators have it.
        **(
            {"sample_difference": entry["sample_difference"]}
            if "sample_difference" in entry
            else {}
        ),
    }


# --- For people.


def lines(facts: dict[str, Any]) -> list[str]:
    """Lays out what `inspect_artifact` returned, one fact a line."""
    rows = [
        (_KINDS[facts["kind"]], facts["path"]),
        *_state_rows(facts),
        *(_generator_rows if "generator" in facts else _restorer_rows)(facts),
        ("network", facts["network"] or "not recorded"),
        ("parameters", _thousands(facts["parameters"])),
        ("work", _multiply_adds(facts["multiply_adds_per_pixel"])),
        ("task", "generate" if "generator" in facts else _task(facts)),
        *(("levels", line) for line in levels.words(facts["levels"] or {})),
        ("training", _options(facts["training"])),
        ("data SHA-256", facts["data_sha256"] or "not recorded"),
        ("trained on", facts["trained_on"]),
        ("versions", _pairs(facts["versions"])),
        *_score_rows(facts),
        *_manifest_rows(facts),
        *_format_rows(facts),
        *(
            (
                "file",
                f"{file['file']}, {_thousands(file['size_bytes'])} bytes, SHA-256 {file['sha256']}",
            )
            for file in facts["files"]
        ),
    ]
    rows = [(name, str(text)) for name, text in rows if text not in (None, "")]
    width = max(len(name) for name, _ in rows)
    shown, before = [], None
    for name, text in rows:
        shown.append(f"{'' if name == before else name:{width}}  {text}")
        before = name
    return shown


def _restorer_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("takes", f"{_channels(facts, 'in')}; values in [0, 1]"),
        ("gives", _channels(facts, "out")),
        ("sizes", _sizes(facts)),
        ("divisor", facts["divisor"]),
        ("scale", facts["scale"]),
        ("remembers", _remembers(facts)),
        ("sees", _sees(facts)),
    ]


def _generator_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    own = facts["generator"]
    count = own["channels"]
    channels = f"{count} channel{'s' * (count > 1)}, {CHANNELS[count]}"
    classes = own["classes"]
    latent = own["latent"]
    return [
        ("generates", f"pictures, by {_GENERATORS.get(own['kind'], own['kind'])}"),
        ("pictures", f"{own['height']}x{own['width']}, {channels}; values in [0, 1]"),
        ("classes", f"{classes}, labels 0 to {classes - 1}" if classes else "none, no labels"),
        ("latent", f"{latent} numbers" if latent else None),
        ("likelihood", own["likelihood"]),
    ]


def _state_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    if "finished" not in facts:
        return []
    epochs = f"{facts['epochs_done']} of {facts['epochs_planned'] or '?'} epochs"
    if facts["finished"]:
        return [("state", f"finished, {epochs}")]
    return [("state", f"not finished, {epochs}: it is being trained, or was stopped")]


def _channels(facts: dict[str, Any], side: str) -> str:
    count = facts[f"channels_{side}"]
    return f"{count} channel{'s' * (count > 1)}, {facts[f'channels_{side}_meaning']}"


def _sizes(facts: dict[str, Any]) -> str:
    if facts["sizes"]:
        return ", ".join(f"{height}x{width}" for height, width in facts["sizes"])
    if facts["kind"] == "saved_model":
        return "any; it pads to multiples of the divisor itself"
    return "multiples of the divisor; restore and the exported files pad the others"


def _sees(facts: dict[str, Any]) -> str:
    field = facts["receptive_field"]
    if field is None:
        return "the whole picture, which is not cut into tiles"
    return f"{field}x{field} pixels around each; tiles overlap by {facts['tile_overlap']}"


def _remembers(facts: dict[str, Any]) -> str | None:
    """Tells of the state that a model of films keeps from frame to frame."""
    state = facts.get("state")
    if state is None:
        return None
    return f"a state of {state['channels']} channels at 1/{state['stride']} of a frame's sides"


def _multiply_adds(count: Any) -> str | None:
    known = isinstance(count, int | float) and math.isfinite(count)
    return f"{count:,.0f} multiply-adds for each pixel of the output" if known else None


def _task(facts: dict[str, Any]) -> str:
    if facts["task"] is None:
        return "not recorded"
    degrade = (facts["training"] or {}).get("degrade")
    chain = f"; with --degrade {degrade}" if degrade else ""
    return f"{facts['task']}: {facts['task_summary'] or 'not known to this version'}{chain}"


def _options(training: dict[str, Any] | None) -> str:
    if training is None:
        return "not recorded"
    given = {
        key: value for key, value in training.items() if value is not None and value is not False
    }
    return " ".join(f"{key}={value}" for key, value in given.items())


def _pairs(values: Any) -> str | None:
    if not isinstance(values, dict):
        return None
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _score_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    scores = facts.get("scores")
    if not isinstance(scores, dict):
        return []
    rows = [("held out", f"{scores.get('held_out_pictures')} pictures")]
    if "generator" in facts:
        best = [key for key in scores if key.startswith("best_")]
        return rows + [("held out", f"{key}: {_number(scores[key], '.5g')}") for key in best]
    for side in ("input", "output"):
        means = scores.get(side)
        means = means if isinstance(means, dict) else {}
        colour, grey = (_number(means.get(f"{kind}psnr_db"), ".2f") for kind in ("", "luminance_"))
        ssim = _number(means.get("ssim"), ".4f")
        rows.append(("held out", f"{side}: {colour} dB, SSIM {ssim}; luminance {grey} dB"))
    return rows


def _manifest_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    if "manifest" not in facts:
        return []
    entry = facts["manifest"]
    if entry is None:
        if facts.get("weights_unchanged") is False:
            text = "THE WEIGHTS ARE NOT THOSE THAT WERE EXPORTED: their checksum differs"
            return [("manifest", f"none beside it; {text}")]
        if facts.get("metadata"):
            own = "; its weights are those that were exported" if facts["weights_unchanged"] else ""
            return [("manifest", f"none beside it; the file describes itself{own}")]
        return [("manifest", "none that tells of this file; divisor and reach were measured")]
    parity = entry["parity"] or {}
    psnr = "exact" if parity.get("exact") else f"{_number(parity.get('psnr_db'), '.1f')} dB"
    floor, task = _number(parity.get("floor_db"), "g"), _number(entry["task_psnr_db"], ".2f")
    quality = f"against clean pictures {task} dB"
    if "generator" in facts:
        quality = f"sampled pictures differ by {_number(entry.get('sample_difference'), '.1e')}"
    same = "the files are those of the manifest"
    if not entry["unchanged"]:
        same = "THE FILES ARE NOT THOSE OF THE MANIFEST: their checksums differ"
    latency = entry["latency_ms_one_thread"] or {}
    times = ", ".join(f"{name} {_number(value, '.2f')} ms" for name, value in latency.items())
    return [
        ("manifest", same),
        ("against Keras", f"{psnr} (at least {floor}); {quality}"),
        ("one thread", times),
    ]


def _format_rows(facts: dict[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        ("signature", f"{each['name']}: {_pairs(each['inputs'])} -> {_pairs(each['outputs'])}")
        for each in facts.get("signatures", ())
    ]
    if "operators" in facts:
        own = facts["metadata"]
        rows.append(("metadata", f"{tflite_file.METADATA_NAME}: {_own(own)}" if own else "none"))
        counted = ", ".join(f"{name} x{count}" for name, count in facts["operators"].items())
        weights = ", ".join(f"{count:,} {kind}" for kind, count in facts["weights"].items())
        rows += [
            ("operators", f"{counted}; in all signatures together"),
            ("quantisation", f"weights {weights}; computes in {', '.join(facts['activations'])}"),
        ]
    return rows


def _own(facts: dict[str, Any]) -> str:
    shown = ("name", "task", "channels_in", "channels_out", "divisor", "scale", "tile_overlap")
    return ", ".join(f"{key}={facts[key]}" for key in shown if key in facts)


def _thousands(count: Any) -> str:
    return f"{count:,}" if type(count) is int else "not recorded"


def _number(value: Any, form: str) -> str:
    known = isinstance(value, int | float) and math.isfinite(value)
    return format(value, form) if known else "-"
