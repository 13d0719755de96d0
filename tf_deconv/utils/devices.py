"""Which device trains, in which number format, and whether XLA compiles the step.

Measured in benchmarks/README.md: on a CPU, XLA makes these networks 2 to 5 times slower, and
bfloat16 pays only where the processor multiplies it (elsewhere it is 10 times slower). What is
faster on a GPU, `benchmarks/training.py --device gpu` tells: docs/decisions/0006.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib

from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError

# Networks whose step a GPU runs faster one way, where that was measured: what `xla="auto"` gives
# them. Any other gets Keras's own choice, which is XLA wherever every layer supports it.
XLA_ON_GPU: dict[str, bool] = {}

# GPUs that `choose_device("cpu")` hid from TensorFlow.
_hidden_gpus: list = []


@dataclasses.dataclass(frozen=True)
class Device:
    """What a run trains on.

    Attributes:
      kind: "cpu" or "gpu".
      name: For people, such as "CPU (2 threads, AVX512_BF16)".
      precision: Keras dtype policy of the hidden layers.
      jit_compile: What `compile` receives: False, True or "auto".
      place: Where batches wait for the step, as TensorFlow calls it, such as "/GPU:0"; "": in the
        CPU's memory. See `data.patches.on_device`.
    """

    kind: str
    name: str
    precision: str
    jit_compile: bool | str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}, XLA {'off' if not self.jit_compile else 'on'}"


def choose_device(
    device: str = "auto",
    precision: str = "auto",
    xla: str = "auto",
    network: str | None = None,
) -> Device:
    """Chooses and prepares the device; call it before any TensorFlow operation.

    Args:
      device: "auto", "cpu" or "gpu".
      precision: "auto" or a Keras dtype policy.
      xla: "on", "off", or "auto": off on a CPU; on a GPU what `XLA_ON_GPU` says, else Keras.
      network: Name of the network that is to be trained.
    Returns:
      The device. GPUs are set to grow their memory; with "cpu" they are hidden, until the next call
      or, once TensorFlow has been used, as long as the process runs: "auto" is the CPU then.
    Raises:
      UserError: if "gpu" is asked for and there is none, if this process cannot use it any more, or
        if Keras runs on another backend.
    """
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        # Networks and losses run on it; data, exports and several devices are TensorFlow's.
        raise UserError(f"KERAS_BACKEND={backend!r}: expected 'tensorflow', or nothing")
    chosen = _choose_tensorflow(device, precision)
    if xla != "auto":
        return dataclasses.replace(chosen, jit_compile=xla == "on")
    if chosen.jit_compile == "auto" and network in XLA_ON_GPU:
        return dataclasses.replace(chosen, jit_compile=XLA_ON_GPU[network])
    return chosen


def _choose_tensorflow(device: str, precision: str) -> Device:
    import tensorflow as tf

    global _hidden_gpus
    # A program that has used TensorFlow already keeps the devices as it set them up: each setting
    # below is a RuntimeError then.
    if device != "cpu" and _hidden_gpus:
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices(_hidden_gpus, "GPU")
            _hidden_gpus = []
    # Not those that the machine has: TensorFlow uses no others.
    gpus = tf.config.get_visible_devices("GPU")
    if device == "gpu" and not gpus:
        raise UserError(
            "device='gpu': this process has begun on the CPU and keeps to it; start another one"
            if _hidden_gpus
            else "device='gpu': TensorFlow sees no GPU; it needs a driver and"
            f" {how_to_install('gpu')}; or use --device cpu"
        )
    if device == "cpu" or not gpus:
        if gpus:
            with contextlib.suppress(RuntimeError):
                tf.config.set_visible_devices([], "GPU")
                _hidden_gpus = gpus
        return _cpu(precision, jit_compile=False)
    with contextlib.suppress(RuntimeError):
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpus[0])
    capability = details.get("compute_capability", (0, 0))
    if precision == "auto":
        # Tensor cores take float16 from Volta (7.0) on and bfloat16 from Ampere (8.0) on.
        precision = (
            "mixed_bfloat16"
            if capability >= (8, 0)
            else "mixed_float16"
            if capability >= (7, 0)
            else "float32"
        )
    return Device("gpu", details.get("device_name", "GPU"), precision, "auto", place="/GPU:0")


def _cpu(precision: str, jit_compile: bool) -> Device:
    fast = sorted({"avx512_bf16", "amx_bf16"} & cpu_flags())
    if precision == "auto":
        precision = "mixed_bfloat16" if fast else "float32"
    extras = "".join(f", {flag.upper()}" for flag in fast)
    return Device("cpu", f"CPU ({core_count()} threads{extras})", precision, jit_compile)


def limit_threads(threads: int | None) -> None:
    """Makes TensorFlow use so many threads on the CPU; None: as it likes.

    Raises:
      UserError: if this process has begun with another number.
    """
    if threads is None or threads == core_count():
        return
    import tensorflow as tf

    settings = tf.config.threading
    if settings.get_intra_op_parallelism_threads() == threads:
        return
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise UserError(
            f"threads={threads}: this process has begun with others, and TensorFlow keeps to them;"
            " start another one"
        ) from error


def core_count() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_flags() -> set[str]:
    """Returns the processor's feature flags, empty where the system does not tell."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    for line in text.splitlines():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()
