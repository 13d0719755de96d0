"""Runs every shipped model's files in every runtime that can be had, each against Keras.

    python benchmarks/runtimes.py --work FOLDER --python OTHER/bin/python ANOTHER/bin/python
    python benchmarks/runtimes.py --work FOLDER --write     # the table of docs/clients.md

Shipped TFLite files and SavedModels are run as they lie in saved_models/; ONNX and Core ML files
are exported into FOLDER first (`pip install '.[clients]'`). `pnnx` makes ncnn's where it lies
beside one of the interpreters, and examples/executorch makes ExecuTorch's where one has its
packages. A runtime is looked for in this environment and in those of `--python`; of two versions of
it each has its rows. Each result is a line of benchmarks/runtimes.jsonl, and one that is there is
not measured again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

from tf_deconv.exporting.config import VerifyConfig, check_verify_config
from tf_deconv.exporting.parity import runner
from tf_deconv.exporting.verify import verify
from tf_deconv.inference import shipped
from tf_deconv.utils.options import UserError

ROOT = pathlib.Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "runtimes.jsonl", ROOT / "docs" / "clients.md"
CONVERTER = ROOT / "examples" / "executorch" / "convert.py"
BEGIN, END = "<!-- runtimes -->\n", "<!-- /runtimes -->"
SIDE = 64
# How a table of versions asks an environment: what it has of some packages.
ASK = """
import importlib.metadata, importlib.util, json, sys
found = {}
for name, module, package in json.loads(sys.argv[1]):
    if importlib.util.find_spec(module) is not None:
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
print(json.dumps(found))
"""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A file of each model.

    Attributes:
      path: Below the model's folder; NAME stands for the model.
      least_db: What is right.
      is_shipped: Whether it lies in saved_models/.
      is_any_size: Of an ONNX file.
    """

    path: str
    least_db: float
    is_shipped: bool = False
    is_any_size: bool = False


KINDS = (
    Kind("1", 100, is_shipped=True),
    Kind("tflite/NAME-float32.tflite", 100, is_shipped=True),
    Kind("tflite/NAME-float16.tflite", 80, is_shipped=True),
    Kind("tflite/NAME-int8.tflite", 40, is_shipped=True),
    Kind("onnx/NAME.onnx", 100, is_any_size=True),
    Kind("onnx/NAME-int8-weights.onnx", 40, is_any_size=True),
    Kind(f"onnx/NAME-{SIDE}x{SIDE}.onnx", 100),
    Kind(f"onnx/NAME-{SIDE}x{SIDE}-int8-weights.onnx", 40),
    Kind(f"executorch/NAME-{SIDE}x{SIDE}.pte", 100),
    Kind(f"ncnn/NAME_{SIDE}x{SIDE}.ncnn.param", 100),
    Kind("coreml/NAME-float32.mlpackage", 100),
    Kind("coreml/NAME-float16.mlpackage", 50),
)
# LiteRT's second interface differs from the first by no bit; one kind is enough to say so.
LEFT_OUT = {("litert-compiled", "tflite/NAME-float16.tflite")}


@dataclasses.dataclass(frozen=True)
class Found:
    """A runtime in an environment."""

    name: str
    version: str
    python: str

    def takes(self, kind: Kind) -> bool:
        of = runner.RUNTIMES[self.name]
        if (self.name, kind.path) in LEFT_OUT or pathlib.Path(kind.path).suffix not in of.takes:
            return False
        # OpenCV 5 is the one of them that has the file of any size.
        is_fixed = issubclass(of, runner.FixedOnnx)
        return not (is_fixed and kind.is_any_size) or (self.name, self.version[0]) == (
            "opencv",
            "5",
        )


def find_runtimes(pythons: list[str]) -> list[Found]:
    """Returns what the environments have, none twice in one version."""
    asked = [(name, each.module, each.package) for name, each in runner.RUNTIMES.items()]
    found = {}
    for python in pythons:
        command = [python, "-c", ASK, json.dumps(asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        versions = json.loads(done.stdout.splitlines()[-1])
        known = {runner.RUNTIMES[name].module for name, version in versions.items() if version}
        for name, version in versions.items():
            if not version and runner.RUNTIMES[name].module in known:
                continue  # Another package has a module of that name.
            found.setdefault((name, version), Found(name, version, python))
    return list(found.values())


def export(model: str, work: pathlib.Path, pythons: list[str]) -> pathlib.Path:
    """Exports a shipped model to the formats that are not shipped, once; returns its folder."""
    folder = work / model
    if not folder.is_dir():
        words = ["export", model, "--onnx", "--coreml", "--sizes", SIDE, "--out", work]
        words += ["--variants", "float32", "int8-weights"]
        command = [sys.executable, "-m", "tf_deconv", *map(str, words)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    name = f"{model}-{SIDE}x{SIDE}"
    # Its package brings no PyTorch, without which it does not start.
    programs = [
        pathlib.Path(python).with_name("pnnx") for python in pythons if _has(python, "torch")
    ]
    program = next((path for path in programs if path.is_file()), None)
    if program is not None and not (folder / "ncnn").is_dir():
        (folder / "ncnn").mkdir()
        given = folder / "ncnn" / f"{name}.onnx"
        given.write_bytes((folder / "onnx" / f"{name}.onnx").read_bytes())
        command = [str(program), given.name, "fp16=0"]
        subprocess.run(command, cwd=given.parent, check=True, capture_output=True)
    converter = next((python for python in pythons if _has(python, "executorch", "onnx")), None)
    if converter is not None and not (folder / "executorch").is_dir():
        (folder / "executorch").mkdir()
        source, target = folder / "onnx" / f"{name}.onnx", folder / "executorch" / f"{name}.pte"
        command = [converter, str(CONVERTER), str(source), str(target)]
        subprocess.run(command, check=True, capture_output=True)
    return folder


def _has(python: str, *modules: str) -> bool:
    code = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, sys.argv[1:])))"
    return subprocess.run([python, "-c", code, *modules], check=False).returncode == 0


def measure(folder: pathlib.Path, model: str, kind: Kind, found: Found) -> dict[str, object]:
    """Verifies one file in one runtime."""
    root = shipped.find(model) if kind.is_shipped else folder
    # pnnx writes no hyphens.
    name = model.replace("-", "_") if kind.path.endswith(".param") else model
    path = root / kind.path.replace("NAME", name)
    row = {"model": model, "file": kind.path, "runtime": found.name, "version": found.version}
    how = dict(of=str(root), runtime=found.name, python=found.python, floor=kind.least_db)
    try:
        (made,) = verify(check_verify_config(VerifyConfig(str(path), **how)), lambda _: None).rows
    except UserError as error:
        told = re.sub(r"^.*cannot run '[^']*': ", "", str(error)).replace(str(root), "")
        return row | {"verdict": "not run", "psnr_db": None, "told": told[:160]}
    score = made.psnr_db
    kept = None if score is None or math.isinf(score) else round(score, 1)
    return row | {
        "verdict": made.verdict,
        "psnr_db": kept,
        "exact": score == math.inf,
        "told": made.fault,
    }


def known() -> list[dict[str, object]]:
    """Returns the lines that are there."""
    if not RESULTS.is_file():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("model", "file", "runtime", "version"))


def run(models: list[str], work: pathlib.Path, pythons: list[str]) -> None:
    """Measures what is not known yet."""
    done = {_key(row) for row in known()}
    runtimes = find_runtimes(pythons)
    for model in models:
        folder = export(model, work, pythons)
        for kind in KINDS:
            for found in runtimes:
                if not found.takes(kind) or (model, kind.path, found.name, found.version) in done:
                    continue
                row = measure(folder, model, kind, found)
                print(*row.values(), flush=True)
                with RESULTS.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")


# --- The table.


def table(rows: list[dict[str, object]]) -> list[str]:
    """Lays the lines out: a row for each file and runtime, a column for each model."""
    models = [name for name in shipped.MODELS if any(row["model"] == name for row in rows)]
    by_key = {_key(row): row for row in rows}
    yield_rows = []
    for kind in KINDS:
        pairs = dict.fromkeys(
            (str(row["runtime"]), str(row["version"])) for row in rows if row["file"] == kind.path
        )
        for runtime, version in sorted(pairs, key=_place):
            found = [by_key.get((model, kind.path, runtime, version)) for model in models]
            cells = " | ".join(map(_cell, found))
            name = kind.path.rpartition("/")[2] if "NAME" in kind.path else f"{kind.path}/"
            yield_rows.append(f"| `{name}` | {runtime} {version} | {cells} |")
    head = ["file", "runtime", *models]
    return [f"| {' | '.join(head)} |", "|---|---|" + "---:|" * len(models), *yield_rows]


def _place(pair: tuple[str, str]) -> tuple[int, str]:
    return list(runner.RUNTIMES).index(pair[0]), pair[1]


def _cell(row: dict[str, object] | None) -> str:
    if row is None:
        return "-"
    if row["verdict"] == "not run":
        return "refused"
    score = "exact" if row.get("exact") else f"{row['psnr_db']}"
    return score if row["verdict"] == "right" else f"**{score}**"


def counts(rows: list[dict[str, object]]) -> Iterator[str]:
    """Tells in how many runtimes each model is right, in float and in int8."""
    for model in dict.fromkeys(row["model"] for row in rows):
        right = [row for row in rows if row["model"] == model and row["verdict"] == "right"]
        names = {
            is_int8: {_distinct(row) for row in right if ("int8" in str(row["file"])) == is_int8}
            for is_int8 in (False, True)
        }
        yield f"{model}: float in {len(names[False])}, int8 in {len(names[True])} runtimes"


def _distinct(row: dict[str, object]) -> str:
    """Names what computes: LiteRT's two interfaces are one runtime, OpenCV 4 and 5 are two."""
    name = str(row["runtime"]).removesuffix("-compiled").removesuffix("-default")
    name = "openvino" if name == "onnxruntime-openvino" else name
    return f"{name} {str(row['version'])[0]}" if name == "opencv" else name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runtimes"))
    parser.add_argument("--python", nargs="+", default=[], metavar="PYTHON")
    names = [name for name, model in shipped.MODELS.items() if not model.moves]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--write", action="store_true", help="write the table, measure nothing")
    arguments = parser.parse_args()
    if not arguments.write:
        arguments.work.mkdir(parents=True, exist_ok=True)
        run(arguments.models, arguments.work, [sys.executable, *arguments.python])
    rows = known()
    print(*counts(rows), sep="\n")
    if arguments.write:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(BEGIN)
        _, found, after = rest.partition(END)
        if not found:
            raise SystemExit(f"{PAGE} has no {BEGIN.strip()} ... {END}")
        lines = "\n".join(table(rows))
        PAGE.write_text(f"{before}{BEGIN}\n{lines}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
