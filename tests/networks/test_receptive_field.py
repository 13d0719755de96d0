"""How far networks see: measured by changing pixels, computed from layers, worked out by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_deconv.networks import receptive_field
from tf_deconv.networks.article import build_article
from tf_deconv.networks.mask_blending import keep_known


def chain(*steps, channels=1):
    image = x = keras.Input((None, None, channels))
    for step in steps:
        x = step(x)
    return keras.Model(image, x)


def one_convolution():
    return chain(layers.Conv2D(2, 5, padding="same"))


def oblong_kernel():
    return chain(layers.Conv2D(2, (3, 7), padding="same"))


def mirrored():
    around = [[0, 0], [2, 2], [2, 2], [0, 0]]
    return chain(
        lambda x: keras.ops.pad(x, around, mode="reflect"),
        layers.Conv2D(4, 6, strides=2),
        layers.Conv2DTranspose(2, 2, strides=2),
    )


def dilated():
    return chain(layers.Conv2D(4, 3, padding="same", dilation_rate=4))


def strided():
    return chain(
        layers.Conv2D(4, 3, strides=2, padding="same"),
        layers.Conv2DTranspose(2, 5, strides=2, padding="same"),
    )


def upsampled():
    return chain(
        layers.AveragePooling2D(2),
        layers.Conv2D(4, 3, padding="same"),
        layers.UpSampling2D(2),
    )


def interpolated():
    return chain(
        layers.AveragePooling2D(2),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.UpSampling2D(3, interpolation="bilinear"),
    )


def two_levels():
    image = keras.Input((None, None, 3))
    skip = x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    x = layers.MaxPooling2D(2)(x)
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2)(layers.UpSampling2D(2)(x))
    x = layers.Concatenate()([x, skip])
    return keras.Model(image, layers.Conv2D(3, 3, padding="same")(x))


def with_mask():
    image = keras.Input((None, None, 4))
    return keep_known(keras.Model(image, layers.Conv2D(3, 3, padding="same")(image)))


def article():
    return build_article(None, None)


def article_x3():
    return build_article(None, None, 3, 3, scale=3)


# The model, its divisor, its scale and, where it is easy to see, its reach.
CASES = [
    (one_convolution, 1, 1, 2),
    (oblong_kernel, 1, 1, 3),
    (dilated, 1, 1, 4),
    (mirrored, 2, 1, 3),
    (strided, 2, 1, None),
    (interpolated, 2, 3, None),
    (upsampled, 2, 1, 3),
    (two_levels, 4, 1, None),
    (with_mask, 1, 1, 1),
    (article, 2, 1, 6),
    (article_x3, 2, 3, None),
]


@pytest.mark.parametrize(("build", "divisor", "scale", "expected"), CASES)
def test_measured_equals_computed(build, divisor, scale, expected):
    keras.utils.set_random_seed(0)
    model = build()

    def run(image):
        return np.asarray(model(image, training=False))

    channels = model.input_shape[-1]
    computed = receptive_field.compute_reach(model, scale)
    assert computed is not None
    assert receptive_field.measure_reach(run, channels, divisor, scale) == computed
    assert expected is None or computed == expected
    assert receptive_field.measure_divisor(run, channels, scale) == divisor


def test_a_fixed_size_is_measured_too():
    model = article()
    size = (28, 28)

    def run(image):
        assert image.shape[1:3] == size
        return np.asarray(model(image, training=False))

    assert receptive_field.measure_reach(run, 1, 2, 1, size) == 6
    assert receptive_field.measure_divisor(run, 1, 1, size) == 2


def test_a_network_that_sees_everything_has_no_reach():
    image = keras.Input((None, None, 1))
    mean = layers.GlobalAveragePooling2D(keepdims=True)(image)
    model = keras.Model(image, layers.Subtract()([image, mean]))
    assert receptive_field.compute_reach(model, 1) is None

    def run(image):
        # The mean of a large picture hardly moves with one pixel: measured at one size alone.
        return np.asarray(model(image, training=False))

    assert receptive_field.measure_reach(run, 1, 1, 1, (64, 64)) is None


def test_layers_that_are_not_known_are_not_guessed():
    model = chain(layers.UpSampling2D(2, interpolation="bicubic"), layers.AveragePooling2D(2))
    assert receptive_field.compute_reach(model, 1) is None
