"""Measures the same pictures as other libraries do: PSNR, SSIM, luma, bicubic, JPEG, BM3D.

    python benchmarks/metrics.py             # prints the tables of docs/metrics.md
    python benchmarks/metrics.py --write     # and puts them there
    python benchmarks/metrics.py --topics ssim jpeg

Each row is what a reader would write in that library, and how far its figure is from this
project's. A library that is missing is said so on stderr and leaves no row, so `--write` refuses.
All of them: `pip install torch torchmetrics piq sewar bm3d simplejpeg pyvips pyvips-binary
mozjpeg-lossless-optimization opencv-contrib-python-headless`, and the program ffmpeg.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.metadata
import importlib.util
import io
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "metrics.md"
BORDER_PX = 16
REDUCED, ENLARGED, QUALITY = 4, 2, 90


@dataclasses.dataclass(frozen=True)
class Topic:
    """What is measured.

    Attributes:
      title: Of its table.
      ours: Makes this project's figure, a number or a picture in 0 to 255.
      tolerance: How far a figure may lie from ours and be the same; of pictures inside the border.
      unit: Of the number; of pictures "levels".
    """

    title: str
    ours: Callable[[], Any]
    tolerance: float
    unit: str


@dataclasses.dataclass(frozen=True)
class Way:
    """How one library makes a figure.

    Attributes:
      topic: Key of `TOPICS`.
      package: What pip calls it, or the program.
      call: What a reader would write.
      run: Makes the figure.
      is_same: Whether it is this project's.
      module: What it is imported as.
    """

    topic: str
    package: str
    call: str
    run: Callable[[], Any]
    is_same: bool
    module: str

    @property
    def is_there(self) -> bool:
        if self.package == "ffmpeg":
            return shutil.which("ffmpeg") is not None
        if self.module == "cv2.quality":
            return importlib.util.find_spec("cv2") is not None and hasattr(_cv2(), "quality")
        return importlib.util.find_spec(self.module) is not None

    def version(self) -> str:
        if self.package == "ffmpeg":
            told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout
            return re.search(r"version ([0-9.]+)", told)[1]
        if self.module.startswith("cv2"):
            return _cv2().__version__
        if self.package == "libvips":
            import pyvips

            return ".".join(str(pyvips.version(part)) for part in range(3))
        return importlib.metadata.version(self.package)


WAYS: list[Way] = []


def way(topic: str, package: str, call: str, *, same: bool, module: str = ""):
    """Adds a function to `WAYS`."""

    def add(run):
        name = module or package.replace("-", "_")
        WAYS.append(Way(topic, package, call, run, same, name))
        return run

    return add


# --- The pictures.


@functools.cache
def clean() -> np.ndarray:
    """(480, 448, 3) uint8: large enough for piq to make it smaller."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:480, :448])


@functools.cache
def noisy() -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 25, clean().shape)
    return np.clip(np.rint(clean() + noise), 0, 255).astype(np.uint8)


def floats() -> tuple[np.ndarray, np.ndarray]:
    """Returns noisy and clean in [0, 1], float64."""
    return noisy() / 255.0, clean() / 255.0


def tensors() -> tuple[Any, Any]:
    """Returns both as PyTorch has them, (1, 3, H, W) float32."""
    import torch

    return tuple(
        torch.from_numpy(each.transpose(2, 0, 1).copy())[None].float() for each in floats()
    )


def _cv2() -> Any:
    import cv2

    return cv2


def _piq() -> Any:
    # Its package imports torchvision for measures that are not among these.
    missing = ("torchvision", "torchvision.models", "torchvision.models.inception")
    known = importlib.util.find_spec("torchvision") is not None
    with mock.patch.dict(sys.modules, {} if known else {n: mock.MagicMock() for n in missing}):
        import piq

    return piq


def _ffmpeg(graph: str, pattern: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, name) for name in ("noisy.png", "clean.png")]
        for path, image in zip(paths, (noisy(), clean())):
            path.write_bytes(_encoded(image, "PNG"))
        command = ["ffmpeg", "-hide_banner", "-i", paths[0], "-i", paths[1], "-lavfi", graph]
        done = subprocess.run(
            [*map(str, command), "-f", "null", "-"], capture_output=True, text=True
        )
    return float(re.search(pattern, done.stderr)[1])


def _encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


# --- PSNR.


def _our_psnr() -> float:
    from tf_deconv.images import metrics

    return metrics.psnr_db(*floats())


@way(
    "psnr",
    "scikit-image",
    "peak_signal_noise_ratio(clean, noisy, data_range=1)",
    same=True,
    module="skimage",
)
def _psnr_skimage() -> float:
    from skimage.metrics import peak_signal_noise_ratio

    return peak_signal_noise_ratio(*reversed(floats()), data_range=1)


@way(
    "psnr",
    "scikit-image",
    "peak_signal_noise_ratio(clean, noisy): of 12 bits in uint16, whose peak it takes",
    same=False,
    module="skimage",
)
def _psnr_skimage_12_bits() -> float:
    from skimage.metrics import peak_signal_noise_ratio

    image, reference = (np.uint16(np.rint(4095 * each)) for each in floats())
    return peak_signal_noise_ratio(reference, image)


@way("psnr", "tensorflow", "tf.image.psnr(noisy, clean, max_val=1.0)", same=True)
def _psnr_tensorflow() -> float:
    import tensorflow as tf

    return float(tf.image.psnr(*map(np.float32, floats()), max_val=1.0))


@way("psnr", "torchmetrics", "peak_signal_noise_ratio(noisy, clean, data_range=1.0)", same=True)
def _psnr_torchmetrics() -> float:
    from torchmetrics.functional.image import peak_signal_noise_ratio

    return float(peak_signal_noise_ratio(*tensors(), data_range=1.0))


@way("psnr", "piq", "psnr(noisy, clean, data_range=1.0)", same=True)
def _psnr_piq() -> float:
    return float(_piq().psnr(*tensors(), data_range=1.0))


@way("psnr", "sewar", "psnr(clean, noisy): of uint8", same=True)
def _psnr_sewar() -> float:
    import sewar

    return float(sewar.psnr(clean(), noisy()))


@way("psnr", "opencv", "cv2.PSNR(noisy, clean): of uint8", same=True, module="cv2")
def _psnr_opencv() -> float:
    return _cv2().PSNR(noisy(), clean())


@way(
    "psnr",
    "opencv",
    "cv2.PSNR(noisy, clean): of floats in 0 to 1, for its peak stays 255",
    same=False,
    module="cv2",
)
def _psnr_opencv_floats() -> float:
    return _cv2().PSNR(*floats())


@way("psnr", "ffmpeg", "format=gbrp, psnr: its `average`", same=True)
def _psnr_ffmpeg() -> float:
    graph = "[0]format=gbrp[a];[1]format=gbrp[b];[a][b]psnr"
    return _ffmpeg(graph, r"average:([0-9.]+)")


@way("psnr", "ffmpeg", "format=yuv420p, psnr: its `average`, as of a film", same=False)
def _psnr_ffmpeg_yuv() -> float:
    graph = "[0]format=yuv420p[a];[1]format=yuv420p[b];[a][b]psnr"
    return _ffmpeg(graph, r"average:([0-9.]+)")


# --- PSNR of several pictures.


def _batch() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures, one with much noise and one with little: (2, H, W, 3) each."""
    image, reference = floats()
    return np.stack([image, reference + (image - reference) / 8]), np.stack([reference] * 2)


def _our_batch_psnr() -> float:
    from tf_deconv.images import metrics

    return float(np.mean([metrics.psnr_db(*pair) for pair in zip(*_batch())]))


def _batch_tensors() -> Any:
    import torch

    return [torch.from_numpy(each.transpose(0, 3, 1, 2).copy()).float() for each in _batch()]


@way("batch", "tensorflow", "tf.image.psnr(...): then the mean", same=True)
def _batch_tensorflow() -> float:
    import tensorflow as tf

    return float(np.mean(tf.image.psnr(*map(np.float32, _batch()), max_val=1.0)))


@way("batch", "piq", "psnr(...): the mean over pictures", same=True)
def _batch_piq() -> float:
    return float(_piq().psnr(*_batch_tensors(), data_range=1.0))


@way("batch", "torchmetrics", "PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))", same=True)
def _batch_torchmetrics() -> float:
    from torchmetrics.image import PeakSignalNoiseRatio

    metric = PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean")
    return float(metric(*_batch_tensors()))


@way("batch", "torchmetrics", "PeakSignalNoiseRatio(data_range=1.0): of the mean error", same=False)
def _batch_torchmetrics_default() -> float:
    from torchmetrics.image import PeakSignalNoiseRatio

    return float(PeakSignalNoiseRatio(data_range=1.0)(*_batch_tensors()))


# --- SSIM.


def _our_ssim() -> float:
    from tf_deconv.images import metrics

    return metrics.ssim(*floats())


PAPERS = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)


@way(
    "ssim",
    "scikit-image",
    "structural_similarity(clean, noisy, data_range=1, channel_axis=-1,"
    " gaussian_weights=True, sigma=1.5, use_sample_covariance=False)",
    same=True,
    module="skimage",
)
def _ssim_skimage() -> float:
    from skimage.metrics import structural_similarity

    return structural_similarity(*floats(), data_range=1, channel_axis=-1, **PAPERS)


@way(
    "ssim",
    "scikit-image",
    "structural_similarity(clean, noisy, data_range=1, channel_axis=-1): flat window of 7",
    same=False,
    module="skimage",
)
def _ssim_skimage_default() -> float:
    from skimage.metrics import structural_similarity

    return structural_similarity(*floats(), data_range=1, channel_axis=-1)


@way("ssim", "tensorflow", "tf.image.ssim(noisy, clean, max_val=1.0)", same=True)
def _ssim_tensorflow() -> float:
    import tensorflow as tf

    return float(tf.image.ssim(*map(np.float32, floats()), max_val=1.0))


@way(
    "ssim",
    "torchmetrics",
    "structural_similarity_index_measure(noisy, clean, data_range=1.0,"
    " return_full_image=True)[1][..., 5:-5, 5:-5].mean()",
    same=True,
)
def _ssim_torchmetrics_inside() -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    whole = structural_similarity_index_measure(*tensors(), data_range=1.0, return_full_image=True)
    return float(whole[1][..., 5:-5, 5:-5].mean())


@way(
    "ssim",
    "torchmetrics",
    "structural_similarity_index_measure(noisy, clean, data_range=1.0): mirrored border too",
    same=False,
)
def _ssim_torchmetrics() -> float:
    from torchmetrics.functional.image import structural_similarity_index_measure

    return float(structural_similarity_index_measure(*tensors(), data_range=1.0))


@way("ssim", "piq", "ssim(noisy, clean, data_range=1.0, downsample=False)", same=True)
def _ssim_piq() -> float:
    return float(_piq().ssim(*tensors(), data_range=1.0, downsample=False))


@way(
    "ssim",
    "piq",
    "ssim(noisy, clean, data_range=1.0): made smaller first, from 384 pixels",
    same=False,
)
def _ssim_piq_default() -> float:
    return float(_piq().ssim(*tensors(), data_range=1.0))


@way(
    "ssim",
    "sewar",
    "ssim(clean, noisy, fltr_specs=dict(fltr=Filter.GAUSSIAN, sigma=1.5, ws=11))[0]: of uint8",
    same=True,
)
def _ssim_sewar() -> float:
    import sewar
    from sewar.utils import Filter

    window = dict(fltr=Filter.GAUSSIAN, sigma=1.5, ws=11)
    return float(sewar.ssim(clean(), noisy(), fltr_specs=window)[0])


@way("ssim", "sewar", "ssim(clean, noisy)[0]: flat window of 11", same=False)
def _ssim_sewar_default() -> float:
    import sewar

    return float(sewar.ssim(clean(), noisy())[0])


@way(
    "ssim",
    "opencv",
    "cv2.quality.QualitySSIM_compute(clean, noisy): mean of 3 channels, mirrored border too",
    same=False,
    module="cv2.quality",
)
def _ssim_opencv() -> float:
    return float(np.mean(_cv2().quality.QualitySSIM_compute(clean(), noisy())[0][:3]))


@way(
    "ssim",
    "ffmpeg",
    "format=gbrp, ssim: its `All`, of flat windows of 8, every 4 pixels",
    same=False,
)
def _ssim_ffmpeg() -> float:
    return _ffmpeg("[0]format=gbrp[a];[1]format=gbrp[b];[a][b]ssim", r"All:([0-9.]+)")


# --- Luminance, in 0 to 255.


def _our_luminance() -> np.ndarray:
    from tf_deconv.images import arrays

    return 255 * arrays.luminance(floats()[1])[..., 0]


@way("luma", "pillow", 'image.convert("L"): rounded', same=True, module="PIL")
def _luma_pillow() -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.fromarray(clean()).convert("L"))


@way("luma", "opencv", "cv2.cvtColor(rgb, COLOR_RGB2GRAY): rounded", same=True, module="cv2")
def _luma_opencv() -> np.ndarray:
    return _cv2().cvtColor(clean(), _cv2().COLOR_RGB2GRAY)


@way(
    "luma",
    "opencv",
    "cv2.cvtColor(rgb, COLOR_BGR2GRAY): what imread gives is BGR, and this is not",
    same=False,
    module="cv2",
)
def _luma_opencv_bgr() -> np.ndarray:
    return _cv2().cvtColor(clean(), _cv2().COLOR_BGR2GRAY)


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
    done = subprocess.run(command, input=_encoded(clean(), "PNG"), capture_output=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(clean().shape[:2])


# --- Bicubic, antialiased, four times smaller; in 0 to 255, clipped.


def _our_reduced() -> np.ndarray:
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
    size, cubic = _small()[::-1], _cv2().INTER_CUBIC
    return np.clip(_cv2().resize(np.float32(clean()), size, interpolation=cubic), 0, 255)


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


def _our_enlarged() -> np.ndarray:
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
    size, cubic = _large()[::-1], _cv2().INTER_CUBIC
    return np.clip(_cv2().resize(np.float32(_middle()), size, interpolation=cubic), 0, 255)


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


# --- JPEG: what comes back of quality 90, chroma at half size.


def _our_jpeg() -> np.ndarray:
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
    return _decoded(_encoded(clean(), "JPEG", quality=QUALITY))


@way(
    "jpeg",
    "opencv",
    'cv2.imencode(".jpg", bgr, [IMWRITE_JPEG_QUALITY, 90])',
    same=True,
    module="cv2",
)
def _jpeg_opencv() -> np.ndarray:
    cv2 = _cv2()
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

    data = _encoded(clean(), "JPEG", quality=QUALITY)
    return tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()


@way("jpeg", "mozjpeg-lossless-optimization", "optimize(data): of the same file", same=True)
def _jpeg_mozjpeg() -> np.ndarray:
    import mozjpeg_lossless_optimization

    data = _encoded(clean(), "JPEG", quality=QUALITY)
    return _decoded(mozjpeg_lossless_optimization.optimize(data))


@way(
    "jpeg",
    "tensorflow",
    "tf.io.decode_jpeg(data): of the same file, by the fast transform",
    same=False,
)
def _jpeg_tensorflow() -> np.ndarray:
    import tensorflow as tf

    return tf.io.decode_jpeg(_encoded(clean(), "JPEG", quality=QUALITY)).numpy()


# --- BM3D at sigma 25, PSNR of the result.


@functools.cache
def _bm3d(name: str, backwards: bool) -> float:
    import bm3d

    from tf_deconv.images import metrics

    window = (slice(100, 196), slice(150, 246))
    image, reference = (each[window] for each in floats())
    given = image[..., ::-1] if backwards else image
    made = getattr(bm3d, name)(np.ascontiguousarray(given), 25 / 255)
    return metrics.psnr_db(made[..., ::-1] if backwards else made, reference)


@way("bm3d", "bm3d", "bm3d_rgb(rgb, 25 / 255)", same=True)
def _bm3d_rgb() -> float:
    return _bm3d("bm3d_rgb", False)


@way("bm3d", "bm3d", "bm3d_rgb(bgr, 25 / 255)", same=False)
def _bm3d_bgr() -> float:
    return _bm3d("bm3d_rgb", True)


@way("bm3d", "bm3d", "bm3d(rgb, 25 / 255): blocks are matched in the first channel", same=False)
def _bm3d_plain() -> float:
    return _bm3d("bm3d", False)


@way("bm3d", "bm3d", "bm3d(bgr, 25 / 255): in another one", same=False)
def _bm3d_plain_bgr() -> float:
    return _bm3d("bm3d", True)


TOPICS = {
    "psnr": Topic("PSNR", _our_psnr, 2e-4, "dB"),
    "batch": Topic("PSNR of several pictures", _our_batch_psnr, 5e-4, "dB"),
    "ssim": Topic("SSIM", _our_ssim, 1e-4, ""),
    "luma": Topic("Luminance", _our_luminance, 0.52, "levels"),
    "reduce": Topic("Four times smaller, bicubic", _our_reduced, 0.05, "levels"),
    "enlarge": Topic("Twice as large, bicubic", _our_enlarged, 0.05, "levels"),
    "jpeg": Topic("JPEG of quality 90", _our_jpeg, 0, "levels"),
    "bm3d": Topic("BM3D", lambda: _bm3d("bm3d_rgb", False), 1e-6, "dB"),
}


@functools.cache
def ours(topic: str) -> Any:
    """Returns this project's figure."""
    return TOPICS[topic].ours()


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far a figure is from ours.

    Attributes:
      inside: Difference of a number; of pictures the largest, in levels, away from the border.
      border: The largest in a band of `BORDER_PX`; None of a number.
      value: The number; of pictures PSNR to ours, infinity for an equal one.
    """

    inside: float
    border: float | None
    value: float


def distance(each: Way) -> Distance:
    """Makes a figure and compares it."""
    expected, made = ours(each.topic), each.run()
    if np.ndim(expected) == 0:
        return Distance(float(made) - expected, None, float(made))
    if made.shape != expected.shape:
        raise ValueError(f"{each.call}: {made.shape}, expected {expected.shape}")
    difference = np.abs(np.float64(made) - expected)
    inner = (slice(BORDER_PX, -BORDER_PX),) * 2
    rim = difference.copy()
    rim[inner] = 0
    error = float(np.mean(difference**2))
    psnr_db = 10 * np.log10(255**2 / error) if error else np.inf
    return Distance(float(difference[inner].max()), float(rim.max()), psnr_db)


def table(topic: str, report: Callable[[str], None]) -> tuple[list[str], int]:
    """Returns the lines of a topic's table, and how many rows are missing."""
    missing = 0
    is_number = np.ndim(ours(topic)) == 0
    heads = ("figure", "from ours") if is_number else ("dB to ours", "largest, inside", "border")
    lines = [f"| {' | '.join(('library', 'call', *heads))} |"]
    lines.append("|---|---|" + "---:|" * len(heads))
    if is_number:
        lines.append(f"| tf_deconv | | {ours(topic):.4f} | |")
    for each in WAYS:
        if each.topic != topic:
            continue
        if not each.is_there:
            report(f"{each.package} is not installed: no row of {each.call!r}")
            missing += 1
            continue
        found = distance(each)
        figures = (
            (f"{found.value:.4f}", "0" if each.is_same else f"{found.inside:+.4f}")
            if is_number
            else (_decibels(found.value), _levels(found.inside), _levels(found.border))
        )
        call, _, told = each.call.partition(": ")
        words = f"`{call}`" + f": {told}" * bool(told)
        name = f"{each.package} {each.version()}"
        lines.append(f"| {name} | {words} | {' | '.join(figures)} |")
        report(lines[-1])
    return lines, missing


def _decibels(value: float) -> str:
    return "every bit" if value == np.inf else f"{value:.1f}"


def _levels(value: float) -> str:
    return "0" if value == 0 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def fill(text: str, topic: str, lines: Sequence[str]) -> str:
    """Puts a table between its markers."""
    begin, end = f"<!-- {topic} -->\n", f"<!-- /{topic} -->"
    before, middle, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not (middle and found):
        raise SystemExit(f"{PAGE}: no markers of {topic!r}")
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=list(TOPICS))
    parser.add_argument("--write", action="store_true", help="put the tables into docs/metrics.md")
    arguments = parser.parse_args()
    tables, missing = {}, 0
    for topic in arguments.topics:
        print(f"\n{TOPICS[topic].title}\n")
        tables[topic], absent = table(topic, lambda line: print(line, file=sys.stderr))
        missing += absent
        print("\n".join(tables[topic]))
    if not arguments.write:
        return
    if missing:
        raise SystemExit(f"{missing} rows are missing: nothing written")
    text = PAGE.read_text(encoding="utf-8")
    for topic, lines in tables.items():
        text = fill(text, topic, lines)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
