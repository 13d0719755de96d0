"""An exported ONNX file of one size as a program of ExecuTorch, for its XNNPACK backend.

    pip install torch executorch onnx
    tf-deconv export photo --onnx --sizes 256 --out exports
    python convert.py exports/photo/onnx/photo-256x256.onnx photo-256x256.pte

The program takes and gives what the ONNX file does: float32 (1, C, H, W) in [0, 1].
"""

import sys

import onnx
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from onnx.numpy_helper import to_array
from torch.nn import functional


class Network(torch.nn.Module):
    """The graph of an ONNX file, operator by operator: those that exported networks have."""

    def __init__(self, graph):
        super().__init__()
        check(graph)
        self.weights, self.lengths, self.nodes = {}, {}, graph.node
        self.given, self.made = graph.input[0].name, graph.output[0].name
        for number, stored in enumerate(graph.initializer):
            array = to_array(stored)
            if array.dtype == "int64":  # How far to pad, which torch.export wants as numbers.
                self.lengths[stored.name] = array.tolist()
                continue
            self.weights[stored.name] = f"weight_{number}"
            self.register_buffer(f"weight_{number}", torch.from_numpy(array.copy()))

    def forward(self, image):
        values = {name: getattr(self, stored) for name, stored in self.weights.items()}
        values |= self.lengths | {self.given: image}
        for node in self.nodes:
            inputs = [values[name] if name else None for name in node.input]
            values[node.output[0]] = OPERATORS[node.op_type](attributes(node), *inputs)
        return values[self.made]


def attributes(node):
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def check(graph):
    """Refuses what is not computed here: anything left out would give another picture."""
    refused = set()
    if len(graph.input) != 1 or len(graph.output) != 1:
        names = ", ".join(each.name for each in [*graph.input, *graph.output])
        refused.add(f"inputs and outputs {names} (expected one of each: no model of films)")
    numbers = {stored.name: to_array(stored) for stored in graph.initializer}
    for node in graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            refused.add(f"operator {node.op_type}")
            continue
        if node.op_type == "Pad":
            refused |= refused_padding(node, numbers)
        for name, value in attributes(node).items():
            if name not in HONOURED[node.op_type] and value not in IGNORED.get(name, ()):
                refused.add(f"{node.op_type} with {name}={value!r}")
    if refused:
        raise SystemExit(
            f"not converted: {'; '.join(sorted(refused))}. Expected an ONNX file of one size that"
            f" `tf-deconv export --onnx --sizes N` wrote, with {', '.join(OPERATORS)} alone"
        )


def refused_padding(node, numbers):
    """What of a Pad is not computed: of channels, by a value, negative, or by a computed width."""
    mode = attributes(node).get("mode", b"constant").decode()
    pads = numbers.get(node.input[1]) if len(node.input) > 1 else None
    if pads is None or len(pads) != 8:
        return {"Pad whose width is not stored for four axes"}
    refused = set()
    if min(pads) < 0 or any(pads[[0, 1, 4, 5]]):
        refused.add(f"Pad by {pads.tolist()}")
    if len(node.input) > 2 and node.input[2] and numbers.get(node.input[2], 1) != 0:
        refused.add("Pad with another value than 0")
    if len(node.input) > 3 and node.input[3]:
        refused.add("Pad of some axes")
    if mode not in MODES:
        refused.add(f"Pad with mode={mode!r}")
    return refused


def pad(options, image, pads, *_):
    mode = MODES[options.get("mode", b"constant").decode()]
    top, left, bottom, right = (pads[axis] for axis in (2, 3, 6, 7))
    return functional.pad(image, (left, right, top, bottom), mode)


def sides_of(options, image, kernel, strides, dilations=(1, 1)):
    """Returns how far an operator pads its input: top, left, bottom, right."""
    automatic = options.get("auto_pad", b"NOTSET")
    if automatic == b"NOTSET":
        return tuple(options.get("pads", (0, 0, 0, 0)))
    if automatic == b"VALID":
        return 0, 0, 0, 0
    before, after = [], []
    for length, size, stride, dilation in zip(image.shape[2:], kernel, strides, dilations):
        reached = (-(-length // stride) - 1) * stride + (size - 1) * dilation + 1
        both = max(0, reached - length)
        less = both // 2
        upper = automatic == b"SAME_UPPER"  # The odd one lies behind.
        before.append(less if upper else both - less)
        after.append(both - before[-1])
    return *before, *after


def convolve(options, image, kernel, bias=None):
    strides, dilations = options.get("strides", (1, 1)), options.get("dilations", (1, 1))
    top, left, bottom, right = sides_of(options, image, kernel.shape[2:], strides, dilations)
    if (top, left) != (bottom, right):
        image, (top, left) = functional.pad(image, (left, right, top, bottom)), (0, 0)
    group = options.get("group", 1)
    return functional.conv2d(image, kernel, bias, strides, (top, left), dilations, group)


def convolve_transposed(options, image, kernel, bias=None):
    top, left, bottom, right = options.get("pads", (0, 0, 0, 0))
    made = functional.conv_transpose2d(
        image,
        kernel,
        bias,
        options.get("strides", (1, 1)),
        output_padding=options.get("output_padding", (0, 0)),
        groups=options.get("group", 1),
        dilation=options.get("dilations", (1, 1)),
    )
    return made[:, :, top : made.shape[2] - bottom, left : made.shape[3] - right]


def average(options, image):
    kernel, strides = options["kernel_shape"], options.get("strides", (1, 1))
    counts = bool(options.get("count_include_pad", 0))
    top, left, bottom, right = sides_of(options, image, kernel, strides)
    if (top, left) == (bottom, right):
        return functional.avg_pool2d(image, kernel, strides, (top, left), count_include_pad=counts)
    width = left, right, top, bottom
    made = functional.avg_pool2d(functional.pad(image, width), kernel, strides)
    if counts:
        return made
    inside = functional.pad(torch.ones_like(image[:1, :1]), width)
    return made / functional.avg_pool2d(inside, kernel, strides)


OPERATORS = {
    "AveragePool": average,
    "Conv": convolve,
    "ConvTranspose": convolve_transposed,
    "Pad": pad,
    "Add": lambda options, left, right: left + right,
    "Relu": lambda options, image: functional.relu(image),
    "Concat": lambda options, *images: torch.cat(images, options["axis"]),
}
# Attributes that each of them is computed with.
SLIDING = {"auto_pad", "kernel_shape", "pads", "strides"}
HONOURED = {
    "AveragePool": SLIDING | {"count_include_pad"},
    "Conv": SLIDING | {"dilations", "group"},
    "ConvTranspose": {"dilations", "group", "kernel_shape", "output_padding", "pads", "strides"},
    "Pad": {"mode"},
    "Add": set(),
    "Relu": set(),
    "Concat": {"axis"},
}
# Values of other attributes that change nothing.
IGNORED = {"auto_pad": (b"NOTSET", b"VALID"), "ceil_mode": (0,), "dilations": ([1, 1],)}
# Modes of Pad, by PyTorch's names.
MODES = {"constant": "constant", "edge": "replicate", "reflect": "reflect", "wrap": "circular"}


def main(source, target):
    graph = onnx.load(source).graph
    network = Network(graph).eval()
    shape = [side.dim_value for side in graph.input[0].type.tensor_type.shape.dim]
    program = torch.export.export(network, (torch.zeros(shape),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    with open(target, "wb") as stream:
        stream.write(lowered.to_executorch().buffer)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: convert.py NAME-HxW.onnx NAME-HxW.pte")
    main(*sys.argv[1:])
