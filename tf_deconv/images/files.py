"""Picture files, read (`reading`) and written (`writing`); and a job between the two."""

from __future__ import annotations

import dataclasses
import pathlib

from tf_deconv.images.picture import Picture
from tf_deconv.images.reading import open_pictures, read_picture
from tf_deconv.images.writing import check_size, write_picture, write_pictures

__all__ = [
    "Job",
    "Picture",
    "check_size",
    "open_pictures",
    "read_picture",
    "write_picture",
    "write_pictures",
]


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture file: where it is, and where the restored one goes.

    Attributes:
      source: The file.
      target: The file to write.
      format: The type to write, as `Picture.format`; None: that of the source.
    """

    source: pathlib.Path
    target: pathlib.Path
    format: str | None = None
