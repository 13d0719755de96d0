"""What `limits.py` measures, each in a process of its own: peaks, networks, clients' starts.

Every function here runs in a fresh process and returns what JSON holds. Heavy imports are inside:
a process loads only what it measures, and is given its number of threads before that.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNNER = ROOT / "tf_deconv" / "exporting" / "runner.py"
# Sides of the matrices whose product is measured: the fastest one counts.
SIDES = (512, 1024, 2048)
# Of each of a triad's three arrays. The cache's are as large as what a layer reads and writes; the
# memory's are larger than any cache.
CACHE_BYTES, MEMORY_BYTES = 4 << 20, 1 << 30
WARM_UPS, MIN_RUNS = 2, 5


def fastest(call, seconds):
    """Returns the least time of a call, in seconds: other work only ever slows."""
    for _ in range(WARM_UPS):
        call()
    times, started = [], time.perf_counter()
    while len(times) < MIN_RUNS or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return min(times)


def _tensorflow(threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


def product_of_tensorflow(dtype, threads, seconds, sides=SIDES):
    """Operations per second of TensorFlow's (oneDNN's) matrix product."""
    tf, rates = _tensorflow(threads), []
    for side in sides:
        a = tf.cast(tf.random.normal((side, side)), dtype)
        product = tf.function(lambda a: tf.matmul(a, a), jit_compile=False)
        taken = fastest(lambda a=a, product=product: product(a).numpy(), seconds / len(sides))
        rates.append(2 * side**3 / taken)
    return max(rates)


def make_products(folder, sides=SIDES):
    """Writes one fully connected layer of each side: float32, int8, and int8 of float tensors."""
    import tensorflow as tf

    from tf_deconv.exporting.tflite import quantize
    from tf_deconv.exporting.variants import VARIANTS

    for side in sides:
        plain, static = (_dense(tf, side, is_static) for is_static in (False, True))
        contents = {
            "float32": plain,
            "int8": static,
            "dynamic": quantize.quantize(plain, VARIANTS["dynamic"]),
        }
        for name, content in contents.items():
            pathlib.Path(folder, f"product-{name}-{side}.tflite").write_bytes(content)


def _dense(tf, side, static):
    """One fully connected layer of `side` rows and as many channels in and out."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(side, side)).astype(np.float32)
    layer = tf.function(lambda x: tf.matmul(x, weights, transpose_b=True))
    concrete = layer.get_concrete_function(tf.TensorSpec((side, side), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if static:
        cases = [[rng.normal(size=(side, side)).astype(np.float32)]]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: cases
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It misses what the cases tell it.
        return converter.convert()


def product_of_litert(folder, kind, threads, seconds, sides=SIDES):
    """Operations per second of XNNPACK's fully connected layer."""
    from ai_edge_litert.interpreter import Interpreter

    rates = []
    for side in sides:
        path = pathlib.Path(folder, f"product-{kind}-{side}.tflite")
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
        (given,) = interpreter.get_input_details()
        values = np.random.default_rng(2).normal(size=(side, side))
        interpreter.set_tensor(given["index"], values.astype(given["dtype"]))
        rates.append(2 * side**3 / fastest(interpreter.invoke, seconds / len(sides)))
    return max(rates)


def triad(array_bytes, threads, seconds):
    """Bytes per second of a = b + c in NumPy; three arrays of `array_bytes` shared by the threads.

    Counted are the two reads and the write, as STREAM counts.
    """
    arrays = [np.ones(array_bytes // 4 // threads, np.float32) for _ in range(3 * threads)]
    # So often that a thread's start and end do not count.
    times = max(1, (256 << 20) // array_bytes)

    def work(number):
        a, b, c = arrays[3 * number : 3 * number + 3]
        for _ in range(times):
            np.add(b, c, out=a)

    def run():
        others = [threading.Thread(target=work, args=(n,)) for n in range(1, threads)]
        for other in others:
            other.start()
        work(0)
        for other in others:
            other.join()

    return times * 3 * arrays[0].nbytes * threads / fastest(run, seconds)


def inference(folder, file, picture, threads):
    """Seconds of one picture, as the export's own gate runs the file."""
    signature = "serving_default"
    if file.endswith(".tflite"):
        height, width = np.load(picture).shape[1:3]
        signature = f"restore_{height}x{width}"
    with tempfile.TemporaryDirectory() as work:
        cases, results = pathlib.Path(work, "cases.npz"), pathlib.Path(work, "results.npz")
        np.savez(cases, **{f"{signature}|0": np.load(picture)})
        runtime = "litert" if file.endswith(".tflite") else "tensorflow"
        command = [sys.executable, RUNNER, pathlib.Path(folder, file), cases, results]
        command += [runtime, threads]
        subprocess.run([*map(str, command)], check=True, capture_output=True)
        with np.load(results) as got:
            return float(got[f"latency_ms|{signature}"]) / 1000


def layers(folder, file, picture, threads, runs):
    """[(tag, microseconds)] of a file's operators, and the least seconds of the whole."""
    import limits_layers

    events, seconds = limits_layers.profile(
        pathlib.Path(folder, file), np.load(picture), threads, runs
    )
    return [(tag, statistics.median(times)) for tag, times in events], min(seconds)


def training_of(manifest):
    """Returns the options that a shipped network was trained with, and its task."""
    from tf_deconv.degradations.tasks import find_task
    from tf_deconv.training.config import TrainConfig

    names = {field.name for field in dataclasses.fields(TrainConfig)}
    given = {key: value for key, value in manifest["training"].items() if key in names}
    # Only what decides how much is computed: the rest is of the machine that trained it.
    for name in ("init", "resume", "run_dir", "precision", "device", "data", "targets"):
        given.pop(name, None)
    return TrainConfig(**given), find_task(manifest["task"], given.get("degrade"))


def training_step(folder, precision, threads, steps):
    """Seconds of one training step of a network's own size, batch and optimizer."""
    from tf_deconv.cli import main

    main.quiet_libraries()
    tf = _tensorflow(threads)

    from tf_deconv.training import compilation
    from tf_deconv.utils import devices

    manifest = json.loads(pathlib.Path(folder, "manifest.json").read_text())
    config, task = training_of(manifest)
    device = devices.choose_device("cpu", precision)
    compilation.set_seed(0, device)
    model = compilation.build_in(device.precision, task, config, trained=True)
    compilation.compile_model(model, config, device)
    side, scale = config.patch_size, task.scale
    # What the network is fed: uneven, and in [0, 1].
    ramp = np.random.default_rng(0).random((config.batch_size, side * scale, side * scale, 1))
    clean = np.repeat(ramp.astype("f"), task.channels_out, -1)
    given = np.resize(clean[:, ::scale, ::scale, :1], (config.batch_size, side, side, 1))
    given = np.repeat(given, task.channels_in, -1)
    batches = tf.data.Dataset.from_tensors((given, clean)).repeat()

    def run():
        model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False)

    return fastest(run, 0.0) / steps


# What the examples do, in stages; `examples/run_tflite.py` and `examples/serve_python.py`.
STAGES = {
    "run_tflite.py": {
        "NumPy, Pillow": "import numpy as np; from PIL import Image",
        "runtime": "from ai_edge_litert.interpreter import Interpreter",
        "load": "runner = Interpreter(model).get_signature_runner()",
        "picture": """
height, width, channels = runner.get_input_details()["image"]["shape"][1:]
image = Image.open(picture).convert({1: "L", 3: "RGB"}[channels]).resize((width, height))
image = np.asarray(image, np.float32).reshape(1, height, width, channels) / 255""",
        "first run": "runner(image=image)",
        "second run": "runner(image=image)",
    },
    "serve_python.py": {
        "runtime": "import tensorflow as tf",
        "load": "loaded = tf.saved_model.load(model)",
        "picture": "encoded = tf.constant([open(picture, 'rb').read()])",
        "first run": "loaded.signatures['serve_bytes'](image_bytes=encoded)",
        "second run": "loaded.signatures['serve_bytes'](image_bytes=encoded)",
    },
}
PROGRAM = """
import sys, time, json
began, model, picture, stages = float(sys.argv[1]), sys.argv[2], sys.argv[3], {}
last = time.time()
stages["Python"] = last - began
for name, code in json.loads(sys.argv[4]).items():
    exec(code)
    now = time.time()
    stages[name], last = now - last, now
print(json.dumps(stages))
"""


def start(client, model, picture, restored):
    """Seconds that a fresh process of a client takes, of its stages and of the client itself.

    Files are in the system's cache: `limits.py` calls this more than once and takes the least.
    """
    code = json.dumps(STAGES[client])
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", PROGRAM, str(time.time()), model, picture, code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    stages = json.loads(done.stdout.splitlines()[-1])
    before = time.perf_counter()
    command = [sys.executable, ROOT / "examples" / client, model, picture, restored]
    subprocess.run([*map(str, command)], capture_output=True, check=True)
    return {**stages, "client": time.perf_counter() - before}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    name, *arguments = json.loads(sys.argv[1])
    print(json.dumps(globals()[name](*arguments)))
