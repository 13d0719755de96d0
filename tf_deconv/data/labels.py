"""Which labels belong to pictures, and to which part of a source they belong: told by names.

A label is the number of a picture's class, from 0. This module knows names and rules; `arrays`
reads the arrays.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from tf_deconv.utils.options import UserError

# As many as ImageNet has: larger numbers are no classes, but indices or measurements.
MAX_CLASSES = 1000
_REMEDY = "repair them, or leave them out to go without labels"
# Words of names, as in "x_train", "trainImages" and "t10k-labels-idx1-ubyte".
_WORD = re.compile(r"t10k|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_LABEL_WORDS = frozenset({"y", "label", "labels", "target", "targets"})
_PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "t10k": "test",
    # In neither of the two: what its author holds out is not for training, nor the final test.
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
_IDX_PICTURES = re.compile(r"images([-.])idx[34]-ubyte(\.gz)?$")


def part_of(name: str) -> str | None:
    """Returns "train", "test" or "validation", by the last word of a name that says so, or None."""
    parts = [_PARTS[word] for word in _words(name) if word in _PARTS]
    return parts[-1] if parts else None


def beside_idx(path: pathlib.Path) -> pathlib.Path | None:
    """Returns the file of labels beside an IDX file of pictures, by MNIST's names, or None.

    Each of the two may be compressed, and may have a dot for its second dash.
    """
    match = _IDX_PICTURES.search(path.name)
    if not match:
        return None
    start, (own_dash, own_suffix) = path.name[: match.start()], (match[1], match[2] or "")
    # Most alike first.
    for dash in sorted("-.", key=lambda dash: dash != own_dash):
        for suffix in sorted(("", ".gz"), key=lambda suffix: suffix != own_suffix):
            partner = path.with_name(f"{start}labels{dash}idx1-ubyte{suffix}")
            if partner.exists():
                return partner
    return None


def is_name_of_labels(name: str) -> bool:
    """Returns whether an array's name says labels: "y", "y_test", "labels2"."""
    rest = [word for word in _words(name) if word not in _PARTS and not word.isdigit()]
    return len(rest) == 1 and rest[0] in _LABEL_WORDS


def beside_array(name: str, others: Iterable[str]) -> str | None:
    """Finds the array of labels for one of pictures, both from one .npz.

    Args:
      name: Of the pictures, such as "x", "images2", "x_train" or "test_images".
      others: Names of the arrays that may be labels.
    Returns:
      The first that is named for labels ("y", "label", "target") and for the same part and number:
      "y", "labels2", "y_train", "test_labels"; or None.
    """

    def place(name: str) -> list[str]:
        words = _words(name)
        return sorted(_PARTS.get(word, word) for word in words if word in _PARTS or word.isdigit())

    named = (other for other in others if is_name_of_labels(other))
    return next((other for other in named if place(other) == place(name)), None)


def of_subfolders(
    folder: pathlib.Path, paths: Sequence[pathlib.Path]
) -> dict[pathlib.Path, int] | None:
    """Labels the pictures of a folder that has one subfolder for each class.

    Args:
      folder: The folder.
      paths: All picture files below it, also those that cannot be used: a damaged one must not
        change the labels of the others.
    Returns:
      The place of each picture's subfolder in their sorted names; None unless each picture lies
      directly in a subfolder of `folder`, and there are two or more of those.
    Raises:
      UserError: if there are more than `MAX_CLASSES`.
    """
    parents = {path: path.relative_to(folder).parts[:-1] for path in paths}
    names = sorted(set(parents.values()))
    if len(names) < 2 or any(len(parts) != 1 for parts in names):
        return None
    if len(names) > MAX_CLASSES:
        raise UserError(
            f"folder {str(folder)!r} has {len(names)} subfolders of pictures: expected at most"
            f" {MAX_CLASSES}, one for each class; put them into one to go without labels"
        )
    numbers = {parts: number for number, parts in enumerate(names)}
    return {path: numbers[parts] for path, parts in parents.items()}


def check_layout(name: str, shape: tuple[int, ...], dtype: np.dtype, count: int) -> None:
    """Raises UserError unless (count,) or (count, 1) integers are there, for `count` pictures."""
    words = f"labels {name!r} are an array {shape} of {dtype.name}"
    if dtype.hasobject:
        raise UserError(f"{words}, which is never unpickled: expected integers; {_REMEDY}")
    if dtype.kind not in "iu" or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise UserError(
            f"{words}: expected ({count},) integers, as np.argmax(array, 1) or"
            f" array.astype('int64') gives; {_REMEDY}"
        )
    if shape[0] != count:
        raise UserError(f"{words}: expected {count}, one for each picture; {_REMEDY}")


def checked(name: str, array: np.ndarray, count: int) -> np.ndarray:
    """Returns labels as (count,) int64.

    Raises:
      UserError: unless they are `count` integers from 0 to `MAX_CLASSES` - 1.
    """
    check_layout(name, array.shape, array.dtype, count)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= MAX_CLASSES:
        raise UserError(
            f"labels {name!r} are {low} to {high}: expected the numbers of at most {MAX_CLASSES}"
            f" classes, 0 to {MAX_CLASSES - 1}; {_REMEDY}"
        )
    return array.reshape(-1).astype(np.int64)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
