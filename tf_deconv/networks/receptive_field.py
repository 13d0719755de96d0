"""How far a network sees: computed from its layers, or measured on any artifact that runs.

The *reach* is the largest distance, in input pixels along one axis, from an output pixel to an
input pixel that changes it. Output pixel o of a network of scale s stands at input pixel o // s.
The receptive field is the square of 2 * reach + 1 pixels around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# A network that sees further than this is taken for one that sees the whole picture.
MAX_REACH = 512
# Layers and operations that map each pixel to itself, or several pictures' pixels to one.
# fmt: off
_POINTWISE = frozenset((
    "Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Dropout", "SpatialDropout2D",
    "GaussianNoise", "BatchNormalization", "Rescaling", "Dense", "Add", "Subtract", "Multiply",
    "TrueDivide", "Divide", "Average", "Maximum", "Minimum", "Concatenate", "Relu", "Relu6",
    "Sigmoid", "Tanh", "Clip", "Silu", "Gelu", "Elu", "LeakyRelu", "Softplus", "Absolute",
    "Negative", "Square", "Sqrt", "Identity",
))
# fmt: on
_WINDOWED = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D")

# Of each position along one axis: the first and the last input pixel that reach it.
Span = tuple[np.ndarray, np.ndarray]


class _UnknownLayerError(Exception):
    """A layer whose windows are not known here: the reach is then measured."""


def compute_reach(model: Any, scale: int) -> int | None:
    """Computes the reach of a Keras functional model from its layers' configuration.

    Args:
      model: Made of convolutions, transposed convolutions, poolings and pointwise layers.
      scale: Output pixels per input pixel along each axis.
    Returns:
      Pixels; None where a layer is not one of those, or sees the whole picture.
    """
    side = 128
    while side <= 8 * MAX_REACH:
        reaches = []
        for axis in (0, 1):
            try:
                low, high = _spans_of(model.get_config(), axis, side)
            except (_UnknownLayerError, KeyError, TypeError, ValueError):
                return None
            if len(low) != side * scale:
                return None
            # The middle alone: near the borders the picture ends before the reach does.
            middle = np.arange(len(low) // 2 - 64 * scale, len(low) // 2 + 64 * scale)
            reaches.append(
                max(np.max(middle // scale - low[middle]), np.max(high[middle] - middle // scale))
            )
        reach = max(0, int(max(reaches)))
        if reach < side // 2 - 64:
            return reach if reach <= MAX_REACH else None
        side *= 2
    return None


def _spans_of(config: dict[str, Any], axis: int, side: int) -> Span:
    """Follows the spans of input pixels along one axis through a model's layers."""
    spans: dict[str, Span] = {}
    previous = None
    for layer in config["layers"]:
        name, kind = layer["config"]["name"], layer["class_name"]
        if kind == "InputLayer":
            spans[name] = (np.arange(side, dtype=float), np.arange(side, dtype=float))
        else:
            nodes = layer.get("inbound_nodes")
            if nodes is None:  # A Sequential model: each layer takes what the last one gave.
                nodes, sources = [{}], [previous]
            else:
                sources = list(_tensor_names(nodes))
            if len(nodes) != 1 or layer["config"].get("data_format") == "channels_first":
                raise _UnknownLayerError(name)
            if kind == "GetItem":
                _check_channels_only(nodes[0])
            inputs = [spans[source] for source in sources]
            spans[name] = _through(kind, layer["config"], axis, inputs)
        previous = name
    outputs = config.get("output_layers", [previous])
    return spans[outputs[0] if isinstance(outputs[0], str) else outputs[0][0]]


def _tensor_names(value: Any) -> Iterator[str]:
    """Finds the layers whose tensors a node of a model's configuration takes."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _tensor_names(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensor_names(entry)


def _check_channels_only(node: dict[str, Any]) -> None:
    key = node["args"][1]
    if not isinstance(key, list | tuple) or len(key) != 2:
        raise _UnknownLayerError("an index that is not [..., channels]")
    if not isinstance(key[0], dict) or key[0].get("class_name") != "__ellipsis__":
        raise _UnknownLayerError("an index that is not [..., channels]")


def _through(kind: str, config: dict[str, Any], axis: int, inputs: list[Span]) -> Span:
    """Returns the spans behind a layer's output."""
    low = np.minimum.reduce([span[0] for span in inputs])
    high = np.maximum.reduce([span[1] for span in inputs])
    if kind in ("Concatenate", "Softmax") and config.get("axis", -1) not in (-1, 3):
        raise _UnknownLayerError(f"{kind} along an axis that is not the channels'")
    if kind in _POINTWISE or kind == "GetItem":
        return low, high
    if kind in _WINDOWED:
        length = _along(config.get("kernel_size", config.get("pool_size")), axis)
        stride = _along(config["strides"], axis)
        dilation = _along(config.get("dilation_rate", 1), axis)
        return _windows((low, high), length, stride, dilation, config["padding"])
    if kind == "Conv2DTranspose" and config.get("output_padding") is None:
        length, stride = _along(config["kernel_size"], axis), _along(config["strides"], axis)
        dilation = _along(config["dilation_rate"], axis)
        return _transposed((low, high), length, stride, dilation, config["padding"])
    if kind == "UpSampling2D" and config["interpolation"] == "nearest":
        size = _along(config["size"], axis)
        return low.repeat(size), high.repeat(size)
    if kind == "UpSampling2D" and config["interpolation"] == "bilinear":
        return _interpolated((low, high), _along(config["size"], axis))
    if kind in ("ZeroPadding2D", "Cropping2D"):
        before, after = config["padding" if kind == "ZeroPadding2D" else "cropping"][axis]
        if kind == "Cropping2D":
            return low[before : len(low) - after], high[before : len(high) - after]
        around = (before, after)
        return (
            np.pad(low, around, constant_values=np.inf),
            np.pad(high, around, constant_values=-np.inf),
        )
    if kind == "Pad" and config["mode"] in ("reflect", "symmetric"):
        around = config["pad_width"][1 + axis]
        return np.pad(low, around, config["mode"]), np.pad(high, around, config["mode"])
    raise _UnknownLayerError(kind)


def _along(value: Any, axis: int) -> int:
    return value if isinstance(value, int) else value[axis]


def _windows(span: Span, length: int, stride: int, dilation: int, padding: str) -> Span:
    """A convolution or pooling: TensorFlow's rules for "same" and "valid"."""
    side, reached = len(span[0]), (length - 1) * dilation + 1
    if padding == "same":
        count = -(-side // stride)
        before = max((count - 1) * stride + reached - side, 0) // 2
    elif padding == "valid":
        count, before = (side - reached) // stride + 1, 0
    else:
        raise _UnknownLayerError(padding)
    positions = np.arange(count)
    taps = (positions * stride - before + tap * dilation for tap in range(length))
    return _gathered(span, ((positions, tap) for tap in taps), count)


def _interpolated(span: Span, factor: int) -> Span:
    """Bilinear enlargement: the two input pixels around each output pixel's centre."""
    side = len(span[0])
    centers = (np.arange(side * factor) + 0.5) / factor - 0.5
    first = np.clip(np.floor(centers), 0, side - 1).astype(int)
    second = np.clip(np.floor(centers) + 1, 0, side - 1).astype(int)
    low, high = (np.stack([bound[first], bound[second]]) for bound in span)
    return low.min(axis=0), high.max(axis=0)


def _transposed(span: Span, length: int, stride: int, dilation: int, padding: str) -> Span:
    """A transposed convolution: the adjoint of `_windows`."""
    side, reached = len(span[0]), (length - 1) * dilation + 1
    if padding == "same":
        count, before = side * stride, max(reached - stride, 0) // 2
    else:
        count, before = side * stride + max(reached - stride, 0), 0
    sources = np.arange(side)
    taps = (sources * stride + tap * dilation - before for tap in range(length))
    return _gathered(span, ((tap, sources) for tap in taps), count)


def _gathered(span: Span, pairs: Iterator[Span], count: int) -> Span:
    """Joins the spans of all (output positions, input positions); those outside are zeros."""
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for outputs, inputs in pairs:
        there = (inputs >= 0) & (inputs < len(span[0])) & (outputs >= 0) & (outputs < count)
        np.minimum.at(low, outputs[there], span[0][inputs[there]])
        np.maximum.at(high, outputs[there], span[1][inputs[there]])
    return low, high


def measure_reach(
    run: Callable[[np.ndarray], np.ndarray],
    channels: int,
    divisor: int,
    scale: int,
    size: tuple[int, int] | None = None,
) -> int | None:
    """Measures the reach: changes one input pixel and looks which output pixels change.

    Args:
      run: (1, H, W, channels) float32 to (1, H * scale, W * scale, C').
      channels: Of the input.
      divisor: The pixel is tried at each place of its grid.
      scale: Output pixels per input pixel along each axis.
      size: (height, width) that `run` takes; any multiple of the divisor when left out.
    Returns:
      Pixels; None when the change reaches the border of the largest picture tried.
    """
    side = 64 + -64 % divisor
    while True:
        height, width = size or (side, side)
        # The border cuts off what lies beyond it: the reach is known only when it stays inside.
        border = (min(height, width) - 2 * divisor) // 2 - 1
        reach = _measure_at(run, channels, divisor, scale, height, width, border)
        if reach < border:
            return reach
        if size is not None or side >= 2 * MAX_REACH:
            return None
        side *= 2


def _measure_at(
    run: Callable[[np.ndarray], np.ndarray],
    channels: int,
    divisor: int,
    scale: int,
    height: int,
    width: int,
    border: int,
) -> int:
    """Returns the reach in pictures of one size, or at least `border` if it is as far as that."""
    random = np.random.default_rng(0)
    reach = 0
    for _ in range(2):
        image = random.random((1, height, width, channels), np.float32)
        before = run(image)
        # Smaller changes are the order of summation, which a fast convolution may alter.
        threshold = 1e-6 * max(1.0, float(np.abs(before).max()))
        for phase in range(divisor):
            row, column = (side // 2 // divisor * divisor + phase for side in (height, width))
            # Large steps of either sign: one alone may end in a relu or lose against a maximum.
            for step in (-8.0, -1.0, 1.0, 8.0):
                changed = image.copy()
                changed[0, row, column] += step
                difference = np.abs(run(changed) - before)[0].max(axis=-1)
                rows, columns = np.nonzero(difference > threshold)
                if len(rows):
                    reach = max(
                        reach,
                        int(np.abs(rows // scale - row).max()),
                        int(np.abs(columns // scale - column).max()),
                    )
                if reach >= border:
                    return reach
    return reach


def measure_divisor(
    run: Callable[[np.ndarray], np.ndarray],
    channels: int,
    scale: int,
    size: tuple[int, int] | None = None,
) -> int:
    """Measures by how many pixels a picture must move for its restored one to move along.

    Args:
      run: As for `measure_reach`; it pads to its divisor itself.
      channels: Of the input.
      scale: Output pixels per input pixel along each axis.
      size: (height, width) that `run` takes.
    Returns:
      The smallest power of two, up to 64, that the output follows.
    Raises:
      ValueError: if none does.
    """
    height, width = size or (256, 256)
    random = np.random.default_rng(0)
    image = random.random((1, height + 64, width + 64, channels), np.float32)
    first = run(image[:, :height, :width])[0]
    for divisor in (1, 2, 4, 8, 16, 32, 64):
        if divisor > min(height, width) // 4:
            break
        moved = run(np.ascontiguousarray(image[:, divisor:, divisor:][:, :height, :width]))[0]
        # A square in the middle, as small as a step: the borders reach least far there.
        top, left = (height // 2 - divisor) * scale, (width // 2 - divisor) * scale
        side, step = max(2, divisor) * scale, divisor * scale
        here = moved[top : top + side, left : left + side]
        there = first[top + step : top + step + side, left + step : left + step + side]
        if np.abs(here - there).max() <= 1e-5 * max(1.0, float(np.abs(first).max())):
            return divisor
    raise ValueError("the restored picture follows no move of up to 64 pixels")
