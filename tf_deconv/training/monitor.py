"""Which figure of an epoch tells whether its weights are the best so far, and how it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A figure of validation.

    Attributes:
      name: Its name in a row of the history.
      unit: After the number; empty where it has none.
      label: What a plot's axis says.
      form: Format of the number.
      lowest: Whether the lowest is the best; otherwise the highest.
      details: Other figures of the row that stand beside it: (name, text with one {}).
    """

    name: str
    unit: str
    label: str
    form: str = ".2f"
    lowest: bool = False
    details: tuple[tuple[str, str], ...] = ()

    @property
    def worst(self) -> float:
        """What any figure is better than."""
        return float("inf") if self.lowest else float("-inf")

    def is_better(self, value: float, other: float) -> bool:
        """Tells whether a value is better than another."""
        return value < other if self.lowest else value > other

    def best(self, rows: Sequence[dict[str, float]]) -> dict[str, float]:
        """Returns the row whose weights are the run's model: the first of the best."""
        choose = min if self.lowest else max
        return choose(rows, key=lambda row: row[self.name])

    def text(self, value: float) -> str:
        """Writes a value with its unit."""
        return f"{value:{self.form}} {self.unit}".rstrip()

    def line(self, row: dict[str, float]) -> str:
        """Writes a row's figure, with the details that it has."""
        line = f"{self.name} {self.text(row[self.name])}"
        details = [text.format(row[name]) for name, text in self.details if name in row]
        return f"{line} ({', '.join(details)})" if details else line


PSNR = Monitor("val_psnr", "dB", "validation PSNR, dB")
ELBO = Monitor(
    "val_elbo",
    "nats",
    "validation ELBO, nats",
    details=(
        ("val_reconstruction", "reconstruction {:.2f}"),
        ("val_kl", "KL {:.2f}"),
        ("val_bits", "{:.3f} bits/dimension"),
    ),
)
VELOCITY = Monitor("val_loss", "", "validation loss", ".5f", lowest=True)


def monitor_of(network: str) -> Monitor:
    """Returns what is monitored while a network is trained, a key of `NETWORKS`."""
    return {"vae": ELBO, "flow": VELOCITY}.get(network, PSNR)


def epochs_without_gain(rows: Sequence[dict[str, float]], monitor: Monitor) -> int:
    """Returns how many epochs ago the best one was; 0 where it is the last, or there is none."""
    return int(rows[-1]["epoch"] - monitor.best(rows)["epoch"]) if rows else 0
