"""The forward operators of `tf_deconv.degradations` in JAX: a GPU degrades what it trains on.

Each has the formulas, the constants and the streams of random numbers of its namesake in
`operators.py` or `camera.py`; given the same numbers, both make the same picture
(tests/benchmarks/test_jax_operators.py). An operator takes one picture (H, W, C) float32 in [0, 1],
a level, which may be traced, `Draws`, and the highest level that can come; `jax.vmap` makes a batch
of it. All shapes are static.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tf_deconv.degradations.tasks import OPERATORS, Step, Task, parse_chain

# Streams of random numbers, as in `operators.py` and `camera.py`; None is the step's own seed.
LEVEL_STREAM, SHARE_STREAM = 1_000_003, 1_000_033
READ_STREAM, CAMERA_STREAM, EXPOSURE_STREAM = 1, 7, 8
SPREAD_STREAM, SENSOR_STREAM, PHASE_STREAM = 9, 10, 11

LUMINANCE_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)
READ_NOISE_STDDEV = 0.01
# `camera.py` tells where these are from.
SHOT_VARIANCE_PER_ISO, READ_SLOPE, READ_OFFSET, READ_SPREAD = 1e-6, 2.18, 1.20, 0.26
RED_GAINS, BLUE_GAINS, CONTRASTS = (1.9, 2.4), (1.5, 1.9), (1.0, 1.5)
EXPOSURE_MEAN, EXPOSURE_STDDEV, MOSAIC_SHARE = 0.8, 0.1, 0.5
DENOISER_SHARE, LUMA_STDDEV_PX, CHROMA_STDDEV_PX = 0.5, 0.8, 1.5
SHARPENER_SHARE, SHARPENER_STDDEV_PX, SHARPENER_AMOUNT = 0.5, 1.0, 1.0
GRAIN_STDDEVS_PX = (0.4, 1.2)
NOISE_RADIUS, DEMOSAIC_RADIUS = 3, 2
XYZ_TO_SENSOR = np.array(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.6130, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.8380, -0.2630, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.0970, 0.1581, 0.5181]],
    ],
    np.float32,
)
SRGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32
)
TO_LUMA_CHROMA = np.array(
    [[0.2126, 0.7152, 0.0722], [-0.2126, -0.7152, 0.9278], [0.7874, -0.7152, -0.0722]], np.float32
)
# Malvar, He and Cutler 2004, and bilinear: each a list of (rows, columns, weight) of 5x5 filters.
_CROSS = ((0, 1), (0, -1), (1, 0), (-1, 0))
_FAR = tuple((2 * row, 2 * column) for row, column in _CROSS)
_CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
_ROW, _COLUMN, _MIDDLE = ((0, 1), (0, -1)), ((1, 0), (-1, 0)), ((0, 0),)
_FAR_ROW, _FAR_COLUMN = ((0, 2), (0, -2)), ((2, 0), (-2, 0))


def _filter_5x5(*parts: tuple[tuple, float]) -> np.ndarray:
    kernel = np.zeros((5, 5), np.float32)
    for places, weight in parts:
        for row, column in places:
            kernel[row + 2, column + 2] = weight / 8
    return kernel


_ALONG_ROW = ((_MIDDLE, 5), (_ROW, 4), (_CORNERS, -1), (_FAR_ROW, -1), (_FAR_COLUMN, 0.5))
MALVAR = np.stack(
    [
        _filter_5x5((_MIDDLE, 4), (_CROSS, 2), (_FAR, -1)),
        _filter_5x5(*_ALONG_ROW),
        _filter_5x5(*_ALONG_ROW).T,
        _filter_5x5((_MIDDLE, 6), (_CORNERS, 2), (_FAR, -1.5)),
    ]
)
BILINEAR = np.stack(
    [
        _filter_5x5((_CROSS, 2)),
        _filter_5x5((_ROW, 4)),
        _filter_5x5((_COLUMN, 4)),
        _filter_5x5((_CORNERS, 2)),
    ]
)


class Draws:
    """Random numbers of one picture, by stream.

    Args:
      key: A JAX key.
    """

    def __init__(self, key: Any):
        self.key = key

    def fold(self, number: int) -> Draws:
        """Returns the numbers of the step of that number."""
        return Draws(jax.random.fold_in(self.key, number))

    def _key(self, stream: int | None):
        return self.key if stream is None else jax.random.fold_in(self.key, stream)

    def uniform(self, stream: int | None, shape=()):
        return jax.random.uniform(self._key(stream), shape)

    def normal(self, stream: int | None, shape=()):
        return jax.random.normal(self._key(stream), shape)

    def bits(self, stream: int | None, shape=()):
        return jax.random.randint(self._key(stream), shape, 0, 2)

    def poisson(self, stream: int | None, rate):
        return jax.random.poisson(self._key(stream), rate).astype(jnp.float32)


def make_pair(task: Task, picture: Any, draws: Draws) -> tuple[Any, Any]:
    """Degrades a clean picture as `operators.make_pair` does.

    Args:
      task: A task that makes its input from its target, without a mask (`check_task`).
      picture: (H, W, 3) float32 in [0, 1]; H and W divisible by the scale.
      draws: Its random numbers.
    Returns:
      degraded (H / scale, W / scale, channels_in) and clean (H, W, channels_out).
    """
    degraded = luminance(picture) if task.grey_input else picture
    clean = luminance(picture) if task.grey_output else picture
    if task.scale > 1:
        degraded = downsample(degraded, task.scale)
    for number, step in enumerate(parse_chain(task.degrade)):
        degraded = _apply(step, degraded, draws.fold(number) if number else draws)
    return degraded, clean


def _apply(step: Step, image, draws: Draws):
    level = step.low
    if step.low != step.high:
        share = draws.uniform(LEVEL_STREAM)
        if OPERATORS[step.operator].logarithmic:
            level = jnp.exp(_between((math.log(step.low), math.log(step.high)), share))
        else:
            level = _between((step.low, step.high), share)
    applied = FUNCTIONS[step.operator](image, level, draws, step.high)
    if step.share == 1.0:
        return applied
    # Both are computed: the patches of a batch take the same path on a GPU.
    return jnp.where(draws.uniform(SHARE_STREAM) < step.share, applied, image)


# --- Small parts.


def _between(ends, share):
    return ends[0] + (ends[1] - ends[0]) * share


def luminance(image):
    """Converts (..., 3) R'G'B' to (..., 1) grey: ITU-R BT.601-7."""
    return jnp.sum(image * LUMINANCE_WEIGHTS, axis=-1, keepdims=True)


def _product(subscripts: str, *operands):
    # Else a GPU would multiply in TensorFloat-32, which has 10 bits.
    return jnp.einsum(subscripts, *operands, precision="highest")


def _mirror(image, rows: int, columns: int):
    return jnp.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="symmetric")


def _inner(image, margin: int):
    return image[margin:-margin, margin:-margin]


def _shifted(image, row: int, column: int, height: int, width: int):
    return image[row : row + height, column : column + width]


def _filter(image, kernel: np.ndarray):
    """Filters (H + 4, W + 4, C) by a kernel (5, 5) that is known, tap by tap: (H, W, C).

    A convolution with another kernel for each picture of a batch is slow on a GPU, and a sum of
    shifted pictures becomes one loop.
    """
    size = image.shape[0] - 4, image.shape[1] - 4
    taps = [*zip(*np.nonzero(kernel))]
    return sum(kernel[tap] * _shifted(image, *tap, *size) for tap in taps)


def _line(stddev):
    """Returns (7,), sum 1: a Gaussian; a standard deviation of 0 pixels is the point."""
    offsets = np.arange(-NOISE_RADIUS, NOISE_RADIUS + 1, dtype=np.float32)
    line = jnp.exp(-0.5 * (offsets / jnp.maximum(stddev, 1e-3)) ** 2)
    return line / jnp.sum(line)


def _along_both(image, line):
    """Filters (H + 6, W + 6, C) by (7,) along both axes: (H, W, C)."""
    height, width = (size - 2 * NOISE_RADIUS for size in image.shape[:2])
    rows = sum(line[tap] * image[tap : tap + height] for tap in range(len(line)))
    return sum(line[tap] * rows[:, tap : tap + width] for tap in range(len(line)))


def _inverse(matrix):
    """Inverts (3, 3) by its adjugate: a batch of LU decompositions would take longer than all."""
    rows = jnp.stack([jnp.cross(matrix[i - 2], matrix[i - 1]) for i in range(3)], axis=1)
    return rows / jnp.sum(matrix[0] * rows[:, 0])


# --- Noise, blur, rounding.


def _noise(image, stddev, draws, _):
    return jnp.clip(_awgn(image, stddev, draws, _), 0.0, 1.0)


def _awgn(image, stddev, draws, _):
    return image + stddev / 255.0 * draws.normal(None, image.shape)


def _clip(image, share, draws, _):
    stored = jnp.round(jnp.clip(image, 0.0, 1.0) * 255.0) / 255.0
    return jnp.where(draws.uniform(None) < share, stored, image)


def _poisson(image, photons, draws, _):
    counted = draws.poisson(None, jnp.maximum(image, 0.0) * photons)
    read = READ_NOISE_STDDEV * draws.normal(READ_STREAM, image.shape)
    return jnp.clip(counted / photons + read, 0.0, 1.0)


def _grain(image, stddev, draws, _):
    line = _line(_between(GRAIN_STDDEVS_PX, draws.uniform(CAMERA_STREAM)))
    line /= jnp.sqrt(jnp.sum(line**2))
    margin = 2 * NOISE_RADIUS
    shape = (image.shape[0] + margin, image.shape[1] + margin, image.shape[2])
    noise = _along_both(draws.normal(None, shape), line)
    return jnp.clip(image + stddev / 255.0 * noise, 0.0, 1.0)


def _sharpen(image, amount, *_):
    mirrored = _mirror(image, NOISE_RADIUS, NOISE_RADIUS)
    blurred = _along_both(mirrored, _line(SHARPENER_STDDEV_PX))
    return jnp.clip(image + amount * (image - blurred), 0.0, 1.0)


def _blur(image, stddev, _, highest):
    radius = max(1, math.ceil(4 * highest))
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    width = jnp.maximum(jnp.float32(stddev), 1e-3)
    inside = np.abs(offsets) <= jnp.floor(4 * width + 0.5)
    weights = jnp.where(inside, jnp.exp(-0.5 * (offsets / width) ** 2), 0.0)
    weights /= jnp.sum(weights)
    padded = _mirror(image, radius, 0)
    image = jnp.clip(_product("ij,jwc->iwc", _band(weights, image.shape[0]), padded), 0.0, 1.0)
    padded = _mirror(image, 0, radius)
    return jnp.clip(_product("ij,hjc->hic", _band(weights, image.shape[1]), padded), 0.0, 1.0)


def _band(weights, size: int):
    """Returns (size, size + taps - 1): each row the taps, one place further on."""
    place = np.arange(size + len(weights) - 1)[None] - np.arange(size)[:, None]
    inside = (place >= 0) & (place < len(weights))
    return jnp.where(inside, weights[np.clip(place, 0, len(weights) - 1)], 0.0)


def _motion(image, length, draws, highest):
    angle = math.pi * draws.uniform(None)
    radius = max(1, math.ceil(highest / 2))
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    counts = jnp.clip((length + 1) / 2 - np.abs(offsets), 0.0, 1.0)
    rows, columns = (
        jnp.maximum(1.0 - jnp.abs(offsets[None] - offsets[:, None] * slope), 0.0)
        for slope in (jnp.sin(angle), jnp.cos(angle))
    )
    weights = _product("p,pr,pc->rc", counts, rows, columns)
    padded = jnp.moveaxis(_mirror(image, radius, radius), -1, 0)[:, None]  # (C, 1, H, W)
    kernel = (weights / jnp.sum(weights))[None, None]
    filtered = jax.lax.conv(padded, kernel, (1, 1), "VALID", precision="highest")
    return jnp.clip(jnp.moveaxis(filtered[:, 0], 0, -1), 0.0, 1.0)


# --- Resampling, as products with matrices.


def downsample(image, factor: int):
    """Makes (H, W, C) `factor` times smaller by antialiased bicubic, as `operators.downsample`."""
    rows, columns = (_bicubic_down(size, factor) for size in image.shape[:2])
    return jnp.clip(_product("ih,jw,hwc->ijc", rows, columns, image), 0.0, 1.0)


def _bicubic_down(size: int, factor: int) -> np.ndarray:
    centers = (np.arange(size // factor) + 0.5) * factor - 0.5
    taps = 4 * factor + 2
    first = np.floor(centers - taps / 2).astype(int) + 1
    index = first[:, None] + np.arange(taps)
    weights = _cubic((centers[:, None] - index) / factor)
    weights = weights / weights.sum(1, keepdims=True)
    within = index % (2 * size)
    mirrored = np.minimum(within, 2 * size - 1 - within)
    matrix = np.zeros((len(centers), size), np.float32)
    np.add.at(matrix, (np.arange(len(centers))[:, None], mirrored), weights)
    return matrix


def _cubic(x):
    """Weighs distances by Keys 1981, a = -0.5."""
    x = abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return (x <= 1.0) * near + ((x > 1.0) & (x < 2.0)) * far


def _resize(image, factor, draws, _):
    cubic = draws.uniform(None, (2,)) < 0.5
    sizes = image.shape[:2]
    small = [jnp.maximum(jnp.round(size / jnp.float32(factor)), 1.0) for size in sizes]
    for is_cubic, have, want in ((cubic[0], sizes, small), (cubic[1], small, sizes)):
        matrices = [_resampling(*ends, size, is_cubic) for *ends, size in zip(have, want, sizes)]
        image = _product("ih,jw,hwc->ijc", *matrices, image)
    return jnp.clip(image, 0.0, 1.0)


def _resampling(have, want, size: int, is_cubic):
    """Returns (size, size): the first `have` pixels as the first `want`, antialiased.

    The numbers of pixels may be traced; what lies beyond them counts nothing.
    """
    pixels = np.arange(size, dtype=np.float32)
    step = have / want
    apart = (pixels[None] + 0.5 - (pixels[:, None] + 0.5) * step) / jnp.maximum(step, 1.0)
    weights = jnp.where(is_cubic, _cubic(apart), jnp.maximum(1.0 - jnp.abs(apart), 0.0))
    weights = jnp.where(pixels[None] < have, weights, 0.0)
    weights /= jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1e-3)
    return jnp.where(pixels[:, None] < want, weights, 0.0)


# --- JPEG: what libjpeg's accurate transform does, up to ties in rounding.

_LUMA_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_CHROMA_TABLE = np.full((8, 8), 99, np.float32)
_CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_FREQUENCY, _PLACE = np.mgrid[:8, :8]
_DCT = np.cos((2 * _PLACE + 1) * _FREQUENCY * np.pi / 16) * np.where(_FREQUENCY, 0.5, 8**-0.5)
_DCT = _DCT.astype(np.float32)


def _jpeg(image, quality, *_):
    return _compressed(image, quality, 2)


def _jpeg444(image, quality, *_):
    return _compressed(image, quality, 1)


def _compressed(image, quality, subsampling: int):
    """Compresses and decodes again (ITU-T T.81, tables of annex K, JFIF); chroma / subsampling."""
    height, width, channels = image.shape
    quality = jnp.round(jnp.float32(quality))
    scale = jnp.where(quality < 50, jnp.floor(5000 / quality), 200 - 2 * quality)
    tables = [
        jnp.clip(jnp.floor((table * scale + 50) / 100), 1, 255)
        for table in (_LUMA_TABLE, _CHROMA_TABLE)
    ]
    pixels = jnp.floor(jnp.clip(image, 0.0, 1.0) * 255.0 + 0.5)
    if channels == 1:
        return _quantized(pixels[..., 0], tables[0])[..., None] / 255.0
    red, green, blue = jnp.moveaxis(pixels, -1, 0)
    luma = jnp.floor(0.299 * red + 0.587 * green + 0.114 * blue + 0.5)
    chroma_blue = jnp.floor(-0.168735892 * red - 0.331264108 * green + 0.5 * blue + 128.49998)
    chroma_red = jnp.floor(0.5 * red - 0.418687589 * green - 0.081312411 * blue + 128.49998)
    luma = _quantized(luma, tables[0])
    blue, red = (
        _upsampled(_quantized(_halved(plane, subsampling), tables[1]), height, width) - 128.0
        for plane in (chroma_blue, chroma_red)
    )
    rgb = jnp.stack(
        [
            luma + jnp.floor(1.402 * red + 0.5),
            luma + jnp.floor(-0.344136286 * blue - 0.714136286 * red + 0.5),
            luma + jnp.floor(1.772 * blue + 0.5),
        ],
        axis=-1,
    )
    return jnp.clip(rgb, 0.0, 255.0) / 255.0


def _quantized(plane, table):
    """Rounds the 8x8 frequencies of (H, W) in 0..255 to multiples of a table."""
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge") - 128.0
    rows, columns = (size // 8 for size in padded.shape)
    blocks = padded.reshape(rows, 8, columns, 8)
    found = _product("ui,vj,risj->rusv", _DCT, _DCT, blocks)
    steps = table[None, :, None]
    found = steps * jnp.sign(found) * jnp.floor(jnp.abs(found) / steps + 0.5)
    decoded = _product("ui,vj,rusv->risj", _DCT, _DCT, found).reshape(padded.shape)
    return jnp.clip(jnp.round(decoded) + 128.0, 0.0, 255.0)[:height, :width]


def _halved(plane, subsampling: int):
    if subsampling == 1:
        return plane
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    sums = padded.reshape((height + 1) // 2, 2, -1, 2).sum((1, 3))
    bias = 1.0 + np.arange(sums.shape[1]) % 2  # libjpeg rounds up and down in turn.
    return jnp.floor((sums + bias) / 4)


def _upsampled(plane, height: int, width: int):
    """Doubles chroma by libjpeg's triangle filter; planes of full size stay."""
    if plane.shape == (height, width):
        return plane
    near = jnp.pad(plane, 1, mode="edge")
    sums = [3 * near[1:-1] + near[:-2], 3 * near[1:-1] + near[2:]]  # Rows above and below.
    rows = jnp.stack(sums, axis=1).reshape(-1, near.shape[1])
    even = jnp.floor((3 * rows[:, 1:-1] + rows[:, :-2] + 8) / 16)
    odd = jnp.floor((3 * rows[:, 1:-1] + rows[:, 2:] + 7) / 16)
    return jnp.stack([even, odd], axis=2).reshape(rows.shape[0], -1)[:height, :width]


# --- The camera.


def _s_curve(values, exponent):
    values = jnp.clip(values, 0.0, 1.0)
    return 1.0 / (1.0 + ((1.0 - values) / values) ** exponent)


def _to_linear(values):
    return jnp.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _from_linear(light):
    light = jnp.clip(light, 0.0, 1.0)
    return jnp.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)


def _mixed(image, matrix):
    return _product("hwc,dc->hwd", image, matrix)


def _camera(image, iso, draws, _):
    colour = image.shape[-1] == 3
    chance = draws.uniform(CAMERA_STREAM, (12,))
    contrast = _between(CONTRASTS, chance[0])
    linear = _to_linear(_s_curve(image, 1.0 / contrast))
    exposure = EXPOSURE_MEAN + EXPOSURE_STDDEV * draws.normal(EXPOSURE_STREAM)
    exposure = jnp.clip(exposure, 0.5, 1.0)
    if colour:
        to_raw = exposure * _to_sensor(chance[1:5])
        from_raw = _inverse(to_raw)
        raw = _mixed(linear, to_raw)
        margin = DEMOSAIC_RADIUS + NOISE_RADIUS
        light = _through_lens(_mirror(raw, margin + 1, margin + 1))
        gains = jnp.stack([_between(RED_GAINS, chance[5]), 1.0, _between(BLUE_GAINS, chance[6])])
        sites = _sites(light.shape, draws)
        sensor = _mosaic(light, sites)
        gain = _mosaic(jnp.broadcast_to(gains, light.shape), sites)
        noise = gain * _sensor_noise(sensor / gain, iso, draws)
        both = _demosaic(jnp.concatenate([sensor, noise], -1), sites, chance[7])
        guessed, noise = both[..., 0], both[..., 1]  # (H + 6, W + 6, 3) each
        lost = _inner(guessed, NOISE_RADIUS) - _inner(light, margin)
        signal = jnp.where(chance[8] < MOSAIC_SHARE, raw + lost, raw)
        noise, signal = _mixed(noise, from_raw), _mixed(signal, from_raw)
    else:
        raw = exposure * linear
        noise = _sensor_noise(_mirror(raw, NOISE_RADIUS, NOISE_RADIUS), iso, draws) / exposure
        signal = raw / exposure
    linear = signal + _develop_noise(noise, chance[9:])
    return _s_curve(_from_linear(linear), contrast)


def _shot(image, iso, draws, _):
    linear = _to_linear(jnp.clip(image, 0.0, 1.0))
    return _from_linear(linear + _sensor_noise(linear, iso, draws))


def _remosaic(image, amount, draws, _):
    if image.shape[-1] != 3:
        return image
    linear = _mirror(_to_linear(image), DEMOSAIC_RADIUS, DEMOSAIC_RADIUS)
    sites = _sites(linear.shape, draws)
    guessed = _demosaic(_mosaic(linear, sites), sites, draws.uniform(CAMERA_STREAM))[..., 0]
    return image + amount * (_from_linear(guessed) - image)


def _matrix(image, amount, draws, _):
    if image.shape[-1] != 3:
        return image
    to_sensor = _to_sensor(draws.uniform(CAMERA_STREAM, (4,)))
    matrix = np.eye(3) + amount * (to_sensor - np.eye(3))
    return _from_linear(_mixed(_to_linear(image), matrix))


def _balance(image, factor, draws, _):
    if image.shape[-1] != 3:
        return image
    exponents = 2.0 * draws.uniform(CAMERA_STREAM, (2,)) - 1.0
    red, blue = factor**exponents
    return _from_linear(_to_linear(image) * jnp.stack([red, 1.0, blue]))


def _tone(image, slope, *_):
    return _s_curve(image, slope)


def _smooth(image, strength, *_):
    light = _mirror(_to_linear(image), NOISE_RADIUS, NOISE_RADIUS)
    luma, chroma = (_line(strength * width) for width in (LUMA_STDDEV_PX, CHROMA_STDDEV_PX))
    return _from_linear(_luma_chroma(light, functools.partial(_along_both, line=luma), chroma))


def _to_sensor(chance):
    weights = chance / jnp.sum(chance)
    mixed = _product("k,kij,jl->il", weights, XYZ_TO_SENSOR, SRGB_TO_XYZ)
    return mixed / jnp.sum(mixed, axis=1, keepdims=True)


def _sensor_noise(light, iso, draws):
    shot = SHOT_VARIANCE_PER_ISO * iso
    read = jnp.exp(READ_OFFSET + READ_SPREAD * draws.normal(SPREAD_STREAM)) * shot**READ_SLOPE
    stddev = jnp.sqrt(shot * jnp.maximum(light, 0.0) + read)
    return stddev * draws.normal(SENSOR_STREAM, light.shape)


def _through_lens(light):
    rows = 0.25 * (light[:-2] + light[2:]) + 0.5 * light[1:-1]
    return 0.25 * (rows[:, :-2] + rows[:, 2:]) + 0.5 * rows[:, 1:-1]


def _sites(shape, draws):
    """Returns (H, 1, 1) and (1, W, 1) bool: rows and columns with red."""
    phase = draws.bits(PHASE_STREAM, (2,))
    rows = (np.arange(shape[0]) + phase[0]) % 2 == 0
    columns = (np.arange(shape[1]) + phase[1]) % 2 == 0
    return rows[:, None, None], columns[None, :, None]


def _mosaic(raw, sites):
    rows, columns = sites
    red, green, blue = raw[..., :1], raw[..., 1:2], raw[..., 2:]
    return jnp.where(rows & columns, red, jnp.where(rows ^ columns, green, blue))


def _demosaic(mosaics, sites, chance):
    """Guesses colours from mosaics (H + 4, W + 4, N): (H, W, 3, N)."""
    margin = DEMOSAIC_RADIUS
    # The margin is even: a phase of the whole is one of the inner part.
    rows, columns = sites[0][: -2 * margin], sites[1][:, : -2 * margin]
    cross, along_row, along_column, diagonal = (
        jnp.where(chance < 0.5, _filter(mosaics, bilinear), _filter(mosaics, malvar))
        for bilinear, malvar in zip(BILINEAR, MALVAR)
    )
    own = _inner(mosaics, margin)
    red_row = jnp.where(columns, own, along_row)
    red = jnp.where(rows, red_row, jnp.where(columns, along_column, diagonal))
    green = jnp.where(rows ^ columns, own, cross)
    blue_row = jnp.where(columns, along_row, own)
    blue = jnp.where(rows, jnp.where(columns, diagonal, along_column), blue_row)
    return jnp.stack([red, green, blue], axis=2)


def _develop_noise(noise, chance):
    strength = jnp.maximum(1.0 - chance[0] / DENOISER_SHARE, 0.0)
    amount = SHARPENER_AMOUNT * jnp.maximum(1.0 - chance[1] / SHARPENER_SHARE, 0.0)
    luma_stddev = strength * LUMA_STDDEV_PX
    wider = jnp.sqrt(luma_stddev**2 + SHARPENER_STDDEV_PX**2)

    def developed(luma):
        sharp = _along_both(luma, _line(luma_stddev))
        return (1.0 + amount) * sharp - amount * _along_both(luma, _line(wider))

    return _luma_chroma(noise, developed, _line(strength * CHROMA_STDDEV_PX))


def _luma_chroma(light, filter_luma, chroma):
    """Filters luminance by a function and colour along both axes by (7,)."""
    if light.shape[-1] == 1:
        return filter_luma(light)
    apart = _mixed(light, TO_LUMA_CHROMA)
    together = [filter_luma(apart[..., :1]), _along_both(apart[..., 1:], chroma)]
    return _mixed(jnp.concatenate(together, axis=-1), np.linalg.inv(TO_LUMA_CHROMA))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "noise": _noise,
    "awgn": _awgn,
    "clip": _clip,
    "poisson": _poisson,
    "camera": _camera,
    "shot": _shot,
    "mosaic": _remosaic,
    "matrix": _matrix,
    "balance": _balance,
    "tone": _tone,
    "smooth": _smooth,
    "grain": _grain,
    "sharpen": _sharpen,
    "resize": _resize,
    "blur": _blur,
    "motion": _motion,
    "jpeg": _jpeg,
    "jpeg444": _jpeg444,
}
