"""Generation over time: an interpolation, and the way from noise to pictures, as films."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import tiny_generators
from tests.fixtures.commands import does, fails, refuses
from tests.fixtures.films import stamps
from tf_deconv import api
from tf_deconv.generation import editing, generator
from tf_deconv.generation.opening import open_generator
from tf_deconv.images import arrays, sheets
from tf_deconv.video import making, reading
from tf_deconv.video.codecs import CODECS
from tf_deconv.video.containers import CONTAINER_OF, CONTAINERS

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write = tiny_generators.write
    return {
        "vae": write(folder / "vae.keras", "vae"),
        "colour": write(folder / "colour.keras", "vae", channels=3),
        "flow": write(folder / "flow.keras", "flow", classes=3),
    }


@pytest.fixture
def pair(tmp_path):
    folder = tmp_path / "pair"
    folder.mkdir()
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return [folder / "a.png", folder / "b.png"]


def shown(path):
    return [frame.pixels for frame in reading.frames(path)]


def tree(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", sorted({entry.name for entry in CONTAINER_OF.values()}))
def test_frames_are_a_film_of_any_container(tmp_path, rng, name):
    path = tmp_path / f"x{CONTAINERS[name].suffixes[0]}"
    pictures = rng.integers(0, 256, (6, 8, 8, 3), np.uint8)
    making.write(path, making.plan(path, 25), pictures.repeat(16, 1).repeat(16, 2))
    found = shown(path)
    assert [each.shape for each in found] == [(128, 128, 3)] * 6
    # MPEG-TS begins where its clock stands; Matroska rounds to milliseconds.
    times = stamps(path)
    assert [round(25 * (each - times[0])) for each in times] == list(range(6))
    # Within a pixel of a picture: at its borders the encoder rings.
    middles = np.stack(found).reshape(6, 8, 16, 8, 16, 3)[:, :, 4:12, :, 4:12].mean((2, 4))
    assert np.abs(middles - pictures).mean() < 2


@pytest.mark.parametrize("codec", CODECS)
def test_frames_are_a_film_in_every_codec(tmp_path, codec):
    # MJPEG's encoder refused the narrow range, after all pictures were made.
    container = next(each for each in CONTAINER_OF.values() if codec in each.codecs)
    path = tmp_path / f"x{container.suffixes[0]}"
    levels = np.array([20, 90, 160, 230], np.uint8)
    making.write(path, making.plan(path, 25, codec), levels.repeat(64 * 64).reshape(4, 64, 64, 1))
    found = np.stack(shown(path))
    assert len(found) == 4
    # ProRes has 10 bits.
    shares = found / np.iinfo(found.dtype).max
    assert np.abs(shares - levels[:, None, None, None] / 255).max() < 4 / 255


def test_an_interpolation_goes_there_and_back(capsys, tmp_path, models, pair):
    film = tmp_path / "new" / "way.mp4"
    # A rate that a GIF has not.
    options = ("--action", "interpolate", "--frames", 4, "--frame-rate", 60, "--out", film)
    out = does(capsys, "edit", models["colour"], *pair, *options)
    assert "6 frames, h264 crf 17, 60 frames/s" in out
    assert tree(film.parent) == [film.name]
    opened = open_generator(models["colour"])
    ends = np.stack([arrays.to_float(np.asarray(Image.open(path))) for path in pair])
    way = arrays.to_uint8(editing.interpolate(opened, ends, frames=4))
    for frame, number in zip(shown(film), (0, 1, 2, 3, 2, 1), strict=True):
        means = frame.reshape(8, 100, 8, 100, 3).mean((1, 3))
        assert np.abs(means - way[number]).max() < 4


def test_a_film_without_loss_holds_the_pictures_of_the_way_exactly(tmp_path, models, pair):
    film = tmp_path / "way.mkv"
    result = api.edit(
        str(models["colour"]),
        pair,
        action="interpolate",
        one_way=True,
        frames=3,
        codec="ffv1",
        frame_rate=2,
        out=str(film),
        report=lambda line: None,
    )
    assert result.files == (film,)
    wanted = arrays.to_uint8(result.edited).repeat(100, 1).repeat(100, 2)
    # The last one stays for a second and a half.
    assert np.array_equal(shown(film), wanted[[0, 1, 2, 2, 2, 2]])
    assert stamps(film) == [Fraction(n, 2) for n in range(6)]


def test_a_path_is_a_film_from_noise_to_pictures(capsys, tmp_path, models):
    film = tmp_path / "path.mp4"
    options = ("--count", 3, "--steps", 4, "--seed", 5, "--frame-rate", 10, "--out", film)
    out = does(capsys, "sample", models["flow"], *options)
    assert "20 frames, h264 crf 17, 10 frames/s" in out
    assert tree(tmp_path) == ["path.mp4"]
    found = shown(film)
    assert len(found) == 5 + 15
    made = generator.sample(open_generator(models["flow"]), 3, 5, steps=4)
    scale = 24
    wanted = sheets.grid(made, 3, scale=scale)
    assert found[0].shape == wanted.shape
    assert np.abs(found[-1].astype(int) - wanted).mean() < 1.5
    assert np.abs(found[4].astype(int) - found[-1]).mean() < 1.5
    assert np.abs(found[0].astype(int) - wanted).mean() > 20


def test_of_many_pictures_the_film_shows_the_first_ones_and_says_so(capsys, tmp_path, models):
    options = ("--count", 50, "--steps", 1, "--solver", "euler", "--out", tmp_path / "path.gif")
    out = does(capsys, "sample", models["flow"], *options)
    assert "note: the film shows 36 of 50 pictures, the first ones" in out
    with Image.open(tmp_path / "path.gif") as image:
        assert image.n_frames == 2


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("sample", ("vae", "-o", "x.mp4"), "a VAE makes its pictures in one step"),
        ("sample", ("flow", "-o", "x.mp4", "--gif"), "--gif with --out"),
        ("sample", ("flow", "-o", "x.mpg"), "no .mpg file can be written; expected a folder, or"),
        ("sample", ("flow", "-o", "x.mxf"), "no .mxf file can be written; expected a folder, or"),
        ("sample", ("vae", "-o", "x.png"), "no .png file can be written; expected a folder, or"),
        (
            "sample",
            ("flow", "-o", "x.webm", "--codec", "h264"),
            "WebM does not hold h264: expected --codec vp9, av1, vp8",
        ),
        ("sample", ("flow", "-o", "x.mkv", "--codec", "ffv1", "--crf", 3), "ffv1 has none"),
        ("sample", ("flow", "-o", "x.mkv", "--codec", "vp10"), "did you mean 'vp9'?"),
        (
            "sample",
            ("flow", "-o", "x.ts", "--codec", "mpeg2", "--frame-rate", 13),
            "--frame-rate 13: mpeg2 is not written at this rate; expected 24, 25, 30, 50 or 60",
        ),
        ("sample", ("flow", "-o", "x.gif", "--crf", 3), "--crf 3 with --out x.gif"),
        ("sample", ("flow", "-o", "x.gif", "--frame-rate", 60), "expected at most 50 of a GIF"),
        ("edit", ("flow", "a.png", "-o", "x.mp4"), "a film is made of interpolate alone"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    capsys, tmp_path, monkeypatch, models, pair, command, options, message
):
    monkeypatch.chdir(pair[0].parent)
    kind, *rest = options
    assert message in refuses(capsys, command, models[kind], *rest)
    assert tree(pair[0].parent) == ["a.png", "b.png"]


def test_a_full_disk_leaves_the_film_that_was_there(capsys, tmp_path, monkeypatch, models):
    film = tmp_path / "path.mp4"
    film.write_bytes(b"before")

    def full(self, frame):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making.FilmWriter, "encode", full)
    line = fails(capsys, "sample", models["flow"], "--steps", 1, "--out", film)
    assert f"'{film}' cannot be written: No space left on device; make room" in line
    assert film.read_bytes() == b"before"
    assert tree(tmp_path) == ["path.mp4"]


def test_a_folder_named_like_a_film_is_a_folder(capsys, tmp_path, models):
    folder = tmp_path / "x.mp4"
    folder.mkdir()
    does(capsys, "sample", models["vae"], "--count", 1, "--out", folder)
    assert "sample-0000.png" in tree(folder)


def test_an_odd_size_is_said(tmp_path):
    plan = making.plan(tmp_path / "x.mp4", 25)
    frames = np.full((3, 33, 35, 1), 90, np.uint8)
    (note,) = making.write(tmp_path / "x.mp4", plan, frames)
    assert "35x33 became 36x34" in note
    assert np.abs(np.stack(shown(tmp_path / "x.mp4")).astype(int) - 90).max() < 3


@pytest.mark.parametrize("rate", [23.976, 29.97, 59.94])
def test_rates_of_television_are_exact(tmp_path, rate):
    plan = making.plan(tmp_path / "x.ts", rate, "mpeg2")
    assert plan.rate == Fraction(round(rate) * 1000, 1001)


@pytest.mark.parametrize("rate", [0.5, 12.5, 23.976, 29.97, 30, 120])
def test_a_film_has_the_rate_that_was_asked_for(tmp_path, rate):
    for suffix in (".mp4", ".avi"):
        path = tmp_path / f"x{suffix}"
        making.write(path, making.plan(path, rate), np.zeros((4, 16, 16, 3), np.uint8))
        times = stamps(path)
        steps = [float(b - a) for a, b in itertools.pairwise(times)]
        np.testing.assert_allclose(steps, 1 / rate, rtol=1e-3)
