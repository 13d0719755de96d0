"""FFmpeg's denoisers of films, `hqdn3d` and `nlmeans`: what a network for films has to beat.

Each is told how strong the noise is, as `classical` tells its denoisers, by the strength that was
best for that much of it on other clips: `benchmarks/video.py --strengths` finds them. A filter runs
in PyAV where its build has it (the wheels leave out hqdn3d, which is under the GPL), else in the
program `ffmpeg` where there is one.
"""

from __future__ import annotations

import contextlib
import fractions
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_deconv.degradations.codecs import scaling
from tf_deconv.images import arrays

# Standard deviations of the noise in grey levels of 255, and the best strength for each.
STDDEVS = (2.0, 5.0, 10.0, 20.0, 30.0, 50.0)
STRENGTHS = {
    "hqdn3d": (2.0, 6.0, 15.0, 27.0, 50.0, 70.0),
    "nlmeans": (1.0, 2.0, 4.0, 8.0, 12.0, 19.0),
}
# Spatial strength of luma, from which the filter takes the three others; strength.
_OPTIONS = {"hqdn3d": "luma_spatial={:.3f}", "nlmeans": "s={:.3f}"}
# What the filters take: they know no R'G'B', and halving the colour would cost them decibels.
_PIXELS = "yuv444p"
_SECONDS = 600

# Takes frames (H, W, C) float in [0, 1] of one size, and a strength; yields as many.
Filter = Callable[[np.ndarray, float], Iterator[np.ndarray]]


def strength_for(name: str, stddev: float) -> float:
    """Returns the strength of a filter for noise.

    Args:
      name: A key of `STRENGTHS`.
      stddev: Standard deviation of what is to be removed, as a share of white.
    """
    return float(np.interp(255 * stddev, STDDEVS, STRENGTHS[name]))


def find_filters() -> tuple[dict[str, Filter], list[str]]:
    """Returns the filters that can be run here, by their names, and notes about the others."""
    found: dict[str, Filter] = {}
    notes = []
    in_pyav, program = _filters_of_pyav(), shutil.which("ffmpeg")
    in_program = _filters_of(program) if program else frozenset()
    for name in STRENGTHS:
        if name in in_pyav:
            found[name] = functools.partial(_run_in_pyav, name)
        elif program and name in in_program:
            found[name] = functools.partial(_run_in_program, program, name)
        else:
            notes.append(
                f"{name} is not measured: neither PyAV nor a program ffmpeg on the path has it"
            )
    return found, notes


def _filters_of_pyav() -> frozenset[str]:
    try:
        import av
    except ImportError:
        return frozenset()
    return frozenset(av.filter.filters_available)


@functools.cache
def _filters_of(program: str) -> frozenset[str]:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(
            [program, "-hide_banner", "-filters"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        words = told.stdout.decode("utf-8", "replace")
        return frozenset(re.findall(r"^ [A-Z.|]+ (\S+)", words, re.MULTILINE))
    return frozenset()


def _bytes_of(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Yields (H, W, 3) uint8."""
    for frame in frames:
        yield np.broadcast_to(arrays.to_uint8(frame), (*frame.shape[:2], 3))


def _floats_of(pixels: np.ndarray, channels: int) -> np.ndarray:
    unit = arrays.to_float(pixels)
    return unit if channels == 3 else arrays.luminance(unit).astype(np.float32)


def _run_in_pyav(name: str, frames: np.ndarray, strength: float) -> Iterator[np.ndarray]:
    import av

    height, width, channels = frames.shape[1:]
    graph = av.filter.Graph()
    rate = fractions.Fraction(1, 25)
    source = graph.add_buffer(width=width, height=height, format=_PIXELS, time_base=rate)
    denoiser = graph.add(name, _OPTIONS[name].format(strength))
    sink = graph.add("buffersink")
    source.link_to(denoiser)
    denoiser.link_to(sink)
    graph.configure()

    def pulled() -> Iterator[np.ndarray]:
        while True:
            try:
                frame = graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            frame = frame.reformat(format="rgb24", interpolation=scaling())
            yield _floats_of(frame.to_ndarray(), channels)

    for number, pixels in enumerate(_bytes_of(frames)):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format=_PIXELS, interpolation=scaling())
        frame.pts, frame.time_base = number, rate
        graph.push(frame)
        yield from pulled()
    graph.push(None)
    yield from pulled()


def _run_in_program(
    program: str, name: str, frames: np.ndarray, strength: float
) -> Iterator[np.ndarray]:
    height, width, channels = frames.shape[1:]
    raw: list[Any] = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", "25"]
    flags = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    chain = (
        f"scale={flags},format={_PIXELS},{name}={_OPTIONS[name].format(strength)},"
        f"scale={flags},format=rgb24"
    )
    command = [
        *(program, "-v", "error", "-nostdin", *raw, "-i", "pipe:0", "-vf", chain),
        *("-vsync", "0", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"),
    ]
    # By files: a pipe that nobody reads while another is written stops both.
    with tempfile.TemporaryFile() as before, tempfile.TemporaryFile() as after:
        for pixels in _bytes_of(frames):
            before.write(np.ascontiguousarray(pixels))
        before.seek(0)
        ended = subprocess.run(
            command, stdin=before, stdout=after, stderr=subprocess.PIPE, timeout=_SECONDS
        )
        if ended.returncode:
            words = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            raise RuntimeError(f"ffmpeg could not run {name}: {words[-1] if words else 'no word'}")
        after.seek(0)
        size = height * width * 3
        while len(content := after.read(size)) == size:
            pixels = np.frombuffer(content, np.uint8).reshape(height, width, 3)
            yield _floats_of(pixels, channels)
