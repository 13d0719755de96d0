"""Reconstruction, interpolation, inpainting: their laws, and `tf-deconv edit` as a user runs it."""

import dataclasses
import gzip

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import tiny_generators
from tests.fixtures.commands import does, fails, refuses
from tests.fixtures.tiny_generators import gaussian_flow
from tf_deconv.generation import edit, editing
from tf_deconv.generation.config import EditConfig
from tf_deconv.generation.opening import open_generator
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays, reading
from tf_deconv.utils.options import UserError

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write = tiny_generators.write
    return {
        "vae": write(folder / "vae.keras", "vae"),
        "labelled": write(folder / "labelled.keras", "vae", classes=3),
        "flow": write(folder / "flow.keras", "flow", classes=3),
        "colour": write(folder / "colour.keras", "flow", channels=3),
    }


@pytest.fixture(scope="module")
def opened(models):
    """Opened once: their graphs are compiled at the first call."""
    return {kind: open_generator(models[kind]) for kind in ("vae", "flow")}


@pytest.fixture
def pictures(rng):
    return rng.random((2, *SHAPE)).astype(np.float32)


def grey_flow(spread=0.05):
    """Pictures that are one grey all over, but for a little noise."""
    count = np.prod(SHAPE)
    covariance = np.full((count, count), 0.09) + spread**2 * np.eye(count)
    return gaussian_flow(np.full(count, 0.2), covariance, SHAPE)


# --- Reconstruction.


def test_a_flow_with_many_steps_returns_the_picture(opened, pictures):
    flow, labels = opened["flow"], np.array([1, 3], np.int32)
    errors = [
        np.abs(editing.reconstruct(flow, pictures, labels, steps=steps) - pictures).max()
        for steps in (2, 8, 100)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


def test_the_code_of_a_picture_is_the_noise_that_the_flow_makes_it_from():
    # Whitened by the exact flow: (x - mean) over the root of the covariance, at time 0.
    flow = gaussian_flow(np.full(64, 0.2), np.diag(np.linspace(0.01, 0.2, 64)), SHAPE)
    picture = np.full((1, *SHAPE), 0.8, np.float32)
    expected = (2 * 0.8 - 1 - 0.2) / np.sqrt(np.linspace(0.01, 0.2, 64))
    found = editing.encode(flow, picture, steps=400)
    np.testing.assert_allclose(found.ravel(), expected, rtol=2e-3)


def test_a_vae_decodes_the_mean_of_its_encoder(opened, pictures):
    vae = opened["vae"]
    mean, _ = vae.encode(pictures, None)
    assert np.array_equal(editing.reconstruct(vae, pictures), vae.decode(mean, None))


# --- Interpolation.


@pytest.mark.parametrize("kind", ["vae", "flow"])
def test_the_ends_of_the_way_are_the_reconstructions(opened, pictures, kind):
    model = opened[kind]
    labels = np.array([0, 2], np.int32) if kind == "flow" else None
    frames = editing.interpolate(model, pictures, labels, frames=5, steps=4)
    whole = editing.reconstruct(model, pictures, labels, steps=4)
    assert frames.shape == (5, *SHAPE)
    np.testing.assert_allclose(frames[[0, -1]], whole, atol=1e-5)
    between = np.abs(np.diff(frames, axis=0)).max(axis=(1, 2, 3))
    assert (between > 0).all()


def test_noise_keeps_its_norm_along_the_arc(rng):
    first, last = rng.normal(size=(2, 500))
    last *= np.linalg.norm(first) / np.linalg.norm(last)
    for share in (0.0, 0.2, 0.5, 1.0):
        norm = np.linalg.norm(editing._on_arc(first, last, share))
        assert norm == pytest.approx(np.linalg.norm(first))


@pytest.mark.parametrize("last", [[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])
def test_an_arc_between_parallel_codes_is_a_line(last):
    first, last = np.array([1.0, 2.0]), np.array(last)
    np.testing.assert_allclose(editing._on_arc(first, last, 0.25), 0.75 * first + 0.25 * last)


# --- Inpainting.


@pytest.mark.parametrize("name", editing.MASKS)
def test_known_pixels_stay_exactly_and_variants_differ_in_the_hole(opened, pictures, name):
    flow, hole = opened["flow"], editing.named_mask(name, 8, 8)
    variants = editing.inpaint(flow, pictures[0], hole, 1, variants=3, seed=2, steps=4)
    assert variants.shape == (3, *SHAPE)
    assert all(np.array_equal(variant[~hole], pictures[0][~hole]) for variant in variants)
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert np.abs(variants[one] - variants[other])[hole].mean() > 0.01
    # A variant depends on its number alone, and on the seed.
    again = editing.inpaint(flow, pictures[0], hole, 1, variants=2, seed=2, steps=4)
    np.testing.assert_allclose(again, variants[:2], atol=1e-5)
    other = editing.inpaint(flow, pictures[0], hole, 1, variants=1, seed=3, steps=4)
    assert np.abs(other - variants[:1])[:, hole].mean() > 0.01


@pytest.mark.parametrize("grey", [0.35, 0.6, 0.85])
def test_a_hole_is_filled_with_what_is_around_it(grey):
    # Of pictures that are of one grey all over, a half tells the other.
    picture = np.full(SHAPE, grey, np.float32)
    hole = editing.named_mask("left", 8, 8)
    variants = editing.inpaint(grey_flow(), picture, hole, variants=16, seed=1, steps=25)
    assert abs(variants[:, hole].mean() - grey) < 0.02
    # As varied as the pictures' own noise: 0.05 in [-1, 1].
    assert variants[:, hole].std() == pytest.approx(0.025, rel=0.4)


def test_noise_is_added_until_x_has_the_distribution_of_the_earlier_time(rng):
    picture = 0.7
    x = 0.6 * picture + 0.4 * rng.standard_normal(200_000, np.float32)
    back = editing.noised_back(x, 0.6, 0.25, rng.standard_normal(200_000, np.float32))
    assert back.mean() == pytest.approx(0.25 * picture, abs=0.01)
    assert back.std() == pytest.approx(0.75, abs=0.01)
    assert np.array_equal(editing.noised_back(x, 0.6, 0.0, x), x)


def test_named_masks_are_halves_and_the_middle():
    masks = {name: editing.named_mask(name, 8, 12) for name in editing.MASKS}
    assert np.array_equal(masks["left"], ~masks["right"])
    assert np.array_equal(masks["top"], ~masks["bottom"])
    assert masks["left"][:, :6].all()
    assert masks["top"][:4].all()
    assert masks["center"][2:6, 3:9].all()
    assert masks["center"].sum() == 24


# --- The command.


def write_picture(path, shape=(8, 8), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_idx(folder, count=4, labels=(2, 0, 1, 1)):
    pixels = np.random.default_rng(1).integers(0, 256, (count, 8, 8), np.uint8)
    head = bytes([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 8, 0, 0, 0, 8])
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(head + pixels.tobytes()))
    named = bytes([0, 0, 8, 1, 0, 0, 0, count]) + bytes(labels)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(named))
    return path, pixels


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(path):
    return reading.read_rgb(path)[..., 0]


def test_pictures_of_a_stack_are_reconstructed_with_their_labels(capsys, tmp_path, models, opened):
    path, pixels = write_idx(tmp_path)
    options = ("--steps", 3, "--out", tmp_path / "out")
    out = does(capsys, "edit", models["flow"], f"{path}:3,0", *options)
    assert "note: labels of the stack: 1, 2" in out
    stem = "t10k-images-idx3-ubyte"
    lines = [line for line in out.splitlines() if "PSNR" in line]
    assert [line.split()[1] for line in lines] == [f"{stem}-3", f"{stem}-0"]
    expected = editing.reconstruct(
        opened["flow"],
        arrays.to_float(pixels[[3, 0], ..., np.newaxis]),
        np.array([1, 2], np.int32),
        steps=3,
    )
    written = [f"{stem}-{index}-reconstructed.png" for index in (3, 0)]
    assert names(tmp_path / "out") == sorted(["grid.png", *written])
    for name, picture in zip(written, expected):
        assert np.array_equal(read(tmp_path / "out" / name), arrays.to_uint8(picture)[..., 0])


def test_inpainting_twice_writes_the_same_files_with_the_known_pixels(capsys, tmp_path, models):
    picture = write_picture(tmp_path / "a.png")
    mask = Image.fromarray(np.uint8([[255, 0], [0, 0]])).resize((16, 16), Image.Resampling.NEAREST)
    mask.save(tmp_path / "mask.png")
    command = ("edit", models["flow"], picture, picture, "--action", "inpaint", "--steps", 3)
    command += ("--mask", tmp_path / "mask.png", "--variants", 2, "--label", 0, "--seed", 5)
    trees = []
    for out in (tmp_path / "1", tmp_path / "2"):
        does(capsys, *command, "--out", out)
        trees.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert trees[0] == trees[1]
    written = [f"{name}-inpaint-{number}.png" for name in ("a", "a-2") for number in (1, 2)]
    assert sorted(trees[0]) == sorted([*written, "grid.png"])
    before = read(picture)
    for name in written:
        after = read(tmp_path / "1" / name)
        assert np.array_equal(after[4:], before[4:])
        assert np.array_equal(after[:4, 4:], before[:4, 4:])
        assert not np.array_equal(after[:4, :4], before[:4, :4])
    # A picture's variants do not depend on the pictures beside it.
    assert trees[0]["a-inpaint-1.png"] == trees[0]["a-2-inpaint-1.png"]


def test_an_interpolation_moves_there_and_back(capsys, tmp_path, models):
    pair = [write_picture(tmp_path / f"{seed}.png", seed=seed) for seed in (0, 1)]
    options = ("--action", "interpolate", "--frames", 4, "--out", tmp_path / "out")
    does(capsys, "edit", models["vae"], *pair, *options)
    assert names(tmp_path / "out") == ["grid.png", "interpolation.gif"]
    with Image.open(tmp_path / "out" / "interpolation.gif") as image:
        assert (image.n_frames, image.size) == (6, (224, 224))


def test_one_way_the_animation_ends_at_the_second_picture(capsys, tmp_path, models):
    pair = [write_picture(tmp_path / f"{seed}.png", seed=seed) for seed in (0, 1)]
    options = ("--action", "interpolate", "--frames", 4, "--one-way", "--frame-rate", 20)
    out = does(capsys, "edit", models["vae"], *pair, *options, "--out", tmp_path / "way.gif")
    assert "way.gif: 4 pictures" in out
    assert names(tmp_path) == ["0.png", "1.png", "way.gif"]
    with Image.open(tmp_path / "way.gif") as image:
        assert (image.n_frames, image.size) == (4, (224, 224))
        lasts_ms = [image.seek(n) or image.info["duration"] for n in range(4)]
    assert lasts_ms == [50, 50, 50, 1500]


def test_a_way_between_labels_has_none_in_a_flow(capsys, tmp_path, models):
    path, _ = write_idx(tmp_path)
    options = ("--action", "interpolate", "--steps", 2, "--out", tmp_path / "out")
    out = does(capsys, "edit", models["flow"], f"{path}:0,1", *options)
    assert "note: the labels differ, so the way has none" in out


def test_a_picture_of_another_size_or_colour_is_fitted_and_a_note_says_so(capsys, tmp_path, models):
    large = write_picture(tmp_path / "large.png", (30, 21, 3))
    out = does(capsys, "edit", models["vae"], large, "--out", tmp_path / "out")
    assert "note: large: 30x21 pixels, its middle of 21x21, resized to 8x8" in out
    assert "note: large: colours became grey" in out
    grey = write_picture(tmp_path / "grey.png")
    out = does(capsys, "edit", models["colour"], grey, "--steps", 1, "--out", tmp_path / "out")
    assert "note" not in out


def test_fitting_cuts_the_middle_and_averages(rng):
    pixels = np.zeros((16, 40, 3), np.uint8)
    pixels[:, 12:28] = 200
    facts = GeneratorSpec("vae", 8, 8, 1)
    picture, _ = edit.fit(pixels, facts)
    np.testing.assert_allclose(picture, 200 / 255, atol=0.01)
    assert picture.shape == SHAPE
    exact = rng.integers(0, 256, (8, 8, 1), np.uint8)
    same, notes = edit.fit(np.repeat(exact, 3, axis=-1), facts)
    assert np.array_equal(same, arrays.to_float(exact))
    assert notes == []
    picture, _ = edit.fit(pixels, dataclasses.replace(facts, channels=3, width=20))
    assert picture.shape == (8, 20, 3)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("vae", ("--action", "inpaint", "--mask", "left"), "a VAE, which cannot inpaint"),
        ("flow", ("--action", "inpaint"), "no --mask with action 'inpaint': expected what"),
        (
            "flow",
            ("--action", "inpaint", "--mask", "middle"),
            "--mask middle: expected one of left",
        ),
        ("flow", ("--action", "interpolate"), "1 pictures with action 'interpolate': expected 2"),
        ("flow", ("--action", "paint"), "--action paint (did you mean 'inpaint'?)"),
        ("flow", ("--mask", "left"), "--mask left with action 'reconstruct': leave it out"),
        ("flow", ("--frames", 3), "--frames 3 with action 'reconstruct': leave it out"),
        ("flow", ("--one-way",), "--one-way with action 'reconstruct': leave it out"),
        ("flow", ("--crf", 3), "--crf 3 with --out"),
        ("flow", ("--frame-rate", 9), "--frame-rate 9.0 with neither a film nor a GIF"),
        ("flow", ("--frame-rate", 0), "--frame-rate 0.0: expected a number from 1 to 120"),
        ("flow", ("--variants", 0), "--variants 0: expected a number from 1 to 64"),
        ("flow", ("--label", 3), "--label 3: expected 0 to 2"),
        ("flow", ("--guidance", 2), "no --label with --guidance 2.0: expected 0 to 2"),
        ("vae", ("--steps", 3), "--steps 3 with a VAE"),
        ("vae", ("--label", 0), "--label 0 with a generator that was trained without labels"),
        ("labelled", (), "no --label with a VAE with labels: expected 0 to 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(capsys, tmp_path, models, kind, options, message):
    picture = write_picture(tmp_path / "a.png")
    line = refuses(capsys, "edit", models[kind], picture, *options, "--out", tmp_path / "out")
    assert message in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("none.png", "does not exist: expected a picture file"),
        (".", "is a folder: expected a picture file"),
        ("broken.png", "cannot be read"),
        ("a.png:0", "is not a stack of pictures: leave out ':0'"),
        ("t10k-images-idx3-ubyte.gz", "holds many pictures: expected which ones"),
        ("t10k-images-idx3-ubyte.gz:1,4", "has no picture 4: expected 0 to 3"),
    ],
)
def test_pictures_that_are_none_are_refused(capsys, tmp_path, models, argument, message):
    write_picture(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    write_idx(tmp_path)
    where = f"{tmp_path}/{argument}"
    assert message in refuses(capsys, "edit", models["vae"], where, "--out", tmp_path / "out")


def test_a_label_of_a_stack_that_the_model_does_not_know_is_refused(capsys, tmp_path, models):
    path, _ = write_idx(tmp_path, labels=(7, 0, 0, 0))
    line = refuses(capsys, "edit", models["flow"], f"{path}:0", "--out", tmp_path / "out")
    assert "a picture's label is 7: expected 0 to 2, or --label" in line


@pytest.mark.parametrize(("grey", "where"), [(0, "nowhere"), (255, "everywhere")])
def test_a_mask_that_leaves_nothing_or_all_is_refused(tmp_path, grey, where):
    Image.new("L", (8, 8), grey).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=f"is white {where}"):
        edit.read_mask(str(tmp_path / "mask.png"), 8, 8)


def test_an_input_is_not_written_over(capsys, tmp_path, models):
    picture = write_picture(tmp_path / "grid.png")
    before = picture.read_bytes()
    line = fails(capsys, "edit", models["vae"], picture, "--out", tmp_path)
    assert "is an input: choose another --out" in line
    assert picture.read_bytes() == before


def test_a_vae_without_its_encoder_is_refused(opened, monkeypatch, tmp_path):
    vae = dataclasses.replace(opened["vae"], encode=None)
    monkeypatch.setattr(edit, "open_generator", lambda model, trust: vae)
    picture = write_picture(tmp_path / "a.png")
    with pytest.raises(UserError, match="has no encoder, which reconstruct needs"):
        edit.edit(EditConfig("vae.tflite"), [str(picture)])
