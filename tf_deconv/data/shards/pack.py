"""`shard`: the pictures of any source into TFRecord shards.

source -> sources: open (headers) -> here: PNG and JPEG files as they are, all else as PNG (of 16
bits where there are more than 8); decoded once, on all cores, for the content hash -> writer:
records, in the source's order, and index.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import io
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_deconv.data import arrays as array_files
from tf_deconv.data import folders, levels, sources
from tf_deconv.data.config import ShardConfig, check_range, check_shard_config
from tf_deconv.data.folders import Notes, Pages
from tf_deconv.data.levels import Depth, OutOfRange
from tf_deconv.data.shards import reader
from tf_deconv.data.shards.writer import ShardWriter, make_record
from tf_deconv.data.store import content_hash, memory_budget, size_text
from tf_deconv.images import arrays, picture_file, png, reading
from tf_deconv.images.arrays import CHANNELS, is_grey
from tf_deconv.utils import files, remote
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar

DEFAULT_SHARD_MB = 64
# Files of these formats stay as they are where they hold one picture: TensorFlow decodes them too.
KEPT_FORMATS = {"PNG": "png", "JPEG": "jpeg"}
# Most pictures that wait for one before them.
_AHEAD_PICTURES = 256


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """What became of the pictures.

    Attributes:
      folder: Where the shards are; may be a URL.
      shards: The shards.
      failures: "name: reason" of each picture that was left out.
    """

    folder: str
    shards: tuple[reader.Shard, ...]
    failures: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """A picture, ready for a record.

    Attributes:
      content: The bytes of its file.
      file_format: A value of `KEPT_FORMATS`.
      size: Height and width, in pixels.
      digest: Its `content_hash`.
      bits: Of its samples.
      sample_type: What they were before they became 16 bits, or None.
      notes: What was left out.
    """

    content: bytes
    file_format: str
    size: tuple[int, int]
    digest: bytes
    bits: int = 8
    sample_type: str | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Item:
    """A picture that waits to be encoded.

    Attributes:
      name: Of the picture.
      part: The part of its source.
      label: The number of its class, or None.
      size_bytes: Of its pixels.
      group: The file that it is a page of, or None.
      encode: Does it, given what opens files and how values are stored; raises OSError, ValueError
        or MemoryError if it cannot be read.
    """

    name: str
    part: str | None
    label: int | None
    size_bytes: int
    group: str | None
    encode: Callable[[Pages, Depth], _Encoded]


def shard(config: ShardConfig, report: Callable[[str], None] = print) -> ShardResult:
    """Packs pictures into shards: all that can be read, or nothing at all.

    Args:
      config: All options.
      report: Receives lines for the user.
    Returns:
      What was written, and which pictures could not be read.
    Raises:
      UserError: if there is no picture, or no place to write.
    """
    config = check_shard_config(config)
    choose_device("cpu", "float32")
    values, said = check_range(config.range), Notes()
    with arrays.without_pillow_limit():
        opened = sources.open_source(config.data, not config.no_labels, config.max_pixels)
        labels = _have_labels(opened.entries)
        # Of JPEG XL the head does not tell that it is float.
        kinds = opened.kinds | {levels.FLOATS}
        depth, surveyed, notes = sources.decide_depth(
            opened, kinds, values, opened.known, memory_budget() // 8
        )
        with _target(config.out) as folder, ShardWriter(folder, labels) as writer:
            unread, converted = _write(writer, opened.entries, config, depth, said)
            failures = sorted(opened.skipped + unread)
            if not writer.shard_bytes and not writer.shards:
                raise UserError(
                    f"none of the {len(failures)} pictures in {config.data!r} can be read:"
                    f" {failures[0]}"
                )
            writer.finish(_facts(config, opened, depth, converted))
    result = ShardResult(config.out, tuple(writer.shards), tuple(failures))
    told = {kind: depth.converted[kind] for kind in converted if kind not in surveyed}
    notes = [*opened.notes, *said.lines(), *notes]
    notes += [f"{line}, and kept in 16 bits" for line in levels.words(told)]
    for line in (*(f"note: {note}" for note in notes), *_lines(result, labels)):
        report(line)
    return result


def _facts(
    config: ShardConfig, opened: sources.Opened, depth: Depth, converted: set[str]
) -> dict[str, Any]:
    """Returns what the index tells of values."""
    facts: dict[str, Any] = {}
    if converted:
        facts["levels"] = levels.recorded({kind: depth.converted[kind] for kind in converted})
    said = opened.value_range if config.range == "auto" else config.range
    if said != "auto":
        facts["range"] = said
    return facts


@contextlib.contextmanager
def _target(out: str) -> Iterator[str]:
    """Yields the folder to write; a local one gets its name at the end, if the block succeeds."""
    if not remote.is_url(out):
        with files.making_folder(pathlib.Path(out)) as staging:
            yield str(staging)
        return
    gfile = remote.tensorflow_for(out).io.gfile
    with remote.one_line(out, "choose another place with --out"):
        if gfile.exists(out) and (not gfile.isdir(out) or gfile.listdir(out)):
            raise UserError(f"folder {out!r} is not empty: expected a new one")
        gfile.makedirs(out)
    # Not renamed: remote storage would copy. The index comes last, and without it nobody reads.
    yield out


def _write(
    writer: ShardWriter, entries: list, config: ShardConfig, depth: Depth, said: Notes
) -> tuple[list[str], set[str]]:
    """Writes all shards.

    Returns:
      "name: reason" of the pictures that cannot be read, and the kinds that became 16 bits.
    """
    shard_bytes = (config.shard_mb or DEFAULT_SHARD_MB) * 1_000_000
    totals, taken = collections.Counter(), collections.Counter()
    for entry in entries:
        totals[_part(entry)] += entry.count
    if config.shards is not None and config.shards > min(totals.values()):
        raise UserError(
            f"shards={config.shards}: expected at most {min(totals.values())}, the number of"
            " pictures"
        )
    skipped, bar, numbers = [], Bar(), {}
    converted: set[str] = set()
    for item, encoded in _encode_all(entries, depth):
        place = taken[item.part]
        taken[item.part] += 1
        bar.draw("shard", taken.total() / totals.total(), item.name)
        if isinstance(encoded, str):
            skipped.append(f"{item.name}: {encoded}")
            continue
        record = make_record(
            encoded.content,
            encoded.file_format,
            encoded.size,
            item.name,
            item.label,
            encoded.digest,
            group=item.group,
            sample_type=encoded.sample_type,
        )
        said.add(item.name, encoded.notes)
        if encoded.sample_type is not None:
            converted.add(encoded.sample_type)
        if config.shards is not None:
            number = place * config.shards // totals[item.part]
            full = number != numbers.get(item.part, number)
            numbers[item.part] = number
        else:
            full = writer.shard_bytes and writer.shard_bytes + len(record) > shard_bytes
        if full:
            writer.end_shard()
        writer.add(record, encoded.size, item.part, encoded.bits)
    bar.clear()
    return skipped, converted


# --- Encoding.


def _encode_all(entries: list, depth: Depth) -> Iterator[tuple[_Item, _Encoded | str]]:
    """Encodes on all cores, in order; of a picture that cannot be read it yields the reason."""
    ahead_bytes = memory_budget() // 8
    waiting: collections.deque = collections.deque()
    waiting_bytes = 0
    with picture_file.quiet(), Pages() as pages:
        pool = concurrent.futures.ThreadPoolExecutor(folders.thread_count(entries))
        try:
            for item in _items(entries):
                while len(waiting) == _AHEAD_PICTURES or (
                    waiting and waiting_bytes + item.size_bytes > ahead_bytes
                ):
                    first, future = waiting.popleft()
                    waiting_bytes -= first.size_bytes
                    yield first, future.result()
                waiting.append((item, pool.submit(_encode, item, pages, depth)))
                waiting_bytes += item.size_bytes
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(item: _Item, pages: Pages, depth: Depth) -> _Encoded | str:
    try:
        return item.encode(pages, depth)
    except OutOfRange as error:
        raise UserError(f"picture {item.name!r} {error}") from error
    except (OSError, ValueError, MemoryError) as error:
        return reason(error)


def _items(entries: list) -> Iterator[_Item]:
    for kind, group in itertools.groupby(entries, type):
        yield from _READERS[kind](group)


def _items_of_files(found: Iterator[folders.PictureFile]) -> Iterator[_Item]:
    for file in found:
        encode = functools.partial(_encode_file, file)
        size_bytes = file.height * file.width * CHANNELS * file.dtype.itemsize
        # The file's name, as the pictures' are: the shards may go anywhere.
        group = file.name.removesuffix(f"[{file.page}]") if file.pages > 1 else None
        yield _Item(file.name, None, file.label, size_bytes, group, encode)


def _items_of_stacks(found: Iterator[array_files.Stack]) -> Iterator[_Item]:
    for stack in found:
        numbers = itertools.repeat(None) if stack.labels is None else stack.labels.tolist()
        for index, (pixels, label) in enumerate(zip(stack.read(), numbers)):
            encode = functools.partial(_encode_array, pixels)
            name = f"{stack.name}[{index}]"
            yield _Item(name, stack.part, label, pixels.nbytes, None, encode)


def _items_of_shards(found: Iterator[reader.Run]) -> Iterator[_Item]:
    for record in reader.read_records(found):
        encode = functools.partial(_encode_record, record)
        size_bytes = record.height * record.width * CHANNELS * record.dtype.itemsize
        yield _Item(record.name, record.part, record.label, size_bytes, record.group, encode)


_READERS = {
    folders.PictureFile: _items_of_files,
    array_files.Stack: _items_of_stacks,
    reader.Run: _items_of_shards,
}


def _encode_file(file: folders.PictureFile, pages: Pages, depth: Depth) -> _Encoded:
    notes: list[str] = []
    if file.pages > 1 or file.format not in KEPT_FORMATS:
        (pixels,) = file.read(pages, notes)
        return _encode_pixels(pixels, depth, tuple(notes))
    content = file.path.read_bytes()
    pixels = file.read_content(content, notes)
    bits, digest = 8 * pixels.dtype.itemsize, content_hash(pixels)
    how = (KEPT_FORMATS[file.format], pixels.shape[:2], digest, bits)
    return _Encoded(content, *how, notes=tuple(notes))


def _encode_record(record: reader.Record, *_: object) -> _Encoded:
    (pixels,) = record.read()
    file_format = KEPT_FORMATS[reading.read_header(record.encoded).format]
    bits = 8 if pixels.dtype == np.uint8 else 16
    size, digest = pixels.shape[:2], record.digest(pixels)
    return _Encoded(record.encoded, file_format, size, digest, bits, record.sample_type)


def _encode_array(pixels: np.ndarray, _: Pages, depth: Depth) -> _Encoded:
    return _encode_pixels(pixels, depth)


def _encode_pixels(pixels: np.ndarray, depth: Depth, notes: tuple[str, ...] = ()) -> _Encoded:
    """Encodes (H, W, 3) of any type as PNG: of 8 bits, or of 16 where it has more."""
    kind, digest = levels.kind_of(pixels.dtype), content_hash(pixels)
    # 8 bits stay 8 among pictures of 16, and what is black and white of 16 is decided later.
    samples = pixels if kind in (levels.BYTES, levels.WORDS) else depth.stored(pixels)
    if is_grey(samples):
        samples = samples[..., :1]
    if samples.dtype == np.uint8:
        content = arrays.encode_png(samples)
    else:
        stream = io.BytesIO()
        png.write(stream, samples, [])
        content = stream.getvalue()
    sample_type = kind if kind in depth.converted else None
    bits = 8 * samples.dtype.itemsize
    size = pixels.shape[:2]
    return _Encoded(content, KEPT_FORMATS["PNG"], size, digest, bits, sample_type, notes)


# --- What is known of a source.


def _part(entry: folders.PictureFile | array_files.Stack | reader.Run) -> str | None:
    return getattr(entry, "part", None)


def _have_labels(entries: list) -> bool:
    """Returns whether pictures have labels; all of a source have, or none."""
    entry = entries[0]
    if isinstance(entry, reader.Run):
        return entry.labelled
    return (entry.labels if isinstance(entry, array_files.Stack) else entry.label) is not None


def _lines(result: ShardResult, labels: bool) -> list[str]:
    lines = []
    if result.failures:
        lines.append(f"{len(result.failures)} pictures were left out:")
        lines += [f"  {failure}" for failure in result.failures]
    count = sum(shard.count for shard in result.shards)
    size = size_text(sum(shard.bytes for shard in result.shards))
    parts = dict.fromkeys(shard.part for shard in result.shards if shard.part)
    details = ["with labels" if labels else "without labels", *parts]
    files_word = "1 shard" if len(result.shards) == 1 else f"{len(result.shards)} shards"
    lines.append(
        f"{count} pictures ({', '.join(details)}) in {files_word}, {size}: {result.folder}"
    )
    return lines
