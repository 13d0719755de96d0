"""A picture with all that its file carries, between reading and writing."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TiffFields:
    """What a TIFF page carries besides its pixels.

    Attributes:
      compression: Name of a lossless compression, as tifffile takes it; None: not compressed.
      tags: (code, type, count, value) of every tag that does not say how pixels are stored.
    """

    compression: str | None = None
    tags: tuple[tuple[int, int, int, object], ...] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture of a file, upright, with what the file carries.

    Attributes:
      pixels: (H, W, 1) or (H, W, 3), uint8 or uint16 over their full range, or float32 where
        [0, 1] is what a screen shows.
      alpha: (H, W, 1) of the same type, or None. Colours are never multiplied with it.
      format: A name of `formats.FORMATS`: the type to write.
      icc_profile: Bytes of the colour profile, or None.
      exif: EXIF data as a TIFF structure, its orientation upright, or None.
      notes: What could not be kept, one line each.
      lossless: Whether a WebP file was without loss; of no use for the others.
      xmp: XMP packet, UTF-8, or None.
      iptc: Photoshop's image resources, IPTC data among them, or None.
      comment: Comment of a JPEG or GIF file, or None.
      resolution: Pixels per unit along x and y, and the unit: "inch", "cm" or "none"; or None.
      chunks: (type, data) of PNG chunks that tell of colours, text and time.
      tiff: What a TIFF page carries besides.
      stored: Type of the samples in the file, where `pixels` has another one.
      levels: Values of the file that 0 and 1 of float32 pixels stand for; None: the type's own.
      known_alpha: Whether `alpha` is transparency; False for a TIFF sample of unknown meaning.
      duration_ms: How long a picture of an animation is shown; None: no animation.
      loop: How often an animation is shown, 0 for ever; None: not said.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None
    notes: tuple[str, ...] = ()
    lossless: bool = False
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    resolution: tuple[float, float, str] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    tiff: TiffFields | None = None
    stored: np.dtype | None = None
    levels: tuple[float, float] | None = None
    known_alpha: bool = True
    duration_ms: float | None = None
    loop: int | None = None

    @property
    def bit_depth(self) -> int:
        """8, 16 or, in float, 32."""
        return 8 * self.pixels.dtype.itemsize
