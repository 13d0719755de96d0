"""The recipe: which model is trained, in which number format, and how it is optimised."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from tf_deconv import losses, transfer
from tf_deconv.config import TrainConfig
from tf_deconv.devices import Device
from tf_deconv.muon import Muon
from tf_deconv.networks import NETWORKS, parse_levels
from tf_deconv.networks.known import keep_known
from tf_deconv.options import UserError
from tf_deconv.tasks import Task

# Share of the steps in which the rate rises from 0 to its peak, where the optimizer is Muon.
WARMUP_SHARE, WARMUP_STEPS = 0.1, 100
# Steps that one call of the compiled function runs: fewer crossings between Python and the graph.
STEPS_PER_EXECUTION = 10


def set_seed(seed: int, device: Device) -> None:
    """Sets Keras's global seed and, on a CPU, makes TensorFlow's operations deterministic."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow" and device.kind == "cpu":
        # On a GPU deterministic kernels cost speed; --seed promises equal bits on a CPU.
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def build_in(
    precision: str, task: Task, config: TrainConfig, *, reparameterize: bool = False
) -> keras.Model:
    """Builds a run's network, for pictures of any size and a task's channels.

    Args:
      precision: A Keras dtype policy.
      task: The task.
      config: Says which network, and how large.
      reparameterize: Whether it is to be trained in a form that `networks.reparameterized.fuse`
        makes the plain one of.
    """
    network, options = NETWORKS[config.network], {}
    if network.sizes:
        options = dict(size=config.size, reparameterize=reparameterize)
        for name in ("filters", "blocks"):
            if getattr(config, name) is not None:
                levels = network.levels[config.size]
                options[name] = parse_levels(name, getattr(config, name), levels)
    with _dtype_policy(precision):
        model = network.build(
            height=None,
            width=None,
            channels_in=task.channels_in,
            channels_out=task.channels_out,
            scale=task.scale,
            **options,
        )
        return keep_known(model) if task.mask else model


def compile_model(model: keras.Model, config: TrainConfig, device: Device) -> None:
    """Compiles a model as `train` does: optimizer on a cosine, the loss, the device's settings.

    The optimizer is built at once, so that a checkpoint can be put into it.
    """
    steps = config.epochs * config.steps_per_epoch
    options = dict(
        global_clipnorm=config.clip_norm or None,
        use_ema=config.ema > 0,
        ema_momentum=config.ema or 0.99,
    )
    model.compile(
        optimizer=OPTIMIZERS[config.optimizer](_schedule(config, steps), **options),
        loss=losses.make_loss(config.loss),
        weighted_metrics=[losses.Psnr()],
        jit_compile=device.jit_compile,
        steps_per_execution=_largest_divisor(config.steps_per_epoch, STEPS_PER_EXECUTION),
    )
    model.optimizer.build(model.trainable_variables)


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


def begin_with(model: keras.Model, source: keras.Model) -> list[str]:
    """Copies what fits of a trained network; returns lines for the user."""
    left = transfer.copy_weights(source, model)
    if len(left) == len(model.weights):
        raise UserError(
            "the model given as init shares no layer with this network: expected one of the same"
            " network and size"
        )
    count = len(model.weights)
    line = f"init: {count - len(left)} of {count} weights copied"
    return [f"{line}; these begin anew: {', '.join(left)}" if left else line]


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
def _dtype_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, limit + 1) if number % divisor == 0)
