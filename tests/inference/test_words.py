"""`tf-deconv restore` without a model: which word is the model, and what is taken where none is."""

import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv import RestoreConfig, UserError
from tf_deconv.inference import shipped
from tf_deconv.inference.words import holds_model, split_words

SAID = "model: photo (another one: tf-deconv restore MODEL PICTURE)"


@pytest.fixture
def photo(stand_ins, here, monkeypatch):
    """The stand-ins, with one more that has the default model's name."""
    folder = shutil.copytree(stand_ins, here.parent / "with-photo")
    shutil.copytree(stand_ins / "denoise-color", folder / shipped.DEFAULT)
    monkeypatch.setenv(shipped.VARIABLE, str(folder))
    return folder / shipped.DEFAULT


def same(first, second):
    return first.read_bytes() == second.read_bytes()


def test_a_picture_alone_is_restored_by_photo_and_it_is_said(capsys, here, photo):
    write_noise(here / "a.png")
    out = does(capsys, "restore", "a.png")
    assert out.splitlines()[0].startswith("engine: TensorFlow, float32")
    assert out.splitlines()[1] == SAID
    assert out.splitlines()[2].startswith("[1/1] a.png")
    out = does(capsys, "restore", "photo", "a.png", "--out", "named")
    assert "model:" not in out
    assert same(here / "restored" / "a.png", here / "named" / "a.png")
    out = does(capsys, "restore", "photograph", "a.png", "--overwrite")
    assert "\nnote: model photograph" in out


def test_options_stand_anywhere_among_the_words(capsys, here, photo):
    for name in ("a.png", "b.png"):
        write_noise(here / name)
    assert SAID in does(capsys, "restore", "--out", "x", "a.png", "b.png")
    assert SAID in does(capsys, "restore", "a.png", "--out", "y", "b.png")
    assert SAID not in does(capsys, "restore", "denoise-color", "--out", "z", "a.png", "b.png")
    assert [len(os.listdir(here / folder)) for folder in "xyz"] == [2, 2, 2]


def test_folders_lists_and_shards_alone_are_pictures(capsys, here, photo):
    write_noise(here / "in" / "deep" / "a.png")
    (here / "list.txt").write_text("in/deep/a.png\n")
    tf_deconv.shard("in", out=str(here / "shards"), report=lambda line: None)
    for word in ("in", "list.txt", "shards"):
        assert SAID in does(capsys, "restore", word, "--out", f"out-{word}")
        assert len([*(here / f"out-{word}").rglob("a.png")]) == 1


def test_a_model_in_the_config_file_is_taken_where_no_word_names_one(capsys, here, photo):
    write_noise(here / "a.png")
    (here / "options.json").write_text('{"model": "denoise-grey"}')
    assert "model:" not in does(capsys, "restore", "--config", "options.json", "a.png")
    with Image.open(here / "restored" / "a.png") as image:
        assert image.mode == "L"


def test_what_lies_here_under_the_default_models_name_is_no_model(capsys, here, photo):
    # The folder would have been opened as the model, and every `restore a.png` beside it failed.
    write_noise(here / "photo" / "b.png")
    write_noise(here / "a.png")
    assert SAID in does(capsys, "restore", "a.png")
    out = does(capsys, "restore", "photo", "--out", "alone")
    assert SAID in out
    assert "note: photo: the file or folder of that name here is taken for pictures" in out
    assert os.listdir(here / "alone") == ["b.png"]
    out = does(capsys, "restore", "photo", "a.png", "--out", "named")
    assert "note: photo: the shipped model; what lies here under that name is ./photo" in out
    assert os.listdir(here / "named") == ["a.png"]
    does(capsys, "restore", "./photo", "a.png", "--out", "both")
    assert sorted(os.listdir(here / "both")) == ["a.png", "b.png"]


def test_python_takes_photo_where_no_model_is_named(capsys, here, photo):
    write_noise(here / "a.png")
    lines = []
    tf_deconv.restore(None, "a.png", report=lines.append)
    tf_deconv.restore(RestoreConfig(out="again"), ["a.png"], report=lines.append)
    assert lines.count(SAID) == 2
    with Image.open(here / "a.png") as image:
        restored = tf_deconv.load()(np.asarray(image))
    with Image.open(here / "again" / "a.png") as image:
        np.testing.assert_array_equal(image, restored)


def test_without_the_default_model_it_says_where_was_looked(capsys, here):
    write_noise(here / "a.png")
    message = refuses(capsys, "restore", "a.png")
    assert "shipped model 'photo' is not on this machine" in message
    with pytest.raises(UserError, match="'photo' is not on this machine"):
        tf_deconv.load()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "nothing to restore: name pictures or folders of them"),
        (["deblock"], "no picture: 'deblock' is the model; expected pictures"),
        (["run"], "no picture: 'run' is the model; expected pictures"),
        (["deblok", "x.jpg"], r"'deblok' does not exist (did you mean 'deblock'?): expected a run"),
        (["deblok"], "(did you mean 'deblock'?)"),
        (["missing.jpg"], "'missing.jpg' does not exist: expected pictures"),
        (["missing.jpg", "a.png"], "'missing.jpg' does not exist: expected pictures"),
        (["a.png", "missing.jpg"], "'missing.jpg' does not exist: expected pictures"),
        (["no/where"], "'no/where' does not exist: expected pictures, films, folders"),
        (["no/where", "a.png"], "'no/where' does not exist: expected a run folder"),
        (["empty"], "holds no picture"),
        (["weights.h5", "a.png"], "'weights.h5' is neither a picture, a film nor a model"),
        (["broken.keras", "a.png"], "'broken.keras' is not a model: expected a run folder"),
        (["x" * 300], "does not exist: expected a run folder"),
        (["y" * 300 + ".png"], "File name too long"),
    ],
)
def test_words_that_cannot_be_right_are_refused_in_one_line(capsys, here, photo, words, expected):
    write_noise(here / "a.png")
    (here / "empty").mkdir()
    (here / "run").mkdir()
    (here / "run" / "config.json").write_text('{"network": "unet"}')
    for name in ("weights.h5", "broken.keras"):
        (here / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    assert expected in refuses(capsys, "restore", *words)
    assert not (here / "restored").exists()


def test_a_damaged_picture_alone_is_a_picture(capsys, here, photo):
    (here / "a.jpg").write_bytes(b"no picture")
    code, out, _ = call(capsys, "restore", "a.jpg")
    assert code == 1
    assert re.search(r"^\[1/1\] \S+: FAILED: \S", out, re.M)
    assert "could not be restored" not in out  # The reason is said once.


def test_what_holds_a_model(here, run, exported, untrained):
    for path in (run.folder, run.folder / "model.keras", exported.folder, exported.folder / "1"):
        assert holds_model(path)
    assert holds_model(exported.tflite("float32"))
    assert holds_model(shutil.copy(untrained, here / "no-suffix"))
    # A folder of pictures may hold JSON of these names.
    write_noise(here / "in" / "a.png")
    write_noise(here / "in" / "2024" / "b.png")
    for name in ("config.json", "manifest.json"):
        (here / "in" / name).write_text('{"name": "holiday"}')
        assert not holds_model(here / "in")
        (here / "in" / name).write_text("[1")
        assert not holds_model(here / "in")
    assert not holds_model(here / "in" / "a.png")
    assert not holds_model(here / "nowhere")


def test_a_picture_without_a_suffix_is_one(here):
    write_noise(here / "a.png").rename(here / "IMG 1")
    assert split_words(["IMG 1", "b.png"]) == (None, ["IMG 1", "b.png"])


def test_words_are_split_without_tensorflow(run_python, here):
    write_noise(here / "a.png")
    code = (
        "import sys\n"
        "from tf_deconv.cli.main import main\n"
        "codes = [main(['restore', *words.split()]) for words in sys.argv[1:]]\n"
        "assert set(codes) == {2}, codes\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    strengths = ("-1", "2.5", "nan", "much")
    run_python(code, "deblok a.png", "deblock", *(f"a.png --strength {s}" for s in strengths))
