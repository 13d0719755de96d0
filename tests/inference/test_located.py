"""A command locates its model once: counted, whatever name the functions were imported under."""

import collections
import contextlib
import shutil
import sys

import pytest

from tests.fixtures.commands import does
from tests.fixtures.picture_folders import write_noise
from tf_deconv.evaluation.inspect import inspect_artifact
from tf_deconv.inference import artifacts, descriptions, located, run_folder
from tf_deconv.inference.located import locate
from tf_deconv.utils import options

LOCATES, PARSES, VALIDATES = located._find, descriptions.parse_json, options.validate
OPENS = {
    "saved_model": artifacts._open_saved_model,
    "export": artifacts._open_tflite,
    "tflite": artifacts._open_tflite,
    "keras": run_folder.load_any_model,
}


@contextlib.contextmanager
def counting(*functions):
    """Yields how often each function was called in this thread."""
    codes = {function.__code__: function for function in functions}
    counts = collections.Counter(dict.fromkeys(functions, 0))

    def profile(frame, event, _):
        if event == "call" and frame.f_code in codes:
            counts[codes[frame.f_code]] += 1

    sys.setprofile(profile)
    try:
        yield counts
    finally:
        sys.setprofile(None)


@pytest.fixture(params=["keras", "saved_model", "export", "tflite"])
def model(request, run, exported):
    kinds = {
        "keras": run.folder,
        "saved_model": exported.folder / "1",
        "export": exported.folder,
    }
    return request.param, kinds.get(request.param, exported.tflite("float32"))


def test_restore_looks_once(capsys, tmp_path, model):
    kind, path = model
    write_noise(tmp_path / "a.png")
    wanted = (LOCATES, PARSES, VALIDATES, OPENS[kind])
    with counting(*wanted) as counts:
        does(capsys, "restore", path, tmp_path / "a.png", "--out", tmp_path / "out")
    assert counts == dict.fromkeys(wanted, 1)


def test_evaluate_looks_once(capsys, tmp_path, model):
    kind, path = model
    kind = "saved_model" if kind == "export" else kind  # It measures the original.
    (tmp_path / "in").mkdir()
    write_noise(tmp_path / "in" / "a.png")
    arguments = ("--data", tmp_path / "in", "--out", tmp_path / "out", "--no-classical")
    wanted = (LOCATES, PARSES, VALIDATES, OPENS[kind])
    with counting(*wanted) as counts:
        does(capsys, "evaluate", path, *arguments)
    assert counts == dict.fromkeys(wanted, 1)


def test_inspect_looks_once(model):
    kind, path = model
    reads = run_folder.read_description if kind == "keras" else located._read_manifest
    wanted = (LOCATES, reads, OPENS[kind])
    with counting(*wanted) as counts:
        inspect_artifact(path)
    assert counts == dict.fromkeys(wanted, 1)


def test_a_located_model_says_what_it_is(tmp_path, exported):
    found = locate(exported.tflite("int8"))
    assert locate(found) is found
    assert (found.kind, found.task, found.generates) == ("tflite", "old-photo", False)
    assert found.manifest["name"] == found.known["name"]
    assert "kind='tflite'" in repr(found)
    assert len(repr(found)) < 1000
    alone = locate(shutil.copy(found.path, tmp_path / "alone.tflite"))
    assert alone.manifest is None
    assert alone.known == alone.own_facts == found.own_facts


def test_locating_needs_neither_tensorflow_nor_keras(exported, run, run_python):
    code = (
        "import sys\n"
        "from tf_deconv.inference.located import locate\n"
        "for path in sys.argv[1:]:\n"
        "    model = locate(path)\n"
        "    assert model.task == 'old-photo', model\n"
        "    model.check_files()\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    run_python(code, exported.folder, exported.tflite("int8"), run.folder)
