"""Shipped models: found by name from every command, out of a checkout and a wheel, and unaltered.

The models are stand-ins: untrained networks that the real exporter has published.
"""

import importlib.metadata
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import zipfile

import pytest
from setuptools import Distribution
from setuptools.command import build_py

import tf_deconv
from tests.fixtures.commands import does, refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv import UserError
from tf_deconv.inference import shipped
from tf_deconv.inference.located import locate


@pytest.fixture
def copy(stand_ins, here, monkeypatch):
    """The stand-ins again, to be damaged."""
    folder = shutil.copytree(stand_ins, here.parent / "copy")
    monkeypatch.setenv(shipped.VARIABLE, str(folder))
    return folder


def alter(path):
    """Changes the last byte: the file's size stays what it was."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


# --- Names.


@pytest.mark.parametrize("alias", shipped.ALIASES)
def test_every_alias_leads_to_a_model(alias):
    assert alias not in shipped.MODELS
    assert shipped.canonical(alias) in shipped.MODELS


def test_case_and_underscores_do_not_count():
    assert shipped.canonical("Super_Resolve_X2") == "super-resolve-x2"


def test_colour_twins_are_models():
    twins = [model.in_colour for model in shipped.MODELS.values() if model.in_colour]
    assert twins
    assert set(twins) <= set(shipped.MODELS)


def test_a_misspelt_name_gets_the_nearest_and_the_list(capsys, here):
    message = refuses(capsys, "restore", "denoise-colr", "x.png")
    assert "'denoise-colr' does not exist (did you mean 'denoise-color'?)" in message
    assert "expected a run folder, a .keras file" in message
    assert all(name in message for name in shipped.MODELS)


@pytest.mark.parametrize("path", ["runs/x", "./denoise-color", "model.tflite", "../denoise"])
def test_what_looks_like_a_path_is_not_looked_up(here, path):
    with pytest.raises(UserError, match=r"does not exist: expected a run folder"):
        locate(path)


def test_a_path_wins_over_a_name(capsys, here, run):
    shutil.copytree(run.folder, here / "denoise-color")
    out = does(capsys, "inspect", "denoise-color")
    assert "old-photo" in out
    assert "note: model denoise-color: the file or folder of that name here" in out


def test_a_model_that_is_not_there_says_where_was_looked(capsys, here, stand_ins):
    message = refuses(capsys, "inspect", "deblock")
    assert "'deblock' is not on this machine" in message
    assert str(stand_ins) in message
    assert shipped.VARIABLE in message


def test_the_variable_comes_first_then_the_package_then_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "tf_deconv")
    monkeypatch.setenv(shipped.VARIABLE, f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    places = [tmp_path / "saved_models", tmp_path / "tf_deconv" / "shipped_models"]
    for place in (*places, tmp_path / "b", tmp_path / "a"):
        folder = place / "deblock"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text('{"files": []}')
        assert shipped.find("deblock") == folder


def test_inspect_without_a_model_lists_them(capsys, here, stand_ins):
    out = does(capsys, "inspect")
    assert all(name in out for name in shipped.MODELS)
    assert str(stand_ins / "denoise-grey") in out
    assert out.count("not on this machine") == len(shipped.MODELS) - 2
    listed = json.loads(does(capsys, "inspect", "--json"))
    assert listed["denoise-color"]["path"] == str(stand_ins / "denoise-color")
    assert listed["deblock"]["path"] is None


@pytest.mark.parametrize("command", ["restore", "evaluate", "inspect"])
def test_help_lists_the_shipped_models(capsys, command):
    out = does(capsys, command, "--help")
    assert all(f"  {name} " in out for name in shipped.MODELS)


def test_names_are_found_without_tensorflow(stand_ins, run_python):
    code = (
        "import os, sys, tf_deconv\n"
        f"os.environ['{shipped.VARIABLE}'] = sys.argv[1]\n"
        "from tf_deconv.cli.main import main\n"
        "from tf_deconv.inference import shipped\n"
        "shipped.find('denoise'); main(['inspect'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    assert str(stand_ins) in run_python(code, stand_ins)


# --- Commands.


def test_restore_takes_a_name_and_says_what_an_alias_means(capsys, here):
    write_noise(here / "a.png")
    out = does(capsys, "restore", "denoise", "a.png")
    assert out.splitlines()[1] == "note: model denoise -> denoise-color"
    by_alias = (here / "restored" / "a.png").read_bytes()
    out = does(capsys, "restore", "denoise-color", "a.png", "--out", "again")
    assert "note" not in out
    assert (here / "again" / "a.png").read_bytes() == by_alias


def test_a_models_folder_restores_what_its_name_restores(capsys, here, stand_ins):
    write_noise(here / "a.png")
    does(capsys, "restore", "denoise-color", "a.png", "--out", "name")
    does(capsys, "restore", stand_ins / "denoise-color", "a.png", "--out", "path")
    assert (here / "name" / "a.png").read_bytes() == (here / "path" / "a.png").read_bytes()


def test_inspect_of_a_name_tells_the_facts(capsys, here, stand_ins):
    out = does(capsys, "inspect", "denoise-gray")
    assert out.startswith("note: model denoise-gray -> denoise-grey\n")
    assert "1 channel, grey" in out
    assert "the files are those of the manifest" in out
    facts = json.loads(does(capsys, "inspect", "denoise-gray", "--json"))
    assert facts["path"] == str(stand_ins / "denoise-grey")


def test_evaluate_takes_a_name(capsys, here):
    (here / "in").mkdir()
    write_noise(here / "in" / "a.png")
    out = does(capsys, "evaluate", "denoise", "--data", "in", "--no-classical")
    assert "note: model denoise -> denoise-color" in out
    assert json.loads((here / "evaluation" / "evaluation.json").read_text())["task"] == "denoise"


# --- Checksums.


@pytest.mark.parametrize("named", [True, False])
def test_an_altered_file_is_named(capsys, here, copy, named):
    damaged = copy / "denoise-color" / "1" / "variables" / "variables.data-00000-of-00001"
    alter(damaged)
    write_noise(here / "a.png")
    model = "denoise-color" if named else copy / "denoise-color"
    message = refuses(capsys, "restore", model, "a.png")
    assert f"{str(damaged)!r} is not the file that was exported" in message
    assert "install tf-deconv again" in message
    assert not (here / "restored").exists()


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_a_missing_file_is_named(capsys, here, copy, file):
    missing = copy / "denoise-color" / "1" / file
    missing.unlink()
    write_noise(here / "a.png")
    for model in ("denoise-color", copy / "denoise-color"):
        for command in (("restore", model, "a.png"), ("inspect", model)):
            assert f"{str(missing)!r} is missing" in refuses(capsys, *command)


def test_an_older_version_does_not_stand_in_for_a_missing_one(here, copy):
    folder = copy / "denoise-color"
    (folder / "1").rename(folder / "0")
    with pytest.raises(UserError, match=r"1/saved_model.pb' is missing"):
        tf_deconv.load("denoise-color")
    # Of a path it does: whoever took the newest version away went back to it.
    found = locate(folder)
    assert (found.kind, found.path) == ("saved_model", folder / "0")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"files": [1]}'])
def test_a_shipped_model_without_its_manifest_is_refused(here, copy, content):
    path = copy / "denoise-color" / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"manifest.json' is missing or damaged"):
        tf_deconv.load("denoise-color")


def test_only_what_is_opened_is_checked(here, copy):
    lite = copy / "denoise-color" / "tflite" / "denoise-color-float32.tflite"
    alter(lite)
    tf_deconv.load("denoise-color", engine="tensorflow")
    with pytest.raises(UserError, match=r"float32.tflite' is not the file that was exported"):
        tf_deconv.load(lite)
    # Away from its manifest it is compared with the checksum in it.
    with pytest.raises(UserError, match=r"alone.tflite' is not the file that was exported"):
        tf_deconv.load(shutil.copy(lite, here / "alone.tflite"))


def test_inspect_tells_of_an_altered_model(capsys, here, copy):
    alter(copy / "denoise-color" / "1" / "assets.extra" / "tf_serving_warmup_requests")
    assert "THE FILES ARE NOT THOSE OF THE MANIFEST" in does(capsys, "inspect", "denoise-color")


def test_a_folder_of_tflite_files_alone_names_one(capsys, here, copy):
    folder = copy / "denoise-color"
    shutil.rmtree(folder / "1")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [entry for entry in manifest["files"] if entry["file"] != "1/"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    message = refuses(capsys, "inspect", folder)
    assert "holds no SavedModel: expected one of its files, such as" in message
    assert "tflite/denoise-color-float32.tflite" in message


# --- What is packed.


def test_git_holds_every_file_of_the_shipped_models_and_no_other_export(repository):
    # Exports are ignored, so that those of the shipped models are added by `git add -f`.
    if not (repository / ".git").exists():
        pytest.skip("no checkout")
    listed = ["git", "ls-files", "--", "saved_models"]
    done = subprocess.run(listed, cwd=repository, capture_output=True, text=True, check=True)
    tracked = {path for path in done.stdout.splitlines() if path.count("/") > 1}
    assert {path.split("/")[1] for path in tracked} <= set(shipped.MODELS)
    for name in shipped.MODELS:
        folder = repository / "saved_models" / name
        for path in (path for path in folder.rglob("*") if path.is_file()):
            assert path.relative_to(repository).as_posix() in tracked, "git add -f"


def test_the_source_archive_holds_the_shipped_models_alone(
    repository, stand_ins, monkeypatch, tmp_path
):
    # Not by building one, for which an older Python's setuptools is too old.
    commands = {}
    monkeypatch.setattr("setuptools.setup", lambda cmdclass: commands.update(cmdclass))
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = runpy.run_path(str(repository / "setup.py"))
    monkeypatch.setattr(build_py.build_py, "get_source_files", lambda self: ["tf_deconv/api.py"])
    monkeypatch.setitem(names["shipped_files"].__globals__, "ROOT", tmp_path)
    monkeypatch.setitem(
        names["shipped_files"].__globals__, "MODELS", ("denoise-color", "not-there")
    )
    (tmp_path / "saved_models").symlink_to(stand_ins)
    held = commands["build_py"](Distribution()).get_source_files()
    assert held[0] == "tf_deconv/api.py"
    assert "saved_models/denoise-color/1/saved_model.pb" in held
    assert all(name.startswith("saved_models/denoise-color/") for name in held[1:])


def test_the_page_lists_the_shipped_models(repository):
    page = (repository / "docs" / "models.md").read_text()
    assert all(f"| `{name}` |" in page for name in shipped.MODELS)


def test_the_default_model_comes_first():
    assert next(iter(shipped.MODELS)) == shipped.DEFAULT


def test_what_is_shipped_is_small(repository):
    # 60 MB in all, no file above 6: what a wheel and a clone can carry.
    folders = [repository / "saved_models" / name for name in shipped.MODELS]
    sizes = [p.stat().st_size for folder in folders for p in folder.rglob("*") if p.is_file()]
    assert max(sizes) < 6e6
    assert sum(sizes) < 60e6


@pytest.mark.slow
def test_the_wheel_holds_the_shipped_models_alone(repository, stand_ins, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "tf_deconv", source / "tf_deconv", ignore=hidden)
    shutil.copytree(stand_ins, source / "saved_models")
    shutil.copytree(stand_ins / "denoise-grey", source / "saved_models" / "my-own")
    # A Python of before 3.12 brings an older setuptools: pip then fetches one.
    recent = int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path)]
    pip += ["--no-build-isolation"] if recent else []
    subprocess.run([*pip, "."], cwd=source, check=True, capture_output=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    expected = {
        f"tf_deconv/shipped_models/{path.relative_to(stand_ins).as_posix()}"
        for path in stand_ins.rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "/shipped_models/" in name}
        archive.extractall(tmp_path / "site")
        # A module reads it beside itself; only pyproject.toml brings it into a wheel.
        assert any(name.endswith("/published.json") for name in archive.namelist())
    assert names == expected
    # In a folder of its own it finds its models.
    code = "from tf_deconv.inference import shipped; print(shipped.find('denoise'))"
    environment = {key: value for key, value in os.environ.items() if key != shipped.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "site",
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = pathlib.Path(done.stdout.strip())
    assert found == tmp_path / "site" / "tf_deconv" / "shipped_models" / "denoise-color"


def test_an_export_of_the_name_is_pointed_at(here, stand_ins):
    # After an export, `restore denoise-unet` was told to take denoise-grey.
    (here / "saved_models").mkdir()
    (here / "saved_models" / "denoise-unet").symlink_to(stand_ins / "denoise-color")
    path = os.path.join("saved_models", "denoise-unet")
    with pytest.raises(UserError, match=re.escape(f"does not exist (did you mean {path!r}?)")):
        shipped.find("denoise-unet")
    assert tf_deconv.load(path)
