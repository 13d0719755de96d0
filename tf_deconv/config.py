"""Options of every command, as frozen dataclasses, without TensorFlow.

One field is one option, on the command line and in `--config` JSON: see `options`.
"""

from __future__ import annotations

import dataclasses

from tf_deconv.options import option

BUNDLED = "bundled"
LIKELIHOODS = ("bernoulli", "gaussian", "logistic")
SOLVERS = ("euler", "heun")
# How a flow makes pictures unless asked otherwise: docs/decisions/0013-generation.md.
FLOW_STEPS, FLOW_SOLVER, FLOW_GUIDANCE = 25, "heun", 1.5
LARGEST_SEED = 2**31 - 1
EDITS = ("reconstruct", "interpolate", "inpaint")
_GENERATOR = "generator: run folder, .keras file, SavedModel folder or .tflite file"
_MODEL = "run folder, .keras file, SavedModel folder, .tflite file or name of a shipped model"


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
        "folder of pictures; a .npy, .npz or IDX file, or a folder of them; 'keras:NAME' such as"
        " keras:fashion_mnist; 'bundled': the photographs in scikit-image",
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
        choices=("charbonnier", "l1", "likelihood", "ms-ssim", "mse"),
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
    seed: int = option(0, "integer from which all randomness comes", minimum=0, maximum=2**31 - 1)
    resume: bool = option(False, "go on from the last checkpoint in --run-dir")


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Everything that decides an export."""

    model: str | None = option(
        None, "run folder or .keras file; the newest run when left out", type=str
    )
    out: str = option("saved_models", "folder that receives NAME/")
    name: str | None = option(None, "name of the model; TASK-NETWORK when left out", type=str)
    sizes: str | None = option(
        None,
        "sizes of the TFLite signatures, HEIGHTxWIDTH or one side, in pixels, such as"
        " '64,256x384,512'; the patch of training and 256 when left out",
        type=str,
    )
    variants: str | None = option(
        None,
        "number formats of the TFLite files; all that the profile has when left out",
        type=str,
        words="VARIANT",
    )
    profile: str = option("cpu", "where the TFLite files will run")
    qat: bool = option(False, "fine-tune the weights of int8 files for fixed ranges; takes minutes")
    web: str | None = option(
        None, "also write a page that restores pictures in the browser into this folder", type=str
    )
    web_library: str | None = option(
        None,
        "folder node_modules/@litertjs that the page's runtime is taken from; fetched by npm when"
        " left out",
        type=str,
    )
    license: str | None = option(
        None, "licence of the weights, for manifest and model card", type=str
    )
    onnx: bool = option(False, "also write an ONNX file; needs pip install 'tf-deconv[onnx]'")
    max_pixels: int = option(
        2**24, "largest picture that serve_bytes decodes, in pixels", minimum=1, maximum=2**30
    )


@dataclasses.dataclass(frozen=True)
class RestoreConfig:
    """Everything that decides how pictures are restored."""

    model: str | None = option(None, _MODEL, type=str)
    out: str = option("restored", "folder that receives the pictures, under the names they have")
    tile_size: int = option(
        0,
        "side of the tiles that a picture is restored in, overlap included, in pixels; 0 chooses",
        minimum=0,
        maximum=2**16,
    )
    self_ensemble: bool = option(
        False, "mean over the 8 flips and turns of each picture: 8 times slower, a little better"
    )
    skip_existing: bool = option(False, "leave out pictures that are in --out already")
    max_pixels: int = option(
        2**28, "largest picture that is read or written, in pixels", minimum=1, maximum=2**34
    )


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """Everything that decides which pictures a generator makes."""

    model: str | None = option(None, _GENERATOR, type=str)
    count: int = option(64, "number of pictures", minimum=1, maximum=100_000)
    seed: int = option(
        0, "integer from which the noise of each picture comes", minimum=0, maximum=LARGEST_SEED
    )
    label: int | None = option(
        None,
        "class of all pictures, from 0, for a conditional model; its classes in turn when left out",
        minimum=0,
        type=int,
    )
    steps: int = option(
        FLOW_STEPS, "steps of a flow, from noise to picture", minimum=1, maximum=1000
    )
    solver: str = option(FLOW_SOLVER, "how a flow takes its steps", choices=SOLVERS)
    guidance: float = option(
        FLOW_GUIDANCE,
        "how far a conditional flow leans towards the label: 1 as trained, more for purer and less"
        " varied pictures, 0 not at all",
        minimum=0.0,
        maximum=20.0,
    )
    gif: bool = option(False, "also write path.gif: a flow's way from noise to pictures")
    out: str = option("samples", "folder that receives sample-N.png, grid.png and samples.json")


@dataclasses.dataclass(frozen=True)
class EditConfig:
    """Everything that decides how a generator edits pictures."""

    model: str | None = option(None, _GENERATOR, type=str)
    action: str = option(
        "reconstruct",
        "reconstruct: through the latent and back; interpolate: between two pictures; inpaint: fill"
        " --mask anew (flow)",
        choices=EDITS,
    )
    mask: str | None = option(
        None,
        "for inpaint: left, right, top, bottom, center, or a picture file that is white where"
        " pixels are to be made anew",
        type=str,
    )
    variants: int = option(4, "for inpaint: ways to fill each picture", minimum=1, maximum=64)
    frames: int = option(
        16, "for interpolate: pictures from one to the other", minimum=2, maximum=256
    )
    label: int | None = option(
        None,
        "class of the pictures, from 0, for a conditional model; those beside a stack, else none,"
        " when left out",
        minimum=0,
        type=int,
    )
    seed: int = option(
        0, "for inpaint: integer from which all noise comes", minimum=0, maximum=LARGEST_SEED
    )
    steps: int = option(
        25,
        "steps of a flow, from noise to picture; inpaint takes each 16 times",
        minimum=1,
        maximum=1000,
    )
    guidance: float = option(
        1.0, "how far a conditional flow leans towards the label", minimum=0.0, maximum=20.0
    )
    out: str = option(
        "edited", "folder that receives grid.png, and NAME-ACTION.png or interpolation.gif"
    )


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """Everything that decides how a model is measured."""

    model: str | None = option(None, _MODEL, type=str)
    data: str | None = option(
        None,
        "pictures to measure on, all of them: what train's --data takes; 'bundled': the two"
        " photographs in scikit-image that training holds out, and the default for a model trained"
        " on the others",
        type=str,
    )
    targets: str | None = option(
        None,
        "folder of the pictures as they should be, under the names of --data, whose pictures then"
        " go in as they are",
        type=str,
    )
    task: str | None = option(
        None,
        "what happened to the pictures; what the model was trained for when left out",
        type=str,
    )
    degrade: str | None = option(
        None,
        "what happens to the pictures, in this order, such as 'blur:1.5 noise:25'; as in training"
        " when left out, and the task's own with --task",
        type=str,
        words="NAME:LEVEL",
    )
    seed: int = option(
        0, "integer from which the noise of each picture comes", minimum=0, maximum=2**31 - 1
    )
    out: str = option("evaluation", "folder that receives evaluation.json and sheet.png")
    tile_size: int = option(
        0,
        "side of the tiles that a picture is restored in, overlap included, in pixels; 0 chooses",
        minimum=0,
        maximum=2**16,
    )
    self_ensemble: bool = option(
        False, "mean over the 8 flips and turns of each picture: 8 times slower, a little better"
    )
    no_classical: bool = option(
        False, "leave out scikit-image's denoiser, the slowest part on large pictures"
    )
    training: str | None = option(
        None,
        "of a generator: the pictures that it was trained on, to look for copies and as the floor;"
        " the train part of --data where it has parts",
        type=str,
    )
    count: int = option(
        10_000, "of a generator: pictures that are made and compared", minimum=2, maximum=100_000
    )
    classifier: str | None = option(
        None,
        "of a generator: .keras file of the classifier whose features are compared; trained on the"
        " training pictures' labels and kept in --out when left out",
        type=str,
    )
    importance_samples: int = option(
        500, "of a VAE: latents for each picture's likelihood", minimum=1, maximum=100_000
    )
    importance_pictures: int = option(
        1000, "of a VAE: test pictures whose likelihood is measured", minimum=1
    )
    steps: int = option(
        FLOW_STEPS, "of a flow: steps from noise to picture", minimum=1, maximum=1000
    )
    guidance: float = option(
        FLOW_GUIDANCE,
        "of a conditional flow: how far it leans towards the label",
        minimum=0.0,
        maximum=20.0,
    )
    max_pixels: int = option(
        2**28, "largest picture that is decoded, in pixels; larger ones are left out", minimum=1
    )


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Everything that decides how an export, or models by a protocol, are measured."""

    export: str | None = option(
        None, "folder of an exported model, such as saved_models/NAME", type=str
    )
    threads: str = option("1,2", "numbers of threads, with commas; with --export")
    rounds: int = option(
        1,
        "times that all take turns; the fastest round of each counts; with --export",
        minimum=1,
        maximum=100,
    )
    protocol: str | None = option(
        None, "how papers measure: what happens to the pictures, and how models score", type=str
    )
    data: str | None = option(
        None,
        "with --protocol: pictures to measure on, all of them; a folder named as a set that papers"
        " measure on is shown beside their figures",
        type=str,
    )
    classical: bool = option(
        False, "with --protocol awgn-grey or -colour: also BM3D, by the package bm3d; slow"
    )
    tile_size: int = option(
        0,
        "with --protocol: side of the tiles that a picture is restored in, overlap included, in"
        " pixels; 0 chooses",
        minimum=0,
        maximum=2**16,
    )
    self_ensemble: bool = option(
        False, "with --protocol: mean over the 8 flips and turns of each picture"
    )
    out: str = option(
        "benchmark",
        "folder that receives benchmark.json, .md and .png, or protocol.json and .md",
    )
