"""Clips: made of pictures, or cut out of films and sequences of frames that stay on disk."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.fixtures import films as film_files
from tests.fixtures.picture_folders import make_pictures, write
from tf_deconv.data import clips, films, motion
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations.tasks import find_task
from tf_deconv.utils.options import UserError

SIDE, FRAMES = 32, 6


def texture(height=120, width=160, seed=0):
    """Returns a picture with detail at all sizes, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(
                rng.integers(0, 256, (height // step, width // step, 3), np.uint8)
            ).resize((width, height), Image.Resampling.BICUBIC),
            np.float32,
        )
        for step in (2, 8, 30)
    ]
    return np.rint(np.mean(layers, axis=0)).astype(np.uint8)


@pytest.fixture(scope="module")
def moving():
    return motion.MovingPictures(
        PictureStore.of((f"picture {seed}", texture(seed=seed)) for seed in range(6))
    )


@pytest.fixture
def plain(monkeypatch):
    """Nothing but the camera: no objects, no blur, no change of brightness, no cuts."""
    for name in ("OBJECT_SHARE", "BLUR_SHARE", "EXPOSURE_SHARE", "CUT_SHARE"):
        monkeypatch.setattr(motion, name, 0.0)


def only(monkeypatch, name):
    for other in ("OBJECT_SHARE", "BLUR_SHARE", "EXPOSURE_SHARE", "CUT_SHARE"):
        monkeypatch.setattr(motion, other, 1.0 if other == name else 0.0)


def changes(clip):
    """Returns the mean change from each frame to the next, in grey levels."""
    return np.abs(np.diff(clip.astype(float), axis=0)).mean((1, 2, 3))


def test_a_clip_is_a_function_of_its_key(moving):
    for number in range(12):
        clip = moving.clip((1, 2, number), FRAMES, SIDE)
        assert clip.shape == (FRAMES, SIDE, SIDE, 3)
        assert clip.dtype == np.uint8
        np.testing.assert_array_equal(moving.clip((1, 2, number), FRAMES, SIDE), clip)
        assert (moving.clip((1, 3, number), FRAMES, SIDE) != clip).any()


@pytest.mark.parametrize("camera", motion.CAMERAS)
def test_cameras_move_but_for_the_one_on_a_tripod(camera, moving, plain):
    moved = [
        changes(moving.clip_of(number % 6, (number, 0), camera, FRAMES, SIDE))
        for number in range(8)
    ]
    assert (np.max(moved, axis=1) > 0).all() == (camera != "still")
    assert (np.max(moved) == 0) == (camera == "still")


def test_a_pan_shows_the_picture_itself_moved_by_parts_of_a_pixel(moving, plain, monkeypatch):
    monkeypatch.setattr(moving, "speeds_px", (0.5, 0.5))
    clip = moving.clip_of(0, (4, 0), "pan", 3, SIDE).astype(float)
    # Half a pixel a frame: two frames later it is one pixel, in some direction.
    spectra = [np.fft.fft2(frame[..., 1]) for frame in (clip[0], clip[2])]
    window = np.outer(np.hanning(SIDE), np.hanning(SIDE))
    spectra = [np.fft.fft2((frame[..., 1] - 128) * window) for frame in (clip[0], clip[2])]
    cross = spectra[0] * np.conj(spectra[1])
    peak = np.unravel_index(np.argmax(np.fft.ifft2(cross / np.abs(cross)).real), (SIDE, SIDE))
    distance = np.hypot(*(min(place, SIDE - place) for place in peak))
    assert 0.5 < distance < 1.6


def test_frames_are_as_sharp_as_the_picture_made_as_small(moving, plain):
    # Sampled from a larger original: no frame is blurrier than the next, as if it had been resized.
    sharp = []
    for number in range(10):
        clip = moving.clip_of(0, (number, 5), "pan", 8, SIDE).astype(float)
        detail = np.abs(np.diff(clip, axis=2)).mean((1, 2, 3))
        sharp.append(detail.min() / detail.max())
    assert np.median(sharp) > 0.8


def test_objects_move_before_a_background_that_does_not(moving, monkeypatch):
    only(monkeypatch, "OBJECT_SHARE")
    monkeypatch.setattr(moving, "speeds_px", (3.0, 3.0))
    seen = 0
    for number in range(8):
        clip = moving.clip_of(number % 6, (number, 1), "still", FRAMES, SIDE)
        moved = (clip[1:] != clip[:-1]).any((0, 3)).mean()
        seen += 0.02 < moved < 0.98
    assert seen >= 6


def test_an_open_shutter_blurs_what_moves(moving, monkeypatch):
    monkeypatch.setattr(moving, "speeds_px", (5.0, 5.0))
    detail = {}
    for name in ("none", "BLUR_SHARE"):
        only(monkeypatch, name)
        made = [moving.clip_of(n % 6, (n, 2), "pan", 4, SIDE).astype(float) for n in range(6)]
        detail[name] = np.mean(
            [np.abs(np.diff(clip, axis=axis)).mean() for clip in made for axis in (1, 2)]
        )
    assert detail["BLUR_SHARE"] < 0.9 * detail["none"]


def test_brightness_changes_over_a_clip_and_a_cut_shows_another_scene(moving, monkeypatch):
    only(monkeypatch, "EXPOSURE_SHARE")
    means = [moving.clip_of(0, (n, 3), "still", 8, SIDE).mean((1, 2, 3)) for n in range(8)]
    assert np.median([each.max() / each.min() for each in means]) > 1.05
    only(monkeypatch, "CUT_SHARE")
    cut = [changes(moving.clip_of(0, (n, 3), "still", 8, SIDE)) for n in range(8)]
    assert np.median([each.max() / np.median(each + 1) for each in cut]) > 5


@pytest.mark.parametrize("size", [(32, 32), (33, 100), (40, 34)])
def test_pictures_hardly_larger_than_a_clip_have_room_for_every_camera(size, monkeypatch):
    monkeypatch.setattr(motion, "EXPOSURE_SHARE", 0.0)
    store = motion.MovingPictures(PictureStore.of([("small", 155 + texture(*size) // 3)]))
    for camera in motion.CAMERAS:
        for number in range(6):
            clip = store.clip_of(0, (number,), camera, 9, SIDE)
            assert clip.shape == (9, SIDE, SIDE, 3)
            # Outside a picture there would be black.
            assert clip.min() > 120


def test_of_several_places_the_one_with_most_detail_is_taken():
    picture = np.full((200, 200, 3), 128, np.uint8)
    picture[:60] = texture(60, 200)
    store = motion.MovingPictures(PictureStore.of([("half sky", picture)]))
    detail = [
        np.mean([store.clip((n,), 2, SIDE, candidates).std() for n in range(12)])
        for candidates in (1, 6)
    ]
    assert detail[1] > 1.5 * detail[0]


def test_pictures_of_16_bits_become_clips_by_their_levels():
    picture = texture().astype(np.uint16) * 257
    eight = motion.MovingPictures(PictureStore.of([("p", texture())]))
    sixteen = motion.MovingPictures(PictureStore.of([("p", picture)]))
    np.testing.assert_array_equal(sixteen.clip((3,), 4, SIDE), eight.clip((3,), 4, SIDE))


# --- Batches.


def batches(store, count, chain="noise:5-50", task="denoise", **options):
    made = clips.training_clips(
        store,
        find_task(task, chain),
        **{
            **dict(frames=3, patch_size=16, batch_size=4, steps_per_epoch=2, seed=3),
            **options,
        },
    )
    return [[each.numpy() for each in batch] for batch in made.take(count)]


def test_a_resumed_run_and_a_share_of_a_batch_see_the_clips_of_the_whole(moving):
    whole = batches(moving, 4, brightness=0.5, grey=0.3)
    options = dict(brightness=0.5, grey=0.3)
    resumed = batches(moving, 2, first_epoch=1, **options)
    shares = [batches(moving, 4, part=part, parts=2, **options) for part in (0, 1)]
    for side in (0, 1):
        for own, expected in zip(resumed, whole[2:]):
            np.testing.assert_array_equal(own[side], expected[side])
        for number, expected in enumerate(whole):
            together = np.concatenate([share[number][side] for share in shares])
            np.testing.assert_array_equal(together, expected[side])
    assert whole[0][0].shape == (4, 3, 16, 16, 3)
    assert (whole[0][1] != whole[2][1]).any()


def test_a_share_of_clips_is_grey_all_through(moving):
    made = [clip for batch in batches(moving, 6, grey=0.5) for clip in zip(*batch)]
    grey = [[(side == side[..., :1]).all() for side in pair] for pair in made]
    assert all(one == other for one, other in grey)
    assert 4 <= sum(one for one, _ in grey) <= 20


def test_clips_of_a_task_that_enlarges_are_small_in_and_large_out(moving):
    degraded, clean = batches(moving, 1, None, "super-resolve-x2")[0]
    assert degraded.shape == (4, 3, 8, 8, 3)
    assert clean.shape == (4, 3, 16, 16, 3)


def test_fixed_clips_are_those_of_no_epoch_and_the_same_each_time(moving):
    task = find_task("denoise", "noise:20")
    options = dict(frames=5, patch_size=16, count=3, seed=3)
    degraded, clean = clips.fixed_clips(moving, task, **options)
    assert degraded.shape == clean.shape == (3, 5, 16, 16, 3)
    np.testing.assert_array_equal(clips.fixed_clips(moving, task, **options)[0], degraded)
    trained = np.concatenate([batch[1] for batch in batches(moving, 2, frames=5)])
    assert not any((clip == other).all() for clip in clean for other in trained)


def test_pictures_are_held_out_whole(tmp_path):
    data = write(tmp_path, make_pictures(20, side=24))
    source = clips.load_clips(str(data), 3, 16, 0.3)
    assert set(source.training.names).isdisjoint(source.validation.names)
    assert len(source.training) + len(source.validation) == 20


@pytest.mark.parametrize(("name", "self_supervised"), [("paired", False), ("denoise", True)])
def test_tasks_that_have_no_clips_are_refused(name, self_supervised):
    with pytest.raises(UserError, match="on clips: expected"):
        clips.check_task(name, find_task(name, None, self_supervised))
    clips.check_task("denoise", find_task("denoise"))


# --- Films and sequences on disk.


@pytest.fixture(scope="module")
def film_folder(tmp_path_factory):
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("films")
    for number, suffix in enumerate((".mp4", ".mkv", ".avi")):
        frames = film_files.make_frames(20, seed=number)
        codec = "mpeg4" if suffix == ".avi" else "libx264"
        film_files.write_film(folder / f"film-{number}{suffix}", frames, codec)
    shutil.copy(folder / "film-0.mp4", folder / "copy.mp4")
    film_files.write_film(folder / "short.mp4", film_files.make_frames(3))
    film_files.write_film(folder / "tiny.mp4", film_files.make_frames(12, 16, 16), "mpeg4")
    (folder / "broken.mp4").write_bytes((folder / "film-0.mp4").read_bytes()[:900])
    write_sequence(folder / "shots" / "one", film_files.make_frames(12, seed=9))
    return folder


def write_sequence(folder, frames, name="frame_{}.png", first=95):
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):  # Their names sort otherwise than their numbers.
        Image.fromarray(frame).save(folder / name.format(first + number))
    return folder


def test_films_and_sequences_are_found_and_the_others_named(film_folder):
    source = clips.load_clips(str(film_folder), 6, 32, 0.4)
    names = {*source.training.names, *source.validation.names}
    assert names == {"copy.mp4", "film-0.mp4", "film-1.mkv", "film-2.avi", "shots/one"}
    assert [line.partition(":")[0] for line in source.skipped] == [
        "broken.mp4",
        "short.mp4",
        "tiny.mp4",
    ]
    assert [line.partition(":")[0] for line in source.failures] == ["broken.mp4"]
    # A copy is on the side of its original.
    assert ("copy.mp4" in source.training.names) == ("film-0.mp4" in source.training.names)
    assert "4 films and 1 sequence of pictures, 92 frames" in source.notes[0]


def test_films_that_are_not_read_are_named_too(tmp_path):
    # Neither a kind of film that is not read, nor one without a byte, was said anything of; and one
    # link that leads nowhere was the end of the whole folder.
    pytest.importorskip("av")
    film_files.write_film(tmp_path / "film.mp4", film_files.make_frames(8), "mpeg4")
    (tmp_path / "empty.mov").touch()
    (tmp_path / "raw.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1\nFRAME\n")
    (tmp_path / "link.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    found = films.open_films(str(tmp_path), 6, 32, 2**28)
    assert [film.name for film in found.films] == ["film.mp4"]
    assert [line.partition(": put it")[0] for line in found.failures] == [
        "empty.mov: is an empty file, though it is named as a film",
        "link.mp4: No such file or directory",
        "raw.y4m: is a film in YUV4MPEG2, which is not read",
    ]
    assert found.notes[1:] == ["1 file that is no film: left alone"]


def test_a_clip_of_a_film_is_frames_that_follow_each_other(film_folder):
    found = films.open_films(str(film_folder), 6, 32, 2**28)
    for film in found.films[::4]:  # A film and a sequence.
        whole = np.stack(list(film.read()))
        assert whole.shape == (film.frames, 48, 64, 3)
        store = films.FilmStore([film], (1.0, 1.0))
        clip = store.clip((1, 2), 6, 32)
        np.testing.assert_array_equal(store.clip((1, 2), 6, 32), clip)
        upright = np.stack([np.rot90(clip, turns, (1, 2)) for turns in range(4)])
        upright = np.concatenate([upright, upright[:, :, :, ::-1]])
        places = [
            (start, top, left, step)
            for start in range(film.frames - 5)
            for top in range(17)
            for left in range(33)
            for step in (1, -1)
            if any(
                (
                    whole[start : start + 6][::step][:1, top : top + 32, left : left + 32]
                    == way[:1]
                ).all()
                and (
                    whole[start : start + 6][::step][:, top : top + 32, left : left + 32] == way
                ).all()
                for way in upright
            )
        ]
        assert places, film.name


def test_clips_begin_in_many_places_of_a_film_with_one_key_frame(film_folder):
    store = films.FilmStore(films.open_films(str(film_folder / "film-0.mp4"), 6, 32, 2**28).films)
    first = {store.clip((n,), 6, 32)[0].tobytes() for n in range(10)}
    assert len(first) > 5


def test_a_film_that_breaks_off_gives_its_place_to_another_one(film_folder, tmp_path):
    good = shutil.copy(film_folder / "film-1.mkv", tmp_path / "good.mkv")
    bad = shutil.copy(film_folder / "film-2.avi", tmp_path / "bad.avi")
    store = films.FilmStore(films.open_films(str(tmp_path), 6, 32, 2**28).films)
    bad.write_bytes(bad.read_bytes()[:5000])
    alone = films.FilmStore([film for film in store.films if film.name == "good.mkv"])
    assert all(store.clip((n,), 6, 32).shape == (6, 32, 32, 3) for n in range(6))
    good.unlink()
    with pytest.raises(UserError, match=r"films cannot be read any more: good\.mkv"):
        alone.clip((1,), 6, 32)


def test_photographs_whose_files_are_numbered_are_no_film(tmp_path):
    for folder in ("100CANON", "101CANON"):
        write_sequence(
            tmp_path / folder, make_pictures(6, side=32, seed=ord(folder[2])), "IMG_{}.png"
        )
    assert not films.holds_films(str(tmp_path))
    write_sequence(tmp_path / "films" / "a", film_files.make_frames(8))
    assert films.holds_films(str(tmp_path / "films"))
    assert not films.holds_films(str(tmp_path / "films" / "a"))  # Pictures, where none is said.
    assert not films.holds_films("bundled")


def test_one_film_cannot_be_split(film_folder, tmp_path):
    shutil.copy(film_folder / "film-0.mp4", tmp_path / "one.mp4")
    shutil.copy(film_folder / "film-0.mp4", tmp_path / "same.mp4")
    with pytest.raises(UserError, match=r"2 usable film\(s\), all the same: expected at least 2"):
        clips.load_clips(str(tmp_path), 6, 32, 0.2)
    with pytest.raises(UserError, match=r"that can be used: one\.mp4: 20 frames are"):
        clips.load_clips(str(tmp_path), 30, 32, 0.2)
