"""JPEG: what comes back of quality 90, chroma at half size."""

from __future__ import annotations

import io

import numpy as np

from ways import libraries
from ways.pictures import clean, encoded
from ways.registry import way

QUALITY = 90


def our_jpeg() -> np.ndarray:
    import tensorflow as tf

    from tf_deconv.degradations import operators

    image = tf.constant(clean() / np.float32(255))
    seed = tf.constant([0, 0])
    return np.rint(255 * operators.jpeg(image, float(QUALITY), seed).numpy())


def _decoded(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


@way("jpeg", "pillow", 'save(stream, "JPEG", quality=90)', same=True, module="PIL")
def _jpeg_pillow() -> np.ndarray:
    return _decoded(encoded(clean(), "JPEG", quality=QUALITY))


@way(
    "jpeg",
    "opencv",
    'cv2.imencode(".jpg", bgr, [IMWRITE_JPEG_QUALITY, 90])',
    same=True,
    module="cv2",
)
def _jpeg_opencv() -> np.ndarray:
    cv2 = libraries.cv2()
    bgr = np.ascontiguousarray(clean()[..., ::-1])
    return _decoded(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


@way("jpeg", "imagecodecs", "jpeg8_encode(rgb, level=90)", same=True)
def _jpeg_imagecodecs() -> np.ndarray:
    import imagecodecs

    return _decoded(imagecodecs.jpeg8_encode(clean(), level=QUALITY))


@way(
    "jpeg",
    "simplejpeg",
    'encode_jpeg(rgb, 90, colorsubsampling="420"): the fast transform, below 96',
    same=False,
)
def _jpeg_simplejpeg() -> np.ndarray:
    import simplejpeg

    return _decoded(simplejpeg.encode_jpeg(clean(), QUALITY, colorsubsampling="420"))


@way(
    "jpeg",
    "libvips",
    "image.jpegsave_buffer(Q=90): chroma at full size, from 90",
    same=False,
    module="pyvips",
)
def _jpeg_libvips() -> np.ndarray:
    import pyvips

    return _decoded(pyvips.Image.new_from_array(clean()).jpegsave_buffer(Q=QUALITY))


@way(
    "jpeg",
    "libvips",
    'image.jpegsave_buffer(Q=90, subsample_mode="on")',
    same=True,
    module="pyvips",
)
def _jpeg_libvips_subsampled() -> np.ndarray:
    import pyvips

    image = pyvips.Image.new_from_array(clean())
    return _decoded(image.jpegsave_buffer(Q=QUALITY, subsample_mode="on"))


@way("jpeg", "tensorflow", 'tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")', same=True)
def _jpeg_tensorflow_accurate() -> np.ndarray:
    import tensorflow as tf

    data = encoded(clean(), "JPEG", quality=QUALITY)
    return tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()


@way("jpeg", "mozjpeg-lossless-optimization", "optimize(data): of the same file", same=True)
def _jpeg_mozjpeg() -> np.ndarray:
    import mozjpeg_lossless_optimization

    data = encoded(clean(), "JPEG", quality=QUALITY)
    return _decoded(mozjpeg_lossless_optimization.optimize(data))


@way(
    "jpeg",
    "tensorflow",
    "tf.io.decode_jpeg(data): of the same file, by the fast transform",
    same=False,
)
def _jpeg_tensorflow() -> np.ndarray:
    import tensorflow as tf

    return tf.io.decode_jpeg(encoded(clean(), "JPEG", quality=QUALITY)).numpy()
