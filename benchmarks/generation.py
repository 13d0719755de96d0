"""Generators after the same minutes of training: this project's two, and what else one would take.

    python benchmarks/generation.py --data FASHION_MNIST_FOLDER --minutes 10 [--out DIR]

Four networks learn the same pictures, the train part of a folder of IDX files of 28x28 grey ones:
this project's VAE and its flow (told the labels), by `train.py`'s own path with its defaults, and
the Keras documentation's VAE and the DCGAN of TensorFlow's tutorial (`generation_baselines`). They
train one after the other, each in a process of its own. Then all are measured by the code of
`tf-deconv evaluate`: on the same test pictures, in the features of one classifier.

Time is the wall clock's. This project's networks need to know the number of steps beforehand, as
their rate has to be 0 at the end: a short run before tells how many fit in, beside compiling and
what comes after each epoch (validation, files, preview). The others have no such work, and their
clock starts after compiling: they get a little more. Of the train part this project's networks
hold a tenth out to validate on.

What exists in --out is not made again: `--stage train` and `--stage measure` can be called apart,
and the same command goes on after Ctrl-C. The bars, printed at the end, are in `generation_table`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import generation_table
import numpy as np
from generation_contenders import CONTENDERS, Opened

from tf_deconv.cli import main as cli_main
from tf_deconv.generation.config import FLOW_GUIDANCE, FLOW_STEPS
from tf_deconv.images import arrays, sheets
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, option, reason, validate

STAGES = ("train", "measure", "all")
SIDE_PX = 28
GRID_PICTURES, GRID_COLUMNS = 60, 10
TRAINING_FILE, SCORES_FILE = "training.json", "scores.json"
_PROGRAM = "generation.py"

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides the comparison."""

    data: str | None = option(None, "folder of IDX files, 28x28 grey, with labels", type=str)
    minutes: float = option(10.0, "training time of each network", above=0.0)
    seed: int = option(0, "of training, samples and noise", minimum=0, maximum=2**31 - 1)
    count: int = option(10_000, "pictures that each network makes", minimum=4, maximum=100_000)
    importance_pictures: int = option(1000, "test pictures with a tight bound", minimum=1)
    importance_samples: int = option(500, "latents for each of them", minimum=1)
    steps: int = option(FLOW_STEPS, "Heun steps of the flow", minimum=1, maximum=1000)
    guidance: float = option(
        FLOW_GUIDANCE, "of the flow; not to be chosen by test pictures", minimum=0.0, maximum=20.0
    )
    out: str = option("generation", "folder for networks, table, JSON and pictures")
    stage: str = option("all", "train, measure, or all of it", choices=STAGES)
    binarised: bool = option(
        False, "also train the documentation's VAE on pictures that are binarised anew each time"
    )

    def measuring(self) -> dict[str, Any]:
        """What figures depend on besides the trained network."""
        names = ("seed", "count", "importance_pictures", "importance_samples", "steps", "guidance")
        return {name: getattr(self, name) for name in names}

    def command(self) -> str:
        """What remakes the figures, without paths of this machine."""
        words = ["python", f"benchmarks/{_PROGRAM}", "--data", pathlib.Path(self.data).name]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            always, never = field.name == "minutes", field.name in ("data", "out", "stage")
            if never or (value == field.default and not always):
                continue
            words.append(_flag(field.name))
            words += [] if value is True else [f"{value:g}" if type(value) is float else str(value)]
        return shlex.join(words)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """One part of the data.

    Attributes:
      pixels: (N, 28, 28, 1) uint8.
      labels: (N,) int64.
    """

    pixels: np.ndarray
    labels: np.ndarray

    @functools.cached_property
    def sha256(self) -> str:
        """Tells which pictures and labels these are."""
        from tf_deconv.evaluation.generators import classifier

        return classifier.data_sha256(self.pixels, self.labels)


def read(data: str) -> tuple[Pictures, Pictures]:
    """Returns the train and the test part.

    Raises:
      UserError: if they are not 28x28 grey pictures with labels, in two parts.
    """
    from tf_deconv.data import sources

    if not sources.has_parts(data):
        raise UserError(
            f"data={data!r} has no train and test part: expected a folder of IDX files named"
            " train-* and t10k-*, such as Fashion-MNIST"
        )
    parts = []
    for part in ("train", "test"):
        store, _, _ = sources.read_pictures(data, part=part, labels=True)
        sizes = {*store.heights.tolist(), *store.widths.tolist()}
        if store.labels is None or not store.grey or sizes != {SIDE_PX}:
            raise UserError(
                f"the {part} part of {data!r} is something else: expected {SIDE_PX}x{SIDE_PX} grey"
                " pictures with labels, which all networks of the comparison take"
            )
        pixels = np.stack([store.picture(i)[..., :1] for i in range(len(store))])
        parts.append(Pictures(pixels, store.labels))
    return tuple(parts)


# --- Training.


def train_contender(
    name: str, config: Config, training: Pictures, report: Report, steps: int | None = None
) -> None:
    """Trains one network into OUT/NAME/, whose training.json is written last.

    Args:
      name: In `CONTENDERS`.
      config: The options.
      training: The train part.
      report: Receives lines.
      steps: Number of steps instead of the minutes.
    """
    folder = files.make_folder(pathlib.Path(config.out, name))
    trained = CONTENDERS[name].train(
        folder,
        data=config.data,
        pixels=training.pixels,
        minutes=config.minutes,
        steps=steps,
        seed=config.seed,
        report=report,
    )
    record = _identity(config, training) | trained | {"machine": describe_machine()}
    files.write_json(folder / TRAINING_FILE, record)
    minutes = trained["seconds"] / 60
    report(f"{name}: trained for {minutes:.1f} min, {trained['passes']:.1f} passes")


def find_training(name: str, config: Config, training: Pictures) -> dict[str, Any] | None:
    """Returns what was written of a network's training; None if it is not trained.

    Raises:
      UserError: if it was trained in another way than the options say.
    """
    path = pathlib.Path(config.out, name, TRAINING_FILE)
    if not path.exists():
        return None
    record, wanted = json.loads(path.read_text()), _identity(config, training)
    for key, value in wanted.items():
        if record[key] != value:
            raise UserError(
                f"{str(path.parent)!r} was trained with {key}={record[key]}, expected {value}:"
                " choose another --out, or remove that folder"
            )
    return record


def _identity(config: Config, training: Pictures) -> dict[str, Any]:
    return {"minutes": config.minutes, "seed": config.seed, "data_sha256": training.sha256}


def describe_machine() -> str:
    """Names what the processor can do and the versions."""
    import keras
    import tensorflow as tf
    import training  # The benchmark of that name.

    machine = training.describe_machine()
    return f"{machine}, TensorFlow {tf.__version__}, Keras {keras.__version__}"


# --- Measuring.


def measure(
    names: Sequence[str], config: Config, training: Pictures, test: Pictures, report: Report
) -> dict[str, dict[str, Any]]:
    """Measures what is trained and not yet measured; returns the figures of all, by name.

    Raises:
      UserError: if nothing is trained.
    """
    from tf_deconv.evaluation.generators import scores as generator_scores

    trained = {name: find_training(name, config, training) for name in names}
    for name in names:
        if trained[name] is None:
            report(f"note: {name} is not trained, and is left out")
    if not any(trained.values()):
        raise UserError(f"out={config.out!r} holds no trained network: train one, --stage train")
    judge = find_classifier(config, training, test, report)

    @functools.cache
    def yardstick() -> generator_scores.Yardstick:
        report("measuring training and test pictures")
        return generator_scores.make_yardstick(
            judge, training.pixels, test.pixels, config.count, config.seed
        )

    rows = {}
    for name, record in trained.items():
        if record is None:
            continue
        path = pathlib.Path(config.out, name, SCORES_FILE)
        key = {"settings": config.measuring(), "training": record, "classifier": judge.facts}
        row = json.loads(path.read_text()) if path.exists() else {}
        if {part: row.get(part) for part in key} != key:
            row = key | {"title": CONTENDERS[name].title}
            row |= measure_one(name, config, yardstick(), training, test, report)
            files.write_json(path, row)
        rows[name] = row
    return rows


def measure_one(
    name: str,
    config: Config,
    yardstick: Any,
    training: Pictures,
    test: Pictures,
    report: Report,
) -> dict[str, Any]:
    """Measures one network, and writes its pictures and their nearest neighbours."""
    from tf_deconv.evaluation.generators import scores as generator_scores

    out = pathlib.Path(config.out)
    opened = CONTENDERS[name].open(out / name, steps=config.steps, guidance=config.guidance)
    report(f"{name}: making {config.count} pictures")
    opened.warm_up()
    started = time.perf_counter()
    pictures = opened.sample(config.count, config.seed)
    sampling_ms = 1000 * (time.perf_counter() - started) / config.count
    grid = sheets.grid(pictures[:GRID_PICTURES], GRID_COLUMNS)
    files.write_bytes(out / f"{name}.png", arrays.encode_png(grid))
    report(f"{name}: scoring them, made in {sampling_ms:.2f} ms each")
    scores = generator_scores.score_pictures(yardstick, pictures, opened.labels(config.count))
    copies, sheet = generator_scores.copies(pictures, training.pixels, test.pixels)
    files.write_bytes(out / f"neighbours-{name}.png", arrays.encode_png(sheet))
    row = {"floor": yardstick.floor, "scores": scores, "copies": copies}
    row["sampling_ms"] = sampling_ms
    if opened.encode is not None:
        report(f"{name}: likelihood of test pictures")
        row["likelihood"] = measure_likelihood(opened, config, test)
    return row


def measure_likelihood(opened: Opened, config: Config, test: Pictures) -> dict[str, float]:
    """Returns the ELBO of all test pictures and the tighter bound of the first, in nats."""
    from tf_deconv.evaluation.generators import likelihood_bounds

    functions, seed = (opened.encode, opened.log_probability), config.seed
    binary = likelihood_bounds.binarise(test.pixels, seed)
    elbo = likelihood_bounds.elbo(*functions, binary, seed=seed)
    weighted = likelihood_bounds.importance_weighted_bound(
        *functions,
        binary[: config.importance_pictures],
        samples=config.importance_samples,
        seed=seed,
    )
    return {"elbo_nats": float(elbo.mean()), "importance_weighted_nats": float(weighted.mean())}


def find_classifier(config: Config, training: Pictures, test: Pictures, report: Report) -> Any:
    """Opens OUT/classifier.keras if it was trained on these pictures, or else trains it."""
    from tf_deconv.evaluation.generators import classifier, evaluate

    path = pathlib.Path(config.out, evaluate.CLASSIFIER_FILE)
    if path.exists():
        judge = classifier.load(path)
        if judge.facts["data_sha256"] == training.sha256:
            return judge
    report("training the classifier")
    judge = classifier.train_classifier(
        training.pixels,
        training.labels,
        seed=evaluate.CLASSIFIER_SEED,
        test=(test.pixels, test.labels),
        report=report,
    )
    judge.save(path)
    # As the next call finds it: its facts have been through JSON.
    return classifier.load(path)


def write_table(rows: dict[str, dict[str, Any]], config: Config, report: Report) -> None:
    """Writes generation.json and generation.md, and reports what the latter says."""
    settings = config.measuring() | {"minutes": config.minutes}
    lines = generation_table.lay_out(rows, config.command(), settings)
    bars = [{"bar": text, "met": met} for text, met in generation_table.bars(rows)]
    result = {"command": config.command(), "settings": settings, "rows": rows, "bars": bars}
    files.write_json(pathlib.Path(config.out, "generation.json"), result)
    files.write_bytes(pathlib.Path(config.out, "generation.md"), "\n".join([*lines, ""]).encode())
    for line in lines:
        report(line)


# --- The command.


def run(config: Config, names: Sequence[str], arguments: Sequence[str], report: Report) -> int:
    """Trains and measures as --stage says; returns the exit code."""
    training, test = read(config.data)
    files.make_folder(pathlib.Path(config.out))
    for name in names if config.stage != "measure" else ():
        if find_training(name, config, training) is not None:
            report(f"{name}: is trained")
            continue
        report(f"{name}: training for {config.minutes:g} min")
        # A process of its own: seeds, number formats and memory of one reach no other.
        command = [sys.executable, __file__, *arguments, "--contender", name]
        code = subprocess.run(command, check=False).returncode
        if code:
            report(f"{name}: training ended with code {code}; the others keep what they have")
            return code if code > 0 else 128 - code
    if config.stage != "train":
        _import_tensorflow()
        write_table(measure(names, config, training, test, report), config, report)
    return 0


def _import_tensorflow() -> None:
    # Its C++ part prints lines of its own before it reads any setting.
    with files.silent_stderr():
        import tensorflow  # noqa: F401


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Config):
        flag, kind, words = _flag(field.name), field.metadata["type"], field.metadata["help"]
        if kind is bool:
            parser.add_argument(flag, action="store_true", help=words)
            continue
        if field.default is not None:
            words += f" (default: {field.default})"
        parser.add_argument(flag, type=kind, default=field.default, help=words)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="only these networks")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
      0; 2 for a user's mistake, in one line; 130 after Ctrl-C; otherwise the code with which
      training ended.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = vars(_make_parser().parse_args(arguments))
    only, contender = options.pop("only"), options.pop("contender")
    report = functools.partial(print, flush=True)
    cli_main.quiet_libraries()
    try:
        config = validate(Config(**options))
        if config.data is None:
            raise UserError("data=None: expected --data, a folder of IDX files with labels")
        if contender:
            _import_tensorflow()
            train_contender(contender, config, read(config.data)[0], report)
            return 0
        names = only or [n for n in CONTENDERS if config.binarised or n != "keras-vae-binarised"]
        return run(config, names, arguments, report)
    except UserError as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{_PROGRAM}: {reason(error)} ({error.filename})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if not contender:
            report(f"stopped: {options['out']} keeps what is done, the same command goes on")
        return 130


if __name__ == "__main__":
    sys.exit(main())
