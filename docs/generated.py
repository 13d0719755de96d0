"""What pages of the site take from the program itself, so that no line of them can be out of date.

Each function in `PARTS` returns Markdown; `fill` puts it where a line of a page is
`<!-- generated: NAME -->`. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Iterable

from tf_deconv.cli.parser import make_parser
from tf_deconv.data.config import ShardConfig
from tf_deconv.degradations.tasks import OPERATORS, TASKS
from tf_deconv.evaluation.config import BenchmarkConfig, EvaluateConfig
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.variants import PROFILES, VARIANTS
from tf_deconv.generation.config import EditConfig, SampleConfig
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.shipped import MODELS
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training.config import TrainConfig

CONFIGS = (
    *(RestoreConfig, TrainConfig, ExportConfig, EvaluateConfig, BenchmarkConfig),
    *(ShardConfig, SampleConfig, EditConfig),
)

_PLACE = re.compile(r"^<!-- generated: ([\w-]+) -->$", flags=re.MULTILINE)
_ROW = re.compile(r"  (\S+)\s{2,}(\S.*)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*)")
# What Markdown would read as markup.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|$])")


def fill(text: str) -> str:
    """Returns a page with what the program knows put in; KeyError for a part that is none."""
    return _PLACE.sub(lambda place: PARTS[place[1]](), text)


def commands() -> str:
    """Every command with its description, its options in their groups, and its tables."""
    return "\n\n".join(_command(name, parser) for name, parser in subparsers(make_parser()).items())


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Returns the parsers of the commands, by name; a second name of one is left out."""
    actions = parser._actions  # argparse has no public way to them.
    choices = next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices
    first: dict[int, str] = {}
    for name, found in choices.items():
        first.setdefault(id(found), name)
    return {name: choices[name] for name in first.values()}


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    parser.prog = f"tf-deconv {name}"  # argparse puts the whole program's usage before the name.
    usage = parser.format_usage().removeprefix("usage: ").strip()
    lines = [f"## {name}", "", _escaped(parser.description or ""), ""]
    lines += ["```text", usage, "```", ""]
    lines += [f"```{{program}} {parser.prog}", "```", ""]
    for group in parser._action_groups:
        actions = [action for action in _shown(parser) if action in group._group_actions]
        if not actions:
            continue
        title = (group.title or "").strip()
        lines += [f"### {name}: {title}", ""] if title else []
        lines += [_escaped(group.description), ""] if group.description else []
        for action in actions:
            lines += _described(action)
    return "\n".join([*lines, _tables_in(parser.epilog or "")])


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    hidden = (argparse._HelpAction, argparse._VersionAction)
    return [
        action
        for action in parser._actions
        if not isinstance(action, hidden) and action.help != argparse.SUPPRESS
    ]


def _invocation(action: argparse.Action) -> str:
    name = action.metavar or action.dest
    name = " ".join(name) if isinstance(name, tuple) else name
    optional = action.nargs in ("?", "*") and not name.startswith("[")
    name = f"[{name}]" if optional else name
    return f"{name} ..." if action.nargs in ("+", "*") else name


def _described(action: argparse.Action) -> list[str]:
    text = _escaped((action.help or "").replace("%%", "%"))
    if not action.option_strings:
        return [f"`{_invocation(action)}`", f": {text}", ""]
    # argparse says "--out NAME"; the directive wants every spelling, and the value after the last.
    value = "" if action.nargs == 0 else f" {_invocation(action).strip('[]')}"
    spelled = ", ".join(f"{flag}{value}" for flag in action.option_strings)
    return [f"```{{option}} {spelled}", text, "```", ""]


def _tables_in(epilog: str) -> str:
    """Turns the help's aligned lines into tables; what is none stays as it is."""
    lines: list[str] = []
    for line in epilog.splitlines():
        row = _ROW.fullmatch(line)
        if row:
            lines.append(f"| `{row[1]}` | {_escaped(row[2])} |")
        else:
            title = line.strip().rstrip(":")
            lines += ["", f"| {_escaped(title)} | |", "|---|---|"] if title else [""]
    return "\n".join(lines)


def tasks() -> str:
    return _table(
        ("task", "what goes in, what comes out", "chain"),
        (
            (f"`{name}`", _escaped(task.summary), f"`{task.degrade}`" if task.degrade else "")
            for name, task in TASKS.items()
        ),
    )


def operators() -> str:
    return _table(
        ("operator", "what happens", "its number"),
        (
            (f"`{name}`", _escaped(each.summary), _escaped(each.unit))
            for name, each in OPERATORS.items()
        ),
    )


def networks() -> str:
    return _table(
        ("network", "what it is", "sizes", "multiple of", "patch", "batch", "rate", "loss"),
        (
            (
                f"`{name}`",
                _escaped(each.summary),
                ", ".join(f"`{size}`" for size in each.sizes),
                str(each.divisor),
                str(each.patch_size),
                str(each.batch_size),
                f"{each.learning_rate:g}",
                f"`{each.loss}`",
            )
            for name, each in NETWORKS.items()
        ),
    )


def variants() -> str:
    return _table(
        ("variant", "what it is", "bytes a weight", "floor, dB", "int8 pictures"),
        (
            (
                f"`{name}`",
                _escaped(each.summary),
                str(each.bytes_per_parameter),
                f"{each.floor_db:g}",
                "yes" if each.int8_pictures else "",
            )
            for name, each in VARIANTS.items()
        ),
    )


def profiles() -> str:
    return _table(
        ("profile", "where the files run"),
        ((f"`{name}`", _escaped(each.summary)) for name, each in PROFILES.items()),
    )


def models() -> str:
    return _table(
        ("model", "what it does"),
        ((f"`{name}`", _escaped(each.summary)) for name, each in MODELS.items()),
    )


def configs() -> str:
    """Each command's config: its fields, their types and defaults."""
    blocks = []
    for config in CONFIGS:
        rows = (
            (
                f"`{field.name}`",
                f"`{field.metadata['type'].__name__}`",
                "" if field.default is None else f"`{field.default!r}`",
            )
            for field in dataclasses.fields(config)
        )
        doc = _escaped(" ".join((config.__doc__ or "").split()))
        blocks += [f"### {config.__name__}", doc, _table(("field", "type", "default"), rows)]
    return "\n\n".join(blocks)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _escaped(text: str) -> str:
    """Returns text as Markdown that shows it; options in it become code."""
    parts = _OPTION.split(text)
    return "".join(
        f"`{part}`" if place % 2 else _MARKUP.sub(r"\\\1", part) for place, part in enumerate(parts)
    )


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (commands, configs, tasks, operators, networks, variants, profiles, models)
}
