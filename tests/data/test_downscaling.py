"""Smaller copies of pictures to train on."""

import numpy as np
import pytest
from PIL import Image

from tf_deconv.data import sources
from tf_deconv.data.downscaling import COPIES, parse_shrink, shrink
from tf_deconv.data.store import PictureStore
from tf_deconv.utils.options import UserError


def make_store(*sizes, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return PictureStore.of(
        (f"{number}.png", rng.integers(0, 256, (*size, channels), np.uint8))
        for number, size in enumerate(sizes)
    )


def sizes_of(store):
    return list(zip(store.heights.tolist(), store.widths.tolist()))


@pytest.mark.parametrize(
    ("text", "factors"),
    [("2", (2, 2)), ("2-4", (2, 4)), ("1-16", (1, 16)), ("1.5-2.5", (1.5, 2.5))],
)
def test_a_factor_or_a_range_is_read(text, factors):
    assert parse_shrink(text) == factors


@pytest.mark.parametrize("text", ["0.5", "4-2", "2-17", "two", "2-3-4", "nan", "-2", "2x"])
def test_anything_else_says_what_is_expected(text):
    with pytest.raises(UserError, match="expected a factor or a range such as 2-4, from 1 to 16"):
        parse_shrink(text)


def test_each_picture_gives_copies_within_the_range():
    store = shrink(make_store((400, 600), (900, 300)), (2, 4), 32)
    assert len(store) == 2 * COPIES
    for index, (height, width) in enumerate(sizes_of(store)):
        full = (400, 600) if index < COPIES else (900, 300)
        for side, shrunk in zip(full, (height, width)):
            assert side / 4 - 1 <= shrunk <= side / 2 + 1


def test_a_copy_does_not_depend_on_the_other_pictures():
    alone = shrink(make_store((400, 600)), (2, 4), 32)
    among = shrink(make_store((400, 600), (300, 300)), (2, 4), 32)
    assert alone.digests == among.digests[:COPIES]


def test_no_side_becomes_shorter_than_a_patch():
    store = shrink(make_store((100, 260), (64, 64), (40, 900)), (2, 4), 64)
    assert min(store.heights[:-1].min(), store.widths.min()) >= 64
    assert store.heights[-1] == 40  # It was shorter before.
    assert (64, 64) in sizes_of(store)  # Kept as it is, once.
    assert sizes_of(store).count((64, 64)) == 1


def test_one_copy_has_the_factor_in_the_middle():
    assert sizes_of(shrink(make_store((400, 800)), (2, 8), 32, copies=1)) == [(100, 200)]


@pytest.mark.parametrize("channels", [3, 6])
def test_pixels_are_those_of_pillow(channels):
    store = make_store((90, 120), channels=channels)
    shrunk = shrink(store, (3, 3), 8, copies=1).picture(0)
    for first in range(0, channels, 3):
        image = Image.fromarray(np.ascontiguousarray(store.picture(0)[..., first : first + 3]))
        expected = image.resize((40, 30), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(shrunk[..., first : first + 3], np.asarray(expected))


def test_a_store_on_disk_is_the_same():
    store = make_store((90, 120), (60, 50))
    one, other = (shrink(store, (1, 2), 16, memory_bytes=limit) for limit in (0, 2**30))
    assert one.sha256() == other.sha256()


def test_copies_stay_on_the_side_of_their_picture(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        pixels = rng.integers(0, 256, (80, 96, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    plain = sources.load_source(str(tmp_path), 16, 0.3)
    shrunk = sources.load_source(str(tmp_path), 16, 0.3, shrink="2-3")
    for before, after in (
        (plain.training, shrunk.training),
        (plain.validation, shrunk.validation),
    ):
        assert {name.split(" at ")[0] for name in after.names} == set(before.names)
    assert len(shrunk.validation) == len(plain.validation)
    assert len(plain.training) < len(shrunk.training) <= COPIES * len(plain.training)


def test_copies_have_the_label_and_the_grey_of_their_picture():
    pictures = [np.random.default_rng(n).integers(0, 256, (90, 120, 1), np.uint8) for n in range(2)]
    grey = [(str(number), np.repeat(picture, 3, -1)) for number, picture in enumerate(pictures)]
    shrunk = shrink(PictureStore.of(grey, labels=[5, 2]), (2, 4), 8)
    assert shrunk.grey
    assert shrunk.labels.tolist() == [5 if name[0] == "0" else 2 for name in shrunk.names]
    assert shrink(PictureStore.of(grey), (2, 4), 8).labels is None
