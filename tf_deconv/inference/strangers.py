"""What a model file may hold, looked at before it is opened: anyone may have made it.

A TensorFlow graph is a program. `check_saved_model` reads it from the protobuf and refuses one with
operators that reach beyond arithmetic, such as those that read or write files, unless the user
trusts its maker. `check_keras` and `check_tflite` add up what a network would take, so that a few
kilobytes do not claim all memory; Keras layers that hold Python code are never run.
"""

from __future__ import annotations

import collections
import functools
import io
import json
import math
import os
import pathlib
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tf_deconv.data.store import memory_budget, size_text
from tf_deconv.inference.descriptions import DAMAGES, LARGEST_JSON_BYTES
from tf_deconv.inference.operators import ALLOWED, RESTORING, SAVING
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason

# A network whose weights, or whose tensors at one time, take more than half of the memory that is
# free is refused; this much is always taken.
_SMALL_BYTES = 2**30
# Side of the picture that a Keras network's tensors are counted at, where it takes any: what it is
# tried with when it is opened.
_PROBE_PX = 64
# Largest tensor that a graph may hold as a constant: `ALLOWED` operators cannot make files larger.
_LARGEST_CONSTANT_BYTES = 2**30
# Layers that hold Python code.
_CODE = ("Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")


def _limit_bytes() -> int:
    return max(_SMALL_BYTES, memory_budget())


# --- SavedModel.


def check_saved_model(folder: pathlib.Path, trusted: bool = False) -> None:
    """Refuses a SavedModel that does more than compute.

    Args:
      folder: Of one version.
      trusted: Whether the user trusts its maker: its operators are then not looked at.
    Raises:
      UserError: if a part of it is a pipe or a device, its graph cannot be read, or, unless it is
        trusted, holds operators that are not in `ALLOWED`.
    """
    for path in folder.rglob("*"):
        if what := files.special(path):
            raise UserError(f"{str(path)!r} is {what}: expected a file of a SavedModel")
    if trusted:
        return
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise UserError(
            f"{str(folder)!r} is not a SavedModel of pictures: {reason(error)}"
        ) from error
    strange: set[str] = set()
    for graph in model.meta_graphs:
        strange |= _strange_operators(graph)
        _check_constants(graph, folder)
    if strange:
        shown = ", ".join(sorted(strange)[:5]) + (", ..." if len(strange) > 5 else "")
        raise UserError(
            f"{str(folder)!r} holds the operators {shown}: a TensorFlow graph is a program, and"
            " these can reach files or more; expected operators that compute; if you know who made"
            " it, --trust (in Python trust=True) opens it"
        )


def _strange_operators(graph: Any) -> set[str]:
    """Returns the operators of a MetaGraphDef that are not allowed where they are.

    Those that save and restore variables belong to the two functions that the graph's saver names,
    and nothing else may call these.
    """
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    saver = graph.saver_def
    savers = {}  # A node of the main graph to the operators that its function may hold.
    for tensor, allowed in ((saver.save_tensor_name, SAVING), (saver.restore_op_name, RESTORING)):
        if tensor:
            savers[_node_of(tensor)] = allowed
    allowed_in: dict[str, frozenset[str]] = {}
    for name, allowed in savers.items():
        if name in nodes:
            for called in functions.keys() & set(_called_by(nodes[name])):
                allowed_in[called] = allowed
    # Whoever else calls them, or takes what they give, would save or restore as it likes.
    others = [node for name, node in nodes.items() if name not in savers]
    inner = [node for function in functions.values() for node in function.node_def]
    callers: Iterator[str] = (name for node in (*others, *inner) for name in _called_by(node))
    exposed = {*callers, *graph.object_graph_def.concrete_functions}
    exposed |= {each.gradient_func for each in graph.graph_def.library.gradient}
    taken = {_node_of(each) for node in others for each in node.input}
    taken |= {
        _node_of(tensor.name)
        for signature in graph.signature_def.values()
        for tensor in (*signature.outputs.values(), *signature.inputs.values())
    }
    if taken & savers.keys() or exposed & allowed_in.keys():
        allowed_in = {}
    strange = {node.op for node in others if not _is_allowed(node, functions)}
    strange |= {node.op for name, node in nodes.items() if name in savers and node.op not in _CALLS}
    for name, function in functions.items():
        own = allowed_in.get(name, frozenset())
        arguments = {argument.name for argument in function.signature.input_arg}
        for node in function.node_def:
            if node.op in own:
                # A name of its own choice would lead elsewhere than the model's variables.
                if node.op == "RestoreV2" and node.input[0] not in arguments:
                    strange.add(node.op)
            elif not _is_allowed(node, functions):
                strange.add(node.op)
    return strange


_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def _is_allowed(node: Any, functions: dict[str, Any]) -> bool:
    return node.op in ALLOWED or node.op in functions


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _called_by(node: Any) -> Iterator[str]:
    """Yields the functions that a node calls, or may call."""
    yield node.op  # A function's name may stand in the place of an operator's.
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (each.name for each in value.list.func)


def _check_constants(graph: Any, folder: pathlib.Path) -> None:
    """Refuses constants that are one value, repeated until memory is full."""
    nodes = (graph.graph_def, *graph.graph_def.library.function)
    for node in (node for part in nodes for node in getattr(part, "node_def", None) or part.node):
        for value in node.attr.values():
            if value.HasField("tensor"):
                sides = [side.size for side in value.tensor.tensor_shape.dim]
                if 8 * math.prod(sides) > _LARGEST_CONSTANT_BYTES:
                    raise UserError(
                        f"{str(folder)!r} holds a constant of {'x'.join(map(str, sides))} values:"
                        f" expected at most {_LARGEST_CONSTANT_BYTES // 8:,}"
                    )


# --- Keras.


def check_keras(path: pathlib.Path) -> None:
    """Refuses a `.keras` file with Python code in it, or with a network too large for its weights.

    The network is built without its variables, which takes some 20 ms. What else is wrong with the
    file Keras says when it loads it.

    Raises:
      UserError: naming what was found.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo("config.json")
            if entry.file_size > LARGEST_JSON_BYTES:
                raise UserError(
                    f"{str(path)!r}: its config.json has {size_text(entry.file_size)}: expected at"
                    f" most {size_text(LARGEST_JSON_BYTES)}"
                )
            config = json.loads(archive.read(entry))
            weights = archive.getinfo("model.weights.h5")
            if weights.file_size > max(_limit_bytes(), os.path.getsize(path)):
                raise UserError(
                    f"{str(path)!r}: its weights unpack to {size_text(weights.file_size)}: more"
                    " than half of the free memory"
                )
            _check_weights_file(archive.read(weights), path)
    except (*DAMAGES, RecursionError):
        return
    for layer in _layers_of(config):
        if layer in _CODE:
            raise UserError(
                f"{str(path)!r} holds a {layer} layer, which is code that opening it would run:"
                " expected Keras's other layers alone; build the network without it"
            )
    _check_network(config, weights.file_size, path)


def _layers_of(config: Any) -> Iterator[str]:
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value["class_name"]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _check_weights_file(content: bytes, path: pathlib.Path) -> None:
    """Refuses HDF5 that claims more than it holds, or that leads to other files."""
    import h5py

    total = 0
    with h5py.File(io.BytesIO(content)) as stored:
        groups = [stored]
        while groups:
            group = groups.pop()
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise UserError(f"{str(path)!r}: its weights lead to another file: {name!r}")
                value = group[name]
                if isinstance(value, h5py.Group):
                    groups.append(value)
                    continue
                if value.external or value.is_virtual:
                    raise UserError(f"{str(path)!r}: its weights lead to another file: {name!r}")
                total += value.size * value.dtype.itemsize
    if total > 2 * len(content) + 2**20:
        raise UserError(
            f"{str(path)!r}: its weights unpack to {size_text(total)}, and the file holds"
            f" {size_text(len(content))}: expected weights that are not packed so closely"
        )


def _check_network(config: dict[str, Any], stored_bytes: int, path: pathlib.Path) -> None:
    """Refuses a network that takes more than its file holds, or more than memory."""
    import keras

    try:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(config)
            count_bytes = sum(
                math.prod(weight.shape) * np.dtype(weight.dtype).itemsize
                if weight.dtype != "bfloat16"
                else 2 * math.prod(weight.shape)
                for weight in model.weights
            )
        if count_bytes <= 2 * stored_bytes + 2**20:
            count_bytes = 0
    except Exception as error:  # Keras raises whatever the damaged part made it stumble over.
        _check_numbers(config, path, error)
        return
    if count_bytes:
        raise UserError(
            f"{str(path)!r}: its network takes {size_text(count_bytes)} of weights, and the file"
            f" holds {size_text(stored_bytes)}: it is damaged or was edited"
        )
    tensors_bytes = _tensors_bytes(model)
    if tensors_bytes > _limit_bytes():
        raise UserError(
            f"{str(path)!r}: its network takes {size_text(tensors_bytes)} for a picture of"
            f" {_PROBE_PX}x{_PROBE_PX} pixels: more than half of the free memory"
        )


def _tensors_bytes(model: Any) -> int:
    """Returns the bytes of all tensors for one picture, as float32; 0 where Keras cannot tell."""
    import keras

    try:
        probes = [
            keras.KerasTensor(
                (1, *(side or _PROBE_PX for side in each.shape[1:])), dtype=each.dtype
            )
            for each in model.inputs
        ]
        every = keras.Model(model.inputs, [layer.output for layer in model.layers])
        specs = every.compute_output_spec(probes if len(probes) > 1 else probes[0])
    except Exception:  # Sizes that do not fit, or a layer with several outputs.
        return 0
    return sum(4 * math.prod(spec.shape) for spec in specs if None not in spec.shape)


def _check_numbers(config: Any, path: pathlib.Path, error: Exception) -> None:
    """Refuses large numbers in a network that cannot be built without its variables."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        waiting += value.values() if isinstance(value, dict) else ()
        waiting += value if isinstance(value, list) else ()
        if type(value) is int and abs(value) > 4096:
            raise UserError(
                f"{str(path)!r} cannot be loaded by Keras: {reason(error)[:200]}"
            ) from error


# --- TFLite.

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
    if total > _limit_bytes():
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
