"""Checks of options that need the tables; still without TensorFlow."""

from __future__ import annotations

import dataclasses
import math

from tf_deconv.config.exporting import ExportConfig
from tf_deconv.config.training import TrainConfig
from tf_deconv.data.config import BUNDLED
from tf_deconv.data.downscaling import parse_shrink
from tf_deconv.degradations.tasks import TASKS, Task, parse_chain
from tf_deconv.networks.table import NETWORKS, Network, parse_levels
from tf_deconv.utils.options import UserError, given_options, nearest, validate
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
    task = TASKS[config.task]
    if config.network is None:
        config = dataclasses.replace(config, network="vae" if task.generates else "article")
    network = NETWORKS[config.network]
    faults = [
        *_task_faults(config, task),
        *_network_faults(config, network),
        *_generation_faults(config, task, network),
    ]
    if config.shrink is not None:
        try:
            parse_shrink(config.shrink)
        except UserError as error:
            faults.append(str(error))
    divisor = network.divisor * task.scale
    patch_size = config.patch_size
    if patch_size is None and not task.generates:
        patch_size = math.ceil(network.patch_size / divisor) * divisor
    elif patch_size is not None and patch_size % divisor:
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
        optimizer=config.optimizer or network.optimizer,
        size=config.size or (network.sizes[0] if network.sizes else None),
        ema=network.ema if config.ema is None else config.ema,
        likelihood=config.likelihood or ("bernoulli" if config.network == "vae" else None),
    )


# Options that decide how pictures are degraded and compared.
_OF_RESTORATION = ("self_supervised", "shrink", "candidates", "brightness", "degrade", "init")
_OF_A_VAE = ("likelihood", "latent", "free_bits", "kl_warmup")
_OF_GENERATION = ("conditional", *_OF_A_VAE)


def _generation_faults(config: TrainConfig, task: Task, network: Network) -> list[str]:
    if task.generates != network.generates:
        fitting = ", ".join(
            name for name, other in NETWORKS.items() if other.generates == task.generates
        )
        return [f"network={config.network!r} with task {config.task!r}: expected one of {fitting}"]
    others = _OF_RESTORATION if task.generates else _OF_GENERATION
    if config.network == "flow":
        others = (*others, *_OF_A_VAE)
    faults = given_options(config, others, f"task {config.task!r} and network {config.network!r}")
    only_loss = task.generates or config.loss == "likelihood"
    if config.loss is not None and only_loss and config.loss != network.loss:
        faults.append(f"loss={config.loss!r} with network {config.network!r}: leave it out")
    if task.generates and config.data == BUNDLED:
        faults.append(
            f"data={BUNDLED!r} with task {config.task!r}: expected --data, hundreds of pictures of"
            " one kind and size"
        )
    return faults


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
    if config.self_supervised and config.loss in ("ms-ssim", "psnr"):
        faults.append(
            f"loss={config.loss!r} with self_supervised, which compares single pixels: expected"
            " another loss"
        )
    return faults


def _network_faults(config: TrainConfig, network: Network) -> list[str]:
    if network.generates:
        given = [name for name in ("size", "blocks", "reparameterize") if getattr(config, name)]
        faults = [
            f"{name}={getattr(config, name)!r}: network {config.network!r} has one size, which"
            " --filters changes; leave it out"
            for name in given
        ]
        try:
            if config.filters is not None:
                parse_levels("filters", config.filters, network.levels[""])
        except UserError as error:
            faults.append(str(error))
        return faults
    if not network.sizes:
        given = {
            name: getattr(config, name)
            for name in ("size", "filters", "blocks", "reparameterize")
            if getattr(config, name)
        }
        return [
            f"{name}={value!r}: network {config.network!r} has one size only; leave it out"
            for name, value in given.items()
        ]
    if config.size is not None and config.size not in network.sizes:
        hint = nearest(config.size, network.sizes)
        return [f"size={config.size!r}{hint}: expected one of {', '.join(network.sizes)}"]
    scale = TASKS[config.task].scale if config.task in TASKS else 1
    levels = network.levels_of(config.size or network.sizes[0], scale)
    faults = []
    for name in ("filters", "blocks"):
        try:
            if getattr(config, name) is not None:
                parse_levels(name, getattr(config, name), levels)
        except UserError as error:
            faults.append(str(error))
    return faults


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
