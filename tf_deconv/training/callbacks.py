"""What happens during `model.fit`: the run folder is kept whole, a stop is a clean stop, and a
person sees how far it has come.
"""

from __future__ import annotations

import csv
import io
import math
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.images import arrays
from tf_deconv.inference import run_folder
from tf_deconv.training import checkpoints as checkpoint_files
from tf_deconv.training import curve as learning_curve
from tf_deconv.training.checkpoints import state_of
from tf_deconv.training.monitor import PSNR, Monitor, epochs_without_gain
from tf_deconv.utils import files, progress
from tf_deconv.utils.interrupted import Interrupted
from tf_deconv.utils.options import UserError, reason
from tf_deconv.utils.progress import duration_text

CHECKPOINTS_KEPT = 2
# Where epochs are shorter than this many drawings of the learning curve, some go without one.
CURVE_EVERY_DRAWINGS = 20


class StopSignals(keras.callbacks.Callback):
    """Turns Ctrl-C and SIGTERM into `Interrupted` between two steps, never inside a write.

    A second Ctrl-C stops at once.
    """

    def __init__(self):
        super().__init__()
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._previous[signum] = signal.signal(signum, self._on_signal)
        return self

    def __exit__(self, *_):
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()

    def _on_signal(self, signum, frame):
        if self.received == signal.SIGINT == signum:
            raise KeyboardInterrupt
        self.received = signum

    def check(self):
        """Raises `Interrupted` if a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_batch_end(self, batch, logs=None):
        self.check()

    def on_epoch_end(self, epoch, logs=None):
        self.check()


class AveragedWeights(keras.callbacks.Callback):
    """Validates the optimizer's moving average of weights, where it keeps one.

    Training goes on from the raw weights. Nothing happens with an optimizer without `use_ema`.

    Attributes:
      weights: The model's averaged weights of the last validation; None before it.
    """

    def __init__(self):
        super().__init__()
        self.weights: list[np.ndarray] | None = None
        self._raw: list[np.ndarray] = []

    def on_test_begin(self, logs=None):
        if self.model.optimizer.use_ema:
            self._raw = self.model.get_weights()
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def on_test_end(self, logs=None):
        if self.model.optimizer.use_ema:
            self.weights = self.model.get_weights()
            self.model.set_weights(self._raw)


class RunWriter(keras.callbacks.Callback):
    """After each epoch: best model, history, and last of all the checkpoint.

    The checkpoint comes last because resuming starts from it: whatever was written before it is
    written again, with the same content.

    Args:
      folder: The run folder.
      save_model: Writes the present weights as the run's model.
      history: Rows of epochs already trained.
      best: The best of what is monitored in those epochs.
      data_sha256: Hash of the training pictures; resuming on others is refused.
      spent_s: Seconds that those epochs took.
      monitor: The figure that tells which epoch was the best.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        save_model: Callable[[], None],
        history: list[dict[str, float]],
        best: float,
        data_sha256: str,
        spent_s: float = 0.0,
        monitor: Monitor = PSNR,
    ):
        super().__init__()
        self.folder = folder
        self.save_model = save_model
        self.history = list(history)
        self.best = best
        self.monitor = monitor
        self.data_sha256 = data_sha256
        self._spent_s, self._started = spent_s, time.monotonic()

    @property
    def spent_s(self) -> float:
        """Seconds of training so far, those before a resume too."""
        return self._spent_s + time.monotonic() - self._started

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not all(math.isfinite(value) for value in logs.values()):
            raise UserError(
                f"epoch {epoch + 1}: the loss is no longer a number; lower --learning-rate or use"
                f" --precision float32 ({self._kept()})"
            )
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.history.append({"epoch": epoch + 1, **logs, "learning_rate": rate})
        if self.monitor.is_better(logs[self.monitor.name], self.best):
            self.best = logs[self.monitor.name]
            self.save_model()
        files.write_bytes(self.folder / "history.csv", _to_csv(self.history))
        checkpoints = self.folder / "checkpoints"
        checkpoint_files.save_checkpoint(
            checkpoints / f"epoch-{epoch + 1:06d}.npz",
            {
                "epoch": epoch + 1,
                "best": self.best,
                "history": self.history,
                "data_sha256": self.data_sha256,
                "spent_s": self.spent_s,
            },
            [keras.ops.convert_to_numpy(variable) for variable in state_of(self.model)],
        )
        checkpoint_files.remove_old_checkpoints(checkpoints, CHECKPOINTS_KEPT)

    def _kept(self) -> str:
        if (self.folder / run_folder.MODEL_FILE).exists():
            return f"the best model so far is in {str(self.folder)!r}"
        return "no epoch had ended, so there is no model yet"


class Patience(keras.callbacks.Callback):
    """Ends training when too many epochs have brought no better validation.

    It comes after `RunWriter`, so that the last epoch is kept too.

    Args:
      epochs: So many are too many; 0 or None: none is.
      history: Rows of all epochs, kept up by `RunWriter`.
      monitor: The figure that tells which epoch was the best.
    """

    def __init__(self, epochs: int | None, history: list[dict[str, float]], monitor: Monitor):
        super().__init__()
        self.epochs, self.history, self.monitor = epochs, history, monitor

    def is_over(self) -> bool:
        """Returns whether the last epochs were too many without a better one."""
        return bool(self.epochs) and epochs_without_gain(self.history, self.monitor) >= self.epochs

    def on_epoch_end(self, epoch, logs=None):
        if self.is_over():
            self.model.stop_training = True


class Pictures(keras.callbacks.Callback):
    """Shows after each epoch how far training has come: preview, TensorBoard picture, curve.

    It comes after `RunWriter`: what is lost when training ends in between is drawn anew.

    Args:
      folder: The run folder.
      draw_preview: Draws what the present weights make of held-out pictures, (H, W, 3) uint8.
      history: Rows of all epochs, kept up by `RunWriter`.
      do_nothing_psnr_db: What validation patches score as they are; None leaves it out.
      report: Receives a line when a curve cannot be drawn.
      monitor: The figure that tells which epoch was the best.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        draw_preview: Callable[[], np.ndarray],
        history: list[dict[str, float]],
        do_nothing_psnr_db: float | None,
        report: Callable[[str], None],
        monitor: Monitor = PSNR,
    ):
        super().__init__()
        self.folder = folder
        self.draw_preview = draw_preview
        self.history = history
        self.do_nothing_psnr_db = do_nothing_psnr_db
        self.report = report
        self.monitor = monitor
        self._tensorboard: tf.summary.SummaryWriter | None = None
        self._next_curve = 0.0

    def on_epoch_end(self, epoch, logs=None):
        sheet = self.draw_preview()
        files.write_bytes(self.folder / "preview.png", arrays.encode_png(sheet))
        self._write_summary(sheet, epoch)
        if time.monotonic() >= self._next_curve:
            self.write_curve()

    def on_train_end(self, logs=None):
        if self._tensorboard is not None:
            self._tensorboard.close()

    def write_curve(self) -> None:
        """Writes `curve.png`; a fault is reported and stops nothing."""
        if not self.history:
            return
        started = time.monotonic()
        try:
            curve = learning_curve.draw_curve(self.history, self.do_nothing_psnr_db, self.monitor)
            files.write_bytes(self.folder / "curve.png", curve)
        except Exception as error:  # Hours of training are worth more than their picture.
            self.report(f"warning: curve.png could not be written: {reason(error)}")
        ended = time.monotonic()
        self._next_curve = ended + CURVE_EVERY_DRAWINGS * (ended - started)

    def _write_summary(self, sheet: np.ndarray, epoch: int) -> None:
        # A folder of its own: TensorBoard follows one growing file in each.
        if self._tensorboard is None:
            self._tensorboard = tf.summary.create_file_writer(str(self.folder / "logs" / "preview"))
        # Keras counts the steps of its scalars from 0 too.
        with self._tensorboard.as_default(step=epoch):
            tf.summary.image("preview", sheet[np.newaxis])
        self._tensorboard.flush()


class Progress(keras.callbacks.Callback):
    """One line per epoch, with the time left for all of them; on a terminal a bar in between.

    Args:
      epochs: Number of epochs in the whole training.
      steps_per_epoch: Steps in each.
      history: Rows of all epochs, kept up by `RunWriter`, which must come before.
      report: Receives the lines.
      monitor: The figure that tells which epoch was the best.
    """

    def __init__(
        self,
        epochs: int,
        steps_per_epoch: int,
        history: list[dict[str, float]],
        report: Callable[[str], None],
        monitor: Monitor = PSNR,
    ):
        super().__init__()
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.history = history
        self.report = report
        self.monitor = monitor
        self.bar = progress.Bar()
        self._durations_s: list[float] = []
        self._epoch = 0
        self._started = 0.0
        # When the first steps of an epoch had been taken, and how many they were.
        self._first: tuple[float, int] | None = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._started, self._first = epoch, time.monotonic(), None

    def on_train_batch_end(self, batch, logs=None):
        done, now = batch + 1, time.monotonic()
        self._first = self._first or (now, done)
        head = f"epoch {self._epoch + 1:{len(str(self.epochs))}}/{self.epochs}"
        tail = f"loss {logs['loss']:.3g}" if logs else ""
        left_s = self._left_s(done, now)
        if left_s is not None:
            tail += f"  {progress.duration_text(left_s)} left"
        self.bar.draw(head, done / self.steps_per_epoch, tail)

    def on_epoch_end(self, epoch, logs=None):
        self._durations_s.append(time.monotonic() - self._started)
        self.bar.clear()
        self.report(epoch_line(self.history, self.epochs, self._durations_s, self.monitor))

    def _left_s(self, done: int, now: float) -> float | None:
        """Judges the time until the end of training, in seconds; None before anything is known."""
        epochs = self.epochs - self._epoch
        if self._durations_s:
            whole = epochs * epoch_duration_s(self._durations_s)
            return max(0.0, whole - (now - self._started))
        # The first steps take as long as it takes to build the graph.
        since, steps = self._first
        if done == steps:
            return None
        return (epochs * self.steps_per_epoch - done) * (now - since) / (done - steps)


def _to_csv(rows: list[dict[str, float]]) -> bytes:
    stream = io.StringIO()
    # The first rows of a resumed run may be of a version that wrote fewer columns.
    writer = csv.DictWriter(stream, fieldnames=list(rows[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


# Epochs whose mean tells the length of the next ones: few enough to follow a machine that slows.
_EPOCHS_TO_JUDGE_BY = 5


def epoch_duration_s(durations_s: Sequence[float]) -> float:
    """Judges how long the next epoch takes, in seconds.

    Args:
      durations_s: Of the epochs so far, at least one. The first builds the graph on top: it counts
        only while there is no other.
    """
    latest = (durations_s[1:] or durations_s)[-_EPOCHS_TO_JUDGE_BY:]
    return sum(latest) / len(latest)


def epoch_line(
    rows: Sequence[dict[str, float]],
    epochs: int,
    durations_s: Sequence[float],
    monitor: Monitor = PSNR,
) -> str:
    """Describes the last epoch, the best one, and the time until the last.

    Args:
      rows: One per epoch: `epoch`, `loss` and what is monitored.
      epochs: Number of epochs in the whole training.
      durations_s: Seconds of each epoch of this process, at least one; after a resume fewer than
        `rows`.
      monitor: The figure that tells which epoch was the best.
    """
    row, best = rows[-1], monitor.best(rows)
    number, each_s = int(row["epoch"]), epoch_duration_s(durations_s)
    shown = f"{each_s:.1f} s" if each_s < 9.95 else duration_text(each_s)
    line = (
        f"epoch {number:{len(str(epochs))}}/{epochs}  loss {row['loss']:.3g}"
        f"  {monitor.line(row)}"
        f"  best {best[monitor.name]:{monitor.form}} (epoch {best['epoch']:.0f})  {shown}/epoch"
    )
    left = epochs - number
    return f"{line}, {duration_text(left * each_s)} left" if left else line
