"""Checks of options that need the tables; still without TensorFlow."""

from __future__ import annotations

import dataclasses
import math

from tf_deconv.config import BUNDLED, ExportConfig, TrainConfig, UserError, nearest, validate
from tf_deconv.networks import NETWORKS, Network
from tf_deconv.tasks import TASKS, Task, parse_chain
from tf_deconv.variants import PROFILES, parse_sizes, parse_variants

# What noisy pictures alone can teach: a hidden pixel is a sample of what was asked for, plus noise.
SELF_SUPERVISED_TASKS = ("denoise", "denoise-grey", "low-light")


def check_train_config(config: TrainConfig) -> TrainConfig:
    """Validates the options of a training run.

    Args:
      config: The options.
    Returns:
      The config, each value in its declared type, what the network decides filled in.
    Raises:
      UserError: with every fault in one line.
    """
    config = validate(config, {"task": TASKS, "network": NETWORKS})
    task, network = TASKS[config.task], NETWORKS[config.network]
    faults = [*_task_faults(config, task), *_network_faults(config, network)]
    divisor = network.divisor * task.scale
    patch_size = config.patch_size
    if patch_size is None:
        patch_size = math.ceil(network.patch_size / divisor) * divisor
    elif patch_size % divisor:
        below = patch_size // divisor * divisor
        near = f"{below} or {below + divisor}" if below else f"{divisor}"
        faults.append(
            f"patch_size={patch_size}: expected a multiple of {divisor} for network"
            f" {config.network!r} and task {config.task!r}; {near} would do"
        )
    if faults:
        raise UserError("; ".join(faults))
    return dataclasses.replace(
        config,
        patch_size=patch_size,
        batch_size=config.batch_size or network.batch_size,
        learning_rate=config.learning_rate or network.learning_rate,
        loss=config.loss or network.loss,
        size=config.size or (network.sizes[0] if network.sizes else None),
    )


def _task_faults(config: TrainConfig, task: Task) -> list[str]:
    faults = []
    try:
        parse_chain(config.degrade or "")
    except UserError as error:
        faults.append(str(error))
    if task.paired and (config.targets is None or config.data == BUNDLED):
        faults.append(
            f"task {config.task!r} with data={config.data!r} and targets={config.targets!r}:"
            " expected two folders, the pictures as they are and as they should be"
        )
    if not task.paired and config.targets is not None:
        faults.append(
            f"targets={config.targets!r} with task {config.task!r}, which makes its inputs from"
            " its targets: expected task 'paired'"
        )
    if config.self_supervised and config.task not in SELF_SUPERVISED_TASKS:
        known = ", ".join(SELF_SUPERVISED_TASKS)
        faults.append(f"self_supervised with task {config.task!r}: expected one of {known}")
    if config.self_supervised and config.degrade is not None:
        faults.append(
            f"degrade={config.degrade!r} with self_supervised, which takes the pictures as they"
            " are: leave one of them out"
        )
    if config.self_supervised and config.loss == "ms-ssim":
        faults.append(
            "loss='ms-ssim' with self_supervised, which compares single pixels: expected another"
            " loss"
        )
    return faults


def _network_faults(config: TrainConfig, network: Network) -> list[str]:
    if config.size is None or config.size in network.sizes:
        return []
    if not network.sizes:
        return [f"size={config.size!r}: network {config.network!r} has one size only; leave it out"]
    hint = nearest(config.size, network.sizes)
    return [f"size={config.size!r}{hint}: expected one of {', '.join(network.sizes)}"]


def check_export_config(config: ExportConfig) -> ExportConfig:
    """Validates the options of an export.

    Raises:
      UserError: with every fault of the first kind found in one line.
    """
    config = validate(config, {"profile": PROFILES})
    variants = parse_variants(config.variants, config.profile)
    if config.web is not None and "float32" not in variants:
        raise UserError(
            f"web={config.web!r} with variants={config.variants!r}: expected float32 among them,"
            " which the page runs"
        )
    if config.sizes is not None:
        parse_sizes(config.sizes)
    return config
