"""Source and task to tf.data of clips: frames in their order, degraded as a film would be.

Clips come from pictures, to which `motion` gives movement, or from the user's films and sequences
of frames (`films`). As in `patches`, every example is a pure function of (seed, epoch, index), so a
resumed run goes on where the interrupted one stopped. See docs/decisions/0031-clips.md.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from tf_deconv.data import films, sources
from tf_deconv.data.config import BUNDLED
from tf_deconv.data.motion import MovingPictures
from tf_deconv.data.patches import VALIDATION_EPOCH, degradation_threads, to_unit, varied_pair
from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import Task
from tf_deconv.images.arrays import CHANNELS
from tf_deconv.utils.options import UserError

# What a source is taken for: films and sequences where there are any, or pictures in any case.
KINDS = ("auto", "films", "pictures")


class ClipStore(Protocol):
    """Where clean clips come from: `MovingPictures` or `films.FilmStore`."""

    def __len__(self) -> int:
        """Returns the number of pictures or films."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures or films."""

    @property
    def grey(self) -> bool:
        """Whether none has colour."""

    def sha256(self) -> str:
        """Returns a hash of all content."""

    def clip(
        self, key: Sequence[int], frames: int, patch_size: int, candidates: int = 1
    ) -> np.ndarray:
        """Returns the clip of a key: (frames, patch_size, patch_size, 3) uint8."""


@dataclasses.dataclass(frozen=True)
class ClipSource:
    """A source of clips, split.

    Attributes:
      training: To train on.
      validation: Held out: whole films, or pictures of which no clip of training shows anything.
      skipped: "name: reason" of every file that could not be used.
      failures: Those of them that are faults: all but what is merely too small or too short.
      notes: Lines that the user should see.
    """

    training: ClipStore
    validation: ClipStore
    skipped: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load_clips(
    data: str,
    frames: int,
    patch_size: int,
    validation_fraction: float,
    *,
    shrink: tuple[float, float] = (1.0, 3.0),
    kind: str = "auto",
    max_pixels: int = sources.MAX_PIXELS,
    value_range: str = "auto",
    memory_bytes: int | None = None,
) -> ClipSource:
    """Opens and splits what a run trains on.

    Args:
      data: A folder with films, or with a folder of numbered pictures for each film; or pictures,
        as for `sources.load_source`.
      frames: Of a clip; shorter films are skipped.
      patch_size: Height and width of a clip in pixels; smaller films and pictures are skipped.
      validation_fraction: Expected share of films, or pictures, held out, in (0, 1); the bundled
        photographs have a fixed split.
      shrink: Smallest and largest number of the source's pixels for each of a clip, at least 1;
        where a source has room for less, it is less.
      kind: One of `KINDS`; auto takes a folder for films where `films.holds_films` says so.
      max_pixels: Of a picture, as for `sources.load_source`; of a frame of a film likewise.
      value_range: As for `sources.load_source`, of pictures.
      memory_bytes: As for `sources.load_source`, of pictures.
    Returns:
      The source; both parts hold at least one film or picture.
    Raises:
      UserError: if nothing usable is there.
    """
    if kind == "films" or (kind == "auto" and data != BUNDLED and films.holds_films(data)):
        found = films.open_films(data, frames, patch_size, max_pixels)
        training, validation, note = found.split(validation_fraction)
        return ClipSource(
            films.FilmStore(training, shrink),
            films.FilmStore(validation, shrink),
            tuple(found.skipped),
            tuple(found.failures),
            (*found.notes, *note),
        )
    source = sources.load_source(
        data,
        patch_size,
        validation_fraction,
        max_pixels=max_pixels,
        value_range=value_range,
        memory_bytes=memory_bytes,
    )
    return ClipSource(
        MovingPictures(source.training, shrink),
        MovingPictures(source.validation, shrink),
        source.skipped,
        source.failures,
        source.notes,
    )


def check_task(name: str, task: Task) -> None:
    """Refuses a task for which no clips can be made.

    Raises:
      UserError: that says why.
    """
    if task.paired:
        raise UserError(
            f"task={name!r} on clips: expected a task that makes its inputs from its targets, such"
            " as 'denoise'"
        )
    if task.blind_spots:
        raise UserError(
            f"self_supervised=True with task={name!r} on clips: expected clean films or pictures,"
            " and no --self-supervised"
        )
    if task.generates:
        raise UserError(f"task={name!r} on clips: expected a task that restores")


def training_clips(
    store: ClipStore,
    task: Task,
    *,
    frames: int,
    patch_size: int,
    batch_size: int,
    steps_per_epoch: int,
    seed: int,
    first_epoch: int = 0,
    candidates: int = 1,
    brightness: float = 1.0,
    grey: float = 0.0,
    part: int = 0,
    parts: int = 1,
) -> tf.data.Dataset:
    """Endless batches of (degraded, clean) clips, epoch after epoch.

    Args:
      store: What to train on.
      task: What to degrade, and how; one that `check_task` passes.
      frames: Of a clip, T.
      patch_size: Height and width of a clean clip in pixels, P.
      batch_size: Clips in a batch.
      steps_per_epoch: Batches in an epoch.
      seed: The run's seed, at least 0.
      first_epoch: Epoch to begin with; resuming begins where the run stopped.
      candidates: Places drawn for each clip, of which the one with the most detail is taken.
      brightness: Each clip is multiplied by a factor drawn between this and 1.
      grey: Share of clips that are grey in all three channels, their noise too.
      part: Which of the shares of each batch, from 0; its rows are those that the whole would have.
      parts: Number of shares, which divides the batch.
    Returns:
      Batches ((B, T, P / scale, P / scale, C), (B, T, P, P, C')) float32, prefetched; B is the
      batch size over `parts`.
    """
    own, count = batch_size // parts, batch_size * steps_per_epoch

    def numbers(row: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns epoch and index of a row of this part."""
        index = row // own * batch_size + part * own + row % own
        return index // count, index % count

    rows = tf.data.Dataset.range(first_epoch * own * steps_per_epoch, 2**62)
    examples = rows.map(numbers).map(
        functools.partial(
            _make_example,
            functools.partial(_draw, store, seed, frames, patch_size, candidates),
            task,
            (frames, patch_size, patch_size, CHANNELS),
            brightness,
            grey,
        ),
        num_parallel_calls=degradation_threads(),
        deterministic=True,
    )
    # Few batches wait: one of clips is as large as ten of patches.
    return examples.batch(own, drop_remainder=True).prefetch(2)


def validation_clips(
    store: ClipStore,
    task: Task,
    *,
    frames: int,
    patch_size: int,
    batch_size: int,
    count: int,
    seed: int,
) -> tf.data.Dataset:
    """The same fixed clips each time, in batches as those of `training_clips`."""
    examples = fixed_clips(
        store, task, frames=frames, patch_size=patch_size, count=count, seed=seed
    )
    return tf.data.Dataset.from_tensor_slices(examples).batch(batch_size)


def fixed_clips(
    store: ClipStore, task: Task, *, frames: int, patch_size: int, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Makes clips that do not depend on an epoch.

    Returns:
      degraded (count, T, P / scale, P / scale, C) and clean (count, T, P, P, C'), float32.
    """
    draw = functools.partial(_draw, store, seed, frames, patch_size, 1)
    shape = (frames, patch_size, patch_size, CHANNELS)
    numbers = tf.data.Dataset.range(count)
    examples = numbers.map(
        lambda index: _make_example(
            draw, task, shape, 1.0, 0.0, tf.constant(VALIDATION_EPOCH, tf.int64), index
        ),
        num_parallel_calls=degradation_threads(),
        deterministic=True,
    )
    degraded, clean = zip(*examples.as_numpy_iterator())
    return np.stack(degraded), np.stack(clean)


def degrade_clip(clip: np.ndarray, task: Task, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Degrades one whole clip.

    Args:
      clip: (T, H, W, 3) uint8.
      task: The task, one that `check_task` passes.
      seed: An integer from 0 to 2^31 - 1.
    Returns:
      degraded and clean, float32 (T, H, W, C), as the task makes them.
    """
    pair = operators.make_clip_pair(task, to_unit(tf.constant(clip)), tf.constant([seed, 0]))
    degraded, clean = (each.numpy() for each in pair)
    return degraded, clean


def _draw(
    store: ClipStore,
    seed: int,
    frames: int,
    patch_size: int,
    candidates: int,
    epoch: np.ndarray,
    index: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the clean clip of an epoch and index, and the seed of what happens to it."""
    key = (seed, int(epoch) + 1, int(index))
    clip = store.clip(key, frames, patch_size, candidates)
    words = np.random.SeedSequence([*key, 1]).generate_state(2, np.uint32)
    return clip, (words >> 1).astype(np.int32)


def _make_example(
    draw: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    task: Task,
    shape: tuple[int, ...],
    brightness: float,
    grey: float,
    epoch: tf.Tensor,
    index: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    pixels, seed = tf.numpy_function(draw, [epoch, index], (tf.uint8, tf.int32), stateful=False)
    clip = to_unit(tf.ensure_shape(pixels, shape))
    seed = tf.ensure_shape(seed, (2,))
    return varied_pair(operators.make_clip_pair, task, clip, seed, brightness, grey)
