"""What `verify` verifies: an export, its files, and the runtime that each is to run in."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from typing import Any

from tf_deconv.exporting.config import VERIFIED, VerifyConfig
from tf_deconv.exporting.parity import runner
from tf_deconv.inference import shipped
from tf_deconv.inference.descriptions import LARGEST_JSON_BYTES, check, parse_json
from tf_deconv.inference.located import locate
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.quiet import import_tensorflow

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Export:
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


def find(config: VerifyConfig) -> tuple[Export, list[pathlib.Path] | None]:
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


def _read_export(asked: Any, trust: bool) -> Export:
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
    return Export(folder, manifest, trust)


def plan(
    config: VerifyConfig, export: Export, listed: list[pathlib.Path] | None
) -> list[tuple[pathlib.Path, str]]:
    """Returns each file with the runtime that it is to run in."""
    named = listed or [export.folder / entry["file"] for entry in export.manifest["files"]]
    if config.runtime is not None:
        takes = runner.RUNTIMES[config.runtime].takes
        fitting = [path for path in named if suffix(path) in takes]
        if not fitting:
            kinds = " or ".join(_KINDS[each] for each in takes)
            raise UserError(
                f"runtime={config.runtime!r} takes {kinds}: {str(config.model)!r} "
                f"{'is' if listed else 'holds'} none{_remedy(takes, export)}"
            )
        if listed is None:
            fitting = _of_one_size(export, fitting, config.runtime)
        return [(path, config.runtime) for path in fitting]
    planned = []
    for path in named:
        kind = suffix(path)
        if kind not in _KINDS:
            raise UserError(f"{str(path)!r}: expected one of {', '.join(_KINDS.values())}")
        planned.append((path, runner.DEFAULTS.get(kind, "tensorflow")))
    return planned


def _of_one_size(export: Export, paths: list[pathlib.Path], runtime: str) -> list[pathlib.Path]:
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


def suffix(path: pathlib.Path) -> str:
    """Returns how a file's name ends, in lower case; "" of a SavedModel's folder."""
    ending = path.suffix.lower()
    return "" if path.is_dir() and ending != ".mlpackage" else ending


def _remedy(takes: tuple[str, ...], export: Export) -> str:
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


def check_file(path: pathlib.Path, trust: bool, whole: bool = False) -> None:
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


def signature_sizes(path: pathlib.Path) -> tuple[Size, ...]:
    """Returns each (height, width) that a TFLite file has a signature for.

    Raises:
      UserError: if it is none.
    """
    from tf_deconv.inference import litert_engine

    try:
        return litert_engine.signature_sizes(path.read_bytes())
    except Exception as error:  # A damaged file raises whatever the reader stumbled over.
        raise UserError(f"{str(path)!r} is not a TFLite file: {reason(error)}") from error
