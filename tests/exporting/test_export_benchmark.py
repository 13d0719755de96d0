"""`benchmark --export`: rows, table and plot of what an export does in the runtimes there are."""

import io
import json

import pytest
from PIL import Image

from tests.fixtures import gates
from tests.fixtures.commands import fails
from tf_deconv.evaluation.config import BenchmarkConfig
from tf_deconv.exporting import benchmark
from tf_deconv.exporting.benchmark import Row
from tf_deconv.utils.options import UserError


@pytest.fixture(scope="module")
def measured(run, script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    options = ("--sizes", 64, "--variants", "float32", "int8", "int8-full")
    with gates.in_this_process():
        script("export.py", run.folder, "--out", folder, *options)
    config = BenchmarkConfig(
        export=str(folder / "old-photo-article"), threads="1", out=str(folder / "out")
    )
    lines = []
    return folder / "out", benchmark.benchmark(config, lines.append), lines


def test_every_file_is_measured_in_every_runtime_that_is_installed(measured):
    _, result, _ = measured
    rows = {(row["file"], row["runtime"]): row for row in result["rows"]}
    names = [f"tflite/old-photo-article-{v}.tflite" for v in ("float32", "int8", "int8-full")]
    for runtime in ("litert", "litert-compiled"):
        for name in names:
            row = rows[name, runtime]
            assert row["fault"] == ""
            assert 0 < row["p50_ms"] <= row["p95_ms"]
            assert row["saved_model_psnr_db"] > (120 if "float32" in name else 40)
    assert rows[names[1], "litert"]["delegated"] == 1.0
    assert rows["1/", "tensorflow"]["saved_model_psnr_db"] is None
    scores = {round(row["task_psnr_db"], 1) for row in rows.values()}
    assert max(scores) - min(scores) < 0.4


def test_it_leaves_json_a_table_and_a_plot(measured):
    folder, result, lines = measured
    assert json.loads((folder / "benchmark.json").read_text()) == result
    table = (folder / "benchmark.md").read_text().splitlines()
    assert len(table) == 2 + len(result["rows"])
    assert all(line in lines for line in table)
    with Image.open(io.BytesIO((folder / "benchmark.png").read_bytes())) as image:
        assert image.format == "PNG"
        assert min(image.size) > 500


def test_a_file_that_a_runtime_cannot_run_is_told_in_its_row():
    row = Row("a.tflite", "openvino", 1, 10, fault="ended with code 1: no | such")
    assert benchmark.table([row])[-1] == (
        "| a.tflite | openvino | 1 | 10 | ended with code 1: no / such |  |  |  |  |"
    )


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"files": []}'])
def test_what_is_no_export_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(
        UserError, match=r"is not an exported model: manifest.json: .*saved_models/NAME"
    ):
        benchmark.benchmark(BenchmarkConfig(export=str(tmp_path)), print)


def test_bad_options_are_one_line(capsys, exported):
    assert "expected --export and the folder" in fails(capsys, "benchmark")
    error = fails(capsys, "benchmark", "--export", exported.folder, "--threads", "many")
    assert "--threads many: expected numbers" in error
