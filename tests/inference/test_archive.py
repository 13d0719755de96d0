"""`tf-deconv restore --engine beam`: archives, by Beam's workers; and lists of pictures."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import tf_deconv
from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import make_pictures, tree, write, write_noise
from tests.fixtures.shard_folders import shard
from tf_deconv import RestoreConfig, UserError
from tf_deconv.data.shards import records
from tf_deconv.images.files import Job
from tf_deconv.inference import jobs as restore_jobs
from tf_deconv.inference import restore as restore_command
from tf_deconv.inference.archive import driver as archive_driver

# One worker, in this process.
IN_MEMORY = "--runner=FnApiRunner --direct_running_mode=in_memory"


def dead_letters(folder):
    lines = (folder / archive_driver.DEAD_LETTERS_FILE).read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def archive(tmp_path):
    """Four pictures, of which one is transparent, and one file that is none."""
    folder = tmp_path / "archive"
    write(folder / "small", make_pictures(1, side=32))
    write_noise(folder / "deep" / "er" / "b.bmp", seed=1)
    write_noise(folder / "grey.jpg", (61, 45), seed=2, mode="L")
    write_noise(folder / "glass.png", seed=4, mode="RGBA")
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def beam():
    """Skips a test where Beam is not installed."""
    if os.environ.get("TF_DECONV_REQUIRE_CLIENTS"):
        import apache_beam  # noqa: F401
    else:
        pytest.importorskip("apache_beam")


def run_by_beam(test):
    """Marks a test that needs Beam, which warns of its own and others' parts."""
    for mark in (
        pytest.mark.clients,
        pytest.mark.usefixtures("beam"),
        pytest.mark.filterwarnings("ignore"),
    ):
        test = mark(test)
    return test


# --- Lists.


def test_a_list_keeps_the_tree_below_its_folder(capsys, tmp_path, untrained, archive):
    elsewhere = write_noise(tmp_path / "elsewhere" / "c.png")
    lines = ["small/picture-000.png", "./deep/er/b.bmp", "", f"{elsewhere}\r", "gone.png"]
    (archive / "list.txt").write_text("\n".join(lines))
    arguments = (untrained, archive / "list.txt", "--out", tmp_path / "out")
    code, out, _ = call(capsys, "restore", *arguments)
    assert code == 1
    assert list(tree(tmp_path / "out")) == ["c.png", "deep/er/b.bmp", "small/picture-000.png"]
    assert out.splitlines()[-1].endswith(
        "list.txt, line 5: 'gone.png' does not exist (a .txt is read as a list of paths)"
    )


def test_a_text_that_is_no_list_is_told_what_it_was_taken_for(capsys, here):
    # It named a path that nobody had typed: .../hello: FAILED, No such file or directory.
    (here / "note.txt").write_text("hello\nthere\n")
    message = refuses(capsys, "restore", "denoise-color", "note.txt")
    assert "note.txt, line 1: 'hello' does not exist (a .txt is read as a list of paths)" in message
    assert "(and 1 more)" in message


@pytest.mark.parametrize("content", ["", "\n \n", "a\0b"])
def test_a_list_of_nothing_is_refused(capsys, tmp_path, untrained, content):
    (tmp_path / "list.txt").write_text(content)
    message = refuses(capsys, "restore", untrained, tmp_path / "list.txt", "--out", tmp_path / "o")
    assert "names no picture" in message


# --- The choice of the engine.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--workers", 2), "--workers 2: expected --engine beam with it"),
        (("--beam-args=--runner=X",), "--beam-args --runner=X: expected --engine beam with it"),
        (("--engine", "bem"), "did you mean 'beam'"),
        (("--engine", "beam"), "Apache Beam is not installed; pip install 'apache-beam>=2.72,<3'"),
        (
            ("--engine", "beam", "--workers", 2, "--beam-args=--runner=X"),
            "--workers 2: expected without --beam-args",
        ),
    ],
)
def test_bad_options_are_refused_in_one_line(
    capsys, tmp_path, monkeypatch, untrained, options, expected
):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    source = write_noise(tmp_path / "a.png")
    arguments = (untrained, source, "--out", tmp_path / "out", *options)
    assert expected in refuses(capsys, "restore", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("--runer=X", "expected --runner=NAME among them"), ("--runner='X", "No closing quotation")],
)
def test_options_of_beam_that_name_no_runner_are_refused(monkeypatch, text, expected):
    monkeypatch.setattr(archive_driver.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=expected):
        archive_driver.check_beam(text)


@pytest.mark.parametrize("door", ["python", "command"])
def test_every_door_leads_to_the_engine_that_was_asked_for(
    capsys, tmp_path, monkeypatch, untrained, archive, door
):
    # From Python, engine="beam" restored in this process, and said nothing.
    taken = []

    def restore_archive(open_model, jobs, out, workers, beam_args, report):
        taken.extend(jobs)
        restore = open_model()
        for job in jobs[1:]:
            restore(job)
        return {jobs[0].target: "no picture"}

    monkeypatch.setattr(restore_command, "check_beam", lambda beam_args: None)
    monkeypatch.setattr(restore_command, "restore_archive", restore_archive)
    out = tmp_path / "out"
    if door == "python":
        config = RestoreConfig(model=str(untrained), out=str(out), engine="beam")
        result = tf_deconv.restore(config, [str(archive)], report=lambda line: None)
        assert result.restored == tuple(job.target for job in taken[1:])
        assert result.failures == (f"{archive}/bad.png: no picture",)
    else:
        code, _, _ = call(capsys, "restore", untrained, archive, "--out", out, "--engine", "beam")
        assert code == 1
    call(capsys, "restore", untrained, archive, "--out", tmp_path / "local")
    assert len(taken) == 5
    assert tree(out) == tree(tmp_path / "local")


# --- The pipeline, with what restores a picture replaced.


def copy_all():
    """Opens a model that changes nothing."""

    def restore(job):
        if job.source.name == "bad.png":
            raise ValueError("no picture\n at all")
        job.target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(job.source, job.target)
        return ["JPEG holds no transparency"] if job.source.suffix == ".jpg" else []

    return restore


def restore_all(archive, out, open_model=copy_all, beam_args=IN_MEMORY, workers=1):
    """Returns why pictures failed, and what the user reads."""
    lines = []
    out.mkdir(exist_ok=True)
    jobs = restore_jobs.plan_jobs([str(archive)], out).jobs
    failed = archive_driver.restore_archive(open_model, jobs, out, workers, beam_args, lines.append)
    assert not list(out.glob(".*"))
    return failed, lines


@run_by_beam
def test_a_picture_that_fails_is_a_dead_letter_and_stops_no_other(tmp_path, archive):
    # Beam's own sink took the brackets for a pattern, and found nothing to rename.
    out = tmp_path / "out [1]"
    failed, lines = restore_all(archive, out)
    assert failed == {out / "bad.png": "no picture at all"}
    letter = dict(
        source=str(archive / "bad.png"), target=str(out / "bad.png"), reason="no picture at all"
    )
    assert dead_letters(out) == [letter]
    expected = tree(archive)
    del expected["bad.png"]
    assert tree(out) == expected
    assert lines[0] == "note: 1 pictures: JPEG holds no transparency"
    assert lines[1].startswith("4 of 5 pictures were restored, in ")
    assert lines[2] == f"what failed, and why: {out / archive_driver.DEAD_LETTERS_FILE}"
    # What failed is tried again, and forgotten when it fails no more.
    (archive / "bad.png").rename(archive / "good.png")
    assert restore_all(archive, out)[0] == {}
    assert not (out / archive_driver.DEAD_LETTERS_FILE).exists()


def fail_to_open():
    raise UserError("no model here")


def fill_the_disk():
    """Opens a model whose pictures no longer fit on the disk: none is a dead letter."""

    def restore(job):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return restore


@run_by_beam
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(open_model=fail_to_open), "no model here"),
        (dict(beam_args="--runner=NoSuch"), "NoSuch"),
        (dict(open_model=fill_the_disk), "No space left on device"),
        # By worker processes: the pickled function imports nothing of this file.
        (dict(open_model=lambda: os._exit(3), beam_args=None), "a worker process died"),
    ],
)
def test_a_pipeline_that_stops_says_why_in_one_line(tmp_path, archive, options, expected):
    with pytest.raises(UserError) as caught:
        restore_all(archive, tmp_path / "out", **options)
    message = str(caught.value)
    assert message.startswith("Apache Beam stopped: ")
    assert expected in message
    assert message.endswith("; the same command with --skip-existing goes on")
    assert "\n" not in message
    assert not list((tmp_path / "out").iterdir())


@pytest.fixture
def interruptible():
    """Lets Ctrl-C interrupt also where a shell began the tests in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@run_by_beam
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_run_after_the_picture_in_hand(tmp_path, archive):
    lines, done = [], []

    def restore(job):
        done.append(job)
        os.kill(os.getpid(), 2)
        time.sleep(1)
        return []

    (tmp_path / "out").mkdir()
    jobs = restore_jobs.plan_jobs([str(archive)], tmp_path / "out").jobs
    with pytest.raises(KeyboardInterrupt):
        archive_driver.restore_archive(
            lambda: restore, jobs, tmp_path / "out", 1, IN_MEMORY, lines.append
        )
    time.sleep(1.5)
    assert lines == ["the same command with --skip-existing goes on"]
    assert len(done) <= 1
    assert not list((tmp_path / "out").iterdir())


@run_by_beam
def test_jobs_survive_the_way_to_a_worker(tmp_path, monkeypatch):
    from tf_deconv.inference.archive import pipeline

    monkeypatch.chdir(tmp_path)
    # A file name need not be UTF-8, and may hold a line's end.
    odd = Job(pathlib.Path(os.fsdecode(b"/caf\xe9\n.png")), tmp_path / "\N{ARTIST PALETTE}.png")
    remote = Job(records.Place("gs://bucket/a.tfrecord", 0, "b.png"), tmp_path / "b.png")
    for job in (odd, remote):
        line = pipeline.pack(job)
        assert line.isascii()
        assert "\n" not in line
        assert pipeline.unpack(line) == job
    place = records.Place("s/a.tfrecord", 3, "caf\\xe9.png", ".png", 12, 7, 99, "no")
    received = pipeline.unpack(pipeline.pack(Job(place, pathlib.Path("a.png"))))
    assert received.target == tmp_path / "a.png"
    assert str(received.source) == f"{tmp_path}/s/a.tfrecord:caf\\xe9.png"
    assert received.source == records.Place(
        f"{tmp_path}/s/a.tfrecord", 3, "caf\\xe9.png", ".png", 12, 7, 99, "no"
    )


def test_what_part_is_done_is_said_while_workers_work(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_driver, "_REPORT_S", 0.01)
    jobs = [Job(pathlib.Path("a"), tmp_path / str(number)) for number in range(4)]
    jobs[0].target.write_text("of an earlier run")
    lines = []
    with archive_driver._progress(jobs, lines.append):
        for job in jobs[1:3]:
            job.target.write_text("new")
        deadline = time.monotonic() + 10
        while not any(line.startswith("50 %") for line in lines):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert lines[-1] == "50 % of 4 pictures are done, after 0 s"


# --- Beam and the model.


@run_by_beam
def test_worker_processes_write_what_the_command_writes(capsys, tmp_path, untrained, archive):
    call(capsys, "restore", untrained, archive, "--out", tmp_path / "local")
    deep = np.random.default_rng(7).integers(0, 2**16, (20, 30)).astype(np.uint16)
    (tmp_path / "sharded").mkdir()
    Image.fromarray(deep).save(tmp_path / "sharded" / "deep.png")
    does(capsys, "restore", untrained, tmp_path / "sharded", "--out", tmp_path / "local")
    shard(tmp_path / "sharded", tmp_path / "shards", shards=1)
    command = [
        untrained,
        archive,
        tmp_path / "shards",
        "--out",
        tmp_path / "out",
        "--engine",
        "beam",
    ]
    code = "import sys; from tf_deconv.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "restore", *map(str, command), "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert tree(tmp_path / "out") == tree(tmp_path / "local")
    (letter,) = dead_letters(tmp_path / "out")
    assert letter["source"] == str(archive / "bad.png")
    assert letter["reason"].startswith("is not a picture of a kind")
    assert done.stdout.splitlines()[-2].startswith("5 of 6 pictures were restored, in ")


@run_by_beam
def test_flags_alone_choose_another_runner_and_a_stopped_run_goes_on(
    capsys, tmp_path, untrained, archive
):
    call(capsys, "restore", untrained, archive, "--out", tmp_path / "out")
    expected = tree(tmp_path / "out")
    (tmp_path / "out" / "glass.png").write_bytes(b"mine")
    (tmp_path / "out" / "grey.jpg").unlink()
    # A job server in the process that submits: the way to Flink, Spark and others.
    flags = "--runner=PortableRunner --job_endpoint=embed --environment_type=LOOPBACK"
    code, out, err = call(
        capsys, "restore", untrained, archive, "--out", tmp_path / "out", "--skip-existing",
        "--engine", "beam", f"--beam-args={flags}",
    )  # fmt: skip
    assert (code, err) == (1, "")
    assert out.startswith("3 pictures are there already and were skipped\n")
    assert "1 of 2 pictures were restored" in out
    assert tree(tmp_path / "out") == {**expected, "glass.png": b"mine"}
