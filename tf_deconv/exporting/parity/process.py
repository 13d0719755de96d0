"""Starts `runner.py`: a file in a runtime, in a process that may crash. Imports no TensorFlow."""

from __future__ import annotations

import errno
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from tf_deconv.exporting.parity import runner
from tf_deconv.utils.options import UserError

TIMEOUT_S = 600
# What others end a process with; a crash of the runtime has other signals.
_FROM_OUTSIDE = (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGKILL", signal.SIGTERM))


class NotInstalled(RuntimeError):
    """A runtime, or a module that it needs, is missing."""


def signature_for(file: str, size: tuple[int, int], shape: Sequence[int | None] | None) -> str:
    """Returns what the runner has to call.

    Args:
      file: Its name.
      size: (height, width) of the picture.
      shape: Of what an ONNX file takes, as its manifest tells; None where it does not.
    """
    if file.endswith(".tflite"):
        return f"restore_{size[0]}x{size[1]}"
    is_any = file.endswith(".onnx") and shape and None in shape
    return runner.ANY_SIZE if is_any else "serving_default"


def not_installed(runtime: str) -> str:
    """Returns what to do where a key of `runner.RUNTIMES` is missing."""
    package = runner.RUNTIMES[runtime].package
    return f"runtime={runtime!r} is not installed: expected what `pip install {package}` brings"


def run_file(
    path: pathlib.Path,
    cases: dict[str, np.ndarray],
    runtime: str = "",
    threads: int = 1,
    *,
    python: str | None = None,
    timed: bool = True,
) -> dict[str, np.ndarray]:
    """Runs an exported file in a subprocess.

    Args:
      path: A SavedModel folder, a `.tflite` or an `.onnx` file.
      cases: "SIGNATURE|NUMBER" to a picture, or "SIGNATURE|NUMBER|INPUT" to that input.
      runtime: Key of `runner.RUNTIMES`; what fits the file when left out.
      threads: How many the runtime may use.
      python: The interpreter of an environment that has the runtime; this one when left out.
      timed: Whether latencies are measured.
    Returns:
      Outputs, as `runner` tells, "latency_ms|SIGNATURE", "latency_p95_ms|SIGNATURE", "version" and,
      of a TFLite file, "delegated".
    Raises:
      NotInstalled: if the runtime is missing.
      RuntimeError: if the process fails, with its last line.
      UserError: if it was killed from outside, which tells nothing of the file.
      OSError: if there is no place for what it gave.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = pathlib.Path(folder, "cases.npz"), pathlib.Path(folder, "results.npz")
        np.savez(inputs, **cases)
        command = [python or sys.executable, runner.__file__, str(path), str(inputs), str(outputs)]
        command += [runtime, str(threads)]
        environment = os.environ | {runner.WATCHES_STDIN: "1"}
        if not timed:
            environment[runner.TIMED_RUNS] = "0"
        # It ends when this end of the pipe is closed, however this process ends.
        watched, held = os.pipe()
        try:
            done = subprocess.run(
                command,
                stdin=watched,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
                env=environment,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"gave no answer within {TIMEOUT_S} s") from error
        finally:
            os.close(watched)
            os.close(held)
        if -done.returncode in _FROM_OUTSIDE:
            name = signal.Signals(-done.returncode).name
            raise UserError(
                f"the process that ran {path.name!r} was ended by {name}, of too little memory"
                " perhaps: start again"
            )
        lines = done.stderr.strip().splitlines() or ["no message"]
        if done.returncode == runner.EXIT_NOT_INSTALLED:
            raise NotInstalled(lines[-1])
        if done.returncode == runner.EXIT_NO_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
        if done.returncode:
            raise RuntimeError(f"ended with code {done.returncode}: {lines[-1]}")
        with np.load(outputs) as results:
            return dict(results)
