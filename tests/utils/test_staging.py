"""What killed processes leave is cleared by the next one; what anyone else has stays."""

import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from tf_deconv.utils import files, locks, staging

HOLDS = (
    "import pathlib, sys, time\n"
    "from tf_deconv.utils import files, staging\n"
    "place = pathlib.Path(sys.argv[1])\n"
    "with files.replacing(place / 'a.png') as file, staging.folder(place / 'model') as folder:\n"
    "    file.write_bytes(b'half')\n"
    "    (folder / 'deep').mkdir()\n"
    "    print('ready', flush=True)\n"
    "    time.sleep(60)"
)


def left(place):
    return sorted(path.name for path in place.iterdir())


@pytest.fixture
def holder(tmp_path):
    """A process that has half a file and half a folder in `tmp_path`."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_what_a_killed_process_left_is_cleared_and_a_living_ones_stays(tmp_path, holder):
    # kill -9 left .a-x.png and .staging-x for good.
    assert len(left(tmp_path)) == 2
    files.make_folder(tmp_path)
    assert len(left(tmp_path)) == 2
    holder.kill()
    holder.wait()
    assert len(left(tmp_path)) == 2
    files.make_folder(tmp_path)
    assert left(tmp_path) == []


def test_what_another_name_has_is_nobodys_garbage(tmp_path):
    names = (".staging-abcdefgh", ".a-12345678.png", ".tf-deconv", ".tf-deconv-notes", "a.png")
    for name in names:
        (tmp_path / name).touch()
    # Of the right name, but no file that this program makes.
    os.mkfifo(tmp_path / f"{staging.PREFIX}abcd1234-pipe.png")
    (tmp_path / f"{staging.PREFIX}abcd1234-link.png").symlink_to(tmp_path / "a.png")
    before = left(tmp_path)
    files.make_folder(tmp_path)
    assert left(tmp_path) == before


def test_what_this_process_is_writing_stays_when_another_thread_begins(tmp_path):
    with files.replacing(tmp_path / "a.png") as temporary, staging.folder(tmp_path / "b") as folder:
        thread = threading.Thread(target=files.make_folder, args=(tmp_path,))
        thread.start()
        thread.join()
        assert temporary.exists()
        assert folder.exists()
    assert left(tmp_path) == ["a.png"]


def test_a_file_of_another_user_stays(tmp_path, monkeypatch):
    (tmp_path / f"{staging.PREFIX}abcd1234-a.png").touch()
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert staging.clear(tmp_path) == []
    monkeypatch.undo()
    assert staging.clear(tmp_path) == [f"{staging.PREFIX}abcd1234-a.png"]


def test_without_locks_nothing_is_removed_and_files_are_written(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    (tmp_path / f"{staging.PREFIX}abcd1234-a.png").touch()
    assert staging.clear(tmp_path) == []
    files.write_bytes(tmp_path / "b.png", b"x")
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.delattr(os, "getuid")
    assert staging.clear(tmp_path) == []
    files.write_bytes(tmp_path / "c.png", b"x")
    assert left(tmp_path) == [f"{staging.PREFIX}abcd1234-a.png", "b.png", "c.png"]


def test_writers_and_clearers_at_once_lose_nothing(tmp_path):
    stop, wrong = threading.Event(), []

    def clear():
        while not stop.is_set():
            staging.clear(tmp_path)

    def write(number):
        for count in range(50):
            try:
                files.write_bytes(tmp_path / f"{number}-{count}.png", b"x", flush=False)
            except OSError as error:
                wrong.append(error)

    clearers = [threading.Thread(target=clear) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in clearers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in clearers:
        thread.join()
    assert wrong == []
    assert len(left(tmp_path)) == 200


@pytest.mark.parametrize("make", [os.mkfifo, pathlib.Path.mkdir])
def test_special_files_are_named_and_never_opened(tmp_path, make):
    make(tmp_path / "x")
    started = time.monotonic()
    assert files.special(tmp_path / "x") == ("a pipe (FIFO)" if make is os.mkfifo else "")
    with pytest.raises(OSError, match=r"a pipe|Is a directory"):
        files.read_bounded(tmp_path / "x", 10)
    assert time.monotonic() - started < 1
    assert files.special("/dev/zero") == "a device"
    assert files.special(tmp_path / "missing") == files.special("a\0b") == ""


def test_a_file_larger_than_its_reader_expects_is_not_read(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read_bounded(tmp_path / "x", 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        files.read_bounded(tmp_path / "x", 4)


def test_an_empty_folder_is_replaced_where_the_system_replaces_none(tmp_path, monkeypatch):
    # On Windows `shard --out` of a folder that was there ended in "Access is denied".
    replace = os.replace

    def of_windows(source, target):
        if os.path.isdir(target):
            raise PermissionError(13, "Access is denied", os.fspath(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", of_windows)
    (tmp_path / "out").mkdir()
    with files.making_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
    assert left(tmp_path) == ["out"]
    assert left(tmp_path / "out") == ["a.txt"]
