"""The network for moving pictures: its shapes, and the laws that its design promises."""

import keras
import numpy as np
import pytest

from tf_deconv.inference.streaming import keras_cell, restore_clip
from tf_deconv.networks import complexity, receptive_field, video
from tf_deconv.networks.table import NETWORKS, STATE_STRIDE
from tf_deconv.networks.unet import build_unet
from tf_deconv.networks.video import SIZES, build_video, unroll
from tf_deconv.training import pretrained
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.utils.options import UserError


def randomise(cell, scale=0.1):
    """Gives every trained weight a value that shows: the tail and the past begin as zeros."""
    rng = np.random.default_rng(0)
    for weight in cell.trainable_weights:
        weight.assign(rng.normal(0, scale, weight.shape).astype("float32"))
    return cell


def stream(cell, clip):
    return restore_clip(keras_cell(cell, video.DIVISOR, 0), clip)


@pytest.fixture(scope="module")
def tiny():
    return randomise(build_video(size="tiny", blind_to_levels=True))


def test_the_table_knows_its_sizes_and_its_divisor():
    network = NETWORKS["video"]
    assert network.divisor == video.DIVISOR
    assert network.divisor % STATE_STRIDE == 0
    assert set(network.sizes) == set(SIZES)
    for name, size in SIZES.items():
        assert network.levels_of(name, 1) == len(size.filters) == len(size.blocks)


def test_a_frame_of_base_takes_at_most_one_and_a_half_times_the_work_of_photo():
    own = complexity.multiply_adds_per_pixel(build_video())
    assert own <= 1.5 * complexity.multiply_adds_per_pixel(build_unet(size="base"))
    assert own == 91836.25


def test_the_reach_within_a_frame_counts_what_the_past_lets_it_see(tiny, rng):
    unet = build_unet(filters=(8, 16), blocks=(1, 1), space_to_depth=True)
    of_unet = receptive_field.compute_reach(unet, 4, 1)
    computed = receptive_field.compute_reach(tiny, 4, 1)
    frames = rng.random((1, 96, 96, 3), np.float32).repeat(2, 0)
    _, state = tiny([frames, np.zeros((2, 48, 48, 21), np.float32)])
    frames = rng.random((1, 96, 96, 3), np.float32).repeat(2, 0)
    frames[1, 48, 48] += 8
    restored, _ = tiny([frames, keras.ops.convert_to_numpy(state)])
    changed = np.argwhere(np.abs(np.diff(restored, axis=0))[0].max(-1) > 1e-6)
    assert of_unet < np.abs(changed - 48).max() <= computed


def test_a_loaded_network_sees_as_far(tmp_path):
    cell = build_video(size="tiny")
    cell.save(tmp_path / "cell.keras")
    # As in the next process, where names of operations are counted from nothing again.
    keras.utils.clear_session()
    loaded = keras.saving.load_model(tmp_path / "cell.keras")
    reach = receptive_field.compute_reach(loaded, 4, 1)
    assert reach == receptive_field.compute_reach(cell, 4, 1) > 0


def test_any_size_and_channels(rng):
    cell = randomise(build_video(channels_in=1, channels_out=1, size="tiny"))
    frame, state = rng.random((2, 12, 20, 1), np.float32), np.zeros((2, 6, 10, 13), np.float32)
    restored, following = cell([frame, state])
    assert restored.shape == frame.shape
    assert following.shape == state.shape


@pytest.mark.parametrize(
    "options",
    [
        *({"scale": 2}, {"channels_in": 4}, {"size": "huge"}, {"height": 6}, {"features": 49}),
        {"filters": (48,), "blocks": (1,), "height": 6},
    ],
)
def test_what_it_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="expected"):
        build_video(**options)


def test_with_the_weights_of_a_picture_network_a_first_frame_is_that_networks(rng):
    # So training begins at the level of the picture's network.
    unet = randomise(build_unet(filters=(8, 16), blocks=(1, 1), space_to_depth=True))
    cell = build_video(size="tiny")
    left = pretrained.copy_weights(unet, cell)
    fixed = {"folded", "before", "differing", "moving", "image", "aligned", "compared"}
    for place in ("square", "pixel"):
        fixed |= {f"{place}_now", f"{place}_then", f"{place}s_around"}
    fixed |= {"image_now", "image_then", "pixels_places"}
    fusion = {f"fusion_{part}" for part in ("fine", "down", "coarse", "deconv", "last")}
    new = fixed | fusion | {"seen", "still", "moved", "past"}
    assert set(left) == {f"{name}/kernel" for name in new}
    assert {layer.name for layer in cell.layers if layer.weights and not layer.trainable} == fixed
    clip = rng.random((3, 16, 24, 3), np.float32)
    np.testing.assert_allclose(stream(cell, clip)[:1], unet(clip[:1]), atol=1e-6)


def means(cell, clip):
    """Streams a clip; returns the mean of frames in each next state, (T, H/2, W/2, 12)."""
    state = np.zeros((1, *(side // 2 for side in clip.shape[1:3]), cell.inputs[1].shape[-1]), "f")
    found = []
    for frame in clip:
        state = keras.ops.convert_to_numpy(cell([frame[np.newaxis], state])[1])
        found.append(state[0, ..., 1:13])
    return np.stack(found)


def test_where_all_speaks_for_the_past_frames_are_averaged_and_else_each_is_by_itself(rng):
    cell = randomise(build_video(size="tiny"))
    for layer in ("still", "moved"):
        kernel = np.zeros(cell.get_layer(layer).kernel.shape, "f")
        kernel[..., -1, :] = layer == "still"
        cell.get_layer(layer).set_weights([kernel])
    picture = rng.random((16, 24, 3), np.float32)
    clip = picture + rng.normal(0, 0.01, (12, *picture.shape)).astype("f")
    folded = clip.reshape(12, 8, 2, 12, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(12, 8, 12, 12)
    averaged = means(cell, clip)
    np.testing.assert_allclose(averaged[0], folded[0], atol=1e-6)
    np.testing.assert_allclose(averaged[1], folded[:2].mean(0), atol=1e-5)
    # Nearly the mean of all: at most a fifth more of the noise's variance than that has.
    clean = picture.reshape(8, 2, 12, 2, 3).transpose(0, 2, 1, 3, 4).reshape(8, 12, 12)
    assert np.square(averaged[4] - clean).mean() * 5 / 0.01**2 < 1.2
    for layer in ("still", "moved"):
        cell.get_layer(layer).set_weights([kernel if layer == "still" else kernel + 1])
    np.testing.assert_allclose(means(cell, clip), folded, atol=1e-6)


@pytest.mark.parametrize("move", [(0, 0), (2, 0), (0, -4), (-3, 2), (1, 1), (5, -5)])
def test_the_past_is_moved_to_where_it_is_seen_now(rng, move):
    cell = build_video(size="tiny")
    compared = [cell.get_layer(name).output for name in ("folded", "aligned")]
    compare = keras.Model(cell.inputs, compared)
    large = keras.ops.image.resize(rng.random((1, 10, 10, 3), np.float32), (100, 100), "bicubic")
    large = keras.ops.convert_to_numpy(large)
    then, now = (
        large[:, 16:80, 16:80],
        large[:, 16 + move[0] : 80 + move[0], 16 + move[1] :][:, :, :64],
    )
    state = np.zeros((1, 32, 32, cell.inputs[1].shape[-1]), np.float32)
    state[..., :1], state[..., 1:13] = 0.5, compare([then, state])[0]
    noisy = now + rng.normal(0, 0.1, now.shape).astype("f")
    wanted = keras.ops.convert_to_numpy(compare([now, state])[0])
    aligned = keras.ops.convert_to_numpy(compare([noisy, state])[1])
    # What it is wrong by is small beside the noise, which a mean of frames is to take off.
    assert np.square(aligned - wanted)[:, 4:-4, 4:-4].mean() < 0.2 * 0.1**2
    if np.abs(move).sum() > 3:
        assert np.square(state[..., 1:13] - wanted)[:, 4:-4, 4:-4].mean() > 0.1**2


def test_what_rounds_differently_stays_as_small(rng):
    # Places that are told too sharply by their distances made it grow from frame to frame.
    cell = randomise(build_video(size="tiny"), 0.05)
    large = keras.ops.image.resize(rng.random((1, 20, 20, 3), np.float32), (120, 120), "bicubic")
    moving = np.stack([np.asarray(large)[0, 2 * n :][:32, n : n + 32] for n in range(40)])
    noisy = (moving + rng.normal(0, 0.1, moving.shape)).astype("f")
    other = noisy + rng.normal(0, 1e-6, noisy.shape).astype("f")
    differing = np.sqrt(np.square(stream(cell, noisy) - stream(cell, other)).mean((1, 2, 3)))
    assert differing[30:].max() < 4 * differing[0]


def test_unrolled_it_is_the_stream(tiny, rng):
    clips = rng.random((2, 5, 16, 24, 3), np.float32)
    at_once = keras.ops.convert_to_numpy(unroll(tiny, 5)(clips))
    np.testing.assert_allclose(at_once, [stream(tiny, clip) for clip in clips], atol=1e-5)


def test_the_past_counts_and_a_zero_state_is_none(tiny, rng):
    clip = rng.random((4, 16, 24, 3), np.float32)
    whole = stream(tiny, clip)
    assert np.abs(whole[1:] - stream(tiny, clip[1:])).max() > 1e-3
    np.testing.assert_array_equal(whole[:1], stream(tiny, clip[:1]))


def test_a_darker_film_is_restored_alike(rng):
    cell = randomise(build_video(size="tiny"))
    for layer in map(cell.get_layer, video.SIDES):  # So that neither falls below `_LEAST`.
        kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
        kernel[..., -1, :] += 1
        layer.kernel.assign(kernel)
    clip = rng.random((4, 16, 24, 3), np.float32)
    np.testing.assert_allclose(stream(cell, clip / 4), stream(cell, clip) / 4, atol=1e-5)


def test_blind_to_levels_a_film_keeps_its_colours(rng):
    cell = randomise(build_video(size="tiny", blind_to_levels=True))
    for head in map(cell.get_layer, ("head", "seen")):
        head.kernel.assign(head.kernel.constraint(head.kernel))
    clip = rng.random((4, 16, 24, 3), np.float32)
    colour = np.array([0.9, 0.1, 0.4], np.float32)
    shifted = stream(cell, 0.5 * clip + colour)
    np.testing.assert_allclose(shifted, 0.5 * stream(cell, clip) + colour, atol=1e-4)


def test_three_hundred_frames_stay_finite_whatever_the_weights(rng):
    # With such weights frame and features multiplied from frame to frame, and were no numbers soon.
    cell = randomise(build_video(size="tiny"), 1.0)
    still = np.repeat(rng.random((1, 12, 12, 3), np.float32), 300, 0)
    noise = rng.random((300, 12, 12, 3), np.float32)
    for film in (still, noise):
        assert np.isfinite(stream(cell, film)).all()


def test_where_training_begins_frames_that_stand_still_are_averaged(rng):
    # White noise itself: no single frame tells anything about it.
    clean = np.repeat(rng.random((1, 32, 32, 3), np.float32), 6, 0)
    noisy = clean + rng.normal(0, 0.2, clean.shape).astype("f")
    error = np.square(stream(build_video(size="tiny"), noisy) - clean).mean((1, 2, 3))
    assert error[5] < 0.5 * error[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "unet", "frames": 5}, "frames=5 with network 'unet'"),
        ({"network": "video", "task": "super-resolve-x2"}, "expected one of reconstruct, denoise"),
        ({"network": "video", "task": "inpaint"}, "expected one of reconstruct, denoise"),
        ({"network": "video", "task": "denoise", "frames": 1}, "frames=1"),
        (
            {"network": "video", "task": "denoise", "patch_size": 4096, "batch_size": 2},
            "and frames=7: expected at most",
        ),
        ({"network": "video", "task": "denoise", "self_supervised": True}, "self_supervised=True"),
    ],
)
def test_options_that_do_not_fit_films_are_refused(options, said):
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        check_train_config(TrainConfig(**options))
