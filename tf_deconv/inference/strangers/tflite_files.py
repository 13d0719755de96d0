"""`.tflite` files: what their tensors would take is added up before they are opened."""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tf_deconv.data.store import size_text
from tf_deconv.inference.strangers.limits import memory_limit
from tf_deconv.utils.options import UserError

# Operators that make a tensor as large as the numbers of a constant say, whatever is recorded.
# To the place of that constant among their inputs.
_SIZED = {
    **dict.fromkeys(("FILL", "TRANSPOSE_CONV"), 0),
    **dict.fromkeys(("BROADCAST_TO", "TILE", "PAD", "PADV2", "MIRROR_PAD"), 1),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), 1),
}
_LARGEST_SIDE = 2**15


def check_tflite(content: bytes, name: str) -> None:
    """Refuses a `.tflite` file whose tensors would take more than half of the free memory.

    Args:
      content: Of the file.
      name: For messages.
    Raises:
      UserError: if they would; a damaged file is left to the runtime.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema

        model = schema.Model.GetRootAs(content)
        graphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
        total = sum(_peak_bytes(graph) for graph in graphs)
        side = max((_largest_side(model, graph) for graph in graphs), default=0)
    except Exception:  # A damaged file raises whatever the reader stumbled over.
        return
    if side > _LARGEST_SIDE:
        raise UserError(
            f"{name!r} makes a tensor with a side of {side:,}: expected at most {_LARGEST_SIDE:,}"
        )
    if total > memory_limit():
        raise UserError(
            f"{name!r} takes {size_text(total)} when it is opened: more than half of the free"
            " memory"
        )


def _peak_bytes(graph: Any) -> int:
    """Returns how many bytes a subgraph's tensors take at the time when they take most."""
    sizes, last_use = {}, {}
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        sides = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
        sizes[number] = math.prod(max(1, int(side)) for side in sides) * _bytes_of(tensor.Type())
    operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
    for step, operator in enumerate(operators):
        for number in (*_numbers(operator, "Inputs"), *_numbers(operator, "Outputs")):
            last_use[number] = step
    outside = {*_numbers(graph, "Inputs"), *_numbers(graph, "Outputs")}
    alive = set(outside)
    now = peak = sum(sizes.get(number, 0) for number in alive)
    ends = collections.defaultdict(list)
    for number, step in last_use.items():
        ends[step].append(number)
    for step, operator in enumerate(operators):
        for number in _numbers(operator, "Outputs"):
            if number not in alive:
                alive.add(number)
                now += sizes.get(number, 0)
        peak = max(peak, now)
        for number in ends[step]:
            if number in alive and number not in outside:
                alive.discard(number)
                now -= sizes.get(number, 0)
    return peak


def _largest_side(model: Any, graph: Any) -> int:
    """Returns the largest number in the constants that decide how large a tensor becomes."""
    from ai_edge_litert import schema_py_generated as schema

    places = {getattr(schema.BuiltinOperator, name): place for name, place in _SIZED.items()}
    codes = [model.OperatorCodes(number) for number in range(model.OperatorCodesLength())]
    kinds = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes]
    largest = 0
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        kind = kinds[operator.OpcodeIndex()]
        if kind in places:
            tensor = graph.Tensors(operator.Inputs(places[kind]))
            buffer = model.Buffers(tensor.Buffer())
            if buffer.DataLength():
                is_long = tensor.Type() == schema.TensorType.INT64
                data = buffer.DataAsNumpy().tobytes()
                values = np.frombuffer(data, np.int64 if is_long else np.int32)
                largest = max(largest, int(np.abs(values.astype(np.float64)).max(initial=0)))
    return largest


def _numbers(table: Any, field: str) -> Iterable[int]:
    if not getattr(table, f"{field}Length")():
        return ()
    return getattr(table, f"{field}AsNumpy")().tolist()


@functools.cache
def _bytes_of(kind: int) -> int:
    """Returns the size of a value of a type of TFLite."""
    one, two, eight, sixteen = (3, 6, 9, 17, 18, 19), (1, 7, 16), (4, 10, 12), (11,)
    for size, kinds in ((1, one), (2, two), (8, eight), (16, sixteen)):
        if kind in kinds:
            return size
    return 4
