"""Runs one exported file in a process of its own: a runtime that crashes takes only this down.

Started by path, with nothing of tf_deconv on board, as a client would run the file:
`python runner.py FILE CASES.npz RESULTS.npz [RUNTIME [THREADS]]`. CASES holds "SIGNATURE|NUMBER"
arrays, pictures that are restored, or "SIGNATURE|NUMBER|INPUT" arrays of signatures with inputs of
any names; "SIGNATURE|NUMBER|film" holds frames, (T, H, W, C), that go through one by one, each with
the state that the one before left; the first with that of "SIGNATURE|NUMBER|film_start", or with
zeros. RESULTS holds the outputs under the same keys,
"SIGNATURE|NUMBER|OUTPUT" of the latter, and of each signature's last case "latency_ms|SIGNATURE"
and "latency_p95_ms|SIGNATURE", the median and the 95th percentile of its time. "delegated" is the
share of a TFLite file's operators that XNNPACK took over, where that is known; "version" is the
runtime's. TF_DECONV_TIMED_RUNS in the environment lowers how many runs are timed: for tests, to
which the figures do not matter, and none at 0.
"""

import errno
import functools
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

TIMED_RUNS = "TF_DECONV_TIMED_RUNS"
MAX_RUNS, MAX_SECONDS = int(os.environ.get(TIMED_RUNS, "30")), 2.0
# Set by who holds the other end of this process's stdin: once that is closed, nobody waits.
WATCHES_STDIN = "TF_DECONV_WATCHES_STDIN"
ANY_SIZE = "any_size"
# A film's case, and the state of its first frame.
FILM, START = "film", "film_start"
# sysexits.h: EX_IOERR and EX_UNAVAILABLE.
EXIT_NO_SPACE, EXIT_NOT_INSTALLED = 74, 69
WARM_UPS = max(0, min(2, MAX_RUNS - 1))


def _to_int8(array, scale, zero):
    return np.clip(np.rint(array / scale) + zero, -128, 127).astype(np.int8)


def _from_int8(array, scale, zero):
    return np.float32(scale) * (array.astype(np.float32) - np.float32(zero))


def _int8_scales(path, signature):
    """Returns (scale, zero point) of input and output, None where they are float.

    CompiledModel and OpenVINO do not tell; the interpreter does.
    """
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path).get_signature_runner(signature)
    details = runner.get_input_details()["image"], runner.get_output_details()["restored"]
    return [d["quantization"] if d["dtype"] is np.int8 else None for d in details]


def _tensor_names(path, signature):
    """Returns what a signature's inputs and outputs are called in its subgraph, by their names."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(path).get_signature_runner(signature)
    details = runner.get_input_details() | runner.get_output_details()
    return {name: each["name"] for name, each in details.items()}


class LiteRt:
    """The interpreter of ai-edge-litert, with XNNPACK."""

    takes, module, package = (".tflite",), "ai_edge_litert", "ai-edge-litert"

    def __init__(self, path, threads):
        self.interpreter = self.open(path, threads)
        self.runners = {}

    @staticmethod
    def open(path, threads):
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(path, num_threads=threads)

    def run(self, signature, array):
        if signature not in self.runners:
            runner = self.interpreter.get_signature_runner(signature)
            details = runner.get_input_details()["image"], runner.get_output_details()["restored"]
            self.runners[signature] = runner, *details
        runner, given, wanted = self.runners[signature]
        if given["dtype"] is np.int8:
            array = _to_int8(array, *given["quantization"])
        result = runner(image=array)["restored"]
        return _from_int8(result, *wanted["quantization"]) if wanted["dtype"] is np.int8 else result

    def run_named(self, signature, inputs):
        if signature not in self.runners:
            self.runners[signature] = self.interpreter.get_signature_runner(signature)
        return self.runners[signature](**inputs)

    def state_shape(self, signature, size):
        given = self.interpreter.get_signature_runner(signature).get_input_details()
        return tuple(given["state"]["shape"])

    def delegated(self):
        """Follows the first signature's graph back from its result, through delegates first."""
        nodes = self.interpreter._get_ops_details()
        made_by = {}
        for node in nodes:
            for tensor in node["outputs"]:
                if node["op_name"] == "DELEGATE" or tensor not in made_by:
                    made_by[int(tensor)] = node
        left, seen = [d["index"] for d in self.interpreter.get_output_details()], {}
        while left:
            node = made_by.get(int(left.pop()))
            if node is not None and node["index"] not in seen:
                seen[node["index"]] = node["op_name"]
                left += [tensor for tensor in node["inputs"] if tensor >= 0]
        original = sum(node["op_name"] != "DELEGATE" for node in nodes)
        return 1 - sum(name != "DELEGATE" for name in seen.values()) / original


class TfliteRuntime(LiteRt):
    """tflite-runtime, LiteRT's predecessor, which many boards still have."""

    module, package = "tflite_runtime", "tflite-runtime"

    @staticmethod
    def open(path, threads):
        from tflite_runtime.interpreter import Interpreter

        return Interpreter(path, num_threads=threads)


class TensorFlowLite(LiteRt):
    """The interpreter inside TensorFlow."""

    module, package = "tensorflow", "tensorflow"

    @staticmethod
    def open(path, threads):
        import tensorflow as tf

        return tf.lite.Interpreter(path, num_threads=threads)


class TfliteMicro:
    """TFLite for microcontrollers, run on this processor: of a file its first subgraph."""

    takes, module, package = (".tflite",), "tflite_micro", "tflite-micro"
    # Room for what lies between operators: far more than a microcontroller has.
    arena_bytes = 512 * 1024 * 1024

    def __init__(self, path, threads):
        from tflite_micro import runtime

        try:
            self.interpreter = runtime.Interpreter.from_file(path, arena_size=self.arena_bytes)
        except RuntimeError as error:
            # Which one, it says on stderr alone.
            told = "it has no operator of float16 weights, and none of int8 weights with floats"
            raise ValueError(f"{error}: {told}; take NAME-float32 or NAME-int8-full") from error
        self.details = (
            self.interpreter.get_input_details(0),
            self.interpreter.get_output_details(0),
        )

    def run(self, signature, array):
        scales = [self._scale(each) for each in self.details]
        shape = tuple(self.details[0]["shape"])
        if shape != array.shape:
            raise ValueError(f"TFLite Micro runs the first subgraph of a file, here of {shape}")
        array = array if scales[0] is None else _to_int8(array, *scales[0])
        self.interpreter.set_input(array, 0)
        self.interpreter.invoke()
        result = self.interpreter.get_output(0)
        return result if scales[1] is None else _from_int8(result, *scales[1])

    @staticmethod
    def _scale(details):
        told = details["quantization_parameters"]
        is_int8 = np.dtype(details["dtype"]) == np.int8
        return (told["scales"][0], told["zero_points"][0]) if is_int8 else None


class CompiledLiteRt:
    """ai-edge-litert's CompiledModel on the CPU."""

    takes, module, package = (".tflite",), "ai_edge_litert", "ai-edge-litert"

    def __init__(self, path, threads):
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        options = Options(
            hardware_accelerators=HardwareAccelerator.CPU,
            cpu_options=CpuOptions(num_threads=threads),
        )
        self.model, self.buffers = CompiledModel.from_file(path, options=options), {}
        self.path = path

    def run(self, signature, array):
        if signature not in self.buffers:
            index = self.model.get_signature_index(signature)
            wanted = self.model.get_output_tensor_details(signature)["restored"]
            self.buffers[signature] = (
                index,
                self.model.create_input_buffers(index),
                self.model.create_output_buffers(index),
                tuple(wanted["shape"]),
                np.dtype(wanted["dtype"]),
                *_int8_scales(self.path, signature),
            )
        index, inputs, outputs, shape, dtype, given, wanted = self.buffers[signature]
        array = array if given is None else _to_int8(array, *given)
        inputs[0].write(np.ascontiguousarray(array))
        self.model.run_by_index(index, inputs, outputs)
        result = outputs[0].read(int(np.prod(shape)), dtype).reshape(shape)
        return result if wanted is None else _from_int8(result, *wanted)

    def run_named(self, signature, inputs):
        index = self.model.get_signature_index(signature)
        if signature not in self.buffers:
            self.buffers[signature] = (
                self.model.create_input_buffers(index),
                self.model.create_output_buffers(index),
                self.model.get_output_tensor_details(signature),
            )
        given, made, details = self.buffers[signature]
        names = self.model.get_signature_by_index(index)
        for name, buffer in zip(names["inputs"], given):
            buffer.write(np.ascontiguousarray(inputs[name]))
        self.model.run_by_index(index, given, made)
        found = {}
        for name, buffer in zip(names["outputs"], made):
            shape, dtype = tuple(details[name]["shape"]), np.dtype(details[name]["dtype"])
            found[name] = buffer.read(int(np.prod(shape)), dtype).reshape(shape)
        return found


def _is_fixed_onnx(path, shape):
    """Whether it is an ONNX file of one size: its pictures are (1, C, H, W)."""
    return path.endswith(".onnx") and all(isinstance(side, int) for side in shape)


class Onnx:
    """onnxruntime on the CPU; its one graph takes the cases of every signature."""

    takes, module, package = (".onnx",), "onnxruntime", "onnxruntime"
    provider = "CPUExecutionProvider"

    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(path, options, providers=[self.provider])
        if self.session.get_providers()[0] != self.provider:
            # It goes on with the CPU's, and says so on stderr alone.
            raise ModuleNotFoundError(f"this onnxruntime has no {self.provider}")
        names = [each.name for each in (*self.session.get_inputs(), *self.session.get_outputs())]
        streams = {"frame", "state", "restored", "next_state"}
        if names != ["image", "restored"] and {*names} != streams:
            raise ValueError(f"takes and gives {', '.join(names)}: expected image, restored")
        self.is_fixed = _is_fixed_onnx(path, self.session.get_inputs()[0].shape)

    def run(self, signature, array):
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if self.is_fixed else array
        result = self.session.run(["restored"], {"image": array})[0]
        return result.transpose(0, 2, 3, 1) if self.is_fixed else result

    def run_named(self, signature, inputs):
        names = [each.name for each in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs)))

    def state_shape(self, signature, size):
        # In the file's own description, as its graph computes with any size.
        facts = self.session.get_modelmeta().custom_metadata_map
        divisor, stride = int(facts["divisor"]), int(facts["state_stride"])
        sides = [-(-side // divisor) * divisor // stride for side in size]
        return 1, *sides, self.session.get_inputs()[1].shape[3]


class OnnxOpenVino(Onnx):
    """onnxruntime's build with OpenVINO, in which OpenVINO computes what it can of the graph."""

    package, provider = "onnxruntime-openvino", "OpenVINOExecutionProvider"


class OpenVino:
    """OpenVINO on the CPU in float32, of a SavedModel, an ONNX file or a `.tflite` file."""

    takes, module, package = ("", ".onnx", ".tflite"), "openvino", "openvino"
    # bfloat16 where the processor can, which is what it does unless it is told not to.
    precision = "f32"

    def __init__(self, path, threads):
        import openvino

        # Without the hint it computes in bfloat16 where the processor can.
        options = {"INFERENCE_NUM_THREADS": threads}
        if self.precision:
            options["INFERENCE_PRECISION_HINT"] = self.precision
        core = openvino.Core()
        self.compiled = core.compile_model(path, "CPU", options | {"NUM_STREAMS": 1})
        self.path, self.scales = path, None

    def run(self, signature, array):
        shape = self.compiled.inputs[0].partial_shape
        lengths = list(shape.to_shape()) if shape.is_static else [None]
        is_fixed = _is_fixed_onnx(self.path, lengths)
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if is_fixed else array
        if shape.is_static and tuple(shape.to_shape()) != array.shape:
            # It reads one of several signatures; reshaped, it gives pictures of a wrong size.
            raise ValueError(f"OpenVINO reads one signature of a file, here of {shape}")
        if self.scales is None:
            is_tflite = self.path.endswith(".tflite")
            self.scales = _int8_scales(self.path, signature) if is_tflite else (None, None)
        given, wanted = self.scales
        array = array if given is None else _to_int8(array, *given)
        result = next(iter(self.compiled(array).values()))
        result = result.transpose(0, 2, 3, 1) if is_fixed else result
        return result if wanted is None else _from_int8(result, *wanted)

    @property
    def takes_clips(self):
        """Whether it is a SavedModel for films, of whose signatures OpenVINO reads the clip's."""
        return any("clip" in port.names for port in self.compiled.inputs)

    def run_named(self, signature, inputs):
        ports = (*self.compiled.inputs, *self.compiled.outputs)
        known = {name: port for port in ports for name in port.names}
        if self.path.endswith(".tflite"):
            tensors = _tensor_names(self.path, signature)
            known = {name: known[each] for name, each in tensors.items() if each in known}
        if set(inputs) - set(known):
            told = ", ".join("/".join(sorted(port.names)) for port in self.compiled.inputs)
            raise ValueError(f"OpenVINO reads one signature of a file, here of {told}")
        made = self.compiled({known[name]: array for name, array in inputs.items()})
        return {name: made[port] for name, port in known.items() if port in self.compiled.outputs}


class OpenVinoDefault(OpenVino):
    """OpenVINO as it comes, without the hint."""

    precision = ""


class FixedOnnx:
    """Runtimes that take an ONNX file of one size; pictures are (1, C, H, W) there.

    The signature `ANY_SIZE` says that it is one of any size, which has TensorFlow's layout.
    """

    takes = (".onnx",)

    def run(self, signature, array):
        if signature == ANY_SIZE:
            return np.asarray(self.restore(np.ascontiguousarray(array)), np.float32)
        given = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
        result = np.asarray(self.restore(given), np.float32)
        return result.reshape(result.shape[-4:]).transpose(0, 2, 3, 1)


class OpenCv(FixedOnnx):
    """OpenCV's module dnn."""

    module, package = "cv2", "opencv-python-headless"

    def __init__(self, path, threads):
        import cv2

        cv2.setNumThreads(threads)
        self.network = cv2.dnn.readNetFromONNX(path)

    def restore(self, image):
        self.network.setInput(image)
        return self.network.forward()


class Tract(FixedOnnx):
    """tract, which is written in Rust; it has one thread."""

    module, package = "tract", "tract"

    def __init__(self, path, threads):
        import tract

        self.model = tract.onnx().load(path).into_model().into_runnable()

    def restore(self, image):
        return self.model.run([image])[0].to_numpy()


class OnnxReference:
    """ONNX's own evaluator in NumPy: slow, and what the operators mean."""

    takes, module, package = (".onnx",), "onnx", "onnx"

    def __init__(self, path, threads):
        from onnx.reference import ReferenceEvaluator

        self.model = ReferenceEvaluator(path)
        shape = self.model.proto_.graph.input[0].type.tensor_type.shape
        self.is_fixed = all(side.dim_value for side in shape.dim)

    def run(self, signature, array):
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2)) if self.is_fixed else array
        result = self.model.run(None, {"image": array})[0]
        return result.transpose(0, 2, 3, 1) if self.is_fixed else result

    def run_named(self, signature, inputs):
        return dict(zip(self.model.output_names, self.model.run(None, inputs)))


# Of MNN's Interpreter::HintMode, which Python has no names of.
WINOGRAD_LEVEL = 3


class Mnn(FixedOnnx):
    """MNN, through its converter; in float32."""

    takes, module, package = (".onnx", ".tflite", ".mnn"), "MNN", "MNN"

    def __init__(self, path, threads):
        import MNN
        import MNN.expr
        import MNN.nn

        self.is_nhwc, names = path.endswith(".tflite"), (["image"], ["restored"])
        with tempfile.TemporaryDirectory() as folder:
            if not path.endswith(".mnn"):
                path = self.convert(path, os.path.join(folder, "model.mnn"))
            if self.is_nhwc:
                names = [], []  # Signatures are not kept.
            interpreter = MNN.nn.create_runtime_manager(
                ({"backend": 0, "precision": "high", "numThread": threads},)
            )
            # Its Winograd convolutions, of large tiles unless told otherwise, have 89 dB.
            interpreter.set_hint(WINOGRAD_LEVEL, 0)
            self.network = MNN.nn.load_module_from_file(path, *names, runtime_manager=interpreter)

    @staticmethod
    def convert(path, target):
        # The command `mnnconvert` does this too, but installs a package and reports to a server.
        import _tools

        kind = "TFLITE" if path.endswith(".tflite") else "ONNX"
        words = ["MNNConvert", "-f", kind, "--modelFile", path, "--MNNModel", target]
        _tools.mnnconvert([*words, "--bizCode", "none"])
        return target

    def restore(self, image):
        import MNN.expr as expr

        layout = expr.NHWC if self.is_nhwc else expr.NCHW
        image = image.transpose(0, 2, 3, 1).copy() if self.is_nhwc else image
        given = expr.const(image, list(image.shape), layout)
        made = self.network.forward([given])[0]
        result = expr.convert(made, layout).read().reshape(made.shape).copy()
        return result.transpose(0, 3, 1, 2) if self.is_nhwc else result


class Ncnn(FixedOnnx):
    """ncnn in float32, of the files that pnnx makes: `.param`, and `.bin` beside it."""

    takes, module, package = (".param",), "ncnn", "ncnn"
    is_exact, in_bfloat16 = True, False

    def __init__(self, path, threads):
        import ncnn

        self.ncnn, self.network = ncnn, ncnn.Net()
        options = self.network.opt
        options.num_threads, options.use_vulkan_compute = threads, False
        if self.is_exact:
            options.use_bf16_storage = options.use_fp16_arithmetic = False
            options.use_fp16_packed = options.use_fp16_storage = False
        options.use_bf16_storage = self.in_bfloat16
        if self.network.load_param(path) or self.network.load_model(path[:-5] + "bin"):
            raise ValueError("ncnn cannot load it: expected NAME.param, and NAME.bin beside it")
        self.names = self.network.input_names()[0], self.network.output_names()[0]

    def restore(self, image):
        extractor = self.network.create_extractor()
        extractor.input(self.names[0], self.ncnn.Mat(image[0]).clone())
        return np.array(extractor.extract(self.names[1])[1])[np.newaxis]


class NcnnDefault(Ncnn):
    """ncnn as it comes: halves where the processor has them."""

    is_exact = False


class NcnnBfloat16(Ncnn):
    """ncnn with results kept in bfloat16."""

    in_bfloat16 = True


class Tvm(FixedOnnx):
    """Apache TVM, compiled for this processor."""

    module, package = "tvm", "apache-tvm"

    def __init__(self, path, threads):
        import onnx
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        os.environ["TVM_NUM_THREADS"] = str(threads)
        module = from_onnx(onnx.load(path), keep_params_in_input=False)
        self.tvm, self.device = tvm, tvm.cpu()
        self.machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), self.device)

    def restore(self, image):
        result = self.machine["main"](self.tvm.runtime.tensor(image, self.device))
        return (result if hasattr(result, "numpy") else result[0]).numpy()


class Iree(FixedOnnx):
    """IREE, compiled for this processor; imports ONNX files of one size by their package's help."""

    module, package = "iree", "iree-base-compiler"

    def __init__(self, path, threads):
        import iree.compiler.tools
        import iree.runtime
        import onnx  # noqa: F401  # A process of its own imports it.

        with tempfile.TemporaryDirectory() as folder:
            imported = os.path.join(folder, "model.mlir")
            command = [
                sys.executable,
                "-m",
                "iree.compiler.tools.import_onnx",
                path,
                "-o",
                imported,
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(f"its importer: {done.stderr[-300:]}")
            compiled = iree.compiler.tools.compile_file(
                imported,
                target_backends=["llvm-cpu"],
                input_type="onnx",
                extra_args=["--iree-llvmcpu-target-cpu=host"],
            )
        context = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
        module = iree.runtime.VmModule.copy_buffer(context.instance, compiled)
        context.add_vm_module(module)
        (name,) = (n for n in module.function_names if not n.startswith("__") and "$" not in n)
        self.function = context.modules.module[name]

    def restore(self, image):
        # A copy: the memory of what to_host() returns is the runtime's, and reused.
        return np.array(self.function(image).to_host())


class Tinygrad(FixedOnnx):
    """tinygrad on the CPU; it compiles by the program clang."""

    module, package = "tinygrad", "tinygrad"

    def __init__(self, path, threads):
        import tinygrad
        from tinygrad.nn.onnx import OnnxRunner

        self.tensor, self.network = tinygrad.Tensor, OnnxRunner(path)

    def restore(self, image):
        return self.network({"image": self.tensor(image)})["restored"].numpy()


class Aidge(FixedOnnx):
    """Aidge's own kernels for CPUs; it has one thread."""

    module, package = "aidge_backend_cpu", "aidge-backend-cpu"

    def __init__(self, path, threads):
        import aidge_backend_cpu  # noqa: F401  It registers itself.
        import aidge_core
        import aidge_onnx

        self.tensor, self.network = aidge_core.Tensor, aidge_onnx.load_onnx(path)
        self.network.set_backend("cpu")
        self.scheduler = aidge_core.SequentialScheduler(self.network)

    def restore(self, image):
        self.scheduler.forward(True, [self.tensor(image)])
        (last,) = self.network.get_output_nodes()
        return np.array(last.get_operator().get_output(0))


class ExecuTorch(FixedOnnx):
    """ExecuTorch on the CPU, of what examples/executorch/convert.py makes of an ONNX file."""

    takes, module, package = (".pte",), "executorch", "executorch"

    def __init__(self, path, threads):
        import torch
        from executorch.runtime import Runtime

        torch.set_num_threads(threads)
        self.tensor = torch.from_numpy
        self.program = Runtime.get().load_program(path)
        self.method = self.program.load_method("forward")

    def restore(self, image):
        return self.method.execute([self.tensor(image)])[0].numpy().copy()


class CoreMlProgram(FixedOnnx):
    """A Core ML file's program, computed by `mil`: Core ML itself needs one of Apple's machines."""

    takes, module, package = (".mlpackage",), "coremltools", "coremltools"

    def __init__(self, path, threads):
        import mil  # Beside this file.

        self.program = mil.Program(path)

    def restore(self, image):
        scale = np.float32(255 if self.program.is_image else 1)
        return self.program(image * scale) / scale


class TensorFlow:
    """The SavedModel in TensorFlow."""

    takes, module, package = ("",), "tensorflow", "tensorflow"

    def __init__(self, path, threads):
        import tensorflow as tf

        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.loaded, self.constant = tf.saved_model.load(path), tf.constant

    def run(self, signature, array):
        function = self.loaded.signatures[signature]
        if signature in ("serve_bytes", "serve_jpeg"):
            # A uint8 row is one encoded picture: NumPy's own bytes type drops trailing zeros.
            answer = function(image_bytes=self.constant([array.tobytes()]))
            return np.frombuffer(answer["restored_bytes"].numpy()[0], np.uint8)
        return function(image=self.constant(array))["restored"].numpy()

    def run_named(self, signature, inputs):
        function = self.loaded.signatures[signature]
        given = {name: self.constant(array) for name, array in inputs.items()}
        return {name: tensor.numpy() for name, tensor in function(**given).items()}

    def state_shape(self, signature, size):
        sides = {name: self.constant(side) for name, side in zip(("height", "width"), size)}
        answer = self.loaded.signatures["initial_state"](count=self.constant(1), **sides)
        return answer["state"].shape


# What each takes, what it is imported as and what pip calls it stand in its class.
RUNTIMES = {
    "litert": LiteRt,
    "litert-compiled": CompiledLiteRt,
    "tflite-runtime": TfliteRuntime,
    "tensorflow-lite": TensorFlowLite,
    "tflite-micro": TfliteMicro,
    "onnxruntime": Onnx,
    "onnxruntime-openvino": OnnxOpenVino,
    "onnx-reference": OnnxReference,
    "openvino": OpenVino,
    "openvino-default": OpenVinoDefault,
    "opencv": OpenCv,
    "tract": Tract,
    "mnn": Mnn,
    "ncnn": Ncnn,
    "ncnn-default": NcnnDefault,
    "ncnn-bf16": NcnnBfloat16,
    "tvm": Tvm,
    "iree": Iree,
    "tinygrad": Tinygrad,
    "aidge": Aidge,
    "executorch": ExecuTorch,
    "coreml-program": CoreMlProgram,
    "tensorflow": TensorFlow,
}
DEFAULTS = {".tflite": "litert", ".onnx": "onnxruntime", ".param": "ncnn", ".mnn": "mnn"}
DEFAULTS |= {".mlpackage": "coreml-program", ".pte": "executorch"}


def _latencies_ms(call):
    for _ in range(WARM_UPS):
        call()
    times, started = [], time.perf_counter()
    while len(times) < MAX_RUNS and time.perf_counter() - started < MAX_SECONDS:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return [1000 * float(value) for value in np.percentile(times, (50, 95))]


def main(path, cases_path, results_path, runtime="", threads=1):
    name = runtime or DEFAULTS.get(os.path.splitext(path)[1], "tensorflow")
    try:
        results = _results(RUNTIMES[name], path, cases_path, int(threads))
    except ModuleNotFoundError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(EXIT_NOT_INSTALLED)
    except Exception as error:  # Whatever a runtime raises; some with a page of text.
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split()))
    try:
        np.savez(results_path, **results)
    except OSError as error:
        # The file is not to blame.
        sys.exit(EXIT_NO_SPACE if error.errno == errno.ENOSPC else str(error))


def _results(runtime, path, cases_path, threads):
    client = runtime(path, threads)
    results, last, named = {}, {}, {}
    with np.load(cases_path) as cases:
        for key in cases.files:
            signature, number, *names = key.split("|")
            if names == [FILM]:
                start = f"{signature}|{number}|{START}"
                first = cases[start] if start in cases.files else None
                made, last[signature] = _stream(client, signature, cases[key], first)
                results[f"{signature}|{number}|restored"] = made
            if names in ([FILM], [START]):
                continue
            if names:
                named.setdefault((signature, number), {})[names[0]] = cases[key]
                continue
            last[signature] = functools.partial(client.run, signature, cases[key])
            results[key] = last[signature]()
    for (signature, number), inputs in named.items():
        last[signature] = functools.partial(client.run_named, signature, inputs)
        for name, output in last[signature]().items():
            results[f"{signature}|{number}|{name}"] = output
    for signature, call in last.items() if MAX_RUNS else ():
        median, high = _latencies_ms(call)
        results[f"latency_ms|{signature}"], results[f"latency_p95_ms|{signature}"] = median, high
    if hasattr(client, "delegated"):
        results["delegated"] = client.delegated()
    results["version"] = _version(runtime)
    return results


def _stream(client, signature, film, state):
    """Restores the frames of a film in their order; the first one has the state or zeros."""
    if getattr(client, "takes_clips", False):
        whole = functools.partial(client.run_named, "serving_default", {"clip": film[np.newaxis]})
        return whole()["restored"][0], whole
    if state is None:
        state = np.zeros(client.state_shape(signature, film.shape[1:3]), np.float32)
    restored = []
    for frame in film:
        made = client.run_named(signature, {"frame": frame[np.newaxis], "state": state})
        state = made["next_state"]
        restored.append(made["restored"][0])
    return np.stack(restored), functools.partial(
        client.run_named, signature, {"frame": film[-1:], "state": state}
    )


def _version(runtime):
    try:
        return importlib.metadata.version(runtime.package)
    except importlib.metadata.PackageNotFoundError:  # Installed under another name.
        return ""


def _end_with_the_parent():
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    if os.environ.get(WATCHES_STDIN):
        threading.Thread(target=_end_with_the_parent, daemon=True).start()
    main(*sys.argv[1:])
