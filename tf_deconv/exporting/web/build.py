"""A page that runs an exported file in the browser, ready to serve from any static host.

The pages lie in folders beside this file: one that restores pictures, one that makes them from a
seed, and what both share. The runtime is @litertjs/core of the npm registry (Apache-2.0), which is
copied into the folder, so that the page asks no other host for anything.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
import subprocess
from typing import Any

from tf_deconv.degradations.tasks import TASKS
from tf_deconv.generation.config import SampleConfig
from tf_deconv.generation.spec import GeneratorSpec, read_spec
from tf_deconv.inference.descriptions import parse_json
from tf_deconv.utils import files, swap
from tf_deconv.utils import staging as staging_files
from tf_deconv.utils.options import UserError, reason

PAGES = pathlib.Path(__file__).parent
LIBRARY_VERSION = "2.5.3"
# The package's builds that need neither threads nor newer browsers' switches; and package.json,
# which tells whoever finds the copy its version, source and licence.
_LIBRARY_FILES = {
    "core": (
        "package.json",
        "dist/index.js",
        "wasm/litert_wasm_internal.js",
        "wasm/litert_wasm_internal.wasm",
        "wasm/litert_wasm_compat_internal.js",
        "wasm/litert_wasm_compat_internal.wasm",
    ),
    "wasm-utils": ("package.json", "dist/index.js"),
}
_FACTS_FILE = "model.json"


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
      library: `node_modules/@litertjs` of an installation; None to have npm fetch it later.
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
                raise UserError(
                    f"web_library={library!r} has no {package}/{name}: expected"
                    f" node_modules/@litertjs after `npm install @litertjs/core@{LIBRARY_VERSION}`"
                )
    return folder


def write_web(
    file: pathlib.Path, manifest: dict[str, Any], out: pathlib.Path, library: pathlib.Path | None
) -> None:
    """Writes the page, whole or not at all; an earlier one is replaced.

    Args:
      file: The `.tflite` file, of float32 pictures.
      manifest: The export's manifest; one with "generator" gets the page that makes pictures.
      out: The folder to write.
      library: What `find_library` returned.
    Raises:
      UserError: if npm cannot fetch the runtime.
    """
    out = out.resolve()  # The folder behind a link is replaced, not the link.
    check_target(out)
    parent = files.make_folder(out.parent)
    with staging_files.folder(parent / out.name) as temporary:
        staging = temporary / "page"
        kind = "sample" if "generator" in manifest else "restore"
        for part in ("common", kind):
            shutil.copytree(PAGES / part, staging, dirs_exist_ok=True)
        library = library or _fetch(temporary)
        for package, names in _LIBRARY_FILES.items():
            for name in names:
                # What lies in dist/ is imported by its package's name.
                target = staging / "lib" / package / name.removeprefix("dist/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(library / package / name, target)
        shutil.copyfile(file, staging / file.name)
        page_files = sorted(
            path.relative_to(staging).as_posix() for path in staging.rglob("*") if path.is_file()
        )
        facts = _facts(file, manifest) | {"page_files": [*page_files, _FACTS_FILE]}
        (staging / _FACTS_FILE).write_text(json.dumps(facts, indent=2), encoding="utf-8")
        digest = hashlib.sha256()
        for name in facts["page_files"]:
            digest.update((staging / name).read_bytes())
        worker = staging / "sw.js"
        worker.write_text(worker.read_text().replace("VERSION", digest.hexdigest()[:16], 1))
        for path in (staging, *staging.rglob("*")):
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o644))
        _put(staging, out)


def _put(new: pathlib.Path, out: pathlib.Path) -> None:
    """Renames a folder into place; on failure the earlier one is still there."""
    try:
        swap.recover(out)
        swap.put(new, out)
    except OSError as error:
        raise UserError(
            f"web={str(out)!r} cannot be replaced: {reason(error)}; choose another folder"
        ) from error


def _facts(file: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns what the page must know: the file, and what goes in and comes out."""
    about = _about_generator if "generator" in manifest else _about_restorer
    return {
        "title": manifest["name"],
        "file": file.name,
        "size_bytes": file.stat().st_size,
        "sha256": files.sha256(file),
        **about(manifest),
    }


def _about_restorer(manifest: dict[str, Any]) -> dict[str, Any]:
    task = TASKS.get(manifest["task"] or "")
    summary = task.summary if task else "pictures in, pictures out"
    kept = ("channels_in", "channels_out", "divisor", "scale", "tile_overlap")
    return {
        "task": manifest["task"],
        "summary": f"{summary[0].upper()}{summary[1:]}.",
        "sizes": manifest["tflite_sizes"],
        **{key: manifest[key] for key in kept},
    }


def _about_generator(manifest: dict[str, Any]) -> dict[str, Any]:
    facts = read_spec(manifest, manifest["name"])
    about = {"summary": _summary(facts), "generator": facts.to_json()}
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
    command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
    command += ["--prefix", str(folder), f"@litertjs/core@{LIBRARY_VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"web: npm could not fetch @litertjs/core {LIBRARY_VERSION}: {_cause(done.stderr)};"
            " name a node_modules/@litertjs folder with --web-library"
        )
    return folder / "node_modules" / "@litertjs"


def _cause(stderr: str) -> str:
    """Returns npm's line that says what is wrong, between its codes and the path of its log."""
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines()]
    skipped = ("code ", "errno ", "syscall ", "A complete log", "npm warn")
    causes = [line for line in lines if line and not line.startswith(skipped)]
    return causes[0].rstrip(".") if causes else "npm gave no reason"
