"""Keeps what libraries print about themselves off the user's screen."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings

from tf_deconv.utils.files import silent_stderr
from tf_deconv.utils.options import UserError


def import_tensorflow() -> None:
    """Imports TensorFlow without the lines that it prints when it starts.

    Raises:
      UserError: if it is not installed.
    """
    if "tensorflow" in sys.modules:
        return
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            "TensorFlow is not installed, and this needs it: expected what `pip install .` in the"
            " checkout brings; without it, restore, inspect and load take .tflite files and models"
            " that have some"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN is off by default on CPUs without AVX512; there it was measured from no gain to 1.5
    # times as fast.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # The C++ part prints lines before it reads any setting.
    with silent_stderr():
        import tensorflow
    # In a notebook it would tell of every file that it writes, as for a program it does not.
    tensorflow.get_logger().setLevel(logging.WARNING)


def quiet_libraries() -> None:
    """Silences warnings and logs that no user of a command needs; for whole programs only."""
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    # Pillow warns of pictures over 90 megapixels and refuses those over twice that.
    warnings.filterwarnings("ignore", r"Image size \(")
    # It logs every font that it looks at, and the cache that it makes.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
