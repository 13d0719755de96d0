"""What each operator of a TFLite file multiplies and moves, how long it takes, and what bounds it.

Multiply-adds and bytes are read off the file's tensors. Times are those of LiteRT's own profiler,
which its Python does not offer: `profile` calls the C functions of the library beside it. XNNPACK
then tells the time of each operator inside the whole network, threads and caches as they are.
"""

from __future__ import annotations

import collections
import ctypes
import dataclasses
import importlib.metadata
import math
import pathlib
import re
import time

import numpy as np
from ai_edge_litert import schema_py_generated as schema

NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
ITEM_BYTES = {schema.TensorType.FLOAT32: 4, schema.TensorType.INT32: 4, schema.TensorType.INT8: 1}
# What XNNPACK and LiteRT call them; operators that are not here keep their name.
TAGS = {
    "CONV_2D": "Convolution|Fully Connected",
    "FULLY_CONNECTED": "Fully Connected",
    "TRANSPOSE_CONV": "Deconvolution",
    "ADD": "Add",
    "AVERAGE_POOL_2D": "Average Pooling",
    "MAX_POOL_2D": "Max Pooling",
    "DEPTH_TO_SPACE": "Depth To Space",
    "LOGISTIC": "Sigmoid",
    "RELU": "Clamp",
    "PAD": "Constant Pad",
    "QUANTIZE": "Convert",
    "DEQUANTIZE": "Convert",
    "CONCATENATION": "Concatenate",
    "STRIDED_SLICE": "Slice|Strided Slice|Static Slice",
}
# Bits of an event's type: an operator of the runtime, one inside a delegate.
IS_OPERATOR = 2 | 8


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of a signature.

    Attributes:
      kind: As TFLite names it.
      layer: The Keras layer that it came from, as far as its result's name tells.
      shape: What it does in words that equal operators share.
      multiply_adds: Of one run, over all positions and channels.
      bytes_moved: What it reads, weights included, and writes once each.
    """

    kind: str
    layer: str
    shape: str
    multiply_adds: int
    bytes_moved: int


def read(path, signature=None):
    """Returns the operators of a signature, by default the first, in the order of running."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(path.read_bytes())))
    names = [each.signatureKey.decode() for each in model.signatureDefs]
    subgraph = model.subgraphs[
        model.signatureDefs[names.index(signature) if signature else 0].subgraphIndex
    ]
    return [_operator(model, subgraph, operator) for operator in subgraph.operators]


def _operator(model, subgraph, operator):
    code = model.operatorCodes[operator.opcodeIndex]
    kind = NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
    tensors = subgraph.tensors
    inputs = [tensors[number] for number in operator.inputs if number >= 0]
    output = tensors[operator.outputs[0]]
    result = [*map(int, output.shape)]
    count, words = 0, f"to {_sides(result)}"
    if kind in ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"):
        # (out, height, width, in), of a dense layer (out, in). Every weight once for each position:
        # of what comes out, but of what goes in (the third input) where the result is larger.
        weights = [*map(int, inputs[1].shape)]
        positions = inputs[2].shape if kind == "TRANSPOSE_CONV" else output.shape
        count = math.prod(weights) * math.prod(map(int, positions[:-1]))
        window = "x".join(map(str, weights[1:-1])) or "dense"
        words = f"{window}, {weights[-1]} to {weights[0]} channels, to {_sides(result)}"
    moved = sum(_bytes(tensor) for tensor in (*inputs, output))
    layer = output.name.decode().split("/")[0]
    return Operator(kind, layer, words, count, moved)


def _sides(shape):
    return "x".join(map(str, shape[1:] if len(shape) == 4 else shape))


def _bytes(tensor):
    return math.prod(map(int, tensor.shape)) * ITEM_BYTES.get(tensor.type, 4)


def by_layer(operators, layers):
    """Sums the multiply-adds of a file by the Keras layers that they came from.

    Args:
      operators: What `read` returned.
      layers: Names of the Keras model's layers.
    Returns:
      Layer to multiply-adds; "" for those of no layer, which should have none.
    """
    totals = collections.Counter()
    for operator in operators:
        # Keras numbers a layer that is called again, and `exporting.phases` names what it makes:
        # tail, tail_1, tail_picture_phased_1.
        owners = [
            name
            for name in layers
            if re.fullmatch(re.escape(name) + r"((_picture)?_phased)?(_\d+)?", operator.layer)
        ]
        totals[max(owners, key=len, default="")] += operator.multiply_adds
    return dict(totals)


def assign(operators, events):
    """Gives each operator its time.

    What XNNPACK does on the way (converting, padding) counts to the operator that needs it, and an
    operator that it took into another one (a relu, a padding) takes no time.

    Args:
      operators: In the order in which they run.
      events: (tag, microseconds) in that order.
    Returns:
      Microseconds of each operator.
    Raises:
      ValueError: if events and operators are of different networks.
    """
    times, place, waiting = [0.0] * len(operators), 0, 0.0
    for tag, microseconds in events:
        fitting = (
            number
            for number in range(place, len(operators))
            if re.match(TAGS.get(operators[number].kind, operators[number].kind), tag)
        )
        number = next(fitting, None)
        skipped = operators[place:number] if number is not None else ()
        if number is None or any(each.multiply_adds for each in skipped):
            waiting += microseconds
            continue
        times[number], place, waiting = microseconds + waiting, number + 1, 0.0
    if waiting or any(each.multiply_adds and not time for each, time in zip(operators, times)):
        raise ValueError("the profile's operators are not the file's")
    return times


@dataclasses.dataclass(frozen=True)
class Roof:
    """What the machine can do.

    Attributes:
      flops: Floating-point operations per second of a matrix product.
      bytes_per_s: Of memory.
    """

    flops: float
    bytes_per_s: float

    def attainable(self, intensity):
        """Returns the operations per second that memory and processor allow (Williams 2009).

        Args:
          intensity: Operations for each byte that is moved.
        """
        return min(self.flops, intensity * self.bytes_per_s)

    def bound(self, intensity):
        return "compute" if intensity * self.bytes_per_s >= self.flops else "memory"


def table(operators, times, roof):
    """Sums equal operators up.

    Args:
      operators: What `read` returned.
      times: Seconds of each.
      roof: A `Roof`.
    Returns:
      Rows of {"kind", "shape", "number", "work" and "time" (shares), "gflops", "peak" (share),
      "intensity", "bound", "roof" (share of what the bound allows)}, the longest first.
    """
    groups = collections.defaultdict(list)
    for operator, seconds in zip(operators, times):
        groups[operator.kind, operator.shape].append((operator, seconds))
    all_work, all_time = sum(each.multiply_adds for each in operators), sum(times)
    rows = []
    for (kind, shape), members in groups.items():
        work = sum(operator.multiply_adds for operator, _ in members)
        moved = sum(operator.bytes_moved for operator, _ in members)
        seconds = sum(each for _, each in members)
        intensity = 2 * work / moved
        # What multiplies nothing is measured by what it moves.
        speed = (2 * work if work else moved) / seconds if seconds else 0.0
        limit = roof.attainable(intensity) if work else roof.bytes_per_s
        rows.append(
            {
                "kind": kind,
                "shape": shape,
                "number": len(members),
                "work": work / all_work,
                "time": seconds / all_time,
                "gflops": 2 * work / seconds / 1e9 if seconds else 0.0,
                "peak": 2 * work / seconds / roof.flops if seconds else 0.0,
                "intensity": intensity,
                "bound": roof.bound(intensity),
                "roof": speed / limit,
            }
        )
    return sorted(rows, key=lambda row: -row["time"])


def lines(rows, least_share=0.01):
    """Lays `table`'s rows out in Markdown; those below a share of the time become one."""
    heads = ["operator", "layers", "work", "time", "GFLOP/s", "of peak", "FLOP/byte", "bound by"]
    yield f"| {' | '.join([*heads, 'of that bound'])} |"
    yield "|---|" + "---:|" * 6 + "---|---:|"
    for row in rows:
        if row["time"] >= least_share:
            yield (
                f"| {row['kind']} {row['shape']} | {row['number']} | {row['work']:.1%} |"
                f" {row['time']:.1%} | {row['gflops']:.0f} | {row['peak']:.0%} |"
                f" {row['intensity']:.1f} | {row['bound']} | {row['roof']:.0%} |"
            )
    rest = [row for row in rows if row["time"] < least_share]
    if rest:
        number, work, time = (sum(row[key] for row in rest) for key in ("number", "work", "time"))
        yield f"| {len(rest)} others | {number} | {work:.1%} | {time:.1%} | | | | | |"


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("footprint", "allocated", "in_use")]


class _Event(ctypes.Structure):
    """LiteRT's ProfiledEventData: litert/c/litert_profiler_event.h, as of 2.3."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("before", _Memory),
        ("after", _Memory),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    ]


class _Type(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = [
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint32),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


_FLOAT32, _ON_CPU, _WRITE, _PROFILED_RELEASE = 1, 1, 1, "2.3."


def profile(path, picture, threads, runs=20, warm_ups=3):
    """Runs a file's first signature in LiteRT with its profiler on.

    Args:
      path: A `.tflite` file whose input and output are float32.
      picture: (1, H, W, C) float32.
      threads: How many it may use.
      runs: How many runs are recorded.
      warm_ups: How many are not.
    Returns:
      ([(tag, [microseconds of each run])], [seconds of each run without the profiler]).
    Raises:
      OSError: if this release of LiteRT is not the one whose structures are described here.
    """
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    version = importlib.metadata.version("ai-edge-litert")
    if not version.startswith(_PROFILED_RELEASE):
        raise OSError(f"ai-edge-litert {version}: its profiler was read in {_PROFILED_RELEASE}x")
    runner = Interpreter(str(path)).get_signature_runner()
    shapes = [
        next(iter(details.values()))["shape"]
        for details in (runner.get_input_details(), runner.get_output_details())
    ]
    library = ctypes.CDLL(str(pathlib.Path(ai_edge_litert.__file__).parent / "libLiteRt.so"))
    session = _Session(library, str(path), threads, shapes)
    session.write(picture)
    return session.measure(runs, warm_ups)


class _Session:
    """One file in LiteRT's C interface (litert/c/*.h). What it makes lives as long as the process,
    which ends with the measurement."""

    def __init__(self, library, path, threads, shapes):
        self.library, none = library, ctypes.c_size_t(0)
        self.environment = self._make("LiteRtCreateEnvironment", 0, None)
        model = self._make("LiteRtCreateModelFromFile", self.environment, path.encode())
        options = self._make("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _ON_CPU)
        for name, text in (
            ("runtime_options_string", "enable_profiling = true\n"),
            ("xnnpack", f"num_threads = {threads}\n"),
        ):
            c = ctypes.CDLL(None)
            c.strdup.restype = ctypes.c_void_p
            owned = ctypes.c_void_p(c.strdup(text.encode()))  # LiteRT frees it.
            more = self._make("LiteRtCreateOpaqueOptions", name.encode(), owned, c.free)
            self._call("LiteRtAddOpaqueOptions", options, more)
        self.model = self._make("LiteRtCreateCompiledModel", self.environment, model, options)
        self.buffers = []
        for side, shape in zip(("Input", "Output"), shapes):
            name = f"LiteRtGetCompiledModel{side}BufferRequirements"
            needs = self._make(name, self.model, none, none)
            kind = _Type(_FLOAT32, len(shape), tuple(map(int, shape)))
            self.buffers.append(
                self._make(
                    "LiteRtCreateManagedTensorBufferFromRequirements",
                    self.environment,
                    ctypes.byref(kind),
                    needs,
                )
            )

    def _call(self, name, *arguments):
        status = getattr(self.library, name)(*arguments)
        if status:
            raise OSError(f"{name} returned {status}")

    def _make(self, name, *arguments):
        made = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(made))
        return made

    def write(self, picture):
        picture, place = np.ascontiguousarray(picture, np.float32), ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", self.buffers[0], ctypes.byref(place), _WRITE)
        ctypes.memmove(place, picture.ctypes.data, picture.nbytes)
        self._call("LiteRtUnlockTensorBuffer", self.buffers[0])

    def _run(self):
        one = ctypes.c_size_t(1)
        given, wanted = map(ctypes.byref, self.buffers)
        self._call(
            "LiteRtRunCompiledModel", self.model, ctypes.c_size_t(0), one, given, one, wanted
        )

    def measure(self, runs, warm_ups):
        profiler = self._make("LiteRtCompiledModelGetProfiler", self.model)
        seconds, times, tags = [], [], []
        for number in range(warm_ups + runs):
            before = time.perf_counter()
            self._run()
            if number >= warm_ups:
                seconds.append(time.perf_counter() - before)
        for _ in range(runs):
            self._call("LiteRtResetProfiler", profiler)
            self._call("LiteRtStartProfiler", profiler)
            self._run()
            self._call("LiteRtStopProfiler", profiler)
            count = ctypes.c_int()
            self._call("LiteRtGetNumProfilerEvents", profiler, ctypes.byref(count))
            events = (_Event * count.value)()
            self._call("LiteRtGetProfilerEvents", profiler, count, events)
            own = [each for each in events if each.type & IS_OPERATOR and each.tag]
            tags = [each.tag.decode() for each in own]
            times.append([each.elapsed_us for each in own])
        return [(tag, [*each]) for tag, each in zip(tags, zip(*times))], seconds
