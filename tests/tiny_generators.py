"""Untrained generators of 8x8 pixels, and a flow that is known in closed form."""

import keras
import numpy as np

from tf_deconv.generation.generator import Generator
from tf_deconv.generation.spec import Facts
from tf_deconv.inference import run_folder
from tf_deconv.networks.flow import build_flow
from tf_deconv.networks.vae import build_vae

SIDE = 8


def write(path, kind, channels=1, classes=0):
    """Writes a `.keras` file; what begins as zeros gets small weights, so that labels matter."""
    keras.utils.set_random_seed(1)
    shape = (SIDE, SIDE, channels, classes)
    if kind == "vae":
        model = build_vae(*shape, latent=4, filters=(4, 6))
        facts = Facts(kind, *shape, latent=4, likelihood="bernoulli")
    else:
        model = build_flow(*shape, filters=(4, 6))
        facts = Facts(kind, *shape)
    random = np.random.default_rng(2)
    for layer in model.layers if kind == "flow" else ():
        for weight in layer.trainable_weights:
            if not np.any(weight.numpy()):
                weight.assign(random.normal(0, 0.1, weight.shape))
    description = {"task": "generate", "network": kind, "generator": facts.to_json()}
    run_folder.save_model(model, path, description)
    return path


def gaussian_flow(mean, covariance, shape):
    """The exact flow of normally distributed pictures.

    x_t = (1 - t) noise + t picture is normal with covariance (1 - t)^2 I + t^2 S, and the velocity
    is the mean of picture - noise, given x_t: for normal variables a linear function.

    Args:
      mean: (D,) of pictures in [-1, 1].
      covariance: (D, D), S.
      shape: (H, W, C) of D numbers.
    """
    identity = np.eye(len(mean))

    def velocity(x, t, label):
        t = float(t[0])
        spread = (1 - t) ** 2 * identity + t**2 * covariance
        gain = (t * covariance - (1 - t) * identity) @ np.linalg.inv(spread)
        rest = x.reshape(len(x), -1) - t * mean
        return (mean + rest @ gain.T).reshape(x.shape).astype(np.float32)

    return Generator(Facts("flow", *shape), velocity=velocity)
