"""Stacks of pictures: every layout is read exactly, every bad one is refused in one line."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tf_deconv.data import arrays as array_files
from tf_deconv.data.sources import load_source, read_pictures
from tf_deconv.utils.options import UserError

COUNT, HEIGHT, WIDTH = 20, 7, 9


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (COUNT, HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def colour(rng):
    return rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), np.uint8)


def load(path, patch_size=5, **options):
    return load_source(str(path), patch_size, 0.3, **options)


def read_back(*paths):
    """All pictures of stacks, in order: (N, H, W, 3)."""
    opened, _ = array_files.open_stacks(paths)
    return np.stack([picture for stack in opened for picture in stack.read()])


def three_channels(grey):
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def idx_bytes(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def save(path, array):
    """Writes an array in the format of the path's name."""
    name = path.name
    if name.endswith(".npy"):
        np.save(path, array)
    elif name.endswith("-compressed.npz"):
        np.savez_compressed(path, array)
    elif name.endswith(".npz"):
        np.savez(path, array)
    else:
        data = idx_bytes(array)
        path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
    return path


FILES = (
    *("a.npy", "a.npz", "a-compressed.npz"),
    *("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "t10k-images.idx3-ubyte", "any"),
)
every_file = pytest.mark.parametrize("file", FILES)


# --- What is read.


@every_file
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_every_format_gives_the_very_pixels(tmp_path, grey, colour, file, channels):
    array = {None: grey, 1: grey[..., np.newaxis], 3: colour}[channels]
    expected = colour if channels == 3 else three_channels(grey)
    path = save(tmp_path / file, array)
    assert array_files.is_stack(path)
    np.testing.assert_array_equal(read_back(path), expected)
    assert load(path).training.grey == (channels != 3)


@pytest.mark.parametrize("file", ["a.npy", "a.npz", "a-compressed.npz"])
def test_fortran_order_is_read(tmp_path, colour, file):
    path = save(tmp_path / file, np.asfortranarray(colour))
    np.testing.assert_array_equal(read_back(path), colour)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_16_bit_is_kept(tmp_path, dtype):
    values = np.array([0, 257, 128 * 257, 200 * 257 + 128, 65535, 300], dtype)
    path = save(tmp_path / "a.npy", np.tile(values, (2, 3, 1)))
    store, _, notes = read_pictures(str(path))
    assert store.pixels.dtype == np.uint16
    np.testing.assert_array_equal(store.picture(1)[2, :, 0], values)
    assert (store.levels, store.ranges, notes) == (None, {"uint16": (0, 65535)}, [])


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_floats_are_taken_as_0_to_1(tmp_path, grey, dtype):
    # Half precision keeps 8 bits apart: its steps below 1 are 1/2048.
    path = save(tmp_path / "a.npy", (grey / 255).astype(dtype))
    store, _, _ = read_pictures(str(path))
    assert (store.pixels.dtype, store.ranges) == (np.uint16, {"float": (0, 1)})
    received = np.stack([store.picture_of_bytes(index) for index in range(COUNT)])
    np.testing.assert_array_equal(received, three_channels(grey))
    exact = np.rint(np.float32((grey / 255).astype(dtype)) * 65535)
    received = np.stack([store.picture(index) for index in range(COUNT)])
    assert np.abs(received - three_channels(exact)).max() <= 1


@settings(deadline=None, max_examples=50)
@given(
    array=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(*[st.integers(1, 4)] * 2, st.integers(5, 6)),
    ),
    file=st.sampled_from(["a.npy", "a.npz", "a-compressed.npz"]),
    order=st.sampled_from("CF"),
)
def test_any_stack_is_read_as_it_was_saved(tmp_path_factory, array, file, order):
    path = save(tmp_path_factory.mktemp("stack") / file, np.array(array, order=order))
    np.testing.assert_array_equal(read_back(path), three_channels(array))


def test_the_arrays_of_an_npz_are_joined_and_its_labels_left_out(tmp_path, grey):
    labels = np.arange(COUNT)
    np.savez(tmp_path / "a.npz", x=grey[:12], y=labels[:12], x2=grey[12:], y2=labels[12:, None])
    opened, skipped = array_files.open_stacks([tmp_path / "a.npz"])
    assert [stack.name for stack in opened] == ["a.npz/x", "a.npz/x2"]
    assert skipped == []
    np.testing.assert_array_equal(read_back(tmp_path / "a.npz"), three_channels(grey))


def test_objects_beside_pictures_are_left_out_and_named(tmp_path, grey):
    np.savez(tmp_path / "a.npz", x=grey, meta=np.array({"a": 1}, object))
    assert load(tmp_path / "a.npz").skipped == (
        "a.npz/meta: holds Python objects, which are never unpickled",
    )


def test_a_folder_of_idx_files_is_read_as_debian_installs_it(tmp_path, grey):
    save(tmp_path / "train-images-idx3-ubyte.gz", grey[:12])
    save(tmp_path / "t10k-images-idx3-ubyte.gz", grey[12:])
    save(tmp_path / "t10k-images-idx3-ubyte", grey[12:])  # Once more, not compressed.
    save(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(12, np.uint8))
    Image.new("RGB", (30, 30)).save(tmp_path / "sprite.png")
    source = load(tmp_path)
    assert len(source.training) + len(source.validation) == COUNT
    assert "t10k-images-idx3-ubyte[0]" in source.training.names + source.validation.names


def test_a_folder_of_arrays_is_read(tmp_path, grey):
    for index in range(4):
        np.save(tmp_path / f"shard {index} 🎞.npy", grey[index::4])
    source = load(tmp_path)
    assert len(source.training) + len(source.validation) == COUNT


def test_pictures_go_before_arrays_of_the_same_folder(tmp_path, colour):
    np.save(tmp_path / "embedding.npy", np.zeros((3, 4), np.float32))
    for index, picture in enumerate(colour):
        Image.fromarray(picture).save(tmp_path / f"{index}.png")
    source = load(tmp_path)
    assert len(source.training) + len(source.validation) == COUNT


# --- The split.


@every_file
def test_a_stack_is_split_as_the_same_pictures_in_files_are(tmp_path, grey, file):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(grey):
        Image.fromarray(picture).save(folder / f"{index:02d}.png")
    one, other = load(folder), load(save(tmp_path / file, grey))
    assert one.training.sha256() == other.training.sha256()
    assert one.validation.sha256() == other.validation.sha256()


@settings(deadline=None, max_examples=40)
@given(
    small=st.lists(st.integers(0, 29), min_size=2, unique=True),
    more=st.lists(st.integers(0, 29)),
)
def test_a_longer_stack_moves_no_picture_across(tmp_path_factory, small, more):
    pictures = np.random.default_rng(0).integers(0, 256, (30, 5, 6), np.uint8)
    folder = tmp_path_factory.mktemp("stack")
    one = load(save(folder / "one.npy", pictures[small]))
    other = load(save(folder / "other.npz", pictures[[*more, *small]]))
    assert not set(other.training.digests) & set(other.validation.digests)
    if not one.notes:
        assert set(one.training.digests) <= set(other.training.digests)
        assert set(one.validation.digests) <= set(other.validation.digests)


@every_file
def test_a_stack_larger_than_the_budget_lies_on_disk_and_is_equal(tmp_path, colour, file):
    path = save(tmp_path / file, colour)
    memory, disk = load(path), load(path, memory_bytes=colour.size - 1)
    assert isinstance(disk.training.pixels, np.memmap)
    assert not isinstance(memory.training.pixels, np.memmap)
    for one, other in ((memory.training, disk.training), (memory.validation, disk.validation)):
        assert one.digests == other.digests
        np.testing.assert_array_equal(one.pixels, other.pixels)


# --- What is refused.

ZEROS = np.zeros((3, 6, 6), np.uint8)


def refused(path, match):
    with pytest.raises(UserError, match=match) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["a.npy", "a.npz"])
@pytest.mark.parametrize(
    ("array", "match"),
    [
        (ZEROS.astype(bool), r"\(3, 6, 6\) of bool: expected integers or float"),
        (ZEROS.astype(np.complex64), "of complex64: expected integers"),
        (ZEROS.astype("U3"), "expected integers"),
        (ZEROS.astype([("a", np.uint8)]), "expected integers"),
        (np.zeros((2, 3, 6, 6, 3), np.uint8), r"expected \(N, H, W\) or \(N, H, W, C\)"),
        (np.zeros((0, 6, 6), np.uint8), "it is empty"),
        (np.zeros((2, 0, 6), np.uint8), "it is empty"),
        (np.zeros((40, 40, 3), np.uint8), r"looks like one picture .* as array\[None\] is"),
        (np.zeros((2, 3, 6, 6), np.uint8), "its channels come first"),
        (np.zeros((2, 6, 6, 2), np.uint8), "it has 2 channels; expected 1 or 3"),
        (np.zeros((2, 6, 6, 4), np.uint8), r"it has 4 channels; .* as array\[\.\.\., :3\] has"),
        (
            ZEROS + np.float32(1.5),
            "picture 0 holds float32 .* 1.5 to 1.5: expected 0 to 1.*--range",
        ),
        (ZEROS - np.float64(0.5), "picture 0 holds float64 values from -0.5 to -0.5"),
        (ZEROS + np.float32("nan"), "picture 0 holds float32 values from nan to nan"),
    ],
)
def test_arrays_of_a_wrong_kind_are_refused(tmp_path, file, array, match):
    refused(save(tmp_path / file, array), match)


def test_an_array_of_two_dimensions_is_refused(tmp_path):
    refused(save(tmp_path / "a.npy", ZEROS[0]), r"\(6, 6\) of uint8: expected \(N, H, W\)")
    refused(save(tmp_path / "a.npz", ZEROS[0]), r"holds no pictures \(a.npz/arr_0: is an array")


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("was unpickled",)


@pytest.mark.parametrize("file", ["a.npy", "a.npz"])
def test_python_objects_are_refused_and_never_unpickled(tmp_path, file):
    refused(save(tmp_path / file, np.array([Bomb(), Bomb()], object)), "never unpickled")


def test_mixed_channel_counts_are_refused(tmp_path, grey, colour):
    np.savez(tmp_path / "a.npz", x=grey, x2=colour)
    refused(
        tmp_path / "a.npz", r"mixed channel counts: a.npz/x has 1, a.npz/x2 has 3; expected one"
    )


def test_an_npz_without_arrays_is_refused(tmp_path):
    zipfile.ZipFile(tmp_path / "a.npz", "w").close()
    refused(tmp_path / "a.npz", "holds no pictures .no arrays at all.: expected an array")


@every_file
@pytest.mark.parametrize("share", [0, 0.005, 0.05, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tmp_path, grey, file, share):
    path = save(tmp_path / file, grey)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "is cut short|cannot be read|is a file: expected")


def test_a_stack_cut_short_says_how_many_pictures_are_left(tmp_path, grey):
    for file in ("a.npy", "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"):
        path = save(tmp_path / file, grey)
        opened = gzip.open if file.endswith(".gz") else open
        with opened(path, "rb") as stream:
            whole = stream.read()
        with opened(path, "wb") as stream:
            stream.write(whole[: -HEIGHT * WIDTH * 3 + 1])
        refused(path, "is cut short: holds 17 of 20 pictures")


@pytest.mark.parametrize("order", "CF")
def test_damage_within_the_pictures_of_an_npz_is_seen(tmp_path, colour, order):
    # In Fortran's order numpy reads the array, and what it raised came through as a traceback.
    # More than the few kilobytes that are read with the header.
    path = save(tmp_path / "a.npz", np.array(np.tile(colour, (20, 1, 1, 1)), order=order))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    refused(path, "stack 'a.npz/arr_0' cannot be read: Bad CRC-32")


def test_an_idx_file_longer_than_it_says_is_refused(tmp_path, grey):
    path = save(tmp_path / "train-images-idx3-ubyte", grey)
    path.write_bytes(path.read_bytes() + b"\0")
    refused(path, "is longer than the 20 pictures")


@pytest.mark.parametrize("start", [b"<htm", b"\0\1\x08\3", b"\0\0\x07\3", b"\0\0\x08\0", b""])
def test_an_idx_file_with_a_wrong_magic_is_refused(tmp_path, grey, start):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(start + (idx_bytes(grey)[4:] if start else b""))
    refused(path, f"its first bytes are {start.hex() or 'missing'}: expected 00000803")


def test_idx_labels_are_refused(tmp_path):
    path = save(tmp_path / "train-labels-idx1-ubyte", np.zeros(30, np.uint8))
    refused(path, "holds labels: expected pictures, as in train-images-idx3-ubyte")


@pytest.mark.parametrize("name", ["notes.txt", "picture.png", "data.json"])
def test_a_file_that_is_no_stack_is_refused(tmp_path, name):
    (tmp_path / name).write_text("some text")
    refused(tmp_path / name, r"is a file: expected a folder of pictures, or a \.npy, \.npz or IDX")


def test_a_text_file_named_npy_is_refused(tmp_path):
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_text("some text\nand more")
        refused(tmp_path / name, f"stack '{name}' cannot be read: ")


def test_a_header_that_claims_too_much_is_refused(tmp_path):
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 100, 100)}
    np.lib.format.write_array_header_1_0(stream, header)
    (tmp_path / "a.npy").write_bytes(stream.getvalue() + b"\0" * 50000)
    refused(tmp_path / "a.npy", "is cut short: holds 5 of 1000000000000 pictures")
    data = struct.pack(">4I", 0x803, 2**31, 2**10, 2**10)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
    refused(tmp_path / "train-images-idx3-ubyte.gz", "take 6.76e.03 TB.*: set TMPDIR")


def test_pictures_of_a_stack_may_be_too_small_or_too_large(tmp_path, grey):
    path = save(tmp_path / "a.npy", grey)
    with pytest.raises(UserError, match=r"patch_size=8 is larger than every .* at most 7"):
        load(path, patch_size=8)
    with pytest.raises(UserError, match=r"a\.npy: 9x7 is more than max_pixels=60"):
        load(path, max_pixels=60)


@settings(deadline=None, max_examples=150)
@given(
    file=st.sampled_from(["a.npy", "a.npz", "a-compressed.npz", "images-idx3-ubyte.gz", "any"]),
    place=st.floats(0, 1, exclude_max=True),
    values=st.binary(min_size=1, max_size=6),
    headers_only=st.booleans(),
)
def test_damage_anywhere_gives_pictures_or_one_line(
    tmp_path_factory, file, place, values, headers_only
):
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 6), np.uint8)
    path = save(tmp_path_factory.mktemp("stack") / file, pictures)
    whole = bytearray(path.read_bytes())
    start = int(place * (min(130, len(whole)) if headers_only else len(whole)))
    whole[start : start + len(values)] = values
    path.write_bytes(whole)
    message = ""
    try:
        load(path, max_pixels=10**6, memory_bytes=10**7)
    except UserError as error:
        message = str(error)
    assert "\n" not in message


def test_a_stack_and_files_of_the_same_values_are_one_source(tmp_path):
    values = np.arange(0, 65536, 7, dtype=np.uint16)[:9360].reshape(2, 45, 104)
    np.save(tmp_path / "a.npy", values)
    (tmp_path / "files").mkdir()
    for index, picture in enumerate(values):
        Image.fromarray(picture).save(tmp_path / "files" / f"{index}.png")
    one, _, _ = read_pictures(str(tmp_path / "a.npy"))
    other, _, _ = read_pictures(str(tmp_path / "files"))
    assert one.digests == other.digests
    np.testing.assert_array_equal(one.pixels, other.pixels)
