"""`benchmarks/training.py`: its work, table and mistakes; PyTorch twins where torch is."""

import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

# Scripts find each other beside themselves.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import training
import training_work

pytestmark = pytest.mark.exhaustive

# Multiply-adds of the article's network for a 28x28 picture, by hand: positions, kernel, channels.
ARTICLE_MACS = (
    28 * 28 * 9 * 1 * 32
    + 14 * 14 * 16 * 32 * 64
    + 28 * 28 * 9 * 64 * 64
    + 28 * 28 * 16 * 64 * 3
    + 28 * 28 * 3 * 3
)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Makes every timed run short; prepares a small work of a network and returns it."""
    monkeypatch.setattr(training_work, "REPEATS", 1)
    for table in (training_work.STEPS, training_work.BATCHES):
        monkeypatch.setitem(table, "cpu", {"article": 2, "unet": 2})
    monkeypatch.setenv(training_work.FOLDER_VARIABLE, str(tmp_path))

    def prepare(network, size=None):
        work = training_work.make_work("cpu", network, size, batch_size=2, patch_size=16)
        training_work.prepare(work)
        return work

    return prepare


def test_a_cpu_gets_the_networks_own_batches_and_a_gpu_larger_ones():
    assert training_work.make_work("cpu", "article") == training_work.Work(
        "cpu", "article", None, 64, 28
    )
    assert training_work.make_work("cpu", "unet") == training_work.Work(
        "cpu", "unet", "small", 16, 64
    )
    for network in training_work.TASKS:
        own, large = (training_work.make_work(device, network) for device in ("cpu", "gpu"))
        assert large.batch_size > own.batch_size
        assert large.patch_size > own.patch_size
    assert training_work.make_work("gpu", "unet", "base", 8, 96) == training_work.Work(
        "gpu", "unet", "base", 8, 96
    )


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("network", training_work.TASKS)
def test_a_timed_run_is_whole_executions_and_whole_passes(device, network):
    work = training_work.make_work(device, network)
    assert work.steps % 10 == 0
    assert work.steps % work.batches == 0


def test_operations_are_those_counted_by_hand(small):
    work = small("article")
    facts = training_work.load_facts()
    assert facts["step_flops"] * (28 / work.patch_size) ** 2 == pytest.approx(6 * ARTICLE_MACS)
    assert facts["parameters"] == 73_167


def test_both_ways_of_xla_are_measured_on_a_gpu_only():
    of_cpu, of_gpu = (
        training.make_contenders(training_work.make_work(device, "article"))
        for device in ("cpu", "gpu")
    )
    for name in training.XLA.values():
        assert name in of_gpu
        assert name not in of_cpu
    assert {training.PIPELINE, training.BASE, "PyTorch bfloat16 channels-last"} <= set(of_cpu)


KERAS = [
    name
    for name in training.make_contenders(training_work.make_work("cpu", "unet", "tiny"))
    if "PyTorch" not in name and not name.startswith(training.PRODUCT)
]


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("network", training_work.TASKS)
def test_every_contender_measures(small, network, name, run_python):
    work = small(network, "tiny" if network == "unet" else None)
    contenders = training.make_contenders(work)
    name = name.replace("batch 16", "batch 2")
    if name not in contenders:
        pytest.skip("the network is trained with Adam anyway")
    # Elsewhere: one sets the seed of this process, and makes its operations deterministic.
    code = (
        f"import sys; sys.path.append({str(pathlib.Path(training.__file__).parent)!r})\n"
        "import json, training, training_work\n"
        "training_work.REPEATS = 1\n"
        "training_work.STEPS = training_work.BATCHES = {'cpu': {'article': 2, 'unet': 2}}\n"
        f"work = training_work.{work!r}\n"
        f"print(json.dumps(training.make_contenders(work)[{name!r}].run(work)), flush=True)\n"
        "import os; os._exit(0)"
    )
    result = json.loads(run_python(code).splitlines()[-1])
    assert result["rate"] > 0
    assert result["precision"] in training.PRECISIONS
    assert ("XLA off" in result["device"]) == name.startswith("train.py")


def results(**rates):
    names = {"base": training.BASE, "pipeline": training.PIPELINE}
    return {
        names.get(name, name): {"rate": rate, "precision": "mixed_bfloat16", "device": "Some GPU"}
        for name, rate in rates.items()
    }


def test_a_cpus_table_keeps_its_form():
    best = results(pipeline=80.0, base=100.0)
    best["matrix product float32"] = {"rate": 5e9, "precision": "float32", "device": ""}
    work = training_work.make_work("cpu", "article")
    assert training.make_table(work, best, 1e8) == [
        "| contender | images/s | train.py's step is ... times as fast | GFLOP/s |",
        "|---|---:|---:|---:|",
        "| train.py, whole pipeline | 80 | 1.25 | 8 |",
        "| train.py, step alone | 100 | 1.00 | 10 |",
        "| matrix product float32 | | | 5 |",
    ]


def test_a_gpus_table_tells_the_share_of_its_matrix_product_in_the_same_format():
    best = results(base=1000.0)
    best["Keras"] = {"rate": 500.0, "precision": "float32", "device": ""}
    for dtype, rate in (("float32", 400e12), ("bfloat16", 800e12)):
        best[training.PRODUCT + dtype] = {"rate": rate, "precision": dtype, "device": ""}
    lines = training.make_table(training_work.make_work("gpu", "article"), best, 2e11)
    assert lines == [
        "| contender | images/s | train.py's step is ... times as fast | TFLOP/s |"
        " share of its matrix product |",
        "|---|---:|---:|---:|---:|",
        "| train.py, step alone | 1000 | 1.00 | 200.0 | 25 % |",
        "| Keras | 500 | 2.00 | 100.0 | 25 % |",
        "| matrix product float32 | | | 400.0 | |",
        "| matrix product bfloat16 | | | 800.0 | |",
    ]


def test_notes_tell_the_choice_the_stall_the_faster_xla_and_the_best_of_pytorch():
    best = results(base=100.0, pipeline=80.0)
    best |= {training.XLA[xla]: {"rate": rate} for xla, rate in (("on", 90.0), ("off", 100.0))}
    best |= {"PyTorch a": {"rate": 40.0}, "PyTorch b": {"rate": 50.0}}
    assert training.make_notes(best) == [
        "train.py chose: Some GPU",
        "input stall: the whole pipeline adds 25 % to the step's time",
        "XLA: on is 0.90 times as fast as off; train with --xla off",
        "step alone: 2.00 times PyTorch b",
    ]


def test_a_contender_that_failed_is_left_out_of_what_is_said():
    assert training.make_notes(results(pipeline=80.0)) == []
    work = training_work.make_work("cpu", "article")
    assert training.make_table(work, results(pipeline=80.0), 1e8)[2:] == [
        "| train.py, whole pipeline | 80 | | 8 |"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "article", "--size", "base"], "size='base'"),
        (["--network", "unet", "--size", "huge"], "size='huge'"),
        (["--network", "unet", "--patch-size", "30"], "patch_size=30"),
        (["--batch-size", "0"], "batch_size=0"),
        (["--rounds", "0"], "--rounds 0: expected at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["training.py", *arguments])
    assert training.main() == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""


def test_a_gpu_that_is_not_there_is_one_line_and_exit_code_2(repository):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is one")
    done = subprocess.run(
        [sys.executable, "benchmarks/training.py", "--device", "gpu"],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "TensorFlow sees no GPU" in done.stderr


def keras_weights(model):
    """Yields a Keras model's weights in PyTorch's order of axes, of either kind of convolution."""
    for weight in model.get_weights():
        yield weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight


@pytest.mark.parametrize(
    ("network", "size"), [("article", None), ("unet", "tiny"), ("unet", "small"), ("unet", "base")]
)
def test_the_pytorch_twin_computes_the_same(small, network, size, rng):
    torch = pytest.importorskip("torch")
    import training_torch

    from tf_deconv.training import compilation

    work = small(network, size)
    model = compilation.build_in("float32", work.task(), work.config())
    # The U-Net's tail begins with zeros, and would say nothing.
    for weight in model.trainable_variables:
        if weight.shape[-2:] and not weight.numpy().any():
            weight.assign(rng.normal(0, 0.1, weight.shape))
    facts = training_work.load_facts()
    twin = training_torch.build(facts)
    own = twin.weights() if network == "unet" else twin.parameters()
    with torch.no_grad():
        for mine, theirs in itertools.zip_longest(own, keras_weights(model)):
            assert mine.shape == theirs.shape
            mine.copy_(torch.from_numpy(theirs.copy()))
    assert sum(weight.numel() for weight in twin.parameters()) == facts["parameters"]
    image = rng.random((2, 16, 16, facts["channels"][0]), np.float32)
    with torch.no_grad():
        restored = twin(torch.from_numpy(image.transpose(0, 3, 1, 2).copy())).numpy()
    expected = model.predict(image, verbose=0)
    assert np.abs(expected - restored.transpose(0, 2, 3, 1)).max() < 1e-4
