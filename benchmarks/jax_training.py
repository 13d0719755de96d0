"""Training on JAX: pictures on a GPU to patches, steps of any optimizer of Keras, and a row's file.

Imported by `train_jax.py` once KERAS_BACKEND is set. Many steps are one call of a compiled function
that owns the weights; between two calls the rate is set by how much of the row is done.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
import recipes
import weight_files
from jax_operators import Draws, make_pair

from tf_deconv.degradations.tasks import find_task
from tf_deconv.networks import reparameterization
from tf_deconv.training import compilation, losses
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.utils.options import UserError

STEPS_PER_CALL, WARMUP_STEPS = 20, 100
# Patches whose outputs are kept beside the weights, to be compared elsewhere, and their side.
CHECKED, CHECK_PX = 8, 64


def _places(pictures, chosen, key, shape, side: int):
    """Draws a picture, each as likely as another, and a place in it."""
    keys = jax.random.split(key, 3)
    index = chosen[jax.random.randint(keys[0], shape, 0, len(chosen))]
    top, left = (
        jnp.floor(jax.random.uniform(key, shape) * (pictures[name][index] - side + 1))
        for key, name in ((keys[1], "heights"), (keys[2], "widths"))
    )
    return index, top.astype(jnp.int32), left.astype(jnp.int32)


def _gather(pictures, index, top, left, rows, columns):
    """Returns pixels (N, ..., 3) of pictures at rows and columns of patches, (N, ...)."""
    lead = (...,) + (None,) * (rows.ndim - 1)
    at = (top[lead] + rows) * pictures["widths"][index][lead] + left[lead] + columns
    return pictures["pixels"][pictures["offsets"][index][lead] + at]


def make_batch(pictures, chosen, key, config, task):
    """Cuts and degrades a batch, as `tf_deconv.data.patches` does.

    Returns:
      degraded (B, P / scale, P / scale, C) and clean (B, P, P, C') float32.
    """
    keys = jax.random.split(key, 5)
    side, count = config.patch_size, config.batch_size
    shape = (config.candidates, count)
    index, top, left = _places(pictures, chosen, keys[0], shape, side)
    if config.candidates > 1:  # The one in which green changes most.
        every = jnp.arange(0, side, 2)
        rows, columns = (grid[None] for grid in jnp.meshgrid(every, every, indexing="ij"))
        flat = [values.reshape(-1) for values in (index, top, left)]
        green = _gather(pictures, *flat, rows, columns)[..., 1].astype(jnp.int32)
        change = sum(jnp.abs(jnp.diff(green, axis=axis)).sum((1, 2)) for axis in (1, 2))
        best = jnp.argmax(change.reshape(shape), axis=0)
        index, top, left = (
            jnp.take_along_axis(values, best[None], 0)[0] for values in (index, top, left)
        )
    else:
        index, top, left = index[0], top[0], left[0]
    flips = jax.random.randint(keys[1], (3, count, 1, 1), 0, 2) == 1
    rows, columns = (grid[None] for grid in jnp.meshgrid(*[jnp.arange(side)] * 2, indexing="ij"))
    rows, columns = jnp.where(flips[0], columns, rows), jnp.where(flips[0], rows, columns)
    rows = jnp.where(flips[1], side - 1 - rows, rows)
    columns = jnp.where(flips[2], side - 1 - columns, columns)
    patches = _gather(pictures, index, top, left, rows, columns).astype(jnp.float32) / 255.0
    if config.brightness < 1.0:
        patches *= jax.random.uniform(keys[2], (count, 1, 1, 1), minval=config.brightness)
    grey_task = dataclasses.replace(task, grey_input=True, grey_output=True)

    def pair(patch, key, is_grey):
        own = make_pair(task, patch, Draws(key))
        if not config.grey:
            return own
        grey = make_pair(grey_task, patch, Draws(key))
        return tuple(jnp.where(is_grey, one, other) for one, other in zip(grey, own))

    is_grey = jax.random.uniform(keys[3], (count,)) < config.grey
    return jax.vmap(pair)(patches, jax.random.split(keys[4], count), is_grey)


class Trained:
    """One stage of a row: model, optimizer and the compiled steps.

    Args:
      plan: Fields of `TrainConfig`.
      pictures: As of `load_pictures`, on the device.
      chosen: Indices of the pictures to train on.
      init: Weights by path to begin with; {} for none.
      teacher: A function from degraded to what a teacher makes of it, or None.
    """

    def __init__(self, plan, pictures, chosen, init, teacher):
        config = check_train_config(TrainConfig(**plan))
        self.config, self.task = config, find_task(config.task, config.degrade)
        if self.task.mask or self.task.paired or self.task.generates or config.self_supervised:
            raise UserError(f"task {config.task!r} is not trained here: expected one that degrades")
        for name in ("init_rest", "train_layers"):
            if getattr(config, name) is not None:
                raise UserError(f"{name}={getattr(config, name)!r}: not known here, leave it out")
        keras.utils.set_random_seed(config.seed)
        precision = "mixed_bfloat16" if config.precision == "auto" else config.precision
        self.model = compilation.build_in(precision, self.task, config, trained=True)
        self.began_anew = []
        for weight in self.model.weights:
            value = init.get(weight.path)
            if value is not None and value.shape == tuple(weight.shape):
                weight.assign(value)
            else:
                self.began_anew.append(weight.path)
        if init and len(self.began_anew) == len(self.model.weights):
            raise UserError("--init has no weight of this network: expected the same size")
        self.optimizer = compilation.OPTIMIZERS[config.optimizer](
            config.learning_rate, global_clipnorm=config.clip_norm or None
        )
        self.optimizer.build(self.model.trainable_variables)
        self.loss, self.teacher = losses.make_loss(config.loss), teacher
        self.pictures, self.chosen, self.key = pictures, chosen, jax.random.key(config.seed)
        trainable = [variable.value for variable in self.model.trainable_variables]
        fixed = [variable.value for variable in self.model.non_trainable_variables]
        state = [variable.value for variable in self.optimizer.variables]
        # Copies: the arrays are given away to each call.
        self.state = jax.tree.map(lambda value: value.copy(), (trainable, fixed, state, trainable))
        self.steps = 0
        self.plain = compilation.build_in("float32", self.task, config)
        self._run = jax.jit(self._scan, donate_argnums=0)
        self._restore, self._restore_exactly = map(jax.jit, (self._forward, self._forward_exactly))

    def _scan(self, state, pictures, chosen, keys, rates, momenta):
        paths = [variable.path for variable in self.optimizer.variables]
        rate_at = next(i for i, path in enumerate(paths) if path.endswith("learning_rate"))

        def step(state, inputs):
            trainable, fixed, optimizer, averaged = state
            key, rate, momentum = inputs
            degraded, clean = make_batch(pictures, chosen, key, self.config, self.task)
            if self.teacher is not None:
                taught = self.teacher(degraded)
                clean += recipes.TEACHER_SHARE * (taught - clean)

            def objective(trainable):
                restored, _ = self.model.stateless_call(trainable, fixed, degraded, training=True)
                return jnp.mean(self.loss(clean, restored))

            value, gradients = jax.value_and_grad(objective)(trainable)
            optimizer = [*optimizer[:rate_at], rate, *optimizer[rate_at + 1 :]]
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            averaged = [
                momentum * old + (1 - momentum) * new for old, new in zip(averaged, trainable)
            ]
            return (trainable, fixed, optimizer, averaged), value

        return jax.lax.scan(step, state, (keys, rates, momenta))

    def advance(self, progress: float, count: int = STEPS_PER_CALL) -> float:
        """Takes steps at the rate that `progress` (0 to 1) of the stage has; returns the loss."""
        numbers = self.steps + np.arange(count)
        rates = self.rate(progress) * np.minimum(1.0, (numbers + 1) / WARMUP_STEPS)
        # Not an average at all at the beginning: it would hold the first weights.
        momenta = np.minimum(self.config.ema, (1 + numbers) / (10 + numbers)).astype(np.float32)
        keys = jax.random.split(jax.random.fold_in(self.key, self.steps), count)
        arguments = (self.pictures, self.chosen, keys, rates.astype(np.float32), momenta)
        self.state, values = self._run(self.state, *arguments)
        self.steps += count
        value = float(values.mean())
        if not math.isfinite(value):
            raise UserError("the loss is no longer a number: --set learning_rate=... lower")
        return value

    def rate(self, progress: float) -> float:
        """Returns the rate on its cosine, without the warm-up."""
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def weights(self) -> dict[str, np.ndarray]:
        """Returns the averaged weights, by path, in the form in which they are trained."""
        _, fixed, _, averaged = self.state
        parts = (
            (self.model.trainable_variables, averaged),
            (self.model.non_trainable_variables, fixed),
        )
        return {
            variable.path: np.asarray(value)
            for variables, values in parts
            for variable, value in zip(variables, values)
        }

    def restorer(self, weights: dict[str, np.ndarray], exact: bool = False):
        """Returns a function of pictures: the model that a run folder of these weights would hold.

        Args:
          weights: As of `weights`.
          exact: Whether its products are those of float32 on a GPU too.
        """
        paths = [weight.path for weight in self.plain.weights]
        fused = compilation.round_to_float16(reparameterization.fuse(weights, paths))
        values = [jnp.asarray(value) for value in fused]
        restore = self._restore_exactly if exact else self._restore
        return lambda image: restore(values, image)

    def _forward(self, values, image):
        by_path = dict(zip([weight.path for weight in self.plain.weights], values))
        parts = (self.plain.trainable_variables, self.plain.non_trainable_variables)
        own = [[by_path[variable.path] for variable in part] for part in parts]
        return self.plain.stateless_call(*own, image)[0]

    def _forward_exactly(self, values, image):
        with jax.default_matmul_precision("highest"):
            return self._forward(values, image)


def validation_of(trained: Trained, held_out) -> tuple[np.ndarray, np.ndarray]:
    """Returns the patches that every row is scored on: degraded and clean."""
    fixed = dict(
        patch_size=recipes.VALIDATION["patch_size"], candidates=1, brightness=1.0, grey=0.0
    )
    config = dataclasses.replace(trained.config, **fixed, batch_size=recipes.VALIDATION["count"])
    key = jax.random.key(recipes.VALIDATION["seed"])
    make = jax.jit(lambda pictures: make_batch(pictures, held_out, key, config, trained.task))
    return tuple(map(np.asarray, make(trained.pictures)))


def psnr_db(restored: np.ndarray, clean: np.ndarray) -> float:
    """Scores as `losses.Psnr`: the mean over patches."""
    error = np.mean((np.clip(restored, 0.0, 1.0) - clean) ** 2, axis=(1, 2, 3))
    return float(np.mean(-10 * np.log10(np.maximum(error, 1e-10))))


class Row:
    """A row as it is trained: its curve, and its file, which is written again each minute."""

    def __init__(self, name: str, out: pathlib.Path, facts: dict[str, Any]):
        self.name, self.path, self.facts = name, out / f"{name}.npz", facts
        self.curve: list[dict[str, float]] = []
        self.known: dict[str, Any] = {}  # What its file tells.
        # Pixels of patches so far; of the present stage those that are among them.
        self.pixels, self.counted, self.started = 0.0, 0.0, time.monotonic()

    def train(self, trained: Trained, held_out, pixels: float, budget_s: float) -> None:
        """Trains a stage until its pixels or its seconds are spent."""
        config = trained.config
        degraded, clean = validation_of(trained, held_out)
        each = STEPS_PER_CALL * config.batch_size * config.patch_size**2
        if trained.began_anew and self.facts.get("name"):
            print(f"{self.name}: these begin anew: {', '.join(trained.began_anew)}")
        asked = time.monotonic()
        values = [trained.advance(0.0)]  # Compiles, for as long as thousands of steps may take.
        began, done, points, noted = time.monotonic(), each, 0, time.monotonic()
        budget_s = max(1.0, budget_s - (began - asked))
        while True:
            now = time.monotonic()
            progress = max(done / pixels, (now - began) / budget_s)
            if progress >= 1.0 or progress * recipes.POINTS >= points + 1 or now > noted + 60:
                points, noted = int(progress * recipes.POINTS), now
                self.pixels += done - self.counted
                self.counted = done
                self._note(trained, degraded, clean, float(np.mean(values)), progress)
                values = []
            if progress >= 1.0:
                self.counted = 0.0
                return
            values.append(trained.advance(progress))
            done += each

    def _note(self, trained: Trained, degraded, clean, loss: float, progress: float) -> None:
        weights = trained.weights()
        restore = trained.restorer(weights)
        restored = np.concatenate([restore(degraded[i : i + 32]) for i in range(0, len(clean), 32)])
        spent_s = time.monotonic() - self.started
        row = {
            "epoch": len(self.curve) + 1,
            "loss": loss,
            "val_loss": float(np.mean(trained.loss(clean, restored))),
            "val_psnr": psnr_db(restored, clean),
            "learning_rate": trained.rate(progress),
            "gigapixels": self.pixels / 1e9,
            "s": round(spent_s, 1),
        }
        self.curve.append(row)
        print(
            f"{self.name}: {trained.steps} steps, {row['gigapixels']:.4g} Gpixel, {spent_s:.0f} s,"
            f" loss {loss:.4g}, {row['val_psnr']:.3f} dB",
            flush=True,
        )
        check = degraded[:CHECKED, :CHECK_PX, :CHECK_PX]
        output = np.asarray(trained.restorer(weights, exact=True)(check))
        training = dataclasses.asdict(trained.config)
        own = {"training": training, "curve": self.curve, "steps": trained.steps}
        self.known = {**self.facts, **own}
        weight_files.save(self.path, weights, self.known, check_input=check, check_output=output)
