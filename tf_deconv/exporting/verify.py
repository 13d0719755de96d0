"""`verify`: exported files in a runtime, each on a known picture, against what Keras makes of it.

`verify_export` tells which files are meant, and `verify_known` what is right of them. Files run in
a process of their own (`parity.runner`), with nothing of tf_deconv.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import pathlib
import re
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv.exporting import golden, verify_export, verify_film, verify_known
from tf_deconv.exporting.config import VerifyConfig
from tf_deconv.exporting.parity import diagnosis, process, runner
from tf_deconv.exporting.variants import parse_sizes
from tf_deconv.exporting.verify_export import Export, Size
from tf_deconv.images import reading
from tf_deconv.utils.options import UserError, reason

# What other runtimes give of files in float32, and the least of a file of which nothing is known.
FLOOR_DB = 100.0
# What an answer of unknown precision has to reach: the floor of int8 files.
LEAST_FLOOR_DB = 40.0
_LARGEST_REASON = 400


@dataclasses.dataclass(frozen=True)
class Row:
    """What was found of one file.

    Attributes:
      file: As its export names it, or its path.
      runtime: Key of `runner.RUNTIMES`; None of an answer that was given.
      version: The runtime's; "" where that is not known.
      size: (height, width) of the known picture; None of a generator.
      verdict: "right", "wrong" or "not run".
      psnr_db: Against the right picture; infinity for an equal one, None where there is none.
      floor_db: The least that is right.
      fault: What is wrong, or why it did not run; "" where it is right.
      kind: What is wrong in one word.
      explained_db: PSNR against the wrong picture that explains it.
      against: What made the right picture.
    """

    file: str
    runtime: str | None
    version: str
    size: Size | None
    verdict: str
    psnr_db: float | None = None
    floor_db: float | None = None
    fault: str = ""
    kind: str = ""
    explained_db: float | None = None
    against: str = ""

    def line(self) -> str:
        """Returns what a person reads."""
        where = f" in {self.runtime} {self.version}".rstrip() if self.runtime else ""
        size = f", {self.size[0]}x{self.size[1]}" if self.size else ""
        told = f"{self.file}{where}{size}: "
        if self.verdict == "not run":
            return f"{told}not run: {self.fault}"
        score = "" if self.psnr_db is None else _decibels(self.psnr_db)
        if self.verdict == "right":
            note = f"; {self.fault}" if self.fault else ""
            asked = f"at least {self.floor_db:g} dB, against {self.against}"
            return f"{told}right, {score} ({asked}){note}"
        explained = ""
        if self.explained_db is not None:
            explained = f" ({_decibels(self.explained_db)} but for that)"
        return f"{told}WRONG{', ' * bool(score)}{score}: {self.fault}{explained}"


@dataclasses.dataclass(frozen=True)
class VerifyResult:
    """What was found.

    Attributes:
      rows: One for each file that was run, or was to be.
    """

    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns what `--json` prints: an equal picture has psnr_db null and exact true."""
        rows = []
        for row in self.rows:
            entry = dataclasses.asdict(row)
            entry["exact"] = row.psnr_db == math.inf
            for name in ("psnr_db", "explained_db"):
                value = entry[name]
                entry[name] = value if value is not None and math.isfinite(value) else None
            rows.append(entry)
        return {"rows": rows}


def verify(config: VerifyConfig, report: Callable[[str], None] = print) -> VerifyResult:
    """Verifies files and tells what was found.

    Args:
      config: Options that `check_verify_config` returned.
      report: Receives lines for the user.
    Returns:
      What was found.
    Raises:
      UserError: for anything that the user can mend.
    """
    size = None if config.size is None else parse_sizes(config.size)[0]
    export, listed = verify_export.find(config)
    adds = config.golden is not None and verify_known.is_own_golden(config, export)
    if adds:
        verify_known.add_golden(export)
    elif config.golden is not None:
        golden.check_target(pathlib.Path(config.golden))
    if config.output is not None:
        rows = [_judge_output(config, export, pathlib.Path(config.output), size)]
    else:
        planned = verify_export.plan(config, export, listed)
        rows = [_verify_one(config, export, file, name, size) for file, name in planned]
        if len(rows) == 1 and rows[0].verdict == "not run":
            raise UserError(rows[0].fault)
    if config.golden is not None and not adds:
        verify_known.write_golden(config, export, size or rows[0].size)
    for row in rows:
        report(row.line())
    return VerifyResult(tuple(rows))


# --- One file.

# Runtimes that a judge of other files runs in.
_OWN = ("litert", "litert-compiled", "tensorflow")


def _verify_one(
    config: VerifyConfig, export: Export, path: pathlib.Path, runtime: str, size: Size | None
) -> Row:
    entry = export.entry(path)
    name = entry["file"] if entry else str(config.model)
    row = Row(name, runtime, "", size, "not run", floor_db=_floor(config, entry))
    try:
        if not export.is_generator:
            size = _size_of(export, path, entry, size)
            row = dataclasses.replace(row, size=size)
        if export.is_film:
            _check_takes_films(runtime, path)
        _check_installed(runtime, config.python)
        if verify_export.suffix(path) in ("", ".tflite"):
            verify_export.check_file(path, export.trust)
        if export.is_generator:
            return _verify_generator(config, export, path, row)
        if export.is_film:
            return _verify_film(config, export, path, row)
        own = runtime in _OWN
        known = verify_known.know(export, size, path if own else None)
        shape = ((entry or {}).get("input") or {}).get("shape")
        key = f"{process.signature_for(path.name, size, shape)}|0"
        results = _run(config, path, {key: known.given[np.newaxis]}, runtime)
    except UserError as error:
        return dataclasses.replace(row, fault=str(error))
    judged = diagnosis.judge(results[key], known.expected, known.given, row.floor_db, known.restore)
    return _judged(row, judged, known.against, str(results["version"]))


def _judged(row: Row, judged: diagnosis.Judgement, against: str, version: str) -> Row:
    return dataclasses.replace(
        row,
        version=version,
        verdict="right" if judged.is_right else "wrong",
        psnr_db=judged.psnr_db,
        floor_db=judged.floor_db,
        fault=judged.fault or judged.note,
        kind=judged.kind,
        explained_db=judged.explained_db,
        against=against,
    )


def _verify_film(config: VerifyConfig, export: Export, path: pathlib.Path, row: Row) -> Row:
    known = verify_known.know_film(export, row.size, path if row.runtime in _OWN else None)
    results = _run(
        config, path, verify_film.cases(path.name, known.given, known.start), row.runtime
    )
    received = verify_film.streamed(path.name, row.size, results)
    judged = verify_film.judge(received, known, row.floor_db)
    return _judged(row, judged, known.against, str(results["version"]))


def _verify_generator(config: VerifyConfig, export: Export, path: pathlib.Path, row: Row) -> Row:
    inputs, outputs = golden.read_named(export.folder / golden.FOLDER)
    signatures = export.manifest.get("tflite_signatures") or [""]
    if not inputs or len(outputs) != 1:
        raise UserError(
            f"{str(export.folder)!r} makes pictures from noise and has no {golden.FOLDER}/ with a"
            " known one: export it again"
        )
    if not hasattr(runner.RUNTIMES[row.runtime], "run_named"):
        fitting = [name for name, each in runner.RUNTIMES.items() if hasattr(each, "run_named")]
        raise UserError(
            f"runtime={row.runtime!r} is tried with models that restore alone: expected one of"
            f" {', '.join(fitting)}"
        )
    ((result, expected),) = outputs.items()
    cases = {f"{signatures[0]}|0|{name}": array for name, array in inputs.items()}
    results = _run(config, path, cases, row.runtime)
    received = results[f"{signatures[0]}|0|{result}"]
    judged = diagnosis.judge(received, expected[0], None, row.floor_db)
    return _judged(row, judged, "golden/", str(results["version"]))


def _check_takes_films(runtime: str, path: pathlib.Path) -> None:
    if hasattr(runner.RUNTIMES[runtime], "run_named"):
        return
    fitting = [
        name
        for name, each in runner.RUNTIMES.items()
        if hasattr(each, "run_named") and verify_export.suffix(path) in each.takes
    ]
    expected = f"one of {', '.join(fitting)}" if fitting else "a file of the export itself"
    raise UserError(
        f"runtime={runtime!r} is given one picture at a time, and {path.name!r} takes a frame and a"
        f" state: expected {expected}"
    )


def _check_installed(runtime: str, python: str | None) -> None:
    if python is None and importlib.util.find_spec(runner.RUNTIMES[runtime].module) is None:
        told = process.not_installed(runtime)
        raise UserError(f"{told}, or --python and the Python of an environment that has it")


def _run(
    config: VerifyConfig, path: pathlib.Path, cases: dict[str, np.ndarray], runtime: str
) -> dict[str, np.ndarray]:
    how = dict(threads=config.threads, python=config.python, timed=False)
    try:
        return process.run_file(path, cases, runtime, **how)
    except process.NotInstalled as error:
        raise UserError(f"{process.not_installed(runtime)} ({error})") from error
    except FileNotFoundError as error:
        raise UserError(f"python={config.python!r} does not exist") from error
    except RuntimeError as error:
        raise UserError(
            f"runtime={runtime!r} cannot run {str(path)!r}: {_shortened(str(error))}"
        ) from error


def _shortened(text: str) -> str:
    """Cuts a page of text to its beginning and its end."""
    text = re.sub(r"^ended with code 1: (\w*([Ee]rror|Exception): )?", "", text)
    text = re.sub(r"^ended with code -(\d+): no message", _crash, text)
    text = text.partition(" Stack backtrace:")[0]
    if len(text) <= _LARGEST_REASON:
        return text
    half = _LARGEST_REASON // 2
    return f"{text[:half]} ... {text[-half:]}"


def _crash(found: re.Match[str]) -> str:
    return f"it crashed ({signal.Signals(int(found[1])).name})"


def _floor(config: VerifyConfig, entry: dict[str, Any] | None) -> float:
    if config.floor is not None:
        return config.floor
    if entry is None:
        return FLOOR_DB
    known = (entry.get("golden") or {}).get("floor_db")
    floor = (entry.get("parity") or {}).get("floor_db")
    if isinstance(known, int | float):
        return float(known)
    return min(FLOOR_DB, float(floor)) if isinstance(floor, int | float) else FLOOR_DB


def _size_of(
    export: Export, path: pathlib.Path, entry: dict[str, Any] | None, asked: Size | None
) -> Size:
    """Returns the size that a file is verified at: that which was asked for, if it has that."""
    own: tuple[Size, ...] = ()
    shape = ((entry or {}).get("input") or {}).get("shape")
    in_name = re.search(r"(\d+)x(\d+)", path.stem)
    if path.suffix == ".tflite":
        own = verify_export.signature_sizes(path)
    elif isinstance(shape, list) and None not in shape:
        own = (tuple(shape[2:]),)
    elif entry is None and in_name:
        own = ((int(in_name[1]), int(in_name[2])),)
    if asked is not None:
        if own and asked not in own:
            told = ", ".join("{}x{}".format(*size) for size in own)
            raise UserError("size='{}x{}': {!r} has {} alone".format(*asked, str(path), told))
        return asked
    kept = _kept_size(export)
    if kept is not None and (not own or kept in own):
        return kept
    if own:
        return min(own, key=math.prod)
    side = golden.SIDE_PX if export.scale == 1 else golden.ENLARGED_SIDE_PX
    return (side + -side % (export.manifest.get("divisor") or 1),) * 2


def _kept_size(export: Export) -> Size | None:
    """Returns the (height, width) of what `golden/` keeps as floats; None where it keeps none."""
    read = golden.read_clip if export.is_film else golden.read
    kept = read(export.folder / golden.FOLDER, None)
    return None if kept is None else kept[0].shape[-3:-1]


# --- An answer that a client made.


def _judge_output(
    config: VerifyConfig, export: Export, path: pathlib.Path, size: Size | None
) -> Row:
    received = _read_output(path)
    floor_db = LEAST_FLOOR_DB if config.floor is None else config.floor
    row = Row(str(config.output), None, "", size, "wrong", floor_db=floor_db)
    if export.is_generator:
        _, outputs = golden.read_named(export.folder / golden.FOLDER)
        if len(outputs) != 1:
            raise UserError(f"{str(export.folder)!r} has no {golden.FOLDER}/: export it again")
        (expected,) = outputs.values()
        judged = diagnosis.judge(received, expected[0], None, floor_db)
        return _judged(row, judged, "golden/", "")
    if export.is_film:
        size = size or _kept_size(export) or received.shape[-3:-1]
        film = verify_known.know_film(export, size, None)
        judged = verify_film.judge(received, film, floor_db)
        return _judged(dataclasses.replace(row, size=size), judged, film.against, "")
    size = size or _size_of_output(export, received)
    known = verify_known.know(export, size, None)
    judged = diagnosis.judge(received, known.expected, known.given, floor_db, known.restore)
    return _judged(dataclasses.replace(row, size=size), judged, known.against, "")


def _size_of_output(export: Export, received: np.ndarray) -> Size:
    """Guesses the size of the known picture from what was made of it."""
    kept = golden.read(export.folder / golden.FOLDER, None)
    known = {tuple(size) for size in export.manifest.get("tflite_sizes") or ()}
    if kept is not None:
        known |= {kept[0].shape[:2]}
    side = golden.SIDE_PX if export.scale == 1 else golden.ENLARGED_SIDE_PX
    known |= {(side, side)}
    channels = export.manifest.get("channels_out") or 1
    fitting = [
        size for size in known if math.prod(size) * export.scale**2 * channels == received.size
    ]
    if len(fitting) == 1:
        return fitting[0]
    shape = "x".join(map(str, received.shape))
    told = ", ".join("{}x{}".format(*size) for size in sorted(known))
    raise UserError(
        f"output={shape}: made of no known picture, which are of {told}, times {export.scale}, with"
        f" {channels} channels; give --size if it was another"
    )


def _read_output(path: pathlib.Path) -> np.ndarray:
    """Reads what a client made: an array, or a picture as 8 or 16 bits or float."""
    if not path.is_file():
        raise UserError(f"output={str(path)!r} does not exist: expected a .npy or picture file")
    if path.suffix.lower() == ".npy":
        return golden.read_array(path)
    try:
        picture = reading.read_picture(path)
    except (OSError, ValueError) as error:
        raise UserError(f"output={str(path)!r} is no picture: {reason(error)}") from error
    return picture.pixels


def _decibels(value: float) -> str:
    return "every bit" if value == math.inf else f"{value:.1f} dB"
