"""Runs one exported file in a process of its own: a runtime that crashes takes only this down.

Started by path, with nothing of tf_deconv on board, as a client would run the file:
`python runner.py FILE CASES.npz RESULTS.npz [RUNTIME [THREADS]]`. CASES holds "SIGNATURE|NUMBER"
arrays; RESULTS holds the outputs under the same keys, and of each signature's last case
"latency_ms|SIGNATURE" and "latency_p95_ms|SIGNATURE", the median and the 95th percentile of its
time. "delegated" is the share of a TFLite file's operators that XNNPACK took over, where that is
known.
"""

import functools
import os
import sys
import time

import numpy as np

WARM_UPS, MAX_RUNS, MAX_SECONDS = 2, 30, 2.0


def _to_int8(array, scale, zero):
    return np.clip(np.rint(array / scale) + zero, -128, 127).astype(np.int8)


def _from_int8(array, scale, zero):
    return np.float32(scale) * (array.astype(np.float32) - np.float32(zero))


class LiteRt:
    """The interpreter of ai-edge-litert, with XNNPACK."""

    def __init__(self, path, threads):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(path, num_threads=threads)
        self.runners = {}

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


class CompiledLiteRt:
    """ai-edge-litert's CompiledModel on the CPU."""

    def __init__(self, path, threads):
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.options import CpuOptions, Options

        options = Options(
            hardware_accelerators=HardwareAccelerator.CPU,
            cpu_options=CpuOptions(num_threads=threads),
        )
        self.model, self.buffers = CompiledModel.from_file(path, options=options), {}

    def run(self, signature, array):
        if signature not in self.buffers:
            index = self.model.get_signature_index(signature)
            given = self.model.get_input_tensor_details(signature)["image"]
            wanted = self.model.get_output_tensor_details(signature)["restored"]
            self.buffers[signature] = (
                index,
                self.model.create_input_buffers(index),
                self.model.create_output_buffers(index),
                given,
                tuple(wanted["shape"]),
                wanted,
            )
        index, inputs, outputs, given, shape, wanted = self.buffers[signature]
        if np.dtype(given["dtype"]) == np.int8:
            raise ValueError("int8 pictures: CompiledModel tells no scale and zero point")
        inputs[0].write(np.ascontiguousarray(array))
        self.model.run_by_index(index, inputs, outputs)
        return outputs[0].read(int(np.prod(shape)), np.dtype(wanted["dtype"])).reshape(shape)


class Onnx:
    """onnxruntime on the CPU; its one graph takes the cases of every signature."""

    def __init__(self, path, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        names = [each.name for each in (*self.session.get_inputs(), *self.session.get_outputs())]
        if names != ["image", "restored"]:
            raise ValueError(f"takes and gives {', '.join(names)}: expected image, restored")

    def run(self, signature, array):
        return self.session.run(["restored"], {"image": array})[0]


class OpenVino:
    """OpenVINO on the CPU in float32, of a SavedModel, an ONNX file or a `.tflite` file."""

    def __init__(self, path, threads):
        import openvino

        core = openvino.Core()
        # Without the hint it computes in bfloat16 where the processor can.
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self.compile = functools.partial(
            core.compile_model, device_name="CPU", config=options | {"NUM_STREAMS": 1}
        )
        self.model, self.compiled = core.read_model(path), {}

    def run(self, signature, array):
        shape = array.shape
        if shape not in self.compiled:
            if self.model.inputs[0].element_type.get_type_name() != "f32":
                raise ValueError("int8 pictures: OpenVINO tells no scale and zero point")
            model = self.model.clone()
            inputs = [port for port in model.inputs if len(port.partial_shape) == 4]
            if len(inputs) > 1:
                raise ValueError("OpenVINO reads one signature of a file: it found several inputs")
            model.reshape({inputs[0]: list(shape)})
            self.compiled[shape] = self.compile(model)
        return next(iter(self.compiled[shape](array).values()))


class TensorFlow:
    """The SavedModel in TensorFlow."""

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


RUNTIMES = {
    "litert": LiteRt,
    "litert-compiled": CompiledLiteRt,
    "onnxruntime": Onnx,
    "openvino": OpenVino,
    "tensorflow": TensorFlow,
}
DEFAULTS = {".tflite": "litert", ".onnx": "onnxruntime"}


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
    client = RUNTIMES[name](path, int(threads))
    results, last = {}, {}
    with np.load(cases_path) as cases:
        for key in cases.files:
            signature = key.split("|")[0]
            last[signature] = cases[key]
            results[key] = client.run(signature, cases[key])
    for signature, case in last.items():
        median, high = _latencies_ms(functools.partial(client.run, signature, case))
        results[f"latency_ms|{signature}"], results[f"latency_p95_ms|{signature}"] = median, high
    if hasattr(client, "delegated"):
        results["delegated"] = client.delegated()
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
