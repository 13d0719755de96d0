"""What decoders print about a file stays off the screen: its words are ours."""

import contextlib
import struct
import tempfile
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile

from tf_deconv.images.reading import read_picture


def write_png_of_16_bits(path, pixels):
    """Writes one with a chunk that libpng does not take."""
    data = imagecodecs.png_encode(pixels)
    chunk = b"sRGB\x09"
    chunk = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(data[:33] + chunk + data[33:])


def test_libpng_says_nothing_of_a_chunk_that_it_does_not_take(tmp_path, run_python, rng):
    # "PNG warning: sRGB: invalid" stood between the lines of `restore`.
    pixels = rng.integers(0, 2**16, (20, 30, 3)).astype(np.uint16)
    write_png_of_16_bits(tmp_path / "x.png", pixels)
    # In another process: pytest takes what is logged.
    code = (
        "import os, sys; os.dup2(1, 2)\n"
        "from tf_deconv.images.reading import read_picture\n"
        "print(read_picture(sys.argv[1]).pixels.dtype)\n"
    )
    assert run_python(code, tmp_path / "x.png") == "uint16"


def test_libjpeg_says_nothing_of_damage(tmp_path, capfd, rng):
    path = tmp_path / "x.tif"
    pixels = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    tifffile.imwrite(path, pixels, compression="jpeg", photometric="rgb")
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\xda") + 14
    data[start + 40 : start + 44] = b"\xff\x02\xff\x02"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):  # Other versions of libjpeg refuse it.
        read_picture(path)
    assert capfd.readouterr() == ("", "")


def test_a_picture_is_read_where_there_is_no_place_for_temporary_files(tmp_path, monkeypatch, rng):
    def refuse(*_, **__):
        raise FileNotFoundError("no usable temporary directory")

    pixels = rng.integers(0, 2**16, (20, 30, 3)).astype(np.uint16)
    write_png_of_16_bits(tmp_path / "x.png", pixels)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.png").pixels, pixels)
    (tmp_path / "y.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match="PNG"):
        read_picture(tmp_path / "y.png")
