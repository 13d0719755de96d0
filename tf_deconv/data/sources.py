"""Where pictures come from, and which of them are held out.

Every kind of source is first opened (headers only: how many, how large), then read picture by
picture into one `PictureStore`, and then split by content. See docs/decisions/0003-data.md.
`shards.pack` opens sources too, and packs the pictures instead.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping, Sequence

from tf_deconv.data import arrays as array_files
from tf_deconv.data import bundled, downscaling, folders, keras_datasets, levels, pairs
from tf_deconv.data.config import BUNDLED, check_range
from tf_deconv.data.folders import Notes
from tf_deconv.data.labels import of_subfolders
from tf_deconv.data.levels import Depth, Survey
from tf_deconv.data.shards import reader
from tf_deconv.data.store import PictureStore, StoreWriter, cache_folder, memory_budget, size_text
from tf_deconv.images import arrays, formats
from tf_deconv.images.arrays import CHANNELS, printable
from tf_deconv.images.value_range import Levels, ValueRange
from tf_deconv.utils.options import UserError, reason

# The largest picture that is decoded: 0.8 GB. A file of a few kilobytes can claim any size.
MAX_PIXELS = 2**28


@dataclasses.dataclass(frozen=True)
class Source:
    """A source read and split.

    Attributes:
      training: Pictures to train on.
      validation: Pictures held out; none of them shares its content with `training`.
      skipped: "name: reason" of every file that could not be used.
      failures: Those of them that are faults: all but pictures that are merely too small.
      notes: Lines that the user should see.
    """

    training: PictureStore
    validation: PictureStore
    skipped: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass
class Opened:
    """A source whose headers were read.

    Attributes:
      entries: What it holds; each has a name, a count, a height, a width and a dtype.
      read_into: Takes a writer for some of the entries and the bytes that may be in decoding at
        once; returns lines as in `skipped`.
      skipped: As in `Source`.
      channels: Of every picture; 6 for pairs.
      notes: Lines for the user.
      known: Levels that are recorded of kinds of samples.
      value_range: What is recorded where the user says nothing.
      small: Those of `skipped` that are no faults.
      said: What reading leaves out of pictures.
    """

    entries: list
    read_into: Callable[[StoreWriter | Survey, list, int], list[str]]
    skipped: list[str]
    channels: int = CHANNELS
    notes: list[str] = dataclasses.field(default_factory=list)
    known: Mapping[str, Levels] = dataclasses.field(default_factory=dict)
    value_range: str = "auto"
    small: list[str] = dataclasses.field(default_factory=list)
    said: Notes | None = None

    @property
    def kinds(self) -> set[str]:
        """The kinds of samples that there are, as far as the headers tell."""
        found = set()
        for entry in self.entries:
            if isinstance(entry, pairs.PicturePair):
                found |= {levels.kind_of(side.dtype) for side in (entry.input, entry.target)}
            elif isinstance(entry, reader.Run):
                found |= entry.kinds
            else:
                found.add(levels.kind_of(entry.dtype))
        return found

    @property
    def total(self) -> int:
        """The number of values in all pictures."""
        return sum(e.count * e.height * e.width * self.channels for e in self.entries)


def load_source(
    data: str,
    patch_size: int,
    validation_fraction: float,
    *,
    targets: str | None = None,
    shrink: str | None = None,
    part: str | None = None,
    labels: bool = False,
    max_pixels: int = MAX_PIXELS,
    value_range: str = "auto",
    memory_bytes: int | None = None,
) -> Source:
    """Reads and splits the pictures of a training run.

    Args:
      data: A folder of pictures, of IDX files or of arrays; a .npy, .npz or IDX file (also
        gzipped); a folder of shards, or its URL; "keras:NAME", a set of keras.datasets; or
        "bundled".
      patch_size: Pictures with a side under this many pixels are skipped.
      validation_fraction: Expected share of pictures held out, in (0, 1); the bundled photographs
        have a fixed split.
      targets: Folder of the pictures as they should be; the source then holds pairs.
      shrink: Factors, as for `downscaling.parse_shrink`: training gets several smaller copies in
        each picture's place, validation one.
      part: "train" or "test": that part alone of a source that `has_parts`, and all of any other;
        all together when None.
      labels: Whether to read labels too: of stacks, IDX files or arrays beside the pictures; of a
        folder of pictures, the place of a picture's subfolder in their sorted names; of shards, in
        their records. Where there are none, `PictureStore.labels` is None.
      max_pixels: Pictures with more pixels are skipped; checked before they are decoded.
      value_range: What --range says of values of more than 8 bits.
      memory_bytes: Pictures that take more than this when decoded are kept in a file, from which
        training reads; half of the available memory when None.
    Returns:
      The source; both parts hold at least one picture.
    Raises:
      UserError: if nothing usable is there, or labels that were asked for do not fit.
    """
    hold_out = bundled.is_held_out if data == BUNDLED else _hash_below(validation_fraction)
    read = _read(data, targets, part, labels, patch_size, max_pixels, memory_bytes, value_range, {})
    training, validation, note = _split(data, read.store, hold_out, validation_fraction)
    if shrink is not None:
        factors = downscaling.parse_shrink(shrink)
        options = dict(smallest_px=patch_size, memory_bytes=memory_bytes)
        training = downscaling.shrink(training, factors, **options)
        validation = downscaling.shrink(validation, factors, copies=1, **options)
    notes = (*read.notes, *note)
    return Source(training, validation, tuple(read.skipped), tuple(read.failures), notes)


def read_pictures(
    data: str,
    *,
    targets: str | None = None,
    part: str | None = None,
    labels: bool = False,
    max_pixels: int = MAX_PIXELS,
    value_range: str = "auto",
    known: Mapping[str, Levels] | None = None,
    memory_bytes: int | None = None,
) -> tuple[PictureStore, list[str], list[str]]:
    """Reads all pictures to measure on; nothing is split, and no size is too small.

    Args:
      data: As for `load_source`; "bundled" gives the photographs that training holds out.
      targets: As for `load_source`.
      part: As for `load_source`.
      labels: As for `load_source`.
      max_pixels: As for `load_source`.
      value_range: As for `load_source`.
      known: Levels of kinds of samples that "auto" takes: those that a model was trained with.
      memory_bytes: As for `load_source`.
    Returns:
      The pictures, at least one; "name: reason" of those left out; lines that the user should see.
    Raises:
      UserError: if nothing usable is there, or labels that were asked for do not fit.
    """
    read = _read(data, targets, part, labels, 1, max_pixels, memory_bytes, value_range, known or {})
    store = read.store
    if data == BUNDLED:
        store = store.select([store.names.index(name) for name in bundled.held_out()])
    return store, read.skipped, read.notes


@dataclasses.dataclass(frozen=True)
class _Read:
    """What was read: the store, and lines as in `Source`."""

    store: PictureStore
    skipped: list[str]
    failures: list[str]
    notes: list[str]


def _read(
    data: str,
    targets: str | None,
    part: str | None,
    labels: bool,
    patch_size: int,
    max_pixels: int,
    memory_bytes: int | None,
    value_range: str,
    known: Mapping[str, Levels],
) -> _Read:
    """Returns all usable pictures, "name: reason" of the others, and notes for the user."""
    budget_bytes = memory_budget() if memory_bytes is None else memory_bytes
    given = check_range(value_range)
    with arrays.without_pillow_limit():
        opened = _open(data, part, labels) if targets is None else _open_pairs(data, targets)
        opened.entries = _usable(opened, data, patch_size, max_pixels)
        values = check_range(opened.value_range) if given.kind == "auto" else given
        known = {**opened.known, **known}
        kinds = opened.kinds
        while True:
            try:
                store, unreadable, notes = _fill(opened, kinds, values, known, budget_bytes)
                break
            except levels.UnknownLevels as error:
                # A palette of 16 bits, or JPEG XL: only decoding tells.
                kinds = kinds | {error.kind}
    skipped = sorted(opened.skipped + unreadable)
    if not len(store):
        raise UserError(_nothing_readable(data, skipped))
    small = set(opened.small)
    failures = [line for line in skipped if line not in small]
    return _Read(store, skipped, failures, [*opened.notes, *notes])


def _fill(
    opened: Opened,
    kinds: set[str],
    values: ValueRange,
    known: Mapping[str, Levels],
    budget_bytes: int,
) -> tuple[PictureStore, list[str], list[str]]:
    """Reads the pictures of an opened source.

    Args:
      opened: The source, its entries usable.
      kinds: Of samples that there are.
      values: What was said of them.
      known: What is recorded of them.
      budget_bytes: Most memory for the pictures.
    Returns:
      The store, "name: reason" of what cannot be read, and notes.
    Raises:
      levels.UnknownLevels: of a kind that is not among `kinds`.
    """
    # Decoding takes several times the pixels: Pillow's picture, its conversion, an array.
    ahead_bytes, notes = budget_bytes // 8, []
    depth, surveyed, survey_notes = decide_depth(opened, kinds, values, known, ahead_bytes)
    if opened.said is not None:
        opened.said.clear()
    total = opened.total
    with StoreWriter(total, budget_bytes, opened.channels, depth) as writer:
        if writer.on_disk:
            size = size_text(total * depth.dtype.itemsize)
            notes.append(
                f"the pictures take {size} when decoded, more than half of the free memory: they"
                f" are read from a temporary file in {cache_folder()}"
            )
        unreadable = opened.read_into(writer, opened.entries, ahead_bytes)
        ranges, range_notes = levels.levels_after(
            writer.kinds, depth, values, known, surveyed, writer.highest
        )
        store = writer.finish(ranges)
    if opened.said is not None:
        notes += opened.said.lines()
    return store, unreadable, [*notes, *survey_notes, *range_notes]


def decide_depth(
    opened: Opened,
    kinds: set[str],
    values: ValueRange,
    known: Mapping[str, Levels],
    ahead_bytes: int,
) -> tuple[Depth, dict[str, Levels], list[str]]:
    """Decides how the values of a source are stored.

    Args:
      opened: The source; its pictures are read through where only they tell.
      kinds: Of samples that there are.
      values: What was said of them.
      known: What is recorded of them.
      ahead_bytes: Pixels that may be in decoding at once.
    Returns:
      What to store, the levels that the pictures told, and notes.
    Raises:
      UserError: if float values are no numbers.
      levels.UnknownLevels: as `_fill`.
    """
    wanted = levels.needs_survey(kinds, values, known)
    surveyed: dict[str, Levels] = {}
    notes: list[str] = []
    if wanted:
        survey = Survey(wanted, values, opened.total)
        opened.read_into(survey, opened.entries, ahead_bytes)
        try:
            surveyed, notes = survey.result()
        except levels.OutOfRange as error:
            raise UserError(f"the source {error}") from error
    return levels.levels_before(kinds, values, known, surveyed), surveyed, notes


# --- Opening.


def has_parts(data: str) -> bool:
    """Returns whether a source has a part to train on and one to test on.

    These are the sets of keras.datasets, folders with IDX files named train-* and t10k-*, arrays
    named so, as x_train and x_test in one .npz, and shards of these. Only headers are read.

    Raises:
      UserError: if it cannot be read.
    """
    if data.startswith(keras_datasets.PREFIX):
        return True
    if reader.is_sharded(data):
        return array_files.have_parts(reader.open_shards(data))
    return data != BUNDLED and array_files.have_parts(
        array_files.open_stacks(_list(data).stacks)[0]
    )


def open_source(data: str, labels: bool, max_pixels: int) -> Opened:
    """Reads the headers of a source, for `shards.pack`.

    Args:
      data: As for `load_source`.
      labels: As for `load_source`.
      max_pixels: As for `load_source`.
    Returns:
      The usable entries, at least one: `PictureFile`s, `Stack`s or `Run`s. Call it, and read them,
      within `arrays.without_pillow_limit` of `images`.
    Raises:
      UserError: if nothing usable is there, or labels that were asked for do not fit.
    """
    opened = _open(data, None, labels)
    return dataclasses.replace(opened, entries=_usable(opened, data, 1, max_pixels))


def _open(data: str, part: str | None, labels: bool) -> Opened:
    if data == BUNDLED:
        return _open_pictures(bundled.folder(), bundled.paths(), labels=False)
    if data.startswith(keras_datasets.PREFIX):
        return _open_stacks(keras_datasets.open_dataset(data), [], part, labels)
    if reader.is_sharded(data):
        index = reader.open_index(data, labels)
        said = Notes()
        return Opened(
            array_files.of_part(index.runs, part),
            lambda writer, runs, ahead: reader.read_into(writer, runs, ahead, said),
            [],
            known=index.levels,
            value_range=index.value_range,
            said=said,
        )
    listed = _list(data)
    if listed.stacks:
        opened = _open_stacks(*array_files.open_stacks(listed.stacks), part, labels)
    else:
        opened = _open_pictures(pathlib.Path(data), listed.pictures, labels)
    opened.skipped += listed.unread
    opened.notes[:0] = listed.notes
    return opened


@dataclasses.dataclass
class _Listed:
    """What a file or a folder consists of: stacks or pictures, never both; and lines about it."""

    stacks: list[pathlib.Path] = dataclasses.field(default_factory=list)
    pictures: Sequence[pathlib.Path] = ()
    unread: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def _list(data: str) -> _Listed:
    path = pathlib.Path(data)
    try:
        is_file = path.is_file()
    except OSError as error:  # A name that is too long, a folder that may not be entered.
        raise UserError(f"data {data!r} cannot be read: {reason(error)}") from error
    if is_file:
        if not array_files.is_stack(path):
            raise UserError(
                f"data {data!r} is a file: expected a folder of pictures, or a .npy, .npz or IDX"
                " file"
            )
        return _Listed([path])
    idx_paths = array_files.list_idx(path)
    found = formats.find_pictures(path, printable)
    array_paths = array_files.list_arrays(path)
    if idx_paths or (array_paths and not found.pictures):
        return _Listed(idx_paths or array_paths, notes=_beside_stacks(found))
    pictures = formats.require_pictures(found, path)
    return _Listed([], pictures, found.unread, [note] if (note := found.note()) else [])


def _beside_stacks(found: formats.Found) -> list[str]:
    """Returns notes about what lies in a folder of which the stacks are taken."""
    count = len(found.pictures) + len(found.unread)
    if not count:
        return []
    first = printable(found.pictures[0].name) if found.pictures else found.unread[0]
    return [f"{count} other files beside the stacks, such as {first}: left alone"]


def _open_stacks(
    found: list[array_files.Stack], skipped: list[str], part: str | None, labels: bool
) -> Opened:
    found = array_files.of_part(found, part)
    return Opened(
        array_files.with_labels(found) if labels else found, array_files.read_into, skipped
    )


def _open_pictures(folder: pathlib.Path, paths: Sequence[pathlib.Path], labels: bool) -> Opened:
    entries, skipped, notes = folders.scan(folder, paths)
    numbers = of_subfolders(folder, paths) if labels else None
    if numbers:
        entries = [dataclasses.replace(file, label=numbers[file.path]) for file in entries]
    said = Notes()
    return Opened(entries, _reads_files(said), skipped, notes=notes, said=said)


def _open_pairs(inputs: str, targets: str) -> Opened:
    for data in (inputs, targets):
        if reader.is_sharded(data):
            raise UserError(f"{data!r} holds shards: expected two folders of picture files")
    found, said = pairs.scan(pathlib.Path(inputs), pathlib.Path(targets)), Notes()
    return Opened(
        found.pairs, _reads_files(said), found.skipped, 2 * CHANNELS, found.notes, said=said
    )


def _reads_files(said: Notes) -> Callable[[StoreWriter | Survey, list, int], list[str]]:
    return lambda writer, files, ahead: folders.read_into(writer, files, ahead, said)


def _usable(opened: Opened, data: str, patch_size: int, max_pixels: int) -> list:
    """Returns the entries of a usable size; the others go to `opened.skipped`."""
    usable, largest = [], 0
    for entry in opened.entries:
        size = f"{entry.name}: {entry.width}x{entry.height}"
        if entry.height * entry.width > max_pixels:
            opened.skipped.append(f"{size} is more than max_pixels={max_pixels}")
            continue
        largest = max(largest, min(entry.height, entry.width))
        if min(entry.height, entry.width) < patch_size:
            opened.small.append(f"{size} is smaller than patch_size={patch_size}")
            opened.skipped.append(opened.small[-1])
        else:
            usable.append(entry)
    if not usable and largest:
        raise UserError(
            f"patch_size={patch_size} is larger than every picture in {data!r}:"
            f" expected at most {largest}, the shorter side of the largest one"
        )
    if not usable:
        raise UserError(_nothing_readable(data, sorted(opened.skipped)))
    return usable


def _nothing_readable(data: str, skipped: list[str]) -> str:
    if not skipped:
        return f"{data!r} holds no usable picture"
    return f"none of the {len(skipped)} pictures in {data!r} can be read: {skipped[0]}"


# --- Splitting.


def _split(
    data: str, store: PictureStore, hold_out: Callable[[str, bytes], bool], share: float
) -> tuple[PictureStore, PictureStore, list[str]]:
    """Returns the training pictures, the validation pictures and notes for the user."""
    # A pair counts by its target's hash: two inputs of one target are on one side.
    own = [digest[:32] for digest in store.digests]
    if len(set(own)) < 2:
        raise UserError(
            f"{data!r} holds {len(store)} usable picture(s), all the same: expected at least 2"
            " different ones, so that one can be held out to measure on"
        )
    digests = _with_their_files(own, store.groups)
    if len(set(digests)) < 2:
        held, notes = _hold_out_last(store, own, share)
    else:
        held = [hold_out(name, digest) for name, digest in zip(store.names, digests)]
        notes = []
    held, moved = _fill_sides(store.names, digests, held, share)
    notes += moved
    sides = ([], [])
    for index, flag in enumerate(held):
        sides[flag].append(index)
    return store.select(sides[False]), store.select(sides[True]), notes


def hold_out(
    names: Sequence[str], digests: Sequence[bytes], share: float
) -> tuple[list[bool], list[str]]:
    """Decides which of some films are held out, as of pictures: by their content alone.

    Args:
      names: For notes.
      digests: Of their content; equal ones are on one side. At least two are different.
      share: Expected share that is held out, in (0, 1).
    Returns:
      Whether each is held out, at least one and not all; and notes.
    """
    held_out = _hash_below(share)
    held = [held_out(name, digest) for name, digest in zip(names, digests)]
    return _fill_sides(names, digests, held, share)


def _fill_sides(
    names: Sequence[str], digests: Sequence[bytes], held: list[bool], share: float
) -> tuple[list[bool], list[str]]:
    """Fills a side that chance has left empty; returns who is held out, and notes."""
    if any(held) and not all(held):
        return held, []
    # Too few for chance. The lowest hashes are held out, as `_hash_below` holds them out: of all
    # rules for so few, this one moves the fewest pictures when some are added.
    order = sorted(set(digests))
    count = _count_held(len(order), share) if all(held) else 1
    last = order[count - 1]
    moved = [flag ^ (digest <= last) for flag, digest in zip(held, digests)]
    side = "training" if all(held) else "validation"
    first = names[moved.index(True)]
    more = f" and {sum(moved) - 1} more were" if sum(moved) > 1 else " was"
    note = f"few pictures: {first}{more} put on the {side} side, which was empty"
    return [digest <= last for digest in digests], [note]


def _with_their_files(digests: list[bytes], groups: Sequence[str | None]) -> list[bytes]:
    """Returns for each picture what decides on its side: the same for all that must be on one.

    Pages of one file look alike, so they stand together, and with the copies of each of them.
    """
    if not groups:
        return digests
    parents: dict[bytes, bytes] = {}

    def root(digest: bytes) -> bytes:
        while parents.setdefault(digest, digest) != digest:
            parents[digest] = parents[parents[digest]]
            digest = parents[digest]
        return digest

    first: dict[str, bytes] = {}
    for digest, group in zip(digests, groups):
        if group is not None:
            parents[root(digest)] = root(first.setdefault(group, digest))
    members: dict[bytes, set[bytes]] = {}
    for digest in digests:
        members.setdefault(root(digest), set()).add(digest)
    # Hashed, not the lowest of them: of many numbers the lowest is low, and would be held out.
    together = {
        key: key if len(some) == 1 else hashlib.sha256(b"".join(sorted(some))).digest()
        for key, some in members.items()
    }
    return [together[root(digest)] for digest in digests]


def _hold_out_last(
    store: PictureStore, digests: list[bytes], share: float
) -> tuple[list[bool], list[str]]:
    """Holds out the last pages of the only file that there is: better than none, and said."""
    order = list(dict.fromkeys(digests))
    last = set(order[-_count_held(len(order), share) :])
    held = [digest in last for digest in digests]
    return held, [
        f"all pictures are pages of one file: its last {sum(held)} are held out, and may look like"
        " the ones before them, so the scores flatter"
    ]


def _count_held(count: int, share: float) -> int:
    """Returns how many of some pictures are held out where chance does not decide: 1 or more."""
    return min(max(1, round(share * count)), count - 1)


def _hash_below(fraction: float) -> Callable[[str, bytes], bool]:
    """Holds a picture out by its content alone, so that adding files never moves another one."""
    return lambda _, digest: int.from_bytes(digest[:8], "big") < fraction * 2**64
