"""A wrapper for networks that fill in missing pixels: known ones come back untouched.

It is part of the model, so that every export keeps the promise, not only this program.
"""

from __future__ import annotations

import keras


def keep_known(model: keras.Model) -> keras.Model:
    """Lets a network decide about missing pixels only.

    Args:
      model: (N, H, W, C + 1) to (N, H, W, C). The last input channel is 1 where a pixel is known
        and 0 where it is missing.
    Returns:
      A functional model of the same shapes: mask * input + (1 - mask) * output.
    Raises:
      ValueError: if the channel counts do not fit.
    """
    channels = model.output_shape[-1]
    if model.input_shape[-1] != channels + 1:
        raise ValueError(
            f"model takes {model.input_shape[-1]} channels and gives {channels}: expected one more"
            " in than out, the mask"
        )
    image = model.input
    pixels, mask = image[..., :channels], image[..., channels:]
    restored = mask * pixels + (1.0 - mask) * model.output
    return keras.Model(image, restored, name=model.name)
