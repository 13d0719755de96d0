"""The picture sets of `keras.datasets`, from the local copy or downloaded by Keras.

The training and the test part are read together, unless one is asked for: what is held out,
`sources` decides by content.
"""

from __future__ import annotations

import os
import pathlib

import numpy as np

from tf_deconv.data import arrays
from tf_deconv.utils.options import UserError, nearest, reason

PREFIX = "keras:"
# What lies in ~/.keras/datasets once Keras has downloaded a set.
LOCAL_FILES = {
    "mnist": ("mnist.npz",),
    "fashion_mnist": (
        "fashion-mnist/train-images-idx3-ubyte.gz",
        "fashion-mnist/t10k-images-idx3-ubyte.gz",
    ),
    # The archives cifar-10-python.tar.gz and cifar-100-python.tar.gz, under Keras's names.
    "cifar10": ("cifar-10-batches-py-target_archive",),
    "cifar100": ("cifar-100-python-target_archive",),
}


def open_dataset(data: str) -> list[arrays.Stack]:
    """Opens a picture set.

    Args:
      data: "keras:NAME", NAME being a key of `LOCAL_FILES`.
    Returns:
      Its training and its test pictures, which know where their labels are.
    Raises:
      UserError: if there is no such set, or neither a local copy nor a way to download one.
    """
    name = data.removeprefix(PREFIX)
    if name not in LOCAL_FILES:
        raise UserError(
            f"data {data!r}{nearest(name, LOCAL_FILES)}: expected {PREFIX} and one of"
            f" {', '.join(LOCAL_FILES)}"
        )
    folder = _folder()
    paths = [folder / file for file in LOCAL_FILES[name]]
    # Not CIFAR: its archives hold pickles, which Keras reads after it has checked their hash.
    if not name.startswith("cifar") and all(path.is_file() for path in paths):
        return arrays.open_stacks(paths)[0]
    import keras

    try:
        parts = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises a bare Exception when it has no network.
        files = " and ".join(repr(str(path)) for path in paths)
        hint = f" ({name.replace('cifar', 'cifar-')}-python.tar.gz)" if "cifar" in name else ""
        raise UserError(
            f"data {data!r} is not on this machine and cannot be downloaded ({reason(error)}):"
            f" expected {files}{hint}"
        ) from error
    return [
        arrays.of_array(f"{name}/{part}", _channels_last(pictures), labels)
        for part, (pictures, labels) in zip(("train", "test"), parts)
    ]


def _folder() -> pathlib.Path:
    """Returns where Keras keeps data sets; KERAS_HOME is Keras's own variable."""
    return pathlib.Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"


def _channels_last(pictures: np.ndarray) -> np.ndarray:
    """Undoes "image_data_format": "channels_first" of the user's keras.json."""
    if pictures.ndim == 4 and pictures.shape[-1] not in (1, 3):
        return np.moveaxis(pictures, 1, -1)
    return pictures
