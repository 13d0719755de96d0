"""`tf-deconv restore --engine beam`: archives, by workers that may die at any moment."""

import os
import pathlib
import shutil
import signal

import pytest

from tests.fixtures.archive_runs import dead_letters, end, finish, start, tree, wait_for, workers_of
from tests.fixtures.commands import call, does, refuses
from tests.fixtures.picture_folders import make_pictures, write, write_noise
from tf_deconv.images.files import Job
from tf_deconv.inference import jobs as restore_jobs
from tf_deconv.inference.archive import driver, records, worker
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError


@pytest.fixture
def archive(tmp_path):
    """Pictures of several kinds, one of which is none."""
    folder = tmp_path / "archive"
    write(folder / "small", make_pictures(5))
    write_noise(folder / "deep" / "er" / "b.bmp", seed=1)
    write_noise(folder / "grey.jpg", (61, 45), seed=2, mode="L")
    write_noise(folder / "moving.gif", seed=3)
    write_noise(folder / "glass.png", seed=4, mode="RGBA")
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def local(capsys, tmp_path, run, archive):
    """What the command makes of the archive without workers."""
    code, out, _ = call(capsys, "restore", run.folder, archive, "--out", tmp_path / "local")
    assert code == 1, out
    return tree(tmp_path / "local")


# --- A worker.


def test_a_worker_writes_what_the_command_writes(tmp_path, archive, local, open_worker):
    folder, one = open_worker()
    jobs = restore_jobs.plan_jobs([str(archive)], tmp_path / "out")
    kinds = [one.restore(number, job) for number, job in enumerate(jobs)]
    assert kinds.count(worker.FAILED) == 1
    assert tree(tmp_path / "out") == local
    assert not list((folder / records.STAGING_FOLDER).iterdir())


def test_a_finished_picture_is_not_restored_again(tmp_path, archive, open_worker):
    _, one = open_worker()
    job = Job(archive / "glass.png", tmp_path / "out" / "glass.png")
    assert one.restore(0, job) == worker.RESTORED
    before = job.target.stat().st_mtime_ns
    assert one.restore(0, job) == worker.SKIPPED
    assert job.target.stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["glass.png", "grey.jpg", "deep/er/b.bmp"])
def test_a_damaged_picture_is_restored_again(tmp_path, archive, local, open_worker, name):
    _, one = open_worker()
    job = Job(archive / name, tmp_path / "out" / pathlib.Path(name).name)
    one.restore(0, job)
    whole = job.target.read_bytes()
    job.target.write_bytes(whole[: len(whole) * 2 // 3])
    assert one.restore(0, job) == worker.RESTORED
    assert job.target.read_bytes() == whole == local[name]


def test_a_worker_tells_what_it_has_in_hand_and_what_became_of_it(tmp_path, archive, open_worker):
    folder, one = open_worker()
    one.restore(3, Job(archive / "bad.png", tmp_path / "bad.png"))
    begun, ended = [record for _, record in records.Tail(folder / records.LOGS_FOLDER).read()]
    assert begun == {"kind": worker.BEGUN, "number": 3}
    assert (ended["kind"], ended["number"]) == (worker.FAILED, 3)
    assert ended["reason"].startswith("is no BMP")


def test_a_worker_with_another_model_says_so_and_does_not_start(tmp_path, open_worker):
    with pytest.raises(UserError, match="is another one than where the run was started"):
        open_worker("other", digest="0")
    tail = records.Tail(tmp_path / "other" / records.LOGS_FOLDER)
    ((_, record),) = tail.read()
    assert record["kind"] == worker.FAULT


def test_workers_share_the_cores_and_keep_the_threads_that_decide_the_last_bit(run_python):
    # With fewer threads the article's network gave other bits on a machine of many cores.
    code = (
        "import os; from tf_deconv import devices; devices.share_cores(1, 2)\n"
        "import tensorflow as tf\n"
        "print(sorted(os.sched_getaffinity(0)), devices.thread_count(),"
        " tf.config.threading.get_intra_op_parallelism_threads())"
    )
    cores = sorted(os.sched_getaffinity(0))
    share = cores[1 % len(cores) :: 2]
    assert run_python(code).splitlines()[-1] == f"{share} {len(share)} {len(cores)}"


# --- Records.


def test_each_worker_of_a_machine_has_a_place_of_its_own(tmp_path):
    (tmp_path / records.PLACES_FOLDER).mkdir()
    assert [records.take_place(tmp_path, 2) for _ in range(3)] == [0, 1, None]


@pytest.mark.parametrize("count", [1, 2, 999, 1000, 2500, 70_000])
def test_every_job_is_in_one_slice(tmp_path, count):
    jobs = [(3 * number, Job(pathlib.Path(f"/a/{number}"), tmp_path)) for number in range(count)]
    records.write_jobs(tmp_path, jobs)
    parts = records.read_slices(tmp_path)
    assert sum(part.count for part in parts) == count
    assert max(part.count for part in parts) <= 64
    if count <= 2500:
        read = [item for part in parts for item in records.read_jobs(tmp_path, part)]
        assert read == jobs


def test_names_that_are_no_utf8_survive_the_file_of_jobs(tmp_path):
    job = Job(pathlib.Path(os.fsdecode(b"/caf\xe9\n.png")), tmp_path / "\N{ARTIST PALETTE}.png")
    records.write_jobs(tmp_path, [(0, job)])
    (part,) = records.read_slices(tmp_path)
    assert list(records.read_jobs(tmp_path, part)) == [(0, job)]


def test_a_line_counts_when_it_is_whole(tmp_path):
    path, tail = tmp_path / "host-1-a.jsonl", records.Tail(tmp_path)
    path.write_bytes(b'{"kind": "begun", "number": 1}\n{"kind": "res')
    assert list(tail.read()) == [("host-1-a", {"kind": "begun", "number": 1})]
    assert list(tail.read()) == []
    with open(path, "ab") as stream:
        stream.write(b'tored"}\nno json\n')
    assert list(tail.read()) == [("host-1-a", {"kind": "restored"})]


def test_one_run_at_a_time_writes_to_a_folder(tmp_path):
    with (
        records.locked(tmp_path),
        pytest.raises(UserError, match="another run writes there"),
        records.locked(tmp_path),
    ):
        pass
    with records.locked(tmp_path):
        pass


# --- Lists.


def test_a_list_keeps_the_tree_below_its_folder(capsys, tmp_path, run, archive):
    elsewhere = write_noise(tmp_path / "elsewhere" / "c.png")
    lines = ["small/picture-000.png", "./deep/er/b.bmp", "", f"{elsewhere}\r", "gone.png"]
    (archive / "list.txt").write_text("\n".join(lines))
    arguments = (run.folder, archive / "list.txt", "--out", tmp_path / "out")
    code, out, _ = call(capsys, "restore", *arguments)
    assert code == 1
    assert list(tree(tmp_path / "out")) == ["c.png", "deep/er/b.bmp", "small/picture-000.png"]
    assert "gone.png: No such file or directory" in out.splitlines()[-1]


@pytest.mark.parametrize("content", ["", "\n \n", "a\0b"])
def test_a_list_of_nothing_is_refused(capsys, tmp_path, run, content):
    (tmp_path / "list.txt").write_text(content)
    message = refuses(capsys, "restore", run.folder, tmp_path / "list.txt", "--out", tmp_path / "o")
    assert "names no picture" in message


# --- The driver, with a program in Beam's place.


def archive_of(tmp_path, count=6):
    return write(tmp_path / "in", make_pictures(count))


ALL = "for number, source, target in jobs:\n    restore(number, target)\n"


def test_lines_are_those_of_the_command_and_counts(capsys, tmp_path, run, without_beam):
    without_beam(ALL)
    out = does(
        capsys, "restore", run.folder, archive_of(tmp_path, 2), "--out", tmp_path / "out",
        "--engine", "beam",
    )  # fmt: skip
    lines = out.splitlines()
    assert lines[0].startswith("[1/2] ")
    assert "picture-000.png -> " in lines[0]
    assert lines[0].endswith("0.1 s")
    assert lines[-1].startswith("2 pictures: 2 restored, 0 there already, 0 failed, in ")
    assert not list((tmp_path / "out" / records.STATE_FOLDER).glob("run-*"))


def test_a_picture_that_kills_its_worker_twice_is_a_dead_letter(
    capsys, tmp_path, run, without_beam
):
    # The third picture ends the process; the pipeline around it would wait without end.
    without_beam(
        "import subprocess\n"
        "if len(sys.argv) == 2:\n"
        "    died = subprocess.run([sys.executable, *sys.argv, 'worker']).returncode\n"
        "    sys.exit(time.sleep(60) if died else 0)\n"
        "for number, source, target in jobs:\n"
        "    tell('begun', number)\n"
        "    if number == 2:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    restore(number, target)\n"
    )
    code, out, err = call(
        capsys, "restore", run.folder, archive_of(tmp_path), "--out", tmp_path / "out",
        "--engine", "beam",
    )  # fmt: skip
    assert (code, err) == (1, "")
    assert len(tree(tmp_path / "out")) == 5
    (letter,) = dead_letters(tmp_path / "out")
    assert letter["source"].endswith("picture-002.png")
    assert letter["reason"].startswith("the worker died over it, 2 times")
    assert "6 pictures: 5 restored, 0 there already, 1 failed" in out


def test_a_pipeline_that_fails_ends_the_run_in_one_line(capsys, tmp_path, run, without_beam):
    without_beam("print('ValueError: no such runner')\nsys.exit(1)\n")
    code, out, err = call(
        capsys, "restore", run.folder, archive_of(tmp_path), "--out", tmp_path / "out",
        "--engine", "beam", "--beam-args=--runner=NoRunner",
    )  # fmt: skip
    assert (code, err) == (1, "")
    assert out.splitlines()[-1] == (
        "6 pictures were not reached: Beam ended with code 1: ValueError: no such runner; the same"
        " command goes on where it stopped"
    )


def test_a_worker_that_cannot_start_is_told_of(capsys, tmp_path, run, without_beam):
    without_beam("tell('fault', 0, reason='host: no model here')\nsys.exit(1)\n")
    code, out, _ = call(
        capsys, "restore", run.folder, archive_of(tmp_path), "--out", tmp_path / "out",
        "--engine", "beam",
    )  # fmt: skip
    assert code == 1
    assert "6 pictures were not reached: host: no model here" in out.splitlines()[-1]


def test_pictures_of_another_model_are_not_mixed_in(capsys, tmp_path, run, exported, without_beam):
    without_beam(ALL)
    arguments = (archive_of(tmp_path), "--out", tmp_path / "out", "--engine", "beam")
    does(capsys, "restore", run.folder, *arguments)
    does(capsys, "restore", run.folder, *arguments)  # The same goes on.
    message = refuses(capsys, "restore", exported.folder, *arguments)
    assert "restored with another model; choose another --out" in message
    message = refuses(capsys, "restore", run.folder, *arguments, "--tile-size", 64)
    assert "restored with another tile_size" in message


def test_pictures_of_unknown_origin_are_kept_only_when_asked(capsys, tmp_path, run, without_beam):
    without_beam(ALL)
    source = archive_of(tmp_path)
    (tmp_path / "out").mkdir()
    shutil.copy(source / "picture-000.png", tmp_path / "out")
    arguments = (run.folder, source, "--out", tmp_path / "out", "--engine", "beam")
    message = refuses(capsys, "restore", *arguments)
    assert "1 of the pictures are there already" in message
    does(capsys, "restore", *arguments, "--skip-existing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("--runer=X", "expected --runner=NAME among them"), ("--runner='X", "No closing quotation")],
)
def test_options_of_beam_that_name_no_runner_are_refused(
    capsys, tmp_path, run, without_beam, text, expected
):
    without_beam(ALL)
    arguments = (run.folder, archive_of(tmp_path), "--out", tmp_path / "out", "--engine", "beam")
    assert expected in refuses(capsys, "restore", *arguments, f"--beam-args={text}")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--workers", 2), "workers=2: expected --engine beam with it"),
        (("--beam-args=--runner=X",), "beam_args='--runner=X': expected --engine beam with it"),
        (("--engine", "bem"), "did you mean 'beam'"),
        (("--engine", "beam"), "Apache Beam is not installed; pip install 'tf-deconv[beam]'"),
    ],
)
def test_bad_options_are_refused_in_one_line(capsys, tmp_path, monkeypatch, run, options, expected):
    monkeypatch.setattr(driver, "_has_beam", lambda: False)
    source = write_noise(tmp_path / "a.png")
    arguments = (run.folder, source, "--out", tmp_path / "out", *options)
    assert expected in refuses(capsys, "restore", *arguments)
    assert not (tmp_path / "out").exists()


# --- Beam itself.


@pytest.mark.clients
@pytest.mark.usefixtures("beam")
def test_beam_writes_what_the_command_writes(tmp_path, run, archive, local):
    out = finish(start(run.folder, archive, tmp_path / "out"), expected=1)
    assert tree(tmp_path / "out") == local
    (letter,) = dead_letters(tmp_path / "out")
    assert letter["source"] == str(archive / "bad.png")
    assert letter["reason"].startswith("is no BMP")
    assert "10 pictures: 9 restored, 0 there already, 1 failed" in out
    assert all(
        line.startswith(("[", "  note: ", "10 pict", "what failed"))
        for line in out.split("\n")[:-1]
    )


@pytest.mark.clients
@pytest.mark.usefixtures("beam")
def test_flags_alone_choose_another_runner(tmp_path, run, archive, local):
    # A job server in the process that submits: the way to Flink, Spark and others.
    flags = "--runner=PortableRunner --job_endpoint=embed --environment_type=LOOPBACK"
    # As many threads as the command has: their number decides in which order TensorFlow adds.
    options = (f"--beam-args={flags}", "--workers", 1)
    finish(start(run.folder, archive, tmp_path / "out", *options), expected=1)
    assert tree(tmp_path / "out") == local


@pytest.mark.clients
@pytest.mark.usefixtures("beam")
def test_what_beam_says_at_its_end_is_told_in_one_line(tmp_path, run, archive):
    out = finish(
        start(run.folder, archive, tmp_path / "out", "--beam-args=--runner=No"), expected=1
    )
    last = out.splitlines()[-1]
    # The thread that waits on stdin aborted the interpreter at its end: signal 6 was all one read.
    assert last.startswith("10 pictures were not reached: Beam ended with code 1: ")
    assert "No" in last.partition("code 1")[2]


@pytest.mark.clients
@pytest.mark.usefixtures("beam")
def test_nothing_is_lost_or_done_twice_when_processes_are_killed(
    capsys, tmp_path, monkeypatch, run
):
    pictures = write(tmp_path / "in", make_pictures(2000, side=16))
    # The disk's time for 2000 small files is most of it, and not what is tested.
    monkeypatch.setattr(files, "_flush", lambda path: None)
    does(capsys, "restore", run.folder, pictures, "--out", tmp_path / "local")
    out = tmp_path / "out"

    # A worker: the same command goes on by itself.
    process = start(run.folder, pictures, out)
    wait_for(process, out, 400)
    os.kill(workers_of(out)[0], signal.SIGKILL)
    wait_for(process, out, 1000)
    # The command itself: the workers end with it.
    workers = workers_of(out)
    process.kill()
    process.communicate()
    end(workers)

    there = len(list(out.glob("*.png")))
    assert 1000 <= there < 2000
    untouched = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    said = finish(start(run.folder, pictures, out))
    assert f"2000 pictures: {2000 - there} restored, {there} there already, 0 failed" in said
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert tree(out) == tree(tmp_path / "local")
    assert [path.name for path in out.iterdir() if path.suffix != ".png"] == [records.STATE_FOLDER]
