"""Restores one picture in a browser by three runtimes on one page: time, equality, download.

    tf-deconv export photo --onnx --sizes 256 --out web
    python benchmarks/web_runtimes.py web/photo

LiteRT.js runs the float32 and int8 TFLite files, onnxruntime-web both ONNX files, TensorFlow.js a
graph model that its converter makes of the SavedModel, and tfjs-tflite, LiteRT.js's forerunner,
the float32 TFLite file again; each in WebAssembly with SIMD and one
thread, as on a host that sends no headers for isolation. Needs npm, Chromium, its driver, selenium.
Each runs `--rounds` times, in turn; printed are the fastest run, PSNR against Keras's picture (the
SavedModel's) and the bytes that the page fetched for it: the runtime, and the model.
"""

import argparse
import base64
import contextlib
import functools
import http.server
import math
import pathlib
import subprocess
import sys
import tempfile
import threading

import numpy as np

NPM = (
    "@litertjs/core@2.5.3",
    "onnxruntime-web@1.30.0",
    "@tensorflow/tfjs@4.22.0",
    "@tensorflow/tfjs-backend-wasm@4.22.0",
    "@tensorflow/tfjs-tflite@0.0.1-alpha.10",
)
# Without their dependencies, among them a TensorFlow of their own and a library for trees.
CONVERTER = ("tensorflowjs==4.22.0", "tf_keras==2.21.0", "tensorflow_hub==0.16.1")
CONVERT = """
import sys
from unittest import mock

for name in ("tensorflow_decision_forests", "jax", "jax.experimental", "jax.experimental.jax2tf"):
    sys.modules[name] = mock.MagicMock()
from tensorflowjs.converters.converter import convert

names = ["--input_format=tf_saved_model", "--signature_name=serving_default", *sys.argv[1:]]
convert(names)
"""
PAGE = """<!doctype html>
<link rel="icon" href="data:,">
<script type="importmap">
{"imports": {
  "@litertjs/core": "./node_modules/@litertjs/core/dist/index.js",
  "@litertjs/wasm-utils": "./node_modules/@litertjs/wasm-utils/dist/index.js"
}}
</script>
<script>
const library = "./node_modules/";
const floats = (buffer) => new Float32Array(buffer);

async function litert(file) {
  const { Tensor, loadAndCompile, loadLiteRt } = await import("@litertjs/core");
  if (!window.litertLoaded) window.litertLoaded = loadLiteRt(library + "@litertjs/core/wasm/");
  await window.litertLoaded;
  const model = await loadAndCompile(file, { accelerator: "wasm" });
  return async (pixels, [height, width, channels]) => {
    const image = new Tensor(pixels, [1, height, width, channels]);
    const { restored } = await model.run(`restore_${height}x${width}`, { image });
    const values = Float32Array.from((await restored.moveTo("wasm")).toTypedArray());
    image.delete();
    return values;
  };
}

async function onnxruntime(file, channelsFirst) {
  const ort = await import(library + "onnxruntime-web/dist/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL(library + "onnxruntime-web/dist/", location).href;
  const session = await ort.InferenceSession.create(file);
  return async (pixels, [height, width, channels]) => {
    const area = height * width;
    const given = !channelsFirst ? pixels
      : pixels.map((_, i) => pixels[(i % area) * channels + Math.floor(i / area)]);
    const shape = channelsFirst ? [channels, height, width] : [height, width, channels];
    const image = new ort.Tensor("float32", given, [1, ...shape]);
    const results = await session.run({ [session.inputNames[0]]: image });
    const { data, dims } = results[session.outputNames[0]];
    if (!channelsFirst) return data;
    const [, made, high, wide] = dims;
    return data.map((_, i) => data[(i % made) * high * wide + Math.floor(i / made)]);
  };
}

async function tfjs(file) {
  const script = (path) => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    [element.src, element.onload, element.onerror] = [library + path, resolve, reject];
    document.head.append(element);
  });
  if (!window.tf) {
    await script("@tensorflow/tfjs/dist/tf.min.js");
    await script("@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js");
    tf.wasm.setWasmPaths(library + "@tensorflow/tfjs-backend-wasm/dist/");
    if (!await tf.setBackend("wasm")) throw new Error("TensorFlow.js has no WebAssembly here");
    await tf.ready();
  }
  const model = await tf.loadGraphModel(file);
  return async (pixels, shape) => {
    const image = tf.tensor4d(pixels, [1, ...shape]);
    const restored = model.execute(image);
    const values = await restored.data();
    tf.dispose([image, restored]);
    return values;
  };
}

async function tfjsTflite(file) {
  const script = (path) => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    [element.src, element.onload, element.onerror] = [library + path, resolve, reject];
    document.head.append(element);
  });
  if (!window.tflite) {
    if (!window.tf) {
      await script("@tensorflow/tfjs-core/dist/tf-core.min.js");
      await script("@tensorflow/tfjs-backend-cpu/dist/tf-backend-cpu.min.js");
    }
    await script("@tensorflow/tfjs-tflite/dist/tf-tflite.min.js");
    tflite.setWasmPath(library + "@tensorflow/tfjs-tflite/wasm/");
  }
  const model = await tflite.loadTFLiteModel(file, { numThreads: 1 });  // Its first signature.
  return async (pixels, shape) => {
    const image = tf.tensor4d(pixels, [1, ...shape]);
    const restored = model.predict(image);
    const values = await restored.data();
    tf.dispose([image, restored]);
    return values;
  };
}

async function measure(contenders, shape, rounds) {
  const pixels = floats(await (await fetch("picture.f32")).arrayBuffer());
  const results = contenders.map(() => ({ ms: Infinity }));
  const runs = [];
  for (const [number, [runtime, ...options]] of contenders.entries()) {
    await fetch(`mark/${number}`);  // The server counts what is fetched from here on for this one.
    try {
      runs[number] = await { litert, onnxruntime, tfjs, tfjsTflite }[runtime](...options);
      results[number].values = await runs[number](pixels, shape);  // Warms up.
    } catch (error) {
      results[number].error = String(error);
    }
  }
  for (let round = 0; round < rounds; round++) {
    for (const [number, result] of results.entries()) {
      if (!result.values) continue;
      const began = performance.now();
      await runs[number](pixels, shape);
      result.ms = Math.min(result.ms, performance.now() - began);
    }
  }
  return results.map(({ ms, values, error }) => {
    if (error) return { error };
    const bytes = new Uint8Array(new Float32Array(values).buffer);
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768)
      text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return { ms, values: btoa(text) };
  });
}
</script>
"""


def install(folder: pathlib.Path, packages: tuple[str, ...] = NPM) -> None:
    """Fetches the runtimes into `folder`/node_modules."""
    quiet = ("--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    # tfjs-tflite asks for TensorFlow.js 4.9, and runs with 4.22.
    quiet += ("--legacy-peer-deps",)
    subprocess.run(["npm", "install", *quiet, "--prefix", folder, *packages], check=True)


def convert(saved_model: pathlib.Path, folder: pathlib.Path, libraries: pathlib.Path) -> None:
    """Writes TensorFlow.js's graph model of a SavedModel."""
    if not libraries.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", libraries]
        subprocess.run([*pip, *CONVERTER], check=True)
    words = [saved_model.absolute(), folder.absolute()]
    code = f"import sys; sys.path.insert(0, {str(libraries)!r})\n{CONVERT}"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"tensorflowjs: {done.stderr.splitlines()[-1]}")


@contextlib.contextmanager
def serve(folder: pathlib.Path):
    """Serves a folder; yields its address and {contender: [bytes of the runtime, of the model]}."""
    fetched, current = {}, [-1]

    class Counting(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/mark/"):
                current[0] = int(self.path.removeprefix("/mark/"))
                self.send_response(204)
                self.end_headers()
                return
            path = pathlib.Path(self.translate_path(self.path))
            if path.is_file():
                sizes = fetched.setdefault(current[0], [0, 0])
                sizes["/node_modules/" not in self.path] += path.stat().st_size
            super().do_GET()

        def log_message(self, *_):
            pass

    handler = functools.partial(Counting, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/page.html", fetched
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def browser(profile: pathlib.Path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    flags = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking")
    for flag in (*flags, "disable-component-update", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    service = webdriver.ChromeService(executable_path="/usr/bin/chromedriver")
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(500)
    try:
        yield driver
    finally:
        driver.quit()


def measure(folder: pathlib.Path, contenders: dict[str, tuple], image: np.ndarray, rounds: int):
    """Runs contenders on one page.

    Args:
      folder: Holds node_modules and the models; the page is written there.
      contenders: Name to the page's function and its arguments.
      image: (1, H, W, C) float32.
      rounds: How often each is timed.
    Returns:
      {name: (milliseconds, picture (values,) float32, bytes of the runtime, bytes of the model)};
      {name: error} where it failed.
    """
    (folder / "page.html").write_text(PAGE)
    image.astype("<f4").tofile(folder / "picture.f32")
    call = "const [done] = [arguments[3]]; measure(...[...arguments].slice(0, 3)).then(done)"
    profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with serve(folder) as (address, fetched), profile, browser(profile.name) as driver:
        driver.get(address)
        found = driver.execute_async_script(
            call, [list(words) for words in contenders.values()], list(image.shape[1:]), rounds
        )
    results, runtimes = {}, {}
    for number, (name, words) in enumerate(contenders.items()):
        if "error" in found[number]:
            results[name] = found[number]["error"]
            continue
        of_runtime, of_model = fetched.get(number, (0, 0))
        of_runtime = runtimes.setdefault(words[0], of_runtime)
        values = np.frombuffer(base64.b64decode(found[number]["values"]), "<f4")
        results[name] = found[number]["ms"], values, of_runtime, of_model
    return results


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.ravel().astype(np.float64) - other.ravel()) ** 2)
    return math.inf if error == 0 else -10 * math.log10(error)


def main() -> None:
    import tensorflow as tf
    from skimage import data

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path, help="export folder with onnx/ of one size")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cache", type=pathlib.Path, help="where runtimes are kept")
    options = parser.parse_args()
    model, name = options.model, options.model.name
    (one_size,) = (model / "onnx").glob(f"{name}-*x*.onnx")
    size = tuple(map(int, one_size.stem.rsplit("-", 1)[1].split("x")))
    image = data.astronaut()[: size[0], 100 : 100 + size[1]] / 255
    image = image + np.random.default_rng(0).normal(0, 15 / 255, image.shape)
    image = np.clip(image, 0, 1).astype(np.float32)[np.newaxis]
    restore = tf.saved_model.load(str(model / "1")).signatures["serving_default"]
    expected = restore(image=tf.constant(image))["restored"].numpy()
    with tempfile.TemporaryDirectory() as scratch:
        cache = (options.cache or pathlib.Path(scratch)).absolute()
        if not (cache / "node_modules").exists():
            install(cache)
        folder = cache / "served"
        folder.mkdir(exist_ok=True)
        for link, target in (("node_modules", cache / "node_modules"), (name, model.absolute())):
            (folder / link).unlink(missing_ok=True)
            (folder / link).symlink_to(target)
        convert(model / "1", folder / f"{name}-tfjs", cache / "python")
        tflite = {
            f"LiteRT.js, {variant}": ("litert", f"{name}/tflite/{name}-{variant}.tflite")
            for variant in ("float32", "int8")
        }
        contenders = {
            **tflite,
            "onnxruntime-web, any size": ("onnxruntime", f"{name}/onnx/{name}.onnx", False),
            "onnxruntime-web, one size": ("onnxruntime", f"{name}/onnx/{one_size.name}", True),
            "TensorFlow.js": ("tfjs", f"{name}-tfjs/model.json"),
            # Its int8 file took 32 s there, of a picture of 256x256 by the small network.
            "tfjs-tflite, float32": ("tfjsTflite", f"{name}/tflite/{name}-float32.tflite"),
        }
        results = measure(folder, contenders, image, options.rounds)
    print(f"{name}, {size[0]}x{size[1]}, one thread; {', '.join(NPM)}")
    print("contender                        ms        dB    runtime MB   model MB")
    for contender, result in results.items():
        if isinstance(result, str):
            print(f"{contender:28} {result}")
            continue
        milliseconds, values, of_runtime, of_model = result
        sizes = f"{of_runtime / 1e6:14.2f}{of_model / 1e6:11.2f}"
        print(f"{contender:28}{milliseconds:8.1f}{psnr_db(values, expected):10.1f}{sizes}")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
