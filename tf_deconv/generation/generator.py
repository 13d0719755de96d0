"""One interface for generators of every format, and pictures from them.

A `Generator` is two or three NumPy functions; `opening` makes it of a run, a `.keras` file, a
SavedModel or a `.tflite` file. Noise comes from `generation.noise`, so the same seed gives the
same picture everywhere.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from tf_deconv.generation import noise
from tf_deconv.generation.config import FLOW_GUIDANCE, FLOW_SOLVER, FLOW_STEPS
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.utils.options import UserError

BATCH = 64
# The first and the last time that a flow's network is asked for.
_NOISE_TIME, _PICTURE_TIME = 0.0, 1.0

Decode = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
Encode = Callable[[np.ndarray, np.ndarray | None], tuple[np.ndarray, np.ndarray]]
Velocity = Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Generator:
    """A generator, ready to run.

    Attributes:
      facts: What is known of it.
      decode: Of a VAE: (latent (N, L) float32, label (N,) int32 or None) to (N, H, W, C) float32 in
        [0, 1].
      encode: Of a VAE: (image (N, H, W, C) in [0, 1], label) to mean and log-variance, (N, L) each;
        None where the file has no encoder.
      velocity: Of a flow: (x (N, H, W, C), t (N,), label) to (N, H, W, C); pictures are in [-1, 1];
        the label `classes` means none.
      model: The Keras model; None of an export.
    """

    facts: GeneratorSpec
    decode: Decode | None = None
    encode: Encode | None = None
    velocity: Velocity | None = None
    model: object | None = None


def labels_of(facts: GeneratorSpec, count: int, label: int | None = None) -> np.ndarray | None:
    """Returns the labels of sampled pictures.

    Args:
      facts: The generator's.
      count: Number of pictures.
      label: That of all of them; None for the classes in turn, 0, 1, 2, ...
    Returns:
      (count,) int32; None for a generator without labels.
    Raises:
      UserError: if the generator does not know the label.
    """
    facts.check_label(label)
    if not facts.classes:
        return None
    if label is None:
        return np.arange(count, dtype=np.int32) % facts.classes
    return np.full(count, label, np.int32)


def sample(
    generator: Generator,
    count: int,
    seed: int,
    *,
    label: int | None = None,
    steps: int = FLOW_STEPS,
    solver: str = FLOW_SOLVER,
    guidance: float = FLOW_GUIDANCE,
    on_batch: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Makes pictures; picture i depends on (seed, i, label) alone.

    Args:
      generator: The generator.
      count: Number of pictures.
      seed: From 0 to 2**31 - 1.
      label: As for `labels_of`.
      steps: Of a flow.
      solver: Of a flow: "euler" or "heun".
      guidance: Of a conditional flow: 1 as trained.
      on_batch: Receives how many pictures are done.
    Returns:
      (count, H, W, C) float32 in [0, 1].
    Raises:
      UserError: if the label is not known.
    """
    how = dict(label=label, steps=steps, solver=solver, guidance=guidance)
    pictures, done = np.empty((count, *generator.facts.shape), np.float32), 0
    for batch in sample_batches(generator, count, seed, **how):
        pictures[done : done + len(batch)] = batch
        done += len(batch)
        on_batch(done)
    return pictures


def sample_batches(
    generator: Generator,
    count: int,
    seed: int,
    *,
    label: int | None = None,
    steps: int = FLOW_STEPS,
    solver: str = FLOW_SOLVER,
    guidance: float = FLOW_GUIDANCE,
) -> Iterator[np.ndarray]:
    """Makes the pictures of `sample`, which has the same arguments, one batch at a time.

    Yields:
      (N, H, W, C) float32 in [0, 1], N at most `BATCH`; none of them is kept here.
    Raises:
      UserError: if the label is not known, before the first batch.
    """
    facts = generator.facts
    labels = labels_of(facts, count, label)
    for first in range(0, count, BATCH):
        part = slice(first, min(first + BATCH, count))
        start = noise.normal(seed, part.stop - first, facts.noise_size, first=first)
        own = None if labels is None else labels[part]
        if facts.kind == "vae":
            yield generator.decode(start, own)
        else:
            start = start.reshape(-1, *facts.shape)
            end = flow_to(generator, start, own, steps=steps, solver=solver, guidance=guidance)
            yield to_picture(end)


def flow_to(
    generator: Generator,
    x: np.ndarray,
    labels: np.ndarray | None,
    *,
    steps: int,
    solver: str = "heun",
    guidance: float = 1.0,
    first_time: float = _NOISE_TIME,
    last_time: float = _PICTURE_TIME,
    on_step: Callable[[np.ndarray, float], np.ndarray | None] = lambda x, t: None,
) -> np.ndarray:
    """Takes a flow's steps from one time to another, evenly; backwards too.

    Args:
      generator: A flow.
      x: (N, H, W, C) float32 at `first_time`.
      labels: (N,) int32 or None.
      steps: Number of steps.
      solver: "euler", one velocity each step, or "heun", two and second order.
      guidance: Velocities are v_none + guidance * (v_label - v_none).
      first_time: 0 is noise, 1 is a picture.
      last_time: Likewise.
      on_step: Receives x and its time after each step; what it returns, if anything, goes on.
    Returns:
      (N, H, W, C) float32 at `last_time`.
    """
    if generator.velocity is None:
        raise UserError("the model is a VAE: expected a flow")
    times = np.linspace(first_time, last_time, steps + 1)

    def velocity(x: np.ndarray, time: float) -> np.ndarray:
        return guided_velocity(generator, x, time, labels, guidance)

    for now, then in itertools.pairwise(times):
        step = np.float32(then - now)
        first = velocity(x, now)
        ahead = x + step * first
        if solver == "heun":
            ahead = x + step / 2 * (first + velocity(ahead, then))
        changed = on_step(ahead, float(then))
        x = ahead if changed is None else changed
    return x


def guided_velocity(
    generator: Generator,
    x: np.ndarray,
    time: float,
    labels: np.ndarray | None,
    guidance: float = 1.0,
) -> np.ndarray:
    """Returns a flow's velocity at one time, leaning towards the labels (Ho and Salimans 2022)."""
    t = np.full(len(x), time, np.float32)
    if labels is None:
        return generator.velocity(x, t, None)
    none = np.full(len(x), generator.facts.classes, np.int32)
    if guidance == 0.0:
        return generator.velocity(x, t, none)
    conditional = generator.velocity(x, t, labels)
    if guidance == 1.0:
        return conditional
    unconditional = generator.velocity(x, t, none)
    return unconditional + np.float32(guidance) * (conditional - unconditional)


def to_picture(x: np.ndarray) -> np.ndarray:
    """Turns a flow's [-1, 1] into a picture in [0, 1], clipped."""
    return np.clip((x + 1.0) / 2.0, 0.0, 1.0).astype(np.float32)


def from_picture(image: np.ndarray) -> np.ndarray:
    """Turns a picture in [0, 1] into a flow's [-1, 1]."""
    return (2.0 * image - 1.0).astype(np.float32)
