"""The article's network: what it declares, its formula, and each fault of its program."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tf_deconv.data import patches
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.images import padding
from tf_deconv.networks.article import DIVISOR, build_article
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training import losses

# The shape that the article states after each of its lines, for one picture.
DECLARED_SHAPES = {
    "image": (28, 28, 1),
    "encoder_conv": (28, 28, 32),
    "encoder_pool": (14, 14, 32),
    "decoder_1_deconv": (28, 28, 64),
    "decoder_1_conv": (28, 28, 64),
    "decoder_2_deconv": (28, 28, 3),
    "dense": (28, 28, 3),
}

# k * k * in * out + out for each layer:
#   encoder_conv      3 * 3 *  1 * 32 + 32 =    320    (3 channels in:  896; 2 in: 608)
#   decoder_1_deconv  4 * 4 * 32 * 64 + 64 = 32,832
#   decoder_1_conv    3 * 3 * 64 * 64 + 64 = 36,928
#   decoder_2_deconv  4 * 4 * 64 *  3 +  3 =  3,075    (1 channel out: 1,025; 4 out: 4,100)
#   dense             1 * 1 *  3 *  3 +  3 =     12    (1 channel out:     2; 4 out:    20)
PARAMETER_COUNTS = {
    (1, 3): 320 + 32_832 + 36_928 + 3_075 + 12,
    (3, 3): 896 + 32_832 + 36_928 + 3_075 + 12,
    (1, 1): 320 + 32_832 + 36_928 + 1_025 + 2,
    (2, 4): 608 + 32_832 + 36_928 + 4_100 + 20,
}


@pytest.fixture(scope="module")
def article():
    return build_article()


def randomise(model, seed=0):
    """Gives every weight, biases too, a value that shows: zeros would hide a missing term."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.1, w.shape).astype("float32") for w in model.get_weights()])
    return model


def predict(model, images):
    return keras.ops.convert_to_numpy(model(images))


# --- What the article declares.


@pytest.mark.parametrize(("name", "shape"), DECLARED_SHAPES.items())
def test_every_declared_shape_is_true(article, name, shape):
    assert article.get_layer(name).output.shape == (None, *shape)


def test_layers_follow_in_the_order_of_the_article(article):
    assert [layer.name for layer in article.layers] == list(DECLARED_SHAPES)


def test_defaults_map_a_grey_picture_of_28_pixels_to_a_colour_one(article, rng):
    assert article.input_shape == (None, 28, 28, 1)
    assert article.output_shape == (None, 28, 28, 3)
    assert predict(article, rng.random((5, 28, 28, 1), np.float32)).shape == (5, 28, 28, 3)


@pytest.mark.parametrize("channels", PARAMETER_COUNTS)
def test_parameter_count_equals_the_sum_by_hand(channels):
    channels_in, channels_out = channels
    model = build_article(None, None, channels_in, channels_out)
    assert model.count_params() == PARAMETER_COUNTS[channels]


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (3, 8), (27, 31), (30, 26)])
@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (4, 2)])
def test_output_has_the_size_of_the_input_and_stays_between_0_and_1(rng, size, channels):
    channels_in, channels_out = channels
    model = randomise(build_article(*size, channels_in, channels_out))
    restored = predict(model, rng.random((2, *size, channels_in), np.float32))
    assert model.output_shape == (None, *size, channels_out)
    assert restored.shape == (2, *size, channels_out)
    assert restored.dtype == np.float32
    assert restored.min() > 0.0
    assert restored.max() < 1.0


@pytest.mark.parametrize(("height", "width"), [(None, None), (None, 12), (12, None), (None, 11)])
def test_a_size_of_none_takes_any_even_size(rng, height, width):
    model = build_article(height, width)
    assert model.output_shape == (None, height, width, 3)
    for even in (2, 14):
        size = (height or even, width or even)
        assert predict(model, rng.random((1, *size, 1), np.float32)).shape == (1, *size, 3)


def test_the_model_of_any_size_equals_the_one_of_28_pixels(article, rng):
    of_any_size = build_article(None, None)
    of_any_size.set_weights(article.get_weights())
    images = rng.random((2, 28, 28, 1), np.float32)
    np.testing.assert_allclose(predict(of_any_size, images), predict(article, images), atol=1e-6)


@pytest.mark.parametrize("size", [(27, 31), (27, 30), (28, 31), (1, 1), (1, 6)])
def test_an_odd_size_equals_padding_the_picture_and_cropping_the_output(rng, size):
    height, width = size
    of_any_size = randomise(build_article(None, None))
    model = build_article(height, width)
    model.set_weights(of_any_size.get_weights())
    images = rng.random((2, height, width, 1), np.float32)
    padded = predict(of_any_size, padding.pad_array(images, DIVISOR))
    np.testing.assert_allclose(predict(model, images), padded[:, :height, :width], atol=1e-6)


@pytest.mark.parametrize("name", ["height", "width", "channels_in", "channels_out"])
@pytest.mark.parametrize("value", [0, -1, 28.0, "28", True])
def test_a_size_that_is_no_positive_integer_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}: expected a positive integer"):
        build_article(**{name: value})


@pytest.mark.parametrize("name", ["channels_in", "channels_out"])
def test_a_channel_count_of_none_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=None: expected a positive integer"):
        build_article(**{name: None})


def test_output_is_float32_under_mixed_precision(rng):
    # bfloat16 has 8 bits of precision: a picture in it would show bands.
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_article()
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("decoder_1_conv").compute_dtype == "bfloat16"
    assert predict(model, rng.random((1, 28, 28, 1), np.float32)).dtype == np.float32


# --- The faults of the article's program, numbered as in docs/article.md.


@pytest.mark.parametrize(("name", "filters"), [("decoder_1_deconv", 64), ("decoder_2_deconv", 3)])
def test_fault_1_the_declared_output_shapes_are_filters(article, name, filters):
    # The article passes an output shape where `conv2d_transpose` takes a number of filters.
    layer = article.get_layer(name)
    assert layer.filters == filters
    assert layer.kernel.shape == (4, 4, filters, layer.input.shape[-1])


def test_fault_2_the_second_transposed_convolution_keeps_the_size(article):
    # With the article's stride of 2 it gives 56x56, not the 28x28 that the next line expects.
    assert article.get_layer("decoder_1_deconv").strides == (2, 2)
    assert article.get_layer("decoder_2_deconv").strides == (1, 1)
    assert article.get_layer("decoder_2_deconv").output.shape == (None, 28, 28, 3)


def test_fault_3_the_loss_compares_with_the_target(article, rng):
    # The article's loss compares the output with the input.
    images = rng.random((2, 28, 28, 1), np.float32)
    target = 0.2 * rng.random((2, 28, 28, 3), np.float32)
    restored = predict(article, images)
    article.compile(loss=losses.PixelLoss("mse"), jit_compile=False)
    by_hand = np.mean((restored - target) ** 2)
    assert abs(by_hand - np.mean((restored - images) ** 2)) > 0.01
    assert article.evaluate(images, target, verbose=0) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("name", losses.PIXEL_ERRORS)
def test_fault_3_one_channel_never_broadcasts_against_three(article, rng, name):
    # The article's input has 1 channel and its output 3: their error is a number all the same.
    images = rng.random((2, 28, 28, 1), np.float32)
    article.compile(loss=losses.PixelLoss(name), jit_compile=False)
    with pytest.raises(ValueError, match="expected equal shapes; they would broadcast silently"):
        article.evaluate(images, images, verbose=0)


def test_fault_4_the_loss_sees_the_output_so_gradients_reach_every_weight(article, bundled):
    # The article feeds its training data into the output tensor: nothing upstream of it learns.
    images, targets = next(
        iter(
            patches.training_data(
                bundled.training,
                TASKS["old-photo"],
                patch_size=28,
                batch_size=8,
                steps_per_epoch=1,
                seed=0,
            )
        )
    )
    with tf.GradientTape() as tape:
        loss = losses.PixelLoss("mse")(targets, article(images, training=True))
    weights = [weight.value for weight in article.trainable_weights]
    gradients = tape.gradient(loss, weights)
    assert len(gradients) == 10
    for weight, gradient in zip(article.trainable_weights, gradients):
        assert gradient is not None, weight.path
        assert np.all(np.isfinite(gradient)), weight.path
        assert np.any(gradient.numpy() != 0), weight.path


@pytest.mark.parametrize("size", [(28, 28), (27, 31), (None, None)])
def test_fault_5_a_saved_model_gives_the_same_picture(tmp_path, rng, size):
    # The article saves nothing.
    model = randomise(build_article(*size))
    model.save(tmp_path / "article.keras")
    loaded = keras.models.load_model(tmp_path / "article.keras")
    height, width = (side or 20 for side in size)
    images = rng.random((2, height, width, 1), np.float32)
    np.testing.assert_array_equal(predict(loaded, images), predict(model, images))


LOAD_WITHOUT_THIS_PACKAGE = """
import sys
sys.modules["tf_deconv"] = None  # Importing it raises ImportError.
import keras, numpy as np
model_path, images_path, restored_path = sys.argv[1:]
model = keras.models.load_model(model_path)
np.save(restored_path, keras.ops.convert_to_numpy(model(np.load(images_path))))
"""


def test_fault_5_a_saved_model_needs_nothing_of_this_package(tmp_path, rng, run_python):
    model = randomise(build_article(27, 31))  # Odd sizes: the mirror and the crop are saved too.
    model.save(tmp_path / "article.keras")
    images = rng.random((2, 27, 31, 1), np.float32)
    np.save(tmp_path / "images.npy", images)
    paths = [tmp_path / name for name in ("article.keras", "images.npy", "restored.npy")]
    run_python(LOAD_WITHOUT_THIS_PACKAGE, *paths)
    np.testing.assert_allclose(np.load(paths[2]), predict(model, images), atol=1e-6)


def test_fault_6_the_layers_are_those_of_the_code(article):
    # The article's text counts two convolutions, one transposed one, one pooling and one dense.
    kinds = [type(layer).__name__ for layer in article.layers]
    assert sorted(kinds) == [
        "Conv2D",
        "Conv2D",
        "Conv2D",
        "Conv2DTranspose",
        "Conv2DTranspose",
        "InputLayer",
        "MaxPooling2D",
    ]
    assert article.get_layer("dense").kernel_size == (1, 1)


def test_fault_6_the_1x1_convolution_is_the_dense_layer_of_the_article(article, rng):
    convolution = article.get_layer("dense")
    kernel = rng.normal(size=(3, 3)).astype("float32")
    bias = rng.normal(size=3).astype("float32")
    dense = layers.Dense(3, activation="sigmoid")
    dense.build((None, 28, 28, 3))
    dense.set_weights([kernel, bias])
    same = layers.Conv2D.from_config(convolution.get_config())
    same.build((None, 28, 28, 3))
    same.set_weights([kernel[np.newaxis, np.newaxis], bias])
    x = rng.normal(size=(2, 28, 28, 3)).astype("float32")
    np.testing.assert_allclose(predict(same, x), predict(dense, x), atol=1e-6)


# --- Fault 7: section 2.1 gives the formula of a full convolution and calls it a deconvolution.


def full_convolution(x, kernel, bias):
    """y[i, j] = sum over k, l of w[k, l] x[i - k, j - l], plus b: the article's formula, as it is.

    Args:
      x: (H, W, C).
      kernel: (K, K, C', C), as Keras stores a transposed convolution.
      bias: (C',).
    Returns:
      (H + K - 1, W + K - 1, C').
    """
    height, width, _ = x.shape
    size = kernel.shape[0]
    y = np.tile(bias, (height + size - 1, width + size - 1, 1))
    for i, j in np.ndindex(y.shape[:2]):
        for k, l in np.ndindex(size, size):  # noqa: E741 (the article's letters)
            if 0 <= i - k < height and 0 <= j - l < width:
                y[i, j] += kernel[k, l] @ x[i - k, j - l]
    return y


@pytest.mark.parametrize("size", [(1, 1), (5, 6), (2, 7)])
@pytest.mark.parametrize("kernel_size", [1, 3, 4])
def test_fault_7_the_formula_is_a_transposed_convolution_of_stride_1(rng, size, kernel_size):
    x = rng.normal(size=(*size, 3))
    kernel = rng.normal(size=(kernel_size, kernel_size, 2, 3))
    bias = rng.normal(size=2)
    deconv = layers.Conv2DTranspose(2, kernel_size, strides=1, padding="valid", dtype="float64")
    deconv.build((None, None, None, 3))
    deconv.set_weights([kernel, bias])
    expected = full_convolution(x, kernel, bias)
    np.testing.assert_allclose(predict(deconv, x[np.newaxis])[0], expected, atol=1e-12)


def test_fault_7_the_second_transposed_convolution_is_the_formula_cropped(article, rng):
    # 4x4 at stride 1 adds 3 rows and 3 columns; "same" takes 1 away in front and 2 behind.
    x = rng.normal(size=(6, 7, 64))
    kernel = rng.normal(size=(4, 4, 3, 64))
    bias = rng.normal(size=3)
    config = article.get_layer("decoder_2_deconv").get_config()
    deconv = layers.Conv2DTranspose.from_config({**config, "dtype": "float64"})
    deconv.build((None, None, None, 64))
    deconv.set_weights([kernel, bias])
    expected = np.maximum(full_convolution(x, kernel, bias)[1:7, 1:8], 0)
    np.testing.assert_allclose(predict(deconv, x[np.newaxis])[0], expected, atol=1e-12)


# strides, padding, kernel_size, (height, width), output_padding. A strided convolution maps an even
# and the next odd size to one size, so going back needs `output_padding` for one of the two.
ADJOINT_CASES = [
    (1, "same", 3, (8, 6), None),
    (1, "same", 4, (8, 6), None),
    (1, "same", 4, (9, 7), None),
    (1, "valid", 3, (9, 7), None),
    (1, "valid", 4, (8, 6), None),
    (1, "valid", 4, (9, 7), None),
    (2, "same", 3, (8, 6), None),
    (2, "same", 3, (9, 7), 0),
    (2, "same", 4, (8, 6), None),
    (2, "same", 4, (9, 7), 1),
    (2, "valid", 3, (8, 6), 1),
    (2, "valid", 3, (9, 7), None),
    (2, "valid", 4, (8, 6), None),
    (2, "valid", 4, (9, 7), 1),
]


@pytest.mark.parametrize(
    ("strides", "padding_mode", "kernel_size", "size", "output_padding"), ADJOINT_CASES
)
@pytest.mark.parametrize("channels", [(1, 1), (2, 3)])
def test_fault_7_a_transposed_convolution_is_the_adjoint_of_the_convolution(
    rng, channels, strides, padding_mode, kernel_size, size, output_padding
):
    # <conv x, y> == <x, deconv y> for every x and y, with one kernel: (k, k, in, out) to the
    # convolution is (k, k, out, in) to the transposed one. It is not an inverse.
    channels_in, channels_out = channels
    options = dict(strides=strides, padding=padding_mode, use_bias=False, dtype="float64")
    conv = layers.Conv2D(channels_out, kernel_size, **options)
    deconv = layers.Conv2DTranspose(
        channels_in, kernel_size, output_padding=output_padding, **options
    )
    kernel = rng.normal(size=(kernel_size, kernel_size, channels_in, channels_out))
    conv.build((None, *size, channels_in))
    deconv.build((None, None, None, channels_out))
    conv.set_weights([kernel])
    deconv.set_weights([kernel])
    x = rng.normal(size=(2, *size, channels_in))
    conv_x = predict(conv, x)
    y = rng.normal(size=conv_x.shape)
    deconv_y = predict(deconv, y)
    assert deconv_y.shape == x.shape
    assert np.vdot(conv_x, y) == pytest.approx(np.vdot(x, deconv_y), rel=1e-10)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(14, 12), (7, 9), (None, None)])
def test_a_scale_makes_the_last_deconvolution_enlarge(scale, size):
    model = build_article(*size, channels_in=3, channels_out=3, scale=scale)
    height, width = (side or 8 for side in size)
    output = model(np.zeros((2, height, width, 3), np.float32))
    assert output.shape == (2, height * scale, width * scale, 3)
    deconv = model.get_layer("decoder_2_deconv")
    # A kernel of a multiple of the stride overlaps evenly: no checkerboard.
    assert deconv.kernel_size[0] % scale == 0


def test_the_table_and_the_builder_agree_on_the_divisor():
    # The table is read without TensorFlow, so it cannot take the number from the builder.
    assert NETWORKS["article"].divisor == DIVISOR
