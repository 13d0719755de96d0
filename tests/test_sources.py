"""Where pictures come from, and that none is ever on both sides of the split."""

import dataclasses
import hashlib
import itertools
import os
import shutil
import struct
import sys
import tempfile
import threading
import types
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tf_deconv import images, keras_datasets, picture_files, picture_store, sources
from tf_deconv.config import UserError
from tf_deconv.picture_store import PictureStore, StoreWriter
from tf_deconv.sources import load_source

# Small enough that 60 of them are quick, large enough that no two are alike.
SIDE_PX = 8


def make_pictures(count, side=SIDE_PX, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, side, side, 3), np.uint8)


def write(folder, pictures, suffix=".png", prefix="picture"):
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        options = {"lossless": True} if suffix == ".webp" else {}
        Image.fromarray(picture).save(folder / f"{prefix}-{index:03d}{suffix}", **options)
    return folder


def contents(store):
    return [hashlib.sha256(store.picture(index)).hexdigest() for index in range(len(store))]


def load(folder, patch_size=SIDE_PX, validation_fraction=0.2, **options):
    return load_source(str(folder), patch_size, validation_fraction, **options)


# --- The bundled photographs.


def test_the_bundled_photographs_have_a_fixed_split(bundled):
    assert bundled.training.names == (
        "astronaut.png",
        "camera.png",
        "hubble_deep_field.jpg",
        "rocket.jpg",
    )
    assert bundled.validation.names == ("chelsea.png", "coffee.png")
    assert bundled.skipped == ()
    assert bundled.notes == ()


def test_the_bundled_photographs_are_disjoint(bundled):
    assert not set(bundled.training.names) & set(bundled.validation.names)
    assert not set(contents(bundled.training)) & set(contents(bundled.validation))


def test_a_bundled_photograph_is_the_file_of_scikit_image(bundled):
    index = bundled.validation.names.index("chelsea.png")
    expected = images.read_rgb(sources.bundled_folder() / "chelsea.png")
    np.testing.assert_array_equal(bundled.validation.picture(index), expected)
    assert expected.shape == (300, 451, 3)


def test_a_patch_larger_than_one_bundled_photograph_skips_it():
    source = load_source("bundled", patch_size=350, validation_fraction=0.1)
    assert len(source.training) == 4
    assert source.validation.names == ("coffee.png",)
    assert source.skipped == ("chelsea.png: 451x300 is smaller than patch_size=350",)


def test_a_patch_larger_than_all_held_out_photographs_holds_out_another_one():
    source = load_source("bundled", patch_size=420, validation_fraction=0.1)
    (held_out,) = source.validation.names
    assert sorted([held_out, *source.training.names]) == sorted(sources.BUNDLED_TRAINING)
    assert source.notes == (
        f"few pictures: {held_out} was put on the validation side, which was empty",
    )


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
    sides = sources._split("folder", store, sources._hash_below(fraction))[:2]
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
        return sources._split("folder", PictureStore.of(named), sources._hash_below(0.3))

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


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_picture_is_not_enough_however_often_it_is_copied(tmp_path, count):
    write(tmp_path, np.repeat(make_pictures(1), count, axis=0))
    with pytest.raises(UserError, match=r"holds \d usable picture.*expected at least 2 different"):
        load(tmp_path)


# --- Files that cannot be used.


def test_a_corrupt_picture_is_skipped_and_named(tmp_path):
    write(tmp_path, make_pictures(20))
    whole = (tmp_path / "picture-000.png").read_bytes()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    source = load(tmp_path)
    assert len(source.training) + len(source.validation) == 20
    half, text = source.skipped
    assert half.startswith("sub/half.png: ")
    assert text.startswith("text.jpg: cannot identify image file")


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


def test_a_folder_of_nothing_but_corrupt_pictures_is_refused(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"none of the 2 pictures in .* can be read: a\.png: "):
        load(tmp_path)


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


def png_that_claims(width, height):
    """A PNG of a few bytes with any size in its header."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_decompression_bomb_is_skipped_before_it_is_decoded(tmp_path):
    write(tmp_path, make_pictures(5))
    (tmp_path / "bomb.png").write_bytes(png_that_claims(2**14 + 1, 2**14))
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = load(tmp_path)
    assert source.skipped == ("bomb.png: 16385x16384 is more than max_pixels=268435456",)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_on_pixels_can_be_set(tmp_path):
    write(tmp_path, make_pictures(5))
    Image.new("RGB", (13, 5)).save(tmp_path / "large.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "fits.png")
    source = load(tmp_path, patch_size=5, max_pixels=64)
    assert source.skipped == ("large.png: 13x5 is more than max_pixels=64",)
    assert len(source.training) + len(source.validation) == 6


def test_a_folder_of_nothing_but_bombs_is_refused(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_that_claims(10**6, 10**6))
    with pytest.raises(
        UserError, match=r"none of the 1 pictures .*: bomb\.png: 1000000x1000000 is"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("with space.png", "with space.png"),
        ("grüße 🎞️.png", "grüße 🎞️.png"),
        (b"caf\xe9.png", "caf\\xe9.png"),
        ("two\nlines.png", "two\\x0alines.png"),
        ("escape\x1b[31m.png", "escape\\x1b[31m.png"),
    ],
)
def test_names_of_every_kind_are_read_and_shown_on_one_line(tmp_path, name, shown):
    folder = write(tmp_path / "data 📷", make_pictures(3))
    odd = os.fsencode(folder) + b"/" + os.fsencode(name)
    try:
        shutil.copyfile(folder / "picture-000.png", odd)
    except OSError:
        pytest.skip("this file system does not hold such names")
    source = load(folder)
    names = source.training.names + source.validation.names
    assert shown in names
    assert all(name.encode() for name in names)
    with open(odd, "wb") as stream:
        stream.write(b"no picture")
    assert load(folder).skipped[0].startswith(f"{shown}: cannot identify image file")


def test_a_picture_that_changes_while_it_is_read_is_skipped(tmp_path):
    write(tmp_path, make_pictures(3))
    files, _ = picture_files.scan(tmp_path, sorted(tmp_path.iterdir()))
    Image.new("RGB", (5, 5)).save(tmp_path / "picture-001.png")
    with StoreWriter(10**4, 10**4) as writer:
        skipped = picture_files.read_into(writer, files, ahead_bytes=10**6)
        store = writer.finish()
    assert skipped == ["picture-001.png: changed while it was read"]
    assert store.names == ("picture-000.png", "picture-002.png")
    np.testing.assert_array_equal(store.picture(1), make_pictures(3)[2])


def test_turned_pictures_are_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = make_pictures(6)[:, :5]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{index}.png", exif=exif)
    source = load(tmp_path, patch_size=5)
    assert {*source.training.heights, *source.validation.heights} == {8}
    expected = {
        hashlib.sha256(np.ascontiguousarray(p[::-1].swapaxes(0, 1))).hexdigest() for p in pictures
    }
    assert {*contents(source.training), *contents(source.validation)} == expected


@pytest.mark.parametrize("side", [SIDE_PX, 60])
@pytest.mark.parametrize("ahead_bytes", [0, 400, 25000, 10**6])
def test_pictures_stay_in_order_whatever_the_look_ahead(tmp_path, side, ahead_bytes):
    pictures = make_pictures(40, side)
    write(tmp_path, pictures)
    files, _ = picture_files.scan(tmp_path, sorted(tmp_path.iterdir()))
    with StoreWriter(pictures.size, pictures.size) as writer:
        assert picture_files.read_into(writer, files, ahead_bytes) == []
        store = writer.finish()
    np.testing.assert_array_equal([store.picture(index) for index in range(40)], pictures)


def test_no_more_pictures_are_in_decoding_than_the_look_ahead_allows(tmp_path, monkeypatch):
    write(tmp_path, make_pictures(40, side=60))
    files, _ = picture_files.scan(tmp_path, sorted(tmp_path.iterdir()))
    size_bytes = 60 * 60 * 3
    lock, now, most = threading.Lock(), 0, 0
    read_rgb = images.read_rgb

    def counting(path):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        picture = read_rgb(path)
        with lock:
            now -= 1
        return picture

    monkeypatch.setattr(images, "read_rgb", counting)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(picture_files, "_CHUNK_BYTES", 1)
    with StoreWriter(40 * size_bytes, 40 * size_bytes) as writer:
        picture_files.read_into(writer, files, ahead_bytes=3 * size_bytes)
    assert 1 <= most <= 3


# --- Larger than memory.


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def on_disk(store):
    return isinstance(store.pixels, np.memmap)


def test_pictures_larger_than_the_budget_lie_in_a_file_without_a_name(tmp_path, own_cache):
    pictures = make_pictures(40)
    folder = write(tmp_path / "data", pictures)
    source = load(folder, memory_bytes=pictures.size - 1)
    assert on_disk(source.training)
    assert on_disk(source.validation)
    assert list(own_cache.iterdir()) == []
    (note,) = source.notes
    assert "more than half of the free memory" in note
    assert str(own_cache) in note


def test_pictures_as_large_as_the_budget_stay_in_memory(tmp_path):
    pictures = make_pictures(40)
    source = load(write(tmp_path, pictures), memory_bytes=pictures.size)
    assert not on_disk(source.training)
    assert source.notes == ()


def test_a_store_on_disk_equals_one_in_memory(tmp_path, own_cache):
    from tf_deconv.data import cut_patches, make_plan

    folder = write(tmp_path / "data", make_pictures(30))
    Image.fromarray(make_pictures(1, side=50, seed=9)[0]).save(folder / "large.png")
    (folder / "damaged.png").write_bytes((folder / "large.png").read_bytes()[:300])
    memory, disk = load(folder, memory_bytes=10**9), load(folder, memory_bytes=0)
    assert memory.skipped == disk.skipped
    assert len(memory.skipped) == 1
    for one, other in ((memory.training, disk.training), (memory.validation, disk.validation)):
        assert on_disk(other)
        for field in dataclasses.fields(PictureStore):
            if field.name != "pixels":
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
        plan = make_plan(one, SIDE_PX, 50, seed=0, epoch=0)
        patches = [cut_patches(store, plan, range(50), SIDE_PX) for store in (one, other)]
        np.testing.assert_array_equal(*patches)
        assert contents(one) == contents(other)


def test_pictures_on_disk_cannot_be_changed(own_cache):
    with StoreWriter(192, budget_bytes=0) as writer:
        writer.add("one", make_pictures(1)[0])
        store = writer.finish()
    with pytest.raises(ValueError, match="read-only"):
        store.picture(0)[...] = 0


def test_loading_large_pictures_takes_little_memory(tmp_path, run_python):
    # 16 pictures of 12 MB; a list of them, or a second copy, would take 192 MB and more.
    for index in range(16):
        Image.new("RGB", (2000, 2000), (index, 0, 0)).save(tmp_path / f"{index}.bmp")
    code = (
        "import resource, sys; from tf_deconv.sources import load_source\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "import PIL.BmpImagePlugin; before = peak()\n"
        "load_source(sys.argv[1], 28, 0.2, memory_bytes=40 * 2**20)\n"
        "print(peak() - before)"
    )
    assert float(run_python(code, tmp_path)) < 120


def test_a_disk_too_small_is_refused_before_anything_is_decoded(tmp_path, own_cache, monkeypatch):
    write(tmp_path / "data", make_pictures(5))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100))
    monkeypatch.setattr(images, "read_rgb", None)
    with pytest.raises(UserError, match=r"take 960 B.* is free in .*cache.*: set TMPDIR"):
        load(tmp_path / "data", memory_bytes=0)


def test_a_disk_that_fills_up_is_an_error_of_one_line(tmp_path, own_cache, monkeypatch):
    write(tmp_path / "data", make_pictures(5))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match=r"cannot be written to .*: No space left on device; set"):
        load(tmp_path / "data", memory_bytes=0)


def test_the_budget_is_at_most_half_of_the_memory_of_the_machine():
    physical_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < picture_store.memory_budget() <= physical_bytes // 2


@pytest.mark.parametrize(("content", "expected"), [("4000000\n", 2000000), ("max\n", None)])
def test_the_limit_of_a_container_is_respected(tmp_path, monkeypatch, content, expected):
    limit = tmp_path / "memory.max"
    limit.write_text(content)
    monkeypatch.setattr(picture_store, "_CONTAINER_LIMITS", (str(limit), str(tmp_path / "none")))
    budget_bytes = picture_store.memory_budget()
    assert budget_bytes == expected if expected else budget_bytes > 4000000


# --- keras.datasets.


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    folder = tmp_path / "keras"
    (folder / "datasets" / "fashion-mnist").mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(folder))
    return folder / "datasets"


def fake_keras(monkeypatch, load_data):
    names = {
        name: types.SimpleNamespace(load_data=load_data) for name in keras_datasets.LOCAL_FILES
    }
    module = types.SimpleNamespace(datasets=types.SimpleNamespace(**names))
    monkeypatch.setitem(sys.modules, "keras", module)


def no_network():
    raise Exception("URL fetch failure on https://example.org: None -- no route")


@pytest.mark.parametrize("name", keras_datasets.LOCAL_FILES)
def test_a_keras_data_set_that_cannot_be_had_says_which_file_to_put_where(
    keras_home, monkeypatch, name
):
    fake_keras(monkeypatch, no_network)
    with pytest.raises(UserError) as caught:
        load(f"keras:{name}")
    message = str(caught.value)
    assert "\n" not in message
    assert "cannot be downloaded (URL fetch failure" in message
    for file in keras_datasets.LOCAL_FILES[name]:
        assert repr(str(keras_home / file)) in message


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 8, 8, 3), (20, 3, 8, 8)])
def test_a_keras_data_set_is_loaded_by_keras(keras_home, monkeypatch, rng, shape):
    pictures = rng.integers(0, 256, shape, np.uint8)
    labels = np.arange(20)
    fake_keras(monkeypatch, lambda: ((pictures[:15], labels[:15]), (pictures[15:], labels[15:])))
    source = load("keras:cifar10")
    names = {*source.training.names, *source.validation.names}
    assert names == {f"cifar10/train[{i}]" for i in range(15)} | {
        f"cifar10/test[{i}]" for i in range(5)
    }
    assert {*source.training.widths} == {8}


def test_local_copies_are_read_without_keras(keras_home, monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "keras", None)
    pictures = rng.integers(0, 256, (20, 8, 8), np.uint8)
    np.savez(
        keras_home / "mnist.npz",
        x_train=pictures[:15], y_train=np.zeros(15), x_test=pictures[15:], y_test=np.zeros(5),
    )  # fmt: skip
    for part, some in (("train", pictures[:15]), ("t10k", pictures[15:])):
        path = keras_home / "fashion-mnist" / f"{part}-images-idx3-ubyte.gz"
        path.write_bytes(zlib_gzip(struct.pack(">4I", 0x803, *some.shape) + some.tobytes()))
    mnist, fashion = load("keras:mnist"), load("keras:fashion_mnist")
    assert mnist.training.sha256() == fashion.training.sha256()
    assert len(mnist.training) + len(mnist.validation) == 20


def zlib_gzip(data):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def test_an_unknown_keras_data_set_is_refused_with_the_nearest():
    with pytest.raises(
        UserError, match=r"did you mean 'fashion_mnist'\?\): expected keras: and one"
    ):
        load("keras:fashion-mnist")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_keras_itself_looks_for_the_file_that_the_message_names(monkeypatch, name):
    import importlib

    module = importlib.import_module(f"keras.src.datasets.{name}")
    asked = []

    def get_file(fname, **options):
        asked.append(fname + "_archive" * options["extract"])
        raise FileNotFoundError

    monkeypatch.setattr(module, "get_file", get_file)
    with pytest.raises(FileNotFoundError):
        module.load_data()
    assert tuple(asked) == keras_datasets.LOCAL_FILES[name]


def test_a_path_that_no_system_takes_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        load(tmp_path / ("x" * 300))


# --- PictureStore.


@pytest.fixture
def pictures(rng):
    sizes = [(5, 7), (1, 1), (9, 2), (5, 7)]
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def store_of(pictures):
    return PictureStore.of((f"{index}.png", picture) for index, picture in enumerate(pictures))


def test_a_store_gives_back_exactly_what_went_in(pictures):
    store = store_of(pictures)
    assert len(store) == 4
    assert store.names == ("0.png", "1.png", "2.png", "3.png")
    assert list(zip(store.heights, store.widths)) == [(5, 7), (1, 1), (9, 2), (5, 7)]
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(store.picture(index), picture)
        assert np.shares_memory(store.picture(index), store.pixels)


def test_a_store_takes_views_that_are_not_contiguous(pictures):
    views = [picture[:, ::-1].swapaxes(0, 1) for picture in pictures]
    store = store_of(views)
    for index, view in enumerate(views):
        np.testing.assert_array_equal(store.picture(index), view)


def test_a_store_may_be_empty():
    assert len(PictureStore.of([])) == 0


@given(st.lists(st.integers(0, 3)))
def test_a_selection_shares_the_buffer_and_keeps_its_order(indices):
    pictures = make_pictures(4)
    store = store_of(pictures)
    some = store.select(indices)
    assert some.pixels is store.pixels
    assert some.names == tuple(f"{index}.png" for index in indices)
    for place, index in enumerate(indices):
        np.testing.assert_array_equal(some.picture(place), pictures[index])
    assert some.sha256() == store_of(list(pictures[indices])).sha256() or len(indices) == 0


@settings(deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=9),
    budget_bytes=st.sampled_from([0, 10**6]),
)
def test_what_is_written_in_any_order_is_read_back(sizes, budget_bytes):
    pictures = [
        np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
        for index, size in enumerate(sizes)
    ]
    total_bytes = sum(picture.size for picture in pictures)
    with StoreWriter(total_bytes, budget_bytes) as writer:
        offsets = [writer.reserve(picture.size) for picture in pictures]
        assert offsets == [0, *itertools.accumulate(p.size for p in pictures[:-1])]
        for offset, picture in reversed(list(zip(offsets, pictures))):
            writer.put(offset, picture)
        # Every second one turned out to be damaged.
        for index in range(0, len(pictures), 2):
            writer.record(str(index), offsets[index], *pictures[index].shape[:2], b"")
        store = writer.finish()
    assert on_disk(store) == (budget_bytes == 0)
    for place, picture in enumerate(pictures[::2]):
        np.testing.assert_array_equal(store.picture(place), picture)


def test_the_hash_of_a_store_sees_pixels_sizes_and_order_but_no_names(pictures):
    expected = store_of(pictures).sha256()
    renamed = PictureStore.of(("x", picture) for picture in pictures)
    assert renamed.sha256() == expected
    changed = [picture.copy() for picture in pictures]
    changed[2][0, 0, 0] ^= 1
    turned = [pictures[0].reshape(7, 5, 3), *pictures[1:]]
    for other in (changed, turned, pictures[::-1], pictures[:3]):
        assert store_of(other).sha256() != expected
