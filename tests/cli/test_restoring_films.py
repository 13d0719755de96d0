"""`restore` of films as it is typed, through a shipped model."""

import os

import numpy as np
import pytest

import tf_deconv
from tests.fixtures.commands import call, does, fails, refuses
from tests.fixtures.films import make_frames, stamps, write_film
from tests.fixtures.picture_folders import write_noise
from tf_deconv.inference import film_sinks
from tf_deconv.utils import locks
from tf_deconv.video import reading

pytest.importorskip("av")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a noisy film, in which the command is called."""
    monkeypatch.chdir(tmp_path)
    clean = make_frames(6)
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    noisy = (clean + noise).clip(0, 255).astype(np.uint8)
    write_film(tmp_path / "in" / "film.mp4", noisy, sound="aac", options={"crf": "4"})
    return tmp_path


def frames_of(path):
    return np.stack([frame.pixels for frame in reading.frames(path)])


def distance(frames, others):
    """Returns the root of the mean square of differences, in grey levels."""
    return np.sqrt(np.mean((frames.astype(float) - others) ** 2))


def test_a_film_is_restored_under_its_name(capsys, here):
    out = does(capsys, "restore", "photo-small", "in/film.mp4")
    assert "[1/1] in/film.mp4 -> restored/film.mp4  6 frames, " in out
    noisy, restored = frames_of("in/film.mp4"), frames_of("restored/film.mp4")
    # Each frame is what the model makes of it, but for what H.264 at crf 17 loses.
    model = tf_deconv.load("photo-small")
    assert distance(restored, np.stack([model(frame) for frame in noisy])) < 5
    clean = make_frames(6)
    assert distance(restored, clean) < 0.8 * distance(noisy, clean)
    assert stamps("restored/film.mp4") == stamps("in/film.mp4")
    assert "there already, 'restored/film.mp4'" in refuses(
        capsys, "restore", "photo-small", "in/film.mp4"
    )
    out = does(capsys, "restore", "photo-small", "in/film.mp4", "--skip-existing")
    assert out == "1 film is there already and was skipped\n"


def test_a_dry_run_tells_what_a_film_is(capsys, here):
    out = does(capsys, "restore", "photo-small", "in/film.mp4", "--dry-run", "-o", "x.mkv")
    assert "in/film.mp4 (MP4, h264, 64x48, 25 frames/s, 0.3 s; written in h264" in out
    assert "h264 crf 17) -> x.mkv\n" in out
    assert out.endswith("dry run: 1 film would be written; nothing was\n")
    assert os.listdir(here) == ["in"]


def test_a_folder_of_pictures_and_films_is_restored_as_both(capsys, here):
    write_noise(here / "in" / "a.png")
    out = does(capsys, "restore", "photo-small", "in")
    assert "in/film.mp4 -> restored/film.mp4" in out
    assert sorted(os.listdir(here / "restored")) == ["a.png", "film.mp4"]


def test_a_gif_is_an_animation_or_a_film_where_a_film_is_asked_for(capsys, here):
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in make_frames(4)]
    pictures[0].save("a.gif", save_all=True, append_images=pictures[1:], duration=40)
    does(capsys, "restore", "photo-small", "a.gif", "-o", "one")
    assert os.listdir("one") == ["a.png"]
    does(capsys, "restore", "photo-small", "a.gif", "-o", "a.mp4")
    assert len(list(reading.frames("a.mp4"))) == 4
    does(capsys, "restore", "photo-small", "a.gif", "-o", "two", "--start", "0.04")
    assert os.listdir("two") == ["a.mp4"]
    assert len(list(reading.frames("two/a.mp4"))) == 3


def test_pictures_instead_of_a_film(capsys, here):
    does(capsys, "restore", "photo-small", "in/film.mp4", "--frames", "p", "--format", "jpeg")
    assert sorted(os.listdir("p")) == [*(f"{n:06d}.jpg" for n in range(1, 7)), "frames.csv"]
    assert sorted(os.listdir(here)) == ["in", "p"]
    assert "'p' holds something already" in refuses(
        capsys, "restore", "photo-small", "in/film.mp4", "--frames", "p"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--codec", "h26"], "--codec h26 (did you mean 'h264'?): expected h264, hevc, av1"),
        (["--codec", "vp8"], "MP4 does not hold vp8: expected --codec h264, hevc"),
        (["--crf", "60"], "--crf 60: expected 0 to 51 of h264, 0 the best"),
        (["--codec", "ffv1", "--crf", "3", "-o", "x.mkv"], "--crf 3: ffv1 has none"),
        (["--start", "1"], "--start 1 is behind its end, 0.2"),
        (["--start", "1:x"], "--start 1:x: expected seconds such as 90.5, or a time such as 1:30"),
        (["--duration", "0"], "--duration 0: expected more than 0 seconds"),
        (["--max-pixels", "100"], "has frames of 64x48 pixels: more than --max-pixels 100"),
        (["--format", "png"], "--format png with films alone: leave it out"),
        (["--sheet", "s.png", "--frames", "p"], "--sheet s.png with --frames p: leave it out"),
        (
            ["-o", "x.webp"],
            "and 'in/film.mp4' is a film: expected a folder, or a file ending in .mp4",
        ),
        (["-o", "x.mpg"], "--out x.mpg: no .mpg file can be written; expected a folder, a film"),
        (
            ["-o", "x.gif"],
            "no .gif file can be written; expected a folder, a picture ending in .png",
        ),
        (["--frames", "in/film.mp4/p"], "cannot be written: choose another --frames"),
        (["--frames", "p", "--codec", "h264"], "--codec h264 with --frames p: leave it out"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(capsys, here, options, said):
    assert said in refuses(capsys, "restore", "photo-small", "in/film.mp4", *options)
    assert os.listdir(here) == ["in"]


def test_parts_that_cannot_be_gone_on_with_are_refused_before_any_work(capsys, here, monkeypatch):
    # These were failures of a film, code 1, though nothing is wrong with it.
    command = ("restore", "photo-small", "in/film.mp4", "--resume", "-o", "x.mp4")
    monkeypatch.setattr(film_sinks, "PART_FRAMES", 3)
    with monkeypatch.context() as stopped:
        stopped.setattr(film_sinks, "join", _stop)
        assert call(capsys, *command)[0] == 130
    assert len(list((here / "x.mp4.parts").glob("*.nut"))) == 2
    before = sorted((here / "x.mp4.parts").iterdir())
    line = fails(capsys, *command, "--strength", "0.5", "--crf", "30")
    assert "'x.mp4.parts' holds parts that were made with another --strength (1.0, now 0.5)" in line
    assert ", quality (crf 17, now crf 30): give the same again, or remove that folder, or" in line
    assert "parts that were made with another" in fails(
        capsys, *command, "--duration", "0.1", "--dry-run"
    )
    status = os.stat("in/film.mp4")
    os.utime("in/film.mp4", ns=(status.st_atime_ns, status.st_mtime_ns - 10**9))
    assert "another state of the source, which was changed since: give" in fails(capsys, *command)
    os.utime("in/film.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
    with locks.held(here / "x.mp4.parts" / "lock", "", ""):
        assert "'x.mp4.parts' is in use by process" in fails(capsys, *command)
    assert sorted((here / "x.mp4.parts").iterdir()) == before
    assert "0 frames and 6 from before" in does(capsys, *command)
    (here / "y.mp4.parts").touch()
    assert "holds no parts of a film" in fails(capsys, *command[:-1], "y.mp4")


def _stop(*arguments):
    raise KeyboardInterrupt


def test_what_only_the_model_tells_is_refused_before_any_work(capsys, here):
    assert "frames of 64x48 become 128x96: more than --max-pixels 4000" in fails(
        capsys, "restore", "super-resolve-x2", "in/film.mp4", "--max-pixels", "4000"
    )
    assert os.listdir(here) == ["in"]


def test_a_part_that_has_sound_alone_is_refused(capsys, here):
    write_film(here / "long.mkv", sound="aac", ticks=[0, 1, 2, 3, 4, 5, 6, 50])
    with reading.open_film(here / "long.mkv") as film:
        assert film.duration_s > 2.06
    assert "--start 2.05: no frame is there that can be decoded; expected another part of its" in (
        refuses(capsys, "restore", "photo-small", "long.mkv", "--start", "2.05")
    )


def test_a_picture_is_no_film(capsys, here):
    write_noise(here / "a.png")
    assert "is named as a film, and 'a.png' is a picture" in refuses(
        capsys, "restore", "photo-small", "a.png", "-o", "x.mp4"
    )
    assert "'a.png' is a picture; expected films alone" in refuses(
        capsys, "restore", "photo-small", "a.png", "--frames", "p"
    )
    assert "--codec hevc with pictures alone: leave it out" in refuses(
        capsys, "restore", "photo-small", "a.png", "--codec", "hevc"
    )
    (here / "words.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    assert "words.mp4: is no film: expected a file that begins as" in fails(
        capsys, "restore", "photo-small", "words.mp4"
    )


def test_of_a_film_that_breaks_off_the_code_is_1(capsys, here):
    content = (here / "in" / "film.mp4").read_bytes()
    film = write_film(here / "long.mkv", make_frames(50), options={"g": "5", "bf": "0"})
    content = film.read_bytes()
    film.write_bytes(content[: len(content) // 2])
    code, out, _ = call(capsys, "restore", "photo-small", "long.mkv")
    assert code == 1
    assert "DAMAGED: it breaks off at" in out
    assert "what could be decoded is restored" in out
    assert len(list(reading.frames("restored/long.mkv"))) > 10
