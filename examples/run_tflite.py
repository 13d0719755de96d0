"""Restores a picture with the exported TFLite file; needs ai-edge-litert, numpy and Pillow.

    python run_tflite.py saved_models/NAME/tflite/NAME-float32.tflite noisy.png restored.png

The file has one signature per picture size. A picture of any other size is restored in overlapping
tiles of the largest one, and only the middle of each tile is kept.
"""

import json
import pathlib
import re
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

# Pixels of context that a tile's border needs, where no manifest.json tells.
OVERLAP = 16


def main(model_file, picture, restored):
    interpreter = Interpreter(model_file)
    sizes = {}
    for name in interpreter.get_signature_list():
        height, width = map(int, re.fullmatch(r"restore_(\d+)x(\d+)", name).groups())
        sizes[height, width] = interpreter.get_signature_runner(name)
    largest = max(sizes)
    channels = sizes[largest].get_input_details()["image"]["shape"][-1]

    # Four channels: colour and which pixels are known; what is transparent is missing.
    image = Image.open(picture).convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    pixels = np.asarray(image, np.float32).reshape(image.height, image.width, channels) / 255
    if channels == 4:
        known = np.round(pixels[..., 3:])
        pixels = np.concatenate([pixels[..., :3] * known, known], axis=-1)

    tile = (image.height, image.width) if (image.height, image.width) in sizes else largest
    result = restore(sizes[tile], pixels, tile, read_overlap(model_file))
    result = np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(result[..., 0] if result.shape[-1] == 1 else result).save(restored)
    print(f"wrote {restored}")


def read_overlap(model_file):
    """Returns how far the network sees, from NAME/manifest.json of NAME/tflite/FILE.tflite."""
    manifest = pathlib.Path(model_file).absolute().parent.parent / "manifest.json"
    if not manifest.is_file():
        return OVERLAP
    return json.loads(manifest.read_text(encoding="utf-8"))["tile_overlap"]


def restore(runner, pixels, tile, overlap):
    """Restores (H, W, C) in tiles; returns (H * scale, W * scale, C')."""
    height, width = pixels.shape[:2]
    if (height, width) == tile:
        return runner(image=pixels[np.newaxis])["restored"][0]
    if overlap is None or 2 * overlap >= min(tile):
        sys.exit(f"the network sees too far for tiles of {tile}: give it a picture of that size")
    step = [side - 2 * overlap for side in tile]
    # The picture's own mirror image stands in for what lies beyond its edges.
    beyond = [(overlap, overlap + -size % stride) for size, stride in zip((height, width), step)]
    padded = np.pad(pixels, (*beyond, (0, 0)), mode="symmetric")
    rows = []
    for top in range(0, height, step[0]):
        row = []
        for left in range(0, width, step[1]):
            window = padded[np.newaxis, top : top + tile[0], left : left + tile[1]]
            output = runner(image=np.ascontiguousarray(window))["restored"][0]
            scale = output.shape[0] // tile[0]
            inner = [slice(overlap * scale, (side - overlap) * scale) for side in tile]
            row.append(output[inner[0], inner[1]])
        rows.append(np.concatenate(row, axis=1))
    return np.concatenate(rows)[: height * scale, : width * scale]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
