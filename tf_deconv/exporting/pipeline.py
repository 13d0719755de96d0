"""`export`: model -> SavedModel and TFLite files -> gate -> published folder."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

from PIL import Image

from tf_deconv.exporting import golden, publish, rebuilt
from tf_deconv.exporting import manifest as manifests
from tf_deconv.exporting import target as where
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.exporter import Exporter
from tf_deconv.exporting.generation import GeneratorExporter
from tf_deconv.exporting.parity.gate import Report
from tf_deconv.exporting.restoration import RestorerExporter
from tf_deconv.exporting.result import ExportResult
from tf_deconv.exporting.saved_model import restorer, serving
from tf_deconv.exporting.tflite import flatbuffer
from tf_deconv.exporting.video import VideoExporter
from tf_deconv.exporting.web import build, ready
from tf_deconv.inference import run_folder
from tf_deconv.utils import files, locks, swap
from tf_deconv.utils import staging as staging_files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError

PREVIEW_QUALITY = 80


def export(config: ExportConfig, report: Callable[[str], None] = print) -> ExportResult:
    """Exports a trained model and publishes the files that give Keras's pictures.

    Args:
      config: Options that `check_export_config` returned.
      report: Receives lines for the user.
    Returns:
      What was published, and what was not and why.
    Raises:
      UserError: for anything that the user can mend; nothing is left then.
    """
    if config.name is not None:
        publish.check_name(config.name)
    if where.is_exported(config.model):
        return _export_again(config, report)
    path = run_folder.find_model(config.model)
    description = run_folder.read_description(path)
    kind = _kind_of(description)
    kind.check_options(config)
    library = None
    if config.web is not None:
        build.check_target(pathlib.Path(config.web))
        library = build.find_library(config.web_library)
    choose_device("cpu", "float32")
    exporter = kind(path, description, config, report)
    name = publish.check_name(config.name or where.default_name(path, description))
    report(f"model: {path}, {exporter.model.count_params():,} parameters")
    out = files.make_folder(pathlib.Path(config.out))
    target = out / name
    if target.exists() and not target.is_dir():
        raise UserError(f"{str(target)!r} is a file: expected a folder; choose another --name")
    with (
        locks.held(out / f".{name}.lock", f"{str(target)!r} is being exported", "give a --name"),
        staging_files.folder(target) as temporary,
    ):
        swap.recover(target)
        version = publish.next_version(target)
        staging = temporary / name
        contract = exporter.contract()
        reports = _write_files(exporter, contract, staging, name, version)
        good = [item for item in reports if not item.faults]
        bad = [item for item in reports if item.faults]
        failures = tuple(f"{item.file}: {'; '.join(item.faults)}" for item in bad)
        timed = {item.file: exporter.timed_signature(item.file) for item in reports}
        replaced = None
        if good:
            _complete(exporter, contract, staging, reports, timed, name, version)
            replaced = publish.told_of_the_earlier(target, staging)
            publish.publish(staging, target)
        lines = manifests.table(reports, timed)
    for line in lines:
        report(line)
    for failure in failures:
        report(f"NOT PUBLISHED {failure}")
    if good:
        report(f"published: {target}")
        if replaced is not None:
            report(replaced)
        _write_page(config, target, name, library, report)
        report(f"next: {exporter.next_command(target, good[0].file)}")
    return ExportResult(target if good else None, tuple(reports), failures)


def _kind_of(description: dict[str, Any]) -> type[Exporter]:
    if "generator" in description:
        return GeneratorExporter
    return VideoExporter if "state" in description else RestorerExporter


def _export_again(config: ExportConfig, report: Callable[[str], None]) -> ExportResult:
    """Exports a shipped model, or an export, from the weights that its SavedModel holds."""
    model, out = config.model, pathlib.Path(config.out)
    name = config.name or where.exported_name(model)
    with rebuilt.as_keras_file(model, out, config.name) as path:
        license = config.license or rebuilt.license_of(model)
        again = dataclasses.replace(config, model=str(path), name=name, license=license)
        # The file is gone after that; what was asked for is not.
        return export(again, lambda line: report(line.replace(str(path), str(model))))


def _write_files(
    exporter: Exporter, contract: dict[str, Any], staging: pathlib.Path, name: str, version: int
) -> list[Report]:
    """Writes every file below `staging`, then checks it as it is published; SavedModel first."""
    (staging / publish.TFLITE_FOLDER).mkdir(parents=True)
    exporter.report("writing and checking the SavedModel")
    folder = staging / str(version)
    serving.write_warmup(folder, name, exporter.write_saved_model(folder))
    reports = [exporter.check_saved_model(folder, f"{version}/")]
    exporter.report(f"writing and checking TFLite: {', '.join(exporter.variants)}")
    manifest = manifests.make_manifest(
        name,
        version,
        exporter.description,
        contract,
        reports=[],
        graph_tensors=None,
        license=exporter.config.license,
    )
    for variant, unpacked in exporter.convert().items():
        target = staging / publish.TFLITE_FOLDER / f"{name}-{variant}.tflite"
        file = f"{publish.TFLITE_FOLDER}/{target.name}"
        facts = manifests.file_metadata(manifest, file)
        target.write_bytes(flatbuffer.pack_described(unpacked, facts))
        reports.append(exporter.check_tflite(target, unpacked, variant, file))
    return reports + exporter.write_others(staging, name)


def _complete(
    exporter: Exporter,
    contract: dict[str, Any],
    staging: pathlib.Path,
    reports: list[Report],
    timed: dict[str, str],
    name: str,
    version: int,
) -> None:
    """Takes out what failed; adds preview, descriptions, manifest and card."""
    for item in reports:
        if item.faults and (staging / item.file).is_dir():
            shutil.rmtree(staging / item.file)
        elif item.faults:
            (staging / item.file).unlink()
    tflite = staging / publish.TFLITE_FOLDER
    if not any(tflite.iterdir()):
        tflite.rmdir()
    good = [item for item in reports if not item.faults]
    preview = exporter.path.with_name("preview.png")
    has_picture = _write_preview(preview, staging / publish.PREVIEW_FILE)
    folder = staging / str(version)
    has_saved_model = folder.is_dir()
    graph_tensors = None
    if has_saved_model:
        graph_tensors = restorer.graph_tensors(folder)
        configs = staging / publish.SERVING_FOLDER
        serving.write_configs(configs, name, batching=exporter.batching)
    exporter.write_golden(staging / golden.FOLDER)
    manifest = manifests.make_manifest(
        name,
        version if has_saved_model else 0,
        exporter.description,
        contract,
        reports=[(item, files.checksums(staging / item.file, staging)) for item in good],
        graph_tensors=graph_tensors,
        license=exporter.config.license,
        training_s=run_folder.training_s(exporter.path),
        golden=files.checksums(staging / golden.FOLDER, staging),
    )
    card = exporter.make_card(manifest, manifests.table(good, timed), has_picture)
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
    """Writes the web page around the file that gives Keras's picture."""
    if config.web is None:
        return
    manifest = json.loads((target / publish.MANIFEST_FILE).read_text(encoding="utf-8"))
    entry = ready.choose_file(manifest)
    if entry is None:
        raise UserError(
            f"web={config.web!r}: {name}-float32.tflite was not made or did not pass its check"
        )
    out = pathlib.Path(config.web)
    build.write_web([build.PageModel(target / entry["file"], manifest)], out, library)
    report(f"web page: python -m http.server --directory {config.web}")
