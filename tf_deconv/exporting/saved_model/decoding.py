"""PNG and JPEG files decoded inside a graph, where no hostile byte may kill or fill a service.

Size, chunks and scans are looked at before anything is decoded. A picture leaves here upright.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tf_deconv.degradations.operators import decode_jpeg, luminance
from tf_deconv.exporting.saved_model import orientation

_PNG_MAGIC, _JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
# libpng writes 8 KB to a chunk, so half a gigabyte fits; a progressive JPEG has about 10 scans.
_MAX_CHUNKS, _MAX_SCANS = 65_536, 500


def decode(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes one PNG or JPEG file, in a graph.

    Args:
      encoded: () string.
      max_pixels: Larger pictures are refused from their header.
    Returns:
      (H, W, 4) uint8, colour and opacity, upright by its EXIF data, 16 bits rounded to 8;
      anything that is not a picture is InvalidArgument.
    """
    # 25 zero bytes: reading the header of a file that is too short must not fail by itself.
    header = tf.io.decode_raw(tf.strings.substr(encoded + b"\0" * 25, 0, 25), tf.uint8)
    header = tf.cast(tf.ensure_shape(header, (25,)), tf.int64)
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
        exif = tf.cond(is_png, lambda: _check_chunks(encoded), lambda: _check_scans(encoded))
    with tf.control_dependencies([exif]):
        pixels = tf.cond(
            is_png,
            lambda: _decode_png(encoded, bit_depth=header[24]),
            lambda: _opaque(decode_jpeg(encoded, 3)),
        )
    pixels = tf.ensure_shape(pixels, (None, None, 4))
    return tf.ensure_shape(
        orientation.upright(pixels, orientation.read(encoded, exif)), (None, None, 4)
    )


def to_input(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    """Makes a network's input of decoded pixels.

    Args:
      pixels: (..., 4) uint8, what `decode` gives.
      channels: 1 for luminance, 3 for colour, 4 for colour and which pixels are known.
    Returns:
      (..., channels) float32 in [0, 1].
    """
    image = tf.image.convert_image_dtype(pixels, tf.float32)
    if channels == 4:
        # A network that fills in: what is transparent is missing.
        known = tf.round(image[..., 3:])
        return tf.concat([image[..., :3] * known, known], axis=-1)
    image = _over_white(image)
    return luminance(image) if channels == 1 else image


def _check_chunks(encoded: tf.Tensor) -> tf.Tensor:
    """Refuses a PNG of which a chunk claims more bytes than the file has.

    libpng takes the memory that a text chunk claims before it reads it: 2 GB for 60 bytes.

    Returns:
      Where its EXIF data begins and ends, as `orientation.read` takes it.
    """
    size = tf.cast(tf.strings.length(encoded, unit="BYTE"), tf.int64)

    def is_inside(at: tf.Tensor, end: tf.Tensor, count: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        return tf.logical_and(at + 8 <= size, count < _MAX_CHUNKS)

    def next_chunk(at: tf.Tensor, end: tf.Tensor, count: tf.Tensor, exif: tf.Tensor) -> tuple:
        length = tf.io.decode_raw(tf.strings.substr(encoded, at, 4), tf.uint8)
        end = at + 8 + _big_endian(tf.cast(tf.ensure_shape(length, (4,)), tf.int64))
        kind = tf.strings.substr(encoded, at + 4, 4)
        exif = tf.where(kind == b"eXIf", tf.stack([at + 8, end]), exif)
        # What follows the last chunk, 4 bytes of checksum after its end, is not read.
        return tf.where(kind == b"IEND", size, end + 4), end, count + 1, exif

    start = (tf.constant(8, tf.int64), tf.constant(8, tf.int64), 0, orientation.nowhere())
    _, end, count, exif = tf.while_loop(is_inside, next_chunk, start, parallel_iterations=1)
    fits = tf.logical_and(end <= size, count < _MAX_CHUNKS)
    message = "image_bytes has a chunk longer than the file, or too many"
    with tf.control_dependencies([tf.debugging.Assert(fits, [message])]):
        return tf.identity(exif)


def _check_scans(encoded: tf.Tensor) -> tf.Tensor:
    """Refuses a JPEG of very many scans: a progressive one costs the whole picture for each.

    Returns:
      Where its EXIF data begins and ends, as `orientation.read` takes it.
    """
    # The marker of a scan cannot occur in compressed data, where a zero byte follows each 0xFF.
    pieces = tf.raw_ops.StringSplitV2(input=encoded[tf.newaxis], sep=b"\xff\xda").values
    message = "image_bytes has too many scans:"
    few = tf.size(pieces) <= _MAX_SCANS
    with tf.control_dependencies([tf.debugging.Assert(few, [message, tf.size(pieces)])]):
        return orientation.find_in_jpeg(tf.identity(encoded))


def _decode_png(encoded: tf.Tensor, bit_depth: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG to (H, W, 4) uint8, also one of more or fewer than 8 bits.

    TensorFlow fills the alpha of a file that has none with the highest number of the file's bits:
    with 1, 3 or 15 for 1, 2 or 4 bits, so that the picture would be all but transparent. Of 16 bits
    it would cut off the lower byte, up to a grey level.
    """

    def decode_16() -> tf.Tensor:
        pixels = tf.io.decode_png(encoded, channels=4, dtype=tf.uint16)
        # Row by row: the integers in between take four times the memory of the picture.
        return tf.map_fn(
            lambda row: tf.cast((tf.cast(row, tf.int32) + 128) // 257, tf.uint8),
            pixels,
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec((None, 4), tf.uint8),
        )

    def decode_8() -> tf.Tensor:
        pixels = tf.io.decode_png(encoded, channels=4)
        filled_with = tf.cast(2 ** tf.minimum(bit_depth, 8) - 1, tf.uint8)
        is_filled = tf.reduce_all(pixels[..., 3] == filled_with)
        return tf.where(is_filled, _opaque(pixels[..., :3]), pixels)

    return tf.cond(bit_depth == 16, decode_16, decode_8)


def _opaque(pixels: tf.Tensor) -> tf.Tensor:
    return tf.concat([pixels, tf.fill(tf.shape(pixels[..., :1]), np.uint8(255))], -1)


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Lays (..., 4) over white paper, as training's pictures are (`reading.read_rgb`)."""
    colour, alpha = image[..., :3], image[..., 3:]
    return colour * alpha + (1.0 - alpha)


def _starts_with(header: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.reduce_all(header[: len(magic)] == tf.constant(list(magic), tf.int64))


def _big_endian(digits: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(digits * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64))
