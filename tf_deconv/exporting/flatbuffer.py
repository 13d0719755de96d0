"""TFLite files as flatbuffers: what is in them, and the one rewrite that portability needs.

TensorFlow's converter fuses a relu into the transposed convolution before it and so raises the
operator to version 4. GPU delegates then refuse the file, and OpenVINO drops the relu without a
word. Taking the relu out again brings back version 3, which every runtime has.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

# The last version before fused activations.
TRANSPOSE_CONV_VERSION = 3
_RESOURCE_OPERATORS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}
_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()
}
_TYPE_NAMES = {value: name.lower() for name, value in vars(schema.TensorType).items()}


def split_transpose_conv_activations(content: bytes) -> bytes:
    """Moves activations fused into TRANSPOSE_CONV into an operator of their own.

    Args:
      content: A `.tflite` file.
    Returns:
      An equivalent file whose TRANSPOSE_CONV operators are of version 3 at most.
    Raises:
      ValueError: if a fused activation other than RELU is found.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    kind = schema.BuiltinOperator.TRANSPOSE_CONV
    for subgraph in model.subgraphs:
        operators = []
        for operator in subgraph.operators:
            operators.append(operator)
            options = operator.builtinOptions
            if (
                _builtin_code(model.operatorCodes[operator.opcodeIndex]) != kind
                or options.fusedActivationFunction == schema.ActivationFunctionType.NONE
            ):
                continue
            if options.fusedActivationFunction != schema.ActivationFunctionType.RELU:
                raise ValueError(
                    f"TRANSPOSE_CONV with activation {options.fusedActivationFunction}: only RELU"
                    " can be split"
                )
            operators.append(_split_relu(model, subgraph, operator))
        subgraph.operators = operators
    for code in model.operatorCodes:
        if _builtin_code(code) == kind:
            code.version = min(code.version, TRANSPOSE_CONV_VERSION)
    builder = flatbuffers.Builder(len(content) + 1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _split_relu(
    model: schema.ModelT, subgraph: schema.SubGraphT, operator: schema.OperatorT
) -> schema.OperatorT:
    """Makes the operator linear and returns the RELU that follows it.

    In a quantised file both tensors share scale and zero point: the linear result then saturates
    at 0 already, and RELU keeps that true for runtimes that compute in float.
    """
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.NONE
    result = operator.outputs[0]
    linear = copy.deepcopy(subgraph.tensors[result])
    linear.name = bytes(linear.name) + b";linear"
    linear.buffer = len(model.buffers)
    model.buffers.append(schema.BufferT())
    subgraph.tensors.append(linear)
    operator.outputs = [len(subgraph.tensors) - 1]
    relu = schema.OperatorT()
    relu.opcodeIndex = _relu_code(model)
    relu.inputs, relu.outputs = [len(subgraph.tensors) - 1], [result]
    return relu


def _relu_code(model: schema.ModelT) -> int:
    relu = schema.BuiltinOperator.RELU
    for index, code in enumerate(model.operatorCodes):
        if _builtin_code(code) == relu:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = relu
    # Version 2 is the first that takes int8.
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _builtin_code(code: schema.OperatorCodeT) -> int:
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operator_counts(content: bytes) -> Counter[str]:
    """Counts the operators of all subgraphs, by name with the version: {"CONV_2D v1": 6}."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    counts: Counter[str] = Counter()
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            counts[f"{_OPERATOR_NAMES[_builtin_code(code)]} v{code.version}"] += 1
    return counts


def describe(content: bytes) -> dict[str, Any]:
    """Tells what is in a file.

    Args:
      content: A `.tflite` file.
    Returns:
      "signatures": [{"name", "inputs": {name: "float32 (1, 28, 28, 1)"}, "outputs": the same}];
      "operators": `operator_counts`;
      "weights": type to number, {"int8 per channel": 73001, "int32": 166}, of one signature; "per
      channel" where each channel has a scale of its own;
      "activations": types of what lies between input and output, sorted.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    weights: Counter[str] = Counter()
    activations = set()
    for subgraph in model.subgraphs:
        outside = {*subgraph.inputs, *subgraph.outputs}
        # Signatures share weights, but not an int8 file's biases, which have the input's scale.
        own: dict[int, tuple[str, int]] = {}
        for number, tensor in enumerate(subgraph.tensors):
            kind = _TYPE_NAMES[tensor.type]
            scales = tensor.quantization.scale if tensor.quantization else None
            count = 0 if scales is None else len(scales)
            stored = model.buffers[tensor.buffer].data
            if stored is not None and len(stored):
                # Whole numbers without a scale are shapes, not weights.
                if count or kind.startswith("float"):
                    kind += " per channel" if count > 1 and kind == "int8" else ""
                    own[tensor.buffer] = kind, math.prod(map(int, tensor.shape))
            elif number not in outside and not _is_unpacked_weight(model, subgraph, number):
                activations.add(kind)
        totals: Counter[str] = Counter()
        for kind, count in own.values():
            totals[kind] += count
        weights = max(weights, totals, key=Counter.total)
    return {
        "signatures": [_signature(model, signature) for signature in model.signatureDefs or ()],
        "operators": dict(operator_counts(content)),
        "weights": dict(weights.most_common()),
        "activations": sorted(activations),
    }


def _is_unpacked_weight(model: schema.ModelT, subgraph: schema.SubGraphT, number: int) -> bool:
    """Whether a tensor is a float16 weight on its way to a convolution of float32."""
    kind = schema.BuiltinOperator.DEQUANTIZE
    return any(
        number in operator.outputs
        and _builtin_code(model.operatorCodes[operator.opcodeIndex]) == kind
        and model.buffers[subgraph.tensors[operator.inputs[0]].buffer].data is not None
        for operator in subgraph.operators
    )


def _signature(model: schema.ModelT, signature: schema.SignatureDefT) -> dict[str, Any]:
    tensors = model.subgraphs[signature.subgraphIndex].tensors

    def described(entries: list[schema.TensorMapT]) -> dict[str, str]:
        chosen = {entry.name.decode(): tensors[entry.tensorIndex] for entry in entries}
        return {
            name: f"{_TYPE_NAMES[tensor.type]} ({', '.join(map(str, tensor.shape))})"
            for name, tensor in chosen.items()
        }

    return {
        "name": signature.signatureKey.decode(),
        "inputs": described(signature.inputs),
        "outputs": described(signature.outputs),
    }


def find_faults(content: bytes, parameters: int, bytes_per_parameter: int, int8: bool) -> list[str]:
    """Looks for what makes a file wrong or unportable without any error from the converter.

    Args:
      content: A `.tflite` file.
      parameters: Weights of the Keras model.
      bytes_per_parameter: 4, 2 or 1.
      int8: Whether every convolution must be quantised.
    Returns:
      One line for each fault; empty for a good file.
    """
    faults = []
    for name in operator_counts(content):
        kind, version = name.split(" v")
        if kind == "CUSTOM" or kind in _RESOURCE_OPERATORS:
            faults.append(f"operator {kind}: expected builtin ones only, which every runtime has")
        if kind == "TRANSPOSE_CONV" and int(version) > TRANSPOSE_CONV_VERSION:
            faults.append(f"TRANSPOSE_CONV is version {version}: expected at most 3")
    # from_concrete_functions writes a file without weights, and no error.
    if len(content) < parameters * bytes_per_parameter:
        faults.append(
            f"{len(content)} bytes cannot hold {parameters} weights of {bytes_per_parameter} bytes"
        )
    if int8 and not _convolutions_are_int8(content):
        faults.append("a convolution was left in float: calibration had no effect")
    return faults


def _convolutions_are_int8(content: bytes) -> bool:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    kinds = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.TRANSPOSE_CONV}
    return all(
        subgraph.tensors[operator.outputs[0]].type == schema.TensorType.INT8
        for subgraph in model.subgraphs
        for operator in subgraph.operators
        if _builtin_code(model.operatorCodes[operator.opcodeIndex]) in kinds
    )
