"""How work is stopped by a signal; importable without TensorFlow."""

from __future__ import annotations

import pathlib
import signal
import sys
import threading

# How often it is looked whether the process is on its way out.
_LOOK_S = 0.5


class Interrupted(Exception):
    """Training was asked to stop by a signal.

    Attributes:
      signum: The signal's number.
      run_dir: The run folder, in which the best model so far lies; None before there is one.
    """

    def __init__(self, signum: int):
        super().__init__(f"signal {signum}")
        self.signum = signum
        self.run_dir: pathlib.Path | None = None


class Termination:
    """Ends a command at SIGTERM as Ctrl-C does, so that nothing half-made stays behind.

    The signal becomes a SystemExit wherever the main thread is. There it may be lost: Python drops
    what is raised while an object is deleted, and libraries turn it into errors of their own. So it
    is raised again until the process is on its way out, and whatever comes out is then no fault.

    Attributes:
      received: The signal's number; None before it.
    """

    def __init__(self):
        self.received: int | None = None
        self._ended = threading.Event()

    def __enter__(self) -> Termination:
        """Begins to listen, in the main thread only."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        """Ends raising; a signal that comes later still ends the process."""
        self._ended.set()

    @property
    def exit_code(self) -> int | None:
        """What the process ends with; None where no signal came."""
        return None if self.received is None else 128 + self.received

    def _on_signal(self, signum: int, _: object) -> None:
        if self.received is None:
            self.received = signum
            threading.Thread(target=self._insist, daemon=True).start()
        sys.exit(128 + signum)

    def _insist(self) -> None:
        main, idle = threading.main_thread().ident, 0
        while not self._ended.wait(_LOOK_S):
            # Cleaning up, a thread still handles what was raised.
            idle = 0 if _is_handling(main) else idle + 1
            if idle > 1 and hasattr(signal, "pthread_kill"):
                idle = 0
                signal.pthread_kill(main, signal.SIGTERM)


def _is_handling(thread: int | None) -> bool:
    """Returns whether a thread is within `except` or `finally`, or a context manager's end."""
    active = sys._current_exceptions().get(thread)  # type: ignore[attr-defined]
    # Python 3.11 and earlier tell of type, value and traceback.
    return (active[1] if isinstance(active, tuple) else active) is not None
