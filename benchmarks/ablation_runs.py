"""Trains a row of `recipes.py` by the trainer of `train.py`; imported by `ablation.py`."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import ablation_networks
import dead_leaves
import keras
import numpy as np
import recipes
from PIL import Image
from recipes import Run

from tf_deconv.data import patches
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations.tasks import find_task
from tf_deconv.inference import run_folder
from tf_deconv.networks.complexity import multiply_adds_per_pixel
from tf_deconv.training import compilation, trainer
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.training.restoration import Restoration
from tf_deconv.utils import files
from tf_deconv.utils.devices import Device
from tf_deconv.utils.options import UserError

# In a run folder: the seconds that it took, those before it was interrupted too.
SPENT_FILE = "spent.json"


class OnePatchSet(Restoration):
    """Restoration whose runs all have the same pictures and are scored on the same patches.

    Args:
      recipe: The row, which may take some of the pictures, others, and a teacher.
      teacher: Whose output is half of the target; None for none.
      leaves_folder: Where pictures of dead leaves are, or are drawn to.
      config: The options.
      device: Where.
    """

    def __init__(
        self,
        recipe: recipes.Recipe,
        teacher: keras.Model | None,
        leaves_folder: pathlib.Path,
        config: TrainConfig,
        device: Device,
    ):
        smallest = dataclasses.replace(config, patch_size=recipes.SMALLEST_PICTURE_PX)
        super().__init__(smallest, device)
        self.config, self.teacher = config, teacher
        store = self.source.training
        if recipe.pictures is not None:
            order = sorted(range(len(store)), key=lambda index: store.digests[index])
            store = store.select(order[: recipe.pictures])
        if recipe.leaves:
            paths = dead_leaves.write(leaves_folder, recipe.leaves)
            leaves = [(path.name, np.asarray(Image.open(path))) for path in paths]
            own = [(store.names[i], store.picture_of_bytes(i)) for i in range(len(store))]
            store = PictureStore.of([*own, *leaves])
        self.source = dataclasses.replace(self.source, training=store)

    def training_batches(self, first_epoch: int, part: int = 0, parts: int = 1):
        batches = super().training_batches(first_epoch, part, parts)
        if self.teacher is None:
            return batches

        def teach(degraded, clean):
            taught = self.teacher(degraded, training=False)
            return degraded, clean + recipes.TEACHER_SHARE * (taught - clean)

        return batches.map(teach).prefetch(2)

    def validation_batches(self):
        own = dict(recipes.VALIDATION, batch_size=32)
        return patches.validation_data(self.source.validation, self.task, **own)


def train_run(run: Run, changes: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Trains a row with one seed, stage after stage; returns its line of the file."""
    ablation_networks.register()
    recipe, pixels = recipes.find(run.row), run.gigapixels * 1e9
    runs = pathlib.Path(options.runs)
    fixed = {**changes, "data": options.data, "shrink": options.shrink}
    work = multiply_adds(recipe, run.on, fixed)
    if options.equal == "work":
        pixels *= multiply_adds(recipes.find("base"), run.on, fixed) / work
    teacher = None
    if recipe.teacher:
        stages = len(recipes.find(recipe.teacher).stages)
        path = run.folder(runs, stages, recipe.teacher)
        if not (path / run_folder.METRICS_FILE).exists():
            raise UserError(
                f"row {run.row!r}: expected its teacher, trained with the same options and seed"
                f" before: run the row {recipe.teacher!r} first"
            )
        teacher = run_folder.load_model(path)
    curve, seen, spent, init = [], 0, {"cpu_s": 0.0, "wall_s": 0.0}, options.init
    plans = recipes.stages_of(recipe, run.on, pixels, run.seed, fixed)
    for number, plan in enumerate(plans, start=1):
        folder = run.folder(runs, number)
        plan |= {"run_dir": str(folder), "init": init}
        config, init = check_train_config(TrainConfig(**plan)), str(folder)
        if not (folder / run_folder.METRICS_FILE).exists():
            goes_on = (folder / run_folder.CONFIG_FILE).exists()
            # The trainer asks for what it trains for; all else is as in `train.py`.
            objective = functools.partial(OnePatchSet, recipe, teacher, runs / "leaves")
            with mock.patch.object(trainer, "make_objective", objective), _counting(folder):
                trainer.train(
                    dataclasses.replace(config, resume=goes_on),
                    lambda text: print(f"{run.row}, seed {run.seed}: {text}", flush=True),
                )
        counted = json.loads((folder / SPENT_FILE).read_text())
        spent = {name: value + counted[name] for name, value in spent.items()}
        each = config.steps_per_epoch * config.batch_size * config.patch_size**2
        with open(folder / "history.csv", encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                seen += each
                curve.append([round(seen / 1e9, 6), round(float(row["val_psnr"]), 4)])
    scores = json.loads((folder / run_folder.METRICS_FILE).read_text())
    description = run_folder.read_description(folder / run_folder.MODEL_FILE)
    return dataclasses.asdict(run) | {
        "db": round(scores["best_val_psnr_db"], 4),
        "nothing_done_db": round(scores["do_nothing_val_psnr_db"], 4),
        "curve": curve,
        "steps": sum(plan["epochs"] * plan["steps_per_epoch"] for plan in plans),
        "pixels": seen,
        "multiply_adds": round(work),
        **{name: round(value, 1) for name, value in spent.items()},
        "device": description["device"],
        "commit": recipes.commit(),
        "data_sha256": description["data_sha256"],
        "date": time.strftime("%Y-%m-%d"),
    }


def multiply_adds(recipe: recipes.Recipe, setting: str, changes: dict[str, Any]) -> float:
    """Counts what a row's network multiplies for a pixel."""
    plan = recipes.stages_of(recipe, setting, 1e9, 0, changes)[0]
    config = check_train_config(TrainConfig(**plan))
    task = find_task(config.task, config.degrade)
    return multiply_adds_per_pixel(compilation.build_in("float32", task, config))


@contextlib.contextmanager
def _counting(folder: pathlib.Path) -> Iterator[None]:
    """Adds the seconds of what runs inside to a file of the run folder, stopped or not."""
    cpu_s, wall_s = time.process_time(), time.monotonic()
    try:
        yield
    finally:
        path = folder / SPENT_FILE
        before = json.loads(path.read_text()) if path.exists() else {"cpu_s": 0.0, "wall_s": 0.0}
        own = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - wall_s}
        if folder.is_dir():
            files.write_json(path, {name: before[name] + own[name] for name in own})
