"""Trains on a GPU by Keras on JAX, where there is no TensorFlow and no network: docs/gpu.md.

    python benchmarks/train_jax.py prepare --data FOLDER --out gpu/cc0      # here: cc0-1.npz ...
    python benchmarks/train_jax.py train ROW ... --data gpu/cc0-*.npz --out OUT --minutes 8  # there
    python benchmarks/train_jax.py run OUT/ROW.npz --data FOLDER --out runs/NAME             # here

`weights MODEL --out FILE.npz` takes a run or a shipped model along, to begin with (`--init`).
Rows are those of recipes.py. All pictures lie on the GPU, which also cuts and degrades the patches
(`jax_operators.py`); `train` needs keras, jax, NumPy and Pillow.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import pathlib
import sys
import time
import zipfile
from typing import Any

import numpy as np
import recipes
import weight_files
from PIL import Image

from tf_deconv.utils.options import UserError

TRAINING, VALIDATION, LEAVES = range(3)
# How far TensorFlow's output may be from JAX's.
CHECK_TOLERANCE = 1e-4


# --- Here: pictures to files that travel.


def prepare(options: argparse.Namespace) -> None:
    """Writes the pictures as parts of at most `--most-mib`, the held-out ones marked."""
    import dead_leaves

    from tf_deconv.data import sources
    from tf_deconv.images import arrays

    source = sources.load_source(
        options.data, options.patch_size, options.validation_fraction, shrink=options.shrink
    )
    packed, splits = [], []
    for split, store in ((TRAINING, source.training), (VALIDATION, source.validation)):
        # In the order of their hashes: a row that takes the first 28 takes any 28.
        for index in sorted(range(len(store)), key=lambda index: store.digests[index]):
            picture = arrays.middle(store.picture_of_bytes(index), (options.side,) * 2)
            packed.append(_encoded(picture, options.quality))
            splits.append(split)
    for number in range(options.leaves):
        packed.append(_encoded(dead_leaves.draw(512, 0, number), options.quality))
        splits.append(LEAVES)
    facts = {
        "data": pathlib.Path(options.data).name,
        "data_sha256": source.training.sha256(),
        "shrink": options.shrink,
        "validation_fraction": options.validation_fraction,
    }
    folder = pathlib.Path(options.out).parent
    folder.mkdir(parents=True, exist_ok=True)
    limit, parts = options.most_mib * 2**20, [[]]
    for index, content in enumerate(packed):
        if parts[-1] and sum(len(packed[i]) for i in parts[-1]) + len(content) > limit:
            parts.append([])
        parts[-1].append(index)
    for number, part in enumerate(parts, start=1):
        path = f"{options.out}-{number}.npz"
        np.savez(
            path,
            content=np.frombuffer(b"".join(packed[i] for i in part), np.uint8),
            sizes=np.array([len(packed[i]) for i in part]),
            splits=np.array([splits[i] for i in part]),
            facts=np.array(json.dumps({**facts, "part": number, "parts": len(parts)})),
        )
        print(f"{path}: {len(part)} pictures, {os.path.getsize(path) / 2**20:.1f} MiB")


def _encoded(picture: np.ndarray, quality: int | None) -> bytes:
    stream, image = io.BytesIO(), Image.fromarray(np.ascontiguousarray(picture))
    if quality is None:
        image.save(stream, "png")
    else:
        image.save(stream, "jpeg", quality=quality, subsampling=0)
    return stream.getvalue()


def take_weights(options: argparse.Namespace) -> None:
    """Writes the weights of a run or a shipped model, by path."""
    from tf_deconv.training import pretrained

    start = pretrained.open_start(options.model)
    weights = {weight.path: np.asarray(weight.numpy()) for weight in start.model.weights}
    weight_files.save(
        pathlib.Path(options.out), weights, {"name": start.name, "began_with": start.facts}
    )
    print(f"{options.out}: {len(weights)} weights of {start.name}")


# --- There: training.


def load_pictures(paths: list[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Decodes all parts.

    Returns:
      `pixels` (total, 3) uint8; `offsets`, `heights`, `widths` and `splits` (count,) int32; and
      what `prepare` recorded.
    Raises:
      UserError: if parts are missing, or of different sources.
    """
    pictures, splits, seen, facts = [], [], set(), {}
    for path in paths:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path!r}: expected a file of `train_jax.py prepare`")
        with np.load(path) as part:
            own = json.loads(str(part["facts"]))
            seen.add(own.pop("part"))
            if facts and own != facts:
                raise UserError(f"{path!r} is of another `prepare` than {paths[0]!r}")
            facts, content, place = own, part["content"].tobytes(), 0
            splits += part["splits"].tolist()
            for size in part["sizes"].tolist():
                image = Image.open(io.BytesIO(content[place : place + size]))
                pictures.append(np.asarray(image.convert("RGB")))
                place += size
    if len(seen) != facts["parts"] or len(paths) != len(seen):
        raise UserError(f"--data: {len(paths)} files of {facts['parts']} parts: expected each once")
    heights, widths = np.array([picture.shape[:2] for picture in pictures], np.int32).T
    ends = np.cumsum(heights.astype(np.int64) * widths)
    if ends[-1] >= 2**31:
        raise UserError(f"{ends[-1]:,} pixels: expected fewer than 2^31; prepare with --side")
    return {
        "pixels": np.concatenate([picture.reshape(-1, 3) for picture in pictures]),
        "offsets": (ends - heights.astype(np.int64) * widths).astype(np.int32),
        "heights": heights,
        "widths": widths,
        "splits": np.array(splits, np.int32),
    }, facts


def train(options: argparse.Namespace) -> None:
    """Trains the rows, one after the other, each for its share of the time that is left."""
    started = time.monotonic()
    changes = recipes.parse_changes(options.set)
    rows = {name: recipes.find(name) for name in options.rows}
    for number, (name, recipe) in enumerate(rows.items()):
        if recipe.teacher and recipe.teacher not in options.rows[:number]:
            raise UserError(f"row {name!r}: expected its teacher {recipe.teacher!r} before it")
    stored, facts = load_pictures(options.data)
    splits = stored.pop("splits")
    wanted = max(recipe.leaves for recipe in rows.values())
    if wanted > np.sum(splits == LEAVES):
        raise UserError(f"a row needs {wanted} dead leaves: prepare with --leaves {wanted}")
    os.environ["KERAS_BACKEND"] = "jax"
    import ablation_networks
    import jax
    from jax_training import Row, Trained

    ablation_networks.register()
    device, out = jax.devices()[0], pathlib.Path(options.out)
    spent_s = time.monotonic() - started
    print(f"{device.device_kind}: {len(splits)} pictures after {spent_s:.0f} s", flush=True)
    pictures = {name: jax.device_put(array) for name, array in stored.items()}
    held_out = jax.device_put(np.flatnonzero(splits == VALIDATION))
    leaves = np.flatnonzero(splits == LEAVES)
    init, began = {}, {}
    if options.init:
        init, known = weight_files.load(options.init)
        began = _began_with(pathlib.Path(options.init).stem, known)
    restorers: dict[str, Any] = {}
    for number, (name, recipe) in enumerate(rows.items()):
        training = np.flatnonzero(splits == TRAINING)[: recipe.pictures]
        chosen = jax.device_put(np.concatenate([training, leaves[: recipe.leaves]]))
        left_s = 60 * options.minutes - (time.monotonic() - started)
        budget_s = max(1.0, left_s / (len(rows) - number))
        pixels = 1e9 * options.gigapixels if options.gigapixels else math.inf
        plans = recipes.stages_of(recipe, options.on, pixels, options.seed, changes)
        asked = dict(row=name, on=options.on, seed=options.seed, changes=changes)
        asked["device"] = f"{device.device_kind}, Keras on JAX"
        row = Row(name, out, {**facts, **began, **asked})
        weights = init
        for place, (plan, stage) in enumerate(zip(plans, recipe.stages), start=1):
            if place > 1:
                row.facts |= _began_with(f"{name}, stage {place - 1}", row.known)
            trained = Trained(plan, pictures, chosen, weights, restorers.get(recipe.teacher))
            row.train(trained, held_out, stage.share * pixels, stage.share * budget_s)
            weights = trained.weights()
        restorers[name] = trained.restorer(weights)


def _began_with(name: str, known: dict[str, Any]) -> dict[str, Any]:
    """Returns what a file tells of the weights that its training began with."""
    if "curve" not in known:  # Of `weights`, which has asked the model.
        return {key: known[key] for key in ("name", "began_with")}
    kept = ("training", "device", "data_sha256", "began_with")
    facts = {key: known[key] for key in kept if known.get(key)}
    return {"name": name, "began_with": {**facts, "training_s": known["curve"][-1]["s"]}}


# --- Here again: weights to a run folder.


def make_run(options: argparse.Namespace) -> None:
    """Writes a run folder, once TensorFlow makes of patches what JAX made of them."""
    weights, facts = weight_files.load(options.weights)
    if "curve" not in facts:
        raise UserError(f"{options.weights!r} was not trained here: expected a file of `train`")
    folder = pathlib.Path(options.out)
    if folder.exists():
        raise UserError(f"{options.out!r} exists: choose another --out")
    import ablation_networks

    from tf_deconv.images import arrays
    from tf_deconv.inference import run_folder
    from tf_deconv.training import curve
    from tf_deconv.training.config import TrainConfig
    from tf_deconv.training.trainer import Trainer
    from tf_deconv.utils import files
    from tf_deconv.utils.options import to_json

    ablation_networks.register()
    rows = facts["curve"]
    config = TrainConfig(
        **{
            **facts["training"],
            "data": options.data,
            "shrink": facts["shrink"],
            "validation_fraction": facts["validation_fraction"],
            "run_dir": options.out,
            "epochs": len(rows),
            "steps_per_epoch": max(1, facts["steps"] // len(rows)),
        }
    )
    run = Trainer(config, None, folder, folder, print)
    values = [weights[weight.path] for weight in run.model.weights]
    run.model.set_weights(values)
    run.take_weights()
    with np.load(options.weights) as stored:
        check, expected = stored["check_input"], stored["check_output"]
    apart = float(np.abs(run.saved(check).numpy() - expected).max())
    print(f"TensorFlow's output is JAX's to {apart:.1e}")
    if not apart <= CHECK_TOLERANCE:
        raise UserError(
            f"{options.weights!r}: outputs are {apart:.1e} apart, expected {CHECK_TOLERANCE:g}: a"
            " file or a version of the networks is not the one that was trained"
        )
    run.description |= {"data_sha256": facts["data_sha256"], "device": facts["device"]}
    if facts.get("name"):
        run.description["training"]["init"] = facts["name"]
        run.description["began_with"] = facts["began_with"]
    files.make_folder(folder)
    run.save_model()
    files.write_json(folder / run_folder.CONFIG_FILE, to_json(config))
    run_folder.save_samples(run.objective.samples, folder / run_folder.SAMPLES_FILE)
    result = {**run.objective.scores(run.saved), "best_val_psnr_db": rows[-1]["val_psnr"]}
    result |= {"device": facts["device"], "duration_s": rows[-1]["s"]}
    source = run.objective.source
    result |= {
        "held_out_pictures": len(source.validation),
        "training_pictures": len(source.training),
    }
    files.write_json(folder / run_folder.METRICS_FILE, result)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    files.write_bytes(folder / "history.csv", ("\n".join(lines) + "\n").encode())
    files.write_bytes(folder / "curve.png", curve.draw_curve(rows))
    sheet = run.objective.preview(run.saved, final=True)
    files.write_bytes(folder / "preview.png", arrays.encode_png(sheet))
    print("\n".join([*run.objective.score_lines(result), f"next: python export.py {options.out}"]))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("prepare", help="pictures to files that travel")
    add.add_argument("--data", required=True, help="folder of pictures, as for train.py")
    add.add_argument(
        "--out", required=True, metavar="NAME", help="writes NAME-1.npz, NAME-2.npz ..."
    )
    add.add_argument("--shrink", help="as for train.py")
    add.add_argument("--validation-fraction", type=float, default=0.1, metavar="F")
    add.add_argument(
        "--patch-size",
        type=int,
        default=recipes.SMALLEST_PICTURE_PX,
        metavar="PX",
        help="smaller pictures are left out",
    )
    add.add_argument("--side", type=int, default=4096, help="longest side kept, of the middle")
    add.add_argument("--quality", type=int, help="JPEG of this quality, 4:4:4; lossless otherwise")
    add.add_argument("--leaves", type=int, default=0, help="dead leaves pictures beside them")
    add.add_argument("--most-mib", type=float, default=48, help="of each file (default: 48)")
    add = commands.add_parser("weights", help="weights of a run or a shipped model, to begin with")
    add.add_argument("model")
    add.add_argument("--out", required=True, metavar="FILE")
    add = commands.add_parser("train", help="train rows of recipes.py")
    add.add_argument("rows", nargs="+", metavar="ROW")
    add.add_argument("--data", required=True, nargs="+", metavar="FILE")
    add.add_argument("--out", required=True, metavar="FOLDER")
    add.add_argument("--on", choices=recipes.SETTINGS, default="grey", help="what is learned")
    add.add_argument("--minutes", type=float, default=8, help="for all rows, loading included")
    add.add_argument("--gigapixels", type=float, help="of each row; as many as fit when left out")
    add.add_argument("--init", metavar="FILE", help="of `train` or `weights`")
    add.add_argument("--seed", type=int, default=0)
    add.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="options of train.py"
    )
    add = commands.add_parser("run", help="weights to a run folder")
    add.add_argument("weights", metavar="FILE")
    add.add_argument("--data", required=True, help="the folder that was prepared")
    add.add_argument("--out", required=True, metavar="FOLDER")
    options = parser.parse_args(arguments)
    commands_of = {"prepare": prepare, "weights": take_weights, "train": train, "run": make_run}
    try:
        commands_of[options.command](options)
    except UserError as error:
        print(f"train_jax.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
