"""The commands: parse, call, print. `--help` does not import TensorFlow; running a command does."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tf_deconv import __version__, checks, shipped
from tf_deconv.config import (
    BenchmarkConfig,
    EditConfig,
    EvaluateConfig,
    ExportConfig,
    RestoreConfig,
    SampleConfig,
    TrainConfig,
)
from tf_deconv.files import json_text, silent_stderr
from tf_deconv.networks import NETWORKS
from tf_deconv.options import UserError, read_config, reason, validate
from tf_deconv.published import PROTOCOLS
from tf_deconv.tasks import OPERATORS, RESTORATIONS, TASKS, parse_chain
from tf_deconv.variants import PROFILES, VARIANTS

EXIT_FAULT, EXIT_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: Words after the program's name; those of the process when left out.
    Returns:
      The exit code: 0, 1 when an export failed its check or a picture could not be restored or
      measured, 2 for a user's mistake, 128 + N after signal N.
    """
    parser = _make_parser()
    options = vars(parser.parse_args(arguments))
    command = options.pop("command")
    quiet_libraries()
    # Ends like Ctrl-C does, so that nothing half-made stays behind.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda signum, _: sys.exit(128 + signum))
    try:
        return _COMMANDS[command](options)
    except UserError as error:
        print(f"tf-deconv {command}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"tf-deconv {command}: {reason(error)}{where}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print(f"tf-deconv {command}: stopped", file=sys.stderr)
        return 130


def _train(options: dict[str, Any]) -> int:
    values = _gather(options, TrainConfig)
    config = checks.check_train_config(TrainConfig(**values))
    if config.resume:
        given = sorted(set(values) - {"run_dir", "resume"})
        if given:
            raise UserError(
                f"--resume takes every option from the run's config.json: leave out {_flags(given)}"
            )
    _import_tensorflow()
    from tf_deconv.callbacks import Interrupted
    from tf_deconv.training import train

    try:
        train(config, report=_print_line)
    except Interrupted as stop:
        _print_line(
            "stopped: the best model so far is in the run folder; go on with --resume --run-dir"
        )
        return 128 + stop.signum
    return 0


def _export(options: dict[str, Any]) -> int:
    config = checks.check_export_config(ExportConfig(**_gather(options, ExportConfig)))
    _import_tensorflow()
    from tf_deconv.exporting import export

    result = export(config, report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _restore(options: dict[str, Any]) -> int:
    pictures = options.pop("pictures")
    config = validate(RestoreConfig(**_gather(options, RestoreConfig)))
    _import_tensorflow()
    from tf_deconv.restoring import restore

    result = restore(config, pictures, report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _sample(options: dict[str, Any]) -> int:
    config = validate(SampleConfig(**_gather(options, SampleConfig)))
    _import_tensorflow()
    from tf_deconv.sampling import sample

    sample(config, report=_print_line)
    return 0


def _edit(options: dict[str, Any]) -> int:
    pictures = options.pop("pictures")
    config = validate(EditConfig(**_gather(options, EditConfig)))
    _import_tensorflow()
    from tf_deconv.edit_command import edit

    edit(config, pictures, report=_print_line)
    return 0


def _evaluate(options: dict[str, Any]) -> int:
    as_json = options.pop("json")
    config = validate(EvaluateConfig(**_gather(options, EvaluateConfig)), {"task": RESTORATIONS})
    if config.degrade is not None:
        parse_chain(config.degrade)
    _import_tensorflow()
    from tf_deconv import artifacts

    generates = "generator" in artifacts.describe(*artifacts.find_artifact(config.model))
    checks.check_evaluate_config(config, generates)
    if generates:
        from tf_deconv.generating.evaluating import evaluate_generator as evaluate
    else:
        from tf_deconv.evaluating import evaluate

    result = evaluate(config, report=_print_nothing if as_json else _print_line)
    if as_json:
        _print_line(json_text(result.scores))
    return EXIT_FAULT if result.failures else 0


def _benchmark(options: dict[str, Any]) -> int:
    as_json, models = options.pop("json"), options.pop("models")
    config = checks.check_benchmark_config(
        BenchmarkConfig(**_gather(options, BenchmarkConfig)), models
    )
    _import_tensorflow()
    report = _print_nothing if as_json else _print_line
    if config.protocol is not None:
        from tf_deconv.protocols import benchmark_protocol

        measured = benchmark_protocol(config, models, report)
        scores, code = measured.scores, EXIT_FAULT if measured.failures else 0
    else:
        from tf_deconv.benchmarking import benchmark

        scores, code = benchmark(config, report), 0
    if as_json:
        _print_line(json_text(scores))
    return code


def _inspect(options: dict[str, Any]) -> int:
    model, as_json = options["artifact"], options["json"]
    if model is None:
        return _list_shipped(as_json)
    _import_tensorflow()
    from tf_deconv.inspecting import inspect_artifact, lines

    facts = inspect_artifact(model)
    if as_json:
        _print_line(json_text(facts))
        return 0
    for note in shipped.notes(model):
        _print_line(f"note: {note}")
    _print_line("\n".join(lines(facts)))
    return 0


def _list_shipped(as_json: bool) -> int:
    found = shipped.available()
    if as_json:
        entries = {
            name: {"summary": model.summary, "path": str(found[name]) if name in found else None}
            for name, model in shipped.MODELS.items()
        }
        _print_line(json_text(entries))
        return 0
    width = max(map(len, shipped.MODELS))
    for name, model in shipped.MODELS.items():
        where = found.get(name, f"not on this machine; {shipped.VARIABLE} names folders to look in")
        _print_line(f"{name:{width}}  {model.summary}\n{'':{width}}  {where}")
    return 0


_COMMANDS = {
    "train": _train,
    "export": _export,
    "restore": _restore,
    "sample": _sample,
    "edit": _edit,
    "evaluate": _evaluate,
    "inspect": _inspect,
    "benchmark": _benchmark,
}


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tf-deconv",
        description="From a folder of pictures to a small deconvolutional network.",
    )
    parser.add_argument("--version", action="version", version=f"tf-deconv {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a network; leaves a run folder",
        description="Train a network on pictures; leaves a run folder.",
        epilog="\n".join(
            (_table("tasks", TASKS), _table("operators", OPERATORS), _table("networks", NETWORKS))
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(train, TrainConfig, {"task": TASKS, "network": NETWORKS})

    export = commands.add_parser(
        "export",
        help="export a run as SavedModel and TFLite, each checked",
        description="Export a run as SavedModel and TFLite; each file is checked against Keras.",
        epilog="\n".join((_table("variants", VARIANTS), _table("profiles", PROFILES))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model(export, ExportConfig, nargs="?", default=argparse.SUPPRESS)
    _add_options(export, ExportConfig, {"profile": PROFILES}, leave_out=("model",))

    restore = commands.add_parser(
        "restore",
        help="restore pictures with a trained or exported model",
        description="Restore pictures of any size with a trained or exported model. Bit depth,"
        " transparency, colour profile, EXIF and file type stay where the format can hold them.",
        epilog=_table("shipped models", shipped.MODELS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model(restore, RestoreConfig)
    restore.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture files, or folders whose tree is kept",
    )
    _add_options(restore, RestoreConfig, {}, leave_out=("model",))

    sample = commands.add_parser(
        "sample",
        help="make pictures with a generator",
        description="Make pictures with a trained or exported generator: files, a sheet of them and"
        " samples.json, which tells how. The same seed makes the same pictures in every format.",
    )
    _add_model(sample, SampleConfig)
    _add_options(sample, SampleConfig, {}, leave_out=("model",))

    edit = commands.add_parser(
        "edit",
        help="pass pictures through a generator: reconstruct, interpolate, inpaint",
        description="Pass pictures through a trained or exported generator: reconstruct each,"
        " interpolate between two, or fill a part of each anew in several ways.",
    )
    _add_model(edit, EditConfig)
    edit.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture file, or FILE:INDEX[,INDEX...] of a .npy, .npz or IDX file; what has another"
        " size than the generator's pictures is cut to its middle and resized",
    )
    _add_options(edit, EditConfig, {}, leave_out=("model",))

    evaluate = commands.add_parser(
        "evaluate",
        help="measure a trained or exported model on pictures",
        description="Degrade pictures, restore them and score the result: PSNR, SSIM and Y-PSNR"
        " beside those of doing nothing and, where the task is noise alone, of scikit-image's"
        " non-local means. Of a generator: likelihood of --data (VAE); distance, precision and"
        " recall of its pictures, and the training pictures nearest to them.",
        epilog="\n".join(
            (
                _table("shipped models", shipped.MODELS),
                _table("tasks", RESTORATIONS),
                _table("operators", OPERATORS),
            )
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_model(evaluate, EvaluateConfig)
    _add_options(evaluate, EvaluateConfig, {"task": RESTORATIONS}, leave_out=("model",))
    _add_json_flag(evaluate, "the content of evaluation.json")

    inspect = commands.add_parser(
        "inspect",
        help="tell what a model is, takes and gives, and where it comes from",
        description="Tell what a model is, takes and gives, and where it comes from; without MODEL,"
        " list the shipped models and where they lie.",
        epilog=_table("shipped models", shipped.MODELS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument(
        "artifact", nargs="?", metavar="MODEL", help=_help_of(RestoreConfig, "model")
    )
    _add_json_flag(inspect, "all facts")

    benchmark = commands.add_parser(
        "benchmark",
        help="measure an export in every runtime, or models by the literature's protocols",
        description="With --export: measure every file of an export in every runtime that is"
        " installed: size, time, quality and what was delegated; a table, a plot and JSON. With"
        " --protocol: measure models by the letter of a protocol of the literature, beside what"
        " papers print; a table and JSON.",
        epilog=_table("protocols", PROTOCOLS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmark.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"for --protocol: {_help_of(RestoreConfig, 'model')}; several for several rows",
    )
    _add_options(benchmark, BenchmarkConfig, {"protocol": PROTOCOLS})
    _add_json_flag(benchmark, "the content of benchmark.json or protocol.json")
    return parser


def _add_model(parser: argparse.ArgumentParser, cls: type, **options: Any) -> None:
    parser.add_argument("model", metavar="MODEL", help=_help_of(cls, "model"), **options)


def _add_json_flag(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--json", action="store_true", help=f"print {what} as one JSON object, and nothing else"
    )


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str):
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _add_options(
    parser: argparse.ArgumentParser,
    cls: type,
    choices: Mapping[str, Any],
    leave_out: Sequence[str] = (),
) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE.json",
        help="JSON object of these options; those on the command line win",
    )
    for field in dataclasses.fields(cls):
        if field.name in leave_out:
            continue
        flag, kind = "--" + field.name.replace("_", "-"), field.metadata["type"]
        names = choices.get(field.name, field.metadata["choices"])
        # Not given is not the default: --config fills in what the command line leaves open.
        common = dict(dest=field.name, default=argparse.SUPPRESS, help=_help_of(cls, field.name))
        if kind is bool:
            parser.add_argument(flag, action="store_true", **common)
        else:
            # Choices are checked by `validate`, which names the nearest one.
            metavar = "|".join(names) if names else _METAVARS.get(kind, "NAME")
            if field.metadata["words"]:
                common["nargs"], metavar = "+", field.metadata["words"]
            parser.add_argument(flag, type=_number(kind), metavar=metavar, **common)


_METAVARS = {int: "N", float: "F"}


def _number(kind: type):
    """Returns a converter that leaves what it cannot convert to `validate`."""

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            return text

    return convert


def _help_of(cls: type, name: str) -> str:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    text = field.metadata["help"]
    shown = field.default is not None and field.metadata["type"] is not bool
    return f"{text} (default: {field.default})" if shown else text


def _table(title: str, entries: Mapping[str, Any]) -> str:
    width = max(map(len, entries))
    lines = []
    for name, entry in entries.items():
        unit = f" ({entry.unit})" if hasattr(entry, "unit") else ""
        lines.append(f"  {name:{width}}  {entry.summary}{unit}")
    return "\n".join([f"{title}:", *lines])


def _gather(options: dict[str, Any], cls: type) -> dict[str, Any]:
    path = options.pop("config", None)
    for field in dataclasses.fields(cls):
        if field.metadata["words"] and field.name in options:
            options[field.name] = " ".join(options[field.name])
    return {**(read_config(path, cls) if path else {}), **options}


def _flags(names: Sequence[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _print_line(line: str) -> None:
    print(line, flush=True)


def _print_nothing(line: str) -> None:
    """For --json: a program reads what is printed."""


def quiet_libraries() -> None:
    """Sets what TensorFlow reads at its import; later it has no effect."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Off by default on CPUs without AVX512; measured there from no gain to 1.5 times as fast.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    warnings.filterwarnings("ignore", module="keras|tensorflow")
    # Pillow warns of pictures over 90 megapixels and refuses those over twice that.
    warnings.filterwarnings("ignore", r"Image size \(")
    # It tells of every font that it looks at, and of the cache that it makes.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _import_tensorflow() -> None:
    # Its C++ part prints lines of its own before it reads any setting.
    with silent_stderr():
        import tensorflow  # noqa: F401
