"""int8 in its four kinds, from a float32 TFLite file, by litert-quantizer.

TensorFlow's own converter leaves weights of fewer than 1,024 numbers in float, and cost a U-Net
0.10 dB where this one costs 0.07 (docs/decisions/0009-tflite-variants.md). Every signature is
quantised; `flatbuffer` looks whether it happened.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_deconv.exporting.tflite import flatbuffer
from tf_deconv.exporting.variants import DYNAMIC, STATIC, WEIGHTS, Variant
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.utils import files

# In int8 files with float pictures, convolutions that touch the picture stay in float where a
# network has sums and each is at most this share of its work.
PICTURE_SHARE = 0.05
# So do those that `polyphase` computes, whatever their share: it names layers that have a picture's
# channels four times and more. Few channels are fast in float then.
PICTURE_LAYER = "_picture"
# What is looked at of each tensor of each calibration picture.
VALUES_PER_CASE = 4096
# The least range of a result, as a share of the widest. A layer that training left without effect
# gives nothing but 0, and a step of nothing: XNNPACK refuses to convolve where the product of the
# steps that go in is 256 of those that come out, and to add where one is less than 1/1024 or as
# much as 256 of what comes out.
LEAST_RANGE_SHARE = 1 / 200


def calibrate(
    file: TfliteFile, cases: Mapping[str, Sequence[dict[str, np.ndarray]]]
) -> dict[str, dict[str, np.ndarray]]:
    """Finds the range of every tensor that int8 shall hold.

    It is the one, between the whole range and a third of it, whose 256 steps are nearest to the
    values on average: a few large ones are cut off where that makes the steps of all others finer.
    A picture that goes in has [0, 1] whatever the cases hold, so its int8 are the 256 levels of a
    picture file less 128; what comes out has at least this range. A state has its own. No other
    range is narrower than `LEAST_RANGE_SHARE` of the widest.

    Args:
      file: A float32 file, as it was read or packed.
      cases: Signature to its inputs, each {"image": (1, H, W, C) float32}.
    Returns:
      Tensor to {"min", "max"}, arrays of one number, as litert-quantizer takes them.
    """
    from ai_edge_litert.interpreter import Interpreter

    # Weights have no range here: each of their channels gets its own.
    skipped = {"", *flatbuffer.constant_names(file)}
    values: dict[str, list[np.ndarray]] = {}
    with _quiet():
        interpreter = Interpreter(
            model_content=file.content, num_threads=_CPUS, experimental_preserve_all_tensors=True
        )
        for number, signature in enumerate(flatbuffer.signature_names(file)):
            runner = interpreter.get_signature_runner(signature)
            for case in cases[signature]:
                runner(**case)
                for tensor in interpreter.get_tensor_details(number):
                    if tensor["dtype"] is np.float32 and tensor["name"] not in skipped:
                        held = interpreter.get_tensor(tensor["index"], number)
                        values.setdefault(tensor["name"], []).append(thinned(held))
    ranges = widened({name: best_range(np.concatenate(held)) for name, held in values.items()})
    inputs, outputs = flatbuffer.picture_tensors(file)
    ranges |= dict.fromkeys(inputs, (0.0, 1.0))
    for name in outputs:
        low, high = ranges[name]
        ranges[name] = min(low, 0.0), max(high, 1.0)
    return {
        name: {"min": np.full((1, 1, 1, 1), low, "f"), "max": np.full((1, 1, 1, 1), high, "f")}
        for name, (low, high) in ranges.items()
    }


def thinned(values: np.ndarray) -> np.ndarray:
    """Keeps a few thousand values of a tensor, its least and its largest among them."""
    flat = values.ravel()
    step = max(1, flat.size // VALUES_PER_CASE)
    # Channels lie next to each other: a step of a multiple of their number would see one of them.
    while math.gcd(step, values.shape[-1]) > 1:
        step += 1
    return np.append(flat[::step], [flat.min(), flat.max()]).astype(np.float32)


def best_range(values: np.ndarray) -> tuple[float, float]:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)

    def error(share: float) -> float:
        step = max((high - low) * share / 255, 1e-12)
        zero = np.rint(-low * share / step)
        stored = np.clip(np.rint(values / step) + zero, 0, 255) - zero
        return float(np.mean((stored * step - values) ** 2))

    share = min(np.linspace(1.0, 1 / 3, 21), key=error)
    return low * share, high * share


def widened(ranges: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Widens ranges (low <= 0, high >= 0) that are narrower than `LEAST_RANGE_SHARE` allows.

    A range that begins or ends at 0 still does; one that holds 0 alone then ends above it.
    """
    least = LEAST_RANGE_SHARE * max(high - low for low, high in ranges.values())

    def widen(low: float, high: float) -> tuple[float, float]:
        width = high - low
        if width >= least:
            return low, high
        share = high / width if width else 1.0
        return (share - 1) * least, share * least

    return {name: widen(*each) for name, each in ranges.items()}


def quantize_closely(
    file: TfliteFile, variant: Variant, loss_db: Callable[[TfliteFile], float], most_db: float
) -> tuple[TfliteFile, int]:
    """Quantises a network with sums; its last convolutions stay in float if int8 loses too much.

    What is rounded there is added to the picture and nothing after it makes up for it. One
    convolution after the other is kept, up to `flatbuffer.LARGEST_FLOAT_SHARE` of the work.

    Args:
      file: A float32 file, as it was read or packed.
      variant: An int8 variant that finds its ranges while it runs.
      loss_db: Returns how many dB a file loses on pictures that are held out.
      most_db: What it may lose.
    Returns:
      The quantised file, and how many of its last convolutions are in float: as few as it takes; 0
      where none would do, for such a file is at least fast.
    """
    plain = quantize(file, variant)
    if loss_db(plain) <= most_db:
        return plain, 0
    in_float: list[str] = []
    steps = flatbuffer.last_convolutions(file, flatbuffer.LARGEST_FLOAT_SHARE)
    for count, names in enumerate(steps, 1):
        in_float += names
        result = quantize(file, variant, in_float=in_float)
        if loss_db(result) <= most_db:
            return result, count
    return plain, 0


def quantize(
    file: TfliteFile,
    variant: Variant,
    ranges: dict[str, Any] | None = None,
    in_float: Sequence[str] = (),
) -> TfliteFile:
    """Quantises a file.

    Args:
      file: A float32 file, as it was read or packed.
      variant: An int8 variant.
      ranges: What `calibrate` returned for this file; only a variant with fixed ranges needs it.
      in_float: Results' names of further convolutions that stay in float.
    Returns:
      The quantised file.
    """
    from litert_quantizer import qtyping, quantizer, recipe
    from litert_quantizer.algorithm_manager import AlgorithmName

    recipes = {
        WEIGHTS: recipe.weight_only_wi8_afp32,
        DYNAMIC: recipe.dynamic_wi8_afp32,
        STATIC: recipe.static_wi8_ai8,
    }
    operation, none = qtyping.TFLOperationName, AlgorithmName.NO_QUANTIZE
    has_sums = flatbuffer.has_sums(file)
    kind = variant.int8
    if kind == STATIC and not variant.has_fixed_ranges(has_sums):
        kind = DYNAMIC
    with _quiet():
        work = quantizer.Quantizer(file.content, recipes[kind]())
        if kind == STATIC and not variant.int8_pictures:
            for side in (operation.INPUT, operation.OUTPUT):
                work.update_quantization_recipe(".*", side, algorithm_key=none)
        if kind == DYNAMIC:
            # With ranges found while they run, TensorFlow Lite before 2.17 refuses transposed
            # convolutions, and of dense layers takes the first channel's scale for all: 20 dB of
            # a flow. Weights that are unpacked first cost nothing there and where a kernel is its
            # stride, and elsewhere half of the time (docs/decisions/0009-tflite-variants.md).
            work.add_weight_only_config(".*", operation.FULLY_CONNECTED, num_bits=8)
            for name in flatbuffer.square_operators(file):
                pattern = f".*{re.escape(name)}.*"
                work.add_weight_only_config(pattern, operation.CONV_2D_TRANSPOSE, num_bits=8)
        for pattern in [*_float_operators(file, variant, has_sums), *map(re.escape, in_float)]:
            for convolution in (operation.CONV_2D, operation.CONV_2D_TRANSPOSE):
                work.update_quantization_recipe(pattern, convolution, algorithm_key=none)
        for name in flatbuffer.returning_operators(file):
            pattern = f"(^|;){re.escape(name)};"
            work.update_quantization_recipe(pattern, operation.ALL_SUPPORTED, algorithm_key=none)
        result = work.quantize(ranges, enable_progress_report=False)
    return TfliteFile(bytes(result.quantized_model))


def _float_operators(file: TfliteFile, variant: Variant, has_sums: bool) -> list[str]:
    """Returns patterns of the names of convolutions that stay in float."""
    if variant.int8 == WEIGHTS:
        names = flatbuffer.picture_operators(file)
    elif has_sums and not variant.int8_pictures:
        names = flatbuffer.picture_operators(file, PICTURE_SHARE)
    else:
        return []
    return [f".*{PICTURE_LAYER}_phased.*", *map(re.escape, names)]


_CPUS = os.cpu_count() or 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back progress bars, and a warning that is meant for who debugs."""
    with files.silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
