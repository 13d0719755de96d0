"""A network for films, trained for a moment: its run, its export, every way to stream frames."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tf_deconv
from tests.fixtures import commands, gates
from tf_deconv.evaluation.inspect import inspect_artifact, lines
from tf_deconv.exporting import golden, video
from tf_deconv.exporting.tflite import flatbuffer
from tf_deconv.images import arrays, metrics
from tf_deconv.inference import run_folder
from tf_deconv.inference.streaming import (
    LEAD_FRAMES,
    Cell,
    StreamRestorer,
    keras_cell,
    restore_clip,
)
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.utils.options import UserError

OPTIONS = ("--network", "video", "--task", "denoise", "--size", "tiny", "--frames", 3)
OPTIONS += ("--patch-size", 32, "--steps-per-epoch", 4, "--learning-rate", 0.01)


@pytest.fixture(scope="module")
def trained(train, script, made_once):
    """The run and its export."""

    def make(folder):
        output = train("--run-dir", folder / "run", "--epochs", 2, *OPTIONS)
        with gates.in_this_process():
            sizes = ("--sizes", "16,64", "--variants", "float32 int8")
            return output + script("export", folder / "run", "--out", folder, "--name", "v", *sizes)

    folder, output = made_once("video", make)
    manifest = json.loads((folder / "v" / "manifest.json").read_text())
    return types.SimpleNamespace(
        run=folder / "run", folder=folder / "v", output=output, manifest=manifest
    )


@pytest.fixture(scope="module")
def cell(trained):
    return keras_cell(run_folder.load_cell(trained.run / "model.keras"), 4, 31)


@pytest.fixture
def film():
    """Frames of a size that nothing divides, as large as a window when they are padded."""
    return np.random.default_rng(0).random((6, 61, 63, 3), np.float32)


def test_a_run_tells_of_clips_and_shows_frames(trained):
    assert "48 clips" in trained.output
    scores = json.loads((trained.run / "metrics.json").read_text())
    assert set(scores["output"]) == {"psnr_db", "ssim", "flicker"}
    assert (trained.run / "preview.png").stat().st_size > 1000
    samples = run_folder.load_samples(trained.run / "samples.npz")
    assert samples.degraded[0].shape == samples.clean[0].shape == (3, 32, 32, 3)


def test_int8_keeps_in_float_what_comes_back_with_the_next_frame(trained):
    plain, rounded = (
        TfliteFile((trained.folder / "tflite" / f"v-{kind}.tflite").read_bytes())
        for kind in ("float32", "int8")
    )
    # A state is no picture: its values are not held to [0, 1].
    inputs, outputs = flatbuffer.picture_tensors(plain)
    assert len(inputs) == len(outputs) == 2  # Of two signatures the frame and what is made of it.
    returning = flatbuffer.returning_operators(plain)
    assert any("still" in name for name in returning)
    assert not any("encoder" in name or "bottom" in name for name in returning)
    integer = schema.TensorType.INT8
    types_of = {
        tensor.name.decode(): tensor.type
        for subgraph in rounded.model.subgraphs
        for tensor in subgraph.tensors
    }
    assert all(types_of[name] != integer for name in returning)
    assert any(kind == integer for name, kind in types_of.items() if "bottom" in name)


def test_a_run_goes_on_and_is_where_another_begins(trained, train, tmp_path):
    run = shutil.copytree(trained.run, tmp_path / "on")
    assert "resuming after epoch 2" in train("--resume", "--run-dir", run, "--epochs", 3)
    output = train(
        *("--run-dir", tmp_path / "next", "--epochs", 1, "--init", trained.run),
        *(4 if option == 3 else option for option in OPTIONS),
    )
    assert "weights copied" in output
    assert "begin anew" not in output


def test_every_file_streams_what_keras_makes(trained):
    entries = {entry["file"]: entry for entry in trained.manifest["files"]}
    assert set(entries) == {"1/", "tflite/v-float32.tflite", "tflite/v-int8.tflite"}
    for entry in entries.values():
        assert entry["golden"]["exact"] or entry["golden"]["psnr_db"] > 40
        assert entry["task_loss_db"] is not None
    assert trained.manifest["state"] == {
        "stride": 2,
        "start": 0.0,
        "latency_frames": 0,
        "channels": 21,
    }
    assert trained.manifest["tflite_signatures"] == ["stream_16x16", "stream_64x64"]
    assert not (trained.folder / "serving" / "batching.config").exists()


def test_a_file_whose_state_drifts_is_not_published(trained, cell, monkeypatch):
    # Each frame is right by itself, nearly; what it hands on is wrong by a little more.
    exporter = video.VideoExporter(
        trained.run / "model.keras",
        run_folder.read_description(trained.run / "model.keras"),
        tf_deconv.ExportConfig(sizes="16"),
        print,
    )
    film = exporter._film(100, (16, 16))
    wanted = exporter.restore(film)
    drifting = wanted + 2e-6 * np.arange(100, dtype="f")[:, None, None, None] ** 2
    report = video.Report("v.tflite", 1, floor_db=40.0)
    exporter._measure(report, {"stream|film|restored": drifting}, {"stream|film|restored": wanted})
    assert "the state drifts" in report.faults[0]


@pytest.mark.parametrize("file", ["", "1", "tflite/v-float32.tflite"])
def test_every_engine_streams_frames_of_any_size(trained, cell, film, file):
    restored = np.stack(list(tf_deconv.load_video(trained.folder / file).restore(film)))
    np.testing.assert_allclose(restored, restore_clip(cell, film), atol=2e-6)


def test_the_known_clip_is_there_with_what_keras_makes_of_it(trained, cell):
    folder = trained.folder / golden.FOLDER
    clip, expected = (np.load(folder / f"{name}-film.npy") for name in ("input", "output"))
    assert clip.shape == expected.shape == (8, 16, 16, 3)
    np.testing.assert_allclose(restore_clip(cell, clip), expected, atol=1e-6)


def test_the_snippet_of_the_model_card_streams(trained, tmp_path):
    card = (trained.folder / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = f"{snippet}np.save({str(tmp_path / 'last.npy')!r}, restored)\n"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=trained.folder.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = np.load(trained.folder / golden.FOLDER / "output-film.npy")[-1]
    np.testing.assert_allclose(np.load(tmp_path / "last.npy"), expected, atol=1e-5)


def test_the_saved_model_refuses_a_state_of_another_size_and_restores_whole_clips(trained, film):
    import tensorflow as tf

    signatures = tf.saved_model.load(str(trained.folder / "1")).signatures
    made = signatures["serving_default"](clip=tf.constant(film[np.newaxis]))["restored"]
    streamed = np.stack(list(tf_deconv.load_video(trained.folder / "1").restore(film)))
    np.testing.assert_allclose(made[0], streamed, atol=1e-6)
    frame = tf.constant(film[:1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="as initial_state and stream give"):
        signatures["stream"](frame=frame, state=tf.zeros((1, 30, 32, 21)))
    zero, one = tf.constant(0), tf.constant(1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected at least 1"):
        signatures["initial_state"](count=one, height=zero, width=one)


def test_inspect_tells_of_the_state(trained):
    for path in (trained.run, trained.folder, trained.folder / "tflite" / "v-float32.tflite"):
        facts = inspect_artifact(path)
        assert facts["state"] == {"channels": 21, "stride": 2}
        assert "a state of 21 channels at 1/2 of a frame's sides" in "\n".join(lines(facts))


@pytest.mark.parametrize("use", ["load", "evaluate", "restore", "load_video"])
def test_pictures_and_films_are_not_mistaken_for_each_other(trained, untrained, tmp_path, use):
    picture = tmp_path / "picture.png"
    golden.write_png(picture, golden.picture(16, 16, 3))
    (tmp_path / "pictures").mkdir()
    golden.write_png(tmp_path / "pictures" / "one.png", golden.picture(64, 64, 3))
    does = {
        "load": lambda: tf_deconv.load(trained.folder),
        "evaluate": lambda: tf_deconv.evaluate(trained.folder, data=str(tmp_path / "pictures")),
        "restore": lambda: tf_deconv.restore(trained.folder, picture, out=str(tmp_path / "out")),
        "load_video": lambda: tf_deconv.load_video(untrained),
    }
    with pytest.raises(UserError, match=r"expected a (film|model of)"):
        does[use]()


def test_exported_again_it_streams_the_same(trained, cell, film, tmp_path):
    with gates.in_this_process():
        tf_deconv.export(
            str(trained.folder), out=str(tmp_path), name="again", sizes="64", variants="float32"
        )
    again = tf_deconv.load_video(tmp_path / "again")
    np.testing.assert_allclose(
        np.stack(list(again.restore(film))), restore_clip(cell, film), atol=2e-6
    )


def test_options_that_a_state_has_not_are_refused(trained, tmp_path):
    with pytest.raises(UserError, match="qat=True, variants='int8-full'"):
        tf_deconv.export(
            str(trained.run), out=str(tmp_path), qat=True, variants="float32 int8-full"
        )


def test_windows_make_what_the_whole_frame_would_be(cell, rng):
    # Each leaves its middle in one state: what a window's edge spoils is nobody's past.
    film = rng.random((5, 150, 131, 3), np.float32)
    film[3:] = np.roll(film[2], (6, 3), (0, 1))  # The camera moves: so does the state.
    cell = dataclasses.replace(cell, reach_px=47)
    for follow in (False, True):
        tiled, whole = (
            np.stack(list(StreamRestorer(cell, side, follow=follow).restore(film)))
            for side in (116, 260)
        )
        np.testing.assert_allclose(tiled, whole, atol=2e-5)
    assert np.abs(whole[3] - restore_clip(cell, film)[3]).max() > 1e-3


def test_what_lies_beyond_a_frame_is_not_its_past(cell, rng):
    # Frames smaller than the window are mirrored up to it: no motion may bring that in.
    frame = np.kron(rng.random((30, 40, 3), np.float32), np.ones((4, 4, 1), np.float32))
    film = [np.roll(frame, 6 * number, 1)[:100, :120] for number in range(3)]
    sizes = ((160, 160), (100, 120))
    stream, exact = (
        StreamRestorer(dataclasses.replace(cell, sizes=(size,))).begin(100, 120) for size in sizes
    )
    for frame in film:
        made, expected = stream.restore(frame), exact.restore(frame)
    assert not stream._state[50:].any() or stream._state[50:, :, 0].max() <= 0.5
    np.testing.assert_allclose(made[:60, :80], expected[:60, :80], atol=1e-3)


def test_a_films_first_frames_have_those_after_them_for_a_past(cell, rng):
    film = rng.random((LEAD_FRAMES + 4, 40, 48, 3), np.float32)
    session = StreamRestorer(cell).begin_led(40, 48)
    made = [session.restore(frame) for frame in film]
    assert [each is None for each in made] == [True] * LEAD_FRAMES + [False] * 4
    made = [*made[LEAD_FRAMES:], *session.end()]
    plain = StreamRestorer(cell).begin(40, 48)
    for frame in film[LEAD_FRAMES:0:-1]:
        plain.restore(frame)
    for frame, restored in zip(film, made, strict=True):
        np.testing.assert_array_equal(plain.restore(frame), restored)
    assert not list(session.end())


def test_a_film_shorter_than_what_is_held_back_is_whole(cell, rng):
    for count in (0, 1, 2, LEAD_FRAMES):
        session = StreamRestorer(cell).begin_led(40, 48)
        for frame in rng.random((count, 40, 48, 3), np.float32):
            assert session.restore(frame) is None
        assert len(list(session.end())) == count


def test_windows_of_8_bits_overlap_by_what_changes_them(trained, cell):
    near = trained.manifest["effective_reach"]
    assert 1 <= near <= (trained.manifest["receptive_field"] - 1) // 2
    opened = tf_deconv.load_video(trained.folder)
    assert opened.artifact.near_px == near
    windows = StreamRestorer(dataclasses.replace(cell, near_px=8), 96)
    rows = {}
    for dtype in (np.uint8, np.uint16, np.float32):
        planned = windows.windows(windows.artifact, 200, 90, np.dtype(dtype))
        rows[dtype] = planned[0][1].bottom - planned[0][0].bottom
    assert rows[np.uint8] == 8
    assert rows[np.uint16] == rows[np.float32] >= cell.reach_px


@pytest.mark.parametrize(
    ("frame", "chosen"),
    [
        ((360, 640), (360, 640)),
        ((640, 360), (640, 360)),
        ((720, 1280), (768, 768)),
        ((30, 40), (64, 64)),
        ((340, 1000), (360, 640)),
    ],
)
def test_of_fixed_sizes_the_one_is_taken_that_has_the_least_to_do(cell, frame, chosen):
    sizes = ((64, 64), (360, 640), (640, 360), (768, 768))
    fixed = StreamRestorer(dataclasses.replace(cell, sizes=sizes))
    windows = fixed.windows(fixed.artifact, *frame, np.dtype(np.uint8))
    assert {(window.height, window.width) for _, window in windows} == {chosen}


def test_frames_keep_their_type_and_a_stream_its_size(cell):
    stream = StreamRestorer(cell).begin(20, 24)
    for dtype, channels in ((np.uint8, 3), (np.uint16, 1), (np.float32, 3)):
        restored = stream.restore(np.zeros((20, 24, channels), dtype))
        assert restored.dtype == dtype
        assert restored.shape == (20, 24, 3)
    with pytest.raises(UserError, match=r"expected \(H, W, C\)"):
        next(StreamRestorer(cell).restore([np.zeros((20, 24), np.uint8)]))
    with pytest.raises(UserError, match="is 20x20 pixels: expected 24x20"):
        stream.restore(np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UserError, match="tile_size=32: expected at least"):
        StreamRestorer(cell, tile_px=32)


def test_a_forgotten_past_is_none(cell, film):
    stream = StreamRestorer(cell).begin(*film.shape[1:3])
    first = stream.restore(film[0])
    assert np.abs(stream.restore(film[0]) - first).max() > 0
    stream.forget()
    np.testing.assert_array_equal(stream.restore(film[0]), first)


def test_a_grey_film_stays_grey(cell, film):
    keeps = dataclasses.replace(cell, keeps_grey=True)
    grey = np.repeat(film[..., :1], 3, -1)
    for frames in (grey, grey[..., :1]):
        restored = np.stack(list(StreamRestorer(keeps).restore(frames)))
        assert restored.shape == frames.shape
        assert np.ptp(restored, axis=-1).max() == 0


def test_a_model_of_one_size_takes_larger_frames_in_windows_of_it(cell, rng):
    # As a file whose operators know their size: LiteRT resizes the others.
    def step(frame, state):
        assert frame.shape[1:3] == (96, 96)
        return cell.step(frame, state)

    fixed = Cell(step, 3, 4, 2, 21, 21, sizes=((96, 96),))
    film = rng.random((3, 110, 100, 3), np.float32)
    made = np.stack(list(StreamRestorer(fixed).restore(film)))
    assert metrics.psnr_db(made[-1], restore_clip(cell, film)[-1]) > 60


def test_models_that_are_no_cells_are_named(tmp_path):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
    path = tmp_path / "model.keras"
    run_folder.save_model(model, path, {"task": "denoise", "divisor": 4, "state": {"stride": 2}})
    with pytest.raises(UserError, match="expected a frame and a state"):
        tf_deconv.load_video(path)
    run_folder.save_model(model, path, {"task": "denoise", "divisor": 4, "state": {"stride": "2"}})
    with pytest.raises(UserError, match="tells state as"):
        tf_deconv.load_video(path)


# --- `verify`.

OF_A_CLIENT = {
    "right": (lambda clip, right, alone: right, "right, every bit", 0),
    "in bytes": (lambda clip, right, alone: arrays.to_uint8(right), "right, ", 0),
    "without the state": (lambda clip, right, alone: alone, "the state was not handed on", 1),
    "as BGR": (lambda clip, right, alone: right[..., ::-1], "frame 1: red and blue", 1),
    "the clip": (lambda clip, right, alone: clip, "frame 1: it is the picture that went in", 1),
    "frozen": (
        lambda clip, right, alone: right[[0, 1, 2, 2, 2, 2, 2, 2]],
        "frames 1 to 3 are right, frame 4 is not",
        1,
    ),
    "a frame alone": (
        lambda clip, right, alone: right[-1],
        "the array is 16x16x3: expected 8x16x16x3",
        1,
    ),
}


@pytest.mark.parametrize("what", OF_A_CLIENT)
def test_what_a_client_made_of_the_clip_is_judged(trained, cell, capsys, tmp_path, what):
    make, words, expected_code = OF_A_CLIENT[what]
    clip, right = golden.read_clip(trained.folder / golden.FOLDER, (16, 16))
    alone = np.stack([restore_clip(cell, frame[np.newaxis])[0] for frame in clip])
    np.save(tmp_path / "mine.npy", make(clip, right, alone))
    words_of = ("verify", trained.folder, "--output", tmp_path / "mine.npy")
    code, output, _ = commands.call(capsys, *words_of)
    assert (code, words in output) == (expected_code, True), output


@pytest.mark.slow
def test_every_file_of_it_is_verified(trained, capsys, gate_here):
    code, output, _ = commands.call(capsys, "verify", trained.folder, "--json")
    rows = json.loads(output)["rows"]
    assert code == 0
    assert [(row["verdict"], row["against"]) for row in rows] == [("right", "golden/")] * 3
    assert {tuple(row["size"]) for row in rows} == {(16, 16)}


@pytest.mark.slow
def test_a_clip_of_another_size_is_made_by_another_file(trained, capsys, tmp_path, gate_here):
    file = trained.folder / "tflite" / "v-int8.tflite"
    words = ("verify", file, "--size", 64, "--runtime", "litert-compiled", "--golden", tmp_path)
    code, output, _ = commands.call(capsys, *words)
    assert code == 0
    assert "64x64: right, " in output
    assert "against the float32 file in LiteRT" in output
    clip, made = golden.read_clip(tmp_path, (64, 64))
    np.testing.assert_array_equal(clip, golden.clip((64, 64), 3))
    assert made.shape == clip.shape


def test_runtimes_of_one_input_and_sizes_that_are_not_there_are_one_line(trained, capsys, tmp_path):
    (tmp_path / "v.onnx").write_bytes(b"not looked into")
    file, elsewhere = trained.folder / "tflite" / "v-float32.tflite", tmp_path / "v.onnx"
    other = tmp_path / "v.mnn"
    other.write_bytes(b"not looked into")
    cases = [
        ((elsewhere, "--of", trained.folder, "--runtime", "tract"), "takes a frame and a state"),
        ((other, "--of", trained.folder), "state: expected a file of the export itself"),
        ((file, "--size", "20"), "has 16x16, 64x64 alone"),
        ((trained.folder, "--runtime", "opencv"), "takes an .onnx file"),
        ((trained.folder, "--golden", trained.folder / "golden"), "is the export's own"),
    ]
    for words, message in cases:
        assert message in commands.refuses(capsys, "verify", *words)
