"""`export`: model -> SavedModel and TFLite files -> gate -> published folder."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from PIL import Image

from tf_deconv import complexity, data, files, flatbuffer, images, inference, runs, sources
from tf_deconv.artifacts import to_float32
from tf_deconv.checks import check_export_config
from tf_deconv.config import BUNDLED, ExportConfig
from tf_deconv.devices import choose_device
from tf_deconv.exporting import manifest as manifests
from tf_deconv.exporting import (
    onnx,
    publish,
    qat,
    saved_model,
    serving,
    tflite,
    verify,
    warmup,
    web,
)
from tf_deconv.exporting.verify import Reference, Report
from tf_deconv.options import UserError
from tf_deconv.tasks import TASKS, find_task
from tf_deconv.variants import PROFILES, VARIANTS, parse_sizes, parse_variants

DEFAULT_PATCH_SIZE, DEFAULT_LARGER_SIZE = 28, (256, 256)
# What the web page runs.
WEB_VARIANT = "float32"
# Side of the calibration pictures that stand in for a run's own.
CALIBRATION_SIDE_PX = 256
# Of the requests that warm a server up: small, for they are kept beside the model.
WARMUP_SIZE = (64, 64)
PREVIEW_QUALITY = 90


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What an export left.

    Attributes:
      folder: The published folder; None when nothing passed.
      reports: One for each file that was made.
      failures: "file: reason" of each one that was not published.
    """

    folder: pathlib.Path | None
    reports: tuple[Report, ...]
    failures: tuple[str, ...]


def export(config: ExportConfig, report: Callable[[str], None] = print) -> ExportResult:
    """Exports a trained model and publishes the files that give Keras's pictures.

    Args:
      config: All options.
      report: Receives lines for the user.
    Returns:
      What was published, and what was not and why.
    Raises:
      UserError: for anything that the user can mend; nothing is left then.
    """
    config = check_export_config(config)
    if config.onnx:
        onnx.check_packages()
    library = None
    if config.web is not None:
        web.check_target(pathlib.Path(config.web))
        library = web.find_library(config.web_library)
    if config.name is not None:
        publish.check_name(config.name)
    path = runs.find_model(config.model)
    choose_device("cpu", "float32")
    model = to_float32(runs.load_model(path))
    description = runs.read_description(path)
    name = publish.check_name(config.name or _default_name(path, description))
    scale = description.get("scale") or inference.infer_scale(model)
    divisor = description.get("divisor") or _infer_divisor(model, path, scale)
    samples = _find_samples(path, description, model)
    report(f"model: {path}, {model.count_params():,} parameters")

    sizes = _signature_sizes(config, description, divisor)
    reference = Reference(model, divisor, scale, samples, sizes)

    out = files.make_folder(pathlib.Path(config.out))
    target = out / name
    if target.exists() and not target.is_dir():
        raise UserError(f"{str(target)!r} is a file: expected a folder; choose another --name")
    version = publish.next_version(target)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=out) as temporary:
        staging = pathlib.Path(temporary, name)
        reports = _write_files(reference, staging, path, name, version, config, report)
        good = [item for item in reports if not item.faults]
        bad = [item for item in reports if item.faults]
        failures = tuple(f"{item.file}: {'; '.join(item.faults)}" for item in bad)
        timed = {item.file: _timed_signature(item, sizes[-1]) for item in reports}
        if good:
            _complete(staging, path, reports, timed, name, version, description, reference, config)
            publish.publish(staging, target)
        lines = manifests.table(reports, timed)
    for line in lines:
        report(line)
    for failure in failures:
        report(f"NOT PUBLISHED {failure}")
    if good:
        report(f"published: {target}")
        _write_page(config, target, name, library, report)
        report(_next_command(target, name, version, good))
    return ExportResult(target if good else None, tuple(reports), failures)


def _signature_sizes(
    config: ExportConfig, description: dict[str, Any], divisor: int
) -> tuple[tuple[int, int], ...]:
    if config.sizes is None:
        patch = (description.get("training") or {}).get("patch_size", DEFAULT_PATCH_SIZE)
        return tuple(dict.fromkeys([(patch, patch), DEFAULT_LARGER_SIZE]))
    sizes = parse_sizes(config.sizes)
    faults = [f"{height}x{width}" for height, width in sizes if height % divisor or width % divisor]
    if faults:
        raise UserError(
            f"sizes={config.sizes!r}: {', '.join(faults)}; expected multiples of {divisor}, the"
            " network's divisor, so that tiles meet"
        )
    return sizes


def _write_files(
    reference: Reference,
    staging: pathlib.Path,
    path: pathlib.Path,
    name: str,
    version: int,
    config: ExportConfig,
    report: Callable[[str], None],
) -> list[Report]:
    """Writes every file below `staging` and checks it."""
    model, divisor, scale = reference.model, reference.divisor, reference.scale
    (staging / publish.TFLITE_FOLDER).mkdir(parents=True)
    report("writing and checking the SavedModel")
    folder = staging / str(version)
    with files.silent_stderr():
        saved_model.write_saved_model(
            model,
            folder,
            divisor=divisor,
            scale=scale,
            max_pixels=config.max_pixels,
            reach=reference.reach,
        )
    (picture, *_), size = reference.samples.degraded, WARMUP_SIZE
    encoded = verify.encode_pictures(tflite.fit(picture, size))["png"].tobytes()
    requests = {
        "serving_default": {"image": tflite.fit(picture, size)[np.newaxis]},
        "serve_bytes": {"image_bytes": [encoded]},
        "serve_jpeg": {"image_bytes": [encoded]},
    }
    warmup.write_warmup(folder, name, requests)
    reports = [verify.check_saved_model(folder, reference, f"{version}/")]
    variants = parse_variants(config.variants, config.profile)
    report(f"writing and checking TFLite: {', '.join(variants)}")
    calibration = reference.samples.calibration
    profile = PROFILES[config.profile]
    how = dict(divisor=divisor, scale=scale, keep_relu=profile.keep_relu, phased=profile.phased)
    contents = tflite.convert(model, variants, reference.sizes, calibration, **how)
    has_sums = any(isinstance(layer, keras.layers.Add) for layer in model.layers)
    rounded = [name for name in variants if VARIANTS[name].has_fixed_ranges(has_sums)]
    if config.qat and rounded:
        # The others keep the weights that were trained.
        tuning = _tuning_data(model, path, reference, report)
        tuned = qat.fine_tune(model, calibration, tuning, divisor=divisor, report=report)
        contents |= tflite.convert(tuned, rounded, reference.sizes, calibration, **how)
    for variant, content in contents.items():
        target = staging / publish.TFLITE_FOLDER / f"{name}-{variant}.tflite"
        target.write_bytes(content)
        file = f"{publish.TFLITE_FOLDER}/{target.name}"
        reports.append(verify.check_tflite(target, variant, reference, file))
    if config.onnx:
        report("writing and checking ONNX")
        target = staging / publish.ONNX_FOLDER / f"{name}.onnx"
        target.parent.mkdir()
        onnx.write_onnx(model, target, divisor=divisor, scale=scale)
        reports.append(verify.check_onnx(target, reference, f"{publish.ONNX_FOLDER}/{target.name}"))
    return reports


def _tuning_data(
    model: keras.Model, path: pathlib.Path, reference: Reference, report: Callable[[str], None]
) -> qat.TuningData:
    """Opens what the run was trained on, or else makes do with the patches that it kept."""
    try:
        return qat.data_of_run(path.parent, runs.read_description(path).get("data_sha256"))
    except UserError as error:
        report(f"note: {error}; fine-tuning on the patches that are kept beside the model")
        return qat.data_of_patches(model, reference.samples.calibration, reference.divisor)


def _complete(
    staging: pathlib.Path,
    path: pathlib.Path,
    reports: list[Report],
    timed: dict[str, str],
    name: str,
    version: int,
    description: dict[str, Any],
    reference: Reference,
    config: ExportConfig,
) -> None:
    """Takes out what failed; adds preview, descriptions, manifest and card."""
    for item in reports:
        if item.faults and (staging / item.file).is_dir():
            shutil.rmtree(staging / item.file)
        elif item.faults:
            (staging / item.file).unlink()
    good = [item for item in reports if not item.faults]
    has_picture = _write_preview(path.with_name("preview.png"), staging / publish.PREVIEW_FILE)
    reach = reference.reach
    contract = {
        "channels_in": reference.model.input_shape[-1],
        "channels_out": reference.model.output_shape[-1],
        "divisor": reference.divisor,
        "scale": reference.scale,
        # Pixels; null for a network that sees the whole picture.
        "receptive_field": None if reach is None else 2 * reach + 1,
        "tile_overlap": None if reach is None else reach + -reach % reference.divisor,
        "tflite_sizes": [list(size) for size in reference.sizes],
        "profile": config.profile,
        "parameters": reference.model.count_params(),
        "multiply_adds_per_pixel": complexity.multiply_adds_per_pixel(reference.model),
    }
    folder = staging / str(version)
    has_saved_model = folder.is_dir()
    graph_tensors = None
    if has_saved_model:
        graph_tensors = saved_model.graph_tensors(folder)
        serving.write_configs(staging / publish.SERVING_FOLDER, name)
    describe = functools.partial(
        manifests.make_manifest,
        name,
        version if has_saved_model else 0,
        description,
        contract,
        graph_tensors=graph_tensors,
        license=config.license,
        training_s=runs.training_s(path),
    )
    manifest = describe(reports=[(item, {}) for item in good])
    for item in good:
        if item.file.endswith(".tflite"):
            # After the check, whose figures it tells; the network is not touched.
            content = (staging / item.file).read_bytes()
            facts = manifests.file_metadata(manifest, item)
            (staging / item.file).write_bytes(flatbuffer.write_metadata(content, facts))
            item.size_bytes = (staging / item.file).stat().st_size
    checked = [(item, publish.checksums(staging / item.file, staging)) for item in good]
    manifest = describe(reports=checked)
    card = manifests.make_card(manifest, manifests.table(good, timed), has_picture)
    (staging / publish.CARD_FILE).write_text(card, encoding="utf-8")
    files.write_json(staging / publish.MANIFEST_FILE, manifest)


def _write_preview(source: pathlib.Path, target: pathlib.Path) -> bool:
    """Writes a run's preview as JPEG, where there is one: as PNG its noise takes a megabyte."""
    if not source.is_file():
        return False
    with Image.open(source) as preview:
        preview.save(target, quality=PREVIEW_QUALITY)
    return True


def _write_page(
    config: ExportConfig,
    target: pathlib.Path,
    name: str,
    library: pathlib.Path | None,
    report: Callable[[str], None],
) -> None:
    """Writes the web page around the float32 file, which gives Keras's picture."""
    if config.web is None:
        return
    file = target / publish.TFLITE_FOLDER / f"{name}-{WEB_VARIANT}.tflite"
    if not file.is_file():
        raise UserError(f"web={config.web!r}: {file.name} was not made or did not pass its check")
    manifest = json.loads((target / publish.MANIFEST_FILE).read_text(encoding="utf-8"))
    web.write_web(file, manifest, pathlib.Path(config.web), library)
    report(f"web page: python -m http.server --directory {config.web}")


def _default_name(path: pathlib.Path, description: dict[str, Any]) -> str:
    if description.get("task") and description.get("network"):
        return f"{description['task']}-{description['network']}"
    return path.stem if path.name != runs.MODEL_FILE else path.parent.name


def _infer_divisor(model: keras.Model, path: pathlib.Path, scale: int) -> int:
    try:
        return inference.infer_divisor(model, scale)
    except ValueError as error:
        raise UserError(
            f"{str(path)!r} is not fully convolutional: {error}; expected a model that was built"
            " with height and width None"
        ) from error


def _find_samples(
    path: pathlib.Path, description: dict[str, Any], model: keras.Model
) -> runs.Samples:
    """Returns the run's samples; for a lone `.keras` file, makes some from bundled photographs."""
    beside = path.with_name(runs.SAMPLES_FILE)
    if beside.is_file():
        return runs.load_samples(beside)
    source = sources.load_source(BUNDLED, CALIBRATION_SIDE_PX, 0.1)
    training = description.get("training") or {}
    name = description.get("task")
    task = find_task(name, training.get("degrade")) if name in TASKS else None
    # Nothing bundled is a pair: of such a model the pictures themselves are the input.
    task = None if task is not None and task.paired else task
    training, held_out = (
        [_degrade(store.picture(i), task, model, i) for i in range(len(store))]
        for store in (source.training, source.validation)
    )
    return runs.Samples(
        calibration=np.stack(
            [tflite.fit(degraded, (CALIBRATION_SIDE_PX,) * 2) for degraded, _ in training]
        ),
        degraded=tuple(degraded for degraded, _ in held_out),
        clean=tuple(clean for _, clean in held_out if clean is not None),
        names=source.validation.names,
    )


def _degrade(
    picture: np.ndarray, task: Any, model: keras.Model, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    if task is not None:
        return data.degrade_picture(np.ascontiguousarray(picture), task, seed)
    # Nothing is known of the task: the picture itself goes in, and there is nothing to score.
    image = images.to_float(picture)
    channels = model.input_shape[-1]
    if channels not in (1, 3):
        raise UserError(f"the model takes {channels} channels: expected 1 (grey) or 3 (colour)")
    return (images.luminance(image).astype(np.float32) if channels == 1 else image), None


def _timed_signature(item: Report, size: tuple[int, int]) -> str:
    return tflite.signature_name(size) if item.file.endswith(".tflite") else "serving_default"


def _next_command(target: pathlib.Path, name: str, version: int, good: list[Report]) -> str:
    if any(item.file == f"{version}/" for item in good):
        return f"next: python examples/serve_python.py {target / str(version)} PICTURE RESTORED.png"
    return f"next: python examples/run_tflite.py {target / good[0].file} PICTURE RESTORED.png"
