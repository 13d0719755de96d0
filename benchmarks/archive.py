"""An archive restored by Beam's workers, against the command without workers.

    python benchmarks/archive.py [--pictures 2000] [--side 64] [--model denoise-color-small]

Restores the same pictures (cut from the bundled photographs, noisy) three times: by `tf-deconv
restore`; by `--engine beam`, nobody disturbed; and by `--engine beam` while the command is killed
(SIGKILL) after half of the pictures, then called again with --skip-existing. Prints seconds of the
clock and of the processor and pictures/s of each, and compares every file byte by byte; ends with
code 1 where one is missing or different.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

COMMAND = "import sys; from tf_deconv.cli.main import main; sys.exit(main(sys.argv[1:]))"


def make_pictures(folder: pathlib.Path, count: int, side: int) -> None:
    """Writes `count` noisy PNGs of (side, side), in folders of 100."""
    import numpy as np
    from PIL import Image

    from tf_deconv.data import sources

    store = sources.load_source("bundled", 28, 0.1).training
    random = np.random.default_rng(0)
    for number in range(count):
        whole = store.picture(number % len(store))
        top, left = (random.integers(0, length - side + 1) for length in whole.shape[:2])
        clean = whole[top : top + side, left : left + side].astype(np.float32)
        noisy = np.clip(clean + random.normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
        path = folder / f"{number // 100:03d}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(path)


def start(model: str, source: pathlib.Path, out: pathlib.Path, *options: str) -> subprocess.Popen:
    """Starts `tf-deconv restore`."""
    command = ["restore", model, os.fspath(source), "--out", os.fspath(out), *options]
    log = open(f"{out}.log", "ab")  # noqa: SIM115  The process keeps it.
    return subprocess.Popen([sys.executable, "-c", COMMAND, *command], stdout=log, stderr=log)


def ended(process: subprocess.Popen) -> None:
    """Waits for the end; fails where the command did."""
    if process.wait():
        raise SystemExit(f"{process.args[3:]} ended with code {process.returncode}")


def wait_for(process: subprocess.Popen, out: pathlib.Path, count: int) -> None:
    """Returns when so many pictures are there."""
    while len(list(out.glob("*/*.png"))) < count:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[3:]} ended with code {process.returncode}, too early")
        time.sleep(0.05)


def pictures_of(out: pathlib.Path) -> dict[str, bytes]:
    """Returns every picture with its bytes; what a killed command left half-made is hidden."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*.png")
        if not path.name.startswith(".")
    }


def kill_half_way(model: str, source: pathlib.Path, out: pathlib.Path, count: int) -> None:
    """Kills the command, then calls it again."""
    process = start(model, source, out, "--engine", "beam")
    wait_for(process, out, count // 2)
    process.kill()
    process.wait()
    ended(start(model, source, out, "--engine", "beam", "--skip-existing"))


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Returns the seconds that processes take, of the clock and of the processor.

    A killed command's workers, which end by themselves, are not counted to the processor's.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    duration_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return duration_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, default=64, help="of each picture, in pixels")
    parser.add_argument("--model", default="denoise-color-small")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        source, count = pathlib.Path(work, "in"), options.pictures
        make_pictures(source, count, options.side)
        local, beam, killed = (pathlib.Path(work, name) for name in ("local", "beam", "killed"))
        arguments = (options.model, source)
        rows = {
            "local": measured(lambda: ended(start(*arguments, local))),
            "beam": measured(lambda: ended(start(*arguments, beam, "--engine", "beam"))),
            "beam, killed": measured(lambda: kill_half_way(*arguments, killed, count)),
        }
        print("| engine | s | CPU s | pictures/s |\n|---|---:|---:|---:|")
        for name, (duration_s, cpu_s) in rows.items():
            print(f"| {name} | {duration_s:.0f} | {cpu_s:.0f} | {count / duration_s:.0f} |")
        print(pathlib.Path(f"{killed}.log").read_text(encoding="utf-8").splitlines()[-1])
        expected = pictures_of(local)
        same = len(expected) == count and all(
            pictures_of(out) == expected for out in (beam, killed)
        )
        print(f"{count} pictures, every file the same byte by byte: {'yes' if same else 'NO'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
