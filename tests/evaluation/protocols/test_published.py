"""What papers say of the protocols' sets, and how a table shows it."""

import dataclasses

import pytest

from tf_deconv.evaluation.protocols import published, tables


@pytest.mark.parametrize(
    ("protocol", "folder", "expected"),
    [
        ("awgn-grey", "Set12", "Set12"),
        ("awgn-grey", "set-12", "Set12"),
        ("awgn-grey", "SET_12", "Set12"),
        ("awgn-grey", "Set5", None),
        ("sr", "set5", "Set5"),
        ("jpeg", "classic 5", "Classic5"),
        ("awgn-colour", "cbsd68", "CBSD68"),
        ("awgn-colour", "", None),
    ],
)
def test_a_folder_is_known_by_its_name(protocol, folder, expected):
    assert published.known_set(protocol, folder) == expected


def test_a_sets_name_tells_how_many_pictures_it_has():
    sizes = {name: published.set_size(name) for sets in published.FIGURES.values() for name in sets}
    assert sizes == {"Set5": 5, "Set14": 14, "Set12": 12, "BSD68": 68, "CBSD68": 68, "Classic5": 5}


def test_published_figures_are_of_the_protocols_settings_and_in_decibels():
    assert set(published.FIGURES) == set(published.PROTOCOLS)
    for protocol, sets in published.FIGURES.items():
        for entries in sets.values():
            assert len({entry.method for entry in entries}) == len(entries)
            for entry in entries:
                values = dataclasses.asdict(entry)
                assert set(values["psnr_db"]) <= set(published.PROTOCOLS[protocol].settings)
                assert all(20 < value < 40 for value in entry.psnr_db.values())
                assert entry.paper
                assert entry.printed_in
                # More noise or a larger scale is harder; a better quality is easier.
                ordered = list(entry.psnr_db.values())
                assert ordered == sorted(ordered, reverse=protocol != "jpeg")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (1, "1"),
        (779, "779"),
        (999.4, "999"),
        (999.6, "1k"),
        (3116, "3.12k"),
        (57_000, "57k"),
        (12_464, "12.5k"),
        (485_000, "485k"),
        (2_115_264, "2.12M"),
        (32_600_000, "32.6M"),
    ],
)
def test_counts_have_three_digits(count, text):
    assert tables._count(count) == text
