"""The least TensorFlow Lite that a file tells, by rule and in TensorFlow Lite 2.14."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.fixtures import tiny_generators
from tests.fixtures.tflite_files import converted
from tf_deconv.exporting.saved_model import generator as saved_generator
from tf_deconv.exporting.tflite import versions
from tf_deconv.exporting.variants import VARIANTS
from tf_deconv.inference import restorer
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.networks.unet import build_unet

# Python 3.11 is the last that its wheels are for, and it was built for NumPy 1.
OLD = "tflite-runtime==2.14.0", "numpy<2"
RUN_OLD = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
path, signature, given, restored = sys.argv[1:]
runner = Interpreter(path).get_signature_runner(signature)
image, details = np.load(given), runner.get_input_details()["image"]
if details["dtype"] is np.int8:
    image = (np.rint(image * 255) - 128).astype(np.int8)
result, details = runner(image=image)["restored"], runner.get_output_details()["restored"]
if details["dtype"] is np.int8:
    scale, zero = details["quantization"]
    result = (result.astype(np.float32) - zero) * np.float32(scale)
np.save(restored, result)
"""


def note(content):
    model = TfliteFile(content).model
    (entry,) = [entry for entry in model.metadata if entry.name == b"min_runtime_version"]
    return bytes(model.buffers[entry.buffer].data).rstrip(b"\0").decode()


def test_manifest_card_and_file_tell_the_least_runtime(exported):
    # The converter's note of the dynamic file said 2.1.0; before 2.17 it is refused.
    expected = {
        "float32": "2.3.0",
        "float16": "2.3.0",
        "int8-weights": "2.7.0",
        "dynamic": "2.17.0",
        "int8": "2.3.0",
        "int8-full": "2.3.0",
    }
    files = json.loads((exported.folder / "manifest.json").read_text())["files"]
    told = {entry["file"]: entry.get("least_runtime") for entry in files}
    for variant in VARIANTS:
        assert told[f"tflite/{exported.tflite(variant).name}"] == expected[variant]
        assert note(exported.tflite(variant).read_bytes()) == expected[variant]
    assert told["1/"] is None
    card = " ".join((exported.folder / "README.md").read_text().split())
    assert (
        "at least 2.3.0 (float32, float16, int8, int8-full), 2.7.0 (int8-weights), 2.17.0 (" in card
    )


@pytest.fixture(scope="module")
def unphased():
    """Files of a U-Net as --profile gpu makes them: its transposed convolutions stay."""
    x, y = np.meshgrid(np.linspace(0, 1, 32), np.linspace(0, 1, 32))
    pictures = np.stack([x, y, (x + y) / 2], -1).astype(np.float32)[np.newaxis]
    model = build_unet(None, None, size="tiny")
    how = dict(divisor=4, scale=1, keep_relu=True, phased=False)
    return converted(model, ["dynamic", "int8"], [(32, 32)], pictures, **how)


@pytest.mark.parametrize("variant", ["dynamic", "int8"])
def test_int8_of_a_u_net_needs_no_new_runtime(unphased, variant):
    # Its transposed convolutions found ranges while they ran: TensorFlow Lite 2.17.
    file = TfliteFile(unphased[variant])
    assert versions.least_runtime(file) == "2.7.0"
    assert any(name.startswith("TRANSPOSE_CONV") for name in file.operator_counts())


def test_dense_layers_of_a_flow_do_not_find_ranges_while_they_run(tmp_path):
    # TensorFlow Lite 2.14 took the first channel's scale for all, without an error: 20 dB.
    import keras

    path = tiny_generators.write(tmp_path / "flow.keras", "flow")
    facts = tiny_generators.GeneratorSpec("flow", 8, 8, 1, 0)
    how = dict(keep_relu=True, phased=False)
    made = saved_generator.convert(keras.models.load_model(path), facts, ["dynamic"], **how)
    assert versions.least_runtime(made["dynamic"]) == "2.7.0"


@pytest.fixture(scope="session")
def old_runtime(tmp_path_factory):
    """Runs a signature in TensorFlow Lite 2.14; returns the result, or what it wrote to stderr."""
    if sys.version_info[:2] > (3, 11):
        pytest.skip("tflite-runtime 2.14 has no wheel for this Python")
    folder = tmp_path_factory.mktemp("tflite-2.14")
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", folder / "lib", *OLD]
    if subprocess.run(command, capture_output=True).returncode:
        needed = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if needed else pytest.skip)(f"pip does not install {OLD[0]}")

    def run(path, signature, image):
        given, restored = folder / "given.npy", folder / "restored.npy"
        np.save(given, image)
        restored.unlink(missing_ok=True)
        command = [sys.executable, "-c", RUN_OLD, path, signature, given, restored]
        environment = {**os.environ, "PYTHONPATH": str(folder / "lib")}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.stderr if done.returncode else np.load(restored)

    return run


@pytest.mark.clients
@pytest.mark.parametrize("variant", VARIANTS)
def test_tensorflow_lite_2_14_runs_the_files_that_say_so(exported, old_runtime, variant):
    image = exported.samples.calibration[:1, :28, :28]
    path = exported.tflite(variant)
    restored = old_runtime(path, "restore_28x28", image)
    if variant == "dynamic":
        assert "failed to prepare" in restored
        return
    expected = restorer.restore_picture(exported.model, image[0], 2)
    error = float(np.mean((restored[0].astype(np.float64) - expected) ** 2))
    assert -10 * np.log10(error) >= VARIANTS[variant].floor_db - 3
