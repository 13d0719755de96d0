"""How well the motion of a whole frame is found, and in which time, beside what others take for it.

    python benchmarks/following.py --data FOLDER [--pictures 40]     (needs OpenCV and scikit-image)

moves windows of pictures by known amounts, some not at all, some behind a thing that moves by
itself, adds noise, and asks `inference.following`, OpenCV's `phaseCorrelate` (with a Hann window)
and `findTransformECC`, and scikit-image's `phase_cross_correlation` (in twentieths of a pixel, with
and without a Hann window) by how much. Printed is the share within a quarter of a pixel, the median
error, of frames that stood still how many were said to have moved by a tenth of a pixel or more,
and the median time for a pair of 640x360.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image
from skimage.registration import phase_cross_correlation

from tf_deconv.data import sources
from tf_deconv.inference.following import Follower

# Rows down and columns to the right; clips whose camera stands still are counted by themselves.
MOVES = ((0.0, 0.0), (0.25, -0.1), (0.5, 0.5), (1.5, -2.2), (5.3, 7.7), (11.0, -20.4))
STDDEVS = (0, 10, 30, 50)
SIDE_PX, SHRINK = 256, 1.5
TIMED = (360, 640)
RIGHT_PX, MOVED_PX = 0.25, 0.1
THING_PX, THING_MOVES = 80, (3.0, -5.0)

Found = tuple[float, float]
Method = Callable[[np.ndarray, np.ndarray], Found]


def ours(before: np.ndarray, now: np.ndarray) -> Found:
    follower = Follower()
    follower.to(before)
    motion = follower.to(now)
    return motion.down_px, motion.right_px


def grey(frame: np.ndarray) -> np.ndarray:
    return frame.mean(-1, dtype=np.float32)


def hann(shape: tuple[int, ...]) -> np.ndarray:
    return np.outer(*(np.hanning(side) for side in shape)).astype(np.float32)


def opencv_phase(before: np.ndarray, now: np.ndarray) -> Found:
    first, second = grey(before), grey(now)
    (right, down), _ = cv2.phaseCorrelate(first, second, hann(first.shape))
    return down, right


def opencv_ecc(before: np.ndarray, now: np.ndarray) -> Found:
    warp = np.eye(2, 3, dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    try:
        _, warp = cv2.findTransformECC(
            grey(before), grey(now), warp, cv2.MOTION_TRANSLATION, criteria, None, 5
        )
    except cv2.error:  # It did not converge.
        return 0.0, 0.0
    return float(warp[1, 2]), float(warp[0, 2])


def skimage_phase(before: np.ndarray, now: np.ndarray, window: bool = False) -> Found:
    first, second = grey(before), grey(now)
    if window:
        first, second = ((each - each.mean()) * hann(each.shape) for each in (first, second))
    shift, _, _ = phase_cross_correlation(second, first, upsample_factor=20)
    return float(shift[0]), float(shift[1])


METHODS: dict[str, Method] = {
    "tf_deconv": ours,
    "OpenCV phaseCorrelate": opencv_phase,
    "OpenCV findTransformECC": opencv_ecc,
    "scikit-image": skimage_phase,
    "scikit-image, Hann": lambda before, now: skimage_phase(before, now, True),
}


def window(picture: Image.Image, down: float, right: float, size: tuple[int, int]) -> np.ndarray:
    """Returns what a camera sees whose picture has come so far down and to the right."""
    high, wide = size
    top, left = (50 - SHRINK * by for by in (down, right))
    box = (left, top, left + SHRINK * wide, top + SHRINK * high)
    return np.array(picture.resize((wide, high), Image.Resampling.LANCZOS, box=box))


def frames(
    picture: Image.Image, move: Found, stddev: float, seed: int, thing: Image.Image | None
) -> list[np.ndarray]:
    """Returns two frames (H, W, 3) uint8."""
    random, made = np.random.default_rng(seed), []
    for number in (0, 1):
        frame = window(picture, number * move[0], number * move[1], (SIDE_PX, SIDE_PX))
        if thing is not None:
            top, left = (90 + round(number * by) for by in THING_MOVES)
            part = window(thing, 0, 0, (THING_PX, THING_PX))
            frame[top : top + THING_PX, left : left + THING_PX] = part
        noisy = frame + random.normal(0, stddev, frame.shape)
        made.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of pictures")
    parser.add_argument("--pictures", type=int, default=40)
    options = parser.parse_args()
    store, _, _ = sources.read_pictures(options.data)
    least = SHRINK * (SIDE_PX + 30) + 50
    fit = [n for n in range(len(store)) if min(store.heights[n], store.widths[n]) > least]
    chosen = [fit[(n * len(fit)) // options.pictures] for n in range(options.pictures)]
    pictures = [
        Image.fromarray(store.as_bytes(np.ascontiguousarray(store.picture(n)[..., -3:]), n))
        for n in chosen
    ]
    for stddev in STDDEVS:
        print(f"\nsigma {stddev:<15} right   error px   with a thing   moved of still   ms")
        for name, method in METHODS.items():
            errors: dict[bool, list[float]] = {False: [], True: []}
            still = []
            for number, picture in enumerate(pictures):
                for move in MOVES:
                    for has_thing in (False, True):
                        thing = pictures[(number + 1) % len(pictures)] if has_thing else None
                        pair = frames(picture, move, stddev, number, thing)
                        error = float(np.hypot(*np.subtract(method(*pair), move)))
                        if any(move):
                            errors[has_thing].append(error)
                        else:
                            still.append(error >= MOVED_PX)
            pair = [np.array(pictures[0].resize(TIMED[::-1]))] * 2
            times = []
            for _ in range(5):
                began = time.perf_counter()
                method(*pair)
                times.append(time.perf_counter() - began)
            alone, behind = (np.array(errors[has_thing]) for has_thing in (False, True))
            print(
                f"{name:24}{np.mean(alone <= RIGHT_PX):6.0%}{np.median(alone):9.3f}"
                f"{np.mean(behind <= RIGHT_PX):13.0%}{np.mean(still):15.0%}"
                f"{1000 * np.median(times):10.1f}",
                flush=True,
            )


if __name__ == "__main__":
    import outcome

    outcome.run(main)
