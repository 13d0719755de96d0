"""A small picture and what a network makes of it, by which a page knows that a GPU computes right.

The picture is a formula of whole numbers, so that it need not be sent: `golden.js` draws the same.
"""

from __future__ import annotations

import base64
import pathlib

import numpy as np

# Pixels of the result that are kept along each axis, of the window as a whole.
_KEPT = 32


def draw(height: int, width: int, channels: int) -> np.ndarray:
    """Draws slopes, edges and noise.

    Returns:
      (height, width, channels) float32 in [0, 1]. Of 4 channels the last one says which pixels are
      known, and what is not known is 0.
    """
    y, x, c = np.ogrid[:height, :width, : min(channels, 3)]
    noise = (31 * x * x + 17 * y * y + 7 * x * y + 101 * c) % 61
    picture = (x + 2 * y + 40 * c + noise) % 256 / np.float32(255)
    picture = picture.astype(np.float32)
    if channels < 4:
        return picture
    known = (np.ogrid[:height, :width][0] * 5 + np.ogrid[:height, :width][1] * 3) % 11 > 0
    known = known[..., np.newaxis].astype(np.float32)
    return np.concatenate([picture * known, known], axis=-1)


def answer(path: pathlib.Path, size: tuple[int, int]) -> str:
    """Runs a `.tflite` file on that picture.

    Args:
      path: A file that restores pictures.
      size: (height, width) of one of its signatures.
    Returns:
      Bytes of every so-maniest pixel of the result, row by row, in base64.
    """
    from tf_deconv.inference.litert_engine import LitertModel

    model = LitertModel(path, threads=1)
    return _packed(model(draw(*size, model.channels_in)[np.newaxis])[0])


def answer_of_stream(path: pathlib.Path, size: tuple[int, int], divisor: int) -> str:
    """Runs a `.tflite` file of a frame and a state on that picture, twice.

    Args:
      path: A file that restores films.
      size: (height, width) of one of its signatures.
      divisor: The network's: a state is as large as that of the frame padded to it.
    Returns:
      The second frame, which depends on the state, as `answer` has it.
    """
    from tf_deconv.inference.litert_engine import LitertCell

    model = LitertCell(path, threads=1)
    frame = draw(*size, model.channels)[np.newaxis]
    sides = [(side + -side % divisor) // model.state_stride for side in size]
    state = np.zeros((1, *sides, model.state_channels), np.float32)
    _, state = model(frame, state)
    return _packed(model(frame, state)[0][0])


def _packed(restored: np.ndarray) -> str:
    """Returns every so-maniest pixel of (H, W, C) as bytes, row by row, in base64."""
    step = max(1, max(restored.shape[:2]) // _KEPT)
    kept = np.rint(np.clip(restored[::step, ::step], 0, 1) * 255).astype(np.uint8)
    return base64.b64encode(kept.tobytes()).decode()
