"""A page that runs exported files in the browser, ready to serve from any static host.

The pages lie in folders beside this file: one that restores pictures, by one of several models, one
that restores films and the camera's stream, one that makes pictures from a seed, and what all of
them share. The runtime is @litertjs/core of the npm registry (Apache-2.0), and mediabunny (MPL-2.0)
takes films apart and writes them; both are copied into the folder, so that the page asks no other
host for anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from tf_deconv.exporting.web import golden
from tf_deconv.exporting.web.words import words_for
from tf_deconv.generation.config import SampleConfig
from tf_deconv.generation.spec import GeneratorSpec, read_spec
from tf_deconv.inference import artifacts
from tf_deconv.inference.descriptions import parse_json
from tf_deconv.utils import files, swap
from tf_deconv.utils import staging as staging_files
from tf_deconv.utils.options import UserError, reason

PAGES = pathlib.Path(__file__).parent
LIBRARY_VERSION = "2.5.3"
FILM_LIBRARY_VERSION = "1.61.0"
# What npm installs.
PACKAGES = (f"@litertjs/core@{LIBRARY_VERSION}", f"mediabunny@{FILM_LIBRARY_VERSION}")
# Folders of which a page is made. What restores films takes parts of what restores pictures.
GENERATING, RESTORING = ("common", "sample"), ("common", "restore", "film")
_FIRST_PAGE, _FILM_PAGE = "index.html", "film.html"
# Of the pages that restore, whose workers may have threads.
_THREADED_FILES = (
    "wasm/litert_wasm_threaded_internal.js",
    "wasm/litert_wasm_threaded_internal.wasm",
)
# The package's builds for newer and older browsers; and package.json, which tells whoever finds the
# copy its version, source and licence.
_LIBRARY_FILES = {
    "core": (
        "package.json",
        "dist/index.js",
        "wasm/litert_wasm_internal.js",
        "wasm/litert_wasm_internal.wasm",
        "wasm/litert_wasm_compat_internal.js",
        "wasm/litert_wasm_compat_internal.wasm",
        *_THREADED_FILES,
    ),
    "wasm-utils": ("package.json", "dist/index.js"),
}
# Of the page that restores films: where it lies in the package, and in the page, as not every host
# knows what .mjs is.
_FILM_LIBRARY, _FILM_INDEX = "mediabunny", "index.js"
_FILM_LIBRARY_FILES = {
    "package.json": "package.json",
    "LICENSE": "LICENSE",
    "dist/bundles/mediabunny.min.mjs": _FILM_INDEX,
}
# Version 1.61.0 looks for ever for the next part of a damaged Matroska file that has none.
_ENDLESS, _ENDING = "o.length<_c)break", "o.length<=_c)break"
_FILM_CHANGE = "resync of src/matroska/ebml.ts also ends where slice.length equals MAX_VAR_INT_SIZE"
# A worker knows no import map, so the copy names its neighbour by path.
_IMPORTS, _BY_PATH = '"@litertjs/wasm-utils"', '"../wasm-utils/index.js"'
_CHANGED = "// Changed by tf_deconv: imports @litertjs/wasm-utils by its path.\n"
# LiteRT's Python package, which is of the same sources, brings the text of the licence.
_LICENSED_PACKAGE = "ai-edge-litert"
_NOTICES_FILE = "LICENSES.txt"
_EXPECTED = f"expected node_modules/@litertjs after `npm install {' '.join(PACKAGES)}`"
_FACTS_FILE = "model.json"


@dataclasses.dataclass(frozen=True)
class PageModel:
    """A model for a page.

    Attributes:
      file: The `.tflite` file, of pictures in float32.
      manifest: Its export's; one with "generator" gets the page that makes pictures.
    """

    file: pathlib.Path
    manifest: dict[str, Any]

    @property
    def generates(self) -> bool:
        """Whether the model makes pictures from noise; otherwise it restores."""
        return "generator" in self.manifest

    @property
    def streams(self) -> bool:
        """Whether the model has a state between frames, so that it restores films alone."""
        return "state" in self.manifest


def check_target(out: pathlib.Path) -> None:
    """Refuses a folder that holds something else.

    Raises:
      UserError: if it is a file, or a folder of other files than an earlier page.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"web={str(out)!r} is a file: expected a folder")
    if not out.is_dir():
        return
    # Not only whether model.json is there: that is also what TensorFlow.js calls its models.
    ours = _page_files(out)
    names = (p.relative_to(out).as_posix() for p in out.rglob("*") if not p.is_dir())
    strange = next((name for name in names if name not in ours), None)
    if strange is not None:
        raise UserError(
            f"web={str(out)!r} is not empty and no earlier page: it holds {strange!r}; choose"
            " another folder"
        )


def _page_files(folder: pathlib.Path) -> set[str]:
    """Returns the files that an earlier page wrote into a folder, by its own account."""
    try:
        facts = parse_json((folder / _FACTS_FILE).read_text(encoding="utf-8"))
        return set(facts["page_files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def find_library(library: str | None) -> pathlib.Path | None:
    """Finds the runtime before minutes of work are spent.

    Args:
      library: `node_modules/@litertjs` of an installation, beside which mediabunny lies; None to
        have npm fetch both later.
    Returns:
      The folder, or None.
    Raises:
      UserError: if it is not there, or without one if there is no npm.
    """
    if library is None:
        if shutil.which("npm") is None:
            raise UserError(
                "web: the runtime @litertjs/core is needed and npm is not installed: install npm,"
                " or name a node_modules/@litertjs folder with --web-library"
            )
        return None
    folder = pathlib.Path(library)
    for package, names in _LIBRARY_FILES.items():
        for name in names:
            if not (folder / package / name).is_file():
                raise UserError(f"web_library={library!r} has no {package}/{name}: {_EXPECTED}")
    _check_film_library(folder)
    return folder


def _check_film_library(library: pathlib.Path) -> None:
    """Refuses a folder beside which what takes films apart is missing, or of another version."""
    folder = _film_library(library)
    for name in _FILM_LIBRARY_FILES:
        if not (folder / name).is_file():
            raise UserError(
                f"web_library={str(library)!r} has no {_FILM_LIBRARY}/{name} beside it: {_EXPECTED}"
            )
    try:
        known = parse_json((folder / "package.json").read_text(encoding="utf-8"))
        version = known["version"]
    except (OSError, ValueError, KeyError, TypeError):
        version = "of an unknown version"
    if version != FILM_LIBRARY_VERSION:
        raise UserError(
            f"web_library={str(library)!r}: the {_FILM_LIBRARY} beside it is {version}: {_EXPECTED}"
        )


def _film_library(library: pathlib.Path) -> pathlib.Path:
    # What is behind a link, and what "." is, has its neighbours there.
    return library.resolve().parent / _FILM_LIBRARY


def write_web(models: Sequence[PageModel], out: pathlib.Path, library: pathlib.Path | None) -> None:
    """Writes the page, whole or not at all; an earlier one is replaced.

    Args:
      models: To choose from, the first one to begin with; one that generates stands alone.
      out: The folder to write.
      library: What `find_library` returned.
    Raises:
      UserError: if npm cannot fetch the runtime, or the models suit no one page.
    """
    _check_models(models)
    out = out.resolve()  # The folder behind a link is replaced, not the link.
    check_target(out)
    parent = files.make_folder(out.parent)
    with staging_files.folder(parent / out.name) as temporary:
        staging = temporary / "page"
        for part in GENERATING if models[0].generates else RESTORING:
            shutil.copytree(PAGES / part, staging, dirs_exist_ok=True)
        if all(model.streams for model in models):
            (staging / _FILM_PAGE).replace(staging / _FIRST_PAGE)
        left_out = _THREADED_FILES if models[0].generates else ()
        library = library or _fetch(temporary)
        _copy_library(library, staging / "lib", left_out)
        if not models[0].generates:
            _copy_film_library(library, staging / "lib" / _FILM_LIBRARY)
        (staging / _NOTICES_FILE).write_text(_notices(models), encoding="utf-8")
        for model in models:
            shutil.copyfile(model.file, staging / model.file.name)
        page_files = sorted(
            path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file()
        )
        facts = _facts(models) | {"page_files": [*page_files, _FACTS_FILE]}
        (staging / _FACTS_FILE).write_text(json.dumps(facts, indent=2), encoding="utf-8")
        digest = hashlib.sha256()
        for name in facts["page_files"]:
            digest.update((staging / name).read_bytes())
        worker = staging / "sw.js"
        worker.write_text(worker.read_text().replace("VERSION", digest.hexdigest()[:16], 1))
        for path in (staging, *staging.rglob("*")):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
        _put(staging, out)


def _check_models(models: Sequence[PageModel]) -> None:
    """Refuses what one page cannot hold."""
    names = [model.manifest["name"] for model in models]
    if len(models) > 1 and any(model.generates for model in models):
        raise UserError(
            f"web: {', '.join(map(repr, names))} on one page: a generator has a page of its own"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"web: two models are called {twice!r}: leave one of them out")


def _copy_library(
    library: pathlib.Path, target: pathlib.Path, left_out: Sequence[str] = ()
) -> None:
    for package, names in _LIBRARY_FILES.items():
        for name in (name for name in names if name not in left_out):
            # What lies in dist/ is imported by its package's name.
            copy = target / package / name.removeprefix("dist/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(library / package / name, copy)
    index = target / "core" / "index.js"
    text = index.read_text(encoding="utf-8")
    if text.count(_IMPORTS) != 1:
        raise UserError(
            f"web_library={str(library)!r}: core/dist/index.js is not that of @litertjs/core"
            f" {LIBRARY_VERSION}; {_EXPECTED}"
        )
    index.write_text(_CHANGED + text.replace(_IMPORTS, _BY_PATH), encoding="utf-8")


def _copy_film_library(library: pathlib.Path, target: pathlib.Path) -> None:
    target.mkdir(parents=True)
    for name, copy in _FILM_LIBRARY_FILES.items():
        shutil.copyfile(_film_library(library) / name, target / copy)
    index = target / _FILM_INDEX
    text = index.read_text(encoding="utf-8")
    if text.count(_ENDLESS) != 1:
        raise UserError(
            f"web_library={str(library)!r}: the {_FILM_LIBRARY} beside it is not version"
            f" {FILM_LIBRARY_VERSION}: {_EXPECTED}"
        )
    text = f"// Changed by tf_deconv: {_FILM_CHANGE}.\n{text.replace(_ENDLESS, _ENDING)}"
    index.write_text(text, encoding="utf-8")


def _notices(models: Sequence[PageModel]) -> str:
    """Returns whose work lies in the folder, and under which licences."""
    weights = [
        f"{model.file.name}: {model.manifest['license']}"
        for model in models
        if model.manifest.get("license")
    ]
    lines = [
        "The page itself is part of tf_deconv, under the MIT licence.",
        *weights,
        f"lib/core and lib/wasm-utils: @litertjs/core and @litertjs/wasm-utils {LIBRARY_VERSION},"
        " https://github.com/google-ai-edge/LiteRT, under the Apache License, version 2.0"
        " (https://www.apache.org/licenses/LICENSE-2.0). lib/core/index.js was changed: it imports"
        " its neighbour by a path.",
    ]
    if not models[0].generates:
        lines.append(
            f"lib/{_FILM_LIBRARY}: mediabunny {FILM_LIBRARY_VERSION}, under the Mozilla Public"
            f" License, version 2.0 (lib/{_FILM_LIBRARY}/LICENSE). Its source: version"
            f" {FILM_LIBRARY_VERSION} of https://github.com/Vanilagy/mediabunny, and the folder src"
            f" of that version's npm package. lib/{_FILM_LIBRARY}/{_FILM_INDEX} was changed:"
            f" {_FILM_CHANGE}."
        )
    return "\n\n".join([*lines, *_license_texts()]) + "\n"


def _license_texts() -> list[str]:
    try:
        listed = importlib.metadata.files(_LICENSED_PACKAGE) or []
        return [path.read_text() for path in listed if path.name == "LICENSE"]
    except (OSError, importlib.metadata.PackageNotFoundError):
        return []  # The notice tells where it is to be read.


def _put(new: pathlib.Path, out: pathlib.Path) -> None:
    """Renames a folder into place; on failure the earlier one is still there."""
    try:
        swap.recover(out)
        swap.put(new, out)
    except OSError as error:
        raise UserError(
            f"web={str(out)!r} cannot be replaced: {reason(error)}; choose another folder"
        ) from error


def _facts(models: Sequence[PageModel]) -> dict[str, Any]:
    """Returns what the page must know: the files, and what goes in and comes out."""
    if models[0].generates:
        return _about_file(models[0]) | _about_generator(models[0].manifest)
    return {"models": [_about_file(model) | _about_restorer(model) for model in models]}


def _about_file(model: PageModel) -> dict[str, Any]:
    return {
        "name": model.manifest["name"],
        "file": model.file.name,
        "size_bytes": model.file.stat().st_size,
        "sha256": files.sha256(model.file),
    }


def _about_restorer(model: PageModel) -> dict[str, Any]:
    manifest = model.manifest
    words = words_for(manifest["name"], manifest["task"])
    sizes = manifest["tflite_sizes"]
    kept = ("task", "channels_in", "channels_out", "divisor", "scale")
    first = tuple(sizes[0])
    if model.streams:
        answer = golden.answer_of_stream(model.file, first, manifest["divisor"])
    else:
        answer = golden.answer(model.file, first)
    return {
        **dataclasses.asdict(words),
        "sizes": sizes,
        **{key: manifest[key] for key in kept},
        "state": manifest["state"] if model.streams else None,
        "tile_overlap": _overlap(manifest),
        "keeps_grey": artifacts.keeps_grey(manifest["task"]),
        "golden": {"size": sizes[0], "answer": answer},
    }


def _overlap(manifest: dict[str, Any]) -> int | None:
    """Returns by how much windows overlap, as `restore` has it for pictures of 8 bits."""
    overlap, near = manifest["tile_overlap"], manifest.get("effective_reach")
    if overlap is None or near is None:
        return overlap
    return min(overlap, near + -near % manifest["divisor"])


def _about_generator(manifest: dict[str, Any]) -> dict[str, Any]:
    facts = read_spec(manifest, manifest["name"])
    about = {
        "title": manifest["name"],
        "summary": _summary(facts),
        "generator": facts.to_json(),
    }
    if facts.kind == "flow":
        defaults = SampleConfig()
        names = ("steps", "solver", "guidance")
        about["sampler"] = {name: getattr(defaults, name) for name in names}
    return about


def _summary(facts: GeneratorSpec) -> str:
    network = "variational autoencoder" if facts.kind == "vae" else "rectified flow"
    colour = "grey" if facts.channels == 1 else "colour"
    given = "a seed and a class" if facts.classes else "a seed"
    return f"A {network} makes {colour} pictures from {given}."


def _fetch(folder: pathlib.Path) -> pathlib.Path:
    # On Windows it is npm.cmd, which is found by its whole name alone.
    npm = shutil.which("npm") or "npm"
    command = [npm, "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
    command += ["--prefix", str(folder), *PACKAGES]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode:
        raise UserError(
            f"web: npm could not fetch {' and '.join(PACKAGES)}: {_cause(done.stderr)};"
            " name a node_modules/@litertjs folder with --web-library"
        )
    return folder / "node_modules" / "@litertjs"


def _cause(stderr: str) -> str:
    """Returns npm's line that says what is wrong, between its codes and the path of its log."""
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines()]
    skipped = ("code ", "errno ", "syscall ", "A complete log", "npm warn")
    causes = [line for line in lines if line and not line.startswith(skipped)]
    return causes[0].rstrip(".") if causes else "npm gave no reason"
