"""One model, found: what kind of file it is, where it lies, and what is recorded of it.

A command locates its model once and hands the object on; a manifest or a description is read and
parsed once for each. Nothing here imports TensorFlow or Keras.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from typing import Any

from tf_deconv.inference import run_folder, shipped, tflite_file
from tf_deconv.inference.descriptions import LARGEST_JSON_BYTES, check, parse_json
from tf_deconv.inference.strangers import graphs, tflite_files
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError

# A generator's SavedModel holds its facts here, for when no manifest lies beside it.
FACTS_FILE = "assets.extra/tf_deconv.json"
_MODEL_SUFFIXES = (".keras", ".tflite")


@dataclasses.dataclass(frozen=True)
class LocatedModel:
    """A model that exists, not opened yet; `locate` makes it.

    Attributes:
      asked: What the user gave: a path or a shipped model's name.
      is_name: Whether that was taken as a shipped model's name.
      root: The path that was given, or the folder that the name stands for.
      kind: "keras", "saved_model" or "tflite".
      path: The `.keras` or `.tflite` file, or the folder of one version of a SavedModel.
      notes: What a command says about the choice, one line each.
      manifest: The manifest of the export that the model belongs to, as it was parsed; None where
        there is none that lists this model.
      trusted: Whether the user trusts its maker, whatever a SavedModel's graph holds (`strangers`).
    """

    asked: str
    is_name: bool
    root: pathlib.Path
    kind: str
    path: pathlib.Path
    notes: tuple[str, ...] = ()
    manifest: dict[str, Any] | None = dataclasses.field(default=None, repr=False)
    trusted: bool = False

    @functools.cached_property
    def known(self) -> dict[str, Any]:
        """What is recorded of the model: task, training, versions and, of exports, checks.

        It is the description inside a `.keras` file, the manifest of the folder that an export lies
        in, or else what an exported file tells of itself; {} where nothing tells of this model.

        Raises:
          UserError: if a field of it has a wrong type.
        """
        if self.kind == "keras":
            return run_folder.read_description(self.path)
        if self.manifest is not None:
            return check(self.manifest, repr(str(self._folder / shipped.MANIFEST_FILE)))
        own = self.path / FACTS_FILE if self.kind == "saved_model" else self.path
        return check(self.own_facts, repr(str(own)))

    @functools.cached_property
    def own_facts(self) -> dict[str, Any]:
        """What the exported file tells of itself, in which any field may have any type.

        {} of a `.keras` file, and of a SavedModel that restores.
        """
        if self.kind == "tflite":
            return tflite_file.read_metadata(self.path.read_bytes())
        if self.kind == "keras":
            return {}
        try:
            facts = parse_json(files.read_bounded(self.path / FACTS_FILE, LARGEST_JSON_BYTES))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    @property
    def generates(self) -> bool:
        """Whether the model makes pictures from noise; otherwise it restores."""
        return "generator" in self.known

    @property
    def moves(self) -> bool:
        """Whether the model restores films, frame after frame with a state between them."""
        return not self.generates and "state" in self.known

    @property
    def task(self) -> str | None:
        """What the model was trained for; None where that is not recorded."""
        task = self.known.get("task")
        return task if isinstance(task, str) else None

    def check_files(self, contents: bool = True) -> None:
        """Compares an exported model with the checksums in its manifest.

        A SavedModel of 4 MB takes 10 ms. Files that are not opened are not looked at. Without a
        manifest, a `.tflite` file is compared with the checksum in it, and others are taken as
        they are.

        Args:
          contents: Whether files that are there must also be those that were exported.
        Raises:
          UserError: naming the first file that is missing or is not the one that was exported.
        """
        if self.manifest is None:
            if contents and self.buffers_unchanged is False:
                raise UserError(
                    f"{str(self.path)!r} is not the file that was exported: its weights have"
                    f" another checksum than its description tells; {shipped.REMEDY}"
                )
            return
        for entry in self.known.get("files", ()):
            recorded = entry.get("sha256") if entry["file"] == self._file else None
            for name, digest in recorded.items() if isinstance(recorded, dict) else ():
                part = self._folder / name
                if not part.is_file():
                    raise UserError(f"{str(part)!r} is missing: {shipped.REMEDY}")
                if contents and files.sha256(part) != digest:
                    raise UserError(
                        f"{str(part)!r} is not the file that was exported, its checksum is"
                        f" another than the manifest's: {shipped.REMEDY}"
                    )

    def check_contents(self) -> None:
        """Refuses an exported file that does more than compute, or takes all memory (`strangers`).

        Keras files are looked at where they are loaded.

        Raises:
          UserError: naming what was found.
        """
        if self.kind == "saved_model":
            graphs.check_saved_model(self.path, self.trusted)
        elif self.kind == "tflite":
            tflite_files.check_tflite(self.path.read_bytes(), str(self.path))

    @functools.cached_property
    def buffers_unchanged(self) -> bool | None:
        """Whether a `.tflite` file's weights are those it was exported with; None: not recorded."""
        if self.kind != "tflite":
            return None
        return tflite_file.is_unchanged(self.path.read_bytes(), self.own_facts)

    @property
    def _folder(self) -> pathlib.Path:
        """Where an exported model's manifest lies."""
        return _export_folder(self.kind, self.path)[0]

    @property
    def _file(self) -> str:
        """What an exported model is called in its manifest."""
        return _export_folder(self.kind, self.path)[1]


def locate(
    model: str | os.PathLike[str] | LocatedModel | None, trust: bool = False
) -> LocatedModel:
    """Finds out what a model is, from what its path holds.

    Args:
      model: A run folder, a `.keras` file, a SavedModel (the version folder, or the folder of all
        versions: the highest is taken) or a `.tflite` file; or the name of a shipped model; None
        for the default one. One that is located already comes back as it is.
      trust: Whether the user trusts whoever made it.
    Returns:
      The model; nothing but a manifest beside it was read.
    Raises:
      UserError: if it is none of them.
    """
    if isinstance(model, LocatedModel):
        return model
    is_name, root = shipped.is_name(model), shipped.resolve(model)
    kind, path, manifest = _find(root, is_name)
    return LocatedModel(
        asked=shipped.DEFAULT if model is None else os.fspath(model),
        is_name=is_name,
        root=root,
        kind=kind,
        path=path,
        notes=tuple(shipped.notes(model)),
        manifest=manifest,
        trusted=trust,
    )


def holds_model(path: str | os.PathLike[str]) -> bool:
    """Returns whether a model lies at a path, also one that is damaged or not trained yet."""
    folder = pathlib.Path(path)
    if os.path.isfile(path):
        try:
            with open(path, "rb") as stream:
                head = stream.read(8)
        except OSError:
            head = b""
        named = folder.suffix.lower() in _MODEL_SUFFIXES
        return named or head[4:] == b"TFL3" or head[:2] == b"PK"
    if not os.path.isdir(path):
        return False
    try:
        versions = [name for name in os.listdir(path) if re.fullmatch(r"[0-9]+", name)]
    except OSError:
        return False
    files = ("saved_model.pb", run_folder.MODEL_FILE)
    return (
        any((folder / name).is_file() for name in files)
        or any((folder / version / "saved_model.pb").is_file() for version in versions)
        or _tells(folder / run_folder.CONFIG_FILE, "network")
        or _tells(folder / shipped.MANIFEST_FILE, "files")
    )


def _tells(path: pathlib.Path, key: str) -> bool:
    """Returns whether a JSON object has a key: a folder of pictures may hold a file of the name."""
    try:
        return key in parse_json(files.read_bounded(path, LARGEST_JSON_BYTES))
    except (OSError, ValueError, TypeError):
        return False


def _find(root: pathlib.Path, is_name: bool) -> tuple[str, pathlib.Path, dict[str, Any] | None]:
    """Returns a model's kind, its path, and the manifest that lists it."""
    if root.is_dir():
        if (root / "saved_model.pb").is_file():
            folder, file = _export_folder("saved_model", root)
            return "saved_model", root, _if_listed(_read_manifest(folder), file)
        if (root / run_folder.MODEL_FILE).is_file():
            return "keras", root / run_folder.MODEL_FILE, None
        versions = [
            folder
            for folder in root.iterdir()
            if re.fullmatch(r"[0-9]+", folder.name) and (folder / "saved_model.pb").is_file()
        ]
        manifest = _read_manifest(root)
        if is_name and not _listed(manifest):
            raise UserError(
                f"{str(root / shipped.MANIFEST_FILE)!r} is missing or damaged: {shipped.REMEDY}"
            )
        if is_name or not versions:
            _check_export(root, _listed(manifest))
        if versions:
            newest = max(versions, key=lambda folder: int(folder.name))
            # An older version beside a newer manifest may be another network.
            return "saved_model", newest, _if_listed(manifest, f"{newest.name}/")
        if (root / run_folder.CONFIG_FILE).is_file():
            raise UserError(
                f"run {str(root)!r} has no model yet: it is being trained, or was stopped before"
                f" its first epoch ended; expected {run_folder.MODEL_FILE} in it"
            )
        raise UserError(f"folder {str(root)!r} holds no model: {shipped.EXPECTED}")
    if what := files.special(root):
        raise UserError(f"{str(root)!r} is {what}: {shipped.EXPECTED}")
    if not root.is_file():
        raise UserError(f"{str(root)!r} does not exist: {shipped.EXPECTED}")
    with open(root, "rb") as stream:
        head = stream.read(8)
    if head[4:] == b"TFL3":
        folder, file = _export_folder("tflite", root)
        return "tflite", root, _if_listed(_read_manifest(folder), file)
    if head[:2] == b"PK":
        return "keras", root, None
    raise UserError(f"{str(root)!r} is not a model: {shipped.EXPECTED}")


def _export_folder(kind: str, path: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Returns where the manifest of an exported model would lie, and the model's name in it."""
    path = pathlib.Path(os.path.abspath(path))
    if kind == "saved_model":
        return path.parent, f"{path.name}/"
    return path.parent.parent, f"{path.parent.name}/{path.name}"


def _read_manifest(folder: pathlib.Path) -> Any:
    """Returns what the manifest in a folder holds; None where it is missing or no JSON."""
    try:
        return parse_json(files.read_bounded(folder / shipped.MANIFEST_FILE, LARGEST_JSON_BYTES))
    except (OSError, ValueError):
        return None


def _listed(manifest: Any) -> list[str]:
    """Returns the names of the files that a manifest lists; [] of one that is none."""
    try:
        return [str(entry["file"]) for entry in manifest["files"]]
    except (KeyError, TypeError):
        return []


def _if_listed(manifest: Any, file: str) -> dict[str, Any] | None:
    """Returns the manifest if it lists the file."""
    return manifest if isinstance(manifest, dict) and file in _listed(manifest) else None


def _check_export(folder: pathlib.Path, listed: list[str]) -> None:
    """Says what is missing where a manifest lists a model and the folder does not hold it."""
    for name in listed:
        graph = folder / name / "saved_model.pb"
        if re.fullmatch(r"[0-9]+/", name) and not graph.is_file():
            raise UserError(f"{str(graph)!r} is missing: {shipped.REMEDY}")
    tflite = [name for name in listed if name.endswith(".tflite")]
    if tflite and not any(name.endswith("/") for name in listed):
        raise UserError(
            f"folder {str(folder)!r} holds no SavedModel: expected one of its files, such as"
            f" {str(folder / tflite[0])!r}"
        )
