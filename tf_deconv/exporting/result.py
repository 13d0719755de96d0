"""What an export left."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tf_deconv.exporting.parity.gate import Report


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What an export left.

    Attributes:
      folder: The published folder; None when nothing passed. Of a page of models that were exported
        before, the page.
      reports: One for each file that was made.
      failures: "file: reason" of each one that was not published.
    """

    folder: pathlib.Path | None
    reports: tuple[Report, ...] = ()
    failures: tuple[str, ...] = ()
