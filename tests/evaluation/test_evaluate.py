"""`tf-deconv evaluate` as a user runs it."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import does, refuses
from tests.fixtures.tflite_files import with_metadata
from tf_deconv.images import metrics, reading

SIDES = ("input", "classical", "output")


def read(folder):
    return json.loads((folder / "evaluation.json").read_text())


def write_folder(folder, bundled):
    """Pictures cut from photographs: a PNG, a JPEG and a grey GIF of three sizes."""
    (folder / "deep").mkdir(parents=True)
    picture = bundled.validation.picture(0)
    for name, part in (
        ("a.png", picture[100:150, 100:161]),
        ("b.jpg", picture[50:90, 100:140]),
        ("deep/c.gif", picture[120:150, 60:135, 0]),
    ):
        Image.fromarray(np.ascontiguousarray(part)).save(folder / name)
    return folder


def test_a_run_is_measured_on_the_bundled_photographs(capsys, tmp_path, run):
    out = does(capsys, "evaluate", run.folder, "--out", tmp_path / "out")
    assert "task: old-photo (noise:25)" in out
    assert "data: bundled, 12 pictures" in out
    scores = read(tmp_path / "out")
    assert [picture["name"] for picture in scores["pictures"]][:2] == ["dog.jpg", "colosseum.jpg"]
    # Another noise than training's own check has, and the whole of the picture.
    stored = json.loads((run.folder / "metrics.json").read_text())["pictures"][0]
    for side in ("input", "output"):
        received = scores["pictures"][0][side]["psnr_db"]
        assert received == pytest.approx(stored[side]["psnr_db"], abs=0.2)
    for side in SIDES:
        values = [picture[side]["psnr_db"] for picture in scores["pictures"]]
        assert scores[side]["psnr_db"] == pytest.approx(np.mean(values))
        assert f"{np.mean(values):.2f}" in out
    gains = [p["output"]["psnr_db"] - p["input"]["psnr_db"] for p in scores["pictures"]]
    assert scores["gain_db"] == pytest.approx(np.mean(gains))
    assert scores["classical"]["luminance_psnr_db"] > scores["input"]["luminance_psnr_db"] + 6
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.width > 4 * 256


@pytest.mark.parametrize("kind", ["keras", "name", "tflite"])
def test_every_kind_of_model_scores_the_same(capsys, tmp_path, run, exported, bundled, kind):
    data = write_folder(tmp_path / "in", bundled)
    models = {
        "run": run.folder,
        "keras": run.folder / "model.keras",
        "name": exported.folder,
        "tflite": exported.tflite("float32"),
    }
    results = []
    for model in (models["run"], models[kind]):
        does(capsys, "evaluate", model, "--data", data, "--out", tmp_path / "out", "--no-classical")
        results.append(read(tmp_path / "out"))
    for one, other in zip(*(result["pictures"] for result in results)):
        assert one["input"] == other["input"]
        for score in metrics.SCORES:
            assert one["output"][score] == pytest.approx(other["output"][score], abs=2e-3)


def test_a_bad_picture_is_named_and_the_others_are_measured(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    options = ("--data", data, "--out", tmp_path / "out", "--no-classical")
    does(capsys, "evaluate", run.folder, *options)
    before = read(tmp_path / "out")
    (data / "aa.png").write_bytes(b"no picture")
    out = does(capsys, "evaluate", run.folder, *options, expected=1)
    last = out.splitlines()[-2:]
    assert last[0] == "1 pictures could not be measured:"
    assert last[1].startswith("  aa.png: is not a picture of a kind that is read")
    after = read(tmp_path / "out")
    # Noise comes from a picture's own content: what lies beside it changes no score.
    assert after["pictures"] == before["pictures"]
    assert [len(scores["failures"]) for scores in (before, after)] == [0, 1]


def test_a_sheet_below_the_pictures_is_none_of_them(capsys, tmp_path, run, bundled):
    folder = write_folder(tmp_path / "pictures", bundled)
    command = ("evaluate", run.folder, "--data", folder, "--out", folder / "evaluation")
    for _ in range(2):
        out = does(capsys, *command, "--no-classical")
        assert f"data: {folder}, 3 pictures" in out
    assert "note: 1 folder of a run, an evaluation or an export: left alone" in out


def test_json_is_all_that_is_printed(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    (data / "aa.png").write_bytes(b"no picture")
    options = ("--data", data, "--out", tmp_path / "out", "--json")
    out = does(capsys, "evaluate", run.folder, *options, expected=1)
    assert json.loads(out) == read(tmp_path / "out")


def test_scores_repeat_and_another_seed_is_another_noise(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    results = []
    for seed in (0, 0, 1):
        options = ("--data", data, "--seed", seed, "--out", tmp_path / "out", "--no-classical")
        does(capsys, "evaluate", run.folder, *options)
        results.append(read(tmp_path / "out")["pictures"])
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_options_reach_the_restorer_and_the_noise(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    options = ("--data", data, "--out", tmp_path / "out", "--no-classical")
    results = []
    for more in ((), ("--self-ensemble", "--tile-size", 24), ("--degrade", "noise:5")):
        does(capsys, "evaluate", run.folder, *options, *more)
        results.append(read(tmp_path / "out"))
    plain, ensemble, weak = results
    assert plain["input"] == ensemble["input"]
    assert plain["output"]["psnr_db"] != ensemble["output"]["psnr_db"]
    assert weak["degrade"] == "noise:5"
    assert weak["input"]["luminance_psnr_db"] > plain["input"]["luminance_psnr_db"] + 10


def test_one_task_asks_for_another_chain_than_the_model_was_trained_on(
    capsys, tmp_path, run, bundled
):
    data = write_folder(tmp_path / "in", bundled)
    options = ("--task", "colorize", "--data", data, "--out", tmp_path / "out")
    out = does(capsys, "evaluate", run.folder, *options)
    assert "task: colorize\n" in out
    assert "classic" not in out
    assert read(tmp_path / "out")["classical_method"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--task", "denoize"), "did you mean 'denoise'"),
        (("--task", "denoise"), "has 3 channels in, 3 out and scale 1, the model 1 channels in"),
        (("--task", "super-resolve-x2"), "expected --task colorize, old-photo"),
        (("--degrade", "nois:3"), "did you mean 'noise'"),
        (("--data", "nowhere"), "does not exist"),
        (("--data", "empty"), "holds no picture"),
        (("--data", "bad"), "none of the 1 pictures in 'bad' can be read: x.png"),
        (("--data", "notes.txt"), "is a file: expected a folder of pictures"),
        (("--data", "in", "--max-pixels", "10"), "is more than --max-pixels 10"),
        (("--seed", "-1"), "--seed -1: expected a number from 0 to 2147483647"),
        (("--tile-size", "5"), "--tile-size 5: expected at least 14"),
        (("--out", "notes.txt/deep"), "cannot be written"),
        (("--baseline",), "there is no option --baseline"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    capsys, tmp_path, monkeypatch, run, bundled, options, expected
):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "in", bundled)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    assert expected in refuses(capsys, "evaluate", run.folder, *options)
    assert not (tmp_path / "evaluation").exists()


def test_what_is_no_model_is_refused_in_one_line(capsys, tmp_path):
    model = tmp_path / "model"
    assert "does not exist: expected a run folder" in refuses(capsys, "evaluate", model)
    model.write_text("no model")
    assert "is not a model" in refuses(capsys, "evaluate", model)


def test_a_model_that_does_not_tell_its_task_needs_one(capsys, tmp_path, exported, bundled):
    model = tmp_path / "alone.tflite"
    model.write_bytes(with_metadata(exported.tflite("float32").read_bytes(), {}))
    message = refuses(capsys, "evaluate", model)
    assert "does not tell what it was trained for: expected --task, one of reconstruct" in message
    options = ("--task", "old-photo", "--out", tmp_path / "out", "--no-classical")
    assert "no --data: expected a folder" in refuses(capsys, "evaluate", model, *options)
    does(capsys, "evaluate", model, *options, "--data", write_folder(tmp_path / "in", bundled))


def test_help_names_every_option_without_tensorflow(repository):
    code = "from tf_deconv.cli.main import main; main(['evaluate', '--help'])"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("MODEL", "--data", "--task", "--degrade", "--seed", "--json", "--no-classical"):
        assert option in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & {"tensorflow", "keras"}


def test_photographed_pairs_are_measured_as_they_are(capsys, tmp_path, bundled, run):
    for name, noise in (("noisy", 20), ("clean", 0)):
        folder = write_folder(tmp_path / name, bundled)
        for path in folder.rglob("*.*"):
            pixels = reading.read_rgb(path).astype(float)
            pixels += noise * np.random.default_rng(0).standard_normal(pixels.shape)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path.with_suffix(".png"))
            if path.suffix != ".png":
                path.unlink()
    # The model takes grey pictures: what pairs it cannot take is said in one line.
    arguments = ["--data", tmp_path / "noisy", "--targets", tmp_path / "clean"]
    assert "expected --task" in refuses(capsys, "evaluate", run.folder, *arguments)
    model = tmp_path / "identity.keras"
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Identity()(image)).save(model)
    does(capsys, "evaluate", model, *arguments, "--out", tmp_path / "out")
    scores = read(tmp_path / "out")
    assert scores["task"] == "paired"
    assert len(scores["pictures"]) == 3
    assert 21 < scores["input"]["psnr_db"] < 24  # A standard deviation of 20 of 255 is 22.1 dB.
    assert scores["gain_db"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "paired", "--data", "x"], "task 'paired' without targets"),
        (["--targets", "x"], "--targets x with no --data: expected --data"),
        (["--targets", "x", "--data", "y", "--task", "denoise"], "expected task 'paired'"),
    ],
)
def test_targets_and_task_must_agree(capsys, run, arguments, message):
    assert message in refuses(capsys, "evaluate", run.folder, *arguments)


def test_reading_to_measure_splits_nothing(tmp_path, bundled):
    from tf_deconv.data.sources import read_pictures

    store, skipped, _ = read_pictures(str(write_folder(tmp_path / "in", bundled)))
    assert store.names == ("a.png", "b.jpg", "deep/c.gif")
    assert skipped == []
    store, _, _ = read_pictures("bundled")
    assert store.names == bundled.validation.names
    np.testing.assert_array_equal(store.picture(0), bundled.validation.picture(0))
