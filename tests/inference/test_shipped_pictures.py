"""What a shipped model makes of a picture: from `restore`, of any channels, and from Python."""

import pathlib

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.commands import does
from tests.fixtures.picture_folders import write_noise
from tf_deconv import UserError
from tf_deconv.inference import picture_job
from tf_deconv.inference.restorer import Artifact


def noise(height=36, width=40, channels=3, dtype=np.uint8):
    random = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return random.random((height, width, channels)).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)


# --- Grey and colour.


def test_a_grey_picture_comes_back_grey_from_a_colour_model(capsys, here):
    write_noise(here / "a.png", mode="L")
    write_noise(here / "b.png", mode="LA")
    write_noise(here / "c.png")
    out = does(capsys, "restore", "denoise-color", "a.png", "b.png", "c.png")
    said = "note: 2 pictures: grey pictures: repeated in three channels, and written grey again"
    assert out.count(said) == 1
    modes = []
    for name in ("a.png", "b.png", "c.png"):
        with Image.open(here / "restored" / name) as image:
            modes.append(image.mode)
    assert modes == ["L", "LA", "RGB"]
    # What is written is the luminance of what the model gives.
    with Image.open(here / "a.png") as image:
        grey = np.asarray(image)[..., np.newaxis] / np.float32(255)
    colour = tf_deconv.load("denoise-color")(np.repeat(grey, 3, -1)).astype(np.float64)
    expected = np.rint(np.clip(colour @ [0.299, 0.587, 0.114], 0, 1) * 255)
    with Image.open(here / "restored" / "a.png") as image:
        assert np.abs(np.asarray(image) - expected).max() <= 1


def test_a_colour_picture_in_a_grey_model_names_the_colour_model(capsys, here):
    write_noise(here / "a.png")
    out = does(capsys, "restore", "denoise-grey", "a.png")
    assert "the model takes and gives grey alone; denoise-color keeps colours" in out
    with Image.open(here / "restored" / "a.png") as image:
        assert image.mode == "L"


@pytest.mark.parametrize(
    ("channels", "model", "task", "as_grey", "said"),
    [
        (3, (3, 3), "denoise", False, ""),
        (1, (1, 3), "colorize", False, ""),
        (1, (1, 1), "denoise-grey", False, ""),
        (3, (1, 3), "colorize", False, "makes its own colours"),
        (3, (1, 1), None, False, "gives grey alone"),
        (3, (3, 1), None, False, "gives grey alone"),
        (1, (3, 3), "deblock", True, "written grey again"),
        (1, (4, 3), "inpaint", True, "written grey again"),
        # Pairs may have taught it to colour.
        (1, (3, 3), "paired", False, "written in colour"),
        (1, (3, 3), None, False, "written in colour"),
    ],
)
def test_what_is_said_where_grey_meets_colour(channels, model, task, as_grey, said):
    artifact = Artifact(lambda batch: batch, *model, 1, 1, 0)
    received = picture_job.choose_conversion(channels, artifact, task)
    assert received[0] is as_grey
    assert said in received[1]
    assert bool(said) == bool(received[1])


def test_transparency_and_16_bits_come_back_from_a_shipped_model(capsys, here):
    from tf_deconv.images.files import Picture, read_picture, write_picture

    pixels, alpha = noise(dtype=np.uint16), noise(channels=1, dtype=np.uint16)
    write_picture(Picture(pixels, alpha, "PNG"), here / "deep.png")
    write_picture(Picture(pixels[..., :1], alpha, "PNG"), here / "grey.png")
    does(capsys, "restore", "denoise-color", "deep.png", "grey.png")
    for name, channels in (("deep.png", 3), ("grey.png", 1)):
        restored = read_picture(here / "restored" / name, 10**6)
        assert restored.bit_depth == 16
        assert restored.pixels.shape[-1] == channels
        np.testing.assert_array_equal(restored.alpha, alpha)


# --- Python.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (37, 53)])
def test_load_restores_any_size_in_its_own_type(here, dtype, size):
    model = tf_deconv.load("denoise")
    image = noise(*size, dtype=dtype)
    restored = model(image)
    assert (restored.shape, restored.dtype) == (image.shape, dtype)
    np.testing.assert_array_equal(restored, model.restore(image))


def test_load_takes_a_path_and_options(here, stand_ins):
    image = noise()
    whole = tf_deconv.load("denoise-color")(image).astype(int)
    tiled = tf_deconv.load(stand_ins / "denoise-color", tile_size=24)(image)
    assert np.abs(tiled - whole).max() <= 1
    mean = tf_deconv.load(str(stand_ins / "denoise-color"), self_ensemble=True)(image)
    assert np.abs(mean - whole).max() > 0


def with_value(value, dtype=np.float32):
    image = np.full((4, 5, 3), 0.5, dtype)
    image[1, 2, 0] = value
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((4, 5)), r"is \(4, 5\) of float64: .*image\[..., np.newaxis\]"),
        (np.zeros((4, 5, 2), np.uint8), "C 1, 3 or 4"),
        (np.zeros((0, 5, 3), np.uint8), "H and W of at least 1"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"expected one picture at a time, \(H, W, C\)"),
        (np.zeros((3, 4, 5), np.uint8), r"channels last: np.moveaxis\(image, 0, -1\)"),
        (np.zeros((4, 5, 3), np.int64), "expected uint8, uint16 or float .*; convert it"),
        (np.zeros((4, 5, 3), bool), "expected uint8, uint16 or float .*; convert it"),
        ("photo.jpg", r"open it first: np.asarray\(Image.open\(path\)\)"),
        (pathlib.Path("photo.jpg"), r"open it first: np.asarray\(Image.open\(path\)\)"),
        (with_value(np.nan, np.float16), "with 1 value that is NaN or infinite"),
        (with_value(-np.inf), "with 1 value that is NaN or infinite"),
        (with_value(np.inf), "with 1 value that is NaN or infinite"),
        (np.full((4, 5, 3), 255.0), r"values up to 255: expected \[0, 1\]; divide by 255"),
    ],
)
def test_what_is_no_image_is_refused(here, image, expected):
    with pytest.raises(UserError, match=expected):
        tf_deconv.load("denoise-color")(image)


@pytest.mark.parametrize("options", [{"tile_size": -1}, {"tile_size": "3"}, {"tile_size": 5}])
def test_load_checks_its_options(here, options):
    with pytest.raises(UserError, match=r"tile_size=.*expected"):
        tf_deconv.load("denoise-color", **options)
