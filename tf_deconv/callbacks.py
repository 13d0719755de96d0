"""What happens during `model.fit`: the run folder is kept whole, and a stop is a clean stop."""

from __future__ import annotations

import csv
import io
import math
import pathlib
import signal
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_deconv import files, runs
from tf_deconv.config import UserError

CHECKPOINTS_KEPT = 2


class Interrupted(Exception):
    """Training was asked to stop by a signal.

    Attributes:
      signum: The signal's number.
    """

    def __init__(self, signum: int):
        super().__init__(f"signal {signum}")
        self.signum = signum


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

    def _check(self):
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_batch_end(self, batch, logs=None):
        self._check()

    def on_epoch_end(self, epoch, logs=None):
        self._check()


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
    """After each epoch: best model, history, preview, and last of all the checkpoint.

    The checkpoint comes last because resuming starts from it: whatever was written before it is
    written again, with the same content.

    Args:
      folder: The run folder.
      save_model: Writes the present weights as the run's model.
      write_preview: Writes the preview of the present weights.
      history: Rows of epochs already trained.
      best_psnr_db: Best validation PSNR of those epochs.
      data_sha256: Hash of the training pictures; resuming on others is refused.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        save_model: Callable[[], None],
        write_preview: Callable[[], None],
        history: list[dict[str, float]],
        best_psnr_db: float,
        data_sha256: str,
    ):
        super().__init__()
        self.folder = folder
        self.save_model = save_model
        self.write_preview = write_preview
        self.history = list(history)
        self.best_psnr_db = best_psnr_db
        self.data_sha256 = data_sha256

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not all(math.isfinite(value) for value in logs.values()):
            raise UserError(
                f"epoch {epoch + 1}: the loss is no longer a number; lower --learning-rate or use"
                f" --precision float32 ({self._kept()})"
            )
        self.history.append({"epoch": epoch + 1, **logs})
        if logs["val_psnr"] > self.best_psnr_db:
            self.best_psnr_db = logs["val_psnr"]
            self.save_model()
            self.write_preview()
        files.write_bytes(self.folder / "history.csv", _to_csv(self.history))
        checkpoints = self.folder / "checkpoints"
        runs.save_checkpoint(
            checkpoints / f"epoch-{epoch + 1:06d}.npz",
            {
                "epoch": epoch + 1,
                "best_psnr_db": self.best_psnr_db,
                "history": self.history,
                "data_sha256": self.data_sha256,
            },
            [keras.ops.convert_to_numpy(variable) for variable in state_of(self.model)],
        )
        runs.remove_old_checkpoints(checkpoints, CHECKPOINTS_KEPT)

    def _kept(self) -> str:
        if (self.folder / runs.MODEL_FILE).exists():
            return f"the best model so far is in {str(self.folder)!r}"
        return "no epoch had ended, so there is no model yet"


def state_of(model: keras.Model) -> list[keras.Variable]:
    """Returns every variable that decides how training goes on, in a fixed order."""
    return [*model.variables, *model.optimizer.variables]


def restore_state(model: keras.Model, variables: list[np.ndarray]) -> None:
    """Sets the variables of `state_of`; the optimizer must be built.

    Raises:
      UserError: if number or shapes differ.
    """
    targets = state_of(model)
    if [tuple(target.shape) for target in targets] != [value.shape for value in variables]:
        raise UserError(
            "the checkpoint belongs to another network or optimizer; resume with the versions and"
            " options that made it"
        )
    for target, value in zip(targets, variables):
        target.assign(value)


def _to_csv(rows: list[dict[str, float]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()
