"""Which of the words of `tf-deconv restore` is the model, and which are pictures.

The model is the first word, and may be left out; so the first word is looked at. TensorFlow is not
imported: a mistake is said at once.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

from tf_deconv.data.shards import reader
from tf_deconv.images import arrays
from tf_deconv.inference import run_folder, shipped
from tf_deconv.inference.descriptions import parse_json
from tf_deconv.inference.jobs import EXPECTED, LIST_SUFFIX
from tf_deconv.utils.options import UserError

_MODEL_SUFFIXES = (".keras", ".tflite")
_PICTURE_SUFFIXES = (*arrays.SUFFIXES, LIST_SUFFIX)
_EITHER = f"{EXPECTED}; or before them {shipped.EXPECTED.removeprefix('expected ')}"


def split_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Splits what was typed into the model and the pictures.

    The first word is the model if nothing lies there and it is a shipped model's name, or if a
    model lies there; it is a picture if anything else lies there. Where nothing does, what ends as
    pictures do is one, and anything else was meant to be a model.

    Args:
      words: As typed.
    Returns:
      The model, None where none was named; and the pictures, at least one.
    Raises:
      UserError: if there is no picture, or the first word is neither.
    """
    if not words:
        raise UserError(f"no picture: {EXPECTED}")
    first, *rest = words
    if not _is_model(first, alone=not rest):
        return None, [*words]
    if not rest:
        raise UserError(f"no picture: {first!r} is the model; {EXPECTED} after it")
    return first, rest


def _is_model(word: str, alone: bool) -> bool:
    if shipped.is_name(word):
        shipped.canonical(word)  # Names the nearest one where there is none.
        return True
    if reader.is_sharded(word):
        return False
    named_as_picture = word.lower().endswith(_PICTURE_SUFFIXES)
    if not os.path.lexists(word):
        if alone and not named_as_picture:
            raise UserError(f"{word!r} does not exist: {_EITHER}")
        return not named_as_picture
    if holds_model(word):
        return True
    if os.path.isfile(word) and not named_as_picture and not arrays.is_picture(word):
        raise UserError(f"{word!r} is neither a picture nor a model: {_EITHER}")
    return False


def holds_model(path: str | os.PathLike[str]) -> bool:
    """Returns whether a model lies at a path, also one that is damaged or not trained yet."""
    folder = pathlib.Path(path)
    if os.path.isfile(path):
        try:
            with open(path, "rb") as stream:
                head = stream.read(8)
        except OSError:
            head = b""
        named = folder.suffix.lower() in _MODEL_SUFFIXES
        return named or head[4:] == b"TFL3" or head[:2] == b"PK"
    if not os.path.isdir(path):
        return False
    try:
        versions = [name for name in os.listdir(path) if re.fullmatch(r"[0-9]+", name)]
    except OSError:
        return False
    files = ("saved_model.pb", run_folder.MODEL_FILE)
    return (
        any((folder / name).is_file() for name in files)
        or any((folder / version / "saved_model.pb").is_file() for version in versions)
        or _tells(folder / run_folder.CONFIG_FILE, "network")
        or _tells(folder / shipped.MANIFEST_FILE, "files")
    )


def _tells(path: pathlib.Path, key: str) -> bool:
    """Returns whether a JSON object has a key: a folder of pictures may hold a file of the name."""
    try:
        return key in parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
