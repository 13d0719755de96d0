"""The README's picture: a photograph as a phone takes it in the dark, and what `photo` makes of it.

    python benchmarks/readme_picture.py [--original PICTURE]

The clean photograph is `docs/gallery/sumac.jpg` (a part of Gianni Rosato's "sumac-lossless", CC0,
that no shipped network was trained on). The operator `camera` at ISO 6400 takes it anew, and a JPEG
of quality 85 is what the phone would have written: `docs/gallery/sumac-noisy.jpg`, which anyone can
restore. `docs/before-after.jpg` shows the two side by side, pixel by pixel. It prints how near each
is to the original. `--original` cuts that from the whole picture first.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile

import numpy as np
from PIL import Image

import tf_deconv
from tf_deconv.data import patches
from tf_deconv.degradations.tasks import find_task
from tf_deconv.images import arrays, metrics
from tf_deconv.utils.quiet import quiet_libraries

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
ORIGINAL, NOISY = DOCS / "gallery" / "sumac.jpg", DOCS / "gallery" / "sumac-noisy.jpg"
PAIR = DOCS / "before-after.jpg"
BOX = (100, 100, 540, 430)
CHAIN, SEED = "camera:6400", 3
GAP_PX = 8


def take_again(clean: np.ndarray, path: pathlib.Path) -> None:
    """Writes what a phone would have written of a (H, W, 3) uint8 picture."""
    noisy, _ = patches.degrade_picture(clean, find_task("denoise", CHAIN), SEED)
    Image.fromarray(arrays.to_uint8(noisy)).save(path, quality=85)


def read(path: pathlib.Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def psnr_db(picture: np.ndarray, clean: np.ndarray) -> float:
    """Returns the PSNR of all colours, both (H, W, 3) uint8."""
    return metrics.psnr_db(arrays.to_float(picture), arrays.to_float(clean))


def restored(noisy: pathlib.Path) -> np.ndarray:
    """Returns what the README's command makes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "restored.png")
        tf_deconv.restore("photo", noisy, out=str(out), report=lambda line: None)
        return read(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--original", metavar="PICTURE", help="the whole photograph, 576x576")
    options = parser.parse_args()
    quiet_libraries()
    if options.original:
        Image.open(options.original).convert("RGB").crop(BOX).save(ORIGINAL, quality=95)
    clean = read(ORIGINAL)
    take_again(clean, NOISY)
    before, after = read(NOISY), restored(NOISY)
    gap = np.full((len(clean), GAP_PX, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([before, gap, after], axis=1)).save(
        PAIR, quality=95, subsampling=0
    )
    print(f"{psnr_db(before, clean):.1f} dB -> {psnr_db(after, clean):.1f} dB")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
