"""Shipped models: by name, from every command and from Python, out of a checkout and a wheel.

The models are stand-ins: untrained networks that the real exporter has published.
"""

import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tf_deconv import UserError, artifacts, cli, restoring, shipped
from tf_deconv.config import ExportConfig
from tf_deconv.inference import Artifact
from tf_deconv.tasks import TASKS


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with the stand-ins denoise-color and denoise-grey."""
    import keras

    from tf_deconv import runs
    from tf_deconv.networks.article import build_article

    out, work = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("keras")
    for name, task in (("denoise-color", "denoise"), ("denoise-grey", "denoise-grey")):
        keras.utils.set_random_seed(3)
        channels = TASKS[task].channels_in
        model = build_article(None, None, channels, channels)
        description = dict(task=task, network="article", divisor=2, scale=1)
        runs.save_model(model, work / f"{name}.keras", description)
        config = ExportConfig(
            model=str(work / f"{name}.keras"),
            out=str(out),
            name=name,
            sizes="32",
            variants="float32",
        )
        assert not tf_deconv.export(config, report=lambda line: None).failures
    return out


@pytest.fixture
def here(models, monkeypatch, tmp_path):
    """Makes the stand-ins the only shipped models, and a folder of its own the present one."""
    monkeypatch.setenv(shipped.VARIABLE, str(models))
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "nowhere" / "tf_deconv")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def copy(models, here, monkeypatch):
    """The stand-ins again, to be damaged."""
    folder = shutil.copytree(models, here.parent / "copy")
    monkeypatch.setenv(shipped.VARIABLE, str(folder))
    return folder


def call(capsys, *arguments):
    code = cli.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def does(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert (code, err) == (0, ""), out + err
    return out


def refuses(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1, err
    assert out == ""
    return err


def noise(height=36, width=40, channels=3, dtype=np.uint8):
    random = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return random.random((height, width, channels)).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, True)


def write(path, mode="RGB", **options):
    Image.fromarray(noise(channels=4)).convert(mode).save(path, **options)
    return path


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
        artifacts.find_artifact(path)


def test_a_path_wins_over_a_name(capsys, here, run):
    shutil.copytree(run.folder, here / "denoise-color")
    out = does(capsys, "inspect", "denoise-color")
    assert "old-photo" in out
    assert "note: model denoise-color: the file or folder of that name here" in out


def test_a_model_that_is_not_there_says_where_was_looked(capsys, here, models):
    message = refuses(capsys, "inspect", "deblock")
    assert "'deblock' is not on this machine" in message
    assert str(models) in message
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


def test_inspect_without_a_model_lists_them(capsys, here, models):
    out = does(capsys, "inspect")
    assert all(name in out for name in shipped.MODELS)
    assert str(models / "denoise-grey") in out
    assert out.count("not on this machine") == len(shipped.MODELS) - 2
    listed = json.loads(does(capsys, "inspect", "--json"))
    assert listed["denoise-color"]["path"] == str(models / "denoise-color")
    assert listed["deblock"]["path"] is None


@pytest.mark.parametrize("command", ["restore", "evaluate", "inspect"])
def test_help_lists_the_shipped_models(capsys, command):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in shipped.MODELS)


# --- Commands.


def test_restore_takes_a_name_and_says_what_an_alias_means(capsys, here):
    write(here / "a.png")
    out = does(capsys, "restore", "denoise", "a.png")
    assert out.splitlines()[0] == "note: model denoise -> denoise-color"
    by_alias = (here / "restored" / "a.png").read_bytes()
    out = does(capsys, "restore", "denoise-color", "a.png", "--out", "again")
    assert "note" not in out
    assert (here / "again" / "a.png").read_bytes() == by_alias


def test_a_models_folder_restores_what_its_name_restores(capsys, here, models):
    write(here / "a.png")
    does(capsys, "restore", "denoise-color", "a.png", "--out", "name")
    does(capsys, "restore", models / "denoise-color", "a.png", "--out", "path")
    assert (here / "name" / "a.png").read_bytes() == (here / "path" / "a.png").read_bytes()


def test_inspect_of_a_name_tells_the_facts(capsys, here, models):
    out = does(capsys, "inspect", "denoise-gray")
    assert out.startswith("note: model denoise-gray -> denoise-grey\n")
    assert "1 channel, grey" in out
    assert "the files are those of the manifest" in out
    facts = json.loads(does(capsys, "inspect", "denoise-gray", "--json"))
    assert facts["path"] == str(models / "denoise-grey")


def test_evaluate_takes_a_name(capsys, here):
    (here / "in").mkdir()
    write(here / "in" / "a.png")
    out = does(capsys, "evaluate", "denoise", "--data", "in", "--no-classical")
    assert "note: model denoise -> denoise-color" in out
    assert json.loads((here / "evaluation" / "evaluation.json").read_text())["task"] == "denoise"


# --- Checksums.


@pytest.mark.parametrize("named", [True, False])
def test_an_altered_file_is_named(capsys, here, copy, named):
    damaged = copy / "denoise-color" / "1" / "variables" / "variables.data-00000-of-00001"
    alter(damaged)
    write(here / "a.png")
    model = "denoise-color" if named else copy / "denoise-color"
    message = refuses(capsys, "restore", model, "a.png")
    assert f"{str(damaged)!r} is not the file that was exported" in message
    assert "install tf-deconv again" in message
    assert not (here / "restored").exists()


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_a_missing_file_is_named(capsys, here, copy, file):
    missing = copy / "denoise-color" / "1" / file
    missing.unlink()
    write(here / "a.png")
    for model in ("denoise-color", copy / "denoise-color"):
        for command in (("restore", model, "a.png"), ("inspect", model)):
            assert f"{str(missing)!r} is missing" in refuses(capsys, *command)


def test_an_older_version_does_not_stand_in_for_a_missing_one(here, copy):
    folder = copy / "denoise-color"
    (folder / "1").rename(folder / "0")
    with pytest.raises(UserError, match=r"1/saved_model.pb' is missing"):
        tf_deconv.load("denoise-color")
    # Of a path it does: whoever took the newest version away went back to it.
    assert artifacts.find_artifact(folder) == ("saved_model", folder / "0")


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
    tf_deconv.load("denoise-color")
    with pytest.raises(UserError, match=r"float32.tflite' is not the file that was exported"):
        tf_deconv.load(lite)
    # Away from its manifest there is nothing to compare it with.
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


# --- Grey and colour.


def test_a_grey_picture_comes_back_grey_from_a_colour_model(capsys, here):
    write(here / "a.png", "L")
    write(here / "b.png", "LA")
    write(here / "c.png")
    out = does(capsys, "restore", "denoise-color", "a.png", "b.png", "c.png")
    said = "note: grey pictures: repeated in three channels, and written grey again"
    assert out.count(said) == 1
    modes = []
    for name in ("a.png", "b.png", "c.png"):
        with Image.open(here / "restored" / name) as image:
            modes.append(image.mode)
    assert modes == ["L", "LA", "RGB"]
    # What is written is the luminance of what the model gives.
    with Image.open(here / "a.png") as image:
        grey = np.asarray(image)[..., np.newaxis] / np.float32(255)
    colour = tf_deconv.load("denoise-color")(np.repeat(grey, 3, -1)).astype(np.float64)
    expected = np.rint(np.clip(colour @ [0.299, 0.587, 0.114], 0, 1) * 255)
    with Image.open(here / "restored" / "a.png") as image:
        assert np.abs(np.asarray(image) - expected).max() <= 1


def test_a_colour_picture_in_a_grey_model_names_the_colour_model(capsys, here):
    write(here / "a.png")
    out = does(capsys, "restore", "denoise-grey", "a.png")
    assert "the model takes and gives grey alone; denoise-color keeps colours" in out
    with Image.open(here / "restored" / "a.png") as image:
        assert image.mode == "L"


@pytest.mark.parametrize(
    ("channels", "model", "task", "as_grey", "said"),
    [
        (3, (3, 3), "denoise", False, ""),
        (1, (1, 3), "colorize", False, ""),
        (1, (1, 1), "denoise-grey", False, ""),
        (3, (1, 3), "colorize", False, "makes its own colours"),
        (3, (1, 1), None, False, "gives grey alone"),
        (3, (3, 1), None, False, "gives grey alone"),
        (1, (3, 3), "deblock", True, "written grey again"),
        (1, (4, 3), "inpaint", True, "written grey again"),
        # Pairs may have taught it to colour.
        (1, (3, 3), "paired", False, "written in colour"),
        (1, (3, 3), None, False, "written in colour"),
    ],
)
def test_what_is_said_where_grey_meets_colour(channels, model, task, as_grey, said):
    artifact = Artifact(lambda batch: batch, *model, 1, 1, 0)
    received = restoring.choose_conversion(channels, artifact, task)
    assert received[0] is as_grey
    assert said in received[1]
    assert bool(said) == bool(received[1])


def test_transparency_and_16_bits_come_back_from_a_shipped_model(capsys, here):
    from tf_deconv.picture_io import Picture, read_picture, write_picture

    pixels, alpha = noise(dtype=np.uint16), noise(channels=1, dtype=np.uint16)
    write_picture(Picture(pixels, alpha, "PNG"), here / "deep.png")
    write_picture(Picture(pixels[..., :1], alpha, "PNG"), here / "grey.png")
    does(capsys, "restore", "denoise-color", "deep.png", "grey.png")
    for name, channels in (("deep.png", 3), ("grey.png", 1)):
        restored = read_picture(here / "restored" / name, 10**6)
        assert restored.bit_depth == 16
        assert restored.pixels.shape[-1] == channels
        np.testing.assert_array_equal(restored.alpha, alpha)


# --- Python.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (37, 53)])
def test_load_restores_any_size_in_its_own_type(here, dtype, size):
    model = tf_deconv.load("denoise")
    image = noise(*size, dtype=dtype)
    restored = model(image)
    assert (restored.shape, restored.dtype) == (image.shape, dtype)
    np.testing.assert_array_equal(restored, model.restore(image))


def test_load_takes_a_path_and_options(here, models):
    image = noise()
    whole = tf_deconv.load("denoise-color")(image).astype(int)
    tiled = tf_deconv.load(models / "denoise-color", tile_size=24)(image)
    assert np.abs(tiled - whole).max() <= 1
    mean = tf_deconv.load(str(models / "denoise-color"), self_ensemble=True)(image)
    assert np.abs(mean - whole).max() > 0


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((4, 5)), r"is \(4, 5\) of float64: .*image\[..., np.newaxis\]"),
        (np.zeros((4, 5, 2), np.uint8), "C 1, 3 or 4"),
        (np.zeros((0, 5, 3), np.uint8), "H and W of at least 1"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"expected \(H, W, C\)"),
        (np.zeros((4, 5, 3), np.int64), "expected uint8, uint16 or float"),
        (np.full((4, 5, 3), 255.0), r"values up to 255: expected \[0, 1\]; divide by 255"),
    ],
)
def test_what_is_no_image_is_refused(here, image, expected):
    with pytest.raises(UserError, match=expected):
        tf_deconv.load("denoise-color")(image)


@pytest.mark.parametrize("options", [{"tile_size": -1}, {"tile_size": "3"}, {"tile_size": 5}])
def test_load_checks_its_options(here, options):
    with pytest.raises(UserError, match=r"tile_size=.*expected"):
        tf_deconv.load("denoise-color", **options)


def test_names_are_found_without_tensorflow(models, run_python):
    code = (
        "import os, sys, tf_deconv\n"
        f"os.environ['{shipped.VARIABLE}'] = sys.argv[1]\n"
        "from tf_deconv import cli, shipped\n"
        "shipped.find('denoise'); cli.main(['inspect'])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    assert str(models) in run_python(code, models)


# --- What is packed.


def test_git_and_the_source_archive_hold_the_shipped_names_alone(repository):
    ignored = (repository / ".gitignore").read_text().splitlines()
    kept = [line for line in ignored if line.startswith("!saved_models/") and line[-1] == "/"]
    assert kept == [f"!saved_models/{name}/" for name in shipped.MODELS]
    assert "saved_models/*" in ignored
    packed = (repository / "MANIFEST.in").read_text().splitlines()
    assert packed == [f"recursive-include saved_models/{name} *" for name in shipped.MODELS]


def test_the_page_lists_the_shipped_models(repository):
    page = (repository / "saved_models" / "README.md").read_text()
    assert all(f"| `{name}` |" in page for name in shipped.MODELS)


@pytest.mark.slow
def test_the_wheel_holds_the_shipped_models_alone(repository, models, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    hidden = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "tf_deconv", source / "tf_deconv", ignore=hidden)
    shutil.copytree(models, source / "saved_models")
    shutil.copytree(models / "denoise-grey", source / "saved_models" / "my-own")
    # A Python of before 3.12 brings an older setuptools: pip then fetches one.
    recent = int(importlib.metadata.version("setuptools").split(".")[0]) >= 77
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path)]
    pip += ["--no-build-isolation"] if recent else []
    subprocess.run([*pip, "."], cwd=source, check=True, capture_output=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    expected = {
        f"tf_deconv/shipped_models/{path.relative_to(models).as_posix()}"
        for path in models.rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "/shipped_models/" in name}
        archive.extractall(tmp_path / "site")
    assert names == expected
    # In a folder of its own it finds its models.
    code = "from tf_deconv import shipped; print(shipped.find('denoise'))"
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
