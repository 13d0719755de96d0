"""`tf-deconv evaluate` as a user runs it, and what it is made of."""

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from tf_deconv import cli, evaluating, flatbuffer, images, metrics, scoreboard
from tf_deconv.config import EvaluateConfig
from tf_deconv.inference import Artifact, Restorer
from tf_deconv.options import UserError
from tf_deconv.picture_store import PictureStore
from tf_deconv.tasks import TASKS, find_task

SIDES = ("input", "classical", "output")


def call(capsys, *arguments):
    try:
        code = cli.main(["evaluate", *map(str, arguments)])
    except SystemExit as stop:  # argparse ends by itself
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def evaluates(capsys, *arguments, expected=0):
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (expected, ""), out + err
    return out


def refuses(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1, err
    assert out == ""
    return err


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


def artifact(run=lambda batch: batch, channels_in=3, channels_out=3, scale=1):
    return Artifact(run, channels_in, channels_out, 1, scale, 0)


def triple(name="x", shape=(16, 16, 3), noise=0.1):
    random = np.random.default_rng(0)
    clean = random.random(shape, np.float32)
    degraded = np.clip(clean + noise * random.standard_normal(shape), 0, 1).astype(np.float32)
    return name, degraded, clean


def measured(triples, run=lambda batch: batch, task="denoise", denoiser=None):
    """Measures with a function for a model; returns scores, sheet, failures and lines."""
    failures, lines = [], []
    task = TASKS[task]
    restorer = Restorer(artifact(run, task.channels_in, task.channels_out, task.scale))
    triples = list(triples)
    scores, sheet = evaluating.measure(
        restorer, task, iter(triples), failures, len(triples), denoiser, lines.append
    )
    return scores, sheet, failures, lines


# --- The command.


def test_a_run_is_measured_on_the_bundled_photographs(capsys, tmp_path, run):
    out = evaluates(capsys, run.folder, "--out", tmp_path / "out")
    assert "task: old-photo (noise:25)" in out
    assert "data: bundled, 2 pictures" in out
    scores = read(tmp_path / "out")
    assert [picture["name"] for picture in scores["pictures"]] == ["chelsea.png", "coffee.png"]
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
    assert scores["classical"]["y_psnr_db"] > scores["input"]["y_psnr_db"] + 6
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
        evaluates(capsys, model, "--data", data, "--out", tmp_path / "out", "--no-classical")
        results.append(read(tmp_path / "out"))
    for one, other in zip(*(result["pictures"] for result in results)):
        assert one["input"] == other["input"]
        for score in evaluating.SCORES:
            assert one["output"][score] == pytest.approx(other["output"][score], abs=2e-3)


def test_a_bad_picture_is_named_and_the_others_are_measured(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    evaluates(capsys, run.folder, "--data", data, "--out", tmp_path / "out", "--no-classical")
    before = read(tmp_path / "out")
    (data / "aa.png").write_bytes(b"no picture")
    out = evaluates(
        capsys, run.folder, "--data", data, "--out", tmp_path / "out", "--no-classical", expected=1
    )
    last = out.splitlines()[-2:]
    assert last[0] == "1 pictures could not be measured:"
    assert last[1].startswith("  aa.png: cannot identify image file")
    after = read(tmp_path / "out")
    # Noise comes from a picture's own content: what lies beside it changes no score.
    assert after["pictures"] == before["pictures"]
    assert [len(scores["failures"]) for scores in (before, after)] == [0, 1]


def test_json_is_all_that_is_printed(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    (data / "aa.png").write_bytes(b"no picture")
    options = ("--data", data, "--out", tmp_path / "out", "--json")
    out = evaluates(capsys, run.folder, *options, expected=1)
    assert json.loads(out) == read(tmp_path / "out")


def test_scores_repeat_and_another_seed_is_another_noise(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    results = []
    for seed in (0, 0, 1):
        options = ("--data", data, "--seed", seed, "--out", tmp_path / "out", "--no-classical")
        evaluates(capsys, run.folder, *options)
        results.append(read(tmp_path / "out")["pictures"])
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_options_reach_the_restorer_and_the_noise(capsys, tmp_path, run, bundled):
    data = write_folder(tmp_path / "in", bundled)
    options = ("--data", data, "--out", tmp_path / "out", "--no-classical")
    results = []
    for more in ((), ("--self-ensemble", "--tile-size", 24), ("--degrade", "noise:5")):
        evaluates(capsys, run.folder, *options, *more)
        results.append(read(tmp_path / "out"))
    plain, ensemble, weak = results
    assert plain["input"] == ensemble["input"]
    assert plain["output"]["psnr_db"] != ensemble["output"]["psnr_db"]
    assert weak["degrade"] == "noise:5"
    assert weak["input"]["y_psnr_db"] > plain["input"]["y_psnr_db"] + 10


def test_one_task_asks_for_another_chain_than_the_model_was_trained_on(capsys, tmp_path, run):
    out = evaluates(
        capsys, run.folder, "--task", "colorize", "--data", "bundled", "--out", tmp_path / "out"
    )
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
        (("--data", "in", "--max-pixels", "10"), "is more than max_pixels=10"),
        (("--seed", "-1"), "seed=-1: expected at least 0"),
        (("--tile-size", "5"), "tile_size=5: expected at least 14"),
        (("--out", "notes.txt/deep"), "cannot be written"),
        (("--baseline",), "unrecognized arguments"),
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
    assert expected in refuses(capsys, run.folder, *options)
    assert not (tmp_path / "evaluation").exists()


def test_what_is_no_model_is_refused_in_one_line(capsys, tmp_path):
    assert "does not exist: expected a run folder" in refuses(capsys, tmp_path / "model")
    (tmp_path / "model").write_text("no model")
    assert "is no model" in refuses(capsys, tmp_path / "model")


def test_a_model_that_does_not_tell_its_task_needs_one(capsys, tmp_path, exported):
    model = tmp_path / "alone.tflite"
    model.write_bytes(flatbuffer.write_metadata(exported.tflite("float32").read_bytes(), {}))
    message = refuses(capsys, model)
    assert "does not tell what it was trained for: expected --task, one of reconstruct" in message
    options = ("--task", "old-photo", "--out", tmp_path / "out", "--no-classical")
    assert "data=None: expected --data, a folder" in refuses(capsys, model, *options)
    evaluates(capsys, model, *options, "--data", "bundled")


def test_help_names_every_option_without_tensorflow(repository):
    code = "from tf_deconv import cli; cli.main(['evaluate', '--help'])"
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


# --- Which task and which pictures.


def test_the_chain_of_training_is_measured_unless_another_is_asked_for():
    known = {"task": "denoise", "training": {"degrade": "noise:0-50", "data": "photos"}}

    def chain(**options):
        return evaluating.choose_task(EvaluateConfig(**options), known)[1].degrade

    assert chain() == "noise:0-50"
    assert chain(degrade="noise:3") == "noise:3"
    assert chain(task="denoise") == "noise:25"
    assert chain(task="deblock") == "jpeg:10-40"


@pytest.mark.parametrize("known", [{}, {"task": "of another time"}, {"task": ["denoise"]}])
def test_a_task_that_is_not_known_is_asked_for(known):
    with pytest.raises(UserError, match="does not tell what it was trained for"):
        evaluating.choose_task(EvaluateConfig(model="m"), known)


def test_the_bundled_photographs_are_only_for_models_trained_on_the_others():
    bundled, folder = ({"training": {"data": data}} for data in ("bundled", "photos"))
    assert evaluating._choose_data(EvaluateConfig(), bundled) == ("bundled", [])
    for known in (folder, {}, {"training": None}):
        with pytest.raises(UserError, match="data=None: expected --data"):
            evaluating._choose_data(EvaluateConfig(), known)
    data, notes = evaluating._choose_data(EvaluateConfig(data="my/photos"), folder)
    assert data == "my/photos"
    assert "the scores flatter" in notes[0]


@pytest.mark.parametrize("name", TASKS)
def test_a_model_of_its_own_shape_fits_every_task(name):
    task = TASKS[name]
    own = artifact(None, task.channels_in, task.channels_out, task.scale)
    evaluating.check_fit(own, name, task)
    other = artifact(None, task.channels_in, task.channels_out, task.scale + 7)
    with pytest.raises(UserError, match=f"task='{name}' has .*: no task fits this model"):
        evaluating.check_fit(other, name, task)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_measured(name, bundled):
    task = TASKS[name]
    picture = bundled.validation.picture(0)[90:121, 90:127]
    pictures = [("x", np.concatenate([picture] * (task.source_channels // 3), axis=-1))]
    failures = []
    triples = evaluating.degraded_pictures(PictureStore.of(pictures), task, 0, failures)

    def run(batch):
        colours = batch[..., :3] if batch.shape[-1] == 4 else batch
        large = np.repeat(np.repeat(colours, task.scale, 1), task.scale, 2)
        return metrics.match_channels(large, task.channels_out)

    scores, sheet, failures, _ = measured(triples, run, name)
    assert failures == []
    assert sheet.dtype == np.uint8
    height, width = 31 // task.scale * task.scale, 37 // task.scale * task.scale
    assert scores["pictures"][0]["size"] == f"{width}x{height}"
    if task.scale == 1:
        # The stand-in for a model gives back its input: what doing nothing scores.
        assert scores["output"] == scores["input"]
        assert scores["gain_db"] == 0


def test_photographed_pairs_are_measured_as_they_are(capsys, tmp_path, bundled, run):
    for name, noise in (("noisy", 20), ("clean", 0)):
        folder = write_folder(tmp_path / name, bundled)
        for path in folder.rglob("*.*"):
            pixels = images.read_rgb(path).astype(float)
            pixels += noise * np.random.default_rng(0).standard_normal(pixels.shape)
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path.with_suffix(".png"))
            if path.suffix != ".png":
                path.unlink()
    # The model takes grey pictures: what pairs it cannot take is said in one line.
    arguments = ["--data", tmp_path / "noisy", "--targets", tmp_path / "clean"]
    assert "expected --task" in refuses(capsys, run.folder, *arguments)
    model = tmp_path / "identity.keras"
    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Identity()(image)).save(model)
    evaluates(capsys, model, *arguments, "--out", tmp_path / "out")
    scores = read(tmp_path / "out")
    assert scores["task"] == "paired"
    assert len(scores["pictures"]) == 3
    assert 21 < scores["input"]["psnr_db"] < 24  # A standard deviation of 20 of 255 is 22.1 dB.
    assert scores["gain_db"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "paired", "--data", "x"], "task 'paired' without targets"),
        (["--targets", "x"], "targets='x' with data=None: expected --data"),
        (["--targets", "x", "--data", "y", "--task", "denoise"], "expected task 'paired'"),
    ],
)
def test_targets_and_task_must_agree(capsys, run, arguments, message):
    assert message in refuses(capsys, run.folder, *arguments)


def test_a_classical_denoiser_is_for_noise_alone():
    def name(task, degrade=None):
        denoiser = evaluating.choose_classical(find_task(task, degrade))
        return denoiser and denoiser.name

    assert name("denoise") == name("old-photo") == "non-local means"
    assert name("low-light") == "non-local means after an Anscombe transform"
    assert name("denoise", "noise:0-50") == "non-local means"
    for task in ("reconstruct", "inpaint", "super-resolve-x2", "deblock", "deblur"):
        assert name(task) is None
    assert name("denoise", "noise:5 jpeg:40") is None
    assert name("inpaint", "noise:5") is None
    assert name("super-resolve-x2", "noise:5") is None


def test_pictures_smaller_than_the_scale_are_named():
    store = PictureStore.of([("dot.png", np.zeros((2, 9, 3), np.uint8))])
    failures = []
    triples = evaluating.degraded_pictures(store, TASKS["super-resolve-x3"], 0, failures)
    assert list(triples) == []
    assert failures == ["dot.png: 9x2 is smaller than the scale, 3"]


# --- Scores.


def test_scores_are_those_of_the_clipped_picture(rng):
    clean = rng.random((12, 13, 3))
    image = clean + rng.normal(0, 0.5, clean.shape)
    received = evaluating.score(image, clean)
    clipped = np.clip(image, 0, 1)
    assert received == {
        "psnr_db": metrics.psnr_db(clipped, clean),
        "ssim": metrics.ssim(clipped, clean),
        "y_psnr_db": metrics.y_psnr_db(clipped, clean),
        "exact": False,
    }


def test_a_model_that_fails_on_one_picture_is_named_and_the_rest_goes_on():
    def run(batch):
        if batch.shape[2] == 10:
            raise RuntimeError("delegate failed")
        return batch

    triples = [triple("a"), triple("b", (12, 10, 3)), triple("c")]
    scores, _, failures, lines = measured(triples, run)
    assert [picture["name"] for picture in scores["pictures"]] == ["a", "c"]
    assert failures == ["b: delegate failed"]
    assert lines[-1].startswith("mean of 2")


def test_without_any_picture_there_is_no_sheet():
    scores, sheet, _, lines = measured([])
    assert (scores["pictures"], sheet, lines) == ([], None, [])


def test_infinite_decibels_read_exact_and_are_null_in_json(tmp_path):
    from tf_deconv.files import json_text

    name, _, clean = triple()
    triples = [(name, clean, clean), triple("noisy")]
    scores, sheet, _, lines = measured(triples, task="reconstruct")
    assert sheet is not None
    assert lines[2].split()[2:5] == ["exact", "exact", "+0.00"]
    assert "exact: equal to the target, as 1 inputs and 1 outputs are" in lines[-1]
    # Infinity is left out of the mean, which is then that of the other picture.
    assert scores["input"]["psnr_db"] == scores["pictures"][1]["input"]["psnr_db"]
    stored = json.loads(json_text(scores))
    assert stored["pictures"][0]["input"] == {
        "psnr_db": None,
        "ssim": pytest.approx(1),
        "y_psnr_db": None,
        "exact": True,
    }


def test_a_gain_over_an_exact_input_has_no_number():
    name, _, clean = triple()
    scores, _, _, lines = measured([(name, clean, clean)], lambda x: 0.9 * x, "reconstruct")
    assert lines[2].split()[2:5] == ["exact", f"{scores['output']['psnr_db']:.2f}", "-"]
    assert scores["gain_db"] == -math.inf
    assert scores["input"]["exact_pictures"] == 1


def test_a_broken_network_gives_dashes_and_a_sheet():
    scores, sheet, failures, lines = measured([triple()], lambda x: np.full_like(x, np.nan))
    assert failures == []
    assert sheet is not None
    assert math.isnan(scores["output"]["psnr_db"])
    assert lines[2].split()[3:5] == ["-", "-"]


# --- Table and sheet.


def test_columns_are_aligned_whatever_the_name():
    triples = [triple("a"), triple("a very long name of a picture.png"), triple("c", (8, 8, 3))]
    denoiser = evaluating.Classical("flat", lambda degraded, clean: 0 * degraded)
    _, _, _, lines = measured(triples, denoiser=denoiser)
    assert len({len(line) for line in lines}) == 1
    assert lines[3].startswith("...me of a picture.png ")
    assert lines[1].split()[2:6] == ["input", "classic", "output", "gain"]


def test_the_sheet_keeps_the_best_and_the_worst():
    extremes = scoreboard.Extremes()
    image = np.zeros((8, 8, 3), np.float32)
    gains = [3.0, -1.0, 9.0, math.nan, 5.0, 4.0, -math.inf, 0.0, 8.0, 1.0]
    for number, gain in enumerate(gains):
        scores = {"input": {"psnr_db": 20.0}, "output": {"psnr_db": 20.0 + gain}}
        picture = {"name": f"p{number}", **scores, "gain_db": gain}
        extremes.offer(picture, {"input": image, "output": image}, image)
    captions = [texts[0].split(":")[0] for _, _, texts in extremes._kept]
    assert captions == ["p2", "p8", "p4", "p1", "p6", "p3"]
    assert extremes.sheet(10).shape[0] == 6 * (256 + 24)


def test_small_and_narrow_pictures_fill_their_place_on_the_sheet():
    image = np.zeros((28, 14, 1), np.float32)
    shown = scoreboard._for_sheet(image)
    assert shown.shape == (252, 256, 3)
    assert (shown[:, :126] == 0).all()
    assert (shown[:, 126:] == 1).all()
    assert scoreboard._for_sheet(np.zeros((900, 700, 3))).shape == (256, 256, 3)


def test_reading_to_measure_splits_nothing(tmp_path, bundled):
    from tf_deconv.sources import read_pictures

    store, skipped, _ = read_pictures(str(write_folder(tmp_path / "in", bundled)))
    assert store.names == ("a.png", "b.jpg", "deep/c.gif")
    assert skipped == []
    store, _, _ = read_pictures("bundled")
    assert store.names == ("chelsea.png", "coffee.png")
    np.testing.assert_array_equal(store.picture(0), bundled.validation.picture(0))
    np.testing.assert_array_equal(store.picture(1), images.read_rgb(images_folder() / "coffee.png"))


def images_folder():
    from tf_deconv.sources import bundled_folder

    return bundled_folder()
