"""One picture file through a model: read, restored picture by picture, and written again.

A file may hold many pictures: the pages of a stack, the pictures of an animation. Each is read when
the one before it is written, so that no stack is in memory as a whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from tf_deconv.data import levels
from tf_deconv.data.shards.records import Place
from tf_deconv.images import arrays, formats, reading, value_range, writing
from tf_deconv.images.files import Job, Picture
from tf_deconv.images.transparency import fill_hidden
from tf_deconv.images.value_range import ValueRange
from tf_deconv.inference import shipped
from tf_deconv.inference.artifacts import keeps_grey
from tf_deconv.inference.in_turn import Steps, Told
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.utils import files

# Pages that are looked at to learn which values a stack has; all of a smaller one.
_SAMPLED_PAGES = 64
# ModelPixelScaleTag of GeoTIFF 1.1 (OGC 19-008r4): how large a pixel is on the ground.
_PIXEL_SCALE_TAG = 33550


@dataclasses.dataclass(frozen=True)
class FileOptions:
    """How picture files are read and written.

    Attributes:
      max_pixels: Larger pictures are refused, read or written.
      values: Which values are black and white.
      quality: 1 to 100 for formats with loss; None: nearly none.
      levels: What the model's training took for black and white, by sample type, as a manifest
        records it (`data.levels.recorded`); None: nothing of its own.
    """

    max_pixels: int = reading.MAX_PIXELS
    values: ValueRange = value_range.AUTO
    quality: int | None = None
    levels: Any = None

    def values_for(self, dtype: np.dtype, notes: list[str]) -> ValueRange:
        """Returns which values of a file are black and white: what the user says, or training."""
        if self.values.kind != "auto":
            return self.values
        learned = levels.for_type(self.levels, dtype)
        if learned is None:
            return self.values
        if learned == levels.default_levels(levels.kind_of(dtype)):
            return value_range.FULL
        low, high = learned
        notes.append(f"the values {low:.6g} to {high:.6g} were taken as 0 to 1, as in training")
        return ValueRange("fixed", low, high)


@dataclasses.dataclass
class _Read:
    """A file whose head was looked at, and which was read where it holds one picture.

    Attributes:
      job: From where to where.
      kind: The type to write.
      count: Number of pictures to write.
      picture: The picture; None of a stack, which is read while it is restored.
      notes: What is to be said.
    """

    job: Job
    kind: str
    count: int
    picture: Picture | None
    notes: list[str]


@dataclasses.dataclass
class _Restored:
    """A picture to write; None where it was written already, page by page."""

    read: _Read
    picture: Picture | None
    told: Told


def steps_of(restorer: Restorer, options: FileOptions, task: str | None = None) -> Steps:
    """Returns what is done with each file, for `restore_in_turn`.

    Args:
      restorer: The model.
      options: How files are read and written.
      task: What the model was trained for, where that is recorded.
    """
    return Steps(
        functools.partial(_measure, restorer.artifact.scale),
        functools.partial(_read, restorer.artifact.scale, options),
        functools.partial(_restore, restorer, options, task),
        functools.partial(_write, options),
    )


def restore_file(
    restorer: Restorer,
    job: Job,
    options: FileOptions,
    progress: Callable[[float], None] | None = None,
    task: str | None = None,
) -> tuple[tuple[str, ...], str]:
    """Restores one file.

    Args:
      restorer: The model.
      job: From where to where; folders on the way are made.
      options: How files are read and written.
      progress: Receives the part that is done, in [0, 1].
      task: What the model was trained for, where that is recorded.
    Returns:
      What could not be kept, one line each; and what happens to such pictures where one is grey
      and the model colour, or the other way round, else "".
    Raises:
      ValueError, OSError, MemoryError, UserError: if it cannot be read, restored or written.
    """
    steps = steps_of(restorer, options, task)
    told = steps.write(steps.restore(steps.read(job), progress or (lambda part: None)))
    return told.notes, told.conversion


def _measure(scale: int, job: Job) -> int:
    """Returns the larger of the pixels of a picture and of its result; 0 where no header tells."""
    if isinstance(job.source, Place):
        return 0  # Its header is behind a read of its shard.
    try:
        header = reading.read_header(job.source)
    except Exception:  # Whoever reads it says what is wrong.
        return 0
    return header.height * header.width * scale * scale


def _read(scale: int, options: FileOptions, job: Job) -> _Read:
    """Reads a file, or the head of a stack."""
    with file_of(job.source) as path, reading.open_pictures(path, options.max_pixels) as file:
        header = file.header
        kind = job.format or formats.FORMATS[header.format].writes
        for height, width in header.sizes or ((header.height, header.width),):
            if height * width * scale * scale > options.max_pixels:
                raise ValueError(
                    f"{width}x{height} pixels become {width * scale}x{height * scale}: more than"
                    f" --max-pixels {options.max_pixels}"
                )
            writing.check_size(height * scale, width * scale, kind)
        if header.count > 1 and writing.holds_several(kind):
            return _Read(job, kind, header.count, None, [])
        notes: list[str] = []
        picture = file.read(0, options.values_for(header.dtype, notes))
        notes += picture.notes
        if header.count > 1:
            notes.append(
                f"{kind} holds one picture: of {header.count} in the file, the first was restored"
            )
        return _Read(job, kind, 1, picture, notes)


def _restore(
    restorer: Restorer,
    options: FileOptions,
    task: str | None,
    read: _Read,
    progress: Callable[[float], None],
) -> _Restored:
    """Takes a picture through the model; a stack page by page, which it also writes."""
    if read.picture is None:
        return _Restored(read, None, _restore_stack(restorer, options, task, read, progress))
    picture, read.picture = read.picture, None  # Let go before the result is encoded.
    height, width = picture.pixels.shape[:2]
    tiles = restorer.describe_tiles(height, width, picture.pixels.dtype)
    result, conversion = restore_picture(restorer, picture, progress, task, read.notes)
    return _Restored(read, result, Told(height * width, (), conversion, tiles))


def _restore_stack(
    restorer: Restorer,
    options: FileOptions,
    task: str | None,
    read: _Read,
    progress: Callable[[float], None],
) -> Told:
    conversions: list[str] = []
    pixels, tiles = 0, ""
    with file_of(read.job.source) as path, reading.open_pictures(path, options.max_pixels) as file:
        values = options.values_for(file.header.dtype, read.notes)
        values = _values_of(file, read.count, values, read.notes)

        def restored() -> Iterator[Picture]:
            nonlocal pixels, tiles
            for number in range(read.count):
                try:
                    picture = file.read(number, values)
                    read.notes.extend(picture.notes)
                    height, width = picture.pixels.shape[:2]
                    pixels += height * width
                    tiles = restorer.describe_tiles(height, width, picture.pixels.dtype)
                    share = _share(progress, number, read.count)
                    result, conversion = restore_picture(restorer, picture, share, task, read.notes)
                except ValueError as error:
                    raise ValueError(f"picture {number + 1} of {read.count}: {error}") from error
                conversions.append(conversion)
                del picture
                yield result

        notes = _put(read, restored(), options)
    pages = f"{read.count} pictures, the last: {tiles}"
    return Told(pixels, notes, next(filter(None, conversions), ""), pages)


def _write(options: FileOptions, restored: _Restored) -> Told:
    if restored.picture is None:
        return restored.told
    notes = _put(restored.read, iter([restored.picture]), options)
    return dataclasses.replace(restored.told, notes=notes)


def _put(read: _Read, pictures: Iterator[Picture], options: FileOptions) -> tuple[str, ...]:
    """Writes a file; returns all that is to be said of it."""
    target = read.job.target
    target.parent.mkdir(parents=True, exist_ok=True)
    written = writing.write_pictures(pictures, read.count, read.kind, target, options.quality)
    return tuple(dict.fromkeys((*read.notes, *written)))


def _share(progress: Callable[[float], None], number: int, count: int) -> Callable[[float], None]:
    return lambda part: progress((number + part) / count)


def _values_of(
    file: reading.PictureFile, count: int, values: ValueRange, notes: list[str]
) -> ValueRange:
    """Decides the values of a whole stack: its pages are never scaled one unlike another."""
    undecided = values.kind == "percentile" or (
        values.kind == "auto" and file.header.dtype != np.uint8 and file.header.dtype.kind in "iu"
    )
    if count == 1 or not undecided:
        return values
    step = -(-count // _SAMPLED_PAGES)
    samples = []
    for number in range(0, count, step):
        page = file.read_raw(number).reshape(-1)
        samples.append(
            page[:: max(1, page.size // 2**16)]
            if values.kind == "percentile"
            else np.array([page.min(), page.max()])
        )
    found, note = value_range.find_levels(np.concatenate(samples), values)
    if note:
        notes.append(note)
    return value_range.FULL if found is None else ValueRange("fixed", *found)


def restore_picture(
    restorer: Restorer,
    picture: Picture,
    progress: Callable[[float], None] | None,
    task: str | None,
    notes: list[str],
) -> tuple[Picture, str]:
    """Restores one picture with all that it carries.

    Args:
      restorer: The model.
      picture: As it was read; its pixels may be written over.
      progress: Receives the part that is done, in [0, 1].
      task: What the model was trained for, where that is recorded.
      notes: Receives what could not be kept.
    Returns:
      The result, and what `choose_conversion` says.
    """
    artifact, alpha, pixels = restorer.artifact, picture.alpha, picture.pixels
    scale, height, width = artifact.scale, *picture.pixels.shape[:2]
    as_grey, conversion = choose_conversion(pixels.shape[-1], artifact, task)
    known = picture.known_alpha and alpha is not None
    given = pixels
    if artifact.channels_in == 4 and known:
        if pixels.shape[-1] == 1:
            pixels = np.broadcast_to(pixels, (height, width, 3))
        pixels, alpha = np.concatenate([pixels, alpha], axis=-1), None
    elif known:
        pixels = fill_hidden(pixels, alpha)
        hidden = alpha[..., 0] == 0
        if pixels is given and hidden.any():
            pixels = given.copy()
    if pixels.dtype.kind == "f":
        # The network learned [0, 1]; what lies beyond is added again.
        pixels = np.clip(pixels, 0, 1)
    # Nobody else has the picture: where the result fits, it is written over it.
    result = restorer.restore(pixels, progress, as_grey, True)
    if result.dtype.kind == "f":
        result = _with_excess(result, given, picture.levels, notes)
    if known and alpha is not None and scale == 1 and given.shape[-1] in (1, result.shape[-1]):
        result[hidden] = given[hidden]
    if alpha is not None:
        alpha = enlarge(alpha, scale) if scale > 1 else np.ascontiguousarray(alpha)
    changes = dict(pixels=result, alpha=alpha)
    if scale > 1:
        changes.update(_enlarged_fields(picture, scale))
    return dataclasses.replace(picture, **changes), conversion


def _with_excess(
    result: np.ndarray, given: np.ndarray, scaled: value_range.Levels | None, notes: list[str]
) -> np.ndarray:
    """Adds what of the picture lay beyond the range, as far as it can be told where it belongs."""
    if scaled is None:
        return np.clip(result, 0, 1)
    excess = given - np.clip(given, 0, 1)
    if not excess.any():
        return result
    if result.shape[:2] != given.shape[:2] or result.shape[-1] < given.shape[-1]:
        notes.append("values beyond the range were clipped to it")
        return result
    return result + excess


def _enlarged_fields(picture: Picture, scale: int) -> dict:
    """Returns what has to change in what a picture carries when it has more pixels."""
    changes: dict = {}
    if picture.resolution is not None:
        x, y, unit = picture.resolution
        # As large on paper, or under the microscope, as before.
        factor = 1 if unit == "none" else scale
        changes["resolution"] = (x * factor, y * factor, unit)
    if picture.tiff is not None:
        tags = tuple(
            (*tag[:3], tuple(value / scale for value in tag[3][:2]) + tuple(tag[3][2:]))
            if tag[0] == _PIXEL_SCALE_TAG and isinstance(tag[3], tuple)
            else tag
            for tag in picture.tiff.tags
        )
        changes["tiff"] = dataclasses.replace(picture.tiff, tags=tags)
    return changes


@contextlib.contextmanager
def file_of(source: pathlib.Path | Place) -> Iterator[pathlib.Path]:
    """Yields the picture's file; one in a shard becomes one, so that all are read alike."""
    if not isinstance(source, Place):
        if what := files.special(source):
            raise ValueError(f"is {what}: expected a picture file")
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "picture" + source.suffix)
        file.write_bytes(source.read())
        yield file


def choose_conversion(channels: int, artifact: Artifact, task: str | None) -> tuple[bool, str]:
    """Decides what happens where a grey picture meets a colour model, or the other way round.

    Args:
      channels: Of the picture without transparency, 1 or 3.
      artifact: The model.
      task: What it was trained for; None where that is not known.
    Returns:
      Whether the result is written as grey though the model gives colour, and what is said.
    """
    if channels == 3 and artifact.channels_in == 1:
        if artifact.channels_out == 3:
            return False, "colour pictures: the model sees grey alone, and makes its own colours"
        twin = shipped.MODELS[task].in_colour if task in shipped.MODELS else None
        hint = f"; {twin} keeps colours" if twin else ""
        return False, f"colour pictures: the model takes and gives grey alone{hint}"
    if channels == 3 and artifact.channels_out == 1:
        return False, "colour pictures: the model gives grey alone"
    if channels == 1 and artifact.channels_in > 1:
        as_grey = keeps_grey(task) or artifact.channels_out == 1
        written = "grey again" if as_grey else "in colour"
        return as_grey, f"grey pictures: repeated in three channels, and written {written}"
    return False, ""


def enlarge(alpha: np.ndarray, scale: int) -> np.ndarray:
    """Enlarges (H, W, 1) uint8 or uint16 by bicubic interpolation."""
    size = (alpha.shape[1] * scale, alpha.shape[0] * scale)
    plane = Image.fromarray(arrays.as_unit(alpha[..., 0]))
    enlarged = np.asarray(plane.resize(size, Image.Resampling.BICUBIC))
    return arrays.as_pixels(enlarged, alpha.dtype)[..., np.newaxis]
