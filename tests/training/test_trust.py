"""Training that can be trusted: whatever ends it, nothing is lost and nothing is half-made."""

import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.fixtures.commands import fails
from tests.fixtures.picture_folders import make_pictures, write
from tf_deconv.inference import run_folder
from tf_deconv.training import callbacks, checkpoints, trainer
from tf_deconv.training.config import TrainConfig
from tf_deconv.utils.options import UserError

# Small patches: what a run computes between two moments does not matter here.
SIZES = {"epochs": 5, "steps_per_epoch": 20, "batch_size": 8, "patch_size": 16, "seed": 5}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of small pictures: the bundled ones take longer to read than to train on."""
    return write(tmp_path_factory.mktemp("pictures"), make_pictures(12, side=40))


@pytest.fixture(scope="module")
def options(pictures):
    """Words of the command line, without the run's folder."""
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
    return ["--data", str(pictures), *sizes]


@pytest.fixture(scope="module")
def uninterrupted(train, options, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    train("--run-dir", folder, *options)
    return folder


def final_state(folder):
    return checkpoints.load_newest_checkpoint(folder / "checkpoints")[1]


def assert_same_bits(run, other):
    """Compares all variables of the newest checkpoints, the best models and the histories."""
    assert all(np.array_equal(*pair) for pair in zip(final_state(run), final_state(other)))
    models = [run_folder.load_model(folder).get_weights() for folder in (run, other)]
    assert all(np.array_equal(*pair) for pair in zip(*models))
    assert (run / "history.csv").read_bytes() == (other / "history.csv").read_bytes()


@pytest.mark.slow
def test_runs_are_equal_bit_by_bit_by_their_seed(uninterrupted, train, options, tmp_path):
    for name, seed in (("same", SIZES["seed"]), ("other", 6)):
        train("--run-dir", tmp_path / name, *options[:-1], "--seed", seed)
    assert_same_bits(tmp_path / "same", uninterrupted)
    pairs = zip(final_state(tmp_path / "other"), final_state(uninterrupted))
    assert not any(np.array_equal(*pair) for pair in pairs if pair[0].ndim > 1)


@pytest.mark.slow
def test_a_stopped_process_keeps_its_best_model_and_can_go_on(
    repository, train, uninterrupted, options, tmp_path
):
    folder = tmp_path / "run"
    command = [sys.executable, "train.py", "--run-dir", str(folder), *options]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("epoch 2/5"):
                break
        process.send_signal(signal.SIGTERM)
        output = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert "best model so far" in output
    assert run_folder.load_model(folder).get_weights()
    assert "resuming after epoch 2" in train("--resume", "--run-dir", folder)
    assert_same_bits(folder, uninterrupted)


@pytest.mark.slow
def test_ctrl_c_stops_between_two_steps_and_training_can_go_on(
    train, uninterrupted, pictures, tmp_path
):
    folder = tmp_path / "run"

    def stop_in_epoch_3(line):
        if line.startswith("epoch 2/5"):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    config = TrainConfig(data=str(pictures), run_dir=str(folder), **SIZES)
    with pytest.raises(callbacks.Interrupted) as stopped:
        trainer.train(config, report=stop_in_epoch_3)
    assert (stopped.value.signum, stopped.value.run_dir) == (signal.SIGINT, folder)
    assert signal.getsignal(signal.SIGINT) == before
    assert run_folder.load_model(folder).get_weights()
    assert "resuming after epoch 2" in train("--resume", "--run-dir", folder)
    assert_same_bits(folder, uninterrupted)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(train, uninterrupted, tmp_path):
    folder = shutil.copytree(uninterrupted, tmp_path / "run")
    newest = max((folder / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    output = train("--resume", "--run-dir", folder)
    assert "epoch-000005.npz is damaged" in output
    assert "resuming after epoch 4" in output
    assert_same_bits(folder, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("attempt", [0, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_a_run_killed_at_any_moment_ends_at_the_same_bits(
    repository, train, uninterrupted, options, tmp_path, attempt
):
    # kill -9 leaves no chance to clean up: as a power cut, but for what the system still writes.
    folder = tmp_path / "run"
    command = [sys.executable, "train.py", "--run-dir", str(folder), *options]
    draw = random.Random(attempt)
    epoch = draw.randrange(SIZES["epochs"])
    reached = folder / "checkpoints" / (f"epoch-{epoch:06d}.npz" if epoch else "")
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL) as process:
        while not reached.exists():
            time.sleep(0.02)
            assert process.poll() is None
        # Within an epoch, or while its files are written: as fast as the machine is.
        time.sleep(draw.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
    train("--resume", "--run-dir", folder)
    assert_same_bits(folder, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit_bytes", "whole"),
    [
        (600_000, {"config.json", "samples.npz", "model.keras", "history.csv"}),
        (200_000, {"config.json", "samples.npz"}),
        (10_000, {"config.json"}),
    ],
    ids=["checkpoint", "model", "samples"],
)
def test_a_full_disk_is_one_line_and_leaves_no_damaged_file(
    capsys, options, tmp_path, limit_bytes, whole
):
    # A limit on the size of files stands for the full disk: the write fails half-way likewise.
    folder = tmp_path / "run"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limits[1]))
    try:
        line = fails(capsys, "train", "--run-dir", folder, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert line.startswith("tf-deconv train: File too large")
    left = [path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    assert {path.name for path in left} <= whole
    if (folder / "samples.npz").exists():
        run_folder.load_samples(folder / "samples.npz")
    if (folder / "model.keras").exists():
        assert run_folder.load_model(folder)


@pytest.mark.slow
def test_resuming_on_other_pictures_is_refused(capsys, uninterrupted, pictures, tmp_path):
    run = shutil.copytree(uninterrupted, tmp_path / "run")
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace(str(pictures), str(tmp_path / "data")))
    write(tmp_path / "data", make_pictures(12, side=40, seed=9))
    # A finished run that is to stay as it is needs no pictures.
    message = fails(capsys, "train", "--resume", "--run-dir", run, "--epochs", 6)
    assert "are not those that" in message


@pytest.mark.slow
def test_a_run_with_averaged_weights_and_clipped_gradients_resumes_at_the_same_bits(
    train, options, tmp_path
):
    more = ["--ema", "0.9", "--clip-norm", "0.1", "--loss", "l1"]
    train("--run-dir", tmp_path / "whole", *options, *more)
    # As if it had stopped one epoch earlier.
    folder = shutil.copytree(tmp_path / "whole", tmp_path / "run")
    max((folder / "checkpoints").iterdir()).unlink()
    train("--resume", "--run-dir", folder)
    assert_same_bits(folder, tmp_path / "whole")


def test_averaged_weights_are_validated_and_raw_ones_trained_on():
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    model.compile(optimizer, "mse", jit_compile=False)
    averaged = callbacks.AveragedWeights()
    raw = [model.get_weights()[0].item()]
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: raw.append(model.get_weights()[0].item())
    )
    x = np.ones((8, 1), np.float32)
    logs = model.fit(
        x,
        0 * x,
        batch_size=8,
        epochs=4,
        validation_data=(x, 0 * x),
        callbacks=[averaged, record],
        verbose=0,
    ).history
    # The loss is the weight squared: it tells which weights were trained and which validated.
    np.testing.assert_allclose(np.square(raw[:-1]), logs["loss"], rtol=1e-4)
    weight = averaged.weights[0].item()
    assert logs["val_loss"][-1] == pytest.approx(weight**2, rel=1e-4)
    assert abs(raw[-1]) < abs(weight) < abs(raw[0])


def writer(folder):
    (folder / "checkpoints").mkdir()
    return callbacks.RunWriter(folder, lambda: None, [], 0.0, "hash")


def test_a_loss_that_is_no_number_stops_with_advice(tmp_path):
    with pytest.raises(UserError, match=r"lower --learning-rate .* there is no model yet"):
        writer(tmp_path).on_epoch_end(0, {"loss": float("nan"), "val_psnr": 20.0})
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_loss_that_is_no_number_names_the_model_that_is_kept(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(UserError, match="the best model so far is in"):
        writer(tmp_path).on_epoch_end(3, {"loss": float("inf"), "val_psnr": 20.0})


def test_only_the_last_checkpoints_are_kept(tmp_path):
    for epoch in range(5):
        path = tmp_path / f"epoch-{epoch:06d}.npz"
        checkpoints.save_checkpoint(path, {"epoch": epoch, "data_sha256": ""}, [np.arange(epoch)])
        checkpoints.remove_old_checkpoints(tmp_path, callbacks.CHECKPOINTS_KEPT)
    assert len(list(tmp_path.iterdir())) == callbacks.CHECKPOINTS_KEPT
    state, variables, warnings = checkpoints.load_newest_checkpoint(tmp_path)
    assert (state["epoch"], len(variables[0]), warnings) == (4, 4, [])


@pytest.mark.parametrize("keep_bytes", [0, 1, 100, -1])
def test_a_checkpoint_cut_short_is_passed_over(tmp_path, keep_bytes):
    for epoch in (1, 2):
        path = tmp_path / f"epoch-{epoch:06d}.npz"
        checkpoints.save_checkpoint(path, {"epoch": epoch, "data_sha256": ""}, [np.arange(100.0)])
    path.write_bytes(path.read_bytes()[:keep_bytes])
    state, _, warnings = checkpoints.load_newest_checkpoint(tmp_path)
    assert state["epoch"] == 1
    assert len(warnings) == 1


def test_a_checkpoint_with_a_flipped_bit_is_passed_over(tmp_path):
    for epoch in (1, 2):
        path = tmp_path / f"epoch-{epoch:06d}.npz"
        checkpoints.save_checkpoint(path, {"epoch": epoch, "data_sha256": ""}, [np.arange(1000.0)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert checkpoints.load_newest_checkpoint(tmp_path)[0]["epoch"] == 1
