"""What the site takes from the program is all that the program has."""

import importlib.util

import pytest

from tests.fixtures import pages
from tf_deconv.cli.parser import make_parser


@pytest.fixture(scope="module")
def generated():
    spec = importlib.util.spec_from_file_location("generated", pages.ROOT / "docs" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_of_every_command_is_in_the_reference(generated):
    text = generated.commands()
    for name, parser in generated.subparsers(make_parser()).items():
        section = f"\n{text}".partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        shown = [action for action in parser._actions if action.dest != "help"]
        flags = [flag for action in shown for flag in action.option_strings]
        assert [flag for flag in flags if flag not in section] == []
        # Search shows this before an option's name; it once was the usage of the whole program.
        assert f"\n```{{program}} tf-deconv {name}\n" in section


def test_a_page_gets_its_parts_where_a_line_asks_for_them(generated):
    # A page that told of the way to ask for a part once got that part.
    told = "`<!-- generated: models -->` is replaced"
    assert generated.fill(told) == told
    assert "`photo`" in generated.fill("# Models\n\n<!-- generated: models -->\n")
    with pytest.raises(KeyError, match="modles"):
        generated.fill("<!-- generated: modles -->")


def test_pages_ask_for_parts_that_exist(generated):
    for page in pages.pages():
        if page.suffix == ".md":
            generated.fill(pages.text_of(page))
