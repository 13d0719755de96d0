"""What files are, told from their first bytes; and what lies in a folder."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from tf_deconv.images import formats, gif, reading
from tf_deconv.utils.options import UserError

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
FILM = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2"


def write_picture(path, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(path, kind)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe1", "JPEG"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"MM\0+\0\x08\0\0", "TIFF"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera raw file"),
        (b"RIFF\x10\0\0\0WEBPVP8L", "WEBP"),
        (b"RIFF\x10\0\0\0AVI LIST", "a film"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "BMP"),
        (b"BMW is a maker of cars.", None),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a camera raw file"),
        (FILM, "a film"),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01", "a film in MXF"),
        (b"YUV4MPEG2 W64 H48 F25:1", "a film in YUV4MPEG2"),
        (b"DKIF\0\0\x20\0VP90", "a film in IVF"),
        (b"\x1f\x07\0\xbf\xf8\x78", "a raw stream of DV"),
        (b"\0\0\0\x01\x67\x64\0\x0a", "a raw stream of H.264"),
        (b"\0\0\0\x01\x40\x01\x0c\x01", "a raw stream of HEVC"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a film"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (PDF, "a PDF document"),
        (b"8BPS\0\x01", "a Photoshop document"),
        (b"P6\n8 8\n255\n", "a portable pixmap (PPM)"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">', "an SVG drawing"),
        (b'<?xml version="1.0"?><metadata/>', None),
        (b"PK\x03\x04", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell(head, kind):
    assert formats.sniff(head) == kind


def test_content_decides_and_not_the_name(tmp_path):
    write_picture(tmp_path / "a.jpg", "PNG")
    write_picture(tmp_path / "b.dat", "JPEG")
    write_picture(tmp_path / "c", "WEBP")
    assert [reading.read_header(tmp_path / name).format for name in ("a.jpg", "b.dat", "c")] == [
        "PNG",
        "JPEG",
        "WEBP",
    ]


def test_everything_in_a_folder_is_a_picture_or_named_or_counted(tmp_path):
    for name in ("b.png", "sub/deep/c.dat", ".hidden/x.png"):
        write_picture(tmp_path / name)
    (tmp_path / "broken.tif").write_bytes(b"nothing")
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.xmp").write_text("<x/>")
    (tmp_path / ".DS_Store").write_bytes(bytes(8))
    (tmp_path / "paper.pdf").write_bytes(PDF)
    (tmp_path / "clip.mp4").write_bytes(FILM)
    (tmp_path / "old.cr2").write_bytes(b"nothing")
    os.symlink(tmp_path / "absent.png", tmp_path / "link.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = formats.find_pictures(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in found.pictures]
    assert names == ["b.png", "broken.tif", "sub/deep/c.dat"]
    reasons = dict(line.split(": ", 1) for line in found.unread)
    assert sorted(reasons) == ["clip.mp4", "link.png", "old.cr2", "paper.pdf", "pipe.png"]
    assert reasons["clip.mp4"].startswith("is a film, which is not read: cut it into pictures")
    assert reasons["paper.pdf"].startswith("is a PDF document, which is not read: take its")
    assert reasons["link.png"] == "is a link that leads nowhere"
    assert reasons["pipe.png"] == "is a named pipe: expected a picture file"
    assert formats.find_pictures(tmp_path, films=True).films == [tmp_path / "clip.mp4"]
    assert found.note() == "3 files are no pictures (.json, .txt, .xmp) and 2 hidden: left alone"


def test_what_this_program_wrote_is_known_by_its_files(run, exported):
    assert formats.is_written(os.listdir(run.folder))
    assert formats.is_written(os.listdir(exported.folder))
    assert not formats.is_written(["config.json", "manifest.json", "a.png"])


def test_previews_below_a_folder_are_no_pictures_of_it(tmp_path):
    # `train --data . ` writes runs/ there: the next run learned from its preview and its curve, and
    # --resume was refused, for these were not there when the run began.
    write_picture(tmp_path / "a.png")
    for name in ("config.json", "samples.npz", "preview.png", "checkpoints/deep.png"):
        write_picture(tmp_path / "runs" / "first" / name)
    for name in ("evaluation.json", "sheet.png"):
        write_picture(tmp_path / "evaluation" / name)
    found = formats.find_pictures(tmp_path)
    assert found.pictures == [tmp_path / "a.png"]
    assert found.note() == "2 folders of a run, an evaluation or an export: left alone"
    # Asked for by its own name, it is a folder of pictures.
    run = tmp_path / "runs" / "first"
    assert run / "preview.png" in formats.find_pictures(run).pictures


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_subfolder_that_may_not_be_entered_is_named(tmp_path):
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "closed" / "b.png")
    (tmp_path / "closed").chmod(0)
    try:
        found = formats.find_pictures(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert "closed: cannot be entered: Permission denied" in found.unread


def test_links_to_folders_are_followed_and_circles_end(tmp_path):
    write_picture(tmp_path / "in" / "a.png")
    write_picture(tmp_path / "far" / "b.png")
    os.symlink(tmp_path / "far", tmp_path / "in" / "far")
    os.symlink(tmp_path / "in", tmp_path / "in" / "again")
    found = formats.find_pictures(tmp_path / "in")
    assert [path.name for path in found.pictures] == ["a.png", "b.png"]


def test_a_hidden_folder_itself_can_be_listed(tmp_path):
    write_picture(tmp_path / ".cache" / "a.png")
    assert len(formats.find_pictures(tmp_path / ".cache").pictures) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("absent", "does not exist: expected a folder"), ("a.png", "is a file: expected a folder")],
)
def test_what_is_no_folder_is_refused(tmp_path, name, expected):
    write_picture(tmp_path / "a.png")
    with pytest.raises(UserError, match=expected):
        formats.find_pictures(tmp_path / name)


def test_a_folder_without_pictures_says_what_it_holds(tmp_path):
    (tmp_path / "paper.pdf").write_bytes(PDF)
    (tmp_path / "notes.txt").touch()
    found = formats.find_pictures(tmp_path)
    with pytest.raises(UserError, match=r"holds no picture \(paper.pdf: is a PDF .*1 file is no"):
        formats.require_pictures(found, tmp_path)


def test_a_format_without_its_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)
    with pytest.raises(ValueError, match=r"is HEIC, which needs .*: pip install 'pillow-heif"):
        reading.read_header(heic)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty: expected a picture"),
        (b"no picture", "is not a picture of a kind that is read: expected PNG, JPEG"),
        (PDF, "is a PDF document, which is not read"),
    ],
)
def test_a_refusal_gives_the_true_reason(content, expected):
    with pytest.raises(ValueError, match=expected):
        reading.read_header(content)


def test_a_raw_file_that_looks_like_tiff_is_no_picture(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "small.dng"
    version = (50706, 1, 4, (1, 4, 0, 0), True)
    preview = np.zeros((16, 16, 3), np.uint8)
    tifffile.imwrite(path, preview, photometric="rgb", extratags=[version])
    with pytest.raises(ValueError, match="is a camera raw file, which is not read: develop it"):
        reading.read_header(path)


@pytest.mark.parametrize("kind", list(formats.UNREAD_FILMS))
def test_a_film_of_a_kind_that_is_not_read_says_what_to_do(kind):
    said = formats.refusal(kind, 1000)
    assert said.startswith(f"is {kind}, which is not read: ")
    assert "`ffmpeg -i FILE" in said


def test_pictures_behind_the_first_one_of_a_jpeg_are_told():
    # A camera's .mjpeg of 12 frames became one picture, without a word.
    stream = io.BytesIO()
    Image.new("RGB", (16, 8)).save(stream, "JPEG")
    with reading.open_pictures(stream.getvalue() * 12, 2**20) as file:
        assert file.header.count == 1
        assert file.notes == ("11 more pictures in the file left out: only the first is read",)


def test_a_gif_without_its_end_is_told():
    stream = io.BytesIO()
    frames = [Image.new("L", (40, 30), grey) for grey in (10, 200)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    content = stream.getvalue()
    assert gif.has_end(content)
    with reading.open_pictures(content, 2**20) as file:
        assert file.notes == ()
    with reading.open_pictures(content[:-1], 2**20) as file:
        assert file.notes == ("the GIF file breaks off: more pictures may have followed",)


def test_a_gif_whose_picture_lies_far_outside_its_screen_is_refused():
    stream = io.BytesIO()
    frames = [Image.new("L", (40, 30), grey) for grey in (10, 200)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    content = bytearray(stream.getvalue())
    assert gif.extent(bytes(content)) == (30, 40)
    assert reading.read_header(bytes(content)).count == 2
    place = content.rindex(b"\x2c\0\0\0\0")
    content[place + 5 : place + 9] = b"\xff\x3f\xff\x3f"
    assert gif.extent(bytes(content)) == (16383, 16383)
    with pytest.raises(ValueError, match=r"screen of 40x30 pixels lies .* needs 16383x16383"):
        reading.read_header(bytes(content))
