"""Stopped by a signal or a full disk: the right exit code, one line or none, nothing half-made."""

import contextlib
import errno
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.fixtures.commands import call, fails
from tests.fixtures.picture_folders import write_noise
from tf_deconv import api
from tf_deconv.cli import main
from tf_deconv.exporting.parity import gate, runner
from tf_deconv.training import checkpoints
from tf_deconv.utils import files, locks
from tf_deconv.utils.interrupted import Interrupted
from tf_deconv.utils.options import UserError

TERMINATED = 128 + signal.SIGTERM


@pytest.fixture(autouse=True)
def own_handler():
    """Gives back the handler that the commands replace."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


# --- SIGTERM.


def lose(options):
    """Python drops what is raised in a destructor."""

    class Lost:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    Lost()
    started = time.monotonic()
    while time.monotonic() - started < 20:
        time.sleep(0.01)
    return 0


def blame_the_user(options):
    try:
        signal.raise_signal(signal.SIGTERM)
    except SystemExit as error:
        raise UserError("the model is damaged") from error


def fail(options):
    try:
        signal.raise_signal(signal.SIGTERM)
    except SystemExit as error:
        raise ImportError("initialization failed") from error


def end_well(options):
    with contextlib.suppress(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    return 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("command", [lose, blame_the_user, fail, end_well])
def test_whatever_becomes_of_the_signal_the_command_ends_with_143(capsys, monkeypatch, command):
    # An export went on to its end and returned 0: the exception was lost in a library.
    monkeypatch.setitem(main._COMMANDS, "shard", command)
    code, out, err = call(capsys, "shard", "x")
    assert (code, out) == (TERMINATED, "")
    assert "damaged" not in err
    assert "Traceback" not in err or command is lose  # What Python says of the destructor.


def test_cleaning_up_is_not_interrupted_again(capsys, monkeypatch):
    cleaned = []

    def clean_slowly(options):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            for _ in range(25):
                time.sleep(0.1)
            cleaned.append(True)

    monkeypatch.setitem(main._COMMANDS, "shard", clean_slowly)
    assert call(capsys, "shard", "x") == (TERMINATED, "", "")
    assert cleaned


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.3, 1.0])
def test_stopped_while_it_starts_it_is_silent(repository, tmp_path, after_s):
    write_noise(tmp_path / "a.png")
    command = [sys.executable, "-m", "tf_deconv", "shard", str(tmp_path), "--out", "x"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    # Before Python has taken the signal over the system ends the process: 143, too, for a shell.
    assert process.returncode in (TERMINATED, -signal.SIGTERM)
    assert (out, err) == (b"", b"")


# --- The processes of the gate.


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (-signal.SIGTERM, UserError, r"'x\.tflite' was ended by SIGTERM, of too little memory"),
        (-signal.SIGKILL, UserError, "was ended by SIGKILL"),
        (-signal.SIGSEGV, RuntimeError, "ended with code -11"),
        (runner.EXIT_NO_SPACE, OSError, "No space left"),
        (1, RuntimeError, "ended with code 1: boom"),
    ],
)
def test_a_process_that_was_killed_is_no_fault_of_the_file(
    monkeypatch, tmp_path, code, error, message
):
    # It was not published, with "ended with code -15".
    done = subprocess.CompletedProcess([], code, "", "boom\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(error, match=message):
        gate.run_file(tmp_path / "x.tflite", {})


def test_a_process_of_the_gate_ends_with_its_parent(exported, tmp_path):
    os.mkfifo(tmp_path / "cases.npz")  # Nobody writes them: it waits for ever.
    command = [sys.executable, runner.__file__, str(exported.tflite("float32"))]
    command += [str(tmp_path / "cases.npz"), str(tmp_path / "results.npz")]
    environment = os.environ | {runner.WATCHES_STDIN: "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        time.sleep(0.5)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == 1


# --- A full disk.


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def files_of_at_most(limit_bytes):
    """A limit on the size of files stands for the full disk: the write fails half-way likewise."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_restoring_onto_a_full_disk_stops_at_once(capsys, here, monkeypatch):
    # Each of 40 pictures failed with a line of its own, and the exit code was 1.
    from tf_deconv.images import writing

    for name in ("a.png", "b.png"):
        write_noise(here / "in" / name)
    write, written = writing.write_pictures, []

    def write_one(pictures, count, kind, path, *more):
        if written:
            full()
        written.append(path)
        return write(pictures, count, kind, path, *more)

    monkeypatch.setattr(writing, "write_pictures", write_one)
    line = fails(capsys, "restore", "denoise-color", "in")
    assert "'restored/b.png' cannot be written: No space left on device; 1 of 2 pictures" in line
    assert "go on with --skip-existing" in line
    assert os.listdir(here / "restored") == ["a.png"]


def test_a_picture_that_is_too_large_for_the_disk_is_not_half_written(capsys, here):
    write_noise(here / "a.png")
    with files_of_at_most(500):
        line = fails(capsys, "restore", "denoise-color", "a.png")
    assert "cannot be written: File too large" in line
    assert os.listdir(here / "restored") == []


@pytest.mark.parametrize(("what", "limit_bytes"), [("weights", 2_000), ("graph", 50_000)])
def test_exporting_onto_a_full_disk_is_one_line_and_leaves_nothing(
    capsys, untrained, tmp_path, monkeypatch, what, limit_bytes
):
    # TensorFlow's error is none of the system's, and came through as a traceback.
    import keras
    import tensorflow as tf

    from tf_deconv.inference import run_folder

    save, model, wrote_weights = tf.saved_model.save, untrained, []
    if what == "graph":  # The weights come first, and few of them fit.
        image = keras.Input((None, None, 3))
        network = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
        model = tmp_path / "few.keras"
        run_folder.save_model(network, model, dict(task="denoise", divisor=1, scale=1))

    def save_on_a_full_disk(module, folder, *more):
        try:
            with files_of_at_most(limit_bytes):
                save(module, folder, *more)
        finally:
            wrote_weights.append(os.path.exists(f"{folder}/variables/variables.index"))

    monkeypatch.setattr(tf.saved_model, "save", save_on_a_full_disk)
    options = ("--sizes", "28", "--variants", "float32", "--name", "m")
    line = fails(capsys, "export", model, "--out", tmp_path / "out", *options)
    assert "make room and start again" in line
    assert wrote_weights == [what == "graph"]
    assert os.listdir(tmp_path / "out") == []


def test_a_full_disk_for_temporary_files_is_no_fault_of_the_model(capsys, untrained, tmp_path):
    # Keras unpacks weights into one: the model "cannot be loaded by Keras".
    with files_of_at_most(2_000):
        line = fails(capsys, "inspect", untrained)
    assert "File too large; make room and start again" in line


def test_sharding_onto_a_full_disk_is_one_line_and_leaves_nothing(capsys, tmp_path):
    write_noise(tmp_path / "in" / "a.png")
    with files_of_at_most(500):
        line = fails(capsys, "shard", tmp_path / "in", "--out", tmp_path / "out")
    assert "File too large" in line
    assert os.listdir(tmp_path) == ["in"]


def test_what_says_that_a_disk_is_full():
    assert files.no_space(OSError(errno.ENOSPC, "x"))
    assert files.no_space(RuntimeError("h5: No space left on device"))
    assert not files.no_space(OSError("encoder error -2"), ".")
    assert not files.no_space(OSError(errno.EACCES, "Permission denied"))
    assert not files.no_space(ValueError("x"))


# --- Runs that a killed process had only begun.


def test_a_new_run_clears_runs_in_which_nothing_but_a_lock_was_left(tmp_path):
    names = ("dead", "young", "alive", "mine")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").touch()
        if name != "young":
            os.utime(tmp_path / name / ".lock", (0, 0))
    (tmp_path / "mine" / "config.json").touch()
    with locks.held(tmp_path / "alive" / ".lock", "", ""):
        os.utime(tmp_path / "alive" / ".lock", (0, 0))
        with checkpoints.claiming(tmp_path / "new", new=True):
            assert sorted(os.listdir(tmp_path)) == ["alive", "mine", "new", "young"]


def test_a_training_that_was_stopped_tells_the_whole_command_to_go_on(capsys, monkeypatch):
    def stop(config, report):
        stopped = Interrupted(signal.SIGINT)
        stopped.run_dir = pathlib.Path("runs", "of mine")
        raise stopped

    monkeypatch.setattr(api, "train", stop)
    monkeypatch.setattr(sys, "argv", ["tf-deconv"])
    assert main.main(["train"]) == 130
    assert capsys.readouterr().out.splitlines() == [
        "stopped: the best model so far is in runs/of mine",
        "to go on: tf-deconv train --resume --run-dir 'runs/of mine'",
    ]
