"""`edit`: pictures that exist through a generator: reconstructed, interpolated, filled anew.

A picture is a file, or FILE:3,7 for pictures of a stack (.npy, .npz, IDX), whose labels are read
with it. Each is cut and resized to the generator's size where it has another, and a note says so.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tf_deconv.data import arrays as array_files
from tf_deconv.generation import animation, editing
from tf_deconv.generation.animation import Animation
from tf_deconv.generation.config import EditConfig, check_edit_config, check_generator_options
from tf_deconv.generation.generator import Generator
from tf_deconv.generation.opening import open_generator
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays, formats, metrics, reading, sheets
from tf_deconv.images.arrays import is_grey, printable
from tf_deconv.images.sheets import there_and_back
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import Bar

GRID_FILE, GIF_FILE = "grid.png", "interpolation.gif"
# What a sheet shows in place of the pixels that are made anew.
_HOLE_GREY = 0.5
_COLUMNS = 9


@dataclasses.dataclass(frozen=True)
class EditResult:
    """What was made.

    Attributes:
      pictures: (N, H, W, C) float32 in [0, 1]: the originals, as the generator takes them.
      edited: (N, H, W, C) of reconstruct, (frames, H, W, C) of interpolate, (N, variants, H, W, C)
        of inpaint.
      files: What was written.
    """

    pictures: np.ndarray
    edited: np.ndarray
    files: tuple[pathlib.Path, ...]


@dataclasses.dataclass(frozen=True)
class _Work:
    """What an action works on: names (N), pictures (N, H, W, C), labels (N,) or None."""

    config: EditConfig
    generator: Generator
    names: list[str]
    pictures: np.ndarray
    labels: np.ndarray | None
    hole: np.ndarray | None
    report: Callable[[str], None]

    @property
    def how(self) -> dict[str, float]:
        return {"steps": self.config.steps, "guidance": self.config.guidance}


# What was made, and the files that hold it: names to bytes.
_Made = tuple[np.ndarray, dict[str, bytes]]


def edit(
    config: EditConfig, pictures: Sequence[str], report: Callable[[str], None] = print
) -> EditResult:
    """Edits pictures.

    Args:
      config: All options.
      pictures: Picture files, and FILE:INDEX[,INDEX...] of stacks.
      report: Receives lines for the user.
    Returns:
      What was made.
    Raises:
      UserError: if the model, an option or a picture does not fit, or --out cannot be written.
    """
    sources = [_locate(argument) for argument in pictures]
    config = check_edit_config(config, sum(len(indices or (0,)) for _, indices in sources))
    if config.model is None:
        raise UserError("model=None: expected a run, a .keras file or an export of a generator")
    film = animation.find(config)
    choose_device("auto", "float32")
    generator = open_generator(config.model, trust=config.trust)
    facts = generator.facts
    editing.check_action(generator, config.action)
    check_generator_options(config, facts.kind, facts.classes)
    hole = read_mask(config.mask, facts.height, facts.width) if config.mask else None
    labelled = facts.classes > 0 and config.label is None
    read = [picture for source in sources for picture in _read(*source, labelled)]
    labels, notes = _labels(config, facts, [label for _, _, label in read])
    names = _distinct([name for name, _, _ in read])
    fitted = []
    for name, pixels, _ in read:
        picture, own_notes = fit(pixels, facts)
        fitted.append(picture)
        notes += [f"{printable(name)}: {note}" for note in own_notes]
    files.make_folder(pathlib.Path(config.out) if film is None else film.path.parent)
    report(f"model: {config.model}; action: {config.action}")
    for note in notes:
        report(f"note: {note}")

    work = _Work(config, generator, names, np.stack(fitted), labels, hole, report)
    inputs = [path for path, _ in sources]
    if film is not None:
        _check_inputs([film.path], inputs)
        return EditResult(work.pictures, _film(work, film), (film.path,))
    edited, contents = _ACTIONS[config.action](work)
    folder = pathlib.Path(config.out)
    written = tuple(folder / name for name in contents)
    _check_inputs(written, inputs)
    for target, content in zip(written, contents.values()):
        files.write_bytes(target, content)
    shown = list(contents) if len(contents) <= 3 else [f"{len(contents) - 1} pictures", GRID_FILE]
    report(f"written to {folder}: {printable(', '.join(shown))}")
    return EditResult(work.pictures, edited, written)


def _check_inputs(targets: Sequence[pathlib.Path], inputs: Sequence[pathlib.Path]) -> None:
    """Refuses to write over what was read."""
    for target in targets:
        if target.exists() and any(os.path.samefile(target, path) for path in inputs):
            raise UserError(
                f"{str(target)!r} would be written over, and is an input: choose another --out"
            )


# --- Actions.


def _reconstruct(work: _Work) -> _Made:
    edited = editing.reconstruct(work.generator, work.pictures, work.labels, **work.how)
    contents = {}
    for number, (name, before, after) in enumerate(zip(work.names, work.pictures, edited), start=1):
        head = f"[{number}/{len(edited)}] {printable(name)}"
        work.report(f"{head}  {_psnr(after, before)}")
        contents[f"{name}-reconstructed.png"] = arrays.encode_png(after)
    # Rows in pairs, the originals above.
    columns, rows = min(len(edited), _COLUMNS), []
    for start in range(0, len(edited), columns):
        for side in (work.pictures, edited):
            row = side[start : start + columns]
            missing = ((0, columns - len(row)), (0, 0), (0, 0), (0, 0))
            rows.append(np.pad(row, missing, constant_values=1.0))
    contents[GRID_FILE] = arrays.encode_png(sheets.grid(np.concatenate(rows), columns))
    return edited, contents


def _way(work: _Work) -> np.ndarray:
    """Makes the pictures from one to the other, and tells how near the ends are."""
    frames = editing.interpolate(
        work.generator, work.pictures, work.labels, frames=work.config.frames, **work.how
    )
    for name, before, after in zip(work.names, work.pictures, frames[[0, -1]]):
        work.report(f"{printable(name)}: its end of the way has {_psnr(after, before)}")
    return frames


def _interpolate(work: _Work) -> _Made:
    config, frames = work.config, _way(work)
    # The pictures themselves stand before the first frame and behind the last one.
    shown = np.concatenate([work.pictures[:1], frames, work.pictures[1:]])
    moving = _moving(config, frames, animation.gif_scale(*frames.shape[1:3]))
    contents = {
        GRID_FILE: arrays.encode_png(sheets.grid(shown, min(len(shown), _COLUMNS))),
        GIF_FILE: animation.encode_gif(moving, config.frame_rate, config.one_way),
    }
    return frames, contents


def _film(work: _Work, film: Animation) -> np.ndarray:
    """Writes an interpolation as the film that --out names; returns its frames."""
    frames = _way(work)
    scale = film.scale_of(*frames.shape[1:3])
    film.write(_moving(work.config, frames, scale), work.config.one_way, work.report)
    return frames


def _moving(config: EditConfig, frames: np.ndarray, scale: int) -> list[np.ndarray]:
    """Returns the frames of a film or GIF, (H, W, C) uint8 each."""
    large = animation.enlarged(frames, scale)
    return large if config.one_way else there_and_back(large)


def _inpaint(work: _Work) -> _Made:
    config, bar, made, contents, sheet = work.config, Bar(), [], {}, []
    for number, (name, picture) in enumerate(zip(work.names, work.pictures)):
        head = f"[{number + 1}/{len(work.names)}] {printable(name)}"
        bar.draw(head, number / len(work.names))
        variants = editing.inpaint(
            work.generator,
            picture,
            work.hole,
            None if work.labels is None else int(work.labels[number]),
            variants=config.variants,
            seed=config.seed,
            **work.how,
        )
        bar.clear()
        work.report(f"{head}  filled in {config.variants} ways")
        made.append(variants)
        masked = np.where(work.hole[..., np.newaxis], np.float32(_HOLE_GREY), picture)
        sheet += [picture, masked, *variants]
        for index, variant in enumerate(variants, start=1):
            contents[f"{name}-inpaint-{index}.png"] = arrays.encode_png(variant)
    contents[GRID_FILE] = arrays.encode_png(sheets.grid(np.stack(sheet), config.variants + 2))
    return np.stack(made), contents


_ACTIONS = {"reconstruct": _reconstruct, "interpolate": _interpolate, "inpaint": _inpaint}


def _psnr(image: np.ndarray, reference: np.ndarray) -> str:
    return f"PSNR {metrics.psnr_db(image, reference):.2f} dB"


# --- What goes in.


def read_mask(mask: str, height: int, width: int) -> np.ndarray:
    """Returns the hole that --mask tells of.

    Args:
      mask: One of `editing.MASKS`, or a picture file that is white where pixels are made anew;
        resized where it has another size.
      height: In pixels.
      width: In pixels.
    Returns:
      (height, width) bool.
    Raises:
      UserError: if there is no such picture, or nothing is made anew, or everything.
    """
    if mask in editing.MASKS:
        return editing.named_mask(mask, height, width)
    path = pathlib.Path(mask)
    if not path.is_file():
        raise UserError(
            f"mask={mask!r}: expected one of {', '.join(editing.MASKS)}, or a picture file that is"
            " white where pixels are to be made anew"
        )
    resized = Image.fromarray(_read_file(path)).resize((width, height), Image.Resampling.BOX)
    hole = arrays.luminance(arrays.to_float(np.asarray(resized)))[..., 0] >= 0.5
    if hole.all() or not hole.any():
        where = "everywhere, nothing is known" if hole.all() else "nowhere"
        raise UserError(
            f"mask={mask!r} is white {where}: expected white where pixels are made anew"
        )
    return hole


def fit(pixels: np.ndarray, facts: GeneratorSpec) -> tuple[np.ndarray, list[str]]:
    """Makes a picture what the generator takes.

    Args:
      pixels: (H, W, 3) uint8 of any size.
      facts: The generator's.
    Returns:
      (height, width, channels) float32 in [0, 1], and notes of what was changed: the middle in the
      generator's shape was cut out, resized (antialiased), colours became luminance.
    """
    height, width, notes = *pixels.shape[:2], []
    if (height, width) != (facts.height, facts.width):
        factor = min(height / facts.height, width / facts.width)
        high, wide = round(factor * facts.height), round(factor * facts.width)
        # Cut first: within a box, Pillow's filter would still see what is around it.
        cut = Image.fromarray(arrays.middle(pixels, (high, wide)))
        pixels = np.asarray(cut.resize((facts.width, facts.height), Image.Resampling.LANCZOS))
        middle = f", its middle of {high}x{wide}," if (high, wide) != (height, width) else ""
        notes.append(f"{height}x{width} pixels{middle} resized to {facts.height}x{facts.width}")
    picture = arrays.to_float(pixels)
    if facts.channels == 1 and is_grey(pixels):
        picture = picture[..., :1]
    elif facts.channels == 1:
        picture = arrays.luminance(picture).astype(np.float32)
        notes.append("colours became grey, which is all that the generator knows")
    return picture, notes


def _locate(argument: str) -> tuple[pathlib.Path, list[int] | None]:
    """Splits FILE[:INDEX,...] into a file that exists and its indices."""
    path, indices = pathlib.Path(argument), None
    found = re.fullmatch(r"(.+):([0-9]+(?:,[0-9]+)*)", argument)
    if not path.exists() and found:
        path, indices = pathlib.Path(found[1]), [int(index) for index in found[2].split(",")]
    if not path.is_file():
        state = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(
            f"{str(path)!r} {state}: expected a picture file, or FILE:INDEX of a stack of pictures"
        )
    is_stack = array_files.is_stack(path)
    if is_stack and indices is None:
        raise UserError(
            f"{argument!r} holds many pictures: expected which ones, such as {argument + ':0,1'!r}"
        )
    if indices is not None and not is_stack:
        raise UserError(f"{str(path)!r} is not a stack of pictures: leave out {':' + found[2]!r}")
    return path, indices


def _read(
    path: pathlib.Path, indices: list[int] | None, labelled: bool
) -> list[tuple[str, np.ndarray, int | None]]:
    """Reads a name, (H, W, 3) uint8 and the label, if it has one, of each picture."""
    if indices is None:
        return [(path.stem, _read_file(path), None)]
    found, _ = array_files.open_stacks([path])
    # Where there are parts, what training has not seen.
    found = array_files.of_part(found, "test")
    if len(found) > 1:
        names = ", ".join(stack.name for stack in found)
        raise UserError(f"{str(path)!r} holds several stacks, {names}: expected one")
    (stack,) = array_files.with_labels(found) if labelled else found
    wrong = [index for index in indices if index >= stack.count]
    if wrong:
        raise UserError(f"{str(path)!r} has no picture {wrong[0]}: expected 0 to {stack.count - 1}")
    wanted = {}
    for index, pixels in zip(range(max(indices) + 1), stack.read()):
        if index in indices:
            try:
                wanted[index] = reading.as_bytes(pixels)
            except ValueError as error:
                raise UserError(f"{str(path)!r}: picture {index} {error}") from error
    name = path.name.split(".")[0]
    labels = stack.labels
    return [
        (f"{name}-{index}", wanted[index], None if labels is None else int(labels[index]))
        for index in indices
    ]


def _read_file(path: pathlib.Path) -> np.ndarray:
    try:
        return reading.read_rgb(path)
    except ValueError as error:
        raise UserError(
            f"picture {str(path)!r} cannot be read: {reason(error)}; expected one of"
            f" {', '.join(formats.FORMATS)}"
        ) from error


def _labels(
    config: EditConfig, facts: GeneratorSpec, labels: Sequence[int | None]
) -> tuple[np.ndarray | None, list[str]]:
    """Returns the pictures' labels, (N,) int32 or None, and what to say of them."""
    if not facts.classes:
        return None, []
    if config.label is not None:
        return np.full(len(labels), config.label, np.int32), []
    for label in labels:
        if label is not None and label >= facts.classes:
            raise UserError(
                f"a picture's label is {label}: expected 0 to {facts.classes - 1}, or --label"
            )
    known = [str(label) for label in labels if label is not None]
    notes = [f"labels of the stack: {', '.join(known)}"] if known else []
    if len(known) < len(labels) and (facts.kind == "vae" or config.guidance != 1.0):
        what = "a VAE with labels" if facts.kind == "vae" else f"guidance={config.guidance}"
        raise UserError(f"label=None with {what}: expected 0 to {facts.classes - 1}")
    # The label `classes` is none to a flow.
    found = np.array([facts.classes if it is None else it for it in labels], np.int32)
    if config.action == "interpolate" and found[0] != found[1]:
        if facts.kind == "flow" and config.guidance == 1.0:
            notes = ["the labels differ, so the way has none; --label gives it one"]
            found[:] = facts.classes
        else:
            notes.append("the labels differ: half-way, one takes the other's place")
    return found, notes


def _distinct(names: list[str]) -> list[str]:
    """Returns names of which no two are alike: a second "a" becomes "a-2"."""
    distinct: list[str] = []
    for name in names:
        number, candidate = 1, name
        while candidate in distinct:
            number += 1
            candidate = f"{name}-{number}"
        distinct.append(candidate)
    return distinct
