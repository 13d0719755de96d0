"""Mirrored padding: one rule, in NumPy and in a graph, for static and dynamic sizes."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_deconv.images.padding import pad_array, pad_tensor

DIVISORS = [1, 2, 3, 8]


@functools.cache
def dynamic_pad(divisor):
    """A graph that knows the channels alone."""
    signature = [tf.TensorSpec((None, None, None, 2), tf.float32)]
    return tf.function(lambda image: pad_tensor(image, divisor), input_signature=signature)


def numbered(height, width):
    """Two pictures in which no two values are alike."""
    return np.arange(2 * height * width * 2, dtype=np.float32).reshape(2, height, width, 2)


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("height", range(1, 10))
def test_all_three_paths_give_the_same_picture(height, divisor):
    for width in range(1, 10):
        image = numbered(height, width)
        padded = pad_array(image, divisor)
        assert padded.shape[1] % divisor == padded.shape[2] % divisor == 0
        assert padded.shape[1] - height < divisor
        assert padded.shape[2] - width < divisor
        np.testing.assert_array_equal(padded[:, :height, :width], image)
        np.testing.assert_array_equal(pad_tensor(tf.constant(image), divisor), padded)
        np.testing.assert_array_equal(dynamic_pad(divisor)(tf.constant(image)), padded)


# Row i of the padded picture is row min(m, 2H - 1 - m) with m = i mod 2H, worked out by hand.
@pytest.mark.parametrize(
    ("height", "divisor", "rows"),
    [
        (1, 8, [0, 0, 0, 0, 0, 0, 0, 0]),
        (2, 8, [0, 1, 1, 0, 0, 1, 1, 0]),
        (3, 8, [0, 1, 2, 2, 1, 0, 0, 1]),
        (5, 8, [0, 1, 2, 3, 4, 4, 3, 2]),
        (3, 2, [0, 1, 2, 2]),
        (4, 3, [0, 1, 2, 3, 3, 2]),
        (4, 2, [0, 1, 2, 3]),
    ],
)
def test_rows_and_columns_follow_the_rule(height, divisor, rows):
    image = numbered(height, height)
    padded = pad_array(image, divisor)
    np.testing.assert_array_equal(padded, image[:, rows][:, :, rows])
    np.testing.assert_array_equal(dynamic_pad(divisor)(tf.constant(image)), padded)


@pytest.mark.parametrize("divisor", DIVISORS)
def test_a_multiple_of_the_divisor_is_left_alone(divisor):
    image = tf.constant(numbered(2 * divisor, divisor))
    assert pad_tensor(image, divisor) is image


@pytest.mark.parametrize(
    ("shape", "padded"),
    [
        ((None, 5, 7, 2), (None, 8, 8, 2)),
        ((1, 8, 9, 2), (1, 8, 16, 2)),
        ((None, None, 7, 2), (None, None, 8, 2)),
        ((None, None, None, 2), (None, None, None, 2)),
    ],
)
def test_static_shapes_stay_static(shape, padded):
    graph = tf.function(lambda image: pad_tensor(image, 8))
    concrete = graph.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    assert concrete.structured_outputs.shape.as_list() == list(padded)


def test_padding_repeats_the_edge_first():
    # The edge pixel twice, then its neighbour: REFLECT would need two pixels, and 1-pixel pictures
    # have one.
    image = np.array([1, 2, 3, 4, 5], np.float32).reshape(1, 1, 5, 1)
    np.testing.assert_array_equal(pad_array(image, 8)[0, 0, :, 0], [1, 2, 3, 4, 5, 5, 4, 3])
