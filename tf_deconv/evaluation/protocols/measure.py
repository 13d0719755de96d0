"""`benchmark --protocol`: models measured by the letter of the restoration literature's protocols.

--data -> sources: every picture -> protocol_cases: a Case for each sigma, scale or quality
  -> doing nothing | bm3d, where asked for | each model: inference.Restorer -> the Case's PSNR
  -> means, beside what papers print (`published`) -> protocol_table -> protocol.json, protocol.md
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_deconv import __version__
from tf_deconv.data import sources
from tf_deconv.data.store import PictureStore
from tf_deconv.evaluation.config import BenchmarkConfig
from tf_deconv.evaluation.protocols import tables
from tf_deconv.evaluation.protocols.cases import Case, make_case
from tf_deconv.evaluation.protocols.published import (
    FIGURES,
    PROTOCOLS,
    Published,
    known_set,
    set_size,
)
from tf_deconv.evaluation.report import EvaluateResult
from tf_deconv.images import arrays
from tf_deconv.images.arrays import is_grey
from tf_deconv.inference.artifacts import open_artifact
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.inference.restorer import Artifact, Restorer
from tf_deconv.networks import complexity
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar

SCORES_FILE, TABLE_FILE = "protocol.json", "protocol.md"
# Channels in and out, and scales, of the models that a protocol measures.
_SHAPES = {
    "awgn-grey": ([(1, 1)], (1,)),
    "awgn-colour": ([(3, 3)], (1,)),
    "sr": ([(1, 1), (3, 3)], (2, 3, 4)),
    "jpeg": ([(1, 1), (3, 3)], (1,)),
}


# --- What restores it.


@dataclasses.dataclass(frozen=True)
class Method:
    """What restores pictures: a model, a classic, or nothing at all.

    Attributes:
      name: For people.
      kind: "baseline", "classical" or "model".
      channels: As for `make_case`.
      settings: Those that it can restore.
      restore: Case, setting and where progress goes, to the restored picture, float.
      parameters: Number of weights; None where there are none, or it is not recorded.
      multiply_adds: For each output pixel; None likewise.
    """

    name: str
    kind: str
    channels: int
    settings: tuple[int, ...]
    restore: Callable[[Case, int, Callable[[float], None]], np.ndarray]
    parameters: int | None = None
    multiply_adds: float | None = None


def open_model(located: LocatedModel, config: BenchmarkConfig) -> Method:
    """Opens a model for a protocol.

    Args:
      located: The model.
      config: All options.
    Raises:
      UserError: if it cannot be opened, or does not fit the protocol.
    """
    artifact = open_artifact(located)
    check_fit(located.asked, artifact, config.protocol)
    restorer = Restorer(artifact, config.tile_size, config.self_ensemble)
    if artifact.model is not None:
        cost = artifact.model.count_params(), complexity.multiply_adds_per_pixel(artifact.model)
    else:
        known = located.known
        recorded = known.get("parameters"), known.get("multiply_adds_per_pixel")
        # A manifest is a file that anyone may have edited.
        cost = tuple(count if isinstance(count, int | float) else None for count in recorded)
    return Method(
        arrays.printable(located.asked),
        "model",
        1 if config.protocol == "jpeg" else artifact.channels_in,
        (artifact.scale,) if config.protocol == "sr" else PROTOCOLS[config.protocol].settings,
        lambda case, _, progress: restorer.restore(case.degraded, progress),
        *cost,
    )


def check_fit(path: str, artifact: Artifact, protocol: str) -> None:
    """Refuses a model whose pictures are not those of the protocol.

    Raises:
      UserError: naming the protocols that fit.
    """
    if _fits(artifact, protocol):
        return
    shapes, scales = _SHAPES[protocol]
    wanted = " or ".join(f"{before} in and {after} out" for before, after in shapes)
    others = [f"--protocol {name}" for name in PROTOCOLS if _fits(artifact, name)]
    remedy = f"{' or '.join(others)} fits it" if others else "no protocol fits it"
    raise UserError(
        f"model {path!r} has {artifact.channels_in} channels in, {artifact.channels_out} out and"
        f" scale {artifact.scale}; protocol {protocol!r} expected {wanted}, and scale"
        f" {', '.join(map(str, scales))}: {remedy}"
    )


def _fits(artifact: Artifact, protocol: str) -> bool:
    shapes, scales = _SHAPES[protocol]
    return (artifact.channels_in, artifact.channels_out) in shapes and artifact.scale in scales


def open_bm3d(protocol: str) -> Method:
    """Returns the classic of noise, which is told sigma; its authors' own program.

    Raises:
      UserError: if it is not installed.
    Reference: Makinen et al. 2020, the package bm3d.
    """
    if not importlib.util.find_spec("bm3d"):
        raise UserError(
            "classical=True: expected its authors' package: pip install bm3d (not for commercial"
            " use: see its licence); or leave out --classical"
        )
    import bm3d

    channels = 3 if protocol == "awgn-colour" else 1

    def restore(case: Case, sigma: int, _: Callable[[float], None]) -> np.ndarray:
        noisy = case.degraded.astype(np.float64)
        if channels == 3:
            return bm3d.bm3d_rgb(noisy, sigma / 255.0)
        return bm3d.bm3d(noisy[..., 0], sigma / 255.0)[..., np.newaxis]

    return Method("bm3d (package)", "classical", channels, PROTOCOLS[protocol].settings, restore)


def baselines(protocol: str, methods: Sequence[Method]) -> list[Method]:
    """Returns doing nothing, once for each kind of picture that the methods restore."""
    found = []
    kinds = sorted({method.channels for method in methods}, reverse=True)
    for channels in kinds:
        settings = {s for m in methods if m.channels == channels for s in m.settings}
        name = PROTOCOLS[protocol].baseline
        name += " of Y" if protocol == "sr" and len(kinds) > 1 and channels == 1 else ""
        shown = tuple(sorted(settings))
        found.append(Method(name, "baseline", channels, shown, lambda case, *_: case.baseline))
    return found


# --- Measuring.


def benchmark_protocol(
    config: BenchmarkConfig, models: Sequence[str], report: Callable[[str], None] = print
) -> EvaluateResult:
    """Measures models by a protocol and writes `protocol.json` and `protocol.md`.

    Args:
      config: Options that `check_benchmark_config` returned.
      models: As for `locate`.
      report: Receives lines for the user.
    Returns:
      The scores of each picture and their means, and which pictures failed and why.
    Raises:
      UserError: if nothing could be measured: a model that does not fit, no picture.
    """
    name, protocol = config.protocol, PROTOCOLS[config.protocol]
    choose_device("auto", "float32")
    methods = [open_bm3d(name)] if config.classical else []
    found = [locate(path, config.trust) for path in models]
    methods += [open_model(located, config) for located in found]
    methods = [*baselines(name, methods), *methods]
    store, failures, notes = sources.read_pictures(config.data)
    folder = files.make_folder(pathlib.Path(config.out))
    data = os.path.basename(os.path.abspath(config.data))
    known = known_set(name, data)

    report(f"protocol: {name}: {protocol.rules}")
    report(f"data: {config.data}, {len(store) + len(failures)} pictures")
    notes += [note for located in found for note in located.notes]
    notes = [*notes, *_notes(config, store, methods, known, data)]
    for note in notes:
        report(f"note: {note}")
    pictures, scores = measure(name, methods, store, failures, report)
    if not pictures:
        raise UserError(
            f"none of the {len(failures)} pictures in {config.data!r} could be measured:"
            f" {failures[0]}"
        )
    if known is not None and len(pictures) != set_size(known):
        notes.append(
            f"{known} has {set_size(known)} pictures and {len(pictures)} were measured: the means"
            " do not compare with papers' figures"
        )
        report(f"note: {notes[-1]}")
    settings = sorted({setting for method in methods for setting in method.settings})
    printed = [_published_row(entry) for entry in FIGURES[name].get(known, ())]
    measured = [_measured_row(method, values) for method, values in zip(methods, scores)]
    result = {
        "protocol": name,
        "rules": protocol.rules,
        "data": config.data,
        "set": known,
        "settings": [str(setting) for setting in settings],
        "self_ensemble": config.self_ensemble,
        "tf_deconv": __version__,
        "notes": notes,
        "rows": [
            *(row for row in measured if row["kind"] == "baseline"),
            *printed,
            *(row for row in measured if row["kind"] != "baseline"),
        ],
        "pictures": pictures,
        "failures": sorted(failures),
    }
    lines = tables.table(result)
    files.write_json(folder / SCORES_FILE, result)
    files.write_bytes(folder / TABLE_FILE, "\n".join(tables.page(result, data)).encode() + b"\n")
    for line in lines:
        report(line)
    report(f"written: {folder / SCORES_FILE}, {TABLE_FILE}")
    if failures:
        report(f"{len(failures)} pictures could not be measured:")
        for failure in sorted(failures):
            report(f"  {failure}")
    return EvaluateResult(result, folder, tuple(sorted(failures)))


def measure(
    protocol: str,
    methods: Sequence[Method],
    store: PictureStore,
    failures: list[str],
    report: Callable[[str], None],
) -> tuple[list[dict[str, str]], list[dict[int, list[float]]]]:
    """Restores and scores pictures, one at a time.

    Args:
      protocol: Key of `PROTOCOLS`.
      methods: What restores them.
      store: The pictures.
      failures: Receives "name: reason" of each picture with which anything went wrong; it counts
        for no method, so that all means are over the same pictures.
      report: Receives a line for each picture.
    Returns:
      [{"name", "size"}] of each picture, and of each method {setting: PSNR of each picture in dB}.
    """
    pictures: list[dict[str, str]] = []
    scores = [{setting: [] for setting in method.settings} for method in methods]
    bar, count = Bar(sys.stderr), len(store) + len(failures)
    for index, name in enumerate(store.names):
        head = f"[{len(pictures) + len(failures) + 1}/{count}] {name}"
        picture = np.ascontiguousarray(store.picture_of_bytes(index))
        try:
            values = _measure_picture(protocol, methods, picture, head, bar)
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            bar.clear()
            failures.append(f"{name}: {reason(error)}")
            continue
        bar.clear()
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        pictures.append({"name": name, "size": size})
        for collected, own in zip(scores, values):
            for setting, value in own.items():
                collected[setting].append(value)
        shown = [
            f"{method.name} {tables.decibels_texts(own.values())}"
            for method, own in zip(methods, values)
        ]
        report(f"{head} {size}: {', '.join(shown)} dB")
    return pictures, scores


def _measure_picture(
    protocol: str, methods: Sequence[Method], picture: np.ndarray, head: str, bar: Bar
) -> list[dict[int, float]]:
    """Returns {setting: dB} of each method."""
    values: list[dict[int, float]] = [{} for _ in methods]
    for setting in PROTOCOLS[protocol].settings:
        cases: dict[int, Case] = {}
        for method, own in zip(methods, values):
            if setting not in method.settings:
                continue
            channels = method.channels
            if channels not in cases:
                cases[channels] = make_case(protocol, picture, setting, channels)
            words = f"{head}, {PROTOCOLS[protocol].heading.format(setting)}, {method.name}"
            draw = functools.partial(bar.draw, words)
            own[setting] = cases[channels].psnr_db(method.restore(cases[channels], setting, draw))
    return values


def _notes(
    config: BenchmarkConfig,
    store: PictureStore,
    methods: Sequence[Method],
    known: str | None,
    data: str,
) -> list[str]:
    """Returns what the reader of the figures must know."""
    protocol, notes = config.protocol, []
    if store.pixels.dtype != np.uint8:
        notes.append("the pictures were rounded to 8 bits, as papers measure")
    grey = sum(is_grey(store.picture(index)) for index in range(len(store)))
    colour = len(store) - grey
    if colour and protocol == "awgn-grey":
        notes.append(f"{colour} of {len(store)} pictures are in colour: luminance is taken of them")
    if colour and protocol == "jpeg":
        notes.append(f"{colour} of {len(store)} pictures are in colour: Y (16 to 235) is taken")
    if grey and protocol in ("awgn-colour", "sr"):
        notes.append(f"{grey} of {len(store)} pictures are grey: taken as three equal channels")
    if protocol == "jpeg" and any(method.kind == "model" for method in methods):
        notes.append(
            "a colour model gets grey as three equal channels, and the luminance of its output is"
            " scored"
        )
    if protocol == "sr" and any(method.channels == 1 for method in methods):
        notes.append("a grey model gets Y, made smaller, and its output is scored as it is")
    if config.self_ensemble:
        notes.append("models give the mean over the 8 flips and turns of each picture")
    if known is None:
        sets = ", ".join(FIGURES[protocol])
        notes.append(
            f"papers' figures are known for {sets}: none are shown for a folder named {data!r}"
        )
    return notes


def _measured_row(method: Method, scores: dict[int, list[float]]) -> dict[str, Any]:
    named = {str(setting): values for setting, values in scores.items()}

    def for_all(value: float | None) -> dict[str, float]:
        return {} if value is None else dict.fromkeys(named, value)

    return {
        "method": method.name,
        "kind": method.kind,
        "figures_from": "measured",
        "psnr_db": {setting: _mean(values) for setting, values in named.items()},
        "exact_pictures": {s: int(np.isinf(values).sum()) for s, values in named.items()},
        "parameters": for_all(method.parameters),
        "multiply_adds_per_pixel": for_all(method.multiply_adds),
        # One figure for each of "pictures", in their order; null is a picture equal to the clean.
        "pictures_psnr_db": named,
    }


def _published_row(entry: Published) -> dict[str, Any]:
    def named(values: Mapping[int, float]) -> dict[str, float]:
        return {str(setting): value for setting, value in values.items()}

    return {
        "method": entry.method,
        "kind": "published",
        "figures_from": entry.printed_in,
        "paper": entry.paper,
        "psnr_db": named(entry.psnr_db),
        "parameters": named(entry.parameters),
        "multiply_adds_per_pixel": named(entry.multiply_adds),
    }


def _mean(values: Sequence[float]) -> float:
    """Returns the mean of what is finite; infinity if nothing is."""
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("inf")
