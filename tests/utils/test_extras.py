"""What is told to be installed can be: the package itself is on no index."""

import pathlib
import re

import pytest

import tf_deconv
from tf_deconv.utils.extras import EXTRAS, TENSORFLOW, how_to_install

ROOT = pathlib.Path(tf_deconv.__file__).parents[1]


def test_the_packages_of_an_extra_are_those_of_the_project(repository):
    tomllib = pytest.importorskip("tomllib")  # Of Python 3.11.
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    for extra, packages in EXTRAS.items():
        assert tuple(project["optional-dependencies"][extra]) == packages, extra
    assert set(TENSORFLOW) < set(project["dependencies"])


def test_the_command_names_packages_and_quotes_what_a_shell_would_read():
    assert how_to_install("beam") == "pip install 'apache-beam>=2.72,<3'"
    assert how_to_install("onnx").count("'") == 6


def test_nothing_tells_to_install_the_package_from_an_index(repository):
    texts = [*ROOT.glob("tf_deconv/**/*.py"), *repository.glob("**/*.md")]
    assert len(texts) > 100
    for path in texts:
        if path.name == "extras.py" or ".venv" in path.parts:
            continue
        found = re.search(r"(pip install[^\n`]*)?\btf-deconv\[", path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found[0]}"
