"""Core ML files: what their programs compute, operator by operator, is what Keras computes.

Core ML itself runs on Apple's machines alone; `parity.mil` stands in for it.
"""

import importlib.util
import json
import os
import warnings

import numpy as np
import pytest

from tests.fixtures import gates
from tests.fixtures.commands import call
from tf_deconv.exporting import coreml_file, golden
from tf_deconv.exporting.parity import diagnosis, process
from tf_deconv.utils import files

pytestmark = pytest.mark.clients


@pytest.fixture(autouse=True)
def coremltools():
    if importlib.util.find_spec("coremltools") is None:
        required = os.environ.get("TF_DECONV_REQUIRE_CLIENTS") == "1"
        (pytest.fail if required else pytest.skip)("not installed: coremltools")


def networks():
    """Networks of random weights: all kinds of pictures that go in and come out."""
    from tf_deconv.networks.article import build_article
    from tf_deconv.networks.unet import build_unet

    yield "grey to colour, the article's", build_article(None, None, 1, 3), 2, 1
    for name, channels, scale in (("colour", (3, 3), 1), ("mask", (4, 3), 1), ("x2", (3, 3), 2)):
        yield name, build_unet(None, None, *channels, scale, "tiny"), 4, scale


@pytest.mark.parametrize("number", range(4))
def test_the_program_computes_what_keras_does(number, tmp_path, gate_here):
    import keras

    keras.utils.set_random_seed(number)
    name, model, divisor, scale = list(networks())[number]
    rng = np.random.default_rng(number)
    for layer in model.layers:
        if layer.name.startswith("tail"):  # Which begins at zero.
            shapes = [weight.shape for weight in layer.get_weights()]
            layer.set_weights([0.05 * rng.standard_normal(shape) for shape in shapes])
    channels = model.input_shape[-1]
    image = golden.picture(24, 32, channels)[np.newaxis]
    expected = np.asarray(model(image))
    # Random weights have larger values than trained ones, which keep 80 dB.
    floors = {"float32": 100, "float16": 45}
    for precision, sizes in (("float32", ()), ("float16", ((24, 32),))):
        path = tmp_path / f"{precision}.mlpackage"
        facts = {"name": name, "scale": scale, "task": "denoise", "license": "none"}
        how = dict(divisor=divisor, sizes=sizes, facts=facts)
        coreml_file.write_coreml(model, path, precision, **how)
        key = "serving_default|0"
        received = process.run_file(path, {key: image}, "coreml-program", timed=False)[key]
        wanted = expected if channels == 4 else np.clip(expected, 0, 1)
        found = diagnosis.psnr_db(received, wanted)
        print(f"{name}, {precision}: {found:.1f} dB")
        assert found >= floors[precision]
        described = describe(path)
        assert described["kinds"] == (
            ["multiArrayType"] * 2 if channels == 4 else ["imageType"] * 2
        )
        assert described["names"] == ["image", "restored"]
        assert json.loads(described["facts"]) == facts
        assert described["license"] == "none"


def describe(path):
    with files.silent_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools as ct

        spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec().description
    ends = [*spec.input, *spec.output]
    return {
        "names": [each.name for each in ends],
        "kinds": [each.type.WhichOneof("Type") for each in ends],
        "facts": spec.metadata.userDefined["tf_deconv.json"],
        "license": spec.metadata.license,
    }


def test_an_export_has_core_ml_files_that_are_verified(capsys, run, tmp_path):
    options = ("--coreml", "--variants", "float32", "--name", "model", "--out", tmp_path)
    # `verify` below gives each a process of its own.
    with gates.in_this_process():
        code, output, error = call(capsys, "export", run.folder, *options)
    assert code == 0, output + error
    folder = tmp_path / "model"
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    kept = {entry["file"]: entry for entry in entries if "coreml" in entry["file"]}
    assert list(kept) == [f"coreml/model-{each}.mlpackage" for each in ("float32", "float16")]
    for entry in kept.values():
        assert entry["input"] == {"layout": "image", "shape": [1, 1, None, None]}
        assert any(name.endswith("weight.bin") for name in entry["sha256"])
    code, output, error = call(capsys, "verify", folder, "--runtime", "coreml-program")
    assert code == 0, output + error
    assert output.count(": right, ") == 2


def test_what_is_missing_is_told_before_anything_is_loaded(
    capsys, monkeypatch, untrained, tmp_path
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "coremltools" else find(name)
    )
    code, _, error = call(capsys, "export", untrained, "--coreml", "--out", tmp_path / "x")
    assert code == 2
    assert "--coreml: coremltools not installed" in error
    assert not (tmp_path / "x").exists()
