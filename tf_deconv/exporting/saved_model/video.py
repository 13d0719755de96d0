"""The SavedModel of a network for moving pictures: whole clips, or a frame and a state at a time.

A service streams: it asks `initial_state` once, and gives `stream` each frame with the state that
the one before returned. All three check their input inside the graph, as `restorer` does.
"""

from __future__ import annotations

import pathlib

import keras
import tensorflow as tf

from tf_deconv.exporting.saved_model import checks
from tf_deconv.images.padding import pad_tensor
from tf_deconv.networks.table import STATE_STRIDE


def write_saved_model(model: keras.Model, folder: pathlib.Path, *, divisor: int) -> None:
    """Writes a SavedModel with the signatures `serving_default`, `stream` and `initial_state`.

    `serving_default`: `clip` float32 (N, T, H, W, C) in [0, 1], each of them at least 1, to
    `restored` of the same shape; each clip begins without a past. `stream`: `frame` (N, H, W, C)
    and `state` (N, h, w, S) to `restored` and `next_state`, of the same shapes; h and w are H and
    W, rounded up to a multiple of the divisor, over the state's stride. `initial_state`: `count`,
    `height` and `width`, int32 scalars, to the `state` of no past, zeros. Anything else is
    InvalidArgument.

    Args:
      model: A float32 functional model of [frame, state], of any height and width.
      folder: Where to write; must not exist.
      divisor: Sizes are mirrored up to a multiple of this, and cropped again.
    """
    channels, state_channels = (each.shape[-1] for each in model.inputs)

    def zeros(count: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        sides = [padded(side, divisor) // STATE_STRIDE for side in (height, width)]
        return tf.zeros(tf.stack([count, *sides, state_channels]))

    def serving_default(clip: tf.Tensor) -> dict[str, tf.Tensor]:
        text = f"clip: expected (N, T, H, W, {channels}) with N, T, H, W >= 1"
        wanted = (None, None, None, None, channels)
        with tf.control_dependencies([checks.has_shape(clip, wanted, text, least=1)]):
            clip = tf.identity(clip)
        shape = tf.shape(clip)
        count, frames = shape[0], shape[1]
        restored = tf.TensorArray(tf.float32, size=frames)

        def step(number, state, restored):
            made, state = restore_tensors(model, clip[:, number], state, divisor)
            return number + 1, state, restored.write(number, made)

        _, _, restored = tf.while_loop(
            lambda number, *_: number < frames,
            step,
            (0, zeros(count, shape[2], shape[3]), restored),
            shape_invariants=(
                tf.TensorShape(()),
                tf.TensorShape((None, None, None, state_channels)),
                tf.TensorShape(None),
            ),
        )
        restored = tf.transpose(restored.stack(), (1, 0, 2, 3, 4))  # (N, T, H, W, C)
        return {"restored": tf.ensure_shape(restored, wanted)}

    def stream(frame: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        text = f"frame: expected (N, H, W, {channels}) with N, H, W >= 1"
        with tf.control_dependencies(
            [checks.has_shape(frame, (None, None, None, channels), text, least=1)]
        ):
            frame = tf.identity(frame)
        shape = tf.shape(frame)
        expected = tf.shape(zeros(shape[0], shape[1], shape[2]))
        text = (
            f"state: expected (N, h, w, {state_channels}), h and w those of the frame rounded up to"
            f" a multiple of {divisor}, over {STATE_STRIDE}, as initial_state and stream give it"
        )
        wanted = (None, None, None, state_channels)
        with tf.control_dependencies([checks.has_shape(state, wanted, text, least=1)]):
            fits = tf.reduce_all(tf.equal(tf.shape(state), expected))
        same = checks.holds(fits, f"{text}, received the shape", tf.shape(state))
        with tf.control_dependencies([same]):
            state = tf.identity(state)
        restored, following = restore_tensors(model, frame, state, divisor)
        return {"restored": restored, "next_state": following}

    def initial_state(
        count: tf.Tensor, height: tf.Tensor, width: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        sides = tf.stack([count, height, width])
        text = "count, height, width: expected at least 1, received"
        least = checks.holds(tf.reduce_all(sides >= 1), text, sides)
        with tf.control_dependencies([least]):
            return {"state": zeros(count, height, width)}

    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    frame = tf.TensorSpec((None, None, None, channels), tf.float32, name="frame")
    state = tf.TensorSpec((None, None, None, state_channels), tf.float32, name="state")
    clip = tf.TensorSpec((None, None, None, None, channels), tf.float32, name="clip")
    counts = [tf.TensorSpec((), tf.int32, name=name) for name in ("count", "height", "width")]
    signatures = {}
    for endpoint, specs in (
        (serving_default, [clip]),
        (stream, [frame, state]),
        (initial_state, counts),
    ):
        function = tf.function(endpoint, input_signature=specs, autograph=False)
        # Not its concrete function, which saving would trace and write once more.
        signatures[endpoint.__name__] = function
        setattr(module, endpoint.__name__, function)
    tf.saved_model.save(module, str(folder), signatures)


def restore_tensors(
    model, frame: tf.Tensor, state: tf.Tensor, divisor: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pads, restores and crops (N, H, W, C) float32, in a graph; static sizes stay static.

    Args:
      model: Of [frame, state].
      frame: Of any size.
      state: For the padded frame.
      divisor: The network's.
    Returns:
      The restored frame, and the next state.
    """
    height = frame.shape[1] or tf.shape(frame)[1]
    width = frame.shape[2] or tf.shape(frame)[2]
    restored, following = model([pad_tensor(frame, divisor), state], training=False)
    if frame.shape[1] and frame.shape[2] and not (height % divisor or width % divisor):
        return restored, following
    return restored[:, :height, :width], following


def padded(side, divisor: int):
    """Returns a side rounded up to a multiple of the divisor; ints or tensors."""
    return (side + divisor - 1) // divisor * divisor
