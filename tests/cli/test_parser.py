"""The command line beside a config file."""

import dataclasses
import json
import re

import pytest

from tests.fixtures.commands import does
from tf_deconv.cli import main
from tf_deconv.cli.parser import make_parser
from tf_deconv.data import config as data_config
from tf_deconv.evaluation import config as evaluation_config
from tf_deconv.exporting import config as exporting_config
from tf_deconv.generation import config as generation_config
from tf_deconv.inference import config as inference_config
from tf_deconv.training import config

COMMANDS = {
    "train": (config.TrainConfig, []),
    "export": (exporting_config.ExportConfig, []),
    "restore": (inference_config.RestoreConfig, ["model", "picture"]),
    "sample": (generation_config.SampleConfig, ["model"]),
    "edit": (generation_config.EditConfig, ["model", "picture"]),
    "evaluate": (evaluation_config.EvaluateConfig, ["model"]),
    "benchmark": (evaluation_config.BenchmarkConfig, []),
    "verify": (exporting_config.VerifyConfig, ["model"]),
    "shard": (data_config.ShardConfig, ["data"]),
}
SWITCHES = [
    (command, field.name)
    for command, (cls, _) in COMMANDS.items()
    for field in dataclasses.fields(cls)
    if field.metadata["type"] is bool
]


def flags_of(name):
    """Returns the flags that switch an option on and off."""
    flag = "--" + name.replace("_", "-")
    off = "--" + flag.removeprefix("--no-") if name.startswith("no_") else f"--no-{flag[2:]}"
    return flag, off


@pytest.mark.parametrize(("command", "name"), SWITCHES)
@pytest.mark.parametrize("stored", [True, False])
def test_the_command_line_wins_over_a_switch_of_the_config(tmp_path, command, name, stored):
    # What a file had switched on could not be switched off.
    cls, words = COMMANDS[command]
    path = tmp_path / "options.json"
    path.write_text(json.dumps({name: stored}))
    for flag, expected in zip((None, *flags_of(name)), (stored, True, False)):
        given = [command, *words, "--config", str(path), *([flag] if flag else [])]
        options = vars(make_parser().parse_args(given))
        assert main._gather(options, cls)[name] is expected


def test_a_switch_that_nobody_gave_is_left_to_the_config(tmp_path):
    assert "resume" not in vars(make_parser().parse_args(["train"]))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_names_a_switch_by_one_flag_and_says_once_how_it_is_taken_back(capsys, command):
    text = does(capsys, command, "--help")
    switches = [name for of, name in SWITCHES if of == command]
    for name in switches:
        assert re.search(rf"^  (-\w, )?{flags_of(name)[0]}( |$)", text, re.MULTILINE)
    off = [flags_of(name)[1] for name in switches]
    assert text.splitlines()[-1].endswith(f"{off[0]}.")
    assert sum(flag in re.findall(r"--[a-z-]+", text) for flag in off) == 1


def test_there_are_switches():
    assert {"train", "restore", "shard"} < {command for command, _ in SWITCHES}


OF_WORDS = [
    (command, field.name)
    for command, (cls, _) in COMMANDS.items()
    for field in dataclasses.fields(cls)
    if field.metadata["words"]
]


@pytest.mark.parametrize(("command", "name"), OF_WORDS)
def test_an_option_of_several_words_is_given_once(capsys, command, name):
    # `--degrade noise:25 --degrade jpeg:95` did the second alone, without a word.
    flag = flags_of(name)[0]
    with pytest.raises(SystemExit) as caught:
        make_parser().parse_args([command, *COMMANDS[command][1], flag, "a", "b", flag, "c"])
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{flag} is given twice: expected all of it after one {flag}" in told


def test_there_are_options_of_several_words():
    assert ("train", "degrade") in OF_WORDS
    assert ("export", "variants") in OF_WORDS
