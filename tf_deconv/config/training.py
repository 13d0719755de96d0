"""Options of `train`."""

from __future__ import annotations

import dataclasses

from tf_deconv.data.config import BUNDLED
from tf_deconv.networks.table import LIKELIHOODS
from tf_deconv.utils.options import option


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run; stored in the run folder as `config.json`."""

    network: str | None = option(
        None, "network to train; article, or vae for the task generate, when left out", type=str
    )
    size: str | None = option(
        None, "size of the network, where it has several; its first when left out", type=str
    )
    filters: str | None = option(
        None,
        "filters of each level from the finest down, such as '24,48,96'; those of --size when left"
        " out",
        type=str,
    )
    blocks: str | None = option(
        None,
        "residual blocks of each level, such as '1,1,2': on either side, and the last one's at the"
        " bottom; those of --size when left out",
        type=str,
    )
    reparameterize: bool = option(
        False, "train each 3x3 convolution with a 1x1 one beside it; they become one when saved"
    )
    task: str = option("old-photo", "what the network learns to undo")
    data: str = option(
        BUNDLED,
        "folder of pictures; a .npy, .npz or IDX file, or a folder of them; folder or URL (gs://)"
        " that tf-deconv shard wrote; 'keras:NAME' such as keras:fashion_mnist; 'bundled': the"
        " photographs in scikit-image",
    )
    targets: str | None = option(
        None,
        "for the task paired: folder of the pictures as they should be, under the names of --data",
        type=str,
    )
    self_supervised: bool = option(
        False, "the pictures are noisy and there are no clean ones; for the denoising tasks"
    )
    shrink: str | None = option(
        None,
        "factor, or range of factors such as 2-4, by which pictures are made smaller first; for"
        " large photographs, which are soft at full size and have JPEG blocks",
        type=str,
    )
    candidates: int = option(
        1,
        "places drawn for each patch, of which the one with the most detail is taken",
        minimum=1,
        maximum=64,
    )
    brightness: float = option(
        1.0,
        "darkest factor that a patch is multiplied by at random; 1: none is",
        above=0.0,
        maximum=1.0,
    )
    init: str | None = option(
        None,
        "run, .keras file, export or shipped model whose weights training begins with; layers that"
        " it has not, or of another shape, begin anew",
        type=str,
    )
    conditional: bool = option(
        False, "for the task generate: the network is told each picture's label"
    )
    likelihood: str | None = option(
        None,
        "for the network vae: what its decoder tells of each pixel; bernoulli when left out",
        choices=LIKELIHOODS,
        type=str,
    )
    latent: int | None = option(
        None,
        "for the network vae: numbers in a latent; the network's own when left out",
        minimum=1,
        maximum=4096,
        type=int,
    )
    free_bits: float = option(
        0.0,
        "for the network vae: KL of each latent number that costs nothing, in nats",
        minimum=0.0,
        maximum=100.0,
    )
    kl_warmup: float = option(
        0.1,
        "for the network vae: share of the steps in which the KL's weight rises from 0 to 1",
        minimum=0.0,
        maximum=1.0,
    )
    max_pixels: int = option(
        2**28, "largest picture that is decoded, in pixels; larger ones are left out", minimum=1
    )
    run_dir: str | None = option(
        None, "folder to write; a new runs/DATE-TASK-NETWORK when left out", type=str
    )
    epochs: int = option(10, "number of epochs", minimum=1)
    steps_per_epoch: int = option(100, "training steps (batches) in an epoch", minimum=1)
    batch_size: int | None = option(
        None, "patches in a batch; the network's own number when left out", minimum=1, type=int
    )
    degrade: str | None = option(
        None,
        "what happens to the pictures, in this order, such as 'blur:1.5 noise:0-50 jpeg:40'; the"
        " task's own when left out",
        type=str,
        words="NAME:LEVEL",
    )
    patch_size: int | None = option(
        None,
        "height and width of a (clean) training patch, in pixels; the network's own when left out,"
        " or the next size that network and task divide; for the task generate the size of the"
        " pictures, that of --data when left out",
        minimum=1,
        type=int,
    )
    optimizer: str | None = option(
        None, "the network's own when left out", choices=("adam", "muon"), type=str
    )
    learning_rate: float | None = option(
        None,
        "peak rate, which falls to 0 along a cosine; the network's own when left out",
        above=0.0,
        maximum=1.0,
        type=float,
    )
    loss: str | None = option(
        None,
        "training loss; the network's own when left out",
        choices=("charbonnier", "l1", "likelihood", "ms-ssim", "mse", "psnr"),
        type=str,
    )
    clip_norm: float = option(
        0.0, "largest norm of the gradient over all weights; 0: not clipped", minimum=0.0
    )
    ema: float | None = option(
        None,
        "momentum of the average of weights that is validated and saved, such as 0.999; 0: off; the"
        " network's own when left out",
        minimum=0.0,
        maximum=0.99999,
        type=float,
    )
    validation_fraction: float = option(
        0.1, "share of a folder's pictures held out, between 0 and 1", above=0.0, maximum=0.9
    )
    precision: str = option(
        "auto",
        "number format of the hidden layers; auto: the fastest that the device has",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    device: str = option("auto", "where to train", choices=("auto", "cpu", "gpu"))
    xla: str = option(
        "auto",
        "whether XLA compiles the training step; auto: off on a CPU, on a GPU what is known to be"
        " faster for the network, else Keras's own choice",
        choices=("auto", "on", "off"),
    )
    strategy: str = option(
        "auto",
        "how several devices train together: mirrored: the GPUs of this machine; multiworker: the"
        " machines that TF_CONFIG names; auto: what there is; a batch is that of all together",
        choices=("auto", "mirrored", "multiworker", "none"),
    )
    seed: int = option(0, "integer from which all randomness comes", minimum=0, maximum=2**31 - 1)
    resume: bool = option(False, "go on from the last checkpoint in --run-dir")
