"""`tf-deconv benchmark --protocol`: what is done to pictures, how they score, what is said."""

import dataclasses
import io
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
from skimage.color import rgb2ycbcr

from tf_deconv import cli, images, protocol_cases, protocol_table, protocols, published
from tf_deconv.inference import Artifact, Restorer
from tf_deconv.picture_store import PictureStore
from tf_deconv.protocol_cases import make_case

ONE_LEVEL_DB = 20 * math.log10(255)


def call(capsys, *arguments):
    try:
        code = cli.main(["benchmark", *map(str, arguments)])
    except SystemExit as stop:  # argparse ends by itself
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def measures(capsys, *arguments, expected=0):
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (expected, ""), out + err
    return out


def refuses(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    return err


def read(folder):
    return json.loads((folder / "protocol.json").read_text())


def row_of(scores, method):
    (row,) = (row for row in scores["rows"] if row["method"] == str(method))
    return row


@pytest.fixture(scope="module")
def photograph(bundled):
    """(60, 72, 3) uint8, its grey levels far enough from 0 and 255 to tell what clipping does."""
    return np.ascontiguousarray(bundled.validation.picture(0)[100:160, 100:172])


def grey(picture):
    return images.to_uint8(images.luminance(images.to_float(picture)))


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


# --- What is done to a picture.


@pytest.mark.parametrize("sigma", [15, 25, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_numpys_with_seed_0_before_each_picture(photograph, sigma, channels):
    protocol = {1: "awgn-grey", 3: "awgn-colour"}[channels]
    clean = grey(photograph) if channels == 1 else photograph
    # Word for word what the test programs of FFDNet, DRUNet and SwinIR do.
    state = np.random.get_state()
    try:
        np.random.seed(seed=0)
        expected = np.float32(clean / 255.0)
        expected += np.random.normal(0, sigma / 255.0, expected.shape)
    finally:
        np.random.set_state(state)
    for _ in range(2):  # The second picture gets the same.
        case = make_case(protocol, photograph, sigma, channels)
        np.testing.assert_array_equal(case.degraded, expected)
    assert case.degraded.dtype == np.float32
    np.testing.assert_array_equal(case.clean, clean)


def test_the_first_number_of_the_noise_is_known():
    # Of the Mersenne Twister with seed 0: no version of NumPy may change it.
    noise = protocol_cases.add_noise(np.zeros((1, 1, 1), np.float32), 255)
    assert noise[0, 0, 0] == pytest.approx(1.764052345967664)


def test_noise_leaves_the_global_generator_alone(photograph):
    before = np.random.get_state()[1].copy()
    make_case("awgn-colour", photograph, 25, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


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
        expected = protocol_cases.add_noise(images.to_float(picture), 15)
        np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("quality", [10, 20, 30, 40])
@pytest.mark.parametrize("colour", [False, True])
def test_jpeg_is_what_pillow_writes_and_reads(photograph, quality, colour):
    picture = photograph if colour else np.repeat(grey(photograph), 3, axis=-1)
    case = make_case("jpeg", picture, quality, 1)
    luma = np.rint(rgb2ycbcr(photograph)[..., 0]).astype(np.uint8)
    expected = luma if colour else picture[..., 0]
    np.testing.assert_array_equal(case.clean[..., 0], expected)
    stream = io.BytesIO()
    Image.fromarray(expected).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        np.testing.assert_array_equal(case.degraded[..., 0], images.to_float(np.asarray(image)))


def test_y_is_that_of_scikit_image_rounded(rng):
    pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
    pixels[0, :2] = [[0] * 3, [255] * 3]
    luma = protocol_cases.studio_luma(pixels)
    assert luma.dtype == np.uint8
    np.testing.assert_array_equal(luma[..., 0], np.rint(rgb2ycbcr(pixels)[..., 0]))
    assert luma[0, :2, 0].tolist() == [16, 235]


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_super_resolution_starts_from_an_8_bit_picture(photograph, scale, channels):
    picture = photograph[:-1, :-1]  # 59x71, which no scale divides
    case = make_case("sr", picture, scale, channels)
    height, width = (side // scale for side in picture.shape[:2])
    assert case.degraded.shape == (height, width, channels)
    assert case.clean.shape == case.baseline.shape == (height * scale, width * scale, channels)
    levels = case.degraded * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    cut = picture[: height * scale, : width * scale]
    clean = protocol_cases.studio_luma(cut) if channels == 1 else cut
    np.testing.assert_array_equal(case.clean, clean)
    # Pillow's kernel is the same; the edges are not: tests/test_literature.py.
    shown = Image.fromarray(clean[..., 0] if channels == 1 else clean)
    small = np.asarray(shown.resize((width, height), Image.Resampling.BICUBIC))
    difference = np.abs(levels - small.reshape(case.degraded.shape))[2:-2, 2:-2]
    assert difference.max() < 1.5
    assert difference.mean() < 0.2


# --- How it scores.


@pytest.mark.parametrize(("protocol", "channels"), [("awgn-grey", 1), ("awgn-colour", 3)])
def test_restored_pictures_are_rounded_to_8_bits(photograph, protocol, channels):
    case = make_case(protocol, photograph, 25, channels)
    clean = images.to_float(case.clean)
    assert case.psnr_db(clean + 0.4 / 255) == math.inf
    assert case.psnr_db(clean + 0.6 / 255) == pytest.approx(ONE_LEVEL_DB)
    assert case.psnr_db(clean + 5) == case.psnr_db(np.ones_like(clean))  # And clipped.
    assert math.isfinite(case.psnr_db(np.full_like(clean, np.nan)))


@pytest.mark.parametrize("protocol", ["awgn-grey", "awgn-colour", "jpeg"])
def test_every_pixel_counts_where_no_border_is_cut(photograph, protocol):
    case = make_case(protocol, photograph, 25, 3 if protocol == "awgn-colour" else 1)
    restored = images.to_float(case.clean).copy()
    restored[0, -1, 0] += 0.2 * (1 if restored[0, -1, 0] < 0.5 else -1)
    assert case.psnr_db(restored) == pytest.approx(10 * math.log10(restored.size / 0.04), abs=0.01)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_as_many_pixels_as_the_scale_are_cut_at_each_border(photograph, scale, channels):
    case = make_case("sr", photograph, scale, channels)
    restored = images.to_float(case.clean).copy()
    for border in range(scale):
        restored[border], restored[:, -1 - border] = 0, 1
    assert case.psnr_db(restored) == math.inf
    restored[scale, scale] = 1 - restored[scale, scale]
    assert math.isfinite(case.psnr_db(restored))


def test_super_resolution_in_colour_is_scored_on_y(photograph):
    case = make_case("sr", photograph, 2, 3)
    restored = images.to_float(np.roll(case.clean, 1, axis=0))
    pair = (
        np.rint(rgb2ycbcr(pixels)[2:-2, 2:-2, 0])
        for pixels in (images.to_uint8(restored), case.clean)
    )
    error = np.mean(np.subtract(*pair) ** 2)
    assert case.psnr_db(restored) == pytest.approx(10 * math.log10(255**2 / error))


def test_of_a_colour_model_the_luminance_is_scored_against_grey(photograph):
    case = make_case("jpeg", photograph, 10, 1)
    clean = images.to_float(case.clean)
    assert case.psnr_db(np.repeat(clean, 3, axis=-1)) == math.inf
    # Red counts 0.299: 30 levels of it are 8.97, which are 9 of 8 bits.
    reddish = np.concatenate([clean + 30 / 255, clean, clean], axis=-1)
    assert case.psnr_db(np.clip(reddish, 0, 1)) == pytest.approx(ONE_LEVEL_DB - 20 * math.log10(9))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_picture_must_have_a_pixel_left_to_score(scale):
    smallest = np.zeros((3 * scale, 3 * scale, 3), np.uint8)
    assert make_case("sr", smallest, scale, 3).degraded.shape == (3, 3, 3)
    with pytest.raises(ValueError, match=f"expected at least {3 * scale} either way"):
        make_case("sr", smallest[:-1], scale, 3)


# --- Measuring, with functions for models.


def restoring(run, channels, scale=1, name="model"):
    restorer = Restorer(Artifact(run, channels, channels, 1, scale, 0))
    settings = (scale,) if scale > 1 else (15, 25, 50)
    return protocols.Method(
        name, "model", channels, settings, lambda case, *_: restorer.restore(case.degraded)
    )


def measure(store, protocol, *methods):
    failures = []
    pictures, scores = protocols.measure(protocol, methods, store, failures, lambda line: None)
    return pictures, scores, failures


def test_a_perfect_model_is_exact(photograph):
    store = PictureStore.of([("a", photograph), ("b", photograph[:20])])
    perfect = protocols.Method(
        "perfect", "model", 3, (15, 25, 50), lambda case, *_: images.to_float(case.clean)
    )
    _, (scores,), failures = measure(store, "awgn-colour", perfect)
    assert failures == []
    assert scores == {sigma: [math.inf, math.inf] for sigma in (15, 25, 50)}
    row = protocols._measured_row(perfect, scores)
    assert row["psnr_db"] == {"15": math.inf, "25": math.inf, "50": math.inf}
    assert row["exact_pictures"] == {"15": 2, "25": 2, "50": 2}
    result = {"protocol": "awgn-colour", "settings": ["15", "25", "50"], "rows": [row]}
    line = protocol_table.table(result)[-1]
    assert line == "| perfect | exact | exact | exact | - | - | measured |"


def test_means_leave_out_what_is_exact():
    method = protocols.Method("x", "model", 1, (15,), None)
    row = protocols._measured_row(method, {15: [30.0, math.inf, 32.0]})
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

    found = protocols.baselines("sr", [of(1, 2), of(3, 4), of(3, 2)])
    assert [(m.name, m.channels, m.settings) for m in found] == [
        ("bicubic", 3, (2, 4)),
        ("bicubic of Y", 1, (2,)),
    ]
    assert [m.name for m in protocols.baselines("sr", [of(1, 2)])] == ["bicubic"]
    assert [m.name for m in protocols.baselines("awgn-grey", [of(1, 1)] * 2)] == ["noisy"]


# --- The command.


def test_an_identity_scores_what_doing_nothing_does(capsys, tmp_path, models, folder):
    out = measures(
        capsys, models["1"], "--protocol", "awgn-grey", "--data", folder, "--out", tmp_path
    )
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
    from tf_deconv.exporting import saved_model, tflite

    model = keras.models.load_model(models["1"])
    path = tmp_path / "1"
    if kind == "saved_model":
        saved_model.write_saved_model(model, path, divisor=1, scale=1, max_pixels=2**20, reach=0)
    else:
        calibration = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
        how = dict(divisor=1, scale=1, keep_relu=False, phased=False)
        contents = tflite.convert(model, ("float32",), ((16, 16),), calibration, **how)
        path.write_bytes(contents["float32"])
    measures(capsys, path, "--protocol", "awgn-grey", "--data", folder, "--out", tmp_path)
    scores = read(tmp_path)
    assert row_of(scores, path)["psnr_db"] == row_of(scores, "noisy")["psnr_db"]
    assert row_of(scores, path)["parameters"] == {}


def test_colour_takes_grey_pictures_as_three_channels(capsys, tmp_path, models, colours):
    options = ("--protocol", "awgn-colour", "--data", colours, "--out", tmp_path)
    out = measures(capsys, models["3"], *options)
    assert "note: 1 of 2 pictures are grey: taken as three equal channels" in out
    assert "note: papers' figures are known for CBSD68: none are shown for a folder" in out
    assert "'mine'" in out
    scores = read(tmp_path)
    assert scores["set"] is None
    assert [row["kind"] for row in scores["rows"]] == ["baseline", "model"]


def test_grey_takes_the_luminance_of_colour_pictures(capsys, tmp_path, models, colours, folder):
    options = ("--protocol", "awgn-grey", "--out", tmp_path)
    out = measures(capsys, models["1"], *options, "--data", colours)
    assert "note: 1 of 2 pictures are in colour: luminance is taken of them" in out
    values = row_of(read(tmp_path), "noisy")["pictures_psnr_db"]["25"]
    assert values[0] == values[1]  # The second picture is the luminance of the first.
    out = measures(capsys, models["1"], *options, "--data", folder)
    assert out.count("note") == 1
    # The folder has the name of a set, and other pictures.
    assert "note: Set12 has 12 pictures and 2 were measured: the means do not compare" in out


def test_super_resolution_shows_the_scales_of_its_models(capsys, tmp_path, models, colours):
    given = models["3x2"], models["3x3"], models["1x2"]
    options = ("--protocol", "sr", "--data", colours, "--out", tmp_path)
    out = measures(capsys, *given, *options)
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
    out = measures(capsys, models["1"], models["3"], *options)
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
    out = measures(capsys, models["1"], *options, "--self-ensemble", "--tile-size", 32)
    assert "mean over the 8 flips and turns" in out
    scores = read(tmp_path)
    assert scores["self_ensemble"] is True
    assert row_of(scores, models["1"])["psnr_db"] == row_of(scores, "noisy")["psnr_db"]


def test_json_is_all_that_is_printed(capsys, tmp_path, models, folder):
    options = ("--protocol", "awgn-grey", "--data", folder, "--out", tmp_path, "--json")
    out = measures(capsys, models["1"], *options)
    assert json.loads(out) == read(tmp_path)


def test_a_bad_picture_is_named_and_the_others_are_measured(capsys, tmp_path, models, folder):
    data = tmp_path / "in"
    data.mkdir()
    for path in folder.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    (data / "aa.png").write_bytes(b"no picture")
    Image.new("RGB", (40, 5)).save(data / "flat.png")
    options = ("--protocol", "sr", "--data", data, "--out", tmp_path / "out")
    out = measures(capsys, models["3x2"], *options, expected=1)
    last = out.splitlines()[-3:]
    assert last[0] == "2 pictures could not be measured:"
    assert last[1].startswith("  aa.png: cannot identify image file")
    assert last[2].startswith("  flat.png: 40x5 pixels: expected at least 6 either way")
    scores = read(tmp_path / "out")
    assert [picture["name"] for picture in scores["pictures"]] == ["a.png", "b.png"]
    assert len(scores["failures"]) == 2
    assert "- not measured: flat.png" in (tmp_path / "out" / "protocol.md").read_text()


def test_a_config_file_chooses_the_protocol(capsys, tmp_path, models, folder):
    config = tmp_path / "config.json"
    options = {"protocol": "awgn-grey", "data": str(folder), "out": str(tmp_path / "out")}
    config.write_text(json.dumps(options))
    measures(capsys, models["1"], "--config", config)
    assert read(tmp_path / "out")["protocol"] == "awgn-grey"


WITH = ("--protocol", "awgn-grey", "--data", "FOLDER")
MISTAKES = [
    ((), "export=None with protocol=None: expected --export and the folder of an exported model"),
    (("--export", "x", *WITH), "export='x' with protocol='awgn-grey': expected --export"),
    (("1", "--protocol", "awgn-gray", "--data", "FOLDER"), r"\(did you mean 'awgn-grey'\?\)"),
    (("1", "--protocol", "awgn-grey"), "data=None: expected --data"),
    (WITH, "no MODEL: expected one or more"),
    (("1", *WITH, "--threads", "4"), "threads='4' with --protocol: leave it out"),
    (("--export", "x", "--data", "y"), "data='y' with --export: leave it out"),
    (("--export", "x", "--self-ensemble"), "self_ensemble=True with --export: leave it out"),
    (("1", "--export", "x"), "MODEL '.*1.keras' with --export"),
    (("1", *WITH, "--tile-size", "-1"), "tile_size=-1: expected at least 0"),
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
    error = refuses(capsys, *arguments)
    assert re.search(expected, error), error


def test_pictures_that_are_all_too_small_are_a_mistake(capsys, tmp_path, models):
    Image.new("L", (8, 20)).save(tmp_path / "a.png")
    options = ("--protocol", "sr", "--data", tmp_path, "--out", tmp_path / "out")
    code, _, error = call(capsys, models["3x3"], *options)
    assert code == 2
    assert re.search("none of the 1 pictures in .* a.png: 8x20 .* at least 9 either way", error)
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "protocol.json").exists()


def test_without_its_package_bm3d_is_asked_for_by_name(capsys, models, folder, monkeypatch):
    monkeypatch.setattr(protocols.importlib.util, "find_spec", lambda name: None)
    arguments = (models["1"], "--protocol", "awgn-grey", "--data", folder, "--classical")
    assert "pip install bm3d" in refuses(capsys, *arguments)


def test_bm3d_is_told_sigma_and_gets_what_the_model_gets(photograph, monkeypatch, capsys, tmp_path):
    seen = []

    def denoise(noisy, sigma):
        seen.append((noisy.shape, round(sigma * 255)))
        return noisy

    package = types.ModuleType("bm3d")
    package.bm3d = package.bm3d_rgb = denoise
    monkeypatch.setitem(sys.modules, "bm3d", package)
    monkeypatch.setattr(protocols.importlib.util, "find_spec", lambda name: name)
    data = tmp_path / "in"
    data.mkdir()
    Image.fromarray(photograph).save(data / "a.png")
    for protocol, shape in (("awgn-grey", (60, 72)), ("awgn-colour", (60, 72, 3))):
        seen.clear()
        # No model is needed beside it.
        options = ("--protocol", protocol, "--data", data, "--classical", "--out", tmp_path)
        measures(capsys, *options)
        assert seen == [(shape, sigma) for sigma in (15, 25, 50)]
        scores = read(tmp_path)
        assert row_of(scores, "bm3d (package)")["psnr_db"] == row_of(scores, "noisy")["psnr_db"]


# --- What is published.


@pytest.mark.parametrize(
    ("protocol", "folder", "expected"),
    [
        ("awgn-grey", "Set12", "Set12"),
        ("awgn-grey", "set-12", "Set12"),
        ("awgn-grey", "SET_12", "Set12"),
        ("awgn-grey", "Set5", None),
        ("sr", "set5", "Set5"),
        ("jpeg", "classic 5", "Classic5"),
        ("awgn-colour", "cbsd68", "CBSD68"),
        ("awgn-colour", "", None),
    ],
)
def test_a_folder_is_known_by_its_name(protocol, folder, expected):
    assert published.known_set(protocol, folder) == expected


def test_a_sets_name_tells_how_many_pictures_it_has():
    sizes = {name: published.set_size(name) for sets in published.FIGURES.values() for name in sets}
    assert sizes == {"Set5": 5, "Set14": 14, "Set12": 12, "BSD68": 68, "CBSD68": 68, "Classic5": 5}


def test_published_figures_are_of_the_protocols_settings_and_in_decibels():
    assert set(published.FIGURES) == set(published.PROTOCOLS)
    for protocol, sets in published.FIGURES.items():
        for entries in sets.values():
            assert len({entry.method for entry in entries}) == len(entries)
            for entry in entries:
                values = dataclasses.asdict(entry)
                assert set(values["psnr_db"]) <= set(published.PROTOCOLS[protocol].settings)
                assert all(20 < value < 40 for value in entry.psnr_db.values())
                assert entry.paper
                assert entry.printed_in
                # More noise or a larger scale is harder; a better quality is easier.
                ordered = list(entry.psnr_db.values())
                assert ordered == sorted(ordered, reverse=protocol != "jpeg")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (1, "1"),
        (779, "779"),
        (999.4, "999"),
        (999.6, "1k"),
        (3116, "3.12k"),
        (57_000, "57k"),
        (12_464, "12.5k"),
        (485_000, "485k"),
        (2_115_264, "2.12M"),
        (32_600_000, "32.6M"),
    ],
)
def test_counts_have_three_digits(count, text):
    assert protocol_table._count(count) == text
