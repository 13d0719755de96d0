"""The options of every command, as a package's `config` declares them, read by argparse.

A command's config is imported when its parser is made: `tf-deconv --help` imports none.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

from tf_deconv.cli.overview import COMMANDS
from tf_deconv.utils.mentions import flag_of, off_flag_of
from tf_deconv.utils.options import nearest

# argparse exits with 2 after a usage error; so do we.
EXIT_USAGE = 2
# Longer choices stand in the text of an option, and not in place of its value.
_LONGEST_CHOICES = 32
# Every option with a value says what that is; this is for one that a config forgot.
_METAVARS = {int: "COUNT", float: "FACTOR", str: "TEXT"}


def make_parser() -> argparse.ArgumentParser:
    """Returns what reads a command line: `command`, and the options that were given."""
    parser = _Parser(prog="tf-deconv")
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
    parser = _Parser(prog=f"tf-deconv {command}")
    declare(command, parser)
    return vars(parser.parse_args(words))


def declare(command: str, parser: _Parser) -> None:
    """Adds the options of a command to its parser."""
    _DECLARATIONS[command](parser)


class _Formatter(argparse.HelpFormatter):
    """Help of 80 columns or what there are: one line for the usage, tables kept as they are."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=26)

    def _format_usage(self, usage, actions, groups, prefix):
        words = [f"usage: {self._prog}"]
        for action in actions:
            if not action.option_strings:
                few = action.nargs in ("?", "*") or not action.required
                several = action.nargs in ("+", "*")
                shown = action.metavar + (" ..." if several else "")
                words.append(f"[{shown}]" if few else shown)
        return " ".join([*words, "[OPTIONS]"]) + "\n\n"

    def _format_action_invocation(self, action):
        if not action.option_strings:
            return action.metavar
        # That a switch can be switched off again is said once, below.
        flags = action.option_strings[: -1 if isinstance(action, _Switch) else None]
        shown = ", ".join(sorted(flags, key=len))
        if action.nargs == 0:
            return shown
        return f"{shown} {action.metavar}" + (" ..." if action.nargs == "+" else "")

    def _fill_text(self, text, width, indent):
        """Wraps each line; what is wrapped of a table stays in its column."""
        lines = []
        for line in text.splitlines():
            column = re.match(r"\s+\S+\s{2,}|\s*", line)
            inside = " " * (column.end() if column else 0)
            lines += textwrap.wrap(line, width, subsequent_indent=inside) or [""]
        return "\n".join(indent + line for line in lines)


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line, which name what was meant."""

    def __init__(self, **options: Any):
        # An abbreviation that is clear today is not when an option is added.
        options = {"formatter_class": _Formatter, "allow_abbrev": False, **options}
        super().__init__(**options)

    def parse_known_args(self, args=None, namespace=None):
        self._refuse_unknown_options(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _refuse_unknown_options(self, words: Sequence[str]) -> None:
        """Names the nearest option of one that there is not; argparse would only list it."""
        if self._subparsers is not None:
            return  # They know their options.
        for word in words:
            if word == "--":
                return
            flag = word.partition("=")[0]
            if re.fullmatch(r"-[A-Za-z].*", word):
                known = word[:2] in self._option_string_actions
            else:
                known = not flag.startswith("--") or flag in self._option_string_actions
            # What holds a space is a text that begins with a dash.
            if not known and " " not in flag:
                flags = [name for name in self._option_string_actions if name.startswith("--")]
                self.error(f"there is no option {flag}{_nearest_flag(flag, flags)}")


def _nearest_flag(flag: str, flags: Collection[str]) -> str:
    """Returns " (did you mean --x?)": the option that begins so, or the nearest one."""
    longer = [name for name in flags if len(flag) > 3 and name.startswith(flag)]
    return f" (did you mean {' or '.join(longer[:3])}?)" if longer else nearest(flag, flags, "{}")


class _Switch(argparse.Action):
    """An option that its first flags switch on, and its last one off."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string != self.option_strings[-1])

    def format_usage(self) -> str:
        return " | ".join(self.option_strings)


def _declare_train(parser: _Parser) -> None:
    from tf_deconv.degradations.tasks import OPERATORS, TASKS
    from tf_deconv.networks.table import NETWORKS
    from tf_deconv.training.config import TrainConfig

    parser.description = "Train a network on pictures; leaves a run folder."
    tables = {"tasks": TASKS, "operators, for --degrade": OPERATORS, "networks": NETWORKS}
    _add_options(parser, TrainConfig, {"task": TASKS, "network": NETWORKS}, tables=tables)


def _declare_export(parser: _Parser) -> None:
    from tf_deconv.exporting.config import ExportConfig
    from tf_deconv.exporting.variants import PROFILES, VARIANTS

    parser.description = (
        "Export a run as SavedModel and TFLite; each file is checked against Keras."
    )
    _add_model(parser, ExportConfig, nargs="?", default=argparse.SUPPRESS)
    _add_options(
        parser,
        ExportConfig,
        {"profile": PROFILES},
        leave_out=("model",),
        tables={"variants": VARIANTS, "profiles": PROFILES},
    )


def _declare_restore(parser: _Parser) -> None:
    from tf_deconv.inference import shipped
    from tf_deconv.inference.config import RestoreConfig

    parser.description = (
        "Restore pictures of any size with a trained or exported model; without MODEL,"
        f" with {shipped.DEFAULT}, which comes with this program. Bit depth, transparency, colour"
        " profile, EXIF and file type stay where the format can hold them."
    )
    model = _add_model(parser, RestoreConfig, default=argparse.SUPPRESS)
    pictures = parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        default=argparse.SUPPRESS,
        help="picture files, folders whose tree is kept, .txt files of paths, folders of shards",
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


def _declare_sample(parser: _Parser) -> None:
    from tf_deconv.generation.config import SampleConfig

    parser.description = (
        "Make pictures with a trained or exported generator: files, a sheet of them and"
        " samples.json, which tells how. The same seed makes the same pictures in every format."
    )
    _add_model(parser, SampleConfig)
    _add_options(parser, SampleConfig, leave_out=("model",))


def _declare_edit(parser: _Parser) -> None:
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


def _declare_evaluate(parser: _Parser) -> None:
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


def _declare_inspect(parser: _Parser) -> None:
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


def _declare_benchmark(parser: _Parser) -> None:
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


def _declare_shard(parser: _Parser) -> None:
    from tf_deconv.data.config import ShardConfig

    parser.description = (
        "Pack pictures, with their labels, into TFRecord shards: one tf.train.Example for each"
        " picture, and shards.json, which lists the shards. The folder or its URL is then what"
        " --data takes, and gives the same pictures and the same split."
    )
    parser.add_argument("data", metavar="PICTURES", help=_help_of(ShardConfig, "data"))
    _add_options(parser, ShardConfig, leave_out=("data",))


def _declare_verify(parser: _Parser) -> None:
    from tf_deconv.exporting.config import VerifyConfig

    parser.description = (
        "Run a known picture through exported files in a runtime and compare what comes back with"
        " what Keras makes of it: right to how many decibels, or what is wrong. With --output:"
        " judge what a client of your own made of the picture in the export's golden/."
    )
    _add_model(parser, VerifyConfig)
    _add_options(parser, VerifyConfig, leave_out=("model",), json="what was found")


_DECLARATIONS: dict[str, Callable[[_Parser], None]] = {
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


def _add_model(parser: _Parser, cls: type, **options: Any) -> argparse.Action:
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
    parser: _Parser,
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
    common = dict(dest=field.name, default=argparse.SUPPRESS)
    if kind is bool:
        # A file may have switched on what the command line is to switch off.
        flags.append(off_flag_of(field.name))
        group.add_argument(*flags, action=_Switch, help=_help_of(cls, field.name), **common)
        return
    metavar, more, listed = field.metadata["metavar"] or _METAVARS[kind], "", "|".join(names)
    if field.metadata["words"]:
        common["nargs"], metavar = "+", field.metadata["words"]
    elif names and len(listed) <= _LONGEST_CHOICES:
        metavar = listed
    elif names:
        more = "; one of those below" if table else f"; one of {', '.join(names)}"
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
        lines.append(f"  {name:{width}}  {entry.summary}{unit}")
    return "\n".join([f"{title}:", *lines])
