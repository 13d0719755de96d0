"""JPEG XL files, by Pillow's plugin and imagecodecs."""

from __future__ import annotations

import pathlib

import numpy as np

from tf_deconv.images.decoders.pillow import PillowFile, content_of
from tf_deconv.images.picture_file import Samples, split


class JpegXlFile(PillowFile):
    """JPEG XL: the plugin of Pillow reads what it carries, imagecodecs more than 8 bits."""

    def __init__(self, source: pathlib.Path | bytes):
        super().__init__(source, "JPEG XL")

    def _find_orientation(self) -> int:
        return 1  # libjxl turns a picture as its codestream says; EXIF data has no say in it.

    def samples(self, number: int) -> Samples:
        import imagecodecs

        if self.header.count > 1:
            return super().samples(number)
        content = content_of(self._source)
        samples = imagecodecs.jpegxl_decode(content)
        samples = samples if samples.ndim == 3 else samples[..., np.newaxis]
        if samples.ndim != 3 or samples.shape[-1] not in (1, 2, 3, 4):
            return super().samples(number)
        return Samples(*split(samples), [])
