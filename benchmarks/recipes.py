"""The rows that `ablation.py` and `train_jax.py` train: one question each, asked by what differs.

A row is `BASE` with some options of `tf_deconv.TrainConfig` replaced. Every row sees equally many
pixels of patches, so batch and patch size trade places with steps. Of rows in stages, each stage
begins with the weights of the one before (`--init`), with a momentum and a cosine of its own; such
a row compares with `two-stages` or `end`, which have the same stages, and not with `base`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any

from tf_deconv.utils.options import UserError, nearest

BASE = dict(
    network="unet",
    size="base",
    patch_size=96,
    batch_size=8,
    learning_rate=0.004,
    candidates=2,
)
# What is learned while the question is asked. `photo` is the chain of the model of that name.
SETTINGS = {
    "grey": dict(task="denoise-grey", degrade="awgn:0-55"),
    "photo": dict(
        task="denoise",
        degrade="camera:100-12800@0.6 noise:0-30@0.35 resize:1-1.5@0.1 jpeg444:75-99@0.25"
        " jpeg:50-99@0.65 clip:1",
        grey=0.15,
    ),
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a row: its share of the row's pixels, and what is different in it."""

    share: float
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A row.

    Attributes:
      question: Heading of the table that it stands in.
      summary: What is different, for people.
      options: Fields of `TrainConfig` over those of `BASE`.
      stages: What it is trained in.
      pictures: How many of the training pictures it sees; all when None.
      leaves: How many pictures of dead leaves come to them (`dead_leaves.py`).
      teacher: Row, trained before, whose output is half of the target; none when None.
      against: Row that it is compared with.
    """

    question: str
    summary: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stages: tuple[Stage, ...] = (Stage(1.0),)
    pictures: int | None = None
    leaves: int = 0
    teacher: str | None = None
    against: str = "base"


def _row(question: str, summary: str, **options: Any) -> Recipe:
    return Recipe(question, summary, options)


def _ends(summary: str, **options: Any) -> Recipe:
    """Makes a row whose last fifth is another way to finish, at a quarter of the rate."""
    last = {"learning_rate": BASE["learning_rate"] / 4, **options}
    return Recipe("recipe", summary, stages=(Stage(0.8), Stage(0.2, last)), against="end")


RECIPES = {
    "base": _row("recipe", "Muon 0.004 on a cosine, 8 patches of 96, L1"),
    "rate-half": _row("recipe", "rate 0.002", learning_rate=0.002),
    "rate-quarter": _row("recipe", "rate 0.001", learning_rate=0.001),
    "rate-double": _row("recipe", "rate 0.008", learning_rate=0.008),
    "batch-32": _row("recipe", "32 patches, rate 0.008", batch_size=32, learning_rate=0.008),
    "batch-4": _row("recipe", "4 patches, rate 0.003", batch_size=4, learning_rate=0.003),
    "patch-48": _row("recipe", "32 patches of 48", patch_size=48, batch_size=32),
    "patch-192": _row("recipe", "2 patches of 192", patch_size=192, batch_size=2),
    "detail-none": _row("recipe", "patches from anywhere", candidates=1),
    "detail-4": _row("recipe", "of four places the one with the most detail", candidates=4),
    "ema": _row("recipe", "average of weights, momentum 0.999", ema=0.999),
    "adam": _row("recipe", "Adam 0.001", optimizer="adam", learning_rate=0.001),
    "two-stages": Recipe("recipe", "the same in two halves", stages=(Stage(0.5), Stage(0.5))),
    "restarts": Recipe(
        "recipe",
        "warm restarts, each twice as long: 1/7, 2/7, 4/7",
        stages=(Stage(1 / 7), Stage(2 / 7), Stage(4 / 7)),
        against="two-stages",
    ),
    "patch-growth": Recipe(
        "recipe",
        "patches of 48 (32) for one half, of 144 (4) for the other",
        stages=(
            Stage(0.5, dict(patch_size=48, batch_size=32)),
            Stage(0.5, dict(patch_size=144, batch_size=4)),
        ),
        against="two-stages",
    ),
    "end": _ends("the last fifth again from rate 0.001"),
    "end-psnr": _ends("the last fifth by the loss in decibels", loss="psnr"),
    "end-mse": _ends("the last fifth by the squared error", loss="mse"),
    "end-float32": _ends("the last fifth in float32", precision="float32"),
    "end-large-patches": _ends("the last fifth on 2 patches of 192", patch_size=192, batch_size=2),
    "deep": _row("network", "32,64 filters, 5,6 blocks", filters="32,64", blocks="5,6"),
    "wide": _row("network", "64,128 filters, 1,2 blocks", filters="64,128", blocks="1,2"),
    "large": _row("network", "64,128 filters, 2,4 blocks", filters="64,128", blocks="2,4"),
    "three-levels": _row(
        "network",
        "24,48,96 filters, 1,1,3 blocks, from full resolution",
        size="small",
        filters="24,48,96",
        blocks="1,1,3",
    ),
    "one-level": _row("network", "64 filters, 4 blocks at half resolution", network="one-level"),
    "overlapping-tail": _row(
        "network", "4x4 tail of stride 2 in place of 2x2", network="overlapping-tail"
    ),
    "reparameterized": _row("network", "1x1 beside each 3x3", reparameterize=True),
    "pre-activated": _row(
        "network", "a ReLU before the first convolution of a block too", network="pre-activated"
    ),
    "gated": _row("network", "blocks weighed by their neighbourhood", network="gated"),
    "data-28": Recipe("data", "28 of the pictures", pictures=28),
    "leaves": Recipe("data", "all, and 100 pictures of dead leaves", leaves=100),
    "leaves-only": Recipe("data", "100 pictures of dead leaves alone", pictures=0, leaves=100),
    "small": _row("teacher", "small, without a teacher", size="small"),
    "taught": Recipe(
        "teacher", "small, taught by `large`", dict(size="small"), teacher="large", against="small"
    ),
}
# The share that a teacher's output has in the target.
TEACHER_SHARE = 0.5
# Smaller pictures are left out, so that all rows have the same ones whatever their patches.
SMALLEST_PICTURE_PX = 192
# Patches that all rows are scored on, whatever they train on.
VALIDATION = dict(patch_size=96, count=256, seed=0)
# Of a row: how often the curve of dB over pixels has a point.
POINTS = 12


def find(name: str) -> Recipe:
    """Returns a row by name.

    Raises:
      UserError: if there is none.
    """
    if name not in RECIPES:
        known = ", ".join(RECIPES)
        raise UserError(f"row {name!r}{nearest(name, RECIPES)}: expected one of {known}")
    return RECIPES[name]


def stages_of(
    recipe: Recipe, setting: str, pixels: float, seed: int, changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Plans a row.

    Args:
      recipe: The row.
      setting: Key of `SETTINGS`.
      pixels: How many pixels of patches the whole row sees; infinite where time decides.
      seed: Of its first stage; each further one adds 1000.
      changes: Fields of `TrainConfig` over all others.
    Returns:
      For each stage the fields of `TrainConfig`, `epochs` and `steps_per_epoch` among them.
    """
    plans = []
    for number, stage in enumerate(recipe.stages):
        options = {**BASE, **SETTINGS[setting], **recipe.options, **stage.options, **changes}
        options["epochs"] = epochs = max(1, round(stage.share * POINTS))
        if math.isfinite(pixels):
            steps = stage.share * pixels / (options["batch_size"] * options["patch_size"] ** 2)
            options["steps_per_epoch"] = max(1, round(steps / epochs))
        options["seed"] = seed + 1000 * number
        plans.append(options)
    return plans


@dataclasses.dataclass(frozen=True)
class Run:
    """A row with one seed.

    Attributes:
      row: Its name.
      on: Key of `SETTINGS`.
      seed: Its seed.
      gigapixels: Of patches, that `base` sees.
      data: Name of the folder of pictures, without its path.
      changes: Options over those of the row; "equal" and "init" among them where they were given.
    """

    row: str
    on: str
    seed: int
    gigapixels: float
    data: str
    changes: dict[str, Any]

    def is_in(self, line: dict[str, Any]) -> bool:
        """Tells whether a line of the file is this run."""
        return all(line.get(name) == value for name, value in dataclasses.asdict(self).items())

    def folder(self, runs: pathlib.Path, stage: int, row: str | None = None) -> pathlib.Path:
        """Returns the run folder of a stage, from 1; of another row with the same options."""
        own = dataclasses.asdict(self) | {"row": row or self.row}
        digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:6]
        return runs / f"{own['row']}-{self.on}-{self.seed}-{digest}-{stage}"


def commit() -> str:
    """Returns the name of the commit that is checked out; "" outside a repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    folder = pathlib.Path(__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def parse_changes(words: list[str]) -> dict[str, Any]:
    """Reads NAME=VALUE words, such as batch_size=64: numbers, true, false, null or text.

    Raises:
      UserError: if a word has no "=".
    """
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"--set {word!r}: expected NAME=VALUE, such as batch_size=64")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes
