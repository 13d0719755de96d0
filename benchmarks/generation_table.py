"""What `generation.py` tells people: the table of all networks, and which bars they reach.

A row is what scores.json holds of a network: title, training, classifier, floor, scores, copies,
sampling_ms and, of a VAE, likelihood.
"""

from __future__ import annotations

from typing import Any

# How far a training time may be from the budget without a remark.
TOLERANCE = 0.1
BAR_DISTANCE_RATIO, BAR_NATS, BAR_ACCURACY = 0.5, 5.0, 0.9
_MARKS = {True: "met", False: "MISSED", None: "not measured"}
_OURS = ("vae", "flow")

Rows = dict[str, dict[str, Any]]


def lay_out(rows: Rows, command: str, settings: dict[str, Any]) -> list[str]:
    """Returns the lines of generation.md.

    Args:
      rows: The figures by the network's name.
      command: What was typed.
      settings: minutes, count, seed, steps, guidance, importance_samples, importance_pictures.
    """
    judged = [f"- {_MARKS[met]}: {text}" for text, met in bars(rows)]
    return [*_heading(rows, command, settings), "", *table(rows, settings), "", *judged]


def _heading(rows: Rows, command: str, settings: dict[str, Any]) -> list[str]:
    first = next(iter(rows.values()))
    accuracy = first["classifier"]["test_accuracy"]
    return [
        f"`{command}`",
        "",
        f"{first['training']['machine']}. {settings['count']} pictures of each network; the flow"
        f" takes {settings['steps']} Heun steps with guidance {settings['guidance']:g}. The"
        f" classifier whose features are compared gets {100 * accuracy:.2f} % of the test pictures"
        f" right. Likelihoods are of test pictures binarised with seed {settings['seed']}: the ELBO"
        f" of all, the bound of {settings['importance_samples']} latents (k) of the first"
        f" {settings['importance_pictures']}. Nearest: root mean square to the nearest training"
        " picture. Minutes include compiling, and validation where there is any.",
    ]


def table(rows: Rows, settings: dict[str, Any]) -> list[str]:
    """Lays the figures out in Markdown; on top those of real pictures, the floor."""
    columns = ["minutes", "passes", "parameters", "Fréchet distance", "precision", "recall"]
    columns += ["labels right, %", "ELBO, nats", f"k = {settings['importance_samples']}, nats"]
    columns += ["nearest", "ms a picture"]
    lines = [f"| network | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]
    first = next(iter(rows.values()))
    # What is nearest to training pictures are training pictures; test pictures tell something.
    nearest = f"{first['copies']['test_to_training']:.3f} (test)"
    lines.append(
        _row("training pictures", [*[""] * 3, *_of(first["floor"]), *[""] * 3, nearest, ""])
    )
    return lines + [_row(row["title"], _figures(row, settings["minutes"])) for row in rows.values()]


def _figures(row: dict[str, Any], budget_minutes: float) -> list[str]:
    trained, scores, likelihood = row["training"], row["scores"], row.get("likelihood")
    minutes = trained["seconds"] / 60
    remark = f" (not {budget_minutes:g})" * (abs(minutes / budget_minutes - 1) > TOLERANCE)
    right = scores.get("label_accuracy")
    return [
        f"{minutes:.3g}{remark}",
        f"{trained['passes']:.3g}",
        f"{trained['parameters']:,}",
        *_of(scores),
        "" if right is None else f"{100 * right:.1f}",
        f"{likelihood['elbo_nats']:.2f}" if likelihood else "",
        f"{likelihood['importance_weighted_nats']:.2f}" if likelihood else "",
        f"{row['copies']['generated_to_training']:.3f}",
        f"{row['sampling_ms']:.2f}",
    ]


def _of(scores: dict[str, float]) -> list[str]:
    figures = ("frechet_distance", ".2f"), ("precision", ".3f"), ("recall", ".3f")
    return [f"{scores[name]:{form}}" for name, form in figures]


def _row(title: str, cells: list[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def bars(rows: Rows) -> list[tuple[str, bool | None]]:
    """Sets the figures beside what they have to reach.

    Returns:
      A text and whether the bar is met, None where a figure is missing, of each bar.
    """
    others = [row for name, row in rows.items() if name not in _OURS]
    judged: list[tuple[str, bool | None]] = []

    text = f"flow's Fréchet distance at most {BAR_DISTANCE_RATIO:g} of the best other's"
    distances = [row["scores"]["frechet_distance"] for row in others]
    if "flow" in rows and distances:
        own, best = rows["flow"]["scores"]["frechet_distance"], min(distances)
        met = own <= BAR_DISTANCE_RATIO * best
        judged.append((f"{text}: {own:.2f} against {best:.2f}, {own / best:.2f} of it", met))
    else:
        judged.append((text, None))

    text = f"VAE's likelihood at least {BAR_NATS:g} nats above the documentation's"
    nats = [row["likelihood"]["importance_weighted_nats"] for row in others if "likelihood" in row]
    if "vae" in rows and nats:
        own, best = rows["vae"]["likelihood"]["importance_weighted_nats"], max(nats)
        figures = f"{own:.2f} against {best:.2f}, {own - best:+.2f}"
        judged.append((f"{text}: {figures}", own >= best + BAR_NATS))
    else:
        judged.append((text, None))

    text = f"at least {100 * BAR_ACCURACY:.0f} % of the flow's labels right"
    if "flow" in rows:
        own = rows["flow"]["scores"]["label_accuracy"]
        judged.append((f"{text}: {100 * own:.1f} %", own >= BAR_ACCURACY))
    else:
        judged.append((text, None))
    return judged
