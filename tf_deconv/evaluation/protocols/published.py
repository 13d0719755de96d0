"""The literature's protocols by name, and the figures that its papers print for them.

What a protocol does is in `protocols.py`. Decibels and parameters are copied from papers;
multiply-adds are counted from the architectures as in `complexity.py`, for each output pixel.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping


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


# --- Figures.

_DPIR, _SWINIR = "Zhang et al. 2021 (DRUNet)", "Liang et al. 2021 (SwinIR)"
_IRCNN, _FFDNET = "Zhang et al. 2017 (IRCNN)", "Zhang et al. 2018 (FFDNet)"
_DNCNN, _BM3D = "Zhang et al. 2017 (DnCNN)", "Dabov et al. 2007 (BM3D)"
_EDSR, _VDSR = "Lim et al. 2017 (EDSR)", "Kim et al. 2016 (VDSR)"
_SRCNN, _FSRCNN = "Dong et al. 2014 (SRCNN)", "Dong et al. 2016 (FSRCNN)"
_ARCNN, _KEYS = "Dong et al. 2015 (ARCNN)", "Keys 1981"

# Weights of a 3x3 convolution from 64 channels to 64, and to or from one channel.
_WIDE, _END = 9 * 64 * 64, 9 * 64

Values = Iterable[float | None]


def _rows(protocol: str, *entries: tuple) -> tuple[Published, ...]:
    """Makes entries of (method, paper, printed in, decibels, parameters, multiply-adds).

    Of the last three, a number stands for each setting, or one for all, or None.
    """
    rows = []
    for method, paper, printed_in, *values in entries:
        maps = [_by_setting(PROTOCOLS[protocol].settings, value) for value in values]
        rows.append(Published(method, paper, printed_in, *maps))
    return tuple(rows)


def _by_setting(settings: Iterable[int], values: Values | float | None) -> dict[int, float]:
    if values is None or isinstance(values, int | float):
        values = [values] * len(tuple(settings))
    return {setting: value for setting, value in zip(settings, values) if value is not None}


# Seven layers of 64 channels, dilated; seventeen; fifteen at half the size, whose four pixels and
# noise level are five channels; and a U-Net of four levels whose blocks, 8 convolutions each way,
# have four times the weights and a quarter of the pixels from one level to the next.
_IRCNN_COST = (186_000, 5 * _WIDE + 2 * _END)
_DNCNN_COST = (555_000, 15 * _WIDE + 2 * _END)
_FFDNET_COST = (485_000, (9 * 5 * 64 + 13 * _WIDE + 9 * 64 * 4) / 4)
_DRUNET_STEPS = 6 * 4 * 64 * 128 // 4
_DRUNET_COST = (32_600_000, (3 * 16 + 8) * _WIDE + _DRUNET_STEPS + 3 * _END)
# In colour: twelve layers of 96 channels; what DnCNN has there is not told beside these figures.
_IRCNN_COLOUR_COST = (188_000, 5 * _WIDE + 6 * _END)
_FFDNET_COLOUR_COST = (852_000, (9 * 13 * 96 + 10 * 9 * 96 * 96 + 9 * 96 * 12) / 4)
_DRUNET_COLOUR_COST = (32_600_000, (3 * 16 + 8) * _WIDE + _DRUNET_STEPS + 7 * _END)
_UNKNOWN = (None, None)

_SRCNN_COST = (57_000, 81 * 64 + 25 * 64 * 32 + 25 * 32)
_FSRCNN_WEIGHTS = 25 * 56 + 56 * 12 + 4 * 9 * 12 * 12 + 12 * 56 + 81 * 56
_FSRCNN_COST = (12_000, [_FSRCNN_WEIGHTS / scale**2 for scale in (2, 3, 4)])
_VDSR_COST = (665_000, 18 * _WIDE + 2 * _END)
# The body works on the small picture, the last layer on the large one; x4 enlarges twice by 2.
_EDSR_BODY = 3 * _END + 33 * _WIDE
_EDSR_COST = (
    [1_370_000, 1_554_000, 1_518_000],
    [
        (_EDSR_BODY + 4 * _WIDE) / 4 + 3 * _END,
        (_EDSR_BODY + 9 * _WIDE) / 9 + 3 * _END,
        (_EDSR_BODY + 4 * _WIDE) / 16 + 4 * _WIDE / 4 + 3 * _END,
    ],
)

_ARCNN_COST = (106_000, 81 * 64 + 49 * 64 * 32 + 32 * 16 + 25 * 16)
_DNCNN_3_COST = (666_000, 18 * _WIDE + 2 * _END)

# fmt: off
FIGURES: dict[str, dict[str, tuple[Published, ...]]] = {
    "awgn-grey": {
        "Set12": _rows(
            "awgn-grey",
            ("BM3D", _BM3D, _DPIR, (32.37, 29.97, 26.72), *_UNKNOWN),
            ("IRCNN", _IRCNN, _DPIR, (32.76, 30.37, 27.12), *_IRCNN_COST),
            ("FFDNet", _FFDNET, _DPIR, (32.75, 30.43, 27.32), *_FFDNET_COST),
            ("DnCNN", _DNCNN, _DPIR, (32.86, 30.44, 27.18), *_DNCNN_COST),
            ("DRUNet", _DPIR, _DPIR, (33.25, 30.94, 27.90), *_DRUNET_COST),
            ("SwinIR", _SWINIR, _SWINIR, (33.36, 31.01, 27.91), 11_900_000, None),
        ),
        "BSD68": _rows(
            "awgn-grey",
            ("BM3D", _BM3D, _DPIR, (31.08, 28.57, 25.60), *_UNKNOWN),
            ("IRCNN", _IRCNN, _DPIR, (31.63, 29.15, 26.19), *_IRCNN_COST),
            ("FFDNet", _FFDNET, _DPIR, (31.63, 29.19, 26.29), *_FFDNET_COST),
            ("DnCNN", _DNCNN, _DPIR, (31.73, 29.23, 26.23), *_DNCNN_COST),
            ("DRUNet", _DPIR, _DPIR, (31.91, 29.48, 26.59), *_DRUNET_COST),
            ("SwinIR", _SWINIR, _SWINIR, (31.97, 29.50, 26.58), 11_900_000, None),
        ),
    },
    "awgn-colour": {
        "CBSD68": _rows(
            "awgn-colour",
            ("CBM3D", _BM3D, _DPIR, (33.52, 30.71, 27.38), *_UNKNOWN),
            ("IRCNN", _IRCNN, _DPIR, (33.86, 31.16, 27.86), *_IRCNN_COLOUR_COST),
            ("FFDNet", _FFDNET, _DPIR, (33.87, 31.21, 27.96), *_FFDNET_COLOUR_COST),
            ("DnCNN", _DNCNN, _DPIR, (33.90, 31.24, 27.95), *_UNKNOWN),
            ("DRUNet", _DPIR, _DPIR, (34.30, 31.69, 28.51), *_DRUNET_COLOUR_COST),
            ("SwinIR", _SWINIR, _SWINIR, (34.42, 31.78, 28.56), 11_900_000, None),
        ),
    },
    "sr": {
        "Set5": _rows(
            "sr",
            ("bicubic", _KEYS, _VDSR, (33.66, 30.39, 28.42), *_UNKNOWN),
            ("SRCNN", _SRCNN, _VDSR, (36.66, 32.75, 30.48), *_SRCNN_COST),
            ("FSRCNN", _FSRCNN, _FSRCNN, (37.00, 33.16, 30.71), *_FSRCNN_COST),
            ("VDSR", _VDSR, _VDSR, (37.53, 33.66, 31.35), *_VDSR_COST),
            # The paper has its large network alone; the small one is compared with in later ones.
            ("EDSR-baseline", _EDSR, "later papers", (37.99, None, 32.09), *_EDSR_COST),
        ),
        "Set14": _rows("sr", ("bicubic", _KEYS, _VDSR, (30.24, 27.55, 26.00), *_UNKNOWN)),
    },
    "jpeg": {
        "Classic5": _rows(
            "jpeg",
            ("ARCNN", _ARCNN, _SWINIR, (29.03, 31.15, 32.51, 33.32), *_ARCNN_COST),
            ("DnCNN-3", _DNCNN, _SWINIR, (29.40, 31.63, 32.91, 33.77), *_DNCNN_3_COST),
        ),
    },
}
# fmt: on
