"""What a first call shows, and what a mistyped one is told."""

import importlib.util
import subprocess
import sys

import pytest

import tf_deconv
from tests.fixtures.commands import call, does, fails, refuses
from tf_deconv.cli import completion, main
from tf_deconv.cli.overview import COMMANDS, HELPERS, overview
from tf_deconv.cli.parser import make_parser


def test_without_words_the_overview_is_shown_as_for_what_is_not_complete(capsys):
    code, out, err = call(capsys)
    assert (code, err) == (2, "")
    assert out == overview() + "\n"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["help", "help"]])
def test_help_is_the_overview(capsys, words):
    assert does(capsys, *words) == overview() + "\n"


def test_the_overview_names_every_command_and_fits_80_columns():
    assert set(COMMANDS) == set(main._COMMANDS)
    lines = overview().splitlines()
    for name in [*COMMANDS, *HELPERS]:
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_fits_80_columns_in_groups(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    text = does(capsys, "help", command)
    assert text == does(capsys, command, "--help")
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith(f"usage: tf-deconv {command} ")
    assert "\noptions:\n" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_value_has_a_name_that_says_what_it_is(command):
    parsers = next(a for a in make_parser()._actions if a.dest == "command").choices
    for action in parsers[command]._actions:
        if action.nargs != 0:
            assert action.metavar not in (None, "TEXT", "N", "F"), action


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_is_told(capsys, words):
    assert does(capsys, *words) == f"tf-deconv {tf_deconv.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["restor", "x.jpg"], "there is no command restor (did you mean restore?)"),
        (["traim"], "there is no command traim (did you mean train?)"),
        (["hlep"], "there is no command hlep (did you mean help?)"),
        (["xyzzy"], "there is no command xyzzy; see tf-deconv --help"),
        (["help", "exprot"], "there is no command exprot (did you mean export?)"),
        (["--hepl"], "there is no option --hepl (did you mean --help?)"),
        (["--out", "x", "restore"], "no option --out before the command: options come after it"),
        (["restore", "--overwite", "x.jpg"], "no option --overwite (did you mean --overwrite?)"),
        (["restore", "x.jpg", "--engin=beam"], "no option --engin (did you mean --engine?)"),
        (["sample", "--cuont", "3"], "there is no option --cuont (did you mean --count?)"),
        (["train", "--task", "denoize"], "--task denoize (did you mean 'denoise'?)"),
        (["restore", "--format", "pgn", "x.jpg"], "--format pgn (did you mean 'png'?)"),
        (["restore", "fhoto", "x.jpg"], "'fhoto' does not exist (did you mean 'photo'?)"),
        (["restore", "x.jpg", "-x"], "there is no option -x"),
        (["restore"], "such as `tf-deconv restore photo.jpg`"),
        (["evaluate"], "no MODEL: type `tf-deconv evaluate MODEL`; MODEL: run folder, .keras file"),
        (["edit"], "no MODEL and no PICTURE: type `tf-deconv edit MODEL PICTURE`; MODEL: "),
        (["export", "--web"], "--web: expected FOLDER after it; see tf-deconv export --help"),
        (["restore", "a.png", "-o"], "-o: expected FOLDER|FILE after it"),
        (["completion"], "expected tf-deconv completion bash|zsh|fish|tcsh"),
        (["completion", "bsh"], "'bsh' (did you mean 'bash'?)"),
    ],
)
def test_a_mistyped_word_is_answered_by_the_nearest_one(capsys, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in refuses(capsys, *words)


def test_a_picture_without_a_command_is_answered_by_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jpg").write_bytes(b"")
    assert "(did you mean: tf-deconv restore x.jpg?)" in refuses(capsys, "x.jpg")


@pytest.mark.parametrize("words", [["help"], ["inspect"]])
def test_whoever_stops_reading_is_told_nothing(repository, words):
    # `tf-deconv inspect | head -1` ended with "Broken pipe", and without words in a traceback.
    command = [sys.executable, "-m", "tf_deconv", *words]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, cwd=repository, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == main.EXIT_PIPE


def test_what_follows_two_dashes_is_no_option(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "'--overwite' does not exist" in fails(capsys, "restore", "photo", "--", "--overwite")


def test_the_overview_imports_nothing_that_takes_time(repository):
    # It took 0.2 s of a processor, most of it NumPy and the options of every command.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tf_deconv", "--help"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tf_deconv.cli.main" in loaded
    assert not {name for name in loaded if name.split(".")[0] in ("numpy", "PIL", "tensorflow")}
    assert not {name for name in loaded if name.startswith("tf_deconv.") and "config" in name}


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_a_shell_completes_commands_options_models_and_tasks(capsys, shell):
    pytest.importorskip("shtab")
    script = does(capsys, "completion", shell)
    words = [
        "restore",
        "completion",
        "self-ensemble",
        "super-resolve-x4",
        "deblur-motion",
        "openvino",
    ]
    assert [word for word in words if word not in script] == []


def test_completion_tells_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'shtab>=1.13'" in refuses(capsys, "completion", "bash")
