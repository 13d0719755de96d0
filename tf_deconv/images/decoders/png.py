"""PNG files: libpng, through imagecodecs, decodes what Pillow would make 8 bits of."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from typing import Any

import numpy as np

from tf_deconv.images import arrays, exif, png
from tf_deconv.images.decoders.pillow import PillowFile, content_of, exif_of
from tf_deconv.images.picture_file import DAMAGE, Samples, split


class PngFile(PillowFile):
    """PNG of any depth: damage in what tells nothing of the pixels costs no picture."""

    def __init__(self, source: pathlib.Path | bytes):
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as stream:
            self._carried = png.read_chunks(stream)
        damaged = self._carried.damaged
        try:
            super().__init__(source, "PNG")
        except DAMAGE:
            super().__init__(png.pixels_alone(content_of(source)), "PNG")
        if damaged:
            self._notes.append(f"damaged chunks were left out: {', '.join(damaged)}")
        if self._carried.left_out:
            kinds = ", ".join(self._carried.left_out)
            self._notes.append(f"chunks that may not be true any more were left out: {kinds}")
        # Pillow keeps 8 bits of 16-bit colours, and takes a transparent level of 4 bits for one of
        # 8 (findings/pillow-png-4bit-transparency.sh).
        self._by_libpng = (
            self._carried.bit_depth != 8
            and self._carried.colour_type != 3
            and self.header.count == 1
        )
        if self._carried.bit_depth == 16 and not self._by_libpng:
            self._notes.append("16 bits of an animated PNG file were read as 8")
        elif self._carried.bit_depth == 16:
            grey = self._carried.colour_type in (0, 4)
            self.header = dataclasses.replace(
                self.header, dtype=np.dtype(np.uint16), channels=1 if grey else 3
            )

    def _find_exif(self) -> bytes | None:
        found = self._carried.exif
        return exif_of(self._image) if found is None else found.removeprefix(b"Exif\0\0")

    def samples(self, number: int) -> Samples:
        if not self._by_libpng:
            return super().samples(number)
        import imagecodecs

        content = content_of(self._source)
        try:
            samples = imagecodecs.png_decode(content)
        except DAMAGE as error:
            raise ValueError("the PNG file is damaged") from error
        if samples.ndim == 2:
            samples = samples[..., np.newaxis]
        return Samples(*split(arrays.upright(samples, self._orientation)), [])

    def fields(self, number: int) -> dict[str, Any]:
        found = super().fields(number)
        carried = self._carried
        found.pop("comment", None)  # It is among the chunks.
        found["resolution"] = carried.resolution
        found["chunks"] = tuple(carried.chunks)
        if found["xmp"] is None:
            found["xmp"] = exif.corrected_xmp(carried.xmp, self.header.height, self.header.width)
        return found
