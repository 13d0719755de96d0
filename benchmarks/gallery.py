"""The README's gallery: what a shipped model makes of three photographs that nobody trained on.

    python benchmarks/gallery.py denoise-color [--out docs/gallery]

writes DIR/NAME.jpg: before, after and the original of a part of three photographs that come with
scikit-image. Each is degraded once, with a fixed seed: Gaussian noise of sigma 25 (of 255), JPEG
of quality 10, for `photo` noise of sigma 15 and JPEG of quality 85, or made smaller (for `photo-x2`
with noise of sigma 5 and JPEG of quality 80). PSNR is that of luminance, of the part that is shown.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
import skimage.data
from PIL import Image

import tf_deconv
from tf_deconv.data import patches
from tf_deconv.degradations.tasks import find_task
from tf_deconv.inference import run_folder, shipped
from tf_deconv.training import scores

# astronaut: NASA, public domain; chelsea: Stefan van der Walt, CC0; coffee: Rachel Michetti, CC0.
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")
# The middle is where they have most to show, but for the astronaut's face.
TOP_SHARE = {"astronaut": 0.2}
LEVELS = {
    "photo": "noise:15 jpeg:85",
    "photo-x2": "noise:5 jpeg:80",
    "denoise": "awgn:25",
    "denoise-grey": "awgn:25",
    "deblock": "jpeg:10",
}
SIDE_PX, JPEG_QUALITY = 256, 92


def draw(name: str) -> np.ndarray:
    """Returns the sheet of a shipped model, (H, W, 3) uint8."""
    model = tf_deconv.load(name)
    manifest = json.loads((shipped.find(name) / "manifest.json").read_text(encoding="utf-8"))
    trained = manifest["training"]["task"]
    task = find_task(trained, LEVELS.get(name, LEVELS.get(trained)))
    pairs = [
        patches.degrade_picture(
            _part(getattr(skimage.data, name)(), TOP_SHARE.get(name, 0.5)), task, seed
        )
        for seed, name in enumerate(PHOTOGRAPHS)
    ]
    samples = run_folder.Samples(
        calibration=np.empty(0),
        degraded=tuple(degraded for degraded, _ in pairs),
        clean=tuple(clean for _, clean in pairs),
        names=PHOTOGRAPHS,
    )
    return scores.preview(model, samples, task, side_px=SIDE_PX)


def _part(picture: np.ndarray, top_share: float) -> np.ndarray:
    top = int(top_share * (picture.shape[0] - SIDE_PX))
    left = (picture.shape[1] - SIDE_PX) // 2
    return np.ascontiguousarray(picture[top : top + SIDE_PX, left : left + SIDE_PX])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [name for name in shipped.available() if not shipped.MODELS[name].moves]
    parser.add_argument("names", nargs="*", default=names, metavar="NAME")
    parser.add_argument("--out", default="docs/gallery", metavar="DIR")
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        path = out / f"{shipped.canonical(name)}.jpg"
        Image.fromarray(draw(name)).save(path, quality=JPEG_QUALITY)
        print(path)


if __name__ == "__main__":
    import outcome

    outcome.run(main)
