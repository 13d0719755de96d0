"""Every command of every page is one that the program takes: parsed, checked and not run."""

import pathlib
import re

import pytest

from tests.fixtures import pages
from tf_deconv.cli import main
from tf_deconv.cli.parser import make_parser
from tf_deconv.data.config import ShardConfig, check_shard_config
from tf_deconv.evaluation.config import (
    BenchmarkConfig,
    EvaluateConfig,
    check_benchmark_config,
)
from tf_deconv.exporting.config import ExportConfig, check_export_config
from tf_deconv.generation.config import EditConfig, SampleConfig
from tf_deconv.inference.config import RestoreConfig, check_restore_config
from tf_deconv.training.config import TrainConfig, check_train_config
from tf_deconv.utils.options import UserError, validate

_CHECKS = {
    "train": (TrainConfig, check_train_config),
    "export": (ExportConfig, check_export_config),
    "restore": (RestoreConfig, check_restore_config),
    "sample": (SampleConfig, validate),
    "edit": (EditConfig, validate),
    "evaluate": (EvaluateConfig, validate),
    "benchmark": (BenchmarkConfig, None),
    "shard": (ShardConfig, check_shard_config),
}
# Words that a reader puts a name of a table for.
_PLACEHOLDERS = {"TASK": "denoise"}
_SHELL = ("sh", "bash", "", "dockerfile", "Dockerfile")
_PROGRAM = re.compile(r"\b(tf-deconv|train\.py|export\.py|tf_deconv)\b")


def own_arguments(words):
    """Returns what `tf-deconv` gets of a command's words; None of other programs."""
    words = [word for word in words if word != "$"]
    while words and re.fullmatch(r"[A-Z_]+=.*|time|nice|sudo|RUN|CMD", words[0]):
        words = words[1:]
    if words[:2] == ["podman", "run"]:
        return words[words.index("tf-deconv", 1) + 1 :]
    program = pathlib.Path(words[0]).name if words else ""
    if program == "tf-deconv":
        return words[1:]
    if re.fullmatch(r"python3?(\.\d+)?", program) and len(words) > 1:
        if words[1] in ("train.py", "export.py"):
            return [words[1].removesuffix(".py"), *words[2:]]
        if words[1:3] == ["-m", "tf_deconv"]:
            return words[3:]
    return None


def check(arguments):
    """Parses and checks as the command would before it begins."""
    arguments = [_PLACEHOLDERS.get(word, word) for word in arguments]
    arguments = [word for word in arguments if not re.match(r"\d?[<>]", word)]
    if arguments in (["--version"], ["--help"]):
        return
    # A form or a message, not a command.
    if (
        {"...", "[options]"} & set(arguments)
        or arguments[:1] == [":"]
        or arguments[0].endswith(":")
    ):
        return
    options = vars(make_parser().parse_args(arguments))
    command = options.pop("command")
    if command not in _CHECKS or options.get("resume"):
        return
    cls, checked = _CHECKS[command]
    words = [options.pop(name, None) for name in ("pictures", "json", "models")]
    options.pop("config", None)
    config = cls(**main._gather(options, cls))
    if command == "benchmark":
        check_benchmark_config(config, words[2] or ())
    else:
        checked(config)


def faults_of(page):
    faults = []
    _, blocks = pages.split(page)
    for block in blocks:
        if block.language not in _SHELL or not _PROGRAM.search(block.text):
            continue
        for words in pages.commands(block):
            arguments = own_arguments(words)
            if arguments is None:
                continue
            try:
                check(arguments)
            except SystemExit as end:
                if end.code:
                    faults.append(f"{page}:{block.line}: {' '.join(words)}")
            except UserError as error:
                faults.append(f"{page}:{block.line}: {' '.join(words)}: {error}")
    return faults


def commands_of_pages():
    """Yields (page, words) for every command of every page."""
    for page in pages.pages():
        for block in pages.split(page)[1]:
            if block.language == "sh":
                for words in pages.commands(block):
                    yield page, words


@pytest.mark.parametrize("page", pages.pages(), ids=str)
def test_commands_are_taken_by_the_program(page, capsys):
    faults = faults_of(page)
    assert faults == [], capsys.readouterr().err


def test_extras_that_pages_install_exist():
    project = (pages.ROOT / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, flags=re.MULTILINE)
    named = {
        (str(page), extra)
        for page in pages.pages()
        for group in re.findall(r"(?:\.|tf-deconv)\[([\w,-]+)\]", pages.text_of(page))
        for extra in group.split(",")
    }
    assert named
    assert {each for each in named if each[1] not in extras} == set()


def test_targets_that_pages_name_exist():
    targets = re.findall(r"^([\w-]+):", (pages.ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    faults = []
    for page in pages.pages():
        for target in re.findall(r"`make ([\w-]+)`", pages.text_of(page)):
            if target not in targets:
                faults.append(f"{page}: make {target}")
    assert faults == []


def test_scripts_and_their_options_exist():
    faults = []
    for page, words in commands_of_pages():
        script = next(
            (word for word in words if re.fullmatch(r"([\w.-]+/)+[\w-]+\.py", word)), None
        )
        if script is None:
            continue
        if not (pages.ROOT / script).is_file():
            faults.append(f"{page}: {script}")
            continue
        source = (pages.ROOT / script).read_text()
        flags = [word.partition("=")[0] for word in words if word.startswith("--")]
        faults += [f"{page}: {script} {flag}" for flag in flags if f'"{flag}"' not in source]
    assert faults == []
