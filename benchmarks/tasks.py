"""Every task on the bundled photographs: what doing nothing scores, and what each network scores.

    python benchmarks/tasks.py [--write] [--tasks NAME ...] [--networks NAME ...]

Each run is `python train.py` with the options below, in a process of its own; scores are those of
its metrics.json, on photographs that it never saw. The task `paired` gets two folders: the same
photographs, and copies that were blurred, made noisy and compressed; there one in ten is held out
by its content. `--write` puts the table into docs/tasks.md and a crop of each task into
docs/tasks.jpg. About 40 minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
from itertools import chain

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPTIONS = {
    "article": ["--epochs", "10"],
    "unet": ["--network", "unet", "--epochs", "10", "--steps-per-epoch", "150"],
}
# What the camera of the task `paired` does.
PHOTOGRAPHED = "blur:1 noise:10 jpeg:60"
CROP_PX = 144


def make_pairs(folder):
    """Writes the photographs and their bad copies as two folders of PNG files."""
    import dataclasses

    from PIL import Image

    from tf_deconv.data import patches, sources
    from tf_deconv.degradations.tasks import RESTORATIONS
    from tf_deconv.images import arrays

    source = sources.load_source("bundled", 28, 0.1)
    task = dataclasses.replace(RESTORATIONS["reconstruct"], degrade=PHOTOGRAPHED)
    for name in ("inputs", "targets"):
        (folder / name).mkdir()
    for store in (source.training, source.validation):
        for index, name in enumerate(store.names):
            pair = patches.degrade_picture(store.picture(index), task, seed=index)
            for side, image in zip(("inputs", "targets"), pair):
                path = folder / side / pathlib.Path(name).with_suffix(".png").name
                Image.fromarray(arrays.to_uint8(image)).save(path)
    return ["--data", str(folder / "inputs"), "--targets", str(folder / "targets")]


def train(task, network, options, folder):
    """Trains; returns the run folder."""
    run_dir = folder / f"{task}-{network}"
    command = [sys.executable, str(ROOT / "train.py"), "--task", task, *OPTIONS[network], *options]
    subprocess.run([*command, "--run-dir", str(run_dir)], check=True, stdout=subprocess.DEVNULL)
    return run_dir


def row_of(task, runs):
    """Returns a table row: input and each network's output, colour PSNR and SSIM."""
    metrics = [json.loads((run / "metrics.json").read_text()) for run in runs]
    cells = [task]
    for scores in (metrics[0]["input"], *(entry["output"] for entry in metrics)):
        decibels = scores["psnr_db"]
        if decibels is None:
            cells.append("equal")
        else:
            cells.append(f"{decibels:.2f} / {scores['ssim']:.3f}")
    best = metrics[-1]
    if best["input"]["psnr_db"] is None or best["output"]["psnr_db"] is None:
        return [*cells, "-"]
    return [*cells, f"{best['output']['psnr_db'] - best['input']['psnr_db']:+.2f}"]


def crops_of(run):
    """Returns input, output and target of the middle of a held-out photograph."""
    from tf_deconv.degradations import baseline
    from tf_deconv.degradations.tasks import find_task
    from tf_deconv.images import arrays, padding
    from tf_deconv.inference import artifacts, run_folder

    config = json.loads((run / "config.json").read_text())
    task = find_task(config["task"], config["degrade"])
    samples = run_folder.load_samples(run / run_folder.SAMPLES_FILE)
    degraded, clean = arrays.crop_pair(samples.degraded[0], samples.clean[0], CROP_PX, task.scale)
    # Not through a Restorer, which takes what is transparent for the mask.
    artifact = artifacts.open_artifact(run)
    padded = padding.pad_array(degraded[None], artifact.divisor)
    restored = artifact.run(padded)[0][: clean.shape[0], : clean.shape[1]]
    return [baseline.do_nothing(degraded, task), restored, clean]


def write_docs(table, sheet_rows, networks):
    """Writes docs/tasks.md and docs/tasks.jpg."""
    import io

    from PIL import Image

    from tf_deconv.images import sheets
    from tf_deconv.utils import files

    names = [name for name, _ in sheet_rows]
    columns = [crops for _, crops in sheet_rows]
    captions = [[f"{name}: input", "output", "target"] for name in names]
    # Two tasks beside each other.
    rows = [[*chain(*columns[i : i + 2])] for i in range(0, len(columns), 2)]
    texts = [[*chain(*captions[i : i + 2])] for i in range(0, len(captions), 2)]
    stream = io.BytesIO()
    sheet = sheets.contact_sheet(rows, texts)
    Image.fromarray(sheet).save(stream, "JPEG", quality=85)
    files.write_bytes(ROOT / "docs" / "tasks.jpg", stream.getvalue())
    commands = "\n".join(
        f"python train.py --task TASK {' '.join(OPTIONS[name])}" for name in networks
    )
    text = f"""# What each task gains

Made by `python benchmarks/tasks.py --write`. Each network was trained on the 88 photographs of the
package that are not held out, a minute or two on 2 CPU cores, by

```
{commands}
```

and scored on the 12 that it never saw (for `paired` those that their content held out). PSNR in dB
over all channels / SSIM. "Doing nothing" shows the input as it is: grey where colours are
asked for, enlarged by bicubic interpolation where a larger picture is.

{table}

The article's network has no way from input to output but through its 73 thousand weights, so it
loses where little is broken; its place is heavy damage. The U-Net adds to its input, and so begins
at doing nothing. Nothing can beat doing nothing at `reconstruct`: input and target are equal.

![input, output of {networks[-1]}, target of each task](tasks.jpg)
"""
    files.write_bytes(ROOT / "docs" / "tasks.md", text.encode())


def main():
    sys.path.insert(0, str(ROOT))
    from tf_deconv.degradations.tasks import RESTORATIONS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(RESTORATIONS)
    parser.add_argument("--tasks", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--networks", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--write", action="store_true", help="write docs/tasks.md and .jpg")
    parser.add_argument("--keep", metavar="DIR", help="folder for the runs; those in it are kept")
    options = parser.parse_args()
    heads = ["task", "doing nothing", *options.networks, f"gain of {options.networks[-1]}, dB"]
    lines = [" | ".join(heads), " | ".join(["---", *["---:"] * (len(heads) - 1)])]
    sheet_rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for task in options.tasks:
            extra = []
            if RESTORATIONS[task].paired:
                extra = make_pairs(pathlib.Path(tempfile.mkdtemp(dir=temporary)))
            runs = []
            for network in options.networks:
                done = folder / f"{task}-{network}" / "metrics.json"
                runs.append(done.parent if done.is_file() else train(task, network, extra, folder))
            lines.append(" | ".join(row_of(task, runs)))
            print(f"| {lines[-1]} |", flush=True)
            if options.write:
                sheet_rows.append((task, crops_of(runs[-1])))
        table = "\n".join(f"| {line} |" for line in lines)
        print(f"\n{table}")
        if options.write:
            write_docs(table, sheet_rows, options.networks)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
