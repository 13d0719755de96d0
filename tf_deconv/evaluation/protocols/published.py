"""The literature's protocols by name, and the figures that its papers print for them.

What a protocol does is in `cases.py`. The figures lie in `published.json`. Decibels and
parameters are copied from papers; multiply-adds are counted from the architectures that the papers
describe, for each output pixel, as `complexity.py` counts them (the tests count them again).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a literature measures.

    Attributes:
      summary: One line for `--help`.
      settings: What is measured one after the other, each a column.
      heading: A setting in words.
      baseline: What doing nothing is called.
      rules: What is done, to the letter, for the table's readers.
    """

    summary: str
    settings: tuple[int, ...]
    heading: str
    baseline: str
    rules: str


_NOISE_RULES = (
    "noise of NumPy's legacy generator, seed 0 for each picture, not clipped; restored pictures"
    " clipped and rounded to 8 bits; PSNR over the whole picture{channels}, no border cut; mean"
    " over the pictures"
)

PROTOCOLS = {
    "awgn-grey": Protocol(
        "white Gaussian noise on grey pictures, sigma 15, 25 and 50, not clipped",
        (15, 25, 50),
        "sigma {}",
        "noisy",
        _NOISE_RULES.format(channels=""),
    ),
    "awgn-colour": Protocol(
        "white Gaussian noise on colour pictures, sigma 15, 25 and 50, not clipped",
        (15, 25, 50),
        "sigma {}",
        "noisy",
        _NOISE_RULES.format(channels=" and its three channels"),
    ),
    "sr": Protocol(
        "super-resolution by the model's scale, 2, 3 or 4, from MATLAB's bicubic",
        (2, 3, 4),
        "x{}",
        "bicubic",
        "pictures cut to a multiple of the scale, made smaller by antialiased bicubic (a = -0.5,"
        " mirrored edges) and rounded to 8 bits; PSNR on Y of BT.601 (16 to 235) rounded to 8 bits,"
        " without as many pixels at each border as the scale; mean over the pictures",
    ),
    "jpeg": Protocol(
        "grey JPEG of quality 10, 20, 30 and 40; of colour pictures Y of BT.601 (16 to 235)",
        (10, 20, 30, 40),
        "quality {}",
        "JPEG",
        "grey pictures, or Y of BT.601 (16 to 235, as MATLAB's rgb2ycbcr, rounded to 8 bits) of"
        " colour ones, encoded and decoded by libjpeg; PSNR over the whole picture, no border cut;"
        " mean over the pictures",
    ),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """What is printed of a method on one set of pictures.

    Attributes:
      method: Its name.
      paper: Where it was proposed.
      printed_in: Where the figures were taken from.
      psnr_db: Setting to mean PSNR, in decibels.
      parameters: Setting to number of weights; {} where there are none, or it is not known.
      multiply_adds: Setting to multiply-adds for each output pixel; {} likewise.
    """

    method: str
    paper: str
    printed_in: str
    psnr_db: Mapping[int, float]
    parameters: Mapping[int, int] = dataclasses.field(default_factory=dict)
    multiply_adds: Mapping[int, float] = dataclasses.field(default_factory=dict)


def known_set(protocol: str, folder: str) -> str | None:
    """Finds the set of pictures that a folder is named after: "set-12" and "Set12" are one.

    Args:
      protocol: Key of `PROTOCOLS`.
      folder: Name of the folder.
    Returns:
      Key of `FIGURES[protocol]`, or None.
    """
    return {_plain(name): name for name in FIGURES[protocol]}.get(_plain(folder))


def set_size(name: str) -> int:
    """Returns how many pictures a set of `FIGURES` has: its name ends in their number."""
    return int(re.search(r"[0-9]+$", name)[0])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _read_figures() -> dict[str, dict[str, tuple[Published, ...]]]:
    """Reads the figures that lie beside this module: protocol to set to methods.

    What is said of a method is an object of setting to value, or one number for every setting.
    """
    content = pathlib.Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
    return {
        protocol: {
            name: tuple(_published(entry, PROTOCOLS[protocol].settings) for entry in entries)
            for name, entries in sets.items()
        }
        for protocol, sets in json.loads(content).items()
    }


def _published(entry: dict[str, Any], settings: tuple[int, ...]) -> Published:
    values = {}
    for name in ("psnr_db", "parameters", "multiply_adds"):
        value = entry.get(name, {})
        if not isinstance(value, dict):
            value = dict.fromkeys(settings, value)
        values[name] = {int(setting): number for setting, number in value.items()}
    return Published(**{**entry, **values})


FIGURES = _read_figures()
