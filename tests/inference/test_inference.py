"""The Restorer: tiled equals whole, whatever the artifact and the size."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_deconv import UserError
from tf_deconv.images import arrays
from tf_deconv.inference import artifacts
from tf_deconv.inference.artifacts import open_artifact
from tf_deconv.inference.located import locate
from tf_deconv.inference.restorer import Artifact, Restorer, restore_picture
from tf_deconv.networks.article import build_article

TOLERANCE = 1e-5
SIZES = [(1, 1), (1, 40), (2, 3), (19, 28), (37, 53), (64, 64), (65, 90)]


@functools.cache
def network(channels_in=1, channels_out=3, scale=1):
    keras.utils.set_random_seed(3)
    model = build_article(None, None, channels_in, channels_out, scale)
    for variable in model.trainable_variables:
        if variable.name == "bias":  # Zero biases hide what zero padding does at the borders.
            variable.assign(variable + 0.2)
    return model, artifacts.keras_artifact(model, 2, scale)


def picture(height, width, channels=1, seed=0):
    return np.random.default_rng(seed).random((height, width, channels), np.float32)


def assert_close(received, expected):
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_tiled_equals_whole_for_keras(size, scale):
    model, artifact = network(scale=scale)
    image = picture(*size)
    received = Restorer(artifact, tile_px=24).restore(image)
    assert_close(received, restore_picture(model, image, 2, scale))


@pytest.mark.parametrize("tile_px", [14, 15, 31, 64, 1000])
def test_the_size_of_a_tile_does_not_show(tile_px):
    model, artifact = network()
    image = picture(61, 47)
    assert_close(Restorer(artifact, tile_px).restore(image), restore_picture(model, image, 2))


def test_a_tile_one_pixel_short_of_the_reach_would_show():
    # The reach is needed: with less overlap, what the tile's edge spoils is seen.
    model, artifact = network()
    image = picture(64, 64)
    short = Artifact(artifact.run, 1, 3, 2, 1, reach_px=2)
    received = Restorer(short, tile_px=24).restore(image)
    assert np.abs(received - restore_picture(model, image, 2)).max() > 10 * TOLERANCE


def test_a_tile_smaller_than_its_overlap_is_refused():
    with pytest.raises(UserError, match=r"tile_size=13: expected at least 14"):
        Restorer(network()[1], tile_px=13)


@pytest.mark.parametrize("size", SIZES)
def test_tiled_equals_whole_for_a_saved_model(exported, size):
    artifact = saved_model(exported.folder)
    image = picture(*size)
    expected = restore_picture(exported.model, image, 2)
    assert_close(Restorer(artifact, tile_px=24).restore(image), expected)


@functools.cache
def saved_model(folder):
    return open_artifact(folder)


@functools.cache
def tflite(path):
    return open_artifact(path)


@pytest.mark.parametrize("size", [(28, 28), (29, 31), (37, 53), (64, 28), (45, 90), (256, 256)])
def test_tiled_equals_whole_for_tflite(exported, size):
    image = picture(*size)
    received = Restorer(tflite(exported.tflite("float32"))).restore(image)
    assert_close(received, restore_picture(exported.model, image, 2))


def test_large_tflite_tiles_are_taken_for_large_pictures(exported):
    image = picture(300, 411)
    calls = []
    artifact = tflite(exported.tflite("float32"))

    def run(batch):
        calls.append(batch.shape[1:3])
        return artifact.run(batch)

    spied = Artifact(run, 1, 3, 2, 1, artifact.reach_px, artifact.sizes)
    assert_close(Restorer(spied).restore(image), restore_picture(exported.model, image, 2))
    assert set(calls) == {(256, 256)}
    assert len(calls) == 4


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (27, 13), (13, 60)])
def test_a_picture_smaller_than_the_smallest_signature_is_mirrored(exported, size):
    image = picture(*size)
    missing = [(0, max(0, 28 - side)) for side in size]
    mirrored = np.pad(image, (*missing, (0, 0)), mode="symmetric")
    whole = restore_picture(exported.model, mirrored, 2)
    received = Restorer(tflite(exported.tflite("float32"))).restore(image)
    assert_close(received, whole[: size[0], : size[1]])


def test_what_no_manifest_tells_is_measured(exported, tmp_path):
    described = saved_model(exported.folder)
    assert (described.reach_px, described.divisor, described.scale) == (6, 2, 1)
    alone = tmp_path / "alone.tflite"
    alone.write_bytes(exported.tflite("float32").read_bytes())
    measured = open_artifact(alone)
    assert measured.divisor == 2
    # A trained network's last pixels may count for nothing: what it sees is at most what it could.
    assert 4 <= measured.reach_px <= 6
    image = picture(61, 83)
    assert_close(Restorer(measured).restore(image), restore_picture(exported.model, image, 2))
    (tmp_path / "1").symlink_to(exported.folder / "1")
    measured = open_artifact(tmp_path / "1")
    assert (measured.divisor, measured.sizes) == (2, ())


def test_the_manifest_tells_receptive_field_and_overlap(exported):
    import json

    manifest = json.loads((exported.folder / "manifest.json").read_text())
    assert manifest["receptive_field"] == 13
    assert manifest["tile_overlap"] == 6


def test_every_format_opens_and_gives_the_same_picture(run, exported):
    image = picture(45, 70)
    expected = restore_picture(exported.model, image, 2)
    paths = [run.folder, run.folder / "model.keras", exported.folder, exported.folder / "1"]
    for path in (*paths, exported.tflite("float32")):
        assert_close(Restorer(open_artifact(path)).restore(image), expected)


def test_the_highest_version_is_taken(exported, tmp_path):
    for version in ("2", "10", "9"):
        (tmp_path / version).symlink_to(exported.folder / "1")
    assert locate(tmp_path).path.name == "10"


def by_hand(model, image, scale):
    """The mean over the 8 flips and turns, with NumPy alone."""
    total = 0
    for turns in range(4):
        for mirror in (False, True):
            turned = np.rot90(image, turns)
            turned = turned[:, ::-1] if mirror else turned
            restored = restore_picture(model, np.ascontiguousarray(turned), 2, scale)
            restored = restored[:, ::-1] if mirror else restored
            total = total + np.rot90(restored, -turns)
    return total / 8


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (7, 4), (41, 58)])
def test_self_ensemble_is_the_mean_over_eight_symmetries(size, scale):
    model, artifact = network(scale=scale)
    image = picture(*size)
    received = Restorer(artifact, tile_px=24, self_ensemble=True).restore(image)
    assert_close(received, by_hand(model, image, scale))


def test_self_ensemble_of_fixed_sizes(exported):
    image = picture(40, 71)
    restorer = Restorer(tflite(exported.tflite("float32")), self_ensemble=True)
    assert_close(restorer.restore(image), by_hand(exported.model, image, 1))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        tf.errors.ResourceExhaustedError(None, None, ""),
        # What oneDNN's convolutions raised under a limit of 8 GB.
        tf.errors.AbortedError(
            None,
            None,
            "Operation received an exception:Status: 1, message: could not create a primitive",
        ),
    ],
    ids=["Python", "TensorFlow", "oneDNN"],
)
def test_smaller_tiles_are_tried_when_memory_runs_out(error):
    model, artifact = network()
    image = picture(90, 70)
    largest = []

    def run(batch):
        if batch.shape[1] * batch.shape[2] > 40 * 40:
            raise error
        largest.append(batch.shape[1:3])
        return artifact.run(batch)

    restorer = Restorer(Artifact(run, 1, 3, 2, 1, artifact.reach_px))
    assert_close(restorer.restore(image), restore_picture(model, image, 2))
    assert max(largest) > (20, 20)


def test_smaller_signatures_are_tried_when_memory_runs_out(exported):
    artifact = tflite(exported.tflite("float32"))

    def run(batch):
        if batch.shape[1] > 100:
            raise MemoryError
        return artifact.run(batch)

    image = picture(256, 256)
    restorer = Restorer(Artifact(run, 1, 3, 2, 1, artifact.reach_px, artifact.sizes))
    assert_close(restorer.restore(image), restore_picture(exported.model, image, 2))


def test_memory_that_never_suffices_is_an_error():
    def run(batch):
        raise MemoryError

    with pytest.raises(MemoryError, match="even for the smallest tile"):
        Restorer(Artifact(run, 1, 3, 2, 1, 6)).restore(picture(200, 200))


def test_a_network_without_a_reach_gets_whole_pictures():
    shapes = []

    def run(batch):
        shapes.append(batch.shape)
        return batch - batch.mean()

    restorer = Restorer(Artifact(run, 1, 1, 4, 1, None), tile_px=8)
    restorer.restore(picture(50, 30))
    assert shapes == [(1, 52, 32, 1)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_come_out_as_they_went_in(dtype):
    model, artifact = network(3, 3)
    image = arrays.as_pixels(picture(33, 45, 3), dtype)
    received = Restorer(artifact, tile_px=24).restore(image)
    expected = restore_picture(model, arrays.as_unit(image), 2)
    assert received.dtype == dtype
    difference = received.astype(int) - arrays.as_pixels(expected, dtype).astype(int)
    assert np.abs(difference).max() <= 1


def test_channels_are_made_to_fit():
    colour = picture(20, 20, 3)
    grey = arrays.luminance(colour).astype(np.float32)
    one, three = Restorer(network(1, 3)[1]), Restorer(network(3, 3)[1])
    assert_close(one.restore(colour), one.restore(grey))
    assert_close(three.restore(grey), three.restore(np.repeat(grey, 3, axis=-1)))


def test_a_mask_is_made_of_transparency():
    seen = []

    def run(batch):
        seen.append(batch)
        return batch[..., :3]

    restorer = Restorer(Artifact(run, 4, 3, 1, 1, 0))
    image = picture(4, 5, 3)
    alpha = np.ones((4, 5, 1), np.float32)
    alpha[1, 2] = 0
    restorer.restore(np.concatenate([image, alpha], axis=-1))
    restorer.restore(image)
    np.testing.assert_array_equal(seen[0], np.concatenate([image * alpha, alpha], axis=-1)[None])
    np.testing.assert_array_equal(seen[1][..., 3], 1)


def test_progress_ends_at_one():
    parts = []
    Restorer(network()[1], tile_px=24).restore(picture(60, 60), parts.append)
    assert parts == sorted(parts)
    assert parts[-1] == 1
    assert len(parts) > 4


def test_values_that_are_no_numbers_become_black():
    assert arrays.as_pixels(np.array([np.nan, -1, 0.5, 2, np.inf]), np.uint8).tolist() == [
        *(0, 0, 128, 255, 255)
    ]


def test_channels_that_are_no_picture_are_refused():
    with pytest.raises(UserError, match="takes 2 channels and gives 3"):
        Artifact(lambda batch: batch, 2, 3, 1, 1, 0)


def test_a_mixed_precision_model_is_restored_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        build_article(None, None).save(tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    image = picture(30, 30)
    loaded = artifacts.to_float32(keras.models.load_model(tmp_path / "model.keras"))
    received = Restorer(open_artifact(tmp_path / "model.keras")).restore(image)
    assert_close(received, restore_picture(loaded, image, 2))
