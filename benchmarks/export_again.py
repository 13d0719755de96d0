"""Exports a model anew from the weights in its SavedModel: after the exporter has changed.

    python benchmarks/export_again.py denoise-color --out new_models

The new folder's manifest tells of the same training. The files are checked on the photographs
inside scikit-image, because the run with its held-out pictures is not there any more: its figures
of task PSNR are theirs, and those of `manifest.json` before are of other pictures.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil
import tempfile

from tf_deconv.exporting import manifest as manifests
from tf_deconv.exporting import publish
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.pipeline import export
from tf_deconv.inference import run_folder
from tf_deconv.inference.located import locate
from tf_deconv.training import pretrained
from tf_deconv.utils import files, quiet

# What a `.keras` file tells of its training, as its manifest repeats it.
KEPT = ("task", "network", "divisor", "scale", "training", "began_with", "data_sha256", "versions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of an export, or a shipped model's name")
    parser.add_argument("--out", required=True, help="folder that receives NAME/")
    options = parser.parse_args()
    folder = locate(options.model).path.parent
    manifest = json.loads((folder / publish.MANIFEST_FILE).read_text(encoding="utf-8"))
    name = manifest["name"]
    description = {key: manifest[key] for key in KEPT} | {"device": manifest["trained_on"]}
    weights = manifest["license"].removeprefix("of the weights: ").partition(";")[0]
    prefix = f"{name}-"
    variants = [pathlib.PurePath(entry["file"]).stem for entry in manifest["files"][1:]]
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work, run_folder.MODEL_FILE)
        run_folder.save_model(pretrained.open_start(options.model).model, path, description)
        # What an export takes from the run's folder besides.
        files.write_json(
            path.with_name(run_folder.METRICS_FILE), {"duration_s": manifest["training_s"]}
        )
        if (folder / publish.PREVIEW_FILE).is_file():
            shutil.copy(folder / publish.PREVIEW_FILE, path.with_name("preview.png"))
        result = export(
            ExportConfig(
                model=str(path),
                out=options.out,
                name=name,
                variants=" ".join(text.removeprefix(prefix) for text in variants),
                sizes=",".join(f"{height}x{width}" for height, width in manifest["tflite_sizes"]),
                profile=manifest["profile"],
                license=None if weights == manifests.UNDECIDED else weights,
            )
        )
        if result.folder is not None and (result.folder / publish.PREVIEW_FILE).is_file():
            # The JPEG itself, not one that was compressed twice.
            shutil.copy(folder / publish.PREVIEW_FILE, result.folder / publish.PREVIEW_FILE)


if __name__ == "__main__":
    quiet.quiet_libraries()
    quiet.import_tensorflow()
    main()
