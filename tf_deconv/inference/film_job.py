"""One film file through a model: looked at, restored in three threads, and written again.

One thread decodes, the calling one restores, and one encodes and writes; no more than a few frames
wait between them, so that memory does not grow with a film's length. What is written is a film, its
parts (`--resume`), or pictures (`--frames`): a sink for each.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import pathlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tf_deconv.images.files import Job
from tf_deconv.images.picture_file import over_white
from tf_deconv.inference.film_sinks import (
    FilmOptions,
    Sink,
    check_parts,
    container_for,
    open_sink,
)
from tf_deconv.inference.films import FilmModel, Session
from tf_deconv.inference.picture_job import enlarge
from tf_deconv.utils.options import UserError, reason
from tf_deconv.video import codecs, colour
from tf_deconv.video.reading import Film, open_film

# Frames that wait to be restored, and to be encoded.
WAITING = 2


@dataclasses.dataclass(frozen=True)
class FilmTold:
    """What became of a film.

    Attributes:
      frames: How many were restored now.
      before: How many were there already, from a run that was stopped.
      notes: What was not kept, one line each.
      damage: What of the film could not be decoded; None: nothing is wrong.
    """

    frames: int
    before: int
    notes: tuple[str, ...]
    damage: str | None


def look_at(job: Job, options: FilmOptions, scale: int | None = None) -> str:
    """Finds out whether a film can be restored, before any work is done.

    Args:
      job: From where to where.
      options: How it is read and written.
      scale: Output pixels per input pixel along each axis; None: no model is open yet, and what
        depends on it is not looked at.
    Returns:
      What it is, and how it is written.
    Raises:
      UserError: if it cannot be decoded, or written as it is wanted.
    """
    with open_film(job.source, options.max_pixels) as film:
        if scale is None:
            _check_start(film, options)
            _check_part(film, options)
        else:
            _check_size(film, scale, options)
        if options.frames is not None:
            _check_writable(options.frames)
            return film.describe()
        encoding, _ = codecs.plan_encoding(
            film, container_for(job.target), scale or 1, options.codec, options.crf
        )
        codecs.check_encoder(encoding)
        if scale is not None and options.resume:
            check_parts(job, options, encoding)
        quality = "" if encoding.codec.crf is None else f" crf {encoding.options['crf']}"
        return f"{film.describe()}; written in {encoding.codec.name}{quality}"


def _check_writable(folder: pathlib.Path) -> None:
    """Refuses a folder that can be neither made nor written, before any work is done."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f"folder {str(folder)!r} cannot be written: choose another --frames")


def restore_film(
    model: FilmModel,
    scale: int,
    job: Job,
    options: FilmOptions,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    shown: Callable[[int, np.ndarray, np.ndarray], None] | None = None,
    fills: bool = False,
) -> FilmTold:
    """Restores one film.

    Args:
      model: What restores frames.
      scale: Output pixels per input pixel along each axis.
      job: From where to where; folders on the way are made.
      options: How it is read and written.
      progress: Receives the number of frames that are restored, and of all, None if unknown.
      shown: Receives the number of each frame, and it before and after; both only until it returns.
      fills: Whether the model takes transparency as what is missing, and fills it in.
    Raises:
      UserError, OSError, MemoryError: if it cannot be read, restored or written.
    """
    with contextlib.ExitStack() as stack:
        film = stack.enter_context(open_film(job.source, options.max_pixels))
        _check_start(film, options)
        _check_size(film, scale, options)
        notes = _first_notes(film)
        sink = stack.enter_context(open_sink(film, scale, job, options, notes))
        work = _Work(film, model, scale, sink, options, progress, shown, fills)
        ended_by = work.run()
        if sink.before:
            # What was damaged in the frames of an earlier run, only decoding them tells.
            film = stack.enter_context(open_film(job.source, options.max_pixels))
            _look_through(film, options)
        damage = [film.damage(), ended_by, *sink.finish(work.count, film)]
        if film.woven:
            one = film.woven == 1
            notes.append(
                f"{film.woven} {'frame is' if one else 'frames are'} interlaced, unlike the first"
                f" one: {'it was' if one else 'they were'} restored as a whole, not field by field"
            )
        if film.captioned and not sink.holds_captions:
            why = "pictures have" if options.frames is not None else "the encoder writes"
            notes.append(f"its closed captions are left out: {why} none")
        if work.flattened:
            notes.append("transparent parts lie over white now: the codec holds none")
        return FilmTold(
            work.count,
            sink.before,
            tuple(dict.fromkeys((*notes, *sink.notes))),
            "; ".join(filter(None, damage)) or None,
        )


def _look_through(film: Film, options: FilmOptions) -> None:
    """Decodes a film, or the part that is asked for, to find what is damaged."""
    try:
        for _ in film.decode(options.start_s, options.duration_s):
            pass
    except UserError:  # It ends there; the one who restores it says why.
        return


def _first_notes(film: Film) -> list[str]:
    notes = []
    others = [
        each
        for each in film.source.streams.video
        if each.index != film.stream.index and not int(each.disposition) & (1 << 10)
    ]
    if others:
        count = "1 more stream" if len(others) == 1 else f"{len(others)} more streams"
        notes.append(f"of its pictures one stream was restored; {count} of them goes unrestored")
    if film.clock.jumps:
        count = len(film.clock.jumps)
        times = "once" if count == 1 else f"{count} times"
        notes.append(f"its clock begins anew {times}: its parts follow one another now")
    if film.lost:
        notes.append(f"not kept: {', '.join(film.lost)}")
    return notes


def _check_start(film: Film, options: FilmOptions) -> None:
    start, lasts = options.start_s, film.duration_s
    if start is not None and lasts is not None and start >= lasts:
        raise UserError(f"--start {start:g} is behind its end, {float(lasts):.2f} s")


def _check_part(film: Film, options: FilmOptions) -> None:
    """Refuses a part without pictures: sound and subtitles may last longer than they do."""
    part = {"--start": options.start_s, "--duration": options.duration_s}
    asked = " ".join(f"{name} {value:g}" for name, value in part.items() if value is not None)
    if asked and next(film.decode(options.start_s, options.duration_s), None) is None:
        lasts = "" if film.duration_s is None else f" of its {float(film.duration_s):.2f} s"
        raise UserError(
            f"{asked}: no frame is there that can be decoded; expected another part{lasts}"
        )


def _check_size(film: Film, scale: int, options: FilmOptions) -> None:
    height, width = film.height * scale, film.width * scale
    if height * width > options.max_pixels:
        raise UserError(
            f"frames of {film.width}x{film.height} become {width}x{height}: more than --max-pixels"
            f" {options.max_pixels}; raise it, or choose a model that enlarges less"
        )


# --- From decoded frames to restored ones.


@dataclasses.dataclass
class _Item:
    """A frame between two threads.

    Attributes:
      array: Its pixels, which may be written over.
      frame: The `av.VideoFrame` whose memory they are.
      counts: Whether it is written; False while a session warms up.
      before: Its colours as they were, where somebody wants to see them.
    """

    array: np.ndarray
    frame: Any
    counts: bool = True
    before: np.ndarray | None = None


class _Work:
    """The three threads of one film.

    Attributes:
      count: How many frames were restored so far.
      flattened: Whether transparent pixels were laid over white.
    """

    def __init__(
        self,
        film: Film,
        model: FilmModel,
        scale: int,
        sink: Sink,
        options: FilmOptions,
        progress: Callable[[int, int | None], None],
        shown: Callable[[int, np.ndarray, np.ndarray], None] | None,
        fills: bool,
    ):
        self.count, self.flattened = 0, False
        self._film, self._model, self._scale, self._sink = film, model, scale, sink
        self._options, self._progress, self._shown, self._fills = options, progress, shown, fills
        self._decoded: queue.Queue[Any] = queue.Queue(WAITING)
        self._restored: queue.Queue[Any] = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._fault: BaseException | None = None
        self._waiting: collections.deque[_Item] = collections.deque()
        self._session: Session | None = None

    def run(self) -> str | None:
        """Restores the film; returns why it ended early, None where it did not.

        Raises:
          Whatever decoding the first frame, restoring or writing raises.
        """
        threads = [
            threading.Thread(target=work, daemon=True) for work in (self._decode, self._write)
        ]
        for thread in threads:
            thread.start()
        ended_by = None
        try:
            while True:
                item = self._take(self._decoded)
                if item is None:
                    break
                if isinstance(item, BaseException):
                    # A fault half-way: what came before it is written.
                    if not self.count and not self._sink.before:
                        raise item
                    if not isinstance(item, Exception):
                        raise item
                    ended_by = reason(item)
                    break
                self._restore(item)
            if self._session is not None:
                for result in self._session.end():
                    self._hand_on(result)
            self._put(self._restored, None)
            threads[1].join()
            if self._fault is not None:
                raise self._fault
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        return ended_by

    def _decode(self) -> None:
        """Runs in the first thread."""
        try:
            converter = colour.Converter(self._film.conversion)
            for frame, counts in self._frames():
                array, whole = converter.to_array(frame)
                del frame
                if not self._put(self._decoded, _Item(array, whole, counts)):
                    return
            self._put(self._decoded, None)
        except BaseException as error:
            self._put(self._decoded, error)

    def _frames(self) -> Iterator[tuple[Any, bool]]:
        """Yields decoded frames, and whether each counts."""
        film, options = self._film, self._options
        done = self._sink.last_stamp
        if done is None:
            for frame in film.decode(options.start_s, options.duration_s):
                yield frame, True
            return
        # From a little before the first frame that is not done.
        at = float(film.time_of(done))
        start = at - self._model.warm_up / float(film.rate or 25) - 1
        lasts = None
        if options.duration_s is not None:
            lasts = (options.start_s or 0.0) + options.duration_s - max(0.0, start)
        before: collections.deque[Any] = collections.deque(maxlen=max(1, self._model.warm_up))
        for frame in film.decode(max(0.0, start), lasts):
            if frame.pts <= done:
                before.append(frame)
                continue
            if self._model.warm_up:
                while before:
                    yield before.popleft(), False
            before.clear()
            yield frame, True

    def _restore(self, item: _Item) -> None:
        array = item.array
        if self._session is None:
            height, width = array.shape[:2]
            self._session = _begin(self._model, height, width, self._film.fields)
        alpha = array.shape[-1] == 4
        given = array if not alpha or self._fills else np.ascontiguousarray(array[..., :3])
        if self._shown is not None and item.counts:
            item.before = array[..., :3].copy()
        self._waiting.append(item)
        result = self._session.restore(given)
        if result is not None:
            self._hand_on(result)

    def _hand_on(self, result: np.ndarray) -> None:
        """Puts a restored frame into the place of the one that it was made of."""
        item = self._waiting.popleft()
        if not item.counts:
            return
        array, frame = item.array, item.frame
        if array.shape[-1] == 4:
            alpha = array[..., 3:]
            if self._scale > 1:
                alpha = enlarge(np.ascontiguousarray(alpha), self._scale)
            if self._fills:
                alpha = np.full_like(alpha, np.iinfo(alpha.dtype).max)
            if not self._sink.holds_alpha and int(alpha.min()) < np.iinfo(alpha.dtype).max:
                self.flattened = True
                result = over_white(result, alpha)
                alpha = np.full_like(alpha, np.iinfo(alpha.dtype).max)
            colours = np.broadcast_to(result, (*result.shape[:2], 3))
            result = np.concatenate([colours, alpha], axis=-1)
        elif result.shape[-1] < array.shape[-1]:
            result = np.broadcast_to(result, (*result.shape[:2], array.shape[-1]))
        if self._shown is not None and item.before is not None:
            self._shown(self.count, item.before, result[..., :3])
        if result.shape != array.shape:
            frame = colour.wrap(result, frame)
        elif result is not array:
            array[...] = result
        self._put(self._restored, frame)
        self.count += 1
        self._progress(self._sink.before + self.count, self._total())

    def _total(self) -> int | None:
        count, options, film = self._film.count, self._options, self._film
        if options.start_s is None and options.duration_s is None:
            return count
        if not film.duration_s or not film.rate:
            return None
        left = float(film.duration_s) - (options.start_s or 0.0)
        if options.duration_s is not None:
            left = min(left, options.duration_s)
        return max(1, round(left * float(film.rate)))

    def _write(self) -> None:
        """Runs in the third thread."""
        try:
            while (frame := self._take(self._restored)) is not None:
                self._sink.put(frame)
                del frame
        except BaseException as error:
            self._fault = error
            self._stop.set()

    def _put(self, waiting: queue.Queue[Any], item: Any) -> bool:
        """Puts an item; False where it is to stop instead."""
        while not self._stop.is_set():
            try:
                waiting.put(item, timeout=0.2)
                return True
            except queue.Full:
                pass
        return False

    def _take(self, waiting: queue.Queue[Any]) -> Any:
        """Takes an item; None after the last one, or where it is to stop."""
        while not self._stop.is_set():
            try:
                return waiting.get(timeout=0.2)
            except queue.Empty:
                pass
        return None


def _begin(model: FilmModel, height: int, width: int, fields: str | None) -> Session:
    if fields is None:
        return model.begin(height, width)
    return _Woven(model.begin(-(-height // 2), width), model.begin(height // 2, width))


class _Woven:
    """An interlaced film: its fields are two films, of the odd lines and of the even ones."""

    def __init__(self, upper: Session, lower: Session):
        self._fields = upper, lower

    def restore(self, frame: np.ndarray) -> np.ndarray | None:
        """Restores both fields of a frame."""
        restored = [
            session.restore(np.ascontiguousarray(frame[first::2]))
            for first, session in enumerate(self._fields)
        ]
        return None if restored[0] is None else _weave(*restored)

    def end(self) -> Iterable[np.ndarray]:
        """Returns the frames that were held back."""
        return [_weave(*pair) for pair in zip(*(session.end() for session in self._fields))]


def _weave(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    woven = np.empty((len(upper) + len(lower), *upper.shape[1:]), upper.dtype)
    woven[0::2], woven[1::2] = upper, lower
    return woven
