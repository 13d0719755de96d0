"""The commands: parse, call, print. `--help` does not import TensorFlow; running a command does."""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
from collections.abc import Sequence
from typing import Any

from tf_deconv import api
from tf_deconv.cli.parser import EXIT_USAGE, make_parser
from tf_deconv.data.config import ShardConfig
from tf_deconv.evaluation.config import BenchmarkConfig, EvaluateConfig
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.generation.config import EditConfig, SampleConfig
from tf_deconv.inference import shipped
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.words import split_words
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.files import json_text, no_space
from tf_deconv.utils.interrupted import Interrupted, Termination
from tf_deconv.utils.options import UserError, read_config, reason
from tf_deconv.utils.quiet import quiet_libraries

EXIT_FAULT = 1
_MAKE_ROOM = "; make room and start again"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: Words after the program's name; those of the process when left out.
    Returns:
      The exit code: 0, 1 when an export failed its check or a picture could not be read, restored
      or measured, 2 for a user's mistake, 128 + N after signal N.
    """
    options = vars(make_parser().parse_args(arguments))
    command = options.pop("command")
    quiet_libraries()
    with Termination() as termination:
        try:
            code = _COMMANDS[command](options)
        except BaseException as error:
            # What was raised after the signal is its doing, not the user's nor the model's.
            if termination.exit_code is None:
                code = _explain(command, error)
        return code if termination.exit_code is None else termination.exit_code


def _explain(command: str, error: BaseException) -> int:
    """Says in one line what the user can mend; returns the exit code; raises what is a fault."""
    line, code = "", EXIT_USAGE
    if isinstance(error, UserError):
        line = str(error)
    elif isinstance(error, KeyboardInterrupt):
        line, code = "stopped", 130
    elif isinstance(error, OSError):
        line = reason(error) + (f" ({error.filename})" if error.filename else "")
        line += _MAKE_ROOM if no_space(error) else ""
    elif no_space(error):  # TensorFlow's errors are none of the system's.
        line = os.strerror(errno.ENOSPC) + _MAKE_ROOM
    else:
        raise error
    print(f"tf-deconv {command}: {line}", file=sys.stderr)
    return code


def _train(options: dict[str, Any]) -> int:
    values = _gather(options, TrainConfig)
    if values.get("resume"):
        given = sorted(set(values) - {"run_dir", "resume", "strategy"})
        if given:
            raise UserError(
                f"--resume takes every option from the run's config.json: leave out {_flags(given)}"
            )
    try:
        result = api.train(TrainConfig(**values), report=_print_line)
    except Interrupted as stop:
        _print_line(
            "stopped: the best model so far is in the run folder; go on with --resume --run-dir"
        )
        return 128 + stop.signum
    return EXIT_FAULT if result.failures else 0


def _export(options: dict[str, Any]) -> int:
    models = options.pop("models", [])
    if models:
        options["model"] = models[0]
    config = ExportConfig(**_gather(options, ExportConfig))
    result = api.export(config, also=models[1:], report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _restore(options: dict[str, Any]) -> int:
    first = [options.pop("model")] if "model" in options else []
    model, pictures = split_words([*first, *options.pop("pictures", [])])
    if model is not None:
        options["model"] = model
    config = RestoreConfig(**_gather(options, RestoreConfig))
    result = api.restore(config, pictures, report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _sample(options: dict[str, Any]) -> int:
    api.sample(SampleConfig(**_gather(options, SampleConfig)), report=_print_line)
    return 0


def _edit(options: dict[str, Any]) -> int:
    pictures = options.pop("pictures")
    api.edit(EditConfig(**_gather(options, EditConfig)), pictures, report=_print_line)
    return 0


def _evaluate(options: dict[str, Any]) -> int:
    as_json = options.pop("json")
    config = EvaluateConfig(**_gather(options, EvaluateConfig))
    result = api.evaluate(config, report=_print_nothing if as_json else _print_line)
    if as_json:
        _print_line(json_text(result.scores))
    return EXIT_FAULT if result.failures else 0


def _benchmark(options: dict[str, Any]) -> int:
    as_json, models = options.pop("json"), options.pop("models")
    config = BenchmarkConfig(**_gather(options, BenchmarkConfig))
    measured = api.benchmark(config, models, report=_print_nothing if as_json else _print_line)
    scores, failures = measured, ()
    if config.protocol is not None:
        scores, failures = measured.scores, measured.failures
    if as_json:
        _print_line(json_text(scores))
    return EXIT_FAULT if failures else 0


def _shard(options: dict[str, Any]) -> int:
    result = api.shard(ShardConfig(**_gather(options, ShardConfig)), report=_print_line)
    return EXIT_FAULT if result.failures else 0


def _inspect(options: dict[str, Any]) -> int:
    model, as_json = options["artifact"], options["json"]
    if model is None:
        return _list_shipped(as_json)
    facts = api.inspect(model, trust=options["trust"])
    if as_json:
        _print_line(json_text(facts))
        return 0
    for note in shipped.notes(model):
        _print_line(f"note: {note}")
    from tf_deconv.evaluation.inspect import lines

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
