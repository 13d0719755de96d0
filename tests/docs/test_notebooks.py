"""The notebooks: small, whole, without anything of the machine that ran them, and runnable."""

import json
import os
import re

import pytest

from tests.fixtures import pages

NOTEBOOKS = [path for path in pages.pages() if path.suffix == ".ipynb"]
_LARGEST_BYTES = 1_000_000
# A home, a temporary or a mounted folder.
_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|mnt|Users|usr|opt)/[^\s\"']*")


def cells_of(path):
    cells = json.loads((pages.ROOT / path).read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_are_two():
    assert {path.stem for path in NOTEBOOKS} == {"restore", "train_and_export"}


def test_notebooks_are_small():
    assert sum((pages.ROOT / path).stat().st_size for path in NOTEBOOKS) < _LARGEST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_were_run_in_order_and_show_nothing_of_the_machine(path):
    cells = cells_of(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    shown = [{**output.get("data", {}), "image/jpeg": "", "image/png": ""} for output in outputs]
    said = json.dumps([[output.get("text") for output in outputs], shown])
    assert _MACHINE.findall(said) == []
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 2


@pytest.mark.clients
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_from_start_to_end(path, tmp_path, monkeypatch):
    if os.environ.get("TF_DECONV_REQUIRE_CLIENTS") != "1":
        pytest.importorskip("nbclient")
        pytest.importorskip("ipykernel")
    import nbclient
    import nbformat

    monkeypatch.setenv("TF_DECONV_QUICK", "1")
    monkeypatch.setenv("PYTHONPATH", str(pages.ROOT))
    # As far from the pictures that it shows as in the repository.
    folder = tmp_path / path.parent
    folder.mkdir(parents=True)
    (folder.parent / "gallery").symlink_to(pages.ROOT / "docs" / "gallery")
    (tmp_path / "tf_deconv").symlink_to(pages.ROOT / "tf_deconv")
    notebook = nbformat.read(pages.ROOT / path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    last = [cell for cell in notebook.cells if cell["cell_type"] == "code"][-1]
    assert last["outputs"]
