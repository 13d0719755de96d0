"""What files carry besides pixels is kept, or named in a note."""

import dataclasses
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures import picture_corpus as corpus
from tf_deconv.images import exif, png, reading
from tf_deconv.images.files import Job, write_picture
from tf_deconv.images.value_range import ValueRange, parse_range
from tf_deconv.inference.picture_job import FileOptions, restore_file
from tf_deconv.inference.restorer import Artifact, Restorer


def enlarging(scale):
    def run(batch):
        return batch.repeat(scale, axis=1).repeat(scale, axis=2)

    return Restorer(Artifact(run, 3, 3, 1, scale, 1))


def restored(path, tmp_path, scale=1, **job):
    target = tmp_path / "out" / path.name
    notes, _ = restore_file(enlarging(scale), Job(path, target, **job), FileOptions())
    return target, notes


def exif_with_a_thumbnail():
    image = Image.Exif()
    image[271] = "Maker"
    image[274] = 6
    directory = image.get_ifd(34665)
    directory[36867] = "2020:01:01 00:00:00"
    directory[40962], directory[40963] = 50, 37
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 12)).save(thumbnail, "JPEG")
    data = bytearray(image.tobytes().removeprefix(b"Exif\0\0"))
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack_from(order + "L", data, 4)[0]
    count = struct.unpack_from(order + "H", data, start)[0]
    struct.pack_into(order + "L", data, start + 2 + 12 * count, len(data))
    body = len(data) + 2 + 2 * 12 + 4
    data += struct.pack(order + "H", 2)
    data += struct.pack(order + "HHLL", 513, 4, 1, body)
    data += struct.pack(order + "HHLL", 514, 4, 1, len(thumbnail.getvalue()))
    data += struct.pack(order + "L", 0) + thumbnail.getvalue()
    return bytes(data), thumbnail.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("scale", [1, 2])
def test_exif_is_true_of_the_result(tmp_path, kind, scale):
    data, thumbnail = exif_with_a_thumbnail()
    path = tmp_path / "in"
    Image.fromarray(corpus.picture()).save(path, kind, exif=b"Exif\0\0" + data)
    target, notes = restored(path, tmp_path, scale)
    assert notes == ()
    with Image.open(target) as image:
        stored = image.getexif()
        assert image.size == (scale * corpus.HEIGHT, scale * corpus.WIDTH)  # Turned upright.
        assert stored.get(274, 1) == 1
        assert stored[271] == "Maker"
        directory = stored.get_ifd(34665)
        assert directory[36867] == "2020:01:01 00:00:00"
        assert (directory[40962], directory[40963]) == image.size
    assert thumbnail not in target.read_bytes()


def test_damaged_exif_is_no_error():
    data, _ = exif_with_a_thumbnail()
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(0, len(data), 3):
            changed[place] = random.integers(0, 256)
        cut = bytes(changed[: random.integers(0, len(data))])
        for damaged in (bytes(changed), cut):
            assert 1 <= exif.orientation_of(damaged) <= 8
            exif.corrected(damaged, 10, 20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_xmp_is_kept_and_says_upright(tmp_path, kind):
    packet = corpus.XMP.replace(b'Orientation="1"', b'Orientation="6" exif:PixelXDimension="50"')
    path = tmp_path / "in"
    image = Image.fromarray(corpus.picture())
    options = {"exif": b"Exif\0\0" + corpus.make_exif(6)}
    if kind == "PNG":
        image.save(path, kind, **options)
        content = path.read_bytes()
        chunks = io.BytesIO()
        png.put(chunks, b"iTXt", png.XMP_KEYWORD + b"\0\0\0\0\0" + packet)
        path.write_bytes(content[:33] + chunks.getvalue() + content[33:])
    else:
        image.save(path, kind, xmp=packet, **options)
    target, _ = restored(path, tmp_path)
    kept = reading.read_picture(target).xmp
    assert b'tiff:Orientation="1"' in kept
    assert b'exif:PixelXDimension="37"' in kept


def test_png_keeps_its_text_and_colours(tmp_path):
    case = next(c for c in corpus._pngs(tmp_path) if c.path.name == "chunks-16.png")
    target, notes = restored(case.path, tmp_path)
    assert notes == ()
    before, after = (png.read_chunks(io.BytesIO(p.read_bytes())) for p in (case.path, target))
    assert after.chunks == before.chunks
    assert {kind for kind, _ in after.chunks} == {
        b"gAMA",
        b"cHRM",
        b"cICP",
        b"tEXt",
        b"iTXt",
        b"tIME",
    }
    x, y, unit = after.resolution
    assert (round(x), round(y), unit) == (300, 300, "inch")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("scale", [1, 3])
def test_a_result_is_as_large_on_paper(tmp_path, kind, scale):
    path = tmp_path / "in"
    Image.fromarray(corpus.picture()).save(path, kind, dpi=(200, 200))
    target, _ = restored(path, tmp_path, scale)
    with Image.open(target) as image:
        assert image.info["dpi"] == pytest.approx((200 * scale, 200 * scale), rel=1e-3)


def test_jpeg_keeps_iptc_and_comment(tmp_path):
    resources = b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\x05Hallo"
    path = tmp_path / "in.jpg"
    stream = io.BytesIO()
    Image.fromarray(corpus.picture()).save(stream, "JPEG", comment=b"by me")
    data = b"Photoshop 3.0\0" + resources
    segment = b"\xff\xed" + struct.pack(">H", len(data) + 2) + data
    content = stream.getvalue()
    path.write_bytes(content[:2] + segment + content[2:])
    target, notes = restored(path, tmp_path)
    assert notes == ()
    picture = reading.read_picture(target)
    assert (picture.iptc, picture.comment) == (resources, b"by me")


def test_tiff_keeps_its_tags_compression_and_pages(tmp_path):
    path = tmp_path / "in.tif"
    pages = [corpus.picture(1, "u2", seed)[..., 0] for seed in range(3)]
    tags = [(33550, 12, 3, (0.5, 0.5, 0.0), True), (65000, 2, 0, "private", True)]
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(pages):
            writer.write(
                page,
                compression="lzw",
                description=f"page {number}",
                software="a program",
                resolution=(4000, 4000),
                resolutionunit="centimeter",
                metadata=None,
                extratags=tags,
            )
    for scale in (1, 2):
        target, notes = restored(path, tmp_path, scale)
        assert notes == ()
        with tifffile.TiffFile(target) as file:
            assert len(file.pages) == 3
            for number, page in enumerate(file.pages):
                assert page.compression == tifffile.COMPRESSION.LZW
                assert page.description == f"page {number}"
                assert page.software == "a program"
                assert page.tags[65000].value == "private"
                assert page.tags[33550].value == (0.5 / scale, 0.5 / scale, 0.0)
                assert page.tags[282].value[0] / page.tags[282].value[1] == 4000 * scale
                assert int(page.resolutionunit) == 3


@pytest.mark.parametrize("kind", ["shaped", "ome", "planar"])
def test_a_tiff_that_tells_its_size_tells_that_of_the_result(tmp_path, kind):
    path = tmp_path / "in.tif"
    pages = np.stack([corpus.picture(1, "u1", seed)[..., 0] for seed in range(3)])
    options = {
        "ome": dict(ome=True, metadata={"axes": "ZYX"}),
        "planar": dict(photometric="rgb", planarconfig="separate"),
        "shaped": dict(photometric="minisblack"),
    }
    tifffile.imwrite(path, pages, **options[kind])
    for scale in (1, 2):
        target, notes = restored(path, tmp_path, scale)
        with tifffile.TiffFile(target) as file:
            pixels = np.stack([page.asarray() for page in file.pages]).squeeze()
            assert [series.shape for series in file.series] == [pixels.shape]
            told = file.pages[0].description
        changed = pixels.shape != pages.shape
        assert (not told) == changed
        left_out = "the OME-XML description was left out: it tells another size"
        assert set(notes) == ({left_out} if kind == "ome" and changed else set())


def test_animations_keep_their_times(tmp_path):
    for case in (*corpus._webps(tmp_path), *corpus._pngs(tmp_path)):
        if not case.path.name.startswith("moving"):
            continue
        target, notes = restored(case.path, tmp_path)
        assert notes == ()
        with Image.open(case.path) as before, Image.open(target) as after:
            assert (after.n_frames, after.info["loop"]) == (before.n_frames, before.info["loop"])
            for number in range(3):
                for image in (before, after):
                    image.seek(number)
                    image.load()
                assert after.info["duration"] == before.info["duration"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "AVIF", "TIFF", "PNG"])
def test_another_type_names_what_it_cannot_hold(tmp_path, kind):
    if not reading.formats.is_readable(kind):
        pytest.skip(f"no {kind} here")
    case = next(c for c in corpus._pngs(tmp_path) if c.path.name == "rgba-16.png")
    content = case.path.read_bytes()
    chunks = io.BytesIO()
    png.put(chunks, b"tEXt", b"Author\0me")
    png.put(chunks, b"eXIf", corpus.make_exif())
    case.path.write_bytes(content[:33] + chunks.getvalue() + content[33:])
    target, notes = restored(case.path, tmp_path, format=kind)
    text = "; ".join(notes)
    assert reading.read_header(target).format == kind
    assert ("holds 8 bits" in text) == (kind not in ("TIFF", "PNG"))
    assert ("no transparency" in text) == (kind in ("JPEG", "BMP"))
    assert ("PNG text and colour chunks" in text) == (kind != "PNG")
    assert ("EXIF data" in text) == (kind == "BMP")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_that_became_colours_are_named(tmp_path, kind):
    # Of a TIFF file nothing was said.
    path = tmp_path / f"in.{kind.lower()}"
    Image.fromarray(corpus.picture()).convert("CMYK").save(path, kind)
    target, notes = restored(path, tmp_path)
    assert notes == ("CMYK was turned into RGB",)
    with Image.open(target) as image:
        assert image.mode == "RGB"


def test_a_motion_photo_says_that_its_film_is_gone(tmp_path):
    path = tmp_path / "in.jpg"
    packet = corpus.XMP.replace(b"<rdf:RDF", b'<rdf:RDF GCamera:MotionPhoto="1"')
    Image.fromarray(corpus.picture()).save(path, "JPEG", xmp=packet)
    target, notes = restored(path, tmp_path)
    assert notes == ("the film of a motion photo was left out",)
    assert b'GCamera:MotionPhoto="0"' in target.read_bytes()


def test_values_beyond_a_range_come_back(tmp_path):
    path = tmp_path / "counts.tif"
    counts = np.array([[0, 90, 100, 500, 1500, 1600, 65535]] * 5, np.uint16)
    tifffile.imwrite(path, counts)
    target = tmp_path / "out.tif"

    options = FileOptions(values=ValueRange("fixed", 100, 1500))
    restore_file(enlarging(1), Job(path, target), options)
    np.testing.assert_array_equal(tifffile.imread(target)[..., 0], counts)


def test_pages_of_a_stack_share_their_levels(tmp_path):
    path = tmp_path / "in.tif"
    pages = np.stack([np.full((9, 9), value, np.int16) for value in (-100, 0, 300)])
    pages[:, 0, 0] = (-200, 50, 400)
    tifffile.imwrite(path, pages, photometric="minisblack")
    seen = []

    def run(batch):
        seen.append(batch.copy())
        return batch

    restorer = Restorer(Artifact(run, 3, 3, 1, 1, 1))
    target = tmp_path / "out.tif"
    notes, _ = restore_file(restorer, Job(path, target), FileOptions())
    assert "int16 values: -200 to 400 were taken as 0 to 1 (--range says otherwise)" in notes
    np.testing.assert_allclose(
        [page[0, 4, 4, 0] for page in seen], [1 / 6, 1 / 3, 5 / 6], atol=1e-6
    )
    np.testing.assert_array_equal(tifffile.imread(target)[..., 0], pages)


def test_a_failing_page_leaves_nothing(tmp_path):
    path = tmp_path / "in.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((9, 9), np.float32), metadata=None)
        writer.write(np.full((9, 9), 7, np.float32), metadata=None)
    target = tmp_path / "out" / "in.tif"
    with pytest.raises(ValueError, match="picture 2 of 2: holds float32 values from 7 to 7"):
        restore_file(enlarging(1), Job(path, target), FileOptions())
    assert list(target.parent.iterdir()) == []


def test_what_a_type_cannot_hold_is_refused_before_the_network_runs(tmp_path):
    path = tmp_path / "in.webp"
    Image.new("RGB", (9000, 4)).save(path)

    def run(batch):
        raise AssertionError("ran")

    restorer = Restorer(Artifact(run, 3, 3, 1, 2, 1))
    with pytest.raises(ValueError, match="18000x8 pixels cannot be written as WEBP, whose sides"):
        restore_file(restorer, Job(path, tmp_path / "x.webp"), FileOptions())


@pytest.mark.parametrize("quality", [10, None])
def test_quality_decides_the_size_of_a_file(tmp_path, quality):
    picture = dataclasses.replace(reading.read_picture(next(corpus._jpegs(tmp_path)).path))
    write_picture(picture, tmp_path / "x.jpg", quality)
    with Image.open(tmp_path / "x.jpg") as image:
        first = image.quantization[0][0]
    assert (first > 20) == (quality == 10)


def test_a_model_of_counts_takes_files_as_its_training_did(tmp_path):
    path = tmp_path / "counts.tif"
    counts = np.arange(100, 1600, 20, dtype=np.uint16).reshape(5, 15)
    tifffile.imwrite(path, counts)
    seen = []

    def run(batch):
        seen.append(batch.max())
        return batch

    restorer = Restorer(Artifact(run, 3, 3, 1, 1, 1))
    for recorded, values, expected in (
        ({"uint16": [100, 1600]}, "auto", (1580 - 100) / 1500),
        ({"uint16": [0, 65535]}, "auto", 1580 / 65535),
        ({"uint16": [100, 1600]}, "full", 1580 / 65535),
        ({"int16": [0, 9]}, "auto", 1580 / 4095),
    ):
        options = FileOptions(values=parse_range(values), levels=recorded)
        restore_file(restorer, Job(path, tmp_path / "out.tif"), options)
        assert seen.pop() == pytest.approx(expected, rel=1e-5)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[..., 0], counts)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (16, 15), (37, 50)])
def test_a_jpeg_is_pillows_to_the_pixel(tmp_path, mode, size):
    """What libjpeg makes of an array is what Pillow, which calls it too, makes of its own."""
    image = Image.fromarray(corpus.picture()).resize(size[::-1]).convert(mode)
    image.save(tmp_path / "in.jpg", quality=95, subsampling=0, comment=b"by me", dpi=(90, 90))
    with Image.open(tmp_path / "in.jpg") as stored:
        expected = np.asarray(stored)
    picture = reading.read_picture(tmp_path / "in.jpg")
    np.testing.assert_array_equal(picture.pixels.reshape(expected.shape), expected)
    write_picture(
        dataclasses.replace(picture, pixels=np.asarray(image).reshape(*size, -1)), tmp_path / "o"
    )
    with Image.open(tmp_path / "o") as stored:
        np.testing.assert_array_equal(np.asarray(stored), expected)
        assert (stored.info["comment"], stored.info["dpi"]) == (b"by me", (90, 90))


def test_a_jpeg_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "in.jpg"
    Image.fromarray(corpus.picture()).save(path)
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 2):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"(?i)truncated"):
            reading.read_picture(path)
