"""Training: from a checked config to a run folder, by `model.fit`.

A `Trainer` is one run: device, machines, what it trains for (`Objective`), the model that is
trained and the float32 copy that is saved. `callbacks.RunWriter` keeps the run folder whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv import __version__
from tf_deconv.data import levels, patches
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.images import arrays
from tf_deconv.inference import descriptions, run_folder
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training import callbacks, checkpoints, compilation, distribution, pretrained
from tf_deconv.training.cluster import Cluster, read_cluster
from tf_deconv.training.config import RENEWABLE, TrainConfig, check_train_config, take_from_init
from tf_deconv.training.monitor import monitor_of
from tf_deconv.training.objective import Objective
from tf_deconv.utils import files
from tf_deconv.utils.devices import Device, choose_device
from tf_deconv.utils.interrupted import Interrupted
from tf_deconv.utils.mentions import typed
from tf_deconv.utils.options import UserError, read_config, to_json


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """What training left.

    Attributes:
      run_dir: The run folder.
      metrics: The content of its `metrics.json`; of several workers, only the chief has it.
      failures: "name: reason" of each picture that could not be read; those that are merely too
        small are none.
    """

    run_dir: pathlib.Path
    metrics: dict[str, Any]
    failures: tuple[str, ...] = ()


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
    config = check_train_config(take_from_init(config))
    cluster = read_cluster() if config.strategy in ("auto", "multiworker") else None
    is_chief = cluster is None or cluster.is_chief
    with (
        _claim_folder(config, is_chief) as (folder, config),
        contextlib.nullcontext(folder) if is_chief else _nowhere() as out,
    ):
        metrics = _finished(folder, config, report) if config.resume else None
        if metrics is not None:
            return TrainResult(folder, metrics)
        if is_chief:
            report(f"run: {folder}")
        trainer = Trainer(config, cluster, folder, out, report)
        metrics = trainer.run()
    failures = trainer.objective.source.failures
    if failures:
        report(
            f"{len(failures)} of the files of {config.data!r} could not be used, as said above: the"
            " exit code is 1"
        )
    return TrainResult(folder, metrics, failures)


class Trainer:
    """One training run.

    The constructor reads the pictures, builds both models and, with --resume, puts the newest
    checkpoint into the trained one; `run` trains and scores.

    Attributes:
      config: The options, with what the pictures decide filled in.
      objective: What is trained for: pictures, network, loss, what is shown.
      model: The model that is trained, in the device's number format.
      saved: Its float32 copy, which is validated on whole pictures, saved and exported.
      state: What the checkpoint tells of the epochs before; {} for a run that begins.
      description: What travels inside `model.keras`.
    """

    def __init__(
        self,
        config: TrainConfig,
        cluster: Cluster | None,
        folder: pathlib.Path,
        out: pathlib.Path,
        report: Callable[[str], None],
    ):
        """Prepares.

        Args:
          config: Checked options.
          cluster: The machines that train together; None for this one alone.
          folder: The run folder, from which --resume reads.
          out: Where to write: `folder`, or what a worker that is not the chief throws away.
          report: Receives lines for the user.
        Raises:
          UserError: for what does not fit together: pictures, network, checkpoint, workers.
        """
        self.folder, self.out, self.report = folder, out, report
        self.device = choose_device(config.device, config.precision, config.xla, config.network)
        report(f"device: {self.device}")
        self.placement = distribution.place(config.strategy, self.device, cluster, report)
        self._say(self.placement.check_batch_size(config.batch_size))
        goes_on = config.resume and checkpoints.has_checkpoint(folder / "checkpoints")
        # Before minutes of reading pictures.
        start = _open_start(config, folder, goes_on)

        self.objective = make_objective(config, self.device)
        self.config = self.objective.config
        self._say(self._source_lines())

        compilation.set_seed(self.config.seed, self.device)
        with self.placement.scope():
            self.model = self.objective.build()
            if start is not None and not goes_on:
                network = self.objective.network_in(self.model)
                self._say(pretrained.begin_with(network, start, self.config))
            if self.config.train_layers is not None:
                network = self.objective.network_in(self.model)
                self._say(pretrained.train_only(network, self.config.train_layers))
            self.objective.compile(self.model)
        self.placement.prepare(self.model)
        self.saved = self.objective.build_saved()
        report(
            f"network: {self.config.network}, {self.saved.count_params():,} parameters; task:"
            f" {self.config.task}"
        )
        self.state = self._resume() if config.resume else {}
        self.description = self._describe(start) | self.objective.description()
        self.averaged = callbacks.AveragedWeights()

    def run(self) -> dict[str, Any]:
        """Trains, scores and writes the run folder; returns the content of `metrics.json`.

        Raises:
          UserError: where another worker is lost or the folder cannot be written.
          Interrupted: after Ctrl-C or SIGTERM.
        """
        self.placement.check_alike(self._common())
        files.make_folder(self.out / "checkpoints")
        options = to_json(dataclasses.replace(self.config, resume=False))
        files.write_json(self.out / "config.json", options)
        run_folder.save_samples(self.objective.samples, self.out / run_folder.SAMPLES_FILE)
        # Scores of fewer epochs; and their being there says that a run is finished.
        (self.out / run_folder.METRICS_FILE).unlink(missing_ok=True)
        validation = self.objective.validation_batches()
        baseline = self.objective.baseline(validation)
        if baseline is not None:
            count = sum(len(target) for _, target, *_ in validation)
            shown = self.objective.monitor.text(baseline)
            self.report(f"validation: {count} {self.objective.examples}, {shown} as they are")
        started = time.monotonic()
        writer, pictures = self._fit(validation, baseline)
        duration_s, spent_s = time.monotonic() - started, writer.spent_s
        if not self.placement.is_chief:
            self.placement.wait_for_all()
            self.report(f"trained; the chief has written {str(self.folder)!r}")
            return {}
        self._keep_best(pictures)
        return self._score(writer, baseline, duration_s, spent_s)

    def take_weights(self) -> None:
        """Copies the present weights, or their average, into the model that is saved."""
        weights = self.averaged.weights or self.model.get_weights()
        weights = self.objective.saved_weights(self.model, weights, self.saved)
        self.saved.set_weights(compilation.round_to_float16(weights))

    def save_model(self) -> None:
        """Writes the present weights as the run's model."""
        self.take_weights()
        run_folder.save_model(self.saved, self.out / run_folder.MODEL_FILE, self.description)

    def draw_preview(self) -> np.ndarray:
        """Draws what the network makes with the present weights, (H, W, 3) uint8."""
        self.take_weights()
        return self.objective.preview(self.saved, final=False)

    def _fit(
        self, validation: tf.data.Dataset, baseline: float | None
    ) -> tuple[callbacks.RunWriter, callbacks.Pictures]:
        config, monitor = self.config, self.objective.monitor
        writer = callbacks.RunWriter(
            self.out,
            self.save_model,
            self.state.get("history", []),
            self.state.get("best", self.state.get("best_psnr_db", monitor.worst)),
            self.description["data_sha256"],
            self.state.get("spent_s", 0.0),
            monitor,
        )
        pictures = callbacks.Pictures(
            self.out, self.draw_preview, writer.history, baseline, self.report, monitor
        )
        progress = callbacks.Progress(
            config.epochs, config.steps_per_epoch, writer.history, self.report, monitor
        )
        board = keras.callbacks.TensorBoard(self.out / "logs", write_graph=False)
        drawn = [board, pictures] if self.placement.is_chief else []
        advice = (
            f"start all workers again, with --resume --run-dir {str(self.folder)!r} to go on after"
            " the last epoch"
        )
        model_file = self.out / run_folder.MODEL_FILE
        patience = callbacks.Patience(config.patience, writer.history, monitor)
        with callbacks.StopSignals() as stop_signals:
            # In this order: a signal stops training when all the others are done.
            run_callbacks = [self.averaged, writer, *drawn, progress, patience, stop_signals]
            try:
                with self.placement.watch(advice):
                    if not patience.is_over():  # It was stopped before it was scored.
                        self._call_fit(validation, run_callbacks)
                stop_signals.check()  # One that came after the last step was done.
            except Interrupted as stopped:
                stopped.run_dir = self.folder
                if not model_file.exists():
                    # Stopped within the first epoch: what there is beats nothing.
                    self.save_model()
                self._keep_best(pictures)
                raise
            except UserError:
                if model_file.exists():
                    self._keep_best(pictures)
                raise
            finally:
                progress.bar.clear()
        return writer, pictures

    def _call_fit(
        self, validation: tf.data.Dataset, run_callbacks: list[keras.callbacks.Callback]
    ) -> None:
        config, first_epoch = self.config, self.state.get("epoch", 0)
        batches = self.placement.training_batches(
            functools.partial(self.objective.training_batches, first_epoch), config.batch_size
        )
        if self.placement.strategy is None:  # It copies batches to its devices by itself.
            batches = patches.on_device(batches, self.device.place)
        self.model.fit(
            batches,
            epochs=config.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=config.steps_per_epoch,
            validation_data=self.placement.validation_batches(validation),
            callbacks=run_callbacks,
            shuffle=False,  # The plan is random already.
            verbose=0,  # `callbacks.Progress` tells more: the time left for all epochs.
        )

    def _keep_best(self, pictures: callbacks.Pictures) -> None:
        """Leaves the curve of all epochs, and the preview of the model that was kept."""
        if self.placement.is_chief:
            pictures.write_curve()
            self.saved.load_weights(self.out / run_folder.MODEL_FILE)
            sheet = self.objective.preview(self.saved, final=True)
            files.write_bytes(self.out / "preview.png", arrays.encode_png(sheet))

    def _score(
        self,
        writer: callbacks.RunWriter,
        baseline: float | None,
        duration_s: float,
        spent_s: float,
    ) -> dict[str, Any]:
        config, objective, source = self.config, self.objective, self.objective.source
        best_row = objective.monitor.best(writer.history)
        epochs = len(writer.history) - self.state.get("epoch", 0)
        trained = epochs * config.steps_per_epoch * config.batch_size
        in_db = objective.monitor.unit == "dB"
        ranges = self.description["levels"]
        result = {
            **objective.scores(self.saved),
            **({} if ranges is None else {"levels": ranges}),
            f"best_{objective.monitor.name}" + "_db" * in_db: writer.best,
            "best_epoch": int(best_row["epoch"]),
            "epochs": len(writer.history),
            # By --patience.
            "stopped_early": len(writer.history) < config.epochs,
            **({"do_nothing_val_psnr_db": baseline} if in_db else {}),
            "held_out_pictures": len(source.validation),
            "training_pictures": len(source.training),
            "device": str(self.device),
            # This counts all epochs; the examples per second count those since the last resume.
            "duration_s": round(spent_s, 1),
            f"{objective.examples}_per_s": round(trained / duration_s, 1),
        }
        files.write_json(self.out / run_folder.METRICS_FILE, result)
        self._say(self._result_lines(result))
        self.placement.wait_for_all()
        return result

    def _resume(self) -> dict[str, Any]:
        """Puts the newest whole checkpoint into the model; returns its state, or {} for none."""
        folder = self.folder / "checkpoints"
        state, variables, damaged = checkpoints.load_newest_checkpoint(folder)
        self._say(f"warning: {line}" for line in damaged)
        if not variables and damaged:
            raise UserError(
                f"{str(self.folder)!r} has no whole checkpoint: train anew in another --run-dir"
                f" (its {run_folder.MODEL_FILE} is untouched)"
            )
        if variables:
            if state["data_sha256"] != self.objective.source.training.sha256():
                raise UserError(
                    f"the training pictures are not those that {str(self.folder)!r} began with:"
                    " bring them back, or train anew in another --run-dir"
                )
            checkpoints.restore_state(self.model, variables)
        self.report(f"resuming after epoch {state.get('epoch', 0)}")
        return state

    def _describe(self, start: pretrained.Start | None) -> dict[str, Any]:
        config = self.config
        # The name of the folder, not its path: this is published.
        targets = config.targets and pathlib.Path(config.targets).name
        public = dict(
            data=pathlib.Path(config.data).name,
            targets=targets,
            init=start and start.name,
            init_rest=config.init_rest and pathlib.Path(config.init_rest).name,
        )
        public |= dict(run_dir=None, resume=False, strategy="auto")
        return {
            "task": config.task,
            "network": config.network,
            "training": to_json(dataclasses.replace(config, **public)),
            "data_sha256": self.objective.source.training.sha256(),
            # Which values of the files were 0 and 1, by kind of sample; null where all had 8 bits.
            "levels": levels.recorded(self.objective.ranges),
            "began_with": start and start.facts,
            "device": str(self.device),
            "versions": {
                "tf_deconv": __version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
        }

    def _common(self) -> dict[str, str]:
        """Returns what all workers must have in common, and what to call it."""
        description = self.description
        return {
            "options": json.dumps([description["training"], description["began_with"]]),
            "pictures": description["data_sha256"],
            "versions": json.dumps(description["versions"]),
            "number format": self.device.precision,
            "checkpoint": str(self.state.get("epoch", 0)),
        }

    def _source_lines(self) -> list[str]:
        source = self.objective.source
        return [
            *self.objective.notes,
            f"data: {self.config.data}, {_pictures(len(source.training))} to train on,"
            f" {len(source.validation)} held out",
            *(f"note: {note}" for note in source.notes),
        ]

    def _result_lines(self, result: dict[str, Any]) -> list[str]:
        rate, skipped = result[f"{self.objective.examples}_per_s"], self.objective.source.skipped
        patience = self.config.patience
        stopped = (
            f"stopped early: {patience} epochs have brought no better validation; the model of"
            f" epoch {result['best_epoch']} was kept"
        )
        lines = [
            *([stopped] if result["stopped_early"] else []),
            f"trained in {result['duration_s']:.0f} s, {rate:.0f} {self.objective.examples}/s",
            *self.objective.score_lines(result),
        ]
        if skipped:
            were = "was" if len(skipped) == 1 else "were"
            lines.append(f"{_pictures(len(skipped))} {were} skipped:")
            lines += [f"  {line}" for line in skipped]
        return [
            *lines,
            f"preview: {self.folder / 'preview.png'}",
            f"learning curve: {self.folder / 'curve.png'}",
            f"next: {typed('export', shlex.quote(str(self.folder)))}",
            *self.objective.advice(),
        ]

    def _say(self, lines) -> None:
        for line in lines:
            self.report(line)


def _pictures(count: int) -> str:
    return f"{count} picture" if count == 1 else f"{count} pictures"


def make_objective(config: TrainConfig, device: Device) -> Objective:
    """Returns what a checked config trains for, its pictures read."""
    if TASKS[config.task].generates:
        from tf_deconv.training.generation import make_generation

        return make_generation(config, device)
    if NETWORKS[config.network].frames:
        from tf_deconv.training.clips import ClipRestoration

        return ClipRestoration(config, device)
    from tf_deconv.training.restoration import Restoration

    return Restoration(config, device)


def _open_start(
    config: TrainConfig, folder: pathlib.Path, goes_on: bool
) -> pretrained.Start | None:
    """Opens the models that --init and --init-rest name.

    The weights of a checkpoint began with them; they need not be there any longer.
    """
    if config.init is None:
        return None
    if not goes_on:
        start = pretrained.open_start(config.init)
        if config.init_rest is None:
            return start
        return pretrained.join(start, pretrained.open_start(config.init_rest))
    try:
        known = run_folder.read_description(folder / run_folder.MODEL_FILE)
    except UserError:  # The model will be written anew; its weights are in the checkpoint.
        known = {}
    return pretrained.Start(pathlib.Path(config.init).name, None, known.get("began_with") or {})


@contextlib.contextmanager
def _nowhere() -> Iterator[pathlib.Path]:
    """Yields a run folder that nobody sees, for a worker that is not the chief."""
    with tempfile.TemporaryDirectory(prefix="tf-deconv-worker-") as folder:
        yield pathlib.Path(folder)


@contextlib.contextmanager
def _claim_folder(
    config: TrainConfig, is_chief: bool
) -> Iterator[tuple[pathlib.Path, TrainConfig]]:
    """Decides the run folder, which is the chief's alone; yields it and the options.

    With --resume, the run's own config takes over. But for the strategy: a run goes on with the
    devices that there are.
    """
    if config.resume:
        folder = pathlib.Path(config.run_dir)
        if not (folder / "config.json").is_file():
            several = "" if is_chief else ", on storage that all workers share"
            raise UserError(
                f"{str(folder)!r} has no config.json: expected a run to resume{several}"
            )
        stored = TrainConfig(**read_config(folder / "config.json", TrainConfig))
        renewed = {name: getattr(config, name) for name in RENEWABLE}
        renewed = {name: value for name, value in renewed.items() if value is not None}
        stored = dataclasses.replace(
            stored, run_dir=config.run_dir, resume=True, strategy=config.strategy, **renewed
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


def _finished(
    folder: pathlib.Path, config: TrainConfig, report: Callable[[str], None]
) -> dict[str, Any] | None:
    """Finds out whether a run that is to go on has nothing left to do.

    Args:
      folder: The run folder.
      config: The run's own options, with those that were given anew.
      report: Receives a line if it is so.
    Returns:
      The content of its `metrics.json` if it has trained and scored all its epochs, or stopped
      early; None if there is something to do.
    Raises:
      UserError: if it is to have fewer epochs than are trained already.
    """
    state = checkpoints.load_newest_checkpoint(folder / "checkpoints")[0]
    done, rows = state.get("epoch", 0), state.get("history", [])
    if config.epochs < done:
        raise UserError(
            f"epochs={config.epochs} with resume=True: {done} epochs are trained already; expected"
            " more, to go on with, or no --epochs"
        )
    patience = callbacks.Patience(config.patience, rows, monitor_of(config.network))
    metrics = _read_metrics(folder / run_folder.METRICS_FILE)
    stopped_early = done < config.epochs and patience.is_over()
    # Runs of earlier versions tell no epochs; they had no other number of them.
    if (done < config.epochs and not stopped_early) or metrics.get("epochs", done) != done:
        return None
    if not metrics or not (folder / run_folder.MODEL_FILE).is_file():
        return None
    why = f"{done} of {config.epochs} epochs are trained; more --epochs let it go on"
    if stopped_early:
        why = (
            f"it stopped after epoch {done} of {config.epochs}, for {config.patience} epochs had"
            " brought no better validation; more --patience, or 0, lets it go on"
        )
    report(f"run {str(folder)!r} is finished, and nothing was changed: {why}")
    return metrics


def _read_metrics(path: pathlib.Path) -> dict[str, Any]:
    """Returns the scores of a run; {} where there are none that can be read."""
    try:
        found = descriptions.parse_json(files.read_bounded(path, descriptions.LARGEST_JSON_BYTES))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _check_empty(folder: pathlib.Path) -> None:
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {checkpoints.LOCK_FILE}:
        raise UserError(
            f"run folder {str(folder)!r} is not empty: choose another --run-dir, or add --resume to"
            " go on with it"
        )
