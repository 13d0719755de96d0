"""What a `.tflite` file tells of itself: metadata, signatures, operators. Reads, never writes.

Metadata is read from the bytes in place; the rest needs the file unpacked (`TfliteFile`), which
takes as long as its weights are many.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

# The name of the file's own description, for apps: docs/mobile.md.
METADATA_NAME = "tf_deconv.json"
# The field of that description with `file_sha256`; and what files of earlier exports have in its
# place, a checksum of their buffers, which hold weights but no scale of int8.
CHECKSUM_FIELD, _OLD_CHECKSUM_FIELD = "file_sha256", "buffers_sha256"
# What stands for the checksum while it is computed.
NO_CHECKSUM = "0" * 64

_OPERATOR_NAMES = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if name.isupper()
}
TYPE_NAMES = {value: name.lower() for name, value in vars(schema.TensorType).items()}


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


class TfliteFile:
    """A file, unpacked once.

    Attributes:
      content: The bytes that it was unpacked from, or was last packed into.
      model: What is in it; `exporting.tflite.flatbuffer` changes and packs it.
    """

    def __init__(self, content: bytes):
        self.content, self.model = content, _unpack(content)

    def operator_counts(self) -> Counter[str]:
        """Counts the operators of all subgraphs, by name with version: {"CONV_2D v1": 6}."""
        codes = self.model.operatorCodes
        counts: Counter[str] = Counter()
        for subgraph in self.model.subgraphs:
            for operator in subgraph.operators:
                code = codes[operator.opcodeIndex]
                counts[f"{operator_name(builtin_code(code))} v{code.version}"] += 1
        return counts

    def describe(self) -> dict[str, Any]:
        """Tells what is in the file.

        Returns:
          "signatures": [{"name", "inputs": {name: "float32 (1, 28, 28, 1)"}, "outputs": the same}];
          "operators": `operator_counts`;
          "weights": type to number, {"int8 per channel": 73001, "int32": 166}, of one signature;
          "per channel" where each channel has a scale of its own;
          "activations": types of what lies between input and output, sorted.
        """
        model = self.model
        weights: Counter[str] = Counter()
        activations = set()
        for subgraph in model.subgraphs:
            outside = {*subgraph.inputs, *subgraph.outputs}
            # Signatures share weights, but not an int8 file's biases, which have the input's scale.
            own: dict[int, tuple[str, int]] = {}
            for number, tensor in enumerate(subgraph.tensors):
                kind = TYPE_NAMES[tensor.type]
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
            "operators": dict(self.operator_counts()),
            "weights": dict(weights.most_common()),
            "activations": sorted(activations),
        }


def read_metadata(content: bytes) -> dict[str, Any]:
    """Returns what `write_metadata` put into a file; {} for a file without, or a damaged one."""
    try:
        model = schema.Model.GetRootAs(content)
        number = _metadata_buffer(model)
        facts = None if number is None else json.loads(_buffer(model, number, content).tobytes())
    except Exception:  # A damaged file raises whatever the reader stumbled over.
        return {}
    return facts if isinstance(facts, dict) else {}


def is_unchanged(content: bytes, facts: dict[str, Any]) -> bool | None:
    """Whether a file is as it was exported, by its own description; None: that does not tell.

    Args:
      content: The file.
      facts: What `read_metadata` returned of it.
    """
    if recorded := facts.get(CHECKSUM_FIELD):
        return file_sha256(content, recorded) == recorded
    if recorded := facts.get(_OLD_CHECKSUM_FIELD):
        return _buffers_sha256(content) == recorded
    # A description that cannot be read any more, or lost the field's name, is damaged itself.
    return False if f'"{CHECKSUM_FIELD}": "'.encode() in content else None


def file_sha256(content: bytes, recorded: str) -> str:
    """Returns the SHA-256 of a file in which `NO_CHECKSUM` stands for the one that is recorded."""
    return hashlib.sha256(content.replace(recorded.encode(), NO_CHECKSUM.encode(), 1)).hexdigest()


def _buffers_sha256(content: bytes) -> str | None:
    """Returns the SHA-256 of a file's buffers, weights above all; None for a damaged file.

    They are taken one after the other, without the buffer that holds this description.
    """

    total = hashlib.sha256()
    try:
        model = schema.Model.GetRootAs(content)
        own = _metadata_buffer(model)
        for number in range(model.BuffersLength()):
            if number != own:
                total.update(_buffer(model, number, content))
    except Exception:  # As above.
        return None
    return total.hexdigest()


def _metadata_buffer(model: schema.Model) -> int | None:
    """Returns the number of the buffer that holds the file's own description."""
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == METADATA_NAME.encode():
            return entry.Buffer()
    return None


def _buffer(model: schema.Model, number: int, content: bytes) -> np.ndarray:
    """Returns a buffer's bytes, which may lie behind the flatbuffer."""
    buffer = model.Buffers(number)
    if buffer.Offset() > 1:
        return np.frombuffer(content[buffer.Offset() : buffer.Offset() + buffer.Size()], np.uint8)
    return buffer.DataAsNumpy() if buffer.DataLength() else np.empty(0, np.uint8)


def operator_name(code: int) -> str:
    """Returns a builtin operator's name, such as "CONV_2D"."""
    return _OPERATOR_NAMES[code]


def builtin_code(code: schema.OperatorCodeT) -> int:
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _is_unpacked_weight(model: schema.ModelT, subgraph: schema.SubGraphT, number: int) -> bool:
    """Whether a tensor is a float16 weight on its way to a convolution of float32."""
    kind = schema.BuiltinOperator.DEQUANTIZE
    return any(
        number in operator.outputs
        and builtin_code(model.operatorCodes[operator.opcodeIndex]) == kind
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
    text = f"{TYPE_NAMES[tensor.type]} ({', '.join(map(str, tensor.shape))})"
    if tensor.type == schema.TensorType.INT8 and tensor.quantization is not None:
        scale, zero = tensor.quantization.scale[0], tensor.quantization.zeroPoint[0]
        text += f", scale {scale:.9g} and zero point {zero}"
    return text
