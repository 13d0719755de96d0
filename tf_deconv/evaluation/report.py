"""The table and the contact sheet of `evaluate`: what people see of the scores."""

from __future__ import annotations

import bisect
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_deconv.images import arrays, sheets

# Rows of the sheet for the best pictures, and as many for the worst.
SHEET_ROWS, SHEET_SIDE_PX = 3, 256
_NAME_WIDTH = 22
_TITLES = {"psnr_db": "PSNR dB", "ssim": "SSIM", "luminance_psnr_db": "luminance dB"}
_SIDES = {"input": "input", "classical": "classic", "output": "output"}


@dataclasses.dataclass(frozen=True)
class EvaluateResult:
    """What a command measured.

    Attributes:
      scores: The content of the JSON file that it wrote.
      folder: Where that lies.
      failures: "picture: reason" of each one that could not be measured.
    """

    scores: dict[str, Any]
    folder: pathlib.Path
    failures: tuple[str, ...] = ()


class Table:
    """Aligned lines for people: a row per picture as soon as it is measured."""

    def __init__(self, sides: Sequence[str]):
        """Lays out.

        Args:
          sides: "input", "classical" or not, "output".
        """
        self._sides = sides

    def head(self) -> list[str]:
        """Returns the titles of the columns."""
        start = f"{'':{_NAME_WIDTH}} {'':>9}"
        words = "".join(f"{_SIDES[side]:>8}" for side in self._sides)
        blank = " " * 8
        titles = [f"{_TITLES[name]:>{len(words)}}" for name in _TITLES]
        return [
            f"{start} {titles[0]}{blank} {titles[1]} {titles[2]}",
            f"{'picture':{_NAME_WIDTH}} {'size':>9} {words}{'gain':>8} {words} {words}",
        ]

    def row(self, picture: dict[str, Any]) -> str:
        """Returns a line of scores; NaN is a dash, infinite decibels are "exact"."""
        psnr, ssim, luminance = (
            "".join(f"{_cell(name, picture[side][name]):>8}" for side in self._sides)
            for name in _TITLES
        )
        gain_db = picture["gain_db"]
        gain = f"{gain_db:+.2f}" if math.isfinite(gain_db) else "-"
        name = _shortened(picture["name"], _NAME_WIDTH)
        start = f"{name:{_NAME_WIDTH}} {picture['size']:>9}"
        return f"{start} {psnr}{gain:>8} {ssim} {luminance}"


def _cell(name: str, value: float) -> str:
    if value == math.inf:
        return "exact"
    return "-" if math.isnan(value) else format(value, ".4f" if name == "ssim" else ".2f")


def _shortened(name: str, width: int) -> str:
    """The end of a path tells more than its beginning."""
    return name if len(name) <= width else "..." + name[-(width - 3) :]


class Extremes:
    """The pictures that gained most and least, cut to what the sheet shows of them."""

    def __init__(self):
        # Sort key, images and captions, the best first; at most 2 SHEET_ROWS are kept.
        self._kept: list[tuple[tuple[float, ...], list[np.ndarray], list[str]]] = []
        self._seen = 0

    def offer(
        self, picture: dict[str, Any], shown: dict[str, np.ndarray], clean: np.ndarray
    ) -> None:
        """Keeps the middle of a picture's images if it is among the best or the worst.

        Args:
          picture: Its name, scores and gain.
          shown: The sides, each (H, W, C) float.
          clean: (H, W, C) float in [0, 1].
        """
        gain_db = picture["gain_db"]
        # Among equal gains (all are infinite where the input is the target) the better output
        # comes first; what a broken network made, NaN, comes last.
        broken = math.isnan(gain_db)
        keys = (0.0, 0.0) if broken else (-gain_db, -picture["output"]["psnr_db"])
        order = (broken, *keys, self._seen)
        self._seen += 1
        place = bisect.bisect([entry[0] for entry in self._kept], order)
        if len(self._kept) == 2 * SHEET_ROWS and place == SHEET_ROWS:
            return
        row = [_for_sheet(image) for image in (*shown.values(), clean)]
        captions = [f"{side} {_cell('psnr_db', picture[side]['psnr_db'])}" for side in shown]
        captions = [f"{caption} dB".replace("exact dB", "exact") for caption in captions]
        captions[0] = f"{_shortened(picture['name'], 20)}: {captions[0]}"
        if math.isfinite(gain_db):
            captions[-1] += f" ({gain_db:+.2f})"
        self._kept.insert(place, (order, row, [*captions, "target"]))
        if len(self._kept) > 2 * SHEET_ROWS:
            del self._kept[SHEET_ROWS]

    def sheet(self, count: int) -> np.ndarray:
        """Lays the pictures out, the best first, each with its place among all `count`.

        Returns:
          (H, W, 3) uint8.
        """
        rows, captions = [], []
        for index, (_, row, texts) in enumerate(self._kept):
            below = len(self._kept) - index
            place = index + 1 if index < SHEET_ROWS else count - below + 1
            rows.append(row)
            captions.append([f"{place} of {count}, {texts[0]}", *texts[1:]])
        return sheets.contact_sheet(rows, captions)


def _for_sheet(image: np.ndarray) -> np.ndarray:
    """Cuts out the middle; small pictures are enlarged, narrow ones get room for their caption."""
    image = np.nan_to_num(arrays.middle(image, (SHEET_SIDE_PX,) * 2))
    factor = max(1, SHEET_SIDE_PX // max(image.shape[:2]))
    image = np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)
    image = np.broadcast_to(image, (*image.shape[:2], 3))
    missing = max(0, SHEET_SIDE_PX - image.shape[1])
    return np.pad(image, ((0, 0), (0, missing), (0, 0)), constant_values=1.0).astype(np.float32)
