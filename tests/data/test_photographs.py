"""The photographs that come with the package: whole, small, and each with its licence."""

import collections
import csv
import hashlib

import pytest
from PIL import Image

from tf_deconv.data import bundled


@pytest.fixture(scope="module")
def rows():
    with (bundled.folder() / "photographs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_file_is_listed_once_and_is_what_the_list_says(rows):
    folder = bundled.folder()
    assert {row["file"] for row in rows} == {path.name for path in folder.glob("*.jpg")}
    for name in ("file", "source", "sha256"):
        assert max(collections.Counter(row[name] for row in rows).values()) == 1
    for row in rows:
        assert hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"]


def test_they_are_a_hundred_small_colour_pictures_of_at_most_six_megabytes(rows):
    folder = bundled.folder()
    assert len(rows) == 100
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6e6
    for row in rows:
        with Image.open(folder / row["file"]) as picture:
            assert (picture.format, picture.mode, min(picture.size)) == ("JPEG", "RGB", 288)
            assert max(picture.size) <= 384
            assert not picture.getexif()


def test_each_is_free_and_its_origin_is_that_of_the_large_picture(rows, repository):
    with (repository / "docs" / "cc0-pictures.csv").open(encoding="utf-8", newline="") as file:
        known = {row["file"]: row for row in csv.DictReader(file)}
    for row in rows:
        assert any(word in row["licence"] for word in ("CC0", "Public domain"))
        for name in ("licence", "author", "origin"):
            assert row[name] == known[row["source"]][name]
