"""Runs one exported file in a process of its own: a runtime that crashes takes only this down.

Started by path, with nothing of tf_deconv on board, as a client would run the file:
`python runner.py FILE CASES.npz RESULTS.npz`. CASES holds "SIGNATURE|NUMBER" arrays; RESULTS holds
the outputs under the same keys, and "latency_ms|SIGNATURE", the median time of its last case on one
thread.
"""

import functools
import os
import sys
import time

import numpy as np

WARM_UPS, MAX_RUNS, MAX_SECONDS = 2, 30, 2.0


def _tflite_signatures(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    runners = {}

    def run(signature, array):
        if signature not in runners:
            runner = interpreter.get_signature_runner(signature)
            details = runner.get_input_details()["image"], runner.get_output_details()["restored"]
            runners[signature] = runner, *details
        runner, given, wanted = runners[signature]
        if given["dtype"] is np.int8:
            scale, zero = given["quantization"]
            array = np.clip(np.rint(array / scale) + zero, -128, 127).astype(np.int8)
        result = runner(image=array)["restored"]
        if wanted["dtype"] is np.int8:
            scale, zero = wanted["quantization"]
            result = np.float32(scale) * (result.astype(np.float32) - zero)
        return result

    return run


def _onnx_signatures(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,), (wanted,) = session.get_inputs(), session.get_outputs()

    def run(signature, array):
        if (given.name, wanted.name) != ("image", "restored"):
            raise ValueError(
                f"takes {given.name!r} and gives {wanted.name!r}: expected image, restored"
            )
        return session.run([wanted.name], {given.name: array})[0]

    return run


def _saved_model_signatures(path):
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(path)

    def run(signature, array):
        function = loaded.signatures[signature]
        if signature in ("serve_bytes", "serve_jpeg"):
            # A uint8 row is one encoded picture: NumPy's own bytes type drops trailing zeros.
            answer = function(image_bytes=tf.constant([array.tobytes()]))
            return np.frombuffer(answer["restored_bytes"].numpy()[0], np.uint8)
        return function(image=tf.constant(array))["restored"].numpy()

    return run


def _median_ms(call):
    for _ in range(WARM_UPS):
        call()
    times, started = [], time.perf_counter()
    while len(times) < MAX_RUNS and time.perf_counter() - started < MAX_SECONDS:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return 1000 * float(np.median(times))


def main(path, cases_path, results_path):
    openers = {".tflite": _tflite_signatures, ".onnx": _onnx_signatures}
    run = openers.get(os.path.splitext(path)[1], _saved_model_signatures)(path)
    results, last = {}, {}
    with np.load(cases_path) as cases:
        for key in cases.files:
            signature = key.split("|")[0]
            last[signature] = cases[key]
            results[key] = run(signature, cases[key])
    for signature, case in last.items():
        results[f"latency_ms|{signature}"] = _median_ms(functools.partial(run, signature, case))
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
