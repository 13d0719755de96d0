"""One buffer for all pictures: what goes in comes out, in memory or on disk."""

import ctypes
import dataclasses
import itertools
import os
import shutil
import tempfile
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.fixtures.picture_folders import SIDE_PX, contents, load, make_pictures, write
from tf_deconv.data import store as picture_store
from tf_deconv.data.store import PictureStore, StoreWriter
from tf_deconv.images import arrays, reading
from tf_deconv.utils import memory
from tf_deconv.utils.options import UserError

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


def test_labels_and_grey_follow_a_selection(pictures):
    grey = np.repeat(pictures[0][..., :1], 3, axis=-1)
    named = [("grey", grey), ("colour", pictures[1]), ("grey too", grey.copy())]
    store = PictureStore.of(named, labels=[4, 0, 9])
    assert store.labels.tolist() == [4, 0, 9]
    assert store.labels.dtype == np.int64
    assert not store.grey
    some = store.select([2, 0])
    assert some.labels.tolist() == [9, 4]
    assert some.grey
    assert store_of(pictures).labels is None


def test_one_pixel_of_colour_is_seen_in_any_place():
    for place in np.ndindex(4, 5, 3):
        picture = np.full((4, 5, 3), 7, np.uint8)
        assert arrays.is_grey(picture)
        picture[place] += 1
        assert not arrays.is_grey(picture)
    assert not arrays.is_grey(np.zeros((4, 5, 6), np.uint8))


def test_pictures_with_and_without_labels_do_not_mix():
    with StoreWriter(384, 384) as writer:
        writer.add("one", make_pictures(1)[0], label=3)
        writer.add("other", make_pictures(1)[0])
        with pytest.raises(ValueError, match="1 labels for 2 pictures"):
            writer.finish()


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
    from tf_deconv.data.patches import cut_patches, make_plan

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
        "import pathlib, sys; from tf_deconv.data.sources import load_source\n"
        "status = pathlib.Path('/proc/self/status')\n"
        # Not ru_maxrss, which starts at the peak of the process that started this one.
        "def peak(): return int(status.read_text().split('VmHWM:')[1].split()[0]) / 1024\n"
        "import PIL.BmpImagePlugin; before = peak()\n"
        "load_source(sys.argv[1], 28, 0.2, memory_bytes=40 * 2**20)\n"
        "print(peak() - before)"
    )
    assert float(run_python(code, tmp_path)) < 120


def test_a_disk_too_small_is_refused_before_anything_is_decoded(tmp_path, own_cache, monkeypatch):
    write(tmp_path / "data", make_pictures(5))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=100))
    monkeypatch.setattr(reading.PictureFile, "read_raw", None)
    with pytest.raises(UserError, match=r"take 960 B.* is free in .*cache.*: set TMPDIR"):
        load(tmp_path / "data", memory_bytes=0)


def test_a_disk_that_fills_up_is_an_error_of_one_line(tmp_path, own_cache, monkeypatch):
    write(tmp_path / "data", make_pictures(5))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match=r"cannot be written to .*: No space left on device; set"):
        load(tmp_path / "data", memory_bytes=0)


def test_without_pwrite_the_file_on_disk_holds_the_same(tmp_path, monkeypatch):
    # Windows has none.
    write(tmp_path / "data", make_pictures(5))
    expected = load(tmp_path / "data", memory_bytes=0)
    monkeypatch.delattr(os, "pwrite")
    found = load(tmp_path / "data", memory_bytes=0)
    assert on_disk(found.training)
    np.testing.assert_array_equal(found.training.pixels, expected.training.pixels)


def test_the_budget_is_at_most_half_of_the_memory_of_the_machine():
    physical_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < picture_store.memory_budget() <= physical_bytes // 2


def test_the_budget_is_known_where_the_system_counts_no_pages(tmp_path, monkeypatch):
    # On Windows every reader of pictures ended in an AttributeError.
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(memory, "_of_linux", list)
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", ())
    assert picture_store.memory_budget() == 2 * 2**30

    def tell(pointer):
        pointer.physical, pointer.available = 8_000_000, 6_000_000
        return 1

    kernel = types.SimpleNamespace(GlobalMemoryStatusEx=tell)
    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(ctypes, "byref", lambda status: status)
    assert picture_store.memory_budget() == 3_000_000


@pytest.mark.parametrize(("content", "expected"), [("4000000\n", 2000000), ("max\n", None)])
def test_the_limit_of_a_container_is_respected(tmp_path, monkeypatch, content, expected):
    limit = tmp_path / "memory.max"
    limit.write_text(content)
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (str(limit), str(tmp_path / "none")))
    budget_bytes = picture_store.memory_budget()
    assert budget_bytes == expected if expected else budget_bytes > 4000000
