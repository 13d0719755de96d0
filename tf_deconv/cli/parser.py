"""The command line: every command, and every option as a package's `config` declares it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from tf_deconv import __version__
from tf_deconv.data.config import ShardConfig
from tf_deconv.degradations.tasks import OPERATORS, RESTORATIONS, TASKS
from tf_deconv.evaluation.config import BenchmarkConfig, EvaluateConfig
from tf_deconv.evaluation.protocols.published import PROTOCOLS
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.variants import PROFILES, VARIANTS
from tf_deconv.generation.config import EditConfig, SampleConfig
from tf_deconv.inference import shipped
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training.config import TrainConfig

# argparse exits with 2 after a usage error; so do we.
EXIT_USAGE = 2


def make_parser() -> argparse.ArgumentParser:
    """Returns what reads a command line: `command`, and the options that were given."""
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
    export.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"{_help_of(ExportConfig, 'model')}; for --web several, or all for every shipped one",
    )
    _add_options(export, ExportConfig, {"profile": PROFILES}, leave_out=("model",))

    restore = commands.add_parser(
        "restore",
        help="restore pictures with a trained or exported model",
        description="Restore pictures of any size with a trained or exported model; without MODEL,"
        f" with {shipped.DEFAULT}, which comes with this program. Bit depth, transparency, colour"
        " profile, EXIF and file type stay where the format can hold them.",
        epilog=_table("shipped models", shipped.MODELS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = _add_model(restore, RestoreConfig, metavar="[MODEL]", default=argparse.SUPPRESS)
    pictures = restore.add_argument(
        "pictures",
        nargs="+",
        metavar="PICTURE",
        default=argparse.SUPPRESS,
        help="picture files, folders whose tree is kept, .txt files of paths, folders of shards",
    )
    # A single word is a picture, and which one is the model only a look at it tells: `split_words`.
    # (Not nargs="?", with which argparse takes no word after an option.)
    model.required = pictures.required = False
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
        description="Degrade pictures, restore them and score the result: PSNR and SSIM"
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
        "artifact", nargs="?", metavar="MODEL", help=_help_of(EvaluateConfig, "model")
    )
    inspect.add_argument("--trust", action="store_true", help=_help_of(EvaluateConfig, "trust"))
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
        help=f"for --protocol: {_help_of(EvaluateConfig, 'model')}; several for several rows",
    )
    _add_options(benchmark, BenchmarkConfig, {"protocol": PROTOCOLS})
    _add_json_flag(benchmark, "the content of benchmark.json or protocol.json")
    shard = commands.add_parser(
        "shard",
        help="pack pictures into TFRecord shards, to train from remote storage",
        description="Pack pictures, with their labels, into TFRecord shards: one tf.train.Example"
        " for each picture, and shards.json, which lists the shards. The folder or its URL is then"
        " what --data takes, and gives the same pictures and the same split.",
    )
    shard.add_argument("data", metavar="DIR", help=_help_of(ShardConfig, "data"))
    _add_options(shard, ShardConfig, {}, leave_out=("data",))
    return parser


def _add_model(parser: argparse.ArgumentParser, cls: type, **options: Any) -> argparse.Action:
    options = {"metavar": "MODEL", "help": _help_of(cls, "model"), **options}
    return parser.add_argument("model", **options)


def _add_json_flag(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--json", action="store_true", help=f"print {what} as one JSON object, and nothing else"
    )


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str):
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


class _Switch(argparse.Action):
    """An option that its first flag switches on, and its second one off."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string == self.option_strings[0])

    def format_usage(self) -> str:
        return " | ".join(self.option_strings)


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
            # A file may have switched on what the command line is to switch off.
            off = "--" + (flag[5:] if flag.startswith("--no-") else f"no-{flag[2:]}")
            parser.add_argument(flag, off, action=_Switch, **common)
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
