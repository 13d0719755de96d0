"""TFLite files as flatbuffers: what is in them, and the one rewrite that portability needs.

A file is unpacked once (`TfliteFile`), changed in place, and packed once.

TensorFlow's converter fuses a relu into the transposed convolution before it and so raises the
operator to version 4. GPU delegates then refuse the file, and OpenVINO drops the relu without a
word. Taking the relu out again brings back version 3, which every runtime has.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_deconv.exporting.variants import PICTURE_CHANNELS, STATIC, Variant
from tf_deconv.inference.tflite_file import (
    CHECKSUM_FIELD,
    METADATA_NAME,
    NO_CHECKSUM,
    TYPE_NAMES,
    TfliteFile,
    builtin_code,
    file_sha256,
)
from tf_deconv.networks.table import STATE_STRIDE

# The last version before fused activations.
TRANSPOSE_CONV_VERSION = 3
# Of int8 files that find ranges while they run: the share of the work that may stay in float.
LARGEST_FLOAT_SHARE = 0.2
_CONVOLUTIONS = {schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.TRANSPOSE_CONV}
_RESOURCE_OPERATORS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}


def make_portable(file: TfliteFile, keep_relu: bool = True) -> None:
    """Rewrites what some runtimes refuse or get wrong.

    Activations fused into TRANSPOSE_CONV move into an operator of their own. Operators get the
    code of older readers too, which litert-quantizer leaves at 0: OpenVINO takes QUANTIZE for ADD.
    The result is equivalent, with TRANSPOSE_CONV operators of version 3 at most.

    Args:
      file: Is changed.
      keep_relu: Whether RELU becomes an operator even where an int8 result's range begins at 0 and
        saturation does its work; it costs a third of the time of such a file on a CPU.
    Raises:
      ValueError: if a fused activation other than RELU is found.
    """
    model = file.model
    kind = schema.BuiltinOperator.TRANSPOSE_CONV
    for subgraph in model.subgraphs:
        operators = []
        for operator in subgraph.operators:
            operators.append(operator)
            options = operator.builtinOptions
            if (
                builtin_code(model.operatorCodes[operator.opcodeIndex]) != kind
                or options.fusedActivationFunction == schema.ActivationFunctionType.NONE
            ):
                continue
            if options.fusedActivationFunction != schema.ActivationFunctionType.RELU:
                raise ValueError(
                    f"TRANSPOSE_CONV with activation {options.fusedActivationFunction}: only RELU"
                    " can be split"
                )
            if not keep_relu and _saturates_at_0(subgraph.tensors[operator.outputs[0]]):
                options.fusedActivationFunction = schema.ActivationFunctionType.NONE
            else:
                operators.append(_split_relu(model, subgraph, operator))
        subgraph.operators = operators
    for code in model.operatorCodes:
        # 127 tells readers of the older field to look at the newer one.
        code.deprecatedBuiltinCode = min(builtin_code(code), 127)
        if builtin_code(code) == kind:
            code.version = min(code.version, TRANSPOSE_CONV_VERSION)


def pack(file: TfliteFile) -> bytes:
    """Packs a file and returns its bytes, which become its `content`."""
    builder = flatbuffers.Builder(len(file.content) + 4096)
    builder.Finish(file.model.Pack(builder), file_identifier=b"TFL3")
    file.content = bytes(builder.Output())
    return file.content


def pack_described(file: TfliteFile, facts: dict[str, Any]) -> bytes:
    """Packs a file that tells facts of itself, and the checksum by which a lone file is checked.

    Args:
      file: Is changed; its `content` becomes what is returned.
      facts: What JSON can hold.
    """
    write_metadata(file, {**facts, CHECKSUM_FIELD: NO_CHECKSUM})
    content = pack(file)
    field = f'"{CHECKSUM_FIELD}": "'.encode()
    checksum = file_sha256(content, NO_CHECKSUM).encode()
    file.content = content.replace(field + NO_CHECKSUM.encode(), field + checksum, 1)
    return file.content


def _saturates_at_0(tensor: schema.TensorT) -> bool:
    """Whether the least int8 stands for 0: no negative number can be stored."""
    points = tensor.quantization.zeroPoint if tensor.quantization else None
    return tensor.type == schema.TensorType.INT8 and points is not None and all(points == -128)


def write_metadata(file: TfliteFile, facts: dict[str, Any]) -> None:
    """Puts facts into a file, as UTF-8 JSON in its metadata entry `METADATA_NAME`.

    They replace those that it had, and runtimes ignore them.

    Args:
      file: Is changed.
      facts: What JSON can hold.
    """
    model, entry = file.model, _metadata_entry(file)
    if entry is None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_NAME.encode(), len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata = [*(model.metadata or ()), entry]
    text = json.dumps(facts, sort_keys=True)
    model.buffers[entry.buffer].data = np.frombuffer(text.encode(), np.uint8)


def _metadata_entry(file: TfliteFile) -> schema.MetadataT | None:
    entries = file.model.metadata or ()
    return next((entry for entry in entries if entry.name == METADATA_NAME.encode()), None)


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
        if builtin_code(code) == relu:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = relu
    # Version 2 is the first that takes int8.
    code.version = 2
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def constant_names(file: TfliteFile) -> set[str]:
    """Returns the names of tensors whose values are in the file: weights, biases, shapes."""
    model = file.model
    return {
        tensor.name.decode()
        for subgraph in model.subgraphs
        for tensor in subgraph.tensors
        if model.buffers[tensor.buffer].data is not None
    }


def signature_names(file: TfliteFile) -> list[str]:
    """Returns the signatures' names in the order of their subgraphs."""
    model = file.model
    ordered = sorted(model.signatureDefs, key=lambda signature: signature.subgraphIndex)
    return [signature.signatureKey.decode() for signature in ordered]


def picture_tensors(file: TfliteFile) -> tuple[list[str], list[str]]:
    """Returns the names of the pictures among all signatures' inputs and outputs: no states."""
    model = file.model
    inputs, outputs = (
        [
            subgraph.tensors[number].name.decode()
            for subgraph in model.subgraphs
            for number in getattr(subgraph, side)
            if int(subgraph.tensors[number].shape[-1]) <= PICTURE_CHANNELS
        ]
        for side in ("inputs", "outputs")
    )
    return inputs, outputs


def has_sums(file: TfliteFile) -> bool:
    """Whether two results are added somewhere, as residual networks do."""
    return any(name.startswith("ADD ") for name in file.operator_counts())


def square_operators(file: TfliteFile) -> list[str]:
    """Returns the results' names of transposed convolutions whose kernel is their stride."""
    names = []
    for subgraph in file.model.subgraphs:
        for operator in subgraph.operators:
            code = builtin_code(file.model.operatorCodes[operator.opcodeIndex])
            if code == schema.BuiltinOperator.TRANSPOSE_CONV:
                options = operator.builtinOptions
                kernel = subgraph.tensors[operator.inputs[1]].shape[1:3]
                if tuple(kernel) == (options.strideH, options.strideW):
                    names.append(subgraph.tensors[operator.outputs[0]].name.decode())
    return names


def picture_operators(file: TfliteFile, largest_share: float = 1.0) -> list[str]:
    """Returns the results' names of convolutions with few channels, a picture's, on one side.

    Args:
      file: The file.
      largest_share: Those that do more than this share of the multiply-adds are left out.
    """
    names = []
    for subgraph in file.model.subgraphs:
        counts = _convolutions(file.model, subgraph)
        most = largest_share * sum(count for _, count in counts)
        names += [
            _result(subgraph, operator)
            for operator, count in counts
            if count <= most and _touches_the_picture(file.model, subgraph, operator)
        ]
    return names


def last_convolutions(file: TfliteFile, largest_share: float) -> list[list[str]]:
    """Returns the convolutions that lie nearest to what comes out, the last one first.

    Those that touch the picture are passed over.

    Args:
      file: The file.
      largest_share: Of the multiply-adds, what all that are returned may do together.
    Returns:
      For each step back the results' names, one of each signature that has so many.
    """
    steps: list[list[str]] = []
    for subgraph in file.model.subgraphs:
        counts = _convolutions(file.model, subgraph)
        left = largest_share * sum(count for _, count in counts)
        inner = [
            (_result(subgraph, operator), count)
            for operator, count in counts
            if not _touches_the_picture(file.model, subgraph, operator)
        ]
        for step, (name, count) in enumerate(reversed(inner)):
            left -= count
            if left < 0:
                break
            steps += [[]] if step == len(steps) else []
            steps[step].append(name)
    return steps


def _convolutions(
    model: schema.ModelT, subgraph: schema.SubGraphT
) -> list[tuple[schema.OperatorT, int]]:
    """Returns a subgraph's convolutions, as they are computed, and the multiply-adds of each."""
    counts = []
    for operator in subgraph.operators:
        code = builtin_code(model.operatorCodes[operator.opcodeIndex])
        if code not in _CONVOLUTIONS:
            continue
        filters = subgraph.tensors[operator.inputs[1]].shape
        # A transposed convolution multiplies each position that goes in, its third input.
        transposed = code == schema.BuiltinOperator.TRANSPOSE_CONV
        positions = operator.inputs[2] if transposed else operator.outputs[0]
        # Python's numbers: NumPy's 32 bits of a shape overflow.
        shape = [*filters, *subgraph.tensors[positions].shape[:3]]
        counts.append((operator, math.prod(map(int, shape))))
    return counts


def returning_operators(file: TfliteFile) -> list[str]:
    """Returns the results' names of operators that lead to the mean of frames in the state.

    What is wrong there comes back with the next frame: rounded to 8 bits in each, of which a tenth
    is forgotten, it is ten times as much in the end. Features of the state are no such operators:
    the next frame makes new ones.

    Args:
      file: The file; of one without a state there are none.
    """
    names = []
    for subgraph in file.model.subgraphs:
        if len(subgraph.inputs) < 2:
            continue
        made_by = {int(made): each for each in subgraph.operators for made in each.outputs}
        found: set[int] = set()
        waiting = _means(file.model, subgraph, made_by)
        while waiting:
            number = waiting.pop()
            if number in made_by and number not in found:
                found.add(number)
                waiting += [int(each) for each in made_by[number].inputs]
        names += [
            _result(subgraph, each) for each in subgraph.operators if int(each.outputs[0]) in found
        ]
    return names


def _means(
    model: schema.ModelT, subgraph: schema.SubGraphT, made_by: dict[int, schema.OperatorT]
) -> list[int]:
    """Returns the tensors that are joined to the first channels of the next state.

    They are the past's weight and the mean, four pixels of a frame in each (`networks.video`).
    """

    def channels(number: int) -> int:
        return int(subgraph.tensors[number].shape[-1])

    wanted = 1 + STATE_STRIDE**2 * min(channels(number) for number in subgraph.inputs)
    number = max((int(each) for each in subgraph.outputs), key=channels)
    while number in made_by:
        operator = made_by[number]
        code = builtin_code(model.operatorCodes[operator.opcodeIndex])
        if code == schema.BuiltinOperator.CONCATENATION:
            parts = [int(each) for each in operator.inputs]
            before = itertools.accumulate(map(channels, parts), initial=0)
            return [part for part, first in zip(parts, before) if first < wanted]
        number = int(operator.inputs[0])
    return []


def _result(subgraph: schema.SubGraphT, operator: schema.OperatorT) -> str:
    return subgraph.tensors[operator.outputs[0]].name.decode()


def _touches_the_picture(
    model: schema.ModelT, subgraph: schema.SubGraphT, operator: schema.OperatorT
) -> bool:
    filters = subgraph.tensors[operator.inputs[1]].shape  # (out, height, width, in)
    channels, given = int(filters[0]), int(filters[3])
    # By phases (`polyphase`) each channel of the picture is as many as a square has pixels.
    kind = schema.BuiltinOperator.DEPTH_TO_SPACE
    for other in subgraph.operators:
        is_kind = builtin_code(model.operatorCodes[other.opcodeIndex]) == kind
        if is_kind and other.inputs[0] == operator.outputs[0]:
            channels //= other.builtinOptions.blockSize**2
    return min(channels, given) <= PICTURE_CHANNELS


def _stored(
    model: schema.ModelT, subgraph: schema.SubGraphT, operator: schema.OperatorT
) -> schema.TensorT:
    """Returns a convolution's weights as they are in the file, which may be unpacked first."""
    weights = operator.inputs[1]
    for other in subgraph.operators:
        kind = builtin_code(model.operatorCodes[other.opcodeIndex])
        if kind == schema.BuiltinOperator.DEQUANTIZE and other.outputs[0] == weights:
            return subgraph.tensors[other.inputs[0]]
    return subgraph.tensors[weights]


def find_faults(file: TfliteFile, parameters: int, variant: Variant) -> list[str]:
    """Looks for what makes a file wrong or unportable without any error from the converter.

    Args:
      file: As it was packed last.
      parameters: Weights of the Keras model.
      variant: What the file should be.
    Returns:
      One line for each fault; empty for a good file.
    """
    faults = []
    for name in file.operator_counts():
        kind, version = name.split(" v")
        if kind == "CUSTOM" or kind in _RESOURCE_OPERATORS:
            faults.append(f"operator {kind}: expected builtin ones only, which every runtime has")
        if kind == "TRANSPOSE_CONV" and int(version) > TRANSPOSE_CONV_VERSION:
            faults.append(f"TRANSPOSE_CONV is version {version}: expected at most 3")
    # from_concrete_functions writes a file without weights, and no error.
    size = variant.bytes_per_parameter
    if len(file.content) < parameters * size:
        faults.append(f"{len(file.content)} bytes cannot hold {parameters} weights of {size} bytes")
    model = file.model
    integer = schema.TensorType.INT8
    # A network with sums has float results that int8 weights gave, if its pictures are float.
    fixed = variant.has_fixed_ranges(has_sums(file))
    stays = {*returning_operators(file)}

    def is_float(subgraph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
        result = subgraph.tensors[operator.outputs[0]]
        return (result if fixed else _stored(model, subgraph, operator)).type != integer

    def may_be_float(subgraph: schema.SubGraphT, operator: schema.OperatorT) -> bool:
        if variant.int8_pictures:
            return False
        touches = _touches_the_picture(model, subgraph, operator)
        return touches or _result(subgraph, operator) in stays

    for subgraph in model.subgraphs if variant.int8 == STATIC else ():
        counts = _convolutions(model, subgraph)
        # What keeps its results in float anyway may keep a few of its last convolutions there, too.
        share = 0.0 if fixed else LARGEST_FLOAT_SHARE
        left = sum(
            count
            for operator, count in counts
            if is_float(subgraph, operator) and not may_be_float(subgraph, operator)
        )
        if left > share * sum(count for _, count in counts):
            faults.append("a convolution was left in float: calibration had no effect")
            break
    if variant.int8:
        weights = file.describe()["weights"]
        stored = sum(count for kind, count in weights.items() if kind.startswith("int8"))
        if 2 * stored < sum(weights.values()):
            faults.append(f"{stored} of {sum(weights.values())} weights are int8: expected most")
    # A label, which a generator takes, is a whole number in every variant.
    pictures = {
        subgraph.tensors[number].type
        for subgraph in model.subgraphs
        for number in (*subgraph.inputs, *subgraph.outputs)
    } - {schema.TensorType.INT32}
    expected = integer if variant.int8_pictures else schema.TensorType.FLOAT32
    if pictures != {expected}:
        names = ", ".join(sorted(TYPE_NAMES[kind] for kind in pictures))
        faults.append(f"input and output are {names}: expected {TYPE_NAMES[expected]}")
    return faults
