"""`verify`: exported files in a runtime, each on a known picture, against what Keras makes of it.

What Keras makes is kept in the export's `golden/`. Of an export without one, or of another size, it
is what a checked file of the same export makes: the float32 `.tflite` file in LiteRT, or the
SavedModel in TensorFlow. Files run in a process of their own (`parity.runner`), with nothing of
tf_deconv.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math
import pathlib
import re
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv.exporting import golden, verify_film
from tf_deconv.exporting.config import VERIFIED, VerifyConfig
from tf_deconv.exporting.parity import diagnosis, process, runner
from tf_deconv.exporting.variants import parse_sizes
from tf_deconv.images import reading
from tf_deconv.inference import shipped
from tf_deconv.inference.descriptions import LARGEST_JSON_BYTES, check, parse_json
from tf_deconv.inference.located import locate
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.quiet import import_tensorflow

# What other runtimes give of files in float32, and the least of a file of which nothing is known.
FLOOR_DB = 100.0
# What an answer of unknown precision has to reach: the floor of int8 files.
LEAST_FLOOR_DB = 40.0
_LARGEST_REASON = 400

Size = tuple[int, int]


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
    export, listed = _find(config)
    adds = config.golden is not None and _is_own_golden(config, export)
    if adds:
        _add_golden(export)
    if config.output is not None:
        rows = [_judge_output(config, export, pathlib.Path(config.output), size)]
    else:
        planned = _plan(config, export, listed)
        rows = [_verify_one(config, export, file, name, size) for file, name in planned]
        if len(rows) == 1 and rows[0].verdict == "not run":
            raise UserError(rows[0].fault)
    if config.golden is not None and not adds:
        _write_golden(config, export, size or rows[0].size)
    for row in rows:
        report(row.line())
    return VerifyResult(tuple(rows))


# --- What is verified.


@dataclasses.dataclass(frozen=True)
class _Export:
    """A folder that `export` left.

    Attributes:
      folder: Where it lies.
      manifest: Its content, with fields of known types.
      trust: Whether the user trusts its maker.
      known: Known pictures and films that were made already: (size, the file that judges) to each.
    """

    folder: pathlib.Path
    manifest: dict[str, Any]
    trust: bool
    known: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def is_generator(self) -> bool:
        return "generator" in self.manifest

    @property
    def is_film(self) -> bool:
        return "state" in self.manifest

    @property
    def scale(self) -> int:
        return self.manifest.get("scale") or 1

    def entry(self, file: pathlib.Path) -> dict[str, Any] | None:
        """Returns what the manifest tells of a file; None of one that is not the export's."""
        for entry in self.manifest["files"]:
            if (self.folder / entry["file"]).resolve() == file.resolve():
                return entry
        return None

    @functools.cached_property
    def truths(self) -> dict[pathlib.Path, str]:
        """Files that give what Keras gives: path to what runs them, the fastest first."""
        found = {}
        for entry in self.manifest["files"]:
            name = entry["file"]
            if name.endswith("-float32.tflite"):
                found[self.folder / name] = "litert"
        for entry in self.manifest["files"]:
            if re.fullmatch(r"[0-9]+/", entry["file"]):
                found[self.folder / entry["file"]] = "tensorflow"
        return {path: name for path, name in found.items() if path.exists()}


def _find(config: VerifyConfig) -> tuple[_Export, list[pathlib.Path] | None]:
    """Returns the export, and the file that was named; None where all of them are meant."""
    asked = config.model
    path = pathlib.Path(asked)
    if path.is_file() or (path / "saved_model.pb").is_file() or _is_package(path):
        is_version = path.is_dir() and not _is_package(path)
        beside = path.parent if is_version else path.parent.parent
        if config.of is not None:
            export = _read_export(config.of, config.trust)
        elif (beside.resolve() / shipped.MANIFEST_FILE).is_file():
            export = _read_export(beside, config.trust)
        else:
            raise UserError(
                f"{asked!r} lies in no export: give --of and the folder, or the shipped model's"
                " name, that it was made from"
            )
        return export, [path]
    if config.of is not None:
        raise UserError(f"of={config.of!r} with the whole of {asked!r}: leave it out")
    return _read_export(asked, config.trust), None


def _is_package(path: pathlib.Path) -> bool:
    return path.is_dir() and path.suffix.lower() == ".mlpackage"


def _read_export(asked: Any, trust: bool) -> _Export:
    folder = pathlib.Path(asked)
    if not (folder / shipped.MANIFEST_FILE).is_file():
        if not shipped.is_name(asked):
            raise UserError(
                f"{str(asked)!r} is not an export: expected {VERIFIED}; a folder of it holds"
                f" {shipped.MANIFEST_FILE}"
            )
        folder = shipped.find(str(asked))
    path = folder / shipped.MANIFEST_FILE
    try:
        manifest = parse_json(files.read_bounded(path, LARGEST_JSON_BYTES))
        check(manifest, repr(str(path)))
        if not [str(entry["file"]) for entry in manifest["files"]]:
            raise ValueError("it names no file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{str(path)!r} is no manifest of an export: {reason(error)}") from error
    return _Export(folder, manifest, trust)


def _plan(
    config: VerifyConfig, export: _Export, listed: list[pathlib.Path] | None
) -> list[tuple[pathlib.Path, str]]:
    """Returns each file with the runtime that it is to run in."""
    named = listed or [export.folder / entry["file"] for entry in export.manifest["files"]]
    if config.runtime is not None:
        takes = runner.RUNTIMES[config.runtime].takes
        fitting = [path for path in named if _suffix(path) in takes]
        if not fitting:
            kinds = " or ".join(_KINDS[suffix] for suffix in takes)
            raise UserError(
                f"runtime={config.runtime!r} takes {kinds}: {str(config.model)!r} "
                f"{'is' if listed else 'holds'} none{_remedy(takes, export)}"
            )
        if listed is None:
            fitting = _of_one_size(export, fitting, config.runtime)
        return [(path, config.runtime) for path in fitting]
    plan = []
    for path in named:
        suffix = _suffix(path)
        if suffix not in _KINDS:
            raise UserError(f"{str(path)!r}: expected one of {', '.join(_KINDS.values())}")
        plan.append((path, runner.DEFAULTS.get(suffix, "tensorflow")))
    return plan


def _of_one_size(export: _Export, paths: list[pathlib.Path], runtime: str) -> list[pathlib.Path]:
    """Leaves out the ONNX file of any size where the runtime is known for one size, if it can."""
    if not issubclass(runner.RUNTIMES[runtime], runner.FixedOnnx):
        return paths
    inputs = {path: (export.entry(path) or {}).get("input") or {} for path in paths}
    shapes = {path: given.get("shape", [None]) for path, given in inputs.items()}
    fixed = [path for path, shape in shapes.items() if path.suffix != ".onnx" or None not in shape]
    return fixed or paths


_KINDS = {
    "": "a SavedModel",
    ".tflite": "a .tflite file",
    ".onnx": "an .onnx file",
    ".param": "a .param file",
    ".mnn": "an .mnn file",
    ".pte": "a .pte file",
    ".mlpackage": "a Core ML file",
}


def _suffix(path: pathlib.Path) -> str:
    suffix = path.suffix.lower()
    return "" if path.is_dir() and suffix != ".mlpackage" else suffix


def _remedy(takes: tuple[str, ...], export: _Export) -> str:
    name = export.manifest.get("name")
    if ".mlpackage" in takes:
        return f"; make one: tf-deconv export {export.folder} --coreml --out exports"
    if ".pte" in takes:
        return f"; make one: examples/executorch/convert.py, and give --of {export.folder}"
    if ".onnx" in takes:
        return f"; make one: tf-deconv export {export.folder} --onnx --sizes 64 --out exports"
    if ".param" in takes:
        return f"; make one: pnnx {name}-64x64.onnx fp16=0, and give --of {export.folder}"
    return ""


# --- What is right.


@dataclasses.dataclass(frozen=True)
class _Known:
    """A known picture.

    Attributes:
      given: (H, W, C) what goes in.
      expected: (H * scale, W * scale, C') what Keras makes of it.
      against: What made that.
      restore: What makes the right picture of another of the same size; None where nothing can.
    """

    given: np.ndarray
    expected: np.ndarray
    against: str
    restore: diagnosis.Restore | None


def _know(export: _Export, size: Size, tested: pathlib.Path | None) -> _Known:
    """Makes the known picture of a size and what is right of it.

    Args:
      export: Whose.
      size: (height, width).
      tested: The file that LiteRT or TensorFlow runs, which does not judge itself; None where
        another runtime is tried.
    """
    judges = [path for path in export.truths if tested is None or not path.samefile(tested)]
    key = size, judges[0] if judges else None
    if key not in export.known:
        export.known[key] = _make_known(export, size, judges)
    return export.known[key]


def _make_known(export: _Export, size: Size, judges: list[pathlib.Path]) -> _Known:
    kept = golden.read(export.folder / golden.FOLDER, size)
    channels = export.manifest.get("channels_in")
    if not isinstance(channels, int):
        raise UserError(f"{str(export.folder)!r} does not tell how many channels go in")
    given = golden.picture(*size, channels) if kept is None else kept[0]
    # To tell a wrong input from a wrong output; TensorFlow would be started for each suspicion.
    suspect = _by_litert(export, size)
    if kept is not None:
        return _Known(*kept, "golden/", suspect)
    restore = _restorer(export, size, judges)
    if restore is None:
        raise UserError(
            f"nothing to compare with: {str(export.folder)!r} has neither {golden.FOLDER}/ of"
            f" {size[0]}x{size[1]} nor another file that runs at that size; export again"
        )
    return _Known(given, restore[0](given), restore[1], suspect)


def _restorer(
    export: _Export, size: Size, judges: list[pathlib.Path]
) -> tuple[diagnosis.Restore, str] | None:
    """Returns what restores pictures of a size rightly, and its name; None where nothing can."""
    for path in judges:
        if export.truths[path] == "litert":
            if restore := _by_litert(export, size):
                return restore, "the float32 file in LiteRT"
        elif importlib.util.find_spec("tensorflow") is not None:
            _check(path, export.trust, whole=True)
            return functools.partial(_by_tensorflow, path), "the SavedModel in TensorFlow"
    return None


def _by_litert(export: _Export, size: Size) -> diagnosis.Restore | None:
    """Returns what restores pictures of a size by the float32 file; None where it has no such."""
    from tf_deconv.inference.litert_engine import LitertModel

    divisor = export.manifest.get("divisor") or 1
    for path, name in export.truths.items():
        if name == "litert" and not (size[0] % divisor or size[1] % divisor):
            _check(path, export.trust, whole=True)
            model = LitertModel(path, 1)
            if not model.sizes or size in model.sizes:
                return functools.partial(_restore_one, model)
    return None


def _restore_one(model: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    return model(image[np.newaxis])[0]


def _by_tensorflow(path: pathlib.Path, image: np.ndarray) -> np.ndarray:
    key = "serving_default|0"
    return process.run_file(path, {key: image[np.newaxis]}, timed=False)[key][0]


def _check(path: pathlib.Path, trust: bool, whole: bool = False) -> None:
    """Looks into a SavedModel or a TFLite file before it is opened.

    Args:
      path: Where it is.
      trust: Whether the user trusts its maker.
      whole: Whether it must be the file that was exported, for it is to judge others.
    """
    if path.is_dir():
        import_tensorflow()  # Its descriptions of graphs; without the lines that it prints.
    located = locate(path, trust)
    if whole:
        located.check_files()
    located.check_contents()


def _know_film(export: _Export, size: Size, tested: pathlib.Path | None) -> verify_film.KnownFilm:
    """Makes the known clip of a size and what is right of it; arguments as of `_know`."""
    found = None
    for path, runtime in export.truths.items():
        is_itself = tested is not None and path.samefile(tested)
        has_size = path.is_dir() or size in _signature_sizes(path)
        has_runtime = importlib.util.find_spec(runner.RUNTIMES[runtime].module) is not None
        if not is_itself and has_size and has_runtime:
            _check(path, export.trust, whole=True)
            found = path, runtime
            break
    key = size, found
    if key not in export.known:
        export.known[key] = verify_film.know(export.folder, export.manifest, size, found)
    if export.known[key] is None:
        raise UserError(
            f"nothing to compare with: {str(export.folder)!r} has neither a clip of"
            f" {size[0]}x{size[1]} in {golden.FOLDER}/ nor another file that runs at that size;"
            " export again"
        )
    return export.known[key]


def _is_own_golden(config: VerifyConfig, export: _Export) -> bool:
    own = export.folder.resolve() / golden.FOLDER
    return pathlib.Path(str(config.golden)).resolve() == own


def _add_golden(export: _Export) -> None:
    """Adds the known pictures to an export that has none."""
    import_tensorflow()  # Without the lines that it prints.
    from tf_deconv.exporting import golden_addition

    for path in export.truths:
        _check(path, export.trust, whole=True)
    golden_addition.add(export.folder, export.manifest)


def _write_golden(config: VerifyConfig, export: _Export, size: Size | None) -> None:
    if size is None:
        raise UserError(f"golden={config.golden!r}: a generator's lies in the export itself")
    if export.is_film:
        film = _know_film(export, size, None)
        golden.write_clip(pathlib.Path(config.golden), film.given, film.expected)
        return
    known = _know(export, size, None)
    golden.write(pathlib.Path(config.golden), {size: (known.given, known.expected)})


# --- One file.

# Runtimes that a judge of other files runs in.
_OWN = ("litert", "litert-compiled", "tensorflow")


def _verify_one(
    config: VerifyConfig, export: _Export, path: pathlib.Path, runtime: str, size: Size | None
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
        if _suffix(path) in ("", ".tflite"):
            _check(path, export.trust)
        if export.is_generator:
            return _verify_generator(config, export, path, row)
        if export.is_film:
            return _verify_film(config, export, path, row)
        own = runtime in _OWN
        known = _know(export, size, path if own else None)
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


def _verify_film(config: VerifyConfig, export: _Export, path: pathlib.Path, row: Row) -> Row:
    known = _know_film(export, row.size, path if row.runtime in _OWN else None)
    results = _run(
        config, path, verify_film.cases(path.name, known.given, known.start), row.runtime
    )
    received = verify_film.streamed(path.name, row.size, results)
    judged = verify_film.judge(received, known, row.floor_db)
    return _judged(row, judged, known.against, str(results["version"]))


def _verify_generator(config: VerifyConfig, export: _Export, path: pathlib.Path, row: Row) -> Row:
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
        if hasattr(each, "run_named") and _suffix(path) in each.takes
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
    export: _Export, path: pathlib.Path, entry: dict[str, Any] | None, asked: Size | None
) -> Size:
    """Returns the size that a file is verified at: that which was asked for, if it has that."""
    own: tuple[Size, ...] = ()
    shape = ((entry or {}).get("input") or {}).get("shape")
    in_name = re.search(r"(\d+)x(\d+)", path.stem)
    if path.suffix == ".tflite":
        own = _signature_sizes(path)
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


def _kept_size(export: _Export) -> Size | None:
    """Returns the (height, width) of what `golden/` keeps as floats; None where it keeps none."""
    read = golden.read_clip if export.is_film else golden.read
    kept = read(export.folder / golden.FOLDER, None)
    return None if kept is None else kept[0].shape[-3:-1]


def _signature_sizes(path: pathlib.Path) -> tuple[Size, ...]:
    from tf_deconv.inference.litert_engine import signature_sizes

    try:
        return signature_sizes(path.read_bytes())
    except Exception as error:  # A damaged file raises whatever the reader stumbled over.
        raise UserError(f"{str(path)!r} is not a TFLite file: {reason(error)}") from error


# --- An answer that a client made.


def _judge_output(
    config: VerifyConfig, export: _Export, path: pathlib.Path, size: Size | None
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
        film = _know_film(export, size, None)
        judged = verify_film.judge(received, film, floor_db)
        return _judged(dataclasses.replace(row, size=size), judged, film.against, "")
    size = size or _size_of_output(export, received)
    known = _know(export, size, None)
    judged = diagnosis.judge(received, known.expected, known.given, floor_db, known.restore)
    return _judged(dataclasses.replace(row, size=size), judged, known.against, "")


def _size_of_output(export: _Export, received: np.ndarray) -> Size:
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
