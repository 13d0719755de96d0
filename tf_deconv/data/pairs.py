"""Pairs of pictures: a folder of inputs and one of targets, matched by name, and pages by number.

A pair is one picture of six channels, so that whatever cuts and turns one cuts and turns both.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib

import numpy as np

from tf_deconv.data import folders
from tf_deconv.data.folders import Pages, PictureFile
from tf_deconv.data.store import content_hash
from tf_deconv.images import formats
from tf_deconv.images.arrays import CHANNELS, printable
from tf_deconv.utils.options import UserError


@dataclasses.dataclass(frozen=True)
class PicturePair:
    """An input and its target, of equal size.

    Attributes:
      input: The picture as it is.
      target: The picture as it should be.
    """

    input: PictureFile
    target: PictureFile
    count: int = 1
    channels: int = 2 * CHANNELS
    label: None = None

    @property
    def name(self) -> str:
        """The input's name."""
        return self.input.name

    @property
    def height(self) -> int:
        """In pixels."""
        return self.input.height

    @property
    def width(self) -> int:
        """In pixels."""
        return self.input.width

    @property
    def dtype(self) -> np.dtype:
        """The larger one of the two."""
        return max(self.input.dtype, self.target.dtype, key=lambda dtype: dtype.itemsize)

    @property
    def group(self) -> str | None:
        """The file of targets, where it holds several."""
        return self.target.group

    def read(self, pages: Pages, notes: list[str] | None = None) -> tuple[np.ndarray, ...]:
        """Decodes both.

        Returns:
          The input and the target, (H, W, 3) each, of the files' types.
        Raises:
          ValueError: if one cannot be read.
        """
        pictures: list[np.ndarray] = []
        for role, file in (("input", self.input), ("target", self.target)):
            try:
                pictures += file.read(pages, notes)
            except ValueError as error:
                raise ValueError(f"the {role} cannot be read: {error}") from error
        return tuple(pictures)

    def digest(self, given: np.ndarray, wanted: np.ndarray) -> bytes:
        """Returns the target's hash, then the input's.

        The first half decides on which side of the split a pair stands: several inputs of one
        target stand together.
        """
        return content_hash(wanted) + content_hash(given)


@dataclasses.dataclass
class Scanned:
    """Two folders whose headers were read.

    Attributes:
      pairs: What belongs together.
      skipped: "name: reason" of every picture that is in no pair.
      notes: Lines for the user.
    """

    pairs: list[PicturePair]
    skipped: list[str]
    notes: list[str]


def scan(inputs: pathlib.Path, targets: pathlib.Path) -> Scanned:
    """Matches two folders by path and name without suffix, and reads the headers.

    Args:
      inputs: Folder of the pictures as they are.
      targets: Folder of the pictures as they should be.
    Returns:
      The pairs, and what is in none.
    Raises:
      UserError: if a folder holds no picture, or no name is in both.
    """
    result = Scanned([], [], [])
    sides = [_by_stem(folder, result) for folder in (inputs, targets)]
    found: list[dict[str, list[PictureFile]]] = []
    for by_stem, folder, other in zip(sides, (inputs, targets), reversed(sides)):
        alone = [path for stem, path in by_stem.items() if stem not in other]
        result.skipped += [f"{_name(path, folder)}: has no partner" for path in alone]
        paths = [path for stem, path in by_stem.items() if stem in other]
        files, faults, notes = folders.scan(folder, paths)
        result.skipped += faults
        result.notes += notes
        pages = itertools.groupby(files, lambda file: file.path)
        found.append({_stem(path, folder): list(group) for path, group in pages})
    common = [stem for stem in sides[0] if stem in sides[1]]
    if not common:
        raise UserError(
            f"no picture of {str(inputs)!r} has the name of one of {str(targets)!r}: expected pairs"
            f" such as {_example(sides[0], inputs)} in both (the type may differ)"
        )
    for stem in common:
        if stem in found[0] and stem in found[1]:  # Else one was named above.
            _match(found[0][stem], found[1][stem], result)
    return result


def _match(given: list[PictureFile], wanted: list[PictureFile], result: Scanned) -> None:
    """Pairs the pages of two files."""
    if len(given) != len(wanted):
        name = given[0].name.removesuffix("[0]")
        result.skipped.append(
            f"{name}: the input holds {len(given)} pictures and the target {len(wanted)}: expected"
            " as many"
        )
        return
    for pair in map(PicturePair, given, wanted):
        words = [f"{file.width}x{file.height}" for file in (pair.input, pair.target)]
        if words[0] == words[1]:
            result.pairs.append(pair)
        else:
            result.skipped.append(f"{pair.name}: {_unequal(*words)}")


def _by_stem(folder: pathlib.Path, result: Scanned) -> dict[str, pathlib.Path]:
    """Returns the first picture of each name; lines about the others go to `result`."""
    by_stem: dict[str, pathlib.Path] = {}
    listed = formats.find_pictures(folder, printable)
    result.skipped += [f"{folder.name}/{line}" for line in listed.unread]
    if note := listed.note():
        result.notes.append(f"{printable(folder.name)}: {note}")
    for path in formats.require_pictures(listed, folder):
        kept = by_stem.setdefault(_stem(path, folder), path)
        if kept is not path:
            result.skipped.append(
                f"{_name(path, folder)}: {printable(kept.name)} has the same name and is used"
            )
    return by_stem


def _stem(path: pathlib.Path, folder: pathlib.Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _name(path: pathlib.Path, folder: pathlib.Path) -> str:
    return printable(pathlib.Path(folder.name, path.relative_to(folder)).as_posix())


def _example(by_stem: dict[str, pathlib.Path], folder: pathlib.Path) -> str:
    return repr(printable(next(iter(by_stem.values())).relative_to(folder).as_posix()))


def _unequal(size: str, target_size: str) -> str:
    return f"the input is {size} and the target {target_size}: expected equal sizes"
