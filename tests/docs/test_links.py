"""Every link of every page leads to something."""

import re

import pytest

from tests.fixtures import pages

# [text](target), ![text](target), <img src="target">, [name]: target
_LINKS = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"|^\[[^\]]+\]: +(\S+)",
    flags=re.MULTILINE,
)
_INLINE_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", flags=re.DOTALL)


def broken_links(page):
    prose, _ = pages.split(page)
    prose = _INLINE_CODE.sub("", prose)
    faults = []
    for groups in _LINKS.findall(prose):
        target = next(filter(None, groups))
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (pages.ROOT / page.parent / path).resolve() if path else pages.ROOT / page
        if not found.exists():
            faults.append(f"{page}: {target} does not exist")
            continue
        headings = (
            pages.anchors(found.relative_to(pages.ROOT)) if found.suffix == ".md" else {anchor}
        )
        if anchor and anchor not in headings:
            faults.append(f"{page}: {target} has no such heading")
    return faults


@pytest.mark.parametrize("page", pages.pages(), ids=str)
def test_relative_links_and_anchors_exist(page):
    assert broken_links(page) == []


def test_every_guide_has_a_place_in_the_site():
    # Sphinx says so too, but only where it is installed.
    listed = set()
    for index in ("index", "how-to", "background", "reference/index", "tutorials/index"):
        page = pages.ROOT / "docs" / f"{index}.md"
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for entry in re.findall(r"^(?!:)(?:.*<)?([^<>\n]+?)>?$", block, flags=re.MULTILINE):
                name = entry.strip("/") if entry.startswith("/") else None
                path = pages.ROOT / name if name else page.parent / entry
                listed.add(path.resolve().relative_to(pages.ROOT).as_posix())
    expected = {
        page.with_suffix("").as_posix() for page in pages.pages() if page.parts[0] == "docs"
    }
    decisions = {name for name in expected if name.startswith("docs/decisions/0")}
    assert expected - decisions - listed == {"docs/index"}
