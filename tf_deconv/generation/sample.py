"""`sample`: pictures of a generator, as files, with a sheet of them and how they were made."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_deconv import __version__
from tf_deconv.generation import animation, noise
from tf_deconv.generation import generator as generating
from tf_deconv.generation.animation import Animation
from tf_deconv.generation.config import SampleConfig, check_generator_options
from tf_deconv.generation.generator import Generator
from tf_deconv.generation.opening import open_generator
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.images import arrays, sheets
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.utils import files
from tf_deconv.utils.devices import choose_device
from tf_deconv.utils.options import UserError
from tf_deconv.utils.progress import Bar

FACTS_FILE, GRID_FILE, PATH_FILE = "samples.json", "grid.png", "path.gif"
# A sheet of more pictures than that is looked at by nobody; they are all there as files.
_GRID_PICTURES, _PATH_PICTURES = 1024, 36
# Frames of path.gif after the first; every so many steps is one where there are more.
_PATH_FRAMES = 100
# More classes than that do not stand beside each other, one a column.
_MOST_COLUMNS = 20


@dataclasses.dataclass(frozen=True)
class SampleResult:
    """What was made.

    Attributes:
      facts: The content of `samples.json`, which is not written beside a film.
      folder: Where the files are.
      film: The film or GIF that was written instead of pictures; None: pictures were.
    """

    facts: dict[str, Any]
    folder: pathlib.Path
    film: pathlib.Path | None = None


def sample(config: SampleConfig, report: Callable[[str], None] = print) -> SampleResult:
    """Makes pictures and writes them, a batch at a time: memory does not grow with their number.

    Args:
      config: Checked options.
      report: Receives lines for the user.
    Returns:
      Where the pictures are, and the facts that make them again.
    Raises:
      UserError: if there is no generator, an option does not fit it, or --out cannot be written.
    """
    if config.model is None:
        raise UserError("model=None: expected a run, a .keras file or an export of a generator")
    film = animation.find(config)
    choose_device("auto", "float32")
    located = locate(config.model, config.trust)
    generator = open_generator(located)
    facts = generator.facts
    check_generator_options(config, facts.kind, facts.classes)
    labels = generating.labels_of(facts, config.count, config.label)
    if film is not None:
        files.make_folder(film.path.parent)
        report(f"model: {config.model}; {description(facts)}")
        return _write_film(generator, config, located, labels, film, report)
    folder = files.make_folder(pathlib.Path(config.out))
    report(f"model: {config.model}; {description(facts)}")

    # What an earlier call told would be wrong from the first picture on.
    (folder / FACTS_FILE).unlink(missing_ok=True)
    shown, digest = _write_pictures(generator, config, folder, report)
    sheet = sheets.grid(shown, columns_of(facts, len(shown), config.label))
    files.write_bytes(folder / GRID_FILE, arrays.encode_png(sheet))
    first, last = _name_of(0), _name_of(config.count - 1)
    written = [f"{first} to {last}" if config.count > 1 else first, GRID_FILE]
    if config.gif:
        frames = path_frames(generator, config, labels)
        content = animation.encode_gif(frames, config.frame_rate, holds=True)
        files.write_bytes(folder / PATH_FILE, content)
        written.append(PATH_FILE)
    made = {
        **_facts(config, located, facts, labels),
        "pixels_sha256": digest,
    }
    # Last: where it is, all that it tells of is.
    files.flush_all()
    files.write_json(folder / FACTS_FILE, made)
    report(f"written to {folder}: {', '.join([*written, FACTS_FILE])}")
    left = _left_over(folder, config.count, set(written))
    if left:
        report(f"note: {folder} also holds what an earlier call made: {left}")
    return SampleResult(made, folder)


def _write_film(
    generator: Generator,
    config: SampleConfig,
    located: LocatedModel,
    labels: np.ndarray | None,
    film: Animation,
    report: Callable[[str], None],
) -> SampleResult:
    """Writes the way of a flow's pictures as the film that --out names."""
    columns, count = _path_layout(generator.facts, config)
    if count < config.count:
        report(f"note: the film shows {count} of {config.count} pictures, the first ones")
    sheet = [
        side * pictures + sheets.GAP_PX * (pictures + 1)
        for side, pictures in zip(generator.facts.shape, (-(-count // columns), columns))
    ]
    frames = path_frames(generator, config, labels, film.scale_of(*sheet))
    film.write(frames, True, report)
    made = _facts(config, located, generator.facts, labels)
    return SampleResult(made, film.path.parent, film.path)


def _write_pictures(
    generator: Generator, config: SampleConfig, folder: pathlib.Path, report: Callable[[str], None]
) -> tuple[np.ndarray, str]:
    """Makes and writes the pictures; returns those of the sheet and the SHA-256 of all pixels."""
    bar, started = Bar(), time.perf_counter()
    shown, digest, done = [], hashlib.sha256(), 0
    for batch in generating.sample_batches(
        generator,
        config.count,
        config.seed,
        label=config.label,
        steps=config.steps,
        solver=config.solver,
        guidance=config.guidance,
    ):
        pixels = arrays.to_uint8(batch)
        digest.update(pixels.tobytes())
        for number, picture in enumerate(pixels, start=done):
            content = arrays.encode_png(picture)
            files.write_bytes(folder / _name_of(number), content, flush=False)
        if done < _GRID_PICTURES:
            shown.append(batch[: _GRID_PICTURES - done])
        done += len(batch)
        bar.draw("pictures", done / config.count)
    bar.clear()
    report(f"{config.count} pictures in {time.perf_counter() - started:.1f} s")
    return np.concatenate(shown), digest.hexdigest()


def _name_of(number: int) -> str:
    return f"sample-{number:04d}.png"


def description(facts: GeneratorSpec) -> str:
    """Says what a generator is: "flow, 28x28 grey, 10 classes"."""
    colour = "grey" if facts.channels == 1 else "colour"
    text = f"{facts.kind}, {facts.height}x{facts.width} {colour}"
    return f"{text}, {facts.classes} classes" if facts.classes else text


def columns_of(facts: GeneratorSpec, count: int, label: int | None) -> int:
    """Returns the columns of a sheet: one for each class where they come in turn."""
    if label is None and 1 < facts.classes <= min(_MOST_COLUMNS, count):
        return facts.classes
    return math.ceil(math.sqrt(count))


def _path_layout(facts: GeneratorSpec, config: SampleConfig) -> tuple[int, int]:
    """Returns the columns and the number of the pictures that are shown on their way."""
    columns = columns_of(facts, min(config.count, _PATH_PICTURES), config.label)
    return columns, min(config.count, _PATH_PICTURES // columns * columns)


def path_frames(
    generator: Generator, config: SampleConfig, labels: np.ndarray | None, scale: int = 2
) -> list[np.ndarray]:
    """Makes sheets of a flow's first pictures on their way, from the noise on.

    Args:
      generator: A flow.
      config: All options.
      labels: (count,) int32, or None.
      scale: Times that each pixel is repeated along either axis.
    Returns:
      (H', W', 1 or 3) uint8 each: grey ones have one channel.
    """
    facts = generator.facts
    columns, count = _path_layout(facts, config)
    every = math.ceil(config.steps / _PATH_FRAMES)
    frames, numbers = [], itertools.count()

    def keep(x: np.ndarray, _: float = 0.0) -> None:
        number = next(numbers)
        if number % every == 0 or number == config.steps:
            sheet = sheets.grid(generating.to_picture(x), columns, scale=scale)
            frames.append(sheet[..., : facts.channels])

    start = noise.normal(config.seed, count, facts.noise_size).reshape(count, *facts.shape)
    keep(start)
    generating.flow_to(
        generator,
        start,
        None if labels is None else labels[:count],
        steps=config.steps,
        solver=config.solver,
        guidance=config.guidance,
        on_step=keep,
    )
    return frames


def _facts(
    config: SampleConfig, located: LocatedModel, facts: GeneratorSpec, labels: np.ndarray | None
) -> dict[str, Any]:
    """Returns what makes the same pictures again."""
    is_flow = facts.kind == "flow"
    return {
        "model": config.model,
        "model_sha256": files.sha256(located.path) if located.path.is_file() else None,
        "generator": facts.to_json(),
        "count": config.count,
        "seed": config.seed,
        "label": config.label,
        "labels": None if labels is None else labels.tolist(),
        "steps": config.steps if is_flow else None,
        "solver": config.solver if is_flow else None,
        "guidance": config.guidance if is_flow and facts.classes else None,
        "tf_deconv": __version__,
    }


def _left_over(folder: pathlib.Path, count: int, written: set[str]) -> str:
    """Names files that look like this command's and are not of this call; "" where none is."""
    ours, others = re.compile(r"sample-(\d{4,})\.png|" + re.escape(PATH_FILE)), []
    for path in folder.iterdir():
        match = ours.fullmatch(path.name)
        if match is None or path.name in written:
            continue
        if match[1] is None or int(match[1]) >= count or path.name != _name_of(int(match[1])):
            others.append(path.name)
    others.sort()
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"{others[0]}{more}" if others else ""
