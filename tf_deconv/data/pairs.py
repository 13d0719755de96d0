"""Pairs of pictures: a folder of inputs and one of targets, matched by name.

A pair is one picture of six channels, so that whatever cuts and turns one cuts and turns both.
"""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

from tf_deconv.data import folders
from tf_deconv.data.folders import PictureFile
from tf_deconv.data.store import content_hash
from tf_deconv.images import arrays
from tf_deconv.images.arrays import CHANNELS
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
        """In pixels, as the file stores it."""
        return self.input.height

    @property
    def width(self) -> int:
        """In pixels, as the file stores it."""
        return self.input.width

    def read(self) -> np.ndarray:
        """Decodes both.

        Returns:
          (H, W, 6) uint8: the input's channels, then the target's.
        Raises:
          ValueError: if one cannot be read, or EXIF turns only one of them.
        """
        pictures = []
        for role, file in (("input", self.input), ("target", self.target)):
            try:
                pictures.append(file.read())
            except ValueError as error:
                raise ValueError(f"the {role} cannot be read: {error}") from error
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in pictures]
        if sizes[0] != sizes[1]:
            raise ValueError(_unequal(*sizes))
        return np.concatenate(pictures, axis=-1)

    def digest(self, picture: np.ndarray) -> bytes:
        """Returns the target's hash, then the input's.

        The first half decides on which side of the split a pair stands: several inputs of one
        target stand together.
        """
        return content_hash(picture[..., CHANNELS:]) + content_hash(picture[..., :CHANNELS])


def scan(inputs: pathlib.Path, targets: pathlib.Path) -> tuple[list[PicturePair], list[str]]:
    """Matches two folders by path and name without suffix, and reads the headers.

    Args:
      inputs: Folder of the pictures as they are.
      targets: Folder of the pictures as they should be.
    Returns:
      The pairs, and "name: reason" of every picture that is in none.
    Raises:
      UserError: if a folder holds no picture, or no name is in both.
    """
    sides = [_by_stem(folder) for folder in (inputs, targets)]
    skipped, found = [], []
    for (by_stem, doubles), folder, other in zip(sides, (inputs, targets), reversed(sides)):
        skipped += doubles
        alone = [path for stem, path in by_stem.items() if stem not in other[0]]
        skipped += [f"{_name(path, folder)}: has no partner" for path in alone]
        paths = [path for stem, path in by_stem.items() if stem in other[0]]
        files, faults = folders.scan(folder, paths)
        skipped += faults
        found.append({_stem(file.path, folder): file for file in files})
    common = [stem for stem in sides[0][0] if stem in sides[1][0]]
    if not common:
        raise UserError(
            f"no picture of {str(inputs)!r} has the name of one of {str(targets)!r}: expected pairs"
            f" such as {_example(sides[0][0], inputs)} in both (the type may differ)"
        )
    pairs = []
    for stem in common:
        if stem not in found[0] or stem not in found[1]:
            continue  # One of them is not a picture: it was named above.
        pair = PicturePair(found[0][stem], found[1][stem])
        sizes = [sorted((file.height, file.width)) for file in (pair.input, pair.target)]
        if sizes[0] == sizes[1]:  # Sorted: EXIF may turn one of them.
            pairs.append(pair)
        else:
            words = [f"{file.width}x{file.height}" for file in (pair.input, pair.target)]
            skipped.append(f"{pair.name}: {_unequal(*words)}")
    return pairs, skipped


def _by_stem(folder: pathlib.Path) -> tuple[dict[str, pathlib.Path], list[str]]:
    """Returns the first picture of each name, and lines about the others."""
    by_stem: dict[str, pathlib.Path] = {}
    doubles = []
    for path in arrays.list_pictures(folder):
        kept = by_stem.setdefault(_stem(path, folder), path)
        if kept is not path:
            doubles.append(f"{_name(path, folder)}: {kept.name} has the same name and is used")
    return by_stem, doubles


def _stem(path: pathlib.Path, folder: pathlib.Path) -> str:
    return str(path.relative_to(folder).with_suffix(""))


def _name(path: pathlib.Path, folder: pathlib.Path) -> str:
    return arrays.printable(str(pathlib.Path(folder.name, path.relative_to(folder))))


def _example(by_stem: dict[str, pathlib.Path], folder: pathlib.Path) -> str:
    return repr(arrays.printable(str(next(iter(by_stem.values())).relative_to(folder))))


def _unequal(size: str, target_size: str) -> str:
    return f"the input is {size} and the target {target_size}: expected equal sizes"
