"""Makes pictures with an exported generator: python sample_tflite.py MODEL.tflite SEED OUT.png

Nothing but ai-edge-litert, numpy and Pillow; the noise is docs/noise.md's, the loop a flow's with
Heun steps. The pictures are those of `tf-deconv sample MODEL --seed SEED --count 16`; of a flow
with labels, those with `--guidance 1`.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

COUNT, STEPS = 16, 25


def threefry(seed, picture, blocks):
    """Two 32-bit words for each block: Threefry-2x32 with 20 rounds, key (seed, 0)."""
    mask = np.uint64(0xFFFFFFFF)
    keys = [np.uint64(seed), np.uint64(0), np.uint64(seed ^ 0x1BD11BDA)]
    a = np.full(blocks, picture, np.uint64) + keys[0] & mask
    b = np.arange(blocks, dtype=np.uint64) + keys[1] & mask
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = a + b & mask
            b = (b << np.uint64(turn) | b >> np.uint64(32 - turn)) & mask ^ a
        a = a + keys[(group + 1) % 3] & mask
        b = b + keys[(group + 2) % 3] + np.uint64(group + 1) & mask
    return a, b


def normal(seed, picture, size):
    """Standard normal numbers by Box-Muller, (size,) float32."""
    a, b = threefry(seed, picture, (size + 1) // 2)
    radius = np.sqrt(-2.0 * np.log(((a >> np.uint64(8)) + np.uint64(1)) / 2.0**24))
    angle = 2.0 * np.pi * ((b >> np.uint64(8)) / 2.0**24)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.ravel()[:size].astype(np.float32)


def main(path, seed, out):
    interpreter = Interpreter(path)
    name = next(iter(interpreter.get_signature_list()))
    run = interpreter.get_signature_runner(name)
    details = run.get_input_details()
    shape = details["x" if name == "step" else "latent"]["shape"]
    # A conditional model's classes come in turn; this file does not say how many there are.
    classes = int(sys.argv[4]) if "label" in details else 0
    pictures = []
    for picture in range(COUNT):
        x = normal(seed, picture, int(np.prod(shape))).reshape(shape)
        label = {"label": np.array([picture % classes], np.int32)} if classes else {}
        if name == "decode":
            pictures.append(run(latent=x, **label)["image"][0])
            continue
        for step in range(STEPS):
            now, then = (np.array([(step + i) / STEPS], np.float32) for i in (0, 1))
            first = run(x=x, t=now, **label)["velocity"]
            second = run(x=x + first / STEPS, t=then, **label)["velocity"]
            x = x + (first + second) / (2 * STEPS)
        pictures.append((x[0] + 1) / 2)
    pixels = np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)
    rows = [np.concatenate(pixels[i : i + 4], axis=1) for i in range(0, COUNT, 4)]
    Image.fromarray(np.concatenate(rows, axis=0).squeeze()).save(out)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: sample_tflite.py MODEL.tflite SEED OUT.png [CLASSES]")
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
