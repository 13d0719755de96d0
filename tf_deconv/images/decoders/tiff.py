"""TIFF files as picture files; `images.tiff` reads them by tifffile."""

from __future__ import annotations

import functools
import io
import pathlib
from collections.abc import Callable
from typing import Any

from tf_deconv.images import arrays, exif, formats
from tf_deconv.images.picture_file import Header, PictureFile, Samples


class TiffFile(PictureFile):
    """TIFF, by `tiff.TiffReader`."""

    def __init__(self, source: pathlib.Path | bytes):
        from tf_deconv.images import tiff

        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        try:
            self._reader = tiff.TiffReader(stream)
        except ValueError as error:
            if str(error) == "is a camera raw file":
                raise ValueError(formats.refusal("a camera raw file", 1)) from error
            raise
        count = len(self._reader.pages)
        sizes = []
        for number in range(count):
            height, width = self._reader.size(number)
            turned = self._reader.orientation(number) >= 5
            sizes.append((width, height) if turned else (height, width))
        page = self._reader.pages[0]
        channels = 1 if page.photometric is not None and int(page.photometric) in (0, 1) else 3
        same = len(set(sizes)) == 1
        self.header = Header(
            "TIFF",
            *sizes[0],
            count,
            self._reader.sample_type(0),
            channels,
            () if same else tuple(sizes),
        )

    def close(self) -> None:
        self._reader.close()

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._reader.notes)

    def samples(self, number: int) -> Samples:
        colours, alpha, known, notes = self._reader.samples(number)
        turn: Callable = functools.partial(
            arrays.upright, exif_orientation=self._reader.orientation(number)
        )
        alpha = None if alpha is None else turn(alpha)
        return Samples(turn(colours), alpha, notes, known)

    def fields(self, number: int) -> dict[str, Any]:
        found = self._reader.fields(number)
        found["notes"] = [*self._reader.notes, *found["notes"]]
        height, width = self.header.size(number)
        found["exif"] = exif.corrected(found.get("exif"), height, width)
        found["xmp"] = exif.corrected_xmp(found.get("xmp"), height, width)
        return found
