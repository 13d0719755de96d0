"""Exported TFLite files on a phone's processor: LiteRT's aarch64 build under QEMU, against Keras.

    python benchmarks/aarch64.py saved_models/photo saved_models/super-resolve-x4

needs Debian 12 and its package `qemu-user-static`. Debian's arm64 Python and PyPI's aarch64 wheels
are fetched into a folder; nothing is installed. Each file restores one noisy picture of its first
signature's size in LiteRT on the emulated processor, and again in LiteRT here; Keras's picture is
the SavedModel's. A line for each file: PSNR in dB against Keras on either processor, PSNR between
the two, and which share of the values differs at all. Emulation takes up to two minutes a file.
"""

import argparse
import math
import pathlib
import platform
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

# Debian 12's, and the shared libraries of it and of the wheels.
PYTHON = "python3.11"
PACKAGES = (
    *(f"{PYTHON}-minimal", f"lib{PYTHON}-minimal", f"lib{PYTHON}-stdlib"),
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8"),
)
WHEELS = ("ai-edge-litert==2.3.0", "numpy==2.4.6")
# QEMU's name of a processor, and what /proc/cpuinfo calls it: without dot products, and with them.
PROCESSORS = {"cortex-a53": "0xd03", "cortex-a76": "0xd0b"}
# The cpuinfo library in LiteRT dies of the host's file, which QEMU would show.
PROC_CPUINFO = """processor\t: 0
Features\t: fp asimd
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 1
"""
RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

for path, given, target in zip(*[iter(sys.argv[1:])] * 3):
    interpreter = Interpreter(path, num_threads=1)
    restore = interpreter.get_signature_runner(min(interpreter.get_signature_list()))
    np.save(target, restore(image=np.load(given))["restored"])
"""


def fetch(folder: pathlib.Path) -> None:
    """Puts an arm64 Python with LiteRT into a folder, from the registries set up here."""
    state, cache, debs, wheels = (folder / name for name in ("state", "cache", "debs", "wheels"))
    for place in (state / "lists" / "partial", cache / "archives" / "partial", debs, wheels):
        place.mkdir(parents=True)
    (folder / "status").touch()  # Nothing is installed there.
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": state,
        "Dir::State::status": folder / "status",
        "Dir::Cache": cache,
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", *PACKAGES], check=True, cwd=debs)
    for deb in debs.iterdir():
        subprocess.run(["dpkg-deb", "-x", deb, folder / "root"], check=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    platforms = (f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28))
    version = PYTHON.removeprefix("python")
    subprocess.run(
        [*pip, *platforms, f"--python-version={version}", "-d", wheels, *WHEELS], check=True
    )
    for wheel in wheels.iterdir():
        zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "root" / "proc").mkdir()


def emulated(folder: pathlib.Path, processor: str) -> list[str]:
    """Returns the words that start the fetched Python."""
    root = folder / "root"
    part = PROCESSORS[processor]
    (root / "proc" / "cpuinfo").write_text(PROC_CPUINFO.format(part=part))
    variables = f"PYTHONPATH={folder / 'site'},OPENBLAS_CORETYPE=ARMV8"
    qemu = ["qemu-aarch64-static", "-cpu", processor, "-L", root, "-E", variables]
    return [*map(str, qemu), str(root / "usr" / "bin" / PYTHON)]


def first_size(path: str) -> tuple[int, ...]:
    """Returns (1, H, W, C) of the first signature by the alphabet."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)
    runner = interpreter.get_signature_runner(min(interpreter.get_signature_list()))
    return tuple(map(int, runner.get_input_details()["image"]["shape"]))


def noisy_picture(shape: tuple[int, ...]) -> np.ndarray:
    """Returns a photograph with noise of 15 levels, `shape` (1, H, W, C) float32 in [0, 1]."""
    from skimage import data

    _, height, width, channels = shape
    picture = data.astronaut()[:height, 100 : 100 + width, :channels] / 255
    noisy = picture + np.random.default_rng(0).normal(0, 15 / 255, picture.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)[np.newaxis]


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return math.inf if error == 0 else -10 * math.log10(error)


def keras_picture(model: str, image: np.ndarray) -> np.ndarray:
    """Returns the SavedModel's picture, which the export found equal to Keras's."""
    import tensorflow as tf

    restore = tf.saved_model.load(f"{model}/1").signatures["serving_default"]
    return restore(image=tf.constant(image))["restored"].numpy()


def compare(path: pathlib.Path, folder: pathlib.Path, processor: str) -> tuple[float, ...]:
    """Returns the three PSNR in dB and the share of values that differ.

    Args:
      path: `NAME/tflite/NAME-VARIANT.tflite`, beside which `NAME/1` lies.
      folder: What `fetch` filled.
      processor: A key of `PROCESSORS`.
    """
    image, pictures = noisy_picture(first_size(str(path))), []
    with tempfile.TemporaryDirectory() as scratch:
        given, target = (str(pathlib.Path(scratch, name)) for name in ("in.npy", "out.npy"))
        np.save(given, image)
        for start in (emulated(folder, processor), [sys.executable]):
            command = [*start, "-c", RUN, str(path), given, target]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{path} on {start[0]}: {done.stderr[-2000:]}")
            pictures.append(np.load(target))
    expected = keras_picture(str(path.parent.parent), image)
    against_keras = (psnr_db(picture, expected) for picture in pictures)
    return *against_keras, psnr_db(*pictures), float(np.mean(pictures[0] != pictures[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, help="with 1/ and tflite/")
    parser.add_argument("--variants", default="float32,float16,int8")
    parser.add_argument("--cpu", default="cortex-a76", choices=PROCESSORS)
    parser.add_argument("--cache", help="where the arm64 Python is kept; left out: removed after")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(options.cache or pathlib.Path(scratch, "arm64")).absolute()
        if not folder.exists():
            fetch(folder)
        print(f"{options.cpu}, {' '.join(WHEELS)}; here: {platform.machine()}")
        print(
            "file                            aarch64 dB   here dB  between dB  values that differ"
        )
        for model in options.models:
            for variant in options.variants.split(","):
                path = model / "tflite" / f"{model.name}-{variant}.tflite"
                if not path.is_file():
                    continue
                there, here, between, share = compare(path, folder, options.cpu)
                print(
                    f"{path.name:32}{there:10.1f}{here:10.1f}{between:12.1f}{share:12.2%}",
                    flush=True,
                )


if __name__ == "__main__":
    import outcome

    outcome.run(main)
