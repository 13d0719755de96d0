"""Exported files: what they hold, what they answer, and what the gate keeps back."""

import json
import runpy

import numpy as np
import pytest

from tests.fixtures.commands import call
from tests.fixtures.tflite_files import converted, portable, with_metadata
from tf_deconv.exporting import pipeline, publish
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.parity import gate, runner
from tf_deconv.exporting.tflite import convert, flatbuffer, quantize
from tf_deconv.exporting.variants import VARIANTS, Variant
from tf_deconv.inference import run_folder, tflite_file
from tf_deconv.inference.artifacts import to_float32
from tf_deconv.inference.tflite_file import TfliteFile
from tf_deconv.utils import files
from tf_deconv.utils.options import UserError


def test_the_export_is_complete(exported):
    names = {path.name for path in exported.folder.iterdir()}
    others = {"golden", "manifest.json", "README.md", "preview.jpg"}
    assert names == {"1", "tflite", "serving", *others}
    files = {path.name for path in (exported.folder / "tflite").iterdir()}
    assert files == {f"old-photo-article-{variant}.tflite" for variant in VARIANTS}
    assert [path.name for path in exported.folder.parent.iterdir()] == ["old-photo-article"]


def test_the_manifest_describes_and_checksums_every_file(exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    assert manifest["value_range"] == [0.0, 1.0]
    assert (manifest["channels_in"], manifest["channels_out"]) == (1, 3)
    assert manifest["tflite_sizes"] == [[28, 28], [256, 256]]
    assert manifest["training"]["task"] == "old-photo"
    assert len(manifest["data_sha256"]) == 64
    checked = dict(manifest["golden"]["sha256"])
    for entry in manifest["files"]:
        checked |= entry["sha256"]
        assert entry["parity"]["exact"] or entry["parity"]["psnr_db"] >= entry["parity"]["floor_db"]
    for path, digest in checked.items():
        assert files.sha256(exported.folder / path) == digest
    published = {p for p in exported.folder.rglob("*") if p.is_file()}
    described = {exported.folder / path for path in checked}
    others = {"manifest.json", "README.md", "preview.jpg", "models.config", "batching.config"}
    assert {p.name for p in published - described} == others


def test_export_prints_the_table_and_the_next_command(exported):
    for text in ("vs Keras dB", "median ms", "-int8.tflite", "next: tf-deconv restore "):
        assert text in exported.output


@pytest.mark.parametrize("variant", VARIANTS)
def test_tflite_files_have_builtin_operators_and_portable_versions(exported, variant):
    content = exported.tflite(variant).read_bytes()
    parameters = exported.model.count_params()
    assert flatbuffer.find_faults(TfliteFile(content), parameters, VARIANTS[variant]) == []
    counts = TfliteFile(content).operator_counts()
    assert {name for name in counts if name.startswith("TRANSPOSE_CONV")} <= {
        "TRANSPOSE_CONV v1",
        "TRANSPOSE_CONV v2",
        "TRANSPOSE_CONV v3",
    }
    # One for each transposed convolution of each signature: where int8 saturates there is none,
    # and where the last one works on squares of pixels it is a convolution.
    relus = sum(count for name, count in counts.items() if name.startswith("RELU "))
    assert relus == {"dynamic": 4, "int8": 0, "int8-full": 0}.get(variant, 2)


def test_signatures_share_their_weights(exported):
    # Two signatures of float32 weights would need twice this; the last kernel, which works on
    # squares of pixels, has six times its weights.
    size = exported.tflite("float32").stat().st_size
    assert size < 1.3 * 4 * exported.model.count_params()


def test_a_fused_relu_is_found_and_split_without_changing_the_picture(exported, tmp_path):
    # TensorFlow's converter fuses the relu into TRANSPOSE_CONV version 4: GPU delegates refuse it
    # and OpenVINO drops the relu (7.6 dB).
    model = exported.model
    with pipeline.files.silent_stderr():
        convert._write_static_signatures(model, tmp_path, [(28, 28)], 2, 1)
        fused = convert._convert_float(str(tmp_path), "float32", ["restore_28x28"]).content
    faults = flatbuffer.find_faults(TfliteFile(fused), model.count_params(), VARIANTS["float32"])
    assert faults == ["TRANSPOSE_CONV is version 4: expected at most 3"]
    split = portable(fused)
    image = exported.samples.calibration[:1, :28, :28]
    outputs = []
    for number, content in enumerate((fused, split)):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(content)
        outputs.append(gate.run_file(path, {"restore_28x28|0": image})["restore_28x28|0"])
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_a_file_too_small_for_its_weights_is_a_fault(exported):
    # from_concrete_functions once wrote a file without weights, and no error.
    content = exported.tflite("float32").read_bytes()
    faults = flatbuffer.find_faults(TfliteFile(content), 10 * len(content), VARIANTS["float32"])
    assert "cannot hold" in faults[0]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        ("int8", ["a convolution was left in float: calibration had no effect", "0 of 89304 w"]),
        ("dynamic", ["0 of 89304 weights are int8: expected most"]),
        ("int8-weights", ["0 of 89304 weights are int8: expected most"]),
    ],
)
def test_a_float_file_is_no_int8_file(exported, variant, expected):
    # An empty calibration generator once converted to a float model, and no error.
    content = exported.tflite("float32").read_bytes()
    faults = flatbuffer.find_faults(
        TfliteFile(content), exported.model.count_params(), VARIANTS[variant]
    )
    assert len(faults) == len(expected)
    assert all(fault.startswith(start) for fault, start in zip(faults, expected))


def test_a_file_with_pictures_of_another_type_is_a_fault(exported):
    content = exported.tflite("int8").read_bytes()
    faults = flatbuffer.find_faults(
        TfliteFile(content), exported.model.count_params(), VARIANTS["int8-full"]
    )
    assert faults == ["input and output are float32: expected int8"]


def test_int8_pictures_are_the_levels_of_a_picture_file_less_128(exported):
    facts = TfliteFile(exported.tflite("int8-full").read_bytes()).describe()
    for signature in facts["signatures"]:
        assert signature["inputs"]["image"].endswith(", scale 0.00392156886 and zero point -128")
        assert signature["outputs"]["restored"].startswith("int8 (1, ")


def test_a_relu_that_saturation_does_costs_no_operator_and_changes_no_level(exported, tmp_path):
    # As an operator of its own it takes a third of the time of the int8 file on a CPU.
    model, calibration = exported.model, exported.samples.calibration
    image = calibration[:1, :28, :28]
    restored = []
    for keep_relu in (False, True):
        content = converted(
            model, ["int8"], [(28, 28)], calibration, divisor=2, scale=1, keep_relu=keep_relu
        )["int8"]
        assert ("RELU v2" in TfliteFile(content).operator_counts()) == keep_relu
        path = tmp_path / f"{keep_relu}.tflite"
        path.write_bytes(content)
        restored.append(gate.run_file(path, {"restore_28x28|0": image})["restore_28x28|0"])
    np.testing.assert_array_equal(*restored)


def test_a_range_leaves_out_a_few_values_where_that_makes_the_steps_finer(rng):
    values = rng.normal(size=100_000).astype(np.float32)
    low, high = quantize.best_range(np.append(values, [-40.0, 40.0]).astype(np.float32))
    assert -40 < low < -4
    assert 4 < high < 40
    assert quantize.best_range(np.linspace(0, 3, 1000, dtype=np.float32)) == (0.0, 3.0)


def test_a_file_describes_itself(exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    for variant in VARIANTS:
        content = exported.tflite(variant).read_bytes()
        facts = tflite_file.read_metadata(content)
        entry = next(e for e in manifest["files"] if e["file"] == facts["file"])
        for key in ("value_range", "channels_in", "divisor", "scale", "tile_overlap", "license"):
            assert facts[key] == manifest[key]
        # The gate's figures are not there yet: what it checks is the final file.
        assert not {"parity", "task_psnr_db", "task_loss_db"} & facts.keys()
        assert tflite_file.is_unchanged(content, facts) is True
        assert entry["size_bytes"] == len(content)


def test_metadata_is_replaced_and_changes_no_picture(exported, tmp_path):
    content = exported.tflite("float32").read_bytes()
    other = with_metadata(content, {"name": "ö"})
    assert tflite_file.read_metadata(other) == {"name": "ö"}
    assert TfliteFile(other).describe() == TfliteFile(content).describe()
    image = exported.samples.calibration[:1, :28, :28]
    restored = []
    for number, data in enumerate((content, other)):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(data)
        restored.append(gate.run_file(path, {"restore_28x28|0": image})["restore_28x28|0"])
    np.testing.assert_array_equal(*restored)


def test_the_loss_of_every_file_is_told(exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    for entry in manifest["files"]:
        assert abs(entry["task_loss_db"]) < (1e-3 if "float" in entry["file"] else 0.3)


def test_the_manifest_names_the_tensors_of_the_graph(exported):
    tensors = json.loads((exported.folder / "manifest.json").read_text())["graph_tensors"]
    assert set(tensors) == {"serving_default", "serve_bytes", "serve_jpeg"}
    assert tensors["serving_default"]["inputs"] == {"image": "serving_default_image:0"}
    assert tensors["serve_bytes"]["outputs"]["restored_bytes"].startswith("StatefulPartitioned")


def test_serving_configurations_are_text_protocol_buffers_of_this_model(exported):
    models = (exported.folder / "serving" / "models.config").read_text()
    assert 'name: "old-photo-article"' in models
    assert 'base_path: "/models/old-photo-article"' in models
    assert models.count("{") == models.count("}")


@pytest.mark.slow
def test_sizes_and_variants_are_chosen(run, tmp_path, gate_here):
    config = ExportConfig(
        model=str(run.folder),
        out=str(tmp_path),
        sizes="28,64x96",
        variants="float32 int8",
        profile="web",
    )
    assert pipeline.export(config, lambda _: None).failures == ()
    folder = tmp_path / "old-photo-article" / "tflite"
    assert {path.name for path in folder.iterdir()} == {
        "old-photo-article-float32.tflite",
        "old-photo-article-int8.tflite",
    }
    facts = TfliteFile((folder / "old-photo-article-int8.tflite").read_bytes()).describe()
    names = [signature["name"] for signature in facts["signatures"]]
    assert names == ["restore_28x28", "restore_64x96"]
    assert facts["operators"]["RELU v2"] == 4


def test_sizes_that_the_network_does_not_divide_are_refused(run, tmp_path):
    config = ExportConfig(model=str(run.folder), out=str(tmp_path), sizes="28,33x64")
    with pytest.raises(UserError, match="33x64; expected multiples of 2"):
        pipeline.export(config, lambda _: None)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (np.zeros((0, 8, 8, 1), np.float32), "received no picture"),
        (np.linspace(0, 255, 64, dtype=np.float32).reshape(1, 8, 8, 1), r"expected \[0, 1\]"),
        (np.full((1, 8, 8, 1), np.nan, np.float32), r"expected \[0, 1\]"),
        (np.linspace(0, 1 / 255, 64, dtype=np.float32).reshape(1, 8, 8, 1), "expected pictures"),
    ],
)
def test_calibration_pictures_of_a_wrong_scale_are_refused(pictures, expected):
    with pytest.raises(UserError, match=expected):
        convert.check_calibration(pictures)


@pytest.mark.slow
def test_a_file_under_its_floor_is_not_published(capsys, run, tmp_path, monkeypatch, gate_here):
    monkeypatch.setitem(VARIANTS, "int8", Variant("", 1, 90.0, "static"))
    options = ["--sizes", "64", "--variants", "float32", "int8"]
    code, output, _ = call(capsys, "export", run.folder, "--out", tmp_path, *options)
    assert code == 1
    assert "NOT PUBLISHED tflite/old-photo-article-int8.tflite:" in output
    assert "below its floor of 90" in output
    files = {path.name for path in tmp_path.glob("*/tflite/*")}
    assert files == {"old-photo-article-float32.tflite"}
    manifest = json.loads((tmp_path / "old-photo-article" / "manifest.json").read_text())
    assert not any("int8" in entry["file"] for entry in manifest["files"])


def test_of_no_good_file_no_empty_folder_is_published(
    capsys, untrained, tmp_path, monkeypatch, gate_here
):
    monkeypatch.setitem(VARIANTS, "int8", Variant("", 1, 90.0, "static"))
    options = ["--sizes", "32", "--variants", "int8", "--name", "model"]
    code, output, _ = call(capsys, "export", untrained, "--out", tmp_path, *options)
    assert code == 1
    assert output.count("NOT PUBLISHED tflite/model-int8.tflite:") == 1
    assert (tmp_path / "model" / "1").is_dir()
    assert not (tmp_path / "model" / "tflite").exists()


def test_a_process_that_crashes_is_a_fault_and_not_our_end(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"no flatbuffer")
    with pytest.raises(RuntimeError, match="ended with code"):
        gate.run_file(path, {"restore_28x28|0": np.zeros((1, 28, 28, 1), np.float32)})


@pytest.mark.parametrize(("told", "expected"), [(None, (30, 2)), ("1", (1, 0))])
def test_files_are_timed_30_times_unless_the_environment_says_fewer(monkeypatch, told, expected):
    monkeypatch.delenv("TF_DECONV_TIMED_RUNS", raising=False)
    if told is not None:
        monkeypatch.setenv("TF_DECONV_TIMED_RUNS", told)
    facts = runpy.run_path(runner.__file__)
    assert (facts["MAX_RUNS"], facts["WARM_UPS"]) == expected


def test_keras_restores_a_picture_once_for_all_files(exported, monkeypatch):
    calls = []
    monkeypatch.setattr(
        gate.restorer, "restore_picture", lambda model, image, *how: calls.append(1) or image
    )
    reference = gate.Reference(exported.model, 2, 1, exported.samples, ((28, 28),))
    picture = np.zeros((1, 28, 28, 1), np.float32)
    for batch in (picture, picture.copy(), picture + 1, picture.reshape(1, 14, 56, 1)):
        np.testing.assert_array_equal(reference.restore(batch), batch)
    assert len(calls) == 3


def test_a_wrong_picture_does_not_pass_the_gate(exported, tmp_path):
    model = exported.model
    other = to_float32(model)
    weights = other.get_weights()
    weights[-1] = weights[-1] + 0.01
    other.set_weights(weights)
    sizes = ((28, 28), (256, 256))
    reference = gate.Reference(other, 2, 1, exported.samples, sizes)
    path = exported.tflite("float32")
    file = TfliteFile(path.read_bytes())
    report = gate.check_tflite(path, file, "float32", reference, "file")
    assert len(report.faults) == 1
    assert "dB against Keras, below its floor of 120" in report.faults[0]


def test_publishing_again_adds_a_version_and_replaces_what_is_stale(tmp_path):
    def staged(version, tflite_files):
        folder = tmp_path / ".staging"
        (folder / "tflite").mkdir(parents=True)
        (folder / str(version)).mkdir()
        (folder / str(version) / "saved_model.pb").write_text(f"{version}")
        for file in tflite_files:
            (folder / "tflite" / file).write_text(f"{version}")
        (folder / "manifest.json").write_text(f"{version}")
        return folder

    target = tmp_path / "model"
    assert publish.next_version(target) == 1
    publish.publish(staged(1, ["a.tflite", "b.tflite"]), target)
    assert publish.next_version(target) == 2
    publish.publish(staged(2, ["a.tflite"]), target)
    assert {path.name for path in target.iterdir()} == {"1", "2", "tflite", "manifest.json"}
    assert (target / "1" / "saved_model.pb").read_text() == "1"
    assert [path.name for path in (target / "tflite").iterdir()] == ["a.tflite"]
    assert (target / "manifest.json").read_text() == "2"
    assert not (tmp_path / ".staging").exists()


@pytest.mark.slow
def test_a_lone_keras_file_is_exported_without_its_run(run, tmp_path, gate_here):
    lone = tmp_path / "travelled.keras"
    lone.write_bytes((run.folder / "model.keras").read_bytes())
    lines = []
    options = dict(sizes="64", variants="float32")
    config = ExportConfig(model=str(lone), out=str(tmp_path / "out"), **options)
    result = pipeline.export(config, lines.append)
    assert result.failures == ()
    assert result.folder == tmp_path / "out" / "old-photo-article"


@pytest.mark.slow
def test_a_plain_keras_model_of_another_program_is_exported(tmp_path, gate_here):
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", activation="relu")(image)
    x = keras.layers.Conv2DTranspose(3, 4, strides=4, padding="same", bias_initializer="ones")(x)
    path = tmp_path / "theirs.keras"
    keras.Model(image, x).save(path)
    options = dict(sizes="64", variants="float32")
    config = ExportConfig(model=str(path), out=str(tmp_path / "out"), **options)
    result = pipeline.export(config, lambda _: None)
    assert result.failures == ()
    manifest = json.loads((tmp_path / "out" / "theirs" / "manifest.json").read_text())
    assert manifest["divisor"] == 4


def test_mixed_precision_models_are_exported_in_float32():
    import keras

    from tf_deconv.networks.article import build_article

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build_article(None, None)
    finally:
        keras.config.set_dtype_policy("float32")
    copy = to_float32(model)
    assert {layer.compute_dtype for layer in copy.layers} == {"float32"}
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), copy.get_weights()))


def test_damaged_samples_are_one_line(tmp_path):
    (tmp_path / "samples.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="train again"):
        run_folder.load_samples(tmp_path / "samples.npz")


def test_what_is_published_can_be_read_by_every_user(exported):
    for path in exported.folder.rglob("*"):
        assert path.stat().st_mode & 0o444 == 0o444
