"""Which engine, file and arithmetic a model is run in; and that they give the same picture."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.fixtures.commands import refuses
from tests.fixtures.picture_folders import write_noise
from tf_deconv import UserError, load
from tf_deconv.images import arrays
from tf_deconv.inference import engines, shipped
from tf_deconv.inference.artifacts import open_artifact, open_restorer
from tf_deconv.inference.config import RestoreConfig
from tf_deconv.inference.litert_engine import LitertModel, takes_any_size
from tf_deconv.inference.located import locate
from tf_deconv.inference.restorer import Restorer
from tf_deconv.utils.devices import core_count

SHIPPED = ["denoise-color-small", "denoise-grey", "photo", "super-resolve-x4"]


def folder_of(name):
    return shipped.find(name)


def tflite_of(name, variant):
    return folder_of(name) / "tflite" / f"{name}-{variant}.tflite"


def noise(height, width, channels=3, dtype=np.uint8):
    """Noise with edges: what a window that lies wrong cannot give by chance."""
    image = np.random.default_rng(height).random((height, width, channels), np.float32) / 2
    image[height // 3 :, width // 2 :] += 0.5
    return arrays.as_pixels(image, dtype)


def copy_with_loss(exported, folder, loss_db):
    """Copies an export, and records what its int8 file lost."""
    shutil.copytree(exported.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["files"]:
        if entry["file"].endswith("-int8.tflite"):
            entry["task_loss_db"] = loss_db
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


# --- What is chosen.


@pytest.mark.parametrize(
    ("loss_db", "variant", "deeper"),
    [(0.05, "int8", "float32"), (0.051, "float32", None), (None, "float32", None)],
)
def test_int8_is_taken_where_it_has_lost_little(exported, tmp_path, loss_db, variant, deeper):
    choice = engines.choose(locate(copy_with_loss(exported, tmp_path / "m", loss_db)))
    assert choice.model.path.stem.endswith(f"-{variant}")
    assert (choice.deeper is None) == (deeper is None)
    assert deeper is None or choice.deeper.path.stem.endswith(f"-{deeper}")
    shown = "int8 for 8 bits and float32 for more" if deeper else "float32"
    count = core_count()
    assert choice.describe() == f"LiteRT, {shown}, {count} thread{'s' * (count > 1)}"


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_float16_stands_in_for_a_float32_file_that_is_not_there(exported, tmp_path, precision):
    folder = copy_with_loss(exported, tmp_path / "m", 0.3)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [each for each in manifest["files"] if "float32" not in each["file"]]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    choice = engines.choose(locate(folder), precision=precision)
    # Unasked, not int8: it lost too much.
    assert choice.model.path.stem.endswith("-float16")
    assert choice.precision == "float32"


def test_a_file_whose_sizes_waste_work_leaves_it_to_the_saved_model(stand_ins, exported):
    # 32x32 pixels of which 19x19 are kept: the SavedModel takes any size.
    config = RestoreConfig(model=str(stand_ins / "denoise-color"))
    assert open_restorer(locate(config.model), config)[1].startswith("TensorFlow, float32")
    config = RestoreConfig(model=str(exported.folder))
    assert open_restorer(locate(config.model), config)[1].startswith("LiteRT")
    # Nor has a file of fixed sizes tiles of every size.
    config = RestoreConfig(model=str(exported.folder), tile_size=24)
    assert open_restorer(locate(config.model), config)[1].startswith("TensorFlow")


def test_what_is_named_by_its_own_path_is_run(exported, run):
    version = engines.choose(locate(exported.folder / "1"))
    assert (version.engine, version.model.kind) == ("tensorflow", "saved_model")
    assert engines.choose(locate(run.folder)).engine == "tensorflow"
    choice = engines.choose(locate(exported.tflite("dynamic")))
    assert (choice.engine, choice.model.path) == ("litert", exported.tflite("dynamic"))


def test_pictures_of_more_than_8_bits_are_restored_in_float32(exported, tmp_path):
    # Of uint16 and float, int8 would keep 8 bits.
    folder = copy_with_loss(exported, tmp_path / "m", 0.0)
    auto, exact = load(folder), load(folder, precision="float32")
    quick = load(folder, precision="int8")
    for dtype, same in ((np.uint8, quick), (np.uint16, exact), (np.float32, exact)):
        image = noise(40, 31, 1, dtype)
        np.testing.assert_array_equal(auto(image), same(image))
    image = noise(40, 31, 1)
    assert (quick(image) != exact(image)).any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--threads", 0), "--threads 0: expected at least 1"),
        (("--threads", 4096), f"--threads 4096: expected 1 to {core_count()}"),
        (("--precision", "int4"), "--precision int4 (did you mean 'int8'?): expected one of"),
        (("--engine", "litter"), "--engine litter (did you mean 'litert'?): expected one of"),
        (("--engine", "openvino"), "--engine openvino: OpenVINO is not installed; pip install"),
        (("--engine", "tensorflow", "--precision", "int8"), "TensorFlow runs a model in float32"),
    ],
)
def test_engines_that_cannot_be_are_refused_in_one_line(
    capsys, tmp_path, exported, options, expected, monkeypatch
):
    monkeypatch.setitem(
        engines.ENGINES, "openvino", ("OpenVINO", "no_such", "pip install openvino")
    )
    write_noise(tmp_path / "a.png", mode="L")
    command = ("restore", exported.folder, tmp_path / "a.png", "--out", tmp_path / "out")
    assert expected in refuses(capsys, *command, *options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("version", {"engine": "litert"}, "has no .tflite file; expected"),
        ("float32", {"precision": "int8"}, "is of float32; expected another file"),
        ("int8", {"precision": "float32"}, "is of int8; expected another file"),
        ("float32", {"engine": "tensorflow"}, "is a .tflite file, which LiteRT runs"),
        ("export", {"engine": "beam"}, "beam is of `restore` alone"),
        ("export", {"engine": "onnxruntime"}, "has no ONNX file; expected the folder of an export"),
        ("no int8", {"precision": "int8"}, "has float32 alone; expected one that was exported"),
    ],
)
def test_a_model_that_has_not_what_is_asked_for_is_refused(
    exported, tmp_path, monkeypatch, name, options, expected
):
    monkeypatch.setitem(engines.ENGINES, "onnxruntime", ("onnxruntime", "json", ""))
    paths = {"version": exported.folder / "1", "export": exported.folder}
    if name == "no int8":
        shutil.copytree(exported.folder, tmp_path / "m")
        for file in (tmp_path / "m" / "tflite").iterdir():
            if not file.name.endswith("-float32.tflite"):
                file.unlink()
        paths[name] = tmp_path / "m"
    with pytest.raises(UserError) as caught:
        load(paths.get(name) or exported.tflite(name), **options)
    assert expected in str(caught.value)


def test_openvino_is_given_no_file_that_it_gets_wrong(exported, monkeypatch):
    # It reshapes transposed convolutions and skips to something that fails: docs/clients.md.
    monkeypatch.setitem(engines.ENGINES, "openvino", ("OpenVINO", "json", ""))
    with pytest.raises(UserError, match="which has operators of one size: expected an ONNX file"):
        load(exported.tflite("float32"), engine="openvino")
    with pytest.raises(UserError, match="which is of int8: expected an ONNX file"):
        load(tflite_of("photo-small", "int8"), engine="openvino")


def test_a_file_that_has_changed_is_refused_whichever_is_chosen(exported, tmp_path):
    folder = copy_with_loss(exported, tmp_path / "m", 0.0)
    for variant in ("int8", "float32"):
        path = folder / "tflite" / exported.tflite(variant).name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"\1")
        with pytest.raises(UserError, match=f"{variant}.tflite' is not the file that was exported"):
            load(folder)
        path.write_bytes(whole)


# --- That every size gives the right picture.


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_a_resized_file_gives_what_its_own_size_gives(name, variant):
    model = LitertModel(tflite_of(name, variant), 1)
    assert model.sizes == ()
    height, width = model.signatures[-1]
    rng = np.random.default_rng(0)
    image = rng.random((1, height, width, model.channels_in), np.float32)
    own = model(image)
    # To another size and back again: nothing is left of it.
    other = model(np.ascontiguousarray(image[:, : height // 2, : width // 4]))
    scale = model.scale
    assert other.shape[1:3] == (height // 2 * scale, width // 4 * scale)
    np.testing.assert_array_equal(model(image), own)
    # A corner of the picture has the same borders at two sides: it is as it is in the whole.
    known = json.loads((folder_of(name) / "manifest.json").read_text())
    reach = known["receptive_field"] // 2
    rows, columns = (max(0, side - reach) * scale for side in (height // 2, width // 4))
    tolerance = 1e-5 if variant == "float32" else 0.05  # The range of a whole tile is found anew.
    received, expected = other[:, :rows, :columns], own[:, :rows, :columns]
    np.testing.assert_allclose(received, expected, atol=tolerance)


@pytest.mark.parametrize("name", SHIPPED)
def test_litert_gives_what_the_saved_model_gives(name):
    folder = folder_of(name)
    floor = {
        entry["file"]: entry["parity"]["floor_db"]
        for entry in json.loads((folder / "manifest.json").read_text())["files"]
    }
    channels = 1 if name == "denoise-grey" else 3
    saved = Restorer(open_artifact(folder / "1"))
    for size in ((1, 1), (30, 45), (131, 70)):
        image = noise(*size, channels, np.float32)
        expected = saved(image)
        for precision in ("float32", "int8"):
            received = load(folder, precision=precision)(image)
            assert received.shape == expected.shape
            error = np.mean((received.astype(np.float64) - expected) ** 2)
            assert error <= 10 ** (-floor[f"tflite/{name}-{precision}.tflite"] / 10), precision


def test_a_file_with_operators_of_one_size_keeps_its_sizes(exported):
    # Its transposed convolutions hold the result's size: resized, they gave the old one.
    assert not takes_any_size(exported.tflite("float32").read_bytes())
    assert open_artifact(exported.tflite("float32")).sizes == ((28, 28), (256, 256))
    assert not takes_any_size(b"no file")


def test_tiles_of_a_resized_file_do_not_show():
    artifact = open_artifact(tflite_of("denoise-color-small", "float32"))
    image = noise(150, 131, 3, np.float32)
    whole = Restorer(artifact)(image)
    for options in ({"tile_px": 64}, {"tile_px": 100, "self_ensemble": True}):
        expected = whole
        if options.get("self_ensemble"):
            expected = Restorer(artifact, self_ensemble=True)(image)
        np.testing.assert_allclose(Restorer(artifact, **options)(image), expected, atol=2e-6)


def test_tiles_overlap_by_what_matters_in_8_bits_alone():
    artifact = open_artifact(tflite_of("denoise-color-small", "float32"))
    taken = []

    def run(batch):
        taken.append(batch.shape[1] * batch.shape[2])
        return artifact.run(batch)

    near = dataclasses.replace(artifact, run=run, near_px=8)

    def work(dtype, **options):
        taken.clear()
        Restorer(near, tile_px=96, **options)(noise(200, 200, 3, dtype))
        return sum(taken)

    assert work(np.uint8) < work(np.uint8, exact=True) == work(np.uint16) == work(np.float32)


def test_grey_stays_grey_whichever_engine(rng):
    grey = np.repeat(rng.integers(0, 256, (60, 50, 1), np.uint8), 3, axis=-1)
    for precision in ("int8", "float32"):
        restored = load("photo-small", precision=precision)(grey)
        assert (restored == restored[..., :1]).all()


def test_a_result_in_the_pictures_place_is_the_same(rng):
    artifact = open_artifact(tflite_of("denoise-color-small", "float32"))
    for size in ((200, 150), (149, 203)):
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        for options in ({}, {"strength": 0.5}, {"tile_px": 96}, {"tile_px": 10_000}):
            restorer = Restorer(artifact, **options)
            expected = restorer(image)
            copy = image.copy()
            assert restorer.restore(copy, in_place=True) is copy
            np.testing.assert_array_equal(copy, expected)
    # Where it does not fit, the picture is left as it was.
    copy = image.copy()
    Restorer(artifact, self_ensemble=True).restore(copy, in_place=True)
    np.testing.assert_array_equal(copy, image)
