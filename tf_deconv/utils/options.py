"""What an option is: its default, help and check; and reading options from JSON.

One field of a frozen dataclass is one option: its metadata gives the command line's help, the
type that `--config` JSON must have and the check. `validate` reports every bad field in one
message, each with what was received, what is expected and, for a name, the nearest one that exists.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
import numbers
import os
import pathlib
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tf_deconv.utils import mentions

LARGEST_SEED = 2**31 - 1


if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# A frozen dataclass whose fields are `option`s.
Config = TypeVar("Config", bound="DataclassInstance")


class UserError(Exception):
    """A mistake that the user can mend: printed as one line, exit code 2, no traceback.

    The message is written as `utils.mentions` tells; `str` names options as Python does.

    Attributes:
      message: As it was written.
      options: The dataclass whose fields the message may name; None: nothing is turned.
    """

    def __init__(self, message: str = ""):
        super().__init__(message)
        self.message = message
        self.options: type | None = None

    def __str__(self) -> str:
        return mentions.with_arguments(self.message, self.options) if self.options else self.message


@contextlib.contextmanager
def naming(cls: type) -> Iterator[None]:
    """Lets the errors of a block name the options of a dataclass as Python does."""
    try:
        yield
    except UserError as error:
        error.options = error.options or cls
        raise


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: Collection[str] = (),
    type: type | None = None,
    words: str | None = None,
    group: str | None = None,
    metavar: str | None = None,
    short: str | None = None,
) -> Any:
    """Declares one option.

    Args:
      default: Its value when it is not given; None makes it optional.
      help: One line for `--help`, with the unit.
      minimum: Smallest value allowed.
      maximum: Largest value allowed.
      above: Bound that the value must exceed.
      choices: Names allowed; empty where `validate` receives them.
      type: int, float, str or bool; the type of `default` when left out.
      words: Of a text of several words, which the command line takes one by one: the form of each.
      group: Heading of the help that it stands under; None: among the first, which matter most.
      metavar: What stands for its value in the help, such as FOLDER or PX.
      short: A second flag of one letter, such as "-o".
    Returns:
      A dataclass field.
    """
    kind = type or default.__class__
    metadata = dict(
        help=help,
        minimum=minimum,
        maximum=maximum,
        above=above,
        choices=tuple(choices),
        type=kind,
        words=words,
        group=group,
        metavar=metavar,
        short=short,
    )
    return dataclasses.field(default=default, metadata=metadata)


def nearest(received: str, choices: Collection[str], form: str = "{!r}") -> str:
    """Returns " (did you mean 'x'?)" for the nearest choice, or "" when none is near."""
    matches = difflib.get_close_matches(received, list(choices), n=1, cutoff=0.5)
    return f" (did you mean {form.format(matches[0])}?)" if matches else ""


def validate(config: Config, choices: Mapping[str, Collection[str]] | None = None) -> Config:
    """Checks every field and returns the config with each value in its declared type.

    Args:
      config: The options.
      choices: Names allowed for fields whose table lives further up, such as `task`.
    Returns:
      The same config; integers given for float options have become floats.
    Raises:
      UserError: with all faults in one line.
    """
    faults, values = [], {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        names = (choices or {}).get(field.name, field.metadata["choices"])
        try:
            values[field.name] = _check(field, value, names)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise UserError("; ".join(faults))
    return type(config)(**values)


def _check(
    field: dataclasses.Field, value: Any, choices: Collection[str], received: str = ""
) -> Any:
    """Returns a value in its declared type; `received` is how a message calls it."""
    meta, received = field.metadata, received or f"{field.name}={value!r}"
    kind = meta["type"]
    if value is None:
        if field.default is None:
            return None
        raise ValueError(f"{received}: expected {_WORDS[kind]}")
    if kind is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    elif type(value) not in (bool, int, float):
        # Numbers of NumPy, as a program computes them.
        if kind is float and isinstance(value, numbers.Real):
            value = float(value)
        elif kind is int and isinstance(value, numbers.Integral):
            value = int(value)
    if type(value) is not kind:
        raise ValueError(f"{received}: expected {_WORDS[kind]}")
    if choices and value not in choices:
        hint = nearest(value, choices)
        raise ValueError(f"{received}{hint}: expected one of {', '.join(sorted(choices))}")
    if kind is str and (not value or "\0" in value):
        raise ValueError(f"{received}: expected a name or path that is not empty")
    if kind in (int, float):
        if kind is float and not math.isfinite(value):
            raise ValueError(f"{received}: expected a finite number")
        if not _within(meta, value):
            raise ValueError(f"{received}: expected {_range_of(meta)}")
    return value


def _within(meta: Mapping[str, Any], value: float) -> bool:
    """Returns whether a number is within the bounds of its option."""
    minimum, above, maximum = meta["minimum"], meta["above"], meta["maximum"]
    return (
        (minimum is None or value >= minimum)
        and (above is None or value > above)
        and (maximum is None or value <= maximum)
    )


def _range_of(meta: Mapping[str, Any]) -> str:
    """Says what an option's bounds are, all of them at once."""
    minimum, above, maximum = (_plain(meta[name]) for name in ("minimum", "above", "maximum"))
    if minimum and maximum:
        return f"a number from {minimum} to {maximum}"
    words = {"at least": minimum, "more than": above, "at most": maximum}
    return " and ".join(f"{word} {bound}" for word, bound in words.items() if bound)


def _plain(bound: float | None) -> str:
    """Returns a bound as people write it: 1, not 1.0; "" for none."""
    if bound is None:
        return ""
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def read_config(path: str | pathlib.Path, cls: type[Config]) -> dict[str, Any]:
    """Reads options from a JSON object.

    Args:
      path: A JSON file; keys are field names (dashes are taken as underscores).
      cls: The dataclass whose fields are allowed.
    Returns:
      A dict from field name to value, each valid by itself.
    Raises:
      UserError: if the file cannot be read, is not a JSON object, has a key twice, an unknown one
        or a value that the option cannot have.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # JSON would take the last one, and what stood before it would be lost without a word.
        keys = [key.replace("-", "_") for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise UserError(f"config {str(path)!r} has {', '.join(twice)} twice: expected it once")
        return dict(zip(keys, (value for _, value in pairs)))

    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # A pipe or a device may never end.
            raise UserError(f"config {str(path)!r} is no file: expected a JSON file")
        text = pathlib.Path(path).read_text(encoding="utf-8")
        values = json.loads(text, object_pairs_hook=once)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"config {str(path)!r} cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"config {str(path)!r} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(
            f"config {str(path)!r} holds a {type(values).__name__}: expected a JSON object such as"
            ' {"epochs": 20}'
        )
    names = [field.name for field in dataclasses.fields(cls)]
    unknown = [f"{key!r}{nearest(key, names)}" for key in values if key not in names]
    if unknown:
        raise UserError(f"config {str(path)!r} has unknown options: {', '.join(unknown)}")
    faults = []
    for field in dataclasses.fields(cls):
        try:
            if field.name in values:
                shown = json.dumps(values[field.name], ensure_ascii=False)
                _check(field, values[field.name], (), f'"{field.name}": {shown}')
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise UserError(f"config {str(path)!r}: {'; '.join(faults)}")
    return values


def to_json(config: Config) -> dict[str, Any]:
    """Returns the config as a dict that JSON can hold."""
    return dataclasses.asdict(config)


def reason(error: BaseException) -> str:
    """Returns an error's message on one line, without the path that OSError repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


def refuse_options(config: Config, names: Sequence[str], what: str) -> None:
    """Refuses options that are not at their default."""
    faults = given_options(config, names, what)
    if faults:
        raise UserError("; ".join(faults))


def given_options(config: Config, names: Sequence[str], what: str) -> list[str]:
    """Returns a fault for each option that is not at its default."""
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    return [
        f"{name}={getattr(config, name)!r} with {what}: leave it out"
        for name in names
        if name in defaults and getattr(config, name) != defaults[name]
    ]
