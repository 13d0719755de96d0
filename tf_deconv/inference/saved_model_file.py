"""What a SavedModel tells of its signatures, read without TensorFlow. Reads, never writes.

Of the file `saved_model.pb`, a protocol buffer, only the few fields on the way to the signatures
are looked at; the graph, which is nearly all of it, is skipped.

References: https://protobuf.dev/programming-guides/encoding/; saved_model.proto, meta_graph.proto,
tensor_shape.proto and types.proto of TensorFlow.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from tf_deconv.utils.options import UserError

# Numbers of the fields, by message.
_META_GRAPHS, _SIGNATURES, _KEY, _VALUE = 2, 5, 1, 2
_INPUTS, _OUTPUTS = 1, 2
_DTYPE, _SHAPE, _DIMENSIONS, _SIZE = 2, 3, 2, 1
_DTYPES = dict(
    enumerate(("float32", "float64", "int32", "uint8", "int16", "int8", "string"), start=1)
)
_DTYPES |= {9: "int64", 10: "bool", 14: "bfloat16", 17: "uint16", 19: "float16"}


def read_signatures(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Reads a SavedModel's signatures in the form of `TfliteFile.describe`.

    Args:
      folder: Of one version, with `saved_model.pb`.
    Returns:
      [{"name", "inputs": {name: "float32 (any, any, any, 3)"}, "outputs": the same}], by name.
    Raises:
      UserError: if the file is damaged.
    """
    path = folder / "saved_model.pb"
    try:
        graph = next(_fields(path.read_bytes(), _META_GRAPHS))
        found = dict(map(_entry, _fields(graph, _SIGNATURES)))
        return [
            {
                "name": name.decode(),
                "inputs": _tensors(found[name], _INPUTS),
                "outputs": _tensors(found[name], _OUTPUTS),
            }
            for name in sorted(found)
            if not name.startswith(b"__")
        ]
    except (ValueError, IndexError, StopIteration, AttributeError, TypeError) as error:
        raise UserError(f"{str(path)!r} is damaged: its signatures cannot be read") from error


def _tensors(signature: bytes, field: int) -> dict[str, str]:
    described = {}
    for name, info in sorted(map(_entry, _fields(signature, field))):
        kind = next(_fields(info, _DTYPE), 0)
        shape = next(_fields(info, _SHAPE), b"")
        sizes = [next(_fields(side, _SIZE), 0) for side in _fields(shape, _DIMENSIONS)]
        # Negative numbers are stored as their complement of 64 bits.
        sides = ", ".join("any" if size >= 2**63 else str(size) for size in sizes)
        described[name.decode()] = f"{_DTYPES.get(kind, f'type {kind}')} ({sides})"
    return described


def _entry(entry: bytes) -> tuple[bytes, bytes]:
    """Returns key and value of an entry of a map."""
    return next(_fields(entry, _KEY), b""), next(_fields(entry, _VALUE), b"")


def _fields(message: bytes, wanted: int) -> Iterator[Any]:
    """Yields what a message holds under a number: bytes of texts and messages, or integers."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
        else:
            length = {1: 8, 5: 4}.get(kind)
            if kind == 2:
                length, place = _varint(message, place)
            if length is None or place + length > len(message):
                raise ValueError("a field goes beyond its message")
            value, place = message[place : place + length], place + length
        if number == wanted:
            yield value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value, place, shift = value | (byte & 127) << shift, place + 1, shift + 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("a number is too long")
