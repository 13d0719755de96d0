"""Muon, for convolutions: momentum whose singular values are all made about 1.

A step along plain momentum moves a kernel in the few directions in which gradients are large; here
each direction gets the same share, and a restoration network learns in minutes what takes Adam an
hour (benchmarks/README.md, docs/decisions/0010-muon.md).

Keras's own `Muon` leaves kernels of more than two axes to Adam, which is all of a convolutional
network. Only `keras.ops`, so that every Keras backend trains with it.
"""

from __future__ import annotations

import math

import keras
from keras import ops

# Newton-Schulz steps and their quintic's coefficients: steepest at 0, singular values end between
# 0.7 and 1.2 (Jordan et al. 2024).
ITERATIONS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
# Singular values of a step, as a multiple of the learning rate, so that one rate serves both kinds
# of weights. The same for kernels of all sizes: a step is then as large beside a small network's
# weights as beside a large one's (docs/decisions/0010-muon.md).
STEP_SIZE = 5.0
# Matrices with a shorter side have few directions to balance; Adam steps for them.
SMALLEST_SIDE = 8


@keras.saving.register_keras_serializable("tf_deconv")
class Muon(keras.optimizers.Optimizer):
    """Muon for kernels, Adam for biases and for kernels to or from a few channels.

    A kernel (h, w, a, b) is taken as a matrix of h * w * a rows and b columns: of a convolution
    that is inputs by outputs, of a transposed one outputs by inputs, which comes to the same.

    Args:
      learning_rate: Peak rate or schedule; about that of Adam for the same network.
      momentum: Of the average of gradients, Nesterov's form.
      beta_1: Adam's, for the other weights.
      beta_2: Likewise.
      epsilon: Likewise.
    Reference: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """

    def __init__(
        self,
        learning_rate=2e-3,
        momentum: float = 0.95,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "muon",
        **options,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **options)
        self.momentum, self.beta_1, self.beta_2, self.epsilon = momentum, beta_1, beta_2, epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._averages = [self._state(variable, "momentum") for variable in variables]
        self._squares = [
            None if is_matrix(variable.shape) else self._state(variable, "velocity")
            for variable in variables
        ]

    def _state(self, variable, name):
        return self.add_variable_from_reference(reference_variable=variable, name=name)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        average, square = self._averages[index], self._squares[index]
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        if square is None:
            self.assign(average, average + (1 - self.momentum) * (gradient - average))
            ahead = average + (1 - self.momentum) * (gradient - average)  # Nesterov
            matrix = ops.reshape(ahead, (-1, variable.shape[-1]))
            update = ops.reshape(STEP_SIZE * orthogonalize(matrix), variable.shape)
            self.assign_sub(variable, rate * update)
            return
        step = ops.cast(self.iterations + 1, variable.dtype)
        self.assign(average, average + (1 - self.beta_1) * (gradient - average))
        self.assign(square, square + (1 - self.beta_2) * (ops.square(gradient) - square))
        rate = (
            rate * ops.sqrt(1 - ops.power(self.beta_2, step)) / (1 - ops.power(self.beta_1, step))
        )
        self.assign_sub(variable, rate * average / (ops.sqrt(square) + self.epsilon))

    def get_config(self):
        names = ("momentum", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def is_matrix(shape) -> bool:
    """Tells whether a weight of this shape is taken as a matrix."""
    return len(shape) > 1 and min(math.prod(shape[:-1]), shape[-1]) >= SMALLEST_SIDE


def orthogonalize(matrix):
    """Makes the singular values of a matrix about equal.

    Args:
      matrix: (m, n) float32.
    Returns:
      (m, n): about U V^T of its singular value decomposition; singular values between 0.7 and 1.2,
      where they are not thousands of times smaller than the largest. Zeros stay zeros.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if wide else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-12)
    for _ in range(ITERATIONS):
        gram = ops.matmul(x, ops.transpose(x))  # (shorter side, shorter side)
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if wide else x
