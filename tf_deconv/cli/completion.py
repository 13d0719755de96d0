"""`tf-deconv completion SHELL`: a script from which a shell completes what is typed.

shtab makes it of the parser: it is static, so that a key press starts no Python. Models, tasks and
the other names are completed; a model may also be a file.
"""

from __future__ import annotations

import argparse
import importlib.util
import shlex
from collections.abc import Iterator, Sequence

from tf_deconv.cli.overview import COMMANDS, HELPERS
from tf_deconv.cli.parser import make_parser
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError, nearest

# Where each shell looks for it.
SHELLS = {
    "bash": "~/.local/share/bash-completion/completions/tf-deconv",
    "zsh": "a folder of $fpath, as _tf-deconv",
    "fish": "~/.config/fish/completions/tf-deconv.fish",
    "tcsh": "~/.tf-deconv.tcsh, which ~/.tcshrc sources",
}


def script(words: Sequence[str]) -> str:
    """Returns the script for a shell.

    Args:
      words: The shell's name alone.
    Raises:
      UserError: if it is another one, or shtab is not installed.
    """
    shells = "|".join(SHELLS)
    if len(words) != 1 or words[0].startswith("-"):
        places = "; ".join(f"of {shell} goes to {place}" for shell, place in SHELLS.items())
        raise UserError(f"expected tf-deconv completion {shells}; what it prints {places}")
    shell = words[0]
    if shell not in SHELLS:
        raise UserError(f"{shell!r}{nearest(shell, SHELLS)}: expected {shells}")
    if importlib.util.find_spec("shtab") is None:
        raise UserError(
            f"shtab, which makes the script, is not installed: {how_to_install('completion')}"
        )
    import shtab

    parser = make_parser()
    _add_helpers(parser)
    for action in _actions(parser):
        _complete(action, shtab)
    return shtab.complete(parser, shell)


def _add_helpers(parser: argparse.ArgumentParser) -> None:
    """Adds the commands that tell of the others, which `main` answers without a parser."""
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, what in HELPERS.items():
        helper = commands.add_parser(name, help=what)
        choices = {"help": list(COMMANDS), "completion": list(SHELLS)}.get(name)
        if choices:
            helper.add_argument("what", nargs="?", choices=choices, metavar="WHAT")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
        else:
            yield action


def _complete(action: argparse.Action, shtab) -> None:
    """Tells shtab what an option's value or a word may be: names, files, folders or both."""
    names, value = getattr(action, "names", ()), str(action.metavar)
    if action.nargs == 0 or action.choices:
        return
    if value == "MODEL" and names:
        action.complete = _names_and_files(names)
    elif names:
        action.choices = list(names)
    elif value in ("FOLDER", "MODEL", "PICTURE", "PICTURES", "FOLDER|FILE", "MASK") or (
        value.startswith("FILE")
    ):
        action.complete = shtab.DIRECTORY if value == "FOLDER" else shtab.FILE


def _names_and_files(names: Sequence[str]) -> dict:
    """Returns how each shell completes a name of ours or a file."""
    words = " ".join(map(shlex.quote, names))
    return {
        "bash": "_tf_deconv_models",
        "zsh": "_tf_deconv_models",
        "fish": f"(string split ' ' {shlex.quote(words)}; __fish_complete_path (commandline -ct))",
        "tcsh": f"({words})",
        "preamble": {
            "bash": f'_tf_deconv_models() {{\n  compgen -W "{words}" -- "$1"\n'
            '  compgen -f -- "$1"\n}',
            "zsh": f"_tf_deconv_models() {{\n  _alternative 'models:shipped model:({words})'"
            " 'files:file:_files'\n}",
        },
    }
