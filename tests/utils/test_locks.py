"""A run folder belongs to one training at a time, a model's name to one export."""

import datetime
import fcntl
import json
import os
import struct
import subprocess
import sys
import types

import keras
import pytest

from tf_deconv.exporting import pipeline
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.inference import run_folder
from tf_deconv.networks.article import build_article
from tf_deconv.training import checkpoints, trainer
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils import locks
from tf_deconv.utils.options import UserError

HOLDER = """
import pathlib, sys
from tf_deconv.utils import locks

with locks.held(pathlib.Path(sys.argv[1]), "", ""):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """Begins a training that does, in place of training, what it is given."""
    monkeypatch.chdir(tmp_path)

    def start(meanwhile, **options):
        def stand_in(config, cluster, folder, out, report):
            source = types.SimpleNamespace(failures=())
            objective = types.SimpleNamespace(source=source)
            run = lambda: meanwhile(folder) or {}  # noqa: E731
            return types.SimpleNamespace(run=run, objective=objective)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "Trainer", stand_in)
            return trainer.train(TrainConfig(**options), lambda line: None)

    return start


def test_runs_that_begin_in_one_second_have_a_folder_each(begin, monkeypatch, tmp_path):
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    clock = types.SimpleNamespace(now=lambda: moment)
    monkeypatch.setattr(checkpoints, "datetime", types.SimpleNamespace(datetime=clock))
    folders = []

    def begin_another(folder):
        folders.append(folder)
        if len(folders) < 3:
            begin(begin_another)

    begin(begin_another)
    stem = "20260102-030405-old-photo-article"
    assert [folder.name for folder in folders] == [stem, f"{stem}-2", f"{stem}-3"]
    assert list(tmp_path.iterdir()) == []  # Nothing was trained.


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_training_in_a_run_folder_is_refused(begin, tmp_path, resume):
    # Both ended with exit code 0, and one model replaced the other.
    tried = []

    def begin_another(folder):
        if tried:
            return
        tried.append(folder)
        message = r"run folder '.*run' is in use by process \d+ on .*: wait until it has ended, or"
        with pytest.raises(UserError, match=message):
            begin(begin_another, run_dir=str(folder), resume=resume)
        (folder / "config.json").write_text(json.dumps({"epochs": 10}))  # The run has begun.
        with pytest.raises(UserError, match=message):
            begin(begin_another, run_dir=str(folder), resume=resume)

    (tmp_path / "run").mkdir()
    if resume:
        (tmp_path / "run" / "config.json").write_text(json.dumps({"epochs": 10}))
    begin(begin_another, run_dir=str(tmp_path / "run"), resume=resume)
    assert tried
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]
    begin(lambda folder: None, run_dir=str(tmp_path / "run"), resume=True)


def test_a_folder_that_was_there_stays_where_training_does_not_begin(begin, monkeypatch, tmp_path):
    def fail(folder):
        raise UserError("no pictures")

    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for name in (".", "../empty", str(tmp_path / "new" / "run")):
        with pytest.raises(UserError, match="no pictures"):
            begin(fail, run_dir=name)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.keras"
    keras.utils.set_random_seed(3)
    run_folder.save_model(build_article(None, None, 1, 1), path, dict(divisor=2, scale=1))
    return str(path)


def test_a_second_export_to_a_name_is_refused_before_its_work(model, monkeypatch, tmp_path):
    # The second one failed when it had done all its work, or replaced the first one's files.
    config = ExportConfig(model=model, out=str(tmp_path / "out"), name="name")
    tried = []

    def write_files(*arguments):
        assert not tried
        tried.append(True)
        message = r"'.*name' is being exported by process \d+ on .*wait until it has ended, or"
        with pytest.raises(UserError, match=message):
            pipeline.export(config, lambda line: None)
        raise UserError("the first one stops")

    monkeypatch.setattr(pipeline, "_write_files", write_files)
    with pytest.raises(UserError, match="the first one stops"):
        pipeline.export(config, lambda line: None)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def holder(tmp_path, repository):
    """A process that holds a lock in `tmp_path`."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen(command, cwd=repository, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_ends_with_its_process_however_that_ends(holder, tmp_path):
    with pytest.raises(UserError, match=f"busy by process {holder.pid} on "), take(tmp_path):
        pass
    holder.kill()
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with take(tmp_path), pytest.raises(UserError, match="busy by process"), take(tmp_path):
        pass
    assert not (tmp_path / ".lock").exists()


def lock_a_byte(handle, mode, count):
    """`msvcrt.locking` of Windows, by what Linux has: a lock on bytes, of one descriptor."""
    assert (mode, count) == ("LK_NBLCK", 1)
    start = os.lseek(handle, 0, os.SEEK_CUR)
    what = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, count, 0)
    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, what)


@pytest.mark.skipif(not hasattr(fcntl, "F_OFD_SETLK"), reason="Linux has such locks")
@pytest.mark.parametrize("knows_locks", [True, False])
def test_without_fcntl_the_other_systems_lock_is_taken_or_none(monkeypatch, tmp_path, knows_locks):
    windows = types.SimpleNamespace(LK_NBLCK="LK_NBLCK", locking=lock_a_byte)
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", windows if knows_locks else None)
    with take(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
        if knows_locks:
            with pytest.raises(UserError, match=f"busy by process {os.getpid()}"), take(tmp_path):
                pass
        else:
            with take(tmp_path):
                pass
    assert not (tmp_path / ".lock").exists()


def take(folder):
    return locks.held(folder / ".lock", "busy", "go")
