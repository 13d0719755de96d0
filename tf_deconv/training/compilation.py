"""The recipe: which model is trained, in which number format, and how it is optimised."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from tf_deconv.degradations.tasks import Task
from tf_deconv.networks.mask_blending import keep_known
from tf_deconv.networks.table import NETWORKS, parse_levels
from tf_deconv.training import losses
from tf_deconv.training.config import TrainConfig
from tf_deconv.training.muon import Muon
from tf_deconv.utils.devices import Device

# Share of the steps in which the rate rises from 0 to its peak, where the optimizer is Muon.
WARMUP_SHARE, WARMUP_STEPS = 0.1, 100
# Share of the steps that the average of weights goes back, at most.
EMA_SHARE = 0.1
# Steps that one call of the compiled function runs: fewer crossings between Python and the graph.
STEPS_PER_EXECUTION = 10


def set_seed(seed: int, device: Device) -> None:
    """Sets Keras's global seed and, on a CPU, makes TensorFlow's operations deterministic."""
    keras.utils.set_random_seed(seed)
    if device.kind == "cpu":
        # On a GPU deterministic kernels cost speed; --seed promises equal bits on a CPU.
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def build_in(
    precision: str, task: Task, config: TrainConfig, *, trained: bool = False
) -> keras.Model:
    """Builds a run's network, for pictures of any size and a task's channels.

    Args:
      precision: A Keras dtype policy.
      task: The task.
      config: Says which network, and how large.
      trained: Whether it is for training: with constraints, and in the form that
        `networks.reparameterized.fuse` makes the plain one of.
    """
    network, options = NETWORKS[config.network], {}
    if network.sizes:
        options = dict(
            size=config.size,
            reparameterize=trained and config.reparameterize,
            relu_twice=config.relu == "twice",
            blind_to_levels=trained and not task.sees_levels,
        )
        for name in ("filters", "blocks"):
            if getattr(config, name) is not None:
                levels = network.levels_of(config.size, task.scale)
                options[name] = parse_levels(name, getattr(config, name), levels)
    with dtype_policy(precision):
        model = network.build(
            height=None,
            width=None,
            channels_in=task.channels_in,
            channels_out=task.channels_out,
            scale=task.scale,
            **options,
        )
        return keep_known(model) if task.mask else model


def compile_model(
    model: keras.Model,
    config: TrainConfig,
    device: Device,
    metrics: Sequence[keras.metrics.Metric] | None = None,
) -> None:
    """Compiles a model as `train` does: optimizer on a cosine, the loss, the device's settings.

    The optimizer is built at once, so that a checkpoint can be put into it.

    Args:
      model: The model to train.
      config: The options.
      device: Where.
      metrics: What validation also tells; PSNR when left out.
    """
    steps = config.epochs * config.steps_per_epoch
    # An average that goes back further than a tenth of the training holds weights of its beginning.
    ema = min(config.ema, max(0.0, 1.0 - 1.0 / (EMA_SHARE * steps)))
    options = dict(
        global_clipnorm=config.clip_norm or None, use_ema=config.ema > 0, ema_momentum=ema
    )
    model.compile(
        optimizer=OPTIMIZERS[config.optimizer](_schedule(config, steps), **options),
        loss=_loss(config),
        weighted_metrics=[losses.Psnr()] if metrics is None else list(metrics),
        jit_compile=device.jit_compile,
        steps_per_execution=_largest_divisor(config.steps_per_epoch, STEPS_PER_EXECUTION),
    )
    model.optimizer.build(model.trainable_variables)


def _loss(config: TrainConfig) -> keras.losses.Loss | None:
    if config.loss == "likelihood":
        return None  # Such a model compares by itself.
    loss = losses.make_loss(config.loss)
    return loss if config.flicker is None else losses.ClipLoss(loss, config.flicker)


def _schedule(config: TrainConfig, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    cosine = keras.optimizers.schedules.CosineDecay
    if config.optimizer == "adam":
        return cosine(config.learning_rate, steps)
    # Its first steps are as large as any, but follow the gradient of random weights.
    warmup = min(WARMUP_STEPS, int(WARMUP_SHARE * steps))
    return (
        cosine(0.0, steps - warmup, warmup_target=config.learning_rate, warmup_steps=warmup)
        if warmup
        else cosine(config.learning_rate, steps)
    )


OPTIMIZERS = {"adam": keras.optimizers.Adam, "muon": Muon}


def round_to_float16(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Rounds float32 weights to values that float16 holds; the result is float32.

    The float16 file then has the very weights of the Keras model: 127 dB from its picture, where
    rounding at export left 72 dB. It costs the restored picture nothing that shows:
    docs/decisions/0005-float16-weights.md.
    """
    limit = np.finfo(np.float16).max
    halves = [np.clip(weight, -limit, limit).astype(np.float16) for weight in weights]
    return [half.astype(np.float32) for half in halves]


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Builds layers in a Keras dtype policy within a `with`."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, limit + 1) if number % divisor == 0)
