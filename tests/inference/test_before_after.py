"""`restore --sheet`: pictures before and after, and where there is most to see."""

import pathlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fixtures.commands import does, refuses
from tests.fixtures.films import make_frames, write_film
from tests.fixtures.picture_folders import write_noise
from tf_deconv.images.files import Job
from tf_deconv.inference import before_after
from tf_deconv.inference.picture_job import FileOptions

SIDE = before_after._SIDE_PX


def picture(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("size", "edge"), [((600, 800), (290, 500)), ((600, 800), (0, 0)), ((600, 801), (599, 800))]
)
def test_the_part_with_most_to_see_is_shown(size, edge):
    before = picture(*size)
    before[edge] = 200
    before[300, 20] = 120  # Less.
    top, left = before_after._most_textured(before)
    assert top <= edge[0] < top + SIDE
    assert left <= edge[1] < left + SIDE
    assert 0 <= top <= size[0] - SIDE
    assert 0 <= left <= size[1] - SIDE


def test_sheets_of_two_strengths_show_the_same_place_and_short_names():
    before = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    after = [before.copy(), before.copy()]
    after[0][:300], after[1][300:] = 0, 0
    job = Job(pathlib.Path("in", "a" * 60 + ".png"), pathlib.Path("y"))
    one, other = (before_after._row(before, each, job)[1] for each in after)
    assert one == other
    assert one[0].startswith("aaa")
    assert one[0].endswith("a.png")
    assert "..." in one[0]
    assert len(one[0]) <= before_after._LONGEST_NAME


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (300, 5), (SIDE, SIDE), (SIDE + 1, SIDE + 9)])
def test_small_pictures_are_shown_whole_and_equal_ones_in_their_middle(size):
    before, after = picture(*size), picture(*size)
    expected = tuple(max(0, side - SIDE) // 2 for side in size)
    assert before_after._most_textured(before) == expected
    pictures, captions = before_after._row(before, after, Job(pathlib.Path("x"), pathlib.Path("y")))
    assert [shown.shape[1] for shown in pictures] == [SIDE] * 4
    assert len(captions) == 4


@pytest.mark.parametrize("count", [1, 11, 12, 13, 100])
def test_rows_are_taken_from_the_first_to_the_last(count):
    jobs = list(range(count))
    chosen = before_after._some(jobs, 12)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, count - 1, min(count, 12))
    assert len(set(chosen)) == len(chosen)


def write_pair(folder, name, save):
    """Writes a picture before and after, half as bright."""
    jobs = Job(folder / "in" / name, folder / "out" / name)
    for path, factor in ((jobs.source, 1), (jobs.target, 2)):
        path.parent.mkdir(exist_ok=True)
        save(path, factor)
    return jobs


def save_grey_of_12_bits(path, factor):
    tifffile.imwrite(path, np.full((30, 40), 4000 // factor, np.uint16))


def save_colour_of_16_bits(path, factor):
    tifffile.imwrite(path, np.full((30, 40, 3), 62_400 // factor, np.uint16), photometric="rgb")


def save_with_alpha(path, factor):
    pixels = np.full((30, 40, 4), 244 // factor, np.uint8)
    pixels[..., 3] = 255
    pixels[:5, :5, 3] = 0
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("grey.tif", save_grey_of_12_bits),
        ("colour.tif", save_colour_of_16_bits),
        ("alpha.png", save_with_alpha),
    ],
)
def test_both_are_shown_with_one_black_and_one_white(tmp_path, name, save):
    # By itself, what has at most 4095 would be taken for 12 bits, and the other one not.
    job = write_pair(tmp_path, name, save)
    before, after = before_after._read_pair(job, FileOptions())
    assert before.dtype == after.dtype == np.uint8
    assert before.shape == after.shape == (30, 40, 3)
    np.testing.assert_allclose(before[20, 20], 246, atol=4)
    np.testing.assert_allclose(after[20, 20], 122, atol=3)
    if name == "alpha.png":
        assert (before[0, 0] == 255).all()
        assert (after[0, 0] == 255).all()


@pytest.mark.parametrize(("suffix", "form"), [(".png", "PNG"), (".jpg", "JPEG")])
def test_the_sheet_of_many_pictures_says_how_many_it_shows(tmp_path, suffix, form):
    jobs, said = [], []
    for number in range(14):
        name = f"{number}.png"
        jobs.append(write_pair(tmp_path, name, lambda path, factor: write_noise(path, seed=factor)))
    jobs[-1].target.unlink()
    path = tmp_path / f"sheet{suffix}"
    before_after.write_sheet(path, jobs, FileOptions(), said.append)
    assert "13.png is not on the sheet: " in said[0]
    assert said[1:] == [f"sheet: {path} (11 of 14 pictures)"]
    with Image.open(path) as sheet:
        assert sheet.format == form
        assert sheet.width > 4 * SIDE


def test_a_restored_folder_gets_its_sheet_by_whatever_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        write_noise(tmp_path / "in" / f"{number}.png", seed=number)
    said = does(capsys, "restore", "super-resolve-x2", "in", "--sheet", "sheets/a.png")
    assert said.endswith("sheet: sheets/a.png (all pictures)\n")
    restored = (tmp_path / "restored" / "0.png").read_bytes()
    # Later too, without restoring anything anew.
    options = ("in", "--skip-existing", "--sheet", "b.jpg", "-q")
    assert does(capsys, "restore", "super-resolve-x2", *options) == ""
    assert (tmp_path / "b.jpg").exists()
    assert (tmp_path / "restored" / "0.png").read_bytes() == restored


@pytest.mark.parametrize(
    ("sheet", "said"),
    [
        ("a.gif", "--sheet a.gif: expected a file ending in .png, .jpg, .jpeg"),
        ("in/0.png", "--sheet in/0.png is one of the pictures"),
        ("restored/0.png", "--sheet restored/0.png is one of the pictures"),
        ("there.png", "--sheet there.png is there already: choose another --sheet"),
        ("folder.png", "--sheet folder.png is a folder"),
    ],
)
def test_a_sheet_takes_nobodys_place(capsys, tmp_path, monkeypatch, sheet, said):
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "in" / "0.png")
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "folder.png").mkdir()
    assert said in refuses(capsys, "restore", "in", "--sheet", sheet)
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert not (tmp_path / "restored").exists()


def test_films_stand_on_the_sheet_as_strips_of_what_was_read_and_written(tmp_path):
    pytest.importorskip("av")
    frames = make_frames(30, 90, 300)
    source = write_film(tmp_path / "in.mp4", frames, options={"crf": "1"})
    # What was written begins a second later, and is half as bright.
    target = write_film(tmp_path / "out.mkv", frames[25:] // 2, options={"crf": "1"})
    (before, texts), (after, under) = before_after._strip(Job(source, target), 1.0, 2**28)
    assert texts[0] == "in.mp4"
    assert under[0] == "after"
    assert [text.split("; ")[-1] for text in texts[1:]] == ["0.00 s", "0.08 s", "0.16 s"]
    for one, other in zip(before, after):
        assert one.shape == other.shape
        shown = one[:, : min(SIDE, 300)]
        assert np.abs(shown / 2 - other[:, : shown.shape[1]]).mean() < 0.02
    # The second and the third time show other frames than the first.
    assert np.abs(before[1] - before[2]).mean() > 0.01


def test_a_mixed_folder_shows_its_films_too(capsys, tmp_path, monkeypatch):
    # Of films nothing was said: they were not on the sheet.
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "in" / "a.png")
    for number in range(5):
        write_film(tmp_path / "in" / f"{number}.mp4", make_frames(3))
    said = does(capsys, "restore", "photo-small", "in", "--sheet", "a.png")
    assert said.endswith("sheet: a.png (all pictures and 4 of 5 films)\n")
    said = does(capsys, "restore", "photo-small", "in/0.mp4", "--sheet", "b.png", "--out", "b")
    assert said.endswith("sheet: b.png\n")
    with Image.open("a.png") as mixed, Image.open("b.png") as alone:
        assert mixed.width == alone.width
        assert mixed.height > 4 * (alone.height - 40)
