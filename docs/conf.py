"""How Sphinx makes the site of the Markdown in this repository: `make docs`, docs/decisions/0029.

The source folder is the repository's root, so that a link between two files is the same here, on a
code host and in an editor. Parts that repeat what the program knows are made of the program while
the site is built: `<!-- generated: NAME -->` in a page is replaced by `generated.NAME()`.
"""

from __future__ import annotations

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import generated  # noqa: E402  Found on the path that was just set.

import tf_deconv  # noqa: E402

project = "tf_deconv"
author = "the authors of tf_deconv"
copyright = "the authors of tf_deconv, MIT License"
version = release = tf_deconv.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "examples/README.md",
    "examples/*/README.md",
    "benchmarks/*.md",
    "findings/README.md",
    "saved_models/README.md",
    "*.md",
]
# The README is the code host's first page, as docs/index.md is the site's.
exclude_patterns = [
    "README.md",
    *("**/node_modules", "docs/notebooks/work"),
    *("site", "build", "dist", "runs", ".*"),
]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]

# Headings have the anchors that code hosts give them.
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
# Notebooks are shown as they were committed; `pytest -m clients tests/docs` runs them.
nb_execution_mode = "off"
nb_merge_streams = True
# What runtimes say about themselves.
nb_output_stderr = "remove"

# Quotes stay as they were typed. (Dashes do not: Sphinx itself writes two for one.)
smartquotes_action = "D"
# A name in single backticks is code in the docstrings of this project.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# A user's own lines: no prompts to copy.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "tf_deconv"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"docs/index": [], "docs/background": ["sidebar-nav-bs"]}
html_theme_options = {
    "logo": {"text": "tf_deconv"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
}

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s:]+)\)")


def _prepare(app, docname, source) -> None:
    """Puts in what the program knows, and leads links to folders to their README."""
    if pathlib.Path(app.env.doc2path(docname)).suffix != ".md":
        return
    folder = (ROOT / docname).parent

    def led(link: re.Match) -> str:
        text, target = link.groups()
        if (folder / target).resolve() == ROOT / "README.md":
            return f"[{text}]({os.path.relpath(ROOT / 'docs' / 'index.md', folder)})"
        if not (folder / target).is_dir():
            return link[0]
        readme = f"{target.rstrip('/')}/README.md"
        return f"[{text}]({readme})" if (folder / readme).is_file() else text

    source[0] = generated.fill(_LINK.sub(led, source[0]))


def _lead_to_the_start(app, exception) -> None:
    """Leads from the site's root to the start page, which lies in docs/ as its source does."""
    if exception is None and app.builder.name == "html":
        page = '<!doctype html><meta charset="utf-8"><title>tf_deconv</title>'
        page += '<meta http-equiv="refresh" content="0; url=docs/index.html">'
        page += '<a href="docs/index.html">tf_deconv</a>\n'
        pathlib.Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _prepare)
    app.connect("build-finished", _lead_to_the_start)
