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
    options = dict(sizes="28,32x48", variants="float32", onnx=True)
    config = ExportConfig(model=str(run.folder), out=str(tmp_path), **options)
    result = pipeline.export(config, lambda _: None)
    assert result.failures == ()
    reports = {item.file: item for item in result.reports if item.file.endswith(".onnx")}
    name = "onnx/old-photo-article"
    assert list(reports) == [f"{name}.onnx", f"{name}-28x28.onnx", f"{name}-32x48.onnx"]
    assert all(report.psnr_db > 100 for report in reports.values())
    assert "ConvTranspose" in reports[f"{name}.onnx"].operators
    # Of one size nothing is computed but the network, in the layout that its operators have.
    fixed = reports[f"{name}-32x48.onnx"]
    assert fixed.operators == {"Conv": 4, "ConvTranspose": 1, "MaxPool": 1, "Relu": 4, "Sigmoid": 1}
    files = json.loads((result.folder / "manifest.json").read_text())["files"]
    told = {entry["file"]: entry.get("input") for entry in files}
    assert told[fixed.file] == {"layout": "NCHW", "shape": [1, 1, 32, 48]}
    assert told[f"{name}.onnx"] == {"layout": "NHWC", "shape": [None, None, None, 1]}
    # Exported again without it, it is no longer there: the manifest would not tell of it.
    options["onnx"] = False
    pipeline.export(ExportConfig(model=str(run.folder), out=str(tmp_path), **options), print)
    assert not (tmp_path / "old-photo-article" / "onnx").exists()
