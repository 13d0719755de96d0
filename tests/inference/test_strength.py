"""How much of a model's change is made, and grey pictures that stay exactly grey."""

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.commands import does, refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv import UserError
from tf_deconv.images import reading
from tf_deconv.images.files import Picture, read_picture, write_picture
from tf_deconv.inference import restore
from tf_deconv.inference.artifacts import keeps_grey
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.restorer import Artifact, Restorer

TINT = np.array([0.11, 0.06, 0.06], np.float32)


def noise(channels=3, dtype=np.uint8, size=(36, 40)):
    random = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return random.random((*size, channels)).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, (*size, channels), dtype, True)


def tinted(channels_in=3, channels_out=3, scale=1, keeps=True):
    """A model that adds 0.11 to red and 0.06 to the others, and keeps the size or not."""

    def run(batch):
        colours = batch[..., :3] + TINT
        return colours[..., :channels_out].repeat(scale, 1).repeat(scale, 2)

    return Artifact(run, channels_in, channels_out, 1, scale, 0, keeps_grey=keeps)


# --- Strength.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_strength_0_gives_the_pixels_back(here, dtype, channels):
    image = noise(channels, dtype)
    for name in ("denoise-color", "denoise-grey"):
        restored = tf_deconv.load(name, strength=0)(image)
        assert restored.dtype == dtype
        if (name, channels) != ("denoise-grey", 3):  # There the luminance is all that is given.
            np.testing.assert_array_equal(restored, np.broadcast_to(image, restored.shape))


def test_strength_1_is_the_networks_own(here):
    image = noise(dtype=np.float32)
    one, none = tf_deconv.load("denoise", strength=1), tf_deconv.load("denoise")
    np.testing.assert_array_equal(one(image), none(image))


@pytest.mark.parametrize("strength", [0.25, 1.5, 2.0])
@pytest.mark.parametrize("options", [{}, {"tile_px": 16}, {"self_ensemble": True}])
def test_a_strength_is_the_formula_before_rounding(strength, options):
    image = noise()
    restored = Restorer(tinted(), strength=strength, **options)(image)
    change = strength * TINT
    expected = np.rint(np.clip(image / 255 + change, 0, 1) * 255)
    assert np.abs(restored - expected).max() <= 1
    assert (restored == expected).mean() > 0.99
    # Float is not rounded, and not clipped.
    image = noise(dtype=np.float32)
    restored = Restorer(tinted(), strength=strength, **options)(image)
    np.testing.assert_allclose(restored, image + change, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_either_byte_order_gives_the_same_picture(dtype):
    # What tifffile gives of a file with the big end first was refused: "of >u2: expected uint16".
    picture = noise(dtype=dtype)
    restorer = Restorer(tinted(), strength=0.5)
    restored = restorer(picture.astype(np.dtype(dtype).newbyteorder(">")))
    np.testing.assert_array_equal(restored, restorer(picture))


def test_a_network_gone_wrong_does_nothing_at_strength_0():
    lost = Artifact(lambda batch: np.full_like(batch, np.nan), 3, 3, 1, 1, 0)
    done = []
    np.testing.assert_array_equal(Restorer(lost, strength=0).restore(noise(), done.append), noise())
    assert done == [1.0]


def test_a_strength_meets_grey_and_colour():
    # Grey through a colour model, and written grey again: from the grey that was given.
    grey = noise(1, np.float32)
    restored = Restorer(tinted(), strength=0.5).restore(grey, as_grey=True)
    change = 0.5 * (0.299 * 0.11 + 0.701 * 0.06)
    np.testing.assert_allclose(restored, grey + change, atol=1e-6)
    # A model that colours: from grey to its colours.
    colours = Artifact(lambda batch: np.concatenate([batch, batch / 2, batch], -1), 1, 3, 1, 1, 0)
    restored = Restorer(colours, strength=0.5)(grey)
    np.testing.assert_allclose(restored, grey * [1, 0.75, 1], atol=1e-6)
    # Transparency is not a colour.
    assert Restorer(tinted(), strength=0.5)(noise(4)).shape == (36, 40, 3)


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (tinted(scale=2), "this one makes a picture 2 times as large; leave it out"),
        (tinted(channels_in=4), "this one fills in what is missing; leave it out"),
    ],
)
@pytest.mark.parametrize("strength", [0, 0.5, 2])
def test_a_model_that_does_not_correct_what_is_there_takes_no_strength(
    artifact, expected, strength
):
    with pytest.raises(UserError, match=f"strength={strength}: expected a model .*{expected}"):
        Restorer(artifact, strength=strength)
    Restorer(artifact, strength=1)


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), float("inf"), "1", None])
def test_load_refuses_a_strength_out_of_range(here, strength):
    with pytest.raises(UserError, match=r"strength=.*: expected"):
        tf_deconv.load("denoise", strength=strength)


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        ("-0.1", "--strength -0.1: expected a number from 0 to 2"),
        ("2.5", "--strength 2.5: expected a number from 0 to 2"),
        ("nan", "--strength nan: expected a finite number"),
        ("much", "--strength much: expected a number"),
    ],
)
def test_restore_refuses_a_strength_out_of_range(capsys, here, strength, expected):
    write_noise(here / "a.png")
    message = refuses(capsys, "restore", "denoise", "a.png", "--strength", strength)
    assert expected in message
    assert not (here / "restored").exists()


def test_restore_takes_a_strength(capsys, here):
    source = here / "deep.png"
    write_picture(Picture(noise(dtype=np.uint16), None, "PNG"), source)
    write_noise(here / "grey.png", mode="L")
    pictures = ("deep.png", "grey.png")
    for strength in ("0", "0.5", "1"):
        out = ("--out", strength, "--strength", strength)
        does(capsys, "restore", "denoise-color", *pictures, *out)
    does(capsys, "restore", "denoise-color", *pictures, "--out", "plain")
    for name in pictures:
        given, none, half, one, plain = (
            read_picture(path, 10**6).pixels.astype(int)
            for path in (here / name, *(here / f / name for f in ("0", "0.5", "1", "plain")))
        )
        np.testing.assert_array_equal(none, given)
        np.testing.assert_array_equal(one, plain)
        assert np.abs(half - (given + plain) / 2).max() <= 1


def test_workers_take_the_strength(here):
    source = write_noise(here / "a.png")
    config = RestoreConfig(model="denoise", strength=0.0, engine="beam")
    job = restore.Job(source, here / "out" / "a.png")
    restore.open_for_worker(config)(job)
    np.testing.assert_array_equal(reading.read_rgb(job.target), reading.read_rgb(source))


# --- Grey.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("options", [{}, {"tile_px": 16}, {"strength": 0.5}, {"strength": 0}])
def test_equal_channels_come_back_equal(dtype, options):
    # From a colour model each channel came back with a change of its own.
    grey = noise(1, dtype)
    restored = [
        Restorer(tinted(), **options)(image)
        for image in (grey, grey.repeat(3, -1), np.concatenate([grey.repeat(3, -1), grey], -1))
    ]
    for image in restored:
        np.testing.assert_array_equal(image, image[..., :1].repeat(3, -1))
        np.testing.assert_array_equal(image, restored[0])


def test_one_coloured_pixel_makes_a_colour_picture():
    image = noise(1, np.float32).repeat(3, -1)
    image[20, 20, 0] += 0.1
    # In tiles too, although nearly all of them are grey.
    restored = Restorer(tinted(), tile_px=8)(image)
    np.testing.assert_allclose(restored, image + TINT, atol=1e-6)


def test_a_model_that_may_colour_still_colours():
    grey = noise(1, np.float32).repeat(3, -1)
    restored = Restorer(tinted(keeps=False))(grey)
    np.testing.assert_allclose(restored, grey + TINT, atol=1e-6)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("denoise", True),
        ("deblock", True),
        ("paired", False),
        (None, False),
        ("gone", False),
        (3, False),
    ],
)
def test_which_models_keep_grey(task, expected):
    assert keeps_grey(task) is expected


def test_a_model_that_sees_luminance_alone_colours_grey_pictures(run):
    # Its task is known and no pairs; its pictures were greyed.
    grey = noise(1).repeat(3, -1)
    restored = tf_deconv.load(run.folder)(grey)
    assert (restored != restored[..., :1]).any()


@pytest.mark.parametrize("kind", ["grey", "rgb", "palette", "deep"])
def test_a_grey_file_of_any_kind_comes_back_grey(capsys, here, kind):
    levels = noise(1)[..., 0]
    if kind == "deep":
        pixels = noise(1, np.uint16).repeat(3, -1)
        write_picture(Picture(pixels, None, "PNG"), here / "a.png")
    else:
        image = Image.fromarray(levels)
        image = {"grey": image, "rgb": image.convert("RGB"), "palette": image.convert("P")}[kind]
        image.save(here / "a.png")
    does(capsys, "restore", "denoise-color", "a.png")
    restored = read_picture(here / "restored" / "a.png", 10**6).pixels
    np.testing.assert_array_equal(restored, np.repeat(restored[..., :1], restored.shape[-1], -1))
    assert restored.std() > 0
