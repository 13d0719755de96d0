"""Moving pictures: frames to a GIF that repeats for ever. Pillow encodes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from tf_deconv.images import arrays
from tf_deconv.images.arrays import to_uint8

# White space between the pictures of a `grid`, in pixels of the pictures.
GAP_PX = 2


def encode_gif(
    frames: Sequence[np.ndarray], duration_ms: int = 80, hold_ms: int = 1500, scale: int = 1
) -> bytes:
    """Encodes an animation.

    Grey frames keep their 256 levels; each colour frame gets 256 colours of its own.

    Args:
      frames: (H, W, 1) or (H, W, 3) each, all of one size, float in [0, 1] or uint8.
      duration_ms: How long each frame is shown; the format holds tens of milliseconds.
      hold_ms: How long the last one is shown.
      scale: Times that each pixel is repeated along either axis.
    Returns:
      The bytes of a GIF file.
    Raises:
      ValueError: if there is no frame.
    """
    if not len(frames):
        raise ValueError("no frames: expected at least one")
    pictures = [_encodable(frame, scale) for frame in frames]
    durations = [duration_ms] * (len(pictures) - 1) + [hold_ms]
    stream = io.BytesIO()
    # Pillow makes one frame of equal neighbours, shown as long as both. It would also colour only
    # what changed, with a palette of its own: disposal 2 begins each frame anew.
    pictures[0].save(
        stream,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        disposal=2,
        optimize=False,
    )
    return stream.getvalue()


def there_and_back(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns frames that go to the last one and back, each end once: 1 2 3 2."""
    return [*frames, *frames[-2:0:-1]]


def _encodable(frame: np.ndarray, scale: int) -> Image.Image:
    pixels = frame if frame.dtype == np.uint8 else arrays.to_uint8(frame)
    pixels = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    if pixels.shape[-1] == 1:
        return Image.fromarray(pixels[..., 0])
    return Image.fromarray(pixels).quantize(256, dither=Image.Dither.NONE)


def grid(pictures: np.ndarray, columns: int, gap_px: int = GAP_PX, scale: int = 2) -> np.ndarray:
    """Lays small pictures of one size out in rows on white paper.

    Args:
      pictures: (N, H, W, 1 or 3) float in [0, 1].
      columns: Pictures in a row.
      gap_px: White space between them, in pixels of the pictures.
      scale: Times that each pixel is repeated along either axis.
    Returns:
      (H', W', 3) uint8.
    """
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    high, wide = height + gap_px, width + gap_px
    sheet = np.full((rows * high + gap_px, columns * wide + gap_px, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top = number // columns * high + gap_px
        left = number % columns * wide + gap_px
        sheet[top : top + height, left : left + width] = to_uint8(picture)
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def contact_sheet(
    rows: list[list[np.ndarray]], captions: list[list[str]], gap_px: int = 6
) -> np.ndarray:
    """Lays pictures out in a grid on white paper, each under its caption.

    Args:
      rows: Rows of pictures (H, W, 1 or 3), float in [0, 1].
      captions: A line of text above each picture, in the same arrangement.
      gap_px: White space around each picture, in pixels.
    Returns:
      (H', W', 3) uint8.
    """
    line_px = 12
    width = max(sum(image.shape[1] + gap_px for image in row) for row in rows) + gap_px
    heights = [max(image.shape[0] for image in row) + line_px + 2 * gap_px for row in rows]
    sheet = Image.new("RGB", (width, sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    top = 0
    for row, texts, height in zip(rows, captions, heights):
        left = gap_px
        for image, text in zip(row, texts):
            pixels = to_uint8(np.broadcast_to(image, (*image.shape[:2], 3)))
            pen.text((left, top + gap_px // 2), text, fill="black")
            sheet.paste(Image.fromarray(pixels), (left, top + line_px + gap_px))
            left += image.shape[1] + gap_px
        top += height
    return np.asarray(sheet)
