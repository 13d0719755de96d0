"""Exported generators: the same pictures in every format, and no request that kills a service."""

import contextlib
import json
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

import tf_deconv
from tests.fixtures import gates
from tests.fixtures.commands import does
from tests.fixtures.tflite_files import with_metadata
from tf_deconv.evaluation import inspect
from tf_deconv.evaluation.config import BenchmarkConfig
from tf_deconv.exporting import pipeline
from tf_deconv.exporting.benchmark import benchmark
from tf_deconv.exporting.config import ExportConfig
from tf_deconv.exporting.generation import GeneratorExporter
from tf_deconv.exporting.saved_model import generator as saved_generator
from tf_deconv.exporting.saved_model.serving import WARMUP_FILE, PredictionLog
from tf_deconv.exporting.tflite import flatbuffer
from tf_deconv.generation.generator import from_picture, sample
from tf_deconv.generation.keras_generator import keras_generator
from tf_deconv.generation.opening import open_generator
from tf_deconv.generation.spec import GeneratorSpec
from tf_deconv.inference import run_folder
from tf_deconv.networks.flow import build_flow
from tf_deconv.networks.vae import build_vae
from tf_deconv.utils.options import UserError

pytestmark = pytest.mark.slow

FACTS = {
    "vae": GeneratorSpec("vae", 8, 8, 1, 3, latent=5, likelihood="gaussian"),
    "flow": GeneratorSpec("flow", 8, 8, 1, 3),
}
VARIANTS = {"vae": "float32 float16 int8", "flow": "float32 float16 int8"}


def build(facts, seed=0):
    """Builds a small network whose weights are all random: as built, many are zeros."""
    shape = (facts.height, facts.width, facts.channels, facts.classes)
    if facts.kind == "vae":
        parameters = 1 if facts.likelihood == "bernoulli" else 2
        model = build_vae(*shape, parameters=parameters, latent=facts.latent, filters=(8, 16))
    else:
        model = build_flow(*shape, filters=(8, 16))
    rng, scale = np.random.default_rng(seed), {"vae": 1.0, "flow": 0.5}[facts.kind]
    for weight in model.weights:
        spread = scale / np.sqrt(np.prod(weight.shape[:-1])) if len(weight.shape) > 1 else 0.1
        # Numbers that float16 holds, as those of a finished run are.
        weight.assign((spread * rng.standard_normal(weight.shape)).astype(np.float16))
    return model


def write_run(folder, facts):
    folder.mkdir()
    description = dict(task="generate", network=facts.kind, generator=facts.to_json())
    run_folder.save_model(build(facts), folder / run_folder.MODEL_FILE, description)
    pictures = np.random.default_rng(1).random((6, *facts.shape), np.float32)
    samples = run_folder.Samples(
        calibration=pictures,
        degraded=tuple(pictures),
        clean=tuple(pictures),
        names=tuple("abcdef"),
        labels=(0, 1, 2, 2, 1, 0),
    )
    run_folder.save_samples(samples, folder / run_folder.SAMPLES_FILE)


@pytest.fixture(scope="module", params=FACTS)
def exported(request, tmp_path_factory):
    """A generator: its run, its export, and what it makes of seed 7."""
    kind, work = request.param, tmp_path_factory.mktemp(request.param)
    write_run(work / "run", FACTS[kind])
    config = ExportConfig(model=str(work / "run"), out=str(work), variants=VARIANTS[kind])
    lines = []
    # Of one kind each file has a process of its own, as it has outside of tests.
    with gates.in_this_process() if kind == "flow" else contextlib.nullcontext():
        result = pipeline.export(config, lines.append)
    assert result.failures == ()
    return types.SimpleNamespace(
        kind=kind,
        facts=FACTS[kind],
        run=work / "run",
        folder=result.folder,
        lines=lines,
        reports=result.reports,
        pictures=sample(open_generator(work / "run"), 5, 7, steps=3),
        tflite=lambda variant: result.folder / "tflite" / f"generate-{kind}-{variant}.tflite",
    )


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported.folder / "1"))

    def call(name, **inputs):
        given = {key: tf.constant(value) for key, value in inputs.items()}
        return {key: value.numpy() for key, value in loaded.signatures[name](**given).items()}

    return call


def test_the_same_seed_is_the_same_picture_in_every_format(exported):
    assert exported.pictures.std() > 0.02
    for path in (exported.run / "model.keras", exported.folder, exported.tflite("float32")):
        made = sample(open_generator(path), 5, 7, steps=3)
        np.testing.assert_allclose(made, exported.pictures, atol=1e-4)
    rounded = sample(open_generator(exported.tflite("int8")), 5, 7, steps=3)
    assert 0 < np.abs(rounded - exported.pictures).max() < 0.2


def test_the_signature_samples_what_keras_samples(exported, signatures):
    # More than a batch of the graph; the last picture belongs to the second one.
    made = signatures("sample", count=66, seed=3, label=-1)["image"]
    expected = sample(open_generator(exported.run), 66, 3)
    np.testing.assert_allclose(made, expected, atol=1e-4)
    one = signatures("serving_default", count=1, seed=3, label=2)["image"]
    expected = sample(open_generator(exported.run), 1, 3, label=2)
    np.testing.assert_allclose(one, expected, atol=1e-4)


def test_a_saved_model_encodes_as_keras_does(exported):
    if exported.kind == "flow":
        pytest.skip("a flow has no encoder")
    image, label = exported.pictures, np.array([2, 0, 1, 1, 0], np.int32)
    expected = open_generator(exported.run).encode(image, label)
    for result, wanted in zip(open_generator(exported.folder).encode(image, label), expected):
        np.testing.assert_allclose(result, wanted, atol=1e-5)


def test_a_flow_without_a_label_is_the_label_after_the_last(exported, signatures):
    if exported.kind == "vae":
        pytest.skip("a VAE has no steps")
    x, t = from_picture(exported.pictures), np.full(5, 0.5, np.float32)
    label = np.full(5, 3, np.int32)
    expected = open_generator(exported.run).velocity(x, t, label)
    velocity = signatures("step", x=x, t=t, label=label)["velocity"]
    np.testing.assert_allclose(velocity, expected, atol=1e-5)


ONE = np.zeros(1, np.int32)
SAMPLE = dict(count=1, seed=0, label=0)
LATENT, IMAGE, TIME = np.zeros((1, 5), "f"), np.zeros((1, 8, 8, 1), "f"), np.zeros(1, "f")
REFUSED = {
    "both": [
        ("sample", SAMPLE | {"count": 0}, "count: expected 1 to 1024; received"),
        ("sample", SAMPLE | {"count": -5}, "count: expected 1 to 1024"),
        ("sample", SAMPLE | {"count": 1025}, "count: expected 1 to 1024"),
        ("sample", SAMPLE | {"seed": -1}, "seed: expected 0 to 2147483647"),
        ("sample", SAMPLE | {"label": 3}, "label: expected 0 to 2, or -1 for the classes in turn"),
        ("sample", SAMPLE | {"label": -2}, "label: expected 0 to 2, or -1"),
    ],
    "vae": [
        ("decode", dict(latent=LATENT[:, 1:], label=ONE), "latent|shape"),
        ("decode", dict(latent=LATENT[0], label=ONE), "latent|shape"),
        ("decode", dict(latent=LATENT[:0], label=ONE[:0]), "latent: expected at least 1"),
        ("decode", dict(latent=LATENT, label=ONE + 3), "label: expected 0 to 2;"),
        ("decode", dict(latent=LATENT, label=ONE - 1), "label: expected 0 to 2;"),
        (
            "decode",
            dict(latent=LATENT, label=np.zeros(2, "i")),
            "label: expected as many as latent",
        ),
        ("encode", dict(image=IMAGE[:, 1:], label=ONE), "image|shape"),
        ("encode", dict(image=IMAGE + 2, label=ONE), r"image: expected values in \[0, 1\]"),
        ("encode", dict(image=IMAGE * np.nan, label=ONE), r"image: expected values in \[0, 1\]"),
    ],
    "flow": [
        ("step", dict(x=IMAGE[..., :0], t=TIME, label=ONE), "x|shape"),
        ("step", dict(x=IMAGE[0], t=TIME, label=ONE), "x|shape"),
        ("step", dict(x=IMAGE[:0], t=TIME[:0], label=ONE[:0]), "x: expected at least 1"),
        ("step", dict(x=IMAGE, t=TIME + 1.5, label=ONE), "t: expected times from 0, noise, to 1"),
        ("step", dict(x=IMAGE, t=np.zeros(2, "f"), label=ONE), "t: expected as many as x"),
        ("step", dict(x=IMAGE, t=TIME, label=ONE + 4), "label: expected 0 to 3, 3 for none"),
    ],
}


def test_bad_requests_are_invalid_arguments_and_leave_the_service_alive(exported, signatures):
    for name, inputs, message in REFUSED["both"] + REFUSED[exported.kind]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signatures(name, **inputs)
    assert signatures("sample", **SAMPLE)["image"].shape == (1, 8, 8, 1)


def test_the_manifest_tells_how_to_make_pictures(exported):
    manifest = json.loads((exported.folder / "manifest.json").read_text())
    assert manifest["generator"] == exported.facts.to_json()
    assert manifest["noise"] == "threefry2x32, docs/noise.md"
    assert ("sampler" in manifest) == (exported.kind == "flow")
    assert manifest["tflite_signatures"] == [{"vae": "decode", "flow": "step"}[exported.kind]]
    assert {"sample", *manifest["tflite_signatures"]} < manifest["graph_tensors"].keys()
    for entry in manifest["files"]:
        assert entry["task_psnr_db"] is None
        assert entry["sample_difference"] < (0.2 if "int8" in entry["file"] else 1e-4)
        assert entry["parity"]["exact"] or entry["parity"]["psnr_db"] > 40
    card = (exported.folder / "README.md").read_text()
    assert max(map(len, card.splitlines())) <= 100
    assert "`sample` (and `serving_default`) takes `count`, `seed` and `label`" in card
    assert any("samples differ" in line for line in exported.lines)
    assert exported.lines[-1].startswith("next: tf-deconv sample ")
    assert {path.name for path in (exported.folder / "serving").iterdir()} == {"models.config"}


def test_a_known_input_lies_beside_the_files_and_verifies_them(capsys, exported):
    file = next((exported.folder / "tflite").glob("*-float32.tflite"))
    assert "right, " in does(capsys, "verify", file)
    result = next((exported.folder / "golden").glob("output-*.npy"))
    assert "right, every bit" in does(capsys, "verify", exported.folder, "--output", result)


def test_files_that_travel_alone_still_open(exported, tmp_path):
    copy = shutil.copy(exported.tflite("float32"), tmp_path / "alone.tflite")
    folder = shutil.copytree(exported.folder / "1", tmp_path / "alone")
    for path in (copy, folder):
        generator = open_generator(path)
        assert generator.facts == exported.facts
        made = sample(generator, 5, 7, steps=3)
        np.testing.assert_allclose(made, exported.pictures, atol=1e-4)


def test_a_changed_file_is_refused(exported, tmp_path):
    folder = shutil.copytree(exported.folder, tmp_path / "changed")
    path = folder / "tflite" / exported.tflite("float32").name
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match="is not the file that was exported"):
        open_generator(path)
    # Without its manifest the damaged file tells as much, if no more than that.
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="is not the file that was exported"):
        open_generator(path)


def test_a_file_of_another_generator_than_its_facts_is_refused(exported, tmp_path):
    content = exported.tflite("float32").read_bytes()
    other = exported.facts.to_json() | {"classes": 0}
    path = tmp_path / "other.tflite"
    path.write_bytes(with_metadata(content, {"generator": other}))
    with pytest.raises(UserError, match="is not a TFLite file of a generator, with signature"):
        open_generator(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(sizes="28"), "sizes='28'"),
        (dict(qat=True), "qat=True"),
        (dict(onnx=True), "onnx=True"),
        (dict(variants="int8-full float32"), "variants='int8-full'"),
    ],
)
def test_options_of_networks_that_restore_are_refused(exported, tmp_path, options, message):
    config = ExportConfig(model=str(exported.run), out=str(tmp_path / "out"), **options)
    with pytest.raises(UserError, match=f"{message}: the model generates pictures"):
        pipeline.export(config)
    assert not (tmp_path / "out").exists()


def test_commands_that_restore_say_what_generates(exported, tmp_path):
    for path in (exported.run, exported.folder, exported.tflite("int8")):
        with pytest.raises(UserError, match="generates pictures from noise: expected a model that"):
            tf_deconv.load(path)
    with pytest.raises(UserError, match="generates pictures from noise"):
        benchmark(BenchmarkConfig(export=str(exported.folder), out=str(tmp_path)))


def test_inspect_tells_what_a_generator_makes(exported):
    for path in (exported.run, exported.folder, exported.tflite("int8")):
        facts = inspect.inspect_artifact(path)
        assert facts["generator"] == exported.facts.to_json()
        text = "\n".join(inspect.lines(facts))
        assert "8x8, 1 channel, grey" in text
        assert "3, labels 0 to 2" in text
        assert path == exported.run or "sampled pictures differ by" in text
    assert facts["signatures"][0]["name"] == {"vae": "decode", "flow": "step"}[exported.kind]


def test_the_gate_finds_a_file_of_other_weights(exported, tmp_path):
    config = ExportConfig(model=str(exported.run))
    description = run_folder.read_description(exported.run / "model.keras")
    exporter = GeneratorExporter(exported.run / "model.keras", description, config, print)
    other = build(exported.facts, seed=5)
    how = dict(keep_relu=True, phased=False)
    file = saved_generator.convert(other, exported.facts, ["float32"], **how)["float32"]
    path = tmp_path / "other.tflite"
    path.write_bytes(flatbuffer.pack(file))
    report = exporter.check_tflite(path, file, "float32", "other.tflite")
    assert any("below its floor of 120" in fault for fault in report.faults)
    assert any("sampled pictures are" in fault for fault in report.faults)


def test_warmup_requests_are_answered(exported, signatures):
    records = tf.data.TFRecordDataset(str(exported.folder / "1" / WARMUP_FILE))
    names = []
    for record in records.as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        inputs = {
            key: tf.make_ndarray(tensor_pb2.TensorProto.FromString(value))
            for key, value in request.inputs.items()
        }
        names.append(request.model_spec.signature_name)
        assert signatures(names[-1], **inputs)
    assert {"serving_default", "sample"} < set(names)


def test_without_labels_in_colour_as_logits(tmp_path):
    facts = GeneratorSpec("vae", 8, 8, 3, latent=4, likelihood="bernoulli")
    model = build(facts)
    saved_generator.write_saved_model(model, facts, tmp_path / "1")
    expected = sample(keras_generator(model, facts), 3, 1)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    made = loaded.signatures["sample"](count=tf.constant(3), seed=tf.constant(1))["image"]
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-5)
    assert open_generator(tmp_path).facts == facts
    for phased in (False, True):
        how = dict(keep_relu=not phased, phased=phased)
        path = tmp_path / f"{phased}.tflite"
        file = saved_generator.convert(model, facts, ["float32"], **how)["float32"]
        flatbuffer.write_metadata(file, {"generator": facts.to_json()})
        path.write_bytes(flatbuffer.pack(file))
        np.testing.assert_allclose(sample(open_generator(path), 3, 1), expected, atol=1e-5)


def test_a_lone_keras_file_is_checked_on_its_own_pictures(exported, tmp_path):
    path = shutil.copy(exported.run / "model.keras", tmp_path / "mine.keras")
    exporter = GeneratorExporter(
        path, run_folder.read_description(path), ExportConfig(model=str(path)), print
    )
    assert exporter.pictures.shape == (16, 8, 8, 1)
    assert exporter.labels[:4].tolist() == [0, 1, 2, 0]


def test_a_model_that_restores_is_no_generator(tmp_path):
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(image))
    run_folder.save_model(model, tmp_path / "model.keras", {"task": "denoise"})
    with pytest.raises(UserError, match="generates nothing: expected a generator"):
        open_generator(tmp_path)
