"""Models that come with tf_deconv: a name on the command line or in Python to a model's folder.

A model that lies here wins: a name is looked up where none lies under it. A wheel holds the
folders in `tf_deconv/shipped_models/` (setup.py), a checkout in `saved_models/`.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

from tf_deconv.utils.options import UserError, nearest

# Folders that hold NAME/, with ":" between them; they are looked in first.
VARIABLE = "TF_DECONV_MODELS"
WHEEL_FOLDER = "shipped_models"
MANIFEST_FILE = "manifest.json"
EXPECTED = "expected a run folder, a .keras file, a SavedModel folder or a .tflite file"
REMEDY = "install tf-deconv again or take the folder whole from where it came; or export again"

# Where `export` and `train` leave models unless they are told otherwise.
_MADE_HERE = ("saved_models", "runs")

_PACKAGE = pathlib.Path(__file__).parents[1]
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclasses.dataclass(frozen=True)
class Shipped:
    """A model that comes with tf_deconv.

    Attributes:
      summary: One line for `--help`.
      in_colour: Of a grey one, the name of the model that keeps colours.
      moves: Whether it restores films, whose frames before it remembers, and no pictures.
    """

    summary: str
    in_colour: str | None = None
    moves: bool = False


MODELS = {
    "photo": Shipped("takes noise and JPEG damage off a photograph, whatever happened to it"),
    "photo-small": Shipped("the same as photo, less well; smaller and faster"),
    "photo-x2": Shipped("the same as photo, and makes the photograph twice as wide and as high"),
    "denoise-grey": Shipped("takes noise off a grey picture", "denoise-color"),
    "denoise-color": Shipped("takes noise off a colour picture"),
    "denoise-color-small": Shipped("takes noise off a colour picture; smaller and faster"),
    "super-resolve-x2": Shipped("makes a clean picture twice as wide and as high"),
    "super-resolve-x4": Shipped("makes a clean picture four times as wide and as high"),
    "deblock": Shipped("takes the blocks and rings of JPEG compression off a picture"),
    "video": Shipped("takes noise and compression off a film: photo, with a memory", moves=True),
}

# What `restore` and `load` take where no model is named.
DEFAULT = "photo"
# What they name beside it where a film is restored.
FILMS = "video"

# Other things that people type.
ALIASES = {
    "denoise": "denoise-color",
    "denoise-colour": "denoise-color",
    "denoise-colour-small": "denoise-color-small",
    "denoise-gray": "denoise-grey",
    "denoise-small": "denoise-color-small",
    "dejpeg": "deblock",
    "photograph": "photo",
    "super-resolution": "super-resolve-x2",
    "super-resolve": "super-resolve-x2",
    "upscale": "photo-x2",
    "enlarge": "photo-x2",
}


def canonical(name: str) -> str:
    """Returns the name in `MODELS` that a name or alias means; case and "_" do not count.

    Raises:
      UserError: if there is none; it lists them.
    """
    plain = name.lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    if plain not in MODELS:
        hint = _exported_here(name) or nearest(plain, [*MODELS, *ALIASES])
        raise UserError(
            f"{name!r} does not exist{hint}: {EXPECTED}; or the name"
            f" of a shipped model: {', '.join(MODELS)}"
        )
    return plain


def _exported_here(name: str) -> str:
    """Returns " (did you mean 'x'?)" for a model where `export` or `train` leaves it, or "".

    It is not taken: a name means a shipped model or what lies here
    (docs/decisions/0021-names-and-results.md).
    """
    # Not above: the build of a wheel imports this module, without NumPy.
    from tf_deconv.inference.located import holds_model

    for folder in _MADE_HERE:
        path = os.path.join(folder, name)
        if holds_model(path):
            return f" (did you mean {path!r}?)"
    return ""


def places() -> list[pathlib.Path]:
    """Returns the folders that models are looked for in, the first one first."""
    given = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [
        *(pathlib.Path(folder).expanduser() for folder in given if folder),
        _PACKAGE / WHEEL_FOLDER,
        _PACKAGE.parent / "saved_models",
    ]


def find(name: str) -> pathlib.Path:
    """Finds a shipped model.

    Args:
      name: Key of `MODELS` or of `ALIASES`.
    Returns:
      The model's folder, as `export` leaves it.
    Raises:
      UserError: if there is no model of that name, or it is not on this machine.
    """
    name = canonical(name)
    folder = available().get(name)
    if folder is None:
        looked = ", ".join(repr(str(place)) for place in places())
        raise UserError(
            f"shipped model {name!r} is not on this machine: expected a folder {name}/ in one of"
            f" {looked}; {VARIABLE} names others"
        )
    return folder


def available() -> dict[str, pathlib.Path]:
    """Returns the shipped models that are on this machine: name to folder."""
    found = {}
    for name in MODELS:
        for place in places():
            if (place / name).is_dir():
                found[name] = place / name
                break
    return found


def is_shipped_folder(folder: str | os.PathLike[str]) -> bool:
    """Returns whether a folder is there and is a shipped model, of whatever checkout it lies in."""
    path = pathlib.Path(os.path.realpath(folder))
    if path.name.lower() not in MODELS or not path.is_dir():
        return False
    # The package that runs may be an installed one, and the folder that of a checkout.
    own = path.parent.parent / "tf_deconv" / "inference" / pathlib.Path(__file__).name
    is_checkout = path.parent.name == "saved_models" and own.is_file()
    return is_checkout or any(path.parent == pathlib.Path(os.path.realpath(p)) for p in places())


def lines(found: Mapping[str, pathlib.Path]) -> list[str]:
    """Returns what people read of the shipped models; `found` is what `available` returned."""
    width, told = max(map(len, MODELS)), []
    for name, model in MODELS.items():
        where = found.get(name, f"not on this machine; {VARIABLE} names folders to look in")
        told += [f"{name:{width}}  {model.summary}", f"{'':{width}}  {where}"]
    return told


def is_name(text: str | os.PathLike[str] | None) -> bool:
    """Returns whether a model is to be looked up: it could be a name, and no model lies there.

    What is no model hides no shipped one: restored pictures may lie in a folder of its name. None
    is the name of the default model, whatever lies here.
    """
    if text is None:
        return True
    text = os.fspath(text)
    if _NAME.fullmatch(text) is None:
        return False
    if not os.path.lexists(text):
        return True
    if not _is_shipped(text):
        return False
    # Not above: the build of a wheel imports this module, without NumPy.
    from tf_deconv.inference.located import holds_model

    return not holds_model(text)


def _is_shipped(name: str) -> bool:
    plain = name.lower().replace("_", "-")
    return plain in MODELS or plain in ALIASES


def resolve(model: str | os.PathLike[str] | None) -> pathlib.Path:
    """Returns the path of a model that was given as a path or as a name; None: the default one.

    Raises:
      UserError: as `find`, if it is not a path and looks like a name.
    """
    if model is None:
        return find(DEFAULT)
    return find(os.fspath(model)) if is_name(model) else pathlib.Path(model)


def notes(model: str | os.PathLike[str] | None) -> list[str]:
    """Returns what a command says about the model that was asked for, one line each."""
    if model is None:
        return []
    text = os.fspath(model)
    if is_name(text):
        name = canonical(text)
        told = [f"model {text} -> {name}"] if name != text else []
        if os.path.lexists(text):
            told.append(f"{text}: the shipped model; what lies here under that name is ./{text}")
        return told
    if text in MODELS or text in ALIASES:
        return [f"model {text}: the file or folder of that name here, not the shipped model"]
    return []


def shadowed(pictures: Sequence[str]) -> list[str]:
    """Returns what a command without a model says of pictures that have a shipped model's name."""
    return [
        f"{text}: the file or folder of that name here is taken for pictures, not the shipped model"
        for text in pictures
        if text in MODELS or text in ALIASES
    ]
