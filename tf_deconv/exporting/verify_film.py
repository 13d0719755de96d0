"""What `verify` does with a network for films: a known clip, streamed with its state.

A client's usual fault, besides those of pictures, is a state that is not handed on: the first frame
is right then, and each further one is what it would be as a first one.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

from tf_deconv.exporting import golden
from tf_deconv.exporting.parity import diagnosis, process, runner

CASE = "stream"
# How much nearer a clip without a state must be to explain what came, and from where on nothing is
# to be explained: no two files of other arithmetic are as near.
_GAIN_DB, _SURE_DB = 6.0, 100.0


@dataclasses.dataclass(frozen=True)
class KnownFilm:
    """A known clip.

    Attributes:
      given: (T, H, W, C) what goes in.
      expected: (T, H, W, C) what Keras makes of it, from a state of zeros on.
      against: What made that.
      judge: A file that makes what Keras makes, and its runtime: for further clips; None where
        there is none.
      start: (1, h, w, S) the state of the first frame.
    """

    given: np.ndarray
    expected: np.ndarray
    against: str
    judge: tuple[pathlib.Path, str] | None
    start: np.ndarray


def signature_for(file: str, size: tuple[int, int]) -> str:
    """Returns the signature that streams frames of a (height, width)."""
    return f"{CASE}_{size[0]}x{size[1]}" if file.endswith(".tflite") else CASE


def first_state(manifest: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Returns the state before the first frame of a (height, width), as the manifest tells it."""
    facts, divisor = manifest["state"], manifest.get("divisor") or 1
    sides = (-(-side // divisor) * divisor // facts["stride"] for side in size)
    return np.full((1, *sides, facts["channels"]), facts.get("start", 0.0), np.float32)


def cases(file: str, clip: np.ndarray, start: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what `runner` streams."""
    key = f"{signature_for(file, clip.shape[1:3])}|0|"
    return {f"{key}{runner.FILM}": clip, f"{key}{runner.START}": start}


def streamed(file: str, size: tuple[int, int], results: dict[str, np.ndarray]) -> np.ndarray:
    """Returns what came of it, (T, H, W, C)."""
    return results[f"{signature_for(file, size)}|0|restored"]


def know(
    folder: pathlib.Path,
    manifest: dict[str, Any],
    size: tuple[int, int],
    judge: tuple[pathlib.Path, str] | None,
) -> KnownFilm | None:
    """Returns the known clip of a size; None where nothing tells what is right of it.

    Args:
      folder: The export's.
      manifest: Its manifest's content.
      size: (height, width).
      judge: As of `KnownFilm`.
    """
    start = first_state(manifest, size)
    kept = golden.read_clip(folder / golden.FOLDER, size)
    if kept is not None:
        return KnownFilm(*kept, "golden/", judge, start)
    if judge is None:
        return None
    path, runtime = judge
    clip = golden.clip(size, manifest["channels_in"])
    results = process.run_file(path, cases(path.name, clip, start), runtime, timed=False)
    made = "the float32 file in LiteRT" if runtime == "litert" else "the SavedModel in TensorFlow"
    return KnownFilm(clip, streamed(path.name, size, results), made, judge, start)


def judge(received: np.ndarray, known: KnownFilm, floor_db: float) -> diagnosis.Judgement:
    """Compares what a runtime made of the known clip with what is right.

    Args:
      received: (T, H, W, C), or with another layout or other values.
      known: The clip.
      floor_db: The least PSNR over all frames.
    """
    frames = np.asarray(received)
    while frames.ndim > 4 and 1 in frames.shape[:2]:
        frames = frames[0] if frames.shape[0] == 1 else frames[:, 0]
    if frames.ndim != 4 or len(frames) != len(known.expected):
        shape = "x".join(map(str, np.shape(received)))
        wanted = "x".join(map(str, known.expected.shape))
        fault = f"the array is {shape}: expected {wanted}, frame by frame"
        return diagnosis.Judgement(None, floor_db, fault, "shape")
    judged = [
        diagnosis.judge(frame, wanted, given, floor_db)
        for frame, wanted, given in zip(frames, known.expected, known.given)
    ]
    score, least = _over_all(judged), min(each.floor_db for each in judged)
    # A state that is hardly needed is lost and the floor of int8 is reached all the same.
    if score is not None and score < _SURE_DB and judged[0].is_right:
        alone = _each_as_the_first(known)
        as_firsts = [] if alone is None else zip(frames, alone)
        explained = _over_all([diagnosis.judge(*each, None, floor_db) for each in as_firsts])
        if explained is not None and explained > score + _GAIN_DB:
            fault = "the state was not handed on: each frame is what it would be as the first one"
            return diagnosis.Judgement(score, least, fault, "state", explained)
    if score is not None and score >= least:
        return diagnosis.Judgement(score, least, note=judged[0].note)
    wrong = next(number for number, each in enumerate(judged) if not each.is_right)
    if wrong == 0:
        return dataclasses.replace(judged[0], psnr_db=score, fault=f"frame 1: {judged[0].fault}")
    fault = (
        f"{'frame 1 is' if wrong == 1 else f'frames 1 to {wrong} are'} right, frame {wrong + 1} is"
        f" not ({judged[wrong].fault}): is the state handed on as it came?"
    )
    return diagnosis.Judgement(score, least, fault, "state", None)


def _over_all(judged: list[diagnosis.Judgement]) -> float | None:
    """Returns the PSNR over all frames."""
    scores = [each.psnr_db for each in judged]
    if not scores or None in scores:
        return None
    error = float(np.mean([10 ** (-score / 10) for score in scores]))
    return math.inf if error == 0 else -10 * math.log10(error)


def _each_as_the_first(known: KnownFilm) -> np.ndarray | None:
    """Returns the clip whose every frame began a film of its own."""
    if known.judge is None:
        return None
    path, runtime = known.judge
    size = known.given.shape[1:3]
    name = signature_for(path.name, size)
    each = {}
    for number, frame in enumerate(known.given):
        each[f"{name}|{number}|{runner.FILM}"] = frame[np.newaxis]
        each[f"{name}|{number}|{runner.START}"] = known.start
    made = process.run_file(path, each, runtime, timed=False)
    return np.stack([made[f"{name}|{n}|restored"][0] for n in range(len(known.given))])
