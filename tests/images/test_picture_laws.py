"""Laws of picture files: what is written comes back, in every format, depth and size."""

import io
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from tf_deconv.images import arrays, reading
from tf_deconv.images.files import Picture, read_picture, write_picture

SIDES = st.integers(1, 70)  # Up to two bands of rows.
FORMATS = ["PNG", "JPEG", "TIFF", "WEBP", "BMP"]
HOLDS_16_BITS = ("PNG", "TIFF")
HOLDS_ALPHA = ("PNG", "TIFF", "WEBP")
COLOUR_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# The header says for which kind of pixels a profile is.
GREY_PROFILE = COLOUR_PROFILE[:16] + b"GRAY" + COLOUR_PROFILE[20:]
every_format = pytest.mark.parametrize("kind", FORMATS)


def few(count):
    """Settings for a machine of any speed; examples follow from the test and what is imported."""
    return settings(max_examples=count, deadline=None, derandomize=True)


@st.composite
def samples(draw, channels, dtype, size=None):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = size or (draw(SIDES), draw(SIDES))
    top = np.iinfo(dtype).max
    if draw(st.booleans()):  # Smooth, as photographs are: other filters, other runs of bytes.
        ramp = np.linspace(0, top, size[1]) * rng.random((1, 1, channels)).swapaxes(1, 2)
        values = np.broadcast_to(ramp.swapaxes(1, 2), (*size, channels)).astype(dtype)
    else:
        values = rng.integers(0, top, (*size, channels), dtype, endpoint=True)
    values[0, 0] = top  # A few dark pixels of 16 bits may be a sensor's counts of 12.
    return values


@st.composite
def pictures(draw, kind):
    channels, dtype = draw(st.sampled_from([1, 3])), draw(st.sampled_from([np.uint8, np.uint16]))
    pixels = draw(samples(channels, dtype))
    alpha = draw(samples(1, dtype, pixels.shape[:2])) if draw(st.booleans()) else None
    profile = draw(st.sampled_from([None, GREY_PROFILE if channels == 1 else COLOUR_PROFILE]))
    return Picture(pixels, alpha, kind, profile, draw(exif()), lossless=kind == "WEBP")


@st.composite
def exif(draw):
    if draw(st.booleans()):
        return None
    tags = Image.Exif()
    tags[271] = draw(st.text("abcXYZ 019", min_size=1))
    tags[282] = tags[283] = float(draw(st.integers(1, 1200)))
    tags[296] = 2
    if draw(st.booleans()):
        tags.get_ifd(34665)[36867] = "2020:01:01 00:00:00"
    return tags.tobytes().removeprefix(b"Exif\0\0")


def there_and_back(picture):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "picture")
        notes = write_picture(picture, path)
        back = read_picture(path, 10**6)
        assert list(pathlib.Path(folder).iterdir()) == [path]
        return back, notes, path.read_bytes()


def in_depth(pixels, depth):
    return arrays.to_uint8(arrays.as_unit(pixels)) if depth == 8 else pixels


@every_format
@few(30)
@given(st.data())
def test_what_a_format_can_hold_comes_back(kind, data):
    picture = data.draw(pictures(kind))
    back, notes, _ = there_and_back(picture)
    depth = picture.bit_depth if kind in HOLDS_16_BITS else 8
    alpha = picture.alpha if kind in HOLDS_ALPHA else None
    assert (back.format, back.bit_depth, back.notes) == (kind, depth, ())
    # Grey comes back as colour from WebP, which has none, and from 16-bit TIFF with transparency.
    pixels = in_depth(picture.pixels, depth)
    if kind == "WEBP" or (kind == "TIFF" and depth == 16 and alpha is not None):
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    assert back.pixels.shape == pixels.shape
    if kind == "JPEG":
        assert back.pixels.dtype == np.uint8
    else:
        np.testing.assert_array_equal(back.pixels, pixels)
    if kind == "WEBP" and alpha is not None and in_depth(alpha, 8).min() == 255:
        alpha = None  # WebP leaves out transparency where there is none.
    assert (back.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, in_depth(alpha, depth))
    lost = [
        depth < picture.bit_depth,
        picture.alpha is not None and kind not in HOLDS_ALPHA,
        picture.icc_profile is not None and kind != "BMP" and back.icc_profile is None,
        bool(picture.icc_profile or picture.exif) and kind == "BMP",
    ]
    assert len(notes) == sum(lost)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@few(25)
@given(st.data())
def test_profile_exif_and_resolution_come_back(kind, data):
    picture = data.draw(pictures(kind))
    back, notes, encoded = there_and_back(picture)
    if back.pixels.shape[-1] == picture.pixels.shape[-1]:
        assert back.icc_profile == picture.icc_profile
    else:
        # Grey in WebP is stored as colour, and once was so with the profile of a grey picture.
        assert back.icc_profile is None
        left_out = "the ICC profile was left out: it does not fit the restored channels"
        assert (left_out in notes) == (picture.icc_profile is not None)
    with Image.open(io.BytesIO(encoded)) as image:
        stored = image.getexif()
        if picture.exif is not None:
            expected = Image.Exif()
            expected.load(picture.exif)
            for tag in (271, 282, 283, 296):
                assert stored[tag] == expected[tag]
            assert stored.get_ifd(34665) == expected.get_ifd(34665)
        else:
            assert 271 not in stored


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "BMP"])
@few(15)
@given(st.data())
def test_a_second_way_changes_nothing(kind, data):
    once, _, _ = there_and_back(data.draw(pictures(kind)))
    twice, notes, _ = there_and_back(once)
    np.testing.assert_array_equal(twice.pixels, once.pixels)
    assert (twice.icc_profile, twice.exif, notes) == (once.icc_profile, once.exif, ())


@every_format
@few(15)
@given(st.data())
def test_training_reads_the_same_pixels(kind, data):
    picture = data.draw(pictures(kind))
    back, _, encoded = there_and_back(picture)
    if back.alpha is None:
        expected = in_depth(back.pixels, 8).astype(int)
        error = np.abs(reading.read_rgb(encoded) - expected).max()
        # Pillow has no 16-bit colour and takes the upper byte.
        assert error <= (1 if back.bit_depth == 16 and back.pixels.shape[-1] == 3 else 0)


@few(30)
@given(samples(3, np.uint8))
def test_jpeg_of_a_smooth_picture_is_close(pixels):
    smooth = np.broadcast_to(pixels[:1, :1], pixels.shape)
    back, _, _ = there_and_back(Picture(smooth, None, "JPEG"))
    assert np.abs(back.pixels.astype(int) - smooth).max() <= 3


@few(30)
@given(st.data(), st.integers(1, 4))
def test_other_programs_read_our_16_bit_files(data, channels):
    import tifffile

    stored = data.draw(samples(channels, np.uint16))
    colours = channels - 1 + channels % 2
    alpha = stored[..., colours:] if channels > colours else None
    for kind in HOLDS_16_BITS:
        _, _, encoded = there_and_back(Picture(stored[..., :colours], alpha, kind))
        if kind == "PNG":
            read = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()
            expected = stored
        else:
            expected = stored[..., [0, 0, 0, 1]] if channels == 2 else stored
            read = tifffile.imread(io.BytesIO(encoded)).reshape(expected.shape)
        np.testing.assert_array_equal(read, expected)


@few(30)
@given(st.data(), st.integers(1, 4), st.sampled_from([np.uint8, np.uint16]))
def test_we_read_the_files_of_other_programs(data, channels, dtype):
    stored = data.draw(samples(channels, dtype))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "x.png")
        path.write_bytes(tf.io.encode_png(stored).numpy())
        picture = read_picture(path, 10**6)
    parts = [picture.pixels] + ([] if picture.alpha is None else [picture.alpha])
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), stored)


@few(30)
@given(samples(3, np.uint8) | samples(1, np.uint8))
def test_an_encoded_png_is_read_back(pixels):
    read = reading.read_rgb(arrays.encode_png(pixels))
    np.testing.assert_array_equal(read, np.broadcast_to(pixels, read.shape))
    np.testing.assert_array_equal(
        reading.read_rgb(arrays.encode_png(arrays.to_float(pixels))), read
    )
