"""The programs of examples/ in other languages, built as examples/README.md says, against Keras.

What they read lies in a folder without this project: a shipped SavedModel, which gives every bit of
Keras's picture (its manifest says so), or an ONNX export of the same model.
"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import types

import numpy as np
import pytest
from PIL import Image

from benchmarks import aarch64, web_runtimes
from tests.clients.test_clients import TIMEOUT_S, need
from tests.fixtures import browsers
from tf_deconv.inference import shipped

pytestmark = pytest.mark.clients

MODEL = "photo-small"
SIZE = 128  # Of the ONNX file and of the square picture.
OPENCV_JAR = "/usr/share/java/opencv.jar"


def run(*command, folder=None, **variables):
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=folder,
        env=os.environ | {name: str(value) for name, value in variables.items()},
        check=False,
    )


def build(*command, folder=None, **variables):
    need(command[0])
    done = run(*command, folder=folder, **variables)
    assert done.returncode == 0, done.stderr


def read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), int)


@pytest.fixture(scope="module")
def given(tmp_path_factory, script):
    """A shipped folder and its ONNX files, pictures, and what Keras makes of them."""
    import tensorflow as tf

    for module in ("onnx", "onnxruntime", "tf2onnx"):
        need(module)
    folder = tmp_path_factory.mktemp("programs")
    options = ("--onnx", "--variants", "float32", "--sizes", SIZE)
    script("export.py", MODEL, "--out", folder / "exported", *options)
    source = shipped.find(MODEL)
    shutil.copytree(source / "1", folder / "model" / "1")
    for formats in ("onnx", "tflite"):
        shutil.copytree(folder / "exported" / MODEL / formats, folder / "model" / formats)
    shutil.copy(folder / "exported" / MODEL / "manifest.json", folder / "model")
    entry = json.loads((source / "manifest.json").read_text())["files"][0]
    assert entry["file"] == "1/"
    assert entry["parity"]["exact"]

    restore = tf.saved_model.load(str(folder / "model" / "1")).signatures["serving_default"]
    y, x = np.mgrid[:200, :272] / 272
    clean = np.stack([x, y, (np.sin(40 * x * y) + 1) / 2], -1)
    noisy = clean + np.random.default_rng(5).normal(0, 0.06, clean.shape)
    noisy = np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8)
    expected, pictures = (
        {},
        {"square": noisy[:SIZE, :SIZE], "odd": noisy[:151, :213], "video": noisy},
    )
    for name, picture in pictures.items():
        for kind in ("png", "ppm"):
            Image.fromarray(picture).save(folder / f"{name}.{kind}")
        image = tf.constant(picture[np.newaxis] / np.float32(255))
        restored = restore(image=image)["restored"].numpy()[0]
        expected[name] = np.rint(255 * np.clip(restored, 0, 1)).astype(int)
    square = noisy[np.newaxis, :SIZE, :SIZE] / np.float32(255)
    return types.SimpleNamespace(
        folder=folder,
        saved_model=folder / "model" / "1",
        onnx=folder / "model" / "onnx" / f"{MODEL}.onnx",
        one_size=folder / "model" / "onnx" / f"{MODEL}-{SIZE}x{SIZE}.onnx",
        overlap=json.loads((folder / "model" / "manifest.json").read_text())["tile_overlap"],
        expected=expected,
        image=square,
        restored=restore(image=tf.constant(square))["restored"].numpy(),
    )


def assert_keras_picture(given, program, name, path, inner=0):
    """Compares bytes. A float error of 1e-7 moves a few of 100,000 over the half between two."""
    inside = slice(inner, -inner or None)
    expected = given.expected[name]
    restored = read(path)
    assert restored.shape == expected.shape
    errors = (restored - expected)[inside, inside]
    mean = np.mean((errors / 255) ** 2)
    psnr_db = math.inf if mean == 0 else -10 * math.log10(mean)
    print(
        f"{program}, {name}: {psnr_db:.1f} dB, {np.count_nonzero(errors)} of {errors.size} differ"
    )
    assert np.abs(errors).max() <= 1
    assert psnr_db >= 90


def assert_one_line(done, program, expected):
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith(f"{program}: ")]
    assert len(lines) == 1, done.stderr
    assert expected in lines[0]
    assert "\n" not in done.stderr.strip()


def assert_works(given, run_program, name, label, model, kind="png", tiled=False):
    """A picture of the file's size, one of another, and three mistakes."""
    assert not tiled or 2 * given.overlap < SIZE
    target = given.folder / f"{label}.{kind}"
    for picture in ("square", "odd"):
        done = run_program(model, given.folder / f"{picture}.{kind}", target)
        assert done.returncode == 0, done.stderr
        # A tile sees the picture's mirror image where the whole picture has zeros.
        inner = given.overlap if tiled and picture == "odd" else 0
        assert_keras_picture(given, label, picture, target, inner)
    manifest = given.folder / "model" / "manifest.json"
    nowhere = given.folder / f"none-{SIZE}x{SIZE}.onnx"
    picture = given.folder / f"square.{kind}"
    assert_one_line(run_program(model, manifest, target), name, "")
    assert_one_line(run_program(nowhere, picture, target), name, "")
    assert_one_line(run_program(model, picture, given.folder / "none" / f"a.{kind}"), name, "")
    done = run_program(model)
    assert done.returncode == 2
    assert "usage: " in done.stderr


@pytest.fixture(scope="module")
def openvino():
    """Where its C library lies, and the options that link it."""
    need("openvino")
    import openvino

    folder = pathlib.Path(openvino.__path__[0])
    (library,) = (folder / "libs").glob("libopenvino_c.so.*")
    return types.SimpleNamespace(
        include=f"-I{folder / 'include'}",
        library=library,
        rpath=f"-Wl,-rpath,{folder / 'libs'}",
    )


def test_cpp_with_opencv(given, repository, tmp_path):
    need("/usr/include/opencv4/opencv2/dnn.hpp")
    modules = [f"-lopencv_{module}" for module in ("core", "dnn", "imgcodecs", "imgproc")]
    source = repository / "examples" / "opencv" / "restore.cpp"
    options = ("-Wall", "-Wextra", "-Werror", "-I/usr/include/opencv4")
    build("g++", *options, source, "-o", tmp_path / "restore", *modules)

    def program(*arguments):
        return run(tmp_path / "restore", *arguments)

    assert_works(given, program, "restore", "opencv-cpp", given.one_size, tiled=True)
    done = program(given.onnx, given.folder / "square.png", tmp_path / "out.png")
    assert_one_line(done, "restore", "nothing there that matches")


def test_java_with_opencv(given, repository, tmp_path):
    need(OPENCV_JAR)
    source = repository / "examples" / "opencv" / "Restore.java"
    build("javac", "-cp", OPENCV_JAR, "-d", tmp_path, source)
    start = (
        "java",
        "-cp",
        f"{tmp_path}:{OPENCV_JAR}",
        "-Djava.library.path=/usr/lib/jni",
        "Restore",
    )
    assert_works(
        given,
        lambda *paths: run(*start, *paths),
        "Restore",
        "opencv-java",
        given.one_size,
        tiled=True,
    )


@pytest.fixture(scope="module")
def go_program(repository, openvino, tmp_path_factory):
    folder = tmp_path_factory.mktemp("go")
    source = repository / "examples" / "openvino" / "restore.go"
    build(
        *("go", "build", "-o", folder / "restore", source),
        CGO_CFLAGS=openvino.include,
        CGO_LDFLAGS=f"{openvino.library} {openvino.rpath}",
        GOCACHE=folder / "cache",
    )
    return lambda *paths: run(folder / "restore", *paths)


@pytest.fixture(scope="module")
def rust_program(repository, openvino, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rust")
    source = repository / "examples" / "openvino" / "restore.rs"
    link = (f"link-arg={openvino.library}", "-C", f"link-arg={openvino.rpath}")
    build("rustc", "-D", "warnings", source, "-o", folder / "restore", "-C", *link)
    return lambda *paths: run(folder / "restore", *paths)


def test_go_with_openvino(given, go_program):
    assert_works(given, go_program, "restore", "openvino-go", given.saved_model)


def test_rust_with_openvino(given, rust_program):
    assert_works(given, rust_program, "restore", "openvino-rust", given.saved_model, "ppm")


@pytest.mark.parametrize("name", ["denoise-grey", "super-resolve-x4"])
def test_go_and_rust_take_grey_pictures_and_enlarge(name, go_program, rust_program, tmp_path):
    import tensorflow as tf

    saved_model = shipped.find(name) / "1"
    channels = 1 if name == "denoise-grey" else 3
    picture = np.random.default_rng(1).integers(0, 256, (37, 53, channels), np.uint8)
    restore = tf.saved_model.load(str(saved_model)).signatures["serving_default"]
    image = tf.constant(picture[np.newaxis] / np.float32(255))
    restored = restore(image=image)["restored"].numpy()[0]
    expected = np.rint(255 * np.clip(restored, 0, 1)).astype(int)
    for program, kind in ((go_program, "png"), (rust_program, "pgm" if channels == 1 else "ppm")):
        given, target = tmp_path / f"given.{kind}", tmp_path / f"restored.{kind}"
        Image.fromarray(picture.squeeze()).save(given)
        done = program(saved_model, given, target)
        assert done.returncode == 0, done.stderr
        errors = np.abs(read(target) - expected)
        assert errors.max() <= 1
        assert np.count_nonzero(errors) <= 10


def test_node_with_onnxruntime(given, repository, tmp_path):
    need("npm")
    for name in ("restore.js", "package.json"):
        shutil.copy(repository / "examples" / "node" / name, tmp_path)
    build("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", folder=tmp_path)

    def program(*arguments):
        return run("node", tmp_path / "restore.js", *arguments)

    assert_works(given, program, "restore", "onnxruntime-node", given.onnx)
    done = program(given.one_size, given.folder / "square.png", tmp_path / "out.png")
    assert_one_line(done, "restore", "takes no grey or colour picture of any size")


@pytest.fixture(scope="module")
def video_plugin(repository, openvino, tmp_path_factory):
    need("/usr/include/frei0r.h")
    folder = tmp_path_factory.mktemp("frei0r")
    build(
        *("gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", openvino.include),
        *(repository / "examples" / "video" / "tf_deconv.c", "-o", folder / "tf_deconv.so"),
        *(openvino.library, openvino.rpath, "-lm"),
    )
    return folder


@pytest.fixture(params=["ffmpeg", "gst-launch-1.0"])
def player(request, given, video_plugin):
    """Runs one picture through a player; a width may be padded before and cut off behind."""
    need(request.param)

    def through_ffmpeg(source, model, target, width=None):
        frei0r = f"frei0r=tf_deconv:{model}"
        if width:
            frei0r = f"pad=ceil(iw/16)*16:ih,{frei0r},crop={width}:ih:0:0"
        options = ("-v", "error", "-y", "-i", source, "-vf", frei0r, "-pix_fmt", "rgb24", target)
        return run("ffmpeg", *options, FREI0R_PATH=video_plugin)

    def through_gstreamer(source, model, target, width=None):
        return run(
            *("gst-launch-1.0", "-q", "filesrc", f"location={source}", "!", "pngdec"),
            *("!", "videoconvert", "!", "frei0r-filter-tf-deconv", f"model={model}"),
            *("!", "videoconvert", "!", "pngenc", "!", "filesink", f"location={target}"),
            FREI0R_PATH=video_plugin,
            GST_REGISTRY=given.folder / "gstreamer.bin",
        )

    return request.param, {"ffmpeg": through_ffmpeg}.get(request.param, through_gstreamer)


def test_players_with_openvino(given, player, tmp_path):
    name, through = player
    target = tmp_path / "out.png"
    done = through(given.folder / "video.png", given.saved_model, target)
    assert done.returncode == 0, done.stderr
    assert_keras_picture(given, name, "video", target)

    done = through(given.folder / "video.png", tmp_path / "none", target)
    assert "tf_deconv: " in done.stderr
    assert not read(target).any()

    done = through(given.folder / "odd.png", given.saved_model, target)
    assert "tf_deconv: frames are 213 wide, expected a multiple of 16" in done.stderr
    assert not read(target).any()
    if name == "ffmpeg":
        done = through(given.folder / "odd.png", given.saved_model, target, width=213)
        assert done.returncode == 0, done.stderr
        restored = read(target)[:, : -given.overlap]  # The padding is black, and seen.
        assert np.abs(restored - given.expected["odd"][:, : -given.overlap]).max() <= 1


@pytest.mark.parametrize(
    "runtimes",
    [("litert", "onnxruntime"), pytest.param(("tfjs", "tfjsTflite"), marks=pytest.mark.exhaustive)],
    ids="-".join,
)
def test_runtimes_in_a_browser(given, runtimes, tmp_path):
    browsers.need_browser()
    size = f"{SIZE}x{SIZE}"
    contenders = {
        "LiteRT.js": ("litert", f"model/tflite/{MODEL}-float32.tflite"),
        "onnxruntime-web, any size": ("onnxruntime", f"model/onnx/{MODEL}.onnx", False),
        "onnxruntime-web, one size": ("onnxruntime", f"model/onnx/{MODEL}-{size}.onnx", True),
        "TensorFlow.js": ("tfjs", "tfjs/model.json"),
        "tfjs-tflite": ("tfjsTflite", f"model/tflite/{MODEL}-float32.tflite"),
    }
    contenders = {name: words for name, words in contenders.items() if words[0] in runtimes}
    (tmp_path / "model").symlink_to(given.folder / "model")
    web_runtimes.install(
        tmp_path, web_runtimes.NPM[2:] if "tfjs" in runtimes else web_runtimes.NPM[:2]
    )
    if "tfjs" in runtimes:
        web_runtimes.convert(given.saved_model, tmp_path / "tfjs", tmp_path / "python")
    results = web_runtimes.measure(tmp_path, contenders, given.image, rounds=1)
    for name, result in results.items():
        assert not isinstance(result, str), f"{name}: {result}"
        psnr_db = web_runtimes.psnr_db(result[1], given.restored)
        print(f"{name}: {psnr_db:.1f} dB")
        assert psnr_db >= 110


@pytest.mark.exhaustive
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_aarch64_gives_the_picture_of_keras(variant, arm64):
    manifest = json.loads((shipped.find(MODEL) / "manifest.json").read_text())
    file = f"tflite/{MODEL}-{variant}.tflite"
    entry = next(entry for entry in manifest["files"] if entry["file"] == file)
    there, here, between, share = aarch64.compare(shipped.find(MODEL) / file, arm64, "cortex-a76")
    print(f"{file}: aarch64 {there:.1f} dB, here {here:.1f}, between {between:.1f}, {share:.2%}")
    assert there >= entry["parity"]["floor_db"]


@pytest.fixture(scope="module")
def arm64(tmp_path_factory):
    for program in ("qemu-aarch64-static", "apt-get"):
        need(program)
    folder = tmp_path_factory.mktemp("aarch64") / "arm64"
    aarch64.fetch(folder)
    return folder
