"""ONNX files: of any size by Keras's own export, and of one size, which more runtimes take.

The file of any size computes padding and cropping inside, from shapes that it finds as it runs, and
has TensorFlow's layout, (N, H, W, C). That of one size has neither, and the layout that ONNX's
convolutions have, (1, C, H, W): OpenCV 4, tract, TVM and ncnn run it (docs/clients.md). Either also
comes with weights in int8.
"""

from __future__ import annotations

import importlib.util
import pathlib
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.exporting.saved_model.restorer import restore_tensor
from tf_deconv.exporting.saved_model.video import restore_tensors
from tf_deconv.exporting.tflite import polyphase
from tf_deconv.exporting.tflite.convert import with_constants
from tf_deconv.exporting.variants import PICTURE_CHANNELS
from tf_deconv.networks.table import STATE_STRIDE
from tf_deconv.utils import files
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError


class _AnySize(keras.Model):
    """A network of multiples of its divisor as a model of any size."""

    def __init__(self, model: keras.Model, divisor: int, scale: int):
        super().__init__(name="any_size")
        self.network, self.divisor, self.scale = model, divisor, scale

    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"restored": restore_tensor(self.network, image, self.divisor, self.scale)}


def check_packages() -> None:
    """Refuses to begin where the export or its check would fail.

    Raises:
      UserError: with the packages that are missing.
    """
    names = [name for name in ("onnx", "onnxruntime", "tf2onnx") if not _is_there(name)]
    if names:
        raise UserError(f"onnx=True: {', '.join(names)} not installed: {how_to_install('onnx')}")


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def write_onnx(model: keras.Model, path: pathlib.Path, *, divisor: int, scale: int) -> None:
    """Writes an ONNX file: `image` float32 (N, H, W, C) in [0, 1] to `restored`, any N, H, W.

    Args:
      model: A float32 functional model of any height and width.
      path: The file to write.
      divisor: Sizes are mirrored up to a multiple of this, and cropped again.
      scale: Output pixels per input pixel along each axis.
    """
    wrapped = _AnySize(model, divisor, scale)
    wrapped(tf.zeros((1, divisor, divisor, model.input_shape[-1])))  # Only built models export.
    shape = (None, None, None, model.input_shape[-1])
    with files.silent_stderr(), warnings.catch_warnings():
        # tf2onnx 1.17 asks NumPy for a name that will mean something else one day.
        warnings.simplefilter("ignore", FutureWarning)
        wrapped.export(
            str(path),
            format="onnx",
            verbose=False,
            input_signature=[keras.InputSpec(shape=shape, dtype="float32", name="image")],
        )


class _AnyFrame(keras.Model):
    """A network of a frame and a state as a model of frames of any size."""

    def __init__(self, model: keras.Model, divisor: int):
        super().__init__(name="any_frame")
        self.network, self.divisor = model, divisor

    def call(self, frame: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        restored, following = restore_tensors(self.network, frame, state, self.divisor)
        return {"restored": restored, "next_state": following}


def write_stream_onnx(model: keras.Model, path: pathlib.Path, *, divisor: int) -> None:
    """Writes an ONNX file of `frame` (N, H, W, C) and `state` to `restored` and `next_state`.

    Any N, H and W; the file tells divisor and state's stride in its metadata, for the shape of the
    first state, which is zeros.

    Args:
      model: A float32 functional model of [frame, state], of any height and width.
      path: The file to write.
      divisor: Sizes are mirrored up to a multiple of this, and cropped again.
    """
    import onnx
    import tf2onnx

    channels, state_channels = (each.shape[-1] for each in model.inputs)
    wrapped = _AnyFrame(model, divisor)
    specs = [
        tf.TensorSpec((None, None, None, count), tf.float32, name=name)
        for name, count in (("frame", channels), ("state", state_channels))
    ]
    function = tf.function(wrapped.call, input_signature=specs, autograph=False)
    with files.silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # As above.
        proto, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    facts = {"divisor": str(divisor), "state_stride": str(STATE_STRIDE)}
    onnx.helper.set_model_props(proto, facts)
    path.write_bytes(proto.SerializeToString())


# The oldest that holds all that is needed, and that OpenCV, tract, TVM and ncnn were tried with.
OPSET = 17


def write_fixed_onnx(
    model: keras.Model, path: pathlib.Path, *, size: tuple[int, int], scale: int
) -> None:
    """Writes an ONNX file of one size: `image` float32 (1, C, H, W) in [0, 1] to `restored`.

    Args:
      model: A float32 functional model of any height and width.
      path: The file to write.
      size: (height, width), multiples of the network's divisor.
      scale: Output pixels per input pixel along each axis.
    """
    import tf2onnx

    network = with_constants(polyphase.without_transposed(model))

    def restore(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"restored": restore_tensor(network, image, 1, scale)}

    spec = tf.TensorSpec((1, *size, model.input_shape[-1]), tf.float32, name="image")
    function = tf.function(restore, input_signature=[spec], autograph=False)
    with files.silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # As above.
        proto, _ = tf2onnx.convert.from_function(
            function,
            input_signature=[spec],
            opset=OPSET,
            inputs_as_nchw=["image"],
            outputs_as_nchw=["restored"],
        )
    path.write_bytes(_without_idle_reshapes(proto).SerializeToString())


def _without_idle_reshapes(proto: Any) -> Any:
    """Takes out what gives a tensor the shape that it has: tf2onnx's transposes of one channel."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto).graph
    known = (*graph.input, *graph.value_info, *graph.output)
    shapes = {each.name: [d.dim_value for d in each.type.tensor_type.shape.dim] for each in known}
    graph, renamed, kept = proto.graph, {}, []
    for node in graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = renamed.get(name, name)
        given, made = (*node.input, "")[0], node.output[0]
        if node.op_type != "Reshape" or shapes.get(given) != shapes.get(made) or not shapes[made]:
            kept.append(node)
        elif made != graph.output[0].name:
            renamed[made] = given
        else:
            # The result's name stays: what made its input makes it.
            source = next(each for each in kept if given in each.output)
            source.output[list(source.output).index(given)] = made
            renamed[given] = made
            for each in kept:
                for number, name in enumerate(each.input):
                    each.input[number] = renamed.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    stored = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(stored)
    return proto


# The oldest whose DequantizeLinear ONNX's own evaluator has; the others (docs/clients.md) take it.
INT8_OPSET = 19
# Where transposed convolutions hold no more of the weights than this they stay in float: MNN takes
# no others.
_TRANSPOSED_SHARE = 1 / 8
_LARGEST_INT8 = 127


def write_int8_weights(source: pathlib.Path, path: pathlib.Path) -> None:
    """Writes an ONNX file with the weights of its convolutions in int8, computed in float32.

    Each output channel has its scale, the largest weight over 127. Convolutions that touch the
    picture stay in float, as in TFLite files of that kind. Ranges of results are not fixed: where a
    network has sums that costs 10 to 25 dB against Keras, and onnxruntime took as long.

    Args:
      source: A float32 file that this module wrote.
      path: The file to write.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.version_converter.convert_version(onnx.load(source), INT8_OPSET)
    graph, unpacked = proto.graph, []
    stored = {each.name: each for each in graph.initializer}
    for node, weights in _quantized(graph, stored):
        name = node.input[1]
        if name not in stored:
            continue  # Two convolutions have the same weights.
        axis = 0 if node.op_type == "Conv" else 1
        others = tuple(i for i in range(weights.ndim) if i != axis)
        scale = np.abs(weights).max(axis=others) / _LARGEST_INT8
        scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
        levels = np.rint(weights / np.expand_dims(scale, others)).astype(np.int8)
        parts = {"int8": levels, "scale": scale, "zero": np.zeros(scale.shape, np.int8)}
        graph.initializer.extend(
            numpy_helper.from_array(array, f"{name}_{part}") for part, array in parts.items()
        )
        given = [f"{name}_{part}" for part in parts]
        how = dict(axis=axis, name=f"{name}_dequantize")
        unpacked.append(onnx.helper.make_node("DequantizeLinear", given, [name], **how))
        graph.initializer.remove(stored.pop(name))
    nodes = [*unpacked, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def _quantized(graph: Any, stored: dict[str, Any]) -> list[tuple[Any, np.ndarray]]:
    """Returns the convolutions whose weights become int8, with them."""
    from onnx import numpy_helper

    found = [
        (node, numpy_helper.to_array(stored[node.input[1]]))
        for node in graph.node
        if node.op_type in ("Conv", "ConvTranspose") and node.input[1] in stored
    ]
    found = [(node, each) for node, each in found if min(each.shape[:2]) > PICTURE_CHANNELS]
    transposed = sum(each.size for node, each in found if node.op_type == "ConvTranspose")
    if transposed <= _TRANSPOSED_SHARE * sum(each.size for _, each in found):
        found = [(node, each) for node, each in found if node.op_type == "Conv"]
    return found
