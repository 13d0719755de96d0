"""`restore` as it is typed: what it tells beforehand, meanwhile and not at all."""

import importlib.util

import pytest

from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import write_noise

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs PyAV")
FILM = b"\0\0\0\x18ftypisom" + bytes(100)
PDF = b"%PDF-1.4\n" + bytes(100)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with pictures, a film and a document, in which the command is called."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b.png", "c.png"):
        write_noise(tmp_path / name)
    (tmp_path / "film.mp4").write_bytes(FILM)
    (tmp_path / "paper.pdf").write_bytes(PDF)
    (tmp_path / "empty").mkdir()
    return tmp_path


def everything_in(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_dry_run_tells_all_and_writes_nothing(capsys, here):
    write_noise(here / "restored" / "a.png")
    before = everything_in(here)
    (here / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = everything_in(here)
    options = ("restore", "photo-small", "in", "--dry-run")
    code, out, err = call(capsys, *options, "--overwrite", "--sheet", "s.png", "--strength", "0.7")
    assert (code, err) == (1, "")  # As it will be.
    lines = out.splitlines()
    assert lines[0].startswith("engine: LiteRT, int8 for 8 bits and float32 for more")
    assert lines[1:3] == ["model: photo-small", "strength: 0.7"]
    assert "in/a.png (PNG, 40x36) -> restored/a.png, which is replaced" in lines
    assert "in/b.png (PNG, 40x36) -> restored/b.png" in lines
    assert any(line.startswith("in/broken.png: FAILED: ") for line in lines)
    assert lines[-1] == "dry run: 2 of 3 pictures and the sheet s.png would be written; nothing was"
    out = call(capsys, *options, "--skip-existing")[1]
    assert out.startswith("1 picture is there already and would be skipped\n")
    assert "a.png" not in out
    assert "'restored/a.png'" in refuses(capsys, *options)
    assert everything_in(here) == before


def test_quiet_prints_errors_alone(capsys, here):
    assert does(capsys, "restore", "photo-small", "in", "-q") == ""
    assert (here / "restored" / "b.png").exists()
    (here / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = call(capsys, "restore", "photo-small", "in", "--skip-existing", "--quiet")
    assert (code, out) == (1, "")
    assert err.startswith("in/broken.png: ")
    assert err.count("\n") == 1
    assert "there already" in refuses(capsys, "restore", "photo-small", "in", "-q")


def test_verbose_tells_of_each_picture_its_time_and_its_tiles(capsys, here):
    said = does(capsys, "restore", "photo-small", "in", "c.png", "-v", "-o", "whole")
    assert "[3/3] c.png -> whole/c.png  0." in said
    assert said.count("s, as a whole\n") == 3
    write_noise(here / "large.png", (500, 400))
    said = does(capsys, "restore", "photo-small", "large.png", "-v", "--tile-size", 300)
    assert " tiles of " in said.splitlines()[-1]


def test_out_has_a_short_form(capsys, here):
    does(capsys, "restore", "photo-small", "c.png", "-o", "d.png")
    assert (here / "d.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["film.mp4"], "film.mp4: cannot be opened as MP4: ", marks=needs_av),
        (["paper.pdf"], "paper.pdf: is a PDF document, which is not read: take its pictures out"),
        (["photo", "paper.pdf", "film.mp4"], "`pdfimages -all FILE page` does (and 1 more)"),
        (["empty"], "folder 'empty' holds no picture"),
        (["nowhere.png"], "'nowhere.png' does not exist"),
        (
            ["c.png", "photo-small"],
            "'photo-small' is a model, which comes first: `tf-deconv restore photo-small c.png`",
        ),
        ([], "nothing to restore: name pictures or folders of them"),
        (["photo"], "no picture: 'photo' is the model"),
    ],
)
def test_what_cannot_be_restored_is_said_in_one_line(capsys, here, words, said):
    assert said in refuses(capsys, "restore", *words)
    assert not (here / "restored").exists()


@needs_av
def test_a_damaged_film_among_pictures_is_left_out_and_named(capsys, here):
    code, out, _ = call(capsys, "restore", "photo-small", "c.png", "film.mp4")
    assert code == 1
    assert "1 file was not read:\n  film.mp4: cannot be opened as MP4" in out
    assert (here / "restored" / "c.png").exists()
