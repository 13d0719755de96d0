"""The networks that generate, their batches and their training, on tiny pictures."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_deconv.data import generation_batches
from tf_deconv.data.store import PictureStore
from tf_deconv.generation.generator import flow_to, guided_velocity, labels_of, sample
from tf_deconv.generation.keras_generator import keras_generator, log_probability
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays
from tf_deconv.inference import run_folder
from tf_deconv.networks.flow import build_flow
from tf_deconv.networks.likelihoods import gaussian_kl, make_likelihood
from tf_deconv.networks.vae import build_vae
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.training.trainer import train
from tf_deconv.training.vae import VaeTrainer
from tf_deconv.utils.options import UserError

SIDE, CLASSES = 8, 3


def shapes(count: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Makes white rectangles (N, 8, 8, 3) uint8, and labels: narrow, middle or wide."""
    random = np.random.default_rng(seed)
    pictures, labels = np.zeros((count, SIDE, SIDE, 3), np.uint8), np.arange(count) % CLASSES
    for picture, label in zip(pictures, labels):
        width, height = 2 * label + random.integers(2, 4), random.integers(2, 7)
        top, left = random.integers(0, SIDE - height + 1), random.integers(0, SIDE - width + 1)
        picture[top : top + height, left : left + width] = 255
    return pictures, labels


def named(pictures) -> list[tuple[str, np.ndarray]]:
    return [(f"{number}", picture) for number, picture in enumerate(pictures)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two .npz parts with labels."""
    path = tmp_path_factory.mktemp("shapes") / "shapes.npz"
    pictures, labels = shapes(360)
    np.savez(path, x_train=pictures[:300, ..., 0], y_train=labels[:300],
             x_test=pictures[300:, ..., 0], y_test=labels[300:])  # fmt: skip
    return path


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every weight a value of its own: what begins with zeros would hide faults."""
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.2, w.shape).astype("f") for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def flow():
    model = randomized(build_flow(SIDE, SIDE, 1, CLASSES, filters=(8, 8)))
    return keras_generator(model, GeneratorSpec("flow", SIDE, SIDE, 1, CLASSES))


@pytest.fixture(scope="module")
def vae():
    model = randomized(build_vae(SIDE, SIDE, 1, CLASSES, latent=4, filters=(8, 8)))
    return keras_generator(model, GeneratorSpec("vae", SIDE, SIDE, 1, CLASSES, 4, "bernoulli"))


# --- Networks.


@pytest.mark.parametrize(("height", "width", "channels"), [(28, 28, 1), (8, 12, 3), (64, 64, 3)])
def test_networks_make_pictures_of_any_size_that_the_stride_divides(height, width, channels):
    options = dict(height=height, width=width, channels=channels)
    vae = build_vae(**options, parameters=2)
    assert vae.output["output"].shape == (None, height, width, 2 * channels)
    assert vae.get_layer("decoder").input_shape == (None, 32)
    assert build_flow(**options).output_shape == (None, height, width, channels)


@pytest.mark.parametrize("build", [build_vae, build_flow])
def test_a_size_that_the_stride_does_not_divide_is_refused(build):
    with pytest.raises(ValueError, match="height=30: expected a multiple of 4"):
        build(height=30)


@pytest.mark.parametrize("build", [build_vae, build_flow])
def test_channel_counts_other_than_grey_and_colour_are_refused(build):
    with pytest.raises(ValueError, match=r"expected 1 \(grey\) or 3"):
        build(channels=2)


def test_networks_of_the_sizes_that_the_documents_name():
    assert build_vae().count_params() == 1_206_785
    assert build_flow().count_params() == 973_729


def test_every_transposed_convolution_of_the_decoder_covers_pixels_evenly():
    decoder = build_vae().get_layer("decoder")
    layers = [x for x in decoder.layers if isinstance(x, keras.layers.Conv2DTranspose)]
    assert len(layers) == 2
    assert all(size % step == 0 for x in layers for size, step in zip(x.kernel_size, x.strides))


def test_a_model_file_is_loaded_by_plain_keras(tmp_path):
    for name, model in (("vae", build_vae(8, 8, 1, 2)), ("flow", build_flow(8, 8, 1, 2))):
        model.save(tmp_path / f"{name}.keras")
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        for one, other in zip(model.get_weights(), loaded.get_weights()):
            np.testing.assert_array_equal(one, other)


def test_a_flow_begins_with_no_velocity_at_all():
    model = build_flow(SIDE, SIDE, 1, filters=(8, 8))
    velocity = model({"x": np.ones((2, SIDE, SIDE, 1), "f"), "t": np.ones(2, "f")})
    np.testing.assert_array_equal(velocity, 0.0)


# --- Sampling.


def test_a_picture_does_not_depend_on_how_many_are_made(flow, vae):
    for generator in (flow, vae):
        few, many = (sample(generator, count, 7, label=1, steps=3) for count in (2, 70))
        np.testing.assert_allclose(few, many[:2], atol=1e-6)
        assert many.min() >= 0.0
        assert many.max() <= 1.0


def test_another_seed_or_label_is_another_picture(flow, vae):
    for generator in (flow, vae):
        first = sample(generator, 1, 7, label=0, steps=3)
        assert np.abs(first - sample(generator, 1, 8, label=0, steps=3)).max() > 1e-3
        assert np.abs(first - sample(generator, 1, 7, label=1, steps=3)).max() > 1e-3


def test_labels_come_in_turn_unless_one_is_asked_for():
    facts = GeneratorSpec("flow", 8, 8, 1, 3)
    np.testing.assert_array_equal(labels_of(facts, 5), [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(labels_of(facts, 2, 2), [2, 2])
    assert labels_of(GeneratorSpec("flow", 8, 8, 1), 5) is None


def test_a_label_that_the_model_does_not_know_is_refused():
    with pytest.raises(UserError, match="label=3: expected 0 to 2"):
        labels_of(GeneratorSpec("vae", 8, 8, 1, 3), 1, 3)
    with pytest.raises(UserError, match="takes no label"):
        labels_of(GeneratorSpec("vae", 8, 8, 1), 1, 0)


def test_guidance_moves_from_no_label_to_the_label_and_beyond(flow):
    x = np.random.default_rng(0).normal(size=(2, SIDE, SIDE, 1)).astype("f")
    labels = np.array([0, 1], np.int32)
    none, told, far = (guided_velocity(flow, x, 0.5, labels, scale) for scale in (0.0, 1.0, 3.0))
    np.testing.assert_allclose(far, none + 3.0 * (told - none), atol=1e-5)


def test_a_flow_of_constant_velocity_arrives_in_one_step():
    constant = np.full((1, 2, 2, 1), 0.5, np.float32)
    facts = GeneratorSpec("flow", 2, 2, 1)
    generator = type("Fake", (), {"facts": facts, "velocity": lambda self, x, t, y: constant})()
    start = np.zeros((1, 2, 2, 1), np.float32)
    for solver in ("euler", "heun"):
        end = flow_to(generator, start, None, steps=1, solver=solver)
        np.testing.assert_allclose(end, 0.5)


def test_heun_is_of_second_order_and_euler_of_first():
    """dx/dt = x from 1 gives e at t = 1."""
    facts = GeneratorSpec("flow", 1, 1, 1)
    generator = type("Fake", (), {"facts": facts, "velocity": lambda self, x, t, y: x})()
    start = np.ones((1, 1, 1, 1), np.float32)
    for solver, ratio in (("euler", 2.0), ("heun", 4.0)):
        errors = [
            abs(float(flow_to(generator, start, None, steps=steps, solver=solver)[0, 0, 0, 0])
                - np.e)
            for steps in (16, 32)
        ]  # fmt: skip
        assert errors[0] / errors[1] == pytest.approx(ratio, rel=0.15)


# --- Training.


def test_the_elbo_is_what_its_parts_say(vae):
    pictures, labels = shapes(6)
    image, label = arrays.to_float(pictures[..., :1]), labels.astype("i")
    noise = np.random.default_rng(1).normal(size=(6, 4)).astype("f")
    trainer = VaeTrainer(vae.model, make_likelihood("bernoulli"), 0.0, 0)
    trainer.compile(optimizer="adam")
    inputs = {"image": image, "noise": noise, "label": label}
    loss = trainer.compute_loss(inputs, image, trainer(inputs), training=False)
    mean, log_variance = vae.encode(image, label)
    latent = mean + np.exp(log_variance / 2) * noise
    reconstruction = log_probability(vae.model, vae.facts)(image, latent, label)
    kl = np.asarray(gaussian_kl(mean, log_variance)).sum(-1)
    assert float(loss) == pytest.approx(float(np.mean(kl - reconstruction)), rel=1e-4)
    assert float(trainer.trackers[0].result()) == pytest.approx(-float(loss), rel=1e-5)


def test_free_bits_make_a_small_divergence_cost_the_same_as_none():
    class Equal:
        @staticmethod
        def log_probability(image, output):
            return tf.zeros(len(image))

    model = build_vae(SIDE, SIDE, 1, latent=4, filters=(8, 8))
    trainer = VaeTrainer(model, Equal(), 0.5, 0)
    trainer.compile(optimizer="adam")
    image = np.zeros((3, SIDE, SIDE, 1), "f")
    outputs = {"output": image, "mean": np.full((3, 4), 0.1, "f"), "log_variance": np.zeros((3, 4))}
    assert float(trainer.compute_loss(None, image, outputs)) == pytest.approx(4 * 0.5)


def test_batches_of_a_flow_lie_on_the_line_from_noise_to_picture():
    pictures, labels = shapes(30)
    store = generation_batches.Pictures(PictureStore.of(named(pictures), labels), SIDE, 1, CLASSES)
    batches = generation_batches.training_batches(
        store, generation_batches.flow_batch(CLASSES), batch_size=10, steps_per_epoch=3, seed=1
    )
    inputs, velocity = next(iter(batches))
    time = inputs["t"].numpy()[:, None, None, None]
    picture = inputs["x"].numpy() + (1 - time) * velocity.numpy()
    found = (picture + 1) / 2
    originals = arrays.to_float(pictures[..., :1])
    distance = np.abs(found[:, None] - originals[None]).max(axis=(2, 3, 4)).min(axis=1)
    assert distance.max() < 1e-4
    assert 0 < time.min() < time.max() < 1


def test_every_picture_comes_once_before_any_comes_twice_and_epochs_go_on():
    random = np.random.default_rng(0)
    pictures = [np.full((4, 4, 3), 10 * number, np.uint8) for number in random.permutation(20)]
    store = generation_batches.Pictures(PictureStore.of(named(pictures)), 4, 1)
    options = dict(batch_size=5, steps_per_epoch=2, seed=3)
    make = generation_batches.vae_batch(2, False)
    batches = list(generation_batches.training_batches(store, make, **options).take(4))
    seen = sorted(round(255 * float(x)) for _, image in batches for x in image[:, 0, 0, 0])
    assert seen == [10 * number for number in range(20)]
    resumed = next(iter(generation_batches.training_batches(store, make, first_epoch=1, **options)))
    for name, value in resumed[0].items():
        np.testing.assert_array_equal(value, batches[2][0][name])


@pytest.mark.slow
@pytest.mark.parametrize("network", ["vae", "flow"])
def test_training_leaves_a_run_that_samples(network, folder, tmp_path):
    config = TrainConfig(
        task="generate", network=network, data=str(folder), epochs=2, steps_per_epoch=4,
        batch_size=8, filters="8,8" if network == "vae" else "8,8,8", conditional=True,
        run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    lines = []
    result = train(config, lines.append)
    assert (result.run_dir / "preview.png").is_file()
    assert (result.run_dir / "curve.png").is_file()
    assert "pictures: 8x8, grey, 3 classes" in lines
    known = run_folder.read_description(result.run_dir / "model.keras")
    facts = GeneratorSpec(**known["generator"])
    assert facts.shape == (8, 8, 1)
    model = run_folder.load_any_model(result.run_dir / "model.keras")
    pictures = sample(keras_generator(model, facts), 3, 1, steps=2)
    assert pictures.shape == (3, 8, 8, 1)
    stored = json.loads((result.run_dir / "config.json").read_text())
    assert stored["patch_size"] == 8
    shown = "nats (reconstruction" if network == "vae" else "val_loss"
    assert any(line.startswith("epoch 2/2") and shown in line for line in lines)
    with pytest.raises(UserError, match="generates pictures from noise"):
        run_folder.load_model(result.run_dir)


@pytest.mark.slow
def test_a_resumed_training_equals_an_uninterrupted_one(folder, tmp_path):
    """Of a VAE, whose KL's weight depends on the step: batches are the same function for both."""
    options = dict(
        task="generate", data=str(folder), epochs=2, steps_per_epoch=3, batch_size=8,
        filters="8,8", latent=4,
    )  # fmt: skip
    whole = train(TrainConfig(**options, run_dir=str(tmp_path / "whole")), lambda line: None)

    class Stop(Exception):
        pass

    def stop_after_one(line):
        if line.startswith("epoch 1/2"):
            raise Stop

    with pytest.raises(Stop):
        train(TrainConfig(**options, run_dir=str(tmp_path / "cut")), stop_after_one)
    resumed = train(TrainConfig(resume=True, run_dir=str(tmp_path / "cut")), lambda line: None)
    models = [run_folder.load_any_model(x.run_dir / "model.keras") for x in (whole, resumed)]
    for one, other in zip(*(model.get_weights() for model in models)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_vae_learns_rectangles(folder, tmp_path):
    """Its ELBO passes that of a picture of the mean of all by far."""
    config = TrainConfig(
        task="generate", data=str(folder), epochs=3, steps_per_epoch=80, batch_size=16,
        filters="16,16", latent=4, conditional=True, run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    result = train(config, lambda line: None)
    mean = shapes(300)[0][..., 0].mean(0) / 255.0
    image = arrays.to_float(shapes(360)[0][300:, ..., 0])
    inside = np.clip(mean, 1e-6, 1 - 1e-6)
    flat = np.mean(np.sum(image * np.log(inside) + (1 - image) * np.log(1 - inside), (1, 2)))
    assert result.metrics["best_val_elbo"] > flat + 3


# --- Bad input.


def bad(**options) -> str:
    with pytest.raises(UserError) as raised:
        check_train_config(TrainConfig(**options))
    return str(raised.value)


def test_networks_and_tasks_that_do_not_belong_together_are_refused():
    assert "expected one of vae, flow" in bad(task="generate", network="unet", data="x")
    assert "expected one of article, unet" in bad(network="flow")


def test_options_of_the_other_kind_are_refused():
    assert "likelihood='gaussian'" in bad(likelihood="gaussian")
    assert "degrade='noise:3'" in bad(task="generate", data="x", degrade="noise:3")
    message = bad(task="generate", network="flow", data="x", latent=3, free_bits=1.0)
    assert "latent=3" in message
    assert "free_bits=1.0" in message


def test_a_generator_needs_pictures_of_its_own():
    assert "expected --data" in bad(task="generate")


def test_a_patch_size_that_the_stride_does_not_divide_names_sizes_that_would_do():
    assert "28 or 32 would do" in bad(task="generate", data="x", patch_size=30)


def test_pictures_that_the_stride_does_not_divide_are_refused(tmp_path):
    np.savez(tmp_path / "odd.npz", x_train=np.random.default_rng(0).integers(
        0, 255, (20, 30, 30), np.uint8))  # fmt: skip
    config = TrainConfig(
        task="generate", data=str(tmp_path / "odd.npz"), run_dir=str(tmp_path / "run")
    )
    with pytest.raises(
        UserError, match="30x30: expected a square of a multiple of 4; --patch-size"
    ):
        train(config, lambda line: None)
    assert not (tmp_path / "run").exists()


def test_labels_that_are_missing_are_named(tmp_path):
    np.savez(tmp_path / "bare.npz", x_train=shapes(20)[0][..., 0])
    config = TrainConfig(
        task="generate", data=str(tmp_path / "bare.npz"), conditional=True,
        run_dir=str(tmp_path / "run"),
    )  # fmt: skip
    with pytest.raises(UserError, match="which has no labels"):
        train(config, lambda line: None)


def test_facts_survive_json():
    facts = GeneratorSpec("vae", 28, 28, 1, 10, 32, "logistic")
    assert GeneratorSpec(**json.loads(json.dumps(facts.to_json()))) == facts
