"""The SavedModel for services: floats or encoded pictures in, any size, and no request kills it.

Both signatures check their input inside the graph, because a service's clients are not in reach of
Python's checks. See docs/decisions/0004-exports.md for the contract.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_deconv.degradations import decode_jpeg, luminance
from tf_deconv.padding import pad_tensor

# Without colour subsampling: less than a grey level from the restored pixels on average.
JPEG_QUALITY = 95
_PNG_MAGIC, _JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def write_saved_model(
    model: keras.Model, folder: pathlib.Path, *, divisor: int, scale: int, max_pixels: int
) -> None:
    """Writes a SavedModel with the signatures `serving_default`, `serve_bytes` and `serve_jpeg`.

    `serving_default`: `image` float32 (N, H, W, C) in [0, 1], N, H, W >= 1, to `restored` float32
    (N, H * scale, W * scale, C').
    `serve_bytes`: `image_bytes` string (N,), each a PNG or JPEG file of its own size, to
    `restored_bytes` string (N,), PNG files. `serve_jpeg`: the same, but JPEG files come back.
    Anything else is InvalidArgument.

    A model of 4 channels in, which fills in missing pixels, takes a PNG's transparent pixels as the
    missing ones; for any other, transparency is laid over white.

    Args:
      model: A float32 functional model of any height and width.
      folder: Where to write; must not exist.
      divisor: Sizes are mirrored up to a multiple of this, and cropped again.
      scale: Output pixels per input pixel along each axis.
      max_pixels: `serve_bytes` refuses larger pictures from their header, before decoding.
    """
    channels = model.input_shape[-1]

    def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"restored": restore_tensor(model, _checked(image, channels), divisor, scale)}

    def serve(image_bytes: tf.Tensor, encode: Callable) -> dict[str, tf.Tensor]:
        def restore_one(encoded: tf.Tensor) -> tf.Tensor:
            image = _decode(encoded, channels, max_pixels)
            restored = restore_tensor(model, image[tf.newaxis], divisor, scale)[0]
            # Rounds half up where `images.to_uint8` rounds half to even: one grey level at most.
            return encode(tf.image.convert_image_dtype(restored, tf.uint8, saturate=True))

        # One picture at a time: the memory of a request does not grow with its batch.
        restored = tf.map_fn(
            restore_one, image_bytes, parallel_iterations=1, fn_output_signature=tf.string
        )
        return {"restored_bytes": restored}

    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return serve(image_bytes, tf.io.encode_png)

    def serve_jpeg(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        encode = functools.partial(
            tf.io.encode_jpeg, quality=JPEG_QUALITY, chroma_downsampling=False
        )
        return serve(image_bytes, encode)

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        serving_default,
        [tf.TensorSpec((None, None, None, channels), tf.float32, name="image")],
    )
    for name, endpoint in (("serve_bytes", serve_bytes), ("serve_jpeg", serve_jpeg)):
        spec = tf.TensorSpec((None,), tf.string, name="image_bytes")
        archive.add_endpoint(name, endpoint, [spec])
    archive.write_out(str(folder), verbose=False)


def graph_tensors(folder: pathlib.Path) -> dict[str, dict[str, dict[str, str]]]:
    """Returns the graph's names for each signature's inputs and outputs, which C clients need.

    Returns:
      {"serving_default": {"inputs": {"image": "serving_default_image:0"}, "outputs": ...}, ...}.
    """
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    return {
        name: {
            side: {key: info.name for key, info in sorted(getattr(signature, side).items())}
            for side in ("inputs", "outputs")
        }
        for name, signature in sorted(model.meta_graphs[0].signature_def.items())
        if not name.startswith("__")
    }


def restore_tensor(model: Any, image: tf.Tensor, divisor: int, scale: int) -> tf.Tensor:
    """Pads, restores and crops (N, H, W, C) float32, in a graph; static sizes stay static."""
    height = image.shape[1] or tf.shape(image)[1]
    width = image.shape[2] or tf.shape(image)[2]
    restored = model(pad_tensor(image, divisor), training=False)
    if image.shape[1] and image.shape[2] and not (height % divisor or width % divisor):
        return restored
    return restored[:, : height * scale, : width * scale]


def _checked(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Refuses a wrong rank, channel count or an empty picture.

    TensorFlow 2.21 aborts the process on a wrong rank where nothing checks it
    (tensorflow/tensorflow#111453).
    """
    image = tf.ensure_shape(image, (None, None, None, channels))
    message = f"image is empty: expected (N, H, W, {channels}) with N, H, W >= 1"
    with tf.control_dependencies([tf.debugging.Assert(tf.size(image) > 0, [message])]):
        return tf.identity(image)


def _decode(encoded: tf.Tensor, channels: int, max_pixels: int) -> tf.Tensor:
    """Decodes one PNG or JPEG to (H, W, channels) float32 in [0, 1]."""
    # 24 zero bytes: reading the header of a file that is too short must not fail by itself.
    header = tf.io.decode_raw(tf.strings.substr(encoded + b"\0" * 24, 0, 24), tf.uint8)
    header = tf.cast(tf.ensure_shape(header, (24,)), tf.int64)
    is_png = _starts_with(header, _PNG_MAGIC)
    known = tf.logical_or(is_png, _starts_with(header, _JPEG_MAGIC))
    refused = tf.debugging.Assert(known, ["image_bytes is neither PNG nor JPEG"])
    with tf.control_dependencies([refused]):
        # PNG's first chunk, IHDR, holds width and height as big-endian 32-bit numbers at byte 16.
        size = tf.cond(
            is_png,
            lambda: tf.stack([_big_endian(header[20:24]), _big_endian(header[16:20])]),
            lambda: tf.cast(tf.io.extract_jpeg_shape(encoded)[:2], tf.int64),
        )
    height, width = tf.unstack(size, num=2)
    message = f"the picture is empty or larger than {max_pixels} pixels; height and width:"
    within = tf.logical_and(
        tf.minimum(height, width) >= 1,
        # Not height * width, which overflows for two hostile numbers.
        height <= max_pixels // tf.maximum(width, 1),
    )
    with tf.control_dependencies([tf.debugging.Assert(within, [message, height, width])]):
        image = tf.cond(
            is_png,
            lambda: _to_float(tf.io.decode_png(encoded, channels=4)),
            lambda: _opaque(_to_float(decode_jpeg(encoded, 3))),
        )
    image = tf.ensure_shape(image, (None, None, 4))
    if channels == 4:
        # A network that fills in: what is transparent is missing.
        known = tf.round(image[..., 3:])
        return tf.concat([image[..., :3] * known, known], axis=-1)
    image = _over_white(image)
    return luminance(image) if channels == 1 else image


def _to_float(pixels: tf.Tensor) -> tf.Tensor:
    return tf.image.convert_image_dtype(pixels, tf.float32)


def _opaque(image: tf.Tensor) -> tf.Tensor:
    return tf.concat([image, tf.ones_like(image[..., :1])], axis=-1)


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Lays (H, W, 4) over white paper, as training's pictures are (`images.read_rgb`)."""
    colour, alpha = image[..., :3], image[..., 3:]
    return colour * alpha + (1.0 - alpha)


def _starts_with(header: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.reduce_all(header[: len(magic)] == tf.constant(list(magic), tf.int64))


def _big_endian(digits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(digits * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64))
