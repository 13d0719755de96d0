"""Folders of picture files: read in order, upright, and what cannot be read named."""

import hashlib
import os
import shutil
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.picture_folders import SIDE_PX, contents, load, make_pictures, write
from tf_deconv.data import folders
from tf_deconv.data.store import StoreWriter
from tf_deconv.images import reading
from tf_deconv.utils.options import UserError


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
    assert text.startswith("text.jpg: is not a picture of a kind that is read: expected PNG, JPEG")


def test_a_folder_of_nothing_but_corrupt_pictures_is_refused(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"none of the 2 pictures in .* can be read: a\.png: "):
        load(tmp_path)


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
    assert load(folder).skipped[0].startswith(f"{shown}: is not a picture of a kind")


def test_a_picture_that_changes_while_it_is_read_is_skipped(tmp_path):
    write(tmp_path, make_pictures(3))
    files, _, _ = folders.scan(tmp_path, sorted(tmp_path.iterdir()))
    Image.new("RGB", (5, 5)).save(tmp_path / "picture-001.png")
    with StoreWriter(10**4, 10**4) as writer:
        skipped = folders.read_into(writer, files, ahead_bytes=10**6)
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
    files, _, _ = folders.scan(tmp_path, sorted(tmp_path.iterdir()))
    with StoreWriter(pictures.size, pictures.size) as writer:
        assert folders.read_into(writer, files, ahead_bytes) == []
        store = writer.finish()
    np.testing.assert_array_equal([store.picture(index) for index in range(40)], pictures)


def test_no_more_pictures_are_in_decoding_than_the_look_ahead_allows(tmp_path, monkeypatch):
    write(tmp_path, make_pictures(40, side=60))
    files, _, _ = folders.scan(tmp_path, sorted(tmp_path.iterdir()))
    size_bytes = 60 * 60 * 3
    lock, now, most = threading.Lock(), 0, 0
    read_raw = reading.PictureFile.read_raw

    def counting(*arguments):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        picture = read_raw(*arguments)
        with lock:
            now -= 1
        return picture

    monkeypatch.setattr(reading.PictureFile, "read_raw", counting)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(folders, "_CHUNK_BYTES", 1)
    with StoreWriter(40 * size_bytes, 40 * size_bytes) as writer:
        folders.read_into(writer, files, ahead_bytes=3 * size_bytes)
    assert 1 <= most <= 3
