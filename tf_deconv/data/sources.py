"""Where pictures come from, and which of them are held out.

Every kind of source is first opened (headers only: how many, how large), then read picture by
picture into one `PictureStore`, and then split by content. See docs/decisions/0003-data.md.
`shards.pack` opens sources too, and packs the pictures instead.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from tf_deconv.data import arrays as array_files
from tf_deconv.data import downscaling, folders, keras_datasets, pairs
from tf_deconv.data.config import BUNDLED
from tf_deconv.data.labels import of_subfolders
from tf_deconv.data.shards import reader
from tf_deconv.data.store import PictureStore, StoreWriter, cache_folder, memory_budget, size_text
from tf_deconv.images import arrays
from tf_deconv.images.arrays import CHANNELS
from tf_deconv.utils.options import UserError, reason

# Photographs in scikit-image's wheel whose licence is stated free (docstrings of skimage.data):
# astronaut, Hubble (NASA) and rocket (SpaceX) are in the public domain, the others CC0. The last
# two are held out whole.
BUNDLED_TRAINING = ("astronaut.png", "camera.png", "hubble_deep_field.jpg", "rocket.jpg")
BUNDLED_VALIDATION = ("chelsea.png", "coffee.png")
# The largest picture that is decoded: 0.8 GB. A file of a few kilobytes can claim any size.
MAX_PIXELS = 2**28


@dataclasses.dataclass(frozen=True)
class Source:
    """A source read and split.

    Attributes:
      training: Pictures to train on.
      validation: Pictures held out; none of them shares its content with `training`.
      skipped: "name: reason" of every file that could not be used.
      notes: Lines that the user should see.
    """

    training: PictureStore
    validation: PictureStore
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass
class Opened:
    """A source whose headers were read.

    Attributes:
      entries: What it holds; each has a name, a count, a height and a width.
      read_into: Takes a writer for some of the entries and the bytes that may be in decoding at
        once; returns lines as in `skipped`.
      skipped: As in `Source`.
      channels: Of every picture; 6 for pairs.
    """

    entries: list
    read_into: Callable[[StoreWriter, list, int], list[str]]
    skipped: list[str]
    channels: int = CHANNELS


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
      memory_bytes: Pictures that take more than this when decoded are kept in a file, from which
        training reads; half of the available memory when None.
    Returns:
      The source; both parts hold at least one picture.
    Raises:
      UserError: if nothing usable is there, or labels that were asked for do not fit.
    """
    hold_out = _is_bundled_validation if data == BUNDLED else _hash_below(validation_fraction)
    limits = (patch_size, max_pixels, memory_bytes)
    store, skipped, notes = _read(data, targets, part, labels, *limits)
    training, validation, note = _split(data, store, hold_out)
    if shrink is not None:
        factors = downscaling.parse_shrink(shrink)
        options = dict(smallest_px=patch_size, memory_bytes=memory_bytes)
        training = downscaling.shrink(training, factors, **options)
        validation = downscaling.shrink(validation, factors, copies=1, **options)
    return Source(training, validation, tuple(skipped), (*notes, *note))


def read_pictures(
    data: str,
    *,
    targets: str | None = None,
    part: str | None = None,
    labels: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory_bytes: int | None = None,
) -> tuple[PictureStore, list[str], list[str]]:
    """Reads all pictures to measure on; nothing is split, and no size is too small.

    Args:
      data: As for `load_source`; "bundled" gives the two photographs that training holds out.
      targets: As for `load_source`.
      part: As for `load_source`.
      labels: As for `load_source`.
      max_pixels: As for `load_source`.
      memory_bytes: As for `load_source`.
    Returns:
      The pictures, at least one; "name: reason" of those left out; lines that the user should see.
    Raises:
      UserError: if nothing usable is there, or labels that were asked for do not fit.
    """
    store, skipped, notes = _read(data, targets, part, labels, 1, max_pixels, memory_bytes)
    if data == BUNDLED:
        store = store.select([store.names.index(name) for name in BUNDLED_VALIDATION])
    return store, skipped, notes


def _read(
    data: str,
    targets: str | None,
    part: str | None,
    labels: bool,
    patch_size: int,
    max_pixels: int,
    memory_bytes: int | None,
) -> tuple[PictureStore, list[str], list[str]]:
    """Returns all usable pictures, "name: reason" of the others, and notes for the user."""
    budget_bytes = memory_budget() if memory_bytes is None else memory_bytes
    notes = []
    with arrays.without_pillow_limit():
        opened = _open(data, part, labels) if targets is None else _open_pairs(data, targets)
        entries = _usable(opened, data, patch_size, max_pixels)
        total_bytes = sum(e.count * e.height * e.width * opened.channels for e in entries)
        with StoreWriter(total_bytes, budget_bytes, opened.channels) as writer:
            if writer.on_disk:
                notes.append(
                    f"the pictures take {size_text(total_bytes)} when decoded, more than half of"
                    f" the free memory: they are read from a temporary file in {cache_folder()}"
                )
            # Decoding takes several times the pixels: Pillow's picture, its conversion, an array.
            unreadable = opened.read_into(writer, entries, budget_bytes // 8)
            store = writer.finish()
    skipped = sorted(opened.skipped + unreadable)
    if not len(store):
        raise UserError(_nothing_readable(data, skipped))
    return store, skipped, notes


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
    return data != BUNDLED and array_files.have_parts(array_files.open_stacks(_list(data)[0])[0])


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
        folder = bundled_folder()
        names = (*BUNDLED_TRAINING, *BUNDLED_VALIDATION)
        return _open_pictures(folder, [folder / name for name in names], labels=False)
    if data.startswith(keras_datasets.PREFIX):
        return _open_stacks(keras_datasets.open_dataset(data), [], part, labels)
    if reader.is_sharded(data):
        runs = array_files.of_part(reader.open_shards(data, labels), part)
        return Opened(runs, reader.read_into, [])
    stack_paths, picture_paths = _list(data)
    if stack_paths:
        return _open_stacks(*array_files.open_stacks(stack_paths), part, labels)
    return _open_pictures(pathlib.Path(data), picture_paths, labels)


def _list(data: str) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Returns the stacks or the pictures that a file or a folder consists of; never both."""
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
        return [path], []
    idx_paths = array_files.list_idx(path)
    if idx_paths:
        return idx_paths, []
    try:
        return [], arrays.list_pictures(path)
    except UserError:
        array_paths = array_files.list_arrays(path)
        if not array_paths:
            raise
        return array_paths, []


def _open_stacks(
    found: list[array_files.Stack], skipped: list[str], part: str | None, labels: bool
) -> Opened:
    found = array_files.of_part(found, part)
    return Opened(
        array_files.with_labels(found) if labels else found, array_files.read_into, skipped
    )


def _open_pictures(folder: pathlib.Path, paths: list[pathlib.Path], labels: bool) -> Opened:
    entries, skipped = folders.scan(folder, paths)
    numbers = of_subfolders(folder, paths) if labels else None
    if numbers:
        entries = [dataclasses.replace(file, label=numbers[file.path]) for file in entries]
    return Opened(entries, folders.read_into, skipped)


def _open_pairs(inputs: str, targets: str) -> Opened:
    for data in (inputs, targets):
        if reader.is_sharded(data):
            raise UserError(f"{data!r} holds shards: expected two folders of picture files")
    found, skipped = pairs.scan(pathlib.Path(inputs), pathlib.Path(targets))
    return Opened(found, folders.read_into, skipped, 2 * CHANNELS)


def bundled_folder() -> pathlib.Path:
    """Returns the folder of scikit-image's pictures."""
    import skimage

    return pathlib.Path(skimage.__file__).parent / "data"


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
            opened.skipped.append(f"{size} is smaller than patch_size={patch_size}")
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
    return f"none of the {len(skipped)} pictures in {data!r} can be read: {skipped[0]}"


# --- Splitting.


def _split(
    data: str, store: PictureStore, hold_out: Callable[[str, bytes], bool]
) -> tuple[PictureStore, PictureStore, list[str]]:
    """Returns the training pictures, the validation pictures and notes for the user."""
    # A pair counts by its target's hash: two inputs of one target are on one side.
    digests = [digest[:32] for digest in store.digests]
    held = [hold_out(name, digest) for name, digest in zip(store.names, digests)]
    notes = []
    if len(set(digests)) < 2:
        raise UserError(
            f"{data!r} holds {len(store)} usable picture(s), all the same: expected at least 2"
            " different ones, so that one can be held out to measure on"
        )
    if not any(held) or all(held):
        # Too few for chance. The lowest (or highest) hash goes to the empty side: of all rules
        # that never leave a side empty, this one moves the fewest pictures when some are added.
        chosen = min(digests) if not any(held) else max(digests)
        held = [flag ^ (digest == chosen) for flag, digest in zip(held, digests)]
        index = digests.index(chosen)
        side = "validation" if held[index] else "training"
        notes.append(
            f"few pictures: {store.names[index]} was put on the {side} side, which was empty"
        )
    sides = ([], [])
    for index, flag in enumerate(held):
        sides[flag].append(index)
    return store.select(sides[False]), store.select(sides[True]), notes


def _hash_below(fraction: float) -> Callable[[str, bytes], bool]:
    """Holds a picture out by its content alone, so that adding files never moves another one."""
    return lambda _, digest: int.from_bytes(digest[:8], "big") < fraction * 2**64


def _is_bundled_validation(name: str, _: bytes) -> bool:
    return name in BUNDLED_VALIDATION
