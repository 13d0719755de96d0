"""How long work says that a signal stopped it; importable without TensorFlow."""


class Interrupted(Exception):
    """Training was asked to stop by a signal.

    Attributes:
      signum: The signal's number.
    """

    def __init__(self, signum: int):
        super().__init__(f"signal {signum}")
        self.signum = signum
