"""What model files, manifests and run folders tell of themselves, checked when it is read.

Anyone may have written or edited them. What has the wrong type is one line that names the file and
the field, wherever it would have been stumbled over later.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv.data import levels
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError

# A manifest or a description has a few kilobytes; a file of any size could claim to be one.
LARGEST_JSON_BYTES = 2**24
# What a run's pictures or a checkpoint's variables may unpack to.
LARGEST_ARRAYS_BYTES = 2**33
# What a damaged zip archive raises, and what is in it; RuntimeError of one that is encrypted, or
# compressed as this Python does not know.
DAMAGES = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError),
    *(struct.error, zlib.error, zipfile.BadZipFile),
)


def check_arrays(path: str | os.PathLike[str]) -> None:
    """Refuses an `.npz` file whose arrays claim more than it holds, or more than memory.

    Raises:
      OSError, ValueError: if they do, or the file is damaged, a pipe or a device.
    """
    if what := files.special(path):
        raise OSError(f"it is {what}: expected a file")
    with zipfile.ZipFile(path) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        if total > LARGEST_ARRAYS_BYTES:
            raise ValueError(f"its arrays have {total:,} bytes")
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                version = np.lib.format.read_magic(stream)
                read = np.lib.format.read_array_header_1_0
                read = read if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(stream)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"{entry.filename} claims {'x'.join(map(str, shape))} values")


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
                f"{where} tells {within}{name} as {received}: expected {expected}; it is damaged or"
                " was edited, take it from where it came or make it again"
            )


# A picture is padded to the divisor, a tile overlaps by the field, and the result has scale times
# the picture's sides: each decides how much memory is taken. Networks have far less.
LARGEST_DIVISOR, LARGEST_SCALE, LARGEST_FIELD_PX, LARGEST_SIDE_PX = 1024, 64, 1025, 8192
_LARGEST_COUNT = 64
_LARGEST_STATE_CHANNELS = 4096


def _counts(most: int) -> tuple[Callable, str]:
    return (
        lambda value: type(value) is int and 1 <= value <= most,
        f"a whole number from 1 to {most}",
    )


def _is_sizes(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _LARGEST_COUNT
        and all(
            isinstance(size, list)
            and len(size) == 2
            and all(type(side) is int and 1 <= side <= LARGEST_SIDE_PX for side in size)
            for size in value
        )
    )


def _is_levels(value: Any) -> bool:
    try:
        levels.from_recorded(value)
    except ValueError:
        return False
    return True


def _is_state(value: Any) -> bool:
    """Whether it is what a model tells of its state; `channels` only exports do."""
    if not isinstance(value, dict):
        return False
    return all(
        type(count) is int and least <= count <= most
        for count, least, most in (
            (value.get("stride"), 1, LARGEST_DIVISOR),
            (value.get("channels", 1), 1, _LARGEST_STATE_CHANNELS),
            (value.get("latency_frames", 0), 0, 0),
        )
    )


_TEXT = (lambda value: isinstance(value, str), "a text")
_OBJECT = (lambda value: isinstance(value, dict), "an object")
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
    "scale": _counts(LARGEST_SCALE),
    "divisor": _counts(LARGEST_DIVISOR),
    **dict.fromkeys(("channels_in", "channels_out"), _counts(4)),
    "receptive_field": _counts(LARGEST_FIELD_PX),
    "effective_reach": _counts(LARGEST_FIELD_PX),
    "tile_overlap": (
        lambda value: type(value) is int and 0 <= value <= LARGEST_FIELD_PX + LARGEST_DIVISOR,
        f"a whole number from 0 to {LARGEST_FIELD_PX + LARGEST_DIVISOR}",
    ),
    "state": (
        _is_state,
        "an object with a stride and, of exports, channels, whole numbers from 1",
    ),
    "training_s": _NUMBER,
    "levels": (_is_levels, "an object of two numbers each, the lower one first"),
    "tflite_sizes": (
        _is_sizes,
        f"a list of at most {_LARGEST_COUNT} heights and widths from 1 to {LARGEST_SIDE_PX}",
    ),
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
