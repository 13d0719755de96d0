"""The public functions: each takes a config or keywords, and does what the command does.

The command line calls these too, so both make the same choices: which engine restores, whether a
model restores or generates, which benchmark runs. Options are checked before TensorFlow is
imported, and what TensorFlow prints when it starts stays off the screen.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tf_deconv.data.config import ShardConfig, check_range, check_shard_config
from tf_deconv.degradations.codecs import check_chain
from tf_deconv.degradations.tasks import RESTORATIONS
from tf_deconv.evaluation.config import (
    BenchmarkConfig,
    EvaluateConfig,
    check_benchmark_config,
    check_evaluate_config,
)
from tf_deconv.exporting.config import (
    ExportConfig,
    VerifyConfig,
    check_export_config,
    check_verify_config,
)
from tf_deconv.exporting.parity.runner import RUNTIMES
from tf_deconv.generation.config import EditConfig, SampleConfig, check_sample_config
from tf_deconv.inference import shipped
from tf_deconv.inference.config import RestoreConfig, check_restore_config
from tf_deconv.inference.located import locate
from tf_deconv.training.config import TrainConfig, check_train_config, take_from_init
from tf_deconv.utils.files import special
from tf_deconv.utils.options import UserError, naming, nearest, validate
from tf_deconv.utils.quiet import import_tensorflow

if TYPE_CHECKING:
    from tf_deconv.data.shards.pack import ShardResult
    from tf_deconv.evaluation.evaluate import EvaluateResult
    from tf_deconv.evaluation.generators.evaluate import (
        EvaluateResult as GeneratorEvaluateResult,
    )
    from tf_deconv.exporting.result import ExportResult
    from tf_deconv.exporting.verify import VerifyResult
    from tf_deconv.generation.edit import EditResult
    from tf_deconv.generation.generator import Generator
    from tf_deconv.generation.sample import SampleResult
    from tf_deconv.inference.restore import RestoreResult
    from tf_deconv.inference.restorer import Restorer
    from tf_deconv.inference.streaming import StreamRestorer
    from tf_deconv.training.trainer import TrainResult

Report = Callable[[str], None]
Path = str | os.PathLike[str]
_Config = TypeVar("_Config")


@naming(TrainConfig)
def train(
    config: TrainConfig | None = None, *, report: Report = print, **options: Any
) -> TrainResult:
    """Trains a network and writes its run folder, as `tf-deconv train` does.

    Sets Keras's global seed and, on a CPU, makes TensorFlow's operations deterministic.

    Args:
      config: All options; or give fields of `TrainConfig` as keywords.
      report: Receives lines for the user.
    Returns:
      The run folder and the content of its `metrics.json`.
    Raises:
      UserError: for anything that the user can mend; no run folder is left unless training began.
      tf_deconv.utils.interrupted.Interrupted: after Ctrl-C or SIGTERM, with the best model so far
        in the run folder.

    >>> import tf_deconv
    >>> tf_deconv.train(epochs=0)
    Traceback (most recent call last):
      ...
    tf_deconv.utils.options.UserError: epochs=0: expected a number from 1 to 1000000
    """
    given = take_from_init(_make(TrainConfig, config, options))
    checked = _without_pipes(check_train_config(given))
    import_tensorflow()
    from tf_deconv.training import trainer

    return trainer.train(checked, report)


@naming(ExportConfig)
def export(
    config: ExportConfig | Path | None = None,
    *,
    also: Iterable[Path] = (),
    report: Report = print,
    **options: Any,
) -> ExportResult:
    """Exports a trained network and checks every file, as `tf-deconv export` does.

    With `web` and a model that is exported already, a shipped one above all, only the page is
    written, around its files as they are.

    Args:
      config: All options, or the run folder, the `.keras` file, the name of a shipped model or the
        folder of an export; the newest run when left out. Fields of `ExportConfig` may be given as
        keywords.
      also: Further models for the page, exported or shipped.
      report: Receives lines for the user.
    Returns:
      The model folder, and the files that were held back with the reason of each.
    Raises:
      UserError: for anything that the user can mend; nothing is published then.
    """
    more = _listed(also)
    checked = check_export_config(_make(ExportConfig, config, options, "model"))
    checked = _without_pipes(checked, more)
    from tf_deconv.exporting import target
    from tf_deconv.exporting.web import ready

    if ready.is_asked(checked, more):
        return ready.write_page(checked, more, report)
    target.check(checked)  # Before TensorFlow starts; and that there is no run.
    import_tensorflow()
    from tf_deconv.exporting import pipeline

    return pipeline.export(checked, report)


@naming(VerifyConfig)
def verify(config: VerifyConfig | Path, *, report: Report = print, **options: Any) -> VerifyResult:
    """Checks exported files in a runtime on a known picture, as `tf-deconv verify` does.

    Args:
      config: All options, or the model: the folder of an export, the name of a shipped one, or a
        file. Fields of `VerifyConfig` may be given as keywords.
      report: Receives lines for the user.
    Returns:
      One row for each file: right to how many decibels, or what is wrong.
    Raises:
      UserError: for anything that the user can mend: a runtime that is missing or refuses the file,
        a size that it does not have.
    """
    checked = check_verify_config(_make(VerifyConfig, config, options, "model"))
    _without_pipes(checked)
    from tf_deconv.exporting import verify as command

    return command.verify(checked, report)


@naming(RestoreConfig)
def restore(
    config: RestoreConfig | Path | None,
    pictures: Path | Iterable[Path],
    *,
    report: Report = print,
    **options: Any,
) -> RestoreResult:
    """Restores picture files, as `tf-deconv restore` does: `restore("denoise-color", "a.jpg")`.

    Args:
      config: All options, or the model: a path or the name of a shipped one; None, or options
        without a model, take `photo`. Fields of `RestoreConfig` may be given as keywords.
      pictures: A picture file, a folder, a list of files, a folder of shards; or several of them.
      report: Receives lines for the user.
    Returns:
      What was written, what was there already, and what failed and why.
    Raises:
      UserError: if nothing could be restored at all: no model, no picture, no place to write.
    """
    checked = check_restore_config(_make(RestoreConfig, config, options, "model"))
    listed = _listed(pictures)
    _without_pipes(checked, listed)
    from tf_deconv.inference import restore as command

    return command.restore(checked, listed, report)


@naming(SampleConfig)
def sample(config: SampleConfig | Path, *, report: Report = print, **options: Any) -> SampleResult:
    """Makes pictures with a generator, as `tf-deconv sample` does.

    Args:
      config: All options, or the generator's path. Fields of `SampleConfig` may be given as
        keywords.
      report: Receives lines for the user.
    Returns:
      The folder and what was written into it.
    Raises:
      UserError: for anything that the user can mend.
    """
    checked = _without_pipes(check_sample_config(_make(SampleConfig, config, options, "model")))
    import_tensorflow()
    from tf_deconv.generation import sample as command

    return command.sample(checked, report)


@naming(EditConfig)
def edit(
    config: EditConfig | Path,
    pictures: Path | Iterable[Path],
    *,
    report: Report = print,
    **options: Any,
) -> EditResult:
    """Passes pictures through a generator, as `tf-deconv edit` does.

    Args:
      config: All options, or the generator's path. Fields of `EditConfig` may be given as keywords.
      pictures: A picture file, FILE:INDEX of an array file, or several of them.
      report: Receives lines for the user.
    Returns:
      The folder and what was written into it.
    Raises:
      UserError: for anything that the user can mend.
    """
    checked = validate(_make(EditConfig, config, options, "model"))
    listed = _listed(pictures)
    # Of FILE:INDEX, the file.
    _without_pipes(checked, [*listed, *(each.rpartition(":")[0] for each in listed)])
    import_tensorflow()
    from tf_deconv.generation import edit as command

    return command.edit(checked, listed, report)


@naming(EvaluateConfig)
def evaluate(
    config: EvaluateConfig | Path, *, report: Report = print, **options: Any
) -> EvaluateResult | GeneratorEvaluateResult:
    """Measures a model that restores, or a generator, as `tf-deconv evaluate` does.

    Args:
      config: All options, or the model: a path or the name of a shipped one. Fields of
        `EvaluateConfig` may be given as keywords.
      report: Receives lines for the user.
    Returns:
      The scores, which are the content of `evaluation.json`, and what could not be measured.
    Raises:
      UserError: for anything that the user can mend.
    """
    checked = validate(_make(EvaluateConfig, config, options, "model"), {"task": RESTORATIONS})
    _without_pipes(checked)
    if checked.degrade is not None:
        check_chain(checked.degrade)
    check_range(checked.range)
    import_tensorflow()
    located = locate(_given(checked.model), checked.trust)
    check_evaluate_config(checked, located.generates)
    if located.generates:
        from tf_deconv.evaluation.generators import evaluate as of_generators

        return of_generators.evaluate_generator(checked, located, report)
    from tf_deconv.evaluation import evaluate as of_restorers

    return of_restorers.evaluate(checked, located, report)


@naming(BenchmarkConfig)
def benchmark(
    config: BenchmarkConfig | None = None,
    models: Sequence[str] = (),
    *,
    report: Report = print,
    **options: Any,
) -> Any:
    """Measures an export in every runtime, or models by a protocol, as `tf-deconv benchmark` does.

    Args:
      config: All options; or give fields of `BenchmarkConfig` as keywords.
      models: With a protocol: what is measured.
      report: Receives lines for the user.
    Returns:
      With `export`: the content of `benchmark.json`. With `protocol`: a `ProtocolResult`.
    Raises:
      UserError: for anything that the user can mend.
    """
    checked = check_benchmark_config(_make(BenchmarkConfig, config, options), models)
    validate(checked, {"runtime": RUNTIMES})  # Which evaluation does not know.
    _without_pipes(checked, models)
    import_tensorflow()
    if checked.protocol is not None:
        from tf_deconv.evaluation.protocols import measure

        return measure.benchmark_protocol(checked, models, report)
    from tf_deconv.exporting import benchmark as of_exports

    return of_exports.benchmark(checked, report)


@naming(ShardConfig)
def shard(config: ShardConfig | Path, *, report: Report = print, **options: Any) -> ShardResult:
    """Packs pictures into TFRecord shards, as `tf-deconv shard` does.

    Args:
      config: All options, or the pictures. Fields of `ShardConfig` may be given as keywords.
      report: Receives lines for the user.
    Returns:
      The folder, how many pictures it holds, and what was left out and why.
    Raises:
      UserError: for anything that the user can mend; no half-written folder is left.
    """
    checked = _without_pipes(check_shard_config(_make(ShardConfig, config, options, "data")))
    import_tensorflow()
    from tf_deconv.data.shards import pack

    return pack.shard(checked, report)


@naming(EvaluateConfig)
def inspect(model: Path, *, trust: bool = False) -> dict[str, Any]:
    """Tells what a model is, takes and gives, and where it comes from, as `tf-deconv inspect` does.

    Args:
      model: A run folder, a `.keras` file, a SavedModel folder, a `.tflite` file or the name of a
        shipped model.
      trust: Whether to open a SavedModel whose graph can do more than compute, such as read files.
    Returns:
      What `tf-deconv inspect --json` prints.
    Raises:
      UserError: if there is no such model.
    """
    from tf_deconv.evaluation.inspect import inspect_artifact

    return inspect_artifact(os.fspath(model), trust)


@naming(RestoreConfig)
def load(
    model: Path | None = None,
    *,
    tile_size: int = 0,
    self_ensemble: bool = False,
    strength: float = 1.0,
    trust: bool = False,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    exact: bool = False,
) -> Restorer:
    """Opens a model that restores: `restored = tf_deconv.load("denoise-color")(image)`.

    Args:
      model: The name of a shipped model (`list_models`), a run folder, a `.keras` file, a
        SavedModel folder or a `.tflite` file; what exists as a path is a path. None: `photo`.
      tile_size: Side of the tiles that large pictures are restored in, in pixels; 0 chooses.
      self_ensemble: Whether to take the mean over the 8 flips and turns of a picture: 8 times
        slower, a little better.
      strength: How much of the model's change is made, 0 to 2: image + strength * (restored -
        image); 0 gives the image back, 1 is the model's own. For models that keep the size.
      trust: Whether to open a SavedModel whose graph can do more than compute, such as read files:
        only if you know who made it.
      engine: What computes: "litert", "tensorflow", "openvino" or "onnxruntime"; "auto": LiteRT
        where the model has a `.tflite` file, and TensorFlow otherwise.
      precision: "float32" or "int8"; "auto": int8 for pictures of uint8 where the model's own loss
        is at most 0.05 dB, and float32 otherwise.
      threads: At most as many as there are cores; None: that many.
      exact: Whether tiles overlap by all that the network sees in pictures of uint8 too, and not
        only by what changes a pixel by half a level.
    Returns:
      The model. Called with an image, (H, W, C) of any size, uint8, uint16 or float in [0, 1], it
      returns (H * scale, W * scale, channels_out) of the same type: a colour model gives 3 channels
      of 1, and of 4 it leaves out the transparency. Several threads may call it.
    Raises:
      UserError: if there is no such model, one of its files is missing or is not the one that was
        exported, an option is out of range, the engine is not installed or cannot run the model,
        or a strength other than 1 suits no such model.
    """
    from tf_deconv.inference import artifacts

    return artifacts.load(
        model,
        tile_size=tile_size,
        self_ensemble=self_ensemble,
        strength=strength,
        trust=trust,
        engine=engine,
        precision=precision,
        threads=threads,
        exact=exact,
    )


@naming(RestoreConfig)
def load_video(
    model: Path,
    *,
    tile_size: int = 0,
    strength: float = 1.0,
    trust: bool = False,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> StreamRestorer:
    """Opens a model of films: `for restored in tf_deconv.load_video(model).restore(frames): ...`.

    Args:
      model: A run folder of --network video, its `.keras` file, its export or one file of that.
      tile_size: Side of the windows of large frames, in pixels; 0 chooses.
      strength: How much of the model's change is made, 0 to 2.
      trust: As for `load`.
      engine: "litert", "tensorflow" or "onnxruntime"; "auto" as for `load`.
      precision: As for `load`.
      threads: As for `load`.
    Returns:
      The model. Its `restore(frames)` yields a restored frame for each frame, (H, W, C) uint8,
      uint16 or float in [0, 1], as they come; `begin(height, width)` returns what takes one film's
      frames one by one, with `restore(frame)`, and `forget()` at a cut.
    Raises:
      UserError: as `load`; if the model restores single pictures.
    """
    from tf_deconv.inference import artifacts

    return artifacts.load_video(
        model,
        tile_size=tile_size,
        strength=strength,
        trust=trust,
        engine=engine,
        precision=precision,
        threads=threads,
    )


@naming(SampleConfig)
def load_generator(model: Path, *, trust: bool = False) -> Generator:
    """Opens a model that makes pictures: a VAE or a flow, of any format.

    Args:
      model: A run folder, a `.keras` file, a SavedModel folder or a `.tflite` file.
      trust: As for `load`.
    Returns:
      Its functions and what is known of it; `tf_deconv.generation.generator.sample` draws with it.
    Raises:
      UserError: if there is no such model, or it makes no pictures.
    """
    import_tensorflow()
    from tf_deconv.generation.opening import open_generator

    return open_generator(os.fspath(model), trust=trust)


def list_models() -> dict[str, str]:
    """Returns the shipped models that are on this machine: name to what it does.

    >>> import tf_deconv
    >>> tf_deconv.list_models()["denoise-color"]
    'takes noise off a colour picture'
    """
    return {name: shipped.MODELS[name].summary for name in shipped.available()}


def _make(
    cls: type[_Config], config: Any, options: dict[str, Any], first: str | None = None
) -> _Config:
    """Returns a config: the one given, or one of keywords; `first` names what comes without one."""
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    unknown = [f"{name!r}{nearest(name, names)}" for name in options if name not in names]
    if unknown:
        raise UserError(f"unknown options {', '.join(unknown)}: expected fields of {cls.__name__}")
    if config is None:
        return cls(**options)
    if isinstance(config, cls):
        return dataclasses.replace(config, **options)  # type: ignore[type-var]
    if first is not None and isinstance(config, str | os.PathLike):
        if first in options:
            raise UserError(f"{first}={options[first]!r} given twice: leave one of them out")
        return cls(**{first: os.fspath(config)}, **options)
    what = f"a {cls.__name__}" + (f" or a path ({first})" if first else "")
    raise UserError(f"config is a {type(config).__name__}: expected {what}")


def _listed(pictures: Path | Iterable[Path]) -> list[str]:
    given = [pictures] if isinstance(pictures, str | os.PathLike) else pictures
    return [os.fspath(picture) for picture in given]


# Options that are a path, or may be one.
_PATHS = (
    *("model", "data", "targets", "init", "init_rest", "mask", "training", "classifier"),
    *("export", "out", "run_dir", "web", "web_library", "of", "output", "golden"),
)


def _without_pipes(config: _Config, paths: Iterable[str] = ()) -> _Config:
    """Refuses pipes, sockets and devices, which may never end or never begin.

    Args:
      config: Checked options, which come back.
      paths: What was given beside them.
    Raises:
      UserError: naming the first one.
    """
    named = [(path, "") for path in paths]
    named += [(getattr(config, name, None) or "", f"{name}=") for name in _PATHS]
    for path, name in named:
        if what := special(path):
            raise UserError(f"{name}{path!r} is {what}: expected a file or a folder")
    return config


def _given(model: str | None) -> str:
    if model is None:
        raise UserError(f"no model: {shipped.EXPECTED}, or the name of a shipped model")
    return model
