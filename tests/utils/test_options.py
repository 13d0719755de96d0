"""Options and files at the boundary: every mistake is one line that says what to do."""

import dataclasses
import hashlib
import json
import os
import pathlib
import stat

import numpy as np
import pytest

from tf_deconv.degradations.tasks import TASKS
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.networks.table import NETWORKS
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError, nearest, read_config, reason, to_json, validate

CHOICES = {"task": TASKS, "network": NETWORKS}


def fault_of(**options):
    with pytest.raises(UserError) as caught:
        validate(TrainConfig(**options), CHOICES)
    return str(caught.value)


# --- validate.


def test_the_defaults_are_valid():
    assert validate(TrainConfig(), CHOICES) == TrainConfig()
    assert validate(ExportConfig()) == ExportConfig()


TASK_NAMES = ", ".join(sorted(TASKS))


def test_all_bad_fields_are_reported_at_once():
    message = fault_of(task="denoize", epochs=0, batch_size="64", device="tpu", data="")
    assert message.split("; ") == [
        f"task='denoize' (did you mean 'denoise'?): expected one of {TASK_NAMES}",
        "data='': expected a name or path that is not empty",
        "epochs=0: expected a number from 1 to 1000000",
        "batch_size='64': expected a whole number",
        "device='tpu' (did you mean 'gpu'?): expected one of auto, cpu, gpu",
    ]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"epochs": 0}, "epochs=0: expected a number from 1 to 1000000"),
        ({"epochs": -3}, "epochs=-3: expected a number from 1 to 1000000"),
        ({"epochs": True}, "epochs=True: expected a whole number"),
        ({"epochs": 1.0}, "epochs=1.0: expected a whole number"),
        ({"epochs": "1"}, "epochs='1': expected a whole number"),
        ({"candidates": None}, "candidates=None: expected a whole number"),
        ({"learning_rate": 0}, "learning_rate=0: expected more than 0 and at most 1"),
        ({"learning_rate": 1.5}, "learning_rate=1.5: expected more than 0 and at most 1"),
        ({"learning_rate": True}, "learning_rate=True: expected a number"),
        ({"learning_rate": float("nan")}, "learning_rate=nan: expected a finite number"),
        ({"learning_rate": float("inf")}, "learning_rate=inf: expected a finite number"),
        ({"learning_rate": float("-inf")}, "learning_rate=-inf: expected a finite number"),
        (
            {"validation_fraction": 1.0},
            "validation_fraction=1.0: expected more than 0 and at most 0.9",
        ),
        ({"seed": -1}, "seed=-1: expected a number from 0 to 2147483647"),
        ({"resume": 1}, "resume=1: expected true or false"),
        ({"resume": "yes"}, "resume='yes': expected true or false"),
        ({"resume": None}, "resume=None: expected true or false"),
        ({"task": 7}, "task=7: expected a text"),
        ({"task": None}, "task=None: expected a text"),
        ({"run_dir": ""}, "run_dir='': expected a name or path that is not empty"),
        ({"run_dir": "a\0b"}, r"run_dir='a\x00b': expected a name or path that is not empty"),
        ({"run_dir": ["a"]}, "run_dir=['a']: expected a text"),
        (
            {"loss": "mae"},
            "loss='mae' (did you mean 'mse'?): expected one of charbonnier, l1, likelihood,"
            " luminance, ms-ssim, mse, psnr",
        ),
        ({"task": "zzz"}, f"task='zzz': expected one of {TASK_NAMES}"),
        (
            {"precision": "mixed_bfloat"},
            "precision='mixed_bfloat' (did you mean 'mixed_bfloat16'?): expected one of auto,"
            " float32, mixed_bfloat16, mixed_float16",
        ),
    ],
)
def test_a_bad_value_is_refused_with_what_is_expected(options, fault):
    assert fault_of(**options) == fault


def test_a_whole_number_too_large_for_a_float_is_refused():
    # Python turns no such number into infinity: it raises OverflowError.
    assert "learning_rate=1000" in fault_of(learning_rate=10**400)


def test_a_whole_number_is_accepted_for_a_float():
    validated = validate(TrainConfig(learning_rate=1), CHOICES)
    assert validated.learning_rate == 1.0
    assert type(validated.learning_rate) is float


def test_numbers_of_numpy_are_taken_as_numbers():
    given = TrainConfig(learning_rate=np.float32(0.5), epochs=np.int64(3), ema=np.float64(0.5))
    validated = validate(given, CHOICES)
    assert (validated.learning_rate, validated.epochs, validated.ema) == (0.5, 3, 0.5)
    assert [type(each) for each in (validated.learning_rate, validated.epochs)] == [float, int]
    assert "epochs=" in fault_of(epochs=np.float32(3.5))
    assert "learning_rate=" in fault_of(learning_rate=np.float32("nan"))
    assert "learning_rate=" in fault_of(learning_rate=True)


@pytest.mark.parametrize("name", ["run_dir", "loss"])
def test_none_is_accepted_where_it_is_the_default(name):
    assert getattr(validate(TrainConfig(**{name: None}), CHOICES), name) is None


@pytest.mark.parametrize("options", [{"seed": 0}, {"seed": 2**31 - 1}, {"learning_rate": 1.0}])
def test_the_bounds_themselves_are_valid(options):
    assert validate(TrainConfig(**options), CHOICES) == TrainConfig(**options)


def test_every_option_has_help():
    for cls in (TrainConfig, ExportConfig):
        assert all(field.metadata["help"] for field in dataclasses.fields(cls))


def test_nearest_is_silent_when_nothing_is_near():
    assert nearest("old_photo", TASKS) == " (did you mean 'old-photo'?)"
    assert nearest("xyz", TASKS) == ""


# --- read_config.


def write_text(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_config_is_read_and_dashes_are_taken_as_underscores(tmp_path):
    path = write_text(tmp_path, '{"batch-size": 8, "patch_size": 32, "data": "photos"}')
    expected = {"batch_size": 8, "patch_size": 32, "data": "photos"}
    assert read_config(path, TrainConfig) == expected
    assert read_config(str(path), TrainConfig) == expected


@pytest.mark.parametrize("written", [TrainConfig(epochs=3, loss="l1"), ExportConfig(name="a")])
def test_a_config_survives_its_file(tmp_path, written):
    path = write_text(tmp_path, json.dumps(to_json(written)))
    assert type(written)(**read_config(path, type(written))) == written


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is not JSON: "),
        ('{"epochs": }', "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ("[]", r'holds a list: expected a JSON object such as \{"epochs": 20\}'),
        ("3", "holds a int: expected a JSON object"),
        ("null", "holds a NoneType: expected a JSON object"),
        (
            '{"epoch": 3, "zzzzz": 1, "batch-sise": 8}',
            r"has unknown options: 'epoch' \(did you mean 'epochs'\?\), 'zzzzz',"
            r" 'batch_sise' \(did you mean 'batch_size'\?\)$",
        ),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text, fault):
    with pytest.raises(UserError, match=f"config '.*' {fault}"):
        read_config(write_text(tmp_path, text), TrainConfig)


@pytest.mark.parametrize(
    "text", ['{"degrade": "noise:5", "degrade": "jpeg:9"}', '{"patch-size": 8, "patch_size": 16}']
)
def test_a_config_with_an_option_twice_is_refused(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"has (degrade|patch_size) twice: expected it once"):
        read_config(path, TrainConfig)


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config '.*' cannot be read: No such file or directory"):
        read_config(tmp_path / "absent.json", TrainConfig)


def test_a_folder_as_config_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config '.*' cannot be read: Is a directory"):
        read_config(tmp_path, TrainConfig)


def test_a_binary_file_as_config_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match=r"config '.*' cannot be read: "):
        read_config(path, TrainConfig)


def test_a_config_with_bad_values_is_refused_in_the_words_of_the_file(tmp_path):
    # The command line would have named flags that nobody typed.
    path = write_text(tmp_path, '{"learning_rate": NaN, "epochs": "3", "resume": null}')
    with pytest.raises(UserError) as caught:
        read_config(path, TrainConfig)
    faults = (
        '"epochs": "3": expected a whole number',
        '"learning_rate": NaN: expected a finite number',
        '"resume": null: expected true or false',
    )
    assert str(caught.value) == f"config {str(path)!r}: {'; '.join(faults)}"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), "No such file or directory"),
        (ValueError("two\n  lines"), "two lines"),
        (ValueError(), "ValueError"),
        (OSError("broken data stream"), "broken data stream"),
    ],
)
def test_a_reason_is_one_line(error, text):
    assert reason(error) == text


# --- files.


def test_replacing_renames_when_the_block_succeeds(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with files.replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


# 250 bytes each; the last one is all suffix.
@pytest.mark.parametrize("name", ["x" * 246 + ".png", "ü" * 123 + ".png", "." + "é" * 124 + "x"])
def test_a_name_as_long_as_a_file_system_takes_is_replaced(tmp_path, name):
    # The temporary name is a little longer than the file's, and once was too long.
    assert len(name.encode()) == 250
    files.write_bytes(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("existing", [True, False])
def test_replacing_leaves_nothing_behind_when_the_block_raises(tmp_path, existing):
    path = tmp_path / "model.keras"
    if existing:
        path.write_text("old")

    def stop_half_way():
        with files.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        stop_half_way()
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    assert not existing or path.read_text() == "old"


def test_a_reader_keeps_the_old_file_while_it_is_replaced(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("old")
    with path.open() as reader:
        files.write_bytes(path, b"new")
        assert reader.read() == "old"
    assert path.read_bytes() == b"new"


def test_a_replaced_file_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "a.txt", b"a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_write_json_is_read_back(tmp_path):
    path = tmp_path / "metrics.json"
    value = {"name": "Zoë", "psnr_db": 24.5, "pictures": [1, None, True], "nested": {}}
    files.write_json(path, value)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")
    assert "Zoë" in text


def test_write_json_writes_null_for_what_is_no_finite_number(tmp_path):
    # NaN and Infinity are no JSON: other programs' parsers stop at them.
    value = {"psnr_db": float("inf"), "pictures": [{"ssim": float("nan")}, (1.5, -float("inf"))]}
    files.write_json(tmp_path / "metrics.json", value)
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read == {"psnr_db": None, "pictures": [{"ssim": None}, [1.5, None]]}


def test_write_json_of_what_json_cannot_hold_keeps_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        files.write_json(path, {"a": pathlib.Path("a")})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_make_folder_makes_parents_and_leaves_them_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    assert files.make_folder(folder) == folder
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    assert files.make_folder(folder) == folder


@pytest.mark.parametrize("below", [".", "a", "a/b"])
def test_make_folder_below_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"folder '.*' cannot be written: .*; choose another one"):
        files.make_folder(tmp_path / "file" / below)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_make_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            files.make_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_sha256_equals_that_of_the_bytes(tmp_path):
    path = tmp_path / "large"
    data = bytes(range(256)) * 5000  # More than one block of 1 MiB.
    path.write_bytes(data)
    assert files.sha256(path) == hashlib.sha256(data).hexdigest()


def test_stderr_is_held_back_unless_the_block_raises(capfd):
    def fail():
        with files.silent_stderr():
            os.write(2, b"the cause\n")
            raise RuntimeError("failed")

    with files.silent_stderr():
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError, match="failed"):
        fail()
    assert capfd.readouterr().err == "the cause\n"
