"""Exports of networks for films in runtimes of two inputs, streamed as docs/video.md says."""

import json
import types

import numpy as np
import pytest

from tests.clients.test_clients import need
from tests.fixtures import commands, gates
from tf_deconv.exporting import golden
from tf_deconv.images import metrics
from tf_deconv.inference import run_folder
from tf_deconv.inference.streaming import keras_cell, restore_clip

pytestmark = pytest.mark.clients

OPTIONS = ("--network", "video", "--task", "denoise", "--size", "tiny", "--frames", 3)
OPTIONS += ("--patch-size", 32, "--steps-per-epoch", 4, "--learning-rate", 0.01, "--epochs", 1)


@pytest.fixture(scope="module")
def film_export(train, script, made_once):
    for module in ("onnx", "onnxruntime", "tf2onnx"):
        need(module)

    def make(folder):
        train("--run-dir", folder / "run", *OPTIONS)
        with gates.in_this_process():
            words = ("--sizes", "16,32", "--variants", "float32", "--name", "v", "--onnx")
            return script("export", folder / "run", "--out", folder, *words)

    folder, _ = made_once("video-with-onnx", make)
    return types.SimpleNamespace(run=folder / "run", folder=folder / "v")


@pytest.fixture(scope="module")
def restore(film_export):
    manifest = json.loads((film_export.folder / "manifest.json").read_text(encoding="utf-8"))
    model = run_folder.load_cell(film_export.run / "model.keras")
    cell = keras_cell(model, manifest["divisor"], manifest["receptive_field"] // 2)
    return lambda clip: restore_clip(cell, clip)


def stream_with_onnxruntime(path, clip, divisor, stride):
    """As a client writes it: frame and state in, restored frame and next state out."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    channels = session.get_inputs()[1].shape[3]
    sides = [-(-side // divisor) * divisor // stride for side in clip.shape[1:3]]
    state, restored = np.zeros((1, *sides, channels), np.float32), []
    for frame in clip:
        given = {"frame": frame[np.newaxis], "state": state}
        made, state = session.run(["restored", "next_state"], given)
        restored.append(made[0])
    return np.stack(restored)


@pytest.mark.parametrize("size", [(16, 16), (37, 53)])
def test_a_clip_streamed_by_onnxruntime_is_keras_clip_to_its_last_frame(film_export, restore, size):
    manifest = json.loads((film_export.folder / "manifest.json").read_text(encoding="utf-8"))
    random = np.random.default_rng(0)
    clip = np.clip(golden.clip(size, 3).repeat(5, axis=0), 0, 1)  # 40 frames.
    clip = (clip + random.normal(0, 0.1, clip.shape)).astype(np.float32)
    path = film_export.folder / "onnx" / "v.onnx"
    facts = manifest["divisor"], manifest["state"]["stride"]
    made, expected = stream_with_onnxruntime(path, clip, *facts), restore(clip)
    frames = [metrics.psnr_db(*pair) for pair in zip(made, expected)]
    print(f"{size}: {min(frames):.1f} dB at least")
    assert min(frames) >= 100


RUNTIMES = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "onnx-reference": ("onnx", "onnx"),
    "openvino": ("openvino", "onnx 1 tflite"),
    "litert": ("ai_edge_litert", "tflite"),
    "litert-compiled": ("ai_edge_litert", "tflite"),
    "tensorflow-lite": ("tensorflow", "tflite"),
    "tensorflow": ("tensorflow", "1"),
}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_verify_streams_the_known_clip(film_export, capsys, runtime):
    module, kinds = RUNTIMES[runtime]
    need(module)
    words = ("verify", film_export.folder, "--runtime", runtime, "--json")
    code, output, _ = commands.call(capsys, *words)
    rows = json.loads(output)["rows"]
    assert {(row["verdict"], row["against"]) for row in rows} == {("right", "golden/")}
    assert {row["file"].partition("/")[0] for row in rows} == set(kinds.split())
    assert code == 0
