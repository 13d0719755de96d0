"""Multiply-adds: worked out by hand, and the literature's own figures for its networks."""

import json

import keras
import pytest
from keras import layers

from tf_deconv.evaluation.protocols import published
from tf_deconv.inference import tflite_file
from tf_deconv.networks import article, complexity, mask_blending, unet


def chain(*steps, channels=1, side=None):
    image = x = keras.Input((side, side, channels))
    for step in steps:
        x = step(x)
    return keras.Model(image, x)


def conv(filters, kernel_size=3, **options):
    return layers.Conv2D(filters, kernel_size, padding="same", **options)


def dncnn(depth, channels=1):
    inner = []
    for _ in range(depth - 2):
        inner += [conv(64, use_bias=False), layers.BatchNormalization(), layers.ReLU()]
    return chain(conv(64, activation="relu"), *inner, conv(channels), channels=channels)


def ffdnet(channels, filters, depth):
    # The noise level is one more channel of the picture at half its size.
    image = keras.Input((None, None, 4 * channels + 1))
    x = image
    for _ in range(depth - 1):
        x = conv(filters, activation="relu")(x)
    return keras.Model(image, layers.Conv2DTranspose(4 * channels, 3, padding="same")(x))


CASES = [
    pytest.param(lambda: chain(conv(8, 5), channels=3), 5 * 5 * 3 * 8, id="convolution"),
    pytest.param(lambda: chain(conv(8, (3, 7))), 3 * 7 * 8, id="oblong"),
    pytest.param(lambda: chain(conv(8, dilation_rate=4)), 9 * 8, id="dilated"),
    pytest.param(lambda: chain(conv(8, groups=2), channels=4), 9 * 2 * 8, id="grouped"),
    pytest.param(
        # A quarter of the positions; then each of them makes 2x2 with 4x4 weights.
        lambda: chain(
            conv(8, strides=2), layers.Conv2DTranspose(3, 4, strides=2, padding="same"), channels=3
        ),
        9 * 3 * 8 / 4 + 16 * 8 * 3 / 4,
        id="down and up",
    ),
    pytest.param(
        lambda: chain(conv(4), layers.Conv2DTranspose(1, 9, strides=3, padding="same")),
        9 * 4 / 9 + 81 * 4 / 9,
        id="enlarged by 3",
    ),
    pytest.param(
        lambda: chain(layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), channels=4),
        9 * 4 * 2,
        id="depthwise",
    ),
    pytest.param(
        lambda: chain(layers.SeparableConv2D(8, 3, padding="same"), channels=4),
        9 * 4 + 4 * 8,
        id="separable",
    ),
    pytest.param(lambda: chain(layers.Dense(6), channels=4), 4 * 6, id="dense"),
    pytest.param(lambda: chain(conv(2), side=28), 9 * 2, id="of one size"),
    pytest.param(lambda: keras.Sequential([keras.Input((None, None, 2)), conv(3)]), 54, id="list"),
    pytest.param(
        lambda: chain(
            conv(2), layers.PReLU(shared_axes=[1, 2]), layers.BatchNormalization(), layers.ReLU()
        ),
        9 * 2,
        id="what is not counted",
    ),
    pytest.param(
        lambda: mask_blending.keep_known(chain(conv(3), channels=4)), 9 * 4 * 3, id="with a mask"
    ),
    pytest.param(
        # 3x3 to 32; at a quarter of the positions 4x4 to 64; 3x3 to 64; 4x4 to 3; and 3 to 3.
        lambda: article.build_article(None, None),
        9 * 32 + 16 * 32 * 64 / 4 + 9 * 64 * 64 + 16 * 64 * 3 + 3 * 3,
        id="article",
    ),
]


@pytest.mark.parametrize(("build", "expected"), CASES)
def test_multiply_adds_are_those_counted_by_hand(build, expected):
    assert complexity.multiply_adds_per_pixel(build()) == expected


class Scale(layers.Layer):
    """A layer with weights that no table tells of."""

    def build(self, _):
        self.factor = self.add_weight(shape=(1,))

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return x * self.factor


def test_what_is_not_trained_counts_as_well():
    model = chain(conv(4, trainable=False))
    assert complexity.multiply_adds_per_pixel(model) == 36
    enlarging = unet.build_unet(size="tiny", scale=3)
    frozen = next(layer for layer in enlarging.layers if not layer.trainable and layer.weights)
    assert frozen.name == "repeated"
    probe = keras.Model(enlarging.input, frozen.output)
    assert complexity.multiply_adds_per_pixel(probe) == 3 * 3


@pytest.mark.parametrize(
    "build",
    [
        lambda: chain(Scale()),
        lambda: chain(conv(2), chain(conv(2), channels=2)),
        lambda: chain(*[conv(2)] * 2, channels=2),
    ],
    ids=["unknown layer", "model in a model", "layer called twice"],
)
def test_what_cannot_be_counted_is_none(build):
    assert complexity.multiply_adds_per_pixel(build()) is None


# Built here from their papers' descriptions; the published table holds the same figures.
NETWORKS = {
    ("awgn-grey", "Set12", "DnCNN"): lambda: dncnn(17),
    ("awgn-grey", "Set12", "IRCNN"): lambda: chain(
        *(conv(64, dilation_rate=rate, activation="relu") for rate in (1, 2, 3, 4, 3, 2)), conv(1)
    ),
    ("jpeg", "Classic5", "ARCNN"): lambda: chain(conv(64, 9), conv(32, 7), conv(16, 1), conv(1, 5)),
    ("jpeg", "Classic5", "DnCNN-3"): lambda: dncnn(20),
}


@pytest.mark.parametrize("key", NETWORKS, ids=lambda key: key[2])
def test_published_multiply_adds_are_those_of_the_architecture(key):
    protocol, name, method = key
    entry = next(e for e in published.FIGURES[protocol][name] if e.method == method)
    model = NETWORKS[key]()
    settings = published.PROTOCOLS[protocol].settings
    (counted,) = set(entry.multiply_adds.values())
    assert complexity.multiply_adds_per_pixel(model) == counted
    assert model.count_params() == pytest.approx(entry.parameters[settings[0]], rel=0.01)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("method", ["SRCNN", "FSRCNN", "VDSR", "EDSR-baseline"])
def test_published_multiply_adds_of_super_resolution_are_per_output_pixel(method, scale):
    def fsrcnn():
        steps = [conv(56, 5), conv(12, 1), *(conv(12) for _ in range(4)), conv(56, 1)]
        return chain(*steps, layers.Conv2DTranspose(1, 9, strides=scale, padding="same"))

    def edsr():
        body = [conv(64) for _ in range(1 + 32 + 1)]
        steps = {2: [2], 3: [3], 4: [2, 2]}[scale]
        enlarged = [layer for factor in steps for layer in (conv(64 * factor**2), Shuffle(factor))]
        return chain(*body, *enlarged, conv(3), channels=3)

    builders = {
        "SRCNN": lambda: chain(conv(64, 9), conv(32, 5), conv(1, 5)),
        "FSRCNN": fsrcnn,
        "VDSR": lambda: chain(*(conv(64) for _ in range(19)), conv(1)),
        "EDSR-baseline": edsr,
    }
    entry = next(e for e in published.FIGURES["sr"]["Set5"] if e.method == method)
    received = complexity.multiply_adds_per_pixel(builders[method]())
    assert received == pytest.approx(entry.multiply_adds[scale], abs=0.5)


class Shuffle(layers.Layer):
    """Depth to space."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def compute_output_shape(self, shape):
        batch, height, width, channels = shape
        sides = (side and side * self.factor for side in (height, width))
        return (batch, *sides, channels // self.factor**2)

    def call(self, x):
        import tensorflow as tf

        return tf.nn.depth_to_space(x, self.factor)


def test_drunet_is_counted_level_by_level():
    image = keras.Input((None, None, 2))
    x = conv(64, use_bias=False)(image)
    for filters in (64, 128, 256):
        for _ in range(8):
            x = conv(filters, use_bias=False)(x)
        x = layers.Conv2D(2 * filters, 2, strides=2, use_bias=False)(x)
    for _ in range(8):
        x = conv(512, use_bias=False)(x)
    for filters in (256, 128, 64):
        x = layers.Conv2DTranspose(filters, 2, strides=2, use_bias=False)(x)
        for _ in range(8):
            x = conv(filters, use_bias=False)(x)
    model = keras.Model(image, conv(1, use_bias=False)(x))
    entry = next(e for e in published.FIGURES["awgn-grey"]["Set12"] if e.method == "DRUNet")
    assert complexity.multiply_adds_per_pixel(model) == entry.multiply_adds[25]
    assert model.count_params() == 32_638_656  # As its authors count.


def test_ffdnet_is_counted_at_half_the_size_of_the_picture():
    for channels, filters, depth, protocol, name in (
        (1, 64, 15, "awgn-grey", "Set12"),
        (3, 96, 12, "awgn-colour", "CBSD68"),
    ):
        entry = next(e for e in published.FIGURES[protocol][name] if e.method == "FFDNet")
        model = ffdnet(channels, filters, depth)
        assert complexity.multiply_adds_per_pixel(model) / 4 == entry.multiply_adds[25]
        assert model.count_params() == pytest.approx(entry.parameters[25], rel=0.005)


def test_an_export_tells_its_multiply_adds(exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    of_the_article = 9 * 32 + 16 * 32 * 64 / 4 + 9 * 64 * 64 + 16 * 64 * 3 + 3 * 3
    assert manifest["multiply_adds_per_pixel"] == of_the_article
    content = exported.tflite("int8").read_bytes()
    assert tflite_file.read_metadata(content)["multiply_adds_per_pixel"] == of_the_article
