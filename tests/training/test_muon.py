"""The optimizer: what it makes of a gradient."""

import keras
import numpy as np
import pytest

from tf_deconv.training import muon
from tf_deconv.training.muon import Muon, is_matrix, orthogonalize


@pytest.mark.parametrize("shape", [(8, 8), (16, 40), (300, 48), (1152, 128)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e3])
def test_singular_values_become_about_1_and_directions_stay(rng, shape, size):
    matrix = rng.normal(0, size, shape).astype("f")
    result = keras.ops.convert_to_numpy(orthogonalize(keras.ops.convert_to_tensor(matrix)))
    left, before, right = np.linalg.svd(matrix.astype("d"), full_matrices=False)
    after = np.diag(left.T @ result @ right.T)
    # A square matrix has singular values near 0, which five steps do not lift all the way.
    large = before > 0.05 * before.max()
    assert np.all((after[large] > 0.6) & (after[large] < 1.25))
    off_diagonal = left.T @ result @ right.T - np.diag(after)
    assert np.abs(off_diagonal).max() < 0.01


def test_no_gradient_is_no_step():
    np.testing.assert_array_equal(orthogonalize(keras.ops.zeros((8, 12))), np.zeros((8, 12)))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 3, 48, 48), True),
        ((2, 2, 16, 32), True),
        ((3, 3, 1, 16), True),  # 9 inputs are enough to balance.
        ((3, 3, 16, 3), False),
        ((1, 1, 4, 64), False),
        ((64,), False),
        ((), False),
    ],
)
def test_kernels_of_few_channels_and_biases_are_left_to_adam(shape, expected):
    assert is_matrix(shape) is expected


def small_model():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = keras.layers.Conv2DTranspose(16, 3, padding="same", activation="relu")(x)
    return keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(x))


def test_other_weights_step_as_adam_does(rng):
    # Biases and the last kernel: equal to Keras's Adam, which is told the same gradients.
    variables = [keras.Variable(np.ones(shape, "f")) for shape in ((4,), (3, 3, 16, 3))]
    others = [keras.Variable(np.ones(shape, "f")) for shape in ((4,), (3, 3, 16, 3))]
    ours, adam = Muon(1e-2), keras.optimizers.Adam(1e-2)
    for _ in range(5):
        gradients = [rng.normal(0, 1, variable.shape).astype("f") for variable in variables]
        gradients = [keras.ops.convert_to_tensor(gradient) for gradient in gradients]
        ours.apply(gradients, variables)
        adam.apply(gradients, others)
    for one, other in zip(variables, others):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5)


def test_a_kernel_moves_by_the_rate_whatever_the_size_of_its_gradient(rng):
    for size in (1e-4, 1e4):
        kernel = keras.Variable(np.zeros((3, 3, 32, 32), "f"))
        gradient = keras.ops.convert_to_tensor(rng.normal(0, size, kernel.shape).astype("f"))
        Muon(1e-2).apply([gradient], [kernel])
        values = np.linalg.svd(kernel.numpy().reshape(-1, 32), compute_uv=False)
        assert np.median(values) == pytest.approx(muon.STEP_SIZE * 1e-2, rel=0.25)


def test_it_learns(rng):
    model = small_model()
    image = rng.random((16, 8, 8, 3), np.float32)
    model.compile(Muon(1e-2), "mse", jit_compile=False)
    losses = [model.train_on_batch(image, 1.0 - image) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


def test_it_survives_saving_with_its_settings():
    optimizer = Muon(3e-3, momentum=0.9, global_clipnorm=1.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()
