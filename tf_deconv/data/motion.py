"""Clips made of pictures: a camera that moves over a photograph, and things that move before it.

A clip is a function of its key alone: which pictures, where, how they move. Frames are sampled from
a larger original, antialiased, at places between pixels, so that the clean clip is as sharp as a
film of that size can be. See docs/decisions/0031-clips.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tf_deconv.data.store import PictureStore
from tf_deconv.images import arrays
from tf_deconv.images.arrays import CHANNELS

# How cameras move, and in which share of the clips: not at all, evenly, as in a hand, by zoom, and
# turning.
CAMERAS = {"still": 0.2, "pan": 0.25, "hand": 0.25, "zoom": 0.15, "turn": 0.15}
# Shares of the clips in which something moves before the background (half of those whose camera
# moves: a nearer layer), a moving camera's shutter is open for long, brightness changes, and
# another scene begins.
OBJECT_SHARE, BLUR_SHARE, EXPOSURE_SHARE, CUT_SHARE = 0.35, 0.25, 0.1, 0.06

# Pixels of the clip a frame: of a camera, and of an object.
SPEEDS_PX = (0.1, 6.0)
# A hand's two oscillations: amplitude in pixels of the clip, and frames of a period.
_HAND_PX, _HAND_PERIODS = (0.3, 3.0), (5.0, 40.0)
# Change of size, and of angle in degrees, from one frame to the next.
_ZOOMS, _TURNS_DEGREES = (0.002, 0.03), (0.1, 1.5)
# Share of the time from frame to frame in which the shutter is open, and most pictures that are
# averaged for it.
_SHUTTERS, _MOST_INSTANTS = (0.3, 1.0), 6
# Brightness at its ends, as a factor of the values.
_EXPOSURES = (0.6, 1.25)
# Standard deviation of the blobs that make an object's outline, as a share of the clip's side; of a
# nearer layer; width of the outline in pixels.
_OBJECT_SIDES, _LAYER_SIDES, _OUTLINES_PX = (0.06, 0.15), (0.12, 0.28), (1.0, 4.0)
_BLOBS = 4
# How many times faster than the background a nearer layer goes by.
_NEARNESS = (1.3, 3.0)


@dataclasses.dataclass(frozen=True)
class _Path:
    """A window that moves over a picture; arrays have an entry for each instant.

    Attributes:
      rows: Place of its middle, in pixels of the picture.
      columns: Likewise.
      scale: Pixels of the picture for each of the clip.
      angle: In radians.
    """

    rows: np.ndarray
    columns: np.ndarray
    scale: np.ndarray
    angle: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Layer:
    """What is seen before the background.

    Attributes:
      picture: Its number.
      path: Of the window that its texture is seen through.
      rows: (blobs, instants) places of the blobs that make its outline, in pixels of the clip.
      columns: Likewise.
      stddev_px: Of the blobs.
      outline_px: Width of the soft edge.
    """

    picture: int
    path: _Path
    rows: np.ndarray
    columns: np.ndarray
    stddev_px: float
    outline_px: float


@dataclasses.dataclass(frozen=True)
class _Move:
    """Displacement in pixels of the clip, size and angle of a camera, as functions of the time."""

    displaced: Callable[[np.ndarray], np.ndarray]  # (instants,) to (2, instants)
    zoom: float = 0.0  # Natural logarithm of the change of size in a frame.
    turn: float = 0.0  # Radians a frame.


class MovingPictures:
    """Clips made of the pictures of a store.

    Attributes:
      pictures: Their originals.
      shrink: Smallest and largest number of pixels of an original for each of a clip; smaller
        pictures give less.
      speeds_px: Slowest and fastest even motion, in pixels of a clip from one frame to the next.
    """

    def __init__(
        self,
        pictures: PictureStore,
        shrink: tuple[float, float] = (1.0, 3.0),
        speeds_px: tuple[float, float] = SPEEDS_PX,
    ):
        self.pictures = pictures
        self.shrink = shrink
        self.speeds_px = speeds_px

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def names(self) -> tuple[str, ...]:
        """The pictures' names."""
        return self.pictures.names

    @property
    def grey(self) -> bool:
        """Whether no picture has colour."""
        return self.pictures.grey

    def sha256(self) -> str:
        """Returns a hash of every picture's content."""
        return self.pictures.sha256()

    def clip(
        self, key: Sequence[int], frames: int, patch_size: int, candidates: int = 1
    ) -> np.ndarray:
        """Makes a clip.

        Args:
          key: Integers of at least 0; each key has a clip of its own.
          frames: How many, at least 1.
          patch_size: Height and width in pixels; no picture has a shorter side.
          candidates: Places drawn for the background, of which the one with the most detail is
            taken.
        Returns:
          (frames, patch_size, patch_size, 3) uint8.
        """
        random = _generator(key)
        camera = random.choice(list(CAMERAS), p=list(CAMERAS.values()))
        return self._film(random, camera, frames, patch_size, candidates)

    def clip_of(
        self, picture: int, key: Sequence[int], camera: str, frames: int, patch_size: int
    ) -> np.ndarray:
        """Makes a clip of a certain picture in which the camera moves in a certain way.

        Args:
          picture: Its number.
          key: As of `clip`.
          camera: A key of `CAMERAS`.
          frames: As of `clip`.
          patch_size: As of `clip`.
        Returns:
          As `clip`.
        """
        return self._film(_generator(key), camera, frames, patch_size, 1, picture)

    def _film(
        self,
        random: np.random.Generator,
        camera: str,
        frames: int,
        side: int,
        candidates: int,
        picture: int | None = None,
    ) -> np.ndarray:
        """Draws one scene, or two with a cut between them, and brightness over all."""
        # All that is drawn for every clip is drawn first, so that no share depends on another's.
        cut, exposure, orientation = random.random(), random.random(), random.integers(0, 8)
        middle = random.integers(1, frames) if cut < CUT_SHARE and frames > 1 else frames
        parts = [self._scene(random, camera, int(middle), side, candidates, picture)]
        if middle < frames:
            other = random.choice(list(CAMERAS), p=list(CAMERAS.values()))
            parts.append(self._scene(random, other, frames - int(middle), side, candidates, None))
        clip = np.concatenate(parts)
        if exposure < EXPOSURE_SHARE:
            factors = _exposures(random, frames)
            clip = clip.astype(np.float32) * factors[:, np.newaxis, np.newaxis, np.newaxis]
        # Turned last: what was drawn is upright, and gravity has no favourite in training.
        return np.stack([arrays.oriented(frame, int(orientation)) for frame in _to_uint8(clip)])

    def _scene(
        self,
        random: np.random.Generator,
        camera: str,
        frames: int,
        side: int,
        candidates: int,
        picture: int | None,
    ) -> np.ndarray:
        """Returns (frames, side, side, 3), uint8 where nothing was computed with its values."""
        move = _draw_move(random, camera, self.speeds_px)
        blurred, with_object = random.random() < BLUR_SHARE, random.random() < OBJECT_SHARE
        shutter = random.uniform(*_SHUTTERS) if blurred else 0.0
        nearer = with_object and camera != "still" and random.random() < 0.5
        object_move = _draw_move(random, "pan", self.speeds_px) if with_object else None
        instants = _instants(move, object_move, frames, shutter)
        count = len(instants) // frames

        places = [
            self._draw_place(random, move, instants, side, picture) for _ in range(candidates)
        ]
        place = places[0]
        if candidates > 1:
            place = max(places, key=lambda each: self._detail(*each, side))
        index, path = place
        film = self._render(index, path, side)
        if object_move is not None:
            own = _scaled(move, random.uniform(*_NEARNESS)) if nearer else object_move
            layer = self._draw_layer(random, own, instants, side, nearer)
            film = _over(film, self._render(layer.picture, layer.path, side), _mask(layer, side))
        if count > 1:
            film = film.reshape(frames, count, *film.shape[1:]).mean(1, dtype=np.float32)
        return film

    # --- Where windows lie.

    def _draw_place(
        self,
        random: np.random.Generator,
        move: _Move,
        instants: np.ndarray,
        side: int,
        picture: int | None = None,
    ) -> tuple[int, _Path]:
        """Draws a picture and a path that stays inside it."""
        index = int(random.integers(0, len(self.pictures))) if picture is None else picture
        low, high = self.shrink
        wanted = low * (high / low) ** random.random()
        starts = random.random(2)
        sides = np.array([self.pictures.heights[index], self.pictures.widths[index]], np.float64)
        return index, _fit(move, instants, side, sides, wanted, starts)

    def _draw_layer(
        self,
        random: np.random.Generator,
        move: _Move,
        instants: np.ndarray,
        side: int,
        nearer: bool,
    ) -> _Layer:
        """Draws an object whose outline and texture move together."""
        stddev_px = side * random.uniform(*(_LAYER_SIDES if nearer else _OBJECT_SIDES))
        spread = random.normal(0.0, 1.2 * stddev_px, (2, _BLOBS))
        # Objects cross the middle half; a nearer layer lies at an edge.
        middle = side * random.uniform(0.25, 0.75, 2)
        if nearer:
            middle[random.integers(0, 2)] = side * random.integers(0, 2)
        # A window that goes to the right shows a texture that goes to the left.
        back = _Move(lambda time: -move.displaced(time))
        index, path = self._draw_place(random, back, instants, side)
        moved = np.stack([path.rows - path.rows[0], path.columns - path.columns[0]])
        moved = -moved / path.scale  # As far as there was room in the picture.
        rows, columns = (
            middle[axis] + spread[axis][:, np.newaxis] + moved[axis] - moved[axis].mean()
            for axis in (0, 1)
        )
        return _Layer(index, path, rows, columns, stddev_px, random.uniform(*_OUTLINES_PX))

    # --- Pixels.

    def _crop(self, index: int, box: np.ndarray) -> tuple[Image.Image, np.ndarray]:
        """Cuts out rows and columns around a box (top, left, bottom, right): picture and corner."""
        picture = self.pictures.picture(index)
        top, left = np.maximum(np.floor(box[:2]).astype(int) - 1, 0)
        bottom, right = np.ceil(box[2:]).astype(int) + 1
        pixels = self.pictures.as_bytes(picture[top:bottom, left:right, -CHANNELS:], index)
        return Image.fromarray(np.ascontiguousarray(pixels)), np.array([top, left])

    def _render(self, index: int, path: _Path, side: int) -> np.ndarray:
        """Samples (instants, side, side, 3) uint8; equal windows are sampled once."""
        boxes = _boxes(path, side)
        outer = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
        image, corner = self._crop(index, outer)
        windows = np.stack([path.rows, path.columns, path.scale, path.angle], axis=1)
        film = np.empty((len(windows), side, side, CHANNELS), np.uint8)
        for number, (row, column, scale, angle) in enumerate(windows):
            if number and (windows[number] == windows[number - 1]).all():
                film[number] = film[number - 1]
                continue
            middle = np.array([row, column]) - corner
            sample = _sample_turned if angle else _sample_upright
            film[number] = np.asarray(sample(image, middle, scale, angle, side))
        return film

    def _detail(self, index: int, path: _Path, side: int) -> float:
        """Returns how much green changes within the first window, of white and for each pixel."""
        top, left, bottom, right = _boxes(path, side)[0].astype(int)
        step = max(1, round(2 * path.scale[0]))
        green = self.pictures.picture(index)[top:bottom:step, left:right:step, -2]
        green = self.pictures.as_bytes(green[..., np.newaxis].repeat(CHANNELS, -1), index)
        green = green[..., 1].astype(np.int32)
        return sum(float(np.abs(np.diff(green, axis=axis)).mean()) for axis in (0, 1))


def _generator(key: Sequence[int]) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([int(n) for n in key])))


def _log_uniform(random: np.random.Generator, ends: tuple[float, float]) -> float:
    return ends[0] * (ends[1] / ends[0]) ** random.random()


def _draw_move(random: np.random.Generator, camera: str, speeds: tuple[float, float]) -> _Move:
    """Draws how a camera moves, or an object, whose camera is "pan"."""
    speed, direction = _log_uniform(random, speeds), random.uniform(0.0, 2 * math.pi)
    velocity = speed * np.array([math.sin(direction), math.cos(direction)])
    gain = random.uniform(-0.05, 0.05)  # Of the speed, a frame.
    sign = random.choice([-1.0, 1.0])

    def even(time: np.ndarray) -> np.ndarray:
        return velocity[:, np.newaxis] * (time + 0.5 * gain * time**2)

    if camera == "still":
        return _Move(lambda time: np.zeros((2, len(time))))
    if camera == "hand":
        amplitude = np.array([[_log_uniform(random, _HAND_PX) for _ in range(2)] for _ in range(2)])
        period = np.array(
            [[_log_uniform(random, _HAND_PERIODS) for _ in range(2)] for _ in range(2)]
        )
        phase = random.uniform(0.0, 2 * math.pi, (2, 2))

        def shaken(time: np.ndarray) -> np.ndarray:
            angle = 2 * math.pi * time / period[..., np.newaxis] + phase[..., np.newaxis]
            return (amplitude[..., np.newaxis] * np.sin(angle)).sum(1) + 0.1 * even(time)

        return _Move(shaken)
    if camera == "zoom":
        zoom = sign * _log_uniform(random, _ZOOMS)
        return _Move(lambda time: 0.2 * even(time), zoom=math.log1p(zoom))
    if camera == "turn":
        turn = math.radians(sign * _log_uniform(random, _TURNS_DEGREES))
        return _Move(lambda time: 0.3 * even(time), turn=turn)
    return _Move(even)


def _scaled(move: _Move, factor: float) -> _Move:
    """Returns a move that goes further, against the camera: what is near goes by faster."""
    return _Move(lambda time: -factor * move.displaced(time))


def _instants(move: _Move, object_move: _Move | None, frames: int, shutter: float) -> np.ndarray:
    """Returns the times, in frames, at which the scene is looked at: as many for each frame."""
    starts = np.arange(frames, dtype=np.float64)
    if not shutter:
        return starts
    moves = [move] if object_move is None else [move, object_move]
    span = np.array([0.0, shutter])
    travel = max(float(np.abs(np.diff(each.displaced(span))).max()) for each in moves)
    # The corners of a picture of 100 pixels.
    travel = max(travel, 70 * shutter * abs(move.turn), 70 * shutter * abs(move.zoom))
    count = min(_MOST_INSTANTS, math.ceil(travel))
    if count < 2:
        return starts
    return (starts[:, np.newaxis] + shutter * np.arange(count) / count).reshape(-1)


def _fit(
    move: _Move,
    instants: np.ndarray,
    side: int,
    sides: np.ndarray,
    wanted: float,
    starts: np.ndarray,
) -> _Path:
    """Lays a move into a picture: its size is reduced first, then how far it goes.

    Args:
      move: The camera's.
      instants: (instants,) times.
      side: Of the window, in pixels of the clip.
      sides: (2,) height and width of the picture, neither less than `side`.
      wanted: Pixels of the picture for each of the clip.
      starts: (2,) in [0, 1): where in the room that is left.
    """
    size = np.exp(move.zoom * instants)
    angle = move.turn * (instants - instants.mean())
    reach = 0.5 * side * size * (np.abs(np.cos(angle)) + np.abs(np.sin(angle)))
    if 2 * reach.max() > sides.min():  # There is no room to turn or to zoom.
        size, angle = np.ones_like(instants), np.zeros_like(instants)
        reach = np.full_like(instants, 0.5 * side)
    scale = min(max(wanted, 1.0), float(sides.min() / (2 * reach.max())))
    reach, displaced = scale * reach, scale * move.displaced(instants)
    middles = []
    for axis, length in enumerate(sides):
        room = length - 2 * reach.max()
        span = float(np.ptp(displaced[axis]))
        own = displaced[axis] * min(1.0, room / span) if span > 0 else displaced[axis]
        low = (own - reach).min()
        slack = max(0.0, length - ((own + reach).max() - low))
        middles.append(own - low + starts[axis] * slack)
    return _Path(*middles, scale * size, angle)


def _boxes(path: _Path, side: int) -> np.ndarray:
    """Returns (instants, 4): top, left, bottom and right of what a window needs of its picture."""
    turned = np.abs(np.cos(path.angle)) + np.abs(np.sin(path.angle))
    reach = 0.5 * side * path.scale * turned
    middles = (path.rows, path.columns)
    return np.stack(
        [*(middle - reach for middle in middles), *(middle + reach for middle in middles)], axis=1
    )


def _sample_upright(
    image: Image.Image, middle: np.ndarray, scale: float, _: float, side: int
) -> Image.Image:
    reach = 0.5 * side * scale
    (top, left), (bottom, right) = middle - reach, middle + reach
    # Rounding may put a box that fills its picture a millionth outside.
    box = (max(left, 0.0), max(top, 0.0), min(right, image.width), min(bottom, image.height))
    return image.resize((side, side), Image.Resampling.LANCZOS, box=box)


def _sample_turned(
    image: Image.Image, middle: np.ndarray, scale: float, angle: float, side: int
) -> Image.Image:
    """Samples more finely than the picture's pixels lie, then averages."""
    finer = max(2, math.ceil(scale))
    step = scale / finer
    along, across = step * math.cos(angle), step * math.sin(angle)
    # Pillow maps a pixel of the result to the picture: x = a u + b v + c, y = d u + e v + f.
    reach = 0.5 * side * finer
    c = middle[1] - (along - across) * reach
    f = middle[0] - (across + along) * reach
    matrix = (along, -across, c, across, along, f)
    fine = image.transform(
        (side * finer,) * 2, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    return fine.reduce(finer)


def _mask(layer: _Layer, side: int) -> np.ndarray:
    """Returns (instants, side, side, 1) float32: how much of each pixel an object covers."""
    pixels = np.arange(side, dtype=np.float32) + 0.5
    variance = 2 * layer.stddev_px**2
    rows, columns = (
        np.exp(-((pixels - places.astype(np.float32)[..., np.newaxis]) ** 2) / variance)
        for places in (layer.rows, layer.columns)
    )  # (blobs, instants, side)
    height = np.einsum("btr,btc->trc", rows, columns)
    # At half its height one blob is this steep, in heights for each pixel.
    slope = 0.59 / layer.stddev_px
    return np.clip((height - 0.5) / (slope * layer.outline_px) + 0.5, 0.0, 1.0)[..., np.newaxis]


def _over(film: np.ndarray, front: np.ndarray, mask: np.ndarray) -> np.ndarray:
    film = film.astype(np.float32)
    film += mask * (front.astype(np.float32) - film)
    return film


def _exposures(random: np.random.Generator, frames: int) -> np.ndarray:
    """Returns (frames,) float32 factors: an even change, or a lamp that flickers."""
    first, last = (_log_uniform(random, _EXPOSURES) for _ in range(2))
    time = np.arange(frames) / max(1, frames - 1)
    if random.random() < 0.5:
        time = 0.5 + 0.5 * np.sin(2 * math.pi * (random.random() + frames * time / 5.3))
    return (first * (last / first) ** time).astype(np.float32)


def _to_uint8(film: np.ndarray) -> np.ndarray:
    if film.dtype == np.uint8:
        return film
    return np.clip(np.rint(film), 0, 255).astype(np.uint8)
