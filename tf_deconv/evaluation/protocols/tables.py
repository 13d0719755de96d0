"""The tables of `benchmark --protocol`: `protocol.md`, and what is printed of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tf_deconv.evaluation.protocols.published import PROTOCOLS
from tf_deconv.images import arrays


def table(result: dict[str, Any]) -> list[str]:
    """Lays the means out as a Markdown table.

    Args:
      result: The content of `protocol.json`.
    """
    settings = result["settings"]
    columns = [PROTOCOLS[result["protocol"]].heading.format(setting) for setting in settings]
    heads = ["method", *columns, "parameters", "multiply-adds per pixel", "figures from"]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(settings) + 2) + "---|"]
    for row in result["rows"]:
        shown = [row["psnr_db"].get(setting) for setting in settings]
        cells = [_cell(row["method"]), *("-" if v is None else decibels_text(v) for v in shown)]
        for key in ("parameters", "multiply_adds_per_pixel"):
            counts = [_count(row[key].get(setting)) for setting in settings]
            cells.append(counts[0] if len(set(counts)) == 1 else " / ".join(counts))
        lines.append(f"| {' | '.join([*cells, row['figures_from']])} |")
    return lines


def page(result: dict[str, Any], data: str) -> list[str]:
    """Writes `protocol.md`.

    Args:
      result: The content of `protocol.json`.
      data: Name of the folder of pictures.
    """
    measured = [row for row in result["rows"] if "pictures_psnr_db" in row]
    settings = " / ".join(
        PROTOCOLS[result["protocol"]].heading.format(setting) for setting in result["settings"]
    )
    heads = ["picture", "size", *(_cell(row["method"]) for row in measured)]
    lines = [
        f"# {result['protocol']} on {_cell(arrays.printable(data))}",
        "",
        f"PSNR in decibels, {len(result['pictures'])} pictures: {result['rules']}.",
        "Multiply-adds are per output pixel.",
        "",
        *(f"- {note}" for note in result["notes"]),
        *(f"- not measured: {_cell(failure)}" for failure in result["failures"]),
        *([""] if result["notes"] or result["failures"] else []),
        *table(result),
        "",
        f"Each picture, {settings}:",
        "",
        f"| {' | '.join(heads)} |",
        "|---|---:|" + "---:|" * len(measured),
    ]
    for index, picture in enumerate(result["pictures"]):
        cells = [_cell(picture["name"]), picture["size"]]
        for row in measured:
            own = row["pictures_psnr_db"]
            shown = [decibels_text(own[s][index]) if s in own else "-" for s in result["settings"]]
            cells.append(" / ".join(shown))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "/")


def decibels_texts(values: Iterable[float]) -> str:
    """Writes the decibels of several settings."""
    return " / ".join(decibels_text(value) for value in values)


def decibels_text(value: float) -> str:
    """Writes decibels; infinite ones are "exact"."""
    return "exact" if value == float("inf") else f"{value:.2f}"


def _count(value: float | None) -> str:
    """Writes a number with three digits: 779, 12.5k, 186k, 2.12M."""
    if value is None:
        return "-"
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            scaled = value / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            # 57k is what papers print, not 57.0k.
            return f"{scaled:.{digits}f}".removesuffix(".00").removesuffix(".0") + unit
    return f"{value:.0f}"
