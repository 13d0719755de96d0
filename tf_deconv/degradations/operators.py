"""Forward operators y = A(x) + n: what happened to the picture that a network restores.

Images are float32 (H, W, C) in [0, 1], one at a time; every random operator is a pure function of
its arguments and a seed, so a tf.data pipeline may run it in parallel and still repeat itself
(stateful `tf.random` in a parallel map does not). See docs/decisions/0002-degradations.md.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import tensorflow as tf

from tf_deconv.degradations import (
    camera,  # noqa: F401 - its operators register themselves.
    codecs,
)
from tf_deconv.degradations.seeds import for_frame, of_clip, of_frame
from tf_deconv.degradations.tasks import (
    CODECS,
    FUNCTIONS,
    OPERATORS,
    Step,
    Task,
    codec_operator,
    operator,
    parse_chain,
)
from tf_deconv.images.arrays import LUMINANCE_WEIGHTS
from tf_deconv.images.padding import mirror, mirrored

# Standard deviation of a camera's read noise, as a share of white, beside its photon noise.
READ_NOISE_STDDEV = 0.01
# Strokes of an inpainting mask, and the widest, as a share of the picture's shorter side.
STROKES, STROKE_WIDTH = 4, 0.08
# A network without clean pictures has one pixel hidden in each cell of this side; what takes its
# place is drawn from a window around it.
BLIND_CELL_PX, BLIND_WINDOW_PX = 4, 5

# What is folded into a step's seed to draw its level, and whether it happens.
LEVEL_STREAM, SHARE_STREAM = 1_000_003, 1_000_033


def make_pair(task: Task, picture: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Degrades a clean picture as a task says.

    Args:
      task: The task.
      picture: (H, W, 3) float32 in [0, 1]; (H, W, 6), input and target, where it is paired.
      seed: (2,) int32.
    Returns:
      degraded (H // scale, W // scale, channels_in) and clean (H', W', channels_out), float32 in
      [0, 1] (degraded by "awgn": around it); H' and W' are H and W cut to multiples of the scale.
    """
    picture = _cut_to_multiple(picture, task.scale)
    degraded, clean = (picture[..., :3], picture[..., 3:]) if task.paired else (picture, picture)
    degraded = luminance(degraded) if task.grey_input else degraded
    clean = luminance(clean) if task.grey_output else clean
    if task.scale > 1:
        degraded = downsample(degraded, task.scale)
    for number, step in enumerate(parse_chain(task.degrade)):
        # The first step takes the seed itself, further ones a seed of their own.
        own = tf.random.experimental.stateless_fold_in(seed, number) if number else seed
        degraded = _apply(step, degraded, own)
    if task.mask:
        known = inpainting_mask(tf.shape(degraded)[0], tf.shape(degraded)[1], seed)
        known = tf.ensure_shape(known, (*degraded.shape[:2], 1))
        degraded = tf.concat([degraded * known, known], axis=-1)
    return degraded, clean


def make_clip_pair(task: Task, clip: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Degrades a clean clip as a task says.

    What a chain draws by chance (levels, which of its steps happen, the camera, the direction of a
    blur, missing places) is the same for all frames; noise is new in each.

    Args:
      task: The task; not paired.
      clip: (T, H, W, 3) float32 in [0, 1].
      seed: (2,) int32.
    Returns:
      degraded (T, H // scale, W // scale, channels_in) and clean (T, H', W', channels_out),
      float32, as `make_pair` gives them of a picture.
    """
    clip = _cut_to_multiple(clip, task.scale)
    degraded = luminance(clip) if task.grey_input else clip
    clean = luminance(clip) if task.grey_output else clip
    if task.scale > 1:
        size = [side and side // task.scale for side in degraded.shape[1:3]]
        signature = tf.TensorSpec((*size, degraded.shape[-1]), tf.float32)
        degraded = tf.map_fn(
            functools.partial(downsample, factor=task.scale),
            degraded,
            fn_output_signature=signature,
        )
    for number, step in enumerate(parse_chain(task.degrade)):
        own = tf.random.experimental.stateless_fold_in(seed, number) if number else seed
        degraded = _apply(step, degraded, own)
    if task.mask:
        known = inpainting_mask(tf.shape(degraded)[1], tf.shape(degraded)[2], seed)
        known = tf.broadcast_to(known, tf.concat([tf.shape(degraded)[:3], [1]], axis=0))
        known = tf.ensure_shape(known, (*degraded.shape[:3], 1))
        degraded = tf.concat([degraded * known, known], axis=-1)
    return degraded, clean


def _apply(step: Step, image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Applies a step to its share of pictures, or of clips; the others cost nothing."""
    by_frame = image.shape.rank == 4 and not OPERATORS[step.operator].whole_clips

    def applied() -> tf.Tensor:
        level = _draw_level(step, seed)

        def of_one(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            return FUNCTIONS[step.operator](image, level, seed, step.high)

        if not by_frame:
            return of_one(image, seed)
        return tf.map_fn(
            lambda frame: of_one(frame[0], for_frame(seed, frame[1])),
            (image, tf.range(tf.shape(image)[0])),
            fn_output_signature=tf.TensorSpec(image.shape[1:], tf.float32),
        )

    if step.share == 1.0:
        return applied()
    own = tf.random.experimental.stateless_fold_in(seed, SHARE_STREAM)
    chosen = tf.random.stateless_uniform((), own) < step.share
    return tf.ensure_shape(tf.cond(chosen, applied, lambda: image), image.shape)


def _draw_level(step: Step, seed: tf.Tensor) -> tf.Tensor | float:
    if step.low == step.high:
        return step.low
    own = tf.random.experimental.stateless_fold_in(seed, LEVEL_STREAM)
    if OPERATORS[step.operator].logarithmic:
        return tf.exp(tf.random.stateless_uniform((), own, math.log(step.low), math.log(step.high)))
    return tf.random.stateless_uniform((), own, step.low, step.high)


def _cut_to_multiple(image: tf.Tensor, factor: int) -> tf.Tensor:
    if factor == 1:
        return image
    sizes = [image.shape[axis] or tf.shape(image)[axis] for axis in (-3, -2)]
    return image[..., : sizes[0] // factor * factor, : sizes[1] // factor * factor, :]


def luminance(image: tf.Tensor) -> tf.Tensor:
    """Converts colour to grey.

    Args:
      image: (..., 3) float32 in [0, 1], R'G'B'.
    Returns:
      (..., 1) float32 in [0, 1].
    Reference: ITU-R BT.601-7, section 2.5.1.
    """
    red, green, blue = tf.unstack(image, axis=-1)
    of_red, of_green, of_blue = LUMINANCE_WEIGHTS
    return (of_red * red + of_green * green + of_blue * blue)[..., tf.newaxis]


@operator("noise")
def gaussian_noise(image: tf.Tensor, stddev: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Adds white Gaussian noise and clips to [0, 1], as a picture file would.

    Args:
      image: (H, W, C) float32 in [0, 1].
      stddev: Standard deviation in grey levels of 255.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    noise = tf.random.stateless_normal(tf.shape(image), of_frame(seed))
    return tf.clip_by_value(image + stddev / 255.0 * noise, 0.0, 1.0)


@operator("awgn")
def unclipped_gaussian_noise(
    image: tf.Tensor, stddev: Any, seed: tf.Tensor, _: float = 0.0
) -> tf.Tensor:
    """Adds white Gaussian noise and nothing else: additive, so it leaves [0, 1].

    Args:
      image: (H, W, C) float32 in [0, 1].
      stddev: Standard deviation in grey levels of 255.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32.
    Reference: the protocol of Zhang et al. 2017 (DnCNN), 2018 (FFDNet) and of those after them.
    """
    return image + stddev / 255.0 * tf.random.stateless_normal(tf.shape(image), of_frame(seed))


@operator("clip")
def store_by_chance(image: tf.Tensor, share: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Clips to [0, 1] and rounds to 8 bits, as a file would, in a share of pictures.

    A network that learns from both kinds tells them apart: what clipping took from dark and bright
    places comes back, and noise that was not clipped is not mistaken for it.

    Args:
      image: (H, W, C) float32.
      share: Between 0 (no picture) and 1 (each).
      seed: (2,) int32.
    Returns:
      (H, W, C) float32.
    """
    stored = tf.round(tf.clip_by_value(image, 0.0, 1.0) * 255.0) / 255.0
    return tf.where(tf.random.stateless_uniform((), of_clip(seed)) < share, stored, image)


@operator("poisson")
def low_light_noise(image: tf.Tensor, photons: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Counts photons and reads them out: Poisson noise of the signal plus Gaussian read noise.

    Args:
      image: (H, W, C) float32 in [0, 1].
      photons: Mean number of photons of a white pixel.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    Reference: Foi et al. 2008, the Poisson-Gaussian model of raw data.
    """
    counted = tf.random.stateless_poisson(
        tf.shape(image), of_frame(seed), tf.maximum(image, 0.0) * photons, tf.float32
    )
    own = tf.random.experimental.stateless_fold_in(of_frame(seed), 1)
    read = READ_NOISE_STDDEV * tf.random.stateless_normal(tf.shape(image), own)
    return tf.clip_by_value(tf.ensure_shape(counted, image.shape) / photons + read, 0.0, 1.0)


@operator("blur")
def gaussian_blur(image: tf.Tensor, stddev: Any, _: tf.Tensor, highest: float) -> tf.Tensor:
    """Blurs with a Gaussian; edges are mirrored.

    Args:
      image: (H, W, C) float32 in [0, 1].
      stddev: Standard deviation in pixels; 0 leaves the picture as it is.
      highest: The largest `stddev` that can come; sets the size of the kernel.
    Returns:
      (H, W, C) float32 in [0, 1].
    Reference: equals scipy.ndimage.gaussian_filter, mode "reflect", truncate 4.
    """
    radius = max(1, math.ceil(4 * highest))
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    width = tf.maximum(tf.cast(stddev, tf.float32), 1e-3)
    weights = tf.where(
        tf.abs(offsets) <= tf.math.floor(4 * width + 0.5),
        tf.exp(-0.5 * (offsets / width) ** 2),
        0.0,
    )
    weights /= tf.reduce_sum(weights)
    return _filter(
        _filter(image, weights[:, tf.newaxis], radius, 0), weights[tf.newaxis], 0, radius
    )


@operator("motion")
def motion_blur(image: tf.Tensor, length: Any, seed: tf.Tensor, highest: float) -> tf.Tensor:
    """Blurs along a line whose direction is drawn from the seed; edges are mirrored.

    Args:
      image: (H, W, C) float32 in [0, 1].
      length: Length of the line in pixels; 1 leaves the picture as it is.
      seed: (2,) int32.
      highest: The largest `length` that can come; sets the size of the kernel.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    angle = tf.random.stateless_uniform((), of_clip(seed), 0.0, math.pi)
    radius = max(1, math.ceil(highest / 2))
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    # Points one pixel apart on the line; the last two count by how much of the length they cover.
    # Each is shared among the four pixels around it, so that a single one is that pixel alone.
    counts = tf.clip_by_value((length + 1) / 2 - tf.abs(offsets), 0.0, 1.0)
    rows, columns = (
        tf.maximum(1.0 - tf.abs(offsets[tf.newaxis] - offsets[:, tf.newaxis] * slope), 0.0)
        for slope in (tf.sin(angle), tf.cos(angle))
    )  # (points, 2 radius + 1) each
    weights = tf.einsum("p,pr,pc->rc", counts, rows, columns)
    return _filter(image, weights / tf.reduce_sum(weights), radius, radius)


def _filter(image: tf.Tensor, kernel: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Convolves every channel with a symmetric (2 rows + 1, 2 columns + 1) kernel."""
    channels = image.shape[-1]
    padded = mirror(mirror(image, rows, 0), columns, 1)
    filters = tf.tile(kernel[:, :, tf.newaxis, tf.newaxis], (1, 1, channels, 1))
    filtered = tf.nn.depthwise_conv2d(padded[tf.newaxis], filters, (1, 1, 1, 1), "VALID")[0]
    return tf.ensure_shape(tf.clip_by_value(filtered, 0.0, 1.0), image.shape)


@operator("jpeg")
def jpeg(image: tf.Tensor, quality: Any, _: tf.Tensor, __: float = 0.0) -> tf.Tensor:
    """Compresses with a real encoder (libjpeg, chroma at half size) and decodes again.

    Args:
      image: (H, W, 1 or 3) float32 in [0, 1].
      quality: 1 to 100, rounded.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    pixels = to_uint8(image)
    level = tf.cast(tf.round(tf.cast(quality, tf.float32)), tf.int32)
    encoded = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=level)
    decoded = decode_jpeg(encoded, image.shape[-1])
    return tf.ensure_shape(tf.image.convert_image_dtype(decoded, tf.float32), image.shape)


def _through_codec(
    name: str, image: tf.Tensor, rate: Any, seed: tf.Tensor, _: float = 0.0
) -> tf.Tensor:
    """Compresses a clip with a real encoder and decodes it: see `codecs.through_codec`.

    Args:
      name: A key of `tasks.CODECS`.
      image: (T, H, W, 1 or 3) float32 in [0, 1]; (H, W, 1 or 3), which is a key frame.
      rate: As the codec counts it.
      seed: (2,) int32, or that of a frame.
    Returns:
      The same shape, float32 in [0, 1].
    """
    pixels = to_uint8(image if image.shape.rank == 4 else image[tf.newaxis])
    decoded = tf.numpy_function(
        functools.partial(codecs.through_codec, name),
        [pixels, tf.cast(rate, tf.float32), of_clip(seed)],
        tf.uint8,
        stateful=False,
    )
    decoded = tf.reshape(tf.image.convert_image_dtype(decoded, tf.float32), tf.shape(image))
    return tf.ensure_shape(decoded, image.shape)


for _name in CODECS:
    operator(codec_operator(_name))(functools.partial(_through_codec, _name))


@operator("jpeg444")
def jpeg444(image: tf.Tensor, quality: Any, _: tf.Tensor, highest: float = 100.0) -> tf.Tensor:
    """Compresses with chroma at full size, as `jpeg` otherwise.

    Args:
      image: (H, W, 1 or 3) float32 in [0, 1].
      quality: 1 to 100, rounded.
      highest: The largest `quality` that can come.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    pixels = to_uint8(image)
    level = tf.cast(tf.round(tf.cast(quality, tf.float32)), tf.int32)
    # The encoder whose quality may vary has no setting for chroma, so there is one for each.
    encode = functools.partial(tf.io.encode_jpeg, pixels, chroma_downsampling=False)
    qualities = range(1, round(highest) + 1)
    encoded = tf.switch_case(level - 1, [functools.partial(encode, quality=q) for q in qualities])
    decoded = decode_jpeg(encoded, image.shape[-1])
    return tf.ensure_shape(tf.image.convert_image_dtype(decoded, tf.float32), image.shape)


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Rounds [0, 1] to the nearest grey level, halves up; values outside are clipped.

    Args:
      image: float32 of any shape.
    Returns:
      uint8 of the same shape.
    """
    # Not tf.image.convert_image_dtype, which cuts off x * 255.5: of random values 25 % come out one
    # level off.
    return tf.cast(tf.floor(tf.clip_by_value(image, 0.0, 1.0) * 255.0 + 0.5), tf.uint8)


def decode_jpeg(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes a JPEG to the very pixels that libjpeg, and so nearly every other program, gives.

    Args:
      encoded: () string, the bytes of a file.
      channels: 1 or 3.
    Returns:
      (H, W, channels) uint8.
    """
    # TensorFlow's default is libjpeg's fast transform: 1 grey level off on average in photographs
    # and 255 at sharp edges, where it overflows.
    return tf.io.decode_jpeg(encoded, channels=channels, dct_method="INTEGER_ACCURATE")


def downsample(image: tf.Tensor, factor: int) -> tf.Tensor:
    """Makes a picture smaller by antialiased bicubic interpolation.

    Args:
      image: (H, W, C) float32 in [0, 1]; H and W divisible by `factor`.
      factor: At least 1.
    Returns:
      (H / factor, W / factor, C) float32 in [0, 1].
    Reference: Keys 1981 (a = -0.5), stretched by the factor, as MATLAB's imresize does; the
      super-resolution literature is measured on it.
    """
    return _clipped(_resize(_resize(image, factor, 1, 0), factor, 1, 1))


def upsample(image: tf.Tensor, factor: int) -> tf.Tensor:
    """Makes a picture larger by bicubic interpolation: the baseline of super-resolution.

    Args:
      image: (H, W, C) float32 in [0, 1].
      factor: At least 1.
    Returns:
      (H * factor, W * factor, C) float32 in [0, 1].
    """
    return _clipped(_resize(_resize(image, 1, factor, 0), 1, factor, 1))


def _clipped(image: tf.Tensor) -> tf.Tensor:
    """Clips after both axes: in between, what overshoots along one still counts for the other."""
    return tf.clip_by_value(image, 0.0, 1.0)


def _resize(image: tf.Tensor, down: int, up: int, axis: int) -> tf.Tensor:
    """Resamples one axis by up / down, of which one is 1."""
    static = image.shape[axis]
    size = tf.shape(image)[axis]
    count = size * up // down
    stretch = float(down)
    taps = 4 * down + 2
    centers = (tf.cast(tf.range(count), tf.float32) + 0.5) * (down / up) - 0.5
    first = tf.cast(tf.math.floor(centers - taps / 2), tf.int32) + 1
    index = first[:, tf.newaxis] + tf.range(taps)[tf.newaxis]
    weights = _cubic((centers[:, tf.newaxis] - tf.cast(index, tf.float32)) / stretch)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    # One tap after the other: gathering all of them at once would take `taps` pictures.
    result = tf.zeros_like(tf.gather(image, index[:, 0] * 0, axis=axis))
    for tap in range(taps):
        weight = weights[:, tap]
        weight = (
            weight[:, tf.newaxis, tf.newaxis] if axis == 0 else weight[tf.newaxis, :, tf.newaxis]
        )
        result += weight * tf.gather(image, mirrored(index[:, tap], size), axis=axis)
    shape = image.shape.as_list()
    shape[axis] = static * up // down if static else None
    return tf.ensure_shape(result, shape)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return tf.where(x <= 1.0, near, tf.where(x < 2.0, far, 0.0))


def inpainting_mask(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws which pixels are known: by chance missing pixels, boxes or strokes.

    Args:
      height: Pixels.
      width: Pixels.
      seed: (2,) int32.
    Returns:
      (height, width, 1) float32, 1 where a pixel is known and 0 where it is missing.
    """
    own = tf.random.experimental.stateless_fold_in(seed, 2)
    kinds = (_missing_pixels, _missing_boxes, _missing_strokes)
    kind = tf.random.stateless_uniform((), own, 0, len(kinds), tf.int32)
    branches = [lambda draw=draw: draw(height, width, seed) for draw in kinds]
    return 1.0 - tf.switch_case(kind, branches)[..., tf.newaxis]


def _missing_pixels(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    own = tf.random.experimental.stateless_fold_in(seed, 3)
    share = tf.random.stateless_uniform((), own, 0.2, 0.8)
    return tf.cast(tf.random.stateless_uniform((height, width), seed) < share, tf.float32)


def _missing_boxes(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    sides = tf.cast(tf.stack([height, width]), tf.float32)
    drawn = tf.random.stateless_uniform((3, 4), seed)
    size = (0.1 + 0.25 * drawn[:, :2]) * sides
    corner = drawn[:, 2:] * (sides - size)
    inside = []
    for axis, count in enumerate((height, width)):
        position = tf.cast(tf.range(count), tf.float32)[tf.newaxis]
        start = corner[:, axis, tf.newaxis]
        inside.append((position >= start) & (position < start + size[:, axis, tf.newaxis]))
    boxes = inside[0][:, :, tf.newaxis] & inside[1][:, tf.newaxis, :]
    return tf.cast(tf.reduce_any(boxes, axis=0), tf.float32)


def _missing_strokes(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    sides = tf.cast(tf.stack([height, width]), tf.float32)
    drawn = tf.random.stateless_uniform((STROKES, 5), seed)
    start, end = drawn[:, :2] * sides, drawn[:, 2:4] * sides
    radius = tf.maximum(0.5, 0.5 * STROKE_WIDTH * drawn[:, 4] * tf.reduce_min(sides))
    rows, columns = (tf.cast(tf.range(count), tf.float32) for count in (height, width))
    missing = tf.zeros((height, width), tf.bool)
    for stroke in range(STROKES):
        along = end[stroke] - start[stroke]
        y, x = rows[:, tf.newaxis] - start[stroke, 0], columns[tf.newaxis] - start[stroke, 1]
        share = (y * along[0] + x * along[1]) / tf.maximum(tf.reduce_sum(along**2), 1.0)
        share = tf.clip_by_value(share, 0.0, 1.0)
        squared = (y - share * along[0]) ** 2 + (x - share * along[1]) ** 2
        missing |= squared <= radius[stroke] ** 2
    return tf.cast(missing, tf.float32)


def hide_pixels(image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Hides one pixel of each 4x4 cell, so that a network must predict it from its neighbours.

    One of the 24 pixels around it takes its place, drawn by chance: of no use for the prediction,
    so the network learns not to look there, even where its input is added to its output. Noise that
    is independent from pixel to pixel cannot be predicted: the best prediction is the clean
    picture.

    Args:
      image: (H, W, C) float32, H and W >= 1.
      seed: (2,) int32.
    Returns:
      The image with hidden pixels, and (H, W, 1) float32 weights with mean 1 that are 0 where
      nothing is hidden.
    Reference: Krull et al. 2019 (Noise2Void); docs/decisions/0008-no-clean-pictures.md.
    """
    sides = tf.shape(image)[:2]
    cells = (sides + BLIND_CELL_PX - 1) // BLIND_CELL_PX
    rows, columns = tf.meshgrid(tf.range(cells[0]), tf.range(cells[1]), indexing="ij")
    corners = BLIND_CELL_PX * tf.reshape(tf.stack([rows, columns], axis=-1), (-1, 2))
    # A cell at the end may be cut off.
    room = tf.minimum(sides - corners, BLIND_CELL_PX)
    share = tf.random.stateless_uniform(
        tf.shape(corners), tf.random.experimental.stateless_fold_in(seed, 4)
    )
    positions = corners + tf.cast(share * tf.cast(room, tf.float32), tf.int32)

    # A window inside the picture, and in it any pixel but the hidden one.
    window = tf.minimum(sides, BLIND_WINDOW_PX)
    start = tf.clip_by_value(positions - BLIND_WINDOW_PX // 2, 0, sides - window)
    own = (positions - start)[:, 0] * window[1] + (positions - start)[:, 1]
    count = tf.shape(positions)[0]
    others = tf.cast(window[0] * window[1] - 1, tf.float32)
    drawn = tf.random.stateless_uniform(
        (count,), tf.random.experimental.stateless_fold_in(seed, 5), 0.0, others
    )
    drawn = tf.cast(drawn, tf.int32)
    drawn += tf.cast((drawn >= own) & (others > 0), tf.int32)
    neighbours = start + tf.stack([drawn // window[1], drawn % window[1]], axis=1)
    hidden = tf.tensor_scatter_nd_update(image, positions, tf.gather_nd(image, neighbours))

    weight = tf.cast(sides[0] * sides[1], tf.float32) / tf.cast(count, tf.float32)
    weights = tf.scatter_nd(positions, tf.fill([count, 1], weight), tf.concat([sides, [1]], axis=0))
    return (
        tf.ensure_shape(hidden, image.shape),
        tf.ensure_shape(weights, (*image.shape[:2], 1)),
    )
