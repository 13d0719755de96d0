"""A film written in parts that a process which was killed leaves behind, and another one goes on.

Beside `film.mp4` lies `film.mp4.parts/` with a file for each part, one of what is said of it, and
the recipe: parts of another model or quality are never joined to these. Parts have so many frames,
however often the work is begun anew, so what comes out is the same.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from fractions import Fraction
from typing import Any

from tf_deconv.utils import files
from tf_deconv.utils.options import UserError
from tf_deconv.video.writing import Part

# Frames of a part: what a kill costs is at most so many.
PART_FRAMES = 120
_RECIPE_FILE = "recipe.json"


def folder_of(target: pathlib.Path) -> pathlib.Path:
    """Returns where the parts of a film lie."""
    return target.with_name(target.name + ".parts")


class Parts:
    """The parts of a film that are done.

    Attributes:
      folder: Where they lie.
      done: The parts, in order.
      last_stamp: Time stamp in the source of the last frame that is done; None: none is.
      shift_s: What is taken off the film's times, in seconds; None before the first part.
      joined: Whether the film is there, and the parts are not needed any more.
    """

    def __init__(self, target: pathlib.Path, recipe: dict[str, Any]):
        """Finds the parts of a film, or makes a folder for them.

        Args:
          target: The film to write.
          recipe: All that decides what the parts are: source, model, options.
        Raises:
          UserError: if other parts lie there.
        """
        self.folder = folder_of(target)
        self._recipe = json.loads(json.dumps(recipe))
        self.done: list[Part] = []
        self.last_stamp: int | None = None
        self.shift_s: Fraction | None = None
        self.joined = False
        if self.folder.exists():
            self._read()
        else:
            files.make_folder(self.folder)
            files.write_json(self.folder / _RECIPE_FILE, self._recipe)

    @property
    def frames(self) -> int:
        """Returns how many frames are done."""
        return sum(len(part.order) for part in self.done)

    def next_path(self) -> pathlib.Path:
        """Returns the file of the part that comes next; a half-made one is written over."""
        return self.folder / f"{len(self.done):06d}.nut"

    def add(
        self, order: list[int], durations: list[int], last_stamp: int, shift_s: Fraction
    ) -> None:
        """Keeps the part that was written to `next_path`.

        Args:
          order: Time stamps of its packets as they are decoded.
          durations: How long each frame is shown, as they are shown.
          last_stamp: Time stamp in the source of its last frame.
          shift_s: What was taken off the film's times.
        """
        path = self.next_path()
        facts = {
            "order": order,
            "durations": durations,
            "last_stamp": last_stamp,
            "shift": [shift_s.numerator, shift_s.denominator],
        }
        # What is said of it is there when it is whole.
        files.write_json(path.with_suffix(".json"), facts)
        self._take(path, facts)

    def remove_if_joined(self) -> None:
        """Removes the parts when the film is there."""
        if self.joined:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> None:
        remedy = "remove that folder, or choose another --out"
        try:
            recipe = json.loads((self.folder / _RECIPE_FILE).read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{str(self.folder)!r} is there and holds no parts of a film: {remedy}"
            ) from error
        if recipe != self._recipe:
            raise UserError(
                f"{str(self.folder)!r} holds parts that were made with another"
                f" {_difference(recipe, self._recipe) or 'recipe'}: give the same again, or"
                f" {remedy}"
            )
        while (path := self.next_path()).exists():
            try:
                facts = json.loads(path.with_suffix(".json").read_bytes())
                self._take(path, facts)
            except (OSError, ValueError, KeyError, TypeError):  # The last one is half-made.
                return

    def _take(self, path: pathlib.Path, facts: dict[str, Any]) -> None:
        part = Part(path, tuple(facts["order"]), tuple(facts["durations"]))
        self.last_stamp, self.shift_s = int(facts["last_stamp"]), Fraction(*facts["shift"])
        self.done.append(part)


def _difference(before: Any, now: dict[str, Any]) -> str:
    """Tells in what a recipe that was read differs, and what each has there."""
    before = before if isinstance(before, dict) else {}
    told = []
    for key, value in now.items():
        old = before.get(key)
        if old == value:
            continue
        if key == "source" and isinstance(old, list) and old[:1] == value[:1]:
            told.append("state of the source, which was changed since")
            continue
        if isinstance(old, list) and isinstance(value, list):
            # Of several values, those that only one of the two has.
            old, value = (
                " ".join(_text(each) for each in one if each not in other) or "nothing"
                for one, other in ((old, value), (value, old))
            )
        told.append(f"{key} ({_text(old)}, now {_text(value)})")
    return ", ".join(told)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "none" if value is None else str(value)
