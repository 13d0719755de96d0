"""Which of the words of `tf-deconv restore` is the model, and which are pictures.

The model is the first word, and may be left out; so the first word is looked at. TensorFlow is not
imported: a mistake is said at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from tf_deconv.data.shards import reader
from tf_deconv.images import formats
from tf_deconv.inference import shipped
from tf_deconv.inference.jobs import EXPECTED, LIST_SUFFIX
from tf_deconv.inference.located import holds_model
from tf_deconv.utils.options import UserError
from tf_deconv.video.containers import SUFFIXES as FILM_SUFFIXES

_PICTURE_SUFFIXES = (*formats.SUFFIXES, *FILM_SUFFIXES, LIST_SUFFIX)
_EITHER = f"{EXPECTED}; or before them {shipped.EXPECTED.removeprefix('expected ')}"


def split_words(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """Splits what was typed into the model and the pictures.

    The first word is the model if a model lies there, or if it is a shipped model's name; it is a
    picture if anything else lies there. A shipped model's name alone means the pictures that lie
    there, if any do. Where nothing lies, what ends as pictures do is one, and anything else was
    meant to be a model.

    Args:
      words: As typed.
    Returns:
      The model, None where none was named; and the pictures, at least one.
    Raises:
      UserError: if there is no picture, or the first word is neither.
    """
    if not words:
        raise UserError(
            "nothing to restore: name pictures or folders of them, such as `tf-deconv restore"
            " photo.jpg`; see tf-deconv restore --help"
        )
    first, *rest = words
    if not _is_model(first, alone=not rest):
        _refuse_later_model(words)
        return None, [*words]
    if not rest:
        raise UserError(f"no picture: {first!r} is the model; {EXPECTED} after it")
    return first, rest


def _refuse_later_model(words: Sequence[str]) -> None:
    """Says what to type where a shipped model's name comes after the pictures."""
    for word in words[1:]:
        if word in shipped.MODELS and not os.path.lexists(word):
            others = " ".join(each for each in words if each != word)
            raise UserError(
                f"{word!r} is a model, which comes first: `tf-deconv restore {word} {others}`"
            )


def _is_model(word: str, alone: bool) -> bool:
    if shipped.is_name(word):
        shipped.canonical(word)  # Names the nearest one where there is none.
        # Alone, it can only mean the pictures that lie here under that name.
        return not (alone and os.path.lexists(word))
    if reader.is_sharded(word):
        return False
    named_as_picture = word.lower().endswith(_PICTURE_SUFFIXES)
    if not os.path.lexists(word):
        if alone and not named_as_picture:
            raise UserError(f"{word!r} does not exist: {_EITHER}")
        return not named_as_picture
    if holds_model(word):
        return True
    if os.path.isfile(word) and not named_as_picture and not _is_known(word):
        raise UserError(f"{word!r} is neither a picture, a film nor a model: {_EITHER}")
    return False


def _is_known(path: str) -> bool:
    """Returns whether a file is a picture, or of another kind that reading has words for."""
    try:
        return formats.sniff_file(path) is not None
    except (OSError, ValueError):
        return False
