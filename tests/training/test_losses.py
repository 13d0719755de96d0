"""Losses and the validation metric against numbers by hand."""

import keras
import numpy as np
import pytest

from tf_deconv.images import metrics
from tf_deconv.networks.article import build_article
from tf_deconv.training import losses
from tf_deconv.training.config import TrainConfig

# Of the errors 0.3 and -0.4: (0.09 + 0.16) / 2, (0.3 + 0.4) / 2, and the Charbonnier loss as
# (sqrt(0.090001) + sqrt(0.160001)) / 2 = (0.30000167 + 0.40000125) / 2.
BY_HAND = {"mse": 0.125, "l1": 0.35, "charbonnier": 0.35000146}


def as_float(tensor):
    return float(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("name", losses.PIXEL_ERRORS)
def test_loss_of_two_pixels_equals_the_number_by_hand(name):
    target = np.array([0.5, 0.5], np.float32).reshape(1, 1, 2, 1)
    output = np.array([0.2, 0.9], np.float32).reshape(1, 1, 2, 1)
    assert as_float(losses.PixelLoss(name)(target, output)) == pytest.approx(BY_HAND[name], 1e-6)


@pytest.mark.parametrize("name", losses.PIXEL_ERRORS)
def test_loss_is_the_mean_over_images_pixels_and_channels(name, rng):
    target, output = rng.random((2, 3, 4, 5, 3), np.float32)
    one_by_one = [
        as_float(losses.PixelLoss(name)(target[i : i + 1], output[i : i + 1])) for i in range(3)
    ]
    assert as_float(losses.PixelLoss(name)(target, output)) == pytest.approx(
        np.mean(one_by_one), rel=1e-6
    )


def test_flicker_counts_where_a_clip_stands_still():
    # Errors 0.1, 0.3, 0.3 of a pixel that stands still change by 0.2 once; the other one moves.
    clean = np.zeros((1, 3, 1, 2, 1), np.float32)
    clean[0, :, 0, 1, 0] = 0.2, 0.5, 0.8
    output = clean.copy()
    output[0, :, 0, 0, 0] += 0.1, 0.3, 0.3
    output[0, :, 0, 1, 0] += 0.1, -0.1, 0.1
    frames = (0.7 + 0.3) / 6
    changes = 0.2 / 4
    loss = losses.ClipLoss(losses.make_loss("l1"), 2.0)
    assert as_float(loss(clean, output)) == pytest.approx(frames + 2 * changes, rel=1e-5)
    assert as_float(losses.ClipLoss(losses.make_loss("l1"), 0.0)(clean, output)) == pytest.approx(
        frames, rel=1e-5
    )


@pytest.mark.parametrize("name", losses.PIXEL_ERRORS)
@pytest.mark.parametrize(
    ("target", "output"),
    [
        ((2, 4, 4, 1), (2, 4, 4, 3)),
        ((2, 4, 4, 3), (2, 4, 4, 1)),
        ((1, 4, 4, 3), (2, 4, 4, 3)),
        ((2, 1, 4, 3), (2, 4, 4, 3)),
        ((4, 4, 3), (2, 4, 4, 3)),
        ((2, 4, 4), (2, 4, 4, 1)),
    ],
)
def test_shapes_that_would_broadcast_are_refused(name, target, output):
    with pytest.raises(ValueError, match="expected equal shapes"):
        losses.PixelLoss(name)(np.zeros(target, np.float32), np.zeros(output, np.float32))


@pytest.mark.parametrize("name", losses.PIXEL_ERRORS)
def test_training_against_a_grey_target_is_refused(name):
    # Here batch, height and width are unknown while Keras traces: the channels must still be seen.
    model = build_article(None, None)
    model.compile(optimizer="adam", loss=losses.PixelLoss(name), jit_compile=False)
    grey = np.zeros((2, 4, 4, 1), np.float32)
    with pytest.raises(ValueError, match="expected equal shapes"):
        model.fit(grey, grey, verbose=0)


@pytest.mark.parametrize("name", losses.PIXEL_ERRORS)
def test_loss_survives_its_config(name, rng):
    target, output = rng.random((2, 1, 4, 4, 3), np.float32)
    loss = losses.PixelLoss(name)
    again = losses.PixelLoss.from_config(loss.get_config())
    assert again.name == name
    assert as_float(again(target, output)) == as_float(loss(target, output))


@pytest.mark.parametrize("channels", [1, 3])
def test_ms_ssim_equals_tensorflows(rng, channels):
    import tensorflow as tf

    target = rng.random((2, 24, 24, channels), np.float32).repeat(8, 1).repeat(8, 2)
    output = np.clip(target + 0.1 * rng.standard_normal(target.shape), 0, 1).astype(np.float32)
    expected = 1 - np.mean(tf.image.ssim_multiscale(target, output, 1.0))
    assert as_float(losses.make_loss("ms-ssim")(target, output)) == pytest.approx(
        expected, abs=2e-5
    )


@pytest.mark.parametrize("size", [11, 21, 28, 64, 100])
def test_ms_ssim_of_small_patches_uses_the_scales_that_fit(rng, size):
    loss = losses.make_loss("ms-ssim")
    image = rng.random((2, size, size, 3), np.float32)
    assert as_float(loss(image, image)) == pytest.approx(0, abs=1e-5)
    assert as_float(loss(image, 1 - image)) > 0.5


def test_ms_ssim_of_a_tiny_patch_says_what_to_do():
    image = np.zeros((1, 10, 40, 3), np.float32)
    with pytest.raises(ValueError, match="expected at least 11; use a larger patch_size"):
        losses.make_loss("ms-ssim")(image, image)


def test_psnr_loss_is_the_mean_of_each_images_psnr(rng):
    target, output = rng.random((2, 3, 16, 20, 3), np.float32)
    output = target + np.reshape([0.2, 0.02, 0.1], (3, 1, 1, 1)).astype(np.float32) * (output - 0.5)
    expected = np.mean([metrics.psnr_db(*pair) for pair in zip(output, target)])
    # The addend is as much as a third of the smallest error: a decibel of one image in three.
    assert -0.5 < as_float(losses.make_loss("psnr")(target, output)) + expected < 0.5
    twice = as_float(losses.make_loss("psnr")(2 * target, 2 * output))
    assert twice == pytest.approx(as_float(losses.make_loss("psnr")(target, output)) + 6, abs=0.5)


def test_psnr_loss_of_equal_images_is_50_db_and_has_a_gradient_of_zero(rng):
    import tensorflow as tf

    image = tf.constant(rng.random((2, 8, 8, 1), np.float32))
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = losses.make_loss("psnr")(np.asarray(image), image)
    assert as_float(loss) == pytest.approx(-50)
    assert not np.any(tape.gradient(loss, image))


@pytest.mark.parametrize("name", losses.JOINT)
def test_losses_of_more_than_one_value_train(name):
    model = build_article(None, None)
    model.compile(optimizer="adam", loss=losses.make_loss(name), jit_compile=False)
    random = np.random.default_rng(0)
    x, y = random.random((4, 28, 28, 1)), random.random((4, 28, 28, 3))
    history = model.fit(x, y, epochs=2, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_loss_of_luminance_is_the_number_by_hand():
    # An error of 0.1 in green alone is 0.0587 of luminance; what is left of it is -0.0587, 0.0413
    # and -0.0587.
    target, output = np.full((2, 3, 4, 4, 3), 0.5, np.float32)
    output[..., 1] += 0.1
    expected = 0.0587 + 0.25 * (2 * 0.0587**2 + 0.0413**2) / 3
    loss = losses.make_loss("luminance")
    assert as_float(loss(target, output)) == pytest.approx(expected, rel=1e-4)
    # There is no colour in a grey error.
    assert as_float(loss(target, target - 0.1)) == pytest.approx(0.1, rel=1e-4)
    grey = target[..., :1]
    assert as_float(loss(grey, grey - 0.1)) == pytest.approx(0.1, rel=1e-4)


def test_an_unknown_loss_is_refused():
    with pytest.raises(KeyError, match="huber"):
        losses.PixelLoss("huber")


def test_loss_names_are_the_choices_of_the_config():
    # config names them again because it must not import Keras.
    # The likelihood of a VAE is its network's own.
    field = TrainConfig.__dataclass_fields__["loss"]
    names = set(field.metadata["choices"]) - {"likelihood"}
    assert {*losses.PIXEL_ERRORS, *losses.JOINT} == names
    assert {losses.make_loss(name).name for name in names} == names


def test_a_constant_error_of_a_tenth_scores_20_db():
    psnr = losses.Psnr()
    psnr.update_state(np.full((2, 4, 4, 3), 0.5), np.full((2, 4, 4, 3), 0.6))
    assert as_float(psnr.result()) == pytest.approx(20, abs=1e-4)


def test_psnr_equals_the_mean_over_images_of_psnr_db(rng):
    target, output = rng.random((2, 5, 6, 7, 3), np.float32)
    output[0] = target[0] + 0.01  # Images of unequal quality: the mean is not that of the errors.
    output = np.clip(output, 0, 1)
    psnr = losses.Psnr()
    psnr.update_state(target[:2], output[:2])
    psnr.update_state(target[2:], output[2:])
    expected = np.mean([metrics.psnr_db(out, clean) for out, clean in zip(output, target)])
    assert as_float(psnr.result()) == pytest.approx(expected, abs=1e-3)


def test_psnr_clips_the_output_to_the_range_of_a_picture():
    psnr = losses.Psnr()
    psnr.update_state(np.full((1, 4, 4, 1), 0.9), np.full((1, 4, 4, 1), 7.0))
    assert as_float(psnr.result()) == pytest.approx(20, abs=1e-4)


def test_psnr_of_equal_pictures_is_100_db():
    psnr = losses.Psnr()
    psnr.update_state(np.full((1, 4, 4, 3), 0.5), np.full((1, 4, 4, 3), 0.5))
    assert as_float(psnr.result()) == pytest.approx(100)


def test_psnr_starts_anew_after_a_reset():
    psnr = losses.Psnr()
    psnr.update_state(np.zeros((1, 4, 4, 1)), np.ones((1, 4, 4, 1)))
    psnr.reset_state()
    assert as_float(psnr.result()) == 0
    psnr.update_state(np.full((1, 4, 4, 1), 0.5), np.full((1, 4, 4, 1), 0.6))
    assert as_float(psnr.result()) == pytest.approx(20, abs=1e-4)


def test_weights_decide_which_pixels_the_psnr_counts(rng):
    y_true = rng.random((2, 8, 8, 3), np.float32)
    y_pred = y_true.copy()
    weights = np.zeros((2, 8, 8, 1), np.float32)
    weights[:, 2, 3] = 64
    y_pred[:, 2, 3] = y_true[:, 2, 3] + np.where(y_true[:, 2, 3] < 0.5, 0.1, -0.1)
    y_pred[:, 5, 5] = 0  # Wrong, but it counts nothing.
    metric = losses.Psnr()
    metric.update_state(y_true, y_pred, weights)
    assert float(metric.result()) == pytest.approx(20.0, abs=1e-3)


@pytest.mark.parametrize("name", ["mse", "l1", "charbonnier"])
def test_weights_decide_which_pixels_a_loss_counts(rng, name):
    y_true = rng.random((2, 8, 8, 3), np.float32)
    y_pred = y_true + 0.1
    weights = np.zeros((2, 8, 8, 1), np.float32)
    weights[:, 2, 3] = 64
    alone = losses.PixelLoss(name)(y_true[:, 2:3, 3:4], y_pred[:, 2:3, 3:4])
    y_pred[:, 5, 5] = 9
    weighted = losses.PixelLoss(name)(y_true, y_pred, sample_weight=weights)
    assert float(weighted) == pytest.approx(float(alone), rel=1e-5)


def test_each_frame_of_a_clip_is_an_image(rng):
    clips, others = (rng.random((2, 3, 8, 8, 3), np.float32) for _ in range(2))
    frames = [each.reshape(-1, 8, 8, 3) for each in (clips, others)]
    for name in ("l1", "psnr"):
        loss = losses.make_loss(name)
        assert float(loss(clips, others)) == pytest.approx(float(loss(*frames)), rel=1e-6)
    metric = losses.Psnr()
    metric.update_state(clips, others)
    expected = np.mean([metrics.psnr_db(*pair) for pair in zip(*frames)])
    assert float(metric.result()) == pytest.approx(expected, abs=1e-3)


def test_what_is_as_good_as_clean_does_not_outweigh_what_is_not():
    # Of films degraded by chance the first epoch was kept: a clean one had fallen from 80 to 60 dB.
    metric = losses.Psnr(least_mse=1e-4)
    clean = np.full((2, 4, 4, 1), 0.5, np.float32)
    metric.update_state(clean, clean + np.array([1e-4, 0.1], "f").reshape(2, 1, 1, 1))
    assert float(metric.result()) == pytest.approx((40 + 20) / 2, abs=1e-3)
