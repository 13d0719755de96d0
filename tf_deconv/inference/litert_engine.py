"""The engine LiteRT: `.tflite` files, which need neither TensorFlow nor Keras.

A file has signatures of a few sizes. Where none of its operators depends on the size, its tensors
are resized to whatever window comes; other files take their own sizes alone. Resized blindly, such
a file may return the old shape, or pixels that belong elsewhere, without a word.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import threading
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tf_deconv.utils.files import silent_stderr

# Operators that work alike at every place, whatever the size.
_OF_ANY_SIZE = frozenset(
    code
    for name, code in vars(schema.BuiltinOperator).items()
    if name
    in (
        *("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
        *("DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "PAD", "PADV2", "MIRROR_PAD", "CONCATENATION"),
        "STRIDED_SLICE",
        *("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU", "QUANTIZE", "DEQUANTIZE", "CAST"),
        *("RELU", "RELU6", "RELU_0_TO_1", "LEAKY_RELU", "HARD_SWISH", "ELU", "GELU"),
        *("LOGISTIC", "TANH", "ABS", "NEG", "SQUARE", "SQRT", "RSQRT", "EXP"),
    )
)
# Their second input is a constant that has no size of a picture in it.
_PADS = (
    schema.BuiltinOperator.PAD,
    schema.BuiltinOperator.PADV2,
    schema.BuiltinOperator.MIRROR_PAD,
)
_CONVOLUTIONS = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
_TYPES = {np.float32: "float32", np.int8: "int8"}


def takes_any_size(content: bytes) -> bool:
    """Returns whether a file's first signature may be resized: nothing in it depends on the size.

    Args:
      content: A `.tflite` file. Of one that cannot be read, the answer is no.
    """
    try:
        model = schema.Model.GetRootAs(content)
        graph = model.Subgraphs(0)
        return all(
            _is_free(model, graph, graph.Operators(n)) for n in range(graph.OperatorsLength())
        )
    except Exception:  # A damaged file raises whatever the reader stumbled over.
        return False


def signature_sizes(content: bytes) -> tuple[tuple[int, int], ...]:
    """Returns the (height, width) of each signature's picture, the largest last.

    Raises:
      Exception of any kind: if the file is damaged.
    """
    model, sizes = schema.Model.GetRootAs(content), set()
    for number in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(number)
        given = model.Subgraphs(signature.SubgraphIndex()).Tensors(
            signature.Inputs(0).TensorIndex()
        )
        sizes.add((int(given.Shape(1)), int(given.Shape(2))))
    return tuple(sorted(sizes, key=math.prod))


def _is_free(model: schema.Model, graph: schema.SubGraph, operator: schema.Operator) -> bool:
    stored = model.OperatorCodes(operator.OpcodeIndex())
    code = max(stored.BuiltinCode(), stored.DeprecatedBuiltinCode())
    if code not in _OF_ANY_SIZE:
        return False
    if code == schema.BuiltinOperator.CONCATENATION:
        options = schema.ConcatenationOptions()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        return options.Axis() in (3, -1)
    if code in _PADS or code in _CONVOLUTIONS:
        return True
    if code == schema.BuiltinOperator.STRIDED_SLICE:
        options = schema.StridedSliceOptions()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        whole = options.BeginMask() & options.EndMask() & 0b111 == 0b111  # All but the channels.
        others = options.ShrinkAxisMask(), options.NewAxisMask(), options.EllipsisMask()
        return whole and not any(others)
    # A constant of the picture's size would be added to pictures of that size alone.
    for place in range(operator.InputsLength()):
        tensor = graph.Tensors(operator.Inputs(place))
        if (
            model.Buffers(tensor.Buffer()).DataLength()
            or model.Buffers(tensor.Buffer()).Offset() > 1
        ):
            shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
            if any(side != 1 for side in shape[:-1]):
                return False
    return True


class LitertModel:
    """A `.tflite` file of pictures that runs.

    Attributes:
      sizes: The only (height, width) that it takes; empty where it takes all.
      signatures: The (height, width) of its signatures, the largest last.
      channels_in: Of the picture.
      channels_out: Of the result.
      scale: Output pixels per input pixel; 0 where they are no whole multiple.
      precision: "float32", "float16" or "int8": what most of its weights are stored in.
    """

    def __init__(self, path: pathlib.Path, threads: int):
        """Opens a file; memory for a picture is taken when the first one comes.

        Args:
          path: The file.
          threads: How many it may use.
        Raises:
          ValueError, RuntimeError and others, as the runtime likes: if it is no such file.
        """
        content = path.read_bytes()
        # Two calls at once in one interpreter mix up their tensors, or crash the process. An
        # interpreter for each thread would take the memory of the network that many times.
        self._lock = threading.Lock()
        self._runners: dict[tuple[int, int], Any] = {}
        self._size: tuple[int, int] | None = None
        self._quiet = False
        self._interpreter = litert.Interpreter(model_content=content, num_threads=threads)
        if not self._interpreter.get_signature_list():
            raise ValueError("it has no signatures")
        details = self._interpreter.get_tensor_details()
        self.precision = _precision_of(details)
        if takes_any_size(content):
            (given,) = self._interpreter.get_input_details()
            (wanted,) = self._interpreter.get_output_details()
            self.channels_in, self.sizes = _check_ends("the first", given, wanted), ()
            self._ends = given, wanted
            own = tuple(map(int, given["shape"][1:3]))
            self.signatures = signature_sizes(content)
        else:
            own = self._open_signatures()
            given, wanted = self._runners[own][2], self._runners[own][4]
        self.channels_out = int(wanted["shape"][3])
        height, width = map(int, wanted["shape"][1:3])
        scale = height // own[0]
        self.scale = scale if (height, width) == (own[0] * scale, own[1] * scale) else 0
        self._result_size = height, width
        self._own_size = own

    def _open_signatures(self) -> tuple[int, int]:
        channels = set()
        with silent_stderr():  # XNNPACK says that it was created.
            for name in self._interpreter.get_signature_list():
                runner = self._interpreter.get_signature_runner(name)
                ((argument, given),) = runner.get_input_details().items()
                ((result, wanted),) = runner.get_output_details().items()
                channels.add(_check_ends(f"signature {name}", given, wanted))
                size = int(given["shape"][1]), int(given["shape"][2])
                self._runners[size] = (runner, argument, given, result, wanted)
        (self.channels_in,) = channels
        self.sizes = self.signatures = tuple(sorted(self._runners, key=math.prod))
        return self.sizes[-1]

    def sizes_text(self) -> str:
        """Returns what the largest size of the file itself becomes, for messages."""
        return f"{self._result_size} of {self._own_size}"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Runs a picture of one of `sizes`, or of any: (1, H, W, channels_in) float32."""
        if self.sizes:
            runner, argument, given, result, wanted = self._runners[image.shape[1:3]]
            image = _quantized(image, given)
            with self._lock, self._first_is_quiet():
                return _dequantized(runner(**{argument: image})[result], wanted)
        given, wanted = self._ends
        image = _quantized(image, given)
        with self._lock, self._first_is_quiet():
            if self._size != image.shape[1:3]:
                self._size = None  # Should memory run out half-way.
                self._interpreter.resize_tensor_input(given["index"], image.shape)
                self._interpreter.allocate_tensors()
                self._size = image.shape[1:3]
            self._interpreter.set_tensor(given["index"], image)
            self._interpreter.invoke()
            return _dequantized(self._interpreter.get_tensor(wanted["index"]), wanted)

    def _first_is_quiet(self) -> Any:
        if self._quiet:
            return contextlib.nullcontext()
        self._quiet = True
        return silent_stderr()


class LitertCell:
    """A `.tflite` file of a frame and a state that runs.

    Attributes:
      sizes: The only (height, width) of frames that it takes; empty where it takes all multiples of
        the divisor.
      signatures: The (height, width) of its signatures, the largest last.
      channels: Of a frame.
      state_channels: Of a state.
      state_stride: Pixels of a frame along an axis for each of the state.
      precision: As in `LitertModel`.
    """

    _INPUTS, _OUTPUTS = ("frame", "state"), ("restored", "next_state")

    def __init__(self, path: pathlib.Path, threads: int):
        """Opens a file.

        Args:
          path: The file.
          threads: How many it may use.
        Raises:
          ValueError, RuntimeError and others, as the runtime likes: if it is no such file.
        """
        content = path.read_bytes()
        self._lock = threading.Lock()
        self._interpreter = litert.Interpreter(model_content=content, num_threads=threads)
        self.precision = _precision_of(self._interpreter.get_tensor_details())
        self._runners: dict[tuple[int, int], Any] = {}
        self._size: tuple[int, int] | None = None
        signatures = _ends_of(content)
        if not signatures:
            raise ValueError("it has no signatures")
        for name, (given, made) in signatures.items():
            if {*given} != {*self._INPUTS} or {*made} != {*self._OUTPUTS}:
                raise ValueError(f"signature {name} takes and gives {', '.join((*given, *made))}")
            if any(
                shape[0] != 1 or kind != schema.TensorType.FLOAT32
                for _, shape, kind in given.values()
            ):
                raise ValueError(f"signature {name} takes no single frame and state of float32")
        given, made = next(iter(signatures.values()))
        _, frame, _ = given["frame"]
        _, state, _ = given["state"]
        self.channels, self.state_channels = frame[3], state[3]
        self.state_stride = frame[1] // state[1]
        self._given = [given[each][0] for each in self._INPUTS]
        self._made = [made[each][0] for each in self._OUTPUTS]
        self.signatures = tuple(
            sorted((given["frame"][1][1:3] for given, _ in signatures.values()), key=math.prod)
        )
        self.sizes: tuple[tuple[int, int], ...] = ()
        # No runner where tensors are resized: it holds on to their memory.
        if not takes_any_size(content):
            with silent_stderr():
                for name, (given, _) in signatures.items():
                    runner = self._interpreter.get_signature_runner(name)
                    self._runners[given["frame"][1][1:3]] = runner
            self.sizes = tuple(sorted(self._runners, key=math.prod))

    def __call__(self, frame: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs a frame of one of `sizes`, or of any: (1, H, W, C) float32, and a state."""
        size = frame.shape[1:3]
        with self._lock:
            if self.sizes:
                made = self._runners[size](frame=frame, state=state)
                return made["restored"], made["next_state"]
            if self._size != size:
                self._size = None  # Should memory run out half-way.
                for index, array in zip(self._given, (frame, state)):
                    self._interpreter.resize_tensor_input(index, array.shape)
                with silent_stderr():
                    self._interpreter.allocate_tensors()
                self._size = size
            for index, array in zip(self._given, (frame, state)):
                self._interpreter.set_tensor(index, array)
            self._interpreter.invoke()
            restored, following = (self._interpreter.get_tensor(index) for index in self._made)
            return restored, following


_Ends = dict[str, tuple[int, tuple[int, ...], int]]


def _ends_of(content: bytes) -> dict[str, tuple[_Ends, _Ends]]:
    """Returns each signature's inputs and outputs: name to tensor, shape and type."""
    model, found = schema.Model.GetRootAs(content), {}
    for number in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(number)
        graph, ends = model.Subgraphs(signature.SubgraphIndex()), []
        sides = (
            (signature.Inputs, signature.InputsLength()),
            (signature.Outputs, signature.OutputsLength()),
        )
        for tensors, count in sides:
            side: _Ends = {}
            for each in (tensors(place) for place in range(count)):
                index = each.TensorIndex()
                tensor = graph.Tensors(index)
                shape = tuple(int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength()))
                side[each.Name().decode()] = index, shape, tensor.Type()
            ends.append(side)
        found[signature.SignatureKey().decode()] = ends[0], ends[1]
    return found


def _precision_of(details: list[dict[str, Any]]) -> str:
    kinds = {detail["dtype"] for detail in details if len(detail["shape"]) == 4}
    return "int8" if np.int8 in kinds else "float16" if np.float16 in kinds else "float32"


def _check_ends(name: str, given: dict[str, Any], wanted: dict[str, Any]) -> int:
    """Returns the channels that are taken."""
    batch, _, _, channels = map(int, given["shape"])
    if batch != 1 or {given["dtype"], wanted["dtype"]} - {*_TYPES}:
        raise ValueError(f"{name} takes no single picture of float32 or int8")
    return channels


def _quantized(image: np.ndarray, given: dict[str, Any]) -> np.ndarray:
    if given["dtype"] is not np.int8:
        return image
    scale, zero = given["quantization"]
    return np.clip(np.rint(image / scale) + zero, -128, 127).astype(np.int8)


def _dequantized(restored: np.ndarray, wanted: dict[str, Any]) -> np.ndarray:
    if wanted["dtype"] is not np.int8:
        return restored
    scale, zero = wanted["quantization"]
    return np.float32(scale) * (restored.astype(np.float32) - np.float32(zero))
