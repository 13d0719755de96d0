"""Files of every kind, read, and through `restore` with a model that changes nothing."""

import numpy as np
import pytest

from tests.fixtures.picture_corpus import make_corpus
from tf_deconv.images import arrays, reading, value_range
from tf_deconv.images.files import Job
from tf_deconv.inference.picture_job import FileOptions, restore_file
from tf_deconv.inference.restorer import Artifact, Restorer


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def identity():
    return Restorer(Artifact(lambda x: x, 3, 3, 1, 1, 1, keeps_grey=True))


def unit(pixels):
    """Full range of integers to [0, 1], so that files of two depths can be compared."""
    return value_range.to_unit(pixels, value_range.type_levels(pixels.dtype))


def assert_shows(path, case, role):
    with reading.open_pictures(path) as file:
        assert file.header.count == len(case.pages), (role, path)
        for number, page in enumerate(case.pages):
            raw = file.read_raw(number)
            picture = file.read(number)
            colours = picture.pixels
            if picture.levels is not None:
                colours = value_range.from_unit(colours, picture.levels, picture.stored)
            wanted = np.broadcast_to(
                page, (*page.shape[:2], max(page.shape[-1], colours.shape[-1]))
            )
            assert colours.shape == wanted.shape, (role, path)
            # What is written loses once more.
            allowed = case.tolerance / 255 * (2 if role == "written" else 1)
            if page.dtype.itemsize > 2 and page.dtype.kind in "iu":
                allowed = 1e-6  # What float32 holds of 32 bits.
            # Where nothing is seen, a format with loss keeps no colour.
            seen = np.ones(page.shape[:2], bool)
            if picture.alpha is not None and case.tolerance:
                seen = picture.alpha[..., 0] > 200
            away = np.abs(unit(colours).astype(float) - unit(wanted).astype(float))[seen].max()
            assert away <= allowed + 1e-7, (role, path, away * 255)
            if case.alpha is not None:
                away = np.abs(unit(picture.alpha) - unit(case.alpha)).max()
                assert away <= allowed + 1e-7, (role, path)
            else:
                assert picture.alpha is None, (role, path)
                if not case.tolerance:
                    shown = np.broadcast_to(page, raw.shape)
                    assert np.abs(unit(raw).astype(float) - unit(shown)).max() <= allowed + 1e-7


def test_there_are_at_least_150_files(cases):
    assert len(cases) >= 150


def test_every_file_is_read_as_what_it_shows(cases):
    for case in cases:
        assert_shows(case.path, case, "read")


def test_every_file_comes_back_equal_or_with_a_note(cases, tmp_path):
    restorer = identity()
    for number, case in enumerate(cases):
        target = tmp_path / f"{number}" / case.path.name
        notes, _ = restore_file(restorer, Job(case.path, target), FileOptions())
        assert bool(notes) >= case.note, case.path
        try:
            assert_shows(target, case, "written")
        except AssertionError:
            # A second loss of a file with loss, and the like, has to be said.
            assert notes, case.path


def test_training_and_restoring_see_the_same_pixels(cases):
    for case in cases:
        if case.pages[0].dtype == np.uint8 and case.alpha is None:
            picture = reading.read_picture(case.path)
            three = np.broadcast_to(picture.pixels, (*picture.pixels.shape[:2], 3))
            np.testing.assert_array_equal(reading.read_rgb(case.path), three)
            assert three.dtype == arrays.to_uint8(np.zeros(1)).dtype
