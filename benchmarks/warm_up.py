"""How many frames a model with a state is shown before it goes on in the middle of a film.

    python benchmarks/warm_up.py MODEL [--side 128] [--pictures 1]

makes clips of the package's held-out photographs with each of `motion.CAMERAS`, degrades them, and
restores each in one go. Then it begins anew before frame 64, as `restore --resume` does, and shows
the model so many frames first. A row has the PSNR of the frames after that against those of the
film restored in one go, in 8 bits: of the first frame and the mean of the first 12, each the mean
over clips, the worst first frame, and the largest difference in levels of 255.
"""

from __future__ import annotations

import argparse

import numpy as np

import tf_deconv
from tf_deconv.data import motion, sources
from tf_deconv.data.clips import degrade_clip
from tf_deconv.degradations.tasks import Task
from tf_deconv.images.arrays import to_uint8

WARM_UPS = (0, 1, 2, 5, 10, 24, 48)
CHAINS = ("noise:30", "camera:1600", "codec:h264-33")
GO_ON_AT, COMPARED = 64, 12


def make_clips(side: int, pictures: int):
    """Yields a name and a degraded clip (T, H, W, 3) uint8."""
    frames = GO_ON_AT + COMPARED
    store = sources.load_source("bundled", side, 0.1).validation
    moving = motion.MovingPictures(store, (1.0, 2.0))
    for number in range(pictures):
        for camera in motion.CAMERAS:
            clean = moving.clip_of(number % len(store), (9, number), camera, frames, side)
            for chain in CHAINS:
                degraded, _ = degrade_clip(clean, Task("", chain), number)
                yield f"{camera}, {chain}", to_uint8(np.asarray(degraded))


def restored(model, clip: np.ndarray) -> np.ndarray:
    """Restores a clip from no past on: (T, H, W, 3) uint8."""
    stream = model.begin(*clip.shape[1:3])
    return np.stack([stream.restore(frame) for frame in clip])


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the PSNR of 8 bits, at most 100 dB: that of equal frames."""
    error = np.mean((one.astype(np.float64) - other) ** 2)
    return 100.0 if error == 0 else min(100.0, float(10 * np.log10(255**2 / error)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--pictures", type=int, default=1)
    given = parser.parse_args()
    model = tf_deconv.load_video(given.model)
    found = {count: [] for count in WARM_UPS}
    for name, clip in make_clips(given.side, given.pictures):
        whole = restored(model, clip)[GO_ON_AT : GO_ON_AT + COMPARED]
        line = []
        for count in WARM_UPS:
            part = restored(model, clip[GO_ON_AT - count : GO_ON_AT + COMPARED])[count:]
            scores = [psnr_db(one, other) for one, other in zip(part, whole)]
            levels = int(np.abs(part.astype(int) - whole).max())
            found[count].append((scores[0], float(np.mean(scores)), levels))
            line.append(f"{scores[0]:.1f}")
        print(f"{name}: first frame {', '.join(line)} dB", flush=True)
    print(f"\n{len(found[0])} clips of {given.side}x{given.side}, {given.model}\n")
    print("| frames shown first | first frame, dB | worst clip | 12 frames, dB | most levels |")
    print("|---:|---:|---:|---:|---:|")
    for count, rows in found.items():
        first, mean, levels = (np.array(column) for column in zip(*rows))
        print(
            f"| {count} | {first.mean():.1f} | {first.min():.1f} | {mean.mean():.1f} |"
            f" {levels.max():.0f} |"
        )


if __name__ == "__main__":
    import outcome

    outcome.run(main)
