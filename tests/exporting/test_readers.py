"""One file is one picture, whatever reads it: pixels compared, and docs/formats.md."""

import pytest

from tests.fixtures import readers as reading
from tests.fixtures.browsers import need_browser
from tests.fixtures.reader_pictures import DAMAGED_EXIF


@pytest.fixture(scope="module")
def differences(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("readers")
    return reading.Readers(folder, repository / "examples" / "run_tflite.py").differences()


def test_the_table_of_readers_tells_what_each_sees(differences, repository):
    told = reading.read_cells(repository / reading.DOCUMENT)
    for cells in told.values():
        del cells[reading.PAGE]
    remedy = "write it anew with `python -m tests.fixtures.readers`"
    assert reading.make_cells(differences) == told, remedy


@pytest.mark.clients
def test_the_table_tells_what_the_web_page_sees(tmp_path, repository):
    need_browser()
    told = reading.read_cells(repository / reading.DOCUMENT)
    seen = reading.make_cells(reading.ask_page(tmp_path))
    assert seen == {kind: {reading.PAGE: cells[reading.PAGE]} for kind, cells in told.items()}


# A phone's picture came back on its side: the graph did not read its EXIF data.
@pytest.mark.parametrize("reader", ["serve_bytes", "serve_jpeg"])
def test_the_exported_graph_shows_every_png_and_jpeg_as_a_viewer_does(differences, reader):
    wrong = {
        stored.name: found[reader]
        for stored, found in differences.items()
        if stored.kind.startswith(("PNG", "JPEG"))
        and (found[reader] is None or found[reader] > reading.allowed(reader))
    }
    assert wrong == {}


def test_16_bits_are_rounded_and_not_cut_off(differences):
    found = {stored.name: each["serve_bytes"] for stored, each in differences.items()}
    assert [found[name] for name in ("grey 16", "colour 16", "grey 16 tRNS", "colour 16 tRNS")] == [
        *[0] * 4
    ]


def test_damaged_exif_is_passed_over_in_both_kinds_of_file(differences):
    names = {f"{kind}: {fault}" for kind in ("EXIF", "eXIf") for fault in DAMAGED_EXIF}
    found = {stored.name: each["serve_bytes"] for stored, each in differences.items()}
    assert {name: found[name] for name in names} == dict.fromkeys(names, 0)
