"""The evidence lower bound as a Keras model that `fit` trains, on every Keras backend."""

from __future__ import annotations

import keras
from keras import ops

from tf_deconv.networks.likelihoods import Likelihood, bits_per_dimension, gaussian_kl


class VaeTrainer(keras.Model):
    """Trains a VAE on its evidence lower bound, in nats.

    Args:
      vae: What `networks.vae.build_vae` returned.
      likelihood: Of pictures given the decoder's output.
      free_bits: Nats of KL that each latent number may cost for nothing, on the batch's average
        (Kingma et al. 2016): it keeps numbers in use that the decoder has not learned to read yet.
      warmup_steps: Steps in which the KL's weight rises from 0 to 1 (Bowman et al. 2016).
      replicas: Number of copies that train together, each on its share of a batch: their gradients
        are summed. (With free bits the average is that of a share.)
    """

    def __init__(
        self,
        vae: keras.Model,
        likelihood: Likelihood,
        free_bits: float,
        warmup_steps: int,
        replicas: int = 1,
    ):
        super().__init__(name="vae_trainer")
        self.vae, self.likelihood = vae, likelihood
        self.free_bits, self.warmup_steps = free_bits, warmup_steps
        self.replicas = replicas
        self.trackers = [
            keras.metrics.Mean(name=name) for name in ("elbo", "reconstruction", "kl", "bits")
        ]
        self.built = True

    @property
    def metrics(self):
        return [*super().metrics, *self.trackers]

    def call(self, inputs, training=None):
        return self.vae(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        reconstruction = self.likelihood.log_probability(y, y_pred["output"])  # (N,)
        divergence = gaussian_kl(y_pred["mean"], y_pred["log_variance"])  # (N, L)
        kl = ops.sum(divergence, axis=-1)
        elbo = reconstruction - kl
        dimensions = y.shape[1] * y.shape[2] * y.shape[3]
        values = (elbo, reconstruction, kl, bits_per_dimension(-elbo, dimensions))
        for tracker, value in zip(self.trackers, values):
            tracker.update_state(value)
        if not training:
            return -ops.mean(elbo) / self.replicas
        counted = ops.mean(divergence, axis=0)  # (L,)
        counted = ops.sum(ops.maximum(counted, self.free_bits) if self.free_bits else counted)
        return (self._kl_weight() * counted - ops.mean(reconstruction)) / self.replicas

    def _kl_weight(self):
        if not self.warmup_steps:
            return 1.0
        done = ops.cast(self.optimizer.iterations, "float32")
        return ops.minimum(1.0, done / self.warmup_steps)
