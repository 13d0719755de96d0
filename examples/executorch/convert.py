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
        self.weights, self.lengths, self.nodes = {}, {}, graph.node
        self.given, self.made = graph.input[0].name, graph.output[0].name
        for number, stored in enumerate(graph.initializer):
            array = to_array(stored)
            if array.dtype == "int64":  # How far to pad, which torch.export wants as numbers.
                self.lengths[stored.name] = array.tolist()
                continue
            self.weights[stored.name] = f"weight_{number}"
            self.register_buffer(f"weight_{number}", torch.from_numpy(array.copy()))
        unknown = {node.op_type for node in graph.node} - {*OPERATORS}
        if unknown:
            raise SystemExit(f"{', '.join(sorted(unknown))}: expected {', '.join(OPERATORS)} alone")

    def forward(self, image):
        values = {name: getattr(self, stored) for name, stored in self.weights.items()}
        values |= self.lengths | {self.given: image}
        for node in self.nodes:
            options = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
            inputs = [values[name] for name in node.input]
            values[node.output[0]] = OPERATORS[node.op_type](options, *inputs)
        return values[self.made]


def pad(options, image, pads, value=None):
    mode = options.get("mode", b"constant").decode()
    top, left, bottom, right = (pads[axis] for axis in (2, 3, 6, 7))
    mode = {"edge": "replicate"}.get(mode, mode)
    return functional.pad(image, (left, right, top, bottom), mode)


def convolve(options, image, kernel, bias=None):
    sides = options.get("pads", [0, 0, 0, 0])
    top, left, bottom, right = sides
    if (top, left) != (bottom, right):
        image, (top, left) = functional.pad(image, (left, right, top, bottom)), (0, 0)
    return functional.conv2d(
        image,
        kernel,
        bias,
        options.get("strides", [1, 1]),
        (top, left),
        options.get("dilations", [1, 1]),
        options.get("group", 1),
    )


def convolve_transposed(options, image, kernel, bias=None):
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    strides = options.get("strides", [1, 1])
    made = functional.conv_transpose2d(image, kernel, bias, strides)
    return made[:, :, top : made.shape[2] - bottom, left : made.shape[3] - right]


def average(options, image):
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right):
        raise SystemExit("AveragePool with unequal pads: expected equal ones")
    counts = bool(options.get("count_include_pad", 0))
    sides, strides = options["kernel_shape"], options.get("strides", [1, 1])
    return functional.avg_pool2d(image, sides, strides, (top, left), count_include_pad=counts)


OPERATORS = {
    "AveragePool": average,
    "Conv": convolve,
    "ConvTranspose": convolve_transposed,
    "Pad": pad,
    "Add": lambda options, left, right: left + right,
    "Relu": lambda options, image: functional.relu(image),
    "Concat": lambda options, *images: torch.cat(images, options["axis"]),
}


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
