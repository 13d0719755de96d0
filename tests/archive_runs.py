"""What tests of archives share: runs by Beam, with a program in its place, and by one worker."""

import json
import os
import subprocess
import sys
import time

import pytest

from tf_deconv.inference import artifacts
from tf_deconv.inference.archive import driver, records, worker
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.utils import devices
from tf_deconv.utils.options import to_json


def tree(folder):
    """Returns every file below a folder with its bytes; state and dead letters left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name != records.DEAD_LETTERS_FILE
        and records.STATE_FOLDER not in path.parts
    }


def dead_letters(folder):
    lines = (folder / records.DEAD_LETTERS_FILE).read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def open_worker(tmp_path, monkeypatch, run):
    """Opens workers in this process; each has a run of its own."""
    monkeypatch.setattr(devices, "_limit", None)

    def open_one(name="run", **changes):
        config = RestoreConfig(model=str(run.folder), engine="beam", workers=1)
        order = records.Order(to_json(config), artifacts.digest_of(config.model))
        folder = tmp_path / name
        records.write_run(folder, records.Order(**{**vars(order), **changes}))
        return folder, worker.Worker(folder)

    return open_one


@pytest.fixture
def without_beam(monkeypatch, tmp_path):
    """Replaces the pipeline by a program of a test, and says that Beam is there."""

    def replace(body):
        program = tmp_path / "program.py"
        program.write_text(
            "import json, os, pathlib, sys, time\n"
            "folder = pathlib.Path(sys.argv[1])\n"
            "log = open(folder / 'logs' / f'host-{os.getpid()}-x.jsonl', 'a', buffering=1)\n"
            "jobs = [json.loads(line) for line in open(folder / 'jobs.jsonl')]\n"
            "def tell(kind, number, **more):\n"
            "    record = dict(kind=kind, number=number, duration_s=0.1, **more)\n"
            "    log.write(json.dumps(record) + '\\n')\n"
            "def restore(number, target):\n"
            "    pathlib.Path(target).write_bytes(b'restored')\n"
            "    tell('restored', number, notes=[], conversion='')\n" + body
        )
        command = [sys.executable, str(program)]
        monkeypatch.setattr(driver, "_command", lambda folder: [*command, str(folder)])
        monkeypatch.setattr(driver, "_has_beam", lambda: True)

    return replace


@pytest.fixture(scope="session")
def beam():
    if not driver._has_beam():
        if os.environ.get("TF_DECONV_REQUIRE_CLIENTS"):
            pytest.fail("apache_beam is not installed")
        pytest.skip("pip install 'tf-deconv[beam]'")


def start(model, source, out, *options):
    command = ["restore", model, source, "--out", out, "--engine", "beam", *options]
    code = "import sys; from tf_deconv import cli; sys.exit(cli.main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, expected=0):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == expected, out
    return out


def wait_for(process, out, count):
    """Returns once so many pictures are there."""
    deadline = time.monotonic() + 120
    while len(list(out.glob("*.png"))) < count:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers_of(out):
    """Returns the processes that restore into a folder now."""
    logs = (out / records.STATE_FOLDER).glob(f"{records.RUN_PREFIX}*/{records.LOGS_FOLDER}/*")
    return [driver._process_of(path.stem) for path in logs]


def end(processes):
    deadline = time.monotonic() + 30
    while any(driver._is_alive(process) for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)
