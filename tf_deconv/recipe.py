"""The recipe: which model is trained, in which number format, and how it is optimised."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tf_deconv import losses, transfer
from tf_deconv.config.training import TrainConfig
from tf_deconv.degradations.tasks import Task, find_task
from tf_deconv.inference import artifacts, run_folder
from tf_deconv.muon import Muon
from tf_deconv.networks.mask_blending import keep_known
from tf_deconv.networks.table import NETWORKS, parse_levels
from tf_deconv.utils.devices import Device
from tf_deconv.utils.options import UserError, reason

# Share of the steps in which the rate rises from 0 to its peak, where the optimizer is Muon.
WARMUP_SHARE, WARMUP_STEPS = 0.1, 100
# Share of the steps that the average of weights goes back, at most.
EMA_SHARE = 0.1
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
        global_clipnorm=config.clip_norm or None, use_ema=ema > 0, ema_momentum=ema or 0.99
    )
    model.compile(
        optimizer=OPTIMIZERS[config.optimizer](_schedule(config, steps), **options),
        # A model with a likelihood compares by itself.
        loss=None if config.loss == "likelihood" else losses.make_loss(config.loss),
        weighted_metrics=[losses.Psnr()] if metrics is None else list(metrics),
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


@dataclasses.dataclass(frozen=True)
class Start:
    """What training begins with.

    Attributes:
      name: Of the run or model, without its path: it is published.
      model: The trained network, float32.
      facts: What is known of how it was trained, as manifests tell it.
    """

    name: str
    model: keras.Model
    facts: dict[str, Any]


def open_start(init: str) -> Start:
    """Opens a trained network to begin with.

    Args:
      init: A run folder, a `.keras` file, or an exported model: its folder or a shipped one's name.
    Raises:
      UserError: if there is none, or it is damaged.
    """
    kind, path = artifacts.find_artifact(init)
    facts = artifacts.describe(kind, path)
    if kind == "keras":
        facts = facts | {"training_s": run_folder.training_s(path)}
        model = run_folder.load_model(path)
    elif kind == "saved_model" and facts:
        artifacts.check_files(kind, path)
        model = _rebuild(path, facts)
    else:
        raise UserError(
            f"init={init!r}: expected a run folder, a .keras file, the whole folder of an export"
            " (with its SavedModel and manifest) or the name of a shipped model"
        )
    kept = ("training", "device", "data_sha256", "began_with", "training_s")
    # A manifest says "trained_on" for what a description calls "device".
    facts = facts | {"device": facts.get("device") or facts.get("trained_on")}
    return Start(
        pathlib.Path(init).name, model, {key: facts[key] for key in kept if facts.get(key)}
    )


def _rebuild(folder: pathlib.Path, manifest: dict[str, Any]) -> keras.Model:
    """Builds an exported network again around the weights that its SavedModel holds in order."""
    import tensorflow as tf

    try:
        config = TrainConfig(**manifest["training"])
        task = find_task(config.task, config.degrade, config.self_supervised)
        model = build_in("float32", task, config)
        stored = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        names = [f"weights/{n}/.ATTRIBUTES/VARIABLE_VALUE" for n in range(len(model.weights))]
        model.set_weights([stored.get_tensor(name) for name in names])
    except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"training cannot begin with {str(folder)!r}: {reason(error)}; expected an export of a"
            " network of this version, or else its run"
        ) from error
    return model


def begin_with(model: keras.Model, start: Start) -> list[str]:
    """Copies what fits of a trained network; returns lines for the user."""
    left = transfer.copy_weights(start.model, model)
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
