"""What a user would pick instead of this project's generators, for `benchmarks/generation.py`.

Two networks for 28x28 grey pictures, rebuilt from their published descriptions:

- `train_keras_vae`: the Keras documentation's example "Variational AutoEncoder"
  (https://keras.io/examples/generative/vae/): 69,076 parameters in the encoder, 65,089 in the
  decoder, a latent of 2, binary cross-entropy and KL summed over a picture, Adam with Keras's
  defaults, batches of 128.
- `train_dcgan`: the network of TensorFlow's tutorial "Deep Convolutional Generative Adversarial
  Network" (https://www.tensorflow.org/tutorials/generative/dcgan): 2,330,944 parameters in the
  generator, 212,865 in the discriminator, Adam at 1e-4 for both, batches of 256.

Both are trained for a wall-clock time, which starts after the first step: building and tracing are
free. Where the originals leave a choice, the baseline gets the faster or the more accurate one:
one `tf.function` per step, batches cut from an array in memory, losses from logits. XLA is left
off, as Keras's `fit` does on a CPU: there a step of either network takes 1.6 times the processor
time with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers

SHAPE = (28, 28, 1)
VAE_BATCH, VAE_LATENT = 128, 2
DCGAN_BATCH, DCGAN_NOISE = 256, 100
# Pictures per call of a decoder in `sample`: bounds the memory, changes no picture.
SAMPLE_BATCH = 500

Step = Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]


class KerasVae:
    """The documentation's VAE. Every method leaves the weights as they are.

    Attributes:
      encoder: (N, 28, 28, 1) float32 in [0, 1] to mean and log variance, both (N, latent).
      decoder: (N, latent) to the logits of the pixels, (N, 28, 28, 1). The example's last layer is
        followed by a sigmoid; it is applied in `sample`, so that likelihoods need no clipping.
      latent: Length of a latent vector.
      passes: Passes over the training pictures done.
    """

    name = "Keras documentation's VAE"

    def __init__(self, latent: int = VAE_LATENT):
        self.encoder = build_vae_encoder(latent)
        self.decoder = build_vae_decoder(latent)
        self.latent = latent
        self.passes = 0.0
        self._log_probability = tf.function(
            self._bernoulli,
            input_signature=[
                tf.TensorSpec((None, *SHAPE), tf.float32),
                tf.TensorSpec((None, latent), tf.float32),
            ],
        )
        self._encode = tf.function(
            lambda images: self.encoder(images, training=False),
            input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)],
        )

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Draws latents from the prior; (count, 28, 28, 1) float32 in [0, 1], means of pixels."""
        return in_batches(
            lambda latents: tf.sigmoid(self.decoder(latents, training=False)),
            standard_normal(count, self.latent, seed),
        )

    def encode(self, images) -> tuple[tf.Tensor, tf.Tensor]:
        """The posterior's mean and log variance, both (N, latent).

        Args:
          images: (N, 28, 28, 1), uint8, or floats in [0, 1].
        """
        mean, log_variance = self._encode(to_unit(images))
        return mean, log_variance

    def log_probability(self, images, latents) -> tf.Tensor:
        """log p(image | latent) of each pair under independent Bernoulli pixels, in nats.

        Args:
          images: (N, 28, 28, 1), uint8, or floats in [0, 1]; a likelihood where they are binary.
          latents: (N, latent) float32.
        Returns:
          (N,) float32, at most 0.
        """
        return self._log_probability(to_unit(images), tf.cast(latents, tf.float32))

    def _bernoulli(self, images, latents):
        logits = self.decoder(latents, training=False)
        return -picture_cross_entropy(images, logits)


class Dcgan:
    """The tutorial's generator and discriminator. It has no likelihood.

    Attributes:
      generator: (N, 100) standard normal noise to (N, 28, 28, 1) in [-1, 1].
      discriminator: (N, 28, 28, 1) in [-1, 1] to the logit of being real, (N, 1).
      passes: Passes over the training pictures done.
    """

    name = "TensorFlow tutorial's DCGAN"

    def __init__(self):
        self.generator = build_dcgan_generator()
        self.discriminator = build_dcgan_discriminator()
        self.passes = 0.0

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Generates pictures as the tutorial does, with the moving averages of the normalisation.

        Returns:
          (count, 28, 28, 1) float32 in [0, 1].
        """
        return in_batches(
            lambda noise: (self.generator(noise, training=False) + 1) / 2,
            standard_normal(count, DCGAN_NOISE, seed),
        )


def build_vae_encoder(latent: int) -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(32, 3, 2, "same", activation="relu")(inputs)  # (N, 14, 14, 32)
    x = layers.Conv2D(64, 3, 2, "same", activation="relu")(x)  # (N, 7, 7, 64)
    x = layers.Flatten()(x)  # (N, 3136)
    x = layers.Dense(16, activation="relu")(x)
    outputs = [layers.Dense(latent, name=name)(x) for name in ("mean", "log_variance")]
    return keras.Model(inputs, outputs, name="keras_vae_encoder")


def build_vae_decoder(latent: int) -> keras.Model:
    inputs = keras.Input((latent,))
    x = layers.Dense(7 * 7 * 64, activation="relu")(inputs)
    x = layers.Reshape((7, 7, 64))(x)  # (N, 7, 7, 64)
    x = layers.Conv2DTranspose(64, 3, 2, "same", activation="relu")(x)  # (N, 14, 14, 64)
    x = layers.Conv2DTranspose(32, 3, 2, "same", activation="relu")(x)  # (N, 28, 28, 32)
    logits = layers.Conv2DTranspose(1, 3, 1, "same", name="logits")(x)  # (N, 28, 28, 1)
    return keras.Model(inputs, logits, name="keras_vae_decoder")


def build_dcgan_generator() -> keras.Model:
    inputs = keras.Input((DCGAN_NOISE,))
    x = layers.Dense(7 * 7 * 256, use_bias=False)(inputs)
    x = normalise(x)
    x = layers.Reshape((7, 7, 256))(x)  # (N, 7, 7, 256)
    for filters, stride in ((128, 1), (64, 2)):  # (N, 7, 7, 128), (N, 14, 14, 64)
        x = layers.Conv2DTranspose(filters, 5, stride, "same", use_bias=False)(x)
        x = normalise(x)
    last = layers.Conv2DTranspose(1, 5, 2, "same", use_bias=False, activation="tanh")
    return keras.Model(inputs, last(x), name="dcgan_generator")  # (N, 28, 28, 1)


def normalise(x):
    # 0.3 was the default slope of Keras when the tutorial was written, and still is.
    return layers.LeakyReLU(negative_slope=0.3)(layers.BatchNormalization()(x))


def build_dcgan_discriminator() -> keras.Model:
    x = inputs = keras.Input(SHAPE)
    for filters in (64, 128):  # (N, 14, 14, 64), (N, 7, 7, 128)
        x = layers.Conv2D(filters, 5, 2, "same")(x)
        x = layers.LeakyReLU(negative_slope=0.3)(x)
        x = layers.Dropout(0.3)(x)
    logit = layers.Dense(1)(layers.Flatten()(x))
    return keras.Model(inputs, logit, name="dcgan_discriminator")


def train_keras_vae(
    images: np.ndarray,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int,
    report: Callable[[str], None],
    latent: int = VAE_LATENT,
    binarise: bool = False,
) -> KerasVae:
    """Trains the documentation's VAE on the negative ELBO.

    Args:
      images: (N, 28, 28, 1) uint8.
      minutes: Training time, from the end of the first step on; or else
      steps: The number of steps.
      seed: Of the weights, the order of the pictures and the noise. It becomes the global seed.
      report: Called with one line after every pass and at the end.
      latent: Length of a latent vector; the documentation's is 2.
      binarise: Whether every pixel is drawn anew at each step, 1 with the probability of its grey
        value. The documentation trains on the grey values; a likelihood of binary pictures asks
        for a network that has seen some.
    Raises:
      ValueError: if `images` are of another shape or type, or if not just one of `minutes` and
        `steps` is given.
    """
    check(images, minutes, steps)
    keras.utils.set_random_seed(seed)
    vae = KerasVae(latent)
    weights = vae.encoder.trainable_variables + vae.decoder.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(weights)

    @tf.function(input_signature=step_signature())
    def step(batch, key):
        pictures = to_unit(batch)
        if binarise:
            other_key = tf.add(key, [0, 1])
            drawn = tf.random.stateless_uniform(tf.shape(pictures), other_key)
            pictures = tf.cast(drawn < pictures, tf.float32)
        with tf.GradientTape() as tape:
            mean, log_variance = vae.encoder(pictures, training=True)
            noise = tf.random.stateless_normal(tf.shape(mean), key)
            latents = mean + tf.exp(log_variance / 2) * noise
            logits = vae.decoder(latents, training=True)
            reconstruction = tf.reduce_mean(picture_cross_entropy(pictures, logits))
            excess = tf.square(mean) + tf.exp(log_variance) - log_variance - 1
            divergence = tf.reduce_mean(tf.reduce_sum(excess, axis=1)) / 2
            loss = reconstruction + divergence
        optimizer.apply(tape.gradient(loss, weights), weights)
        return {"-ELBO": loss, "reconstruction": reconstruction, "KL": divergence}

    vae.passes = train(vae.name, step, images, VAE_BATCH, minutes, steps, seed, report)
    return vae


def train_dcgan(
    images: np.ndarray,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int,
    report: Callable[[str], None],
) -> Dcgan:
    """Trains the tutorial's two networks against each other; arguments as `train_keras_vae`'s.

    Each step updates both: the discriminator towards 1 for pictures and 0 for generated ones, the
    generator towards 1 for what it generated.
    """
    check(images, minutes, steps)
    keras.utils.set_random_seed(seed)
    gan = Dcgan()
    makers = gan.generator.trainable_variables
    judges = gan.discriminator.trainable_variables
    generator_optimizer = keras.optimizers.Adam(1e-4)
    discriminator_optimizer = keras.optimizers.Adam(1e-4)
    generator_optimizer.build(makers)
    discriminator_optimizer.build(judges)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function(input_signature=step_signature())
    def step(batch, key):
        pictures = to_unit(batch) * 2 - 1
        noise = tf.random.stateless_normal((tf.shape(batch)[0], DCGAN_NOISE), key)
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            generated = gan.generator(noise, training=True)
            real = gan.discriminator(pictures, training=True)
            fake = gan.discriminator(generated, training=True)
            generator_loss = cross_entropy(tf.ones_like(fake), fake)
            discriminator_loss = cross_entropy(tf.ones_like(real), real)
            discriminator_loss += cross_entropy(tf.zeros_like(fake), fake)
        # Both gradients before either update: they belong to the same weights.
        up = generator_tape.gradient(generator_loss, makers)
        down = discriminator_tape.gradient(discriminator_loss, judges)
        generator_optimizer.apply(up, makers)
        discriminator_optimizer.apply(down, judges)
        return {"generator": generator_loss, "discriminator": discriminator_loss}

    gan.passes = train(gan.name, step, images, DCGAN_BATCH, minutes, steps, seed, report)
    return gan


def train(
    name: str,
    step: Step,
    images: np.ndarray,
    batch_size: int,
    minutes: float | None,
    steps: int | None,
    seed: int,
    report: Callable[[str], None],
) -> float:
    """Takes shuffled batches until the time or the steps are over.

    The last batch of a pass holds what is left, as in the originals.

    Returns:
      The passes done: pictures seen by the pictures there are.
    """
    generator = np.random.default_rng(seed)
    done, seen, passes, started = 0, 0, 0, 0.0

    def tell(losses):
        means = {key: np.mean([each[key] for each in losses]) for key in losses[0]}
        figures = ", ".join(f"{key} {value:.3f}" for key, value in means.items())
        spent = (time.monotonic() - started) / 60
        report(f"{name}: {seen / len(images):.2f} passes, {spent:.1f} min: {figures}")

    while True:
        order = generator.permutation(len(images))
        losses = []
        for start in range(0, len(order), batch_size):
            batch = images[order[start : start + batch_size]]
            values = step(tf.constant(batch), stateless_seed(seed, done))
            # Reading the losses waits for the step, so that the clock is right on a GPU too.
            losses.append({key: float(value) for key, value in values.items()})
            done += 1
            seen += len(batch)
            if done == 1:
                started = time.monotonic()
            out_of_time = minutes is not None and time.monotonic() - started >= 60 * minutes
            if out_of_time or done == steps:
                tell(losses)
                return seen / len(images)
        passes += 1
        tell(losses)


def check(images: np.ndarray, minutes: float | None, steps: int | None) -> None:
    """Raises ValueError for what `train_keras_vae` and `train_dcgan` cannot be trained with."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != SHAPE or not len(images):
        raise ValueError(
            f"Images are {images.dtype} of shape {images.shape}; these networks take uint8 of "
            "shape (N, 28, 28, 1)."
        )
    if (minutes is None) == (steps is None):
        raise ValueError(f"minutes={minutes}, steps={steps}: give one of the two.")
    if (minutes if steps is None else steps) <= 0:
        raise ValueError(f"minutes={minutes}, steps={steps}: give a number above 0.")


def step_signature() -> list[tf.TensorSpec]:
    # Without it the smaller last batch of the first pass would be traced on the clock.
    return [tf.TensorSpec((None, *SHAPE), tf.uint8), tf.TensorSpec((2,), tf.int64)]


def stateless_seed(seed: int, done: int) -> tf.Tensor:
    # Steps are two apart: `binarise` draws with the key between them.
    return tf.constant([seed, 2 * done], tf.int64)


def to_unit(images) -> tf.Tensor:
    """uint8 pictures to float32 in [0, 1]; floats are taken to be in [0, 1]."""
    images = tf.convert_to_tensor(images)
    unit = tf.cast(images, tf.float32)
    return unit / 255 if images.dtype == tf.uint8 else unit


def picture_cross_entropy(images: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy summed over each picture's pixels, in nats: (N,)."""
    pixels = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=logits)
    return tf.reduce_sum(pixels, axis=(1, 2, 3))


def standard_normal(count: int, length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, length), np.float32)


def in_batches(decode: Callable[[np.ndarray], tf.Tensor], latents: np.ndarray) -> np.ndarray:
    starts = range(0, len(latents), SAMPLE_BATCH)
    return np.concatenate([decode(latents[at : at + SAMPLE_BATCH]).numpy() for at in starts])
