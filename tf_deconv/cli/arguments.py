"""argparse as the commands use it: help that reads well, and errors of one line.

What argparse does not promise to keep is used here and in `completion` alone; tests look at all
of it.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from tf_deconv.utils.options import nearest

# argparse exits with 2 after a usage error; so do we.
EXIT_USAGE = 2


class Formatter(argparse.HelpFormatter):
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
        flags = action.option_strings[: -1 if isinstance(action, Switch) else None]
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


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, which name what was meant."""

    def __init__(self, **options: Any):
        # An abbreviation that is clear today is not when an option is added.
        options = {"formatter_class": Formatter, "allow_abbrev": False, **options}
        super().__init__(**options)

    def parse_known_args(self, args=None, namespace=None):
        self._refuse_unknown_options(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        message = self._missing_words(message) or self._missing_value(message) or message
        self.exit(EXIT_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _missing_words(self, message: str) -> str | None:
        """Says what to type where argparse says which arguments are required."""
        found = re.fullmatch(r"the following arguments are required: (.+)", message)
        if found is None:
            return None
        names = found[1].split(", ")
        words = [action for action in self._actions if not action.option_strings]
        shown = " ".join(str(action.metavar) for action in words)
        what = next(
            (f"; {each.metavar}: {each.help}" for each in words if each.metavar == names[0]), ""
        )
        return f"no {' and no '.join(names)}: type `{self.prog} {shown}`{what}"

    def _missing_value(self, message: str) -> str | None:
        """Says what is expected after an option that has nothing after it."""
        found = re.fullmatch(r"argument (\S+): expected (one|at least one) argument", message)
        if found is None:
            return None
        flag = found[1].split("/")[-1]
        action = self._option_string_actions.get(flag)
        return f"{flag}: expected {action.metavar} after it" if action else None

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


class Words(argparse.Action):
    """An option of several words, which is given once: the second would take the first's place."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs="+", **options)

    def __call__(self, parser, namespace, values, option_string=None):
        if hasattr(namespace, self.dest):
            parser.error(
                f"{option_string} is given twice: expected all of it after one {option_string}"
            )
        setattr(namespace, self.dest, values)


class Switch(argparse.Action):
    """An option that its first flags switch on, and its last one off."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
        super().__init__(option_strings, dest, nargs=0, **options)

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, option_string != self.option_strings[-1])

    def format_usage(self) -> str:
        return " | ".join(self.option_strings)
