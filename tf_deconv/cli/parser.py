"""The options of every command, as a package's `config` declares them, read by argparse.

A command's config is imported when its parser is made: `tf-deconv --help` imports none.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from tf_deconv.cli.arguments import Parser, Switch, Words
from tf_deconv.cli.overview import COMMANDS
from tf_deconv.utils.mentions import flag_of, off_flag_of

# Longer choices stand in the text of an option, and not in place of its value.
_LONGEST_CHOICES = 32
# Every option with a value says what that is; this is for one that a config forgot.
_METAVARS = {int: "COUNT", float: "FACTOR", str: "TEXT"}


def make_parser() -> argparse.ArgumentParser:
    """Returns what reads a command line: `command`, and the options that were given."""
    parser = Parser(prog="tf-deconv")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        declare(name, commands.add_parser(name, help=COMMANDS[name]))
    return parser


def parse(command: str, words: Sequence[str]) -> dict[str, Any]:
    """Reads the words after a command.

    Args:
      command: A key of `COMMANDS`.
      words: What was typed after it.
    Returns:
      The options that were given.
    Raises:
      SystemExit: after --help, or with one line about what cannot be read.
    """
    parser = Parser(prog=f"tf-deconv {command}")
    declare(command, parser)
    return vars(parser.parse_args(words))


def declare(command: str, parser: Parser) -> None:
    """Adds the options of a command to its parser."""
    _DECLARATIONS[command](parser)


def _declare_train(parser: Parser) -> None:
    from tf_deconv.degradations.tasks import OPERATORS, TASKS
    from tf_deconv.networks.table import NETWORKS
    from tf_deconv.training.config import TrainConfig

    parser.description = "Train a network on pictures; leaves a run folder."
    tables = {"tasks": TASKS, "operators, for --degrade": OPERATORS, "networks": NETWORKS}
    _add_options(parser, TrainConfig, {"task": TASKS, "network": NETWORKS}, tables=tables)


def _declare_export(parser: Parser) -> None:
    from tf_deconv.exporting.config import ExportConfig
    from tf_deconv.exporting.variants import PROFILES, VARIANTS

    parser.description = (
        "Export a run as SavedModel and TFLite; each file is checked against Keras."
    )
    several = f"{_help_of(ExportConfig, 'model')}; for --web several, or all for every shipped one"
    models = _add_model(parser, ExportConfig, nargs="*", default=argparse.SUPPRESS, help=several)
    models.dest = "models"
    _add_options(
        parser,
        ExportConfig,
        {"profile": PROFILES},
        leave_out=("model",),
        tables={"variants": VARIANTS, "profiles": PROFILES},
    )


def _declare_restore(parser: Parser) -> None:
    from tf_deconv.inference import shipped
    from tf_deconv.inference.config import RestoreConfig

    parser.description = (
        "Restore pictures and films of any size with a trained or exported model; without MODEL,"
        f" with {shipped.DEFAULT}, which comes with this program. Bit depth, transparency, colour"
        " profile, EXIF and file type stay where the format can hold them, and of films sound,"
        " subtitles and times."
    )
    model = _add_model(parser, RestoreConfig, default=argparse.SUPPRESS)
    pictures = parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        default=argparse.SUPPRESS,
        help="picture files, films, folders whose tree is kept, .txt files of paths, folders of"
        " shards",
    )
    # A single word is a picture, and which one is the model only a look at it tells: `split_words`.
    # (Not nargs="?", with which argparse takes no word after an option.)
    model.required = pictures.required = False
    _add_options(
        parser,
        RestoreConfig,
        leave_out=("model",),
        tables={"shipped models": shipped.MODELS},
    )


def _declare_sample(parser: Parser) -> None:
    from tf_deconv.generation.config import SampleConfig

    parser.description = (
        "Make pictures with a trained or exported generator: files, a sheet of them and"
        " samples.json, which tells how. The same seed makes the same pictures in every format."
    )
    _add_model(parser, SampleConfig)
    _add_options(parser, SampleConfig, leave_out=("model",))


def _declare_edit(parser: Parser) -> None:
    from tf_deconv.generation.config import EditConfig

    parser.description = (
        "Pass pictures through a trained or exported generator: reconstruct each, interpolate"
        " between two, or fill a part of each anew in several ways."
    )
    _add_model(parser, EditConfig)
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        help="picture file, or FILE:INDEX[,INDEX...] of a .npy, .npz or IDX file; what has another"
        " size than the generator's pictures is cut to its middle and resized",
    )
    _add_options(parser, EditConfig, leave_out=("model",))


def _declare_evaluate(parser: Parser) -> None:
    from tf_deconv.degradations.tasks import OPERATORS, RESTORATIONS
    from tf_deconv.evaluation.config import EvaluateConfig
    from tf_deconv.inference import shipped

    parser.description = (
        "Degrade pictures, restore them and score the result: PSNR and SSIM beside those of doing"
        " nothing and, where the task is noise alone, of scikit-image's non-local means. Of a"
        " generator: likelihood of --data (VAE); distance, precision and recall of its pictures,"
        " and the training pictures nearest to them."
    )
    _add_model(parser, EvaluateConfig)
    tables = {
        "shipped models": shipped.MODELS,
        "tasks": RESTORATIONS,
        "operators, for --degrade": OPERATORS,
    }
    _add_options(
        parser,
        EvaluateConfig,
        {"task": RESTORATIONS},
        leave_out=("model",),
        json="the content of evaluation.json",
        tables=tables,
    )


def _declare_inspect(parser: Parser) -> None:
    from tf_deconv.evaluation.config import EvaluateConfig
    from tf_deconv.inference import shipped

    parser.description = (
        "Tell what a model is, takes and gives, and where it comes from; without MODEL, list the"
        " shipped models and where they lie."
    )
    _add_model(parser, EvaluateConfig, nargs="?")
    parser.add_argument("--trust", action="store_true", help=_help_of(EvaluateConfig, "trust"))
    _add_json_flag(parser, "all facts")
    parser.epilog = _table("shipped models", shipped.MODELS)


def _declare_benchmark(parser: Parser) -> None:
    from tf_deconv.evaluation.config import BenchmarkConfig, EvaluateConfig
    from tf_deconv.evaluation.protocols.published import PROTOCOLS
    from tf_deconv.exporting.parity.runner import RUNTIMES

    parser.description = (
        "With --export: measure every file of an export in every runtime that is installed: size,"
        " time, quality and what was delegated; a table, a plot and JSON. With --protocol: measure"
        " models by the letter of a protocol of the literature, beside what papers print; a table"
        " and JSON."
    )
    several = f"for --protocol: {_help_of(EvaluateConfig, 'model')}; several for several rows"
    models = _add_model(parser, EvaluateConfig, nargs="*", help=several)
    models.dest = "models"
    _add_options(
        parser,
        BenchmarkConfig,
        {"protocol": PROTOCOLS, "runtime": RUNTIMES},
        json="the content of benchmark.json or protocol.json",
        tables={"protocols": PROTOCOLS},
    )


def _declare_shard(parser: Parser) -> None:
    from tf_deconv.data.config import ShardConfig

    parser.description = (
        "Pack pictures, with their labels, into TFRecord shards: one tf.train.Example for each"
        " picture, and shards.json, which lists the shards. The folder or its URL is then what"
        " --data takes, and gives the same pictures and the same split."
    )
    parser.add_argument("data", metavar="PICTURES", help=_help_of(ShardConfig, "data"))
    _add_options(parser, ShardConfig, leave_out=("data",))


def _declare_verify(parser: Parser) -> None:
    from tf_deconv.exporting.config import VerifyConfig

    parser.description = (
        "Run a known picture through exported files in a runtime and compare what comes back with"
        " what Keras makes of it: right to how many decibels, or what is wrong. With --output:"
        " judge what a client of your own made of the picture in the export's golden/."
    )
    _add_model(parser, VerifyConfig)
    _add_options(parser, VerifyConfig, leave_out=("model",), json="what was found")


_DECLARATIONS: dict[str, Callable[[Parser], None]] = {
    "restore": _declare_restore,
    "inspect": _declare_inspect,
    "evaluate": _declare_evaluate,
    "benchmark": _declare_benchmark,
    "train": _declare_train,
    "export": _declare_export,
    "verify": _declare_verify,
    "shard": _declare_shard,
    "sample": _declare_sample,
    "edit": _declare_edit,
}


def _add_model(parser: Parser, cls: type, **options: Any) -> argparse.Action:
    from tf_deconv.inference import shipped

    options = {"metavar": "MODEL", "help": _help_of(cls, "model"), **options}
    # No generator is shipped.
    names = shipped.MODELS if "shipped" in options["help"] else ()
    return _name_values(parser.add_argument("model", **options), names)


def _name_values(action: argparse.Action, names: Collection[str]) -> argparse.Action:
    """Keeps which values a shell completes: `choices` would be checked by argparse too."""
    action.names = tuple(names)  # type: ignore[attr-defined]
    return action


def _add_json_flag(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--json", action="store_true", help=f"print {what} as one JSON object, and nothing else"
    )


def _add_options(
    parser: Parser,
    cls: type,
    choices: Mapping[str, Any] | None = None,
    *,
    leave_out: Sequence[str] = (),
    json: str = "",
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Adds the options of a config in the groups that it names, those without a group first.

    Args:
      parser: The command's.
      cls: The config.
      choices: Names allowed for options whose table lies further up, and is shown below.
      leave_out: Options that are given without a flag.
      json: What --json prints; "" for a command without it.
      tables: What is shown below the options, by its title.
    """
    groups: dict[str | None, Any] = {None: parser}
    for field in dataclasses.fields(cls):
        if field.name in leave_out:
            continue
        title = field.metadata["group"]
        if title not in groups:
            groups[title] = parser.add_argument_group(title)
        _add_option(groups[title], field, cls, (choices or {}).get(field.name))
    parser.add_argument(
        "--config",
        metavar="FILE.json",
        help="JSON object of these options; those on the command line win",
    )
    parser.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print errors alone",
    )
    if json:
        _add_json_flag(parser, json)
    notes = [_table(title, entries) for title, entries in (tables or {}).items()]
    switches = [
        field
        for field in dataclasses.fields(cls)
        if field.metadata["type"] is bool and field.name not in leave_out
    ]
    if switches:
        notes.append(
            "Every option without a value has a form that takes it back where --config has it:"
            f" {off_flag_of(switches[0].name)}."
        )
    parser.epilog = "\n\n".join(notes)


def _add_option(group: Any, field: dataclasses.Field, cls: type, table: Any) -> None:
    flag, kind = flag_of(field.name), field.metadata["type"]
    flags = [flag, *filter(None, [field.metadata["short"]])]
    names = tuple(table or field.metadata["choices"])
    # Not given is not the default: --config fills in what the command line leaves open.
    common: dict[str, Any] = dict(dest=field.name, default=argparse.SUPPRESS)
    if kind is bool:
        # A file may have switched on what the command line is to switch off.
        flags.append(off_flag_of(field.name))
        group.add_argument(*flags, action=Switch, help=_help_of(cls, field.name), **common)
        return
    metavar, more, listed = field.metadata["metavar"] or _METAVARS[kind], "", "|".join(names)
    if field.metadata["words"]:
        common["action"], metavar = Words, field.metadata["words"]
    elif names and len(listed) <= _LONGEST_CHOICES:
        metavar = listed
    elif names:
        told = isinstance(table, Mapping) and all(hasattr(it, "summary") for it in table.values())
        more = "; one of those below" if told else f"; one of {', '.join(names)}"
    # Choices are checked by `validate`, which names the nearest one.
    action = group.add_argument(
        *flags, type=_number(kind), metavar=metavar, help=_help_of(cls, field.name, more), **common
    )
    _name_values(action, names)


def _number(kind: type):
    """Returns a converter that leaves what it cannot convert to `validate`."""

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            return text

    return convert


def _help_of(cls: type, name: str, more: str = "") -> str:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    text = (field.metadata["help"] + more).replace("%", "%%")
    shown = field.default is not None and field.metadata["type"] is not bool
    return f"{text} (default: {field.default})" if shown else text


def _table(title: str, entries: Mapping[str, Any]) -> str:
    width = max(map(len, entries))
    lines = []
    for name, entry in entries.items():
        unit = f" ({entry.unit})" if hasattr(entry, "unit") else ""
        if getattr(entry, "usual", ""):
            unit = f" ({entry.unit}; {entry.usual} where none is given)"
        lines.append(f"  {name:{width}}  {entry.summary}{unit}")
    return "\n".join([f"{title}:", *lines])
