"""Exports of networks that restore pictures: sizes, samples, fine-tuning, and what is checked."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_deconv.data import patches as patch_data
from tf_deconv.data import sources
from tf_deconv.data.config import BUNDLED
from tf_deconv.degradations.tasks import TASKS, find_task
from tf_deconv.exporting import coreml_file, golden, onnx_file, publish
from tf_deconv.exporting import model_card as manifests
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.exporter import Exporter, Requests
from tf_deconv.exporting.manifest import license_text
from tf_deconv.exporting.parity import gate
from tf_deconv.exporting.parity.gate import Reference, Report
from tf_deconv.exporting.saved_model import restorer as saved_restorer
from tf_deconv.exporting.tflite import convert as tflite_convert
from tf_deconv.exporting.tflite import qat
from tf_deconv.exporting.variants import PROFILES, VARIANTS, parse_sizes, parse_variants
from tf_deconv.images import arrays
from tf_deconv.inference import restorer, run_folder
from tf_deconv.inference.artifacts import to_float32
from tf_deconv.inference.engines import MAX_LOSS_DB
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.networks import complexity
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError

DEFAULT_PATCH_SIZE, DEFAULT_LARGER_SIZE = 28, (256, 256)
# Side of the calibration pictures that stand in for a run's own.
CALIBRATION_SIDE_PX = 256
# Bundled photographs for a model without a run: to calibrate with, and to check on.
CALIBRATION_PICTURES, CHECKED_PICTURES = 8, 4
# The one of the TFLite variants that ONNX files have besides float32.
_ONNX_INT8 = "int8-weights"
# The requests that warm a server up are small, for they are kept beside the model.
WARMUP_SIZE = (64, 64)


class RestorerExporter(Exporter):
    """A network that restores pictures of any size."""

    def __init__(
        self,
        path: pathlib.Path,
        description: dict[str, Any],
        config: ExportConfig,
        report: Callable[[str], None],
    ):
        super().__init__(path, description, config, report)
        self.model = model = to_float32(run_folder.load_model(path))
        scale = description.get("scale") or restorer.infer_scale(model)
        divisor = description.get("divisor") or _infer_divisor(model, path, scale)
        samples = _find_samples(path, description, model)
        sizes = signature_sizes(config, description, divisor)
        self.reference = Reference(model, divisor, scale, samples, sizes)

    @classmethod
    def check_options(cls, config: ExportConfig) -> None:
        if config.onnx:
            onnx_file.check_packages()
        if config.coreml:
            coreml_file.check_packages()

    @property
    def variants(self) -> tuple[str, ...]:
        return parse_variants(self.config.variants, self.config.profile)

    def write_saved_model(self, folder: pathlib.Path) -> Requests:
        reference = self.reference
        with files.silent_stderr():
            saved_restorer.write_saved_model(
                self.model,
                folder,
                divisor=reference.divisor,
                scale=reference.scale,
                max_pixels=self.config.max_pixels,
                reach=reference.reach,
            )
        picture = tflite_convert.fit(reference.samples.degraded[0], WARMUP_SIZE)
        encoded = gate.encode_pictures(picture)["png"].tobytes()
        return {
            "serving_default": {"image": picture[np.newaxis]},
            "serve_bytes": {"image_bytes": [encoded]},
            "serve_jpeg": {"image_bytes": [encoded]},
        }

    def check_saved_model(self, folder: pathlib.Path, file: str) -> Report:
        return gate.check_saved_model(folder, self.reference, file)

    def convert(self) -> dict[str, TfliteFile]:
        reference, profile = self.reference, PROFILES[self.config.profile]
        calibration, divisor = reference.samples.calibration, reference.divisor
        how = dict(
            divisor=divisor,
            scale=reference.scale,
            keep_relu=profile.keep_relu,
            phased=profile.phased,
            judge=self._judge(),
        )
        contents = tflite_convert.convert(
            self.model, self.variants, reference.sizes, calibration, **how
        )
        has_sums = any(isinstance(layer, keras.layers.Add) for layer in self.model.layers)
        rounded = [name for name in self.variants if VARIANTS[name].has_fixed_ranges(has_sums)]
        if self.config.qat and rounded:
            # The others keep the weights that were trained.
            tuned = qat.fine_tune(
                self.model, calibration, self._tuning_data(), divisor=divisor, report=self.report
            )
            contents |= tflite_convert.convert(tuned, rounded, reference.sizes, calibration, **how)
        elif self.config.qat:
            self.report(
                "note: --qat changed nothing: none of these files has fixed ranges"
                " (of a network with sums only int8-full has)"
            )
        return contents

    def _judge(self) -> tflite_convert.Judge | None:
        """Has `restore` take int8: it does where little is lost; nothing to judge by: None."""
        if self.reference.keras_task_psnr_db is None:
            return None
        return tflite_convert.Judge(self.reference.task_loss_db, MAX_LOSS_DB, self.report)

    def check_tflite(
        self, path: pathlib.Path, unpacked: TfliteFile, variant: str, file: str
    ) -> Report:
        return gate.check_tflite(path, unpacked, variant, self.reference, file)

    def write_others(self, staging: pathlib.Path, name: str) -> list[Report]:
        reports = self._write_onnx(staging, name) if self.config.onnx else []
        return reports + (self._write_coreml(staging, name) if self.config.coreml else [])

    def _write_coreml(self, staging: pathlib.Path, name: str) -> list[Report]:
        self.report("writing and checking Core ML")
        reference, reports = self.reference, []
        folder = staging / publish.COREML_FOLDER
        folder.mkdir()
        facts = {"name": name, "task": self.description.get("task"), **self.contract()}
        facts["license"] = license_text(self.config.license)
        sizes = reference.sizes if self.config.sizes else ()
        for precision in coreml_file.PRECISIONS:
            path = folder / f"{name}-{precision}.mlpackage"
            coreml_file.write_coreml(
                self.model, path, precision, divisor=reference.divisor, sizes=sizes, facts=facts
            )
            file, floor_db = (
                f"{publish.COREML_FOLDER}/{path.name}",
                coreml_file.FLOORS_DB[precision],
            )
            reports.append(gate.check_coreml(path, reference, file, floor_db, sizes))
        return reports

    def _write_onnx(self, staging: pathlib.Path, name: str) -> list[Report]:
        self.report("writing and checking ONNX")
        reference, folder = self.reference, staging / publish.ONNX_FOLDER
        folder.mkdir()
        divisor, scale = reference.divisor, reference.scale
        onnx_file.write_onnx(self.model, folder / f"{name}.onnx", divisor=divisor, scale=scale)
        sizes = {f"{name}.onnx": None}
        # Those that were asked for; the ones of other exports are for TFLite.
        for size in reference.sizes if self.config.sizes else ():
            file = f"{name}-{size[0]}x{size[1]}.onnx"
            onnx_file.write_fixed_onnx(self.model, folder / file, size=size, scale=scale)
            sizes[file] = size
        checked = [(file, size, "float32") for file, size in sizes.items()]
        if _ONNX_INT8 in self.variants:
            for file, size in sizes.items():
                small = f"{file.removesuffix('.onnx')}-{_ONNX_INT8}.onnx"
                onnx_file.write_int8_weights(folder / file, folder / small)
                checked.append((small, size, _ONNX_INT8))
        return [
            gate.check_onnx(folder / file, reference, f"{publish.ONNX_FOLDER}/{file}", size, kind)
            for file, size, kind in checked
        ]

    def write_golden(self, folder: pathlib.Path) -> None:
        known = self.reference.golden
        restored = {size: self.reference.restore(image)[0] for size, image in known.items()}
        golden.write(folder, {size: (image[0], restored[size]) for size, image in known.items()})

    def contract(self) -> dict[str, Any]:
        reference, reach = self.reference, self.reference.reach
        return {
            "channels_in": self.model.input_shape[-1],
            "channels_out": self.model.output_shape[-1],
            "divisor": reference.divisor,
            "scale": reference.scale,
            # Pixels; null for a network that sees the whole picture.
            "receptive_field": None if reach is None else 2 * reach + 1,
            "tile_overlap": None if reach is None else reach + -reach % reference.divisor,
            # Beyond so many pixels, nothing was seen to change another by half a level of 8 bits.
            "effective_reach": reference.effective_reach,
            "tflite_sizes": [list(size) for size in reference.sizes],
            "profile": self.config.profile,
            "parameters": self.model.count_params(),
            "multiply_adds_per_pixel": complexity.multiply_adds_per_pixel(self.model),
        }

    def make_card(self, manifest: dict[str, Any], lines: list[str], has_picture: bool) -> str:
        return manifests.make_card(manifest, lines, has_picture)

    def timed_signature(self, file: str) -> str:
        size = self.reference.sizes[-1]
        return (
            tflite_convert.signature_name(size) if file.endswith(".tflite") else "serving_default"
        )

    def next_command(self, target: pathlib.Path, file: str) -> str:
        return f"tf-deconv restore {shlex.quote(str(target))} PICTURE"

    def _tuning_data(self) -> qat.TuningData:
        """Opens what the run was trained on, or else makes do with the patches that it kept."""
        try:
            return qat.data_of_run(self.path.parent, self.description.get("data_sha256"))
        except UserError as error:
            self.report(f"note: {error}; fine-tuning on the patches that are kept beside the model")
            calibration = self.reference.samples.calibration
            return qat.data_of_patches(self.model, calibration, self.reference.divisor)


def signature_sizes(
    config: ExportConfig, description: dict[str, Any], divisor: int
) -> tuple[tuple[int, int], ...]:
    """Returns the (height, width) of the TFLite signatures.

    Raises:
      UserError: if a size that was asked for is no multiple of the divisor.
    """
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


def _infer_divisor(model: keras.Model, path: pathlib.Path, scale: int) -> int:
    try:
        return restorer.infer_divisor(model, scale)
    except ValueError as error:
        raise UserError(
            f"{str(path)!r} is not fully convolutional: {error}; expected a model that was built"
            " with height and width None"
        ) from error


def _find_samples(
    path: pathlib.Path, description: dict[str, Any], model: keras.Model
) -> run_folder.Samples:
    """Returns the run's samples; for a lone `.keras` file, makes some from bundled photographs."""
    beside = path.with_name(run_folder.SAMPLES_FILE)
    if beside.is_file():
        return run_folder.load_samples(beside)
    source = sources.load_source(BUNDLED, CALIBRATION_SIDE_PX, 0.1)
    training = description.get("training") or {}
    name = description.get("task")
    task = find_task(name, training.get("degrade")) if name in TASKS else None
    # Nothing bundled is a pair: of such a model the pictures themselves are the input.
    task = None if task is not None and task.paired else task
    training, held_out = (
        [_degrade(store.picture(i), task, model, i) for i in range(count)]
        for store, count in (
            (source.training, CALIBRATION_PICTURES),
            (source.validation, CHECKED_PICTURES),
        )
    )
    patches = [tflite_convert.fit(degraded, (CALIBRATION_SIDE_PX,) * 2) for degraded, _ in training]
    return run_folder.Samples(
        calibration=np.clip(np.stack(patches), 0.0, 1.0),  # As training's are: "awgn" leaves it.
        degraded=tuple(degraded for degraded, _ in held_out),
        clean=tuple(clean for _, clean in held_out if clean is not None),
        names=source.validation.names[: len(held_out)],
    )


def _degrade(
    picture: np.ndarray, task: Any, model: keras.Model, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    if task is not None:
        return patch_data.degrade_picture(np.ascontiguousarray(picture), task, seed)
    # Nothing is known of the task: the picture itself goes in, and there is nothing to score.
    image = arrays.to_float(picture)
    channels = model.input_shape[-1]
    if channels not in (1, 3):
        raise UserError(f"the model takes {channels} channels: expected 1 (grey) or 3 (colour)")
    return (arrays.luminance(image).astype(np.float32) if channels == 1 else image), None
