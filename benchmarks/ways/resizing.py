"""Bicubic: four times smaller, and twice as large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ways import libraries
from ways.pictures import clean, floats, tensors
from ways.registry import way

REDUCED, ENLARGED = 4, 2

# --- Bicubic, antialiased, four times smaller; in 0 to 255, clipped.


def our_reduced() -> np.ndarray:
    import tensorflow as tf

    from tf_deconv.degradations import operators

    return 255 * operators.downsample(tf.constant(clean() / np.float32(255)), REDUCED).numpy()


def _small() -> tuple[int, int]:
    return tuple(side // REDUCED for side in clean().shape[:2])


def _by_channel(resize: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    planes = np.float32(clean()).transpose(2, 0, 1)
    return np.clip(np.stack([resize(np.ascontiguousarray(plane)) for plane in planes], -1), 0, 255)


@way("reduce", "pillow", 'resize(size, BICUBIC): of a plane of mode "F"', same=True, module="PIL")
def _reduce_pillow() -> np.ndarray:
    from PIL import Image

    size = _small()[::-1]
    return _by_channel(
        lambda plane: np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC))
    )


@way(
    "reduce",
    "pillow",
    "resize(size, BICUBIC): of 8 bits, rounded after each axis",
    same=False,
    module="PIL",
)
def _reduce_pillow_bytes() -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(clean()).resize(_small()[::-1], Image.Resampling.BICUBIC))


@way("reduce", "tensorflow", 'tf.image.resize(x, size, "bicubic", antialias=True)', same=True)
def _reduce_tensorflow() -> np.ndarray:
    import tensorflow as tf

    resized = tf.image.resize(np.float32(clean()), _small(), "bicubic", antialias=True)
    return np.clip(resized.numpy(), 0, 255)


@way("reduce", "tensorflow", 'tf.image.resize(x, size, "bicubic"): not antialiased', same=False)
def _reduce_tensorflow_default() -> np.ndarray:
    import tensorflow as tf

    return np.clip(tf.image.resize(np.float32(clean()), _small(), "bicubic").numpy(), 0, 255)


def _reduce_torch(**options: Any) -> np.ndarray:
    import torch

    given = 255 * tensors()[1]
    made = torch.nn.functional.interpolate(given, _small(), mode="bicubic", **options)
    return np.clip(made[0].numpy().transpose(1, 2, 0), 0, 255)


@way("reduce", "torch", 'interpolate(x, size, mode="bicubic", antialias=True)', same=True)
def _reduce_torch_antialiased() -> np.ndarray:
    return _reduce_torch(antialias=True)


@way(
    "reduce",
    "torch",
    'interpolate(x, size, mode="bicubic"): not antialiased, a = -0.75',
    same=False,
)
def _reduce_torch_default() -> np.ndarray:
    return _reduce_torch()


@way(
    "reduce",
    "opencv",
    "cv2.resize(x, size, interpolation=INTER_CUBIC): not antialiased, a = -0.75",
    same=False,
    module="cv2",
)
def _reduce_opencv() -> np.ndarray:
    size, cubic = _small()[::-1], libraries.cv2().INTER_CUBIC
    return np.clip(libraries.cv2().resize(np.float32(clean()), size, interpolation=cubic), 0, 255)


@way(
    "reduce",
    "scikit-image",
    "resize(x, size, order=3, anti_aliasing=True): Gaussian, then a spline",
    same=False,
    module="skimage",
)
def _reduce_skimage() -> np.ndarray:
    from skimage.transform import resize

    made = resize(floats()[1], _small(), order=3, anti_aliasing=True)
    return np.clip(255 * made, 0, 255)


@way(
    "reduce",
    "libvips",
    'image.resize(1 / 4, kernel="cubic"): halved by averaging first',
    same=False,
    module="pyvips",
)
def _reduce_libvips() -> np.ndarray:
    import pyvips

    image = pyvips.Image.new_from_array(np.float32(clean()))
    return np.clip(image.resize(1 / REDUCED, kernel="cubic").numpy(), 0, 255)


@way("reduce", "libvips", 'image.resize(1 / 4, kernel="cubic", gap=0)', same=True, module="pyvips")
def _reduce_libvips_at_once() -> np.ndarray:
    import pyvips

    image = pyvips.Image.new_from_array(np.float32(clean()))
    return np.clip(image.resize(1 / REDUCED, kernel="cubic", gap=0).numpy(), 0, 255)


# --- Bicubic, twice as large.


def _middle() -> np.ndarray:
    return clean()[100:196, 150:246]


def _large() -> tuple[int, int]:
    return tuple(side * ENLARGED for side in _middle().shape[:2])


def our_enlarged() -> np.ndarray:
    import tensorflow as tf

    from tf_deconv.degradations import operators

    return 255 * operators.upsample(tf.constant(_middle() / np.float32(255)), ENLARGED).numpy()


@way("enlarge", "pillow", 'resize(size, BICUBIC): of a plane of mode "F"', same=True, module="PIL")
def _enlarge_pillow() -> np.ndarray:
    from PIL import Image

    planes = [Image.fromarray(np.float32(_middle()[..., number])) for number in range(3)]
    size = _large()[::-1]
    made = [np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes]
    return np.clip(np.stack(made, -1), 0, 255)


@way("enlarge", "tensorflow", 'tf.image.resize(x, size, "bicubic")', same=True)
def _enlarge_tensorflow() -> np.ndarray:
    import tensorflow as tf

    return np.clip(tf.image.resize(np.float32(_middle()), _large(), "bicubic").numpy(), 0, 255)


def _enlarge_torch_with(**options: Any) -> np.ndarray:
    import torch

    given = torch.from_numpy(np.float32(_middle()).transpose(2, 0, 1).copy())[None]
    made = torch.nn.functional.interpolate(given, _large(), mode="bicubic", **options)
    return np.clip(made[0].numpy().transpose(1, 2, 0), 0, 255)


@way("enlarge", "torch", 'interpolate(x, size, mode="bicubic", antialias=True)', same=True)
def _enlarge_torch_antialiased() -> np.ndarray:
    return _enlarge_torch_with(antialias=True)


@way("enlarge", "torch", 'interpolate(x, size, mode="bicubic"): a = -0.75', same=False)
def _enlarge_torch() -> np.ndarray:
    return _enlarge_torch_with()


@way(
    "enlarge",
    "opencv",
    "cv2.resize(x, size, interpolation=INTER_CUBIC): a = -0.75",
    same=False,
    module="cv2",
)
def _enlarge_opencv() -> np.ndarray:
    size, cubic = _large()[::-1], libraries.cv2().INTER_CUBIC
    return np.clip(libraries.cv2().resize(np.float32(_middle()), size, interpolation=cubic), 0, 255)


@way("enlarge", "scikit-image", "resize(x, size, order=3): a spline", same=False, module="skimage")
def _enlarge_skimage() -> np.ndarray:
    from skimage.transform import resize

    return np.clip(255 * resize(_middle() / 255, _large(), order=3), 0, 255)


@way(
    "enlarge",
    "libvips",
    'image.resize(2, kernel="cubic"): moved by half an output pixel',
    same=False,
    module="pyvips",
)
def _enlarge_libvips() -> np.ndarray:
    import pyvips

    image = pyvips.Image.new_from_array(np.float32(_middle()))
    return np.clip(image.resize(ENLARGED, kernel="cubic").numpy(), 0, 255)
