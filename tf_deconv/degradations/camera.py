"""A camera as a forward operator, and its parts: light, sensor, development.

The clean picture is taken back to linear light and to the sensor's colours, gets the noise of its
ISO there, and is developed again. Each stage of the development is undone first, so what is left is
what the noise became on its way, and what the mosaic lost. Images are float32 (H, W, C) in [0, 1]
as in `degradations`; see docs/decisions/0018-camera.md.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tf_deconv.degradations.seeds import of_clip, of_frame
from tf_deconv.degradations.tasks import operator
from tf_deconv.images.padding import mirror

# Variance of the shot noise of a white pixel at ISO 1, of the full scale of the raw picture.
SHOT_VARIANCE_PER_ISO = 1e-6
# ln(read variance) = READ_SLOPE ln(shot variance) + READ_OFFSET, and how far sensors lie off it
# (Brooks et al. 2019).
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.20, 0.26
# White balance of red and blue against green, and exposure against white: Brooks et al. 2019.
RED_GAINS, BLUE_GAINS = (1.9, 2.4), (1.5, 1.9)
EXPOSURE_MEAN, EXPOSURE_STDDEV = 0.8, 0.1
# Exponents of the S-shaped tone curve: none, to the middle slope of Brooks et al.'s smoothstep.
CONTRASTS = (1.0, 1.5)
# In which share of cameras the picture itself loses what a mosaic loses of it behind a lens; in the
# others it is taken for one that already did, and the noise alone goes through the mosaic.
MOSAIC_SHARE = 0.5
# The camera's own denoiser and sharpener: shares of cameras, Gaussians in pixels, strength.
DENOISER_SHARE, LUMA_STDDEV_PX, CHROMA_STDDEV_PX = 0.5, 0.8, 1.5
SHARPENER_SHARE, SHARPENER_STDDEV_PX, SHARPENER_AMOUNT = 0.5, 1.0, 1.0
# Standard deviations in pixels of the Gaussian that makes grain of white noise.
GRAIN_STDDEVS_PX = (0.4, 1.2)
# Half the width of the filters that noise goes through, and of those that demosaic.
_NOISE_RADIUS, _DEMOSAIC_RADIUS = 3, 2

# CIE XYZ to the sensor's colours under daylight (ColorMatrix2 of the cameras' DNG files) of the
# cameras that Brooks et al. mix: Nexus 6P, Sony A7R, Olympus E-M10, Sony RX100 IV.
_XYZ_TO_SENSOR = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
# Linear sRGB to CIE XYZ: IEC 61966-2-1.
_SRGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
# Luminance and two differences of colour of linear sRGB: ITU-R BT.709 without offsets and scale.
_TO_LUMA_CHROMA = ((0.2126, 0.7152, 0.0722), (-0.2126, -0.7152, 0.9278), (0.7874, -0.7152, -0.0722))

# Filters (row, column) that guess a colour from the mosaic: green at red or blue; red or blue at
# green from the same row, and from the same column; red at blue and blue at red.
_BILINEAR = (
    ((0, 0, 0, 0, 0), (0, 0, 2.0, 0, 0), (0, 2, 0, 2, 0), (0, 0, 2, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0), (0, 4, 0, 4, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 0, 4, 0, 0), (0, 0, 0, 0, 0), (0, 0, 4, 0, 0), (0, 0, 0, 0, 0)),
    ((0, 0, 0, 0, 0), (0, 2, 0, 2, 0), (0, 0, 0, 0, 0), (0, 2, 0, 2, 0), (0, 0, 0, 0, 0)),
)
_MALVAR = (
    ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0)),
    ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1), (0, -1, 0, -1, 0), (0, 0, 0.5, 0, 0)),
    ((0, 0, -1, 0, 0), (0, -1, 4, -1, 0), (0.5, 0, 5, 0, 0.5), (0, -1, 4, -1, 0), (0, 0, -1, 0, 0)),
    (
        (0, 0, -1.5, 0, 0),
        (0, 2, 0, 2, 0),
        (-1.5, 0, 6, 0, -1.5),
        (0, 2, 0, 2, 0),
        (0, 0, -1.5, 0, 0),
    ),
)


# --- Operators: (image, level, seed, highest level) to image.


@operator("camera")
def photograph(image: tf.Tensor, iso: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Takes the picture anew by a camera drawn from the seed, and develops it.

    Args:
      image: (H, W, 1 or 3) float32 in [0, 1]; a grey one is taken by a sensor without a mosaic.
      iso: Sensitivity; 0 is a camera without noise.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    Reference: Brooks et al. 2019, "Unprocessing Images for Learned Raw Denoising"; Guo et al. 2019
      (CBDNet) for the mosaic, demosaicing and tone curves.
    """
    channels = image.shape[-1]
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 7)
    chance = tf.random.stateless_uniform((12,), own)
    contrast = _between(CONTRASTS, chance[0])
    linear = _to_linear(_s_curve(image, 1.0 / contrast))
    to_raw = _exposure(seed) * (_to_sensor(chance[1:5]) if channels == 3 else tf.eye(1))
    raw = tf.tensordot(linear, to_raw, [[-1], [1]])

    if channels == 3:
        light = _through_lens(_mirror_both(raw, _DEMOSAIC_RADIUS + _NOISE_RADIUS + 1))
        # Red and blue are counted weaker, and balanced before demosaicing, which mixes colours.
        gains = tf.stack([_between(RED_GAINS, chance[5]), 1.0, _between(BLUE_GAINS, chance[6])])
        sensor, gain = _mosaic(light, seed), _mosaic(tf.broadcast_to(gains, tf.shape(light)), seed)
        noise = gain * _sensor_noise(sensor / gain, iso, seed)
        planes = tf.stack([sensor, noise])  # (2, H + 10, W + 10, 1)
        guessed, noise = tf.unstack(_demosaic(planes, chance[7], seed))  # (H + 6, W + 6, 3) each
        lost = _inner(guessed, _NOISE_RADIUS) - _inner(light, _DEMOSAIC_RADIUS + _NOISE_RADIUS)
        signal = tf.where(chance[8] < MOSAIC_SHARE, raw + lost, raw)
    else:
        noise = _sensor_noise(_mirror_both(raw, _NOISE_RADIUS), iso, seed)
        signal = raw

    from_raw = tf.linalg.inv(to_raw)
    noise = _develop_noise(tf.tensordot(noise, from_raw, [[-1], [1]]), chance[9:])
    linear = tf.tensordot(signal, from_raw, [[-1], [1]]) + noise
    return tf.ensure_shape(_s_curve(_from_linear(linear), contrast), image.shape)


@operator("shot")
def sensor_noise(image: tf.Tensor, iso: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Adds a sensor's shot and read noise in linear light: no mosaic, no development.

    Args:
      image: (H, W, C) float32 in [0, 1].
      iso: Sensitivity; 0 adds nothing.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    linear = _to_linear(tf.clip_by_value(image, 0.0, 1.0))
    return _from_linear(linear + _sensor_noise(linear, iso, seed))


@operator("mosaic")
def remosaic(image: tf.Tensor, amount: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Keeps one colour of each pixel, as a Bayer sensor, and guesses the others.

    Args:
      image: (H, W, 1 or 3) float32 in [0, 1]; a grey one comes back as it is.
      amount: Between 0, the picture as it is, and 1, the demosaiced one.
      seed: (2,) int32; draws the mosaic's phase and the method.
    Returns:
      (H, W, C) float32 in [0, 1].
    Reference: Malvar, He and Cutler 2004, "High-quality linear interpolation for demosaicing of
      Bayer-patterned color images"; bilinear.
    """
    if image.shape[-1] != 3:
        return image
    linear = _mirror_both(_to_linear(image), _DEMOSAIC_RADIUS)
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 7)
    chance = tf.random.stateless_uniform((), own)
    guessed = _from_linear(_demosaic(_mosaic(linear, seed)[tf.newaxis], chance, seed)[0])
    return tf.ensure_shape(image + amount * (guessed - image), image.shape)


@operator("matrix")
def mix_colours(image: tf.Tensor, amount: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Shows what a sensor drawn from the seed sees, without the matrix that makes it a screen's.

    Args:
      image: (H, W, 1 or 3) float32 in [0, 1]; a grey one comes back as it is.
      amount: Between 0, the picture as it is, and 1, the sensor's colours; grey stays grey.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    Reference: Brooks et al. 2019, "Unprocessing Images for Learned Raw Denoising", section 3.2.
    """
    if image.shape[-1] != 3:
        return image
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 7)
    to_sensor = _to_sensor(tf.random.stateless_uniform((4,), own))
    matrix = tf.eye(3) + amount * (to_sensor - tf.eye(3))
    return _from_linear(tf.tensordot(_to_linear(image), matrix, [[-1], [1]]))


@operator("balance")
def misbalance(image: tf.Tensor, factor: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Takes the picture for one of another light: red and blue times a factor each, green stays.

    Args:
      image: (H, W, 1 or 3) float32 in [0, 1]; a grey one comes back as it is.
      factor: At least 1, which leaves the picture; both factors are drawn between its inverse and
        it, doubled as likely as halved, and apply to linear light, in which white balance does.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    if image.shape[-1] != 3:
        return image
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 7)
    exponents = tf.random.stateless_uniform((2,), own, -1.0, 1.0)
    red, blue = tf.unstack(tf.cast(factor, tf.float32) ** exponents)
    return _from_linear(_to_linear(image) * tf.stack([red, 1.0, blue]))


@operator("tone")
def change_tone(image: tf.Tensor, slope: Any, _: tf.Tensor, __: float = 0.0) -> tf.Tensor:
    """Raises or lowers contrast along the camera's tone curve, v^a / (v^a + (1 - v)^a).

    Args:
      image: (H, W, C) float32 in [0, 1].
      slope: a, the curve's slope at 1/2; black, 1/2 and white stay. 1 leaves the picture as it is,
        and 1 / a takes a back.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    return _s_curve(image, slope)


@operator("smooth")
def smooth(image: tf.Tensor, strength: Any, _: tf.Tensor, __: float = 0.0) -> tf.Tensor:
    """Blurs as a camera's weak denoiser does to noise, in linear light; edges are mirrored.

    Args:
      image: (H, W, C) float32 in [0, 1].
      strength: 0, the picture as it is, to 1: luminance by a Gaussian of 0.8 pixels, differences
        of colour by one of 1.5.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    light = _mirror_both(_to_linear(image), _NOISE_RADIUS)
    luma, chroma = (_gaussian(strength * width) for width in (LUMA_STDDEV_PX, CHROMA_STDDEV_PX))
    return tf.ensure_shape(_from_linear(_filter_luma_chroma(light, luma, chroma)), image.shape)


@operator("grain")
def grain(image: tf.Tensor, stddev: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Adds normal noise whose neighbours are alike, as developed or resized noise is.

    Args:
      image: (H, W, C) float32 in [0, 1].
      stddev: Standard deviation of a value in grey levels of 255.
      seed: (2,) int32; draws the width of the grain too.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 7)
    width = tf.random.stateless_uniform((), own, *GRAIN_STDDEVS_PX)
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    margin = 2 * _NOISE_RADIUS
    white = tf.random.stateless_normal(
        tf.stack([rows + margin, columns + margin, image.shape[-1]]), of_frame(seed)
    )
    kernel = _gaussian(width)
    kernel /= tf.sqrt(tf.reduce_sum(kernel**2))
    noise = _filter_channels(white, tf.repeat(kernel[..., tf.newaxis], image.shape[-1], -1))
    return tf.clip_by_value(image + stddev / 255.0 * noise, 0.0, 1.0)


@operator("sharpen")
def sharpen(image: tf.Tensor, amount: Any, _: tf.Tensor, __: float = 0.0) -> tf.Tensor:
    """Sharpens by an unsharp mask; edges are mirrored.

    Args:
      image: (H, W, C) float32 in [0, 1].
      amount: How much of the difference to the picture blurred by 1 pixel is added; 0 is nothing.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    kernel = tf.repeat(_gaussian(SHARPENER_STDDEV_PX)[..., tf.newaxis], image.shape[-1], -1)
    blurred = _filter_channels(_mirror_both(image, _NOISE_RADIUS), kernel)
    return tf.clip_by_value(image + amount * (image - blurred), 0.0, 1.0)


@operator("resize")
def resize(image: tf.Tensor, factor: Any, seed: tf.Tensor, _: float = 0.0) -> tf.Tensor:
    """Makes the picture smaller and as large as it was again, each bilinear or bicubic by chance.

    Args:
      image: (H, W, C) float32 in [0, 1].
      factor: How many times smaller, at least 1; 1 leaves the picture as it is.
      seed: (2,) int32.
    Returns:
      (H, W, C) float32 in [0, 1].
    """
    size = tf.shape(image)[:2]
    small = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) / factor), tf.int32), 1)
    cubic = tf.random.stateless_uniform((2,), of_clip(seed)) < 0.5
    resized = image
    for is_cubic, target in ((cubic[0], small), (cubic[1], size)):
        resized = tf.cond(
            is_cubic,
            functools.partial(tf.image.resize, resized, target, "bicubic", antialias=True),
            functools.partial(tf.image.resize, resized, target, "bilinear", antialias=True),
        )
    return tf.ensure_shape(tf.clip_by_value(resized, 0.0, 1.0), image.shape)


# --- Light: from a picture's values to what the sensor counted, and back.


def _between(ends: tuple[float, float], share: tf.Tensor) -> tf.Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


def _s_curve(values: tf.Tensor, exponent: Any) -> tf.Tensor:
    """Raises contrast (exponent > 1) or takes it back (1 / exponent); 0, 1/2 and 1 stay."""
    values = tf.clip_by_value(values, 0.0, 1.0)  # By rounding, white may lie above 1.
    return 1.0 / (1.0 + ((1.0 - values) / values) ** exponent)


def _to_linear(values: tf.Tensor) -> tf.Tensor:
    """Takes sRGB's curve off values in [0, 1] (IEC 61966-2-1)."""
    curved = ((values + 0.055) / 1.055) ** 2.4
    return tf.where(values <= 0.04045, values / 12.92, curved)


def _from_linear(light: tf.Tensor) -> tf.Tensor:
    """Puts sRGB's curve on, clipping to [0, 1] first."""
    light = tf.clip_by_value(light, 0.0, 1.0)
    return tf.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1.0 / 2.4) - 0.055)


def _exposure(seed: tf.Tensor) -> tf.Tensor:
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 8)
    drawn = EXPOSURE_MEAN + EXPOSURE_STDDEV * tf.random.stateless_normal((), own)
    return tf.clip_by_value(drawn, 0.5, 1.0)


def _to_sensor(chance: tf.Tensor) -> tf.Tensor:
    """Returns (3, 3): linear sRGB to a sensor's colours, white-balanced, from 4 weights."""
    weights = chance / tf.reduce_sum(chance)
    to_sensor = tf.tensordot(weights, tf.constant(_XYZ_TO_SENSOR), 1) @ tf.constant(_SRGB_TO_XYZ)
    # White is (1, 1, 1) before as after.
    return to_sensor / tf.reduce_sum(to_sensor, axis=1, keepdims=True)


# --- The sensor.


def _sensor_noise(light: tf.Tensor, iso: Any, seed: tf.Tensor) -> tf.Tensor:
    """Draws noise of variance shot * light + read, as the sensor of an ISO has it."""
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 9)
    spread = tf.random.stateless_normal((), own)
    shot = SHOT_VARIANCE_PER_ISO * tf.cast(iso, tf.float32)
    read = tf.exp(READ_OFFSET + READ_SPREAD * spread) * shot**READ_SLOPE
    own = tf.random.experimental.stateless_fold_in(of_frame(seed), 10)
    # Colours that a sensor's own cannot mix are negative there, and no photons are fewer than none.
    return tf.sqrt(shot * tf.maximum(light, 0.0) + read) * tf.random.stateless_normal(
        tf.shape(light), own
    )


def _through_lens(light: tf.Tensor) -> tf.Tensor:
    """Blurs by (1, 2, 1) / 4 along both axes: (H + 2, W + 2, C) to (H, W, C)."""
    rows = 0.25 * (light[:-2] + light[2:]) + 0.5 * light[1:-1]
    return 0.25 * (rows[:, :-2] + rows[:, 2:]) + 0.5 * rows[:, 1:-1]


def _sites(height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (height, 1, 1) and (1, width, 1) bool: rows and columns with red; green has one."""
    own = tf.random.experimental.stateless_fold_in(of_clip(seed), 11)
    phase = tf.random.stateless_uniform((2,), own, 0, 2, tf.int32)
    rows = (tf.range(height) + phase[0]) % 2 == 0
    columns = (tf.range(width) + phase[1]) % 2 == 0
    return rows[:, tf.newaxis, tf.newaxis], columns[tf.newaxis, :, tf.newaxis]


def _mosaic(raw: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Keeps of (H, W, 3) one colour of each pixel: (H, W, 1)."""
    rows, columns = _sites(tf.shape(raw)[0], tf.shape(raw)[1], seed)
    red, green, blue = tf.split(raw, 3, axis=-1)
    return tf.where(rows & columns, red, tf.where(rows ^ columns, green, blue))


def _demosaic(mosaics: tf.Tensor, chance: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Guesses colours from (N, H + 4, W + 4, 1): (N, H, W, 3)."""
    # The seed's phase is that of the padded mosaic, and the margin of 2 keeps it.
    size = tf.shape(mosaics)
    rows, columns = _sites(size[1] - 4, size[2] - 4, seed)
    filters = tf.where(chance < 0.5, _BILINEAR, _MALVAR) / 8.0
    filters = tf.transpose(filters, (1, 2, 0))[:, :, tf.newaxis]  # (5, 5, 1, 4)
    guesses = tf.nn.conv2d(mosaics, filters, 1, "VALID")
    cross, along_row, along_column, diagonal = tf.split(guesses, 4, axis=-1)
    own = mosaics[:, 2:-2, 2:-2]
    red_row = tf.where(columns, own, along_row)  # Red as a row with red has it; so for the others.
    red = tf.where(rows, red_row, tf.where(columns, along_column, diagonal))
    green = tf.where(rows ^ columns, own, cross)
    blue_row = tf.where(columns, along_row, own)
    blue = tf.where(rows, tf.where(columns, diagonal, along_column), blue_row)
    return tf.concat([red, green, blue], axis=-1)


# --- Development of noise.


def _develop_noise(noise: tf.Tensor, chance: tf.Tensor) -> tf.Tensor:
    """Denoises and sharpens noise as a camera does: (H + 6, W + 6, C) to (H, W, C).

    Edges are left to the picture: a camera's denoiser keeps them. Colour is smoothed more than
    luminance, which alone is sharpened.
    """
    # Between no denoiser and the strongest: both widths by the same number.
    strength = tf.maximum(1.0 - chance[0] / DENOISER_SHARE, 0.0)
    amount = SHARPENER_AMOUNT * tf.maximum(1.0 - chance[1] / SHARPENER_SHARE, 0.0)
    luma_stddev = strength * LUMA_STDDEV_PX
    wider = tf.sqrt(luma_stddev**2 + SHARPENER_STDDEV_PX**2)
    luma = (1.0 + amount) * _gaussian(luma_stddev) - amount * _gaussian(wider)
    return _filter_luma_chroma(noise, luma, _gaussian(strength * CHROMA_STDDEV_PX))


def _filter_luma_chroma(light: tf.Tensor, luma: tf.Tensor, chroma: tf.Tensor) -> tf.Tensor:
    """Filters luminance and colour of (H + 6, W + 6, C) by (7, 7) each: (H, W, C)."""
    if light.shape[-1] == 1:
        return _filter_channels(light, luma[..., tf.newaxis])
    matrix = tf.constant(_TO_LUMA_CHROMA)
    apart = tf.tensordot(light, matrix, [[-1], [1]])
    apart = _filter_channels(apart, tf.stack([luma, chroma, chroma], axis=-1))
    return tf.tensordot(apart, tf.linalg.inv(matrix), [[-1], [1]])


def _gaussian(stddev: Any) -> tf.Tensor:
    """Returns (7, 7), sum 1; a standard deviation of 0 pixels is the point."""
    offsets = tf.range(-_NOISE_RADIUS, _NOISE_RADIUS + 1, dtype=tf.float32)
    line = tf.exp(-0.5 * (offsets / tf.maximum(tf.cast(stddev, tf.float32), 1e-3)) ** 2)
    line /= tf.reduce_sum(line)
    return line[:, tf.newaxis] * line[tf.newaxis]


def _filter_channels(image: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """Filters each channel of (H + 6, W + 6, C) by its own of (7, 7, C): (H, W, C)."""
    filtered = tf.nn.depthwise_conv2d(
        image[tf.newaxis], kernels[..., tf.newaxis], (1, 1, 1, 1), "VALID"
    )
    return filtered[0]


def _inner(image: tf.Tensor, margin: int) -> tf.Tensor:
    return image[margin:-margin, margin:-margin]


def _mirror_both(image: tf.Tensor, count: int) -> tf.Tensor:
    return mirror(mirror(image, count, 0), count, 1)
