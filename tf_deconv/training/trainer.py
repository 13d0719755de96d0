"""Training: from a validated config to a run folder, by `model.fit`.

The flow: device -> objective: pictures, network, tf.data -> fit, with the run folder written by
`callbacks.RunWriter` -> scores on held-out pictures.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv import __version__
from tf_deconv.data import patches
from tf_deconv.data.sources import Source
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.images import arrays
from tf_deconv.inference import run_folder
from tf_deconv.training import callbacks, checkpoints, compilation, distribution, pretrained
from tf_deconv.training.cluster import Cluster, read_cluster
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.training.objective import Objective
from tf_deconv.utils import files
from tf_deconv.utils.devices import Device, choose_device
from tf_deconv.utils.interrupted import Interrupted
from tf_deconv.utils.options import UserError, read_config, to_json


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What training left.

    Attributes:
      run_dir: The run folder.
      metrics: The content of its `metrics.json`; of several workers, only the chief has it.
    """

    run_dir: pathlib.Path
    metrics: dict[str, Any]


def train(config: TrainConfig, report: Callable[[str], None] = print) -> TrainResult:
    """Trains a network and writes its run folder.

    Of several workers, which TF_CONFIG names, only the chief writes.

    Sets Keras's global seed, and with TensorFlow on a CPU makes every operation deterministic: two
    runs of one config on one machine are equal bit by bit.

    Args:
      config: All options.
      report: Receives lines for the user.
    Returns:
      Where the run is and what it scored.
    Raises:
      UserError: for anything that the user can mend; no run folder is left unless training began.
      Interrupted: after Ctrl-C or SIGTERM, with the best model so far in the run folder.
    """
    config = check_train_config(config)
    cluster = read_cluster() if config.strategy in ("auto", "multiworker") else None
    is_chief = cluster is None or cluster.is_chief
    with (
        _claim_folder(config, is_chief) as (folder, config),
        contextlib.nullcontext(folder) if is_chief else _nowhere() as out,
    ):
        return TrainResult(folder, _train(config, cluster, folder, out, report))


def _train(
    config: TrainConfig,
    cluster: Cluster | None,
    folder: pathlib.Path,
    out: pathlib.Path,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Trains; reads what there is to resume in `folder` and writes to `out`; returns metrics."""
    device = choose_device(config.device, config.precision, config.xla, config.network)
    report(f"device: {device}")
    placement = distribution.place(config.strategy, device, cluster, report)
    for line in placement.check_batch_size(config.batch_size):
        report(line)
    goes_on = config.resume and checkpoints.has_checkpoint(folder / "checkpoints")
    start = None
    if config.init is not None:
        # Before minutes of reading pictures. The weights of a checkpoint began with the model that
        # --init names, which need not be there any longer.
        start = _known_start(folder, config.init) if goes_on else pretrained.open_start(config.init)

    objective = make_objective(config, device)
    samples = objective.load(report)
    config, source = objective.config, objective.source
    for line in _source_lines(config, source):
        report(line)

    compilation.set_seed(config.seed, device)
    with placement.scope():
        model = objective.build()
        if start is not None and not goes_on:
            for line in pretrained.begin_with(model, start):
                report(line)
        objective.compile(model)
    placement.prepare(model)
    # Float32 whatever trained: this copy is saved, scored and exported.
    saved = objective.build_saved()
    report(f"network: {config.network}, {saved.count_params():,} parameters; task: {config.task}")

    state = _resume(model, folder, source, report) if config.resume else {}
    description = _describe(config, source, device, start) | objective.description()
    placement.check_alike(_common(description, device, state))
    files.make_folder(out / "checkpoints")
    files.write_json(out / "config.json", to_json(dataclasses.replace(config, resume=False)))
    run_folder.save_samples(samples, out / run_folder.SAMPLES_FILE)

    averaged = callbacks.AveragedWeights()

    def take_weights() -> None:
        weights = averaged.weights or model.get_weights()
        saved.set_weights(
            compilation.round_to_float16(objective.saved_weights(model, weights, saved))
        )

    def save_model() -> None:
        take_weights()
        run_folder.save_model(saved, out / run_folder.MODEL_FILE, description)

    def draw_preview() -> np.ndarray:
        take_weights()
        return objective.preview(saved, final=False)

    def finish() -> None:
        """Leaves the curve of all epochs, and the preview of the model that was kept."""
        if placement.is_chief:
            pictures.write_curve()
            saved.load_weights(out / run_folder.MODEL_FILE)
            sheet = objective.preview(saved, final=True)
            files.write_bytes(out / "preview.png", arrays.encode_png(sheet))

    validation = objective.validation_batches()
    baseline = objective.baseline(validation)
    if baseline is not None:
        count = sum(len(target) for _, target, *_ in validation)
        shown = objective.monitor.text(baseline)
        report(f"validation: {count} {objective.examples}, {shown} as they are")

    first_epoch = state.get("epoch", 0)
    started = time.monotonic()
    with callbacks.StopSignals() as stop_signals:
        monitor = objective.monitor
        writer = callbacks.RunWriter(
            out,
            save_model,
            state.get("history", []),
            state.get("best", state.get("best_psnr_db", monitor.worst)),
            description["data_sha256"],
            state.get("spent_s", 0.0),
            monitor,
        )
        pictures = callbacks.Pictures(out, draw_preview, writer.history, baseline, report, monitor)
        progress = callbacks.Progress(
            config.epochs, config.steps_per_epoch, writer.history, report, monitor
        )
        # In this order: a signal stops training when all the others are done.
        drawn = [keras.callbacks.TensorBoard(out / "logs", write_graph=False), pictures]
        run_callbacks = [averaged, writer, *drawn * placement.is_chief, progress, stop_signals]
        try:
            with placement.watch(
                f"start all workers again, with --resume --run-dir {str(folder)!r} to go on after"
                " the last epoch"
            ):
                _fit(model, objective, placement, first_epoch, validation, run_callbacks)
        except Interrupted:
            if not (out / run_folder.MODEL_FILE).exists():
                save_model()  # Stopped within the first epoch: what there is beats nothing.
            finish()
            raise
        except UserError:
            if (out / run_folder.MODEL_FILE).exists():
                finish()
            raise
        finally:
            progress.bar.clear()
    duration_s, spent_s = time.monotonic() - started, writer.spent_s

    if not placement.is_chief:
        placement.wait_for_all()
        report(f"trained; the chief has written {str(folder)!r}")
        return {}
    finish()
    trained = (config.epochs - first_epoch) * config.steps_per_epoch * config.batch_size
    best = f"best_{monitor.name}" + "_db" * (monitor.unit == "dB")
    result = {
        **objective.scores(saved),
        best: writer.best,
        **({"do_nothing_val_psnr_db": baseline} if monitor.unit == "dB" else {}),
        "held_out_pictures": len(source.validation),
        "training_pictures": len(source.training),
        "device": str(device),
        # Of all epochs; the examples per second are of those since the last resume.
        "duration_s": round(spent_s, 1),
        f"{objective.examples}_per_s": round(trained / duration_s, 1),
    }
    files.write_json(out / "metrics.json", result)
    for line in _result_lines(folder, result, source.skipped, objective):
        report(line)
    placement.wait_for_all()
    return result


@contextlib.contextmanager
def _nowhere() -> Iterator[pathlib.Path]:
    """A run folder that nobody sees, of a worker that is not the chief."""
    with tempfile.TemporaryDirectory(prefix="tf-deconv-worker-") as folder:
        yield pathlib.Path(folder)


def _common(description: dict[str, Any], device: Device, state: dict[str, Any]) -> dict[str, str]:
    """Returns what all workers must have in common, and what to call it."""
    return {
        "options": json.dumps([description["training"], description["began_with"]]),
        "pictures": description["data_sha256"],
        "versions": json.dumps(description["versions"]),
        "number format": device.precision,
        "checkpoint": str(state.get("epoch", 0)),
    }


def _known_start(folder: pathlib.Path, init: str) -> pretrained.Start:
    """Returns what a run that goes on tells of the model it began with; that is not opened."""
    try:
        facts = run_folder.read_description(folder / run_folder.MODEL_FILE).get("began_with")
    except UserError:  # The model will be written anew; its weights are in the checkpoint.
        facts = None
    return pretrained.Start(pathlib.Path(init).name, None, facts or {})


def _resume(
    model: keras.Model, folder: pathlib.Path, source: Source, report: Callable[[str], None]
) -> dict[str, Any]:
    """Puts the newest whole checkpoint into the model; returns its state, {} for none at all."""
    state, variables, damaged = checkpoints.load_newest_checkpoint(folder / "checkpoints")
    for line in damaged:
        report(f"warning: {line}")
    if not variables and damaged:
        raise UserError(
            f"{str(folder)!r} has no whole checkpoint: train anew in another --run-dir (its"
            f" {run_folder.MODEL_FILE} is untouched)"
        )
    if variables:
        if state["data_sha256"] != source.training.sha256():
            raise UserError(
                f"the training pictures are not those that {str(folder)!r} began with: bring them"
                " back, or train anew in another --run-dir"
            )
        checkpoints.restore_state(model, variables)
    report(f"resuming after epoch {state.get('epoch', 0)}")
    return state


def _fit(
    model: keras.Model,
    objective: Objective,
    placement: distribution.Placement,
    first_epoch: int,
    validation: tf.data.Dataset,
    run_callbacks: list[keras.callbacks.Callback],
) -> None:
    config = objective.config
    batches = placement.training_batches(
        functools.partial(objective.training_batches, first_epoch), config.batch_size
    )
    if placement.strategy is None:  # It copies batches to its devices by itself.
        batches = patches.on_device(batches, objective.device.place)
    model.fit(
        batches,
        epochs=config.epochs,
        initial_epoch=first_epoch,
        steps_per_epoch=config.steps_per_epoch,
        validation_data=placement.validation_batches(validation),
        callbacks=run_callbacks,
        shuffle=False,  # The plan is random already.
        verbose=0,  # `callbacks.Progress` tells more: the time left for all epochs.
    )


@contextlib.contextmanager
def _claim_folder(
    config: TrainConfig, is_chief: bool
) -> Iterator[tuple[pathlib.Path, TrainConfig]]:
    """Decides the run folder, which is the chief's alone; yields it and the options.

    With --resume, the run's own config takes over. But for the strategy: a run goes on with the
    devices that there are.
    """
    if config.resume:
        if config.run_dir is None:
            raise UserError("resume=True: expected --run-dir, the folder of the run to go on with")
        folder = pathlib.Path(config.run_dir)
        if not (folder / "config.json").is_file():
            several = "" if is_chief else ", on storage that all workers share"
            raise UserError(
                f"{str(folder)!r} has no config.json: expected a run to resume{several}"
            )
        stored = TrainConfig(**read_config(folder / "config.json", TrainConfig))
        stored = dataclasses.replace(
            stored, run_dir=config.run_dir, resume=True, strategy=config.strategy
        )
        config = check_train_config(stored)
    elif config.run_dir is None:
        folder = checkpoints.default_run_dir(config.task, config.network)
    else:
        folder = pathlib.Path(config.run_dir)
        if is_chief and not (folder / checkpoints.LOCK_FILE).exists():
            _check_empty(folder)  # Nothing is put into a folder that is something else.
    if not is_chief:
        yield folder, dataclasses.replace(config, run_dir=str(folder))
        return
    with checkpoints.claiming(folder, new=config.run_dir is None) as folder:
        if not config.resume:
            _check_empty(folder)
        yield folder, dataclasses.replace(config, run_dir=str(folder))


def _check_empty(folder: pathlib.Path) -> None:
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {checkpoints.LOCK_FILE}:
        raise UserError(
            f"run folder {str(folder)!r} is not empty: choose another --run-dir, or add --resume to"
            " go on with it"
        )


def _describe(
    config: TrainConfig,
    source: Source,
    device: Device,
    start: pretrained.Start | None,
) -> dict[str, Any]:
    """What travels inside `model.keras` and into the export's manifest."""
    # The name of the folder, not its path: this is published.
    targets = config.targets and pathlib.Path(config.targets).name
    public = dict(data=pathlib.Path(config.data).name, targets=targets, init=start and start.name)
    public |= dict(run_dir=None, resume=False, strategy="auto")
    options = to_json(dataclasses.replace(config, **public))
    return {
        "task": config.task,
        "network": config.network,
        "training": options,
        "data_sha256": source.training.sha256(),
        "began_with": start and start.facts,
        "device": str(device),
        "versions": {
            "tf_deconv": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
        },
    }


def _source_lines(config: TrainConfig, source: Source) -> list[str]:
    lines = [
        f"data: {config.data}, {len(source.training)} pictures to train on,"
        f" {len(source.validation)} held out"
    ]
    return [*lines, *(f"note: {note}" for note in source.notes)]


def _result_lines(
    folder: pathlib.Path, result: dict[str, Any], skipped: tuple[str, ...], objective: Objective
) -> list[str]:
    rate = result[f"{objective.examples}_per_s"]
    lines = [
        f"trained in {result['duration_s']:.0f} s, {rate:.0f} {objective.examples}/s",
        *objective.score_lines(result),
    ]
    if skipped:
        lines.append(f"{len(skipped)} pictures were skipped:")
        lines += [f"  {line}" for line in skipped]
    lines += [
        f"preview: {folder / 'preview.png'}",
        f"learning curve: {folder / 'curve.png'}",
        f"next: python export.py {folder}",
    ]
    return lines


def make_objective(config: TrainConfig, device: Device) -> Objective:
    """Returns the objective of a checked config; pictures are read by its `load`."""
    if TASKS[config.task].generates:
        from tf_deconv.training.generation import make_generation

        return make_generation(config, device)
    from tf_deconv.training.restoration import Restoration

    return Restoration(config, device)
