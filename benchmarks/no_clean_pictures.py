"""Denoising learned with clean pictures, with second noisy copies, and with noisy pictures alone.

    python benchmarks/no_clean_pictures.py [--sigma 25] [--write]

Four bundled photographs are cut into tiles of 128x128, and noise is added to each tile twice,
clipped and rounded as a camera would, so that there are three folders: clean, noisy, noisy again.
The same network is trained for the same number of steps on

- supervised: `--task denoise --data clean` (noise drawn anew for every patch),
- Noise2Noise: `--task paired --data noisy --targets noisy-again`,
- self-supervised: `--task denoise --self-supervised --data noisy`.

Then each denoises the noisy copies of two photographs that no run saw, and of the photographs that
it was trained on, beside scikit-image's non-local means, which is told the noise level.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TILE_PX, CROP_PX = 128, 192
WAYS = {
    "supervised": ["--task", "denoise", "--data", "clean"],
    "Noise2Noise (paired)": ["--task", "paired", "--data", "noisy", "--targets", "noisy-again"],
    "--self-supervised": ["--task", "denoise", "--self-supervised", "--data", "noisy"],
}
CLASSICAL = "non-local means"


def add_noise(picture, sigma, seed):
    import numpy as np

    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.rint(np.clip(picture + noise, 0, 255)).astype(np.uint8)


def make_folders(folder, sigma):
    """Writes the tiles; returns whole photographs, {"seen", "unseen"} to (noisy, clean) pairs."""
    from PIL import Image

    from tf_deconv.data import sources

    source = sources.load_source("bundled", 28, 0.1)
    for name in ("clean", "noisy", "noisy-again"):
        (folder / name).mkdir()
    pictures = {"seen": [], "unseen": []}
    for key, store in (("seen", source.training), ("unseen", source.validation)):
        for index in range(len(store)):
            clean = store.picture(index)
            noisy = add_noise(clean, sigma, [index, key == "seen"])
            pictures[key].append((noisy, clean))
            if key == "unseen":
                continue
            again = add_noise(clean, sigma, [index, 2])
            for top in range(0, clean.shape[0] - TILE_PX + 1, TILE_PX):
                for left in range(0, clean.shape[1] - TILE_PX + 1, TILE_PX):
                    for name, image in (("clean", clean), ("noisy", noisy), ("noisy-again", again)):
                        tile = image[top : top + TILE_PX, left : left + TILE_PX]
                        Image.fromarray(tile).save(folder / name / f"{index}-{top}-{left}.png")
    return pictures


def train(folder, name, options):
    run_dir = folder / "runs" / name
    command = [sys.executable, str(ROOT / "train.py"), *WAYS[name], *options]
    subprocess.run(
        [*command, "--run-dir", str(run_dir)], check=True, stdout=subprocess.DEVNULL, cwd=folder
    )
    return run_dir


def denoiser_of(run_dir):
    from tf_deconv.inference import artifacts, restorer

    return restorer.Restorer(artifacts.open_artifact(run_dir)).restore


def classical(sigma):
    import numpy as np
    from skimage.restoration import denoise_nl_means

    def denoise(noisy):
        image = noisy.astype(np.float64) / 255
        restored = denoise_nl_means(
            image,
            patch_size=5,
            patch_distance=6,
            h=0.6 * sigma / 255,
            sigma=sigma / 255,
            fast_mode=True,
            channel_axis=-1,
        )
        return np.rint(np.clip(restored, 0, 1) * 255).astype(np.uint8)

    return denoise


def mean_psnr_db(denoise, pairs):
    import numpy as np

    from tf_deconv.images import arrays, metrics

    return np.mean(
        [metrics.psnr_db(arrays.to_float(denoise(n)), arrays.to_float(c)) for n, c in pairs]
    )


def main():
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sigma", type=float, default=25, help="grey levels of 255 (default: 25)")
    parser.add_argument("--network", default="unet", help="network to train (default: unet)")
    parser.add_argument("--epochs", default="10", help="epochs of 200 steps (default: 10)")
    parser.add_argument("--write", action="store_true", help="write docs/no-clean-pictures.jpg")
    options = parser.parse_args()
    arguments = ["--network", options.network, "--epochs", options.epochs]
    arguments += ["--steps-per-epoch", "200"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pictures = make_folders(folder, options.sigma)
        denoisers = {"noisy": lambda noisy: noisy, CLASSICAL: classical(options.sigma)}
        for name in WAYS:
            denoisers[name] = denoiser_of(train(folder, name, arguments))
        print(f"sigma {options.sigma:g}: python train.py {' '.join(arguments)} ...\n")
        print("| learned from | unseen photographs, dB | the photographs trained on, dB |")
        print("|---|---:|---:|")
        for name, denoise in denoisers.items():
            scores = [mean_psnr_db(denoise, pictures[key]) for key in ("unseen", "seen")]
            print(f"| {name} | {scores[0]:.2f} | {scores[1]:.2f} |", flush=True)
        if options.write:
            write_sheet(pictures["unseen"], denoisers)


def write_sheet(pairs, denoisers):
    """Shows the middle of each unseen photograph after every denoiser."""
    from PIL import Image

    from tf_deconv.images import arrays, metrics, sheets

    rows, captions = [], []
    for noisy, clean in pairs:
        reference = arrays.to_float(arrays.center_crop(clean, CROP_PX))
        shown = [
            arrays.to_float(arrays.center_crop(denoise(noisy), CROP_PX))
            for denoise in denoisers.values()
        ]
        rows.append([*shown, reference])
        decibels = [metrics.psnr_db(image, reference) for image in shown]
        captions.append([f"{name} {db:.1f} dB" for name, db in zip(denoisers, decibels)])
        captions[-1].append("clean")
    sheet = Image.fromarray(sheets.contact_sheet(rows, captions))
    sheet.save(ROOT / "docs" / "no-clean-pictures.jpg", quality=85)


if __name__ == "__main__":
    main()
