"""Tells what is wrong with a picture that a runtime gave, by trying what usually goes wrong.

Each suspicion makes the wrong picture out of the right one. The one whose picture lies nearest to
what came back explains it, if it lies much nearer than the right picture does.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

# How much nearer a wrong picture must be than the right one, and how near, to explain what came.
_GAIN_DB, _NEAR_DB = 6.0, 24.0
# Between a file's floor and this, what came is right in kind.
_FEWER_BITS_DB = 45.0
# A picture of 8 bits has about 59 dB at most.
BYTES_FLOOR_DB = 48.0
# The band at the border that padding spoils first, as a share of the side, and how much better the
# rest must be.
_BAND, _EDGE_GAIN_DB = 8, 9.0
# How far moves are looked for, in pixels.
_BORDER_PX = 2
_SHIFTS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)

Restore = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a picture that came back is.

    Attributes:
      psnr_db: Against the right one; infinity for an equal one, None where they cannot be compared.
      floor_db: What was asked for.
      fault: What is wrong with it; "" where it is right.
      kind: A word for programs, such as "channels"; "" where it is right.
      explained_db: PSNR against the wrong picture that explains it; None where none does.
      note: What a user should know of a right one.
    """

    psnr_db: float | None
    floor_db: float
    fault: str = ""
    kind: str = ""
    explained_db: float | None = None
    note: str = ""

    @property
    def is_right(self) -> bool:
        return not self.fault


def psnr_db(received: np.ndarray, expected: np.ndarray) -> float:
    """Returns the PSNR, peak 1; infinity for equal arrays, -infinity where it is no number."""
    with np.errstate(all="ignore"):
        error = float(np.mean((received.astype(np.float64) - expected) ** 2))
    if error == 0:
        return math.inf
    return -10 * math.log10(error) if math.isfinite(error) else -math.inf


def judge(
    received: np.ndarray,
    expected: np.ndarray,
    given: np.ndarray | None,
    floor_db: float,
    restore: Restore | None = None,
) -> Judgement:
    """Compares what a runtime gave with what it should have given.

    Args:
      received: What came: float, or 8 or 16 bits, with a batch axis of 1 or without.
      expected: (H, W, C) float32, not clipped.
      given: (H, W, C') what went in; None where that is no picture.
      floor_db: The least PSNR.
      restore: What makes the right picture of an input, to tell a wrong input from a wrong output;
        None where that is not at hand.
    """
    image, note = np.asarray(received), ""
    bits = image.dtype.itemsize * 8 if image.dtype.kind == "u" else 0
    image = image.astype(np.float64)
    if bits in (8, 16):
        image = image / (2**bits - 1)
        floor_db = min(floor_db, BYTES_FLOOR_DB)
    while image.ndim > expected.ndim and image.shape[0] == 1:
        image = image[0]
    if image.ndim == expected.ndim - 1 and expected.shape[-1] == 1:
        image = image[..., np.newaxis]
    if image.shape != expected.shape:
        fitting, note = _laid_out(image, expected)
        if fitting is None:
            return Judgement(None, floor_db, note, "shape")
        image = fitting
    strange = np.count_nonzero(~np.isfinite(image))
    if strange:
        fault = f"{strange} of {image.size} values are NaN or infinite"
        return Judgement(None, floor_db, fault, "not finite")
    # Whoever clips, as pictures for a screen are, is right too.
    score = max(psnr_db(image, expected), psnr_db(image, np.clip(expected, 0, 1)))
    if bits:
        levels = 2**bits - 1
        rounded = np.rint(np.clip(expected, 0, 1) * levels) / levels
        exact = psnr_db(image, rounded)
        score = max(score, exact)
    if score >= floor_db:
        return Judgement(score, floor_db, note=note)
    if np.ptp(image) < 1e-6:
        fault = f"every value is {image.flat[0]:.4g}: nothing was computed, or nothing written"
        return Judgement(score, floor_db, fault, "constant")
    fault, kind, explained = _explain(image, expected, given, restore, score)
    fault += f" ({note})" if note else ""
    return Judgement(score, floor_db, fault, kind, explained)


def _laid_out(image: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Brings an array of another shape into the expected one, if its shape tells how."""
    shape, wanted = image.shape, expected.shape
    if len(wanted) == 3 and len(shape) == 3:
        height, width, channels = wanted
        if shape == (channels, height, width):
            return image.transpose(1, 2, 0), "the array has its channels first"
        if shape == (width, height, channels):
            return image.transpose(1, 0, 2), "height and width changed places"
    what = "x".join(map(str, shape)) or "one number"
    told = f"the array is {what}: expected {'x'.join(map(str, wanted))}"
    if image.size == expected.size:
        told += ", which has as many values"
    return None, told


def _explain(
    image: np.ndarray,
    expected: np.ndarray,
    given: np.ndarray | None,
    restore: Restore | None,
    score: float,
) -> tuple[str, str, float | None]:
    """Returns the fault, its kind, and how near the wrong picture lies that explains it."""
    best = ("", "", -math.inf)
    scales = (
        (image, ""),
        (image / 255, "values run from 0 to 255, expected 0 to 1"),
        ((image + 1) / 2, "values run from -1 to 1, expected 0 to 1"),
        ((image + 128) / 255, "values are signed bytes: add 128, divide by 255"),
    )
    for scaled, said in scales:
        for wrong, what, kind in _suspicions(expected, given, restore, plain=not said):
            if wrong.shape != scaled.shape:
                continue
            near = _nearness(scaled, wrong, expected, kind)
            # Of two that are as near the first, simpler one is said.
            if near > best[2] + 0.5:
                text = f"{said}; and {what}" if said and what else said or what
                best = (text, "values" if said else kind, near)
    text, kind, near = best
    if text and near >= max(score + _GAIN_DB, _NEAR_DB):
        return text, kind, near
    if affine := _affine(image, expected, score):
        return affine
    if edges := _edges(image, expected):
        return *edges, None
    if score >= _FEWER_BITS_DB:
        return (
            "right in kind, in fewer bits than the file has: bfloat16 and float16 give 45 to 75 dB,"
            " float32 over 100",
            "precision",
            None,
        )
    alike = _correlation(image, expected)
    return (
        "nothing known explains it: channels scrambled inside the network, other weights, or"
        f" another model (correlation with the right picture {alike:.3f})",
        "unknown",
        None,
    )


def _nearness(image: np.ndarray, wrong: np.ndarray, expected: np.ndarray, kind: str) -> float:
    """Returns the PSNR against a wrong picture, less of one that is flat: all flat ones are alike.

    What a moved picture has at its border is anyone's choice, and does not count.
    """
    if kind == "moved":
        inner = slice(_BORDER_PX, -_BORDER_PX)
        image, wrong = image[inner, inner], wrong[inner, inner]
    contrast = min(np.var(image), np.var(wrong)) / max(np.var(expected), 1e-12)
    if not contrast:
        return -math.inf
    return psnr_db(image, wrong) + min(0.0, 10 * math.log10(contrast))


Suspicions = Iterator[tuple[np.ndarray, str, str]]


def _suspicions(
    expected: np.ndarray, given: np.ndarray | None, restore: Restore | None, plain: bool
) -> Suspicions:
    """Yields wrong pictures, what is wrong with them and a word for it; simple ones first."""
    yield expected, "", ""
    yield np.clip(expected, 0, 1), "", ""
    if expected.ndim == 3:
        yield from _of_the_result(expected)
    if given is not None and given.ndim == 3:
        yield from _of_the_application(expected, given)
        if restore is not None and plain:
            yield from _of_the_input(given, restore)
    yield 1 - expected, "light and dark are reversed", "values"
    yield expected**2, "values are squared", "values"
    light = np.clip(expected, 0, 1)
    yield light ** (1 / 2.2), "a gamma of 1/2.2 was put on it", "gamma"
    yield light**2.2, "it is in linear light: a gamma of 2.2 was put on it", "gamma"


def _of_the_result(expected: np.ndarray) -> Suspicions:
    height, width, channels = expected.shape
    for order in itertools.permutations(range(channels)) if 1 < channels <= 4 else ():
        if order == tuple(range(channels)):
            continue
        named = "red and blue are swapped (BGR for RGB)"
        other = f"channels come in the order {', '.join(map(str, order))}"
        yield expected[..., order], named if order == (2, 1, 0) else other, "channels"
    yield expected[::-1], "top and bottom are swapped", "orientation"
    yield expected[:, ::-1], "left and right are swapped", "orientation"
    yield expected[::-1, ::-1], "it is turned by 180 degrees", "orientation"
    turned = expected.transpose(1, 0, 2)
    yield turned, "rows and columns are swapped", "orientation"
    yield turned[:, ::-1], "it is turned by 90 degrees, clockwise", "orientation"
    yield turned[::-1], "it is turned by 90 degrees, counter-clockwise", "orientation"
    yield turned[::-1, ::-1], "it is mirrored at the other diagonal", "orientation"
    planes = expected.transpose(2, 0, 1)
    text = "channels come first in memory, and were read as if last"
    yield np.ascontiguousarray(planes).reshape(expected.shape), text, "layout"
    text = "channels come last in memory, and were read as if first"
    read = np.ascontiguousarray(expected).reshape(channels, height, width)
    yield read.transpose(1, 2, 0), text, "layout"
    for down, right in itertools.product(_SHIFTS, _SHIFTS):
        if (down or right) and min(height, width) > 4 * _BORDER_PX:
            yield _moved(expected, down, right), _move_text(down, right), "moved"
    for factor in (2, 4):
        if height % factor == 0 and width % factor == 0:
            yield from _phases(expected, factor)


def _phases(expected: np.ndarray, factor: int) -> Suspicions:
    """Yields pictures whose squares of pixels were put together in another order."""
    height, width, channels = expected.shape
    cells = expected.reshape(height // factor, factor, width // factor, factor, channels)
    # (h, i, w, j, c) as depth: TensorFlow's order is (i, j, c), PyTorch's is (c, i, j).
    depth = cells.transpose(0, 2, 1, 3, 4).reshape(height // factor, width // factor, -1)
    as_torch = depth.reshape(*depth.shape[:2], channels, factor, factor)
    picture = as_torch.transpose(0, 3, 1, 4, 2).reshape(expected.shape)
    text = f"its {factor}x{factor} squares of pixels came together in the other order of channels"
    yield picture, f"{text} (depth to space: CRD for DCR)", "pixel order"
    own = cells.transpose(0, 2, 4, 1, 3).reshape(depth.shape)
    picture = own.reshape(*depth.shape[:2], factor, factor, channels)
    picture = picture.transpose(0, 2, 1, 3, 4).reshape(expected.shape)
    yield picture, f"{text} (depth to space: DCR for CRD)", "pixel order"
    picture = cells.transpose(0, 3, 2, 1, 4).reshape(expected.shape)
    yield picture, f"its {factor}x{factor} squares of pixels are transposed", "pixel order"


def _of_the_application(expected: np.ndarray, given: np.ndarray) -> Suspicions:
    factor = expected.shape[0] // given.shape[0] if given.shape[0] else 1
    base = given[..., : expected.shape[-1]]
    if base.shape[-1] != expected.shape[-1]:
        base = np.repeat(base[..., :1], expected.shape[-1], axis=-1)
    if factor > 1:
        base = base.repeat(factor, axis=0).repeat(factor, axis=1)
    if base.shape != expected.shape:
        return
    yield base, "it is the picture that went in: nothing was computed", "unchanged"
    yield expected - base, "it is the change alone: add the picture that went in", "residual"
    yield base - expected, "it is the change alone: take it off the picture", "residual"
    yield expected + base, "the picture that went in was added once more", "residual"


def _of_the_input(given: np.ndarray, restore: Restore) -> Suspicions:
    """Yields what comes of wrong inputs."""
    height, width, channels = given.shape
    light = np.clip(given, 0, 1)
    inputs: list[tuple[np.ndarray, str, str]] = [
        (255 * given, "0 to 255 went in, expected 0 to 1", "input values"),
        (2 * given - 1, "-1 to 1 went in, expected 0 to 1", "input values"),
        (given - 0.5, "-0.5 to 0.5 went in, expected 0 to 1", "input values"),
        (light**2.2, "linear light went in, expected values as files have them", "input values"),
        (given[::-1], "it went in upside down", "input orientation"),
        (given[:, ::-1], "it went in mirrored", "input orientation"),
    ]
    if channels == 3:
        mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        text = "a mean and a deviation were taken off what went in, expected 0 to 1"
        inputs.append(((given - mean) / deviation, text, "input values"))
        text = "it went in as BGR, expected RGB, and came back so"
        inputs.append((given[..., ::-1], text, "input channels"))
    if height == width:
        text = "it went in with rows and columns swapped, and came back so"
        inputs.append((given.transpose(1, 0, 2), text, "input orientation"))
    planes = np.ascontiguousarray(given.transpose(2, 0, 1)).reshape(given.shape)
    inputs.append((planes, "it went in with channels first, read as if last", "input layout"))
    read = np.ascontiguousarray(given).reshape(channels, height, width).transpose(1, 2, 0)
    inputs.append((read, "it went in with channels last, read as if first", "input layout"))
    for image, text, kind in inputs:
        if np.array_equal(image, given):  # Of one channel, first and last are the same.
            continue
        restored = restore(np.ascontiguousarray(image, np.float32))
        yield restored, text, kind
        if kind == "input channels":
            yield restored[..., ::-1], "it went in as BGR, expected RGB", kind
        elif text.startswith("0 to 255"):
            yield restored / 255, "0 to 255 went in and was divided after, not before", kind
        elif text.startswith("-1 to 1"):
            yield (restored + 1) / 2, "-1 to 1 went in and was brought back after", kind


def _moved(image: np.ndarray, down: float, right: float) -> np.ndarray:
    """Moves a picture, its border repeated; half pixels are means of two."""
    for axis, move in ((0, down), (1, right)):
        whole = math.floor(move)
        places = np.clip(np.arange(image.shape[axis]) - whole, 0, image.shape[axis] - 1)
        nearer = np.take(image, places, axis)
        if move != whole:
            before = np.clip(places - 1, 0, None)
            nearer = (nearer + np.take(image, before, axis)) / 2
        image = nearer
    return image


def _move_text(down: float, right: float) -> str:
    parts = [
        f"{abs(move):g} {'pixel' if abs(move) <= 1 else 'pixels'} {words[move > 0]}"
        for move, words in ((down, ("up", "down")), (right, ("left", "right")))
        if move
    ]
    return f"it is moved by {' and '.join(parts)}"


def _affine(
    image: np.ndarray, expected: np.ndarray, score: float
) -> tuple[str, str, float | None] | None:
    """Looks for a x + b, which another range or scale of integers is."""
    x, y = expected.ravel().astype(np.float64), image.ravel()
    variance = np.var(x)
    if not variance:
        return None
    factor = float(np.mean((x - x.mean()) * (y - y.mean())) / variance)
    offset = float(y.mean() - factor * x.mean())
    if abs(factor) < 1e-3:
        return None
    near = psnr_db((image - offset) / factor, expected)
    if near < max(score + 2 * _GAIN_DB, _NEAR_DB + _GAIN_DB):
        return None
    return f"values are {factor:.4g} times the right ones, plus {offset:.4g}", "values", near


def _edges(image: np.ndarray, expected: np.ndarray) -> tuple[str, str] | None:
    if image.ndim != 3 or min(image.shape[:2]) < 3 * _BAND // 2:
        return None
    error = np.mean((image - expected) ** 2, axis=-1)
    band = max(2, min(error.shape) // _BAND)
    middle = error[band:-band, band:-band]
    border = (error.sum() - middle.sum()) / (error.size - middle.size)
    inside = middle.mean()
    if inside == 0 or 10 * math.log10(border / inside) >= _EDGE_GAIN_DB:
        within = "all right" if inside == 0 else f"{-10 * math.log10(inside):.1f} dB"
        return (
            f"the border is wrong, {-10 * math.log10(border):.1f} dB within {band} pixels of it,"
            f" and the inside is {within}: padded in another way, such as with zeros for mirrored",
            "border",
        )
    return None


def _correlation(image: np.ndarray, expected: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        found = float(np.corrcoef(image.ravel(), expected.ravel())[0, 1])
    return found if math.isfinite(found) else 0.0
