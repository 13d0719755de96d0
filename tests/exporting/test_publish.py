"""A model folder is published as a whole: readers see the old set of files or the new one."""

import json
import os
import subprocess
import sys
import threading

import pytest

from tf_deconv.exporting import publish
from tf_deconv.utils import staging, swap

FILES = ("tflite/m-float32.tflite", "tflite/m-int8.tflite", "manifest.json", "README.md")


def staged(place, version):
    """A staged export whose every file tells its version."""
    folder = place / ".staged"
    for name in (*FILES, f"{version}/saved_model.pb", f"{version}/variables/variables.index"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(version))
    return folder


def put(place, version):
    publish.publish(staged(place, version), place / "m")


@pytest.fixture(params=["exchange", "renames"])
def way(request, monkeypatch):
    """With and without the system's exchange of two names."""
    if request.param == "renames":
        monkeypatch.setattr(swap, "_exchange", lambda first, second: False)
    elif not sys.platform.startswith("linux"):
        pytest.skip("only Linux exchanges names")
    return request.param


def test_a_reader_never_finds_files_of_two_exports(tmp_path):
    # TFLite files were replaced one by one, before their manifest.
    put(tmp_path, 1)
    stop, mixed, seen = threading.Event(), [], set()

    def read():
        while not stop.is_set():
            # One folder, opened once: what a path leads to may change between two looks.
            folder = os.open(tmp_path / "m", os.O_RDONLY)
            try:
                texts = set()
                for name in FILES:
                    with open(os.open(name, os.O_RDONLY, dir_fd=folder)) as stream:
                        texts.add(stream.read())
                if len(texts) > 1:
                    mixed.append(texts)
                seen.update(texts)
            except FileNotFoundError:  # The old folder is gone: look again.
                pass
            finally:
                os.close(folder)

    thread = threading.Thread(target=read)
    thread.start()
    for version in range(2, 60):
        put(tmp_path, version)
    stop.set()
    thread.join()
    assert mixed == []
    assert len(seen) > 3


def test_the_name_is_always_there_where_names_can_be_exchanged(tmp_path):
    put(tmp_path, 1)
    stop, missing = threading.Event(), []

    def look():
        while not stop.is_set():
            if not (tmp_path / "m" / "1" / "saved_model.pb").exists():
                missing.append("1")

    thread = threading.Thread(target=look)
    thread.start()
    for version in range(2, 40):
        put(tmp_path, version)
    stop.set()
    thread.join()
    assert missing == []


def test_an_open_file_of_the_old_export_is_read_to_its_end(tmp_path, way):
    put(tmp_path, 1)
    with open(tmp_path / "m" / FILES[0]) as stream:
        put(tmp_path, 2)
        assert stream.read() == "1"
    assert (tmp_path / "m" / FILES[0]).read_text() == "2"


def test_earlier_versions_and_a_users_own_files_stay(tmp_path, way):
    put(tmp_path, 1)
    inode = (tmp_path / "m" / "1" / "saved_model.pb").stat().st_ino
    (tmp_path / "m" / "NOTES.txt").write_text("mine")
    (tmp_path / "m" / "tflite" / "labels.txt").write_text("mine")
    (tmp_path / "m" / "tflite" / "stale.tflite").write_text("1")
    (tmp_path / "m" / "preview.jpg").write_text("stale")
    put(tmp_path, 2)
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"1", "2", "tflite", "manifest.json", "README.md", "NOTES.txt"}
    tflite = {path.name for path in (tmp_path / "m" / "tflite").iterdir()}
    assert tflite == {"m-float32.tflite", "m-int8.tflite", "labels.txt"}
    assert (tmp_path / "m" / "1" / "variables" / "variables.index").read_text() == "1"
    assert (tmp_path / "m" / "1" / "saved_model.pb").stat().st_ino == inode  # Not copied.
    assert os.listdir(tmp_path) == ["m"]


def test_a_link_to_a_model_folder_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    put(tmp_path / "elsewhere", 1)
    (tmp_path / "out" / "m").symlink_to(tmp_path / "elsewhere" / "m")
    put(tmp_path / "out", 2)
    assert (tmp_path / "out" / "m").is_symlink()
    assert json.loads((tmp_path / "elsewhere" / "m" / "manifest.json").read_text()) == 2


@pytest.mark.parametrize("where", ["before the exchange", "after it"])
def test_an_export_killed_while_it_publishes_leaves_a_whole_set(tmp_path, where):
    put(tmp_path, 1)
    code = (
        "import os, pathlib, signal, sys\n"
        "from tests.exporting import test_publish\n"
        "from tf_deconv.utils import staging, swap\n"
        "place, where = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "exchange = swap._exchange\n"
        "def killed(first, second):\n"
        "    done = where == 'after it' and exchange(first, second)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "swap._exchange = killed\n"
        "with staging.folder(place / 'm') as temporary:\n"
        "    new = test_publish.staged(temporary, 2)\n"
        "    test_publish.publish.publish(new, place / 'm')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), where], check=False)
    assert done.returncode == -9
    found = {(tmp_path / "m" / name).read_text() for name in FILES}
    assert found == ({"1"} if where == "before the exchange" else {"2"})
    assert len(os.listdir(tmp_path)) == 2
    staging.clear(tmp_path)
    assert os.listdir(tmp_path) == ["m"]


def test_without_an_exchange_the_next_export_brings_back_what_was_moved_aside(
    tmp_path, monkeypatch
):
    put(tmp_path, 1)
    os.replace(tmp_path / "m", tmp_path / ".m.before")
    swap.recover(tmp_path / "m")
    assert (tmp_path / "m" / "manifest.json").read_text() == "1"
    monkeypatch.setattr(swap, "_exchange", lambda first, second: False)
    with pytest.raises(FileNotFoundError):
        swap.put(tmp_path / "missing", tmp_path / "m")
    assert (tmp_path / "m" / "manifest.json").read_text() == "1"
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize(("seed", "which"), [(0, "this"), (1, "ANOTHER")])
def test_what_an_export_replaces_is_told(tmp_path, seed, which):
    # Two runs of one task and network replaced each other's files without a word.
    target, new = tmp_path / "m", tmp_path / "new"
    new.mkdir()
    (new / "manifest.json").write_text(json.dumps({"version": 2, "training": {"seed": 0}}))
    assert publish.told_of_the_earlier(target, new) is None
    (target / "1").mkdir(parents=True)
    assert publish.told_of_the_earlier(target, new) is None
    (target / "manifest.json").write_text(json.dumps({"version": 1, "training": {"seed": seed}}))
    line = f"replaced: the earlier export, of {which} network"
    told = publish.told_of_the_earlier(target, new)
    assert told == f"{line}; of it {target / '1'} stays; --name keeps both"
    (target / "1").rmdir()
    assert publish.told_of_the_earlier(target, new) == f"{line}; --name keeps both"
