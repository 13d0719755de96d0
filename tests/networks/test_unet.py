"""The U-Net: its shapes, and the laws that its design promises."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.fixtures.tflite_files import converted
from tf_deconv.degradations.tasks import TASKS, find_task
from tf_deconv.exporting.saved_model import restorer as saved_restorer
from tf_deconv.inference import restorer, tflite_file
from tf_deconv.networks import receptive_field, reparameterization
from tf_deconv.networks.complexity import multiply_adds_per_pixel
from tf_deconv.networks.table import NETWORKS
from tf_deconv.networks.unet import DIVISOR, ENLARGING, SIZES, build_unet
from tf_deconv.training import compilation
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.utils.devices import Device


def randomise(model, seed=0):
    """Gives every weight a value that shows: the tail begins as zeros."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.1, weight.shape).astype("float32"))
    return model


def predict(model, images):
    return keras.ops.convert_to_numpy(model(images))


def test_the_table_knows_its_sizes_and_its_divisor():
    network = NETWORKS["unet"]
    assert network.divisor == DIVISOR
    for scale, sizes in ((1, SIZES), (2, ENLARGING), (4, ENLARGING)):
        assert set(network.sizes) == set(sizes)
        for name, size in sizes.items():
            assert network.levels_of(name, scale) == len(size.filters) == len(size.blocks)


@pytest.mark.parametrize(
    ("scale", "parameters"),
    [
        (1, (11_184, 104_800, 706_176)),
        (2, (9_876, 87_996, 702_324)),
        (4, (10_560, 89_544, 704_160)),
    ],
)
def test_sizes_have_these_parameters(scale, parameters):
    sizes = ("tiny", "small", "base")
    counts = tuple(build_unet(size=size, scale=scale).count_params() for size in sizes)
    assert counts == parameters


@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (1, 3), (4, 3)])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_output_has_scale_times_the_size_of_the_input(rng, channels, scale):
    channels_in, channels_out = channels
    model = randomise(build_unet(None, None, channels_in, channels_out, scale, "tiny"))
    restored = predict(model, rng.random((2, 8, 12, channels_in), np.float32))
    assert restored.shape == (2, 8 * scale, 12 * scale, channels_out)
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_head_of_base_is_space_to_depth_and_a_3x3_convolution(rng, channels):
    # Six pixels at stride 2 are three cells of 2x2, so the two are one layer.
    model = randomise(build_unet(channels_in=channels, channels_out=channels, size="base"))
    kernel = model.get_layer("head").get_weights()[0]  # (6, 6, C, F)
    cells = kernel.reshape(3, 2, 3, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    image = rng.random((2, 12, 20, channels), np.float32)
    # Mirrored at the border, as the network does.
    padded = np.pad(image, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
    expected = tf.nn.conv2d(
        tf.nn.space_to_depth(padded, 2), cells.reshape(3, 3, 4 * channels, -1), 1, "VALID"
    )
    head = keras.Model(model.input, model.get_layer("head").output)
    np.testing.assert_allclose(predict(head, image), expected, rtol=1e-4, atol=1e-5)


bends = pytest.mark.parametrize("relu_twice", [False, True])


@bends
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1, 2, 3])
def test_blind_to_levels_it_cannot_shift_colours(rng, size, scale, relu_twice):
    options = dict(blind_to_levels=True, relu_twice=relu_twice)
    model = randomise(build_unet(size=size, scale=scale, **options))
    head = model.get_layer("head")
    head.kernel.assign(head.kernel.constraint(head.kernel))
    np.testing.assert_allclose(np.sum(head.kernel, axis=(0, 1)), 0, atol=1e-5)
    image = rng.random((1, 12, 16, 3), np.float32)
    colour = np.array([0.9, 0.1, 0.4], np.float32)
    shifted = predict(model, 0.5 * image + colour)  # At the border too.
    expected = 0.5 * predict(model, image) + colour
    np.testing.assert_allclose(shifted, expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_training_keeps_the_head_blind_and_what_is_saved_needs_no_class_of_ours(rng, tmp_path):
    config = check_train_config(TrainConfig(network="unet", size="tiny", task="denoise"))
    model = compilation.build_in("float32", TASKS["denoise"], config, trained=True)
    compilation.compile_model(model, config, Device("cpu", "", "float32", False))
    batch = rng.random((4, 16, 16, 3), np.float32)
    model.fit(batch, rng.random((4, 16, 16, 3), np.float32), verbose=0)
    np.testing.assert_allclose(np.sum(model.get_layer("head").kernel, axis=(0, 1)), 0, atol=1e-6)
    saved = compilation.build_in("float32", TASKS["denoise"], config)
    saved.set_weights(model.get_weights())
    saved.save(tmp_path / "model.keras")
    code = "import sys, keras; print(keras.models.load_model(sys.argv[1]).count_params())"
    command = [sys.executable, "-c", code, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == saved.count_params()


@pytest.mark.parametrize(
    ("task", "degrade", "expected"),
    [
        ("denoise", None, False),
        ("super-resolve-x2", None, False),
        ("deblock", None, False),
        ("low-light", None, True),
        ("denoise", "poisson:20", True),
        ("colorize", None, True),
        ("old-photo", None, True),
        ("inpaint", None, True),
        ("paired", None, True),
    ],
)
def test_only_tasks_that_need_levels_see_them(task, degrade, expected):
    config = check_train_config(
        TrainConfig(
            network="unet",
            size="tiny",
            task=task,
            degrade=degrade,
            data="in",
            targets="out" if task == "paired" else None,
        )
    )
    found = find_task(task, degrade)
    assert found.sees_levels == expected
    model = compilation.build_in("float32", found, config, trained=True)
    assert (model.get_layer("head").kernel.constraint is None) == expected


def test_what_is_enlarged_is_not_made_smaller_first():
    assert build_unet(size="base").get_layer("head").strides == (2, 2)
    for size in ENLARGING:
        assert build_unet(size=size, scale=2).get_layer("head").strides == (1, 1)


@pytest.mark.parametrize("filters", [(8,), (8, 16), (8, 8, 16, 16)])
@pytest.mark.parametrize("space_to_depth", [True, False])
def test_widths_and_depth_are_arguments(rng, filters, space_to_depth):
    model = build_unet(
        filters=filters, blocks=(2,) * len(filters), space_to_depth=space_to_depth, use_bias=True
    )
    divisor = 2 ** (len(filters) - 1) * (2 if space_to_depth else 1)
    image = rng.random((1, 2 * divisor, 3 * divisor, 3), np.float32)
    assert predict(randomise(model), image).shape == image.shape
    names = [layer.name for layer in model.layers]
    assert sum(name.startswith("bottom_block") and name.endswith("add") for name in names) == 2
    assert model.get_layer("bottom_block_2_conv_1").use_bias


def test_with_two_relus_a_block_bends_twice_for_the_same_weights(rng):
    once, twice = build_unet(size="base"), build_unet(size="base", relu_twice=True)
    assert [weight.path for weight in twice.weights] == [weight.path for weight in once.weights]
    assert multiply_adds_per_pixel(twice) == multiply_adds_per_pixel(once)
    # Of a block's input only what is above 0 counts, beside what goes past the block.
    for model in (once, twice):
        randomise(model)
    twice.set_weights(once.get_weights())
    image = rng.random((1, 16, 16, 3), np.float32)
    into = keras.Model(once.input, once.get_layer("encoder_1_block_1_add").input[0])
    outputs = [
        keras.Model(model.input, model.get_layer("encoder_1_block_1_add").output)
        for model in (once, twice)
    ]
    x = predict(into, image)
    block = [once.get_layer(f"encoder_1_block_1_conv_{number}") for number in (1, 2)]
    np.testing.assert_allclose(
        predict(outputs[1], image),
        x + np.asarray(block[1](block[0](np.maximum(x, 0)))),
        rtol=1e-4,
        atol=1e-4,
    )
    assert not np.allclose(predict(outputs[0], image), predict(outputs[1], image), atol=1e-2)


@bends
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_fused_equals_unfused(rng, size, scale, relu_twice):
    trained = randomise(
        build_unet(scale=scale, size=size, reparameterize=True, relu_twice=relu_twice)
    )
    plain = build_unet(scale=scale, size=size, relu_twice=relu_twice)
    weights = {weight.path: weight.numpy() for weight in trained.weights}
    plain.set_weights(reparameterization.fuse(weights, [weight.path for weight in plain.weights]))
    assert plain.count_params() < trained.count_params()
    image = rng.random((2, 16, 24, 3), np.float32)
    expected = predict(trained, image)
    np.testing.assert_allclose(predict(plain, image), expected, atol=1e-4 * expected.std())


@bends
def test_it_is_homogeneous_so_other_noise_levels_are_a_matter_of_scale(rng, relu_twice):
    model = randomise(build_unet(size="small", relu_twice=relu_twice))
    image = rng.random((1, 16, 16, 3), np.float32)
    for factor in (0.25, 3.0):
        expected = factor * predict(model, image)
        np.testing.assert_allclose(predict(model, factor * image), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_constant_picture_stays_constant_away_from_the_border(scale):
    # No checkerboard: with a kernel as large as the stride, each output pixel has its own weights,
    # and here all of them are equal.
    model = build_unet(None, None, 3, 3, scale, "tiny")
    model.set_weights([np.full(w.shape, 0.01, np.float32) for w in model.get_weights()])
    size = 4 * receptive_field.compute_reach(model, DIVISOR, scale)
    restored = predict(model, np.full((1, size, size, 3), 0.5, np.float32))
    middle = restored[0, size * scale // 2 - 8 : size * scale // 2 + 8]
    middle = middle[:, size * scale // 2 - 8 : size * scale // 2 + 8]
    np.testing.assert_allclose(middle, middle[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize(("channels_in", "channels_out"), [(3, 3), (1, 3), (4, 3)])
def test_training_begins_at_the_input_itself(rng, channels_in, channels_out):
    image = rng.random((1, 8, 8, channels_in), np.float32)
    restored = predict(build_unet(None, None, channels_in, channels_out, size="tiny"), image)
    expected = image[..., :channels_out] if channels_in > 1 else np.repeat(image, 3, -1)
    np.testing.assert_array_equal(restored, expected)


def test_super_resolution_begins_at_the_enlarged_input(rng):
    image = rng.random((1, 4, 8, 3), np.float32)
    restored = predict(build_unet(scale=2, size="tiny"), image)
    np.testing.assert_allclose(restored, enlarge(image, 2), atol=1e-6)


def test_what_the_network_corrects_stays_float32_under_mixed_precision(rng):
    # Else the picture itself would have 8 bits, and training would mend that.
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = [build_unet(None, None, 1, 3, scale, "tiny") for scale in (1, 2)]
    finally:
        keras.config.set_dtype_policy("float32")
    image = rng.random((1, 4, 8, 1), np.float32)
    np.testing.assert_array_equal(predict(models[0], image), image.repeat(3, -1))
    expected = enlarge(image, 2).repeat(3, -1)
    np.testing.assert_allclose(predict(models[1], image), expected, atol=1e-6)


def enlarge(image, scale):
    """Repeats pixels and averages what lies in a window around each, in NumPy."""
    side = scale + 1 - scale % 2
    large = image.repeat(scale, 1).repeat(scale, 2)

    def window_sums(array):
        border = ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0))
        padded = np.pad(array.astype(np.float64), border)
        return np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2)).sum((-1, -2))

    return window_sums(large) / window_sums(np.ones_like(large))


def test_enlarging_is_bilinear_at_x3(rng):
    image = rng.random((1, 4, 8, 3), np.float32)
    restored = predict(build_unet(scale=3, size="tiny"), image)
    enlarged = keras.layers.UpSampling2D(3, interpolation="bilinear")(image)
    np.testing.assert_allclose(restored, keras.ops.convert_to_numpy(enlarged), atol=1e-6)


every_reach = pytest.mark.parametrize(
    ("size", "scale"), [("tiny", 1), ("tiny", 2), ("small", 1), ("base", 1), ("base", 2)]
)


@every_reach
def test_the_computed_receptive_field_is_the_measured_one(size, scale):
    model = randomise(build_unet(None, None, 1, 1, scale, size))
    computed = receptive_field.compute_reach(model, DIVISOR, scale)

    def run(batch):
        return predict(model, batch)

    assert receptive_field.measure_reach(run, 1, DIVISOR, scale) == computed


@every_reach
def test_with_two_relus_a_point_reaches_as_far_as_is_computed(size, scale):
    # A point on black, since what comes from so far off is less than other pixels are rounded by.
    model = build_unet(None, None, 1, 1, scale, size, relu_twice=True)
    computed = receptive_field.compute_reach(model, DIVISOR, scale)
    once = build_unet(None, None, 1, 1, scale, size)
    assert receptive_field.compute_reach(once, DIVISOR, scale) == computed
    side, found = 4 * (computed // DIVISOR + 2) * DIVISOR, 0
    for seed in range(3):  # Of eight channels none may pass a ReLU.
        randomise(model, seed)
        for at in range(side // 2, side // 2 + DIVISOR):
            point = np.zeros((2, side, side, 1), np.float32)
            point[:, at, at] = [[1], [-1]]
            rows = np.nonzero(predict(model, point).any((0, 2, 3)))[0] // scale
            found = max(found, np.abs(rows - at).max())
    assert found == computed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 6}, "height=6: expected a multiple of 4"),
        ({"width": 0}, "width=0: expected a multiple of 4"),
        ({"channels_in": 0}, "channels_in=0: expected a positive integer"),
        ({"scale": 1.5}, "scale=1.5: expected a positive integer"),
        ({"channels_out": 1}, "channels_in=3 and channels_out=1: expected equal numbers"),
        ({"size": "huge"}, "size='huge': expected one of tiny, small, base"),
        ({"filters": (8, 16)}, "expected one number of each for every level"),
        ({"filters": (8, 0, 16)}, r"filters\[1\]=0: expected a positive integer"),
        ({"blocks": (1, 1, 1.5)}, r"blocks\[2\]=1.5: expected a positive integer"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_unet(**arguments)


def test_super_resolution_is_exported_in_operators_that_every_delegate_has(tmp_path, rng):
    # Keras's bilinear enlarging failed in the graph; its repeating became TILE of five axes.
    model = randomise(build_unet(scale=2, size="tiny"))
    saved_restorer.write_saved_model(model, tmp_path / "1", divisor=4, scale=2, max_pixels=10**6)
    served = tf.saved_model.load(tmp_path / "1").signatures["serving_default"]
    image = rng.random((1, 9, 14, 3), np.float32)
    restored = served(image=tf.constant(image))["restored"].numpy()
    expected = restorer.restore_picture(model, image[0], 4, 2)
    np.testing.assert_allclose(restored[0], expected, atol=1e-5)
    calibration = rng.random((1, 16, 16, 3), np.float32)
    file = converted(model, ["float32"], [(16, 16)], calibration, divisor=4, scale=2)["float32"]
    kinds = {name.split()[0] for name in tflite_file.TfliteFile(file).operator_counts()}
    assert kinds == {"ADD", "AVERAGE_POOL_2D", "CONV_2D", "MIRROR_PAD", "TRANSPOSE_CONV"}
