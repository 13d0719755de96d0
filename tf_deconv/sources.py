"""Where pictures come from, and which of them are held out.

A source ends as a `PictureStore`: every picture decoded once into one flat buffer, beside a table
of where each begins. Many small and few large pictures then cost the same per patch, and no list
of Python objects is walked while training. See docs/decisions/0003-data.md.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from tf_deconv import images
from tf_deconv.config import BUNDLED, UserError, reason

# Photographs in scikit-image's wheel whose licence is stated free (docstrings of skimage.data):
# astronaut, Hubble (NASA) and rocket (SpaceX) are in the public domain, the others CC0. The last
# two are held out whole.
BUNDLED_TRAINING = ("astronaut.png", "camera.png", "hubble_deep_field.jpg", "rocket.jpg")
BUNDLED_VALIDATION = ("chelsea.png", "coffee.png")


@dataclasses.dataclass(frozen=True)
class PictureStore:
    """Pictures in one buffer.

    Attributes:
      pixels: (total,) uint8, pictures one after the other, each (H, W, 3) in C order.
      offsets: (count,) int64, where each picture begins in `pixels`.
      heights: (count,) int64.
      widths: (count,) int64.
      names: Names of the pictures, for messages.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, pictures: Iterable[tuple[str, np.ndarray]]) -> PictureStore:
        """Packs (name, (H, W, 3) uint8) pairs."""
        pictures = list(pictures)
        sizes = np.array([picture.size for _, picture in pictures], np.int64)
        shapes = np.array([p.shape[:2] for _, p in pictures], np.int64).reshape(-1, 2)
        flat = [picture.reshape(-1) for _, picture in pictures]
        return cls(
            pixels=np.concatenate(flat) if flat else np.empty(0, np.uint8),
            offsets=np.cumsum(sizes) - sizes,
            heights=shapes[:, 0],
            widths=shapes[:, 1],
            names=tuple(name for name, _ in pictures),
        )

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int) -> np.ndarray:
        """Returns picture `index` as (H, W, 3) uint8, without a copy."""
        height, width = int(self.heights[index]), int(self.widths[index])
        start = int(self.offsets[index])
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def sha256(self) -> str:
        """Returns a hash of every picture's size and pixels, in order."""
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(_content_hash(self.picture(index)))
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Source:
    """A source read and split.

    Attributes:
      training: Pictures to train on.
      validation: Pictures held out; none of them shares its content with `training`.
      skipped: "name: reason" of every file that could not be used.
      notes: Lines that the user should see.
    """

    training: PictureStore
    validation: PictureStore
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load_source(data: str, patch_size: int, validation_fraction: float) -> Source:
    """Reads and splits the pictures of a training run.

    Args:
      data: A folder, or "bundled".
      patch_size: Pictures with a side under this many pixels are skipped.
      validation_fraction: Expected share of pictures held out, in (0, 1); the bundled photographs
        have a fixed split.
    Returns:
      The source; both parts hold at least one picture.
    Raises:
      UserError: if nothing usable is there.
    """
    if data == BUNDLED:
        named, hold_out = _bundled_pictures(), _is_bundled_validation
    else:
        named, hold_out = _folder_pictures(data), _hash_below(validation_fraction)
    pictures, skipped = [], []
    largest = 0
    for name, picture in named:
        if isinstance(picture, str):
            skipped.append(f"{name}: {picture}")
            continue
        largest = max(largest, min(picture.shape[:2]))
        if min(picture.shape[:2]) < patch_size:
            height, width = picture.shape[:2]
            skipped.append(f"{name}: {width}x{height} is smaller than patch_size={patch_size}")
        else:
            pictures.append((name, picture))
    if not pictures:
        raise UserError(_nothing_usable(data, patch_size, largest, skipped))
    return _split(data, pictures, skipped, hold_out)


def _nothing_usable(data: str, patch_size: int, largest: int, skipped: list[str]) -> str:
    if largest:
        return (
            f"patch_size={patch_size} is larger than every picture in {data!r}:"
            f" expected at most {largest}, the shorter side of the largest one"
        )
    return f"none of the {len(skipped)} pictures in {data!r} can be read: {skipped[0]}"


def _split(
    data: str,
    pictures: list[tuple[str, np.ndarray]],
    skipped: list[str],
    hold_out: Callable[[str, bytes], bool],
) -> Source:
    hashes = [_content_hash(picture) for _, picture in pictures]
    held = [hold_out(name, digest) for (name, _), digest in zip(pictures, hashes)]
    notes = []
    if len(set(hashes)) < 2:
        raise UserError(
            f"{data!r} holds {len(pictures)} usable picture(s), all the same: expected at least 2"
            " different ones, so that one can be held out to measure on"
        )
    if not any(held) or all(held):
        # Too few for chance. The lowest (or highest) hash goes to the empty side: of all rules
        # that never leave a side empty, this one moves the fewest pictures when some are added.
        chosen = min(hashes) if not any(held) else max(hashes)
        held = [flag ^ (digest == chosen) for flag, digest in zip(held, hashes)]
        name = pictures[hashes.index(chosen)][0]
        side = "validation" if held[hashes.index(chosen)] else "training"
        notes.append(f"few pictures: {name} was put on the {side} side, which was empty")
    return Source(
        training=PictureStore.of(p for p, flag in zip(pictures, held) if not flag),
        validation=PictureStore.of(p for p, flag in zip(pictures, held) if flag),
        skipped=tuple(skipped),
        notes=tuple(notes),
    )


def _content_hash(picture: np.ndarray) -> bytes:
    """Hashes size and pixels: a copy or a lossless re-encoding of a picture hashes the same."""
    digest = hashlib.sha256(f"{picture.shape[0]}x{picture.shape[1]}:".encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def _hash_below(fraction: float) -> Callable[[str, bytes], bool]:
    """Holds a picture out by its content alone, so that adding files never moves another one."""
    return lambda _, digest: int.from_bytes(digest[:8], "big") < fraction * 2**64


def _is_bundled_validation(name: str, _: bytes) -> bool:
    return name in BUNDLED_VALIDATION


def bundled_folder() -> pathlib.Path:
    """Returns the folder of scikit-image's pictures."""
    import skimage

    return pathlib.Path(skimage.__file__).parent / "data"


def _bundled_pictures() -> list[tuple[str, np.ndarray]]:
    folder = bundled_folder()
    names = (*BUNDLED_TRAINING, *BUNDLED_VALIDATION)
    return [(name, images.read_rgb(folder / name)) for name in names]


def _folder_pictures(data: str) -> list[tuple[str, np.ndarray | str]]:
    """Decodes a folder on all cores; the reason stands for a picture that cannot be read."""
    paths = images.list_pictures(data)

    def read(path: pathlib.Path) -> np.ndarray | str:
        try:
            return images.read_rgb(path)
        except ValueError as error:
            return reason(error)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = list(pool.map(read, paths))
    return [(str(path.relative_to(data)), picture) for path, picture in zip(paths, decoded)]
