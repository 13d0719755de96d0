"""What a film's picture does as a whole, told from its frames; a state that does the same."""

import numpy as np
import pytest
from PIL import Image

from tf_deconv.inference.following import Follower, Motion, follow
from tf_deconv.networks import video

HEIGHT, WIDTH = 120, 160


@pytest.fixture(scope="module")
def photo(unseen):
    return Image.fromarray(unseen["chelsea"])


def seen(photo, down, right, gain=1.0):
    """Returns a window of a photograph from so many pixels further down and to the right."""
    size, finer = (WIDTH, HEIGHT), 1.5
    left, top = 40 + finer * right, 40 + finer * down
    box = (left, top, left + finer * WIDTH, top + finer * HEIGHT)
    window = photo.resize(size, Image.Resampling.LANCZOS, box=box)
    return 0.8 * gain * np.asarray(window, np.float32) / 255


def noisy(frame, stddev, seed):
    noise = np.random.default_rng(seed).normal(0, stddev / 255, frame.shape)
    return np.clip(frame + noise, 0, 1).astype(np.float32)


def motion_between(*frames):
    follower = Follower()
    return [follower.to(frame) for frame in frames][-1]


@pytest.mark.parametrize("by", [(0.3, -0.2), (1, 0), (-2.6, 3.3), (0, 7.5), (10.2, -17.4)])
@pytest.mark.parametrize(("stddev", "within_px"), [(0, 0.1), (20, 0.2)])
def test_a_camera_that_moves_is_told_to_parts_of_a_pixel(photo, by, stddev, within_px):
    frames = [noisy(seen(photo, *at), stddev, n) for n, at in enumerate([(0, 0), by])]
    found = motion_between(*frames)
    # What the camera goes to comes towards the other side.
    assert np.hypot(found.down_px + by[0], found.right_px + by[1]) < within_px
    assert found.gain == pytest.approx(1, abs=0.003)


def test_frames_of_any_kind_tell_the_same(photo):
    frames = [seen(photo, 0, 0), seen(photo, 1.5, -2.5)]
    expected = motion_between(*frames)
    eight = motion_between(*(np.round(255 * frame).astype(np.uint8) for frame in frames))
    deep = motion_between(*(np.round(65535 * frame).astype(np.uint16) for frame in frames))
    grey = motion_between(*(frame.mean(-1, keepdims=True) for frame in frames))
    for found in (eight, deep, grey):
        assert found.down_px == pytest.approx(expected.down_px, abs=0.02)
        assert found.right_px == pytest.approx(expected.right_px, abs=0.02)


@pytest.mark.parametrize("stddev", [0, 5, 30, 50])
@pytest.mark.parametrize("subject", ["photo", "blank", "edge"])
def test_what_stands_still_is_left_alone_whatever_the_noise(photo, subject, stddev):
    frame = {
        "photo": seen(photo, 0, 0),
        "blank": np.full((HEIGHT, WIDTH, 3), 0.5, np.float32),
        "edge": np.broadcast_to(np.arange(WIDTH)[:, np.newaxis] > 60, (HEIGHT, WIDTH, 3)) * 0.5,
    }[subject]
    for seed in range(4):
        pair = [noisy(frame, stddev, (seed, number)) for number in range(2)]
        assert motion_between(*pair).is_none


def test_what_moves_before_a_still_background_moves_nothing_else(photo):
    frames = [seen(photo, 0, 0) for _ in range(2)]
    for number, frame in enumerate(frames):
        at = 30 + 6 * number
        frame[40:80, at : at + 40] = seen(photo, 30, 60)[:40, :40]
    assert motion_between(*(noisy(frame, 10, n) for n, frame in enumerate(frames))).is_none


def test_a_title_before_a_camera_that_pans_stands_still(photo):
    follower = Follower()
    for number in range(5):
        frame = seen(photo, 0.4 * number, 1.3 * number)
        frame[80:90, 40:120:4] = 1
        found = follower.to(noisy(frame, 10, number))
    assert found.right_px == pytest.approx(-1.3, abs=0.15)
    assert found.still[40:45, 20:60].mean() > 0.6
    assert found.still[:30].mean() < 0.1
    state = np.random.default_rng(0).random((HEIGHT // 2, WIDTH // 2, 16), np.float32)
    into = np.empty_like(state)
    follow(state, found, 3, into)
    np.testing.assert_array_equal(into[found.still], state[found.still])


def test_lines_in_one_direction_tell_no_place(photo):
    bars = np.where(np.arange(300) % 40 < 18, 0.2, 0.7)[:, np.newaxis, np.newaxis]
    for stddev in (5, 20):
        pair = [np.broadcast_to(bars[at : at + HEIGHT], (HEIGHT, WIDTH, 3)) for at in (0, 3)]
        assert motion_between(*(noisy(f, stddev, n) for n, f in enumerate(pair))).is_none


def test_a_change_of_exposure_is_told(photo):
    for gain in (0.75, 0.9, 1.02, 1.1):
        pair = noisy(seen(photo, 0, 0), 5, 0), noisy(seen(photo, 0.5, 1.5, gain), 5, 1)
        found = motion_between(*pair)
        assert found.gain == pytest.approx(gain, abs=0.004)
        assert found.right_px == pytest.approx(-1.5, abs=0.2)


def test_too_little_to_go_by_is_nothing():
    for size in ((1, 1), (3, 200), (200, 3), (15, 15)):
        frames = np.random.default_rng(0).random((2, *size, 3), np.float32)
        assert motion_between(*frames).is_none


def test_large_frames_are_told_by_coarser_cells(photo):
    large = np.asarray(photo.resize((2100, 1400), Image.Resampling.BICUBIC))
    found = motion_between(large[40:1240, 40:1960], large[46:1246, 29:1949])
    assert found.down_px == pytest.approx(-6, abs=0.3)
    assert found.right_px == pytest.approx(11, abs=0.3)


# --- The state.


def state_of(frame, features=2):
    """A state in which the past weighs 0.5 and its mean is a frame (2 h, 2 w, 3)."""
    high, wide = (side // 2 for side in frame.shape[:2])
    squares = frame.reshape(high, 2, wide, 2, 3).swapaxes(1, 2).reshape(high, wide, 12)
    rest = np.random.default_rng(0).random((high, wide, features), np.float32)
    return np.concatenate([np.full((high, wide, 1), 0.5), squares, rest], -1).astype(np.float32)


def moved(state, **motion):
    into = np.full_like(state, np.nan)
    follow(state, Motion(**motion), 3, into)
    return into


def test_the_state_holds_its_pixels_as_the_network_does():
    frame = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    cell = video.build_video(16, 16, size="tiny")
    _, following = cell.predict_on_batch([frame, np.zeros((1, 8, 8, 21), np.float32)])
    np.testing.assert_allclose(following[0, ..., 1:13], state_of(frame[0])[..., 1:13], atol=1e-6)


def test_whole_squares_move_as_they_are(photo):
    frame = seen(photo, 0, 0)
    state = state_of(frame)
    found = moved(state, down_px=4.0, right_px=-6.0)
    np.testing.assert_allclose(found[2:, :-3], state[:-2, 3:], atol=1e-6)
    assert not found[:2].any()
    assert not found[:, -3:].any()


def test_parts_of_a_pixel_are_read_between_pixels(photo):
    moves = dict(down_px=-1.3, right_px=2.6)
    found = moved(state_of(seen(photo, 0, 0)), **moves)[8:-8, 8:-8, 1:13]
    target = state_of(seen(photo, 1.3, -2.6))[8:-8, 8:-8, 1:13]
    assert (
        np.abs(found - target).mean()
        < 0.2 * np.abs(state_of(seen(photo, 0, 0))[8:-8, 8:-8, 1:13] - target).mean()
    )


def test_only_the_mean_is_lightened(photo):
    state = state_of(seen(photo, 0, 0))
    found = moved(state, gain=1.1)
    np.testing.assert_allclose(found[..., 1:13], 1.1 * state[..., 1:13], rtol=1e-5)
    np.testing.assert_array_equal(found[..., 13:], state[..., 13:])
    np.testing.assert_array_equal(found[..., 0], state[..., 0])


def test_a_film_that_goes_further_than_it_is_wide_has_no_past(photo):
    state = state_of(seen(photo, 0, 0))
    for motion in (dict(down_px=1000.0), dict(right_px=-1000.0)):
        assert not moved(state, **motion).any()
