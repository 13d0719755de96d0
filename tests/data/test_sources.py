"""Where pictures come from, and that none is ever on both sides of the split."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fixtures.picture_folders import contents, load, make_pictures, write
from tf_deconv.data import bundled as photographs
from tf_deconv.data import sources
from tf_deconv.data.sources import load_source
from tf_deconv.data.store import PictureStore
from tf_deconv.images import reading
from tf_deconv.utils.options import UserError

# --- The bundled photographs.


def test_the_bundled_photographs_have_a_fixed_split(bundled):
    assert (len(bundled.training), len(bundled.validation)) == (88, 12)
    assert bundled.validation.names[:3] == ("dog.jpg", "colosseum.jpg", "walruses.jpg")
    assert bundled.skipped == ()
    assert bundled.notes == ()


def test_the_bundled_photographs_are_disjoint(bundled):
    assert not set(bundled.training.names) & set(bundled.validation.names)
    assert not set(contents(bundled.training)) & set(contents(bundled.validation))


def test_a_bundled_photograph_is_its_file(bundled):
    expected = reading.read_rgb(photographs.folder() / "dog.jpg")
    np.testing.assert_array_equal(bundled.validation.picture(0), expected)
    assert expected.shape == (288, 288, 3)


def test_a_patch_larger_than_the_bundled_photographs_is_refused():
    assert len(load_source("bundled", 288, 0.1).training) == 88
    with pytest.raises(UserError, match="expected at most 288, the shorter side of the largest"):
        load_source("bundled", 289, 0.1)


def test_a_folder_is_grey_if_all_its_pictures_are(tmp_path, bundled):
    pictures = make_pictures(6)
    pictures[:] = pictures[..., :1]
    folder = write(tmp_path, pictures)
    source = load(folder)
    assert source.training.grey
    assert source.validation.grey
    assert not bundled.training.grey
    greys = dict(zip(bundled.training.names, bundled.training.greys))
    assert greys["windswept-tree.jpg"]
    assert not greys["grapes.jpg"]


# --- The split of a folder.


def test_a_folder_is_split_about_as_asked(tmp_path):
    source = load(write(tmp_path, make_pictures(60)), validation_fraction=0.3)
    assert len(source.training) + len(source.validation) == 60
    # Binomial, 60 times 0.3: 18 with a deviation of 3.5.
    assert 8 <= len(source.validation) <= 28
    assert not set(source.training.names) & set(source.validation.names)
    assert not set(contents(source.training)) & set(contents(source.validation))
    assert source.notes == ()


def test_the_split_does_not_depend_on_names_or_order(tmp_path):
    pictures = make_pictures(60)
    source = load(write(tmp_path / "one", pictures))
    other = load(write(tmp_path / "other", pictures[::-1], suffix=".bmp", prefix="renamed"))
    assert set(contents(source.validation)) == set(contents(other.validation))


def test_adding_files_never_moves_one_across(tmp_path):
    pictures = make_pictures(60)
    order = np.random.default_rng(1).permutation(60)
    seen_training, seen_validation = set(), set()
    for count in range(15, 61, 5):
        for index in order[:count]:
            Image.fromarray(pictures[index]).save(tmp_path / f"{index}.png")
        source = load(tmp_path)
        training, validation = set(contents(source.training)), set(contents(source.validation))
        assert source.notes == ()
        assert seen_training <= training
        assert seen_validation <= validation
        seen_training, seen_validation = training, validation
    assert len(seen_training) + len(seen_validation) == 60


@settings(deadline=None)
@given(
    kept=st.sets(st.integers(0, 59), min_size=2),
    fraction=st.sampled_from([0.01, 0.1, 0.3, 0.5, 0.9]),
)
def test_no_picture_is_ever_on_both_sides(kept, fraction):
    pictures = make_pictures(60)
    named = [(f"{index}.png", pictures[index]) for index in sorted(kept)]
    copies = [(f"copy-{name}", picture.copy()) for name, picture in named]
    store = PictureStore.of(named + copies)
    sides = sources._split("folder", store, sources._hash_below(fraction), fraction)[:2]
    training, validation = (set(contents(side)) for side in sides)
    assert training
    assert validation
    assert not training & validation
    assert len(training | validation) == len(kept)


@settings(deadline=None)
@given(small=st.sets(st.integers(0, 59), min_size=2), more=st.sets(st.integers(0, 59)))
def test_a_larger_folder_agrees_with_a_smaller_one_that_has_both_sides_by_chance(small, more):
    pictures = make_pictures(60)

    def split(indices):
        named = [(f"{index}.png", pictures[index]) for index in sorted(indices)]
        store = PictureStore.of(named)
        return sources._split("folder", store, sources._hash_below(0.3), 0.3)

    *one, note = split(small)
    *other, other_note = split(small | more)
    if not note:
        assert not other_note
        assert all(set(a.names) <= set(b.names) for a, b in zip(one, other))


def test_copies_and_lossless_reencodings_land_on_one_side(tmp_path):
    pictures = make_pictures(20)
    for suffix in (".png", ".bmp", ".tiff", ".webp"):
        write(tmp_path / suffix[1:], pictures, suffix)
    source = load(tmp_path)
    training, validation = contents(source.training), contents(source.validation)
    assert len(training) + len(validation) == 80
    assert not set(training) & set(validation)
    assert {training.count(content) for content in training} == {4}
    assert {validation.count(content) for content in validation} == {4}


@pytest.mark.parametrize("fraction", [0.001, 0.9])
def test_two_pictures_are_shared_out_with_a_note(tmp_path, fraction):
    source = load(write(tmp_path, make_pictures(2)), validation_fraction=fraction)
    assert len(source.training) == len(source.validation) == 1
    (note,) = source.notes
    assert "few pictures: picture-00" in note
    assert ("training" if fraction > 0.5 else "validation") in note


@pytest.mark.parametrize(("share", "expected"), [(0.01, 1), (0.1, 1), (0.3, 2), (0.9, 5)])
def test_few_pictures_that_chance_held_out_are_not_nearly_all_held_out(share, expected):
    # One was moved, so of six pictures one was trained on and five were held out.
    named = [(f"{index}.png", picture) for index, picture in enumerate(make_pictures(6))]

    def split(pictures):
        return sources._split("folder", PictureStore.of(pictures), lambda *_: True, share)

    training, validation, (note,) = split(named)
    assert (len(training), len(validation)) == (6 - expected, expected)
    more = f" and {5 - expected} more were" if expected < 5 else " was"
    assert (
        note == f"few pictures: {training.names[0]}{more} put on the training side, which was empty"
    )
    assert set(split(named[::-1])[1].names) == set(validation.names)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_picture_is_not_enough_however_often_it_is_copied(tmp_path, count):
    write(tmp_path, np.repeat(make_pictures(1), count, axis=0))
    with pytest.raises(UserError, match=r"holds \d usable picture.*expected at least 2 different"):
        load(tmp_path)


# --- Folders that cannot be used.


def test_a_picture_smaller_than_a_patch_is_skipped_and_named(tmp_path):
    write(tmp_path, make_pictures(20, side=9))
    Image.new("RGB", (30, 8)).save(tmp_path / "low.png")
    Image.new("RGB", (8, 30)).save(tmp_path / "narrow.png")
    source = load(tmp_path, patch_size=9)
    assert len(source.training) + len(source.validation) == 20
    assert source.skipped == (
        "low.png: 30x8 is smaller than patch_size=9",
        "narrow.png: 8x30 is smaller than patch_size=9",
    )


def test_a_patch_larger_than_every_picture_is_refused_with_the_largest_size(tmp_path):
    write(tmp_path, make_pictures(3))
    Image.new("RGB", (40, 12)).save(tmp_path / "largest.png")
    with pytest.raises(UserError, match=r"patch_size=28 is larger than every .* at most 12, the"):
        load(tmp_path, patch_size=28)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no picture"):
        load(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist: expected a folder"):
        load(tmp_path / "absent")


def test_a_file_instead_of_a_folder_is_refused(tmp_path):
    write(tmp_path, make_pictures(1))
    with pytest.raises(UserError, match="is a file: expected a folder"):
        load(tmp_path / "picture-000.png")


def test_a_path_that_no_system_takes_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        load(tmp_path / ("x" * 300))
