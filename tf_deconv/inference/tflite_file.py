"""What a `.tflite` file tells of itself: metadata, signatures, operators. Reads, never writes."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

# The name of the file's own description, for apps: docs/mobile.md.
METADATA_NAME = "tf_deconv.json"


_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()
}
_TYPE_NAMES = {value: name.lower() for name, value in vars(schema.TensorType).items()}


def _unpack(content: bytes) -> schema.ModelT:
    """Reads a file, with weights that lie behind the flatbuffer taken into it.

    litert-quantizer writes those of models over 256 kB there; a file that is packed again would
    lose them.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content)))
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 say that the data is in the flatbuffer.
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def read_metadata(content: bytes) -> dict[str, Any]:
    """Returns what `write_metadata` put into a file; {} for a file without, or a damaged one."""
    try:
        facts = _read_metadata(content)
    except Exception:  # A damaged file raises whatever the reader stumbled over.
        return {}
    return facts if isinstance(facts, dict) else {}


def _read_metadata(content: bytes) -> Any:
    model = schema.Model.GetRootAs(bytearray(content))
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == METADATA_NAME.encode():
            return json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    return None


def _builtin_code(code: schema.OperatorCodeT) -> int:
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operator_counts(content: bytes) -> Counter[str]:
    """Counts the operators of all subgraphs, by name with the version: {"CONV_2D v1": 6}."""
    model = _unpack(content)
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
    model = _unpack(content)
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
        return {name: _described(tensor) for name, tensor in chosen.items()}

    return {
        "name": signature.signatureKey.decode(),
        "inputs": described(signature.inputs),
        "outputs": described(signature.outputs),
    }


def _described(tensor: schema.TensorT) -> str:
    text = f"{_TYPE_NAMES[tensor.type]} ({', '.join(map(str, tensor.shape))})"
    if tensor.type == schema.TensorType.INT8 and tensor.quantization is not None:
        scale, zero = tensor.quantization.scale[0], tensor.quantization.zeroPoint[0]
        text += f", scale {scale:.9g} and zero point {zero}"
    return text
