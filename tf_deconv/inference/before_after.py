"""A sheet of restored pictures and films: before and after, whole and, where most is seen, 1:1.

It is made of the files, so it shows what was read and what was written, by whatever engine; of many
pictures it shows some, from the first to the last. Of a film it shows a strip: what stands at one
place at several times, before and below it after.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from tf_deconv.images import arrays, picture_file, reading, sheets
from tf_deconv.images.files import Job, Picture
from tf_deconv.images.value_range import AUTO, FULL, ValueRange
from tf_deconv.inference.picture_job import FileOptions, file_of
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason
from tf_deconv.video.reading import Frame, frames, open_film

# More rows would be a picture that few programs open.
MOST_ROWS = 12
# Films on a sheet, each of which takes two rows; and the times at which one is shown.
_MOST_FILMS, _TIMES = 4, 3
# How long a frame may be shown, and how far the times of two containers are apart, in seconds.
_LONGEST_FRAME_S, _NEAR_S = 1.0, 0.002
# Side of a whole picture, and of what is shown 1:1.
_SIDE_PX = 224
# The place to show is found to this many pixels; noise of single pixels is averaged over them.
_CELL_PX = 4
_LONGEST_NAME = 34
_JPEG_QUALITY = 92


def check_sheet(sheet: str, jobs: Sequence[Job], replaces: bool) -> pathlib.Path:
    """Returns where the sheet goes.

    Args:
      sheet: The file that --sheet names.
      jobs: The pictures.
      replaces: Whether a file that is there may be written anew.
    Raises:
      UserError: if it is there, or would take the place of a picture.
    """
    path = pathlib.Path(sheet)
    taken = [place for job in jobs for place in (job.source, job.target)]
    if any(isinstance(place, pathlib.Path) and _is_same(path, place) for place in taken):
        raise UserError(f"sheet={sheet!r} is one of the pictures: expected another file")
    if path.is_dir():
        raise UserError(f"sheet={sheet!r} is a folder: expected a file")
    if path.exists() and not replaces:
        raise UserError(
            f"sheet={sheet!r} is there already: choose another --sheet, or add --overwrite"
        )
    return path


def write_sheet(
    path: pathlib.Path,
    jobs: Sequence[Job],
    options: FileOptions,
    report: Callable[[str], None],
    made_by: str = "",
    films: Sequence[Job] = (),
    start_s: float = 0.0,
) -> None:
    """Writes the sheet.

    Args:
      path: The file; its folder exists.
      jobs: Pictures that are restored.
      options: How their files were read.
      report: Receives what became of it, and what cannot be shown.
      made_by: Model and strength, for the title; "" where that is not known of all pictures.
      films: Films that are restored.
      start_s: Where in them restoring began, in seconds.
    """
    shown = _Rows(report)
    for job in _some(jobs, MOST_ROWS):
        with shown.of(job):
            shown.add([_row(*_read_pair(job, options), job)])
    of_pictures = shown.count
    for job in _some(films, _MOST_FILMS):
        with shown.of(job):
            shown.add(_strip(job, start_s, options.max_pixels))
    if not shown.count:
        return
    counts = [
        _count(number, len(among), word)
        for number, among, word in (
            (of_pictures, jobs, "pictures"),
            (shown.count - of_pictures, films, "films"),
        )
        if among
    ]
    count, everything = " and ".join(counts), len(jobs) + len(films)
    title = np.ones((1, 4 * _SIDE_PX, 3), np.float32)
    head = f"{made_by or count}: before and after"
    if made_by and shown.count < everything:
        head += f", {count}"
    sheet = sheets.contact_sheet([[title], *shown.rows], [[_in_latin(head)], *shown.captions])
    files.write_bytes(path, _encoded(sheet, path.suffix.lower()))
    report(f"sheet: {path} ({count})" if everything > 1 else f"sheet: {path}")


def _count(number: int, among: int, word: str) -> str:
    return f"{number} of {among} {word}" if number < among else f"all {word}"


class _Rows:
    """The rows of a sheet so far.

    Attributes:
      rows: Pictures of each.
      captions: A line for each of them.
      count: How many pictures and films are shown.
    """

    def __init__(self, report: Callable[[str], None]):
        self.rows: list[list[np.ndarray]] = []
        self.captions: list[list[str]] = []
        self.count, self._report = 0, report

    @contextlib.contextmanager
    def of(self, job: Job) -> Iterator[None]:
        """Tells of what cannot be read again."""
        try:
            yield
        except (OSError, ValueError, MemoryError, UserError) as error:
            why = error.message if isinstance(error, UserError) else reason(error)
            self._report(f"note: {arrays.printable(str(job.source))} is not on the sheet: {why}")

    def add(self, rows: Iterable[tuple[list[np.ndarray], list[str]]]) -> None:
        """Adds what shows one picture or film."""
        for pictures, texts in rows:
            self.rows.append(pictures)
            self.captions.append(texts)
        self.count += 1


def _some(jobs: Sequence[Job], count: int) -> list[Job]:
    """Returns at most `count` of the jobs, evenly from the first to the last."""
    if len(jobs) <= count:
        return list(jobs)
    return [jobs[round(number * (len(jobs) - 1) / (count - 1))] for number in range(count)]


def _read_pair(job: Job, options: FileOptions) -> tuple[np.ndarray, np.ndarray]:
    """Reads the first picture of both files, (H, W, 3) and (H', W', 3) uint8, of one brightness."""
    with file_of(job.source) as path, reading.open_pictures(path, options.max_pixels) as file:
        given = file.read(0, options.values_for(file.header.dtype, []))
        stored = file.header.dtype
    with reading.open_pictures(job.target, options.max_pixels) as file:
        # Values that are black and white in the one are so in the other.
        fixed = given.levels is not None and file.header.dtype == stored
        values = ValueRange("fixed", *given.levels) if fixed else AUTO
        if not fixed and file.header.dtype.kind in "iu":
            values = FULL
        restored = file.read(0, values)
    return _shown(given), _shown(restored)


def _shown(picture: Picture) -> np.ndarray:
    """Returns a picture as a screen shows it: (H, W, 3) uint8, over white."""
    pixels, alpha = picture.pixels, picture.alpha if picture.known_alpha else None
    if alpha is not None:
        pixels = picture_file.over_white(pixels, alpha)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = arrays.to_uint8(np.nan_to_num(pixels))
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _row(before: np.ndarray, after: np.ndarray, job: Job) -> tuple[list[np.ndarray], list[str]]:
    """Returns the four pictures of a row, and their captions."""
    height, width = after.shape[:2]
    enlarged = before.shape[:2] != (height, width)
    # An enlarged picture beside the one before at its own size would show two places.
    same = _resized(before, (width, height)) if enlarged else before
    # Of the picture before alone: sheets of two models or strengths show the same place.
    top, left = _most_textured(same)
    place = slice(top, top + _SIDE_PX), slice(left, left + _SIDE_PX)
    captions = [_short(job), "after", "before, 1:1", f"after, 1:1 at {left}, {top}"]
    if enlarged:
        captions[2] = f"before, {width / before.shape[1]:g} times as large"
    pictures = [_thumbnail(before), _thumbnail(after), same[place], after[place]]
    return [_on_paper(arrays.to_float(picture)) for picture in pictures], captions


def _short(job: Job) -> str:
    """Returns a name that fits above a picture."""
    short = _in_latin(arrays.printable(pathlib.PurePath(job.source.name).name))
    if len(short) <= _LONGEST_NAME:
        return short
    half = (_LONGEST_NAME - 3) // 2
    return f"{short[:half]}...{short[-half:]}"


def _strip(job: Job, start_s: float, max_pixels: int) -> list[tuple[list[np.ndarray], list[str]]]:
    """Returns the two rows of a film: a frame, and one place of it at several times."""
    with open_film(job.target, max_pixels) as film:
        lasts_s = float(film.duration_s or 0)
    times_s = [lasts_s * (2 * number + 1) / (2 * _TIMES) for number in range(_TIMES)]
    after = [_frame_at(job.target, time_s, max_pixels) for time_s in times_s]
    before = [_frame_at(job.source, start_s + float(frame.time_s), max_pixels) for frame in after]
    height, width = after[0].pixels.shape[:2]
    own = [_as_bytes(frame.pixels) for frame in before]
    enlarged = own[0].shape[:2] != (height, width)
    same = [_resized(frame, (width, height)) for frame in own] if enlarged else own
    top, left = _most_textured(same[0])
    place = slice(top, top + _SIDE_PX), slice(left, left + _SIDE_PX)
    rows = []
    for name, whole, parts in (
        (_short(job), own[0], same),
        ("after", _as_bytes(after[0].pixels), [_as_bytes(frame.pixels) for frame in after]),
    ):
        pictures = [_thumbnail(whole), *(part[place] for part in parts)]
        texts = [f"{float(frame.time_s):.2f} s" for frame in after]
        texts[0] = f"1:1 at {left}, {top}; {texts[0]}"
        rows.append(([_on_paper(arrays.to_float(each)) for each in pictures], [name, *texts]))
    return rows


def _frame_at(path: pathlib.Path, time_s: float, max_pixels: int) -> Frame:
    """Returns the frame that is shown at a time, or the last one before it."""
    found = None
    # A frame may be shown for a while: so it begins before.
    for frame in frames(path, max(0.0, time_s - _LONGEST_FRAME_S), None, max_pixels):
        if found is not None and frame.time_s > time_s + _NEAR_S:
            break
        found = frame
    if found is None:
        raise ValueError("no frame of it can be decoded")
    return found


def _as_bytes(pixels: np.ndarray) -> np.ndarray:
    return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels


def _in_latin(text: str) -> str:
    """Replaces what the font of the captions has not."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _most_textured(picture: np.ndarray) -> tuple[int, int]:
    """Returns top and left of the part of `_SIDE_PX` with the most edges; the middle of none."""
    height, width = picture.shape[:2]
    cells = np.asarray(Image.fromarray(picture).convert("L").reduce(_CELL_PX), np.float32)
    edges = np.zeros_like(cells)
    down, across = np.abs(np.diff(cells, axis=0)), np.abs(np.diff(cells, axis=1))
    # On either side of each, so that a part that has the edge has both.
    edges[1:] += down
    edges[:-1] += down
    edges[:, 1:] += across
    edges[:, :-1] += across
    high, wide = (min(_SIDE_PX // _CELL_PX, count) for count in cells.shape)
    sums = np.zeros((cells.shape[0] + 1, cells.shape[1] + 1))
    sums[1:, 1:] = edges.cumsum(0, np.float64).cumsum(1)
    parts = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    if not edges.any():
        return max(0, height - _SIDE_PX) // 2, max(0, width - _SIDE_PX) // 2
    top, left = np.unravel_index(np.argmax(parts), parts.shape)
    return (
        min(int(top) * _CELL_PX, max(0, height - _SIDE_PX)),
        min(int(left) * _CELL_PX, max(0, width - _SIDE_PX)),
    )


def _thumbnail(picture: np.ndarray) -> np.ndarray:
    """Returns a picture that fits into the side, never a larger one."""
    height, width = picture.shape[:2]
    part = min(1.0, _SIDE_PX / max(height, width))
    return _resized(picture, (max(1, round(width * part)), max(1, round(height * part))))


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes (H, W, 3) uint8 by bicubic interpolation; `size` is (width, height)."""
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _on_paper(picture: np.ndarray) -> np.ndarray:
    """Returns a picture on paper of the width of its column."""
    paper = np.ones((picture.shape[0], _SIDE_PX, 3), np.float32)
    paper[:, : picture.shape[1]] = picture
    return paper


def _encoded(sheet: np.ndarray, suffix: str) -> bytes:
    if suffix == ".png":
        return arrays.encode_png(sheet)
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return stream.getvalue()


def _is_same(one: pathlib.Path, other: pathlib.Path) -> bool:
    try:
        return one.resolve() == other.resolve()
    except OSError:
        return False
