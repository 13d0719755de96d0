"""ONNX by Keras's own export: any size, the gate, and what is told where packages are missing."""

import importlib.util
import json
import os

import pytest

from tf_deconv.exporting import onnx_file, pipeline
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.utils.options import UserError


def test_packages_that_are_missing_are_told_before_any_work(monkeypatch):
    monkeypatch.setattr(onnx_file, "_is_there", lambda name: name == "onnx")
    with pytest.raises(UserError, match="onnxruntime, tf2onnx not installed: pip install 'tf2onnx"):
        onnx_file.check_packages()


@pytest.mark.clients
def test_an_onnx_file_of_any_size_is_checked_and_published(run, tmp_path, gate_here):
    # The gate's odd sizes found 37 rows padded to 36: the converter rounds -37 % 4 towards zero.
    if not importlib.util.find_spec("tf2onnx"):
        needed = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if needed else pytest.skip)("not installed: tf2onnx")
    options = dict(sizes="28,32x48", variants="float32,int8-weights", onnx=True)
    config = ExportConfig(model=str(run.folder), out=str(tmp_path), **options)
    result = pipeline.export(config, lambda _: None)
    assert result.failures == ()
    reports = {item.file: item for item in result.reports if item.file.endswith(".onnx")}
    name = "onnx/old-photo-article"
    floats = [f"{name}.onnx", f"{name}-28x28.onnx", f"{name}-32x48.onnx"]
    small = [file.replace(".onnx", "-int8-weights.onnx") for file in floats]
    assert list(reports) == floats + small
    assert all(reports[file].psnr_db > 100 for file in floats)
    for whole, file in zip(floats, small):
        assert 50 < reports[file].psnr_db < 100
        # What a graph without weights takes is the same.
        assert reports[file].size_bytes < 0.5 * reports[whole].size_bytes
        assert reports[file].input == reports[whole].input
    assert "ConvTranspose" in reports[f"{name}.onnx"].operators
    # Of one size nothing is computed but the network, in the layout that its operators have.
    fixed = reports[f"{name}-32x48.onnx"]
    assert fixed.operators == {"Conv": 4, "ConvTranspose": 1, "MaxPool": 1, "Relu": 4, "Sigmoid": 1}
    files = json.loads((result.folder / "manifest.json").read_text())["files"]
    told = {entry["file"]: entry.get("input") for entry in files}
    assert told[fixed.file] == {"layout": "NCHW", "shape": [1, 1, 32, 48]}
    assert told[f"{name}.onnx"] == {"layout": "NHWC", "shape": [None, None, None, 1]}
    entry = next(each for each in files if each["file"] == small[2])
    assert entry["parity"]["floor_db"] == 40
    assert entry["golden"]["floor_db"] <= 40
    # Exported again without it, it is no longer there: the manifest would not tell of it.
    options["onnx"] = False
    pipeline.export(ExportConfig(model=str(run.folder), out=str(tmp_path), **options), print)
    assert not (tmp_path / "old-photo-article" / "onnx").exists()


@pytest.mark.clients
def test_of_an_onnx_file_the_large_weights_become_int8_by_output_channel(tmp_path, rng):
    pytest.importorskip("onnxruntime")
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    kernels = {"first": (8, 3, 3, 3), "wide": (16, 8, 3, 3), "up": (16, 8, 2, 2)}
    weights = {name: rng.normal(size=shape).astype("f") for name, shape in kernels.items()}
    weights["wide"][3] = 0  # A channel without a range.
    weights["wide"][5] *= 100
    nodes = [
        onnx.helper.make_node("Conv", ["image", "first"], ["a"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Conv", ["a", "wide"], ["b"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("ConvTranspose", ["b", "up"], ["restored"], strides=[2, 2]),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [onnx.helper.make_tensor_value_info("image", kind, (1, 3, 8, 8))],
        [onnx.helper.make_tensor_value_info("restored", kind, (1, 8, 16, 16))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = onnx.helper.make_opsetid("", onnx_file.OPSET)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    source, path = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
    onnx.save(model, source)
    onnx_file.write_int8_weights(source, path)
    stored = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    assert {name for name, array in stored.items() if array.dtype == "int8" and array.ndim > 1} == {
        "wide_int8",
        "up_int8",  # Two fifths of the weights: MNN has to do without such files.
    }
    assert "wide" not in stored
    for name, axis in (("wide", 0), ("up", 1)):
        lined = [1, 1, 1, 1]
        lined[axis] = -1
        steps = stored[f"{name}_scale"].reshape(lined)
        assert (abs(stored[f"{name}_int8"] * steps - weights[name]) <= 0.501 * steps).all()
    image = rng.random((1, 3, 8, 8), "f")
    floats, made = (
        onnxruntime.InferenceSession(file).run(None, {"image": image})[0] for file in (source, path)
    )
    assert 0 < abs(made - floats).max() < 0.03 * abs(floats).max()
