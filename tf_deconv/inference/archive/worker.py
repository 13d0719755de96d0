"""Restores an archive's pictures in a worker process, whatever started it.

A picture is restored by `restoring.restore_file`, as the command does without workers, into the
run's staging folder, and then moved to where it belongs: a target that exists is whole, unless
another program damaged it. So a picture that is given out twice is restored once.
"""

from __future__ import annotations

import os
import pathlib
import socket
import threading
import time
import uuid

from tf_deconv.images import files
from tf_deconv.images.files import Job
from tf_deconv.inference.archive import records
from tf_deconv.inference.artifacts import digest_of
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.restore import Model, open_model, restore_file
from tf_deconv.utils import devices
from tf_deconv.utils.options import UserError, reason

# Kinds of records; each but the first two ends a picture.
BEGUN, FAULT, RESTORED, SKIPPED, FAILED = "begun", "fault", "restored", "there", "failed"


class Worker:
    """A model that is open, and a log of what became of pictures.

    Pictures are restored one at a time, whatever number of threads the runner calls it from: a
    TFLite interpreter takes no two, and the cores are shared out among processes.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens the model.

        Args:
          folder: The run's.
        Raises:
          UserError: if the model cannot be opened here, or is another than the driver's.
        """
        self._folder = folder
        self._lock = threading.Lock()
        host = socket.gethostname()
        name = f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._log = records.Log(folder / records.LOGS_FOLDER / name)
        try:
            self._config, self._model = self._open()
        except Exception as error:
            self._log.add({"kind": FAULT, "reason": f"{host}: {reason(error)}"})
            raise

    def _open(self) -> tuple[RestoreConfig, Model]:
        order = records.read_order(self._folder)
        config = RestoreConfig(**order.config)
        cores = devices.core_count()
        parts = config.workers or cores
        if config.beam_args:
            # Of another machine nothing tells which cores are free.
            devices.limit_threads(max(1, cores // parts))
        elif (part := records.take_place(self._folder, parts)) is not None:
            devices.share_cores(part, parts)
        if digest_of(config.model) != order.digest:
            raise UserError(
                f"model {config.model!r} is another one than where the run was started: install the"
                " same tf-deconv on both, or give a path that both reach"
            )
        return config, open_model(config)

    def restore(self, number: int, job: Job) -> str:
        """Restores a picture unless it is there already.

        Args:
          number: Under which the outcome goes into the log.
          job: From where to where.
        Returns:
          RESTORED, SKIPPED or FAILED.
        """
        with self._lock:
            self._log.add({"kind": BEGUN, "number": number})
            started = time.perf_counter()
            record = self._restore(number, job)
            record["number"], record["duration_s"] = number, time.perf_counter() - started
            self._log.add(record)
            return record["kind"]

    def _restore(self, number: int, job: Job) -> dict:
        # Here too what is taken out of a shard: it goes with the run, however a worker ends.
        staging = self._folder / records.STAGING_FOLDER
        staged = staging / f"{uuid.uuid4().hex}{job.target.suffix}"
        try:
            if is_whole(job.target, self._config.max_pixels):
                return {"kind": SKIPPED}
            job.target.parent.mkdir(parents=True, exist_ok=True)
            notes, conversion = restore_file(
                self._model.restorer,
                Job(job.source, staged),
                self._config.max_pixels,
                task=self._model.task,
                scratch=staging,
            )
            os.replace(staged, job.target)
        except Exception as error:  # Runtimes raise what they like; the other pictures go on.
            return {"kind": FAILED, "reason": reason(error)}
        return {"kind": RESTORED, "notes": notes, "conversion": conversion}


def is_whole(path: pathlib.Path, max_pixels: int) -> bool:
    """Returns whether a restored picture exists and can be decoded to its last pixel."""
    try:
        files.read_picture(path, max_pixels)
    except (ValueError, OSError):
        return False
    return True
