"""Labels stay with their pictures, and the parts of a source apart; bad labels are one line."""

import gzip
import struct
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.picture_folders import make_pictures, write
from tf_deconv.data import labels
from tf_deconv.data import store as picture_store
from tf_deconv.data.sources import has_parts, load_source, read_pictures
from tf_deconv.utils.options import UserError

COUNT = 24
# Grey 6x5 pictures whose first pixel is their number, and labels that follow from it.
PICTURES = np.random.default_rng(3).integers(0, 256, (COUNT, 6, 5), np.uint8)
PICTURES[:, 0, 0] = np.arange(COUNT)
LABELS = (np.arange(COUNT) * 7 % 5).astype(np.uint8)
TRAIN, TEST = slice(0, 16), slice(16, COUNT)


def idx(path, array):
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


def write_idx(folder, numbers=LABELS, dash="-", suffix="", label_suffix=""):
    folder.mkdir(exist_ok=True)
    for name, some in (("train", TRAIN), ("t10k", TEST)):
        idx(folder / f"{name}-images{dash}idx3-ubyte{suffix}", PICTURES[some])
        if numbers is not None:
            idx(folder / f"{name}-labels{dash}idx1-ubyte{label_suffix}", numbers[some])
    return str(folder)


def write_npz(folder, numbers=LABELS):
    path = folder / "a.npz"
    arrays = dict(x_test=PICTURES[TEST], y_test=numbers[TEST], x_train=PICTURES[TRAIN])
    np.savez(path, **arrays, y_train=numbers[TRAIN])
    return str(path)


def numbers_of(store):
    return np.array([store.picture(index)[0, 0, 0] for index in range(len(store))])


def assert_aligned(store):
    assert store.labels.dtype == np.int64
    np.testing.assert_array_equal(store.labels, LABELS[numbers_of(store)])


# --- Found, and kept with the pictures.


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize(("suffix", "label_suffix"), [("", ""), (".gz", ".gz"), (".gz", "")])
def test_idx_labels_lie_beside_the_pictures(tmp_path, dash, suffix, label_suffix):
    data = write_idx(tmp_path, dash=dash, suffix=suffix, label_suffix=label_suffix)
    source = load_source(data, 5, 0.3, labels=True)
    assert len(source.training) + len(source.validation) == COUNT
    assert_aligned(source.training)
    assert_aligned(source.validation)
    store, _, _ = read_pictures(f"{data}/train-images{dash}idx3-ubyte{suffix}", labels=True)
    np.testing.assert_array_equal(store.labels, LABELS[TRAIN])


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, ">i8"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_labels_of_an_npz_are_the_arrays_named_like_the_pictures(tmp_path, dtype, shape):
    source = load_source(write_npz(tmp_path, LABELS.astype(dtype).reshape(shape)), 5, 0.3, labels=1)
    assert_aligned(source.training)
    assert_aligned(source.validation)


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        ("x", "y"),
        ("images", "y"),
        ("x2", "labels2"),
        ("x_train", "y_train"),
        ("trainImages", "y_train"),
        ("test_images", "test_labels"),
        ("val_images", "labels_validation"),
        ("x3", None),
    ],
)
def test_the_partner_of_an_array_has_its_part_and_its_number(pictures, expected):
    others = ["scale", "y", "fine_labels", "y_train", "test_labels", "labels_validation", "labels2"]
    assert labels.beside_array(pictures, others) == expected


def test_keras_sets_come_with_their_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    parts = [(PICTURES[some], LABELS[some].reshape(-1, 1)) for some in (TRAIN, TEST)]
    module = types.SimpleNamespace(load_data=lambda: parts)
    datasets = types.SimpleNamespace(cifar10=module, mnist=None)
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(datasets=datasets))
    (tmp_path / "datasets").mkdir()
    write_idx(tmp_path / "datasets" / "fashion-mnist", suffix=".gz", label_suffix=".gz")
    arrays = write_npz(tmp_path)
    (tmp_path / "datasets" / "mnist.npz").write_bytes((tmp_path / arrays).read_bytes())
    for name in ("cifar10", "fashion_mnist", "mnist"):
        assert has_parts(f"keras:{name}")
        store, _, _ = read_pictures(f"keras:{name}", part="test", labels=True)
        np.testing.assert_array_equal(numbers_of(store), np.arange(COUNT)[TEST])
        assert_aligned(store)


def test_each_subfolder_of_a_folder_of_pictures_is_a_class(tmp_path):
    for index, picture in enumerate(make_pictures(12)):
        write(tmp_path / ["zebra", "ant", "cat"][index % 3], [picture], prefix=str(index))
    (tmp_path / "bee").mkdir()
    (tmp_path / "bee" / "damaged.png").write_bytes(b"no picture")
    store, skipped, _ = read_pictures(str(tmp_path), labels=True)
    # The damaged one is left out, and still counts as a class.
    expected = {"ant": 0, "bee": 1, "cat": 2, "zebra": 3}
    assert [expected[name.split("/")[0]] for name in store.names] == store.labels.tolist()
    assert len(skipped) == 1
    source = load_source(str(tmp_path), 4, 0.3, shrink="2", labels=True)
    for side in (source.training, source.validation):
        assert [expected[name.split("/")[0]] for name in side.names] == side.labels.tolist()


@pytest.mark.parametrize("places", [("a", "."), ("a", "a"), ("a/b", "a/c"), ("a", "b/c")])
def test_other_folders_of_pictures_have_no_labels(tmp_path, places):
    for index, place in enumerate(places):
        write(tmp_path / place, make_pictures(3, seed=index), prefix=str(index))
    assert read_pictures(str(tmp_path), labels=True)[0].labels is None


def test_too_many_subfolders_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(labels, "MAX_CLASSES", 2)
    for name in "abc":
        write(tmp_path / name, make_pictures(1))
    with pytest.raises(UserError, match="has 3 subfolders of pictures: expected at most 2"):
        read_pictures(str(tmp_path), labels=True)


def test_a_source_without_labels_gives_none(tmp_path):
    np.save(tmp_path / "a.npy", PICTURES)
    for data in (str(tmp_path / "a.npy"), write_idx(tmp_path / "idx", numbers=None), "bundled"):
        assert read_pictures(data, labels=True)[0].labels is None


def test_labels_are_read_only_when_asked_for(tmp_path):
    data = write_idx(tmp_path)
    with_labels = load_source(data, 5, 0.3, labels=True)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"damaged")
    source = load_source(data, 5, 0.3)
    assert source.training.labels is None
    assert source.training.sha256() == with_labels.training.sha256()
    assert source.validation.names == with_labels.validation.names


# --- Parts.


@pytest.mark.parametrize("write_source", [write_idx, write_npz])
def test_a_part_is_read_alone(tmp_path, write_source):
    data = write_source(tmp_path)
    assert has_parts(data)
    for part, some in (("train", TRAIN), ("test", TEST)):
        store, _, _ = read_pictures(data, part=part)
        np.testing.assert_array_equal(numbers_of(store), np.arange(COUNT)[some])
    source = load_source(data, 5, 0.3, part="train", labels=True)
    assert sorted([*numbers_of(source.training), *numbers_of(source.validation)]) == [*range(16)]
    assert_aligned(source.training)


def test_a_source_without_parts_is_read_whole(tmp_path):
    np.savez(tmp_path / "a.npz", x=PICTURES, y=LABELS)
    folder = write(tmp_path / "pictures", make_pictures(5))
    train_alone = f"{write_idx(tmp_path / 'idx')}/train-images-idx3-ubyte"
    expected = {str(tmp_path / "a.npz"): COUNT, str(folder): 5, train_alone: 16, "bundled": 12}
    for data, count in expected.items():
        assert not has_parts(data)
        assert len(read_pictures(data, part="test")[0]) == count


def test_a_part_that_its_author_holds_out_is_in_neither(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, train_images=PICTURES[:9], val_images=PICTURES[9:12], test_images=PICTURES[12:])
    counts = [len(read_pictures(str(path), part=part)[0]) for part in ("train", "test", None)]
    assert counts == [9, 12, COUNT]


def test_an_unknown_part_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="part='val': expected 'train', 'test' or None"):
        read_pictures(write_npz(tmp_path), part="val")


def test_has_parts_reads_no_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_store, "StoreWriter", None)
    monkeypatch.setattr(Image, "open", None)
    assert not has_parts(str(write_folder_without_decoding(tmp_path / "pictures")))
    with pytest.raises(UserError, match="does not exist"):
        has_parts(str(tmp_path / "none"))


def write_folder_without_decoding(folder):
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    return folder


# --- What is refused.


def refused(data, match):
    with pytest.raises(UserError, match=match) as caught:
        read_pictures(data, labels=True)
    assert "\n" not in str(caught.value)
    assert len(read_pictures(data)[0]) == COUNT


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (LABELS[:15], r"a.npz/y' are an array \(15,\) of uint8: expected 24, one for each picture"),
        (np.eye(COUNT), r"\(24, 24\) of float64: expected \(24,\) integers, as np.argmax"),
        (LABELS / 1.0, r"of float64: expected \(24,\) integers"),
        (LABELS - np.int64(1), "are -1 to 3: expected the numbers of at most 1000 classes, 0 to"),
        (LABELS + np.uint64(2**64 - 5), "are .* to 18446744073709551615: expected the numbers"),
        (LABELS + np.int64(996), "are 996 to 1000: expected .*, 0 to 999"),
        (LABELS.astype(object), "which is never unpickled"),
        (LABELS.astype(str), "expected .* integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, array, match):
    np.savez(tmp_path / "a.npz", x=PICTURES, y=array)
    refused(str(tmp_path / "a.npz"), match)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda data: data[:12], "are cut short: expected 16|cannot be read"),
        (lambda data: data + b"\1", "are longer than their header says: expected 16|cannot be"),
        (lambda data: b"<html" + data[5:], "cannot be read"),
        (lambda data: b"", "cannot be read: .*missing"),
    ],
)
def test_damaged_idx_labels_are_refused(tmp_path, suffix, change, match):
    data = write_idx(tmp_path, label_suffix=suffix)
    path = tmp_path / f"train-labels-idx1-ubyte{suffix}"
    path.write_bytes(change(path.read_bytes()))
    refused(data, f"labels 'train-labels-idx1-ubyte{suffix}' .*({match})")


def test_a_claim_of_many_labels_is_refused_before_they_are_read(tmp_path):
    data = write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, 2**32 - 1))
    refused(data, r"\(4294967295,\) of uint8: expected 16, one for each picture")


def test_damage_within_the_labels_of_an_npz_is_seen(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=PICTURES, y=LABELS)
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("y.npy").header_offset
    whole = bytearray(path.read_bytes())
    whole[whole.index(LABELS.tobytes(), place)] ^= 1
    path.write_bytes(whole)
    refused(str(path), "labels 'a.npz/y' cannot be read: Bad CRC-32")
    assert load_source(str(path), 5, 0.3).skipped == (
        "a.npz/y: cannot be read: Bad CRC-32 for file 'y.npy'",
    )


def test_labels_of_one_part_alone_are_refused_unless_it_is_read_alone(tmp_path):
    data = write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    refused(data, "stack 't10k-images-idx3-ubyte' has no labels, others .* have: expected labels")
    assert_aligned(read_pictures(data, part="train", labels=True)[0])
