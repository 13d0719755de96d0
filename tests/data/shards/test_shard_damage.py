"""A damaged folder of shards gives one line, or the pictures that are whole."""

import json
import shutil

import pytest

from tests.fixtures.picture_folders import load, make_pictures, write
from tests.fixtures.shard_folders import shard
from tf_deconv.data.shards import writer as shard_writer
from tf_deconv.images import arrays
from tf_deconv.utils.options import UserError

COUNT = 20


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "pictures", make_pictures(COUNT))


@pytest.fixture
def sharded(folder, tmp_path):
    shard(folder, tmp_path / "shards", shards=3)
    return tmp_path / "shards"


def cut(folder):
    path = folder / "pictures-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-20])


def lengthen(folder):
    with open(folder / "pictures-00001.tfrecord", "ab") as stream:
        stream.write(b"more")


def flip(folder):
    path = folder / "pictures-00001.tfrecord"
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)


def flip_length(folder):
    path = folder / "pictures-00001.tfrecord"
    content = bytearray(path.read_bytes())
    content[6] ^= 1
    path.write_bytes(content)


def swap(folder):
    shutil.copy(folder / "pictures-00000.tfrecord", folder / "pictures-00001.tfrecord")
    edit(folder, lambda index: index["shards"][1].update(bytes=index["shards"][0]["bytes"]))


def lose(folder):
    (folder / "pictures-00001.tfrecord").unlink()


def edit(folder, change):
    path = folder / "shards.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            cut,
            r"shard '.*pictures-00001\.tfrecord' is cut short: has \d+ bytes, expected \d+;",
        ),
        (lengthen, r"00001\.tfrecord' is too long: has \d+ bytes"),
        (flip, r"00001\.tfrecord': corrupted record at 12"),
        (flip_length, r"00001\.tfrecord': corrupted record at 0"),
        (
            swap,
            r"00001\.tfrecord' is not the one .*: its checksum is [0-9a-f]{12}, expected [0-9a-f]+",
        ),
        (lose, r"00001\.tfrecord': .*No such file or directory; copy the shards anew"),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_damaged_shard_gives_one_line(sharded, damage, fault, scheme):
    damage(sharded)
    with pytest.raises(UserError, match=fault) as caught:
        load(f"{scheme}{sharded}")
    message = str(caught.value)
    assert "\n" not in message
    assert "[Op:" not in message
    assert "{{" not in message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda index: index.update(format="x"), "its format is not 'tf_deconv shards'"),
        (lambda index: index.update(version=2), "its version is 2, and this program reads 1"),
        (lambda index: index.pop("version"), "it has no 'version'"),
        (lambda index: index.update(count=3), "its shards do not hold 3 pictures"),
        (lambda index: index.update(shards=[]), "its shards do not hold 20 pictures"),
        (lambda index: index.update(shards=7), "not iterable"),
        (lambda index: index.update(labels=1), "labels=1 is neither true nor false"),
        (lambda index: index["shards"][0].update(file="../x.tfrecord"), "is not a name of a shard"),
        (lambda index: index["shards"][0].update(file=7), "expected string"),
        (lambda index: index["shards"][0].update(part="x"), "'x' is no part"),
        (lambda index: index["shards"][0].update(bytes=-1), "-1 is not a whole number from 1 on"),
        (lambda index: index["shards"][0].update(sizes=[[7, 8]]), "the sizes of pictures-00000"),
        (lambda index: index["shards"][0].update(sizes=[[6, 8, 8]]), "the sizes of pictures-0"),
        (lambda index: index["shards"][0].update(sha256=None), "None is not a checksum"),
    ],
)
def test_a_damaged_index_gives_one_line(sharded, change, fault):
    edit(sharded, change)
    with pytest.raises(UserError, match=r"index '.*shards\.json' is damaged \(.*\): exp") as caught:
        load(sharded)
    assert fault in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000])
def test_an_index_that_is_none_gives_one_line(sharded, text):
    (sharded / "shards.json").write_bytes(text)
    with pytest.raises(UserError, match="is damaged"):
        load(sharded)


def test_a_picture_of_another_size_than_the_index_says_is_left_out_undecoded(sharded, monkeypatch):
    edit(sharded, lambda index: index["shards"][0].update(sizes=[[1, 9, 9], [6, 8, 8]]))
    source = load(sharded)
    assert source.skipped == ("picture-000.png: is 8x8: expected 9x9, as shards.json says",)
    assert len(source.training) + len(source.validation) == COUNT - 1


def test_a_count_of_pictures_that_no_disk_holds_is_refused(sharded):
    size = 10**15
    edit(sharded, lambda index: index["shards"][0].update(sizes=[[size, 8, 8]], count=size))
    edit(sharded, lambda index: index.update(count=size + 13))
    with pytest.raises(UserError, match="set TMPDIR to a folder on a larger disk"):
        load(sharded)


def test_records_that_hold_no_picture_are_refused(tmp_path):
    for content, fault in ((b"\xff", "is not a tf.train.Example"), (b"", "holds no image/encoded")):
        folder = tmp_path / fault[:12]
        folder.mkdir()
        with shard_writer.ShardWriter(str(folder), labels=False) as writer:
            writer.add(content, (8, 8), None)
            writer.finish()
        with pytest.raises(UserError, match=f"record 0 of shard '.*' {fault}"):
            load(folder)


def test_labels_that_are_no_classes_are_refused(tmp_path):
    picture = arrays.encode_png(make_pictures(1)[0])
    with shard_writer.ShardWriter(str(tmp_path), labels=True) as writer:
        record = shard_writer.make_record(picture, "png", (8, 8), "a", 1000, b"")
        writer.add(record, (8, 8), None)
        writer.finish()
    with pytest.raises(UserError, match=r"has the labels \[1000\]: expected one from 0 to 999"):
        load(tmp_path, labels=True)


def test_pairs_of_shards_are_refused(folder, sharded):
    for inputs, targets in ((folder, sharded), (sharded, folder)):
        with pytest.raises(UserError, match="holds shards: expected two folders of picture files"):
            load(inputs, targets=str(targets))
