"""Laws of padding and tiling: any size, divisor, scale and reach, with a network of NumPy alone."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_deconv.images import arrays
from tf_deconv.images.padding import mirrored, pad_array, pad_tensor
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.utils.options import UserError

SIDES = st.integers(1, 33)
DIVISORS = st.integers(1, 8)
DTYPES = st.sampled_from([np.uint8, np.uint16, np.float32])
CHANNELS = st.sampled_from([1, 3])


def few(count):
    """Settings for a machine of any speed; examples follow from the test and what is imported."""
    return settings(max_examples=count, deadline=None, derandomize=True)


@st.composite
def pictures(draw, sides=SIDES, channels=CHANNELS, dtypes=DTYPES):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = (draw(sides), draw(sides), draw(channels))
    return arrays.as_pixels(rng.random(size, np.float32), draw(dtypes))


# --- Padding.


@few(60)
@given(pictures(), DIVISORS)
def test_padding_in_numpy_equals_padding_in_tensors(picture, divisor):
    batch = np.stack([picture, picture[::-1]])
    padded = pad_array(batch, divisor)
    height, width = picture.shape[:2]
    assert padded.dtype == picture.dtype
    assert padded.shape[1:3] == (height + -height % divisor, width + -width % divisor)
    np.testing.assert_array_equal(pad_tensor(tf.constant(batch), divisor), padded)
    np.testing.assert_array_equal(padded[:, :height, :width], batch)


@few(200)
@given(st.integers(1, 40), st.integers(0, 100), st.integers(0, 100))
def test_mirrored_is_the_symmetric_mode_of_numpy(size, before, after):
    expected = np.pad(np.arange(size), (before, after), mode="symmetric")
    indices = range(-before, size + after)
    assert [mirrored(index, size) for index in indices] == expected.tolist()
    np.testing.assert_array_equal(mirrored(tf.range(-before, size + after), size), expected)


# --- A network of known reach.


def box_network(radius, divisor, scale, channels, sizes=()):
    """Stands for a network: a box filter beside a pooling over cells of `divisor` pixels.

    As in an exported graph of fixed sizes, those that the divisor does not divide are padded and
    cropped inside. Beyond the picture there are zeros. Sums run in one order, so that equal pixels
    give equal bits. What comes out depends on where in its cell, and in its enlarged pixel, it
    lies.
    """

    def run(batch):
        height, width = batch.shape[1:3]
        assert sizes or height % divisor == width % divisor == 0
        image = pad_array(batch, divisor)
        cells = image.reshape(1, -1, divisor, image.shape[2] // divisor, divisor, channels)
        pooled = mean(mean(cells, 2), 4)
        filtered = image * phases(image, divisor)
        for axis in (1, 2):
            filtered = box(filtered, radius, axis)
        x = (filtered + np.broadcast_to(pooled, cells.shape).reshape(image.shape)) / np.float32(2)
        x = x.repeat(scale, 1).repeat(scale, 2)
        return (x * phases(x, scale))[:, : height * scale, : width * scale]

    reach = max(radius, divisor - 1)
    return Artifact(run, channels, channels, divisor, scale, reach, sizes)


def phases(image, period):
    """(H, W, 1) weights up to 1 that repeat themselves."""
    rows, columns = (np.arange(side) % period for side in image.shape[1:3])
    return (1 / (1 + rows[:, np.newaxis, np.newaxis] + columns[:, np.newaxis])).astype(np.float32)


def mean(array, axis):
    total = np.float32(0)
    for part in np.split(array, array.shape[axis], axis):
        total = total + part
    return total / np.float32(array.shape[axis])


def box(image, radius, axis):
    zeros = [(radius, radius) if number == axis else (0, 0) for number in range(4)]
    padded, total = np.pad(image, zeros), np.zeros_like(image)
    for offset in range(2 * radius + 1):
        total += padded.take(range(offset, offset + image.shape[axis]), axis)
    return total / np.float32(2 * radius + 1)


def whole(artifact, picture, size=None):
    """What the network makes of the picture at once, mirrored up to `size` if that is larger."""
    height, width = picture.shape[:2]
    image = arrays.as_unit(picture)[np.newaxis]
    if size:
        missing = [(0, max(0, a - b)) for a, b in zip(size, (height, width))]
        image = np.pad(image, ((0, 0), *missing, (0, 0)), mode="symmetric")
    if not artifact.sizes:
        image = pad_array(image, artifact.divisor)
    restored = artifact.run(image)[0, : height * artifact.scale, : width * artifact.scale]
    return arrays.as_pixels(restored, picture.dtype)


NETWORKS = st.tuples(st.integers(0, 8), DIVISORS, st.integers(1, 3))


@few(100)
@given(pictures(), NETWORKS, st.integers(0, 20))
def test_tiled_equals_whole(picture, network, more_px):
    artifact = box_network(*network, picture.shape[-1])
    reach, divisor = artifact.reach_px, artifact.divisor
    smallest_px = 2 * (reach + -reach % divisor) + divisor
    received = Restorer(artifact, smallest_px + more_px).restore(picture)
    assert received.dtype == picture.dtype
    np.testing.assert_array_equal(received, whole(artifact, picture))


@few(100)
@given(pictures(), NETWORKS, st.integers(0, 20), st.booleans())
def test_a_result_in_the_pictures_place_equals_one_beside_it(picture, network, more_px, auto):
    artifact = box_network(*network, picture.shape[-1])
    reach, divisor = artifact.reach_px, artifact.divisor
    tile_px = 2 * (reach + -reach % divisor) + divisor + more_px
    restorer = Restorer(artifact, 0 if auto else tile_px)
    if auto:  # Few pictures here are as large as a tile that is chosen.
        restorer.tile_px = tile_px
    expected = whole(artifact, picture)
    received = restorer.restore(picture, in_place=True)
    np.testing.assert_array_equal(received, expected)
    assert (received is picture) == (artifact.scale == 1)


@few(150)
@given(pictures(), NETWORKS, st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_tiles_of_a_fixed_size_equal_the_whole(picture, network, times):
    size = tuple(network[1] * count for count in times)
    artifact = box_network(*network, picture.shape[-1], (size,))
    reach, divisor = artifact.reach_px, artifact.divisor
    refused = any(
        length < side + -side % divisor and length - 2 * reach - (divisor - 1) < 1
        for length, side in zip(size, picture.shape)
    )
    if refused:  # Nothing is left between a tile's two overlaps.
        with pytest.raises(UserError, match="cannot be cut into tiles of this model's sizes"):
            Restorer(artifact).restore(picture)
        return
    received = Restorer(artifact).restore(picture)
    assert received.dtype == picture.dtype
    np.testing.assert_array_equal(received, whole(artifact, picture, size))


@few(60)
@given(pictures(st.integers(30, 50)), st.integers(0, 2), st.integers(1, 3), st.integers(1, 3))
def test_of_several_fixed_sizes_any_gives_the_whole(picture, radius, divisor, scale):
    height, width = picture.shape[:2]
    sizes = tuple((divisor * a, divisor * b) for a, b in ((5, 5), (10, 7), (9, 10)))
    for own in ((), ((height, width),)):  # The picture's own size need not be a multiple.
        artifact = box_network(radius, divisor, scale, picture.shape[-1], sizes + own)
        received = Restorer(artifact).restore(picture)
        np.testing.assert_array_equal(received, whole(artifact, picture))


@few(60)
@given(pictures(), st.integers(0, 3), st.integers(1, 2), st.integers(0, 20))
def test_the_self_ensemble_of_a_symmetric_network_is_the_network(picture, radius, scale, more_px):
    symmetric = box_network(radius, 1, 1, picture.shape[-1])

    def run(batch):
        return symmetric.run(batch).repeat(scale, 1).repeat(scale, 2)

    channels = picture.shape[-1]
    artifact = Artifact(run, channels, channels, 1, scale, radius)
    tile_px = 2 * radius + 1 + more_px
    plain = Restorer(artifact, tile_px).restore(picture)
    received = Restorer(artifact, tile_px, self_ensemble=True).restore(picture)
    assert received.dtype == picture.dtype
    # Sums in another order: a rounding error, which may tip an integer over.
    error = np.abs(received.astype(np.float64) - plain)
    assert error.max() <= (1e-6 if picture.dtype.kind == "f" else 1)


@few(20)
@given(pictures(st.integers(1, 21)), NETWORKS)
def test_self_ensemble_tiled_equals_self_ensemble_whole(picture, network):
    artifact = box_network(*network, picture.shape[-1])
    reach, divisor = artifact.reach_px, artifact.divisor
    smallest_px = 2 * (reach + -reach % divisor) + divisor
    tiled, at_once = (
        Restorer(artifact, tile_px, self_ensemble=True).restore(picture)
        for tile_px in (smallest_px, 10_000)
    )
    np.testing.assert_array_equal(tiled, at_once)


@few(60)
@given(pictures(channels=st.sampled_from([1, 3, 4])), st.sampled_from([1, 3, 4]), st.integers(1, 3))
def test_channels_and_number_type_fit_whatever_comes(picture, channels_in, scale):
    seen = []

    def run(batch):
        seen.append(batch)
        return batch[..., :1].repeat(3, -1).repeat(scale, 1).repeat(scale, 2)

    received = Restorer(Artifact(run, channels_in, 3, 1, scale, 0)).restore(picture)
    height, width = picture.shape[:2]
    assert received.shape == (height * scale, width * scale, 3)
    assert received.dtype == picture.dtype
    (batch,) = seen
    assert batch.shape == (1, height, width, channels_in)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert 0 <= batch.min() <= batch.max() <= 1


@few(40)
@given(pictures())
def test_restoring_leaves_the_picture_as_it_was(picture):
    before = picture.copy()
    Restorer(box_network(1, 2, 1, picture.shape[-1]), 14, self_ensemble=True).restore(picture)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_survives_the_way_to_floats_and_back(dtype):
    pixels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 16, 1)
    unit = arrays.as_unit(pixels)
    assert unit.dtype == np.float32
    assert (unit[0, 0, 0], unit[-1, -1, 0]) == (0, 1)
    np.testing.assert_array_equal(arrays.as_pixels(unit, dtype), pixels)
    restored = Restorer(Artifact(lambda batch: batch, 1, 1, 1, 1, 0)).restore(pixels)
    np.testing.assert_array_equal(restored, pixels)


@few(40)
@given(st.lists(st.floats(width=32), min_size=1), st.sampled_from([np.uint8, np.uint16]))
def test_any_float_becomes_the_nearest_integer_or_an_end(values, dtype):
    values = np.array(values, np.float32)
    top = np.iinfo(dtype).max
    pixels = arrays.as_pixels(values.copy(), dtype)
    clipped = np.nan_to_num(np.clip(values, 0, 1))
    assert pixels.dtype == dtype
    assert (np.abs(pixels - clipped.astype(np.float64) * top) <= 0.5 + top * 1e-7).all()
    np.testing.assert_array_equal(arrays.as_unit(values), values)
    np.testing.assert_array_equal(arrays.as_pixels(values, np.float32), values)
