"""Paths that may be URLs of a file system that TensorFlow knows (`tf.io.gfile`), such as gs://.

TensorFlow is imported when a file is read or written, not before.
"""

from __future__ import annotations

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.quiet import import_tensorflow

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Names of TensorFlow's own operations within its messages.
_OPERATIONS = re.compile(r"\{\{[^}]*\}\} ?|\[\[.*|\[Op:.*")


def is_url(path: str) -> bool:
    """Returns whether a path is a URL, as gs://BUCKET/FOLDER and file:///FOLDER are."""
    return _URL.match(path) is not None


def join(folder: str, file: str) -> str:
    """Returns the path of a file in a folder that may be a URL."""
    return f"{folder.rstrip('/')}/{file}" if is_url(folder) else str(pathlib.Path(folder, file))


def tensorflow_for(path: str) -> Any:
    """Returns the module of TensorFlow, which knows the file system of a path.

    Raises:
      UserError: if it does not know it, or is not installed.
    """
    import_tensorflow()
    import tensorflow as tf

    match = _URL.match(path)
    if match and match[1] not in _schemes():
        # Adds s3:// and others; whatever is wrong with it, they are then not there.
        with contextlib.suppress(Exception):
            import tensorflow_io  # noqa: F401
        if match[1] not in _schemes():
            known = ", ".join(f"{name}://" for name in _schemes())
            raise UserError(
                f"{path!r}: TensorFlow knows {known}; expected one of them, or a package that adds"
                f" {match[0]} (tensorflow-io adds s3://), or a folder where it is mounted"
            )
    return tf


def _schemes() -> list[str]:
    import tensorflow as tf

    return sorted(filter(None, map(tf.compat.as_str, tf.io.gfile.get_registered_schemes())))


@contextlib.contextmanager
def one_line(path: str, remedy: str) -> Iterator[None]:
    """Makes a UserError of what TensorFlow raises about a file.

    Args:
      path: The file, for the message.
      remedy: The end of the message.
    """
    import_tensorflow()
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        what = _OPERATIONS.sub("", reason(error)).removeprefix(f"{path}; ").strip()
        raise UserError(f"{path!r}: {what}; {remedy}") from error
