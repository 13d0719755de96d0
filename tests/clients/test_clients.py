"""Exported files in the runtimes that apps and services use, each against Keras.

`pytest -m clients -rP tests/clients/test_clients.py` also prints the figures of
docs/clients.md. A runtime that is not installed is a skip, and a failure where
TF_DECONV_REQUIRE_CLIENTS=1.
"""

import collections
import dataclasses
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import client_runs, gates
from tests.fixtures.tflite_files import converted, portable
from tf_deconv.exporting import pipeline
from tf_deconv.exporting.tflite import convert, flatbuffer
from tf_deconv.exporting.variants import PROFILES, VARIANTS, parse_variants
from tf_deconv.inference import restorer, tflite_file
from tf_deconv.inference import run_folder as run_folders
from tf_deconv.inference.artifacts import to_float32
from tf_deconv.inference.tflite_file import TfliteFile

pytestmark = pytest.mark.clients

NETWORKS = ("article", "unet")
# Vulkan on the CPU, SwiftShader, of Debian's package chromium; libvulkan1 loads it.
VULKAN_DRIVER = "/usr/lib/chromium/vk_swiftshader_icd.json"
TIMEOUT_S = 300


def need(name):
    """Skips, or fails where clients are required, without a module, a program or a file."""
    is_module = name.isidentifier() and importlib.util.find_spec(name)
    if not (is_module or os.path.isfile(name) or shutil.which(name)):
        required = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)(f"not installed: {name}")


@dataclasses.dataclass(frozen=True)
class Client:
    """One way to run a `.tflite` file.

    Attributes:
      runtime: Key of `client_runs.RUNTIMES`.
      threads: How many it may use.
      module: What has to be installed.
      one_signature: Whether it reads the file's first signature only.
    """

    runtime: str
    threads: int
    module: str = "ai_edge_litert"
    one_signature: bool = False


CLIENTS = {
    "interpreter-1": Client("interpreter", 1),
    "interpreter-2": Client("interpreter", 2),
    "compiled-1": Client("compiled", 1),
    "compiled-2": Client("compiled", 2),
    "gpu": Client("gpu", 2),
    "openvino": Client("openvino", 2, "openvino", one_signature=True),
}


def run_client(folder, runtime, path, cases, threads=2):
    """Returns a client's results.

    Raises:
      RuntimeError: if its process fails, with what that wrote to stderr.
    """
    return run_clients(folder, runtime, {path: cases}, threads)[path]


def run_clients(folder, runtime, cases_by_path, threads=2):
    """Runs several files in one process; returns {path: results}.

    Raises:
      RuntimeError: if the process fails, with what it wrote to stderr.
    """
    environment = dict(os.environ)
    if runtime == "gpu":
        need(VULKAN_DRIVER)
        # The newer name, and the one that loaders before 1.3.207 know.
        environment |= {"VK_DRIVER_FILES": VULKAN_DRIVER, "VK_ICD_FILENAMES": VULKAN_DRIVER}
    command, outputs = [sys.executable, client_runs.__file__, runtime, threads], {}
    for number, (path, cases) in enumerate(cases_by_path.items()):
        inputs, outputs[path] = folder / f"cases-{number}.npz", folder / f"results-{number}.npz"
        np.savez(inputs, **cases)
        command += [path, inputs, outputs[path]]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"{runtime} ended with code {done.returncode}: {done.stderr[-4000:]}")
    if runtime == "gpu":
        assert "backend=Vulkan" in done.stderr
    results = {}
    for path, output in outputs.items():
        with np.load(output) as arrays:
            results[path] = dict(arrays)
    return results


def psnr_db(restored, expected):
    """Returns the PSNR over all pixels of all pictures, key by key."""
    errors, count = 0.0, 0
    for key, picture in expected.items():
        assert restored[key].shape == picture.shape, key
        assert restored[key].dtype == np.float32, key
        errors += np.sum((restored[key].astype(np.float64) - picture) ** 2)
        count += picture.size
    return math.inf if errors == 0 else -10 * math.log10(errors / count)


@pytest.fixture(scope="session")
def published(exported, run, train, script, tmp_path_factory):
    """Exports a network once: name to folder, manifest, Keras model and a held-out picture."""
    described = {}

    def describe(network):
        if network in described:
            return described[network]
        folder, run_folder = exported.folder, run.folder
        if network == "unet":
            # Skip connections, three channels, and a divisor of 4.
            out = tmp_path_factory.mktemp("clients")
            run_folder = out / "run"
            train(
                *("--network", "unet", "--size", "tiny", "--task", "denoise"),
                *("--epochs", 1, "--steps-per-epoch", 20, "--run-dir", run_folder),
            )
            with gates.in_this_process():
                script("export.py", run_folder, "--out", out)
            folder = out / "denoise-unet"
        described[network] = types.SimpleNamespace(
            run=run_folder,
            folder=folder,
            manifest=json.loads((folder / "manifest.json").read_text()),
            model=run_folders.load_model(run_folder / run_folders.MODEL_FILE),
            picture=run_folders.load_samples(run_folder / run_folders.SAMPLES_FILE).degraded[0],
        )
        return described[network]

    return describe


def restore_with_keras(model, cases):
    how = model.manifest["divisor"], model.manifest["scale"]
    return {
        key: np.stack([restorer.restore_picture(model.model, image, *how) for image in batch])
        for key, batch in cases.items()
    }


def any_size_cases(model):
    """Returns pictures of sizes that a service meets, the last one a batch."""
    sizes = ((1, 1, 1), (1, 37, 53), (1, 61, 2), (2, 64, 64))
    return {
        f"serving_default|{number}": np.stack([convert.fit(model.picture, size)] * count)
        for number, (count, *size) in enumerate(sizes)
    }


# ---- TFLite files ----


@pytest.mark.parametrize("network", NETWORKS)
def test_every_published_tflite_file_is_tried_here(published, network):
    manifest = published(network).manifest
    files = [entry["file"] for entry in manifest["files"] if entry["file"].endswith(".tflite")]
    assert files == [f"tflite/{manifest['name']}-{variant}.tflite" for variant in VARIANTS]


@pytest.fixture(scope="module")
def restored_by(published, tmp_path_factory):
    """Runs all variants of a network in a client's process, once: variant to results and PSNR."""
    known, expected_by_network = {}, {}

    def run(network, client):
        if (network, client) in known:
            return known[network, client]
        how, model = CLIENTS[client], published(network)
        cases_by_path, expected = {}, expected_by_network.setdefault(network, {})
        for variant in VARIANTS:
            path = model.folder / "tflite" / f"{model.manifest['name']}-{variant}.tflite"
            names = flatbuffer.signature_names(TfliteFile(path.read_bytes()))
            assert len(names) == 2
            cases_by_path[path] = cases = {}
            for name in names[:1] if how.one_signature else names:
                size = tuple(map(int, re.fullmatch(r"restore_(\d+)x(\d+)", name).groups()))
                cases[f"{name}|0"] = convert.fit(model.picture, size)[np.newaxis]
            missing = {key: case for key, case in cases.items() if key not in expected}
            expected |= restore_with_keras(model, missing)
        folder = tmp_path_factory.mktemp(f"{network}-{client}")
        results = run_clients(folder, how.runtime, cases_by_path, how.threads)
        known[network, client] = {
            variant: (found, psnr_db(found, {key: expected[key] for key in cases_by_path[path]}))
            for variant, (path, found) in zip(VARIANTS, results.items())
        }
        return known[network, client]

    return run


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_client_gives_the_picture_of_keras(published, restored_by, network, variant, client):
    need(CLIENTS[client].module)
    manifest = published(network).manifest
    results, restored = restored_by(network, client)[variant]
    file = f"tflite/{manifest['name']}-{variant}.tflite"
    entry = next(e for e in manifest["files"] if e["file"] == file)
    print(f"{network}, {variant}, {client}: {restored:.1f} dB")
    assert restored >= entry["parity"]["floor_db"]
    if CLIENTS[client].one_signature:
        # On the day this is 2, `one_signature` can go.
        assert results["inputs"] == 1


@pytest.mark.parametrize("profile", ["gpu", "web"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_gpu_refuses_no_operator_of_files_made_for_it(published, network, profile, tmp_path):
    model = published(network)
    size = (64, 64)
    cases = {"restore_64x64|0": convert.fit(model.picture, size)[np.newaxis]}
    contents = converted(
        model.model,
        parse_variants(None, profile),
        [size],
        run_folders.load_samples(model.run / run_folders.SAMPLES_FILE).calibration,
        divisor=model.manifest["divisor"],
        scale=model.manifest["scale"],
        keep_relu=PROFILES[profile].keep_relu,
        phased=PROFILES[profile].phased,
    )
    paths = {variant: tmp_path / f"{variant}.tflite" for variant in contents}
    for variant, content in contents.items():
        paths[variant].write_bytes(content)
    results = run_clients(tmp_path, "gpu", dict.fromkeys(paths.values(), cases))
    expected = restore_with_keras(model, cases)
    for variant, path in paths.items():
        restored = psnr_db(results[path], expected)
        print(f"{network}, {variant}, gpu, --profile {profile}: {restored:.1f} dB")
        assert restored >= VARIANTS[variant].floor_db


@pytest.fixture
def fused(exported, tmp_path):
    """The article's network as TensorFlow's converter leaves it, a case, and Keras's answer.

    Its relu is fused into TRANSPOSE_CONV, which makes that version 4. Each bias is lowered, so that
    the relu has something to cut off, as it has in a network that was trained for long.
    """
    model = to_float32(exported.model)
    for layer in model.layers:
        if "deconv" in layer.name:
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, bias - 0.1])
    with pipeline.files.silent_stderr():
        convert._write_static_signatures(model, tmp_path / "fused", [(28, 28)], 2, 1)
        content = convert._convert_float(
            str(tmp_path / "fused"), "float32", ["restore_28x28"]
        ).content
    assert "TRANSPOSE_CONV v4" in tflite_file.TfliteFile(content).operator_counts()
    image = exported.samples.calibration[:1, :28, :28]
    paths = {"fused": tmp_path / "fused.tflite", "split": tmp_path / "split.tflite"}
    paths["fused"].write_bytes(content)
    paths["split"].write_bytes(portable(content))
    return types.SimpleNamespace(
        paths=paths,
        cases={"restore_28x28|0": image},
        expected={"restore_28x28|0": np.asarray(model(image))},
    )


# Why relu is an operator of its own in the files: docs/decisions/0004-exports.md. Should one of
# these begin to fail, an upstream fault is mended, and that runtime no longer needs the rewrite.


def test_a_fused_relu_is_refused_by_the_gpu(fused, tmp_path):
    need("ai_edge_litert")
    refusal = "TRANSPOSE_CONV: Max version supported: 3. Requested version 4"
    with pytest.raises(RuntimeError, match=refusal):
        run_client(tmp_path, "gpu", fused.paths["fused"], fused.cases)
    results = run_client(tmp_path, "gpu", fused.paths["split"], fused.cases)
    assert psnr_db(results, fused.expected) >= 110


def test_a_fused_relu_is_dropped_by_openvino(fused, tmp_path):
    need("openvino")
    results = run_client(tmp_path, "openvino", fused.paths["fused"], fused.cases)
    assert psnr_db(results, fused.expected) < 30
    results = run_client(tmp_path, "openvino", fused.paths["split"], fused.cases)
    assert psnr_db(results, fused.expected) >= 110


# ---- SavedModel and ONNX ----


@pytest.mark.parametrize("network", NETWORKS)
def test_openvino_reads_the_saved_model(published, network, tmp_path):
    need("openvino")
    model = published(network)
    cases = any_size_cases(model)
    results = run_client(tmp_path, "openvino", model.folder / "1", cases)
    restored = psnr_db(results, restore_with_keras(model, cases))
    print(f"{network}, SavedModel, openvino: {restored:.1f} dB")
    assert restored >= 120


@pytest.fixture(scope="session")
def onnx_file(published, script, tmp_path_factory):
    """Exports a network's ONNX file once."""
    made = {}

    def make(network):
        for module in ("onnx", "onnxruntime", "tf2onnx"):
            need(module)
        if network not in made:
            out = tmp_path_factory.mktemp("onnx")
            options = ("--onnx", "--variants", "float32", "--sizes", 32, "--name", "model")
            with gates.in_this_process():
                script("export.py", published(network).run, "--out", out, *options)
            made[network] = out / "model" / "onnx" / "model.onnx"
        return made[network]

    return make


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_onnx_file_gives_the_picture_of_keras(published, onnx_file, network, runtime, tmp_path):
    need(runtime)
    model = published(network)
    cases = any_size_cases(model)
    results = run_client(tmp_path, runtime, onnx_file(network), cases)
    restored = psnr_db(results, restore_with_keras(model, cases))
    print(f"{network}, ONNX, {runtime}: {restored:.1f} dB")
    assert restored >= 100


@pytest.mark.parametrize("runtime", ["cv2", "tract"])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_onnx_file_of_one_size_runs_where_that_of_any_does_not(
    published, onnx_file, network, runtime, tmp_path
):
    need(runtime)
    model = published(network)
    cases = {"serving_default|0": convert.fit(model.picture, (32, 32))[np.newaxis]}
    path = tmp_path / "model.onnx"
    shutil.copy(onnx_file(network).with_name("model-32x32.onnx"), path)
    results = run_client(tmp_path, runtime, path, cases)
    restored = psnr_db(results, restore_with_keras(model, cases))
    print(f"{network}, ONNX of 32x32, {runtime}: {restored:.1f} dB")
    assert restored >= 100
    if runtime == "cv2":
        # On the day this fails, it no longer needs a file of its own.
        shutil.copy(onnx_file(network), path)
        with pytest.raises(RuntimeError):
            run_client(tmp_path, runtime, path, cases)


# ---- The C program ----

CProgram = collections.namedtuple("CProgram", "run path")


def build_c_program(repository, folder, **variables):
    need("make")
    need("cc")
    for name in ("restore.c", "Makefile"):
        shutil.copy(repository / "examples" / "c" / name, folder)
    options = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "-C", str(folder), f"PYTHON={sys.executable}", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    def run(*arguments):
        command = [str(folder / "restore"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        # TensorFlow's libraries write lines of their own, two of them before main().
        lines = [line for line in done.stderr.splitlines() if line.startswith("restore: ")]
        return types.SimpleNamespace(code=done.returncode, lines=lines, all=done.stderr)

    return CProgram(run, folder / "restore")


@pytest.fixture(scope="session")
def c_program(repository, tmp_path_factory):
    return build_c_program(repository, tmp_path_factory.mktemp("c"))


@pytest.fixture
def pictures(tmp_path):
    """A PNG and a JPEG of an odd size."""
    x, y = np.meshgrid(np.linspace(0, 1, 53), np.linspace(0, 1, 37))
    pixels = (255 * np.stack([x, y, (x + y) / 2], -1)).astype(np.uint8)
    paths = tmp_path / "picture.png", tmp_path / "picture.jpg"
    for path in paths:
        Image.fromarray(pixels).save(path)
    return paths


@pytest.mark.parametrize("network", NETWORKS)
def test_the_c_program_gives_every_bit_of_pythons_floats(published, c_program, network, tmp_path):
    model = published(network)
    # As many threads as the C program takes: one for each processor.
    cases = {"serving_default|0": convert.fit(model.picture, (37, 53))[np.newaxis]}
    results = run_client(tmp_path, "tensorflow", model.folder / "1", cases, threads=0)
    (image,), (expected,) = cases.values(), results.values()
    given, restored = tmp_path / "in.f32", tmp_path / "out.f32"
    image.astype("<f4").tofile(given)
    done = c_program.run(model.folder / "1", "--floats", *image.shape[1:], given, restored)
    assert done.code == 0, done.all
    assert restored.read_bytes() == expected.astype("<f4").tobytes()


def test_the_c_program_gives_every_byte_of_pythons_pictures(
    published, c_program, pictures, repository, tmp_path
):
    model = published("article").folder / "1"
    for picture in pictures:
        done = c_program.run(model, picture, tmp_path / "c.png")
        assert done.code == 0, done.all
        command = [sys.executable, repository / "examples" / "serve_python.py"]
        subprocess.run(
            [*map(str, command), model, picture, tmp_path / "python.png"],
            check=True,
            capture_output=True,
        )
        assert (tmp_path / "c.png").read_bytes() == (tmp_path / "python.png").read_bytes()


def test_the_manifest_names_the_tensors_that_the_c_program_finds(
    published, c_program, pictures, tmp_path
):
    model = published("article")
    tensors = model.manifest["graph_tensors"]["serve_bytes"]
    names = (
        *("--input", tensors["inputs"]["image_bytes"]),
        *("--output", tensors["outputs"]["restored_bytes"]),
    )
    for options, file in (((), "found.png"), (names, "named.png")):
        done = c_program.run(model.folder / "1", *options, pictures[0], tmp_path / file)
        assert done.code == 0, done.all
    assert (tmp_path / "found.png").read_bytes() == (tmp_path / "named.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("MODEL", "FOLDER/none.png", "OUT"), 1, "none.png: No such file"),
        (("MODEL", "FOLDER/text.png", "OUT"), 1, "neither PNG nor JPEG"),
        (("FOLDER", "FOLDER/picture.png", "OUT"), 1, "Could not find SavedModel"),
        (("MODEL", "FOLDER/picture.png", "FOLDER/none/out.png"), 1, "out.png: No such file"),
        (("MODEL", "--input", "x:0", "FOLDER/picture.png", "OUT"), 1, "has no tensor 'x:0'"),
        (("MODEL", "--floats", 1, 2, 1, "FOLDER/text.png", "OUT"), 1, "7 bytes, expected 8"),
        (("MODEL", "--floats", 1, 1, 2, "FOLDER/8.f32", "OUT"), 1, "received the shape] [1 1 1 2]"),
        (("MODEL", "--floats", 0, 2, 1, "FOLDER/8.f32", "OUT"), 2, None),
        (("MODEL", "FOLDER/picture.png"), 2, None),
        (("MODEL", "--what", "FOLDER/picture.png", "OUT"), 2, None),
        ((), 2, None),
    ],
)
def test_the_c_program_tells_in_one_line_what_is_wrong(
    published, c_program, pictures, tmp_path, arguments, code, expected
):
    (tmp_path / "text.png").write_text("no more")
    (tmp_path / "8.f32").write_bytes(bytes(8))
    places = {"MODEL": published("article").folder / "1", "OUT": tmp_path / "out.png"}
    given = [places.get(part, str(part).replace("FOLDER", str(tmp_path))) for part in arguments]
    done = c_program.run(*given)
    assert done.code == code, done.all
    assert not (tmp_path / "out.png").exists()
    if code == 2:
        assert "usage: restore SAVED_MODEL_DIR" in done.all
    else:
        assert len(done.lines) == 1
        assert expected in done.lines[0]


def test_the_c_program_leaks_nothing_and_stays_in_its_memory(
    published, repository, pictures, tmp_path
):
    checks = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    program = build_c_program(repository, tmp_path, CFLAGS=checks)
    model, given = published("article").folder / "1", tmp_path / "in.f32"
    given.write_bytes(bytes(4 * 35))
    for arguments, code in (
        ((pictures[0], tmp_path / "out.png"), 0),
        (("--floats", 5, 7, 1, given, tmp_path / "out.f32"), 0),
        ((given, tmp_path / "out.png"), 1),
    ):
        done = program.run(model, *arguments)
        assert done.code == code, done.all
        assert "Sanitizer" not in done.all
