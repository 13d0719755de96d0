"""What the house promises about itself."""

import re
import subprocess
import sys

import pytest


def tracked_files(repository):
    listed = subprocess.run(
        ["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [
        repository / name for name in listed.stdout.splitlines() if (repository / name).is_file()
    ]


def test_every_package_and_no_stray_module_is_in_the_architecture_page(repository):
    page = (repository / "ARCHITECTURE.md").read_text()
    packages = {path.parent.name for path in (repository / "tf_deconv").glob("*/__init__.py")}
    assert not [name for name in packages if f"`{name}/`" not in page]
    modules = {path.name for path in (repository / "tf_deconv").glob("*.py")}
    assert modules == {"__init__.py", "__main__.py", "api.py"}


def test_links_of_the_documents_lead_somewhere(repository):
    broken = []
    for path in tracked_files(repository):
        if path.suffix != ".md":
            continue
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            if not (path.parent / target).exists():
                broken.append(f"{path.name}: {target}")
    assert not broken


def test_every_page_that_tells_the_version_tells_the_same(repository):
    import tf_deconv

    citation = (repository / "CITATION.cff").read_text(encoding="utf-8")
    facts = dict(re.findall(r"^(version|date-released): (\S+)$", citation, re.MULTILINE))
    changelog = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.search(r"^## \[(\d\S*)\] - (\S+)$", changelog, re.MULTILINE)
    assert facts == {"version": released[1], "date-released": released[2]}
    assert tf_deconv.__version__ == released[1]


def test_public_names_resolve():
    import tf_deconv

    for name in tf_deconv.__all__:
        assert getattr(tf_deconv, name) is not None


def test_importing_sets_no_seed_and_no_policy():
    code = (
        "import keras; before = keras.config.dtype_policy().name\n"
        "import tf_deconv.training.trainer, tf_deconv.exporting.pipeline\n"
        "from keras.src.backend.common import global_state\n"
        "assert global_state.get_global_attribute('global_rng_seed') is None\n"
        "assert keras.config.dtype_policy().name == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
