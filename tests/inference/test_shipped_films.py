"""The shipped model of films: better than `photo` frame by frame, steadier, and whole."""

import json

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures import commands
from tests.fixtures.films import write_film
from tf_deconv.data.clips import degrade_clip
from tf_deconv.degradations.tasks import Task
from tf_deconv.evaluation.flicker import Flicker
from tf_deconv.exporting.web import ready
from tf_deconv.images import arrays, metrics
from tf_deconv.inference import shipped

NAME = "video"
FRAMES, SIDE = 10, 128


@pytest.fixture(scope="module")
def model():
    return tf_deconv.load_video(NAME)


@pytest.fixture(scope="module")
def clean(unseen):
    """A photograph of which the left half stands still and the right half glides by."""
    photo = unseen["chelsea"]
    still = photo[40 : 40 + SIDE, 60 : 60 + SIDE]
    frames = []
    for number in range(FRAMES):
        frame = still.copy()
        at = 160 + 2 * number
        frame[:, SIDE // 2 :] = photo[100 : 100 + SIDE, at : at + SIDE // 2]
        frames.append(frame)
    return np.stack(frames).astype(np.float32) / 255


@pytest.fixture(scope="module")
def noisy(clean):
    return degrade_clip(arrays.to_uint8(clean), Task("", "noise:30"), 1)[0]


def restore(model, clip):
    stream = model.begin(*clip.shape[1:3])
    return np.stack([stream.restore(frame) for frame in clip])


def scores(restored, clean):
    flicker = Flicker()
    for pair in zip(restored, clean):
        flicker.add(*pair)
    return np.mean([metrics.psnr_db(*pair) for pair in zip(restored, clean)]), flicker.result()


def test_it_is_better_and_steadier_than_a_picture_at_a_time(model, clean, noisy):
    by_frame = tf_deconv.load("photo")
    alone, alone_flicker = scores(np.clip([by_frame(frame) for frame in noisy], 0, 1), clean)
    found, flicker = scores(np.clip(restore(model, noisy), 0, 1), clean)
    assert found >= alone + 0.8
    assert flicker <= 0.5 * alone_flicker


def test_a_hand_that_holds_the_camera_does_it_no_harm(model, unseen):
    photo = Image.fromarray(unseen["chelsea"])
    places = [(60 + 9.3 * np.sin(n), 40 + 4.7 * n) for n in range(FRAMES)]
    boxes = [(left, top, left + SIDE, top + SIDE) for left, top in places]
    clean = [photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box) for box in boxes]
    clean = np.stack([np.asarray(frame, np.float32) for frame in clean]) / 255
    # Brightness falls, as when a lamp comes into view.
    clean *= np.linspace(0.95, 0.75, FRAMES, dtype=np.float32)[
        :, np.newaxis, np.newaxis, np.newaxis
    ]
    noisy = degrade_clip(arrays.to_uint8(clean), Task("", "noise:30"), 1)[0]
    by_frame = tf_deconv.load("photo")
    alone, _ = scores(np.clip([by_frame(frame) for frame in noisy], 0, 1), clean)
    found, _ = scores(np.clip(restore(model, noisy), 0, 1), clean)
    assert found >= alone + 0.8


def test_what_moves_leaves_no_trail(model, clean, noisy):
    # Where all has changed the past is worth nothing: a cut must not shine through.
    other = noisy[::-1, ::-1].copy()
    after = restore(model, np.concatenate([noisy[:6], other[:1]]))[-1]
    fresh = restore(model, other[:1])[0]
    target = clean[::-1, ::-1][0]
    assert metrics.psnr_db(np.clip(after, 0, 1), target) >= (
        metrics.psnr_db(np.clip(fresh, 0, 1), target) - 0.5
    )


def test_a_grey_film_stays_exactly_grey_and_a_flat_one_flat(model):
    level = np.full((4, 48, 64, 3), 0.25, np.float32)
    assert np.abs(restore(model, level) - level).max() <= 0.5 / 255
    grey = np.random.default_rng(0).integers(0, 255, (3, 48, 64, 1), np.uint8).repeat(3, -1)
    restored = restore(model, grey)
    np.testing.assert_array_equal(restored, restored[..., :1].repeat(3, -1))


def test_every_file_gives_the_same_film(model, noisy):
    folder = shipped.find(NAME)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["license"].startswith("of the weights: CC0-1.0")
    files = [entry["file"] for entry in manifest["files"]]
    variants = ("float32", "float16", "int8")
    assert files == ["1/", *(f"tflite/{NAME}-{variant}.tflite" for variant in variants)]
    # Every operator is known to `versions`; of another one it is the converter's own TensorFlow.
    assert [each["least_runtime"] for each in manifest["files"][1:]] == ["2.1.0", "2.1.0", "2.4.0"]
    # As large as a signature: a smaller frame is mirrored up to one, which its border shows.
    film = np.pad(noisy[:4], ((0, 0), (0, SIDE), (0, SIDE), (0, 0)), "symmetric")
    expected = restore(tf_deconv.load_video(NAME, engine="tensorflow"), film)
    for file, floor_db in zip(files[1:], (120, 120, 40)):
        found = restore(tf_deconv.load_video(folder / file), film)
        assert metrics.psnr_db(found, expected) >= floor_db
    # The web page runs it.
    assert ready.choose_file(manifest) is not None


def test_a_film_without_a_models_name_is_told_of_it(capsys, tmp_path):
    pytest.importorskip("av")
    film, out = tmp_path / "film.mp4", tmp_path / "out"
    write_film(film)
    told = commands.does(capsys, "restore", film, "--dry-run", "--out", out)
    assert f"note: {NAME} is made for films" in told
    told = commands.does(capsys, "restore", NAME, film, "--dry-run", "--out", out)
    assert "is made for films" not in told
