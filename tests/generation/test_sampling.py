"""`tf-deconv sample` as a user runs it, on tiny untrained generators."""

import dataclasses
import hashlib
import json
import os
import weakref

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import tiny_generators
from tests.fixtures.commands import does, refuses
from tf_deconv.evaluation.config import EvaluateConfig, check_evaluate_config
from tf_deconv.generation import generator
from tf_deconv.generation import sample as generation_sample
from tf_deconv.generation.config import SampleConfig
from tf_deconv.generation.opening import open_generator
from tf_deconv.generation.sample import sample
from tf_deconv.images import arrays, reading, sheets
from tf_deconv.utils.options import UserError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write = tiny_generators.write
    return {
        "vae": write(folder / "vae.keras", "vae", channels=3),
        "flow": write(folder / "flow.keras", "flow", classes=3),
    }


def tree(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def facts_in(folder):
    return json.loads((folder / "samples.json").read_text())


@pytest.mark.parametrize(("kind", "mode"), [("vae", "RGB"), ("flow", "L")])
def test_every_picture_is_a_file_and_stands_on_the_sheet(capsys, tmp_path, models, kind, mode):
    out = does(capsys, "sample", models[kind], "--count", 5, "--seed", 7, "--out", tmp_path / "o")
    assert f"{kind}, 8x8" in out
    assert "5 pictures in" in out
    names = [f"sample-{index:04d}.png" for index in range(5)]
    assert sorted(tree(tmp_path / "o")) == ["grid.png", *names, "samples.json"]
    wanted = generator.sample(open_generator(models[kind]), 5, 7)
    for name, picture in zip(names, wanted):
        with Image.open(tmp_path / "o" / name) as image:
            assert image.mode == mode
            pixels = np.asarray(image).reshape(picture.shape)
        assert np.abs(pixels - 255 * picture).max() <= 0.51
    columns = 3  # The classes of the one, and the root of 5 for the other.
    sheet = reading.read_rgb(tmp_path / "o" / "grid.png")
    assert np.array_equal(sheet, sheets.grid(wanted, columns))


def test_the_same_seed_makes_the_same_files_and_another_one_others(tmp_path, models):
    trees = []
    for number, seed in enumerate((3, 3, 4)):
        config = SampleConfig(
            str(models["flow"]), count=4, seed=seed, out=str(tmp_path / f"{number}")
        )
        sample(config, report=lambda line: None)
        trees.append(tree(tmp_path / f"{number}"))
    assert trees[0] == trees[1]
    assert trees[0]["sample-0000.png"] != trees[2]["sample-0000.png"]


def test_the_recorded_facts_make_the_same_pictures_again(tmp_path, models):
    options = dict(count=3, seed=5, label=2, steps=4, solver="euler", guidance=2.0)
    sample(
        SampleConfig(str(models["flow"]), out=str(tmp_path), **options), report=lambda line: None
    )
    facts = facts_in(tmp_path)
    assert {name: facts[name] for name in options} == options
    assert facts["labels"] == [2, 2, 2]
    names = ("count", "seed", "label", "steps", "solver", "guidance")
    again = generator.sample(
        open_generator(facts["model"]), **{name: facts[name] for name in names}
    )
    for name, picture in zip(("0000", "0001", "0002"), again):
        written = np.asarray(Image.open(tmp_path / f"sample-{name}.png"))
        assert np.array_equal(written[..., np.newaxis], arrays.to_uint8(picture))


def test_pictures_are_written_batch_by_batch_and_not_held(tmp_path, models, monkeypatch):
    # All of them were held until the last one was made, 5 GB of 100,000 colour ones of 64x64.
    opened = open_generator(models["vae"])
    made, held = [], []

    def decode(latent, label):
        expected = [f"sample-{index:04d}.png" for index in range(64 * len(made))]
        assert sorted(path.name for path in tmp_path.glob("sample-*.png")) == expected
        held.append(sum(each() is not None for each in made))
        pictures = opened.decode(latent, label)
        made.append(weakref.ref(pictures))
        return pictures

    spied = dataclasses.replace(opened, decode=decode)
    monkeypatch.setattr(generation_sample, "open_generator", lambda model: spied)
    monkeypatch.setattr(generation_sample, "_GRID_PICTURES", 64)
    config = SampleConfig(str(models["vae"]), count=5 * 64 + 3, out=str(tmp_path))
    result = sample(config, report=lambda line: None)
    # One batch is on its way, and the sheet keeps the first one.
    assert (len(held), max(held)) == (6, 2)
    wanted = arrays.to_uint8(generator.sample(opened, config.count, 0))
    assert result.facts["pixels_sha256"] == hashlib.sha256(wanted.tobytes()).hexdigest()


def test_the_disk_is_not_waited_for_at_each_picture(tmp_path, models, monkeypatch):
    # Two waits a picture took longer than all else.
    waits = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (waits.append(handle), flush(handle)))
    counts = []
    for count in (1, 9):
        config = SampleConfig(str(models["vae"]), count=count, out=str(tmp_path / f"{count}"))
        sample(config, report=lambda line: None)
        counts.append(len(waits))
    assert counts[1] == 2 * counts[0]


def test_a_call_that_is_stopped_leaves_no_facts_of_an_earlier_one(tmp_path, models, monkeypatch):
    config = SampleConfig(str(models["vae"]), count=2, out=str(tmp_path))
    sample(config, report=lambda line: None)
    opened = open_generator(models["vae"])

    def stop(latent, label):
        raise KeyboardInterrupt

    spied = dataclasses.replace(opened, decode=stop)
    monkeypatch.setattr(generation_sample, "open_generator", lambda model: spied)
    with pytest.raises(KeyboardInterrupt):
        sample(config, report=lambda line: None)
    assert not (tmp_path / "samples.json").exists()


def test_of_a_vae_no_steps_are_recorded(tmp_path, models):
    sample(SampleConfig(str(models["vae"]), count=1, out=str(tmp_path)), report=lambda line: None)
    facts = facts_in(tmp_path)
    assert [facts[name] for name in ("labels", "steps", "solver", "guidance")] == [None] * 4


@pytest.mark.parametrize(("steps", "frames"), [(3, 4), (101, 52)])
def test_the_path_begins_as_noise_and_ends_as_the_pictures(tmp_path, models, steps, frames):
    config = SampleConfig(
        str(models["flow"]), count=3, steps=steps, solver="euler", gif=True, out=str(tmp_path)
    )
    sample(config, report=lambda line: None)
    made = generator.sample(open_generator(models["flow"]), 3, 0, steps=steps, solver="euler")
    with Image.open(tmp_path / "path.gif") as image:
        assert image.n_frames == frames
        image.seek(frames - 1)
        assert image.info["duration"] == 1500
        last = np.asarray(image.convert("L"))
    assert np.array_equal(last, sheets.grid(made, 3)[..., 0])


def test_other_files_stay_and_what_is_left_over_is_named(capsys, tmp_path, models):
    (tmp_path / "mine.txt").write_text("mine")
    options = ("sample", models["vae"], "--out", tmp_path, "--count")
    assert "note" not in does(capsys, *options, 3)
    out = does(capsys, *options, 1)
    assert (
        f"note: {tmp_path} also holds what an earlier call made: sample-0001.png and 1 more" in out
    )
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vae", ("--label", 0), "--label 0 with a generator that was trained without labels"),
        (
            "vae",
            ("--steps", 3, "--gif"),
            "--steps 3 with a VAE, which makes its pictures in one step",
        ),
        ("vae", ("--gif",), "--gif with a VAE"),
        ("flow", ("--label", 3), "--label 3: expected 0 to 2"),
        ("flow", ("--label", -1), "--label -1: expected at least 0"),
        ("flow", ("--count", 0), "--count 0: expected a number from 1 to 100000"),
        ("flow", ("--count", -5), "--count -5: expected a number from 1 to 100000"),
        ("flow", ("--seed", "x"), "--seed x: expected a whole number"),
        ("flow", ("--seed", 1.5), "--seed 1.5: expected a whole number"),
        ("flow", ("--solver", "heum"), "--solver heum (did you mean 'heun'?)"),
    ],
)
def test_options_that_do_not_fit_are_refused(capsys, tmp_path, models, kind, options, message):
    line = refuses(capsys, "sample", models[kind], *options, "--out", tmp_path / "out")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_guidance_without_labels_is_refused(capsys, tmp_path):
    model = tiny_generators.write(tmp_path / "flow.keras", "flow")
    line = refuses(capsys, "sample", model, "--guidance", 3, "--out", tmp_path / "out")
    assert "--guidance 3.0 with a generator that was trained without labels: leave it out" in line


def test_what_is_no_generator_is_refused(capsys, tmp_path):
    assert "does not exist" in refuses(capsys, "sample", tmp_path / "none", "--out", tmp_path)
    (tmp_path / "file").write_text("text")
    assert "is not a model" in refuses(capsys, "sample", tmp_path / "file", "--out", tmp_path)


# --- What `evaluate` takes of a generator.


def test_evaluate_refuses_options_that_a_generator_has_not(capsys, tmp_path, models):
    options = ("--task", "denoise", "--self-ensemble", "--out", tmp_path / "out")
    line = refuses(capsys, "evaluate", models["flow"], *options)
    assert "--task denoise with a generator: leave it out; --self-ensemble with" in line


@pytest.mark.parametrize(
    ("options", "generates"), [({"count": 5}, True), ({"tile_size": 8}, False)]
)
def test_options_of_either_kind_of_model_are_told_apart(options, generates):
    config = EvaluateConfig("model", **options)
    check_evaluate_config(config, generates)
    with pytest.raises(UserError, match=f"{next(iter(options))}=.* with a .*: leave it out"):
        check_evaluate_config(config, not generates)


# --- Animations.


def test_a_grey_animation_keeps_every_level(tmp_path):
    frames = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    path = tmp_path / "a.gif"
    path.write_bytes(sheets.encode_gif([frames, frames[::-1]], scale=2))
    with Image.open(path) as image:
        assert (image.size, image.n_frames, image.info["loop"]) == ((32, 32), 2, 0)
        image.seek(1)
        shown = np.asarray(image.convert("L"))
    assert np.array_equal(shown[::2, ::2], frames[::-1, :, 0])


def test_a_colour_animation_shows_each_frame_anew(tmp_path, rng):
    frames = rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "a.gif"
    path.write_bytes(sheets.encode_gif(frames))
    with Image.open(path) as image:
        for index, frame in enumerate(frames):
            image.seek(index)
            assert np.array_equal(np.asarray(image.convert("RGB")), frame)


def test_there_and_back_shows_each_end_once():
    assert sheets.there_and_back([1, 2, 3, 4]) == [1, 2, 3, 4, 3, 2]
    assert sheets.there_and_back([1, 2]) == [1, 2]
