"""Hidden colours never bleed, and come back."""

import numpy as np
import pytest

from tf_deconv.images.files import Picture
from tf_deconv.images.transparency import fill_hidden
from tf_deconv.inference.picture_job import restore_picture
from tf_deconv.inference.restorer import Artifact, Restorer


def disc(dtype, side=64):
    y, x = np.mgrid[0:side, 0:side]
    unit = np.clip(side * 0.38 + 0.5 - np.hypot(y - side / 2, x - side / 2), 0, 1)[..., None]
    top = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    alpha = (unit * top).astype(dtype)
    red = np.where(alpha > 0, np.array([top, 0, 0]), 0).astype(dtype)
    return red, alpha


def blur(batch):
    padded = np.pad(batch, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    height, width = batch.shape[1:3]
    return sum(padded[:, r : r + height, c : c + width] for r in range(3) for c in range(3)) / 9


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_hidden_pixels_get_the_colours_around_them(dtype):
    red, alpha = disc(dtype)
    filled = fill_hidden(red, alpha)
    assert filled.dtype == red.dtype
    assert (filled == red[32, 32]).all()
    np.testing.assert_array_equal(filled[alpha[..., 0] > 0], red[alpha[..., 0] > 0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (37, 50)])
def test_any_size_is_filled(shape):
    alpha = np.zeros((*shape, 1), np.uint8)
    alpha[-1, -1] = 3
    colours = np.zeros((*shape, 3), np.uint8)
    colours[-1, -1] = (10, 20, 30)
    assert (fill_hidden(colours, alpha) == (10, 20, 30)).all()


def test_nothing_is_done_where_all_or_nothing_is_hidden():
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for value in (0, 255):
        assert fill_hidden(colours, np.full((2, 2, 1), value, np.uint8)) is colours


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_network_that_mixes_neighbours_makes_no_dark_rim(dtype, scale):
    red, alpha = disc(dtype)
    top = np.iinfo(dtype).max

    def run(batch):
        return blur(batch).repeat(scale, axis=1).repeat(scale, axis=2)

    restorer = Restorer(Artifact(run, 3, 3, 1, scale, 1))
    result, _ = restore_picture(restorer, Picture(red, alpha, "PNG"), None, None, [])
    seen = result.alpha[..., 0] > 0
    assert (result.pixels[seen] == (top, 0, 0)).all()
    if scale == 1:
        np.testing.assert_array_equal(result.pixels[~seen], red[~seen])


def test_a_sample_of_unknown_meaning_is_no_transparency():
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (9, 9, 3)).astype(np.uint8)
    extra = np.zeros((9, 9, 1), np.uint8)
    restorer = Restorer(Artifact(lambda batch: 1 - batch, 3, 3, 1, 1, 1))
    picture = Picture(colours.copy(), extra, "TIFF", known_alpha=False)
    result, _ = restore_picture(restorer, picture, None, None, [])
    np.testing.assert_array_equal(result.pixels, 255 - colours)
    np.testing.assert_array_equal(result.alpha, extra)
