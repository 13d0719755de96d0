"""What `restore` restores and where each picture or film goes: files, folders, lists, shards.

`plan_jobs` finds out all of it before any model is opened, for every engine.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

from tf_deconv.data.shards import reader
from tf_deconv.data.shards.records import Place, find_places
from tf_deconv.images import formats, writing
from tf_deconv.images.arrays import printable
from tf_deconv.images.files import Job
from tf_deconv.utils import files, remote
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar
from tf_deconv.video.containers import CONTAINER_OF, CONTAINERS, container_of
from tf_deconv.video.containers import SUFFIXES as FILM_SUFFIXES

# What a file of names ends in, one path on a line.
LIST_SUFFIX = ".txt"
_LARGEST_LIST_BYTES = 2**32
EXPECTED = (
    f"expected pictures, films, folders of them, a {LIST_SUFFIX} file of their paths, or folders of"
    " shards"
)
# The type of one picture's file that --out names, by its suffix: the types that can be written.
FORMAT_OF = {
    suffix: entry.name
    for entry in formats.FORMATS.values()
    if entry.writes == entry.name
    for suffix in entry.suffixes
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Source:
    """A picture to restore.

    Attributes:
      place: Where it is.
      relative: Its name below --out.
      becomes: That name where its type changes; taken if no other picture has it.
      is_film: Whether it is restored as a film.
    """

    place: pathlib.Path | Place
    relative: pathlib.Path
    becomes: pathlib.Path
    is_film: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
      jobs: A job for each picture file.
      films: A job for each film.
      unread: "name: reason" of what lies among them and is not read.
      notes: Lines about what is plainly no picture.
    """

    jobs: list[Job]
    unread: list[str]
    notes: list[str]
    films: list[Job] = dataclasses.field(default_factory=list)


def plan_jobs(
    pictures: Sequence[str],
    out: pathlib.Path,
    file_format: str | None = None,
    animations_are_films: bool = False,
) -> Plan:
    """Finds the pictures and films, and where each one goes.

    Args:
      pictures: Picture files and films; folders, whose tree is kept; `.txt` files with a path on
        each line, from the list's folder on, below which the tree is kept too; and folders of
        shards or their URLs, whose pictures go under their names in the source that was sharded.
      out: The folder that receives the results; or the file of the one picture or film
        (`names_file`).
      file_format: The type to write, a key of `writing.CHOICES`; None: that of each picture.
      animations_are_films: Whether a GIF is restored as a film is; else it is an animation among
        pictures. It is a film too where `out` names one.
    Returns:
      The jobs and what is no job; `Job.source` is a `Place` where the picture is in a shard.
    Raises:
      UserError: if a path does not exist or is a pipe or a device, no file is a picture, a folder
        holds no picture, two pictures would go to one file, one would be written over a picture
        that is read, several are to go to the file that --out names, or shards are not whole.
    """
    file = out if names_file(out) else None
    out = folder_of(out)
    wished_format = None if file_format is None else writing.CHOICES[file_format]
    film_file = file is not None and file.suffix.lower() in CONTAINER_OF
    animations_are_films = animations_are_films or film_file
    if (
        file is not None
        and not film_file
        and wished_format not in (None, FORMAT_OF[file.suffix.lower()])
    ):
        raise UserError(
            f"format={file_format!r} and out={str(file)!r} differ: leave one of them out"
        )
    sources: list[_Source] = []
    unread: list[str] = []
    notes: list[str] = []
    for text in map(str, pictures):
        path = pathlib.Path(text)
        if reader.is_sharded(text):
            sources += [
                dataclasses.replace(source, becomes=_named(source.becomes, wished_format))
                for source in _list_shards(text, out)
            ]
        elif path.is_dir():
            # Restored pictures inside the folder are no input of a second run.
            listed = formats.find_pictures(path, printable, films=True)
            formats.require_pictures(listed, path)
            films = listed.films or []
            found = [
                _film_source(each, each.relative_to(path))
                if n >= len(listed.pictures)
                else _source_of(each, each.relative_to(path), wished_format, animations_are_films)
                for n, each in enumerate((*listed.pictures, *films))
                if file is not None or not _is_below(each, out) or _is_below(path, out)
            ]
            unread += [f"{printable(text)}/{line}" for line in listed.unread]
            notes += filter(None, [listed.note()])
            if not found:
                raise UserError(
                    f"folder {text!r} holds no picture and no film outside --out {str(out)!r}"
                )
            sources += found
        elif not path.exists():
            raise UserError(f"{text!r} does not exist: {EXPECTED}")
        elif what := files.special(path):
            raise UserError(f"{text!r} is {what}: {EXPECTED}")
        elif path.suffix.lower() == LIST_SUFFIX:
            listed_sources, missing = _read_list(path, wished_format, animations_are_films)
            sources += listed_sources
            unread += missing
        elif path.suffix.lower() == reader.SUFFIX:
            raise UserError(
                f"{text!r} is one shard: expected its folder, with the index {reader.INDEX_FILE}"
            )
        elif (kind := formats.other_kind(path)) == "a film":
            sources.append(_film_source(path, pathlib.Path(path.name)))
        elif kind:
            unread.append(f"{printable(text)}: {formats.refusal(kind, 1)}")
        else:
            relative = pathlib.Path(path.name)
            sources.append(_source_of(path, relative, wished_format, animations_are_films))
    if not sources:
        more = f" (and {len(unread) - 1} more)" if len(unread) > 1 else ""
        raise UserError(f"{unread[0]}{more}")
    if file is not None and len(sources) != 1:
        raise UserError(
            f"out={str(file)!r} is the file of one picture, and there are {len(sources)}: expected"
            " a folder"
        )
    if file is not None and sources[0].is_film != film_file:
        kind, other = ("film", "picture") if sources[0].is_film else ("picture", "film")
        written = CONTAINER_OF if sources[0].is_film else FORMAT_OF
        raise UserError(
            f"out={str(file)!r} is named as a {other}, and {str(sources[0].place)!r} is a {kind}:"
            f" expected a folder, or a file ending in {', '.join(written)}"
        )
    wished = {source.relative: source.becomes for source in sources}
    claims = collections.Counter(wished.values())
    inputs = {_identity(source.place) for source in sources}
    jobs: dict[pathlib.Path, Job] = {}
    films: set[pathlib.Path] = set()
    for source in sources:
        target = file or out / _output_name(source, claims)
        name = str(source.place)
        if target in jobs and _identity(jobs[target].source) != _identity(source.place):
            raise UserError(
                f"{str(jobs[target].source)!r} and {name!r} would both be written to"
                f" {str(target)!r}: restore them one after the other, each to its own --out"
            )
        if target.exists() and _identity(target) in inputs:
            raise UserError(
                f"{name!r} would be written over {str(target)!r}, which is an input: choose"
                " another --out"
            )
        if source.is_film:
            films.add(target)
            jobs[target] = Job(source.place, target)
            continue
        kind = FORMAT_OF[file.suffix.lower()] if file else wished_format
        jobs[target] = Job(source.place, target, kind)
    return Plan(
        [job for target, job in jobs.items() if target not in films],
        unread,
        notes,
        [job for target, job in jobs.items() if target in films],
    )


def names_file(out: pathlib.Path) -> bool:
    """Returns whether --out is the file of one picture or film, and not a folder for many.

    Raises:
      UserError: if it is named as one that cannot be written.
    """
    suffix = out.suffix.lower()
    known = {*formats.SUFFIXES, *FILM_SUFFIXES}
    if (suffix not in known and not formats.is_other(suffix)) or out.is_dir():
        return False
    if suffix not in FORMAT_OF and suffix not in CONTAINER_OF:
        endings = []
        # A GIF may be either; so may what is neither written nor read.
        if suffix not in FILM_SUFFIXES or suffix in formats.SUFFIXES:
            endings.append(f"a picture ending in {', '.join(FORMAT_OF)}")
        if suffix not in formats.SUFFIXES or suffix in FILM_SUFFIXES:
            endings.append(f"a film ending in {', '.join(CONTAINER_OF)}")
        raise UserError(
            f"out={str(out)!r}: no {suffix} file can be written; expected a folder,"
            f" {', or '.join(endings)}"
        )
    return True


def folder_of(out: pathlib.Path) -> pathlib.Path:
    """Returns the folder that receives the results."""
    return out.parent if names_file(out) else out


def check_targets(jobs: Sequence[Job], word: str = "picture") -> None:
    """Refuses to replace files: they may be another model's results, or nobody's.

    Args:
      jobs: What would be written.
      word: What they are called.
    Raises:
      UserError: if the file of a job is there.
    """
    there = [job.target for job in jobs if os.path.lexists(job.target)]
    if there:
        are = "is" if len(there) == 1 else "are"
        count = f"{len(there)} of {len(jobs)} {word}s {are}" if len(jobs) > 1 else f"the {word} is"
        raise UserError(
            f"{count} there already, {str(there[0])!r}: choose another --out, or add --overwrite to"
            " replace what is there, or --skip-existing to leave it out"
        )


def _film_source(path: pathlib.Path, relative: pathlib.Path) -> _Source:
    """Returns a film; one in a container that is not written gets the name of another."""
    try:
        found = container_of(path)
    except OSError:  # It fails when its turn comes.
        found = None
    suffix = relative.suffix.lower()
    becomes = CONTAINERS[found.becomes] if found is not None else None
    if becomes is None and suffix not in CONTAINER_OF:
        becomes = CONTAINERS["MP4"]
    if becomes is None or suffix in becomes.suffixes:
        return _Source(path, relative, relative, True)
    if (
        suffix in CONTAINER_OF
        and found is not None
        and CONTAINER_OF[suffix].demuxer == found.demuxer
    ):
        # MP4 named .mov, and Matroska named .webm, are written as their names say.
        return _Source(path, relative, relative, True)
    if suffix in FILM_SUFFIXES:
        return _Source(path, relative, relative.with_suffix(becomes.suffixes[0]), True)
    named = relative.with_name(relative.name + becomes.suffixes[0])
    return _Source(path, relative, named, True)


def _source_of(
    path: pathlib.Path,
    relative: pathlib.Path,
    kind: str | None = None,
    animations_are_films: bool = False,
) -> _Source:
    """Returns a file, and its name below --out, which says what is written.

    What is read from GIF is written as PNG; a HEIC file named .jpg is written as HEIC, and so
    named. A name that says nothing of its type is kept. A list may name films too.
    """
    found = _sniffed(path)
    if found == "a film" or (animations_are_films and found == "GIF"):
        return _film_source(path, relative)
    if found is None and relative.suffix.lower() in FILM_SUFFIXES and os.path.isfile(path):
        return _film_source(path, relative)  # Whoever opens it says what is wrong.
    if kind is not None and relative.suffix.lower() not in formats.SUFFIXES:
        return _Source(path, relative, relative.with_name(relative.name + _suffix_of(kind)))
    if kind is None:
        if found is None and relative.suffix.lower() == ".gif":  # It fails when its turn comes.
            found = "GIF"
        kind = formats.FORMATS[found].writes if found in formats.FORMATS else None
    return _Source(path, relative, _named(relative, kind))


def _sniffed(path: pathlib.Path) -> str | None:
    try:
        return formats.sniff_file(path)
    except (OSError, ValueError):
        return None


def _named(relative: pathlib.Path, kind: str | None) -> pathlib.Path:
    """Returns a name whose suffix is of a format, if it has one of any."""
    suffix = relative.suffix.lower()
    if kind is None or suffix not in formats.SUFFIXES or suffix in formats.FORMATS[kind].suffixes:
        return relative
    return relative.with_suffix(_suffix_of(kind))


def _suffix_of(kind: str) -> str:
    return formats.FORMATS[kind].suffixes[0]


def _list_shards(data: str, out: pathlib.Path) -> list[_Source]:
    """Lists the pictures of a folder of shards, or of its URL."""
    if not remote.is_url(data):
        if os.path.realpath(data) == os.path.realpath(out):
            raise UserError(f"out={str(out)!r} holds the shards to read: choose another --out")
        try:
            beside = [name for name in os.listdir(data) if name.lower().endswith(formats.SUFFIXES)]
        except OSError as error:
            raise UserError(f"folder {data!r} cannot be read: {reason(error)}") from error
        if beside:
            raise UserError(
                f"folder {data!r} holds shards and pictures, such as {min(beside)!r}: expected one"
                " of them; move the pictures to a folder of their own"
            )
    bar = Bar()
    places = find_places(data, functools.partial(bar.draw, f"list {data}"))
    bar.clear()
    counts = collections.Counter(place.name for place in places)
    return [_source_in_shard(place, counts[place.name] == 1) for place in places]


def _source_in_shard(place: Place, unique: bool) -> _Source:
    """Returns a picture in a shard under its recorded name, where that stays within --out.

    Args:
      place: Where it is.
      unique: Whether no other record has its name; one that is damaged takes nobody's place.
    """
    relative = pathlib.PurePosixPath(place.name)
    named = relative.parts and not relative.is_absolute()
    if not named or any(part.startswith(".") for part in relative.parts):
        fault = f"its name {place.name!r} is none of a file below --out, or of a hidden one"
        place = dataclasses.replace(place, fault=place.fault or fault)
    elif unique or not place.fault:
        relative = pathlib.Path(relative)
        if relative.suffix.lower() in formats.SUFFIXES:
            kind = "PNG" if place.suffix == ".png" else "JPEG"
            return _Source(place, relative, _named(relative, kind))
        relative = relative.with_name(relative.name + place.suffix)
        return _Source(place, relative, relative)
    # Never written.
    nowhere = pathlib.Path(f"{place.path.rpartition('/')[2]}[{place.number}]")
    return _Source(place, nowhere, nowhere)


def _read_list(
    path: pathlib.Path, kind: str | None, animations_are_films: bool
) -> tuple[list[_Source], list[str]]:
    """Reads a list: each picture, and its name below --out; and a line for each that is missing.

    A picture below the list's folder keeps its place there, so that a line more or less moves no
    other picture; one from elsewhere keeps its name alone.
    """
    try:
        # As the system decodes names of files, which need not be UTF-8.
        content = files.read_bounded(path, _LARGEST_LIST_BYTES)
        lines = [line.rstrip("\r") for line in os.fsdecode(content).split("\n")]
    except (OSError, ValueError) as error:
        raise UserError(f"list {str(path)!r} cannot be read: {reason(error)}") from error
    if any("\0" in line for line in lines) or not any(line.strip() for line in lines):
        raise UserError(f"list {str(path)!r} names no picture: expected a path on each line")
    folder = pathlib.Path(os.path.abspath(path.parent))
    found, missing = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        picture = pathlib.Path(os.path.normpath(folder / line))
        inside = picture.is_relative_to(folder)
        relative = picture.relative_to(folder) if inside else pathlib.Path(picture.name)
        if os.path.lexists(picture):  # A link to nothing fails when its turn comes.
            found.append(_source_of(picture, relative, kind, animations_are_films))
        else:
            missing.append(
                f"{printable(str(path))}, line {number}: '{printable(line.strip())}' does not exist"
                f" (a {LIST_SUFFIX} is read as a list of paths)"
            )
    return found, missing


def _output_name(source: _Source, claims: collections.Counter[pathlib.Path]) -> pathlib.Path:
    """GIF becomes PNG; "x.gif" beside "x.png" becomes "x.gif.png"."""
    relative, becomes = source.relative, source.becomes
    if relative == becomes or claims[becomes] == 1:
        return becomes
    return relative.with_name(relative.name + becomes.suffix)


def _identity(place: pathlib.Path | Place) -> tuple[object, object] | str:
    """Names a file whatever link leads to it; one that a list names may not exist."""
    if isinstance(place, Place):
        return place.path, place.number
    try:
        status = place.stat()
    except OSError:
        return str(place)
    return status.st_dev, status.st_ino


def _is_below(path: pathlib.Path, folder: pathlib.Path) -> bool:
    return pathlib.Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
