"""Several devices and machines train what one trains; who is lost is named; one writes."""

import json
import os
import subprocess
import textwrap
import time

import numpy as np
import pytest

from tests.fixtures import workers
from tests.fixtures.commands import fails, refuses
from tests.fixtures.picture_folders import write
from tf_deconv.cli.parser import make_parser
from tf_deconv.data import generation_batches, patches
from tf_deconv.data.store import PictureStore
from tf_deconv.degradations.tasks import TASKS
from tf_deconv.training import checkpoints
from tf_deconv.training.cluster import read_cluster

# float32, for in bfloat16 the gradient of half a batch is rounded to 3 digits. A low rate, for what
# rounding makes different grows with each step: docs/distributed.md.
OPTIONS = ("--epochs", 5, "--steps-per-epoch", 8, "--batch-size", 16, "--learning-rate", 0.0001)
OPTIONS += ("--precision", "float32")


@pytest.fixture(scope="module")
def options(bundled, tmp_path_factory):
    """Those, and parts of photographs: whole ones take longer to read than to train on.

    Not noise, of which many gradients are so near to zero that rounding turns their sign.
    """
    photographs = [bundled.training.picture(index) for index in range(4)]
    corners = (0, 100, 200)
    parts = [photo[at : at + 64, at : at + 64] for photo in photographs for at in corners]
    return ("--data", write(tmp_path_factory.mktemp("pictures"), parts), *OPTIONS)


def checkpoint(folder):
    """Returns history and variables of a run's newest checkpoint."""
    state, variables, damaged = checkpoints.load_newest_checkpoint(folder / "checkpoints")
    assert not damaged
    return state["history"], variables


def assert_trained_alike(one, other):
    (history, variables), (other_history, other_variables) = map(checkpoint, (one, other))
    assert len(history) == len(other_history) == 5
    for row, other_row in zip(history, other_history):
        assert row == pytest.approx(other_row, rel=1e-5, abs=1e-5)
    for variable, other_variable in zip(variables, other_variables):
        np.testing.assert_allclose(variable, other_variable, atol=1e-5)


@pytest.fixture(scope="module")
def alone(train, options, tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train("--run-dir", folder, *options)
    return folder


@pytest.fixture(scope="module")
def interrupted(options, tmp_path_factory):
    """Two that train together until one is killed: their folders, and what the chief said.

    The second folder must never appear.
    """
    folders = [tmp_path_factory.mktemp("together") / name for name in ("run", "of-the-worker")]
    chief, worker = workers.start([("--run-dir", folder, *options) for folder in folders])
    deadline = time.monotonic() + workers.TIMEOUT_S
    while not (folders[0] / "checkpoints" / "epoch-000001.npz").exists():
        assert time.monotonic() < deadline
        assert (chief.poll(), worker.poll()) == (None, None)
        time.sleep(0.05)
    worker.kill()
    said, _ = workers.ends([chief, worker])
    return folders, said


@pytest.fixture(scope="module")
def together(interrupted):
    """The same two, resumed to the end: the chief's folder, and what they said."""
    folder = interrupted[0][0]
    return folder, workers.ends(workers.start([("--run-dir", folder, "--resume")] * 2))


@pytest.mark.slow
def test_a_lost_worker_is_named(interrupted):
    _, (code, output, error) = interrupted
    assert code == 2
    assert error.count("\n") == 1, error
    assert error.startswith("tf-deconv train: worker 1 (127.0.0.1:")
    assert "has stopped or cannot be reached: start all workers again, with --resume" in error
    assert "strategy: multiworker, worker 0 of 0 to 1 (the chief); waiting for 127.0.0.1:" in output


@pytest.mark.slow
def test_two_workers_train_what_one_process_trains_though_one_was_lost(alone, together):
    folder, results = together
    assert [(code, error) for code, _, error in results] == [(0, "")] * 2
    assert "resuming after epoch" in results[1][1]
    assert_trained_alike(folder, alone)


@pytest.mark.slow
def test_only_the_chief_writes(alone, interrupted, together):
    chief, worker = interrupted[0]
    assert not worker.exists()
    assert sorted(path.name for path in chief.iterdir()) == sorted(
        path.name for path in alone.iterdir()
    )


@pytest.mark.slow
def test_workers_say_who_they_are_and_how_a_batch_is_shared(together):
    _, ((_, chief, _), (_, worker, _)) = together
    assert "strategy: multiworker, worker 0 of 0 to 1 (the chief); waiting for 127.0.0.1:" in chief
    assert "worker 1 of 0 to 1 (its chief is 127.0.0.1:" in worker
    for output in (chief, worker):
        assert "batch: 16 over all replicas, 8 on each" in output
        assert "epoch 5/5" in output
    assert "next: tf-deconv export " in chief
    assert worker.endswith("/run'\n")


@pytest.mark.exhaustive
def test_two_workers_that_are_left_alone_train_what_one_process_trains(alone, options, tmp_path):
    folders = [tmp_path / name for name in ("run", "of-the-worker")]
    commands = [("--run-dir", folder, *options) for folder in folders]
    results = workers.ends(workers.start(commands))
    assert [(code, error) for code, _, error in results] == [(0, "")] * 2
    assert results[1][1].endswith("/of-the-worker'\n")
    assert_trained_alike(folders[0], alone)
    assert not folders[1].exists()


@pytest.mark.slow
def test_workers_with_other_options_are_refused(options, tmp_path):
    commands = [("--run-dir", tmp_path / "run", *options, "--seed", seed) for seed in (1, 2)]
    for code, _, error in workers.ends(workers.start(commands)):
        assert code == 2
        assert error.count("\n") == 1, error
        assert "the workers do not have the same options: start each with the same" in error
    assert not (tmp_path / "run" / "config.json").exists()


# Runs each command of a JSON list; of those that train only one, for a second network's collective
# operations would meet those of the first.
MIRRORED = """
import contextlib, io, json, sys
from tf_deconv.cli.main import main
from tf_deconv.utils.quiet import import_tensorflow, quiet_libraries
quiet_libraries()
import_tensorflow()
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
said = []
for arguments in json.loads(sys.argv[1]):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = main(["train", "--strategy", "mirrored", *arguments])
    said.append((code, output.getvalue()))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def train_mirrored(run_python):
    """Runs commands on two devices of one machine; returns the exit code and output of each."""

    def run(*commands):
        text = json.dumps([list(map(str, command)) for command in commands])
        return json.loads(run_python(MIRRORED, text).splitlines()[-1])

    return run


@pytest.mark.slow
def test_two_devices_of_a_machine_train_what_one_trains(alone, train_mirrored, options, tmp_path):
    # One process for both, for most of its time is the start.
    refused, trained = train_mirrored(
        ("--batch-size", 7, "--run-dir", tmp_path / "refused"),
        ("--run-dir", tmp_path / "run", *options),
    )
    assert refused[0] == 2
    assert "--batch-size 7 over 2 replicas: expected a multiple of 2" in refused[1]
    assert "6 or 8 would do" in refused[1]
    assert not (tmp_path / "refused").exists()

    assert trained[0] == 0
    assert "strategy: mirrored, 2 CPUs" in trained[1]
    assert "batch: 16 over all replicas, 8 on each" in trained[1]
    assert_trained_alike(tmp_path / "run", alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--network", "vae", "--filters", "8,8"), marks=pytest.mark.exhaustive),
        (
            *("--network", "flow", "--filters", "8,8,8"),
            *("--ema", "0.9", "--precision", "mixed_bfloat16"),
        ),
    ],
    ids=["vae", "flow"],
)
def test_generators_train_on_two_devices(options, train_mirrored, tmp_path, rng):
    np.save(tmp_path / "pictures.npy", rng.integers(0, 255, (64, 16, 16), np.uint8))
    options = ("--task", "generate", "--data", tmp_path / "pictures.npy", *options)
    sizes = ("--epochs", 1, "--steps-per-epoch", 2, "--batch-size", 8)
    ((code, output),) = train_mirrored(("--run-dir", tmp_path / "run", *options, *sizes))
    assert code == 0
    assert "epoch 1/1" in output


@pytest.fixture(scope="module")
def store():
    pictures = np.random.default_rng(3).integers(0, 255, (9, 40, 40, 3), np.uint8)
    return PictureStore.of([(f"{index}", picture) for index, picture in enumerate(pictures)])


def joined(parts):
    """Puts the rows of parts together again, batch by batch."""
    return [
        [np.concatenate(arrays) for arrays in zip(*batches)]
        for batches in zip(*(list(part.as_numpy_iterator()) for part in parts))
    ]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_of_a_batch_are_the_batch_without_overlap(store, parts):
    options = dict(patch_size=16, batch_size=6, steps_per_epoch=2, seed=5)

    def batches(**part):
        return patches.training_data(store, TASKS["denoise"], **options, **part).take(4)

    whole = [list(batch) for batch in batches().as_numpy_iterator()]
    shared = joined([batches(part=part, parts=parts) for part in range(parts)])
    for batch, own in zip(whole, shared, strict=True):
        for array, own_array in zip(batch, own, strict=True):
            np.testing.assert_array_equal(array, own_array)


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_generators_batch_have_the_noise_of_the_whole(store, parts):
    pictures = generation_batches.Pictures(store, 16, 3)
    options = dict(batch_size=6, steps_per_epoch=2, seed=5)

    def noise(**part):
        batches = generation_batches.training_batches(
            pictures, generation_batches.vae_batch(4, False), **options, **part
        )
        return batches.map(lambda inputs, target: (inputs["noise"], target)).take(3)

    whole = [list(batch) for batch in noise().as_numpy_iterator()]
    shared = joined([noise(part=part, parts=parts) for part in range(parts)])
    for batch, own in zip(whole, shared, strict=True):
        for array, own_array in zip(batch, own, strict=True):
            np.testing.assert_array_equal(array, own_array)


def test_replicas_of_a_vae_add_up_to_its_loss():
    import keras

    from tf_deconv.networks.likelihoods import make_likelihood
    from tf_deconv.networks.vae import build_vae
    from tf_deconv.training.vae import VaeTrainer

    keras.utils.set_random_seed(0)
    image = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    inputs = {"image": image, "noise": np.zeros((4, 2), np.float32)}
    network = build_vae(height=8, width=8, channels=1, latent=2, filters=(4, 4), parameters=1)
    losses = []
    for replicas in (1, 4):
        trainer = VaeTrainer(network, make_likelihood("bernoulli"), 0.0, 0, replicas)
        loss = trainer.compute_loss(y=image, y_pred=network(inputs), training=True)
        losses.append(float(loss))
    assert losses[0] == pytest.approx(4 * losses[1])


@pytest.mark.parametrize("index", [0, 1])
def test_a_port_that_is_taken_is_refused(index, capsys, monkeypatch, tmp_path):
    import contextlib
    import socket

    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("", 0))
        listener.listen()
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        addresses = ["127.0.0.1:9", "127.0.0.1:9"]
        addresses[index] = taken
        monkeypatch.setenv("TF_CONFIG", workers.tf_config(addresses, index))
        line = fails(capsys, "train", "--run-dir", tmp_path / "run")
    assert f"TF_CONFIG gives this worker {taken}, and its port cannot be opened" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        ("multiworker", "--strategy multiworker without TF_CONFIG in the environment"),
        ("mirrored", "--strategy mirrored with 1 CPU: expected two or more GPUs"),
    ],
)
def test_a_strategy_that_this_machine_has_not_is_refused(strategy, says, capsys, tmp_path):
    options = ("--device", "cpu", "--run-dir", tmp_path / "run")
    line = fails(capsys, "train", "--strategy", strategy, *options)
    assert says in line
    assert not list(tmp_path.iterdir())


def test_a_broken_tf_config_is_refused_before_anything_is_printed(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_CONFIG", "{")
    line = refuses(capsys, "train", "--run-dir", tmp_path / "run")
    assert line.startswith("tf-deconv train: TF_CONFIG is not JSON")


def test_the_pods_of_the_kubernetes_example_make_one_cluster(repository, tmp_path):
    manifest = (repository / "examples" / "kubernetes" / "train.yaml").read_text()
    script = textwrap.dedent(manifest.split("            - |\n")[1].split("          ports:")[0])
    program = tmp_path / "tf-deconv"
    program.write_text('#!/bin/sh\necho "$TF_CONFIG"\necho "$@"\n')
    program.chmod(0o755)

    def start(pod):
        environment = dict(WORKERS="3", RUN=str(tmp_path / "run"), JOB_COMPLETION_INDEX=str(pod))
        environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
        command = ["/bin/sh", "-c", script]
        output = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
        config, arguments = output.rsplit("\n", 2)[:2]
        return read_cluster(config), arguments.split()

    started = [start(pod) for pod in range(3)]
    assert [cluster.index for cluster, _ in started] == [0, 1, 2]
    assert len({cluster.addresses for cluster, _ in started}) == 1
    assert started[1][0].address == "tf-deconv-1.tf-deconv:2222"
    assert make_parser().parse_args(started[0][1]).task == "denoise"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    assert start(1)[1] == ["train", "--run-dir", str(tmp_path / "run"), "--resume"]
