"""Folders of small pictures, for the tests of everything that reads them."""

import hashlib

import numpy as np
from PIL import Image

from tf_deconv.data.sources import load_source

# Small enough that 60 of them are quick, large enough that no two are alike.
SIDE_PX = 8


def make_pictures(count, side=SIDE_PX, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, side, side, 3), np.uint8)


def write(folder, pictures, suffix=".png", prefix="picture"):
    folder.mkdir(parents=True, exist_ok=True)
    for index, picture in enumerate(pictures):
        options = {"lossless": True} if suffix == ".webp" else {}
        Image.fromarray(picture).save(folder / f"{prefix}-{index:03d}{suffix}", **options)
    return folder


def write_noise(path, size=(40, 36), seed=0, mode="RGB", **options):
    """Writes one picture of noise; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def contents(store):
    return [hashlib.sha256(store.picture(index)).hexdigest() for index in range(len(store))]


def load(folder, patch_size=SIDE_PX, validation_fraction=0.2, **options):
    return load_source(str(folder), patch_size, validation_fraction, **options)
