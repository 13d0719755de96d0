"""TensorFlow Serving's REST protocol: JSON requests to arrays, arrays to JSON answers."""

import base64

import numpy as np
import tensorflow as tf


class RequestError(Exception):
    """An answer other than 200: its status and the text of `error`."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


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
    """Returns the answer to a request: `predictions` by row, or `outputs` by name."""
    values = {name: _to_json(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        (values,) = values.values()
    elif is_row:
        values = [dict(zip(values, row)) for row in zip(*values.values())]
    return {"predictions" if is_row else "outputs": values}


def _to_json(name, array):
    def text(item):
        if isinstance(item, list):
            return [text(inner) for inner in item]
        # The protocol's way to tell bytes from text.
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(item).decode()}
        return item.decode(errors="replace")

    return text(array.tolist()) if array.dtype == object else array.tolist()
