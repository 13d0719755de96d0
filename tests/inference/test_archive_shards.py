"""`tf-deconv restore` over TFRecord shards."""

import json
import pathlib
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import make_pictures, tree, write, write_noise
from tests.fixtures.shard_folders import shard
from tf_deconv.data.shards import records
from tf_deconv.data.shards import writer as shard_writer

# Stands between two records: the first one's checksum, the second one's length with its own.
FRAME_BYTES = 16


@pytest.fixture
def folder(tmp_path):
    """Pictures whose files records hold byte for byte: also what training has no use for."""
    folder = tmp_path / "pictures"
    write(folder / "small", make_pictures(5))
    write_noise(folder / "deep" / "er" / "b.jpeg", seed=1)
    write_noise(folder / "grey.jpg", (61, 45), seed=2, mode="L")
    write_noise(folder / "glass.png", seed=4, mode="RGBA")
    write_noise(folder / "says.jpg", seed=5, format="PNG")
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Camera"
    write_noise(folder / "turned.JPG", (50, 30), seed=6, exif=exif, icc_profile=b"\0" * 200)
    deep = np.random.default_rng(7).integers(0, 2**16, (20, 30)).astype(np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    return folder


@pytest.fixture
def local(capsys, tmp_path, untrained, folder):
    """What the command makes of the files."""
    does(capsys, "restore", untrained, folder, "--out", tmp_path / "local")
    return tree(tmp_path / "local")


@pytest.fixture
def sharded(tmp_path, folder):
    shard(folder, tmp_path / "shards", shards=3)
    return tmp_path / "shards"


def write_records(folder, *named):
    """Writes a shard of (name, bytes of a picture file)."""
    folder.mkdir()
    with shard_writer.ShardWriter(str(folder), labels=False) as writer:
        for name, encoded in named:
            record = shard_writer.make_record(encoded, "png", (36, 40), name, None, b"")
            writer.add(record, (36, 40), None)
        writer.finish()
    return folder


def noise(tmp_path, seed=0):
    return write_noise(tmp_path / "noise.png", seed=seed).read_bytes()


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def place_of(data, name):
    return next(place for place in records.find_places(str(data)) if place.name == name)


# --- Pictures and names.


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_shards_give_what_their_files_give(capsys, tmp_path, untrained, local, sharded, scheme):
    out = does(capsys, "restore", untrained, f"{scheme}{sharded}", "--out", tmp_path / "out")
    assert tree(tmp_path / "out") == local
    assert "11 of 11 pictures were restored, " in out


def test_shards_and_files_may_be_given_together(capsys, tmp_path, untrained, local, sharded):
    other = write_noise(tmp_path / "other.png", seed=9)
    does(capsys, "restore", untrained, sharded, other, sharded, "--out", tmp_path / "out")
    assert sorted(tree(tmp_path / "out")) == sorted([*local, "other.png"])


def test_existing_pictures_are_left_out_when_asked(capsys, tmp_path, untrained, local, sharded):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "glass.png").write_bytes(b"mine")
    out = does(capsys, "restore", untrained, sharded, "--out", tmp_path / "out", "--skip-existing")
    assert "1 picture is there already" in out
    assert tree(tmp_path / "out") == {**local, "glass.png": b"mine"}


@pytest.mark.parametrize(
    ("recorded", "written"),
    [
        (["a.png", "b/c.PNG"], ["a.png", "b/c.PNG"]),
        # Content decides, and not the name.
        (["a.png", "b/c.JPG"], ["a.png", "b/c.png"]),
        # Packed as PNG, and no BMP any more.
        (["a.bmp", "b.gif", "c.tif"], ["a.png", "b.png", "c.png"]),
        (["a.png", "a.bmp"], ["a.bmp.png", "a.png"]),
        (["a.gif", "a.bmp"], ["a.bmp.png", "a.gif.png"]),
        # Of a stack.
        (["x.npz/train[0]", "x.npz/train[1]"], ["x.npz/train[0].png", "x.npz/train[1].png"]),
    ],
)
def test_pictures_go_under_recorded_names(capsys, tmp_path, untrained, recorded, written):
    encoded = noise(tmp_path)
    data = write_records(tmp_path / "shards", *((name, encoded) for name in recorded))
    does(capsys, "restore", untrained, data, "--out", tmp_path / "out")
    assert sorted(tree(tmp_path / "out")) == written
    for path in tmp_path.glob("out/**/*.png"):
        with Image.open(path) as image:
            assert image.format == "PNG"


@pytest.mark.parametrize(
    "name", ["../x.png", "/x.png", "a/../../x.png", ".archive/x.png", "a/.x.png", "", ".", "/"]
)
def test_a_name_that_leads_out_is_not_written(capsys, tmp_path, untrained, name):
    encoded = noise(tmp_path)
    data = write_records(tmp_path / "shards", (name, encoded), ("b.png", encoded))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(capsys, "restore", untrained, data, "--out", tmp_path / "o" / "ut")
    assert (code, err) == (1, "")
    assert f"its name {name!r} is none of a file below --out" in out.splitlines()[-1]
    made = sorted(set(tmp_path.rglob("*")) - set(before))
    assert made == [tmp_path / "o", tmp_path / "o" / "ut", tmp_path / "o" / "ut" / "b.png"]


def test_two_pictures_of_one_name_are_refused(capsys, tmp_path, untrained):
    data = write_records(
        tmp_path / "shards", ("a.png", noise(tmp_path)), ("a.png", noise(tmp_path, 1))
    )
    message = refuses(capsys, "restore", untrained, data, "--out", tmp_path / "out")
    assert "would both be written to" in message


# --- Damage.


def test_a_damaged_record_costs_one_picture(capsys, tmp_path, untrained, local, sharded):
    place = place_of(sharded, "small/picture-001.png")
    flip(pathlib.Path(place.path), place.offset + place.size_bytes // 2)
    code, out, err = call(capsys, "restore", untrained, sharded, "--out", tmp_path / "out")
    assert (code, err) == (1, "")
    assert out.splitlines()[-1] == (
        f"  {place.path}:small/picture-001.png: its record is damaged: the checksum is another one"
    )
    assert local.pop("small/picture-001.png")
    assert tree(tmp_path / "out") == local


def test_what_lies_behind_a_damaged_length_is_lost_and_told(
    capsys, tmp_path, untrained, local, sharded
):
    places = records.find_places(str(sharded))
    first, second = [place for place in places if "00001" in place.path][:2]
    flip(pathlib.Path(second.path), second.offset - 8)
    code, out, _ = call(capsys, "restore", untrained, sharded, "--out", tmp_path / "out")
    lost = sum(place.path == first.path for place in places) - 1
    assert code == 1
    assert f"{lost} of 11 pictures could not be restored:" in out
    assert f"{second.path}[1]: it lies behind a record whose length is damaged" in out
    written = tree(tmp_path / "out")
    assert str(pathlib.Path(first.name).with_suffix(first.suffix)) in written
    assert len(written) == 11 - lost
    assert written.items() <= local.items()


def test_a_damaged_name_takes_nobodys_place(capsys, tmp_path, untrained):
    named = [(name, noise(tmp_path, seed)) for seed, name in enumerate(["a.png", "c.png"])]
    data = write_records(tmp_path / "shards", *named)
    does(capsys, "restore", untrained, data, "--out", tmp_path / "whole")
    path = data / "pictures-00000.tfrecord"
    path.write_bytes(path.read_bytes().replace(b"c.png", b"a.png"))
    code, out, _ = call(capsys, "restore", untrained, data, "--out", tmp_path / "out")
    assert code == 1
    assert "a.png: its record is damaged" in out
    whole = tree(tmp_path / "whole")
    assert tree(tmp_path / "out") == {"a.png": whole["a.png"]}


def test_a_record_that_changed_since_it_was_listed_is_not_restored(sharded):
    place = place_of(sharded, "glass.png")
    assert place.read()
    flip(pathlib.Path(place.path), place.offset + 40)
    with pytest.raises(ValueError, match="was changed since the pictures were listed"):
        place.read()


def test_checksums_are_those_of_the_format():
    # RFC 3720, appendix B.4: CRC-32C of 32 zeros.
    (masked,) = struct.unpack("<L", records._masked_crc32c(bytes(32)))
    turned = (masked - 0xA282EAD8) % 2**32
    assert (turned >> 17 | turned << 15) % 2**32 == 0x8A9136AA


# --- Bad input.


def lose(folder):
    (folder / "pictures-00001.tfrecord").unlink()


def cut(folder):
    path = folder / "pictures-00001.tfrecord"
    path.write_bytes(path.read_bytes()[:-20])


def swap(folder):
    """Another valid shard of the same size."""
    path, other = folder / "pictures-00001.tfrecord", folder.parent / "other"
    content = path.read_bytes()
    write_records(other, ("x.png", b"x" * (len(content) - 2 * FRAME_BYTES - 250)))
    shorter = (other / "pictures-00000.tfrecord").stat().st_size
    shutil.rmtree(other)
    size = 2 * len(content) - shorter - 2 * FRAME_BYTES - 250
    write_records(other, ("x.png", b"x" * size))
    assert (other / "pictures-00000.tfrecord").stat().st_size == len(content)
    shutil.copy(other / "pictures-00000.tfrecord", path)


def empty(folder):
    index = json.loads((folder / "shards.json").read_text())
    (folder / "shards.json").write_text(json.dumps({**index, "shards": [], "count": 0}))


def mix(folder):
    write_noise(folder / "a.PNG")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lose, "00001.tfrecord': No such file or directory; copy the shards anew"),
        (cut, "00001.tfrecord' is cut short: has "),
        (swap, "00001.tfrecord' is not the one that shards.json tells of"),
        (empty, "is damaged (its shards do not hold 0 pictures)"),
        (mix, "holds shards and pictures, such as 'a.PNG'"),
    ],
)
def test_shards_that_are_not_whole_are_refused_in_one_line(
    capsys, tmp_path, untrained, sharded, spoil, expected
):
    spoil(sharded)
    message = refuses(capsys, "restore", untrained, sharded, "--out", tmp_path / "out")
    assert expected in message
    assert not (tmp_path / "out").exists()


def test_places_of_shards_that_are_none_are_refused(capsys, tmp_path, untrained, sharded):
    arguments = ("--out", tmp_path / "out")
    one = sharded / "pictures-00000.tfrecord"
    assert "is one shard: expected its folder" in refuses(
        capsys, "restore", untrained, one, *arguments
    )
    assert "holds the shards to read" in refuses(
        capsys, "restore", untrained, sharded, "--out", sharded
    )
    assert "TensorFlow knows file://" in refuses(
        capsys, "restore", untrained, "abc://x/y", *arguments
    )
    assert "shards.json" in refuses(capsys, "restore", untrained, f"file://{tmp_path}", *arguments)
