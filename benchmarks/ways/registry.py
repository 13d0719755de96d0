"""The table of ways: each topic's module adds its own rows by the decorator `way`."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from ways import libraries


@dataclasses.dataclass(frozen=True)
class Topic:
    """What is measured.

    Attributes:
      title: Of its table.
      ours: Makes this project's figure, a number or a picture in 0 to 255.
      tolerance: How far a figure may lie from ours and be the same; of pictures inside the border.
      unit: Of the number; of pictures "levels".
    """

    title: str
    ours: Callable[[], Any]
    tolerance: float
    unit: str


@dataclasses.dataclass(frozen=True)
class Way:
    """How one library makes a figure.

    Attributes:
      topic: Key of `TOPICS`.
      package: What pip calls it, or the program.
      call: What a reader would write.
      run: Makes the figure.
      is_same: Whether it is this project's.
      module: What it is imported as.
    """

    topic: str
    package: str
    call: str
    run: Callable[[], Any]
    is_same: bool
    module: str

    @property
    def is_there(self) -> bool:
        if self.package == "ffmpeg":
            return shutil.which("ffmpeg") is not None
        if self.module == "cv2.quality":
            return importlib.util.find_spec("cv2") is not None and hasattr(
                libraries.cv2(), "quality"
            )
        return importlib.util.find_spec(self.module) is not None

    def version(self) -> str:
        if self.package == "ffmpeg":
            told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout
            return re.search(r"version ([0-9.]+)", told)[1]
        if self.module.startswith("cv2"):
            return libraries.cv2().__version__
        if self.package == "libvips":
            import pyvips

            return ".".join(str(pyvips.version(part)) for part in range(3))
        return importlib.metadata.version(self.package)


WAYS: list[Way] = []


def way(topic: str, package: str, call: str, *, same: bool, module: str = ""):
    """Adds a function to `WAYS`."""

    def add(run):
        name = module or package.replace("-", "_")
        WAYS.append(Way(topic, package, call, run, same, name))
        return run

    return add
