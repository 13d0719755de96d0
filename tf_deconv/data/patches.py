"""Source and task to tf.data: which patch, in which orientation, degraded with which noise.

Every example is a pure function of (seed, epoch, index): two runs see the same data, an epoch sees
new noise, and a resumed run goes on where the interrupted one stopped.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_deconv.data.store import PictureStore
from tf_deconv.degradations import operators
from tf_deconv.degradations.tasks import Task
from tf_deconv.images import arrays

# Every so many pixels along either axis, one is looked at to tell how much detail a patch has.
DETAIL_STEP_PX = 2
# The epoch number that draws the fixed validation patches; no training epoch is negative.
VALIDATION_EPOCH = -1
# Folded into a patch's seed for its brightness; no operator folds in this number.
_BRIGHTNESS_STREAM = 2_000_003
# Folded into a patch's seed to decide whether it is grey; likewise.
_GREY_STREAM = 2_000_004
# Batches that wait on a GPU while it trains on another.
BATCHES_ON_DEVICE = 2


@dataclasses.dataclass(frozen=True)
class PatchPlan:
    """Where an epoch's patches come from; all arrays are (count,) but `noise_seed`.

    Attributes:
      picture: Index into the store.
      top: First row of the patch.
      left: First column.
      orientation: 0 to 7: quarter turns, plus 4 when mirrored.
      noise_seed: (count, 2) int32, for the task's degradation.
    """

    picture: np.ndarray
    top: np.ndarray
    left: np.ndarray
    orientation: np.ndarray
    noise_seed: np.ndarray


def make_plan(
    store: PictureStore,
    patch_size: int,
    count: int,
    *,
    seed: int,
    epoch: int,
    candidates: int = 1,
) -> PatchPlan:
    """Draws the patches of one epoch.

    Each picture is as likely as any other, however large: one huge picture must not crowd out the
    rest.

    Args:
      store: Pictures, each at least `patch_size` high and wide.
      patch_size: Height and width of a patch, in pixels.
      count: Number of patches.
      seed: The run's seed, at least 0.
      epoch: Epoch number from 0, or `VALIDATION_EPOCH`.
      candidates: Places drawn for each patch, of which the one with the most detail is taken. Sky
        teaches little; with 1 it comes as often as it is in the pictures.
    Returns:
      The plan: a function of the arguments alone.
    """
    draft = _draw(store, patch_size, count, seed=seed, epoch=epoch, candidates=candidates)
    return _choose(store, patch_size, draft)


def _draw(
    store: PictureStore, patch_size: int, count: int, *, seed: int, epoch: int, candidates: int
) -> PatchPlan:
    """Draws a plan whose places are (candidates, count): `_choose` takes one of each column."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch + 1])))
    places = [_draw_places(store, patch_size, count, random) for _ in range(candidates)]
    return PatchPlan(
        *map(np.stack, zip(*places)),
        orientation=random.integers(0, 8, count),
        noise_seed=random.integers(0, 2**31 - 1, (count, 2), np.int32),
    )


def _draw_places(
    store: PictureStore, patch_size: int, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    picture = random.integers(0, len(store), count)
    top = random.integers(0, store.heights[picture] - patch_size + 1)
    left = random.integers(0, store.widths[picture] - patch_size + 1)
    return picture, top, left


def _choose(
    store: PictureStore, patch_size: int, draft: PatchPlan, rows: slice = slice(None)
) -> PatchPlan:
    """Returns the plan of some columns of a draft: of each its place with the most detail."""
    places = np.stack([draft.picture, draft.top, draft.left])[:, :, rows]
    best = 0
    if places.shape[1] > 1:
        detail = [_detail(store, *candidate, patch_size) for candidate in places.swapaxes(0, 1)]
        best = np.argmax(detail, axis=0)  # The first of equal ones.
    picture, top, left = places[:, best, np.arange(places.shape[2])]
    return PatchPlan(picture, top, left, draft.orientation[rows], draft.noise_seed[rows])


def _detail(
    store: PictureStore, picture: np.ndarray, top: np.ndarray, left: np.ndarray, patch_size: int
) -> np.ndarray:
    """Returns (count,) numbers: how much green changes within each patch (of a target)."""
    side = -(-patch_size // DETAIL_STEP_PX)
    wide = store.pixels.dtype != np.uint8
    green = np.empty((len(picture), side, side), np.int32 if wide else np.int16)
    for view, index, y, x in zip(green, picture.tolist(), top.tolist(), left.tolist()):
        rows = slice(y, y + patch_size, DETAIL_STEP_PX)
        view[...] = store.picture(index)[rows, x : x + patch_size : DETAIL_STEP_PX, -2]
    change = sum(
        np.abs(np.diff(green, axis=axis)).sum(axis=(1, 2), dtype=np.int64) for axis in (1, 2)
    )
    if store.levels is None:
        return change
    # Pictures of several depths: what counts is how much of white the change is.
    low, high = store.levels[picture, -2].T
    return change / (high - low)


def cut_patches(store: PictureStore, plan: PatchPlan, rows: range, patch_size: int) -> np.ndarray:
    """Cuts planned patches.

    Args:
      store: The pictures that the plan was drawn from.
      plan: The plan.
      rows: Which of its patches.
      patch_size: Height and width, in pixels.
    Returns:
      (len(rows), patch_size, patch_size, store.channels) of the store's type.
    """
    patches = np.empty((len(rows), patch_size, patch_size, store.channels), store.pixels.dtype)
    chosen = slice(rows.start, rows.stop, rows.step)
    # As lists: a patch of 28x28 costs 5 microseconds so and 8 with NumPy's own numbers and
    # `np.rot90`, and one thread cuts for a whole GPU.
    columns = (plan.picture, plan.top, plan.left, plan.orientation)
    for patch, index, top, left, orientation in zip(
        patches, *(column[chosen].tolist() for column in columns)
    ):
        view = store.picture(index)[top : top + patch_size, left : left + patch_size]
        patch[...] = arrays.oriented(view, orientation)
    return patches


def to_unit(pixels: tf.Tensor, *levels: tf.Tensor) -> tf.Tensor:
    """Converts pixels of a store to float32 in [0, 1]: nothing else in training does.

    Args:
      pixels: (..., channels) uint8 or uint16; float32 is returned as it is.
      *levels: (channels, 2), which values become 0 and 1; none where they are those of the type.
    """
    if not levels:
        return tf.image.convert_image_dtype(pixels, tf.float32)
    low, high = tf.unstack(levels[0], axis=-1)
    return tf.clip_by_value((tf.cast(pixels, tf.float32) - low) / (high - low), 0.0, 1.0)


def _levels(store: PictureStore, pictures: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns what `to_unit` takes besides the pixels of some pictures: one array, or none."""
    return () if store.levels is None else (store.levels[pictures],)


def training_data(
    store: PictureStore,
    task: Task,
    *,
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
    """Endless batches of (degraded, clean), epoch after epoch.

    Args:
      store: Training pictures.
      task: What to degrade, and how.
      patch_size: Height and width of a clean patch, in pixels.
      batch_size: Patches in a batch.
      steps_per_epoch: Batches in an epoch.
      seed: The run's seed.
      first_epoch: Epoch to begin with; resuming begins where the run stopped.
      candidates: As for `make_plan`.
      brightness: Each patch is multiplied by a factor drawn between this and 1.
      grey: Share of patches that are grey in all three channels, their noise too.
      part: Which of the shares of each batch, from 0; its rows are those that the whole would have.
      parts: Number of shares, which divides the batch.
    Returns:
      Batches ((B, P / scale, P / scale, C) float32, (B, P, P, C') float32), prefetched; B is the
      batch size over `parts`. Without clean pictures there is a third part, the weights of the
      loss, (B, P, P, 1) float32.
    """

    own = batch_size // parts

    def batches() -> Iterator[tuple[np.ndarray, ...]]:
        for epoch in itertools.count(first_epoch):
            count = batch_size * steps_per_epoch
            draft = _draw(store, patch_size, count, seed=seed, epoch=epoch, candidates=candidates)
            for start in range(part * own, count, batch_size):
                # Chosen batch by batch: nobody waits for a whole epoch's candidates at its start.
                plan = _choose(store, patch_size, draft, slice(start, start + own))
                patches = cut_patches(store, plan, range(own), patch_size)
                yield (patches, *_levels(store, plan.picture), plan.noise_seed)

    with_levels = [tf.TensorSpec((own, store.channels, 2), tf.float32)]
    dataset = tf.data.Dataset.from_generator(
        batches,
        output_signature=(
            tf.TensorSpec(
                (own, patch_size, patch_size, store.channels), tf.as_dtype(store.pixels.dtype)
            ),
            *([] if store.levels is None else with_levels),
            tf.TensorSpec((own, 2), tf.int32),
        ),
    )
    # Cut one batch ahead of the degradation, which runs in parallel.
    dataset = dataset.prefetch(2).unbatch()
    # Not AUTOTUNE: it lets the buffer grow to hundreds of batches, and `fit` waits for them at its
    # end (37 s after a training of 45 s).
    degraded = _degraded(dataset, task, brightness, grey)
    return degraded.batch(own, drop_remainder=True).prefetch(8)


def on_device(dataset: tf.data.Dataset, place: str) -> tf.data.Dataset:
    """Copies batches to a device ahead of the step, which otherwise waits for each copy.

    Nothing may follow it but training: what came after would bring the batches back.

    Args:
      dataset: Batches in the CPU's memory.
      place: TensorFlow's name of the device, such as "/GPU:0"; "": they stay where they are.
    Returns:
      The same batches.
    """
    if not place:
        return dataset
    copied = dataset.apply(tf.data.experimental.copy_to_device(place))
    with tf.device(place):  # Else the buffer would be in the CPU's memory again.
        return copied.prefetch(BATCHES_ON_DEVICE)


def validation_data(
    store: PictureStore, task: Task, *, patch_size: int, batch_size: int, count: int, seed: int
) -> tf.data.Dataset:
    """The same fixed patches each time, in batches as those of `training_data`."""
    examples = fixed_patches(store, task, patch_size=patch_size, count=count, seed=seed)
    return tf.data.Dataset.from_tensor_slices(examples).batch(batch_size)


def fixed_patches(
    store: PictureStore, task: Task, *, patch_size: int, count: int, seed: int
) -> tuple[np.ndarray, ...]:
    """Draws patches that do not depend on an epoch.

    Returns:
      degraded (count, P / scale, P / scale, C) and clean (count, P, P, C'), float32; without clean
      pictures weights too, as in `training_data`.
    """
    plan = make_plan(store, patch_size, count, seed=seed, epoch=VALIDATION_EPOCH)
    patches = cut_patches(store, plan, range(count), patch_size)
    parts = (patches, *_levels(store, plan.picture), plan.noise_seed)
    dataset = tf.data.Dataset.from_tensor_slices(parts)
    return tuple(map(np.stack, zip(*_degraded(dataset, task).as_numpy_iterator())))


def degrade_picture(
    picture: np.ndarray, task: Task, seed: int, levels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Degrades one whole picture.

    Args:
      picture: (H, W, 3) uint8 or uint16; (H, W, 6) where the task is paired.
      task: The task.
      seed: An integer of at least 0.
      levels: (channels, 2), which values are black and white; those of the type when None.
    Returns:
      degraded and clean, float32 (H, W, C), as the task makes them. Without clean pictures both
      are the picture itself.
    """
    image = to_unit(picture, *(() if levels is None else (levels,)))
    degraded, clean = operators.make_pair(task, image, tf.constant([seed, 0], tf.int32))
    return degraded.numpy(), clean.numpy()


def _degraded(
    dataset: tf.data.Dataset, task: Task, brightness: float = 1.0, grey: float = 0.0
) -> tf.data.Dataset:
    return dataset.map(
        # What lies between patch and seed are the levels, where there are any.
        lambda patch, *rest: _make_example(
            task, to_unit(patch, *rest[:-1]), rest[-1], brightness, grey
        ),
        num_parallel_calls=degradation_threads(),
        deterministic=True,
    )


def degradation_threads() -> int:
    """Returns how many examples are made at a time: on a CPU the training step needs cores too.

    The number does not change what comes, nor in which order.
    """
    cores = os.cpu_count() or 2
    return max(2, cores if tf.config.get_visible_devices("GPU") else cores // 2)


def _make_example(
    task: Task, image: tf.Tensor, seed: tf.Tensor, brightness: float, grey: float
) -> tuple[tf.Tensor, ...]:
    degraded, clean = varied_pair(operators.make_pair, task, image, seed, brightness, grey)
    if not task.blind_spots:
        return degraded, clean
    hidden, weights = operators.hide_pixels(degraded, seed)
    return hidden, clean, weights


def varied_pair(
    make_pair: Callable[[Task, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    task: Task,
    image: tf.Tensor,
    seed: tf.Tensor,
    brightness: float,
    grey: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the pair of a patch or a clip, which is darkened and made grey by chance.

    Args:
      make_pair: `operators.make_pair`, or `make_clip_pair`.
      task: The task.
      image: What it takes, in [0, 1].
      seed: (2,) int32.
      brightness: It is multiplied by a factor drawn between this and 1.
      grey: How likely it becomes grey, in three channels as files hold it, its noise too.
    Returns:
      degraded and clean.
    """
    if brightness < 1.0:
        own = tf.random.experimental.stateless_fold_in(seed, _BRIGHTNESS_STREAM)
        image *= tf.random.stateless_uniform((), own, brightness, 1.0)
    if grey == 0.0:
        return make_pair(task, image, seed)

    def make_grey() -> tuple[tf.Tensor, tf.Tensor]:
        grey_task = dataclasses.replace(task, grey_input=True, grey_output=True)
        degraded, clean = make_pair(grey_task, image, seed)
        return tf.repeat(degraded, 3, axis=-1), tf.repeat(clean, 3, axis=-1)

    own = tf.random.experimental.stateless_fold_in(seed, _GREY_STREAM)
    is_grey = tf.random.stateless_uniform((), own) < grey
    return tf.cond(is_grey, make_grey, lambda: make_pair(task, image, seed))
