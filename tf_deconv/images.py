"""Picture files to arrays and back; besides `serve_bytes`, the only place that knows 255.

Pillow decodes; a picture leaves here as uint8 RGB, upright (EXIF orientation applied), alpha laid
over white.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib

import numpy as np
from PIL import ExifTags, Image, ImageDraw, UnidentifiedImageError

from tf_deconv.utils.options import UserError, reason

# ITU-R BT.601-7, section 2.5.1: the weights that JPEG and television give to red, green and blue.
LUMINANCE_WEIGHTS = (0.299, 0.587, 0.114)

# Only these decoders are ever started, whatever a file claims to be.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
# What undoes each orientation of the EXIF standard (CIPA DC-008, tag 274).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def list_pictures(folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Lists the picture files below a folder, sorted by path; hidden files are left out.

    Raises:
      UserError: if `folder` is no readable folder or holds no picture file.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"folder {str(folder)!r} {state}: expected a folder of pictures")
    try:
        paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            and path.is_file()
        )
    except OSError as error:
        raise UserError(f"folder {str(folder)!r} cannot be read: {reason(error)}") from error
    if not paths:
        raise UserError(
            f"folder {str(folder)!r} holds no picture: expected files ending in"
            f" {', '.join(SUFFIXES)}"
        )
    return paths


@dataclasses.dataclass(frozen=True)
class Header:
    """What the first bytes of a picture file say.

    Attributes:
      format: As Pillow names it, such as "PNG".
      height: In pixels; the sides are swapped if EXIF turns the picture.
      width: In pixels.
    """

    format: str
    height: int
    width: int


def read_header(content: bytes) -> Header:
    """Reads the header of a picture file; nothing is decoded.

    Raises:
      ValueError: if it is no picture.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return Header(image.format, image.height, image.width)
    except UnidentifiedImageError as error:
        raise ValueError(f"cannot identify image file: expected {', '.join(FORMATS)}") from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(reason(error)) from error


def read_rgb(source: str | pathlib.Path | bytes) -> np.ndarray:
    """Decodes a picture.

    Args:
      source: A path, or the bytes of a file.
    Returns:
      (H, W, 3) uint8; grey pictures have three equal channels. 16-bit grey is rounded to 8 bits;
      of 16-bit colour Pillow keeps the upper byte, at most one grey level away.
    Raises:
      ValueError: if it is no picture, is truncated, or is larger than Pillow's limit.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(stream, formats=FORMATS) as image:
            image.load()
            return np.asarray(_upright_rgb(image))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(reason(error)) from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    # Not ImageOps.exif_transpose: it writes the EXIF data anew, and one tag of a wrong type in it
    # is then an exception, where the pixels are whole.
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I"):
        # Pillow's own conversion of 16-bit grey clips at 255 instead of scaling.
        grey = np.asarray(image).astype(np.float64) / 65535
        image = Image.fromarray(to_uint8(grey))
    if image.mode == "F":
        image = Image.fromarray(to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return image.convert("RGB")


def to_float(image: np.ndarray) -> np.ndarray:
    """Scales uint8 0..255 to float32 [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Rounds [0, 1] to uint8 0..255; values outside are clipped."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)


def as_unit(pixels: np.ndarray) -> np.ndarray:
    """Scales uint8 or uint16 to float32 [0, 1]; float becomes float32 and keeps its values."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def as_pixels(image: np.ndarray, dtype: np.dtype | type) -> np.ndarray:
    """Undoes `as_unit`: rounds [0, 1] to an integer type, values outside clipped; float is kept."""
    if np.dtype(dtype).kind == "f":
        return image.astype(dtype)
    # A network that diverged gives NaN, of which no integer exists: black, on every machine.
    known = np.nan_to_num(np.clip(image, 0.0, 1.0), copy=False)
    return np.rint(known * np.iinfo(dtype).max).astype(dtype)


def luminance(image: np.ndarray) -> np.ndarray:
    """Converts float (..., 3) to grey (..., 1) by ITU-R BT.601; (..., 1) is returned as it is."""
    if image.shape[-1] == 1:
        return image
    return (np.asarray(image, np.float64) @ np.array(LUMINANCE_WEIGHTS))[..., np.newaxis]


def encode_png(image: np.ndarray) -> bytes:
    """Encodes a picture.

    Args:
      image: (H, W, 1) or (H, W, 3), float in [0, 1] or uint8.
    Returns:
      The bytes of a PNG file.
    """
    pixels = image if image.dtype == np.uint8 else to_uint8(image)
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def grid(pictures: np.ndarray, columns: int, gap_px: int = 2, scale: int = 2) -> np.ndarray:
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
