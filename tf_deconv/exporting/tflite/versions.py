"""The least TensorFlow Lite that runs a file, and runs it right.

TensorFlow's converter notes one in the file, of the versions that operators have when it is done.
litert-quantizer changes types and leaves versions and note as they were: a file of int8 weights for
2.17 said 2.1.0. So versions are found from types here. The facts are those of TensorFlow's own
op_version.cc and runtime_version.cc, for the operators that files here have.
"""

from __future__ import annotations

from importlib import metadata

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_deconv.inference.tflite_file import TfliteFile, builtin_code, operator_name

# Operator to its versions, each with the first TensorFlow that has it.
_SINCE = {
    "ABS": {1: "1.13.0"},
    "ADD": {1: "1.5.0", 2: "1.14.0"},
    "AVERAGE_POOL_2D": {1: "1.5.0", 2: "1.14.0"},
    "CAST": {1: "1.5.0"},
    "CONCATENATION": {1: "1.5.0", 2: "1.14.0"},
    "CONV_2D": {1: "1.5.0", 2: "1.14.0", 3: "1.14.0", 5: "2.4.0"},
    "COS": {1: "1.14.0"},
    "DEPTH_TO_SPACE": {1: "2.1.0"},
    "DEQUANTIZE": {1: "1.13.1", 2: "1.14.0", 3: "1.15.0", 5: "2.7.0"},
    "DIV": {1: "1.6.0"},
    "FULLY_CONNECTED": {1: "1.5.0", 4: "1.14.0", 5: "2.0.0", 6: "2.1.0", 12: "2.17.0"},
    "GATHER": {1: "1.6.0", 2: "1.14.0"},
    "LESS": {1: "1.14.0"},
    "LOGISTIC": {1: "1.14.0", 2: "1.14.0"},
    "MAX_POOL_2D": {1: "1.5.0", 2: "1.14.0"},
    "MAXIMUM": {1: "1.14.0", 2: "1.14.0"},
    "MEAN": {1: "1.6.0", 2: "1.14.0"},
    "MINIMUM": {1: "1.14.0", 2: "1.14.0"},
    "MIRROR_PAD": {1: "1.13.1", 2: "2.3.0"},
    "MUL": {1: "1.5.0", 2: "1.14.0"},
    "PAD": {1: "1.5.0", 2: "1.14.0"},
    "QUANTIZE": {1: "1.14.0"},
    "REDUCE_MIN": {1: "1.11.0", 2: "1.14.0"},
    "RELU": {1: "1.5.0", 2: "2.1.0"},
    "RESHAPE": {1: "1.5.0"},
    "SELECT": {1: "1.14.0"},
    "SIN": {1: "1.9.0"},
    "SOFTMAX": {1: "1.5.0", 2: "1.14.0"},
    "STRIDED_SLICE": {1: "1.6.0"},
    "SUB": {1: "1.6.0", 2: "1.14.0"},
    "TANH": {1: "1.14.0", 2: "1.14.0"},
    "TRANSPOSE_CONV": {1: "1.9.0", 2: "2.2.0", 3: "2.3.0", 4: "2.13.0"},
}
# Its version is no other: kernels refuse float32 with weights of int8 until then.
_HYBRID_TRANSPOSE_CONV = "2.17.0"
# The converter's own note, zeros after its text.
_NOTE, _NOTE_BYTES = b"min_runtime_version", 16
_FLOAT16, _FLOAT32, _INT8 = (
    schema.TensorType.FLOAT16,
    schema.TensorType.FLOAT32,
    schema.TensorType.INT8,
)


def least_runtime(file: TfliteFile) -> str:
    """Returns the first TensorFlow whose TensorFlow Lite runs a file right, such as "2.4.0".

    Of an operator that is not known here it is the TensorFlow that converted the file.
    """
    found = (
        _since(file.model, subgraph, operator)
        for subgraph in file.model.subgraphs
        for operator in subgraph.operators
    )
    return max(found, key=_numbers)


def write_least_runtime(file: TfliteFile) -> None:
    """Corrects the file's own note of it, if it has one."""
    for entry in file.model.metadata or ():
        if entry.name == _NOTE:
            text = least_runtime(file).encode().ljust(_NOTE_BYTES, b"\0")
            file.model.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _since(model: schema.ModelT, subgraph: schema.SubGraphT, operator: schema.OperatorT) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    name = operator_name(builtin_code(code))
    given = [subgraph.tensors[number] if number >= 0 else None for number in operator.inputs]
    if name == "TRANSPOSE_CONV" and given[1].type == _INT8 and given[2].type == _FLOAT32:
        return _HYBRID_TRANSPOSE_CONV
    version = max(code.version, _version_of_types(name, given))
    return _SINCE.get(name, {}).get(version) or metadata.version("tensorflow")


def _version_of_types(name: str, given: list[schema.TensorT | None]) -> int:
    """Returns the version that an operator with such inputs has."""
    first = given[0].type
    if name == "CONV_2D" and given[1].type == _INT8:
        return 3 if first == _INT8 else 5 if _has_channels(given[1]) else 2
    if name == "TRANSPOSE_CONV":
        return 3 if len(given) == 4 else 2 if given[1].type == _INT8 else 1
    if name == "FULLY_CONNECTED":
        if given[1].type == _INT8 and first == _FLOAT32 and _has_channels(given[1]):
            return 12
        return 4 if first == _INT8 else 6 if len(given) == 2 or given[2] is None else 1
    if name == "DEQUANTIZE":
        if first == _INT8:
            return 5 if _has_channels(given[0]) else 2
        return 3 if first == _FLOAT16 else 1
    return 2 if first == _INT8 and 2 in _SINCE.get(name, {}) else 1


def _has_channels(tensor: schema.TensorT) -> bool:
    """Whether each channel has a scale of its own."""
    scales = tensor.quantization.scale if tensor.quantization else None
    return scales is not None and len(scales) > 1
