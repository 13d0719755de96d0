"""Convolutions by phases: the same function, from any kernel, in fewer operations of full width."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_deconv import flatbuffer
from tf_deconv.exporting import phases, tflite
from tf_deconv.networks.article import build_article
from tf_deconv.networks.unet import build_unet


def one_layer(layer, channels=5, size=(12, 18)):
    image = keras.Input((*size, channels))
    return keras.Model(image, layer(image))


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose])
@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, (3, 4), (6, 2)])
@pytest.mark.parametrize("filters", [1, 3])
def test_the_picture_is_the_same(rng, kind, kernel_size, filters):
    options = dict(padding="same", activation="relu", bias_initializer="ones")
    model = one_layer(kind(filters, kernel_size, **options))
    phased = phases.by_phases(model)
    assert phased.layers[-1].name.endswith("_phased")
    image = rng.normal(size=(2, 12, 18, 5)).astype(np.float32)
    expected = model.predict(image, verbose=0)
    np.testing.assert_allclose(phased.predict(image, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(13, 18), (12, 17), (None, None)])
def test_maps_of_odd_or_unknown_sides_are_computed_as_before(rng, size):
    model = one_layer(layers.Conv2D(3, 3, padding="same"), size=size)
    image = rng.normal(size=(1, *(side or 9 for side in size), 5)).astype(np.float32)
    expected = model.predict(image, verbose=0)
    phased = phases.by_phases(model)
    np.testing.assert_allclose(phased.predict(image, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(5, 3, padding="same"),
        layers.Conv2D(3, 3),
        layers.Conv2D(3, 1, padding="same"),
        layers.Conv2D(3, 3, strides=2, padding="same"),
        layers.Conv2D(3, 3, dilation_rate=2, padding="same"),
        layers.Conv2DTranspose(3, 2, strides=2, padding="same"),
        layers.DepthwiseConv2D(3, padding="same"),
    ],
)
def test_other_layers_are_left_alone(layer):
    assert not phases._has_few_channels(layer)


@pytest.mark.parametrize(
    ("model", "divisor"),
    [(lambda: build_article(None, None), 2), (lambda: build_unet(size="tiny"), 4)],
    ids=["article", "unet"],
)
def test_the_networks_last_convolution_is_converted_so(model, divisor, rng):
    model = model()
    channels = model.input_shape[-1]
    calibration = rng.random((1, 32, 32, channels), np.float32)
    counts = [
        flatbuffer.operator_counts(
            tflite.convert(
                model, ["float32"], [(32, 32)], calibration, divisor=divisor, scale=1, phased=phased
            )["float32"]
        )
        for phased in (False, True)
    ]
    assert [count["DEPTH_TO_SPACE v1"] for count in counts] == [0, 1]
