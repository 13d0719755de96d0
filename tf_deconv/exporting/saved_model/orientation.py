"""EXIF orientation read and undone inside a graph, so that a phone's picture comes back upright.

EXIF data is a TIFF structure (CIPA DC-008) in a JPEG's first APP1 segment that says so, or in a
PNG's chunk eXIf. What is damaged there, cut short or points outside is passed over: the pixels are
whole without it. Every read stays within the structure.
"""

from __future__ import annotations

import tensorflow as tf

# What undoes orientation 1 to 8: whether rows and columns change places first, then whether the
# rows, and whether the columns, are turned round.
_STEPS = (
    (False, False, False),
    (False, False, True),
    (False, True, True),
    (False, True, False),
    (True, False, False),
    (True, False, True),
    (True, True, True),
    (True, True, False),
)
_TAG, _SHORT, _LONG = 274, 3, 4
# EXIF data is a JPEG's first or second segment; long colour profiles take a few.
_MAX_SEGMENTS = 100
_APP1, _SCAN, _END = 0xE1, 0xDA, 0xD9


def nowhere() -> tf.Tensor:
    """Returns the place of no EXIF data: begin and end, (2,) int64."""
    return tf.constant([0, 0], tf.int64)


def find_in_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Returns where the EXIF data of a JPEG begins and ends, (2,) int64; `nowhere` without any.

    Args:
      encoded: () string, the bytes of a file of at least 12.
    """
    size = tf.cast(tf.strings.length(encoded, unit="BYTE"), tf.int64)

    def is_ahead(at: tf.Tensor, place: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        unfinished = tf.logical_and(at + 10 <= size, count < _MAX_SEGMENTS)
        return tf.logical_and(unfinished, place[1] == 0)

    def next_segment(at: tf.Tensor, place: tf.Tensor, count: tf.Tensor) -> tuple:
        head = _read(encoded, at, 10)
        # Bytes of 0xFF may stand before a marker, and fill what lies between two segments.
        fills = tf.logical_and(head[0] == 0xFF, head[1] == 0xFF)
        ends = tf.logical_or(head[1] == _SCAN, head[1] == _END)
        known = tf.logical_and(head[0] == 0xFF, tf.logical_not(ends))
        end = at + 2 + head[2] * 256 + head[3]
        is_exif = tf.logical_and(
            head[1] == _APP1, tf.reduce_all(head[4:] == tf.constant(list(b"Exif\0\0"), tf.int64))
        )
        is_exif = tf.logical_and(is_exif, tf.logical_and(known, end >= at + 10))
        place = tf.where(is_exif, tf.stack([at + 10, tf.minimum(end, size)]), place)
        following = tf.where(tf.logical_and(known, end >= at + 4), end, size)
        return tf.where(fills, at + 1, following), place, count + 1

    start = (tf.constant(2, tf.int64), nowhere(), 0)
    return tf.while_loop(is_ahead, next_segment, start, parallel_iterations=1)[1]


def read(encoded: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Reads the orientation, () int64 from 1 to 8; 1 is upright, and where none can be read.

    Args:
      encoded: () string, the bytes of a file of at least 12.
      place: Where its EXIF data begins and ends, (2,) int64.
    """
    begin, end = place[0], place[1]

    def read_there() -> tf.Tensor:
        head = _read(encoded, begin, 8)
        is_big = head[0] == ord("M")
        order = tf.where(is_big, head[0], tf.constant(ord("I"), tf.int64))
        is_tiff = tf.reduce_all(head[:2] == order)
        is_tiff = tf.logical_and(is_tiff, _number(head[2:4], is_big) == 42)
        directory = begin + _number(head[4:8], is_big)
        fits = tf.logical_and(is_tiff, directory + 2 <= end)
        return tf.cond(fits, lambda: read_directory(directory, is_big), _upright)

    def read_directory(at: tf.Tensor, is_big: tf.Tensor) -> tf.Tensor:
        # A directory that claims more entries than there are bytes is read as far as it goes.
        claimed = _number(_read(encoded, at, 2), is_big)
        count = tf.minimum(claimed, (end - at - 2) // 12)
        text = tf.strings.substr(encoded, at + 2, 12 * count)
        entries = tf.reshape(tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int64), (-1, 12))
        kind = _number(entries[:, 2:4], is_big)
        value = tf.where(
            kind == _SHORT, _number(entries[:, 8:10], is_big), _number(entries[:, 8:12], is_big)
        )
        of_one = _number(entries[:, 4:8], is_big) == 1
        typed = tf.logical_and(of_one, tf.logical_or(kind == _SHORT, kind == _LONG))
        wanted = tf.logical_and(_number(entries[:, :2], is_big) == _TAG, typed)
        # Of several the last one counts, as it does for Pillow.
        last = tf.concat([_upright()[tf.newaxis], tf.boolean_mask(value, wanted)], 0)[-1]
        known = tf.logical_and(last >= 1, last <= len(_STEPS))
        return tf.where(known, last, _upright())

    return tf.cond(begin + 8 <= end, read_there, _upright)


def upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Undoes an orientation.

    Args:
      pixels: (H, W, C).
      orientation: () int64, 1 to 8.
    Returns:
      (H, W, C), or (W, H, C) where the picture lies on its side.
    """
    turned = tf.constant(_STEPS)[orientation - 1]

    def turn() -> tf.Tensor:
        stood = tf.cond(turned[0], lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
        return tf.raw_ops.Reverse(tensor=stood, dims=tf.concat([turned[1:], [False]], 0))

    return tf.cond(orientation == 1, lambda: pixels, turn)


def _upright() -> tf.Tensor:
    return tf.constant(1, tf.int64)


def _read(encoded: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Returns bytes as (count,) int64; the caller knows that they are there."""
    text = tf.strings.substr(encoded, at, count)
    return tf.cast(tf.ensure_shape(tf.io.decode_raw(text, tf.uint8), (count,)), tf.int64)


def _number(digits: tf.Tensor, is_big: tf.Tensor) -> tf.Tensor:
    """Returns the number that bytes (..., count) int64 are, in either order."""
    powers = [1 << 8 * place for place in range(digits.shape[-1])]
    weights = tf.where(is_big, tf.constant(powers[::-1], tf.int64), tf.constant(powers, tf.int64))
    return tf.reduce_sum(digits * weights, axis=-1)
