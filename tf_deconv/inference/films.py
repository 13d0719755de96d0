"""A film through a model: decoded, restored frame by frame or with a state, and encoded again.

The film restorer knows nothing of how a frame is restored. It asks a `FilmModel` for a session and
gives it the frames in the order in which they are shown; `FrameByFrame` takes each one through a
`Restorer` by itself, and a model that remembers frames brings a session of its own:

    session = model.begin(height, width)
    for frame in film:
        restored = session.restore(frame)  # None while it waits for frames after this one.
    rest = session.end()

`film_model` makes one of what opens a model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from tf_deconv.inference.picture_job import choose_conversion
from tf_deconv.inference.restorer import Restorer
from tf_deconv.inference.streaming import StreamRestorer


class Session(Protocol):
    """One film, or one field of an interlaced film, on its way through a model.

    Frames are all of one size and type. As many come out as went in, in the same order.
    """

    def restore(self, frame: np.ndarray) -> np.ndarray | None:
        """Takes the next frame.

        Args:
          frame: (H, W, 1) or (H, W, 3), uint8 or uint16 over the full range, upright or not. It
            may be written over, and returned.
        Returns:
          The next restored frame: (H * scale, W * scale, 1 or 3) of the same type. A model that
          looks ahead returns None for its first frames, and then one for each that it gets.
        """
        ...

    def end(self) -> Iterable[np.ndarray]:
        """Returns the restored frames that were held back, when the film is over."""
        ...


class FilmModel(Protocol):
    """What begins sessions.

    Attributes:
      warm_up: How many frames before the first that counts a session is shown, where a film is
        begun in its middle (`--resume`), to make of it nearly what it would have; 0 of a model
        without a state. What it makes of those frames is thrown away.
    """

    warm_up: int

    def begin(self, height: int, width: int) -> Session:
        """Begins a film, without anything that is remembered of another one.

        Args:
          height: Of a frame, in pixels.
          width: Of a frame.
        """
        ...


class FrameByFrame:
    """A model without a state: each frame is restored as a picture is."""

    warm_up = 0

    def __init__(self, restorer: Restorer, task: str | None = None):
        """Prepares.

        Args:
          restorer: The model.
          task: What it was trained for, where that is recorded.
        """
        self._restorer, self._task = restorer, task

    def begin(self, height: int, width: int) -> Session:
        """Begins a film; nothing is remembered."""
        return _Each(self._restorer, self._task)


class _Each:
    """The session of a model without a state."""

    def __init__(self, restorer: Restorer, task: str | None):
        self._restorer, self._task = restorer, task

    def restore(self, frame: np.ndarray) -> np.ndarray:
        """Restores a frame as a picture is, grey and colour as there."""
        artifact = self._restorer.artifact
        as_grey, _ = choose_conversion(frame.shape[-1], artifact, self._task)
        return self._restorer.restore(frame, as_grey=as_grey, in_place=True)

    def end(self) -> Iterable[np.ndarray]:
        """Returns nothing: no frame waits."""
        return ()


class Remembering:
    """A model with a state, whose first frames are held back."""

    def __init__(self, restorer: StreamRestorer):
        self._restorer, self.warm_up = restorer, restorer.warm_up

    def begin(self, height: int, width: int) -> Session:
        """Begins a film with no past."""
        return self._restorer.begin_led(height, width)


def film_model(restorer: Restorer | StreamRestorer, task: str | None = None) -> FilmModel:
    """Returns what films are taken through.

    Args:
      restorer: The model, or a `FilmModel` itself.
      task: What it was trained for, where that is recorded.
    """
    if isinstance(restorer, StreamRestorer):
        return Remembering(restorer)
    return restorer if hasattr(restorer, "begin") else FrameByFrame(restorer, task)
