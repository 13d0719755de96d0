"""What happens to a clip: parameters are the same for all its frames, noise is new in each."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from tf_deconv.degradations import codecs, operators
from tf_deconv.degradations.tasks import CODECS, OPERATORS, TASKS, Step, Task, parse_chain
from tf_deconv.utils.options import UserError

FRAMES, SIDE = 4, 48
GREY = np.full((FRAMES, SIDE, SIDE, 3), 0.5, np.float32)


def degrade(chain, clip=GREY, seed=(1, 2), **task):
    pair = operators.make_clip_pair(Task("", chain, **task), tf.constant(clip), tf.constant(seed))
    return [each.numpy() for each in pair]


def moving(frames=FRAMES, side=SIDE):
    """Returns a clip of stripes that go to the right."""
    columns, rows = np.meshgrid(np.arange(side), np.arange(side))
    shifts = 2.0 * np.arange(frames)[:, np.newaxis, np.newaxis]
    waves = [np.sin((columns - shifts) / (3 + n) + rows / 5) for n in range(3)]
    return (0.5 + 0.4 * np.stack(waves, -1)).astype(np.float32)


@pytest.mark.parametrize("chain", ["noise:5-50", "awgn:5-50", "shot:400-6400", "grain:5-50"])
def test_all_frames_have_one_level_and_each_its_own_noise(chain):
    strengths = []
    for seed in range(6):
        degraded, _ = degrade(chain, seed=(seed, 0))
        noise = degraded - GREY
        strengths.append(noise.std())
        np.testing.assert_allclose(noise.std((1, 2, 3)), noise.std(), rtol=0.15)
        together = np.corrcoef(noise.reshape(FRAMES, -1))
        assert np.abs(together - np.eye(FRAMES)).max() < 0.1
    assert max(strengths) > 1.5 * min(strengths)


def test_a_camera_is_the_same_over_a_clip():
    # Without noise all that is left is what the camera itself does to a picture.
    clip = np.broadcast_to(moving(1), GREY.shape)
    degraded, _ = degrade("mosaic:1 motion:3-9 resize:1-3", clip)
    np.testing.assert_array_equal(degraded, np.broadcast_to(degraded[:1], degraded.shape))
    assert np.abs(degraded - clip).max() > 0.05


def test_photons_are_counted_anew_in_each_frame():
    degraded, _ = degrade("poisson:30")
    assert np.abs(np.corrcoef((degraded - GREY).reshape(FRAMES, -1))[0, 1:]).max() < 0.1


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if not task.paired])
def test_every_task_takes_clips(name):
    task = TASKS[name]
    pair = operators.make_clip_pair(task, tf.constant(moving()), tf.constant((3, 4)))
    degraded, clean = (each.numpy() for each in pair)
    side = SIDE // task.scale
    assert degraded.shape == (FRAMES, side, side, task.channels_in)
    assert clean.shape == (FRAMES, SIDE, SIDE, task.channels_out)


def test_what_happens_without_chance_happens_to_each_frame_as_to_a_picture():
    task = Task("", "blur:1 jpeg:40", scale=2)
    degraded, clean = (
        each.numpy()
        for each in operators.make_clip_pair(task, tf.constant(moving()), tf.constant((1, 2)))
    )
    for frame, own, target in zip(moving(), degraded, clean):
        expected = operators.make_pair(task, tf.constant(frame), tf.constant((7, 8)))
        np.testing.assert_array_equal(own, expected[0])
        np.testing.assert_array_equal(target, expected[1])


def test_a_share_is_of_clips_and_not_of_frames():
    changed = []
    for seed in range(12):
        degraded, _ = degrade("noise:20@0.5", seed=(seed, 1))
        changed.append((degraded != GREY).any((1, 2, 3)))
        assert changed[-1].all() or not changed[-1].any()
    assert 0 < sum(each.all() for each in changed) < 12


# Of the version before clips: all that draws by chance.
PICTURE = "camera:100-6400 noise:0-20@0.5 poisson:50 grain:3 motion:3-5 resize:1-2 clip:0.5"
PICTURE_SHA256 = "9f5f01b1652151635dcf7a537f71067eca9562a71283d5298d0ed7f6d5b4898f"


def test_pictures_are_degraded_as_they_were_before_there_were_clips():
    picture = tf.constant(moving(1)[0])
    chances = [f"{word}" for word in PICTURE.split()]
    digest = hashlib.sha256()
    for chain in chances:
        degraded, _ = operators.make_pair(Task("", chain), picture, tf.constant((5, 6)))
        # Rounded: the last bits are the processor's.
        digest.update(np.rint(degraded.numpy() * 1023).astype(np.uint16).tobytes())
    assert digest.hexdigest() == PICTURE_SHA256


# --- Real encoders.


@pytest.fixture(params=CODECS)
def codec(request):
    pytest.importorskip("av")
    return request.param


def through(name, clip, rate, seed=(1, 2)):
    pixels = np.rint(clip * 255).astype(np.uint8)
    return codecs.through_codec(name, pixels, rate, np.array(seed))


@pytest.mark.parametrize("shape", [(1, 1), (17, 33), (48, 40)])
def test_a_codec_takes_every_size_and_repeats_itself(codec, shape):
    clip = moving(5)[:, : shape[0], : shape[1]]
    rate = (OPERATORS[f"codec:{codec}"].low + OPERATORS[f"codec:{codec}"].high) / 2
    once = through(codec, clip, rate)
    assert once.shape == clip.shape
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(through(codec, clip, rate), once)


def test_a_codec_loses_more_at_a_lower_rate_and_keeps_order_and_brightness(codec):
    operator = OPERATORS[f"codec:{codec}"]
    clip = np.repeat(moving(6)[..., :1], 3, axis=-1)  # Colour is stored at half size.
    good, bad = (
        through(codec, clip, rate) / 255 - clip for rate in (operator.low, 0.8 * operator.high)
    )
    assert good.std() < 0.6 * bad.std()
    assert np.abs(good).mean() < 6 / 255  # Every frame is in its place: the stripes move.
    assert np.abs(good.mean()) < 1 / 255


def test_frames_of_a_film_are_predicted_from_each_other():
    pytest.importorskip("av")
    still = np.repeat(moving(1), 8, axis=0)
    film = through("h264", still, 38)
    pictures = through("mjpeg", still, 25)
    # A still scene through MJPEG is eight times the same picture; H.264 goes on working on it.
    assert (pictures == pictures[:1]).all()
    assert (film != film[:1]).any()


def test_where_a_group_of_pictures_begins_is_drawn_from_the_seed():
    pytest.importorskip("av")
    films = {through("mpeg2", moving(6), 20, (seed, 0)).tobytes() for seed in range(6)}
    assert len(films) > 1


def test_a_grey_film_stays_grey():
    pytest.importorskip("av")
    degraded, clean = degrade("codec:h264-30", moving(), grey_input=True, grey_output=True)
    assert degraded.shape == clean.shape == (FRAMES, SIDE, SIDE, 1)
    assert np.abs(degraded - clean).mean() < 0.05


def test_a_codec_s_rate_may_be_a_range_and_have_a_share():
    assert parse_chain("codec:h264-28-38@0.5") == (Step("codec:h264", 28, 38, 0.5),)
    assert parse_chain("noise:3 codec:mjpeg-10")[1] == Step("codec:mjpeg", 10, 10)


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ("codec:h265-30", "did you mean 'h264'.* codec:NAME-RATE .* h264, vp9"),
        ("codec", "expected codec:NAME-RATE or codec:NAME-LOW-HIGH"),
        ("codec:h264", "expected codec:h264-LEVEL or codec:h264-LOW-HIGH, constant rate factor"),
        ("codec:h264-60", "from 0 to 51"),
        ("codec:mpeg2-0", "quantiser, .* from 1 to 31"),
        ("codecs:h264-3", "did you mean 'codec'"),
        ("codec:h264-30@2", "expected codec:h264-30@SHARE"),
    ],
)
def test_a_wrong_codec_says_what_is_expected(chain, expected):
    with pytest.raises(UserError, match=expected):
        codecs.check_chain(chain)


def test_without_pyav_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs PyAV, .* pip install 'av>=18,<19'"):
        codecs.check_chain("noise:3 codec:h264-30")
    assert codecs.check_chain("noise:3") == (Step("noise", 3, 3),)
