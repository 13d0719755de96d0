"""The commands: parse, call, print. `--help` does not import TensorFlow; running a command does."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

from tf_deconv.cli.parser import EXIT_USAGE, make_parser
from tf_deconv.data import config as data_config
from tf_deconv.data.config import ShardConfig
from tf_deconv.degradations.tasks import RESTORATIONS, parse_chain
from tf_deconv.evaluation import config as evaluation_config
from tf_deconv.evaluation.config import BenchmarkConfig, EvaluateConfig
from tf_deconv.exporting import config as exporting_config
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.generation.config import EditConfig, SampleConfig
from tf_deconv.inference import shipped
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.training import config as training_config
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.files import json_text, silent_stderr
from tf_deconv.utils.options import UserError, read_config, reason, validate

EXIT_FAULT = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: Words after the program's name; those of the process when left out.
    Returns:
      The exit code: 0, 1 when an export failed its check or a picture could not be restored or
      measured, 2 for a user's mistake, 128 + N after signal N.
    """
    options = vars(make_parser().parse_args(arguments))
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
    config = training_config.check_train_config(TrainConfig(**values))
    if config.resume:
        given = sorted(set(values) - {"run_dir", "resume", "strategy"})
        if given:
            raise UserError(
                f"--resume takes every option from the run's config.json: leave out {_flags(given)}"
            )
    _import_tensorflow()
    from tf_deconv.training.callbacks import Interrupted
    from tf_deconv.training.trainer import train

    try:
        train(config, report=_print_line)
    except Interrupted as stop:
        _print_line(
            "stopped: the best model so far is in the run folder; go on with --resume --run-dir"
        )
        return 128 + stop.signum
    return 0


def _export(options: dict[str, Any]) -> int:
    config = exporting_config.check_export_config(ExportConfig(**_gather(options, ExportConfig)))
    _import_tensorflow()
    from tf_deconv.exporting.pipeline import export

    result = export(config, report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _restore(options: dict[str, Any]) -> int:
    pictures = options.pop("pictures")
    config = validate(RestoreConfig(**_gather(options, RestoreConfig)))
    _import_tensorflow()
    from tf_deconv.inference.restore import restore

    result = restore(config, pictures, report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _sample(options: dict[str, Any]) -> int:
    config = validate(SampleConfig(**_gather(options, SampleConfig)))
    _import_tensorflow()
    from tf_deconv.generation.sample import sample

    sample(config, report=_print_line)
    return 0


def _edit(options: dict[str, Any]) -> int:
    pictures = options.pop("pictures")
    config = validate(EditConfig(**_gather(options, EditConfig)))
    _import_tensorflow()
    from tf_deconv.generation.edit import edit

    edit(config, pictures, report=_print_line)
    return 0


def _evaluate(options: dict[str, Any]) -> int:
    as_json = options.pop("json")
    config = validate(EvaluateConfig(**_gather(options, EvaluateConfig)), {"task": RESTORATIONS})
    if config.degrade is not None:
        parse_chain(config.degrade)
    _import_tensorflow()
    from tf_deconv.inference import artifacts

    generates = "generator" in artifacts.describe(*artifacts.find_artifact(config.model))
    evaluation_config.check_evaluate_config(config, generates)
    if generates:
        from tf_deconv.evaluation.generators.evaluate import evaluate_generator as evaluate
    else:
        from tf_deconv.evaluation.evaluate import evaluate

    result = evaluate(config, report=_print_nothing if as_json else _print_line)
    if as_json:
        _print_line(json_text(result.scores))
    return EXIT_FAULT if result.failures else 0


def _benchmark(options: dict[str, Any]) -> int:
    as_json, models = options.pop("json"), options.pop("models")
    config = evaluation_config.check_benchmark_config(
        BenchmarkConfig(**_gather(options, BenchmarkConfig)), models
    )
    _import_tensorflow()
    report = _print_nothing if as_json else _print_line
    if config.protocol is not None:
        from tf_deconv.evaluation.protocols.measure import benchmark_protocol

        measured = benchmark_protocol(config, models, report)
        scores, code = measured.scores, EXIT_FAULT if measured.failures else 0
    else:
        from tf_deconv.exporting.benchmark import benchmark

        scores, code = benchmark(config, report), 0
    if as_json:
        _print_line(json_text(scores))
    return code


def _shard(options: dict[str, Any]) -> int:
    config = data_config.check_shard_config(ShardConfig(**_gather(options, ShardConfig)))
    _import_tensorflow()
    from tf_deconv.data.shards.pack import shard

    result = shard(config, report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _inspect(options: dict[str, Any]) -> int:
    model, as_json = options["artifact"], options["json"]
    if model is None:
        return _list_shipped(as_json)
    _import_tensorflow()
    from tf_deconv.evaluation.inspect import inspect_artifact, lines

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
    _print_line("\n".join(shipped.lines(found)))
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
    "shard": _shard,
}


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
