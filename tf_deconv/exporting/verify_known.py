"""What is right for `verify`: known pictures and clips, and what Keras makes of them.

It is kept in the export's `golden/`. Of an export without one, or of another size, it is what a
checked file of the same export makes: the float32 `.tflite` file in LiteRT, or the SavedModel in
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import pathlib
from collections.abc import Callable

import numpy as np

from tf_deconv.exporting import golden, verify_film
from tf_deconv.exporting.config import VerifyConfig
from tf_deconv.exporting.parity import diagnosis, process, runner
from tf_deconv.exporting.verify_export import Export, Size, check_file, signature_sizes
from tf_deconv.utils.options import UserError
from tf_deconv.utils.quiet import import_tensorflow


@dataclasses.dataclass(frozen=True)
class Known:
    """A known picture.

    Attributes:
      given: (H, W, C) what goes in.
      expected: (H * scale, W * scale, C') what Keras makes of it.
      against: What made that.
      restore: What makes the right picture of another of the same size; None where nothing can.
    """

    given: np.ndarray
    expected: np.ndarray
    against: str
    restore: diagnosis.Restore | None


def know(export: Export, size: Size, tested: pathlib.Path | None) -> Known:
    """Makes the known picture of a size and what is right of it.

    Args:
      export: Whose.
      size: (height, width).
      tested: The file that LiteRT or TensorFlow runs, which does not judge itself; None where
        another runtime is tried.
    """
    judges = [path for path in export.truths if tested is None or not path.samefile(tested)]
    key = size, judges[0] if judges else None
    if key not in export.known:
        export.known[key] = _make_known(export, size, judges)
    return export.known[key]


def _make_known(export: Export, size: Size, judges: list[pathlib.Path]) -> Known:
    kept = golden.read(export.folder / golden.FOLDER, size)
    channels = export.manifest.get("channels_in")
    if not isinstance(channels, int):
        raise UserError(f"{str(export.folder)!r} does not tell how many channels go in")
    given = golden.picture(*size, channels) if kept is None else kept[0]
    # To tell a wrong input from a wrong output; TensorFlow would be started for each suspicion.
    suspect = _by_litert(export, size)
    if kept is not None:
        return Known(*kept, "golden/", suspect)
    restore = _restorer(export, size, judges)
    if restore is None:
        raise UserError(
            f"nothing to compare with: {str(export.folder)!r} has neither {golden.FOLDER}/ of"
            f" {size[0]}x{size[1]} nor another file that runs at that size; export again"
        )
    return Known(given, restore[0](given), restore[1], suspect)


def _restorer(
    export: Export, size: Size, judges: list[pathlib.Path]
) -> tuple[diagnosis.Restore, str] | None:
    """Returns what restores pictures of a size rightly, and its name; None where nothing can."""
    for path in judges:
        if export.truths[path] == "litert":
            if restore := _by_litert(export, size):
                return restore, "the float32 file in LiteRT"
        elif importlib.util.find_spec("tensorflow") is not None:
            check_file(path, export.trust, whole=True)
            return functools.partial(_by_tensorflow, path), "the SavedModel in TensorFlow"
    return None


def _by_litert(export: Export, size: Size) -> diagnosis.Restore | None:
    """Returns what restores pictures of a size by the float32 file; None where it has no such."""
    from tf_deconv.inference.litert_engine import LitertModel

    divisor = export.manifest.get("divisor") or 1
    for path, name in export.truths.items():
        if name == "litert" and not (size[0] % divisor or size[1] % divisor):
            check_file(path, export.trust, whole=True)
            model = LitertModel(path, 1)
            if not model.sizes or size in model.sizes:
                return functools.partial(_restore_one, model)
    return None


def _restore_one(model: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    return model(image[np.newaxis])[0]


def _by_tensorflow(path: pathlib.Path, image: np.ndarray) -> np.ndarray:
    key = "serving_default|0"
    return process.run_file(path, {key: image[np.newaxis]}, timed=False)[key][0]


def know_film(export: Export, size: Size, tested: pathlib.Path | None) -> verify_film.KnownFilm:
    """Makes the known clip of a size and what is right of it; arguments as of `know`."""
    found = None
    for path, runtime in export.truths.items():
        is_itself = tested is not None and path.samefile(tested)
        has_size = path.is_dir() or size in signature_sizes(path)
        has_runtime = importlib.util.find_spec(runner.RUNTIMES[runtime].module) is not None
        if not is_itself and has_size and has_runtime:
            check_file(path, export.trust, whole=True)
            found = path, runtime
            break
    key = size, found
    if key not in export.known:
        export.known[key] = verify_film.know(export.folder, export.manifest, size, found)
    if export.known[key] is None:
        raise UserError(
            f"nothing to compare with: {str(export.folder)!r} has neither a clip of"
            f" {size[0]}x{size[1]} in {golden.FOLDER}/ nor another file that runs at that size;"
            " export again"
        )
    return export.known[key]


def is_own_golden(config: VerifyConfig, export: Export) -> bool:
    """Tells whether --golden names the export's own folder."""
    own = export.folder.resolve() / golden.FOLDER
    return pathlib.Path(str(config.golden)).resolve() == own


def add_golden(export: Export) -> None:
    """Adds the known pictures to an export that has none."""
    import_tensorflow()  # Without the lines that it prints.
    from tf_deconv.exporting import golden_addition

    for path in export.truths:
        check_file(path, export.trust, whole=True)
    golden_addition.add(export.folder, export.manifest)


def write_golden(config: VerifyConfig, export: Export, size: Size | None) -> None:
    """Writes the known picture or clip of a size, and what is right of it, where --golden says."""
    if size is None:
        raise UserError(f"golden={config.golden!r}: a generator's lies in the export itself")
    if export.is_film:
        film = know_film(export, size, None)
        golden.write_clip(pathlib.Path(config.golden), film.given, film.expected)
        return
    known = know(export, size, None)
    golden.write(pathlib.Path(config.golden), {size: (known.given, known.expected)})
