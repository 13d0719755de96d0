"""Picture files of every kind to arrays and back."""

import contextlib
import io
import struct

import numpy as np
import pytest
from PIL import Image

from tf_deconv.images import arrays, reading, sheets

HEIGHT, WIDTH = 7, 10


@pytest.fixture
def rgb(rng):
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def grey(rng):
    return rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)


def encode(image, file_format, **options):
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def three_channels(grey):
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def flat(colour, size=(16, 16)):
    return np.full((*size, 3), colour, np.uint8)


# --- read_rgb: lossless formats give the very pixels.


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_colour_is_read_exactly(rgb, file_format, options):
    read = reading.read_rgb(encode(rgb, file_format, **options))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, rgb)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF"])
def test_grey_becomes_three_equal_channels(grey, file_format):
    read = reading.read_rgb(encode(grey, file_format))
    np.testing.assert_array_equal(read, three_channels(grey))


def test_black_and_white_becomes_0_and_255(grey):
    bits = grey > 127
    read = reading.read_rgb(encode(Image.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(read, three_channels(np.where(bits, 255, 0)))


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_palette_is_looked_up(rng, file_format):
    palette = rng.integers(0, 256, (256, 3), np.uint8)
    indices = rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    read = reading.read_rgb(encode(image, file_format))
    np.testing.assert_array_equal(read, palette[indices])


@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_alpha_is_laid_over_white(file_format, options):
    # Opaque red; red at 20% (51 of 255); black that is not there at all.
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 51], [0, 0, 0, 0]]], np.uint8)
    read = reading.read_rgb(encode(rgba, file_format, **options, **_keep_hidden(file_format)))
    np.testing.assert_array_equal(read, [[[255, 0, 0], [255, 204, 204], [255, 255, 255]]])


def _keep_hidden(file_format):
    return {"exact": True} if file_format == "WEBP" else {}


def test_alpha_of_a_grey_picture_is_laid_over_white():
    grey_alpha = Image.merge("LA", [Image.new("L", (2, 1), 0), Image.new("L", (2, 1), 51)])
    np.testing.assert_array_equal(reading.read_rgb(encode(grey_alpha, "PNG")), [[[204] * 3] * 2])


def test_the_transparent_entry_of_a_palette_is_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    read = reading.read_rgb(encode(image, "PNG", transparency=1))
    np.testing.assert_array_equal(read, [[[10, 20, 30], [255, 255, 255]]])


@pytest.mark.parametrize(
    ("file_format", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2")]
)
def test_16_bit_grey_is_scaled_not_clipped(file_format, dtype):
    # Pillow's own conversion clips at 255: every photograph became white.
    values = np.array([[0, 257, 128 * 257, 200 * 257 + 128, 65535, 300]], dtype)
    read = reading.read_rgb(encode(values, file_format))
    np.testing.assert_array_equal(read, three_channels(np.array([[0, 1, 128, 200, 255, 1]])))


def test_a_float_picture_is_taken_as_0_to_1():
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    read = reading.read_rgb(encode(values, "TIFF"))
    np.testing.assert_array_equal(read, three_channels(np.array([[0, 128, 255]])))
    with pytest.raises(ValueError, match="float32 values from 0 to 2: expected 0 to 1"):
        reading.read_rgb(encode(2 * values, "TIFF"))


# --- read_rgb: lossy formats come close.


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP"])
@pytest.mark.parametrize("colour", [(200, 60, 30), (0, 0, 0), (255, 255, 255)])
def test_a_lossy_picture_of_one_colour_keeps_it(file_format, colour):
    read = reading.read_rgb(encode(flat(colour), file_format, quality=95))
    np.testing.assert_allclose(read.astype(int), flat(colour), atol=3)


def test_a_grey_jpeg_becomes_three_equal_channels():
    read = reading.read_rgb(encode(np.full((16, 16), 90, np.uint8), "JPEG"))
    np.testing.assert_allclose(read.astype(int), flat(90), atol=2)
    assert np.ptp(read, axis=-1).max() == 0


@pytest.mark.parametrize("colour", [(200, 60, 30), (255, 255, 255), (0, 0, 0)])
def test_a_cmyk_jpeg_is_not_inverted(colour):
    cmyk = Image.fromarray(flat(colour)).convert("CMYK")
    read = reading.read_rgb(encode(cmyk, "JPEG", quality=95))
    np.testing.assert_allclose(read.astype(int), flat(colour), atol=4)


def test_an_animated_gif_gives_its_first_frame():
    frames = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime", "blue")]
    encoded = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(reading.read_rgb(encoded), flat((255, 0, 0), (5, 6)))


def test_a_tiff_of_several_pages_gives_its_first():
    pages = [Image.new("RGB", (6, 5), colour) for colour in ("red", "lime")]
    encoded = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(reading.read_rgb(encoded), flat((255, 0, 0), (5, 6)))


# --- read_rgb: EXIF.

# EXIF 2.32, tag 0x0112: which edge of the scene the stored picture's row 0 and column 0 are; from
# that, how a stored picture is set upright.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_exif_orientation_is_applied(rgb, orientation, file_format, options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = reading.read_rgb(encode(rgb, file_format, exif=exif, **options))
    np.testing.assert_array_equal(read, UPRIGHT[orientation](rgb))


def test_exif_orientation_of_a_jpeg_is_applied():
    # A phone held upright stores the picture lying, with orientation 6. Top half of the scene: red.
    stored = np.concatenate([flat((255, 0, 0), (32, 16)), flat((0, 0, 255), (32, 16))], axis=1)
    exif = Image.Exif()
    exif[0x0112] = 8
    read = reading.read_rgb(encode(stored, "JPEG", exif=exif, quality=95))
    np.testing.assert_allclose(read[4, 4].astype(int), [0, 0, 255], atol=6)
    np.testing.assert_allclose(read[-4, 4].astype(int), [255, 0, 0], atol=6)


def exif_with(*entries):
    """Makes the bytes of an EXIF block; an entry is (tag, type, count, 4 bytes of value)."""
    packed = b"".join(struct.pack(">HHL", *entry[:3]) + entry[3] for entry in entries)
    head = b"MM\0*" + struct.pack(">LH", 8, len(entries))
    return b"Exif\0\0" + head + packed + struct.pack(">L", 0)


@pytest.mark.parametrize(
    "damaged",
    [(282, 2, 4, b"abc\0"), (296, 2, 4, b"abc\0"), (256, 2, 4, b"abc\0")],
    ids=["resolution is text", "unit is text", "width is text"],
)
def test_a_damaged_exif_tag_does_not_spoil_the_picture(rgb, damaged):
    # Pillow's `exif_transpose` writes all tags anew and stumbles over one of a wrong type, with
    # struct.error or TypeError: one such photograph in a folder ended the training.
    orientation = (0x0112, 3, 1, b"\0\6\0\0")
    read = reading.read_rgb(encode(rgb, "PNG", exif=exif_with(damaged, orientation)))
    np.testing.assert_array_equal(read, UPRIGHT[6](rgb))


# --- read_rgb: what is not a picture.


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_picture_is_refused(rng, file_format, share):
    encoded = encode(rng.integers(0, 256, (40, 40, 3), np.uint8), file_format)
    with pytest.raises(ValueError, match=r"\w"):
        reading.read_rgb(encoded[: int(share * len(encoded))])


@pytest.mark.parametrize(
    "garbage", [b"", b"\0", b"not a picture\n" * 100, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]
)
def test_bytes_that_are_no_picture_are_refused(garbage):
    with pytest.raises(ValueError, match=r"\w"):
        reading.read_rgb(garbage)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_flipped_bytes_give_a_picture_or_a_value_error(rng, file_format):
    original = np.frombuffer(encode(rng.integers(0, 256, (9, 8, 3), np.uint8), file_format), "u1")
    for _ in range(100):
        damaged = original.copy()
        where = rng.integers(0, min(len(damaged), 300), 3)
        damaged[where] = rng.integers(0, 256, 3)
        with contextlib.suppress(ValueError):
            assert reading.read_rgb(damaged.tobytes()).shape[2:] == (3,)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG"])
def test_a_picture_beyond_the_limit_is_refused_from_its_header(rgb, file_format):
    with (
        pytest.raises(ValueError, match=r"pixels: more than --max-pixels 10"),
        reading.open_pictures(encode(rgb, file_format), max_pixels=10),
    ):
        pass


def test_a_path_is_read_like_its_bytes(tmp_path, rgb):
    path = tmp_path / "picture.png"
    path.write_bytes(encode(rgb, "PNG"))
    np.testing.assert_array_equal(reading.read_rgb(path), rgb)
    np.testing.assert_array_equal(reading.read_rgb(str(path)), rgb)


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        reading.read_rgb(tmp_path / "absent.png")


# --- Arrays.


def test_every_grey_level_survives_float_and_back():
    levels = np.arange(256, dtype=np.uint8)
    as_float = arrays.to_float(levels)
    assert as_float.dtype == np.float32
    assert (as_float[0], as_float[255]) == (0.0, 1.0)
    np.testing.assert_array_equal(arrays.to_uint8(as_float), levels)


def test_to_uint8_rounds_and_clips():
    values = np.array([-1.0, -1e-9, 0.4 / 255, 0.6 / 255, 254.6 / 255, 1.0, 7.0, np.inf, -np.inf])
    np.testing.assert_array_equal(arrays.to_uint8(values), [0, 0, 0, 1, 255, 255, 255, 255, 0])


def test_luminance_leaves_grey_alone_and_weights_colour():
    grey = np.full((2, 2, 1), 0.3)
    assert arrays.luminance(grey) is grey
    colour = np.array([[[0.2, 0.4, 0.6]]])
    assert arrays.luminance(colour) == pytest.approx(0.2 * 0.299 + 0.4 * 0.587 + 0.6 * 0.114)
    assert arrays.luminance(np.zeros((5, 6, 7, 3))).shape == (5, 6, 7, 1)


@pytest.mark.parametrize("shape", [(7, 10, 3), (7, 10, 1), (1, 1, 1), (1, 1, 3)])
def test_encode_png_survives_read_rgb(rng, shape):
    pixels = rng.integers(0, 256, shape, np.uint8)
    expected = np.broadcast_to(pixels, (*shape[:2], 3))
    np.testing.assert_array_equal(reading.read_rgb(arrays.encode_png(pixels)), expected)
    as_float = arrays.to_float(pixels)
    np.testing.assert_array_equal(reading.read_rgb(arrays.encode_png(as_float)), expected)


def test_a_grey_png_is_stored_in_one_channel():
    with Image.open(io.BytesIO(arrays.encode_png(np.zeros((2, 3, 1))))) as image:
        assert image.mode == "L"


def test_contact_sheet_holds_every_picture_under_its_caption(rng):
    # Line of text 12 px, gap 6 px. Row 1: 20 and 30 wide, up to 25 high; row 2: 40 wide, 15 high.
    grey, colour, low = rng.random((25, 20, 1)), rng.random((10, 30, 3)), rng.random((15, 40, 3))
    sheet = sheets.contact_sheet([[grey, colour], [low]], [["in", "out"], ["low"]], gap_px=6)
    assert sheet.dtype == np.uint8
    assert sheet.shape == ((25 + 12 + 12) + (15 + 12 + 12), 20 + 30 + 3 * 6, 3)
    np.testing.assert_array_equal(sheet[18:43, 6:26], arrays.to_uint8(np.repeat(grey, 3, axis=-1)))
    np.testing.assert_array_equal(sheet[18:28, 32:62], arrays.to_uint8(colour))
    np.testing.assert_array_equal(sheet[67:82, 6:46], arrays.to_uint8(low))
    for caption in (sheet[:18, 6:26], sheet[:18, 32:62], sheet[49:67, 6:46]):
        assert caption.min() < 128
    assert np.all(sheet[18:43, 26:32] == 255)
    assert np.all(sheet[28:43, 32:] == 255)
    assert np.all(sheet[:, :6] == 255)


# --- Cutting and turning arrays.


@pytest.mark.parametrize("orientation", range(8))
def test_oriented_mirrors_first_and_turns_against_the_clock(rgb, orientation):
    mirrored = rgb[:, ::-1] if orientation >= 4 else rgb
    received = arrays.oriented(rgb, orientation)
    np.testing.assert_array_equal(received, np.rot90(mirrored, orientation % 4))
    assert np.shares_memory(received, rgb)


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((3, 4), slice(2, 5), slice(3, 7)),
        ((7, 10), slice(0, 7), slice(0, 10)),
        ((9, 3), slice(0, 7), slice(3, 6)),
    ],
)
def test_the_middle_is_cut_at_most_as_large_as_asked(rgb, size, rows, columns):
    np.testing.assert_array_equal(arrays.middle(rgb, size), rgb[rows, columns])


@pytest.mark.parametrize("size", [(3, 3), (4, 9), (20, 20)])
def test_the_middle_of_an_enlarged_picture_shows_the_same(rgb, size):
    large = rgb.repeat(3, 0).repeat(3, 1)
    expected = arrays.middle(rgb, size).repeat(3, 0).repeat(3, 1)
    np.testing.assert_array_equal(arrays.middle(large, size, scale=3), expected)
