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
# What sets a picture upright, by the orientation in its EXIF data (tag 274).
ORIENTATION = 274
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def main(model_file, picture, restored):
    interpreter = Interpreter(model_file)
    sizes = {}
    for name in interpreter.get_signature_list():
        height, width = map(int, re.fullmatch(r"restore_(\d+)x(\d+)", name).groups())
        sizes[height, width] = interpreter.get_signature_runner(name)
    largest = max(sizes)
    channels = sizes[largest].get_input_details()["image"]["shape"][-1]

    pixels = read(picture, channels)
    size = pixels.shape[:2]
    tile = size if size in sizes else largest
    result = restore(sizes[tile], pixels, tile, read_overlap(model_file))
    result = np.rint(np.clip(result, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(result[..., 0] if result.shape[-1] == 1 else result).save(restored)
    print(f"wrote {restored}")


def read(picture, channels):
    """Returns a picture, upright, as (H, W, channels) float32 in [0, 1]."""
    with Image.open(picture) as image:
        image.load()
        try:
            exif = Image.Exif()  # Not getexif(), which takes what XMP says for it.
            exif.load(image.info.get("exif") or b"")
            turn = TURNS.get(exif.get(ORIENTATION))
        except Exception:  # Damaged EXIF data raises whatever it likes; the pixels are whole.
            turn = None
        image = image if turn is None else image.transpose(turn)
        if image.mode.startswith("I"):  # Grey of 16 bits, which convert() would cut off at 255.
            levels = np.asarray(image, np.float32)[..., np.newaxis]
            alpha = (levels != image.info.get("transparency", -1)).astype(np.float32)
            colours = np.repeat(levels / 65535, 3, axis=-1)
        else:
            rgba = np.asarray(image.convert("RGBA"), np.float32) / 255
            colours, alpha = rgba[..., :3], rgba[..., 3:]
    if channels == 4:
        # Colour, and which pixels are known: what is transparent is missing.
        known = np.round(alpha)
        return np.concatenate([colours * known, known], axis=-1)
    colours = colours * alpha + 1 - alpha  # Over white, so that no hidden colour shows.
    return colours if channels == 3 else colours @ np.float32([[0.299], [0.587], [0.114]])


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
