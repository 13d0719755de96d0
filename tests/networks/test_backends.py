"""Networks, losses and the optimizer on Keras's JAX backend, where jax is installed.

Commands need TensorFlow; what they are made of runs on every backend, and nothing else is promised.
"""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_deconv.networks import likelihoods
from tf_deconv.networks.unet import build_unet

UNET = """
import json, sys
import keras, numpy as np
from tf_deconv.networks.unet import build_unet
from tf_deconv.training import losses
from tf_deconv.training.muon import Muon

assert keras.backend.backend() == "jax"
folder, scale, size = sys.argv[1], int(sys.argv[2]), sys.argv[3]
stored = np.load(f"{folder}/weights.npz")
model = build_unet(scale=scale, size=size)
model.set_weights([stored[f"arr_{i}"] for i in range(len(stored.files))])
image = np.load(f"{folder}/image.npy")
np.save(f"{folder}/restored.npy", model.predict(image, verbose=0))

keras.utils.set_random_seed(0)
model = build_unet(scale=scale, size=size)
loss = losses.make_loss("l1")
model.compile(Muon(2e-3), loss, weighted_metrics=[losses.Psnr()])
target = 0.8 * image.repeat(scale, 1).repeat(scale, 2)
values = [float(model.train_on_batch(image, target)[0]) for _ in range(20)]
print(json.dumps(values))
"""

LIKELIHOODS = """
import json
import jax, keras, numpy as np
from tf_deconv.networks import likelihoods

assert keras.backend.backend() == "jax"
image = np.linspace(0, 1, 16, dtype="f").reshape(1, 4, 4, 1)
rows = {}
for name in likelihoods.LIKELIHOODS:
    likelihood = likelihoods.make_likelihood(name)
    output = np.linspace(-9, 1, 16 * likelihood.parameters, dtype="f").reshape(1, 4, 4, -1)
    value = lambda output: likelihood.log_probability(image, output)[0]
    gradient = jax.jit(jax.grad(value))(output)
    rows[name] = [float(value(output)), float(abs(gradient).sum())]
print(json.dumps(rows))
"""


def run_on_jax(script, *arguments):
    """Runs a script in a process of its own, for a process has one backend; reads its last line."""
    if importlib.util.find_spec("jax") is None:
        required = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)("not installed: jax")
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.clients
@pytest.mark.parametrize(
    ("size", "scale"),
    [("tiny", 1), ("tiny", 2), pytest.param("base", 1, marks=pytest.mark.exhaustive)],
)
def test_jax_gives_the_picture_of_tensorflow_and_learns(tmp_path, rng, size, scale):
    model = build_unet(scale=scale, size=size)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.05, weight.shape).astype("f"))
    image = rng.random((2, 16, 24, 3), np.float32)
    np.savez(tmp_path / "weights.npz", *model.get_weights())
    np.save(tmp_path / "image.npy", image)
    values = run_on_jax(UNET, tmp_path, scale, size)
    expected = np.asarray(model(image))
    restored = np.load(tmp_path / "restored.npy")
    np.testing.assert_allclose(restored, expected, rtol=1e-3, atol=1e-4 * expected.std())
    assert values[-1] < 0.9 * values[0]


@pytest.mark.clients
def test_jax_gives_the_likelihoods_and_gradients_of_tensorflow():
    received = run_on_jax(LIKELIHOODS)
    image = tf.reshape(tf.linspace(0.0, 1.0, 16), (1, 4, 4, 1))
    for name in likelihoods.LIKELIHOODS:
        likelihood = likelihoods.make_likelihood(name)
        size = 16 * likelihood.parameters
        output = tf.reshape(tf.linspace(-9.0, 1.0, size), (1, 4, 4, likelihood.parameters))
        with tf.GradientTape() as tape:
            tape.watch(output)
            value = likelihood.log_probability(image, output)[0]
        gradient = tf.reduce_sum(tf.abs(tape.gradient(value, output)))
        np.testing.assert_allclose(received[name], [value, gradient], rtol=1e-4)
