"""Luminance, in 0 to 255."""

from __future__ import annotations

import subprocess

import numpy as np

from ways import libraries
from ways.pictures import clean, encoded, floats
from ways.registry import way


def our_luminance() -> np.ndarray:
    from tf_deconv.images import arrays

    return 255 * arrays.luminance(floats()[1])[..., 0]


@way("luma", "pillow", 'image.convert("L"): rounded', same=True, module="PIL")
def _luma_pillow() -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(clean()).convert("L"))


@way("luma", "opencv", "cv2.cvtColor(rgb, COLOR_RGB2GRAY): rounded", same=True, module="cv2")
def _luma_opencv() -> np.ndarray:
    return libraries.cv2().cvtColor(clean(), libraries.cv2().COLOR_RGB2GRAY)


@way(
    "luma",
    "opencv",
    "cv2.cvtColor(rgb, COLOR_BGR2GRAY): what imread gives is BGR, and this is not",
    same=False,
    module="cv2",
)
def _luma_opencv_bgr() -> np.ndarray:
    return libraries.cv2().cvtColor(clean(), libraries.cv2().COLOR_BGR2GRAY)


@way("luma", "tensorflow", "tf.image.rgb_to_grayscale(rgb): cut off, not rounded", same=False)
def _luma_tensorflow() -> np.ndarray:
    import tensorflow as tf

    return tf.image.rgb_to_grayscale(clean()).numpy()[..., 0]


@way("luma", "scikit-image", "255 * rgb2gray(rgb): BT.709's weights", same=False, module="skimage")
def _luma_skimage() -> np.ndarray:
    from skimage.color import rgb2gray

    return 255 * rgb2gray(clean())


@way(
    "luma", "scikit-image", "(rgb2ycbcr(rgb)[..., 0] - 16) * 255 / 219", same=True, module="skimage"
)
def _luma_skimage_ycbcr() -> np.ndarray:
    from skimage.color import rgb2ycbcr

    return (rgb2ycbcr(clean())[..., 0] - 16) * 255 / 219


@way(
    "luma",
    "scikit-image",
    "rgb2ycbcr(rgb)[..., 0]: 16 to 235, as MATLAB's and papers' on super-resolution",
    same=False,
    module="skimage",
)
def _luma_skimage_studio() -> np.ndarray:
    from skimage.color import rgb2ycbcr

    return rgb2ycbcr(clean())[..., 0]


@way("luma", "ffmpeg", "format=gray: of a PNG file", same=True)
def _luma_ffmpeg() -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", "-", "-vf", "format=gray", "-f", "rawvideo", "-"]
    done = subprocess.run(command, input=encoded(clean(), "PNG"), capture_output=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(clean().shape[:2])
