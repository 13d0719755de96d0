"""Every Python snippet of every page compiles and uses no name that the page does not define."""

import json
import subprocess
import sys

import pytest

from tests.fixtures import pages

# What a page shows of other programs, not to be typed by its reader.
NOT_OURS = {
    "docs/article.md": "the article's program, faults and all",
    "docs/decisions": "excerpts that argue for a choice",
}


def snippets():
    """Returns {page: its snippets as one program}."""
    found = {}
    for page in pages.pages():
        if any(str(page).startswith(path) for path in NOT_OURS):
            continue
        texts = [block.text for block in pages.split(page)[1] if block.language == "python"]
        if texts:
            found[page] = "\n\n".join(texts) + "\n"
    return found


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What ruff says of each page's snippets: {page: [messages]}."""
    folder = tmp_path_factory.mktemp("snippets")
    names = {}
    for number, (page, program) in enumerate(snippets().items()):
        path = folder / f"{number}.py"
        path.write_text(program)
        names[str(path)] = page
    # F: undefined names, and what else is a mistake; a page may import again what it needs again.
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--output-format", "json"]
    command += ["--select", "F", "--ignore", "F401,F811,F841", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    said = {}
    for fault in json.loads(done.stdout):
        said.setdefault(names[fault["filename"]], []).append(fault["message"])
    return said


@pytest.mark.parametrize("page", snippets(), ids=str)
def test_snippets_are_complete(page, faults):
    assert faults.get(page, []) == []
