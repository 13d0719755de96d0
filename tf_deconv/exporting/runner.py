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
            runners[signature] = interpreter.get_signature_runner(signature)
        return runners[signature](image=array)["restored"]

    return run


def _saved_model_signatures(path):
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(path)

    def run(signature, array):
        function = loaded.signatures[signature]
        if signature == "serve_bytes":
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
    run = (_saved_model_signatures if os.path.isdir(path) else _tflite_signatures)(path)
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
