"""Options of `train`, and their checks."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tf_deconv.data.config import BUNDLED, check_range, range_option
from tf_deconv.data.downscaling import parse_shrink
from tf_deconv.degradations.codecs import check_chain
from tf_deconv.degradations.tasks import OF_COLOURS, TASKS, Task, parse_chain
from tf_deconv.networks.table import LIKELIHOODS, NETWORKS, Network, parse_levels
from tf_deconv.utils.options import UserError, given_options, nearest, option, validate

# Headings of the help.
NETWORK, PICTURES, GENERATORS = "the network", "what happens to the pictures", "generators"
OPTIMIZATION, MACHINE = "optimization", "machine"
EPOCHS = 10  # Unless asked otherwise.


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run; stored in the run folder as `config.json`."""

    filters: str | None = option(
        None,
        "filters of each level from the finest down, such as '24,48,96'; those of --size when left"
        " out",
        type=str,
        group=NETWORK,
        metavar="COUNTS",
    )
    blocks: str | None = option(
        None,
        "residual blocks of each level, such as '1,1,2': on either side, and the last one's at the"
        " bottom; those of --size when left out",
        type=str,
        group=NETWORK,
        metavar="COUNTS",
    )
    relu: str | None = option(
        None,
        "how often a residual block bends: once, between its convolutions, as when left out, or"
        " twice, before the first one too, which learns more with as many weights",
        choices=("once", "twice"),
        type=str,
        group=NETWORK,
    )
    reparameterize: bool = option(
        False,
        "train each 3x3 convolution with a 1x1 one beside it; they become one when saved",
        group=NETWORK,
    )
    task: str = option("old-photo", "what the network learns to undo", metavar="TASK")
    data: str = option(
        BUNDLED,
        "folder of pictures; a .npy, .npz or IDX file, or a folder of them; folder or URL (gs://)"
        " that tf-deconv shard wrote; 'keras:NAME' such as keras:fashion_mnist; 'bundled': the"
        " hundred photographs that come with this package",
        metavar="PICTURES",
    )
    targets: str | None = option(
        None,
        "for the task paired: folder of the pictures as they should be, under the names of --data",
        type=str,
        metavar="FOLDER",
    )
    network: str | None = option(
        None,
        "network to train; article, or vae for the task generate, when left out",
        type=str,
        metavar="NETWORK",
    )
    size: str | None = option(
        None,
        "size of the network, where it has several; its first when left out",
        type=str,
        metavar="SIZE",
    )
    self_supervised: bool = option(
        False,
        "the pictures are noisy and there are no clean ones; for the denoising tasks",
        group=PICTURES,
    )
    shrink: str | None = option(
        None,
        "factor, or range of factors such as 2-4, by which pictures are made smaller first; for"
        " large photographs, which are soft at full size and have JPEG blocks",
        type=str,
        group=PICTURES,
        metavar="RANGE",
    )
    candidates: int = option(
        1,
        "places drawn for each patch, of which the one with the most detail is taken",
        minimum=1,
        maximum=64,
        group=PICTURES,
        metavar="COUNT",
    )
    brightness: float = option(
        1.0,
        "darkest factor that a patch is multiplied by at random; 1: none is",
        above=0.0,
        maximum=1.0,
        group=PICTURES,
        metavar="FACTOR",
    )
    grey: float = option(
        0.0,
        "share of patches that are grey in all channels, so that a network of colour pictures"
        " learns grey ones too",
        minimum=0.0,
        maximum=1.0,
        group=PICTURES,
        metavar="SHARE",
    )
    init: str | None = option(
        None,
        "run, .keras file, export or shipped model whose weights training begins with, and whose"
        " network is taken where none is named; layers that it has not, or of another shape, begin"
        " anew",
        type=str,
        group=NETWORK,
        metavar="MODEL",
    )
    init_rest: str | None = option(
        None,
        "another such model, whose weights those layers begin with that --init has not",
        type=str,
        group=NETWORK,
        metavar="MODEL",
    )
    train_layers: str | None = option(
        None,
        "names of the layers to train, such as 'head,tail_deconv'; all others stay as they begin."
        " All when left out",
        type=str,
        group=NETWORK,
        metavar="NAMES",
    )
    frames: int | None = option(
        None,
        "frames of a training clip, for the network video: gradients go through all of them; the"
        " network's own number when left out",
        minimum=2,
        maximum=64,
        type=int,
        group=NETWORK,
        metavar="COUNT",
    )
    flicker: float | None = option(
        None,
        "what flicker counts in the loss, for the network video: where nothing moves, the change of"
        " the error from frame to frame; 0.1 when left out",
        minimum=0.0,
        maximum=100.0,
        type=float,
        group=OPTIMIZATION,
        metavar="WEIGHT",
    )
    conditional: bool = option(
        False,
        "for the task generate: the network is told each picture's label",
        group=GENERATORS,
    )
    likelihood: str | None = option(
        None,
        "for the network vae: what its decoder tells of each pixel; bernoulli when left out",
        choices=LIKELIHOODS,
        type=str,
        group=GENERATORS,
    )
    latent: int | None = option(
        None,
        "for the network vae: numbers in a latent; the network's own when left out",
        minimum=1,
        maximum=4096,
        type=int,
        group=GENERATORS,
        metavar="COUNT",
    )
    free_bits: float = option(
        0.0,
        "for the network vae: KL of each latent number that costs nothing, in nats",
        minimum=0.0,
        maximum=100.0,
        group=GENERATORS,
        metavar="NATS",
    )
    kl_warmup: float = option(
        0.1,
        "for the network vae: share of the steps in which the KL's weight rises from 0 to 1",
        minimum=0.0,
        maximum=1.0,
        group=GENERATORS,
        metavar="SHARE",
    )
    max_pixels: int = option(
        2**28,
        "largest picture that is decoded, in pixels; larger ones are left out",
        minimum=1,
        maximum=2**34,
        group=PICTURES,
        metavar="PIXELS",
    )
    range: str = range_option(
        "16 bits of at most 4095 are 12-bit counts, others full; float is 0 to 1, and other"
        " integers what they span",
        PICTURES,
    )
    run_dir: str | None = option(
        None,
        "folder to write; a new runs/DATE-TASK-NETWORK when left out",
        type=str,
        metavar="FOLDER",
    )
    epochs: int | None = option(
        None,
        f"number of epochs; {EPOCHS} when left out, and with --resume the run's own. More than it"
        " had let it go on: the rate, which had fallen to 0, rises to where the curve over all of"
        " them stands",
        minimum=1,
        maximum=10**6,
        type=int,
        metavar="COUNT",
    )
    steps_per_epoch: int = option(
        100,
        "training steps (batches) in an epoch",
        minimum=1,
        maximum=10**6,
        group=OPTIMIZATION,
        metavar="COUNT",
    )
    batch_size: int | None = option(
        None,
        "patches in a batch; the network's own number when left out",
        minimum=1,
        maximum=2**16,
        type=int,
        group=OPTIMIZATION,
        metavar="COUNT",
    )
    degrade: str | None = option(
        None,
        "what happens to the pictures, in this order, such as 'blur:1.5 noise:0-50 jpeg:40'; the"
        " task's own when left out",
        type=str,
        words="OPERATOR:LEVEL",
        group=PICTURES,
    )
    patch_size: int | None = option(
        None,
        "height and width of a (clean) training patch, in pixels; the network's own when left out,"
        " or the next size that network and task divide; for the task generate the size of the"
        " pictures, that of --data when left out",
        minimum=1,
        maximum=4096,
        type=int,
        group=PICTURES,
        metavar="PX",
    )
    optimizer: str | None = option(
        None,
        "the network's own when left out",
        choices=("adam", "muon"),
        type=str,
        group=OPTIMIZATION,
    )
    learning_rate: float | None = option(
        None,
        "peak rate, which falls to 0 along a cosine over --epochs; the network's own when left out",
        above=0.0,
        maximum=1.0,
        type=float,
        group=OPTIMIZATION,
        metavar="RATE",
    )
    loss: str | None = option(
        None,
        "training loss; when left out the network's own, or luminance in place of mse where colours"
        " are guessed from grey",
        choices=("charbonnier", "l1", "likelihood", "luminance", "ms-ssim", "mse", "psnr"),
        type=str,
        group=OPTIMIZATION,
        metavar="LOSS",
    )
    clip_norm: float = option(
        0.0,
        "largest norm of the gradient over all weights; 0: not clipped",
        minimum=0.0,
        group=OPTIMIZATION,
        metavar="NORM",
    )
    ema: float | None = option(
        None,
        "momentum of the average of weights that is validated and saved, such as 0.999; 0: off; the"
        " network's own when left out",
        minimum=0.0,
        maximum=0.99999,
        type=float,
        group=OPTIMIZATION,
        metavar="MOMENTUM",
    )
    validation_fraction: float = option(
        0.1,
        "share of a folder's pictures held out, between 0 and 1",
        above=0.0,
        maximum=0.9,
        group=PICTURES,
        metavar="SHARE",
    )
    precision: str = option(
        "auto",
        "number format of the hidden layers; auto: the fastest that the device has",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
        group=MACHINE,
        metavar="FORMAT",
    )
    device: str = option("auto", "where to train", choices=("auto", "cpu", "gpu"), group=MACHINE)
    xla: str = option(
        "auto",
        "whether XLA compiles the training step; auto: off on a CPU, on a GPU what is known to be"
        " faster for the network, else Keras's own choice",
        choices=("auto", "on", "off"),
        group=MACHINE,
    )
    strategy: str = option(
        "auto",
        "how several devices train together: mirrored: the GPUs of this machine; multiworker: the"
        " machines that TF_CONFIG names; auto: what there is; a batch is that of all together",
        choices=("auto", "mirrored", "multiworker", "none"),
        group=MACHINE,
        metavar="STRATEGY",
    )
    seed: int = option(
        0,
        "integer from which all randomness comes",
        minimum=0,
        maximum=2**31 - 1,
        group=OPTIMIZATION,
        metavar="SEED",
    )
    patience: int | None = option(
        None,
        "epochs without a better validation after which training ends early, with the best model;"
        " 0, or left out: it goes on. The rate keeps to the curve over --epochs, and is not yet 0"
        " then",
        minimum=0,
        maximum=10**6,
        type=int,
        metavar="COUNT",
    )
    resume: bool = option(
        False,
        "go on from the last checkpoint in --run-dir, with the run's own options; --epochs and"
        " --patience may be new ones",
    )


# Options that --resume may change.
RENEWABLE = ("epochs", "patience")
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
    name = config.network or ("vae" if task.generates else "article")
    config, network = dataclasses.replace(config, network=name), NETWORKS[name]
    faults = [
        *_task_faults(config, task),
        *_network_faults(config, network),
        *_generation_faults(config, task, network),
        *_clip_faults(config, task, network),
    ]
    if config.resume and config.run_dir is None:
        faults.append("run_dir=None with resume=True: expected the folder of the run")
    if config.init_rest is not None and config.init is None:
        faults.append(
            f"init_rest={config.init_rest!r} without init: expected --init, whose layers come first"
        )
    if config.data == BUNDLED and config.validation_fraction != TrainConfig.validation_fraction:
        faults.append(
            f"validation_fraction={config.validation_fraction} with data={BUNDLED!r}, of which the"
            " same 12 pictures are always held out: leave it out, or choose a folder as --data"
        )
    if config.shrink is not None:
        try:
            parse_shrink(config.shrink)
        except UserError as error:
            faults.append(str(error))
    try:
        check_range(config.range)
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
    batch_size = config.batch_size or network.batch_size
    frames = config.frames or network.frames or 1
    if (patch_size or 1) ** 2 * batch_size * frames > _LARGEST_BATCH_PX:
        faults.append(
            f"patch_size={patch_size} with batch_size={batch_size}"
            + (f" and frames={frames}" if network.frames else "")
            + ": expected at most"
            f" {_LARGEST_BATCH_PX:,} pixels in a batch"
        )
    if faults:
        raise UserError("; ".join(faults))
    return dataclasses.replace(
        config,
        patch_size=patch_size,
        batch_size=config.batch_size or network.batch_size,
        # Of a run that goes on, its own config says so.
        epochs=config.epochs or (None if config.resume else EPOCHS),
        learning_rate=config.learning_rate or network.learning_rate,
        loss=config.loss or _default_loss(task, network),
        optimizer=config.optimizer or network.optimizer,
        size=config.size or (network.sizes[0] if network.sizes else None),
        # As in what was recorded before there was a choice.
        relu=None if config.relu == "once" else config.relu,
        frames=config.frames or network.frames or None,
        flicker=FLICKER_WEIGHT if network.frames and config.flicker is None else config.flicker,
        ema=network.ema if config.ema is None else config.ema,
        likelihood=config.likelihood or ("bernoulli" if config.network == "vae" else None),
    )


# What shapes a network; `take_from_init` fills them in together.
SHAPES = ("network", "size", "filters", "blocks", "relu")


def shape_of(training: Any) -> dict[str, Any]:
    """Returns the shape among recorded options of a training that restores; {} where none is."""
    if not isinstance(training, dict) or training.get("network") not in NETWORKS:
        return {}
    if NETWORKS[training["network"]].generates:
        return {}
    return {name: value for name in SHAPES if isinstance(value := training.get(name), str)}


def take_from_init(config: TrainConfig) -> TrainConfig:
    """Gives a training the network of the model that it begins with, where none was asked for.

    Args:
      config: The options, not checked yet.
    Returns:
      The config; as it was without init, with resume, and where its shape is given or that of the
      model is not recorded.
    Raises:
      UserError: if there is no such model.
    """
    task = TASKS.get(config.task) if isinstance(config.task, str) else None
    if not isinstance(config.init, str) or not config.init or "\0" in config.init:
        return config
    if config.resume or task is None or task.generates:
        return config
    if any(getattr(config, name) is not None for name in SHAPES):
        return config
    # Not above: this module is imported to print the help.
    from tf_deconv.inference.located import locate

    return dataclasses.replace(config, **shape_of(locate(config.init).known.get("training")))


def _default_loss(task: Task, network: Network) -> str:
    if network.loss == "mse" and task.guesses_colours:
        return "luminance"
    return network.loss


# Options that decide how pictures are degraded and compared.
_OF_RESTORATION = (
    "self_supervised",
    "shrink",
    "candidates",
    "brightness",
    "grey",
    "degrade",
    "init",
    "init_rest",
)
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
        check_chain(config.degrade or "")
        steps = parse_chain(config.degrade or "") if task.grey_input else ()
        if idle := [step.operator for step in steps if step.operator in OF_COLOURS]:
            faults.append(
                f"degrade={config.degrade!r} with task {config.task!r}, which sees grey pictures:"
                f" expected no {' or '.join(idle)}, which changes colours alone"
            )
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
    if (
        config.grey
        and not task.generates
        and (task.paired or (task.channels_in, task.channels_out) != (3, 3))
    ):
        faults.append(
            f"grey={config.grey} with task {config.task!r}: expected a task of colour in and out"
        )
    if config.self_supervised and config.task not in SELF_SUPERVISED_TASKS:
        known = ", ".join(SELF_SUPERVISED_TASKS)
        faults.append(f"self_supervised=True with task {config.task!r}: expected one of {known}")
    if config.self_supervised and config.degrade is not None:
        faults.append(
            f"degrade={config.degrade!r} with self_supervised=True, which takes the pictures as"
            " they are: leave one of them out"
        )
    if config.self_supervised and config.loss in ("ms-ssim", "psnr"):
        faults.append(
            f"loss={config.loss!r} with self_supervised=True, which compares single pixels:"
            " expected another loss"
        )
    return faults


def _clip_faults(config: TrainConfig, task: Task, network: Network) -> list[str]:
    if not network.frames:
        return given_options(
            config, ("frames", "flicker"), f"network {config.network!r}, of single pictures"
        )
    if task.generates:  # Said above.
        return []
    if task.scale > 1 or task.paired or task.channels_in != task.channels_out:
        fitting = ", ".join(
            name
            for name, other in TASKS.items()
            if other.scale == 1
            and not (other.generates or other.paired)
            and other.channels_in == other.channels_out
        )
        return [f"task={config.task!r} with network {config.network!r}: expected one of {fitting}"]
    return given_options(config, ("self_supervised",), f"network {config.network!r}")


def _network_faults(config: TrainConfig, network: Network) -> list[str]:
    if network.generates:
        of_sizes = ("size", "blocks", "relu", "reparameterize")
        given = [name for name in of_sizes if getattr(config, name)]
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
        names = ("size", "filters", "blocks", "relu", "reparameterize")
        return [
            f"{name}={value!r}: network {config.network!r} has one size only; leave it out"
            for name in names
            if (value := getattr(config, name))
        ]
    if config.size is not None and config.size not in network.sizes:
        hint = nearest(config.size, network.sizes)
        return [f"size={config.size!r}{hint}: expected one of {', '.join(network.sizes)}"]
    scale = TASKS[config.task].scale if config.task in TASKS else 1
    levels = network.levels_of(config.size or network.sizes[0], scale)
    faults, numbers = [], {}
    for name in ("filters", "blocks"):
        try:
            if getattr(config, name) is not None:
                numbers[name] = parse_levels(name, getattr(config, name), levels)
        except UserError as error:
            faults.append(str(error))
    if numbers and not faults:
        # A block is two 3x3 convolutions, on either side; the sizes have at least such numbers.
        filters = numbers.get("filters", (16,) * levels)
        blocks = numbers.get("blocks", (1,) * levels)
        weights = sum(36 * count * count * times for count, times in zip(filters, blocks))
        if weights > _LARGEST_WEIGHTS:
            faults.append(
                f"filters={config.filters!r} and blocks={config.blocks!r}: some"
                f" {weights / 1e6:,.0f} million weights, expected at most"
                f" {_LARGEST_WEIGHTS / 1e6:,.0f}"
            )
    return faults


# With 1 what moves was smeared: benchmarks/training_log.md.
FLICKER_WEIGHT = 0.1
# Training takes some 16 bytes for each weight.
_LARGEST_WEIGHTS = 2**27
# Of a batch; a network takes some 700 bytes for each.
_LARGEST_BATCH_PX = 2**27
