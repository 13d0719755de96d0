"""The web page, without a browser: written whole, of any models, and nothing else lost for it."""

import base64
import hashlib
import json
import re
import shutil
import types

import numpy as np
import pytest

from tests.fixtures.commands import does, refuses
from tests.fixtures.web_pages import write_library
from tf_deconv.exporting.web import build, golden, ready, words
from tf_deconv.inference import artifacts, located, shipped
from tf_deconv.utils.options import UserError


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Files by the names that the runtime has."""
    return write_library(tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def own_library(tmp_path):
    """The same, to be changed."""
    return write_library(tmp_path)


def write(exported, out, library):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    build.write_web([build.PageModel(exported.tflite("float32"), manifest)], out, library)


def page_of(capsys, out, library, *models, expected=0):
    options = ("--web", out, "--web-library", library)
    said = does(capsys, "export", *models, *options, expected=expected)
    return said, json.loads((out / "model.json").read_text())


def files_of(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_the_page_is_complete_and_asks_no_other_host(exported, tmp_path, library):
    out = tmp_path / "page"
    write(exported, out, library)
    facts = json.loads((out / "model.json").read_text())
    assert set(facts["page_files"]) == files_of(out)
    (about,) = facts["models"]
    assert (about["channels_in"], about["channels_out"], about["divisor"]) == (1, 3, 2)
    model = exported.tflite("float32").read_bytes()
    assert (out / about["file"]).read_bytes() == model
    assert about["sha256"] == hashlib.sha256(model).hexdigest()
    assert (about["task"], about["size_bytes"]) == ("old-photo", len(model))
    for path in out.glob("*.*"):
        if path.suffix in (".html", ".js", ".css", ".webmanifest"):
            assert "//cdn" not in path.read_text()
            assert "https://" not in path.read_text()
    assert "VERSION" not in (out / "sw.js").read_text()
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in out.rglob("*"))
    assert [path.name for path in tmp_path.glob(".web-*")] == []


def test_every_file_that_the_pages_name_is_there():
    for parts in (build.RESTORING, build.GENERATING):
        there = {p.name for part in parts for p in (build.PAGES / part).iterdir()}
        for part in parts:
            for path in (build.PAGES / part).glob("*.*"):
                named = re.findall(
                    r'(?:from|import\(|URL\(|src=|href=) ?"(?:\./)?([\w.-]+)"', path.read_text()
                )
                assert set(named) <= there | {"LICENSES.txt"}, path


def test_the_licences_of_what_is_in_the_page_are_told(exported, tmp_path, library):
    write(exported, tmp_path / "page", library)
    text = (tmp_path / "page" / "LICENSES.txt").read_text()
    assert "Apache License" in text
    assert "TERMS AND CONDITIONS FOR USE" in text
    assert "lib/mediabunny: mediabunny 1.61.0, under the Mozilla Public License" in text
    assert "https://github.com/Vanilagy/mediabunny" in text
    assert {"index.js", "LICENSE", "package.json"} == files_of(
        tmp_path / "page" / "lib" / "mediabunny"
    )
    film_copy = (tmp_path / "page" / "lib" / "mediabunny" / "index.js").read_text()
    assert film_copy.startswith("// Changed by tf_deconv")
    assert build._ENDING in film_copy
    assert build._ENDLESS not in film_copy
    # A copy that was changed says so, as that licence wants.
    copy = (tmp_path / "page" / "lib" / "core" / "index.js").read_text()
    assert copy.startswith("// Changed by tf_deconv")
    assert build._BY_PATH in copy
    assert build._IMPORTS not in copy


def test_a_new_network_is_a_new_cache(exported, tmp_path, own_library):
    out = tmp_path / "page"
    write(exported, out, own_library)
    before = (out / "sw.js").read_text()
    write(exported, out, own_library)
    assert (out / "sw.js").read_text() == before
    index = own_library / "core" / "dist" / "index.js"
    index.write_text(index.read_text() + "another")
    write(exported, out, own_library)
    assert (out / "sw.js").read_text() != before


def test_a_folder_of_something_else_is_left_alone(exported, tmp_path, library):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is not empty and no earlier page"):
        write(exported, tmp_path / "mine", library)
    with pytest.raises(UserError, match="is a file"):
        build.check_target(tmp_path / "mine" / "letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_model_json_of_someone_elses_is_no_earlier_page(tmp_path):
    # TensorFlow.js calls its models that: a folder of one was taken for a page, and replaced.
    (tmp_path / "model.json").write_text('{"format": "layers-model", "page_files": 3}')
    with pytest.raises(UserError, match=r"it holds 'model\.json'"):
        build.check_target(tmp_path)


def test_a_file_added_to_an_earlier_page_is_not_lost(exported, tmp_path, library):
    out = tmp_path / "page"
    write(exported, out, library)
    (out / "CNAME").write_text("pictures.example")
    with pytest.raises(UserError, match="it holds 'CNAME'"):
        write(exported, out, library)
    assert (out / "CNAME").read_text() == "pictures.example"


def test_an_earlier_page_comes_back_when_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("earlier")
    with pytest.raises(UserError, match="cannot be replaced: No such file"):
        build._put(tmp_path / "missing", tmp_path / "page")
    assert (tmp_path / "page" / "index.html").read_text() == "earlier"


def test_npms_cause_is_told_and_not_where_its_log_is(tmp_path, monkeypatch):
    stderr = (
        "npm warn old\nnpm error code ETARGET\nnpm error notarget No matching version found.\n"
        "npm error A complete log of this run can be found in: somewhere\n"
    )
    done = types.SimpleNamespace(returncode=1, stderr=stderr)
    monkeypatch.setattr(build.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(UserError, match=r"1\.61\.0: notarget No matching version found; name a"):
        build._fetch(tmp_path)


def test_without_the_runtime_the_way_to_get_it_is_told(own_library, monkeypatch):
    (own_library / "core" / "wasm" / "litert_wasm_internal.wasm").unlink()
    with pytest.raises(UserError, match=r"no core/wasm/litert_wasm_internal.wasm: .*npm install"):
        build.find_library(str(own_library))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="install npm, or name a node_modules"):
        build.find_library(None)


def test_what_takes_films_apart_must_lie_beside_the_runtime(own_library):
    folder = own_library.parent / "mediabunny"
    (folder / "package.json").write_text('{"version": "1.0.0"}')
    with pytest.raises(UserError, match=r"mediabunny beside it is 1\.0\.0: expected .*@1\.61\.0"):
        build.find_library(str(own_library))
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"no mediabunny/package\.json beside it: .*npm install"):
        build.find_library(str(own_library))


def test_a_runtime_of_another_version_is_refused(exported, tmp_path, own_library):
    (own_library / "core" / "dist" / "index.js").write_text("export const another = 1;")
    with pytest.raises(UserError, match=r"is not that of @litertjs/core 2\.5\.3; expected"):
        write(exported, tmp_path / "page", own_library)
    assert not (tmp_path / "page").exists()


# --- Models that are exported already.


def test_one_page_has_all_models_that_are_named(capsys, tmp_path, library):
    out = tmp_path / "page"
    said, facts = page_of(capsys, out, library, "photo-small", "super-resolve-x4", "denoise-gray")
    # The names that stand on the page, an alias's too; the first one is what it begins with.
    names = ["photo-small", "super-resolve-x4", "denoise-grey"]
    assert [model["name"] for model in facts["models"]] == names
    assert set(facts["page_files"]) == files_of(out)
    for model in facts["models"]:
        source = shipped.find(model["name"]) / "tflite" / model["file"]
        assert (out / model["file"]).read_bytes() == source.read_bytes()
        # Half the size, and the picture of Keras.
        assert model["file"].endswith("-float16.tflite")
    assert "next: python -m http.server --directory" in said


def test_a_shipped_models_page_takes_neither_a_run_nor_tensorflow(run_python, tmp_path, library):
    code = (
        "import sys\n"
        "from tf_deconv.cli.main import main\n"
        "assert main(['export', *sys.argv[1:]]) == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    run_python(code, "all", "--web", tmp_path / "page", "--web-library", library)
    facts = json.loads((tmp_path / "page" / "model.json").read_text())
    assert {model["name"] for model in facts["models"]} == set(shipped.MODELS)
    assert facts["models"][0]["name"] == shipped.DEFAULT


def test_an_export_of_ones_own_stands_beside_shipped_models(capsys, exported, tmp_path, library):
    _, facts = page_of(capsys, tmp_path / "page", library, exported.folder, "photo-small")
    assert [model["title"] for model in facts["models"]] == [
        "old-photo-article",
        "Clean up a photograph, quickly",
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("photo", "deblock"), "expected one; --web DIR takes several"),
        (("all",), "expected one; --web DIR takes several"),
        (("photo", "deblock", "--sizes", "64", "--web", "OUT"), "--sizes with several models"),
        (("photo", "photo", "--web", "OUT"), "two models are called 'photo'"),
        (("photo", "nothing", "--web", "OUT"), "'nothing' does not exist"),
        (("photo", "OUT/..", "--web", "OUT"), "is not exported: expected the name of a shipped"),
    ],
)
def test_what_makes_no_page_is_one_line(capsys, tmp_path, library, arguments, expected):
    given = [str(word).replace("OUT", str(tmp_path / "page")) for word in arguments]
    options = ("--web-library", library) if "--web" in given else ()
    assert expected in refuses(capsys, "export", *given, *options)
    assert not (tmp_path / "page").exists()


def test_a_runtime_without_a_page_is_refused(capsys, library):
    # It was passed over without a word, and no page was written.
    received = refuses(capsys, "export", "photo-small", "--web-library", library)
    assert "with no --web: leave it out" in received


def test_a_file_that_was_changed_makes_no_page(capsys, tmp_path, library):
    model = tmp_path / "model"
    shutil.copytree(shipped.find("photo-small"), model)
    path = model / "tflite" / "photo-small-float16.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    options = ("--web", tmp_path / "page", "--web-library", library)
    assert "is not the file that was exported" in refuses(capsys, "export", model, *options)
    path.unlink()
    assert "does not exist" in refuses(capsys, "export", model, *options)
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize("first", ["index.html", "film.html"])
def test_a_network_with_a_state_is_on_the_page_for_films(tmp_path, library, monkeypatch, first):
    path = tmp_path / "moving-float32.tflite"
    path.write_bytes(b"network")
    known = dict(name="moving", task="denoise", channels_in=3, channels_out=3, divisor=4, scale=1)
    known |= dict(tflite_sizes=[[64, 96]], tile_overlap=24)
    asked = []
    for kind in ("answer", "answer_of_stream"):
        monkeypatch.setattr(golden, kind, lambda *given, kind=kind: asked.append(kind) or "AAAA")
    state = {"channels": 21, "stride": 2, "start": 0.0, "latency_frames": 0}
    models = [build.PageModel(path, known | {"state": state})]
    if first == "film.html":  # Beside one of pictures, whose page is the first.
        (tmp_path / "still.tflite").write_bytes(b"another")
        models.append(build.PageModel(tmp_path / "still.tflite", known | {"name": "still"}))
    build.write_web(models, tmp_path / "page", library)
    facts = json.loads((tmp_path / "page" / "model.json").read_text())
    assert [model["state"] for model in facts["models"]] == [state, None][: len(models)]
    assert asked == ["answer_of_stream", "answer"][: len(models)]
    assert set(facts["page_files"]) == files_of(tmp_path / "page")
    assert "<title>Restore films</title>" in (tmp_path / "page" / first).read_text()
    assert ("film.html" in files_of(tmp_path / "page")) == (first == "film.html")


def test_a_generator_stands_alone(tmp_path, library):
    models = [
        build.PageModel(tmp_path / "a.tflite", {"name": "a", "generator": {}}),
        build.PageModel(tmp_path / "b.tflite", {"name": "b"}),
    ]
    with pytest.raises(UserError, match="'a', 'b' on one page: a generator has a page of its own"):
        build.write_web(models, tmp_path / "page", library)


def test_a_float16_file_that_loses_something_is_not_taken():
    def entry(variant, **parity):
        return {"file": f"tflite/m-{variant}.tflite", "parity": parity}

    exact, near = entry("float32", exact=True), entry("float16", psnr_db=127.5, exact=False)
    rounded = entry("float16", psnr_db=72.3, exact=False)
    choose = ready.choose_file
    assert choose({"name": "m", "files": [exact, near]}) is near
    assert choose({"name": "m", "files": [exact, rounded]}) is exact
    # The pages of generators are tried with float32 alone.
    assert choose({"name": "m", "files": [exact, near], "generator": {}}) is exact
    assert choose({"name": "m", "files": [rounded]}) is None


def test_every_shipped_model_is_told_in_plain_words():
    jargon = re.compile(
        r"sigma|psnr|\bdB\b|gaussian|noise|/255|int8|float|network|jpe?g quality", re.I
    )
    assert set(words.SHIPPED) == set(shipped.MODELS)
    for name, told in words.SHIPPED.items():
        assert not jargon.search(f"{told.title} {told.summary} {told.note}"), name
        assert len(told.title) <= 32
    assert words.words_for("mine", "deblock").title == "mine"
    assert words.words_for("mine", None).summary.endswith("out.")


def test_what_a_gpu_must_answer_is_what_the_model_makes():
    path = shipped.find("photo-small") / "tflite" / "photo-small-float16.tflite"
    answer = np.frombuffer(base64.b64decode(golden.answer(path, (256, 256))), np.uint8)
    drawn = golden.draw(256, 256, 3)
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    restored = artifacts.open_artifact(path).run(drawn[np.newaxis])[0, ::8, ::8]
    expected = 255 * np.clip(restored, 0, 1)
    assert np.abs(answer.reshape(32, 32, 3) - expected).max() <= 0.51
    # Neither what goes in, nor one colour: a network that does nothing is found out.
    assert np.abs(answer.reshape(32, 32, 3) - 255 * drawn[::8, ::8]).mean() > 3
    holes = golden.draw(20, 30, 4)
    assert set(np.unique(holes[..., 3])) == {0, 1}
    assert not holes[holes[..., 3] == 0].any()


def test_windows_overlap_by_what_matters_in_8_bits():
    near = located.locate("photo").known
    assert build._overlap(near) == 28 < near["tile_overlap"]
    assert build._overlap({"tile_overlap": 48, "divisor": 4}) == 48
    assert build._overlap({"tile_overlap": None, "effective_reach": 3, "divisor": 4}) is None
    assert build._overlap({"tile_overlap": 8, "effective_reach": 9, "divisor": 4}) == 8
