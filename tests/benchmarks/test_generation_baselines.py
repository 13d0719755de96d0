"""The networks that `benchmarks/generation.py` compares with are the published ones."""

import types

import keras
import numpy as np
import pytest

from benchmarks import generation_baselines as baselines

pytestmark = pytest.mark.exhaustive


def quiet(line):
    pass


def pictures(count, seed=3):
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), np.uint8)


def convolution(kernel, channels, filters, bias=True):
    return kernel * kernel * channels * filters + filters * bias


def dense(inputs, units, bias=True):
    return inputs * units + units * bias


@pytest.fixture(scope="module")
def vae():
    return baselines.train_keras_vae(pictures(10), steps=3, seed=1, report=quiet)


@pytest.fixture(scope="module")
def gan():
    return baselines.train_dcgan(pictures(10), steps=3, seed=1, report=quiet)


def test_vae_has_the_parameters_that_the_documentation_prints(vae):
    encoder = convolution(3, 1, 32) + convolution(3, 32, 64) + dense(7 * 7 * 64, 16)
    encoder += 2 * dense(16, 2)
    decoder = dense(2, 7 * 7 * 64) + convolution(3, 64, 64) + convolution(3, 64, 32)
    decoder += convolution(3, 32, 1)
    assert vae.encoder.count_params() == encoder == 69_076
    assert vae.decoder.count_params() == decoder == 65_089


def test_dcgan_has_the_parameters_of_the_tutorial(gan):
    # A normalisation holds scale, offset and two moving averages of every channel.
    generator = dense(100, 7 * 7 * 256, bias=False) + 4 * 7 * 7 * 256
    generator += convolution(5, 256, 128, bias=False) + 4 * 128
    generator += convolution(5, 128, 64, bias=False) + 4 * 64
    generator += convolution(5, 64, 1, bias=False)
    discriminator = convolution(5, 1, 64) + convolution(5, 64, 128) + dense(7 * 7 * 128, 1)
    assert gan.generator.count_params() == generator == 2_330_944
    assert gan.discriminator.count_params() == discriminator == 212_865


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_samples_are_pictures_that_the_seed_decides(name, request):
    model = request.getfixturevalue(name)
    sampled = model.sample(3, seed=7)
    assert sampled.shape == (3, 28, 28, 1)
    assert sampled.dtype == np.float32
    assert sampled.min() >= 0
    assert sampled.max() <= 1
    np.testing.assert_array_equal(sampled, model.sample(3, seed=7))
    assert np.abs(sampled - model.sample(3, seed=8)).max() > 1e-4
    assert np.abs(sampled[0] - sampled[1]).max() > 1e-4


def test_samples_do_not_depend_on_the_batches_they_are_made_in(vae, monkeypatch):
    whole = vae.sample(5, seed=0)
    monkeypatch.setattr(baselines, "SAMPLE_BATCH", 2)
    np.testing.assert_allclose(vae.sample(5, seed=0), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "train"), [("vae", baselines.train_keras_vae), ("gan", baselines.train_dcgan)]
)
def test_the_same_seed_trains_the_same_network(name, train, request):
    first = request.getfixturevalue(name).sample(2, seed=0)
    again = train(pictures(10), steps=3, seed=1, report=quiet).sample(2, seed=0)
    np.testing.assert_allclose(first, again, atol=1e-5)


def test_log_probability_is_the_sum_over_bernoulli_pixels(vae, rng):
    binary = rng.integers(0, 2, (4, 28, 28, 1)).astype(np.float32)
    latents = rng.standard_normal((4, 2)).astype(np.float32)
    one = 1 / (1 + np.exp(-vae.decoder(latents).numpy().astype(np.float64)))
    expected = np.log(np.where(binary == 1, one, 1 - one)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(vae.log_probability(binary, latents), expected, rtol=1e-5)
    as_bytes = (255 * binary).astype(np.uint8)
    np.testing.assert_allclose(vae.log_probability(as_bytes, latents), expected, rtol=1e-5)


def test_encoding_gives_a_mean_and_a_log_variance_for_each_picture():
    vae = baselines.KerasVae(latent=5)
    mean, log_variance = vae.encode(pictures(3))
    assert mean.shape == log_variance.shape == (3, 5)
    as_floats = pictures(3).astype(np.float32) / 255
    np.testing.assert_allclose(vae.encode(as_floats)[0], mean, atol=1e-6)
    assert vae.sample(2, seed=0).shape == (2, 28, 28, 1)


def test_vae_minimises_what_keras_computes_from_probabilities(vae):
    """Cross-entropy from logits equals the example's: Keras's, on the sigmoid, summed."""
    images = pictures(3).astype(np.float32) / 255
    latents = np.ones((3, 2), np.float32)
    shown = keras.ops.sigmoid(vae.decoder(latents))
    expected = keras.ops.sum(keras.losses.binary_crossentropy(images, shown), axis=(1, 2))
    np.testing.assert_allclose(-vae.log_probability(images, latents), expected, rtol=1e-4)


def test_training_lowers_the_negative_elbo():
    lines = []
    flat = np.zeros((8, 28, 28, 1), np.uint8)
    baselines.train_keras_vae(flat, steps=12, seed=0, report=lines.append, binarise=True)
    first, last = (float(line.split("-ELBO ")[1].split(",")[0]) for line in (lines[0], lines[-1]))
    # An untrained decoder gives each of the 784 pixels one bit, 543.4 nats.
    assert first == pytest.approx(543.4, abs=10)
    assert last < 500


def test_a_pass_sees_every_picture_once_the_last_batch_holding_the_rest():
    images, batches, lines = pictures(10), [], []

    def step(batch, key):
        batches.append(batch.numpy())
        return {"loss": float(len(batches))}

    passes = baselines.train("it", step, images, 4, None, 4, 0, lines.append)
    assert passes == pytest.approx(14 / 10)
    assert [len(batch) for batch in batches] == [4, 4, 2, 4]
    seen = {picture.tobytes() for picture in np.concatenate(batches[:3])}
    assert seen == {picture.tobytes() for picture in images}
    # The mean of a pass's losses: of 1, 2 and 3, then of 4 alone.
    assert [line.split("it: ")[1].split(",")[0] for line in lines] == ["1.00 passes", "1.40 passes"]
    assert [line.split("loss ")[1] for line in lines] == ["2.000", "4.000"]


def test_the_clock_starts_after_the_first_step(monkeypatch):
    # Read when step 1 is over, after each of three steps, and for the report.
    readings_s = iter([100, 100, 130, 161, 161])
    clock = types.SimpleNamespace(monotonic=lambda: next(readings_s))
    monkeypatch.setattr(baselines, "time", clock)
    batches, lines = [], []

    def step(batch, key):
        batches.append(len(batch))
        return {"loss": 2.0}

    passes = baselines.train("it", step, pictures(8), 2, 1, None, 0, lines.append)
    assert batches == [2, 2, 2]
    assert passes == pytest.approx(6 / 8)
    assert lines == ["it: 0.75 passes, 1.0 min: loss 2.000"]


def test_another_seed_trains_another_network_until_the_minutes_are_over(gan):
    other = baselines.train_dcgan(pictures(10), minutes=1e-9, seed=2, report=quiet)
    assert other.passes == 1
    assert np.abs(other.sample(2, seed=0) - gan.sample(2, seed=0)).max() > 1e-4


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (pictures(2)[..., 0], {"steps": 1}, r"uint8 of shape \(2, 28, 28\); these networks take"),
        (pictures(2) / 255, {"steps": 1}, "Images are float64"),
        (pictures(0), {"steps": 1}, r"shape \(0, 28, 28, 1\)"),
        (pictures(2), {}, "give one of the two"),
        (pictures(2), {"steps": 1, "minutes": 1}, "give one of the two"),
        (pictures(2), {"steps": 0}, "give a number above 0"),
    ],
)
def test_mistakes_are_named_before_anything_is_built(images, options, message):
    for train in (baselines.train_keras_vae, baselines.train_dcgan):
        with pytest.raises(ValueError, match=message):
            train(images, seed=0, report=quiet, **options)
