"""Picture files read and written with all that they carry."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageCms

from tf_deconv.images import reading
from tf_deconv.images.files import Picture, read_picture, write_picture

PIXELS = 10**6
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = ["PNG", "TIFF", "WEBP", "BMP"]


def samples(channels, dtype=np.uint8, seed=0):
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, (21, 34, channels), dtype, endpoint=True)


def make_exif(orientation=1):
    exif = Image.Exif()
    exif[271] = "Maker"
    exif[274] = orientation
    exif.get_ifd(34665)[36867] = "2020:01:01 00:00:00"
    return exif


def write(path, kind, pixels, alpha=None, **fields):
    picture = Picture(pixels, alpha, kind, lossless=kind == "WEBP", **fields)
    notes = write_picture(picture, path)
    return read_picture(path, PIXELS), notes


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_back_every_pixel(tmp_path, kind):
    back, notes = write(tmp_path / "x", kind, samples(3))
    np.testing.assert_array_equal(back.pixels, samples(3))
    assert (back.format, back.alpha, back.bit_depth, notes) == (kind, None, 8, ())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_is_kept(tmp_path, kind):
    back, notes = write(tmp_path / "x", kind, samples(3), samples(1, seed=1))
    np.testing.assert_array_equal(back.pixels, samples(3))
    np.testing.assert_array_equal(back.alpha, samples(1, seed=1))
    assert notes == ()


@pytest.mark.parametrize("alpha", [None, samples(1, np.uint16, 1)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_kept(tmp_path, kind, channels, alpha):
    pixels = samples(channels, np.uint16)
    back, notes = write(tmp_path / "x", kind, pixels, alpha, icc_profile=None)
    np.testing.assert_array_equal(back.pixels, np.broadcast_to(pixels, back.pixels.shape))
    assert (back.bit_depth, notes) == (16, ())
    if alpha is not None:
        np.testing.assert_array_equal(back.alpha, alpha)
    with Image.open(tmp_path / "x") as image:  # Whole for other programs, too.
        image.load()
        assert image.size == (34, 21)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_is_what_libpng_reads_and_writes(tmp_path, channels):
    pixels = samples(channels, np.uint16)
    encoded = tf.io.encode_png(pixels).numpy()
    (tmp_path / "in.png").write_bytes(encoded)
    picture = read_picture(tmp_path / "in.png", PIXELS)
    write_picture(picture, tmp_path / "out.png")
    back = tf.io.decode_png((tmp_path / "out.png").read_bytes(), dtype=tf.uint16).numpy()
    np.testing.assert_array_equal(back, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_16_bit_tiff_of_other_programs_is_read(tmp_path, planar):
    tifffile = pytest.importorskip("tifffile")
    pixels = samples(3, np.uint16)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(tmp_path / "x.tif", stored, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(read_picture(tmp_path / "x.tif", PIXELS).pixels, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_profile_and_exif_are_kept(tmp_path, kind, dtype):
    exif = make_exif().tobytes().removeprefix(b"Exif\0\0")
    fields = dict(icc_profile=PROFILE, exif=exif)
    back, _ = write(tmp_path / "x", kind, samples(3, dtype), **fields)
    assert back.icc_profile == PROFILE
    with Image.open(tmp_path / "x") as image:
        stored = image.getexif()
        assert image.info["icc_profile"] == PROFILE
        assert stored[271] == "Maker"
        assert stored.get_ifd(34665)[36867] == "2020:01:01 00:00:00"


@pytest.mark.parametrize(
    ("directory", "entries"), [(34665, {36867: "2020:01:01 00:00:00"}), (34853, {1: "N"})]
)
def test_an_8_bit_tiff_keeps_a_directory_of_exif_or_gps_data(tmp_path, directory, entries):
    # Compressed by libtiff, Pillow failed on it: "Error setting from dictionary".
    Image.fromarray(samples(3)).save(tmp_path / "in.tif", tiffinfo={directory: entries})
    picture = read_picture(tmp_path / "in.tif", PIXELS)
    assert write_picture(picture, tmp_path / "out.tif") == ()
    with Image.open(tmp_path / "out.tif") as image:
        assert image.getexif().get_ifd(directory) == entries


def test_an_8_bit_tiff_without_one_is_compressed(tmp_path):
    write_picture(Picture(0 * samples(3), None, "TIFF"), tmp_path / "x.tif")
    assert (tmp_path / "x.tif").stat().st_size < 21 * 34 * 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_and_say_so(tmp_path, kind, orientation):
    path = tmp_path / "in"
    options = {"lossless": True} if kind == "WEBP" else {}
    Image.fromarray(samples(3)).save(path, kind, exif=make_exif(orientation), **options)
    picture = read_picture(path, PIXELS)
    np.testing.assert_array_equal(picture.pixels, reading.read_rgb(path))
    write_picture(picture, tmp_path / "out")
    with Image.open(tmp_path / "out") as image:
        assert image.getexif().get(274, 1) == 1
        assert image.getexif()[271] == "Maker"
        assert (image.height, image.width) == picture.pixels.shape[:2]


def test_damaged_exif_costs_no_picture(tmp_path):
    for number, exif in enumerate(
        (b"", b"II", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff")
    ):
        path = tmp_path / str(number)
        Image.fromarray(samples(3)).save(path, "JPEG", exif=b"Exif\0\0" + exif)
        assert read_picture(path, PIXELS).pixels.shape == (21, 34, 3)


def save(path, image, kind, **options):
    image.save(path, kind, **options)
    return read_picture(path, PIXELS)


def test_every_kind_of_pixel_is_read(tmp_path):
    colour = Image.fromarray(samples(3))
    shapes = {}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"):
        if mode == "I;16":
            image = Image.fromarray(samples(1, np.uint16)[..., 0])
        elif mode == "F":
            image = Image.fromarray(samples(1)[..., 0].astype(np.float32) / 255)
        else:
            image = colour.convert(mode)
        picture = save(tmp_path / "x", image, "TIFF")
        shapes[mode] = (picture.pixels.shape[-1], picture.bit_depth, picture.alpha is not None)
    assert shapes == {
        "1": (1, 8, False),
        "L": (1, 8, False),
        "LA": (1, 8, True),
        "P": (3, 8, False),
        "RGB": (3, 8, False),
        "RGBA": (3, 8, True),
        "CMYK": (3, 8, False),
        "I;16": (1, 16, False),
        "F": (1, 32, False),
    }


def test_a_gif_becomes_a_png_with_its_transparency(tmp_path):
    image = Image.new("P", (6, 5), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((2, 1), 1)
    picture = save(tmp_path / "x.gif", image, "GIF", transparency=1)
    assert picture.format == "PNG"
    assert picture.alpha[1, 2, 0] == 0
    assert picture.alpha.sum() == 255 * 29


def test_an_animation_gives_its_first_picture_and_a_note(tmp_path):
    frames = [Image.new("L", (8, 8), grey) for grey in (10, 200)]
    picture = save(tmp_path / "x.gif", frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert picture.notes[0] == "of 2 pictures in the file, the first was taken"
    assert (picture.pixels == 10).all()


def test_what_is_lost_is_said(tmp_path):
    _, notes = write(tmp_path / "a", "JPEG", samples(3, np.uint16), samples(1, np.uint16))
    assert notes == ("JPEG holds 8 bits", "JPEG holds no transparency")
    _, notes = write(tmp_path / "b", "PNG", samples(1), icc_profile=PROFILE)
    assert "does not fit the restored channels" in notes[0]
    _, notes = write(tmp_path / "c", "BMP", samples(3), icc_profile=PROFILE)
    assert notes == ("BMP holds no ICC profile: left out",)


def test_a_picture_that_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
    huge = Picture(np.zeros((1, 17000, 3), np.uint8), None, "WEBP")
    with pytest.raises(ValueError, match="cannot be written as WEBP"):
        write_picture(huge, tmp_path / "x.webp")
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_picture_is_refused_from_its_header(tmp_path):
    Image.new("1", (2000, 2000)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"2000x2000 is 4,000,000 pixels: more than --max-pixels"):
        read_picture(tmp_path / "x.png", PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_truncated_files_are_refused(tmp_path, kind):
    stream = io.BytesIO()
    Image.fromarray(samples(3)).save(stream, kind)
    for length in (0, 10, len(stream.getvalue()) // 2):
        (tmp_path / "x").write_bytes(stream.getvalue()[:length])
        with pytest.raises(ValueError, match=r"."):
            read_picture(tmp_path / "x", PIXELS)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_that_is_cut_off_is_told_in_words(tmp_path, kind):
    # It was "index out of range", and "could not create decoder object".
    stream = io.BytesIO()
    pictures = [Image.fromarray(np.roll(samples(3), n, 1)) for n in range(6)]
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:], duration=40)
    content, told = stream.getvalue(), []
    # A GIF's first picture may be whole; where in the next one it ends decides what Pillow says.
    middle = len(content) * 6 // 10
    for length in range(middle, middle + 900, 23):
        (tmp_path / "x").write_bytes(content[:length])
        try:
            read_picture(tmp_path / "x", PIXELS)
        except ValueError as error:
            told.append(str(error))
    assert all("damaged" in each or "truncated" in each for each in told), told
    assert told or kind == "GIF"


def test_a_truncated_16_bit_png_is_refused(tmp_path):
    encoded = tf.io.encode_png(samples(3, np.uint16)).numpy()
    (tmp_path / "x").write_bytes(encoded[: len(encoded) // 2])
    with pytest.raises(ValueError, match=r"damaged|truncated"):
        read_picture(tmp_path / "x", PIXELS)
