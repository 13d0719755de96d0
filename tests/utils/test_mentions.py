"""A message names options as its reader types them: flags in a shell, arguments in Python."""

import dataclasses
import pathlib
import re

import pytest

import tf_deconv
from tests.fixtures.commands import fails
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.mentions import typed, with_arguments, with_flags
from tf_deconv.utils.options import UserError, naming, option

PACKAGE = pathlib.Path(tf_deconv.__file__).parent


@dataclasses.dataclass(frozen=True)
class Options:
    model: str | None = option(None, "a model", type=str)
    out: str = option("x", "a folder")
    tile_size: int = option(0, "pixels")
    engine: str = option("auto", "an engine", choices=("auto", "beam"))
    no_labels: bool = option(False, "without")
    overwrite: bool = option(False, "replace")
    args: str | None = option(None, "texts", type=str)


@pytest.mark.parametrize(
    ("written", "in_a_shell", "in_python"),
    [
        ("tile_size=5: expected at least 14", "--tile-size 5: expected at least 14", None),
        ("out='a b': no", "--out 'a b': no", None),
        ("out='': no", "--out '': no", None),
        ("engine='litert' (did you mean 'x'?)", "--engine litert (did you mean 'x'?)", None),
        ("tile_size=nan, out=[1, 2]", "--tile-size nan, --out [1, 2]", None),
        ("model=None: expected one", "no MODEL: expected one", None),
        ("model='x' and out=None", "MODEL x and no --out", None),
        ("overwrite=True with no_labels=True", "--overwrite with --no-labels", None),
        ("overwrite=False, no_labels=False", "--no-overwrite, --labels", None),
        ("args='--runner=X': bad", "--args --runner=X: bad", None),
        ("choose another --out", None, "choose another out"),
        ("add --overwrite", None, "add overwrite=True"),
        ("expected --engine beam with it", None, "expected engine='beam' with it"),
        ("expected --engine other", None, "expected engine other"),
        ("--args='--runner=X'", None, "args='--runner=X'"),
        # What is nobody's option, or somebody's text.
        ("ffmpeg --outer, --all; outer=3; a.out=3", None, None),
        ("'out=3' and \"it's --out\" are files", None, None),
        ("`tf-deconv x --out y` in the model's folder out", None, None),
    ],
)
def test_a_mention_is_what_the_reader_types(written, in_a_shell, in_python):
    assert with_flags(written, Options, {"model": "MODEL"}) == (in_a_shell or written)
    assert with_arguments(written, Options) == (in_python or written)


def test_an_error_names_arguments_in_python_and_flags_in_a_shell(capsys):
    with pytest.raises(UserError) as caught:
        tf_deconv.train(degrade="jpeg:0")
    assert str(caught.value).startswith("degrade='jpeg:0': expected jpeg:LEVEL")
    line = fails(capsys, "train", "--degrade", "jpeg:0")
    assert line.startswith("tf-deconv train: --degrade jpeg:0: expected jpeg:LEVEL")


def test_python_is_not_told_of_flags(tmp_path):
    picture = tmp_path / "x.png"
    picture.write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"choose another out, or add overwrite=True to replace"):
        tf_deconv.restore(None, picture, out=str(tmp_path / "out"))


def test_the_first_who_knows_the_options_decides():
    with pytest.raises(UserError) as caught, naming(TrainConfig), naming(Options):
        raise UserError("add --overwrite and --resume")
    assert str(caught.value) == "add overwrite=True and --resume"


def test_no_message_tells_to_give_an_argument_none():
    # "data=None: expected --data, a folder" said one thing twice.
    for path in PACKAGE.rglob("*.py"):
        for name, flag in re.findall(r"(\w+)=None: expected --([\w-]+)", path.read_text()):
            pytest.fail(f"{path.name}: {name}=None: expected --{flag}")


@pytest.mark.parametrize(
    ("began", "command", "expected"),
    [
        ("train.py", "train", "python train.py --resume"),
        ("somewhere/export.py", "train", "python train.py --resume"),
        ("export.py", "restore", "tf-deconv restore --resume"),
        ("bin/tf-deconv", "export", "tf-deconv export --resume"),
        ("my_train.py", "train", "tf-deconv train --resume"),
    ],
)
def test_a_command_is_named_as_its_reader_typed_the_last_one(monkeypatch, began, command, expected):
    monkeypatch.setattr("sys.argv", [began])
    assert typed(command, "--resume") == expected
