"""Pictures, labels and noise to tf.data, for networks that generate.

Every batch is a pure function of (seed, epoch, step), its noise included: a resumed run goes on
where it stopped, and networks and losses draw nothing themselves.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_deconv.data.store import PictureStore

# Share of labels that a conditional flow does not get to see, so that it learns to do without one.
DROPPED_LABELS = 0.1
# Folded into a step's seed for each thing that is drawn.
_NOISE, _TIME, _LABEL = range(3)

# (pictures (N, P, P, C) float32 in [0, 1], labels (N,) int32, seed (2,) int32) to a batch.
MakeBatch = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[dict[str, tf.Tensor], tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures of one size, cut out of a store.

    Attributes:
      store: The pictures, each at least `side_px` high and wide.
      side_px: Height and width, in pixels; larger pictures are cut at a random place.
      channels: 1 takes the first channel of grey pictures, 3 all.
      classes: Number of classes; 0 where labels are not used.
    """

    store: PictureStore
    side_px: int
    channels: int
    classes: int = 0

    def cut(self, indices: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        """Returns (N, P, P, C) uint8; of larger pictures the middle where nothing is random.

        Generators make 8 bits: what has more is rounded.
        """
        side = self.side_px
        pictures = np.empty((len(indices), side, side, self.channels), np.uint8)
        for picture, index in zip(pictures, indices):
            whole = self.store.picture(index)
            spare = [whole.shape[axis] - side for axis in (0, 1)]
            if random is None:
                top, left = (room // 2 for room in spare)
            else:
                top, left = (int(random.integers(0, room + 1)) for room in spare)
            cut = whole[top : top + side, left : left + side]
            picture[...] = self.store.as_bytes(cut, int(index))[..., : self.channels]
        return pictures

    def labels(self, indices: np.ndarray) -> np.ndarray:
        """Returns (N,) int32; zeros where there are no classes."""
        if not self.classes:
            return np.zeros(len(indices), np.int32)
        return self.store.labels[indices].astype(np.int32)


def training_batches(
    pictures: Pictures,
    make_batch: MakeBatch,
    *,
    batch_size: int,
    steps_per_epoch: int,
    seed: int,
    first_epoch: int = 0,
    part: int = 0,
    parts: int = 1,
) -> tf.data.Dataset:
    """Endless batches, epoch after epoch; every picture comes once before any comes twice.

    Args:
      pictures: What to train on.
      make_batch: Makes a batch's input and target, with the noise that it needs.
      batch_size: Pictures in a batch.
      steps_per_epoch: Batches in an epoch.
      seed: The run's seed.
      first_epoch: Epoch to begin with; resuming begins where the run stopped.
      part: Which of the shares of each batch, from 0; its rows are those that the whole would have.
      parts: Number of shares, which divides the batch.
    """

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        order = _Order(len(pictures.store), seed)
        for step in itertools.count(first_epoch * steps_per_epoch):
            indices = order.take(step * batch_size, batch_size)
            random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step, 1])))
            noise_seed = random.integers(0, 2**31 - 1, 2, np.int32)
            yield pictures.cut(indices, random), pictures.labels(indices), noise_seed

    side = pictures.side_px
    dataset = tf.data.Dataset.from_generator(
        batches,
        output_signature=(
            tf.TensorSpec((batch_size, side, side, pictures.channels), tf.uint8),
            tf.TensorSpec((batch_size,), tf.int32),
            tf.TensorSpec((2,), tf.int32),
        ),
    )
    dataset = dataset.map(_of_pixels(make_batch), num_parallel_calls=2)
    if parts > 1:
        # After the noise, which is drawn for a whole batch.
        own = batch_size // parts
        rows = slice(part * own, (part + 1) * own)
        dataset = dataset.map(lambda *batch: tf.nest.map_structure(lambda t: t[rows], batch))
    return dataset.prefetch(8)


def validation_batches(
    pictures: Pictures, make_batch: MakeBatch, *, batch_size: int, count: int, seed: int
) -> tf.data.Dataset:
    """The same pictures with the same noise each time, at most `count`."""
    indices = np.arange(min(count, len(pictures.store)))
    dataset = tf.data.Dataset.from_tensor_slices(
        (pictures.cut(indices, None), pictures.labels(indices))
    ).batch(batch_size)
    seeds = tf.data.Dataset.counter().map(
        lambda number: tf.stack([tf.cast(number, tf.int32), seed])
    )
    make = _of_pixels(make_batch)
    zipped = tf.data.Dataset.zip((dataset, seeds))
    return zipped.map(lambda pair, own_seed: make(*pair, own_seed)).cache()


def vae_batch(latent: int, conditional: bool) -> MakeBatch:
    """Batches {"image", "noise" (N, latent)[, "label"]} to the picture."""

    def make(image, label, seed):
        shape = tf.stack([tf.shape(image)[0], latent])
        inputs = {"image": image, "noise": tf.random.stateless_normal(shape, _fold(seed, _NOISE))}
        return (inputs | {"label": label} if conditional else inputs), image

    return make


def flow_batch(classes: int) -> MakeBatch:
    """Batches {"x", "t" (N,)[, "label"]} to the velocity: picture less noise.

    Times are logit-normal, most of them in the middle (Esser et al. 2024): there the velocity is
    hardest to tell.
    """

    def make(image, label, seed):
        count = tf.shape(image)[0]
        picture = 2.0 * image - 1.0
        noise = tf.random.stateless_normal(tf.shape(image), _fold(seed, _NOISE))
        time = tf.sigmoid(tf.random.stateless_normal([count], _fold(seed, _TIME)))
        share = time[:, tf.newaxis, tf.newaxis, tf.newaxis]
        inputs = {"x": (1.0 - share) * noise + share * picture, "t": time}
        if classes:
            chance = tf.random.stateless_uniform([count], _fold(seed, _LABEL))
            inputs["label"] = tf.where(chance < DROPPED_LABELS, classes, label)
        return inputs, picture - noise

    return make


class _Order:
    """Which picture comes at which place of an endless sequence: one permutation after another."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed = count, seed
        self._pass, self._permutation = -1, np.arange(0)

    def take(self, first: int, number: int) -> np.ndarray:
        places = np.arange(first, first + number)
        return np.array([self._at(*divmod(int(place), self.count)) for place in places])

    def _at(self, number: int, place: int) -> int:
        if number != self._pass:
            seeds = np.random.SeedSequence([self.seed, number, 2])
            random = np.random.Generator(np.random.Philox(seeds))
            self._pass, self._permutation = number, random.permutation(self.count)
        return int(self._permutation[place])


def _of_pixels(make_batch: MakeBatch) -> Callable:
    def make(pixels, label, seed):
        return make_batch(tf.image.convert_image_dtype(pixels, tf.float32), label, seed)

    return make


def _fold(seed: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, stream)
