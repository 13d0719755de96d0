"""Values of more than 8 bits: kept, and black and white where --range or the pictures say."""

import hashlib
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures.picture_folders import load, make_pictures, write
from tests.fixtures.shard_folders import records, shard
from tf_deconv.data import downscaling, levels, patches
from tf_deconv.data.sources import load_source, read_pictures
from tf_deconv.data.store import content_hash
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.images import reading
from tf_deconv.utils.options import UserError

SIDE = 16


def counts(number=0, low=100, high=1500, dtype="u2"):
    rng = np.random.default_rng(number)
    return rng.uniform(low, high, (SIDE, SIDE)).astype(dtype)


def write_tiffs(folder, pictures):
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        tifffile.imwrite(folder / f"{index}.tif", picture, photometric="minisblack")
    return folder


def unit(store, index):
    """(H, W, C) float32, as training sees a picture."""
    own = () if store.levels is None else (store.levels[index],)
    return patches.to_unit(store.picture(index), *own).numpy()


def test_12_bit_counts_keep_every_level(tmp_path):
    # They were read as 8 bits: 7 levels of 1439.
    folder = write_tiffs(tmp_path, [counts(k) for k in range(3)])
    store, skipped, notes = read_pictures(str(folder))
    assert (store.pixels.dtype, skipped) == (np.uint16, [])
    np.testing.assert_array_equal(store.picture(1)[..., 0], counts(1))
    np.testing.assert_allclose(unit(store, 1)[..., 2], counts(1) / 4095, rtol=1e-6)
    assert levels.recorded(store.ranges) == {"uint16": [0, 4095]}
    (note,) = notes
    assert "taken as 12-bit counts, 0 to 4095 (--range full says otherwise)" in note


@pytest.mark.parametrize(
    ("said", "expected"),
    [("full", (0, 65535)), ("100-1500", (100, 1500)), ("-50-4e3", (-50, 4000))],
)
def test_what_range_says_is_taken(tmp_path, said, expected):
    folder = write_tiffs(tmp_path, [counts(k) for k in range(2)])
    store, _, _ = read_pictures(str(folder), value_range=said)
    low, high = expected
    assert store.ranges == {"uint16": expected}
    wanted = np.clip((counts(0) - np.float64(low)) / (high - low), 0, 1)
    np.testing.assert_allclose(unit(store, 0)[..., 0], wanted, atol=1e-6)


def test_the_largest_value_of_the_whole_source_decides(tmp_path):
    folder = write_tiffs(tmp_path, [counts(0), counts(1, high=5000)])
    store, _, notes = read_pictures(str(folder))
    assert (store.levels, store.ranges) == (None, {"uint16": (0, 65535)})
    assert notes[0].startswith("1 of 2 pictures of 16 bits hold nothing above 4095")


@pytest.mark.parametrize("dtype", ["u2", "u1", "f4", "i2"])
def test_percentiles_are_those_of_the_whole_source(tmp_path, dtype):
    pictures = [counts(k, 10, 250, dtype) for k in range(3)]
    store, _, notes = read_pictures(
        str(write_tiffs(tmp_path, pictures)), value_range="percentile:1-99"
    )
    (found,) = store.ranges.values()
    np.testing.assert_allclose(found, np.percentile(pictures, (1, 99)), atol=0.5)
    assert "were taken as 0 to 1" in notes[0]
    wanted = np.clip((pictures[2] - found[0]) / (found[1] - found[0]), 0, 1)
    np.testing.assert_allclose(unit(store, 2)[..., 0], wanted, atol=1.1 / 65535)


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
@pytest.mark.parametrize(("dtype", "shift"), [("i2", -800), ("i4", -90000), ("u4", 4e9), ("i1", 0)])
def test_other_integers_span_what_they_hold_in_every_format(tmp_path, suffix, dtype, shift):
    # int16 was clipped at 0, uint32 wrapped to black, both silently; .npy refused them.
    pictures = np.stack([counts(k, -100, 120) for k in range(3)]).astype("i8") + int(shift)
    pictures = pictures.astype(dtype)
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", pictures)
        data = tmp_path / "a.npy"
    else:
        data = write_tiffs(tmp_path / "d", pictures)
    store, _, notes = read_pictures(str(data))
    low, high = int(pictures.min()), int(pictures.max())
    assert store.ranges == {pictures.dtype.name: (low, high)}
    assert f"{pictures.dtype.name} values: {low} to {high} were taken as 0 to 1" in notes[0]
    wanted = (pictures[1].astype("f8") - low) / (high - low)
    np.testing.assert_allclose(unit(store, 1)[..., 0], wanted, atol=1 / 65535)
    assert len(np.unique(store.picture(1))) == len(np.unique(pictures[1]))


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_float_beyond_0_to_1_is_refused_and_stretched_when_asked(tmp_path, suffix):
    pictures = np.stack([counts(k, dtype="f4") for k in range(3)])
    data = tmp_path / "a.npy"
    np.save(data, pictures)
    if suffix == ".tif":
        data = write_tiffs(tmp_path / "d", pictures)
    with pytest.raises(UserError, match=r"holds float32 values from .*expected 0 to 1.*--range"):
        read_pictures(str(data))
    store, _, _ = read_pictures(str(data), value_range="0-2000")
    np.testing.assert_allclose(unit(store, 0)[..., 0], pictures[0] / 2000, atol=1 / 65535)
    assert levels.recorded(store.ranges) == {"float": [0, 2000]}


def test_float_of_any_width_from_0_to_1_is_kept_to_16_bits(tmp_path):
    pictures = [counts(k, 0, 1, dtype) for k, dtype in enumerate(("f2", "f4", "f8"))]
    store, _, notes = read_pictures(str(write_tiffs(tmp_path, pictures)))
    assert (store.ranges, notes) == ({"float": (0, 1)}, [])
    for index, picture in enumerate(pictures):
        np.testing.assert_allclose(unit(store, index)[..., 1], picture, atol=0.51 / 65535)


def test_8_bits_among_16_are_as_bright_as_before(tmp_path):
    write_tiffs(tmp_path, [counts(0)])
    Image.fromarray(make_pictures(1, SIDE)[0]).save(tmp_path / "a.png")
    store, _, _ = read_pictures(str(tmp_path))
    assert store.names == ("0.tif", "a.png")
    np.testing.assert_array_equal(store.picture(1), make_pictures(1, SIDE)[0].astype("u2") * 257)
    np.testing.assert_allclose(unit(store, 1), make_pictures(1, SIDE)[0] / 255, atol=1e-6)
    np.testing.assert_allclose(unit(store, 0)[..., 0], counts(0) / 4095, rtol=1e-6)
    # What is recorded, and decides on the side of the split, is as of the file alone.
    assert store.digests[1] == content_hash(make_pictures(1, SIDE)[0])


def test_8_bits_that_lie_in_16_are_the_same_picture():
    picture = make_pictures(1)[0]
    assert content_hash(picture.astype("u2") * 257) == content_hash(picture)
    assert content_hash(picture.astype(">u2") * 257 + 1) != content_hash(picture)
    wide = picture.astype("<u2") * 200
    assert content_hash(wide.astype(">u2")) == content_hash(wide)


def test_a_range_moves_no_picture_across_the_split(tmp_path):
    data = str(write_tiffs(tmp_path, [counts(k, dtype="f4") for k in range(12)]))
    one, other = (load_source(data, 8, 0.3, value_range=said) for said in ("0-2000", "0-1600"))
    assert one.training.names == other.training.names
    assert one.training.sha256() == other.training.sha256()


def test_8_bits_give_the_digests_splits_and_batches_of_before(tmp_path):
    # Computed by the version before there were 16 bits.
    source = load(write(tmp_path, make_pictures(20)))
    assert source.training.sha256()[:16] == "5b4f58c469608584"
    assert source.validation.sha256()[:16] == "80ade9b314f9cd04"
    assert (source.training.levels, source.training.pixels.dtype) == (None, np.uint8)
    how = dict(patch_size=8, batch_size=4, steps_per_epoch=2, seed=3, candidates=2)
    dataset = patches.training_data(source.training, TASKS["denoise"], **how)
    digest = hashlib.sha256()
    for _, clean in dataset.take(4).as_numpy_iterator():
        digest.update(clean.tobytes())
    assert digest.hexdigest()[:16] == "9c7ddf5bee2dee40"


def test_batches_of_16_bits_are_clean_patches_of_the_file(tmp_path):
    pictures = [counts(k, 0, 4095) for k in range(6)]
    source = load_source(str(write_tiffs(tmp_path, pictures)), SIDE, 0.3)
    how = dict(patch_size=SIDE, batch_size=2, steps_per_epoch=3, seed=0, candidates=2)
    dataset = patches.training_data(source.training, TASKS["denoise-grey"], **how)
    for _, clean in dataset.take(3).as_numpy_iterator():
        assert (clean.dtype, clean.min() >= 0, clean.max() <= 1) == (np.float32, True, True)
        values = np.rint(clean * 4095)
        np.testing.assert_allclose(clean, values / 4095, atol=1e-6)
        assert len(np.unique(values)) > 200


def test_smaller_copies_keep_16_bits(tmp_path):
    flat = [np.full((40, 40), value, "u2") for value in (1000, 3001)]
    store, _, _ = read_pictures(str(write_tiffs(tmp_path, flat)))
    smaller = downscaling.shrink(store, (2, 2), 8, copies=1)
    assert (smaller.heights.tolist(), smaller.pixels.dtype) == ([20, 20], np.uint16)
    assert [np.unique(smaller.picture(k)).tolist() for k in (0, 1)] == [[1000], [3001]]
    np.testing.assert_allclose(unit(smaller, 1), 3001 / 4095, rtol=1e-6)


def test_pictures_larger_than_memory_keep_16_bits(tmp_path):
    data = str(write_tiffs(tmp_path, [counts(k) for k in range(4)]))
    memory, disk = read_pictures(data)[0], read_pictures(data, memory_bytes=10)[0]
    assert isinstance(disk.pixels, np.memmap)
    np.testing.assert_array_equal(memory.pixels, disk.pixels)
    np.testing.assert_array_equal(memory.levels, disk.levels)


def test_a_pair_may_be_of_two_depths(tmp_path):
    write_tiffs(tmp_path / "in", [counts(k) for k in range(3)])
    clean = [make_pictures(1, SIDE, seed=k)[0] for k in range(3)]
    (tmp_path / "out").mkdir()
    for index, picture in enumerate(clean):
        Image.fromarray(picture).save(tmp_path / "out" / f"{index}.png")
    store, _, _ = read_pictures(str(tmp_path / "in"), targets=str(tmp_path / "out"))
    given, wanted = np.split(unit(store, 1), 2, axis=-1)
    np.testing.assert_allclose(given[..., 0], counts(1) / 4095, rtol=1e-6)
    np.testing.assert_allclose(wanted, clean[1] / 255, atol=1e-6)


def test_a_depth_that_no_head_tells_is_found_by_decoding(tmp_path, monkeypatch):
    data = write_tiffs(tmp_path, [counts(k) for k in range(3)])
    header = reading.Header("TIFF", SIDE, SIDE)
    monkeypatch.setattr(reading, "read_head", lambda path: (header, ()))
    store, skipped, _ = read_pictures(str(data))
    assert skipped == []
    np.testing.assert_array_equal(store.picture(2)[..., 0], counts(2))


# --- Shards.


def write_mixed(folder):
    """uint16 counts, float, int16 and 8 bits."""
    kinds = [counts(0), counts(1), counts(2, 0, 1, "f4"), counts(3, -900, 900, "i2")]
    write_tiffs(folder, kinds)
    Image.fromarray(make_pictures(1, SIDE)[0]).save(folder / "z.png")
    return str(folder)


def assert_one_source(one, other):
    assert (one.names, one.digests, one.ranges) == (other.names, other.digests, other.ranges)
    for index in range(len(one)):
        np.testing.assert_allclose(unit(one, index), unit(other, index), atol=1e-6)


def test_shards_of_every_depth_are_the_source_itself(tmp_path):
    data, out = write_mixed(tmp_path / "d"), tmp_path / "s"
    result, lines = shard(data, out)
    assert not result.failures
    assert any("int16 values: " in line for line in lines)
    assert_one_source(read_pictures(str(out))[0], read_pictures(data)[0])
    raw = {record.name: record for record in records(out)}["1.tif"]
    np.testing.assert_array_equal(raw.read()[0][..., 0], counts(1))
    # Shards of shards are the same again.
    shard(out, tmp_path / "again")
    assert_one_source(read_pictures(str(tmp_path / "again"))[0], read_pictures(data)[0])


def test_a_range_that_was_said_of_shards_is_taken_when_they_are_read(tmp_path):
    data = str(write_tiffs(tmp_path / "d", [counts(k) for k in range(3)]))
    shard(data, tmp_path / "s", range="0-3000")
    store, _, _ = read_pictures(str(tmp_path / "s"))
    assert store.ranges == {"uint16": (0, 3000)}
    store, _, _ = read_pictures(str(tmp_path / "s"), value_range="full")
    assert store.ranges == {"uint16": (0, 65535)}


def test_shards_of_8_bits_are_written_as_before(tmp_path):
    shard(write(tmp_path / "d", make_pictures(3)), tmp_path / "s")
    index = json.loads((tmp_path / "s" / "shards.json").read_text())
    assert {*index} == {"format", "version", "count", "labels", "shards"}
    assert {*index["shards"][0]} == {"file", "part", "count", "bytes", "sha256", "sizes"}


@pytest.mark.parametrize(
    "change",
    [
        {"levels": {"float": [1, 0]}},
        {"levels": [1]},
        {"levels": {"float": ["a", 1]}},
        {"range": "1-0"},
        {"levels": {}},
    ],
)
def test_a_damaged_index_of_levels_is_one_line(tmp_path, change):
    shard(write_mixed(tmp_path / "d"), tmp_path / "s")
    path = tmp_path / "s" / "shards.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"is damaged|knows nothing"):
        read_pictures(str(tmp_path / "s"))


def test_shards_of_before_whose_index_tells_of_no_depth_are_read(tmp_path):
    data = write_tiffs(tmp_path / "d", [counts(k) for k in range(3)])
    shard(data, tmp_path / "s")
    path = tmp_path / "s" / "shards.json"
    text = path.read_text()
    assert '"bits": 16' in text
    path.write_text(text.replace(', "bits": 16', ""))
    assert_one_source(read_pictures(str(tmp_path / "s"))[0], read_pictures(str(data))[0])


def test_jpeg_xl_of_any_depth_is_trained_on_and_packed(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    pytest.importorskip("pillow_jxl")
    wide = np.repeat(counts(0, 0, 65535)[..., None], 3, -1)
    for name, pixels in {"a": wide, "b": (wide / 65535).astype("f4")}.items():
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / f"{name}.jxl").write_bytes(
            imagecodecs.jpegxl_encode(pixels, lossless=True)
        )
    store, skipped, _ = read_pictures(str(tmp_path / "d"))
    assert (skipped, {*store.ranges}) == ([], {"float", "uint16"})
    np.testing.assert_array_equal(store.picture(0), wide)
    result, _ = shard(tmp_path / "d", tmp_path / "s")
    assert result.failures == ()
    assert_one_source(read_pictures(str(tmp_path / "s"))[0], store)
