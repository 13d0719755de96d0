"""Training on several devices or machines, by tf.distribute under `model.fit`.

Each replica takes its rows of every batch, gradients are summed, and all replicas step alike: the
losses and weights are those of one process with the same (global) batch, up to the order in which
floating-point numbers are added. Only the chief writes: docs/distributed.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping

import keras
import tensorflow as tf

from tf_deconv.training.cluster import VARIABLE, Cluster
from tf_deconv.utils.devices import Device
from tf_deconv.utils.options import UserError, reason

# What TensorFlow raises in a worker when another one has gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)
# Hexadecimal digits of a hash that a float32 holds exactly: 24 bits.
_HASH_DIGITS = 6

# (part, parts) to the batches of this part: rows [part / parts, (part + 1) / parts) of each.
MakeBatches = Callable[[int, int], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the copies of a network train.

    Attributes:
      strategy: tf.distribute's; None for one device.
      cluster: The machines; None for one.
    """

    strategy: tf.distribute.Strategy | None = None
    cluster: Cluster | None = None

    @property
    def is_chief(self) -> bool:
        """Tells whether this process writes the run folder."""
        return self.cluster is None or self.cluster.is_chief

    @property
    def replicas(self) -> int:
        """Number of copies, over all machines."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager:
        """Within it variables are made, on every replica."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def prepare(self, model: keras.Model) -> None:
        """Makes `fit` of a compiled and built model work under the strategy."""
        if self.strategy is not None:
            model.__class__ = _for_strategy(type(model), reshape=self.cluster is not None)
            # Several steps in one call need outputs of a kind that a loop cannot carry here.
            model.steps_per_execution = 1

    def training_batches(self, make: MakeBatches, batch_size: int) -> tf.data.Dataset:
        """Returns batches for `fit`, of which each machine makes its own rows only.

        Args:
          make: Makes the rows of one part of each batch.
          batch_size: Examples in a batch, over all replicas.
        """
        if self.strategy is None:
            return make(0, 1)

        def of_pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            batches = make(context.input_pipeline_id, context.num_input_pipelines)
            if context.num_replicas_in_sync == context.num_input_pipelines:
                return batches
            own = context.get_per_replica_batch_size(batch_size)
            return batches.rebatch(own, drop_remainder=True)

        return self.strategy.distribute_datasets_from_function(of_pipeline)

    def validation_batches(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Returns finite batches so that `fit` gives each replica its rows of each."""
        options = tf.data.Options()
        # There are no files to share out, which TensorFlow would warn of.
        options.experimental_distribute.auto_shard_policy = (
            tf.data.experimental.AutoShardPolicy.DATA
        )
        return batches if self.cluster is None else batches.with_options(options)

    def check_batch_size(self, batch_size: int) -> list[str]:
        """Returns lines that tell how a batch is shared out.

        Raises:
          UserError: if it cannot be, evenly.
        """
        if batch_size % self.replicas:
            below = batch_size // self.replicas * self.replicas
            near = f"{below} or {below + self.replicas}" if below else f"{self.replicas}"
            raise UserError(
                f"batch_size={batch_size} over {self.replicas} replicas: expected a multiple of"
                f" {self.replicas} (a batch is that of all replicas together); {near} would do"
            )
        if self.strategy is None:
            return []
        return [f"batch: {batch_size} over all replicas, {batch_size // self.replicas} on each"]

    def check_alike(self, facts: Mapping[str, str]) -> None:
        """Compares what every worker must have in common.

        Args:
          facts: What it is called, and its text.
        Raises:
          UserError: on each worker, if any of them has another text.
        """
        if self.cluster is None:
            return
        numbers = [_hash(text) for text in facts.values()]

        def gather():
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.constant([numbers], tf.float32), axis=0)

        rows = self._run(gather).numpy()  # (replicas, facts)
        unlike = [name for name, column in zip(facts, rows.T) if len(set(column.tolist())) > 1]
        if unlike:
            raise UserError(
                f"the workers do not have the same {' and '.join(unlike)}: start each with the same"
                " command, on the same pictures and versions"
            )

    def wait_for_all(self) -> None:
        """Waits until every worker has come here: who leaves early looks as if it had died."""
        if self.cluster is not None:

            def add():
                context = tf.distribute.get_replica_context()
                return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0))

            self._run(add)

    def _run(self, function: Callable[[], tf.Tensor]) -> tf.Tensor:
        with self.watch():
            result = self.strategy.run(tf.function(function))
            return self.strategy.experimental_local_results(result)[0]

    @contextlib.contextmanager
    def watch(self, advice: str = "start all workers again") -> Iterator[None]:
        """Turns the loss of another worker into one line.

        Args:
          advice: What to do then.
        Raises:
          UserError: says which worker, where TensorFlow tells.
        """
        try:
            yield
        except _LOST as error:
            if self.cluster is None:
                raise
            # They hold a thread pool that TensorFlow has not closed: at the end of the process it
            # would print that it cannot stop.
            traceback.clear_frames(error.__traceback__)
            raise UserError(f"{_lost(self.cluster, str(error))}: {advice}") from None


def place(
    strategy: str, device: Device, cluster: Cluster | None, report: Callable[[str], None]
) -> Placement:
    """Decides where the copies of a network train; connects the machines, and waits for them.

    Args:
      strategy: "auto", "none", "mirrored" or "multiworker".
      device: The kind of device on each machine.
      cluster: The machines of TF_CONFIG.
      report: Receives lines for the user.
    Returns:
      The placement.
    Raises:
      UserError: if the machine has not what the strategy needs.
    """
    if strategy == "multiworker" and cluster is None:
        raise UserError(
            f"strategy='multiworker' without {VARIABLE} in the environment: expected it to name two"
            " or more workers (docs/distributed.md)"
        )
    if strategy == "multiworker" or (strategy == "auto" and cluster is not None):
        return _multiworker(cluster, report)
    local = [entry.name for entry in tf.config.list_logical_devices(device.kind.upper())]
    if strategy == "mirrored" and len(local) < 2:
        raise UserError(
            f"strategy='mirrored' with {len(local)} {device.kind.upper()}: expected two or more"
            " GPUs; use --strategy none"
        )
    several = len(local) > 1 and device.kind == "gpu"
    if strategy == "mirrored" or (strategy == "auto" and several):
        report(f"strategy: mirrored, {len(local)} {device.kind.upper()}s")
        return Placement(tf.distribute.MirroredStrategy(local))
    return Placement()


def _multiworker(cluster: Cluster, report: Callable[[str], None]) -> Placement:
    _check_port(cluster)
    role = "the chief" if cluster.is_chief else f"its chief is {cluster.addresses[0]}"
    report(
        f"strategy: multiworker, worker {cluster.index} of 0 to {len(cluster.addresses) - 1}"
        f" ({role}); waiting for {', '.join(cluster.addresses)}"
    )
    try:
        with _default_signals():
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the workers {', '.join(cluster.addresses)} could not be connected: {reason(error)};"
            " start all of them again"
        ) from error
    report(f"connected: {strategy.num_replicas_in_sync} replicas")
    return Placement(strategy, cluster)


def _check_port(cluster: Cluster) -> None:
    # TensorFlow listens on every interface, and ends the process where it cannot.
    with contextlib.closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", cluster.port))
        except OSError as error:
            raise UserError(
                f"{VARIABLE} gives this worker {cluster.address}, and its port cannot be opened"
                f" ({reason(error)}): stop what uses it, or name another port on every worker"
            ) from error


@contextlib.contextmanager
def _default_signals() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the process at once: TensorFlow waits outside of Python."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, signal.SIG_DFL) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, previous):
            signal.signal(number, handler)


def _for_strategy(cls: type[keras.Model], reshape: bool) -> type[keras.Model]:
    """Returns a subclass of a model's class whose `fit` works under tf.distribute.

    For two faults of Keras 3.12 to 3.15 (keras/src/backend/tensorflow/trainer.py): `fit` builds the
    model from a mean of what the replicas got, whose shapes may differ, though it is built; and
    with several machines it averages the metrics, which are scalars, over axis 0.
    """

    class ForStrategy(cls):
        def _maybe_symbolic_build(self, iterator=None, data_batch=None):
            pass

        def train_step(self, data):
            return _with_axis(super().train_step(data), reshape)

        def test_step(self, data):
            return _with_axis(super().test_step(data), reshape)

    return ForStrategy


def _with_axis(logs: dict[str, tf.Tensor], reshape: bool) -> dict[str, tf.Tensor]:
    return {name: tf.reshape(value, (1,)) for name, value in logs.items()} if reshape else logs


def _lost(cluster: Cluster, message: str) -> str:
    named = {
        (job, int(task))
        for job, task in re.findall(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)", message)
    }
    gone = [
        place
        for place, task in enumerate(cluster.tasks)
        if task in named and place != cluster.index
    ]
    if len(gone) == 1:
        return f"worker {gone[0]} ({cluster.addresses[gone[0]]}) has stopped or cannot be reached"
    return "another worker has stopped or cannot be reached"


def _hash(text: str) -> float:
    return float(int(hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS], 16))
