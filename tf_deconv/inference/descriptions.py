"""What model files, manifests and run folders tell of themselves, checked when it is read.

Anyone may have written or edited them. What has the wrong type is one line that names the file and
the field, wherever it would have been stumbled over later.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

from tf_deconv.utils.options import UserError

# What a damaged zip archive raises, and what is in it; RuntimeError of one that is encrypted, or
# compressed as this Python does not know.
DAMAGES = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError),
    *(struct.error, zlib.error, zipfile.BadZipFile),
)


def parse_json(text: str | bytes) -> Any:
    """Parses JSON from anywhere.

    Raises:
      ValueError: if it is none, or is nested more deeply than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deeply") from error


def check(known: dict[str, Any], where: str) -> dict[str, Any]:
    """Returns a description if each field that is known here has its type; None is always taken.

    Args:
      known: A description, a manifest, or what an exported file tells of itself.
      where: The file that it was read from, for the message.
    Raises:
      UserError: naming the first field that has another type.
    """
    stage = known
    while stage:
        _check_fields(stage, _FIELDS, where, "")
        options = stage.get("training") or {}
        _check_fields(options, dict.fromkeys(options, _OPTION) | _OPTIONS, where, "training: ")
        stage = stage.get("began_with")  # The same facts of the run before.
    for entry in known.get("files") or ():
        _check_fields(entry, _FILE_FIELDS, where, "files: ")
    return known


def _check_fields(
    known: dict[str, Any], fields: dict[str, tuple[Callable, str]], where: str, within: str
) -> None:
    for name, (fits, expected) in fields.items():
        value = known.get(name)
        if value is not None and not fits(value):
            received = repr(value)
            received = f"{received[:60]}..." if len(received) > 60 else received
            raise UserError(
                f"{where} tells {within}{name}={received}: expected {expected}; it is damaged or"
                " was edited, take it from where it came or make it again"
            )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(size, list) and len(size) == 2 and all(map(_is_count, size)) for size in value
    )


_TEXT = (lambda value: isinstance(value, str), "a text")
_OBJECT = (lambda value: isinstance(value, dict), "an object")
_COUNT = (_is_count, "a whole number of at least 1")
_NUMBER = (lambda value: type(value) in (int, float), "a number")


_SWITCH = (lambda value: type(value) is bool, "true or false")
_OPTION = (lambda value: isinstance(value, str | int | float), "a text, a number or true or false")
# Options of training that commands read; the others are only shown.
_OPTIONS = {
    **dict.fromkeys(("task", "network", "data", "degrade", "targets", "size", "loss"), _TEXT),
    "self_supervised": _SWITCH,
}
_FIELDS = {
    **dict.fromkeys(("name", "task", "network", "device", "trained_on", "data_sha256"), _TEXT),
    **dict.fromkeys(("file_sha256", "buffers_sha256"), _TEXT),
    **dict.fromkeys(("training", "began_with", "versions", "generator", "graph_tensors"), _OBJECT),
    **dict.fromkeys(("scale", "divisor", "channels_in", "channels_out"), _COUNT),
    "training_s": _NUMBER,
    "tflite_sizes": (_is_sizes, "a list of heights and widths"),
    "files": (
        lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
        "a list of objects",
    ),
}
_FILE_FIELDS = {
    "file": _TEXT,
    **dict.fromkeys(("parity", "latency_ms_one_thread", "operators"), _OBJECT),
    "sha256": (
        lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
        "an object of texts",
    ),
}
