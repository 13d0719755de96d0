"""Moving pictures: frames to a GIF that repeats for ever. Pillow encodes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tf_deconv import images


def encode_gif(
    frames: Sequence[np.ndarray], duration_ms: int = 80, hold_ms: int = 1500, scale: int = 1
) -> bytes:
    """Encodes an animation.

    Grey frames keep their 256 levels; each colour frame gets 256 colours of its own.

    Args:
      frames: (H, W, 1) or (H, W, 3) each, all of one size, float in [0, 1] or uint8.
      duration_ms: How long each frame is shown; the format holds tens of milliseconds.
      hold_ms: How long the last one is shown.
      scale: Times that each pixel is repeated along either axis.
    Returns:
      The bytes of a GIF file.
    Raises:
      ValueError: if there is no frame.
    """
    if not len(frames):
        raise ValueError("no frames: expected at least one")
    pictures = [_encodable(frame, scale) for frame in frames]
    durations = [duration_ms] * (len(pictures) - 1) + [hold_ms]
    stream = io.BytesIO()
    # Pillow makes one frame of equal neighbours, shown as long as both. It would also colour only
    # what changed, with a palette of its own: disposal 2 begins each frame anew.
    pictures[0].save(
        stream,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        disposal=2,
        optimize=False,
    )
    return stream.getvalue()


def there_and_back(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns frames that go to the last one and back, each end once: 1 2 3 2."""
    return [*frames, *frames[-2:0:-1]]


def _encodable(frame: np.ndarray, scale: int) -> Image.Image:
    pixels = frame if frame.dtype == np.uint8 else images.to_uint8(frame)
    pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    if pixels.shape[-1] == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE)
