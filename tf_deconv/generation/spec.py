"""What is known of a generator: the size of its pictures, and its labels."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_deconv.networks.table import LIKELIHOODS
from tf_deconv.utils.options import UserError

# Each decides how much memory a picture takes; networks that are trained here have far less.
LARGEST_SIDE_PX, LARGEST_CLASSES, LARGEST_LATENT = 1024, 2**16, 2**16
_LARGEST = {
    **dict.fromkeys(("height", "width"), LARGEST_SIDE_PX),
    "classes": LARGEST_CLASSES,
    "latent": LARGEST_LATENT,
}


@dataclasses.dataclass(frozen=True)
class GeneratorSpec:
    """What a model file tells of a generator, under "generator".

    Attributes:
      kind: "vae" or "flow".
      height: Of its pictures, in pixels.
      width: Likewise.
      channels: 1 (grey) or 3 (colour).
      classes: Number of classes, labels 0 to classes - 1; 0 for one that takes no label.
      latent: Numbers in a latent; None for a flow.
      likelihood: Name in `tf_deconv.networks.likelihoods`; None for a flow.
    """

    kind: str
    height: int
    width: int
    channels: int
    classes: int = 0
    latent: int | None = None
    likelihood: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one picture: (H, W, C)."""
        return self.height, self.width, self.channels

    @property
    def noise_size(self) -> int:
        """Normal numbers that one picture is made from."""
        return self.latent or self.height * self.width * self.channels

    def to_json(self) -> dict[str, Any]:
        """Returns a dict that JSON can hold; `read_spec` takes it back."""
        return dataclasses.asdict(self)

    def check_label(self, label: int | None) -> None:
        """Refuses a label that the generator does not know.

        Raises:
          UserError: if it takes none, or not this one.
        """
        if label is None:
            return
        if not self.classes:
            raise UserError(
                f"label={label}: the model takes no label; leave it out, or train one with"
                " --conditional"
            )
        if not 0 <= label < self.classes:
            raise UserError(f"label={label}: expected 0 to {self.classes - 1}")


def read_spec(known: dict[str, Any], name: str) -> GeneratorSpec:
    """Reads a generator's facts from what describes a model.

    Args:
      known: A description or a manifest.
      name: Of the model, for messages.
    Raises:
      UserError: if it describes no generator.
    """
    stored = known.get("generator")
    if not isinstance(stored, dict):
        raise UserError(
            f"{name!r} generates nothing: expected a generator, a run of --task generate or its"
            " export"
        )
    try:
        facts = GeneratorSpec(**stored)
        _check(facts)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{name!r} describes its generator as no version of tf_deconv does: {error}; export it"
            " again"
        ) from error
    return facts


def _check(facts: GeneratorSpec) -> None:
    """Refuses values of a wrong type or range: anyone may have written them."""
    is_vae = facts.kind == "vae"
    fits = {
        "kind": facts.kind in ("vae", "flow"),
        "height": _is_whole(facts.height, 1, LARGEST_SIDE_PX),
        "width": _is_whole(facts.width, 1, LARGEST_SIDE_PX),
        "channels": _is_whole(facts.channels, 1, 3) and facts.channels in (1, 3),
        "classes": _is_whole(facts.classes, 0, LARGEST_CLASSES),
        "latent": _is_whole(facts.latent, 1, LARGEST_LATENT) if is_vae else facts.latent is None,
        "likelihood": facts.likelihood in LIKELIHOODS if is_vae else facts.likelihood is None,
    }
    for name, fit in fits.items():
        if not fit:
            most = _LARGEST.get(name)
            limit = f", expected a whole number up to {most}" if most else ""
            raise ValueError(f"{name}={getattr(facts, name)!r:.60}{limit}")


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
