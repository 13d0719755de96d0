"""Which network for moving pictures learns most for its work: docs/decisions/0032-video.md.

    python benchmarks/video_networks.py [NAME ...] [--steps 500] [--frames 6]
        [--init photo] [--flicker 0] [--precision mixed_bfloat16]

Each candidate begins with the weights of a picture's U-Net, or of a film's, trains equally many
steps on equal clips with Gaussian noise of sigma 10 to 50, and is scored at sigma 30 on held-out
clips, which are twice as long. Clips are windows that glide over the photographs of the package at
up to 4 pixels a frame, by half pixels, every other one with a second window of another picture that
goes its own way over it.

Columns: multiply-adds of a pixel, PSNR over all frames and over the last three, the root mean
square of how much the error changes from frame to frame, of 255: everywhere, and where the clean
clip stands still (flicker as `tf-deconv evaluate` has it), and CPU seconds of a step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_deconv.data import sources
from tf_deconv.evaluation import flicker
from tf_deconv.networks import unet, video
from tf_deconv.training import losses, muon, pretrained

PATCH, SIGMA, HELD_OUT_CLIPS = 96, 30 / 255, 12


def make_clip(store, frames: int, rng: np.random.Generator, side: int = PATCH) -> np.ndarray:
    """Returns a gliding window, (frames, side, side, 3) float32 in [0, 1]."""
    clip = _glide(store, frames, rng, side)
    if rng.random() < 0.5:
        size = side // 3
        top, left = rng.integers(0, side - size, 2)
        clip[:, top : top + size, left : left + size] = _glide(store, frames, rng, size)
    return clip


def _glide(store, frames: int, rng: np.random.Generator, side: int) -> np.ndarray:
    # Steps of one pixel at twice the size are half pixels of what is shown.
    speed = rng.uniform(-1, 1, 2) * rng.choice([0, 2, 8])
    way = np.rint(np.arange(frames)[:, None] * speed).astype(int)
    way -= way.min(0)
    need = 2 * side + way.max(0)
    picture = store.picture(int(rng.integers(len(store))))
    if min(picture.shape[:2] - need) < 0:
        way = way * 0
        need = np.array([2 * side, 2 * side])
    top, left = (rng.integers(0, s - n + 1) for s, n in zip(picture.shape, need))
    windows = [
        picture[top + y : top + y + 2 * side, left + x : left + x + 2 * side] for y, x in way
    ]
    large = np.stack(windows).astype(np.float32) / 255
    return large.reshape(frames, side, 2, side, 2, 3).mean((2, 4))


def window(frames: int, filters=(48, 96), blocks=(2, 3)) -> keras.Model:
    """Builds a U-Net of a frame and its neighbours, which are more channels of the head's input."""
    clip = keras.Input((frames, None, None, 3), name="clip")
    build, chosen = unet.Builder(False, False), unet.Size(filters, blocks, True)
    x = build.head(clip[:, frames // 2], filters[0], True, unet.ZeroSum())
    others = [clip[:, number] for number in range(frames) if number != frames // 2]
    padded = keras.ops.pad(
        keras.ops.concatenate(others, -1), [[0, 0], [2, 2], [2, 2], [0, 0]], mode="reflect"
    )
    options = dict(strides=2, padding="valid", kernel_constraint=unet.ZeroSum())
    past = build.conv(padded, filters[0], 6, "past", kernel_initializer="zeros", **options)
    x = build.levels(keras.layers.Add()([x, past]), chosen)
    x = build.deconv(x, 3, 2, "tail_deconv", kernel_initializer="zeros")
    return keras.Model(clip, clip[:, frames // 2] + x, name="window")


def slide(model: keras.Model, frames: int) -> keras.Model:
    """Returns a window's network over a clip, whose ends are repeated."""
    clip = keras.Input((frames, None, None, 3), name="clip")
    reach = model.input_shape[1] // 2
    at = [[min(max(t + d, 0), frames - 1) for d in range(-reach, reach + 1)] for t in range(frames)]
    made = [model(keras.ops.stack([clip[:, i] for i in places], 1)) for places in at]
    return keras.Model(clip, keras.ops.stack(made, 1))


def look_ahead(filters=(48, 96), blocks=(2, 3)) -> keras.Model:
    """Builds a cell that sees the next frame too: [frame, next frame, state]."""
    frame, following = (keras.Input((None, None, 3), name=name) for name in ("frame", "next"))
    state = keras.Input((None, None, filters[0]), name="state")
    build, chosen = unet.Builder(False, False), unet.Size(filters, blocks, True)
    x = build.head(frame, filters[0], True, unet.ZeroSum())
    padded = keras.ops.pad(following, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="reflect")
    options = dict(strides=2, padding="valid", kernel_constraint=unet.ZeroSum())
    ahead = build.conv(padded, filters[0], 6, "ahead", kernel_initializer="zeros", **options)
    past = build.conv(state, filters[0], 3, "past", kernel_initializer="zeros")
    x = build.levels(keras.layers.Add()([x, ahead, past]), chosen)
    correction = build.deconv(x, 3, 2, "tail_deconv", kernel_initializer="zeros")
    return keras.Model([frame, following, state], [frame + correction, x])


def unroll_ahead(cell: keras.Model, frames: int) -> keras.Model:
    """Returns that cell over a clip, whose last frame is its own next one."""
    clip = keras.Input((frames, None, None, 3), name="clip")
    state, made = video.zero_state(clip[:, 0], cell.inputs[2].shape[-1]), []
    for t in range(frames):
        restored, state = cell([clip[:, t], clip[:, min(t + 1, frames - 1)], state])
        made.append(restored)
    return keras.Model(clip, keras.ops.stack(made, 1))


def features_only() -> keras.Model:
    """Builds a cell whose state is the U-Net's last features alone."""
    frame = keras.Input((None, None, 3), name="frame")
    state = keras.Input((None, None, 48), name="state")
    build, chosen = unet.Builder(False, False), unet.Size((48, 96), (2, 3), True)
    x = build.head(frame, 48, True, unet.ZeroSum())
    past = build.conv(state, 48, 3, "past", kernel_initializer="zeros")
    x = build.levels(keras.layers.Add()([x, past]), chosen)
    correction = build.deconv(x, 3, 2, "tail_deconv", kernel_initializer="zeros")
    return keras.Model([frame, state], [frame + correction, x])


def not_led(gate: bool = False) -> keras.Model:
    """Builds a cell whose state is the last restored frame and features, led by a gate or not."""
    frame, state = keras.Input((None, None, 3), name="frame"), keras.Input((None, None, 48))
    build, chosen = unet.Builder(False, False), unet.Size((48, 96), (2, 3), True)
    x = build.head(frame, 48, True, unet.ZeroSum())
    known, before = state[..., :1], state[..., 1:13]
    fold, unfold = _fixed(keras.layers.Conv2D, 12), _fixed(keras.layers.Conv2DTranspose, 3)
    past = keras.ops.concatenate([before - known * fold(frame), state[..., 13:]], -1)
    past = build.conv(past, 48, 3, "past", kernel_initializer="zeros")
    x = build.levels(keras.layers.Add()([x, past]), chosen)
    correction = build.deconv(x, 3, 2, "tail_deconv", kernel_initializer="zeros")
    made = fold(keras.layers.Add(dtype="float32")([frame, correction]))
    if gate:
        share = keras.layers.Conv2D(
            12, 1, activation="sigmoid", kernel_initializer="zeros", dtype="float32"
        )
        made = made + share(x) * (before - known * made)
    parts = [keras.ops.minimum(known + 1, 1), made, keras.ops.cast(x[..., :35], "float32")]
    following = keras.ops.clip(keras.ops.concatenate(parts, -1), -8, 8)
    return keras.Model([frame, state], [unfold(made), following])


def _fixed(kind: type, filters: int) -> keras.layers.Layer:
    """Returns a layer between pixels and folded pixels, 2x2 of them as channels of one."""
    layer = kind(filters, 2, 2, use_bias=False, trainable=False, dtype="float32")
    layer.build((None, None, None, 15 - filters))
    layer.set_weights([np.eye(12, dtype="f").reshape(2, 2, 3, 12)])
    return layer


def _recurrent(blocks=(2, 3), features=35):
    return video.build_video(blocks=blocks, features=features, blind_to_levels=True), video.unroll


def _single():
    """Builds the network's cell for frames that have no past."""
    cell = video.build_video(blind_to_levels=True)
    for layer in cell.layers:
        known = ("seen", "past", "still", "moved")
        layer.trainable &= not layer.name.startswith(("fusion", *known))

    def unroll(cell: keras.Model, frames: int) -> keras.Model:
        clip = keras.Input((frames, None, None, 3), name="clip")
        none = video.zero_state(clip[:, 0], cell.inputs[1].shape[-1])
        return keras.Model(
            clip, keras.ops.stack([cell([clip[:, t], none])[0] for t in range(frames)], 1)
        )

    return cell, unroll


CANDIDATES = {
    "frame by frame": (_single, 1296 + 75024),
    "fused": (_recurrent, 91362),
    "features and frame": (lambda: (not_led(), video.unroll), 81504),
    "features and frame, led by a gate": (lambda: (not_led(gate=True), video.unroll), 81648),
    "features only": (lambda: (features_only(), video.unroll), 81504),
    "fused, no features": (lambda: _recurrent(features=0), 87582),
    "fused, blocks 3,3": (lambda: _recurrent((3, 3)), 112098),
    "window of 3": (lambda: (window(3), slide), 78912),
    "window of 5": (lambda: (window(5), slide), 81504),
    "features and the next frame": (lambda: (look_ahead(), unroll_ahead), 82800),
}


def zero_second_convolutions(model: keras.Model, start: keras.Model) -> None:
    """Lets blocks that the start has not begin as the identity."""
    known = {layer.name for layer in start.layers}
    for layer in model.layers:
        if layer.name.endswith("_conv_2") and layer.name not in known:
            layer.kernel.assign(keras.ops.zeros_like(layer.kernel))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(CANDIDATES))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--init", default="photo")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--flicker", type=float, default=0.0)
    parser.add_argument("--precision", default="mixed_bfloat16")
    arguments = parser.parse_args()
    start = pretrained.open_start(arguments.init).model
    source = sources.load_source("bundled", PATCH, 0.1)
    held_out, train = source.validation, source.training
    rng = np.random.default_rng(1)
    clean = np.stack(
        [make_clip(held_out, 2 * arguments.frames, rng) for _ in range(HELD_OUT_CLIPS)]
    )
    noisy = clean + rng.normal(0, SIGMA, clean.shape).astype("f")
    loss = losses.ClipLoss(losses.make_loss("l1"), arguments.flicker)
    print("| network | multiply-adds | dB | dB, last frames | change | flicker | CPU s a step |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    print(f"| as it is | 0 | {_row(noisy, clean)} | |", flush=True)
    for name in arguments.names or CANDIDATES:
        make, work = CANDIDATES[name]
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(arguments.precision)
        cell, spread = make()
        pretrained.copy_weights(start, cell)
        zero_second_convolutions(cell, start)
        model = spread(cell, arguments.frames)
        steps = arguments.steps
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - 50), warmup_target=arguments.learning_rate, warmup_steps=50
        )
        model.compile(muon.Muon(schedule), loss)
        before = time.process_time()
        batches = tf.data.Dataset.from_generator(
            lambda: _batches(train, arguments.frames),
            output_signature=(tf.TensorSpec((1, arguments.frames, PATCH, PATCH, 3)),) * 2,
        )
        model.fit(batches, steps_per_epoch=steps, verbose=0)
        spent = (time.process_time() - before) / steps
        keras.config.set_dtype_policy("float32")
        plain = spread(cell, 2 * arguments.frames)
        restored = plain.predict(noisy, batch_size=1, verbose=0)
        print(f"| {name} | {work:,} | {_row(restored, clean)} | {spent:.2f} |", flush=True)


def _batches(store, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    while True:
        clean = make_clip(store, frames, rng)
        sigma = rng.uniform(10, 50) / 255
        yield (clean + rng.normal(0, sigma, clean.shape).astype("f"))[None], clean[None]


def _row(restored: np.ndarray, clean: np.ndarray) -> str:
    error = np.clip(restored, 0, 1) - clean
    mse = np.square(error).mean((2, 3, 4))
    change = 255 * np.sqrt(np.square(np.diff(error, axis=1)).mean())
    db = -10 * np.log10(mse)
    of_clips = []
    for clip, target in zip(np.clip(restored, 0, 1), clean):
        measured = flicker.Flicker()
        for frame, expected in zip(clip, target):
            measured.add(frame, expected)
        of_clips.append(measured.result())
    still = np.nanmean(of_clips)
    return f"{db.mean():.2f} | {db[:, -3:].mean():.2f} | {change:.2f} | {still:.2f}"


if __name__ == "__main__":
    import outcome

    outcome.run(main)
