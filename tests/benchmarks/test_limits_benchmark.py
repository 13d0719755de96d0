"""`benchmarks/limits.py`: its arithmetic, and that it runs; no time is asserted."""

import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

from tf_deconv.exporting.tflite import convert as tflite_convert
from tf_deconv.inference import shipped
from tf_deconv.networks import complexity
from tf_deconv.networks.article import build_article
from tf_deconv.networks.unet import build_unet

# Scripts find each other beside themselves.
sys.path.append(str(pathlib.Path(__file__).parents[2] / "benchmarks"))

import limits
import limits_contenders as contenders
import limits_layers as layers

pytestmark = pytest.mark.exhaustive

SMALLEST = "super-resolve-x4"


def operator(kind="CONV_2D", work=0, moved=100, layer="a", shape="3x3"):
    return layers.Operator(kind, layer, shape, work, moved)


def convert(model, path, divisor, scale, phased):
    calibration = np.random.default_rng(0).random((1, 16, 24, model.input_shape[-1]), np.float32)
    how = dict(divisor=divisor, scale=scale, phased=phased)
    path.write_bytes(
        tflite_convert.convert(model, ["float32"], [(16, 24)], calibration, **how)["float32"]
    )
    return layers.read(path)


@pytest.mark.parametrize(
    ("model", "divisor", "scale"),
    [
        (lambda: build_article(None, None), 2, 1),
        (lambda: build_unet(size="small"), 4, 1),
        (lambda: build_unet(filters=(8, 16), blocks=(1, 1), space_to_depth=True), 4, 1),
        (lambda: build_unet(size="tiny", scale=2), 4, 2),
    ],
    ids=["article", "small", "space-to-depth", "x2"],
)
def test_every_multiply_add_of_a_file_is_one_of_the_networks(model, divisor, scale, tmp_path):
    model = model()
    pixels = 16 * 24 * scale**2
    counts = complexity.multiply_adds_of_layers(model)
    expected = {name: count * pixels for name, count in counts.items()}
    operators = convert(model, tmp_path / "a.tflite", divisor, scale, phased=False)
    found = layers.by_layer(operators, counts)
    assert {name: count for name, count in found.items() if count} == pytest.approx(expected)
    assert sum(each.multiply_adds for each in operators) == pytest.approx(sum(expected.values()))
    # By phases some multiply zeros besides, and nothing is of no layer.
    phased = convert(model, tmp_path / "b.tflite", divisor, scale, phased=True)
    found = layers.by_layer(phased, counts)
    assert set(found) - {""} <= set(expected)
    assert found.get("", 0) == 0
    for name, count in expected.items():
        assert found[name] >= count * 0.999


def test_a_step_is_of_the_size_that_a_shipped_network_was_trained_with():
    for name in limits.SHIPPED:
        manifest = json.loads((shipped.find(name) / "manifest.json").read_text())
        config, task = contenders.training_of(manifest)
        assert (config.task, config.network) == (manifest["task"], "unet")
        assert config.patch_size == manifest["training"]["patch_size"] >= 96
        assert (task.scale, config.init) == (manifest["scale"], None)


def test_operations_are_two_for_a_multiply_add_and_three_times_that_in_training(tmp_path):
    network = limits.Network(shipped.find(SMALLEST), tmp_path)
    # For each pixel that goes in, of which there are a sixteenth: the head, six convolutions, the
    # transposed one from 40 to 3 channels, and what repeats the picture from 3 to 3.
    work = (9 * 3 * 40 + 6 * 9 * 40**2 + 16 * 40 * 3 + 16 * 3 * 3) / 16
    assert network.operations() == 2 * work * 256 * 256
    assert network.operations((96, 96)) == 2 * work * 384 * 384
    config, _ = contenders.training_of(network.manifest)
    side = 2 * (config.patch_size,)
    assert network.step_operations() == 3 * config.batch_size * network.operations(side)
    picture = np.load(network.picture)
    assert picture.shape == (1, 64, 64, 3)
    assert 0 <= picture.min() < picture.max() <= 1


def test_the_roof_is_memory_up_to_the_ridge_and_then_the_processor():
    roof = layers.Roof(flops=100.0, bytes_per_s=10.0)
    assert [roof.attainable(each) for each in (1, 10, 50)] == [10, 100, 100]
    assert [roof.bound(each) for each in (1, 10, 50)] == ["memory", "compute", "compute"]


def test_shares_of_a_table_are_of_work_time_and_peak():
    operators = [
        operator(work=300, moved=10),
        operator(work=300, moved=10),
        operator(work=400, moved=800, shape="1x1"),
        operator("ADD", moved=120, shape="to 8x8"),
    ]
    roof = layers.Roof(flops=1000.0, bytes_per_s=100.0)
    rows = layers.table(operators, [1.0, 1.0, 6.0, 2.0], roof)
    assert next(row["shape"] for row in rows) == "1x1"
    by_shape = {row["shape"]: row for row in rows}
    conv, point, total = by_shape["3x3"], by_shape["1x1"], by_shape["to 8x8"]
    assert (conv["number"], conv["work"], conv["time"]) == (2, 0.6, 0.2)
    # 1,200 operations in 2 s, 60 for each byte: 0.6 of the peak, which bounds it.
    assert (conv["peak"], conv["intensity"], conv["bound"]) == (0.6, 60.0, "compute")
    assert conv["roof"] == 0.6
    # One operation for each byte, at most 100 a second: 133 are more than memory gives.
    assert (point["bound"], point["intensity"]) == ("memory", 1.0)
    assert point["roof"] == pytest.approx(800 / 6 / 100)
    # 120 bytes in 2 s, of 100 a second.
    assert (total["gflops"], total["bound"]) == (0.0, "memory")
    assert total["roof"] == pytest.approx(0.6)
    assert sum(row["time"] for row in rows) == pytest.approx(1)
    lines = [*layers.lines(rows, least_share=0.25)]
    assert lines[-1].startswith("| 2 others | 3 | 60.0% | 40.0% |")


def test_a_profile_is_given_to_the_files_operators():
    operators = [
        operator("MIRROR_PAD"),
        operator("CONV_2D", work=1),
        operator("RELU"),
        operator("TRANSPOSE_CONV", work=1),
        operator("ADD"),
    ]
    events = [
        ("MIRROR_PAD", 1.0),
        ("Convert (NC, F32, QD8)", 2.0),
        ("Convolution (NHWC, QD8, F32, QC8W) IGEMM", 4.0),
        ("Deconvolution (NHWC, F32) Subconv2D", 8.0),
        ("Add (ND)", 16.0),
    ]
    # Converting is the convolution's; the relu is within it.
    assert layers.assign(operators, events) == [1, 6, 0, 8, 16]
    for wrong in (events[:3], events[3:], [*events, ("Copy", 1.0)]):
        with pytest.raises(ValueError, match="not the file's"):
            layers.assign(operators, wrong)


def test_the_peak_is_the_faster_library():
    figures = {
        "TensorFlow float32|1": 3.0,
        "LiteRT float32|1": 4.0,
        "LiteRT float32|2": 7.0,
        "TensorFlow bfloat16|1": 2.0,
        "LiteRT int8|1": 5.0,
        "LiteRT dynamic|1": 6.0,
    }
    peaks = [limits.peak(figures, kind, 1) for kind in ("float32", "bfloat16", "int8")]
    assert peaks == [4, 3, 6]
    assert limits.peak(figures, "float32", 2) == 7
    assert limits.peak({}, "float32", 1) == 0


def test_of_several_rounds_the_fastest_counts():
    assert limits.best("cache|1", [1, 3, 2]) == 3
    assert limits.best("inference|a|float32|1", [1, 3, 2]) == 1
    profiles = [[["Add", 2.0]], 0.2], [[["Add", 1.0]], 0.1]
    assert limits.best("layers|a|float32", profiles) == profiles[1]
    assert limits.best("start|a|b", [{"client": 2}, {"client": 1}]) == {"client": 1}


def test_pytorchs_best_mode_is_what_counts(tmp_path):
    rates = {
        "train.py, step alone": [200, 300],
        "PyTorch float32": [100],
        "PyTorch bfloat16": [150, 200],
        "PyTorch bfloat16, torch.compile": [],
        "matrix product": [999],
    }
    rounds = {name: [{"rate": rate} for rate in found] for name, found in rates.items()}
    (tmp_path / "a.json").write_text(json.dumps({"rounds": rounds}))
    assert limits.against_pytorch(tmp_path / "a.json") == 1.5
    (tmp_path / "a.json").write_text(
        json.dumps({"rounds": {"train.py, step alone": rounds["matrix product"]}})
    )
    assert limits.against_pytorch(tmp_path / "a.json") is None


@pytest.mark.parametrize("kind", ["float32", "int8", "dynamic"])
def test_products_and_bandwidth_are_measured(products, kind):
    assert contenders.product_of_litert(products, kind, 1, 0.0, [32]) > 0
    assert contenders.triad(4096, 2, 0.0) > 0


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    contenders.make_products(folder, [32])
    return folder


def test_the_program_measures_a_network(tmp_path, monkeypatch, capsys):
    for name, value in {"SECONDS": 0.0, "RUNS": 2, "STEPS": 1}.items():
        monkeypatch.setattr(limits, name, value)
    arguments = ["--rounds", "1", "--networks", SMALLEST, "--threads", "1"]
    limits.main([*arguments, "--parts", "layers", "--json", str(tmp_path / "a.json")])
    out, err = capsys.readouterr()
    assert err == "round 1 of 1 is done\n"
    assert f"{SMALLEST}, float32, 1 thread(s)" in out
    assert "| CONV_2D 3x3, 40 to 40 channels, to 64x64x40 | 6 |" in out
    figures = json.loads((tmp_path / "a.json").read_text())
    assert set(figures) == {f"layers|{SMALLEST}|float32", f"layers|{SMALLEST}|int8"}


def test_the_program_measures_everything_else(tmp_path, monkeypatch, capsys):
    for name, value in {"SECONDS": 0.0, "RUNS": 2, "STEPS": 1}.items():
        monkeypatch.setattr(limits, name, value)
    monkeypatch.setattr(contenders, "MEMORY_BYTES", 1 << 16)
    # Trained on less than it was: where bfloat16 is emulated, 96 pixels take minutes.
    folder = shutil.copytree(limits.folder_of(SMALLEST), tmp_path / SMALLEST)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["training"] |= {"patch_size": 16, "batch_size": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    arguments = ["--rounds", "1", "--networks", str(folder), "--threads", "1", "--sides", "32"]
    limits.main([*arguments, "--parts", "peaks", "inference", "training", "starts"])
    out, err = capsys.readouterr()
    assert err == "round 1 of 1 is done\n"
    for kind in ("float32", "int8", "SavedModel"):
        assert f"| {SMALLEST} | {kind} | 1 |" in out
    assert f"| {SMALLEST} | mixed_bfloat16 |" in out
    assert "| LiteRT dynamic |" in out
    for client, stages in contenders.STAGES.items():
        assert f"| {client}, seconds: network | Python | {' | '.join(stages)} |" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--networks", "denoise-gray"], "networks='denoise-gray': no exported model"),
        (["--rounds", "0"], "rounds=0: expected 1 or more"),
        (["--threads", "0"], "threads=0: expected 1 or more"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        limits.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_what_fails_is_named_and_left_out(capsys):
    assert limits.call("layers", "nowhere", "a.tflite", "b.npy", 1, 1) is None
    assert capsys.readouterr().err.startswith("layers nowhere: failed: ")
