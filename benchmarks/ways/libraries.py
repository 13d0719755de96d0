"""What it takes to call a library or a program that more than one topic measures."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any
from unittest import mock

from ways.pictures import clean, encoded, noisy


def cv2() -> Any:
    import cv2

    return cv2


def piq() -> Any:
    # Its package imports torchvision for measures that are not among these.
    missing = ("torchvision", "torchvision.models", "torchvision.models.inception")
    known = importlib.util.find_spec("torchvision") is not None
    with mock.patch.dict(sys.modules, {} if known else {n: mock.MagicMock() for n in missing}):
        import piq

    return piq


def ffmpeg(graph: str, pattern: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, name) for name in ("noisy.png", "clean.png")]
        for path, image in zip(paths, (noisy(), clean())):
            path.write_bytes(encoded(image, "PNG"))
        command = ["ffmpeg", "-hide_banner", "-i", paths[0], "-i", paths[1], "-lavfi", graph]
        done = subprocess.run(
            [*map(str, command), "-f", "null", "-"], capture_output=True, text=True
        )
    return float(re.search(pattern, done.stderr)[1])
