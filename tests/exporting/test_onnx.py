"""ONNX by Keras's own export: any size, the gate, and what is told where packages are missing."""

import importlib.util
import os

import pytest

from tf_deconv.exporting import onnx_file, pipeline
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.utils.options import UserError


def test_packages_that_are_missing_are_told_before_any_work(monkeypatch):
    monkeypatch.setattr(onnx_file, "_is_there", lambda name: name == "onnx")
    with pytest.raises(UserError, match=r"onnxruntime, tf2onnx not installed.*tf-deconv\[onnx\]"):
        onnx_file.check_packages()


@pytest.mark.clients
def test_an_onnx_file_of_any_size_is_checked_and_published(run, tmp_path):
    # The gate's odd sizes found 37 rows padded to 36: the converter rounds -37 % 4 towards zero.
    if not importlib.util.find_spec("tf2onnx"):
        needed = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if needed else pytest.skip)("not installed: tf2onnx")
    options = dict(sizes="28", variants="float32", onnx=True)
    config = ExportConfig(model=str(run.folder), out=str(tmp_path), **options)
    result = pipeline.export(config, lambda _: None)
    assert result.failures == ()
    (report,) = [item for item in result.reports if item.file.endswith(".onnx")]
    assert report.psnr_db > 100
    assert "ConvTranspose" in report.operators
    # Exported again without it, it is no longer there: the manifest would not tell of it.
    options["onnx"] = False
    pipeline.export(ExportConfig(model=str(run.folder), out=str(tmp_path), **options), print)
    assert not (tmp_path / "old-photo-article" / "onnx").exists()
