"""Names that stay what they are, results that nobody replaces, and --out that is a file."""

import os
import time

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv.inference import shipped
from tf_deconv.inference.words import split_words


@pytest.fixture
def picture(here):
    return write_noise(here / "a.png")


# --- A shipped model's name.


def test_results_in_a_folder_of_the_models_name_do_not_break_the_name(capsys, here, picture):
    # The second call took the folder for pictures, and inspect said that it holds no model.
    does(capsys, "restore", "denoise-color", "a.png", "--out", "denoise-color")
    out = does(capsys, "restore", "denoise-color", "a.png", "--out", "again")
    note = "note: denoise-color: the shipped model; what lies here under that name is ./denoise-"
    assert note in out
    assert (here / "again" / "a.png").read_bytes() == (
        here / "denoise-color" / "a.png"
    ).read_bytes()
    assert "takes" in does(capsys, "inspect", "denoise-color")
    assert tf_deconv.load("denoise-color").artifact.channels_in == 3


@pytest.mark.parametrize("word", ["denoise-grey", "denoise", "Denoise_Grey"])
def test_what_is_no_model_hides_no_name(here, picture, word):
    (here / word).mkdir()
    assert shipped.is_name(word)
    assert split_words([word, "a.png"]) == (word, ["a.png"])
    # Alone, it can only mean the pictures there.
    assert split_words([word]) == (None, [word])
    (here / word).rmdir()
    write_noise(here / "b.png").rename(here / word)
    assert split_words([word, "a.png"]) == (word, ["a.png"])
    (here / word).unlink()
    os.mkfifo(here / word)
    assert shipped.is_name(word)
    assert not shipped.is_name(f"./{word}")


def test_a_model_that_lies_here_is_taken_and_it_is_said(capsys, here, picture, stand_ins):
    (here / "denoise-color").symlink_to(stand_ins / "denoise-grey")
    out = does(capsys, "restore", "denoise-color", "a.png")
    assert "note: model denoise-color: the file or folder of that name here, not the" in out
    with Image.open(here / "restored" / "a.png") as image:
        assert image.mode == "L"


def test_a_folder_of_another_name_is_no_name(here):
    (here / "holiday").mkdir()
    assert not shipped.is_name("holiday")
    assert split_words(["holiday"]) == (None, ["holiday"])


# --- Results that are there.


def test_a_second_models_results_do_not_replace_the_firsts(capsys, here, picture):
    # restored/a.png of denoise-color was lost without a word.
    does(capsys, "restore", "denoise-color", "a.png")
    first = (here / "restored" / "a.png").read_bytes()
    line = refuses(capsys, "restore", "denoise-grey", "a.png")
    assert "the picture is there already, 'restored/a.png': choose another --out, or add" in line
    assert (here / "restored" / "a.png").read_bytes() == first
    out = does(capsys, "restore", "denoise-grey", "a.png", "--skip-existing")
    assert "1 picture is there already and was skipped" in out
    assert (here / "restored" / "a.png").read_bytes() == first
    does(capsys, "restore", "denoise-grey", "a.png", "--overwrite")
    assert (here / "restored" / "a.png").read_bytes() != first


def test_of_many_pictures_it_is_said_how_many_are_there(capsys, here, picture):
    write_noise(here / "b.png")
    write_noise(here / "restored" / "b.png")
    line = refuses(capsys, "restore", "denoise-color", "a.png", "b.png")
    assert "1 of 2 pictures is there already, 'restored/b.png'" in line
    assert not (here / "restored" / "a.png").exists()
    message = refuses(capsys, "restore", "denoise-color", "a.png", "--overwrite", "--skip-existing")
    assert "--skip-existing with --overwrite" in message


# --- A file as --out.


@pytest.mark.parametrize(
    ("name", "kind"),
    [("x.png", "PNG"), ("x.JPG", "JPEG"), ("x.tiff", "TIFF"), ("deep/x.webp", "WEBP")],
)
def test_out_names_the_file_of_one_picture(capsys, here, picture, name, kind):
    # A folder x.png was made, with a.png in it.
    does(capsys, "restore", "denoise-color", "a.png", "--out", name)
    with Image.open(here / name) as image:
        assert image.format == kind
    assert not (here / "restored").exists()
    assert "is there already" in refuses(capsys, "restore", "denoise-color", "a.png", "--out", name)


def test_out_that_is_a_file_takes_the_pixels_as_they_are(capsys, here, picture):
    does(capsys, "restore", "denoise-color", "a.png", "--out", "x.png")
    does(capsys, "restore", "denoise-color", "a.png", "--out", "x.bmp")
    does(capsys, "restore", "denoise-color", "a.png")
    with Image.open(here / "restored" / "a.png") as expected:
        for name in ("x.png", "x.bmp"):
            with Image.open(here / name) as image:
                np.testing.assert_array_equal(image, expected)


def test_out_that_is_a_file_is_refused_where_it_cannot_be_one(capsys, here, picture):
    write_noise(here / "b.png")
    line = refuses(capsys, "restore", "denoise-color", "a.png", "b.png", "--out", "x.png")
    assert "--out x.png is the file of one picture, and there are 2: expected a folder" in line
    line = refuses(capsys, "restore", "denoise-color", "a.png", "--out", "x.gif")
    assert "--out x.gif: no .gif file can be written; expected a folder, a picture ending" in line
    assert ", or a film ending in .mp4, " in line
    # A folder of such a name was made.
    for name in ("x.psd", "x.mxf", "x.JP2"):
        line = refuses(capsys, "restore", "denoise-color", "a.png", "--out", name)
        assert f"no {name[1:].lower()} file can be written; expected a folder, a" in line
        assert ", or a film ending in .mp4, " in line
    line = refuses(capsys, "restore", "denoise-color", "a.png", "--out", "a.png", "--overwrite")
    assert "'a.png' would be written over 'a.png', which is an input" in line
    # What is a folder already stays one, whatever its name.
    (here / "x.png").mkdir()
    does(capsys, "restore", "denoise-color", "a.png", "b.png", "--out", "x.png")
    assert sorted(os.listdir(here / "x.png")) == ["a.png", "b.png"]


# --- What is neither a file nor a folder.


@pytest.fixture
def pipe(here):
    """Nobody writes into it: to open it would take for ever."""
    os.mkfifo(here / "pipe")
    return "pipe"


@pytest.mark.parametrize(
    "words",
    [
        ["restore", "denoise-color", "pipe"],
        ["restore", "pipe"],
        ["restore", "pipe", "a.png"],
        ["restore", "denoise-color", "/dev/zero"],
        ["restore", "denoise-color", "a.png", "--config", "pipe"],
        ["restore", "denoise-color", "a.png", "--config", "/dev/zero"],
        ["restore", "denoise-color", "a.png", "--out", "pipe"],
        ["inspect", "pipe"],
        ["inspect", "/dev/zero"],
        ["evaluate", "denoise-color", "--data", "pipe"],
        ["evaluate", "denoise-color", "--data", "/dev/zero"],
        ["evaluate", "pipe"],
        ["train", "--data", "pipe"],
        ["train", "--data", "/dev/zero"],
        ["train", "--init", "pipe"],
        ["train", "--config", "pipe"],
        ["shard", "pipe"],
        ["shard", "/dev/zero"],
        ["sample", "pipe"],
        ["edit", "pipe", "a.png"],
        ["edit", "model", "pipe"],
        ["edit", "model", "pipe:3"],
        ["edit", "model", "a.png", "--action", "inpaint", "--mask", "pipe"],
        ["export", "pipe"],
        ["benchmark", "--export", "pipe"],
        ["benchmark", "pipe", "--protocol", "jpeg", "--data", "d"],
    ],
)
def test_pipes_and_devices_are_refused_at_once(capsys, here, picture, pipe, words):
    started = time.monotonic()
    line = refuses(capsys, *words)
    assert any(text in line for text in ("is a pipe (FIFO)", "is a device", "is no file"))
    assert time.monotonic() - started < 5


def test_a_socket_is_named(capsys, here, picture):
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind("talk")
        assert "'talk' is a socket" in refuses(capsys, "restore", "denoise-color", "talk")


def test_pipes_in_lists_and_folders_cost_no_other_picture(capsys, here, picture, pipe):
    (here / "list.txt").write_text("a.png\npipe\n/dev/zero\n")
    code, out, _ = call(capsys, "restore", "denoise-color", "list.txt", "--out", "x")
    assert code == 1
    assert "pipe: is a pipe (FIFO): expected a picture file" in out
    assert "/dev/zero: is a device: expected a picture file" in out
    assert os.listdir(here / "x") == ["a.png"]
    (here / "in").mkdir()
    write_noise(here / "in" / "b.png")
    os.mkfifo(here / "in" / "c.png")
    call(capsys, "restore", "denoise-color", "in", "--out", "y")
    assert os.listdir(here / "y") == ["b.png"]


@pytest.mark.parametrize("file", ["manifest.json", "config.json", "saved_model.pb", "model.keras"])
def test_pipes_inside_a_model_folder_do_not_hang(capsys, here, picture, file):
    (here / "model").mkdir()
    os.mkfifo(here / "model" / file)
    started = time.monotonic()
    refuses(capsys, "inspect", "model")
    code, _, _ = call(capsys, "restore", "model", "a.png")
    assert code in (1, 2)
    assert time.monotonic() - started < 10


def test_a_folder_where_a_file_is_expected_is_one_line(capsys, here, picture):
    (here / "folder").mkdir()
    line = refuses(capsys, "restore", "denoise-color", "a.png", "--config", "folder")
    assert "config 'folder' cannot be read: Is a directory" in line
