"""`tf-deconv evaluate` on films, and what it measures there."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import films as film_files
from tests.fixtures.commands import call, does, refuses
from tf_deconv.degradations.tasks import Task
from tf_deconv.evaluation import clips, film_filters
from tf_deconv.evaluation.flicker import Flicker

MODEL = "denoise-color-small"


def flicker_of(restored, truth):
    meter = Flicker()
    return [meter.add(*pair) for pair in zip(restored, truth)], meter.result()


# --- Flicker.


def test_white_noise_flickers_by_the_root_of_two_times_its_deviation(rng):
    truth = np.full((6, 40, 40, 3), 0.5, np.float32)
    noisy = truth + rng.normal(0, 10 / 255, truth.shape).astype(np.float32)
    frames, whole = flicker_of(noisy, truth)
    assert np.isnan(frames[0])
    np.testing.assert_allclose([*frames[1:], whole], np.sqrt(2) * 10, rtol=0.05)


def test_what_is_wrong_in_the_same_way_all_the_time_does_not_flicker(rng):
    truth = np.full((4, 16, 16, 3), 0.5, np.float32)
    wrong = truth + rng.normal(0, 0.1, (1, 16, 16, 3)).astype(np.float32)
    assert flicker_of(wrong, truth)[1] == 0


def test_flicker_is_measured_where_the_truth_stands_still(rng):
    truth = np.full((3, 20, 20, 1), 0.5, np.float32)
    truth[1:, :10] = 0.9  # The upper half changes once.
    restored = truth.copy()
    restored[1, :10] += 0.3  # Wrong where something moves: no flicker, until it stands still.
    restored[2, 10:] += 2 / 255
    frames, whole = flicker_of(restored, truth)
    assert frames[1] == 0
    assert frames[2] == pytest.approx(255 * np.sqrt((0.3**2 + (2 / 255) ** 2) / 2), rel=1e-4)
    assert whole == pytest.approx(255 * np.sqrt((0.3**2 + (2 / 255) ** 2) / 3), rel=1e-4)


def test_a_film_in_which_all_moves_has_no_flicker(rng):
    truth = rng.random((3, 16, 16, 3)).astype(np.float32)
    frames, whole = flicker_of(truth, truth)
    assert np.isnan([*frames, whole]).all()


# --- Models and filters.


class LooksAhead:
    """A model that gives each frame when it has seen the next one."""

    def begin(self, height, width):
        self.size, self.waiting = (height, width), None
        return self

    def restore(self, frame):
        before, self.waiting = self.waiting, frame
        return before

    def end(self):
        yield self.waiting


def test_a_model_with_a_state_gets_the_frames_in_order_and_gives_as_many(rng):
    degraded = rng.random((4, 8, 10, 3)).astype(np.float32)
    model = LooksAhead()
    np.testing.assert_array_equal(list(clips.through(model, degraded)), degraded)
    assert model.size == (8, 10)


def test_a_method_that_loses_a_frame_is_a_fault(rng):
    methods = {"input": lambda degraded, _: degraded, "output": lambda degraded, _: degraded[1:]}
    frames = rng.integers(0, 255, (3, 16, 16, 3), np.uint8)
    with pytest.raises(RuntimeError, match="output gave 2 frames for the 3 that went in"):
        clips.measure("clip", frames, Task("", "noise:10"), 0, methods)


def test_the_mean_gain_is_of_clips_that_came_damaged(rng):
    # The mean output is of all clips: less the input of the damaged ones, it flattered.
    methods = {
        "input": lambda degraded, _: degraded,
        "output": lambda degraded, _: 0.99 * degraded,
    }
    frames = rng.integers(0, 255, (3, 16, 16, 3), np.uint8)
    measured = [
        clips.measure("clip", frames, Task("", chain), 0, methods).scores
        for chain in ("noise:20", "clip:1")
    ]
    assert measured[1]["input"]["psnr_db"] == np.inf
    assert measured[1]["output"]["psnr_db"] > 40
    of_input, of_output = (clips.means(measured, side) for side in methods)
    assert of_input["psnr_db"] == measured[0]["input"]["psnr_db"]
    assert (of_input["gain_db"], of_output["gain_db"]) == (0, measured[0]["gain_db"])
    assert abs(measured[0]["gain_db"]) < 1


@pytest.fixture(params=["nlmeans in PyAV", "nlmeans in ffmpeg", "hqdn3d in ffmpeg"])
def film_filter(request, monkeypatch):
    name, _, place = request.param.partition(" in ")
    if place == "ffmpeg":
        if shutil.which("ffmpeg") is None:
            pytest.skip("there is no program ffmpeg")
        monkeypatch.setattr(film_filters, "_filters_of_pyav", frozenset)
    else:
        pytest.importorskip("av")
    found, _ = film_filters.find_filters()
    if name not in found:
        pytest.skip(f"{place} has no {name}")
    return name, found[name]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_filter_takes_noise_away_and_keeps_order_colours_and_odd_sizes(film_filter, channels):
    name, run = film_filter
    clean = film_files.make_frames(5, 45, 61)[..., :channels] / np.float32(255)
    noise = np.random.default_rng(0).normal(0, 20 / 255, clean.shape)
    noisy = np.clip(clean + noise, 0, 1).astype(np.float32)
    restored = np.stack(list(run(noisy, film_filters.strength_for(name, 20 / 255))))
    assert restored.shape == clean.shape
    assert np.abs(restored - clean).mean() < 0.92 * np.abs(noisy - clean).mean()
    assert np.abs((restored - noisy).mean((0, 1, 2))).max() < 2 / 255


def test_without_a_filter_it_is_said(monkeypatch):
    monkeypatch.setattr(film_filters, "_filters_of_pyav", frozenset)
    monkeypatch.setattr(film_filters.shutil, "which", lambda name: None)
    found, notes = film_filters.find_filters()
    assert found == {}
    assert "hqdn3d is not measured: neither PyAV nor a program ffmpeg" in notes[0]


# --- The command.


@pytest.fixture(scope="module")
def film_folder(tmp_path_factory):
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("films")
    film_files.write_film(folder / "a.mp4")
    (folder / "frames").mkdir()
    still = film_files.make_frames(1)[0]
    for number in range(4):
        Image.fromarray(still).save(folder / "frames" / f"{number:03d}.png")
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:600])
    return folder


def test_films_are_measured_frame_by_frame_beside_other_methods(capsys, tmp_path, film_folder):
    options = ("--degrade", "noise:30", "--frames", 3, "--beside", MODEL, "--out", tmp_path / "out")
    code, out, err = call(capsys, "evaluate", MODEL, "--data", film_folder, *options)
    assert (code, err) == (1, "")  # A film is broken, as a picture may be.
    assert "note: 1 film and 1 sequence of pictures, 12 frames" in out
    assert "broken.mp4: cannot be opened as MP4" in out
    scores = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [clip["name"] for clip in scores["clips"]] == ["a.mp4", "frames"]
    assert [clip["frames"] for clip in scores["clips"]] == [3, 3]
    for clip in scores["clips"]:
        # The same model, twice.
        assert clip["beside"]["psnr_db"] == clip["output"]["psnr_db"]
        assert len(clip["output"]["ssim_of_frames"]) == 3
        assert clip["output"]["psnr_db"] > clip["input"]["psnr_db"] + 5
    still = scores["clips"][1]
    assert 30 < still["input"]["flicker"] < 43
    assert still["output"]["flicker"] < 0.5 * still["input"]["flicker"]
    mean = np.mean([clip["output"]["psnr_db"] for clip in scores["clips"]])
    assert scores["output"]["psnr_db"] == pytest.approx(mean)
    with (tmp_path / "out" / "frames.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    ways = {"input", "beside", "output"}
    assert ways <= {row["method"] for row in rows}
    assert len(rows) == 2 * 3 * len({row["method"] for row in rows})
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.height > 2 * 4 * 48


def test_a_clip_s_scores_do_not_depend_on_the_clips_beside_it(capsys, tmp_path, film_folder):
    alone = []
    for data in (film_folder, film_folder / "a.mp4"):
        options = ("--frames", 2, "--no-classical", "--degrade", "codec:h264-34")
        call(capsys, "evaluate", MODEL, "--data", data, *options, "--out", tmp_path)
        alone.append(json.loads((tmp_path / "evaluation.json").read_text())["clips"][0])
    for side in ("input", "output"):
        assert alone[0][side]["psnr_db"] == alone[1][side]["psnr_db"]


def test_clips_are_made_of_pictures_with_every_camera(capsys, tmp_path):
    options = ("--clips", 5, "--frames", 2, "--no-classical", "--out", tmp_path)
    out = does(capsys, "evaluate", MODEL, "--data", "bundled", "--degrade", "noise:20", *options)
    assert "the scores flatter" in out
    names = [
        clip["name"] for clip in json.loads((tmp_path / "evaluation.json").read_text())["clips"]
    ]
    assert [name.partition(":")[0] for name in names] == ["still", "pan", "hand", "zoom", "turn"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--frames", 4), "--frames 4 with pictures; --clips COUNT makes clips of them"),
        (("--beside", "photo"), "--beside photo with pictures"),
        (("--clips", 2, "--task", "super-resolve-x2"), "the model"),
        (("--clips", 2, "--degrade", "codec:h264-90"), "constant rate factor, .* from 0 to 51"),
        (("--clips", 2, "--beside", "deblok"), "did you mean 'deblock'"),
        (("--clips", 2, "--beside", "denoise-grey"), "has 3 channels in"),
    ],
)
def test_options_that_do_not_fit_are_refused(capsys, options, expected):
    pytest.importorskip("av")
    line = refuses(capsys, "evaluate", MODEL, "--data", "bundled", *options)
    assert re.search(expected, line), line


def test_targets_of_films_are_refused(capsys, film_folder):
    line = refuses(capsys, "evaluate", MODEL, "--data", film_folder, "--targets", film_folder)
    assert "with films: expected a task or --degrade" in line
