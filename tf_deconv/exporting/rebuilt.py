"""An exported model as a `.keras` file again, so that it can be exported to other formats.

A shipped model's folder holds no Keras file. Its manifest records how the network is built and its
SavedModel holds the weights in the network's order; what comes of both is compared with the
SavedModel before anything is made of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_deconv.degradations.tasks import TASKS
from tf_deconv.inference import artifacts, run_folder
from tf_deconv.inference.located import LocatedModel, locate
from tf_deconv.networks.table import STATE_STRIDE
from tf_deconv.training import compilation
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, reason

# The same floats in another order of sums differ by this much.
_TOLERANCE = 1e-4
# A size that every divisor divides.
_PROBE_PX = 128
_LICENSE = re.compile(r"of the weights: (.*); of the software: ")


@contextlib.contextmanager
def as_keras_file(
    model: str | os.PathLike[str], out: pathlib.Path, name: str | None
) -> Iterator[pathlib.Path]:
    """Yields an exported model as a `.keras` file, which is gone after the block.

    Args:
      model: The name of a shipped model, or the folder of an export.
      out: Where it will be exported to.
      name: The name that it will have there; its own when left out.
    Raises:
      UserError: if it is not there or was changed, its network cannot be built again, or the export
        would replace the one that it is made of.
    """
    located = locate(model)
    known = located.known
    own = str(known.get("name") or located.root.name)
    if located.kind != "saved_model" or located.manifest is None or located.generates:
        raise UserError(
            f"{located.asked!r} cannot be exported again: expected a run, a .keras file, or the"
            " folder of an exported model that restores"
        )
    target = out / (name or own)
    if os.path.realpath(target) == os.path.realpath(located.root):
        raise UserError(
            f"{str(target)!r} is the export that the weights are taken from: choose another --out"
            " or --name"
        )
    located.check_files()
    built = _build(located)
    with tempfile.TemporaryDirectory(prefix="tf-deconv-") as folder:
        path = pathlib.Path(folder) / f"{own}.keras"
        run_folder.save_model(built, path, _description(known))
        # What an export takes from the run's folder besides.
        metrics = {"duration_s": known.get("training_s")}
        files.write_json(path.with_name(run_folder.METRICS_FILE), metrics)
        yield path


def license_of(model: str | os.PathLike[str]) -> str | None:
    """Returns the licence of an exported model's weights, where its manifest tells one."""
    told = _LICENSE.match(str(locate(model).known.get("license")))
    return told[1] if told else None


def _description(known: dict[str, Any]) -> dict[str, Any]:
    kept = (
        "task",
        "network",
        "divisor",
        "scale",
        "levels",
        "state",
        "training",
        "began_with",
        "data_sha256",
    )
    description = {key: known[key] for key in kept if key in known}
    # The versions that trained it, and not these.
    return description | {"device": known.get("trained_on"), "versions": known.get("versions")}


def _build(located: LocatedModel) -> Any:
    """Builds the network that the manifest records, with the SavedModel's weights."""
    import tensorflow as tf

    known = located.known
    try:
        recorded = dict(known.get("training") or {})
        fields = {field.name for field in dataclasses.fields(TrainConfig)}
        config = TrainConfig(**{key: recorded[key] for key in recorded.keys() & fields})
        config = dataclasses.replace(config, network=known["network"])
        model = compilation.build_in("float32", TASKS[known["task"]], config)
        reader = tf.train.load_checkpoint(str(located.path / "variables" / "variables"))
        stored = [
            reader.get_tensor(f"weights/{number}/.ATTRIBUTES/VARIABLE_VALUE")
            for number in range(len(model.weights))
        ]
        model.set_weights(stored)
    except Exception as error:  # Whatever an unknown task, network or weight is stumbled over with.
        raise UserError(
            f"model {located.asked!r} cannot be built again from what its manifest records:"
            f" {reason(error)}; expected a run or a .keras file"
        ) from error
    random = np.random.default_rng(0)
    probes = [
        random.random((1, _PROBE_PX // stride, _PROBE_PX // stride, given.shape[-1]), np.float32)
        for given, stride in zip(model.inputs, (1, STATE_STRIDE))
    ]
    if located.moves:
        expected = artifacts.open_cell(located).step(*probes)[0]
        received = np.asarray(model(probes, training=False)[0])
    else:
        expected = artifacts.open_artifact(located).run(*probes)
        received = np.asarray(model(*probes, training=False))
    if expected.shape != received.shape or np.abs(expected - received).max() > _TOLERANCE:
        raise UserError(
            f"model {located.asked!r} cannot be built again: the network of that name gives other"
            " pictures now; expected a run or a .keras file"
        )
    return model
