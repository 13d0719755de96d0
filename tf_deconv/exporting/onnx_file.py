"""ONNX files, by Keras's own export: any size and batch, with padding and cropping inside."""

from __future__ import annotations

import importlib.util
import pathlib
import warnings

import keras
import tensorflow as tf

from tf_deconv.exporting.saved_model.restorer import restore_tensor
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError


class _AnySize(keras.Model):
    """A network of multiples of its divisor as a model of any size."""

    def __init__(self, model: keras.Model, divisor: int, scale: int):
        super().__init__(name="any_size")
        self.network, self.divisor, self.scale = model, divisor, scale

    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"restored": restore_tensor(self.network, image, self.divisor, self.scale)}


def check_packages() -> None:
    """Refuses to begin where the export or its check would fail.

    Raises:
      UserError: with the packages that are missing.
    """
    names = [name for name in ("onnx", "onnxruntime", "tf2onnx") if not _is_there(name)]
    if names:
        raise UserError(
            f"onnx=True: {', '.join(names)} not installed; expected what `pip install"
            " 'tf-deconv[onnx]'` brings"
        )


def _is_there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def write_onnx(model: keras.Model, path: pathlib.Path, *, divisor: int, scale: int) -> None:
    """Writes an ONNX file: `image` float32 (N, H, W, C) in [0, 1] to `restored`, any N, H, W.

    Args:
      model: A float32 functional model of any height and width.
      path: The file to write.
      divisor: Sizes are mirrored up to a multiple of this, and cropped again.
      scale: Output pixels per input pixel along each axis.
    """
    wrapped = _AnySize(model, divisor, scale)
    wrapped(tf.zeros((1, divisor, divisor, model.input_shape[-1])))  # Only built models export.
    shape = (None, None, None, model.input_shape[-1])
    with files.silent_stderr(), warnings.catch_warnings():
        # tf2onnx 1.17 asks NumPy for a name that will mean something else one day.
        warnings.simplefilter("ignore", FutureWarning)
        wrapped.export(
            str(path),
            format="onnx",
            verbose=False,
            input_signature=[keras.InputSpec(shape=shape, dtype="float32", name="image")],
        )
