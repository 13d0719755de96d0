"""Model files that anyone may have made: refused in a line before anything runs or is allocated."""

import json
import pathlib
import shutil
import time
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

import tf_deconv
from tests.fixtures import tiny_generators
from tests.fixtures.commands import call, refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv.generation.spec import read_spec
from tf_deconv.inference import run_folder
from tf_deconv.inference.strangers import graphs, keras_files, operators, tflite_files
from tf_deconv.utils.options import UserError

IMAGE = tf.TensorSpec((None, None, None, 3), tf.float32, name="image")


def save(folder, function):
    """Saves a function of a picture as a SavedModel, as anyone can."""
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    module.call = tf.function(
        lambda image: {"restored": module.weight * function(image)}, input_signature=[IMAGE]
    )
    tf.saved_model.save(module, str(folder), {"serving_default": module.call})
    return folder


def reading(image, path="/etc/hostname"):
    return image + tf.cast(tf.strings.length(tf.io.read_file(path)), tf.float32) * 0


def reading_deep_down(image):
    def body(i, total):
        return i + 1, tf.cond(i > 0, lambda: reading(total), lambda: total)

    return tf.while_loop(lambda i, _: i < 2, body, [0, image])[1]


def writing(image):
    with tf.control_dependencies([tf.io.write_file("written.txt", "x")]):
        return tf.identity(image)


def listing(image):
    return image + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32) * 0


def calling_python(image):
    return tf.ensure_shape(tf.py_function(lambda x: x, [image], tf.float32), image.shape)


def printing_to_a_file(image):
    tf.print("x", output_stream="file://printed.txt")
    return image


def saving(image):
    with tf.control_dependencies([tf.raw_ops.SaveV2(
        prefix="saved", tensor_names=["a"], shape_and_slices=[""], tensors=[image]
    )]):  # fmt: skip
        return tf.identity(image)


def restoring(image):
    (value,) = tf.raw_ops.RestoreV2(
        prefix="saved", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )
    return image + 0 * tf.reduce_sum(value)


def reading_a_dataset(image):
    for line in tf.data.TextLineDataset("/etc/hostname"):
        image += 0 * tf.cast(tf.strings.length(line), tf.float32)
    return image


STRANGE = {
    reading: "ReadFile",
    reading_deep_down: "ReadFile",
    writing: "WriteFile",
    listing: "MatchingFiles",
    calling_python: "EagerPyFunc",
    printing_to_a_file: "PrintV2",
    saving: "SaveV2",
    restoring: "RestoreV2",
    reading_a_dataset: "TextLineDataset",
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A SavedModel that reads a file when it restores."""
    return save(tmp_path_factory.mktemp("strange") / "model", reading)


@pytest.mark.parametrize("function", STRANGE)
def test_a_graph_that_reaches_beyond_pictures_is_refused(tmp_path, function):
    folder = save(tmp_path / "model", function)
    with pytest.raises(UserError, match=rf"holds the operators .*\b{STRANGE[function]}\b.*--trust"):
        graphs.check_saved_model(folder)
    graphs.check_saved_model(folder, trusted=True)


def test_every_command_refuses_it_before_it_runs_and_opens_it_if_trusted(
    capsys, tmp_path, strange, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "in" / "a.png")
    words = {
        "restore": [strange, "in"],
        "inspect": [strange],
        "evaluate": [strange, "--data", "in", "--task", "denoise", "--no-classical"],
        "benchmark": [strange, "--protocol", "awgn-colour", "--data", "in"],
    }
    for command, given in words.items():
        assert "holds the operators ReadFile: a TensorFlow graph" in refuses(
            capsys, command, *given
        )
        assert call(capsys, command, *given, "--trust")[0] == 0
    with pytest.raises(UserError, match="ReadFile"):
        tf_deconv.load(strange)
    assert tf_deconv.load(strange, trust=True).artifact.channels_out == 3
    with pytest.raises(UserError, match="ReadFile"):
        tf_deconv.inspect(strange)
    assert tf_deconv.inspect(strange, trust=True)["kind"] == "saved_model"


def test_benchmark_of_an_export_looks_at_every_file_first(capsys, exported, strange, tmp_path):
    folder = shutil.copytree(exported.folder, tmp_path / "model")
    shutil.rmtree(folder / "1")
    shutil.copytree(strange, folder / "1")
    assert "ReadFile" in refuses(capsys, "benchmark", "--export", folder, "--out", tmp_path / "o")


def test_generators_are_looked_at_too(capsys, strange, tmp_path):
    known = dict(kind="vae", height=8, width=8, channels=1, classes=0, latent=4)
    folder = shutil.copytree(strange, tmp_path / "model" / "1").parent
    manifest = {"generator": known | {"likelihood": "bernoulli"}, "files": [{"file": "1/"}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "ReadFile" in refuses(capsys, "sample", folder, "--out", tmp_path / "out")
    with pytest.raises(UserError, match="ReadFile"):
        tf_deconv.load_generator(folder)


def edited(folder, target, change):
    """Copies a SavedModel and changes its graph."""
    shutil.copytree(folder, target)
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((target / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    (target / "saved_model.pb").write_bytes(model.SerializeToString())
    return target


def function_of(graph, part):
    return next(f for f in graph.graph_def.library.function if part in f.signature.name)


def give_out_what_the_saver_saves(graph):
    signature = graph.signature_def["serving_default"]
    signature.outputs["restored"].name = graph.saver_def.save_tensor_name


def call_the_saver_from_a_signature(graph):
    wrapper = function_of(graph, "signature_wrapper")
    call = next(node for node in wrapper.node_def if "PartitionedCall" in node.op)
    call.attr["f"].func.name = function_of(graph, "traced_save").signature.name


def call_the_saver_by_its_name(graph):
    wrapper = function_of(graph, "signature_wrapper")
    wrapper.node_def[0].op = function_of(graph, "traced_save").signature.name


def restore_from_elsewhere(graph):
    restore = function_of(graph, "traced_restore")
    node = next(node for node in restore.node_def if node.op == "RestoreV2")
    node.input[0] = "elsewhere:output:0"


def read_a_file_in_the_saver(graph):
    function_of(graph, "traced_restore").node_def[0].op = "ReadFile"


def name_another_function_as_the_saver(graph):
    wrapper = function_of(graph, "signature_wrapper").signature.name
    calls = [node for node in graph.graph_def.node if node.attr["f"].func.name == wrapper]
    graph.saver_def.save_tensor_name = f"{calls[0].name}:0"


def offer_the_saver_as_a_function(graph):
    name = function_of(graph, "traced_save").signature.name
    graph.object_graph_def.concrete_functions[name].bound_inputs.append(0)


CHANGES = [
    give_out_what_the_saver_saves,
    call_the_saver_from_a_signature,
    call_the_saver_by_its_name,
    restore_from_elsewhere,
    read_a_file_in_the_saver,
    name_another_function_as_the_saver,
    offer_the_saver_as_a_function,
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_savers_operators_are_allowed_to_the_saver_alone(stand_ins, tmp_path, change):
    folder = stand_ins / "denoise-color" / "1"
    graphs.check_saved_model(folder)
    with pytest.raises(UserError, match=r"SaveV2|RestoreV2|ReadFile"):
        graphs.check_saved_model(edited(folder, tmp_path / "1", change))


def test_a_constant_that_fills_memory_is_refused(stand_ins, tmp_path):
    def grow(graph):
        nodes = (node for each in graph.graph_def.library.function for node in each.node_def)
        for node in nodes:
            if node.op == "Const":
                shape = node.attr["value"].tensor.tensor_shape
                del shape.dim[:]
                shape.dim.add(size=10**6)
                shape.dim.add(size=10**6)

    folder = edited(stand_ins / "denoise-color" / "1", tmp_path / "1", grow)
    with pytest.raises(UserError, match="a constant of 1000000x1000000 values"):
        graphs.check_saved_model(folder)


def test_shipped_and_other_programs_models_pass(repository, exported, tmp_path):
    for folder in (*(repository / "saved_models").glob("*/[0-9]*"), exported.folder / "1"):
        graphs.check_saved_model(folder)
    # As plain Keras exports a network, with more layers than ours have.
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 3, padding="same", activation="gelu"),
            layers.BatchNormalization(),
            layers.Resizing(32, 32, interpolation="bicubic"),
            layers.DepthwiseConv2D(3, padding="same", activation="softmax"),
            layers.Dropout(0.5),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2DTranspose(3, 2, padding="same", activation="sigmoid"),
        ]
    )
    model.export(str(tmp_path / "foreign"), verbose=False)
    graphs.check_saved_model(tmp_path / "foreign")


def test_every_allowed_operator_is_one_of_tensorflows():
    for name in operators.ALLOWED | operators.SAVING | operators.RESTORING:
        assert op_def_registry.get(name) is not None, name
    reaching = ("ReadFile", "WriteFile", "PyFunc", "PrintV2", "XlaCallModule", "DebugIdentityV2")
    assert not operators.ALLOWED & {*reaching, *operators.SAVING, *operators.RESTORING}


# --- Numbers that decide how much memory is taken.


def describing(source, path, **fields):
    """Copies a `.keras` file with a description of its own."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if name != "tf_deconv.json":
                new.writestr(name, old.read(name))
        new.writestr("tf_deconv.json", json.dumps(fields))
    return path


LARGE = {
    "divisor": 20_000,
    "scale": 1000,
    "receptive_field": 10**6,
    "channels_in": 10**6,
    "tile_overlap": 10**9,
    "tflite_sizes": [[10**5, 10**5]],
}


@pytest.mark.parametrize("field", LARGE)
def test_numbers_of_a_description_have_upper_bounds(
    capsys, untrained, exported, tmp_path, monkeypatch, field
):
    # divisor=20000 padded every picture to 20000x20000 pixels.
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "a.png")
    known = {"divisor": 2, "scale": 1} | {field: LARGE[field]}
    path = describing(untrained, tmp_path / "m.keras", **known)
    line = refuses(capsys, "restore", path, "a.png")
    assert f"tells {field} as {LARGE[field]!r}"[:30] in line
    assert "expected" in line
    folder = shutil.copytree(exported.folder, tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {field: LARGE[field]}))
    for command in (("restore", folder, "a.png"), ("benchmark", "--export", folder)):
        assert f"tells {field} as " in refuses(capsys, *command)


@pytest.mark.parametrize("field", ["height", "width", "classes", "latent", "channels"])
def test_numbers_of_a_generator_have_upper_bounds(field):
    known = dict(kind="vae", height=8, width=8, channels=1, classes=3, latent=4)
    with pytest.raises(UserError, match=f"{field}=1000000"):
        read_spec({"generator": known | {"likelihood": "bernoulli", field: 10**6}}, "x")


def write_network(path, *layers):
    """A `.keras` file as the layers say, with the weights of small ones inside."""
    small = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    small.save(path.with_name("small.keras"))
    with keras_files.without_variables():
        large = keras.Sequential([keras.Input((None, None, 3)), *(layer() for layer in layers)])
        config = json.dumps(keras.saving.serialize_keras_object(large))
    with zipfile.ZipFile(path.with_name("small.keras")) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, config if name == "config.json" else old.read(name))
    return path


def test_a_network_larger_than_its_weights_is_refused_before_they_are_made(capsys, tmp_path):
    layers = keras.layers
    path = write_network(
        tmp_path / "m.keras", lambda: layers.Conv2D(10**6, 9), lambda: layers.Conv2D(10**6, 9)
    )
    line = refuses(capsys, "inspect", path)
    assert "its network takes 324 TB of weights, and the file holds" in line
    assert "its network takes 324 TB" in refuses(capsys, "export", path)
    # The weights of a refused network are not made by whoever uses such a scope next.
    with keras.StatelessScope():
        pass


def test_a_network_whose_tensors_fill_memory_is_refused(capsys, tmp_path):
    # 64x64 pixels, on which its scale was measured, became 64000x64000.
    layers = keras.layers
    path = write_network(
        tmp_path / "m.keras", lambda: layers.UpSampling2D(1000), lambda: layers.Conv2D(3, 1)
    )
    assert "for a picture of 64x64 pixels: more than half of the free" in refuses(
        capsys, "inspect", path
    )


def test_a_layer_with_code_in_it_is_named(capsys, tmp_path):
    inputs = keras.Input((None, None, 3))
    code = keras.layers.Lambda(lambda x: x, output_shape=lambda shape: shape)
    outputs = code(keras.layers.Conv2D(3, 1)(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    line = refuses(capsys, "inspect", tmp_path / "m.keras")
    assert "holds a Lambda layer, which is code that opening it would run: expected" in line


def test_weights_that_lead_to_other_files_are_refused(tmp_path, untrained):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/other.h5", "/")
    with pytest.raises(UserError, match="its weights lead to another file: 'layers'"):
        keras_files._check_weights_file((tmp_path / "w.h5").read_bytes(), pathlib.Path("m.keras"))
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("x", (2**28,), "f4", chunks=(2**20,), compression="gzip")
    with pytest.raises(UserError, match=r"its weights unpack to 1\.\d+ GB"):
        keras_files._check_weights_file((tmp_path / "b.h5").read_bytes(), pathlib.Path("m.keras"))


def test_a_tflite_file_whose_tensors_fill_memory_is_refused(exported):
    from tf_deconv.exporting.tflite import flatbuffer
    from tf_deconv.inference.tflite_file import TfliteFile

    content = exported.tflite("float32").read_bytes()
    tflite_files.check_tflite(content, "x")
    unpacked = TfliteFile(content)
    for tensor in unpacked.model.subgraphs[0].tensors:
        if len(tensor.shape) == 4 and tensor.shape[1] in (28, 256):
            tensor.shape = np.array([1, 60_000, 60_000, 64], np.int32)
    with pytest.raises(UserError, match="when it is opened: more than half of the free memory"):
        tflite_files.check_tflite(flatbuffer.pack(unpacked), "x")


def test_arrays_that_claim_more_than_they_hold_are_told(tmp_path):
    path = tmp_path / "samples.npz"
    run_folder.save_samples(run_folder.Samples(np.zeros((1, 8, 8, 1), "f4"), (), (), ()), path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    shape, larger = b"(1, 8, 8, 1), }", b"(9999999, 8), }"
    contents["calibration.npy"] = contents["calibration.npy"].replace(shape, larger)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match=r"calibration\.npy claims 9999999x8 values"):
        run_folder.load_samples(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--patch-size", "100000"], "--patch-size 100000: expected a number from 1 to 4096"),
        (["--batch-size", "10000000"], "--batch-size 10000000: expected a number from 1 to 65536"),
        (["--patch-size", "4096", "--batch-size", "4096"], "pixels in a batch"),
        (["--steps-per-epoch", "10000000000"], "expected a number from 1 to 1000000"),
        (
            ["--network", "unet", "--size", "base", "--filters=1024,1024", "--blocks=900,900"],
            "million weights, expected at most",
        ),
    ],
)
def test_options_of_training_have_upper_bounds(capsys, options, message):
    assert message in refuses(capsys, "train", *options)


def test_a_generators_own_files_pass(tmp_path):
    for kind in ("vae", "flow"):
        keras_files.check_keras(tiny_generators.write(tmp_path / f"{kind}.keras", kind))


def test_models_are_looked_at_in_no_time(exported):
    started = time.process_time()
    graphs.check_saved_model(exported.folder / "1")
    tflite_files.check_tflite(exported.tflite("float32").read_bytes(), "x")
    assert time.process_time() - started < 1
