"""`tf-deconv benchmark --protocol`: how a set of pictures is measured, and what is said of it."""

import json
import math
import re
import sys
import types

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from tests.fixtures.commands import does, fails, refuses
from tests.fixtures.protocol_pictures import cut_photograph, grey
from tests.fixtures.tflite_files import converted
from tf_deconv.data.store import PictureStore
from tf_deconv.evaluation.protocols import cases, tables
from tf_deconv.evaluation.protocols import measure as protocol_measure
from tf_deconv.images import arrays
from tf_deconv.inference.restorer import Artifact, Restorer


def read(folder):
    return json.loads((folder / "protocol.json").read_text())


def row_of(scores, method):
    (row,) = (row for row in scores["rows"] if row["method"] == str(method))
    return row


@pytest.fixture(scope="module")
def photograph(unseen):
    return cut_photograph(unseen)


@pytest.fixture(scope="module")
def folder(photograph, tmp_path_factory):
    """A folder of the name of a set, with two grey pictures of different size."""
    folder = tmp_path_factory.mktemp("sets") / "set-12"
    folder.mkdir()
    Image.fromarray(grey(photograph)[..., 0]).save(folder / "a.png")
    Image.fromarray(grey(photograph)[:40, :50, 0]).save(folder / "b.png")
    return folder


@pytest.fixture(scope="module")
def colours(photograph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "mine"
    folder.mkdir()
    Image.fromarray(photograph).save(folder / "a.png")
    Image.fromarray(grey(photograph)[..., 0]).save(folder / "b.png")
    return folder


def identity(channels_in, channels_out, scale):
    """A model that repeats its input (the mean or a copy of it where channels differ)."""
    model = keras.Sequential(
        [
            keras.Input((None, None, channels_in)),
            layers.Conv2DTranspose(channels_out, scale, strides=scale, use_bias=False),
        ]
    )
    kernel = np.ones((channels_out, channels_in)) / channels_in
    kernel = np.eye(channels_in) if channels_in == channels_out else kernel
    model.set_weights([np.broadcast_to(kernel, (scale, scale, *kernel.shape))])
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Identities by name: channels in and out, and the scale if it is not 1."""
    folder = tmp_path_factory.mktemp("models")
    shapes = {"1": (1, 1, 1), "3": (3, 3, 1), "1to3": (1, 3, 1)}
    shapes |= {"3x2": (3, 3, 2), "3x3": (3, 3, 3), "1x2": (1, 1, 2)}
    for name, shape in shapes.items():
        identity(*shape).save(folder / f"{name}.keras")
    return {name: folder / f"{name}.keras" for name in shapes}


# --- Measuring, with functions for models.


def restoring(run, channels, scale=1, name="model"):
    restorer = Restorer(Artifact(run, channels, channels, 1, scale, 0))
    settings = (scale,) if scale > 1 else (15, 25, 50)
    return protocol_measure.Method(
        name, "model", channels, settings, lambda case, *_: restorer.restore(case.degraded)
    )


def measure(store, protocol, *methods):
    failures = []
    pictures, scores = protocol_measure.measure(
        protocol, methods, store, failures, lambda line: None
    )
    return pictures, scores, failures


def test_noise_reaches_the_model_unclipped_and_unrounded(photograph):
    seen = []

    def run(batch):
        seen.append(batch[0])
        return batch

    dark = PictureStore.of([("dark", np.zeros((9, 11, 3), np.uint8)), ("photo", photograph)])
    measure(dark, "awgn-grey", restoring(run, 1))
    assert seen[0].min() < -0.1
    for picture, received in (
        (np.zeros((9, 11, 1), np.uint8), seen[0]),
        (grey(photograph), seen[3]),
    ):
        expected = cases.add_noise(arrays.to_float(picture), 15)
        np.testing.assert_array_equal(received, expected)


def test_a_perfect_model_is_exact(photograph):
    store = PictureStore.of([("a", photograph), ("b", photograph[:20])])
    perfect = protocol_measure.Method(
        "perfect", "model", 3, (15, 25, 50), lambda case, *_: arrays.to_float(case.clean)
    )
    _, (scores,), failures = measure(store, "awgn-colour", perfect)
    assert failures == []
    assert scores == {sigma: [math.inf, math.inf] for sigma in (15, 25, 50)}
    row = protocol_measure._measured_row(perfect, scores)
    assert row["psnr_db"] == {"15": math.inf, "25": math.inf, "50": math.inf}
    assert row["exact_pictures"] == {"15": 2, "25": 2, "50": 2}
    result = {"protocol": "awgn-colour", "settings": ["15", "25", "50"], "rows": [row]}
    line = tables.table(result)[-1]
    assert line == "| perfect | exact | exact | exact | - | - | measured |"


def test_means_leave_out_what_is_exact():
    method = protocol_measure.Method("x", "model", 1, (15,), None)
    row = protocol_measure._measured_row(method, {15: [30.0, math.inf, 32.0]})
    assert row["psnr_db"] == {"15": 31.0}
    assert row["exact_pictures"] == {"15": 1}


def test_a_picture_that_one_method_fails_on_counts_for_none(photograph):
    store = PictureStore.of([("a", photograph), ("b", photograph[:20]), ("c", photograph[:30])])

    def run(batch):
        if batch.shape[1] == 20:
            raise RuntimeError("no\nsuch size")
        return batch

    methods = restoring(run, 1), restoring(lambda batch: batch, 1)
    pictures, scores, failures = measure(store, "awgn-grey", *methods)
    assert [picture["name"] for picture in pictures] == ["a", "c"]
    assert pictures[1]["size"] == "72x30"
    assert failures == ["b: no such size"]
    assert scores[0] == scores[1]
    assert [len(values) for values in scores[1].values()] == [2, 2, 2]


def test_baselines_are_one_for_each_kind_of_picture():
    def of(channels, scale):
        return restoring(None, channels, scale)

    found = protocol_measure.baselines("sr", [of(1, 2), of(3, 4), of(3, 2)])
    assert [(m.name, m.channels, m.settings) for m in found] == [
        ("bicubic", 3, (2, 4)),
        ("bicubic of Y", 1, (2,)),
    ]
    assert [m.name for m in protocol_measure.baselines("sr", [of(1, 2)])] == ["bicubic"]
    assert [m.name for m in protocol_measure.baselines("awgn-grey", [of(1, 1)] * 2)] == ["noisy"]


# --- The command.


def test_an_identity_scores_what_doing_nothing_does(capsys, tmp_path, models, folder):
    options = ("--protocol", "awgn-grey", "--data", folder, "--out", tmp_path)
    out = does(capsys, "benchmark", models["1"], *options)
    scores = read(tmp_path)
    assert scores["set"] == "Set12"
    assert scores["settings"] == ["15", "25", "50"]
    assert scores["pictures"] == [
        {"name": "a.png", "size": "72x60"},
        {"name": "b.png", "size": "50x40"},
    ]
    noisy, model = row_of(scores, "noisy"), row_of(scores, models["1"])
    assert [row["kind"] for row in scores["rows"]] == ["baseline", *["published"] * 6, "model"]
    assert noisy["psnr_db"] == model["psnr_db"]
    # The first figure by hand: 15 grey levels, a little less where clipping takes noise away.
    assert 20 * math.log10(255 / 15) < noisy["psnr_db"]["15"] < 25.2
    for setting, mean in model["psnr_db"].items():
        assert mean == pytest.approx(np.mean(model["pictures_psnr_db"][setting]))
    assert model["parameters"] == {"15": 1, "25": 1, "50": 1}
    assert model["multiply_adds_per_pixel"]["25"] == 1
    assert row_of(scores, "BM3D")["psnr_db"] == {"15": 32.37, "25": 29.97, "50": 26.72}
    assert row_of(scores, "DnCNN")["figures_from"] == "Zhang et al. 2021 (DRUNet)"
    page = (tmp_path / "protocol.md").read_text().splitlines()
    assert page[0] == "# awgn-grey on set-12"
    mean = " | ".join(f"{noisy['psnr_db'][s]:.2f}" for s in ("15", "25", "50"))
    assert f"| noisy | {mean} | - | - | measured |" in page
    assert f"| {models['1']} | {mean} | 1 | 1 | measured |" in page
    ffdnet = "| FFDNet | 32.75 | 30.43 | 27.32 | 485k | 121k | Zhang et al. 2021 (DRUNet) |"
    assert ffdnet in page
    assert ffdnet in out.splitlines()
    first = " / ".join(f"{noisy['pictures_psnr_db'][s][0]:.2f}" for s in ("15", "25", "50"))
    assert f"| a.png | 72x60 | {first} | {first} |" in page


@pytest.mark.parametrize("kind", ["saved_model", "tflite"])
def test_every_format_scores_the_same_and_gets_unclipped_noise(
    capsys, tmp_path, models, folder, kind
):
    from tf_deconv.exporting.saved_model import restorer as saved_restorer

    model = keras.models.load_model(models["1"])
    path = tmp_path / "1"
    if kind == "saved_model":
        saved_restorer.write_saved_model(model, path, divisor=1, scale=1, max_pixels=2**20, reach=0)
    else:
        calibration = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
        how = dict(divisor=1, scale=1, keep_relu=False, phased=False)
        contents = converted(model, ("float32",), ((16, 16),), calibration, **how)
        path.write_bytes(contents["float32"])
    does(capsys, "benchmark", path, "--protocol", "awgn-grey", "--data", folder, "--out", tmp_path)
    scores = read(tmp_path)
    assert row_of(scores, path)["psnr_db"] == row_of(scores, "noisy")["psnr_db"]
    assert row_of(scores, path)["parameters"] == {}


def test_colour_takes_grey_pictures_as_three_channels(capsys, tmp_path, models, colours):
    options = ("--protocol", "awgn-colour", "--data", colours, "--out", tmp_path)
    out = does(capsys, "benchmark", models["3"], *options)
    assert "note: 1 of 2 pictures are grey: taken as three equal channels" in out
    assert "note: papers' figures are known for CBSD68: none are shown for a folder" in out
    assert "'mine'" in out
    scores = read(tmp_path)
    assert scores["set"] is None
    assert [row["kind"] for row in scores["rows"]] == ["baseline", "model"]


def test_grey_takes_the_luminance_of_colour_pictures(capsys, tmp_path, models, colours, folder):
    options = ("--protocol", "awgn-grey", "--out", tmp_path)
    out = does(capsys, "benchmark", models["1"], *options, "--data", colours)
    assert "note: 1 of 2 pictures are in colour: luminance is taken of them" in out
    values = row_of(read(tmp_path), "noisy")["pictures_psnr_db"]["25"]
    assert values[0] == values[1]  # The second picture is the luminance of the first.
    out = does(capsys, "benchmark", models["1"], *options, "--data", folder)
    assert out.count("note") == 1
    # The folder has the name of a set, and other pictures.
    assert "note: Set12 has 12 pictures and 2 were measured: the means do not compare" in out


def test_super_resolution_shows_the_scales_of_its_models(capsys, tmp_path, models, colours):
    given = models["3x2"], models["3x3"], models["1x2"]
    options = ("--protocol", "sr", "--data", colours, "--out", tmp_path)
    out = does(capsys, "benchmark", *given, *options)
    assert "a grey model gets Y" in out
    scores = read(tmp_path)
    assert scores["settings"] == ["2", "3"]
    rows = [row_of(scores, name) for name in ("bicubic", "bicubic of Y", *given)]
    shown = [list(row["psnr_db"]) for row in rows]
    assert shown == [["2", "3"], ["2"], ["2"], ["3"], ["2"]]
    bicubic, of_y, nearest, _, nearest_y = (row["psnr_db"] for row in rows)
    # Luminance first or resizing first is worth little; repeated pixels are worse than bicubic.
    assert of_y["2"] == pytest.approx(bicubic["2"], abs=0.1)
    assert nearest["2"] < bicubic["2"] - 0.5
    assert nearest_y["2"] == pytest.approx(nearest["2"], abs=0.1)
    assert rows[2]["multiply_adds_per_pixel"] == {"2": 9.0}
    page = (tmp_path / "protocol.md").read_text()
    cells = f"{bicubic['2']:.2f} | {bicubic['3']:.2f}"
    assert f"| bicubic | {cells} | - | - | measured |" in page
    assert f"| {given[0]} | {nearest['2']:.2f} | - | " in page


def test_jpeg_takes_grey_and_colour_models(capsys, tmp_path, models, colours):
    options = ("--protocol", "jpeg", "--data", colours, "--out", tmp_path)
    out = does(capsys, "benchmark", models["1"], models["3"], *options)
    assert "a colour model gets grey as three equal channels" in out
    assert "1 of 2 pictures are in colour: Y (16 to 235) is taken" in out
    scores = read(tmp_path)
    expected = row_of(scores, "JPEG")["psnr_db"]
    assert list(expected) == ["10", "20", "30", "40"]
    assert sorted(expected.values()) == list(expected.values())
    for name in ("1", "3"):
        assert row_of(scores, models[name])["psnr_db"] == expected


def test_a_self_ensemble_of_an_identity_changes_nothing(capsys, tmp_path, models, folder):
    options = ("--protocol", "awgn-grey", "--data", folder, "--out", tmp_path)
    out = does(capsys, "benchmark", models["1"], *options, "--self-ensemble", "--tile-size", 32)
    assert "mean over the 8 flips and turns" in out
    scores = read(tmp_path)
    assert scores["self_ensemble"] is True
    assert row_of(scores, models["1"])["psnr_db"] == row_of(scores, "noisy")["psnr_db"]


def test_json_is_all_that_is_printed(capsys, tmp_path, models, folder):
    options = ("--protocol", "awgn-grey", "--data", folder, "--out", tmp_path, "--json")
    out = does(capsys, "benchmark", models["1"], *options)
    assert json.loads(out) == read(tmp_path)


def test_a_bad_picture_is_named_and_the_others_are_measured(capsys, tmp_path, models, folder):
    data = tmp_path / "in"
    data.mkdir()
    for path in folder.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    (data / "aa.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 5)).save(data / "flat.png")
    options = ("--protocol", "sr", "--data", data, "--out", tmp_path / "out")
    out = does(capsys, "benchmark", models["3x2"], *options, expected=1)
    last = out.splitlines()[-3:]
    assert last[0] == "2 pictures could not be measured:"
    assert last[1].startswith("  aa.png: is not a picture of a kind that is read")
    assert last[2].startswith("  flat.png: 40x5 pixels: expected at least 6 either way")
    scores = read(tmp_path / "out")
    assert [picture["name"] for picture in scores["pictures"]] == ["a.png", "b.png"]
    assert len(scores["failures"]) == 2
    assert "- not measured: flat.png" in (tmp_path / "out" / "protocol.md").read_text()


def test_a_config_file_chooses_the_protocol(capsys, tmp_path, models, folder):
    config = tmp_path / "config.json"
    options = {"protocol": "awgn-grey", "data": str(folder), "out": str(tmp_path / "out")}
    config.write_text(json.dumps(options))
    does(capsys, "benchmark", models["1"], "--config", config)
    assert read(tmp_path / "out")["protocol"] == "awgn-grey"


WITH = ("--protocol", "awgn-grey", "--data", "FOLDER")
MISTAKES = [
    ((), "no --export and no --protocol: expected --export and the folder of"),
    (("--export", "x", *WITH), "--export x and --protocol awgn-grey: expected --export"),
    (("1", "--protocol", "awgn-gray", "--data", "FOLDER"), r"\(did you mean 'awgn-grey'\?\)"),
    (("1", "--protocol", "awgn-grey"), "no --data: expected a folder"),
    (WITH, "no MODEL: expected one or more"),
    (("1", *WITH, "--threads", "4"), "--threads 4 with --protocol: leave it out"),
    (("--export", "x", "--data", "y"), "--data y with --export: leave it out"),
    (("--export", "x", "--self-ensemble"), "--self-ensemble with --export: leave it out"),
    (("1", "--export", "x"), "MODEL '.*1.keras' with --export"),
    (("1", *WITH, "--tile-size", "-1"), "--tile-size -1: expected a number from 0 to 65536"),
    (("1", "--protocol", "awgn-grey", "--data", "nowhere"), "'nowhere' .*does not exist"),
    (("1", "--protocol", "awgn-grey", "--data", "EMPTY"), "holds no picture"),
    (("no/model", *WITH), "'no/model' does not exist: expected a run folder"),
    (("3", *WITH), "expected 1 in and 1 out, and scale 1: --protocol awgn-colour or --protocol"),
    (("1", "--protocol", "awgn-colour", "--data", "FOLDER"), "expected 3 in and 3 out"),
    (("3x2", *WITH), "3 channels in, 3 out and scale 2; .*scale 1: --protocol sr fits it"),
    (("3", "--protocol", "sr", "--data", "FOLDER"), "3 in and 3 out, and scale 2, 3, 4"),
    (("1to3", "--protocol", "jpeg", "--data", "FOLDER"), "no protocol fits it"),
    (("1", "--protocol", "jpeg", "--data", "FOLDER", "--classical"), "awgn-grey or awgn-colour"),
    (("1", *WITH, "--out", "FILE"), "cannot be written|file"),
]


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES)
def test_a_mistake_is_one_line(capsys, tmp_path, models, folder, arguments, expected):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = {"FOLDER": folder, "EMPTY": tmp_path / "empty", "FILE": tmp_path / "file", **models}
    arguments = [places.get(word, word) for word in arguments]
    if "--out" not in arguments:
        arguments += ["--out", tmp_path / "out"] if "--protocol" in arguments else []
    error = refuses(capsys, "benchmark", *arguments)
    assert re.search(expected, error), error


def test_pictures_that_are_all_too_small_are_a_mistake(capsys, tmp_path, models):
    Image.new("L", (8, 20)).save(tmp_path / "a.png")
    options = ("--protocol", "sr", "--data", tmp_path, "--out", tmp_path / "out")
    error = fails(capsys, "benchmark", models["3x3"], *options)
    assert re.search("none of the 1 pictures in .* a.png: 8x20 .* at least 9 either way", error)
    assert not (tmp_path / "out" / "protocol.json").exists()


def test_without_its_package_bm3d_is_asked_for_by_name(capsys, models, folder, monkeypatch):
    monkeypatch.setattr(protocol_measure.importlib.util, "find_spec", lambda name: None)
    arguments = (models["1"], "--protocol", "awgn-grey", "--data", folder, "--classical")
    assert "pip install bm3d" in refuses(capsys, "benchmark", *arguments)


def test_bm3d_is_told_sigma_and_gets_what_the_model_gets(photograph, monkeypatch, capsys, tmp_path):
    seen = []

    def denoise(noisy, sigma):
        seen.append((noisy.shape, round(sigma * 255)))
        return noisy

    package = types.ModuleType("bm3d")
    package.bm3d = package.bm3d_rgb = denoise
    monkeypatch.setitem(sys.modules, "bm3d", package)
    monkeypatch.setattr(protocol_measure.importlib.util, "find_spec", lambda name: name)
    data = tmp_path / "in"
    data.mkdir()
    Image.fromarray(photograph).save(data / "a.png")
    for protocol, shape in (("awgn-grey", (60, 72)), ("awgn-colour", (60, 72, 3))):
        seen.clear()
        # No model is needed beside it.
        options = ("--protocol", protocol, "--data", data, "--classical", "--out", tmp_path)
        does(capsys, "benchmark", *options)
        assert seen == [(shape, sigma) for sigma in (15, 25, 50)]
        scores = read(tmp_path)
        assert row_of(scores, "bm3d (package)")["psnr_db"] == row_of(scores, "noisy")["psnr_db"]
