"""How much a network computes: multiply-adds for each pixel that comes out.

Counted as the literature counts: what convolutions and dense layers multiply, whether they are
trained or not. Biases, activations, poolings, sums and normalisations (which a convolution takes
into its weights) count nothing; a window that hangs over the border counts in full.
"""

from __future__ import annotations

import math
from typing import Any

from tf_deconv.networks.table import STATE_STRIDE

# Divisible by what networks divide by (up to 64, and 3), and large beside the borders.
_SIDE_PX = 576
# Layers whose weights are not multiplied with windows; they are not counted.
_UNCOUNTED = ("BatchNormalization", "GroupNormalization", "LayerNormalization", "PReLU")


def multiply_adds_per_pixel(model: Any) -> float | None:
    """Counts a Keras model's multiply-adds for each pixel of its output; see the next function."""
    counts = multiply_adds_of_layers(model)
    return None if counts is None else sum(counts.values())


def multiply_adds_of_layers(model: Any) -> dict[str, float] | None:
    """Counts the multiply-adds of a Keras model's layers, divided by the pixels of its output.

    Super-resolution is counted so in the literature (for an output of 1280x720); where nothing is
    enlarged, pixels of the output are those of the input.

    Args:
      model: A functional or sequential model of images (N, H, W, C), or of a frame and a state.
    Returns:
      Layer to multiply-adds for each pixel of the output, over all its channels; None where a layer
      with weights is not a convolution (depthwise, separable and transposed ones included), a dense
      layer or a normalisation, or is called more than once.
    """
    import keras

    kinds = {layer.name: type(layer).__name__ for layer in model.layers if layer.weights}
    counted = [layer for layer in model.layers if kinds.get(layer.name, "PReLU") not in _UNCOUNTED]
    if any(kinds[layer.name] not in _COUNTS for layer in counted):
        return None
    # `layer.output` is what its first call gave.
    if any(len(layer.get("inbound_nodes", ())) > 1 for layer in model.get_config()["layers"]):
        return None
    tensors = [tensor for layer in counted for tensor in (layer.input, layer.output)]
    try:
        probe = keras.Model(model.inputs, [*tensors, *model.outputs])
    except ValueError:  # That first call belongs to another model.
        return None
    _, height, width, channels = model.inputs[0].shape
    sides = height or _SIDE_PX, width or _SIDE_PX
    given = [keras.KerasTensor((1, *sides, channels))]
    for state in model.inputs[1:]:
        sides = (side // STATE_STRIDE for side in sides)
        given.append(keras.KerasTensor((1, *sides, state.shape[-1])))
    made = probe.compute_output_spec(given if len(given) > 1 else given[0])
    shapes = [tensor.shape[1:] for tensor in made]
    pixels = math.prod(shapes[2 * len(counted)][:2])
    return {
        layer.name: _COUNTS[kinds[layer.name]](layer, *shapes[2 * number : 2 * number + 2]) / pixels
        for number, layer in enumerate(counted)
    }


def _of_output(layer: Any, _: tuple[int, ...], after: tuple[int, ...]) -> int:
    """Every weight once for each position that comes out."""
    return math.prod(layer.kernel.shape) * math.prod(after[:-1])


def _of_input(layer: Any, before: tuple[int, ...], _: tuple[int, ...]) -> int:
    """Every weight once for each position that goes in, whatever the stride."""
    return math.prod(layer.kernel.shape) * math.prod(before[:-1])


def _of_separable(layer: Any, _: tuple[int, ...], after: tuple[int, ...]) -> int:
    kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
    return sum(math.prod(kernel.shape) for kernel in kernels) * math.prod(after[:-1])


_COUNTS = {
    "Conv2D": _of_output,
    "Conv2DTranspose": _of_input,
    "Dense": _of_output,
    "DepthwiseConv2D": _of_output,
    "SeparableConv2D": _of_separable,
}
