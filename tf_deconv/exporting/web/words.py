"""What the page calls a model, for people who know nothing of networks."""

from __future__ import annotations

import dataclasses

from tf_deconv.degradations.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Words:
    """How a page presents a model.

    Attributes:
      title: What it does, as a person who has the picture would say it.
      summary: For which pictures it is, and for which not.
      note: What sets it apart from the others of a list; "" where nothing does.
    """

    title: str
    summary: str
    note: str = ""


# In the order of a page that has them all.
SHIPPED = {
    "photo": Words(
        "Clean up a photograph",
        "Grain, blotches and compression damage, whatever happened to it. The one to try first.",
        "best quality",
    ),
    "photo-small": Words(
        "Clean up a photograph, quickly",
        "The same with a third of the work and a little less well: for phones and many pictures.",
        "fast",
    ),
    "video": Words(
        "Clean up a film",
        "Grain and compression damage of moving pictures, steadier than picture by picture.",
        "films",
    ),
    "deblock": Words(
        "Repair strong compression",
        "Takes away the blocks and the shimmer around edges of small JPEG files. Leaves grain.",
    ),
    "photo-x2": Words(
        "Enlarge a photograph twofold",
        "Twice as wide and twice as high, with grain and compression damage taken off on the way.",
        "2\N{MULTIPLICATION SIGN} size",
    ),
    "super-resolve-x2": Words(
        "Enlarge a clean picture twofold",
        "For small pictures without grain and compression: twice as wide and twice as high.",
        "2\N{MULTIPLICATION SIGN} size",
    ),
    "super-resolve-x4": Words(
        "Make it four times as large",
        "For very small, clean pictures: four times as wide and as high.",
        "4\N{MULTIPLICATION SIGN} size",
    ),
    "denoise-color": Words(
        "Remove even grain",
        "Fine, even grain in colour pictures that were never strongly compressed.",
    ),
    "denoise-color-small": Words(
        "Remove even grain, quickly",
        "The same with a third of the work and a little less well.",
        "fast",
    ),
    "denoise-grey": Words(
        "Remove grain, black and white",
        "For scans, microscopes and old photographs. A colour picture becomes grey.",
    ),
}


def words_for(name: str, task: str | None) -> Words:
    """Returns how a page presents a model.

    Args:
      name: What the model is called.
      task: What it was trained for; None where that is not recorded.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    summary = TASKS[task].summary if task in TASKS else "pictures in, pictures out"
    return Words(name, f"{summary[0].upper()}{summary[1:]}.")
