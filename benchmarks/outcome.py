"""How a script here ends: what its user can mend is one line and exit code 2, as of commands."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tf_deconv.utils.options import UserError, reason


def run(main: Callable[[], Any]) -> NoReturn:
    """Calls a script's `main` and leaves with its exit code; None is 0."""
    script = pathlib.Path(sys.argv[0]).name
    try:
        sys.exit(main() or 0)
    except UserError as error:
        sys.exit(told(f"{script}: {error}"))
    except OSError as error:
        sys.exit(told(f"{script}: {error.filename or 'a file'}: {reason(error)}"))


def told(line: str) -> int:
    """Prints a fault; returns the exit code."""
    print(line, file=sys.stderr)
    return 2
