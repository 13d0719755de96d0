"""How benchmarks end where their user made a mistake."""

import runpy

import pytest

from tf_deconv.utils.options import UserError


@pytest.fixture(scope="module")
def outcome(request):
    return runpy.run_path(str(request.config.rootpath / "benchmarks" / "outcome.py"))


def fault():
    raise UserError("size='huge': expected tiny, small or base")


def missing():
    open("no-such-file.tflite", encoding="utf-8").close()


@pytest.mark.parametrize(
    ("main", "code", "words"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (fault, 2, "size='huge': expected tiny, small or base"),
        (missing, 2, "no-such-file.tflite: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(outcome, capsys, main, code, words):
    with pytest.raises(SystemExit) as caught:
        outcome["run"](main)
    assert caught.value.code == code
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == (code == 2)


def test_what_is_a_fault_of_the_script_stays_a_traceback(outcome):
    with pytest.raises(ZeroDivisionError):
        outcome["run"](lambda: 1 / 0)


def test_every_script_that_is_run_ends_so(repository):
    own = {"ablation.py", "train_jax.py", "training.py", "archive.py"}
    for path in (repository / "benchmarks").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if 'if __name__ == "__main__":' in text and path.name not in own:
            assert "outcome.run(main)" in text, path.name
