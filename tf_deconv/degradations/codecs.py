"""Films through a real encoder: what low rates do to them, and how blocks drift in them.

PyAV (FFmpeg's libraries) encodes and decodes in memory. Which encoders there are, and what their
rate counts, is in `tasks.CODECS`. See docs/decisions/0031-clips.md.
"""

from __future__ import annotations

import fractions
import functools
import importlib.util
from typing import Any

import numpy as np

from tf_deconv.degradations.tasks import CODECS, Step, parse_chain
from tf_deconv.utils.extras import how_to_install
from tf_deconv.utils.options import UserError

# FFmpeg's name of each encoder. Its decoder has the name that `tasks.CODECS` has, or this one.
_ENCODERS = {
    "h264": "libx264",
    "vp9": "libvpx-vp9",
    "mpeg4": "mpeg4",
    "mpeg2": "mpeg2video",
    "mjpeg": "mjpeg",
}
_DECODERS = {"mpeg2": "mpeg2video"}
# Frames before a clip from which its first one may be predicted, and frames from one key frame to
# the next: how far into a group of pictures a clip begins is a matter of chance.
_MOST_LEAD = 8
_GROUP_FRAMES = (8, 250)
# No encoder is troubled by sides of at least this; 4:2:0 has no odd ones.
_LEAST_SIDE_PX = 32
_FRAMES_PER_SECOND = 25


def check_chain(text: str) -> tuple[Step, ...]:
    """Reads a chain of operators, as `parse_chain`, and checks that its encoders are there.

    Raises:
      UserError: with every word that is wrong; if PyAV is missing, or was built without an encoder.
    """
    steps = parse_chain(text)
    for step in steps:
        name = step.operator.partition(":")[2]
        if name in CODECS:
            _check_encoder(name)
    return steps


def _check_encoder(name: str) -> None:
    if importlib.util.find_spec("av") is None:
        raise UserError(
            f"degrade='codec:{name}-...' needs PyAV, which is not installed: expected"
            f" {how_to_install('video')}"
        )
    import av

    try:
        av.codec.Codec(_ENCODERS[name], "w")
    except av.error.FFmpegError as error:
        raise UserError(
            f"degrade='codec:{name}-...': this build of PyAV has no encoder {_ENCODERS[name]!r};"
            f" expected another one of {', '.join(CODECS)}"
        ) from error


def through_codec(name: str, frames: np.ndarray, rate: Any, seed: np.ndarray) -> np.ndarray:
    """Encodes a clip and decodes it.

    Args:
      name: A key of `tasks.CODECS`.
      frames: (T, H, W, 1 or 3) uint8; one frame alone is a key frame.
      rate: As the codec counts it: a constant rate factor, rounded for VP9, or a quantiser, which
        is rounded.
      seed: (2,) integers, which decide where in a group of pictures the clip begins, and how long
        groups are.
    Returns:
      The same shape, uint8: a function of the arguments, as encoder and decoder have one thread.
    """
    words = np.asarray(seed).astype(np.int64) & 0xFFFFFFFF
    random = np.random.default_rng(words)
    shortest, longest = _GROUP_FRAMES
    group = round(shortest * (longest / shortest) ** random.random())
    lead = int(random.integers(0, min(len(frames) - 1, _MOST_LEAD) + 1))
    # What was before the clip is the clip backwards: it moves as fast.
    film = np.concatenate([frames[lead:0:-1], frames])
    height, width, channels = frames.shape[1:]
    margins = [(0, max(_LEAST_SIDE_PX, side + side % 2) - side) for side in (height, width)]
    film = np.pad(film, ((0, 0), *margins, (0, 0)), mode="edge")
    film = np.broadcast_to(film, (*film.shape[:3], 3))
    decoded = _decode(name, _encode(name, film, float(rate), group))
    if len(decoded) != len(film):
        raise RuntimeError(f"{name} gave {len(decoded)} frames of {len(film)}")
    return decoded[lead:, :height, :width, :channels]


def _encode(name: str, film: np.ndarray, rate: float, group: int) -> tuple[list[Any], Any]:
    """Encodes (T, H, W, 3) uint8 of even sides: packets, and what the decoder has to know first."""
    import av

    encoder = av.CodecContext.create(_ENCODERS[name], "w")
    encoder.height, encoder.width = film.shape[1:3]
    encoder.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
    encoder.time_base = fractions.Fraction(1, _FRAMES_PER_SECOND)
    encoder.framerate = fractions.Fraction(_FRAMES_PER_SECOND)
    encoder.thread_count = 1  # More of them change what comes.
    encoder.options = {"g": str(group), **_options(name, rate)}
    packets = []
    for number, pixels in enumerate(film):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format=encoder.pix_fmt, interpolation=scaling())
        frame.pts, frame.time_base = number, encoder.time_base
        packets += encoder.encode(frame)
    return packets + encoder.encode(None), encoder.extradata


def _options(name: str, rate: float) -> dict[str, str]:
    """Returns an encoder's own settings; the others are as FFmpeg leaves them."""
    if name in ("mpeg4", "mpeg2", "mjpeg"):
        quantiser = str(round(rate))
        return {"qmin": quantiser, "qmax": quantiser}
    if name == "vp9":
        # Without a rate ("b") the factor alone decides. The slow modes take seconds a clip.
        fast = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
        return {"crf": str(round(rate)), "b": "0", **fast}
    # With its tree of macroblocks x264 does not repeat itself, on small pictures with B frames.
    return {"crf": f"{rate:.2f}", "mbtree": "0"}


def _decode(name: str, encoded: tuple[list[Any], Any]) -> np.ndarray:
    import av

    packets, extradata = encoded
    decoder = av.CodecContext.create(_DECODERS.get(name, name), "r")
    decoder.thread_count = 1
    if extradata:
        decoder.extradata = extradata
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.decode(None)
    return np.stack(
        [frame.reformat(format="rgb24", interpolation=scaling()).to_ndarray() for frame in frames]
    )


@functools.cache
def scaling() -> Any:
    """Returns how FFmpeg changes between R'G'B' and Y'CbCr at half size.

    By its own choice it is 1.3 grey levels too dark; so it is exact on average, and the same on
    every processor.
    """
    from av.video.reformatter import Interpolation

    return (
        Interpolation.BICUBIC
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.FULL_CHR_H_INP
        | Interpolation.ACCURATE_RND
        | Interpolation.BITEXACT
    )
