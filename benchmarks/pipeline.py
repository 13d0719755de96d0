"""The data pipeline alone: this project against the plain tf.data way, beside the training step.

    python benchmarks/pipeline.py [--rounds 3]

Both read the same folder of JPEGs (200 crops of 512x512 from scikit-image's photographs, made anew)
and give batches of 64 pairs of the task `old-photo` (28x28). The plain way is that of most
tutorials: list the files, decode one, cut one random patch, degrade, batch. They take turns in
processes of their own, as in training.py; reported is the best of each one's rounds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

import training
import training_work

FOLDER_VARIABLE = "BENCHMARK_FOLDER"
BATCH = 64
PICTURES, SIDE_PX = 200, 512
BATCHES, WARM_UP = 150, 20


def make_folder(folder):
    """Writes the JPEGs."""
    import numpy as np
    from PIL import Image
    from skimage import data

    photographs = [data.astronaut(), data.coffee(), data.rocket(), data.hubble_deep_field()]
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        picture = photographs[number % len(photographs)]
        height, width = (min(side, SIDE_PX) for side in picture.shape[:2])
        top = random.integers(0, picture.shape[0] - height + 1)
        left = random.integers(0, picture.shape[1] - width + 1)
        crop = picture[top : top + height, left : left + width]
        Image.fromarray(crop).save(os.path.join(folder, f"{number:03}.jpg"), quality=90)


def batches_per_second(dataset):
    batches = iter(dataset)
    for _ in range(WARM_UP):
        next(batches)
    started = time.perf_counter()
    for _ in range(BATCHES):
        next(batches)
    return BATCH * BATCHES / (time.perf_counter() - started)


def this_project():
    from tf_deconv.data import patches, sources
    from tf_deconv.degradations.tasks import TASKS

    source = sources.load_source(os.environ[FOLDER_VARIABLE], 28, 0.1)
    return batches_per_second(
        patches.training_data(
            source.training,
            TASKS["old-photo"],
            patch_size=28,
            batch_size=BATCH,
            steps_per_epoch=WARM_UP + BATCHES,
            seed=0,
        )
    )


def plain_way():
    import tensorflow as tf

    def pair(path):
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        patch = tf.image.random_crop(picture, (28, 28, 3))
        patch = tf.image.random_flip_left_right(patch)
        clean = tf.image.convert_image_dtype(patch, tf.float32)
        grey = tf.image.rgb_to_grayscale(clean)
        noisy = grey + 25 / 255 * tf.random.normal(tf.shape(grey))
        return tf.clip_by_value(noisy, 0.0, 1.0), clean

    files = tf.data.Dataset.list_files(os.path.join(os.environ[FOLDER_VARIABLE], "*.jpg"))
    return batches_per_second(
        files.repeat()
        .map(pair, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(BATCH)
        .prefetch(tf.data.AUTOTUNE)
    )


CONTENDERS = {
    "train.py's pipeline": this_project,
    "plain tf.data: list, decode, crop": plain_way,
}
STEP = "train.py's step, for comparison"


def measure(name):
    """Runs one contender in a fresh process."""
    if name == STEP:
        step = training.measure(training_work.make_work("cpu", "article"), training.BASE)
        return step["rate"] if step else 0.0
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--contender", name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return float(done.stdout.split()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        # At its end a process would wait for endless datasets: the figure is all that is wanted.
        print(CONTENDERS[options.contender](), flush=True)
        os._exit(0)
    best = dict.fromkeys([*CONTENDERS, STEP], 0.0)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER_VARIABLE] = folder
        make_folder(folder)
        with tempfile.TemporaryDirectory() as work_folder:
            os.environ[training_work.FOLDER_VARIABLE] = work_folder
            training.prepare(training_work.make_work("cpu", "article"))
            for _ in range(options.rounds):
                for name in best:
                    best[name] = max(best[name], measure(name))
    print(f"{training.describe_machine()}; best of {options.rounds} rounds\n")
    print("| contender | patches/s | times the step |")
    print("|---|---:|---:|")
    for name, value in best.items():
        print(f"| {name} | {value:.0f} | {value / best[STEP]:.2f} |")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
