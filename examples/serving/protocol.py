"""TensorFlow Serving's REST protocol: JSON requests to arrays, arrays to JSON answers."""

import base64
import json

import numpy as np
import tensorflow as tf
from errors import RequestError

# What a request needs at most: lists of rows of pictures of lines of pixels, in named inputs.
MAX_DEPTH = 16


def parse(body, max_values):
    """Returns the object that a body of JSON holds.

    A list in JSON takes 2 bytes and in Python 64, so what the body would become is counted before
    it is parsed.

    Args:
      body: Bytes.
      max_values: How many numbers, lists and objects it may hold, and how many strings.
    Raises:
      RequestError: 413 for more than that, 400 for what is deeper than any request, or no object.
      ValueError: if it is not JSON.
    """
    # Outside strings, brackets and commas tell the number of values. Escaped quotes end no string.
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    _check_count(plain.count(b'"') // 2, max_values)
    outside = b"".join(plain.split(b'"')[::2])
    _check_count(sum(outside.count(mark) for mark in (b",", b"[", b"{")), max_values)
    brackets = np.frombuffer(outside.translate(None, NO_BRACKETS), np.uint8)
    depth = np.cumsum(STEPS[brackets], dtype=np.int64).max(initial=0)
    if depth > MAX_DEPTH:
        raise RequestError(400, f"nested {depth} deep: expected at most {MAX_DEPTH}")
    # As text, because `loads` would take bytes as UTF-16 too, which was not counted here.
    request = json.loads(body.decode())
    if not isinstance(request, dict):
        raise RequestError(400, f"a JSON {type(request).__name__}: expected an object")
    return request


def _check_count(values, max_values):
    if values > max_values:
        text = f"{values} values in a request: expected at most {max_values}"
        raise RequestError(413, f"{text}; send PNG or JPEG files to serve_bytes instead")


# By byte, by how much it nests what follows.
STEPS = np.zeros(256, np.int8)
STEPS[list(b"[{")], STEPS[list(b"]}")] = 1, -1
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def read_inputs(body, specs):
    """Returns {input name: array} and whether the request is in row format.

    Args:
      body: The parsed request, with `instances` (row format) or `inputs` (columnar).
      specs: {input name: TensorSpec} of the signature.
    """
    if ("instances" in body) == ("inputs" in body):
        raise RequestError(400, "expected one of 'instances' (row format) and 'inputs' (columnar)")
    is_row = "instances" in body
    if is_row:
        rows = body["instances"]
        if not isinstance(rows, list) or not rows:
            raise RequestError(400, "'instances' must be a list of at least one row")
        named = [isinstance(row, dict) and not _is_base64(row) for row in rows]
        if all(named):
            if any(row.keys() != rows[0].keys() for row in rows):
                raise RequestError(400, "the rows of 'instances' name different inputs")
            values = {name: [row[name] for row in rows] for name in rows[0]}
        else:
            values = _only_input(rows, specs)
    else:
        values = body["inputs"]
        if not isinstance(values, dict) or _is_base64(values):
            values = _only_input(values, specs)
    if values.keys() != specs.keys():
        raise RequestError(400, f"inputs {sorted(values)}: expected {sorted(specs)}")
    return {name: _to_array(name, values[name], spec.dtype) for name, spec in specs.items()}, is_row


def _only_input(value, specs):
    if len(specs) != 1:
        raise RequestError(400, f"name the inputs: expected {sorted(specs)}")
    return {next(iter(specs)): value}


def _is_base64(value):
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _to_array(name, value, dtype):
    if dtype == tf.string:
        value = _decode_strings(value)
        shape, first = [], value
        while isinstance(first, list):
            shape.append(len(first))
            first = first[0] if first else None
        array = np.empty(shape, object)
        array[...] = value
        if any(isinstance(item, list) for item in array.flat):
            raise RequestError(400, f"input {name!r}: lists of different lengths")
        return array
    array = np.asarray(value)
    # NumPy would also read "1.5" and true as numbers.
    if array.size and array.dtype.kind not in ("iuf" if dtype.is_floating else "iu"):
        raise RequestError(400, f"input {name!r}: the values are not of type {dtype.name}")
    with np.errstate(over="raise"):
        return array.astype(dtype.as_numpy_dtype)


def _decode_strings(value):
    if isinstance(value, list):
        return [_decode_strings(item) for item in value]
    if _is_base64(value):
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode()
    raise RequestError(400, 'expected strings, or {"b64": "..."} for bytes')


def write_outputs(outputs, is_row):
    """Returns the body of an answer: `predictions` by row, or `outputs` by name."""
    values = {name: _to_text(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        (values,) = values.values()
    elif is_row:
        values = [dict(zip(values, row)) for row in zip(*values.values())]
    return "".join(_pieces({"predictions" if is_row else "outputs": values})).encode()


def _to_text(name, array):
    def text(item):
        if isinstance(item, list):
            return [text(inner) for inner in item]
        # The protocol's way to tell bytes from text.
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(item).decode()}
        return item.decode(errors="replace")

    return text(array.tolist()) if array.dtype == object else array


def _pieces(value):
    """Yields a value's JSON, arrays line by line: one list of all numbers is 8 times the array."""
    if isinstance(value, dict):
        yield "{"
        for number, (name, inner) in enumerate(value.items()):
            yield f"{', ' if number else ''}{json.dumps(name)}: "
            yield from _pieces(inner)
        yield "}"
    elif isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim > 2):
        yield "["
        for number, inner in enumerate(value):
            yield ", " if number else ""
            yield from _pieces(inner)
        yield "]"
    else:
        yield json.dumps(value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value)
