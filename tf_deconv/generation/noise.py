"""Noise that every language makes alike: a stateless, counter-based generator.

A number depends on (seed, stream, picture, place) alone: no state, no order, no batch size. So the
same seed gives the same picture in NumPy, in a TensorFlow graph, in C and in JavaScript.
docs/noise.md is the specification, with values to check another implementation by.

The words are Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
as easy as 1, 2, 3", SC 2011. The normal numbers: Box and Muller, "A note on the generation of
random normal deviates", 1958.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_deconv.utils.options import UserError

if TYPE_CHECKING:
    import tensorflow as tf

# A signed 32-bit integer holds it, which is what a signature of a graph takes.
LARGEST_SEED = 2**31 - 1
# Far above any picture; a C program's size_t of 32 bits holds it.
LARGEST_SIZE = 2**31 - 1

_LARGEST_WORD = 2**32 - 1
# From the paper: the third key word is the parity of the other two, and how far to rotate.
_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
# A uniform number takes the 24 high bits of a word, as many as a float32 holds exactly.
_UNIFORM_SHIFT = 8
_UNIFORM_STEP = 2.0**-24


def threefry2x32(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two words of each block.

    Args:
      key: Two words from 0 to 2**32 - 1, or arrays of them.
      counter: Two words, or arrays of them; all four broadcast together.
    Returns:
      Two uint32 arrays of at least one axis.
    """
    # Not scalars: NumPy warns when a scalar overflows, and wraps arrays silently, as needed here.
    words = [np.atleast_1d(np.asarray(word, np.uint32)) for word in (*key, *counter)]
    return _rounds(*words, operator.add, _rotate)


def words(seed: int, stream: int, pictures: np.ndarray, count: int) -> np.ndarray:
    """Returns the raw words of pictures.

    Args:
      seed: From 0 to LARGEST_SEED.
      stream: From 0 to 2**32 - 1; each is a sequence of its own.
      pictures: (N,) whole numbers from 0 to 2**32 - 1.
      count: Words per picture, at least 0; a larger one begins with the same words.
    Returns:
      (N, count) uint32.
    Raises:
      UserError: if `seed`, `stream` or a picture's number is outside its range.
    """
    pictures = np.asarray(pictures)
    _check("seed", seed, LARGEST_SEED)
    _check("stream", stream, _LARGEST_WORD)
    if pictures.size:
        _check("picture number", pictures.min(), _LARGEST_WORD)
        _check("picture number", pictures.max(), _LARGEST_WORD)
    blocks = np.arange((count + 1) // 2, dtype=np.uint32)
    pair = threefry2x32((seed, stream), (pictures[:, np.newaxis], blocks))  # 2 x (N, blocks)
    return np.stack(pair, axis=-1).reshape(len(pictures), 2 * len(blocks))[:, :count]


def uniform(seed: int, count: int, size: int, *, first: int = 0, stream: int = 0) -> np.ndarray:
    """Returns uniform numbers in [0, 1), multiples of 2**-24; arguments as in `normal`.

    Returns:
      (count, size) float32; number j of a picture is its word j.
    Raises:
      UserError: as `normal`.
    """
    drawn = words(seed, stream, _pictures(first, count, size), size) >> _UNIFORM_SHIFT
    return drawn.astype(np.float32) * np.float32(_UNIFORM_STEP)


def normal(seed: int, count: int, size: int, *, first: int = 0, stream: int = 0) -> np.ndarray:
    """Returns standard normal numbers for pictures first, first + 1, ...

    Args:
      seed: From 0 to LARGEST_SEED.
      count: Pictures, at least 0. Row i is the same for any count: it belongs to picture first + i.
      size: Numbers per picture, at least 0; a larger one begins with the same numbers.
      first: Number of the first picture; first + count is at most 2**32.
      stream: From 0 to 2**32 - 1; each is independent of the others.
    Returns:
      (count, size) float32, within 5.8 of 0.
    Raises:
      UserError: if `seed`, `stream`, `first`, `count` or `size` is outside its range.
    """
    pictures, blocks = _pictures(first, count, size), (size + 1) // 2
    drawn = words(seed, stream, pictures, 2 * blocks) >> _UNIFORM_SHIFT
    drawn = drawn.reshape(count, blocks, 2)
    # In float64, because libraries differ in the last bits of a float32 logarithm or cosine.
    radius = np.sqrt(-2 * np.log((drawn[..., 0] + 1.0) * _UNIFORM_STEP))  # (N, blocks)
    angle = drawn[..., 1] * (2 * math.pi * _UNIFORM_STEP)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(count, 2 * blocks)[:, :size].astype(np.float32)


def normal_tensor(
    seed: tf.Tensor | int,
    count: tf.Tensor | int,
    size: int,
    *,
    first: tf.Tensor | int = 0,
    stream: tf.Tensor | int = 0,
) -> tf.Tensor:
    """Returns the numbers of `normal`, computed in a TensorFlow graph.

    Args:
      seed: Scalar int32 or int64 tensor, or an int.
      count: As `seed`.
      size: Numbers per picture, known when the graph is made.
      first: As `seed`.
      stream: As `seed`.
    Returns:
      (count, size) float32, equal to `normal`'s to 1e-6.
    Raises:
      InvalidArgumentError: when the graph runs, if `seed`, `stream`, `first` or `count` is outside
        its range.
    """
    import tensorflow as tf

    def as_int64(value):
        return tf.cast(value, tf.int64) if tf.is_tensor(value) else tf.constant(value, tf.int64)

    seed, count, first, stream = map(as_int64, (seed, count, first, stream))
    largest = tf.constant(_LARGEST_WORD, tf.int64)
    checks = [
        _within(seed, LARGEST_SEED, f"seed: expected 0 to {LARGEST_SEED}, received"),
        _within(stream, _LARGEST_WORD, f"stream: expected 0 to {_LARGEST_WORD}, received"),
        _within(first, _LARGEST_WORD, f"first: expected 0 to {_LARGEST_WORD}, received"),
        _within(count, largest + 1 - first, "count: expected 0 or more, received"),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        # Words lie in int64: uint32 has few kernels, on GPUs least of all.
        picture = first + tf.range(count)[:, tf.newaxis]  # (N, 1)
    blocks = (size + 1) // 2
    block = tf.range(blocks, dtype=tf.int64)[tf.newaxis]  # (1, blocks)

    def add(x, y):
        return tf.bitwise.bitwise_and(x + y, largest)

    def rotate(x, distance):
        left = tf.bitwise.bitwise_and(tf.bitwise.left_shift(x, distance), largest)
        return tf.bitwise.bitwise_or(left, tf.bitwise.right_shift(x, 32 - distance))

    pair = _rounds(seed, stream, picture, block, add, rotate)
    drawn = [tf.cast(tf.bitwise.right_shift(x, _UNIFORM_SHIFT), tf.float64) for x in pair]
    radius = tf.sqrt(-2 * tf.math.log((drawn[0] + 1) * _UNIFORM_STEP))  # (N, blocks)
    angle = drawn[1] * (2 * math.pi * _UNIFORM_STEP)
    pairs = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=-1)  # (N, blocks, 2)
    numbers = tf.reshape(pairs, (count, 2 * blocks))[:, :size]
    return tf.cast(numbers, tf.float32)


def _rounds(
    key0: Any, key1: Any, x0: Any, x1: Any, add: Callable[..., Any], rotate: Callable[..., Any]
) -> tuple[Any, Any]:
    """Returns Threefry's two words, in the arithmetic of `add` and `rotate`, both modulo 2**32."""
    keys = (key0, key1, key0 ^ key1 ^ _PARITY)
    x0, x1 = add(x0, keys[0]), add(x1, keys[1])
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x0 = add(x0, x1)
            x1 = rotate(x1, distance) ^ x0
        x0 = add(x0, keys[(group + 1) % 3])
        x1 = add(x1, keys[(group + 2) % 3] + (group + 1))
    return x0, x1


def _rotate(x: np.ndarray, distance: int) -> np.ndarray:
    return (x << distance) | (x >> (32 - distance))


def _pictures(first: int, count: int, size: int) -> np.ndarray:
    _check("first", first, _LARGEST_WORD)
    _check("count", count, _LARGEST_WORD + 1 - first)
    _check("size", size, LARGEST_SIZE)
    return np.arange(first, first + count, dtype=np.int64)


def _check(name: str, value: int, largest: int) -> None:
    try:
        fits = 0 <= operator.index(value) <= largest
    except TypeError:
        fits = False
    if not fits:
        raise UserError(f"{name}={value}: expected a whole number from 0 to {largest}")


def _within(value: tf.Tensor, largest: Any, message: str) -> tf.Operation | None:
    """Checks 0 <= value <= largest: an operation in a graph, None once it was checked eagerly."""
    import tensorflow as tf

    # Not tf.debugging.Assert, which makes a conditional that the graph's optimiser warns of.
    fits = tf.logical_and(value >= 0, value <= largest)
    return tf.raw_ops.Assert(condition=fits, data=[message, value])
