"""`benchmarks/ablation.py`: its rows, its networks, and what it makes of their runs."""

import json
import pathlib
import sys

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import ablation
import ablation_networks
import dead_leaves
import recipes

from tf_deconv.networks.table import NETWORKS
from tf_deconv.training.config import TrainConfig, check_train_config


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    """The networks that are tried stand in the table during a test alone."""
    before = dict(NETWORKS)
    ablation_networks.register()
    yield
    NETWORKS.clear()
    NETWORKS.update(before)


@pytest.mark.parametrize("setting", recipes.SETTINGS)
def test_every_row_is_what_train_takes_and_sees_the_pixels_of_all(setting):
    for name in recipes.RECIPES:
        check_row(name, setting)


def check_row(name, setting):
    recipe = recipes.find(name)
    plans = recipes.stages_of(recipe, setting, 2e9, 3, {"data": "pictures"})
    configs = [check_train_config(TrainConfig(**plan)) for plan in plans]
    pixels = sum(
        config.epochs * config.steps_per_epoch * config.batch_size * config.patch_size**2
        for config in configs
    )
    assert pixels == pytest.approx(2e9, rel=0.01)
    assert sum(stage.share for stage in recipe.stages) == pytest.approx(1.0)
    assert max(config.patch_size for config in configs) <= recipes.SMALLEST_PICTURE_PX
    assert recipes.find(recipe.against)
    assert recipe.teacher is None or recipes.find(recipe.teacher)


def test_what_is_tried_begins_as_the_unet(rng):
    image = rng.random((1, 16, 16, 3), np.float32)
    for name in ("one-level", "overlapping-tail", "gated"):
        model = NETWORKS[name].build(channels_in=3, channels_out=3, size="base", scale=1)
        np.testing.assert_array_equal(model(image), image)
    plain = NETWORKS["unet"].build(channels_in=3, channels_out=3, size="base", scale=1)
    for weight in plain.trainable_weights:
        weight.assign(rng.normal(0, 0.05, weight.shape))
    gated = NETWORKS["gated"].build(channels_in=3, channels_out=3, size="base", scale=1)
    values = {weight.path: weight.numpy() for weight in plain.weights}
    for weight in gated.weights:
        weight.assign(values.get(weight.path, weight))
    np.testing.assert_allclose(gated(image), plain(image), rtol=1e-4, atol=1e-4)


def test_leaves_are_a_function_of_seed_and_number_and_fill_the_picture():
    once = dead_leaves.draw(64, 1, 2)
    np.testing.assert_array_equal(dead_leaves.draw(64, 1, 2), once)
    assert not np.array_equal(dead_leaves.draw(64, 1, 3), once)
    assert once.std() > 10
    flat = np.abs(np.diff(once.astype(int), axis=0)).max(-1)
    assert (flat < 8).mean() > 0.3  # Leaves,
    assert (flat > 40).mean() > 0.02  # and edges between them.


def line(row, seed, decibels, **more):
    """A line of the file whose curve goes through some decibels at equal distances."""
    curve = [[0.5 * (n + 1), value] for n, value in enumerate(decibels)]
    own = dict(row=row, on="grey", seed=seed, gigapixels=2.0, data="cc0", changes={})
    own |= dict(db=decibels[-1], curve=curve, cpu_s=3600.0, multiply_adds=74912)
    return {**own, **more}


LINES = [
    line("batch-32", 0, [30, 30.5, 31, 31.3]),
    line("base", 0, [30, 31, 31.1, 31.2]),
    line("base", 1, [30, 31, 31.2, 31.4]),
    line("base", 0, [28, 29, 29.5, 29.6], on="photo"),
]


def test_the_table_tells_mean_spread_difference_and_what_the_second_half_brought():
    text = ablation.make_table(LINES)
    assert text[0] == "**grey, 2 Gpixel, cc0**"
    assert text[4:6] == [
        "| base | Muon 0.004 on a cosine, 8 patches of 96, L1 | 2 | 31.300 | 0.200 |  | +0.300 |"
        " 3600 | 74,912 |",
        "| batch-32 | 32 patches, rate 0.008 | 1 | 31.300 | 0.000 | +0.000 base | +0.800 | 3600 |"
        " 74,912 |",
    ]
    assert "**photo, 2 Gpixel, cc0**" in text


def test_the_plot_is_drawn(tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(own) + "\n" for own in LINES))
    assert ablation.main(["plot", "--file", str(path)]) == 0
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bass", "--data", "x"], "did you mean 'base'"),
        (["base"], "expected --data"),
        (["base", "--data", "x", "--set", "size"], "expected NAME=VALUE"),
        (["base", "--data", "no-such-folder"], "does not exist: expected a folder"),
        (["base", "--data", "x", "--seeds", "0"], "--seeds 0: expected a number above 0"),
        (["base", "--data", "x", "--minutes", "-3"], "--minutes -3.0: expected a number above 0"),
        (["base", "--data", "x", "--gigapixels", "nan"], "--gigapixels nan: expected a number"),
        (["plot"], "has no runs yet"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, message, tmp_path, capsys):
    assert ablation.main([*words, "--file", str(tmp_path / "none.jsonl")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_row_is_trained_once_in_its_stages_on_its_pictures(tmp_path, capsys, monkeypatch):
    halves = (recipes.Stage(0.5), recipes.Stage(0.5, dict(loss="psnr")))
    recipe = recipes.Recipe("data", "few", stages=halves, pictures=1, leaves=2)
    monkeypatch.setitem(recipes.RECIPES, "few", recipe)
    monkeypatch.setitem(recipes.VALIDATION, "count", 8)
    monkeypatch.setattr(recipes, "POINTS", 4)
    dead_leaves.write(tmp_path / "pictures", 8, recipes.SMALLEST_PICTURE_PX, seed=7)
    words = ["few", "--data", str(tmp_path / "pictures"), "--gigapixels", "0.00001"]
    words += ["--seeds", "1", "--runs", str(tmp_path / "runs")]
    words += ["--file", str(tmp_path / "lines.jsonl"), "--set", "size=tiny", "precision=float32"]
    words += ["validation_fraction=0.2", "batch_size=1", "patch_size=16"]
    assert ablation.main(words) == 0
    assert "done before" not in capsys.readouterr().out
    assert ablation.main(words) == 0
    assert "few, seed 0: done before" in capsys.readouterr().out
    (own,) = ablation.read_lines(tmp_path / "lines.jsonl")
    assert len(own["curve"]) == recipes.POINTS
    assert own["curve"][-1][0] * 1e9 == pytest.approx(own["pixels"], rel=0.1)
    assert own["cpu_s"] > 0
    (second,) = (tmp_path / "runs").glob("few-*-2")
    config = json.loads((second / "config.json").read_text())
    assert config["init"].endswith("-1")
    assert config["loss"] == "psnr"
    assert json.loads((second / "metrics.json").read_text())["training_pictures"] == 3
