"""Clips cut out of the user's films, and of their sequences of frames, which stay on disk.

A film is opened once, for its size, its length and the places of its key frames. A clip is then
decoded from a key frame on, so a source may be larger than memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from tf_deconv.data.sources import hold_out
from tf_deconv.images import arrays, formats, picture_file
from tf_deconv.images import reading as pictures
from tf_deconv.images.arrays import CHANNELS, is_grey, printable
from tf_deconv.utils.options import UserError, reason
from tf_deconv.video import containers, reading

# The picture by which a film is known: the first that is not all of one colour, of so many.
_LOOKED_AT, _FLAT_STDDEV = 100, 2.0
# Most frames that are decoded between a key frame and a clip.
_MOST_LEFT_OUT = 24
# How often another place is drawn where a film cannot be read.
_TRIES = 8
# Neighbours in a sequence are alike, unlike the photographs of a camera, whose files are numbered
# too: least correlation of so many pairs, made this small.
_PAIRS, _THUMBNAIL_PX, _LEAST_ALIKE = 5, 16, 0.7

# What reading a film or a picture may fail with.
_FAULTS = (OSError, ValueError, UserError)
_NUMBERED = re.compile(r"(.*?)(\d+)")


@dataclasses.dataclass(frozen=True)
class FilmFile:
    """A film, or a sequence of frames, on disk.

    Attributes:
      name: Its path below the source, as it can be printed.
      path: Of the film, or of the folder of the sequence.
      height: In pixels, upright.
      width: In pixels.
      frames: How many there are, as far as the file tells.
      digest: Of its content.
      grey: Whether it has no colour, as far as was looked.
      starts_s: Times from which clips are decoded, of key frames; () of a sequence.
      rate: Frames in a second; 0 of a sequence.
      paths: The frames of a sequence.
    """

    name: str
    path: pathlib.Path
    height: int
    width: int
    frames: int
    digest: bytes
    grey: bool
    starts_s: tuple[float, ...] = ()
    rate: float = 0.0
    paths: tuple[pathlib.Path, ...] = ()

    def read(self, start: float | None = None) -> Iterator[np.ndarray]:
        """Decodes frames.

        Args:
          start: Where to begin, in seconds, or the number of a frame of a sequence; None: at the
            beginning.
        Yields:
          (H, W, 3) uint8, upright.
        Raises:
          UserError: if it cannot be decoded, or frames change their size.
        """
        if not self.paths:
            for frame in reading.frames(self.path, start):
                yield _to_uint8(frame.pixels)
            return
        for path in self.paths[int(start or 0) :]:
            frame = _read_picture(path)
            if frame.shape[:2] != (self.height, self.width):
                size = f"{frame.shape[1]}x{frame.shape[0]}"
                raise UserError(
                    f"{path.name} has {size} pixels, the first frame {self.width}x{self.height}"
                )
            yield frame

    def draw_start(self, random: np.random.Generator, frames: int) -> float | None:
        """Draws from where so many frames can be read."""
        if self.paths:
            return int(random.integers(0, len(self.paths) - frames + 1))
        if not self.starts_s:
            return None
        # From a key frame on, which is as far from the end as the clip is long. Some frames after
        # it are left out, as a film may have few key frames.
        last = (self.frames - frames) / self.rate if self.rate else 0.0
        usable = sum(start <= last for start in self.starts_s)
        key = self.starts_s[int(random.integers(0, max(1, usable)))]
        left_out = random.integers(0, _MOST_LEFT_OUT + 1) / self.rate if self.rate else 0.0
        return max(0.0, min(key + left_out, last))


@dataclasses.dataclass
class FoundFilms:
    """What a source of films holds.

    Attributes:
      films: The usable ones.
      skipped: "name: reason" of the others.
      failures: Those of them that are faults: all but films that are too small or too short.
      notes: Lines for the user.
      data: The source.
    """

    films: list[FilmFile]
    skipped: list[str]
    failures: list[str]
    notes: list[str]
    data: str

    def split(self, share: float) -> tuple[list[FilmFile], list[FilmFile], list[str]]:
        """Splits whole films by content: training, validation and notes.

        Args:
          share: Expected share of films held out, in (0, 1).
        Raises:
          UserError: if there are not two different ones.
        """
        digests = [film.digest for film in self.films]
        if len(set(digests)) < 2:
            raise UserError(
                f"{self.data!r} holds {len(digests)} usable film(s), all the same: expected at"
                " least 2 different ones, so that one can be held out to measure on"
            )
        held, notes = hold_out([film.name for film in self.films], digests, share)
        sides: tuple[list[FilmFile], list[FilmFile]] = ([], [])
        for film, flag in zip(self.films, held):
            sides[flag].append(film)
        return *sides, notes


class FilmStore:
    """Clips cut out of films; see `clips.ClipStore`.

    Attributes:
      films: The films.
      shrink: Smallest and largest number of a film's pixels for each of a clip; smaller films give
        less.
    """

    def __init__(self, films: Sequence[FilmFile], shrink: tuple[float, float] = (1.0, 3.0)):
        self.films = tuple(films)
        self.shrink = shrink

    def __len__(self) -> int:
        return len(self.films)

    @property
    def names(self) -> tuple[str, ...]:
        """The films' names."""
        return tuple(film.name for film in self.films)

    @property
    def grey(self) -> bool:
        """Whether no film has colour, as far as was looked."""
        return all(film.grey for film in self.films)

    def sha256(self) -> str:
        """Returns a hash of every film's content."""
        return hashlib.sha256(b"".join(film.digest for film in self.films)).hexdigest()

    def clip(
        self, key: Sequence[int], frames: int, patch_size: int, candidates: int = 1
    ) -> np.ndarray:
        """Cuts a clip out of a film; where one cannot be read, out of another one.

        Args:
          key: Integers of at least 0; each key has a clip of its own.
          frames: How many.
          patch_size: Height and width in pixels; no film has a shorter side.
          candidates: Places drawn in the film, of which the one with the most detail is taken.
        Returns:
          (frames, patch_size, patch_size, 3) uint8; half of them run backwards.
        Raises:
          UserError: if no film can be read any more.
        """
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence(list(map(int, key)))))
        faults = []
        for _ in range(_TRIES):
            film = self.films[int(random.integers(0, len(self.films)))]
            start = film.draw_start(random, frames)
            # Drawn in any case: what comes next does not depend on what could be read.
            low, high = self.shrink
            scale = low * (high / low) ** random.random()
            scale = min(scale, min(film.height, film.width) / patch_size)
            places = random.random((candidates, 2))
            backwards, orientation = random.random() < 0.5, int(random.integers(0, 8))
            try:
                with contextlib.closing(film.read(start)) as read:
                    cut = _cut(read, frames, patch_size, scale, places)
            except _FAULTS as error:
                faults.append(f"{film.name}: {reason(error)}")
                continue
            if len(cut) < frames:
                faults.append(f"{film.name}: {len(cut)} frames where {frames} were expected")
                continue
            cut = cut[::-1] if backwards else cut
            return np.stack([arrays.oriented(frame, orientation) for frame in cut])
        raise UserError(f"films cannot be read any more: {faults[0]}")


def holds_films(data: str) -> bool:
    """Returns whether a source is a film, or a folder that holds films or sequences of frames.

    Folders of numbered pictures are sequences where each picture resembles the next one.
    """
    path = pathlib.Path(data)
    try:
        if path.is_file():
            return reading.is_film(path)
        if not path.is_dir():
            return False
        listed = _list(path)
    except OSError:
        return False
    if listed.films:
        return True
    folders = [paths for folder, paths in listed.pictures.items() if folder != path]
    if not folders or path in listed.pictures:
        return False
    return all(_is_sequence(paths) and _are_alike(paths) for paths in folders)


def open_films(data: str, frames: int, patch_size: int, max_pixels: int) -> FoundFilms:
    """Opens each film, and each folder of numbered pictures, below a folder.

    Args:
      data: A folder, or a film.
      frames: Shorter films are skipped.
      patch_size: Films with a side under this many pixels are skipped.
      max_pixels: Films with more pixels in a frame are skipped.
    Returns:
      At least one film.
    Raises:
      UserError: if nothing usable is there.
    """
    folder = pathlib.Path(data)
    found = FoundFilms([], [], [], [], data)
    try:
        if folder.is_file():
            listed = _Listed([folder], {}, [], 0)
        elif folder.is_dir():
            listed = _list(folder)
        else:
            raise UserError(f"data {data!r} does not exist: expected a folder of films, or a film")
    except OSError as error:
        raise UserError(f"data {data!r} cannot be read: {reason(error)}") from error
    base = folder if folder.is_dir() else folder.parent
    alone = 0
    entries: list[tuple[pathlib.Path, tuple[pathlib.Path, ...]]] = [
        (path, ()) for path in listed.films
    ]
    for place, paths in listed.pictures.items():
        if _is_sequence(paths):
            entries.append((place, tuple(_ordered(paths))))
        else:
            alone += len(paths)
    for path, paths in sorted(entries):
        name = printable(os.path.relpath(path, base)) if path != base else printable(path.name)
        try:
            film = (
                _open_sequence(name, path, paths, max_pixels)
                if paths
                else _open_film(name, path, max_pixels)
            )
        except _FAULTS as error:
            found.failures.append(f"{name}: {reason(error)}")
            continue
        fault = _too_small(film, frames, patch_size)
        if fault:
            found.skipped.append(f"{name}: {fault}")
        else:
            found.films.append(film)
    for path, why in listed.unread:
        found.failures.append(f"{printable(os.path.relpath(path, base))}: {why}")
    if alone:
        found.notes.append(
            f"{_counted(alone, 'picture')} that {'is' if alone == 1 else 'are'} no numbered"
            f" {'frame' if alone == 1 else 'frames'} of a film: left alone"
        )
    if listed.others:
        others = listed.others
        found.notes.append(
            f"{_counted(others, 'file')} that {'is' if others == 1 else 'are'} no"
            f" {'film' if others == 1 else 'films'}: left alone"
        )
    if listed.written:
        found.notes.append(f"{formats.words_of_written(listed.written)}: left alone")
    found.skipped = sorted(found.skipped + found.failures)
    if not found.films:
        first = f": {found.skipped[0]}" if found.skipped else ""
        raise UserError(
            f"{data!r} holds no film that can be used{first}; expected films, or a folder of"
            " numbered pictures for each film"
        )
    sequences = sum(bool(film.paths) for film in found.films)
    found.notes.insert(
        0,
        f"{_counted(len(found.films) - sequences, 'film')} and"
        f" {_counted(sequences, 'sequence')} of pictures,"
        f" {_counted(sum(film.frames for film in found.films), 'frame')}",
    )
    return found


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _too_small(film: FilmFile, frames: int, patch_size: int) -> str | None:
    if film.frames < frames:
        are = "frame is" if film.frames == 1 else "frames are"
        return f"{film.frames} {are} fewer than the {frames} of a clip"
    if min(film.height, film.width) < patch_size:
        return f"{film.width}x{film.height} is smaller than a clip, {patch_size}x{patch_size}"
    return None


# --- What lies in a folder.


@dataclasses.dataclass
class _Listed:
    """Films below a folder, its pictures by the folder that they lie in, and other files.

    Attributes:
      films: Films that are read, as far as their first bytes tell.
      pictures: Pictures, by their folder.
      unread: Films that are not read, and why.
      others: Number of files that are neither.
      written: Number of folders that this program wrote, which are left alone.
    """

    films: list[pathlib.Path]
    pictures: dict[pathlib.Path, list[pathlib.Path]]
    unread: list[tuple[pathlib.Path, str]]
    others: int
    written: int = 0


def _list(folder: pathlib.Path) -> _Listed:
    """Sorts files by their first bytes; hidden ones are left alone, and what `is_written`."""
    listed = _Listed([], {}, [], 0)
    for place, folders, names in os.walk(folder, followlinks=True):
        if pathlib.Path(place) != folder and formats.is_written([*folders, *names]):
            folders.clear()
            listed.written += 1
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = pathlib.Path(place, name)
            if name.startswith("."):
                continue
            if reading.is_film(path):
                listed.films.append(path)
                continue
            try:
                kind = formats.sniff_file(path)
            except (OSError, ValueError) as error:  # A link that leads nowhere, or a pipe.
                listed.unread.append((path, reason(error)))
                continue
            if kind in formats.FORMATS:
                listed.pictures.setdefault(pathlib.Path(place), []).append(path)
            elif kind in formats.UNREAD_FILMS:
                listed.unread.append((path, formats.refusal(kind, 1)))
            elif path.suffix.lower() in containers.SUFFIXES:
                state = "is no film" if path.stat().st_size else "is an empty file"
                listed.unread.append((path, f"{state}, though it is named as a film"))
            else:
                listed.others += 1
    return listed


def _is_sequence(paths: Sequence[pathlib.Path]) -> bool:
    """Returns whether names are one word and numbers that follow each other in equal steps."""
    parts = [_NUMBERED.fullmatch(path.stem) for path in paths]
    if len(paths) < 2 or not all(parts):
        return False
    if len({(part[1], path.suffix) for part, path in zip(parts, paths) if part}) > 1:
        return False
    numbers = sorted(int(part[2]) for part in parts if part)
    return len(set(np.diff(numbers).tolist())) == 1 and numbers[1] > numbers[0]


def _ordered(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Sorts by number: 10 comes after 9."""

    def number(path: pathlib.Path) -> int:
        part = _NUMBERED.fullmatch(path.stem)
        return int(part[2]) if part else 0

    return sorted(paths, key=number)


def _are_alike(paths: Sequence[pathlib.Path]) -> bool:
    """Returns whether most neighbours in a sequence show nearly the same."""
    ordered = _ordered(paths)
    places = np.unique(np.linspace(0, len(ordered) - 2, _PAIRS).astype(int))
    alike = []
    for place in places:
        try:
            pair = [_thumbnail(ordered[place + step]) for step in (0, 1)]
        except _FAULTS:
            continue
        differences = float(np.abs(pair[0] - pair[1]).mean())
        if differences < 1.0:  # Also of two that are flat, which have no correlation.
            alike.append(True)
        elif min(each.std() for each in pair) > 0:
            alike.append(float(np.corrcoef(*(each.ravel() for each in pair))[0, 1]) > _LEAST_ALIKE)
        else:
            alike.append(False)
    return bool(alike) and sum(alike) > len(alike) / 2


def _thumbnail(path: pathlib.Path) -> np.ndarray:
    image = Image.fromarray(_read_picture(path)).convert("L")
    return np.asarray(image.resize((_THUMBNAIL_PX,) * 2, Image.Resampling.BOX), np.float64)


# --- Opening.


def _open_film(name: str, path: pathlib.Path, max_pixels: int) -> FilmFile:
    with reading.open_film(path, max_pixels) as film:
        turned = film.orientation % 2 == 1
        height, width = (film.width, film.height) if turned else (film.height, film.width)
        starts_s = _key_times(film)
        count, rate = film.count, float(film.rate or 0)
    own = FilmFile(name, path, height, width, count or 0, b"", False, starts_s, rate)
    digest, grey = _identify(own.read())
    if not count:  # A file that was not finished tells nothing.
        count = sum(1 for _ in own.read())
    return dataclasses.replace(own, digest=digest, grey=grey, frames=count)


def _key_times(film: reading.Film) -> tuple[float, ...]:
    """Returns when key frames are shown, or seconds from which to look for them."""
    entries = film.stream.index_entries or ()
    keys = [
        max(0.0, float(film.time_of(entry.timestamp))) for entry in entries if entry.is_keyframe
    ]
    if keys:
        return tuple(sorted(set(keys)))
    if not film.duration_s:
        return (0.0,)
    return tuple(np.arange(0.0, float(film.duration_s), 1.0).tolist())


def _open_sequence(
    name: str, path: pathlib.Path, paths: tuple[pathlib.Path, ...], max_pixels: int
) -> FilmFile:
    header, _ = pictures.read_head(paths[0])
    if header.height * header.width > max_pixels:
        raise ValueError(f"{header.width}x{header.height} is more than {max_pixels} pixels")
    first = FilmFile(name, path, header.height, header.width, len(paths), b"", False, paths=paths)
    digest, grey = _identify(first.read())
    return dataclasses.replace(first, digest=digest, grey=grey)


def _identify(frames: Iterator[np.ndarray]) -> tuple[bytes, bool]:
    """Returns what tells a film from another one, and whether it is grey.

    Films often begin with black, so that is not what they are told by.
    """
    with contextlib.closing(frames):
        frame = None
        for frame in itertools.islice(frames, _LOOKED_AT):
            if frame.std() > _FLAT_STDDEV:
                break
    if frame is None:
        raise ValueError("has no frames")
    shape = f"{frame.shape[0]}x{frame.shape[1]}:".encode()
    return hashlib.sha256(shape + frame.tobytes()).digest(), is_grey(frame)


# --- Pixels.


def _read_picture(path: pathlib.Path) -> np.ndarray:
    with picture_file.quiet(), pictures.open_pictures(path, 2**31) as file:
        return _to_uint8(file.read_raw(0))


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.dtype == np.uint8 else arrays.to_uint8(arrays.as_unit(pixels))


def _cut(
    frames: Iterator[np.ndarray], count: int, side: int, scale: float, places: np.ndarray
) -> list[np.ndarray]:
    """Cuts a square out of the first frames, at the place with the most detail, and resizes it.

    Args:
      frames: (H, W, 3) uint8.
      count: How many are wanted.
      side: Of the clip, in pixels.
      scale: Pixels of a frame for each of the clip.
      places: (candidates, 2) in [0, 1): of the room that is left.
    """
    clip: list[np.ndarray] = []
    box = None
    for frame in itertools.islice(frames, count):
        if box is None:
            box = _choose_box(frame, round(side * scale), places)
        cut = frame[box[0], box[1]]
        if cut.shape[0] != side:
            image = Image.fromarray(np.ascontiguousarray(cut))
            cut = np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))
        clip.append(np.array(cut))
    return clip


def _choose_box(frame: np.ndarray, side: int, places: np.ndarray) -> tuple[slice, slice]:
    side = min(side, *frame.shape[:2])
    best, most = None, -1.0
    for place in places:
        top, left = (int(share * (length - side + 1)) for share, length in zip(place, frame.shape))
        box = slice(top, top + side), slice(left, left + side)
        if len(places) == 1:
            return box
        green = frame[box][::2, ::2, CHANNELS // 2].astype(np.int16)
        detail = sum(float(np.abs(np.diff(green, axis=axis)).mean()) for axis in (0, 1))
        if detail > most:
            best, most = box, detail
    if best is None:
        raise ValueError("no place was drawn")
    return best
