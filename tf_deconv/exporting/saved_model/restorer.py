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

from tf_deconv.degradations.operators import to_uint8
from tf_deconv.exporting.saved_model import checks
from tf_deconv.exporting.saved_model.decoding import decode, to_input
from tf_deconv.images.padding import pad_tensor

# Without colour subsampling: less than a grey level from the restored pixels on average.
JPEG_QUALITY = 95
# Side of what a tile of an encoded picture adds to the result, before its overlap.
TILE_PX = 448


def write_saved_model(
    model: keras.Model,
    folder: pathlib.Path,
    *,
    divisor: int,
    scale: int,
    max_pixels: int,
    reach: int | None = None,
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
      reach: How far the network sees, in pixels: encoded pictures are then restored in tiles, so
        that their memory is that of one tile and of their integers. None: as a whole.
    """
    channels = model.input_shape[-1]

    def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"restored": restore_tensor(model, _checked(image, channels), divisor, scale)}

    # One function in the graph, which both signatures of encoded pictures call.
    @functools.partial(tf.function, input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    def restore_encoded(encoded: tf.Tensor) -> tf.Tensor:
        return _restore_pixels(model, decode(encoded, max_pixels), divisor, scale, reach)

    def serve(image_bytes: tf.Tensor, encode: Callable) -> dict[str, tf.Tensor]:
        def restore_one(encoded: tf.Tensor) -> tf.Tensor:
            return encode(restore_encoded(encoded))

        # Without this a wrong rank is refused too, but with a text that says nothing of the input.
        with tf.control_dependencies(
            [checks.has_shape(image_bytes, (None,), "image_bytes: expected (N,)")]
        ):
            image_bytes = tf.identity(image_bytes)
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

    # Not Keras's ExportArchive, which writes every weight twice: as Keras's variable and as
    # TensorFlow's (Keras 3.15).
    module = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    pictures = tf.TensorSpec((None, None, None, channels), tf.float32, name="image")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    signatures = {}
    for endpoint, spec in (
        (serving_default, pictures),
        (serve_bytes, encoded),
        (serve_jpeg, encoded),
    ):
        function = tf.function(endpoint, input_signature=[spec], autograph=False)
        # Not its concrete function, which saving would trace and write once more.
        signatures[endpoint.__name__] = function
        setattr(module, endpoint.__name__, function)
    tf.saved_model.save(module, str(folder), signatures)


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


def _restore_pixels(
    model: Any, pixels: tf.Tensor, divisor: int, scale: int, reach: int | None
) -> tf.Tensor:
    """Restores decoded pixels (H, W, 4) uint8 in tiles; returns (H * scale, W * scale, C') uint8.

    All tiles are of one size: the last ones move inwards, and what they repeat is left out. A tile
    at the picture's edge ends there, as the whole picture does.
    """
    channels_in, channels_out = model.input_shape[-1], model.output_shape[-1]
    size = tf.shape(pixels)[:2]
    padded = pad_tensor(pixels[tf.newaxis], divisor)[0]
    sides = tf.shape(padded)[:2]
    margin = 0 if reach is None else reach + -reach % divisor
    core = sides if reach is None else tf.minimum(TILE_PX // divisor * divisor, sides)
    window = tf.minimum(core + 2 * margin, sides)
    counts = (sides + core - 1) // core

    def restore_tile(number: tf.Tensor) -> tf.Tensor:
        place = tf.stack([number // counts[1], number % counts[1]])
        start = tf.minimum(place * core, sides - core)
        corner = tf.clip_by_value(start - margin, 0, sides - window)
        tile = tf.slice(padded, [corner[0], corner[1], 0], [window[0], window[1], 4])
        restored = model(to_input(tile, channels_in)[tf.newaxis], training=False)[0]
        inside = (start - corner) * scale
        restored = tf.slice(
            restored,
            [inside[0], inside[1], 0],
            [core[0] * scale, core[1] * scale, channels_out],
        )
        return to_uint8(restored)

    tiles = tf.map_fn(
        restore_tile,
        tf.range(counts[0] * counts[1]),
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec((None, None, channels_out), tf.uint8),
    )
    side = core * scale
    tiles = tf.reshape(tiles, [counts[0], counts[1], side[0], side[1], channels_out])
    rows = tf.reshape(
        tf.transpose(tiles, (0, 2, 1, 3, 4)),
        [counts[0] * side[0], counts[1] * side[1], channels_out],
    )
    for axis in (0, 1):
        wanted = tf.range(size[axis] * scale)
        tile = tf.minimum(wanted // side[axis], counts[axis] - 1)
        start = tf.minimum(tile * core[axis], sides[axis] - core[axis]) * scale
        rows = tf.gather(rows, tile * side[axis] + wanted - start, axis=axis)
    return rows


def _checked(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Refuses a wrong rank, channel count or an empty picture."""
    text = f"image: expected (N, H, W, {channels}) with N, H, W >= 1"
    shape = (None, None, None, channels)
    with tf.control_dependencies([checks.has_shape(image, shape, text, least=1)]):
        return tf.identity(image)
