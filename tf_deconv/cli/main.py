"""The commands: parse, call, print. `--help` does not import TensorFlow; running a command does.

Which command it is, is found out before anything else is imported: the overview is there at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tf_deconv import __version__
from tf_deconv.cli.arguments import EXIT_USAGE
from tf_deconv.cli.overview import COMMANDS, HELPERS, overview
from tf_deconv.cli.parser import parse
from tf_deconv.utils.files import json_text, no_space
from tf_deconv.utils.interrupted import Interrupted, Termination
from tf_deconv.utils.mentions import flag_of, typed, with_flags
from tf_deconv.utils.options import UserError, naming, nearest, read_config, reason
from tf_deconv.utils.progress import no_bars
from tf_deconv.utils.quiet import quiet_libraries

EXIT_FAULT = 1
EXIT_PIPE = 141  # As a shell tells of a program that SIGPIPE ended.
_MAKE_ROOM = "; make room and start again"
# Options that are given without a flag: every command's, and a command's own.
_POSITIONAL = {"model": "MODEL"}
_POSITIONAL_OF = {"shard": {"data": "PICTURES"}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      arguments: Words after the program's name; those of the process when left out.
    Returns:
      The exit code: 0, 1 when an export failed its check or a picture could not be read, restored
      or measured, 2 for a user's mistake, 128 + N after signal N.
    """
    if hasattr(sys.stdout, "reconfigure"):
        # A file's name may hold what a terminal cannot show, as on Windows many cannot.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run([*(sys.argv[1:] if arguments is None else arguments)])
    except BrokenPipeError:
        # `| head` has read enough. What is left in the buffer must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EXIT_PIPE


def _run(words: Sequence[str]) -> int:
    if not words:  # As what is not complete; a script that lost its words must not go on.
        _print_line(overview())
        return EXIT_USAGE
    command, *rest = words
    if command in ("-h", "--help", "--version", *HELPERS):
        return _tell(command.lstrip("-"), rest)
    if command not in COMMANDS:
        return _refuse(_unknown(command, rest))
    options = parse(command, rest)
    quiet_libraries()
    with Termination() as termination, contextlib.ExitStack() as stack:
        if options.get("quiet"):
            stack.enter_context(no_bars())
        try:
            code = _COMMANDS[command](options)
        except BaseException as error:
            # What was raised after the signal is its doing, not the user's nor the model's.
            if termination.exit_code is None:
                code = _explain(command, error)
        return code if termination.exit_code is None else termination.exit_code


def _tell(helper: str, words: Sequence[str]) -> int:
    """Tells of the commands: help, version, completion."""
    if helper == "version":
        _print_line(f"tf-deconv {__version__}")
        return 0
    if helper == "completion":
        from tf_deconv.cli import completion

        try:
            _print_line(completion.script(words))
        except UserError as error:
            return _refuse(f"tf-deconv completion: {error}")
        return 0
    if not words or words[0] in HELPERS or words[0].startswith("-"):
        _print_line(overview())
        return 0
    if words[0] not in COMMANDS:
        return _refuse(_unknown(words[0]))
    parse(words[0], ["--help"])
    return 0


def _unknown(word: str, rest: Sequence[str] = ()) -> str:
    """Says what may have been meant by a word that is no command."""
    what = "option" if word.startswith("-") else "command"
    names = [*COMMANDS, *HELPERS]
    if os.path.lexists(word):  # Somebody left out the word before it.
        hint = f" (did you mean: tf-deconv restore {word}?)"
    elif what == "option" and any(each in COMMANDS for each in rest):
        hint = " before the command: options come after it"
    else:
        hint = nearest(word, names if what == "command" else ["--help", "--version"], "{}")
    return f"tf-deconv: there is no {what} {word}{hint}; see tf-deconv --help"


def _refuse(line: str) -> int:
    print(line, file=sys.stderr)
    return EXIT_USAGE


def _explain(command: str, error: BaseException) -> int:
    """Says in one line what the user can mend; returns the exit code; raises what is a fault."""
    line, code = "", EXIT_USAGE
    if isinstance(error, UserError):
        line = error.message
        if error.options is not None:
            line = with_flags(line, error.options, _POSITIONAL_OF.get(command, _POSITIONAL))
    elif isinstance(error, KeyboardInterrupt):
        line, code = "stopped", 130
    elif isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        line = reason(error) + (f" ({error.filename})" if error.filename else "")
        line += _MAKE_ROOM if no_space(error) else ""
    elif no_space(error):  # TensorFlow's errors are none of the system's.
        line = os.strerror(errno.ENOSPC) + _MAKE_ROOM
    else:
        raise error
    print(f"tf-deconv {command}: {line}", file=sys.stderr)
    return code


# Each command imports what it calls: the others' options take a tenth of a second.


def _train(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.training.config import RENEWABLE, TrainConfig

    report = _reporter(options)
    values = _gather(options, TrainConfig)
    if values.get("resume"):
        given = sorted(set(values) - {"run_dir", "resume", "strategy", *RENEWABLE})
        if given:
            flags = ", ".join(map(flag_of, given))
            raise UserError(
                f"--resume takes every other option from the run's config.json: leave out {flags}"
            )
    try:
        result = api.train(TrainConfig(**values), report=report)
    except Interrupted as stop:
        folder = str(stop.run_dir)
        report(f"stopped: the best model so far is in {folder}")
        report(f"to go on: {typed('train', f'--resume --run-dir {shlex.quote(folder)}')}")
        return 128 + stop.signum
    return _code_of(result.failures, report)


def _export(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.exporting.config import ExportConfig

    report, models = _reporter(options), options.pop("models", [])
    if models:
        options["model"] = models[0]
    config = ExportConfig(**_gather(options, ExportConfig))
    result = api.export(config, also=models[1:], report=report)
    return _code_of(result.failures, report)


def _verify(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.exporting.config import VerifyConfig

    report, as_json = _reporter(options), options.pop("json")
    config = VerifyConfig(**_gather(options, VerifyConfig))
    result = api.verify(config, report=_print_nothing if as_json else report)
    if as_json:
        _print_line(json_text(result.to_json()))
    if any(row.verdict == "wrong" for row in result.rows):
        return EXIT_FAULT
    return EXIT_USAGE if any(row.verdict == "not run" for row in result.rows) else 0


def _restore(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.inference.config import RestoreConfig
    from tf_deconv.inference.words import split_words

    report = _reporter(options)
    first = [options.pop("model")] if "model" in options else []
    model, pictures = split_words([*first, *options.pop("pictures", [])])
    if model is not None:
        options["model"] = model
    config = RestoreConfig(**_gather(options, RestoreConfig))
    result = api.restore(config, pictures, report=report)
    return _code_of(result.failures, report)


def _sample(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.generation.config import SampleConfig

    report = _reporter(options)
    api.sample(SampleConfig(**_gather(options, SampleConfig)), report=report)
    return 0


def _edit(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.generation.config import EditConfig

    report, pictures = _reporter(options), options.pop("pictures")
    api.edit(EditConfig(**_gather(options, EditConfig)), pictures, report=report)
    return 0


def _evaluate(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.evaluation.config import EvaluateConfig

    report, as_json = _reporter(options), options.pop("json")
    config = EvaluateConfig(**_gather(options, EvaluateConfig))
    result = api.evaluate(config, report=_print_nothing if as_json else report)
    if as_json:
        _print_line(json_text(result.scores))
    return _code_of(result.failures, report)


def _benchmark(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.evaluation.config import BenchmarkConfig

    report, as_json = _reporter(options), options.pop("json")
    models = options.pop("models")
    config = BenchmarkConfig(**_gather(options, BenchmarkConfig))
    measured = api.benchmark(config, models, report=_print_nothing if as_json else report)
    scores, failures = measured, ()
    if config.protocol is not None:
        scores, failures = measured.scores, measured.failures
    if as_json:
        _print_line(json_text(scores))
    return _code_of(failures, report)


def _shard(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.data.config import ShardConfig

    report = _reporter(options)
    result = api.shard(ShardConfig(**_gather(options, ShardConfig)), report=report)
    return _code_of(result.failures, report)


def _inspect(options: dict[str, Any]) -> int:
    from tf_deconv import api
    from tf_deconv.inference import shipped

    model, as_json = options["model"], options["json"]
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
    from tf_deconv.inference import shipped

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
    "verify": _verify,
    "shard": _shard,
}


def _gather(options: dict[str, Any], cls: type) -> dict[str, Any]:
    path = options.pop("config", None)
    for field in dataclasses.fields(cls):
        if field.metadata["words"] and field.name in options:
            options[field.name] = " ".join(options[field.name])
    with naming(cls):
        return {**(read_config(path, cls) if path else {}), **options}


def _reporter(options: dict[str, Any]) -> Callable[[str], None]:
    """Returns what prints a command's lines; with --quiet nothing does."""
    return _print_nothing if options.pop("quiet", False) else _print_line


def _code_of(failures: Sequence[str], report: Callable[[str], None]) -> int:
    """Returns the exit code, and names what failed where the lines that do were not printed."""
    if not failures:
        return 0
    if report is _print_nothing:
        for failure in failures:
            print(failure, file=sys.stderr)
    return EXIT_FAULT


def _print_line(line: str) -> None:
    print(line, flush=True)


def _print_nothing(line: str) -> None:
    """For --quiet; and for --json: a program reads what is printed."""
