"""How far networks see: measured by changing pixels, computed by a gradient, worked out by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_deconv.networks import receptive_field
from tf_deconv.networks.article import build_article
from tf_deconv.networks.mask_blending import keep_known
from tf_deconv.networks.table import NETWORKS
from tf_deconv.networks.unet import build_unet

TRAINED = dict(reparameterize=True, blind_to_levels=True)


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
    computed = receptive_field.compute_reach(model, divisor, scale)
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
    assert receptive_field.compute_reach(model, 1, 1) is None

    def run(image):
        # The mean of a large picture hardly moves with one pixel: measured at one size alone.
        return np.asarray(model(image, training=False))

    assert receptive_field.measure_reach(run, 1, 1, 1, (64, 64)) is None


# Counted window by window through the layers, by a program of its own.
REACHES = {
    ("tiny", 1): 25,
    ("tiny", 2): 5,
    ("tiny", 3): 5,
    ("tiny", 4): 5,
    ("small", 1): 25,
    ("small", 2): 7,
    ("small", 3): 7,
    ("small", 4): 7,
    ("base", 1): 45,
    ("base", 2): 22,
    ("base", 3): 22,
    ("base", 4): 22,
}


@pytest.mark.parametrize(("size", "scale"), REACHES, ids=str)
def test_the_reach_of_every_unet_is_the_one_that_was_counted(size, scale):
    model = build_unet(None, None, 3, 3, scale, size)
    assert receptive_field.compute_reach(model, 4, scale) == REACHES[size, scale]


def test_every_network_that_restores_is_looked_at():
    known = {name: network.sizes for name, network in NETWORKS.items() if not network.generates}
    known.pop("video")  # tests/networks/test_video.py
    assert known == {"article": (), "unet": ("small", "tiny", "base")}
    assert {size for size, _ in REACHES} == set(known["unet"])


@pytest.mark.parametrize(("channels_in", "options"), [(1, {}), (4, {}), (3, TRAINED)], ids=str)
def test_channels_and_what_training_needs_do_not_change_the_reach(channels_in, options):
    model = build_unet(None, None, channels_in, 3, 1, "small", **options)
    assert receptive_field.compute_reach(model, 4, 1) == 25


def test_a_deep_network_is_followed_to_its_end():
    # 82 convolutions: the paths to one pixel are more than float32 can count.
    model = build_unet(None, None, 1, 1, filters=(2,), blocks=(40,), space_to_depth=False)
    assert receptive_field.compute_reach(model, 1, 1) == 82


@pytest.mark.parametrize(
    "between",
    [
        *(layers.BatchNormalization(), layers.PReLU(shared_axes=[1, 2]), layers.ReLU(max_value=1)),
        *(layers.Activation("sigmoid"), layers.Dropout(0.5), layers.Dense(1, activation="relu")),
    ],
    ids=lambda layer: layer.name,
)
def test_layers_of_single_pixels_change_no_reach(between):
    steps = [layers.Conv2D(1, 5, padding="same", groups=1), between, layers.MaxPooling2D(3, 1)]
    model = chain(*steps, layers.ZeroPadding2D(1))
    assert receptive_field.compute_reach(model, 1, 1) == 3


def test_a_list_of_layers_is_a_network_too():
    model = keras.Sequential([keras.Input((28, 28, 2)), layers.Conv2D(3, 7, padding="same")])
    assert receptive_field.compute_reach(model, 1, 1) == 3


def test_two_branches_that_cancel_are_seen():
    image = keras.Input((None, None, 1))
    one, other = (layers.Conv2D(1, 5, padding="same")(image) for _ in range(2))
    model = keras.Model(image, keras.layers.Subtract()([one, other]))
    assert receptive_field.compute_reach(model, 1, 1) == 2


class OfOwn(layers.Layer):
    """A layer whose windows nobody told."""

    def call(self, x):
        return x

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize(
    "unknown",
    [
        pytest.param(OfOwn(), id="a user's own"),
        pytest.param(layers.UpSampling2D(1, interpolation="bicubic"), id="bicubic"),
        pytest.param(keras.ops.relu, id="an operation that drops values"),
        pytest.param(layers.Softmax(axis=1), id="along an axis"),
        pytest.param(layers.GroupNormalization(1), id="over the picture"),
        pytest.param(chain(layers.Conv2D(1, 3, padding="same")), id="a network"),
    ],
)
def test_layers_that_are_not_known_are_not_guessed(unknown):
    model = chain(layers.Conv2D(1, 3, padding="same"), unknown)
    assert receptive_field.compute_reach(model, 1, 1) is None


def test_an_output_of_another_size_is_not_guessed():
    model = chain(layers.Conv2D(1, 3))
    assert receptive_field.compute_reach(model, 1, 1) is None


def test_the_reach_that_matters_is_where_less_than_half_a_level_changes(rng):
    # The farthest pixels have a weight of a ten-thousandth.
    weights = {0: 0.6, 2: 0.3, 5: 0.1 - 1e-4, 9: 1e-4}

    def run(batch):
        total = np.zeros_like(batch)
        for distance, weight in weights.items():
            padded = np.pad(batch, ((0, 0), *[(distance, distance)] * 2, (0, 0)))
            for axis in (1, 2):
                taken = padded.take(range(batch.shape[axis]), axis)
                taken = taken.take(range(distance, distance + batch.shape[3 - axis]), 3 - axis)
                total += np.float32(weight / 2) * taken
        return total

    pictures = [rng.random((90, 70, 3), np.float32), np.ones((12, 9, 3), np.float32)]
    near = receptive_field.measure_effective_reach(run, pictures, 9, 4, 1)
    assert near == 5
    enlarged = lambda batch: run(batch).repeat(2, 1).repeat(2, 2)  # noqa: E731
    assert receptive_field.measure_effective_reach(enlarged, pictures, 9, 4, 2) == 5
    # Of pictures too small to be cut, nothing is known: more than nothing is taken.
    assert receptive_field.measure_effective_reach(run, [np.ones((3, 3, 3))], 9, 4, 1) == 1
