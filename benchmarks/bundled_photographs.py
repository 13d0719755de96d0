"""The photographs that come with the package, made anew from a folder of large ones.

    python benchmarks/bundled_photographs.py FOLDER [--sheet SHEET.jpg]

FOLDER holds the pictures that docs/cc0-pictures.csv lists, each checked against its SHA-256 there.
Which of them are taken, under which name, and which are held out, is told by the columns `file`,
`source` and `held_out` of tf_deconv/data/photographs/photographs.csv; the other columns are written
anew. Each picture is made smaller (Lanczos) until its shorter side has 288 pixels, cut to at most
384 pixels about its middle, and written as JPEG of quality 92 without metadata. Another release of
Pillow may write other bytes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import pathlib

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
PHOTOGRAPHS = ROOT / "tf_deconv" / "data" / "photographs"
COLUMNS = ("file", "held_out", "licence", "author", "origin", "source", "sha256")
SHORTER_PX, LONGER_PX, JPEG_QUALITY = 288, 384, 92


def make_small(path: pathlib.Path) -> Image.Image:
    """Returns a picture of 288 pixels by 288 to 384, in colour."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    factor = SHORTER_PX / min(picture.size)
    size = tuple(max(SHORTER_PX, round(side * factor)) for side in picture.size)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    left, top = (max(0, side - LONGER_PX) // 2 for side in size)
    return picture.crop((left, top, left + min(size[0], LONGER_PX), top + min(size[1], LONGER_PX)))


def encode(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4", optimize=True)
    return stream.getvalue()


def read_rows(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def make_all(folder: pathlib.Path) -> list[dict[str, str]]:
    """Writes every picture; returns the rows of the list."""
    known = {row["file"]: row for row in read_rows(ROOT / "docs" / "cc0-pictures.csv")}
    rows = []
    for row in read_rows(PHOTOGRAPHS / "photographs.csv"):
        facts, path = known[row["source"]], folder / row["source"]
        if hashlib.sha256(path.read_bytes()).hexdigest() != facts["sha256"]:
            raise SystemExit(f"{path}: not the picture that docs/cc0-pictures.csv lists")
        content = encode(make_small(path))
        (PHOTOGRAPHS / row["file"]).write_bytes(content)
        rows.append(
            {name: facts[name] for name in ("licence", "author", "origin")}
            | {name: row[name] for name in ("file", "source", "held_out")}
            | {"sha256": hashlib.sha256(content).hexdigest()}
        )
    return rows


def draw_sheet(rows: list[dict[str, str]], columns: int = 10, side_px: int = 192) -> Image.Image:
    """Returns all pictures side by side, to be looked at."""
    sheet = Image.new("RGB", (columns * side_px, -(-len(rows) // columns) * side_px), "white")
    for index, row in enumerate(rows):
        with Image.open(PHOTOGRAPHS / row["file"]) as picture:
            picture.thumbnail((side_px - 4, side_px - 4))
            sheet.paste(picture, (index % columns * side_px, index // columns * side_px))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--sheet", type=pathlib.Path, help="also draw all of them")
    arguments = parser.parse_args()
    rows = make_all(arguments.folder)
    with (PHOTOGRAPHS / "photographs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    if arguments.sheet is not None:
        draw_sheet(rows).save(arguments.sheet, quality=90)
    total = sum((PHOTOGRAPHS / row["file"]).stat().st_size for row in rows)
    print(f"{len(rows)} photographs, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    import outcome

    outcome.run(main)
