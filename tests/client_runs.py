"""Runs an exported file as an app or a service would, in a process of its own.

A runtime that crashes takes only this process down, and what it writes to stderr can be read.
Started by path: `python client_runs.py RUNTIME FILE CASES.npz RESULTS.npz [THREADS]`. CASES holds
"SIGNATURE|NUMBER" arrays, float32 (N, H, W, C) in [0, 1] also for files that take int8: clients
convert, which is part of what is tested. RESULTS holds float32 pictures under the same keys, and
what the runtime tells of the file.

The code here is kept apart from what checks files before they are published
(tf_deconv/exporting/parity/runner.py), and is what docs/clients.md shows.
"""

import sys

import numpy as np


def to_input(image, details):
    """Converts a picture in [0, 1] to what a tensor takes, by its scale and zero point."""
    if details["dtype"] != np.int8:
        return image
    scale, zero_point = details["quantization"]
    return np.clip(np.rint(image / scale) + zero_point, -128, 127).astype(np.int8)


def to_float(restored, details):
    """Converts back what a tensor gave."""
    if details["dtype"] != np.int8:
        return restored
    scale, zero_point = details["quantization"]
    return (restored.astype(np.float32) - zero_point) * np.float32(scale)


class Interpreter:
    """LiteRT's interpreter: what TensorFlow Lite became."""

    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(path, num_threads=threads)

    def signature(self, name):
        runner = self.interpreter.get_signature_runner(name)
        return runner, runner.get_input_details()["image"], runner.get_output_details()["restored"]

    def run(self, name, image):
        runner, given, wanted = self.signature(name)
        restored = runner(image=to_input(image, given))["restored"]
        return to_float(restored, wanted)


class Compiled:
    """LiteRT's CompiledModel, its newer interface, on the CPU."""

    accelerator = "CPU"

    def __init__(self, path, threads):
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        options = Options(
            hardware_accelerators=HardwareAccelerator[self.accelerator],
            cpu_options=CpuOptions(num_threads=threads),
        )
        self.model = CompiledModel.from_file(path, options=options)
        # It tells no scale and zero point; the interpreter does, and need not run for that.
        self.details = Interpreter(path, 1)

    def signature(self, name):
        index = self.model.get_signature_index(name)
        buffers = self.model.create_input_buffers(index), self.model.create_output_buffers(index)
        return (index, *buffers, *self.details.signature(name)[1:])

    def run(self, name, image):
        index, inputs, outputs, given, wanted = self.signature(name)
        inputs[0].write(to_input(image, given))
        self.model.run_by_index(index, inputs, outputs)
        shape = tuple(wanted["shape"])
        restored = outputs[0].read(int(np.prod(shape)), wanted["dtype"]).reshape(shape)
        return to_float(restored, wanted)


class Gpu(Compiled):
    """The same on a GPU, through WebGPU; a Vulkan driver in software will do.

    Alone: with the CPU beside it, operators that the GPU refuses run there, and only lines on
    stderr tell (is_fully_accelerated() is true all the same).
    """

    accelerator = "GPU"


class OpenVino:
    """OpenVINO on the CPU in float32: a SavedModel, an ONNX file or a `.tflite` file.

    Of a TFLite file it reads the first signature, which has one size. Other sizes must not be asked
    for by `Model.reshape`: what a transposed convolution gives stays as large as it was.
    """

    def __init__(self, path, threads):
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        self.inputs = len(model.inputs)
        # Without the hint it computes in bfloat16 where the processor can.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self.compiled = core.compile_model(model, "CPU", options)
        self.is_int8 = model.input(0).element_type == openvino.Type.i8
        if self.is_int8:
            # It tells no scale and zero point; LiteRT's interpreter does.
            details = Interpreter(path, 1).interpreter
            self.given = details.get_input_details()[0]
            self.wanted = details.get_output_details()[0]

    def run(self, name, image):
        if not self.is_int8:
            return self.compiled(image)[0]
        return to_float(self.compiled(to_input(image, self.given))[0], self.wanted)

    def facts(self):
        return {"inputs": self.inputs}


class OnnxRuntime:
    """onnxruntime on the CPU."""

    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(path, options, providers=providers)

    def run(self, name, image):
        return self.session.run(["restored"], {"image": image})[0]


class TensorFlow:
    """The SavedModel in TensorFlow's Python."""

    def __init__(self, path, threads):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)  # 0: one per processor.
        self.tf, self.model = tf, tf.saved_model.load(path)

    def run(self, name, image):
        return self.model.signatures[name](image=self.tf.constant(image))["restored"].numpy()


RUNTIMES = {
    "interpreter": Interpreter,
    "compiled": Compiled,
    "gpu": Gpu,
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
    "tensorflow": TensorFlow,
}


def main(runtime, path, cases_path, results_path, threads="1"):
    client = RUNTIMES[runtime](path, int(threads))
    with np.load(cases_path) as cases:
        results = {key: client.run(key.split("|")[0], cases[key]) for key in cases.files}
    if hasattr(client, "facts"):
        results |= client.facts()
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
