"""SavedModels: a TensorFlow graph is a program, so it is read before it is run.

It is read from the protobuf, and refused if it holds operators that reach beyond arithmetic, such
as those that read or write files, unless the user trusts its maker.
"""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator
from typing import Any

from tf_deconv.inference.strangers.operators import ALLOWED, RESTORING, SAVING
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason

# Largest tensor that a graph may hold as a constant: it may be one value, repeated.
_LARGEST_CONSTANT_BYTES = 2**30


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
            " it, --trust opens it"
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
