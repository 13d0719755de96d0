"""Which engine runs a model, from which of its files, and in which arithmetic.

An exported model's folder holds the same network as a SavedModel, as `.tflite` files of several
precisions and, where asked for, as ONNX. `choose` picks the files before anything is opened, and
says in one line what is missing. docs/decisions/0023-restoring-without-tensorflow.md has the
reasons. Nothing here imports an engine.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
from typing import Any

from tf_deconv.inference.located import LocatedModel
from tf_deconv.utils.devices import core_count
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError

# What each is called, the module that it needs, and how that is installed.
ENGINES = {
    "litert": ("LiteRT", "ai_edge_litert", "pip install ai-edge-litert"),
    "tensorflow": ("TensorFlow", "tensorflow", how_to_install("tensorflow")),
    "openvino": ("OpenVINO", "openvino", "pip install openvino"),
    "onnxruntime": ("onnxruntime", "onnxruntime", "pip install onnxruntime"),
}
PRECISIONS = ("auto", "float32", "int8")
# The most that a model's int8 file may have lost on its own pictures to be taken unasked.
MAX_LOSS_DB = 0.05
# Which variants of an export compute in float32 on a CPU, whatever their weights are stored in.
_FLOAT_VARIANTS = ("float32", "float16")
# Which variants of an export compute in int8, the one to take first.
_INT8_VARIANTS = ("int8", "dynamic", "int8-full")


@dataclasses.dataclass(frozen=True)
class Choice:
    """What runs a model.

    Attributes:
      engine: Key of `ENGINES`.
      model: The file that pictures of 8 bits are taken through.
      precision: "float32" or "int8"; None: the file tells when it is opened.
      deeper: The file in float32 for pictures of 16 bits and of floats, where it is another one.
      threads: How many the engine may use.
    """

    engine: str
    model: LocatedModel
    precision: str | None
    deeper: LocatedModel | None
    threads: int

    def describe(self, precision: str | None = None) -> str:
        """Tells engine, precision and threads; `precision` is what the opened file told."""
        shown = self.precision or precision or "float32"
        if self.deeper is not None:
            shown += " for 8 bits and float32 for more"
        count = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{ENGINES[self.engine][0]}, {shown}, {count}"


def check_threads(threads: int | None) -> int:
    """Returns how many threads an engine gets; None: one for each core.

    Raises:
      UserError: if there are fewer cores.
    """
    cores = core_count()
    if threads is not None and not 1 <= threads <= cores:
        raise UserError(
            f"threads={threads}: expected 1 to {cores}, as many cores as this process may use"
        )
    return threads or cores


def choose(
    located: LocatedModel,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> Choice:
    """Chooses the engine of a model, and the files that it opens.

    Args:
      located: The model. Of one that was asked for by name or by the folder of its export, any
        file may be taken; one that was asked for by its own path is that file.
      engine: Key of `ENGINES`, or "auto": LiteRT where there is a `.tflite` file, else TensorFlow.
        (`artifacts` goes back to TensorFlow where the file's own sizes turn out to waste work.)
      precision: One of `PRECISIONS`; "auto" takes int8 for pictures of 8 bits where the model's own
        loss is at most `MAX_LOSS_DB`, and float32 for others.
      threads: At most as many as there are cores; None: that many.
    Raises:
      UserError: if the engine is not installed or cannot run the model, there is no file of that
        precision, or there are not so many cores.
    """
    count = check_threads(threads)
    files = _files_of(located)
    own = located.asked
    if engine == "auto":
        engine = "litert" if any(kind == "tflite" for kind, _ in files) else "tensorflow"
        if engine == "tensorflow" and not has_tensorflow():
            raise UserError(
                f"model {own!r} has no .tflite file that LiteRT runs, and TensorFlow is not"
                f" installed: {ENGINES['tensorflow'][2]}, which brings it"
            )
    _check_installed(engine)
    if engine == "tensorflow":
        return Choice(engine, *_for_tensorflow(located, precision), None, count)
    if engine == "litert":
        return _for_litert(located, files, precision, count)
    name = ENGINES[engine][0]
    if precision == "int8":
        raise UserError(
            f"precision='int8': {name} runs a model in float32 here; expected engine='litert'"
        )
    wanted = [("onnx", "onnx")] + [("tflite", "float32")] * (engine == "openvino")
    for key in wanted:
        if key in files:
            return Choice(engine, _other(located, key[0], files[key]), "float32", None, count)
    if located.kind == "tflite" and engine == "openvino":
        return Choice(engine, located, None, None, count)
    raise UserError(
        f"engine={engine!r}: model {own!r} has no {' and no '.join(_KINDS[key] for key in wanted)};"
        " expected the folder of an export made with --onnx, which `tf-deconv export` writes"
    )


_KINDS = {("onnx", "onnx"): "ONNX file", ("tflite", "float32"): "float32 .tflite file"}


def has_tensorflow() -> bool:
    """Returns whether TensorFlow is installed; it is not imported."""
    return importlib.util.find_spec("tensorflow") is not None


def _check_installed(engine: str) -> None:
    name, module, command = ENGINES[engine]
    if importlib.util.find_spec(module) is None:
        raise UserError(f"engine={engine!r}: {name} is not installed; {command}")


def _for_tensorflow(located: LocatedModel, precision: str) -> tuple[LocatedModel, str]:
    if located.kind == "tflite":
        raise UserError(
            f"engine='tensorflow': {located.asked!r} is a .tflite file, which LiteRT runs; expected"
            " a run, a .keras file or a SavedModel"
        )
    if precision == "int8":
        raise UserError(
            "precision='int8': TensorFlow runs a model in float32; expected engine='litert' and a"
            " model with an int8 .tflite file"
        )
    return located, "float32"


def _for_litert(
    located: LocatedModel, files: dict[tuple[str, str], str], precision: str, threads: int
) -> Choice:
    variants = {variant: file for (kind, variant), file in files.items() if kind == "tflite"}
    if located.kind == "tflite":
        # The file that was named; `check_precision` compares when it is open.
        return Choice("litert", located, None, None, threads)
    if not variants:
        raise UserError(
            f"engine='litert': model {located.asked!r} has no .tflite file; expected a name or the"
            " folder of an export, or engine='tensorflow'"
        )
    losses = {
        str(entry["file"]): entry.get("task_loss_db") for entry in located.known.get("files", ())
    }
    eight = next((variant for variant in _INT8_VARIANTS if variant in variants), None)
    plain = next((variant for variant in _FLOAT_VARIANTS if variant in variants), None)
    if precision == "int8" or (precision == "auto" and plain is None):
        if eight is None and precision == "int8":
            raise UserError(
                f"precision='int8': model {located.asked!r} has {', '.join(variants)} alone;"
                " expected one that was exported with --variants int8"
            )
        first = eight or next(iter(variants))
        shown = "int8" if first == eight else None
        return Choice("litert", _other(located, "tflite", variants[first]), shown, None, threads)
    if plain is None:
        raise UserError(
            f"precision='float32': model {located.asked!r} has {', '.join(variants)} alone;"
            " expected one that was exported with --variants float32"
        )
    exact = _other(located, "tflite", variants[plain])
    if precision == "auto" and eight is not None and _is_small(losses.get(variants[eight])):
        return Choice("litert", _other(located, "tflite", variants[eight]), "int8", exact, threads)
    return Choice("litert", exact, "float32", None, threads)


def check_precision(choice: Choice, asked: str, found: str) -> None:
    """Compares what was asked for with what a `.tflite` file, named by its path, computes in.

    Raises:
      UserError: if the file has another precision.
    """
    if choice.precision is None and asked != "auto" and found != asked:
        raise UserError(
            f"precision={asked!r}: {choice.model.asked!r} is of {found}; expected another file,"
            " or leave it out"
        )


def _is_small(loss_db: Any) -> bool:
    return isinstance(loss_db, int | float) and loss_db <= MAX_LOSS_DB


def _files_of(located: LocatedModel) -> dict[tuple[str, str], str]:
    """Returns an export's other files that are there: ("tflite", variant) or ("onnx", "onnx")."""
    if located.kind == "tflite":
        return {("tflite", ""): located.path.name}
    # One version's own folder is that SavedModel, whatever lies around it.
    if located.kind != "saved_model" or located.manifest is None or located.path == located.root:
        return {}
    name, found = str(located.known.get("name")), {}
    for entry in located.known.get("files", ()):
        path = pathlib.PurePosixPath(entry["file"])
        if ".." in path.parts or path.is_absolute():
            continue
        if not (located.root / path).is_file():
            continue
        if path.suffix == ".tflite" and path.stem.startswith(f"{name}-"):
            found["tflite", path.stem.removeprefix(f"{name}-")] = str(path)
        elif path.suffix == ".onnx":
            found["onnx", "onnx"] = str(path)
    return found


def _other(located: LocatedModel, kind: str, file: str) -> LocatedModel:
    """Returns another file of the same export; its manifest tells of it too, and was checked."""
    other = dataclasses.replace(located, kind=kind, path=located.root / file)
    vars(other)["known"] = located.known  # Where a cached property lies.
    return other
