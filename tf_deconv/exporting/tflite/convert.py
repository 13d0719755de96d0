"""TFLite files for phones: static batch 1, one named signature per size, builtin operators only.

A dynamic batch turns 7 operators into 29 and crashes some runtimes, so sizes are static and each
has its own signature; they share the weights. `convert` does it for networks that restore,
`convert_graphs` for any static graphs.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.exporting.saved_model.restorer import restore_tensor
from tf_deconv.exporting.tflite import flatbuffer, polyphase, quantize, versions
from tf_deconv.exporting.variants import VARIANTS, WEIGHTS, Variant
from tf_deconv.images import arrays
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError

CALIBRATION_CASES = 64


@dataclasses.dataclass(frozen=True)
class Judge:
    """What an int8 file may lose.

    Attributes:
      loss_db: Returns how many dB a file loses on pictures that are held out.
      most_db: How many it may; convolutions stay in float for it, see `quantize.quantize_closely`.
      report: Receives a line where they do.
    """

    loss_db: Callable[[TfliteFile], float]
    most_db: float
    report: Callable[[str], None]


def signature_name(size: tuple[int, int]) -> str:
    """Returns the signature of a size (height, width): "restore_28x28"."""
    return f"restore_{size[0]}x{size[1]}"


def convert(
    model: keras.Model,
    variants: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    calibration: np.ndarray,
    *,
    divisor: int,
    scale: int,
    keep_relu: bool = True,
    phased: bool = False,
    judge: Judge | None = None,
) -> dict[str, TfliteFile]:
    """Converts a model.

    Args:
      model: A float32 functional model of any height and width.
      variants: Names in `VARIANTS`.
      sizes: (height, width) of each signature, in pixels.
      calibration: (count, H, W, C) float32 in [0, 1]: what int8 ranges are measured on.
      divisor: The network's.
      scale: The network's.
      keep_relu: As `flatbuffer.make_portable` takes it.
      phased: Whether variants that gain from it compute by `polyphase`.
      judge: Tells what int8 files lose; None: nothing is kept in float for it.
    Returns:
      Name of the variant to its file, not packed yet; input `image` and output `restored`.
    Raises:
      UserError: if the calibration pictures cannot be right.
    """
    check_calibration(calibration)

    def write(folder: pathlib.Path, in_phases: bool) -> None:
        network = polyphase.by_phases(model) if in_phases else model
        _write_static_signatures(network, folder, sizes, divisor, scale)

    return convert_graphs(
        write,
        variants,
        [signature_name(size) for size in sizes],
        lambda: _calibration_cases(sizes, calibration),
        keep_relu=keep_relu,
        phased=phased,
        judge=judge,
    )


Cases = Mapping[str, Sequence[dict[str, np.ndarray]]]


def convert_graphs(
    write: Callable[[pathlib.Path, bool], None],
    variants: Sequence[str],
    signatures: Sequence[str],
    calibration_cases: Callable[[], Cases] | None = None,
    *,
    keep_relu: bool = True,
    phased: bool = False,
    judge: Judge | None = None,
) -> dict[str, TfliteFile]:
    """Converts static graphs.

    Args:
      write: Writes a SavedModel of the graphs into a folder, by `polyphase` or not.
      variants: Names in `VARIANTS`.
      signatures: Of the SavedModel, those that the files shall have.
      calibration_cases: Returns each signature's inputs; only fixed ranges need them.
      keep_relu: As `flatbuffer.make_portable` takes it.
      phased: Whether variants that gain from it compute by `polyphase`.
      judge: As `convert` takes it.
    Returns:
      Name of the variant to its file, not packed yet.
    """
    converted: dict[str, TfliteFile] = {}
    for in_phases in (True, False) if phased else (False,):
        left = [name for name in variants if name not in converted]
        if left:
            with tempfile.TemporaryDirectory() as folder, files.silent_stderr():
                write(pathlib.Path(folder), in_phases)
                float32 = _convert_float(folder, "float32", signatures)
                has_sums = flatbuffer.has_sums(float32)
                chosen = [n for n in left if not in_phases or _gains_from_phases(n, has_sums)]
                converted |= _convert_group(
                    folder, float32, chosen, signatures, calibration_cases, judge
                )
    for file in converted.values():
        flatbuffer.make_portable(file, keep_relu)
        versions.write_least_runtime(file)
    return {name: converted[name] for name in variants}


def _gains_from_phases(name: str, has_sums: bool) -> bool:
    """Whether a variant is faster by `polyphase`.

    int8 of a network with sums finds its ranges while it runs and has float results, which
    DEPTH_TO_SPACE lays out as they are. With fixed ranges they would be converted to and fro.
    """
    variant = VARIANTS[name]
    return variant.phased or (has_sums and not variant.has_fixed_ranges(has_sums))


def _convert_group(
    folder: str,
    float32: TfliteFile,
    names: Sequence[str],
    signatures: Sequence[str],
    calibration_cases: Callable[[], Cases] | None,
    judge: Judge | None,
) -> dict[str, TfliteFile]:
    """Converts one network to several variants."""
    converted: dict[str, TfliteFile] = {}
    ranges, moving = None, None
    has_sums = flatbuffer.has_sums(float32)
    for name in names:
        variant = VARIANTS[name]
        if not variant.int8:
            is_made = name == "float32"
            converted[name] = float32 if is_made else _convert_float(folder, name, signatures)
            continue
        if variant.int8 == WEIGHTS or variant.has_fixed_ranges(has_sums) or not has_sums:
            if variant.has_fixed_ranges(has_sums) and ranges is None:
                ranges = quantize.calibrate(float32, calibration_cases())
            converted[name] = quantize.quantize(float32, variant, ranges)
            continue
        # `int8` and `dynamic` are one file here (decision 9), and judging takes its time.
        moving = moving or _quantize_moving(float32, variant, judge)
        converted[name] = TfliteFile(moving.content)
    return converted


def _quantize_moving(file: TfliteFile, variant: Variant, judge: Judge | None) -> TfliteFile:
    """Quantises a network with sums, whose ranges move with the picture."""
    if judge is None:
        return quantize.quantize(file, variant)
    result, count = quantize.quantize_closely(file, variant, judge.loss_db, judge.most_db)
    if count:
        kept = "convolution stays" if count == 1 else f"{count} convolutions stay"
        judge.report(f"int8 would lose more than {judge.most_db:g} dB: its last {kept} in float")
    return result


def with_constants(model: keras.Model) -> Callable[..., Any]:
    """Returns a model's function with its weights as constants of the graph.

    Of several signatures, the converter freezes no variable, and int8 calibration then fails on
    READ_VARIABLE.
    """
    trainable = [variable.numpy() for variable in model.trainable_variables]
    fixed = [variable.numpy() for variable in model.non_trainable_variables]

    def constant_model(inputs: Any, training: bool = False) -> tf.Tensor:
        return model.stateless_call(trainable, fixed, inputs, training=training)[0]

    return constant_model


def check_calibration(calibration: np.ndarray) -> None:
    """Refuses calibration pictures that convert without an error and restore nonsense.

    Pictures in [0, 255] cost 7 to 10 dB, none at all gives a float file.

    Raises:
      UserError: if there are none, or they are not in [0, 1], or hold nothing.
    """
    if not len(calibration):
        raise UserError("int8 calibration: received no picture, expected at least 1")
    low, high = float(calibration.min()), float(calibration.max())
    if not (np.isfinite(low) and np.isfinite(high) and low >= -0.01 and high <= 1.01):
        raise UserError(f"int8 calibration: values from {low:g} to {high:g}, expected [0, 1]")
    if high - low < 0.1:
        raise UserError(
            f"int8 calibration: all values are between {low:g} and {high:g}; expected pictures"
        )


def _write_static_signatures(
    model: keras.Model,
    folder: pathlib.Path,
    sizes: Sequence[tuple[int, int]],
    divisor: int,
    scale: int,
) -> None:
    channels = model.input_shape[-1]
    constant_model = with_constants(model)

    def endpoint(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"restored": restore_tensor(constant_model, image, divisor, scale)}

    signatures = {
        signature_name(size): tf.function(endpoint).get_concrete_function(
            tf.TensorSpec((1, *size, channels), tf.float32, name="image")
        )
        for size in sizes
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)


def _convert_float(folder: str, variant: str, signatures: Sequence[str]) -> TfliteFile:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(signatures))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if variant == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return TfliteFile(converter.convert())


def _calibration_cases(
    sizes: Sequence[tuple[int, int]], calibration: np.ndarray
) -> dict[str, list[dict[str, np.ndarray]]]:
    cases = {}
    for size in sizes:
        per_picture = max(1, CALIBRATION_CASES // len(calibration))
        tiles = [tile for picture in calibration for tile in _cut(picture, size)[:per_picture]]
        cases[signature_name(size)] = [{"image": tile} for tile in tiles]
    return cases


def _cut(picture: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Cuts (H, W, C) into (1, height, width, C) tiles; a picture that is too small is mirrored."""
    picture = fit(picture, (max(size[0], picture.shape[0]), max(size[1], picture.shape[1])))
    rows = range(0, picture.shape[0] - size[0] + 1, size[0])
    columns = range(0, picture.shape[1] - size[1] + 1, size[1])
    tiles = [
        picture[np.newaxis, top : top + size[0], left : left + size[1]]
        for top in rows
        for left in columns
    ]
    # A stride through all of them, so that few tiles still come from the whole picture.
    return tiles[:: max(1, len(tiles) // CALIBRATION_CASES)]


def fit(picture: np.ndarray, size: tuple[int, int], scale: int = 1) -> np.ndarray:
    """Cuts the middle of (H, W, C) to `size` times `scale`, or mirrors what is missing.

    A clean picture is cut at `scale` times the place where its degraded one is.
    """
    picture = arrays.middle(picture, size, scale)
    missing = [(0, want * scale - have) for want, have in zip(size, picture.shape)]
    return np.pad(picture, [*missing, (0, 0)], mode="symmetric")
