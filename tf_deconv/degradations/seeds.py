"""Seeds of a clip's frames: what a camera is stays the same over a clip, its noise does not.

A picture's seed is (2,) int32. A frame's is (2, 2): the clip's seed, from which an operator draws
its parameters, and the frame's own, from which it draws noise. An operator asks for one or the
other, and of a picture's seed both are the seed itself.
"""

from __future__ import annotations

import tensorflow as tf

# Folded into a clip's seed, with the number of a frame, for the frame's own; no operator folds in
# as large a number.
FRAME_STREAM = 3_000_017


def of_clip(seed: tf.Tensor) -> tf.Tensor:
    """Returns the (2,) seed from which parameters are drawn: the same for each frame of a clip."""
    seed = tf.convert_to_tensor(seed)
    return seed if seed.shape.rank == 1 else seed[0]


def of_frame(seed: tf.Tensor) -> tf.Tensor:
    """Returns the (2,) seed from which noise is drawn: another for each frame of a clip."""
    seed = tf.convert_to_tensor(seed)
    return seed if seed.shape.rank == 1 else seed[1]


def for_frame(seed: tf.Tensor, frame: tf.Tensor) -> tf.Tensor:
    """Returns the (2, 2) seed of a frame.

    Args:
      seed: (2,) int32, the clip's.
      frame: () int32, the number of the frame in the clip.
    """
    own = tf.random.experimental.stateless_fold_in(seed, FRAME_STREAM + frame)
    return tf.stack([seed, own])
