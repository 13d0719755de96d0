"""How a message names options: as arguments in Python, as flags on a command line.

A message is written once. It says `name=value` of what was received, the value as `repr` writes it,
and `--name` of what may be given. Either is turned into the other where the reader types the other.
What stands in quotes or backticks is somebody's text and stays as it is.

    degrade='jpeg:0': expected ...; leave out --seed      as it is written
    --degrade jpeg:0: expected ...; leave out --seed      on a command line
    degrade='jpeg:0': expected ...; leave out seed        in Python
"""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

# An apostrophe within a word begins no quotation.
_QUOTED = r"'(?:[^'\\]|\\.)*'" + r'|"(?:[^"\\]|\\.)*"'
_SOMEBODYS = rf"(?<!\w)(?:{_QUOTED})|`[^`]*`"
_VALUE = rf"(?:{_QUOTED}|\[[^\]]*\]|[^\s,;:)]+)"


def typed(command: str, arguments: str = "") -> str:
    """Returns a command line as its reader types it.

    Args:
      command: A command of `tf-deconv`.
      arguments: What follows it.
    Returns:
      `python train.py ...` where the process began with one of the two scripts of a checkout, which
      an installed package has not, and the command is one of theirs; `tf-deconv train ...`
      otherwise.
    """
    scripts = ("train", "export")
    in_checkout = pathlib.PurePath(sys.argv[0]).name in [f"{script}.py" for script in scripts]
    typed = f"python {command}.py" if in_checkout and command in scripts else f"tf-deconv {command}"
    return f"{typed} {arguments}".rstrip()


def flag_of(name: str) -> str:
    """Returns the flag of an option: "run_dir" is given as "--run-dir"."""
    return "--" + name.replace("_", "-")


def off_flag_of(name: str) -> str:
    """Returns the flag that switches an option off: "--no-resume", "--labels" of "no_labels"."""
    flag = flag_of(name)
    return f"--{flag[5:]}" if flag.startswith("--no-") else f"--no-{flag[2:]}"


def with_flags(message: str, cls: type, positional: Mapping[str, str] | None = None) -> str:
    """Writes `name=value` as what is typed on a command line.

    Args:
      message: As it was written.
      cls: The dataclass of the command's options.
      positional: What stands for the options that have no flag, such as {"model": "MODEL"}.
    """
    words = positional or {}

    def write(name: str, text: str) -> str:
        shown = words.get(name) or flag_of(name)
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = text  # nan, and what a message has cut short.
        if value is None:
            return f"no {shown}"
        if isinstance(value, bool):
            return flag_of(name) if value else off_flag_of(name)
        return f"{shown} {shlex.quote(value) if isinstance(value, str) else value}"

    return _replace(message, cls, rf"(?<![\w.-])({{}})=({_VALUE})", write)


def with_arguments(message: str, cls: type) -> str:
    """Writes `--name` as the argument of a Python function; what `--name` is followed by stays.

    Args:
      message: As it was written.
      cls: The dataclass of the function's options.
    """
    metadata = {field.name: field.metadata for field in dataclasses.fields(cls)}

    def write(flag: str, after: str) -> str:
        name = flag.replace("-", "_")
        if after.startswith("="):
            return f"{name}{after}"
        if metadata[name]["type"] is bool:
            return f"{name}=True{after}"
        choice = after.strip()
        return f"{name}={choice!r}" if choice in metadata[name]["choices"] else f"{name}{after}"

    return _replace(message, cls, r"(?<![\w-])--({})(=| \w+|)(?![\w-])", write, flag_of)


def _replace(
    message: str,
    cls: type,
    pattern: str,
    write: Callable[[str, str], str],
    spell: Callable[[str], str] = lambda name: name,
) -> str:
    names = sorted(
        (spell(field.name).removeprefix("--") for field in dataclasses.fields(cls)),
        key=len,
        reverse=True,
    )
    mention = pattern.format("|".join(map(re.escape, names)))

    def turn(match: re.Match[str]) -> Any:
        return match[0] if match[1] is None else write(match[1], match[2])

    return re.sub(f"{mention}|{_SOMEBODYS}", turn, message)
