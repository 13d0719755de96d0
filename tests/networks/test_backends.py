"""The U-Net, its losses and its optimizer on Keras's JAX backend, where jax is installed."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tf_deconv.networks.unet import build_unet

# In a process of its own: a process has one backend.
SCRIPT = """
import json, sys
import keras, numpy as np
from tf_deconv import losses
from tf_deconv.muon import Muon
from tf_deconv.networks.unet import build_unet

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


@pytest.mark.clients
@pytest.mark.parametrize(
    ("size", "scale"),
    [("tiny", 1), ("tiny", 2), pytest.param("base", 1, marks=pytest.mark.exhaustive)],
)
def test_jax_gives_the_picture_of_tensorflow_and_learns(tmp_path, rng, size, scale):
    if importlib.util.find_spec("jax") is None:
        required = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)("not installed: jax")
    model = build_unet(scale=scale, size=size)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.05, weight.shape).astype("f"))
    image = rng.random((2, 16, 24, 3), np.float32)
    np.savez(tmp_path / "weights.npz", *model.get_weights())
    np.save(tmp_path / "image.npy", image)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(scale), size],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = np.asarray(model(image))
    restored = np.load(tmp_path / "restored.npy")
    np.testing.assert_allclose(restored, expected, rtol=1e-3, atol=1e-4 * expected.std())
    values = json.loads(done.stdout.splitlines()[-1])
    assert values[-1] < 0.9 * values[0]
