"""The gate: every file gets held-out pictures, and must give what Keras gives.

Files run in a subprocess (`runner.py`). A file below its floor is never published. The cases are
those of networks that restore; `exporting.generation` has those of generators.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_deconv.exporting import golden
from tf_deconv.exporting.parity.process import run_file
from tf_deconv.exporting.tflite import convert, flatbuffer, versions
from tf_deconv.exporting.variants import VARIANTS
from tf_deconv.images import arrays, metrics, reading
from tf_deconv.inference import artifacts, restorer
from tf_deconv.inference.run_folder import Samples
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.networks import receptive_field

SAVED_MODEL_FLOOR_DB = 120.0
ONNX_FLOOR_DB = 100.0
# What rounding to the 256 levels of a picture file leaves: a uniform error of one level's width.
SEEN_DB = 10 * math.log10(12 * 255**2)
# A value this close to the middle between two grey levels may become either: the floats themselves
# differ by as much, at 120 dB.
TIE_LEVELS = 0.005
# A JPEG that comes back is lossy: quality 95 keeps real pictures above 34 dB.
JPEG_FLOOR_DB = 30.0
# On how many held-out pictures it is measured how far the network sees to any effect.
EFFECTIVE_REACH_PICTURES = 8
# Sizes that a service will meet and a divisor does not divide; 1x1 is the smallest there is.
ODD_REQUESTS = ((1, 1, 1), (2, 37, 53), (1, 61, 2))
# A JPEG's APP1 segment: EXIF data whose one entry says that the picture is to be turned clockwise.
_TURNED = bytes.fromhex("ffe1 0022 457869660000 4d4d002a00000008 0001 0112 0003 00000001 0006 0000")
_TURNED += bytes(4)  # No further directory.
# What numbers the cases that are not scored with the others.
_GOLDEN = "golden"


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a file is compared with.

    Attributes:
      model: The Keras model, float32.
      divisor: The network's.
      scale: The network's.
      samples: Held-out pictures.
      sizes: (height, width) of the TFLite signatures; the last one is scored on the task.
    """

    model: Any
    divisor: int
    scale: int
    samples: Samples
    sizes: tuple[tuple[int, int], ...]
    _restored: dict[tuple[tuple[int, ...], bytes], np.ndarray] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def restore(self, batch: np.ndarray) -> np.ndarray:
        """Restores (N, H, W, C) with Keras, each picture once: every file gets the same ones."""
        return np.stack([self._restore(image) for image in batch])

    def _restore(self, image: np.ndarray) -> np.ndarray:
        key = image.shape, image.tobytes()
        if key not in self._restored:
            how = self.divisor, self.scale
            self._restored[key] = restorer.restore_picture(self.model, image, *how)
        return self._restored[key]

    def cases(self, size: tuple[int, int]) -> list[np.ndarray]:
        """Returns every held-out picture cut to a size, each (1, H, W, C)."""
        return [convert.fit(picture, size)[np.newaxis] for picture in self.samples.degraded]

    @functools.cached_property
    def golden(self) -> dict[tuple[int, int], np.ndarray]:
        """The known pictures of the export, (height, width) to (1, H, W, C)."""
        kept = golden.sizes(self.sizes, self.divisor, self.scale)
        channels = self.model.input_shape[-1]
        return {size: golden.picture(*size, channels)[np.newaxis] for size in kept}

    @functools.cached_property
    def reach(self) -> int | None:
        """How far the network sees, in pixels; None: as far as the picture goes."""
        return artifacts.reach_of(self.model, self.divisor, self.scale)

    @functools.cached_property
    def effective_reach(self) -> int | None:
        """How much of the reach matters in 8 bits; None where there is no reach."""
        if self.reach is None:
            return None

        def run(batch: np.ndarray) -> np.ndarray:
            return restorer.restore_picture(self.model, batch[0], self.divisor, self.scale)[None]

        pictures = self.samples.degraded[:EFFECTIVE_REACH_PICTURES]
        how = self.reach, self.divisor, self.scale
        return receptive_field.measure_effective_reach(run, pictures, *how)

    @functools.cached_property
    def keras_task_psnr_db(self) -> float | None:
        """What Keras scores where the files are scored."""
        return self.task_psnr_db([self.restore(case) for case in self.cases(self.sizes[-1])])

    def task_loss_db(self, file: TfliteFile) -> float:
        """Returns how much less a file that is not published yet scores than Keras.

        The file runs in this process. There must be clean pictures to score it by.
        """
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=file.content, num_threads=os.cpu_count())
        runner = interpreter.get_signature_runner(convert.signature_name(self.sizes[-1]))
        restored = [runner(image=case)["restored"] for case in self.cases(self.sizes[-1])]
        return self.keras_task_psnr_db - self.task_psnr_db(restored)

    def task_psnr_db(self, restored: list[np.ndarray]) -> float | None:
        """Scores restored pictures of the last size against the clean ones; None without any."""
        if not self.samples.clean:
            return None
        scores = [
            seen_psnr_db(image[0], convert.fit(clean, self.sizes[-1], self.scale))
            for image, clean in zip(restored, self.samples.clean)
        ]
        return float(np.mean(scores))


def seen_psnr_db(image: np.ndarray, clean: np.ndarray) -> float:
    """Returns the PSNR in dB that counts for the task: at most `SEEN_DB`.

    A picture that was not damaged and comes back as it was has any number of dB, and what is lost
    of them decides a mean over pictures without being seen in any.
    """
    return min(metrics.psnr_db(np.clip(image, 0, 1), clean), SEEN_DB)


@dataclasses.dataclass
class Report:
    """What the gate found out about one file.

    Attributes:
      file: Path relative to the model's folder.
      size_bytes: Size of the file, or of all files of a SavedModel.
      floor_db: The least PSNR against Keras.
      psnr_db: PSNR against Keras over all cases; infinity for equal pictures, None if it crashed.
      max_difference: Largest difference from Keras, as a fraction of [0, 1].
      task_psnr_db: PSNR against the clean pictures, at the last size.
      task_loss_db: How much less that is than Keras's.
      latency_ms: Signature to median milliseconds on one thread.
      operators: Operator to count, of a TFLite file.
      input: Layout and shape, null for any length, of an ONNX file.
      least_runtime: The first TensorFlow Lite that runs it, of a TFLite file.
      golden_db: PSNR against Keras of the export's known picture; infinity for an equal one.
      sample_difference: Of a generator: the largest difference of sampled pictures from Keras's.
      faults: Why it is not published; empty for a good file.
    """

    file: str
    size_bytes: int
    floor_db: float
    psnr_db: float | None = None
    max_difference: float | None = None
    task_psnr_db: float | None = None
    task_loss_db: float | None = None
    latency_ms: dict[str, float] = dataclasses.field(default_factory=dict)
    operators: dict[str, int] = dataclasses.field(default_factory=dict)
    input: dict[str, Any] | None = None
    least_runtime: str | None = None
    golden_db: float | None = None
    sample_difference: float | None = None
    faults: list[str] = dataclasses.field(default_factory=list)


def check_tflite(
    path: pathlib.Path, unpacked: TfliteFile, variant: str, reference: Reference, file: str
) -> Report:
    """Checks one `.tflite` file: operators, weights, then every signature against Keras.

    Args:
      path: Where it is.
      unpacked: What it was packed from.
      variant: What it should be.
      reference: What it is compared with.
      file: Its name in the export.
    """
    report = examine_tflite(unpacked, variant, reference.model.count_params(), file)
    cases = {
        f"{convert.signature_name(size)}|{_GOLDEN}": known
        for size, known in reference.golden.items()
        if size in reference.sizes
    } | {
        f"{convert.signature_name(size)}|{number}": case
        for size in reference.sizes
        for number, case in enumerate(reference.cases(size))
    }
    return _compare(path, cases, reference, report)


def examine_tflite(unpacked: TfliteFile, variant: str, parameters: int, file: str) -> Report:
    """Begins the report on a `.tflite` file: its operators and weights, without running it."""
    kind = VARIANTS[variant]
    report = Report(file, len(unpacked.content), kind.floor_db)
    report.operators = dict(unpacked.operator_counts())
    report.least_runtime = versions.least_runtime(unpacked)
    report.faults = flatbuffer.find_faults(unpacked, parameters, kind)
    return report


def examine_saved_model(folder: pathlib.Path, file: str) -> Report:
    """Begins the report on a SavedModel."""
    size_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Report(file, size_bytes, SAVED_MODEL_FLOOR_DB)


def check_saved_model(folder: pathlib.Path, reference: Reference, file: str) -> Report:
    """Checks a SavedModel: odd sizes, batches, encoded pictures, against Keras."""
    report = examine_saved_model(folder, file)
    cases = _any_size_cases(reference)
    encoded = encode_pictures(convert.fit(reference.samples.degraded[0], (45, 31)))
    cases |= {f"serve_bytes|{name}": data for name, data in encoded.items()}
    cases["serve_jpeg|png"] = encoded["png"]
    return _compare(folder, cases, reference, report)


def check_onnx(
    path: pathlib.Path,
    reference: Reference,
    file: str,
    size: tuple[int, int] | None = None,
    variant: str = "float32",
) -> Report:
    """Checks an ONNX file: odd sizes and batches, against Keras; operators are ONNX's own.

    Args:
      path: Where it is.
      reference: What it is compared with.
      file: Its name in the export.
      size: The only (height, width) that it takes; None for any.
      variant: Key of `VARIANTS`: what its weights are.
    """
    report = examine_onnx(path, file, reference.model.count_params(), variant)
    channels = reference.model.input_shape[-1]
    if size is None:
        report.input = {"layout": "NHWC", "shape": [None, None, None, channels]}
        return _compare(path, _any_size_cases(reference), reference, report)
    report.input = {"layout": "NCHW", "shape": [1, channels, *size]}
    computed = sorted(_COMPUTED & set(report.operators))
    if computed:
        report.faults.append(f"operators {', '.join(computed)}: expected none, of one size")
    known = {f"serving_default|{_GOLDEN}": reference.golden.get(size)}
    cases = known if size in reference.golden else {}
    cases |= {f"serving_default|{i}": case for i, case in enumerate(reference.cases(size))}
    return _compare(path, cases, reference, report)


def check_coreml(
    path: pathlib.Path,
    reference: Reference,
    file: str,
    floor_db: float,
    sizes: tuple[tuple[int, int], ...],
) -> Report:
    """Checks a Core ML file: its program, computed here, against Keras.

    Args:
      path: The `.mlpackage`.
      reference: What it is compared with.
      file: Its name in the export.
      floor_db: The least PSNR.
      sizes: The only (height, width) that it takes; none for any.
    """
    report = dataclasses.replace(examine_saved_model(path, file), floor_db=floor_db)
    channels, made = reference.model.input_shape[-1], reference.model.output_shape[-1]
    shape = [1, channels, *sizes[0]] if len(sizes) == 1 else [1, channels, None, None]
    is_image = channels in (1, 3) and made in (1, 3)
    report.input = {"layout": "image" if is_image else "NCHW", "shape": shape}
    known = next(iter(reference.golden.items()))
    cases = {f"serving_default|{_GOLDEN}": known[1]} if not sizes or known[0] in sizes else {}
    for size in sizes or reference.sizes[-1:]:
        name = "{}x{}".format(*size)
        cases |= {f"serving_default|{name}-{i}": c for i, c in enumerate(reference.cases(size))}
    results = run_for(report, path, cases)
    report.latency_ms = {}  # Of a stand-in.
    pairs = []
    for key, case in cases.items() if results else ():
        expected = reference.restore(case)
        pairs.append((key, results[key], np.clip(expected, 0, 1) if is_image else expected))
    measure(report, pairs)
    if pairs and len(pairs) == len(cases) and pairs[0][0].endswith(_GOLDEN):
        report.golden_db = metrics.psnr_db(*pairs[0][1:])
    return report


def examine_onnx(
    path: pathlib.Path, file: str, parameters: int, variant: str = "float32"
) -> Report:
    """Begins the report on an ONNX file: its operators and weights, without running it."""
    import onnx

    model, kind = onnx.load(path), VARIANTS[variant]
    report = Report(file, path.stat().st_size, min(ONNX_FLOOR_DB, kind.floor_db))
    report.operators = dict(collections.Counter(node.op_type for node in model.graph.node))
    foreign = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    if foreign:
        report.faults.append(f"operators of {', '.join(foreign)}: expected ONNX's own only")
    if report.size_bytes < kind.bytes_per_parameter * parameters:
        report.faults.append(f"{report.size_bytes} bytes cannot hold the weights")
    if kind.int8 and "DequantizeLinear" not in report.operators:
        report.faults.append("no weights in int8")
    return report


# What computes shapes, or lays a picture out anew: some runtimes lack them.
_COMPUTED = {"Gather", "Range", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze"}


def _any_size_cases(reference: Reference) -> dict[str, np.ndarray]:
    picture = reference.samples.degraded[0]
    requests = [
        np.stack([convert.fit(np.roll(picture, 7 * shift, axis=1), size) for shift in range(count)])
        for count, *size in (*ODD_REQUESTS, (3, *reference.sizes[0]))
    ]
    requests += reference.cases(reference.sizes[-1])
    known = {f"serving_default|{_GOLDEN}": next(iter(reference.golden.values()))}
    return known | {f"serving_default|{i}": request for i, request in enumerate(requests)}


def _compare(
    path: pathlib.Path, cases: dict[str, np.ndarray], reference: Reference, report: Report
) -> Report:
    """Runs the cases and fills in the report."""
    results = run_for(report, path, cases)
    pairs, restored, known = [], [], []
    for key, case in cases.items() if results else ():
        result = results[key]
        if key.startswith(("serve_bytes|", "serve_jpeg|")):
            report.faults += _check_bytes(key, case, result, reference)
            continue
        expected = reference.restore(case)
        if key.endswith(f"|{_GOLDEN}"):
            known.append((result, expected))
            continue
        pairs.append((key, result, expected))
        is_scored = expected.shape[1:3] == tuple(
            side * reference.scale for side in reference.sizes[-1]
        )
        if is_scored and result.shape == expected.shape and np.isfinite(result).all():
            restored.append(result)
    measure(report, pairs)
    if known and all(result.shape == expected.shape for result, expected in known):
        report.golden_db = min(metrics.psnr_db(result, expected) for result, expected in known)
    if len(restored) >= len(reference.samples.clean):
        report.task_psnr_db = reference.task_psnr_db(restored[-len(reference.samples.degraded) :])
    if report.task_psnr_db is not None:
        report.task_loss_db = reference.keras_task_psnr_db - report.task_psnr_db
    return report


def run_for(
    report: Report, path: pathlib.Path, cases: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Runs the cases of a report's file and notes its latencies, or why it does not run.

    Returns:
      What `run_file` returns; {} where the process failed.
    """
    try:
        results = run_file(path, cases)
    except RuntimeError as error:
        report.faults.append(str(error))
        return {}
    report.latency_ms = {
        key.split("|")[1]: round(float(value), 3)
        for key, value in results.items()
        if key.startswith("latency_ms|")
    }
    return results


def measure(
    report: Report,
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]],
    value_range: float = 1.0,
) -> None:
    """Compares results with Keras's and fills in PSNR, largest difference and faults.

    Args:
      report: The file's.
      pairs: Of each case its key, the result and what Keras gives.
      value_range: How far the least and the largest value lie apart; figures are shares of it.
    """
    errors, largest = [], 0.0
    for key, result, expected in pairs:
        if result.shape != expected.shape or result.dtype != np.float32:
            report.faults.append(
                f"{key}: gives {result.shape} {result.dtype}, expected {expected.shape} float32"
            )
            continue
        if not np.isfinite(result).all():
            report.faults.append(f"{key}: the picture holds values that are no numbers")
            continue
        difference = (result.astype(np.float64) - expected) / value_range
        errors.append((np.sum(difference**2), difference.size))
        largest = max(largest, float(np.abs(difference).max()))
    if not errors:
        return
    error = sum(total for total, _ in errors) / sum(count for _, count in errors)
    report.psnr_db = math.inf if error == 0 else -10 * math.log10(error)
    report.max_difference = largest
    if report.psnr_db < report.floor_db:
        report.faults.append(
            f"{report.psnr_db:.1f} dB against Keras, below its floor of {report.floor_db:.0f}"
        )


def encode_pictures(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Makes files of (H, W, C), as rows of bytes for the runner.

    Returns:
      "png" and, of 1 or 3 channels, "jpeg", which lies on its side as a phone's does.
    """
    pixels = arrays.to_uint8(picture)
    encoded = {"png": tf.io.encode_png(pixels).numpy()}
    if picture.shape[-1] in (1, 3):
        jpeg = tf.io.encode_jpeg(pixels).numpy()
        encoded["jpeg"] = jpeg[:2] + _TURNED + jpeg[2:]
    return {name: np.frombuffer(data, np.uint8) for name, data in encoded.items()}


def _check_bytes(key: str, case: np.ndarray, result: np.ndarray, reference: Reference) -> list[str]:
    """Compares what came back: a PNG must hold Keras's floats, rounded; a JPEG is lossy."""
    channels, encoded = reference.model.input_shape[-1], case.tobytes()
    # Pillow decodes, where it can: another program than the graph's TensorFlow.
    with_mask = channels == 4
    pixels = tf.io.decode_png(encoded, 4).numpy() if with_mask else reading.read_rgb(encoded)
    image = restorer.fit_channels(pixels, channels)
    restored = reference.restore(image[np.newaxis])[0]
    expected = arrays.to_uint8(restored)
    is_jpeg = key.startswith("serve_jpeg|")
    decode = tf.io.decode_jpeg if is_jpeg else tf.io.decode_png
    received = decode(result.tobytes(), channels=expected.shape[-1]).numpy()
    if received.shape != expected.shape:
        return [f"{key}: gives {received.shape}, expected {expected.shape}"]
    if is_jpeg:
        psnr_db = metrics.psnr_db(arrays.to_float(received), arrays.to_float(expected))
        floor = JPEG_FLOOR_DB
        return [] if psnr_db >= floor else [f"{key}: {psnr_db:.1f} dB, expected at least {floor}"]
    distances = np.abs(received - 255 * np.clip(restored, 0, 1))
    wrong = np.count_nonzero(~(distances <= 0.5 + TIE_LEVELS))
    if not wrong:
        return []
    return [
        f"{key}: {wrong} of {distances.size} values are not Keras's rounded, the worst is"
        f" {distances.max():.2f} grey levels away; expected at most 0.5"
    ]
