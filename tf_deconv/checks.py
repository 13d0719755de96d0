"""Checks of options that need the tables of tasks and networks; still without TensorFlow."""

from __future__ import annotations

import dataclasses
import math

from tf_deconv.config import TrainConfig, UserError, validate
from tf_deconv.networks import NETWORKS
from tf_deconv.tasks import TASKS, parse_chain

# The article's patches.
PATCH_SIZE = 28


def check_train_config(config: TrainConfig) -> TrainConfig:
    """Validates the options of a training run.

    Args:
      config: The options.
    Returns:
      The config, each value in its declared type, `patch_size` decided.
    Raises:
      UserError: with every fault in one line.
    """
    config = validate(config, {"task": TASKS, "network": NETWORKS})
    task = TASKS[config.task]
    if config.degrade is not None:
        parse_chain(config.degrade)
    divisor = NETWORKS[config.network].divisor * task.scale
    if config.patch_size is None:
        return dataclasses.replace(config, patch_size=math.ceil(PATCH_SIZE / divisor) * divisor)
    if config.patch_size % divisor:
        below = config.patch_size // divisor * divisor
        near = f"{below} or {below + divisor}" if below else f"{divisor}"
        raise UserError(
            f"patch_size={config.patch_size}: expected a multiple of {divisor} for network"
            f" {config.network!r} and task {config.task!r}; {near} would do"
        )
    return config
