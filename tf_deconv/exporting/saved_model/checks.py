"""Checks of what a request holds, inside the graph: a service's clients are out of Python's reach.

They are assertions, which converters to other runtimes (TensorFlow.js, coremltools) take out with
all that only they need. `tf.ensure_shape` they do not take out, and then fail on it.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def has_shape(
    tensor: tf.Tensor, shape: Sequence[int | None], text: str, least: int = 0
) -> tf.Operation:
    """Refuses another rank or other sides than those given.

    TensorFlow 2.21 aborts the process on a wrong rank where nothing checks it
    (tensorflow/tensorflow#111453).

    Args:
      tensor: Of any rank when the graph runs, whatever its signature says.
      shape: None stands for any side.
      text: What is expected, "image: expected ...".
      least: The least of the sides that may be any.
    Returns:
      What has to run before the tensor is used.
    """
    sides = tf.shape(tensor)
    # The graph's optimiser believes the signature: tf.rank(tensor) becomes the 4 that stands there,
    # and an assertion about it goes. It cannot know how many places are found as the graph runs.
    seen = tf.gather(sides, tf.where(sides >= 0)[:, 0])
    wanted = tf.constant([-1 if side is None else side for side in shape])
    first = tf.concat([seen, tf.fill([len(shape)], -1)], axis=0)[: len(shape)]
    right = tf.where(wanted < 0, first >= least, first == wanted)
    fits = tf.logical_and(tf.equal(tf.size(seen), len(shape)), tf.reduce_all(right))
    return holds(fits, f"{text}, received the shape", seen)


def holds(fits: tf.Tensor, text: str, value: tf.Tensor) -> tf.Operation:
    """Refuses what does not fit, with a text and what was received."""
    # Not tf.debugging.Assert, which makes a conditional that the graph's optimiser warns of.
    return tf.raw_ops.Assert(condition=fits, data=[text, value], summarize=8)
