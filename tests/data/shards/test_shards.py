"""Shards give the pictures, the labels and the split of what they were made from, or one line."""

import gzip
import json
import struct

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import load, make_pictures, write, write_noise
from tests.fixtures.shard_folders import files_of, records, shard
from tf_deconv.data import sources
from tf_deconv.data.shards import pack, writer
from tf_deconv.data.store import content_hash
from tf_deconv.images import reading
from tf_deconv.utils.options import UserError

COUNT = 20


def assert_same_source(one, other):
    for side in ("training", "validation"):
        mine, theirs = getattr(one, side), getattr(other, side)
        assert mine.sha256() == theirs.sha256()
        assert mine.names == theirs.names
        assert mine.greys.tolist() == theirs.greys.tolist()
        assert (mine.labels is None) == (theirs.labels is None)
        assert mine.labels is None or mine.labels.tolist() == theirs.labels.tolist()


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "pictures", make_pictures(COUNT))


@pytest.fixture
def sharded(folder, tmp_path):
    shard(folder, tmp_path / "shards", shards=3)
    return tmp_path / "shards"


@pytest.fixture
def idx(tmp_path, rng):
    """A folder as MNIST's: 12 pictures to train on, 8 to test on, labels of both."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for part, count in (("train", 12), ("t10k", 8)):
        pictures = rng.integers(0, 256, (count, 9, 8), np.uint8)
        labels = rng.integers(0, 10, count, np.uint8)
        for name, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            path = folder / f"{part}-{name}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return folder


# --- What is read is what was there.


def test_shards_give_the_split_and_the_hashes_of_their_folder(folder, sharded):
    assert_same_source(load(sharded), load(folder))
    assert len(load(sharded, validation_fraction=0.5).validation) > 2


def test_pictures_of_every_format_and_size_are_the_same(tmp_path):
    folder = tmp_path / "pictures"
    for number, suffix in enumerate((".png", ".jpg", ".bmp", ".gif", ".tiff", ".webp")):
        write_noise(folder / f"a/{number}{suffix}", (20 + number, 16), seed=number)
        write_noise(folder / f"b/{number}{suffix}", (16, 16), seed=number + 9, mode="L")
    write_noise(folder / "b/see-through.png", seed=50, mode="RGBA")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(folder / "b/16.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    write_noise(folder / "a/turned.jpg", (30, 18), seed=51, exif=turned)
    shard(folder, tmp_path / "shards", shards=2)
    assert_same_source(
        load(tmp_path / "shards", labels=True, patch_size=17),
        load(folder, labels=True, patch_size=17),
    )
    assert_same_source(load(tmp_path / "shards", labels=True), load(folder, labels=True))
    assert_same_source(load(tmp_path / "shards"), load(folder))


def test_png_and_jpeg_files_are_kept_byte_for_byte_and_others_become_png(tmp_path):
    for suffix in (".bmp", ".jpg", ".png"):
        write_noise(tmp_path / f"in/x{suffix}", seed=len(suffix))
    write_noise(tmp_path / "in/y.png", seed=8)
    shard(tmp_path / "in", tmp_path / "out")
    found = {record.name: record.encoded for record in records(tmp_path / "out")}
    for name in ("x.jpg", "x.png", "y.png"):
        assert found[name] == (tmp_path / "in" / name).read_bytes()
    assert reading.read_header(found["x.bmp"]).format == "PNG"


def test_idx_files_keep_their_labels_and_parts(idx, tmp_path):
    result, lines = shard(idx, tmp_path / "out", shards=2)
    assert [(entry.file, entry.count) for entry in result.shards] == [
        *(("test-00000.tfrecord", 4), ("test-00001.tfrecord", 4)),
        *(("train-00000.tfrecord", 6), ("train-00001.tfrecord", 6)),
    ]
    assert lines[-1].startswith("20 pictures (with labels, test, train) in 4 shards, ")
    assert sources.has_parts(str(tmp_path / "out"))
    for part in ("train", "test", None):
        options = dict(part=part, labels=True)
        one, _, _ = sources.read_pictures(str(tmp_path / "out"), **options)
        other, _, _ = sources.read_pictures(str(idx), **options)
        assert one.sha256() == other.sha256()
        assert one.labels.tolist() == other.labels.tolist()
        assert one.names == other.names
        assert one.grey
    assert_same_source(load(tmp_path / "out", part="train"), load(idx, part="train"))


def test_labels_can_be_left_out(idx, tmp_path):
    _, lines = shard(idx, tmp_path / "out", no_labels=True)
    assert "(without labels, test, train)" in lines[-1]
    assert load(tmp_path / "out", labels=True).training.labels is None


def test_labels_that_do_not_fit_are_refused_unless_left_out(tmp_path, rng):
    pictures = rng.integers(0, 256, (6, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x=pictures, y=np.arange(5))
    with pytest.raises(UserError, match=r"labels 'a\.npz/y' are an array \(5,\)"):
        shard(tmp_path / "a.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shard(tmp_path / "a.npz", tmp_path / "out", no_labels=True)
    assert_same_source(load(tmp_path / "out"), load(tmp_path / "a.npz"))


def test_shards_larger_than_memory_are_read_to_disk(folder, sharded):
    source = load(sharded, memory_bytes=1000)
    assert isinstance(source.training.pixels, np.memmap)
    assert "when decoded, more than half of the free memory" in source.notes[0]
    assert source.training.sha256() == load(folder).training.sha256()


def test_small_and_large_pictures_are_left_out_as_those_of_a_folder_are(tmp_path):
    folder = write(tmp_path / "in", make_pictures(12))
    write_noise(folder / "a-low.png", (30, 7), seed=1)
    write_noise(folder / "z-huge.png", (30, 30), seed=2)
    shard(folder, tmp_path / "out")
    one = load(tmp_path / "out", max_pixels=500)
    other = load(folder, max_pixels=500)
    assert one.training.sha256() == other.training.sha256()
    assert one.skipped == (
        "pictures-00000.tfrecord[0]: 30x7 is smaller than patch_size=8",
        "pictures-00000.tfrecord[13]: 30x30 is more than max_pixels=500",
    )
    assert [record.name for record in records(tmp_path / "out")[:2]] == [
        *("a-low.png", "picture-000.png"),
    ]


def test_tensorflow_alone_reads_the_records(folder, sharded):
    import tensorflow as tf

    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/format": tf.io.FixedLenFeature([], tf.string),
        "image/height": tf.io.FixedLenFeature([], tf.int64),
        "image/width": tf.io.FixedLenFeature([], tf.int64),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "image/content/sha256": tf.io.FixedLenFeature([], tf.string),
    }
    paths = sorted(map(str, sharded.glob("*.tfrecord")))
    names = []
    for content in tf.data.TFRecordDataset(paths).as_numpy_iterator():
        example = tf.io.parse_single_example(content, features)
        pixels = tf.io.decode_png(example["image/encoded"]).numpy()
        name = example["image/filename"].numpy().decode()
        np.testing.assert_array_equal(pixels, reading.read_rgb(folder / name))
        assert pixels.shape == (example["image/height"], example["image/width"], 3)
        assert example["image/content/sha256"].numpy() == content_hash(pixels)
        assert example["image/format"].numpy() == b"png"
        names.append(name)
    assert names == sorted(path.name for path in folder.iterdir())


def test_opening_imports_no_tensorflow(sharded, run_python):
    code = (
        "import sys; from tf_deconv.data import sources; print(sources.has_parts(sys.argv[1]))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    assert run_python(code, sharded) == "False"


# --- Remote storage.


@pytest.mark.parametrize("scheme", ["file", "ram"])
def test_a_url_is_written_and_read_by_tensorflow(folder, sharded, tmp_path, scheme):
    url = f"{scheme}://{tmp_path}/remote/shards"
    shard(folder, url, shards=3)
    assert_same_source(load(url), load(folder))
    assert not sources.has_parts(url + "/")
    if scheme == "file":
        assert files_of(tmp_path / "remote" / "shards") == files_of(sharded)
    with pytest.raises(UserError, match="is not empty: expected a new one"):
        shard(folder, url)


def test_a_url_without_shards_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"shards\.json.*expected a folder that tf-deconv shard wr"):
        load(f"file://{tmp_path}")


def test_a_file_system_that_tensorflow_does_not_know_is_refused(folder):
    for give in (lambda: load("abc://bucket/x"), lambda: shard(folder, "abc://bucket/x")):
        with pytest.raises(
            UserError, match=r"'abc://bucket/x': TensorFlow knows file://, .*abc://"
        ):
            give()


# --- What is written.


def test_the_same_pictures_give_the_same_bytes(folder, sharded, tmp_path):
    shard(folder, tmp_path / "again", shards=3)
    shard(sharded, tmp_path / "of-shards", shards=3)
    assert files_of(tmp_path / "again") == files_of(sharded) == files_of(tmp_path / "of-shards")
    index = json.loads((sharded / "shards.json").read_text())
    assert (index["count"], index["labels"]) == (COUNT, False)
    assert [entry["count"] for entry in index["shards"]] == [7, 7, 6]
    assert index["shards"][0]["sizes"] == [[7, 8, 8]]


def test_a_shard_has_at_most_the_size_that_is_asked_for(tmp_path):
    for number in range(5):
        write_noise(tmp_path / f"in/{number}.png", (400, 400), seed=number)
    result, _ = shard(tmp_path / "in", tmp_path / "out", shard_mb=1)
    assert [entry.count for entry in result.shards] == [2, 2, 1]
    for entry in result.shards:
        assert entry.bytes == (tmp_path / "out" / entry.file).stat().st_size <= 1_000_000
    assert len(shard(tmp_path / "in", tmp_path / "64")[0].shards) == 1


def test_a_picture_that_cannot_be_read_is_named_and_left_out(capsys, folder, tmp_path):
    whole = (folder / "picture-003.png").read_bytes()
    (folder / "picture-003.png").write_bytes(whole[: len(whole) // 2])
    (folder / "picture-007.png").write_text("no picture")
    code, out, err = call(capsys, "shard", folder, "--out", tmp_path / "out")
    assert (code, err) == (1, "")
    assert "2 pictures were left out:\n  picture-003.png: " in out
    assert "18 pictures (without labels) in 1 shard," in out
    assert_same_source(load(tmp_path / "out"), load(folder))


def test_a_folder_that_holds_something_is_refused(capsys, folder, sharded):
    before = files_of(sharded)
    assert "is not empty: expected a new one" in refuses(capsys, "shard", folder, "--out", sharded)
    assert files_of(sharded) == before


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--shards", 3, "--shard-mb", 2], "--shards 3 with --shard-mb 2: expected one of them"),
        (["--shards", 21], "--shards 21: expected at most 20, the number of pictures"),
        (["--shards", 0], "--shards 0: expected a number from 1 to 99999"),
    ],
)
def test_bad_options_are_refused(capsys, folder, tmp_path, options, fault):
    assert fault in refuses(capsys, "shard", folder, "--out", tmp_path / "out", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("no place")])
def test_nothing_is_left_of_an_interrupted_run(folder, tmp_path, monkeypatch, remote, error):
    calls = []

    def stop(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 12:
            raise error
        return writer.make_record(*arguments, **more)

    monkeypatch.setattr(pack, "make_record", stop)
    out = f"file://{tmp_path}/out" if remote else tmp_path / "out"
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        shard(folder, out, shards=4)
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != folder]
    assert not left
    monkeypatch.undo()
    shard(folder, out, shards=4)
    assert_same_source(load(out), load(folder))


def test_a_place_that_cannot_be_written_is_refused(capsys, folder, tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "out", f"file://{tmp_path}/file/out"):
        assert "choose another" in refuses(capsys, "shard", folder, "--out", out)


def test_the_command_prints_what_it_made(capsys, folder, tmp_path):
    out = does(capsys, "shard", folder, "--out", tmp_path / "out", "--shards", 2)
    assert out.startswith("20 pictures (without labels) in 2 shards, ")


# --- All the way.


@pytest.mark.slow
def test_training_from_a_url_gives_the_weights_of_training_from_the_folder(
    folder, sharded, tmp_path, train
):
    from tf_deconv.inference.run_folder import load_model

    options = ("--task", "denoise", "--patch-size", 8, "--epochs", 1, "--steps-per-epoch", 2)
    weights = []
    for name, data in (("one", folder), ("other", f"file://{sharded}")):
        train("--data", data, "--run-dir", tmp_path / name, *options)
        weights.append(load_model(tmp_path / name).get_weights())
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
